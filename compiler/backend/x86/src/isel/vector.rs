//! The op table on vector registers: one part of a varying value at a time.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::{Pure, Scalar, Value};

use super::arith::IntCompare;
use super::bitwise::Bitwise;
use super::divide::Division;
use super::{Lower, Src, Val, forms};
use crate::mir::{Inst, MASK, Rm, VEC};

impl<'f> Lower<'f> {
    /// A row of the op table on varying operands.
    pub(super) fn varying(&mut self, pure: Pure, args: &'f [Value], result: Value) {
        let parts = self.parts;
        let mut registers: Vec<VReg> = Vec::with_capacity(parts as usize);
        for part in 0..parts {
            // Parts that are the same in all operands have the same result.
            if part > 0 && self.same_parts(args, part) {
                registers.push(registers[0]);
                continue;
            }
            let sources: Vec<Src> = args.iter().map(|&arg| Src::Part(arg, part)).collect();
            registers.push(self.vector(pure, &sources));
        }
        self.set(result, Val::Parts(registers.into()));
    }

    fn same_parts(&self, args: &[Value], part: u32) -> bool {
        args.iter().all(|arg| match &self.values[arg.index()] {
            Val::SplatImm(_) => true,
            Val::Parts(parts) => parts[part as usize] == parts[0],
            Val::Undefined
            | Val::Reg(_)
            | Val::Imm(_)
            | Val::LaneIndex
            | Val::Linear(_)
            | Val::Pending(_)
            | Val::Again(_) => false,
        })
    }

    /// A row of the op table on sources of one register each. The result is a vector, or a mask where
    /// the row gives a bool.
    pub(super) fn vector(&mut self, pure: Pure, args: &[Src]) -> VReg {
        match pure {
            Pure::FAdd => self.binary(forms::ADD_F, args, true),
            Pure::FSub => self.binary(forms::SUB_F, args, false),
            Pure::FMul => self.binary(forms::MUL_F, args, true),
            Pure::FDiv => self.binary(forms::DIV_F, args, false),
            // The instructions return the second operand where the comparison is false: the same rule.
            Pure::FMin => self.binary(forms::MIN_F, args, false),
            Pure::FMax => self.binary(forms::MAX_F, args, false),
            Pure::Fma => self.fma(args),
            Pure::FNeg => self.binary(forms::XOR, &[args[0], Src::Const(1 << 31)], false),
            Pure::FAbs => self.binary(forms::AND, &[args[0], Src::Const(i32::MAX as u32)], false),
            Pure::FSqrt => self.unary(forms::SQRT_F, args[0]),
            Pure::Floor => self.round(args[0], 9),
            Pure::Ceil => self.round(args[0], 10),
            Pure::Trunc => self.round(args[0], 11),
            Pure::Nearest => self.round(args[0], 8),
            Pure::FEq => self.compare_f(args, 0),
            Pure::FNe => self.compare_f(args, 4),
            Pure::FLt => self.compare_f(args, 0x11),
            Pure::FLe => self.compare_f(args, 0x12),
            Pure::IAdd => self.binary(forms::ADD_I, args, true),
            Pure::ISub => self.binary(forms::SUB_I, args, false),
            Pure::IMul => self.multiply(args),
            Pure::IDivS => self.divide(Division::Signed, false, args),
            Pure::IDivU => self.divide(Division::Unsigned, false, args),
            Pure::IRemS => self.divide(Division::Signed, true, args),
            Pure::IRemU => self.divide(Division::Unsigned, true, args),
            Pure::IMinS => self.binary(forms::MIN_S, args, true),
            Pure::IMaxS => self.binary(forms::MAX_S, args, true),
            Pure::IMinU => self.binary(forms::MIN_U, args, true),
            Pure::IMaxU => self.binary(forms::MAX_U, args, true),
            Pure::IAnd => self.bitwise(Bitwise::And, args),
            Pure::IOr => self.bitwise(Bitwise::Or, args),
            Pure::IXor => self.bitwise(Bitwise::Xor, args),
            Pure::Shl => self.shift(forms::SHL_C, forms::SHL_V, args),
            Pure::ShrS => self.shift(forms::SHR_S_C, forms::SHR_S_V, args),
            Pure::ShrU => self.shift(forms::SHR_U_C, forms::SHR_U_V, args),
            Pure::PopCount => self.pop_count(args[0]),
            Pure::IEq => self.compare_i(IntCompare::Equal, args),
            Pure::INe => self.compare_i(IntCompare::NotEqual, args),
            Pure::ILtS => self.compare_i(IntCompare::LessS, args),
            Pure::ILeS => self.compare_i(IntCompare::AtMostS, args),
            Pure::ILtU => self.compare_i(IntCompare::LessU, args),
            Pure::ILeU => self.compare_i(IntCompare::AtMostU, args),
            Pure::I32ToF32 => self.unary(forms::I32_TO_F, args[0]),
            Pure::U32ToF32 => self.u32_to_f32(args[0]),
            Pure::F32ToI32 => self.f32_to_i32(args[0]),
            Pure::F32ToU32 => self.f32_to_u32(args[0]),
            Pure::F32Bits | Pure::F32FromBits => self.source(args[0]),
            Pure::F16ToF32 => {
                let a = self.source(args[0]);
                let half = self.narrow_words(a);
                self.v1(forms::HALF_TO_F, half)
            }
            Pure::F32ToF16 => {
                let a = self.source(args[0]);
                let half = self.half_of(a);
                self.v1(forms::ZX_W, half)
            }
            Pure::F32ToBf16 => {
                let a = self.source(args[0]);
                self.bf16_of(a)
            }
            Pure::BoolToI32 => {
                let mask = self.source_mask(args[0]);
                self.mask_to_vector(mask, 1)
            }
            Pure::Dot4SS => self.dot4([true, true], args),
            Pure::Dot4US => self.dot4([false, true], args),
            Pure::Dot4UU => self.dot4([false, false], args),
            Pure::BAnd => self.mask_binary(C::VEX_Kandw_kr_kr_kr, forms::AND, args),
            Pure::BOr => self.mask_binary(C::VEX_Korw_kr_kr_kr, forms::OR, args),
            Pure::BXor => self.mask_binary(C::VEX_Kxorw_kr_kr_kr, forms::XOR, args),
            Pure::BNot => {
                let mask = self.source_mask(args[0]);
                self.mask_not(mask)
            }
            Pure::Select => self.select(args),
            Pure::LAdd
            | Pure::LSub
            | Pure::LMul
            | Pure::LEq
            | Pure::LLtS
            | Pure::I32ToI64
            | Pure::U32ToI64
            | Pure::I64ToI32 => unreachable!("i64 is uniform"),
        }
    }

    // ---- masks

    /// A bool source as a mask register (V4) or a vector of all-ones (V3).
    pub(super) fn source_mask(&mut self, source: Src) -> VReg {
        match source {
            Src::Const(bits) => self.bool_constant(bits != 0),
            Src::Part(value, part) => self.part(value, part),
            Src::Reg(reg) => reg,
        }
    }

    fn mask_binary(&mut self, k: C, form: forms::Form, args: &[Src]) -> VReg {
        let (a, b) = (self.source_mask(args[0]), self.source_mask(args[1]));
        self.combine_masks(k, form, a, b)
    }

    pub(super) fn combine_masks(&mut self, k: C, form: forms::Form, a: VReg, b: VReg) -> VReg {
        if !self.v4 {
            return self.v2(form, a, b);
        }
        let def = self.vreg(MASK);
        self.emit(Inst::new(k).def(def).reg(a).reg(b));
        def
    }

    /// Lanes on in both.
    pub(super) fn mask_and(&mut self, a: VReg, b: VReg) -> VReg {
        self.combine_masks(C::VEX_Kandw_kr_kr_kr, forms::AND, a, b)
    }

    pub(super) fn mask_not(&mut self, mask: VReg) -> VReg {
        if !self.v4 {
            let ones = self.dword_operand(u32::MAX);
            return self.v2(forms::XOR, mask, ones);
        }
        let def = self.vreg(MASK);
        self.emit(Inst::new(C::VEX_Knotw_kr_kr).def(def).reg(mask));
        def
    }

    /// `bits` where the mask is on, else 0.
    pub(super) fn mask_to_vector(&mut self, mask: VReg, bits: u32) -> VReg {
        if self.v4 {
            let def = self.vreg(VEC);
            if bits == u32::MAX {
                self.emit(Inst::new(C::EVEX_Vpmovm2d_zmm_kr).def(def).reg(mask));
                return def;
            }
            let ones = self.dword(bits);
            let code = C::EVEX_Vmovdqa32_zmm_k1z_zmmm512;
            self.emit(Inst::new(code).def(def).reg(ones).masked(mask, true));
            return def;
        }
        if bits == u32::MAX {
            return mask;
        }
        let bits = self.dword_operand(bits);
        self.v2(forms::AND, mask, bits)
    }

    /// The mask of the lanes whose element has its top bit set.
    pub(super) fn vector_to_mask(&mut self, vector: VReg) -> VReg {
        if !self.v4 {
            return self.v1i(forms::SHR_S_C, vector, 31);
        }
        let def = self.vreg(MASK);
        self.emit(Inst::new(C::EVEX_Vpmovd2m_kr_zmm).def(def).reg(vector));
        def
    }

    /// `mask ? a : b`.
    pub(super) fn blend(&mut self, mask: VReg, a: impl Into<Rm>, b: VReg) -> VReg {
        let def = self.vreg(VEC);
        let inst = if self.v4 {
            Inst::new(C::EVEX_Vpblendmd_zmm_k1z_zmm_zmmm512b32)
                .def(def)
                .reg(b)
                .rm(a.into())
                .masked(mask, false)
        } else {
            Inst::new(C::VEX_Vblendvps_ymm_ymm_ymmm256_ymm).def(def).reg(b).rm(a.into()).reg(mask)
        };
        self.emit(inst);
        def
    }

    fn select(&mut self, args: &[Src]) -> VReg {
        let is_bool = match args[1] {
            Src::Part(value, _) => self.scalar(value) == Scalar::Bool,
            Src::Reg(reg) => reg.class() == MASK,
            Src::Const(_) => false,
        };
        let mask = self.source_mask(args[0]);
        if is_bool && self.v4 {
            let (a, b) = (self.source_mask(args[1]), self.source_mask(args[2]));
            let on = self.mask_and(mask, a);
            let off = self.combine_masks(C::VEX_Kandnw_kr_kr_kr, forms::ANDN, mask, b);
            return self.combine_masks(C::VEX_Korw_kr_kr_kr, forms::OR, on, off);
        }
        if is_bool {
            let (a, b) = (self.source_mask(args[1]), self.source_mask(args[2]));
            return self.blend(mask, a, b);
        }
        let b = self.source(args[2]);
        let a = self.source_rm(args[1]);
        self.blend(mask, a, b)
    }
}
