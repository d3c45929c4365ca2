//! The limits of folders, at their values and one past them; what a folder says otherwise is tried by `compiler/tvmc/tests/checkpoint.rs`.

use std::path::Path;
use tvmc_weights::checkpoint::tokenizer::MAX_TOKENS;
use tvmc_weights::checkpoint::{MAX_JSON_BYTES, MAX_SHARDS};
use tvmc_weights::{Access, Weights};

/// A folder of an architecture that is not known, with one tensor of so many rows of a byte.
fn folder(path: &Path, rows: u64) {
    std::fs::write(path.join("config.json"), r#"{"model_type": "other"}"#).unwrap();
    let header =
        format!(r#"{{"token_embd.weight":{{"dtype":"U8","shape":[{rows},1],"data_offsets":[0,{rows}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + rows as usize, 0);
    std::fs::write(path.join("model.safetensors"), file).unwrap();
}

fn words(path: &Path) -> String {
    match Weights::open(path, Access::Map) {
        Ok(_) => "opened".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn folders_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    folder(path, 4);
    assert_eq!(words(path), "opened");

    let tokens = r#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}}"#;
    std::fs::write(path.join("tokenizer.json"), tokens).unwrap();
    for (rows, wanted) in [(MAX_TOKENS, "opened"), (MAX_TOKENS + 1, "1048577 tokens, may be 1048576")] {
        folder(path, rows);
        assert!(words(path).contains(wanted), "{rows} rows: {}", words(path));
    }

    let listed = |count: usize| {
        let files: Vec<String> = (0..count).map(|at| format!(r#""{at}": "{at}.safetensors""#)).collect();
        let index = format!(r#"{{"weight_map": {{{}}}}}"#, files.join(", "));
        std::fs::write(path.join("model.safetensors.index.json"), index).unwrap();
        words(path)
    };
    assert!(listed(MAX_SHARDS).contains("has no 0.safetensors"), "{}", listed(MAX_SHARDS));
    assert!(listed(MAX_SHARDS + 1).contains("4097 files, must be 1 to 4096"));
    assert!(listed(0).contains("0 files"));

    folder(path, 4);
    std::fs::remove_file(path.join("model.safetensors.index.json")).unwrap();
    for (bytes, wanted) in [(MAX_JSON_BYTES, "opened"), (MAX_JSON_BYTES + 1, "has more than 134217728 bytes")]
    {
        let mut text = br#"{"model_type": "other"}"#.to_vec();
        text.resize(bytes as usize, b' ');
        std::fs::write(path.join("config.json"), text).unwrap();
        assert!(words(path).contains(wanted), "{bytes} bytes: {}", words(path));
    }
}

/// Whatever a file of the folder holds, it is an error in words.
#[test]
fn damaged_descriptions_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let values = [
        "",
        "null",
        "[]",
        "{}",
        "7",
        "\"x\"",
        "{\"model\": 3}",
        r#"{"model": {"vocab": {"a": -1}}}"#,
        r#"{"model": {"vocab": {"a": 0, "b": 0}, "merges": []}}"#,
        r#"{"model": {"vocab": {"a": 0}, "merges": [3]}}"#,
        r#"{"model": {"vocab": {}, "merges": []}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [3]}}"#,
        r#"{"model": {"vocab": {}, "merges": []}, "added_tokens": [{"id": 99999999999}]}"#,
        r#"{"weight_map": {"a": 3}}"#,
        r#"{"weight_map": {"a": "/x"}}"#,
        r#"{"weight_map": {"a": ".."}}"#,
        r#"{"model_type": "llama", "num_hidden_layers": -1}"#,
    ];
    for file in ["config.json", "tokenizer.json", "model.safetensors.index.json"] {
        for value in values {
            folder(path, 4);
            std::fs::write(path.join(file), value).unwrap();
            let said = words(path);
            assert!(said.contains(file), "{file} {value}: {said}");
            std::fs::remove_file(path.join(file)).unwrap();
        }
    }
    // Nested deeper than a reader goes.
    folder(path, 4);
    std::fs::write(path.join("tokenizer.json"), "[".repeat(1 << 20)).unwrap();
    assert!(words(path).contains("recursion limit"), "{}", words(path));
}
