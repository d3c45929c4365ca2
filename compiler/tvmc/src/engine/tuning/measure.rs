//! Measuring: a launch runs the candidate whose turn it is and notes how long that took.
//!
//! ```text
//! turn 0   rms_norm .. linear3 BM=32 BN=64 .. linear BM=32 BN=64 ..      a whole call of a program
//! turn 1               linear3 BM=32 BN=8     linear BM=32 BN=8          the next one
//! ```
//!
//! So candidates alternate, a disturbance of the machine meets all of them, and weights come from where they come from in a model. Each sample is
//! one launch, or as many as the caller asks for, with nothing else in flight. The results of the program are of no use meanwhile: a kernel that adds to its output
//! does so once for each launch.
//!
//! A candidate that cannot be compiled (a `static_assert`, more workgroup memory than the device has) is left out, with its reason.

use super::{Case, Stored, Tunes, Tuning};
use crate::engine::{Engine, Interface};
use std::collections::BTreeMap;
use std::time::Instant;
use tvmc_model::executor::{Argument, DeviceError};

/// Most candidates of a case.
pub const MAX_CANDIDATES: usize = 256;

/// How much faster than the kernel's own rule a candidate must be to be chosen.
const GAIN: f64 = 1.02;

/// Values for every tune name, and what was seen of them.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The values.
    pub tunes: Tunes,
    /// Whether it ran before: the first time is of compiling and of cold memory, and does not count.
    pub warm: bool,
    /// Seconds of a launch, one for each sample.
    pub seconds: Vec<f64>,
    /// Why it cannot run.
    pub refused: Option<String>,
}

impl Candidate {
    /// The middle one of its samples, in seconds.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// As `BM=1, BN=64`.
    pub fn text(&self) -> String {
        self.tunes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    }
}

/// A case with its candidates; the first is what the kernel's own rule says.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// The case.
    pub case: Case,
    /// Of its sources.
    pub digest: String,
    /// Everything that may be chosen.
    pub candidates: Vec<Candidate>,
}

impl Measured {
    /// The fastest candidate, or the rule's where that is about as fast; none where nothing was timed.
    pub fn best(&self) -> Option<&Candidate> {
        let rule = self.candidates.first()?;
        let timed = self.candidates.iter().filter_map(|c| Some((c.median()?, c)));
        let (seconds, best) = timed.min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(if rule.median().is_some_and(|rule| rule < seconds * GAIN) { rule } else { best })
    }

    /// As the file holds it.
    pub fn stored(&self) -> Option<(Case, Stored)> {
        let best = self.best()?;
        let microseconds = best.median()? * 1e6;
        let stored = Stored {
            digest: self.digest.clone(),
            tunes: best.tunes.iter().cloned().collect(),
            microseconds,
            rule_microseconds: self.candidates.first()?.median().map_or(microseconds, |s| s * 1e6),
        };
        Some((self.case.clone(), stored))
    }
}

/// See the module head.
#[derive(Debug, Default)]
pub struct Measurements {
    turn: usize,
    cases: BTreeMap<Case, Measured>,
}

impl Measurements {
    /// Goes on to the next candidate of every case; gives the most candidates that a case has, which is how many turns are a round.
    pub fn advance(&mut self) -> usize {
        self.turn += 1;
        self.cases.values().map(|m| m.candidates.len()).max().unwrap_or(0)
    }

    /// Seconds of the fastest launch so far.
    pub fn fastest(&self) -> Option<f64> {
        let all = self.cases.values().flat_map(|m| &m.candidates).flat_map(|c| &c.seconds);
        all.copied().min_by(f64::total_cmp)
    }

    /// What was measured, by case.
    pub fn cases(&self) -> impl Iterator<Item = &Measured> {
        self.cases.values()
    }
}

/// Every combination of the values that tune names offer, but for those that something else fixes; what the rule says comes first.
fn candidates(interface: &Interface, rule: &Tunes, with: &Tunes) -> Vec<Candidate> {
    let mut all: Vec<Tunes> = vec![Vec::new()];
    for (name, chosen) in rule {
        let fixed = with.iter().any(|(n, _)| n == name);
        let others = interface.offered(name).iter().copied().filter(|v| !fixed && v != chosen);
        let values: Vec<i64> = std::iter::once(*chosen).chain(others).collect();
        all = all
            .into_iter()
            .flat_map(|tunes| {
                values.iter().map(move |value| {
                    let mut tunes = tunes.clone();
                    tunes.push((name.clone(), *value));
                    tunes
                })
            })
            .take(MAX_CANDIDATES)
            .collect();
    }
    all.into_iter()
        .map(|tunes| Candidate { tunes, warm: false, seconds: Vec::new(), refused: None })
        .collect()
}

impl Engine {
    /// From now on launches time candidates.
    pub fn measure(&mut self) {
        self.tuning = Tuning::Measuring(Measurements::default());
    }

    /// What is being measured.
    pub fn measurements(&mut self) -> Option<&mut Measurements> {
        match &mut self.tuning {
            Tuning::Measuring(measurements) => Some(measurements),
            Tuning::Rules | Tuning::Stored(_) => None,
        }
    }

    /// Times `launches` launches of the candidate whose turn it is, on each list of arguments in turn. A kernel that offers nothing to choose is
    /// launched once, untimed.
    pub fn sample(
        &mut self,
        kernel: &str,
        lists: &[Vec<Argument>],
        (with, set): (&Tunes, &[(String, u64)]),
        launches: u32,
    ) -> Result<(), DeviceError> {
        let Some(arguments) = lists.first() else { return Ok(()) };
        let mut key = self.key(kernel, arguments, with, set)?;
        let interface = self.library.interface_for(&key.choices)?;
        let case = Case::of(&interface, &key, arguments);
        let rule = key.choices.tunes.clone();
        let new = self.measurements().is_some_and(|m| !m.cases.contains_key(&case));
        if new && !rule.is_empty() {
            let digest = case.digest(&self.library)?;
            let measured =
                Measured { case: case.clone(), digest, candidates: candidates(&interface, &rule, with) };
            if let Some(measurements) = self.measurements() {
                measurements.cases.insert(case.clone(), measured);
            }
        }
        let candidate = self.measurements().and_then(|m| {
            let candidates = &m.cases.get(&case)?.candidates;
            let at = m.turn % candidates.len();
            (candidates.len() > 1 && candidates[at].refused.is_none())
                .then(|| (at, candidates[at].tunes.clone()))
        });
        let Some((at, tunes)) = candidate else {
            let instance = self.instance(&key)?;
            let binding = self.bind(&instance, arguments)?;
            return self.run(&instance, &binding, arguments).map(crate::engine::said);
        };
        key.choices.tunes = tunes;
        key.choices.tunes.sort();
        let note = |engine: &mut Self, seen: Result<f64, String>| {
            let Some(candidate) = engine
                .measurements()
                .and_then(|m| m.cases.get_mut(&case))
                .and_then(|measured| measured.candidates.get_mut(at))
            else {
                return;
            };
            match seen {
                Ok(seconds) if candidate.warm => candidate.seconds.push(seconds),
                Ok(_) => candidate.warm = true,
                Err(why) => candidate.refused = Some(why),
            }
        };
        // Only the rule's own instance must be one.
        let instance = match self.instance(&key) {
            Ok(instance) => instance,
            Err(error) if at > 0 => {
                note(self, Err(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut ready = Vec::with_capacity(lists.len());
        for arguments in lists {
            let binding = self.bind(&instance, arguments)?;
            ready.push(self.ready(instance.clone(), binding, arguments)?);
        }
        self.machine.settle()?;
        let start = Instant::now();
        for launch in 0..launches as usize {
            self.start(&ready[launch % ready.len()])?;
        }
        self.machine.settle()?;
        note(self, Ok(start.elapsed().as_secs_f64() / f64::from(launches.max(1))));
        Ok(())
    }
}
