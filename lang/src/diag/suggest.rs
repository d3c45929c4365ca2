//! "Did you mean": the known name nearest to a misspelt one.
//!
//! Distance is Damerau-Levenshtein in its restricted form: insert, delete, replace, or swap two neighbours, each one
//! step. A name is suggested if at most a third of its letters (and at least one step) are wrong: `acumulator` gives
//! `accumulator`, but `x` never gives `y`.

/// The candidate nearest to `name`, if one is near enough to be worth a suggestion. Ties go to the first.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let allowed = if length < 2 { 0 } else { (length / 3).max(1) };
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 4 * allowed)
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| {
            (distance > 0 && distance <= allowed && distance < candidate.chars().count())
                || (distance > 0 && candidate.eq_ignore_ascii_case(name))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Number of single steps that turn `a` into `b`. Only the first 64 characters of each count.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(previous[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = previous;
        previous = row;
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kernal", "kernel"), 1);
        assert_eq!(edit_distance("freo", "fore"), 2);
        assert_eq!(edit_distance("retrun", "return"), 1);
    }

    #[test]
    fn suggestions() {
        assert_eq!(closest("acumulator", ["other", "accumulator"]), Some("accumulator"));
        assert_eq!(closest("x", ["y"]), None);
        assert_eq!(closest("acc", ["acc"]), None, "an exact match is no suggestion");
        assert_eq!(closest("bm", ["BM"]), Some("BM"));
    }
}
