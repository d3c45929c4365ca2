//! Products of two stored operands in integers: `r = c + a b` where rows of `a` and columns of `b` lie in memory in affine formats.
//!
//! `affine` cuts both rows into runs of elements with one scale. Over a run of k elements, with `w = s c + o` and `x = t y`,
//!
//! ```text
//! sum of x w  =  t * (s * (sum of y c)  +  o * (sum of y))
//! ```
//!
//! where the sums are exact i32: at most 32 products of bytes, or of bytes and codes of two or three bytes. Codes are brought to the four bytes of a lane, a *quad*, and multiplied by
//! `dot4` (`codes`).
//!
//! **Order.** Runs in ascending k; for each, one multiply-add with the scale s t and, for formats with an offset, one with that. Where several runs share
//! a scale t, they are added up without it, and one multiply-add with t follows.
//! Nothing else depends on M, N, tiles or lanes, so batch size and `tune` never change a bit. Against decoding to f32 the result differs within
//! the bound of `docs/reference/7-formats.md`.
//!
//! **Taken** where the activations' format has signed bytes in storage order without an offset, neither slice needs a mask along K, and both
//! begin with whole groups. Everything else goes the general way (`dot`).
//!
//! Rows of `a` outside the tensor are read from its last row with scale 0.

use crate::affine::{Affine, Node, QUAD, Run, Term};
use crate::codes::Reading;
use crate::eval::{Coord, Position};
use crate::lower::{ArenaTile, LowerError, Lowering, Repr};
use crate::memory::{Extent, Inside, Tensor};
use crate::packing::Packing;
use crate::rows::Row;
use crate::stored::{Bits, Groups};
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use tvmc_ir::lane::{self, Op as LaneOp, Pure, Scalar};
use tvmc_ir::tile::{CastRule, Element, Format, FormatId, Index, Inst, Memory, Op, Scope, Value};
use tvmc_types::dtype::DType;

/// A one in every byte.
pub(crate) const ONES: u32 = 0x0101_0101;
/// Elements of K beyond which chunks of columns are a loop.
const LONG: u32 = 64;
/// Most quads written out for one product.
const MAX_QUADS: u32 = 8192;

/// A stored matrix whose rows run along K.
pub(crate) struct Side<'k> {
    inst: &'k Inst,
    indices: &'k [Index],
    pub tensor: Tensor,
    /// Its format.
    pub id: FormatId,
    pub format: Cow<'k, Format>,
    /// What is known of that.
    pub affine: Rc<Affine>,
    columns: i64,
}

/// A row of a side, ready for its runs to be read.
pub(crate) struct Opened {
    pub row: Row,
    /// 0 for rows outside the tensor, else absent.
    pub inside: Option<lane::Value>,
    /// Bits at which the tile's first group begins.
    pub start: Bits,
}

/// Adds the products of rows and columns, over all of a tile's K, to their sums.
pub(crate) type Runs<'a, 'k> = &'a mut dyn FnMut(
    &mut Lowering<'k>,
    (&[Coord], &[Coord]),
    Vec<lane::Value>,
) -> Result<Vec<lane::Value>, LowerError>;

impl<'k> Lowering<'k> {
    /// Lowers a product in integers, if it is one that this file describes.
    pub(crate) fn integer_dot(
        &mut self,
        (a, b, c): (Value, Value, Value),
        result: Value,
        (m, k, n): (u32, u32, u32),
    ) -> Result<bool, LowerError> {
        if !self.target.integer_dot || self.scalar(result)? != Scalar::F32 || n == 1 {
            return Ok(false);
        }
        let Some((x, w)) = self.sides(a, b, k)? else { return Ok(false) };
        let chunks = n.div_ceil(self.target.lanes);
        if self.integer_block((&x, &w), (c, result), (m, k, chunks))? {
            return Ok(true);
        }
        if k / QUAD * chunks > MAX_QUADS {
            return Ok(false);
        }
        // What a gather costs is shared by more rows.
        let rows = self.target.integer_rows * if w.affine.has_grids() { 2 } else { 1 };
        self.by_runs((c, result), (m, k, chunks), rows, &mut |this, tile, sums| {
            this.runs(&x, &w, tile, Coord::zero(), k, sums)
        })?;
        Ok(true)
    }

    /// Makes a product of `m` rows and so many chunks of columns, `rows` rows at a time, by `runs`, which adds the products of given rows and columns to sums.
    pub(crate) fn by_runs(
        &mut self,
        (c, result): (Value, Value),
        (m, k, chunks): (u32, u32, u32),
        rows: u32,
        runs: Runs<'_, 'k>,
    ) -> Result<(), LowerError> {
        let lanes = self.target.lanes;
        // Chunks by themselves, so that the code of long runs of K stays in the caches of code.
        let looped = m > 1 && chunks > 1 && k > LONG;
        if !looped && m * chunks <= self.target.tile_registers.min(self.target.accumulators) {
            let rows: Vec<Coord> = (0..m).map(Coord::at).collect();
            let columns: Vec<Coord> = (0..chunks).map(|chunk| Coord::lanes(chunk * lanes)).collect();
            let sums = self.starts(c, &rows, &columns)?;
            let sums = runs(self, (&rows, &columns), sums)?;
            let one = self.kernel.ty(result).elements() == 1;
            self.repr[result.index()] =
                Some(if one { Repr::Uniform(sums[0]) } else { Repr::Registers(sums) });
            return Ok(());
        }
        let tile = self.sums_tile(result, Scalar::F32)?;
        // Codes are unpacked once for each group of rows.
        let rows = rows.clamp(1, m);
        let whole = m / rows * rows;
        let fixed = self.needs_constants(c);
        let mut block = |this: &mut Self, first: Position, count: u32| {
            let rows: Vec<Coord> = (0..count).map(|row| Coord::At(first.plus(i64::from(row)))).collect();
            let together = looped && !fixed;
            if together {
                runs(this, (&rows, &[]), Vec::new())?;
            }
            let mut one = |this: &mut Self, column: Coord| {
                let columns = [column];
                let sums = this.starts(c, &rows, &columns)?;
                let sums = runs(this, (&rows, &columns), sums)?;
                for (row, sum) in rows.iter().zip(sums) {
                    this.put(&tile, &[*row, column], sum);
                }
                Ok::<(), LowerError>(())
            };
            // Value numbering shares what depends on the rows alone among the chunks.
            if together {
                let (position, _) = this.open_loop(chunks * lanes, lanes, true, &[]);
                one(this, Coord::Lanes(position))?;
                this.close_loop(&[]);
                return Ok(());
            }
            for chunk in 0..chunks {
                one(this, Coord::lanes(chunk * lanes))?;
            }
            Ok::<(), LowerError>(())
        };
        if whole > rows && !fixed {
            let (position, _) = self.open_loop(whole, rows, true, &[]);
            block(self, position, rows)?;
            self.close_loop(&[]);
        } else {
            for first in (0..whole).step_by(rows as usize) {
                block(self, Position::constant(i64::from(first)), rows)?;
            }
        }
        if whole < m {
            block(self, Position::constant(i64::from(whole)), m - whole)?;
        }
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    /// Scratch for a product's sums: that of what it is added to, where nobody needs that any more.
    pub(crate) fn sums_tile(&mut self, result: Value, scalar: Scalar) -> Result<ArenaTile, LowerError> {
        match self.plan.in_place.get(&result).and_then(|v| self.repr[v.index()].clone()) {
            Some(Repr::Arena(tile)) => Ok(tile),
            Some(Repr::Uniform(_) | Repr::Lazy | Repr::Registers(_)) | None => {
                self.arena_tile(&self.kernel.ty(result).shape.clone(), scalar)
            }
        }
    }

    /// The operands, if they are stored in formats that this file multiplies.
    pub(crate) fn sides(
        &mut self,
        a: Value,
        b: Value,
        k: u32,
    ) -> Result<Option<(Side<'k>, Side<'k>)>, LowerError> {
        let Some(x) = self.side(a, k)?.filter(is_activation) else { return Ok(None) };
        let w = self.weights(b, k)?.filter(|w| !w.affine.has_numbers());
        Ok(w.map(|w| (x, w)))
    }

    /// The right operand: a transposed matrix of a format, or of numbers that lie in planes.
    pub(crate) fn weights(&mut self, b: Value, k: u32) -> Result<Option<Side<'k>>, LowerError> {
        if let Some(b) = self.transposed(b) {
            return self.side(b, k);
        }
        let Some(cast) = self.lazy(b) else { return Ok(None) };
        let exact = matches!(cast.op, Op::Cast(CastRule::Exact));
        match cast.args.first().and_then(|b| self.transposed(*b)) {
            Some(b) if exact => self.side(b, k),
            Some(_) | None => Ok(None),
        }
    }

    /// The operand of a lazy transposition.
    pub(crate) fn transposed(&self, value: Value) -> Option<Value> {
        let inst = self.lazy(value)?;
        match &inst.op {
            Op::Permute(order) if order.as_slice() == [1, 0] => inst.args.first().copied(),
            _ => None,
        }
    }

    pub(crate) fn lazy(&self, value: Value) -> Option<&'k Inst> {
        match &self.repr[value.index()] {
            Some(Repr::Lazy) => self.defs[value.index()],
            Some(Repr::Uniform(_) | Repr::Registers(_) | Repr::Arena(_)) | None => None,
        }
    }

    /// A lazy load of a matrix of an affine format whose columns are all inside.
    pub(crate) fn side(&mut self, value: Value, k: u32) -> Result<Option<Side<'k>>, LowerError> {
        let Some(inst) = self.lazy(value) else { return Ok(None) };
        let Op::Load { memory: Memory::Param(param), indices, padded: false } = &inst.op else {
            return Ok(None);
        };
        let tensor = self.tensor(*param)?;
        let slices = indices.iter().filter(|index| matches!(index, Index::Slice(_))).count();
        let last = matches!(indices.last(), Some(Index::Slice(_)));
        if slices != 2 || !last {
            return Ok(None);
        }
        let (id, format) = match tensor.element {
            Element::Format(id) => (id, Cow::Borrowed(&self.kernel.formats[id.index()])),
            Element::DType(dtype) if tensor.packing == Packing::Planar && dtype.bits() <= 8 => {
                let format = self.number_format(dtype, &tensor, inst)?;
                // Beyond the formats of the kernel: one for each type and length of group.
                let number = DType::ALL.iter().position(|d| *d == dtype).unwrap_or(0) as u32 * 1024;
                (FormatId(u32::MAX - number - format.group), Cow::Owned(format))
            }
            Element::DType(_) => return Ok(None),
        };
        let known = self.affine.entry(id).or_insert_with(|| Affine::of(&format).map(Rc::new));
        let Some(affine) = known.clone() else { return Ok(None) };
        let Some(Extent::Constant(columns)) = tensor.extents.last().copied() else { return Ok(None) };
        let axes = self.axes(&inst.args, indices, &[Coord::zero(), Coord::zero()])?;
        let Some(column) = axes.last() else { return Ok(None) };
        let group = i64::from(format.group);
        let whole = i64::from(k) % group == 0
            && column.offset.offset % group == 0
            && column.offset.offset >= 0
            && (column.offset.value.is_none() || column.offset.facts.multiple % group == 0);
        let inside = matches!(self.inside(column, Extent::Constant(columns)), Inside::Yes)
            && column.offset.hi() + i64::from(k) <= columns;
        if !whole || !inside {
            return Ok(None);
        }
        if columns % group != 0 {
            return Ok(None);
        }
        Ok(Some(Side { inst, indices, tensor, id, format, affine, columns }))
    }

    fn starts(
        &mut self,
        c: Value,
        rows: &[Coord],
        columns: &[Coord],
    ) -> Result<Vec<lane::Value>, LowerError> {
        let mut sums = Vec::new();
        for row in rows {
            for column in columns {
                let start = self.eval(c, &[*row, *column])?;
                sums.push(self.emit.splat(start));
            }
        }
        Ok(sums)
    }

    /// A row of a side from an element of K on, or one row for each lane.
    pub(crate) fn open(&mut self, side: &Side<'k>, at: Coord, from: Coord) -> Result<Opened, LowerError> {
        let mut axes = self.axes(&side.inst.args, side.indices, &[at, from])?;
        let extents = &side.tensor.extents[..side.tensor.extents.len() - 1];
        let Some(column) = axes.pop() else {
            return self.unsupported("a tensor of a format without axes", Some(side.inst));
        };
        let start = self.group(Groups::of(&side.format), &column).start;
        let mut inside = None;
        let mut mask = None;
        for (axis, extent) in axes.iter_mut().zip(extents) {
            let Inside::If(condition) = self.inside(axis, *extent) else { continue };
            if axis.coord.has_lanes() {
                mask = self.emit.both(mask, Some(condition));
                continue;
            }
            // Clamped below at 0, too: a negative index is a large unsigned one.
            let limit = match extent {
                Extent::Constant(extent) => self.emit.i32(*extent as i32),
                Extent::Runtime(value, _) => *value,
            };
            let one = self.emit.i32(1);
            let top = self.emit.pure(Pure::ISub, &[limit, one]);
            let total = self.total(axis);
            let index = self.position_value(total);
            let clamped = self.emit.pure(Pure::IMinU, &[index, top]);
            axis.offset = Position { value: Some(clamped), offset: 0, facts: total.facts };
            axis.coord = Coord::zero();
            inside = self.emit.both(inside, Some(condition));
        }
        let row = self.row_of(&side.tensor, (&axes, extents), (&side.format, side.columns), mask)?;
        Ok(Opened { row, inside, start })
    }

    /// All runs of the `k` elements of K from `from`, a whole group of both, added to `sums` (rows, then columns).
    pub(crate) fn runs(
        &mut self,
        x: &Side<'k>,
        w: &Side<'k>,
        (rows, columns): (&[Coord], &[Coord]),
        from: Coord,
        k: u32,
        mut sums: Vec<lane::Value>,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let mut xs = Vec::new();
        for row in rows {
            xs.push(self.open(x, *row, from)?);
        }
        let mut ws = Vec::new();
        for column in columns {
            ws.push(self.open(w, *column, from)?);
        }
        // Runs of w under one scale of x are added up before that is applied.
        let span = x.affine.length;
        let length = span.min(w.affine.length);
        for first in (0..k).step_by(span as usize) {
            let mut scales = Vec::new();
            for opened in &xs {
                let (run, _, group) = run_at(x, first);
                let from = Reading { side: x, opened, start: shifted(opened.start, x, group) };
                let mut scale = match run.scale {
                    Some(node) => self.evaluate(from, node)?,
                    None => self.emit.f32(1.0),
                };
                if let Some(inside) = opened.inside {
                    let zero = self.emit.f32(0.0);
                    scale = self.emit.pure(Pure::Select, &[inside, scale, zero]);
                }
                scales.push(scale);
            }
            if length == span {
                let mut parts: Vec<Option<lane::Value>> = sums.into_iter().map(Some).collect();
                self.one_run(x, w, (&xs, &ws), (first, length), Some(&scales), &mut parts)?;
                sums = parts.into_iter().flatten().collect();
                continue;
            }
            let mut parts: Vec<Option<lane::Value>> = vec![None; sums.len()];
            for first in (first..first + span).step_by(length as usize) {
                self.one_run(x, w, (&xs, &ws), (first, length), None, &mut parts)?;
            }
            for (at, part) in parts.into_iter().enumerate() {
                let Some(part) = part else { continue };
                sums[at] = self.emit.pure(Pure::Fma, &[part, scales[at / ws.len()], sums[at]]);
            }
        }
        Ok(sums)
    }

    /// One run, with the scales of x's rows or without, added to `parts` (rows, then columns).
    fn one_run(
        &mut self,
        x: &Side<'k>,
        w: &Side<'k>,
        (xs, ws): (&[Opened], &[Opened]),
        (first, length): (u32, u32),
        scales: Option<&[lane::Value]>,
        parts: &mut [Option<lane::Value>],
    ) -> Result<(), LowerError> {
        let (x_run, x_skip, x_group) = run_at(x, first);
        let (w_run, w_skip, w_group) = run_at(w, first);
        let quads = length / QUAD;
        let mut words = Vec::new();
        let mut totals = Vec::new();
        let mut starts = Vec::new();
        let zero = self.emit.i32(0);
        let zero = self.emit.splat(zero);
        for opened in xs {
            let from = Reading { side: x, opened, start: shifted(opened.start, x, x_group) };
            let row: Vec<lane::Value> = (0..quads)
                .map(|q| self.byte_quad(from, x_run, x_skip + q * QUAD))
                .collect::<Result<_, _>>()?;
            let needs_total = w_run.bias != 0 || w_run.offset.is_some();
            let total = if needs_total { Some(self.byte_total(&row)) } else { None };
            // The bias is where the sum of the lowest plane begins.
            starts.push(match total {
                Some(total) if w_run.bias != 0 => {
                    let bias = self.emit.i32(w_run.bias);
                    self.emit.pure(Pure::IMul, &[total, bias])
                }
                Some(_) | None => zero,
            });
            totals.push(total);
            words.push(row);
        }
        for (column, opened) in ws.iter().enumerate() {
            let from = Reading { side: w, opened, start: shifted(opened.start, w, w_group) };
            let mut products = starts.clone();
            for plane in 0..w_run.planes {
                let mut sums = if plane == 0 { products.clone() } else { vec![zero; xs.len()] };
                for q in 0..quads {
                    let codes = self.quad(from, w_run, w_skip + q * QUAD, plane)?;
                    for (sum, row) in sums.iter_mut().zip(&words) {
                        *sum = self.emit.pure(Pure::Dot4US, &[codes, row[q as usize], *sum]);
                    }
                }
                for (product, sum) in products.iter_mut().zip(sums) {
                    if plane == 0 {
                        *product = sum;
                        continue;
                    }
                    let by = self.emit.i32(8 * plane as i32);
                    let sum = self.emit.pure(Pure::Shl, &[sum, by]);
                    *product = self.emit.pure(Pure::IAdd, &[*product, sum]);
                }
            }
            let scale = w_run.scale.map(|node| self.evaluate(from, node)).transpose()?;
            let offset = w_run.offset.map(|node| self.evaluate(from, node)).transpose()?;
            for (row, product) in products.into_iter().enumerate() {
                let part = &mut parts[row * ws.len() + column];
                let outer = scales.map(|scales| scales[row]);
                let mut added = None;
                if let (Some(offset), Some(total)) = (offset, totals[row]) {
                    let mut total = self.emit.pure(Pure::I32ToF32, &[total]);
                    if let Some(outer) = outer {
                        total = self.emit.pure(Pure::FMul, &[total, outer]);
                    }
                    added = Some((offset, total));
                }
                *part = Some(self.add_run(*part, product, (scale, outer), added));
            }
        }
        Ok(())
    }

    /// Adds a run's integer sum, times its scale and the scale of x, and its offset times the (scaled) total of x: the one order of these steps.
    pub(crate) fn add_run(
        &mut self,
        part: Option<lane::Value>,
        product: lane::Value,
        (scale, outer): (Option<lane::Value>, Option<lane::Value>),
        offset: Option<(lane::Value, lane::Value)>,
    ) -> lane::Value {
        let product = self.emit.pure(Pure::I32ToF32, &[product]);
        let factor = match (scale, outer) {
            (Some(scale), Some(outer)) => Some(self.emit.pure(Pure::FMul, &[scale, outer])),
            (scale, outer) => scale.or(outer),
        };
        let sum = match (part, factor) {
            (None, None) => product,
            (None, Some(factor)) => self.emit.pure(Pure::FMul, &[product, factor]),
            (Some(part), None) => self.emit.pure(Pure::FAdd, &[part, product]),
            (Some(part), Some(factor)) => self.emit.pure(Pure::Fma, &[product, factor, part]),
        };
        match offset {
            Some((offset, total)) => self.emit.pure(Pure::Fma, &[total, offset, sum]),
            None => sum,
        }
    }

    /// The sum of a row's codes, in every lane.
    fn byte_total(&mut self, words: &[lane::Value]) -> lane::Value {
        let ones = self.emit.i32(ONES as i32);
        let ones = self.emit.splat(ones);
        let zero = self.emit.i32(0);
        let mut sum = self.emit.splat(zero);
        for word in words {
            sum = self.emit.pure(Pure::Dot4US, &[ones, *word, sum]);
        }
        sum
    }

    /// Four signed bytes as they are stored.
    fn byte_quad(&mut self, from: Reading<'_, 'k>, run: &Run, at: u32) -> Result<lane::Value, LowerError> {
        let Reading { side, opened, start } = from;
        let Some((field, slot)) = slot_of(&side.affine, run.codes[at as usize]) else {
            return self.unsupported("activations whose codes are computed", Some(side.inst));
        };
        let bit = i64::from(side.format.fields[field as usize].bit_offset) + i64::from(slot) * 8;
        Ok(self.window(opened, start, bit, 32))
    }

    /// `width` bits of a row from `bit` after `start`, zero-extended.
    pub(crate) fn window(&mut self, opened: &Opened, start: Bits, bit: i64, width: u32) -> lane::Value {
        if let Some(planar) = &opened.row.planar {
            let bits = Bits { constant: start.constant + bit, ..start };
            return self.planar_bits(&opened.row, planar, bits, width);
        }
        let unit_bits = i64::from(opened.row.unit) * 8;
        let bit = start.constant + bit;
        let step = start.value.map(|value| {
            let size = self.emit.i32(unit_bits as i32);
            self.emit.pure(Pure::IDivU, &[value, size])
        });
        self.constant_code(&opened.row, bit / unit_bits, step, (bit % unit_bits) as u32, width)
    }

    /// A node's value for the rows that are read.
    pub(crate) fn evaluate(&mut self, from: Reading<'_, 'k>, node: Node) -> Result<lane::Value, LowerError> {
        let Reading { side, opened, start } = from;
        let affine = side.affine.clone();
        let mut values: HashMap<Node, (lane::Value, DType)> = HashMap::new();
        for node in affine.needed(node) {
            let (term, dtype) = affine.term(node);
            let value = match term {
                Term::Const(bits) => self.constant(*dtype, *bits)?,
                Term::Slot { field, slot } => {
                    let field = &side.format.fields[*field as usize];
                    let bit = i64::from(field.bit_offset) + i64::from(*slot) * i64::from(dtype.bits());
                    let (row, start) = self.scope(&opened.row, start, field.scope)?;
                    self.code(&row, start.plus(bit), *dtype)?
                }
                Term::Levels(levels, index) => {
                    let entries = levels.iter().map(|level| *level as u32).collect();
                    let table = self.emit.table(Scalar::I32, entries);
                    self.emit.lane_op(LaneOp::TableLookup(table), &[values[index].0])
                }
                Term::Numbers(bits, index) => {
                    let table = self.emit.table(Scalar::F32, bits.to_vec());
                    self.emit.lane_op(LaneOp::TableLookup(table), &[values[index].0])
                }
                Term::Op(op, args) => {
                    let args: Vec<(lane::Value, DType)> = args.iter().map(|arg| values[arg]).collect();
                    self.decode_op(op, &args, *dtype, &side.format, side.inst)?
                }
            };
            values.insert(node, (value, *dtype));
        }
        Ok(values[&node].0)
    }
}

/// Signed bytes in storage order, on whole units of four bytes, with a scale and nothing else.
pub(crate) fn is_activation(side: &Side<'_>) -> bool {
    let units = side.format.bytes.is_multiple_of(4) && side.tensor.packing == Packing::AsDeclared;
    units
        && side.affine.runs.iter().all(|run| {
            let plain = run.offset.is_none() && run.bias + run.lift == 0;
            let slots: Option<Vec<(u32, u32)>> =
                run.codes.iter().map(|code| slot_of(&side.affine, *code)).collect();
            plain
                && slots.is_some_and(|slots| {
                    let (field, first) = slots[0];
                    let declared = &side.format.fields[field as usize];
                    declared.dtype == DType::I8
                        && declared.scope == Scope::Group
                        && (declared.bit_offset + first * 8).is_multiple_of(32)
                        && slots.iter().zip(first..).all(|(slot, expected)| *slot == (field, expected))
                })
        })
}

pub(crate) fn slot_of(affine: &Affine, node: Node) -> Option<(u32, u32)> {
    match &affine.term(node).0 {
        Term::Slot { field, slot } => Some((*field, *slot)),
        Term::Const(_) | Term::Levels(..) | Term::Numbers(..) => None,
        // A conversion that changes no value.
        Term::Op(Op::Cast(_), args) if affine.is_exact_cast(node) => slot_of(affine, args[0]),
        Term::Op(..) => None,
    }
}

/// The run of the tile's element `k`, how far into it that is, and the group counted from the tile's first.
pub(crate) fn run_at<'s>(side: &'s Side<'_>, k: u32) -> (&'s Run, u32, u32) {
    let (group, index) = (k / side.format.group, k % side.format.group);
    let run = &side.affine.runs[(index / side.affine.length) as usize];
    (run, index % side.affine.length, group)
}

/// The start of a later group.
pub(crate) fn shifted(start: Bits, side: &Side<'_>, groups: u32) -> Bits {
    start.plus(i64::from(groups) * i64::from(side.format.bytes) * 8)
}
