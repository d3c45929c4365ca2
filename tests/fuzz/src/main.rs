//! The command of the fuzzer. The library's head shows how it is used. Exit code 1 says that something failed.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tvmc_fuzz::Target;
use tvmc_fuzz::report::{Coverage, Tally, counts};
use tvmc_fuzz::supervise::Run;
use tvmc_fuzz::targets::{Depth, Outcome};
use tvmc_fuzz::trial::{judge, quiet_panics};
use tvmc_fuzz::worker::{Work, process};

/// The most processes at once: a mistyped number should not bring a machine down.
const MOST_JOBS: usize = 1024;

/// Mutates files and draws programs for a given time; says what failed, and how to run it again.
#[derive(Parser)]
struct Options {
    /// For how long, all targets together.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The run: equal seeds make equal inputs. By default the time of day.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these targets.
    #[arg(long, value_enum)]
    target: Vec<Target>,
    /// Processes at once; by default one per processor. More than targets: each target gets several, with the seeds that follow.
    #[arg(long)]
    jobs: Option<usize>,
    /// Where inputs that fail are kept; by default the folder `tvmc-fuzz-failures` beside this program.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Writes there how many kernels ran with each operation and type on each machine.
    #[arg(long)]
    coverage: Option<PathBuf>,
    /// Judges this one file, as an input of the one target.
    #[arg(long)]
    input: Option<PathBuf>,
    /// What a process that the fuzzer starts is told: where to write the number of its input.
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
    /// The number of a worker's first input.
    #[arg(long, hide = true, default_value_t = 0)]
    first: u64,
    /// For how long a worker works.
    #[arg(long, hide = true, default_value_t = 0.0)]
    seconds: f64,
}

fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seed = options.seed.unwrap_or(now);
    let one = match options.target[..] {
        [target] => Some(target),
        _ => None,
    };
    if let (Some(state), Some(target)) = (&options.worker, one) {
        let time = Duration::try_from_secs_f64(options.seconds).unwrap_or_default();
        let work = Work { target, seed, first: options.first, count: u64::MAX, time };
        return match process(work, state) {
            Ok(code) => ExitCode::from(code),
            Err(error) => fail(error),
        };
    }
    if let Some(input) = &options.input {
        let Some(target) = one else { return fail("--input needs one --target") };
        return match std::fs::read(input) {
            Ok(bytes) => again(target, &bytes),
            Err(error) => fail(format_args!("{}: {error}", input.display())),
        };
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail(error),
    };
    // Beside the program, which cargo puts below `target`: the folder one stands in may be part of the source tree.
    let save = options.save.clone().unwrap_or_else(|| program.with_file_name("tvmc-fuzz-failures"));
    let run = Run { program, seed, save };
    match all(&options, &run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => fail(error),
    }
}

/// One input again.
fn again(target: Target, input: &[u8]) -> ExitCode {
    quiet_panics();
    match judge(target.open().as_mut(), input, Depth::Full, &mut Coverage::default()) {
        Ok(outcome) => {
            let word = match outcome {
                Outcome::Refused => "refused",
                Outcome::Accepted => "accepted",
                Outcome::Stuck => "refused, but something was left running",
            };
            println!("no failure: the input was {word}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.what);
            ExitCode::from(1)
        }
    }
}

/// All targets; whether nothing failed.
fn all(options: &Options, run: &Run) -> std::io::Result<bool> {
    let targets: &[Target] = if options.target.is_empty() { Target::all() } else { &options.target };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.unwrap_or(processors).clamp(1, MOST_JOBS);
    // So many seeds that every job has work.
    let seeds = jobs.div_ceil(targets.len());
    let parts: Vec<(Target, Run)> = (0..seeds as u64)
        .flat_map(|n| targets.iter().map(move |target| (*target, n)))
        .map(|(target, n)| (target, Run { seed: run.seed.wrapping_add(n), ..run.clone() }))
        .collect();
    let share = options.minutes * 60.0 * jobs as f64 / parts.len() as f64;
    let share = Duration::try_from_secs_f64(share).map_err(std::io::Error::other)?;
    eprintln!(
        "seed {}, {} targets, {seeds} seeds, {:.0} s each, {jobs} at once",
        run.seed,
        targets.len(),
        share.as_secs_f64()
    );
    let next = Mutex::new(parts.iter());
    let done: Mutex<Vec<(Target, std::io::Result<Tally>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    // A poisoned lock means a panic of this program, which shows anyway.
                    let part = next.lock().map(|mut parts| parts.next());
                    let Ok(Some((target, run))) = part else { break };
                    let target = *target;
                    let result = run.target(target, share);
                    if let Ok(tally) = &result {
                        let (name, seed) = (target.name(), run.seed);
                        eprintln!("{name}, seed {seed}: {} inputs, {} failures", tally.tried, tally.failed);
                        // At once: a run of hours may be ended before it says so itself.
                        for finding in &tally.findings {
                            match run.keep(target, finding) {
                                Ok(path) => eprintln!("  {} ({})", finding.place, path.display()),
                                Err(error) => {
                                    eprintln!("  {}, which cannot be saved: {error}", finding.place)
                                }
                            }
                        }
                    }
                    if let Ok(mut done) = done.lock() {
                        done.push((target, result));
                    }
                }
            });
        }
    });
    let mut tallies: Vec<(Target, Tally)> = targets.iter().map(|t| (*t, Tally::default())).collect();
    for (target, result) in done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        let result = result?;
        if let Some((_, tally)) = tallies.iter_mut().find(|(t, _)| *t == target) {
            tally.add(result);
        }
    }
    let named: Vec<(String, Tally)> = tallies.iter().map(|(t, tally)| (t.name(), tally.clone())).collect();
    println!("{}", counts(&named));
    let sum = |files: bool| {
        tallies.iter().filter(|(t, _)| t.is_files() == files).map(|(_, t)| t.tried).sum::<u64>()
    };
    println!("{} file mutations and {} random programs.\n", sum(true), sum(false));
    let mut coverage = Coverage::default();
    tallies.iter().for_each(|(_, tally)| coverage.add(&tally.coverage));
    println!("{}", coverage.table());
    if let Some(path) = &options.coverage {
        std::fs::write(path, coverage.matrix())?;
        println!("Every operation with every type, by machine: {}\n", path.display());
    }
    for (target, tally) in &tallies {
        for finding in &tally.findings {
            let path = run.keep(*target, finding)?;
            println!("FAILED {} {}: {}", target.name(), finding.number, finding.what);
            let name = target.name();
            println!("  again: {} --target {name} --input {}\n", run.program.display(), path.display());
        }
    }
    Ok(tallies.iter().all(|(_, tally)| tally.failed == 0))
}
