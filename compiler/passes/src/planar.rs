//! Rows that lie in planes (`planes`): where a group's bytes are, and codes cut out of them.
//!
//! A row is found by its block and its place `r` in that; a byte by the plane that holds it. What is read at a time is a *piece*, a word, or the unit where
//! that is narrower:
//!
//! ```text
//! byte j of group g in a plane of n units of u bytes from byte s, p before it:   block + D groups p + ((g n + (j - s) / u) D + r) u + (j - s) % u
//! ```
//!
//! D is the block's rows: 64, or in words (`LastBlock::Short`) what the last block has. There, neighbouring rows in neighbouring lanes are one contiguous load.
//!
//! Pieces of one unit differ by a constant, so that a backend can read all of them at once. What is the same for all lanes is counted in the 64 bits of the
//! base, the rest in the 32 bits of the offset.

use crate::eval::Coord;
use crate::lower::{LowerError, Lowering};
use crate::memory::{Axis, Extent};
use crate::packing::{Packing, ROWS};
use crate::planes::{LastBlock, Plane, Planes};
use crate::rows::{Distance, Row};
use crate::stored::{Bits, unit_mem};
use tvmc_ir::lane::{self, Mem, MemoryOp, Pure};
use tvmc_types::dtype::DType;

/// Bits of a piece at most.
const WORD: u32 = 32;

/// A row of a block, or one for each lane.
#[derive(Copy, Clone)]
pub(crate) struct Planar {
    pub planes: Planes,
    /// Groups of a row.
    groups: i64,
    /// Number of the block, u.i64, and what lanes add to it, v.i32.
    block: lane::Value,
    more: Option<lane::Value>,
    /// Place in the block, i32; of lane 0 where `neighbours`.
    within: lane::Value,
    /// Whether lane `l` has the `l`th row after lane 0's, in the same block.
    neighbours: bool,
    /// Rows of the block.
    rows: Distance,
}

impl Planar {
    fn group_bits(&self) -> i64 {
        i64::from(self.planes.bytes) * 8
    }

    /// Elements of `size` bytes of a whole block.
    fn block_elements(&self, size: u32) -> i64 {
        ROWS as i64 * self.groups * i64::from(self.planes.bytes) / i64::from(size)
    }
}

impl<'k> Lowering<'k> {
    /// The row's block and place. Outer axes but the last count matrices.
    pub(crate) fn planar_row(
        &mut self,
        (outer, extents): (&[Axis], &[Extent]),
        planes: Planes,
        groups: i64,
    ) -> Result<Planar, LowerError> {
        let (Some((axis, matrix)), Some((rows, extents))) = (outer.split_last(), extents.split_last()) else {
            return self.unsupported("a packed tensor without rows", None);
        };
        let size = ROWS as i64;
        let short = planes.last == LastBlock::Short;
        if short && !matrix.is_empty() {
            return self.unsupported("several matrices whose rows lie in words", None);
        }
        let matrix = self.address(matrix, extents);
        let blocks = self.planar_blocks(*rows);
        let lanes = if axis.coord.has_lanes() { i64::from(self.target.lanes) } else { 1 };
        let coord = axis.coord.position();
        // Rows from a multiple of `aligned` on that stay below the next one are in one block.
        let offset = axis.offset;
        let aligned = offset.facts.multiple | offset.offset | size;
        let aligned = 1i64 << aligned.trailing_zeros();
        let one_block = coord.lo() >= 0 && coord.hi() + lanes <= aligned;
        let fixed = offset.value.is_none_or(|value| !self.emit.is_varying(value));
        // Lanes that begin at a multiple of their number are in one block, too.
        let total = self.total(axis);
        let chunk = size % lanes == 0
            && total.facts.multiple % lanes == 0
            && total.offset % lanes == 0
            && total.value.is_none_or(|value| !self.emit.is_varying(value));
        let side_by_side = short && axis.coord.has_lanes();
        let neighbours = side_by_side && (chunk || (one_block && fixed));
        let (block, within) = if side_by_side && chunk && !(one_block && fixed) {
            self.block_of_rows(total, size as i32)
        } else if one_block && fixed {
            let (block, first) = self.block_of_rows(offset, size as i32);
            let ahead = match axis.coord {
                Coord::Lanes(_) if !neighbours => self.coord_value(axis.coord),
                Coord::At(_) | Coord::Lanes(_) => self.position_value(coord),
            };
            (block, self.emit.pure(Pure::IAdd, &[first, ahead]))
        } else {
            let index = match axis.coord {
                Coord::At(_) => self.position_value(total),
                Coord::Lanes(_) => self.coord_value(Coord::Lanes(total)),
            };
            let rows = self.emit.i32(size as i32);
            let block = self.emit.pure(Pure::IDivU, &[index, rows]);
            (block, self.emit.pure(Pure::IRemU, &[index, rows]))
        };
        let packing = if short { Packing::Words } else { Packing::Planar };
        let block_rows = self.block_rows(packing, *rows, block);
        let mut before = self.emit.lmul(matrix.base, blocks);
        let mut more = None;
        if self.emit.is_varying(block) {
            more = Some(block);
        } else {
            let block = self.emit.pure(Pure::I32ToI64, &[block]);
            before = self.emit.ladd(before, block);
        }
        if let Some(matrix) = self.by_lane(&matrix) {
            let blocks = self.emit.pure(Pure::I64ToI32, &[blocks]);
            let skipped = self.emit.pure(Pure::IMul, &[matrix, blocks]);
            more = Some(self.sum(more, skipped));
        }
        Ok(Planar { planes, groups, block: before, more, within, neighbours, rows: block_rows })
    }

    /// Blocks of rows of a matrix, u.i64.
    fn planar_blocks(&mut self, rows: Extent) -> lane::Value {
        let size = ROWS as i64;
        match rows {
            Extent::Constant(rows) => self.emit.i64((rows + size - 1) / size),
            Extent::Runtime(rows, _) => {
                let more = self.emit.i32(size as i32 - 1);
                let rows = self.emit.pure(Pure::IAdd, &[rows, more]);
                let size = self.emit.i32(size as i32);
                let blocks = self.emit.pure(Pure::IDivU, &[rows, size]);
                self.emit.pure(Pure::I32ToI64, &[blocks])
            }
        }
    }

    /// The value whose code starts at this bit of the row.
    pub(crate) fn planar_code(
        &mut self,
        row: &Row,
        planar: &Planar,
        bits: Bits,
        dtype: DType,
    ) -> Result<lane::Value, LowerError> {
        let width = dtype.bits();
        if let Some(within) = bits.within {
            let raw = self.planar_computed(row, planar, bits, within, width);
            return self.widen_code(raw, dtype);
        }
        let byte = (bits.constant.rem_euclid(planar.group_bits()) / 8) as u32;
        let plane = planar.planes.of_byte(byte);
        // It may begin within a unit and end in the next, or in another plane.
        if dtype == DType::F16 && plane.unit == 2 && (byte - plane.start).is_multiple_of(2) {
            return Ok(self.piece(row, planar, bits, Mem::F16));
        }
        let raw = self.planar_bits(row, planar, bits, width);
        self.widen_code(raw, dtype)
    }

    /// `width` bits from a constant bit of a group, zero-extended.
    pub(crate) fn planar_bits(&mut self, row: &Row, planar: &Planar, bits: Bits, width: u32) -> lane::Value {
        let mut raw = None;
        let mut have = 0;
        let mut bits = bits;
        let mut whole = false;
        while have < width {
            let (piece, skipped, length) = self.piece_at(row, planar, bits);
            let part = if have == 0 {
                let by = self.emit.i32(skipped as i32);
                self.emit.pure(Pure::ShrU, &[piece, by])
            } else {
                let by = self.emit.i32(have as i32);
                self.emit.pure(Pure::Shl, &[piece, by])
            };
            raw = Some(match raw {
                Some(raw) => self.emit.pure(Pure::IOr, &[raw, part]),
                None => part,
            });
            have += length - skipped;
            bits.constant += i64::from(length - skipped);
            whole = have == width;
        }
        match raw {
            // Nothing stands above the code if it ends with its piece.
            Some(raw) if whole || width == WORD => raw,
            Some(raw) => self.extend_bits(raw, width, false),
            None => self.emit.i32(0),
        }
    }

    /// The words that hold `width` bits, at most 32, from a constant bit of a group, and the first bit in the lower one. Both are one where
    /// one holds all.
    pub(crate) fn planar_words(
        &mut self,
        row: &Row,
        planar: &Planar,
        bits: Bits,
        width: u32,
    ) -> (lane::Value, lane::Value, u8) {
        let (low, skipped, length) = self.piece_at(row, planar, bits);
        if skipped + width <= length {
            return (low, low, skipped as u8);
        }
        if length == WORD {
            let next = Bits { constant: bits.constant + i64::from(length - skipped), ..bits };
            let (high, start, more) = self.piece_at(row, planar, next);
            if start == 0 && skipped + width <= length + more {
                return (low, high, skipped as u8);
            }
        }
        let low = self.planar_bits(row, planar, bits, width);
        (low, low, 0)
    }

    /// The piece that holds a constant bit of a group, the bit's place in it, and its bits.
    fn piece_at(&mut self, row: &Row, planar: &Planar, bits: Bits) -> (lane::Value, u32, u32) {
        let bit = bits.constant.rem_euclid(planar.group_bits()) as u32;
        let plane = planar.planes.of_byte(bit / 8);
        let size = plane.unit.min(4);
        let skipped = (bit - plane.start * 8) % (size * 8);
        let first = Bits { constant: bits.constant - i64::from(skipped), ..bits };
        (self.piece(row, planar, first, unit_mem(size)), skipped, size * 8)
    }

    /// The piece that begins at a constant bit of a group.
    fn piece(&mut self, row: &Row, planar: &Planar, bits: Bits, mem: Mem) -> lane::Value {
        let size = mem.bytes();
        let (number, bit) =
            (bits.constant.div_euclid(planar.group_bits()), bits.constant.rem_euclid(planar.group_bits()));
        let plane = planar.planes.of_byte((bit / 8) as u32);
        let Plane { start, unit, units, before } = plane;
        let at = (bit / 8) as u32 - start;
        let wide = i64::from(size);
        let per_unit = i64::from(unit / size);
        let unit_number = number * i64::from(units) + i64::from(at / unit);
        let mut place = Spot { base: self.emit.i64(0), offset: None };
        self.add_block(&mut place, planar, size);
        self.add(&mut place, Some(planar.within), per_unit);
        let bytes_before = planar.groups * i64::from(before);
        let group_units = i64::from(units) * per_unit;
        let fixed = i64::from(at % unit) / wide;
        let fixed = match planar.rows {
            Distance::Constant(rows) => {
                let rows = i64::from(rows);
                self.add(&mut place, bits.group, group_units * rows);
                self.add(&mut place, bits.ahead, per_unit * rows);
                fixed + rows * bytes_before / wide + rows * unit_number * per_unit
            }
            Distance::Value(rows) => {
                // What stands before a plane of a short block is in wider units, so this is whole.
                self.add(&mut place, Some(rows), bytes_before / wide + unit_number * per_unit);
                for (count, units) in [(bits.group, group_units), (bits.ahead, per_unit)] {
                    if let Some(count) = count {
                        let rows = self.emit.pure(Pure::IMul, &[rows, count]);
                        self.add(&mut place, Some(rows), units);
                    }
                }
                fixed
            }
        };
        let fixed = self.emit.i64(fixed);
        place.base = self.emit.ladd(place.base, fixed);
        self.load_spot(row, place, mem, (row.mask, planar.neighbours))
    }

    fn add_block(&mut self, place: &mut Spot, planar: &Planar, size: u32) {
        let elements = planar.block_elements(size);
        let whole = self.emit.i64(elements);
        let start = self.emit.lmul(planar.block, whole);
        place.base = self.emit.ladd(place.base, start);
        self.add(place, planar.more, elements);
    }

    /// `factor` times an i32: to the base where it is the same for all lanes.
    fn add(&mut self, place: &mut Spot, value: Option<lane::Value>, factor: i64) {
        let Some(value) = value else { return };
        if self.emit.is_varying(value) {
            let factor = self.emit.i32(factor as i32);
            let term = self.emit.pure(Pure::IMul, &[value, factor]);
            place.offset = Some(self.sum(place.offset, term));
        } else {
            let (wide, factor) = (self.emit.pure(Pure::I32ToI64, &[value]), self.emit.i64(factor));
            let term = self.emit.lmul(wide, factor);
            place.base = self.emit.ladd(place.base, term);
        }
    }

    /// `neighbours`: lane `l` reads `l` further.
    fn load_spot(
        &mut self,
        row: &Row,
        place: Spot,
        mem: Mem,
        (mask, neighbours): (Option<lane::Value>, bool),
    ) -> lane::Value {
        let Spot { base, mut offset } = place;
        if neighbours {
            let Some(far) = offset else {
                let mask = mask.map(|mask| self.emit.splat(mask));
                return self.emit.load(MemoryOp::LoadContig, mem, row.place, base, None, mask);
            };
            let lane = self.emit.lane_index();
            offset = Some(self.emit.pure(Pure::IAdd, &[far, lane]));
        }
        if offset.is_none() && mask.is_some_and(|mask| self.emit.is_varying(mask)) {
            offset = Some(self.emit.i32(0));
        }
        let form = if offset.is_some() { MemoryOp::Gather } else { MemoryOp::LoadUniform };
        self.emit.load(form, mem, row.place, base, offset, mask)
    }

    /// A code at a computed bit of its group: byte by byte, each from the plane that has it.
    fn planar_computed(
        &mut self,
        row: &Row,
        planar: &Planar,
        bits: Bits,
        within: lane::Value,
        width: u32,
    ) -> lane::Value {
        let (number, bit) =
            (bits.constant.div_euclid(planar.group_bits()), bits.constant.rem_euclid(planar.group_bits()));
        let (bit, eight) = (self.emit.i32(bit as i32), self.emit.i32(8));
        let at = self.emit.pure(Pure::IAdd, &[within, bit]);
        let first = self.emit.pure(Pure::IDivU, &[at, eight]);
        let shift = self.emit.pure(Pure::IRemU, &[at, eight]);
        let width_value = self.emit.i32(width as i32);
        let end = self.emit.pure(Pure::IAdd, &[shift, width_value]);
        let number = self.emit.i32(number as i32);
        let group = match bits.group {
            Some(group) => self.emit.pure(Pure::IAdd, &[group, number]),
            None => number,
        };
        let mut raw = None;
        for more in 0..(7 + width).div_ceil(8) {
            let (ahead, covered) = (self.emit.i32(more as i32), self.emit.i32(8 * more as i32));
            let byte = self.emit.pure(Pure::IAdd, &[first, ahead]);
            let mask = if more == 0 {
                row.mask
            } else {
                let needed = self.emit.pure(Pure::ILtU, &[covered, end]);
                self.emit.both(row.mask, Some(needed))
            };
            let byte = self.computed_byte(row, planar, group, byte, mask);
            // A byte that is not needed is read as zero, whatever its shift.
            let part = if more == 0 {
                self.emit.pure(Pure::ShrU, &[byte, shift])
            } else {
                let by = self.emit.pure(Pure::ISub, &[covered, shift]);
                self.emit.pure(Pure::Shl, &[byte, by])
            };
            raw = Some(match raw {
                Some(raw) => self.emit.pure(Pure::IOr, &[raw, part]),
                None => part,
            });
        }
        let raw = raw.unwrap_or(width_value);
        if width == WORD { raw } else { self.extend_bits(raw, width, false) }
    }

    fn computed_byte(
        &mut self,
        row: &Row,
        planar: &Planar,
        group: lane::Value,
        byte: lane::Value,
        mask: Option<lane::Value>,
    ) -> lane::Value {
        let planes = planar.planes;
        let choose = |this: &mut Self, of: &dyn Fn(Plane) -> u32| {
            let mut list = planes.list().iter().rev();
            let mut chosen = this.emit.i32(list.next().map_or(0, |plane| of(*plane)) as i32);
            for plane in list {
                let (limit, value) = (this.emit.i32(plane.end() as i32), this.emit.i32(of(*plane) as i32));
                let below = this.emit.pure(Pure::ILtU, &[byte, limit]);
                chosen = this.emit.pure(Pure::Select, &[below, value, chosen]);
            }
            chosen
        };
        let start = choose(self, &|plane| plane.start);
        let before = choose(self, &|plane| plane.before);
        let units = choose(self, &|plane| plane.units);
        let log = choose(self, &|plane| plane.unit.trailing_zeros());
        let within_unit = choose(self, &|plane| plane.unit - 1);
        let rows = match planar.rows {
            Distance::Constant(rows) => self.emit.i32(rows),
            Distance::Value(rows) => rows,
        };
        let groups = self.emit.i32(planar.groups as i32);
        let groups = self.emit.pure(Pure::IMul, &[groups, rows]);
        let ahead = self.emit.pure(Pure::ISub, &[byte, start]);
        let before = self.emit.pure(Pure::IMul, &[before, groups]);
        let unit = self.emit.pure(Pure::ShrU, &[ahead, log]);
        let first = self.emit.pure(Pure::IMul, &[group, units]);
        let unit = self.emit.pure(Pure::IAdd, &[first, unit]);
        let unit = self.emit.pure(Pure::IMul, &[unit, rows]);
        let mut unit = self.emit.pure(Pure::IAdd, &[unit, planar.within]);
        if planar.neighbours {
            let lane = self.emit.lane_index();
            unit = self.emit.pure(Pure::IAdd, &[unit, lane]);
        }
        let unit = self.emit.pure(Pure::Shl, &[unit, log]);
        let rest = self.emit.pure(Pure::IAnd, &[ahead, within_unit]);
        let at = self.emit.pure(Pure::IAdd, &[before, unit]);
        let at = self.emit.pure(Pure::IAdd, &[at, rest]);
        let mut place = Spot { base: self.emit.i64(0), offset: None };
        self.add_block(&mut place, planar, 1);
        self.add(&mut place, Some(at), 1);
        self.load_spot(row, place, Mem::U8, (mask, false))
    }
}

/// `base + offset`, in elements: u.i64, v.i32.
#[derive(Copy, Clone)]
struct Spot {
    base: lane::Value,
    offset: Option<lane::Value>,
}
