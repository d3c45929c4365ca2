//! Bytes to module, see the head of [`super`].

use super::bytes::Reader;
use super::{
    CHECKSUM, FormatSize, Import, Instance, Key, MAGIC, MAX_BYTES, Module, ModuleError, Source, Tuning,
    VERSION, Wanted, is_module,
};
use crate::host::Number;
use crate::program::{self, Interface};
use crate::text::ParseError;
use crate::tile;
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// Names of the sections; the first has tag 1.
const SECTIONS: [&str; 8] =
    ["sources", "imports", "interfaces", "programs", "instances", "formats", "settings", "tunings"];
/// Bytes before the build's name.
const FIXED: usize = 24;
/// The least bytes of a string, and of a key.
const TEXT: usize = 8;
const KEY: usize = TEXT + 3 * 8;

/// Reads and judges a module file.
pub fn read(bytes: &[u8]) -> Result<Module, ModuleError> {
    if !is_module(bytes) {
        return Err(ModuleError::Magic);
    }
    let mut at = Reader::new(bytes, MAGIC.len(), bytes.len());
    let version = at.u64("the format version")?;
    if version != VERSION {
        return Err(ModuleError::Version(version));
    }
    let stated = at.u64("the length")?;
    let found = bytes.len();
    if stated != found as u64 || !(FIXED + CHECKSUM..=MAX_BYTES).contains(&found) {
        return Err(ModuleError::Length { stated, found });
    }
    let end = found - CHECKSUM;
    if Sha256::digest(&bytes[..end]).as_slice() != &bytes[end..] {
        return Err(ModuleError::Checksum);
    }
    let mut at = Reader::new(bytes, FIXED, end);
    let mut module = Module { build: at.string("the build")?, ..Module::default() };
    for (number, what) in SECTIONS.into_iter().enumerate() {
        let tag = at.u64("a section's tag")?;
        if tag != number as u64 + 1 {
            return at.error(format!("section {tag} stands where {} ({what}) must be", number + 1));
        }
        let mut part = at.part(what)?;
        match number {
            0 => module.sources = part.list(2 * TEXT, what, |at, _| source(at))?,
            1 => module.imports = part.list(TEXT + 2 * 8, what, |at, _| import(at))?,
            2 => module.interfaces = part.list(TEXT, what, interface)?,
            3 => module.programs = part.list(TEXT, what, program)?,
            4 => module.instances = part.list(KEY + TEXT, what, instance)?,
            5 => module.formats = part.list(TEXT + 2 * 8, what, |at, _| format(at))?,
            6 => module.settings = part.list(TEXT + 2 * 8, what, |at, _| setting(at))?,
            _ => module.tunings = part.list(TEXT + KEY, what, |at, _| tuning(at))?,
        }
        part.done(what)?;
    }
    at.done("the last section")?;
    module.check()?;
    Ok(module)
}

fn source(at: &mut Reader<'_>) -> Result<Source, ModuleError> {
    Ok(Source { name: at.string("a source's name")?, text: at.string("a source's text")? })
}

fn import(at: &mut Reader<'_>) -> Result<Import, ModuleError> {
    let wanted = match at.u64("the kind of an import")? {
        0 => Wanted::Library(at.string("a library's name")?),
        1 => Wanted::File { from: at.u32("the number of a source")?, path: at.string("a path")? },
        other => return at.error(format!("{other} is no kind of an import")),
    };
    Ok(Import { wanted, source: at.u32("the number of a source")? })
}

/// An IR text, which must be as it is printed.
fn canonical<T: Display>(
    at: &mut Reader<'_>,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> Result<T, ModuleError> {
    let text = at.text(what)?;
    let value = parse(text).map_err(|error| ModuleError::Text { what: what.to_owned(), error })?;
    if value.to_string() != text {
        let message = "the text is not in its canonical form".to_owned();
        return Err(ModuleError::Invalid { what: what.to_owned(), message });
    }
    Ok(value)
}

fn interface(at: &mut Reader<'_>, number: usize) -> Result<Interface, ModuleError> {
    canonical(at, &format!("interface {number}"), Interface::parse)
}

fn program(at: &mut Reader<'_>, number: usize) -> Result<program::Verified, ModuleError> {
    let what = format!("program {number}");
    let program = canonical(at, &what, program::parse)?;
    program::verify(program).map_err(|errors| ModuleError::Invalid { what, message: first(&errors) })
}

fn instance(at: &mut Reader<'_>, number: usize) -> Result<Instance, ModuleError> {
    let what = format!("instance {number}");
    let key = key(at)?;
    let kernel = canonical(at, &what, tile::parse)?;
    match tile::verify(kernel) {
        Ok(kernel) => Ok(Instance { key, kernel }),
        Err(errors) => Err(ModuleError::Invalid { what, message: first(&errors) }),
    }
}

/// The first of a list of errors, which is not empty.
pub(super) fn first(errors: &[impl Display]) -> String {
    errors.first().map_or_else(String::new, ToString::to_string)
}

fn key(at: &mut Reader<'_>) -> Result<Key, ModuleError> {
    Ok(Key {
        kernel: at.string("a kernel's name")?,
        elements: at.list(2 * TEXT, "the elements of a key", |at, _| {
            Ok((at.string("a generic parameter")?, at.string("an element type")?))
        })?,
        dims: at.list(TEXT + 8, "the dimensions of a key", |at, _| {
            Ok((at.string("a dimension")?, at.u64("a size")?))
        })?,
        tunes: at.list(TEXT + 8, "the tune names of a key", |at, _| {
            Ok((at.string("a tune name")?, at.i64("a tune value")?))
        })?,
    })
}

fn format(at: &mut Reader<'_>) -> Result<FormatSize, ModuleError> {
    Ok(FormatSize {
        name: at.string("a format's name")?,
        group: at.u32("the elements of a group")?,
        bytes: at.u32("the bytes of a group")?,
        row_head: at.u32("the bytes before a row")?,
        tensor_head: at.u32("the bytes before a matrix")?,
    })
}

fn setting(at: &mut Reader<'_>) -> Result<(String, Number), ModuleError> {
    let name = at.string("a setting's name")?;
    let tag = at.u64("the kind of a number")?;
    let bits = at.u64("a number")?;
    let number = match (tag, bits) {
        (0, bits) => Number::Int(bits.cast_signed()),
        (1, bits) => Number::Float(f64::from_bits(bits)),
        (2, 0) => Number::Bool(false),
        (2, 1) => Number::Bool(true),
        (tag, bits) => return at.error(format!("{bits:#x} of kind {tag} is no number")),
    };
    Ok((name, number))
}

fn tuning(at: &mut Reader<'_>) -> Result<Tuning, ModuleError> {
    Ok(Tuning { machine: at.string("a machine")?, key: key(at)? })
}
