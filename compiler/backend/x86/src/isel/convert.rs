//! Conversions between number kinds, with the policies of the op table.

use iced_x86::Code as C;
use regalloc2::VReg;

use super::{Lower, Src, forms};
use crate::mir::{Inst, MASK, VEC};

/// Predicates of `vcmpps`.
const UNORDERED: i64 = 3;
const ORDERED: i64 = 7;
const AT_LEAST: i64 = 0x1d;

const TWO_TO_31: u32 = 0x4f00_0000;
const TWO_TO_32: u32 = 0x4f80_0000;

impl<'f> Lower<'f> {
    pub(super) fn u32_to_f32(&mut self, a: Src) -> VReg {
        if self.v4 {
            let a = self.source_rm(a);
            let code = C::EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er;
            return self.v1(forms::Form { v3: code, v4: code }, a);
        }
        // Both halves are exact, and the fused multiply-add rounds their sum once.
        let a = self.source(a);
        let high = self.v1i(forms::SHR_U_C, a, 16);
        let low = self.binary(forms::AND, &[Src::Reg(a), Src::Const(0xffff)], false);
        let (high, low) = (self.v1(forms::I32_TO_F, high), self.v1(forms::I32_TO_F, low));
        let weight = self.dword_operand(65536.0_f32.to_bits());
        self.v_tied(forms::FMA231, low, high, weight)
    }

    /// The instruction gives `i32::MIN` for everything out of range; the ends above and NaN are mended.
    pub(super) fn f32_to_i32(&mut self, a: Src) -> VReg {
        let a = self.source(a);
        let too_large = self.compare_f(&[Src::Reg(a), Src::Const(TWO_TO_31)], AT_LEAST);
        let ordered = self.compare_f(&[Src::Reg(a), Src::Reg(a)], ORDERED);
        if self.v4 {
            let def = self.vreg(VEC);
            self.emit(Inst::new(forms::F_TO_I32.v4).def(def).reg(a).masked(ordered, true));
            let max = self.dword_operand(i32::MAX as u32);
            return self.blend(too_large, max, def);
        }
        let truncated = self.v1(forms::F_TO_I32, a);
        let saturated = self.v2(forms::XOR, truncated, too_large);
        self.v2(forms::AND, saturated, ordered)
    }

    pub(super) fn f32_to_u32(&mut self, a: Src) -> VReg {
        // The maximum with zero also turns NaN into zero.
        let a = self.source(a);
        let zero = self.dword(0);
        let a = self.v2(forms::MAX_F, a, zero);
        if self.v4 {
            let code = C::EVEX_Vcvttps2udq_zmm_k1z_zmmm512b32_sae;
            return self.v1(forms::Form { v3: code, v4: code }, a);
        }
        let high = self.compare_f(&[Src::Reg(a), Src::Const(TWO_TO_31)], AT_LEAST);
        let too_large = self.compare_f(&[Src::Reg(a), Src::Const(TWO_TO_32)], AT_LEAST);
        let offset = self.binary(forms::AND, &[Src::Reg(high), Src::Const(TWO_TO_31)], false);
        let low = self.v2(forms::SUB_F, a, offset);
        let low = self.v1(forms::F_TO_I32, low);
        let top = self.v1i(forms::SHL_C, high, 31);
        let joined = self.v2(forms::XOR, low, top);
        self.v2(forms::OR, joined, too_large)
    }

    /// To f16, nearest even; the result fills half a register.
    pub(super) fn half_of(&mut self, a: VReg) -> VReg {
        self.v1i(forms::F_TO_HALF, a, 0)
    }

    /// To bf16 in the low half of each element. In integers, because the hardware's conversion flushes
    /// subnormals. A NaN keeps its upper bits and becomes quiet.
    pub(super) fn bf16_of(&mut self, a: VReg) -> VReg {
        let high = self.v1i(forms::SHR_U_C, a, 16);
        let odd = self.binary(forms::AND, &[Src::Reg(high), Src::Const(1)], false);
        let bias = self.binary(forms::ADD_I, &[Src::Reg(odd), Src::Const(0x7fff)], false);
        let rounded = self.v2(forms::ADD_I, a, bias);
        let rounded = self.v1i(forms::SHR_U_C, rounded, 16);
        let quiet = self.binary(forms::OR, &[Src::Reg(high), Src::Const(0x40)], false);
        let nan = self.compare_f(&[Src::Reg(a), Src::Reg(a)], UNORDERED);
        self.blend(nan, quiet, rounded)
    }

    /// The low 16 bits of each element, packed into half a register.
    pub(super) fn narrow_words(&mut self, a: VReg) -> VReg {
        if self.v4 {
            return self.down_convert(C::EVEX_Vpmovdw_ymmm256_k1z_zmm, a);
        }
        let low = self.binary(forms::AND, &[Src::Reg(a), Src::Const(0xffff)], false);
        self.pack(low)
    }

    /// The low 8 bits of each element, packed into a quarter of a register.
    pub(super) fn narrow_bytes(&mut self, a: VReg) -> VReg {
        if self.v4 {
            return self.down_convert(C::EVEX_Vpmovdb_xmmm128_k1z_zmm, a);
        }
        let low = self.binary(forms::AND, &[Src::Reg(a), Src::Const(0xff)], false);
        let words = self.pack(low);
        let def = self.vreg(VEC);
        self.emit(Inst::new(C::VEX_Vpackuswb_xmm_xmm_xmmm128).def(def).reg(words).reg(words));
        def
    }

    fn down_convert(&mut self, code: C, a: VReg) -> VReg {
        let def = self.vreg(VEC);
        self.emit(Inst::new(code).def(def).reg(a));
        def
    }

    /// Eight 32-bit elements that fit 16 bits, packed.
    fn pack(&mut self, a: VReg) -> VReg {
        let high = self.v1i(forms::HIGH_HALF, a, 1);
        let def = self.vreg(VEC);
        self.emit(Inst::new(C::VEX_Vpackusdw_xmm_xmm_xmmm128).def(def).reg(a).reg(high));
        def
    }

    /// The mask of elements that are not zero.
    pub(super) fn nonzero(&mut self, a: VReg) -> VReg {
        if self.v4 {
            let def = self.vreg(MASK);
            self.emit(Inst::new(C::EVEX_Vptestmd_kr_k1_zmm_zmmm512b32).def(def).reg(a).reg(a));
            return def;
        }
        let zero = self.dword(0);
        let form = forms::Form { v3: C::VEX_Vpcmpeqd_ymm_ymm_ymmm256, v4: C::VEX_Vpcmpeqd_ymm_ymm_ymmm256 };
        let zeros = self.v2(form, a, zero);
        self.mask_not(zeros)
    }
}
