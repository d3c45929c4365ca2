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
use regalloc2::{Allocation, Edit, InstOrEdit, Output, PReg, RegClass};

use crate::features::Level;
use crate::mir::{Arg, Base, Inst, Mir};
use crate::regalloc::{CALLEE_SAVED, Flat, Program};
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

struct Emitter<'a> {
    level: Level,
    encoder: Encoder,
    len: usize,
    fixups: Vec<Fixup>,
    starts: Vec<Option<usize>>,
    output: &'a Output,
    scratch: u32,
    saved: Vec<u8>,
    frame: u32,
    stats: Stats,
}

/// Largest frame: spills beyond it mean that the kernel was cut far too coarsely.
const MAX_FRAME: u32 = 1 << 20;
/// Distance between stack probes: the smallest page.
const PAGE: u32 = 4096;
const LOOP_ALIGNMENT: usize = 32;

/// Encodes the program; gives the bytes and what was counted on the way.
pub(crate) fn emit(
    program: &Program<'_>,
    mir: &Mir,
    output: &Output,
    level: Level,
) -> Result<(Vec<u8>, Stats), Error> {
    let scratch = mir.scratch.next_multiple_of(64);
    let spilled = output.num_spillslots as u32;
    let frame = spilled.saturating_mul(8).saturating_add(scratch).next_multiple_of(64);
    if frame > MAX_FRAME {
        return Err(Error::TooLarge(format!("its frame would take {frame} bytes")));
    }
    let mut emitter = Emitter {
        level,
        encoder: Encoder::try_with_capacity(64, program.insts.len() * 8)
            .map_err(|e| Error::Internal(e.to_string()))?,
        len: 0,
        fixups: Vec::new(),
        starts: vec![None; program.ranges.len()],
        output,
        scratch,
        saved: saved_registers(output),
        frame,
        stats: Stats { spill_slots: output.num_spillslots, ..Stats::default() },
    };
    emitter.prologue().and_then(|()| emitter.blocks(program, mir)).map_err(Error::Internal)?;
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
fn innermost(program: &Program<'_>, mir: &Mir, targets: &[usize], emitted: &[usize]) -> Vec<bool> {
    let mut inside = vec![false; emitted.len()];
    for (first, &start) in emitted.iter().enumerate() {
        if !mir.blocks[program.order[start].0 as usize].hot {
            continue;
        }
        let returns = |block: usize| program.succs[block].iter().any(|next| targets[next.index()] == start);
        if let Some(last) = emitted.iter().rposition(|&block| returns(block)).filter(|last| *last >= first) {
            inside[first..=last].fill(true);
        }
    }
    inside
}

/// The callee-saved registers that the allocation writes.
fn saved_registers(output: &Output) -> Vec<u8> {
    let mut used = [false; 16];
    let mut note = |allocation: Allocation| {
        if let Some(reg) = allocation.as_reg()
            && reg.class() == RegClass::Int
        {
            used[reg.hw_enc()] = true;
        }
    };
    output.allocs.iter().copied().for_each(&mut note);
    for (_, Edit::Move { from, to }) in &output.edits {
        note(*from);
        note(*to);
    }
    CALLEE_SAVED.into_iter().filter(|&reg| used[usize::from(reg)]).collect()
}

fn register64(number: u8) -> Register {
    Register::RAX + u32::from(number)
}

impl Emitter<'_> {
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

    fn blocks(&mut self, program: &Program<'_>, mir: &Mir) -> Result<(), String> {
        let targets = self.targets(program);
        let emitted: Vec<usize> = (0..program.ranges.len()).filter(|&b| targets[b] == b).collect();
        let in_loop = innermost(program, mir, &targets, &emitted);
        for (at, &block) in emitted.iter().enumerate() {
            let before = self.stats;
            if mir.blocks[program.order[block].0 as usize].hot {
                self.align();
            }
            self.starts[block] = Some(self.len);
            let next = emitted.get(at + 1).copied();
            for step in self.output.block_insts_and_edits(program, regalloc2::Block::new(block)) {
                match step {
                    InstOrEdit::Edit(Edit::Move { from, to }) => self.edit(*from, *to)?,
                    InstOrEdit::Inst(index) => match &program.insts[index.index()] {
                        Flat::Inst(inst) => self.inst(inst, self.output.inst_allocs(index))?,
                        Flat::Return => self.epilogue()?,
                        Flat::Jump(to) => self.jump(targets[*to], next),
                        Flat::Branch { condition, then, otherwise } => {
                            let (then, otherwise) = (targets[*then], targets[*otherwise]);
                            if Some(then) == next {
                                self.jump_if(negate(*condition), otherwise);
                            } else {
                                self.jump_if(*condition, then);
                                self.jump(otherwise, next);
                            }
                        }
                    },
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

    /// For each block, the block that a jump to it ends in.
    fn targets(&self, program: &Program<'_>) -> Vec<usize> {
        let blocks = program.ranges.len();
        let direct: Vec<usize> = (0..blocks)
            .map(|block| {
                let mut steps = self.output.block_insts_and_edits(program, regalloc2::Block::new(block));
                let first = steps.next();
                match first {
                    Some(InstOrEdit::Inst(index)) if block != 0 => match program.insts[index.index()] {
                        Flat::Jump(to) => to,
                        Flat::Inst(_) | Flat::Branch { .. } | Flat::Return => block,
                    },
                    Some(_) | None => block,
                }
            })
            .collect();
        (0..blocks)
            .map(|block| {
                let mut at = block;
                // A cycle of empty blocks would be an endless loop in the source; stop after one round.
                for _ in 0..blocks {
                    if direct[at] == at {
                        break;
                    }
                    at = direct[at];
                }
                at
            })
            .collect()
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

    /// A move that the allocator asks for.
    fn edit(&mut self, from: Allocation, to: Allocation) -> Result<(), String> {
        let class = match (from.as_reg(), to.as_reg()) {
            (Some(reg), _) | (_, Some(reg)) => reg.class(),
            (None, None) => return Err("a move between two spill slots".to_owned()),
        };
        let (load, store, kind) = match (class, self.level) {
            (RegClass::Int, _) => (Opcode::Mov_r64_rm64, Opcode::Mov_rm64_r64, Kind::r64_reg),
            (RegClass::Float, Level::V3) => {
                (Opcode::VEX_Vmovaps_ymm_ymmm256, Opcode::VEX_Vmovaps_ymmm256_ymm, Kind::ymm_reg)
            }
            (RegClass::Float, Level::V4) => {
                (Opcode::EVEX_Vmovaps_zmm_k1z_zmmm512, Opcode::EVEX_Vmovaps_zmmm512_k1z_zmm, Kind::zmm_reg)
            }
            (RegClass::Vector, _) => (Opcode::VEX_Kmovq_kr_km64, Opcode::VEX_Kmovq_m64_kr, Kind::k_reg),
        };
        let mut instruction = Instruction::default();
        match (from.as_reg(), to.as_reg()) {
            (Some(from), Some(to)) => {
                self.stats.moves += 1;
                instruction.set_code(load);
                set_register(&mut instruction, 0, kind, to)?;
                set_register(&mut instruction, 1, kind, from)?;
            }
            (None, Some(to)) => {
                self.stats.reloads += 1;
                instruction.set_code(load);
                set_register(&mut instruction, 0, kind, to)?;
                self.set_slot(&mut instruction, 1, from);
            }
            (Some(from), None) => {
                self.stats.spills += 1;
                instruction.set_code(store);
                self.set_slot(&mut instruction, 0, to);
                set_register(&mut instruction, 1, kind, from)?;
            }
            (None, None) => {}
        }
        self.encode(&instruction).map(|_| ())
    }

    fn set_slot(&self, instruction: &mut Instruction, operand: u32, slot: Allocation) {
        let index = slot.as_stack().map_or(0, regalloc2::SpillSlot::index);
        instruction.set_op_kind(operand, OpKind::Memory);
        instruction.set_memory_base(Register::RSP);
        instruction.set_memory_displ_size(1);
        instruction.set_memory_displacement64(u64::from(self.scratch) + 8 * index as u64);
    }

    fn inst(&mut self, inst: &Inst, allocs: &[Allocation]) -> Result<(), String> {
        if inst.code == Opcode::INVALID {
            return Ok(());
        }
        let mut next = allocs.iter().copied();
        let mut take = || next.next().and_then(Allocation::as_reg).ok_or("an operand without a register");
        let info = inst.code.op_code();
        let mut instruction = Instruction::default();
        instruction.set_code(inst.code);
        instruction.set_has_lock_prefix(inst.locked);
        let mut first: Option<PReg> = None;
        let mut pool = None;
        for (operand, arg) in inst.args.iter().take(usize::from(inst.count)).enumerate() {
            let operand = operand as u32;
            let kind = info.op_kind(operand);
            match arg {
                Arg::None => {}
                Arg::Use(_) | Arg::Def(_) | Arg::Tied { .. } | Arg::Same => {
                    let reg = match arg {
                        Arg::Tied { .. } => {
                            take()?;
                            take()?
                        }
                        Arg::Same => first.ok_or("no register to repeat")?,
                        _ => take()?,
                    };
                    first = first.or(Some(reg));
                    set_register(&mut instruction, operand, kind, reg)?;
                }
                Arg::Mem => instruction.set_op_kind(operand, OpKind::Memory),
                Arg::Imm => set_immediate(&mut instruction, operand, kind, inst.imm)?,
            }
        }
        if let Some(operand) = inst.args.iter().position(|a| *a == Arg::Mem) {
            let mut displacement = i64::from(inst.mem.disp);
            match inst.mem.base {
                Base::Reg(_) => instruction.set_memory_base(register64(take()?.hw_enc() as u8)),
                Base::Frame => instruction.set_memory_base(Register::RSP),
                Base::Pool(id) => {
                    instruction.set_memory_base(Register::RIP);
                    pool = Some((id, inst.mem.disp));
                    displacement = 0;
                }
            }
            if inst.mem.index.is_some() {
                let reg = take()?;
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
            Arg::Tied { .. } => {
                take()?;
                instruction.set_op_mask(Register::K0 + take()?.hw_enc() as u32);
            }
            Arg::Use(_) => {
                instruction.set_op_mask(Register::K0 + take()?.hw_enc() as u32);
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
