//! Text to tokens. Total: whatever the text, it gives tokens for all that can be read and a diagnostic for the rest.
//!
//! Invariants of the result: spans are disjoint, in order, and on character boundaries; comments are beside the tokens,
//! not among them; a malformed literal still gives its token, so that the parser sees the sentence the author meant;
//! there are at most [`MAX_TOKENS`] tokens and [`MAX_DIAGNOSTICS`] diagnostics.
//!
//! Worked example: `x[0..K] // ends` gives `Ident BracketOpen Int DotDot Ident BracketClose` and one comment.

use crate::ast::Comment;
use crate::diag::{Code, Diagnostic};
use crate::limits::{MAX_DIAGNOSTICS, MAX_TOKENS};
use crate::literal::{self, Number, NumberError};
use crate::span::{SourceId, Span};
use crate::token::{Tok, Token, is_dtype};
use logos::Logos;

/// What [`lex`] found.
#[derive(Clone, Debug, Default)]
pub struct Lexed {
    /// In source order.
    pub tokens: Vec<Token>,
    /// In source order.
    pub comments: Vec<Comment>,
    /// In source order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Lexed {
    /// Tokens and comments in source order, each with the name of its kind.
    pub fn words(&self) -> Vec<(Span, String)> {
        let comment = |c: &Comment| (c.span, if c.doc { "Doc".to_owned() } else { "Comment".to_owned() });
        let tokens = self.tokens.iter().map(|t| (t.span, format!("{:?}", t.tok)));
        let mut words: Vec<_> = tokens.chain(self.comments.iter().map(comment)).collect();
        words.sort_by_key(|(span, _)| span.start);
        words
    }
}

/// Cuts a source into tokens.
pub fn lex(source: SourceId, text: &str) -> Lexed {
    let mut state = State { source, text, line_end: 0, lexed: Lexed::default() };
    let mut lexer = Tok::lexer(text);
    // Neighbouring characters without meaning are reported together.
    let mut invalid: Option<Span> = None;
    while let Some(result) = lexer.next() {
        let found = result.ok();
        match found {
            Some(Tok::Int) => lexer.bump(literal::number_length(&text[lexer.span().start..]) - 1),
            Some(Tok::BlockComment) => {
                let rest = lexer.remainder();
                lexer.bump(rest.find("*/").map_or(rest.len(), |at| at + 2));
            }
            _ => {}
        }
        let range = lexer.span();
        let span = Span::new(source, range.start as u32, range.end as u32);
        match found {
            Some(tok) => {
                if let Some(span) = invalid.take() {
                    state.invalid(span);
                }
                state.token(tok, span);
            }
            None => {
                invalid = match invalid {
                    Some(before) if before.end == span.start => Some(before.to(span)),
                    Some(before) => {
                        state.invalid(before);
                        Some(span)
                    }
                    None => Some(span),
                }
            }
        }
        if state.lexed.tokens.len() > MAX_TOKENS {
            state.lexed.tokens.pop();
            let message = format!("more than {MAX_TOKENS} tokens in one source; the rest is not read");
            state.report(
                Diagnostic::error(Code::TooManyTokens, message).at(span, "the limit is passed here").help(
                    "split the file, and bring the parts together with `use`; keep large tables in a weight file",
                ),
            );
            break;
        }
    }
    if let Some(span) = invalid {
        state.invalid(span);
    }
    state.lexed
}

struct State<'s> {
    source: SourceId,
    text: &'s str,
    /// Where the last token ended.
    line_end: usize,
    lexed: Lexed,
}

impl State<'_> {
    fn token(&mut self, tok: Tok, span: Span) {
        let text = &self.text[span.range()];
        let tok = match tok {
            Tok::Comment => {
                let doc = text.starts_with("///") && !text.starts_with("////");
                self.lexed.comments.push(Comment { span, doc });
                return;
            }
            Tok::BlockComment => {
                self.report(
                    Diagnostic::error(Code::BlockComment, "block comments do not exist")
                        .at(Span::new(span.source, span.start, span.start + 2), "begins here")
                        .help("begin each line of the comment with `//`"),
                );
                return;
            }
            Tok::OpenStr => {
                self.escapes(span, &text[1..]);
                self.report(
                    Diagnostic::error(Code::UnterminatedString, "this string has no closing `\"`")
                        .at(span, "ends with the line")
                        .help("close it on the same line; a line break inside is written `\\n`"),
                );
                Tok::Str
            }
            Tok::Str => {
                self.escapes(span, &text[1..text.len() - 1]);
                Tok::Str
            }
            Tok::Int => self.number(span, text),
            Tok::Ident if is_dtype(text) => Tok::Dtype,
            other => other,
        };
        let first_on_line =
            self.lexed.tokens.is_empty() || self.text[self.line_end..span.start as usize].contains('\n');
        self.line_end = span.end as usize;
        self.lexed.tokens.push(Token { tok, span, first_on_line });
    }

    fn number(&mut self, span: Span, text: &str) -> Tok {
        let error = match literal::number(text) {
            Ok(Number::Int(_)) => return Tok::Int,
            Ok(Number::Float { .. }) => return Tok::Float,
            Err(error) => error,
        };
        let (tok, diagnostic) = match error {
            NumberError::Malformed(why) => {
                let tok = if text.contains('.') { Tok::Float } else { Tok::Int };
                let d =
                    Diagnostic::error(Code::InvalidNumber, format!("`{}` is not a number", shortened(text)));
                (tok, d.at(span, why))
            }
            NumberError::TooLarge => {
                let d = Diagnostic::error(Code::IntegerTooLarge, "this integer does not fit 64 bits")
                    .at(span, "")
                    .help(format!("the largest is {}", u64::MAX));
                (Tok::Int, d)
            }
            NumberError::Infinite => {
                let d = Diagnostic::error(Code::FloatNotExact, "this float is beyond the range of f64")
                    .at(span, "")
                    .help("infinity is written `inf`");
                (Tok::Float, d)
            }
            NumberError::NotExact => {
                let d = Diagnostic::error(Code::FloatNotExact, "this hexadecimal float is not an f64")
                    .at(span, "has too many bits, or too large an exponent")
                    .help("write it in decimal to have it rounded");
                (Tok::Float, d)
            }
        };
        self.report(diagnostic);
        tok
    }

    fn escapes(&mut self, span: Span, inner: &str) {
        for (range, why) in literal::unescape(inner).1 {
            let start = span.start + 1;
            let at = Span::new(self.source, start + range.start as u32, start + range.end as u32);
            self.report(Diagnostic::error(Code::InvalidEscape, "unknown escape in a string").at(at, why));
        }
    }

    fn invalid(&mut self, span: Span) {
        let text = &self.text[span.range()];
        let first = text.chars().next().unwrap_or(' ');
        let shown = if first.is_control() || (first.is_whitespace() && first != ' ') {
            format!("character U+{:04X}", u32::from(first))
        } else {
            format!("`{}`", shortened(text))
        };
        let mut d =
            Diagnostic::error(Code::InvalidCharacter, format!("{shown} has no meaning here")).at(span, "");
        if let Some(help) = meant(first) {
            d = d.help(help);
        }
        self.report(d);
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        if self.lexed.diagnostics.len() < MAX_DIAGNOSTICS {
            self.lexed.diagnostics.push(diagnostic);
        }
    }
}

/// The first characters of a text, for a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text.to_owned(),
    }
}

/// What somebody who typed this character probably wanted.
fn meant(c: char) -> Option<&'static str> {
    Some(match c {
        '\'' | '\u{2018}' | '\u{2019}' | '\u{201C}' | '\u{201D}' | '\u{AB}' | '\u{BB}' | '`' => {
            "a string stands between straight double quotes: \"text\""
        }
        '#' => "a comment begins with `//`",
        '\u{2013}' | '\u{2014}' | '\u{2212}' => "minus is the ASCII `-`",
        '\u{D7}' | '\u{B7}' | '\u{2217}' => "times is `*`",
        '\u{F7}' | '\u{2215}' => "division is `/`",
        '\u{2264}' => "less or equal is `<=`",
        '\u{2265}' => "greater or equal is `>=`",
        '\u{2260}' => "not equal is `!=`",
        '\u{2192}' => "the arrow is `->`",
        '\u{221E}' => "infinity is `inf`",
        '\u{A0}' | '\u{3000}' | '\u{2007}' | '\u{202F}' => "replace it with an ordinary space",
        '\u{FF1B}' | '\u{37E}' => "the semicolon is the ASCII `;`",
        '\u{FF08}' | '\u{FF09}' => "parentheses are the ASCII `(` and `)`",
        '\u{FF0C}' => "the comma is the ASCII `,`",
        '?' => "a choice between two values is `where(condition, a, b)`",
        '$' => "names are made of letters, digits and `_`",
        c if c.is_alphabetic() => "names are made of ASCII letters, digits and `_`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Tok> {
        let lexed = lex(SourceId(0), text);
        assert!(lexed.diagnostics.is_empty(), "{:?}", lexed.diagnostics);
        lexed.tokens.iter().map(|t| t.tok).collect()
    }

    #[test]
    fn slices_ranges_and_numbers() {
        use Tok::*;
        assert_eq!(kinds("x[0..K]"), [Ident, BracketOpen, Int, DotDot, Ident, BracketClose]);
        assert_eq!(kinds("a+:8 1.5e-3 .. 0x1p-2"), [Ident, PlusColon, Int, Float, DotDot, Float]);
        assert_eq!(kinds("u4 u9 e4m3 table kernel"), [Dtype, Ident, Dtype, Table, Kernel]);
        assert_eq!(kinds("x-1.T"), [Ident, Minus, Int, Dot, Ident]);
    }

    #[test]
    fn comments_are_beside_the_tokens() {
        let lexed = lex(SourceId(0), "a // one\n/// two\n//// three\nb");
        assert_eq!(lexed.tokens.len(), 2);
        assert!(lexed.tokens[1].first_on_line);
        assert_eq!(lexed.comments.iter().map(|c| c.doc).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn each_problem_has_its_code() {
        for (text, code) in [
            ("\"abc", Code::UnterminatedString),
            ("\"abc\\", Code::UnterminatedString),
            ("\"\\q\"", Code::InvalidEscape),
            ("a \u{2014} b", Code::InvalidCharacter),
            ("12ab", Code::InvalidNumber),
            ("99999999999999999999", Code::IntegerTooLarge),
            ("1e400", Code::FloatNotExact),
            ("/* x", Code::BlockComment),
        ] {
            let codes: Vec<Code> = lex(SourceId(0), text).diagnostics.iter().map(|d| d.code).collect();
            assert!(codes.contains(&code), "{text}: {codes:?}");
        }
    }

    #[test]
    fn neighbouring_invalid_characters_are_one_problem() {
        let lexed = lex(SourceId(0), "a ???? b");
        assert_eq!(lexed.diagnostics.len(), 1);
        assert_eq!(lexed.diagnostics[0].primary_span(), Some(Span::new(SourceId(0), 2, 6)));
    }

    #[test]
    fn too_many_tokens() {
        let lexed = lex(SourceId(0), &"+ ".repeat(MAX_TOKENS + 5));
        assert_eq!(lexed.tokens.len(), MAX_TOKENS);
        assert_eq!(lexed.diagnostics[0].code, Code::TooManyTokens);
    }
}
