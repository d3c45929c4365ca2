//! Which statement may stand where.
//!
//! | place | `return` | declarations | everything else |
//! |---|---|---|---|
//! | kernel, `encode { }` | no | no | yes |
//! | program, directly | no | yes | yes |
//! | program, in a loop or `if` | no | no | yes |
//!
//! Fns and `value[i] { }` are checked when they are built. An item that a nested item's report covers needs nothing here.

use crate::ast::*;
use crate::diag::{Code, Diagnostic};
use crate::span::Span;

/// Checks an item.
pub(super) fn check(kind: &ItemKind, exprs: &Exprs, diagnostics: &mut Vec<Diagnostic>) {
    let mut checker = Checker { exprs, diagnostics };
    match kind {
        ItemKind::Use(_) | ItemKind::Const(_) | ItemKind::Table(_) | ItemKind::Function(_) => {}
        ItemKind::Kernel(kernel) => checker.block(&kernel.body, Place::Kernel),
        ItemKind::Program(program) => checker.block(&program.body, Place::Program),
        ItemKind::Format(format) => {
            for member in &format.members {
                match member {
                    FormatMember::Encode { body, .. } => checker.block(body, Place::Kernel),
                    FormatMember::Scope { .. }
                    | FormatMember::Table(_)
                    | FormatMember::Value { .. }
                    | FormatMember::Error(_) => {}
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Kernel,
    Program,
    ProgramBlock,
}

struct Checker<'a> {
    exprs: &'a Exprs,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn block(&mut self, block: &Block, place: Place) {
        let inner = if place == Place::Program { Place::ProgramBlock } else { place };
        for stmt in &block.stmts {
            match &stmt.kind {
                StmtKind::For(stmt) => self.block(&stmt.body, inner),
                StmtKind::While { body, .. } => self.block(body, inner),
                StmtKind::If { arms, otherwise } => {
                    arms.iter().for_each(|arm| self.block(&arm.body, inner));
                    otherwise.iter().for_each(|block| self.block(block, inner));
                }
                StmtKind::Return(value) => {
                    let value = self.exprs[*value].span;
                    self.report(
                        stmt.span,
                        "`return` stands only at the end of a fn",
                        "not in a fn",
                        match place {
                            Place::Kernel => "a kernel gives its results by storing to `out` arguments",
                            Place::Program | Place::ProgramBlock => {
                                "a program gives its results in its `output`s"
                            }
                        },
                        value,
                    );
                }
                StmtKind::Declare(declaration) => self.declaration(declaration, stmt.span, place),
                StmtKind::Let(_)
                | StmtKind::Var(_)
                | StmtKind::Assign { .. }
                | StmtKind::Call { .. }
                | StmtKind::Break
                | StmtKind::Assert { .. }
                | StmtKind::StaticAssert { .. }
                | StmtKind::Assume(_)
                | StmtKind::Print(_)
                | StmtKind::Error => {}
            }
        }
    }

    fn declaration(&mut self, declaration: &Declaration, span: Span, place: Place) {
        let (word, name) = match declaration {
            Declaration::Hyper { name, .. } => ("hyper", name),
            Declaration::Const(c) => ("const", &c.name),
            Declaration::Weight { name, .. } => ("weight", name),
            Declaration::State { name, .. } => ("state", name),
            Declaration::Input { name, .. } => ("input", name),
            Declaration::Output { name, .. } => ("output", name),
        };
        let help = match (place, word) {
            (Place::Program, _) => return,
            (Place::Kernel, "const") => "use `let`, or move it in front of the body of the kernel",
            (Place::Kernel, _) => {
                "declare it in the program that launches this kernel, and pass it as an argument"
            }
            (Place::ProgramBlock, "const") => "use `let`, or move it out of the block",
            (Place::ProgramBlock, _) => "move it out of the block",
        };
        let message = format!("`{word}` stands only directly in a program");
        self.report(span, &message, "not allowed here", help, name.span);
    }

    /// The label covers the first line of the statement: from its start to `near`.
    fn report(&mut self, span: Span, message: &str, label: &str, help: &str, near: Span) {
        let at = span.start_point().to(near);
        self.diagnostics.push(Diagnostic::error(Code::StatementNotAllowed, message).at(at, label).help(help));
    }
}
