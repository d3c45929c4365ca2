//! Rules 7 and 8: what is read has been written, on every path.
//!
//! Virtual registers are defined once, so a definition must stand before its use in the same block, or in one that dominates it. Registers and slots of the machine
//! are written many times: what is written on all paths is found by going forward until nothing changes.

use regalloc2::RegClass;

use super::super::print::Name;
use super::super::{Base, BlockId, Inst, Mir, Register, Term, Touch};
use super::{At, Rule, Verifier};

/// The blocks that can be reached, each before what only it leads to.
pub(super) fn reverse_postorder<R>(mir: &Mir<R>) -> Vec<BlockId> {
    let mut seen = vec![false; mir.blocks.len()];
    let mut postorder = Vec::new();
    let mut stack: Vec<(BlockId, Vec<BlockId>)> = Vec::new();
    let next = |id: BlockId| -> Vec<BlockId> {
        mir.blocks.get(id.0 as usize).map(|block| block.term.targets().collect()).unwrap_or_default()
    };
    if let Some(&entry) = mir.order.first() {
        seen[entry.0 as usize] = true;
        stack.push((entry, next(entry)));
    }
    while let Some((id, left)) = stack.last_mut() {
        match left.pop() {
            Some(to) if !seen[to.0 as usize] => {
                seen[to.0 as usize] = true;
                stack.push((to, next(to)));
            }
            Some(_) => {}
            None => {
                postorder.push(*id);
                stack.pop();
            }
        }
    }
    postorder.reverse();
    postorder
}

/// For each block its immediate dominator, by number.
struct Dominators {
    immediate: Vec<usize>,
}

impl Dominators {
    fn of<R>(mir: &Mir<R>, order: &[BlockId]) -> Self {
        const NONE: usize = usize::MAX;
        let blocks = mir.blocks.len();
        let mut place = vec![NONE; blocks];
        order.iter().enumerate().for_each(|(at, id)| place[id.0 as usize] = at);
        let mut predecessors = vec![Vec::new(); blocks];
        for id in order {
            for to in mir.blocks[id.0 as usize].term.targets() {
                predecessors[to.0 as usize].push(id.0 as usize);
            }
        }
        let mut immediate = vec![NONE; blocks];
        if let Some(entry) = order.first() {
            immediate[entry.0 as usize] = entry.0 as usize;
        }
        let mut changed = true;
        while changed {
            changed = false;
            for id in order.iter().skip(1) {
                let at = id.0 as usize;
                let known = predecessors[at].iter().copied().filter(|p| immediate[*p] != NONE);
                let found = known.reduce(|mut a, mut b| {
                    while a != b {
                        while place[a] > place[b] {
                            a = immediate[a];
                        }
                        while place[b] > place[a] {
                            b = immediate[b];
                        }
                    }
                    a
                });
                if let Some(found) = found.filter(|found| immediate[at] != *found) {
                    immediate[at] = found;
                    changed = true;
                }
            }
        }
        Self { immediate }
    }

    /// For each block, when a walk down the tree enters and leaves it: one dominates another if it encloses it.
    fn spans(&self, order: &[BlockId]) -> Vec<(u32, u32)> {
        let mut children = vec![Vec::new(); self.immediate.len()];
        for id in order.iter().skip(1) {
            children[self.immediate[id.0 as usize]].push(id.0 as usize);
        }
        let mut spans = vec![(0, 0); self.immediate.len()];
        let mut clock = 0;
        let mut stack: Vec<(usize, bool)> =
            order.first().map(|id| (id.0 as usize, false)).into_iter().collect();
        while let Some((at, left)) = stack.pop() {
            clock += 1;
            if left {
                spans[at].1 = clock;
                continue;
            }
            spans[at].0 = clock;
            stack.push((at, true));
            stack.extend(children[at].iter().map(|child| (*child, false)));
        }
        spans
    }
}

/// Where a virtual register is defined: in a block, before the instruction of this number (0 for parameters).
#[derive(Copy, Clone)]
struct Definition {
    block: usize,
    before: usize,
}

impl<R: Register> Verifier<'_, R> {
    pub(super) fn definitions(&mut self) {
        let order = reverse_postorder(self.mir);
        if R::ALLOCATED { self.written(&order) } else { self.dominated(&order) }
    }

    /// Virtual registers.
    fn dominated(&mut self, order: &[BlockId]) {
        let mir = self.mir;
        let mut definitions: Vec<Option<Definition>> = vec![None; mir.vregs as usize];
        let mut define = |this: &mut Self, reg: R, definition: Definition| match definitions
            .get_mut(reg.number())
        {
            Some(free @ None) => *free = Some(definition),
            Some(Some(_)) => this.error(Rule::SingleDefinition, format!("{} is defined again", Name(reg))),
            None => {}
        };
        for id in order {
            let (block, at) = (&mir.blocks[id.0 as usize], id.0 as usize);
            self.at = At::Block(*id);
            block.params.iter().for_each(|reg| define(self, *reg, Definition { block: at, before: 0 }));
            for (number, inst) in block.insts.iter().enumerate() {
                self.at = At::Inst(*id, number);
                inst.registers(&mut |reg, touch| {
                    if touch == Touch::Write {
                        define(self, reg, Definition { block: at, before: number + 1 });
                    }
                });
            }
            if let Term::Branch { compare: Some(compare), .. } = &block.term {
                self.at = At::End(*id);
                compare.registers(&mut |reg, touch| {
                    if touch == Touch::Write {
                        define(self, reg, Definition { block: at, before: usize::MAX });
                    }
                });
            }
        }
        let spans = Dominators::of(mir, order).spans(order);
        let available = |reg: R, block: usize, at: usize| match definitions.get(reg.number()) {
            Some(Some(found)) if found.block == block => found.before <= at,
            Some(Some(found)) => {
                let (outer, inner) = (spans[found.block], spans[block]);
                outer.0 < inner.0 && inner.1 < outer.1
            }
            Some(None) | None => false,
        };
        for id in order {
            let (block, number) = (&mir.blocks[id.0 as usize], id.0 as usize);
            for (at, inst) in block.insts.iter().enumerate() {
                self.at = At::Inst(*id, at);
                self.reads(inst, &|reg| available(reg, number, at));
            }
            self.at = At::End(*id);
            match &block.term {
                Term::Open | Term::Return => {}
                Term::Jump(_, given) => {
                    for reg in given.iter().filter(|reg| !available(**reg, number, usize::MAX - 1)) {
                        self.undefined(*reg);
                    }
                }
                Term::Branch { compare, .. } => {
                    if let Some(compare) = compare {
                        self.reads(compare, &|reg| available(reg, number, usize::MAX - 1));
                    }
                }
            }
        }
    }

    fn undefined(&mut self, reg: R) {
        self.error(Rule::DefinitionBeforeUse, format!("{} is not defined on every path to here", Name(reg)));
    }

    fn reads(&mut self, inst: &Inst<R>, available: &dyn Fn(R) -> bool) {
        inst.registers(&mut |reg, touch| {
            if touch == Touch::Read && !available(reg) {
                self.undefined(reg);
            }
        });
    }

    /// Registers and slots of the machine.
    fn written(&mut self, order: &[BlockId]) {
        let mir = self.mir;
        let bits = 3 * MACHINE + mir.slots as usize;
        let words = bits.div_ceil(64);
        // What is written on all paths to a block's start; everything until a path is known.
        let mut starts = vec![vec![u64::MAX; words]; mir.blocks.len()];
        if let Some(entry) = order.first() {
            starts[entry.0 as usize] = vec![0; words];
        }
        let mut changed = true;
        while changed {
            changed = false;
            for id in order {
                let block = &mir.blocks[id.0 as usize];
                let mut now = starts[id.0 as usize].clone();
                block.insts.iter().for_each(|inst| self.write(inst, &mut now));
                for to in block.term.targets() {
                    for (old, new) in starts[to.0 as usize].iter_mut().zip(&now) {
                        changed |= *old & !new != 0;
                        *old &= new;
                    }
                }
            }
        }
        for id in order {
            let mut now = starts[id.0 as usize].clone();
            for (number, inst) in mir.blocks[id.0 as usize].insts.iter().enumerate() {
                self.at = At::Inst(*id, number);
                let has = |bit: usize, now: &[u64]| {
                    now.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
                };
                self.reads(inst, &|reg| has(bit(reg), &now));
                if let Some((slot, touch)) = self.slot(inst)
                    && touch == Touch::Read
                    && !slot.clone().all(|unit| has(3 * MACHINE + unit, &now))
                {
                    let message = format!("slot s{} is not written on every path to here", slot.start);
                    self.error(Rule::DefinitionBeforeUse, message);
                }
                self.write(inst, &mut now);
            }
        }
    }

    fn write(&mut self, inst: &Inst<R>, now: &mut [u64]) {
        let mut set = |bit: usize| {
            if let Some(word) = now.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        };
        inst.registers(&mut |reg, touch| {
            if touch == Touch::Write {
                set(bit(reg));
            }
        });
        if let Some((slot, Touch::Write)) = self.slot(inst) {
            slot.for_each(|unit| set(3 * MACHINE + unit));
        }
    }

    /// The units of the slot that an instruction touches, and how.
    fn slot(&mut self, inst: &Inst<R>) -> Option<(std::ops::Range<usize>, Touch)> {
        let Base::Slot(unit) = inst.mem.base else { return None };
        let operand = inst.memory()?;
        let effects = self.tables.effects(inst);
        let first = unit as usize;
        let units = first..first + effects.memory?.div_ceil(8) as usize;
        let touch = if effects.operands[operand].write { Touch::Write } else { Touch::Read };
        Some((units, touch))
    }
}

/// Registers of a class, more than any has.
const MACHINE: usize = 64;

fn bit<R: Register>(reg: R) -> usize {
    let class = match reg.class() {
        RegClass::Int => 0,
        RegClass::Float => 1,
        RegClass::Vector => 2,
    };
    class * MACHINE + reg.number().min(MACHINE - 1)
}
