//! Every row of the op table, uniform and varying, in one kernel per number of lanes.

use tvmc_gpu::GpuDevice;
use tvmc_ir::lane::{Access, Builder, Function, Mem, MemoryOp, Place, Pure, Scalar, Slot, Value};

use crate::gpu;
use crate::harness::{Case, Numbers, both, bytes_of, same, ulps, verified, words_of};

const FLOATS: [f32; 31] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3.0,
    0.1,
    -7.75,
    1e-30,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MIN_POSITIVE,
    2147483648.0,
    -2147483648.0,
    2147483520.0,
    4294967296.0,
    4294967040.0,
    16777217.0,
    65504.0,
    65519.99,
    65520.0,
    5.9604645e-8,
    6.1035e-5,
];

const INTEGERS: [u32; 20] = [
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    33,
    255,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_ffff,
    0xffff_fffe,
    0x8080_8080,
    0x7f7f_7f7f,
    0x0102_0304,
    0xfffe_fdfc,
    0x0000_ffff,
    0x0100_0001,
];

/// Elements of each operand array.
const COUNT: usize = 31 * 31 + 20 * 20 + 1 + 574;

/// Six arrays: integers a, b, c, then floats a, b, c. All pairs of special values, then random ones.
fn inputs(padded: usize) -> Vec<u32> {
    let mut numbers = Numbers(1);
    let mut arrays = vec![vec![0u32; padded]; 6];
    for at in 0..padded {
        let integer = |n: usize| INTEGERS[n % INTEGERS.len()];
        let float = |n: usize| FLOATS[n % FLOATS.len()].to_bits();
        if at < 31 * 31 {
            arrays[0][at] = integer(at / 20);
            arrays[1][at] = integer(at);
            arrays[2][at] = integer(at / 7);
            arrays[3][at] = float(at / 31);
            arrays[4][at] = float(at);
            arrays[5][at] = float(at / 11);
        } else {
            for array in &mut arrays[..3] {
                array[at] = numbers.word();
            }
            for array in &mut arrays[3..] {
                array[at] = numbers.float().to_bits();
            }
        }
    }
    arrays.concat()
}

/// The rows this kernel can hold (`i64` has a test of its own), with the kind that stands for `Same`.
fn rows() -> Vec<(Pure, Scalar)> {
    let mut rows = Vec::new();
    for &op in Pure::ALL {
        let info = op.info();
        let slots = || info.args.iter().chain([&info.result]);
        if slots().any(|s| *s == Slot::Is(Scalar::I64)) {
            continue;
        }
        if slots().any(|s| *s == Slot::Same) {
            rows.extend([Scalar::F32, Scalar::I32, Scalar::Bool].map(|s| (op, s)));
        } else {
            rows.push((op, Scalar::I32));
        }
    }
    rows
}

/// Computes every row for element `block * width + lane` and stores it to `out[row * padded + element]`.
fn kernel(lanes: u32, uniform: bool, padded: usize, rows: &[(Pure, Scalar)]) -> Function {
    let mut b = Builder::new("pure", lanes);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let block = b.block_index(0);
    let width = b.i32(if uniform { 1 } else { lanes as i32 });
    let element = b.pure(Pure::IMul, &[block, width]);
    let at = |b: &mut Builder, row: usize| {
        let first = b.i32((row * padded) as i32);
        let index = b.pure(Pure::IAdd, &[first, element]);
        b.pure(Pure::I32ToI64, &[index])
    };
    let (load, store) = if uniform {
        (MemoryOp::LoadUniform, MemoryOp::StoreUniform)
    } else {
        (MemoryOp::LoadContig, MemoryOp::StoreContig)
    };
    let mut operands: Vec<Value> = Vec::new();
    for array in 0..6 {
        let base = at(&mut b, array);
        let mem = if array < 3 { Mem::I32 } else { Mem::F32 };
        operands.push(b.load(load, mem, input, base, None, None));
    }
    let bools = [
        b.pure(Pure::ILtS, &[operands[0], operands[1]]),
        b.pure(Pure::ILtU, &[operands[1], operands[2]]),
        b.pure(Pure::FLt, &[operands[3], operands[4]]),
    ];
    for (row, (op, same)) in rows.iter().enumerate() {
        let (mut i, mut f, mut t) = (0, 0, 0);
        let mut next = |scalar: Scalar| match scalar {
            Scalar::I32 => {
                i += 1;
                operands[i - 1]
            }
            Scalar::F32 => {
                f += 1;
                operands[2 + f]
            }
            Scalar::Bool | Scalar::I64 => {
                t += 1;
                bools[t - 1]
            }
        };
        let args: Vec<Value> = op
            .info()
            .args
            .iter()
            .map(|slot| match slot {
                Slot::Is(scalar) => next(*scalar),
                Slot::Same => next(*same),
            })
            .collect();
        let result = b.pure(*op, &args);
        let base = at(&mut b, row);
        match b.ty(result).scalar {
            Scalar::F32 => b.store(store, Mem::F32, out, base, None, result, None),
            Scalar::I32 => b.store(store, Mem::I32, out, base, None, result, None),
            Scalar::Bool | Scalar::I64 => {
                let word = b.pure(Pure::BoolToI32, &[result]);
                b.store(store, Mem::I32, out, base, None, word, None);
            }
        }
    }
    b.finish()
}

/// Distance that Vulkan permits: division 2.5 ulp, square root through its inverse 2 ulp and more. All else is exact.
fn tolerance(op: Pure) -> u32 {
    if matches!(op, Pure::FDiv | Pure::FSqrt) { 3 } else { 0 }
}

fn keeps_subnormals(device: &GpuDevice) -> bool {
    device.info().keeps_subnormals == Some(true)
}

/// Whether a device that flushes subnormals may give another result with this operand or result (the smallest normal
/// number may be one that was rounded up).
fn below_normal(x: f32) -> bool {
    x != 0.0 && x.abs() <= f32::MIN_POSITIVE
}

fn check(lanes: u32, uniform: bool) {
    let device = gpu!();
    let width = if uniform { 1 } else { lanes as usize };
    let padded = COUNT.next_multiple_of(width);
    let rows = rows();
    let function = verified(kernel(lanes, uniform, padded, &rows));
    let case = Case {
        grid: [(padded / width) as u32, 1, 1],
        buffers: vec![bytes_of(&inputs(padded)), vec![0; rows.len() * padded * 4]],
        scalars: &[],
    };
    let result = both(device, &function, &case);
    let (gpu, interp) = (words_of(&result.gpu[1]), words_of(&result.interp[1]));
    let input = words_of(&case.buffers[0]);
    let mut worst = Vec::new();
    for (row, (op, same)) in rows.iter().enumerate() {
        let float = match op.info().result {
            Slot::Is(scalar) => scalar == Scalar::F32,
            Slot::Same => *same == Scalar::F32,
        };
        let mut row_worst = 0;
        for element in 0..padded {
            let at = row * padded + element;
            if gpu[at] == interp[at] {
                continue;
            }
            let (a, b) = (f32::from_bits(gpu[at]), f32::from_bits(interp[at]));
            let floats = (3..6).map(|array| f32::from_bits(input[array * padded + element]));
            if !keeps_subnormals(device) && floats.chain([b]).any(below_normal) {
                continue;
            }
            // an infinite or undefined result is as far as WGSL promises anything
            if float && (ulps(a, b) <= tolerance(*op) || b.is_nan()) {
                row_worst = row_worst.max(if b.is_nan() { 0 } else { ulps(a, b) });
                continue;
            }
            let operands: Vec<String> =
                (0..6).map(|array| format!("{:#x}", input[array * padded + element])).collect();
            panic!(
                "{op:?} lanes {lanes} uniform {uniform} on {operands:?}: gpu {:#x} ({a}), interpreter {:#x} ({b})",
                gpu[at], interp[at]
            );
        }
        if row_worst > 0 {
            worst.push((op, row_worst));
        }
    }
    eprintln!("lanes {lanes} uniform {uniform}: distances in ulp {worst:?}");
}

#[test]
fn varying() {
    for lanes in [1, 3, 8, 16, 32] {
        check(lanes, false);
    }
}

#[test]
fn uniform() {
    for lanes in [1, 8, 32] {
        check(lanes, true);
    }
}

/// NaN where a rule is stated for it: comparisons, conversions, selection; and all halves.
#[test]
fn not_a_number() {
    let device = gpu!();
    let mut b = Builder::new("nan", 8);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let base = b.i64(0);
    let x = b.load(MemoryOp::LoadContig, Mem::F32, input, base, None, None);
    let fne = b.pure(Pure::FNe, &[x, x]);
    let feq = b.pure(Pure::FEq, &[x, x]);
    let values = [
        b.pure(Pure::F32ToI32, &[x]),
        b.pure(Pure::F32ToU32, &[x]),
        b.pure(Pure::BoolToI32, &[fne]),
        b.pure(Pure::BoolToI32, &[feq]),
    ];
    for (at, value) in values.into_iter().enumerate() {
        let base = b.i64(8 * at as i64);
        b.store(MemoryOp::StoreContig, Mem::I32, out, base, None, value, None);
    }
    let input =
        [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xff80_0001, 0x7f80_0000, 0xff80_0000, 0, 0x8000_0000];
    let case = Case { grid: [1, 1, 1], buffers: vec![bytes_of(&input), vec![0; 128]], scalars: &[] };
    same(device, b.finish(), &case);
}

#[test]
fn all_halves() {
    let device = gpu!();
    let mut b = Builder::new("halves", 32);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let back = Place::Buffer(b.buffer("back", Access::Write));
    let block = b.block_index(0);
    let width = b.i32(32);
    let first = b.pure(Pure::IMul, &[block, width]);
    let base = b.pure(Pure::I32ToI64, &[first]);
    let x = b.load(MemoryOp::LoadContig, Mem::U16, input, base, None, None);
    let float = b.pure(Pure::F16ToF32, &[x]);
    b.store(MemoryOp::StoreContig, Mem::F32, out, base, None, float, None);
    let half = b.pure(Pure::F32ToF16, &[float]);
    b.store(MemoryOp::StoreContig, Mem::I32, back, base, None, half, None);
    let function = verified(b.finish());
    // every half but the NaNs, whose payload nobody promises
    let halves: Vec<u16> = (0..=u16::MAX).filter(|h| h & 0x7fff <= 0x7c00).collect();
    let count = halves.len() / 32 * 32;
    let input: Vec<u8> = halves[..count].iter().flat_map(|h| h.to_le_bytes()).collect();
    let case = Case {
        grid: [count as u32 / 32, 1, 1],
        buffers: vec![input, vec![0; count * 4], vec![0; count * 4]],
        scalars: &[],
    };
    let result = both(device, &function, &case);
    assert_eq!(result.gpu[1], result.interp[1]);
    let back: Vec<u32> = halves[..count].iter().map(|h| u32::from(*h)).collect();
    assert_eq!(words_of(&result.gpu[2]), back);
}

/// 64-bit arithmetic against Rust's own, through scalar arguments and printed values.
#[test]
fn wide_integers() {
    let device = gpu!();
    let mut b = Builder::new("wide", 4);
    let x = b.scalar("x", Scalar::I64);
    let y = b.scalar("y", Scalar::I64);
    let message = b.message(tvmc_ir::lane::Message {
        text: "{} {} {} {} {} {} {} {} {}".to_owned(),
        location: String::new(),
    });
    let low = b.pure(Pure::I64ToI32, &[x]);
    let args = [
        x,
        b.pure(Pure::LAdd, &[x, y]),
        b.pure(Pure::LSub, &[x, y]),
        b.pure(Pure::LMul, &[x, y]),
        b.pure(Pure::LEq, &[x, y]),
        b.pure(Pure::LLtS, &[x, y]),
        low,
        b.pure(Pure::I32ToI64, &[low]),
        b.pure(Pure::U32ToI64, &[low]),
    ];
    b.inst(tvmc_ir::lane::Op::Print(message), &args);
    let function = verified(b.finish());
    let values =
        [0, 1, -1, i64::MAX, i64::MIN, 0x1_0000_0000, -0x1_0000_0001, 0xffff_ffff, 0x1234_5678_9abc_def0];
    for x in values {
        for y in values {
            let scalars = [x as u64, y as u64];
            let result =
                both(device, &function, &Case { grid: [1, 1, 1], buffers: vec![], scalars: &scalars });
            let low = x as i32;
            let expected = format!(
                "{x} {} {} {} {} {} {low} {} {}",
                x.wrapping_add(y),
                x.wrapping_sub(y),
                x.wrapping_mul(y),
                x == y,
                x < y,
                i64::from(low),
                i64::from(low as u32)
            );
            assert_eq!(result.gpu_log[0].text, expected);
            assert_eq!(result.gpu_log, result.interp_log);
        }
    }
}

/// `fma` rounds once for operands of every magnitude: overflow, cancellation, subnormals, ties.
#[test]
fn fused_multiply_add() {
    let device = gpu!();
    let mut b = Builder::new("fma", 32);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let count = 1 << 17;
    let block = b.block_index(0);
    let width = b.i32(32);
    let first = b.pure(Pure::IMul, &[block, width]);
    let operands: Vec<Value> = (0..3)
        .map(|at| {
            let start = b.i32(at * count);
            let index = b.pure(Pure::IAdd, &[first, start]);
            let base = b.pure(Pure::I32ToI64, &[index]);
            b.load(MemoryOp::LoadContig, Mem::F32, input, base, None, None)
        })
        .collect();
    let base = b.pure(Pure::I32ToI64, &[first]);
    let result = b.pure(Pure::Fma, &operands);
    b.store(MemoryOp::StoreContig, Mem::F32, out, base, None, result, None);
    let function = verified(b.finish());
    let mut numbers = Numbers(21);
    let mut arrays = [vec![], vec![], vec![]];
    for at in 0..count {
        let finite = |numbers: &mut Numbers| {
            f32::from_bits((numbers.word() & 0x807f_ffff) | (numbers.below(255) << 23))
        };
        let (a, b) = (finite(&mut numbers), finite(&mut numbers));
        let product = f64::from(a) * f64::from(b);
        let c = match at % 4 {
            // near the product, so that most cancels
            0 => f32::from_bits((-(product as f32)).to_bits().wrapping_add(numbers.below(5)).wrapping_sub(2)),
            // near a rounding boundary of the product's last bits
            1 => (product * 2f64.powi(24 + numbers.below(4) as i32 - 2)) as f32,
            2 => (product * 2f64.powi(-24 + numbers.below(4) as i32 - 2)) as f32,
            _ => finite(&mut numbers),
        };
        let c = if c.is_finite() { c } else { 1.0 };
        arrays[0].push(a.to_bits());
        arrays[1].push(b.to_bits());
        arrays[2].push(c.to_bits());
    }
    let case = Case {
        grid: [count as u32 / 32, 1, 1],
        buffers: vec![bytes_of(&arrays.concat()), vec![0; count as usize * 4]],
        scalars: &[],
    };
    let result = both(device, &function, &case);
    let (gpu, interp) = (words_of(&result.gpu[1]), words_of(&result.interp[1]));
    for at in 0..count as usize {
        let [a, b, c] = [0, 1, 2].map(|i: usize| f32::from_bits(arrays[i][at]));
        if !keeps_subnormals(device) && [a, b, c, f32::from_bits(interp[at])].into_iter().any(below_normal) {
            continue;
        }
        assert_eq!(
            gpu[at],
            interp[at],
            "fma({a:e}, {b:e}, {c:e}): interpreter {:e}",
            f32::from_bits(interp[at])
        );
        assert_eq!(interp[at], a.mul_add(b, c).to_bits());
    }
}
