//! Counts and a register estimate, for `-v` and for tests that a hot loop does not spill.
//!
//! A value is live from its definition to its last use; one that a loop uses but does not define is live to the
//! loop's end. Carried values, yields and results of one place share a register: the parameter dies at its last use
//! in the body, the yield lives to the body's end, the result begins there. The estimate is the largest
//! number of values live behind any statement, in program order: what a register allocator needs that
//! does not reorder. Constants and splats count like everything else, though a target may fold them.
//!
//! ```
//! use tvmc_ir::lane::{parse, stats, verify};
//! let text = "kernel @k lanes 8 { v0: v.i32 = lane_index v1: v.i32 = iadd v0, v0 v2: v.i32 = imul v0, v1 v3: u.i32 = reduce.iadd v2 }";
//! let stats = stats(&verify(parse(text).unwrap()).unwrap());
//! assert_eq!((stats.instructions, stats.live_varying), (4, 2));
//! ```

use super::function::{Region, Stmt, Value};
use super::types::{Scalar, Type};
use super::verify::Verified;

/// What [`stats`] found.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Operations in the text, each counted once however often it is executed.
    pub instructions: usize,
    /// `for` and `loop` statements.
    pub loops: usize,
    /// Deepest nesting of loops.
    pub loop_depth: usize,
    /// Most varying `f32` and `i32` values live at once: each takes `ceil(lanes / P)` vector registers.
    pub live_varying: usize,
    /// Most varying `bool` values live at once: mask registers where a target has them.
    pub live_masks: usize,
    /// Most uniform values live at once.
    pub live_uniform: usize,
}

/// Counts operations and estimates registers.
pub fn stats(function: &Verified) -> Stats {
    let values = function.values.len();
    let mut walk = Walk {
        stats: Stats::default(),
        position: 0,
        depth: 0,
        defined: vec![0; values],
        last: vec![0; values],
        used: Vec::new(),
    };
    for scalar in &function.scalars {
        walk.define(scalar.value);
    }
    walk.region(&function.body);
    let mut stats = walk.stats;
    stats.live_varying =
        walk.peak(&function.values, |ty| ty.is_varying() && matches!(ty.scalar, Scalar::F32 | Scalar::I32));
    stats.live_masks = walk.peak(&function.values, |ty| ty.is_varying() && ty.scalar == Scalar::Bool);
    stats.live_uniform = walk.peak(&function.values, |ty| !ty.is_varying());
    stats
}

struct Walk {
    stats: Stats,
    /// Grows at every statement and loop boundary.
    position: usize,
    depth: usize,
    defined: Vec<usize>,
    last: Vec<usize>,
    /// Values used since the innermost open loop began.
    used: Vec<Value>,
}

impl Walk {
    fn define(&mut self, value: Value) {
        self.defined[value.index()] = self.position;
        self.last[value.index()] = self.position;
    }

    fn consume(&mut self, value: Value) {
        self.last[value.index()] = self.position;
        self.used.push(value);
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            self.position += 1;
            match stmt {
                Stmt::Inst(inst) => {
                    self.stats.instructions += 1;
                    inst.args.iter().for_each(|&arg| self.consume(arg));
                    inst.result.into_iter().for_each(|result| self.define(result));
                }
                Stmt::For { counter, from, to, step: _, carried, body, yields, results } => {
                    self.consume(*from);
                    // The bound and the counter are compared and counted at the loop's end.
                    let at_end = [*to, *counter];
                    carried.iter().for_each(|each| self.consume(each.initial));
                    let params = carried.iter().map(|each| each.param);
                    self.looping(params.chain([*counter]), body, yields.iter().chain(&at_end));
                    results.iter().for_each(|&result| self.define(result));
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    carried.iter().for_each(|each| self.consume(each.initial));
                    let params = carried.iter().map(|each| each.param);
                    self.looping(params, body, yields.iter().chain([again]));
                    results.iter().for_each(|&result| self.define(result));
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.consume(*condition);
                    for (region, yields) in [(then, then_yields), (otherwise, otherwise_yields)] {
                        self.region(region);
                        self.position += 1;
                        yields.iter().for_each(|&value| self.consume(value));
                    }
                    results.iter().for_each(|&result| self.define(result));
                }
            }
        }
    }

    fn looping<'v>(
        &mut self,
        params: impl Iterator<Item = Value>,
        body: &Region,
        at_end: impl Iterator<Item = &'v Value>,
    ) {
        self.stats.loops += 1;
        self.depth += 1;
        self.stats.loop_depth = self.stats.loop_depth.max(self.depth);
        let outer = std::mem::take(&mut self.used);
        let start = self.position;
        params.for_each(|param| self.define(param));
        self.region(body);
        self.position += 1;
        at_end.for_each(|&value| self.consume(value));
        let mut inside = std::mem::replace(&mut self.used, outer);
        inside.sort_unstable();
        inside.dedup();
        // What comes from before the loop is needed again in its next iteration. A parameter is defined at
        // `start` too, but by the loop: its register is the yield's by then, or it is unused.
        for value in inside {
            if self.defined[value.index()] < start {
                self.last[value.index()] = self.position;
                self.used.push(value);
            }
        }
        self.depth -= 1;
    }

    /// The most values of a kind with `defined <= position < last`.
    fn peak(&self, types: &[Type], of_kind: impl Fn(Type) -> bool) -> usize {
        let mut begins = vec![0usize; self.position + 2];
        let mut ends = vec![0usize; self.position + 2];
        for (number, ty) in types.iter().enumerate() {
            if of_kind(*ty) && self.defined[number] < self.last[number] {
                begins[self.defined[number]] += 1;
                ends[self.last[number]] += 1;
            }
        }
        let (mut live, mut most) = (0, 0);
        for (begin, end) in begins.iter().zip(&ends) {
            live = live + begin - end;
            most = most.max(live);
        }
        most
    }
}
