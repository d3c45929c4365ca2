//! f16 and bf16 by integer arithmetic, exact on every target (Cranelift has no f16 arithmetic), and a
//! correctly rounded `fma` for processors without one.
//!
//! f16 to f32 moves exponent and mantissa into place and corrects the exponent's bias by a constant;
//! subnormals are normalised by one exact float subtraction. f32 to f16 rounds to nearest even: normal
//! results by an integer addition whose carry moves into the exponent (and to infinity), subnormal ones by
//! a float addition that lets the adder round.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::translate::Translator;
use crate::words::Shape;

impl Translator<'_> {
    /// The f16 in the low 16 bits as f32; what is above them is ignored.
    pub fn f16_to_f32(&mut self, shape: Shape, half: Value) -> Value {
        const EXPONENT: i32 = 0x7c00 << 13;
        const REBIAS: i32 = (127 - 15) << 23;
        // 2^-14 as a float: what a subnormal is too large by, once its exponent is one.
        const LEAST_NORMAL: i32 = 113 << 23;
        let magnitude = self.mask(shape, half, 0x7fff);
        let moved = self.shl(magnitude, 13);
        let exponent = self.mask(shape, moved, EXPONENT.cast_unsigned());
        let rebias = self.int(shape, REBIAS);
        let normal = self.b.ins().iadd(moved, rebias);

        let special = self.b.ins().iadd(normal, rebias);
        let ones = self.int(shape, EXPONENT);
        let is_special = self.b.ins().icmp(IntCC::Equal, exponent, ones);
        let out = self.choose(shape, is_special, special, normal);

        let least = self.int(shape, LEAST_NORMAL);
        let raised = self.b.ins().iadd(moved, least);
        let (raised, least) = (self.cast(shape.float(), raised), self.cast(shape.float(), least));
        let subnormal = self.b.ins().fsub(raised, least);
        let subnormal = self.cast(shape.int(), subnormal);
        let zero = self.int(shape, 0);
        let is_subnormal = self.b.ins().icmp(IntCC::Equal, exponent, zero);
        let out = self.choose(shape, is_subnormal, subnormal, out);

        let sign = self.mask(shape, half, 0x8000);
        let sign = self.shl(sign, 16);
        let out = self.b.ins().bor(out, sign);
        self.cast(shape.float(), out)
    }

    /// f32 to the f16 in the low 16 bits.
    pub fn f32_to_f16(&mut self, shape: Shape, float: Value) -> Value {
        const INFINITY: i32 = 0x7f80_0000;
        // 2^16: all from here on is infinity (65520 and more reach it by the carry of rounding).
        const TOO_LARGE: i32 = (127 + 16) << 23;
        const LEAST_NORMAL: i32 = 113 << 23;
        // 2^-1: adding it puts the last bit of an f16 subnormal in the last place of the sum.
        const SUBNORMAL_MAGIC: i32 = 126 << 23;
        let bits = self.cast(shape.int(), float);
        let magnitude = self.mask(shape, bits, 0x7fff_ffff);

        let odd = self.shr(magnitude, 13);
        let odd = self.mask(shape, odd, 1);
        let bias = self.int(shape, 0xfff - ((127 - 15) << 23));
        let rounded = self.b.ins().iadd(magnitude, bias);
        let rounded = self.b.ins().iadd(rounded, odd);
        let normal = self.shr(rounded, 13);

        let magic = self.int(shape, SUBNORMAL_MAGIC);
        let (small, magic_float) = (self.cast(shape.float(), magnitude), self.cast(shape.float(), magic));
        let sum = self.b.ins().fadd(small, magic_float);
        let sum = self.cast(shape.int(), sum);
        let subnormal = self.b.ins().isub(sum, magic);
        let limit = self.int(shape, LEAST_NORMAL);
        let is_subnormal = self.b.ins().icmp(IntCC::SignedLessThan, magnitude, limit);
        let finite = self.choose(shape, is_subnormal, subnormal, normal);

        let infinity = self.int(shape, INFINITY);
        let is_nan = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        let (nan, inf) = (self.int(shape, 0x7e00), self.int(shape, 0x7c00));
        let special = self.choose(shape, is_nan, nan, inf);
        let limit = self.int(shape, TOO_LARGE);
        let is_special = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, magnitude, limit);
        let out = self.choose(shape, is_special, special, finite);

        let sign = self.shr(bits, 16);
        let sign = self.mask(shape, sign, 0x8000);
        self.b.ins().bor(out, sign)
    }

    /// f32 to the bf16 in the low 16 bits.
    pub fn f32_to_bf16(&mut self, shape: Shape, float: Value) -> Value {
        let bits = self.cast(shape.int(), float);
        let high = self.shr(bits, 16);
        let odd = self.mask(shape, high, 1);
        let half = self.int(shape, 0x7fff);
        let sum = self.b.ins().iadd(bits, half);
        let sum = self.b.ins().iadd(sum, odd);
        let rounded = self.shr(sum, 16);
        let quiet_bit = self.int(shape, 0x40);
        let quiet = self.b.ins().bor(high, quiet_bit);
        let magnitude = self.mask(shape, bits, 0x7fff_ffff);
        let infinity = self.int(shape, 0x7f80_0000);
        let is_nan = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        self.choose(shape, is_nan, quiet, rounded)
    }

    /// bf16 in the low 16 bits (zeros or copies above) to f32.
    pub fn bf16_to_f32(&mut self, shape: Shape, half: Value) -> Value {
        let bits = self.shl(half, 16);
        self.cast(shape.float(), bits)
    }

    /// `a * b + c` of scalars, rounded once, through f64.
    ///
    /// The product of two f32 is exact in f64. The sum is rounded to odd: where it was inexact, and its last
    /// bit is even, it moves one place towards the exact sum. With 53 bits against 24, the final rounding
    /// then gives what one rounding would.
    pub fn fma_of_f64(&mut self, a: Value, b: Value, c: Value) -> Value {
        let a = self.b.ins().fpromote(types::F64, a);
        let b = self.b.ins().fpromote(types::F64, b);
        let c = self.b.ins().fpromote(types::F64, c);
        let product = self.b.ins().fmul(a, b);
        let sum = self.b.ins().fadd(product, c);
        // The exact error of the sum, as product and c may be of any two sizes.
        let part = self.b.ins().fsub(sum, product);
        let rest = self.b.ins().fsub(sum, part);
        let lost_product = self.b.ins().fsub(product, rest);
        let lost_c = self.b.ins().fsub(c, part);
        let error = self.b.ins().fadd(lost_product, lost_c);

        let zero = self.b.ins().f64const(0.0);
        let bits = self.cast(types::I64, sum);
        let one = self.long(1);
        let last = self.b.ins().band(bits, one);
        let long_zero = self.long(0);
        let even = self.b.ins().icmp(IntCC::Equal, last, long_zero);
        // Ordered: infinities and NaN leave a NaN here and stay as they are.
        let inexact = self.b.ins().fcmp(FloatCC::OrderedNotEqual, error, zero);
        let moves = self.b.ins().band(even, inexact);
        let error_up = self.b.ins().fcmp(FloatCC::GreaterThan, error, zero);
        let sum_up = self.b.ins().fcmp(FloatCC::GreaterThan, sum, zero);
        let apart = self.b.ins().bxor(error_up, sum_up);
        let minus = self.long(-1);
        let direction = self.b.ins().select(apart, minus, one);
        let step = self.b.ins().select(moves, direction, long_zero);
        let odd = self.b.ins().iadd(bits, step);
        let odd = self.cast(types::F64, odd);
        self.b.ins().fdemote(types::F32, odd)
    }
}
