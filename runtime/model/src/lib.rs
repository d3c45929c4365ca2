//! The model runtime: text to token ids and back, prompts, and the choice of the next token.
//!
//! **Maps** a weight file's own metadata to a [`tokenizer::Tokenizer`] and a [`chat_template::ChatTemplate`], and a row
//! of logits to a token ([`sampler::Sampler`]). All of it treats the file and the prompt as hostile input: bounded
//! time and memory, typed errors, no panics.
//!
//! **(law)** The only loops over tensor elements in this crate are in [`sampler`] and [`logits`], over one row of
//! logits. All other arithmetic on tensors happens in compiled kernels.

#![forbid(unsafe_code)]

pub mod chat_template;
pub mod executor;
pub mod generation;
pub mod language_model;
pub mod logits;
pub mod sampler;
pub mod tokenizer;
