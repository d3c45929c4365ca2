//! Addresses. A uniform `i64` is kept as a sum `constant + sum of coefficient * register` and reaches
//! code only where it is used. All arithmetic is modulo 2^64, so rewriting the sum is always exact.
//!
//! An access at `sum` in a buffer of 4-byte elements becomes
//!
//! ```text
//! [pointer + 4 * c1 * r1 + ...  +  r2 * scale + displacement]
//!  '--- base: kept in a register,   '--- the term that changes in the innermost loop
//!       computed outside the loop'
//! ```
//!
//! so the fourteen rows of a micro-tile cost fourteen registers or displacements, and no arithmetic in
//! the loop.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::{Place, Value, abi};

use super::{Hoist, Key, Lower, Val};
use crate::mir::{Addr, Base, GPR, Inst, Rm};

/// `constant + sum of coefficient * register`, registers ascending and distinct, no zero coefficient.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Linear {
    constant: i64,
    terms: Vec<(VReg, i64)>,
}

/// Longer sums are computed into a register.
const MAX_TERMS: usize = 6;

impl Linear {
    pub fn constant(constant: i64) -> Self {
        Self { constant, terms: Vec::new() }
    }

    pub fn register(reg: VReg) -> Self {
        Self { constant: 0, terms: vec![(reg, 1)] }
    }

    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.constant = sum.constant.wrapping_add(other.constant);
        for &(reg, coefficient) in &other.terms {
            match sum.terms.binary_search_by_key(&reg, |t| t.0) {
                Ok(at) => {
                    sum.terms[at].1 = sum.terms[at].1.wrapping_add(coefficient);
                    if sum.terms[at].1 == 0 {
                        sum.terms.remove(at);
                    }
                }
                Err(at) => sum.terms.insert(at, (reg, coefficient)),
            }
        }
        sum
    }

    fn times(&self, factor: i64) -> Self {
        let terms = self.terms.iter().map(|&(reg, c)| (reg, c.wrapping_mul(factor)));
        Self { constant: self.constant.wrapping_mul(factor), terms: terms.filter(|t| t.1 != 0).collect() }
    }
}

impl<'f> Lower<'f> {
    /// A uniform `i64` as a sum.
    fn linear(&mut self, value: Value) -> Linear {
        match self.val(value) {
            Val::Linear(linear) => (*linear).clone(),
            Val::Imm(imm) => Linear::constant(imm),
            Val::Undefined
            | Val::Reg(_)
            | Val::Parts(_)
            | Val::SplatImm(_)
            | Val::LaneIndex
            | Val::Pending(_)
            | Val::Again(_) => Linear::register(self.uniform(value)),
        }
    }

    fn set_linear(&mut self, value: Value, linear: Linear) {
        let linear =
            if linear.terms.len() > MAX_TERMS { Linear::register(self.linear_reg(&linear)) } else { linear };
        self.set(value, Val::Linear(linear.into()));
    }

    /// `a + factor * b`.
    pub(super) fn linear_sum(&mut self, args: &[Value], factor: i64, result: Value) {
        let sum = self.linear(args[0]).plus(&self.linear(args[1]).times(factor));
        self.set_linear(result, sum);
    }

    /// `a * b`: a sum still if either is constant.
    pub(super) fn linear_product(&mut self, args: &[Value], result: Value) {
        let (a, b) = (self.linear(args[0]), self.linear(args[1]));
        let product = match (a.as_constant(), b.as_constant()) {
            (_, Some(factor)) => a.times(factor),
            (Some(factor), _) => b.times(factor),
            (None, None) => {
                let (a, b) = (self.linear_reg(&a), self.linear_reg(&b));
                Linear::register(self.tied_rm(C::Imul_r64_rm64, a, Rm::Reg(b)))
            }
        };
        self.set_linear(result, product);
    }

    /// An `i32` extended to `i64`.
    pub(super) fn linear_extended(&mut self, arg: Value, signed: bool, result: Value) {
        let extended = match self.constant(arg) {
            Some(imm) if signed => Linear::constant(i64::from(imm as i32)),
            Some(imm) => Linear::constant(i64::from(imm as u32)),
            None => {
                let reg = self.uniform(arg);
                Linear::register(if signed { self.sign_extended(reg) } else { self.zero_extended(reg) })
            }
        };
        self.set_linear(result, extended);
    }

    fn zero_extended(&mut self, reg: VReg) -> VReg {
        let rank = self.rank_of(reg);
        self.cached(Key::ZeroExtended(reg), rank, Hoist::Far, |this| {
            this.gpr_from(C::Mov_r32_rm32, Rm::Reg(reg))
        })
    }

    fn sign_extended(&mut self, reg: VReg) -> VReg {
        let rank = self.rank_of(reg);
        self.cached(Key::SignExtended(reg), rank, Hoist::Far, |this| {
            this.gpr_from(C::Movsxd_r64_rm32, Rm::Reg(reg))
        })
    }

    /// Register times constant, shared.
    fn scaled(&mut self, reg: VReg, factor: i64) -> VReg {
        if factor == 1 {
            return reg;
        }
        let rank = self.rank_of(reg);
        self.cached(Key::Scaled(reg, factor), rank, Hoist::Far, |this| {
            if factor > 0 && factor.count_ones() == 1 {
                return this.tied_imm(C::Shl_rm64_imm8, reg, i64::from(factor.trailing_zeros()));
            }
            let def = this.vreg(GPR);
            if let 3 | 5 | 9 = factor {
                let addr = Addr::at(reg, 0).indexed(reg, (factor - 1) as u8);
                this.emit(Inst::new(C::Lea_r64_m).def(def).mem(addr));
            } else if i32::try_from(factor).is_ok() {
                this.emit(Inst::new(C::Imul_r64_rm64_imm32).def(def).reg(reg).imm(factor));
            } else {
                let factor = this.imm(factor);
                return this.tied_rm(C::Imul_r64_rm64, reg, Rm::Reg(factor));
            }
            def
        })
    }

    /// `a + b * scale`, shared.
    fn sum(&mut self, a: VReg, b: VReg, scale: u8) -> VReg {
        let rank = self.rank_of(a).max(self.rank_of(b));
        self.cached(Key::Sum(a, b, scale), rank, Hoist::Far, |this| {
            let def = this.vreg(GPR);
            this.emit(Inst::new(C::Lea_r64_m).def(def).mem(Addr::at(a, 0).indexed(b, scale)));
            def
        })
    }

    /// Register plus constant, shared.
    fn plus(&mut self, reg: VReg, constant: i64) -> VReg {
        if constant == 0 {
            return reg;
        }
        let rank = self.rank_of(reg);
        self.cached(Key::Plus(reg, constant), rank, Hoist::Far, |this| match i32::try_from(constant) {
            Ok(disp) => {
                let def = this.vreg(GPR);
                this.emit(Inst::new(C::Lea_r64_m).def(def).mem(Addr::at(reg, disp)));
                def
            }
            Err(_) => {
                let constant = this.imm(constant);
                this.tied_rm(C::Add_r64_rm64, reg, Rm::Reg(constant))
            }
        })
    }

    /// Adds terms to a register (or to nothing), those from the outermost loop first, so that each partial
    /// sum is computed as far out as it can be.
    fn add_terms(&mut self, start: Option<VReg>, terms: &[(VReg, i64)]) -> Option<VReg> {
        let mut terms = terms.to_vec();
        terms.sort_by_key(|t| self.rank_of(t.0));
        terms.into_iter().fold(start, |sum, (reg, factor)| {
            Some(match (sum, factor) {
                (Some(sum), 1 | 2 | 4 | 8) => self.sum(sum, reg, factor as u8),
                (Some(sum), _) => {
                    let term = self.scaled(reg, factor);
                    self.sum(sum, term, 1)
                }
                (None, _) => self.scaled(reg, factor),
            })
        })
    }

    /// The sum in a register.
    pub(super) fn linear_reg(&mut self, linear: &Linear) -> VReg {
        match self.add_terms(None, &linear.terms) {
            Some(reg) => self.plus(reg, linear.constant),
            None => self.imm(linear.constant),
        }
    }

    /// The address of a place's first byte and a constant to add.
    fn place_pointer(&mut self, place: Place) -> (VReg, i64) {
        match place {
            Place::Buffer(buffer) => {
                let table = self.argument_field(abi::BUFFERS);
                let pointer = self.in_entry(Key::Buffer(buffer.0), |this| {
                    this.gpr_from(C::Mov_r64_rm64, Rm::Mem(Addr::at(table, 8 * buffer.0 as i32)))
                });
                (pointer, 0)
            }
            Place::Arena(arena) => {
                let offset = self.arena_offsets[arena.index()];
                (self.argument_field(abi::ARENA), offset as i64)
            }
        }
    }

    /// The memory operand of element `base` (elements of `size` bytes) of a place.
    pub(super) fn address(&mut self, place: Place, base: Value, size: u32) -> Addr {
        let (pointer, offset) = self.place_pointer(place);
        let linear = self.linear(base).times(i64::from(size));
        let constant = linear.constant.wrapping_add(offset);
        // The term of the innermost loop stays an index.
        let index = linear
            .terms
            .iter()
            .copied()
            .max_by_key(|&(reg, factor)| (self.rank_of(reg), matches!(factor, 1 | 2 | 4 | 8)));
        let rest: Vec<(VReg, i64)> = linear.terms.iter().copied().filter(|t| Some(*t) != index).collect();
        let base = match self.add_terms(Some(pointer), &rest) {
            Some(base) => base,
            None => pointer,
        };
        // Parts and pieces add small offsets to the displacement, which must not overflow then.
        let (base, disp) = match i32::try_from(constant) {
            Ok(disp) if disp.unsigned_abs() < 1 << 30 => (base, disp),
            Ok(_) | Err(_) => (self.plus(base, constant), 0),
        };
        let addr = Addr::at(base, disp);
        match index {
            None => addr,
            Some((reg, factor @ (1 | 2 | 4 | 8))) => addr.indexed(reg, factor as u8),
            Some((reg, factor)) => {
                let scaled = self.scaled(reg, factor);
                addr.indexed(scaled, 1)
            }
        }
    }

    /// The same address without an index register.
    pub(super) fn without_index(&mut self, addr: Addr) -> Addr {
        match (addr.base, addr.index) {
            (Base::Reg(base), Some(index)) => {
                let sum = self.sum(base, index, addr.scale);
                Addr::at(sum, addr.disp)
            }
            (Base::Reg(_) | Base::Pool(_) | Base::Frame | Base::Slot(_), _) => addr,
        }
    }

    /// An address as a register.
    pub(super) fn address_reg(&mut self, addr: Addr) -> VReg {
        let def = self.vreg(GPR);
        self.emit(Inst::new(C::Lea_r64_m).def(def).mem(addr));
        def
    }
}
