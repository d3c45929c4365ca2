//! Every memory form, element type and mask, at both ends of memory between guard pages.

mod support;

use support::{Case, Random, bytes};
use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Op, Place, Pure, Scalar, Sign, Value};

#[derive(Copy, Clone, PartialEq, Debug)]
enum Mask {
    None,
    All,
    Random,
    /// The first few lanes; the rest would lie outside the buffer.
    Prefix,
    /// The last few lanes; the rest would lie before the buffer.
    Suffix,
    Nobody,
}

const MASKS: [Mask; 6] = [Mask::None, Mask::All, Mask::Random, Mask::Prefix, Mask::Suffix, Mask::Nobody];

fn register(mem: Mem) -> Mem {
    if mem.loaded() == Scalar::F32 { Mem::F32 } else { Mem::I32 }
}

/// Bytes of elements, without NaN (payloads are not defined) but with subnormals and infinities.
fn elements(mem: Mem, count: usize, random: &mut Random) -> Vec<u8> {
    (0..count)
        .flat_map(|_| {
            let bits = random.next() as u32;
            let bits = match mem {
                Mem::F16 if bits & 0x7c00 == 0x7c00 => bits & !0x3ff,
                Mem::Bf16 if bits & 0x7f80 == 0x7f80 => bits & !0x7f,
                Mem::F32 if bits & 0x7f80_0000 == 0x7f80_0000 => bits & !0x7f_ffff,
                _ => bits,
            };
            bits.to_le_bytes()[..mem.bytes() as usize].to_vec()
        })
        .collect()
}

/// Elements of the buffer under test: whole cache lines, so that its ends are at guard pages.
fn length(lanes: u32, mem: Mem) -> usize {
    ((2 * lanes + 8) * mem.bytes()).next_multiple_of(64) as usize / mem.bytes() as usize
}

fn varying(form: MemoryOp, mem: Mem, lanes: u32, mask: Mask, seed: u64) -> Case {
    let mut random = Random(seed);
    let count = length(lanes, mem);
    let live = (lanes / 2).max(1);
    let active: Vec<bool> = (0..lanes)
        .map(|lane| match mask {
            Mask::None | Mask::All => true,
            Mask::Random => random.below(2) == 0,
            Mask::Prefix => lane < live,
            Mask::Suffix => lane >= lanes - live,
            Mask::Nobody => false,
        })
        .collect();
    // So that the last active lane meets the end, or the first one the start.
    let first = match mask {
        Mask::Prefix => count as i64 - i64::from(live),
        Mask::Suffix => -i64::from(lanes - live),
        Mask::None | Mask::All => count as i64 - i64::from(lanes),
        Mask::Random => 0,
        Mask::Nobody => 1 << 40,
    };
    // Gather and scatter: a permutation of what the contiguous form would touch, around a base in the middle.
    let middle = first + i64::from(lanes / 2);
    let mut offsets: Vec<i32> = (0..lanes as i32).map(|lane| lane - lanes as i32 / 2).collect();
    let inside: Vec<usize> = (0..lanes as usize).filter(|&lane| active[lane]).collect();
    for at in (1..inside.len()).rev() {
        offsets.swap(inside[at], inside[random.below(at as u64 + 1) as usize]);
    }
    let indexed = matches!(form, MemoryOp::Gather | MemoryOp::Scatter);
    let store = form.is_store();

    let mut b = Builder::new("memory", lanes);
    let tested = b.buffer("tested", if store { Access::ReadWrite } else { Access::Read });
    let other = b.buffer("other", if store { Access::Read } else { Access::Write });
    let masks = b.buffer("masks", Access::Read);
    let distances = b.buffer("offsets", Access::Read);
    let base = b.scalar("base", Scalar::I64);
    let zero = b.i64(0);
    let word = |b: &mut Builder, buffer| {
        b.load(MemoryOp::LoadContig, Mem::I32, Place::Buffer(buffer), zero, None, None)
    };
    let mask_value = (mask != Mask::None).then(|| {
        let word = word(&mut b, masks);
        let nothing = b.i32(0);
        let nothing = b.splat(nothing);
        b.pure(Pure::INe, &[word, nothing])
    });
    let offset = indexed.then(|| word(&mut b, distances));
    let place = Place::Buffer(tested);
    if store {
        let value = b.load(MemoryOp::LoadContig, register(mem), Place::Buffer(other), zero, None, None);
        b.store(form, mem, place, base, offset, value, mask_value);
    } else {
        let value = b.load(form, mem, place, base, offset, mask_value);
        b.store(MemoryOp::StoreContig, register(mem), Place::Buffer(other), zero, None, value, None);
    }
    let other_bytes = if store {
        elements(register(mem), lanes as usize, &mut random)
    } else {
        vec![0xa5; 4 * lanes as usize]
    };
    Case {
        function: b.finish(),
        grid: [1, 1, 1],
        buffers: vec![
            elements(mem, count, &mut random),
            other_bytes,
            bytes(active.iter().map(|&on| if on { 1 + random.next() as u32 % 5 } else { 0 })),
            bytes(offsets.iter().map(|offset| offset.cast_unsigned())),
        ],
        scalars: vec![(if indexed { middle } else { first }).cast_unsigned()],
        floats: Vec::new(),
    }
}

#[test]
fn every_varying_form() {
    for form in [MemoryOp::LoadContig, MemoryOp::Gather, MemoryOp::StoreContig, MemoryOp::Scatter] {
        for mem in Mem::ALL {
            for lanes in [1, 2, 3, 4, 7, 8, 12, 16, 17, 32, 45] {
                for mask in MASKS {
                    varying(form, mem, lanes, mask, u64::from(lanes)).check();
                }
            }
        }
    }
}

#[test]
fn a_thousand_lanes() {
    for form in [MemoryOp::LoadContig, MemoryOp::Gather, MemoryOp::StoreContig, MemoryOp::Scatter] {
        for mask in [Mask::None, Mask::Random] {
            varying(form, Mem::F16, 1023, mask, 5).check();
        }
    }
}

#[test]
fn uniform_forms() {
    for mem in Mem::ALL {
        for masked in [None, Some(0), Some(1)] {
            let mut random = Random(mem.bytes().into());
            let count = length(8, mem);
            for at in [0, 5, count - 1] {
                let mut b = Builder::new("uniform", 8);
                let x = b.buffer("x", Access::Read);
                let y = b.buffer("y", Access::ReadWrite);
                let z = b.buffer("z", Access::Write);
                let base = b.scalar("base", Scalar::I64);
                let on = b.scalar("on", Scalar::Bool);
                let mask = masked.map(|_| on);
                let value = b.load(MemoryOp::LoadUniform, mem, Place::Buffer(x), base, None, mask);
                b.store(MemoryOp::StoreUniform, mem, Place::Buffer(y), base, None, value, mask);
                let zero = b.i64(0);
                b.store(MemoryOp::StoreUniform, register(mem), Place::Buffer(z), zero, None, value, None);
                // Where it is masked off, the index may be anything.
                let at = if masked == Some(0) { 1 << 45 } else { at as u64 };
                Case {
                    function: b.finish(),
                    grid: [1, 1, 1],
                    buffers: vec![
                        elements(mem, count, &mut random),
                        elements(mem, count, &mut random),
                        vec![0xa5; 4],
                    ],
                    scalars: vec![at, masked.unwrap_or(0)],
                    floats: Vec::new(),
                }
                .check();
            }
        }
    }
}

#[test]
fn streams_of_codes() {
    for lanes in [1, 2, 3, 4, 5, 8, 16, 17, 31, 32, 50] {
        for bits in 1..=8u8 {
            let mut random = Random(u64::from(lanes) * 10 + u64::from(bits));
            let used = (lanes as usize * usize::from(bits)).div_ceil(2);
            let count = (used + 70).next_multiple_of(64);
            let mut b = Builder::new("stream", lanes);
            let x = b.buffer("x", Access::Read);
            let y = b.buffer("y", Access::Write);
            let mut at = 0;
            for start in [0, 13, count - used] {
                for sign in [Sign::Unsigned, Sign::Signed] {
                    let base = b.i64(start as i64);
                    let op = Op::LoadUnpack { place: Place::Buffer(x), bits, sign };
                    let value = b.inst(op, &[base]).unwrap();
                    let base = b.i64(at);
                    b.store(MemoryOp::StoreContig, Mem::I32, Place::Buffer(y), base, None, value, None);
                    at += i64::from(lanes);
                }
            }
            Case {
                function: b.finish(),
                grid: [1, 1, 1],
                buffers: vec![(0..count).map(|_| random.next() as u8).collect(), vec![0; 4 * at as usize]],
                scalars: Vec::new(),
                floats: Vec::new(),
            }
            .check();
        }
    }
}

#[test]
fn own_codes() {
    for lanes in [1, 4, 6, 16] {
        for bits in 1..=8u8 {
            let mut b = Builder::new("codes", lanes);
            let x = b.buffer("x", Access::Read);
            let y = b.buffer("y", Access::Write);
            let zero = b.i64(0);
            let next = b.i64(i64::from(lanes));
            let contiguous = MemoryOp::LoadContig;
            let low = b.load(contiguous, Mem::I32, Place::Buffer(x), zero, None, None);
            let high = b.load(contiguous, Mem::I32, Place::Buffer(x), next, None, None);
            let lane = b.i32(0);
            let uniform: Vec<Value> =
                [low, high].into_iter().map(|v| b.inst(Op::Extract, &[v, lane]).unwrap()).collect();
            let mut at = 0;
            for offset in 0..=64 - 4 * bits {
                for sign in [Sign::Unsigned, Sign::Signed] {
                    let op = Op::Unpack { bits, offset, sign };
                    let varying = b.inst(op, &[low, high]).unwrap();
                    let one = b.inst(op, &uniform).unwrap();
                    let one = b.splat(one);
                    for value in [varying, one] {
                        let base = b.i64(at);
                        b.store(MemoryOp::StoreContig, Mem::I32, Place::Buffer(y), base, None, value, None);
                        at += i64::from(lanes);
                    }
                }
            }
            let mut random = Random(u64::from(bits));
            Case {
                function: b.finish(),
                grid: [1, 1, 1],
                buffers: vec![bytes((0..2 * lanes).map(|_| random.next() as u32)), vec![0; 4 * at as usize]],
                scalars: Vec::new(),
                floats: Vec::new(),
            }
            .check();
        }
    }
}

#[test]
fn arenas_are_apart_and_private_to_a_block() {
    let mut b = Builder::new("arenas", 16);
    let y = b.buffer("y", Access::Write);
    let arenas = [b.arena(100), b.arena(64), b.arena(70)];
    let zero = b.i64(0);
    let block = b.block_index(0);
    let lane = b.lane_index();
    for (number, &arena) in arenas.iter().enumerate() {
        let factor = b.i32(100 * (number as i32 + 1));
        let value = b.pure(Pure::IMul, &[block, factor]);
        let value = b.splat(value);
        let value = b.pure(Pure::IAdd, &[value, lane]);
        b.store(MemoryOp::StoreContig, Mem::I32, Place::Arena(arena), zero, None, value, None);
    }
    b.barrier();
    let size = b.i32(16 * arenas.len() as i32);
    let first = b.pure(Pure::IMul, &[block, size]);
    let first = b.pure(Pure::I32ToI64, &[first]);
    for (number, &arena) in arenas.iter().enumerate() {
        let value = b.load(MemoryOp::LoadContig, Mem::I32, Place::Arena(arena), zero, None, None);
        let at = b.i64(16 * number as i64);
        let at = b.pure(Pure::LAdd, &[first, at]);
        b.store(MemoryOp::StoreContig, Mem::I32, Place::Buffer(y), at, None, value, None);
    }
    let blocks = 50;
    Case {
        function: b.finish(),
        grid: [blocks, 1, 1],
        buffers: vec![vec![0; 4 * 48 * blocks as usize]],
        scalars: Vec::new(),
        floats: Vec::new(),
    }
    .check();
}
