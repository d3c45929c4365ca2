//! `logits`, `generate`, `perplexity`: running a model. `chat` and `bench` load theirs here too.

use super::{Failure, emit_json, say, weights};
use crate::cli::{Activations, BuildOptions, ModelOptions, SamplingOptions, spelled};
use crate::engine::{Engine, Library, Specialisation, Storage};
use crate::output;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tvmc_ir::host::Number;
use tvmc_ir::program::{Hyper, Program, Verified};
use tvmc_model::chat_template::ChatTemplate;
use tvmc_model::executor::{LoadOptions, Session};
use tvmc_model::language_model::{Generated, LanguageModel, Limits, Listen, PREFILL};
use tvmc_model::logits;
use tvmc_model::sampler::{Sampler, Settings};
use tvmc_model::tokenizer::Special;
use tvmc_types::dtype::DType;
use tvmc_weights::Weights;

/// Longest context that is taken without asking.
const DEFAULT_CONTEXT: i64 = 8192;

/// A model ready to run.
pub(crate) struct Loaded {
    /// The model.
    pub model: LanguageModel<Engine>,
    /// How it lays out conversations, or why it can't.
    pub template: Result<ChatTemplate, String>,
    /// What is printed beside figures.
    pub flags: String,
}

/// Loads a model; says so, with the flags in force.
pub(crate) fn load(options: &ModelOptions, interrupted: &Arc<AtomicBool>) -> Result<Loaded, Failure> {
    let start = Instant::now();
    let file = weights::open(&options.model, interrupted)?;
    // Two halves of the start that know nothing of each other.
    let (tokenizer, session) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| weights::tokenizer(&file));
        let session = session(options, &file);
        (tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), session)
    });
    let (tokenizer, session) = (tokenizer?, session?);
    let template = match file.metadata() {
        Some(metadata) => ChatTemplate::from_gguf(metadata, &tokenizer).map_err(|e| e.to_string()),
        None => Err("the file has no metadata".to_owned()),
    };
    let (resident, state) = session.resident_bytes();
    let model = LanguageModel::new(session, tokenizer).map_err(Failure::from_error)?;
    let flags = format!(
        "--target {} --threads {} --act {} --kv {} --ctx {}",
        model.session().device().target_name(),
        model.session().device().threads(),
        spelled(&options.act),
        kept(model.session().program()),
        model.context()
    );
    output::note(&format!(
        "loaded {} in {:.2} s: {} MB of weights, {} MB of state; {flags}",
        file.path().display(),
        start.elapsed().as_secs_f64(),
        resident / 1_000_000,
        state / 1_000_000
    ));
    Ok(Loaded { model, template, flags })
}

/// What a program keeps from call to call is stored as, by name.
fn kept(program: &Verified) -> String {
    let mut names: Vec<&str> = program.states.iter().map(|state| state.element.name()).collect();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

fn session(options: &ModelOptions, file: &Weights) -> Result<Session<Engine>, Failure> {
    let storage = Storage::of(options.act, options.kv.as_deref());
    let declared = weights::declarations(file);
    let declared = declared.as_ref();
    let (engine, program) = match &options.program {
        Some(path) => Engine::for_program_file(path, &storage, declared, &options.machine)?,
        None => {
            let architecture = file
                .metadata()
                .and_then(|m| m.get("general.architecture"))
                .and_then(|v| v.as_str())
                .ok_or_else(|| {
                    Failure::user("the file does not name its architecture: give --program FILE")
                })?;
            Engine::for_architecture(architecture, &storage, declared, &options.machine)?
        }
    };
    weights::verify_declared(file, engine.library())?;
    let own = program.hypers.iter().find(|h| h.name == "C").and_then(|h| {
        let value = file.metadata()?.get(&h.key)?.as_u64()?;
        i64::try_from(value).ok()
    });
    let context = match options.ctx {
        Some(0) => return Err(Failure::usage("--ctx must be at least 1")),
        Some(context) => Some(i64::from(context)),
        None => own.map(|own| own.min(DEFAULT_CONTEXT)),
    };
    let mut load = LoadOptions::default();
    if let (Some(context), true) = (context, program.hypers.iter().any(|h| h.name == "C")) {
        load.set.push(("C".to_owned(), Number::Int(context)));
    }
    fixed_by_module(engine.library(), &program, Some(file), &mut load)?;
    Session::load(program, file, engine, &load).map_err(Failure::from_error)
}

/// A module that is specialised says numbers of its own: they stand in for those that the file lacks, and may not differ from those it has.
pub(super) fn fixed_by_module(
    library: &Library,
    program: &Program,
    file: Option<&Weights>,
    load: &mut LoadOptions,
) -> Result<(), Failure> {
    for (name, number) in library.settings() {
        let Some(hyper) = program.hypers.iter().find(|h| h.name == *name) else { continue };
        if load.set.iter().any(|(set, _)| set == name) {
            continue;
        }
        let found = file.and_then(|file| Some((file, file.metadata()?.get(&hyper.key)?.as_f64()?)));
        match found {
            Some((file, found)) if found as f32 != value(*number) as f32 => {
                return Err(Failure::user(format!(
                    "the module was built for a model with `{}` = {number}, {} has {found}",
                    hyper.key,
                    file.path().display()
                ))
                .help("build one for this model with `tvmc build --model`"));
            }
            Some(_) => {}
            None => load.set.push((name.clone(), *number)),
        }
    }
    Ok(())
}

fn value(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Float(value) => value,
        Number::Bool(value) => f64::from(u8::from(value)),
    }
}

/// What a module is specialised to for a model: the numbers that its file has, and the instances that a long and a short call need.
pub(super) fn specialisation(
    model: &str,
    options: &BuildOptions,
    interrupted: &Arc<AtomicBool>,
) -> Result<Specialisation, Failure> {
    let file = weights::open(model, interrupted)?;
    let mut specialisation = Specialisation::default();
    for act in [Activations::F32, Activations::Q8] {
        let options = ModelOptions {
            model: model.to_owned(),
            program: Some(options.file.clone()),
            act,
            machine: options.machine.clone(),
            ctx: None,
            kv: None,
        };
        let session = session(&options, &file)?;
        specialisation.settings = own_numbers(session.program(), &file);
        let mut model =
            LanguageModel::new(session, weights::tokenizer(&file)?).map_err(Failure::from_error)?;
        for tokens in [PREFILL, 1] {
            let count = tokens.min(model.context().saturating_sub(model.position()));
            model.feed(&vec![0; count], 1).map_err(Failure::from_error)?;
        }
        specialisation.keys.extend(model.session().device().instance_keys());
    }
    Ok(specialisation)
}

/// Hyper-parameters that the file has, as it has them: a command may run with a shorter context.
fn own_numbers(program: &Verified, file: &Weights) -> Vec<(String, Number)> {
    let number = |hyper: &Hyper| {
        let own = file.metadata()?.get(&hyper.key)?;
        if hyper.dtype == DType::F32 {
            own.as_f64().map(Number::Float)
        } else {
            Some(Number::Int(i64::try_from(own.as_u64()?).ok()?))
        }
    };
    program.hypers.iter().filter_map(|hyper| Some((hyper.name.clone(), number(hyper)?))).collect()
}

/// The sampler that these options ask for.
pub(super) fn sampler(options: &SamplingOptions) -> Result<Sampler, Failure> {
    if options.stop.iter().any(String::is_empty) {
        return Err(Failure::usage("--stop takes a text that is not empty"));
    }
    let settings = Settings {
        temperature: options.temp,
        top_k: options.top_k,
        top_p: options.top_p,
        min_p: options.min_p,
        repeat_penalty: options.repeat_penalty,
        seed: options.seed,
        ..Settings::default()
    };
    Sampler::new(settings).map_err(|error| Failure::usage(error.to_string()))
}

/// `tvmc logits`.
pub fn logits(
    options: &ModelOptions,
    prompt: &str,
    top: usize,
    json: bool,
    interrupted: &Arc<AtomicBool>,
) -> Result<(), Failure> {
    let mut loaded = load(options, interrupted)?;
    let ids = loaded.model.tokenizer().encode(prompt, Special::Parse).map_err(Failure::from_error)?;
    let rows = loaded.model.feed(&ids, 1).map_err(Failure::from_error)?;
    let row = rows.row(0).ok_or_else(|| Failure::user("the program gave no logits"))?;
    let statistics = logits::statistics(row, top).map_err(Failure::from_error)?;
    if json {
        let best: Vec<serde_json::Value> =
            statistics.top.iter().map(|(id, logit)| serde_json::json!([id, logit])).collect();
        return emit_json(&serde_json::json!({
            "ids": ids, "top": best, "mean": statistics.mean, "std": statistics.standard_deviation,
        }));
    }
    let mut text = format!("ids  {ids:?}\n");
    for (id, logit) in &statistics.top {
        let piece = String::from_utf8_lossy(loaded.model.tokenizer().token_bytes(*id).unwrap_or_default());
        text += &format!("{id:>8}  {logit:>9.4}  {piece:?}\n");
    }
    text +=
        &format!("mean {:.4}, standard deviation {:.4}\n", statistics.mean, statistics.standard_deviation);
    say(&text)
}

/// `tvmc generate`.
pub fn generate(
    options: &ModelOptions,
    prompt: &str,
    n: usize,
    sampling: &SamplingOptions,
    json: bool,
    interrupted: &Arc<AtomicBool>,
) -> Result<(), Failure> {
    let mut sampler = sampler(sampling)?;
    let mut loaded = load(options, interrupted)?;
    loaded.flags += &format!(" {} -n {n}", sampling.flags());
    let ids = loaded.model.tokenizer().encode(prompt, Special::Parse).map_err(Failure::from_error)?;
    let limits = Limits { tokens: n, stops: sampling.stop.clone() };
    let start = Instant::now();
    let mut first = None;
    let generated = stream(&mut loaded, &ids, &mut sampler, &limits, interrupted, &mut |text| {
        first.get_or_insert_with(|| start.elapsed());
        if json { Ok(()) } else { say(text) }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = generated.ids.len() as f64 / seconds.max(1e-9);
    if json {
        return emit_json(&serde_json::json!({
            "ids": generated.ids,
            "text": generated.text,
            "prompt_tokens": ids.len(),
            "tokens_per_second": rate,
            "flags": loaded.flags,
        }));
    }
    say("\n")?;
    let first = first.map_or(0.0, |f| f.as_secs_f64());
    let (count, prompt) = (generated.ids.len(), ids.len());
    output::note(&format!(
        "{count} tokens after {prompt} of prompt, {rate:.1} tokens/s, first after {first:.2} s; {}",
        compiled(&loaded)
    ));
    output::note(&loaded.flags);
    Ok(())
}

/// What compiling cost so far.
fn compiled(loaded: &Loaded) -> String {
    let statistics = loaded.model.session().device().statistics();
    let time = statistics.compile_time.as_secs_f64() * 1e3;
    format!("{} kernels compiled in {time:.0} ms", statistics.compiled)
}

/// Generates; text goes to `show` as it comes. An interrupt ends the answer, not the command.
pub(super) fn stream(
    loaded: &mut Loaded,
    ids: &[u32],
    sampler: &mut Sampler,
    limits: &Limits,
    interrupted: &Arc<AtomicBool>,
    show: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<Generated, Failure> {
    let mut failure = None;
    let generated = loaded.model.generate(ids, sampler, limits, &mut |text| {
        if let Err(error) = show(text) {
            failure = Some(error);
            return Listen::Enough;
        }
        if interrupted.load(Ordering::Relaxed) { Listen::Enough } else { Listen::More }
    });
    match failure {
        Some(failure) => Err(failure),
        None => generated.map_err(Failure::from_error),
    }
}

/// `tvmc perplexity`: windows without overlap, each after the end-of-text token, the first token of a window not scored.
pub fn perplexity(
    options: &ModelOptions,
    text: &std::path::Path,
    (window, windows): (usize, usize),
    json: bool,
    interrupted: &Arc<AtomicBool>,
) -> Result<(), Failure> {
    if window < 2 || windows == 0 {
        return Err(Failure::usage("--window must be at least 2 and --windows at least 1"));
    }
    let bytes =
        std::fs::read(text).map_err(|e| Failure::user(format!("cannot read {}: {e}", text.display())))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::user("the text is not UTF-8"))?;
    let mut loaded = load(options, interrupted)?;
    loaded.flags += &format!(" --window {window} --windows {windows}");
    let progress = std::io::stderr().is_terminal() && output::for_people();
    let ids = loaded.model.tokenizer().encode(&text, Special::AsText).map_err(Failure::from_error)?;
    if ids.len() < window {
        return Err(Failure::user(format!("the text has {} tokens, a window has {window}", ids.len())));
    }
    let separator = loaded.model.tokenizer().token_id("<|endoftext|>").or(loaded.model.tokenizer().bos());
    let (mut sum, mut count) = (0.0, 0usize);
    for (at, piece) in ids.chunks_exact(window).take(windows).enumerate() {
        loaded.model.reset();
        let tokens: Vec<u32> = separator.into_iter().chain(piece.iter().copied()).collect();
        let first = usize::from(separator.is_some());
        // The logits after token i score token i + 1; rows come in groups that one call can give.
        let mut fed = 0;
        while fed + 1 < tokens.len() {
            let end = (fed + PREFILL).min(tokens.len() - 1);
            let rows = loaded.model.feed(&tokens[fed..end], end - fed).map_err(Failure::from_error)?;
            for position in fed..end {
                let Some(row) = rows.row(position - fed) else { continue };
                // With a separator the first token of the window follows it, and is not scored.
                if position < first {
                    continue;
                }
                sum += logits::surprise(row, tokens[position + 1]).map_err(Failure::from_error)?;
                count += 1;
            }
            fed = end;
        }
        if progress {
            output::tell(&format!("\rwindow {} of {windows}: {:.4} ", at + 1, (sum / count as f64).exp()));
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(Failure::user("interrupted"));
        }
    }
    if progress {
        output::tell("\n");
    }
    let perplexity = (sum / count as f64).exp();
    if json {
        return emit_json(&serde_json::json!({
            "perplexity": perplexity, "tokens": count, "flags": loaded.flags,
        }));
    }
    output::note(&loaded.flags);
    say(&format!("perplexity {perplexity:.4} over {count} tokens\n"))
}
