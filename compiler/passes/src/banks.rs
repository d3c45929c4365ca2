//! Block-shared tensors whose order the source writes.
//!
//! Scratch of a device has banks, and lanes that read different words of one bank wait for each other ([`Scratch::Banked`]). There a tensor declared with an order
//! ([`SharedDecl::order`]) has each element where that says, a word an element:
//!
//! ```text
//! shared f32[32, 32] @ shared(32, 32).swizzle(0, 5, 5)        element [i, j] lies at word 32 i + (j xor i)
//! lanes along j read words of 32 banks; lanes along i (s.T) read bank j xor i: 32 different ones, where row by row all would lie in bank j
//! ```
//!
//! An offset is summed up from the digits of each axis' index, then swizzled: a number for each lane, so an access gathers or scatters. Masks are those of the
//! shape, whatever the order is. Everywhere else (no order, or [`Scratch::Cached`]) a tensor lies row by row (`memory`).

use crate::lower::{ArenaTile, LowerError, Lowering, Tail, scalar_of};
use crate::memory::{Address, Axis};
use crate::target::Scratch;
use tvmc_ir::lane::Pure;
use tvmc_ir::tile::{Memory, SharedDecl};
use tvmc_types::layout::SharedLayout;

impl<'k> Lowering<'k> {
    /// The order of a block-shared tensor, where it is kept.
    fn order_of(&self, shared: &'k SharedDecl) -> Option<&'k SharedLayout> {
        match self.target.scratch {
            Scratch::Cached => None,
            Scratch::Banked => shared.order.as_ref(),
        }
    }

    /// Room for a block-shared tensor.
    pub(crate) fn room_for(&mut self, shared: &'k SharedDecl) -> Result<ArenaTile, LowerError> {
        let scalar = scalar_of(shared.ty.dtype)?;
        // Accesses are masked where a chunk reaches past a row, so rows need no room for whole chunks.
        let row = shared.ty.shape.last().copied().unwrap_or(1);
        let Some(order) = self.order_of(shared) else {
            return self.arena_of_rows(&shared.ty.shape, row, scalar);
        };
        let arena = self.scratch_of(u64::from(order.size()) * 4)?;
        Ok(ArenaTile { arena, shape: shared.ty.shape.clone(), row, scalar, tail: Tail::Written })
    }

    /// Where an access to a block-shared tensor goes.
    pub(crate) fn shared_address(&mut self, memory: Memory, tile: &ArenaTile, axes: &[Axis]) -> Address {
        let kernel = self.kernel;
        let order = match memory {
            Memory::Shared(shared) => self.order_of(&kernel.shared[shared.index()]),
            Memory::Param(_) => None,
        };
        let Some(order) = order else {
            let extents = self.padded_extents(&tile.shape, tile.row);
            return self.address(axes, &extents);
        };
        let mut offset = self.emit.i32(0);
        for (axis, modes) in axes.iter().zip(order.modes()) {
            let total = self.total(axis);
            let mut rest = self.index_value(axis, total);
            for (at, (extent, stride)) in modes.iter().enumerate().rev() {
                let size = self.emit.i32(*extent as i32);
                // What is left above the other digits is the most significant one.
                let digit = if at == 0 { rest } else { self.emit.pure(Pure::IRemU, &[rest, size]) };
                let stride = self.emit.i32(*stride as i32);
                let term = self.emit.pure(Pure::IMul, &[digit, stride]);
                offset = self.emit.pure(Pure::IAdd, &[offset, term]);
                if at > 0 {
                    rest = self.emit.pure(Pure::IDivU, &[rest, size]);
                }
            }
        }
        if let Some(swizzle) = order.swizzle() {
            let partners = ((1u64 << swizzle.bits) - 1) << (swizzle.base + swizzle.shift);
            let (partners, shift) = (self.emit.i32(partners as i32), self.emit.i32(swizzle.shift as i32));
            let high = self.emit.pure(Pure::IAnd, &[offset, partners]);
            let low = self.emit.pure(Pure::ShrU, &[high, shift]);
            offset = self.emit.pure(Pure::IXor, &[offset, low]);
        }
        // Lanes along an axis of one element all have its place, and a mask of their own.
        if axes.iter().any(|axis| axis.coord.has_lanes()) {
            offset = self.emit.splat(offset);
        }
        if self.emit.is_varying(offset) {
            return Address { base: self.emit.i64(0), stride: None, spread: Some(offset) };
        }
        Address { base: self.emit.pure(Pure::I32ToI64, &[offset]), stride: None, spread: None }
    }
}
