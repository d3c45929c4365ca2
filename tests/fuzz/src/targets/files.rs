//! Files that come from strangers: bytes changed, then lengths and checksums repaired so that readers look further.

use super::{Depth, Fuzzed, Outcome};
use crate::corpus;
use crate::mutate;
use crate::report::Coverage;
use sha2::{Digest, Sha256};
use tvmc_ir::module;
use tvmc_model::chat_template::{ChatTemplate, ChatTemplateError, Message};
use tvmc_model::tokenizer::{Special, Tokenizer};
use tvmc_tests::random::Random;
use tvmc_weights::npy::NpyArray;
use tvmc_weights::{FileBytes, Weights};

/// `.tvm` files.
pub struct Modules(Vec<Vec<u8>>);

impl Modules {
    /// Ready to run.
    pub fn open() -> Self {
        Self(corpus::modules())
    }
}

impl Fuzzed for Modules {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        let mut file = mutate::bytes(random, &self.0, corpus::IR_WORDS);
        if random.below(16) != 0 && file.len() > 24 + 32 {
            let (length, end) = (file.len() as u64, file.len() - 32);
            file[16..24].copy_from_slice(&length.to_le_bytes());
            let sum = Sha256::digest(&file[..end]);
            file[end..].copy_from_slice(&sum);
        }
        file
    }

    fn judge(&mut self, input: &[u8], _: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        let Ok(read) = module::read(input) else { return Ok(Outcome::Refused) };
        if module::write(&read) != input {
            return Err("a module writes back to other bytes: ".into());
        }
        match read.check() {
            Ok(()) => Ok(Outcome::Accepted),
            Err(error) => Err(format!("a module that was read is not sound: {error}")),
        }
    }
}

/// Judges a weight file as every command does that opens one: names, shapes, and the bytes of every tensor.
fn weights(input: &[u8]) -> Result<Option<Weights>, String> {
    let bytes = match FileBytes::from_slice(input) {
        Ok(bytes) => bytes,
        // Nothing is no file.
        Err(_) => return Ok(None),
    };
    let weights = match Weights::from_bytes("fuzz".as_ref(), bytes) {
        Ok(weights) => weights,
        Err(error) => {
            // The message is part of what a user gets: it must be printable, and not as long as the file.
            let words = error.to_string().len();
            return if words < 4096 {
                Ok(None)
            } else {
                Err(format!("a message is too long: {words} bytes"))
            };
        }
    };
    for (index, tensor) in weights.tensors().iter().enumerate() {
        let elements: u64 = tensor.shape.iter().product();
        let found = weights.tensor_bytes(index).len() as u64;
        if elements != tensor.elements()
            || found != tensor.bytes
            || weights.find(&tensor.name) != Some(tensor)
        {
            return Err(format!("a tensor is not what its record says: {tensor:?}"));
        }
    }
    Ok(Some(weights))
}

/// GGUF files.
pub struct Gguf(Vec<Vec<u8>>);

impl Gguf {
    /// Ready to run.
    pub fn open() -> Self {
        Self(corpus::ggufs())
    }
}

impl Fuzzed for Gguf {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        mutate::bytes(random, &self.0, corpus::GGUF_WORDS)
    }

    fn judge(&mut self, input: &[u8], depth: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        let Some(weights) = weights(input)? else { return Ok(Outcome::Refused) };
        let (Depth::Full, Some(metadata)) = (depth, weights.metadata()) else { return Ok(Outcome::Accepted) };
        let Ok(tokenizer) = Tokenizer::from_gguf(metadata) else { return Ok(Outcome::Accepted) };
        for special in [Special::Parse, Special::AsText] {
            if let Ok(ids) = tokenizer.encode("Hello, wörld <|im_start|>\n 12", special) {
                if let Some(id) = ids.iter().find(|id| **id as usize >= tokenizer.vocabulary_size()) {
                    return Err(format!("a token id is outside the vocabulary: {id}"));
                }
                // What it decodes to may be another text if the vocabulary lacks letters.
                let _ = tokenizer.decode(&ids);
            }
        }
        let Ok(template) = ChatTemplate::from_gguf(metadata, &tokenizer) else {
            return Ok(Outcome::Accepted);
        };
        match template.render(&[Message::new("user", "Hi")], true) {
            Err(ChatTemplateError::OutOfTime) => Ok(Outcome::Stuck),
            Ok(_) | Err(_) => Ok(Outcome::Accepted),
        }
    }
}

/// safetensors files.
pub struct SafeTensors(Vec<Vec<u8>>);

impl SafeTensors {
    /// Ready to run.
    pub fn open() -> Self {
        Self(corpus::safetensors())
    }
}

impl Fuzzed for SafeTensors {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        let mut file = mutate::bytes(random, &self.0, corpus::SAFETENSORS_WORDS);
        if random.below(8) != 0 && file.len() > 8 {
            // The header ends where its last bracket closes.
            let end = file.windows(2).rposition(|pair| pair == b"}}").map_or(file.len(), |at| at + 2);
            file[..8].copy_from_slice(&(end.saturating_sub(8) as u64).to_le_bytes());
        }
        file
    }

    fn judge(&mut self, input: &[u8], _: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        Ok(if weights(input)?.is_some() { Outcome::Accepted } else { Outcome::Refused })
    }
}

/// Array files.
pub struct Npy(Vec<Vec<u8>>);

impl Npy {
    /// Ready to run.
    pub fn open() -> Self {
        Self(corpus::arrays())
    }
}

impl Fuzzed for Npy {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        let mut file = mutate::bytes(random, &self.0, corpus::NPY_WORDS);
        if random.below(8) != 0
            && let Some(end) = file.iter().position(|byte| *byte == b'\n')
            && end > 10
        {
            file[8..10].copy_from_slice(&((end - 9) as u16).to_le_bytes());
        }
        file
    }

    fn judge(&mut self, input: &[u8], _: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        let array = match NpyArray::read(input) {
            Ok(array) => array,
            Err(error) => {
                let words = error.to_string().len();
                let fair = words < 4096 + input.len();
                return if fair {
                    Ok(Outcome::Refused)
                } else {
                    Err(format!("a message is too long: {words}"))
                };
            }
        };
        let mut written = Vec::new();
        array.write_to(&mut written).map_err(|error| format!("an array is not written: {error}"))?;
        match NpyArray::read(&written) {
            Ok(again) if again == array => Ok(Outcome::Accepted),
            Ok(_) => Err("an array reads back as another: ".into()),
            Err(error) => Err(format!("an array does not read back: {error}")),
        }
    }
}
