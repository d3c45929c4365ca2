//! Every diagnostic code, verifier rule, tile operation and lane operation has a filetest. The tables say what there is; nothing here
//! lists it again.

use std::collections::BTreeSet;
use std::mem::discriminant;
use tvmc_ir::lane::{self, Inst as LaneInst};
use tvmc_ir::tile::{Binary, CastRule, Inst, Op, Reduce, Region, Stmt, Unary};
use tvmc_lang::diag::Code;
use tvmc_passes::target::TARGETS;
use tvmc_passes::{Options, lower};
use tvmc_tests::filetests::{self, FileTest, Stage};

fn tests(stage: Stage) -> impl Iterator<Item = FileTest> {
    filetests::all().expect("readable filetests").into_iter().filter(move |t| t.stage == stage)
}

#[test]
fn every_diagnostic_code_has_a_filetest() {
    let shown: String = tests(Stage::Diag).filter_map(|t| t.expected).collect();
    let missing: Vec<String> = Code::ALL
        .iter()
        .map(ToString::to_string)
        .filter(|code| !shown.contains(&format!("[{code}]")))
        .collect();
    assert!(missing.is_empty(), "no filetest shows {missing:?}");
}

/// Rules that no text form can break, with the test that breaks them.
const OUT_OF_TEXT: &[(&str, u8, &str)] = &[
    ("tir", 19, "the text form of tile IR has places, not their numbers: `tile_verify`"),
    ("lir", 19, "the parser writes scalar arguments itself: `lane_verify`"),
    ("pir", 15, "launches are judged against interfaces: `program_verify`, as the following"),
    ("pir", 16, "an interface"),
    ("pir", 17, "an interface"),
    ("pir", 18, "an interface"),
    ("pir", 19, "an interface"),
    ("pir", 20, "an interface"),
    ("pir", 21, "an interface"),
];

#[test]
fn every_verifier_rule_has_a_filetest() {
    let counts = [
        ("tir", tvmc_ir::tile::Rule::LAST as u8),
        ("lir", lane::Rule::LAST as u8),
        ("pir", tvmc_ir::program::Rule::LAST as u8),
    ];
    for (kind, last) in counts {
        let of_kind = |t: &FileTest| t.path.extension().is_some_and(|e| e == kind);
        let shown: String = tests(Stage::Verify).filter(of_kind).filter_map(|t| t.expected).collect();
        for rule in 1..=last {
            let broken = shown.contains(&format!("(rule {rule})"));
            let exempt = OUT_OF_TEXT.iter().any(|(k, r, _)| (*k, *r) == (kind, rule));
            assert!(broken != exempt, "rule {rule} of {kind}: broken by a file {broken}, exempt {exempt}");
        }
    }
}

fn visit<'a>(region: &'a Region, each: &mut dyn FnMut(&'a Inst)) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Inst(inst) => each(inst),
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => visit(body, each),
            Stmt::If { then, otherwise, .. } => {
                visit(then, each);
                visit(otherwise, each);
            }
        }
    }
}

/// One operation of each kind. An operation that is added gives an error here, and then one below if no filetest has it.
fn kinds() -> Vec<Op> {
    let all = [
        Op::Const(0),
        Op::Dim(tvmc_ir::tile::Dim(0)),
        Op::Scalar(tvmc_ir::tile::Param(0)),
        Op::BlockIndex(0),
        Op::Iota,
        Op::Fma,
        Op::Select,
        Op::Bitcast,
        Op::View,
        Op::Relayout,
        Op::Broadcast,
        Op::Reshape,
        Op::Permute(Vec::new()),
        Op::Dot,
        Op::Field(0),
        Op::Table(0),
        Op::GroupIndex,
        Op::Assert(0),
        Op::Print(0),
    ];
    for op in &all {
        match op {
            Op::Const(_) | Op::Dim(_) | Op::Scalar(_) | Op::BlockIndex(_) | Op::Iota | Op::Fma => {}
            Op::Select | Op::Bitcast | Op::View | Op::Relayout => {}
            Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Dot => {}
            Op::Field(_) | Op::Table(_) | Op::GroupIndex | Op::Assert(_) | Op::Print(_) => {}
            // Those with rows of their own, and loads and stores, which have fields: looked for by name.
            Op::Unary(_) | Op::Binary(_) | Op::Cast(_) | Op::Reduce(..) => {}
            Op::Load { .. } | Op::Store { .. } | Op::StoreGroups { .. } => {}
        }
    }
    all.to_vec()
}

#[test]
fn every_tile_operation_has_a_filetest_that_runs() {
    let mut found: Vec<Op> = Vec::new();
    for test in tests(Stage::Run) {
        let kernel = filetests::instance(&test).unwrap_or_else(|e| panic!("{}: {e}", test.name()));
        visit(&kernel.body, &mut |inst| found.push(inst.op.clone()));
        for format in &kernel.formats {
            found.extend(format.decode.insts.iter().map(|inst| inst.op.clone()));
        }
    }
    let has = |wanted: Op| assert!(found.contains(&wanted), "no filetest runs {wanted:?}");
    Unary::ALL.iter().for_each(|op| has(Op::Unary(*op)));
    Binary::ALL.iter().for_each(|op| has(Op::Binary(*op)));
    CastRule::ALL.iter().for_each(|rule| has(Op::Cast(*rule)));
    for reduce in Reduce::ALL {
        assert!(
            found.iter().any(|op| matches!(op, Op::Reduce(r, _) if r == reduce)),
            "no filetest runs {reduce:?}"
        );
    }
    for kind in kinds() {
        assert!(
            found.iter().any(|op| discriminant(op) == discriminant(&kind)),
            "no filetest runs {kind:?} or its like"
        );
    }
    let padded = |p| found.iter().any(|op| matches!(op, Op::Load { padded, .. } if *padded == p));
    assert!(padded(true) && padded(false), "loads with and without a padding value");
    assert!(found.iter().any(|op| matches!(op, Op::Store { .. })), "a store");
    assert!(found.iter().any(|op| matches!(op, Op::StoreGroups { .. })), "a store of whole groups");
}

fn lane_visit<'a>(region: &'a lane::Region, each: &mut dyn FnMut(&'a LaneInst)) {
    for stmt in &region.stmts {
        match stmt {
            lane::Stmt::Inst(inst) => each(inst),
            lane::Stmt::For { body, .. } | lane::Stmt::Loop { body, .. } => lane_visit(body, each),
            lane::Stmt::If { then, otherwise, .. } => {
                lane_visit(then, each);
                lane_visit(otherwise, each);
            }
        }
    }
}

/// Element-wise lane operations that no source lowers to yet; samples of the lane interpreter run them on every backend.
const ONLY_IN_LANE_TEXT: &[&str] =
    &["dot4.ss", "dot4.uu", "lsub", "leq", "llt_s", "u32_to_i64", "i64_to_i32"];

#[test]
fn every_elementwise_lane_operation_comes_from_a_filetest() {
    let mut found = BTreeSet::new();
    let mut gather = |function: &lane::Function| {
        lane_visit(&function.body, &mut |inst| {
            if let lane::Op::Pure(pure) = inst.op {
                found.insert(pure.info().name);
            }
        });
    };
    for test in tests(Stage::Run) {
        let kernel = filetests::instance(&test).unwrap_or_else(|e| panic!("{}: {e}", test.name()));
        for target in TARGETS {
            let lowered = lower(&kernel, &target, &Options::default());
            gather(&lowered.unwrap_or_else(|e| panic!("{}: {e}", test.name())).function);
        }
    }
    for entry in std::fs::read_dir(filetests::folder().join("lane")).expect("lane kernels") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        gather(&lane::parse(&text).unwrap_or_else(|e| panic!("{e}")));
    }
    let missing: Vec<&str> = lane::Pure::ALL
        .iter()
        .map(|op| op.info().name)
        .filter(|name| !found.contains(name) && !ONLY_IN_LANE_TEXT.contains(name))
        .collect();
    assert!(missing.is_empty(), "no filetest has {missing:?}");
}
