//! Layout expressions of the command line: text to a value of the algebra, every refusal with its place in the text.
//!
//! ```text
//! expression := unary (("*" | "/" | "\") unary)*             composes; divides from the right; `A \ H` divides H from the left; all group to the left
//! unary      := (call | "(" expression ")") ("." call)*
//! call       := NAME "(" [argument ("," argument)*] ")"       argument: an expression or a number
//! ```
//!
//! A name is a factor (`local(2, 1)`, `shared(4, 4)`) or another operation of the algebra, see `operations`. `x.f(a)` is `f(x, a)`, so
//! `spatial(4).local(2)` composes as it does in the language.
//!
//! ```text
//! local(2, 1).spatial(8, 4).local(1, 2) / spatial(8, 4).local(1, 2)       is local(2, 1)
//! local(2) \ local(2).spatial(4)                                         is spatial(4)
//! reduce(spatial(3, 4), 0)                                                is replicated(3).spatial(4)
//! shared(4, 8).swizzle(0, 2, 3) / shared(1, 4)                            is refused: the swizzle reaches into the divisor
//! cover(replicated(4).spatial(2), spatial(8).reshape(4, 2).reduce(0))     is true
//! ```
//!
//! Refused: what the algebra refuses, text outside the grammar, and more than [`MAX_DEPTH`] brackets inside one another.

use super::operations::{apply, names, unknown};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::{SourceId, Span};
use tvmc_types::layout::{Layout, SharedLayout};

/// Most brackets inside one another.
const MAX_DEPTH: usize = 64;

/// What an expression stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A register layout.
    Layout(Layout),
    /// A shared-memory layout.
    Shared(SharedLayout),
    /// A tile in shared memory, and the lanes and slots into which it is read.
    Read(SharedLayout, Layout),
    /// A number, as an argument.
    Number(u32),
    /// The answer to a question; false comes with why.
    Answer(bool, Option<String>),
}

/// A result, or what is wrong with the text.
pub type Refused<T> = Result<T, Box<Diagnostic>>;

/// A value with the text that it stands for.
pub type Placed = (Value, Span);

/// Evaluates an expression; `source` is what its places refer to.
pub fn evaluate(text: &str, source: SourceId) -> Refused<Value> {
    let mut reader = Reader { text, at: 0, source, depth: 0 };
    let value = reader.expression()?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.expected(r"`*`, `/`, `\`, `.` or the end"));
    }
    Ok(value.0)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    source: SourceId,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source, start as u32, end as u32)
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next character after white space.
    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, token: char) -> bool {
        let found = self.peek() == Some(token);
        self.at += if found { token.len_utf8() } else { 0 };
        found
    }

    fn word(&mut self) -> (&'a str, Span) {
        self.skip_space();
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += length;
        (&rest[..length], self.span(start, self.at))
    }

    fn expected(&mut self, what: &str) -> Box<Diagnostic> {
        let found = self.peek();
        let end = self.at + found.map_or(0, char::len_utf8);
        let label = found.map_or("the expression ends here".to_owned(), |c| format!("found `{c}`"));
        let span = self.span(self.at, end);
        Box::new(Diagnostic::error(Code::LayoutInvalid, format!("expected {what}")).at(span, label))
    }

    fn expression(&mut self) -> Refused<Placed> {
        let mut left = self.chain()?;
        loop {
            let name = match self.peek() {
                Some('*') => "compose",
                Some('/') => "divide",
                Some('\\') => "left_divide",
                Some(_) | None => return Ok(left),
            };
            let operator = self.span(self.at, self.at + 1);
            self.at += 1;
            let right = self.chain()?;
            let whole = left.1.to(right.1);
            // The divisor stands to the left of `\`, as an argument behind the dividend.
            let operands = if name == "left_divide" { vec![right, left] } else { vec![left, right] };
            left = (apply(name, operator, operands)?, whole);
        }
    }

    fn chain(&mut self) -> Refused<Placed> {
        let mut value = if self.peek() == Some('(') {
            self.deeper()?;
            let start = self.at;
            self.at += 1;
            let (value, _) = self.expression()?;
            if !self.take(')') {
                return Err(self.expected("`)`"));
            }
            self.depth -= 1;
            (value, self.span(start, self.at))
        } else {
            self.call(None)?
        };
        while self.take('.') {
            value = self.call(Some(value))?;
        }
        Ok(value)
    }

    fn deeper(&mut self) -> Refused<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let span = self.span(self.at, self.at + 1);
            let message = format!("more than {MAX_DEPTH} brackets inside one another");
            return Err(Box::new(Diagnostic::error(Code::LayoutInvalid, message).at(span, "too deep")));
        }
        Ok(())
    }

    fn call(&mut self, receiver: Option<Placed>) -> Refused<Placed> {
        let (name, at) = self.word();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            self.at = at.start as usize;
            return Err(self.expected("a layout"));
        }
        if !names().any(|known| known == name) {
            return Err(unknown(name, at));
        }
        if self.peek() != Some('(') {
            return Err(self.expected("`(`"));
        }
        self.deeper()?;
        self.at += 1;
        let start = receiver.as_ref().map_or(at, |(_, span)| *span);
        let mut arguments: Vec<Placed> = receiver.into_iter().collect();
        let mut first = true;
        while !self.take(')') {
            if !first && !self.take(',') {
                return Err(self.expected("`,` or `)`"));
            }
            first = false;
            let argument = match self.peek() {
                Some(c) if c.is_ascii_digit() => self.number()?,
                Some(_) | None => self.expression()?,
            };
            arguments.push(argument);
        }
        self.depth -= 1;
        let whole = start.to(self.span(self.at, self.at));
        Ok((apply(name, at.to(self.span(self.at, self.at)), arguments)?, whole))
    }

    fn number(&mut self) -> Refused<Placed> {
        let (digits, at) = self.word();
        let number = digits.parse().map_err(|_| {
            Box::new(Diagnostic::error(Code::LayoutInvalid, "expected a 32-bit number").at(at, "not one"))
        })?;
        Ok((Value::Number(number), at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        evaluate(text, SourceId(0)).unwrap_or_else(|d| panic!("{text}: {}", d.message))
    }

    fn layout(text: &str) -> Layout {
        text.parse().expect("a layout of the language")
    }

    #[test]
    fn operations_are_those_of_the_algebra() {
        let c = "local(2, 1).spatial(8, 4).local(1, 2)";
        for (text, expected) in [
            (c, c),
            ("local(2,1) * spatial(8,4)*local(1, 2)", c),
            ("local(2, 1).spatial(8, 4).local(1, 2) / spatial(8, 4).local(1, 2)", "local(2, 1)"),
            ("left_divide(local(2, 1).spatial(8, 4), local(2, 1))", "spatial(8, 4)"),
            ("reduce(spatial(3, 4), 0)", "replicated(3).spatial(4)"),
            ("spatial(3, 4).reduce_keep(0).squeeze(0)", "replicated(3).spatial(4)"),
            ("permute(spatial(2, 3), 1, 0)", "column_spatial(3, 2)"),
            ("column_local(2, 16).reshape(32)", "column_local(2, 16).reshape(32)"),
            ("flatten(local(2, 3), 0, 1)", "local(6)"),
            ("concat(local(2), spatial(3))", "local(2, 1).spatial(1, 3)"),
            ("auto(4, 2, 8)", "local(2, 2).spatial(1, 4)"),
            ("(local(2) * spatial(2)).unsqueeze(0)", "local(1, 2).spatial(1, 2)"),
        ] {
            assert_eq!(value(text), Value::Layout(layout(expected)), "{text}");
        }
        assert_eq!(
            value("cover(replicated(4).local(2), spatial(4, 1).local(1, 2).reduce(0))"),
            Value::Answer(true, None)
        );
        assert!(matches!(value("cover(spatial(4), replicated(4).local(4))"), Value::Answer(false, Some(_))));
        assert!(matches!(value("equal(spatial(4), spatial(2, 2).reshape(4))"), Value::Answer(true, None)));
    }

    /// Rows of the tables in the heads of the algebra end in an example: an expression, and one of equal value.
    #[test]
    fn examples_of_the_algebra_are_true() {
        let heads = [
            include_str!("../../../../types/src/layout/mod.rs"),
            include_str!("../../../../types/src/layout/shared/mod.rs"),
        ];
        let mut checked = 0;
        for row in heads.iter().flat_map(|head| head.lines()) {
            let Some(example) = row.strip_suffix("` |").and_then(|row| row.rsplit_once(" | `")) else {
                continue;
            };
            let Some((left, right)) = example.1.split_once("` = `") else { continue };
            match right {
                "true" => assert_eq!(value(left), Value::Answer(true, None), "{left}"),
                _ => assert_eq!(value(left), value(right), "{left} is not {right}"),
            }
            checked += 1;
        }
        assert_eq!(checked, 31, "rows with an example");
    }

    #[test]
    fn shared_layouts_are_read_alike() {
        for (text, expected) in [
            ("shared(4, 4).swizzle(0, 2, 2)", "shared(4, 4).swizzle(0, 2, 2)"),
            ("shared(4, 4) / shared(2, 4)", "shared(2, 1)"),
            (r"shared(4, 1) \ shared(4, 4)", "shared(1, 4)"),
            ("left_divide(shared(4, 4), shared(4, 1))", "shared(1, 4)"),
            (
                "shared(2) * shared(2, 4).swizzle(0, 1, 2)",
                "shared(2, 2, 4).strides(4, 8, 1).reshape(2, 8).swizzle(0, 1, 2)",
            ),
            ("concat(shared(2), column_shared(2, 2))", "shared(2, 2, 2).permute(0, 2, 1)"),
            ("swizzled(16, 64, 64)", "shared(64, 64).swizzle(3, 3, 3)"),
            ("shared(8, 64).swizzle(3, 3, 3).keep(1)", "shared(64)"),
            ("squeeze(shared(1, 4), 0).stages(3).flatten(0, 1)", "shared(12)"),
        ] {
            let Value::Shared(found) = value(text) else { panic!("{text}") };
            let expected: SharedLayout = expected.parse().expect("a shared layout");
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(
            value("equal(shared(4).strides(4).swizzle(0, 2, 2), shared(4).strides(5))"),
            Value::Answer(true, None)
        );
        let Value::Answer(false, Some(why)) = value("equal(shared(2, 2), column_shared(2, 2))") else {
            panic!()
        };
        assert_eq!(why, "element [0, 1] lies at 1 in the first, at 2 in the second");
    }

    #[test]
    fn refusals_name_their_place() {
        for (text, place) in [
            ("spatial(2, 2) / column_spatial(2, 2)", "/"),
            ("lokal(4)", "lokal"),
            ("local(4) + local(2)", "+"),
            ("local(4", ""),
            ("local(4, spatial(2))", "spatial(2)"),
            ("local(4).reshape(3)", "reshape(3)"),
            ("reduce(spatial(3), 7)", "7"),
            ("permute(spatial(3, 2), 1, 1)", "1"),
            ("flatten(local(2, 2), 0)", "flatten(local(2, 2), 0)"),
            ("4", "4"),
            ("", ""),
            ("local(99999999999)", "99999999999"),
            (r"local(4) \ local(2)", r"\"),
            ("local(2) * shared(2)", "shared(2)"),
            ("shared(2).spatial(2)", "spatial(2)"),
            ("cover(local(2), shared(2))", "shared(2)"),
        ] {
            let refused = evaluate(text, SourceId(0)).expect_err(text);
            let span = refused.primary_span().expect("a place");
            assert_eq!(&text[span.range()], place, "{text}: {}", refused.message);
        }
        assert!(evaluate(&"(".repeat(100_000), SourceId(0)).is_err());
        assert!(evaluate("é", SourceId(0)).is_err());
    }
}
