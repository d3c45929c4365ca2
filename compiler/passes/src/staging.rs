//! Factors of a product brought to scratch as halves, for fragments (`fragments`).
//!
//! A factor lies there in *lines*: its elements along the axis that is contiguous in memory, then [`PAD`] halves that keep the rows of a fragment in different banks. What lanes take is
//! a granule of a line, the shortest stretch that is decoded by itself (a multiple of eight elements):
//!
//! ```text
//! x: f16[16, 64]             granule 8:    lane 8 m + g takes elements 8 g .. 8 g + 8 of line m; neighbours read on
//! w: u4 in planes [64, 128]  granule 32:   lane n + 64 g takes elements 32 g .. 32 g + 32 of line n; neighbours read the next row's vector
//! ```
//!
//! A group of a format that is longer than a vector of its codes, with one scale for all, is shared by lanes: each takes a vector of it ([`Parts`]).
//!
//! Where there are more granules than lanes, lanes take several in turn. What lies outside of the tensor is zero, as everywhere.

use crate::affine::{Affine, Node, Term};
use crate::codes::Reading;
use crate::eval::{Coord, Position};
use crate::integer_dot::{Side, run_at, slot_of};
use crate::lower::{LowerError, Lowering};
use crate::packing::Packing;
use crate::planes::Planes;
use crate::stored::Bits;
use tvmc_ir::lane::fragment::{ALIGNMENT, MAX_BIAS};
use tvmc_ir::lane::{self, Arena, FragmentOp, Op as LaneOp, Pure};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Op, Scope, Value};
use tvmc_types::dtype::{DType, Kind};

/// Halves between lines: 16 bytes.
const PAD: u32 = 8;
/// Items of a line that is short: it fills half of all banks.
const SHORT: u32 = 4;
/// Bits of the widest vector that is loaded at once.
const VECTOR_BITS: u32 = 128;

/// Along which axis elements are neighbours.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Along {
    /// That of the sums: a line for each row of the left factor, or column of the right one.
    K,
    /// The other: a line for each element of K.
    Lines,
}

/// A factor.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Staged {
    /// The tile.
    pub value: Value,
    /// Its extent along the axis that is not K.
    pub extent: u32,
    /// Which axis is K.
    pub k_axis: usize,
    pub along: Along,
    /// Elements that are decoded together, along a line.
    pub granule: u32,
    /// Whether neighbouring lines are neighbours in memory.
    pub interleaved: bool,
}

impl Staged {
    /// Lines, and elements of each, of so much of K.
    fn lines(&self, k: u32) -> (u32, u32) {
        match self.along {
            Along::K => (self.extent, k),
            Along::Lines => (k, self.extent),
        }
    }

    /// Whether granules fill the lines.
    pub fn is_whole(&self, k: u32) -> bool {
        self.lines(k).1.is_multiple_of(self.granule)
    }

    /// Halves from one line to the next.
    pub fn pitch(&self, k: u32) -> u32 {
        self.lines(k).1 + PAD
    }

    /// Bytes of scratch.
    pub fn bytes(&self, k: u32) -> u32 {
        self.lines(k).0 * self.pitch(k) * 2
    }
}

/// How lanes share a group of an affine format: parts of so many elements, whose codes lie so many whole units apart.
#[derive(Copy, Clone)]
struct Parts {
    elements: u32,
    units: u32,
}

impl Parts {
    /// The smallest parts of a group that are alike: one scale and offset for all, and codes of one field in the order of elements, in vectors.
    fn of(side: &Side<'_>) -> Parts {
        let whole = Parts { elements: side.format.group, units: 0 };
        let first = &side.affine.runs[0];
        let (Some((field, slot)), true) = (slot_of(&side.affine, first.codes[0]), is_planar(side)) else {
            return whole;
        };
        let declared = &side.format.fields[field as usize];
        let width = declared.dtype.bits();
        let elements = (side.affine.length.ilog2()..32).map(|log| 1 << log);
        let fits = |elements: &u32| {
            side.format.group.is_multiple_of(*elements) && (elements * width).is_multiple_of(VECTOR_BITS)
        };
        let Some(elements) = elements.take_while(|elements| *elements < side.format.group).find(fits) else {
            return whole;
        };
        let alike = side.affine.runs.iter().all(|run| {
            (run.scale, run.offset, run.bias, run.lift) == (first.scale, first.offset, first.bias, first.lift)
                && run.planes == 1
                && run
                    .codes
                    .iter()
                    .zip(run.first..)
                    .all(|(code, element)| slot_of(&side.affine, *code) == Some((field, slot + element)))
        });
        let (from, to) =
            (declared.bit_offset / 8, (declared.bit_offset + (slot + side.format.group) * width - 1) / 8);
        let planes = Planes::of_format(&side.format);
        let plane = planes.of_byte(from);
        let vectors = plane.unit * 8 == VECTOR_BITS && to < plane.end();
        if alike && vectors { Parts { elements, units: elements * width / VECTOR_BITS } } else { whole }
    }
}

fn is_planar(side: &Side<'_>) -> bool {
    side.tensor.packing == Packing::Planar
}

/// Eight values that each lane puts side by side: the operands of `fragment.stage`, or of `fragment.stage.codes`.
pub(crate) struct Eight {
    args: Vec<lane::Value>,
    masked: bool,
    /// Of codes that become halves where they are put: their width and what is added to them.
    codes: Option<(u8, i16)>,
}

/// Whether a scale is a half as it is stored.
fn is_half(affine: &Affine, scale: Node) -> bool {
    match affine.term(scale) {
        (Term::Slot { .. }, dtype) => *dtype == DType::F16,
        (Term::Op(Op::Cast(_), args), _) => is_half(affine, args[0]),
        (Term::Const(_) | Term::Levels(..) | Term::Numbers(..) | Term::Op(..), _) => false,
    }
}

/// What a lane brings: where the items of a pass begin in scratch, along the line and across lines.
struct Item {
    line: Position,
    within: Position,
    /// Halves before the item.
    place: lane::Value,
    /// Lanes that have one, where not all do.
    mask: Option<lane::Value>,
}

impl<'k> Lowering<'k> {
    /// Loads and decodes `length` elements of K from the turn's element `first` on.
    pub(crate) fn halves(
        &mut self,
        side: &Staged,
        (first, length): (u32, u32),
    ) -> Result<Vec<Eight>, LowerError> {
        let mut all = Vec::new();
        if side.along == Along::K
            && side.k_axis == 0
            && first == 0
            && let Some(w) = self.weights(side.value, length)?.filter(|w| !w.affine.has_numbers())
        {
            return self.halves_of_codes(side, &w, length);
        }
        for start in self.passes(side, length, side.granule) {
            let mark = self.moves();
            let item = self.item(side, length, side.granule, start);
            for piece in (0..side.granule).step_by(ALIGNMENT as usize) {
                let mut values = Vec::new();
                for element in piece..piece + ALIGNMENT {
                    let along = item.within.plus(i64::from(element));
                    let (k, other) = match side.along {
                        Along::K => (along.plus(i64::from(first)), item.line),
                        Along::Lines => (item.line.plus(i64::from(first)), along),
                    };
                    let mut at = [Coord::At(other); 2];
                    at[side.k_axis] = Coord::At(k);
                    values.push(self.eval(side.value, &at)?);
                }
                all.push(self.eight(&item, piece, values));
            }
            self.restore(mark);
        }
        Ok(all)
    }

    /// The same where codes have scales: a code becomes a float as in `float_dot`, and lanes share groups that are long.
    fn halves_of_codes(
        &mut self,
        side: &Staged,
        w: &Side<'k>,
        length: u32,
    ) -> Result<Vec<Eight>, LowerError> {
        let mut all = Vec::new();
        let parts = Parts::of(w);
        let group = w.format.group;
        for start in self.passes(side, length, parts.elements) {
            let mark = self.moves();
            let item = self.item(side, length, parts.elements, start);
            // The item's group, and its part of that.
            let (mut from, mut ahead) = (item.within, None);
            if let (true, Some(value)) = (parts.elements < group, item.within.value) {
                let size = self.emit.i32(group as i32);
                let part = self.emit.pure(Pure::IRemU, &[value, size]);
                let start = self.emit.pure(Pure::ISub, &[value, part]);
                let hi = item.within.facts.hi / i64::from(group) * i64::from(group);
                from =
                    Position { value: Some(start), offset: 0, facts: Facts::range(0, hi, i64::from(group)) };
                let [elements, units] = [parts.elements, parts.units].map(|n| self.emit.i32(n as i32));
                let number = self.emit.pure(Pure::IDivU, &[part, elements]);
                ahead = Some(self.emit.pure(Pure::IMul, &[number, units]));
            }
            let opened = self.open(w, Coord::At(item.line), Coord::At(from))?;
            let codes = Bits { ahead, ..opened.start };
            for piece in (0..parts.elements).step_by(ALIGNMENT as usize) {
                let from = Reading { side: w, opened: &opened, start: codes };
                if let Some(eight) = self.eight_codes(&item, (from, opened.start), piece)? {
                    all.push(eight);
                    continue;
                }
                let mut values = Vec::new();
                for element in piece..piece + ALIGNMENT {
                    let (run, index, _) = run_at(w, element);
                    let from = Reading { side: w, opened: &opened, start: codes };
                    let code = self.float_code(from, run, index)?;
                    let from = Reading { start: opened.start, ..from };
                    let scale = run.scale.map(|node| self.evaluate(from, node)).transpose()?;
                    let offset = run.offset.map(|node| self.evaluate(from, node)).transpose()?;
                    let mut value = match scale {
                        Some(scale) => self.emit.pure(Pure::FMul, &[code, scale]),
                        None => code,
                    };
                    if let Some(offset) = offset {
                        value = self.emit.pure(Pure::FAdd, &[value, offset]);
                    }
                    if let Some(inside) = opened.inside {
                        let zero = self.emit.f32(0.0);
                        value = self.emit.pure(Pure::Select, &[inside, value, zero]);
                    }
                    values.push(value);
                }
                all.push(self.eight(&item, piece, values));
            }
            self.restore(mark);
        }
        Ok(all)
    }

    /// The first items of passes in which each lane takes one.
    fn passes(&self, side: &Staged, length: u32, granule: u32) -> impl Iterator<Item = u32> + use<> {
        let (lines, elements) = side.lines(length);
        (0..lines * (elements / granule)).step_by(self.target.lanes as usize)
    }

    /// Each lane's item of a pass.
    fn item(&mut self, side: &Staged, length: u32, granule: u32, start: u32) -> Item {
        let (lines, elements) = side.lines(length);
        let units = elements / granule;
        let lanes = self.target.lanes;
        let lane = self.emit.lane_index();
        let ahead = self.emit.i32(start as i32);
        let item = self.emit.pure(Pure::IAdd, &[lane, ahead]);
        let inner = self.emit.i32(if side.interleaved { lines } else { units } as i32);
        let (quotient, rest) =
            (self.emit.pure(Pure::IDivU, &[item, inner]), self.emit.pure(Pure::IRemU, &[item, inner]));
        let quotient = if units == SHORT && lines.is_multiple_of(SHORT * SHORT) && !side.interleaved {
            self.spread_lines(quotient)
        } else {
            quotient
        };
        let (mut line, mut unit) = if side.interleaved { (rest, quotient) } else { (quotient, rest) };
        let mut mask = None;
        if start + lanes > lines * units {
            let count = self.emit.i32((lines * units) as i32);
            let inside = self.emit.pure(Pure::ILtU, &[item, count]);
            mask = Some(self.emit.splat(inside));
            let last = self.emit.i32(if side.interleaved { units } else { lines } as i32 - 1);
            let outer = if side.interleaved { &mut unit } else { &mut line };
            *outer = self.emit.pure(Pure::IMinU, &[*outer, last]);
        }
        let granule_value = self.emit.i32(granule as i32);
        let within = self.emit.pure(Pure::IMul, &[unit, granule_value]);
        let position = |value, count: u32, multiple: u32| Position {
            value: (count > 1).then_some(value),
            offset: 0,
            facts: Facts::range(0, i64::from((count - 1) * multiple), i64::from(multiple)),
        };
        let pitch = self.emit.i32(side.pitch(length) as i32);
        let place = self.emit.pure(Pure::IMul, &[line, pitch]);
        let place = self.emit.pure(Pure::IAdd, &[place, within]);
        let place = self.emit.splat(place);
        Item { line: position(line, lines, 1), within: position(within, units, granule), place, mask }
    }

    /// Lines of four items lie five apart, counted in 16 bytes, so those of lanes that store at once should be four lines apart: the two low digits of the number change places.
    fn spread_lines(&mut self, line: lane::Value) -> lane::Value {
        let [two, low, high] = [2, 3, !15].map(|n| self.emit.i32(n));
        let block = self.emit.pure(Pure::IAnd, &[line, high]);
        let first = self.emit.pure(Pure::IAnd, &[line, low]);
        let first = self.emit.pure(Pure::Shl, &[first, two]);
        let second = self.emit.pure(Pure::ShrU, &[line, two]);
        let second = self.emit.pure(Pure::IAnd, &[second, low]);
        let both = self.emit.pure(Pure::IOr, &[first, second]);
        self.emit.pure(Pure::IOr, &[block, both])
    }

    /// Eight values of an item from element `piece` of it on.
    fn eight(&mut self, item: &Item, piece: u32, values: Vec<lane::Value>) -> Eight {
        let mut args = vec![self.emit.i64(i64::from(piece)), item.place];
        args.extend(values.into_iter().map(|value| self.emit.splat(value)));
        args.extend(item.mask);
        Eight { args, masked: item.mask.is_some(), codes: None }
    }

    /// Codes of one field, in order, with a scale that is a half and nothing else, as they stand in memory.
    fn eight_codes(
        &mut self,
        item: &Item,
        (from, start): (Reading<'_, 'k>, Bits),
        element: u32,
    ) -> Result<Option<Eight>, LowerError> {
        let Reading { side, opened, .. } = from;
        let (run, index, _) = run_at(side, element);
        let codes = &run.codes[index as usize..(index + ALIGNMENT) as usize];
        let Some((field, slot)) = slot_of(&side.affine, codes[0]) else { return Ok(None) };
        let declared = &side.format.fields[field as usize];
        let width = declared.dtype.bits();
        let half = match declared.dtype.kind() {
            Kind::Unsigned => 0,
            Kind::Signed => 1u64 << (width - 1),
            Kind::Bool | Kind::Float => return Ok(None),
        };
        let plain = width <= 8
            && declared.scope == Scope::Group
            && run.offset.is_none()
            && run.lift == half as i32
            && run.bias.abs() <= i32::from(MAX_BIAS)
            && (slot..).zip(codes).all(|(slot, code)| slot_of(&side.affine, *code) == Some((field, slot)))
            && run.scale.is_none_or(|scale| is_half(&side.affine, scale));
        if !plain {
            return Ok(None);
        }
        let bit = i64::from(declared.bit_offset) + i64::from(slot * width);
        let bits = ALIGNMENT * width;
        let mut words = [self.emit.i32(0); 2];
        for (at, word) in (0..bits.div_ceil(32)).zip(&mut words) {
            let width = (bits - 32 * at).min(32);
            *word = self.window(opened, from.start, bit + i64::from(32 * at), width);
            let flipped = (0..ALIGNMENT).fold(0u64, |all, code| all | half << (code * declared.dtype.bits()));
            let flipped = self.emit.i32((flipped >> (32 * at)) as u32 as i32);
            *word = self.emit.pure(Pure::IXor, &[*word, flipped]);
        }
        let group = Reading { start, ..from };
        let mut scale = match run.scale {
            Some(node) => self.evaluate(group, node)?,
            None => self.emit.f32(1.0),
        };
        if let Some(inside) = opened.inside {
            let zero = self.emit.f32(0.0);
            scale = self.emit.pure(Pure::Select, &[inside, scale, zero]);
        }
        let mut args = vec![self.emit.i64(i64::from(element)), item.place];
        args.extend([words[0], words[1], scale].map(|value| self.emit.splat(value)));
        args.extend(item.mask);
        let codes = Some((width as u8, run.bias as i16));
        Ok(Some(Eight { args, masked: item.mask.is_some(), codes }))
    }

    /// Puts what was loaded into scratch.
    pub(crate) fn stage(&mut self, arena: Arena, all: Vec<Eight>) {
        for Eight { args, masked, codes } in all {
            let op = match codes {
                Some((bits, bias)) => FragmentOp::StageCodes { arena, bits, bias, masked },
                None => FragmentOp::Stage { arena, masked },
            };
            self.emit.effect(LaneOp::Fragment(op), &args);
        }
    }
}
