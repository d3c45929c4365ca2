//! `tvmc fmt`: source files in canonical form.
//!
//! A file is read whole, printed from its tree, and replaced by a rename, so that it is never half written and keeps its permissions.
//! Nothing is written where nothing changes, where the file has syntax errors, or with `--check`. Before anything is written the
//! result is parsed again and printed again: a printer that lost a word would be stopped here.

use super::{Failure, USER_ERROR, save, say};
use crate::internal::{self, Stage};
use crate::output;
use std::io::Read;
use std::path::{Path, PathBuf};
use tvmc_lang::diag::Diagnostic;
use tvmc_lang::limits::MAX_SOURCE_BYTES;
use tvmc_lang::source::SourceMap;
use tvmc_lang::span::SourceId;

/// Files beyond this are not even read: a little more than the language takes, so that its own diagnostic is given for those just above.
const MAX_READ: u64 = 2 * MAX_SOURCE_BYTES as u64;

/// `tvmc fmt`.
pub fn fmt(files: &[PathBuf], check: bool) -> Result<(), Failure> {
    let mut failed = false;
    let mut unformatted = 0usize;
    for file in files {
        match one(file, check) {
            Ok(changed) => unformatted += usize::from(changed && check),
            Err(failure) if failure.code == 0 => return Err(failure),
            Err(failure) => {
                output::failure(&failure);
                failed = true;
            }
        }
    }
    match unformatted {
        _ if failed => Err(Failure::silent(USER_ERROR)),
        0 => Ok(()),
        1 => Err(Failure::user("1 file is not formatted").help("run `tvmc fmt` without --check")),
        n => {
            Err(Failure::user(format!("{n} files are not formatted")).help("run `tvmc fmt` without --check"))
        }
    }
}

/// Formats one file, or stdin; whether it changed.
fn one(file: &Path, check: bool) -> Result<bool, Failure> {
    let stdin = file == Path::new("-");
    let name = if stdin { "stdin".to_owned() } else { file.display().to_string() };
    let unreadable = |why: &dyn std::fmt::Display| Failure::user(format!("cannot read {name}: {why}"));
    let bytes = if stdin { read(std::io::stdin().lock()) } else { std::fs::File::open(file).and_then(read) };
    let bytes = bytes.map_err(|e| unreadable(&e))?;
    let mut sources = SourceMap::new();
    let id = sources.add_bytes(name.as_str(), &bytes).map_err(|d| refuse(&[*d], &sources))?;
    let text = sources.source(id).text().to_owned();
    let printed = canonical(&mut sources, id)?;
    let changed = printed != text;
    if check {
        if changed {
            say(&format!("{name}\n"))?;
        }
    } else if stdin {
        say(&printed)?;
    } else if changed {
        save(file, printed.as_bytes())?;
    }
    Ok(changed)
}

fn read(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_READ).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The canonical form of a source without errors.
fn canonical(sources: &mut SourceMap, id: SourceId) -> Result<String, Failure> {
    let source = sources.source(id);
    let (name, text) = (source.name().to_owned(), source.text().to_owned());
    let parsed = tvmc_lang::parse(id, &text);
    if !parsed.is_ok() {
        return Err(refuse(&parsed.diagnostics, sources));
    }
    let printed = tvmc_lang::print::print(&parsed.file, &text);
    let broken = |why: &str| {
        let what = format!("it would be printed {why}; it was left alone");
        Failure::user(internal::broken(Stage::Format, &name, &what, &|| text.clone()))
    };
    let again = tvmc_lang::parse(id, &printed);
    if !again.is_ok() || again.file.exprs.len() != parsed.file.exprs.len() {
        return Err(broken("with another meaning"));
    }
    if again.file.comments.len() != parsed.file.comments.len() {
        return Err(broken("without some of its comments"));
    }
    if tvmc_lang::print::print(&again.file, &printed) != printed {
        return Err(broken("otherwise a second time"));
    }
    Ok(printed)
}

/// Prints why a file is not touched.
fn refuse(diagnostics: &[Diagnostic], sources: &SourceMap) -> Failure {
    output::diagnostics(diagnostics, sources);
    Failure::silent(USER_ERROR)
}
