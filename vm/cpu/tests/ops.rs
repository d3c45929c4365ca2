//! Every row of the op table, uniform and varying, for many lane counts, on edge values and random ones.

mod support;

use support::{Case, FLOATS, INTEGERS, Random, bytes};
use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Place, Pure, Scalar, Slot, Value};

/// 1 and 3 have no whole vector, 17 a tail, 40 and 71 are too many to take lanes apart in line.
const LANES: [u32; 8] = [1, 3, 4, 16, 17, 32, 40, 71];

/// Edge values in pairs, then random words.
fn operands(op: Pure, random: &mut Random) -> Vec<Vec<u32>> {
    let edges = |slot: &Slot| -> Vec<u32> {
        match slot {
            Slot::Is(Scalar::F32) | Slot::Same => FLOATS.iter().map(|f| f.to_bits()).collect(),
            Slot::Is(Scalar::I32 | Scalar::I64) if op == Pure::F16ToF32 => {
                vec![0, 0x8000, 1, 0x83ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0xdead_3c01, 0xffff]
            }
            Slot::Is(Scalar::I32 | Scalar::I64) => INTEGERS.to_vec(),
            Slot::Is(Scalar::Bool) => vec![0, 1],
        }
    };
    let args = op.info().args;
    let choices: Vec<Vec<u32>> = args.iter().map(edges).collect();
    let pairs = choices[0].len() * choices.get(1).map_or(1, Vec::len);
    let mut out: Vec<Vec<u32>> = (0..args.len())
        .map(|at| {
            let take = |number: usize| match at {
                0 => number % choices[0].len(),
                1 => number / choices[0].len(),
                _ => (number * 7 + number / 5) % choices[at].len(),
            };
            (0..pairs).map(|number| choices[at][take(number)]).collect()
        })
        .collect();
    for operand in &mut out {
        operand.extend((0..100).map(|_| random.next() as u32));
    }
    match op {
        Pure::F16ToF32 => out[0] = (0..0x1_0000).collect(),
        Pure::F32ToF16 => out[0].extend(around_f16()),
        Pure::F32ToBf16 => out[0].extend((0..0x300).flat_map(|half| around(half << 22 | half << 15, 0x8000))),
        _ => {}
    }
    out
}

/// Bits of a float, halfway to the next half, and right beside both.
fn around(bits: u32, half: u32) -> [u32; 5] {
    [bits, bits + 1, bits + half - 1, bits + half, bits + half + 1]
}

/// Floats at and between neighbouring f16, both signs, subnormals and the step to infinity included.
fn around_f16() -> Vec<u32> {
    let mut out = Vec::new();
    for half in (0..0x7c00u32).step_by(5).chain(0x7bf0..0x7c00) {
        let scale = 2f32.powi(-25);
        if half < 0x400 {
            // Subnormals are multiples of 2^-24.
            out.extend([2 * half, 2 * half + 1].map(|twice| (twice as f32 * scale).to_bits()));
            out.push(((2 * half + 1) as f32 * scale).to_bits() + 1);
            out.push(((2 * half + 1) as f32 * scale).to_bits() - 1);
        } else {
            out.extend(around((half << 13) + (112 << 23), 0x1000));
        }
    }
    let negative: Vec<u32> = out.iter().map(|bits| bits | 0x8000_0000).collect();
    out.extend(negative);
    out
}

fn case(op: Pure, lanes: u32, varying: bool) -> Option<Case> {
    let info = op.info();
    let wide = info.args.iter().chain([&info.result]).any(|slot| *slot == Slot::Is(Scalar::I64));
    if wide && varying {
        return None;
    }
    let mut words = operands(op, &mut Random(u64::from(lanes) * 1000 + op as u64));
    let step = if varying { lanes } else { 1 };
    let blocks = words[0].len().div_ceil(step as usize);
    let elements = blocks * step as usize;
    for operand in &mut words {
        operand.resize(elements, 1);
    }
    let mut b = Builder::new(info.name, lanes);
    let sources: Vec<_> = (0..words.len()).map(|at| b.buffer(&format!("x{at}"), Access::Read)).collect();
    let target = b.buffer("y", Access::Write);
    let block = b.block_index(0);
    let step = b.i32(step.cast_signed());
    let first = b.pure(Pure::IMul, &[block, step]);
    let base = b.pure(Pure::I32ToI64, &[first]);
    let (load, store) = if varying {
        (MemoryOp::LoadContig, MemoryOp::StoreContig)
    } else {
        (MemoryOp::LoadUniform, MemoryOp::StoreUniform)
    };
    let args: Vec<Value> = sources
        .iter()
        .zip(info.args)
        .map(|(&source, slot)| {
            let scalar = match slot {
                Slot::Is(scalar) => *scalar,
                Slot::Same => Scalar::F32,
            };
            let mem = if scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 };
            let loaded = b.load(load, mem, Place::Buffer(source), base, None, None);
            match scalar {
                Scalar::F32 | Scalar::I32 => loaded,
                Scalar::I64 => {
                    // Both halves filled.
                    let wide = b.pure(Pure::I32ToI64, &[loaded]);
                    let factor = b.i64(0x1_0000_0003);
                    b.pure(Pure::LMul, &[wide, factor])
                }
                Scalar::Bool => {
                    let zero = b.i32(0);
                    let zero = if varying { b.splat(zero) } else { zero };
                    b.pure(Pure::INe, &[loaded, zero])
                }
            }
        })
        .collect();
    let mut result = b.pure(op, &args);
    // The payload of a NaN is not defined, in f16 and bf16 neither: it is compared as an f32.
    result = match op {
        Pure::F32ToF16 => b.pure(Pure::F16ToF32, &[result]),
        Pure::F32ToBf16 => {
            let sixteen = b.i32(16);
            let sixteen = if varying { b.splat(sixteen) } else { sixteen };
            let bits = b.pure(Pure::Shl, &[result, sixteen]);
            b.pure(Pure::F32FromBits, &[bits])
        }
        _ => result,
    };
    let (result, mem) = match b.ty(result).scalar {
        Scalar::F32 => (result, Mem::F32),
        Scalar::I32 => (result, Mem::I32),
        Scalar::Bool => (b.pure(Pure::BoolToI32, &[result]), Mem::I32),
        Scalar::I64 => {
            // The low half, and five facts about the whole.
            let mut sum = b.pure(Pure::I64ToI32, &[result]);
            for pivot in [0, 1 << 32, -1 << 32, 1 << 62, -1 << 62] {
                let pivot = b.i64(pivot);
                let below = b.pure(Pure::LLtS, &[result, pivot]);
                let below = b.pure(Pure::BoolToI32, &[below]);
                let seven = b.i32(7);
                sum = b.pure(Pure::IMul, &[sum, seven]);
                sum = b.pure(Pure::IAdd, &[sum, below]);
            }
            (sum, Mem::I32)
        }
    };
    b.store(store, mem, Place::Buffer(target), base, None, result, None);
    let mut buffers: Vec<Vec<u8>> = words.into_iter().map(bytes).collect();
    buffers.push(vec![0xa5; 4 * elements]);
    let floats = if mem == Mem::F32 { vec![buffers.len() - 1] } else { Vec::new() };
    Some(Case { function: b.finish(), grid: [blocks as u32, 1, 1], buffers, scalars: Vec::new(), floats })
}

#[test]
fn every_row_uniform() {
    for &op in Pure::ALL {
        if let Some(case) = case(op, 5, false) {
            case.check();
        }
    }
}

#[test]
fn every_row_varying() {
    for lanes in LANES {
        for &op in Pure::ALL {
            if let Some(case) = case(op, lanes, true) {
                case.check();
            }
        }
    }
}

#[test]
fn shifts_by_splats_and_select_of_every_kind() {
    for lanes in [1, 6, 16, 40] {
        for count in [0, 1, 31, 32, 45, -1] {
            let mut b = Builder::new("shifts", lanes);
            let x = b.buffer("x", Access::Read);
            let y = b.buffer("y", Access::Write);
            let zero = b.i64(0);
            let value = b.load(MemoryOp::LoadContig, Mem::I32, Place::Buffer(x), zero, None, None);
            let runtime = b.scalar("count", Scalar::I32);
            let constant = b.i32(count);
            let mut at = 0;
            for count in [runtime, constant] {
                let count = b.splat(count);
                for op in [Pure::Shl, Pure::ShrS, Pure::ShrU] {
                    let shifted = b.pure(op, &[value, count]);
                    let odd = b.pure(Pure::ILtS, &[shifted, value]);
                    let even = b.pure(Pure::IEq, &[shifted, value]);
                    let chosen = b.pure(Pure::Select, &[odd, even, odd]);
                    let chosen = b.pure(Pure::Select, &[chosen, shifted, value]);
                    let base = b.i64(at);
                    at += i64::from(lanes);
                    b.store(MemoryOp::StoreContig, Mem::I32, Place::Buffer(y), base, None, chosen, None);
                }
            }
            let words = (0..lanes).map(|lane| INTEGERS[lane as usize % INTEGERS.len()]);
            Case {
                function: b.finish(),
                grid: [1, 1, 1],
                buffers: vec![bytes(words), vec![0; 4 * at as usize]],
                scalars: vec![u64::from(count.cast_unsigned())],
                floats: Vec::new(),
            }
            .check();
        }
    }
}
