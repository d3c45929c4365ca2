//! The syntax tree: plain data, a span on every node, nothing resolved.
//!
//! A [`File`] owns its items, and one arena with all its expressions; an [`ExprId`] indexes that file (`file[id]`).
//! Names are text, dtypes too ([`TypeName::Dtype`]): what they mean is for the semantic analysis. Parentheses make
//! no node, only a note for the printer: the shape of the tree says it all.
//!
//! Invariants of a tree that [`crate::parse`] made:
//! * an `ExprId` refers to an expression made before its user, so the tree has no cycles;
//! * nesting is at most [`crate::limits::MAX_NESTING`] for blocks and as much for expressions, so a recursive walk is safe;
//! * [`ExprKind::Error`] and [`StmtKind::Error`] occur only if there is an error among the diagnostics;
//! * [`ExprKind::List`] occurs only in the value of a [`Table`], and a store target never has an `else` value.
//!
//! `x[m, k +: BK else -inf]` is `Index { base: x, indices: [Point(m), Slice(k, BK)], fill: Some(-inf) }`: the fill value
//! belongs to the whole load, not to one index.

mod expr;
mod item;
mod stmt;

pub use expr::*;
pub use item::*;
pub use stmt::*;

use crate::span::{SourceId, Span};
use std::ops::Index;

/// A name with its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Where it is written.
    pub span: Span,
}

/// A string literal, its escapes decoded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Str {
    /// The characters.
    pub value: String,
    /// Where it is written, quotes included.
    pub span: Span,
}

/// A comment of the source, kept beside the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Comment {
    /// From its first slash to the end of its line.
    pub span: Span,
    /// Whether it is written with three slashes.
    pub doc: bool,
}

/// One source file.
#[derive(Clone, PartialEq, Debug)]
pub struct File {
    /// Which file.
    pub source: SourceId,
    /// The doc comment about the file as a whole: the first one, if an empty line follows it.
    pub docs: Vec<String>,
    /// The items in source order.
    pub items: Vec<Item>,
    /// All expressions.
    pub exprs: Exprs,
    /// All comments in source order, doc comments included.
    pub comments: Vec<Comment>,
}

impl Index<ExprId> for File {
    type Output = Expr;
    fn index(&self, id: ExprId) -> &Expr {
        &self.exprs[id]
    }
}
