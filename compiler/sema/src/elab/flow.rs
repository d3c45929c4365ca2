//! Control flow to structured regions with carried values.
//!
//! A variable that a block assigns is passed through its `if` or loop; the names assigned are gathered before the block is compiled. Tile IR has
//! counted loops, do-while loops and `if`; the rest becomes:
//!
//! ```text
//! while c { B }          if c { loop { B } again c }
//! for with a break       if a < b { loop { B; k = k + s } again !broke && k > old k && k < b }
//! break;  REST           broke = true;  if !broke { REST }
//! exit(); REST           exited = true; if !exited { REST }, and so on behind every block and loop around it
//! ```

use super::{BREAK, EXIT, Elab, Local, Operand, Slot};
use crate::facts::Facts;
use tvmc_ir::tile::{Binary, MAX_PIPELINE, Op, TileType, Unary, Value};
use tvmc_lang::ast::{self, Block, ExprId, IfArm, Stmt, StmtKind, Target};
use tvmc_lang::diag::Code;
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// The names that statements assign, `break` for a `break` of the loop around them.
fn assigned<'a>(stmts: &'a [Stmt], in_loop: bool, names: &mut Vec<&'a str>) {
    for stmt in stmts {
        match &stmt.kind {
            StmtKind::Assign { target: Target::Variable(name), .. } => names.push(&name.name),
            StmtKind::Break if !in_loop => names.push(BREAK),
            StmtKind::Call { callee, .. } if callee.name == "exit" => names.push(EXIT),
            StmtKind::For(f) => assigned(&f.body.stmts, true, names),
            StmtKind::While { body, .. } => assigned(&body.stmts, true, names),
            StmtKind::If { arms, otherwise } => {
                arms.iter().for_each(|a| assigned(&a.body.stmts, in_loop, names));
                otherwise.iter().for_each(|b| assigned(&b.stmts, in_loop, names));
            }
            StmtKind::Let(_)
            | StmtKind::Var(_)
            | StmtKind::Assign { .. }
            | StmtKind::Call { .. }
            | StmtKind::Break
            | StmtKind::Assert { .. }
            | StmtKind::StaticAssert { .. }
            | StmtKind::Assume(_)
            | StmtKind::Print(_)
            | StmtKind::Return(_)
            | StmtKind::Declare(_)
            | StmtKind::Error => {}
        }
    }
}

/// Whether a statement may leave the loop around it.
fn breaks(stmt: &Stmt) -> bool {
    sets(stmt, BREAK)
}

/// Whether a statement may end the block.
fn exits(stmt: &Stmt) -> bool {
    sets(stmt, EXIT)
}

fn sets(stmt: &Stmt, flag: &str) -> bool {
    let mut names = Vec::new();
    assigned(std::slice::from_ref(stmt), false, &mut names);
    names.contains(&flag)
}

impl Elab<'_, '_> {
    /// Statements in a scope of their own.
    pub fn block(&mut self, block: &Block) {
        self.scopes.push(Vec::new());
        self.stmts(&block.stmts);
        self.scopes.pop();
    }

    /// The body of a kernel, in the current scope.
    pub fn kernel_body(&mut self, body: &Block) {
        if body.stmts.iter().any(exits) {
            let no = self.constant(0, DType::BOOL, body.span).unwrap_or_else(|| self.some_bool());
            let operand = Some(Operand::Value(no));
            let local = Local { name: EXIT.into(), span: body.span, operand, mutable: true };
            if let Some(scope) = self.scopes.last_mut() {
                scope.push(local);
            }
        }
        self.stmts(&body.stmts);
    }

    /// The value of a flag of a loop or of the kernel.
    fn flag(&self, slot: Option<Slot>) -> Option<Value> {
        match self.local(slot?).operand {
            Some(Operand::Value(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    /// Statements in the current scope; after one that may break or exit, the rest is conditional.
    pub fn stmts(&mut self, stmts: &[Stmt]) {
        for (at, stmt) in stmts.iter().enumerate() {
            self.stmt(stmt);
            let rest = &stmts[at + 1..];
            if rest.is_empty() {
                continue;
            }
            let broke = self.loops.last().copied().flatten().filter(|_| breaks(stmt));
            let broke = self.flag(broke);
            let exited = if exits(stmt) { self.flag(self.find_local(EXIT)) } else { None };
            let span = stmt.span;
            let left = match (broke, exited) {
                (Some(a), Some(b)) => self.elementwise(Binary::Or, a, b, span),
                (one, None) | (None, one) => one,
            };
            let Some(left) = left else { continue };
            let bool_type = TileType::scalar(DType::BOOL);
            let Some(going) = self.define(Op::Unary(Unary::Not), &[left], bool_type, span) else { return };
            let slots = self.slots_of(&[rest], false);
            if self.cx.enter(span).is_none() {
                return;
            }
            self.branch(going, &slots, |e| e.stmts(rest), |_| {});
            self.cx.leave();
            return;
        }
    }

    /// `exit();`
    pub fn exit(&mut self, span: Span) {
        let slot = self.find_local(EXIT);
        if let (Some(slot), Some(yes)) = (slot, self.constant(1, DType::BOOL, span)) {
            self.set_local(slot, Operand::Value(yes));
        }
    }

    /// The variables that statements assign and that hold values, in order of their scopes. For the body of a loop (`in_loop`) its own
    /// `break`s do not count: their flag lives inside.
    fn slots_of(&self, blocks: &[&[Stmt]], in_loop: bool) -> Vec<Slot> {
        let mut names = Vec::new();
        blocks.iter().for_each(|b| assigned(b, in_loop, &mut names));
        names.sort_unstable();
        names.dedup();
        let mut slots: Vec<Slot> = names
            .iter()
            .filter_map(|name| self.find_local(name))
            .filter(|slot| {
                self.local(*slot).mutable && matches!(self.local(*slot).operand, Some(Operand::Value(_)))
            })
            .collect();
        slots.sort_unstable();
        slots
    }

    fn held(&self, slots: &[Slot]) -> Vec<Value> {
        slots
            .iter()
            .filter_map(|slot| match self.local(*slot).operand {
                Some(Operand::Value(v)) => Some(v),
                Some(
                    Operand::Constant(_)
                    | Operand::Memory(_)
                    | Operand::Field(_)
                    | Operand::Table(_)
                    | Operand::Block,
                )
                | None => None,
            })
            .collect()
    }

    fn put(&mut self, slots: &[Slot], values: &[Value]) {
        for (slot, value) in slots.iter().zip(values) {
            self.set_local(*slot, Operand::Value(*value));
        }
    }

    /// `if condition { then } else { otherwise }` with these variables passed on.
    fn branch(
        &mut self,
        condition: Value,
        slots: &[Slot],
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let before = self.held(slots);
        self.b.begin_if(condition);
        then(self);
        let yields = self.held(slots);
        self.put(slots, &before);
        self.b.begin_else(&yields);
        otherwise(self);
        let yields = self.held(slots);
        let results = self.b.end_if(&yields);
        self.put(slots, &results);
    }

    pub fn if_chain(&mut self, arms: &[IfArm], otherwise: Option<&Block>) {
        let Some((arm, rest)) = arms.split_first() else {
            if let Some(block) = otherwise {
                self.block(block);
            }
            return;
        };
        let condition = self.condition(arm.condition).unwrap_or_else(|| self.some_bool());
        let mut blocks: Vec<&[Stmt]> = arms.iter().map(|a| a.body.stmts.as_slice()).collect();
        blocks.extend(otherwise.map(|b| b.stmts.as_slice()));
        let slots = self.slots_of(&blocks, false);
        self.branch(
            condition,
            &slots,
            |e| e.block(&arm.body),
            |e| {
                if e.cx.enter(arm.body.span).is_some() {
                    e.if_chain(rest, otherwise);
                    e.cx.leave();
                }
            },
        );
    }

    /// The body of a loop with its `break` flag, if it has one; gives the flag's value after the body.
    fn body(&mut self, body: &Block, counter: Option<(&ast::Ident, Value)>) -> Option<Value> {
        let mut scope = Vec::new();
        if let Some((name, value)) = counter {
            let (name, span) = (name.name.clone(), name.span);
            scope.push(Local { name, span, operand: Some(Operand::Value(value)), mutable: false });
        }
        let has_break = body.stmts.iter().any(breaks);
        let mut flag = None;
        if has_break {
            let no = self.constant(0, DType::BOOL, body.span).unwrap_or_else(|| self.some_bool());
            flag = Some((self.scopes.len(), scope.len()));
            let operand = Some(Operand::Value(no));
            scope.push(Local { name: BREAK.into(), span: body.span, operand, mutable: true });
        }
        self.scopes.push(scope);
        self.loops.push(flag);
        self.block(body);
        self.loops.pop();
        let broke = self.flag(flag);
        self.scopes.pop();
        broke
    }

    /// `condition`, unless the body before it ended the block.
    fn unless_exited(&mut self, body: &Block, condition: Value, span: Span) -> Option<Value> {
        let exited = if body.stmts.iter().any(exits) { self.flag(self.find_local(EXIT)) } else { None };
        self.unless(exited, condition, span)
    }

    /// `condition && !broke`.
    fn unless(&mut self, broke: Option<Value>, condition: Value, span: Span) -> Option<Value> {
        let Some(broke) = broke else { return Some(condition) };
        let going = self.define(Op::Unary(Unary::Not), &[broke], TileType::scalar(DType::BOOL), span)?;
        self.elementwise(Binary::And, going, condition, span)
    }

    pub fn while_loop(&mut self, condition: ExprId, body: &Block) {
        let span = self.span(condition);
        let first = self.repeated_condition(condition).unwrap_or_else(|| self.some_bool());
        let slots = self.slots_of(&[&body.stmts], true);
        let inner = slots.clone();
        self.branch(
            first,
            &slots,
            |e| {
                let initials = e.held(&inner);
                let params = e.b.begin_loop(&initials);
                e.put(&inner, &params);
                let broke = e.body(body, None);
                let again = e.repeated_condition(condition).and_then(|c| e.unless(broke, c, span));
                let again = again.and_then(|c| e.unless_exited(body, c, span));
                let again = again.unwrap_or_else(|| e.some_bool());
                let yields = e.held(&inner);
                let results = e.b.end_loop(again, &yields);
                e.put(&inner, &results);
            },
            |_| {},
        );
    }

    /// The condition of a `while`: it is evaluated after the last turn as well, a `break` or not, so it must have no effect.
    fn repeated_condition(&mut self, condition: ExprId) -> Option<Value> {
        let outer = std::mem::replace(&mut self.repeated, true);
        let value = self.condition(condition);
        self.repeated = outer;
        value
    }

    fn bound(&mut self, id: ExprId) -> Option<Value> {
        let span = self.span(id);
        let operand = self.expr(id)?;
        self.scalar_i32(operand, span)
    }

    pub fn for_loop(&mut self, stmt: &ast::For) {
        let from = self.bound(stmt.start);
        let to = self.bound(stmt.end);
        let top = i64::from(i32::MAX);
        let step = match stmt.step {
            None => Some(1),
            Some(step) => self.known_int(step, Code::StepInvalid, "the step of a loop", 1, top),
        };
        let pipeline = stmt.pipeline.and_then(|depth| {
            let most = i64::from(MAX_PIPELINE);
            self.known_int(depth, Code::NotConstant, "the depth of a pipeline", 1, most)
        });
        let from = from.unwrap_or_else(|| self.some_i32());
        let to = to.unwrap_or_else(|| self.some_i32());
        let step = step.map_or(1, |s| s as u32);
        let slots = self.slots_of(&[&stmt.body.stmts], true);
        if stmt.body.stmts.iter().any(|s| breaks(s) || exits(s)) {
            self.for_with_break(stmt, from, to, step, &slots);
            return;
        }
        let facts = Facts::counter(self.facts(from), self.facts(to), step);
        let initials = self.held(&slots);
        let (counter, params) = self.b.begin_for(from, to, step, &initials);
        self.b.pipeline(pipeline.unwrap_or(1) as u32);
        self.set_facts(counter, facts);
        self.put(&slots, &params);
        self.body(&stmt.body, Some((&stmt.var, counter)));
        let yields = self.held(&slots);
        let results = self.b.end_for(&yields);
        self.put(&slots, &results);
    }

    fn for_with_break(&mut self, stmt: &ast::For, from: Value, to: Value, step: u32, slots: &[Slot]) {
        let span = stmt.var.span;
        let facts = Facts::counter(self.facts(from), self.facts(to), step);
        let enters = self.elementwise(Binary::Lt, from, to, span).unwrap_or_else(|| self.some_bool());
        self.branch(
            enters,
            slots,
            |e| {
                let mut initials = vec![from];
                initials.extend(e.held(slots));
                let params = e.b.begin_loop(&initials);
                let counter = params[0];
                e.set_facts(counter, facts);
                e.put(slots, &params[1..]);
                let broke = e.body(&stmt.body, Some((&stmt.var, counter)));
                let next = e.i32(step as i32, span).and_then(|s| e.i32_op(Binary::Add, counter, s, span));
                let next = next.unwrap_or_else(|| e.some_i32());
                // Near the end of the range the sum wraps to below the counter: that ends the loop too.
                let rises = e.elementwise(Binary::Lt, counter, next, span);
                let below = e.elementwise(Binary::Lt, next, to, span);
                let again = match (rises, below) {
                    (Some(rises), Some(below)) => e.elementwise(Binary::And, rises, below, span),
                    (_, _) => None,
                };
                let again = again.and_then(|c| e.unless(broke, c, span));
                let again = again.and_then(|c| e.unless_exited(&stmt.body, c, span));
                let again = again.unwrap_or_else(|| e.some_bool());
                let mut yields = vec![next];
                yields.extend(e.held(slots));
                let results = e.b.end_loop(again, &yields);
                e.put(slots, &results[1..]);
            },
            |_| {},
        );
    }
}
