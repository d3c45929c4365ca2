//! Text to token ids and back, from the vocabulary that a GGUF file carries.
//!
//! **Maps** `tokenizer.ggml.*` metadata to a [`Tokenizer`] whose ids equal those of the `tokenizers` library with the
//! model's own `tokenizer.json`. Two kinds of vocabulary are read:
//!
//! - `gpt2`: byte-level byte-pair encoding; `tokenizer.ggml.pre` names how text is split first (see [`splitting`]).
//!   `"Once upon"` is split into `Once` and ` upon`, whose bytes are merged to the ids 6403 and 1980 of SmolLM2;
//! - `llama`: SentencePiece pieces with scores and byte fallback (see [`pieces`]).
//!
//! **Invariants.** Ids given out are below the vocabulary's size. [`Special::AsText`] never yields a control token,
//! whatever the text spells. Decoding is by bytes: the pieces of a [`StreamDecoder`] joined are the decoding of the
//! whole, and no piece ends within a character.
//!
//! **Bytes without a token.** Some vocabularies lack tokens for a few bytes (SmolLM2: control bytes such as 0x04, and
//! bytes that UTF-8 never or hardly uses). The reference drops them silently; so do we, and
//! [`Tokenizer::missing_bytes`] tells which.
//!
//! **Refuses** vocabularies that are inconsistent (each check is in [`vocabulary`]), unknown vocabulary kinds and
//! splittings, and texts above [`MAX_TEXT_BYTES`].

pub mod byte_alphabet;
pub mod pieces;
pub mod splitting;
mod stream;
pub mod vocabulary;

use std::fmt;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::normalizers::NFC;
use tokenizers::{
    AddedToken, AddedVocabulary, Model, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizer,
    PreTokenizerWrapper,
};
use tvmc_weights::gguf::Metadata;

pub use stream::StreamDecoder;
pub use vocabulary::{TokenKind, VocabularyError};

use splitting::Splitting;
use vocabulary::Vocabulary;

/// The longest text encoded at once. The library keeps some forty bytes for each byte of text meanwhile.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// What becomes of text that spells a control token, such as `<|im_end|>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// It becomes that token: for prompts made by a chat template.
    Parse,
    /// It is text like any other: for text from people and files.
    AsText,
}

/// Why there is no tokenizer, or no encoding.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file's vocabulary is missing or inconsistent.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// `tokenizer.ggml.model` names a kind that is not read.
    #[error("tokenizer.ggml.model is {0:?}; vocabularies of the kinds \"gpt2\" and \"llama\" are read")]
    UnknownModel(String),
    /// `tokenizer.ggml.pre` names a splitting that is not known, or is missing.
    #[error("tokenizer.ggml.pre is {found}; known are {known}")]
    UnknownSplitting {
        /// The name in the file, or `missing`.
        found: String,
        /// The names that are known.
        known: String,
    },
    /// The text is too long.
    #[error("a text of {0} bytes exceeds the limit of {MAX_TEXT_BYTES}; encode it in pieces")]
    TextTooLong(usize),
    /// A token id beyond the vocabulary.
    #[error("token id {id} is not in the vocabulary of {size}")]
    IdOutOfRange {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        size: usize,
    },
    /// The library failed, which checked vocabularies do not bring about.
    #[error("the tokenizer failed: {0}")]
    Library(String),
}

fn library(error: Box<dyn std::error::Error + Send + Sync>) -> TokenizerError {
    TokenizerError::Library(error.to_string())
}

/// A vocabulary and the rules to use it.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// All tokens that text can be merged to: no control tokens among them.
    merging: BPE,
    normalizer: Option<NormalizerWrapper>,
    splits: Vec<PreTokenizerWrapper>,
    control: AddedVocabulary,
    user_defined: AddedVocabulary,
    adds_bos: bool,
    /// Whether each text is taken to begin with a space.
    space_before: bool,
    missing_bytes: Vec<u8>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("vocabulary_size", &self.vocabulary.len())
            .field("adds_bos", &self.adds_bos)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// The tokenizer of a GGUF file.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let model = vocabulary::string(metadata, "tokenizer.ggml.model")?
            .ok_or(VocabularyError::Missing("tokenizer.ggml.model"))?;
        match model {
            "gpt2" => Self::byte_level(metadata),
            "llama" => Self::with_scores(metadata),
            other => Err(TokenizerError::UnknownModel(other.to_owned())),
        }
    }

    fn byte_level(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let name = vocabulary::string(metadata, "tokenizer.ggml.pre")?;
        let splitting =
            name.and_then(Splitting::by_name).ok_or_else(|| TokenizerError::UnknownSplitting {
                found: name.map_or("missing".to_owned(), |name| format!("{name:?}")),
                known: Splitting::names().join(", "),
            })?;
        let vocabulary = Vocabulary::byte_level(metadata)?;
        let merges = vocabulary.listed_merges(metadata)?;
        let builder = BPE::builder()
            .vocab_and_merges(mergeable(&vocabulary), merges)
            .ignore_merges(splitting.takes_whole_words);
        let merging = builder.build().map_err(library)?;
        let missing_bytes = (0..=u8::MAX)
            .filter(|&byte| merging.token_to_id(&byte_alphabet::letter(byte).to_string()).is_none())
            .collect();
        let normalizer = splitting.composes_unicode.then_some(NormalizerWrapper::NFC(NFC));
        let adds_bos =
            vocabulary::truth(metadata, "tokenizer.ggml.add_bos_token")?.unwrap_or(splitting.adds_bos);
        Ok(Tokenizer {
            merging,
            normalizer,
            splits: splitting.steps().map_err(library)?,
            control: added(&vocabulary, TokenKind::Control)?,
            user_defined: added(&vocabulary, TokenKind::UserDefined)?,
            adds_bos,
            space_before: false,
            missing_bytes,
            vocabulary,
        })
    }

    fn with_scores(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::pieces(metadata)?;
        let scores = vocabulary.scores(metadata)?;
        let merges = pieces::merges(&vocabulary, &scores)?;
        let has_bytes = vocabulary.has_all_byte_tokens();
        let mut builder = BPE::builder()
            .vocab_and_merges(mergeable(&vocabulary), merges)
            .byte_fallback(has_bytes)
            .fuse_unk(true);
        if let Some(unknown) = vocabulary.unknown.and_then(|id| vocabulary.text(id)) {
            builder = builder.unk_token(unknown.to_owned());
        }
        let space_before = vocabulary::truth(metadata, "tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        Ok(Tokenizer {
            merging: builder.build().map_err(library)?,
            normalizer: Some(pieces::normalizer().map_err(library)?),
            splits: Vec::new(),
            control: added(&vocabulary, TokenKind::Control)?,
            user_defined: added(&vocabulary, TokenKind::UserDefined)?,
            adds_bos: vocabulary::truth(metadata, "tokenizer.ggml.add_bos_token")?.unwrap_or(true),
            space_before,
            // Characters without a piece become the unknown token where there are no byte tokens: seen, not dropped.
            missing_bytes: Vec::new(),
            vocabulary,
        })
    }

    /// Token ids of a text. Adds nothing: see [`Tokenizer::prefix`].
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, TokenizerError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenizerError::TextTooLong(text.len()));
        }
        let mut ids = Vec::new();
        match special {
            Special::AsText => self.encode_text(text, &mut ids)?,
            Special::Parse => {
                let pieces = self.control.extract_and_normalize(None::<&NormalizerWrapper>, text);
                for (between, _, token) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
                    match token {
                        Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                        None => self.encode_text(between, &mut ids)?,
                    }
                }
            }
        }
        Ok(ids)
    }

    /// Encodes a text in which no control tokens are looked for.
    fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let spaced;
        let text = if self.space_before && !text.is_empty() {
            spaced = format!(" {text}");
            &spaced
        } else {
            text
        };
        let mut pieces = self.user_defined.extract_and_normalize(self.normalizer.as_ref(), text);
        for split in &self.splits {
            split.pre_tokenize(&mut pieces).map_err(library)?;
        }
        pieces.tokenize(|piece| self.merging.tokenize(piece.get())).map_err(library)?;
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let tokens = splits.iter().flat_map(|(_, _, tokens)| tokens.iter().flatten());
        ids.extend(tokens.map(|token| token.id));
        Ok(())
    }

    /// The text of token ids; control tokens are left out, bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let mut stream = self.stream();
        let mut text = String::new();
        for &id in ids {
            text.push_str(&stream.push(id)?);
        }
        text.push_str(&stream.finish());
        if self.space_before && text.starts_with(' ') {
            text.remove(0);
        }
        Ok(text)
    }

    /// A decoder for tokens that come one by one. It continues a text: a first space is kept.
    pub fn stream(&self) -> StreamDecoder<&Tokenizer> {
        StreamDecoder::new(self)
    }

    /// The token to put before a text, if the model wants one.
    pub fn prefix(&self) -> Option<u32> {
        if self.adds_bos { self.vocabulary.bos } else { None }
    }

    /// The token that begins a text, whether or not it is to be added.
    pub fn bos(&self) -> Option<u32> {
        self.vocabulary.bos
    }

    /// The token that ends a text or a turn.
    pub fn eos(&self) -> Option<u32> {
        self.vocabulary.eos
    }

    /// Whether generation ends at this token: the file's end-of-text, end-of-turn and end-of-message tokens, and
    /// control tokens by the names that models commonly give these.
    pub fn ends_generation(&self, id: u32) -> bool {
        self.vocabulary.ends.contains(&id)
    }

    /// How many tokens there are.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The id of a token by its text in the file, control tokens included.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.vocabulary.id(text)
    }

    /// A token's text as the file has it (byte-level tokens in their printable alphabet).
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.text(id)
    }

    /// A token's kind.
    pub fn token_kind(&self, id: u32) -> Option<TokenKind> {
        self.vocabulary.kind(id)
    }

    /// The bytes a token stands for; a control token's are its text.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.bytes(id)
    }

    /// Bytes that no token stands for, and that encoding drops.
    pub fn missing_bytes(&self) -> &[u8] {
        &self.missing_bytes
    }
}

/// The tokens that merging may yield. Control tokens are kept out, so that no text can be merged to one.
fn mergeable(vocabulary: &Vocabulary) -> Vocab {
    vocabulary
        .iter()
        .filter(|(_, _, kind)| !matches!(kind, TokenKind::Control | TokenKind::Unused))
        .map(|(id, text, _)| (text.to_owned(), id))
        .collect()
}

/// The tokens that are found in a text before it is split.
fn added(vocabulary: &Vocabulary, kind: TokenKind) -> Result<AddedVocabulary, TokenizerError> {
    let chosen = || vocabulary.iter().filter(|(_, text, other)| *other == kind && !text.is_empty());
    // The library asks a model for the ids of added tokens: this one knows exactly these.
    let known: Vocab = chosen().map(|(id, text, _)| (text.to_owned(), id)).collect();
    let unknown = known.keys().next().cloned().unwrap_or_default();
    let known = WordLevel::builder().vocab(known).unk_token(unknown).build().map_err(library)?;
    let tokens =
        chosen().map(|(_, text, _)| AddedToken::from(text, kind == TokenKind::Control).normalized(false));
    let mut added = AddedVocabulary::new();
    added.add_tokens(tokens.collect::<Vec<_>>(), &known, None::<&NormalizerWrapper>).map_err(library)?;
    Ok(added)
}
