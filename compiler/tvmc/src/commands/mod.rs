//! The commands, one function each. Data goes to stdout, talk to stderr; a [`Failure`] carries the exit code.

pub mod arguments;
pub mod bench;
pub mod chat;
pub mod doctor;
pub mod fmt;
pub mod kernels;
pub mod layout;
pub mod models;
pub mod module;
pub mod programs;
pub mod progress;
pub mod quantize;
pub mod random;
pub mod run;
pub mod table;
pub mod tune;
pub mod weights;

use std::io::Write;
use std::path::Path;

/// Known names that are listed where none is near.
const MOST_NAMES: usize = 24;

/// Exit code of a mistake in the user's input.
pub const USER_ERROR: u8 = 1;
/// Exit code of wrong usage.
pub const USAGE: u8 = 2;

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// For the user; empty where everything has been said.
    pub message: String,
    /// What to do about it.
    pub help: Vec<String>,
}

impl Failure {
    /// A mistake in the user's input.
    pub fn user(message: impl Into<String>) -> Self {
        Self { code: USER_ERROR, message: message.into(), help: Vec::new() }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into(), help: Vec::new() }
    }

    /// An error of a library, with what caused it.
    pub fn from_error(error: impl std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self::user(message)
    }

    /// Nothing more to say: a reader closed the pipe, or the diagnostics are printed.
    pub fn silent(code: u8) -> Self {
        Self { code, message: String::new(), help: Vec::new() }
    }

    /// Adds a line that says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Adds the known name nearest to a misspelt one, and all of them where they are few.
    pub fn did_you_mean<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match tvmc_lang::diag::closest(name, known.iter().copied()) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None if known.is_empty() => self,
            None => {
                let shown: Vec<&str> = known.iter().take(MOST_NAMES).copied().collect();
                let more = if shown.len() < known.len() { ", .." } else { "" };
                self.help(format!("there is: {}{more}", shown.join(", ")))
            }
        }
    }
}

/// Prints a JSON value on one line.
pub fn emit_json(value: &serde_json::Value) -> Result<(), Failure> {
    say(&format!("{value}\n"))
}

/// Writes to stdout at once. A closed pipe ends the command quietly.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Failure::silent(0)
        } else {
            Failure::user(format!("cannot write the output: {error}"))
        }
    })
}

/// Writes a file that a command was asked for; it is whole or not there.
pub fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    crate::files::write_whole(path, bytes)
        .map_err(|e| Failure::user(format!("cannot write {}: {e}", path.display())))
}
