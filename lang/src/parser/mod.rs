//! Tokens to tree. Total: any text gives a [`File`] and every problem found in it.
//!
//! Four steps, each of which may report:
//! 1. [`crate::lexer`]: text to tokens;
//! 2. `outline`: matches brackets, supplies the missing ones, and cuts the tokens into items, so that a broken item
//!    never harms the next one and the grammar sees balanced brackets only;
//! 3. the grammar, item by item, over `build`, with recovery at `;`, `{` and `}`; where only a `;` is missing, it is put in
//!    and the item parsed again;
//! 4. `check`: which statement may stand where.
//!
//! Diagnostics are given in source order. An item whose head is broken is left out of the tree (its body is still
//! checked); a broken statement is a [`crate::ast::StmtKind::Error`].

pub(crate) mod build;
mod check;
mod expected;
mod outline;

use crate::ast::{Comment, Exprs, File, Item};
use crate::diag::{Code, Diagnostic};
use crate::limits::{MAX_DIAGNOSTICS, MAX_SOURCE_BYTES};
use crate::source::floor_char_boundary;
use crate::span::{SourceId, Span};
use crate::token::{Tok, Token};
use build::{Builder, SyntaxError, TooManyErrors};

#[allow(clippy::all, missing_docs, unused, unreachable_pub)]
mod grammar {
    include!(concat!(env!("OUT_DIR"), "/grammar.rs"));
}

/// Times an item is parsed again, each with one more `;` put in.
const MAX_REPAIRS: usize = 32;

/// Tokens that all repairs of one file together may parse again.
const REPAIR_BUDGET: usize = 4_000_000;

/// A tree and what is wrong with its source.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree; complete if there are no errors.
    pub file: File,
    /// In source order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the tree is complete.
    pub fn is_ok(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Parses one source file.
pub fn parse(source: SourceId, text: &str) -> Parsed {
    let full = text.len();
    let text = &text[..floor_char_boundary(text, MAX_SOURCE_BYTES)];
    let lexed = crate::lexer::lex(source, text);
    let mut diagnostics = lexed.diagnostics;
    if text.len() < full {
        diagnostics.push(crate::source::too_long(source, full));
    }
    let outline = outline::outline(&lexed.tokens, text);
    diagnostics.extend(outline.diagnostics);

    let mut exprs = Exprs::default();
    let mut items = Vec::new();
    let mut budget = REPAIR_BUDGET;
    for tokens in outline.items {
        let mut found = Vec::new();
        let span = tokens[0].span.to(tokens[tokens.len() - 1].span);
        let kind;
        (kind, exprs) = parse_item(source, text, tokens, exprs, &mut budget, &mut found);
        if let Some(kind) = kind {
            check::check(&kind, &exprs, &mut found);
            items.push(Item { docs: docs_above(&lexed.comments, text, span.start), kind, span });
        }
        diagnostics.extend(found);
        if diagnostics.len() > MAX_DIAGNOSTICS {
            break;
        }
    }
    finish(&mut diagnostics);
    let docs = file_docs(&lexed.comments, text, &lexed.tokens);
    Parsed { file: File { source, docs, items, exprs, comments: lexed.comments }, diagnostics }
}

/// Source order, and no more than the limit.
fn finish(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|d| d.primary_span().map(|s| s.start));
    if diagnostics.len() > MAX_DIAGNOSTICS {
        diagnostics.truncate(MAX_DIAGNOSTICS);
        let at = diagnostics[MAX_DIAGNOSTICS - 1].primary_span().unwrap_or_default();
        diagnostics.push(
            Diagnostic::error(
                Code::TooManyErrors,
                format!("more than {MAX_DIAGNOSTICS} problems; the rest is not shown"),
            )
            .at(at, "the last one shown")
            .help("mend the first ones and compile again"),
        );
    }
}

/// Parses the tokens of one item, putting in missing semicolons.
fn parse_item(
    source: SourceId,
    text: &str,
    mut tokens: Vec<Token>,
    exprs: Exprs,
    budget: &mut usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<crate::ast::ItemKind>, Exprs) {
    let parser = grammar::ItemParser::new();
    let mut builder = Builder::new(source, text, exprs);
    let errors_so_far = builder.error_count();
    let mut repairs = 0;
    loop {
        let stream = tokens.iter().map(|t| match errors_so_far.get() {
            0..=MAX_DIAGNOSTICS => Ok((t.span.start, t.tok, t.span.end)),
            _ => Err(TooManyErrors),
        });
        let kind = match parser.parse(&mut builder, stream) {
            Ok(kind) => kind,
            Err(error) => {
                builder.failed(error);
                None
            }
        };
        let errors = builder.take_errors();
        if repairs < MAX_REPAIRS && *budget >= tokens.len() {
            let repair = errors.iter().find_map(|e| semicolon_before(&tokens, e));
            if let Some(index) = repair {
                repairs += 1;
                *budget -= tokens.len();
                let span = tokens[index - 1].span.end_point();
                diagnostics.push(expected::missing_semicolon(span, tokens.get(index)));
                tokens.insert(index, Token { tok: Tok::Semicolon, span, first_on_line: false });
                builder.restart();
                continue;
            }
        }
        for error in &errors {
            // A token without width was put in for one whose lack is reported already.
            if !error.found.is_some_and(|t| t.span.is_empty()) {
                diagnostics.push(expected::diagnose(error, &tokens, text));
            }
        }
        let (exprs, found) = builder.finish();
        diagnostics.extend(found);
        return (kind, exprs);
    }
}

/// If the error is that a `;` is missing at the end of a line or before something that begins a statement: the
/// index of the token that it should precede.
fn semicolon_before(tokens: &[Token], error: &SyntaxError) -> Option<usize> {
    if !error.expects("\";\"") {
        return None;
    }
    let index = match error.found {
        None => tokens.len(),
        Some(found) => {
            tokens.partition_point(|t| (t.span.start, t.span.end) < (found.span.start, found.span.end))
        }
    };
    let ends = match tokens.get(index) {
        None => true,
        Some(t) => {
            !t.span.is_empty() && (t.first_on_line || t.tok == Tok::BraceClose || t.tok.starts_statement())
        }
    };
    // `let x;` and the like lack more than a semicolon.
    let complete = index > 0 && !tokens[index - 1].span.is_empty();
    (ends && complete).then_some(index)
}

/// The doc comment directly above a byte offset: doc lines without an empty line between, other comments skipped.
fn docs_above(comments: &[Comment], text: &str, start: u32) -> Vec<String> {
    let mut lines = Vec::new();
    let mut below = start;
    for comment in comments[..comments.partition_point(|c| c.span.end <= start)].iter().rev() {
        let gap = &text[comment.span.end as usize..below as usize];
        if !gap.trim().is_empty() || gap.matches('\n').count() > 1 {
            break;
        }
        if comment.doc {
            lines.push(doc_line(text, comment.span));
        }
        below = comment.span.start;
    }
    lines.reverse();
    lines
}

/// The doc comment that begins the file, if it belongs to no item: an empty line, or nothing, follows.
fn file_docs(comments: &[Comment], text: &str, tokens: &[Token]) -> Vec<String> {
    let first_token = tokens.first().map_or(text.len() as u32, |t| t.span.start);
    let mut lines = Vec::new();
    let mut end: Option<u32> = None;
    for comment in comments.iter().take_while(|c| c.span.end <= first_token) {
        let apart =
            end.is_some_and(|e| text[e as usize..comment.span.start as usize].matches('\n').count() > 1);
        if apart && !lines.is_empty() {
            return lines;
        }
        if comment.doc {
            lines.push(doc_line(text, comment.span));
        }
        end = Some(comment.span.end);
    }
    let gap = end.map_or("", |e| &text[e as usize..first_token as usize]);
    if tokens.is_empty() || gap.matches('\n').count() > 1 { lines } else { Vec::new() }
}

/// A doc comment's text without the slashes and one space.
fn doc_line(text: &str, span: Span) -> String {
    let line = text[span.range()].trim_start_matches('/');
    line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()
}
