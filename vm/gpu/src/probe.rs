//! Asks an open device what no limit tells: whether its `fma` rounds once, whether it keeps subnormal numbers, and whether
//! invocations fill subgroups in order. WGSL promises none of it. Each question is a small kernel whose answer is known.

use tvmc_ir::lane::{Access, Builder, Function, Mem, MemoryOp, Op, Place, Pure, Reduce, verify};

use crate::device::GpuDevice;
use crate::error::GpuError;

/// Operands whose fused and twice rounded results differ: in the last bit, by cancellation, and by overflow of the product.
const CASES: [[f32; 3]; 4] = [
    [1.000_244_1, 1.000_244_1, -1.000_488_3],
    [16_777_215.0, 16_777_215.0, -281_474_940_000_000.0],
    [1.5, f32::MAX, f32::MIN],
    [0.1, 10.0, -1.0],
];

/// Products whose operands or results are subnormal.
const SMALL: [[f32; 2]; 4] = [[f32::MIN_POSITIVE, 0.5], [-1e-30, 1e-10], [1e-40, 4.0], [1e-45, -1.0]];

/// Whether `fma` rounds once, and whether subnormals are kept.
pub(crate) fn arithmetic(device: &GpuDevice) -> Result<(bool, bool), GpuError> {
    let lanes = CASES.len() as u32;
    let mut b = Builder::new("probe_arithmetic", lanes);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let operands = [0, 1, 2, 3, 4].map(|at| {
        let base = b.i64(at * i64::from(lanes));
        b.load(MemoryOp::LoadContig, Mem::F32, input, base, None, None)
    });
    let results = [b.pure(Pure::Fma, &operands[..3]), b.pure(Pure::FMul, &operands[3..])];
    for (at, result) in (0i64..).zip(results) {
        let base = b.i64(at * i64::from(lanes));
        b.store(MemoryOp::StoreContig, Mem::F32, out, base, None, result, None);
    }
    let mut arrays = [0, 1, 2].map(|at| CASES.map(|case| case[at].to_bits())).to_vec();
    arrays.extend([0, 1].map(|at| SMALL.map(|case| case[at].to_bits())));
    let found = ask(device, b.finish(), arrays.as_flattened(), CASES.len() + SMALL.len())?;
    let (fused, small) = found.split_at(CASES.len());
    let fused = fused == CASES.map(|[a, b, c]| a.mul_add(b, c).to_bits());
    Ok((fused, small == SMALL.map(|[a, b]| (a * b).to_bits())))
}

/// The subgroup size that the device's limits name, if reductions and shuffles by it are right: within one
/// subgroup, in part of one, and in several.
pub(crate) fn subgroup(device: &GpuDevice) -> Option<u32> {
    let size = device.limits().subgroup?;
    let several = (4 * size).min(device.limits().invocations);
    let works = [size, size / 2 + 1, several].iter().all(|lanes| crosses(device, *lanes).unwrap_or(false));
    works.then_some(size)
}

/// Reverses and adds up the lanes.
fn crosses(device: &GpuDevice, lanes: u32) -> Result<bool, GpuError> {
    let mut b = Builder::new("probe_subgroup", lanes);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let base = b.i64(0);
    let x = b.load(MemoryOp::LoadContig, Mem::I32, input, base, None, None);
    let lane = b.lane_index();
    let last = b.i32(lanes as i32 - 1);
    let last = b.splat(last);
    let source = b.pure(Pure::ISub, &[last, lane]);
    let Some(reversed) = b.inst(Op::Shuffle, &[x, source]) else { return Ok(false) };
    b.store(MemoryOp::StoreContig, Mem::I32, out, base, None, reversed, None);
    let sum = b.reduce(Reduce::IAdd, x);
    let sum = b.splat(sum);
    let base = b.i64(i64::from(lanes));
    b.store(MemoryOp::StoreContig, Mem::I32, out, base, None, sum, None);
    // values whose partial sums all differ
    let words: Vec<u32> = (1..=lanes).map(|l| l.wrapping_mul(l).wrapping_mul(0x9e37_79b9)).collect();
    let found = ask(device, b.finish(), &words, 2 * lanes as usize)?;
    let sum = words.iter().fold(0u32, |a, w| a.wrapping_add(*w));
    Ok(found.iter().take(lanes as usize).eq(words.iter().rev())
        && found[lanes as usize..].iter().all(|w| *w == sum))
}

/// Runs one block of a function of an input and an output buffer. The operands come from memory, so that no
/// compiler folds them.
fn ask(device: &GpuDevice, function: Function, input: &[u32], outputs: usize) -> Result<Vec<u32>, GpuError> {
    let function = verify(function).map_err(|errors| GpuError::Internal(format!("{errors:?}")))?;
    let bytes: Vec<u8> = input.iter().flat_map(|x| x.to_le_bytes()).collect();
    let input = device.buffer_with(&bytes)?;
    let output = device.buffer(4 * outputs as u64)?;
    let kernel = device.compile(&function)?;
    let mut commands = device.commands();
    commands.dispatch(&kernel, [1, 1, 1], &[input.all(), output.all()], &[])?;
    commands.submit()?.wait()?;
    let mut found = vec![0; 4 * outputs];
    device.download(&output, 0, &mut found)?;
    Ok(found.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect())
}
