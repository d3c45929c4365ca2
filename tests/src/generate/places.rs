//! Scatters and atomic updates.
//!
//! A scatter writes a block-shared tensor, which no other block sees, or its own part of an output (`outputs`). An atomic update is of a tensor of its own, and nobody reads what it
//! gives; its outcome does not depend on the order: all elements exchange the same number, or compare with the same and put the same, or the update commutes.
//! Floats are only added where sums are exact. Indices are mostly inside.

use super::Floats;
use super::kernel::{Maker, SIZES};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{Binary, Memory, Op, Shared, TileType, Update, Value};
use tvmc_types::dtype::DType;

/// Updates that may come in any order, whatever the operands.
const UNORDERED: [Update; 6] = [Update::Add, Update::Min, Update::Max, Update::And, Update::Or, Update::Xor];

impl Maker<'_> {
    /// A tile of indices into an axis.
    pub fn indices(&mut self, extent: u32, shape: &[u32]) -> Value {
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
        let known = self.at_rest();
        if known.is_empty() {
            return self.new_shared();
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

    /// Updates of a block-shared tensor: element after element, so that what they give is known too. Floats are chosen among or put, never added up.
    pub fn update_shared(&mut self) {
        let words = [DType::F32, DType::I32, DType::U32];
        let known = self.at_rest();
        let of_words = |shared: &Shared| words.contains(&self.b.kernel.shared[shared.index()].ty.dtype);
        let known: Vec<Shared> = known.into_iter().filter(of_words).collect();
        if known.is_empty() {
            return self.new_shared();
        }
        let shared = self.tape.pick(&known);
        let ty = self.b.kernel.shared[shared.index()].ty.clone();
        let update = match ty.dtype {
            DType::F32 => self.tape.pick(&[Update::Exchange, Update::Min, Update::Max]),
            _ => self.tape.pick(Update::ALL),
        };
        let shape = self.shape(2);
        let mut args = Vec::new();
        for extent in &ty.shape {
            args.push(self.indices(*extent, &shape));
        }
        for _ in 0..update.operands() {
            args.push(self.want(ty.dtype, &shape));
        }
        let op = Op::Atomic { update, memory: Memory::Shared(shared) };
        let old = self.b.define(op, &args, TileType::new(ty.dtype, &shape));
        self.pool.push(old);
    }

    /// Updates of elements that all blocks share.
    pub fn atomic(&mut self) {
        let float = self.floats == Floats::Exact && self.tape.one_in(4);
        let dtype = if float { DType::F32 } else { self.tape.pick(&[DType::I32, DType::U32]) };
        let update = match (float, self.tape.below(8)) {
            (true, 0..=3) => Update::Add,
            (true, _) | (false, 6) => Update::Exchange,
            (false, 7) => Update::CompareExchange,
            (false, number) => UNORDERED[number],
        };
        let mut extents = Vec::new();
        for _ in 0..=self.tape.below(2) {
            let size = self.tape.pick(&SIZES);
            extents.push(self.extent(Some(size)));
        }
        let tensor = self.places_of(dtype, &extents, Access::ReadWrite);
        let shape = self.shape(3);
        let mut args = Vec::new();
        for (extent, _) in &extents {
            args.push(self.indices(*extent, &shape));
        }
        for _ in 0..update.operands() {
            args.push(match update {
                Update::Exchange | Update::CompareExchange => self.constant(dtype, &shape),
                _ => self.want(dtype, &shape),
            });
        }
        self.b.define(
            Op::Atomic { update, memory: Memory::Param(tensor) },
            &args,
            TileType::new(dtype, &shape),
        );
    }
}
