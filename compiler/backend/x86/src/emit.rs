//! Allocated machine IR to bytes. The code is position independent: jumps are relative and constants
//! follow the code, addressed from the instruction pointer.
//!
//! ```text
//! | prologue | blocks in layout order | epilogue at each return | padding | constant pool |
//! ```
//!
//! A block that holds nothing but a jump is not emitted; jumps to it go to its target. Innermost loops
//! start on 32-byte boundaries. The frame, where one is needed: rbp is the old stack pointer, saved
//! registers lie under it, rsp is 64-byte aligned, `[rsp]` is the scratch area, spill slots follow.

use iced_x86::{
    Code as Opcode, ConditionCode, Encoder, Instruction, OpCodeOperandKind as Kind, OpKind, Register,
};
use regalloc2::{PReg, RegClass};

use crate::mir::{Arg, Base, Block, BlockId, Inst, Mir, Term, condition_bits};
use crate::regalloc::CALLEE_SAVED;
use crate::{Error, Stats};

/// Where a 4-byte relative distance must be filled in.
struct Fixup {
    /// Position of the distance.
    at: usize,
    /// Where the distance counts from: the end of its instruction.
    end: usize,
    to: Target,
}

enum Target {
    Block(usize),
    /// A constant and an offset in it.
    Pool(u32, i32),
}

struct Emitter {
    encoder: Encoder,
    len: usize,
    fixups: Vec<Fixup>,
    starts: Vec<Option<usize>>,
    scratch: u32,
    saved: Vec<u8>,
    frame: u32,
    stats: Stats,
}

/// Distance between stack probes: the smallest page.
const PAGE: u32 = 4096;
const LOOP_ALIGNMENT: usize = 32;

/// Bytes of a function's frame, without the registers that it saves.
pub(crate) fn frame(mir: &Mir<PReg>) -> u32 {
    mir.slots.saturating_mul(8).saturating_add(mir.scratch.next_multiple_of(64)).next_multiple_of(64)
}

/// Encodes an allocated function; gives the bytes and what was counted on the way.
pub(crate) fn emit(mir: &Mir<PReg>) -> Result<(Vec<u8>, Stats), Error> {
    let instructions: usize = mir.blocks.iter().map(|block| block.insts.len()).sum();
    let mut emitter = Emitter {
        encoder: Encoder::try_with_capacity(64, instructions * 8)
            .map_err(|e| Error::Internal(e.to_string()))?,
        len: 0,
        fixups: Vec::new(),
        starts: vec![None; mir.blocks.len()],
        scratch: mir.scratch.next_multiple_of(64),
        saved: saved_registers(mir),
        frame: frame(mir),
        stats: Stats { spill_slots: mir.slots as usize, ..Stats::default() },
    };
    emitter.prologue().and_then(|()| emitter.blocks(mir)).map_err(Error::Internal)?;
    let (offsets, pool) = mir.pool.layout();
    let mut bytes = emitter.encoder.take_buffer();
    let code_end = bytes.len();
    if !pool.is_empty() {
        bytes.resize(code_end.next_multiple_of(64), 0xcc);
    }
    let pool_start = bytes.len();
    bytes.extend_from_slice(&pool);
    for fixup in &emitter.fixups {
        let to = match fixup.to {
            Target::Block(block) => match emitter.starts[block] {
                Some(start) => start,
                None => return Err(Error::Internal("a jump to a block that was not emitted".to_owned())),
            },
            Target::Pool(id, disp) => pool_start + (offsets[id as usize] as i32 + disp) as usize,
        };
        let distance = i32::try_from(to as i64 - fixup.end as i64)
            .map_err(|_| Error::TooLarge("its code passes 2 GiB".to_owned()))?;
        bytes[fixup.at..fixup.at + 4].copy_from_slice(&distance.to_le_bytes());
    }
    emitter.stats.code_bytes = code_end;
    Ok((bytes, emitter.stats))
}

/// Which of the emitted blocks lie in innermost loops: from one that starts such a loop to the last that jumps back to it.
fn innermost(mir: &Mir<PReg>, targets: &[usize], emitted: &[usize]) -> Vec<bool> {
    let mut inside = vec![false; emitted.len()];
    for (first, &start) in emitted.iter().enumerate() {
        if !mir.blocks[start].hot {
            continue;
        }
        let returns =
            |block: usize| mir.blocks[block].term.targets().any(|to| targets[to.0 as usize] == start);
        if let Some(last) = emitted.iter().rposition(|&block| returns(block)).filter(|last| *last >= first) {
            inside[first..=last].fill(true);
        }
    }
    inside
}

/// The callee-saved registers that the function uses.
fn saved_registers(mir: &Mir<PReg>) -> Vec<u8> {
    let mut used = [false; 16];
    for inst in mir.blocks.iter().flat_map(|block| &block.insts) {
        inst.registers(&mut |reg, _| {
            if reg.class() == RegClass::Int {
                used[reg.hw_enc() % 16] = true;
            }
        });
    }
    CALLEE_SAVED.into_iter().filter(|&reg| used[usize::from(reg)]).collect()
}

fn register64(number: u8) -> Register {
    Register::RAX + u32::from(number)
}

impl Emitter {
    fn encode(&mut self, instruction: &Instruction) -> Result<usize, String> {
        let len =
            self.encoder.encode(instruction, self.len as u64).map_err(|e| format!("{instruction:?}: {e}"))?;
        self.len += len;
        self.stats.instructions += 1;
        Ok(len)
    }

    fn byte(&mut self, byte: u8) {
        self.encoder.write_u8(byte);
        self.len += 1;
    }

    fn with(&mut self, result: Result<Instruction, iced_x86::IcedError>) -> Result<(), String> {
        let instruction = result.map_err(|e| e.to_string())?;
        self.encode(&instruction).map(|_| ())
    }

    fn has_frame(&self) -> bool {
        self.frame > 0 || !self.saved.is_empty()
    }

    fn prologue(&mut self) -> Result<(), String> {
        if !self.has_frame() {
            return Ok(());
        }
        self.with(Instruction::with1(Opcode::Push_r64, Register::RBP))?;
        self.with(Instruction::with2(Opcode::Mov_r64_rm64, Register::RBP, Register::RSP))?;
        for reg in self.saved.clone() {
            self.with(Instruction::with1(Opcode::Push_r64, register64(reg)))?;
        }
        if self.frame > 0 {
            // Every page is touched in order, so that an overflow meets the guard page.
            let mut left = self.frame;
            while left > PAGE {
                self.with(Instruction::with2(Opcode::Sub_rm64_imm32, Register::RSP, PAGE as i32))?;
                let top = iced_x86::MemoryOperand::with_base(Register::RSP);
                self.with(Instruction::with2(Opcode::Or_rm32_imm8, top, 0))?;
                left -= PAGE;
            }
            self.with(Instruction::with2(Opcode::Sub_rm64_imm32, Register::RSP, left as i32))?;
            self.with(Instruction::with2(Opcode::And_rm64_imm8, Register::RSP, -64))?;
        }
        Ok(())
    }

    fn epilogue(&mut self) -> Result<(), String> {
        self.encode(&Instruction::with(Opcode::VEX_Vzeroupper))?;
        if self.has_frame() {
            let saved = self.saved.len() as i64;
            let lowest = iced_x86::MemoryOperand::with_base_displ(Register::RBP, -8 * saved);
            self.with(Instruction::with2(Opcode::Lea_r64_m, Register::RSP, lowest))?;
            for reg in self.saved.clone().into_iter().rev() {
                self.with(Instruction::with1(Opcode::Pop_r64, register64(reg)))?;
            }
            self.with(Instruction::with1(Opcode::Pop_r64, Register::RBP))?;
        }
        self.encode(&Instruction::with(Opcode::Retnq)).map(|_| ())
    }

    fn blocks(&mut self, mir: &Mir<PReg>) -> Result<(), String> {
        let targets = targets(mir);
        let emitted: Vec<usize> =
            mir.order.iter().map(|id| id.0 as usize).filter(|&block| targets[block] == block).collect();
        let in_loop = innermost(mir, &targets, &emitted);
        let target = |id: &BlockId| targets[id.0 as usize];
        for (at, &number) in emitted.iter().enumerate() {
            let (before, block) = (self.stats, &mir.blocks[number]);
            if block.hot {
                self.align();
            }
            self.starts[number] = Some(self.len);
            let next = emitted.get(at + 1).copied();
            for inst in &block.insts {
                self.inst(inst)?;
            }
            match &block.term {
                Term::Open => return Err("a block without an end".to_owned()),
                Term::Return => self.epilogue()?,
                Term::Jump(to, _) => self.jump(target(to), next),
                Term::Branch { condition, then, otherwise, .. } => {
                    let (then, otherwise) = (target(then), target(otherwise));
                    if Some(then) == next {
                        self.jump_if(negate(*condition), otherwise);
                    } else {
                        self.jump_if(*condition, then);
                        self.jump(otherwise, next);
                    }
                }
            }
            if in_loop[at] {
                let now = &mut self.stats;
                now.loop_instructions += now.instructions - before.instructions;
                now.loop_spills += now.spills + now.reloads - before.spills - before.reloads;
            }
        }
        Ok(())
    }

    fn align(&mut self) {
        const NOPS: [&[u8]; 9] = [
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0x00],
            &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
            &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        ];
        let mut missing = self.len.next_multiple_of(LOOP_ALIGNMENT) - self.len;
        while missing > 0 {
            let nop = NOPS[missing.min(NOPS.len()) - 1];
            nop.iter().for_each(|&b| self.byte(b));
            missing -= nop.len();
        }
    }

    fn jump(&mut self, to: usize, next: Option<usize>) {
        if Some(to) == next {
            return;
        }
        self.stats.instructions += 1;
        if let Some(start) = self.starts[to]
            && let Ok(short) = i8::try_from(start as i64 - (self.len as i64 + 2))
        {
            self.byte(0xeb);
            self.byte(short as u8);
            return;
        }
        self.byte(0xe9);
        self.distance(to);
    }

    fn jump_if(&mut self, condition: ConditionCode, to: usize) {
        self.stats.instructions += 1;
        let code = condition_bits(condition);
        if let Some(start) = self.starts[to]
            && let Ok(short) = i8::try_from(start as i64 - (self.len as i64 + 2))
        {
            self.byte(0x70 | code);
            self.byte(short as u8);
            return;
        }
        self.byte(0x0f);
        self.byte(0x80 | code);
        self.distance(to);
    }

    fn distance(&mut self, to: usize) {
        let at = self.len;
        (0..4).for_each(|_| self.byte(0));
        self.fixups.push(Fixup { at, end: self.len, to: Target::Block(to) });
    }

    fn inst(&mut self, inst: &Inst<PReg>) -> Result<(), String> {
        if inst.code == Opcode::INVALID {
            return Ok(());
        }
        let info = inst.code.op_code();
        let mut instruction = Instruction::default();
        instruction.set_code(inst.code);
        instruction.set_has_lock_prefix(inst.locked);
        let mut first: Option<PReg> = None;
        let mut pool = None;
        for (operand, arg) in inst.args().iter().enumerate() {
            let operand = operand as u32;
            let kind = info.op_kind(operand);
            match arg {
                Arg::None => {}
                Arg::Use(reg) | Arg::Def(reg) | Arg::Tied { def: reg, .. } => {
                    first = first.or(Some(*reg));
                    set_register(&mut instruction, operand, kind, *reg)?;
                }
                Arg::Same => {
                    set_register(&mut instruction, operand, kind, first.ok_or("no register to repeat")?)?;
                }
                Arg::Mem => instruction.set_op_kind(operand, OpKind::Memory),
                Arg::Imm => set_immediate(&mut instruction, operand, kind, inst.imm)?,
            }
        }
        if let Some(operand) = inst.memory() {
            let mut displacement = i64::from(inst.mem.disp);
            match inst.mem.base {
                Base::Reg(reg) => instruction.set_memory_base(register64(reg.hw_enc() as u8)),
                Base::Frame => instruction.set_memory_base(Register::RSP),
                Base::Slot(unit) => {
                    instruction.set_memory_base(Register::RSP);
                    displacement += i64::from(self.scratch) + 8 * i64::from(unit);
                    let count = if operand == 0 { &mut self.stats.spills } else { &mut self.stats.reloads };
                    *count += 1;
                }
                Base::Pool(id) => {
                    instruction.set_memory_base(Register::RIP);
                    pool = Some((id, inst.mem.disp));
                    displacement = 0;
                }
            }
            if let Some(reg) = inst.mem.index {
                let index = match info.op_kind(operand as u32) {
                    Kind::mem_vsib32z => Register::ZMM0 + reg.hw_enc() as u32,
                    Kind::mem_vsib32y => Register::YMM0 + reg.hw_enc() as u32,
                    _ => register64(reg.hw_enc() as u8),
                };
                instruction.set_memory_index(index);
                instruction.set_memory_index_scale(u32::from(inst.mem.scale));
            }
            instruction.set_memory_displ_size(if pool.is_some() { 8 } else { u32::from(displacement != 0) });
            instruction.set_memory_displacement64(displacement as u64);
            instruction.set_is_broadcast(inst.broadcast);
        }
        match inst.mask {
            Arg::Use(reg) | Arg::Tied { def: reg, .. } => {
                instruction.set_op_mask(Register::K0 + reg.hw_enc() as u32);
                instruction.set_zeroing_masking(inst.zeroing);
            }
            Arg::None | Arg::Def(_) | Arg::Same | Arg::Mem | Arg::Imm => {}
        }
        let start = self.len;
        let len = self.encode(&instruction)?;
        if let Some((id, disp)) = pool {
            let at = start + self.encoder.get_constant_offsets().displacement_offset();
            self.fixups.push(Fixup { at, end: start + len, to: Target::Pool(id.0, disp) });
        }
        Ok(())
    }
}

/// For each block, the block that a jump to it ends in.
fn targets(mir: &Mir<PReg>) -> Vec<usize> {
    let direct = |number: usize, block: &Block<PReg>| match &block.term {
        Term::Jump(to, _) if block.insts.is_empty() && mir.order.first() != Some(&BlockId(number as u32)) => {
            to.0 as usize
        }
        Term::Jump(..) | Term::Open | Term::Return | Term::Branch { .. } => number,
    };
    let direct: Vec<usize> = mir.blocks.iter().enumerate().map(|(n, block)| direct(n, block)).collect();
    (0..direct.len())
        .map(|block| {
            let mut at = block;
            // A cycle of empty blocks would be an endless loop in the source; stop after one round.
            for _ in 0..direct.len() {
                if direct[at] == at {
                    break;
                }
                at = direct[at];
            }
            at
        })
        .collect()
}

fn set_register(instruction: &mut Instruction, operand: u32, kind: Kind, reg: PReg) -> Result<(), String> {
    let number = reg.hw_enc() as u32;
    let register = match kind {
        Kind::r8_reg | Kind::r8_or_mem if number < 4 => Register::AL + number,
        Kind::r8_reg | Kind::r8_or_mem => Register::SPL + (number - 4),
        Kind::r16_reg | Kind::r16_or_mem | Kind::r16_rm => Register::AX + number,
        Kind::r32_reg | Kind::r32_or_mem | Kind::r32_rm | Kind::r32_vvvv => Register::EAX + number,
        Kind::r64_reg | Kind::r64_or_mem | Kind::r64_rm | Kind::r64_vvvv | Kind::r64_opcode => {
            Register::RAX + number
        }
        Kind::r32_opcode => Register::EAX + number,
        Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_or_mem | Kind::xmm_is4 => {
            Register::XMM0 + number
        }
        Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_or_mem | Kind::ymm_is4 => {
            Register::YMM0 + number
        }
        Kind::zmm_reg | Kind::zmm_rm | Kind::zmm_vvvv | Kind::zmm_or_mem => Register::ZMM0 + number,
        Kind::k_reg | Kind::k_rm | Kind::k_vvvv | Kind::k_or_mem => Register::K0 + number,
        other => {
            return Err(format!(
                "no register fits operand {operand} ({other:?}) of {:?}",
                instruction.code()
            ));
        }
    };
    instruction.set_op_kind(operand, OpKind::Register);
    instruction.set_op_register(operand, register);
    Ok(())
}

fn set_immediate(instruction: &mut Instruction, operand: u32, kind: Kind, imm: i64) -> Result<(), String> {
    let op_kind = match kind {
        Kind::imm8 => OpKind::Immediate8,
        Kind::imm8sex32 => OpKind::Immediate8to32,
        Kind::imm8sex64 => OpKind::Immediate8to64,
        Kind::imm32 => OpKind::Immediate32,
        Kind::imm32sex64 => OpKind::Immediate32to64,
        Kind::imm64 => OpKind::Immediate64,
        other => return Err(format!("no immediate fits operand {operand} ({other:?})")),
    };
    instruction.set_op_kind(operand, op_kind);
    match op_kind {
        OpKind::Immediate8 => instruction.set_immediate8(imm as u8),
        OpKind::Immediate8to32 => instruction.set_immediate8to32(imm as i32),
        OpKind::Immediate8to64 => instruction.set_immediate8to64(imm),
        OpKind::Immediate32 => instruction.set_immediate32(imm as u32),
        OpKind::Immediate32to64 => instruction.set_immediate32to64(imm),
        _ => instruction.set_immediate64(imm as u64),
    }
    Ok(())
}

/// The opposite condition.
pub(crate) fn negate(condition: ConditionCode) -> ConditionCode {
    match condition {
        ConditionCode::None | ConditionCode::ne => ConditionCode::e,
        ConditionCode::o => ConditionCode::no,
        ConditionCode::no => ConditionCode::o,
        ConditionCode::b => ConditionCode::ae,
        ConditionCode::ae => ConditionCode::b,
        ConditionCode::e => ConditionCode::ne,
        ConditionCode::be => ConditionCode::a,
        ConditionCode::a => ConditionCode::be,
        ConditionCode::s => ConditionCode::ns,
        ConditionCode::ns => ConditionCode::s,
        ConditionCode::p => ConditionCode::np,
        ConditionCode::np => ConditionCode::p,
        ConditionCode::l => ConditionCode::ge,
        ConditionCode::ge => ConditionCode::l,
        ConditionCode::le => ConditionCode::g,
        ConditionCode::g => ConditionCode::le,
    }
}
