//! What one row of logits looks like: the numbers that `tvmc logits` prints and tests compare.
//!
//! **Maps** a row to its largest entries, mean and standard deviation (of the population, summed in f64).
//!
//! **Refuses** an empty row and a row with NaN, naming the first place.
//!
//! ```
//! let statistics = tvmc_model::logits::statistics(&[1.0, 3.0, 2.0], 2)?;
//! assert_eq!(statistics.top, [(1, 3.0), (2, 2.0)]);
//! assert_eq!(statistics.mean, 2.0);
//! # Ok::<(), tvmc_model::logits::LogitsError>(())
//! ```

use std::cmp::Ordering;

/// Why a row of logits cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogitsError {
    /// The row has no entries.
    #[error("there are no logits")]
    Empty,
    /// An entry is NaN: a kernel or the weights are wrong, and any choice would hide it.
    #[error("logit {index} is NaN ({count} of {length} are)")]
    Nan {
        /// The first such entry.
        index: usize,
        /// How many there are.
        count: usize,
        /// Entries of the row.
        length: usize,
    },
    /// An entry is +infinity.
    #[error("logit {index} is +infinity")]
    Infinite {
        /// The first such entry.
        index: usize,
    },
    /// Every entry is -infinity: nothing may be chosen.
    #[error("every logit is -infinity")]
    AllExcluded,
}

/// A row in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The largest entries with their token ids, largest first; among equals the smaller id first.
    pub top: Vec<(u32, f32)>,
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the population.
    pub standard_deviation: f64,
}

/// Checks a row: not empty, no NaN, no +infinity, not only -infinity.
pub fn check(logits: &[f32]) -> Result<(), LogitsError> {
    if logits.is_empty() {
        return Err(LogitsError::Empty);
    }
    if let Some(index) = logits.iter().position(|logit| logit.is_nan()) {
        let count = logits.iter().filter(|logit| logit.is_nan()).count();
        return Err(LogitsError::Nan { index, count, length: logits.len() });
    }
    if let Some(index) = logits.iter().position(|&logit| logit == f32::INFINITY) {
        return Err(LogitsError::Infinite { index });
    }
    if logits.iter().all(|&logit| logit == f32::NEG_INFINITY) {
        return Err(LogitsError::AllExcluded);
    }
    Ok(())
}

/// Larger logit first, then smaller id: a total order on checked rows, so every choice is reproducible.
pub(crate) fn by_rank(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The `count` first entries by rank, in order.
pub(crate) fn keep_top(entries: &mut Vec<(u32, f32)>, count: usize) {
    if count < entries.len() {
        if count > 0 {
            entries.select_nth_unstable_by(count - 1, by_rank);
        }
        entries.truncate(count);
    }
    entries.sort_unstable_by(by_rank);
}

/// Entries of a row with their token ids. -0.0 becomes 0.0, so that equal logits compare equal.
pub(crate) fn entries(logits: &[f32]) -> impl Iterator<Item = (u32, f32)> {
    logits.iter().enumerate().map(|(id, &logit)| (id as u32, logit + 0.0))
}

/// The statistics of a row, with its `count` largest entries.
pub fn statistics(logits: &[f32], count: usize) -> Result<Statistics, LogitsError> {
    check(logits)?;
    let length = logits.len() as f64;
    let mean = logits.iter().map(|&logit| f64::from(logit)).sum::<f64>() / length;
    let variance = logits.iter().map(|&logit| (f64::from(logit) - mean).powi(2)).sum::<f64>() / length;
    let mut top: Vec<(u32, f32)> = entries(logits).collect();
    keep_top(&mut top, count);
    Ok(Statistics { top, mean, standard_deviation: variance.sqrt() })
}

/// Several rows of logits, as a model gives them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// Rows of `width` little-endian f32 each.
    pub fn from_bytes(bytes: &[u8], width: usize) -> Self {
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Self { values, width }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `at`, if there is one.
    pub fn row(&self, at: usize) -> Option<&[f32]> {
        self.values.get(at.checked_mul(self.width)?..at.checked_add(1)?.checked_mul(self.width)?)
    }
}

/// `-ln` of the probability that a row gives to a token, summed in f64.
pub fn surprise(logits: &[f32], token: u32) -> Result<f64, LogitsError> {
    check(logits)?;
    let Some(logit) = logits.get(token as usize) else { return Err(LogitsError::Empty) };
    let peak = logits.iter().fold(f32::NEG_INFINITY, |peak, logit| peak.max(*logit));
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - peak).exp()).sum();
    Ok(sum.ln() + f64::from(peak) - f64::from(*logit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_first_and_smaller_id_among_equals() {
        let row = [0.0, 5.0, -1.0, 5.0, f32::NEG_INFINITY, 4.0];
        let top =
            |count| statistics(&row, count).unwrap().top.iter().map(|entry| entry.0).collect::<Vec<_>>();
        assert!(top(0).is_empty());
        assert_eq!(top(3), [1, 3, 5]);
        assert_eq!(top(100), [1, 3, 5, 0, 2, 4]);
        assert_eq!(statistics(&[-0.0, 0.0], 1).unwrap().top[0].0, 0);
    }

    #[test]
    fn moments() {
        let statistics = statistics(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 1).unwrap();
        assert_eq!((statistics.mean, statistics.standard_deviation), (5.0, 2.0));
    }

    #[test]
    fn refusals() {
        assert_eq!(check(&[]), Err(LogitsError::Empty));
        let nan = [0.0, f32::NAN, 1.0, f32::NAN];
        assert_eq!(check(&nan), Err(LogitsError::Nan { index: 1, count: 2, length: 4 }));
        assert_eq!(check(&[0.0, f32::INFINITY]), Err(LogitsError::Infinite { index: 1 }));
        assert_eq!(check(&[f32::NEG_INFINITY; 3]), Err(LogitsError::AllExcluded));
        assert_eq!(check(&[f32::NEG_INFINITY, -1e30]), Ok(()));
    }
}
