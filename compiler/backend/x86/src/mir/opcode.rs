//! What an opcode does with its operands, by the encoder's own tables: nothing here is written down per opcode but the few whose result does not depend on a
//! register that they read.
//!
//! An instruction is judged by a *prototype*: the same opcode with a register of its own for each place that one can stand in, none of which is fixed by any
//! opcode. What the tables say of the prototype's registers is what the instruction does with those places; what they say of others is done behind them.
//!
//! ```text
//! Div_rm32 g4     prototype  div r8d     reads r8d; reads and writes eax and edx: fixed registers that the instruction must name
//! ```

use iced_x86::{
    Code, ConditionCode, EncodingKind, FlowControl, Instruction, InstructionInfoFactory, OpAccess,
    OpCodeOperandKind as Kind, OpKind, Register as Hardware, RflagsBits,
};
use regalloc2::RegClass;

use super::{Arg, Inst, Register};

/// What may stand at an operand's place.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The class of a register, and its first one of the operand's width.
    pub register: Option<(RegClass, Hardware)>,
    /// Whether memory may.
    pub memory: bool,
    /// Whether that memory has an index of a vector's offsets.
    pub gathers: bool,
    /// The smallest and the largest constant.
    pub constant: Option<(i64, i64)>,
}

/// What may stand at an operand of this kind.
pub(super) fn place(kind: Kind) -> Place {
    use RegClass::{Float, Int, Vector};
    let none = Place { register: None, memory: false, gathers: false, constant: None };
    let only = |class, first| Place { register: Some((class, first)), ..none };
    let either = |class, first| Place { memory: true, ..only(class, first) };
    let constant = |from, to| Place { constant: Some((from, to)), ..none };
    match kind {
        Kind::r8_reg => only(Int, Hardware::R8L),
        Kind::r8_or_mem => either(Int, Hardware::R8L),
        Kind::r16_reg | Kind::r16_rm => only(Int, Hardware::R8W),
        Kind::r16_or_mem => either(Int, Hardware::R8W),
        Kind::r32_reg | Kind::r32_rm | Kind::r32_vvvv | Kind::r32_opcode => only(Int, Hardware::R8D),
        Kind::r32_or_mem => either(Int, Hardware::R8D),
        Kind::r64_reg | Kind::r64_rm | Kind::r64_vvvv | Kind::r64_opcode => only(Int, Hardware::R8),
        Kind::r64_or_mem => either(Int, Hardware::R8),
        Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => only(Float, Hardware::XMM0),
        Kind::xmm_or_mem => either(Float, Hardware::XMM0),
        Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => only(Float, Hardware::YMM0),
        Kind::ymm_or_mem => either(Float, Hardware::YMM0),
        Kind::zmm_reg | Kind::zmm_rm | Kind::zmm_vvvv => only(Float, Hardware::ZMM0),
        Kind::zmm_or_mem => either(Float, Hardware::ZMM0),
        Kind::k_reg | Kind::k_rm | Kind::k_vvvv => only(Vector, Hardware::K1),
        Kind::k_or_mem => either(Vector, Hardware::K1),
        Kind::mem => Place { memory: true, ..none },
        Kind::mem_vsib32y | Kind::mem_vsib32z => Place { memory: true, gathers: true, ..none },
        Kind::imm8 => constant(-128, 255),
        Kind::imm8sex32 | Kind::imm8sex64 => constant(-128, 127),
        Kind::imm32 => constant(i64::from(i32::MIN), i64::from(u32::MAX)),
        Kind::imm32sex64 => constant(i64::from(i32::MIN), i64::from(i32::MAX)),
        Kind::imm64 => constant(i64::MIN, i64::MAX),
        // Operands that the emitter has no form for.
        _ => none,
    }
}

/// Opcodes whose result does not depend on a register that all their sources are.
pub(super) const IDIOMS: [Code; 5] = [
    Code::Xor_r32_rm32,
    Code::VEX_Vpxor_xmm_xmm_xmmm128,
    Code::EVEX_Vpxord_xmm_k1z_xmm_xmmm128b32,
    Code::VEX_Kxnorw_kr_kr_kr,
    Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256,
];

/// What is done with a place.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Effect {
    /// Its value matters.
    pub read: bool,
    /// It has a new value afterwards, maybe its old one.
    pub write: bool,
}

impl Effect {
    fn of(access: OpAccess) -> Self {
        let (read, write) = match access {
            OpAccess::None | OpAccess::NoMemAccess => (false, false),
            OpAccess::Read | OpAccess::CondRead => (true, false),
            OpAccess::Write => (false, true),
            // What is not always written keeps its old value, which matters so.
            OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
        };
        Self { read, write }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match (self.read, self.write) {
            (false, false) => "left alone",
            (true, false) => "read",
            (false, true) => "written",
            (true, true) => "read and written",
        }
    }
}

/// What an instruction does.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// With each operand.
    pub operands: [Effect; 5],
    /// With the element mask.
    pub mask: Effect,
    /// With general registers that are no operands: number, what.
    pub fixed: Vec<(u8, Effect)>,
    /// What it does with a register of another kind behind its operands.
    pub hidden: Option<Hardware>,
    /// Bytes of its memory; none if it takes only the address.
    pub memory: Option<u32>,
    /// Flags it reads.
    pub flags_read: u32,
    /// Flags it gives a value that is known.
    pub flags_set: u32,
    /// Flags it changes.
    pub flags_changed: u32,
}

/// The first registers of prototypes: no opcode fixes them.
const GENERAL: u32 = 8;

/// Judges instructions; kept because it has memory of its own.
pub(super) struct Tables(InstructionInfoFactory);

impl Tables {
    pub fn new() -> Self {
        Self(InstructionInfoFactory::new())
    }

    /// What an instruction does whose operands stand where their opcode takes them.
    pub fn effects<R: Register>(&mut self, inst: &Inst<R>) -> Effects {
        let info = inst.code.op_code();
        let mut prototype = Instruction::default();
        prototype.set_code(inst.code);
        // Registers already given to a place, of each class.
        let mut used = [0; 3];
        let mut fresh = |class: RegClass, first: Hardware| {
            let next = &mut used[class as usize];
            *next += 1;
            first + (*next - 1)
        };
        for (operand, arg) in inst.args().iter().enumerate() {
            let operand = operand as u32;
            let place = place(info.op_kind(operand));
            match (arg, place.register) {
                (Arg::Mem, _) => {
                    prototype.set_op_kind(operand, OpKind::Memory);
                    prototype.set_memory_base(fresh(RegClass::Int, Hardware::R8));
                    prototype.set_memory_displ_size(1);
                    if inst.mem.index.is_some() {
                        let index = match info.op_kind(operand) {
                            Kind::mem_vsib32z => fresh(RegClass::Float, Hardware::ZMM0),
                            Kind::mem_vsib32y => fresh(RegClass::Float, Hardware::YMM0),
                            _ => fresh(RegClass::Int, Hardware::R8),
                        };
                        prototype.set_memory_index(index);
                    }
                    prototype.set_is_broadcast(inst.broadcast);
                }
                (Arg::Imm, _) => prototype.set_op_kind(operand, OpKind::Immediate8),
                (_, Some((class, first))) => {
                    prototype.set_op_kind(operand, OpKind::Register);
                    prototype.set_op_register(operand, fresh(class, first));
                }
                (_, None) => {}
            }
        }
        let mask =
            if inst.mask == Arg::None { Hardware::None } else { fresh(RegClass::Vector, Hardware::K1) };
        prototype.set_op_mask(mask);
        prototype.set_zeroing_masking(inst.zeroing);
        prototype.set_has_lock_prefix(inst.locked);
        let mut effects = Effects {
            flags_read: prototype.rflags_read(),
            flags_set: prototype.rflags_written() | prototype.rflags_cleared() | prototype.rflags_set(),
            flags_changed: prototype.rflags_modified(),
            ..Effects::default()
        };
        let found = self.0.info(&prototype);
        for operand in 0..inst.args().len() {
            effects.operands[operand] = Effect::of(found.op_access(operand as u32));
        }
        if let Some(operand) = inst.memory()
            && found.op_access(operand as u32) != OpAccess::NoMemAccess
        {
            effects.memory = Some(prototype.memory_size().size() as u32);
        }
        for register in found.used_registers() {
            let (full, effect) = (register.register().full_register(), Effect::of(register.access()));
            if full == mask {
                effects.mask.read |= effect.read;
                effects.mask.write |= effect.write;
            } else if !is_prototype(full, used) {
                match general(full) {
                    Some(number) => merge(&mut effects.fixed, number, effect),
                    None => effects.hidden = Some(full),
                }
            }
        }
        effects
    }
}

fn merge(all: &mut Vec<(u8, Effect)>, number: u8, effect: Effect) {
    match all.iter_mut().find(|(n, _)| *n == number) {
        Some((_, one)) => *one = Effect { read: one.read | effect.read, write: one.write | effect.write },
        None => all.push((number, effect)),
    }
}

fn general(register: Hardware) -> Option<u8> {
    register.is_gpr64().then(|| (register as u32 - Hardware::RAX as u32) as u8)
}

/// Whether a register is one of the first that were given to places, by class.
fn is_prototype(register: Hardware, used: [u32; 3]) -> bool {
    let within = |first: Hardware, class: RegClass| {
        let (first, register) = (first as u32, register as u32);
        (first..first + used[class as usize]).contains(&register)
    };
    if register.is_gpr64() {
        let number = register as u32 - Hardware::RAX as u32;
        return (GENERAL..GENERAL + used[RegClass::Int as usize]).contains(&number);
    }
    within(Hardware::ZMM0, RegClass::Float) || within(Hardware::K1, RegClass::Vector)
}

/// Why an opcode is none that this backend may use, at any level.
pub(super) fn foreign(code: Code) -> Option<&'static str> {
    if !code.op_code().mode64() {
        return Some("does not exist in 64-bit code");
    }
    if code.flow_control() != FlowControl::Next {
        return Some("leaves the block");
    }
    if code.is_stack_instruction() || code.is_privileged() || code.is_save_restore_instruction() {
        return Some("is not for kernels");
    }
    match code.encoding() {
        EncodingKind::Legacy | EncodingKind::VEX | EncodingKind::EVEX => None,
        _ => Some("has an encoding of other processors"),
    }
}

/// The condition in a jump's low four opcode bits.
pub(crate) fn condition_bits(condition: ConditionCode) -> u8 {
    match condition {
        ConditionCode::b => 2,
        ConditionCode::ae => 3,
        ConditionCode::e => 4,
        ConditionCode::None | ConditionCode::ne => 5,
        ConditionCode::be => 6,
        ConditionCode::a => 7,
        ConditionCode::s => 8,
        ConditionCode::ns => 9,
        ConditionCode::p => 10,
        ConditionCode::np => 11,
        ConditionCode::l => 12,
        ConditionCode::ge => 13,
        ConditionCode::le => 14,
        ConditionCode::g => 15,
        ConditionCode::o => 0,
        ConditionCode::no => 1,
    }
}

/// The flags that a condition asks.
pub(super) fn condition_flags(condition: ConditionCode) -> u32 {
    match condition_bits(condition) {
        0 | 1 => RflagsBits::OF,
        2 | 3 => RflagsBits::CF,
        4 | 5 => RflagsBits::ZF,
        6 | 7 => RflagsBits::CF | RflagsBits::ZF,
        8 | 9 => RflagsBits::SF,
        10 | 11 => RflagsBits::PF,
        12 | 13 => RflagsBits::SF | RflagsBits::OF,
        _ => RflagsBits::ZF | RflagsBits::SF | RflagsBits::OF,
    }
}
