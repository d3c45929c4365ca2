//! The standard library is what the grammar must be able to say: every file parses, and survives printing.

use std::path::{Path, PathBuf};
use tvmc_lang::ast::{File, ItemKind};
use tvmc_lang::diag::render;
use tvmc_lang::source::SourceMap;

fn tile_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tile_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "tile") {
            found.push(path);
        }
    }
}

fn stdlib() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    tile_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../stdlib"), &mut paths);
    paths.sort();
    assert!(paths.len() >= 5, "the standard library is beside this crate: {paths:?}");
    paths.iter().map(|p| (p.display().to_string(), std::fs::read_to_string(p).unwrap())).collect()
}

/// Parses text that must be free of errors.
fn parse(name: &str, text: &str) -> File {
    let mut sources = SourceMap::new();
    let id = sources.add(name, text).unwrap();
    let parsed = tvmc_lang::parse(id, text);
    let shown: Vec<String> = parsed.diagnostics.iter().map(|d| render(d, &sources, false)).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    parsed.file
}

/// The whole tree as text without its spans; comments by their text.
fn spanless(file: &File, text: &str) -> String {
    let comments: Vec<&str> = file.comments.iter().map(|c| text[c.span.range()].trim_end()).collect();
    let tree = format!("{:#?} {:#?} {:#?}", file.docs, file.items, file.exprs);
    let mut out = format!("{comments:#?}");
    let mut rest = tree.as_str();
    // `value[i] = e` and `value[i] { .. }` differ in nothing but spans, so the printer is free to choose.
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').unwrap();
        rest = &rest[at + end + 1..];
    }
    // So are parentheses: the printer drops the useless ones.
    (out + rest).replace("parenthesised: true", "parenthesised: false")
}

#[test]
fn every_file_parses() {
    for (name, text) in stdlib() {
        let file = parse(&name, &text);
        assert!(!file.items.is_empty(), "{name}");
        assert!(!file.docs.is_empty(), "{name} says what it holds");
        for item in &file.items {
            assert!(
                !item.docs.is_empty()
                    || matches!(item.kind, ItemKind::Use(_) | ItemKind::Const(_) | ItemKind::Program(_)),
                "{name}: {:?} has its doc comment",
                item.kind.name()
            );
        }
    }
}

#[test]
fn printing_keeps_the_tree_and_is_idempotent() {
    for (name, text) in stdlib() {
        let file = parse(&name, &text);
        let printed = tvmc_lang::print::print(&file, &text);
        let again = parse(&name, &printed);
        assert_eq!(spanless(&file, &text), spanless(&again, &printed), "{name}:\n{printed}");
        assert_eq!(tvmc_lang::print::print(&again, &printed), printed, "{name}");
    }
}

#[test]
fn every_construct_survives_printing() {
    let text = include_str!("every_construct.tile");
    let file = parse("every_construct.tile", text);
    let printed = tvmc_lang::print::print(&file, text);
    let again = parse("printed.tile", &printed);
    assert_eq!(spanless(&file, text), spanless(&again, &printed), "{printed}");
    assert_eq!(tvmc_lang::print::print(&again, &printed), printed);
    assert_eq!(printed, text, "the file is in canonical form");
}
