//! Machine IR: x86 instructions over virtual registers, in basic blocks with parameters.
//!
//! An instruction is an encoder opcode plus its operands in encoding order; there is no opcode table of
//! our own. Register widths follow from the opcode, so an operand says only *which* register and how it
//! is used. Every virtual register is defined once. Blocks end in a [`Term`]; the flags are live only
//! between a `Branch`'s compare and its jump, and only moves may come between the two.
//!
//! ```text
//! vfmadd231ps zmm, zmm, [m]{1to16}   Inst { code, args: [Tied { def: v9, from: v4 }, Use(v7), Mem], broadcast }
//! ```

use std::collections::HashMap;

use iced_x86::{Code, ConditionCode};
use regalloc2::{PReg, RegClass, VReg};

/// General registers: uniform integers, booleans, addresses.
pub(crate) const GPR: RegClass = RegClass::Int;
/// Vector registers: uniform f32 and everything varying (but V4 booleans).
pub(crate) const VEC: RegClass = RegClass::Float;
/// Mask registers of AVX-512.
pub(crate) const MASK: RegClass = RegClass::Vector;

/// A constant in the pool after the code.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PoolId(pub u32);

/// A basic block.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockId(pub u32);

/// What an address starts from.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Base {
    /// A register.
    Reg(VReg),
    /// A constant, relative to the instruction pointer. Takes no index.
    Pool(PoolId),
    /// The frame's scratch area.
    Frame,
}

/// A memory operand: `base + index * scale + disp`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Addr {
    pub base: Base,
    pub index: Option<VReg>,
    pub scale: u8,
    pub disp: i32,
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
pub(crate) enum Arg {
    /// Absent.
    None,
    /// A register that is read.
    Use(VReg),
    /// A register that is written.
    Def(VReg),
    /// The register that operand 0 defines, read for form's sake (zeroing idioms).
    Same,
    /// A register that is read as `from` and written as `def`.
    Tied { def: VReg, from: VReg },
    /// The instruction's memory operand.
    Mem,
    /// The instruction's immediate.
    Imm,
}

/// Fixed registers an instruction uses without naming them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Implicit {
    pub uses: Vec<(VReg, u8)>,
    pub defs: Vec<(VReg, u8)>,
}

/// A machine instruction. `Code::INVALID` emits nothing: it only defines registers.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub code: Code,
    pub args: [Arg; 5],
    pub count: u8,
    pub mask: Arg,
    pub zeroing: bool,
    pub broadcast: bool,
    /// Reads and writes its memory as one step to every other thread.
    pub locked: bool,
    pub mem: Addr,
    pub imm: i64,
    pub implicit: Option<Box<Implicit>>,
}

impl Inst {
    /// An instruction without operands yet.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            args: [Arg::None; 5],
            count: 0,
            mask: Arg::None,
            zeroing: false,
            broadcast: false,
            locked: false,
            mem: Addr::frame(0),
            imm: 0,
            implicit: None,
        }
    }

    fn push(mut self, arg: Arg) -> Self {
        self.args[usize::from(self.count)] = arg;
        self.count += 1;
        self
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
    pub fn rm(mut self, rm: Rm) -> Self {
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
#[derive(Clone, Debug)]
pub(crate) enum Term {
    /// Not yet ended.
    Open,
    /// Back to the caller.
    Return,
    /// To a block, with its parameters.
    Jump(BlockId, Vec<VReg>),
    /// Compare, then one of two blocks; neither has parameters nor another predecessor.
    Branch { compare: Box<Inst>, condition: ConditionCode, then: BlockId, otherwise: BlockId },
}

/// A basic block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub params: Vec<VReg>,
    pub insts: Vec<Inst>,
    pub term: Term,
    /// Whether it starts an innermost loop.
    pub hot: bool,
}

/// A function of machine IR.
pub(crate) struct Mir {
    pub blocks: Vec<Block>,
    /// Layout order of the blocks.
    pub order: Vec<BlockId>,
    vregs: u32,
    pub pool: Pool,
    /// Bytes of the frame's scratch area.
    pub scratch: u32,
}

impl Mir {
    pub fn new() -> Self {
        Self { blocks: Vec::new(), order: Vec::new(), vregs: 0, pool: Pool::default(), scratch: 0 }
    }

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
#[derive(Default)]
pub(crate) struct Pool {
    pub entries: Vec<(u32, Vec<u8>)>,
    index: HashMap<(u32, Vec<u8>), PoolId>,
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
