//! Expressions by their form, and the operators.
//!
//! Two constants give a constant; of a definite type what would wrap is left to run time, where the reference says what it is.

use super::{Elab, Operand};
use crate::constant::{self, Constant, FoldError};
use tvmc_ir::tile::{Binary, Op, Unary, Value};
use tvmc_lang::ast::{BinaryOp, ExprId, ExprKind, UnaryOp};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

impl Elab<'_, '_> {
    /// The value of an expression.
    pub fn expr(&mut self, id: ExprId) -> Option<Operand> {
        let span = self.span(id);
        self.cx.enter(span)?;
        let value = self.expr_inner(id, span);
        self.cx.leave();
        value
    }

    fn expr_inner(&mut self, id: ExprId, span: Span) -> Option<Operand> {
        let file = self.file();
        match &file[id].kind {
            ExprKind::Int(value) => match i64::try_from(*value) {
                Ok(value) => Some(Operand::Constant(Constant::int(value))),
                Err(_) => {
                    self.error(Code::LiteralOutOfRange, span, "the integer exceeds 63 bits", "too large");
                    None
                }
            },
            ExprKind::Float { value, single } => {
                Some(Operand::Constant(Constant { single: Some(*single), ..Constant::float(*value) }))
            }
            ExprKind::Bool(value) => Some(Operand::Constant(Constant::bool(*value))),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Unary { op, operand } => self.unary(*op, *operand, span),
            ExprKind::Binary { op: BinaryOp::Add, lhs, rhs } if self.is_dot(*rhs) => {
                self.add_dot(*lhs, *rhs, span)
            }
            ExprKind::Binary { op: BinaryOp::Add, lhs, rhs } if self.is_dot(*lhs) => {
                self.add_dot(*rhs, *lhs, span)
            }
            ExprKind::Binary { op, lhs, rhs } => {
                let a = self.expr(*lhs);
                let b = self.expr(*rhs);
                let (a, b) = (a?, b?);
                self.binary(*op, (a, self.span(*lhs)), (b, self.span(*rhs)), span)
            }
            ExprKind::Cast { operand, to, narrowing } => {
                let a = self.expr(*operand);
                let to = self.dtype_named(to);
                self.cast(a?, to?, *narrowing, span)
            }
            ExprKind::Call { callee, args } => self.call(callee, args, span),
            ExprKind::Method { base, name, args } => self.method(*base, name, args, span),
            ExprKind::Field { base, name } => self.field(*base, name, span),
            ExprKind::Index { base, indices, fill } => self.index(*base, indices, *fill, span),
            ExprKind::Zeros(ty) => self.zeros(ty, span),
            ExprKind::Shared(_) => {
                self.report(
                    Diagnostic::error(Code::WrongArgument, "a block-shared tensor needs a name")
                        .at(span, "has none")
                        .help("bind it: `let s = shared f32[16];`"),
                );
                None
            }
            ExprKind::Buffer(_) => {
                self.report(
                    Diagnostic::error(Code::NotInProgram, "a kernel allocates no buffers")
                        .at(span, "only in programs")
                        .help("`shared f32[..]` is memory of a block; larger memory is an argument"),
                );
                None
            }
            // The parser takes a list in a table only, and reported the other.
            ExprKind::List(_) | ExprKind::Error => None,
        }
    }

    // ---- operators ----

    fn unary(&mut self, op: UnaryOp, operand: ExprId, span: Span) -> Option<Operand> {
        let a = self.expr(operand)?;
        match self.numeric(a, span)? {
            Operand::Constant(c) => match constant::unary(op, c) {
                Ok(value) => return Some(Operand::Constant(value)),
                Err(FoldError::Overflow | FoldError::DivisionByZero) if c.dtype.is_some() => {}
                Err(error) => {
                    self.cx.fold_error(error, &c.describe(), span);
                    return None;
                }
            },
            Operand::Value(_)
            | Operand::Memory(_)
            | Operand::Field(_)
            | Operand::Table(_)
            | Operand::Block => {}
        }
        let value = self.computed(a, span)?;
        let ty = self.ty(value);
        let op = match (op, ty.dtype.kind()) {
            (UnaryOp::Neg, Kind::Float | Kind::Signed) => Unary::Neg,
            (UnaryOp::Not, Kind::Bool) | (UnaryOp::BitNot, Kind::Signed | Kind::Unsigned) => Unary::Not,
            (UnaryOp::Neg | UnaryOp::Not | UnaryOp::BitNot, _) => {
                let d =
                    Diagnostic::error(Code::WrongType, format!("`{}` does not exist for {ty}", op.symbol()))
                        .at(span, ty.to_string());
                self.report(match op {
                    UnaryOp::Not => d.help("`!` is for bool; the bits of an integer are flipped by `~`"),
                    UnaryOp::BitNot => d.help("`~` is for integers; a bool is negated by `!`"),
                    UnaryOp::Neg => d.help("convert with `as` to a signed type"),
                });
                return None;
            }
        };
        self.define(Op::Unary(op), &[value], ty, span).map(Operand::Value)
    }

    /// `a op b`.
    pub fn binary(
        &mut self,
        op: BinaryOp,
        a: (Operand, Span),
        b: (Operand, Span),
        span: Span,
    ) -> Option<Operand> {
        let x = self.numeric(a.0, a.1);
        let y = self.numeric(b.0, b.1);
        let (x, y) = (x?, y?);
        if let (Operand::Constant(p), Operand::Constant(q)) = (x, y) {
            match constant::binary(op, p, q) {
                Ok(value) => return Some(Operand::Constant(value)),
                // Of a definite type the result wraps, or is the one the reference gives for division by zero: at run time.
                Err(FoldError::Overflow | FoldError::DivisionByZero)
                    if p.dtype.is_some() || q.dtype.is_some() => {}
                Err(error) => {
                    self.cx.fold_error(error, &format!("{} and {}", p.describe(), q.describe()), span);
                    return None;
                }
            }
        }
        let (left, right, dtype) = self.pair((x, a.1), (y, b.1), span)?;
        if let Some(same) = self.identity(op, (x, left), (y, right), dtype) {
            return Some(Operand::Value(same));
        }
        let (op, swap) = match (op, dtype.kind()) {
            (BinaryOp::Or | BinaryOp::BitOr, Kind::Bool) => (Binary::Or, false),
            (BinaryOp::And | BinaryOp::BitAnd, Kind::Bool) => (Binary::And, false),
            (BinaryOp::BitOr, Kind::Signed | Kind::Unsigned) => (Binary::Or, false),
            (BinaryOp::BitAnd, Kind::Signed | Kind::Unsigned) => (Binary::And, false),
            (BinaryOp::BitXor, Kind::Bool | Kind::Signed | Kind::Unsigned) => (Binary::Xor, false),
            (BinaryOp::Shl, Kind::Signed | Kind::Unsigned) => (Binary::Shl, false),
            (BinaryOp::Shr, Kind::Signed | Kind::Unsigned) => (Binary::Shr, false),
            (BinaryOp::Rem, Kind::Signed | Kind::Unsigned) => (Binary::Rem, false),
            (BinaryOp::Eq, _) => (Binary::Eq, false),
            (BinaryOp::Ne, _) => (Binary::Ne, false),
            (BinaryOp::Lt, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Lt, false),
            (BinaryOp::Le, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Le, false),
            (BinaryOp::Gt, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Lt, true),
            (BinaryOp::Ge, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Le, true),
            (BinaryOp::Add, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Add, false),
            (BinaryOp::Sub, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Sub, false),
            (BinaryOp::Mul, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Mul, false),
            (BinaryOp::Div, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Div, false),
            _ => {
                let d = Diagnostic::error(
                    Code::WrongType,
                    format!("`{}` does not exist for {dtype}", op.symbol()),
                )
                .at(span, dtype.to_string());
                self.report(match (op, dtype.kind()) {
                    (BinaryOp::Or | BinaryOp::And, _) => d.help("`&&` and `||` are for bool: compare first"),
                    (_, Kind::Bool) => d.help("convert with `as i32`, or choose with `where(c, a, b)`"),
                    (BinaryOp::Rem, _) => d.help("for floats write `x - trunc(x / y) * y`"),
                    _ => d.help("convert with `as i32`, or keep the bits with `bitcast(x, i32)`"),
                });
                return None;
            }
        };
        let (left, right) = if swap { (right, left) } else { (left, right) };
        self.elementwise(op, left, right, span).map(Operand::Value)
    }

    /// `x + 0`, `x - 0`, `x * 1`, `x / 1` of integers are x.
    fn identity(
        &self,
        op: BinaryOp,
        a: (Operand, Value),
        b: (Operand, Value),
        dtype: DType,
    ) -> Option<Value> {
        if !dtype.is_integer() {
            return None;
        }
        let is = |o: Operand, n: i64| matches!(o, Operand::Constant(c) if c.as_int() == Some(n));
        match op {
            BinaryOp::Add | BinaryOp::Sub if is(b.0, 0) => Some(a.1),
            BinaryOp::Add if is(a.0, 0) => Some(b.1),
            BinaryOp::Mul | BinaryOp::Div if is(b.0, 1) => Some(a.1),
            BinaryOp::Mul if is(a.0, 1) => Some(b.1),
            _ => None,
        }
    }
}
