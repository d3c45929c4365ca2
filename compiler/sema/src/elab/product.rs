//! `dot`, in its four shapes, and sums with it.
//!
//! ```text
//! [M, K] x [K, N]      as it is
//! [K] x [K, N]         the vector as one row
//! [M, K] x [K]         the vector as one column
//! [K] x [K]            both; the result is a scalar
//! ```
//!
//! `c + dot(a, b)` with a tile `c` of the product's shape and type is one operation that begins with `c`: this is what makes an accumulator.

use super::{Elab, Operand, shape_text};
use tvmc_ir::tile::{Op, TileType, Value};
use tvmc_lang::ast::{Arg, BinaryOp, ExprId, ExprKind};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// The factors of a product, both of rank 2.
pub(crate) struct Factors {
    a: Value,
    b: Value,
    rows: u32,
    columns: u32,
    dtype: DType,
    /// The result's shape.
    shape: Vec<u32>,
    span: Span,
}

impl Elab<'_, '_> {
    /// Whether an expression is a call of `dot`.
    pub fn is_dot(&self, id: ExprId) -> bool {
        matches!(&self.file()[id].kind, ExprKind::Call { callee, .. } if callee.name == "dot")
    }

    pub fn dot_call(&mut self, args: &[Arg], span: Span) -> Option<Value> {
        let factors = self.factors(args, span)?;
        self.product(&factors, None)
    }

    /// `other + dot(..)`, in either order.
    pub fn add_dot(&mut self, other: ExprId, dot: ExprId, span: Span) -> Option<Operand> {
        let c = self.expr(other);
        let factors = self.dot_factors(dot);
        let at = self.span(other);
        self.accumulate((c?, at), factors?, span).map(Operand::Value)
    }

    /// The factors of a call of `dot`.
    pub fn dot_factors(&mut self, id: ExprId) -> Option<Factors> {
        let file = self.file();
        let ExprKind::Call { args, .. } = &file[id].kind else { return None };
        self.factors(args, self.span(id))
    }

    /// `c + a b`.
    pub fn accumulate(&mut self, c: (Operand, Span), factors: Factors, span: Span) -> Option<Value> {
        let c_operand = self.numeric(c.0, c.1)?;
        if let Operand::Value(v) = c_operand {
            let value = self.promote(v, c.1)?;
            let ty = self.ty(value);
            if ty.dtype == factors.dtype && ty.shape == factors.shape {
                return self.product(&factors, Some(value));
            }
        }
        let product = self.product(&factors, None)?;
        let at = factors.span;
        match self.binary(BinaryOp::Add, (c_operand, c.1), (Operand::Value(product), at), span)? {
            Operand::Value(sum) => Some(sum),
            Operand::Constant(_)
            | Operand::Memory(_)
            | Operand::Field(_)
            | Operand::Table(_)
            | Operand::Block => None,
        }
    }

    fn factors(&mut self, args: &[Arg], span: Span) -> Option<Factors> {
        if !self.in_kernel("dot", span) {
            return None;
        }
        let exprs: Vec<ExprId> = args.iter().filter(|a| a.name.is_none()).filter_map(Arg::expr).collect();
        let [left, right] = exprs[..] else {
            self.error(
                Code::WrongArgumentCount,
                span,
                "`dot` takes two tiles",
                "another number of arguments",
            );
            return None;
        };
        let (a, b) = (self.expr(left), self.expr(right));
        let (a, b, dtype) = self.pair((a?, self.span(left)), (b?, self.span(right)), span)?;
        if !matches!(dtype, DType::F32 | DType::I32) {
            self.report(
                Diagnostic::error(Code::WrongType, format!("`dot` does not exist for {dtype}"))
                    .at(span, dtype.to_string())
                    .help("its operands are floats, or signed integers or narrow ones"),
            );
            return None;
        }
        let (x, y) = (self.ty(a).shape, self.ty(b).shape);
        let (rows, inner, columns, shape) = match (&x[..], &y[..]) {
            ([m, k], [l, n]) if k == l => (*m, *k, *n, vec![*m, *n]),
            ([k], [l, n]) if k == l => (1, *k, *n, vec![*n]),
            ([m, k], [l]) if k == l => (*m, *k, 1, vec![*m]),
            ([k], [l]) if k == l => (1, *k, 1, Vec::new()),
            _ => {
                let (left, right) = (shape_text(&x), shape_text(&y));
                let d = Diagnostic::error(
                    Code::ShapeMismatch,
                    format!("`dot` of {left} and {right} does not exist"),
                )
                .at(span, "the last extent of the left must be the first of the right");
                let turned = x.len() == 2 && y.len() == 2 && x[1] == y[1];
                self.report(if turned {
                    d.help("did you mean `dot(a, b.T)`?")
                } else {
                    d.help("shapes are [M, K] x [K, N], [K] x [K, N], [M, K] x [K] or [K] x [K]")
                });
                return None;
            }
        };
        let a = self.reshape(a, &[rows, inner], span)?;
        let b = self.reshape(b, &[inner, columns], span)?;
        self.check_shape(&[rows, columns], span)?;
        Some(Factors { a, b, rows, columns, dtype, shape, span })
    }

    pub(super) fn reshape(&mut self, value: Value, shape: &[u32], span: Span) -> Option<Value> {
        let ty = self.ty(value);
        if ty.shape == shape {
            return Some(value);
        }
        self.define(Op::Reshape, &[value], TileType::new(ty.dtype, shape), span)
    }

    fn product(&mut self, factors: &Factors, c: Option<Value>) -> Option<Value> {
        let Factors { a, b, rows, columns, dtype, span, .. } = *factors;
        let whole = [rows, columns];
        let c = match c {
            Some(c) => self.reshape(c, &whole, span)?,
            None => {
                let zero = self.constant(0, dtype, span)?;
                self.broadcast(zero, &whole, span)?
            }
        };
        let product = self.define(Op::Dot, &[a, b, c], TileType::new(dtype, &whole), span)?;
        self.reshape(product, &factors.shape, span)
    }
}
