//! What random kernels hold: every operation of the tables, every type, and of the pairs of both that the verifier takes all that the generator means to draw.

use std::collections::BTreeSet;
use tvmc_tests::generate::{Floats, Pair, generate, operations, pairs, taken};
use tvmc_tests::random::Random;
use tvmc_types::dtype::DType;

/// Kernels that are drawn; none runs.
const KERNELS: u32 = 24_000;

/// What many random kernels hold.
fn drawn() -> BTreeSet<Pair> {
    let mut noise = Random::new(5);
    let mut drawn = BTreeSet::new();
    for number in 0..KERNELS {
        let tape: Vec<u32> = (0..noise.below(300)).map(|_| noise.below(2520) as u32).collect();
        let floats = if number % 2 == 0 { Floats::Exact } else { Floats::Wild };
        drawn.extend(pairs(&generate(&tape, floats).kernel));
    }
    drawn
}

#[test]
fn every_operation_is_drawn_with_every_type() {
    let drawn = drawn();
    let words: BTreeSet<&str> = drawn.iter().map(|(op, _)| op.as_str()).collect();
    let missing: Vec<String> = operations().into_iter().filter(|op| !words.contains(op.as_str())).collect();
    assert!(missing.is_empty(), "random kernels never hold {missing:?}");

    let types: BTreeSet<&str> = drawn.iter().flat_map(|(_, dtype)| dtype.split(" to ")).collect();
    let missing: Vec<&str> = DType::ALL
        .iter()
        .filter(|dtype| dtype.bits() <= 32)
        .map(|dtype| dtype.name())
        .filter(|name| !types.contains(name))
        .collect();
    assert!(missing.is_empty(), "random kernels never hold a {missing:?}");

    // What lanes compute with. Other types are converted and moved: some thousand pairs, which a long run counts.
    let computing = [DType::F32, DType::I32, DType::U32, DType::BOOL].map(|dtype| dtype.name());
    let missing: Vec<Pair> = taken()
        .into_iter()
        .filter(|(_, dtype)| dtype.split(" to ").all(|name| computing.contains(&name)))
        .filter(|pair| !drawn.contains(pair))
        .collect();
    assert!(missing.is_empty(), "random kernels never hold {missing:?}");
}
