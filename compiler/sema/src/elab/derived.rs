//! The encoder of a format that has no `encode` block and whose element is one code, scaled and perhaps shifted (`crate::derive`).
//!
//! Plain rounding, from coarse to fine. A *cell* is a run of elements that share all scales, v its numbers, X the range of what is scaled:
//!
//! ```text
//! offset    such that the least number gets the lowest code; stored, and taken back as it was stored
//! scale     T = the least for which every number of the cell is in reach: max(high / X.high, low / X.low)
//! levels    coarse to fine: the largest T of all cells below a level, over the largest numbers of the levels below it; each is stored, and what is
//!           left is over what it became. Scales of a tensor are there already (`encode_tensor`)
//! zero      what a number of 0 is before it is scaled, if that is stored
//! codes     the nearest to (v - offset) / scale + zero; of a table the entry nearest to it, the first of several
//! ```
//!
//! All is tile arithmetic, as if an `encode` block said so: it runs wherever kernels do.

use super::Elab;
use crate::derive::{Coded, Derivation, Level, Plane, codes, entry_count};
use tvmc_ir::tile::{Binary, CastRule, Format, Op, Reduce, Scope, TileType, Unary, Value};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// What is encoded, and where.
struct Encoder<'e, 'a, 'c, 'd> {
    elab: &'e mut Elab<'c, 'd>,
    format: &'a Format,
    derived: &'a Derivation,
    span: Span,
    groups: u32,
    rows: u32,
    /// Elements of a cell.
    run: u32,
    /// What fields hold, by number.
    held: Vec<Option<Value>>,
}

/// How large numbers of a dtype are where they are scales below another: what a coarser scale is divided by.
fn natural(dtype: DType) -> f32 {
    match dtype.int_range() {
        Some((_, high)) => high as f32,
        None if dtype.bits() <= 8 && dtype != DType::E8M0 => dtype.max() as f32,
        None => 1.0,
    }
}

impl Elab<'_, '_> {
    /// The fields of `value`, f32[groups, group], by their numbers; `stored` has those of the tensor.
    pub(super) fn encode_derived(
        &mut self,
        (format, derived): (&Format, &Derivation),
        (value, groups, rows): (Value, u32, u32),
        stored: Vec<Option<Value>>,
        span: Span,
    ) -> Option<Vec<Option<Value>>> {
        let levels = derived.scales.iter().chain(derived.offset.iter().map(|o| &o.0)).chain(&derived.zero);
        let grouped = levels.filter(|level| level.scope == Scope::Group);
        let run = grouped.map(|level| level.run).min().unwrap_or(format.group);
        let mut encoder = Encoder { elab: self, format, derived, span, groups, rows, run, held: stored };
        encoder.all(value)?;
        Some(encoder.held)
    }

    /// The fields that a tensor stores once, for numbers up to `largest` in magnitude (a scalar), by their numbers.
    pub(super) fn head_derived(
        &mut self,
        (format, derived): (&Format, &Derivation),
        largest: Value,
        span: Span,
    ) -> Option<Vec<Option<Value>>> {
        let mut encoder = Encoder {
            elab: self,
            format,
            derived,
            span,
            groups: 1,
            rows: 1,
            run: format.group,
            held: vec![None; format.fields.len()],
        };
        encoder.head(largest)?;
        Some(encoder.held)
    }
}

impl Encoder<'_, '_, '_, '_> {
    fn cells(&self) -> [u32; 2] {
        [self.groups, self.format.group / self.run]
    }

    fn number(&mut self, number: f32) -> Option<Value> {
        self.elab.constant(number.to_bits(), DType::F32, self.span)
    }

    fn op(&mut self, op: Binary, a: Value, b: Value) -> Option<Value> {
        self.elab.elementwise(op, a, b, self.span)
    }

    fn by(&mut self, op: Binary, a: Value, number: f32) -> Option<Value> {
        let b = self.number(number)?;
        self.op(op, a, b)
    }

    fn unary(&mut self, op: Unary, a: Value) -> Option<Value> {
        let ty = self.elab.ty(a);
        self.elab.define(Op::Unary(op), &[a], ty, self.span)
    }

    fn reshape(&mut self, a: Value, shape: &[u32]) -> Option<Value> {
        self.elab.reshape(a, shape, self.span)
    }

    fn reduce(&mut self, op: Reduce, a: Value, axis: usize) -> Option<Value> {
        let ty = self.elab.ty(a);
        let mut shape = ty.shape;
        shape.remove(axis);
        self.elab.define(Op::Reduce(op, axis as u8), &[a], TileType::new(ty.dtype, &shape), self.span)
    }

    fn cast(&mut self, a: Value, to: DType, rule: CastRule) -> Option<Value> {
        self.elab.cast_value(a, to, rule, self.span)
    }

    fn choose(&mut self, condition: Value, a: Value, b: Value) -> Option<Value> {
        let shape = self.elab.ty(condition).shape;
        let a = self.elab.broadcast(a, &shape, self.span)?;
        let b = self.elab.broadcast(b, &shape, self.span)?;
        let ty = self.elab.ty(a);
        self.elab.define(Op::Select, &[condition, a, b], ty, self.span)
    }

    /// 1 / a, or 0 for 0.
    fn inverse(&mut self, a: Value) -> Option<Value> {
        let (one, zero) = (self.number(1.0)?, self.number(0.0)?);
        let over = self.op(Binary::Div, one, a)?;
        let none = self.op(Binary::Eq, a, zero)?;
        self.choose(none, zero, over)
    }

    /// Of cells: one number for each entry of a level.
    fn gathered(&mut self, op: Reduce, cells: Value, level: &Level) -> Option<Value> {
        let [groups, per] = self.cells();
        match level.scope {
            Scope::Row => {
                let flat = self.reshape(cells, &[self.rows, groups / self.rows * per])?;
                self.reduce(op, flat, 1)
            }
            Scope::Group => {
                let entries = self.format.group / level.run;
                let split = self.reshape(cells, &[groups, entries, per / entries])?;
                self.reduce(op, split, 2)
            }
            Scope::Tensor => None,
        }
    }

    /// Entries of a level, for each cell.
    fn spread(&mut self, entries: Value, level: &Level) -> Option<Value> {
        let [groups, per] = self.cells();
        match level.scope {
            Scope::Row => {
                let column = self.reshape(entries, &[self.rows, 1])?;
                let all = self.elab.broadcast(column, &[self.rows, groups / self.rows * per], self.span)?;
                self.reshape(all, &[groups, per])
            }
            Scope::Group => {
                let count = self.format.group / level.run;
                let column = self.reshape(entries, &[groups, count, 1])?;
                let all = self.elab.broadcast(column, &[groups, count, per / count], self.span)?;
                self.reshape(all, &[groups, per])
            }
            Scope::Tensor => {
                let one = self.reshape(entries, &[])?;
                self.elab.broadcast(one, &[groups, per], self.span)
            }
        }
    }

    /// Stores entries of a level, f32, as a field has them; gives what they became, f32.
    fn store(&mut self, entries: Value, level: &Level) -> Option<Value> {
        let field = &self.format.fields[level.field];
        let dtype = field.dtype;
        let stored = match dtype.kind() {
            Kind::Float => {
                let low = self.by(Binary::Max, entries, dtype.min() as f32)?;
                let inside = self.by(Binary::Min, low, dtype.max() as f32)?;
                self.cast(inside, dtype, CastRule::Round)?
            }
            Kind::Signed | Kind::Unsigned | Kind::Bool => {
                let whole = self.unary(Unary::Round, entries)?;
                self.cast(whole, dtype, CastRule::Saturate)?
            }
        };
        let shape = match level.scope {
            Scope::Row => vec![self.rows],
            Scope::Group if field.count == 1 => vec![self.groups],
            Scope::Group => vec![self.groups, field.count],
            Scope::Tensor => Vec::new(),
        };
        let held = self.reshape(stored, &shape)?;
        self.held[level.field] = Some(held);
        self.cast(stored, DType::F32, if dtype.bits() <= 16 { CastRule::Exact } else { CastRule::Round })
    }

    /// The range of what is scaled times the sign of the constant factor.
    fn reach(&self) -> (f32, f32) {
        let (low, high) = (self.derived.range.0 as f32, self.derived.range.1 as f32);
        if self.derived.factor < 0.0 { (-high, -low) } else { (low, high) }
    }

    /// What coarser scales than `at` leave to the finer ones: the product of their natural largest numbers.
    fn below(&self, at: usize) -> f32 {
        let finer = self.derived.scales.iter().skip(at + 1);
        finer.map(|level| natural(self.format.fields[level.field].dtype)).product()
    }

    fn head(&mut self, largest: Value) -> Option<()> {
        let (low, high) = self.reach();
        let nearest = if low < 0.0 && high > 0.0 && self.derived.offset.is_none() {
            high.min(-low)
        } else {
            high.abs().max(low.abs())
        };
        let largest = self.unary(Unary::Abs, largest)?;
        let mut left = self.by(Binary::Div, largest, nearest * self.derived.factor.abs())?;
        let scales = &self.derived.scales;
        for (at, level) in scales.iter().enumerate().filter(|(_, level)| level.scope == Scope::Tensor) {
            let wanted = self.by(Binary::Div, left, self.below(at))?;
            let became = self.store(wanted, level)?;
            let over = self.inverse(became)?;
            left = self.op(Binary::Mul, left, over)?;
        }
        Some(())
    }

    fn all(&mut self, value: Value) -> Option<()> {
        let [groups, per] = self.cells();
        let derived = self.derived;
        let mut numbers = self.reshape(value, &[groups, per, self.run])?;
        let mut high = self.reduce(Reduce::Max, numbers, 2)?;
        let mut low = self.reduce(Reduce::Min, numbers, 2)?;
        let (reach_low, reach_high) = self.reach();
        if let Some((level, factor)) = &derived.offset {
            // offset + T reach_low = low and offset + T reach_high = high
            let top = self.gathered(Reduce::Max, high, level)?;
            let bottom = self.gathered(Reduce::Min, low, level)?;
            let a = self.by(Binary::Mul, bottom, reach_high / (reach_high - reach_low))?;
            let b = self.by(Binary::Mul, top, reach_low / (reach_high - reach_low))?;
            let wanted = self.op(Binary::Sub, a, b)?;
            let wanted = self.by(Binary::Div, wanted, *factor)?;
            let became = self.store(wanted, level)?;
            let became = self.by(Binary::Mul, became, *factor)?;
            let offset = self.spread(became, level)?;
            high = self.op(Binary::Sub, high, offset)?;
            low = self.op(Binary::Sub, low, offset)?;
            let each = self.reshape(offset, &[groups, per, 1])?;
            numbers = self.op(Binary::Sub, numbers, each)?;
        }
        let wanted = match &derived.zero {
            Some(_) => {
                let top = self.by(Binary::Max, high, 0.0)?;
                let bottom = self.by(Binary::Min, low, 0.0)?;
                let span = self.op(Binary::Sub, top, bottom)?;
                self.by(Binary::Div, span, (derived.range.1 - derived.range.0) as f32)?
            }
            None => {
                let mut wanted = self.number(0.0)?;
                for (end, reach) in [(high, reach_high), (low, reach_low)] {
                    if reach != 0.0 && (reach > 0.0) == (end == high) {
                        let scale = self.by(Binary::Div, end, reach)?;
                        wanted = self.op(Binary::Max, scale, wanted)?;
                    }
                }
                self.elab.broadcast(wanted, &[groups, per], self.span)?
            }
        };
        let scale = self.scales(wanted)?;
        let over = self.inverse(scale)?;
        let each = self.reshape(over, &[groups, per, 1])?;
        let scaled = self.op(Binary::Mul, numbers, each)?;
        self.codes(scaled, (low, high), over)
    }

    /// Stores the scales that give these scales of cells, without the constant factor's sign; gives what they became, with it.
    fn scales(&mut self, wanted: Value) -> Option<Value> {
        let derived = self.derived;
        let shape = self.cells();
        let wanted = self.by(Binary::Div, wanted, derived.factor.abs())?;
        let one = self.number(1.0)?;
        let mut product = self.elab.broadcast(one, &shape, self.span)?;
        for (at, level) in derived.scales.iter().enumerate() {
            let became = if level.scope == Scope::Tensor {
                let stored = self.held[level.field]?;
                self.cast(stored, DType::F32, CastRule::Exact)?
            } else {
                let over = self.inverse(product)?;
                let left = self.op(Binary::Mul, wanted, over)?;
                let most = self.gathered(Reduce::Max, left, level)?;
                let most = self.by(Binary::Div, most, self.below(at))?;
                self.store(most, level)?
            };
            let cells = self.spread(became, level)?;
            product = self.op(Binary::Mul, product, cells)?;
        }
        self.by(Binary::Mul, product, derived.factor)
    }

    fn codes(&mut self, scaled: Value, (low, high): (Value, Value), over: Value) -> Option<()> {
        let [groups, per] = self.cells();
        let whole = [groups, self.format.group];
        let zero = match &self.derived.zero {
            Some(level) => Some(self.zero(level, (low, high), over)?),
            None => None,
        };
        let zero = match zero {
            Some(cells) => Some(self.reshape(cells, &[groups, per, 1])?),
            None => None,
        };
        // What is rounded to a whole number first is the same number of steps from a zero point that is whole.
        let whole_steps = match &self.derived.coded {
            Coded::Integer { bias, .. } => {
                let stored = self.derived.zero.iter().map(|level| self.format.fields[level.field].dtype);
                bias.fract() == 0.0 && stored.into_iter().all(|dtype| dtype.is_integer())
            }
            Coded::Float { .. } | Coded::Table { .. } => false,
        };
        let scaled = match zero {
            Some(zero) if !whole_steps => self.op(Binary::Add, scaled, zero)?,
            Some(_) | None => scaled,
        };
        match &self.derived.coded {
            Coded::Float { field } => {
                let dtype = self.format.fields[*field].dtype;
                let inside = self.by(Binary::Max, scaled, dtype.min() as f32)?;
                let inside = self.by(Binary::Min, inside, dtype.max() as f32)?;
                let code = self.cast(inside, dtype, CastRule::Round)?;
                self.held[*field] = Some(self.reshape(code, &whole)?);
            }
            Coded::Integer { planes, bias } => {
                let (least, most) = codes(self.format, planes);
                let code = match (whole_steps, zero) {
                    (true, zero) => {
                        let steps = self.unary(Unary::Round, scaled)?;
                        let steps = match zero {
                            Some(zero) => self.op(Binary::Add, steps, zero)?,
                            None => steps,
                        };
                        self.by(Binary::Sub, steps, *bias)?
                    }
                    (false, _) => {
                        let code = self.by(Binary::Sub, scaled, *bias)?;
                        self.unary(Unary::Round, code)?
                    }
                };
                let code = self.by(Binary::Max, code, least as f32)?;
                let code = self.by(Binary::Min, code, most as f32)?;
                let code = self.cast(code, DType::I32, CastRule::Saturate)?;
                self.planes(planes, code)?;
            }
            Coded::Table { planes, entries } => {
                let count = entry_count(self.format, planes);
                let mut best: Option<(Value, Value)> = None;
                for (at, entry) in entries.iter().enumerate().take(count) {
                    let off = self.by(Binary::Sub, scaled, *entry)?;
                    let off = self.unary(Unary::Abs, off)?;
                    let number = self.elab.i32(at as i32, self.span)?;
                    let shape = self.elab.ty(off).shape;
                    let number = self.elab.broadcast(number, &shape, self.span)?;
                    best = Some(match best {
                        None => (off, number),
                        Some((least, code)) => {
                            let nearer = self.op(Binary::Lt, off, least)?;
                            (self.op(Binary::Min, off, least)?, self.choose(nearer, number, code)?)
                        }
                    });
                }
                self.planes(planes, best?.1)?;
            }
        }
        Some(())
    }

    /// The zero point, of cells: the code of 0 lies as far above the lowest as 0 does above the end that the lowest code means.
    fn zero(&mut self, level: &Level, (low, high): (Value, Value), over: Value) -> Option<Value> {
        let (end, bottom) = if self.derived.factor < 0.0 { (high, Binary::Max) } else { (low, Binary::Min) };
        let end = self.by(bottom, end, 0.0)?;
        let steps = self.op(Binary::Mul, end, over)?;
        let lowest = self.number(self.derived.range.0 as f32)?;
        let wanted = self.op(Binary::Sub, lowest, steps)?;
        let wanted = self.gathered(Reduce::Max, wanted, level)?;
        let became = self.store(wanted, level)?;
        self.spread(became, level)
    }

    /// Stores an i32 code in the fields that hold its bits.
    fn planes(&mut self, planes: &[Plane], code: Value) -> Option<()> {
        let whole = [self.groups, self.format.group];
        let code = self.reshape(code, &whole)?;
        for plane in planes {
            let mut bits = code;
            if plane.shift > 0 {
                let by = self.elab.i32(plane.shift as i32, self.span)?;
                bits = self.op(Binary::Shr, bits, by)?;
            }
            let dtype = self.format.fields[plane.field].dtype;
            let bits = match dtype.kind() {
                Kind::Signed | Kind::Unsigned => self.cast(bits, dtype, CastRule::Wrap)?,
                Kind::Float | Kind::Bool => {
                    let (one, zero) = (self.elab.i32(1, self.span)?, self.elab.i32(0, self.span)?);
                    match DType::ALL.iter().find(|d| d.kind() == Kind::Unsigned && d.bits() == dtype.bits()) {
                        Some(unsigned) if dtype.kind() == Kind::Float => {
                            let code = self.cast(bits, *unsigned, CastRule::Wrap)?;
                            self.elab.define(Op::Bitcast, &[code], TileType::new(dtype, &whole), self.span)?
                        }
                        Some(_) | None => {
                            let bit = self.op(Binary::And, bits, one)?;
                            self.op(Binary::Ne, bit, zero)?
                        }
                    }
                }
            };
            self.held[plane.field] = Some(bits);
        }
        Some(())
    }
}
