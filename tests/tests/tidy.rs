//! Repository rules as tests. Each says what it protects; none needs a device or a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every Rust file of the workspace's crates, with its path below the root.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, root: &Path, out: &mut Vec<(String, String)>) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(dir).expect("a readable folder").map(|e| e.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    walk(&path, root, out);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 source");
                let path = path.strip_prefix(root).expect("below the root").display().to_string();
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(&root(), &root(), &mut out);
    out
}

/// Who may import whom, in pipeline order: a crate may import only crates that stand in its row.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("tvmc-lang", &[]),
    ("tvmc-types", &[]),
    ("tvmc-ir", &["tvmc-types"]),
    ("tvmc-sema", &["tvmc-lang", "tvmc-ir", "tvmc-types"]),
    ("tvmc-passes", &["tvmc-ir", "tvmc-types"]),
    ("tvmc-backend-cranelift", &["tvmc-ir", "tvmc-types"]),
    ("tvmc-backend-x86", &["tvmc-ir", "tvmc-types"]),
    ("tvmc-backend-wgsl", &["tvmc-ir", "tvmc-types"]),
    ("tvmc-interp", &["tvmc-ir", "tvmc-types"]),
    ("tvmc-cpu", &["tvmc-ir", "tvmc-types", "tvmc-backend-cranelift", "tvmc-backend-x86"]),
    ("tvmc-gpu", &["tvmc-ir", "tvmc-types", "tvmc-backend-wgsl"]),
    ("tvmc-weights", &[]),
    ("tvmc-model", &["tvmc-weights", "tvmc-ir", "tvmc-types"]),
    ("tvmc-stdlib", &[]),
    ("tvmc-guarded", &[]),
];

#[test]
fn imports_point_one_way() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut seen = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name").to_owned();
        let imports: Vec<String> = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|d| d["kind"].is_null())
            .filter_map(|d| d["name"].as_str())
            .filter(|d| d.starts_with("tvmc"))
            .map(str::to_owned)
            .collect();
        seen.insert(name, imports);
    }
    for (name, imports) in &seen {
        if name == "tvmc" || name == "tvmc-tests" || name == "tvmc-fuzz" {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(n, _)| n == name) else {
            panic!("crate `{name}` has no row in MAY_IMPORT: decide what it may import");
        };
        for import in imports {
            assert!(allowed.contains(&import.as_str()), "`{name}` must not import `{import}`");
        }
    }
    for (name, _) in MAY_IMPORT {
        assert!(seen.contains_key(*name), "`{name}` is in MAY_IMPORT but not in the workspace");
    }
}

#[test]
fn files_start_with_their_law() {
    let bare: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| !path.ends_with("build.rs") && !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(bare.is_empty(), "these files have no head comment: {bare:?}");
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 700)
        .map(|(path, lines)| format!("{path}: {lines}"))
        .collect();
    assert!(long.is_empty(), "split these files: {long:?}");
}

/// Weight formats are declarations in the standard library. Their names occur in Rust only in the table of GGUF's ids and in tests.
#[test]
fn no_format_name_in_rust() {
    let names = [
        "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q8_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "tq1_0",
        "tq2_0",
    ];
    let mut found = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("type_ids.rs") || path.contains("/tests/") || path.starts_with("tests/") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for (at, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            let lower = line.to_lowercase();
            found.extend(
                names.iter().filter(|n| lower.contains(**n)).map(|n| format!("{path}:{}: {n}", at + 1)),
            );
        }
    }
    assert!(found.is_empty(), "formats belong in stdlib/formats: {found:#?}");
}

/// Unsafe code only where code memory, mapped files or device calls need it.
#[test]
fn unsafe_is_fenced() {
    // The last one vouches for the lengths of arguments when it calls generated code.
    let allowed = [
        "vm/cpu/",
        "vm/gpu/src/device.rs",
        "vm/gpu/src/kernel.rs",
        "runtime/weights/src/mapped.rs",
        "tests/",
        "compiler/tvmc/src/engine/cpu.rs",
        "compiler/tvmc/src/engine/gpu.rs",
    ];
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| {
            !allowed.iter().any(|a| path.starts_with(a))
                && !path.contains("/tests/")
                && !path.contains("/examples/")
        })
        .filter(|(_, text)| {
            text.split("#[cfg(test)]").next().unwrap_or("").lines().any(|line| {
                let line = line.split("//").next().unwrap_or("");
                line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl")
            })
        })
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "unsafe code outside its fence: {found:?}");
}

/// A kernel's source never mentions a target: what differs between targets is the compiler's business.
#[test]
fn kernels_mention_no_target() {
    let words = ["avx", "x86", "cranelift", "wgsl", "gpu", "cuda", "simd"];
    let mut stack = vec![root().join("stdlib")];
    let mut kernels = 0;
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(dir).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|e| e == "tile") {
                let text = fs::read_to_string(&path).expect("UTF-8 source").to_lowercase();
                kernels += text.matches("\nkernel ").count();
                // A word of the text that is a hexadecimal number names nothing.
                let mut named =
                    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.starts_with("0x"));
                let found = named.find(|w| words.iter().any(|target| w.contains(target)));
                assert!(found.is_none(), "{} mentions `{}`", path.display(), found.unwrap_or_default());
            }
        }
    }
    assert!(kernels >= 8, "only {kernels} kernels were found: does the test still look in the right place?");
}

/// The runtime's only loops over tensor elements are the sampler's and the logits' statistics, over one row of logits.
#[test]
fn the_runtime_does_no_tensor_arithmetic() {
    // A SentencePiece vocabulary has a score per piece: floats, but no tensor.
    let allowed = ["runtime/model/src/sampler", "runtime/model/src/logits", "runtime/model/src/tokenizer/"];
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| {
            path.starts_with("runtime/model/src/") && !allowed.iter().any(|a| path.starts_with(a))
        })
        .filter(|(_, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            code.contains("[f32]") || code.contains("Vec<f32>")
        })
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "these files handle tensors of floats: {found:?}");
}
