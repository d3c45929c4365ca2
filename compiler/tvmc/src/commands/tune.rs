//! `tune`: times the values that kernels' tune names offer and stores the fastest for this machine.
//!
//! One round is every candidate of every case once (`engine::tuning::measure` says how a launch becomes a sample). What a candidate's first launch takes is of compiling and of cold memory, and does not count.
//!
//! * A **kernel** is launched as often as fills [`SAMPLE`] for each sample, on the arguments that are given, as `bench` does.
//! * A **model** makes whole calls, of each length that `--tokens` names, behind a beginning of [`BEFORE`] tokens: so each kernel is timed where it stands, with its weights where they
//!   are in a model, on a machine as busy as a model makes it.
//!
//! Refused: a kernel that offers nothing to choose, a target that nobody tunes (the interpreter), several numbers of threads.

use super::arguments;
use super::kernels::holds_kernels;
use super::table::{Cell, Table};
use super::{Failure, models};
use crate::cli::{MachineOptions, TableFormat, TargetName, TuneOptions, TunedChoices};
use crate::engine::{Choices, Engine, Library, Measured};
use crate::output;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tvmc_model::executor::Planning;

/// Time of a sample of one kernel.
const SAMPLE: Duration = Duration::from_millis(10);
/// Most launches of a sample.
const MOST_LAUNCHES: f64 = 65_536.0;
/// Tokens that a model has seen before the calls that are timed, where they fit.
const BEFORE: usize = 128;

/// When to stop.
struct Limit<'a> {
    end: Instant,
    interrupted: &'a AtomicBool,
}

impl Limit<'_> {
    /// Whether another sample may begin; an error where the user has had enough.
    fn goes_on(&self) -> Result<bool, Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::user("interrupted; nothing was stored"));
        }
        Ok(Instant::now() < self.end)
    }

    /// One sample of every candidate; `sample` takes one of each case and gives how many turns a round has. Whether there was time for all.
    fn round(&self, sample: &mut dyn FnMut() -> Result<usize, Failure>) -> Result<bool, Failure> {
        let (mut turn, mut turns) = (0, 1);
        while turn < turns {
            if !self.goes_on()? {
                return Ok(false);
            }
            turns = sample()?;
            turn += 1;
        }
        Ok(true)
    }
}

/// `tvmc tune`.
pub fn tune(options: &TuneOptions, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    if options.repeat == 0 || options.tokens.contains(&0) || options.tokens.is_empty() {
        return Err(Failure::usage("-r and --tokens must be at least 1"));
    }
    let machine = &options.model.machine;
    if machine.target == TargetName::Interp {
        return Err(Failure::usage("the interpreter is there to be right, not fast: tune another --target"));
    }
    if machine.threads.len() > 1 {
        return Err(Failure::usage("choices are for one number of --threads: tune them one after the other"));
    }
    // What is stored must not be what is compared with.
    let machine = MachineOptions { tuned: TunedChoices::Off, ..machine.clone() };
    if options.forget {
        return forget(&machine);
    }
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let limit = Limit { end, interrupted };
    let path = Path::new(&options.model.model);
    let (finished, flags) = match (&options.timed.kernel, holds_kernels(path)?) {
        (Some(kernel), _) => kernel_cases(path, kernel, options, &machine, &limit)?,
        (None, true) => {
            let known = Library::open(path)?.kernel_names().join(", ");
            return Err(Failure::usage("which kernel? give --kernel NAME").help(format!("there is: {known}")));
        }
        (None, false) => model_cases(options, machine, &limit, interrupted)?,
    };
    let Finished { description, measured } = finished;
    let mut incomplete = false;
    for candidate in measured.iter().flat_map(|m| &m.candidates) {
        incomplete |= candidate.refused.is_none() && candidate.seconds.is_empty();
        if let Some(why) = &candidate.refused {
            output::note(&format!("{} is left out: {why}", candidate.text()));
        }
    }
    if incomplete {
        output::note("time is up before every candidate had its turn; give more with --seconds");
    }
    let table = table(&measured, flags);
    if !options.dry_run {
        let found: Vec<_> = measured.iter().filter_map(Measured::stored).collect();
        let count = found.len();
        let path = Choices::of(&description).add(found).map_err(Failure::user)?;
        output::note(&format!("{count} choices stored in {}", path.display()));
    }
    table.show(if options.json { TableFormat::Json } else { options.output })
}

/// What measuring leaves.
struct Finished {
    description: String,
    measured: Vec<Measured>,
}

impl Finished {
    fn of(engine: &mut Engine) -> Self {
        let description = engine.machine().description().unwrap_or_default();
        let measured = engine.measurements().map(|m| m.cases().cloned().collect()).unwrap_or_default();
        Self { description, measured }
    }
}

fn forget(machine: &MachineOptions) -> Result<(), Failure> {
    let mut engine = Engine::new(Library::standard("math")?, machine)?;
    let description = engine.machine().description().unwrap_or_default();
    match Choices::of(&description).forget().map_err(Failure::user)? {
        Some(path) => output::note(&format!("{} is removed", path.display())),
        None => output::note("nothing is stored for this machine"),
    }
    Ok(())
}

/// One kernel on the arguments that are given.
fn kernel_cases(
    path: &Path,
    kernel: &str,
    options: &TuneOptions,
    machine: &MachineOptions,
    limit: &Limit<'_>,
) -> Result<(Finished, String), Failure> {
    let job = arguments::random_job(path, kernel, &options.timed.set, &options.timed.arg)?;
    let (mut engine, lists) = job.placed(Library::open(path)?, machine, options.timed.copies)?;
    let interface = engine.library().required_interface(kernel)?;
    let (with, set) = job.settings.split(&interface);
    let free =
        interface.tunes.iter().any(|t| interface.offered(t).len() > 1 && with.iter().all(|(n, _)| n != t));
    if !free {
        return Err(Failure::user(format!("`{kernel}` offers nothing to choose"))
            .help("`tune BM in {32, 8}` in its header offers two values of BM"));
    }
    engine.measure();
    let mut launches = 1;
    // One round to compile, and one to see how many launches fill a sample.
    for round in 0..options.repeat + 2 {
        let whole = limit.round(&mut || {
            engine.sample(kernel, &lists, (&with, &set), launches).map_err(Failure::from_error)?;
            Ok(engine.measurements().map_or(0, |m| m.advance()))
        })?;
        if !whole {
            break;
        }
        if let (1, Some(fastest)) = (round, engine.measurements().and_then(|m| m.fastest())) {
            launches = (SAMPLE.as_secs_f64() / fastest.max(1e-7)).clamp(1.0, MOST_LAUNCHES) as u32;
        }
    }
    let flags = flags(&engine, options);
    Ok((Finished::of(&mut engine), flags))
}

fn flags(engine: &Engine, options: &TuneOptions) -> String {
    format!(
        "--target {} --threads {} -r {} --copies {}",
        engine.target_name(),
        engine.threads(),
        options.repeat,
        options.timed.copies
    )
}

/// Every kernel that a model's calls launch.
fn model_cases(
    options: &TuneOptions,
    machine: MachineOptions,
    limit: &Limit<'_>,
    interrupted: &Arc<AtomicBool>,
) -> Result<(Finished, String), Failure> {
    let chosen = crate::cli::ModelOptions { machine, ..options.model.clone() };
    let mut loaded = models::load(&chosen, interrupted)?;
    let model = &mut loaded.model;
    let vocabulary = model.tokenizer().vocabulary_size().max(1);
    let token = |i: usize| ((i * 7919 + 13) % vocabulary) as u32;
    let before = BEFORE.min(model.context() / 2);
    if before > 0 {
        let tokens: Vec<u32> = (0..before).map(token).collect();
        model.feed(&tokens, 1).map_err(Failure::from_error)?;
    }
    model.session_mut().plan(Planning::Walk);
    model.session_mut().device_mut().measure();
    'lengths: for &length in &options.tokens {
        if before + length > model.context() {
            output::note(&format!("calls of {length} tokens do not fit the context of {}", model.context()));
            continue;
        }
        let tokens: Vec<u32> = (0..length).map(|i| token(before + i)).collect();
        for _ in 0..=options.repeat {
            let whole = limit.round(&mut || {
                model.rewind(before);
                model.feed(&tokens, 1).map_err(Failure::from_error)?;
                Ok(model.session_mut().device_mut().measurements().map_or(0, |m| m.advance()))
            })?;
            if !whole {
                break 'lengths;
            }
        }
    }
    let finished = Finished::of(model.session_mut().device_mut());
    Ok((finished, format!("{} -r {}", loaded.flags, options.repeat)))
}

fn table(measured: &[Measured], flags: String) -> Table {
    let figure = |seconds: Option<f64>| Cell::Figure(seconds.map(|s| s * 1e6));
    let rows = measured.iter().filter(|m| m.candidates.len() > 1).map(|m| {
        let (rule, best) = (m.candidates.first(), m.best());
        let ratio = rule.and_then(|r| r.median()).zip(best.and_then(|b| b.median())).map(|(r, b)| r / b);
        vec![
            Cell::Text(m.case.to_string()),
            Cell::Count(m.candidates.len() as u64),
            Cell::Text(rule.map_or_else(String::new, |c| c.text())),
            figure(rule.and_then(|c| c.median())),
            Cell::Text(best.map_or_else(String::new, |c| c.text())),
            figure(best.and_then(|c| c.median())),
            Cell::Figure(ratio),
        ]
    });
    let columns =
        vec!["case", "candidates", "rule", "rule_microseconds", "chosen", "microseconds", "rule_by_chosen"];
    Table { columns, rows: rows.collect(), flags }
}
