//! Statements without control flow: bindings, assignments, asserts, prints.

use super::memory::operator;
use super::{BREAK, Elab, Operand};
use crate::diags::counted;
use crate::signature::ParameterKind;
use tvmc_ir::tile::{Message, Op, TileType, Value};
use tvmc_lang::ast::{self, AssignOp, Binding, ExprId, ExprKind, Stmt, StmtKind, Target};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

impl Elab<'_, '_> {
    /// One statement.
    pub fn stmt(&mut self, stmt: &Stmt) {
        if self.cx.enter(stmt.span).is_none() {
            return;
        }
        match &stmt.kind {
            StmtKind::Let(binding) => self.let_binding(binding, false),
            StmtKind::Var(binding) => self.let_binding(binding, true),
            StmtKind::Assign { target, op, value } => match target {
                Target::Variable(name) => drop(self.assign(name, *op, *value)),
                Target::Store { .. } => drop(self.store(target, *op, *value)),
            },
            StmtKind::Call { callee, args, with } => self.call_statement(callee, args, with, stmt.span),
            StmtKind::For(stmt) => self.for_loop(stmt),
            StmtKind::While { condition, body } => self.while_loop(*condition, body),
            StmtKind::Break => self.break_loop(stmt.span),
            StmtKind::If { arms, otherwise } => self.if_chain(arms, otherwise.as_ref()),
            StmtKind::Assert { condition, message } => {
                self.assert(*condition, message.as_ref().map(|m| m.value.as_str()), stmt.span);
            }
            StmtKind::StaticAssert { condition, message } => {
                self.static_assert(*condition, message.as_ref().map(|m| m.value.as_str()));
            }
            StmtKind::Assume(condition) => {
                let text = self.cx.lib.sources().text(self.span(*condition));
                let text = format!("assumption: {text}");
                self.assert(*condition, Some(&text), stmt.span);
            }
            StmtKind::Print(print) => drop(self.print(print, stmt.span)),
            StmtKind::Return(_) | StmtKind::Declare(_) | StmtKind::Error => {
                // The parser reported these: no tree without errors has them here.
            }
        }
        self.cx.leave();
    }

    /// `let` and `var`.
    pub fn let_binding(&mut self, binding: &Binding, mutable: bool) {
        let operand = self.initial(binding, mutable);
        self.bind(&binding.name, operand, mutable);
    }

    fn initial(&mut self, binding: &Binding, mutable: bool) -> Option<Operand> {
        let file = self.file();
        let at = self.span(binding.value);
        if let ExprKind::Shared(ty) = &file[binding.value].kind {
            if !self.in_kernel("shared", at) {
                return None;
            }
            if mutable || binding.ty.is_some() {
                self.report(
                    Diagnostic::error(Code::WrongArgument, "a block-shared tensor is bound by a plain `let`")
                        .at(binding.span, "not this way")
                        .help("`let s = shared f32[16];`; its elements are stored to: `s[i] = ..;`"),
                );
            }
            return self.shared(&binding.name.name, ty, at);
        }
        let operand = self.expr(binding.value);
        let declared = binding.ty.as_ref().map(|ty| {
            let dtype = self.dtype_named(&ty.elem);
            let shape = self.shape(ty);
            (dtype, shape)
        });
        let operand = self.bindable(operand?, at)?;
        match declared {
            None if mutable => self.value(operand, at).map(Operand::Value),
            None => Some(operand),
            Some((dtype, shape)) => {
                let (dtype, shape) = (dtype?, shape?);
                let value = self.assign_to(operand, dtype, at)?;
                let value = self.fit_shape(value, &shape, at)?;
                match &binding.ty {
                    Some(ty) => self.pinned(value, ty).map(Operand::Value),
                    None => Some(Operand::Value(value)),
                }
            }
        }
    }

    /// Tensors have no second name; everything else may be bound.
    fn bindable(&mut self, operand: Operand, span: Span) -> Option<Operand> {
        self.numeric(operand, span)
    }

    fn assign(&mut self, name: &ast::Ident, op: AssignOp, value: ExprId) -> Option<()> {
        let at = self.span(value);
        let Some(slot) = self.find_local(&name.name) else {
            self.look(value);
            self.not_assignable(name);
            return None;
        };
        if !self.local(slot).mutable {
            let first = self.local(slot).span;
            self.look(value);
            self.report(
                Diagnostic::error(Code::NotAssignable, format!("`{}` is not a variable", name.name))
                    .at(name.span, "cannot be assigned")
                    .also(first, "defined here")
                    .help(format!("define it with `var {} = ..;`", name.name)),
            );
            return None;
        }
        let old = self.local(slot).operand;
        let new = match op {
            AssignOp::Set => self.expr(value),
            AssignOp::Add if self.is_dot(value) => {
                let factors = self.dot_factors(value);
                match (old, factors) {
                    (Some(old), Some(factors)) => {
                        self.accumulate((old, name.span), factors, at).map(Operand::Value)
                    }
                    (_, _) => None,
                }
            }
            AssignOp::Add | AssignOp::Sub | AssignOp::Mul | AssignOp::Div => {
                let new = self.expr(value);
                match (old, new) {
                    (Some(old), Some(new)) => self.binary(operator(op), (old, name.span), (new, at), at),
                    (_, _) => None,
                }
            }
        };
        let Some(Operand::Value(old)) = old else { return None };
        let ty = self.ty(old);
        let new = self.numeric(new?, at)?;
        let value = self.same_type(new, &ty, name, at)?;
        let value = self.keep_layout(old, value, at)?;
        self.set_local(slot, Operand::Value(value));
        Some(())
    }

    /// A value that a variable of this type can take.
    fn same_type(&mut self, new: Operand, ty: &TileType, name: &ast::Ident, span: Span) -> Option<Value> {
        if let Operand::Value(v) = new {
            let got = self.ty(v);
            let fits = got.shape == ty.shape
                || got.shape.len() <= ty.shape.len()
                    && got.shape.iter().rev().zip(ty.shape.iter().rev()).all(|(a, b)| a == b || *a == 1);
            if !fits {
                self.report(
                    Diagnostic::error(
                        Code::VariableTypeChange,
                        format!("`{}` is {ty} and cannot become {got}", name.name),
                    )
                    .at(span, got.to_string())
                    .help(
                        "a variable keeps its type: use another name, or give it this shape from the start",
                    ),
                );
                return None;
            }
        }
        let value = self.assign_to(new, ty.dtype, span)?;
        self.broadcast(value, &ty.shape, span)
    }

    fn not_assignable(&mut self, name: &ast::Ident) {
        let header = self.header.params.iter().find(|p| p.name.name == name.name);
        let d = if let Some(param) = header {
            let help = match param.kind {
                ParameterKind::Scalar(_) => format!("copy it into one: `var v = {};`", name.name),
                ParameterKind::Tensor { .. } | ParameterKind::Poison => {
                    format!("store to its elements: `{}[..] = ..;`", name.name)
                }
            };
            Diagnostic::error(Code::NotAssignable, format!("`{}` is an argument, not a variable", name.name))
                .at(name.span, "cannot be assigned")
                .help(help)
        } else {
            let names: Vec<&str> =
                self.scopes.iter().flatten().filter(|l| l.mutable).map(|l| l.name.as_str()).collect();
            let d = Diagnostic::error(Code::UnknownName, format!("there is no variable `{}`", name.name))
                .at(name.span, "not defined");
            match closest(&name.name, names) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help(format!("define it first: `var {} = ..;`", name.name)),
            }
        };
        self.report(d);
    }

    fn call_statement(
        &mut self,
        callee: &ast::Ident,
        args: &[ast::Arg],
        with: &[ast::NamedValue],
        span: Span,
    ) {
        let name = callee.name.as_str();
        if with.is_empty() {
            if name == "exit" {
                match args {
                    [] => self.exit(span),
                    [..] => self.count_error("exit", "no arguments: `exit();` ends the block", span),
                }
                return;
            }
            if name == "encode_tensor" {
                self.encode_tensor(args, span);
                return;
            }
            if name == "scatter" {
                self.scatter(args, span);
                return;
            }
            if let Some(update) = super::scatter::update_named(name) {
                self.atomic(name, update, args, span);
                return;
            }
            if self.copy_statement(name, args, span) {
                return;
            }
        }
        args.iter().filter_map(ast::Arg::expr).for_each(|a| self.look(a));
        with.iter().for_each(|w| self.look(w.value));
        let d = match self.cx.lib.lookup(self.module, name).map(|id| &self.cx.lib.item(id).kind) {
            Some(ast::ItemKind::Kernel(_)) => Diagnostic::error(
                Code::NotInProgram,
                format!("kernel `{name}` cannot be launched from a kernel"),
            )
            .at(span, "only in programs")
            .help("launch both from a program; share expressions as a `fn`"),
            Some(_) => Diagnostic::error(Code::NoEffect, format!("calling `{name}` has no effect here"))
                .at(span, "its value is not used")
                .help("bind it: `let x = ..;`"),
            None => Diagnostic::error(Code::UnknownFunction, format!("there is no action `{name}`"))
                .at(callee.span, "not defined")
                .help("kernels act by `print`, `assert`, stores, `scatter` and atomic updates"),
        };
        self.report(d);
    }

    // ---- asserts and prints ----

    /// A bool scalar; for control flow and asserts.
    pub fn condition(&mut self, id: ExprId) -> Option<Value> {
        let span = self.span(id);
        let operand = self.expr(id)?;
        let value = self.value(operand, span)?;
        let ty = self.ty(value);
        if ty.dtype != DType::BOOL {
            self.report(
                Diagnostic::error(Code::WrongType, format!("a condition is bool, not {ty}"))
                    .at(span, ty.to_string())
                    .help("compare: `x != 0`"),
            );
            return None;
        }
        if !ty.is_scalar() {
            self.report(
                Diagnostic::error(Code::NotUniform, format!("a condition is one bool, not a tile {ty}"))
                    .at(span, "differs between elements")
                    .help("choose per element with `where(c, a, b)`, or reduce it with `any(c)` or `all(c)`"),
            );
            return None;
        }
        Some(value)
    }

    fn message(&mut self, text: &str, span: Span) -> u32 {
        let location = self.cx.lib.location(span);
        self.b.kernel.messages.push(Message { text: text.to_owned(), location });
        self.b.kernel.messages.len() as u32 - 1
    }

    fn assert(&mut self, condition: ExprId, text: Option<&str>, span: Span) {
        let Some(value) = self.condition(condition) else { return };
        let source = self.cx.lib.sources().text(self.span(condition)).to_owned();
        // Braces of the source are no place holders.
        let message = self.message(text.unwrap_or(&source), span);
        self.effect(Op::Assert(message), &[value], span);
    }

    fn static_assert(&mut self, condition: ExprId, text: Option<&str>) {
        let span = self.span(condition);
        let Some(constant) = self.known(condition, Code::NotConstant, "the condition") else { return };
        match constant.as_bool() {
            Some(true) => {}
            Some(false) if self.sample && constant.dims != 0 => {}
            Some(false) => {
                let source = self.cx.lib.sources().text(span);
                self.report(
                    Diagnostic::error(
                        Code::StaticAssertFailed,
                        text.unwrap_or("static_assert failed").to_owned(),
                    )
                    .at(span, "false for this instance")
                    .note(format!("the condition is `{source}`")),
                );
            }
            None => {
                let what = constant.describe();
                self.error(Code::WrongType, span, format!("a condition is bool, not {what}"), what);
            }
        }
    }

    fn print(&mut self, print: &ast::Print, span: Span) -> Option<()> {
        let places = print.text.value.matches("{}").count();
        let mut values = Vec::new();
        let mut good = true;
        for arg in &print.args {
            let at = self.span(*arg);
            match self.expr(*arg).and_then(|o| self.value(o, at)) {
                Some(value) => values.push(value),
                None => good = false,
            }
        }
        if places != print.args.len() {
            self.report(
                Diagnostic::error(
                    Code::WrongArgumentCount,
                    format!(
                        "the text has {}, but {} given",
                        counted(places, "`{}`"),
                        match print.args.len() {
                            1 => "1 value is".to_owned(),
                            count => format!("{count} values are"),
                        }
                    ),
                )
                .at(print.text.span, counted(places, "place"))
                .help("write one `{}` for each value"),
            );
            return None;
        }
        if !good {
            return None;
        }
        let message = self.message(&print.text.value, span);
        self.effect(Op::Print(message), &values, span);
        Some(())
    }

    fn break_loop(&mut self, span: Span) {
        match self.loops.last() {
            Some(Some(slot)) => {
                let slot = *slot;
                if let Some(yes) = self.constant(1, DType::BOOL, span) {
                    self.set_local(slot, Operand::Value(yes));
                }
            }
            Some(None) | None => {
                self.report(
                    Diagnostic::error(Code::BreakOutsideLoop, format!("`{BREAK}` outside a loop"))
                        .at(span, "no loop around it")
                        .help("it leaves the innermost `for` or `while`"),
                );
            }
        }
    }
}
