//! Builds a [`Kernel`] in program order. Types are given by the caller (sema knows them); the verifier judges the result.
//!
//! Regions nest on a stack, as in the lane builder: `begin_for` opens one, `end_for` closes it and gives the results.

use super::kernel::{Carried, Inst, Kernel, Pin, Region, Stmt, Value};
use super::op::Op;
use super::pins::Origin;
use super::types::TileType;
use std::collections::HashMap;
use tvmc_types::dtype::DType;
use tvmc_types::layout::Layout;

/// An open region and what will become of it.
enum Open {
    For { counter: Value, from: Value, to: Value, step: u32, pipeline: u32, carried: Vec<Carried> },
    Loop { carried: Vec<Carried> },
    Then { condition: Value },
    Else { condition: Value, then: Region, then_yields: Vec<Value> },
}

/// Appends statements to a kernel under construction. The declarations in `kernel` may be edited freely.
#[derive(Default)]
pub struct Builder {
    /// The kernel so far, without its body.
    pub kernel: Kernel,
    region: Region,
    open: Vec<(Open, Region)>,
    /// The current source place, and its number once an operation used it.
    place: String,
    location: Option<u32>,
    /// Numbers of the places used so far.
    known: HashMap<String, u32>,
}

impl Builder {
    /// An empty kernel.
    pub fn new(name: &str) -> Self {
        Self { kernel: Kernel { name: name.to_owned(), ..Kernel::default() }, ..Self::default() }
    }

    /// Sets the source place (`file:line:column`) of the operations that follow.
    pub fn at(&mut self, location: &str) {
        if self.place != location {
            self.place.clear();
            self.place.push_str(location);
            self.location = None;
        }
    }

    /// The number of the current place, in the order of first use.
    fn location(&mut self) -> Option<u32> {
        if self.location.is_none() && !self.place.is_empty() {
            let next = self.known.len() as u32;
            let number = *self.known.entry(self.place.clone()).or_insert(next);
            if number == next {
                self.kernel.locations.push(self.place.clone());
            }
            self.location = Some(number);
        }
        self.location
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TileType {
        self.kernel.ty(value)
    }

    fn value(&mut self, ty: TileType) -> Value {
        self.kernel.values.push(ty);
        Value(self.kernel.values.len() as u32 - 1)
    }

    /// Appends an operation that defines a value of type `ty`.
    pub fn define(&mut self, op: Op, args: &[Value], ty: TileType) -> Value {
        let value = self.value(ty);
        let inst = Inst { op, args: args.to_vec(), result: Some(value), location: self.location() };
        self.region.stmts.push(Stmt::Inst(inst));
        value
    }

    /// Writes the layout of a value, which must have none yet or this one.
    pub fn pin(&mut self, value: Value, layout: Layout, location: &str) {
        let origin = Origin::Written;
        self.kernel.pins.insert(value, Pin { layout, origin, location: location.to_owned() });
    }

    /// A value of the type and layout of another: a variable keeps both.
    fn like(&mut self, other: Value) -> Value {
        let value = self.value(self.ty(other).clone());
        if let Some(pin) = self.kernel.pins.get(&other).cloned() {
            self.kernel.pins.insert(value, pin);
        }
        value
    }

    /// Appends an operation without a result.
    pub fn effect(&mut self, op: Op, args: &[Value]) {
        let inst = Inst { op, args: args.to_vec(), result: None, location: self.location() };
        self.region.stmts.push(Stmt::Inst(inst));
    }

    /// An i32 constant.
    pub fn i32(&mut self, value: i32) -> Value {
        self.define(Op::Const(value as u32), &[], TileType::scalar(DType::I32))
    }

    /// An f32 constant.
    pub fn f32(&mut self, value: f32) -> Value {
        self.define(Op::Const(value.to_bits()), &[], TileType::scalar(DType::F32))
    }

    fn push(&mut self, open: Open) {
        let outer = std::mem::take(&mut self.region);
        self.open.push((open, outer));
    }

    fn pop(&mut self) -> (Open, Region) {
        match self.open.pop() {
            Some((open, outer)) => (open, std::mem::replace(&mut self.region, outer)),
            None => unreachable!("no region is open"),
        }
    }

    fn carry(&mut self, initials: &[Value]) -> (Vec<Carried>, Vec<Value>) {
        let carried: Vec<Carried> =
            initials.iter().map(|&initial| Carried { param: self.like(initial), initial }).collect();
        let params = carried.iter().map(|c| c.param).collect();
        (carried, params)
    }

    fn results(&mut self, yields: &[Value]) -> Vec<Value> {
        yields.iter().map(|&y| self.like(y)).collect()
    }

    /// Opens a counted loop; gives the counter and the carried values as the body sees them.
    pub fn begin_for(
        &mut self,
        from: Value,
        to: Value,
        step: u32,
        initials: &[Value],
    ) -> (Value, Vec<Value>) {
        let counter = self.value(TileType::scalar(DType::I32));
        let (carried, params) = self.carry(initials);
        self.push(Open::For { counter, from, to, step, pipeline: 1, carried });
        (counter, params)
    }

    /// Lets the loads of this many turns of the innermost open `for` be under way at once.
    pub fn pipeline(&mut self, turns: u32) {
        if let Some((Open::For { pipeline, .. }, _)) = self.open.last_mut() {
            *pipeline = turns;
        }
    }

    /// Closes a counted loop; gives the values after it.
    pub fn end_for(&mut self, yields: &[Value]) -> Vec<Value> {
        let (open, body) = self.pop();
        let Open::For { counter, from, to, step, pipeline, carried } = open else {
            unreachable!("the open region is no `for`")
        };
        let results = self.results(yields);
        let yields = yields.to_vec();
        let stmt =
            Stmt::For { counter, from, to, step, pipeline, carried, body, yields, results: results.clone() };
        self.region.stmts.push(stmt);
        results
    }

    /// Opens a do-while loop; gives the carried values as the body sees them.
    pub fn begin_loop(&mut self, initials: &[Value]) -> Vec<Value> {
        let (carried, params) = self.carry(initials);
        self.push(Open::Loop { carried });
        params
    }

    /// Closes a do-while loop; gives the values after it.
    pub fn end_loop(&mut self, again: Value, yields: &[Value]) -> Vec<Value> {
        let (open, body) = self.pop();
        let Open::Loop { carried } = open else { unreachable!("the open region is no `loop`") };
        let results = self.results(yields);
        let yields = yields.to_vec();
        self.region.stmts.push(Stmt::Loop { carried, body, again, yields, results: results.clone() });
        results
    }

    /// Opens the true branch of an `if`.
    pub fn begin_if(&mut self, condition: Value) {
        self.push(Open::Then { condition });
    }

    /// Closes the true branch and opens the false one.
    pub fn begin_else(&mut self, then_yields: &[Value]) {
        let (open, then) = self.pop();
        let Open::Then { condition } = open else { unreachable!("the open region is no `if`") };
        self.push(Open::Else { condition, then, then_yields: then_yields.to_vec() });
    }

    /// Closes the false branch; gives the values after the statement.
    pub fn end_if(&mut self, otherwise_yields: &[Value]) -> Vec<Value> {
        let (open, otherwise) = self.pop();
        let Open::Else { condition, then, then_yields } = open else {
            unreachable!("the open region is no `else`")
        };
        let results = self.results(otherwise_yields);
        let otherwise_yields = otherwise_yields.to_vec();
        let results_copy = results.clone();
        self.region.stmts.push(Stmt::If {
            condition,
            then,
            then_yields,
            otherwise,
            otherwise_yields,
            results,
        });
        results_copy
    }

    /// The finished kernel.
    pub fn finish(mut self) -> Kernel {
        debug_assert!(self.open.is_empty(), "a region is still open");
        self.kernel.body = self.region;
        self.kernel
    }
}
