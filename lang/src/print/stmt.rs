//! Statements as lines.

use super::Printer;
use crate::ast::*;

impl Printer<'_> {
    pub(super) fn block(&mut self, block: &Block) {
        self.braces(block.span, block.stmts.is_empty(), |p| {
            for stmt in &block.stmts {
                p.lead(stmt.span.start, false);
                p.stmt(stmt);
                p.end_line(stmt.span.end);
            }
        });
    }

    pub(super) fn binding(&mut self, keyword: &str, binding: &Binding) {
        self.push(keyword);
        self.push(" ");
        self.push(&binding.name.name);
        if let Some(ty) = &binding.ty {
            self.push(": ");
            self.ty(ty);
        }
        self.push(" = ");
        self.expr(binding.value);
        self.push(";");
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let(binding) => self.binding("let", binding),
            StmtKind::Var(binding) => self.binding("var", binding),
            StmtKind::Assign { target, op, value } => {
                match target {
                    Target::Variable(name) => self.push(&name.name),
                    Target::Store { base, indices, .. } => {
                        self.expr(*base);
                        self.indices(indices, None);
                    }
                }
                self.push(" ");
                self.push(op.symbol());
                self.push(" ");
                self.expr(*value);
                self.push(";");
            }
            StmtKind::Call { callee, args, with } => {
                self.push(&callee.name);
                self.args(args);
                if !with.is_empty() {
                    self.push(" with ");
                    self.list(with, ", ", |p, w| {
                        p.push(&w.name.name);
                        p.push(" = ");
                        p.expr(w.value);
                    });
                }
                self.push(";");
            }
            StmtKind::For(stmt) => {
                self.push("for ");
                self.push(&stmt.var.name);
                self.push(" in ");
                self.expr(stmt.start);
                self.push("..");
                self.expr(stmt.end);
                if let Some(step) = stmt.step {
                    self.push(" by ");
                    self.expr(step);
                }
                if let Some(depth) = stmt.pipeline {
                    self.push(" pipeline(");
                    self.expr(depth);
                    self.push(")");
                }
                self.push(" ");
                self.block(&stmt.body);
            }
            StmtKind::While { condition, body } => {
                self.push("while ");
                self.expr(*condition);
                self.push(" ");
                self.block(body);
            }
            StmtKind::Break => self.push("break;"),
            StmtKind::If { arms, otherwise } => {
                self.list(arms, " else ", |p, arm| {
                    p.push("if ");
                    p.expr(arm.condition);
                    p.push(" ");
                    p.block(&arm.body);
                });
                if let Some(block) = otherwise {
                    self.push(" else ");
                    self.block(block);
                }
            }
            StmtKind::Assert { condition, message } => self.assertion("assert", *condition, message.as_ref()),
            StmtKind::StaticAssert { condition, message } => {
                self.assertion("static_assert", *condition, message.as_ref());
            }
            StmtKind::Assume(condition) => self.assertion("assume", *condition, None),
            StmtKind::Print(print) => {
                self.push("print(");
                self.push(self.slice(print.text.span));
                for &arg in &print.args {
                    self.push(", ");
                    self.expr(arg);
                }
                self.push(");");
            }
            StmtKind::Return(value) => {
                self.push("return ");
                self.expr(*value);
                self.push(";");
            }
            StmtKind::Declare(declaration) => {
                self.declaration(declaration);
                self.push(";");
            }
            StmtKind::Error => self.push(self.slice(stmt.span)),
        }
    }

    fn assertion(&mut self, keyword: &str, condition: ExprId, message: Option<&Str>) {
        self.push(keyword);
        self.push("(");
        self.expr(condition);
        if let Some(message) = message {
            self.push(", ");
            self.push(self.slice(message.span));
        }
        self.push(");");
    }

    fn declaration(&mut self, declaration: &Declaration) {
        let typed = |p: &mut Self, keyword: &str, name: &Ident, ty: &Type| {
            p.push(keyword);
            p.push(" ");
            p.push(&name.name);
            p.push(": ");
            p.ty(ty);
        };
        let key = |p: &mut Self, key: &Str, otherwise: Option<ExprId>| {
            p.push(" = ");
            p.push(p.slice(key.span));
            if let Some(otherwise) = otherwise {
                p.push(" else ");
                p.expr(otherwise);
            }
        };
        match declaration {
            Declaration::Hyper { name, ty, key: text, default } => {
                typed(self, "hyper", name, ty);
                key(self, text, *default);
            }
            Declaration::Const(c) => self.constant(c),
            Declaration::Weight { name, count, ty, pattern, fallback } => {
                self.push("weight ");
                self.push(&name.name);
                if let Some(count) = count {
                    self.push("[");
                    self.expr(*count);
                    self.push("]");
                }
                self.push(": ");
                self.ty(ty);
                key(self, pattern, *fallback);
            }
            Declaration::State { name, ty, grows } => {
                typed(self, "state", name, ty);
                if let Some(dimension) = grows {
                    self.push(" grows ");
                    self.push(&dimension.name);
                }
            }
            Declaration::Input { name, ty } => typed(self, "input", name, ty),
            Declaration::Output { name, ty } => typed(self, "output", name, ty),
        }
    }
}
