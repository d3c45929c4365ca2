//! Judges inputs one after the other, in a process of its own.
//!
//! Before each input its number goes into a small file, so that the supervisor knows which one the process died of. A line of JSON, the tally so far, goes to stdout
//! every few seconds and at the end.

use crate::report::{Coverage, Finding, Tally};
use crate::targets::{Depth, Outcome, Target, make};
use crate::trial::{judge, quiet_panics, shrink};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The exit code of a worker that should be followed by a fresh one.
pub const STUCK: u8 = 3;
/// How long an input that failed is made smaller.
const SHRINK: Duration = Duration::from_secs(10);
/// How often the tally is told.
const TELL: Duration = Duration::from_secs(3);

/// What a worker does.
#[derive(Copy, Clone, Debug)]
pub struct Work {
    /// The target.
    pub target: Target,
    /// The run.
    pub seed: u64,
    /// The first input's number.
    pub first: u64,
    /// How many at most.
    pub count: u64,
    /// For how long.
    pub time: Duration,
}

/// Judges inputs; `before` learns each number, `tell` gets the tally now and then. Gives the last tally and whether the process is stuck.
pub fn work(work: Work, before: &mut dyn FnMut(u64), tell: &mut dyn FnMut(&Tally)) -> (Tally, bool) {
    quiet_panics();
    let mut fuzzed = work.target.open();
    let start = Instant::now();
    let mut told = start;
    let mut tally = Tally::default();
    let mut stuck = false;
    for number in (work.first..).take(usize::try_from(work.count).unwrap_or(usize::MAX)) {
        if start.elapsed() > work.time || stuck {
            break;
        }
        before(number);
        let input = make(fuzzed.as_mut(), work.seed, number);
        let full = number.is_multiple_of(work.target.full_one_in());
        let depth = if full { Depth::Full } else { Depth::Quick };
        tally.tried += 1;
        match judge(fuzzed.as_mut(), &input, depth, &mut tally.coverage) {
            Ok(Outcome::Refused) => {}
            Ok(Outcome::Accepted) => tally.accepted += 1,
            Ok(Outcome::Stuck) => stuck = true,
            Err(failure) => {
                tally.failed += 1;
                if tally.findings.iter().all(|known| known.place != failure.place) {
                    let small = shrink(&input, SHRINK, &mut |smaller| {
                        judge(fuzzed.as_mut(), smaller, depth, &mut Coverage::default())
                            .is_err_and(|other| other.place == failure.place)
                    });
                    let what = match judge(fuzzed.as_mut(), &small, depth, &mut Coverage::default()) {
                        Err(smaller) => smaller.what,
                        Ok(_) => failure.what,
                    };
                    tally.findings.push(Finding { number, place: failure.place, what, input: small });
                }
            }
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            tally.seconds = start.elapsed().as_secs_f64();
            tell(&tally);
        }
    }
    tally.seconds = start.elapsed().as_secs_f64();
    (tally, stuck)
}

/// The worker as a process: numbers go to the file `state`. Gives the exit code.
pub fn process(task: Work, state: &Path) -> std::io::Result<u8> {
    let mut file = File::options().write(true).open(state)?;
    let mut failed = None;
    let mut before = |number: u64| {
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&number.to_le_bytes()));
        failed = failed.take().or(written.err());
    };
    let say = |tally: &Tally| -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, tally)?;
        out.write_all(b"\n")?;
        out.flush()
    };
    // A supervisor that is gone is noticed at the end.
    let (tally, stuck) = work(task, &mut before, &mut |tally| drop(say(tally)));
    match failed {
        Some(error) => Err(error),
        None => say(&tally).map(|()| if stuck { STUCK } else { 0 }),
    }
}
