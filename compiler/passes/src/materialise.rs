//! Loops over a tile's coordinates: keeping it, storing it, reducing it.
//!
//! The last axis is cut into chunks of `lanes`; the other axes are walked in order. Up to [`crate::target::Target::unroll`] steps are
//! written out, more become a generated loop over the outermost axis whose coordinate is then a runtime position (not
//! possible, and not needed, for tiles that live in registers: they are small).

use crate::eval::{Coord, Position};
use crate::lower::{ArenaTile, LowerError, Lowering, Repr, Tail};
use crate::memory::{Address, Axis, Extent, Stride, mem_of};
use crate::order::Stored;
use crate::packing::Packing;
use tvmc_ir::lane::{self, MemoryOp, Place, Pure, Scalar};
use tvmc_ir::tile::{self, Element, Index, Inst, Memory, Reduce, Value};
use tvmc_types::dtype::{DType, Kind};

/// Most steps written out where a generated loop is impossible.
const MAX_UNROLLED: u64 = 16_384;

/// Steps of reductions and scans that are written out for the sake of operands in registers, which no loop can index. Longer ones have them moved to scratch.
const MAX_WRITTEN_OUT: u64 = 512;

/// What to do with a chunk: lanes along the last axis, the other coordinates given.
type ChunkBody<'b, 'k> = &'b mut dyn FnMut(&mut Lowering<'k>, &[Coord]) -> Result<(), LowerError>;

impl<'k> Lowering<'k> {
    /// Whether evaluating a value at runtime positions would need registers indexed by them.
    pub(crate) fn needs_constants(&self, value: Value) -> bool {
        match &self.repr[value.index()] {
            Some(Repr::Registers(_)) => self.lane_registers(&self.kernel.ty(value).shape) > 1,
            Some(Repr::Lazy) => self.defs[value.index()]
                .is_some_and(|inst| inst.args.iter().any(|a| self.needs_constants(*a))),
            Some(Repr::Uniform(_) | Repr::Arena(_)) | None => false,
        }
    }

    /// Before an axis is walked for each chunk of a result: where that is long, what a value keeps in registers goes to scratch, so that a loop can
    /// do it. (Written out, `argsort` of [3, 150] was 28,000 operations for lanes of 64, and a software device took minutes to compile them.)
    pub(crate) fn make_walkable(&mut self, value: Value, axis: usize) -> Result<(), LowerError> {
        let mut shape = self.kernel.ty(value).shape.clone();
        let extent = shape.remove(axis);
        let steps = u64::from(extent) * self.lane_registers(&shape);
        if extent > self.target.unroll && steps > MAX_WRITTEN_OUT && self.needs_constants(value) {
            self.registers_to_arena(value)?;
        }
        Ok(())
    }

    fn registers_to_arena(&mut self, value: Value) -> Result<(), LowerError> {
        match &self.repr[value.index()] {
            Some(Repr::Registers(_)) if self.needs_constants(value) => self.move_to_arena(value).map(|_| ()),
            Some(Repr::Lazy) => {
                let operands = self.defs[value.index()].map_or_else(Vec::new, |inst| inst.args.clone());
                operands.into_iter().try_for_each(|operand| self.registers_to_arena(operand))
            }
            Some(Repr::Registers(_) | Repr::Uniform(_) | Repr::Arena(_)) | None => Ok(()),
        }
    }

    /// Whether a lazy value decodes groups, which is far cheaper where the position in the group is a constant.
    pub(crate) fn wants_constants(&self, value: Value) -> Option<u32> {
        match &self.repr[value.index()] {
            Some(Repr::Lazy) => {
                let inst = self.defs[value.index()]?;
                if let tile::Op::LoadField { tensor, field, .. } = &inst.op
                    && let Some((field, _)) = self.kernel.field_of(*tensor, *field)
                {
                    return Some(field.count);
                }
                if let tile::Op::Load { memory, .. } = &inst.op
                    && let Some((Element::Format(format), _)) = self.kernel.element(*memory)
                {
                    return Some(self.kernel.formats[format.index()].group);
                }
                inst.args.iter().find_map(|a| self.wants_constants(*a))
            }
            Some(Repr::Registers(_) | Repr::Uniform(_) | Repr::Arena(_)) | None => None,
        }
    }

    /// Runs `body` for every chunk of a tile of this shape, rows in order.
    pub(crate) fn for_each_chunk(
        &mut self,
        shape: &[u32],
        value: Value,
        writes: bool,
        body: ChunkBody<'_, 'k>,
    ) -> Result<(), LowerError> {
        let total = self.lane_registers(shape);
        let fixed = self.needs_constants(value);
        if fixed && total > MAX_UNROLLED {
            return Err(LowerError::TooLarge {
                what: format!(
                    "a tile of {shape:?} elements in kernel `{}`: use smaller tiles",
                    self.kernel.name
                ),
            });
        }
        let decoding = self.wants_constants(value).is_some() && total <= 1024;
        let mut coords = Vec::new();
        self.walk(shape, fixed || decoding, writes, &mut coords, body)
    }

    pub(crate) fn walk(
        &mut self,
        shape: &[u32],
        unroll: bool,
        writes: bool,
        coords: &mut Vec<Coord>,
        body: ChunkBody<'_, 'k>,
    ) -> Result<(), LowerError> {
        let axis = coords.len();
        let lanes = self.target.lanes;
        if axis == shape.len() {
            return body(self, coords);
        }
        let last = axis + 1 == shape.len();
        let steps = if last { shape[axis].div_ceil(lanes) } else { shape[axis] };
        let inside: u64 = self.lane_registers(&shape[axis..]);
        if unroll || inside <= u64::from(self.target.unroll) || steps == 1 {
            for step in 0..steps {
                coords.push(if last { Coord::lanes(step * lanes) } else { Coord::at(step) });
                self.walk(shape, unroll, writes, coords, body)?;
                coords.pop();
            }
            return Ok(());
        }
        let by = if last { lanes } else { 1 };
        let each = inside / u64::from(steps);
        let fits = |turn: &u32| {
            steps.is_multiple_of(*turn) && each * u64::from(*turn) <= u64::from(self.target.turn)
        };
        let turn = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        let (position, _) = self.open_loop(steps * by, turn * by, writes, &[]);
        for step in 0..turn {
            let position = position.plus(i64::from(step * by));
            coords.push(if last { Coord::Lanes(position) } else { Coord::At(position) });
            self.walk(shape, unroll, writes, coords, body)?;
            coords.pop();
        }
        self.close_loop(&[]);
        Ok(())
    }

    /// Keeps a lazy value where its size belongs.
    pub(crate) fn keep(&mut self, value: Value) -> Result<(), LowerError> {
        let shape = self.kernel.ty(value).shape.clone();
        let repr = if self.kernel.ty(value).elements() == 1 {
            Repr::Uniform(self.uniform(value)?)
        } else if self.lane_registers(&shape) <= u64::from(self.target.tile_registers) {
            Repr::Registers(self.registers(value)?)
        } else {
            self.move_to_arena(value)?;
            return Ok(());
        };
        self.repr[value.index()] = Some(repr);
        Ok(())
    }

    /// Moves a value to block scratch, whatever its size.
    pub(crate) fn move_to_arena(&mut self, value: Value) -> Result<ArenaTile, LowerError> {
        if let Some(Repr::Arena(tile)) = &self.repr[value.index()] {
            return Ok(tile.clone());
        }
        let tile = self.arena_tile(&self.kernel.ty(value).shape.clone(), self.scalar(value)?)?;
        self.fill_arena(value, &tile)?;
        self.relocate(value, Repr::Arena(tile.clone()));
        Ok(tile)
    }

    /// Writes every element of a value into an arena of its shape.
    pub(crate) fn fill_arena(&mut self, value: Value, tile: &ArenaTile) -> Result<(), LowerError> {
        let shape = tile.shape.clone();
        self.for_each_chunk(&shape, value, true, &mut |this, at| {
            let element = this.eval(value, at)?;
            this.put(tile, at, element);
            Ok(())
        })
    }

    /// Writes one chunk (lanes along the last axis) or one element of an arena.
    pub(crate) fn put(&mut self, tile: &ArenaTile, at: &[Coord], value: lane::Value) {
        let Address { base, stride, .. } = self.arena_address(tile, at);
        let form = if stride.is_some() { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
        self.put_at(tile, form, base, None, value, None);
    }

    /// Writes elements of kept values at a place in their scratch.
    pub(crate) fn put_at(
        &mut self,
        tile: &ArenaTile,
        form: MemoryOp,
        base: lane::Value,
        offset: Option<lane::Value>,
        value: lane::Value,
        mask: Option<lane::Value>,
    ) {
        let value = self.as_scratch(tile, value);
        self.before_write(tile.arena);
        self.emit.store(form, tile.mem(), Place::Arena(tile.arena), base, offset, value, mask);
    }

    /// Reads elements of kept values at an index into their scratch, which may differ by lane; what `inside` masks off is zero.
    pub(crate) fn load_scratch(
        &mut self,
        tile: &ArenaTile,
        index: lane::Value,
        inside: Option<lane::Value>,
    ) -> lane::Value {
        self.before_read(tile.arena);
        let (mem, place) = (tile.mem(), Place::Arena(tile.arena));
        let varying = self.emit.is_varying(index) || inside.is_some_and(|mask| self.emit.is_varying(mask));
        let value = if varying {
            let base = self.emit.i64(0);
            self.emit.load(MemoryOp::Gather, mem, place, base, Some(index), inside)
        } else {
            let base = self.emit.pure(Pure::I32ToI64, &[index]);
            self.emit.load(MemoryOp::LoadUniform, mem, place, base, None, inside)
        };
        self.as_register(tile, value)
    }

    /// A value as lane registers, in order.
    pub(crate) fn registers(&mut self, value: Value) -> Result<Vec<lane::Value>, LowerError> {
        if let Some(Repr::Registers(list)) = &self.repr[value.index()] {
            return Ok(list.clone());
        }
        let shape = self.kernel.ty(value).shape.clone();
        let mut list = Vec::new();
        let lanes = self.target.lanes;
        let mut visit = |this: &mut Self, at: &[Coord]| {
            let element = this.eval(value, at)?;
            list.push(this.emit.splat(element));
            Ok(())
        };
        let rows: u32 = shape.iter().rev().skip(1).product();
        let last = shape.last().copied().unwrap_or(1);
        for row in 0..rows {
            let mut rest = row;
            let mut at: Vec<Coord> = Vec::new();
            for extent in shape.iter().rev().skip(1) {
                at.insert(0, Coord::at(rest % extent));
                rest /= extent;
            }
            for chunk in 0..last.div_ceil(lanes) {
                at.push(Coord::lanes(chunk * lanes));
                visit(self, &at)?;
                at.pop();
            }
        }
        Ok(list)
    }

    /// Registers copied to fresh scratch, for an order of access that registers don't allow.
    pub(crate) fn spill(&mut self, value: Value, list: &[lane::Value]) -> Result<ArenaTile, LowerError> {
        let shape = self.kernel.ty(value).shape.clone();
        let tile = self.arena_tile(&shape, self.scalar(value)?)?;
        if self.in_generated_loop() {
            // The last iteration's reads come before this one's writes.
            self.barrier();
        }
        let chunks = shape.last().copied().unwrap_or(1).div_ceil(self.target.lanes);
        for (at, register) in list.iter().enumerate() {
            let (row, chunk) = (at as u32 / chunks, at as u32 % chunks);
            let mut rest = row;
            let mut coords = vec![Coord::lanes(chunk * self.target.lanes)];
            for extent in shape.iter().rev().skip(1) {
                coords.insert(0, Coord::at(rest % extent));
                rest /= extent;
            }
            self.put(&tile, &coords, *register);
        }
        Ok(tile)
    }

    /// A reshape that really regroups: the operand goes to scratch without padding between rows, where it is a change of strides.
    pub(crate) fn eval_general_reshape(
        &mut self,
        operand: Value,
        from: &[u32],
        to: &[u32],
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let tile = self.move_to_arena(operand)?;
        // Flat position in the result's order, then the operand's coordinates.
        let flat_at = |this: &mut Self| {
            let mut flat = this.emit.i32(0);
            for (extent, coord) in to.iter().zip(at) {
                let extent = this.emit.i32(*extent as i32);
                let index = this.coord_value(*coord);
                let scaled = this.emit.pure(Pure::IMul, &[flat, extent]);
                flat = this.emit.pure(Pure::IAdd, &[scaled, index]);
            }
            flat
        };
        let flat = flat_at(self);
        let last = from.last().copied().unwrap_or(1);
        let columns = self.emit.i32(last as i32);
        let distance = self.emit.i32(tile.row as i32);
        let row = self.emit.pure(Pure::IDivU, &[flat, columns]);
        let column = self.emit.pure(Pure::IRemU, &[flat, columns]);
        let start = self.emit.pure(Pure::IMul, &[row, distance]);
        let index = self.emit.pure(Pure::IAdd, &[start, column]);
        // Lanes past the last axis may lie past the tile.
        let inside = self.emit.is_varying(index).then(|| {
            let elements: u64 = from.iter().map(|e| u64::from(*e)).product();
            let limit = self.emit.i32(elements as i32);
            self.emit.pure(Pure::ILtU, &[flat, limit])
        });
        Ok(self.load_scratch(&tile, index, inside))
    }

    /// A store: the value's chunks to the tensor, outside elements skipped.
    pub(crate) fn store(&mut self, inst: &Inst, memory: Memory, indices: &[Index]) -> Result<(), LowerError> {
        let Some((value, offsets)) = inst.args.split_last() else {
            return self.unsupported("a store without a value", Some(inst));
        };
        let (value, offsets) = (*value, offsets.to_vec());
        if let Memory::Param(param) = memory {
            let tensor = self.tensor(param)?;
            if let Element::DType(dtype) = tensor.element
                && (mem_of(dtype).is_none() || tensor.packing != Packing::AsDeclared)
            {
                let bytes = self.single_bits(&tensor).is_none()
                    || self.fills_bytes(&tensor, dtype, indices, offsets.last());
                return self.ordered(inst, (param, indices), Stored::Otherwise, |this| match bytes {
                    true => this.store_narrow(inst, tensor, dtype, indices),
                    false => this.store_chunks(inst, memory, indices, &offsets, value),
                });
            }
            return self.ordered(inst, (param, indices), Stored::ByElement, |this| {
                this.store_chunks(inst, memory, indices, &offsets, value)
            });
        }
        self.store_chunks(inst, memory, indices, &offsets, value)
    }

    fn store_chunks(
        &mut self,
        inst: &Inst,
        memory: Memory,
        indices: &[Index],
        offsets: &[Value],
        value: Value,
    ) -> Result<(), LowerError> {
        let shape = self.kernel.ty(value).shape.clone();
        let shared = self.shared_tile(memory);
        if let Some(tile) = &shared {
            self.before_store(tile.arena);
        }
        let shared = shared.is_some();
        if self.kernel.ty(value).elements() == 1 {
            let at = vec![Coord::zero(); shape.len()];
            return self.store_chunk(inst, memory, indices, offsets, value, &at, None);
        }
        let lanes = self.target.lanes;
        self.for_each_chunk(&shape, value, shared, &mut |this, at| {
            let mut tail = None;
            let extent = shape.last().copied().unwrap_or(1);
            if extent % lanes != 0
                && let Some(last) = at.last()
            {
                let index = this.coord_value(*last);
                let limit = this.emit.i32(extent as i32);
                tail = Some(this.emit.pure(Pure::ILtU, &[index, limit]));
            }
            this.store_chunk(inst, memory, indices, offsets, value, at, tail)
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn store_chunk(
        &mut self,
        inst: &Inst,
        memory: Memory,
        indices: &[Index],
        offsets: &[Value],
        value: Value,
        at: &[Coord],
        tail: Option<lane::Value>,
    ) -> Result<(), LowerError> {
        let axes: Vec<Axis> = self.axes(offsets, indices, at)?;
        let element = self.eval(value, at)?;
        self.store_at(inst, memory, &axes, element, tail)
    }

    /// A chunk, or one element, to a place; lanes that `tail` masks off and what lies outside are skipped.
    pub(crate) fn store_at(
        &mut self,
        inst: &Inst,
        memory: Memory,
        axes: &[Axis],
        mut element: lane::Value,
        tail: Option<lane::Value>,
    ) -> Result<(), LowerError> {
        let (mem, place, extents, shared) = match memory {
            Memory::Param(param) => {
                let tensor = self.tensor(param)?;
                let mem = match tensor.element {
                    Element::DType(dtype) => mem_of(dtype),
                    Element::Format(_) => None,
                };
                if tensor.packing != Packing::AsDeclared {
                    return self
                        .unsupported("a scatter to a tensor that is stored row-interleaved", Some(inst));
                }
                if let Some(dtype) = self.single_bits(&tensor) {
                    let inside = self.mask(axes, &tensor.extents);
                    let mask = self.emit.both(tail, inside);
                    return self.store_single_bits(inst, (&tensor, dtype), axes, element, mask);
                }
                let mem = match (mem, tensor.element) {
                    (Some(mem), _) => mem,
                    // A small float is the byte that is its code.
                    (None, Element::DType(dtype)) if dtype.bits() == 8 => {
                        element = self.code_of(element, dtype);
                        lane::Mem::U8
                    }
                    (None, Element::DType(_) | Element::Format(_)) => {
                        return self.unsupported(
                            "storing single elements to a tensor of this element type",
                            Some(inst),
                        );
                    }
                };
                (mem, Place::Buffer(tensor.buffer), tensor.extents, None)
            }
            Memory::Shared(_) => {
                let Some(tile) = self.shared_tile(memory) else {
                    return self.unsupported("an unknown block-shared tensor", Some(inst));
                };
                let mem = tile.mem();
                element = self.as_scratch(&tile, element);
                let extents: Vec<Extent> =
                    tile.shape.iter().map(|e| Extent::Constant(i64::from(*e))).collect();
                self.before_write(tile.arena);
                (mem, Place::Arena(tile.arena), extents, Some(tile))
            }
        };
        let inside = self.mask(axes, &extents);
        let mask = self.emit.both(tail, inside);
        let address = match shared {
            Some(tile) => self.shared_address(memory, &tile, axes),
            None => self.address(axes, &extents),
        };
        let base = address.base;
        match (address.stride, address.spread) {
            (None, None) => self.emit.store(MemoryOp::StoreUniform, mem, place, base, None, element, mask),
            (Some(Stride::Constant(1)), None) => {
                self.emit.store(MemoryOp::StoreContig, mem, place, base, None, element, mask);
            }
            (_, _) => {
                let Some(offset) = self.by_lane(&address) else { return Ok(()) };
                let offset = self.emit.splat(offset);
                self.emit.store(MemoryOp::Scatter, mem, place, base, Some(offset), element, mask);
            }
        }
        Ok(())
    }

    /// A reduction along an axis. Along the last axis: chunks are combined in order, then lanes by the fixed tree. Along another: lanes
    /// lie on the last axis, and steps are combined in order.
    pub(crate) fn reduce(
        &mut self,
        inst: &Inst,
        reduce: Reduce,
        axis: usize,
        result: Value,
    ) -> Result<(), LowerError> {
        let operand = inst.args[0];
        let from = self.kernel.ty(operand).clone();
        let to = self.kernel.ty(result).shape.clone();
        let kind = ReduceKind::of(reduce, from.dtype);
        // Without a reduction across lanes every step is one position; lanes then lie on another axis, or nowhere.
        let mut last = axis + 1 == from.shape.len();
        if last && kind.reduce.is_none() {
            self.move_to_arena(operand)?;
            last = false;
        }
        if !last {
            self.make_walkable(operand, axis)?;
        }
        let rule = (axis, from.shape[axis], kind, last);
        if self.kernel.ty(result).elements() == 1 {
            let at: Vec<Coord> = to.iter().map(|_| Coord::zero()).collect();
            let value = self.reduce_at(operand, rule, &at)?;
            self.repr[result.index()] = Some(Repr::Uniform(value));
            return Ok(());
        }
        let mut tile = self.arena_tile(&to, self.scalar(result)?)?;
        if last {
            // One uniform result per row: walk rows one by one.
            tile.tail = Tail::Unwritten;
            let mut rows = to.clone();
            rows.push(1);
            let count: u64 = to.iter().map(|e| u64::from(*e)).product();
            let fixed = self.needs_constants(operand) || count <= u64::from(self.target.unroll);
            self.walk(&rows, fixed, true, &mut Vec::new(), &mut |this, at| {
                let at = &at[..at.len() - 1];
                let value = this.reduce_at(operand, rule, at)?;
                this.put(&tile, at, value);
                Ok(())
            })?;
        } else if self.lane_registers(&to) <= u64::from(self.target.tile_registers) {
            let mut list = Vec::new();
            self.walk(&to, true, false, &mut Vec::new(), &mut |this, at| {
                let value = this.reduce_at(operand, rule, at)?;
                list.push(this.emit.splat(value));
                Ok(())
            })?;
            self.repr[result.index()] = Some(Repr::Registers(list));
            return Ok(());
        } else {
            let fixed = self.needs_constants(operand);
            self.walk(&to, fixed, true, &mut Vec::new(), &mut |this, at| {
                let value = this.reduce_at(operand, rule, at)?;
                this.put(&tile, at, value);
                Ok(())
            })?;
        }
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    /// One element (or chunk) of a reduction's result.
    fn reduce_at(
        &mut self,
        operand: Value,
        (axis, extent, kind, last): (usize, u32, ReduceKind, bool),
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let lanes = self.target.lanes;
        let (steps, by) = if last { (extent.div_ceil(lanes), lanes) } else { (extent, 1) };
        let spot = |position: Position| {
            let mut coords = at.to_vec();
            coords.insert(axis, if last { Coord::Lanes(position) } else { Coord::At(position) });
            coords
        };
        let fixed =
            self.needs_constants(operand) || self.wants_constants(operand).is_some_and(|g| extent <= 4 * g);
        let total = if fixed || steps <= self.target.unroll {
            let mut total = None;
            for step in 0..steps {
                let position = Position::constant(i64::from(step * by));
                let mut value = self.eval(operand, &spot(position))?;
                if last && (step + 1) * lanes > extent {
                    value = self.without_tail(value, position, extent, kind);
                }
                total = Some(match total {
                    Some(sum) => self.emit.pure(kind.pure, &[sum, value]),
                    None => value,
                });
            }
            match total {
                Some(total) => total,
                None => kind.identity(self),
            }
        } else {
            let identity = kind.identity(self);
            let varying = last || at.iter().any(|c| c.has_lanes());
            let first = if varying { self.emit.splat(identity) } else { identity };
            let (position, carried) = self.open_loop(steps * by, by, false, &[first]);
            let mut value = self.eval(operand, &spot(position))?;
            if last && extent % lanes != 0 {
                value = self.without_tail(value, position, extent, kind);
            }
            let sum = self.emit.pure(kind.pure, &[carried[0], value]);
            let sum = if varying { self.emit.splat(sum) } else { sum };
            self.close_loop(&[sum])[0]
        };
        match kind.reduce.filter(|_| last) {
            None => Ok(total),
            Some(reduce) => {
                let total = self.emit.splat(total);
                Ok(self.emit.reduce(reduce, total))
            }
        }
    }

    /// Lanes past the axis hold the identity.
    fn without_tail(
        &mut self,
        value: lane::Value,
        position: Position,
        extent: u32,
        kind: ReduceKind,
    ) -> lane::Value {
        let index = self.coord_value(Coord::Lanes(position));
        let limit = self.emit.i32(extent as i32);
        let inside = self.emit.pure(Pure::ILtU, &[index, limit]);
        let identity = kind.identity(self);
        self.emit.pure(Pure::Select, &[inside, value, identity])
    }
}

/// A reduction on lane values: the step, the reduction across lanes if there is one, the identity's bits.
#[derive(Copy, Clone)]
pub(crate) struct ReduceKind {
    pub pure: Pure,
    reduce: Option<lane::Reduce>,
    scalar: Scalar,
    bits: u32,
}

impl ReduceKind {
    pub fn of(reduce: Reduce, dtype: DType) -> Self {
        use lane::Reduce as R;
        let row = |pure, reduce, scalar, bits| Self { pure, reduce: Some(reduce), scalar, bits };
        let ascends = |pure, scalar, bits| Self { pure, reduce: None, scalar, bits };
        let (f, i, b) = (Scalar::F32, Scalar::I32, Scalar::Bool);
        match (reduce, dtype.kind()) {
            (Reduce::Sum, Kind::Float) => row(Pure::FAdd, R::FAdd, f, 0),
            (Reduce::Min, Kind::Float) => row(Pure::FMin, R::FMin, f, f32::INFINITY.to_bits()),
            (Reduce::Max, Kind::Float) => row(Pure::FMax, R::FMax, f, f32::NEG_INFINITY.to_bits()),
            (Reduce::Sum, Kind::Signed | Kind::Unsigned | Kind::Bool) => row(Pure::IAdd, R::IAdd, i, 0),
            (Reduce::Prod, Kind::Float) => ascends(Pure::FMul, f, 1f32.to_bits()),
            (Reduce::Prod, Kind::Signed | Kind::Unsigned | Kind::Bool) => ascends(Pure::IMul, i, 1),
            (Reduce::Min, Kind::Signed) => row(Pure::IMinS, R::IMinS, i, i32::MAX as u32),
            (Reduce::Max, Kind::Signed) => row(Pure::IMaxS, R::IMaxS, i, i32::MIN as u32),
            (Reduce::Min, Kind::Unsigned | Kind::Bool) => row(Pure::IMinU, R::IMinU, i, u32::MAX),
            (Reduce::Max, Kind::Unsigned | Kind::Bool) => row(Pure::IMaxU, R::IMaxU, i, 0),
            (Reduce::Any, _) => row(Pure::BOr, R::Any, b, 0),
            (Reduce::All, _) => row(Pure::BAnd, R::All, b, 1),
        }
    }

    pub fn identity(self, lowering: &mut Lowering<'_>) -> lane::Value {
        match self.scalar {
            Scalar::F32 => lowering.emit.f32_bits(self.bits),
            Scalar::I32 | Scalar::I64 => lowering.emit.i32(self.bits as i32),
            Scalar::Bool => lowering.emit.bool(self.bits != 0),
        }
    }
}
