//! `tvmc quantize`: what stands in the new file, what is said of it, and what a model is worth afterwards.
#![forbid(unsafe_code)]

mod common;

use common::{json, root, stderr, stdout, tvmc, values};
use std::path::Path;
use tvmc_weights::gguf::{GgufWriter, Value};
use tvmc_weights::{Access, Weights};

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Matrices whose rows are, and are not, groups of 32, a vector, and numbers that are no fractions.
fn small(path: &Path) {
    let mut writer = GgufWriter::new();
    writer.metadata("general.architecture", Value::String("none".into())).unwrap();
    writer.metadata("general.file_type", Value::U32(0)).unwrap();
    writer.metadata("general.alignment", Value::U32(64)).unwrap();
    writer.tensor("blk.0.up.weight", &[5, 64], "f32", bytes(&values(320, 1))).unwrap();
    writer.tensor("blk.1.up.weight", &[5, 64], "f32", bytes(&values(320, 2))).unwrap();
    writer.tensor("ragged.weight", &[3, 40], "f32", bytes(&values(120, 3))).unwrap();
    writer.tensor("experts.weight", &[2, 3, 32], "f32", bytes(&values(192, 4))).unwrap();
    writer.tensor("norm.weight", &[64], "f32", bytes(&values(64, 5))).unwrap();
    writer.tensor("index", &[2, 32], "i32", vec![7; 256]).unwrap();
    std::fs::write(path, writer.to_bytes().unwrap()).unwrap();
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn every_tensor_becomes_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in.gguf"), dir.path().join("out.gguf"));
    small(&from);
    let rules = ["--rule", "blk.0.*=Q4_1", "--rule", "blk.*=f16", "--json"];
    let report =
        json(&tvmc(&[&["quantize", &name(&from), &name(&to), "--type", "q8_0"], &rules[..]].concat()));
    let list: Vec<(String, String)> = report["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["name"].as_str().unwrap().to_owned(), t["to"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("blk.0.up.weight", "q4_1"),
        ("blk.1.up.weight", "f16"),
        ("ragged.weight", "f16"),
        ("experts.weight", "q8_0"),
        ("norm.weight", "f32"),
        ("index", "i32"),
    ];
    assert_eq!(list, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(report["tensors"][2]["instead_of"], "q8_0");

    let (old, new) = (Weights::open(&from, Access::Map).unwrap(), Weights::open(&to, Access::Map).unwrap());
    let metadata = new.metadata().unwrap();
    assert_eq!(metadata.get("general.architecture").unwrap().as_str(), Some("none"));
    assert_eq!(metadata.get("general.quantization_version").unwrap().as_u64(), Some(2));
    assert!(metadata.get("general.file_type").is_none(), "it would not be true any more");
    for (at, (was, is)) in old.tensors().iter().zip(new.tensors()).enumerate() {
        assert_eq!((&was.name, &was.shape), (&is.name, &is.shape));
        assert_eq!(is.offset % 64, 0, "the file's alignment is kept");
        if was.format == is.format {
            assert_eq!(old.tensor_bytes(at), new.tensor_bytes(at));
        }
    }
    // Eight bits by hand: a scale of the largest magnitude / 127 as f16, and the nearest codes.
    let (numbers, stored) = (values(192, 4), new.tensor_bytes(3));
    let mut squares = 0.0;
    for (group, stored) in numbers.chunks_exact(32).zip(stored.chunks_exact(34)) {
        let most = group.iter().fold(0f32, |m, v| m.max(v.abs()));
        let scale = half::f16::from_le_bytes([stored[0], stored[1]]);
        assert_eq!(scale, half::f16::from_f32(most / 127.0));
        for (number, code) in group.iter().zip(&stored[2..]) {
            let got = scale.to_f32() * f32::from(*code as i8);
            assert!((got - number).abs() <= scale.to_f32() * 0.6, "{got} for {number}");
            squares += f64::from(got - number).powi(2);
        }
    }
    let energy: f64 = numbers.iter().map(|v| f64::from(*v).powi(2)).sum();
    let said = report["tensors"][3]["error"].as_f64().unwrap();
    assert!((said / (squares / energy).sqrt() - 1.0).abs() < 1e-3, "{said}");

    // Once more with nothing to do: the same tensors, and the metadata untouched.
    let again = dir.path().join("again.gguf");
    let kept = ["--type", "q8_0", "--rule", "blk.0.*=q4_1", "--rule", "*up=f16", "--rule", "ragged=f16"];
    stdout(&tvmc(&[&["quantize", &name(&to), &name(&again)], &kept[..]].concat()));
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&to).unwrap());
}

#[test]
fn mistakes_are_told_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in.gguf"), dir.path().join("out.gguf"));
    small(&from);
    let refused = |input: &Path, output: &Path, rest: &[&str], code: i32, words: &str| {
        let err = stderr(&tvmc(&[&["quantize", &name(input), &name(output)], rest].concat()), code);
        assert!(err.contains(words), "{rest:?}: {err}");
    };
    refused(&from, &to, &["--type", "q8_00"], 2, "did you mean `q8_0`");
    refused(&from, &to, &["--type", "I16"], 1, "can be read, but not written");
    refused(&from, &to, &["--type", "q8_0", "--rule", "x*=q4_0"], 1, "decides about no tensor");
    refused(&from, &to, &["--type", "q8_0", "--rule", "*=q4_0", "--rule", "blk*=q4_0"], 1, "holds i32");
    refused(&from, &to, &["--type", "q8_0", "--rule", "q4_0"], 2, "PATTERN=TYPE");
    refused(&from, &from, &["--type", "q8_0"], 2, "replace the input");
    refused(&from, &dir.path().join("no/such.gguf"), &["--type", "q8_0"], 1, "cannot write");
    refused(&dir.path().join("none.gguf"), &to, &["--type", "q8_0"], 1, "no file");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["in.gguf"]);
}

/// What plain rounding costs SmolLM2, beside figures measured with another implementation of the same rule.
#[test]
fn a_model_loses_what_its_types_lose() {
    let text = root().join("../shared/data/wikitext2-test.txt");
    if !text.exists() {
        eprintln!("skipped a_model_loses_what_its_types_lose: the text is not here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |kind: &str| name(&dir.path().join(format!("{kind}.gguf")));
    stdout(&tvmc(&["quantize", "smollm2", &file("f32"), "--type", "f32"]));
    let rules = ["--type", "q4_0", "--rule", "token_embd=q8_0"];
    stdout(&tvmc(&[&["quantize", &file("f32"), &file("q4_0")], &rules[..]].concat()));
    let value = json(&tvmc(&["perplexity", &file("q4_0"), "--text", &name(&text), "--json", "--act", "f32"]));
    let got = value["perplexity"].as_f64().unwrap();
    assert!((got - 30.79).abs() < 0.05, "{got}");
}

/// Formats of the user's, for which GGUF has no type: scales of groups, of rows, of the tensor; a zero point; a code book; groups that no row is whole of.
const OWN: &str = "
format seven { group 7 { d: f16; q: u5[7]; unused: u1[5]; } value[i] = d * (q[i] - 16); }
format rows { per row { d: e5m2; } group 8 { q: i8[8]; } value[i] = d * q[i]; }
format levels { per tensor { s: f32; } per row { r: bf16; } group 16 { d: e4m3; q: i4[16]; } value[i] = s * r * d * q[i]; }
format points { group 32 { d: bf16; z: u8; q: u6[32]; } value[i] = d * (q[i] - z); }
format book { table level: f32[8] = [-1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0]; group 32 { d: f16; q: u3[32]; } value[i] = d * level[q[i]]; }
format signs { group 16 { d: f16; s: u1[16]; m: u3[16]; } value[i] = where(s[i] == 1, -d, d) * m[i]; }
format squares { group 8 { d: f16; q: i4[8]; } value[i] = d * q[i] * q[(i + 1) % 8]; }
";

#[test]
fn formats_of_the_users_travel_with_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (from, own) = (dir.path().join("in.gguf"), dir.path().join("own.tile"));
    small(&from);
    std::fs::write(&own, OWN).unwrap();
    for (format, row, head, most) in [
        ("seven", |k: u64| k.div_ceil(7) * 7, 0, 0.04),
        ("rows", |k: u64| 4 + k.div_ceil(8) * 8, 0, 0.03),
        ("levels", |k: u64| 2 + k.div_ceil(16) * 9, 4, 0.12),
        ("points", |k: u64| k.div_ceil(32) * 27, 0, 0.02),
        ("book", |k: u64| k.div_ceil(32) * 14, 0, 0.3),
        ("signs", |k: u64| k.div_ceil(16) * 10, 0, 0.08),
    ] as [(&str, fn(u64) -> u64, u64, f64); 6]
    {
        let to = dir.path().join(format!("{format}.gguf"));
        let report = json(&tvmc(&[
            "quantize",
            &name(&from),
            &name(&to),
            "--format",
            &name(&own),
            "--type",
            format,
            "--json",
        ]));
        let new = Weights::open(&to, Access::Map).unwrap();
        assert_eq!(new.metadata().unwrap().get("tvmc.formats").unwrap().as_str(), Some(OWN));
        for (tensor, matrices, rows, columns) in
            [("blk.0.up.weight", 1, 5, 64), ("ragged.weight", 1, 3, 40), ("experts.weight", 2, 3, 32)]
        {
            let info = new.find(tensor).unwrap();
            assert_eq!(info.format, format, "{tensor}");
            assert_eq!(*info.shape.last().unwrap(), columns);
            assert_eq!(info.bytes, matrices * (head + rows * row(columns)), "{format}: {tensor}");
        }
        assert_eq!(new.find("norm.weight").unwrap().format, "f32");
        for tensor in report["tensors"].as_array().unwrap().iter().filter(|t| t["to"] == format) {
            let error = tensor["error"].as_f64().unwrap();
            assert!(error > 0.0 && error < most, "{format}: {tensor}");
        }
        // And back, by what the file says itself.
        let back = dir.path().join("back.gguf");
        stdout(&tvmc(&["quantize", &name(&to), &name(&back), "--type", "f32"]));
        let back = Weights::open(&back, Access::Map).unwrap();
        assert!(back.metadata().unwrap().get("tvmc.formats").is_none());
        let old = Weights::open(&from, Access::Map).unwrap();
        let numbers = |file: &Weights| -> Vec<f32> {
            let bytes = file.bytes_of(file.find("experts.weight").unwrap());
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        let (was, is) = (numbers(&old), numbers(&back));
        let largest = was.iter().fold(0f32, |m, v| m.max(v.abs()));
        let worst = was.iter().zip(&is).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(f64::from(worst) < 1.5 * most * f64::from(largest), "{format}: {worst} of {largest}");
    }
    let refused = |rest: &[&str], code: i32, words: &str| {
        let to = dir.path().join("not.gguf");
        let err = stderr(&tvmc(&[&["quantize", &name(&from), &name(&to)], rest].concat()), code);
        assert!(err.contains(words), "{rest:?}: {err}");
        assert!(!to.exists());
    };
    let file = name(&own);
    refused(&["--type", "squares", "--format", &file], 1, "decoded only");
    refused(&["--type", "sevn", "--format", &file], 2, "did you mean `seven`");
    refused(&["--type", "seven", "--format", &name(&dir.path().join("no.tile"))], 1, "cannot read");
    let wrong = dir.path().join("wrong.tile");
    std::fs::write(&wrong, "format w { group 8 { q: u3[7]; } value[i] = q[i % 7]; }").unwrap();
    refused(&["--type", "w", "--format", &name(&wrong)], 1, "short of whole bytes");
    std::fs::write(&wrong, "use \"own.tile\";").unwrap();
    refused(&["--type", "seven", "--format", &name(&wrong)], 1, "uses other files");
}

/// A file that declares formats takes more, but none of a name that it has.
#[test]
fn declarations_are_added_to_those_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |file: &str| dir.path().join(file);
    small(&at("in.gguf"));
    let first = "format one { group 8 { d: f16; q: i8[8]; } value[i] = d * q[i]; }";
    let second = "use math;\nformat two { group 16 { d: f16; q: i4[16]; } value[i] = d * q[i]; }";
    std::fs::write(at("first.tile"), first).unwrap();
    std::fs::write(at("second.tile"), second).unwrap();
    std::fs::write(at("again.tile"), first.replace("i8", "i4")).unwrap();
    let run = |from: &str, to: &str, format: &str, rest: &[&str]| {
        let files = [name(&at(from)), name(&at(to)), name(&at(format))];
        tvmc(&[&["quantize", &files[0], &files[1], "--format", &files[2]], rest].concat())
    };
    stderr(&run("in.gguf", "one.gguf", "first.tile", &["--type", "one"]), 0);
    stderr(&run("one.gguf", "both.gguf", "second.tile", &["--type", "one", "--rule", "blk.*=two"]), 0);
    let both = Weights::open(&at("both.gguf"), Access::Map).unwrap();
    let text = format!("{first}\n{second}");
    assert_eq!(both.metadata().unwrap().get("tvmc.formats").unwrap().as_str(), Some(&*text));
    let says =
        |tensor: &str| both.metadata().unwrap().get(&format!("tvmc.tensor.{tensor}")).unwrap().as_str();
    assert_eq!((says("blk.0.up.weight"), says("ragged.weight")), (Some("two[5, 64]"), Some("one[3, 40]")));
    stderr(&run("both.gguf", "same.gguf", "first.tile", &["--type", "two"]), 0);
    let same = Weights::open(&at("same.gguf"), Access::Map).unwrap();
    assert_eq!(same.metadata().unwrap().get("tvmc.formats").unwrap().as_str(), Some(&*text));
    let refused = stderr(&run("one.gguf", "not.gguf", "again.tile", &["--type", "one"]), 1);
    assert!(refused.contains("`one`") && !at("not.gguf").exists(), "{refused}");
}

/// Files whose declarations and tensors disagree.
#[test]
fn declarations_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.gguf");
    let own = "format own { group 8 { d: f16; q: i8[8]; } value[i] = d * q[i]; }";
    for (text, says, bytes, words) in [
        (own, "own[2, 16]", 39, "has 39 bytes, but [2, 16] of `own` as the file declares it needs 40"),
        (own, "other[2, 16]", 40, "does not declare"),
        (own, "q8_0[1, 32]", 34, "which is a type of GGUF"),
        (
            "format own { group 8 { d: f16; q: i8[8]; } value[i] = e * q[i]; }",
            "own[2, 16]",
            40,
            "there is no `e`",
        ),
        ("format own {", "own[2, 16]", 40, "error"),
        ("format own { group 8 { q: i8[8]; } value[i] = q[i + 1]; }", "own[2, 16]", 32, "cannot be compiled"),
        ("use \"/etc/passwd\";", "own[2, 16]", 40, "error"),
    ] {
        let mut writer = GgufWriter::new();
        writer.metadata("tvmc.formats", Value::String(text.into())).unwrap();
        writer.metadata("tvmc.tensor.w", Value::String(says.into())).unwrap();
        writer.tensor("w", &[bytes], "i8", vec![1; bytes as usize]).unwrap();
        std::fs::write(&path, writer.to_bytes().unwrap()).unwrap();
        let to = dir.path().join("out.gguf");
        let err = stderr(&tvmc(&["quantize", &name(&path), &name(&to), "--type", "f32"]), 1);
        assert!(err.contains(words), "{text} {says}: {err}");
    }
}
