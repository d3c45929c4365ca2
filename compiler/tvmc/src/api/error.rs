//! Errors of the API.

use crate::commands::Failure;
use crate::output::{Said, captured};
use tvmc_model::executor::DeviceError;
use tvmc_model::language_model::ModelError;

/// Why a call of the API gives no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source has mistakes; the text is what the command prints: each with its place and what to do.
    #[error("{diagnostics}")]
    Source {
        /// Rendered diagnostics.
        diagnostics: String,
    },
    /// An argument does not fit: its name, its length, its type, or how it fits the others.
    #[error("argument `{name}`: {why}")]
    Argument {
        /// The parameter.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Something else that the caller gave is wrong: a name, a file, a setting.
    #[error("{0}")]
    Input(String),
    /// A kernel failed while it ran: an assert, or a machine that gave up.
    #[error("{0}")]
    Launch(String),
    /// A model could not go on.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Error {
    /// What a step of the engine returned, with the diagnostics that it would have printed.
    fn of(failure: &Failure, said: Said) -> Self {
        if failure.message.is_empty() || said.errors {
            return Error::Source { diagnostics: said.text };
        }
        let help: String = failure.help.iter().map(|help| format!("; {help}")).collect();
        Error::Input(format!("{}{help}", failure.message))
    }

    /// What a launch returned.
    pub(super) fn launch(error: &DeviceError, said: Said) -> Self {
        if said.errors {
            return Error::Source { diagnostics: said.text };
        }
        Error::Launch(error.to_string())
    }
}

/// Runs a step of a model; a kernel that is compiled late may have something to say about its source.
pub(super) fn model_step<T>(run: impl FnOnce() -> Result<T, ModelError>) -> Result<T, Error> {
    let (result, said) = captured(run);
    result.map_err(
        |error| if said.errors { Error::Source { diagnostics: said.text } } else { Error::Model(error) },
    )
}

/// Runs a step of the engine; what it says about sources becomes part of the error.
pub(super) fn step<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Error> {
    let (result, said) = captured(run);
    result.map_err(|failure| Error::of(&failure, said))
}
