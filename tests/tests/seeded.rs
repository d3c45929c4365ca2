//! The deliberate faults of `tests/seeded` fit the tree as it is now, so that they cannot rot between two runs of `tests/seeded/run`.
//!
//! A patch maps to hunks, and a hunk to the lines that it expects: those that begin with a space (context) or `-` (what it removes). It fits if these
//! lines stand together in its file, in this order, exactly once: never at a place that only looks alike, as the offsets and fuzz of `patch` would allow.
//!
//! ```text
//! @@ -2,3 +2,3 @@        expects  let limit = 4;
//!  let limit = 4;                  below(index, limit)
//! -below(index, limit)    makes    let limit = 4;
//! +up_to(index, limit)             up_to(index, limit)
//! ```
//!
//! Refused: a head without `kind`, `what` or `tests`, a patch without a hunk, a hunk that changes nothing, a file that is not there. Neither git nor `patch` is
//! needed.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// A change to one place of one file.
#[derive(Default, Debug)]
struct Hunk {
    /// The file, below the root.
    file: String,
    /// The lines that must be there.
    before: Vec<String>,
    /// The lines that take their place.
    after: Vec<String>,
}

/// The hunks of a patch, or what its head or form lacks.
fn hunks(patch: &str) -> Result<Vec<Hunk>, String> {
    for field in ["kind: ", "what: ", "tests: "] {
        if !patch.lines().any(|line| line.strip_prefix(field).is_some_and(|text| !text.trim().is_empty())) {
            return Err(format!("its head says no `{}`", field.trim_end()));
        }
    }
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut file = None;
    // Lines of the current hunk that are still to come, before and after the change.
    let mut left = (0, 0);
    for line in patch.lines() {
        if left == (0, 0) {
            if let Some(path) = line.strip_prefix("+++ b/") {
                file = Some(path.to_owned());
            } else if let Some(ranges) = line.strip_prefix("@@ -") {
                let file = file.clone().ok_or("a hunk before the name of its file")?;
                left = lengths(ranges).ok_or_else(|| format!("ranges that cannot be read: {line}"))?;
                hunks.push(Hunk { file, ..Hunk::default() });
            }
            continue;
        }
        let hunk = hunks.last_mut().ok_or("a line before the first hunk")?;
        let (sign, text) = line.split_at_checked(1).unwrap_or((" ", ""));
        let (removed, added) = match sign {
            " " => (1, 1),
            "-" => (1, 0),
            "+" => (0, 1),
            // `\ No newline at end of file` is about the line above.
            _ => continue,
        };
        left = match (usize::checked_sub(left.0, removed), usize::checked_sub(left.1, added)) {
            (Some(before), Some(after)) => (before, after),
            _ => return Err(format!("a hunk is longer than its ranges say: {line}")),
        };
        if removed == 1 {
            hunk.before.push(text.to_owned());
        }
        if added == 1 {
            hunk.after.push(text.to_owned());
        }
    }
    match hunks.iter().find(|hunk| hunk.before == hunk.after) {
        _ if left != (0, 0) => Err("its last hunk is shorter than its ranges say".to_owned()),
        Some(hunk) => Err(format!("a hunk changes nothing in {}", hunk.file)),
        None if hunks.is_empty() => Err("it has no hunk".to_owned()),
        None => Ok(hunks),
    }
}

/// How many lines a hunk has before and after, of `2,3 +2,3 @@`; a length that is not written is one.
fn lengths(ranges: &str) -> Option<(usize, usize)> {
    let mut words = ranges.split(' ');
    let length = |word: &str| {
        word.split_once(',')
            .map_or_else(|| word.parse().ok().map(|_: usize| 1), |(_, length)| length.parse().ok())
    };
    Some((length(words.next()?)?, length(words.next()?.strip_prefix('+')?)?))
}

/// Why a hunk does not fit a file of this text.
fn misfit(hunk: &Hunk, text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let places = lines.windows(hunk.before.len().max(1)).filter(|window| **window == *hunk.before).count();
    (places != 1).then(|| {
        let lacking = hunk.before.iter().find(|line| !lines.contains(&line.as_str()));
        let hint = lacking.map_or(String::new(), |line| format!("; no line is now `{}`", line.trim()));
        format!("{}: what it expects is there {places} times{hint}", hunk.file)
    })
}

#[test]
fn every_patch_fits_the_tree() {
    let folder = root().join("tests/seeded");
    let (mut patches, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder).expect("the folder of patches") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        patches += 1;
        let name = path.file_name().unwrap_or_default().display().to_string();
        let patch = fs::read_to_string(&path).expect("UTF-8");
        match hunks(&patch) {
            Err(reason) => wrong.push(format!("{name}: {reason}")),
            Ok(hunks) => wrong.extend(hunks.iter().filter_map(|hunk| {
                let misfit = match fs::read_to_string(root().join(&hunk.file)) {
                    Ok(text) => misfit(hunk, &text)?,
                    Err(error) => format!("{}: {error}", hunk.file),
                };
                Some(format!("{name}: {misfit}"))
            })),
        }
    }
    assert!(patches > 0, "no patch in tests/seeded");
    assert!(wrong.is_empty(), "make these patches anew for the tree as it is:\n{}", wrong.join("\n"));
}

const HEAD: &str = "kind: k\nwhat: w\ntests: t\n";

#[test]
fn a_patch_that_does_not_fit_is_noticed() {
    let patch = format!("{HEAD}--- a/f\n+++ b/f\n@@ -2,2 +2,2 @@ fn\n let limit = 4;\n-below\n+up_to\n");
    let hunks = hunks(&patch).expect("a sound patch");
    let [hunk] = &hunks[..] else { panic!("{hunks:?}") };
    assert_eq!((&hunk.before[1][..], &hunk.after[1][..]), ("below", "up_to"));
    assert_eq!(misfit(hunk, "a\nlet limit = 4;\nbelow\nb\n"), None);
    let told = |text| misfit(hunk, text).expect("a misfit");
    assert_eq!(
        told("let limit = 4;\nabove\n"),
        "f: what it expects is there 0 times; no line is now `below`"
    );
    let twice = "let limit = 4;\nbelow\n".repeat(2);
    assert_eq!(told(&twice), "f: what it expects is there 2 times");
    assert_eq!(told("below\nlet limit = 4;\n"), "f: what it expects is there 0 times");
}

#[test]
fn patches_that_say_nothing_are_refused() {
    let refused = |patch: &str| hunks(patch).expect_err("refused");
    assert_eq!(refused("kind: k\nwhat: w\n"), "its head says no `tests:`");
    assert_eq!(refused(HEAD), "it has no hunk");
    assert_eq!(refused(&format!("{HEAD}@@ -1 +1 @@\n")), "a hunk before the name of its file");
    let begun = format!("{HEAD}+++ b/f\n");
    assert_eq!(refused(&format!("{begun}@@ -1 +1 @@\n-a\n+a\n")), "a hunk changes nothing in f");
    assert_eq!(
        refused(&format!("{begun}@@ -1,2 +1 @@\n-a\n+b\n")),
        "its last hunk is shorter than its ranges say"
    );
    assert_eq!(refused(&format!("{begun}@@ -x +1 @@\n")), "ranges that cannot be read: @@ -x +1 @@");
}
