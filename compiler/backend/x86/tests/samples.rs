//! The sample kernels and op cases that every backend runs.
#![cfg(target_arch = "x86_64")]

mod support;

use support::{Executable, Guarded, Placement, compiled, execute, feature_sets};
use tvmc_interp::samples::{Inputs, Sample, kernels, op_cases};
use tvmc_ir::lane::Uniformity;

fn run(sample: &Sample) {
    let function = sample.function().unwrap();
    for features in feature_sets() {
        let executable = Executable::new(&compiled(&function, &features));
        let mut buffers: Vec<Guarded> =
            sample.buffers.iter().map(|bytes| Guarded::with(bytes, Placement::End)).collect();
        execute(executable.entry(), &function, sample.grid, &buffers, &sample.scalars);
        let after: Vec<Vec<u8>> = buffers.iter_mut().map(|b| b.bytes().to_vec()).collect();
        if let Err(difference) = sample.check(&after) {
            let code = tvmc_backend_x86::disassemble(&compiled(&function, &features));
            panic!("on {features}: {difference}\n{}\n{code}", sample.text);
        }
    }
}

#[test]
fn sample_kernels_give_what_is_expected() {
    kernels().iter().for_each(run);
}

#[test]
fn every_uniform_op_agrees_on_edge_values() {
    op_cases(Inputs::Full, Uniformity::Uniform).unwrap().iter().for_each(run);
}

#[test]
fn every_varying_op_agrees_on_edge_values() {
    op_cases(Inputs::Full, Uniformity::Varying).unwrap().iter().for_each(run);
}
