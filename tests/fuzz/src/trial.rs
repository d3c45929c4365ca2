//! One input: judged within bounds, and shrunk if it fails.

use crate::memory::peak_of;
use crate::report::Coverage;
use crate::targets::{Depth, Fuzzed, Outcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes that judging a file may take over its size. Kernels are compiled, which may take more: see [`Fuzzed::memory_cap`].
pub const MEMORY_CAP: usize = 256 << 20;
/// How long judging a file may take, of the clock and of processors: on a machine that is busy with other things the clock alone says nothing. (What waits for ever is killed by the
/// supervisor.) Compiling and running kernels may take longer: see
/// [`Fuzzed::time_cap`].
pub const TIME_CAP: Duration = Duration::from_secs(20);

/// Why an input failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Equal for inputs that fail at the same place: where a panic happened, or the kind of failure.
    pub place: String,
    /// All there is to say.
    pub what: String,
}

static LAST_PANIC: Mutex<Option<Failure>> = Mutex::new(None);

/// Makes panics silent, and keeps the last one for [`judge`].
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        let text = info.payload_as_str().unwrap_or("a panic without words");
        let failure = Failure { what: format!("panic at {place}: {text}"), place };
        // A poisoned lock only means that somebody panicked, which is what is noted here.
        *LAST_PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(failure);
    }));
}

fn last_panic() -> Failure {
    let mut last = LAST_PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    last.take().unwrap_or_else(|| Failure { place: "a panic".into(), what: "a panic".into() })
}

/// The time that processors have worked for this process, where the system says it: in hundredths of a second on Linux.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything; user and system time are words 12 and 13 behind it.
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| words.get(at)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// Judges one input. [`quiet_panics`] comes first.
pub fn judge(
    fuzzed: &mut dyn Fuzzed,
    input: &[u8],
    depth: Depth,
    coverage: &mut Coverage,
) -> Result<Outcome, Failure> {
    let (start, worked) = (Instant::now(), processor_time());
    let (result, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| fuzzed.judge(input, depth, coverage))));
    let worked = processor_time().zip(worked).map(|(after, before)| after.saturating_sub(before));
    let took = start.elapsed().min(worked.unwrap_or(Duration::MAX));
    match result {
        Err(_) => Err(last_panic()),
        Ok(Err(what)) => {
            // The first words name the law that was broken; numbers and names after them differ from input to input.
            let place = what.split([':', '\n']).next().unwrap_or_default().to_owned();
            Err(Failure { place, what })
        }
        Ok(Ok(_)) if peak > fuzzed.memory_cap() + input.len() => {
            Err(Failure { place: "memory".into(), what: format!("{peak} bytes of memory at once") })
        }
        Ok(Ok(_)) if took > fuzzed.time_cap() => {
            Err(Failure { place: "time".into(), what: format!("{took:?}") })
        }
        Ok(Ok(outcome)) => Ok(outcome),
    }
}

/// Makes an input smaller while `fails` holds, for at most this time: removes ever smaller ranges, then makes bytes plain.
pub fn shrink(input: &[u8], time: Duration, fails: &mut dyn FnMut(&[u8]) -> bool) -> Vec<u8> {
    let start = Instant::now();
    let mut best = input.to_vec();
    let mut size = best.len() / 2;
    while size > 0 {
        let mut from = 0;
        let mut removed = false;
        while from < best.len() {
            if start.elapsed() > time {
                return best;
            }
            let mut smaller = best.clone();
            smaller.drain(from..(from + size).min(best.len()));
            if fails(&smaller) {
                best = smaller;
                removed = true;
            } else {
                from += size;
            }
        }
        // At the finest step again and again, since one removal allows another.
        size = if size == 1 && removed { 1 } else { size / 2 };
    }
    for at in 0..best.len() {
        if start.elapsed() > time {
            break;
        }
        let plain = if best[at].is_ascii_digit() { b'0' } else { b' ' };
        if best[at].is_ascii_graphic() && best[at] != plain {
            let mut plainer = best.clone();
            plainer[at] = plain;
            if fails(&plainer) {
                best = plainer;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bad;

    impl Fuzzed for Bad {
        fn make(&mut self, _: &mut tvmc_tests::random::Random) -> Vec<u8> {
            Vec::new()
        }

        fn judge(&mut self, input: &[u8], _: Depth, _: &mut Coverage) -> Result<Outcome, String> {
            match input.first() {
                Some(b'p') => panic!("at the disco"),
                Some(b'm') => {
                    Ok(if vec![1u8; 300 << 20].len() > 1 { Outcome::Accepted } else { Outcome::Refused })
                }
                Some(b'l') => Err("law: broken".into()),
                Some(_) | None => Ok(Outcome::Refused),
            }
        }
    }

    #[test]
    fn each_kind_of_failure_is_seen() {
        quiet_panics();
        let place = |input: &[u8]| {
            judge(&mut Bad, input, Depth::Full, &mut Coverage::default()).map_err(|failure| failure.place)
        };
        assert_eq!(place(b""), Ok(Outcome::Refused));
        assert!(place(b"p").is_err_and(|place| place.contains("trial.rs:")));
        assert_eq!(place(b"m"), Err("memory".into()));
        assert_eq!(place(b"l"), Err("law".into()));
    }

    #[test]
    fn shrinking_keeps_what_fails() {
        let long: Vec<u8> = (0..500).map(|i| b'a' + (i % 26) as u8).chain(*b"xyz!").collect();
        let small = shrink(&long, Duration::from_secs(5), &mut |input| input.contains(&b'!'));
        assert_eq!(small, b"!");
    }
}
