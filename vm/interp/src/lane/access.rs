//! The machine's memory operations: which lane touches which element, in the launch's order of lanes.
//!
//! An index is `base + lane` or `base + offset[lane]`, counted exactly (it never wraps). A masked-off lane
//! touches nothing and loads zero. `memory` judges each touch.

use std::mem;

use tvmc_ir::lane::{Buffer, Inst, Mem, MemoryOp, Op, Place, Sign, Update};

use super::TrapKind;
use super::machine::{Clock, Fault, Machine};
use super::memory::{Area, EVERY_LANE, Who, widen};
use super::pure::unpack;

/// `base + offset` as it is counted: exactly, never wrapping.
fn element(base: i64, offset: i64) -> i128 {
    i128::from(base) + i128::from(offset)
}

impl<'a> Machine<'a> {
    fn area(&mut self, place: Place) -> &mut Area<'a> {
        match place {
            Place::Buffer(buffer) => &mut self.buffers[buffer.index()],
            Place::Arena(arena) => &mut self.arenas[arena.index()],
        }
    }

    fn who(&self, place: Place, lane: u32) -> Who {
        let Clock { epoch, block_epoch } = match place {
            Place::Buffer(_) => self.buffer_clock,
            Place::Arena(_) => self.arena_clock,
        };
        Who { lane, epoch, block_epoch }
    }

    /// Whether lane `lane` is active; a uniform mask has one word.
    pub(super) fn active(&self, mask: Option<usize>, lane: u32) -> bool {
        mask.is_none_or(|mask| self.words[mask][lane as usize] != 0)
    }

    pub(super) fn load(&mut self, inst: &Inst, out: &mut [u32]) -> Result<(), Fault> {
        let Op::Memory { form, mem, place, masked } = inst.op else { return Ok(()) };
        let base = self.wides[Self::arg(inst, 0)];
        let mask = masked.then(|| Self::arg(inst, inst.args.len() - 1));
        match form {
            MemoryOp::LoadUniform => {
                let active = self.active(mask, 0);
                out[0] = if active {
                    let lane = if self.function.lanes == 1 { 0 } else { EVERY_LANE };
                    self.load_element(place, mem, element(base, 0), lane)?
                } else {
                    0
                };
            }
            MemoryOp::LoadContig => {
                if mask.is_none() {
                    let size = mem.bytes();
                    let run = self.area(place).quiet_run(base, size, out.len());
                    if let Some(run) = run {
                        for (out, bytes) in out.iter_mut().zip(run.chunks_exact(size as usize)) {
                            *out = widen(bytes, mem);
                        }
                        return Ok(());
                    }
                }
                for at in 0..self.order.len() {
                    let lane = self.order[at];
                    out[lane as usize] = if self.active(mask, lane) {
                        self.load_element(place, mem, element(base, i64::from(lane)), lane)?
                    } else {
                        0
                    };
                }
            }
            MemoryOp::Gather => {
                let offsets = Self::arg(inst, 1);
                for at in 0..self.order.len() {
                    let lane = self.order[at];
                    out[lane as usize] = if self.active(mask, lane) {
                        let offset = self.words[offsets][lane as usize].cast_signed();
                        self.load_element(place, mem, element(base, i64::from(offset)), lane)?
                    } else {
                        0
                    };
                }
            }
            MemoryOp::StoreUniform | MemoryOp::StoreContig | MemoryOp::Scatter => {}
        }
        Ok(())
    }

    pub(super) fn load_element(
        &mut self,
        place: Place,
        mem: Mem,
        index: i128,
        lane: u32,
    ) -> Result<u32, Fault> {
        self.at_element(place, index, lane, mem.bytes(), |area, start, who| area.load(start, mem, who))
    }

    pub(super) fn store_element(
        &mut self,
        place: Place,
        mem: Mem,
        index: i128,
        lane: u32,
        word: u32,
    ) -> Result<(), Fault> {
        self.at_element(place, index, lane, mem.bytes(), |area, start, who| area.store(start, mem, word, who))
    }

    /// A lane's access to element `index`, of so many bytes, where it lies.
    fn at_element<T>(
        &mut self,
        place: Place,
        index: i128,
        lane: u32,
        bytes: u32,
        access: impl FnOnce(&mut Area<'a>, usize, Who) -> Result<T, TrapKind>,
    ) -> Result<T, Fault> {
        let who = self.who(place, lane);
        let area = self.area(place);
        let done = area.locate(index, bytes).and_then(|start| access(area, start, who));
        done.map_err(|kind| Fault::at(kind, lane, place, index))
    }

    pub(super) fn store(&mut self, inst: &Inst) -> Result<(), Fault> {
        let Op::Memory { form, mem, place, masked } = inst.op else { return Ok(()) };
        let base = self.wides[Self::arg(inst, 0)];
        let mask = masked.then(|| Self::arg(inst, inst.args.len() - 1));
        let (offsets, values) = match form {
            MemoryOp::Scatter => (Some(Self::arg(inst, 1)), Self::arg(inst, 2)),
            MemoryOp::StoreUniform
            | MemoryOp::StoreContig
            | MemoryOp::LoadUniform
            | MemoryOp::LoadContig
            | MemoryOp::Gather => (None, Self::arg(inst, 1)),
        };
        // Lane 0 makes a uniform store.
        let count = if form == MemoryOp::StoreUniform { 1 } else { self.order.len() };
        let mut targets = mem::take(&mut self.targets);
        targets.clear();
        for at in 0..count {
            let lane = if count == 1 { 0 } else { self.order[at] };
            if self.active(mask, lane) {
                let offset = match offsets {
                    Some(offsets) => i64::from(self.words[offsets][lane as usize].cast_signed()),
                    None => i64::from(lane),
                };
                targets.push((element(base, offset), lane));
            }
        }
        if form == MemoryOp::Scatter {
            self.sorted.clone_from(&targets);
            self.sorted.sort_unstable();
            if let Some(pair) = self.sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                let kind = TrapKind::ScatterConflict { other_lane: pair[0].1 };
                return Err(Fault::at(kind, pair[1].1, place, pair[1].0));
            }
        }
        for &(index, lane) in &targets {
            let word = self.words[values][lane as usize];
            self.store_element(place, mem, index, lane, word)?;
        }
        self.targets = targets;
        Ok(())
    }

    /// Lanes in the launch's order. Nobody needs to know who did it: no other operation touches the buffer (verifier).
    pub(super) fn atomic(
        &mut self,
        inst: &Inst,
        update: Update,
        buffer: Buffer,
        out: &mut [u32],
    ) -> Result<(), Fault> {
        let base = self.wides[Self::arg(inst, 0)];
        let [offsets, first] = [1, 2].map(|at| Self::arg(inst, at));
        let last = Self::arg(inst, 1 + update.operands());
        let mask = Self::arg(inst, 2 + update.operands());
        let place = Place::Buffer(buffer);
        for at in 0..self.order.len() {
            let lane = self.order[at];
            let slot = lane as usize;
            out[slot] = 0;
            if !self.active(Some(mask), lane) {
                continue;
            }
            let index = element(base, i64::from(self.words[offsets][slot].cast_signed()));
            let (a, b) = (self.words[first][slot], self.words[last][slot]);
            let area = self.area(place);
            let start = area.locate(index, 4).map_err(|kind| Fault::at(kind, lane, place, index))?;
            out[slot] = area.update(start, |old| updated(update, old, a, b));
        }
        Ok(())
    }

    /// Bits of bytes, lanes in the launch's order.
    pub(super) fn store_bits(&mut self, inst: &Inst, buffer: Buffer) -> Result<(), Fault> {
        let base = self.wides[Self::arg(inst, 0)];
        let [offsets, values, bits, mask] = [1, 2, 3, 4].map(|at| Self::arg(inst, at));
        let place = Place::Buffer(buffer);
        for at in 0..self.order.len() {
            let lane = self.order[at];
            let slot = lane as usize;
            if !self.active(Some(mask), lane) {
                continue;
            }
            let index = element(base, i64::from(self.words[offsets][slot].cast_signed()));
            let (value, bits) = (self.words[values][slot] as u8, self.words[bits][slot] as u8);
            self.at_element(place, index, lane, 1, |area, at, who| area.store_bits(at, value, bits, who))?;
        }
        Ok(())
    }

    pub(super) fn load_unpack(
        &mut self,
        place: Place,
        bits: u8,
        sign: Sign,
        base: i64,
        out: &mut [u32],
    ) -> Result<(), Fault> {
        let lane_bits = 4 * u64::from(bits);
        // The whole stream is read, so all of it must exist.
        let length = (out.len() as u64 * lane_bits).div_ceil(8);
        let last = element(base, length as i64 - 1);
        for index in [element(base, 0), last] {
            let located = self.area(place).locate(index, 1);
            located.map_err(|kind| Fault::at(kind, EVERY_LANE, place, index))?;
        }
        for at in 0..self.order.len() {
            let lane = self.order[at];
            let first_bit = u64::from(lane) * lane_bits;
            let (first, end) = (first_bit / 8, (first_bit + lane_bits).div_ceil(8));
            let who = self.who(place, lane);
            let index = element(base, first as i64);
            let area = self.area(place);
            // In range: it lies within the stream.
            let start = index as usize;
            let length = (end - first) as usize;
            area.note_read(start, length, who).map_err(|kind| Fault::at(kind, lane, place, index))?;
            let mut string = [0; 8];
            string[..length].copy_from_slice(&area.bytes()[start..start + length]);
            let offset = (first_bit % 8) as u32;
            out[lane as usize] = unpack(u64::from_le_bytes(string), bits, offset, sign);
        }
        Ok(())
    }
}

/// What becomes of an element.
fn updated(update: Update, old: u32, a: u32, b: u32) -> u32 {
    let signed = |pick: fn(i32, i32) -> i32| pick(old.cast_signed(), a.cast_signed()).cast_unsigned();
    match update {
        Update::FMin if f32::from_bits(old) < f32::from_bits(a) => old,
        Update::FMax if f32::from_bits(old) > f32::from_bits(a) => old,
        Update::FMin | Update::FMax => a,
        Update::FAdd => (f32::from_bits(old) + f32::from_bits(a)).to_bits(),
        Update::IAdd => old.wrapping_add(a),
        Update::IMinS => signed(i32::min),
        Update::IMaxS => signed(i32::max),
        Update::IMinU => old.min(a),
        Update::IMaxU => old.max(a),
        Update::IAnd => old & a,
        Update::IOr => old | a,
        Update::IXor => old ^ a,
        Update::Exchange => a,
        Update::CompareExchange => {
            if old == a {
                b
            } else {
                old
            }
        }
    }
}
