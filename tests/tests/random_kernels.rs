//! Random tile kernels agree on every machine (`generate` says what is made, `machines` what is compared).
//!
//! `TVMC_KERNELS=20000` runs more of each kind, `TVMC_SEED=7` runs others. A failure is shrunk, and prints the kernel and the machine.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tvmc_tests::generate::{Argument, Case, Floats, generate};
use tvmc_tests::machines::Machines;

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A kernel with its arguments' shapes and scalars, as one pastes it.
fn show(case: &Case) -> String {
    let mut text = case.kernel.to_string();
    for (at, argument) in case.arguments.iter().enumerate() {
        text += &match argument {
            Argument::Tensor(data) => {
                format!("; p{at}: {:?}{}\n", data.shape, if data.packed { ", packed" } else { "" })
            }
            Argument::Scalar(dtype, bits) => format!("; p{at}: {dtype} {bits:#x}\n"),
        };
    }
    text
}

fn run(floats: Floats, seed: u8) {
    let machines = Machines::open();
    let cases = number("TVMC_KERNELS", 100);
    let mut bytes = [seed; 32];
    bytes[..4].copy_from_slice(&number("TVMC_SEED", 0).to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    // Numbers are drawn small: decisions are taken modulo small counts, and small ones shrink quickly.
    let tapes = prop::collection::vec(0u32..2520, 0..300);
    let count = std::cell::Cell::new(0u32);
    let result = runner.run(&tapes, |tape| {
        count.set(count.get() + 1);
        let case = generate(&tape, floats);
        machines
            .check(&case, count.get().is_multiple_of(4))
            .map(drop)
            .map_err(|error| TestCaseError::fail(error.to_string()))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, tape)) => {
            panic!("{reason}\n{}\ntape: {tape:?}", show(&generate(&tape, floats)))
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

#[test]
fn random_kernels_of_exact_floats_agree() {
    run(Floats::Exact, 1);
}

#[test]
fn random_kernels_of_wild_floats_agree() {
    run(Floats::Wild, 2);
}
