//! Arithmetic on vector registers: the last source may lie in memory; commuting operands change places
//! where that saves a load.

use iced_x86::Code as C;
use regalloc2::VReg;

use super::uses::User;
use super::{Lower, Src, forms};
use crate::mir::{Inst, MASK, Rm};

impl<'f> Lower<'f> {
    pub(super) fn unary(&mut self, form: forms::Form, a: Src) -> VReg {
        let a = self.source_rm(a);
        self.v1(form, a)
    }

    pub(super) fn binary(&mut self, form: forms::Form, args: &[Src], commutes: bool) -> VReg {
        let (mut a, mut b) = (args[0], args[1]);
        if commutes && self.in_memory(a) && !self.in_memory(b) {
            (a, b) = (b, a);
        }
        let a = self.source(a);
        let b = self.source_rm(b);
        self.v2(form, a, b)
    }

    pub(super) fn round(&mut self, a: Src, mode: i64) -> VReg {
        let a = self.source_rm(a);
        self.v1i(forms::ROUND_F, a, mode)
    }

    /// Whether a source's register is free after this use.
    pub(super) fn dies(&self, source: Src) -> bool {
        match source {
            Src::Part(value, _) => matches!(self.uses.only_user(value), Some(User::Inst(_) | User::Control)),
            Src::Reg(_) | Src::Const(_) => false,
        }
    }

    /// `a * b + c`: in place of `c` where that is an accumulator, else in place of a factor.
    pub(super) fn fma(&mut self, args: &[Src]) -> VReg {
        let (mut a, mut b, c) = (args[0], args[1], args[2]);
        if self.in_memory(a) && !self.in_memory(b) {
            (a, b) = (b, a);
        }
        let factor_in_memory = self.in_memory(b);
        if self.in_memory(c) && !factor_in_memory {
            // Horner's rule with constant coefficients comes here.
            if self.dies(b) && !self.dies(a) {
                (a, b) = (b, a);
            }
            let (a, b) = (self.source(a), self.source(b));
            let c = self.source_rm(c);
            return self.v_tied(forms::FMA213, a, b, c);
        }
        if !factor_in_memory && !self.dies(c) && (self.dies(a) || self.dies(b)) {
            if self.dies(b) {
                (a, b) = (b, a);
            }
            let (a, b, c) = (self.source(a), self.source(b), self.source(c));
            return self.v_tied(forms::FMA213, a, b, c);
        }
        let c = self.source(c);
        let a = self.source(a);
        let b = self.source_rm(b);
        self.v_tied(forms::FMA231, c, a, b)
    }

    pub(super) fn multiply(&mut self, args: &[Src]) -> VReg {
        for (constant, other) in [(args[0], args[1]), (args[1], args[0])] {
            if let Some(factor) = self.source_constant(constant)
                && factor.is_power_of_two()
            {
                let a = self.source(other);
                return self.v1i(forms::SHL_C, a, i64::from(factor.trailing_zeros()));
            }
        }
        self.binary(forms::MUL_I, args, true)
    }

    /// The variable instructions give 0 (or the sign) for counts past 31, so the count is reduced first.
    pub(super) fn shift(&mut self, constant: forms::Form, variable: forms::Form, args: &[Src]) -> VReg {
        if let Some(count) = self.source_constant(args[1]) {
            // Only EVEX shifts what lies in memory by a constant.
            let a = if self.v4 { self.source_rm(args[0]) } else { Rm::Reg(self.source(args[0])) };
            return self.v1i(constant, a, i64::from(count & 31));
        }
        let a = self.source(args[0]);
        let count = self.binary(forms::AND, &[args[1], Src::Const(31)], false);
        self.v2(variable, a, count)
    }

    /// Counts of nibbles by a table in a register, then sums of bytes.
    pub(super) fn pop_count(&mut self, a: Src) -> VReg {
        if self.v4 && self.features.popcnt_vector {
            let a = self.source_rm(a);
            let form = forms::Form {
                v3: C::EVEX_Vpopcntd_zmm_k1z_zmmm512b32,
                v4: C::EVEX_Vpopcntd_zmm_k1z_zmmm512b32,
            };
            return self.v1(form, a);
        }
        let counts: [u8; 16] = std::array::from_fn(|nibble| nibble.count_ones() as u8);
        let table = self.vector_constant(counts.repeat(self.width as usize / 4));
        let a = self.source(a);
        let nibbles = self.dword(0x0f0f_0f0f);
        let low = self.v2(forms::AND, a, nibbles);
        let high = self.v1i(forms::SHR_U_C, a, 4);
        let high = self.v2(forms::AND, high, nibbles);
        let low = self.v2(forms::SHUFFLE_B, table, low);
        let high = self.v2(forms::SHUFFLE_B, table, high);
        let bytes = self.v2(forms::ADD_B, low, high);
        let ones = self.dword(0x0101_0101);
        let words = self.v2(forms::MADD_UB, bytes, ones);
        let ones = self.dword(0x0001_0001);
        self.v2(forms::MADD_W, words, ones)
    }

    pub(super) fn compare_f(&mut self, args: &[Src], predicate: i64) -> VReg {
        let a = self.source(args[0]);
        let b = self.source_rm(args[1]);
        let class = if self.v4 { MASK } else { crate::mir::VEC };
        let (code, def) = (self.code(forms::CMP_F), self.vreg(class));
        self.emit(Inst::new(code).def(def).reg(a).rm(b).imm(predicate));
        def
    }

    pub(super) fn compare_i(&mut self, compare: IntCompare, args: &[Src]) -> VReg {
        use IntCompare::{AtMostS, AtMostU, Equal, LessS, LessU, NotEqual};
        if self.v4 {
            let (signed, unsigned) =
                (C::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, C::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8);
            let (code, predicate) = match compare {
                Equal => (signed, 0),
                NotEqual => (signed, 4),
                LessS => (signed, 1),
                AtMostS => (signed, 2),
                LessU => (unsigned, 1),
                AtMostU => (unsigned, 2),
            };
            let a = self.source(args[0]);
            let b = self.source_rm(args[1]);
            let def = self.vreg(MASK);
            self.emit(Inst::new(code).def(def).reg(a).rm(b).imm(predicate));
            return def;
        }
        // AVX2 has `=` and signed `>`. Unsigned `a <= b` is `min(a, b) = a`.
        let form = |v3| forms::Form { v3, v4: v3 };
        let equal = form(C::VEX_Vpcmpeqd_ymm_ymm_ymmm256);
        let greater = form(C::VEX_Vpcmpgtd_ymm_ymm_ymmm256);
        match compare {
            Equal => self.binary(equal, args, true),
            NotEqual => {
                let equal = self.binary(equal, args, true);
                self.mask_not(equal)
            }
            LessS => self.binary(greater, &[args[1], args[0]], false),
            AtMostS => {
                let greater = self.binary(greater, args, false);
                self.mask_not(greater)
            }
            AtMostU => self.at_most_unsigned(equal, args[0], args[1]),
            LessU => {
                let at_least = self.at_most_unsigned(equal, args[1], args[0]);
                self.mask_not(at_least)
            }
        }
    }

    fn at_most_unsigned(&mut self, equal: forms::Form, low: Src, high: Src) -> VReg {
        let (low, high) = (self.source(low), self.source(high));
        let least = self.v2(forms::MIN_U, low, high);
        self.v2(equal, least, low)
    }
}

/// A comparison of 32-bit integers.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum IntCompare {
    Equal,
    NotEqual,
    LessS,
    AtMostS,
    LessU,
    AtMostU,
}
