//! Module files (`.tvm`): what `tvmc build` writes and every command reads in place of sources.
//!
//! # What a module holds
//!
//! A module is **generic**: the texts of all its sources, the standard library's included, with what each `use` leads to. Whoever has it can
//! compile any instance as from the sources themselves, and needs no other file. Beside them stands what need not be computed again: the
//! **interfaces** of kernels, **programs** as program IR. A module may further be **specialised** (`--model`, `--set`): **settings** fix
//! hyper-parameters, **instances** are kernels in tile IR for the elements, sizes and tune values of their key, **tunings** say which
//! tune values a machine found best. A module without sources runs its instances only. **Formats** gives the group size of every format that an instance uses,
//! so that tensors can be measured without sources.
//!
//! Native code is not in a module: compiling takes milliseconds, and code cannot be judged as input.
//!
//! # The file
//!
//! ```text
//! 0    89 54 56 4d 0d 0a 1a 0a        magic: not text, and damaged by line-end conversion
//! 8    u64                            format version
//! 16   u64                            length of the file
//! 24   string                         compiler build that wrote it
//! ..   8 sections in order            u64 tag, u64 length, contents:
//!        1 sources      name, text                  5 instances   key, tile IR text
//!        2 imports      from, path, to              6 formats     name, group, bytes
//!        3 interfaces   text                        7 settings    name, number
//!        4 programs     program IR text             8 tunings     key, machine
//! end  32 bytes                       SHA-256 of everything before
//! ```
//!
//! Numbers are little-endian; a list is a u64 count and its entries; a string is a u64 length and UTF-8.
//!
//! # The law
//!
//! * **One file per module.** [`read`]`(&`[`write`]`(m)) == Ok(m)` for every sound module whose kernels print canonically, and `write(&read(b)?) == b` for every `b`: IR
//!   texts in a file are as `Display` prints them, sets are sorted.
//! * **Hostile input.** `read` judges bytes from anywhere: it never panics; every length and count is checked against the bytes that are
//!   left before memory is taken; IR is verified; more than [`MAX_BYTES`] are refused.
//! * **Any damage shows.** Every file that differs from a sound one in one byte is refused, most by the checksum. This guards against accident: whoever
//!   forges a file can forge its checksum, so nothing that keeps memory safe rests on it.
//! * **Sound.** What `read` gives has passed [`Module::check`], see there.
//!
//! The sources, programs and instances of a forged module may disagree with each other; then the commands compute different things, all of them within
//! the rules. An instance or tuning of another compiler build is still sound; a caller that has the sources should compile anew.
//!
//! ```
//! use tvmc_ir::module::{Module, Source, read, write};
//! let text = "fn twice(x: f32) -> f32 { return x + x; }".to_owned();
//! let module = Module { sources: vec![Source { name: "twice.tile".into(), text }], ..Module::default() };
//! let mut bytes = write(&module);
//! assert_eq!(read(&bytes), Ok(module));
//! bytes[40] ^= 1;
//! assert!(read(&bytes).is_err());
//! ```

mod bytes;
mod check;
mod read;
mod write;

use crate::host::Number;
use crate::program::{self, Interface};
use crate::text::ParseError;
use crate::tile;
use std::fmt;

pub use read::read;
pub use write::write;

/// The version of the file format; others are refused.
pub const VERSION: u64 = 2;
/// Largest file.
pub const MAX_BYTES: usize = 64 << 20;

/// The first bytes.
const MAGIC: [u8; 8] = *b"\x89TVM\r\n\x1a\n";
/// Bytes of the checksum.
const CHECKSUM: usize = 32;

/// Whether a file that begins with these bytes is meant as a module; 8 are enough.
pub fn is_module(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// A source file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its name, as messages show it. No path of the machine that built the module needs to appear.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What a `use` asks for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wanted {
    /// `use nn;`, or a module of the prelude.
    Library(String),
    /// `use "other.tile";`
    File {
        /// The source that asks, by its place in [`Module::sources`].
        from: u32,
        /// The path as written.
        path: String,
    },
}

/// What a `use` leads to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Import {
    /// What is asked for.
    pub wanted: Wanted,
    /// The source, by its place in [`Module::sources`].
    pub source: u32,
}

/// The choices that make an instance of a kernel; each list is sorted by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Key {
    /// The kernel's name, as programs and interfaces have it.
    pub kernel: String,
    /// For each generic parameter, the name of a dtype or format.
    pub elements: Vec<(String, String)>,
    /// Dimensions that are constants.
    pub dims: Vec<(String, u64)>,
    /// Tune names.
    pub tunes: Vec<(String, i64)>,
}

impl Key {
    /// With its lists sorted, as a module keeps them.
    pub fn sorted(mut self) -> Self {
        self.elements.sort();
        self.dims.sort();
        self.tunes.sort();
        self
    }

    /// `W = q4_1, K = 64, BM = 8`.
    pub fn choices(&self) -> String {
        let elements = self.elements.iter().map(|(name, value)| format!("{name} = {value}"));
        let dims = self.dims.iter().map(|(name, value)| format!("{name} = {value}"));
        let tunes = self.tunes.iter().map(|(name, value)| format!("{name} = {value}"));
        elements.chain(dims).chain(tunes).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Key {
    /// `matmul with W = act8, M = 64, BM = 16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choices = self.choices();
        f.write_str(&self.kernel)?;
        if choices.is_empty() { Ok(()) } else { write!(f, " with {choices}") }
    }
}

/// A specialised kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Instance {
    /// What it was made for.
    pub key: Key,
    /// Its code.
    pub kernel: tile::Verified,
}

/// The sizes of a format.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FormatSize {
    /// Its name.
    pub name: String,
    /// Elements per group.
    pub group: u32,
    /// Bytes per group.
    pub bytes: u32,
    /// Bytes before the groups of a row.
    pub row_head: u32,
    /// Bytes before the rows of a matrix.
    pub tensor_head: u32,
}

impl From<&tile::Format> for FormatSize {
    fn from(format: &tile::Format) -> Self {
        let tile::Format { name, group, bytes, row_head, tensor_head, .. } = format;
        let (group, bytes, row_head, tensor_head) = (*group, *bytes, *row_head, *tensor_head);
        Self { name: name.clone(), group, bytes, row_head, tensor_head }
    }
}

/// The tune values that a machine found best.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tuning {
    /// The fingerprint of the machine.
    pub machine: String,
    /// For which elements and sizes, and the values.
    pub key: Key,
}

/// See the module head.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Module {
    /// The compiler build that made it.
    pub build: String,
    /// Sources; the first is the root.
    pub sources: Vec<Source>,
    /// What each `use` leads to, sorted.
    pub imports: Vec<Import>,
    /// Interfaces of kernels, under the names that programs and keys use, sorted by name.
    pub interfaces: Vec<Interface>,
    /// Programs, sorted by name.
    pub programs: Vec<program::Verified>,
    /// Specialised kernels, sorted by key.
    pub instances: Vec<Instance>,
    /// Formats that instances use, sorted by name.
    pub formats: Vec<FormatSize>,
    /// Hyper-parameters that are fixed, sorted by name.
    pub settings: Vec<(String, Number)>,
    /// Choices of machines, sorted.
    pub tunings: Vec<Tuning>,
}

impl Module {
    /// Sorts what is kept sorted, so that a caller may fill the lists in any order.
    pub fn sort(&mut self) {
        self.imports.sort();
        self.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        self.programs.sort_by(|a, b| a.name.cmp(&b.name));
        self.instances.sort_by(|a, b| a.key.cmp(&b.key));
        self.formats.sort();
        self.settings.sort_by(|a, b| a.0.cmp(&b.0));
        self.tunings.sort();
    }

    /// The source that `use name;`, or the prelude, leads to.
    pub fn library(&self, name: &str) -> Option<&Source> {
        let import = self.imports.iter().find(|i| matches!(&i.wanted, Wanted::Library(n) if n == name))?;
        self.sources.get(import.source as usize)
    }

    /// The source that `use "path";` leads to in the source of this name.
    pub fn file(&self, from: &str, path: &str) -> Option<&Source> {
        let from = self.sources.iter().position(|s| s.name == from)?;
        let import = self.imports.iter().find(
            |i| matches!(&i.wanted, Wanted::File { from: f, path: p } if *f as usize == from && p == path),
        )?;
        self.sources.get(import.source as usize)
    }

    /// The interface of a kernel.
    pub fn interface(&self, kernel: &str) -> Option<&Interface> {
        let at = self.interfaces.binary_search_by(|i| i.name.as_str().cmp(kernel)).ok()?;
        self.interfaces.get(at)
    }

    /// A program.
    pub fn program(&self, name: &str) -> Option<&program::Verified> {
        self.programs.iter().find(|p| p.name == name)
    }

    /// The instance for a key.
    pub fn instance(&self, key: &Key) -> Option<&tile::Verified> {
        let at = self.instances.binary_search_by(|i| i.key.cmp(key)).ok()?;
        self.instances.get(at).map(|i| &i.kernel)
    }
}

/// Why bytes are no sound module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ModuleError {
    /// The file does not begin as modules do.
    Magic,
    /// It has another format version.
    Version(u64),
    /// It has another length than it says, or too large a one.
    Length {
        /// What it says.
        stated: u64,
        /// What it has.
        found: usize,
    },
    /// It was damaged.
    Checksum,
    /// The bytes at an offset are not what has to stand there.
    Encoding {
        /// From the start of the file.
        offset: usize,
        /// What has to stand there, or what is wrong.
        message: String,
    },
    /// An IR text cannot be read.
    Text {
        /// Which: `program 0`.
        what: String,
        /// Why.
        error: ParseError,
    },
    /// A part is not sound.
    Invalid {
        /// Which: `program "llama"`.
        what: String,
        /// Why.
        message: String,
    },
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModuleError::Magic => write!(f, "the file is no tvmc module"),
            ModuleError::Version(found) => {
                write!(f, "the module has format version {found}, this build reads version {VERSION}")
            }
            ModuleError::Length { stated, found } => write!(
                f,
                "the module is {found} bytes long and says {stated}; it was cut off, or has more than {MAX_BYTES}"
            ),
            ModuleError::Checksum => write!(f, "the module is damaged: its checksum does not match"),
            ModuleError::Encoding { offset, message } => write!(f, "byte {offset} of the module: {message}"),
            ModuleError::Text { what, error } => write!(f, "{what} of the module: {error}"),
            ModuleError::Invalid { what, message } => write!(f, "{what} of the module: {message}"),
        }
    }
}

impl std::error::Error for ModuleError {}
