//! The code that stores a value of a dtype: the inverse of what `stored` decodes, by the rules of `types::dtype::codec`.
//!
//! ```text
//! -1.5 as e2m1      1 01 1        the nearest number, ties to the even mantissa
//! 7 as u3           111
//! ```

use crate::lower::Lowering;
use tvmc_ir::lane::{self, Pure};
use tvmc_types::dtype::{DType, Kind, Rule};

impl Lowering<'_> {
    /// The storage code of a value of this dtype, its upper bits zero.
    pub(crate) fn code_of(&mut self, value: lane::Value, dtype: DType) -> lane::Value {
        match dtype.kind() {
            Kind::Bool => self.emit.pure(Pure::BoolToI32, &[value]),
            Kind::Unsigned | Kind::Signed => self.extend_bits(value, dtype.bits(), false),
            Kind::Float if dtype == DType::F16 => self.emit.pure(Pure::F32ToF16, &[value]),
            Kind::Float if dtype == DType::BF16 => self.emit.pure(Pure::F32ToBf16, &[value]),
            Kind::Float if dtype.bits() >= 32 => self.emit.pure(Pure::F32Bits, &[value]),
            Kind::Float => self.small_float_code(value, dtype),
        }
    }

    /// The code of the nearest number of a float type of at most 8 bits, by the rules of `types::dtype::codec`.
    ///
    /// Normal numbers round on the bits of the f32, where a carry runs from mantissa to exponent; below the least normal number the value is a
    /// multiple of the least subnormal, which rounds as an integer.
    fn small_float_code(&mut self, value: lane::Value, dtype: DType) -> lane::Value {
        let row = dtype.row();
        let (mantissa, bias) = (row.mantissa, row.bias);
        let bits = self.emit.pure(Pure::F32Bits, &[value]);
        let unsigned = self.emit.i32(i32::MAX);
        let size = self.emit.pure(Pure::IAnd, &[bits, unsigned]);
        let drop = 23 - mantissa;
        let shift = self.emit.i32(drop as i32);
        let kept = self.emit.pure(Pure::ShrU, &[size, shift]);
        let one = self.emit.i32(1);
        let odd = self.emit.pure(Pure::IAnd, &[kept, one]);
        let half = self.emit.i32((1 << (drop - 1)) - 1);
        let raised = self.emit.pure(Pure::IAdd, &[size, half]);
        let raised = self.emit.pure(Pure::IAdd, &[raised, odd]);
        let kept = self.emit.pure(Pure::ShrU, &[raised, shift]);
        let rebias = self.emit.i32((127 - bias) << mantissa);
        let normal = self.emit.pure(Pure::ISub, &[kept, rebias]);
        let small = if row.rule == Rule::Scale {
            // 2^-127 is code 0 and half way to code 1 rounds to even.
            let limit = self.emit.i32(0x0060_0000);
            let tiny = self.emit.pure(Pure::ILeU, &[size, limit]);
            let zero = self.emit.i32(0);
            self.emit.pure(Pure::Select, &[tiny, zero, normal])
        } else {
            let least = self.emit.i32((128 - bias) << 23);
            let subnormal = self.emit.pure(Pure::ILtU, &[size, least]);
            let magnitude = self.emit.pure(Pure::FAbs, &[value]);
            let scale = self.emit.f32(2f32.powi(bias - 1 + mantissa as i32));
            let steps = self.emit.pure(Pure::FMul, &[magnitude, scale]);
            let steps = self.emit.pure(Pure::Nearest, &[steps]);
            let steps = self.emit.pure(Pure::F32ToI32, &[steps]);
            self.emit.pure(Pure::Select, &[subnormal, steps, normal])
        };
        let above = |code: u64| code as i32;
        let largest = dtype.encode_f64(dtype.max());
        let limit = self.emit.i32(above(largest));
        let over = self.emit.pure(Pure::ILtS, &[limit, small]);
        let beyond = self.emit.i32(above(dtype.infinity_code(false).unwrap_or(largest)));
        let mut code = self.emit.pure(Pure::Select, &[over, beyond, small]);
        let zero = self.emit.i32(0);
        let negative = self.emit.pure(Pure::ILtS, &[bits, zero]);
        if row.signed {
            let sign = self.emit.i32(1 << (row.bits - 1));
            let sign = self.emit.pure(Pure::Select, &[negative, sign, zero]);
            code = self.emit.pure(Pure::IOr, &[code, sign]);
        } else {
            code = self.emit.pure(Pure::Select, &[negative, zero, code]);
        }
        let infinite = self.emit.i32(0x7f80_0000);
        let nan = self.emit.pure(Pure::ILtU, &[infinite, size]);
        let nan_code = self.emit.i32(above(dtype.nan_code().unwrap_or(0)));
        self.emit.pure(Pure::Select, &[nan, nan_code, code])
    }
}
