//! A decoder: tokens in, logits out, with the position in the context kept.
//!
//! It drives any program with this interface (as `stdlib/models/llama.tile` has):
//!
//! ```text
//! input tokens: i32[S]; input start: i32;      S tokens that follow `start` tokens already seen
//! output logits: f32[R, V];                    of the last R of them
//! number C                                     the length of the context
//! ```
//!
//! A long prompt is fed in pieces of [`PREFILL`] tokens; only the last piece asks for logits. The same tokens give the same bits however they
//! are cut, because the program's sums don't depend on S.

use crate::executor::{Call, Device, ExecutorError, Session};
use crate::generation::Generation;
use crate::logits::{LogitsError, Rows};
use crate::sampler::{Sampler, SamplerError};
use crate::tokenizer::{Tokenizer, TokenizerError};
use std::sync::Arc;
use tvmc_ir::host::Number;

/// Tokens of a prompt that are fed at once.
pub const PREFILL: usize = 512;

/// Why a model gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The program could not run.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// Text and tokens don't go together.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// No token can be chosen.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The logits make no sense.
    #[error(transparent)]
    Logits(#[from] LogitsError),
    /// The conversation is longer than the context.
    #[error(
        "{needed} tokens do not fit the context of {context}: shorten the text, or give a longer one with --ctx"
    )]
    ContextFull {
        /// Tokens needed.
        needed: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// No tokens were given.
    #[error("the prompt is empty: a model needs at least one token")]
    EmptyPrompt,
    /// The program is no language model.
    #[error("the program has no `{0}`, which a language model needs")]
    Interface(&'static str),
}

/// Why generation ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The model said so.
    EndOfText,
    /// The wanted number of tokens.
    Length,
    /// A stop text appeared.
    Stop,
    /// The listener asked for it.
    Interrupted,
    /// The context is full.
    ContextFull,
}

/// What a listener answers to a piece of text.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// Go on.
    More,
    /// End here.
    Enough,
}

/// Choices of a generation.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Most tokens to generate.
    pub tokens: usize,
    /// Texts that end it; they are not part of the answer.
    pub stops: Vec<String>,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Token ids, without the one that ended it.
    pub ids: Vec<u32>,
    /// Their text.
    pub text: String,
    /// Why it ended.
    pub ending: Ending,
}

/// See the module head.
pub struct LanguageModel<D: Device> {
    session: Session<D>,
    tokenizer: Arc<Tokenizer>,
    context: usize,
    /// The tokens whose keys and values the cache holds.
    fed: Vec<u32>,
    bytes: Vec<u8>,
}

impl<D: Device> LanguageModel<D> {
    /// Puts a loaded program and its tokenizer together.
    pub fn new(session: Session<D>, tokenizer: Tokenizer) -> Result<Self, ModelError> {
        let context = match session.number("C") {
            Some(Number::Int(context)) if context > 0 => context as usize,
            Some(Number::Int(_) | Number::Float(_) | Number::Bool(_)) | None => {
                return Err(ModelError::Interface("C"));
            }
        };
        Ok(Self { session, tokenizer: Arc::new(tokenizer), context, fed: Vec::new(), bytes: Vec::new() })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The session.
    pub fn session(&self) -> &Session<D> {
        &self.session
    }

    /// The session, to set how it works.
    pub fn session_mut(&mut self) -> &mut Session<D> {
        &mut self.session
    }

    /// Tokens that fit.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Tokens seen so far.
    pub fn position(&self) -> usize {
        self.fed.len()
    }

    /// Starts again with an empty context. What the cache holds is past the position and never looked at.
    pub fn reset(&mut self) {
        self.fed.clear();
    }

    /// Goes back to the first `position` tokens.
    pub fn rewind(&mut self, position: usize) {
        self.fed.truncate(position);
    }

    /// Goes back to what the context and a prompt have in common and gives how many tokens of the prompt that is: the rest is what [`Self::feed`]
    /// wants. At least one token is left, for its logits.
    pub fn resume(&mut self, prompt: &[u32]) -> usize {
        let same = std::iter::zip(&self.fed, prompt).take_while(|(a, b)| a == b).count();
        self.rewind(same.min(prompt.len().saturating_sub(1)));
        self.position()
    }

    /// Feeds tokens; gives the logits of the last `rows` of them (at most [`PREFILL`]).
    pub fn feed(&mut self, tokens: &[u32], rows: usize) -> Result<Rows, ModelError> {
        if tokens.is_empty() || rows == 0 {
            return Err(ModelError::EmptyPrompt);
        }
        let needed = self.position() + tokens.len();
        if needed > self.context {
            return Err(ModelError::ContextFull { needed, context: self.context });
        }
        let rows = rows.min(tokens.len()).min(PREFILL);
        // The last piece holds all rows that are asked for.
        let last = tokens.len() - rows;
        let mut at = 0;
        while at < last {
            let end = (at + PREFILL).min(last);
            if tokens.len() - at <= PREFILL {
                break;
            }
            self.step(&tokens[at..end], 1)?;
            at = end;
        }
        self.step(&tokens[at..], rows)?;
        let shape = self.session.output("logits", &mut self.bytes)?;
        let width = shape.last().copied().unwrap_or(0) as usize;
        Ok(Rows::from_bytes(&self.bytes, width))
    }

    fn step(&mut self, tokens: &[u32], rows: usize) -> Result<(), ModelError> {
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        let call = Call {
            numbers: vec![
                ("S", Number::Int(tokens.len() as i64)),
                ("R", Number::Int(rows as i64)),
                ("start", Number::Int(self.position() as i64)),
            ],
            tensors: vec![("tokens", &bytes)],
            shapes: Vec::new(),
        };
        self.session.call(&call)?;
        self.fed.extend(tokens);
        Ok(())
    }

    /// Feeds a prompt and generates. `listen` gets text as soon as it is certain not to be part of a stop text.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampler: &mut Sampler,
        limits: &Limits,
        listen: &mut dyn FnMut(&str) -> Listen,
    ) -> Result<Generated, ModelError> {
        let mut generation = self.answer(prompt, sampler, limits);
        let mut enough = false;
        while !enough && let Some(token) = generation.next() {
            let text = token?.text;
            enough = !text.is_empty() && listen(&text) == Listen::Enough;
        }
        let (generated, rest) = generation.finish();
        if !enough && !rest.is_empty() {
            listen(&rest);
        }
        Ok(generated)
    }

    /// Feeds a prompt and generates, token by token.
    pub fn answer<'m>(
        &'m mut self,
        prompt: &[u32],
        sampler: &'m mut Sampler,
        limits: &Limits,
    ) -> Generation<'m, D> {
        Generation::new(self, prompt, sampler, limits)
    }

    /// The tokenizer, to keep.
    pub fn shared_tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.tokenizer)
    }
}
