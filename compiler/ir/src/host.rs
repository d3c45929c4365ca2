//! Host expressions: the arithmetic of grids, tensor extents, launch conditions and program scalars. They are
//! evaluated once per launch or call, never inside a kernel.
//!
//! Integers are `i64` with checked arithmetic; floats are `f64`. Integer division truncates. Anything that overflows, divides by
//! zero, or mixes kinds is an [`EvalError`], never a wrong number.
//!
//! ```
//! use tvmc_ir::host::{Binary, Expr, Number};
//! let ceil = Expr::binary(Binary::CeilDiv, Expr::Name("N".into()), Expr::int(64));
//! let n = |name: &str| (name == "N").then_some(Number::Int(100));
//! assert_eq!(ceil.eval(&n), Ok(Number::Int(2)));
//! ```

use crate::text::{Name, Quoted, is_reserved};
use std::fmt;

/// A host value.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

/// Two-operand arithmetic.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Binary {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient; of integers, truncated.
    Div,
    /// Integer remainder.
    Rem,
    /// Integer quotient rounded up, for non-negative operands.
    CeilDiv,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Both.
    And,
    /// Either.
    Or,
}

/// One-operand arithmetic.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Unary {
    /// Negation.
    Neg,
    /// Logical not.
    Not,
    /// Square root, giving a float.
    Sqrt,
    /// To a float.
    ToFloat,
    /// To an integer, towards zero.
    ToInt,
}

/// An expression over named numbers.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// A constant.
    Const(Number),
    /// A dimension, hyper-parameter, scalar argument or loop counter.
    Name(String),
    /// One operand.
    Unary(Unary, Box<Expr>),
    /// Two operands.
    Binary(Binary, Box<Expr>, Box<Expr>),
}

/// Why an expression has no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EvalError {
    /// No such name is bound.
    Unbound(String),
    /// An integer left the range of 64 bits.
    Overflow,
    /// An integer was divided by zero.
    DivisionByZero,
    /// Operands of kinds that don't go together.
    Kinds,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Unbound(name) => write!(f, "`{name}` has no value here"),
            EvalError::Overflow => write!(f, "the integer result does not fit in 64 bits"),
            EvalError::DivisionByZero => write!(f, "division by zero"),
            EvalError::Kinds => write!(f, "operands of kinds that do not go together"),
        }
    }
}

impl std::error::Error for EvalError {}

impl Expr {
    /// An integer constant.
    pub fn int(value: i64) -> Self {
        Expr::Const(Number::Int(value))
    }

    /// A two-operand expression.
    pub fn binary(op: Binary, a: Expr, b: Expr) -> Self {
        Expr::Binary(op, Box::new(a), Box::new(b))
    }

    /// The constant integer this is, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Expr::Const(Number::Int(value)) => Some(*value),
            Expr::Const(_) | Expr::Name(_) | Expr::Unary(..) | Expr::Binary(..) => None,
        }
    }

    /// The value, with names looked up in `names`.
    pub fn eval(&self, names: &dyn Fn(&str) -> Option<Number>) -> Result<Number, EvalError> {
        match self {
            Expr::Const(number) => Ok(*number),
            Expr::Name(name) => names(name).ok_or_else(|| EvalError::Unbound(name.clone())),
            Expr::Unary(op, a) => unary(*op, a.eval(names)?),
            Expr::Binary(op, a, b) => binary(*op, a.eval(names)?, b.eval(names)?),
        }
    }

    /// The value as an integer.
    pub fn eval_int(&self, names: &dyn Fn(&str) -> Option<Number>) -> Result<i64, EvalError> {
        match self.eval(names)? {
            Number::Int(value) => Ok(value),
            Number::Float(_) | Number::Bool(_) => Err(EvalError::Kinds),
        }
    }

    /// The same expression with every name that `names` knows replaced, and constants folded.
    pub fn substitute(&self, names: &dyn Fn(&str) -> Option<Number>) -> Expr {
        match self {
            Expr::Const(_) => self.clone(),
            Expr::Name(name) => names(name).map_or_else(|| self.clone(), Expr::Const),
            Expr::Unary(op, a) => {
                let a = a.substitute(names);
                let folded = if let Expr::Const(a) = a { unary(*op, a).ok() } else { None };
                folded.map_or_else(|| Expr::Unary(*op, Box::new(a)), Expr::Const)
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (a.substitute(names), b.substitute(names));
                let folded = match (&a, &b) {
                    (Expr::Const(a), Expr::Const(b)) => binary(*op, *a, *b).ok(),
                    (Expr::Const(_) | Expr::Name(_) | Expr::Unary(..) | Expr::Binary(..), _) => None,
                };
                folded.map_or_else(|| Expr::Binary(*op, Box::new(a), Box::new(b)), Expr::Const)
            }
        }
    }

    /// Whether there are at most `most` operations and operands, and at most `depth` operations around an operand. Looks no further than that.
    pub fn is_within(&self, most: usize, depth: usize) -> bool {
        fn walk(expr: &Expr, depth: usize, left: &mut usize) -> bool {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            match expr {
                Expr::Const(_) | Expr::Name(_) => true,
                Expr::Unary(_, a) => depth > 0 && walk(a, depth - 1, left),
                Expr::Binary(_, a, b) => depth > 0 && walk(a, depth - 1, left) && walk(b, depth - 1, left),
            }
        }
        walk(self, depth, &mut { most })
    }

    /// Calls `visit` for every name, with repetition.
    pub fn names(&self, visit: &mut dyn FnMut(&str)) {
        match self {
            Expr::Const(_) => {}
            Expr::Name(name) => visit(name),
            Expr::Unary(_, a) => a.names(visit),
            Expr::Binary(_, a, b) => {
                a.names(visit);
                b.names(visit);
            }
        }
    }
}

fn unary(op: Unary, a: Number) -> Result<Number, EvalError> {
    match (op, a) {
        (Unary::Neg, Number::Int(a)) => a.checked_neg().map(Number::Int).ok_or(EvalError::Overflow),
        (Unary::Neg, Number::Float(a)) => Ok(Number::Float(-a)),
        (Unary::Not, Number::Bool(a)) => Ok(Number::Bool(!a)),
        (Unary::Sqrt, Number::Float(a)) => Ok(Number::Float(a.sqrt())),
        (Unary::ToFloat, Number::Int(a)) => Ok(Number::Float(a as f64)),
        (Unary::ToFloat, Number::Float(a)) => Ok(Number::Float(a)),
        (Unary::ToInt, Number::Int(a)) => Ok(Number::Int(a)),
        (Unary::ToInt, Number::Float(a)) => Ok(Number::Int(a as i64)),
        (Unary::Neg | Unary::Sqrt | Unary::ToFloat | Unary::ToInt, Number::Bool(_))
        | (Unary::Not, Number::Int(_) | Number::Float(_))
        | (Unary::Sqrt, Number::Int(_)) => Err(EvalError::Kinds),
    }
}

fn binary(op: Binary, a: Number, b: Number) -> Result<Number, EvalError> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => integers(op, a, b),
        (Number::Float(a), Number::Float(b)) => floats(op, a, b),
        (Number::Bool(a), Number::Bool(b)) => match op {
            Binary::And => Ok(Number::Bool(a && b)),
            Binary::Or => Ok(Number::Bool(a || b)),
            Binary::Eq => Ok(Number::Bool(a == b)),
            Binary::Ne => Ok(Number::Bool(a != b)),
            Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Rem
            | Binary::CeilDiv
            | Binary::Min
            | Binary::Max
            | Binary::Lt
            | Binary::Le => Err(EvalError::Kinds),
        },
        (Number::Int(_), Number::Float(_) | Number::Bool(_))
        | (Number::Float(_), Number::Int(_) | Number::Bool(_))
        | (Number::Bool(_), Number::Int(_) | Number::Float(_)) => Err(EvalError::Kinds),
    }
}

fn integers(op: Binary, a: i64, b: i64) -> Result<Number, EvalError> {
    let divide = |f: fn(i64, i64) -> Option<i64>| {
        if b == 0 { Err(EvalError::DivisionByZero) } else { f(a, b).ok_or(EvalError::Overflow) }
    };
    let value = match op {
        Binary::Add => a.checked_add(b).ok_or(EvalError::Overflow)?,
        Binary::Sub => a.checked_sub(b).ok_or(EvalError::Overflow)?,
        Binary::Mul => a.checked_mul(b).ok_or(EvalError::Overflow)?,
        Binary::Div => divide(i64::checked_div)?,
        Binary::Rem => divide(i64::checked_rem)?,
        Binary::CeilDiv => divide(|a, b| a.checked_add(b.checked_sub(1)?)?.checked_div(b))?,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::Eq => return Ok(Number::Bool(a == b)),
        Binary::Ne => return Ok(Number::Bool(a != b)),
        Binary::Lt => return Ok(Number::Bool(a < b)),
        Binary::Le => return Ok(Number::Bool(a <= b)),
        Binary::And | Binary::Or => return Err(EvalError::Kinds),
    };
    Ok(Number::Int(value))
}

fn floats(op: Binary, a: f64, b: f64) -> Result<Number, EvalError> {
    let value = match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::Eq => return Ok(Number::Bool(a == b)),
        Binary::Ne => return Ok(Number::Bool(a != b)),
        Binary::Lt => return Ok(Number::Bool(a < b)),
        Binary::Le => return Ok(Number::Bool(a <= b)),
        Binary::Rem | Binary::CeilDiv | Binary::And | Binary::Or => return Err(EvalError::Kinds),
    };
    Ok(Number::Float(value))
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(value) => write!(f, "{value}"),
            Number::Float(value) => write!(f, "{value:?}"),
            Number::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl Binary {
    /// Every operation.
    pub const ALL: [Binary; 14] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Rem,
        Binary::CeilDiv,
        Binary::Min,
        Binary::Max,
        Binary::Eq,
        Binary::Ne,
        Binary::Lt,
        Binary::Le,
        Binary::And,
        Binary::Or,
    ];

    /// The name in the text form of IRs, which is a call: `ceil_div(N, 64)`.
    pub const fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Rem => "rem",
            Binary::CeilDiv => "ceil_div",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::Eq => "eq",
            Binary::Ne => "ne",
            Binary::Lt => "lt",
            Binary::Le => "le",
            Binary::And => "and",
            Binary::Or => "or",
        }
    }
}

impl Unary {
    /// Every operation.
    pub const ALL: [Unary; 5] = [Unary::Neg, Unary::Not, Unary::Sqrt, Unary::ToFloat, Unary::ToInt];

    /// The name in the text form of IRs.
    pub const fn name(self) -> &'static str {
        match self {
            Unary::Neg => "neg",
            Unary::Not => "not",
            Unary::Sqrt => "sqrt",
            Unary::ToFloat => "to_float",
            Unary::ToInt => "to_int",
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Const(number) => write!(f, "{number}"),
            Expr::Name(name) if is_reserved(name) => Quoted(name).fmt(f),
            Expr::Name(name) => Name(name).fmt(f),
            Expr::Unary(op, a) => write!(f, "{}({a})", op.name()),
            Expr::Binary(op, a, b) => write!(f, "{}({a}, {b})", op.name()),
        }
    }
}
