//! Atomic updates, and stores of bits: lane after lane, each one locked instruction, or for what the machine has none a loop around `lock cmpxchg`
//! that tries again until nobody came between. All are sequentially consistent.
//!
//! ```text
//! atomic.iadd b0[v1 + v2], v3 mask v4    for each lane of the mask:  lock xadd [b0 + 4 (v1 + v2)], v3
//! atomic.fmax b0[v1 + v2], v3 mask v4    for each lane of the mask:  old = [..]; do { new = old > v3 ? old : v3 } while (lock cmpxchg [..], old, new fails)
//! ```
//!
//! Bits of a byte are stored by an exclusive-or that changes those alone, `(old ^ value) & bits`: nobody else writes them, so it does not matter which old byte was read.
//!
//! Lanes go in ascending order; blocks on other threads come in between as they do. Lanes off in the mask get 0.

use iced_x86::{Code as C, ConditionCode};
use regalloc2::VReg;
use tvmc_ir::lane::{Buffer, Inst as LaneInst, Mem, Place, Update, Value};

use super::{Lower, forms};
use crate::mir::{Addr, GPR, Inst, Rm, hw};

/// Where a part's lanes lie in the frame, in registers' sizes.
const OFFSETS: i32 = 0;
const OPERANDS: [i32; 2] = [1, 2];
const RESULTS: i32 = 3;

impl<'f> Lower<'f> {
    /// An update of each active lane's element; its result, if anybody reads it, is what was there before.
    pub(super) fn atomic(&mut self, update: Update, buffer: Buffer, inst: &'f LaneInst) {
        let (offset, mask) = (inst.args[1], inst.args[2 + update.operands()]);
        let operands = &inst.args[2..2 + update.operands()];
        let addr = self.address(Place::Buffer(buffer), inst.args[0], Mem::I32.bytes());
        let addr = self.without_index(addr);
        let base = self.address_reg(addr);
        let result = inst.result.filter(|result| self.uses.count(*result) > 0);
        match result {
            Some(result) => self.set_parts(result, |this, part| {
                let zero = this.fresh_zero();
                this.store_scratch(zero, RESULTS * this.bytes());
                this.atomic_part(update, base, (offset, operands, mask), part, true);
                this.v1(forms::LOAD, Rm::Mem(Addr::frame(RESULTS * this.bytes())))
            }),
            None => {
                (0..self.parts)
                    .for_each(|part| self.atomic_part(update, base, (offset, operands, mask), part, false));
            }
        }
    }

    /// Bytes of a vector register.
    fn bytes(&self) -> i32 {
        4 * self.width as i32
    }

    fn atomic_part(
        &mut self,
        update: Update,
        base: VReg,
        (offset, operands, mask): (Value, &[Value], Value),
        part: u32,
        keep: bool,
    ) {
        let bytes = self.bytes();
        self.scratch(4 * bytes as u32);
        let index = self.part(offset, part);
        self.store_scratch(index, OFFSETS * bytes);
        for (place, operand) in OPERANDS.into_iter().zip(operands) {
            let value = self.part(*operand, part);
            self.store_scratch(value, place * bytes);
        }
        let bits = match self.part_mask(Some(mask), part) {
            Some(mask) => self.lane_bits(mask),
            None => self.fresh_imm((1 << self.width) - 1),
        };
        self.for_each_bit(bits, |this, lane| {
            let offset = this.scratch_element(OFFSETS * bytes, lane, C::Movsxd_r64_rm32);
            let at = Addr::at(base, 0).indexed(offset, 4);
            let mut operand =
                |place: usize| this.scratch_element(OPERANDS[place] * bytes, lane, C::Mov_r32_rm32);
            let a = operand(0);
            let b = if update.operands() == 2 { operand(1) } else { a };
            let old = this.atomic_element(update, at, a, b);
            if keep {
                let slot = Addr::frame(RESULTS * bytes).indexed(lane, 4);
                this.emit(Inst::new(C::Mov_rm32_r32).mem(slot).reg(old));
            }
        });
    }

    /// Replaces bits of each active lane's byte.
    pub(super) fn store_bits(&mut self, buffer: Buffer, inst: &'f LaneInst) {
        let addr = self.address(Place::Buffer(buffer), inst.args[0], Mem::U8.bytes());
        let addr = self.without_index(addr);
        let base = self.address_reg(addr);
        let bytes = self.bytes();
        for part in 0..self.parts {
            self.scratch(4 * bytes as u32);
            for (place, operand) in [OFFSETS, OPERANDS[0], OPERANDS[1]].into_iter().zip(&inst.args[1..4]) {
                let value = self.part(*operand, part);
                self.store_scratch(value, place * bytes);
            }
            let lanes = match self.part_mask(Some(inst.args[4]), part) {
                Some(mask) => self.lane_bits(mask),
                None => self.fresh_imm((1 << self.width) - 1),
            };
            self.for_each_bit(lanes, |this, lane| {
                let offset = this.scratch_element(OFFSETS * bytes, lane, C::Movsxd_r64_rm32);
                let at = Addr::at(base, 0).indexed(offset, 1);
                let [value, bits] =
                    OPERANDS.map(|place| this.scratch_element(place * bytes, lane, C::Mov_r32_rm32));
                let old = this.gpr_from(C::Movzx_r32_rm8, Rm::Mem(at));
                let change = this.tied_rm(C::Xor_r32_rm32, old, Rm::Reg(value));
                let change = this.tied_rm(C::And_r32_rm32, change, Rm::Reg(bits));
                this.emit(Inst::new(C::Xor_rm8_r8).mem(at).reg(change).locked());
            });
        }
    }

    /// One update of the word at an address; operands and result are bits in general registers.
    fn atomic_element(&mut self, update: Update, at: Addr, a: VReg, b: VReg) -> VReg {
        match update {
            Update::IAdd | Update::Exchange => {
                let code = if update == Update::IAdd { C::Xadd_rm32_r32 } else { C::Xchg_rm32_r32 };
                let old = self.vreg(GPR);
                self.emit(Inst::new(code).mem(at).tied(old, a).locked());
                old
            }
            Update::CompareExchange => self.compare_exchange(at, a, b),
            Update::FAdd
            | Update::FMin
            | Update::FMax
            | Update::IMinS
            | Update::IMaxS
            | Update::IMinU
            | Update::IMaxU
            | Update::IAnd
            | Update::IOr
            | Update::IXor => {
                let first = self.gpr_from(C::Mov_r32_rm32, Rm::Mem(at));
                self.until_same(first, |this, old| {
                    let new = this.updated(update, old, a);
                    this.compare_exchange(at, old, new)
                })
            }
        }
    }

    /// `lock cmpxchg`: what was there; that is `expected` where `new` is there now.
    fn compare_exchange(&mut self, at: Addr, expected: VReg, new: VReg) -> VReg {
        let found = self.vreg(GPR);
        let inst = Inst::new(C::Cmpxchg_rm32_r32).mem(at).reg(new).locked();
        self.emit(inst.implicitly(&[(expected, hw::RAX)], &[(found, hw::RAX)]));
        found
    }

    /// What an update makes of an element.
    fn updated(&mut self, update: Update, old: VReg, a: VReg) -> VReg {
        let float = |this: &mut Self, form| {
            let (old, a) = (this.v1(forms::FROM_GPR, old), this.v1(forms::FROM_GPR, a));
            let new = this.v2(form, old, a);
            this.first_element(new)
        };
        let keep_where = |this: &mut Self, condition| {
            this.emit(Inst::new(C::Cmp_r32_rm32).reg(old).reg(a));
            this.tied_rm(super::uniform::cmov(condition), a, Rm::Reg(old))
        };
        match update {
            Update::FAdd => float(self, forms::ADD_S),
            // Both give their second operand where one is no number: `a`.
            Update::FMin => float(self, forms::MIN_SS),
            Update::FMax => float(self, forms::MAX_SS),
            Update::IMinS => keep_where(self, ConditionCode::l),
            Update::IMaxS => keep_where(self, ConditionCode::g),
            Update::IMinU => keep_where(self, ConditionCode::b),
            Update::IMaxU => keep_where(self, ConditionCode::a),
            Update::IAnd => self.tied_rm(C::And_r32_rm32, old, Rm::Reg(a)),
            Update::IOr => self.tied_rm(C::Or_r32_rm32, old, Rm::Reg(a)),
            Update::IXor => self.tied_rm(C::Xor_r32_rm32, old, Rm::Reg(a)),
            Update::IAdd | Update::Exchange | Update::CompareExchange => {
                unreachable!("{update:?} is an instruction")
            }
        }
    }
}
