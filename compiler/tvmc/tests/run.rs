//! `tvmc run`: a user's own kernels on `.npy` files of ragged sizes, on every target, against plain Rust arithmetic in f64.

mod common;

use common::{npy, npy_f32, read_f32, stderr, stdout, tvmc, values};
use std::path::Path;

const M: usize = 37;
const N: usize = 51;
const K: usize = 97;

fn targets() -> Vec<&'static str> {
    let mut targets = vec!["cpu", "cranelift", "interp"];
    if std::env::var_os("CI").is_some() || std::env::var_os("TVMC_GPU").is_some() {
        targets.push("wgsl");
    } else {
        eprintln!("skipped target wgsl: set CI=true or TVMC_GPU");
    }
    targets
}

/// |a - b| <= 2 (K + 8) eps sum |x w|, the bound of the reference.
fn close(got: &[f32], x: &[f32], w: &dyn Fn(usize, usize) -> f64) {
    for m in 0..M {
        for n in 0..N {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for k in 0..K {
                let term = f64::from(x[m * K + k]) * w(n, k);
                sum += term;
                magnitude += term.abs();
            }
            let bound = 2.0 * (K as f64 + 8.0) * f64::from(f32::EPSILON) * magnitude;
            let value = f64::from(got[m * N + n]);
            assert!((value - sum).abs() <= bound, "[{m}, {n}] is {value}, expected {sum} within {bound}");
        }
    }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// The policy is an option of every command that runs kernels; code for C has its bounds proved.
#[test]
fn bounds_can_be_checked_by_the_code_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let (a, b) = (values(M * K, 1), values(K * N, 2));
    npy_f32(&dir.join("a.npy"), &[M, K], &a);
    npy_f32(&dir.join("b.npy"), &[K, N], &b);
    let (a_arg, b_arg) = (format!("a={}", path(dir, "a.npy")), format!("b={}", path(dir, "b.npy")));
    for target in targets().into_iter().chain(["x86"]) {
        let result = |bounds: &str| {
            let out = format!("c=f32[{M},{N}]:{}", path(dir, "c.npy"));
            let run = ["run", "examples/matmul.tile", "--kernel", "matmul", "--arg", &a_arg, "--arg", &b_arg];
            let output = tvmc(&[&run[..], &["--out", &out, "--target", target, "--bounds", bounds]].concat());
            if target == "x86" && !output.status.success() {
                assert!(stderr(&output, 1).contains("lacks"), "an old processor, or a mistake");
            }
            std::fs::read(dir.join("c.npy")).expect("written")
        };
        assert!(result("proved") == result("checked"), "{target}");
    }
    let emit = |form: &str, bounds: &str| {
        let set = ["--set", "M=64", "--set", "N=64", "--set", "K=64", "--bounds", bounds];
        tvmc(&[&["build", "examples/matmul.tile", "--kernel", "matmul", "--emit", form][..], &set].concat())
    };
    assert!(stdout(&emit("lane", "checked")).contains("out of bounds: `a` is read outside its elements"));
    assert!(!stdout(&emit("lane", "proved")).contains("out of bounds"));
    assert!(stderr(&emit("header", "checked"), 2).contains("--bounds checked"));
}

#[test]
fn a_matmul_on_ragged_sizes() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let (a, b) = (values(M * K, 1), values(K * N, 2));
    npy_f32(&dir.join("a.npy"), &[M, K], &a);
    npy_f32(&dir.join("b.npy"), &[K, N], &b);
    for target in targets() {
        let out = format!("c=f32[{M},{N}]:{}", path(dir, "c.npy"));
        let (a_arg, b_arg) = (format!("a={}", path(dir, "a.npy")), format!("b={}", path(dir, "b.npy")));
        let args = [
            "run",
            "examples/matmul.tile",
            "--kernel",
            "matmul",
            "--arg",
            &a_arg,
            "--arg",
            &b_arg,
            "--out",
            &out,
            "--verify",
            "--target",
            target,
        ];
        stdout(&tvmc(&args));
        close(&read_f32(&dir.join("c.npy")), &a, &|n, k| f64::from(b[k * N + n]));
    }
}

/// 5-bit codes in groups of 24 with an f16 scale: a width and a group that no file has.
#[test]
fn a_format_of_ones_own_on_ragged_sizes() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let x = values(M * K, 3);
    npy_f32(&dir.join("x.npy"), &[M, K], &x);
    let groups = K.div_ceil(24);
    let mut bytes = Vec::new();
    let mut weights = vec![0.0f64; N * groups * 24];
    let mut state = 12345u32;
    for group in 0..N * groups {
        // Scales that f16 holds exactly: 1/64 to 1/16.
        let scale = [0x2400u16, 0x2800, 0x2c00][group % 3];
        let value = [1.0 / 64.0, 1.0 / 32.0, 1.0 / 16.0][group % 3];
        // 16 + 24 * 5 bits, least significant first.
        let mut bits = vec![0u8; 17];
        bits[..2].copy_from_slice(&scale.to_le_bytes());
        for i in 0..24 {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let code = state >> 27;
            for bit in 0..5 {
                let at = 16 + 5 * i + bit;
                bits[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
            }
            weights[group * 24 + i] = value * (f64::from(code) - 16.0);
        }
        bytes.extend(bits);
    }
    npy(&dir.join("w.npy"), "|u1", &[N, groups * 17], &bytes);
    for target in targets() {
        let out = format!("y=f32[{M},{N}]:{}", path(dir, "y.npy"));
        let (x_arg, w_arg) = (format!("x={}", path(dir, "x.npy")), format!("w={}", path(dir, "w.npy")));
        let args = [
            "run",
            "examples/own_format.tile",
            "--kernel",
            "product",
            "--arg",
            &x_arg,
            "--arg",
            &w_arg,
            "--out",
            &out,
            "--target",
            target,
        ];
        stdout(&tvmc(&args));
        close(&read_f32(&dir.join("y.npy")), &x, &|n, k| weights[(n * groups + k / 24) * 24 + k % 24]);
    }
}

#[test]
fn softmax_rows_sum_to_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let x = values(M * K, 5);
    npy_f32(&dir.join("x.npy"), &[M, K], &x);
    for target in targets() {
        let out = format!("y=f32[{M},{K}]:{}", path(dir, "y.npy"));
        let x_arg = format!("x={}", path(dir, "x.npy"));
        stdout(&tvmc(&[
            "run",
            "examples/softmax.tile",
            "--kernel",
            "softmax",
            "--arg",
            &x_arg,
            "--out",
            &out,
            "--target",
            target,
        ]));
        let y = read_f32(&dir.join("y.npy"));
        for m in 0..M {
            let row = &x[m * K..(m + 1) * K];
            let sum: f64 = row.iter().map(|v| f64::from(*v).exp()).sum();
            for k in 0..K {
                let want = f64::from(row[k]).exp() / sum;
                assert!((f64::from(y[m * K + k]) - want).abs() <= 1e-6 * want + 1e-9, "{target} [{m}, {k}]");
            }
        }
    }
}

/// Each mistake has its words, an exit code of 1 or 2, and no panic.
#[test]
fn mistakes_are_explained() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    npy_f32(&dir.join("a.npy"), &[4, 8], &values(32, 1));
    npy_f32(&dir.join("b.npy"), &[9, 5], &values(45, 1));
    npy(&dir.join("half.npy"), "<f2", &[4, 8], &[0; 64]);
    npy_f32(&dir.join("flat.npy"), &[32], &values(32, 1));
    let a = format!("a={}", path(dir, "a.npy"));
    let b = format!("b={}", path(dir, "b.npy"));
    let half = format!("a={}", path(dir, "half.npy"));
    let flat = format!("a={}", path(dir, "flat.npy"));
    let out = format!("c=f32[4,5]:{}", path(dir, "c.npy"));
    let base = ["run", "examples/matmul.tile", "--kernel", "matmul"];
    let run = |more: &[&str], code: i32| stderr(&tvmc(&[&base[..], more].concat()), code);
    assert!(run(&["--arg", &a, "--out", &out], 1).contains("`b` is missing"));
    assert!(run(&["--arg", &a, "--arg", &b, "--out", &out], 1).contains("dimension `K`"));
    assert!(run(&["--arg", &half, "--arg", &b, "--out", &out], 1).contains("f16"));
    assert!(run(&["--arg", &flat, "--arg", &b, "--out", &out], 1).contains("dimensions"));
    assert!(run(&["--arg", "z=1"], 1).contains("no argument `z`"));
    assert!(run(&["--arg", "nonsense"], 2).contains("NAME=VALUE"));
    assert!(run(&["--arg", "a=/does/not/exist.npy"], 1).contains("exist.npy"));
    assert!(stderr(&tvmc(&["run", "examples/matmul.tile", "--kernel", "nothing"]), 1).contains("nothing"));
    assert!(stderr(&tvmc(&["run", "examples/none.tile", "--kernel", "x"]), 1).contains("none.tile"));
    stderr(&tvmc(&["chat"]), 2);
    stderr(&tvmc(&["logits", "no-such-model", "-p", "x"]), 1);
    std::fs::write(dir.join("text.gguf"), "this is no model").expect("a writable folder");
    assert!(stderr(&tvmc(&["logits", &path(dir, "text.gguf"), "-p", "x"]), 1).contains("GGUF"));
}

#[test]
fn a_program_is_shown_as_text_that_reads_back() {
    let file = format!("{}/../../stdlib/models/llama.tile", env!("CARGO_MANIFEST_DIR"));
    let output = tvmc(&["build", &file, "--emit", "program"]);
    let text = stdout(&output);
    assert!(text.starts_with("program @llama {"), "{text}");
    assert!(text.contains("launch attention("), "{text}");
    let kernels = format!("{}/../../examples/matmul.tile", env!("CARGO_MANIFEST_DIR"));
    let none = tvmc(&["build", &kernels, "--emit", "program"]);
    assert!(stderr(&none, 1).contains("has no program"));
}

/// Compiled targets printed whole registers: what lies past a tile's end, as many elements as the target has lanes, without its axes. The place in the source, which a
/// module keeps, stands in front.
#[test]
fn a_printed_tile_is_the_same_on_every_target() {
    let dir = tempfile::tempdir().unwrap();
    let source = "
kernel p(x: f32[N], n: i32)
  grid 2
{
  let t = x[0 +: 6];
  print(\"block {} of {}: {} {} {}\", block[0], n, t.reshape(2, 3), x[1], x[0 +: 20] as i32 saturate);
}";
    std::fs::write(dir.path().join("p.tile"), source).unwrap();
    let x: Vec<f32> = (0..40).map(|i| i as f32 / 2.0).collect();
    npy_f32(&dir.path().join("x.npy"), &[40], &x);
    let (file, x) = (path(dir.path(), "p.tile"), format!("x={}", path(dir.path(), "x.npy")));
    let wanted = |block: u32| {
        let ints: Vec<String> = (0..20).map(|i| (i / 2).to_string()).collect();
        format!(
            "{file}:6:3: block {block} of 7: [[0.0, 0.5, 1.0], [1.5, 2.0, 2.5]] 0.5 [{}]",
            ints.join(", ")
        )
    };
    let module = path(dir.path(), "p.tvm");
    stdout(&tvmc(&["build", &file, "--kernel", "p", "-o", &module]));
    for (target, file) in targets().iter().flat_map(|target| [(target, &file), (target, &module)]) {
        let output = tvmc(&["run", file, "--kernel", "p", "--arg", &x, "--arg", "n=7", "--target", target]);
        let said = format!("{}{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<&str> = said.lines().filter(|line| line.contains("block")).collect();
        lines.sort_unstable();
        assert_eq!(lines, [wanted(0), wanted(1)], "{target}");
    }
}
