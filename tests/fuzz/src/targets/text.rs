//! Text from strangers: chat templates, which are programs, and prompts.

use super::{Depth, Fuzzed, Outcome};
use crate::corpus;
use crate::mutate;
use crate::report::Coverage;
use tvmc_model::chat_template::{ChatTemplate, ChatTemplateError, Message};
use tvmc_model::tokenizer::{Special, Tokenizer};
use tvmc_tests::random::Random;

/// Chat templates.
pub struct Templates {
    seeds: Vec<Vec<String>>,
    vocabulary: Vec<String>,
}

impl Templates {
    /// Ready to run.
    pub fn open() -> Self {
        let seeds: Vec<Vec<String>> = corpus::TEMPLATES.iter().map(|text| mutate::cut(text)).collect();
        let mut vocabulary = corpus::vocabulary(&seeds);
        vocabulary.extend(corpus::TEMPLATE_WORDS.iter().map(|word| format!(" {word} ")));
        Self { seeds, vocabulary }
    }
}

impl Fuzzed for Templates {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        mutate::words(random, &self.seeds, &self.vocabulary)
    }

    fn judge(&mut self, input: &[u8], depth: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Outcome::Refused) };
        let template = match ChatTemplate::new(text, "<s>", "</s>") {
            Ok(template) => template,
            Err(ChatTemplateError::OutOfTime) => return Ok(Outcome::Stuck),
            Err(_) => return Ok(Outcome::Refused),
        };
        if depth == Depth::Quick {
            return Ok(Outcome::Accepted);
        }
        let messages = [Message::new("system", "be"), Message::new("user", "Hi {{ 1 }} <s>")];
        match template.render(&messages, true) {
            Ok(_) => Ok(Outcome::Accepted),
            Err(ChatTemplateError::OutOfTime) => Ok(Outcome::Stuck),
            Err(_) => Ok(Outcome::Refused),
        }
    }
}

/// Prompts.
pub struct Prompts {
    seeds: Vec<Vec<u8>>,
    byte_level: Tokenizer,
    pieces: Tokenizer,
}

impl Prompts {
    /// Ready to run.
    pub fn open() -> Self {
        let tokenizer = |model| {
            Tokenizer::from_gguf(&corpus::vocabulary_metadata(model))
                .expect("the corpus has sound vocabularies")
        };
        let texts = corpus::sources().into_iter().chain(corpus::TEMPLATES.iter().map(|&t| t.to_owned()));
        let seeds = texts.chain(corpus::PROMPTS.iter().map(|&t| t.to_owned()));
        let seeds = seeds.map(|text| text.into_bytes().into_iter().take(600).collect()).collect();
        Self { seeds, byte_level: tokenizer("gpt2"), pieces: tokenizer("llama") }
    }
}

impl Fuzzed for Prompts {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        mutate::bytes(random, &self.seeds, corpus::PROMPTS)
    }

    fn judge(&mut self, input: &[u8], _: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        let text = String::from_utf8_lossy(input);
        let ids =
            self.byte_level.encode(&text, Special::AsText).map_err(|e| format!("a text is refused: {e}"))?;
        let back = self.byte_level.decode(&ids).map_err(|e| format!("ids are refused: {e}"))?;
        if back != text {
            return Err(format!("a text does not come back: {text:?} as {back:?}"));
        }
        for special in [Special::Parse, Special::AsText] {
            let ids = self.pieces.encode(&text, special).map_err(|e| format!("a text is refused: {e}"))?;
            self.pieces.decode(&ids).map_err(|e| format!("ids are refused: {e}"))?;
            let mut stream = self.pieces.stream();
            for id in ids {
                stream.push(id).map_err(|e| format!("an id is refused: {e}"))?;
            }
            stream.finish();
        }
        Ok(Outcome::Accepted)
    }
}
