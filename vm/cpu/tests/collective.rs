//! Operations across lanes, bit for bit, for lane counts around every power of two.

mod support;

use support::{Case, FLOATS, INTEGERS, Random, bytes};
use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Op, Place, Pure, Reduce, Scalar, Value};

const LANES: [u32; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 31, 32, 33, 40, 64, 100];

/// Loads a varying value of a kind; bools from words that are not zero.
fn load(b: &mut Builder, place: Place, scalar: Scalar, base: Value) -> Value {
    let mem = if scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 };
    let value = b.load(MemoryOp::LoadContig, mem, place, base, None, None);
    if scalar != Scalar::Bool {
        return value;
    }
    let zero = b.i32(0);
    let zero = b.splat(zero);
    b.pure(Pure::INe, &[value, zero])
}

/// Stores any value but an i64 as words.
fn store(b: &mut Builder, place: Place, base: Value, value: Value) {
    let ty = b.ty(value);
    let (value, mem) = match ty.scalar {
        Scalar::F32 => (value, Mem::F32),
        Scalar::Bool => (b.pure(Pure::BoolToI32, &[value]), Mem::I32),
        Scalar::I32 | Scalar::I64 => (value, Mem::I32),
    };
    let form = if ty.is_varying() { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
    b.store(form, mem, place, base, None, value, None);
}

#[test]
fn reductions_follow_the_tree() {
    for reduce in Reduce::ALL {
        for lanes in LANES {
            let mut random = Random(u64::from(lanes));
            let blocks = 12;
            let mut b = Builder::new(reduce.name(), lanes);
            let x = b.buffer("x", Access::Read);
            let y = b.buffer("y", Access::Write);
            let block = b.block_index(0);
            let size = b.i32(lanes.cast_signed());
            let base = b.pure(Pure::IMul, &[block, size]);
            let base = b.pure(Pure::I32ToI64, &[base]);
            let value = load(&mut b, Place::Buffer(x), reduce.scalar(), base);
            let result = b.reduce(reduce, value);
            let at = b.pure(Pure::I32ToI64, &[block]);
            store(&mut b, Place::Buffer(y), at, result);
            let words = (0..blocks * lanes).map(|at| {
                let block = at / lanes;
                match reduce.scalar() {
                    // All zeros of one sign, then edges, then numbers whose sum depends on the order.
                    Scalar::F32 if block == 0 => (-0.0f32).to_bits(),
                    Scalar::F32 if block < 4 => FLOATS[random.below(28) as usize].to_bits(),
                    Scalar::F32 => (random.next() as i32 as f32 * 1e-3).to_bits(),
                    Scalar::Bool if block == 0 => 1,
                    Scalar::Bool if block == 1 => 0,
                    Scalar::Bool if block == 2 => u32::from(at % lanes != lanes - 1),
                    Scalar::Bool if block == 3 => u32::from(at % lanes == lanes - 1),
                    Scalar::Bool => random.below(2) as u32,
                    Scalar::I32 | Scalar::I64 if block < 4 => INTEGERS[random.below(18) as usize],
                    Scalar::I32 | Scalar::I64 => random.next() as u32,
                }
            });
            let words = bytes(words);
            Case {
                function: b.finish(),
                grid: [blocks, 1, 1],
                buffers: vec![words, vec![0; 4 * blocks as usize]],
                scalars: Vec::new(),
                floats: if reduce.scalar() == Scalar::F32 { vec![1] } else { Vec::new() },
            }
            .check();
        }
    }
}

#[test]
fn lanes_are_extracted_and_shuffled() {
    for lanes in LANES {
        for scalar in [Scalar::F32, Scalar::I32, Scalar::Bool] {
            let mut random = Random(u64::from(lanes));
            let mut b = Builder::new("lanes", lanes);
            let x = b.buffer("x", Access::Read);
            let from = b.buffer("from", Access::Read);
            let y = b.buffer("y", Access::Write);
            let zero = b.i64(0);
            let value = load(&mut b, Place::Buffer(x), scalar, zero);
            let source = load(&mut b, Place::Buffer(from), Scalar::I32, zero);
            let shuffled = b.inst(Op::Shuffle, &[value, source]).unwrap();
            store(&mut b, Place::Buffer(y), zero, shuffled);
            let mut at = i64::from(lanes);
            let runtime = b.scalar("lane", Scalar::I32);
            let mut numbers = vec![runtime];
            for number in [0, 1, lanes as i32 - 1, lanes as i32, 1000, -1, i32::MIN] {
                numbers.push(b.i32(number));
            }
            for number in numbers {
                let one = b.inst(Op::Extract, &[value, number]).unwrap();
                let base = b.i64(at);
                store(&mut b, Place::Buffer(y), base, one);
                at += 1;
            }
            let words =
                (0..lanes).map(|_| if scalar == Scalar::Bool { random.below(2) } else { random.next() });
            let words = bytes(words.map(|word| word as u32 & 0xff7f_ffff));
            let sources = bytes((0..lanes).map(|at| {
                if at % 3 == 2 { random.next() as u32 } else { random.below(lanes.into()) as u32 }
            }));
            let function = b.finish();
            for lane in [0, 5, -7i32] {
                Case {
                    function: function.clone(),
                    grid: [1, 1, 1],
                    buffers: vec![words.clone(), sources.clone(), vec![0; 4 * at as usize]],
                    scalars: vec![u64::from(lane.cast_unsigned())],
                    floats: Vec::new(),
                }
                .check();
            }
        }
    }
}

#[test]
fn tables_of_any_length() {
    for length in [1usize, 2, 3, 16, 17, 100, 256] {
        for scalar in [Scalar::F32, Scalar::I32] {
            for lanes in [1, 4, 7, 16, 40] {
                let mut random = Random(length as u64);
                let mut b = Builder::new("table", lanes);
                let x = b.buffer("x", Access::Read);
                let y = b.buffer("y", Access::Write);
                let entries = (0..length).map(|_| random.next() as u32 & 0xff7f_ffff).collect();
                let table = b.table(scalar, entries);
                let other = b.table(Scalar::I32, vec![7; 3]);
                let octets =
                    b.table(Scalar::I32, (0..length as u32).map(|at| (at * 77 + 5) & 0xff).collect());
                let zero = b.i64(0);
                let index = load(&mut b, Place::Buffer(x), Scalar::I32, zero);
                let found = b.inst(Op::TableLookup(table), &[index]).unwrap();
                store(&mut b, Place::Buffer(y), zero, found);
                let found = b.inst(Op::TableBytes(octets), &[index]).unwrap();
                let base = b.i64(i64::from(lanes) + 4);
                store(&mut b, Place::Buffer(y), base, found);
                let found = b.inst(Op::TableHalves(octets), &[index]).unwrap();
                let base = b.i64(2 * i64::from(lanes) + 4);
                store(&mut b, Place::Buffer(y), base, found);
                let runtime = b.scalar("index", Scalar::I32);
                let of_one = [
                    Op::TableLookup(table),
                    Op::TableLookup(other),
                    Op::TableBytes(octets),
                    Op::TableHalves(octets),
                ];
                for (at, op) in (0..).zip(of_one) {
                    let found = b.inst(op, &[runtime]).unwrap();
                    let base = b.i64(i64::from(lanes) + at);
                    store(&mut b, Place::Buffer(y), base, found);
                }
                let words = bytes((0..lanes).map(|at| if at % 2 == 0 { random.next() as u32 } else { at }));
                Case {
                    function: b.finish(),
                    grid: [1, 1, 1],
                    buffers: vec![words, vec![0; 4 * (3 * lanes as usize + 4)]],
                    scalars: vec![random.next() & 0xffff_ffff],
                    floats: Vec::new(),
                }
                .check();
            }
        }
    }
}
