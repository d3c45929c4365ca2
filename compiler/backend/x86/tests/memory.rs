//! Every memory form, element type and mask, on buffers between guard pages, against the interpreter.
#![cfg(target_arch = "x86_64")]

mod support;

use support::{Case, LANES, Random, check};
use tvmc_ir::lane::{Access, Arena, Builder, Mem, MemoryOp, Op, Place, Pure, Scalar, Value};

/// How an access is masked.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Masking {
    None,
    /// By words of a buffer.
    Data,
    /// By a comparison that leaves the first lanes: past them the buffer ends.
    Prefix,
    /// By a constant.
    Constant(bool),
}

const MASKINGS: [Masking; 5] =
    [Masking::None, Masking::Data, Masking::Prefix, Masking::Constant(true), Masking::Constant(false)];

fn word(scalar: Scalar) -> Mem {
    if scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 }
}

/// Bytes of `count` elements, with the type's edges among them.
fn elements(mem: Mem, count: usize, random: &mut Random) -> Vec<u8> {
    let edges: &[u32] = match mem {
        Mem::U8 | Mem::I8 => &[0, 1, 0x7f, 0x80, 0xff],
        Mem::U16 | Mem::I16 => &[0, 1, 0x7fff, 0x8000, 0xffff],
        Mem::I32 => &[0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff],
        Mem::F16 => &[0, 0x8000, 0x7c00, 0xfc00, 0x7e01, 1, 0x83ff, 0x7bff, 0x3c00],
        Mem::Bf16 => &[0, 0x8000, 0x7f80, 0xff80, 0x7fc1, 1, 0x807f, 0x7f7f, 0x3f80],
        Mem::F32 => &support::FLOATS,
    };
    (0..count)
        .flat_map(|_| {
            let bits = if random.below(2) == 0 {
                edges[random.below(edges.len() as u64) as usize]
            } else {
                random.next() as u32
            };
            bits.to_le_bytes()[..mem.bytes() as usize].to_vec()
        })
        .collect()
}

struct Kernel {
    b: Builder,
    case: Case,
    floats: Vec<usize>,
    random: Random,
}

impl Kernel {
    fn new(name: &str, lanes: u32, seed: u64) -> Self {
        Self {
            b: Builder::new(name, lanes),
            case: Case { grid: [1, 1, 1], buffers: Vec::new(), scalars: Vec::new() },
            floats: Vec::new(),
            random: Random(seed),
        }
    }

    fn buffer(&mut self, access: Access, bytes: Vec<u8>, float: bool) -> Place {
        let number = self.case.buffers.len();
        let buffer = self.b.buffer(&format!("b{number}"), access);
        self.case.buffers.push(bytes);
        if float {
            self.floats.push(number);
        }
        Place::Buffer(buffer)
    }

    /// A varying operand.
    fn input(&mut self, scalar: Scalar, bytes: Vec<u8>) -> Value {
        let place = self.buffer(Access::Read, bytes, false);
        let base = self.b.i64(0);
        self.b.load(MemoryOp::LoadContig, word(scalar), place, base, None, None)
    }

    fn output(&mut self, value: Value) {
        let ty = self.b.ty(value);
        let (form, count) = if ty.is_varying() {
            (MemoryOp::StoreContig, self.b.lanes())
        } else {
            (MemoryOp::StoreUniform, 1)
        };
        let place = self.buffer(Access::Write, vec![0x11; 4 * count as usize], ty.scalar == Scalar::F32);
        let base = self.b.i64(0);
        self.b.store(form, word(ty.scalar), place, base, None, value, None);
    }

    /// A mask that is on for at most the first `prefix` lanes if it is a prefix.
    fn mask(&mut self, masking: Masking, varying: bool, prefix: u32) -> Option<Value> {
        let lanes = self.b.lanes();
        match masking {
            Masking::None => None,
            Masking::Constant(on) => {
                let on = self.b.bool(on);
                Some(if varying { self.b.splat(on) } else { on })
            }
            Masking::Data | Masking::Prefix if !varying => {
                let word = u32::from(masking == Masking::Prefix);
                let place = self.buffer(Access::Read, word.to_le_bytes().to_vec(), false);
                let base = self.b.i64(0);
                let word = self.b.load(MemoryOp::LoadUniform, Mem::I32, place, base, None, None);
                let zero = self.b.i32(0);
                Some(self.b.pure(Pure::INe, &[word, zero]))
            }
            Masking::Data => {
                let words = (0..lanes).flat_map(|_| (self.random.next() as u32 & 1).to_le_bytes()).collect();
                let words = self.input(Scalar::I32, words);
                let zero = self.b.i32(0);
                let zero = self.b.splat(zero);
                Some(self.b.pure(Pure::INe, &[words, zero]))
            }
            Masking::Prefix => {
                let index = self.b.lane_index();
                let bound = self.b.i32(prefix.cast_signed());
                let bound = self.b.splat(bound);
                Some(self.b.pure(Pure::ILtS, &[index, bound]))
            }
        }
    }

    fn check(self) {
        check(self.b.finish(), &self.case, &self.floats);
    }
}

fn sweep(mut one: impl FnMut(u32, Mem, Masking)) {
    for lanes in LANES {
        for mem in Mem::ALL {
            for masking in MASKINGS {
                one(lanes, mem, masking);
            }
        }
    }
}

/// Where a contiguous access of these lanes starts, and how many elements the buffer has: with a prefix
/// mask the buffer ends in the middle of the lanes.
fn extent(lanes: u32, masking: Masking, start: u32) -> (u32, u32) {
    let prefix = lanes.div_ceil(2);
    match masking {
        Masking::Prefix => (prefix, start + prefix),
        Masking::None | Masking::Data | Masking::Constant(_) => (prefix, start + lanes),
    }
}

#[test]
fn contiguous_loads() {
    sweep(|lanes, mem, masking| {
        for start in [0, 3] {
            let mut kernel = Kernel::new("load_contig", lanes, u64::from(lanes));
            let (prefix, count) = extent(lanes, masking, start);
            let bytes = elements(mem, count as usize, &mut kernel.random);
            let place = kernel.buffer(Access::Read, bytes, false);
            let mask = kernel.mask(masking, true, prefix);
            let base = kernel.b.i64(i64::from(start));
            let loaded = kernel.b.load(MemoryOp::LoadContig, mem, place, base, None, mask);
            kernel.output(loaded);
            kernel.check();
        }
    });
}

#[test]
fn contiguous_stores() {
    sweep(|lanes, mem, masking| {
        let mut kernel = Kernel::new("store_contig", lanes, u64::from(lanes) + 50);
        let (prefix, count) = extent(lanes, masking, 1);
        let words = elements(word(mem.loaded()), lanes as usize, &mut kernel.random);
        let value = kernel.input(mem.loaded(), words);
        let bytes = elements(mem, count as usize, &mut kernel.random);
        let place = kernel.buffer(Access::Write, bytes, mem == Mem::F32);
        let mask = kernel.mask(masking, true, prefix);
        let base = kernel.b.i64(1);
        kernel.b.store(MemoryOp::StoreContig, mem, place, base, None, value, mask);
        kernel.check();
    });
}

#[test]
fn uniform_loads_and_stores() {
    sweep(|lanes, mem, masking| {
        let mut kernel = Kernel::new("uniform", lanes, u64::from(lanes) + 90);
        let bytes = elements(mem, 5, &mut kernel.random);
        let source = kernel.buffer(Access::Read, bytes, false);
        let bytes = elements(mem, 5, &mut kernel.random);
        let target = kernel.buffer(Access::Write, bytes, mem == Mem::F32);
        for at in [0, 4] {
            let mask = kernel.mask(masking, false, 0);
            let base = kernel.b.i64(at);
            let loaded = kernel.b.load(MemoryOp::LoadUniform, mem, source, base, None, mask);
            kernel.output(loaded);
            kernel.b.store(MemoryOp::StoreUniform, mem, target, base, None, loaded, mask);
        }
        kernel.check();
    });
}

#[test]
fn gathers() {
    sweep(|lanes, mem, masking| {
        for base in [0, 5, 6, 7] {
            let mut kernel = Kernel::new("gather", lanes, u64::from(lanes) + 10);
            let count = 23_i64;
            let bytes = elements(mem, count as usize, &mut kernel.random);
            let place = kernel.buffer(Access::Read, bytes, false);
            // Both ends of the buffer are named. Lanes past a prefix name what is far outside.
            let (prefix, _) = extent(lanes, masking, 0);
            let offsets = (0..i64::from(lanes))
                .map(|lane| match lane {
                    _ if masking == Masking::Prefix && lane >= i64::from(prefix) => i32::MAX - lane as i32,
                    _ if masking == Masking::Constant(false) => i32::MIN,
                    0 => -base as i32,
                    1 => (count - 1 - base) as i32,
                    _ => (kernel.random.below(count as u64) as i64 - base) as i32,
                })
                .flat_map(i32::to_le_bytes)
                .collect();
            let offset = kernel.input(Scalar::I32, offsets);
            let mask = kernel.mask(masking, true, prefix);
            let base = kernel.b.i64(base);
            let gathered = kernel.b.load(MemoryOp::Gather, mem, place, base, Some(offset), mask);
            kernel.output(gathered);
            kernel.check();
        }
    });
}

#[test]
fn scatters() {
    sweep(|lanes, mem, masking| {
        let mut kernel = Kernel::new("scatter", lanes, u64::from(lanes) + 30);
        let base = 3_i64;
        let (prefix, _) = extent(lanes, masking, 0);
        // Distinct elements, backwards with gaps.
        let offsets = (0..i64::from(lanes))
            .map(|lane| match masking {
                Masking::Prefix if lane >= i64::from(prefix) => i32::MAX - lane as i32,
                _ => (2 * (i64::from(lanes) - 1 - lane) - base) as i32,
            })
            .flat_map(i32::to_le_bytes)
            .collect();
        let offset = kernel.input(Scalar::I32, offsets);
        let words = elements(word(mem.loaded()), lanes as usize, &mut kernel.random);
        let value = kernel.input(mem.loaded(), words);
        let bytes = elements(mem, 2 * lanes as usize - 1, &mut kernel.random);
        let place = kernel.buffer(Access::Write, bytes, mem == Mem::F32);
        let mask = kernel.mask(masking, true, prefix);
        let base = kernel.b.i64(base);
        kernel.b.store(MemoryOp::Scatter, mem, place, base, Some(offset), value, mask);
        kernel.check();
    });
}

#[test]
fn arenas_lie_one_after_the_other() {
    for lanes in LANES {
        let mut kernel = Kernel::new("arenas", lanes, 1);
        let arenas: Vec<Arena> = (0..3).map(|_| kernel.b.arena(4 * lanes + 4)).collect();
        let words: Vec<u8> = elements(Mem::F32, lanes as usize, &mut kernel.random);
        let value = kernel.input(Scalar::F32, words);
        let one = kernel.b.i64(1);
        for &arena in &arenas {
            kernel.b.store(MemoryOp::StoreContig, Mem::F32, Place::Arena(arena), one, None, value, None);
        }
        kernel.b.barrier();
        let index = kernel.b.lane_index();
        for &arena in &arenas {
            let back = kernel.b.load(MemoryOp::Gather, Mem::F32, Place::Arena(arena), one, Some(index), None);
            kernel.output(back);
            let uniform =
                kernel.b.load(MemoryOp::LoadUniform, Mem::F32, Place::Arena(arena), one, None, None);
            kernel.output(uniform);
        }
        kernel.check();
    }
}

#[test]
fn folded_loads_keep_their_place_before_stores() {
    for lanes in [16, 8, 32, 17] {
        let mut kernel = Kernel::new("order", lanes, 1);
        let words = elements(Mem::I32, 2 * lanes as usize, &mut kernel.random);
        let place = kernel.buffer(Access::ReadWrite, words, false);
        let base = kernel.b.i64(0);
        let next = kernel.b.i64(i64::from(lanes));
        let loaded = kernel.b.load(MemoryOp::LoadContig, Mem::I32, place, base, None, None);
        let other = kernel.b.load(MemoryOp::LoadContig, Mem::I32, place, next, None, None);
        kernel.b.store(MemoryOp::StoreContig, Mem::I32, place, base, None, other, None);
        let sum = kernel.b.pure(Pure::IAdd, &[other, loaded]);
        kernel.b.store(MemoryOp::StoreContig, Mem::I32, place, next, None, sum, None);
        kernel.check();
    }
}

#[test]
fn far_and_scaled_indices() {
    // Index arithmetic with large constants, several terms and runtime factors, which cancels out.
    let lanes = 16;
    let mut kernel = Kernel::new("indices", lanes, 9);
    let n = kernel.b.scalar("n", Scalar::I64);
    let m = kernel.b.scalar("m", Scalar::I32);
    kernel.case.scalars = vec![(1_u64 << 40) + 3, 7];
    let words = elements(Mem::I32, 64, &mut kernel.random);
    let place = kernel.buffer(Access::Read, words, false);
    let b = &mut kernel.b;
    let m = b.pure(Pure::I32ToI64, &[m]);
    let big = b.i64(i64::MAX - 5);
    let (three, minus) = (b.i64(3), b.i64(-1));
    let product = b.pure(Pure::LMul, &[n, m]);
    let far = b.pure(Pure::LAdd, &[product, big]);
    let far = b.pure(Pure::LMul, &[far, three]);
    let negative = b.pure(Pure::LMul, &[far, minus]);
    let near = b.pure(Pure::LAdd, &[far, m]);
    let near = b.pure(Pure::LAdd, &[near, negative]);
    let nearer = b.pure(Pure::LMul, &[m, three]);
    let odd = b.i64(0x1_0000_0001);
    let wide = b.pure(Pure::LMul, &[m, odd]);
    let shift = b.i64(7 << 32);
    let wide = b.pure(Pure::LSub, &[wide, shift]);
    for base in [near, nearer, wide] {
        let loaded = kernel.b.load(MemoryOp::LoadContig, Mem::I32, place, base, None, None);
        kernel.output(loaded);
        let op = Op::Memory { form: MemoryOp::LoadUniform, mem: Mem::U8, place, masked: false };
        let byte = kernel.b.inst(op, &[base]).unwrap();
        kernel.output(byte);
    }
    kernel.check();
}
