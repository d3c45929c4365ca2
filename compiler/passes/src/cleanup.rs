//! Last touches on a lowered function: barriers that order nothing, and values that nobody reads.
//!
//! A value is read if a store, a check, a condition, a loop bound or a yield reads it, directly or through other values. Loads
//! have no effect besides their value, so unread ones go too. Loop-carried values stay: they are part of their statement's shape.

use tvmc_ir::lane::{Function, Inst, Op, Region, Stmt, Type, Value};

/// Takes away what nobody needs; values keep their numbers.
pub fn sweep(function: &mut Function) {
    if function.arenas.is_empty() {
        remove_barriers(&mut function.body);
    }
    let mut read = vec![false; function.values.len()];
    mark(&function.body, &mut read);
    sweep_region(&mut function.body, &read);
}

/// Without arenas they have nothing to order; those of buffers stay.
fn remove_barriers(region: &mut Region) {
    region.stmts.retain(|s| !matches!(s, Stmt::Inst(Inst { op: Op::Barrier, .. })));
    for stmt in &mut region.stmts {
        match stmt {
            Stmt::Inst(_) => {}
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => remove_barriers(body),
            Stmt::If { then, otherwise, .. } => {
                remove_barriers(then);
                remove_barriers(otherwise);
            }
        }
    }
}

/// Marks what is read, last statement first: a value is defined before it is used, so one pass suffices.
fn mark(region: &Region, read: &mut [bool]) {
    let note = |values: &[Value], read: &mut [bool]| values.iter().for_each(|v| read[v.index()] = true);
    for stmt in region.stmts.iter().rev() {
        match stmt {
            Stmt::Inst(inst) => {
                if inst.op.has_effect() || inst.result.is_some_and(|r| read[r.index()]) {
                    note(&inst.args, read);
                }
            }
            Stmt::For { from, to, carried, body, yields, .. } => {
                note(&[*from, *to], read);
                note(yields, read);
                carried.iter().for_each(|c| read[c.initial.index()] = true);
                mark(body, read);
            }
            Stmt::Loop { carried, body, again, yields, .. } => {
                note(&[*again], read);
                note(yields, read);
                carried.iter().for_each(|c| read[c.initial.index()] = true);
                mark(body, read);
            }
            Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, .. } => {
                note(&[*condition], read);
                note(then_yields, read);
                note(otherwise_yields, read);
                mark(then, read);
                mark(otherwise, read);
            }
        }
    }
}

fn sweep_region(region: &mut Region, read: &[bool]) {
    region.stmts.retain_mut(|stmt| match stmt {
        Stmt::Inst(inst) => inst.op.has_effect() || inst.result.is_some_and(|r| read[r.index()]),
        Stmt::For { body, .. } | Stmt::Loop { body, .. } => {
            sweep_region(body, read);
            true
        }
        Stmt::If { then, otherwise, .. } => {
            sweep_region(then, read);
            sweep_region(otherwise, read);
            true
        }
    });
}

/// Gives the values that are left consecutive numbers, in the order of their definitions.
pub fn renumber(function: &mut Function) {
    let mut names = Names { new: vec![None; function.values.len()], types: Vec::new() };
    for scalar in &mut function.scalars {
        names.define(&function.values, &mut scalar.value);
    }
    names.region(&function.values, &mut function.body);
    function.values = names.types;
}

struct Names {
    new: Vec<Option<Value>>,
    types: Vec<Type>,
}

impl Names {
    fn define(&mut self, old: &[Type], value: &mut Value) {
        let fresh = Value(self.types.len() as u32);
        self.types.push(old[value.index()]);
        self.new[value.index()] = Some(fresh);
        *value = fresh;
    }

    fn rename(&self, value: &mut Value) {
        if let Some(fresh) = self.new[value.index()] {
            *value = fresh;
        }
    }

    fn region(&mut self, old: &[Type], region: &mut Region) {
        for stmt in &mut region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    inst.args.iter_mut().for_each(|a| self.rename(a));
                    if let Some(result) = &mut inst.result {
                        self.define(old, result);
                    }
                }
                Stmt::For { counter, from, to, carried, body, yields, results, .. } => {
                    self.rename(from);
                    self.rename(to);
                    carried.iter_mut().for_each(|c| self.rename(&mut c.initial));
                    self.define(old, counter);
                    carried.iter_mut().for_each(|c| self.define(old, &mut c.param));
                    self.region(old, body);
                    yields.iter_mut().for_each(|y| self.rename(y));
                    results.iter_mut().for_each(|r| self.define(old, r));
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    carried.iter_mut().for_each(|c| self.rename(&mut c.initial));
                    carried.iter_mut().for_each(|c| self.define(old, &mut c.param));
                    self.region(old, body);
                    self.rename(again);
                    yields.iter_mut().for_each(|y| self.rename(y));
                    results.iter_mut().for_each(|r| self.define(old, r));
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.rename(condition);
                    self.region(old, then);
                    then_yields.iter_mut().for_each(|y| self.rename(y));
                    self.region(old, otherwise);
                    otherwise_yields.iter_mut().for_each(|y| self.rename(y));
                    results.iter_mut().for_each(|r| self.define(old, r));
                }
            }
        }
    }
}
