//! The examples, each against plain loops in f64, on the CPU targets and the interpreter.

mod common;

use common::{npy, npy_f32, read_bytes, read_f32, stdout, tvmc, values};
use std::path::Path;

const TARGETS: [&str; 3] = ["cpu", "cranelift", "interp"];

/// Runs a kernel of an example: inputs by name, one output, more options.
fn run(dir: &Path, file: &str, kernel: &str, inputs: &[&str], out: (&str, &str), target: &str, set: &[&str]) {
    let mut args: Vec<String> =
        ["run", &format!("examples/{file}.tile"), "--kernel", kernel, "--target", target]
            .map(str::to_owned)
            .to_vec();
    for input in inputs {
        let value = if input.contains('=') {
            (*input).to_owned()
        } else {
            format!("{input}={}", dir.join(format!("{input}.npy")).display())
        };
        args.extend(["--arg".to_owned(), value]);
    }
    let (name, ty) = out;
    args.extend(["--out".to_owned(), format!("{name}={ty}:{}", dir.join(format!("{name}.npy")).display())]);
    for value in set {
        args.extend(["--set".to_owned(), (*value).to_owned()]);
    }
    stdout(&tvmc(&args.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[track_caller]
fn close(got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len());
    for (at, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= bound * w.abs().max(1.0), "element {at}: {g}, must be {w}");
    }
}

#[test]
fn vector_add() {
    let dir = tempfile::tempdir().expect("a folder");
    let (x, y) = (values(100, 1), values(100, 2));
    npy_f32(&dir.path().join("x.npy"), &[100], &x);
    npy_f32(&dir.path().join("y.npy"), &[100], &y);
    for target in TARGETS {
        run(dir.path(), "vector_add", "add", &["x", "y"], ("z", "f32[100]"), target, &[]);
        let want: Vec<f32> = x.iter().zip(&y).map(|(a, b)| a + b).collect();
        assert_eq!(read_f32(&dir.path().join("z.npy")), want);
    }
}

#[test]
fn layer_norm() {
    let dir = tempfile::tempdir().expect("a folder");
    let (m, d) = (5, 48);
    let (x, gain, shift) = (values(m * d, 3), values(d, 4), values(d, 5));
    npy_f32(&dir.path().join("x.npy"), &[m, d], &x);
    npy_f32(&dir.path().join("gain.npy"), &[d], &gain);
    npy_f32(&dir.path().join("shift.npy"), &[d], &shift);
    let mut want = Vec::new();
    for row in x.chunks(d) {
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / d as f64;
        let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / d as f64;
        want.extend(row.iter().zip(&gain).zip(&shift).map(|((v, g), s)| {
            (f64::from(*v) - mean) / (variance + 1e-5).sqrt() * f64::from(*g) + f64::from(*s)
        }));
    }
    for target in TARGETS {
        let inputs = ["x", "gain", "shift", "eps=0.00001"];
        run(dir.path(), "layer_norm", "layer_norm", &inputs, ("y", "f32[5,48]"), target, &[]);
        close(&read_f32(&dir.path().join("y.npy")), &want, 1e-5);
    }
}

#[test]
fn argmax_takes_the_first_of_several() {
    let dir = tempfile::tempdir().expect("a folder");
    let (m, n) = (4, 150);
    let mut x = values(m * n, 6);
    (x[7], x[140]) = (5.0, 5.0);
    x[n..2 * n].fill(f32::NEG_INFINITY);
    npy_f32(&dir.path().join("x.npy"), &[m, n], &x);
    for target in TARGETS {
        run(dir.path(), "argmax", "first_largest", &["x"], ("y", "i32[4]"), target, &[]);
        let got: Vec<i32> = read_bytes(&dir.path().join("y.npy"))
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let first = |row: &[f32]| {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter().position(|v| *v == top).map_or(-1, |at| at as i32)
        };
        assert_eq!(got, x.chunks(n).map(first).collect::<Vec<_>>());
        assert_eq!((got[0], got[1]), (7, 0));
    }
}

#[test]
fn low_bit_linear() {
    let dir = tempfile::tempdir().expect("a folder");
    let (m, n, k) = (3, 70, 96);
    let x = values(m * k, 7);
    npy_f32(&dir.path().join("x.npy"), &[m, k], &x);
    // Rows of three groups: an f16 scale of 1/16 and 32 codes of 3 bits.
    let mut weights = Vec::new();
    let mut w = Vec::new();
    for row in 0..n {
        for group in 0..3 {
            weights.extend(0x2c00u16.to_le_bytes());
            let codes: Vec<u32> = (0..32).map(|i| ((row * 5 + group * 3 + i * 7) % 8) as u32).collect();
            w.extend(codes.iter().map(|q| (2.0 * f64::from(*q) - 7.0) / 16.0));
            for eight in codes.chunks(8) {
                let word = eight.iter().enumerate().fold(0u32, |word, (at, q)| word | q << (3 * at));
                weights.extend(&word.to_le_bytes()[..3]);
            }
        }
    }
    npy(&dir.path().join("w.npy"), "|u1", &[weights.len()], &weights);
    for target in TARGETS {
        run(dir.path(), "low_bit_linear", "quantise", &["x"], ("y", "act8[3,96]"), target, &[]);
        let activations = read_bytes(&dir.path().join("y.npy"));
        std::fs::rename(dir.path().join("y.npy"), dir.path().join("x.npy")).expect("renamed");
        let mut want = Vec::new();
        // What the bytes say: a scale and 32 signed bytes.
        let decoded: Vec<f64> = activations
            .chunks_exact(36)
            .flat_map(|group| {
                let scale = f64::from(f32::from_le_bytes([group[0], group[1], group[2], group[3]]));
                group[4..].iter().map(move |q| scale * f64::from(*q as i8)).collect::<Vec<_>>()
            })
            .collect();
        for (given, stored) in x.iter().zip(&decoded) {
            assert!((f64::from(*given) - stored).abs() <= 0.5 / 127.0, "{given} stored as {stored}");
        }
        for row in decoded.chunks(k) {
            want.extend(w.chunks(k).map(|w| row.iter().zip(w).map(|(a, b)| a * b).sum::<f64>()));
        }
        let set = ["M=3", "K=96", "N=70"];
        run(dir.path(), "low_bit_linear", "linear_q3", &["x", "w"], ("y", "f32[3,70]"), target, &set);
        close(&read_f32(&dir.path().join("y.npy")), &want, 1e-5);
        npy_f32(&dir.path().join("x.npy"), &[m, k], &x);
    }
}

#[test]
fn flash_attention() {
    let dir = tempfile::tempdir().expect("a folder");
    let (m, n, e) = (11, 77, 32);
    let (q, k, v) = (values(m * e, 8), values(n * e, 9), values(n * e, 10));
    for (name, rows, data) in [("q", m, &q), ("k", n, &k), ("v", n, &v)] {
        npy_f32(&dir.path().join(format!("{name}.npy")), &[rows, e], data);
    }
    let mut want = Vec::new();
    for query in q.chunks(e) {
        let scores: Vec<f64> = k
            .chunks(e)
            .map(|key| query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>())
            .map(|s| (s / (e as f64).sqrt()).exp())
            .collect();
        let total: f64 = scores.iter().sum();
        for column in 0..e {
            let sum: f64 = scores.iter().zip(v.chunks(e)).map(|(s, row)| s * f64::from(row[column])).sum();
            want.push(sum / total);
        }
    }
    for target in TARGETS {
        run(dir.path(), "flash_attention", "attention", &["q", "k", "v"], ("o", "f32[11,32]"), target, &[]);
        close(&read_f32(&dir.path().join("o.npy")), &want, 1e-5);
    }
}

#[test]
fn bit_planes() {
    let dir = tempfile::tempdir().expect("a folder");
    let packed: Vec<u8> = (0..3 * 32).map(|i| (i * 37 + 11) as u8).collect();
    let code = |at: usize| packed[at / 2] >> (4 * (at % 2)) & 15;
    npy(&dir.path().join("x.npy"), "|u1", &[packed.len()], &packed);
    for target in TARGETS {
        run(dir.path(), "bit_planes", "split", &["x"], ("y", "u1[3,4,64]"), target, &["M=3"]);
        let planes = read_bytes(&dir.path().join("y.npy"));
        assert_eq!(planes.len(), 3 * 4 * 8);
        for at in 0..3 * 4 * 64 {
            let (row, plane, column) = (at / 256, at / 64 % 4, at % 64);
            let bit = planes[at / 8] >> (at % 8) & 1;
            assert_eq!(
                bit,
                code(row * 64 + column) >> plane & 1,
                "row {row}, plane {plane}, column {column}"
            );
        }
        run(dir.path(), "bit_planes", "join", &["y"], ("x", "u4[3,64]"), target, &["M=3"]);
        assert_eq!(read_bytes(&dir.path().join("x.npy")), packed);
    }
}

/// Whatever the number of threads: integers do not mind the order, and these weights have exact sums.
#[test]
fn histogram() {
    let dir = tempfile::tempdir().expect("a folder");
    let (n, b) = (10_000, 37);
    let numbers: Vec<i32> = values(n, 9).iter().map(|v| (v.abs() * 1e4) as i32 % (b + 5) - 2).collect();
    let weights: Vec<f32> = (0..n).map(|at| (at % 7) as f32 * 0.25).collect();
    npy(
        &dir.path().join("x.npy"),
        "<i4",
        &[n],
        &numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
    );
    npy_f32(&dir.path().join("w.npy"), &[n], &weights);
    let (mut counts, mut sums) = (vec![0i32; b as usize], vec![0f32; b as usize]);
    for (number, weight) in numbers.iter().zip(&weights) {
        if let Some(bin) = usize::try_from(*number).ok().filter(|bin| *bin < counts.len()) {
            counts[bin] += 1;
            sums[bin] += weight;
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "every bin is used");
    for target in TARGETS {
        run(dir.path(), "histogram", "histogram", &["x"], ("bins", "i32[37]"), target, &[]);
        let bytes = read_bytes(&dir.path().join("bins.npy"));
        let got: Vec<i32> =
            bytes.chunks_exact(4).map(|c| i32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        assert_eq!(got, counts, "{target}");
        run(dir.path(), "histogram", "weights", &["x", "w"], ("sums", "f32[37]"), target, &[]);
        assert_eq!(read_f32(&dir.path().join("sums.npy")), sums, "{target}");
    }
}

/// The largest difference as a share of the largest number, and bytes stored, for numbers of a ragged row and of a whole one.
#[test]
fn formats_with_what_is_stored_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str| dir.path().join(name);
    for (format, most, sizes) in [
        ("zero_points", 0.08, [5 * 67, 5 * 2 * 67]),
        ("code_book", 0.16, [5 * 34 * 2, 5 * 34 * 4]),
        ("row_bytes", 0.006, [5 * (4 + 7 * 16), 5 * (4 + 256)]),
        ("two_levels", 0.17, [4 + 5 * 7 * 9, 4 + 5 * 16 * 9]),
    ] {
        for (k, bytes) in [100usize, 256].into_iter().zip(sizes) {
            let x = values(5 * k, 7);
            npy_f32(&file("x.npy"), &[5, k], &x);
            let shape = format!("{format}[5,{k}]");
            let mut stored: Vec<Vec<u8>> = Vec::new();
            for target in TARGETS {
                let set = [format!("W={format}")];
                let set: Vec<&str> = set.iter().map(String::as_str).collect();
                run(dir.path(), "stored_once", "start", &["x"], ("y", &shape), target, &set);
                let given = format!("y={}", file("y.npy").display());
                let out = format!("y={}", file("w.npy").display());
                stdout(&tvmc(&[
                    "run",
                    "examples/stored_once.tile",
                    "--kernel",
                    "store",
                    "--target",
                    target,
                    "--arg",
                    &format!("x={}", file("x.npy").display()),
                    "--arg",
                    &given,
                    "--out",
                    &out,
                    "--set",
                    set[0],
                ]));
                let w = read_bytes(&file("w.npy"));
                assert_eq!(w.len(), bytes, "{format} {k}");
                let input = format!("w={}", file("w.npy").display());
                run(
                    dir.path(),
                    "stored_once",
                    "load",
                    &[&input],
                    ("y", &format!("f32[5,{k}]")),
                    target,
                    &set,
                );
                let largest = x.iter().fold(0f32, |m, v| m.max(v.abs()));
                let back = read_f32(&file("y.npy"));
                let worst = x.iter().zip(&back).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(worst <= most * largest, "{format} {k}: {worst} of {largest}");
                stored.push(w);
            }
            assert!(
                stored.windows(2).all(|pair| pair[0] == pair[1]),
                "{format}: the same bytes on each target"
            );
        }
    }
    run(dir.path(), "stored_once", "start", &["x"], ("y", "zero_points[5,256]"), "cpu", &["W=zero_points"]);
}

#[test]
fn a_split_sum_has_the_same_bits_everywhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let (m, n, k) = (3, 21, 330);
    let (x, w) = (values(m * k, 11), values(n * k, 12));
    npy_f32(&dir.path().join("x.npy"), &[m, k], &x);
    npy_f32(&dir.path().join("w.npy"), &[n, k], &w);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let [input, weight, out] =
        [("x", "x.npy"), ("w", "w.npy"), ("y", "y.npy")].map(|(name, of)| format!("{name}={}", file(of)));
    let mut outcomes = Vec::new();
    for parts in ["P=1", "P=4"] {
        let mut first: Option<Vec<f32>> = None;
        for (target, threads) in TARGETS.iter().flat_map(|target| [(target, "1"), (target, "3")]) {
            let args =
                ["run", "examples/split_k.tile", "--program", "split_k", "--arg", &input, "--arg", &weight];
            let rest = ["--out", &out, "--set", parts, "--target", target, "--threads", threads];
            stdout(&tvmc(&[&args[..], &rest[..]].concat()));
            let got = read_f32(&dir.path().join("y.npy"));
            let first = first.get_or_insert_with(|| got.clone());
            assert_eq!(got, *first, "{parts}, {target}, {threads} threads");
        }
        outcomes.push(first.unwrap_or_default());
    }
    let product = |at: usize| -> f64 {
        let (row, column) = (&x[at / n * k..][..k], &w[at % n * k..][..k]);
        row.iter().zip(column).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
    };
    let want: Vec<f64> = (0..m * n).map(product).collect();
    outcomes.iter().for_each(|got| close(got, &want, 1e-5));
    assert_ne!(outcomes[0], outcomes[1], "other parts are another order");
}
