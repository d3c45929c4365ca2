//! Elements as text: integers in decimal, floats in the fewest digits that name the same code.
//!
//! `0.1` in f16 is exactly 0.0999755859375; it prints as `0.1`, since no other f16 is meant by that. But where the exact number
//! is what people know it by, it is printed exactly: in types of up to 8 bits (the largest e4m3 is `448.0`, although `450.0`
//! names it too), and whole numbers below 10^16. Floats always show a point or an exponent, so that `1.0` is seen to be a
//! float; `inf`, `-inf`, `NaN` and `-0.0` are as Rust prints them.

use super::{DType, Kind};

impl DType {
    /// The text of an element, such that reading it as an f64 and encoding gives `code` again (NaN payloads aside).
    pub fn format(self, code: u64) -> String {
        match self.kind() {
            Kind::Bool => (code & 1 == 1).to_string(),
            Kind::Unsigned | Kind::Signed => self.decode_i128(code).to_string(),
            Kind::Float => {
                let value = self.decode(code);
                let known_exactly = self.bits() <= 8 || value.fract() == 0.0 && value.abs() < 1e16;
                if !value.is_finite() || known_exactly {
                    return format!("{value:?}");
                }
                let meant = self.encode_f64(value);
                // 17 significant digits name every f64, so the last attempt is always right.
                let shortest = (0..=15)
                    .filter_map(|digits| format!("{value:.digits$e}").parse::<f64>().ok())
                    .find(|&candidate| self.encode_f64(candidate) == meant);
                format!("{:?}", shortest.unwrap_or(value))
            }
        }
    }
}
