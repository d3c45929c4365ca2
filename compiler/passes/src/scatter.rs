//! Stores to computed places, and atomic updates.
//!
//! * A **scatter** has a law of order: of several elements with the same indices the last one, in row-major order, stays. So one lane makes
//!   all its stores, one after the other, on every target: a walk over single elements, each a uniform store. Addresses are 64-bit sums.
//! * An **atomic** update has none, so each chunk of lanes makes its updates at once. Where an address differs by lane it is counted in 32 bits:
//!   an assertion refuses larger tensors, unless their size is known. What an update gives is kept like any value with a cost, if anybody
//!   reads it; a tile of one element is updated by the first lane alone.
//!
//! * An atomic update of a **block-shared** tensor is seen by no other block: it is one element after the other, as a scatter is.
//!
//! A block's statements happen in order: where several access the tensor, or one does again and again, barriers stand between.
//!
//! ```text
//! atomic.add p0[v1], v2 on 16 lanes, v1: i32[20]    chunk 0: atomic.iadd b0[0 + v1[0..16]], ..  mask inside
//!                                                   chunk 1: atomic.iadd b0[0 + v1[16..32]], .. mask inside and lane < 4
//! ```
//!
//! Refused: tensors of formats, updates of elements that are no words.

use crate::eval::{Coord, Position};
use crate::lower::{ArenaTile, LowerError, Lowering, Repr, Tail};
use crate::memory::{Axis, Extent, Stride, Tensor};
use crate::order::repeats;
use crate::packing::Packing;
use tvmc_ir::lane::{self, MemoryOp, Place, Pure};
use tvmc_ir::tile::{Binary, Inst, Memory, Param, Update, Value};
use tvmc_types::dtype::{DType, Kind};

/// Elements of a tensor that 32-bit addresses reach.
const COUNTABLE: i64 = 1 << 31;

/// The lane operation of an update.
fn update_of(update: Update, dtype: DType) -> lane::Update {
    use lane::Update as U;
    let (float, signed) = (dtype.kind() == Kind::Float, dtype.kind() == Kind::Signed);
    match update {
        Update::Add if float => U::FAdd,
        Update::Add => U::IAdd,
        Update::Min if float => U::FMin,
        Update::Max if float => U::FMax,
        Update::Min if signed => U::IMinS,
        Update::Min => U::IMinU,
        Update::Max if signed => U::IMaxS,
        Update::Max => U::IMaxU,
        Update::And => U::IAnd,
        Update::Or => U::IOr,
        Update::Xor => U::IXor,
        Update::Exchange => U::Exchange,
        Update::CompareExchange => U::CompareExchange,
    }
}

impl<'k> Lowering<'k> {
    /// Index tiles as the axes of an access to single elements.
    fn indexed_axes(&mut self, indices: &[Value], at: &[Coord]) -> Result<Vec<Axis>, LowerError> {
        let mut axes = Vec::new();
        for index in indices {
            let facts = self.facts[index.index()];
            let value = self.eval(*index, at)?;
            let offset = match self.emit.known_i32(value) {
                Some(known) => Position::constant(i64::from(known)),
                None => Position { value: Some(value), offset: 0, facts },
            };
            axes.push(Axis { offset, coord: Coord::zero(), slice: None });
        }
        Ok(axes)
    }

    /// Operands that can be evaluated at runtime positions.
    fn readable_anywhere(&mut self, inst: &Inst) -> Result<(), LowerError> {
        for arg in &inst.args {
            if self.needs_constants(*arg) {
                self.move_to_arena(*arg)?;
            }
        }
        Ok(())
    }

    /// Elements to computed places.
    pub(crate) fn scatter(&mut self, inst: &Inst, memory: Memory) -> Result<(), LowerError> {
        let Some((value, indices)) = inst.args.split_last() else {
            return self.unsupported("a scatter without a value", Some(inst));
        };
        self.readable_anywhere(inst)?;
        let shared = self.shared_tile(memory);
        if let Some(tile) = &shared {
            self.before_store(tile.arena);
        }
        let ordered = matches!(memory, Memory::Param(tensor) if self.is_accessed_elsewhere(tensor, inst));
        if ordered {
            self.emit.buffer_barrier();
        }
        // Single elements: the walk's lanes lie along an axis of one.
        let mut shape = self.kernel.ty(*value).shape.clone();
        shape.push(1);
        self.walk(&shape, false, shared.is_some(), &mut Vec::new(), &mut |this, at| {
            let at = &at[..at.len() - 1];
            let axes = this.indexed_axes(indices, at)?;
            let element = this.eval(*value, at)?;
            this.store_at(inst, memory, &axes, element, None)
        })?;
        if ordered {
            self.emit.buffer_barrier();
        }
        Ok(())
    }

    /// Updates of elements that other lanes and blocks update too.
    pub(crate) fn atomic(
        &mut self,
        inst: &Inst,
        update: Update,
        tensor: Param,
        result: Value,
    ) -> Result<(), LowerError> {
        self.readable_anywhere(inst)?;
        if self.is_accessed_elsewhere(tensor, inst) || repeats(&self.kernel.body, inst) {
            self.emit.buffer_barrier();
        }
        let tensor = self.tensor(tensor)?;
        if tensor.packing != Packing::AsDeclared {
            return self
                .unsupported("an atomic update of a tensor that is stored row-interleaved", Some(inst));
        }
        let countable = self.countable(inst, &tensor)?;
        let ty = self.kernel.ty(result).clone();
        let shape = ty.shape.clone();
        if ty.elements() == 1 {
            let (lane, one) = (self.emit.lane_index(), self.emit.i32(1));
            let first = self.emit.pure(Pure::ILtU, &[lane, one]);
            let mask = self.emit.both(Some(first), countable);
            let at = vec![Coord::zero(); shape.len()];
            let old = self.atomic_chunk(inst, update, &tensor, &at, mask)?;
            let zero = self.emit.i32(0);
            let old = self.emit.extract(old, zero);
            self.repr[result.index()] = Some(Repr::Uniform(old));
            return Ok(());
        }
        let chunk = |this: &mut Self, at: &[Coord]| {
            let mut mask = countable;
            if let (Some(last), Some(extent)) = (at.last(), shape.last())
                && extent % this.target.lanes != 0
            {
                let index = this.coord_value(*last);
                let limit = this.emit.i32(*extent as i32);
                let inside = this.emit.pure(Pure::ILtU, &[index, limit]);
                mask = this.emit.both(Some(inside), mask);
            }
            this.atomic_chunk(inst, update, &tensor, at, mask)
        };
        if !self.plan.keep[result.index()] {
            return self.walk(&shape, false, false, &mut Vec::new(), &mut |this, at| {
                chunk(this, at)?;
                Ok(())
            });
        }
        if self.lane_registers(&shape) <= u64::from(self.target.tile_registers) {
            let mut list = Vec::new();
            self.walk(&shape, true, false, &mut Vec::new(), &mut |this, at| {
                list.push(chunk(this, at)?);
                Ok(())
            })?;
            self.repr[result.index()] = Some(Repr::Registers(list));
            return Ok(());
        }
        let tile = self.arena_tile(&shape, self.scalar(result)?)?;
        self.walk(&shape, false, true, &mut Vec::new(), &mut |this, at| {
            let old = chunk(this, at)?;
            this.put(&tile, at, old);
            Ok(())
        })?;
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    /// Updates of elements of a block-shared tensor, one after the other: all lanes read what is there, the first writes what it becomes.
    pub(crate) fn atomic_shared(
        &mut self,
        inst: &Inst,
        update: Update,
        memory: Memory,
        result: Value,
    ) -> Result<(), LowerError> {
        let Some(shared) = self.shared_tile(memory) else {
            return self.unsupported("an unknown block-shared tensor", Some(inst));
        };
        self.readable_anywhere(inst)?;
        self.before_store(shared.arena);
        let (indices, operands) = inst.args.split_at(inst.args.len() - update.operands());
        let ty = self.kernel.ty(result).clone();
        let extents: Vec<Extent> =
            shared.shape.iter().map(|extent| Extent::Constant(i64::from(*extent))).collect();
        let (mem, place) = (shared.mem(), Place::Arena(shared.arena));
        let one = ty.elements() == 1;
        let kept = if self.plan.keep[result.index()] && !one {
            let tile = self.arena_tile(&ty.shape, self.scalar(result)?)?;
            Some(ArenaTile { tail: Tail::Unwritten, ..tile })
        } else {
            None
        };
        let mut only = None;
        let mut shape = ty.shape.clone();
        shape.push(1);
        self.walk(&shape, false, true, &mut Vec::new(), &mut |this, at| {
            let at = &at[..at.len() - 1];
            let axes = this.indexed_axes(indices, at)?;
            let inside = this.mask(&axes, &extents);
            let address = this.shared_address(memory, &shared, &axes);
            this.before_read(shared.arena);
            let old = this.load_at(mem, place, address, inside);
            let old = this.as_register(&shared, old);
            let mut values = vec![old];
            for operand in operands {
                values.push(this.eval(*operand, at)?);
            }
            let new = this.updated(update, ty.dtype, &values)?;
            let new = this.as_scratch(&shared, new);
            this.before_write(shared.arena);
            this.emit.store(MemoryOp::StoreUniform, mem, place, address.base, None, new, inside);
            match &kept {
                Some(tile) => this.put(tile, at, old),
                None => only = Some(old),
            }
            Ok(())
        })?;
        self.repr[result.index()] = match (kept, only) {
            (Some(tile), _) => Some(Repr::Arena(tile)),
            (None, Some(old)) if one => Some(Repr::Uniform(old)),
            (None, _) => None,
        };
        Ok(())
    }

    /// What becomes of an element: `values` are what is there, then the operands.
    fn updated(
        &mut self,
        update: Update,
        dtype: DType,
        values: &[lane::Value],
    ) -> Result<lane::Value, LowerError> {
        let (old, a) = (values[0], values[1]);
        let op = match update {
            Update::Add => Binary::Add,
            Update::Min => Binary::Min,
            Update::Max => Binary::Max,
            Update::And => Binary::And,
            Update::Or => Binary::Or,
            Update::Xor => Binary::Xor,
            Update::Exchange => return Ok(a),
            Update::CompareExchange => {
                let same = self.binary(Binary::Eq, dtype, old, a)?;
                return Ok(self.emit.pure(Pure::Select, &[same, values[2], old]));
            }
        };
        self.binary(op, dtype, old, a)
    }

    /// Whether 32 bits count a tensor's elements: `None` where its size says so, else a condition that is asserted.
    pub(crate) fn countable(
        &mut self,
        inst: &Inst,
        tensor: &Tensor,
    ) -> Result<Option<lane::Value>, LowerError> {
        let mut elements = Stride::Constant(1);
        for extent in &tensor.extents {
            elements = self.widen(elements, *extent);
        }
        let elements = match elements {
            Stride::Constant(elements) if elements < COUNTABLE => return Ok(None),
            Stride::Constant(_) => {
                return self.unsupported("single elements of a tensor of 2^31 elements or more", Some(inst));
            }
            Stride::Runtime(elements) => elements,
        };
        let limit = self.emit.i64(COUNTABLE);
        let fits = self.emit.pure(Pure::LLtS, &[elements, limit]);
        let location = inst.location.and_then(|at| self.kernel.locations.get(at as usize)).cloned();
        let text = "a tensor whose elements are stored one by one has fewer than 2^31".to_owned();
        let message = lane::Message { text, location: location.unwrap_or_default() };
        let message = self.emit.message(message);
        self.emit.effect(lane::Op::Assert(message), &[fits]);
        Ok(Some(fits))
    }

    /// One chunk of updates, or a single one; gives what was there before.
    fn atomic_chunk(
        &mut self,
        inst: &Inst,
        update: Update,
        tensor: &Tensor,
        at: &[Coord],
        mask: Option<lane::Value>,
    ) -> Result<lane::Value, LowerError> {
        let (indices, operands) = inst.args.split_at(inst.args.len() - update.operands());
        let axes = self.indexed_axes(indices, at)?;
        let inside = self.mask(&axes, &tensor.extents);
        let mask = self.emit.both(mask, inside);
        let address = self.address(&axes, &tensor.extents);
        let dtype = self.kernel.ty(operands[0]).dtype;
        let update = update_of(update, dtype);
        // An exchange of floats is one of bits.
        let bits = dtype.kind() == Kind::Float && update.scalar() != lane::Scalar::F32;
        let mut values = Vec::new();
        for operand in operands {
            let value = self.eval(*operand, at)?;
            values.push(if bits { self.emit.pure(Pure::F32Bits, &[value]) } else { value });
        }
        let old = self.emit.atomic(update, tensor.buffer, address.base, address.spread, &values, mask);
        Ok(if bits { self.emit.pure(Pure::F32FromBits, &[old]) } else { old })
    }
}
