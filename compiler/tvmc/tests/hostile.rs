//! Bad input of every kind: a clear error with exit code 1 or 2, never a panic, never memory or time without bound.

mod common;

use common::{npy_f32, stderr, stdout, tvmc, tvmc_within, values};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("a writable folder");
    path.display().to_string()
}

/// Address space that a command may take beyond the sizes of the files it is given, in KiB: 256 MiB, and as much again for code, stacks and
/// the allocator's arenas, which take addresses but no memory.
const SPACE: u64 = 512 << 10;

/// Runs a command that must fail cleanly, within this time and with little memory.
fn fails(args: &[&str]) -> String {
    let start = Instant::now();
    let files: u64 = args.iter().filter_map(|a| fs::metadata(a).ok()).map(|m| m.len() >> 10).sum();
    let text = stderr(&tvmc_within(args, SPACE + files), 1);
    assert!(start.elapsed() < Duration::from_secs(60), "{args:?} took {:?}", start.elapsed());
    text
}

#[test]
fn truncated_models_are_refused() {
    let path = stdout(&tvmc(&["fetch", "smollm2"]));
    let model = fs::read(path.trim()).expect("the model");
    let dir = tempfile::tempdir().expect("a folder");
    let mut state = 42u64;
    for at in 0..50 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // Most cuts fall into the header, where structure is; some into the weights.
        let range = if at % 5 == 0 { model.len() } else { 1_800_000 };
        let length = (state >> 33) as usize % range;
        let file = write(dir.path(), "cut.gguf", &model[..length]);
        fails(&["logits", &file, "-p", "x"]);
    }
    let empty = write(dir.path(), "empty.gguf", b"");
    fails(&["logits", &empty, "-p", "x"]);
    fails(&["logits", &dir.path().display().to_string(), "-p", "x"]);
}

fn source(dir: &Path, text: &str) -> String {
    let file = write(dir, "bad.tile", text.as_bytes());
    fails(&["check", &file])
}

#[test]
fn bad_sources_are_explained() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let kernel =
        |body: &str| format!("kernel k(x: f32[N], y: out f32[N])\n  grid ceil(N, 16)\n{{\n{body}\n}}\n");
    let deep = format!("const A = {}1{};", "(".repeat(10_000), ")".repeat(10_000));
    assert!(source(dir, &deep).contains("E0105"));
    assert!(source(dir, &format!("const A = {}1;", "-".repeat(10_000))).contains("E0105"));
    assert!(source(dir, "use \"never ends;\n").contains("E0002"));
    assert!(source(dir, &kernel("  y[0 +: 16] = x[0 +: 16] + z;")).contains("E0201"));
    assert!(
        source(dir, &kernel("  let s = sum(exp(x[block[0] * 16 +: 16]));\n  y[0] = s;")).contains("E0601")
    );
    assert!(source(dir, &kernel("  x[0 +: 16] = y[0 +: 16];")).contains("E0602"));
    assert!(source(dir, &kernel("  let t = x[0 +: 16] + zeros f32[3];")).contains("E0302"));
    assert!(source(dir, &kernel("  let t: f32[16] @ local(8) = x[0 +: 16];")).contains("E0502"));
    assert!(
        source(dir, "fn f(x: f32) -> f32 { return g(x); }\nfn g(x: f32) -> f32 { return f(x); }\n")
            .contains("E0207")
    );
    assert!(source(dir, "kernel k(x: f32[N]) { let a = x[0]; }\n").contains("E0403"));
    assert!(source(dir, "format f { group 3 { q: u3[3]; } value[i] = q[i]; }\n").contains("E0701"));
    let first = write(dir, "first.tile", b"use \"second.tile\";\nfn f(x: f32) -> f32 { return g(x); }\n");
    write(dir, "second.tile", b"use \"first.tile\";\nfn g(x: f32) -> f32 { return f(x); }\n");
    assert!(fails(&["check", &first]).contains("E0208"));
    let several = source(dir, &kernel("  let a = nothing1;\n  let b = nothing2;\n  let c = nothing3;"));
    assert_eq!(several.matches("E0201").count(), 3, "{several}");
    let file = write(dir, "utf8.tile", b"const A = 1;\n\xff\xfe\n");
    assert!(fails(&["check", &file]).contains("UTF-8"));
    let file = write(dir, "large.tile", "// filler\n".repeat(600_000).as_bytes());
    fails(&["check", &file]);
}

#[test]
fn zero_sized_tensors_and_garbage_arrays() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    npy_f32(&dir.join("a.npy"), &[0, 4], &[]);
    npy_f32(&dir.join("b.npy"), &[4, 3], &values(12, 1));
    let a = format!("a={}", dir.join("a.npy").display());
    let b = format!("b={}", dir.join("b.npy").display());
    let out = format!("c=f32[0,3]:{}", dir.join("c.npy").display());
    let run = ["run", "examples/matmul.tile", "--kernel", "matmul"];
    for target in ["cpu", "cranelift", "interp"] {
        stdout(&tvmc(&[&run[..], &["--arg", &a, "--arg", &b, "--out", &out, "--target", target]].concat()));
    }
    write(dir, "garbage.npy", b"this is no array");
    let garbage = format!("a={}", dir.join("garbage.npy").display());
    fails(&[&run[..], &["--arg", &garbage, "--arg", &b, "--out", &out]].concat());
    let mut huge = b"\x93NUMPY\x01\x00".to_vec();
    let header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 4), }\n";
    huge.extend((header.len() as u16).to_le_bytes());
    huge.extend(header);
    write(dir, "huge.npy", &huge);
    let huge = format!("a={}", dir.join("huge.npy").display());
    fails(&[&run[..], &["--arg", &huge, "--arg", &b, "--out", &out]].concat());
    let nowhere = format!("c=f32[0,3]:{}", dir.join("no/such/folder/c.npy").display());
    fails(&[&run[..], &["--arg", &a, "--arg", &b, "--out", &nowhere]].concat());
    stderr(&tvmc(&[&run[..], &["--target", "abacus"]].concat()), 2);
    stderr(&tvmc(&[&run[..], &["--arg", &a, "--arg", &b, "--out", &out, "--threads", "0"]].concat()), 2);
}

/// Numbers of a model that no memory holds, that are divided by, or that are none: others indexed fixed tables with them (llama.cpp P26690).
#[test]
fn hyper_parameters_out_of_all_bounds_are_refused() {
    use tvmc_weights::gguf::{Array, GgufWriter, Value};
    let dir = tempfile::tempdir().expect("a folder");
    let numbers = [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "context_length",
        "rope.dimension_count",
    ];
    let bad = [
        Value::U32(0),
        Value::U32(u32::MAX),
        Value::I32(-1),
        Value::U64(u64::MAX),
        Value::F32(f32::NAN),
        Value::String("2".into()),
    ];
    for (at, wrong) in numbers.iter().enumerate().flat_map(|(at, _)| bad.iter().map(move |value| (at, value)))
    {
        let mut writer = GgufWriter::new();
        let mut add = |key: &str, value: Value| {
            writer.metadata(key, value).expect("sound");
        };
        add("general.architecture", Value::String("llama".into()));
        for (number, name) in numbers.iter().enumerate() {
            let value = if number == at { wrong.clone() } else { Value::U32(2) };
            add(&format!("llama.{name}"), value);
        }
        add("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        add("llama.rope.freq_base", Value::F32(1e4));
        add("tokenizer.ggml.model", Value::String("llama".into()));
        let tokens: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        add(
            "tokenizer.ggml.tokens",
            Value::Array(Array::String(tokens.iter().map(String::as_str).collect())),
        );
        add("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; 256])));
        add("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![6; 256])));
        writer.tensor("token_embd.weight", &[256, 2], "f32", vec![0; 2048]).expect("sound");
        let file = write(dir.path(), "model.gguf", &writer.to_bytes().expect("sound"));
        let words = fails(&["logits", &file, "-p", "x"]);
        assert!(!words.contains("internal error"), "{} = {wrong:?}: {words}", numbers[at]);
    }
}
