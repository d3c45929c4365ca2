//! The op table: each row on one word (uniform operands) or on a vector of four (varying ones).
//!
//! Rows without a vector instruction (division, shifts by a count per lane, `fma` on processors without
//! it) are applied lane by lane. A row is emitted once for vectors whose operands are the same, which is
//! how arithmetic on splats stays cheap.
//!
//! The total-function policies of the table are made here: a divisor of zero, or of -1 under the least
//! integer, is replaced by 1 before the machine's division sees it.

use std::rc::Rc;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use tvmc_ir::lane::{Inst, Pure};

use crate::translate::{Held, Translator};
use crate::words::Shape;

impl Translator<'_> {
    /// A row on its operands.
    pub fn pure(&mut self, op: Pure, inst: &Inst) -> Held {
        if !self.varies(inst.args[0]) {
            let args: Vec<Value> = inst.args.iter().map(|arg| self.uniform(*arg)).collect();
            return Held::Uniform(self.row(op, Shape::Scalar, &args));
        }
        let args: Vec<Rc<[Value]>> = inst.args.iter().map(|arg| self.varying(*arg)).collect();
        if self.is_by_lane(op, &args) {
            let operands: Vec<&[Value]> = args.iter().map(|arg| &**arg).collect();
            let result = if op == Pure::Fma { Shape::Vector.float() } else { Shape::Vector.int() };
            let out = self.map_lanes(&operands, result, |this, lane| this.row(op, Shape::Scalar, lane));
            return Held::Varying(out.into());
        }
        let mut out: Vec<Value> = Vec::with_capacity(self.chunks());
        for chunk in 0..self.chunks() {
            let same = chunk > 0 && args.iter().all(|arg| arg[chunk] == arg[chunk - 1]);
            let value = if same {
                out[chunk - 1]
            } else {
                let operands: Vec<Value> = args.iter().map(|arg| arg[chunk]).collect();
                self.row(op, Shape::Vector, &operands)
            };
            out.push(value);
        }
        Held::Varying(out.into())
    }

    /// Whether a row on varying operands must be taken apart.
    fn is_by_lane(&self, op: Pure, args: &[Rc<[Value]>]) -> bool {
        let divides = matches!(op, Pure::IDivS | Pure::IDivU | Pure::IRemS | Pure::IRemU);
        let shifts = matches!(op, Pure::Shl | Pure::ShrS | Pure::ShrU);
        let by_lane_count = || args[1].iter().any(|count| !self.splats.contains_key(count));
        divides || (shifts && by_lane_count()) || (op == Pure::Fma && !self.target.fused)
    }

    /// One row on one word or vector.
    pub fn row(&mut self, op: Pure, shape: Shape, args: &[Value]) -> Value {
        let (int, float) = (shape.int(), shape.float());
        let a = args[0];
        let b = args.get(1).copied().unwrap_or(a);
        let c = args.get(2).copied().unwrap_or(a);
        match op {
            Pure::FAdd => self.b.ins().fadd(a, b),
            Pure::FSub => self.b.ins().fsub(a, b),
            Pure::FMul => self.b.ins().fmul(a, b),
            Pure::FDiv => self.b.ins().fdiv(a, b),
            Pure::Fma if self.target.fused => self.b.ins().fma(a, b, c),
            Pure::Fma => self.fma_of_f64(a, b, c),
            Pure::FNeg => self.b.ins().fneg(a),
            Pure::FAbs => self.b.ins().fabs(a),
            Pure::FSqrt => self.b.ins().sqrt(a),
            Pure::FMin => {
                let below = self.b.ins().fcmp(FloatCC::LessThan, a, b);
                self.choose(shape, below, a, b)
            }
            Pure::FMax => {
                let above = self.b.ins().fcmp(FloatCC::LessThan, b, a);
                self.choose(shape, above, a, b)
            }
            Pure::Floor => self.b.ins().floor(a),
            Pure::Ceil => self.b.ins().ceil(a),
            Pure::Trunc => self.b.ins().trunc(a),
            Pure::Nearest => self.b.ins().nearest(a),
            Pure::FEq => self.b.ins().fcmp(FloatCC::Equal, a, b),
            Pure::FNe => self.b.ins().fcmp(FloatCC::NotEqual, a, b),
            Pure::FLt => self.b.ins().fcmp(FloatCC::LessThan, a, b),
            Pure::FLe => self.b.ins().fcmp(FloatCC::LessThanOrEqual, a, b),
            Pure::IAdd | Pure::LAdd => self.b.ins().iadd(a, b),
            Pure::ISub | Pure::LSub => self.b.ins().isub(a, b),
            Pure::IMul | Pure::LMul => self.b.ins().imul(a, b),
            Pure::IDivS => self.divide(true, false, a, b),
            Pure::IDivU => self.divide(false, false, a, b),
            Pure::IRemS => self.divide(true, true, a, b),
            Pure::IRemU => self.divide(false, true, a, b),
            Pure::IMinS => self.b.ins().smin(a, b),
            Pure::IMaxS => self.b.ins().smax(a, b),
            Pure::IMinU => self.b.ins().umin(a, b),
            Pure::IMaxU => self.b.ins().umax(a, b),
            Pure::IAnd | Pure::BAnd => self.b.ins().band(a, b),
            Pure::IOr | Pure::BOr => self.b.ins().bor(a, b),
            Pure::IXor | Pure::BXor => self.b.ins().bxor(a, b),
            // CLIF takes counts modulo the width of a lane.
            Pure::Shl => {
                let count = self.count_of(b);
                self.b.ins().ishl(a, count)
            }
            Pure::ShrS => {
                let count = self.count_of(b);
                self.b.ins().sshr(a, count)
            }
            Pure::ShrU => {
                let count = self.count_of(b);
                self.b.ins().ushr(a, count)
            }
            Pure::PopCount => match shape {
                Shape::Scalar => self.b.ins().popcnt(a),
                Shape::Vector => {
                    let bytes = self.cast(types::I8X16, a);
                    let counts = self.b.ins().popcnt(bytes);
                    let mut sum = self.cast(int, counts);
                    for distance in [8, 16] {
                        let other = self.shr(sum, distance);
                        sum = self.b.ins().iadd(sum, other);
                    }
                    self.mask(shape, sum, 0x3f)
                }
            },
            Pure::IEq | Pure::LEq => self.b.ins().icmp(IntCC::Equal, a, b),
            Pure::INe => self.b.ins().icmp(IntCC::NotEqual, a, b),
            Pure::ILtS | Pure::LLtS => self.b.ins().icmp(IntCC::SignedLessThan, a, b),
            Pure::ILeS => self.b.ins().icmp(IntCC::SignedLessThanOrEqual, a, b),
            Pure::ILtU => self.b.ins().icmp(IntCC::UnsignedLessThan, a, b),
            Pure::ILeU => self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, a, b),
            Pure::I32ToF32 => self.b.ins().fcvt_from_sint(float, a),
            Pure::U32ToF32 => self.b.ins().fcvt_from_uint(float, a),
            Pure::F32ToI32 => self.b.ins().fcvt_to_sint_sat(int, a),
            Pure::F32ToU32 => self.b.ins().fcvt_to_uint_sat(int, a),
            Pure::F32Bits => self.cast(int, a),
            Pure::F32FromBits => self.cast(float, a),
            Pure::F16ToF32 => self.f16_to_f32(shape, a),
            Pure::F32ToF16 => self.f32_to_f16(shape, a),
            Pure::F32ToBf16 => self.f32_to_bf16(shape, a),
            Pure::BoolToI32 => match shape {
                Shape::Scalar => self.b.ins().uextend(types::I32, a),
                Shape::Vector => self.shr(a, 31),
            },
            Pure::Dot4SS | Pure::Dot4US | Pure::Dot4UU => self.dot4(op, shape, a, b, c),
            Pure::BNot => match shape {
                Shape::Scalar => {
                    let one = self.b.ins().iconst(types::I8, 1);
                    self.b.ins().bxor(a, one)
                }
                Shape::Vector => self.b.ins().bnot(a),
            },
            Pure::Select => self.choose(shape, a, b, c),
            Pure::I32ToI64 => self.b.ins().sextend(types::I64, a),
            Pure::U32ToI64 => self.b.ins().uextend(types::I64, a),
            Pure::I64ToI32 => self.b.ins().ireduce(types::I32, a),
        }
    }

    /// A shift's count as a scalar.
    fn count_of(&self, count: Value) -> Value {
        self.splats.get(&count).copied().unwrap_or(count)
    }

    /// Quotient or remainder of two words, made total.
    fn divide(&mut self, signed: bool, remainder: bool, a: Value, b: Value) -> Value {
        let zero = self.int(Shape::Scalar, 0);
        let one = self.int(Shape::Scalar, 1);
        let by_zero = self.b.ins().icmp(IntCC::Equal, b, zero);
        let mut replaced = by_zero;
        if signed {
            let least = self.int(Shape::Scalar, i32::MIN);
            let minus = self.int(Shape::Scalar, -1);
            let is_least = self.b.ins().icmp(IntCC::Equal, a, least);
            let is_minus = self.b.ins().icmp(IntCC::Equal, b, minus);
            let overflows = self.b.ins().band(is_least, is_minus);
            replaced = self.b.ins().bor(by_zero, overflows);
        }
        // By 1 the quotient is `a`, right for MIN / -1, and the remainder 0, right for MIN % -1.
        let divisor = self.b.ins().select(replaced, one, b);
        let (result, at_zero) = match (signed, remainder) {
            (true, false) => (self.b.ins().sdiv(a, divisor), zero),
            (false, false) => (self.b.ins().udiv(a, divisor), zero),
            (true, true) => (self.b.ins().srem(a, divisor), a),
            (false, true) => (self.b.ins().urem(a, divisor), a),
        };
        self.b.ins().select(by_zero, at_zero, result)
    }
}
