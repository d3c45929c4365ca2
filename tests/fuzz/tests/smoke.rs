//! A short run of every target as an ordinary test, so that the fuzzer always builds and its corpus stays sound.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tvmc_fuzz::Target;
use tvmc_fuzz::worker::{Work, work};

/// Peaks of memory are those of the whole process: one target at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn smoke(target: Target, count: u64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let task = Work { target, seed: 1, first: 0, count, time: Duration::from_secs(600) };
    let (tally, stuck) = work(task, &mut |_| {}, &mut |_| {});
    assert!(tally.findings.is_empty(), "{:#?}", tally.findings);
    assert!(!stuck && tally.tried == count && tally.accepted > 0, "{} of {}", tally.accepted, tally.tried);
}

macro_rules! smoke {
    ($($name:ident $target:ident $count:literal;)*) => {
        $(#[test] fn $name() { smoke(Target::$target, $count); })*

        #[test]
        fn every_target_has_a_smoke_test() {
            assert_eq!(Target::all(), [$(Target::$target),*]);
        }
    };
}

smoke! {
    source Source 600;
    tokens Tokens 600;
    ir Ir 600;
    modules Module 600;
    gguf Gguf 600;
    safetensors SafeTensors 600;
    arrays Npy 600;
    templates Template 200;
    prompts Prompt 300;
    kernels Kernels 12;
    programs Programs 8;
}

#[test]
fn the_command_reports_what_it_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_tvmc-fuzz"))
        .args([
            "--minutes",
            "0.02",
            "--seed",
            "5",
            "--jobs",
            "1",
            "--target",
            "npy",
            "--target",
            "safetensors",
        ])
        .arg("--save")
        .arg(folder.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}");
    assert!(
        text.contains("| npy |") && text.contains("| safetensors |") && text.contains("file mutations"),
        "{text}"
    );
}

/// A copy of the program is all that a run needs: it reads nothing of the source tree, and writes nothing where it was started.
#[test]
fn a_copied_program_runs_with_more_jobs_than_targets() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = tempfile::tempdir().expect("a folder to start it in");
    let program = folder.path().join("tvmc-fuzz");
    std::fs::copy(env!("CARGO_BIN_EXE_tvmc-fuzz"), &program).expect("a copy");
    let run = std::process::Command::new(&program)
        .args(["--minutes", "0.02", "--seed", "5", "--jobs", "3", "--target", "npy"])
        .current_dir(started.path())
        .output()
        .expect("it runs");
    let (text, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{text}{log}");
    let inputs = |line: &str| line.split(' ').find_map(|word| word.parse::<u64>().ok());
    let parts: Vec<u64> =
        (5..8).filter_map(|seed| inputs(log.split_once(&format!("npy, seed {seed}: "))?.1)).collect();
    assert_eq!(parts.len(), 3, "a line for each seed: {log}");
    assert!(parts.iter().all(|part| *part > 0), "{log}");
    let total = format!("| npy | {} |", parts.iter().sum::<u64>());
    assert!(text.contains(&total) && text.matches("| npy |").count() == 1, "one row, {total}: {text}");
    assert_eq!(std::fs::read_dir(started.path()).expect("a readable folder").count(), 0);
}
