//! Instruction selection: lane IR to machine IR, in program order, in one pass.
//!
//! # What a value is while lowering
//!
//! A uniform value is one register; a varying one is a register per *part* of `P` lanes. Some values
//! have no register until one is asked for: constants, the lane index, `i64` sums (see `address`), and
//! **pending** operations, which wait for their only use to take them in: a load becomes a memory
//! operand, a splat a broadcast operand, a comparison the flags of a jump.
//!
//! # Where code goes
//!
//! Operations go to the current block, in order. What depends only on values from outside a loop
//! (constants, addresses, masks) may go to the loop's *entry block*, which runs once if the loop runs at
//! all. A **rank** says where a register is available: `2 s` is the entry block of scope `s`, `2 s + 1` its
//! body; a register of rank `r` may be used wherever the current rank is at least `r`. `cached` shares
//! such registers until their scope closes.

mod address;
mod arith;
mod control;
mod convert;
mod cross_lane;
mod divide;
mod forms;
mod gather;
mod memory;
mod narrow;
mod packed;
mod uniform;
mod uses;
mod vector;

use std::collections::HashMap;
use std::rc::Rc;

use iced_x86::Code as C;
use regalloc2::{RegClass, VReg};
use tvmc_ir::lane::{Function, Inst as LaneInst, Op, Scalar, Value};

use crate::Error;
use crate::features::{Features, Level};
use crate::mir::{Addr, BlockId, GPR, Inst, MASK, Mir, PoolId, Rm, Term, VEC, hw};
use address::Linear;
use forms::Form;
use uses::Uses;

/// What is known of a lane value.
#[derive(Clone)]
enum Val<'f> {
    /// Not defined yet.
    Undefined,
    /// A uniform value in a register.
    Reg(VReg),
    /// A varying value: a register per part.
    Parts(Rc<[VReg]>),
    /// A uniform constant: an integer, a bool, or the bits of an f32.
    Imm(i64),
    /// A varying constant, the same in all lanes.
    SplatImm(u32),
    /// Each lane's number.
    LaneIndex,
    /// A uniform `i64` as a sum.
    Linear(Rc<Linear>),
    /// Waits for its only use.
    Pending(&'f LaneInst),
}

/// A source operand of a vector instruction.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Src {
    /// A part of a varying value.
    Part(Value, u32),
    /// A register.
    Reg(VReg),
    /// A constant in all lanes (for booleans: 0 or 1).
    Const(u32),
}

/// What a shared register holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    /// A pool constant in a vector register.
    Pool(PoolId),
    /// A 32-bit constant in all lanes.
    Dword(u32),
    /// An integer constant in a general register.
    Imm(i64),
    /// A constant mask register.
    Mask(u64),
    /// A register sign-extended to 64 bits, or zero-extended.
    SignExtended(VReg),
    ZeroExtended(VReg),
    /// Register times constant.
    Scaled(VReg, i64),
    /// Sum of two registers, the second scaled.
    Sum(VReg, VReg, u8),
    /// Register plus constant.
    Plus(VReg, i64),
    /// The address of a place.
    Buffer(u32),
    ArgumentField(i32),
    /// `128 * (sum of the bytes)` per lane: the correction of a biased dot product.
    DotBias(VReg, bool),
}

/// A lexical scope of registers.
struct Scope {
    /// The block before a loop's first iteration.
    enter: Option<BlockId>,
    keys: Vec<Key>,
    /// How many more vector constants may be kept in registers through this loop.
    budget: i32,
    /// Bytes that code of this scope has read, by address without displacement.
    readable: HashMap<Addr, (i32, i32)>,
}

impl Scope {
    fn new(enter: Option<BlockId>, budget: i32) -> Self {
        Self { enter, keys: Vec::new(), budget, readable: HashMap::new() }
    }
}

/// How far out of loops a shared computation may go.
#[derive(Copy, Clone, PartialEq)]
enum Hoist {
    /// As far as its operands allow.
    Far,
    /// Out of the innermost loop only: it stays near its use and presses on fewer registers.
    Near,
}

/// The state of lowering one function.
struct Lower<'f> {
    f: &'f Function,
    features: Features,
    v4: bool,
    width: u32,
    parts: u32,
    mir: Mir,
    block: BlockId,
    entry: BlockId,
    rank: u32,
    scopes: Vec<Scope>,
    cache: HashMap<Key, (VReg, u32)>,
    ranks: Vec<u32>,
    values: Vec<Val<'f>>,
    uses: Uses<'f>,
    arguments: VReg,
    blocks_xyz: [VReg; 3],
    arena_offsets: Vec<u64>,
}

/// Lowers a verified function.
pub(crate) fn lower(f: &Function, features: &Features) -> Result<Mir, Error> {
    let uses = Uses::of(f)?;
    let mut mir = Mir::new();
    let entry = mir.block();
    mir.order.push(entry);
    let width = features.width();
    let placeholder = VReg::new(0, GPR);
    let mut lower = Lower {
        f,
        features: *features,
        v4: features.level == Level::V4,
        width,
        parts: f.lanes.div_ceil(width),
        mir,
        block: entry,
        entry,
        rank: 1,
        scopes: vec![Scope::new(None, 0)],
        cache: HashMap::new(),
        ranks: Vec::new(),
        values: vec![Val::Undefined; f.values.len()],
        uses,
        arguments: placeholder,
        blocks_xyz: [placeholder; 3],
        arena_offsets: f.arena_offsets(),
    };
    lower.arguments();
    lower.region(&f.body)?;
    lower.finish(Term::Return);
    Ok(lower.mir)
}

impl<'f> Lower<'f> {
    // ---- registers, blocks, emission

    fn vreg(&mut self, class: RegClass) -> VReg {
        self.ranks.push(self.rank);
        self.mir.vreg(class)
    }

    fn rank_of(&self, reg: VReg) -> u32 {
        self.ranks[reg.vreg()]
    }

    fn emit(&mut self, inst: Inst) {
        let block = self.block;
        self.mir.at(block).insts.push(inst);
    }

    /// Ends the current block.
    fn finish(&mut self, term: Term) {
        let block = self.block;
        self.mir.at(block).term = term;
    }

    /// Goes on in a new block.
    fn place(&mut self, block: BlockId) {
        self.mir.order.push(block);
        self.block = block;
    }

    /// The registers that the caller passes, and the scalar arguments.
    fn arguments(&mut self) {
        self.arguments = self.vreg(GPR);
        self.blocks_xyz = [self.vreg(GPR), self.vreg(GPR), self.vreg(GPR)];
        let [x, y, z] = self.blocks_xyz;
        let defs = [(self.arguments, hw::RDI), (x, hw::RSI), (y, hw::RDX), (z, hw::RCX)];
        self.emit(Inst::new(C::INVALID).implicitly(&[], &defs));
        if self.f.scalars.is_empty() {
            return;
        }
        let table = self.argument_field(tvmc_ir::lane::abi::SCALARS);
        for (number, scalar) in self.f.scalars.iter().enumerate() {
            let at = Addr::at(table, 8 * number as i32);
            let reg = match scalar.scalar {
                Scalar::F32 => self.load_scalar(at),
                Scalar::I32 => self.gpr_from(C::Mov_r32_rm32, Rm::Mem(at)),
                Scalar::I64 => self.gpr_from(C::Mov_r64_rm64, Rm::Mem(at)),
                Scalar::Bool => {
                    let byte = self.gpr_from(C::Movzx_r32_rm8, Rm::Mem(at));
                    self.tied_imm(C::And_rm32_imm8, byte, 1)
                }
            };
            self.set(scalar.value, Val::Reg(reg));
        }
    }

    /// A 64-bit field of the argument struct, loaded once in the entry block.
    fn argument_field(&mut self, offset: i32) -> VReg {
        let arguments = self.arguments;
        self.in_entry(Key::ArgumentField(offset), |this| {
            this.gpr_from(C::Mov_r64_rm64, Rm::Mem(Addr::at(arguments, offset)))
        })
    }

    /// A register computed in the entry block and shared by the whole function.
    fn in_entry(&mut self, key: Key, make: impl FnOnce(&mut Self) -> VReg) -> VReg {
        if let Some(&(reg, rank)) = self.cache.get(&key)
            && rank == 1
        {
            return reg;
        }
        let (block, rank) = (self.block, self.rank);
        (self.block, self.rank) = (self.entry, 1);
        let reg = make(self);
        (self.block, self.rank) = (block, rank);
        self.cache.insert(key, (reg, 1));
        reg
    }

    /// A shared register: found, or computed as far out as `hoist` and its operands (of at most this
    /// rank) allow. `make` must have no effect but its result.
    fn cached(&mut self, key: Key, operands: u32, hoist: Hoist, make: impl FnOnce(&mut Self) -> VReg) -> VReg {
        if let Some(&(reg, rank)) = self.cache.get(&key)
            && rank <= self.rank
        {
            return reg;
        }
        let fits = |&scope: &u32| {
            self.scopes[scope as usize].enter.is_some() && operands <= 2 * scope && 2 * scope < self.rank
        };
        let scopes = 0..=self.rank / 2;
        let home = match hoist {
            Hoist::Far => scopes.into_iter().find(fits),
            Hoist::Near => scopes.into_iter().rev().find(fits),
        };
        let (block, rank) = (self.block, self.rank);
        if let Some(scope) = home
            && let Some(enter) = self.scopes[scope as usize].enter
        {
            (self.block, self.rank) = (enter, 2 * scope);
        }
        let reg = make(self);
        let made_at = self.rank;
        (self.block, self.rank) = (block, rank);
        self.scopes[(made_at / 2) as usize].keys.push(key.clone());
        self.cache.insert(key, (reg, made_at));
        reg
    }

    /// Opens a scope; a loop's has an entry block.
    fn open(&mut self, enter: Option<BlockId>, budget: i32) {
        self.scopes.push(Scope::new(enter, budget));
        self.rank = 2 * (self.scopes.len() as u32 - 1) + 1;
    }

    /// Closes the innermost scope: what was computed in it is no longer shared.
    fn close(&mut self) {
        let depth = self.scopes.len() as u32 - 1;
        if let Some(scope) = self.scopes.pop() {
            for key in scope.keys {
                if self.cache.get(&key).is_some_and(|&(_, rank)| rank / 2 == depth) {
                    self.cache.remove(&key);
                }
            }
        }
        self.rank = 2 * (depth - 1) + 1;
    }

    // ---- general registers

    fn gpr_from(&mut self, code: C, source: Rm) -> VReg {
        let def = self.vreg(GPR);
        self.emit(Inst::new(code).def(def).rm(source));
        def
    }

    fn tied_imm(&mut self, code: C, from: VReg, imm: i64) -> VReg {
        let def = self.vreg(GPR);
        self.emit(Inst::new(code).tied(def, from).imm(imm));
        def
    }

    fn tied_rm(&mut self, code: C, from: VReg, source: Rm) -> VReg {
        let def = self.vreg(GPR);
        self.emit(Inst::new(code).tied(def, from).rm(source));
        def
    }

    /// A constant in a general register, made here.
    fn fresh_imm(&mut self, imm: i64) -> VReg {
        let def = self.vreg(GPR);
        let inst = if imm == 0 {
            Inst::new(C::Xor_r32_rm32).def(def).same()
        } else if u32::try_from(imm).is_ok() {
            Inst::new(C::Mov_r32_imm32).def(def).imm(imm)
        } else if i32::try_from(imm).is_ok() {
            Inst::new(C::Mov_rm64_imm32).def(def).imm(imm)
        } else {
            Inst::new(C::Mov_r64_imm64).def(def).imm(imm)
        };
        self.emit(inst);
        def
    }

    /// A constant in a general register, shared.
    fn imm(&mut self, imm: i64) -> VReg {
        self.cached(Key::Imm(imm), 0, Hoist::Near, |this| this.fresh_imm(imm))
    }

    // ---- vector registers

    fn code(&self, form: Form) -> C {
        if self.v4 { form.v4 } else { form.v3 }
    }

    /// `def = form(a)`.
    fn v1(&mut self, form: Form, a: impl Into<Rm>) -> VReg {
        let (code, def) = (self.code(form), self.vreg(VEC));
        self.emit(Inst::new(code).def(def).rm(a.into()));
        def
    }

    /// `def = form(a, imm)`.
    fn v1i(&mut self, form: Form, a: impl Into<Rm>, imm: i64) -> VReg {
        let (code, def) = (self.code(form), self.vreg(VEC));
        self.emit(Inst::new(code).def(def).rm(a.into()).imm(imm));
        def
    }

    /// `def = form(a, b)`.
    fn v2(&mut self, form: Form, a: VReg, b: impl Into<Rm>) -> VReg {
        let (code, def) = (self.code(form), self.vreg(VEC));
        self.emit(Inst::new(code).def(def).reg(a).rm(b.into()));
        def
    }

    /// `def = form(a, b, imm)`.
    fn v2i(&mut self, form: Form, a: VReg, b: impl Into<Rm>, imm: i64) -> VReg {
        let (code, def) = (self.code(form), self.vreg(VEC));
        self.emit(Inst::new(code).def(def).reg(a).rm(b.into()).imm(imm));
        def
    }

    /// `def = form(from, a, b)` in place of `from`.
    fn v_tied(&mut self, form: Form, from: VReg, a: VReg, b: impl Into<Rm>) -> VReg {
        let (code, def) = (self.code(form), self.vreg(VEC));
        self.emit(Inst::new(code).tied(def, from).reg(a).rm(b.into()));
        def
    }

    /// A zeroed vector register, made here.
    fn fresh_zero(&mut self) -> VReg {
        let (code, def) = (self.code(forms::XOR_X), self.vreg(VEC));
        self.emit(Inst::new(code).def(def).same().same());
        def
    }

    /// The memory that holds a constant in every lane, as an operand of a 32-bit operation.
    fn dword_rm(&mut self, bits: u32) -> Rm {
        if self.v4 {
            Rm::Broadcast(Addr::pool(self.mir.pool.add(4, bits.to_le_bytes().to_vec())))
        } else {
            Rm::Mem(Addr::pool(self.full_pool(bits)))
        }
    }

    fn full_pool(&mut self, bits: u32) -> PoolId {
        let bytes: Vec<u8> = bits.to_le_bytes().repeat(self.width as usize);
        self.mir.pool.add(4 * self.width, bytes)
    }

    /// A constant in every lane, in a register.
    fn dword(&mut self, bits: u32) -> VReg {
        self.cached(Key::Dword(bits), 0, Hoist::Near, |this| {
            if bits == 0 {
                return this.fresh_zero();
            }
            let id = this.mir.pool.add(4, bits.to_le_bytes().to_vec());
            this.v1(forms::BROADCAST, Rm::Mem(Addr::pool(id)))
        })
    }

    /// A constant operand of a 32-bit operation: a register while the innermost loop has some to spare.
    fn dword_operand(&mut self, bits: u32) -> Rm {
        let known = self.cache.get(&Key::Dword(bits)).is_some_and(|&(_, rank)| rank <= self.rank);
        if bits == 0 || known || self.take_budget() {
            return Rm::Reg(self.dword(bits));
        }
        self.dword_rm(bits)
    }

    fn take_budget(&mut self) -> bool {
        let innermost = self.scopes.iter_mut().rev().find(|s| s.enter.is_some());
        match innermost {
            Some(scope) if scope.budget > 0 => {
                scope.budget -= 1;
                true
            }
            _ => false,
        }
    }

    /// A vector constant given by all its bytes, in a register.
    fn vector_constant(&mut self, bytes: Vec<u8>) -> VReg {
        let id = self.mir.pool.add(bytes.len() as u32, bytes);
        self.cached(Key::Pool(id), 0, Hoist::Near, |this| this.v1(forms::LOAD, Rm::Mem(Addr::pool(id))))
    }

    /// A vector constant given by its 32-bit elements.
    fn vector_of(&mut self, element: impl Fn(u32) -> u32) -> Vec<u8> {
        (0..self.width).flat_map(|l| element(l).to_le_bytes()).collect()
    }

    /// A constant k register.
    fn mask_constant(&mut self, bits: u64) -> VReg {
        self.cached(Key::Mask(bits), 0, Hoist::Near, |this| {
            let value = this.fresh_imm(bits as i64);
            let def = this.vreg(MASK);
            this.emit(Inst::new(C::VEX_Kmovq_kr_r64).def(def).reg(value));
            def
        })
    }

    // ---- values

    fn set(&mut self, value: Value, val: Val<'f>) {
        self.values[value.index()] = val;
    }

    fn set_reg(&mut self, value: Value, reg: VReg) {
        self.set(value, Val::Reg(reg));
    }

    fn val(&self, value: Value) -> Val<'f> {
        self.values[value.index()].clone()
    }

    fn scalar(&self, value: Value) -> Scalar {
        self.f.ty(value).scalar
    }

    fn is_varying(&self, value: Value) -> bool {
        self.f.ty(value).is_varying()
    }

    /// The constant that a uniform value is known to be.
    fn constant(&self, value: Value) -> Option<i64> {
        match &self.values[value.index()] {
            Val::Imm(imm) => Some(*imm),
            Val::Linear(linear) => linear.as_constant(),
            Val::SplatImm(bits) => Some(i64::from(*bits)),
            Val::Undefined | Val::Reg(_) | Val::Parts(_) | Val::LaneIndex | Val::Pending(_) => None,
        }
    }

    /// Class of a value's registers.
    fn class(&self, value: Value) -> RegClass {
        let ty = self.f.ty(value);
        match (ty.scalar, ty.is_varying()) {
            (Scalar::F32, _) | (Scalar::I32, true) => VEC,
            (Scalar::Bool, true) => if self.v4 { MASK } else { VEC },
            (Scalar::I32 | Scalar::I64 | Scalar::Bool, false) | (Scalar::I64, true) => GPR,
        }
    }

    /// Emits a pending operation now.
    fn force(&mut self, value: Value) {
        if let Val::Pending(inst) = self.val(value) {
            self.emit_now(inst);
        }
    }

    /// The register of a uniform value.
    fn uniform(&mut self, value: Value) -> VReg {
        self.force(value);
        match self.val(value) {
            Val::Reg(reg) => reg,
            Val::Imm(bits) if self.scalar(value) == Scalar::F32 => self.scalar_constant(bits as u32),
            Val::Imm(imm) => self.imm(imm),
            Val::Linear(linear) => self.linear_reg(&linear),
            Val::Undefined | Val::Parts(_) | Val::SplatImm(_) | Val::LaneIndex | Val::Pending(_) => {
                unreachable!("{value} is not uniform")
            }
        }
    }

    /// An f32 constant in the low element of a vector register.
    fn scalar_constant(&mut self, bits: u32) -> VReg {
        self.dword(bits)
    }

    /// The register of one part of a varying value.
    fn part(&mut self, value: Value, part: u32) -> VReg {
        self.force(value);
        match self.val(value) {
            Val::Parts(parts) => parts[part as usize],
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

    fn lane_numbers(&mut self, part: u32) -> Vec<u8> {
        let first = part * self.width;
        self.vector_of(|l| first + l)
    }

    /// A varying bool constant.
    fn bool_constant(&mut self, value: bool) -> VReg {
        match (self.v4, value) {
            (true, _) => self.mask_constant(if value { 0xffff } else { 0 }),
            (false, true) => self.dword(u32::MAX),
            (false, false) => self.dword(0),
        }
    }

    /// All registers of a value, in part order.
    fn registers(&mut self, value: Value) -> Vec<VReg> {
        if self.is_varying(value) {
            (0..self.parts).map(|part| self.part(value, part)).collect()
        } else {
            vec![self.uniform(value)]
        }
    }

    /// Defines a value by registers in part order.
    fn set_registers(&mut self, value: Value, registers: &[VReg]) {
        if self.is_varying(value) {
            self.set(value, Val::Parts(registers.into()));
        } else {
            self.set(value, Val::Reg(registers[0]));
        }
    }

    /// Defines a varying value part by part.
    fn set_parts(&mut self, value: Value, mut make: impl FnMut(&mut Self, u32) -> VReg) {
        let parts: Vec<VReg> = (0..self.parts).map(|part| make(self, part)).collect();
        self.set(value, Val::Parts(parts.into()));
    }

    // ---- sources

    fn source_constant(&self, source: Src) -> Option<u32> {
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
                | Val::Pending(_) => None,
            },
        }
    }

    fn source(&mut self, source: Src) -> VReg {
        match source {
            Src::Part(value, part) => self.part(value, part),
            Src::Reg(reg) => reg,
            Src::Const(bits) => self.dword(bits),
        }
    }

    /// Whether `source_rm` would give memory.
    fn in_memory(&self, source: Src) -> bool {
        match source {
            Src::Const(bits) => bits != 0,
            Src::Reg(_) => false,
            Src::Part(value, _) => match &self.values[value.index()] {
                Val::SplatImm(bits) => *bits != 0,
                Val::LaneIndex | Val::Pending(_) => true,
                Val::Undefined | Val::Reg(_) | Val::Parts(_) | Val::Imm(_) | Val::Linear(_) => false,
            },
        }
    }

    /// The operand of a 32-bit operation whose last source may be memory.
    fn source_rm(&mut self, source: Src) -> Rm {
        if let Some(bits) = self.source_constant(source) {
            return self.dword_operand(bits);
        }
        let Src::Part(value, part) = source else { return Rm::Reg(self.source(source)) };
        match self.val(value) {
            Val::Pending(inst) => match self.fold(inst, part) {
                Some(rm) => rm,
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
    fn fold(&mut self, inst: &'f LaneInst, part: u32) -> Option<Rm> {
        if let Op::Splat = inst.op {
            return self.pending_load(inst.args[0]).map(Rm::Broadcast);
        }
        let addr = self.load_address(inst)?;
        Some(Rm::Mem(addr.plus((4 * self.width * part) as i32)))
    }

    fn load_address(&mut self, inst: &'f LaneInst) -> Option<Addr> {
        let Op::Memory { place, mem, .. } = inst.op else { return None };
        Some(self.address(place, inst.args[0], mem.bytes()))
    }

    /// The address of a uniform load that waits for its use.
    fn pending_load(&mut self, value: Value) -> Option<Addr> {
        let Val::Pending(inst) = self.val(value) else { return None };
        self.load_address(inst)
    }
}
