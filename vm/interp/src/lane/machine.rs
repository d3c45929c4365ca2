//! The machine: registers, control flow, and the operations that are not lane by lane; `access` adds memory.
//!
//! A value's words live in `words[value]`: one word if it is uniform, one per lane if it varies, allocated
//! when it is first defined. `i64` values live in `wides`. An instruction takes its result's vector out,
//! fills it while it reads its operands, and puts it back: a value is never its own operand.

use std::mem;

use tvmc_ir::lane::{Access, Carried, Function, Inst, Op, Place, Region, Scalar, Stmt, Value, Verified};

use super::fragments::Fragments;
use super::memory::{Area, EVERY_LANE, granules};
use super::pure::{Operands, evaluate, reduce, unpack};
use super::{
    Argument, Blocks, Failure, LaneOrder, Launch, LogEntry, MAX_REGISTER_BYTES, Outcome, Trap, TrapKind,
};

/// Counts what orders accesses to memory of a kind.
#[derive(Copy, Clone, Default)]
pub(super) struct Clock {
    /// Grows at each block and at each barrier that orders the kind.
    pub(super) epoch: u64,
    /// `epoch` when the block started.
    pub(super) block_epoch: u64,
}

pub(super) struct Machine<'a> {
    pub(super) function: &'a Function,
    grid: [u32; 3],
    block: [u32; 3],
    pub(super) words: Vec<Vec<u32>>,
    pub(super) wides: Vec<i64>,
    pub(super) buffers: Vec<Area<'a>>,
    pub(super) arenas: Vec<Area<'a>>,
    /// What groups hold.
    pub(super) fragments: Fragments,
    /// Of arenas: every barrier moves it on.
    pub(super) arena_clock: Clock,
    /// Of buffers: only `barrier.buffers` moves it on.
    pub(super) buffer_clock: Clock,
    /// Lanes in the order in which they touch memory.
    pub(super) order: Vec<u32>,
    fuel: u64,
    outcome: Outcome,
    /// For reductions and loop-carried values.
    scratch: Vec<u32>,
    wide_scratch: Vec<i64>,
    /// The elements and lanes of a store, in the order of lanes and, for scatter conflicts, of elements.
    pub(super) targets: Vec<(i128, u32)>,
    pub(super) sorted: Vec<(i128, u32)>,
}

/// A trap without its place in the code.
pub(super) struct Fault {
    kind: TrapKind,
    lane: Option<u32>,
    place: Option<Place>,
    index: Option<i128>,
}

impl Fault {
    pub(super) fn plain(kind: TrapKind) -> Self {
        Self { kind, lane: None, place: None, index: None }
    }

    /// At an element; `lane` may be [`EVERY_LANE`].
    pub(super) fn at(kind: TrapKind, lane: u32, place: Place, index: i128) -> Self {
        Self { kind, lane: (lane < EVERY_LANE).then_some(lane), place: Some(place), index: Some(index) }
    }
}

fn bad_launch(message: String) -> Box<Trap> {
    Box::new(Trap {
        kind: TrapKind::BadLaunch(message),
        block: [0; 3],
        instruction: String::new(),
        value: None,
        lane: None,
        place: None,
        index: None,
    })
}

/// A permutation of the lanes.
fn lane_order(order: LaneOrder, lanes: u32) -> Vec<u32> {
    let mut out: Vec<u32> = (0..lanes).collect();
    match order {
        LaneOrder::Ascending => {}
        LaneOrder::Descending => out.reverse(),
        LaneOrder::Permuted(seed) => {
            let mut state = seed;
            for at in (1..out.len()).rev() {
                // A step of the splitmix64 generator.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                out.swap(at, ((z ^ (z >> 31)) % (at as u64 + 1)) as usize);
            }
        }
    }
    out
}

pub(super) fn run(function: &Verified, launch: Launch<'_>) -> Result<Outcome, Box<Trap>> {
    let varying = function.values.iter().filter(|ty| ty.is_varying()).count() as u64;
    let register_bytes = 4 * varying * u64::from(function.lanes);
    if register_bytes > MAX_REGISTER_BYTES {
        return Err(bad_launch(format!("needs {register_bytes} bytes of registers")));
    }
    if launch.grid.iter().any(|&n| n > i32::MAX.cast_unsigned()) {
        return Err(bad_launch(format!("grid {:?} has an axis above {}", launch.grid, i32::MAX)));
    }
    let (buffers, arenas) = areas(function, launch.buffers)?;
    if launch.scalars.len() != function.scalars.len() {
        let (has, takes) = (launch.scalars.len(), function.scalars.len());
        return Err(bad_launch(format!("{has} scalar arguments for {takes}")));
    }
    let mut machine = Machine {
        function,
        grid: launch.grid,
        block: [0; 3],
        words: vec![Vec::new(); function.values.len()],
        wides: vec![0; function.values.len()],
        buffers,
        arenas,
        fragments: Fragments::of(function),
        arena_clock: Clock::default(),
        buffer_clock: Clock::default(),
        order: lane_order(launch.order, function.lanes),
        fuel: launch.fuel,
        outcome: Outcome::default(),
        scratch: Vec::new(),
        wide_scratch: Vec::new(),
        targets: Vec::new(),
        sorted: Vec::new(),
    };
    for (decl, &word) in function.scalars.iter().zip(launch.scalars) {
        let at = decl.value.index();
        match decl.scalar {
            Scalar::F32 | Scalar::I32 => machine.words[at] = vec![word as u32],
            Scalar::Bool => machine.words[at] = vec![u32::from(word != 0)],
            Scalar::I64 => machine.wides[at] = word.cast_signed(),
        }
    }
    match launch.blocks {
        Blocks::One(block) => {
            if block.iter().zip(launch.grid).any(|(&at, n)| at >= n) {
                return Err(bad_launch(format!("block {block:?} is outside the grid {:?}", launch.grid)));
            }
            machine.block(block)?;
        }
        Blocks::All => {
            let [nx, ny, nz] = launch.grid;
            for z in 0..nz {
                for y in 0..ny {
                    for x in 0..nx {
                        machine.block([x, y, z])?;
                    }
                    // An empty row costs as well, so that an empty grid ends.
                    machine.burn(1).map_err(|fault| machine.trap(None, fault))?;
                }
            }
        }
    }
    machine.outcome.fuel_used = launch.fuel - machine.fuel;
    Ok(machine.outcome)
}

/// The memories of a launch, buffers and arenas.
fn areas<'a>(
    function: &Function,
    arguments: Vec<Argument<'a>>,
) -> Result<(Vec<Area<'a>>, Vec<Area<'a>>), Box<Trap>> {
    if arguments.len() != function.buffers.len() {
        let (has, takes) = (arguments.len(), function.buffers.len());
        return Err(bad_launch(format!("{has} buffer arguments for {takes}")));
    }
    let (buffer_granules, arena_granules) = granules(function);
    let mut buffers = Vec::with_capacity(arguments.len());
    for ((argument, decl), granule) in arguments.into_iter().zip(&function.buffers).zip(buffer_granules) {
        buffers.push(match (argument, decl.access) {
            (Argument::Read(bytes), Access::Read) => Area::read_only(bytes),
            (Argument::Write(bytes), Access::Read) => Area::read_only(bytes),
            (Argument::Write(bytes), Access::Write | Access::ReadWrite) => Area::writable(bytes, granule),
            (Argument::Read(_), Access::Write | Access::ReadWrite) => {
                let message = format!("buffer \"{}\" is written, but given as read-only", decl.name);
                return Err(bad_launch(message));
            }
        });
    }
    let sizes = function.arenas.iter().zip(arena_granules);
    let arenas = sizes.map(|(decl, granule)| Area::arena(decl.bytes, granule)).collect();
    Ok((buffers, arenas))
}

impl<'a> Machine<'a> {
    fn trap(&self, inst: Option<&Inst>, fault: Fault) -> Box<Trap> {
        Box::new(Trap {
            kind: fault.kind,
            block: self.block,
            instruction: inst.map_or_else(String::new, Inst::to_string),
            value: inst.and_then(|inst| inst.result),
            lane: fault.lane,
            place: fault.place,
            index: fault.index,
        })
    }

    pub(super) fn burn(&mut self, units: u64) -> Result<(), Fault> {
        match self.fuel.checked_sub(units) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => Err(Fault::plain(TrapKind::OutOfFuel)),
        }
    }

    fn block(&mut self, block: [u32; 3]) -> Result<(), Box<Trap>> {
        self.block = block;
        for clock in [&mut self.arena_clock, &mut self.buffer_clock] {
            clock.epoch += 1;
            clock.block_epoch = clock.epoch;
        }
        self.fragments.clear();
        self.burn(1).map_err(|fault| self.trap(None, fault))?;
        let function = self.function;
        self.region(&function.body)
    }

    fn region(&mut self, region: &Region) -> Result<(), Box<Trap>> {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => self.inst(inst).map_err(|fault| self.trap(Some(inst), fault))?,
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    self.enter(carried);
                    let to = i64::from(self.word(*to).cast_signed());
                    let mut at = i64::from(self.word(*from).cast_signed());
                    while at < to {
                        self.burn(1).map_err(|fault| self.trap(None, fault))?;
                        self.set(*counter, at as u32);
                        self.region(body)?;
                        self.carry(yields, carried);
                        at += i64::from(*step);
                    }
                    self.leave(carried, results);
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.enter(carried);
                    loop {
                        self.burn(1).map_err(|fault| self.trap(None, fault))?;
                        self.region(body)?;
                        let again = self.word(*again) != 0;
                        self.carry(yields, carried);
                        if !again {
                            break;
                        }
                    }
                    self.leave(carried, results);
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.burn(1).map_err(|fault| self.trap(None, fault))?;
                    let (region, yields) = if self.word(*condition) != 0 {
                        (then, then_yields)
                    } else {
                        (otherwise, otherwise_yields)
                    };
                    self.region(region)?;
                    for (&from, &to) in yields.iter().zip(results) {
                        self.copy(from, to);
                    }
                }
            }
        }
        Ok(())
    }

    fn copy(&mut self, from: Value, to: Value) {
        if from == to {
            return;
        }
        self.wides[to.index()] = self.wides[from.index()];
        let mut words = mem::take(&mut self.words[to.index()]);
        words.clear();
        words.extend_from_slice(&self.words[from.index()]);
        self.words[to.index()] = words;
    }

    fn enter(&mut self, carried: &[Carried]) {
        for each in carried {
            self.copy(each.initial, each.param);
        }
    }

    fn leave(&mut self, carried: &[Carried], results: &[Value]) {
        for (each, &result) in carried.iter().zip(results) {
            self.copy(each.param, result);
        }
    }

    /// Yields become parameters, all at once: a yield may be another place's parameter.
    fn carry(&mut self, yields: &[Value], carried: &[Carried]) {
        self.scratch.clear();
        self.wide_scratch.clear();
        for value in yields {
            self.scratch.extend_from_slice(&self.words[value.index()]);
            self.wide_scratch.push(self.wides[value.index()]);
        }
        let mut start = 0;
        for (each, &wide) in carried.iter().zip(&self.wide_scratch) {
            let words = &mut self.words[each.param.index()];
            let end = start + words.len();
            words.copy_from_slice(&self.scratch[start..end]);
            start = end;
            self.wides[each.param.index()] = wide;
        }
    }

    fn lanes(&self) -> usize {
        self.function.lanes as usize
    }

    /// A uniform value's word.
    fn word(&self, value: Value) -> u32 {
        self.words[value.index()].first().copied().unwrap_or(0)
    }

    fn set(&mut self, value: Value, word: u32) {
        let words = &mut self.words[value.index()];
        words.clear();
        words.push(word);
    }

    pub(super) fn arg(inst: &Inst, at: usize) -> usize {
        inst.args.get(at).map_or(0, |value| value.index())
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), Fault> {
        let function = self.function;
        let varies = |value: &Value| function.ty(*value).is_varying();
        let result_varies = inst.result.as_ref().is_some_and(varies);
        // A multiply-add of fragments has no operands, and most work of all.
        let whole = matches!(inst.op, Op::Fragment(_));
        let varying = whole || result_varies || inst.args.iter().any(varies);
        self.burn(if varying { u64::from(function.lanes) } else { 1 })?;
        let Some(result) = inst.result else { return self.effect(inst) };
        let mut out = mem::take(&mut self.words[result.index()]);
        if function.ty(result).scalar != Scalar::I64 {
            out.resize(if result_varies { self.lanes() } else { 1 }, 0);
        }
        let done = self.define(inst, result, &mut out);
        self.words[result.index()] = out;
        done
    }

    /// Computes the result of an instruction into `out`.
    fn define(&mut self, inst: &Inst, result: Value, out: &mut [u32]) -> Result<(), Fault> {
        match inst.op {
            Op::Pure(op) => {
                let mut operands = Operands { words: [&[]; 3], wides: [0; 3] };
                for (at, value) in inst.args.iter().take(3).enumerate() {
                    operands.words[at] = &self.words[value.index()];
                    operands.wides[at] = self.wides[value.index()];
                }
                self.wides[result.index()] = evaluate(op, &operands, out);
            }
            Op::ConstF32(bits) => out.fill(bits),
            Op::ConstI32(value) => out.fill(value.cast_unsigned()),
            Op::ConstI64(value) => self.wides[result.index()] = value,
            Op::ConstBool(value) => out.fill(u32::from(value)),
            Op::LaneIndex => {
                for (lane, out) in (0u32..).zip(out) {
                    *out = lane;
                }
            }
            Op::BlockIndex(axis) => out.fill(self.block[usize::from(axis % 3)]),
            Op::BlockCount(axis) => out.fill(self.grid[usize::from(axis % 3)]),
            Op::Splat => out.fill(self.words[Self::arg(inst, 0)].first().copied().unwrap_or(0)),
            Op::Reduce(op) => {
                let mut scratch = mem::take(&mut self.scratch);
                out.fill(reduce(op, &self.words[Self::arg(inst, 0)], &mut scratch));
                self.scratch = scratch;
            }
            Op::Extract => {
                let lane = self.words[Self::arg(inst, 1)].first().copied().unwrap_or(0);
                out.fill(self.words[Self::arg(inst, 0)][(lane % self.function.lanes) as usize]);
            }
            Op::Shuffle => {
                let from = &self.words[Self::arg(inst, 0)];
                for (out, source) in out.iter_mut().zip(&self.words[Self::arg(inst, 1)]) {
                    *out = from[(source % self.function.lanes) as usize];
                }
            }
            Op::Unpack { bits, offset, sign } => {
                let (low, high) = (&self.words[Self::arg(inst, 0)], &self.words[Self::arg(inst, 1)]);
                for ((out, &low), &high) in out.iter_mut().zip(low).zip(high) {
                    *out = unpack(u64::from(high) << 32 | u64::from(low), bits, u32::from(offset), sign);
                }
            }
            Op::LoadUnpack { place, bits, sign } => {
                let base = self.wides[Self::arg(inst, 0)];
                self.load_unpack(place, bits, sign, base, out)?;
            }
            Op::TableLookup(table) => {
                let entries = &self.function.tables[table.index()].entries;
                let mask = entries.len().next_power_of_two() - 1;
                for (out, &index) in out.iter_mut().zip(&self.words[Self::arg(inst, 0)]) {
                    *out = entries.get(index as usize & mask).copied().unwrap_or(0);
                }
            }
            Op::TableBytes(table) => {
                let entries = &self.function.tables[table.index()].entries;
                let mask = entries.len().next_power_of_two() - 1;
                let entry = |index: u8| entries.get(usize::from(index) & mask).copied().unwrap_or(0) as u8;
                for (out, &index) in out.iter_mut().zip(&self.words[Self::arg(inst, 0)]) {
                    *out = u32::from_le_bytes(index.to_le_bytes().map(entry));
                }
            }
            Op::TableHalves(table) => {
                let entries = &self.function.tables[table.index()].entries;
                let mask = entries.len().next_power_of_two() - 1;
                let entry = |index: u32| entries.get(index as usize & mask).copied().unwrap_or(0);
                for (out, &index) in out.iter_mut().zip(&self.words[Self::arg(inst, 0)]) {
                    *out = entry(index & 0xffff) | entry(index >> 16) << 16;
                }
            }
            Op::Memory { .. } => self.load(inst, out)?,
            Op::Atomic { update, buffer } => self.atomic(inst, update, buffer, out)?,
            Op::Fragment(_)
            | Op::StoreBits(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => {}
        }
        Ok(())
    }

    /// Executes an operation that defines nothing.
    fn effect(&mut self, inst: &Inst) -> Result<(), Fault> {
        match inst.op {
            Op::Barrier => self.arena_clock.epoch += 1,
            Op::BufferBarrier => {
                self.arena_clock.epoch += 1;
                self.buffer_clock.epoch += 1;
            }
            Op::Assert(message) => {
                let holds = self.words[Self::arg(inst, 0)].first() != Some(&0);
                if !holds && self.outcome.failure.is_none() {
                    self.outcome.failure = Some(Failure { block: self.block, message });
                }
            }
            Op::Print(message) => self.print(inst, message)?,
            Op::Memory { .. } => self.store(inst)?,
            Op::Fragment(op) => self.fragment(inst, op)?,
            Op::StoreBits(buffer) => self.store_bits(inst, buffer)?,
            Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::LoadUnpack { .. }
            | Op::Atomic { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_) => {}
        }
        Ok(())
    }

    fn print(&mut self, inst: &Inst, message: u32) -> Result<(), Fault> {
        let function = self.function;
        let decl = &function.messages[message as usize];
        let mut words = Vec::new();
        let mut types = Vec::with_capacity(inst.args.len());
        for value in &inst.args {
            let ty = function.ty(*value);
            types.push(ty);
            match ty.scalar {
                Scalar::F32 | Scalar::I32 | Scalar::Bool => words.extend(&self.words[value.index()]),
                Scalar::I64 => {
                    let wide = self.wides[value.index()];
                    words.extend([wide as u32, (wide >> 32) as u32]);
                }
            }
        }
        // The log's size is paid for, so that fuel bounds it too.
        self.burn(decl.text.len() as u64 + 16 * words.len() as u64)?;
        let text = decl.format(&types, function.lanes, &words);
        self.outcome.log.push(LogEntry { block: self.block, message, text });
        Ok(())
    }
}
