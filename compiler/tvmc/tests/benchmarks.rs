//! The benchmarks of `bench/` still run, on small shapes, once.

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

/// `bench/llama_cpp.py` still runs: tvmc on a real model, the other program played by a few lines that answer as it does.
#[test]
fn the_table_beside_llama_cpp_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("table").display().to_string();
    let peer = folder.path().join("llama-bench");
    let script = "#!/usr/bin/env python3\nimport json, sys\na = dict(zip(sys.argv[1::2], sys.argv[2::2]))\nassert a['-m'].endswith('.gguf') and a['-fa'] == 'on'\n\
                  speed = 20.0 if a['--repack'] == '1' else 10.0\nprint(json.dumps([{'n_prompt': p, 'n_gen': n, 'n_threads': int(t), 'samples_ts': [speed, speed]} for t in \
                  a['-t'].split(',') for p, n in ((int(a['-p']), 0), (0, int(a['-n'])))]))\n";
    std::fs::write(&peer, script).unwrap();
    std::fs::set_permissions(&peer, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = Command::new("python3")
        .arg(root().join("bench/llama_cpp.py"))
        .args([
            "smollm2",
            "--tvmc",
            env!("CARGO_BIN_EXE_tvmc"),
            "--out",
            &out,
            "--types",
            "q8_0",
            "--threads",
            "1",
        ])
        .args(["--rounds", "1", "--repetitions", "1", "--prompt", "8", "--generated", "2", "--llama-bench"])
        .arg(&peer)
        .output()
        .expect("python3 runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{out}.json")).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "two files, two tests");
    for row in rows {
        assert_eq!(row["llama_cpp"], 20.0, "its best setting counts");
        assert!(row["f32"].as_f64().unwrap() > 0.0 && row["q8_ratio"].as_f64().unwrap() > 0.0);
    }
    let table = std::fs::read_to_string(format!("{out}.md")).unwrap();
    assert!(table.contains("SmolLM2-135M-Instruct.q8_0.gguf | tg | 1 | 20.0 |"), "{table}");
    assert!(std::fs::read_to_string(format!("{out}.svg")).unwrap().ends_with("</svg>\n"));
}
