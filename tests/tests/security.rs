//! The table of limits in SECURITY.md says what the sources say, both ways: every row names a constant with that
//! value, and every limit of a file in the table has a row. A row's test is there, and speaks of the constant. Reads text only, so it needs no other crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// File, constant and value, as written.
type Limit = (String, String, String);

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table: three cells, each in backquotes, and what tries the limit.
fn rows() -> Vec<(Limit, String)> {
    let text = read("SECURITY.md");
    let cells = text.lines().map(|line| line.splitn(7, '`').collect::<Vec<_>>());
    cells
        .filter(|cells| cells.len() == 7 && cells[1].ends_with(".rs"))
        .map(|cells| {
            let tried = cells[6].trim().trim_matches('|').trim().to_owned();
            ((cells[1].to_owned(), cells[3].to_owned(), cells[5].to_owned()), tried)
        })
        .collect()
}

fn stated() -> Vec<Limit> {
    rows().into_iter().map(|(limit, _)| limit).collect()
}

/// The text of a test in a file, and all before the first test, where constants are brought in.
fn test(file: &str, name: &str) -> Option<(String, String)> {
    let text = read(file);
    let head = text.split("#[test]").next().unwrap_or_default().to_owned();
    let body = text.split("#[test]").skip(1).find(|part| part.contains(&format!("fn {name}()")))?;
    Some((head, body.to_owned()))
}

#[test]
fn every_limit_is_tried_or_says_why_not() {
    let (mut wrong, mut untried) = (Vec::new(), 0);
    for ((file, constant, _), tried) in rows() {
        if let Some(reason) = tried.strip_prefix("not at its value: ") {
            untried += 1;
            if reason.len() < 10 {
                wrong.push(format!("{constant} of {file} gives no reason"));
            }
            continue;
        }
        let words: Vec<&str> = tried.split('`').collect();
        let found = match words[..] {
            ["", path, " ", name, ""] => test(path, name),
            _ => None,
        };
        let speaks = |text: &str, name: &str| {
            text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
        };
        match found {
            Some((_, body)) if speaks(&body, &constant) => {}
            // A constant of another name there stands for it.
            Some((head, body))
                if head.lines().any(|line| {
                    let named = line.strip_prefix("const ").and_then(|rest| rest.split(':').next());
                    named.is_some_and(|name| {
                        name.ends_with(constant.trim_start_matches("MAX_")) && speaks(&body, name)
                    })
                }) => {}
            Some(_) => wrong.push(format!("{tried} does not speak of {constant}")),
            None => wrong.push(format!("{constant} of {file}: there is no test {tried}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(untried <= 5, "{untried} limits are not tried");
}

/// The limits a file declares: its constants named `MAX_..`, and those of fuel.
fn declared(file: &str) -> Vec<Limit> {
    let text = read(file);
    let limit = |line: &str| {
        let line = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("const ")?;
        let (name, rest) = line.split_once(": ")?;
        let (_, value) = rest.strip_suffix(';')?.split_once(" = ")?;
        let counts = name.starts_with("MAX_") || name.contains("FUEL");
        counts.then(|| (file.to_owned(), name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(limit).collect()
}

#[test]
fn the_table_of_limits_is_what_the_sources_say() {
    let stated = stated();
    let files: BTreeSet<&str> = stated.iter().map(|row| row.0.as_str()).collect();
    assert!(files.contains("lang/src/limits.rs"), "SECURITY.md has lost its table of limits");
    let declared: BTreeSet<Limit> = files.into_iter().flat_map(declared).collect();
    let rows: BTreeSet<Limit> = stated.iter().cloned().collect();
    assert_eq!(rows.len(), stated.len(), "a limit stands twice in SECURITY.md");
    let missing: Vec<_> = declared.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&declared).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "SECURITY.md lacks {missing:#?} and wrongly says {stale:#?}"
    );
}
