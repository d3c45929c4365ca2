//! Dispatch of operations, and the uniform ones: integers, booleans and `i64` in general registers, f32
//! in the low element of a vector register. A uniform bool is 0 or 1. The upper half of a general
//! register that holds 32 bits is undefined.
//!
//! Rare conversions and packed operations borrow the vector sequences: the operand goes to a vector
//! register, the result comes back from element 0.

use iced_x86::{Code as C, ConditionCode};
use regalloc2::VReg;
use tvmc_ir::lane::{Access, Inst as LaneInst, Mem, MemoryOp, Op, Place, Pure, Scalar, Value, abi};

use super::control::FlagCompare;
use super::uses::User;
use super::{Lower, Src, Val, forms};
use crate::Error;
use crate::mir::condition_bits;
use crate::mir::{Addr, GPR, Inst, MASK, Rm, VEC, hw};

impl<'f> Lower<'f> {
    /// One statement: waits for its use, or is emitted.
    pub(super) fn inst(&mut self, inst: &'f LaneInst) -> Result<(), Error> {
        if let Op::Print(_) | Op::Fragment(_) = inst.op {
            return Err(Error::Unsupported { op: inst.op.form().name() });
        }
        match inst.result {
            // But for updates, operations with a result have no effect beside it.
            Some(result) if self.uses.count(result) == 0 && !inst.op.has_effect() => {}
            Some(result) if self.waits(inst, result) => self.set(result, Val::Pending(inst)),
            Some(result) if self.is_again(inst, result) => {
                if let Op::Memory { place, .. } = inst.op
                    && let Some(addr) = self.load_address(inst)
                {
                    self.prefetch(place, addr);
                }
                self.set(result, Val::Again(inst));
            }
            _ => self.emit_now(inst),
        }
        Ok(())
    }

    /// Whether an operation is better emitted by its only user.
    fn waits(&self, inst: &'f LaneInst, result: Value) -> bool {
        let whole = self.f.lanes.is_multiple_of(self.width);
        let word = |mem: Mem| matches!(mem, Mem::F32 | Mem::I32);
        let user_of_load = || match self.uses.only_user_of_load(result) {
            Some(User::Inst(user)) => Some(&user.op),
            Some(User::Control) | None => None,
        };
        if let Op::Memory { form, mem, masked: false, .. } = inst.op
            && word(mem)
        {
            return match form {
                MemoryOp::LoadContig => whole && matches!(user_of_load(), Some(Op::Pure(_))),
                MemoryOp::LoadUniform => matches!(user_of_load(), Some(Op::Splat)),
                MemoryOp::Gather | MemoryOp::StoreUniform | MemoryOp::StoreContig | MemoryOp::Scatter => {
                    false
                }
            };
        }
        if inst.op == Op::Splat {
            return self.v4
                && self.parts == 1
                && matches!(self.values[inst.args[0].index()], Val::Pending(_) | Val::Again(_))
                && matches!(user_of_load(), Some(Op::Pure(_)));
        }
        if self.waits_for_bitwise(inst, result) {
            return true;
        }
        let Op::Pure(pure) = inst.op else { return false };
        if FlagCompare::of(pure).is_none() || self.is_varying(inst.args[0]) {
            return false;
        }
        match self.uses.only_user(result) {
            Some(User::Control) => true,
            Some(User::Inst(user)) => user.op == Op::Pure(Pure::Select) && !self.is_varying(user.args[1]),
            None => false,
        }
    }

    /// Whether a load of whole words by lanes, or of one for all of them, is read by each of its users: from memory that does not change in between,
    /// where a register would be taken too long.
    fn is_again(&self, inst: &LaneInst, result: Value) -> bool {
        let (load, from) = match inst.op {
            Op::Splat if self.parts == 1 => match self.val(inst.args[0]) {
                Val::Pending(load) => (load, inst.args[0]),
                _ => return false,
            },
            _ => (inst, result),
        };
        let Op::Memory { form, mem: Mem::F32 | Mem::I32, place, masked: false } = load.op else {
            return false;
        };
        let wanted = if inst.op == Op::Splat { MemoryOp::LoadUniform } else { MemoryOp::LoadContig };
        self.v4
            && form == wanted
            && self.f.lanes.is_multiple_of(self.width)
            && self.is_unchanged(place, from, result)
            && self.uses.is_far(result)
    }

    fn is_unchanged(&self, place: Place, from: Value, to: Value) -> bool {
        match place {
            Place::Buffer(buffer) => self.f.buffers[buffer.index()].access == Access::Read,
            Place::Arena(arena) => self.uses.is_local(to) && !self.uses.is_stored_to(arena, from, to),
        }
    }

    /// Emits an operation and defines its result.
    pub(super) fn emit_now(&mut self, inst: &'f LaneInst) {
        let args = &inst.args;
        match (&inst.op, inst.result) {
            (Op::Pure(pure), Some(result)) if self.is_varying(result) => self.varying(*pure, args, result),
            (Op::Pure(pure), Some(result)) => self.uniform_pure(*pure, inst, result),
            (Op::ConstF32(bits), Some(result)) => self.set(result, Val::Imm(i64::from(*bits))),
            (Op::ConstI32(imm), Some(result)) => self.set(result, Val::Imm(i64::from(*imm))),
            (Op::ConstI64(imm), Some(result)) => self.set(result, Val::Imm(*imm)),
            (Op::ConstBool(imm), Some(result)) => self.set(result, Val::Imm(i64::from(*imm))),
            (Op::LaneIndex, Some(result)) => self.set(result, Val::LaneIndex),
            (Op::BlockIndex(axis), Some(result)) => {
                let reg = self.blocks_xyz[usize::from(*axis).min(2)];
                self.set_reg(result, reg);
            }
            (Op::BlockCount(axis), Some(result)) => {
                let at = Addr::at(self.arguments, abi::GRID + 4 * i32::from(*axis));
                let reg = self.gpr_from(C::Mov_r32_rm32, Rm::Mem(at));
                self.set_reg(result, reg);
            }
            (Op::Splat, Some(result)) => self.splat(args[0], result),
            (Op::Reduce(reduce), Some(result)) => self.reduce(*reduce, args[0], result),
            (Op::Extract, Some(result)) => self.extract(args[0], args[1], result),
            (Op::Shuffle, Some(result)) => self.shuffle(args[0], args[1], result),
            (Op::Unpack { bits, offset, sign }, Some(result)) => {
                self.unpack(*bits, *offset, *sign, args, result);
            }
            (Op::LoadUnpack { place, bits, sign }, Some(result)) => {
                self.load_unpack(*place, *bits, *sign, args[0], result);
            }
            (Op::TableLookup(table), Some(result)) => self.table_lookup(*table, args[0], result),
            (Op::TableBytes(table), Some(result)) => self.table_bytes(*table, args[0], result),
            (Op::TableHalves(table), Some(result)) => self.table_halves(*table, args[0], result),
            (Op::Memory { form, mem, place, masked }, _) => self.memory(*form, *mem, *place, *masked, inst),
            // One thread runs all lanes in order, and no load moves over a barrier.
            (Op::Barrier | Op::BufferBarrier, _) => {}
            (Op::Assert(message), _) => self.assert(args[0], *message),
            (Op::Atomic { update, buffer }, _) => self.atomic(*update, *buffer, inst),
            (Op::StoreBits(buffer), _) => self.store_bits(*buffer, inst),
            (Op::Print(_) | Op::Fragment(_), _) => unreachable!("refused before"),
            (op, None) => unreachable!("{op:?} has a result"),
        }
    }

    fn uniform_pure(&mut self, pure: Pure, inst: &'f LaneInst, result: Value) {
        let args = &inst.args;
        let reg = match pure {
            Pure::FAdd => self.scalar2(forms::ADD_S, args),
            Pure::FSub => self.scalar2(forms::SUB_S, args),
            Pure::FMul => self.scalar2(forms::MUL_S, args),
            Pure::FDiv => self.scalar2(forms::DIV_S, args),
            Pure::FMin => self.scalar2(forms::MIN_SS, args),
            Pure::FMax => self.scalar2(forms::MAX_SS, args),
            Pure::Fma => {
                let (a, c) = (self.uniform(args[0]), self.uniform(args[2]));
                let b = self.scalar_rm(args[1]);
                self.v_tied(forms::FMA231_S, c, a, b)
            }
            Pure::FNeg => self.scalar_bits(forms::XOR_X, args[0], 1 << 31),
            Pure::FAbs => self.scalar_bits(forms::AND_X, args[0], i32::MAX as u32),
            Pure::FSqrt => {
                let a = self.uniform(args[0]);
                self.v2(forms::SQRT_S, a, a)
            }
            Pure::Floor => self.scalar_round(args[0], 9),
            Pure::Ceil => self.scalar_round(args[0], 10),
            Pure::Trunc => self.scalar_round(args[0], 11),
            Pure::Nearest => self.scalar_round(args[0], 8),
            Pure::FEq => self.scalar_compare(args, 0),
            Pure::FNe => self.scalar_compare(args, 4),
            Pure::FLt
            | Pure::FLe
            | Pure::IEq
            | Pure::INe
            | Pure::ILtS
            | Pure::ILeS
            | Pure::ILtU
            | Pure::ILeU
            | Pure::LEq
            | Pure::LLtS => match self.fused_compare(inst) {
                Some((compare, condition)) => self.set_condition(compare, condition),
                None => unreachable!("{pure:?} sets flags"),
            },
            Pure::IAdd => self.alu(ADD, args, true),
            Pure::ISub => self.alu(SUB, args, false),
            Pure::IAnd => self.alu(AND, args, true),
            Pure::IOr => self.alu(OR, args, true),
            Pure::IXor => self.alu(XOR, args, true),
            Pure::IMul => {
                if let Some(imm) = self.constant(args[1]) {
                    let (a, def) = (self.uniform(args[0]), self.vreg(GPR));
                    self.emit(Inst::new(C::Imul_r32_rm32_imm32).def(def).reg(a).imm(imm));
                    def
                } else {
                    let (a, b) = (self.uniform(args[0]), self.uniform(args[1]));
                    self.tied_rm(C::Imul_r32_rm32, a, Rm::Reg(b))
                }
            }
            Pure::IDivS | Pure::IRemS | Pure::IDivU | Pure::IRemU => self.scalar_divide(pure, args),
            Pure::IMinS => self.choose(args, ConditionCode::l),
            Pure::IMaxS => self.choose(args, ConditionCode::g),
            Pure::IMinU => self.choose(args, ConditionCode::b),
            Pure::IMaxU => self.choose(args, ConditionCode::a),
            Pure::Shl => self.scalar_shift(args, C::Shl_rm32_imm8, C::VEX_Shlx_r32_rm32_r32),
            Pure::ShrS => self.scalar_shift(args, C::Sar_rm32_imm8, C::VEX_Sarx_r32_rm32_r32),
            Pure::ShrU => self.scalar_shift(args, C::Shr_rm32_imm8, C::VEX_Shrx_r32_rm32_r32),
            Pure::PopCount => {
                let a = self.uniform(args[0]);
                self.gpr_from(C::Popcnt_r32_rm32, Rm::Reg(a))
            }
            Pure::I32ToF32 => {
                let a = self.uniform(args[0]);
                let a = self.v1(forms::FROM_GPR, a);
                self.v1(forms::I32_TO_F_X, a)
            }
            Pure::U32ToF32 => {
                // Exact in 64 bits, so it rounds once.
                let a = self.uniform(args[0]);
                let wide = self.gpr_from(C::Mov_r32_rm32, Rm::Reg(a));
                let (zero, def) = (self.fresh_zero(), self.vreg(VEC));
                let code =
                    if self.v4 { C::EVEX_Vcvtsi2ss_xmm_xmm_rm64_er } else { C::VEX_Vcvtsi2ss_xmm_xmm_rm64 };
                self.emit(Inst::new(code).def(def).reg(zero).reg(wide));
                def
            }
            Pure::F32Bits => {
                let a = self.uniform(args[0]);
                self.first_element(a)
            }
            Pure::F32FromBits => {
                let a = self.uniform(args[0]);
                self.v1(forms::FROM_GPR, a)
            }
            Pure::F16ToF32 => {
                let a = self.uniform(args[0]);
                let low = self.gpr_from(C::Movzx_r32_rm16, Rm::Reg(a));
                let low = self.v1(forms::FROM_GPR, low);
                self.v1(forms::HALF_TO_F_X, low)
            }
            Pure::F32ToF16 => {
                let a = self.uniform(args[0]);
                let half = self.v1i(forms::F_TO_HALF_X, a, 0);
                let half = self.first_element(half);
                self.gpr_from(C::Movzx_r32_rm16, Rm::Reg(half))
            }
            Pure::F32ToI32
            | Pure::F32ToU32
            | Pure::F32ToBf16
            | Pure::Dot4SS
            | Pure::Dot4US
            | Pure::Dot4UU => self.through_vector(pure, args, result),
            Pure::BoolToI32 => self.uniform(args[0]),
            Pure::I64ToI32 => self.uniform(args[0]),
            Pure::BAnd => self.alu(AND, args, true),
            Pure::BOr => self.alu(OR, args, true),
            Pure::BXor => self.alu(XOR, args, true),
            Pure::BNot => {
                let a = self.uniform(args[0]);
                self.tied_imm(C::Xor_rm32_imm8, a, 1)
            }
            Pure::Select => self.scalar_select(args, result),
            Pure::LAdd => return self.linear_sum(args, 1, result),
            Pure::LSub => return self.linear_sum(args, -1, result),
            Pure::LMul => return self.linear_product(args, result),
            Pure::I32ToI64 => return self.linear_extended(args[0], true, result),
            Pure::U32ToI64 => return self.linear_extended(args[0], false, result),
        };
        self.set_reg(result, reg);
    }

    // ---- f32

    /// A uniform f32 as the last operand of a scalar instruction.
    fn scalar_rm(&mut self, value: Value) -> Rm {
        match self.val(value) {
            Val::Imm(bits) if bits != 0 => {
                Rm::Mem(Addr::pool(self.mir.pool.add(4, (bits as u32).to_le_bytes().to_vec())))
            }
            _ => Rm::Reg(self.uniform(value)),
        }
    }

    fn scalar2(&mut self, form: forms::Form, args: &[Value]) -> VReg {
        let a = self.uniform(args[0]);
        let b = self.scalar_rm(args[1]);
        self.v2(form, a, b)
    }

    fn scalar_bits(&mut self, form: forms::Form, a: Value, bits: u32) -> VReg {
        let a = self.uniform(a);
        let bits = self.dword_rm(bits);
        self.v2(form, a, bits)
    }

    fn scalar_round(&mut self, a: Value, mode: i64) -> VReg {
        let a = self.uniform(a);
        self.v2i(forms::ROUND_S, a, a, mode)
    }

    /// `feq` and `fne` need an ordered and an unordered predicate, which the flags do not give in one test.
    fn scalar_compare(&mut self, args: &[Value], predicate: i64) -> VReg {
        let a = self.uniform(args[0]);
        let b = self.scalar_rm(args[1]);
        if self.v4 {
            let mask = self.vreg(MASK);
            self.emit(Inst::new(forms::CMP_S.v4).def(mask).reg(a).rm(b).imm(predicate));
            return self.mask_bits(mask);
        }
        let ones = self.v2i(forms::CMP_S, a, b, predicate);
        let ones = self.first_element(ones);
        self.tied_imm(C::And_rm32_imm8, ones, 1)
    }

    /// Element 0 of a vector register.
    pub(super) fn first_element(&mut self, vector: VReg) -> VReg {
        let (code, def) = (self.code(forms::TO_GPR), self.vreg(GPR));
        self.emit(Inst::new(code).def(def).reg(vector));
        def
    }

    /// The low 16 bits of a k register.
    pub(super) fn mask_bits(&mut self, mask: VReg) -> VReg {
        let def = self.vreg(GPR);
        self.emit(Inst::new(C::VEX_Kmovw_r32_kr).def(def).reg(mask));
        def
    }

    /// A 32-bit float from memory.
    pub(super) fn load_scalar(&mut self, at: Addr) -> VReg {
        self.v1(forms::LOAD_S, Rm::Mem(at))
    }

    fn through_vector(&mut self, pure: Pure, args: &[Value], result: Value) -> VReg {
        let sources: Vec<Src> = args.iter().map(|&arg| Src::Reg(self.in_vector(arg))).collect();
        let vector = self.vector(pure, &sources);
        if self.scalar(result) == Scalar::F32 { vector } else { self.first_element(vector) }
    }

    /// A uniform i32 or f32 in element 0 of a vector register.
    pub(super) fn in_vector(&mut self, value: Value) -> VReg {
        let reg = self.uniform(value);
        if self.scalar(value) == Scalar::F32 { reg } else { self.v1(forms::FROM_GPR, reg) }
    }

    // ---- integers

    fn alu(&mut self, alu: Alu, args: &[Value], commutes: bool) -> VReg {
        let (mut a, mut b) = (args[0], args[1]);
        if commutes && self.constant(a).is_some() {
            (a, b) = (b, a);
        }
        let constant = self.constant(b);
        let a = self.uniform(a);
        match constant {
            Some(imm) if i8::try_from(imm).is_ok() => self.tied_imm(alu.byte, a, imm),
            Some(imm) => self.tied_imm(alu.word, a, imm),
            None => {
                let b = self.uniform(b);
                self.tied_rm(alu.register, a, Rm::Reg(b))
            }
        }
    }

    /// `compare(b, a) ? b : a`.
    fn choose(&mut self, args: &[Value], condition: ConditionCode) -> VReg {
        let (a, b) = (self.uniform(args[0]), self.uniform(args[1]));
        self.emit(Inst::new(C::Cmp_r32_rm32).reg(b).reg(a));
        self.tied_rm(cmov(condition), a, Rm::Reg(b))
    }

    fn scalar_shift(&mut self, args: &[Value], immediate: C, variable: C) -> VReg {
        let a = self.uniform(args[0]);
        if let Some(count) = self.constant(args[1]) {
            return self.tied_imm(immediate, a, count & 31);
        }
        let (b, def) = (self.uniform(args[1]), self.vreg(GPR));
        self.emit(Inst::new(variable).def(def).reg(a).reg(b));
        def
    }

    pub(super) fn set_condition(&mut self, compare: Inst, condition: ConditionCode) -> VReg {
        self.emit(compare);
        let byte = self.vreg(GPR);
        let code = match condition_bits(condition) {
            2 => C::Setb_rm8,
            3 => C::Setae_rm8,
            4 => C::Sete_rm8,
            6 => C::Setbe_rm8,
            7 => C::Seta_rm8,
            12 => C::Setl_rm8,
            13 => C::Setge_rm8,
            14 => C::Setle_rm8,
            15 => C::Setg_rm8,
            _ => C::Setne_rm8,
        };
        self.emit(Inst::new(code).def(byte));
        self.gpr_from(C::Movzx_r32_rm8, Rm::Reg(byte))
    }

    /// Total division: a zero divisor is replaced by 1 and the result by the policy's. The signed
    /// quotient is computed in 64 bits, where `MIN / -1` does not overflow.
    fn scalar_divide(&mut self, pure: Pure, args: &[Value]) -> VReg {
        let signed = matches!(pure, Pure::IDivS | Pure::IRemS);
        let remainder = matches!(pure, Pure::IRemS | Pure::IRemU);
        let x = self.uniform(args[0]);
        let constant = self.constant(args[1]).map(|d| d as i32 as u32);
        if let Some(d) = constant
            && d.is_power_of_two()
            && !signed
        {
            return if remainder {
                self.tied_imm(C::And_rm32_imm32, x, i64::from(d - 1))
            } else {
                self.tied_imm(C::Shr_rm32_imm8, x, i64::from(d.trailing_zeros()))
            };
        }
        let d = self.uniform(args[1]);
        let divisor = if constant.is_some_and(|d| d != 0) {
            d
        } else {
            let one = self.fresh_imm(1);
            self.emit(Inst::new(C::Test_rm32_r32).reg(d).reg(d));
            self.tied_rm(C::Cmove_r32_rm32, d, Rm::Reg(one))
        };
        let (code, low, high, divisor) = if signed {
            let low = self.gpr_from(C::Movsxd_r64_rm32, Rm::Reg(x));
            let high = self.tied_imm(C::Sar_rm64_imm8, low, 63);
            let divisor = self.gpr_from(C::Movsxd_r64_rm32, Rm::Reg(divisor));
            (C::Idiv_rm64, low, high, divisor)
        } else {
            let high = self.fresh_imm(0);
            (C::Div_rm32, x, high, divisor)
        };
        let (quotient, rest) = (self.vreg(GPR), self.vreg(GPR));
        let uses = [(low, hw::RAX), (high, hw::RDX)];
        let defs = [(quotient, hw::RAX), (rest, hw::RDX)];
        self.emit(Inst::new(code).reg(divisor).implicitly(&uses, &defs));
        let value = if remainder { rest } else { quotient };
        if constant.is_some_and(|d| d != 0) {
            return value;
        }
        let by_zero = if remainder { x } else { self.fresh_imm(0) };
        self.emit(Inst::new(C::Test_rm32_r32).reg(d).reg(d));
        self.tied_rm(C::Cmove_r32_rm32, value, Rm::Reg(by_zero))
    }

    fn scalar_select(&mut self, args: &[Value], result: Value) -> VReg {
        if self.scalar(result) == Scalar::F32 {
            let (a, b) = (self.uniform(args[1]), self.uniform(args[2]));
            let condition = self.uniform(args[0]);
            if self.v4 {
                let (mask, def) = (self.vreg(MASK), self.vreg(VEC));
                self.emit(Inst::new(C::VEX_Kmovw_kr_r32).def(mask).reg(condition));
                let code = C::EVEX_Vmovss_xmm_k1z_xmm_xmm;
                self.emit(Inst::new(code).tied(def, b).reg(a).reg(a).masked(mask, false));
                return def;
            }
            let ones = self.vreg(GPR);
            self.emit(Inst::new(C::Neg_rm32).tied(ones, condition));
            let (ones, def) = (self.v1(forms::FROM_GPR, ones), self.vreg(VEC));
            self.emit(Inst::new(C::VEX_Vblendvps_xmm_xmm_xmmm128_xmm).def(def).reg(b).reg(a).reg(ones));
            return def;
        }
        let (a, b) = (self.uniform(args[1]), self.uniform(args[2]));
        let fused = match self.val(args[0]) {
            Val::Pending(inst) => self.fused_compare(inst),
            _ => None,
        };
        let (compare, condition) = match fused {
            Some(fused) => fused,
            None => {
                let condition = self.uniform(args[0]);
                (Inst::new(C::Test_rm32_r32).reg(condition).reg(condition), ConditionCode::ne)
            }
        };
        self.emit(compare);
        self.tied_rm(cmov(condition), b, Rm::Reg(a))
    }

    /// `condition` (0 or 1, not 0) chooses an address: `real`, or `dummy`.
    pub(super) fn choose_address(&mut self, condition: VReg, real: Addr, dummy: Addr) -> VReg {
        let (real, dummy) = (self.address_reg(real), self.address_reg(dummy));
        self.emit(Inst::new(C::Test_rm32_r32).reg(condition).reg(condition));
        self.tied_rm(C::Cmovne_r64_rm64, dummy, Rm::Reg(real))
    }
}

/// The opcodes of a two-operand integer operation.
#[derive(Copy, Clone)]
struct Alu {
    register: C,
    byte: C,
    word: C,
}

const ADD: Alu = Alu { register: C::Add_r32_rm32, byte: C::Add_rm32_imm8, word: C::Add_rm32_imm32 };
const SUB: Alu = Alu { register: C::Sub_r32_rm32, byte: C::Sub_rm32_imm8, word: C::Sub_rm32_imm32 };
const AND: Alu = Alu { register: C::And_r32_rm32, byte: C::And_rm32_imm8, word: C::And_rm32_imm32 };
const OR: Alu = Alu { register: C::Or_r32_rm32, byte: C::Or_rm32_imm8, word: C::Or_rm32_imm32 };
const XOR: Alu = Alu { register: C::Xor_r32_rm32, byte: C::Xor_rm32_imm8, word: C::Xor_rm32_imm32 };

/// The 64-bit conditional move.
pub(super) fn cmov(condition: ConditionCode) -> C {
    match condition_bits(condition) {
        2 => C::Cmovb_r64_rm64,
        3 => C::Cmovae_r64_rm64,
        4 => C::Cmove_r64_rm64,
        6 => C::Cmovbe_r64_rm64,
        7 => C::Cmova_r64_rm64,
        12 => C::Cmovl_r64_rm64,
        13 => C::Cmovge_r64_rm64,
        14 => C::Cmovle_r64_rm64,
        15 => C::Cmovg_r64_rm64,
        _ => C::Cmovne_r64_rm64,
    }
}
