//! Syntax errors in people's words.
//!
//! The generated parser says which terminals would have fitted: often thirty of them. This module folds them: all that
//! begins an expression becomes "an expression", operators are dropped where the expression could simply end, and soft
//! keywords that are only names become "a name". It also knows a few mistakes that people bring from other languages.
//!
//! Example: after `x[0` at `..` the parser expects 24 terminals; the message is "expected `,`, `]` or `+:`, found `..`", with the
//! help that a slice is written `start +: size`.

use super::build::SyntaxError;
use crate::diag::{Code, Diagnostic, closest};
use crate::span::Span;
use crate::token::{SOFT_KEYWORDS, Tok, Token};

/// Terminals that continue an expression; named only if nothing else fits.
const OPERATORS: &[&str] = &[
    "||", "&&", "|", "^", "&", "==", "!=", "<", "<=", ">", ">=", "<<", ">>", "+", "-", "*", "/", "%", "as",
    "[", "(", ".", "+=", "-=", "*=", "/=", "wrap", "saturate", "@",
];

/// Terminals that begin an expression.
const EXPRESSION: &[&str] =
    &["name", "int", "float", "inf", "nan", "true", "false", "zeros", "shared", "buffer", "(", "-", "!", "~"];

/// Terminals that begin a statement, beside names.
const STATEMENT: &[&str] = &[
    "let",
    "var",
    "for",
    "while",
    "if",
    "break",
    "return",
    "assert",
    "static_assert",
    "assume",
    "print",
    "const",
    "hyper",
    "weight",
    "state",
    "input",
    "output",
];

/// The message for a missing `;`. `next` is the token after it.
pub(super) fn missing_semicolon(span: Span, next: Option<&Token>) -> Diagnostic {
    let d = Diagnostic::error(Code::MissingSemicolon, "expected `;` at the end of this statement")
        .at(span, "put a `;` here");
    match next {
        Some(token) if token.first_on_line || token.span.is_empty() => d,
        Some(token) => d.also(token.span, "before this"),
        None => d,
    }
}

/// The message for any other place where the grammar could not go on.
pub(super) fn diagnose(error: &SyntaxError, tokens: &[Token], text: &str) -> Diagnostic {
    let index = match error.found {
        Some(found) => {
            tokens.partition_point(|t| (t.span.start, t.span.end) < (found.span.start, found.span.end))
        }
        None => tokens.len(),
    };
    let before = index.checked_sub(1).map(|i| tokens[i]);
    let word = |token: &Token| &text[token.span.range()];
    let expected: Vec<&str> =
        error.expected.iter().map(|e| e.trim_start_matches('"').trim_end_matches('"')).collect();
    let wanted = describe(&expected, before.map(|t| t.tok));

    let found = match error.found {
        None => "the end of the item".to_owned(),
        Some(found) => describe_found(found.tok, &text[found.span.range()]),
    };
    let span = match (error.found, before) {
        (Some(found), _) => found.span,
        (None, Some(before)) => before.span.end_point(),
        (None, None) => tokens.first().map_or(Span::default(), |t| t.span),
    };
    let tok = error.found.map(|f| f.tok);

    // After a complete comparison an operator fits, but not a second one of the same level.
    let second = match tok {
        Some(Tok::Lt | Tok::Le | Tok::Gt | Tok::Ge) => !expected.contains(&"<"),
        Some(Tok::EqEq | Tok::NotEq) => !expected.contains(&"=="),
        _ => false,
    };
    if second && expected.contains(&"&&") {
        return Diagnostic::error(Code::ComparisonChain, "comparisons do not chain")
            .at(span, "second comparison")
            .help("write `a < b && b < c`, or put parentheses around one of them");
    }

    let mut d = Diagnostic::error(Code::UnexpectedToken, format!("expected {wanted}, found {found}"))
        .at(span, format!("expected {wanted}"));
    if let Some(open) =
        enclosing(tokens, index).filter(|_| expected.iter().any(|e| matches!(*e, ")" | "]" | "}")))
    {
        d = d.also(open.span, format!("inside this `{}`", word(&open)));
    }
    match help(tok, before, &expected, tokens, index, &word) {
        Some(help) => d.help(help),
        None => d,
    }
}

/// The bracket that is open before the token at `index`.
fn enclosing(tokens: &[Token], index: usize) -> Option<Token> {
    let mut depth = 0usize;
    for token in tokens[..index].iter().rev() {
        if token.tok.closing().is_some() {
            if depth == 0 {
                return Some(*token);
            }
            depth -= 1;
        } else if matches!(token.tok, Tok::ParenClose | Tok::BracketClose | Tok::BraceClose | Tok::SetClose) {
            depth += 1;
        }
    }
    None
}

fn describe_found(tok: Tok, text: &str) -> String {
    match tok {
        Tok::Int | Tok::Float => format!("the number `{}`", short(text)),
        Tok::Str => "a string".to_owned(),
        Tok::Dtype => format!("the type `{text}`"),
        tok if tok.is_keyword() => format!("the keyword `{text}`"),
        _ => format!("`{}`", short(text)),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(32) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text.to_owned(),
    }
}

/// A list such as "`,`, `)` or an expression".
fn describe(expected: &[&str], before: Option<Tok>) -> String {
    let has = |terminal: &str| expected.contains(&terminal);
    let mut left: Vec<&str> = expected.to_vec();
    let mut words = Vec::new();
    let drop = |left: &mut Vec<&str>, set: &[&str]| left.retain(|e| !set.contains(e));
    if has("let") {
        words.push("a statement".to_owned());
        drop(&mut left, STATEMENT);
        drop(&mut left, EXPRESSION);
        drop(&mut left, SOFT_KEYWORDS);
    } else if has("int") {
        words.push("an expression".to_owned());
        drop(&mut left, EXPRESSION);
        drop(&mut left, SOFT_KEYWORDS);
        drop(&mut left, &["dtype"]);
    } else if has("name") {
        words.push(if has("dtype") { "a type" } else { "a name" }.to_owned());
        drop(&mut left, &["name", "dtype"]);
        drop(&mut left, SOFT_KEYWORDS);
    } else if has("dtype") {
        words.push("a dtype".to_owned());
        drop(&mut left, &["dtype"]);
    }
    // After a complete expression operators always fit, so they say nothing; after a keyword `(` says something.
    let after_expression = has("*") && has("+");
    if after_expression || before.is_some_and(Tok::is_name) && left.len() > 3 {
        let plain: Vec<&str> = left.iter().copied().filter(|e| !OPERATORS.contains(e)).collect();
        if !plain.is_empty() || !words.is_empty() {
            left = plain;
        }
    }
    for e in left {
        words.push(match e {
            "str" => "a string".to_owned(),
            "set{" => "`{`".to_owned(),
            "set}" => "`}`".to_owned(),
            other => format!("`{other}`"),
        });
    }
    if words.len() > 1 {
        // A layout may follow every type; it is rarely what is missing.
        words.retain(|w| w != "`@`");
    }
    // What closes is what people look for; it stands last.
    words.sort_by_key(|w| {
        (w.starts_with('`'), matches!(w.as_str(), "`)`" | "`]`" | "`}`" | "`;`"), w.clone())
    });
    words.dedup();
    match words.as_slice() {
        [] => "something else".to_owned(),
        [one] => one.clone(),
        [many @ .., last] => format!("{} or {last}", many.join(", ")),
    }
}

/// What to do, where the mistake is a known one.
fn help<'t>(
    tok: Option<Tok>,
    before: Option<Token>,
    expected: &[&str],
    tokens: &[Token],
    index: usize,
    word: &dyn Fn(&Token) -> &'t str,
) -> Option<String> {
    let has = |terminal: &str| expected.contains(&terminal);
    let tok = tok?;
    match tok {
        Tok::DotDot if has("+:") => {
            Some("a slice is written `start +: size`, a whole dimension `..`".to_owned())
        }
        Tok::Colon if has("+:") => Some("a slice is written `start +: size`".to_owned()),
        Tok::Dtype if has("int") && tokens.get(index + 1).is_some_and(|t| t.tok == Tok::ParenOpen) => {
            Some(format!("a conversion is written `x as {}`", word(&tokens[index])))
        }
        Tok::Dtype if has("name") && !has("dtype") => {
            Some(format!("`{}` is a dtype, so nothing else can have this name", word(&tokens[index])))
        }
        Tok::Assign if has("==") => Some("to compare, write `==`".to_owned()),
        Tok::BracketOpen if before.is_some_and(|t| t.tok == Tok::Dtype || t.tok.is_name()) && has("*") => {
            Some("after `as T` an index list needs parentheses: `(x as T)[..]`".to_owned())
        }
        Tok::Semicolon if before.is_some_and(|t| t.tok == Tok::BraceClose) => {
            Some("no `;` stands after a block".to_owned())
        }
        Tok::Plus if has("int") => Some("there is no sign `+`".to_owned()),
        Tok::Arrow | Tok::And if has("name") && has("dtype") => {
            Some("there are no references: a tensor is always passed as memory".to_owned())
        }
        tok if tok.is_keyword() && has("name") => {
            Some(format!("`{}` is a keyword, so nothing else can have this name", word(&tokens[index])))
        }
        tok if tok.is_name() => {
            let before = before?;
            let previous = word(&before);
            if before.tok == Tok::Let && word(&tokens[index]) == "mut" {
                return Some("a variable that changes is made with `var`".to_owned());
            }
            if matches!(before.tok, Tok::Ident) && previous == "mut" {
                return Some("a variable that changes is made with `var`".to_owned());
            }
            let words = expected.iter().copied().filter(|e| e.starts_with(|c: char| c.is_ascii_alphabetic()));
            let near = if before.tok == Tok::Ident && begins_statement(tokens, index - 1) {
                closest(previous, STATEMENT.iter().copied())
            } else {
                closest(word(&tokens[index]), words)
            };
            near.map(|keyword| format!("did you mean `{keyword}`?"))
        }
        _ => None,
    }
}

/// Whether the token at `index` is the first of its statement.
fn begins_statement(tokens: &[Token], index: usize) -> bool {
    index
        .checked_sub(1)
        .is_some_and(|i| matches!(tokens[i].tok, Tok::Semicolon | Tok::BraceOpen | Tok::BraceClose))
}
