//! `bench`: a model's tokens per second, or a kernel's time beside what memory can give.
//!
//! One round warms up (kernels are compiled, memory is touched; a GPU is kept busy for [`WARM`]) and is thrown away; then come the repetitions. Reported are the median
//! and the two extremes, one row a test and number of threads. A kernel's repetition is as many launches as fill [`SAMPLE`]; before
//! each one a pass of the read probe is timed with as many threads, and the rates are compared: `ratio` is the kernel's bytes of arguments
//! per second over the probe's. Above 1 the arguments came from caches.

use super::arguments;
use super::kernels::holds_kernels;
use super::table::{Cell, Summary, Table};
use super::{Failure, models};
use crate::cli::{BenchOptions, LaunchOrder, MachineOptions, ModelOptions, TableFormat, TargetName};
use crate::engine::{Library, default_threads};
use crate::output;
use crate::probe::ReadProbe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The least that a repetition takes, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_millis(20);

/// How long a GPU is kept busy before it is timed: idle ones run at a fraction of their clock.
const WARM: Duration = Duration::from_millis(300);

/// Launches between two looks at the clock while a GPU warms up.
const WARM_LAUNCHES: u32 = 64;

/// Most launches of a repetition.
const MOST_LAUNCHES: u32 = 1 << 20;

/// `tvmc bench`.
pub fn bench(options: &BenchOptions, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    if [options.prompt_tokens, options.n, options.depth, options.repeat].contains(&0) {
        return Err(Failure::usage("-p, -n, -d and -r must be at least 1"));
    }
    let format = if options.json { TableFormat::Json } else { options.output };
    let path = Path::new(&options.model.model);
    let table = match (&options.timed.kernel, holds_kernels(path)?) {
        (Some(kernel), _) => kernels(path, kernel, options, interrupted)?,
        (None, true) => {
            let known = Library::open(path)?.kernel_names().join(", ");
            return Err(Failure::usage("which kernel? give --kernel NAME").help(format!("there is: {known}")));
        }
        (None, false) => model(options, interrupted)?,
    };
    table.show(format)
}

/// The numbers of threads to measure with.
fn thread_counts(options: &MachineOptions) -> Vec<usize> {
    if options.threads.is_empty() { vec![default_threads()] } else { options.threads.clone() }
}

fn with_threads(options: &MachineOptions, threads: usize) -> MachineOptions {
    MachineOptions { threads: vec![threads], ..options.clone() }
}

fn stopped(interrupted: &AtomicBool) -> Result<(), Failure> {
    if interrupted.load(Ordering::Relaxed) { Err(Failure::user("interrupted")) } else { Ok(()) }
}

/// Prefill and decoding of a model.
fn model(options: &BenchOptions, interrupted: &Arc<AtomicBool>) -> Result<Table, Failure> {
    let mut rows = Vec::new();
    let mut flags = String::new();
    for threads in thread_counts(&options.model.machine) {
        let machine = with_threads(&options.model.machine, threads);
        let chosen = ModelOptions { machine, ..options.model.clone() };
        let mut loaded = models::load(&chosen, interrupted)?;
        let vocabulary = loaded.model.tokenizer().vocabulary_size().max(1) as u64;
        let tokens = |count: usize| -> Vec<u32> {
            (0..count as u64).map(|i| ((i * 7919 + 13) % vocabulary) as u32).collect()
        };
        let (prompt_tokens, before, decoded) =
            (tokens(options.prompt_tokens), tokens(options.depth), tokens(options.n));
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for round in 0..=options.repeat {
            loaded.model.reset();
            let start = Instant::now();
            loaded.model.feed(&prompt_tokens, 1).map_err(Failure::from_error)?;
            let prompt = start.elapsed().as_secs_f64();
            loaded.model.reset();
            loaded.model.feed(&before, 1).map_err(Failure::from_error)?;
            let start = Instant::now();
            for token in &decoded {
                loaded.model.feed(std::slice::from_ref(token), 1).map_err(Failure::from_error)?;
            }
            let each = start.elapsed().as_secs_f64();
            if round > 0 {
                prefill.push(options.prompt_tokens as f64 / prompt);
                decode.push(options.n as f64 / each);
            }
            stopped(interrupted)?;
        }
        let threads = loaded.model.session().device().threads() as u64;
        let decoding = match options.depth {
            1 => format!("tg{}", options.n),
            depth => format!("tg{} @ d{depth}", options.n),
        };
        let tests = [(format!("pp{}", options.prompt_tokens), prefill), (decoding, decode)];
        for (test, values) in tests {
            let Some(summary) = Summary::of(values) else { continue };
            rows.push(vec![
                Cell::Text(test),
                Cell::Count(threads),
                Cell::Figure(Some(summary.median)),
                Cell::Figure(Some(summary.least)),
                Cell::Figure(Some(summary.most)),
            ]);
        }
        flags = loaded.flags;
    }
    let columns = vec!["test", "threads", "tokens_per_second", "least", "most"];
    Ok(Table { columns, rows, flags: format!("{flags} -r {}", options.repeat) })
}

/// A kernel on each number of threads.
fn kernels(
    path: &Path,
    kernel: &str,
    options: &BenchOptions,
    interrupted: &Arc<AtomicBool>,
) -> Result<Table, Failure> {
    let job = arguments::random_job(path, kernel, &options.timed.set, &options.timed.arg)?;
    let machine = &options.model.machine;
    let on_gpu = matches!(machine.target, TargetName::Gpu | TargetName::Wgsl);
    let mut rows = Vec::new();
    let mut flags = String::new();
    for threads in thread_counts(machine) {
        let threads = if machine.target == TargetName::Interp || on_gpu { 1 } else { threads };
        // First the probe: threads made after the machine's would share its launching thread's processor.
        let probe = if on_gpu { None } else { ReadProbe::new(threads) };
        let mut bound = job.prepare(
            Library::open(path)?,
            &with_threads(machine, threads),
            (options.timed.copies, options.order),
        )?;
        for line in bound.launch()? {
            output::note(&line);
        }
        bound.wait()?;
        let start = Instant::now();
        bound.launch()?;
        bound.wait()?;
        let mut once = start.elapsed();
        if on_gpu {
            let start = Instant::now();
            while start.elapsed() < WARM {
                let turn = Instant::now();
                for _ in 0..WARM_LAUNCHES {
                    bound.launch()?;
                }
                bound.wait()?;
                once = turn.elapsed() / WARM_LAUNCHES;
                stopped(interrupted)?;
            }
        }
        let once = once.max(Duration::from_nanos(100));
        let launches = (SAMPLE.as_nanos() / once.as_nanos()).clamp(1, MOST_LAUNCHES.into()) as u32;
        let (mut times, mut reads) = (Vec::new(), Vec::new());
        for _ in 0..options.repeat {
            reads.extend(probe.as_ref().map(ReadProbe::pass));
            let start = Instant::now();
            for _ in 0..launches {
                bound.launch()?;
            }
            bound.wait()?;
            times.push(start.elapsed().as_secs_f64() / f64::from(launches));
            stopped(interrupted)?;
        }
        let Some(time) = Summary::of(times) else { continue };
        let rate = bound.bytes() as f64 / time.median / 1e9;
        let read = Summary::of(reads).map(|r| r.median / 1e9);
        rows.push(vec![
            Cell::Text(kernel.to_owned()),
            Cell::Count(bound.engine.threads() as u64),
            Cell::Figure(Some(time.median * 1e6)),
            Cell::Figure(Some(time.least * 1e6)),
            Cell::Figure(Some(time.most * 1e6)),
            Cell::Count(bound.bytes()),
            Cell::Figure(Some(rate)),
            Cell::Figure(read),
            Cell::Figure(read.map(|read| rate / read)),
        ]);
        flags = format!(
            "--target {} -r {} --copies {} ({launches} launches each); {}",
            bound.engine.target_name(),
            options.repeat,
            options.timed.copies,
            bound.choices
        );
        match &probe {
            Some(probe) => flags += &format!("; read probe over {} MiB", probe.bytes() >> 20),
            None if on_gpu && options.order == LaunchOrder::Overlapped => flags += "; launches may overlap",
            None if on_gpu => flags += "; no read probe: it reads the CPU's memory",
            None => flags += "; no read probe: too little free memory",
        }
    }
    output::note(&flags);
    let columns = vec![
        "kernel",
        "threads",
        "microseconds",
        "least",
        "most",
        "bytes",
        "gb_per_second",
        "read_gb_per_second",
        "ratio",
    ];
    Ok(Table { columns, rows, flags })
}
