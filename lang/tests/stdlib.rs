//! The standard library is what the grammar must be able to say: every file parses, and survives printing.

mod common;

use common::{formatted, parse};
use tvmc_lang::ast::ItemKind;

fn stdlib() -> Vec<(String, String)> {
    let files = common::folder("stdlib");
    assert!(files.len() >= 5, "the standard library is beside this crate");
    files
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

/// The files of this repository are in canonical form: `tvmc fmt` changes none of them.
#[test]
fn the_repository_is_formatted() {
    for (name, text) in [stdlib(), common::folder("examples")].concat() {
        assert!(formatted(&name, &text) == text, "{name}: run `tvmc fmt {name}`");
        for (at, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            let width = line.chars().count();
            assert!(width <= tvmc_lang::print::WIDTH, "{name}:{}: {width} columns", at + 1);
        }
    }
}

#[test]
fn every_construct_survives_printing() {
    let text = include_str!("every_construct.tile");
    assert_eq!(formatted("every_construct.tile", text), text, "the file is in canonical form");
}
