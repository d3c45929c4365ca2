//! Neighbouring turns of a product's loop over K become one.
//!
//! **What it maps.** Tile IR to tile IR that computes the same. Sums that do not fit into registers are fetched and stored in every turn, so a turn should be long; how long
//! ([`Target::turn_depth`]) depends on caches, and the source only says how much of K belongs together.
//!
//! ```text
//! for k in 0..1024 by 32 carry (acc) {            for k in 0..1024 by 128 carry (acc) {
//!   a = load p0[m +: 64, k +: 32]                   a = load p0[m +: 64, k +: 128]
//!   b = permute (1, 0) load p1[n +: 64, k +: 32]    b = permute (1, 0) load p1[n +: 64, k +: 128]
//!   yield dot a, b, acc                             yield dot a, b, acc
//! ```
//!
//! **What joins.** Loops over a known range that is a whole number of the longer turns, whose body has nothing but loads of floats of 16 or 32 bits that the kernel only reads, in slices
//! of one step from the counter (or so far from it as the loop does not change) on; permutations, changes of layout and conversions of them; and products over just these axes, each of
//! which is added to a variable of its own and used for nothing else. **What stays**: everything else; products whose sums lie in registers, which gain nothing; those of one
//! column, whose lanes lie along K, so that the order of their sums would change; everything on targets whose lanes share an element (`spread`, `fragments`), where the order follows from turns.
//!
//! **Invariants.** An element's terms are added in ascending k before and after, one chain, so no bit changes. The result passes the tile verifier; values keep their numbers.

use crate::memory::mem_of;
use crate::target::Target;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, Carried, Element, Index, Inst, Kernel, Memory, Op, Region, Stmt, TensorDecl, Value,
};
use tvmc_types::dtype::Kind;

/// A kernel whose turns are as deep as the target wants them.
pub(crate) fn joined<'k>(kernel: &'k Kernel, target: &Target) -> Cow<'k, Kernel> {
    if target.turn_depth == 0 || target.spread > 1 || target.fragments.is_some() {
        return Cow::Borrowed(kernel);
    }
    let mut constants = HashMap::new();
    kernel.body.visit(&mut |inst| {
        if let (Op::Const(bits), Some(result)) = (&inst.op, inst.result) {
            constants.insert(result, i64::from(bits.cast_signed()));
        }
    });
    let mut pass = Pass { kernel, target, constants, longer: HashMap::new() };
    let body = pass.region(&kernel.body);
    if pass.longer.is_empty() {
        return Cow::Borrowed(kernel);
    }
    let mut kernel = Kernel { body, ..kernel.clone() };
    for (value, (axis, extent)) in pass.longer {
        kernel.values[value.index()].shape[axis] = extent;
    }
    Cow::Owned(kernel)
}

struct Pass<'k> {
    kernel: &'k Kernel,
    target: &'k Target,
    /// Known numbers, as i32.
    constants: HashMap<Value, i64>,
    /// The axis of a tile that becomes longer, and its new extent.
    longer: HashMap<Value, (usize, u32)>,
}

/// A loop's head and what it hands on.
struct Head<'k> {
    counter: Value,
    step: u32,
    carried: &'k [Carried],
    yields: &'k [Value],
}

impl<'k> Pass<'k> {
    fn region(&mut self, region: &'k Region) -> Region {
        let stmts = region.stmts.iter().map(|stmt| self.stmt(stmt)).collect();
        Region { stmts }
    }

    fn stmt(&mut self, stmt: &'k Stmt) -> Stmt {
        match stmt {
            Stmt::Inst(_) => stmt.clone(),
            Stmt::For { counter, from, to, step, pipeline, carried, body, yields, results } => {
                let head = Head { counter: *counter, step: *step, carried, yields };
                let range = self.constants.get(from).zip(self.constants.get(to));
                let turns = range.map_or(1, |(from, to)| self.turns(*step, to.saturating_sub(*from)));
                let along = if turns > 1 { self.along(&head, body) } else { None };
                let (step, body) = match along {
                    Some(along) => {
                        let deep = step * turns;
                        let body = lengthened(body, &along, deep);
                        self.longer.extend(along.into_iter().map(|(value, axis)| (value, (axis, deep))));
                        (deep, body)
                    }
                    None => (*step, self.region(body)),
                };
                Stmt::For {
                    counter: *counter,
                    from: *from,
                    to: *to,
                    step,
                    pipeline: *pipeline,
                    carried: carried.clone(),
                    body,
                    yields: yields.clone(),
                    results: results.clone(),
                }
            }
            Stmt::Loop { carried, body, again, yields, results } => Stmt::Loop {
                carried: carried.clone(),
                body: self.region(body),
                again: *again,
                yields: yields.clone(),
                results: results.clone(),
            },
            Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => Stmt::If {
                condition: *condition,
                then: self.region(then),
                then_yields: then_yields.clone(),
                otherwise: self.region(otherwise),
                otherwise_yields: otherwise_yields.clone(),
                results: results.clone(),
            },
        }
    }

    /// How many turns of `step` become one, of a loop over so many elements.
    fn turns(&self, step: u32, range: i64) -> u32 {
        let fits = |turns: &u32| range > 0 && range % (i64::from(step) * i64::from(*turns)) == 0;
        (2..=self.target.turn_depth / step.max(1)).rev().find(fits).unwrap_or(1)
    }

    /// The axes that are one step long of all tiles that a turn loads, if the loop is one that this file describes.
    fn along(&self, head: &Head<'k>, body: &'k Region) -> Option<HashMap<Value, usize>> {
        let mut along: HashMap<Value, usize> = HashMap::new();
        let mut moving = HashSet::from([head.counter]);
        let mut inside: HashSet<Value> = head.carried.iter().map(|carried| carried.param).collect();
        let mut products = HashSet::new();
        for stmt in &body.stmts {
            let Stmt::Inst(inst) = stmt else { return None };
            let result = inst.result?;
            // Of what a turn makes, nothing but tiles along K and products comes of this; products are used by nobody here.
            let known = |value: &Value| !inside.contains(value) && !moving.contains(value);
            match &inst.op {
                Op::Const(_) => {}
                Op::Binary(Binary::Add) if self.kernel.ty(result).is_scalar() => {
                    match (moving.contains(&inst.args[0]), moving.contains(&inst.args[1])) {
                        (true, false) if known(&inst.args[1]) => moving.insert(result),
                        (false, true) if known(&inst.args[0]) => moving.insert(result),
                        (true | false, true | false) => return None,
                    };
                    continue;
                }
                Op::Load { memory: Memory::Param(_), indices, padded: false } => {
                    along.insert(result, self.loaded_along(inst, indices, head.step, (&moving, &known))?);
                    inside.insert(result);
                }
                Op::Permute(axes) => {
                    let axis = *along.get(&inst.args[0])?;
                    along.insert(result, axes.iter().position(|from| usize::from(*from) == axis)?);
                    inside.insert(result);
                }
                Op::Relayout | Op::Cast(_) => {
                    along.insert(result, *along.get(&inst.args[0])?);
                    inside.insert(result);
                }
                Op::Dot => {
                    let [a, b, c] = inst.args[..] else { return None };
                    let place = head.carried.iter().position(|carried| carried.param == c)?;
                    let own = head.yields[place] == result
                        && head.yields.iter().filter(|yielded| **yielded == result).count() == 1;
                    let over_k = along.get(&a) == Some(&1) && along.get(&b) == Some(&0);
                    if !own || !over_k || !products.insert(c) || !self.is_large(result) {
                        return None;
                    }
                    inside.insert(result);
                }
                Op::Dim(_)
                | Op::Scalar(_)
                | Op::BlockIndex(_)
                | Op::Iota
                | Op::Unary(_)
                | Op::Binary(_)
                | Op::Fma
                | Op::Select
                | Op::Bitcast
                | Op::View
                | Op::Broadcast
                | Op::Reshape
                | Op::Reduce(..)
                | Op::Scan(..)
                | Op::Gather(_)
                | Op::Concat(_)
                | Op::Load { .. }
                | Op::LoadField { .. }
                | Op::Store { .. }
                | Op::StoreGroups { .. }
                | Op::StoreHead { .. }
                | Op::Scatter { .. }
                | Op::CopyAsync { .. }
                | Op::Commit
                | Op::Wait(_)
                | Op::Atomic { .. }
                | Op::Field(_)
                | Op::Table(_)
                | Op::GroupIndex
                | Op::Assert(_)
                | Op::Print(_) => return None,
            }
        }
        let pinned = along.keys().any(|value| self.kernel.pins.contains_key(value));
        // Each variable is that of a product: any other would see fewer turns.
        (!pinned && products.len() == head.carried.len() && !products.is_empty()).then_some(along)
    }

    /// The axis of a load's tile that goes with the counter.
    fn loaded_along(
        &self,
        inst: &Inst,
        indices: &[Index],
        step: u32,
        (moving, known): (&HashSet<Value>, &impl Fn(&Value) -> bool),
    ) -> Option<usize> {
        let (param, _) = inst.op.accesses()?;
        let TensorDecl::Tensor { element: Element::DType(dtype), access: Access::Read, .. } =
            &self.kernel.params[param.index()]
        else {
            return None;
        };
        if dtype.kind() != Kind::Float || mem_of(*dtype).is_none() {
            return None;
        }
        let (mut axis, mut found) = (0, None);
        for (arg, index) in inst.args.iter().zip(indices) {
            match index {
                Index::Slice(size) if moving.contains(arg) && found.is_none() && *size == step => {
                    found = Some(axis);
                }
                Index::Slice(_) | Index::Point if known(arg) => {}
                Index::Slice(_) | Index::Point => return None,
            }
            axis += usize::from(matches!(index, Index::Slice(_)));
        }
        found
    }

    /// Whether a product's sums are of more lane registers than stay in registers, lanes along its columns.
    fn is_large(&self, sums: Value) -> bool {
        let [m, n] = self.kernel.ty(sums).shape[..] else { return false };
        let lanes = self.kernel.lanes.unwrap_or(self.target.lanes);
        n > 1 && m * n.div_ceil(lanes) > self.target.tile_registers.min(self.target.accumulators)
    }
}

/// The body with slices of the new length.
fn lengthened(body: &Region, along: &HashMap<Value, usize>, deep: u32) -> Region {
    let longer = |stmt: &Stmt| {
        let mut stmt = stmt.clone();
        if let Stmt::Inst(Inst { op: Op::Load { indices, .. }, result: Some(result), .. }) = &mut stmt
            && let Some(axis) = along.get(result)
        {
            let slices = indices.iter_mut().filter(|index| matches!(index, Index::Slice(_)));
            if let Some(Index::Slice(size)) = slices.into_iter().nth(*axis) {
                *size = deep;
            }
        }
        stmt
    };
    Region { stmts: body.stmts.iter().map(longer).collect() }
}
