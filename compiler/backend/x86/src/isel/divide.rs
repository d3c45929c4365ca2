//! Integer division of vectors, through f64.
//!
//! For `|a|, b < 2^32` the rounded quotient of two doubles truncates to the exact integer quotient: a
//! quotient that is no integer is at least `1 / b` below the next one, and the rounding error is at most
//! `a / b * 2^-53`, which is less. The policies for zero and `MIN / -1` then follow:
//! `MIN / -1 = 2^31` converts to `MIN`, and a zero divisor's quotient is masked to 0, so that
//! `a - q * b` is the remainder in every case.

use iced_x86::Code as C;
use regalloc2::VReg;

use super::{Lower, Src, forms};
use crate::mir::{Inst, Rm, VEC};

/// How the bits of an integer are read.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Division {
    Signed,
    Unsigned,
}

impl<'f> Lower<'f> {
    /// The quotient, or the remainder.
    pub(super) fn divide(&mut self, kind: Division, remainder: bool, args: &[Src]) -> VReg {
        let signed = kind == Division::Signed;
        let constant = self.source_constant(args[1]);
        if let Some(d) = constant
            && d.is_power_of_two()
            && !signed
        {
            if remainder {
                return self.binary(forms::AND, &[args[0], Src::Const(d - 1)], false);
            }
            let a = self.source(args[0]);
            return self.v1i(forms::SHR_U_C, a, i64::from(d.trailing_zeros()));
        }
        let (a, b) = (self.source(args[0]), self.source(args[1]));
        let low = self.half_quotient(signed, a, b);
        let (a_high, b_high) = (self.v1i(forms::HIGH_HALF, a, 1), self.v1i(forms::HIGH_HALF, b, 1));
        let high = self.half_quotient(signed, a_high, b_high);
        let quotient = self.v2i(forms::JOIN_HALVES, low, high, 1);
        let quotient = if constant.is_some_and(|d| d != 0) {
            quotient
        } else {
            let nonzero = self.nonzero(b);
            self.keep(nonzero, quotient)
        };
        if !remainder {
            return quotient;
        }
        let product = self.v2(forms::MUL_I, quotient, b);
        self.v2(forms::SUB_I, a, product)
    }

    /// The vector where the mask is on, else 0.
    pub(super) fn keep(&mut self, mask: VReg, vector: VReg) -> VReg {
        if !self.v4 {
            return self.v2(forms::AND, mask, vector);
        }
        let def = self.vreg(VEC);
        self.emit(Inst::new(C::EVEX_Vmovdqa32_zmm_k1z_zmmm512).def(def).reg(vector).masked(mask, true));
        def
    }

    /// Quotients of the lower half of the elements, in half a register.
    fn half_quotient(&mut self, signed: bool, a: VReg, b: VReg) -> VReg {
        if signed {
            let (a, b) = (self.v1(forms::I32_TO_D, a), self.v1(forms::I32_TO_D, b));
            let quotient = self.v2(forms::DIV_D, a, b);
            return self.v1(forms::D_TO_I32, quotient);
        }
        if self.v4 {
            let wide = |code| forms::Form { v3: code, v4: code };
            let to_double = wide(C::EVEX_Vcvtudq2pd_zmm_k1z_ymmm256b32_er);
            let (a, b) = (self.v1(to_double, a), self.v1(to_double, b));
            let quotient = self.v2(forms::DIV_D, a, b);
            return self.v1(wide(C::EVEX_Vcvttpd2udq_ymm_k1z_zmmm512b64_sae), quotient);
        }
        // AVX2 converts signed integers only: shift the range down before, and up after. Adding 2^52 to a
        // whole number leaves it in the low bits of the double.
        let (a, b) = (self.unsigned_double(a), self.unsigned_double(b));
        let quotient = self.v2(forms::DIV_D, a, b);
        let code = C::VEX_Vroundpd_ymm_ymmm256_imm8;
        let whole = self.v1i(forms::Form { v3: code, v4: code }, quotient, 11);
        let magic = self.doubles(4_503_599_627_370_496.0);
        let bits = self.v2(forms::ADD_D, whole, magic);
        let even: Vec<u8> = self.vector_of(|l| (2 * l) & 7);
        let even = self.vector_constant(even);
        self.v2(forms::PERMUTE, even, bits)
    }

    fn unsigned_double(&mut self, a: VReg) -> VReg {
        let centred = self.binary(forms::XOR, &[Src::Reg(a), Src::Const(1 << 31)], false);
        let double = self.v1(forms::I32_TO_D, centred);
        let offset = self.doubles(2_147_483_648.0);
        self.v2(forms::ADD_D, double, offset)
    }

    fn doubles(&mut self, value: f64) -> Rm {
        let bytes = value.to_le_bytes().repeat(self.width as usize / 2);
        Rm::Reg(self.vector_constant(bytes))
    }
}
