//! The targets: what is made for each, and the laws that judging holds it to.
//!
//! | target | input | made by | laws beside "no panic, bounded" |
//! |---|---|---|---|
//! | `source` | bytes of a source file | bytes of sources changed | what parses prints, reads back with the same meaning, prints the same again; instances verify and lower to verified lane IR |
//! | `tokens` | a source | words of sources changed | as `source` |
//! | `ir` | tile, lane, program or machine IR, interfaces | words of IR texts changed | what verifies prints, reads back, and compiles on every backend or gives a typed error; machines agree |
//! | `module` | a `.tvm` file | bytes changed, length and checksum repaired | what is read writes back to the same bytes |
//! | `gguf` | a GGUF file | bytes changed | tensors lie in the file; tokenizers decode what they encode or refuse; templates render |
//! | `safetensors` | a safetensors file | bytes changed, length repaired | tensors lie in the file |
//! | `npy` | an array file | bytes changed, length repaired | what is read writes and reads back |
//! | `template` | a chat template | words of templates changed | no panic inside the engine either |
//! | `prompt` | text | bytes of texts changed | a byte-level tokenizer gives the text back |
//! | `kernels` | a tape of decisions | drawn | all machines agree |
//! | `programs` | a seed | drawn | all machines agree |

mod files;
mod ir;
mod language;
mod machines;
mod text;

use crate::report::Coverage;
use crate::trial::{MEMORY_CAP, TIME_CAP};
use clap::ValueEnum;
use std::time::Duration;
use tvmc_tests::random::Random;

/// How far judging goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Depth {
    /// What is fast.
    Quick,
    /// Everything: most costs are in what a sound input goes through afterwards.
    Full,
}

/// What became of an input that broke no law.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// An error with words.
    Refused,
    /// It was sound.
    Accepted,
    /// It was refused, but left something running: this process should end soon.
    Stuck,
}

/// A target with what it needs.
pub trait Fuzzed {
    /// An input: a function of the random numbers alone.
    fn make(&mut self, random: &mut Random) -> Vec<u8>;

    /// Bytes that judging may take over the size of the input.
    fn memory_cap(&self) -> usize {
        MEMORY_CAP
    }

    /// How long judging may take.
    fn time_cap(&self) -> Duration {
        TIME_CAP
    }

    /// Judges an input; an error says which law it broke, up to a colon, and then how.
    fn judge(&mut self, input: &[u8], depth: Depth, coverage: &mut Coverage) -> Result<Outcome, String>;
}

/// The name of a target.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, ValueEnum)]
pub enum Target {
    /// Bytes of a source file.
    Source,
    /// Words of a source file.
    Tokens,
    /// IR texts.
    Ir,
    /// `.tvm` files.
    Module,
    /// GGUF files.
    Gguf,
    /// safetensors files.
    #[value(name = "safetensors")]
    SafeTensors,
    /// Array files.
    Npy,
    /// Chat templates.
    Template,
    /// Prompts.
    Prompt,
    /// Random tile kernels on every machine.
    Kernels,
    /// Random sources on every machine.
    Programs,
}

impl Target {
    /// Every target.
    pub fn all() -> &'static [Target] {
        Target::value_variants()
    }

    /// As the command line has it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Of how many inputs one is judged in full.
    pub fn full_one_in(self) -> u64 {
        match self {
            Target::Source | Target::Tokens => 64,
            Target::Ir | Target::Template => 16,
            Target::Gguf => 8,
            Target::Module | Target::SafeTensors | Target::Npy | Target::Prompt => 1,
            Target::Kernels | Target::Programs => 1,
        }
    }

    /// A worker that shows no new number for so long hangs: it may spend its cap on one input, and some more on making it smaller.
    pub fn hang(self) -> Duration {
        match self {
            Target::Ir | Target::Kernels | Target::Programs => machines::TIME_CAP * 2,
            Target::Source
            | Target::Tokens
            | Target::Module
            | Target::Gguf
            | Target::SafeTensors
            | Target::Npy
            | Target::Template
            | Target::Prompt => TIME_CAP * 3,
        }
    }

    /// Whether it mutates files; the others run programs.
    pub fn is_files(self) -> bool {
        !matches!(self, Target::Kernels | Target::Programs)
    }

    /// Makes it ready.
    pub fn open(self) -> Box<dyn Fuzzed> {
        match self {
            Target::Source => Box::new(language::Language::of_bytes()),
            Target::Tokens => Box::new(language::Language::of_words()),
            Target::Ir => Box::new(ir::Ir::open()),
            Target::Module => Box::new(files::Modules::open()),
            Target::Gguf => Box::new(files::Gguf::open()),
            Target::SafeTensors => Box::new(files::SafeTensors::open()),
            Target::Npy => Box::new(files::Npy::open()),
            Target::Template => Box::new(text::Templates::open()),
            Target::Prompt => Box::new(text::Prompts::open()),
            Target::Kernels => Box::new(machines::Kernels::open()),
            Target::Programs => Box::new(machines::Programs::open()),
        }
    }
}

/// Input `number` of a run.
pub fn make(fuzzed: &mut dyn Fuzzed, seed: u64, number: u64) -> Vec<u8> {
    // Neighbouring numbers give unrelated sequences: the generator mixes its state.
    fuzzed.make(&mut Random::new(seed.rotate_left(32) ^ number.wrapping_mul(0xd134_2543_de82_ef95)))
}
