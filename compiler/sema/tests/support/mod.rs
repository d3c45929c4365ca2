//! Loading sources with the standard library, and showing what went wrong.
#![allow(dead_code)] // each test file uses its part

use std::collections::HashMap;
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_sema::{ElementChoice, Instance, Library, Loaded, Source, Use};
use tvmc_types::dtype::DType;

/// Loads a source that may `use` the standard library.
pub fn load(text: &str) -> Loaded {
    load_with(text, &[])
}

/// Loads a source beside other files.
pub fn load_with(text: &str, beside: &[(&str, &str)]) -> Loaded {
    let root = Source { name: "test.tile".into(), text: text.into() };
    Library::load(root, tvmc_stdlib::PRELUDE, &mut |wanted| match wanted {
        Use::Library(name) => tvmc_stdlib::module(name)
            .map(|text| Source { name: format!("std/{name}"), text: text.to_owned() }),
        Use::File { path, .. } => beside
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(name, text)| Source { name: (*name).into(), text: (*text).into() }),
    })
}

/// Diagnostics as a person sees them.
pub fn shown(library: &Library, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| render(d, library.sources(), false)).collect::<Vec<_>>().join("\n\n")
}

/// A library without any error in sources and names.
pub fn clean(text: &str) -> Library {
    let Loaded { library, diagnostics } = load(text);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    library
}

/// An instance: `dims` are constants; every generic in `formats` is a dtype or a format.
pub fn instance(formats: &[(&str, &str)], dims: &[(&str, u64)], tunes: &[(&str, i64)]) -> Instance {
    let choice = |name: &str| match DType::from_name(name) {
        Some(dtype) => ElementChoice::DType(dtype),
        None => ElementChoice::Format(name.to_owned()),
    };
    Instance {
        formats: formats.iter().map(|(n, f)| ((*n).to_owned(), choice(f))).collect::<HashMap<_, _>>(),
        dims: dims.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        tunes: tunes.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
    }
}

/// A kernel instance that must compile.
pub fn compiled(library: &Library, kernel: &str, instance: &Instance) -> tvmc_ir::tile::Kernel {
    match tvmc_sema::instantiate(library, kernel, instance) {
        Ok(kernel) => kernel,
        Err(diagnostics) => panic!("{kernel}: {}", shown(library, &diagnostics)),
    }
}
