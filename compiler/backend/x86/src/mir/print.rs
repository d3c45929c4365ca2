//! The text of machine IR, which [`super::parse`] reads back: the same function, for each that can be written down.
//!
//! ```text
//! machine @scale v4 registers 9 scratch 64 {          allocated @scale v4 scratch 64 slots 16 {
//!   const c0 align 4 "0000803f"                        the bytes of each constant, in hexadecimal
//! b0:                                                  blocks in layout order
//!   define writes (rdi=g0, rsi=g1)                     what the caller passes
//!   EVEX_Vmovups_zmm_k1z_zmmm512 =v3, [g0 + g1 by 4 + 32] under m2 zeroing
//!   EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er =v4, v3, [c0] broadcast
//!   Cmpxchg_rm32_r32 [g0], g5 locked reads (rax=g6) writes (rax=g7)
//!   branch ne Test_rm32_r32 g7, g7 then b1 else b2     allocated: branch ne then b1 else b2, behind the compare
//! b1(g8) hot:                                          parameters; the start of an innermost loop
//!   jump b1(g8)
//! ```
//!
//! | operand | is |
//! |---|---|
//! | `g1` | read; `=g1` written; `g2=g1` read as `g1` and written as `g2` |
//! | `same` | the register of operand 0 again, whose value does not matter |
//! | `[..]` | memory: from a register, a constant `c0`, the `frame` or the spill slot `s8` |
//! | `-3` | a constant |
//!
//! Registers are `g` general, `v` vector, `m` mask; after allocation `rax`, `v7`, `k1`.

use std::fmt::{self, Display};

use iced_x86::Code;
use regalloc2::RegClass;

use super::{Addr, Arg, Base, Block, BlockId, Inst, Mir, Register, Term};
use crate::features::Level;

/// General registers by number.
pub(super) const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// The letter of a class; of masks as the form has it.
pub(super) fn letter<R: Register>(class: RegClass) -> char {
    match class {
        RegClass::Int => 'g',
        RegClass::Float => 'v',
        RegClass::Vector if R::ALLOCATED => 'k',
        RegClass::Vector => 'm',
    }
}

/// The word of an opcode: the encoder's own, and `define` for what only defines registers.
pub(super) fn mnemonic(code: Code) -> String {
    if code == Code::INVALID { "define".to_owned() } else { format!("{code:?}") }
}

/// A register's name.
pub(super) struct Name<R>(pub R);

impl<R: Register> Display for Name<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, number) = (self.0.class(), self.0.number());
        match (class, GENERAL.get(number)) {
            (RegClass::Int, Some(name)) if R::ALLOCATED => f.write_str(name),
            _ => write!(f, "{}{number}", letter::<R>(class)),
        }
    }
}

impl Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

impl<R: Register> Display for Addr<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            Base::Reg(reg) => write!(f, "[{}", Name(reg))?,
            Base::Pool(id) => write!(f, "[c{}", id.0)?,
            Base::Frame => f.write_str("[frame")?,
            Base::Slot(unit) => write!(f, "[s{unit}")?,
        }
        if let Some(index) = self.index {
            write!(f, " + {} by {}", Name(index), self.scale)?;
        }
        if self.disp != 0 {
            write!(f, " + {}", self.disp)?;
        }
        f.write_str("]")
    }
}

impl<R: Register> Inst<R> {
    fn operand(&self, f: &mut fmt::Formatter<'_>, arg: &Arg<R>) -> fmt::Result {
        match *arg {
            Arg::None => Ok(()),
            Arg::Use(reg) => Name(reg).fmt(f),
            Arg::Def(reg) => write!(f, "={}", Name(reg)),
            Arg::Same => f.write_str("same"),
            Arg::Tied { def, from } => write!(f, "{}={}", Name(def), Name(from)),
            Arg::Mem => self.mem.fmt(f),
            Arg::Imm => self.imm.fmt(f),
        }
    }
}

fn fixed<R: Register>(f: &mut fmt::Formatter<'_>, word: &str, registers: &[(R, u8)]) -> fmt::Result {
    if registers.is_empty() {
        return Ok(());
    }
    write!(f, " {word} (")?;
    for (at, (reg, number)) in registers.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let fixed = GENERAL.get(usize::from(*number)).unwrap_or(&"none");
        write!(f, "{separator}{fixed}={}", Name(*reg))?;
    }
    f.write_str(")")
}

impl<R: Register> Display for Inst<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mnemonic(self.code))?;
        for (at, arg) in self.args().iter().enumerate() {
            f.write_str(if at == 0 { " " } else { ", " })?;
            self.operand(f, arg)?;
        }
        if self.broadcast {
            f.write_str(" broadcast")?;
        }
        if self.mask != Arg::None {
            f.write_str(" under ")?;
            self.operand(f, &self.mask)?;
        }
        if self.zeroing {
            f.write_str(" zeroing")?;
        }
        if self.locked {
            f.write_str(" locked")?;
        }
        if let Some(implicit) = &self.implicit {
            fixed(f, "reads", &implicit.uses)?;
            fixed(f, "writes", &implicit.defs)?;
        }
        Ok(())
    }
}

/// Registers in parentheses; nothing for none.
fn list<R: Register>(f: &mut fmt::Formatter<'_>, registers: &[R]) -> fmt::Result {
    for (at, reg) in registers.iter().enumerate() {
        f.write_str(if at == 0 { "(" } else { ", " })?;
        Name(*reg).fmt(f)?;
    }
    if registers.is_empty() { Ok(()) } else { f.write_str(")") }
}

impl<R: Register> Display for Term<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Open => f.write_str("open"),
            Term::Return => f.write_str("return"),
            Term::Jump(to, registers) => {
                write!(f, "jump {to}")?;
                list(f, registers)
            }
            Term::Branch { compare, condition, then, otherwise } => {
                write!(f, "branch {condition:?} ")?;
                if let Some(compare) = compare {
                    write!(f, "{compare} ")?;
                }
                write!(f, "then {then} else {otherwise}")
            }
        }
    }
}

fn block<R: Register>(f: &mut fmt::Formatter<'_>, id: BlockId, block: &Block<R>) -> fmt::Result {
    id.fmt(f)?;
    list(f, &block.params)?;
    f.write_str(if block.hot { " hot:\n" } else { ":\n" })?;
    for inst in &block.insts {
        writeln!(f, "  {inst}")?;
    }
    writeln!(f, "  {}", block.term)
}

/// The word of a level.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::V3 => "v3",
        Level::V4 => "v4",
    }
}

impl<R: Register> Display for Mir<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @{} {}", R::FORM, tvmc_ir::text::Name(&self.name), level(self.level))?;
        if R::ALLOCATED {
            writeln!(f, " scratch {} slots {} {{", self.scratch, self.slots)?;
        } else {
            writeln!(f, " registers {} scratch {} {{", self.vregs, self.scratch)?;
        }
        for (number, (align, bytes)) in self.pool.entries.iter().enumerate() {
            write!(f, "  const c{number} align {align} \"")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("\"\n")?;
        }
        for id in &self.order {
            if let Some(found) = self.blocks.get(id.0 as usize) {
                block(f, *id, found)?;
            }
        }
        f.write_str("}\n")
    }
}
