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
//! Where there are more granules than lanes, lanes take several in turn. What lies outside of the tensor is zero, as everywhere.

use crate::eval::{Coord, Position};
use crate::lower::{LowerError, Lowering};
use tvmc_ir::lane::fragment::ALIGNMENT;
use tvmc_ir::lane::{Arena, FragmentOp, Op as LaneOp, Pure};
use tvmc_ir::tile::Value;
use tvmc_ir::tile::facts::Facts;

/// Halves between lines: 16 bytes.
const PAD: u32 = 8;

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

impl<'k> Lowering<'k> {
    /// Brings `length` elements of K from the turn's element `first` on to scratch.
    pub(crate) fn stage(
        &mut self,
        side: &Staged,
        arena: Arena,
        (first, length): (u32, u32),
    ) -> Result<(), LowerError> {
        let (lines, elements) = side.lines(length);
        let units = elements / side.granule;
        let lanes = self.target.lanes;
        let lane = self.emit.lane_index();
        for start in (0..lines * units).step_by(lanes as usize) {
            let mark = self.moves();
            let ahead = self.emit.i32(start as i32);
            let item = self.emit.pure(Pure::IAdd, &[lane, ahead]);
            let inner = self.emit.i32(if side.interleaved { lines } else { units } as i32);
            let (quotient, rest) =
                (self.emit.pure(Pure::IDivU, &[item, inner]), self.emit.pure(Pure::IRemU, &[item, inner]));
            let (mut line, mut unit) = if side.interleaved { (rest, quotient) } else { (quotient, rest) };
            let mut mask = None;
            if start + lanes > lines * units {
                let count = self.emit.i32((lines * units) as i32);
                mask = Some(self.emit.pure(Pure::ILtU, &[item, count]));
                let last = self.emit.i32(if side.interleaved { units } else { lines } as i32 - 1);
                let outer = if side.interleaved { &mut unit } else { &mut line };
                *outer = self.emit.pure(Pure::IMinU, &[*outer, last]);
            }
            let granule = self.emit.i32(side.granule as i32);
            let within = self.emit.pure(Pure::IMul, &[unit, granule]);
            let position = |value, count: u32, multiple: u32| Position {
                value: (count > 1).then_some(value),
                offset: 0,
                facts: Facts::range(0, i64::from((count - 1) * multiple), i64::from(multiple)),
            };
            let line_at = position(line, lines, 1);
            let within_at = position(within, units, side.granule);
            let pitch = self.emit.i32(side.pitch(length) as i32);
            let place = self.emit.pure(Pure::IMul, &[line, pitch]);
            let place = self.emit.pure(Pure::IAdd, &[place, within]);
            let place = self.emit.splat(place);
            let mask = mask.map(|mask| self.emit.splat(mask));
            for piece in (0..side.granule).step_by(ALIGNMENT as usize) {
                let mut args = vec![self.emit.i64(i64::from(piece)), place];
                for element in piece..piece + ALIGNMENT {
                    let along = within_at.plus(i64::from(element));
                    let (k, other) = match side.along {
                        Along::K => (along.plus(i64::from(first)), line_at),
                        Along::Lines => (line_at.plus(i64::from(first)), along),
                    };
                    let mut at = [Coord::At(other); 2];
                    at[side.k_axis] = Coord::At(k);
                    let value = self.eval(side.value, &at)?;
                    args.push(self.emit.splat(value));
                }
                args.extend(mask);
                let op = FragmentOp::Stage { arena, masked: mask.is_some() };
                self.emit.effect(LaneOp::Fragment(op), &args);
            }
            self.restore(mark);
        }
        Ok(())
    }
}
