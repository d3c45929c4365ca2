//! Expressions, types and layouts, with the parentheses that precedence needs and no others.

use super::lines::{Group, Piece};
use super::{Brackets, Printer, Style};
use crate::ast::*;

/// How tightly an expression binds: 1 to 10 for binary operators, then these.
const CAST: u8 = 11;
const UNARY: u8 = 12;
const POSTFIX: u8 = 13;

/// Columns up to which an operand is short.
const SHORT: usize = 4;

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

fn start_of(file: &File, &id: &ExprId) -> u32 {
    file[id].span.start
}

impl<'a> Printer<'a> {
    pub(super) fn expr(&mut self, id: ExprId) {
        self.at_least(id, 0);
    }

    /// Whether the author's own parentheses stay: around operands they may help the reader.
    fn kept(&self, id: ExprId, least: u8) -> bool {
        let expr = &self.file[id];
        expr.parenthesised && least > 0 && level(&expr.kind) < POSTFIX
    }

    /// Prints an expression where only one that binds at least as tightly as `least` may stand bare.
    fn at_least(&mut self, id: ExprId, least: u8) {
        let file = self.file;
        let kind = &file[id].kind;
        let bare = level(kind) >= least && !self.kept(id, least);
        if !bare {
            self.push("(");
            if let ExprKind::Binary { .. } = kind {
                self.parenthesised_group(|p| p.chain(id, false));
                self.push(")");
                return;
            }
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
            ExprKind::Binary { .. } => self.chain(id, true),
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
                self.args(args, file[id].span.end.saturating_sub(1));
            }
            ExprKind::Method { base, name, args } => {
                self.at_least(*base, POSTFIX);
                self.push(".");
                self.push(&name.name);
                self.args(args, file[id].span.end.saturating_sub(1));
            }
            ExprKind::Field { base, name } => {
                self.at_least(*base, POSTFIX);
                self.push(".");
                self.push(&name.name);
            }
            ExprKind::Index { base, indices, fill } => {
                self.at_least(*base, POSTFIX);
                self.indices(indices, *fill, file[id].span.end.saturating_sub(1));
            }
            ExprKind::Zeros(ty) => self.allocation("zeros ", ty),
            ExprKind::Shared(ty) => self.allocation("shared ", ty),
            ExprKind::Buffer(ty) => self.allocation("buffer ", ty),
            ExprKind::List(items) => {
                let close = file[id].span.end.saturating_sub(1);
                self.bracketed(
                    Brackets { pair: ("[", "]"), close, style: Style::Fill, ending: None },
                    items,
                    start_of,
                    |p, &e| p.expr(e),
                );
            }
        }
        if !bare {
            self.push(")");
        }
    }

    /// An expression that has a place of its own to be broken at: a chain is not moved in any further.
    pub(super) fn chain_or_expr(&mut self, id: ExprId) {
        match self.file[id].kind {
            ExprKind::Binary { .. } => self.chain(id, false),
            _ => self.expr(id),
        }
    }

    /// Whether an operand is so short that a line of its own would look odd.
    fn is_short(&self, id: ExprId) -> bool {
        let expr = &self.file[id];
        let plain = matches!(expr.kind, ExprKind::Name(_) | ExprKind::Int(_) | ExprKind::Field { .. });
        plain && expr.span.len() <= SHORT
    }

    /// Operands joined by operators that bind equally, `a + b - c`. Sums and conditions are broken before each operator or before none;
    /// operators that bind more tightly only where they must, and never behind a short first operand.
    fn chain(&mut self, id: ExprId, deeper: bool) {
        let file = self.file;
        let mut rest = Vec::new();
        let mut first = id;
        // What the first operand must bind to stand bare.
        let mut least = 0;
        while let ExprKind::Binary { op, lhs, rhs } = &file[first].kind {
            let level = op.precedence();
            let joins = rest.is_empty() || (level == least && !self.kept(first, level));
            if !joins {
                break;
            }
            rest.push((*op, *rhs));
            first = *lhs;
            // Equal operators group to the left; comparisons do not group at all.
            least = if op.is_comparison() { level + 1 } else { level };
            if op.is_comparison() {
                break;
            }
        }
        let whole = rest.first().is_some_and(|(op, _)| match op {
            BinaryOp::Or | BinaryOp::And | BinaryOp::BitOr | BinaryOp::BitXor => true,
            BinaryOp::Add | BinaryOp::Sub => true,
            BinaryOp::BitAnd | BinaryOp::Eq | BinaryOp::Ne => false,
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => false,
            BinaryOp::Shl | BinaryOp::Shr | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => false,
        });
        let mut sticks = !whole && self.is_short(first);
        self.line.push(Piece::Open(if whole { Group::Whole } else { Group::Fill }));
        self.at_least(first, least);
        let mut indented = false;
        for (op, rhs) in rest.into_iter().rev() {
            let before = self.comment;
            self.comments_inside(file[rhs].span.start);
            if std::mem::take(&mut sticks) && before == self.comment {
                self.push(" ");
            } else {
                if deeper && !std::mem::replace(&mut indented, true) {
                    self.line.push(Piece::Indent);
                }
                self.line.push(Piece::Break(" "));
            }
            self.push(op.symbol());
            self.push(" ");
            self.at_least(rhs, op.precedence() + 1);
        }
        if indented {
            self.line.push(Piece::Dedent);
        }
        self.line.push(Piece::Close);
    }

    fn allocation(&mut self, keyword: &'static str, ty: &'a Type) {
        self.push(keyword);
        self.ty(ty);
    }

    /// Arguments; `close` is where their closing parenthesis is.
    pub(super) fn args(&mut self, args: &'a [Arg], close: u32) {
        let hugs = |arg: &Arg| {
            let expr = arg.expr().map(|e| &self.file[e].kind);
            matches!(expr, Some(ExprKind::Call { .. } | ExprKind::Method { .. }))
        };
        let style = if matches!(args, [only] if hugs(only)) { Style::Hug } else { Style::Compact };
        let start = |_: &File, arg: &Arg| arg.span.start;
        self.bracketed(Brackets { pair: ("(", ")"), close, style, ending: None }, args, start, |p, arg| {
            p.arg(arg)
        });
    }

    fn arg(&mut self, arg: &'a Arg) {
        if let Some(name) = &arg.name {
            self.push(&name.name);
            self.push(" = ");
        }
        match &arg.value {
            ArgValue::Expr(e) => self.expr(*e),
            ArgValue::Type(ty) => self.ty(ty),
        }
    }

    /// Indices; `close` is where their closing bracket is.
    pub(super) fn indices(&mut self, indices: &'a [IndexItem], fill: Option<ExprId>, close: u32) {
        let start = |_: &File, index: &IndexItem| index.span.start;
        let each = |p: &mut Self, index: &'a IndexItem| match index.kind {
            IndexKind::Point(at) => p.expr(at),
            IndexKind::Slice { start, extent } => {
                p.expr(start);
                p.push(" +: ");
                p.expr(extent);
            }
            IndexKind::Whole => p.push(".."),
        };
        self.bracketed(
            Brackets { pair: ("[", "]"), close, style: Style::Compact, ending: fill },
            indices,
            start,
            each,
        );
    }

    pub(super) fn ty(&mut self, ty: &'a Type) {
        let elem = ty.elem.ident();
        self.push(&elem.name);
        if let Some(shape) = &ty.shape {
            let close = self.closing(elem.span.end);
            self.bracketed(
                Brackets { pair: ("[", "]"), close, style: Style::Compact, ending: None },
                shape,
                start_of,
                |p, &e| p.expr(e),
            );
        }
        if let Some(layout) = &ty.layout {
            self.push(" @ ");
            self.group(|p| {
                for (i, factor) in layout.factors.iter().enumerate() {
                    if i > 0 {
                        p.comments_inside(factor.span.start);
                        p.line.push(Piece::Break(""));
                        p.push(".");
                    }
                    p.push(&factor.name.name);
                    let close = factor.span.end.saturating_sub(1);
                    let each = |p: &mut Self, &e: &'a ExprId| p.expr(e);
                    p.bracketed(
                        Brackets { pair: ("(", ")"), close, style: Style::Compact, ending: None },
                        &factor.args,
                        start_of,
                        each,
                    );
                }
            });
        }
    }
}
