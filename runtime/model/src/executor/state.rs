//! State: what a program keeps from call to call.
//!
//! A state without `grows` is allocated when the program is loaded. One that grows has memory for the entries that calls have needed
//! so far: `state keys: f16[L, G, E, C] grows C to start + S` begins with none, and a call with `start + S` = 300 makes it f16[L, G, E, 512]. Capacity
//! along the growing axis is a multiple of [`CHUNK`], at least doubles, and never exceeds the declared extent, beyond which a call is refused.
//! What was there stays at its indices; what is added is zero. A kernel sees the present capacity as the extent of that axis, so it may differ
//! from call to call.
//!
//! Growing reads the old bytes, spreads them over the new shape and writes them: the axes before the growing one count the slices that
//! move, the axes from it on are one slice; a packed matrix with more rows begins with the bytes of the one with fewer. Where slices are no whole bytes (an odd number of 4-bit elements), the state is allocated
//! whole at once.
//!
//! [`Session::save`] keeps the contents of all states, [`Session::restore`] brings them back: a conversation can be forked, or go on from a
//! prompt that many questions share.

use super::ExecutorError;
use super::device::{Arrangement, Device};
use super::load::{Session, extents};
use std::collections::HashMap;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::program::{Growth, MemoryDecl};

/// Entries that are added along the growing axis are a multiple of this.
pub const CHUNK: u64 = 256;

/// The contents of all states of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedState {
    /// Extents and bytes of each.
    states: Vec<(Vec<u64>, Vec<u8>)>,
}

impl<D: Device> Session<D> {
    /// Memory of the states that do not grow; none for the others.
    pub(super) fn allocate_states(&mut self) -> Result<(), ExecutorError> {
        for at in 0..self.states.len() {
            let decl = &self.program.states[at];
            let mut shape = extents(&decl.shape, &decl.name, &self.fixed)?;
            if let Some(axis) = growing_axis(decl)
                && self.grows_in_slices((decl, self.states[at].arrangement), axis, shape[axis], &shape)?
            {
                shape[axis] = 0;
            }
            self.allocate_state(at, shape)?;
        }
        Ok(())
    }

    /// Forgets everything kept between calls.
    pub fn reset(&mut self) -> Result<(), ExecutorError> {
        for state in &self.states {
            if let Some(memory) = state.memory {
                self.device.clear(memory)?;
            }
        }
        Ok(())
    }

    /// Gives states that grow the memory that a call needs.
    pub(super) fn grow_states(&mut self, numbers: &HashMap<String, Number>) -> Result<(), ExecutorError> {
        for at in 0..self.states.len() {
            let decl = &self.program.states[at];
            let (Some(Growth { extent, to }), Some(axis)) = (&decl.grows, growing_axis(decl)) else {
                continue;
            };
            let needed = to.eval_int(&|n| numbers.get(n).copied()).map_err(|error| {
                ExecutorError::Expression { what: format!("how far `{}` grows", decl.name), error }
            })?;
            let full = extents(&decl.shape[axis..=axis], &decl.name, &self.fixed)?[0];
            let Some(needed) = u64::try_from(needed).ok().filter(|n| *n <= full) else {
                return Err(ExecutorError::Call(format!(
                    "state `{}` is full: this call needs {needed} entries along `{extent}`, at most {full} fit",
                    decl.name
                )));
            };
            let capacity = self.states[at].shape[axis];
            if needed <= capacity {
                continue;
            }
            let chunks = needed.div_ceil(CHUNK).saturating_mul(CHUNK);
            self.widen(at, axis, chunks.max(capacity.saturating_mul(2)).min(full))?;
        }
        Ok(())
    }

    /// The contents of all states.
    pub fn save(&mut self) -> Result<SavedState, ExecutorError> {
        let mut states = Vec::with_capacity(self.states.len());
        for state in &self.states {
            let mut bytes = vec![0; state.capacity as usize];
            if let Some(memory) = state.memory {
                self.device.read(memory, 0, &mut bytes)?;
            }
            states.push((state.shape.clone(), bytes));
        }
        Ok(SavedState { states })
    }

    /// Brings back what [`Self::save`] gave, of a session of the same program.
    pub fn restore(&mut self, saved: &SavedState) -> Result<(), ExecutorError> {
        if saved.states.len() != self.states.len() {
            return Err(ExecutorError::Call("the saved state is of another program".to_owned()));
        }
        for (at, (shape, bytes)) in saved.states.iter().enumerate() {
            if self.states[at].shape != *shape {
                let decl = &self.program.states[at];
                let size =
                    self.device.arranged_bytes(decl.element.name(), shape, self.states[at].arrangement)?;
                if size != bytes.len() as u64 || shape.len() != decl.shape.len() {
                    return Err(ExecutorError::Call("the saved state is of another program".to_owned()));
                }
                self.allocate_state(at, shape.clone())?;
            }
            if let Some(memory) = self.states[at].memory {
                self.device.write(memory, 0, bytes)?;
            }
        }
        Ok(())
    }

    /// New zeroed memory of a shape in place of what the state has.
    fn allocate_state(&mut self, at: usize, shape: Vec<u64>) -> Result<(), ExecutorError> {
        let decl = &self.program.states[at];
        let bytes = self.device.arranged_bytes(decl.element.name(), &shape, self.states[at].arrangement)?;
        self.states[at].renew(&mut self.device, bytes, shape, &decl.name)
    }

    fn widen(&mut self, at: usize, axis: usize, extent: u64) -> Result<(), ExecutorError> {
        let element = self.program.states[at].element.name().to_owned();
        let old = self.states[at].clone();
        let mut shape = old.shape.clone();
        shape[axis] = extent;
        let slices = shape[..axis].iter().product::<u64>() as usize;
        let old_slice = self.device.arranged_bytes(&element, &old.shape[axis..], old.arrangement)? as usize;
        let new_slice = self.device.arranged_bytes(&element, &shape[axis..], old.arrangement)? as usize;
        let mut bytes = vec![0; old_slice * slices];
        if let Some(memory) = old.memory.filter(|_| !bytes.is_empty()) {
            self.device.read(memory, 0, &mut bytes)?;
        }
        self.allocate_state(at, shape)?;
        let Some(memory) = self.states[at].memory.filter(|_| !bytes.is_empty()) else { return Ok(()) };
        let mut spread = vec![0; new_slice * slices];
        for (from, to) in bytes.chunks_exact(old_slice).zip(spread.chunks_exact_mut(new_slice)) {
            to[..old_slice].copy_from_slice(from);
        }
        Ok(self.device.write(memory, 0, &spread)?)
    }

    /// Whether slices of a chunk and of the full extent are whole bytes, so that they can be moved.
    fn grows_in_slices(
        &self,
        (decl, arrangement): (&MemoryDecl, Arrangement),
        axis: usize,
        full: u64,
        shape: &[u64],
    ) -> Result<bool, ExecutorError> {
        for extent in [CHUNK, full] {
            let mut slice = shape[axis..].to_vec();
            slice[0] = extent;
            let one = self.device.arranged_bytes(decl.element.name(), &slice, arrangement)?;
            slice.insert(0, 8);
            if one.checked_mul(8)
                != Some(self.device.arranged_bytes(decl.element.name(), &slice, arrangement)?)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The axis along which a state grows.
pub(super) fn growing_axis(decl: &MemoryDecl) -> Option<usize> {
    let growth = decl.grows.as_ref()?;
    decl.shape.iter().position(|e| matches!(e, Expr::Name(name) if *name == growth.extent))
}
