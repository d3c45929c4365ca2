//! Constants and their arithmetic at compile time.
//!
//! A constant has a number and either a dtype or none. One without a dtype (a literal, `const BK = 64`, a `tune` name) adopts that of what it
//! meets, and is computed exactly: i64 with overflow an error, f64. One with a dtype (a dimension is i32, `1 as f32`) obeys that type:
//! f32 results are rounded, and an integer that would leave its type is [`FoldError::Overflow`], upon which a kernel computes it at run time,
//! where it wraps as the reference says.
//!
//! ```text
//! 2 + 3          5           untyped
//! 1 / 3.0        0.333..     untyped: the integer became a float, exactly
//! M + 1.5        Kinds       M is i32: an i32 and a float do not meet silently
//! ```

use tvmc_ir::host::Number;
use tvmc_lang::ast::{BinaryOp, UnaryOp};
use tvmc_types::dtype::{DType, Kind, Narrowing};

/// A number known when the kernel is compiled.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Constant {
    pub number: Number,
    /// `None`: adopts the type of what it meets. Bool constants have none.
    pub dtype: Option<DType>,
    /// For a float literal: its value rounded to f32 from the text.
    pub single: Option<f32>,
    /// The dimensions it was computed from, as a set.
    pub dims: u64,
}

/// Why two constants have no result.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum FoldError {
    /// Operands that do not go together.
    Kinds,
    /// Beyond the range of the type.
    Overflow,
    /// Integer division by zero.
    DivisionByZero,
}

/// The computing type of a storage type, or `None` for 64 bits.
pub(crate) fn computing(dtype: DType) -> Option<DType> {
    match dtype.kind() {
        _ if dtype.bits() > 32 => None,
        Kind::Float => Some(DType::F32),
        Kind::Bool => Some(DType::BOOL),
        Kind::Signed => Some(DType::I32),
        Kind::Unsigned if dtype.bits() == 32 => Some(DType::U32),
        Kind::Unsigned => Some(DType::I32),
    }
}

impl Constant {
    pub fn int(value: i64) -> Self {
        Constant { number: Number::Int(value), dtype: None, single: None, dims: 0 }
    }

    pub fn float(value: f64) -> Self {
        Constant { number: Number::Float(value), dtype: None, single: None, dims: 0 }
    }

    pub fn bool(value: bool) -> Self {
        Constant { number: Number::Bool(value), dtype: None, single: None, dims: 0 }
    }

    pub fn typed(self, dtype: DType) -> Self {
        Constant { dtype: Some(dtype), ..self }
    }

    pub fn with_dims(self, dims: u64) -> Self {
        Constant { dims: self.dims | dims, ..self }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self.number {
            Number::Int(value) => Some(value),
            Number::Float(_) | Number::Bool(_) => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.number {
            Number::Bool(value) => Some(value),
            Number::Float(_) | Number::Int(_) => None,
        }
    }

    /// The value as f32, rounded once.
    pub fn as_f32(&self) -> Option<f32> {
        match self.number {
            Number::Float(value) => Some(self.single.unwrap_or(value as f32)),
            Number::Int(value) => Some(value as f32),
            Number::Bool(_) => None,
        }
    }

    /// How it is called in messages.
    pub fn describe(&self) -> String {
        match (self.dtype, self.number) {
            (Some(dtype), _) => dtype.to_string(),
            (None, Number::Int(_)) => "an integer constant".into(),
            (None, Number::Float(_)) => "a float constant".into(),
            (None, Number::Bool(_)) => "bool".into(),
        }
    }

    /// The value in a computing type (f32, i32, u32, bool) as bits; `None` if it does not fit or is of another kind. An integer becomes a float
    /// only where that is exact.
    pub fn bits(&self, dtype: DType) -> Option<u32> {
        match (self.number, dtype.kind()) {
            (Number::Bool(value), Kind::Bool) => Some(u32::from(value)),
            (Number::Int(value), Kind::Signed) => i32::try_from(value).ok().map(|v| v as u32),
            (Number::Int(value), Kind::Unsigned) => u32::try_from(value).ok(),
            (Number::Int(value), Kind::Float) => {
                let single = value as f32;
                (f64::from(single) == value as f64 && value.unsigned_abs() <= 1 << 53)
                    .then(|| single.to_bits())
            }
            (Number::Float(_), Kind::Float) => {
                let single = self.as_f32()?;
                let overflow =
                    single.is_infinite() && matches!(self.number, Number::Float(v) if v.is_finite());
                (!overflow).then(|| single.to_bits())
            }
            (Number::Bool(_), Kind::Signed | Kind::Unsigned | Kind::Float)
            | (Number::Int(_), Kind::Bool)
            | (Number::Float(_), Kind::Bool | Kind::Signed | Kind::Unsigned) => None,
        }
    }

    /// `x as dtype` with the narrowing rule, if any was written. `None` where the reference demands a rule.
    pub fn cast(&self, dtype: DType, narrowing: Option<Narrowing>) -> Option<Constant> {
        let number = match (dtype.kind(), self.number) {
            (Kind::Bool, Number::Bool(v)) => Number::Bool(v),
            (Kind::Bool, Number::Int(v)) => Number::Bool(v != 0),
            (Kind::Bool, Number::Float(v)) => Number::Bool(v != 0.0),
            (Kind::Float, Number::Float(v)) if dtype == DType::F32 => {
                Number::Float(f64::from(self.single.unwrap_or(v as f32)))
            }
            (Kind::Float, Number::Float(v)) => Number::Float(dtype.round(v)),
            (Kind::Float, Number::Int(v)) => {
                Number::Float(dtype.decode(dtype.encode_int(v, Narrowing::Saturate)))
            }
            (Kind::Float, Number::Bool(v)) => Number::Float(f64::from(u8::from(v))),
            (Kind::Signed | Kind::Unsigned, number) => {
                let value = match number {
                    Number::Int(v) => i128::from(v),
                    Number::Bool(v) => i128::from(v),
                    Number::Float(v) if dtype.bits() == 32 => {
                        let (lo, hi) = dtype.int_range()?;
                        let v = if v.is_nan() { 0 } else { v.trunc() as i128 };
                        v.clamp(lo, hi)
                    }
                    Number::Float(v) => {
                        narrowing?;
                        let v = if v.is_nan() { 0 } else { v.trunc() as i128 };
                        v.clamp(i128::from(i32::MIN), i128::from(i32::MAX))
                    }
                };
                let (lo, hi) = dtype.int_range()?;
                let fits = (lo..=hi).contains(&value);
                let code = dtype.encode_i128(value, if fits { Narrowing::Wrap } else { narrowing? });
                Number::Int(i64::try_from(dtype.decode_i128(code)).ok()?)
            }
        };
        let dtype = if dtype.kind() == Kind::Bool { None } else { Some(dtype) };
        Some(Constant { number, dtype, single: None, dims: self.dims })
    }

    /// The storage type's computing type, for arithmetic.
    fn promoted(self) -> Constant {
        Constant { dtype: self.dtype.and_then(computing), ..self }
    }

    /// An operation result in its type.
    fn finish(number: Number, dtype: Option<DType>, dims: u64) -> Result<Constant, FoldError> {
        let number = match (number, dtype) {
            (Number::Float(v), Some(DType::F32)) => Number::Float(f64::from(v as f32)),
            (Number::Int(v), Some(dtype)) => {
                let fits = dtype.int_range().is_none_or(|(lo, hi)| (lo..=hi).contains(&i128::from(v)));
                if !fits {
                    return Err(FoldError::Overflow);
                }
                Number::Int(v)
            }
            (number, _) => number,
        };
        let dtype = if matches!(number, Number::Bool(_)) { None } else { dtype };
        Ok(Constant { number, dtype, single: None, dims })
    }
}

/// The two operands in one kind and type.
pub(crate) fn unify(a: Constant, b: Constant) -> Result<(Constant, Constant, Option<DType>), FoldError> {
    let adopt = |c: Constant, dtype: Option<DType>| match c.number {
        Number::Int(v) => Ok(Constant { number: Number::Float(v as f64), dtype, ..c }),
        Number::Float(_) => Ok(Constant { dtype, ..c }),
        Number::Bool(_) => Err(FoldError::Kinds),
    };
    // An integer of up to 16 bits or without a type may become a float.
    let soft = |c: &Constant| c.dtype.is_none_or(|d| d.bits() <= 16);
    let (a_soft, b_soft) = (soft(&a), soft(&b));
    let (mut a, mut b) = (a.promoted(), b.promoted());
    match (a.number, b.number) {
        (Number::Int(_), Number::Float(_)) if a_soft => a = adopt(a, b.dtype)?,
        (Number::Float(_), Number::Int(_)) if b_soft => b = adopt(b, a.dtype)?,
        (Number::Int(_), Number::Int(_))
        | (Number::Float(_), Number::Float(_))
        | (Number::Bool(_), Number::Bool(_)) => {}
        (Number::Int(_) | Number::Float(_) | Number::Bool(_), _) => return Err(FoldError::Kinds),
    }
    let dtype = match (a.dtype, b.dtype) {
        (Some(x), Some(y)) if x != y => return Err(FoldError::Kinds),
        (Some(x), _) | (None, Some(x)) => Some(x),
        (None, None) => None,
    };
    if let (Some(DType::F32), Number::Float(x), Number::Float(y)) = (dtype, a.number, b.number) {
        a.number = Number::Float(f64::from(a.single.unwrap_or(x as f32)));
        b.number = Number::Float(f64::from(b.single.unwrap_or(y as f32)));
    }
    Ok((a, b, dtype))
}

/// `a op b`.
pub(crate) fn binary(op: BinaryOp, a: Constant, b: Constant) -> Result<Constant, FoldError> {
    let dims = a.dims | b.dims;
    if matches!(op, BinaryOp::Shl | BinaryOp::Shr) {
        return shift(op, a.promoted(), b.promoted());
    }
    let (a, b, dtype) = unify(a, b)?;
    let number = match (a.number, b.number) {
        (Number::Int(a), Number::Int(b)) => integers(op, a, b)?,
        (Number::Float(a), Number::Float(b)) => floats(op, a, b)?,
        (Number::Bool(a), Number::Bool(b)) => Number::Bool(match op {
            BinaryOp::Or | BinaryOp::BitOr => a || b,
            BinaryOp::And | BinaryOp::BitAnd => a && b,
            BinaryOp::BitXor | BinaryOp::Ne => a != b,
            BinaryOp::Eq => a == b,
            BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem => return Err(FoldError::Kinds),
        }),
        (Number::Int(_) | Number::Float(_) | Number::Bool(_), _) => return Err(FoldError::Kinds),
    };
    Constant::finish(number, dtype, dims)
}

fn shift(op: BinaryOp, a: Constant, b: Constant) -> Result<Constant, FoldError> {
    let (Number::Int(x), Number::Int(n)) = (a.number, b.number) else { return Err(FoldError::Kinds) };
    let count = match a.dtype {
        Some(_) => (n & 31) as u32,
        None => u32::try_from(n).map_err(|_| FoldError::Overflow)?,
    };
    let value = if op == BinaryOp::Shr {
        x >> count.min(63)
    } else {
        let wide = i128::from(x).checked_mul(1i128 << count.min(64)).ok_or(FoldError::Overflow)?;
        i64::try_from(wide).map_err(|_| FoldError::Overflow)?
    };
    Constant::finish(Number::Int(value), a.dtype, a.dims | b.dims)
}

fn integers(op: BinaryOp, a: i64, b: i64) -> Result<Number, FoldError> {
    let divide = |f: fn(i64, i64) -> Option<i64>| {
        if b == 0 { Err(FoldError::DivisionByZero) } else { f(a, b).ok_or(FoldError::Overflow) }
    };
    Ok(match op {
        BinaryOp::Add => Number::Int(a.checked_add(b).ok_or(FoldError::Overflow)?),
        BinaryOp::Sub => Number::Int(a.checked_sub(b).ok_or(FoldError::Overflow)?),
        BinaryOp::Mul => Number::Int(a.checked_mul(b).ok_or(FoldError::Overflow)?),
        BinaryOp::Div => Number::Int(divide(i64::checked_div)?),
        BinaryOp::Rem => Number::Int(divide(i64::checked_rem)?),
        BinaryOp::BitOr => Number::Int(a | b),
        BinaryOp::BitXor => Number::Int(a ^ b),
        BinaryOp::BitAnd => Number::Int(a & b),
        BinaryOp::Eq => Number::Bool(a == b),
        BinaryOp::Ne => Number::Bool(a != b),
        BinaryOp::Lt => Number::Bool(a < b),
        BinaryOp::Le => Number::Bool(a <= b),
        BinaryOp::Gt => Number::Bool(a > b),
        BinaryOp::Ge => Number::Bool(a >= b),
        BinaryOp::Or | BinaryOp::And | BinaryOp::Shl | BinaryOp::Shr => return Err(FoldError::Kinds),
    })
}

fn floats(op: BinaryOp, a: f64, b: f64) -> Result<Number, FoldError> {
    Ok(match op {
        BinaryOp::Add => Number::Float(a + b),
        BinaryOp::Sub => Number::Float(a - b),
        BinaryOp::Mul => Number::Float(a * b),
        BinaryOp::Div => Number::Float(a / b),
        BinaryOp::Eq => Number::Bool(a == b),
        BinaryOp::Ne => Number::Bool(a != b),
        BinaryOp::Lt => Number::Bool(a < b),
        BinaryOp::Le => Number::Bool(a <= b),
        BinaryOp::Gt => Number::Bool(a > b),
        BinaryOp::Ge => Number::Bool(a >= b),
        BinaryOp::Rem
        | BinaryOp::BitOr
        | BinaryOp::BitXor
        | BinaryOp::BitAnd
        | BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Shl
        | BinaryOp::Shr => return Err(FoldError::Kinds),
    })
}

/// `op a`.
pub(crate) fn unary(op: UnaryOp, a: Constant) -> Result<Constant, FoldError> {
    let a = a.promoted();
    match (op, a.number) {
        (UnaryOp::Neg, Number::Int(v)) => {
            Constant::finish(Number::Int(v.checked_neg().ok_or(FoldError::Overflow)?), a.dtype, a.dims)
        }
        (UnaryOp::Neg, Number::Float(v)) => {
            Ok(Constant { number: Number::Float(-v), single: a.single.map(|s| -s), ..a })
        }
        (UnaryOp::Not, Number::Bool(v)) => Ok(Constant { number: Number::Bool(!v), ..a }),
        (UnaryOp::BitNot, Number::Int(v)) => {
            let flipped = if a.dtype == Some(DType::U32) { !v & 0xffff_ffff } else { !v };
            Constant::finish(Number::Int(flipped), a.dtype, a.dims)
        }
        (UnaryOp::Neg | UnaryOp::BitNot, Number::Bool(_))
        | (UnaryOp::Not, Number::Int(_) | Number::Float(_))
        | (UnaryOp::BitNot, Number::Float(_)) => Err(FoldError::Kinds),
    }
}

/// The functions of one or two numbers that exist at compile time; `None` if the name is none of them or the number of arguments is wrong.
pub(crate) fn call(name: &str, args: &[Constant]) -> Option<Result<Constant, FoldError>> {
    Some(match (name, args) {
        ("min" | "max", [a, b]) => unify(*a, *b).and_then(|(x, y, dtype)| {
            let dims = a.dims | b.dims;
            let less = binary(BinaryOp::Lt, x, y)?.as_bool() == Some(true);
            let more = binary(BinaryOp::Gt, x, y)?.as_bool() == Some(true);
            let first = if name == "min" { less } else { more };
            Ok(Constant { dtype, dims, ..if first { x } else { y } })
        }),
        ("ceil", [a, b]) => match (a.number, b.number) {
            (Number::Int(_), Number::Int(_)) => unify(*a, *b).and_then(|(x, y, dtype)| {
                let (Some(x), Some(y)) = (x.as_int(), y.as_int()) else { return Err(FoldError::Kinds) };
                if y == 0 {
                    return Err(FoldError::DivisionByZero);
                }
                let sum = y.checked_sub(1).and_then(|y1| x.checked_add(y1)).ok_or(FoldError::Overflow)?;
                let quotient = sum.checked_div(y).ok_or(FoldError::Overflow)?;
                Constant::finish(Number::Int(quotient), dtype, a.dims | b.dims)
            }),
            (Number::Int(_) | Number::Float(_) | Number::Bool(_), _) => Err(FoldError::Kinds),
        },
        ("abs", [a]) => match a.number {
            Number::Int(v) if v < 0 => unary(UnaryOp::Neg, *a),
            Number::Int(_) => Ok(*a),
            Number::Float(v) => {
                Ok(Constant { number: Number::Float(v.abs()), single: a.single.map(f32::abs), ..*a })
            }
            Number::Bool(_) => Err(FoldError::Kinds),
        },
        ("sqrt" | "floor" | "ceil" | "trunc" | "round", [a]) => {
            let value = match a.number {
                Number::Int(v) if a.dtype.is_none() => v as f64,
                Number::Float(v) => v,
                Number::Int(_) | Number::Bool(_) => return Some(Err(FoldError::Kinds)),
            };
            let value = match name {
                "sqrt" => value.sqrt(),
                "floor" => value.floor(),
                "ceil" => value.ceil(),
                "trunc" => value.trunc(),
                _ => value.round_ties_even(),
            };
            Constant::finish(Number::Float(value), a.promoted().dtype, a.dims)
        }
        ("where", [c, a, b]) => match c.number {
            Number::Bool(choice) => unify(*a, *b).map(|(x, y, dtype)| Constant {
                dtype,
                dims: a.dims | b.dims | c.dims,
                ..if choice { x } else { y }
            }),
            Number::Int(_) | Number::Float(_) => Err(FoldError::Kinds),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untyped_arithmetic_is_exact() {
        let max = Constant::int(i64::MAX);
        assert_eq!(binary(BinaryOp::Add, max, Constant::int(1)), Err(FoldError::Overflow));
        assert_eq!(binary(BinaryOp::Div, Constant::int(1), Constant::int(0)), Err(FoldError::DivisionByZero));
        assert_eq!(binary(BinaryOp::Div, Constant::int(1), Constant::float(4.0)), Ok(Constant::float(0.25)));
        assert_eq!(binary(BinaryOp::Shl, Constant::int(1), Constant::int(40)), Ok(Constant::int(1 << 40)));
        assert_eq!(binary(BinaryOp::Shl, Constant::int(1), Constant::int(63)), Err(FoldError::Overflow));
        assert_eq!(binary(BinaryOp::Shl, Constant::int(-3), Constant::int(1000)), Err(FoldError::Overflow));
    }

    #[test]
    fn typed_arithmetic_obeys_its_type() {
        let big = Constant::int(i64::from(i32::MAX)).typed(DType::I32);
        assert_eq!(binary(BinaryOp::Add, big, Constant::int(1)), Err(FoldError::Overflow));
        assert_eq!(binary(BinaryOp::Add, big, Constant::float(1.0)), Err(FoldError::Kinds));
        let code = Constant::int(7).typed(DType::U4);
        let sum = binary(BinaryOp::Mul, code, Constant::float(0.5)).expect("narrow integers become floats");
        assert_eq!(sum.number, Number::Float(3.5));
        let third = binary(BinaryOp::Div, Constant::float(1.0).typed(DType::F32), Constant::int(3));
        assert_eq!(third.map(|c| c.number), Ok(Number::Float(f64::from(1.0f32 / 3.0))));
    }

    #[test]
    fn casts_demand_a_rule_where_something_could_be_lost() {
        assert_eq!(Constant::int(300).cast(DType::U8, None), None);
        assert_eq!(
            Constant::int(300).cast(DType::U8, Some(Narrowing::Wrap)).and_then(|c| c.as_int()),
            Some(44)
        );
        assert_eq!(
            Constant::int(300).cast(DType::U8, Some(Narrowing::Saturate)).and_then(|c| c.as_int()),
            Some(255)
        );
        assert_eq!(Constant::int(200).cast(DType::U8, None).and_then(|c| c.as_int()), Some(200));
        assert_eq!(Constant::float(-1.5).cast(DType::I32, None).and_then(|c| c.as_int()), Some(-1));
        assert_eq!(Constant::float(f64::NAN).cast(DType::I32, None).and_then(|c| c.as_int()), Some(0));
    }

    #[test]
    fn a_lone_literal_is_rounded_from_its_text() {
        let literal = Constant { single: Some(1.0 + f32::EPSILON), ..Constant::float(1.0) };
        assert_eq!(literal.bits(DType::F32), Some((1.0 + f32::EPSILON).to_bits()));
        assert_eq!(Constant::float(1e300).bits(DType::F32), None, "no silent infinity");
        assert_eq!(Constant::int((1 << 24) + 1).bits(DType::F32), None, "not an f32");
    }
}
