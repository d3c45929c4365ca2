//! A language model: weights, program, tokenizer and sampler in one value.
//!
//! [`Model::generate`] continues a text, [`Model::chat`] answers a conversation by the model's own template; both give an [`Answer`], an
//! iterator of tokens. [`Model::logits`] gives what the model thinks comes next.
//!
//! Each call stands for itself: its prompt is all that the model knows. What the prompt begins with in common with the call before is not computed
//! again, so the next turn of a conversation costs the next turn.

use super::error::{Error, model_step, step};
use super::machine::Machine;
use crate::cli::{Activations, ModelOptions};
use crate::commands::models::{self, Loaded};
use crate::engine::Engine;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tvmc_model::generation::{Generation, Token};
use tvmc_model::language_model::{Ending, Limits, ModelError};
use tvmc_model::sampler::{Sampler, Settings};
use tvmc_model::tokenizer::Special;

pub use tvmc_model::chat_template::Message;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct ModelSettings {
    /// Where it runs.
    pub machine: Machine,
    /// Length of the context in tokens; the model's own, up to 8192, if none is given.
    pub context: Option<u32>,
    /// What activations are where they enter products.
    pub activations: ActivationStorage,
    /// What the cache of keys and values holds: the name of a dtype or a format, as `f16` or `q8_0`; the program's own choice if none is given.
    pub cache: Option<String>,
    /// A `.tile` file or `.tvm` module whose program runs the model, instead of the one for its architecture.
    pub program: Option<PathBuf>,
}

/// What activations are where they enter products.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ActivationStorage {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers with a scale for 32 of them.
    #[default]
    Q8,
}

/// How an answer is made.
#[derive(Clone, Debug)]
pub struct Generate {
    /// Most tokens.
    pub tokens: usize,
    /// Texts that end it; they are not part of the answer.
    pub stops: Vec<String>,
    /// How tokens are chosen; the default takes the likeliest.
    pub sampling: Settings,
}

impl Default for Generate {
    fn default() -> Self {
        let sampling = Settings { temperature: 0.0, ..Settings::default() };
        Self { tokens: 128, stops: Vec::new(), sampling }
    }
}

/// A model, ready.
pub struct Model {
    loaded: Loaded,
    sampler: Sampler,
}

impl Model {
    /// Loads a model: the name of one that can be fetched (and is, once), or the path of a GGUF file.
    pub fn load(model: &str, settings: &ModelSettings) -> Result<Self, Error> {
        let options = ModelOptions {
            model: model.to_owned(),
            program: settings.program.clone(),
            ctx: settings.context,
            act: match settings.activations {
                ActivationStorage::F32 => Activations::F32,
                ActivationStorage::F16 => Activations::F16,
                ActivationStorage::Q8 => Activations::Q8,
            },
            kv: settings.cache.clone(),
            machine: settings.machine.options(),
        };
        let loaded = step(|| models::load(&options, &Arc::new(AtomicBool::new(false))))?;
        let sampler = sampler(&Settings::default())?;
        Ok(Self { loaded, sampler })
    }

    /// The token ids of a text. Control tokens that it spells are taken as such.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.loaded.model.tokenizer().encode(text, Special::Parse).map_err(ModelError::from)?)
    }

    /// The text of token ids.
    pub fn text(&self, ids: &[u32]) -> Result<String, Error> {
        Ok(self.loaded.model.tokenizer().decode(ids).map_err(ModelError::from)?)
    }

    /// Tokens that fit the context.
    pub fn context(&self) -> usize {
        self.loaded.model.context()
    }

    /// The logits of the token after a text, one for each token of the vocabulary.
    pub fn logits(&mut self, prompt: &str) -> Result<Vec<f32>, Error> {
        let ids = self.tokenize(prompt)?;
        let known = self.loaded.model.resume(&ids);
        let rows = model_step(|| self.loaded.model.feed(&ids[known..], 1))?;
        Ok(rows.row(0).ok_or(ModelError::Interface("logits"))?.to_vec())
    }

    /// Continues a text.
    pub fn generate(&mut self, prompt: &str, options: &Generate) -> Result<Answer<'_>, Error> {
        let ids = self.tokenize(prompt)?;
        self.answer(&ids, options)
    }

    /// Answers a conversation, laid out by the template that the model's file carries.
    pub fn chat(&mut self, messages: &[Message], options: &Generate) -> Result<Answer<'_>, Error> {
        let template = self.loaded.template.as_ref().map_err(|why| Error::Input(why.clone()))?;
        let text = template.render(messages, true).map_err(|error| Error::Input(error.to_string()))?;
        let ids = self.tokenize(&text)?;
        self.answer(&ids, options)
    }

    fn answer(&mut self, prompt: &[u32], options: &Generate) -> Result<Answer<'_>, Error> {
        if options.stops.iter().any(String::is_empty) {
            return Err(Error::Input("a stop text is empty".to_owned()));
        }
        self.sampler = sampler(&options.sampling)?;
        let known = self.loaded.model.resume(prompt);
        prompt[..known].iter().for_each(|token| self.sampler.observe(*token));
        let limits = Limits { tokens: options.tokens, stops: options.stops.clone() };
        Ok(Answer { generation: self.loaded.model.answer(&prompt[known..], &mut self.sampler, &limits) })
    }
}

fn sampler(settings: &Settings) -> Result<Sampler, Error> {
    Sampler::new(settings.clone()).map_err(|error| Error::Input(error.to_string()))
}

/// An answer as it comes: an iterator of tokens, each with the text that became certain with it.
pub struct Answer<'m> {
    generation: Generation<'m, Engine>,
}

impl Answer<'_> {
    /// The whole text, to its end.
    pub fn into_text(mut self) -> Result<(String, Ending), Error> {
        for token in &mut self {
            token?;
        }
        let (generated, _) = self.generation.finish();
        Ok((generated.text, generated.ending))
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        model_step(|| self.generation.next().transpose()).transpose()
    }
}
