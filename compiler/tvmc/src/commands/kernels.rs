//! `check`, `explain`, `build`: kernels without a model.

use super::arguments::settings;
use super::layout::listing;
use super::{Failure, USER_ERROR, save, say};
use crate::cli::{BuildOptions, Emit, spelled};
use crate::engine::ProgramChoices;
use crate::engine::{Forms, Library, blocks};
use crate::output;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tvmc_ir::tile::Kernel;

/// `tvmc check`.
pub fn check(files: &[PathBuf]) -> Result<(), Failure> {
    let mut failed = false;
    for file in files {
        if let Err(failure) = Library::open(file).and_then(|library| library.check()) {
            output::failure(&failure);
            failed = true;
        }
    }
    if failed { Err(Failure::silent(USER_ERROR)) } else { Ok(()) }
}

/// `tvmc explain`.
pub fn explain(code: &str) -> Result<(), Failure> {
    let Some(code) = tvmc_lang::diag::Code::from_text(code) else {
        let known: Vec<String> = tvmc_lang::diag::Code::ALL.iter().map(ToString::to_string).collect();
        let failure = Failure::user(format!("there is no diagnostic `{code}`; codes look like E0201"));
        return Err(match tvmc_lang::diag::closest(code, known.iter().map(String::as_str)) {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure,
        });
    };
    say(&format!("{code}: {}\n\n{}\n", code.title(), code.explanation()))
}

/// The one that was named, or the only one there is.
fn pick(kind: &str, named: Option<&String>, known: &[String], file: &Path) -> Result<String, Failure> {
    match (named, known) {
        (Some(name), _) if known.contains(name) => Ok(name.clone()),
        (Some(name), _) => Err(Failure::user(format!("{} has no {kind} `{name}`", file.display()))
            .did_you_mean(name, known.iter().map(String::as_str))),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::user(format!("{} has no {kind}", file.display()))),
        (None, _) => {
            Err(Failure::usage(format!("which {kind}? --{kind} takes one of: {}", known.join(", "))))
        }
    }
}

/// Whether a path names something with kernels: a source, or a module, whatever it is called.
pub(super) fn holds_kernels(path: &Path) -> Result<bool, Failure> {
    let source = path.extension().is_some_and(|extension| extension == "tile");
    Ok(source || super::module::module_bytes(path)?.is_some())
}

/// An instance of the one kernel of a file, or of the named one, with these constants.
pub(super) fn instance(file: &Path, named: Option<&String>, set: &[String]) -> Result<Kernel, Failure> {
    let library = Library::open(file)?;
    library.check()?;
    let kernel = pick("kernel", named, &library.kernel_names(), file)?;
    let interface = library.required_interface(&kernel)?;
    let key = settings(set, &interface)?.key(&library, &kernel, &interface, 1)?;
    library.instantiate(&key).map_err(Failure::from_error)
}

/// `tvmc build`: intermediate forms, one on stdout, all of them in a folder.
pub fn build(options: &BuildOptions, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    let wants_module = options.emit.is_none() && (options.output.is_some() || options.model.is_some());
    if wants_module || options.emit == Some(Emit::Tvm) {
        return super::module::build(options, interrupted);
    }
    if options.model.is_some() {
        return Err(Failure::usage("--model specialises a module: leave --emit out, or say --emit tvm"));
    }
    let say = |text: &str| match &options.output {
        Some(path) => save(path, text.as_bytes()),
        None => say(text),
    };
    let form = match (options.emit, &options.dump_passes) {
        (Some(form), _) => Some(form),
        (None, None) => Some(Emit::Lane),
        (None, Some(_)) => None,
    };
    let verbose = |text: &str| {
        if options.verbose {
            output::note(text);
        }
    };
    let start = Instant::now();
    let mut dump = Dump::open(options.dump_passes.as_deref())?;
    if form == Some(Emit::Tokens) || options.dump_passes.is_some() {
        let tokens = tokens(&options.file)?;
        dump.write("tokens.txt", &tokens)?;
        if form == Some(Emit::Tokens) {
            say(&tokens)?;
        }
    }
    if form == Some(Emit::Tokens) && options.dump_passes.is_none() {
        return Ok(());
    }
    let library = Library::open(&options.file)?;
    let ast = library.printed();
    dump.write("ast.txt", &ast)?;
    if form == Some(Emit::Ast) {
        say(&ast)?;
        if options.dump_passes.is_none() {
            return Ok(());
        }
    }
    library.check()?;
    verbose(&format!("{}: read and checked in {:.1} ms", options.file.display(), millis(start)));
    if form == Some(Emit::Program) || (library.kernel_names().is_empty() && form.is_none()) {
        let names = library.program_names();
        let name = pick("program", options.program.as_ref(), &names, &options.file)?;
        let text = library.program(&name, &ProgramChoices::default())?.to_string();
        dump.write("program.txt", &text)?;
        return if form.is_some() { say(&text) } else { Ok(()) };
    }
    let kernel = pick("kernel", options.kernel.as_ref(), &library.kernel_names(), &options.file)?;
    let interface = library.required_interface(&kernel)?;
    let blocks = blocks(options.machine.target);
    let key = settings(&options.set, &interface)?.key(&library, &kernel, &interface, blocks)?;
    verbose(&format!("instance: {key}"));
    let start = Instant::now();
    let instance = library.instantiate(&key).map_err(Failure::from_error)?;
    verbose(&format!("tile: {} parameters in {:.1} ms", instance.params.len(), millis(start)));
    for moved in listing::inserted(&instance) {
        verbose(&listing::relayout(&instance, moved));
    }
    let mut forms = Forms::new(&instance, &options.machine);
    // An instance that cannot be lowered says so where its code is asked for.
    if options.verbose
        && let Ok(notes) = forms.ahead()
    {
        notes.iter().for_each(|note| verbose(note));
    }
    if options.dump_passes.is_some() {
        for at in [Emit::Tile, Emit::Laid, Emit::Lane, forms.native()] {
            let start = Instant::now();
            let text = forms.text(at)?;
            if at == Emit::Lane {
                dump.write("cleanup.diff", &forms.cleanup()?)?;
            }
            dump.write(&format!("{}.txt", spelled(&at)), &text)?;
            verbose(&format!("{}: {} lines in {:.1} ms", spelled(&at), text.lines().count(), millis(start)));
        }
    }
    match form {
        Some(Emit::Tokens | Emit::Ast | Emit::Program | Emit::Tvm) | None => Ok(()),
        Some(form @ (Emit::Obj | Emit::Lib)) => {
            let Some(output) = &options.output else {
                return Err(Failure::usage(format!("--emit {} needs -o FILE", spelled(&form))));
            };
            let export = forms.export()?;
            if form == Emit::Obj { save(output, &export.object) } else { export.library(output) }
        }
        Some(form) => {
            let start = Instant::now();
            let text = forms.text(form)?;
            verbose(&format!(
                "{}: {} lines in {:.1} ms",
                spelled(&form),
                text.lines().count(),
                millis(start)
            ));
            say(&text)
        }
    }
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The words of a source, one a line: where, which, and as written. Comments too, for they are kept beside the tree.
fn tokens(file: &Path) -> Result<String, Failure> {
    let (sources, id) = crate::engine::source(file)?;
    let source = sources.source(id);
    let lexed = tvmc_lang::lexer::lex(id, source.text());
    output::diagnostics(&lexed.diagnostics, &sources);
    if lexed.diagnostics.iter().any(|d| d.is_error()) {
        return Err(Failure::silent(USER_ERROR));
    }
    let mut text = String::new();
    for (span, kind) in lexed.words() {
        let at = source.position(span.start);
        let place = format!("{}:{}", at.line, at.column);
        text += &format!("{place:<9} {kind:<14} {}\n", sources.text(span).trim_end());
    }
    Ok(text)
}

/// A folder that gets one numbered file for each form, or nothing.
struct Dump<'a> {
    folder: Option<&'a Path>,
    count: usize,
}

impl<'a> Dump<'a> {
    fn open(folder: Option<&'a Path>) -> Result<Self, Failure> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)
                .map_err(|e| Failure::user(format!("cannot make the folder {}: {e}", folder.display())))?;
        }
        Ok(Self { folder, count: 0 })
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let Some(folder) = self.folder else { return Ok(()) };
        self.count += 1;
        let path = folder.join(format!("{}-{name}", self.count));
        save(&path, text.as_bytes())
    }
}
