//! Source text to syntax tree: spans, diagnostics, lexer, grammar, AST.
//!
//! [`parse`] is total: any text gives a tree and the list of everything that is wrong with it. Names, types and
//! shapes are not looked at here; dtypes are carried as text.
//!
//! Reading order: [`span`], [`source`], [`diag`], [`token`], [`lexer`], [`ast`], [`parser`], [`mod@print`].
//!
//! ```
//! let mut sources = tvmc_lang::source::SourceMap::new();
//! let id = sources.add("twice.tile", "fn twice(x: f32) -> f32 { return 2.0 * x; }").unwrap();
//! let parsed = tvmc_lang::parse(id, sources.source(id).text());
//! assert!(parsed.diagnostics.is_empty());
//! assert_eq!(parsed.file.items.len(), 1);
//! ```
#![forbid(unsafe_code)]

pub mod ast;
pub mod diag;
pub mod lexer;
pub mod limits;
mod literal;
pub mod parser;
pub mod print;
pub mod source;
pub mod span;
pub mod token;

pub use parser::{Parsed, parse};
