//! Filetests: one file is one test. It holds a source, what to do with it, and what must come out.
//!
//! ```text
//! //; kernel k                       directives: the first lines of the file that begin with `//;` (`;;` in IR text)
//! //; arg x: f32[3] = 1 2 3
//! //; out y: f32[3]
//! kernel k(x: f32[N], y: out f32[N]) ..
//! // ---- expected
//! // y = 2 4 6                       what the stage gives, line by line, as comments
//! ```
//!
//! The folder names the stage ([`STAGES`]); the file's stem names the test. `UPDATE=1` writes what comes out into the files: read the
//! difference before you commit it. `tests/filetests/README.md` lists the directives of each stage.
//!
//! **Refuses** a directive that its stage does not know, and a file without an expectation: nothing passes by being ignored.

mod diagnostics;
mod lanes;
mod launch;
mod paste;
mod stages;

pub use diagnostics::diagnostics;
pub use paste::paste;
pub use stages::instance;
pub use stages::{STAGES, Stage};

use crate::machines::Ran;
use std::path::{Path, PathBuf};

const MARKER: &str = "---- expected";

/// A filetest as it lies on disk.
pub struct FileTest {
    /// Where it is.
    pub path: PathBuf,
    /// Its stage.
    pub stage: Stage,
    /// Directives, without the comment sign: first word and rest.
    pub directives: Vec<(String, String)>,
    /// Everything before the marker.
    pub source: String,
    /// What must come out; none in a file that was never updated.
    pub expected: Option<String>,
}

impl FileTest {
    /// Reads a file of a stage.
    pub fn read(path: &Path, stage: Stage) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        // A file may test invalid UTF-8: its stage reads the bytes again.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let comment = comment_of(path);
        let marker = format!("{comment} {MARKER}\n");
        let (source, expected) = match text.split_once(&marker) {
            Some((source, expected)) => (source.to_owned(), Some(uncomment(expected, comment))),
            None => (text, None),
        };
        let sign = format!("{comment};");
        let directives = source
            .lines()
            .map_while(|line| line.strip_prefix(&sign))
            .map(|line| {
                let line = line.trim();
                let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
                (word.to_owned(), rest.trim().to_owned())
            })
            .collect();
        Ok(Self { path: path.to_owned(), stage, directives, source, expected })
    }

    /// The file's name without its folder.
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// Whether it is a lane function, not a source.
    pub fn is_lane(&self) -> bool {
        self.path.extension().is_some_and(|e| e == "lir")
    }

    /// Values of a directive, in order.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.directives.iter().filter(move |(w, _)| w == word).map(|(_, rest)| rest.as_str())
    }

    /// The value of a directive that stands at most once.
    pub fn one(&self, word: &str) -> Option<&str> {
        self.directives.iter().find(|(w, _)| w == word).map(|(_, rest)| rest.as_str())
    }

    /// Runs the test; with `update`, writes what came out instead of comparing.
    pub fn run(&self, update: bool) -> Result<(), String> {
        let known = self.stage.directives();
        if let Some((word, _)) = self.directives.iter().find(|(word, _)| !known.contains(&word.as_str())) {
            return Err(format!("stage `{}` has no directive `{word}`; it has {known:?}", self.stage.name()));
        }
        let mut actual = self.stage.run(self)?;
        while actual.ends_with('\n') {
            actual.pop();
        }
        if update {
            return self.write(&actual);
        }
        let Some(expected) = &self.expected else {
            return Err(format!("no expectation yet: run with UPDATE=1. It gives\n{actual}"));
        };
        if *expected == actual {
            return Ok(());
        }
        let difference = similar::TextDiff::from_lines(expected.as_str(), actual.as_str());
        Err(format!("{}", difference.unified_diff().header("expected", "actual")))
    }

    fn write(&self, actual: &str) -> Result<(), String> {
        if self.expected.as_deref() == Some(actual) {
            return Ok(());
        }
        let comment = comment_of(&self.path);
        let bytes = std::fs::read(&self.path).map_err(|e| e.to_string())?;
        let marker = format!("{comment} {MARKER}\n");
        let end = find(&bytes, marker.as_bytes()).unwrap_or(bytes.len());
        let mut bytes = bytes[..end].to_vec();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        bytes.extend(marker.bytes());
        for line in actual.lines() {
            let line = if line.is_empty() { format!("{comment}\n") } else { format!("{comment} {line}\n") };
            bytes.extend(line.bytes());
        }
        std::fs::write(&self.path, bytes).map_err(|e| e.to_string())
    }

    /// The bytes before the marker.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = std::fs::read(&self.path).map_err(|e| e.to_string())?;
        let marker = format!("{} {MARKER}\n", comment_of(&self.path));
        let end = find(&bytes, marker.as_bytes()).unwrap_or(bytes.len());
        Ok(bytes[..end].to_vec())
    }
}

/// A machine that may have too little for a kernel is named in the file, with the limit: `too-large wgsl workgroup memory`. One that has enough runs it all the same.
fn skips_are_stated(test: &FileTest, ran: &Ran) -> Result<(), String> {
    let stated =
        |machine: &str, limit: &str| test.all("too-large").any(|s| s == format!("{machine} {limit}"));
    match ran.skipped.iter().find(|skip| !stated(skip.machine, skip.limit)) {
        None => Ok(()),
        Some(skip) => Err(format!(
            "it does not run on {0}: {1}. If that is meant, say `too-large {0} {2}`",
            skip.machine, skip.why, skip.limit
        )),
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn comment_of(path: &Path) -> &'static str {
    if path.extension().is_some_and(|e| e == "tile") { "//" } else { ";" }
}

fn uncomment(text: &str, comment: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.strip_prefix(comment).unwrap_or(line);
        line.strip_prefix(' ').unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The folder of filetests.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests")
}

/// All filetests, by stage and name.
pub fn all() -> Result<Vec<FileTest>, String> {
    let mut tests = Vec::new();
    for stage in STAGES {
        let folder = folder().join(stage.name());
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        paths.sort();
        for path in paths {
            tests.push(FileTest::read(&path, *stage)?);
        }
    }
    Ok(tests)
}
