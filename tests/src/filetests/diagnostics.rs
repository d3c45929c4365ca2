//! The stage `diag`: everything that the compiler says of a source.
//!
//! First each item is checked by itself, as `tvmc check` does. Where that finds nothing, a directive goes on:
//!
//! | directive | what is compiled |
//! |---|---|
//! | `append N "text"` | the source is that much longer |
//! | `files N` | the source also uses N empty files, `more0.tile` and so on |
//! | `kernel NAME` | an instance of the kernel, with what `set NAME=VALUE ..` gives its dimensions and generic parameters and `tune NAME=VALUE ..` its tune names |
//! | `program NAME` | the program, with what `set` gives its generic parameters |

use super::FileTest;
use super::stages::{choices, load};
use std::collections::BTreeMap;
use tvmc_ir::program::MemoryElement;
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_lang::source::SourceMap;
use tvmc_sema::{ElementChoice, Library, Loaded};

/// What is said of a file's source, each diagnostic with its rendered text.
pub fn diagnostics(test: &FileTest) -> Result<Vec<(Diagnostic, String)>, String> {
    let mut bytes = test.bytes()?;
    for text in test.all("append") {
        let (count, text) = text.split_once(' ').ok_or("`append N \"text\"`")?;
        let count: usize = count.parse().map_err(|_| "`append N \"text\"`")?;
        let text = text.trim_matches('"').replace("\\n", "\n");
        bytes.extend(text.repeat(count).bytes());
    }
    if let Some(count) = test.one("files") {
        let count: usize = count.parse().map_err(|_| "`files N`")?;
        bytes.extend((0..count).flat_map(|at| format!("use \"more{at}.tile\";\n").into_bytes()));
    }
    let mut sources = SourceMap::new();
    if let Err(diagnostic) = sources.add_bytes(test.name(), &bytes) {
        return Ok(rendered(vec![*diagnostic], &sources));
    }
    let text = String::from_utf8(bytes).map_err(|e| e.to_string())?;
    let longer = FileTest {
        source: text,
        path: test.path.clone(),
        stage: test.stage,
        directives: test.directives.clone(),
        expected: None,
    };
    let Loaded { library, mut diagnostics } = load(&longer);
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(tvmc_sema::check(&library));
    }
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(instance(&longer, &library)?);
    }
    Ok(rendered(diagnostics, library.sources()))
}

/// What is said of the instance that the directives choose.
fn instance(test: &FileTest, library: &Library) -> Result<Vec<Diagnostic>, String> {
    let chosen = choices(test, |_| false)?;
    if let Some(name) = test.one("kernel") {
        return Ok(tvmc_sema::instantiate(library, name, &chosen).err().unwrap_or_default());
    }
    let Some(name) = test.one("program") else { return Ok(Vec::new()) };
    let element = |choice: &ElementChoice| match choice {
        ElementChoice::DType(dtype) => MemoryElement::DType(*dtype),
        ElementChoice::Format(format) => MemoryElement::Format(format.clone()),
    };
    let elements: BTreeMap<String, MemoryElement> =
        chosen.formats.iter().map(|(name, choice)| (name.clone(), element(choice))).collect();
    Ok(tvmc_sema::program_with(library, name, &elements).err().unwrap_or_default())
}

fn rendered(diagnostics: Vec<Diagnostic>, sources: &SourceMap) -> Vec<(Diagnostic, String)> {
    let text = |d: &Diagnostic| render(d, sources, false);
    diagnostics.into_iter().map(|d| (d.clone(), text(&d))).collect()
}

/// The text of all of them.
pub(super) fn run(test: &FileTest) -> Result<String, String> {
    let said = diagnostics(test)?;
    if said.is_empty() {
        return Err("a `diag` test has a diagnostic".to_owned());
    }
    Ok(said.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n\n"))
}
