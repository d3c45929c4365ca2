//! Choosing the next token from one row of logits.
//!
//! **Maps** logits, settings and a seed to a token id. The steps, always in this order:
//!
//! 1. *repeat penalty*: the logit of each token among the last `repeat_window` is divided by the penalty if positive,
//!    multiplied by it if negative;
//! 2. temperature 0: the largest logit wins, the smaller id among equals, and nothing below applies;
//! 3. *temperature*: logits are divided by it; probabilities are their softmax;
//! 4. *top-k*: the k most probable stay;
//! 5. *top-p*: of these, renormalised, the smallest leading set whose probabilities reach p stays;
//! 6. *min-p*: those less probable than `min_p` times the most probable one go;
//! 7. a token is drawn in proportion to what is left.
//!
//! **Invariants.** The same settings, seed and rows give the same tokens on the same machine and build. A token with
//! logit -infinity is never chosen. The random numbers are [`SplitMix64`]'s, one per drawn token (none at temperature 0).
//!
//! ```
//! use tvmc_model::sampler::{Sampler, Settings};
//! let mut greedy = Sampler::new(Settings { temperature: 0.0, ..Settings::default() })?;
//! assert_eq!(greedy.sample(&[0.5, 2.0, 1.0])?, 1);
//! # Ok::<(), tvmc_model::sampler::SamplerError>(())
//! ```
//!
//! **Refuses** settings outside their ranges, and rows with NaN or +infinity.

use std::collections::VecDeque;

use crate::logits::{LogitsError, by_rank, check, entries, keep_top};

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// 0 is greedy; 1 takes the model's probabilities as they are.
    pub temperature: f32,
    /// How many of the most probable tokens to keep; 0 keeps all.
    pub top_k: usize,
    /// Probability mass to keep, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Least probability relative to the best, in [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// Above 1 discourages repetition; 1 does nothing.
    pub repeat_penalty: f32,
    /// How many of the last tokens the penalty looks at.
    pub repeat_window: usize,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Settings {
    /// The model's own probabilities: temperature 1, nothing cut, nothing penalised, seed 0.
    fn default() -> Self {
        Settings {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_window: 64,
            seed: 0,
        }
    }
}

/// The longest window the penalty may look at.
pub const MAX_REPEAT_WINDOW: usize = 1 << 20;

/// Why no token is chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplerError {
    /// A setting is outside its range.
    #[error("{name} is {value}, it must be {range}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The row cannot be used.
    #[error(transparent)]
    Logits(#[from] LogitsError),
}

impl Settings {
    /// Checks every range.
    pub fn check(&self) -> Result<(), SamplerError> {
        let rule = |holds: bool, name, value, range| {
            if holds { Ok(()) } else { Err(SamplerError::Setting { name, value, range }) }
        };
        let Settings { temperature, top_p, min_p, repeat_penalty, repeat_window, top_k: _, seed: _ } = *self;
        let finite_positive = |value: f32| value.is_finite() && value > 0.0;
        rule(
            temperature == 0.0 || finite_positive(temperature),
            "temperature",
            temperature.into(),
            "0 or a positive number",
        )?;
        rule(top_p > 0.0 && top_p <= 1.0, "top_p", top_p.into(), "above 0 and at most 1")?;
        rule((0.0..=1.0).contains(&min_p), "min_p", min_p.into(), "from 0 to 1")?;
        rule(finite_positive(repeat_penalty), "repeat_penalty", repeat_penalty.into(), "a positive number")?;
        rule(repeat_window <= MAX_REPEAT_WINDOW, "repeat_window", repeat_window as f64, "at most 1048576")
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a counter stepped by the golden ratio, and a mixing function.
///
/// Sixty-four bits of state, period 2^64, passes the usual statistical tests; small enough to be checked by eye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        SplitMix64 { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in [0, 1), a multiple of 2^-53.
    pub fn next_unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

/// Chooses tokens and remembers the last ones.
#[derive(Clone, Debug)]
pub struct Sampler {
    settings: Settings,
    random: SplitMix64,
    recent: VecDeque<u32>,
    /// Kept between calls so that a token costs no allocation.
    candidates: Vec<(u32, f32)>,
    weights: Vec<f64>,
}

impl Sampler {
    /// A sampler at the start of its random numbers.
    pub fn new(settings: Settings) -> Result<Self, SamplerError> {
        settings.check()?;
        let random = SplitMix64::new(settings.seed);
        Ok(Sampler { settings, random, recent: VecDeque::new(), candidates: Vec::new(), weights: Vec::new() })
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Notes a token that was not chosen here (of the prompt), for the repeat penalty.
    pub fn observe(&mut self, token: u32) {
        if self.settings.repeat_window == 0 {
            return;
        }
        if self.recent.len() == self.settings.repeat_window {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
    }

    /// Chooses the next token and notes it.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SamplerError> {
        check(logits)?;
        self.candidates.clear();
        self.candidates.extend(entries(logits));
        self.penalise();
        let token = if self.settings.temperature == 0.0 {
            // `check` has seen to it that there is an entry.
            self.candidates.iter().min_by(|a, b| by_rank(a, b)).map_or(0, |best| best.0)
        } else {
            self.draw()
        };
        self.observe(token);
        Ok(token)
    }

    fn penalise(&mut self) {
        let penalty = self.settings.repeat_penalty;
        if penalty == 1.0 {
            return;
        }
        let mut seen: Vec<u32> = self.recent.iter().copied().collect();
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            // Candidates are still in id order; a token observed from elsewhere may be no id of this row.
            if let Some((_, logit)) = self.candidates.get_mut(token as usize) {
                let penalised = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
                // However large the penalty, a token that may be chosen stays one.
                *logit = if logit.is_finite() { penalised.clamp(f32::MIN, f32::MAX) } else { *logit };
            }
        }
    }

    fn draw(&mut self) -> u32 {
        let Settings { temperature, top_k, top_p, min_p, .. } = self.settings;
        let candidates = &mut self.candidates;
        if top_k > 0 {
            keep_top(candidates, top_k);
        } else if top_p < 1.0 {
            candidates.sort_unstable_by(by_rank);
        }

        // exp(x - max) of the best is 1, so the sum is at least 1 and nothing overflows.
        let best = candidates.iter().map(|entry| entry.1).fold(f32::NEG_INFINITY, f32::max);
        let scale = 1.0 / f64::from(temperature);
        self.weights.clear();
        self.weights.extend(candidates.iter().map(|entry| {
            let distance = f64::from(entry.1) - f64::from(best);
            // At equality the product could be 0 * infinity for the smallest temperatures.
            if distance == 0.0 { 1.0 } else { (distance * scale).exp() }
        }));

        if top_p < 1.0 {
            let target = self.weights.iter().sum::<f64>() * f64::from(top_p);
            let mut mass = 0.0;
            let reached = self.weights.iter().position(|weight| {
                mass += weight;
                mass >= target
            });
            self.weights.truncate(reached.map_or(self.weights.len(), |last| last + 1));
        }
        if min_p > 0.0 {
            self.weights
                .iter_mut()
                .filter(|weight| **weight < f64::from(min_p))
                .for_each(|weight| *weight = 0.0);
        }

        let mut left = self.random.next_unit() * self.weights.iter().sum::<f64>();
        let mut chosen = 0;
        for (index, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                chosen = index;
                if left < weight {
                    break;
                }
                left -= weight;
            }
        }
        candidates[chosen].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(change: impl FnOnce(&mut Settings)) -> Sampler {
        let mut settings = Settings::default();
        change(&mut settings);
        Sampler::new(settings).unwrap()
    }

    /// How often each token is chosen in `draws`.
    fn histogram(sampler: &mut Sampler, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits).unwrap() as usize] += 1.0 / draws as f64;
        }
        counts
    }

    /// The published first outputs for seed 1234567.
    #[test]
    fn a_huge_penalty_forbids_no_token() {
        let mut sampler = with(|s| (s.temperature, s.repeat_penalty, s.repeat_window) = (0.0, 4.88, 2));
        sampler.observe(1);
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY, f32::MIN]), Ok(1));
    }

    #[test]
    fn split_mix_matches_its_reference() {
        let mut random = SplitMix64::new(1_234_567);
        let first: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
        assert!((0..1000).map(|_| random.next_unit()).all(|unit| (0.0..1.0).contains(&unit)));
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let mut sampler = with(|s| s.temperature = 0.0);
        assert_eq!(sampler.sample(&[1.0, 7.0, 7.0, -3.0]), Ok(1));
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY, -5.0]), Ok(1));
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let probabilities = [0.5f32, 0.25, 0.125, 0.125];
        let logits = probabilities.map(f32::ln);
        let found = histogram(&mut with(|s| s.seed = 7), &logits, 40_000);
        for (found, expected) in found.iter().zip(probabilities) {
            assert!((found - f64::from(expected)).abs() < 0.01, "{found} {expected}");
        }
        // Temperature 0.5 squares the probabilities.
        let found = histogram(&mut with(|s| s.temperature = 0.5), &logits, 40_000);
        let squares = [16.0, 4.0, 1.0, 1.0].map(|square| square / 22.0);
        for (found, expected) in found.iter().zip(squares) {
            assert!((found - expected).abs() < 0.01, "{found} {expected}");
        }
    }

    #[test]
    fn cuts_keep_what_they_say() {
        let logits = [0.125f32, 0.5, 0.125, 0.25].map(f32::ln);
        let kept = |sampler: &mut Sampler| {
            let found = histogram(sampler, &logits, 4000);
            (0..logits.len()).filter(|&id| found[id] > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(kept(&mut with(|s| s.top_k = 1)), [1]);
        assert_eq!(kept(&mut with(|s| s.top_k = 3)), [0, 1, 3]); // the smaller id among equals
        assert_eq!(kept(&mut with(|s| s.top_k = 9)), [0, 1, 2, 3]);
        assert_eq!(kept(&mut with(|s| s.top_p = 0.4)), [1]);
        assert_eq!(kept(&mut with(|s| s.top_p = 0.6)), [1, 3]);
        assert_eq!(kept(&mut with(|s| s.top_p = 0.8)), [0, 1, 3]);
        assert_eq!(kept(&mut with(|s| s.min_p = 0.4)), [1, 3]);
        assert_eq!(kept(&mut with(|s| s.min_p = 1.0)), [1]);
        assert_eq!(kept(&mut with(|s| (s.top_k, s.top_p) = (2, 0.6))), [1]); // 0.5 / 0.75 reaches 0.6
    }

    #[test]
    fn repetition_is_penalised_within_the_window() {
        let mut sampler = with(|s| (s.temperature, s.repeat_penalty, s.repeat_window) = (0.0, 2.0, 2));
        let row = [4.0, 3.0, 2.5, -1.0];
        let chosen: Vec<u32> = (0..5).map(|_| sampler.sample(&row).unwrap()).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1]);
        // Negative logits move down too.
        let mut sampler = with(|s| (s.temperature, s.repeat_penalty) = (0.0, 2.0));
        sampler.observe(0);
        sampler.observe(4_000_000_000);
        assert_eq!(sampler.sample(&[-1.0, -1.5]), Ok(1));
        let mut off = with(|s| (s.temperature, s.repeat_penalty, s.repeat_window) = (0.0, 2.0, 0));
        assert_eq!([off.sample(&row), off.sample(&row)], [Ok(0), Ok(0)]);
    }

    #[test]
    fn refusals() {
        let bad = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            match Sampler::new(settings) {
                Err(SamplerError::Setting { name, .. }) => name,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(bad(|s| s.temperature = -1.0), "temperature");
        assert_eq!(bad(|s| s.temperature = f32::NAN), "temperature");
        assert_eq!(bad(|s| s.temperature = f32::INFINITY), "temperature");
        assert_eq!(bad(|s| s.top_p = 0.0), "top_p");
        assert_eq!(bad(|s| s.top_p = 1.1), "top_p");
        assert_eq!(bad(|s| s.min_p = -0.1), "min_p");
        assert_eq!(bad(|s| s.min_p = f32::NAN), "min_p");
        assert_eq!(bad(|s| s.repeat_penalty = 0.0), "repeat_penalty");
        assert_eq!(bad(|s| s.repeat_window = usize::MAX), "repeat_window");
        assert_eq!(bad(|s| s.repeat_window = MAX_REPEAT_WINDOW + 1), "repeat_window");
        with(|s| s.repeat_window = MAX_REPEAT_WINDOW);
        let mut sampler = with(|_| ());
        assert!(matches!(
            sampler.sample(&[1.0, f32::NAN]),
            Err(SamplerError::Logits(LogitsError::Nan { index: 1, .. }))
        ));
        assert!(matches!(sampler.sample(&[]), Err(SamplerError::Logits(LogitsError::Empty))));
    }

    proptest! {
        #[test]
        fn any_row_and_settings_give_a_token_that_may_be_chosen(
            logits in proptest::collection::vec(prop_oneof![
                Just(f32::NEG_INFINITY), -1e3f32..1e3, Just(f32::MAX), Just(f32::MIN), Just(0.0), Just(1e-40),
            ], 1..50),
            temperature in prop_oneof![Just(0.0f32), 0.01f32..5.0, Just(f32::MIN_POSITIVE), Just(1e-45), Just(f32::MAX)],
            top_k in 0usize..60,
            top_p in 0.0001f32..=1.0,
            min_p in 0.0f32..=1.0,
            repeat_penalty in prop_oneof![0.1f32..10.0, Just(f32::MIN_POSITIVE), Just(f32::MAX)],
            seed in any::<u64>(),
        ) {
            prop_assume!(logits.iter().any(|&logit| logit > f32::NEG_INFINITY));
            let settings = Settings { temperature, top_k, top_p, min_p, repeat_penalty, repeat_window: 8, seed };
            let mut sampler = Sampler::new(settings.clone()).unwrap();
            let chosen: Vec<u32> = (0..20).map(|_| sampler.sample(&logits).unwrap()).collect();
            for &token in &chosen {
                prop_assert!(logits[token as usize] > f32::NEG_INFINITY);
            }
            let mut again = Sampler::new(settings).unwrap();
            prop_assert_eq!(chosen, (0..20).map(|_| again.sample(&logits).unwrap()).collect::<Vec<_>>());
        }
    }
}
