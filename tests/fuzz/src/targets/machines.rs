//! Random kernels and programs on every machine. The generators and the judges are those of the ordinary tests.

use super::{Depth, Fuzzed, Outcome};
use crate::report::Coverage;
use std::time::Duration;
use tvmc_tests::filetests::paste;
use tvmc_tests::generate::{Case, Floats, generate};
use tvmc_tests::machines::{Disagreement, Machines};
use tvmc_tests::random::Random;
use tvmc_tests::source_programs;

/// Of how many cases one runs on a GPU, which is slow in software.
const GPU_ONE_IN: u64 = 16;

/// Compiling a drawn kernel: the portable backend takes most, some 8 KiB for each of its instructions. Its author is trusted, so this bounds a mistake only.
const MEMORY_CAP: usize = 3 << 30;

/// Compiling and running one kernel on all machines. The portable backend takes some ten seconds for the largest that are drawn, on a processor of its own.
pub(super) const TIME_CAP: Duration = Duration::from_secs(240);

/// Of how many kernels of large code one goes to the code generators of CPUs. The report says how many did not.
const LARGE_ONE_IN: u64 = 16;
/// Of how many cases one is lowered for a drawn target, step by step.
const STEPS_ONE_IN: u64 = 4;
/// Of how many cases one runs with its bounds checked.
const BOUNDS_ONE_IN: u64 = 8;

/// Judges a case; `number` decides what is done beside the usual. An error ends with the case as a filetest.
fn check(machines: &Machines, case: &Case, number: u64, coverage: &mut Coverage) -> Result<Outcome, String> {
    let judged = || -> Result<(), Disagreement> {
        let ran = machines.check(case, number.is_multiple_of(GPU_ONE_IN))?;
        coverage.ran(&case.kernel, &ran);
        if number % STEPS_ONE_IN == 1 {
            machines.check_steps(case, number)?;
            coverage.also("step by step, for a target that is drawn");
        }
        if number % BOUNDS_ONE_IN == 2 {
            machines.check_bounds(case)?;
            coverage.also("with bounds checked");
        }
        Ok(())
    };
    match { judged }() {
        Ok(()) => Ok(Outcome::Accepted),
        Err(error) => Err(format!("{}: {}\nAs a filetest:\n{}", error.machine, error.what, paste(case))),
    }
}

/// Tile kernels from tapes of decisions. An input is text: `exact` or `wild`, then the numbers of the tape.
pub struct Kernels(Machines);

impl Kernels {
    /// Ready to run.
    pub fn open() -> Self {
        Self(Machines::sampling(LARGE_ONE_IN))
    }
}

impl Fuzzed for Kernels {
    fn memory_cap(&self) -> usize {
        MEMORY_CAP
    }

    fn time_cap(&self) -> Duration {
        TIME_CAP
    }

    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        let mut text = String::from(*random.pick(&["exact", "wild"]));
        // Small kernels find as much as large ones, in a fraction of the time that compilers take for those.
        let most = 1 + random.below(300);
        for _ in 0..random.below(most) {
            text += &format!(" {}", random.below(2520));
        }
        text.into_bytes()
    }

    fn judge(&mut self, input: &[u8], _: Depth, coverage: &mut Coverage) -> Result<Outcome, String> {
        let text = String::from_utf8_lossy(input);
        let mut words = text.split_whitespace();
        let floats = match words.next() {
            Some("exact") => Floats::Exact,
            Some("wild") => Floats::Wild,
            Some(_) | None => return Ok(Outcome::Refused),
        };
        let tape: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
        let number = tape.iter().map(|n| u64::from(*n)).sum();
        check(&self.0, &generate(&tape, floats), number, coverage)
    }
}

/// Sources from seeds. An input is the seed in digits.
pub struct Programs(Machines);

impl Programs {
    /// Ready to run.
    pub fn open() -> Self {
        Self(Machines::sampling(LARGE_ONE_IN))
    }
}

impl Fuzzed for Programs {
    fn memory_cap(&self) -> usize {
        MEMORY_CAP
    }

    fn time_cap(&self) -> Duration {
        TIME_CAP
    }

    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        random.bits().to_string().into_bytes()
    }

    fn judge(&mut self, input: &[u8], _: Depth, coverage: &mut Coverage) -> Result<Outcome, String> {
        let Some(seed) = std::str::from_utf8(input).ok().and_then(|text| text.trim().parse().ok()) else {
            return Ok(Outcome::Refused);
        };
        let source = source_programs::case(seed);
        let case = source.compile().map_err(|e| format!("the front end refuses: {e}\n{}", source.source))?;
        check(&self.0, &case, seed, coverage).map_err(|error| format!("{error}\n{}", source.source))
    }
}
