//! Loops that add up products, shared out among lanes.
//!
//! A loop `for k in from..to by BK { acc += dot(a, b) }` gives each element of `acc` one lane in the general lowering (`dot`). Where a
//! target has many slow lanes and little work for each (`Target::spread`), this file gives an element `kl` lanes: each adds up
//! its part of K, and a tree over the lanes adds the parts.
//!
//! The lanes are a grid of `columns` by `kl`; a granule is the shortest stretch of K that both operands decode by themselves
//! (the group of a format, 1 for plain memory). Granules go round the lanes, inside a turn of the loop first, then across turns:
//!
//! ```text
//! 64 lanes, a column has kl = 32; w in groups of 32, BK = 32:  lane 32 c + q takes turns q, q + 32, q + 64, .. of column c
//!                                 w: f16 (granule 1), BK = 32:  lane 32 c + q takes element q of every turn
//! ```
//!
//! So neighbouring lanes read neighbouring groups. Where a weight lies in planes (`planes`), neighbouring rows are neighbours in memory instead, so lanes
//! go round the columns first, and a granule may be longer than a turn: as the loop's body reads K only through slices from the counter on, turns are
//! joined.
//!
//! ```text
//! 64 lanes, 8 columns, w: u3 in planes (granule 128), BK = 32: four turns are one; lane 8 q + c takes turns q, q + 8, .. of column c
//! ```
//!
//! Inside the loop the counter is a *varying* value; every evaluation follows from that
//! (`eval::Position`). A lane whose turn would be past the end repeats the last one and drops what it gives.
//!
//! An operand that is plain memory while the other has groups would be read by lanes a granule apart: it is brought to scratch
//! first, in the order in which lanes read it, each lane's part an odd number of words from the next, so that no two lanes
//! meet in a bank.
//!
//! **Order.** Each lane ascends; the tree adds lane `l` and `l xor s` for `s = kl/2 .. 1`; the variable's first value comes last. It depends on
//! the shapes and the target, never on the number of blocks or on what ran before.
//!
//! **Taken** for loops with one variable of f32, whose next value is a `dot` onto it, and whose body else only computes: loads
//! from memory that the kernel does not write, and operations that can be evaluated anywhere. Everything else goes the general way.

use crate::emitter::gcd;
use crate::eval::{Coord, Position};
use crate::history;
use crate::lower::{ArenaTile, LowerError, Lowering, Repr, Tail};
use crate::memory::{Address, mem_of};
use crate::packing::Packing;
use crate::planes::dtype_group;
use crate::shares::{Neighbours, Places, Shares, Work};
use tvmc_ir::lane::{self, Access, Mem, MemoryOp, Op as LaneOp, Place, Pure, Scalar};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Element, Index, Inst, Memory, Op, Stmt, TensorDecl, Value};

/// Most elements of turns that are joined.
const MAX_JOINED: u32 = 512;

/// The loop, taken apart.
pub(crate) struct Product<'k> {
    pub counter: Value,
    pub from: Value,
    pub to: Value,
    pub step: u32,
    pub initial: Value,
    pub insts: Vec<&'k Inst>,
    pub a: Value,
    pub b: Value,
    pub result: Value,
    /// Extents of the variable.
    pub m: u32,
    pub n: u32,
}

impl<'k> Lowering<'k> {
    /// Lowers a loop, if it is one that this file describes.
    pub(crate) fn spread_loop(&mut self, stmt: &'k Stmt) -> Result<bool, LowerError> {
        let lanes = self.target.lanes;
        if self.target.spread == 1 || !lanes.is_power_of_two() {
            return Ok(false);
        }
        let Some(mut product) = self.product(stmt).filter(|product| self.is_within_reach(product)) else {
            return Ok(false);
        };
        let (granule, neighbours, staged) = self.ways(&mut product);
        let Some(shares) = self.shares(self.work(&product), granule, staged, neighbours) else {
            return Ok(false);
        };
        self.products.insert(product.result, history::Product::Spread { lanes: shares.k_lanes });
        let sums = self.spread_turns(&product, shares, staged)?;
        self.gather_parts(&product, shares, sums)?;
        Ok(true)
    }

    /// Whether a loop is one that this file describes, as far as that is known before anything is lowered.
    pub(crate) fn would_spread(&self, stmt: &Stmt) -> bool {
        if self.target.spread == 1 || !self.target.lanes.is_power_of_two() {
            return false;
        }
        let Some(mut product) = self.product(stmt) else { return false };
        let (granule, neighbours, staged) = self.ways(&mut product);
        self.shares(self.work(&product), granule, staged, neighbours).is_some()
    }

    fn work(&self, product: &Product<'_>) -> Work {
        let total = match self.bounds(product) {
            (Some(from), Some(to)) => Some((to - from).max(0) as u64),
            (Some(_) | None, Some(_) | None) => None,
        };
        Work { m: product.m, n: product.n, step: product.step, total }
    }

    /// The granule, which lanes are neighbours, and whether the left operand is brought to scratch.
    fn ways(&self, product: &mut Product<'_>) -> (u32, Neighbours, bool) {
        let neighbours = self.neighbours_of(product);
        let granule = self.granule(product, neighbours);
        let ungrouped = self.is_ungrouped(product.a, &product.insts);
        (granule, neighbours, neighbours == Neighbours::Parts && granule > 1 && ungrouped)
    }

    /// Whether everything from outside can be read at positions that differ by lane.
    pub(crate) fn is_within_reach(&self, product: &Product<'_>) -> bool {
        let inside: Vec<Value> = product.insts.iter().filter_map(|inst| inst.result).collect();
        let operands = product.insts.iter().flat_map(|inst| &inst.args);
        let operands = operands.chain([&product.a, &product.b, &product.initial]);
        operands.filter(|v| !inside.contains(v)).all(|v| self.is_readable(*v, Some(product.counter)))
    }

    /// The loop as a product, or `None` if it does more.
    pub(crate) fn product<'s>(&self, stmt: &'s Stmt) -> Option<Product<'s>> {
        let Stmt::For { counter, from, to, step, carried, body, yields, results, .. } = stmt else {
            return None;
        };
        let ([variable], [next], [result]) = (carried.as_slice(), yields.as_slice(), results.as_slice())
        else {
            return None;
        };
        let mut insts = Vec::new();
        for stmt in &body.stmts {
            let Stmt::Inst(inst) = stmt else { return None };
            insts.push(inst);
        }
        let (dot, rest) = insts.split_last()?;
        if dot.op != Op::Dot || dot.result != Some(*next) || dot.args[2] != variable.param {
            return None;
        }
        let (a, b) = (dot.args[0], dot.args[1]);
        let shape = &self.kernel.ty(*next).shape;
        let f32s = [a, b, *next].into_iter().all(|v| self.scalar(v).is_ok_and(|s| s == Scalar::F32));
        let whole_turns = self.kernel.ty(a).shape[1] == *step;
        let lazy = rest.iter().all(|inst| self.is_lazy(inst, variable.param));
        (f32s && whole_turns && lazy).then(|| Product {
            counter: *counter,
            from: *from,
            to: *to,
            step: *step,
            initial: variable.initial,
            insts: rest.to_vec(),
            a,
            b,
            result: *result,
            m: shape[0],
            n: shape[1],
        })
    }

    /// Whether an operation of the body can be evaluated at positions that differ by lane.
    fn is_lazy(&self, inst: &Inst, variable: Value) -> bool {
        let Some(result) = inst.result else { return false };
        if self.plan.keep[result.index()] || inst.args.contains(&variable) {
            return false;
        }
        match &inst.op {
            Op::Const(_)
            | Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::Table(_)
            | Op::Broadcast
            | Op::Permute(_)
            | Op::Relayout => true,
            Op::Reshape => !self.regroups(inst.args[0], result),
            Op::Load { memory: Memory::Param(param), .. } | Op::LoadField { tensor: param, .. } => {
                matches!(&self.kernel.params[param.index()], TensorDecl::Tensor { access: Access::Read, .. })
            }
            Op::Load { memory: Memory::Shared(_), .. }
            | Op::View
            | Op::Reduce(..)
            | Op::Scan(..)
            | Op::Gather(_)
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
            | Op::Print(_) => false,
        }
    }

    /// Whether a value from outside can be read at positions that differ by lane: not out of registers.
    fn is_readable(&self, value: Value, counter: Option<Value>) -> bool {
        if Some(value) == counter {
            return true;
        }
        match &self.repr[value.index()] {
            Some(Repr::Uniform(_) | Repr::Arena(_)) => true,
            Some(Repr::Lazy) => self.defs[value.index()]
                .is_some_and(|inst| inst.args.iter().all(|arg| self.is_readable(*arg, counter))),
            Some(Repr::Registers(_)) | None => false,
        }
    }

    /// Whether a value can be read at positions that differ by lane: not out of registers.
    pub(crate) fn is_readable_by_lane(&self, value: Value) -> bool {
        self.is_readable(value, None)
    }

    /// How the memory that a load reads lies.
    pub(crate) fn packing_of(&self, inst: &Inst) -> Packing {
        match &inst.op {
            Op::Load { memory: Memory::Param(param), .. } => {
                let declared = self.buffers.get(param.index()).copied().flatten();
                declared.map_or(Packing::AsDeclared, |(_, packing)| packing)
            }
            _ => Packing::AsDeclared,
        }
    }

    /// The length of a tensor's last axis, if it is known.
    fn columns_of(&self, memory: Memory) -> Option<u64> {
        let Memory::Param(param) = memory else { return None };
        match &self.kernel.params[param.index()] {
            TensorDecl::Tensor { shape, .. } => u64::try_from(shape.last()?.as_int()?).ok(),
            TensorDecl::Scalar { .. } => None,
        }
    }

    fn neighbours_of(&self, product: &Product<'_>) -> Neighbours {
        if product.insts.iter().any(|inst| self.packing_of(inst) == Packing::Planar) {
            Neighbours::Columns
        } else {
            Neighbours::Parts
        }
    }

    /// The elements that a load of the body decodes together.
    pub(crate) fn group_of(&self, inst: &Inst) -> u32 {
        let memory = match &inst.op {
            Op::Load { memory, .. } => memory,
            Op::LoadField { tensor, field, .. } => {
                return self.kernel.field_of(*tensor, *field).map_or(1, |(field, _)| field.count);
            }
            _ => return 1,
        };
        match self.kernel.element(*memory) {
            Some((Element::Format(format), _)) => self.kernel.formats[format.index()].group,
            Some((Element::DType(dtype), _)) if self.packing_of(inst) == Packing::Planar => {
                let columns = self.columns_of(*memory).unwrap_or(1);
                dtype_group(dtype.bits(), columns).unwrap_or(8)
            }
            Some((Element::DType(dtype), _)) if mem_of(dtype).is_none() => 8,
            Some((Element::DType(_), _)) | None => 1,
        }
    }

    /// The granule. Turns are joined where they are shorter and may be.
    pub(crate) fn granule(&self, product: &mut Product<'_>, neighbours: Neighbours) -> u32 {
        let granule = product.insts.iter().fold(1, |size, inst| lcm(size, self.group_of(inst)));
        if product.step.is_multiple_of(granule) {
            return granule;
        }
        let joined = lcm(product.step, granule);
        let whole = match self.bounds(product) {
            (Some(from), Some(to)) => from == 0 && to % i64::from(joined) == 0,
            (Some(_) | None, Some(_) | None) => false,
        };
        if neighbours == Neighbours::Columns && whole && joined <= MAX_JOINED && reads_slices(product) {
            product.step = joined;
            return granule;
        }
        product.step
    }

    pub(crate) fn bounds(&self, product: &Product<'_>) -> (Option<i64>, Option<i64>) {
        (self.facts[product.from.index()].as_constant(), self.facts[product.to.index()].as_constant())
    }

    /// Whether nothing that a value of the body is computed from has groups.
    fn is_ungrouped(&self, value: Value, insts: &[&Inst]) -> bool {
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            let Some(inst) = insts.iter().find(|inst| inst.result == Some(value)) else { continue };
            if self.group_of(inst) > 1 {
                return false;
            }
            open.extend(&inst.args);
        }
        true
    }

    /// The loop: each lane's sums, rows in order, then passes.
    fn spread_turns(
        &mut self,
        product: &Product<'k>,
        shares: Shares,
        staged: bool,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let (from, to) = (self.uniform(product.from)?, self.uniform(product.to)?);
        self.facts[product.counter.index()] =
            Facts::counter(self.facts[product.from.index()], self.facts[product.to.index()], product.step);
        let zero = self.emit.f32(0.0);
        let zero = self.emit.splat(zero);
        let initials = vec![zero; (product.m * shares.passes) as usize];
        let stage = if staged {
            let words = shares.k_lanes * shares.pitch(product.step);
            Some(self.arena_tile(&[product.m, words], Scalar::F32)?)
        } else {
            None
        };
        self.settle();
        let (base, sums) =
            self.emit.begin_for(from, to, product.step * shares.outer * shares.unroll, &initials);
        let mark = self.moves();
        if let Some(stage) = &stage {
            self.barrier();
            self.fill_stage(product, shares, stage, (from, to, base))?;
        }
        let places = self.places(shares);
        let inner = self.emit.i32(shares.inner as i32);
        let mut next = sums;
        for again in 0..shares.unroll {
            let turn = self.emit.pure(Pure::IDivU, &[places.part, inner]);
            let ahead = self.emit.i32((again * shares.outer) as i32);
            let turn = self.emit.pure(Pure::IAdd, &[turn, ahead]);
            let inside = self.bind_turn(product, shares, (from, to, base), turn)?;
            let old = next.clone();
            next = self.spread_step(product, shares, &places, stage.as_ref(), next)?;
            for (next, old) in next.iter_mut().zip(old) {
                *next = match inside {
                    Some(inside) => self.emit.pure(Pure::Select, &[inside, *next, old]),
                    None => self.emit.splat(*next),
                };
            }
        }
        let sums = self.emit.end_for(&next);
        self.restore(mark);
        self.settle();
        Ok(sums)
    }

    /// Gives each lane its turn and evaluates the body's scalars there. The result is the mask of lanes whose turn there is, if some
    /// have none.
    fn bind_turn(
        &mut self,
        product: &Product<'k>,
        shares: Shares,
        (from, to, base): (lane::Value, lane::Value, lane::Value),
        turn: lane::Value,
    ) -> Result<Option<lane::Value>, LowerError> {
        let mut counter = base;
        let mut inside = None;
        if shares.outer * shares.unroll > 1 {
            let step = self.emit.i32(product.step as i32);
            let ahead = self.emit.pure(Pure::IMul, &[turn, step]);
            counter = self.emit.pure(Pure::IAdd, &[base, ahead]);
            let together = i64::from(product.step * shares.outer * shares.unroll);
            let whole = match (self.emit.known_i32(from), self.emit.known_i32(to)) {
                (Some(from), Some(to)) => (i64::from(to) - i64::from(from)) % together == 0,
                (Some(_) | None, Some(_) | None) => false,
            };
            if !whole {
                inside = Some(self.emit.pure(Pure::ILtS, &[counter, to]));
                let one = self.emit.i32(1);
                let length = self.emit.pure(Pure::ISub, &[to, from]);
                let length = self.emit.pure(Pure::ISub, &[length, one]);
                let turns = self.emit.pure(Pure::IDivS, &[length, step]);
                let last = self.emit.pure(Pure::IMul, &[turns, step]);
                let last = self.emit.pure(Pure::IAdd, &[from, last]);
                counter = self.emit.pure(Pure::IMinS, &[counter, last]);
            }
        }
        self.repr[product.counter.index()] = Some(Repr::Uniform(counter));
        for inst in &product.insts {
            self.inst(inst)?;
        }
        Ok(inside)
    }

    /// One turn: each lane's part of the products, added to `sums`.
    fn spread_step(
        &mut self,
        product: &Product<'k>,
        shares: Shares,
        places: &Places,
        stage: Option<&ArenaTile>,
        mut sums: Vec<lane::Value>,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let granules = shares.elements(product.step) / shares.granule;
        let apart = i64::from(shares.inner * shares.granule);
        let columns: Vec<Coord> = (0..shares.passes)
            .map(|pass| Coord::At(places.column.plus(i64::from(pass * shares.columns))))
            .collect();
        let rows: Vec<Coord> = (0..product.m).map(Coord::at).collect();
        let integers = if stage.is_none() && self.target.integer_dot {
            self.sides(product.a, product.b, product.step)?
        } else {
            None
        };
        let affine = match integers {
            None if shares.granule > 1 => {
                self.weights(product.b, product.step)?.filter(|w| !w.affine.has_numbers())
            }
            Some(_) | None => None,
        };
        for number in 0..granules {
            let first = places.inner.plus(i64::from(number) * apart);
            if let Some((x, w)) = &integers {
                sums = self.runs(x, w, (&rows, &columns), Coord::At(first), shares.granule, sums)?;
                continue;
            }
            if let Some(w) = &affine {
                let pitch = shares.pitch(product.step);
                let mut x = |this: &mut Self, row: usize, element: u32| match stage {
                    Some(stage) => {
                        let word = number * shares.granule + element;
                        Ok(this.staged(stage, places.part, pitch, row as u32, word))
                    }
                    None => {
                        let at = Coord::At(first.plus(i64::from(element)));
                        this.eval(product.a, &[Coord::at(row as u32), at])
                    }
                };
                let made = (product.m as usize, columns.as_slice());
                sums = self.float_runs(&mut x, w, made, (Coord::At(first), shares.granule), sums)?;
                continue;
            }
            for element in 0..shares.granule {
                let at = Coord::At(first.plus(i64::from(element)));
                let mut ys = Vec::new();
                for column in &columns {
                    ys.push(self.eval(product.b, &[at, *column])?);
                }
                for (row, spot) in rows.iter().zip(0..) {
                    let x = match stage {
                        Some(stage) => {
                            let word = number * shares.granule + element;
                            self.staged(stage, places.part, shares.pitch(product.step), spot, word)
                        }
                        None => self.eval(product.a, &[*row, at])?,
                    };
                    for (pass, y) in ys.iter().enumerate() {
                        let sum = &mut sums[(spot * shares.passes) as usize + pass];
                        *sum = self.step(Scalar::F32, x, *y, *sum);
                    }
                }
            }
        }
        Ok(sums)
    }

    /// Brings the left operand of the turns that are made at once to scratch.
    fn fill_stage(
        &mut self,
        product: &Product<'k>,
        shares: Shares,
        stage: &ArenaTile,
        bounds: (lane::Value, lane::Value, lane::Value),
    ) -> Result<(), LowerError> {
        let (lanes, step) = (self.target.lanes, product.step);
        let total = shares.outer * step;
        let constant = |this: &mut Self, value: u32| this.emit.i32(value as i32);
        for first in (0..total).step_by(lanes as usize) {
            let mark = self.moves();
            let (lane, ahead) = (self.emit.lane_index(), constant(self, first));
            let number = self.emit.pure(Pure::IAdd, &[lane, ahead]);
            let size = constant(self, step);
            let turn = self.emit.pure(Pure::IDivU, &[number, size]);
            let within = self.emit.pure(Pure::IRemU, &[number, size]);
            let (mask, turn) = if first + lanes > total {
                let (limit, last) = (constant(self, total), constant(self, shares.outer - 1));
                let inside = self.emit.pure(Pure::ILtU, &[number, limit]);
                (Some(inside), self.emit.pure(Pure::IMinU, &[turn, last]))
            } else {
                (None, turn)
            };
            self.bind_turn(product, shares, bounds, turn)?;
            // The element's place: granule `within / granule` goes to part `turn * inner + that % inner`.
            let granule = constant(self, shares.granule);
            let inner = constant(self, shares.inner);
            let number = self.emit.pure(Pure::IDivU, &[within, granule]);
            let element = self.emit.pure(Pure::IRemU, &[within, granule]);
            let round = self.emit.pure(Pure::IDivU, &[number, inner]);
            let place = self.emit.pure(Pure::IRemU, &[number, inner]);
            let part = self.emit.pure(Pure::IMul, &[turn, inner]);
            let part = self.emit.pure(Pure::IAdd, &[part, place]);
            let pitch = constant(self, shares.pitch(step));
            let word = self.emit.pure(Pure::IMul, &[part, pitch]);
            let round = self.emit.pure(Pure::IMul, &[round, granule]);
            let word = self.emit.pure(Pure::IAdd, &[word, round]);
            let word = self.emit.pure(Pure::IAdd, &[word, element]);
            let at =
                Position { value: Some(within), offset: 0, facts: Facts::range(0, i64::from(step) - 1, 1) };
            for row in 0..product.m {
                let value = self.eval(product.a, &[Coord::at(row), Coord::At(at)])?;
                let value = self.emit.splat(value);
                let base = self.emit.i64(i64::from(row * stage.row));
                self.before_write(stage.arena);
                let place = Place::Arena(stage.arena);
                self.emit.store(MemoryOp::Scatter, Mem::F32, place, base, Some(word), value, mask);
            }
            self.restore(mark);
        }
        Ok(())
    }

    /// A lane's word of the staged operand.
    fn staged(
        &mut self,
        stage: &ArenaTile,
        part: lane::Value,
        pitch: u32,
        row: u32,
        word: u32,
    ) -> lane::Value {
        let pitch = self.emit.i32(pitch as i32);
        let spread = self.emit.pure(Pure::IMul, &[part, pitch]);
        let base = self.emit.i64(i64::from(row * stage.row + word));
        self.before_read(stage.arena);
        let address = Address { base, stride: None, spread: Some(spread) };
        self.load_at(Mem::F32, Place::Arena(stage.arena), address, None)
    }

    /// Adds the parts of each column, and the variable's first value.
    fn gather_parts(
        &mut self,
        product: &Product<'k>,
        shares: Shares,
        sums: Vec<lane::Value>,
    ) -> Result<(), LowerError> {
        let mut tile = self.arena_tile(&[product.m, product.n], Scalar::F32)?;
        tile.tail = Tail::Unwritten;
        let places = self.places(shares);
        let lane = self.emit.lane_index();
        let zero = self.emit.i32(0);
        let first = self.emit.pure(Pure::IEq, &[places.part, zero]);
        let offset = places.column.value.unwrap_or(zero);
        let offset = self.emit.splat(offset);
        for (number, mut sum) in (0..).zip(sums) {
            // Distances between lanes of one column.
            let least = match shares.neighbours {
                Neighbours::Parts => 1,
                Neighbours::Columns => shares.columns,
            };
            let mut distance = shares.k_lanes / 2 * least;
            while distance >= least {
                let by = self.emit.i32(distance as i32);
                let partner = self.emit.pure(Pure::IXor, &[lane, by]);
                let other = self.emit.lane_op(LaneOp::Shuffle, &[sum, partner]);
                sum = self.emit.pure(Pure::FAdd, &[sum, other]);
                distance /= 2;
            }
            let (row, pass) = (number / shares.passes, number % shares.passes);
            let column = places.column.plus(i64::from(pass * shares.columns));
            let start = self.eval(product.initial, &[Coord::at(row), Coord::At(column)])?;
            let sum = self.emit.pure(Pure::FAdd, &[start, sum]);
            let base = self.emit.i64(i64::from(row * tile.row + pass * shares.columns));
            self.before_write(tile.arena);
            let place = Place::Arena(tile.arena);
            self.emit.store(MemoryOp::Scatter, Mem::F32, place, base, Some(offset), sum, Some(first));
        }
        let one = product.m * product.n == 1;
        self.repr[product.result.index()] = Some(Repr::Arena(tile));
        if one {
            let value = self.eval(product.result, &[Coord::zero(), Coord::zero()])?;
            self.repr[product.result.index()] = Some(Repr::Uniform(value));
        }
        Ok(())
    }
}

/// Whether the body depends on the counter, and on where in a turn an element lies, only by slices that begin at the counter: then the slices of a turn
/// continue into those of the next.
pub(crate) fn reads_slices(product: &Product<'_>) -> bool {
    product.insts.iter().all(|inst| match &inst.op {
        Op::Load { indices, .. } => inst
            .args
            .iter()
            .zip(indices)
            .all(|(arg, index)| *arg != product.counter || matches!(index, Index::Slice(_))),
        Op::Iota | Op::Reshape | Op::Gather(_) | Op::Concat(_) => false,
        _ => !inst.args.contains(&product.counter),
    })
}

/// The least common multiple of two positive numbers.
pub(crate) fn lcm(a: u32, b: u32) -> u32 {
    a / gcd(a.into(), b.into()) as u32 * b
}
