//! The TextMate grammar for editors is generated from the tables of the lexer, of dtypes and of builtins, so that it cannot lack a word.
//! `UPDATE=1` writes it.
//!
//! Its patterns use only what every engine of TextMate grammars has: groups, classes, `\b`, look-ahead.

use fancy_regex::Regex;
use serde_json::{Value, json};
use std::path::PathBuf;
use tvmc_lang::lexer::lex;
use tvmc_lang::source::SourceMap;
use tvmc_lang::token::{KEYWORDS, SOFT_KEYWORDS};
use tvmc_sema::BUILTINS;
use tvmc_types::dtype::DType;

/// Words that are values, among the keywords.
const CONSTANTS: [&str; 4] = ["true", "false", "inf", "nan"];
/// Words that begin an item.
const ITEMS: [&str; 5] = ["kernel", "fn", "format", "program", "const"];

fn words<'a>(list: impl IntoIterator<Item = &'a str>) -> String {
    let mut list: Vec<&str> = list.into_iter().collect();
    list.sort_unstable();
    list.dedup();
    format!("\\b(?:{})\\b", list.join("|"))
}

fn grammar() -> Value {
    let keywords = KEYWORDS.iter().copied().filter(|word| !CONSTANTS.contains(word));
    let dtypes: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
    json!({
        "name": "tile",
        "scopeName": "source.tile",
        "fileTypes": ["tile"],
        "patterns": [
            { "name": "comment.line.documentation.tile", "match": "///.*$" },
            { "name": "comment.line.double-slash.tile", "match": "//.*$" },
            {
                "name": "string.quoted.double.tile", "begin": "\"", "end": "\"",
                "patterns": [{ "name": "constant.character.escape.tile", "match": "\\\\(?:[nt\\\\\"]|u\\{[0-9A-Fa-f]+\\})" }],
            },
            {
                "match": format!("\\b({})\\s+([A-Za-z_][A-Za-z0-9_]*)", ITEMS.join("|")),
                "captures": { "1": { "name": "keyword.declaration.tile" }, "2": { "name": "entity.name.function.tile" } },
            },
            { "name": "constant.language.tile", "match": words(CONSTANTS) },
            { "name": "storage.type.tile", "match": words(dtypes) },
            { "name": "keyword.control.tile", "match": words(keywords) },
            { "name": "keyword.other.tile", "match": format!("{}(?!\\s*[(=:.,;)\\]])", words(SOFT_KEYWORDS.iter().copied())) },
            { "name": "support.function.tile", "match": format!("{}(?=\\s*\\()", words(BUILTINS.iter().copied())) },
            { "name": "constant.numeric.tile", "match": "\\b0x[0-9A-Fa-f_]+(?:\\.[0-9A-Fa-f_]*)?(?:p[+-]?[0-9]+)?|\\b0b[01_]+|\\b[0-9][0-9_]*(?:\\.(?!\\.)[0-9_]*)?(?:e[+-]?[0-9]+)?" },
            { "name": "variable.other.constant.tile", "match": "\\b[A-Z][A-Za-z0-9_]*\\b" },
            { "name": "keyword.operator.tile", "match": "\\+:|\\.\\.|->|&&|\\|\\||<<|>>|[-+*/%&|^]=?|[<>=!]=?|@|~" },
        ],
    })
}

#[test]
fn the_grammar_has_every_word() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../editors/vscode/tile.tmLanguage.json");
    let text = serde_json::to_string_pretty(&grammar()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is not what the tables say: run with UPDATE=1", path.display());
}

#[test]
fn the_grammar_colours_what_the_library_writes() {
    let grammar = grammar();
    let patterns: Vec<Regex> = grammar["patterns"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pattern| {
            let text = pattern["match"].as_str()?;
            Some(Regex::new(&format!("^(?:{text})$")).unwrap_or_else(|error| panic!("{text}: {error}")))
        })
        .collect();
    let mut sources = SourceMap::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../stdlib");
    let mut words = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "tile") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let id = sources.add(file.display().to_string(), text.clone()).unwrap();
        for (span, kind) in lex(id, &text).words() {
            let word = sources.text(span).trim_end();
            let bracket = word.chars().all(|c| "()[]{},;:.?".contains(c));
            let name = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let coloured = word.starts_with('"') || patterns.iter().any(|p| p.is_match(word).unwrap());
            assert!(bracket || name || coloured, "{}: nothing colours `{word}` ({kind})", file.display());
            words += 1;
        }
    }
    assert!(words > 500, "{words} words");
}

/// Every keyword, every builtin and every function of the library that is always in scope stands in the reference.
#[test]
fn the_reference_names_every_word() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let chapters = std::fs::read_dir(root.join("docs/reference")).unwrap();
    let reference: String =
        chapters.map(|chapter| std::fs::read_to_string(chapter.unwrap().path()).unwrap()).collect();
    let known: std::collections::BTreeSet<&str> =
        reference.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let math = std::fs::read_to_string(root.join("stdlib/math.tile")).unwrap();
    let functions = math.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next());
    let words = KEYWORDS.iter().chain(SOFT_KEYWORDS).chain(BUILTINS).copied().chain(functions);
    let missing: Vec<&str> = words.filter(|word| !known.contains(word)).collect();
    assert!(missing.is_empty(), "docs/reference does not name {missing:?}");
}
