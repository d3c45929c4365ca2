//! A reading position with one token of look-ahead, for the recursive-descent parsers of the IRs.

use super::ParseError;
use super::lexer::{Lexer, Token};

/// What a parser's methods give.
pub type Parsed<T> = Result<T, ParseError>;

/// The current token and where it starts.
pub struct Cursor<'a> {
    /// Behind `token`.
    lexer: Lexer<'a>,
    /// The current token.
    pub token: Token<'a>,
    /// Where `token` starts.
    pub start: usize,
}

impl<'a> Cursor<'a> {
    /// At the first token.
    pub fn new(text: &'a str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let (token, start) = lexer.next()?;
        Ok(Self { lexer, token, start })
    }

    /// An error at byte `at` of the text.
    pub fn error_at(&self, at: usize, message: impl Into<String>) -> ParseError {
        self.lexer.error(at, message)
    }

    /// Whether the token after the current one is this.
    pub fn next_is(&self, c: char) -> Parsed<bool> {
        let mut ahead = self.lexer;
        Ok(ahead.next()?.0 == Token::Punct(c))
    }

    /// Nothing but comments may follow.
    pub fn end(&self) -> Parsed<()> {
        if self.token == Token::End { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    /// A word without dots, or a string.
    pub fn name(&mut self, what: &str) -> Parsed<String> {
        match self.token {
            Token::Word(word) if !word.contains('.') => {
                self.advance()?;
                Ok(word.to_owned())
            }
            Token::Word(_)
            | Token::Number(_)
            | Token::Text(_)
            | Token::Punct(_)
            | Token::DotDot
            | Token::End => self.text(what),
        }
    }

    /// An error at the current token.
    pub fn error(&self, message: impl Into<String>) -> ParseError {
        self.lexer.error(self.start, message)
    }

    /// An error that says what should stand here, and what does.
    pub fn expected(&self, what: &str) -> ParseError {
        self.error(format!("expected {what}, found {}", self.token.describe()))
    }

    /// [`Self::expected`] at a word that was read before. Lines are counted for an error that is told: counted for each word that could have been one, they would
    /// take time with the square of the text.
    pub fn expected_at(&self, (word, start): (&str, usize), what: &str) -> ParseError {
        self.error_at(start, format!("expected {what}, found `{word}`"))
    }

    /// The current token; goes on behind it.
    pub fn advance(&mut self) -> Parsed<Token<'a>> {
        let (token, start) = self.lexer.next()?;
        self.start = start;
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// Whether the current token is this sign.
    pub fn is_punct(&self, c: char) -> bool {
        self.token == Token::Punct(c)
    }

    /// Goes behind this sign if it stands here.
    pub fn eat(&mut self, c: char) -> Parsed<bool> {
        let found = self.is_punct(c);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Goes behind this sign, which must stand here.
    pub fn punct(&mut self, c: char) -> Parsed<()> {
        if self.eat(c)? { Ok(()) } else { Err(self.expected(&format!("`{c}`"))) }
    }

    /// Whether the current token is this word.
    pub fn is_word(&self, word: &str) -> bool {
        self.token == Token::Word(word)
    }

    /// Goes behind this word if it stands here.
    pub fn eat_word(&mut self, word: &str) -> Parsed<bool> {
        let found = self.is_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Goes behind this word, which must stand here.
    pub fn keyword(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word)? { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    /// A string.
    pub fn text(&mut self, what: &str) -> Parsed<String> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.expected(what));
        }
        match self.advance()? {
            Token::Text(text) => Ok(text),
            Token::Word(_) | Token::Number(_) | Token::Punct(_) | Token::DotDot | Token::End => {
                Err(self.expected(what))
            }
        }
    }

    // Numbers

    /// Reads a number token by `read`; `what` describes the numbers that it accepts.
    pub fn number<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        let written = match self.token {
            Token::Number(text) | Token::Word(text) => Some(text),
            Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        };
        let value = written.and_then(read).ok_or_else(|| self.expected(what))?;
        self.advance()?;
        Ok(value)
    }

    /// A decimal number of 32 bits.
    pub fn u32(&mut self, what: &str) -> Parsed<u32> {
        self.number(what, decimal)
    }

    // Entities

    /// The number of an entity such as `b12`.
    pub fn entity_number(&self, prefix: char) -> Option<u32> {
        match self.token {
            Token::Word(word) => word.strip_prefix(prefix).and_then(decimal),
            Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        }
    }

    /// The number of an entity that must stand here.
    pub fn entity(&mut self, prefix: char, what: &str) -> Parsed<u32> {
        let number = self.entity_number(prefix).ok_or_else(|| self.expected(what))?;
        self.advance()?;
        Ok(number)
    }

    /// The number of a declaration, which must be the next one of its kind.
    pub fn numbered(&mut self, prefix: char, next: usize) -> Parsed<()> {
        let what = format!("`{prefix}{next}`: declarations are numbered in order");
        if self.entity_number(prefix).is_none_or(|n| n as usize != next) {
            return Err(self.expected(&what));
        }
        self.advance().map(drop)
    }
}

/// Digits only: `str::parse` would also take a plus sign.
pub fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A 32-bit integer: decimal with a sign, or a bit pattern in hexadecimal.
pub fn i32_value(text: &str) -> Option<i32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok().map(u32::cast_signed),
        None => text.parse().ok(),
    }
}

/// A 64-bit integer: decimal with a sign, or a bit pattern in hexadecimal.
pub fn i64_value(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
        None => text.parse().ok(),
    }
}

/// The bits of a float: a decimal number in range, `inf`, `-inf`, `nan` (the quiet one), or hexadecimal.
pub fn f32_bits(text: &str) -> Option<u32> {
    match text {
        "inf" => return Some(f32::INFINITY.to_bits()),
        "-inf" => return Some(f32::NEG_INFINITY.to_bits()),
        "nan" => return Some(0x7fc0_0000),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).ok();
    }
    let starts_as_number = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    let value: f32 = text.parse().ok()?;
    (starts_as_number && value.is_finite()).then_some(value.to_bits())
}
