//! When a block's accesses to a tensor need barriers between: statements happen in order, whichever lanes make them.
//!
//! Lanes lie along the last axis of a slice, so two accesses to one slice, element by element, have the same lane for each element and need nothing. So do slices that
//! are the same or apart: of one shape, from multiples of it. Everything else may meet across lanes.
//!
//! ```text
//! y[n +: 64] += x;                      one place                                    no barrier
//! y[0 +: 64] = a;  b = y[1 +: 64];      element 5 is stored by lane 5, read by 4     barrier.buffers around the store
//! for i in 0..9 { y[i +: 8] = ..; }     so is each turn's by the next                barrier.buffers around the store
//! ```
//!
//! Only stores get barriers, before and behind: what is loaded earlier has been loaded then, what is loaded later sees it.

use crate::lower::Lowering;
use std::collections::HashSet;
use tvmc_ir::tile::{Index, Inst, Op, Param, Region, Stmt, Value};

/// Which lane stores an element of a slice.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The one that loads it: its own, or the first where there is one element.
    ByElement,
    /// One that composes a byte, or the first lane.
    Otherwise,
}

impl<'k> Lowering<'k> {
    /// Emits a store between barriers, if it needs any.
    pub(crate) fn ordered<E>(
        &mut self,
        inst: &Inst,
        (tensor, indices): (Param, &[Index]),
        stored: Stored,
        store: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.meets_others(inst, (tensor, indices), stored) {
            return store(self);
        }
        self.emit.buffer_barrier();
        store(self)?;
        self.emit.buffer_barrier();
        Ok(())
    }

    /// Whether lanes of another statement, or of another turn of a loop, access elements that this one stores.
    fn meets_others(&self, inst: &Inst, (tensor, indices): (Param, &[Index]), stored: Stored) -> bool {
        let offsets = &inst.args[..indices.len()];
        let apart = self.is_aligned(offsets, indices);
        if !apart && varies_by_turn(&self.kernel.body, inst, offsets) {
            return true;
        }
        let mut meets = false;
        self.kernel.body.visit(&mut |other| {
            if std::ptr::eq(other, inst) || other.op.accesses().is_none_or(|(t, _)| t != tensor) {
                return;
            }
            let slices = if let Op::Load { indices, .. } | Op::Store { indices, .. } = &other.op {
                Some(indices)
            } else {
                None
            };
            let alike = slices.is_some_and(|slices| {
                let its = &other.args[..slices.len()];
                slices == indices && (its == offsets || apart && self.is_aligned(its, slices))
            });
            meets |= stored == Stored::Otherwise || !alike;
        });
        meets
    }

    /// Whether each slice begins at a multiple of its size.
    fn is_aligned(&self, offsets: &[Value], indices: &[Index]) -> bool {
        offsets.iter().zip(indices).all(|(offset, index)| match index {
            Index::Point => true,
            Index::Slice(size) => self.facts[offset.index()].multiple % i64::from(*size) == 0,
        })
    }

    /// Whether another statement accesses a tensor.
    pub(crate) fn is_accessed_elsewhere(&self, tensor: Param, inst: &Inst) -> bool {
        let mut others = false;
        self.kernel.body.visit(&mut |other| {
            others |= !std::ptr::eq(other, inst) && other.op.accesses().is_some_and(|(t, _)| t == tensor);
        });
        others
    }
}

/// Whether an operation is in a loop.
pub(crate) fn repeats(region: &Region, inst: &Inst) -> bool {
    loop_around(region, inst).is_some()
}

/// Whether an operation is in a loop that makes one of these values.
fn varies_by_turn(region: &Region, inst: &Inst, values: &[Value]) -> bool {
    let Some(around) = loop_around(region, inst) else { return false };
    let mut made = HashSet::new();
    made_by(std::slice::from_ref(around), &mut made);
    values.iter().any(|value| made.contains(value))
}

/// The outermost loop around an operation.
fn loop_around<'r>(region: &'r Region, inst: &Inst) -> Option<&'r Stmt> {
    let holds = |region: &Region| {
        let mut found = false;
        region.visit(&mut |other| found |= std::ptr::eq(other, inst));
        found
    };
    region.stmts.iter().find_map(|stmt| match stmt {
        Stmt::Inst(_) => None,
        Stmt::For { body, .. } | Stmt::Loop { body, .. } => holds(body).then_some(stmt),
        Stmt::If { then, otherwise, .. } => loop_around(then, inst).or_else(|| loop_around(otherwise, inst)),
    })
}

/// Values that statements define.
fn made_by(stmts: &[Stmt], made: &mut HashSet<Value>) {
    for stmt in stmts {
        match stmt {
            Stmt::Inst(inst) => made.extend(inst.result),
            Stmt::For { counter, carried, body, results, .. } => {
                made.extend(results.iter().copied());
                made.insert(*counter);
                made.extend(carried.iter().map(|c| c.param));
                made_by(&body.stmts, made);
            }
            Stmt::Loop { carried, body, results, .. } => {
                made.extend(results.iter().copied());
                made.extend(carried.iter().map(|c| c.param));
                made_by(&body.stmts, made);
            }
            Stmt::If { then, otherwise, results, .. } => {
                made.extend(results.iter().copied());
                made_by(&then.stmts, made);
                made_by(&otherwise.stmts, made);
            }
        }
    }
}
