//! What several tests need: the `.tile` files of the repository, and trees as text without spans.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use tvmc_lang::ast::File;
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

/// Name and text of every `.tile` file below a folder beside this crate.
pub fn folder(name: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    tile_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name), &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "{name} is beside this crate");
    paths.iter().map(|p| (p.display().to_string(), std::fs::read_to_string(p).unwrap())).collect()
}

/// Parses text that must be free of errors.
pub fn parse(name: &str, text: &str) -> File {
    let mut sources = SourceMap::new();
    let id = sources.add(name, text).unwrap();
    let parsed = tvmc_lang::parse(id, text);
    let shown: Vec<String> = parsed.diagnostics.iter().map(|d| render(d, &sources, false)).collect();
    assert!(shown.is_empty(), "{}\n{text}", shown.join("\n"));
    parsed.file
}

/// The whole tree as text without its spans; comments by their text.
pub fn spanless(file: &File, text: &str) -> String {
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

/// Formats text that must be free of errors, and checks the law of the printer: same tree, same comments, and a second time nothing
/// changes.
pub fn formatted(name: &str, text: &str) -> String {
    let file = parse(name, text);
    let printed = tvmc_lang::print::print(&file, text);
    let again = parse(name, &printed);
    assert_eq!(spanless(&file, text), spanless(&again, &printed), "{name}:\n{text}\n----\n{printed}");
    let twice = tvmc_lang::print::print(&again, &printed);
    assert_eq!(twice, printed, "{name} the second time; the source is\n{text}");
    printed
}
