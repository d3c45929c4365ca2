//! Loops marked `pipeline n`: while a turn computes, the tiles of the turns ahead of it are loaded.
//!
//! **What it maps.** Tile IR to tile IR that computes the same. A load moves to a ring of n slots in block scratch, a block-shared tensor; a slot is filled n - 1 turns
//! before it is read:
//!
//! ```text
//! for k in 0..K by 32 pipeline 3 {            store s[0], load p0[m, 0]          s: shared f32[3, 16, 32]
//!   a = load p0[m +: 16, k +: 32]             store s[1], load p0[m, 32]
//!   ..                                        for k in 0..K by 32 pipeline 3 {
//! }                                             next = load p0[m, k + 64]
//!                                               a = load s[k / 32 % 3]
//!                                               ..
//!                                               store s[(k / 32 + 2) % 3], next
//!                                             }
//! ```
//!
//! Small tiles are on their way in registers while the turn computes, as `next` is; larger ones go to their slot before it. There is no turn past the last: what would be loaded for
//! one is what this turn loads, into a slot that nobody reads again.
//!
//! **What moves.** Loads at the top of the loop's body, of an argument that the kernel only reads, whose offsets follow from the counter and from
//! what is known outside of the loop, by arithmetic on single numbers. So nothing can be stored between the new place and the old one, and an element
//! is loaded that the loop loads anyway. An element of a format, or of a type narrower than a byte, is decoded on its way: a ring holds its value.
//!
//! **What stays**, each with a note for `-v`: everything else; factors of products that multiply what is stored, in integers or by whole matrices, which a ring of values would take from
//! them (and their bits would change); loops whose turns are shared out among lanes (`spread`: all of them are under way at once); rings that do
//! not fit; where the target asks for it, loads that are no factors of a product ([`Loads::Factors`]); and every loop where the processor loads ahead by itself ([`Ahead::Processor`]).
//!
//! **Invariants.** The result passes the tile verifier and computes the same bits; values keep their numbers, new ones come after them.

use crate::history::Product;
use crate::target::{Ahead, Loads, Target};
use std::collections::{HashMap, HashSet};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, CastRule, Index, Inst, Kernel, MAX_PIPELINE, MAX_RANK, Memory, Op, Region, Shared, SharedDecl,
    Stmt, TensorDecl, TileType, Value,
};
use tvmc_types::dtype::DType;

/// A kernel whose loops load ahead.
pub(crate) struct Pipelined {
    pub kernel: Kernel,
    /// Loads out of a ring: what they read does not change in their turn.
    pub current: Vec<Value>,
    /// Loads for turns ahead that stay in registers until the turn ends.
    pub ahead: Vec<Value>,
    /// Turns whose tiles there is room for, of the loop with the most; 1 if no loop loads ahead.
    pub depth: u32,
    /// What became of each loop and load, with its place.
    pub notes: Vec<String>,
}

/// Whether a kernel has a loop that asks for it.
pub(crate) fn wanted(region: &Region) -> bool {
    region.stmts.iter().any(|stmt| match stmt {
        Stmt::Inst(_) => false,
        Stmt::For { pipeline, body, .. } => *pipeline > 1 || wanted(body),
        Stmt::Loop { body, .. } => wanted(body),
        Stmt::If { then, otherwise, .. } => wanted(then) || wanted(otherwise),
    })
}

/// What the lowering makes of a kernel as it is.
pub(crate) struct Knowledge<'k> {
    /// Whether the turns of a loop are shared out among lanes.
    pub is_spread: &'k dyn Fn(&Stmt) -> bool,
    /// How a product is made.
    pub product: &'k dyn Fn(Value) -> Option<Product>,
}

/// Lets loops load ahead, rings of at most `most` slots.
pub(crate) fn pipelined(kernel: &Kernel, target: &Target, most: u32, knowledge: &Knowledge<'_>) -> Pipelined {
    let lanes = kernel.lanes.unwrap_or(target.lanes);
    let out = Pipelined {
        kernel: Kernel { body: Region::default(), ..kernel.clone() },
        current: Vec::new(),
        ahead: Vec::new(),
        depth: 1,
        notes: Vec::new(),
    };
    let mut pass = Pass { kernel, target, lanes, most, knowledge, bytes: 0, out };
    pass.out.kernel.body = pass.region(&kernel.body);
    pass.out
}

struct Pass<'k> {
    kernel: &'k Kernel,
    target: &'k Target,
    lanes: u32,
    most: u32,
    knowledge: &'k Knowledge<'k>,
    /// Of all rings so far.
    bytes: u64,
    out: Pipelined,
}

/// A load that moves, and the arithmetic that leads to its operands, in order.
struct Move<'k> {
    load: &'k Inst,
    result: Value,
    arithmetic: Vec<&'k Inst>,
}

/// A loop's head.
#[derive(Copy, Clone)]
struct Head {
    counter: Value,
    from: Value,
    to: Value,
    step: u32,
}

impl<'k> Pass<'k> {
    fn region(&mut self, region: &'k Region) -> Region {
        let mut stmts = Vec::new();
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(_) => stmts.push(stmt.clone()),
                Stmt::For { counter, from, to, step, pipeline, carried, body, yields, results } => {
                    let head = Head { counter: *counter, from: *from, to: *to, step: *step };
                    let moves = if *pipeline > 1 { self.moves(stmt, head, body) } else { Vec::new() };
                    let depth = self.depth(&moves, (*pipeline).min(self.most));
                    let mut inner = self.region(body);
                    if depth > 1 {
                        self.load_ahead(head, depth, &moves, &mut stmts, &mut inner);
                    }
                    stmts.push(Stmt::For {
                        counter: *counter,
                        from: *from,
                        to: *to,
                        step: *step,
                        pipeline: *pipeline,
                        carried: carried.clone(),
                        body: inner,
                        yields: yields.clone(),
                        results: results.clone(),
                    });
                }
                Stmt::Loop { carried, body, again, yields, results } => stmts.push(Stmt::Loop {
                    carried: carried.clone(),
                    body: self.region(body),
                    again: *again,
                    yields: yields.clone(),
                    results: results.clone(),
                }),
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    stmts.push(Stmt::If {
                        condition: *condition,
                        then: self.region(then),
                        then_yields: then_yields.clone(),
                        otherwise: self.region(otherwise),
                        otherwise_yields: otherwise_yields.clone(),
                        results: results.clone(),
                    });
                }
            }
        }
        Region { stmts }
    }

    fn note(&mut self, inst: Option<&Inst>, text: &str) {
        let place = inst
            .and_then(|inst| self.kernel.locations.get(inst.location? as usize))
            .map_or_else(String::new, |place| format!("{place}: "));
        self.out.notes.push(format!("{place}{text}"));
    }

    /// The loads of a loop that move.
    fn moves(&mut self, stmt: &Stmt, head: Head, body: &'k Region) -> Vec<Move<'k>> {
        let insts: Vec<&Inst> = body.stmts.iter().filter_map(inst_of).collect();
        let is_load = |inst: &&Inst| matches!(inst.op, Op::Load { .. } | Op::LoadField { .. });
        let loads = || insts.iter().copied().filter(is_load);
        if self.target.ahead == Ahead::Processor {
            let text = format!("pipeline: left as it is, {} loads ahead by itself", self.target.name);
            self.note(loads().next(), &text);
            return Vec::new();
        }
        if (self.knowledge.is_spread)(stmt) {
            let text = "pipeline: left as it is, lanes share the turns of this loop out among themselves";
            self.note(loads().next(), text);
            return Vec::new();
        }
        if u64::from(head.step) * u64::from(MAX_PIPELINE) > u64::from(i32::MAX.cast_unsigned()) {
            self.note(loads().next(), "pipeline: left as it is, the loop's step is too large");
            return Vec::new();
        }
        let mut defined: HashSet<Value> = HashSet::new();
        everything_defined(body, &mut defined);
        if let Stmt::For { carried, .. } = stmt {
            defined.extend(carried.iter().map(|c| c.param));
        }
        let mut moves = Vec::new();
        for load in loads() {
            let products = products_of(load, body);
            let moved = match self.target.ahead {
                Ahead::Scratch { loads: Loads::Factors, .. } if products.is_empty() => {
                    Err("each element serves one lane, which loads it itself")
                }
                Ahead::Scratch { .. } | Ahead::Processor => self.moved(load, head, &insts, &defined),
            };
            // Asked last: it takes a lowering to know.
            let by_elements = |product: &Value| {
                (self.knowledge.product)(*product).is_some_and(Product::is_element_by_element)
            };
            let moved = match moved {
                Ok(_) if !products.iter().all(by_elements) => {
                    Err("its product multiplies what is stored as it lies")
                }
                other => other,
            };
            match moved {
                Ok(moved) => moves.push(moved),
                Err(why) => self.note(Some(load), &format!("pipeline: not loaded ahead, {why}")),
            }
        }
        moves
    }

    fn moved(
        &self,
        load: &'k Inst,
        head: Head,
        insts: &[&'k Inst],
        defined: &HashSet<Value>,
    ) -> Result<Move<'k>, &'static str> {
        let Some(result) = load.result else { return Err("it is no load") };
        let Some((param, _)) = load.op.accesses() else { return Err("it reads a block-shared tensor") };
        let TensorDecl::Tensor { access: Access::Read, .. } = &self.kernel.params[param.index()] else {
            return Err("the kernel writes this tensor");
        };
        let ty = self.kernel.ty(result);
        if ty.elements() == 1 || ty.shape.len() >= MAX_RANK {
            return Err("it is a single number, or has too many axes");
        }
        // What leads to the operands, from the end to the start of the body.
        let mut needed: HashSet<Value> = load.args.iter().copied().collect();
        let mut arithmetic = Vec::new();
        for inst in insts.iter().rev() {
            if inst.result.is_some_and(|result| needed.contains(&result)) {
                if !is_arithmetic(self.kernel, inst) {
                    return Err("where it lies depends on what the loop loads or computes");
                }
                needed.extend(&inst.args);
                arithmetic.push(*inst);
            }
        }
        let known = |value: &Value| {
            *value == head.counter
                || !defined.contains(value)
                || arithmetic.iter().any(|inst| inst.result == Some(*value))
        };
        if !needed.iter().all(known) {
            return Err("where it lies depends on a variable of the loop");
        }
        arithmetic.reverse();
        Ok(Move { load, result, arithmetic })
    }

    /// How many slots there is room for.
    fn depth(&mut self, moves: &[Move<'k>], wanted: u32) -> u32 {
        let (Some(first), Ahead::Scratch { bytes: room, .. }) = (moves.first(), self.target.ahead) else {
            return 1;
        };
        let slot: u64 = moves.iter().map(|moved| 4 * self.kernel.ty(moved.result).elements()).sum();
        let depth = (2..=wanted).rev().find(|depth| self.bytes + u64::from(*depth) * slot <= u64::from(room));
        let Some(depth) = depth else {
            let text = format!("pipeline: left as it is, two turns take {} bytes of scratch", 2 * slot);
            self.note(Some(first.load), &text);
            return 1;
        };
        self.bytes += u64::from(depth) * slot;
        self.out.depth = self.out.depth.max(depth);
        for moved in moves {
            let turns = if depth == 2 { "1 turn".to_owned() } else { format!("{} turns", depth - 1) };
            self.note(Some(moved.load), &format!("pipeline: loaded {turns} ahead"));
        }
        depth
    }

    /// Lane registers of a tile.
    fn registers(&self, moved: &Move<'_>) -> u64 {
        let shape = &self.kernel.ty(moved.result).shape;
        let (last, rows) = shape.split_last().map_or((1, &[][..]), |(last, rows)| (*last, rows));
        rows.iter().map(|extent| u64::from(*extent)).product::<u64>() * u64::from(last.div_ceil(self.lanes))
    }

    /// Fills the rings before the loop, and puts loads for turns ahead into it.
    fn load_ahead(
        &mut self,
        head: Head,
        depth: u32,
        moves: &[Move<'k>],
        before: &mut Vec<Stmt>,
        body: &mut Region,
    ) {
        let rings: Vec<Shared> = moves.iter().map(|moved| self.ring(moved, depth)).collect();
        for turn in 0..depth - 1 {
            let Some(at) = self.turns_on(head, head.from, turn, before) else { break };
            let slot = self.constant(turn as i32, before);
            for (moved, ring) in moves.iter().zip(&rings) {
                let tile = self.load(moved, head.counter, at, before);
                self.fill(moved, *ring, slot, tile, before);
            }
        }
        let registers: u64 = moves.iter().map(|moved| self.registers(moved)).sum();
        let waits = registers <= u64::from(self.target.tile_registers / 2);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        let slot = self.slot(head, depth, &mut first);
        let slots = self.constant(depth as i32, &mut first);
        let ahead = self.constant(depth as i32 - 1, &mut first);
        let ahead = self.binary(Binary::Add, slot, ahead, &mut first);
        let ahead = self.binary(Binary::Rem, ahead, slots, &mut first);
        if let Some(at) = self.turns_on(head, head.counter, depth - 1, &mut first) {
            for (moved, ring) in moves.iter().zip(&rings) {
                let tile = self.load(moved, head.counter, at, &mut first);
                if waits {
                    self.out.ahead.push(tile);
                    self.fill(moved, *ring, ahead, tile, &mut last);
                } else {
                    self.fill(moved, *ring, ahead, tile, &mut first);
                }
            }
        }
        let zero = self.constant(0, &mut first);
        for stmt in std::mem::take(&mut body.stmts) {
            let moved = moves.iter().zip(&rings).find(|(moved, _)| match &stmt {
                Stmt::Inst(inst) => inst.result == Some(moved.result),
                Stmt::For { .. } | Stmt::Loop { .. } | Stmt::If { .. } => false,
            });
            first.push(match moved {
                None => stmt,
                Some((moved, ring)) => {
                    self.out.current.push(moved.result);
                    let indices = self.slot_indices(moved.result);
                    let mut args = vec![zero; indices.len()];
                    args[0] = slot;
                    let op = Op::Load { memory: Memory::Shared(*ring), indices, padded: false };
                    Stmt::Inst(Inst { op, args, ..moved.load.clone() })
                }
            });
        }
        first.append(&mut last);
        body.stmts = first;
    }

    fn ring(&mut self, moved: &Move<'_>, depth: u32) -> Shared {
        let TileType { dtype, shape } = self.kernel.ty(moved.result);
        let shape: Vec<u32> = [depth].iter().chain(shape).copied().collect();
        let rings = &mut self.out.kernel.shared;
        let name = format!("ring{}", rings.len());
        rings.push(SharedDecl { name, ty: TileType { dtype: *dtype, shape }, order: None });
        Shared(rings.len() as u32 - 1)
    }

    fn slot_indices(&self, tile: Value) -> Vec<Index> {
        let slices = self.out.kernel.ty(tile).shape.iter().map(|extent| Index::Slice(*extent));
        [Index::Point].into_iter().chain(slices).collect()
    }

    /// A moved load with another counter.
    fn load(&mut self, moved: &Move<'k>, counter: Value, at: Value, out: &mut Vec<Stmt>) -> Value {
        let mut named = HashMap::from([(counter, at)]);
        let mut result = at;
        for inst in moved.arithmetic.iter().copied().chain([moved.load]) {
            let Some(old) = inst.result else { continue };
            let args = inst.args.iter().map(|arg| named.get(arg).copied().unwrap_or(*arg)).collect();
            result = self.value(self.kernel.ty(old).clone());
            named.insert(old, result);
            out.push(Stmt::Inst(Inst { args, result: Some(result), ..inst.clone() }));
        }
        result
    }

    fn fill(&mut self, moved: &Move<'k>, ring: Shared, slot: Value, tile: Value, out: &mut Vec<Stmt>) {
        let indices = self.slot_indices(tile);
        let zero = self.constant(0, out);
        let mut args = vec![zero; indices.len()];
        args[0] = slot;
        args.push(tile);
        let op = Op::Store { memory: Memory::Shared(ring), indices };
        out.push(Stmt::Inst(Inst { op, args, result: None, location: moved.load.location }));
    }

    fn value(&mut self, ty: TileType) -> Value {
        self.out.kernel.values.push(ty);
        Value(self.out.kernel.values.len() as u32 - 1)
    }

    fn scalar(&mut self, op: Op, args: Vec<Value>, dtype: DType, out: &mut Vec<Stmt>) -> Value {
        let result = self.value(TileType::scalar(dtype));
        out.push(Stmt::Inst(Inst { op, args, result: Some(result), location: None }));
        result
    }

    fn constant(&mut self, value: i32, out: &mut Vec<Stmt>) -> Value {
        self.scalar(Op::Const(value.cast_unsigned()), Vec::new(), DType::I32, out)
    }

    fn binary(&mut self, op: Binary, a: Value, b: Value, out: &mut Vec<Stmt>) -> Value {
        let dtype = if op.is_comparison() { DType::BOOL } else { self.out.kernel.ty(a).dtype };
        self.scalar(Op::Binary(op), vec![a, b], dtype, out)
    }

    /// The constant that a bound is.
    fn known(&self, value: Value) -> Option<i64> {
        let mut found = None;
        self.kernel.body.visit(&mut |inst| {
            if let (Op::Const(bits), Some(result)) = (&inst.op, inst.result)
                && result == value
            {
                found = Some(i64::from(bits.cast_signed()));
            }
        });
        found
    }

    /// The counter so many turns after the turn in which it is `counter`, or what it is in some turn where there is no such turn; `None` if no
    /// turn comes so many after the first.
    fn turns_on(&mut self, head: Head, counter: Value, turns: u32, out: &mut Vec<Stmt>) -> Option<Value> {
        let distance = i64::from(turns) * i64::from(head.step);
        if distance == 0 {
            return Some(counter);
        }
        if let (Some(from), Some(to)) = (self.known(head.from), self.known(head.to)) {
            let last = from + (to - 1 - from).max(0) / i64::from(head.step) * i64::from(head.step);
            if from + distance > last {
                return None;
            }
            if last + distance <= i64::from(i32::MAX) {
                let (distance, last) = (self.constant(distance as i32, out), self.constant(last as i32, out));
                let sum = self.binary(Binary::Add, counter, distance, out);
                return Some(self.binary(Binary::Min, sum, last, out));
            }
        }
        // There is such a turn exactly if counter < to - distance; where the difference wraps, what is chosen is never read.
        let distance = self.constant(distance as i32, out);
        let latest = self.binary(Binary::Sub, head.to, distance, out);
        let there = self.binary(Binary::Lt, counter, latest, out);
        let sum = self.binary(Binary::Add, counter, distance, out);
        Some(self.scalar(Op::Select, vec![there, sum, counter], DType::I32, out))
    }

    /// The slot of this turn: its number, counted from the loop's first, modulo the slots.
    fn slot(&mut self, head: Head, depth: u32, out: &mut Vec<Stmt>) -> Value {
        if self.known(head.from).is_some_and(|from| from >= 0) {
            let past = self.binary(Binary::Sub, head.counter, head.from, out);
            let step = self.constant(head.step as i32, out);
            let turn = self.binary(Binary::Div, past, step, out);
            let slots = self.constant(depth as i32, out);
            return self.binary(Binary::Rem, turn, slots, out);
        }
        // The distance from the first turn may need all 32 bits.
        let wide = |this: &mut Self, value, out: &mut Vec<Stmt>| {
            this.scalar(Op::Cast(CastRule::Wrap), vec![value], DType::U32, out)
        };
        let number = |this: &mut Self, value, out: &mut Vec<Stmt>| {
            this.scalar(Op::Const(value), vec![], DType::U32, out)
        };
        let (counter, from) = (wide(self, head.counter, out), wide(self, head.from, out));
        let past = self.binary(Binary::Sub, counter, from, out);
        let step = number(self, head.step, out);
        let turn = self.binary(Binary::Div, past, step, out);
        let slots = number(self, depth, out);
        let slot = self.binary(Binary::Rem, turn, slots, out);
        let slot = self.scalar(Op::Cast(CastRule::Wrap), vec![slot], DType::I32, out);
        // It is within these bounds: said so that whoever reads it knows.
        let (zero, last) = (self.constant(0, out), self.constant(depth as i32 - 1, out));
        let slot = self.binary(Binary::Max, slot, zero, out);
        self.binary(Binary::Min, slot, last, out)
    }
}

/// The products of a loop's body of which a load is, or becomes, a factor.
fn products_of(load: &Inst, body: &Region) -> Vec<Value> {
    let mut derived: HashSet<Value> = load.result.into_iter().collect();
    let mut products = Vec::new();
    body.visit(&mut |inst| {
        let uses = |args: &[Value]| args.iter().any(|arg| derived.contains(arg));
        if inst.op == Op::Dot && uses(&inst.args[..2]) {
            products.extend(inst.result);
        }
        if uses(&inst.args) {
            derived.extend(inst.result);
        }
    });
    products
}

fn inst_of(stmt: &Stmt) -> Option<&Inst> {
    match stmt {
        Stmt::Inst(inst) => Some(inst),
        Stmt::For { .. } | Stmt::Loop { .. } | Stmt::If { .. } => None,
    }
}

/// What a region defines where code after it, or later in it, sees it.
fn everything_defined(region: &Region, defined: &mut HashSet<Value>) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Inst(inst) => defined.extend(inst.result),
            Stmt::For { results, .. } | Stmt::Loop { results, .. } | Stmt::If { results, .. } => {
                defined.extend(results);
            }
        }
    }
}

/// Whether an operation computes a number from numbers, and does nothing else.
fn is_arithmetic(kernel: &Kernel, inst: &Inst) -> bool {
    let scalar = inst.result.is_some_and(|result| kernel.ty(result).is_scalar());
    scalar
        && match &inst.op {
            Op::Const(_)
            | Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::Table(_) => true,
            Op::Iota
            | Op::View
            | Op::Relayout
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Reduce(..)
            | Op::Scan(..)
            | Op::Gather(_)
            | Op::Concat(_)
            | Op::Dot
            | Op::Load { .. }
            | Op::LoadField { .. }
            | Op::Store { .. }
            | Op::StoreGroups { .. }
            | Op::StoreHead { .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Scatter { .. }
            | Op::Atomic { .. }
            | Op::Field(_)
            | Op::GroupIndex
            | Op::Assert(_)
            | Op::Print(_) => false,
        }
}
