//! Random kernels as source text agree on every machine (`source_programs` says what is made, `machines` what is compared).
//!
//! `TVMC_PROGRAMS=1000` runs more. A failure prints the seed, the machine and the source; the seed alone reproduces it.

use tvmc_tests::machines::Machines;
use tvmc_tests::source_programs::case;

fn count() -> u64 {
    std::env::var("TVMC_PROGRAMS").ok().and_then(|v| v.parse().ok()).unwrap_or(60)
}

#[test]
fn random_kernels_agree_on_every_machine() {
    let machines = Machines::open();
    for seed in 0..count() {
        let source = case(seed);
        let compiled =
            source.compile().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", source.source));
        if let Err(error) = machines.check(&compiled, true) {
            panic!("seed {seed}: {error}\n{}", source.source);
        }
    }
}
