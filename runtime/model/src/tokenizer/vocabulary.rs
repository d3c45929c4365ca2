//! The vocabulary in a GGUF file, checked before anything is built on it.
//!
//! **Maps** `tokenizer.ggml.tokens`, `token_type`, `merges`, `scores` and the `*_token_id` keys to tables of text,
//! kind and bytes by id.
//!
//! **Invariants after a successful read.** There are 1 to [`MAX_TOKENS`] tokens; their texts are unique, and not empty
//! unless unused; kinds are the six that exist; a byte token is spelled `<0x00>` to `<0xFF>` exactly, each at most
//! once; every special id is below the size; every merge is of two tokens that exist, makes one that exists and is no
//! control token, and is listed once; scores are finite.
//!
//! **Refuses** everything else with a [`VocabularyError`] that names the key and the entry.

use std::collections::{HashMap, HashSet};

use tokenizers::models::bpe::Merges;
use tvmc_weights::gguf::{Array, Metadata, StringArray, Value};

use super::byte_alphabet::Alphabet;
use super::pieces::SPACE;

/// The most tokens. The largest vocabularies known have 262,144.
pub const MAX_TOKENS: usize = 1 << 20;
/// The longest token text.
pub const MAX_TOKEN_BYTES: usize = 4096;
/// The most control and user-defined tokens: an automaton is built of them.
pub const MAX_ADDED_TOKENS: usize = 65_536;
/// The most listed merges.
pub const MAX_MERGES: usize = 1 << 21;

/// Names by which models commonly call a token that ends a text or a turn.
const END_NAMES: [&str; 7] =
    ["<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>"];

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Text.
    Normal,
    /// What text becomes that no token stands for.
    Unknown,
    /// A mark that no text stands for, such as the end of a turn.
    Control,
    /// Text that is found before all else.
    UserDefined,
    /// A place holder.
    Unused,
    /// One byte, for text that no other token stands for.
    Byte,
}

/// What is wrong with a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// A key is not there.
    #[error("the file has no {0}")]
    Missing(&'static str),
    /// A value is of another type.
    #[error("{key} is of type {found}, it must be {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The type in the file.
        found: String,
        /// The type needed.
        expected: &'static str,
    },
    /// A list is not as long as the list of tokens.
    #[error("{key} has {found} entries for {tokens} tokens")]
    Length {
        /// The key.
        key: &'static str,
        /// Its entries.
        found: usize,
        /// The tokens.
        tokens: usize,
    },
    /// No tokens.
    #[error("tokenizer.ggml.tokens is empty")]
    Empty,
    /// Above a cap.
    #[error("{count} {what} exceed the limit of {limit}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The cap.
        limit: usize,
    },
    /// A token's text is empty or too long.
    #[error("tokenizer.ggml.tokens[{id}]: a text of {bytes} bytes")]
    TextLength {
        /// The token.
        id: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// Two tokens of the same text.
    #[error("tokenizer.ggml.tokens[{second}]: the same text as token {first}")]
    SameText {
        /// The smaller id.
        first: u32,
        /// The larger id.
        second: u32,
    },
    /// A kind that does not exist.
    #[error("tokenizer.ggml.token_type[{id}]: unknown kind {kind}")]
    UnknownKind {
        /// The token.
        id: usize,
        /// Its kind.
        kind: i64,
    },
    /// A byte token that is not spelled as one.
    #[error("tokenizer.ggml.tokens[{id}]: {text:?} is no byte token, they are <0x00> to <0xFF>")]
    BadByteToken {
        /// The token.
        id: u32,
        /// Its text.
        text: String,
    },
    /// A special id that is no token.
    #[error("{key} is {id}, there are {tokens} tokens")]
    IdOutOfRange {
        /// The key.
        key: &'static str,
        /// The id.
        id: u64,
        /// The tokens.
        tokens: usize,
    },
    /// A merge that is not two tokens making a third.
    #[error("tokenizer.ggml.merges[{index}] {text:?}: {problem}")]
    BadMerge {
        /// The entry.
        index: usize,
        /// Its text.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A score that is NaN or infinite.
    #[error("tokenizer.ggml.scores[{id}] is {score}")]
    BadScore {
        /// The token.
        id: usize,
        /// Its score, in words.
        score: String,
    },
}

/// Tables of the tokens by id.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    texts: StringArray,
    kinds: Vec<TokenKind>,
    ids: HashMap<String, u32>,
    bytes: Vec<u8>,
    byte_ends: Vec<usize>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    /// Tokens at which generation ends.
    pub ends: Vec<u32>,
}

impl Vocabulary {
    /// Of a `gpt2` file: texts are in the byte alphabet.
    pub fn byte_level(metadata: &Metadata) -> Result<Self, VocabularyError> {
        let alphabet = Alphabet::default();
        Self::read(metadata, |text, kind, bytes| {
            // A text with other letters, as place holders have, stands for itself.
            if !matches!(kind, TokenKind::Normal | TokenKind::Unused) || !alphabet.append_bytes(text, bytes) {
                bytes.extend_from_slice(text.as_bytes());
            }
        })
    }

    /// Of a `llama` file: texts are UTF-8 with a letter for the space.
    pub fn pieces(metadata: &Metadata) -> Result<Self, VocabularyError> {
        Self::read(metadata, |text, kind, bytes| match (kind, byte_token(text)) {
            (TokenKind::Byte, Some(byte)) => bytes.push(byte),
            (TokenKind::Control, _) => bytes.extend_from_slice(text.as_bytes()),
            _ => bytes.extend_from_slice(text.replace(SPACE, " ").as_bytes()),
        })
    }

    fn read(
        metadata: &Metadata,
        append_bytes: impl Fn(&str, TokenKind, &mut Vec<u8>),
    ) -> Result<Self, VocabularyError> {
        let texts = strings(metadata, "tokenizer.ggml.tokens")?
            .ok_or(VocabularyError::Missing("tokenizer.ggml.tokens"))?;
        let count = texts.len();
        match count {
            0 => return Err(VocabularyError::Empty),
            _ if count > MAX_TOKENS => {
                return Err(VocabularyError::TooMany { what: "tokens", count, limit: MAX_TOKENS });
            }
            _ => {}
        }
        let kinds = read_kinds(metadata, count)?;
        let added = kinds.iter().filter(|kind| matches!(kind, TokenKind::Control | TokenKind::UserDefined));
        let added = added.count();
        if added > MAX_ADDED_TOKENS {
            let what = "control and user-defined tokens";
            return Err(VocabularyError::TooMany { what, count: added, limit: MAX_ADDED_TOKENS });
        }

        let mut vocabulary = Vocabulary {
            texts: texts.clone(),
            kinds,
            ids: HashMap::with_capacity(count),
            bytes: Vec::new(),
            byte_ends: Vec::with_capacity(count),
            bos: special_id(metadata, "tokenizer.ggml.bos_token_id", count)?,
            eos: special_id(metadata, "tokenizer.ggml.eos_token_id", count)?,
            unknown: special_id(metadata, "tokenizer.ggml.unknown_token_id", count)?,
            ends: Vec::new(),
        };
        for (id, text) in texts.iter().enumerate() {
            let kind = vocabulary.kinds[id];
            if text.len() > MAX_TOKEN_BYTES || (text.is_empty() && kind != TokenKind::Unused) {
                return Err(VocabularyError::TextLength { id, bytes: text.len() });
            }
            let id = id as u32;
            if kind == TokenKind::Byte && byte_token(text).is_none() {
                return Err(VocabularyError::BadByteToken { id, text: text.to_owned() });
            }
            if let Some(first) = vocabulary.ids.insert(text.to_owned(), id) {
                return Err(VocabularyError::SameText { first, second: id });
            }
            append_bytes(text, kind, &mut vocabulary.bytes);
            vocabulary.byte_ends.push(vocabulary.bytes.len());
        }
        vocabulary.ends = vocabulary.read_ends(metadata)?;
        Ok(vocabulary)
    }

    fn read_ends(&self, metadata: &Metadata) -> Result<Vec<u32>, VocabularyError> {
        let mut ends: Vec<u32> = self.eos.into_iter().collect();
        for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            ends.extend(special_id(metadata, key, self.len())?);
        }
        let named = END_NAMES.iter().filter_map(|name| self.id(name));
        ends.extend(named.filter(|&id| self.kind(id) == Some(TokenKind::Control)));
        ends.sort_unstable();
        ends.dedup();
        Ok(ends)
    }

    /// The merges listed in a `gpt2` file.
    pub fn listed_merges(&self, metadata: &Metadata) -> Result<Merges, VocabularyError> {
        let key = "tokenizer.ggml.merges";
        let listed = strings(metadata, key)?.ok_or(VocabularyError::Missing(key))?;
        if listed.len() > MAX_MERGES {
            return Err(VocabularyError::TooMany { what: "merges", count: listed.len(), limit: MAX_MERGES });
        }
        let mut seen = HashSet::with_capacity(listed.len());
        let mut merges = Vec::with_capacity(listed.len());
        let mut whole = String::new();
        for (index, text) in listed.iter().enumerate() {
            let bad = |problem| VocabularyError::BadMerge { index, text: text.to_owned(), problem };
            let (left, right) = text.split_once(' ').ok_or_else(|| bad("no space between two parts"))?;
            if left.is_empty() || right.is_empty() || right.contains(' ') {
                return Err(bad("not two parts"));
            }
            whole.clear();
            whole.push_str(left);
            whole.push_str(right);
            for part in [left, right, &whole] {
                let id = self.id(part).ok_or_else(|| bad("a part or the whole is not in the vocabulary"))?;
                if matches!(self.kinds[id as usize], TokenKind::Control | TokenKind::Unused) {
                    return Err(bad("a part or the whole is a control or unused token"));
                }
            }
            if !seen.insert(text) {
                return Err(bad("listed twice"));
            }
            merges.push((left.to_owned(), right.to_owned()));
        }
        Ok(merges)
    }

    /// The scores of a `llama` file.
    pub fn scores(&self, metadata: &Metadata) -> Result<Vec<f32>, VocabularyError> {
        let key = "tokenizer.ggml.scores";
        let scores = match metadata.get(key) {
            None => return Err(VocabularyError::Missing(key)),
            Some(Value::Array(Array::F32(scores))) => scores,
            Some(other) => return Err(wrong_type(key, other, "an array of f32")),
        };
        if scores.len() != self.len() {
            return Err(VocabularyError::Length { key, found: scores.len(), tokens: self.len() });
        }
        if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
            return Err(VocabularyError::BadScore { id, score: scores[id].to_string() });
        }
        Ok(scores.clone())
    }

    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    pub fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    pub fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize)
    }

    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    pub fn bytes(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.byte_ends.get(id)?;
        let start = if id == 0 { 0 } else { self.byte_ends[id - 1] };
        Some(&self.bytes[start..end])
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenKind)> {
        self.texts.iter().zip(&self.kinds).enumerate().map(|(id, (text, &kind))| (id as u32, text, kind))
    }

    /// Whether every byte has its token, so that no text is unknown.
    pub fn has_all_byte_tokens(&self) -> bool {
        self.kinds.iter().filter(|&&kind| kind == TokenKind::Byte).count() == 256
    }
}

/// The byte of `<0x00>` to `<0xFF>`, in exactly this spelling.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let plain = digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    if plain { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn read_kinds(metadata: &Metadata, tokens: usize) -> Result<Vec<TokenKind>, VocabularyError> {
    let key = "tokenizer.ggml.token_type";
    let numbers: Vec<i64> = match metadata.get(key) {
        None => return Ok(vec![TokenKind::Normal; tokens]),
        Some(Value::Array(Array::I32(numbers))) => numbers.iter().map(|&number| number.into()).collect(),
        Some(Value::Array(Array::U32(numbers))) => numbers.iter().map(|&number| number.into()).collect(),
        Some(other) => return Err(wrong_type(key, other, "an array of i32")),
    };
    if numbers.len() != tokens {
        return Err(VocabularyError::Length { key, found: numbers.len(), tokens });
    }
    let kind = |(id, &number): (usize, &i64)| match number {
        1 => Ok(TokenKind::Normal),
        2 => Ok(TokenKind::Unknown),
        3 => Ok(TokenKind::Control),
        4 => Ok(TokenKind::UserDefined),
        5 => Ok(TokenKind::Unused),
        6 => Ok(TokenKind::Byte),
        kind => Err(VocabularyError::UnknownKind { id, kind }),
    };
    numbers.iter().enumerate().map(kind).collect()
}

fn special_id(metadata: &Metadata, key: &'static str, tokens: usize) -> Result<Option<u32>, VocabularyError> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    let id = value.as_u64().ok_or_else(|| wrong_type(key, value, "a token id"))?;
    // Token counts are capped, so an id below the count fits 32 bits.
    if id < tokens as u64 {
        Ok(Some(id as u32))
    } else {
        Err(VocabularyError::IdOutOfRange { key, id, tokens })
    }
}

fn wrong_type(key: &'static str, value: &Value, expected: &'static str) -> VocabularyError {
    let found = match value {
        Value::Array(array) => format!("array of {}", array.element_type_name()),
        other => other.type_name().to_owned(),
    };
    VocabularyError::WrongType { key, found, expected }
}

fn strings<'m>(
    metadata: &'m Metadata,
    key: &'static str,
) -> Result<Option<&'m StringArray>, VocabularyError> {
    match metadata.get(key) {
        None => Ok(None),
        Some(Value::Array(Array::String(strings))) => Ok(Some(strings)),
        Some(other) => Err(wrong_type(key, other, "an array of strings")),
    }
}

/// A string value.
pub(super) fn string<'m>(
    metadata: &'m Metadata,
    key: &'static str,
) -> Result<Option<&'m str>, VocabularyError> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    value.as_str().map(Some).ok_or_else(|| wrong_type(key, value, "a string"))
}

/// A truth value.
pub(super) fn truth(metadata: &Metadata, key: &'static str) -> Result<Option<bool>, VocabularyError> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| wrong_type(key, value, "a truth value"))
}
