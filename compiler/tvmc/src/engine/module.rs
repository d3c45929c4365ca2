//! Libraries as module files and back.
//!
//! ```text
//! my.tile, what it uses, the standard library's modules it sees  --build-->  my.tvm  --open-->  the same library, from one file
//! ```
//!
//! A module holds every source that was read, with what each `use` led to, so a command that is given one needs no other file and finds the
//! same items. Beside the sources stand interfaces and programs (for `inspect`, and judged when the file is read), and for a module that was built
//! for a model or with `--set` its instances in tile IR. Instances are taken only by the compiler build that made them: another build
//! compiles them anew from the sources.
//!
//! Names of sources are relative to the root's folder: nothing of the building machine's folders gets into the file.

use super::Library;
use super::storage::ProgramChoices;
use crate::commands::Failure;
use crate::internal::{self, Stage};
use std::collections::BTreeSet;
use std::path::Path;
use tvmc_ir::host::Number;
use tvmc_ir::module::{self, FormatSize, Import, Key, Module, Wanted};
use tvmc_ir::program::{Stmt, Verified};
use tvmc_ir::tile;
use tvmc_types::dtype::DType;

/// The compiler build, as modules name it.
pub fn build_name() -> String {
    format!("tvmc {}", env!("CARGO_PKG_VERSION"))
}

/// What a module is specialised to.
#[derive(Clone, Debug, Default)]
pub struct Specialisation {
    /// Hyper-parameters.
    pub settings: Vec<(String, Number)>,
    /// Instances.
    pub keys: Vec<Key>,
}

/// Reads a module file's bytes.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Module, Failure> {
    module::read(bytes).map_err(|error| {
        Failure::user(format!("{}: {error}", path.display())).help("build it anew with `tvmc build -o`")
    })
}

/// A library as a module.
pub fn of_library(library: &Library, specialisation: &Specialisation) -> Result<Module, Failure> {
    let mut module = Module { build: build_name(), ..library.closure() };
    for name in library.program_names() {
        module.programs.push(library.program(&name, &ProgramChoices::default())?);
    }
    let mut kernels: BTreeSet<String> = library.kernel_names().into_iter().collect();
    for program in &module.programs {
        launched(&program.body, &mut kernels);
    }
    for name in kernels {
        let mut interface = library.interface(&name).map_err(Failure::from_error)?.to_ir();
        interface.name = name;
        module.interfaces.push(interface);
    }
    module.settings = specialisation.settings.clone();
    let mut seen = BTreeSet::new();
    for wanted in &specialisation.keys {
        let key = wanted.clone().sorted();
        if !seen.insert(key.clone()) {
            continue;
        }
        let kernel = library.instantiate(&key).map_err(Failure::from_error)?;
        for format in &kernel.formats {
            let size = FormatSize::from(format);
            if DType::from_name(&size.name).is_none() && !module.formats.contains(&size) {
                module.formats.push(size);
            }
        }
        let kernel = tile::verify(kernel).map_err(|errors| {
            let what = format!("the instance is not well-formed: {}", errors[0]);
            Failure::user(internal::broken(Stage::Instantiate, &key.kernel, &what, &|| library.input(&key)))
        })?;
        module.instances.push(module::Instance { key, kernel });
    }
    module.sort();
    module.check().map_err(|error| {
        let root = module.sources.first().map_or("", |source| &source.name);
        Failure::user(internal::broken(Stage::Module, root, &error, &|| format!("{module:#?}")))
    })?;
    Ok(module)
}

fn launched(stmts: &[Stmt], names: &mut BTreeSet<String>) {
    for stmt in stmts {
        match stmt {
            Stmt::Launch { kernel, .. } => {
                names.insert(kernel.clone());
            }
            Stmt::For { body, .. } => launched(body, names),
            Stmt::If { then, otherwise, .. } => {
                launched(then, names);
                launched(otherwise, names);
            }
        }
    }
}

/// Sources and imports while a library is loaded from files.
#[derive(Default)]
pub(super) struct Recorder {
    sources: Vec<module::Source>,
    imports: Vec<(Origin, u32)>,
}

enum Origin {
    Library(String),
    File(String, String),
}

impl Recorder {
    /// The source of this name, kept once.
    pub(super) fn source(&mut self, name: &str, text: &str) -> u32 {
        let at = self.sources.iter().position(|s| s.name == name).unwrap_or_else(|| {
            self.sources.push(module::Source { name: name.to_owned(), text: text.to_owned() });
            self.sources.len() - 1
        });
        at as u32
    }

    pub(super) fn library(&mut self, name: &str, source: u32) {
        self.imports.push((Origin::Library(name.to_owned()), source));
    }

    pub(super) fn file(&mut self, from: &str, path: &str, source: u32) {
        self.imports.push((Origin::File(from.to_owned(), path.to_owned()), source));
    }

    /// A module with sources and imports only; names lose the folder of the root.
    pub(super) fn closure(&self) -> Module {
        let root = self.sources.first().and_then(|s| Path::new(&s.name).parent());
        let short = |name: &str| {
            let path = Path::new(name);
            let inside = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
            inside.to_string_lossy().into_owned()
        };
        let sources = self
            .sources
            .iter()
            .map(|s| module::Source { name: short(&s.name), text: s.text.clone() })
            .collect();
        let mut imports: Vec<Import> = Vec::new();
        for (origin, source) in &self.imports {
            let wanted = match origin {
                Origin::Library(name) => Wanted::Library(name.clone()),
                Origin::File(from, path) => {
                    let Some(from) = self.sources.iter().position(|s| s.name == *from) else { continue };
                    Wanted::File { from: from as u32, path: path.clone() }
                }
            };
            let import = Import { wanted, source: *source };
            if !imports.contains(&import) {
                imports.push(import);
            }
        }
        Module { sources, imports, ..Module::default() }
    }
}

/// What an opened module offers beyond its sources.
pub(super) struct Opened {
    pub(super) module: Module,
    /// Whether this build made it.
    own: bool,
}

impl Opened {
    pub(super) fn new(module: Module) -> Self {
        let own = module.build == build_name();
        Self { module, own }
    }

    pub(super) fn instance(&self, key: &Key) -> Option<&tile::Verified> {
        if self.own { self.module.instance(&key.clone().sorted()) } else { None }
    }

    pub(super) fn program(&self, name: &str) -> Option<&Verified> {
        if self.own { self.module.program(name) } else { None }
    }
}
