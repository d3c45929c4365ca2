//! Machine IR as the register allocator sees it, and what it becomes by the allocator's answer.
//!
//! ```text
//! selected: Mir --Program--> regalloc2 --Output--> allocated: Mir<PReg>
//! ```
//!
//! An allocated function has the same instructions in machine registers. The allocator's moves are instructions among them, between registers and slots of the frame.
//!
//! Blocks are numbered in layout order and instructions are numbered through. A branch's compare is an
//! ordinary instruction before it; moves that the allocator puts between the two leave the flags alone.
//! Left out of the allocatable set: rsp, rbp (the frame) and k0 (which cannot mask).

use iced_x86::Code;
use regalloc2::{
    Algorithm, Allocation, Block, Edit, Function, Inst as Index, InstOrEdit, InstRange, MachineEnv, Operand,
    OperandConstraint, OperandKind, OperandPos, Output, PReg, PRegSet, RegClass, RegallocOptions, VReg,
};

use crate::features::Level;
use crate::mir::{Addr, Arg, Base, Block as Basic, BlockId, GPR, Implicit, Inst, MASK, Mir, Term, VEC, gpr};

/// An instruction of the flat list.
enum Flat<'m> {
    /// A machine instruction.
    Inst(&'m Inst),
    /// To another block.
    Jump,
    /// On the flags, to one of two blocks.
    Branch,
    /// Back to the caller.
    Return,
}

/// The flat function.
pub(crate) struct Program<'m> {
    mir: &'m Mir,
    level: Level,
    insts: Vec<Flat<'m>>,
    operands: Vec<Operand>,
    operand_ends: Vec<u32>,
    ranges: Vec<InstRange>,
    succs: Vec<Vec<Block>>,
    preds: Vec<Vec<Block>>,
}

/// Registers the caller expects unchanged.
pub(crate) const CALLEE_SAVED: [u8; 5] = [3, 12, 13, 14, 15];

impl<'m> Program<'m> {
    /// Flattens; the MIR's blocks must all be ended.
    pub fn new(mir: &'m Mir, level: Level) -> Self {
        let mut number = vec![usize::MAX; mir.blocks.len()];
        for (at, block) in mir.order.iter().enumerate() {
            number[block.0 as usize] = at;
        }
        let blocks = mir.order.len();
        let mut program = Self {
            mir,
            level,
            insts: Vec::new(),
            operands: Vec::new(),
            operand_ends: Vec::new(),
            ranges: Vec::with_capacity(blocks),
            succs: vec![Vec::new(); blocks],
            preds: vec![Vec::new(); blocks],
        };
        for (at, block) in mir.order.iter().enumerate() {
            let first = program.insts.len();
            let block = &mir.blocks[block.0 as usize];
            for inst in &block.insts {
                program.push(inst);
            }
            let mut edge = |to: BlockId| {
                let to = number[to.0 as usize];
                program.succs[at].push(Block::new(to));
                program.preds[to].push(Block::new(at));
            };
            block.term.targets().for_each(&mut edge);
            let last = match &block.term {
                Term::Open => unreachable!("a block was left open"),
                Term::Return => Flat::Return,
                Term::Jump(..) => Flat::Jump,
                Term::Branch { compare, .. } => {
                    compare.iter().for_each(|compare| program.push(compare));
                    Flat::Branch
                }
            };
            program.insts.push(last);
            program.operand_ends.push(program.operands.len() as u32);
            program.ranges.push(InstRange::new(Index::new(first), Index::new(program.insts.len())));
        }
        program
    }

    fn push(&mut self, inst: &'m Inst) {
        let first = self.operands.len();
        for arg in inst.args.iter().take(usize::from(inst.count)) {
            push_arg(*arg, first, &mut self.operands);
        }
        if inst.args.contains(&Arg::Mem) {
            if let Base::Reg(base) = inst.mem.base {
                self.operands.push(Operand::reg_use(base));
            }
            if let Some(index) = inst.mem.index {
                self.operands.push(Operand::reg_use(index));
            }
        }
        push_arg(inst.mask, first, &mut self.operands);
        if let Some(implicit) = &inst.implicit {
            for &(reg, fixed) in &implicit.uses {
                self.operands.push(Operand::reg_fixed_use(reg, gpr(fixed)));
            }
            for &(reg, fixed) in &implicit.defs {
                self.operands.push(Operand::reg_fixed_def(reg, gpr(fixed)));
            }
        }
        self.insts.push(Flat::Inst(inst));
        self.operand_ends.push(self.operands.len() as u32);
    }

    fn term(&self, block: Block) -> &Term {
        &self.mir.blocks[self.mir.order[block.index()].0 as usize].term
    }
}

fn push_arg(arg: Arg, first: usize, operands: &mut Vec<Operand>) {
    match arg {
        Arg::Use(reg) => operands.push(Operand::reg_use(reg)),
        Arg::Def(reg) => operands.push(Operand::reg_def(reg)),
        Arg::Tied { def, from } => {
            operands.push(Operand::reg_use(from));
            let reuse = OperandConstraint::Reuse(operands.len() - 1 - first);
            operands.push(Operand::new(def, reuse, OperandKind::Def, OperandPos::Late));
        }
        Arg::None | Arg::Same | Arg::Mem | Arg::Imm => {}
    }
}

impl Function for Program<'_> {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.ranges.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        self.ranges[block.index()]
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.succs[block.index()]
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.preds[block.index()]
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.mir.blocks[self.mir.order[block.index()].0 as usize].params
    }

    fn is_ret(&self, inst: Index) -> bool {
        matches!(self.insts[inst.index()], Flat::Return)
    }

    fn is_branch(&self, inst: Index) -> bool {
        matches!(self.insts[inst.index()], Flat::Jump | Flat::Branch)
    }

    fn branch_blockparams(&self, block: Block, _: Index, _: usize) -> &[VReg] {
        match self.term(block) {
            Term::Jump(_, args) => args,
            Term::Open | Term::Return | Term::Branch { .. } => &[],
        }
    }

    fn inst_operands(&self, inst: Index) -> &[Operand] {
        let at = inst.index();
        let from = if at == 0 { 0 } else { self.operand_ends[at - 1] };
        &self.operands[from as usize..self.operand_ends[at] as usize]
    }

    fn inst_clobbers(&self, _: Index) -> PRegSet {
        PRegSet::empty()
    }

    fn num_vregs(&self) -> usize {
        self.mir.vregs()
    }

    fn spillslot_size(&self, class: RegClass) -> usize {
        match (class, self.level) {
            (RegClass::Int | RegClass::Vector, _) => 1,
            (RegClass::Float, Level::V3) => 4,
            (RegClass::Float, Level::V4) => 8,
        }
    }
}

/// The registers of a level. Caller-saved general registers are preferred.
pub(crate) fn environment(level: Level) -> MachineEnv {
    let set = |class: RegClass, numbers: &mut dyn Iterator<Item = usize>| {
        numbers.fold(PRegSet::empty(), |set, n| set.with(PReg::new(n, class)))
    };
    let vectors = match level {
        Level::V3 => 16,
        Level::V4 => 32,
    };
    MachineEnv {
        preferred_regs_by_class: [
            set(GPR, &mut [0, 1, 2, 6, 7, 8, 9, 10, 11].into_iter()),
            set(VEC, &mut (0..vectors)),
            set(MASK, &mut (1..8)),
        ],
        non_preferred_regs_by_class: [
            set(GPR, &mut CALLEE_SAVED.into_iter().map(usize::from)),
            PRegSet::empty(),
            PRegSet::empty(),
        ],
        scratch_by_class: [None, None, None],
        fixed_stack_slots: Vec::new(),
    }
}

/// Allocates registers; `check` runs the allocator's own symbolic checker over the answer. Also counts the moves between registers that the allocator added.
pub(crate) fn allocate(mir: &Mir, check: bool) -> Result<(Mir<PReg>, usize), String> {
    let program = Program::new(mir, mir.level);
    let environment = environment(program.level);
    let options = RegallocOptions { verbose_log: false, validate_ssa: check, algorithm: Algorithm::Ion };
    let output = regalloc2::run(&program, &environment, &options).map_err(|e| format!("{e:?}"))?;
    if check {
        let mut checker = regalloc2::checker::Checker::new(&program, &environment);
        checker.prepare(&output);
        checker.run().map_err(|e| format!("{e:?}"))?;
    }
    program.allocated(&output)
}

impl Program<'_> {
    /// The function in the registers of an answer, blocks numbered in layout order.
    fn allocated(&self, output: &Output) -> Result<(Mir<PReg>, usize), String> {
        let mut allocated = Mir::new(&self.mir.name, self.level);
        allocated.pool = self.mir.pool.clone();
        allocated.scratch = self.mir.scratch;
        allocated.slots = output.num_spillslots as u32;
        let mut moves = 0;
        for (number, id) in self.mir.order.iter().enumerate() {
            let from = &self.mir.blocks[id.0 as usize];
            let mut insts = Vec::with_capacity(from.insts.len());
            for step in output.block_insts_and_edits(self, Block::new(number)) {
                match step {
                    InstOrEdit::Edit(Edit::Move { from, to }) => {
                        moves += usize::from(from.is_reg() && to.is_reg());
                        insts.push(self.edit(*from, *to)?);
                    }
                    InstOrEdit::Inst(index) => {
                        if let Flat::Inst(inst) = self.insts[index.index()] {
                            insts.push(in_registers(inst, output.inst_allocs(index))?);
                        }
                    }
                }
            }
            let target = |at: usize| BlockId(self.succs[number][at].index() as u32);
            let term = match &from.term {
                Term::Open => Term::Open,
                Term::Return => Term::Return,
                Term::Jump(..) => Term::Jump(target(0), Vec::new()),
                Term::Branch { condition, .. } => Term::Branch {
                    compare: None,
                    condition: *condition,
                    then: target(0),
                    otherwise: target(1),
                },
            };
            allocated.blocks.push(Basic { params: Vec::new(), insts, term, hot: from.hot });
            allocated.order.push(BlockId(number as u32));
        }
        Ok((allocated, moves))
    }

    /// A move that the allocator asks for.
    fn edit(&self, from: Allocation, to: Allocation) -> Result<Inst<PReg>, String> {
        let class = match (from.as_reg(), to.as_reg()) {
            (Some(reg), _) | (_, Some(reg)) => reg.class(),
            (None, None) => return Err("a move between two spill slots".to_owned()),
        };
        let (load, store) = match (class, self.level) {
            (RegClass::Int, _) => (Code::Mov_r64_rm64, Code::Mov_rm64_r64),
            (RegClass::Float, Level::V3) => (Code::VEX_Vmovaps_ymm_ymmm256, Code::VEX_Vmovaps_ymmm256_ymm),
            (RegClass::Float, Level::V4) => {
                (Code::EVEX_Vmovaps_zmm_k1z_zmmm512, Code::EVEX_Vmovaps_zmmm512_k1z_zmm)
            }
            (RegClass::Vector, _) => (Code::VEX_Kmovq_kr_km64, Code::VEX_Kmovq_m64_kr),
        };
        let place = |at: Allocation| match (at.as_reg(), at.as_stack()) {
            (Some(reg), _) => Ok(Arg::Use(reg)),
            (None, Some(_)) => Ok(Arg::Mem),
            (None, None) => Err("a move from or to nowhere".to_owned()),
        };
        let (source, target) = (place(from)?, to.as_reg().map_or(Arg::Mem, Arg::Def));
        let mut inst = Inst::empty(if target == Arg::Mem { store } else { load }).push(target).push(source);
        if let Some(slot) = from.as_stack().or(to.as_stack()) {
            inst.mem = Addr::slot(slot.index() as u32);
        }
        Ok(inst)
    }
}

/// An instruction in the registers that it was given, in the order of its operands.
fn in_registers(inst: &Inst, allocations: &[Allocation]) -> Result<Inst<PReg>, String> {
    let mut next = allocations.iter().copied();
    let mut take = || next.next().and_then(Allocation::as_reg).ok_or("an operand without a register");
    let arg = |arg: Arg, take: &mut dyn FnMut() -> Result<PReg, &'static str>| {
        Ok::<_, &str>(match arg {
            Arg::Use(_) => Arg::Use(take()?),
            Arg::Def(_) => Arg::Def(take()?),
            Arg::Tied { .. } => {
                let from = take()?;
                Arg::Tied { def: take()?, from }
            }
            Arg::None => Arg::None,
            Arg::Same => Arg::Same,
            Arg::Mem => Arg::Mem,
            Arg::Imm => Arg::Imm,
        })
    };
    let mut out = Inst::empty(inst.code);
    for one in inst.args() {
        out = out.push(arg(*one, &mut take)?);
    }
    if inst.memory().is_some() {
        let base = match inst.mem.base {
            Base::Reg(_) => Base::Reg(take()?),
            Base::Pool(id) => Base::Pool(id),
            Base::Frame => Base::Frame,
            Base::Slot(unit) => Base::Slot(unit),
        };
        let index = match inst.mem.index {
            Some(_) => Some(take()?),
            None => None,
        };
        out.mem = Addr { base, index, scale: inst.mem.scale, disp: inst.mem.disp };
    }
    out.mask = arg(inst.mask, &mut take)?;
    if let Some(implicit) = &inst.implicit {
        let mut fixed = |all: &[(VReg, u8)]| {
            all.iter().map(|(_, number)| Ok((take()?, *number))).collect::<Result<Vec<_>, &str>>()
        };
        out.implicit =
            Some(Box::new(Implicit { uses: fixed(&implicit.uses)?, defs: fixed(&implicit.defs)? }));
    }
    out.zeroing = inst.zeroing;
    out.broadcast = inst.broadcast;
    out.locked = inst.locked;
    out.imm = inst.imm;
    Ok(out)
}
