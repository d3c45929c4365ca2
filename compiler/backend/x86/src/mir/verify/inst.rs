//! Rules 9 to 21 and 23: one instruction.

use std::collections::HashMap;

use iced_x86::{Code, EncodingKind, OpCodeOperandKind as Kind};
use regalloc2::RegClass;

use super::super::opcode::{Effect, Effects, IDIOMS, Place, foreign, place};
use super::super::print::{GENERAL, Name, mnemonic};
use super::super::{Arg, Base, Inst, Mir, Register};
use super::{Rule, Verifier, kind};
use crate::features::Level;

/// What is known on the way through the blocks.
pub(super) struct State {
    /// Class of each virtual register.
    pub classes: Vec<Option<RegClass>>,
    /// Virtual registers of which only so many low bits are defined.
    narrow: HashMap<usize, u32>,
    /// Flags with a known value.
    pub flags: u32,
}

impl State {
    pub fn new<R: Register>(mir: &Mir<R>) -> Self {
        let mut narrow = HashMap::new();
        for inst in mir.blocks.iter().flat_map(|block| &block.insts).filter(|_| !R::ALLOCATED) {
            let info = inst.code.op_code();
            for (at, arg) in inst.args().iter().enumerate().take(info.op_count() as usize) {
                if let (Arg::Def(def) | Arg::Tied { def, .. }, width @ (8 | 16)) =
                    (arg, bits(info.op_kind(at as u32)))
                {
                    narrow.insert(def.number(), width);
                }
            }
        }
        Self { classes: vec![None; mir.vregs as usize], narrow, flags: 0 }
    }

    /// At a block's start.
    pub fn enter(&mut self) {
        self.flags = 0;
    }
}

/// Bits of a general register that an operand of this kind takes.
fn bits(kind: Kind) -> u32 {
    match kind {
        Kind::r8_reg | Kind::r8_or_mem => 8,
        Kind::r16_reg | Kind::r16_rm | Kind::r16_or_mem => 16,
        _ => 64,
    }
}

impl<R: Register> Verifier<'_, R> {
    pub(super) fn inst(&mut self, inst: &Inst<R>, first: bool, state: &mut State) {
        let mut registers = Vec::new();
        inst.registers(&mut |reg, _| registers.push(reg));
        registers.into_iter().for_each(|reg| self.register(reg, state));
        if inst.code == Code::INVALID {
            return self.define(inst, first);
        }
        // Where operands do not fit their places, the tables have nothing to say of them.
        if !self.opcode(inst) || !self.operands(inst) {
            return;
        }
        let effects = self.tables.effects(inst);
        self.access(inst, &effects);
        self.fixed(inst, &effects);
        self.mask(inst, &effects);
        self.address(inst);
        self.extent(inst, &effects);
        self.ties(inst);
        if inst.locked && (!inst.code.op_code().can_use_lock_prefix() || inst.memory() != Some(0)) {
            self.error(Rule::Locked, format!("{} cannot be locked here", mnemonic(inst.code)));
        }
        if effects.flags_read & !state.flags != 0 {
            self.error(
                Rule::Flags,
                format!("{} reads flags that nothing before it sets", mnemonic(inst.code)),
            );
        }
        state.flags = state.flags & !effects.flags_changed | effects.flags_set;
        self.narrow(inst, state);
    }

    /// Rule 10, of `define`.
    fn define(&mut self, inst: &Inst<R>, first: bool) {
        let writes = inst.implicit.as_ref().is_some_and(|implicit| implicit.uses.is_empty());
        let bare =
            inst.count == 0 && inst.mask == Arg::None && !(inst.zeroing || inst.broadcast || inst.locked);
        if !first || !writes || !bare {
            let message = "`define` stands at the start of the entry and only writes fixed registers";
            return self.error(Rule::Opcodes, message);
        }
        let effects = inst.implicit.iter().flat_map(|i| &i.defs);
        let effects = effects.map(|(_, number)| (*number, Effect { read: false, write: true })).collect();
        self.fixed(inst, &Effects { fixed: effects, ..Effects::default() });
    }

    /// Rule 10.
    fn opcode(&mut self, inst: &Inst<R>) -> bool {
        let info = inst.code.op_code();
        let vectors = (0..info.op_count())
            .any(|at| matches!(place(info.op_kind(at)).register, Some((RegClass::Float, _))));
        let wrong = foreign(inst.code).or(match (info.encoding(), self.mir.level) {
            (EncodingKind::EVEX, Level::V3) => Some("needs v4"),
            (EncodingKind::VEX | EncodingKind::Legacy, Level::V4) if vectors => {
                Some("reaches 16 vector registers, and v4 has 32")
            }
            (EncodingKind::Legacy, Level::V3) if vectors => Some("keeps the upper half of vector registers"),
            _ => None,
        });
        if let Some(wrong) = wrong {
            self.error(Rule::Opcodes, format!("{} {wrong}", mnemonic(inst.code)));
        }
        wrong.is_none()
    }

    /// Rules 11, 18 and 21.
    fn operands(&mut self, inst: &Inst<R>) -> bool {
        let info = inst.code.op_code();
        let (name, count) = (mnemonic(inst.code), info.op_count() as usize);
        if inst.args().len() != count {
            self.error(Rule::Operands, format!("{name} takes {count} operands, has {}", inst.args().len()));
            return false;
        }
        let mut fine = true;
        let repeats = inst.args().contains(&Arg::Same);
        for (at, arg) in inst.args().iter().enumerate() {
            let place = place(info.op_kind(at as u32));
            let fits = match arg {
                Arg::None => false,
                Arg::Use(reg) | Arg::Def(reg) => takes(place, reg.class()),
                Arg::Tied { def, from } => takes(place, def.class()) && takes(place, from.class()),
                Arg::Same => place.register.is_some(),
                Arg::Mem => place.memory,
                Arg::Imm => place.constant.is_some(),
            };
            if !fits {
                self.error(Rule::Operands, format!("operand {at} of {name} cannot be {}", what(arg)));
                fine = false;
            }
            if let (Arg::Imm, Some((least, most))) = (arg, place.constant)
                && !(least..=most).contains(&inst.imm)
            {
                self.error(
                    Rule::Constants,
                    format!("{} is beyond what {name} takes: {least} to {most}", inst.imm),
                );
            }
            let alone = match arg {
                Arg::Same => at > 0,
                Arg::Def(_) => at == 0,
                Arg::None | Arg::Use(_) | Arg::Tied { .. } | Arg::Mem | Arg::Imm => false,
            };
            if repeats && (!alone || !IDIOMS.contains(&inst.code)) {
                self.error(Rule::Same, format!("{name} depends on what `same` stands for"));
                fine = false;
                break;
            }
        }
        fine
    }

    /// Rule 12.
    fn access(&mut self, inst: &Inst<R>, effects: &Effects) {
        if inst.args().contains(&Arg::Same) {
            return;
        }
        for (at, arg) in inst.args().iter().enumerate() {
            let stated = match arg {
                Arg::Use(_) => Effect { read: true, write: false },
                Arg::Def(_) => Effect { read: false, write: true },
                Arg::Tied { .. } => Effect { read: true, write: true },
                Arg::None | Arg::Same | Arg::Mem | Arg::Imm => continue,
            };
            let real = effects.operands[at];
            if stated != real {
                let name = mnemonic(inst.code);
                let message =
                    format!("operand {at} of {name} is {}, must be {}", stated.words(), real.words());
                self.error(Rule::Access, message);
            }
        }
        if let Some(register) = effects.hidden {
            let message = format!("{} uses {register:?}, which it does not name", mnemonic(inst.code));
            self.error(Rule::FixedRegisters, message);
        }
    }

    /// Rule 13.
    fn fixed(&mut self, inst: &Inst<R>, effects: &Effects) {
        let (none, name) = (Vec::new(), mnemonic(inst.code));
        let (uses, defs) = match &inst.implicit {
            Some(implicit) => (&implicit.uses, &implicit.defs),
            None => (&none, &none),
        };
        for (stated, word, wanted) in [
            (
                uses,
                "reads",
                effects.fixed.iter().filter(|(_, e)| e.read).map(|(n, _)| *n).collect::<Vec<u8>>(),
            ),
            (defs, "writes", effects.fixed.iter().filter(|(_, e)| e.write).map(|(n, _)| *n).collect()),
        ] {
            let mut numbers: Vec<u8> = stated.iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            let mut wanted = wanted;
            wanted.sort_unstable();
            let twice = numbers.windows(2).any(|pair| pair[0] == pair[1]);
            if twice {
                self.error(Rule::FixedRegisters, format!("{name} {word} one fixed register twice"));
            } else if numbers != wanted {
                let list = |all: &[u8]| {
                    let names = all.iter().map(|n| *GENERAL.get(usize::from(*n)).unwrap_or(&"none"));
                    if all.is_empty() { "nothing".to_owned() } else { names.collect::<Vec<_>>().join(", ") }
                };
                let message =
                    format!("{name} {word} {}, the instruction says {}", list(&wanted), list(&numbers));
                self.error(Rule::FixedRegisters, message);
            }
            for (reg, number) in stated {
                let wrong = reg.class() != RegClass::Int
                    || matches!(number, 4 | 5)
                    || (R::ALLOCATED && reg.number() != usize::from(*number));
                if wrong {
                    let message = format!("{} is not {}", Name(*reg), GENERAL[usize::from(*number) % 16]);
                    self.error(Rule::FixedRegisters, message);
                }
            }
        }
    }

    /// Rule 14.
    fn mask(&mut self, inst: &Inst<R>, effects: &Effects) {
        let (info, name) = (inst.code.op_code(), mnemonic(inst.code));
        let (class, stated) = match inst.mask {
            Arg::Use(reg) => (Some(reg.class()), Effect { read: true, write: false }),
            Arg::Tied { def, from } if def.class() == from.class() => {
                (Some(def.class()), Effect { read: true, write: true })
            }
            Arg::Def(_) | Arg::Tied { .. } => (None, Effect { read: false, write: true }),
            Arg::None | Arg::Same | Arg::Mem | Arg::Imm => {
                if info.require_op_mask_register() {
                    self.error(Rule::Masks, format!("{name} needs a mask"));
                } else if inst.zeroing {
                    self.error(Rule::Masks, "zeroing needs a mask");
                }
                return;
            }
        };
        if !info.can_use_op_mask_register() || class != Some(RegClass::Vector) {
            self.error(Rule::Masks, format!("{name} cannot be masked by this"));
        } else if effects.mask != stated {
            let (is, must) = (stated.words(), effects.mask.words());
            self.error(Rule::Masks, format!("the mask of {name} is {is}, must be {must}"));
        }
        if inst.zeroing && (!info.can_use_zeroing_masking() || inst.memory() == Some(0)) {
            self.error(Rule::Masks, format!("{name} cannot clear what is masked off"));
        }
    }

    /// Rule 15.
    fn address(&mut self, inst: &Inst<R>) {
        let info = inst.code.op_code();
        let Some(operand) = inst.memory() else {
            if inst.broadcast {
                self.error(Rule::Addresses, "a broadcast needs memory");
            }
            return;
        };
        if inst.broadcast && !info.can_broadcast() {
            self.error(Rule::Addresses, format!("{} cannot broadcast", mnemonic(inst.code)));
        }
        let address = &inst.mem;
        if let Base::Reg(reg) = address.base
            && reg.class() != RegClass::Int
        {
            self.error(Rule::Addresses, format!("the base is a {}", kind(reg.class())));
        }
        let gathers = place(info.op_kind(operand as u32)).gathers;
        match address.index {
            Some(index) => {
                let wanted = if gathers { RegClass::Float } else { RegClass::Int };
                if index.class() != wanted {
                    let message =
                        format!("the index is a {}, must be a {}", kind(index.class()), kind(wanted));
                    self.error(Rule::Addresses, message);
                }
                if !matches!(address.base, Base::Reg(_) | Base::Frame) {
                    self.error(Rule::Addresses, "constants and slots have no index");
                }
            }
            None if gathers => self.error(Rule::Addresses, "there must be an index of offsets"),
            None => {}
        }
        if !matches!(address.scale, 1 | 2 | 4 | 8) || (address.index.is_none() && address.scale != 1) {
            self.error(Rule::Addresses, format!("the scale is {}", address.scale));
        }
    }

    /// Rule 16.
    fn extent(&mut self, inst: &Inst<R>, effects: &Effects) {
        if inst.memory().is_none() {
            return;
        }
        let size = i64::from(effects.memory.unwrap_or(0));
        let (first, what, length) = match inst.mem.base {
            Base::Reg(_) => return,
            Base::Frame => (0, "the frame's scratch".to_owned(), i64::from(self.mir.scratch)),
            Base::Pool(id) => {
                let entry = self.mir.pool.entries.get(id.0 as usize);
                (0, format!("constant c{}", id.0), entry.map_or(0, |(_, bytes)| bytes.len() as i64))
            }
            Base::Slot(unit) => {
                let first = 8 * i64::from(unit);
                if size > 0 && (first + i64::from(self.mir.scratch.next_multiple_of(64))) % size != 0 {
                    self.error(Rule::Extent, format!("slot s{unit} is not aligned to its {size} bytes"));
                }
                (first, "the slots".to_owned(), 8 * i64::from(self.mir.slots))
            }
        };
        let from = first + i64::from(inst.mem.disp);
        let slot = matches!(inst.mem.base, Base::Slot(_));
        if from < 0 || from + size > length || (slot && (!R::ALLOCATED || inst.mem.disp != 0)) {
            let message = format!("touches bytes {from} to {} of {what}, of {length} bytes", from + size);
            self.error(Rule::Extent, message);
        }
    }

    /// Rule 20.
    fn narrow(&mut self, inst: &Inst<R>, state: &State) {
        if R::ALLOCATED {
            return;
        }
        let info = inst.code.op_code();
        for (at, arg) in inst.args().iter().enumerate() {
            let width = bits(info.op_kind(at as u32));
            match arg {
                Arg::Use(reg) => self.wide(*reg, width, state),
                Arg::Tied { from, .. } => self.wide(*from, width, state),
                Arg::Def(_) | Arg::None | Arg::Same | Arg::Mem | Arg::Imm => {}
            }
        }
        if inst.memory().is_some() {
            let base = match inst.mem.base {
                Base::Reg(reg) => Some(reg),
                Base::Pool(_) | Base::Frame | Base::Slot(_) => None,
            };
            base.into_iter().chain(inst.mem.index).for_each(|reg| self.wide(reg, 64, state));
        }
        if let Some(implicit) = &inst.implicit {
            implicit.uses.iter().for_each(|(reg, _)| self.wide(*reg, 64, state));
        }
    }

    /// A register is read as this many bits.
    pub(super) fn wide(&mut self, reg: R, bits: u32, state: &State) {
        if R::ALLOCATED {
            return;
        }
        if let Some(defined) = state.narrow.get(&reg.number()).filter(|defined| **defined < bits) {
            let message = format!("{} has only {defined} bits that are defined", Name(reg));
            self.error(Rule::NarrowWrites, message);
        }
    }

    /// Rule 23.
    fn ties(&mut self, inst: &Inst<R>) {
        if !R::ALLOCATED {
            return;
        }
        for arg in inst.args().iter().chain([&inst.mask]) {
            if let Arg::Tied { def, from } = arg
                && def != from
            {
                self.error(Rule::Ties, format!("{} is read where {} is written", Name(*from), Name(*def)));
            }
        }
        let Some(operand) =
            inst.memory().filter(|_| inst.mem.index.is_some_and(|i| i.class() == RegClass::Float))
        else {
            return;
        };
        let mut registers: Vec<R> = Vec::new();
        for (at, arg) in inst.args().iter().enumerate() {
            if let (Arg::Tied { def, .. }, true) = (arg, at != operand) {
                registers.push(*def);
            }
        }
        registers.extend(inst.mem.index);
        let twice = (1..registers.len()).any(|at| registers[..at].contains(&registers[at]));
        if twice {
            self.error(Rule::Ties, "a gather's result, offsets and mask must be different registers");
        }
    }
}

fn takes(place: Place, class: RegClass) -> bool {
    place.register.is_some_and(|(wanted, _)| wanted == class)
}

fn what<R: Register>(arg: &Arg<R>) -> String {
    match arg {
        Arg::None => "left out".to_owned(),
        Arg::Use(reg) | Arg::Def(reg) | Arg::Tied { def: reg, .. } => format!("a {}", kind(reg.class())),
        Arg::Same => "a register".to_owned(),
        Arg::Mem => "memory".to_owned(),
        Arg::Imm => "a constant".to_owned(),
    }
}
