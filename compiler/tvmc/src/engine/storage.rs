//! What a program's parameters stand for, as the user says it.
//!
//! | option | parameter | default |
//! |---|---|---|
//! | `--act q8` | `A`: activations where they enter a product | the program's |
//! | `--kv q8_0` | `KV`: the cache of keys and values | the program's |
//!
//! Refused: a name that stores no fractions (an integer dtype, a format that does not say how it is encoded, no name at all).

use super::Library;
use crate::cli::Activations;
use crate::commands::Failure;
use std::collections::BTreeMap;
use tvmc_ir::program::MemoryElement;
use tvmc_types::dtype::DType;

/// Choices for a program's parameters, by name.
pub type ProgramChoices = BTreeMap<String, MemoryElement>;

/// The user's choices.
#[derive(Copy, Clone, Default, Debug)]
pub struct Storage<'a> {
    /// The dtype or format of activations.
    pub activations: Option<&'a str>,
    /// The dtype or format of the cache.
    pub cache: Option<&'a str>,
}

impl<'a> Storage<'a> {
    /// What `--act` and `--kv` ask for.
    pub fn of(activations: Activations, cache: Option<&'a str>) -> Self {
        let activations = match activations {
            Activations::F32 => None,
            Activations::F16 => Some(DType::F16.name()),
            Activations::Q8 => Some(tvmc_stdlib::ACTIVATIONS_OF_8_BITS),
        };
        Self { activations, cache }
    }

    /// The choices, for a program of this library.
    pub fn choices(&self, library: &Library) -> Result<ProgramChoices, Failure> {
        let mut choices = ProgramChoices::new();
        if let Some(name) = self.activations {
            let element = match DType::from_name(name) {
                Some(dtype) => MemoryElement::DType(dtype),
                None => MemoryElement::Format(name.to_owned()),
            };
            choices.insert(tvmc_stdlib::ACTIVATION_PARAMETER.to_owned(), element);
        }
        if let Some(name) = self.cache {
            let element = element(library, "--kv", tvmc_stdlib::CACHE_PARAMETER, name)?;
            choices.insert(tvmc_stdlib::CACHE_PARAMETER.to_owned(), element);
        }
        Ok(choices)
    }
}

/// What memory may hold that a kernel stores fractions to; what an option says of a parameter of the program.
pub fn element(
    library: &Library,
    option: &str,
    parameter: &str,
    name: &str,
) -> Result<MemoryElement, Failure> {
    let formats = library.stored_formats();
    match DType::from_name(name) {
        Some(dtype) if dtype.is_float() && dtype.bits() <= 32 => Ok(MemoryElement::DType(dtype)),
        None if formats.contains(&name) && !library.tensor_head(name).is_ok_and(|head| head == 0) => {
            Err(Failure::usage(format!("{option}: `{parameter}` cannot be stored as `{name}`, which has fields of the whole tensor"))
                .help("what is stored as it comes has no largest number beforehand: use a format with scales of rows or groups"))
        }
        None if formats.contains(&name) => Ok(MemoryElement::Format(name.to_owned())),
        Some(_) | None => {
            let known = ["f16", "bf16", "f32"].into_iter().chain(formats);
            Err(Failure::usage(format!("{option}: `{parameter}` cannot be stored as `{name}`"))
                .did_you_mean(name, known))
        }
    }
}
