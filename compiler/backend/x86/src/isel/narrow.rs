//! Exact pieces of memory, and loops over lanes: what AVX2 needs where masks of small elements do not
//! exist, and what every level needs to scatter them.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::Mem;

use super::{Lower, forms};
use crate::mir::{Addr, GPR, Inst, Rm, VEC};

impl<'f> Lower<'f> {
    /// Reserves the frame's scratch area. Its uses do not overlap in time.
    pub(super) fn scratch(&mut self, bytes: u32) {
        self.mir.scratch = self.mir.scratch.max(bytes);
    }

    /// Exactly `bytes` bytes into the low end of a vector register (16 at most; AVX2).
    pub(super) fn load_exact(&mut self, addr: Addr, bytes: u32) -> VReg {
        let load = |code| forms::Form { v3: code, v4: code };
        let (mut reg, mut at) = match bytes {
            16.. => return self.v1(load(C::VEX_Vmovups_xmm_xmmm128), Rm::Mem(addr)),
            8.. => (self.v1(load(C::VEX_Vmovq_xmm_rm64), Rm::Mem(addr)), 8),
            4.. => (self.v1(load(C::VEX_Vmovd_xmm_rm32), Rm::Mem(addr)), 4),
            _ => (self.fresh_zero(), 0),
        };
        while at < bytes {
            let (code, size) = match bytes - at {
                4.. if at.is_multiple_of(4) => (C::VEX_Vpinsrd_xmm_xmm_rm32_imm8, 4),
                2.. if at.is_multiple_of(2) => (C::VEX_Vpinsrw_xmm_xmm_r32m16_imm8, 2),
                _ => (C::VEX_Vpinsrb_xmm_xmm_r32m8_imm8, 1),
            };
            let from = Rm::Mem(addr.plus(at as i32));
            reg = self.v2i(load(code), reg, from, i64::from(at / size));
            at += size;
        }
        reg
    }

    /// Exactly `bytes` bytes from the low end of a vector register (16 at most; AVX2).
    pub(super) fn store_exact(&mut self, addr: Addr, reg: VReg, bytes: u32) {
        if bytes >= 16 {
            return self.emit(Inst::new(C::VEX_Vmovups_xmmm128_xmm).mem(addr).reg(reg));
        }
        let mut at = 0;
        while at < bytes {
            let (code, size) = match bytes - at {
                8.. if at == 0 => (C::VEX_Vmovq_xmmm64_xmm, 8),
                4.. if at.is_multiple_of(4) => (C::VEX_Vpextrd_rm32_xmm_imm8, 4),
                2.. if at.is_multiple_of(2) => (C::VEX_Vpextrw_r32m16_xmm_imm8, 2),
                _ => (C::VEX_Vpextrb_r32m8_xmm_imm8, 1),
            };
            let piece = Inst::new(code).mem(addr.plus(at as i32)).reg(reg);
            self.emit(if size == 8 { piece } else { piece.imm(i64::from(at / size)) });
            at += size;
        }
    }

    /// A mask as bits of a general register.
    pub(super) fn lane_bits(&mut self, mask: VReg) -> VReg {
        if self.v4 {
            return self.mask_bits(mask);
        }
        let def = self.vreg(GPR);
        self.emit(Inst::new(C::VEX_Vmovmskps_r32_ymm).def(def).reg(mask));
        def
    }

    /// A whole vector to the scratch area.
    pub(super) fn store_scratch(&mut self, value: VReg, at: i32) {
        let code = self.code(forms::STORE);
        self.emit(Inst::new(code).mem(Addr::frame(at)).reg(value));
    }

    /// An element of 1 or 2 bytes at `base + lane * size`.
    fn lane_addr(base: VReg, lane: VReg, mem: Mem) -> Addr {
        Addr::at(base, 0).indexed(lane, mem.bytes() as u8)
    }

    /// A masked load of 8- or 16-bit elements, lane by lane.
    pub(super) fn load_by_lane(&mut self, mem: Mem, addr: Addr, mask: VReg) -> VReg {
        self.scratch(4 * self.width);
        let zero = self.dword(0);
        self.store_scratch(zero, 0);
        let base = self.address_reg(addr);
        let bits = self.lane_bits(mask);
        self.for_each_bit(bits, |this, lane| {
            let code = match mem {
                Mem::U8 => C::Movzx_r32_rm8,
                Mem::I8 => C::Movsx_r32_rm8,
                Mem::I16 => C::Movsx_r32_rm16,
                Mem::U16 | Mem::F16 | Mem::Bf16 => C::Movzx_r32_rm16,
                Mem::I32 | Mem::F32 => C::Mov_r32_rm32,
            };
            let element = this.gpr_from(code, Rm::Mem(Self::lane_addr(base, lane, mem)));
            let slot = Addr::frame(0).indexed(lane, 4);
            this.emit(Inst::new(C::Mov_rm32_r32).mem(slot).reg(element));
        });
        let elements = self.v1(forms::LOAD, Rm::Mem(Addr::frame(0)));
        self.widen_storage(mem, elements)
    }

    /// A masked store of 8- or 16-bit elements, lane by lane. A bf16 value comes as bits already.
    pub(super) fn store_by_lane(&mut self, mem: Mem, addr: Addr, value: VReg, mask: VReg) {
        self.scratch(4 * self.width);
        let value = if mem == Mem::F16 { self.storage_of(mem, value) } else { value };
        self.store_scratch(value, 0);
        let base = self.address_reg(addr);
        let bits = self.lane_bits(mask);
        self.for_each_bit(bits, |this, lane| {
            let slot = Addr::frame(0).indexed(lane, 4);
            let element = this.gpr_from(C::Mov_r32_rm32, Rm::Mem(slot));
            this.store_element(mem, Self::lane_addr(base, lane, mem), element);
        });
    }

    pub(super) fn store_element(&mut self, mem: Mem, addr: Addr, element: VReg) {
        let code = match mem.bytes() {
            1 => C::Mov_rm8_r8,
            2 => C::Mov_rm16_r16,
            _ => C::Mov_rm32_r32,
        };
        self.emit(Inst::new(code).mem(addr).reg(element));
    }

    /// From extended elements of memory to values: what remains after an integer load.
    fn widen_storage(&mut self, mem: Mem, elements: VReg) -> VReg {
        match mem {
            Mem::F16 => {
                let half = self.narrow_words(elements);
                self.v1(forms::HALF_TO_F, half)
            }
            Mem::Bf16 => self.v1i(forms::SHL_C, elements, 16),
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F32 => elements,
        }
    }

    /// From elements of memory in the low bits of each lane, with anything above, to values.
    pub(super) fn widen_low_bits(&mut self, mem: Mem, elements: VReg) -> VReg {
        let signed = |this: &mut Self, bits: i64| {
            let high = this.v1i(forms::SHL_C, elements, bits);
            this.v1i(forms::SHR_S_C, high, bits)
        };
        match mem {
            Mem::I8 => signed(self, 24),
            Mem::I16 => signed(self, 16),
            Mem::U8 | Mem::U16 => {
                let mask = self.dword_operand(if mem == Mem::U8 { 0xff } else { 0xffff });
                self.v2(forms::AND, elements, mask)
            }
            Mem::F16 | Mem::Bf16 | Mem::I32 | Mem::F32 => self.widen_storage(mem, elements),
        }
    }

    /// Sign-extends a 32-bit element of the scratch area into a general register.
    pub(super) fn scratch_element(&mut self, at: i32, lane: VReg, code: C) -> VReg {
        self.gpr_from(code, Rm::Mem(Addr::frame(at).indexed(lane, 4)))
    }

    /// All-ones in every lane, made here: for instructions that clear their mask.
    pub(super) fn fresh_ones(&mut self) -> VReg {
        if self.v4 {
            let def = self.vreg(crate::mir::MASK);
            self.emit(Inst::new(C::VEX_Kxnorw_kr_kr_kr).def(def).same().same());
            return def;
        }
        let def = self.vreg(VEC);
        self.emit(Inst::new(C::VEX_Vpcmpeqd_ymm_ymm_ymmm256).def(def).same().same());
        def
    }
}
