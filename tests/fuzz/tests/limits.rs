//! Limits of files that strangers made, each at its value and one past it: those of SECURITY.md that need the fuzzer's sound files.

#[path = "../../../runtime/weights/tests/support/raw.rs"]
mod raw;

use raw::Raw;
use std::collections::HashSet;
use tvmc_fuzz::corpus::vocabulary_metadata;
use tvmc_model::tokenizer::{MAX_TEXT_BYTES, Special, Tokenizer, TokenizerError};
use tvmc_weights::gguf::limits::MAX_DIMENSIONS;
use tvmc_weights::gguf::{Array, Metadata, Value};
use tvmc_weights::{FileBytes, Weights};

/// Limits of vocabularies, which nobody but their readers needs. `tests/tests/security.rs` compares SECURITY.md with the sources.
const MAX_TOKENS: usize = 1 << 20;
const MAX_TOKEN_BYTES: usize = 4096;
const MAX_ADDED_TOKENS: usize = 65_536;
const MAX_LISTED_MERGES: usize = 1 << 21;
const MAX_MERGES: usize = 1 << 22;
const MAX_MERGE_BYTES: usize = 80 << 20;

/// A sound vocabulary with more tokens of a kind (1 is normal, 3 control).
fn more(model: &str, tokens: &[String], kind: i32) -> Metadata {
    let mut metadata = Metadata::default();
    for (key, old) in vocabulary_metadata(model).iter() {
        let new = match (key, old) {
            ("tokenizer.ggml.tokens", Value::Array(Array::String(list))) => {
                Value::Array(Array::String(list.iter().chain(tokens.iter().map(String::as_str)).collect()))
            }
            ("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds))) => {
                let kinds = kinds.iter().copied().chain(std::iter::repeat_n(kind, tokens.len()));
                Value::Array(Array::I32(kinds.collect()))
            }
            ("tokenizer.ggml.scores", Value::Array(Array::F32(scores))) => {
                let scores = scores.iter().copied().chain(std::iter::repeat_n(0.0, tokens.len()));
                Value::Array(Array::F32(scores.collect()))
            }
            _ => old.clone(),
        };
        metadata.insert(key.to_owned(), new).expect("no key twice");
    }
    metadata
}

/// Why a vocabulary is refused; empty where it is not.
fn refused(metadata: &Metadata) -> String {
    Tokenizer::from_gguf(metadata).err().map_or_else(String::new, |error| error.to_string())
}

fn own_tokens(model: &str) -> usize {
    let metadata = vocabulary_metadata(model);
    let list = metadata.iter().find_map(|(key, value)| match value {
        Value::Array(Array::String(list)) if key == "tokenizer.ggml.tokens" => Some(list.len()),
        _ => None,
    });
    list.expect("tokens")
}

/// `prefix` once, twice, and so on: this many tokens.
fn repeated(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| prefix.repeat(n)).collect()
}

#[test]
fn dimensions_of_a_tensor() {
    let reads = |rank: u32| {
        let mut shape = vec![1; rank as usize];
        shape[0] = 16;
        let file = Raw::start(3, 1, 0).tensor("w", &shape, 0, 0).data(64);
        Weights::from_bytes("t".as_ref(), FileBytes::from_slice(&file).expect("memory")).map(drop)
    };
    reads(MAX_DIMENSIONS).unwrap_or_else(|error| panic!("{error}"));
    assert!(reads(MAX_DIMENSIONS + 1).is_err());
}

#[test]
fn tokens_of_a_vocabulary() {
    let numbered = |count: usize| (0..count).map(|n| format!("#{n}#")).collect::<Vec<_>>();
    let room = MAX_TOKENS - own_tokens("llama");
    assert_eq!(refused(&more("llama", &numbered(room), 1)), "");
    assert!(refused(&more("llama", &numbered(room + 1), 1)).contains("1048576"));
}

#[test]
fn bytes_of_a_token() {
    let long = |bytes: usize| refused(&more("llama", &["#".repeat(bytes)], 1));
    assert_eq!(long(MAX_TOKEN_BYTES), "");
    assert!(long(MAX_TOKEN_BYTES + 1).contains("4097"));
}

#[test]
fn control_tokens_of_a_vocabulary() {
    // Two are there already.
    let numbered = |count: usize| (0..count).map(|n| format!("<|{n}|>")).collect::<Vec<_>>();
    assert_eq!(refused(&more("llama", &numbered(MAX_ADDED_TOKENS - 2), 3)), "");
    assert!(refused(&more("llama", &numbered(MAX_ADDED_TOKENS - 1), 3)).contains("65536"));
}

/// Found by trying the limit: 4,096 pieces of one letter, a file of 8 MB, had 23 GB of merges.
#[test]
fn merges_of_pieces() {
    let small = refused(&more("llama", &repeated("#", 4096), 1));
    assert!(small.contains("bytes of merges") && small.contains(&MAX_MERGE_BYTES.to_string()), "{small}");
    // One more than the limit of numbers.
    assert!(refused(&more("llama", &words(15_421), 1)).contains(&MAX_MERGES.to_string()));
}

/// The other side of [`merges_of_pieces`]: words, and pairs of a letter of their own for what is left, make as many merges as there may be; one pair more is refused.
#[test]
fn merges_of_pieces_up_to_the_limit() {
    const SHORTER: usize = 3_932_164;
    let left = MAX_MERGES - SHORTER - own_merges();
    let vocabulary = |pairs: u32| {
        let mut pieces = words(left / 17);
        for letter in (0..pairs).filter_map(|pair| char::from_u32(0x4e00 + pair)) {
            pieces.extend([letter.to_string(), [letter, letter].iter().collect()]);
        }
        refused(&more("llama", &pieces, 1))
    };
    let pairs = (left % 17) as u32;
    assert_eq!(vocabulary(pairs), "");
    assert!(vocabulary(pairs + 1).contains(&MAX_MERGES.to_string()));
}

/// How many merges the pieces of the sound vocabulary have.
fn own_merges() -> usize {
    let metadata = vocabulary_metadata("llama");
    let (mut texts, mut kinds) = (Vec::new(), Vec::new());
    for (key, value) in metadata.iter() {
        match (key, value) {
            ("tokenizer.ggml.tokens", Value::Array(Array::String(list))) => {
                texts = list.iter().map(str::to_owned).collect();
            }
            ("tokenizer.ggml.token_type", Value::Array(Array::I32(list))) => kinds = list.clone(),
            _ => {}
        }
    }
    let normal: HashSet<&str> =
        texts.iter().zip(&kinds).filter(|(_, kind)| **kind == 1).map(|(text, _)| text.as_str()).collect();
    let cuts = |text: &str| {
        let places = text.char_indices().skip(1);
        places.filter(|(at, _)| normal.contains(&text[..*at]) && normal.contains(&text[*at..])).count()
    };
    normal.iter().map(|text| cuts(text)).sum()
}

/// All words of up to 17 letters `#` and `+`, and so many of 18: a word of n letters has n - 1 cuts, all of them pieces. Shorter ones have 3,932,164, and with 15,420 of 18 letters they
/// have 4,194,304.
fn words(longest: usize) -> Vec<String> {
    let word = |number: usize, letters: u32| -> String {
        (0..letters).map(|bit| if number >> bit & 1 == 0 { '#' } else { '+' }).collect()
    };
    let shorter = (1..=17).flat_map(|letters| (0..1usize << letters).map(move |n| word(n, letters)));
    shorter.chain((0..longest).map(|n| word(n, 18))).collect()
}

#[test]
fn listed_merges() {
    let listed = |count: usize| {
        let mut metadata = Metadata::default();
        for (key, old) in vocabulary_metadata("gpt2").iter() {
            let new = match key {
                "tokenizer.ggml.merges" => {
                    Value::Array(Array::String(std::iter::repeat_n("h e", count).collect()))
                }
                _ => old.clone(),
            };
            metadata.insert(key.to_owned(), new).expect("no key twice");
        }
        refused(&metadata)
    };
    // At the limit the list is looked at: the same merge twice is a mistake of another kind.
    assert!(!listed(MAX_LISTED_MERGES).contains("2097152"));
    assert!(listed(MAX_LISTED_MERGES + 1).contains("2097152"));
}

#[test]
fn bytes_of_a_text() {
    let tokenizer = Tokenizer::from_gguf(&vocabulary_metadata("gpt2")).expect("sound");
    let long = "a\n".repeat(MAX_TEXT_BYTES / 2);
    let refused = tokenizer.encode(&(long + "a"), Special::AsText);
    assert!(matches!(refused, Err(TokenizerError::TextTooLong(bytes)) if bytes == MAX_TEXT_BYTES + 1));
}

/// The other side of [`bytes_of_a_text`]: of control tokens as long as tokens may be, which are found quickly; the library takes seconds and a gigabyte for letters.
#[test]
fn a_text_of_the_limit_is_encoded() {
    let longest = "#".repeat(MAX_TOKEN_BYTES);
    let tokenizer = Tokenizer::from_gguf(&more("gpt2", std::slice::from_ref(&longest), 3)).expect("sound");
    let count = MAX_TEXT_BYTES / MAX_TOKEN_BYTES;
    let ids = tokenizer.encode(&longest.repeat(count), Special::Parse).expect("it is no longer");
    assert_eq!(ids.len(), count);
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one token, again and again");
}
