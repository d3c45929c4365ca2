//! `build -o OUT.tvm` and `inspect` of a module.

use super::arguments::settings;
use super::{Failure, emit_json, models, save, say};
use crate::cli::BuildOptions;
use crate::engine::{Library, Specialisation, build_name, of_library, read_module};
use crate::output;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tvmc_ir::host::Number;
use tvmc_ir::module::{self, Module};

/// Builds a module and writes it; the file is whole or not there.
pub fn build(options: &BuildOptions, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    let library = Library::open(&options.file)?;
    library.check()?;
    let specialisation = match (&options.model, &options.kernel, options.set.as_slice()) {
        (Some(model), _, set) => {
            if !set.is_empty() {
                return Err(Failure::usage("--model and --set are two ways to specialise: give one"));
            }
            models::specialisation(model, options, interrupted)?
        }
        (None, Some(kernel), set) => {
            let interface = library.required_interface(kernel)?;
            let key = settings(set, &interface)?.key(&library, kernel, &interface, 1)?;
            Specialisation { settings: Vec::new(), keys: vec![key] }
        }
        (None, None, set) => Specialisation { settings: hypers(&library, set)?, keys: Vec::new() },
    };
    let module = of_library(&library, &specialisation)?;
    let bytes = module::write(&module);
    let path = match &options.output {
        Some(path) => path.clone(),
        None => PathBuf::from(options.file.file_name().unwrap_or_default()).with_extension("tvm"),
    };
    save(&path, &bytes)?;
    if options.verbose {
        output::note(&summary(&path, &module, bytes.len()));
    }
    Ok(())
}

/// Hyper-parameters from `--set`.
fn hypers(library: &Library, set: &[String]) -> Result<Vec<(String, Number)>, Failure> {
    let mut list = Vec::new();
    let known = if set.is_empty() { Vec::new() } else { library.hyper_names()? };
    for text in set {
        let (name, value) = super::arguments::pair(text, "--set")?;
        if !known.iter().any(|k| k == name) {
            return Err(Failure::user(format!("no program of the file has a hyper-parameter `{name}`"))
                .did_you_mean(name, known.iter().map(String::as_str))
                .help("for a kernel's constants, name it with --kernel"));
        }
        let number = value.parse().map(Number::Int).or_else(|_| value.parse().map(Number::Float));
        list.push((
            name.to_owned(),
            number.map_err(|_| Failure::user(format!("`{name}` stands for a number, `{value}` is none")))?,
        ));
    }
    Ok(list)
}

fn summary(path: &Path, module: &Module, bytes: usize) -> String {
    format!(
        "{}: {bytes} bytes, {} sources, {} kernels, {} programs, {} instances",
        path.display(),
        module.sources.len(),
        module.interfaces.len(),
        module.programs.len(),
        module.instances.len()
    )
}

/// The bytes of a file that begins as modules do; none of another file, or where there is none.
pub fn module_bytes(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(None) };
    let mut start = Vec::new();
    let unreadable = |e: std::io::Error| Failure::user(format!("cannot read {}: {e}", path.display()));
    if !path.is_file() {
        return Ok(None);
    }
    Read::by_ref(&mut file).take(8).read_to_end(&mut start).map_err(unreadable)?;
    if !module::is_module(&start) {
        return Ok(None);
    }
    // One byte more than is allowed, so that the reader says that it is too long.
    file.take(module::MAX_BYTES as u64).read_to_end(&mut start).map_err(unreadable)?;
    Ok(Some(start))
}

/// `tvmc inspect` of a module.
pub fn inspect(path: &Path, bytes: &[u8], json: bool) -> Result<(), Failure> {
    let module = read_module(path, bytes)?;
    let own = module.build == build_name();
    if json {
        let sources: Vec<_> = module
            .sources
            .iter()
            .map(|s| serde_json::json!({ "name": s.name, "bytes": s.text.len() }))
            .collect();
        let instances: Vec<_> = module
            .instances
            .iter()
            .map(|i| serde_json::json!({ "kernel": i.key.kernel, "with": i.key.choices() }))
            .collect();
        let settings: serde_json::Map<String, serde_json::Value> =
            module.settings.iter().map(|(n, v)| (n.clone(), number_json(*v))).collect();
        return emit_json(&serde_json::json!({
            "path": path.display().to_string(),
            "kind": "module",
            "bytes": bytes.len(),
            "version": module::VERSION,
            "build": module.build,
            "this_build": own,
            "sources": sources,
            "kernels": module.interfaces.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(),
            "programs": module.programs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
            "settings": settings,
            "instances": instances,
        }));
    }
    let mut text = summary(path, &module, bytes.len()) + "\n";
    let note = if own { "" } else { ", not by this build: instances are compiled anew" };
    text += &format!("format version {}, made by {}{note}\n", module::VERSION, module.build);
    for source in &module.sources {
        text += &format!("  source    {} ({} bytes)\n", source.name, source.text.len());
    }
    for (name, number) in &module.settings {
        text += &format!("  setting   {name} = {number}\n");
    }
    for program in &module.programs {
        text += &format!("  program   {}\n", program.name);
    }
    for interface in &module.interfaces {
        text += &format!("  kernel    {}\n", interface.name);
    }
    for instance in &module.instances {
        text += &format!("  instance  {} with {}\n", instance.key.kernel, instance.key.choices());
    }
    say(&text)
}

fn number_json(number: Number) -> serde_json::Value {
    match number {
        Number::Int(value) => value.into(),
        Number::Float(value) => value.into(),
        Number::Bool(value) => value.into(),
    }
}
