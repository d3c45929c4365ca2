//! Gathers and scatters.
//!
//! The hardware gathers 32-bit elements. For smaller ones the aligned 32-bit word around each element is
//! gathered and the element shifted out of it: with `m` elements to a word and the base index `E`,
//!
//! ```text
//! r = E mod m                         (the word of E starts r elements earlier)
//! word  = (off >> log2 m) + ((off mod m + r) >> log2 m)
//! place = (off mod m + r) mod m
//! ```
//!
//! which cannot overflow. A word around an element lies within the buffer's padded allocation. Where base and offsets are known modulo `m` (see
//! `residues`), so is the place: the word is `m` elements from `E + off - place` on, and neighbouring elements come out of one gather.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::{Access, Mem, Place, Value};

use super::{Hoist, Key, Lower, Src, forms};
use crate::mir::{Addr, Inst, MASK, Rm, VEC};

impl<'f> Lower<'f> {
    /// 32-bit elements at `addr + scale * index` of the lanes in the mask (`None`: all `P`); 0 elsewhere.
    pub(super) fn gather_words(&mut self, addr: Addr, index: VReg, scale: u8, mask: Option<VReg>) -> VReg {
        let mask = match mask {
            Some(mask) => mask,
            None => self.fresh_ones(),
        };
        let (zero, def) = (self.fresh_zero(), self.vreg(VEC));
        let addr = addr.indexed(index, scale);
        let inst = if self.v4 {
            let cleared = self.vreg(MASK);
            Inst::new(forms::GATHER.v4).tied(def, zero).mem(addr).consuming(cleared, mask)
        } else {
            let cleared = self.vreg(VEC);
            Inst::new(forms::GATHER.v3).tied(def, zero).mem(addr).tied(cleared, mask)
        };
        self.emit(inst);
        def
    }

    pub(super) fn gather(
        &mut self,
        mem: Mem,
        place: Place,
        base: Value,
        offset: Value,
        mask: Option<Value>,
        result: Value,
    ) {
        let addr = self.address(place, base, mem.bytes());
        let addr = self.without_index(addr);
        let log = match mem.bytes() {
            4 => {
                return self.set_parts(result, |this, part| {
                    let index = this.part(offset, part);
                    let mask = this.part_mask(mask, part);
                    this.gather_words(addr, index, 4, mask)
                });
            }
            2 => 1,
            _ => 2,
        };
        if let Some(part_of_word) = self.part_of_word(place, base, offset, log) {
            let read_only = match place {
                Place::Buffer(buffer) => self.f.buffers[buffer.index()].access == Access::Read,
                Place::Arena(_) => false,
            };
            let size = mem.bytes() as u8;
            let addr = addr.plus(-((part_of_word * mem.bytes()) as i32));
            return self.set_parts(result, |this, part| {
                let index = this.part(offset, part);
                let mask = this.part_mask(mask, part);
                let words = if read_only {
                    this.shared_words(addr, index, size, mask)
                } else {
                    this.gather_words(addr, index, size, mask)
                };
                let bits = i64::from(8 * part_of_word * mem.bytes());
                let elements = if bits == 0 { words } else { this.v1i(forms::SHR_U_C, words, bits) };
                this.widen_low_bits(mem, elements)
            });
        }
        let per_word = 1_u32 << log;
        let pointer = self.address_reg(addr);
        let before = self.tied_imm(C::And_rm32_imm8, pointer, 3);
        let before = self.tied_imm(C::Shr_rm32_imm8, before, i64::from(2 - log));
        let before = self.broadcast_gpr(before);
        let aligned = self.tied_imm(C::And_rm64_imm8, pointer, -4);
        self.set_parts(result, |this, part| {
            let index = this.part(offset, part);
            let mask = this.part_mask(mask, part);
            let low = this.binary(forms::AND, &[Src::Reg(index), Src::Const(per_word - 1)], false);
            let low = this.v2(forms::ADD_I, low, before);
            let (word, carry) = (
                this.v1i(forms::SHR_S_C, index, i64::from(log)),
                this.v1i(forms::SHR_U_C, low, i64::from(log)),
            );
            let word = this.v2(forms::ADD_I, word, carry);
            let shift = this.binary(forms::AND, &[Src::Reg(low), Src::Const(per_word - 1)], false);
            let shift = this.v1i(forms::SHL_C, shift, i64::from(5 - log));
            let words = this.gather_words(Addr::at(aligned, 0), word, 4, mask);
            let elements = this.v2(forms::SHR_U_V, words, shift);
            this.widen_low_bits(mem, elements)
        });
    }

    /// Which of the elements of a word all lanes read, `2^log` to a word, where that is known when the kernel is compiled.
    fn part_of_word(&self, place: Place, base: Value, offset: Value, log: u32) -> Option<u32> {
        let start = match place {
            // Buffers are aligned; where in a word an arena begins follows from its offset.
            Place::Buffer(_) => 0,
            Place::Arena(arena) => self.arena_offsets[arena.index()] as u32 >> (2 - log),
        };
        let [base, offset] = [base, offset].map(|value| self.residues.get(value).modulo(log));
        Some((start + base? + offset?) % (1 << log))
    }

    /// Words that neighbouring elements share: those of one address, offsets and mask are gathered once. For memory that nobody writes.
    fn shared_words(&mut self, addr: Addr, index: VReg, size: u8, mask: Option<VReg>) -> VReg {
        // Made here, not before a loop: a condition around it may be what keeps it inside the memory.
        let rank = self.rank;
        self.cached(Key::Words(addr, index, size, mask), rank, Hoist::Near, |this| {
            this.gather_words(addr, index, size, mask)
        })
    }

    pub(super) fn scatter(
        &mut self,
        mem: Mem,
        place: Place,
        base: Value,
        offset: Value,
        value: Value,
        mask: Option<Value>,
    ) {
        let addr = self.address(place, base, mem.bytes());
        let addr = self.without_index(addr);
        if self.v4 && mem.bytes() == 4 {
            for part in 0..self.parts {
                let (index, value) = (self.part(offset, part), self.part(value, part));
                let mask = match self.part_mask(mask, part) {
                    Some(mask) => mask,
                    None => self.fresh_ones(),
                };
                let cleared = self.vreg(MASK);
                let code = C::EVEX_Vscatterdps_vm32z_k1_zmm;
                self.emit(Inst::new(code).mem(addr.indexed(index, 4)).reg(value).consuming(cleared, mask));
            }
            return;
        }
        let bytes = 4 * self.width as i32;
        self.scratch(2 * bytes as u32);
        let base = self.address_reg(addr);
        for part in 0..self.parts {
            let (index, value) = (self.part(offset, part), self.part(value, part));
            let value = self.storage_of(mem, value);
            self.store_scratch(index, 0);
            self.store_scratch(value, bytes);
            let bits = match self.part_mask(mask, part) {
                Some(mask) => self.lane_bits(mask),
                None => self.fresh_imm((1 << self.width) - 1),
            };
            self.for_each_bit(bits, |this, lane| {
                let offset = this.scratch_element(0, lane, C::Movsxd_r64_rm32);
                let element = this.scratch_element(bytes, lane, C::Mov_r32_rm32);
                this.store_element(mem, Addr::at(base, 0).indexed(offset, mem.bytes() as u8), element);
            });
        }
    }

    /// An element of the constant pool, at `table + 4 * index`.
    pub(super) fn pool_element(&mut self, table: Addr, index: VReg) -> Addr {
        let base = self.address_reg(table);
        Addr::at(base, 0).indexed(index, 4)
    }

    /// One 32-bit element of memory in a vector or general register.
    pub(super) fn load_word(&mut self, float: bool, addr: Addr) -> VReg {
        if float { self.load_scalar(addr) } else { self.gpr_from(C::Mov_r32_rm32, Rm::Mem(addr)) }
    }
}
