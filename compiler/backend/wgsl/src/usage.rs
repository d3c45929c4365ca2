//! One walk over a function that finds what the shader must declare: which buffers and arenas are loaded, stored,
//! or stored in pieces of a word, and which parts of the machinery (scratch, report, block index) are needed.

use std::collections::{HashMap, HashSet};
use tvmc_ir::lane::{
    FragmentOp, Function, Inst, Mem, MemoryOp, Op, Place, Pure, Region, Sign, Stmt, Touch, Value,
};

use crate::limits::{Error, Limits, MAX_NESTING};

/// How one buffer or arena is used.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct PlaceUsage {
    /// Some operation loads from it.
    pub loaded: bool,
    /// Some operation stores to it.
    pub stored: bool,
    /// Some `store.uniform` writes it.
    pub stored_uniform: bool,
    /// Some store writes elements below 32 bits, or elements are updated atomically: its words must be atomic.
    pub atomic: bool,
    /// Fragments are loaded from it: it holds halves.
    pub packed: bool,
    /// Sums of fragments are stored to it: it holds floats.
    pub floats: bool,
    /// It is addressed in words, half-words, bytes.
    pub words: bool,
    /// See `words`.
    pub halves: bool,
    /// See `words`.
    pub bytes: bool,
}

impl PlaceUsage {
    /// Bytes of the widest element by which it is addressed.
    pub fn alignment(&self) -> u32 {
        if self.words {
            4
        } else if self.halves {
            2
        } else {
            1
        }
    }
}

/// What is known of an integer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Number {
    Constant(i32),
    Lane,
    /// `lane xor distance`.
    Partner(u32),
    /// Between these, both included.
    Between(i32, i32),
}

impl Number {
    /// Bounds that fit 32 bits.
    fn of(low: i64, high: i64) -> Option<Number> {
        Some(Number::Between(i32::try_from(low).ok()?, i32::try_from(high).ok()?))
    }

    fn bounds(self) -> Option<(i64, i64)> {
        match self {
            Number::Constant(value) => Some((i64::from(value), i64::from(value))),
            Number::Between(low, high) => Some((i64::from(low), i64::from(high))),
            Number::Lane | Number::Partner(_) => None,
        }
    }
}

/// The top bit of each byte.
const TOP_BITS: u32 = 0x8080_8080;

/// Integers that stay exact when they are added to [`crate::pure::MIDDLE`].
const SMALL: i64 = 1 << 22;

/// What a function uses.
#[derive(Default, Debug)]
pub(crate) struct Usage {
    /// By buffer.
    pub buffers: Vec<PlaceUsage>,
    /// By arena.
    pub arenas: Vec<PlaceUsage>,
    /// Words of workgroup scratch.
    pub scratch: u32,
    /// The block's index on some axis.
    pub block_index: bool,
    /// Some assert.
    pub asserts: bool,
    /// Some print.
    pub prints: bool,
    /// Integers of which something is known.
    numbers: HashMap<Value, Number>,
    /// Words each of whose bytes is below 128.
    short: HashSet<Value>,
    /// What is a term of a sum or difference of floats.
    terms: HashSet<Value>,
    /// What each splat is of.
    splats: HashMap<Value, Value>,
    /// Lanes whose numbers differ by `xor` with less than this are in one subgroup.
    reach: u32,
}

impl Usage {
    /// Walks the function.
    pub fn of(function: &Function, limits: &Limits) -> Result<Self, Error> {
        if function.group > 0 {
            let subgroup = limits.subgroup.filter(|_| limits.cooperative_matrix);
            if subgroup != Some(function.group) {
                return Err(Error::Fragments { group: function.group, subgroup });
            }
        }
        let mut usage = Usage {
            buffers: vec![PlaceUsage::default(); function.buffers.len()],
            arenas: vec![PlaceUsage::default(); function.arenas.len()],
            ..Usage::default()
        };
        // words that a value of every lane, or of one, needs to cross lanes
        let lanes = function.lanes;
        let whole = |size: &u32| lanes.is_multiple_of((*size).min(lanes.next_power_of_two()));
        usage.reach = limits.subgroup.filter(whole).map_or(0, |size| size.min(lanes));
        let crossing = if limits.one_subgroup(lanes) { [0, 0] } else { [lanes, 1] };
        usage.region(function, &function.body, crossing, 0)?;
        Ok(usage)
    }

    /// How a place is used.
    pub fn place(&self, place: Place) -> PlaceUsage {
        match place {
            Place::Buffer(b) => self.buffers[b.index()],
            Place::Arena(a) => self.arenas[a.index()],
        }
    }

    /// The distance of a shuffle whose source is `lane xor distance`, where no value leaves its subgroup.
    pub fn partner(&self, source: Value) -> Option<u32> {
        match self.numbers.get(&source) {
            Some(Number::Partner(distance)) if *distance < self.reach => Some(*distance),
            Some(Number::Constant(_) | Number::Lane | Number::Partner(_) | Number::Between(..)) | None => {
                None
            }
        }
    }

    /// Whether an integer, as signed or as unsigned, is known to be less than 2^22 away from 0.
    pub fn is_small(&self, value: Value, sign: Sign) -> bool {
        let least = match sign {
            Sign::Signed => -SMALL,
            Sign::Unsigned => 0,
        };
        let bounds = self.numbers.get(&value).and_then(|n| n.bounds());
        bounds.is_some_and(|(low, high)| low >= least && high < SMALL)
    }

    /// The constant that an integer is, if it is known.
    pub fn constant(&self, value: Value) -> Option<i32> {
        match self.numbers.get(&value) {
            Some(Number::Constant(constant)) => Some(*constant),
            Some(Number::Lane | Number::Partner(_) | Number::Between(..)) | None => None,
        }
    }

    /// Whether a float is a term of a sum. A driver may add constants first, and loses what the other term is if one of them is much larger.
    pub fn is_term(&self, value: Value) -> bool {
        self.terms.contains(&value)
    }

    /// Whether each byte of a word is known to be below 128, so that it is the same with a sign and without.
    pub fn has_short_bytes(&self, value: Value) -> bool {
        self.short.contains(&value)
    }

    fn short_bytes(&self, inst: &Inst, function: &Function) -> bool {
        let short = |at: usize| self.short.contains(&inst.args[at]);
        match inst.op {
            Op::ConstI32(value) => value as u32 & TOP_BITS == 0,
            Op::Splat => short(0),
            Op::Pure(Pure::IAnd) => short(0) || short(1),
            Op::Pure(Pure::IOr | Pure::IXor) => short(0) && short(1),
            Op::Unpack { bits, sign: Sign::Unsigned, .. } => bits < 8,
            Op::TableBytes(table) => function.tables[table.index()].entries.iter().all(|entry| *entry < 128),
            _ => false,
        }
    }

    /// Whether some buffer is both loaded and stored, so that a barrier must order storage as well.
    pub fn storage_barrier(&self) -> bool {
        self.buffers.iter().any(|b| b.loaded && b.stored)
    }

    fn region(
        &mut self,
        function: &Function,
        region: &Region,
        crossing: [u32; 2],
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_NESTING {
            return Err(Error::Nesting);
        }
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    if let Some(result) = inst.result.filter(|_| self.short_bytes(inst, function)) {
                        self.short.insert(result);
                    }
                    self.inst(inst, crossing);
                }
                Stmt::For { body, .. } | Stmt::Loop { body, .. } => {
                    self.region(function, body, crossing, depth + 1)?;
                }
                Stmt::If { then, otherwise, .. } => {
                    self.region(function, then, crossing, depth + 1)?;
                    self.region(function, otherwise, crossing, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn inst(&mut self, inst: &Inst, crossing: [u32; 2]) {
        if let (Some(result), Some(number)) = (inst.result, self.number(inst)) {
            self.numbers.insert(result, number);
        }
        match (inst.op, inst.result) {
            (Op::Pure(Pure::FAdd | Pure::FSub), _) => {
                let under = inst.args.iter().filter_map(|arg| self.splats.get(arg));
                let terms: Vec<Value> = inst.args.iter().chain(under).copied().collect();
                self.terms.extend(terms);
            }
            (Op::Splat, Some(result)) => {
                self.splats.insert(result, inst.args[0]);
            }
            (_, _) => {}
        }
        match inst.op {
            Op::Shuffle if self.partner(inst.args[1]).is_some() => {}
            Op::Memory { form, mem, place, .. } => self.access(form, mem, place),
            Op::LoadUnpack { place, .. } => self.access(MemoryOp::LoadContig, Mem::U8, place),
            Op::StoreBits(buffer) => self.access(MemoryOp::Scatter, Mem::U8, Place::Buffer(buffer)),
            Op::Atomic { buffer, .. } => {
                let usage = &mut self.buffers[buffer.index()];
                (usage.stored, usage.atomic, usage.words) = (true, true, true);
            }
            Op::Fragment(op) => self.fragment(op),
            Op::Reduce(_) | Op::Shuffle => self.scratch = self.scratch.max(crossing[0]),
            Op::Extract => self.scratch = self.scratch.max(crossing[1]),
            Op::Assert(_) => self.asserts = true,
            Op::Print(_) => {
                self.prints = true;
                self.scratch = self.scratch.max(1);
            }
            Op::BlockIndex(_) => self.block_index = true,
            Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Unpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_)
            | Op::Barrier
            | Op::BufferBarrier => {}
        }
    }

    fn fragment(&mut self, op: FragmentOp) {
        let Some(Touch { place, .. }) = op.accesses() else { return };
        let usage = match place {
            Place::Buffer(b) => &mut self.buffers[b.index()],
            Place::Arena(a) => &mut self.arenas[a.index()],
        };
        match op {
            FragmentOp::Store { .. } => (usage.stored, usage.floats, usage.words) = (true, true, true),
            FragmentOp::Stage { .. } | FragmentOp::StageCodes { .. } => {
                (usage.stored, usage.packed) = (true, true);
            }
            FragmentOp::Load { .. } => (usage.loaded, usage.packed) = (true, true),
            FragmentOp::Zero(_) | FragmentOp::MultiplyAdd { .. } => {}
        }
    }

    fn number(&self, inst: &Inst) -> Option<Number> {
        let of = |at: usize| self.numbers.get(&inst.args[at]).copied();
        match inst.op {
            Op::ConstI32(value) => Some(Number::Constant(value)),
            Op::LaneIndex => Some(Number::Lane),
            Op::Splat => of(0),
            Op::Pure(Pure::IXor) => match (of(0), of(1)) {
                (Some(Number::Lane), Some(Number::Constant(distance)))
                | (Some(Number::Constant(distance)), Some(Number::Lane)) => {
                    u32::try_from(distance).ok().map(Number::Partner)
                }
                (Some(_) | None, Some(_) | None) => None,
            },
            Op::Pure(Pure::IAnd) => [of(0), of(1)].into_iter().flatten().find_map(|n| match n {
                Number::Constant(mask) if mask >= 0 => Some(Number::Between(0, mask)),
                Number::Between(low, high) if low >= 0 => Some(Number::Between(0, high)),
                Number::Constant(_) | Number::Between(..) | Number::Lane | Number::Partner(_) => None,
            }),
            Op::Pure(Pure::ShrU) => match of(1)? {
                Number::Constant(by) if by & 31 > 0 => {
                    Some(Number::Between(0, (u32::MAX >> (by & 31)) as i32))
                }
                Number::Constant(_) | Number::Between(..) | Number::Lane | Number::Partner(_) => None,
            },
            Op::Pure(Pure::IOr) => {
                let ((low, high), (low_b, high_b)) = (of(0)?.bounds()?, of(1)?.bounds()?);
                // Bounds are those of 32-bit numbers, so there is a power of two above the greatest, if that has no sign.
                let all_ones = |high: i64| (high as u64 + 1).next_power_of_two() as i64 - 1;
                if low >= 0 && low_b >= 0 { Number::of(0, all_ones(high | high_b)) } else { None }
            }
            Op::Pure(op @ (Pure::IAdd | Pure::ISub)) => {
                let ((low, high), (low_b, high_b)) = (of(0)?.bounds()?, of(1)?.bounds()?);
                if op == Pure::IAdd {
                    Number::of(low + low_b, high + high_b)
                } else {
                    Number::of(low - high_b, high - low_b)
                }
            }
            Op::Memory { mem, .. } => match mem {
                Mem::U8 => Some(Number::Between(0, 0xff)),
                Mem::I8 => Some(Number::Between(-0x80, 0x7f)),
                Mem::U16 => Some(Number::Between(0, 0xffff)),
                Mem::I16 => Some(Number::Between(-0x8000, 0x7fff)),
                Mem::I32 | Mem::F32 | Mem::F16 | Mem::Bf16 => None,
            },
            Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::LoadUnpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_)
            | Op::Atomic { .. }
            | Op::Fragment(_)
            | Op::StoreBits(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => None,
        }
    }

    fn access(&mut self, form: MemoryOp, mem: Mem, place: Place) {
        let usage = match place {
            Place::Buffer(b) => &mut self.buffers[b.index()],
            Place::Arena(a) => &mut self.arenas[a.index()],
        };
        if form.is_store() {
            usage.stored = true;
            usage.atomic |= mem.bytes() < 4;
            usage.stored_uniform |= form == MemoryOp::StoreUniform;
        } else {
            usage.loaded = true;
        }
        match mem {
            Mem::U8 | Mem::I8 => usage.bytes = true,
            Mem::U16 | Mem::I16 | Mem::F16 | Mem::Bf16 => usage.halves = true,
            Mem::I32 | Mem::F32 => usage.words = true,
        }
    }
}
