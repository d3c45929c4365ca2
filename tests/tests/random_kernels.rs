//! Random tile kernels agree on every machine (`generate` says what is made, `machines` what is compared).
//!
//! `TVMC_KERNELS=20000` runs more of each kind, `TVMC_SEED=7` runs others. A failure is shrunk, and prints the machine and the kernel as a filetest.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use tvmc_tests::filetests::paste;
use tvmc_tests::generate::{Floats, generate};
use tvmc_tests::machines::{Disagreement, Machines};

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
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
    let (count, skipped) = (Cell::new(0u32), RefCell::new(BTreeMap::<String, u32>::new()));
    let result = runner.run(&tapes, |tape| {
        count.set(count.get() + 1);
        let case = generate(&tape, floats);
        let fail = |error: Disagreement| TestCaseError::fail(error.to_string());
        let ran = machines.check(&case, true).map_err(fail)?;
        for skip in ran.skipped {
            *skipped.borrow_mut().entry(format!("{}: {}", skip.machine, skip.limit)).or_default() += 1;
        }
        if count.get() % 8 == 1 {
            machines.check_steps(&case, count.get().into()).map_err(fail)?;
        }
        Ok(())
    });
    // What a device has too little for is named, and must stay the exception.
    let skipped = skipped.into_inner();
    eprintln!("{} kernels, not run: {skipped:?}", count.get());
    assert!(skipped.values().sum::<u32>() <= count.get() / 8 + 4, "too many kernels do not run: {skipped:?}");
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, tape)) => {
            panic!("{reason}\ntape: {tape:?}\nAs a filetest:\n{}", paste(&generate(&tape, floats)))
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
