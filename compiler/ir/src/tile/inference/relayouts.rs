//! Puts a `relayout` wherever layouts do not agree, so that afterwards they do.
//!
//! ```text
//! v3 = neg v1        v1 lies as L, v3 as M        v9 = relayout v1   M
//!                                                 v3 = neg v9
//! ```
//!
//! The operand is moved to what its rule asks of it for the result's layout. Where no rule leads back (a reduction), the result is moved instead. A
//! variable of a loop has its parameter's layout, one of an `if` its result's: initial values and yields are moved to that, results from that. A
//! tile moved once is not moved again in the same region.

use super::rules;
use crate::tile::agreement::first_lack;
use crate::tile::kernel::{Inst, Kernel, Pin, Region, Stmt, Value};
use crate::tile::op::Op;
use crate::tile::pins::Origin;
use std::collections::HashMap;
use tvmc_types::layout::Layout;

/// A `relayout` that inference put in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inserted {
    /// The tile that is moved.
    pub from: Value,
    /// The tile that it becomes.
    pub to: Value,
    /// Where in the source the operation stands that needs it: an index into [`Kernel::locations`].
    pub location: Option<u32>,
}

/// Puts in what is missing.
pub(super) fn insert(kernel: &mut Kernel) -> Vec<Inserted> {
    let body = std::mem::take(&mut kernel.body);
    let mut pass = Pass { kernel, inserted: Vec::new(), moved: HashMap::new(), out: Vec::new() };
    let body = pass.region(body);
    let inserted = pass.inserted;
    kernel.body = body;
    inserted
}

struct Pass<'k> {
    kernel: &'k mut Kernel,
    inserted: Vec<Inserted>,
    /// What this region has moved already.
    moved: HashMap<(Value, Layout), Value>,
    /// The region as it becomes.
    out: Vec<Stmt>,
}

impl Pass<'_> {
    fn region(&mut self, region: Region) -> Region {
        self.region_with(region, &mut [], &[])
    }

    /// A region whose yields are to have the layouts of these values.
    fn region_with(&mut self, region: Region, yields: &mut [Value], wanted: &[Value]) -> Region {
        let outer = (std::mem::take(&mut self.moved), std::mem::take(&mut self.out));
        for stmt in region.stmts {
            self.stmt(stmt);
        }
        for (value, like) in yields.iter_mut().zip(wanted) {
            self.become_like(value, *like);
        }
        let stmts = std::mem::replace(&mut self.out, outer.1);
        self.moved = outer.0;
        Region { stmts }
    }

    fn stmt(&mut self, stmt: Stmt) {
        match stmt {
            Stmt::Inst(inst) => self.inst(inst),
            Stmt::For { counter, from, to, step, pipeline, mut carried, body, mut yields, mut results } => {
                let params: Vec<Value> = carried.iter().map(|c| c.param).collect();
                carried.iter_mut().for_each(|c| self.become_like(&mut c.initial, c.param));
                let body = self.region_with(body, &mut yields, &params);
                let after = self.results(&mut results, &params);
                self.out.push(Stmt::For {
                    counter,
                    from,
                    to,
                    step,
                    pipeline,
                    carried,
                    body,
                    yields,
                    results,
                });
                self.out.extend(after);
            }
            Stmt::Loop { mut carried, body, again, mut yields, mut results } => {
                let params: Vec<Value> = carried.iter().map(|c| c.param).collect();
                carried.iter_mut().for_each(|c| self.become_like(&mut c.initial, c.param));
                let body = self.region_with(body, &mut yields, &params);
                let after = self.results(&mut results, &params);
                self.out.push(Stmt::Loop { carried, body, again, yields, results });
                self.out.extend(after);
            }
            Stmt::If { condition, then, mut then_yields, otherwise, mut otherwise_yields, results } => {
                let then = self.region_with(then, &mut then_yields, &results);
                let otherwise = self.region_with(otherwise, &mut otherwise_yields, &results);
                self.out.push(Stmt::If {
                    condition,
                    then,
                    then_yields,
                    otherwise,
                    otherwise_yields,
                    results,
                });
            }
        }
    }

    fn inst(&mut self, mut inst: Inst) {
        let mut after = None;
        // Each turn mends one operand, or the result and with it all of them.
        for _ in 0..=inst.args.len() {
            let Some(lack) = first_lack(self.kernel, &inst) else { break };
            let Some(result) = inst.result else { break };
            let Some(layout) = self.kernel.layout(result).cloned() else { break };
            let operand = inst.args[lack.operand];
            let back = rules::propose(self.kernel, &inst, result, &layout);
            match back.into_iter().find(|(value, ..)| *value == operand) {
                Some((_, needed, _)) => {
                    let moved = self.relayout(operand, needed, inst.location);
                    inst.args.iter_mut().filter(|arg| **arg == operand).for_each(|arg| *arg = moved);
                }
                None => {
                    let Some(held) = self.kernel.layout(operand).cloned() else { break };
                    let forth = rules::propose(self.kernel, &inst, operand, &held);
                    let found = forth.into_iter().find(|(value, ..)| *value == result);
                    let Some((_, gives, _)) = found else { break };
                    let own = self.fresh(result, gives);
                    inst.result = Some(own);
                    after = Some(self.relayout_inst(own, result, inst.location));
                }
            }
        }
        self.out.push(Stmt::Inst(inst));
        self.out.extend(after);
    }

    /// Moves a value into the layout of another, if both have one and they differ.
    fn become_like(&mut self, value: &mut Value, like: Value) {
        let (Some(has), Some(wants)) = (self.kernel.layout(*value), self.kernel.layout(like)) else { return };
        if has != wants {
            let wants = wants.clone();
            *value = self.relayout(*value, wants, None);
        }
    }

    /// The results of a loop, in their parameters' layouts, and what moves them to their own.
    fn results(&mut self, results: &mut [Value], params: &[Value]) -> Vec<Stmt> {
        let mut after = Vec::new();
        for (result, param) in results.iter_mut().zip(params) {
            let (has, wants) = (self.kernel.layout(*param).cloned(), self.kernel.layout(*result));
            if let (Some(has), Some(wants)) = (has, wants)
                && has != *wants
            {
                let own = self.fresh(*result, has);
                after.push(self.relayout_inst(own, *result, None));
                *result = own;
            }
        }
        after
    }

    /// The value in another layout.
    fn relayout(&mut self, value: Value, layout: Layout, location: Option<u32>) -> Value {
        if let Some(moved) = self.moved.get(&(value, layout.clone())) {
            return *moved;
        }
        let moved = self.fresh(value, layout.clone());
        let stmt = self.relayout_inst(value, moved, location);
        self.out.push(stmt);
        self.moved.insert((value, layout), moved);
        moved
    }

    fn relayout_inst(&mut self, from: Value, to: Value, location: Option<u32>) -> Stmt {
        self.inserted.push(Inserted { from, to, location });
        Stmt::Inst(Inst { op: Op::Relayout, args: vec![from], result: Some(to), location })
    }

    /// A new value of another's type.
    fn fresh(&mut self, like: Value, layout: Layout) -> Value {
        let value = Value(self.kernel.values.len() as u32);
        let ty = self.kernel.ty(like).clone();
        self.kernel.values.push(ty);
        let pin = Pin { layout, origin: Origin::Inserted, location: String::new() };
        self.kernel.pins.insert(value, pin);
        value
    }
}
