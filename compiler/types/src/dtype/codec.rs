//! Codes to numbers and back.
//!
//! Decoding to f64 is exact for every float type. Encoding rounds once, from the exact value `significand * 2^scale` to the
//! grid of the target, so f64, f32 and integers all arrive by the same route. In a float type the codes of the non-negative
//! numbers ascend with their value; rounding therefore works on the code itself: a carry out of the mantissa runs into the
//! exponent, a subnormal becomes normal, and the largest number steps to the code of infinity, all by adding one.
//!
//! All functions are total: each accepts every dtype and every `u64`, of which only the low [`DType::bits`] count.

use super::{DType, Kind, Rule};
use crate::packing::{mask, sign_extend};

/// What becomes of an integer that its new type cannot hold. There is no default.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Narrowing {
    /// Keep the low bits.
    Wrap,
    /// Take the nearest number of the type.
    Saturate,
}

/// Exactly `2^exponent`, for exponents from -1074 to 1023.
fn power_of_two(exponent: i32) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074))
    }
}

impl DType {
    /// Position of the lowest mantissa bit: a signed float hangs from the top bit of its storage, an unsigned one starts at
    /// bit 0. Only tf32 has unused bits below.
    fn shift(self) -> u32 {
        let row = self.row();
        if row.signed { row.bits - 1 - row.exponent - row.mantissa } else { 0 }
    }

    /// Of a float type, the code of the largest finite number, without sign and shift.
    fn largest_magnitude(self) -> u64 {
        let row = self.row();
        let all_ones = mask(row.exponent + row.mantissa);
        match row.rule {
            Rule::Integer => 0,
            Rule::Ieee => all_ones - mask(row.mantissa) - 1,
            Rule::NanOnly | Rule::Scale => all_ones - 1,
            Rule::Finite => all_ones,
        }
    }

    /// A sign and a magnitude (exponent and mantissa) placed in storage.
    fn place(self, negative: bool, magnitude: u64) -> u64 {
        let row = self.row();
        let sign = u64::from(negative && row.signed) << (row.bits - 1);
        sign | magnitude << self.shift()
    }

    /// The code of NaN, if the type has one.
    pub fn nan_code(self) -> Option<u64> {
        let row = self.row();
        match row.rule {
            Rule::Integer | Rule::Finite => None,
            Rule::Ieee => {
                let quiet = 1 << (row.mantissa - 1);
                Some(self.place(false, mask(row.exponent) << row.mantissa | quiet))
            }
            Rule::NanOnly | Rule::Scale => Some(self.place(false, mask(row.exponent + row.mantissa))),
        }
    }

    /// The code of the infinity of that sign, if the type has one.
    pub fn infinity_code(self, negative: bool) -> Option<u64> {
        let row = self.row();
        (row.rule == Rule::Ieee).then(|| self.place(negative, mask(row.exponent) << row.mantissa))
    }

    /// Smallest and largest number of an integer type or bool; `None` for floats.
    pub fn int_range(self) -> Option<(i128, i128)> {
        let bits = self.bits();
        match self.kind() {
            Kind::Bool | Kind::Unsigned => Some((0, (1 << bits) - 1)),
            Kind::Signed => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            Kind::Float => None,
        }
    }

    /// The largest finite number; of a 64-bit integer type the nearest f64.
    pub fn max(self) -> f64 {
        match self.int_range() {
            Some((_, max)) => max as f64,
            None => self.decode(self.place(false, self.largest_magnitude())),
        }
    }

    /// The smallest finite number (zero, or 2^-127 of e8m0, where there are no negative ones).
    pub fn min(self) -> f64 {
        match self.int_range() {
            Some((min, _)) => min as f64,
            None if self.is_signed() => -self.max(),
            None => self.decode(0),
        }
    }

    /// The smallest number above zero.
    pub fn min_positive(self) -> f64 {
        match self.row().rule {
            Rule::Integer => 1.0,
            Rule::Scale => self.decode(0),
            Rule::Ieee | Rule::NanOnly | Rule::Finite => self.decode(self.place(false, 1)),
        }
    }

    /// The number that a code stands for. Exact, except that integers above 2^53 give the nearest f64.
    pub fn decode(self, code: u64) -> f64 {
        let row = self.row();
        if row.kind != Kind::Float {
            return self.decode_i128(code) as f64;
        }
        let negative = row.signed && code >> (row.bits - 1) & 1 == 1;
        let magnitude = code >> self.shift() & mask(row.exponent + row.mantissa);
        let field = (magnitude >> row.mantissa) as i32;
        let fraction = magnitude & mask(row.mantissa);
        let value = if magnitude > self.largest_magnitude() {
            if row.rule == Rule::Ieee && fraction == 0 { f64::INFINITY } else { f64::NAN }
        } else if row.rule == Rule::Scale {
            power_of_two(field - row.bias)
        } else {
            let hidden = u64::from(field != 0) << row.mantissa;
            (hidden | fraction) as f64 * power_of_two(field.max(1) - row.bias - row.mantissa as i32)
        };
        if negative { -value } else { value }
    }

    /// The number that a code stands for, exactly. A float is taken towards zero, saturating, NaN as 0.
    pub fn decode_i128(self, code: u64) -> i128 {
        match self.kind() {
            Kind::Bool | Kind::Unsigned => i128::from(code & mask(self.bits())),
            Kind::Signed => i128::from(sign_extend(code, self.bits())),
            Kind::Float => self.decode(code) as i128,
        }
    }

    /// As [`DType::decode_i128`], but in 64 bits: of `u64` numbers from 2^63 the same bits, of floats saturating.
    pub fn decode_int(self, code: u64) -> i64 {
        match self.kind() {
            Kind::Bool | Kind::Unsigned => (code & mask(self.bits())) as i64,
            Kind::Signed => sign_extend(code, self.bits()),
            Kind::Float => self.decode(code) as i64,
        }
    }

    /// The code of the number nearest to `value`.
    ///
    /// To a float type: round to nearest, ties to the even code, by the row's [`Rule`] beyond the largest number. To an integer
    /// type: towards zero, saturating, NaN gives 0. To bool: whether `value` differs from zero.
    pub fn encode_f64(self, value: f64) -> u64 {
        let row = self.row();
        match row.kind {
            Kind::Bool => u64::from(value != 0.0),
            // `as` truncates, saturates at 128 bits and turns NaN into 0.
            Kind::Unsigned | Kind::Signed => self.encode_i128(value as i128, Narrowing::Saturate),
            Kind::Float if value.is_nan() => self.nan_code().unwrap_or(0),
            Kind::Float if value.is_infinite() => self.overflow(value < 0.0),
            Kind::Float => {
                let bits = value.to_bits();
                let field = (bits >> 52 & mask(11)) as i32;
                let hidden = u64::from(field != 0) << 52;
                self.encode_scaled(value.is_sign_negative(), hidden | bits & mask(52), field.max(1) - 1075)
            }
        }
    }

    /// The code of the number nearest to `value`, as [`DType::encode_f64`].
    pub fn encode_f32(self, value: f32) -> u64 {
        self.encode_f64(f64::from(value))
    }

    /// The code of an integer, as [`DType::encode_i128`].
    pub fn encode_int(self, value: i64, narrowing: Narrowing) -> u64 {
        self.encode_i128(i128::from(value), narrowing)
    }

    /// The code of an integer. A float type takes the nearest number, rounding once; bool whether it differs from zero.
    pub fn encode_i128(self, value: i128, narrowing: Narrowing) -> u64 {
        match (self.int_range(), narrowing) {
            (Some(_), _) if self.kind() == Kind::Bool => u64::from(value != 0),
            (Some(_), Narrowing::Wrap) => value as u64 & mask(self.bits()),
            (Some((min, max)), Narrowing::Saturate) => value.clamp(min, max) as u64 & mask(self.bits()),
            (None, _) => {
                // A significand of 64 bits is enough for every storage type; longer ones keep a sticky lowest bit, which
                // decides ties as the exact value would, since no float type has more than 53 significant bits.
                let magnitude = value.unsigned_abs();
                let excess = 64u32.saturating_sub(magnitude.leading_zeros());
                let kept = (magnitude >> excess) as u64;
                let sticky = u64::from(magnitude & ((1 << excess) - 1) != 0);
                self.encode_scaled(value < 0, kept | sticky, excess as i32)
            }
        }
    }

    /// The code nearest to `±significand * 2^scale` in a float type.
    fn encode_scaled(self, negative: bool, significand: u64, scale: i32) -> u64 {
        let row = self.row();
        if !row.signed && negative || row.rule == Rule::Scale && significand == 0 {
            // Below the range of a type without negative numbers, or without zero: its smallest number is code 0.
            return 0;
        }
        if significand == 0 {
            return self.place(negative, 0);
        }
        let leading = scale + significand.ilog2() as i32;
        let mantissa = row.mantissa as i32;
        // Exponent field if the number is normal; subnormals share the quantum of field 1, and e8m0 has none.
        let field = leading + row.bias;
        if row.rule == Rule::Scale && field < 0 {
            return 0;
        }
        let lowest_field = if row.rule == Rule::Scale { 0 } else { 1 };
        let field = field.max(lowest_field);
        let quantum = field - row.bias - mantissa;
        // The number is (base + exact) codes, where exact = significand * 2^(scale - quantum) includes the hidden bit. For
        // e8m0, field 0 is a normal number, so its base is one below zero and the hidden bit makes up for it.
        let base = (i64::from(field) - 1) << mantissa;
        let drop = quantum - scale;
        let (whole, rest_to_half) = match drop {
            ..=0 => (significand << -drop, std::cmp::Ordering::Less),
            1..=63 => {
                let half = 1 << (drop - 1);
                (significand >> drop, (significand & mask(drop as u32)).cmp(&half))
            }
            64 => (0, significand.cmp(&(1 << 63))),
            65.. => (0, std::cmp::Ordering::Less),
        };
        let floor = (base + whole as i64) as u64;
        let up = match rest_to_half {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => floor & 1,
            std::cmp::Ordering::Greater => 1,
        };
        let magnitude = floor + up;
        if magnitude > self.largest_magnitude() {
            self.overflow(negative)
        } else {
            self.place(negative, magnitude)
        }
    }

    /// Where a number beyond the largest goes.
    fn overflow(self, negative: bool) -> u64 {
        if negative && !self.is_signed() {
            return 0;
        }
        self.infinity_code(negative).unwrap_or_else(|| self.place(negative, self.largest_magnitude()))
    }

    /// The value of the type nearest to `value`: encoded and decoded.
    pub fn round(self, value: f64) -> f64 {
        self.decode(self.encode_f64(value))
    }

    /// The meaning of `code as to`: the code in `to` of the number that `code` stands for in `self`.
    ///
    /// Float to float and integer to float round once. Integer to integer narrows as told. Float to integer truncates and
    /// saturates; with [`Narrowing::Wrap`] and a target narrower than 32 bits it does so to i32, whose low bits are kept.
    pub fn convert(self, code: u64, to: DType, narrowing: Narrowing) -> u64 {
        match (self.kind(), to.kind()) {
            (Kind::Float, Kind::Unsigned | Kind::Signed)
                if narrowing == Narrowing::Wrap && to.bits() < 32 =>
            {
                to.encode_int(i64::from(self.decode(code) as i32), Narrowing::Wrap)
            }
            (Kind::Float, _) => to.encode_f64(self.decode(code)),
            (Kind::Bool | Kind::Unsigned | Kind::Signed, _) => {
                to.encode_i128(self.decode_i128(code), narrowing)
            }
        }
    }
}
