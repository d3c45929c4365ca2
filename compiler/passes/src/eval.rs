//! An element of a tile, at given coordinates.
//!
//! A coordinate is a position or, for at most one axis, `position + lane`. Positions are uniform, but in a loop that is
//! spread over the lanes (`spread`), where each lane has its own. So [`Lowering::eval`] gives a uniform value when no coordinate has
//! lanes (or the axis with lanes is broadcast away) and no position varies, else a varying one:
//!
//! ```text
//! x: f32[4, 64]     eval(x, [At 2, Lanes 16])  ->  v.f32: x[2, 16 + lane]
//! x.T               eval(x.T, [Lanes 16, At 2]) -> the same
//! ```

use crate::lower::{ArenaTile, LowerError, Lowering, Repr, Tail};
use crate::memory::{Address, Stride};
use tvmc_ir::lane::{self, Place, Pure, Scalar};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Inst, Op, Value};

/// An index: a lane value plus a constant.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Position {
    /// i32, or none for a constant position; varies only in a spread loop.
    pub value: Option<lane::Value>,
    /// Added to it.
    pub offset: i64,
    /// What is known of `value` (constant 0 if there is none).
    pub facts: Facts,
}

impl Position {
    /// A constant.
    pub fn constant(offset: i64) -> Self {
        Self { value: None, offset, facts: Facts::constant(0) }
    }

    /// This many further.
    pub fn plus(self, more: i64) -> Self {
        Self { offset: self.offset + more, ..self }
    }

    /// The constant this is.
    pub fn as_constant(self) -> Option<i64> {
        self.value.is_none().then_some(self.offset)
    }

    /// Smallest possible value.
    pub fn lo(self) -> i64 {
        self.facts.lo + self.offset
    }

    /// Largest possible value.
    pub fn hi(self) -> i64 {
        self.facts.hi + self.offset
    }
}

/// Where along an axis.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Coord {
    /// The element at a position: the same for all lanes, unless the position varies.
    At(Position),
    /// Element `position + lane`.
    Lanes(Position),
}

impl Coord {
    /// The first element.
    pub fn zero() -> Self {
        Coord::At(Position::constant(0))
    }

    /// A constant element.
    pub fn at(offset: u32) -> Self {
        Coord::At(Position::constant(i64::from(offset)))
    }

    /// Lanes from a constant element.
    pub fn lanes(offset: u32) -> Self {
        Coord::Lanes(Position::constant(i64::from(offset)))
    }

    /// The uniform part.
    pub fn position(self) -> Position {
        match self {
            Coord::At(p) | Coord::Lanes(p) => p,
        }
    }

    /// Whether lanes differ.
    pub fn has_lanes(self) -> bool {
        matches!(self, Coord::Lanes(_))
    }
}

impl<'k> Lowering<'k> {
    /// A position as a u.i32.
    pub fn position_value(&mut self, position: Position) -> lane::Value {
        let offset = self.emit.i32(position.offset as i32);
        match position.value {
            Some(value) => self.emit.pure(Pure::IAdd, &[value, offset]),
            None => offset,
        }
    }

    /// A coordinate as an i32: uniform, or varying for lanes.
    pub fn coord_value(&mut self, coord: Coord) -> lane::Value {
        let base = self.position_value(coord.position());
        match coord {
            Coord::At(_) => base,
            Coord::Lanes(_) => {
                let lane = self.emit.lane_index();
                self.emit.pure(Pure::IAdd, &[lane, base])
            }
        }
    }

    /// The element of `value` at `at` (one coordinate per axis).
    pub fn eval(&mut self, value: Value, at: &[Coord]) -> Result<lane::Value, LowerError> {
        match self.repr[value.index()].clone() {
            Some(Repr::Uniform(v)) => Ok(v),
            Some(Repr::Registers(list)) => self.eval_registers(value, &list, at),
            Some(Repr::Arena(tile)) => Ok(self.eval_arena(&tile, at)),
            Some(Repr::Lazy) => self.eval_lazy(value, at),
            None => self.unsupported(format!("{value} is used before it is defined"), None),
        }
    }

    fn eval_registers(
        &mut self,
        value: Value,
        list: &[lane::Value],
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let shape = &self.kernel.ty(value).shape;
        let lanes = i64::from(self.target.lanes);
        let chunks = i64::from(shape.last().copied().unwrap_or(1)).div_euclid(1).max(1);
        let chunks = (chunks + lanes - 1) / lanes;
        let (last, outer) = match at.split_last() {
            Some(split) => split,
            None => return Ok(list[0]),
        };
        let mut row = 0;
        let mut known = true;
        for (coord, extent) in outer.iter().zip(shape) {
            match coord {
                Coord::At(p) => match p.as_constant() {
                    Some(c) => row = row * i64::from(*extent) + c,
                    None => known = false,
                },
                Coord::Lanes(_) => known = false,
            }
        }
        if known {
            let base = row * chunks;
            match last {
                Coord::Lanes(p) => {
                    if let Some(c) = p.as_constant().filter(|c| c % lanes == 0 && c / lanes < chunks) {
                        return Ok(list[(base + c / lanes) as usize]);
                    }
                }
                Coord::At(p) => {
                    if let Some(c) = p.as_constant() {
                        let lane = self.emit.i32((c % lanes) as i32);
                        return Ok(self.emit.extract(list[(base + c / lanes) as usize], lane));
                    }
                    if chunks == 1 {
                        let lane = self.position_value(*p);
                        return Ok(self.emit.extract(list[base as usize], lane));
                    }
                }
            }
        }
        // Any other order of access goes through scratch.
        let tile = self.spill(value, list)?;
        Ok(self.eval_arena(&tile, at))
    }

    /// Register kind of a tile value.
    pub fn scalar(&self, value: Value) -> Result<Scalar, LowerError> {
        crate::lower::scalar_of(self.kernel.ty(value).dtype)
    }

    fn eval_arena(&mut self, tile: &ArenaTile, at: &[Coord]) -> lane::Value {
        self.before_read(tile.arena);
        let address = self.arena_address(tile, at);
        let mask = match address {
            Address { stride: None, .. } => None,
            Address { stride: Some(Stride::Constant(1)), .. } if tile.tail == Tail::Written => None,
            // Lanes past the axis would read past the arena, or what nobody wrote.
            Address { stride: Some(_), .. } => self.lanes_inside(tile, at),
        };
        let value = self.load_at(tile.mem(), Place::Arena(tile.arena), address, mask);
        self.as_register(tile, value)
    }

    /// What was read from scratch, as a register has it: truth values are stored as 0 and 1.
    pub(crate) fn as_register(&mut self, tile: &ArenaTile, value: lane::Value) -> lane::Value {
        if tile.scalar != Scalar::Bool {
            return value;
        }
        let zero = self.emit.i32(0);
        self.emit.pure(Pure::INe, &[value, zero])
    }

    /// The inverse of [`Self::as_register`].
    pub(crate) fn as_scratch(&mut self, tile: &ArenaTile, value: lane::Value) -> lane::Value {
        if tile.scalar == Scalar::Bool { self.emit.pure(Pure::BoolToI32, &[value]) } else { value }
    }

    /// The mask of lanes that lie inside a tile's axis, if some could lie outside.
    pub(crate) fn lanes_inside(&mut self, tile: &ArenaTile, at: &[Coord]) -> Option<lane::Value> {
        let axis = at.iter().position(|c| c.has_lanes())?;
        let extent = i64::from(tile.shape[axis]);
        let position = at[axis].position();
        if position.hi() + i64::from(self.target.lanes) <= extent {
            return None;
        }
        let index = self.coord_value(at[axis]);
        let extent = self.emit.i32(extent as i32);
        Some(self.emit.pure(Pure::ILtU, &[index, extent]))
    }

    /// Where an element of a tile in scratch is.
    pub fn arena_address(&mut self, tile: &ArenaTile, at: &[Coord]) -> Address {
        let mut stride = 1u32;
        let mut lane_stride = None;
        let mut constant = 0i64;
        let (mut sum, mut spread) = (None, None);
        for (axis, coord) in at.iter().enumerate().rev() {
            let position = coord.position();
            constant += position.offset * i64::from(stride);
            if let Some(value) = position.value {
                let factor = self.emit.i32(stride as i32);
                let term = self.emit.pure(Pure::IMul, &[value, factor]);
                let part = if self.emit.is_varying(term) { &mut spread } else { &mut sum };
                *part = Some(self.sum(*part, term));
            }
            if coord.has_lanes() {
                lane_stride = Some(Stride::Constant(i64::from(stride)));
            }
            stride *= if axis + 1 == at.len() { tile.row } else { tile.shape[axis] };
        }
        let constant = self.emit.i64(constant);
        let base = match sum {
            Some(sum) => {
                let sum = self.emit.pure(Pure::I32ToI64, &[sum]);
                self.emit.ladd(sum, constant)
            }
            None => constant,
        };
        Address { base, stride: lane_stride, spread }
    }

    fn eval_lazy(&mut self, value: Value, at: &[Coord]) -> Result<lane::Value, LowerError> {
        let Some(inst) = self.defs[value.index()] else {
            return self.unsupported(format!("{value} has no definition"), None);
        };
        let dtype = self.kernel.ty(value).dtype;
        match &inst.op {
            Op::Const(bits) => self.constant(dtype, *bits),
            Op::Dim(dim) => Ok(self.dim(*dim)),
            Op::Scalar(param) => Ok(self.scalar_param(*param)),
            Op::BlockIndex(axis) => Ok(self.emit.block_index(*axis)),
            Op::Iota => Ok(self.coord_value(at[0])),
            Op::Unary(op) => {
                let a = self.eval(inst.args[0], at)?;
                self.unary(*op, dtype, a)
            }
            Op::Binary(op) => {
                let (a, b) = (self.eval(inst.args[0], at)?, self.eval(inst.args[1], at)?);
                self.binary(*op, self.kernel.ty(inst.args[0]).dtype, a, b)
            }
            Op::Fma => {
                let a = self.eval(inst.args[0], at)?;
                let b = self.eval(inst.args[1], at)?;
                let c = self.eval(inst.args[2], at)?;
                Ok(self.emit.pure(Pure::Fma, &[a, b, c]))
            }
            Op::Select => {
                let c = self.eval(inst.args[0], at)?;
                let a = self.eval(inst.args[1], at)?;
                let b = self.eval(inst.args[2], at)?;
                Ok(self.emit.pure(Pure::Select, &[c, a, b]))
            }
            Op::Cast(rule) => {
                let from = self.kernel.ty(inst.args[0]).dtype;
                let a = self.eval(inst.args[0], at)?;
                self.cast(a, from, dtype, *rule, inst)
            }
            Op::Bitcast => {
                let from = self.kernel.ty(inst.args[0]).dtype;
                let a = self.eval(inst.args[0], at)?;
                self.bitcast(a, from, dtype, inst)
            }
            Op::Table(table) => {
                let index = self.eval(inst.args[0], at)?;
                let kernel = self.kernel;
                let (dtype, entries) = &kernel.tables[*table as usize];
                self.entry(*dtype, entries, index)
            }
            Op::Broadcast => {
                let shape = self.kernel.ty(inst.args[0]).shape.clone();
                let skip = at.len() - shape.len();
                let inner: Vec<Coord> = shape
                    .iter()
                    .zip(&at[skip..])
                    .map(|(extent, coord)| if *extent == 1 { Coord::zero() } else { *coord })
                    .collect();
                self.eval(inst.args[0], &inner)
            }
            Op::Permute(permutation) => {
                let mut inner = vec![Coord::zero(); at.len()];
                for (axis, from) in permutation.iter().enumerate() {
                    inner[*from as usize] = at[axis];
                }
                self.eval(inst.args[0], &inner)
            }
            Op::View => self.eval_view(inst, value, at),
            Op::Relayout => self.eval(inst.args[0], at),
            Op::Reshape => self.eval_reshape(inst, value, at),
            Op::Load { memory, indices, padded } => {
                let place = self.locate(inst.location);
                let value = self.eval_load(inst, *memory, indices, *padded, at);
                self.locate(place);
                value
            }
            Op::LoadField { tensor, field, indices } => {
                let place = self.locate(inst.location);
                let value = self.eval_load_field(inst, *tensor, *field, indices, at);
                self.locate(place);
                value
            }
            Op::Gather(axis) => self.eval_gather(inst, usize::from(*axis), at),
            Op::Reduce(..)
            | Op::Scan(..)
            | Op::Concat(_)
            | Op::Dot
            | Op::Store { .. }
            | Op::StoreGroups { .. }
            | Op::StoreHead { .. }
            | Op::Scatter { .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Atomic { .. }
            | Op::Field(_)
            | Op::GroupIndex
            | Op::Assert(_)
            | Op::Print(_) => self.unsupported("an operation that cannot be lazy", Some(inst)),
        }
    }

    /// Whether a reshape does more than add and remove axes of extent 1.
    pub fn regroups(&self, from: Value, to: Value) -> bool {
        let significant = |value: Value| self.kernel.ty(value).shape.iter().copied().filter(|d| *d != 1);
        !significant(from).eq(significant(to))
    }

    /// Only axes of extent 1 come or go: coordinates pass through. Any other reshape reads the operand from scratch (it was brought
    /// there where the reshape stands), where row-major order makes it a change of strides.
    fn eval_reshape(&mut self, inst: &Inst, value: Value, at: &[Coord]) -> Result<lane::Value, LowerError> {
        let from = self.kernel.ty(inst.args[0]).shape.clone();
        let to = self.kernel.ty(value).shape.clone();
        if !self.regroups(inst.args[0], value) {
            let mut rest = to.iter().zip(at).filter(|(extent, _)| **extent != 1).map(|(_, coord)| *coord);
            let inner: Vec<Coord> = from
                .iter()
                .map(|extent| if *extent == 1 { None } else { rest.next() }.unwrap_or(Coord::zero()))
                .collect();
            return self.eval(inst.args[0], &inner);
        }
        self.eval_general_reshape(inst.args[0], &from, &to, at)
    }
}
