//! Machine IR as the register allocator sees it, and the allocator's answer.
//!
//! Blocks are numbered in layout order and instructions are numbered through. A branch's compare is an
//! ordinary instruction before it; moves that the allocator puts between the two leave the flags alone.
//! Left out of the allocatable set: rsp, rbp (the frame) and k0 (which cannot mask).

use iced_x86::ConditionCode;
use regalloc2::{
    Algorithm, Block, Function, Inst as Index, InstRange, MachineEnv, Operand, OperandConstraint,
    OperandKind, OperandPos, Output, PReg, PRegSet, RegClass, RegallocOptions, VReg,
};

use crate::features::Level;
use crate::mir::{Arg, Base, BlockId, GPR, Inst, MASK, Mir, Term, VEC, gpr};

/// An instruction of the flat list.
pub(crate) enum Flat<'m> {
    /// A machine instruction.
    Inst(&'m Inst),
    /// To the block with this layout number.
    Jump(usize),
    /// On the flags, to one of two blocks.
    Branch { condition: ConditionCode, then: usize, otherwise: usize },
    /// Back to the caller.
    Return,
}

/// The flat function.
pub(crate) struct Program<'m> {
    mir: &'m Mir,
    level: Level,
    pub insts: Vec<Flat<'m>>,
    operands: Vec<Operand>,
    operand_ends: Vec<u32>,
    pub ranges: Vec<InstRange>,
    pub succs: Vec<Vec<Block>>,
    preds: Vec<Vec<Block>>,
    /// Layout number to block.
    pub order: Vec<BlockId>,
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
            order: mir.order.clone(),
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
                to
            };
            let last = match &block.term {
                Term::Open => unreachable!("a block was left open"),
                Term::Return => Flat::Return,
                Term::Jump(to, _) => Flat::Jump(edge(*to)),
                Term::Branch { compare, condition, then, otherwise } => {
                    let (then, otherwise) = (edge(*then), edge(*otherwise));
                    program.push(compare);
                    Flat::Branch { condition: *condition, then, otherwise }
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
        &self.mir.blocks[self.order[block.index()].0 as usize].term
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
        &self.mir.blocks[self.order[block.index()].0 as usize].params
    }

    fn is_ret(&self, inst: Index) -> bool {
        matches!(self.insts[inst.index()], Flat::Return)
    }

    fn is_branch(&self, inst: Index) -> bool {
        matches!(self.insts[inst.index()], Flat::Jump(_) | Flat::Branch { .. })
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

/// Allocates registers; `check` runs the allocator's own symbolic checker over the answer.
pub(crate) fn allocate(program: &Program<'_>, check: bool) -> Result<Output, String> {
    let environment = environment(program.level);
    let options = RegallocOptions { verbose_log: false, validate_ssa: check, algorithm: Algorithm::Ion };
    let output = regalloc2::run(program, &environment, &options).map_err(|e| format!("{e:?}"))?;
    if check {
        let mut checker = regalloc2::checker::Checker::new(program, &environment);
        checker.prepare(&output);
        checker.run().map_err(|e| format!("{e:?}"))?;
    }
    Ok(output)
}
