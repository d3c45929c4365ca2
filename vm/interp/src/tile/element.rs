//! One element: how stored bits become values, and what each operation does to them.
//!
//! A value is held in 32 bits: a float as the f32 that equals it (floats of at most 32 bits all have one), an integer extended to 32
//! bits, a truth value as 0 or 1. Everything is computed the plain way, on one element at a time: this file defines the meaning that compiled
//! code is measured against, and shares nothing with it.

use super::Trap;
use tvmc_ir::tile::{Binary, CastRule, Reduce, Unary};
use tvmc_types::dtype::{DType, Kind, Narrowing};

/// The value of a stored code.
pub fn decode(dtype: DType, code: u64) -> Result<u32, Trap> {
    if dtype.bits() > 32 {
        return Err(Trap::Unsupported(format!("{dtype} does not fit the 32 bits that kernels compute with")));
    }
    Ok(match dtype.kind() {
        Kind::Bool => u32::from(code != 0),
        Kind::Unsigned => code as u32,
        Kind::Signed => dtype.decode_int(code) as i32 as u32,
        Kind::Float if dtype == DType::F32 => code as u32,
        Kind::Float => (dtype.decode(code) as f32).to_bits(),
    })
}

/// The code that stores a value of this very dtype (so nothing is lost).
pub fn encode(dtype: DType, value: u32) -> u64 {
    match dtype.kind() {
        Kind::Bool => u64::from(value != 0),
        Kind::Unsigned => u64::from(value),
        Kind::Signed => dtype.encode_int(i64::from(value as i32), Narrowing::Wrap),
        Kind::Float if dtype == DType::F32 => u64::from(value),
        Kind::Float => dtype.encode_f32(f32::from_bits(value)),
    }
}

fn bad(op: &str, dtype: DType) -> Trap {
    Trap::Unsupported(format!("`{op}` of {dtype}"))
}

/// Element-wise, one operand.
pub fn unary(op: Unary, dtype: DType, a: u32) -> Result<u32, Trap> {
    let f = f32::from_bits(a);
    let float = |v: f32| Ok(v.to_bits());
    match (op, dtype.kind()) {
        (Unary::Neg, Kind::Float) => Ok(a ^ 0x8000_0000),
        (Unary::Abs, Kind::Float) => Ok(a & 0x7fff_ffff),
        (Unary::Sqrt, Kind::Float) => float(f.sqrt()),
        (Unary::Floor, Kind::Float) => float(f.floor()),
        (Unary::Ceil, Kind::Float) => float(f.ceil()),
        (Unary::Trunc, Kind::Float) => float(f.trunc()),
        (Unary::Round, Kind::Float) => float(f.round_ties_even()),
        (Unary::Neg, Kind::Signed | Kind::Unsigned) => Ok(a.wrapping_neg()),
        (Unary::Abs, Kind::Signed) => Ok((a as i32).wrapping_abs() as u32),
        (Unary::Abs, Kind::Unsigned) => Ok(a),
        (Unary::Not, Kind::Bool) => Ok(a ^ 1),
        (Unary::Not, Kind::Signed | Kind::Unsigned) => Ok(!a),
        (Unary::PopCount, Kind::Signed | Kind::Unsigned) => Ok(a.count_ones()),
        (Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round, _)
        | (Unary::Neg | Unary::Abs | Unary::PopCount, _)
        | (Unary::Not, Kind::Float) => Err(bad(op.name(), dtype)),
    }
}

/// Element-wise, two operands of this dtype.
pub fn binary(op: Binary, dtype: DType, a: u32, b: u32) -> Result<u32, Trap> {
    match dtype.kind() {
        Kind::Float => float_binary(op, dtype, f32::from_bits(a), f32::from_bits(b)),
        Kind::Signed => signed_binary(op, a as i32, b as i32),
        Kind::Unsigned => Ok(unsigned_binary(op, a, b)),
        Kind::Bool => match op {
            Binary::And => Ok(a & b),
            Binary::Or => Ok(a | b),
            Binary::Xor | Binary::Ne => Ok(a ^ b),
            Binary::Eq => Ok(u32::from(a == b)),
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
            | Binary::Le => Err(bad(op.name(), dtype)),
        },
    }
}

fn float_binary(op: Binary, dtype: DType, a: f32, b: f32) -> Result<u32, Trap> {
    Ok(match op {
        Binary::Add => (a + b).to_bits(),
        Binary::Sub => (a - b).to_bits(),
        Binary::Mul => (a * b).to_bits(),
        Binary::Div => (a / b).to_bits(),
        // The second operand wherever the comparison is false.
        Binary::Min => (if a < b { a } else { b }).to_bits(),
        Binary::Max => (if a > b { a } else { b }).to_bits(),
        Binary::Eq => u32::from(a == b),
        Binary::Ne => u32::from(a != b),
        Binary::Lt => u32::from(a < b),
        Binary::Le => u32::from(a <= b),
        Binary::Rem | Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr => {
            return Err(bad(op.name(), dtype));
        }
    })
}

fn signed_binary(op: Binary, a: i32, b: i32) -> Result<u32, Trap> {
    let value = match op {
        Binary::Div => match b {
            0 => 0,
            _ => a.wrapping_div(b),
        },
        Binary::Rem => match b {
            0 => a,
            _ => a.wrapping_rem(b),
        },
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::Shr => a >> (b as u32 % 32),
        Binary::Lt => i32::from(a < b),
        Binary::Le => i32::from(a <= b),
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::Shl
        | Binary::Eq
        | Binary::Ne => return Ok(unsigned_binary(op, a as u32, b as u32)),
    };
    Ok(value as u32)
}

fn unsigned_binary(op: Binary, a: u32, b: u32) -> u32 {
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => a.checked_div(b).unwrap_or(0),
        Binary::Rem => a.checked_rem(b).unwrap_or(a),
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => a << (b % 32),
        Binary::Shr => a >> (b % 32),
        Binary::Eq => u32::from(a == b),
        Binary::Ne => u32::from(a != b),
        Binary::Lt => u32::from(a < b),
        Binary::Le => u32::from(a <= b),
    }
}

/// The value that a reduction of nothing has.
pub fn identity(reduce: Reduce, dtype: DType) -> u32 {
    match (reduce, dtype.kind()) {
        (Reduce::Sum | Reduce::Any, _) => 0,
        (Reduce::All, _) => 1,
        (Reduce::Prod, Kind::Float) => 1f32.to_bits(),
        (Reduce::Prod, Kind::Signed | Kind::Unsigned | Kind::Bool) => 1,
        (Reduce::Min, Kind::Float) => f32::INFINITY.to_bits(),
        (Reduce::Max, Kind::Float) => f32::NEG_INFINITY.to_bits(),
        (Reduce::Min, Kind::Signed) => i32::MAX as u32,
        (Reduce::Max, Kind::Signed) => i32::MIN as u32,
        (Reduce::Min, Kind::Unsigned | Kind::Bool) => u32::MAX,
        (Reduce::Max, Kind::Unsigned | Kind::Bool) => 0,
    }
}

/// One step of a reduction.
pub fn reduce_step(reduce: Reduce, dtype: DType, total: u32, next: u32) -> Result<u32, Trap> {
    let op = match reduce {
        Reduce::Sum => Binary::Add,
        Reduce::Prod => Binary::Mul,
        Reduce::Min => Binary::Min,
        Reduce::Max => Binary::Max,
        Reduce::Any => Binary::Or,
        Reduce::All => Binary::And,
    };
    binary(op, dtype, total, next)
}

/// A conversion.
pub fn cast(rule: CastRule, from: DType, to: DType, a: u32) -> Result<u32, Trap> {
    if to.bits() > 32 {
        return Err(Trap::Unsupported(format!("{to} does not fit the 32 bits that kernels compute with")));
    }
    let f = f64::from(f32::from_bits(a));
    let narrowing = if rule == CastRule::Wrap { Narrowing::Wrap } else { Narrowing::Saturate };
    // The value as an exact integer, where it is one.
    let integer = match from.kind() {
        Kind::Bool | Kind::Unsigned => i64::from(a),
        Kind::Signed => i64::from(a as i32),
        Kind::Float => {
            // Towards zero; NaN is 0. Wrapping to a narrow type goes through 32 signed bits.
            let (lo, hi) = match (to.kind(), rule) {
                (Kind::Unsigned, CastRule::Exact | CastRule::Round | CastRule::Saturate) => {
                    (0.0, f64::from(u32::MAX))
                }
                (Kind::Unsigned, CastRule::Wrap) if to.bits() == 32 => (0.0, f64::from(u32::MAX)),
                (Kind::Unsigned | Kind::Signed | Kind::Bool | Kind::Float, _) => {
                    (f64::from(i32::MIN), f64::from(i32::MAX))
                }
            };
            if f.is_nan() { 0 } else { f.trunc().clamp(lo, hi) as i64 }
        }
    };
    match to.kind() {
        Kind::Bool => match from.kind() {
            Kind::Float => Ok(u32::from(f != 0.0)),
            Kind::Bool | Kind::Unsigned | Kind::Signed => Ok(u32::from(a != 0)),
        },
        Kind::Unsigned | Kind::Signed => decode(to, to.encode_int(integer, narrowing)),
        Kind::Float => match from.kind() {
            Kind::Float => decode(to, to.encode_f64(f)),
            Kind::Bool | Kind::Unsigned | Kind::Signed => {
                // i32 to f32 rounds once; a narrower target is reached from that f32, as in the reference.
                decode(to, to.encode_f32(integer as f32))
            }
        },
    }
}
