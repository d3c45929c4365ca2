//! Expressions, types and layouts, with the parentheses that precedence needs and no others.

use super::{Printer, WIDTH};
use crate::ast::*;

/// How tightly an expression binds: 1 to 10 for binary operators, then these.
const CAST: u8 = 11;
const UNARY: u8 = 12;
const POSTFIX: u8 = 13;

fn level(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::Binary { op, .. } => op.precedence(),
        ExprKind::Cast { .. } => CAST,
        ExprKind::Unary { .. } => UNARY,
        // A layout swallows the dots that follow.
        ExprKind::Zeros(ty) | ExprKind::Shared(ty) | ExprKind::Buffer(ty) if ty.layout.is_some() => UNARY,
        ExprKind::Zeros(_)
        | ExprKind::Shared(_)
        | ExprKind::Buffer(_)
        | ExprKind::Int(_)
        | ExprKind::Float { .. }
        | ExprKind::Bool(_)
        | ExprKind::Name(_)
        | ExprKind::Call { .. }
        | ExprKind::Method { .. }
        | ExprKind::Field { .. }
        | ExprKind::Index { .. }
        | ExprKind::List(_)
        | ExprKind::Error => POSTFIX,
    }
}

impl Printer<'_> {
    pub(super) fn expr(&mut self, id: ExprId) {
        self.at_least(id, 0);
    }

    /// Prints an expression where only one that binds at least as tightly as `least` may stand bare.
    fn at_least(&mut self, id: ExprId, least: u8) {
        let file = self.file;
        let kind = &file[id].kind;
        let level_here = level(kind);
        // The author's own parentheses stay around operands, where they may help the reader.
        let kept = file[id].parenthesised && least > 0 && level_here < POSTFIX;
        let bare = level_here >= least && !kept;
        if !bare {
            self.push("(");
        }
        match kind {
            ExprKind::Int(_) | ExprKind::Float { .. } | ExprKind::Bool(_) | ExprKind::Error => {
                self.push(self.slice(file[id].span));
            }
            ExprKind::Name(name) => self.push(&name.name),
            ExprKind::Unary { op, operand } => {
                self.push(op.symbol());
                self.at_least(*operand, UNARY);
            }
            ExprKind::Binary { op, lhs, rhs } => {
                let level = op.precedence();
                // Equal operators group to the left; comparisons do not group at all.
                self.at_least(*lhs, if op.is_comparison() { level + 1 } else { level });
                self.push(" ");
                self.push(op.symbol());
                self.push(" ");
                self.at_least(*rhs, level + 1);
            }
            ExprKind::Cast { operand, to, narrowing } => {
                self.at_least(*operand, CAST);
                self.push(" as ");
                self.push(&to.ident().name);
                self.push(match narrowing {
                    None => "",
                    Some(Narrowing::Wrap) => " wrap",
                    Some(Narrowing::Saturate) => " saturate",
                });
            }
            ExprKind::Call { callee, args } => {
                self.push(&callee.name);
                self.args(args);
            }
            ExprKind::Method { base, name, args } => {
                self.at_least(*base, POSTFIX);
                self.push(".");
                self.push(&name.name);
                self.args(args);
            }
            ExprKind::Field { base, name } => {
                self.at_least(*base, POSTFIX);
                self.push(".");
                self.push(&name.name);
            }
            ExprKind::Index { base, indices, fill } => {
                self.at_least(*base, POSTFIX);
                self.indices(indices, *fill);
            }
            ExprKind::Zeros(ty) => self.allocation("zeros ", ty),
            ExprKind::Shared(ty) => self.allocation("shared ", ty),
            ExprKind::Buffer(ty) => self.allocation("buffer ", ty),
            ExprKind::List(items) => {
                self.push("[");
                self.list(items, ", ", |p, &e| p.expr(e));
                self.push("]");
            }
        }
        if !bare {
            self.push(")");
        }
    }

    fn allocation(&mut self, keyword: &str, ty: &Type) {
        self.push(keyword);
        self.ty(ty);
    }

    pub(super) fn args(&mut self, args: &[Arg]) {
        self.push("(");
        self.list(args, ", ", |p, arg| {
            if let Some(name) = &arg.name {
                p.push(&name.name);
                p.push(" = ");
            }
            match &arg.value {
                ArgValue::Expr(e) => p.expr(*e),
                ArgValue::Type(ty) => p.ty(ty),
            }
        });
        self.push(")");
    }

    pub(super) fn indices(&mut self, indices: &[IndexItem], fill: Option<ExprId>) {
        self.push("[");
        self.list(indices, ", ", |p, index| match index.kind {
            IndexKind::Point(at) => p.expr(at),
            IndexKind::Slice { start, extent } => {
                p.expr(start);
                p.push(" +: ");
                p.expr(extent);
            }
            IndexKind::Whole => p.push(".."),
        });
        if let Some(fill) = fill {
            self.push(" else ");
            self.expr(fill);
        }
        self.push("]");
    }

    pub(super) fn ty(&mut self, ty: &Type) {
        self.push(&ty.elem.ident().name);
        if let Some(shape) = &ty.shape {
            self.push("[");
            self.list(shape, ", ", |p, &e| p.expr(e));
            self.push("]");
        }
        if let Some(layout) = &ty.layout {
            self.push(" @ ");
            self.list(&layout.factors, ".", |p, factor| {
                p.push(&factor.name.name);
                p.push("(");
                p.list(&factor.args, ", ", |p, &e| p.expr(e));
                p.push(")");
            });
        }
    }

    /// The values of a table: on one line if they fit, else as many a line as fit.
    pub(super) fn table_values(&mut self, id: ExprId) {
        let before = self.out.len();
        let column = before - self.out.rfind('\n').map_or(0, |at| at + 1);
        self.expr(id);
        let file = self.file;
        let ExprKind::List(items) = &file[id].kind else { return };
        if column + self.out.len() - before < WIDTH {
            return;
        }
        self.out.truncate(before);
        self.push("[");
        self.indent += 1;
        let mut column = WIDTH;
        for &item in items {
            let start = self.out.len();
            self.expr(item);
            let value = self.out.split_off(start);
            if column + value.len() + 2 > WIDTH {
                self.push("\n");
                self.start_line();
                column = 2 * self.indent;
            } else {
                self.push(" ");
                column += 1;
            }
            column += value.len() + 1;
            self.push(&value);
            self.push(",");
        }
        self.indent -= 1;
        self.push("\n");
        self.start_line();
        self.push("]");
    }
}
