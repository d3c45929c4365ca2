//! The standard library's sources, embedded: kernels, formats and programs in the language itself.
//!
//! | module | what it holds |
//! |---|---|
//! | `math` | elementary functions; always in scope |
//! | `formats/gguf`, `formats/gguf_iq` | the number formats of GGUF files; always in scope |
//! | `gguf_grids` | tables that the latter needs |
//! | `formats/activations` | formats that kernels store to; always in scope |
//! | `random` | random numbers from a counter |
//! | `linear`, `nn`, `quantize` | kernels |
//! | `models/llama` | whole transformers |
//!
//! ```
//! assert!(tvmc_stdlib::module("linear").is_some());
//! assert_eq!(tvmc_stdlib::program_for("llama"), Some(("models/llama", "llama")));
//! ```
#![forbid(unsafe_code)]

/// A module's name (what `use` takes) and its source.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// Path below the library's root, without `.tile`.
    pub name: &'static str,
    /// Source text.
    pub source: &'static str,
}

/// Every module.
pub const MODULES: &[Module] = &[
    Module { name: "math", source: include_str!("../math.tile") },
    Module { name: "random", source: include_str!("../random.tile") },
    Module { name: "formats/gguf", source: include_str!("../formats/gguf.tile") },
    Module { name: "formats/gguf_iq", source: include_str!("../formats/gguf_iq.tile") },
    Module { name: "gguf_grids", source: include_str!("../formats/gguf_grids.tile") },
    Module { name: "formats/activations", source: include_str!("../formats/activations.tile") },
    Module { name: "linear", source: include_str!("../linear.tile") },
    Module { name: "quantize", source: include_str!("../quantize.tile") },
    Module { name: "nn", source: include_str!("../nn.tile") },
    Module { name: "models/llama", source: include_str!("../models/llama.tile") },
];

/// Modules that every file sees without a `use`.
pub const PRELUDE: &[&str] = &["math", "formats/gguf", "formats/gguf_iq", "formats/activations"];

/// Which program runs a model file, by the architecture that the file names: architecture, module, program.
const PROGRAMS: &[(&str, &str, &str)] = &[("llama", "models/llama", "llama")];

/// The generic parameter of a program that says how it stores activations which enter a product.
pub const ACTIVATION_PARAMETER: &str = "A";

/// The generic parameter of a program that says what its cache of keys and values holds.
pub const CACHE_PARAMETER: &str = "KV";

/// The format for activations of 8 bits.
pub const ACTIVATIONS_OF_8_BITS: &str = "act8";

/// The module with this name.
pub fn module(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|m| m.name == name).map(|m| m.source)
}

/// Module and program for an architecture.
pub fn program_for(architecture: &str) -> Option<(&'static str, &'static str)> {
    PROGRAMS.iter().find(|(a, ..)| *a == architecture).map(|(_, module, program)| (*module, *program))
}

/// The architectures that have a program.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(architecture, ..)| *architecture)
}
