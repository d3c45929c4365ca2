//! What operations compute with: the rules of the verifier that look at one dtype or two.
//!
//! Lanes compute in f32, i32, u32 and bool ([`computes`]); every other dtype is stored, converted ([`is_exact`] says where that needs no rule) or read anew
//! ([`bitcast_leads`]).

use super::op::{Binary, Reduce, Unary, Update};
use tvmc_types::dtype::{DType, Kind};

/// The types in which lanes compute.
pub(super) fn computes(dtype: DType) -> bool {
    [DType::F32, DType::I32, DType::U32, DType::BOOL].contains(&dtype)
}

/// Whether the bits of a `from` may be read as a `to`: of equal width, at most 32, from a type that lanes know how to store (an integer, f16,
/// bf16 or f32) to any number but tf32, which has bits without a meaning. A NaN's bits are undefined.
pub fn bitcast_leads(from: DType, to: DType) -> bool {
    let stored = match from.kind() {
        Kind::Signed | Kind::Unsigned => true,
        Kind::Float => [DType::F16, DType::BF16, DType::F32].contains(&from),
        Kind::Bool => false,
    };
    let number = to.kind() != Kind::Bool && to != DType::TF32;
    stored && number && from.bits() == to.bits() && to.bits() <= 32
}

/// Whether every number of `from` is a number of `to`.
pub(super) fn is_exact(from: DType, to: DType) -> bool {
    if from == to {
        return true;
    }
    let range = |dtype: DType| -> (i128, i128) {
        let magnitude = 1i128 << (dtype.bits() - u32::from(dtype.kind() == Kind::Signed));
        match dtype.kind() {
            Kind::Signed => (-magnitude, magnitude - 1),
            Kind::Unsigned | Kind::Bool | Kind::Float => (0, magnitude - 1),
        }
    };
    match (from.kind(), to.kind()) {
        (_, Kind::Bool) => false,
        (Kind::Float, Kind::Signed | Kind::Unsigned) => false,
        (Kind::Bool | Kind::Signed | Kind::Unsigned, Kind::Signed | Kind::Unsigned) => {
            let ((lo, hi), (to_lo, to_hi)) = (range(from), range(to));
            to_lo <= lo && hi <= to_hi
        }
        (Kind::Bool | Kind::Signed | Kind::Unsigned, Kind::Float) => {
            // Up to 16 bits every number is tried; wider ones have more digits than any mantissa but the widest holds.
            let (lo, hi) = range(from);
            if from.bits() <= 16 {
                (lo..=hi).all(|v| to.round(v as f64) == v as f64)
            } else {
                to.row().mantissa + 1 >= from.bits() - u32::from(from.is_signed())
            }
        }
        (Kind::Float, Kind::Float) if to == DType::F32 || to == DType::F64 => from != DType::F64,
        (Kind::Float, Kind::Float) => {
            from.bits() <= 16
                && (0..1u64 << from.bits()).all(|code| {
                    let value = from.decode(code);
                    let back = to.round(value);
                    if value.is_nan() { back.is_nan() } else { back == value }
                })
        }
    }
}

/// Which elements an update is defined for.
pub(super) fn updates(update: Update, dtype: DType) -> bool {
    let integer = matches!(dtype, DType::I32 | DType::U32);
    match update {
        Update::Add | Update::Min | Update::Max | Update::Exchange => integer || dtype == DType::F32,
        Update::And | Update::Or | Update::Xor | Update::CompareExchange => integer,
    }
}

pub(super) fn unary_takes(op: Unary, dtype: DType) -> bool {
    let integer = matches!(dtype, DType::I32 | DType::U32);
    match op {
        Unary::Neg | Unary::Abs => integer || dtype == DType::F32,
        Unary::Not => integer || dtype == DType::BOOL,
        Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => dtype == DType::F32,
        Unary::PopCount => integer,
    }
}

pub(super) fn binary_takes(op: Binary, dtype: DType) -> bool {
    let integer = matches!(dtype, DType::I32 | DType::U32);
    let number = integer || dtype == DType::F32;
    match op {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Min | Binary::Max => number,
        Binary::Rem | Binary::Shl | Binary::Shr => integer,
        Binary::And | Binary::Or | Binary::Xor => integer || dtype == DType::BOOL,
        Binary::Eq | Binary::Ne => number || dtype == DType::BOOL,
        Binary::Lt | Binary::Le => number,
    }
}

pub(super) fn reduce_takes(reduce: Reduce, dtype: DType) -> bool {
    match reduce {
        Reduce::Sum | Reduce::Prod | Reduce::Min | Reduce::Max => {
            matches!(dtype, DType::F32 | DType::I32 | DType::U32)
        }
        Reduce::Any | Reduce::All => dtype == DType::BOOL,
    }
}
