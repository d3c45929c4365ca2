//! `tvmc tune`: candidates are timed, the fastest is stored for this machine, and what is stored is used where it holds, and nowhere else.
#![forbid(unsafe_code)]

mod common;

use common::{root, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tvmc::engine::Library;
use tvmc_ir::host::Number;
use tvmc_ir::module::Key;

/// The command with a cache of its own.
fn tvmc(cache: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tvmc"))
        .args(args)
        .env("TVMC_CACHE", cache)
        .current_dir(root())
        .output()
        .expect("the command starts")
}

const LINEAR: [&str; 11] = [
    "stdlib/linear.tile",
    "--kernel",
    "linear",
    "--arg",
    "x=f32[1,64]",
    "--arg",
    "w=q4_0[64,64]",
    "--arg",
    "y=f32[1,64]",
    "-t",
    "1",
];

fn tune(cache: &Path, more: &[&str]) -> Output {
    tvmc(cache, &[&["tune"], &LINEAR[..], &["-r", "1"], more].concat())
}

/// The value of BN that `bench` says it used.
fn used(cache: &Path, more: &[&str]) -> String {
    let output = tvmc(cache, &[&["bench"], &LINEAR[..], &["-r", "1", "--json"], more].concat());
    let text = stdout(&output);
    let at = text.find("BN = ").unwrap_or_else(|| panic!("{text}"));
    text[at + 5..].chars().take_while(char::is_ascii_digit).collect()
}

fn stored(cache: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(cache.join("tuned")).expect("a folder").collect();
    assert_eq!(files.len(), 1);
    files.remove(0).expect("a file").path()
}

/// Many rows of activations in groups take larger tiles on a CPU, as far as those stay full.
#[test]
fn tiles_of_large_products_are_larger() {
    let cache = tempfile::tempdir().unwrap();
    for (x, m, n, expected) in [
        ("act8", 64, 2048, "BM = 64, BN = 128"),
        ("act8", 64, 576, "BM = 64, BN = 64"),
        ("act8", 65, 2048, "BM = 32, BN = 64"),
        ("act8", 100, 2048, "BM = 64, BN = 128"),
        ("act8", 256, 2048, "BM = 128, BN = 128"),
        ("f32", 64, 2048, "BM = 32, BN = 64"),
    ] {
        let arguments = [format!("x={x}[{m},64]"), format!("w=q4_0[{n},64]"), format!("y=f32[{m},{n}]")];
        let mut args = LINEAR[..LINEAR.iter().position(|arg| *arg == "--arg").expect("arguments")].to_vec();
        args.insert(0, "bench");
        arguments.iter().for_each(|argument| args.extend(["--arg", argument]));
        args.extend(["-t", "1", "-r", "1", "--json"]);
        let text = stdout(&tvmc(cache.path(), &args));
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// Up to 64 rows on a device without matrices take tiles whose products lanes share: `linear` of 32 rows took 36 times as long in tiles of 32 x 64.
#[test]
fn tiles_of_few_rows_are_shared_on_a_gpu() {
    let cache = tempfile::tempdir().unwrap();
    let args = ["bench", "stdlib/linear.tile", "--kernel", "linear", "--target", "gpu", "-r", "1", "--json"];
    for x in ["act8", "f32"] {
        let x = format!("x={x}[32,64]");
        let args = [&args[..], &["--arg", &x, "--arg", "w=q4_0[64,64]", "--arg", "y=f32[32,64]"]].concat();
        let text = stdout(&tvmc(cache.path(), &args));
        assert!(text.contains("BM = 8, BN = 8"), "{text}");
    }
}

#[test]
fn what_is_stored_is_used_where_it_holds() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path();
    let output = tune(cache, &["--json", "--dry-run"]);
    let table: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let row = &table["rows"][0];
    assert_eq!(row["case"], "linear<W=q4_0, X=f32>[K=64, N=64, M<=1] w packed");
    assert_eq!(row["candidates"], 24, "six values of BM, four of BN");
    assert_eq!(row["rule"], "BM=1, BN=64");
    assert!(row["rule_by_chosen"].as_f64().unwrap() >= 1.0, "{row}");
    assert!(!cache.join("tuned").exists(), "a dry run stores nothing");

    tune(cache, &[]);
    let file = stored(cache);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let case = "linear<W=q4_0, X=f32>[K=64, N=64, M<=1] w packed";
    // Whatever won: from here on it is the other value.
    let mut store = |tunes: serde_json::Value, digest: Option<&str>| {
        document["choices"][case]["tunes"] = tunes;
        if let Some(digest) = digest {
            document["choices"][case]["digest"] = digest.into();
        }
        std::fs::write(&file, document.to_string()).unwrap();
    };
    store(serde_json::json!({"BM": 1, "BN": 8}), None);
    assert_eq!(used(cache, &[]), "8");
    assert_eq!(used(cache, &["--tuned", "off"]), "64", "left aside");
    assert_eq!(used(cache, &["--set", "BN=64"]), "64", "the user comes first");
    assert_eq!(used(cache, &["--target", "cranelift"]), "64", "another machine");
    store(serde_json::json!({"BM": 1, "BN": 7}), None);
    assert_eq!(used(cache, &[]), "64", "not offered");
    store(serde_json::json!({"BN": 8}), None);
    assert_eq!(used(cache, &[]), "64", "not every name");
    store(serde_json::json!({"BM": 1, "BN": 8}), Some("0123456789abcdef"));
    assert_eq!(used(cache, &[]), "64", "of other sources");

    for broken in ["{", "{\"version\":2,\"machine\":\"\",\"choices\":{}}"] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(used(cache, &[]), "64", "{broken}");
    }
    let output = tvmc(cache, &[&["bench"], &LINEAR[..], &["-r", "1"]].concat());
    assert!(stderr(&output, 0).contains("is not used"));
    tune(cache, &[]);
    assert!(std::fs::read_to_string(&file).unwrap().contains(case), "replaced");
    let forgotten = tvmc(cache, &["tune", "smollm2", "--forget", "-t", "1"]);
    assert!(stderr(&forgotten, 0).contains("is removed"));
    assert!(!file.exists());
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path();
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = tvmc(cache, &[&["tune"], args].concat());
        let said = stderr(&output, code);
        assert!(said.contains(words), "{args:?}: {said}");
    };
    refused(&["stdlib/linear.tile"], 2, "which kernel?");
    refused(&[&LINEAR[..], &["--target", "interp"]].concat(), 2, "to be right, not fast");
    refused(&[&LINEAR[..9], &["-t", "1,2"]].concat(), 2, "one number of --threads");
    refused(&[&LINEAR[..], &["-r", "0"]].concat(), 2, "at least 1");
    refused(&[&LINEAR[..], &["--set", "BM=1", "--set", "BN=64"]].concat(), 1, "offers nothing to choose");
    refused(&LINEAR[..5], 1, "argument `w` is missing");
}

/// A value that is computed from an element type was taken from a sample type, and the instance then refused it: `linear_swiglu` storing to `act8` failed on GPUs.
#[test]
fn tune_values_computed_from_element_types_are_those_of_the_instance() {
    let library = Library::standard("linear").expect("the standard library");
    let elements = [("X", "act8"), ("G", "q4_1"), ("U", "q4_1"), ("Y", "act8")];
    let mut key = Key {
        kernel: "linear_swiglu".to_owned(),
        elements: elements.iter().map(|(g, e)| ((*g).to_owned(), (*e).to_owned())).collect(),
        dims: vec![("K".to_owned(), 576), ("N".to_owned(), 1536)],
        ..Key::default()
    };
    let interface = library.interface_for(&key).expect("it is there");
    assert_eq!(interface.offered("BN"), [64, 32, 128]);
    let sizes = |name: &str| match name {
        "M" => Some(Number::Int(1)),
        "N" => Some(Number::Int(1536)),
        _ => None,
    };
    key.tunes = interface.choose(&sizes, &[]).expect("a choice");
    library.busy(&mut key, &sizes, &[], 512).expect("finer tiles");
    assert_eq!(key.tunes, [("BM".to_owned(), 1), ("BN".to_owned(), 32)]);
    library.instantiate(&key).expect("an instance");
}

/// Products with 8-bit activations of 32 rows took 82,432 bytes of workgroup memory, so that no prompt of 32 tokens ran on a GPU by default.
#[test]
fn tiles_fit_the_workgroup_memory_of_a_gpu() {
    if std::env::var_os("CI").is_none() && std::env::var_os("TVMC_GPU").is_none() {
        eprintln!("skipped: set CI=true or TVMC_GPU");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut args =
        vec!["bench", "stdlib/linear.tile", "--kernel", "linear_swiglu", "--target", "wgsl", "-r", "1"];
    for argument in ["x=act8[32,64]", "g=q4_0[64,64]", "u=q4_0[64,64]", "y=act8[32,64]"] {
        args.extend(["--arg", argument]);
    }
    let output = tvmc(dir.path(), &args);
    stdout(&output);
    // Who asks for tiles gets them, or is told why not.
    let output = tvmc(dir.path(), &[&args[..], &["--set", "BM=32", "--set", "BN=64"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("bytes of workgroup memory"), "{said}");
}
