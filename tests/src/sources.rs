//! Sources in tests: loaded with the standard library at hand.

use tvmc_lang::diag::{Diagnostic, render};
use tvmc_sema::{Library, Loaded, Source, Use};

/// A text with all that it uses of the standard library; other files are not there.
pub fn load(name: &str, text: &str) -> Loaded {
    let mut load = |wanted: Use<'_>| match wanted {
        Use::Library(name) => {
            tvmc_stdlib::module(name).map(|text| Source { name: name.to_owned(), text: text.to_owned() })
        }
        Use::File { .. } => None,
    };
    let root = Source { name: name.to_owned(), text: text.to_owned() };
    Library::load(root, tvmc_stdlib::PRELUDE, &mut load)
}

/// Diagnostics as the command shows them.
pub fn shown(library: &Library, list: &[Diagnostic]) -> String {
    list.iter().map(|diagnostic| render(diagnostic, library.sources(), false)).collect()
}
