//! `docs/cli.md` lists every option of every command, as the command line declares them: the part after the marker is generated. `UPDATE=1` writes it.
//! Every command's help ends with an example.

mod common;

use clap::{Arg, Command, CommandFactory};
use common::root;
use std::fmt::Write;
use tvmc::cli::Cli;

const MARKER: &str = "<!-- generated from here: UPDATE=1 cargo test -p tvmc --test cli_docs -->\n";

/// One line for an option: how it is written, its default, what it does.
fn row(arg: &Arg) -> Option<String> {
    if arg.is_hide_set() || matches!(arg.get_id().as_str(), "help" | "version") {
        return None;
    }
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        let possible: Vec<String> =
            arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        if possible.is_empty() { names.iter().map(|n| n.to_string()).collect() } else { possible.join("\\|") }
    };
    let takes_value = arg.get_action().takes_values();
    let mut written = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    if takes_value {
        written = format!("{written} {}", value()).trim().to_owned();
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    let default = if takes_value && !default.is_empty() { default.join(" ") } else { String::new() };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    assert!(!help.is_empty(), "`{written}` has no help");
    let help = help.replace('|', "\\|").replace('\n', " ");
    Some(format!("| `{written}` | {default} | {help} |\n"))
}

fn generated() -> String {
    let cli = Cli::command();
    let mut text = String::from("\n## Options of every command\n\n| option | default | |\n|---|---|---|\n");
    text.extend(cli.get_arguments().filter_map(row));
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty(), "`{}` has no description", command.get_name());
        let _ = write!(text, "\n## `tvmc {}`\n\n{about}\n\n", command.get_name());
        let rows: String =
            command.get_arguments().filter(|arg| !arg.is_global_set()).filter_map(row).collect();
        if !rows.is_empty() {
            let _ = write!(text, "| option | default | |\n|---|---|---|\n{rows}");
        }
    }
    text
}

#[test]
fn every_option_is_documented() {
    let path = root().join("docs/cli.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, tail) = text.split_once(MARKER).expect("the marker stands in docs/cli.md");
    let wanted = generated();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{head}{MARKER}{wanted}")).unwrap();
        return;
    }
    assert!(tail == wanted, "docs/cli.md is not what the command line says: run with UPDATE=1");
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(head.contains(&format!("`{name} ")), "the table of commands lacks `{name}`");
    }
}

#[test]
fn every_help_ends_with_an_example() {
    fn check(command: &Command) {
        let name = command.get_name();
        let after = command.get_after_long_help().or(command.get_after_help());
        let text = after.map(ToString::to_string).unwrap_or_default();
        assert!(text.contains(&format!("tvmc {name}")), "`tvmc {name} --help` shows no example: {text:?}");
    }
    Cli::command().get_subcommands().filter(|command| command.get_name() != "help").for_each(check);
}
