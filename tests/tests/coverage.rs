//! Every diagnostic code, verifier rule, tile operation and lane operation has a filetest. The tables say what there is; nothing here
//! lists it again.

use std::collections::BTreeSet;
use tvmc_ir::lane::{self, Inst as LaneInst};
use tvmc_ir::tile::{Binary, CastRule, Form, Op, Reduce, Unary, Update};
use tvmc_lang::diag::Code;
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
    ("mir", 2, "a text places each of its blocks: `blocks_are_placed_once`"),
];

#[test]
fn every_verifier_rule_has_a_filetest() {
    let counts = [
        ("tir", tvmc_ir::tile::Rule::ALL.len() as u8),
        ("lir", lane::Rule::ALL.len() as u8),
        ("pir", tvmc_ir::program::Rule::ALL.len() as u8),
        ("mir", tvmc_backend_x86::mir::Rule::ALL.len() as u8),
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

#[test]
fn every_tile_operation_has_a_filetest_that_runs() {
    let mut found: Vec<Op> = Vec::new();
    for test in tests(Stage::Run).filter(|t| !t.is_lane()) {
        let kernel = filetests::instance(&test).unwrap_or_else(|e| panic!("{}: {e}", test.name()));
        kernel.body.visit(&mut |inst| found.push(inst.op.clone()));
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
    for update in Update::ALL {
        let atomic = |op: &Op| matches!(op, Op::Atomic { update: u, .. } if u == update);
        assert!(found.iter().any(atomic), "no filetest runs {update:?}");
    }
    for form in Form::ALL {
        assert!(found.iter().any(|op| op.form() == *form), "no filetest runs `{}`", form.name());
    }
    let padded = |p| found.iter().any(|op| matches!(op, Op::Load { padded, .. } if *padded == p));
    assert!(padded(true) && padded(false), "loads with and without a padding value");
}

/// What a file of `run` says a device may have too little for is the exception: without the line it must run, so these are all that ever do not.
#[test]
fn few_filetests_are_too_large_for_a_device() {
    let stated: Vec<String> = tests(Stage::Run)
        .filter(|test| test.all("too-large").next().is_some())
        .map(|test| format!("{}: {}", test.name(), test.all("too-large").collect::<Vec<_>>().join(", ")))
        .collect();
    assert!(stated.len() <= 4, "{} filetests may not run on a device: {stated:#?}", stated.len());
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

#[test]
fn every_lane_operation_has_a_filetest_that_runs() {
    let mut found = BTreeSet::new();
    for test in tests(Stage::Run).filter(FileTest::is_lane) {
        let function = lane::parse(&test.source).unwrap_or_else(|e| panic!("{}: {e}", test.name()));
        lane_visit(&function.body, &mut |inst| {
            found.insert(inst.op.form().name().to_owned());
            if let lane::Op::Pure(op) = inst.op {
                found.insert(op.info().name.to_owned());
            } else if let lane::Op::Reduce(op) = inst.op {
                found.insert(format!("reduce.{}", op.name()));
            } else if let lane::Op::Atomic { update, .. } = inst.op {
                found.insert(format!("atomic.{}", update.name()));
            } else if let lane::Op::Memory { form, .. } = inst.op {
                found.insert(form.name().to_owned());
            }
        });
    }
    let forms = lane::Form::ALL.iter().map(|form| form.name().to_owned());
    let pure = lane::Pure::ALL.iter().map(|op| op.info().name.to_owned());
    let reductions = lane::Reduce::ALL.iter().map(|op| format!("reduce.{}", op.name()));
    let accesses = lane::MemoryOp::ALL.iter().map(|form| form.name().to_owned());
    let updates = lane::Update::ALL.iter().map(|op| format!("atomic.{}", op.name()));
    let all = forms.chain(pure).chain(reductions).chain(accesses).chain(updates);
    let missing: Vec<String> = all.filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "no `.lir` file in `run` has {missing:?}");
}
