//! What a lane value is: a scalar kind times a uniformity. There is no signed/unsigned distinction in
//! types; operations carry it (`ilt_s`, `ilt_u`), as in most machine-level IRs.
//!
//! `i64` exists only as a uniform value: it is for addresses. Everything a lane computes is 32 bits wide.

use std::fmt;

/// The kind of a value.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Scalar {
    /// IEEE binary32.
    F32,
    /// 32 bits; also four packed bytes for `dot4` and `unpack`.
    I32,
    /// 64 bits, uniform only: element indices.
    I64,
    /// A truth value; on vector machines a mask.
    Bool,
}

/// Whether all lanes hold the same value by construction.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Uniformity {
    /// One value for the block.
    Uniform,
    /// One value per lane.
    Varying,
}

/// The type of a lane IR value, printed `u.f32`, `v.i32`, `v.bool`, `u.i64`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Type {
    /// Kind.
    pub scalar: Scalar,
    /// Uniform or varying.
    pub uniformity: Uniformity,
}

impl Type {
    /// A uniform type.
    pub const fn uniform(scalar: Scalar) -> Self {
        Self { scalar, uniformity: Uniformity::Uniform }
    }

    /// A varying type.
    pub const fn varying(scalar: Scalar) -> Self {
        Self { scalar, uniformity: Uniformity::Varying }
    }

    /// Whether every lane holds its own value.
    pub fn is_varying(self) -> bool {
        self.uniformity == Uniformity::Varying
    }
}

/// The type of an element in memory. Loads widen to [`Mem::loaded`], stores narrow from it.
///
/// Policies: integer loads extend by their sign; integer stores keep the low bits (wrap). `f16` and
/// `bf16` loads are exact; stores round to nearest even, overflow to infinity, NaN stays NaN (quiet).
/// An index counts elements of this type from the start of the buffer, so every access is naturally aligned.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Mem {
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Unsigned 16 bits.
    U16,
    /// Signed 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE binary32.
    F32,
}

impl Mem {
    /// Every memory element type, in printing order.
    pub const ALL: [Mem; 8] = [Mem::U8, Mem::I8, Mem::U16, Mem::I16, Mem::I32, Mem::F16, Mem::Bf16, Mem::F32];

    /// Bytes of one element.
    pub const fn bytes(self) -> u32 {
        match self {
            Mem::U8 | Mem::I8 => 1,
            Mem::U16 | Mem::I16 | Mem::F16 | Mem::Bf16 => 2,
            Mem::I32 | Mem::F32 => 4,
        }
    }

    /// The register kind that a load produces and a store takes.
    pub const fn loaded(self) -> Scalar {
        match self {
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 => Scalar::I32,
            Mem::F16 | Mem::Bf16 | Mem::F32 => Scalar::F32,
        }
    }

    /// The printed name.
    pub const fn name(self) -> &'static str {
        match self {
            Mem::U8 => "u8",
            Mem::I8 => "i8",
            Mem::U16 => "u16",
            Mem::I16 => "i16",
            Mem::I32 => "i32",
            Mem::F16 => "f16",
            Mem::Bf16 => "bf16",
            Mem::F32 => "f32",
        }
    }
}

impl Scalar {
    /// The printed name.
    pub const fn name(self) -> &'static str {
        match self {
            Scalar::F32 => "f32",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::Bool => "bool",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.uniformity {
            Uniformity::Uniform => "u",
            Uniformity::Varying => "v",
        };
        write!(f, "{prefix}.{}", self.scalar.name())
    }
}
