//! Addresses and masks of plain tensors.
//!
//! The element index of a load is `sum over axes of (offset + coordinate) * stride`, row-major, as a uniform i64; the axis with lanes
//! adds `lane * stride`. An axis needs a mask unless its interval proves that every index lies in `[0, extent)`:
//!
//! * extent known: by the interval of offset and coordinate;
//! * extent a runtime dimension: an offset known to be below it, at coordinate 0;
//! * offset and extent both multiples of the slice: then the whole slice is inside or outside, and one uniform comparison of the offset
//!   serves every coordinate.
//!
//! One unsigned comparison covers both ends.

use crate::eval::{Coord, Position};
use crate::lower::{ArenaTile, LowerError, Lowering};
use crate::packing::Packing;
use tvmc_ir::host::Expr;
use tvmc_ir::lane::{self, Access, Buffer, Mem, MemoryOp, Place, Pure};
use tvmc_ir::tile::{Dim, Element, Index, Inst, Memory, TensorDecl, Value};
use tvmc_types::dtype::{DType, Kind};

/// An axis length.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Extent {
    /// Known when the kernel is compiled.
    Constant(i64),
    /// A runtime value, with its dimension if it is a plain one.
    Runtime(lane::Value, Option<Dim>),
}

/// A tensor argument, resolved.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Tensor {
    pub buffer: Buffer,
    pub packing: Packing,
    pub access: Access,
    pub element: Element,
    pub extents: Vec<Extent>,
}

/// One axis of an access: where it starts, where in the slice we are, how long the slice is.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Axis {
    pub offset: Position,
    pub coord: Coord,
    pub slice: Option<u32>,
}

/// A mask that may be known.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Inside {
    /// Always inside.
    Yes,
    /// Uniform or varying condition.
    If(lane::Value),
}

/// The memory element type of a dtype that memory operations know.
pub(crate) fn mem_of(dtype: DType) -> Option<Mem> {
    if dtype == DType::F16 {
        return Some(Mem::F16);
    }
    if dtype == DType::BF16 {
        return Some(Mem::Bf16);
    }
    if dtype == DType::F32 {
        return Some(Mem::F32);
    }
    match (dtype.kind(), dtype.bits()) {
        (Kind::Unsigned, 32) | (Kind::Signed, 32) => Some(Mem::I32),
        (Kind::Unsigned, 16) => Some(Mem::U16),
        (Kind::Signed, 16) => Some(Mem::I16),
        (Kind::Unsigned, 8) => Some(Mem::U8),
        (Kind::Signed, 8) => Some(Mem::I8),
        _ => None,
    }
}

impl ArenaTile {
    /// How its elements are stored.
    pub fn mem(&self) -> Mem {
        if self.scalar == lane::Scalar::F32 { Mem::F32 } else { Mem::I32 }
    }
}

impl<'k> Lowering<'k> {
    /// A tensor parameter with its extents as lane values.
    pub fn tensor(&mut self, param: tvmc_ir::tile::Param) -> Result<Tensor, LowerError> {
        let kernel = self.kernel;
        let TensorDecl::Tensor { element, shape, access, .. } = &kernel.params[param.index()] else {
            return self.unsupported("a scalar argument as a tensor", None);
        };
        let Some((buffer, packing)) = self.buffers[param.index()] else {
            return self.unsupported("a scalar argument as a tensor", None);
        };
        let mut extents = Vec::new();
        for expr in shape {
            extents.push(match expr.as_int() {
                Some(extent) => Extent::Constant(extent),
                None => {
                    let dim = match expr {
                        Expr::Name(name) => self.dim_named(name),
                        Expr::Const(_) | Expr::Unary(..) | Expr::Binary(..) => None,
                    };
                    Extent::Runtime(self.host_expr(expr)?, dim)
                }
            });
        }
        Ok(Tensor { buffer, packing, access: *access, element: *element, extents })
    }

    /// The axes of an access: offsets from operands, coordinates from the tile's axes.
    pub fn axes(&mut self, args: &[Value], indices: &[Index], at: &[Coord]) -> Result<Vec<Axis>, LowerError> {
        let mut coords = at.iter();
        let mut axes = Vec::new();
        for (arg, index) in args.iter().zip(indices) {
            let facts = self.facts[arg.index()];
            let value = self.uniform(*arg)?;
            let offset = match self.emit.known_i32(value) {
                Some(c) => Position::constant(i64::from(c)),
                None => Position { value: Some(value), offset: 0, facts },
            };
            let (coord, slice) = match index {
                Index::Point => (Coord::zero(), None),
                Index::Slice(size) => (coords.next().copied().unwrap_or(Coord::zero()), Some(*size)),
            };
            axes.push(Axis { offset, coord, slice });
        }
        Ok(axes)
    }

    /// Offset plus coordinate.
    pub fn total(&mut self, axis: &Axis) -> Position {
        let coord = axis.coord.position();
        let value = match (axis.offset.value, coord.value) {
            (Some(a), Some(b)) => Some(self.emit.pure(Pure::IAdd, &[a, b])),
            (Some(v), None) | (None, Some(v)) => Some(v),
            (None, None) => None,
        };
        Position {
            value,
            offset: axis.offset.offset + coord.offset,
            facts: axis.offset.facts.plus(coord.facts),
        }
    }

    /// Whether an axis is inside its extent.
    pub fn inside(&mut self, axis: &Axis, extent: Extent) -> Inside {
        let lanes = if axis.coord.has_lanes() { i64::from(self.target.lanes) - 1 } else { 0 };
        let total = self.total(axis);
        let slice = axis.slice.map_or(1, i64::from);
        match extent {
            Extent::Constant(extent) => {
                if total.lo() >= 0 && total.hi() + lanes < extent {
                    return Inside::Yes;
                }
                let aligned = axis.offset.facts.multiple % slice == 0
                    && axis.offset.offset % slice == 0
                    && extent % slice == 0
                    && axis.coord.position().lo() >= 0
                    && axis.coord.position().hi() + lanes < slice;
                let limit = self.emit.i32(extent.min(i64::from(i32::MAX)) as i32);
                if aligned && axis.slice.is_some() {
                    let offset = self.position_value(axis.offset);
                    return Inside::If(self.emit.pure(Pure::ILtU, &[offset, limit]));
                }
                let index = self.index_value(axis, total);
                Inside::If(self.emit.pure(Pure::ILtU, &[index, limit]))
            }
            Extent::Runtime(limit, dim) => {
                let below = dim.is_some()
                    && axis.offset.facts.below == dim
                    && axis.offset.facts.lo >= 0
                    && axis.offset.offset == 0
                    && !axis.coord.has_lanes()
                    && axis.coord.position().as_constant() == Some(0);
                if below {
                    return Inside::Yes;
                }
                let index = self.index_value(axis, total);
                Inside::If(self.emit.pure(Pure::ILtU, &[index, limit]))
            }
        }
    }

    pub(crate) fn index_value(&mut self, axis: &Axis, total: Position) -> lane::Value {
        match axis.coord {
            Coord::At(_) => self.position_value(total),
            Coord::Lanes(_) => self.coord_value(Coord::Lanes(total)),
        }
    }

    /// Whether all of an axis' slice lies inside, as a uniform condition; none where that is known.
    pub fn slice_inside(&mut self, axis: &Axis, extent: Extent) -> Option<lane::Value> {
        let size = axis.slice.map_or(1, i64::from);
        let offset = axis.offset;
        if let Extent::Constant(extent) = extent
            && offset.lo() >= 0
            && offset.hi() + size <= extent
        {
            return None;
        }
        let limit = match extent {
            Extent::Constant(extent) => self.emit.i32(extent.min(i64::from(i32::MAX)) as i32),
            Extent::Runtime(limit, _) => limit,
        };
        let first = self.position_value(offset);
        let size = self.emit.i32(size as i32);
        // A limit below the size gives a negative last place.
        let last = self.emit.pure(Pure::ISub, &[limit, size]);
        let before = self.emit.pure(Pure::ILeS, &[first, last]);
        let zero = self.emit.i32(0);
        let behind = self.emit.pure(Pure::ILeS, &[zero, first]);
        Some(self.emit.pure(Pure::BAnd, &[behind, before]))
    }

    /// The mask of an access, if one is needed: uniform conditions first, so that they hoist.
    pub fn mask(&mut self, axes: &[Axis], extents: &[Extent]) -> Option<lane::Value> {
        let mut uniform = None;
        let mut varying = None;
        for (axis, extent) in axes.iter().zip(extents) {
            match self.inside(axis, *extent) {
                Inside::Yes => {}
                Inside::If(condition) if self.emit.is_varying(condition) => {
                    varying = self.emit.both(varying, Some(condition));
                }
                Inside::If(condition) => uniform = self.emit.both(uniform, Some(condition)),
            }
        }
        self.emit.both(varying, uniform)
    }

    /// `sum of total * stride`: what is the same for all lanes apart from what is not, so that only distances between lanes are
    /// counted in 32 bits.
    pub fn address(&mut self, axes: &[Axis], extents: &[Extent]) -> Address {
        let mut stride = Stride::Constant(1);
        let mut constant = 0i64;
        let mut base = self.emit.i64(0);
        let mut address = Address { base, stride: None, spread: None };
        for (axis, extent) in axes.iter().zip(extents).rev() {
            let coord = axis.coord.position();
            let offset = axis.offset.offset + coord.offset;
            match stride {
                // A tensor for which this saturates is too large to be bound.
                Stride::Constant(s) => constant = constant.saturating_add(offset.saturating_mul(s)),
                Stride::Runtime(_) => {
                    let offset = self.emit.i64(offset);
                    let term = self.scale(offset, stride);
                    base = self.emit.ladd(base, term);
                }
            }
            for value in [axis.offset.value, coord.value].into_iter().flatten() {
                if self.emit.is_varying(value) {
                    let stride = self.stride_value(stride);
                    let term = self.emit.pure(Pure::IMul, &[value, stride]);
                    address.spread = Some(self.sum(address.spread, term));
                } else {
                    let wide = self.emit.pure(Pure::I32ToI64, &[value]);
                    let term = self.scale(wide, stride);
                    base = self.emit.ladd(base, term);
                }
            }
            if axis.coord.has_lanes() {
                address.stride = Some(stride);
            }
            stride = self.widen(stride, *extent);
        }
        let constant = self.emit.i64(constant);
        address.base = self.emit.ladd(base, constant);
        address
    }

    /// A sum that may have no terms yet.
    pub fn sum(&mut self, sum: Option<lane::Value>, term: lane::Value) -> lane::Value {
        match sum {
            Some(sum) => self.emit.pure(Pure::IAdd, &[sum, term]),
            None => term,
        }
    }

    /// What of an address differs by lane, `lane * stride + spread`, v.i32; absent where all lanes have one place.
    pub fn by_lane(&mut self, address: &Address) -> Option<lane::Value> {
        let Some(stride) = address.stride else { return address.spread };
        let stride = self.stride_value(stride);
        let lane = self.emit.lane_index();
        let lanes = self.emit.pure(Pure::IMul, &[lane, stride]);
        Some(self.sum(address.spread, lanes))
    }

    fn scale(&mut self, value: lane::Value, stride: Stride) -> lane::Value {
        let factor = match stride {
            Stride::Constant(s) => self.emit.i64(s),
            Stride::Runtime(v) => v,
        };
        self.emit.lmul(value, factor)
    }

    /// The stride of the next axis outwards.
    pub fn widen(&mut self, stride: Stride, extent: Extent) -> Stride {
        let factor = match (stride, extent) {
            (Stride::Constant(s), Extent::Constant(e)) => return Stride::Constant(s.saturating_mul(e)),
            (_, Extent::Constant(e)) => self.emit.i64(e),
            (_, Extent::Runtime(v, _)) => self.emit.pure(Pure::I32ToI64, &[v]),
        };
        Stride::Runtime(self.scale(factor, stride))
    }

    /// A stride as a u.i64.
    pub fn wide_stride(&mut self, stride: Stride) -> lane::Value {
        match stride {
            Stride::Constant(s) => self.emit.i64(s),
            Stride::Runtime(v) => v,
        }
    }

    /// A stride as a u.i32.
    pub fn stride_value(&mut self, stride: Stride) -> lane::Value {
        match stride {
            Stride::Constant(s) => self.emit.i32(s as i32),
            Stride::Runtime(v) => self.emit.pure(Pure::I64ToI32, &[v]),
        }
    }

    /// An element of a lazy load.
    pub fn eval_load(
        &mut self,
        inst: &Inst,
        memory: Memory,
        indices: &[Index],
        padded: bool,
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let axes = self.axes(&inst.args, indices, at)?;
        let pad = if padded { inst.args.last().copied() } else { None };
        let Memory::Param(param) = memory else { return self.load_shared(inst, memory, &axes, pad) };
        let tensor = self.tensor(param)?;
        let mask = self.mask(&axes, &tensor.extents);
        let plain = match tensor.element {
            Element::DType(dtype) => mem_of(dtype),
            Element::Format(_) => None,
        };
        let value = match plain {
            Some(mem) if tensor.packing == Packing::AsDeclared => {
                let address = self.address(&axes, &tensor.extents);
                let place = Place::Buffer(tensor.buffer);
                match (tensor.access, address.stride) {
                    (Access::Read, _) => self.load_at(mem, place, address, mask),
                    // Each lane has an element of its own.
                    (Access::Write | Access::ReadWrite, None) if address.spread.is_some() => {
                        self.load_at(mem, place, address, mask)
                    }
                    (Access::Write | Access::ReadWrite, None) => {
                        self.load_by_first_lane(mem, place, address.base, mask)
                    }
                    (Access::Write | Access::ReadWrite, Some(_)) => {
                        let slice = self.inside_slice(&axes);
                        let mask = self.emit.both(slice, mask);
                        self.load_at(mem, place, address, mask)
                    }
                }
            }
            Some(_) | None => {
                // Whatever its order in memory: what another block writes is left alone.
                let slice = if tensor.access == Access::Read { None } else { self.inside_slice(&axes) };
                let mask = self.emit.both(slice, mask);
                self.load_stored(inst, &tensor, &axes, mask)?
            }
        };
        self.pad(value, mask, pad)
    }

    /// One element of memory that the kernel also writes. Nothing orders lanes' accesses to a tensor, and a uniform store is made by
    /// the first lane: so the first lane alone reads, and gives the others what it read.
    fn load_by_first_lane(
        &mut self,
        mem: Mem,
        place: Place,
        base: lane::Value,
        mask: Option<lane::Value>,
    ) -> lane::Value {
        let (zero, one) = (self.emit.i32(0), self.emit.i32(1));
        let lane = self.emit.lane_index();
        let first = self.emit.pure(Pure::ILtU, &[lane, one]);
        let mask = self.emit.both(Some(first), mask);
        let value = self.emit.load(MemoryOp::LoadContig, mem, place, base, None, mask);
        self.emit.extract(value, zero)
    }

    /// The mask of lanes that lie in their slice, if some do not: past it may lie elements that another block writes.
    fn inside_slice(&mut self, axes: &[Axis]) -> Option<lane::Value> {
        let axis = axes.iter().find(|axis| axis.coord.has_lanes())?;
        let slice = axis.slice?;
        if axis.coord.position().hi() + i64::from(self.target.lanes) <= i64::from(slice) {
            return None;
        }
        let index = self.coord_value(axis.coord);
        let limit = self.emit.i32(slice as i32);
        Some(self.emit.pure(Pure::ILtU, &[index, limit]))
    }

    /// A load of each lane's element.
    pub fn load_at(
        &mut self,
        mem: Mem,
        place: Place,
        address: Address,
        mask: Option<lane::Value>,
    ) -> lane::Value {
        let Address { base, stride, spread } = address;
        // A mask that varies needs lanes even where the address is uniform.
        let varying_mask = mask.is_some_and(|m| self.emit.is_varying(m));
        let offset = match (stride, spread) {
            (None, Some(spread)) => spread,
            (None, None) if !varying_mask => {
                return self.emit.load(MemoryOp::LoadUniform, mem, place, base, None, mask);
            }
            (None, None) => {
                let zero = self.emit.i32(0);
                self.emit.splat(zero)
            }
            (Some(Stride::Constant(1)), None) => {
                return self.emit.load(MemoryOp::LoadContig, mem, place, base, None, mask);
            }
            (Some(stride), spread) => {
                let stride = self.stride_value(stride);
                let lane = self.emit.lane_index();
                let offset = self.emit.pure(Pure::IMul, &[lane, stride]);
                self.sum(spread, offset)
            }
        };
        self.emit.load(MemoryOp::Gather, mem, place, base, Some(offset), mask)
    }

    /// Masked-off elements are zero already; another padding value is put in here.
    fn pad(
        &mut self,
        value: lane::Value,
        mask: Option<lane::Value>,
        pad: Option<Value>,
    ) -> Result<lane::Value, LowerError> {
        match (mask, pad) {
            (Some(mask), Some(pad)) => {
                let pad = self.uniform(pad)?;
                Ok(self.emit.pure(Pure::Select, &[mask, value, pad]))
            }
            (Some(_) | None, None) | (None, Some(_)) => Ok(value),
        }
    }

    fn load_shared(
        &mut self,
        inst: &Inst,
        memory: Memory,
        axes: &[Axis],
        pad: Option<Value>,
    ) -> Result<lane::Value, LowerError> {
        let Some(tile) = self.shared_tile(memory) else {
            return self.unsupported("an unknown block-shared tensor", Some(inst));
        };
        let extents: Vec<Extent> = tile.shape.iter().map(|e| Extent::Constant(i64::from(*e))).collect();
        let mask = self.mask(axes, &extents);
        let address = self.shared_address(memory, &tile, axes);
        self.before_read(tile.arena);
        let value = self.load_at(tile.mem(), Place::Arena(tile.arena), address, mask);
        let value = self.as_register(&tile, value);
        self.pad(value, mask, pad)
    }

    /// Extents with the last one replaced by the distance between rows.
    pub fn padded_extents(&self, shape: &[u32], row: u32) -> Vec<Extent> {
        let mut extents: Vec<Extent> = shape.iter().map(|e| Extent::Constant(i64::from(*e))).collect();
        if let Some(last) = extents.last_mut() {
            *last = Extent::Constant(i64::from(row));
        }
        extents
    }
}

/// Where each lane's element is: `base + lane * stride + spread`, in elements.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Address {
    /// u.i64.
    pub base: lane::Value,
    /// Absent where no axis has lanes.
    pub stride: Option<Stride>,
    /// v.i32, where positions differ by lane.
    pub spread: Option<lane::Value>,
}

/// Distance between neighbours along an axis, in elements.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Stride {
    /// Known.
    Constant(i64),
    /// u.i64.
    Runtime(lane::Value),
}
