//! Host expressions as text: the inverse of their `Display`.
//!
//! ```
//! use tvmc_ir::host::Expr;
//! let expr: Expr = "ceil_div(add(N, 1), 64)".parse().unwrap();
//! assert_eq!(expr.to_string(), "ceil_div(add(N, 1), 64)");
//! assert!("mod(N, 2)".parse::<Expr>().is_err());
//! ```
//!
//! A number with a point or an exponent, `inf`, `-inf` and `NaN` are floats, `true` and `false` truth values, other numbers
//! integers of 64 bits. A word before `(` is an operation, any other a name; a name that is no plain word, or is one of the words above, stands
//! in quotes. Refused: nesting deeper than [`MAX_DEPTH`].

use super::{Cursor, ParseError, Parsed, Token};
use crate::host::{Binary, Expr, Number, Unary};
use std::str::FromStr;

/// Most operations around an operand.
pub(crate) const MAX_DEPTH: usize = 256;

impl FromStr for Expr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Expr, ParseError> {
        let mut at = Cursor::new(text)?;
        let expr = expr(&mut at)?;
        at.end()?;
        Ok(expr)
    }
}

/// Whether a name would read as something else if it stood without quotes.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(name, "true" | "false" | "inf" | "NaN")
}

/// Reads an expression.
pub(crate) fn expr(at: &mut Cursor<'_>) -> Parsed<Expr> {
    nested(at, 0)
}

fn nested(at: &mut Cursor<'_>, depth: usize) -> Parsed<Expr> {
    if depth > MAX_DEPTH {
        return Err(at.error(format!("operations nest deeper than {MAX_DEPTH}")));
    }
    let what = "a number, a name or an operation such as `ceil_div(N, 64)`";
    match at.token {
        Token::Number(text) => {
            let number = number(text).ok_or_else(|| at.expected(what))?;
            at.advance()?;
            Ok(Expr::Const(number))
        }
        Token::Word(word) if at.next_is('(')? => {
            let unary = Unary::ALL.into_iter().find(|op| op.name() == word);
            let binary = Binary::ALL.into_iter().find(|op| op.name() == word);
            if unary.is_none() && binary.is_none() {
                return Err(at.error(format!("`{word}` is no operation on host numbers")));
            }
            at.advance()?;
            at.punct('(')?;
            let first = nested(at, depth + 1)?;
            let expr = match (unary, binary) {
                (Some(op), _) => Expr::Unary(op, Box::new(first)),
                (None, op) => {
                    at.punct(',')?;
                    let second = nested(at, depth + 1)?;
                    Expr::binary(op.unwrap_or(Binary::Add), first, second)
                }
            };
            at.punct(')')?;
            Ok(expr)
        }
        Token::Word(word) if is_reserved(word) => {
            at.advance()?;
            Ok(Expr::Const(match word {
                "true" => Number::Bool(true),
                "false" => Number::Bool(false),
                "inf" => Number::Float(f64::INFINITY),
                _ => Number::Float(f64::NAN),
            }))
        }
        Token::Word(_) | Token::Text(_) => at.name(what).map(Expr::Name),
        Token::Punct(_) | Token::DotDot | Token::End => Err(at.expected(what)),
    }
}

fn number(text: &str) -> Option<Number> {
    if text == "-inf" {
        return Some(Number::Float(f64::NEG_INFINITY));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if text.contains(['.', 'e', 'E']) {
        return text.parse().ok().filter(|v: &f64| v.is_finite()).map(Number::Float);
    }
    text.parse().ok().map(Number::Int)
}
