//! `bench/formats.py` still runs: one format of each kind, once, on a small shape.

mod common;

use common::root;
use std::process::Command;

#[test]
fn the_table_of_formats_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("table").display().to_string();
    let run = Command::new("python3")
        .arg(root().join("bench/formats.py"))
        .args(["--tvmc", env!("CARGO_BIN_EXE_tvmc"), "--out", &out, "--shape", "64x256", "--threads", "1"])
        .args([
            "--rounds",
            "1",
            "--repetitions",
            "1",
            "--copies",
            "2",
            "--only",
            "^(q4_0|q6_k|u3_codes|e2m1_codes)$",
        ])
        .output()
        .expect("python3 runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let table = std::fs::read_to_string(format!("{out}.md")).unwrap();
    for format in ["q4_0", "q6_k", "u3_codes", "e2m1_codes"] {
        assert!(table.contains(&format!("| {format} | 1 |")), "{table}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{out}.json")).unwrap()).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 4);
    assert!(std::fs::read_to_string(format!("{out}.svg")).unwrap().ends_with("</svg>\n"));
}
