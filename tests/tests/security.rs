//! The table of limits in SECURITY.md says what the sources say, both ways: every row names a constant with that
//! value, and every limit of a file in the table has a row. Reads text only, so it needs no other crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// File, constant and value, as written.
type Limit = (String, String, String);

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table: three cells, each in backquotes.
fn stated() -> Vec<Limit> {
    let rows = read("SECURITY.md");
    let cells = rows.lines().map(|line| line.split('`').collect::<Vec<_>>());
    cells
        .filter(|cells| cells.len() == 7 && cells[1].ends_with(".rs"))
        .map(|cells| (cells[1].to_owned(), cells[3].to_owned(), cells[5].to_owned()))
        .collect()
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
