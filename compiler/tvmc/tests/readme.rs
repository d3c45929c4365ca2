//! Every block of the README: commands run as printed, source passes `check`.

mod common;

use common::{root, stdout, tvmc, words};

/// The README's fenced blocks: language and text.
fn blocks() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let mut blocks = Vec::new();
    let mut parts = text.split("```").skip(1).step_by(2);
    for part in &mut parts {
        let (language, body) = part.split_once('\n').expect("a fence with a line");
        blocks.push((language.to_owned(), body.to_owned()));
    }
    blocks
}

#[test]
fn commands_run_as_printed() {
    let mut run = 0;
    for (language, text) in blocks() {
        if language != "sh" {
            continue;
        }
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let Some(command) = line.strip_prefix("cargo run --release -- ") else {
                // The test command is what runs this test.
                assert_eq!(line, "./test", "the README has a command that no test runs");
                assert!(root().join("test").exists());
                continue;
            };
            let words = words(command);
            let args: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = stdout(&tvmc(&args));
            if line.contains("capital of France") {
                assert_eq!(output, "The capital of France is Paris.\n");
            }
            run += 1;
        }
    }
    assert!(run >= 3, "only {run} commands were found");
    let _ = std::fs::remove_file(root().join("c.npy"));
}

#[test]
fn sources_pass_check() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut checked = 0;
    for (at, (language, text)) in blocks().into_iter().enumerate() {
        if language == "text" && (text.contains("kernel ") || text.contains("format ")) {
            let file = dir.path().join(format!("block{at}.tile"));
            std::fs::write(&file, &text).expect("a writable folder");
            stdout(&tvmc(&["check", &file.display().to_string()]));
            checked += 1;
        }
    }
    assert!(checked >= 2);
}
