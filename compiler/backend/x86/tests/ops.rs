//! Every operation that stays in registers, varying and uniform, over lane counts, operands and levels,
//! against the interpreter.
#![cfg(target_arch = "x86_64")]

mod support;

use support::{Case, FLOATS, INTEGERS, LANES, Random, check};
use tvmc_ir::lane::{
    Access, Builder, Function, Mem, MemoryOp, Op, Place, Pure, Reduce, Scalar, Sign, Slot, Value,
};

/// Words to test an operand with: all edges, then random ones of mixed sizes.
fn words(scalar: Scalar, count: usize, random: &mut Random) -> Vec<u8> {
    (0..count)
        .map(|at| {
            let edges: &[u32] = if scalar == Scalar::F32 { &FLOATS } else { &INTEGERS };
            match scalar {
                Scalar::Bool => random.next() as u32 & 1,
                _ if at < edges.len() || random.below(2) == 0 => {
                    edges[(at + random.below(3) as usize) % edges.len()]
                }
                _ => (random.next() as u32) >> random.below(25),
            }
        })
        .flat_map(u32::to_le_bytes)
        .collect()
}

fn mem(scalar: Scalar) -> Mem {
    if scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 }
}

/// A kernel whose block `x` works on elements `lanes * x ..`.
struct Kernel {
    b: Builder,
    base: Value,
    case: Case,
    floats: Vec<usize>,
    blocks: u32,
    random: Random,
    inputs: usize,
    outputs: Vec<(Value, usize)>,
}

impl Kernel {
    fn new(name: &str, lanes: u32, blocks: u32) -> Self {
        let mut b = Builder::new(name, lanes);
        let block = b.block_index(0);
        let step = b.i32(lanes.cast_signed());
        let first = b.pure(Pure::IMul, &[block, step]);
        let base = b.pure(Pure::I32ToI64, &[first]);
        Self {
            b,
            base,
            case: Case { grid: [blocks, 1, 1], buffers: Vec::new(), scalars: Vec::new() },
            floats: Vec::new(),
            blocks,
            random: Random(u64::from(lanes)),
            inputs: 0,
            outputs: Vec::new(),
        }
    }

    fn elements(&self) -> usize {
        (self.b.lanes() * self.blocks) as usize
    }

    /// An operand from a new buffer.
    fn input(&mut self, scalar: Scalar, varying: bool) -> Value {
        let elements = self.elements();
        let bytes = words(scalar, elements, &mut self.random);
        self.input_of(scalar, varying, bytes)
    }

    fn input_of(&mut self, scalar: Scalar, varying: bool, bytes: Vec<u8>) -> Value {
        let buffer = self.b.buffer(&format!("x{}", self.inputs), Access::Read);
        self.inputs += 1;
        self.case.buffers.push(bytes);
        let form = if varying { MemoryOp::LoadContig } else { MemoryOp::LoadUniform };
        let loaded = self.b.load(form, mem(scalar), Place::Buffer(buffer), self.base, None, None);
        match scalar {
            Scalar::F32 | Scalar::I32 => loaded,
            Scalar::I64 => self.b.pure(Pure::I32ToI64, &[loaded]),
            Scalar::Bool => {
                let zero = self.b.i32(0);
                let zero = if varying { self.b.splat(zero) } else { zero };
                self.b.pure(Pure::INe, &[loaded, zero])
            }
        }
    }

    fn output(&mut self, value: Value) {
        let (value, scalar) = match self.b.ty(value).scalar {
            Scalar::Bool => (self.b.pure(Pure::BoolToI32, &[value]), Scalar::I32),
            Scalar::I64 => (self.b.pure(Pure::I64ToI32, &[value]), Scalar::I32),
            scalar => (value, scalar),
        };
        let buffer = self.b.buffer(&format!("y{}", self.outputs.len()), Access::Write);
        let number = self.case.buffers.len();
        if scalar == Scalar::F32 {
            self.floats.push(number);
        }
        self.case.buffers.push(vec![0xcc; 4 * self.elements()]);
        let varying = self.b.ty(value).is_varying();
        let form = if varying { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
        self.b.store(form, mem(scalar), Place::Buffer(buffer), self.base, None, value, None);
        self.outputs.push((value, number));
    }

    fn check(self) {
        let function: Function = self.b.finish();
        check(function, &self.case, &self.floats);
    }
}

fn scalar_of(slot: Slot, same: Scalar) -> Scalar {
    match slot {
        Slot::Is(scalar) => scalar,
        Slot::Same => same,
    }
}

fn sweep_pure(op: Pure, varying: bool, same: Scalar) {
    let info = op.info();
    if varying && info.args.iter().chain([&info.result]).any(|s| *s == Slot::Is(Scalar::I64)) {
        return;
    }
    for lanes in LANES {
        let mut kernel = Kernel::new(info.name, lanes, if lanes < 8 { 40 } else { 6 });
        let args: Vec<Value> =
            info.args.iter().map(|slot| kernel.input(scalar_of(*slot, same), varying)).collect();
        let result = kernel.b.pure(op, &args);
        kernel.output(result);
        // The same operand twice, and again after its first use.
        if args.len() > 1 && info.args[0] == info.args[1] {
            let mut twice = args.clone();
            twice[1] = twice[0];
            let result = kernel.b.pure(op, &twice);
            kernel.output(result);
        }
        // Each operand as a constant.
        for at in 0..args.len() {
            let mut with = args.clone();
            let constants: &[u32] = match scalar_of(info.args[at], same) {
                Scalar::F32 => &[0x3fc0_0000, 0, 0x7fc0_0000],
                Scalar::I32 => &[0, 1, 7, 32, 0xffff_fff0, 0x8000_0000],
                Scalar::I64 => &[0, 5, 0xffff_ffff],
                Scalar::Bool => &[0, 1],
            };
            for &bits in constants {
                let constant = match scalar_of(info.args[at], same) {
                    Scalar::F32 => kernel.b.f32(f32::from_bits(bits)),
                    Scalar::I32 => kernel.b.i32(bits.cast_signed()),
                    Scalar::I64 => kernel.b.i64(i64::from(bits.cast_signed()) << (bits & 32)),
                    Scalar::Bool => kernel.b.bool(bits != 0),
                };
                with[at] = if varying { kernel.b.splat(constant) } else { constant };
                let result = kernel.b.pure(op, &with);
                kernel.output(result);
            }
        }
        kernel.check();
    }
}

#[test]
fn every_row_varying_over_lane_counts() {
    for &op in Pure::ALL {
        sweep_pure(op, true, Scalar::F32);
    }
    sweep_pure(Pure::Select, true, Scalar::I32);
    sweep_pure(Pure::Select, true, Scalar::Bool);
}

#[test]
fn every_row_uniform() {
    for &op in Pure::ALL {
        sweep_pure(op, false, Scalar::F32);
    }
    for same in [Scalar::I32, Scalar::I64, Scalar::Bool] {
        sweep_pure(Pure::Select, false, same);
    }
}

#[test]
fn splats_of_registers_loads_and_booleans() {
    for lanes in LANES {
        let mut kernel = Kernel::new("splat", lanes, 5);
        for scalar in [Scalar::F32, Scalar::I32, Scalar::Bool] {
            let uniform = kernel.input(scalar, false);
            let varying = kernel.b.splat(uniform);
            kernel.output(varying);
            if scalar == Scalar::F32 {
                let sum = kernel.b.pure(Pure::FAdd, &[uniform, uniform]);
                let varying = kernel.b.splat(sum);
                kernel.output(varying);
                let other = kernel.input(scalar, true);
                let uniform = kernel.input(scalar, false);
                let varying = kernel.b.splat(uniform);
                let product = kernel.b.pure(Pure::FMul, &[varying, other]);
                kernel.output(product);
            }
        }
        let index = kernel.b.lane_index();
        kernel.output(index);
        let three = kernel.b.i32(3);
        let three = kernel.b.splat(three);
        let shifted = kernel.b.pure(Pure::Shl, &[three, index]);
        kernel.output(shifted);
        kernel.check();
    }
}

#[test]
fn reductions_follow_the_documented_tree() {
    for lanes in LANES.into_iter().chain([2, 5, 9, 24, 33, 64, 100]) {
        let mut kernel = Kernel::new("reduce", lanes, 4);
        for reduce in Reduce::ALL {
            let value = kernel.input(reduce.scalar(), true);
            let reduced = kernel.b.reduce(reduce, value);
            kernel.output(reduced);
            if reduce.scalar() == Scalar::F32 {
                // Ordinary numbers, whose sum depends on the order.
                let numbers: Vec<u8> = (0..kernel.elements())
                    .flat_map(|_| (kernel.random.below(1 << 24) as f32 / 1e3 - 5e3).to_le_bytes())
                    .collect();
                let value = kernel.input_of(Scalar::F32, true, numbers);
                let reduced = kernel.b.reduce(reduce, value);
                kernel.output(reduced);
            }
            let constant = match reduce.scalar() {
                Scalar::F32 => kernel.b.f32(-0.0),
                Scalar::Bool => kernel.b.bool(true),
                Scalar::I32 | Scalar::I64 => kernel.b.i32(-3),
            };
            let constant = kernel.b.splat(constant);
            let reduced = kernel.b.reduce(reduce, constant);
            kernel.output(reduced);
        }
        kernel.check();
    }
}

#[test]
fn extract_and_shuffle_take_lanes_modulo() {
    for lanes in LANES.into_iter().chain([2, 5, 9, 24, 33, 64]) {
        let mut kernel = Kernel::new("lanes", lanes, 6);
        for scalar in [Scalar::F32, Scalar::I32, Scalar::Bool] {
            let value = kernel.input(scalar, true);
            let source = kernel.input(Scalar::I32, true);
            let shuffled = kernel.b.inst(Op::Shuffle, &[value, source]).unwrap();
            kernel.output(shuffled);
            let lane = kernel.input(Scalar::I32, false);
            let extracted = kernel.b.inst(Op::Extract, &[value, lane]).unwrap();
            kernel.output(extracted);
            for lane in [0, 1, 7, 13, 40, -1] {
                let lane = kernel.b.i32(lane);
                let extracted = kernel.b.inst(Op::Extract, &[value, lane]).unwrap();
                kernel.output(extracted);
            }
            let index = kernel.b.lane_index();
            let one = kernel.b.i32(1);
            let one = kernel.b.splat(one);
            let next = kernel.b.pure(Pure::IAdd, &[index, one]);
            let rotated = kernel.b.inst(Op::Shuffle, &[value, next]).unwrap();
            kernel.output(rotated);
        }
        kernel.check();
    }
}

#[test]
fn tables_of_every_kind_of_length() {
    for lanes in LANES {
        let mut kernel = Kernel::new("tables", lanes, 3);
        for length in [1, 2, 3, 8, 9, 16, 17, 32, 33, 64, 100, 200, 256] {
            let entries: Vec<u32> = (0..length).map(|at| (77 * at + 5) & 0xff).collect();
            let bytes = kernel.b.table(Scalar::I32, entries);
            for varying in [false, true] {
                let index = kernel.input(Scalar::I32, varying);
                let found = kernel.b.inst(Op::TableBytes(bytes), &[index]).unwrap();
                kernel.output(found);
            }
            halves_of(&mut kernel, length);
            for scalar in [Scalar::F32, Scalar::I32] {
                let entries: Vec<u32> = (0..length).map(|at| 0x3f80_0000 + 77 * at).collect();
                let table = kernel.b.table(scalar, entries);
                for varying in [false, true] {
                    let index = kernel.input(Scalar::I32, varying);
                    let found = kernel.b.inst(Op::TableLookup(table), &[index]).unwrap();
                    kernel.output(found);
                }
            }
        }
        for length in [500, 512, 1000, 1024, 1025, 4096, 65536] {
            halves_of(&mut kernel, length);
        }
        kernel.check();
    }
}

fn halves_of(kernel: &mut Kernel, length: u32) {
    let halves = kernel.b.table(Scalar::I32, (0..length).map(|at| (30011 * at + 5) & 0xffff).collect());
    for varying in [false, true] {
        let index = kernel.input(Scalar::I32, varying);
        let found = kernel.b.inst(Op::TableHalves(halves), &[index]).unwrap();
        kernel.output(found);
    }
}

#[test]
fn unpack_of_every_width_and_offset() {
    for (lanes, varying) in [(16, true), (3, true), (48, true), (1, false)] {
        for bits in 1..=8 {
            let mut kernel = Kernel::new("unpack", lanes, 4);
            let bytes = |kernel: &mut Kernel| {
                let elements = kernel.elements();
                kernel.random.bytes(4 * elements)
            };
            let (low, high) = (bytes(&mut kernel), bytes(&mut kernel));
            let low = kernel.input_of(Scalar::I32, varying, low);
            let high = kernel.input_of(Scalar::I32, varying, high);
            for offset in 0..=64 - 4 * bits {
                for sign in [Sign::Unsigned, Sign::Signed] {
                    let codes = kernel.b.inst(Op::Unpack { bits, offset, sign }, &[low, high]).unwrap();
                    kernel.output(codes);
                }
            }
            kernel.check();
        }
    }
}

#[test]
fn load_unpack_reads_exactly_its_bytes() {
    for lanes in LANES.into_iter().chain([2, 5, 9, 15, 24, 31, 33, 64]) {
        for bits in 1..=8_u8 {
            for sign in [Sign::Unsigned, Sign::Signed] {
                // One block, so that the stream is the whole buffer between its guard pages.
                let mut kernel = Kernel::new("load_unpack", lanes, 1);
                let stream = kernel.b.buffer("stream", Access::Read);
                let length = (lanes * u32::from(bits)).div_ceil(2) as usize;
                let bytes = kernel.random.bytes(length);
                kernel.case.buffers.push(bytes);
                let op = Op::LoadUnpack { place: Place::Buffer(stream), bits, sign };
                let base = kernel.b.i64(0);
                let codes = kernel.b.inst(op, &[base]).unwrap();
                kernel.output(codes);
                kernel.check();
            }
        }
    }
}

/// Streams next to each other let one read over the other; one in a branch that is not taken must not.
#[test]
fn streams_side_by_side_stay_in_the_buffer() {
    for lanes in LANES {
        for bits in 1..=8_u8 {
            let mut kernel = Kernel::new("streams", lanes, 1);
            let stream = kernel.b.buffer("stream", Access::Read);
            let length = i64::from((lanes * u32::from(bits)).div_ceil(2));
            let count = 3;
            let bytes = kernel.random.bytes((count * length) as usize);
            kernel.case.buffers.push(bytes);
            kernel.case.scalars = vec![0];
            let taken = kernel.b.scalar("taken", Scalar::Bool);
            let op = Op::LoadUnpack { place: Place::Buffer(stream), bits, sign: Sign::Signed };
            // Past the end, and before the start.
            let zero = kernel.b.i32(0);
            let zero = kernel.b.splat(zero);
            for outside in [count, -1] {
                kernel.b.begin_if(taken);
                let base = kernel.b.i64(outside * length);
                let codes = kernel.b.inst(op, &[base]).unwrap();
                kernel.b.begin_else(&[codes]);
                let codes = kernel.b.end_if(&[zero]);
                kernel.output(codes[0]);
            }
            for at in [1, 2, 0, 1] {
                let base = kernel.b.i64(at * length);
                let codes = kernel.b.inst(op, &[base]).unwrap();
                kernel.output(codes);
            }
            kernel.check();
        }
    }
}
