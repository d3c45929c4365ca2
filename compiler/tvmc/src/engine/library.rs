//! Sources and what they define: files and the standard library in, interfaces, instances and programs out.
//!
//! This is the rim around sema: it reads files, prints diagnostics, and remembers what sema computes anew at each call.

use super::interface::{Interface, blocks_of, set_tune};
use super::module::{Opened, Recorder};
use super::storage::ProgramChoices;
use crate::commands::{Failure, USER_ERROR};
use crate::internal::{self, Stage};
use crate::output;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use tvmc_ir::host::Number;
use tvmc_ir::module::{Key, Module, is_module};
use tvmc_ir::program::Verified;
use tvmc_ir::tile::{Format, Kernel};
use tvmc_lang::diag::{Diagnostic, Severity};
use tvmc_lang::source::SourceMap;
use tvmc_lang::span::SourceId;
use tvmc_model::executor::DeviceError;
use tvmc_passes::planes::Planes;
use tvmc_sema::{ElementChoice, Instance, Source, Use};
use tvmc_types::dtype::DType;

/// Largest source file that is read, in bytes; the front end has its own, smaller limit.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A kernel and the element types of its generic parameters, sorted.
type Specialised = (String, Vec<(String, String)>);

/// An element type by its name.
fn choice(name: &str) -> ElementChoice {
    DType::from_name(name).map_or_else(|| ElementChoice::Format(name.to_owned()), ElementChoice::DType)
}

/// See the module head.
pub struct Library {
    inner: tvmc_sema::Library,
    /// Of loading: syntax errors, unresolved `use`s.
    diagnostics: Vec<Diagnostic>,
    root: String,
    /// What was read, as a module without anything compiled.
    closure: Module,
    /// The module it comes from, if it does not come from source files.
    module: Option<Opened>,
    interfaces: RefCell<HashMap<String, Interface>>,
    /// With the element types of generic parameters.
    specialised: RefCell<HashMap<Specialised, Interface>>,
    formats: RefCell<HashMap<String, Format>>,
}

impl Library {
    /// A module of the standard library as the root.
    pub fn standard(module: &str) -> Result<Self, Failure> {
        Self::standard_with(module, None)
    }

    /// A module of the standard library as the root, for weights in formats that are declared so.
    pub fn standard_with(module: &str, declared: Option<&Declarations>) -> Result<Self, Failure> {
        let text = tvmc_stdlib::module(module)
            .ok_or_else(|| Failure::user(format!("the standard library has no module `{module}`")))?;
        Self::load(format!("stdlib/{module}.tile"), text.to_owned(), declared).complete()
    }

    /// A text as the root, named so in messages.
    pub fn text(name: &str, text: &str) -> Result<Self, Failure> {
        Self::load(name.to_owned(), text.to_owned(), None).complete()
    }

    /// A file of the user's as the root, or the module that a file holds.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Self::open_with(path, None)
    }

    /// As [`Self::open`], for weights in formats that are declared so. A module runs without its specialised kernels then.
    pub fn open_with(path: &Path, declared: Option<&Declarations>) -> Result<Self, Failure> {
        let unreadable = |why: String| Failure::user(format!("cannot read {}: {why}", path.display()));
        let bytes = bytes(path).map_err(unreadable)?;
        if is_module(&bytes) {
            return Self::from_module(super::module::read(path, &bytes)?, declared)?.complete();
        }
        Self::load(path.display().to_string(), text(bytes).map_err(unreadable)?, declared).complete()
    }

    /// The sources of a module, and what it holds beside them.
    fn from_module(module: Module, declared: Option<&Declarations>) -> Result<Self, Failure> {
        let Some(root) = module.sources.first() else {
            return Err(Failure::user("the module has no sources"));
        };
        let given = |s: &tvmc_ir::module::Source| Source { name: s.name.clone(), text: s.text.clone() };
        let mut load = |wanted: Use<'_>| match wanted {
            Use::Library(DECLARED) => declared.map(Declarations::source),
            Use::Library(name) => module.library(name).map(given),
            Use::File { from, path } => module.file(from, path).map(given),
        };
        let loaded = tvmc_sema::Library::load(given(root), &prelude(declared), &mut load);
        Ok(Self {
            inner: loaded.library,
            diagnostics: loaded.diagnostics,
            root: root.name.clone(),
            closure: Module {
                sources: module.sources.clone(),
                imports: module.imports.clone(),
                ..Module::default()
            },
            module: Some(Opened::new(module)),
            interfaces: RefCell::default(),
            specialised: RefCell::default(),
            formats: RefCell::default(),
        })
    }

    /// Sources and imports, as a module.
    pub fn closure(&self) -> Module {
        self.closure.clone()
    }

    /// Hyper-parameters that the module fixes; none for source files.
    pub fn settings(&self) -> &[(String, Number)] {
        self.module.as_ref().map_or(&[], |opened| &opened.module.settings)
    }

    /// Names of the hyper-parameters of all programs.
    pub fn hyper_names(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for program in self.program_names() {
            names.extend(
                self.program(&program, &ProgramChoices::default())?.hypers.iter().map(|h| h.name.clone()),
            );
        }
        Ok(names)
    }

    fn load(name: String, text: String, declared: Option<&Declarations>) -> Self {
        let mut recorder = Recorder::default();
        recorder.source(&name, &text);
        let mut load = |wanted: Use<'_>| match wanted {
            Use::Library(DECLARED) => declared.map(|declared| {
                let source = declared.source();
                let at = recorder.source(&source.name, &source.text);
                recorder.library(DECLARED, at);
                source
            }),
            Use::Library(module) => tvmc_stdlib::module(module).map(|text| {
                let name = format!("stdlib/{module}.tile");
                let at = recorder.source(&name, text);
                recorder.library(module, at);
                Source { name, text: text.to_owned() }
            }),
            // What comes with weights reads no files here.
            Use::File { from, .. } if declared.is_some_and(|declared| declared.name == from) => None,
            Use::File { from, path: written } => {
                let path = Path::new(from).parent().unwrap_or(Path::new("")).join(written);
                bytes(&path).and_then(self::text).ok().map(|text| {
                    let name = path.display().to_string();
                    let at = recorder.source(&name, &text);
                    recorder.file(from, written, at);
                    Source { name, text }
                })
            }
        };
        let root = Source { name: name.clone(), text: text.clone() };
        let loaded = internal::within(Stage::Read, &name, &|| text.clone(), || {
            tvmc_sema::Library::load(root, &prelude(declared), &mut load)
        });
        Self {
            inner: loaded.library,
            diagnostics: loaded.diagnostics,
            root: name,
            closure: recorder.closure(),
            module: None,
            interfaces: RefCell::default(),
            specialised: RefCell::default(),
            formats: RefCell::default(),
        }
    }

    /// Refuses a library with errors.
    fn complete(self) -> Result<Self, Failure> {
        self.settle(&self.diagnostics)?;
        Ok(self)
    }

    /// Prints diagnostics; errors among them end the command.
    fn settle(&self, diagnostics: &[Diagnostic]) -> Result<(), Failure> {
        output::diagnostics(diagnostics, self.inner.sources());
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        if errors == 0 { Ok(()) } else { Err(Failure::silent(USER_ERROR)) }
    }

    /// Prints diagnostics that come up while something runs; gives an error that can pass through the executor.
    fn report(&self, what: &str, diagnostics: &[Diagnostic]) -> DeviceError {
        output::diagnostics(diagnostics, self.inner.sources());
        DeviceError(format!("`{what}` cannot be compiled"))
    }

    /// Checks everything; prints what is wrong.
    pub fn check(&self) -> Result<(), Failure> {
        let found =
            internal::within(Stage::Check, &self.root, &|| self.texts(), || tvmc_sema::check(&self.inner));
        self.settle(&found)
    }

    /// The user's own sources, as one text for a reproduction file; those of the standard library are known.
    fn texts(&self) -> String {
        let own = self.inner.sources().iter().filter(|(_, source)| !source.name().starts_with("stdlib/"));
        own.map(|(_, source)| format!("// ---- {}\n{}\n", source.name(), source.text())).collect()
    }

    /// What an instance is made of, as one text for a reproduction file.
    pub(super) fn input(&self, key: &Key) -> String {
        format!("// {key}\n{}", self.texts())
    }

    /// The root's source, printed from its tree.
    pub fn printed(&self) -> String {
        let sources = self.inner.sources();
        let root = sources.iter().find(|(_, source)| source.name() == self.root);
        root.map_or_else(String::new, |(id, source)| {
            tvmc_lang::print::print(&tvmc_lang::parse(id, source.text()).file, source.text())
        })
    }

    /// Names of the root's kernels.
    pub fn kernel_names(&self) -> Vec<String> {
        self.inner.kernels().into_iter().map(str::to_owned).collect()
    }

    /// Names of the root's programs.
    pub fn program_names(&self) -> Vec<String> {
        self.inner.programs().into_iter().map(str::to_owned).collect()
    }

    /// A program with these choices for its parameters; what is not chosen is the program's own default.
    pub fn program(&self, name: &str, choices: &ProgramChoices) -> Result<Verified, Failure> {
        if let (true, Some(program)) =
            (choices.is_empty(), self.module.as_ref().and_then(|m| m.program(name)))
        {
            return Ok(program.clone());
        }
        let compiled = internal::within(Stage::Program, name, &|| self.texts(), || {
            tvmc_sema::program_with(&self.inner, name, choices)
        });
        compiled.map_err(|diagnostics| {
            if let Some(bug) = diagnostics.iter().find(|d| d.is_internal()) {
                internal::broken(Stage::Program, name, &bug.message, &|| self.texts());
            }
            match self.settle(&diagnostics) {
                Err(failure) => failure,
                Ok(()) => Failure::user(format!("program `{name}` cannot be compiled")),
            }
        })
    }

    /// The text of the file that defines a kernel.
    pub fn kernel_source(&self, kernel: &str) -> Option<&str> {
        self.inner.kernel_source(kernel)
    }

    /// Everything that a format says, in some form; nothing for a dtype.
    pub fn format_text(&self, element: &str) -> Result<String, DeviceError> {
        match DType::from_name(element) {
            Some(_) => Ok(String::new()),
            None => self.format(element, |format| format!("{format:?}")),
        }
    }

    /// Names of the formats that a kernel can store to.
    pub fn stored_formats(&self) -> Vec<&str> {
        self.inner.stored_formats()
    }

    /// The interface of a kernel that the user named.
    pub fn required_interface(&self, kernel: &str) -> Result<Interface, Failure> {
        let known = self.kernel_names();
        match tvmc_sema::interface(&self.inner, kernel) {
            Ok(_) => self.interface(kernel).map_err(Failure::from_error),
            Err(diagnostics) if known.iter().any(|name| name == kernel) => {
                self.settle(&diagnostics)?;
                Err(Failure::silent(USER_ERROR))
            }
            Err(_) => {
                let kernels = known.iter().map(String::as_str);
                Err(Failure::user(format!("there is no kernel `{kernel}`")).did_you_mean(kernel, kernels))
            }
        }
    }

    /// What a launcher must know of a kernel.
    pub fn interface(&self, kernel: &str) -> Result<Interface, DeviceError> {
        if let Some(known) = self.interfaces.borrow().get(kernel) {
            return Ok(known.clone());
        }
        let declared = tvmc_sema::interface(&self.inner, kernel).map_err(|d| self.report(kernel, &d))?;
        let interface = Interface::of(declared);
        self.interfaces.borrow_mut().insert(kernel.to_owned(), interface.clone());
        Ok(interface)
    }

    /// As [`Self::interface`], with the tune values that the kernel offers for the element types of a key: some are computed from them.
    pub fn interface_for(&self, key: &Key) -> Result<Interface, DeviceError> {
        let mut elements = key.elements.clone();
        elements.sort();
        let case = (key.kernel.clone(), elements);
        if let Some(known) = self.specialised.borrow().get(&case) {
            return Ok(known.clone());
        }
        let choices = case.1.iter().map(|(generic, name)| (generic.clone(), choice(name))).collect();
        let declared = tvmc_sema::interface_with(&self.inner, &key.kernel, &choices)
            .map_err(|d| self.report(&key.kernel, &d))?;
        let interface = Interface::of(declared);
        self.specialised.borrow_mut().insert(case, interface.clone());
        Ok(interface)
    }

    /// One specialised kernel.
    pub fn instantiate(&self, key: &Key) -> Result<Kernel, DeviceError> {
        if let Some(kernel) = self.module.as_ref().and_then(|m| m.instance(key)) {
            return Ok((**kernel).clone());
        }
        let instance = Instance {
            formats: key.elements.iter().map(|(generic, name)| (generic.clone(), choice(name))).collect(),
            dims: key.dims.iter().cloned().collect(),
            tunes: key.tunes.iter().cloned().collect(),
        };
        internal::within(Stage::Instantiate, &key.kernel, &|| self.input(key), || {
            tvmc_sema::instantiate(&self.inner, &key.kernel, &instance)
        })
        .map_err(|d| self.report(&key.kernel, &d))
    }

    /// Chooses finer tiles where a grid would leave a target idle: tune names that nothing fixes go down their lists until there are
    /// `blocks` blocks. A name that fits a size goes down from what fits, the first such name apart, whose sizes decide how often a block's loads serve. Where the grid stays
    /// too small, names with ascending values on which it does not depend, the lengths of a block's turns, take the largest. Where `sizes` do not decide the grid, it stays as it is.
    pub fn busy(
        &self,
        key: &mut Key,
        sizes: &dyn Fn(&str) -> Option<Number>,
        with: &[(String, i64)],
        blocks: u64,
    ) -> Result<(), DeviceError> {
        if blocks <= 1 {
            return Ok(());
        }
        let interface = self.interface_for(key)?;
        let tunes = &interface.declared.tunes;
        let free = |tune: &&tvmc_sema::TuneDecl| with.iter().all(|(name, _)| *name != tune.name);
        let chosen =
            |key: &Key, name: &str| key.tunes.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        // Fewer rows of queries than a tile holds and the like: those names go down first.
        for tune in tunes.iter().filter(|tune| tune.fit.is_some()).skip(1).filter(free) {
            let Some(fitting) = chosen(key, &tune.name) else { continue };
            let mut values: Vec<i64> = tune.values.iter().copied().filter(|v| *v <= fitting).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            self.finer(key, &tune.name, &values, sizes, blocks)?;
        }
        // A large batch makes large tiles, each of which has enough to do.
        let is_large = |tune: &tvmc_sema::TuneDecl| tune.values.first().copied() == chosen(key, &tune.name);
        if tunes.iter().any(|tune| tune.fit.is_some() && is_large(tune)) {
            return Ok(());
        }
        for tune in tunes.iter().filter(|t| t.fit.is_none()).filter(free) {
            // A value that is above the one before begins those that only tuning and targets with matrices choose.
            let finer = tune.values.windows(2).take_while(|pair| pair[1] < pair[0]).count() + 1;
            let finer = finer.min(tune.values.len());
            self.finer(key, &tune.name, &tune.values[..finer], sizes, blocks)?;
        }
        let longer = |tune: &&tvmc_sema::TuneDecl| {
            tune.fit.is_none()
                && tune.values.len() > 1
                && tune.values.windows(2).all(|pair| pair[0] < pair[1])
        };
        for tune in tunes.iter().filter(longer).filter(free) {
            let Some(before) = self.count(key, sizes)?.filter(|count| *count < blocks) else { break };
            let mut other = key.clone();
            set_tune(&mut other, &tune.name, tune.values.iter().copied().max().unwrap_or(1));
            if self.count(&other, sizes)? == Some(before) {
                *key = other;
            }
        }
        Ok(())
    }

    /// Gives a name the first of these values with which there are so many blocks, else the last.
    fn finer(
        &self,
        key: &mut Key,
        name: &str,
        values: &[i64],
        sizes: &dyn Fn(&str) -> Option<Number>,
        blocks: u64,
    ) -> Result<(), DeviceError> {
        for (at, value) in values.iter().enumerate() {
            set_tune(key, name, *value);
            // Nothing finer is left to try, so its grid need not be known.
            if at + 1 == values.len() || self.count(key, sizes)?.is_none_or(|count| count >= blocks) {
                break;
            }
        }
        Ok(())
    }

    /// Blocks of an instance, where sizes decide them.
    fn count(&self, key: &Key, sizes: &dyn Fn(&str) -> Option<Number>) -> Result<Option<u64>, DeviceError> {
        Ok(blocks_of(&self.instantiate(key)?.grid, sizes))
    }

    /// Chooses the next smaller tiles: the first tune name that nothing fixes and that offers less goes down a step. Whether one did.
    pub fn smaller(&self, key: &mut Key, with: &[(String, i64)]) -> Result<bool, DeviceError> {
        let interface = self.interface_for(key)?;
        for tune in interface.declared.tunes.iter().filter(|t| with.iter().all(|(name, _)| *name != t.name)) {
            let Some((_, chosen)) = key.tunes.iter_mut().find(|(name, _)| *name == tune.name) else {
                continue;
            };
            if let Some(less) = tune.values.iter().filter(|value| **value < *chosen).max() {
                *chosen = *less;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn format<T>(&self, name: &str, read: impl FnOnce(&Format) -> T) -> Result<T, DeviceError> {
        if let Some(known) = self.formats.borrow().get(name) {
            return Ok(read(known));
        }
        let format = tvmc_sema::format(&self.inner, name).map_err(|d| self.report(name, &d))?;
        let answer = read(&format);
        self.formats.borrow_mut().insert(name.to_owned(), format);
        Ok(answer)
    }

    /// Names of the formats that kernels here see.
    pub fn formats(&self) -> Vec<&str> {
        self.inner.formats()
    }

    /// Elements of a group.
    pub fn group(&self, element: &str) -> Result<u64, DeviceError> {
        match DType::from_name(element) {
            Some(_) => Ok(1),
            None => self.format(element, |f| u64::from(f.group)),
        }
    }

    /// Whether a format stores fields once for a row.
    pub fn has_row_fields(&self, element: &str) -> Result<bool, DeviceError> {
        match DType::from_name(element) {
            Some(_) => Ok(false),
            None => self.format(element, Format::has_row_fields),
        }
    }

    /// Bytes of a group of a format, or of as many elements of a dtype as fill whole bytes.
    pub fn group_bytes(&self, element: &str) -> Result<usize, DeviceError> {
        match DType::from_name(element) {
            Some(dtype) => {
                let count = (1..=8).find(|n| (n * dtype.bits()).is_multiple_of(8)).unwrap_or(8);
                Ok((count * dtype.bits() / 8) as usize)
            }
            None => self.format(element, |f| f.bytes as usize),
        }
    }

    /// Bytes before the rows of a matrix.
    pub fn tensor_head(&self, element: &str) -> Result<usize, DeviceError> {
        match DType::from_name(element) {
            Some(_) => Ok(0),
            None => self.format(element, |f| f.tensor_head as usize),
        }
    }

    /// Whether something stands once for a row or for a matrix.
    pub fn has_heads(&self, element: &str) -> Result<bool, DeviceError> {
        match DType::from_name(element) {
            Some(_) => Ok(false),
            None => self.format(element, |f| f.row_head > 0 || f.tensor_head > 0),
        }
    }

    /// The planes of rows of `row` bytes.
    pub fn planes(&self, element: &str, row: usize) -> Result<Planes, DeviceError> {
        match DType::from_name(element) {
            Some(dtype) => {
                let columns = row as u64 * 8 / u64::from(dtype.bits());
                Planes::of_dtype(dtype.bits(), columns).ok_or_else(|| {
                    DeviceError(format!("rows of {columns} elements of {dtype} are no whole number of bytes"))
                })
            }
            None => self.format(element, Planes::of_format),
        }
    }

    /// The planes of a format's groups in words, if it has any.
    pub fn words(&self, element: &str) -> Result<Option<Planes>, DeviceError> {
        match DType::from_name(element) {
            Some(_) => Ok(None),
            None => self.format(element, Planes::words_of_format),
        }
    }

    /// Bytes of a tensor.
    pub fn tensor_bytes(&self, element: &str, shape: &[u64]) -> Result<u64, DeviceError> {
        let large = || DeviceError(format!("a tensor of shape {shape:?} is too large"));
        let product = |s: &[u64]| s.iter().try_fold(1u64, |p, e| p.checked_mul(*e)).ok_or_else(large);
        if let Some(dtype) = DType::from_name(element) {
            let bits = product(shape)?.checked_mul(u64::from(dtype.bits())).ok_or_else(large)?;
            return Ok(bits.div_ceil(8));
        }
        if shape.is_empty() {
            return Err(DeviceError(format!("a number of format `{element}`: formats store rows")));
        }
        self.format(element, |f| f.tensor_bytes(shape))?.ok_or_else(large)
    }
}

/// The library module that holds declarations of formats; no `use` can name it.
const DECLARED: &str = " declared";

/// Declarations of formats that weights are stored in, beside those that every file sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declarations {
    /// Where they come from, for messages.
    pub name: String,
    /// In the language.
    pub text: String,
}

impl Declarations {
    fn source(&self) -> Source {
        Source { name: self.name.clone(), text: self.text.clone() }
    }
}

/// What every file sees. Declarations that come with weights come first: what the standard library calls the same stays what it is.
fn prelude(declared: Option<&Declarations>) -> Vec<&'static str> {
    declared.map(|_| DECLARED).into_iter().chain(tvmc_stdlib::PRELUDE.iter().copied()).collect()
}

/// A source file by itself, without what it uses.
pub fn source(path: &Path) -> Result<(SourceMap, SourceId), Failure> {
    let text = bytes(path)
        .and_then(text)
        .map_err(|why| Failure::user(format!("cannot read {}: {why}", path.display())))?;
    let mut sources = SourceMap::new();
    match sources.add(path.display().to_string(), text) {
        Ok(id) => Ok((sources, id)),
        Err(diagnostic) => {
            output::diagnostics(&[*diagnostic], &sources);
            Err(Failure::silent(USER_ERROR))
        }
    }
}

/// A file of bounded size.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("{size} bytes, at most {MAX_FILE_BYTES} are read"));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

/// Source text. What is not UTF-8 is shown by the front end's own diagnostics as far as it can be read.
fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|e| format!("it is not UTF-8: byte {} is wrong", e.utf8_error().valid_up_to()))
}
