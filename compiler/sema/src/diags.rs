//! Collects diagnostics. A problem seen twice (a loop condition is expanded twice, a kernel is tried with several formats) is reported
//! once: equal code, place and message.

use std::collections::HashSet;
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;

/// Diagnostics in the order found, without repetition.
#[derive(Default)]
pub(crate) struct Diags {
    list: Vec<Diagnostic>,
    seen: HashSet<(Code, Option<Span>, String)>,
    errors: usize,
}

impl Diags {
    /// Adds one, unless it is known.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let key = (diagnostic.code, diagnostic.primary_span(), diagnostic.message.clone());
        if self.seen.insert(key) {
            self.errors += usize::from(diagnostic.is_error());
            self.list.push(diagnostic);
        }
    }

    /// Adds an error without further labels.
    #[track_caller]
    pub fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) {
        self.push(Diagnostic::error(code, message).at(span, label));
    }

    /// Number of errors so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }
}

/// A number of things in words: `1 argument`, `2 arguments`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{s}")
}
