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
use crate::history;
use crate::lower::{LowerError, Lowering, Repr, Tail};
use crate::memory::mem_of;
use crate::packing::Packing;
use crate::shares::Neighbours;
use crate::spread::{Product, lcm, reads_slices};
use crate::staging::{Along, Staged};
use tvmc_ir::lane::fragment::{ALIGNMENT, EDGE};
use tvmc_ir::lane::{self, Arena, Fragment, FragmentOp, Mem, Op as LaneOp, Order, Place, Pure, Role, Scalar};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Element, Inst, Kernel, Memory, Op, Region, Stmt, TensorDecl, Value};
use tvmc_types::dtype::{DType, Kind};

/// Elements of K that are staged at once at most, where short turns are joined.
const MAX_TURN: u32 = 256;
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
        if stored.is_none() && !self.is_zero(product.initial) {
            return Ok(false);
        }
        for load in stored.iter().flatten() {
            self.plan.keep[load.index()] = false;
        }
        self.products.insert(
            product.result,
            history::Product::Fragments { m: product.m, n: product.n, turn: way.turn },
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
        // Sums are few where rows are: then the time goes to loads, of which many should be under way.
        let few = share.rows * share.columns <= 4;
        let mut turn = product.step;
        while few
            && turn * 2 <= MAX_TURN
            && self.joins(product, turn * 2)
            && right.bytes(turn * 2) <= room / 2
        {
            turn *= 2;
        }
        let parts = |turn: u32| {
            (0..8).map(move |log| turn >> log).take_while(move |part| part % EDGE == 0 && turn % part == 0)
        };
        let part = parts(turn).find(|part| {
            left.is_whole(*part) && right.is_whole(turn) && left.bytes(*part) + right.bytes(turn) <= room
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
        self.settle();
        let (base, _) = self.emit.begin_for(from, to, *turn, &[]);
        let mark = self.moves();
        self.repr[product.counter.index()] = Some(Repr::Uniform(base));
        self.barrier();
        for inst in &product.insts {
            self.inst(inst)?;
        }
        self.stage(right, right_arena, (0, *turn))?;
        for first in (0..*turn).step_by(*part as usize) {
            if first > 0 {
                self.barrier();
            }
            self.stage(left, left_arena, (first, *part))?;
            self.barrier();
            for k in (0..*part).step_by(EDGE as usize) {
                for (i, fragment) in (0..).zip(&a) {
                    self.load_factor((left, *part), left_arena, *fragment, down, (i, k))?;
                }
                for j in 0..share.columns {
                    self.load_factor((right, *turn), right_arena, b, right_of, (j, first + k))?;
                    for (i, left) in (0..).zip(&a) {
                        let sum = sums[(i * share.columns + j) as usize];
                        let op = FragmentOp::MultiplyAdd { sum, left: *left, right: b };
                        self.emit.effect(LaneOp::Fragment(op), &[]);
                    }
                }
            }
        }
        self.emit.end_for(&[]);
        self.restore(mark);
        self.barrier();
        Ok(sums)
    }

    /// A lane's group: rows above its rectangle and columns before it, as v.i32 with what is known.
    fn group_place(&mut self, share: Share) -> (Position, Position) {
        let lane = self.emit.lane_index();
        let size = self.emit.i32(share.group as i32);
        let group = self.emit.pure(Pure::IDivU, &[lane, size]);
        let across = self.emit.i32(share.across as i32);
        let (down, along) =
            (self.emit.pure(Pure::IDivU, &[group, across]), self.emit.pure(Pure::IRemU, &[group, across]));
        let groups = self.target.lanes / share.group;
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

    /// Loads fragment `number` of a group's rows or columns, 16 of K from `k` on.
    fn load_factor(
        &mut self,
        (side, length): (&Staged, u32),
        arena: Arena,
        fragment: Fragment,
        group: Position,
        (number, k): (u32, u32),
    ) -> Result<(), LowerError> {
        let pitch = side.pitch(length);
        let (line, element) = match side.along {
            Along::K => (pitch, 1),
            Along::Lines => (1, pitch),
        };
        let base = self.emit.i64(i64::from(number * EDGE * line + k * element));
        let line = self.emit.i32(line as i32);
        let zero = self.emit.i32(0);
        let offset = self.emit.pure(Pure::IMul, &[group.value.unwrap_or(zero), line]);
        let offset = self.emit.splat(offset);
        let stride = self.emit.i32(pitch as i32);
        // Rows of a left factor are its lines, columns of a right one.
        let order = match (side.along, side.k_axis) {
            (Along::K, 1) | (Along::Lines, 0) => Order::Rows,
            (Along::K | Along::Lines, _) => Order::Columns,
        };
        let op = LaneOp::Fragment(FragmentOp::Load { fragment, arena, order });
        self.emit.effect(op, &[base, offset, stride]);
        Ok(())
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
        let whole =
            *value == result && tensor.element == Element::DType(DType::F32) && self.is_zero(sums.initial);
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
        let Share { group, columns, .. } = sums.share;
        let window = EDGE * WINDOW_ROW;
        let arena = self.scratch(self.target.lanes / group * window * 4)?;
        let (down, along) = self.group_place(sums.share);
        let lane = self.emit.lane_index();
        let size = self.emit.i32(group as i32);
        let number = self.emit.pure(Pure::IDivU, &[lane, size]);
        let within = self.emit.pure(Pure::IRemU, &[lane, size]);
        let window = self.emit.i32(window as i32);
        let start = self.emit.pure(Pure::IMul, &[number, window]);
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
        let first = self.emit.pure(Pure::IAdd, &[first, start]);
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
                    let base = self.emit.i64(i64::from(y * WINDOW_ROW + x));
                    let address = crate::memory::Address { base, stride: None, spread: Some(first) };
                    let mut sum = self.load_at(Mem::F32, Place::Arena(arena), address, None);
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

    /// Whether each use of a product is, through element-wise operations, the value of a store to a plain tensor of this shape; if so, the loads of places that such a
    /// store then writes, and that nothing else uses: each lane may read its element where it writes it.
    fn finished_by_stores(&self, result: Value) -> Option<Vec<Value>> {
        let mut loads = Vec::new();
        let mut open = vec![result];
        let mut stores = 0;
        while let Some(value) = open.pop() {
            for user in users(self.kernel, value)? {
                match (&user.op, user.result) {
                    (Op::Store { memory: Memory::Param(param), indices }, _) => {
                        let (last, offsets) = user.args.split_last()?;
                        if *last != value || offsets.contains(&value) || !self.is_plain_target(*param) {
                            return None;
                        }
                        let slices = indices.iter().filter(|i| matches!(i, tvmc_ir::tile::Index::Slice(_)));
                        if slices.count() != 2
                            || !indices
                                .iter()
                                .rev()
                                .take(2)
                                .all(|i| matches!(i, tvmc_ir::tile::Index::Slice(_)))
                        {
                            return None;
                        }
                        stores += 1;
                        self.loads_of(*last, user, &mut loads)?;
                    }
                    (
                        Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast,
                        Some(made),
                    ) => {
                        if self.plan.keep[made.index()]
                            || self.kernel.ty(made).shape != self.kernel.ty(value).shape
                        {
                            return None;
                        }
                        open.push(made);
                    }
                    _ => return None,
                }
            }
        }
        (stores == 1).then_some(loads)
    }

    fn is_plain_target(&self, param: tvmc_ir::tile::Param) -> bool {
        let as_declared = matches!(self.buffers[param.index()], Some((_, Packing::AsDeclared)));
        match &self.kernel.params[param.index()] {
            TensorDecl::Tensor { element: Element::DType(dtype), .. } => {
                as_declared && mem_of(*dtype).is_some()
            }
            TensorDecl::Tensor { .. } | TensorDecl::Scalar { .. } => false,
        }
    }

    /// Loads, in what is stored, of the very place that the store writes. `None` where something else that is kept would have to be read.
    fn loads_of(&self, value: Value, store: &Inst, loads: &mut Vec<Value>) -> Option<()> {
        let Some(inst) = find(&self.kernel.body, value) else { return Some(()) };
        match &inst.op {
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::Broadcast => inst.args.iter().try_for_each(|operand| self.loads_of(*operand, store, loads)),
            Op::Load { memory, indices, padded: false } if self.plan.keep[value.index()] => {
                let Op::Store { memory: to, indices: places } = &store.op else { return None };
                let same =
                    memory == to && indices == places && store.args[..store.args.len() - 1] == inst.args[..];
                let alone = users(self.kernel, value)?.len() == 1;
                (same && alone).then(|| loads.push(value))
            }
            _ => Some(()),
        }
    }

    /// What a factor is made of, if its elements may be halves.
    fn half_factor(&self, value: Value) -> Option<Factor> {
        let inst = find(&self.kernel.body, value)?;
        match &inst.op {
            Op::Permute(axes) => {
                let factor = self.half_factor(inst.args[0])?;
                let inner = axes.iter().position(|axis| *axis as usize == factor.inner)?;
                Some(Factor { inner, ..factor })
            }
            Op::Relayout | Op::Cast(_) => self.half_factor(inst.args[0]),
            Op::Load { memory: memory @ Memory::Param(_), indices, padded: false } => {
                if !matches!(indices.last(), Some(tvmc_ir::tile::Index::Slice(_))) {
                    return None;
                }
                let (element, _) = self.kernel.element(*memory)?;
                let stored_as_half = element == Element::DType(DType::F16);
                match element {
                    Element::Format(_) => {}
                    Element::DType(dtype) if stored_as_half || is_half(dtype) => {}
                    Element::DType(_) => return None,
                }
                Some(Factor {
                    inner: self.kernel.ty(value).shape.len() - 1,
                    granule: self.group_of(inst),
                    interleaved: self.packing_of(inst) != Packing::AsDeclared,
                    stored_as_half,
                })
            }
            _ => None,
        }
    }
}

/// An operand of a product.
#[derive(Copy, Clone)]
struct Factor {
    /// The axis of the tile along which elements are neighbours in memory.
    inner: usize,
    /// Elements that are decoded together.
    granule: u32,
    /// Whether neighbouring rows are neighbours in memory.
    interleaved: bool,
    /// Whether memory holds halves.
    stored_as_half: bool,
}

/// Whether every number of a type is a half.
fn is_half(dtype: DType) -> bool {
    let exact = |code: u64| {
        let value = dtype.decode(code);
        !value.is_finite() || (value.abs() <= 65504.0 && (value * f64::from(1 << 24)).fract() == 0.0)
    };
    match dtype.kind() {
        Kind::Unsigned | Kind::Signed => dtype.bits() <= 8,
        Kind::Float => dtype.bits() <= 8 && (0..1 << dtype.bits()).all(exact),
        Kind::Bool => false,
    }
}

/// How groups share a product of so many rows and columns: with the fewest fragments to load for each step.
fn share(groups: u32, group: u32, (m, n): (u32, u32), most: u32) -> Option<Share> {
    let (down, along) = (m / EDGE, n / EDGE);
    (1..=groups)
        .filter(|across| groups.is_multiple_of(*across))
        .filter(|across| along.is_multiple_of(*across) && down.is_multiple_of(groups / across))
        .map(|across| Share { group, across, rows: down / (groups / across), columns: along / across })
        .filter(|share| share.rows * share.columns <= most)
        .min_by_key(|share| share.rows + share.columns)
}

/// The operations that use a value, or `None` where a statement does.
fn users(kernel: &Kernel, value: Value) -> Option<Vec<&Inst>> {
    fn walk<'k>(region: &'k Region, value: Value, found: &mut Vec<&'k Inst>) -> Option<()> {
        for stmt in &region.stmts {
            let (regions, uses): (Vec<&Region>, Vec<Value>) = match stmt {
                Stmt::Inst(inst) => {
                    if inst.args.contains(&value) {
                        found.push(inst);
                    }
                    continue;
                }
                Stmt::For { from, to, carried, body, yields, .. } => {
                    let initials = carried.iter().map(|c| c.initial);
                    (vec![body], initials.chain([*from, *to]).chain(yields.iter().copied()).collect())
                }
                Stmt::Loop { carried, body, again, yields, .. } => {
                    let initials = carried.iter().map(|c| c.initial);
                    (vec![body], initials.chain([*again]).chain(yields.iter().copied()).collect())
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, .. } => {
                    let yields = then_yields.iter().chain(otherwise_yields).copied();
                    (vec![then, otherwise], yields.chain([*condition]).collect())
                }
            };
            if uses.contains(&value) {
                return None;
            }
            regions.into_iter().try_for_each(|region| walk(region, value, found))?;
        }
        Some(())
    }
    let mut found = Vec::new();
    walk(&kernel.body, value, &mut found)?;
    Some(found)
}

/// The operation that defines a value.
fn find(region: &Region, value: Value) -> Option<&Inst> {
    region.stmts.iter().find_map(|stmt| match stmt {
        Stmt::Inst(inst) => (inst.result == Some(value)).then_some(inst),
        Stmt::For { body, .. } | Stmt::Loop { body, .. } => find(body, value),
        Stmt::If { then, otherwise, .. } => find(then, value).or_else(|| find(otherwise, value)),
    })
}

// Places of halves are multiples of what `stage` puts side by side.
const _: () = assert!(EDGE.is_multiple_of(ALIGNMENT));
