//! `docs/instructions.md` against the tables: its second columns name what the language has, its table of tile IR every operation, and both
//! together every function.

use std::collections::BTreeSet;
use std::path::PathBuf;
use tvmc_ir::tile::Form;
use tvmc_lang::token::{KEYWORDS, SOFT_KEYWORDS};
use tvmc_sema::{BUILTINS, METHODS};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of a document's tables below a heading, without the heads of tables: their columns.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let table = text.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn parts() -> (String, String) {
    let text = read("docs/instructions.md");
    let (language, ir) = text.split_once("\n## Tile IR\n").expect("a section on tile IR");
    (language.to_owned(), ir.to_owned())
}

#[test]
fn what_the_table_calls_ours_is_in_the_language() {
    let functions = ["stdlib/math.tile", "stdlib/random.tile"].map(read).concat();
    let functions: Vec<&str> =
        functions.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next()).collect();
    let known: BTreeSet<&str> = KEYWORDS
        .iter()
        .chain(SOFT_KEYWORDS)
        .chain(BUILTINS)
        .chain(&METHODS)
        .chain(&["T"])
        .chain(&functions)
        .copied()
        .collect();
    let (language, ir) = parts();
    let mut named = BTreeSet::new();
    for row in rows(&language).iter().chain(&rows(&ir)) {
        let names = quoted(row[1]);
        let absent = row[1].starts_with("not yet") || row[1].starts_with("not planned");
        assert!(absent != names.iter().any(|name| !name.is_empty()), "a row is of one kind: {row:?}");
        let unknown: Vec<&String> = names.iter().filter(|name| !known.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?} of {row:?} are not in the language");
        named.extend(names);
    }
    let missing: Vec<&&str> =
        BUILTINS.iter().chain(&METHODS).filter(|name| !named.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/instructions.md does not name {missing:?}");
}

#[test]
fn every_operation_of_tile_ir_stands_in_the_table() {
    let (_, ir) = parts();
    let named: BTreeSet<String> = rows(&ir).iter().flat_map(|row| quoted(row[0])).collect();
    let forms: BTreeSet<String> = Form::ALL.iter().map(|form| form.name().to_owned()).collect();
    assert_eq!(named, forms, "the first column of the table of tile IR");
}
