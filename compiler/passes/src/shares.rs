//! How the lanes of a block share a spread product (`spread`): how many have a column of it, and what each takes of K.
//!
//! ```text
//! 64 lanes, m = 1, n = 8, steps of 32, granule 1     kl = 8: lane 8 c + q takes elements q, q + 8, q + 16, q + 24 of each turn
//! ```
//!
//! A choice has `columns * k_lanes` = the lanes of the block, and `passes * columns` = the columns of the product. Of all that fit (accumulators, scratch for an operand
//! that is brought there, columns enough to read whole lines of a weight in planes) the one is taken that leaves the busiest lane the least work.

use crate::eval::Position;
use crate::lower::Lowering;
use tvmc_ir::lane::{self, Pure};
use tvmc_ir::tile::facts::Facts;

/// Elements of K that a lane takes at least in one turn of the generated loop, where there are as many.
const MIN_ELEMENTS: u32 = 8;
/// Most bytes of scratch for an operand that is brought there.
const MAX_STAGE_BYTES: u32 = 16 << 10;
/// Rows whose vectors are neighbours at least: 64 bytes of a device's memory.
const MIN_COLUMNS: u32 = 4;

/// What there is to share.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Work {
    /// Rows of the product.
    pub m: u32,
    /// Columns.
    pub n: u32,
    /// Elements of K in a turn of the loop.
    pub step: u32,
    /// Elements of K altogether, where they are known.
    pub total: Option<u64>,
}

/// Which lanes are neighbours.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Neighbours {
    /// Those of one column: its row of the weight is one string.
    Parts,
    /// Those of one part of K: rows of the weight are interleaved.
    Columns,
}

/// How lanes share the work.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    /// Lanes of one column.
    pub k_lanes: u32,
    /// Elements of K that are decoded together.
    pub granule: u32,
    /// Lanes of a column that share a turn of the loop.
    pub inner: u32,
    /// Turns of the loop that are made at once.
    pub outer: u32,
    /// Columns that are made at once.
    pub columns: u32,
    /// How often that is done for the whole tile.
    pub passes: u32,
    /// Turns of a lane in one turn of the generated loop, so that enough loads are under way.
    pub unroll: u32,
    pub neighbours: Neighbours,
}

impl Shares {
    /// Elements of K that a lane takes in a turn.
    pub fn elements(&self, step: u32) -> u32 {
        step / self.inner
    }

    /// Words between the parts of neighbouring lanes in scratch: odd.
    pub fn pitch(&self, step: u32) -> u32 {
        self.elements(step) | 1
    }
}

/// Each lane's place.
pub(crate) struct Places {
    /// Element of K within a turn at which the lane begins.
    pub inner: Position,
    /// Column within a pass.
    pub column: Position,
    /// Number of the lane among those of its column, v.i32.
    pub part: lane::Value,
}

impl Lowering<'_> {
    /// How to share: least work for the busiest lane, then most lanes to a column.
    pub(crate) fn shares(
        &self,
        work: Work,
        granule: u32,
        staged: bool,
        neighbours: Neighbours,
    ) -> Option<Shares> {
        let Work { m, n, step, total } = work;
        let lanes = self.target.lanes;
        let mut best: Option<(u64, Shares)> = None;
        for k_lanes in (1..=lanes.ilog2()).map(|log| 1 << log) {
            let columns = lanes / k_lanes;
            // A column of one element may have every lane; more would only cross the subgroups of a device.
            if !n.is_multiple_of(columns) || (k_lanes > self.target.spread && n > 1) {
                continue;
            }
            let inner = largest_power_of_two(step / granule).min(k_lanes);
            let outer = k_lanes / inner;
            let passes = n / columns;
            let mut shares =
                Shares { k_lanes, granule, inner, outer, columns, passes, unroll: 1, neighbours };
            let turns = total.map(|total| total.div_ceil(u64::from(step) * u64::from(outer)));
            if neighbours == Neighbours::Columns && columns < n.min(MIN_COLUMNS) {
                continue;
            }
            if !staged {
                let wanted = u64::from(MIN_ELEMENTS.div_ceil(shares.elements(step)));
                shares.unroll = turns.map_or(wanted, |turns| wanted.min(turns.max(1))) as u32;
            }
            let stage = m * k_lanes * shares.pitch(step) * 4;
            if m * shares.passes > self.target.accumulators || (staged && stage > MAX_STAGE_BYTES) {
                continue;
            }
            let work = turns.unwrap_or(1) * u64::from(shares.elements(step)) * u64::from(shares.passes);
            if best.is_none_or(|(least, _)| work <= least) {
                best = Some((work, shares));
            }
        }
        best.map(|(_, shares)| shares)
    }

    /// Where each lane stands.
    pub(crate) fn places(&mut self, shares: Shares) -> Places {
        let lane = self.emit.lane_index();
        let (k_lanes, inner) = (self.emit.i32(shares.k_lanes as i32), self.emit.i32(shares.inner as i32));
        let granule = self.emit.i32(shares.granule as i32);
        let (column, part) = match shares.neighbours {
            Neighbours::Parts => {
                (self.emit.pure(Pure::IDivU, &[lane, k_lanes]), self.emit.pure(Pure::IRemU, &[lane, k_lanes]))
            }
            Neighbours::Columns => {
                let columns = self.emit.i32(shares.columns as i32);
                let column = self.emit.pure(Pure::IRemU, &[lane, columns]);
                (column, self.emit.pure(Pure::IDivU, &[lane, columns]))
            }
        };
        let first = self.emit.pure(Pure::IRemU, &[part, inner]);
        let first = self.emit.pure(Pure::IMul, &[first, granule]);
        let spread = |value, extent: u32, multiple: u32| Position {
            value: (extent > 1).then_some(value),
            offset: 0,
            facts: Facts::range(0, i64::from((extent - 1) * multiple), i64::from(multiple)),
        };
        Places {
            inner: spread(first, shares.inner, shares.granule),
            column: spread(column, shares.columns, 1),
            part,
        }
    }
}

/// The largest power of two that divides a positive number.
fn largest_power_of_two(number: u32) -> u32 {
    1 << number.trailing_zeros().min(31)
}
