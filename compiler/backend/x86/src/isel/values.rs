//! Lane values while lowering: which registers hold them, and how an operand is asked for. Asking is what
//! emits a pending operation or makes a constant.

use regalloc2::{RegClass, VReg};
use tvmc_ir::lane::{Inst as LaneInst, Op, Scalar, Value};

use super::{Lower, Src, Val, forms};
use crate::mir::{Addr, GPR, MASK, Rm, VEC};

impl<'f> Lower<'f> {
    pub(super) fn set(&mut self, value: Value, val: Val<'f>) {
        self.values[value.index()] = val;
    }

    pub(super) fn set_reg(&mut self, value: Value, reg: VReg) {
        self.set(value, Val::Reg(reg));
    }

    pub(super) fn val(&self, value: Value) -> Val<'f> {
        self.values[value.index()].clone()
    }

    pub(super) fn scalar(&self, value: Value) -> Scalar {
        self.f.ty(value).scalar
    }

    pub(super) fn is_varying(&self, value: Value) -> bool {
        self.f.ty(value).is_varying()
    }

    /// The constant that a uniform value is known to be.
    pub(super) fn constant(&self, value: Value) -> Option<i64> {
        match &self.values[value.index()] {
            Val::Imm(imm) => Some(*imm),
            Val::Linear(linear) => linear.as_constant(),
            Val::SplatImm(bits) => Some(i64::from(*bits)),
            Val::Undefined
            | Val::Reg(_)
            | Val::Parts(_)
            | Val::LaneIndex
            | Val::Pending(_)
            | Val::Again(_) => None,
        }
    }

    /// Class of a value's registers.
    pub(super) fn class(&self, value: Value) -> RegClass {
        let ty = self.f.ty(value);
        match (ty.scalar, ty.is_varying()) {
            (Scalar::F32, _) | (Scalar::I32, true) => VEC,
            (Scalar::Bool, true) => {
                if self.v4 {
                    MASK
                } else {
                    VEC
                }
            }
            (Scalar::I32 | Scalar::I64 | Scalar::Bool, false) | (Scalar::I64, true) => GPR,
        }
    }

    /// Emits a pending operation now.
    pub(super) fn force(&mut self, value: Value) {
        if let Val::Pending(inst) = self.val(value) {
            self.emit_now(inst);
        }
    }

    /// The register of a uniform value.
    pub(super) fn uniform(&mut self, value: Value) -> VReg {
        self.force(value);
        match self.val(value) {
            Val::Reg(reg) => reg,
            Val::Imm(bits) if self.scalar(value) == Scalar::F32 => self.scalar_constant(bits as u32),
            Val::Imm(imm) => self.imm(imm),
            Val::Linear(linear) => self.linear_reg(&linear),
            Val::Undefined
            | Val::Parts(_)
            | Val::SplatImm(_)
            | Val::LaneIndex
            | Val::Pending(_)
            | Val::Again(_) => {
                unreachable!("{value} is not uniform")
            }
        }
    }

    /// An f32 constant in the low element of a vector register.
    pub(super) fn scalar_constant(&mut self, bits: u32) -> VReg {
        self.dword(bits)
    }

    /// The register of one part of a varying value.
    pub(super) fn part(&mut self, value: Value, part: u32) -> VReg {
        self.force(value);
        match self.val(value) {
            Val::Parts(parts) => parts[part as usize],
            Val::Again(inst) => match self.memory_of(inst, part) {
                Some(Rm::Broadcast(addr)) => self.v1(forms::BROADCAST, Rm::Mem(addr)),
                Some(memory) => self.v1(forms::LOAD, memory),
                None => unreachable!("only loads are read again"),
            },
            Val::SplatImm(bits) if self.scalar(value) == Scalar::Bool => self.bool_constant(bits != 0),
            Val::SplatImm(bits) => self.dword(bits),
            Val::LaneIndex => {
                let bytes = self.lane_numbers(part);
                self.vector_constant(bytes)
            }
            Val::Undefined | Val::Reg(_) | Val::Imm(_) | Val::Linear(_) | Val::Pending(_) => {
                unreachable!("{value} is not varying")
            }
        }
    }

    pub(super) fn lane_numbers(&mut self, part: u32) -> Vec<u8> {
        let first = part * self.width;
        self.vector_of(|l| first + l)
    }

    /// A varying bool constant.
    pub(super) fn bool_constant(&mut self, value: bool) -> VReg {
        match (self.v4, value) {
            (true, _) => self.mask_constant(if value { 0xffff } else { 0 }),
            (false, true) => self.dword(u32::MAX),
            (false, false) => self.dword(0),
        }
    }

    /// All registers of a value, in part order.
    pub(super) fn registers(&mut self, value: Value) -> Vec<VReg> {
        if self.is_varying(value) {
            (0..self.parts).map(|part| self.part(value, part)).collect()
        } else {
            vec![self.uniform(value)]
        }
    }

    /// Defines a value by registers in part order.
    pub(super) fn set_registers(&mut self, value: Value, registers: &[VReg]) {
        if self.is_varying(value) {
            self.set(value, Val::Parts(registers.into()));
        } else {
            self.set(value, Val::Reg(registers[0]));
        }
    }

    /// Defines a varying value part by part.
    pub(super) fn set_parts(&mut self, value: Value, mut make: impl FnMut(&mut Self, u32) -> VReg) {
        let parts: Vec<VReg> = (0..self.parts).map(|part| make(self, part)).collect();
        self.set(value, Val::Parts(parts.into()));
    }

    // ---- sources

    pub(super) fn source_constant(&self, source: Src) -> Option<u32> {
        match source {
            Src::Const(bits) => Some(bits),
            Src::Reg(_) => None,
            Src::Part(value, _) => match &self.values[value.index()] {
                Val::SplatImm(bits) => Some(*bits),
                Val::Undefined
                | Val::Reg(_)
                | Val::Parts(_)
                | Val::Imm(_)
                | Val::LaneIndex
                | Val::Linear(_)
                | Val::Pending(_)
                | Val::Again(_) => None,
            },
        }
    }

    pub(super) fn source(&mut self, source: Src) -> VReg {
        match source {
            Src::Part(value, part) => self.part(value, part),
            Src::Reg(reg) => reg,
            Src::Const(bits) => self.dword(bits),
        }
    }

    /// Whether `source_rm` would give memory.
    pub(super) fn in_memory(&self, source: Src) -> bool {
        match source {
            Src::Const(bits) => bits != 0,
            Src::Reg(_) => false,
            Src::Part(value, _) => match &self.values[value.index()] {
                Val::SplatImm(bits) => *bits != 0,
                Val::LaneIndex | Val::Pending(_) | Val::Again(_) => true,
                Val::Undefined | Val::Reg(_) | Val::Parts(_) | Val::Imm(_) | Val::Linear(_) => false,
            },
        }
    }

    /// The operand of a 32-bit operation whose last source may be memory.
    pub(super) fn source_rm(&mut self, source: Src) -> Rm {
        if let Some(bits) = self.source_constant(source) {
            return self.dword_operand(bits);
        }
        let Src::Part(value, part) = source else { return Rm::Reg(self.source(source)) };
        match self.val(value) {
            Val::Pending(inst) => match self.fold(inst, part) {
                Some(rm) => rm,
                None => Rm::Reg(self.part(value, part)),
            },
            Val::Again(inst) => match self.memory_of(inst, part) {
                Some(memory) => memory,
                None => Rm::Reg(self.part(value, part)),
            },
            Val::LaneIndex if !self.take_budget() => {
                let bytes = self.lane_numbers(part);
                Rm::Mem(Addr::pool(self.mir.pool.add(bytes.len() as u32, bytes)))
            }
            Val::Undefined
            | Val::Reg(_)
            | Val::Parts(_)
            | Val::Imm(_)
            | Val::SplatImm(_)
            | Val::LaneIndex
            | Val::Linear(_) => Rm::Reg(self.part(value, part)),
        }
    }

    /// A pending load or splat as a memory operand.
    pub(super) fn fold(&mut self, inst: &'f LaneInst, part: u32) -> Option<Rm> {
        if let Op::Splat = inst.op {
            return self.pending_load(inst.args[0]).map(Rm::Broadcast);
        }
        let addr = self.load_address(inst)?;
        if let (Op::Memory { place, .. }, 0) = (inst.op, part) {
            self.prefetch(place, addr);
        }
        Some(Rm::Mem(addr.plus((4 * self.width * part) as i32)))
    }

    /// Where a load, or a splat of one, reads one part.
    fn memory_of(&mut self, inst: &'f LaneInst, part: u32) -> Option<Rm> {
        if inst.op == Op::Splat {
            return self.pending_load(inst.args[0]).map(Rm::Broadcast);
        }
        self.load_address(inst).map(|addr| Rm::Mem(addr.plus((4 * self.width * part) as i32)))
    }

    pub(super) fn load_address(&mut self, inst: &'f LaneInst) -> Option<Addr> {
        let Op::Memory { place, mem, .. } = inst.op else { return None };
        Some(self.address(place, inst.args[0], mem.bytes()))
    }

    /// The address of a uniform load that waits for its use.
    pub(super) fn pending_load(&mut self, value: Value) -> Option<Addr> {
        let Val::Pending(inst) = self.val(value) else { return None };
        self.load_address(inst)
    }
}
