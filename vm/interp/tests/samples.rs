//! The interpreter against plain Rust references, and its speed.

use tvmc_interp::samples::{Inputs, Sample, kernels, op_cases};
use tvmc_ir::lane::Uniformity;

fn judge(sample: &Sample) {
    match sample.interpret() {
        Ok((outcome, buffers)) => {
            assert_eq!(outcome.failure, None, "{}", sample.name);
            sample.check(&buffers).unwrap_or_else(|message| panic!("{message}"));
        }
        Err(message) => panic!("{message}"),
    }
}

#[test]
fn kernels_agree_with_references() {
    for sample in kernels() {
        judge(&sample);
    }
}

#[test]
fn a_wrong_result_is_noticed() {
    for sample in kernels() {
        let (_, mut buffers) = sample.interpret().unwrap();
        if let Some(byte) = buffers[sample.output].get_mut(2) {
            *byte ^= 0x40;
            assert!(sample.check(&buffers).is_err(), "{}", sample.name);
        }
    }
}

#[test]
fn every_operation_has_a_case() {
    for inputs in [Inputs::Full, Inputs::Tame] {
        for form in [Uniformity::Uniform, Uniformity::Varying] {
            for sample in op_cases(inputs, form).unwrap() {
                judge(&sample);
            }
        }
    }
}

#[test]
fn the_two_forms_of_an_operation_agree() {
    let uniform = op_cases(Inputs::Full, Uniformity::Uniform).unwrap();
    for varying in op_cases(Inputs::Full, Uniformity::Varying).unwrap() {
        let name = varying.name.split(' ').next().unwrap();
        let same = uniform.iter().find(|sample| sample.name.split(' ').next() == Some(name)).unwrap();
        let (_, a) = same.interpret().unwrap();
        let (_, b) = varying.interpret().unwrap();
        let length = a[same.output].len();
        assert_eq!(a[same.output], b[varying.output][..length], "{name}");
    }
}
