//! A trace: what every statement of a launch computed, as text, while it runs.
//!
//! **Maps** each executed statement to lines that are given to a listener at once: the operation in the text form of tile IR with its place in
//! the source, then its value. A number stands on the same line, a tile below it in brackets; of a tile of more than [`WHOLE`] elements
//! the first and last [`EDGE`] along each axis are shown. Stores show no value: what they store was shown where it was computed. Everything is
//! indented by depth, and iterations and branches say which they are:
//!
//! ```text
//! scale grid (2, 1, 1)
//! block (0, 0, 0)
//!   v0: i32 = block_index 0 = 0
//!   v3: f32[4] = load p0[v2 +: 4] @ "scale.tile:3:11"
//!     [1.0, 2.0, 3.0, 4.0]
//!   for v4 = 0
//!     ..
//! ```
//!
//! A listener that wants no more ends the launch with [`Trap::Unheard`](super::Trap::Unheard).

use super::{Tile, Trap, show};
use std::ops::ControlFlow;
use tvmc_ir::tile::{Inst, Kernel, TileType};

/// Most elements of a tile that is shown whole.
pub const WHOLE: u64 = 1000;
/// Elements that are shown at each end of an axis of a larger tile.
pub const EDGE: usize = 3;

/// Takes a line of a trace, without its end; breaks when it wants no more.
pub type Listener<'t> = &'t mut dyn FnMut(&str) -> ControlFlow<()>;

/// See the module head.
pub(super) struct Trace<'t> {
    listener: Listener<'t>,
    depth: usize,
}

impl<'t> Trace<'t> {
    pub(super) fn new(listener: Listener<'t>) -> Self {
        Self { listener, depth: 0 }
    }

    /// Says a line at the present depth.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Trap> {
        match (self.listener)(&format!("{:width$}{line}", "", width = 2 * self.depth)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Trap::Unheard),
        }
    }

    /// What follows belongs to the line before, or no longer does.
    pub(super) fn enter(&mut self) {
        self.depth += 1;
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Says an operation and the value it had, if it has one.
    pub(super) fn operation(
        &mut self,
        kernel: &Kernel,
        inst: &Inst,
        value: Option<&Tile>,
    ) -> Result<(), Trap> {
        let line = kernel.operation(inst);
        let (Some(result), Some(tile)) = (inst.result, value) else { return self.say(&line.to_string()) };
        let ty = kernel.ty(result);
        if ty.shape.is_empty() {
            return self.say(&format!("{line} = {}", show(ty.dtype, tile.bits[0])));
        }
        self.say(&line.to_string())?;
        self.enter();
        self.tile(ty, tile)?;
        self.leave();
        Ok(())
    }

    /// A tile in brackets, a line for each row of its last axis.
    fn tile(&mut self, ty: &TileType, tile: &Tile) -> Result<(), Trap> {
        let extents: Vec<usize> = ty.shape.iter().map(|extent| *extent as usize).collect();
        let Some((&columns, outer)) = extents.split_last() else { return Ok(()) };
        if tile.bits.is_empty() {
            return self.say("[]");
        }
        let whole = ty.elements() <= WHOLE;
        let mut at = vec![0; outer.len()];
        loop {
            // An axis that begins here opens a bracket, one that ends here closes it.
            let begins = at.iter().rev().take_while(|i| **i == 0).count();
            let ends = at.iter().zip(outer).rev().take_while(|(i, extent)| **i + 1 == **extent).count();
            let row = at.iter().zip(outer).fold(0, |row, (i, extent)| row * extent + i);
            let bits = &tile.bits[row * columns..(row + 1) * columns];
            let mut items = Vec::new();
            for (column, bits) in bits.iter().enumerate() {
                match skipped(column, columns, whole) {
                    None => items.push(show(ty.dtype, *bits)),
                    Some(0) => items.push("..".to_owned()),
                    Some(_) => {}
                }
            }
            let line = format!(
                "{}{}[{}]{}",
                " ".repeat(outer.len() - begins),
                "[".repeat(begins),
                items.join(", "),
                "]".repeat(ends)
            );
            self.say(&line)?;
            // The next row that is shown, as a number with one digit for each axis.
            let Some(axis) = (0..outer.len()).rev().find(|axis| at[*axis] + 1 < outer[*axis]) else {
                return Ok(());
            };
            at[axis] += 1;
            at[axis + 1..].fill(0);
            if skipped(at[axis], outer[axis], whole) == Some(0) {
                self.say(&format!("{}..", " ".repeat(axis + 1)))?;
                at[axis] = outer[axis] - EDGE;
            }
        }
    }
}

/// How far behind the first place that is left out of an axis a place is; nothing where it is shown.
fn skipped(place: usize, extent: usize, whole: bool) -> Option<usize> {
    (!whole && place >= EDGE && place + EDGE < extent).then(|| place - EDGE)
}
