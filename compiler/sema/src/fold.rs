//! Element-wise operations on known bits, for the padding analysis: what a padding value becomes.
//!
//! A value is held as tile IR's constants are: f32, i32, u32 or bool in 32 bits, narrow types as the f32 or 32-bit integer that equals them.
//! `None` means that nothing is claimed (an operation that does not exist for the dtype).

use tvmc_ir::tile::{Binary, CastRule, Unary};
use tvmc_types::dtype::{DType, Kind, Narrowing};

pub(crate) fn unary(op: Unary, dtype: DType, a: u32) -> Option<u32> {
    let f = f32::from_bits(a);
    Some(match (op, dtype.kind()) {
        (Unary::Neg, Kind::Float) => (-f).to_bits(),
        (Unary::Abs, Kind::Float) => f.abs().to_bits(),
        (Unary::Sqrt, Kind::Float) => f.sqrt().to_bits(),
        (Unary::Floor, Kind::Float) => f.floor().to_bits(),
        (Unary::Ceil, Kind::Float) => f.ceil().to_bits(),
        (Unary::Trunc, Kind::Float) => f.trunc().to_bits(),
        (Unary::Round, Kind::Float) => f.round_ties_even().to_bits(),
        (Unary::Neg, Kind::Signed | Kind::Unsigned) => a.wrapping_neg(),
        (Unary::Abs, Kind::Signed) => (a as i32).wrapping_abs() as u32,
        (Unary::Abs, Kind::Unsigned) => a,
        (Unary::Not, Kind::Bool) => a ^ 1,
        (Unary::Not, Kind::Signed | Kind::Unsigned) => !a,
        (Unary::PopCount, Kind::Signed | Kind::Unsigned) => a.count_ones(),
        (
            Unary::Neg
            | Unary::Not
            | Unary::Abs
            | Unary::Sqrt
            | Unary::Floor
            | Unary::Ceil
            | Unary::Trunc
            | Unary::Round
            | Unary::PopCount,
            _,
        ) => return None,
    })
}

pub(crate) fn binary(op: Binary, dtype: DType, a: u32, b: u32) -> Option<u32> {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let (i, j) = (a as i32, b as i32);
    let truth = |t: bool| Some(u32::from(t));
    match dtype.kind() {
        Kind::Float => match op {
            Binary::Add => Some((x + y).to_bits()),
            Binary::Sub => Some((x - y).to_bits()),
            Binary::Mul => Some((x * y).to_bits()),
            Binary::Div => Some((x / y).to_bits()),
            Binary::Min => Some(if x < y { a } else { b }),
            Binary::Max => Some(if x > y { a } else { b }),
            Binary::Eq => truth(x == y),
            Binary::Ne => truth(x != y),
            Binary::Lt => truth(x < y),
            Binary::Le => truth(x <= y),
            Binary::Rem | Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr => None,
        },
        Kind::Signed | Kind::Unsigned => {
            let signed = dtype.kind() == Kind::Signed;
            match op {
                Binary::Add => Some(a.wrapping_add(b)),
                Binary::Sub => Some(a.wrapping_sub(b)),
                Binary::Mul => Some(a.wrapping_mul(b)),
                Binary::Div if b == 0 => Some(0),
                Binary::Rem if b == 0 => Some(a),
                Binary::Div if signed => Some(i.wrapping_div(j) as u32),
                Binary::Rem if signed => Some(i.wrapping_rem(j) as u32),
                Binary::Div => Some(a / b),
                Binary::Rem => Some(a % b),
                Binary::Min if signed => Some(i.min(j) as u32),
                Binary::Max if signed => Some(i.max(j) as u32),
                Binary::Min => Some(a.min(b)),
                Binary::Max => Some(a.max(b)),
                Binary::And => Some(a & b),
                Binary::Or => Some(a | b),
                Binary::Xor => Some(a ^ b),
                Binary::Shl => Some(a << (b % 32)),
                Binary::Shr if signed => Some((i >> (b % 32)) as u32),
                Binary::Shr => Some(a >> (b % 32)),
                Binary::Eq => truth(a == b),
                Binary::Ne => truth(a != b),
                Binary::Lt if signed => truth(i < j),
                Binary::Le if signed => truth(i <= j),
                Binary::Lt => truth(a < b),
                Binary::Le => truth(a <= b),
            }
        }
        Kind::Bool => match op {
            Binary::And => Some(a & b),
            Binary::Or => Some(a | b),
            Binary::Xor | Binary::Ne => Some(a ^ b),
            Binary::Eq => truth(a == b),
            Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Rem
            | Binary::Min
            | Binary::Max
            | Binary::Shl
            | Binary::Shr
            | Binary::Lt
            | Binary::Le => None,
        },
    }
}

/// A conversion: the value as a number, encoded and decoded.
pub(crate) fn cast(rule: CastRule, from: DType, to: DType, a: u32) -> Option<u32> {
    if from.bits() > 32 || to.bits() > 32 {
        return None;
    }
    let narrowing = if rule == CastRule::Wrap { Narrowing::Wrap } else { Narrowing::Saturate };
    let number = match from.kind() {
        Kind::Float => f64::from(f32::from_bits(a)),
        Kind::Signed => f64::from(a as i32),
        Kind::Unsigned | Kind::Bool => f64::from(a),
    };
    Some(match to.kind() {
        Kind::Float => (to.round(number) as f32).to_bits(),
        Kind::Bool => u32::from(number != 0.0),
        Kind::Signed | Kind::Unsigned => {
            let integer = if number.is_nan() { 0 } else { number.trunc() as i128 };
            let integer = if from.is_float() && rule == CastRule::Wrap {
                integer.clamp(i128::from(i32::MIN), i128::from(i32::MAX))
            } else {
                integer
            };
            to.decode_i128(to.encode_i128(integer, narrowing)) as i32 as u32
        }
    })
}
