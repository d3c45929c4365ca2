//! Mutations: from sound inputs to inputs that are nearly sound.
//!
//! [`bytes`] changes a file byte by byte: bits, whole integers, ranges copied, moved, cut. [`words`] changes a text word by word, so that most results
//! still lex. Both take one of the seeds, apply a few changes, and never give more than [`MAX_BYTES`].

use tvmc_tests::random::Random;

/// No input is longer.
pub const MAX_BYTES: usize = 128 << 10;

/// Integers at which size computations break.
const INTEGERS: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x1f,
    0x20,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x2000_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// Numbers as text at which readers break.
const NUMBERS: [&str; 20] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "8",
    "9",
    "31",
    "32",
    "33",
    "64",
    "255",
    "256",
    "65536",
    "1048577",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
];

/// A range of a list of this length, mostly short.
fn range(random: &mut Random, length: usize) -> (usize, usize) {
    if length == 0 {
        return (0, 0);
    }
    let from = random.below(length);
    let most = if random.below(4) == 0 { length - from } else { (length - from).min(16) };
    (from, from + 1 + random.below(most))
}

/// How many changes: mostly few.
fn changes(random: &mut Random) -> usize {
    match random.below(8) {
        0 => 1 + random.below(16),
        1 | 2 => 1 + random.below(4),
        _ => 1,
    }
}

/// One of the seeds with bytes changed. `dictionary` holds words of the format.
pub fn bytes(random: &mut Random, seeds: &[Vec<u8>], dictionary: &[&str]) -> Vec<u8> {
    let mut out = random.pick(seeds).clone();
    for _ in 0..changes(random) {
        change_bytes(random, &mut out, seeds, dictionary);
    }
    out.truncate(MAX_BYTES);
    out
}

fn change_bytes(random: &mut Random, out: &mut Vec<u8>, seeds: &[Vec<u8>], dictionary: &[&str]) {
    let length = out.len();
    let at = random.below(length + 1);
    match random.below(13) {
        0 | 1 if length > 0 => out[at % length] ^= 1 << random.below(8),
        2 if length > 0 => out[at % length] = random.bits() as u8,
        3 | 4 => {
            let width = *random.pick(&[1, 2, 4, 8, 8]);
            let value = match random.below(4) {
                // Near what is there.
                0 => {
                    let mut old = [0; 8];
                    let there = &out[at..(at + width).min(length)];
                    old[..there.len()].copy_from_slice(there);
                    u64::from_le_bytes(old).wrapping_add(random.below(17) as u64).wrapping_sub(8)
                }
                1 => length as u64,
                _ => *random.pick(&INTEGERS),
            };
            for (slot, byte) in out[at..].iter_mut().zip(&value.to_le_bytes()[..width]) {
                *slot = *byte;
            }
        }
        5 => {
            let (from, to) = range(random, length);
            out.drain(from..to);
        }
        6 => {
            let (from, to) = range(random, length);
            let copy = out[from..to].to_vec();
            out.splice(at..at, copy);
        }
        7 => {
            let count = 1 + random.below(8);
            let fresh: Vec<u8> = (0..count).map(|_| random.bits() as u8).collect();
            out.splice(at..at, fresh);
        }
        8 => {
            let other = random.pick(seeds);
            let (from, to) = range(random, other.len());
            let end = if random.below(2) == 0 { at } else { (at + to - from).min(length) };
            out.splice(at..end, other[from..to].iter().copied());
        }
        9 if random.below(4) == 0 => out.truncate(at),
        10 if !dictionary.is_empty() => {
            let word = random.pick(dictionary).as_bytes();
            let end = if random.below(2) == 0 { at } else { (at + word.len()).min(length) };
            out.splice(at..end, word.iter().copied());
        }
        11 => change_number(random, out),
        12 => {
            let (from, to) = range(random, length.min(64));
            let piece = out[from..to.min(from + 8)].to_vec();
            let most = if random.below(64) == 0 { 4000 } else { 16 };
            let times = 1 + random.below(most);
            out.splice(at..at, piece.repeat(times));
        }
        _ => out.push(random.bits() as u8),
    }
}

/// Replaces a number that is written in digits.
fn change_number(random: &mut Random, out: &mut Vec<u8>) {
    let from = random.below(out.len() + 1);
    let Some(start) = out[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let end = out[start..].iter().position(|b| !b.is_ascii_digit()).map_or(out.len(), |n| start + n);
    out.splice(start..end, random.pick(&NUMBERS).bytes());
}

/// The words of a text: runs of letters and digits, runs of white space, single signs.
pub fn cut(text: &str) -> Vec<String> {
    let class = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 1,
        c if c.is_whitespace() => 2,
        _ => 0,
    };
    let mut words: Vec<String> = Vec::new();
    let mut last = 0;
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if class(c) != 0 && class(c) == last => word.push(c),
            _ => words.push(c.to_string()),
        }
        last = class(c);
    }
    words
}

/// One of the seeds with words changed; `vocabulary` holds words that may come in.
pub fn words(random: &mut Random, seeds: &[Vec<String>], vocabulary: &[String]) -> Vec<u8> {
    let mut out: Vec<&str> = random.pick(seeds).iter().map(String::as_str).collect();
    for _ in 0..changes(random) {
        let length = out.len();
        if length == 0 {
            break;
        }
        let at = random.below(length);
        match random.below(9) {
            0 | 1 => out[at] = random.pick(vocabulary).as_str(),
            2 => out.insert(at, random.pick(vocabulary).as_str()),
            3 => {
                // A word of the same text: names and values that exist.
                let other = random.below(length);
                out[at] = out[other];
            }
            4 => {
                let (from, to) = range(random, length);
                out.drain(from..to);
            }
            5 => {
                let (from, to) = range(random, length);
                let copy = out[from..to].to_vec();
                out.splice(at..at, copy);
            }
            6 => {
                let other = random.pick(seeds);
                let (from, to) = range(random, other.len());
                out.splice(at..at, other[from..to].iter().map(String::as_str));
            }
            7 => {
                let from =
                    (at..length).chain(0..at).find(|&i| out[i].starts_with(|c: char| c.is_ascii_digit()));
                if let Some(place) = from {
                    out[place] = *random.pick(&NUMBERS);
                }
            }
            _ => out.swap(at, random.below(length)),
        }
    }
    let mut bytes = out.concat().into_bytes();
    bytes.truncate(MAX_BYTES);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_loses_nothing() {
        let text = "kernel k(x: f32[N]) // ü\n  {\t}";
        assert_eq!(cut(text).concat(), text);
        assert_eq!(cut("ab1 +=\n"), ["ab1", " ", "+", "=", "\n"]);
    }

    #[test]
    fn mutants_differ_and_stay_short() {
        let seeds = vec![b"one 12 two".to_vec(), vec![0; 300]];
        let mut random = Random::new(1);
        let mutants: std::collections::BTreeSet<_> =
            (0..1000).map(|_| bytes(&mut random, &seeds, &["word"])).collect();
        assert!(mutants.len() > 700, "{}", mutants.len());
        assert!(mutants.iter().all(|m| m.len() <= MAX_BYTES));
    }
}
