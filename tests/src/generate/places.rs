//! Scatters and atomic updates.
//!
//! A scatter writes a block-shared tensor: no other block sees it. An atomic update is of a tensor of its own, by an update whose outcome
//! does not depend on the order, and nobody reads what it gives. Indices are mostly inside.

use super::kernel::{Maker, SIZES};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{Binary, Element, Memory, Op, TileType, Update, Value};
use tvmc_types::dtype::DType;

/// Updates that may come in any order.
const UNORDERED: [Update; 6] = [Update::Add, Update::Min, Update::Max, Update::And, Update::Or, Update::Xor];

impl Maker<'_> {
    /// A tile of indices into an axis.
    fn indices(&mut self, extent: u32, shape: &[u32]) -> Value {
        let index = self.want(DType::I32, shape);
        if self.tape.one_in(4) {
            return index;
        }
        // A remainder has the sign of what it is of: half of them lie before the first element.
        let extent = self.b.i32(extent as i32);
        let extent = self.spread(extent, shape);
        let ty = TileType::new(DType::I32, shape);
        self.b.define(Op::Binary(Binary::Rem), &[index, extent], ty)
    }

    /// Elements to computed places of a known block-shared tensor.
    pub fn scatter(&mut self) {
        let known = self.shared.clone();
        if known.is_empty() {
            return self.shared();
        }
        let shared = self.tape.pick(&known);
        let ty = self.b.kernel.shared[shared.index()].ty.clone();
        let shape = self.shape(3);
        let mut args = Vec::new();
        for extent in &ty.shape {
            args.push(self.indices(*extent, &shape));
        }
        let value = self.stored(ty.dtype, &shape);
        args.push(value);
        self.b.effect(Op::Scatter { memory: Memory::Shared(shared) }, &args);
    }

    /// Updates of elements that all blocks share.
    pub fn atomic(&mut self) {
        let dtype = self.tape.pick(&[DType::I32, DType::U32]);
        let update = self.tape.pick(&UNORDERED);
        let mut extents = Vec::new();
        for _ in 0..=self.tape.below(2) {
            let size = self.tape.pick(&SIZES);
            extents.push(self.extent(Some(size)));
        }
        let tensor = self.input_of(Element::DType(dtype), &extents, Access::ReadWrite);
        let shape = self.shape(3);
        let mut args = Vec::new();
        for (extent, _) in &extents {
            args.push(self.indices(*extent, &shape));
        }
        let value = self.want(dtype, &shape);
        args.push(value);
        self.b.define(
            Op::Atomic { update, memory: Memory::Param(tensor) },
            &args,
            TileType::new(dtype, &shape),
        );
    }
}
