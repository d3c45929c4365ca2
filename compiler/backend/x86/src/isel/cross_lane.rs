//! Across lanes: `reduce` in its documented order, `extract`, `shuffle` and table look-ups.
//!
//! A reduction first fills the lanes past the end with the identity, then folds whole registers, then
//! halves of one register: step `s` combines lane `l` with lane `l + s`, for `s = p / 2, p / 4 .. 1`.

use iced_x86::{Code as C, ConditionCode};
use regalloc2::VReg;
use tvmc_ir::lane::{Reduce, Scalar, Table, Value};

use super::divide::Division;
use super::{Lower, Src, forms};
use crate::mir::{Addr, GPR, Inst, Rm};

impl<'f> Lower<'f> {
    pub(super) fn reduce(&mut self, reduce: Reduce, value: Value, result: Value) {
        let (form, identity) = match reduce {
            Reduce::All | Reduce::Any => {
                let reg = self.reduce_bools(reduce == Reduce::All, value);
                return self.set_reg(result, reg);
            }
            Reduce::FAdd => (forms::ADD_F, 0),
            Reduce::FMin => (forms::MIN_F, f32::INFINITY.to_bits()),
            Reduce::FMax => (forms::MAX_F, f32::NEG_INFINITY.to_bits()),
            Reduce::IAdd => (forms::ADD_I, 0),
            Reduce::IMinS => (forms::MIN_S, i32::MAX as u32),
            Reduce::IMaxS => (forms::MAX_S, i32::MIN as u32),
            Reduce::IMinU => (forms::MIN_U, u32::MAX),
            Reduce::IMaxU => (forms::MAX_U, 0),
            Reduce::IAnd => (forms::AND, u32::MAX),
            Reduce::IOr => (forms::OR, 0),
            Reduce::IXor => (forms::XOR, 0),
        };
        let padded = self.f.lanes.next_power_of_two();
        let mut parts: Vec<VReg> = (0..self.parts)
            .map(|part| {
                let reg = self.part(value, part);
                let lanes = self.lanes_of(part);
                if lanes == self.width || padded <= lanes {
                    return reg;
                }
                let (mask, identity) = (self.first_lanes(lanes), self.dword(identity));
                self.blend(mask, reg, identity)
            })
            .collect();
        let registers = padded.div_ceil(self.width) as usize;
        if parts.len() < registers {
            let identity = self.dword(identity);
            parts.resize(registers, identity);
        }
        while parts.len() > 1 {
            let high = parts.split_off(parts.len() / 2);
            parts = parts.into_iter().zip(high).map(|(low, high)| self.v2(form, low, high)).collect();
        }
        let mut reg = parts[0];
        let mut step = padded.min(self.width) / 2;
        while step > 0 {
            let high = self.lanes_down(reg, step);
            reg = self.v2(form, reg, high);
            step /= 2;
        }
        let reg = if self.scalar(result) == Scalar::F32 { reg } else { self.first_element(reg) };
        self.set_reg(result, reg);
    }

    /// Lane `l + step` in lane `l`, for `l < step`.
    fn lanes_down(&mut self, reg: VReg, step: u32) -> VReg {
        let form = |code| forms::Form { v3: code, v4: code };
        match step {
            1 | 2 => {
                let order = if step == 1 { 0b01 } else { 0b1110 };
                let code = if self.v4 {
                    C::EVEX_Vpshufd_zmm_k1z_zmmm512b32_imm8
                } else {
                    C::VEX_Vpshufd_ymm_ymmm256_imm8
                };
                self.v1i(form(code), reg, order)
            }
            4 if self.v4 => self.v1i(form(C::EVEX_Vextracti32x4_xmmm128_k1z_zmm_imm8), reg, 1),
            _ => self.v1i(forms::HIGH_HALF, reg, 1),
        }
    }

    fn reduce_bools(&mut self, all: bool, value: Value) -> VReg {
        let (k, form) =
            if all { (C::VEX_Kandw_kr_kr_kr, forms::AND) } else { (C::VEX_Korw_kr_kr_kr, forms::OR) };
        let full = (1_i64 << self.width) - 1;
        let mut joined: Option<VReg> = None;
        for part in 0..self.parts {
            let lanes = self.lanes_of(part);
            let mut mask = self.part(value, part);
            if lanes < self.width {
                let valid = self.first_lanes(lanes);
                mask = if all {
                    let invalid = self.mask_not(valid);
                    self.combine_masks(C::VEX_Korw_kr_kr_kr, forms::OR, mask, invalid)
                } else {
                    self.mask_and(mask, valid)
                };
            }
            joined = Some(match joined {
                Some(joined) => self.combine_masks(k, form, joined, mask),
                None => mask,
            });
        }
        let joined = joined.unwrap_or_else(|| unreachable!("there is at least one lane"));
        let bits = self.lane_bits(joined);
        let (compare, condition) = if all {
            (Inst::new(C::Cmp_rm32_imm32).reg(bits).imm(full), ConditionCode::e)
        } else {
            (Inst::new(C::Test_rm32_r32).reg(bits).reg(bits), ConditionCode::ne)
        };
        self.set_condition(compare, condition)
    }

    /// A varying value as 32-bit elements: booleans become 0 or all-ones.
    fn elements(&mut self, value: Value, part: u32) -> VReg {
        let reg = self.part(value, part);
        if self.scalar(value) == Scalar::Bool { self.mask_to_vector(reg, u32::MAX) } else { reg }
    }

    pub(super) fn extract(&mut self, value: Value, lane: Value, result: Value) {
        let lanes = self.f.lanes;
        let scalar = self.scalar(value);
        let element = if let Some(lane) = self.constant(lane) {
            let lane = (lane as u32) % lanes;
            let (part, lane) = (lane / self.width, lane % self.width);
            let reg = self.elements(value, part);
            if lane == 0 {
                reg
            } else {
                let index = self.dword(lane);
                self.v2(forms::PERMUTE, index, reg)
            }
        } else {
            let lane = self.uniform(lane);
            let lane = self.lane_modulo(lane);
            if self.parts == 1 {
                let index = self.v1(forms::FROM_GPR, lane);
                let reg = self.elements(value, 0);
                self.v2(forms::PERMUTE, index, reg)
            } else {
                self.spill_parts(value);
                // The upper half of a register that holds 32 bits is undefined.
                let lane = self.gpr_from(C::Mov_r32_rm32, Rm::Reg(lane));
                let at = Addr::frame(0).indexed(lane, 4);
                self.v1(forms::LOAD_S, Rm::Mem(at))
            }
        };
        let reg = match scalar {
            Scalar::F32 => element,
            Scalar::I32 | Scalar::I64 => self.first_element(element),
            Scalar::Bool => {
                let ones = self.first_element(element);
                self.tied_imm(C::And_rm32_imm8, ones, 1)
            }
        };
        self.set_reg(result, reg);
    }

    /// A uniform lane number modulo the number of lanes, as an unsigned number.
    fn lane_modulo(&mut self, lane: VReg) -> VReg {
        let lanes = self.f.lanes;
        if lanes.is_power_of_two() {
            return self.tied_imm(C::And_rm32_imm32, lane, i64::from(lanes - 1));
        }
        let (high, divisor) = (self.fresh_imm(0), self.fresh_imm(i64::from(lanes)));
        let (quotient, rest) = (self.vreg(GPR), self.vreg(GPR));
        let uses = [(lane, crate::mir::hw::RAX), (high, crate::mir::hw::RDX)];
        let defs = [(quotient, crate::mir::hw::RAX), (rest, crate::mir::hw::RDX)];
        self.emit(Inst::new(C::Div_rm32).reg(divisor).implicitly(&uses, &defs));
        rest
    }

    /// All parts of a value to the scratch area, one after the other.
    fn spill_parts(&mut self, value: Value) {
        let bytes = 4 * self.width;
        self.scratch(bytes * self.parts);
        for part in 0..self.parts {
            let reg = self.elements(value, part);
            self.store_scratch(reg, (part * bytes) as i32);
        }
    }

    pub(super) fn shuffle(&mut self, value: Value, source: Value, result: Value) {
        let is_bool = self.scalar(value) == Scalar::Bool;
        let lanes = self.f.lanes;
        let in_registers = if self.v4 { self.parts <= 2 } else { self.parts == 1 };
        if !in_registers {
            self.spill_parts(value);
        }
        self.set_parts(result, |this, part| {
            let index = Src::Part(source, part);
            // The permutes look at the low bits of an index only.
            let wraps = in_registers && lanes == this.parts * this.width;
            let index = match (wraps, lanes.is_power_of_two()) {
                (true, true) => this.source(index),
                (_, true) => this.binary(forms::AND, &[index, Src::Const(lanes - 1)], false),
                (_, false) => this.divide(Division::Unsigned, true, &[index, Src::Const(lanes)]),
            };
            let shuffled = if !in_registers {
                let base = this.address_reg(Addr::frame(0));
                this.gather_words(Addr::at(base, 0), index, 4, None)
            } else if this.parts == 1 {
                let reg = this.elements(value, 0);
                this.v2(forms::PERMUTE, index, reg)
            } else {
                let (low, high) = (this.elements(value, 0), this.elements(value, 1));
                this.permute_two(index, low, Rm::Reg(high))
            };
            if is_bool { this.vector_to_mask(shuffled) } else { shuffled }
        });
    }

    /// Elements of two registers, by the low five bits of each index (AVX-512).
    fn permute_two(&mut self, index: VReg, low: VReg, high: Rm) -> VReg {
        let code = C::EVEX_Vpermi2d_zmm_k1z_zmm_zmmm512b32;
        self.v_tied(forms::Form { v3: code, v4: code }, index, low, high)
    }

    pub(super) fn table_lookup(&mut self, table: Table, index: Value, result: Value) {
        let decl = &self.f.tables[table.index()];
        let size = decl.entries.len().next_power_of_two();
        let mut entries = decl.entries.clone();
        entries.resize(size, 0);
        let bytes = |count: usize| -> Vec<u8> {
            entries.iter().cycle().take(count).flat_map(|e| e.to_le_bytes()).collect()
        };
        let width = self.width as usize;
        if !self.is_varying(index) {
            let float = decl.scalar == Scalar::F32;
            let id = self.mir.pool.add(4, bytes(size));
            let index = self.uniform(index);
            let index = self.tied_imm(C::And_rm32_imm32, index, size as i64 - 1);
            let at = self.pool_element(Addr::pool(id), index);
            let reg = self.load_word(float, at);
            return self.set_reg(result, reg);
        }
        if size <= width {
            // Repeated to fill the register, so that an index's low bits say all.
            let entries = bytes(width);
            return self.set_parts(result, |this, part| {
                let table = this.vector_constant(entries.clone());
                let index = this.part(index, part);
                this.v2(forms::PERMUTE, index, table)
            });
        }
        if size == 2 * width {
            let all = bytes(size);
            let (low, high) = all.split_at(4 * width);
            return self.set_parts(result, |this, part| {
                let (low, high) = (this.vector_constant(low.to_vec()), this.vector_constant(high.to_vec()));
                let index = this.part(index, part);
                if this.v4 {
                    return this.permute_two(index, low, Rm::Reg(high));
                }
                let (low, high) = (this.v2(forms::PERMUTE, index, low), this.v2(forms::PERMUTE, index, high));
                // Bit 3 of the index, as the sign that the blend looks at.
                let upper = this.v1i(forms::SHL_C, index, 28);
                this.blend(upper, high, low)
            });
        }
        let id = self.mir.pool.add(4, bytes(size));
        let base = self.address_reg(Addr::pool(id));
        self.set_parts(result, |this, part| {
            let index = Src::Part(index, part);
            let index = this.binary(forms::AND, &[index, Src::Const(size as u32 - 1)], false);
            this.gather_words(Addr::at(base, 0), index, 4, None)
        });
    }
}
