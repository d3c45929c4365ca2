//! Instruction selection: lane IR to machine IR, in program order, in one pass.
//!
//! # What a value is while lowering
//!
//! A uniform value is one register; a varying one is a register per *part* of `P` lanes. Some values
//! have no register until one is asked for: constants, the lane index, `i64` sums (see `address`), and
//! **pending** operations, which wait for their only use to take them in: a load becomes a memory
//! operand, a splat a broadcast operand, a comparison the flags of a jump, a bitwise operation a part of another.
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
mod atomic;
mod bitwise;
mod control;
mod convert;
mod cross_lane;
mod divide;
mod forms;
mod gather;
mod memory;
mod narrow;
mod packed;
mod residues;
mod uniform;
mod uses;
mod values;
mod vector;

use std::collections::HashMap;
use std::rc::Rc;

use iced_x86::Code as C;
use regalloc2::{RegClass, VReg};
use tvmc_ir::lane::{Function, Inst as LaneInst, Scalar, Value};

use crate::Error;
use crate::features::{Features, Level};
use crate::mir::{Addr, BlockId, GPR, Inst, MASK, Mir, PoolId, Rm, Term, VEC, hw};
use address::Linear;
use forms::Form;
use residues::Residues;
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
    /// A load whose uses are far apart, from memory that does not change in between: each reads it again, so that no register is taken for so long.
    Again(&'f LaneInst),
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
    /// Words of memory that is only read: their address, the offsets, their size, the mask.
    Words(Addr, VReg, u8, Option<VReg>),
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
    residues: Residues,
    arguments: VReg,
    blocks_xyz: [VReg; 3],
    arena_offsets: Vec<u64>,
}

/// Lowers a verified function.
pub(crate) fn lower(f: &Function, features: &Features) -> Result<Mir, Error> {
    let uses = Uses::of(f)?;
    let mut mir = Mir::new(&f.name, features.level);
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
        residues: Residues::of(f),
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
    fn cached(
        &mut self,
        key: Key,
        operands: u32,
        hoist: Hoist,
        make: impl FnOnce(&mut Self) -> VReg,
    ) -> VReg {
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

    /// A vector constant as the last operand of an instruction: a register while the innermost loop has
    /// some to spare.
    fn vector_operand(&mut self, bytes: Vec<u8>) -> Rm {
        let id = self.mir.pool.add(bytes.len() as u32, bytes);
        let known = self.cache.get(&Key::Pool(id)).is_some_and(|&(_, rank)| rank <= self.rank);
        if known || self.take_budget() {
            return Rm::Reg(self.cached(Key::Pool(id), 0, Hoist::Near, |this| {
                this.v1(forms::LOAD, Rm::Mem(Addr::pool(id)))
            }));
        }
        Rm::Mem(Addr::pool(id))
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
}
