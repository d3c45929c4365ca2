//! Commands that are killed while they write: whatever the moment, a file is as it was before, or whole.
#![cfg(unix)]

mod common;

use common::{npy_f32, root, stdout, tvmc, values};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Kills a command at moments spread over the time that it takes. `output` must afterwards be absent, or `before`, or `after`, and the next run must work.
fn killed(args: &[&str], output: &Path, after: &[u8]) {
    const MOMENTS: u32 = 40;
    let start = Instant::now();
    stdout(&tvmc(args));
    let whole = start.elapsed();
    assert_eq!(fs::read(output).expect("written"), after);
    let before = b"what was there before".to_vec();
    let mut seen = BTreeSet::new();
    for moment in 0..=MOMENTS {
        if moment % 2 == 0 {
            fs::write(output, &before).expect("writable");
        } else {
            fs::remove_file(output).expect("there");
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_tvmc"))
            .args(args)
            .current_dir(root())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        // Most moments lie near the end, where the writing is.
        let part = f64::from(moment) / f64::from(MOMENTS);
        std::thread::sleep(whole.mul_f64(part.sqrt()));
        child.kill().expect("killed, or ended");
        child.wait().expect("ended");
        match fs::read(output) {
            Ok(bytes) if bytes == before && moment % 2 == 0 => seen.insert("before"),
            Ok(bytes) if bytes == after => seen.insert("after"),
            Err(_) if moment % 2 == 1 => seen.insert("absent"),
            other => panic!("moment {moment}: {:?} bytes", other.map(|bytes| bytes.len())),
        };
        if !output.exists() {
            fs::write(output, &before).expect("writable");
        }
    }
    assert!(
        seen.contains("before") && seen.contains("absent"),
        "every run was over before it was killed: {seen:?}"
    );
    stdout(&tvmc(args));
    assert_eq!(fs::read(output).expect("written"), after);
}

#[test]
fn a_killed_build_leaves_no_half_module() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("matmul.tvm");
    let args = ["build", "examples/matmul.tile", "-o", output.to_str().expect("UTF-8")];
    stdout(&tvmc(&args));
    let module = fs::read(&output).expect("written");
    killed(&args, &output, &module);
}

/// `run` wrote its outputs in place.
#[test]
fn a_killed_run_leaves_no_half_array() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b, c) = (folder.path().join("a.npy"), folder.path().join("b.npy"), folder.path().join("c.npy"));
    npy_f32(&a, &[1500, 4], &values(6000, 1));
    npy_f32(&b, &[4, 1500], &values(6000, 2));
    let (a, b) = (format!("a={}", a.display()), format!("b={}", b.display()));
    let out = format!("c=f32[1500,1500]:{}", c.display());
    let run = ["run", "examples/matmul.tile", "--kernel", "matmul", "--arg", &a, "--arg", &b, "--out", &out];
    stdout(&tvmc(&run));
    let array = fs::read(&c).expect("written");
    killed(&run, &c, &array);
}

/// The file of a whole quantisation has a name of its own until it is whole.
#[test]
fn a_killed_quantize_leaves_no_half_model() {
    use tvmc_weights::gguf::{GgufWriter, Value};
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let mut writer = GgufWriter::new();
    writer.metadata("general.architecture", Value::String("none".into())).expect("sound");
    for layer in 0..2 {
        let numbers: Vec<u8> = values(512 * 1024, layer).into_iter().flat_map(f32::to_le_bytes).collect();
        let name = format!("blk.{layer}.up.weight");
        writer.tensor(&name, &[512, 1024], "f32", numbers).expect("sound");
    }
    fs::write(&from, writer.to_bytes().expect("sound")).expect("writable");
    let args = ["quantize", from.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"), "--type", "q4_0"];
    stdout(&tvmc(&args));
    let model = fs::read(&to).expect("written");
    killed(&args, &to, &model);
}

/// Scratch files of the dead are no obstacle, and never taken for anything.
#[test]
fn what_the_dead_leave_is_hidden() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("m.tvm");
    let args = ["build", "examples/matmul.tile", "-o", output.to_str().expect("UTF-8")];
    let start = Instant::now();
    stdout(&tvmc(&args));
    let whole = start.elapsed();
    for moment in 0..20 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tvmc"))
            .args(args)
            .current_dir(root())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(whole * moment / 20 + Duration::from_micros(100));
        child.kill().expect("killed, or ended");
        child.wait().expect("ended");
    }
    let names: Vec<String> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(names, ["m.tvm"]);
}
