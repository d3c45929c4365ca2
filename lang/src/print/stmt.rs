//! Statements as lines.

use super::Printer;
use super::lines::Piece;
use crate::ast::*;

impl<'a> Printer<'a> {
    pub(super) fn block(&mut self, block: &'a Block) {
        self.braces(block.span, block.stmts.is_empty(), |p| {
            for stmt in &block.stmts {
                p.lead(stmt.span.start, false);
                p.stmt(stmt);
                p.end_line(stmt.span.end);
            }
        });
    }

    pub(super) fn binding(&mut self, keyword: &'static str, binding: &'a Binding) {
        self.push(keyword);
        self.push(" ");
        self.push(&binding.name.name);
        if let Some(ty) = &binding.ty {
            self.push(": ");
            self.ty(ty);
        }
        self.push(" =");
        self.value(binding.value);
        self.push(";");
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::Let(binding) => self.binding("let", binding),
            StmtKind::Var(binding) => self.binding("var", binding),
            StmtKind::Assign { target, op, value } => {
                match target {
                    Target::Variable(name) => self.push(&name.name),
                    Target::Store { base, indices, span } => {
                        self.expr(*base);
                        self.indices(indices, None, span.end.saturating_sub(1));
                    }
                }
                self.push(" ");
                self.push(op.symbol());
                self.value(*value);
                self.push(";");
            }
            StmtKind::Call { callee, args, with } => {
                self.push(&callee.name);
                self.args(args, self.closing(callee.span.end));
                if !with.is_empty() {
                    self.push(" with ");
                    let start = |_: &File, w: &NamedValue| w.name.span.start;
                    self.open_list(with, start, |p, w| {
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
                self.parenthesised_group(|p| {
                    p.push(p.slice(print.text.span));
                    for &arg in &print.args {
                        p.push(",");
                        p.comments_inside(p.file[arg].span.start);
                        p.line.push(Piece::Break(" "));
                        p.expr(arg);
                    }
                });
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

    fn assertion(&mut self, keyword: &'static str, condition: ExprId, message: Option<&'a Str>) {
        self.push(keyword);
        self.push("(");
        self.parenthesised_group(|p| {
            p.expr(condition);
            if let Some(message) = message {
                p.push(",");
                p.comments_inside(message.span.start);
                p.line.push(Piece::Break(" "));
                p.push(p.slice(message.span));
            }
        });
        self.push(");");
    }

    fn declaration(&mut self, declaration: &'a Declaration) {
        let typed = |p: &mut Self, keyword: &'static str, name: &'a Ident, ty: &'a Type| {
            p.push(keyword);
            p.push(" ");
            p.push(&name.name);
            p.push(": ");
            p.ty(ty);
        };
        let key = |p: &mut Self, key: &Str, otherwise: Option<ExprId>| {
            p.push(" =");
            p.group(|p| {
                p.comments_inside(key.span.start);
                p.line.push(Piece::Break(" "));
                p.push(p.slice(key.span));
                if let Some(otherwise) = otherwise {
                    p.push(" else ");
                    p.expr(otherwise);
                }
            });
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
                if let Some(Growth { dimension, to }) = grows {
                    self.push(" grows ");
                    self.push(&dimension.name);
                    self.push(" to ");
                    self.expr(*to);
                }
            }
            Declaration::Input { name, ty } => typed(self, "input", name, ty),
            Declaration::Output { name, ty } => typed(self, "output", name, ty),
        }
    }
}
