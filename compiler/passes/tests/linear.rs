//! The lowering of `linear` for all targets passes the verifier, keeps accumulators where they belong, and stays small.

mod common;

use tvmc_ir::lane::{Op, Stmt, verify};
use tvmc_passes::packing::Packing;
use tvmc_passes::{Options, lower, target};

fn options() -> Options {
    Options {
        packing: vec![Packing::AsDeclared, Packing::Interleaved, Packing::AsDeclared],
        ..Options::default()
    }
}

#[test]
fn every_target_and_shape_verifies() {
    for target in target::TARGETS {
        for (bm, bn, bk, n, k) in
            [(1, 64, 32, 576, 576), (32, 64, 32, 576, 576), (8, 64, 32, 51, 97), (5, 24, 8, 24, 64)]
        {
            for format in [None, Some(common::q4_like())] {
                for options in [options(), Options::default()] {
                    let kernel = common::linear(format.clone(), bm, bn, bk, n, k);
                    let lowered = lower(&kernel, &target, &options).expect("it lowers");
                    let text = lowered.function.to_string();
                    if let Err(errors) = verify(lowered.function) {
                        panic!("{} {bm}x{bn}x{bk}: {errors:?}\n{text}", target.name);
                    }
                }
            }
        }
    }
}

#[test]
fn a_vector_product_keeps_its_accumulators_in_registers() {
    let kernel = common::linear(Some(common::q4_like()), 1, 64, 32, 576, 576);
    let lowered = lower(&kernel, &target::X86_V4, &options()).expect("it lowers");
    assert!(lowered.function.arenas.is_empty());
    let carried = lowered.function.body.stmts.iter().find_map(|s| match s {
        Stmt::For { carried, .. } => Some(carried.len()),
        _ => None,
    });
    assert_eq!(carried, Some(4));
    if std::env::var_os("SHOW").is_some() {
        println!("{}", lowered.function);
    }
}

fn gathers(stmts: &[Stmt]) -> usize {
    stmts
        .iter()
        .map(|s| match s {
            Stmt::Inst(i) => {
                usize::from(matches!(i.op, Op::Memory { form: tvmc_ir::lane::MemoryOp::Gather, .. }))
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => gathers(&body.stmts),
            Stmt::If { then, otherwise, .. } => gathers(&then.stmts) + gathers(&otherwise.stmts),
        })
        .sum()
}

#[test]
fn packed_weights_are_read_by_neighbouring_lanes() {
    let kernel = common::linear(Some(common::q4_like()), 32, 64, 32, 576, 576);
    let lowered = lower(&kernel, &target::X86_V4, &options()).expect("it lowers");
    if std::env::var_os("SHOW").is_some() {
        println!("{}", lowered.function);
    }
    assert_eq!(gathers(&lowered.function.body.stmts), 0);
}

/// A tile of more rows of weights than a block of packing has: each chunk of lanes is in one block still.
#[test]
fn rows_in_words_are_read_by_neighbouring_lanes_of_wide_tiles() {
    let format = tvmc_ir::tile::Format { bytes: 22, ..common::q4_like() };
    let packing = vec![Packing::AsDeclared, Packing::Words, Packing::AsDeclared];
    let kernel = common::linear(Some(format), 32, 128, 32, 512, 576);
    let options = Options { packing, ..Options::default() };
    let lowered = lower(&kernel, &target::X86_V4, &options).expect("it lowers");
    assert_eq!(gathers(&lowered.function.body.stmts), 0);
}
