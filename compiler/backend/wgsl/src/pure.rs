//! Pure operations as WGSL expressions. Operands are names, so an expression may use one several times.

use tvmc_ir::lane::{Pure, Sign};

use crate::emit::Emitter;
use crate::helpers::Helper;

/// 1.5 * 2^23 as bits: floats around it are integers apart, so the bits of `MIDDLE + i` are those of the float 1.5 * 2^23 + i, for
/// `i` below 2^22 either way.
pub(crate) const MIDDLE: u32 = 0x4b40_0000;

impl Emitter<'_> {
    /// A small integer as a float: two additions, where a conversion takes a quarter-rate instruction on most GPUs. Not for terms of sums: WGSL allows to
    /// add the constants of a chain first, and 12582912 - 0.5 is no float.
    pub(crate) fn small_to_float(&self, a: &str) -> String {
        format!("bitcast<f32>({a} + {MIDDLE:#x}u) - 12582912.0f")
    }

    /// The expression of a row of the op table.
    pub(crate) fn pure(&mut self, op: Pure, args: &[&str]) -> String {
        // the verifier has checked the number of operands; a missing one would show as invalid WGSL
        let arg = |at: usize| args.get(at).copied().unwrap_or("");
        let (a, b, c) = (arg(0), arg(1), arg(2));
        let infix = |operator: &str| format!("{a} {operator} {b}");
        let signed = |operator: &str| format!("i32({a}) {operator} i32({b})");
        let call = |name: &str| format!("{name}({})", args.join(", "));
        match op {
            Pure::FAdd | Pure::IAdd => infix("+"),
            Pure::FSub | Pure::ISub => infix("-"),
            Pure::FMul | Pure::IMul => infix("*"),
            Pure::FDiv => self.call(Helper::Div, "f_div", args),
            Pure::Fma if self.limits.fused_fma => call("fma"),
            Pure::Fma => self.call(Helper::Fma, "fma_exact", args),
            Pure::FNeg => format!("-{a}"),
            Pure::FAbs => call("abs"),
            Pure::FSqrt => call("sqrt"),
            Pure::FMin => format!("select({b}, {a}, {a} < {b})"),
            Pure::FMax => format!("select({b}, {a}, {a} > {b})"),
            Pure::Floor => call("floor"),
            Pure::Ceil => call("ceil"),
            Pure::Trunc => call("trunc"),
            Pure::Nearest => call("round"),
            Pure::FEq | Pure::IEq => infix("=="),
            // `!=` on floats becomes an ordered comparison, false for NaN
            Pure::FNe => format!("!({a} == {b})"),
            Pure::FLt | Pure::ILtU => infix("<"),
            Pure::FLe | Pure::ILeU => infix("<="),
            Pure::IDivS => self.call(Helper::DivS, "div_s", args),
            Pure::IDivU => self.call(Helper::DivU, "div_u", args),
            Pure::IRemS => self.call(Helper::RemS, "rem_s", args),
            Pure::IRemU => self.call(Helper::RemU, "rem_u", args),
            Pure::IMinS => format!("u32(min(i32({a}), i32({b})))"),
            Pure::IMaxS => format!("u32(max(i32({a}), i32({b})))"),
            Pure::IMinU => call("min"),
            Pure::IMaxU => call("max"),
            Pure::IAnd | Pure::BAnd => infix("&"),
            Pure::IOr | Pure::BOr => infix("|"),
            Pure::IXor => infix("^"),
            Pure::Shl => format!("{a} << ({b} & 31u)"),
            Pure::ShrS => format!("u32(i32({a}) >> ({b} & 31u))"),
            Pure::ShrU => format!("{a} >> ({b} & 31u)"),
            Pure::PopCount => call("countOneBits"),
            Pure::INe | Pure::BXor => infix("!="),
            Pure::ILtS => signed("<"),
            Pure::ILeS => signed("<="),
            Pure::I32ToF32 => format!("f32(i32({a}))"),
            Pure::U32ToF32 => call("f32"),
            Pure::F32ToI32 => self.call(Helper::F32ToI32, "f32_to_i32", args),
            Pure::F32ToU32 => self.call(Helper::F32ToU32, "f32_to_u32", args),
            Pure::F32Bits => call("bitcast<u32>"),
            Pure::F32FromBits => call("bitcast<f32>"),
            Pure::F16ToF32 => self.half_to_float(a),
            Pure::F32ToF16 => self.call(Helper::F32ToF16, "f32_to_f16", args),
            Pure::F32ToBf16 => self.call(Helper::F32ToBf16, "f32_to_bf16", args),
            Pure::BoolToI32 => format!("select(0u, 1u, {a})"),
            Pure::Dot4SS => format!("{c} + u32(dot4I8Packed({a}, {b}))"),
            Pure::Dot4US => format!("{c} + {}", self.call(Helper::Dot4US, "dot4_us", &[a, b])),
            Pure::Dot4UU => format!("{c} + dot4U8Packed({a}, {b})"),
            Pure::BNot => format!("!{a}"),
            Pure::Select => format!("select({c}, {b}, {a})"),
            Pure::LAdd => self.call(Helper::LAdd, "l_add", args),
            Pure::LSub => self.call(Helper::LSub, "l_sub", args),
            Pure::LMul => self.call(Helper::LMul, "l_mul", args),
            Pure::LEq => format!("all({a} == {b})"),
            Pure::LLtS => self.call(Helper::LLtS, "l_lt_s", args),
            Pure::I32ToI64 => format!("vec2<u32>({a}, u32(i32({a}) >> 31u))"),
            Pure::U32ToI64 => format!("vec2<u32>({a}, 0u)"),
            Pure::I64ToI32 => format!("{a}.x"),
        }
    }

    /// The f32 of the f16 in the low half of a word; exact either way, the built-in is one instruction.
    pub(crate) fn half_to_float(&mut self, word: &str) -> String {
        if self.limits.f16_in_f32 {
            format!("unpack2x16float({word}).x")
        } else {
            self.call(Helper::F16ToF32, "f16_to_f32", &[word])
        }
    }

    /// A call of a prelude function, which is then included.
    pub(crate) fn call(&mut self, helper: Helper, name: &str, args: &[&str]) -> String {
        self.helpers.insert(helper);
        format!("{name}({})", args.join(", "))
    }

    /// Spreads four `bits`-wide codes in the low bits of `word` to the four bytes of the result: first the upper
    /// pair to the upper half, then the upper code of each pair to the upper byte, then sign extension by bytes.
    pub(crate) fn spread(&mut self, word: &str, bits: u32, sign: Sign) -> String {
        if bits == 8 {
            return word.to_owned();
        }
        let code = (1u32 << bits) - 1;
        let pair = (1u32 << (2 * bits)) - 1;
        let pairs = self.let_u32(&format!(
            "({word} & {pair:#x}u) | (({word} & {:#x}u) << {}u)",
            pair << (2 * bits),
            16 - 2 * bits
        ));
        let low = code | code << 16;
        let bytes = self.let_u32(&format!(
            "({pairs} & {low:#x}u) | (({pairs} & {:#x}u) << {}u)",
            low << bits,
            8 - bits
        ));
        match sign {
            Sign::Unsigned => bytes,
            Sign::Signed => {
                // per byte: (x ^ s) - s, with the top bit set meanwhile so that no borrow leaves the byte
                let s = (1u32 << (bits - 1)) * 0x0101_0101;
                self.let_u32(&format!("((({bytes} ^ {s:#x}u) | 0x80808080u) - {s:#x}u) ^ 0x80808080u"))
            }
        }
    }

    /// Four codes of the string `low | high << 32` from bit `offset`.
    pub(crate) fn unpack(&mut self, low: &str, high: &str, bits: u32, offset: u32, sign: Sign) -> String {
        let word = if offset == 0 {
            low.to_owned()
        } else if offset >= 32 {
            self.let_u32(&format!("{high} >> {}u", offset - 32))
        } else if offset + 4 * bits <= 32 {
            self.let_u32(&format!("{low} >> {offset}u"))
        } else {
            self.let_u32(&format!("({low} >> {offset}u) | ({high} << {}u)", 32 - offset))
        };
        self.spread(&word, bits, sign)
    }
}
