//! Tokens of the text forms of all IRs. Line ends are white space; `;` starts a comment that ends with
//! its line. A word may hold single dots (`load.contig.f32`), so `v1..v2` is a word, `..` and a word.

use super::ParseError;

/// One token.
#[derive(Clone, PartialEq, Debug)]
pub enum Token<'a> {
    /// A name, mnemonic, keyword, type or value.
    Word(&'a str),
    /// A number as it is written, its minus sign included.
    Number(&'a str),
    /// The contents of a string, escapes resolved.
    Text(String),
    /// One of `{ } ( ) [ ] , : = + @`.
    Punct(char),
    /// `..`
    DotDot,
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// How a message names the token.
    pub fn describe(&self) -> String {
        match self {
            Token::Word(word) => format!("`{word}`"),
            Token::Number(number) => format!("`{number}`"),
            Token::Text(_) => "a string".to_owned(),
            Token::Punct(c) => format!("`{c}`"),
            Token::DotDot => "`..`".to_owned(),
            Token::End => "the end of the text".to_owned(),
        }
    }
}

/// A position in the text; cheap to copy, which is how the parser looks ahead.
#[derive(Copy, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// An error at byte `at` of the text.
    pub fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take_while(&mut self, mut keep: impl FnMut(char) -> bool) {
        while let Some(c) = self.peek().filter(|c| keep(*c)) {
            self.at += c.len_utf8();
        }
    }

    /// Whether the text goes on with `c` and then something that `then` accepts.
    fn follows(&self, c: char, then: impl Fn(char) -> bool) -> bool {
        let mut chars = self.text[self.at..].chars();
        chars.next() == Some(c) && chars.next().is_some_and(then)
    }

    /// The next token and the byte where it starts.
    pub fn next(&mut self) -> Result<(Token<'a>, usize), ParseError> {
        loop {
            self.take_while(char::is_whitespace);
            if self.peek() != Some(';') {
                break;
            }
            self.take_while(|c| c != '\n');
        }
        let start = self.at;
        let Some(first) = self.peek() else { return Ok((Token::End, start)) };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let token = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                self.take_while(is_word);
                while self.follows('.', is_word) {
                    self.at += 1;
                    self.take_while(is_word);
                }
                Token::Word(&self.text[start..self.at])
            }
            '0'..='9' | '-' => {
                self.at += 1;
                self.take_while(is_word);
                if self.follows('.', |c| c.is_ascii_digit()) {
                    self.at += 1;
                    self.take_while(is_word);
                }
                let so_far = &self.text[start..self.at];
                if so_far.ends_with(['e', 'E']) && !so_far.contains(['x', 'X']) {
                    // `1e-10`: the sign belongs to the exponent.
                    if self.follows('-', |c| c.is_ascii_digit()) || self.follows('+', |c| c.is_ascii_digit())
                    {
                        self.at += 1;
                        self.take_while(is_word);
                    }
                }
                Token::Number(&self.text[start..self.at])
            }
            '"' => {
                self.at += 1;
                Token::Text(self.string(start)?)
            }
            '{' | '}' | '(' | ')' | '[' | ']' | ',' | ':' | '=' | '+' | '@' => {
                self.at += 1;
                Token::Punct(first)
            }
            '.' if self.follows('.', |c| c == '.') => {
                self.at += 2;
                Token::DotDot
            }
            other => return Err(self.error(start, format!("`{}` starts no token", other.escape_default()))),
        };
        Ok((token, start))
    }

    /// The rest of a string that began at byte `start`, up to and with its closing quote.
    fn string(&mut self, start: usize) -> Result<String, ParseError> {
        let mut out = String::new();
        loop {
            let here = self.at;
            let Some(c) = self.peek() else { return Err(self.error(start, "the string has no end")) };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\n' => return Err(self.error(start, "the string has no end on its line")),
                '\\' => out.push(self.escape(here)?),
                c => out.push(c),
            }
        }
    }

    /// What follows a backslash at byte `start`.
    fn escape(&mut self, start: usize) -> Result<char, ParseError> {
        let wrong = |lexer: &Self| lexer.error(start, "the escapes are \\\", \\\\, \\n and \\u{hex}");
        let c = self.peek().ok_or_else(|| wrong(self))?;
        self.at += c.len_utf8();
        match c {
            '"' | '\\' => Ok(c),
            'n' => Ok('\n'),
            'u' if self.peek() == Some('{') => {
                self.at += 1;
                let digits = self.at;
                self.take_while(|c| c.is_ascii_hexdigit());
                let value =
                    u32::from_str_radix(&self.text[digits..self.at], 16).ok().and_then(char::from_u32);
                if self.peek() != Some('}') {
                    return Err(wrong(self));
                }
                self.at += 1;
                value.ok_or_else(|| wrong(self))
            }
            _ => Err(wrong(self)),
        }
    }
}
