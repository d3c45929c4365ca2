//! The verifier of machine IR, before and after register allocation. What it passes is allocated and encoded without a mistake of the backend's own: instruction
//! selection is judged by the encoder's tables, not by itself. That the allocated code moves the right *values* is judged by the allocator's symbolic checker.
//!
//! It judges any text: nothing makes it panic, and it takes time with the text's length.
//!
//! # The rules
//!
//!  1. **Limits.** A function has a block, and its frame is at most [`MAX_FRAME`] bytes.
//!  2. **Order.** Every block is placed once.
//!  3. **Entry.** The first block has no parameters and nothing leads to it; every other one can be reached from it.
//!  4. **Ends.** A block ends, and what it leads to is there.
//!  5. **Edges.** A branch leads to two blocks, each without parameters and without another predecessor: there is room for moves on every edge. It has a compare of its own before
//!     allocation; afterwards that stands at the end of the block's instructions.
//!  6. **Parameters.** A jump gives its target as many registers as that has parameters, class by class; after allocation there are none.
//!  7. **Single definition.** A virtual register is defined once: by a parameter or an instruction.
//!  8. **Definition before use.** On every path to a use its register has been defined; after allocation that is one of the machine, or every unit of a slot.
//!  9. **Registers.** A virtual register's number is below the function's count and has one class everywhere. After allocation the level has the register, and it is not rsp, rbp or k0.
//! 10. **Opcodes** exist in 64-bit code, fall through, and leave stack and system alone. EVEX needs v4; there, what has vector operands must have EVEX, for VEX reaches 16 registers.
//!     `define` stands at the start of the entry alone and does nothing but write fixed registers.
//! 11. **Operands** are as many as the opcode takes, each of a kind that may stand at its place.
//! 12. **Access.** A register is read, written, or both, as the opcode does it.
//! 13. **Fixed registers.** What an opcode reads and writes without naming it, the instruction does; nothing stands for two registers; after allocation the register is that one.
//! 14. **Masks** are used where an opcode has them, and required where it cannot do without; one that the opcode clears is read and written. Zeroing needs one.
//! 15. **Addresses.** Base and index are general registers, the index of gathers and scatters a vector. The scale is 1, 2, 4 or 8. Constants and slots have no index. A broadcast needs
//!     an opcode that can.
//! 16. **Extent.** What an instruction touches of a constant, of the frame's scratch or of a slot lies within it; slots exist after allocation alone, and are as aligned as they are wide.
//! 17. **Locked** is what can be, with memory first.
//! 18. **Constants** fit their opcode.
//! 19. **Flags** are read in the block that sets them, behind no other change; a branch asks what its compare sets.
//! 20. **Narrow writes.** What is written as 8 or 16 bits of a general register is read as no more, and given to no block.
//! 21. **Same** stands for all sources of an opcode whose result does not depend on them.
//! 22. **The pool.** A constant's alignment is a power of two up to 64, and its length a multiple of that.
//! 23. **Ties.** After allocation, a register that is read and written is one; a gather's result, offsets and mask are three.
//!
//! Errors come in layout order, at most [`MAX_ERRORS`] of them.

mod defined;
mod inst;

use std::fmt;

use regalloc2::{PReg, RegClass};

use super::opcode::{Tables, condition_flags};
use super::{Block, BlockId, Mir, Register, Term};
use crate::features::Level;

/// Most errors that [`verify`] gives.
pub const MAX_ERRORS: usize = 100;
/// Largest frame: spills beyond it mean that the kernel was cut far too coarsely.
pub const MAX_FRAME: u32 = 1 << 20;

tvmc_ir::rules! {
    /// The rules of the head comment, in its order.
    Rule {
        /// Sizes are within their limits.
        Limits,
        /// Blocks are placed once.
        Order,
        /// The first block is entered; the others can be reached.
        Entry,
        /// Blocks end and their targets exist.
        Ends,
        /// Branches have edges of their own.
        Edges,
        /// Jumps give parameters.
        Parameters,
        /// One definition of a virtual register.
        SingleDefinition,
        /// Uses come after definitions on every path.
        DefinitionBeforeUse,
        /// Registers exist, one class each.
        Registers,
        /// Opcodes are for kernels and for the level.
        Opcodes,
        /// Operands fit their places.
        Operands,
        /// Reads and writes are those of the opcode.
        Access,
        /// Fixed registers are named.
        FixedRegisters,
        /// Element masks.
        Masks,
        /// Addresses.
        Addresses,
        /// Accesses lie within what they touch.
        Extent,
        /// Locked instructions.
        Locked,
        /// Constants fit.
        Constants,
        /// Flags are live from what sets them.
        Flags,
        /// Narrow writes are read as such.
        NarrowWrites,
        /// Registers repeated for form's sake.
        Same,
        /// Constants after the code.
        Pool,
        /// Tied registers.
        Ties,
    }
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// The rule that was broken.
    pub rule: Rule,
    /// An instruction, `b3[5]`, the end of a block, `b3[end]`, a block, a constant or the function.
    pub at: String,
    /// What was expected and found, in words.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (rule {})", self.at, self.message, self.rule.number())
    }
}

impl std::error::Error for VerifyError {}

/// Checks every rule; gives all violations up to [`MAX_ERRORS`].
pub fn verify<R: Register>(mir: &Mir<R>) -> Result<(), Vec<VerifyError>> {
    let mut verifier = Verifier { mir, errors: Vec::new(), at: At::Function, tables: Tables::new() };
    verifier.function();
    // The graph must be one before paths are followed.
    if verifier.errors.is_empty() {
        verifier.instructions();
        verifier.definitions();
    }
    let mut errors = verifier.errors;
    errors.sort_by_key(|(place, _)| *place);
    let errors: Vec<VerifyError> = errors.into_iter().map(|(_, error)| error).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Where an error is.
#[derive(Copy, Clone)]
enum At {
    Function,
    Constant(usize),
    Block(BlockId),
    Inst(BlockId, usize),
    End(BlockId),
}

struct Verifier<'m, R> {
    mir: &'m Mir<R>,
    /// With what they are sorted by.
    errors: Vec<((usize, usize), VerifyError)>,
    at: At,
    tables: Tables,
}

impl<'m, R: Register> Verifier<'m, R> {
    fn error(&mut self, rule: Rule, message: impl Into<String>) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        let place = |id: BlockId| 1 + self.mir.order.iter().position(|one| *one == id).unwrap_or(0);
        let (sort, at) = match self.at {
            At::Function => ((0, 0), format!("function @{}", self.mir.name)),
            At::Constant(number) => ((0, 1 + number), format!("constant c{number}")),
            At::Block(id) => ((place(id), 0), id.to_string()),
            At::Inst(id, number) => ((place(id), 1 + number), format!("{id}[{number}]")),
            At::End(id) => ((place(id), usize::MAX), format!("{id}[end]")),
        };
        self.errors.push((sort, VerifyError { rule, at, message: message.into() }));
    }

    fn block(&self, id: BlockId) -> Option<&'m Block<R>> {
        self.mir.blocks.get(id.0 as usize)
    }

    /// Rules 1 to 6 and 22: what must hold before paths can be followed.
    fn function(&mut self) {
        let mir = self.mir;
        if mir.order.is_empty() {
            self.error(Rule::Limits, "it has no block");
        }
        let frame = u64::from(mir.scratch) + 8 * u64::from(mir.slots);
        if frame > u64::from(MAX_FRAME) {
            self.error(
                Rule::Limits,
                format!("its frame takes {frame} bytes, at most {MAX_FRAME} are possible"),
            );
        }
        for (number, (align, bytes)) in mir.pool.entries.iter().enumerate() {
            self.at = At::Constant(number);
            let fits = align.is_power_of_two() && *align <= 64 && !bytes.is_empty();
            if !fits || !bytes.len().is_multiple_of(*align as usize) {
                let message =
                    format!("{} bytes aligned to {align}, must be whole units of 1 to 64", bytes.len());
                self.error(Rule::Pool, message);
            }
        }
        self.placed();
        let mut predecessors = vec![0_u32; mir.blocks.len()];
        for &id in &mir.order {
            let Some(block) = self.block(id) else { continue };
            for to in block.term.targets() {
                match predecessors.get_mut(to.0 as usize) {
                    Some(count) => *count += 1,
                    None => {
                        self.at = At::End(id);
                        self.error(Rule::Ends, format!("leads to {to}, which is not there"));
                    }
                }
            }
        }
        for &id in &mir.order {
            let Some(block) = self.block(id) else { continue };
            self.at = At::End(id);
            self.end(block, &predecessors);
        }
        if let Some((entry, block)) = mir.order.first().and_then(|id| Some((*id, self.block(*id)?))) {
            self.at = At::Block(entry);
            if !block.params.is_empty() || predecessors[entry.0 as usize] != 0 {
                self.error(Rule::Entry, "the function's entry has a parameter or a predecessor");
            }
        }
        if self.errors.is_empty() {
            let reached = defined::reverse_postorder(mir);
            let mut seen = vec![false; mir.blocks.len()];
            reached.iter().for_each(|id| seen[id.0 as usize] = true);
            for &id in mir.order.iter().filter(|id| !seen[id.0 as usize]) {
                self.at = At::Block(id);
                self.error(Rule::Entry, "nothing leads here from the entry");
            }
        }
    }

    fn placed(&mut self) {
        let mut placed = vec![0_u32; self.mir.blocks.len()];
        for id in &self.mir.order {
            match placed.get_mut(id.0 as usize) {
                Some(count) => *count += 1,
                None => {
                    self.at = At::Function;
                    self.error(Rule::Order, format!("{id} is placed but not there"));
                }
            }
        }
        for (number, count) in placed.into_iter().enumerate().filter(|(_, count)| *count != 1) {
            self.at = At::Block(BlockId(number as u32));
            self.error(Rule::Order, format!("placed {count} times, must be placed once"));
        }
    }

    fn end(&mut self, block: &'m Block<R>, predecessors: &[u32]) {
        match &block.term {
            Term::Open => self.error(Rule::Ends, "the block has no end"),
            Term::Return => {}
            Term::Jump(to, given) => {
                let Some(target) = self.block(*to) else { return };
                let classes = |registers: &[R]| registers.iter().map(|reg| reg.class()).collect::<Vec<_>>();
                let (given, taken) = (classes(given), classes(&target.params));
                if given != taken {
                    self.error(
                        Rule::Parameters,
                        format!("gives {to} {}, which takes {}", described(&given), described(&taken)),
                    );
                } else if R::ALLOCATED && !given.is_empty() {
                    self.error(Rule::Parameters, format!("gives {to} registers after allocation"));
                }
            }
            Term::Branch { compare, then, otherwise, .. } => {
                if compare.is_none() != R::ALLOCATED {
                    let message = if R::ALLOCATED {
                        "the compare must stand before the branch"
                    } else {
                        "a branch needs its compare"
                    };
                    self.error(Rule::Edges, message);
                }
                for to in [then, otherwise] {
                    let Some(target) = self.block(*to) else { continue };
                    if !target.params.is_empty() || predecessors[to.0 as usize] != 1 {
                        let message =
                            format!("branches to {to}, which has a parameter or another predecessor");
                        self.error(Rule::Edges, message);
                    }
                }
            }
        }
    }

    /// Rules 9 to 21 and 23, block by block.
    fn instructions(&mut self) {
        let mut state = inst::State::new(self.mir);
        for (place, &id) in self.mir.order.iter().enumerate() {
            let Some(block) = self.block(id) else { continue };
            self.at = At::Block(id);
            for param in &block.params {
                self.register(*param, &mut state);
            }
            state.enter();
            for (number, inst) in block.insts.iter().enumerate() {
                self.at = At::Inst(id, number);
                self.inst(inst, place == 0 && number == 0, &mut state);
            }
            self.at = At::End(id);
            match &block.term {
                Term::Open | Term::Return => {}
                Term::Jump(_, given) => given.iter().for_each(|reg| {
                    self.register(*reg, &mut state);
                    self.wide(*reg, 64, &state);
                }),
                Term::Branch { compare, condition, .. } => {
                    if let Some(compare) = compare {
                        self.inst(compare, false, &mut state);
                    }
                    let missing = condition_flags(*condition) & !state.flags;
                    if missing != 0 {
                        self.error(
                            Rule::Flags,
                            format!("asks `{condition:?}`, which nothing before it sets"),
                        );
                    }
                }
            }
        }
    }

    /// Rule 9.
    fn register(&mut self, reg: R, state: &mut inst::State) {
        let (class, number) = (reg.class(), reg.number());
        if R::ALLOCATED {
            let vectors = if self.mir.level == Level::V4 { 32 } else { 16 };
            let fine = match class {
                RegClass::Int => number < 16 && number != 4 && number != 5,
                RegClass::Float => number < vectors,
                RegClass::Vector => (1..8).contains(&number) && self.mir.level == Level::V4,
            };
            if !fine {
                let name = super::print::Name(PReg::new(number.min(PReg::MAX), class)).to_string();
                self.error(Rule::Registers, format!("{name} is no register that code may use here"));
            }
            return;
        }
        match state.classes.get_mut(number) {
            Some(known @ None) => *known = Some(class),
            Some(Some(known)) if *known != class => {
                let message = format!("register {number} is a {} and a {}", kind(*known), kind(class));
                self.error(Rule::Registers, message);
            }
            Some(Some(_)) => {}
            None => {
                let count = self.mir.vregs;
                self.error(Rule::Registers, format!("register {number}, but there are {count}"));
            }
        }
    }
}

/// A class in words.
fn kind(class: RegClass) -> &'static str {
    match class {
        RegClass::Int => "general register",
        RegClass::Float => "vector register",
        RegClass::Vector => "mask register",
    }
}

fn described(classes: &[RegClass]) -> String {
    if classes.is_empty() {
        return "nothing".to_owned();
    }
    classes.iter().map(|class| format!("a {}", kind(*class))).collect::<Vec<_>>().join(", ")
}
