//! The kinds of host expressions, found without their values: an expression of a sound kind gives a number of that kind or fails with overflow or
//! division by zero, never because its operands don't go together.
//!
//! ```text
//! add(L, 1)          an integer, L being one
//! lt(heat, 0.5)      a truth value
//! add(L, 0.5)        refused
//! ```

use super::Program;
use super::verify::MAX_EXPRESSION;
use crate::host::{Binary, Expr, Number, Unary};
use crate::text::MAX_EXPR_DEPTH;
use std::collections::HashMap;
use tvmc_types::dtype::DType;

/// What an expression gives.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Int,
    Float,
    Bool,
}

impl Kind {
    pub(super) fn of(dtype: DType) -> Self {
        match dtype {
            DType::BOOL => Kind::Bool,
            dtype if dtype.is_float() => Kind::Float,
            _ => Kind::Int,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Kind::Int => "an integer",
            Kind::Float => "a float",
            Kind::Bool => "a truth value",
        }
    }
}

/// Whether an expression keeps the limits of rule 1.
pub(super) fn measured(expr: &Expr) -> bool {
    expr.is_within(MAX_EXPRESSION, MAX_EXPR_DEPTH)
}

/// The kind of a measured expression; `names` gives those of names, `None` where that was reported. An error says what does not fit.
pub(super) fn kind(expr: &Expr, names: &dyn Fn(&str) -> Option<Kind>) -> Result<Option<Kind>, String> {
    let wrong = |op: &str, a: Kind| Err(format!("`{op}` does not take {}", a.word()));
    match expr {
        Expr::Const(Number::Int(_)) => Ok(Some(Kind::Int)),
        Expr::Const(Number::Float(_)) => Ok(Some(Kind::Float)),
        Expr::Const(Number::Bool(_)) => Ok(Some(Kind::Bool)),
        Expr::Name(name) => Ok(names(name)),
        Expr::Unary(op, a) => {
            let Some(a) = kind(a, names)? else { return Ok(None) };
            match (op, a) {
                (Unary::Neg, Kind::Int | Kind::Float) => Ok(Some(a)),
                (Unary::Not, Kind::Bool) => Ok(Some(Kind::Bool)),
                (Unary::Sqrt, Kind::Float) => Ok(Some(Kind::Float)),
                (Unary::ToFloat, Kind::Int | Kind::Float) => Ok(Some(Kind::Float)),
                (Unary::ToInt, Kind::Int | Kind::Float) => Ok(Some(Kind::Int)),
                (Unary::Neg | Unary::Not | Unary::Sqrt | Unary::ToFloat | Unary::ToInt, _) => {
                    wrong(op.name(), a)
                }
            }
        }
        Expr::Binary(op, a, b) => {
            let (a, b) = (kind(a, names)?, kind(b, names)?);
            let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
            if a != b {
                return Err(format!("`{}` of {} and {}", op.name(), a.word(), b.word()));
            }
            match (op, a) {
                (
                    Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Min | Binary::Max,
                    Kind::Int | Kind::Float,
                )
                | (Binary::Rem | Binary::CeilDiv, Kind::Int) => Ok(Some(a)),
                (Binary::Eq | Binary::Ne, Kind::Int | Kind::Float | Kind::Bool)
                | (Binary::Lt | Binary::Le, Kind::Int | Kind::Float)
                | (Binary::And | Binary::Or, Kind::Bool) => Ok(Some(Kind::Bool)),
                (
                    Binary::Add
                    | Binary::Sub
                    | Binary::Mul
                    | Binary::Div
                    | Binary::Rem
                    | Binary::CeilDiv
                    | Binary::Min
                    | Binary::Max
                    | Binary::Lt
                    | Binary::Le
                    | Binary::And
                    | Binary::Or,
                    _,
                ) => wrong(op.name(), a),
            }
        }
    }
}

/// The kinds of all numbers of a verified program but counters, which are integers.
pub(super) fn kinds(program: &Program) -> HashMap<&str, Kind> {
    let mut kinds: HashMap<&str, Kind> = HashMap::new();
    kinds.extend(program.hypers.iter().map(|h| (h.name.as_str(), Kind::of(h.dtype))));
    kinds.extend(program.scalars.iter().map(|s| (s.name.as_str(), Kind::of(s.dtype))));
    for (name, expr) in &program.consts {
        // What is no declared number is a dimension.
        let of = |n: &str| Some(kinds.get(n).copied().unwrap_or(Kind::Int));
        if let Ok(Some(kind)) = kind(expr, &of) {
            kinds.insert(name, kind);
        }
    }
    kinds
}
