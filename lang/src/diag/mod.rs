//! Diagnostics: what is wrong, where, and what to do.
//!
//! One [`Diagnostic`] type serves every stage. Its law: `code` is stable and documented ([`Code::explanation`]), the
//! message states the fact in one sentence without a full stop, the primary label marks the place to look at, and
//! `helps` say what to do next. It is plain data; [`render`] turns it into text for a terminal and a command may
//! serialise the fields as it likes.
//!
//! ```
//! use tvmc_lang::diag::{Code, Diagnostic, render};
//! use tvmc_lang::{source::SourceMap, span::Span};
//! let mut map = SourceMap::new();
//! let id = map.add("a.tile", "let y = a + 1;\n").unwrap();
//! let d = Diagnostic::error(Code::UnknownName, "there is no `a` here")
//!     .at(Span::new(id, 8, 9), "not defined")
//!     .help("define it first: `let a = ..;`");
//! assert!(render(&d, &map, false).starts_with("error[E0201]: there is no `a` here"));
//! ```

mod codes;
mod render;
mod suggest;

pub use codes::Code;
pub use render::render;
pub use suggest::{closest, edit_distance};

use crate::span::Span;
use std::panic::Location;

/// How the message of a diagnostic begins that says a mistake of the compiler itself.
pub const INTERNAL: &str = "internal error";

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Compilation cannot give a result.
    Error,
    /// Legal, but most likely not meant.
    Warning,
}

/// A marked place with a short text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is there; may be empty.
    pub text: String,
    /// Whether it is the place to look at first. The others give context.
    pub primary: bool,
}

/// One problem found in a source.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Diagnostic {
    /// Which rule of the language; stable across versions.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The fact, in one sentence.
    pub message: String,
    /// The places, the primary ones first.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub helps: Vec<String>,
    /// Further facts, such as the rule that was broken.
    pub notes: Vec<String>,
    /// Which line of the compiler says so: a test proves that each of them has a source that brings it out.
    pub origin: &'static Location<'static>,
}

impl Diagnostic {
    /// An error.
    #[track_caller]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Diagnostic {
            code,
            severity: Severity::Error,
            message,
            labels: Vec::new(),
            helps: Vec::new(),
            notes: Vec::new(),
            origin: Location::caller(),
        }
    }

    /// A warning.
    #[track_caller]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    /// Adds a primary label.
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        let place = self.labels.iter().take_while(|l| l.primary).count();
        self.labels.insert(place, Label { span, text: text.into(), primary: true });
        self
    }

    /// Adds a label that gives context.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), primary: false });
        self
    }

    /// Adds a line that says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    /// Adds a line with a further fact.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Whether the compiler itself is at fault.
    pub fn is_internal(&self) -> bool {
        self.message.starts_with(INTERNAL)
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The place to look at first.
    pub fn primary_span(&self) -> Option<Span> {
        self.labels.iter().find(|l| l.primary).or(self.labels.first()).map(|l| l.span)
    }
}
