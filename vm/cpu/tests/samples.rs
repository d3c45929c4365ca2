//! The shared sample kernels and op cases, on every target and thread count.

mod support;

use support::{pools, targets};
use tvmc_cpu::{AlignedBuffer, BufferArg, CompiledKernel};
use tvmc_interp::samples::{Inputs, Sample, kernels, op_cases};
use tvmc_ir::lane::{Access, Uniformity};

fn judge(sample: &Sample) {
    let function = sample.function().unwrap();
    for target in targets() {
        let kernel = CompiledKernel::compile(&function, target).unwrap();
        for pool in pools() {
            let mut memory: Vec<AlignedBuffer> =
                sample.buffers.iter().map(|bytes| AlignedBuffer::from_bytes(bytes).unwrap()).collect();
            let mut arguments: Vec<BufferArg> = memory
                .iter_mut()
                .zip(&function.buffers)
                .map(|(bytes, decl)| match decl.access {
                    Access::Read => BufferArg::Read(bytes.as_slice()),
                    Access::Write | Access::ReadWrite => BufferArg::Write(bytes.as_mut_slice()),
                })
                .collect();
            // SAFETY: the sample's buffers are as long as its kernel wants; the interpreter's tests see to it.
            let report = unsafe { pool.launch(&kernel, sample.grid, &mut arguments, &sample.scalars) };
            let blocks = sample.grid.iter().map(|&n| u64::from(n)).product::<u64>();
            assert_eq!(report.unwrap().blocks, blocks, "{}", sample.name);
            let after: Vec<Vec<u8>> = memory.iter().map(|bytes| bytes.as_slice().to_vec()).collect();
            sample.check(&after).unwrap_or_else(|message| panic!("{target}: {message}"));
        }
    }
}

#[test]
fn kernels_agree_with_references() {
    for sample in kernels() {
        judge(&sample);
        // And bit for bit with the interpreter, at guard pages.
        let case = support::Case {
            function: sample.function().unwrap().into_inner(),
            grid: sample.grid,
            buffers: sample.buffers.clone(),
            scalars: sample.scalars.clone(),
            floats: vec![sample.output],
        };
        case.check();
    }
}

#[test]
fn op_cases_agree() {
    for form in [Uniformity::Uniform, Uniformity::Varying] {
        for sample in op_cases(Inputs::Full, form).unwrap() {
            // NaN payloads of f16 and bf16 are not defined, and these two compare them as integers.
            if !sample.name.starts_with("f32_to_f16") && !sample.name.starts_with("f32_to_bf16") {
                judge(&sample);
            }
        }
    }
}
