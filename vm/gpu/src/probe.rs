//! Asks an open device what no limit tells: whether its `fma` rounds once. WGSL permits either.

use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Place, Pure, verify};

use crate::device::GpuDevice;
use crate::error::GpuError;

/// Operands whose fused and twice rounded results differ: in the last bit, by cancellation, and by overflow of the product.
const CASES: [[f32; 3]; 4] = [
    [1.000_244_1, 1.000_244_1, -1.000_488_3],
    [16_777_215.0, 16_777_215.0, -281_474_940_000_000.0],
    [1.5, f32::MAX, f32::MIN],
    [0.1, 10.0, -1.0],
];

/// Runs `fma` on operands from memory, so that no compiler folds it.
pub(crate) fn fused_fma(device: &GpuDevice) -> Result<bool, GpuError> {
    let lanes = CASES.len() as u32;
    let mut b = Builder::new("probe_fma", lanes);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let operands = [0, 1, 2].map(|at| {
        let base = b.i64(at * i64::from(lanes));
        b.load(MemoryOp::LoadContig, Mem::F32, input, base, None, None)
    });
    let result = b.pure(Pure::Fma, &operands);
    let base = b.i64(0);
    b.store(MemoryOp::StoreContig, Mem::F32, out, base, None, result, None);
    let function = verify(b.finish()).map_err(|errors| GpuError::Internal(format!("{errors:?}")))?;

    let arrays = [0, 1, 2].map(|at| CASES.map(|case| case[at]));
    let bytes: Vec<u8> = arrays.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect();
    let input = device.buffer_with(&bytes)?;
    let output = device.buffer(4 * u64::from(lanes))?;
    let kernel = device.compile(&function)?;
    let mut commands = device.commands();
    commands.dispatch(&kernel, [1, 1, 1], &[input.all(), output.all()], &[])?;
    commands.submit()?.wait()?;
    let mut found = vec![0; 4 * CASES.len()];
    device.download(&output, 0, &mut found)?;
    let expected: Vec<u8> = CASES.iter().flat_map(|[a, b, c]| a.mul_add(*b, *c).to_le_bytes()).collect();
    Ok(found == expected)
}
