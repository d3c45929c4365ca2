//! Memory as the interpreter sees it: bytes, and beside them a shadow that remembers who touched what.
//!
//! # Races
//!
//! Lanes are ordered only by `barrier`, and that only among a block's arena accesses. So, for an element
//! of an **arena**, between two barriers of a block:
//!
//! * a lane may not read what a different lane wrote;
//! * a lane may not overwrite what a different lane wrote or read.
//!
//! For an element of a **buffer** the same holds, but only `barrier.buffers` orders, and nothing orders two blocks. A `uniform` store is made
//! by lane 0, a `uniform` load by every lane.
//!
//! Arena elements are undefined when a block starts; reading one before it is written is a trap as well.
//!
//! Bits of a buffer that a function stores by `store.bits` are judged one by one, and only as to who writes them: whoever reads a byte reads bits beside
//! its own that others may be writing, and takes no notice of them.
//!
//! # Stamps
//!
//! A shadow keeps for each granule (the narrowest element that the function accesses in that place, or a bit) the
//! last writer and the readers as a stamp `epoch * 2048 + lane`. The epoch grows at every barrier of the place's kind and at every block. Stamp 0 is "never". A
//! reader's lane 1024 stands for several lanes of that epoch, and [`MIXED`] for readers in several blocks.

use half::{bf16, f16};
use tvmc_ir::lane::{Function, Mem, Op, Place, Region, Stmt, Touch};

use super::{Hazard, TrapKind};

/// The lane number of an access made by every lane.
pub(super) const EVERY_LANE: u32 = 1024;
const LANE_BITS: u32 = 11;
/// Read stamp of a buffer element that different blocks read.
const MIXED: u64 = u64::MAX;

/// A range of bytes of an argument, or a block's scratch.
enum Bytes<'a> {
    Shared(&'a [u8]),
    Exclusive(&'a mut [u8]),
    Own(Vec<u8>),
}

/// Who touched each granule; see the head comment.
struct Shadow {
    /// What a granule is.
    granule: Granule,
    writers: Vec<u64>,
    readers: Vec<u64>,
}

/// One buffer or arena.
pub(super) struct Area<'a> {
    bytes: Bytes<'a>,
    /// `None` for memory that nobody writes.
    shadow: Option<Shadow>,
    is_arena: bool,
}

/// What has a writer and readers of its own.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Granule {
    /// So many bytes.
    Bytes(u32),
    /// A bit, whose readers nobody minds.
    Bit,
}

impl Granule {
    /// As a shift of a number of bits.
    fn shift(self) -> u32 {
        match self {
            Granule::Bytes(bytes) => 3 + bytes.trailing_zeros(),
            Granule::Bit => 0,
        }
    }
}

/// Who accesses memory, and when.
#[derive(Copy, Clone)]
pub(super) struct Who {
    /// A lane, or [`EVERY_LANE`].
    pub(super) lane: u32,
    /// The current epoch of the place.
    pub(super) epoch: u64,
    /// The epoch in which the block started.
    pub(super) block_epoch: u64,
}

impl Who {
    fn stamp(self) -> u64 {
        self.epoch << LANE_BITS | u64::from(self.lane)
    }
}

fn lane_of(stamp: u64) -> Option<u32> {
    let lane = (stamp & ((1 << LANE_BITS) - 1)) as u32;
    (lane < EVERY_LANE).then_some(lane)
}

impl Shadow {
    fn new(bytes: usize, granule: Granule) -> Self {
        let granules = (bytes * 8).div_ceil(1 << granule.shift());
        Self { granule, writers: vec![0; granules], readers: vec![0; granules] }
    }

    /// Those of so many bits.
    fn granules(&self, start: usize, length: usize) -> std::ops::Range<usize> {
        let shift = self.granule.shift();
        start >> shift..((start + length - 1) >> shift) + 1
    }

    /// Whether `stamp` is by someone other than `who`, with no order between the two.
    fn unordered(stamp: u64, who: Who, is_arena: bool) -> bool {
        let (epoch, mine) = (stamp >> LANE_BITS, who.stamp());
        let other_block = epoch < who.block_epoch || stamp == MIXED;
        stamp != 0 && stamp != mine && (epoch == who.epoch || other_block && !is_arena)
    }

    fn race(hazard: Hazard, stamp: u64, mine: u64) -> TrapKind {
        let same_block = stamp >> LANE_BITS == mine >> LANE_BITS;
        TrapKind::Race { hazard, other_lane: same_block.then(|| lane_of(stamp)).flatten() }
    }

    fn read(&mut self, start: usize, length: usize, who: Who, is_arena: bool) -> Result<(), TrapKind> {
        if self.granule == Granule::Bit {
            return Ok(());
        }
        let mine = who.stamp();
        for granule in self.granules(start * 8, length * 8) {
            let writer = self.writers[granule];
            if is_arena && writer >> LANE_BITS < who.block_epoch {
                return Err(TrapKind::Uninitialised);
            }
            if Self::unordered(writer, who, is_arena) {
                return Err(Self::race(Hazard::ReadAfterWrite, writer, mine));
            }
            let reader = &mut self.readers[granule];
            let epoch = *reader >> LANE_BITS;
            let earlier = is_arena || (who.block_epoch..who.epoch).contains(&epoch);
            *reader = if *reader == 0 || *reader == mine || (earlier && epoch != who.epoch) {
                mine
            } else if epoch == who.epoch {
                who.epoch << LANE_BITS | u64::from(EVERY_LANE)
            } else {
                MIXED
            };
        }
        Ok(())
    }

    /// Bits are written.
    fn write(&mut self, start: usize, length: usize, who: Who, is_arena: bool) -> Result<(), TrapKind> {
        let mine = who.stamp();
        for granule in self.granules(start, length) {
            let writer = self.writers[granule];
            if Self::unordered(writer, who, is_arena) {
                return Err(Self::race(Hazard::WriteAfterWrite, writer, mine));
            }
            let reader = self.readers[granule];
            if Self::unordered(reader, who, is_arena) {
                return Err(Self::race(Hazard::WriteAfterRead, reader, mine));
            }
            self.writers[granule] = mine;
        }
        Ok(())
    }
}

impl<'a> Area<'a> {
    /// A buffer that nobody writes.
    pub(super) fn read_only(bytes: &'a [u8]) -> Self {
        Self { bytes: Bytes::Shared(bytes), shadow: None, is_arena: false }
    }

    /// A buffer that is written.
    pub(super) fn writable(bytes: &'a mut [u8], granule: Granule) -> Self {
        let shadow = Some(Shadow::new(bytes.len(), granule));
        Self { bytes: Bytes::Exclusive(bytes), shadow, is_arena: false }
    }

    /// Scratch memory.
    pub(super) fn arena(bytes: u32, granule: Granule) -> Self {
        let shadow = Some(Shadow::new(bytes as usize, granule));
        Self { bytes: Bytes::Own(vec![0; bytes as usize]), shadow, is_arena: true }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Shared(bytes) => bytes,
            Bytes::Exclusive(bytes) => bytes,
            Bytes::Own(bytes) => bytes,
        }
    }

    /// Where element `index` of `size` bytes starts.
    pub(super) fn locate(&self, index: i128, size: u32) -> Result<usize, TrapKind> {
        let elements = self.bytes().len() as u64 / u64::from(size);
        if index < 0 || index >= i128::from(elements) {
            return Err(TrapKind::OutOfBounds { elements });
        }
        // Below `elements`, so it fits.
        Ok(index as usize * size as usize)
    }

    /// The elements from `index` on as one slice, if nobody needs to know who reads them.
    pub(super) fn quiet_run(&self, index: i64, size: u32, count: usize) -> Option<&[u8]> {
        if self.shadow.is_some() {
            return None;
        }
        let start = usize::try_from(index).ok()?.checked_mul(size as usize)?;
        self.bytes().get(start..start.checked_add(count.checked_mul(size as usize)?)?)
    }

    /// Notes a read of `length` bytes (at least one, in range) and judges it.
    pub(super) fn note_read(&mut self, start: usize, length: usize, who: Who) -> Result<(), TrapKind> {
        match &mut self.shadow {
            Some(shadow) => shadow.read(start, length, who, self.is_arena),
            None => Ok(()),
        }
    }

    /// Loads an element whose start `locate` gave.
    pub(super) fn load(&mut self, start: usize, mem: Mem, who: Who) -> Result<u32, TrapKind> {
        self.note_read(start, mem.bytes() as usize, who)?;
        Ok(widen(&self.bytes()[start..], mem))
    }

    /// Replaces a word whose start `locate` gave, and gives the old one. A launch gives buffers that are updated as exclusive.
    pub(super) fn update(&mut self, start: usize, update: impl FnOnce(u32) -> u32) -> u32 {
        let old = widen(&self.bytes()[start..], Mem::I32);
        match &mut self.bytes {
            Bytes::Shared(_) => {}
            Bytes::Exclusive(bytes) => bytes[start..start + 4].copy_from_slice(&update(old).to_le_bytes()),
            Bytes::Own(bytes) => bytes[start..start + 4].copy_from_slice(&update(old).to_le_bytes()),
        }
        old
    }

    /// Stores an element whose start `locate` gave.
    pub(super) fn store(&mut self, start: usize, mem: Mem, word: u32, who: Who) -> Result<(), TrapKind> {
        let length = mem.bytes() as usize;
        if let Some(shadow) = &mut self.shadow {
            shadow.write(start * 8, length * 8, who, self.is_arena)?;
        }
        let narrow = narrow(word, mem).to_le_bytes();
        self.written()?[start..start + length].copy_from_slice(&narrow[..length]);
        Ok(())
    }

    /// The bytes, to be written.
    fn written(&mut self) -> Result<&mut [u8], TrapKind> {
        match &mut self.bytes {
            // The verifier lets no store to a `read` buffer pass, and a launch gives others as exclusive.
            Bytes::Shared(_) => Err(TrapKind::OutOfBounds { elements: 0 }),
            Bytes::Exclusive(bytes) => Ok(bytes),
            Bytes::Own(bytes) => Ok(bytes),
        }
    }

    /// Replaces bits of a byte whose place `locate` gave.
    pub(super) fn store_bits(&mut self, at: usize, value: u8, bits: u8, who: Who) -> Result<(), TrapKind> {
        for bit in (0..8).filter(|bit| bits >> bit & 1 == 1) {
            if let Some(shadow) = &mut self.shadow {
                shadow.write(at * 8 + bit, 1, who, self.is_arena)?;
            }
        }
        let byte = &mut self.written()?[at];
        *byte = *byte & !bits | value & bits;
        Ok(())
    }
}

/// The element at the start of `bytes` as a register word: integers extended, halves widened exactly.
pub(super) fn widen(bytes: &[u8], mem: Mem) -> u32 {
    let half = || u16::from_le_bytes([bytes[0], bytes[1]]);
    match mem {
        Mem::U8 => u32::from(bytes[0]),
        Mem::I8 => i32::from(bytes[0].cast_signed()).cast_unsigned(),
        Mem::U16 => u32::from(half()),
        Mem::I16 => i32::from(half().cast_signed()).cast_unsigned(),
        Mem::F16 => f16::from_bits(half()).to_f32().to_bits(),
        Mem::Bf16 => u32::from(half()) << 16,
        Mem::I32 | Mem::F32 => u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
    }
}

/// A register word as an element in the low bits: integers wrap, halves round to nearest even.
fn narrow(word: u32, mem: Mem) -> u32 {
    match mem {
        Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F32 => word,
        Mem::F16 => u32::from(f16::from_f32(f32::from_bits(word)).to_bits()),
        Mem::Bf16 => u32::from(bf16::from_f32(f32::from_bits(word)).to_bits()),
    }
}

/// The narrowest element that a function accesses in each buffer and arena, or bits; 4 bytes where it accesses none.
pub(super) fn granules(function: &Function) -> (Vec<Granule>, Vec<Granule>) {
    let words = |count: usize| vec![Granule::Bytes(4); count];
    let mut found = (words(function.buffers.len()), words(function.arenas.len()));
    granules_of(&function.body, &mut found);
    found
}

fn granules_of(region: &Region, found: &mut (Vec<Granule>, Vec<Granule>)) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Inst(inst) => {
                if let Some(Touch { place, bytes, .. }) = inst.op.accesses() {
                    let slot = match place {
                        Place::Buffer(buffer) => found.0.get_mut(buffer.index()),
                        Place::Arena(arena) => found.1.get_mut(arena.index()),
                    };
                    if let Some(slot) = slot {
                        *slot = match (*slot, inst.op) {
                            (Granule::Bit, _) | (_, Op::StoreBits(_)) => Granule::Bit,
                            (Granule::Bytes(before), _) => Granule::Bytes(bytes.min(before)),
                        };
                    }
                }
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => granules_of(body, found),
            Stmt::If { then, otherwise, .. } => {
                granules_of(then, found);
                granules_of(otherwise, found);
            }
        }
    }
}
