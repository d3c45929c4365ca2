//! What the text forms of all IRs share, those of backends included: tokens, a reading cursor, quoted strings.
//!
//! Law: [`Quoted`] and the lexer's strings are inverse to each other for every string.
//!
//! | file | what it does |
//! |---|---|
//! | `lexer` | text to tokens |
//! | `cursor` | one token of look-ahead, expectations, numbers, numbered entities |
//! | `expr` | host expressions |

mod cursor;
mod expr;
mod lexer;

use std::fmt::{self, Write as _};

pub use cursor::{Cursor, Parsed, decimal, f32_bits, i32_value, i64_value};
pub(crate) use expr::{MAX_DEPTH as MAX_EXPR_DEPTH, expr, is_reserved};
pub use lexer::Token;

/// Why a text cannot be read, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// A string in double quotes with the escapes `\"`, `\\`, `\n` and `\u{hex}`.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// A name as it is where it is one word, else in quotes.
pub struct Name<'a>(pub &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}
