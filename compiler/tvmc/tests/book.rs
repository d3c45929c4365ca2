//! The tutorial and the reference, run as their reader would: chapter by chapter in an empty folder. `UPDATE=1` writes what the commands say.
//!
//! | block | what happens |
//! |---|---|
//! | `tile file=NAME` | becomes the file NAME, which must be in the form of `tvmc fmt` |
//! | `console` | each line after `$ ` is run; what follows, up to the next, is what it says: stdout, then stderr |
//! | `text` | of the reference: grammar and lists. Every terminal in quotes is one word of the language |
//!
//! A line of `...` stands for any number of lines, and a line that ends in ` ..` for any line that begins so: for figures and paths that differ between machines.
//! `stdlib/` in a command is the library's folder. A line about loading, time or flags on stderr is left out: it is different each time.

mod common;

use common::{root, tvmc, words};
use std::path::{Path, PathBuf};
use std::process::Command;

enum Block {
    /// A name and a source.
    Tile(String, String),
    /// Commands with what they say.
    Console(Vec<(String, Vec<String>)>),
    /// Neither.
    Text,
}

/// The parts of a page: lines of text and fenced blocks, in order.
fn parts(page: &str) -> Vec<(Vec<String>, Block)> {
    let mut parts = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let mut text = vec![line.to_owned()];
        let Some(info) = line.strip_prefix("```") else {
            parts.push((text, Block::Text));
            continue;
        };
        let body: Vec<String> = lines.by_ref().take_while(|l| *l != "```").map(str::to_owned).collect();
        text.extend(body.iter().cloned());
        text.push("```".to_owned());
        let block = match info.split_once(" file=") {
            Some(("tile", name)) => Block::Tile(name.to_owned(), body.join("\n") + "\n"),
            _ if info == "console" => {
                let mut commands: Vec<(String, Vec<String>)> = Vec::new();
                for line in body {
                    match line.strip_prefix("$ ") {
                        Some(command) => commands.push((command.to_owned(), Vec::new())),
                        None => commands.last_mut().expect("a console begins with a command").1.push(line),
                    }
                }
                Block::Console(commands)
            }
            _ if info == "text" => {
                terminals(&body.join("\n"));
                Block::Text
            }
            _ => panic!("a block that no test runs: ```{info}"),
        };
        parts.push((text, block));
    }
    parts
}

/// Checks that what a grammar has in quotes are words of the language.
fn terminals(grammar: &str) {
    for line in grammar.lines().filter(|line| line.contains(":=") || line.trim_start().starts_with('|')) {
        for terminal in line.split('"').skip(1).step_by(2) {
            let mut sources = tvmc_lang::source::SourceMap::new();
            let id = sources.add("grammar".to_owned(), terminal.to_owned()).unwrap();
            let lexed = tvmc_lang::lexer::lex(id, terminal);
            assert!(
                lexed.diagnostics.is_empty() && lexed.words().len() == 1,
                "no word of the language: {terminal:?}"
            );
        }
    }
}

/// Whether a line on stderr differs from run to run.
fn passing(line: &str) -> bool {
    line.starts_with("loaded ") || line.starts_with("--target ") || line.contains(" kernels compiled in ")
}

fn run(folder: &Path, command: &str) -> Vec<String> {
    let library = format!("{}/", root().join("stdlib").display());
    let mut words = words(command);
    assert_eq!(words.remove(0), "tvmc", "a command that no test runs: {command}");
    for word in &mut words {
        if let Some(rest) = word.strip_prefix("stdlib/") {
            *word = format!("{library}{rest}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_tvmc")).current_dir(folder).args(&words).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let said = stdout.lines().chain(stderr.lines().filter(|line| !passing(line)));
    said.map(|line| line.trim_end().to_owned()).collect()
}

/// Whether what was said is what is expected, with its wild cards.
fn agrees(expected: &[String], said: &[String]) -> bool {
    match (expected.split_first(), said.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "..." => {
            (0..=said.len()).any(|skipped| agrees(rest, &said[skipped..]))
        }
        (Some((first, rest)), Some((line, more))) => {
            let same =
                first == line || first.strip_suffix(" ..").is_some_and(|start| line.starts_with(start));
            same && agrees(rest, more)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn chapter(path: &Path) {
    let page = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let update = std::env::var_os("UPDATE").is_some();
    let mut written = String::new();
    for (text, block) in parts(&page) {
        match block {
            Block::Text => written += &format!("{}\n", text.join("\n")),
            Block::Tile(name, source) => {
                let file = folder.path().join(&name);
                std::fs::write(&file, &source).unwrap();
                let formatted = tvmc(&["fmt", "--check", &file.display().to_string()]);
                assert!(formatted.status.success(), "{}: {name} is not in the form of `fmt`", path.display());
                written += &format!("{}\n", text.join("\n"));
            }
            Block::Console(commands) => {
                written += "```console\n";
                for (command, expected) in commands {
                    let said = run(folder.path(), &command);
                    let agrees = agrees(&expected, &said);
                    assert!(agrees || update, "{}: `{command}` says\n{}", path.display(), said.join("\n"));
                    let lines = if agrees { &expected } else { &said };
                    written += &format!("$ {command}\n");
                    written.extend(lines.iter().map(|line| format!("{line}\n")));
                }
                written += "```\n";
            }
        }
    }
    if update {
        std::fs::write(path, written).unwrap();
    }
}

fn chapters() -> Vec<PathBuf> {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let links: Vec<PathBuf> = links.map(|link| root().join("docs").join(link)).collect();
    assert!(links.iter().all(|link| link.exists()), "the summary names a page that is not there");
    links
        .into_iter()
        .filter(|link| {
            link.parent().is_some_and(|folder| folder.ends_with("tutorial") || folder.ends_with("reference"))
        })
        .collect()
}

#[test]
fn every_chapter_runs_as_printed() {
    let chapters = chapters();
    let pages = |folder: &str| std::fs::read_dir(root().join("docs").join(folder)).unwrap().count();
    let (tutorial, reference) = (pages("tutorial"), pages("reference"));
    assert!(tutorial >= 7 && reference >= 9);
    assert_eq!(chapters.len(), tutorial + reference, "every chapter is in the summary");
    chapters.iter().for_each(|path| chapter(path));
}
