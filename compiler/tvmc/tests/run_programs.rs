//! `tvmc run --program` and `tvmc run --trace`: what they compute, what they print, and what they refuse.

mod common;

use common::{npy, npy_f32, read_bytes, read_f32, stderr, stdout, tvmc, values, words};
use std::path::Path;

/// Two layers of `y = x w^T`, scaled, with a count of calls that starts at zero.
const NET: &str = r#"use linear;

kernel scaled<T: format>(x: f32[M, N], y: out T[M, N], factor: f32)
  grid M, ceil(N, 16)
{
  y[block[0], block[1] * 16 +: 16] = x[block[0], block[1] * 16 +: 16] * factor;
}

program net<A: format = f32> {
  hyper L: i32 = "net.layers";
  hyper factor: f32 = "net.factor" else 1.0;
  weight w[L]: any[D, D] = "layer.{}.weight";
  weight head: any[V, D] = "head.weight";
  input x: f32[S, D];
  input extra: f32;
  output y: f32[R, V];

  let h = buffer f32[S, D];
  let t = buffer A[S, D];
  scaled(x, h, factor * extra);
  for l in 0..L {
    scaled(h, t, 1.0);
    linear(t, w[l], h);
  }
  linear(h[S - R +: R], head, y);
}
"#;

/// The folder of a test: the program, x of 3 by 32, two layers and a head of 5 rows.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("net.tile"), NET).expect("a source");
    npy_f32(&at("x.npy"), &[3, 32], &values(3 * 32, 1));
    npy_f32(&at("w0.npy"), &[32, 32], &values(32 * 32, 2));
    npy_f32(&at("w1.npy"), &[32, 32], &values(32 * 32, 3));
    npy_f32(&at("head.npy"), &[5, 32], &values(5 * 32, 4));
    dir
}

/// Runs a line with `DIR` for the folder.
fn line(dir: &Path, text: &str) -> std::process::Output {
    let words = words(&text.replace("DIR", &dir.display().to_string()));
    tvmc(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

const RUN: &str = "run DIR/net.tile --program net --arg x=DIR/x.npy --arg extra=0.5 --arg 'w[0]=DIR/w0.npy' \
                   --arg 'w[1]=DIR/w1.npy' --arg head=DIR/head.npy";

fn product(x: &[f64], w: &[f32], columns: usize) -> Vec<f64> {
    let rows = w.len() / columns;
    let row = |x: &[f64], n: usize| (0..columns).map(|k| x[k] * f64::from(w[n * columns + k])).sum();
    x.chunks(columns).flat_map(|x| (0..rows).map(|n| row(x, n)).collect::<Vec<f64>>()).collect()
}

/// A state whose elements share bytes across rows: a product would have it packed, and the kernel that fills it admits only the declared order.
#[test]
fn a_state_that_is_stored_to_in_parts_stays_as_declared() {
    let text = r#"kernel put<T: int, U: int>(x: f32[S, 7], k: inout T[C, 7], counts: inout U[C, 8], start: i32) grid S {
  let at = start + block[0];
  k[at, 0 +: 7] = x[block[0], ..] as T saturate;
  scatter(counts[at, iota(4) * 2], (iota(4) + block[0]) as U saturate);
}
kernel score<T: int>(q: f32[M, D], k: T[C, D], y: out f32[M, C]) grid M, ceil(C, 16) {
  let n = block[1] * 16;
  y[block[0] +: 1, n +: 16] = dot(q[block[0] +: 1, 0 +: D], (k[n +: 16, 0 +: D] as f32).T);
}
program seen {
  hyper C: i32 = "c";
  input x: f32[S, 7];
  input q: f32[M, 7];
  input r: f32[M, 8];
  input start: i32;
  output y: f32[M, C];
  output z: f32[M, C];
  state k: u3[C, 7];
  state counts: u4[C, 8];
  put(x, k, counts, start);
  score(q, k, y);
  score(r, counts, z);
}
"#;
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("seen.tile"), text).expect("a source");
    let x: Vec<f32> = (0..21u8).map(|i| f32::from(i % 8)).collect();
    npy_f32(&at("x.npy"), &[3, 7], &x);
    npy_f32(&at("q.npy"), &[1, 7], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    npy_f32(&at("r.npy"), &[1, 8], &[1.0, 9.0, 10.0, 9.0, 100.0, 9.0, 1000.0, 9.0]);
    let rest = "--arg x=DIR/x.npy --arg q=DIR/q.npy --arg r=DIR/r.npy --arg start=1 --set C=5 \
                --out 'y=f32[1,5]:DIR/y.npy' --out 'z=f32[1,5]:DIR/z.npy'";
    let sum = |row: &[f32]| row.iter().zip(1u8..).map(|(x, q)| x * f32::from(q)).sum::<f32>();
    for target in ["cpu", "cranelift", "interp"] {
        stdout(&line(dir.path(), &format!("run DIR/seen.tile --program seen {rest} --target {target}")));
        assert_eq!(
            read_f32(&at("y.npy")),
            [0.0, sum(&x[..7]), sum(&x[7..14]), sum(&x[14..]), 0.0],
            "{target}"
        );
        assert_eq!(read_f32(&at("z.npy")), [0.0, 3210.0, 4321.0, 5432.0, 0.0], "{target}");
    }
}

#[test]
fn a_program_computes_what_its_text_says() {
    let dir = folder();
    let mut h: Vec<f64> = values(3 * 32, 1).iter().map(|x| f64::from(*x) * 0.5 * 4.0).collect();
    h = product(&h, &values(32 * 32, 2), 32);
    h = product(&h, &values(32 * 32, 3), 32);
    let y = product(&h[32..], &values(5 * 32, 4), 32);
    for target in ["cpu", "cranelift", "interp"] {
        let rest = "--set L=2 --set factor=4 --out 'y=f32[2,5]:DIR/y.npy' --verify";
        stdout(&line(dir.path(), &format!("{RUN} {rest} --target {target}")));
        let got = read_f32(&dir.path().join("y.npy"));
        assert_eq!(got.len(), 10);
        for (got, want) in got.iter().zip(&y) {
            assert!((f64::from(*got) - want).abs() < 1e-3, "{got} for {want} on {target}");
        }
    }
    // Without a declared shape the number of rows is to be said, and a parameter can be another type.
    let rest = "--set L=2 --set R=1 --set A=bf16 --out y=DIR/one.npy";
    stdout(&line(dir.path(), &format!("{RUN} {rest}")));
    assert_eq!(read_f32(&dir.path().join("one.npy")).len(), 5);
}

#[test]
fn weights_of_a_format_are_given_as_their_bytes() {
    let dir = folder();
    // q8_0: an f16 scale of 1.0, then 32 codes.
    let mut blocks = Vec::new();
    for row in 0..5u8 {
        blocks.extend([0x00, 0x3c]);
        blocks.extend((0..32).map(|k| (k + row) % 7));
    }
    npy(&dir.path().join("head8.npy"), "|u1", &[5, 34], &blocks);
    let codes: Vec<f32> = (0..5u8).flat_map(|row| (0..32u8).map(move |k| f32::from((k + row) % 7))).collect();
    let run = RUN.replace("head=DIR/head.npy", "'head=q8_0[5,32]:DIR/head8.npy'");
    stdout(&line(dir.path(), &format!("{run} --set L=0 --out 'y=f32[3,5]:DIR/y.npy' --verify")));
    let x: Vec<f64> = values(3 * 32, 1).iter().map(|x| f64::from(*x) * 0.5).collect();
    for (got, want) in read_f32(&dir.path().join("y.npy")).iter().zip(product(&x, &codes, 32)) {
        assert!((f64::from(*got) - want).abs() < 1e-3, "{got} for {want}");
    }
}

#[test]
fn what_a_program_lacks_or_does_not_have_is_said() {
    let dir = folder();
    let refused = |text: &str, code: i32, wanted: &str| {
        let output = line(dir.path(), text);
        let said = stderr(&output, code);
        assert!(said.contains(wanted), "{text}:\n{said}\nlacks\n{wanted}");
    };
    refused("run DIR/net.tile", 2, "give --kernel NAME or --program NAME");
    refused("run DIR/net.tile --program net --kernel scaled", 2, "cannot be used with");
    refused("run DIR/net.tile --kernel scaled --model smollm2", 2, "--model is for programs");
    refused("run DIR/net.tile --kernel scaled --act q8", 2, "--act is for programs");
    refused(&format!("{RUN} --set L=2 --ctx 4"), 1, "nothing named `C` to set");
    refused(&format!("{RUN} --set L=2 --kv f16"), 1, "no parameter `KV`");
    refused("run DIR/net.tile --program nett", 1, "did you mean `net`?");
    refused(&format!("{RUN} --set R=1"), 1, "needs the number `net.layers`");
    refused(&format!("{RUN} --set L=3 --set R=1"), 1, "needs the tensor `layer.2.weight`");
    refused(&format!("{RUN} --set L=3 --set R=1"), 1, "--arg NAME=FILE.npy");
    refused(&format!("{RUN} --set L=2"), 1, "--set NAME=VALUE");
    refused(&format!("{RUN} --set L=2.5"), 1, "number `L` is declared as i32, which 2.5 is not");
    refused(&format!("{RUN} --set L=2 --set Q=1"), 1, "nothing named `Q` to set");
    refused(&format!("{RUN} --set B=bf16"), 1, "no parameter `B`");
    refused(&format!("{RUN} --set A=nonsense"), 2, "`A` cannot be stored as `nonsense`");
    refused(&format!("{RUN} --arg haed=DIR/head.npy"), 1, "did you mean `head`?");
    refused(&format!("{RUN} --arg 'head[0]=DIR/head.npy'"), 1, "is one weight, not a list");
    refused(&format!("{RUN} --arg w=DIR/w0.npy"), 1, "w[0]=");
    refused(&format!("{RUN} --arg 'w[one]=DIR/w0.npy'"), 1, "a number from 0");
    refused(
        &format!("{RUN} --set L=2 --out 'y=f32[2,6]:DIR/y.npy'"),
        1,
        "[2, 6], the program declares [2, 5]",
    );
    refused(&format!("{RUN} --set L=2 --out 'y=f16[2,5]:DIR/y.npy'"), 1, "the program writes f32");
    refused(&format!("{RUN} --set L=2 --out 'z=f32[2,5]:DIR/y.npy'"), 1, "has no output `z`");
    let run = RUN.replace("head=DIR", "'head=q8_0[5,64]:DIR");
    refused(&format!("{}'", run.trim_end()), 1, "elements of `q8_0` take");
}

#[test]
fn a_trace_shows_every_tile() {
    let dir = folder();
    let (at, say) =
        (dir.path(), |text: &str| std::fs::write(dir.path().join("t.tile"), text).expect("a source"));
    say(
        "kernel twice(x: f32[M, N], y: out f32[M, N])\n  grid M\n{\n  var sum: f32[1, 4] = 0;\n  for j in 0..2 {\n    sum += x[block[0] +: 1, 0 +: 4];\n  }\n  if block[0] > 0 {\n    y[block[0] +: 1, 0 +: 4] = sum;\n  }\n}\n",
    );
    npy_f32(&at.join("a.npy"), &[2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let run = "run DIR/t.tile --kernel twice --arg x=DIR/a.npy --out y=f32[2,4]:DIR/y.npy";
    let text = stdout(&line(at, &format!("{run} --target interp --trace")));
    for wanted in [
        "twice grid (2, 1, 1)\n",
        "block (0, 0, 0)\n",
        "block (1, 0, 0)\n",
        "const 2 @ ",
        "  for v",
        " = 1\n",
        "[[5.0, 6.0, 7.0, 8.0]]\n",
        "[[10.0, 12.0, 14.0, 16.0]]\n",
        "which is false\n",
        "which is true\n",
        "  store p1[",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    // On another target the interpreter runs beside it: the same steps, and the target's results.
    assert_eq!(stdout(&line(at, &format!("{run} --trace"))), text);
    assert_eq!(read_bytes(&at.join("y.npy"))[16..20], 10f32.to_le_bytes());
    // Large tiles are cut, in the middle of each axis.
    say("kernel big(y: out i32[M, 64])\n  grid 1\n{\n  var t: i32[64, 64] = 7;\n  y[0 +: 64, ..] = t;\n}\n");
    let text = stdout(&line(at, "run DIR/t.tile --kernel big --out y=i32[64,64]:DIR/y.npy --trace"));
    assert!(text.contains("    [[7, 7, 7, .., 7, 7, 7]\n"), "{text}");
    assert!(text.contains("\n     ..\n"), "{text}");
    assert!(text.contains("\n     [7, 7, 7, .., 7, 7, 7]]\n"), "{text}");
    assert_eq!(text.matches("[7, 7, 7").count(), 6, "{text}");
    // A program's launches one after the other.
    let text = stdout(&line(at, &format!("{RUN} --set L=1 --set R=1 --trace")));
    let launches: Vec<&str> = text.lines().filter(|l| l.contains(" grid (")).collect();
    assert_eq!(launches.iter().filter(|l| l.starts_with("scaled ")).count(), 2, "{launches:?}");
    assert_eq!(launches.iter().filter(|l| l.starts_with("linear ")).count(), 2, "{launches:?}");
}
