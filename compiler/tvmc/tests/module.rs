//! Module files: built, run, inspected, refused when damaged; a program from one answers as before.

mod common;

use common::{json, npy_f32, read_f32, root, stderr, stdout, tvmc, values};
use std::fs;
use std::path::Path;

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// A module of the example's matmul.
fn matmul(dir: &Path, extra: &[&str]) -> String {
    let file = path(dir, "m.tvm");
    stdout(&tvmc(&[&["build", "examples/matmul.tile", "-o", &file], extra].concat()));
    file
}

/// `bench` without `--kernel` took a module for a model, and `layout` took its name for an expression.
#[test]
fn bench_and_layout_know_a_module() {
    let dir = tempfile::tempdir().expect("a folder");
    let source = "kernel k(x: f32[N], y: out f32[N])\n  grid ceil(N, 16)\n{\n  let i = block[0] * 16;\n  y[i +: 16] = x[i +: 16];\n}\n";
    fs::write(dir.path().join("k.tile"), source).expect("written");
    let module = path(dir.path(), "k.tvm");
    stdout(&tvmc(&["build", &path(dir.path(), "k.tile"), "-o", &module]));
    let text = stderr(&tvmc(&["bench", &module]), 2);
    assert!(text.contains("give --kernel NAME") && text.contains("there is: k"), "{text}");
    let text = stdout(&tvmc(&["layout", &module, "--kernel", "k"]));
    assert_eq!(text, stdout(&tvmc(&["layout", &path(dir.path(), "k.tile"), "--kernel", "k"])));
}

#[test]
fn a_kernel_runs_from_its_module_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    // A source with another beside it; both are gone when the module runs.
    fs::write(dir.join("part.tile"), "fn twice(x: f32) -> f32 {\n  return 2.0 * x;\n}\n").expect("written");
    let source = "use \"part.tile\";\n\nkernel k(x: f32[N], y: out f32[N])\n  grid ceil(N, 16)\n{\n  let i = block[0] * 16;\n  y[i +: 16] = exp(twice(x[i +: 16]));\n}\n";
    fs::write(dir.join("k.tile"), source).expect("written");
    let module = path(dir, "k.tvm");
    stdout(&tvmc(&["build", &path(dir, "k.tile"), "-o", &module]));
    fs::remove_file(dir.join("part.tile")).expect("removed");
    fs::remove_file(dir.join("k.tile")).expect("removed");
    let text = fs::read(&module).expect("a module");
    let folder = dir.display().to_string();
    assert!(!String::from_utf8_lossy(&text).contains(&folder), "no folder of this machine is in the file");
    npy_f32(&dir.join("x.npy"), &[37], &values(37, 3));
    let x = format!("x={}", path(dir, "x.npy"));
    for target in ["cpu", "cranelift", "interp"] {
        let out = format!("y=f32[37]:{}", path(dir, "y.npy"));
        let run =
            ["run", &module, "--kernel", "k", "--arg", &x, "--out", &out, "--target", target, "--verify"];
        stdout(&tvmc(&run));
        let got = read_f32(&dir.join("y.npy"));
        for (y, x) in got.iter().zip(values(37, 3)) {
            let want = (2.0 * f64::from(x)).exp();
            assert!((f64::from(*y) - want).abs() <= want * 1e-6, "{y} {want}");
        }
    }
    stdout(&tvmc(&["check", &module]));
    let again = path(dir, "again.tvm");
    stdout(&tvmc(&["build", &module, "-o", &again]));
    assert_eq!(fs::read(&again).expect("a module"), text, "a module of a module is the same");
}

#[test]
fn a_specialised_module_names_its_instances() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = matmul(dir.path(), &["--kernel", "matmul", "--set", "K=97"]);
    let found = json(&tvmc(&["inspect", &file, "--json"]));
    assert_eq!(found["kind"], "module");
    assert_eq!(found["kernels"], serde_json::json!(["matmul"]));
    assert_eq!(found["instances"][0]["with"], "K = 97, BM = 16, BN = 64");
    assert_eq!(found["sources"][0]["name"], "matmul.tile");
    assert!(stdout(&tvmc(&["inspect", &file])).contains("instance  matmul with K = 97"));
    let text = stderr(
        &tvmc(&["build", "examples/matmul.tile", "--kernel", "matmul", "--set", "Q=1", "-o", "x.tvm"]),
        1,
    );
    assert!(text.contains('Q'), "{text}");
    let text = stderr(&tvmc(&["build", "examples/matmul.tile", "--set", "K=1", "-o", "x.tvm"]), 1);
    assert!(text.contains("--kernel"), "{text}");
    assert!(!root().join("x.tvm").exists());
}

#[test]
fn every_damaged_byte_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = matmul(dir.path(), &[]);
    let bytes = fs::read(&file).expect("a module");
    let read = |bytes: &[u8]| tvmc::engine::read_module(Path::new("m.tvm"), bytes);
    assert!(read(&bytes).is_ok());
    let mut damaged = bytes.clone();
    for at in 0..bytes.len() {
        damaged[at] ^= 1 << (at % 8);
        assert!(read(&damaged).is_err(), "byte {at}");
        damaged[at] = bytes[at];
    }
    for length in (0..bytes.len()).step_by(7) {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
    // As a user sees it: cut off, flipped, of another version.
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
    assert!(stderr(&tvmc(&["check", &file]), 1).contains("cut off"));
    damaged[1000] ^= 4;
    fs::write(&file, &damaged).expect("written");
    assert!(stderr(&tvmc(&["inspect", &file]), 1).contains("damaged"));
    let mut other = bytes.clone();
    other[8] = 9;
    fs::write(&file, &other).expect("written");
    assert!(stderr(&tvmc(&["run", &file, "--kernel", "matmul"]), 1).contains("version 9"));
}

#[test]
fn a_program_from_a_module_answers_as_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = path(dir.path(), "s.tvm");
    stdout(&tvmc(&["build", "stdlib/models/llama.tile", "--model", "smollm2", "-o", &file]));
    let found = json(&tvmc(&["inspect", &file, "--json"]));
    assert_eq!((&found["settings"]["D"], &found["settings"]["C"]), (&576.into(), &8192.into()));
    assert!(found["instances"].as_array().is_some_and(|list| list.len() > 20));
    let ask = ["--temp", "0", "-p", "Name the capital of France."];
    let chat = |program: &[&str]| stdout(&tvmc(&[&["chat", "smollm2"], program, &ask].concat()));
    assert_eq!(chat(&["--program", &file]), chat(&[]));
    // A module for other numbers is refused, and says which.
    let other = path(dir.path(), "other.tvm");
    stdout(&tvmc(&["build", "stdlib/models/llama.tile", "--set", "theta=10000.0", "-o", &other]));
    let text = stderr(&tvmc(&["logits", "smollm2", "--program", &other, "-p", "x"]), 1);
    assert!(text.contains("llama.rope.freq_base") && text.contains("100000"), "{text}");
    let kernels = matmul(dir.path(), &[]);
    assert!(
        stderr(&tvmc(&["logits", "smollm2", "--program", &kernels, "-p", "x"]), 1).contains("0 programs")
    );
}
