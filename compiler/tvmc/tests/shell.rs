//! What every command promises a shell: complete help with an example, exit code 2 and the nearest right word for a wrong flag, nothing but data
//! on stdout, no word about a reader that went away. The commands and flags are read from the help itself, so a new one is held to it too.
#![forbid(unsafe_code)]

mod common;

use common::{root, stderr, stdout, tvmc};
use std::io::Read;
use std::process::{Command, Stdio};

/// The names of all commands.
fn commands() -> Vec<String> {
    let help = stdout(&tvmc(&["--help"]));
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let named = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> = named.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() >= 15, "{names:?}");
    names.into_iter().filter(|name| name != "help").collect()
}

/// The long flags that a help text lists.
fn flags(help: &str) -> Vec<&str> {
    let first = |line: &'_ str| line.trim_start().starts_with('-');
    let lines = help.lines().filter(|line| line.starts_with("  ") && first(line));
    // A sentence may begin a line with a flag that it speaks of.
    let flags = lines.filter_map(|line| line.split([' ', ',', '=', ';']).find(|word| word.starts_with("--")));
    flags.collect()
}

#[test]
fn every_help_has_an_example_that_names_the_command() {
    for command in commands() {
        let output = tvmc(&[&command, "--help"]);
        let help = stdout(&output);
        assert!(output.stderr.is_empty(), "{command}");
        let examples =
            help.split_once("Example").unwrap_or_else(|| panic!("{command}: no example:\n{help}")).1;
        assert!(examples.contains(&format!("tvmc {command}")), "{command}: {examples}");
        // Every flag of the help is one the command knows: alone it is wrong for another reason, or for none.
        for flag in flags(&help) {
            let said = String::from_utf8(tvmc(&[&command, flag, "--no-such-flag"]).stderr).unwrap();
            assert!(!said.contains(&format!("unexpected argument '{flag}'")), "{command} {flag}: {said}");
        }
        // A sentence for each option, below its line.
        let lines: Vec<&str> = help.lines().collect();
        for pair in
            lines.windows(2).filter(|pair| pair[0].starts_with("  -") || pair[0].starts_with("      --"))
        {
            assert!(pair[1].starts_with("          "), "{command}: not explained: {}", pair[0]);
        }
    }
}

#[test]
fn a_wrong_flag_ends_with_2_and_the_nearest_right_one() {
    for command in commands() {
        let help = stdout(&tvmc(&[&command, "--help"]));
        let err = stderr(&tvmc(&[&command, "--no-such-flag"]), 2);
        assert!(err.contains("--no-such-flag"), "{command}: {err}");
        for flag in flags(&help).into_iter().filter(|flag| flag.len() > 6) {
            // One letter is missing.
            let typo = format!("{}{}", &flag[..flag.len() - 2], &flag[flag.len() - 1..]);
            let output = tvmc(&[&command, &typo]);
            let err = stderr(&output, 2);
            assert!(output.stdout.is_empty(), "{command} {typo}");
            assert!(err.contains(&format!("'{flag}'")), "{command} {typo}: {err}");
            let json = tvmc(&[&command, &typo, "--error-format", "json"]);
            let line = stderr(&json, 2);
            let value: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
            assert!(value.to_string().contains(flag), "{command} {typo}: {line}");
        }
    }
    let err = stderr(&tvmc(&["genrate"]), 2);
    assert!(err.contains("generate"), "{err}");
    stderr(&tvmc(&[]), 2);
}

/// Commands that write data, each with what makes it write.
const DATA: [&[&str]; 12] = [
    &["--help"],
    &["explain", "E0201"],
    &["doctor"],
    &["doctor", "--json"],
    &["layout", "local(2, 1).spatial(8, 4)"],
    &["build", "examples/softmax.tile", "--kernel", "softmax", "--emit", "tile"],
    &["build", "stdlib/linear.tile", "--emit", "tokens"],
    &["inspect", "smollm2"],
    &["tokenize", "smollm2", "-p", "one two three"],
    &["logits", "smollm2", "-p", "one two three", "--top", "500"],
    &["generate", "smollm2", "-p", "Once upon a time", "-n", "4", "--temp", "0"],
    &["chat", "smollm2", "-p", "Hello.", "-n", "4", "--temp", "0"],
];

#[test]
fn a_reader_that_went_away_is_no_error() {
    // The model is there before its commands are tried: fetching says how far it is.
    stdout(&tvmc(&["fetch", "smollm2"]));
    for arguments in DATA {
        let whole = tvmc(arguments);
        assert!(!stdout(&whole).is_empty(), "{arguments:?}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tvmc"))
            .args(arguments)
            .current_dir(root())
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("roken pipe") && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

/// Commands whose stdout is one JSON value.
const JSON: [&[&str]; 7] = [
    &["doctor", "--json"],
    &["inspect", "smollm2", "--json"],
    &["layout", "spatial(4, 8)", "--json"],
    &["tokenize", "smollm2", "-p", "one", "--json"],
    &["logits", "smollm2", "-p", "one", "--top", "2", "--json"],
    &["generate", "smollm2", "-p", "one", "-n", "2", "--json"],
    &["bench", "smollm2", "-p", "8", "-n", "2", "-r", "1", "-o", "json"],
];

#[test]
fn json_is_all_there_is_on_stdout_and_every_key_is_documented() {
    let manual = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    for arguments in JSON {
        let value: serde_json::Value =
            serde_json::from_str(&stdout(&tvmc(arguments))).expect("one JSON value");
        let object = match &value {
            serde_json::Value::Array(list) => list[0].as_object(),
            other => other.as_object(),
        };
        for key in object.unwrap_or_else(|| panic!("{arguments:?}: {value}")).keys() {
            let known = [format!("`{key}`"), format!("\"{key}\"")].iter().any(|form| manual.contains(form));
            assert!(known, "{arguments:?}: docs/cli.md does not name the key {key}");
        }
    }
}

#[test]
fn colour_is_asked_for_or_absent() {
    let mistake = ["explain", "E9999"];
    let run = |color: &str, no_color: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tvmc"));
        command.args(mistake).args(["--color", color]).env_remove("NO_COLOR");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        stderr(&command.output().unwrap(), 1)
    };
    // Not a terminal: plain. Asked for: coloured, whatever the environment says.
    assert!(!run("auto", None).contains('\x1b'));
    assert!(run("always", None).contains('\x1b'));
    assert!(run("always", Some("1")).contains('\x1b'));
    assert!(!run("never", None).contains('\x1b'));
}

#[test]
fn the_forms_of_a_kernel_are_dumped_with_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("passes").display().to_string();
    let set = ["--set", "N=64", "--set", "K=64", "--set", "W=q4_0", "--set", "X=f32"];
    let build = ["build", "stdlib/linear.tile", "--kernel", "linear", "--dump-passes", &folder];
    stdout(&tvmc(&[&build[..], &set[..]].concat()));
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let native = names.pop().unwrap();
    assert!(native == "7-asm.txt" || native == "7-clif.txt", "{native}");
    assert_eq!(
        names,
        ["1-tokens.txt", "2-ast.txt", "3-tile.txt", "4-laid.txt", "5-cleanup.diff", "6-lane.txt"]
    );
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let (tile, laid) = (read("3-tile.txt"), read("4-laid.txt"));
    // The notes are comments on the lines of the form before, nothing else.
    for (plain, noted) in std::iter::zip(tile.lines(), laid.lines()) {
        assert_eq!(plain, noted.split(" ; ").next().unwrap());
    }
    assert_eq!(tile.lines().count(), laid.lines().count());
    assert!(laid.contains("; scratch a0, rows of 64") && laid.contains("; where it is asked for"), "{laid}");
    let diff = read("5-cleanup.diff");
    assert!(diff.starts_with("--- emitted\n+++ cleaned up\n@@ ") && diff.contains("\n-  v"), "{diff}");
    assert!(!diff.lines().skip(2).any(|line| line.starts_with('+')), "only taken away: {diff}");
}
