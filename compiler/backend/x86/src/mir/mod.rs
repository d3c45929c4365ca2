//! Machine IR: x86 instructions over registers, in basic blocks. One form before register allocation, one after it.
//!
//! An instruction is an encoder opcode plus its operands in encoding order; there is no opcode table of
//! our own. Register widths follow from the opcode, so an operand says only *which* register and how it
//! is used. The flags are live only between what sets them and what reads them, in one block, and only moves may come between.
//!
//! | form | registers | what it has of its own |
//! |---|---|---|
//! | [`Mir`], selected | virtual, each defined once | block parameters, fixed registers of instructions |
//! | [`Mir<PReg>`], allocated | of the machine | spill slots, moves (ordinary instructions) |
//!
//! Both have one text (`print`, read back by [`parse`]) and one verifier ([`verify`]), and the emitter takes only the second:
//!
//! ```
//! use tvmc_backend_x86::mir::{Text, parse};
//! let text = "machine @twice v3 registers 3 scratch 0 {
//! b0:
//!   define writes (rdi=g0)
//!   Mov_r32_rm32 =g1, [g0 + 8]
//!   Add_r32_rm32 g2=g1, g1
//!   Mov_rm32_r32 [g0 + 8], g2
//!   return
//! }
//! ";
//! let Ok(Text::Selected(twice)) = parse(text) else { panic!("it is a selected function") };
//! assert_eq!(twice.to_string(), text);
//! assert_eq!(tvmc_backend_x86::mir::verify(&twice), Ok(()));
//! let wrong = text.replace("Add_r32_rm32 g2=g1, g1", "Add_r32_rm32 =g2, g1");
//! let Ok(Text::Selected(wrong)) = parse(&wrong) else { panic!("it can be read") };
//! let errors = tvmc_backend_x86::mir::verify(&wrong).unwrap_err();
//! assert_eq!(errors[0].to_string(), "b0[2]: operand 0 of Add_r32_rm32 is written, must be read and written (rule 12)");
//! ```

mod opcode;
mod parse;
mod print;
mod verify;

use std::collections::HashMap;

use iced_x86::{Code, ConditionCode};
use regalloc2::{PReg, RegClass, VReg};

use crate::features::Level;
pub(crate) use opcode::condition_bits;
pub use parse::{MAX_REGISTERS, Text, parse};
pub use verify::{MAX_ERRORS, MAX_FRAME, Rule, VerifyError, verify};

/// General registers: uniform integers, booleans, addresses.
pub const GPR: RegClass = RegClass::Int;
/// Vector registers: uniform f32 and everything varying (but V4 booleans).
pub const VEC: RegClass = RegClass::Float;
/// Mask registers of AVX-512.
pub const MASK: RegClass = RegClass::Vector;

/// A constant in the pool after the code.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct PoolId(pub u32);

/// A basic block.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockId(pub u32);

/// What an address starts from.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Base<R = VReg> {
    /// A register.
    Reg(R),
    /// A constant, relative to the instruction pointer. Takes no index.
    Pool(PoolId),
    /// The frame's scratch area.
    Frame,
    /// A spill slot: the number of its first 8-byte unit. Takes no index. After allocation only.
    Slot(u32),
}

/// A memory operand: `base + index * scale + disp`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Addr<R = VReg> {
    /// Where it starts.
    pub base: Base<R>,
    /// What is added, times `scale`; offsets of all lanes in gathers and scatters.
    pub index: Option<R>,
    /// 1, 2, 4 or 8; 1 without an index.
    pub scale: u8,
    /// Bytes.
    pub disp: i32,
}

impl<R> Addr<R> {
    /// A spill slot.
    pub fn slot(unit: u32) -> Self {
        Self { base: Base::Slot(unit), index: None, scale: 1, disp: 0 }
    }
}

impl Addr {
    /// The memory at a register.
    pub fn at(base: VReg, disp: i32) -> Self {
        Self { base: Base::Reg(base), index: None, scale: 1, disp }
    }

    /// A pool constant.
    pub fn pool(id: PoolId) -> Self {
        Self { base: Base::Pool(id), index: None, scale: 1, disp: 0 }
    }

    /// The scratch area of the frame.
    pub fn frame(disp: i32) -> Self {
        Self { base: Base::Frame, index: None, scale: 1, disp }
    }

    /// The same place, some bytes on.
    pub fn plus(self, bytes: i32) -> Self {
        Self { disp: self.disp.wrapping_add(bytes), ..self }
    }

    /// With an index register.
    pub fn indexed(self, index: VReg, scale: u8) -> Self {
        Self { index: Some(index), scale, ..self }
    }
}

/// An operand, in encoding order.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Arg<R = VReg> {
    /// Absent.
    None,
    /// A register that is read.
    Use(R),
    /// A register that is written.
    Def(R),
    /// The register that operand 0 defines, read for form's sake (zeroing idioms).
    Same,
    /// A register that is read as `from` and written as `def`.
    Tied {
        /// Written.
        def: R,
        /// Read; after allocation the same register.
        from: R,
    },
    /// The instruction's memory operand.
    Mem,
    /// The instruction's immediate.
    Imm,
}

/// Fixed registers an instruction uses without naming them.
#[derive(Clone, PartialEq, Debug)]
pub struct Implicit<R = VReg> {
    /// What is read, with the number of the general register that it is in.
    pub uses: Vec<(R, u8)>,
    /// What is written, likewise.
    pub defs: Vec<(R, u8)>,
}

/// A machine instruction. `Code::INVALID` emits nothing: it only defines registers.
#[derive(Clone, PartialEq, Debug)]
pub struct Inst<R = VReg> {
    /// The encoder's opcode.
    pub code: Code,
    /// Operands, the first `count` of them present.
    pub args: [Arg<R>; 5],
    /// How many operands there are.
    pub count: u8,
    /// The element mask: read, or read and cleared.
    pub mask: Arg<R>,
    /// Whether elements that are off become zero.
    pub zeroing: bool,
    /// Whether its memory is one element for all lanes.
    pub broadcast: bool,
    /// Reads and writes its memory as one step to every other thread.
    pub locked: bool,
    /// The address of [`Arg::Mem`].
    pub mem: Addr<R>,
    /// The value of [`Arg::Imm`].
    pub imm: i64,
    /// Fixed registers.
    pub implicit: Option<Box<Implicit<R>>>,
}

impl<R: Copy> Inst<R> {
    /// An instruction without operands yet.
    pub fn empty(code: Code) -> Self {
        Self {
            code,
            args: [Arg::None; 5],
            count: 0,
            mask: Arg::None,
            zeroing: false,
            broadcast: false,
            locked: false,
            mem: Addr { base: Base::Frame, index: None, scale: 1, disp: 0 },
            imm: 0,
            implicit: None,
        }
    }

    /// With one more operand.
    pub fn push(mut self, arg: Arg<R>) -> Self {
        self.args[usize::from(self.count)] = arg;
        self.count += 1;
        self
    }

    /// The operands that are there.
    pub fn args(&self) -> &[Arg<R>] {
        &self.args[..usize::from(self.count).min(self.args.len())]
    }

    /// The number of the memory operand.
    pub fn memory(&self) -> Option<usize> {
        self.args().iter().position(|arg| matches!(arg, Arg::Mem))
    }

    /// The registers that it names, with what it does with them: operands, address, mask, fixed ones, in the order in which the allocator numbers them.
    pub fn registers(&self, each: &mut dyn FnMut(R, Touch)) {
        let arg = |arg: &Arg<R>, each: &mut dyn FnMut(R, Touch)| match *arg {
            Arg::Use(reg) => each(reg, Touch::Read),
            Arg::Def(reg) => each(reg, Touch::Write),
            Arg::Tied { def, from } => {
                each(from, Touch::Read);
                each(def, Touch::Write);
            }
            Arg::None | Arg::Same | Arg::Mem | Arg::Imm => {}
        };
        self.args().iter().for_each(|one| arg(one, each));
        if self.memory().is_some() {
            if let Base::Reg(base) = self.mem.base {
                each(base, Touch::Read);
            }
            if let Some(index) = self.mem.index {
                each(index, Touch::Read);
            }
        }
        arg(&self.mask, each);
        if let Some(implicit) = &self.implicit {
            implicit.uses.iter().for_each(|(reg, _)| each(*reg, Touch::Read));
            implicit.defs.iter().for_each(|(reg, _)| each(*reg, Touch::Write));
        }
    }
}

/// What an instruction does with a register.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Touch {
    /// Its value is needed.
    Read,
    /// It has a new value afterwards.
    Write,
}

impl Inst {
    /// An instruction without operands yet.
    pub fn new(code: Code) -> Self {
        Self::empty(code)
    }

    /// The next operand is written.
    pub fn def(self, reg: VReg) -> Self {
        self.push(Arg::Def(reg))
    }

    /// The next operand is read.
    pub fn reg(self, reg: VReg) -> Self {
        self.push(Arg::Use(reg))
    }

    /// The next operand is the one operand 0 defines.
    pub fn same(self) -> Self {
        self.push(Arg::Same)
    }

    /// The next operand is read and overwritten.
    pub fn tied(self, def: VReg, from: VReg) -> Self {
        self.push(Arg::Tied { def, from })
    }

    /// The next operand is memory.
    pub fn mem(mut self, addr: Addr) -> Self {
        self.mem = addr;
        self.push(Arg::Mem)
    }

    /// The next operand is a constant.
    pub fn imm(mut self, imm: i64) -> Self {
        self.imm = imm;
        self.push(Arg::Imm)
    }

    /// The next operand is a register or memory.
    pub(crate) fn rm(mut self, rm: Rm) -> Self {
        match rm {
            Rm::Reg(reg) => self.reg(reg),
            Rm::Mem(addr) => self.mem(addr),
            Rm::Broadcast(addr) => {
                self.broadcast = true;
                self.mem(addr)
            }
        }
    }

    /// Masked: elements off in the mask become zero, or keep operand 0 (which is then tied).
    pub fn masked(mut self, mask: VReg, zeroing: bool) -> Self {
        self.mask = Arg::Use(mask);
        self.zeroing = zeroing;
        self
    }

    /// Masked by a register that the instruction clears (gather, scatter).
    pub fn consuming(mut self, def: VReg, from: VReg) -> Self {
        self.mask = Arg::Tied { def, from };
        self
    }

    /// One step to every other thread.
    pub fn locked(mut self) -> Self {
        self.locked = true;
        self
    }

    /// With fixed registers.
    pub fn implicitly(mut self, uses: &[(VReg, u8)], defs: &[(VReg, u8)]) -> Self {
        self.implicit = Some(Box::new(Implicit { uses: uses.to_vec(), defs: defs.to_vec() }));
        self
    }
}

/// A source operand that may lie in memory.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Rm {
    /// A register.
    Reg(VReg),
    /// Memory of the operand's width.
    Mem(Addr),
    /// One 32-bit element for all lanes (EVEX only).
    Broadcast(Addr),
}

impl From<VReg> for Rm {
    fn from(reg: VReg) -> Self {
        Rm::Reg(reg)
    }
}

/// How a block ends.
#[derive(Clone, PartialEq, Debug)]
pub enum Term<R = VReg> {
    /// Not yet ended.
    Open,
    /// Back to the caller.
    Return,
    /// To a block, with its parameters.
    Jump(BlockId, Vec<R>),
    /// Compare, then one of two blocks; neither has parameters nor another predecessor.
    Branch {
        /// Sets the flags. After allocation it stands at the end of the block's instructions, with moves behind it, and this is none.
        compare: Option<Box<Inst<R>>>,
        /// What is asked of the flags.
        condition: ConditionCode,
        /// Where it holds.
        then: BlockId,
        /// Where it does not.
        otherwise: BlockId,
    },
}

impl<R> Term<R> {
    /// The blocks that may come next.
    pub fn targets(&self) -> impl Iterator<Item = BlockId> {
        let (first, second) = match self {
            Term::Open | Term::Return => (None, None),
            Term::Jump(to, _) => (Some(*to), None),
            Term::Branch { then, otherwise, .. } => (Some(*then), Some(*otherwise)),
        };
        first.into_iter().chain(second)
    }
}

/// A basic block.
#[derive(Clone, PartialEq, Debug)]
pub struct Block<R = VReg> {
    /// What jumps to it give; none after allocation.
    pub params: Vec<R>,
    /// In order.
    pub insts: Vec<Inst<R>>,
    /// How it ends.
    pub term: Term<R>,
    /// Whether it starts an innermost loop.
    pub hot: bool,
}

/// A function of machine IR.
#[derive(Clone, PartialEq, Debug)]
pub struct Mir<R = VReg> {
    /// The kernel's name.
    pub name: String,
    /// Which registers and instructions there are.
    pub level: Level,
    /// By number.
    pub blocks: Vec<Block<R>>,
    /// Layout order of the blocks; the first is entered.
    pub order: Vec<BlockId>,
    /// How many virtual registers there are; 0 after allocation.
    pub vregs: u32,
    /// Constants.
    pub pool: Pool,
    /// Bytes of the frame's scratch area.
    pub scratch: u32,
    /// 8-byte units of spill slots; 0 before allocation.
    pub slots: u32,
}

/// What the registers of a form are.
pub trait Register: Copy + Eq + std::fmt::Debug {
    /// Whether they are the machine's.
    const ALLOCATED: bool;
    /// The word that the text begins with.
    const FORM: &'static str;
    /// The kind of register.
    fn class(self) -> RegClass;
    /// Its number: a virtual register's own, a machine register's within its class.
    fn number(self) -> usize;
    /// A register.
    fn of(number: usize, class: RegClass) -> Self;
}

impl Register for VReg {
    const ALLOCATED: bool = false;
    const FORM: &'static str = "machine";

    fn class(self) -> RegClass {
        VReg::class(self)
    }

    fn number(self) -> usize {
        self.vreg()
    }

    fn of(number: usize, class: RegClass) -> Self {
        VReg::new(number, class)
    }
}

impl Register for PReg {
    const ALLOCATED: bool = true;
    const FORM: &'static str = "allocated";

    fn class(self) -> RegClass {
        PReg::class(self)
    }

    fn number(self) -> usize {
        self.hw_enc()
    }

    fn of(number: usize, class: RegClass) -> Self {
        PReg::new(number, class)
    }
}

impl<R> Mir<R> {
    /// A function without blocks.
    pub fn new(name: &str, level: Level) -> Self {
        Self {
            name: name.to_owned(),
            level,
            blocks: Vec::new(),
            order: Vec::new(),
            vregs: 0,
            pool: Pool::default(),
            scratch: 0,
            slots: 0,
        }
    }

    /// Bytes of a vector register.
    pub fn vector_bytes(&self) -> u32 {
        match self.level {
            Level::V3 => 32,
            Level::V4 => 64,
        }
    }
}

impl Mir {
    /// A new virtual register.
    pub fn vreg(&mut self, class: RegClass) -> VReg {
        let index = self.vregs as usize;
        // Past the allocator's limit registers alias; `lower` refuses such a function before it is compiled.
        self.vregs += 1;
        VReg::new(index.min(VReg::MAX), class)
    }

    /// Number of virtual registers.
    pub fn vregs(&self) -> usize {
        self.vregs as usize
    }

    /// A new block, not yet placed.
    pub fn block(&mut self) -> BlockId {
        self.blocks.push(Block { params: Vec::new(), insts: Vec::new(), term: Term::Open, hot: false });
        BlockId(self.blocks.len() as u32 - 1)
    }

    /// The block's data.
    pub fn at(&mut self, block: BlockId) -> &mut Block {
        &mut self.blocks[block.0 as usize]
    }
}

/// The constants after the code. Equal ones are shared; wider ones come first, so all are aligned.
#[derive(Clone, Default, Debug)]
pub struct Pool {
    /// Alignment and bytes of each.
    pub entries: Vec<(u32, Vec<u8>)>,
    index: HashMap<(u32, Vec<u8>), PoolId>,
}

impl PartialEq for Pool {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Pool {
    /// The constant with these bytes and this alignment.
    pub fn add(&mut self, align: u32, bytes: Vec<u8>) -> PoolId {
        if let Some(&id) = self.index.get(&(align, bytes.clone())) {
            return id;
        }
        let id = PoolId(self.entries.len() as u32);
        self.entries.push((align, bytes.clone()));
        self.index.insert((align, bytes), id);
        id
    }

    /// Where each constant lies from the pool's start, and the pool's bytes.
    pub fn layout(&self) -> (Vec<u32>, Vec<u8>) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.entries[i].0));
        let mut offsets = vec![0; self.entries.len()];
        let mut bytes = Vec::new();
        for i in order {
            let (align, data) = &self.entries[i];
            bytes.resize(bytes.len().next_multiple_of(*align as usize), 0);
            offsets[i] = bytes.len() as u32;
            bytes.extend_from_slice(data);
        }
        (offsets, bytes)
    }
}

/// Hardware number of a general register that an ABI or an instruction fixes.
pub(crate) mod hw {
    pub const RAX: u8 = 0;
    pub const RCX: u8 = 1;
    pub const RDX: u8 = 2;
    pub const RSI: u8 = 6;
    pub const RDI: u8 = 7;
}

/// A general register as the allocator names it.
pub(crate) fn gpr(number: u8) -> PReg {
    PReg::new(usize::from(number), GPR)
}
