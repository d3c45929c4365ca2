//! Element types: one table, from which every fact about a type is computed.
//!
//! A *code* is the bit pattern of an element, held in the low bits of a `u64`. A row of the table says which number each
//! code is; codec, limits, printing, packing and tests all read the row, and no other place knows a type by name.
//!
//! # Integers
//! `uN` is plain binary, `iN` two's complement; `i1` holds -1 and 0. `bool` is one bit.
//!
//! # Floats
//! From the most significant bit: sign, exponent field `E`, mantissa field `M`. With `m` mantissa bits and bias `b`
//!
//! ```text
//! E = 0     M * 2^(1 - b - m)                  zero and subnormals, which exist in every float type but e8m0
//! E > 0     (2^m + M) * 2^(E - b - m)          normal numbers
//! ```
//!
//! and the row's [`Rule`] says which codes at the top are infinite or NaN. `eXmY` is a sign, `X` exponent bits and `Y`
//! mantissa bits with bias `2^(X-1) - 1`: every split of 3 to 8 bits exists. All codes of `e2m1` (bias 1, no specials):
//!
//! ```text
//! code   0   1    2   3    4   5   6   7       8 to 15: the same, negative
//! value  0   0.5  1   1.5  2   3   4   6
//! ```
//!
//! Two rows have bits that carry nothing: they are ignored by decoding and zero in what encoding gives. `tf32` lies in the top
//! 19 bits of an f32, with 13 unused bits below. `ue4m3`, the scale of NVFP4, has no sign and an unused top bit.
//!
//! # What happens to numbers that do not fit
//! See [`Rule`] for floats, [`Narrowing`] for integers, and [`DType::encode_f64`] for a float that becomes an integer. The
//! choices, once:
//!
//! | from | to | policy |
//! |---|---|---|
//! | number | float | nearest; a tie goes to the even code; one rounding, subnormals included |
//! | too large, or infinite | `e5m2 f16 bf16 tf32 f32 f64` | infinity |
//! | too large, or infinite | any other float | the largest finite number of that sign (saturates) |
//! | NaN | float with a NaN | the positive quiet NaN; payloads are not kept |
//! | NaN | float without a NaN | zero, as for integers |
//! | negative | `ue4m3`, `e8m0` | the smallest number of the type (zero; 2^-127) |
//! | float | integer | towards zero, saturating, NaN gives 0 |
//! | anything | `bool` | whether it differs from zero (NaN does) |

mod codec;
mod print;

pub use codec::Narrowing;

use std::fmt;
use std::str::FromStr;

/// Which family a type belongs to.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Kind {
    /// Truth value.
    Bool,
    /// Unsigned integer.
    Unsigned,
    /// Two's complement integer.
    Signed,
    /// Floating point.
    Float,
}

/// The inf/nan rule of a row: which codes are not finite numbers, and where numbers beyond the largest go.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Rule {
    /// Not a float: every code is a number.
    Integer,
    /// As IEEE 754: the top exponent is infinity (mantissa zero) or NaN. Overflow gives infinity.
    Ieee,
    /// No infinity; exponent and mantissa all ones are NaN, the OCP rule for `e4m3`. Overflow saturates.
    NanOnly,
    /// Every code is a finite number. Overflow saturates, NaN becomes zero.
    Finite,
    /// A power of two: code `E` is `2^(E - bias)`, all ones is NaN; no sign, no zero, no subnormals. Overflow saturates at both
    /// ends.
    Scale,
}

/// One row of the table.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Row {
    /// Name in source text.
    pub name: &'static str,
    /// Family.
    pub kind: Kind,
    /// Bits of storage.
    pub bits: u32,
    /// Whether negative numbers exist.
    pub signed: bool,
    /// Exponent bits of a float, else 0.
    pub exponent: u32,
    /// Mantissa bits of a float, else 0.
    pub mantissa: u32,
    /// What is subtracted from the exponent field of a float, else 0.
    pub bias: i32,
    /// The inf/nan rule.
    pub rule: Rule,
}

/// An element type: an index into the table. `DType::F32`, `DType::U4`, `DType::E4M3`, ...
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct DType(u8);

/// Reads the table: constants, the list of all, and the rows come from the same lines.
macro_rules! table {
    ($($constant:ident $name:literal $kind:ident $bits:literal $sign:literal $exponent:literal $mantissa:literal
       $bias:literal $rule:ident)*) => {
        #[allow(clippy::upper_case_acronyms)]
        enum Index { $($constant),* }

        #[allow(missing_docs)] // the constants are the names of the table
        impl DType {
            $(pub const $constant: DType = DType(Index::$constant as u8);)*

            /// Every type, in table order.
            pub const ALL: &'static [DType] = &[$(DType::$constant),*];
        }

        static TABLE: &[Row] = &[$(Row {
            name: $name,
            kind: Kind::$kind,
            bits: $bits,
            signed: $sign == '-',
            exponent: $exponent,
            mantissa: $mantissa,
            bias: $bias,
            rule: Rule::$rule,
        }),*];
    };
}

// A sign of '-' means that negative numbers exist.
#[rustfmt::skip]
table! {
//  constant name    kind   bits sign exp man bias rule
    BOOL  "bool"     Bool      1  '+'  0   0    0  Integer
    U1    "u1"       Unsigned  1  '+'  0   0    0  Integer
    U2    "u2"       Unsigned  2  '+'  0   0    0  Integer
    U3    "u3"       Unsigned  3  '+'  0   0    0  Integer
    U4    "u4"       Unsigned  4  '+'  0   0    0  Integer
    U5    "u5"       Unsigned  5  '+'  0   0    0  Integer
    U6    "u6"       Unsigned  6  '+'  0   0    0  Integer
    U7    "u7"       Unsigned  7  '+'  0   0    0  Integer
    U8    "u8"       Unsigned  8  '+'  0   0    0  Integer
    U16   "u16"      Unsigned 16  '+'  0   0    0  Integer
    U32   "u32"      Unsigned 32  '+'  0   0    0  Integer
    U64   "u64"      Unsigned 64  '+'  0   0    0  Integer
    I1    "i1"       Signed    1  '-'  0   0    0  Integer
    I2    "i2"       Signed    2  '-'  0   0    0  Integer
    I3    "i3"       Signed    3  '-'  0   0    0  Integer
    I4    "i4"       Signed    4  '-'  0   0    0  Integer
    I5    "i5"       Signed    5  '-'  0   0    0  Integer
    I6    "i6"       Signed    6  '-'  0   0    0  Integer
    I7    "i7"       Signed    7  '-'  0   0    0  Integer
    I8    "i8"       Signed    8  '-'  0   0    0  Integer
    I16   "i16"      Signed   16  '-'  0   0    0  Integer
    I32   "i32"      Signed   32  '-'  0   0    0  Integer
    I64   "i64"      Signed   64  '-'  0   0    0  Integer
    E1M1  "e1m1"     Float     3  '-'  1   1    0  Finite
    E2M0  "e2m0"     Float     3  '-'  2   0    1  Finite
    E1M2  "e1m2"     Float     4  '-'  1   2    0  Finite
    E2M1  "e2m1"     Float     4  '-'  2   1    1  Finite
    E3M0  "e3m0"     Float     4  '-'  3   0    3  Finite
    E1M3  "e1m3"     Float     5  '-'  1   3    0  Finite
    E2M2  "e2m2"     Float     5  '-'  2   2    1  Finite
    E3M1  "e3m1"     Float     5  '-'  3   1    3  Finite
    E4M0  "e4m0"     Float     5  '-'  4   0    7  Finite
    E1M4  "e1m4"     Float     6  '-'  1   4    0  Finite
    E2M3  "e2m3"     Float     6  '-'  2   3    1  Finite
    E3M2  "e3m2"     Float     6  '-'  3   2    3  Finite
    E4M1  "e4m1"     Float     6  '-'  4   1    7  Finite
    E5M0  "e5m0"     Float     6  '-'  5   0   15  Finite
    E1M5  "e1m5"     Float     7  '-'  1   5    0  Finite
    E2M4  "e2m4"     Float     7  '-'  2   4    1  Finite
    E3M3  "e3m3"     Float     7  '-'  3   3    3  Finite
    E4M2  "e4m2"     Float     7  '-'  4   2    7  Finite
    E5M1  "e5m1"     Float     7  '-'  5   1   15  Finite
    E6M0  "e6m0"     Float     7  '-'  6   0   31  Finite
    E1M6  "e1m6"     Float     8  '-'  1   6    0  Finite
    E2M5  "e2m5"     Float     8  '-'  2   5    1  Finite
    E3M4  "e3m4"     Float     8  '-'  3   4    3  Finite
    E4M3  "e4m3"     Float     8  '-'  4   3    7  NanOnly
    E5M2  "e5m2"     Float     8  '-'  5   2   15  Ieee
    E6M1  "e6m1"     Float     8  '-'  6   1   31  Finite
    E7M0  "e7m0"     Float     8  '-'  7   0   63  Finite
    E8M0  "e8m0"     Float     8  '+'  8   0  127  Scale
    UE4M3 "ue4m3"    Float     8  '+'  4   3    7  NanOnly
    F16   "f16"      Float    16  '-'  5  10   15  Ieee
    BF16  "bf16"     Float    16  '-'  8   7  127  Ieee
    TF32  "tf32"     Float    32  '-'  8  10  127  Ieee
    F32   "f32"      Float    32  '-'  8  23  127  Ieee
    F64   "f64"      Float    64  '-' 11  52 1023  Ieee
}

impl DType {
    /// The row of the table.
    pub fn row(self) -> &'static Row {
        // A DType is made only by the table and by `from_index`, which checks.
        &TABLE[usize::from(self.0)]
    }

    /// Position in the table, for dense maps and encodings; [`DType::from_index`] is the inverse.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The type at a position of the table.
    pub fn from_index(index: usize) -> Option<Self> {
        DType::ALL.get(index).copied()
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        DType::ALL.iter().copied().find(|dtype| dtype.name() == name)
    }

    /// Name in source text.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Family.
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// Bits of storage.
    pub fn bits(self) -> u32 {
        self.row().bits
    }

    /// Whether this is a float type.
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }

    /// Whether this is a signed or unsigned integer type; `bool` is not.
    pub fn is_integer(self) -> bool {
        matches!(self.kind(), Kind::Unsigned | Kind::Signed)
    }

    /// Whether the type has negative numbers.
    pub fn is_signed(self) -> bool {
        self.row().signed
    }

    /// Whether some code is a NaN.
    pub fn has_nan(self) -> bool {
        matches!(self.row().rule, Rule::Ieee | Rule::NanOnly | Rule::Scale)
    }

    /// Whether some code is an infinity.
    pub fn has_infinity(self) -> bool {
        self.row().rule == Rule::Ieee
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is no dtype name.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct UnknownDType(pub String);

impl fmt::Display for UnknownDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not the name of an element type", self.0)
    }
}

impl std::error::Error for UnknownDType {}

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        DType::from_name(name).ok_or_else(|| UnknownDType(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_consistent() {
        for (index, &dtype) in DType::ALL.iter().enumerate() {
            let row = dtype.row();
            assert_eq!(dtype.index(), index);
            assert_eq!(DType::from_index(index), Some(dtype));
            assert_eq!(row.name.parse(), Ok(dtype));
            match row.kind {
                Kind::Bool => assert_eq!((row.name, row.bits), ("bool", 1)),
                Kind::Unsigned => assert_eq!(row.name, format!("u{}", row.bits)),
                Kind::Signed => assert_eq!(row.name, format!("i{}", row.bits)),
                Kind::Float => {
                    assert_eq!(row.bias, (1 << (row.exponent - 1)) - 1);
                    assert!(u32::from(row.signed) + row.exponent + row.mantissa <= row.bits);
                }
            }
            assert_eq!(row.rule == Rule::Integer, row.kind != Kind::Float);
        }
        assert_eq!(DType::from_index(DType::ALL.len()), None);
        assert_eq!("f33".parse::<DType>(), Err(UnknownDType("f33".into())));
    }

    #[test]
    fn every_split_of_three_to_eight_bits_exists() {
        for bits in 3..=8 {
            for exponent in 1..bits {
                let mantissa = bits - 1 - exponent;
                let dtype = DType::from_name(&format!("e{exponent}m{mantissa}")).expect("a split");
                let row = dtype.row();
                assert_eq!(
                    (row.bits, row.exponent, row.mantissa, row.signed),
                    (bits, exponent, mantissa, true)
                );
            }
        }
    }
}
