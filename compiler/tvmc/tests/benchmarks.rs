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

/// `bench/linear.py` still runs, alone and beside a peer, which a few lines play: what they refuse is a dash and a line below the table.
#[test]
fn the_table_of_linear_layers_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let peer = folder.path().join("ggml_linear");
    let script = "#!/usr/bin/env python3\nimport json, sys\na = sys.argv[1:]\nif a[0] == 'roof': print(json.dumps({'gops': 1e6}))\n\
                  elif a[0] == 'q6_k' and a[5] == '1': sys.exit('this type is not repacked here')\n\
                  else: print(json.dumps({'us': 1e9 if a[5] == '1' else 5e8}))\n";
    std::fs::write(&peer, script).unwrap();
    std::fs::set_permissions(&peer, std::fs::Permissions::from_mode(0o755)).unwrap();
    let measured = |peer: &str, name: &str| {
        let out = folder.path().join(name).display().to_string();
        let run = Command::new("python3")
            .arg(root().join("bench/linear.py"))
            .args([
                "--tvmc",
                env!("CARGO_BIN_EXE_tvmc"),
                "--out",
                &out,
                "--shape",
                "64x256",
                "--threads",
                "1",
            ])
            .args([
                "--rounds",
                "1",
                "--repetitions",
                "1",
                "--copies",
                "1",
                "--batches",
                "1,8",
                "--peer",
                peer,
            ])
            .args(["--only", "^(q4_0|q6_k)$"])
            .output()
            .expect("python3 runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert!(std::fs::read_to_string(format!("{out}.svg")).unwrap().ends_with("</svg>\n"));
        let json = std::fs::read_to_string(format!("{out}.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        (json, std::fs::read_to_string(format!("{out}.md")).unwrap())
    };
    let (json, table) = measured(&peer.display().to_string(), "beside");
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "two types, two batches");
    for row in rows {
        assert_eq!(row["ggml"], row["as_stored"], "its best setting counts");
        assert!(row["tvmc"].as_f64().unwrap() > 0.0 && row["ratio"].as_f64().unwrap() > 1.0);
        assert!(row["share"].as_f64().unwrap() > 0.0);
        assert_eq!(row["repacked"].is_null(), row["type"] == "q6_k");
    }
    assert!(table.contains("Slower than ggml by more than 3 %: none."), "{table}");
    assert!(table.contains("* q6_k 1 repacked: ggml_linear: this type is not repacked here"), "{table}");
    let (json, table) = measured("", "alone");
    assert!(json["rows"].as_array().unwrap().iter().all(|row| row["ratio"].is_null()));
    assert!(table.contains("| q4_0 | 1 | 1 |"), "{table}");
}

/// `bench/precision.py` still runs: one row for a type, and one with words for what is none.
#[test]
fn the_table_of_what_types_cost_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (out, text) = (folder.path().join("table").display().to_string(), folder.path().join("text"));
    std::fs::write(&text, "Once upon a time, there was a little girl named Emma. ".repeat(60)).unwrap();
    let run = Command::new("python3")
        .arg(root().join("bench/precision.py"))
        .args(["smollm2", "--tvmc", env!("CARGO_BIN_EXE_tvmc"), "--out", &out, "--types", "iq3_s,q9"])
        .args(["--windows", "1", "--text"])
        .arg(&text)
        .output()
        .expect("python3 runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let rows: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{out}.json")).unwrap()).unwrap();
    // Only rows of `ffn_down` are whole groups of 256.
    assert_eq!(rows[0]["matrices"], "30 of 210");
    assert!(rows[0]["perplexity"].as_f64().unwrap().is_finite() && rows[0]["moved"].as_f64().unwrap() < 0.2);
    let table = std::fs::read_to_string(format!("{out}.md")).unwrap();
    assert!(
        table.contains("| iq3_s | 3.44 | 30 of 210 |") && table.contains("there is no type `q9`"),
        "{table}"
    );
}
