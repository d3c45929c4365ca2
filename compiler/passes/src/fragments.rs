//! Loops that add up products of halves, by fragments (`lane::fragment`), where a target multiplies whole matrices (`Target::fragments`).
//!
//! ```text
//! for k in from..to by BK { acc += dot(a, b) }      a: [M, K], b: [K, N], acc: f32[M, N]
//!
//! sums of all groups = 0
//! for k in from..to by TURN {
//!   stage b[k .. k + TURN, ..] as halves                                        (`staging`)
//!   for part of TURN { stage a[.., part]; for each 16 of it { sums += a b } }    fragments from scratch, sums in registers
//! }
//! ```
//!
//! **Parts.** Where there are fewer rectangles than groups, several groups have one, and each takes its part of every stretch of K. Their sums are added at the end, the first part's first.
//!
//! The groups of a block share the rows and columns of `acc` among them; each has a rectangle of sums. So an element of an operand is decoded once for all of a block's
//! rows (columns), and read from scratch by those groups that need it.
//!
//! **Halves.** Factors are rounded to f16 where they are staged, so this is for products one factor of which is stored as f16 by the will of whoever wrote the program or
//! asked for such activations. Of the other what is stored in a format, or in a type of which every number is a half, is taken: decoded in f32 and rounded once (relative error 2^-11,
//! and beyond 65504 infinite), as such products are everywhere. Factors in f32 or bf16 go the general way. Sums are f32, the order that of `lane::fragment`.
//!
//! **The end.** Where the product only goes, through element-wise operations, to tensors, sums are stored from where they are: whole fragments where all of a block's rectangle lies
//! inside the tensor, else, and where something is computed, through a window of scratch that each group has for one fragment at a time. Otherwise they become a tile in scratch.
//!
//! **Taken** for the loops that `spread` describes, if rows, columns and turns are multiples of 16, the groups have fragments enough to share, and what is staged fits
//! into scratch. A block that takes part in this has as many lanes as the target's row says (`instance`).

use crate::eval::{Coord, Position};
use crate::factors::Factor;
use crate::history;
use crate::lower::{LowerError, Lowering, Repr, Tail};
use crate::memory::mem_of;
use crate::shares::Neighbours;
use crate::spread::{Product, lcm, reads_slices};
use crate::staging::{Along, Eight, Staged};
use tvmc_ir::lane::fragment::{ALIGNMENT, EDGE};
use tvmc_ir::lane::{self, Arena, Fragment, FragmentOp, Mem, Op as LaneOp, Order, Place, Pure, Role, Scalar};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Element, Inst, Memory, Op, Stmt, Value};
use tvmc_types::dtype::DType;

/// Elements of K that are staged at once at most, where short turns are joined.
const MAX_TURN: u32 = 256;
/// Rows up to which turns are joined.
const FEW_ROWS: u32 = 2 * EDGE;
/// Words between the rows of a window: no two rows of a fragment in the same banks.
const WINDOW_ROW: u32 = EDGE + 4;

/// How a loop is made.
struct Way {
    /// Elements of K in a turn, and in a part of one.
    turn: u32,
    part: u32,
    left: Staged,
    right: Staged,
    share: Share,
}

/// What each group has of a product.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    /// Lanes of a group.
    pub group: u32,
    /// Groups side by side along N.
    across: u32,
    /// Fragments of a group along M and N.
    rows: u32,
    columns: u32,
    /// Groups that have one rectangle of sums together, each its part of every stretch of K that lies in scratch.
    parts: u32,
}

/// Sums that lie in fragments.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    pub share: Share,
    /// Row by row.
    pub fragments: Vec<Fragment>,
    /// What is added to them: the variable's first value.
    pub initial: Value,
}

impl<'k> Lowering<'k> {
    /// Lowers a loop, if it is one that this file describes.
    pub(crate) fn fragment_loop(&mut self, stmt: &'k Stmt) -> Result<bool, LowerError> {
        let Some(mut product) = self.product(stmt).filter(|product| self.is_within_reach(product)) else {
            return Ok(false);
        };
        let Some(way) = self.fragment_way(&mut product) else { return Ok(false) };
        let stored = self.finished_by_stores(product.result);
        if stored.is_none() && (!self.is_zero(product.initial) || way.share.parts > 1) {
            return Ok(false);
        }
        for load in stored.iter().flatten() {
            self.plan.keep[load.index()] = false;
        }
        self.products.insert(
            product.result,
            history::Product::Fragments { m: product.m, n: product.n, turn: way.turn, part: way.part },
        );
        let fragments = self.fragment_turns(&product, &way)?;
        let sums = Sums { share: way.share, fragments, initial: product.initial };
        if stored.is_some() {
            self.sums.insert(product.result, sums);
        } else {
            self.sums_to_scratch(&product, &sums)?;
        }
        Ok(true)
    }

    /// How a product is made by fragments, if it can be. Short turns of the loop are joined.
    fn fragment_way(&self, product: &mut Product<'k>) -> Option<Way> {
        let fragments = self.target.fragments?;
        let lanes = self.target.lanes;
        if !lanes.is_multiple_of(fragments.group)
            || !product.m.is_multiple_of(EDGE)
            || !product.n.is_multiple_of(EDGE)
        {
            return None;
        }
        let (a, b) = (self.half_factor(product.a)?, self.half_factor(product.b)?);
        if !a.stored_as_half && !b.stored_as_half {
            return None;
        }
        let share = share(lanes / fragments.group, fragments.group, (product.m, product.n), fragments.sums)?;
        let step = product.step;
        let granule = self.granule(product, Neighbours::Columns);
        if !product.step.is_multiple_of(lcm(granule, EDGE)) {
            product.step = step;
            return None;
        }
        let side = |factor: &Factor, value: Value, extent: u32, k_axis: usize| {
            let along = if factor.inner == k_axis { Along::K } else { Along::Lines };
            let granule = lcm(factor.granule, ALIGNMENT);
            Staged { value, extent, k_axis, along, granule, interleaved: factor.interleaved }
        };
        let left = side(&a, product.a, product.m, 1);
        let right = side(&b, product.b, product.n, 0);

        let room = fragments.scratch / 4 * 3;
        // Of few rows the time goes to loads, of which many should be under way.
        let few = product.m <= FEW_ROWS;
        let mut turn = product.step;
        while few
            && turn * 2 <= MAX_TURN
            && self.joins(product, turn * 2)
            && right.bytes(turn * 2) <= room / 2
        {
            turn *= 2;
        }
        let parts = |turn: u32| {
            (0..8)
                .map(move |log| turn >> log)
                .take_while(move |part| part % EDGE == 0 && turn.is_multiple_of(*part))
        };
        let part = parts(turn).find(|part| {
            part.is_multiple_of(EDGE * share.parts)
                && left.is_whole(*part)
                && right.is_whole(turn)
                && left.bytes(*part) + right.bytes(turn) <= room
        });
        let Some(part) = part else {
            product.step = step;
            return None;
        };
        product.step = turn;
        Some(Way { turn, part, left, right, share })
    }

    /// Whether a loop may take turns of so many elements.
    fn joins(&self, product: &Product<'_>, turn: u32) -> bool {
        let whole = match self.bounds(product) {
            (Some(from), Some(to)) => from == 0 && to % i64::from(turn) == 0,
            (Some(_) | None, Some(_) | None) => false,
        };
        whole && reads_slices(product)
    }

    /// The loop; gives the sums.
    fn fragment_turns(&mut self, product: &Product<'k>, way: &Way) -> Result<Vec<Fragment>, LowerError> {
        let Way { turn, part, left, right, share } = way;
        let group = share.group;
        let mut declare = |role| self.emit.fragment(role, group);
        let a: Vec<Fragment> = (0..share.rows).map(|_| declare(Role::Left)).collect();
        let b = declare(Role::Right);
        let sums: Vec<Fragment> = (0..share.rows * share.columns).map(|_| declare(Role::Sum)).collect();
        let (left_arena, right_arena) = (self.scratch(left.bytes(*part))?, self.scratch(right.bytes(*turn))?);
        let (from, to) = (self.uniform(product.from)?, self.uniform(product.to)?);
        self.facts[product.counter.index()] =
            Facts::counter(self.facts[product.from.index()], self.facts[product.to.index()], *turn);
        for sum in &sums {
            self.emit.effect(LaneOp::Fragment(FragmentOp::Zero(*sum)), &[]);
        }
        let (down, right_of) = self.group_place(*share);
        let own = part / share.parts;
        let started = self.part_of(*share);
        self.settle();
        // Where a turn is staged at once, the next one's loads are under way while this one's fragments are multiplied.
        let ahead = part == turn && matches!(self.bounds(product), (Some(from), Some(to)) if from < to);
        if ahead {
            let staged = self.turn_halves(product, way, from)?;
            self.stage_turn(staged, (left_arena, right_arena));
        }
        let (base, _) = self.emit.begin_for(from, to, *turn, &[]);
        let mark = self.moves();
        self.barrier();
        let mut next = None;
        if ahead {
            // The last turn loads itself once more, and nobody reads it.
            let (size, one) = (self.emit.i32(*turn as i32), self.emit.i32(1));
            let length = self.emit.pure(Pure::ISub, &[to, from]);
            let length = self.emit.pure(Pure::ISub, &[length, one]);
            let before = self.emit.pure(Pure::IDivS, &[length, size]);
            let before = self.emit.pure(Pure::IMul, &[before, size]);
            let last = self.emit.pure(Pure::IAdd, &[from, before]);
            let following = self.emit.pure(Pure::IAdd, &[base, size]);
            let following = self.emit.pure(Pure::IMinS, &[following, last]);
            next = Some(self.turn_halves(product, way, following)?);
        } else {
            self.begin_turn(product, base)?;
            let staged = self.halves(right, (0, *turn))?;
            self.stage(right_arena, staged);
        }
        for first in (0..*turn).step_by(*part as usize) {
            if !ahead {
                if first > 0 {
                    self.barrier();
                }
                let staged = self.halves(left, (first, *part))?;
                self.stage(left_arena, staged);
                self.barrier();
            }
            for k in (0..own).step_by(EDGE as usize) {
                for (i, fragment) in (0..).zip(&a) {
                    self.load_factor((left, *part), left_arena, *fragment, (down, started, own), (i, k));
                }
                for j in 0..share.columns {
                    let k = first + k;
                    self.load_factor((right, *turn), right_arena, b, (right_of, started, own), (j, k));
                    for (i, left) in (0..).zip(&a) {
                        let sum = sums[(i * share.columns + j) as usize];
                        let op = FragmentOp::MultiplyAdd { sum, left: *left, right: b };
                        self.emit.effect(LaneOp::Fragment(op), &[]);
                    }
                }
            }
        }
        if let Some(staged) = next {
            self.barrier();
            self.stage_turn(staged, (left_arena, right_arena));
        }
        self.emit.end_for(&[]);
        self.restore(mark);
        self.barrier();
        Ok(sums)
    }

    /// The loop's body at an element of K, but for the product.
    fn begin_turn(&mut self, product: &Product<'k>, counter: lane::Value) -> Result<(), LowerError> {
        self.repr[product.counter.index()] = Some(Repr::Uniform(counter));
        product.insts.iter().try_for_each(|inst| self.inst(inst))
    }

    /// Loads and decodes a whole turn: the left factor's halves and the right one's.
    fn turn_halves(
        &mut self,
        product: &Product<'k>,
        way: &Way,
        counter: lane::Value,
    ) -> Result<[Vec<Eight>; 2], LowerError> {
        self.begin_turn(product, counter)?;
        let right = self.halves(&way.right, (0, way.turn))?;
        Ok([self.halves(&way.left, (0, way.turn))?, right])
    }

    fn stage_turn(&mut self, [left, right]: [Vec<Eight>; 2], arenas: (Arena, Arena)) {
        self.stage(arenas.0, left);
        self.stage(arenas.1, right);
    }

    /// A lane's group: rows above its rectangle and columns before it, as v.i32 with what is known.
    fn group_place(&mut self, share: Share) -> (Position, Position) {
        let lane = self.emit.lane_index();
        let size = self.emit.i32(share.group as i32);
        let mut group = self.emit.pure(Pure::IDivU, &[lane, size]);
        let groups = self.target.lanes / share.group / share.parts;
        if share.parts > 1 {
            let rectangles = self.emit.i32(groups as i32);
            group = self.emit.pure(Pure::IRemU, &[group, rectangles]);
        }
        let across = self.emit.i32(share.across as i32);
        let (down, along) =
            (self.emit.pure(Pure::IDivU, &[group, across]), self.emit.pure(Pure::IRemU, &[group, across]));
        let mut place = |value, count: u32, fragments: u32| {
            let size = fragments * EDGE;
            let size_value = self.emit.i32(size as i32);
            let value = self.emit.pure(Pure::IMul, &[value, size_value]);
            let value = self.emit.splat(value);
            let facts = Facts::range(0, i64::from((count - 1) * size), i64::from(size));
            Position { value: Some(value), offset: 0, facts }
        };
        (place(down, groups / share.across, share.rows), place(along, share.across, share.columns))
    }

    /// The number of a lane's part, where there are several.
    fn part_of(&mut self, share: Share) -> Option<lane::Value> {
        if share.parts == 1 {
            return None;
        }
        let lane = self.emit.lane_index();
        let lanes = self.emit.i32((self.target.lanes / share.parts) as i32);
        Some(self.emit.pure(Pure::IDivU, &[lane, lanes]))
    }

    /// Loads fragment `number` of a group's rows or columns, 16 of K from `k` on.
    fn load_factor(
        &mut self,
        (side, length): (&Staged, u32),
        arena: Arena,
        fragment: Fragment,
        (group, started, own): (Position, Option<lane::Value>, u32),
        (number, k): (u32, u32),
    ) {
        let pitch = side.pitch(length);
        let (line, element) = match side.along {
            Along::K => (pitch, 1),
            Along::Lines => (1, pitch),
        };
        let base = self.emit.i64(i64::from(number * EDGE * line + k * element));
        let line = self.emit.i32(line as i32);
        let zero = self.emit.i32(0);
        let mut offset = self.emit.pure(Pure::IMul, &[group.value.unwrap_or(zero), line]);
        if let Some(part) = started {
            let apart = self.emit.i32((own * element) as i32);
            let before = self.emit.pure(Pure::IMul, &[part, apart]);
            offset = self.emit.pure(Pure::IAdd, &[offset, before]);
        }
        let offset = self.emit.splat(offset);
        let stride = self.emit.i32(pitch as i32);
        // Rows of a left factor are its lines, columns of a right one.
        let order = match (side.along, side.k_axis) {
            (Along::K, 1) | (Along::Lines, 0) => Order::Rows,
            (Along::K | Along::Lines, _) => Order::Columns,
        };
        let op = LaneOp::Fragment(FragmentOp::Load { fragment, arena, order });
        self.emit.effect(op, &[base, offset, stride]);
    }

    /// Sums as a tile in scratch.
    fn sums_to_scratch(&mut self, product: &Product<'k>, sums: &Sums) -> Result<(), LowerError> {
        let shape = [product.m, product.n];
        let mut tile = self.arena_of_rows(&shape, product.n, Scalar::F32)?;
        tile.tail = Tail::Unwritten;
        let (down, along) = self.group_place(sums.share);
        let stride = self.emit.i32(tile.row as i32);
        let zero = self.emit.i32(0);
        let rows = self.emit.pure(Pure::IMul, &[down.value.unwrap_or(zero), stride]);
        let offset = self.emit.pure(Pure::IAdd, &[rows, along.value.unwrap_or(zero)]);
        for (at, fragment) in (0..).zip(&sums.fragments) {
            let (i, j) = (at / sums.share.columns, at % sums.share.columns);
            let base = self.emit.i64(i64::from(i * EDGE * tile.row + j * EDGE));
            let op = FragmentOp::Store { fragment: *fragment, place: Place::Arena(tile.arena) };
            self.emit.effect(LaneOp::Fragment(op), &[base, offset, stride]);
        }
        self.barrier();
        self.repr[product.result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    /// Whether a tile is zero everywhere, as written.
    fn is_zero(&self, value: Value) -> bool {
        match self.defs[value.index()].map(|inst| (&inst.op, inst.args.as_slice())) {
            Some((Op::Const(bits), _)) => *bits == 0,
            Some((Op::Broadcast, [operand])) => self.is_zero(*operand),
            Some(_) | None => false,
        }
    }

    /// What of a store's value lies in fragments, if something does.
    pub(crate) fn sums_of(&self, value: Value) -> Option<(Value, Sums)> {
        if let Some(sums) = self.sums.get(&value) {
            return Some((value, sums.clone()));
        }
        match &self.repr[value.index()] {
            Some(Repr::Lazy) => {
                self.defs[value.index()]?.args.iter().find_map(|operand| self.sums_of(*operand))
            }
            Some(Repr::Uniform(_) | Repr::Registers(_) | Repr::Arena(_)) | None => None,
        }
    }

    /// Stores a value that sums in fragments make.
    pub(crate) fn store_sums(
        &mut self,
        inst: &'k Inst,
        memory: Memory,
        (result, sums): (Value, Sums),
    ) -> Result<(), LowerError> {
        let Some((value, offsets)) = inst.args.split_last() else {
            return self.unsupported("a store without a value", Some(inst));
        };
        let Op::Store { indices, .. } = &inst.op else {
            return self.unsupported("sums of fragments in another operation than a store", Some(inst));
        };
        let corner = [Coord::zero(), Coord::zero()];
        let axes = self.axes(offsets, indices, &corner)?;
        let Memory::Param(param) = memory else {
            return self.unsupported("sums of fragments in block-shared memory", Some(inst));
        };
        let tensor = self.tensor(param)?;
        let whole = sums.share.parts == 1
            && *value == result
            && tensor.element == Element::DType(DType::F32)
            && self.is_zero(sums.initial);
        if !whole {
            return self.store_by_windows(inst, memory, (result, &sums));
        }
        let mut inside = None;
        for (axis, extent) in axes.iter().zip(&tensor.extents) {
            let condition = self.slice_inside(axis, *extent);
            inside = self.emit.both(inside, condition);
        }
        if let Some(inside) = inside {
            self.settle();
            self.emit.begin_if(inside);
        }
        let extent = tensor.extents[tensor.extents.len() - 1];
        let row = self.widen(crate::memory::Stride::Constant(1), extent);
        let (stride, wide) = (self.stride_value(row), self.wide_stride(row));
        let address = self.address(&axes, &tensor.extents);
        let (down, along) = self.group_place(sums.share);
        let zero = self.emit.i32(0);
        let rows = self.emit.pure(Pure::IMul, &[down.value.unwrap_or(zero), stride]);
        let offset = self.emit.pure(Pure::IAdd, &[rows, along.value.unwrap_or(zero)]);
        for (at, fragment) in (0..).zip(&sums.fragments) {
            let (i, j) = (at / sums.share.columns, at % sums.share.columns);
            let (down, along) = (self.emit.i64(i64::from(i * EDGE)), self.emit.i64(i64::from(j * EDGE)));
            let ahead = self.emit.lmul(wide, down);
            let ahead = self.emit.ladd(ahead, along);
            let base = self.emit.ladd(address.base, ahead);
            let op = FragmentOp::Store { fragment: *fragment, place: Place::Buffer(tensor.buffer) };
            self.emit.effect(LaneOp::Fragment(op), &[base, offset, stride]);
        }
        if inside.is_some() {
            self.emit.begin_else(&[]);
            self.store_by_windows(inst, memory, (result, &sums))?;
            self.settle();
            self.emit.end_if(&[]);
        }
        Ok(())
    }

    /// One fragment of each group at a time: to the group's window in scratch, from there element by element.
    fn store_by_windows(
        &mut self,
        inst: &'k Inst,
        memory: Memory,
        (result, sums): (Value, &Sums),
    ) -> Result<(), LowerError> {
        let (Some((value, offsets)), Op::Store { indices, .. }) = (inst.args.split_last(), &inst.op) else {
            return self.unsupported("a store without a value", Some(inst));
        };
        let Memory::Param(param) = memory else {
            return self.unsupported("sums of fragments in block-shared memory", Some(inst));
        };
        let tensor = self.tensor(param)?;
        let mem = match tensor.element {
            Element::DType(dtype) => mem_of(dtype),
            Element::Format(_) => None,
        };
        let Some(mem) = mem else {
            return self.unsupported("sums of fragments in a tensor of this element type", Some(inst));
        };
        let Share { group, columns, parts, .. } = sums.share;
        let window = EDGE * WINDOW_ROW;
        let groups = self.target.lanes / group;
        let arena = self.scratch(groups * window * 4)?;
        let (down, along) = self.group_place(sums.share);
        let lane = self.emit.lane_index();
        let size = self.emit.i32(group as i32);
        let number = self.emit.pure(Pure::IDivU, &[lane, size]);
        let mut within = self.emit.pure(Pure::IRemU, &[lane, size]);
        let window_value = self.emit.i32(window as i32);
        let start = self.emit.pure(Pure::IMul, &[number, window_value]);
        // The lanes of all groups of a rectangle read its first group's window, and the others' behind that.
        let rectangles = groups / parts;
        let mut read = start;
        if let Some(part) = self.part_of(sums.share) {
            let before = self.emit.pure(Pure::IMul, &[part, size]);
            within = self.emit.pure(Pure::IAdd, &[within, before]);
            let rectangles = self.emit.i32(rectangles as i32);
            let rectangle = self.emit.pure(Pure::IRemU, &[number, rectangles]);
            read = self.emit.pure(Pure::IMul, &[rectangle, window_value]);
        }
        let group = group * parts;
        // Elements go round the lanes of a group: so many rows at once, or so many lanes a row.
        let (wide, apart) = (group.min(EDGE), (group / EDGE).max(1));
        let wide_value = self.emit.i32(wide as i32);
        let (row, column) = (
            self.emit.pure(Pure::IDivU, &[within, wide_value]),
            self.emit.pure(Pure::IRemU, &[within, wide_value]),
        );
        let stride = self.emit.i32(WINDOW_ROW as i32);
        let first = self.emit.pure(Pure::IMul, &[row, stride]);
        let first = self.emit.pure(Pure::IAdd, &[first, column]);
        let first = self.emit.pure(Pure::IAdd, &[first, read]);
        let mut place = |more, position: Position, least: u32| {
            let zero = self.emit.i32(0);
            let value = self.emit.pure(Pure::IAdd, &[position.value.unwrap_or(zero), more]);
            let facts = Facts::range(0, position.facts.hi + i64::from(least - 1), 1);
            Position { value: Some(value), offset: 0, facts }
        };
        let (down, along) = (place(row, down, apart), place(column, along, wide));
        for (at, fragment) in (0..).zip(&sums.fragments) {
            let (i, j) = (at / columns, at % columns);
            self.barrier();
            let base = self.emit.i64(0);
            let op = FragmentOp::Store { fragment: *fragment, place: Place::Arena(arena) };
            let start = self.emit.splat(start);
            self.emit.effect(LaneOp::Fragment(op), &[base, start, stride]);
            self.barrier();
            for y in (0..EDGE).step_by(apart as usize) {
                for x in (0..EDGE).step_by(wide as usize) {
                    let mark = self.moves();
                    let mut sum = None;
                    for part in 0..parts {
                        let ahead = part * rectangles * window + y * WINDOW_ROW + x;
                        let base = self.emit.i64(i64::from(ahead));
                        let address = crate::memory::Address { base, stride: None, spread: Some(first) };
                        let more = self.load_at(Mem::F32, Place::Arena(arena), address, None);
                        sum = Some(match sum {
                            Some(sum) => self.emit.pure(Pure::FAdd, &[sum, more]),
                            None => more,
                        });
                    }
                    let Some(mut sum) = sum else { continue };
                    let at = [
                        Coord::At(down.plus(i64::from(i * EDGE + y))),
                        Coord::At(along.plus(i64::from(j * EDGE + x))),
                    ];
                    if !self.is_zero(sums.initial) {
                        let initial = self.eval(sums.initial, &at)?;
                        sum = self.emit.pure(Pure::FAdd, &[initial, sum]);
                    }
                    self.relocate(result, Repr::Uniform(sum));
                    let element = self.eval(*value, &at)?;
                    let axes = self.axes(offsets, indices, &at)?;
                    let mask = self.mask(&axes, &tensor.extents);
                    let address = self.address(&axes, &tensor.extents);
                    let offset = self.by_lane(&address);
                    let form = lane::MemoryOp::Scatter;
                    let buffer = Place::Buffer(tensor.buffer);
                    self.emit.store(form, mem, buffer, address.base, offset, element, mask);
                    self.restore(mark);
                }
            }
        }
        self.barrier();
        Ok(())
    }
}

/// How groups share a product of so many rows and columns: with the fewest fragments to load for each step.
fn share(groups: u32, group: u32, (m, n): (u32, u32), most: u32) -> Option<Share> {
    let (down, along) = (m / EDGE, n / EDGE);
    let of = |parts: u32| {
        let rectangles = groups / parts;
        (1..=rectangles)
            .filter(|across| rectangles.is_multiple_of(*across))
            .filter(|across| along.is_multiple_of(*across) && down.is_multiple_of(rectangles / across))
            .map(|across| {
                let rows = down / (rectangles / across);
                Share { group, across, rows, columns: along / across, parts }
            })
            .filter(|share| share.rows * share.columns <= most)
            .min_by_key(|share| share.rows + share.columns)
    };
    // No more lanes have a rectangle together than it has elements.
    let possible = |parts: &u32| groups.is_multiple_of(*parts) && parts * group <= EDGE * EDGE;
    (0..=groups.ilog2()).map(|log| 1 << log).filter(possible).find_map(of)
}

// Places of halves are multiples of what `stage` puts side by side.
const _: () = assert!(EDGE.is_multiple_of(ALIGNMENT));
