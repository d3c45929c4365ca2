//! Every message of the front end is brought out by a filetest. Nothing here lists messages: they are found in the sources.
//!
//! Two nets, because a place may say several things and two places the same:
//!
//! * **places**: each expression of `lang` and `compiler/sema` that makes a diagnostic is reached by a file of `diag`. A diagnostic knows its
//!   [origin](tvmc_lang::diag::Diagnostic::origin), so this is exact.
//! * **words**: each text of `compiler/sema`, of the layout algebra and of the rules of layouts that has more than one word stands in what some file
//!   expects, `{..}` matching anything. So every label, note and way out is pinned, and no wording that nobody can see stays.
//!
//! ```text
//! self.error(Code::WrongType, span, format!("a condition is bool, not {ty}"), "a tile")      one place, one text
//! ```
//!
//! What a fault of the compiler would say is no message of a user: texts of `expect`, `unreachable!`, `panic!` and of assertions, and what begins with
//! [`INTERNAL`](tvmc_lang::diag::INTERNAL). Neither is what stands in a table of names (`rows!`).

use fancy_regex::Regex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tvmc_tests::filetests::{self, FileTest, Stage};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The Rust files at or below a path, as path below the root and text without its tests.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut stack = vec![root().join(below)];
    let mut found = Vec::new();
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a readable folder");
            stack.extend(entries.map(|e| e.expect("an entry").path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("UTF-8 source");
            let text = text.split("#[cfg(test)]").next().unwrap_or("").to_owned();
            let path = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

fn tests(stage: Stage) -> impl Iterator<Item = FileTest> {
    filetests::all().expect("readable filetests").into_iter().filter(move |t| t.stage == stage)
}

#[test]
fn every_place_that_reports_is_reached() {
    let origins = |test: &FileTest| {
        let said = filetests::diagnostics(test).unwrap_or_else(|e| panic!("{}: {e}", test.name()));
        said.into_iter()
            .map(|(d, _)| (d.origin.file().to_owned(), d.origin.line() as usize))
            .collect::<Vec<_>>()
    };
    let files: Vec<FileTest> = tests(Stage::Diag).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = |at: usize| files.iter().skip(at).step_by(threads).flat_map(origins).collect::<Vec<_>>();
    let reached: BTreeSet<(String, usize)> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|at| scope.spawn(move || part(at))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("a thread that ends")).collect()
    });
    let mut missing = Vec::new();
    let mut places = 0;
    for (path, text) in sources("lang/src").into_iter().chain(sources("compiler/sema/src")) {
        for line in reporting(&text) {
            places += 1;
            if !reached.contains(&(path.clone(), line)) {
                missing.push(format!("{path}:{line}"));
            }
        }
    }
    assert!(places > 250, "only {places} places were found: does the test still look for the right thing?");
    assert!(missing.is_empty(), "no filetest of `diag` reaches {} of {places}: {missing:#?}", missing.len());
}

/// Lines that make a diagnostic. A function that is marked `#[track_caller]` speaks for its callers.
fn reporting(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut passes_on: Option<String> = None;
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim() == "#[track_caller]" {
            passes_on = Some(format!("{indent}}}"));
        }
        if let Some(end) = &passes_on {
            if line == end {
                passes_on = None;
            }
            continue;
        }
        let code = line.split("//").next().unwrap_or("");
        let whole = code.contains("Diagnostic::error(") || code.contains("Diagnostic::warning(");
        let first = lines.get(at + 1).map_or("", |l| l.trim_start());
        let by_code =
            code.contains(".error(Code::") || code.ends_with(".error(") && first.starts_with("Code::");
        if whole || by_code {
            found.push(at + 1);
        }
    }
    found
}

#[test]
fn every_wording_is_shown() {
    let said = |stage: Stage| tests(stage).filter_map(|t| t.expected).collect::<Vec<_>>().join("\n");
    // What `tvmc layout` says, and the words of the algebra that neither it nor a program can bring out.
    let others = ["compiler/tvmc/tests/layout_refusals.txt", "compiler/types/tests/layout_golden.rs"];
    let others = others.map(|path| std::fs::read_to_string(root().join(path)).expect("a file of refusals"));
    let shown = [said(Stage::Diag), said(Stage::Verify), others.concat()].join("\n");
    // What the parser expected is put together of the grammar's words (`parser/expected.rs`), and has its files in `diag`, but no wordings.
    let parser = ["build.rs", "check.rs", "outline.rs"].map(|file| format!("lang/src/parser/{file}"));
    let language = ["lang/src/lexer.rs", "lang/src/literal.rs", "compiler/sema/src"];
    let language = language.map(str::to_owned).into_iter().chain(parser);
    let layouts = ["compiler/types/src/layout", "compiler/ir/src/tile/pins.rs"];
    let folders = language.chain(layouts.map(str::to_owned));
    let mut missing = Vec::new();
    let mut wordings = 0;
    for (path, text) in folders.flat_map(|folder| sources(&folder)) {
        for (line, literal) in literals(&text) {
            for wording in literal.lines().filter_map(pattern) {
                wordings += 1;
                if !Regex::new(&wording).expect("a pattern").is_match(&shown).expect("matched") {
                    missing.push(format!("{path}:{line}: {literal}"));
                }
            }
        }
    }
    assert!(
        wordings > 700,
        "only {wordings} wordings were found: does the test still look for the right thing?"
    );
    assert!(missing.is_empty(), "no expectation has {} of {wordings}: {missing:#?}", missing.len());
}

/// The pattern of a line of text: itself, with anything in its holes. `None` for what is not two words.
fn pattern(text: &str) -> Option<String> {
    let mut fixed = String::new();
    let mut pattern = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let doubled = rest.starts_with("{{") || rest.starts_with("}}");
        let hole = rest.find('}').filter(|_| c == '{' && !doubled);
        let length = hole.map_or(c.len_utf8() * (1 + usize::from(doubled)), |end| end + 1);
        if hole.is_some() {
            pattern.push_str(".*");
        } else {
            fixed.push(c);
            pattern.push_str(&fancy_regex::escape(&c.to_string()));
        }
        rest = &rest[length..];
    }
    let internal = text.starts_with("{INTERNAL}") || text.starts_with(tvmc_lang::diag::INTERNAL);
    let words = fixed.split_whitespace().filter(|w| w.chars().any(char::is_alphabetic)).count();
    (words > 1 && !internal).then_some(pattern)
}

/// The texts of a source with their lines, without those of faults of the compiler.
fn literals(source: &str) -> Vec<(usize, String)> {
    let faults = ["expect(", "unreachable!(", "panic!(", "assert!(", "assert_eq!(", "rows! {"];
    let mut found = Vec::new();
    let mut at = 0;
    let line = |at: usize| source[..at].matches('\n').count() + 1;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(fault) = faults.iter().find(|fault| rest.starts_with(**fault)) {
            at += fault.len() + bracketed(&rest[fault.len()..]);
        } else if c == '"' {
            let (text, length) = literal(&rest[1..]);
            found.push((line(at), text));
            at += 1 + length;
        } else if let Some(length) = character(rest) {
            at += length;
        } else {
            at += c.len_utf8();
        }
    }
    found
}

/// The length of a character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let length = match inside.strip_prefix('\\') {
        Some(escaped) => 1 + escaped.char_indices().nth(1)?.0,
        None => inside.chars().next()?.len_utf8(),
    };
    inside[length..].starts_with('\'').then_some(length + 2)
}

/// How much text there is up to the bracket that closes one.
fn bracketed(text: &str) -> usize {
    let (mut depth, mut at) = (1, 0);
    while let Some(c) = text[at..].chars().next() {
        at += match c {
            '"' => literal(&text[at + 1..]).1,
            _ => character(&text[at..]).map_or(0, |length| length - c.len_utf8()),
        };
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        at += c.len_utf8();
        if depth == 0 {
            break;
        }
    }
    at
}

/// A text whose quote is open, and how much of the source it takes with the quote that closes it.
fn literal(rest: &str) -> (String, usize) {
    let mut text = String::new();
    let mut at = 0;
    while let Some(c) = rest[at..].chars().next() {
        at += c.len_utf8();
        match c {
            '"' => break,
            '\\' => {
                let escaped = rest[at..].chars().next().unwrap_or('\\');
                at += escaped.len_utf8();
                match escaped {
                    'n' => text.push('\n'),
                    '\n' => at += rest[at..].len() - rest[at..].trim_start().len(),
                    other => text.push(other),
                }
            }
            other => text.push(other),
        }
    }
    (text, at)
}

#[test]
fn texts_and_patterns_are_read_as_rust_reads_them() {
    let source = r#"let a: &'static str = "one {x} two"; f('"', '\''); // "a comment"
        g.expect("a fault (of us)"); h("{{}} \"said\" \
            again");"#;
    let texts: Vec<String> = literals(source).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one {x} two", "{{}} \"said\" again"]);
    assert_eq!(pattern("one {x} two").as_deref(), Some("one .* two"));
    assert_eq!(pattern("{a} single"), None);
    assert_eq!(literals(source)[1].0, 2);
}
