//! How text is split before byte pairs are merged: the file only names the way, so the ways are listed here.
//!
//! **Maps** a `tokenizer.ggml.pre` name to pre-tokenizers of the `tokenizers` library, the same as the models' own
//! `tokenizer.json` files configure. Example: `smollm` sets each digit apart, then splits by the GPT-2 pattern:
//! `" in 2024"` becomes ` in`, ` `, `2`, `0`, `2`, `4`.
//!
//! **Refuses** other names: a wrong splitting gives text that looks right and a model that is subtly worse.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};
use tvmc_weights::checkpoint::tokenizer::{LLAMA3_PATTERN, QWEN2_PATTERN};

/// One way to split text.
#[derive(Debug)]
pub struct Splitting {
    /// The names that files give it.
    names: &'static [&'static str],
    rule: Rule,
    /// A piece that is a token as a whole is that token, whatever the merges say.
    pub takes_whole_words: bool,
    /// Whether a beginning-of-text token is added if the file does not say.
    pub adds_bos: bool,
    /// Whether text is brought to Unicode's composed form (NFC) first.
    pub composes_unicode: bool,
}

#[derive(Debug)]
enum Rule {
    /// The pattern of GPT-2, which the library's byte-level pre-tokenizer has built in.
    Gpt2,
    /// Each digit alone, then the pattern of GPT-2.
    DigitsThenGpt2,
    /// A pattern of its own.
    Pattern(&'static str),
}

const SPLITTINGS: [Splitting; 4] = [
    Splitting {
        names: &["gpt-2", "gpt2", "phi-2"],
        rule: Rule::Gpt2,
        takes_whole_words: false,
        adds_bos: false,
        composes_unicode: false,
    },
    Splitting {
        names: &["smollm", "starcoder", "refact", "command-r"],
        rule: Rule::DigitsThenGpt2,
        takes_whole_words: false,
        adds_bos: false,
        composes_unicode: false,
    },
    Splitting {
        names: &["llama-bpe", "llama3", "llama-v3"],
        rule: Rule::Pattern(LLAMA3_PATTERN),
        takes_whole_words: true,
        adds_bos: true,
        composes_unicode: false,
    },
    Splitting {
        names: &["qwen2"],
        rule: Rule::Pattern(QWEN2_PATTERN),
        takes_whole_words: false,
        adds_bos: false,
        composes_unicode: true,
    },
];

impl Splitting {
    /// The splitting of a name.
    pub fn by_name(name: &str) -> Option<&'static Splitting> {
        SPLITTINGS.iter().find(|splitting| splitting.names.contains(&name))
    }

    /// All known names.
    pub fn names() -> Vec<&'static str> {
        SPLITTINGS.iter().flat_map(|splitting| splitting.names).copied().collect()
    }

    /// The pre-tokenizers, in order; the last one turns bytes to letters of the alphabet.
    pub(super) fn steps(&self) -> tokenizers::Result<Vec<PreTokenizerWrapper>> {
        let bytes = |by_pattern| ByteLevel::new(false, true, by_pattern).into();
        Ok(match self.rule {
            Rule::Gpt2 => vec![bytes(true)],
            Rule::DigitsThenGpt2 => vec![Digits::new(true).into(), bytes(true)],
            Rule::Pattern(pattern) => {
                let pattern = SplitPattern::Regex(pattern.to_owned());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
                vec![split.into(), bytes(false)]
            }
        })
    }
}
