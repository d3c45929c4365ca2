//! `fetch`, `inspect`, `tokenize`: model files without running them.

use super::progress::Bar;
use super::{Failure, emit_json, say};
use crate::engine::{Declarations, Library};
use crate::output;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tvmc_model::tokenizer::{Special, Tokenizer};
use tvmc_types::dtype::DType;
use tvmc_weights::checkpoint::is_checkpoint;
use tvmc_weights::fetch::{self, Fetcher, Progress};
use tvmc_weights::gguf::declared::{DECLARATIONS, TENSOR};
use tvmc_weights::gguf::type_ids;
use tvmc_weights::{Access, FileKind, Weights};

/// The path of a model: a file that exists, else a model that can be fetched.
pub fn model_path(model: &str, interrupted: &Arc<AtomicBool>) -> Result<PathBuf, Failure> {
    let path = Path::new(model);
    // A folder of a model's name does not hide the model.
    if path.exists() && (!path.is_dir() || is_checkpoint(path) || model.contains(['/', '\\'])) {
        return Ok(path.to_owned());
    }
    let looks_like_a_path = model.contains(['/', '\\']) || path.extension().is_some();
    if looks_like_a_path {
        return Err(Failure::user(format!("there is no file `{model}`")));
    }
    fetch_model(model, interrupted)
}

/// Fetches a model by name, with progress on a terminal.
pub fn fetch_model(name: &str, interrupted: &Arc<AtomicBool>) -> Result<PathBuf, Failure> {
    let model = fetch::find(name).map_err(|error| {
        let known = fetch::models().unwrap_or_default();
        let near = tvmc_lang::diag::closest(name, known.iter().map(|model| model.name.as_str()));
        let failure = Failure::from_error(error);
        match near {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure,
        }
    })?;
    let fetcher = Fetcher::from_environment().map_err(Failure::from_error)?;
    if let Some(path) = fetcher.settled(&model) {
        return Ok(path);
    }
    output::note(&format!("fetching {}: {} ({})", model.name, model.title, model.license));
    let bar = Bar::new(model.inner_bytes);
    let mut report = |progress: Progress| {
        match progress {
            Progress::Waiting => bar.show("waiting", 0, 1),
            Progress::Downloading { done, total } => bar.show("downloading", done, total),
            Progress::Unpacking { done, total } => bar.show("unpacking", done, total),
        }
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    fetcher.fetch(&model, &mut report).map_err(Failure::from_error)
}

/// Opens a model's file.
pub fn open(model: &str, interrupted: &Arc<AtomicBool>) -> Result<Weights, Failure> {
    let path = model_path(model, interrupted)?;
    Weights::open(&path, Access::Map).map_err(Failure::from_error)
}

/// The tokenizer of a model's file.
pub fn tokenizer(weights: &Weights) -> Result<Tokenizer, Failure> {
    let Some(metadata) = weights.metadata() else {
        return Err(Failure::user(format!(
            "{} has no tokenizer: GGUF files carry one, and folders of a model do",
            weights.path().display()
        ))
        .help("give the folder that holds the file, with config.json and tokenizer.json"));
    };
    if weights.kind() == FileKind::Checkpoint && metadata.get("tokenizer.ggml.model").is_none() {
        return Err(Failure::user(format!("{} has no tokenizer.json", weights.path().display()))
            .help("it says what tokens are: put the one of the model there"));
    }
    Tokenizer::from_gguf(metadata).map_err(Failure::from_error)
}

/// `tvmc fetch`.
pub fn fetch(name: &str, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    let path = fetch_model(name, interrupted)?;
    say(&format!("{}\n", path.display()))
}

/// `tvmc inspect`.
pub fn inspect(file: &str, json: bool, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    if let Some(bytes) = super::module::module_bytes(Path::new(file))? {
        return super::module::inspect(Path::new(file), &bytes, json);
    }
    let weights = open(file, interrupted)?;
    let total: u64 = weights.tensors().iter().map(|t| t.bytes).sum();
    if json {
        let tensors: Vec<serde_json::Value> = weights
            .tensors()
            .iter()
            .map(|t| {
                serde_json::json!({
                    "name": t.name, "shape": t.shape, "format": t.format, "offset": t.offset, "bytes": t.bytes,
                })
            })
            .collect();
        let metadata: serde_json::Map<String, serde_json::Value> = weights
            .metadata()
            .map(|m| m.iter().map(|(k, v)| (k.to_owned(), value_json(v))).collect())
            .unwrap_or_default();
        return emit_json(&serde_json::json!({
            "path": weights.path().display().to_string(),
            "kind": format!("{:?}", weights.kind()).to_lowercase(),
            "bytes": total,
            "metadata": metadata,
            "tensors": tensors,
        }));
    }
    let (path, kind, count) = (weights.path().display(), weights.kind(), weights.tensors().len());
    let mut text = format!("{path}: {kind:?}, {count} tensors, {total} bytes of weights\n");
    if let Some(metadata) = weights.metadata() {
        for (key, value) in metadata.iter() {
            text += &format!("  {key} = {}\n", value_text(value));
        }
    }
    for tensor in weights.tensors() {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        let (name, format, shape) = (&tensor.name, &tensor.format, shape.join(", "));
        text += &format!("  {name:<40} {format:>8} [{shape}] {} bytes\n", tensor.bytes);
    }
    say(&text)
}

fn value_json(value: &tvmc_weights::gguf::Value) -> serde_json::Value {
    if let Some(array) = value.as_array() {
        return serde_json::json!({ "array": array.element_type_name(), "length": array.len() });
    }
    if let Some(text) = value.as_str() {
        return text.into();
    }
    if let Some(flag) = value.as_bool() {
        return flag.into();
    }
    match (value.as_u64(), value.as_f64()) {
        (Some(integer), _) => integer.into(),
        (None, Some(float)) => float.into(),
        (None, None) => serde_json::Value::Null,
    }
}

fn value_text(value: &tvmc_weights::gguf::Value) -> String {
    if let Some(array) = value.as_array() {
        return format!("{} x {}", array.len(), array.element_type_name());
    }
    if let Some(text) = value.as_str() {
        // A template can be long and hold control characters.
        let short: String = text.chars().take(60).collect();
        let dots = if short.len() < text.len() { ".." } else { "" };
        return format!("{short:?}{dots}");
    }
    value_json(value).to_string()
}

/// `tvmc tokenize`.
pub fn tokenize(model: &str, prompt: &str, json: bool, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    let weights = open(model, interrupted)?;
    let tokenizer = tokenizer(&weights)?;
    let ids = tokenizer.encode(prompt, Special::Parse).map_err(Failure::from_error)?;
    let pieces: Vec<String> = ids
        .iter()
        .map(|id| String::from_utf8_lossy(tokenizer.token_bytes(*id).unwrap_or_default()).into_owned())
        .collect();
    if json {
        return emit_json(&serde_json::json!({ "ids": ids, "pieces": pieces }));
    }
    let lines: Vec<String> =
        ids.iter().zip(&pieces).map(|(id, piece)| format!("{id:>8}  {piece:?}\n")).collect();
    say(&lines.concat())
}

/// The declarations of the formats that a file has beside those of GGUF.
pub(super) fn declarations(file: &Weights) -> Option<Declarations> {
    let text = file.gguf()?.declarations()?.to_owned();
    Some(Declarations { name: format!("{} ({DECLARATIONS})", file.path().display()), text })
}

/// Checks that each tensor in a format of the file's own has as many bytes as its declaration says.
pub(super) fn verify_declared(file: &Weights, library: &Library) -> Result<(), Failure> {
    if file.gguf().is_none_or(|gguf| gguf.declarations().is_none()) {
        return Ok(());
    }
    let wrong = |why: String| Failure::user(format!("{} is not sound: {why}", file.path().display()));
    let standard = Library::standard("quantize")?;
    let (standard, known) = (standard.formats(), library.formats());
    for tensor in file.tensors() {
        let own = DType::from_name(&tensor.format).is_none() && type_ids::by_name(&tensor.format).is_none();
        if !own {
            let key = format!("{TENSOR}{}", tensor.name);
            if file.metadata().is_some_and(|metadata| metadata.get(&key).is_some()) {
                return Err(wrong(format!(
                    "`{}` is said to be of {}, which is a type of GGUF",
                    tensor.name, tensor.format
                )));
            }
            continue;
        }
        if standard.contains(&&*tensor.format) || !known.contains(&&*tensor.format) {
            return Err(wrong(format!(
                "`{}` is of format `{}`, which it does not declare",
                tensor.name, tensor.format
            )));
        }
        let needed = library.tensor_bytes(&tensor.format, &tensor.shape).map_err(|e| wrong(e.to_string()))?;
        if needed != tensor.bytes {
            return Err(wrong(format!(
                "`{}` has {} bytes, but {:?} of `{}` as the file declares it needs {needed}",
                tensor.name, tensor.bytes, tensor.shape, tensor.format
            )));
        }
    }
    Ok(())
}
