//! What each stage does with a file. A stage maps the file's source and directives to text.
//!
//! | stage | gives | directives |
//! |---|---|---|
//! | `lex` | tokens and comments with their places | |
//! | `diag` | all diagnostics, as people see them | see `diagnostics` |
//! | `fmt` | the canonical form | |
//! | `program` | program IR | `program NAME` |
//! | `tile` | tile IR of an instance | `kernel NAME`, `set NAME=VALUE..` |
//! | `parse` | the tree | |
//! | `lowered` | lane IR of an instance | the same, `target NAME` |
//! | `clif`, `asm`, `wgsl` | the last form before machine code | the same, for `asm` `level v3` or `v4`, for `wgsl` `matrices N` |
//! | `run` | (a `.tir` file holds tile IR, of a `.lir` file see `lanes`) what the tile interpreter leaves in the `out` arguments, or its trap; every other machine must agree | the same, `arg`, `out`, `machines exact`, `packed NAME`, `too-large wgsl LIMIT` |
//! | `machine` | machine IR of the x86 backend, both forms; it must verify, read back and encode to the code of `asm` | the same, `level v3` or `v4`, `form selected` or `allocated` |
//! | `verify` | the errors of IR text: `.tir` tile, `.lir` lane, `.pir` program IR, with interfaces of kernels after it, `.mir` machine IR | |

use super::{FileTest, diagnostics, lanes, launch};
use crate::clif::{self, Isa};
use crate::machine_ir;
use tvmc_backend_x86::{Features, Level, mir};
use tvmc_ir::{lane, program, tile};
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_lang::source::SourceMap;
use tvmc_passes::target::{CRANELIFT, Fragments, TARGETS, Target, WGSL, X86_V3, X86_V4};
use tvmc_passes::{Options, lower};
use tvmc_sema::{ElementChoice, Instance, Library, Loaded, Source, Use};
use tvmc_types::dtype::DType;

/// A folder of filetests.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Tokens.
    Lex,
    /// The tree.
    Parse,
    /// Diagnostics.
    Diag,
    /// The formatter.
    Fmt,
    /// Program IR.
    Program,
    /// Tile IR.
    Tile,
    /// Lane IR.
    Lowered,
    /// Cranelift's IR.
    Clif,
    /// Machine IR.
    Machine,
    /// Machine code.
    Asm,
    /// Shader text.
    Wgsl,
    /// Results, on every machine.
    Run,
    /// The verifiers.
    Verify,
}

/// Every stage.
pub const STAGES: &[Stage] = &[
    Stage::Lex,
    Stage::Parse,
    Stage::Diag,
    Stage::Fmt,
    Stage::Program,
    Stage::Tile,
    Stage::Lowered,
    Stage::Clif,
    Stage::Machine,
    Stage::Asm,
    Stage::Wgsl,
    Stage::Run,
    Stage::Verify,
];

impl Stage {
    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Lex => "lex",
            Stage::Parse => "parse",
            Stage::Diag => "diag",
            Stage::Fmt => "fmt",
            Stage::Program => "program",
            Stage::Tile => "tile",
            Stage::Lowered => "lowered",
            Stage::Clif => "clif",
            Stage::Machine => "machine",
            Stage::Asm => "asm",
            Stage::Wgsl => "wgsl",
            Stage::Run => "run",
            Stage::Verify => "verify",
        }
    }

    /// The directives it knows.
    pub fn directives(self) -> &'static [&'static str] {
        match self {
            Stage::Lex | Stage::Parse | Stage::Fmt | Stage::Verify => &[],
            Stage::Diag => &["append", "files", "kernel", "program", "set", "tune"],
            Stage::Program => &["program"],
            Stage::Lowered => &["kernel", "set", "target"],
            Stage::Clif => &["kernel", "set", "arm"],
            Stage::Tile => &["kernel", "set"],
            Stage::Wgsl => &["kernel", "set", "matrices"],
            Stage::Machine => &["kernel", "set", "level", "form"],
            Stage::Asm => &["kernel", "set", "level"],
            Stage::Run => &["kernel", "set", "arg", "out", "machines", "grid", "packed", "too-large"],
        }
    }

    /// The text that the stage gives; an error is a mistake in the file itself, or a disagreement of machines.
    pub fn run(self, test: &FileTest) -> Result<String, String> {
        match self {
            Stage::Lex => lex(test),
            Stage::Diag => diagnostics::run(test),
            Stage::Fmt => fmt(test),
            Stage::Program => {
                let library = clean(test)?;
                let name = test.one("program").ok_or("needs `program NAME`")?;
                let program = tvmc_sema::program(&library, name).map_err(|d| shown(&library, &d))?;
                Ok(program.to_string())
            }
            Stage::Tile => Ok(instance(test)?.to_string()),
            Stage::Parse => {
                let mut sources = SourceMap::new();
                let id = sources.add(test.name(), test.source.as_str()).map_err(|d| d.message.clone())?;
                Ok(format!("{:#?}", tvmc_lang::parse(id, &test.source).file.items))
            }
            Stage::Lowered => {
                let name = test.one("target").ok_or("needs `target NAME`")?;
                let row = TARGETS.into_iter().find(|t| t.name == name);
                let row = row.ok_or_else(|| format!("there is no target `{name}`"))?;
                Ok(lowered(&instance(test)?, &row)?.to_string())
            }
            Stage::Clif => {
                let isa = if test.one("arm").is_some() { Isa::Arm } else { Isa::X86 };
                clif::text(&lowered(&instance(test)?, &CRANELIFT)?, isa)
            }
            Stage::Machine => {
                let (level, row) = level(test)?;
                let texts = machine_ir::texts(&lowered(&instance(test)?, &row)?, &Features::baseline(level))?;
                match test.one("form") {
                    Some("selected") => Ok(texts.selected),
                    Some("allocated") => Ok(texts.allocated),
                    other => Err(format!("needs `form selected` or `form allocated`, has {other:?}")),
                }
            }
            Stage::Asm => {
                let (level, row) = level(test)?;
                let function = lowered(&instance(test)?, &row)?;
                let code = tvmc_backend_x86::compile(&function, &Features::baseline(level));
                Ok(tvmc_backend_x86::disassemble(&code.map_err(|e| e.to_string())?))
            }
            Stage::Wgsl => {
                let (target, limits) = with_matrices(test)?;
                let function = lowered(&instance(test)?, &target)?;
                let shader = tvmc_backend_wgsl::compile(&function, &limits);
                Ok(shader.map_err(|e| e.to_string())?.source)
            }
            Stage::Run if test.is_lane() => lanes::run(test),
            Stage::Run => launch::run(test, &instance(test)?),
            Stage::Verify => verify(test),
        }
    }
}

fn level(test: &FileTest) -> Result<(Level, Target), String> {
    match test.one("level") {
        Some("v3") => Ok((Level::V3, X86_V3)),
        Some("v4") => Ok((Level::V4, X86_V4)),
        other => Err(format!("needs `level v3` or `level v4`, has {other:?}")),
    }
}

/// The test's source as the root, with the files beside it.
pub(super) fn load(test: &FileTest) -> Loaded {
    let root = Source { name: test.name(), text: test.source.clone() };
    let folder = test.path.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let root_text = test.source.clone();
    let name = test.name();
    Library::load(root, tvmc_stdlib::PRELUDE, &mut |wanted| match wanted {
        Use::Library(module) => tvmc_stdlib::module(module)
            .map(|text| Source { name: format!("stdlib/{module}.tile"), text: text.to_owned() }),
        Use::File { path, .. } if path == name => {
            Some(Source { name: path.to_owned(), text: root_text.clone() })
        }
        // See the directive `files`.
        Use::File { path, .. } if test.one("files").is_some() && path.starts_with("more") => {
            Some(Source { name: path.to_owned(), text: String::new() })
        }
        Use::File { path, .. } => {
            let text = std::fs::read_to_string(folder.join(path)).ok()?;
            Some(Source { name: path.to_owned(), text })
        }
    })
}

fn shown(library: &Library, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| render(d, library.sources(), false)).collect::<Vec<_>>().join("\n\n")
}

fn clean(test: &FileTest) -> Result<Library, String> {
    let Loaded { library, mut diagnostics } = load(test);
    diagnostics.extend(tvmc_sema::check(&library));
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(shown(&library, &diagnostics));
    }
    Ok(library)
}

/// The kernel that the directives choose.
pub fn instance(test: &FileTest) -> Result<tile::Kernel, String> {
    if test.path.extension().is_some_and(|extension| extension == "tir") {
        let kernel = tile::parse(&test.source).map_err(|e| e.to_string())?;
        return tile::verify(kernel)
            .map(tile::Verified::into_inner)
            .map_err(|errors| list(errors).join("\n"));
    }
    let library = clean(test)?;
    let name = test.one("kernel").ok_or("needs `kernel NAME`")?;
    let interface = tvmc_sema::interface(&library, name).map_err(|d| shown(&library, &d))?;
    let chosen = choices(test, |key| interface.tunes.iter().any(|tune| tune.name == key))?;
    tvmc_sema::instantiate(&library, name, &chosen).map_err(|d| shown(&library, &d))
}

/// What `set` and `tune` give names: a number is a dimension's, unless the name is tuned; a word is a dtype or format.
pub(super) fn choices(test: &FileTest, tuned: impl Fn(&str) -> bool) -> Result<Instance, String> {
    let mut chosen = Instance::default();
    let words = |directive: &'static str| test.all(directive).flat_map(str::split_whitespace);
    for (word, tune) in words("set").map(|w| (w, false)).chain(words("tune").map(|w| (w, true))) {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("`set {word}` is no NAME=VALUE"))?;
        match value.parse::<i64>() {
            Ok(value) if tune || tuned(key) => {
                chosen.tunes.insert(key.to_owned(), value);
            }
            Ok(value) => {
                chosen.dims.insert(key.to_owned(), value.unsigned_abs());
            }
            Err(_) => {
                let choice = match DType::from_name(value) {
                    Some(dtype) => ElementChoice::DType(dtype),
                    None => ElementChoice::Format(value.to_owned()),
                };
                chosen.formats.insert(key.to_owned(), choice);
            }
        }
    }
    Ok(chosen)
}

/// WGSL's row and limits; with `matrices N`, of a device whose subgroups of N multiply whole matrices.
fn with_matrices(test: &FileTest) -> Result<(Target, tvmc_backend_wgsl::Limits), String> {
    let limits = tvmc_backend_wgsl::Limits::default();
    let Some(group) = test.one("matrices") else { return Ok((WGSL, limits)) };
    let group = group.parse().map_err(|_| format!("`matrices {group}`: must be the size of a subgroup"))?;
    let fragments = Fragments::of(group, limits.workgroup_bytes);
    let limits = tvmc_backend_wgsl::Limits { subgroup: Some(group), cooperative_matrix: true, ..limits };
    Ok((Target { fragments: Some(fragments), ..WGSL }, limits))
}

fn lowered(kernel: &tile::Kernel, target: &Target) -> Result<lane::Verified, String> {
    let function = lower(kernel, target, &Options::default()).map_err(|e| e.to_string())?.function;
    lane::verify(function).map_err(|errors| format!("the lowering is not well-formed: {}", errors[0]))
}

fn lex(test: &FileTest) -> Result<String, String> {
    let mut sources = SourceMap::new();
    let id = sources.add(test.name(), test.source.as_str()).map_err(|d| d.message.clone())?;
    let lexed = tvmc_lang::lexer::lex(id, &test.source);
    let source = sources.source(id);
    let lines = lexed.words().into_iter().map(|(span, kind)| {
        let at = source.position(span.start);
        format!("{}:{} {kind} {}", at.line, at.column, sources.text(span).trim_end()).trim_end().to_owned()
    });
    let errors = lexed.diagnostics.iter().map(|d| render(d, &sources, false));
    Ok(lines.chain(errors).collect::<Vec<_>>().join("\n"))
}

fn fmt(test: &FileTest) -> Result<String, String> {
    let mut sources = SourceMap::new();
    let id = sources.add(test.name(), test.source.as_str()).map_err(|d| d.message.clone())?;
    let parsed = tvmc_lang::parse(id, &test.source);
    if let Some(diagnostic) = parsed.diagnostics.first() {
        return Err(render(diagnostic, &sources, false));
    }
    let printed = tvmc_lang::print::print(&parsed.file, &test.source);
    let again = tvmc_lang::parse(id, &printed);
    if tvmc_lang::print::print(&again.file, &printed) != printed {
        return Err(format!("formatting again changes it\n{printed}"));
    }
    Ok(printed)
}

fn verify(test: &FileTest) -> Result<String, String> {
    let text = &test.source;
    let kind = test.path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let errors: Vec<String> = match kind.as_str() {
        "tir" => match tile::parse(text) {
            Err(error) => vec![format!("parser: {error}")],
            Ok(kernel) => list(tile::verify(kernel).err().unwrap_or_default()),
        },
        "lir" => match lane::parse(text) {
            Err(error) => vec![format!("parser: {error}")],
            Ok(function) => list(lane::verify(function).err().unwrap_or_default()),
        },
        "pir" => {
            let mut parts = text.split("\ninterface ");
            match program::parse(parts.next().unwrap_or_default()).map(program::verify) {
                Err(error) => vec![format!("parser: {error}")],
                Ok(Err(errors)) => list(errors),
                Ok(Ok(sound)) => list(launches(&sound, parts)?),
            }
        }
        "mir" => match mir::parse(text) {
            Err(error) => vec![format!("parser: {error}")],
            Ok(mir::Text::Selected(function)) => list(mir::verify(&function).err().unwrap_or_default()),
            Ok(mir::Text::Allocated(function)) => list(mir::verify(&function).err().unwrap_or_default()),
        },
        other => return Err(format!("`.{other}` is no IR: `.tir`, `.lir`, `.pir` or `.mir`")),
    };
    if errors.is_empty() {
        return Err("a `verify` test has an error".to_owned());
    }
    Ok(errors.join("\n"))
}

/// What is wrong with launches, judged by the interfaces that follow the program.
fn launches<'a>(
    sound: &program::Verified,
    interfaces: impl Iterator<Item = &'a str>,
) -> Result<Vec<program::VerifyError>, String> {
    let interfaces = interfaces
        .map(|text| program::Interface::parse(&format!("interface {text}")).map_err(|e| e.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    if interfaces.is_empty() {
        return Ok(Vec::new());
    }
    let find = |name: &str| interfaces.iter().find(|i| i.name == name);
    Ok(program::verify_launches(sound, &find).err().unwrap_or_default())
}

fn list<T: ToString>(errors: Vec<T>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}
