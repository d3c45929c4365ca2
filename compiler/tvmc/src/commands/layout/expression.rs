//! Layout expressions of the command line: text to a value of the algebra, every refusal with its place in the text.
//!
//! ```text
//! expression := unary (("*" | "/") unary)*                    `*` composes, `/` divides from the right; both group to the left
//! unary      := (call | "(" expression ")") ("." call)*
//! call       := NAME "(" [argument ("," argument)*] ")"       argument: an expression or a number
//! ```
//!
//! A name is a factor of the language (`local(2, 1)`) or an operation of the algebra, see [`OPERATIONS`]. `x.f(a)` is `f(x, a)`, so
//! `spatial(4).local(2)` composes as it does in the language.
//!
//! ```text
//! local(2, 1).spatial(8, 4).local(1, 2) / spatial(8, 4).local(1, 2)       is local(2, 1)
//! reduce(spatial(3, 4), 0)                                                is replicated(3).spatial(4)
//! cover(replicated(4).spatial(2), spatial(8).reshape(4, 2).reduce(0))     is true
//! ```
//!
//! Refused: what the algebra refuses, text outside the grammar, and more than [`MAX_DEPTH`] brackets inside one another.

use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::{SourceId, Span};
use tvmc_types::layout::{FACTORS, Layout, LayoutError};

/// Most brackets inside one another.
const MAX_DEPTH: usize = 64;

/// Operations besides the factors of the language, with what they take.
pub const OPERATIONS: &[(&str, &str)] = &[
    ("compose", "compose(A, B): each element of A becomes a tile laid out by B; also A * B"),
    ("divide", "divide(H, B): the A with A * B = H; also H / B"),
    ("left_divide", "left_divide(H, A): the B with A * B = H"),
    ("reduce", "reduce(A, axis, ..): where results of a reduction are; the axes disappear"),
    ("reduce_keep", "reduce_keep(A, axis, ..): as reduce, but the axes stay with extent 1"),
    ("squeeze", "squeeze(A, axis): without a dimension of extent 1"),
    ("unsqueeze", "unsqueeze(A, axis): with a dimension of extent 1 there"),
    ("flatten", "flatten(A, first, last): these dimensions as one, both included"),
    ("concat", "concat(A, B): dimensions side by side"),
    ("auto", "auto(lanes, extent, ..): lanes spread over a tile from its last dimension"),
    ("cover", "cover(A, B): whether each lane holds in A every element that it holds in B"),
    ("equal", "equal(A, B): whether two layouts are one function"),
];

/// What an expression stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A register layout.
    Layout(Layout),
    /// A number, as an argument.
    Number(u32),
    /// The answer to a question; false comes with the layouts that were compared and why.
    Answer(bool, Option<String>),
}

type Refused<T> = Result<T, Box<Diagnostic>>;

/// Evaluates an expression; `source` is what its places refer to.
pub fn evaluate(text: &str, source: SourceId) -> Refused<Value> {
    let mut reader = Reader { text, at: 0, source, depth: 0 };
    let value = reader.expression()?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.expected("`*`, `/`, `.` or the end"));
    }
    Ok(value.0)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    source: SourceId,
    depth: usize,
}

type Placed = (Value, Span);

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
                Some(_) | None => return Ok(left),
            };
            let operator = self.span(self.at, self.at + 1);
            self.at += 1;
            let right = self.chain()?;
            let whole = left.1.to(right.1);
            left = (apply(name, operator, vec![left, right])?, whole);
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
        if !FACTORS.contains(&name) && !OPERATIONS.iter().any(|(known, _)| *known == name) {
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

fn unknown(name: &str, at: Span) -> Box<Diagnostic> {
    let known: Vec<&str> = FACTORS.iter().copied().chain(OPERATIONS.iter().map(|(name, _)| *name)).collect();
    let d = Diagnostic::error(Code::UnknownLayout, format!("there is no layout operation `{name}`"))
        .at(at, "not known");
    Box::new(match closest(name, known.iter().copied()) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.help(format!("there is: {}", known.join(", "))),
    })
}

/// The arguments of a call, taken one by one.
struct Arguments {
    name: &'static str,
    at: Span,
    rest: std::vec::IntoIter<Placed>,
}

impl Arguments {
    fn refuse(&self, what: &str, found: Option<Span>) -> Box<Diagnostic> {
        let d = Diagnostic::error(Code::LayoutInvalid, format!("`{}` needs {what}", self.name))
            .at(found.unwrap_or(self.at), "here");
        Box::new(match OPERATIONS.iter().find(|(name, _)| *name == self.name) {
            Some((_, usage)) => d.help(*usage),
            None => d,
        })
    }

    fn layout(&mut self) -> Refused<(Layout, Span)> {
        match self.rest.next() {
            Some((Value::Layout(layout), span)) => Ok((layout, span)),
            Some((Value::Number(_) | Value::Answer(..), span)) => Err(self.refuse("a layout", Some(span))),
            None => Err(self.refuse("a layout", None)),
        }
    }

    fn number(&mut self) -> Refused<u32> {
        match self.rest.next() {
            Some((Value::Number(number), _)) => Ok(number),
            Some((Value::Layout(_) | Value::Answer(..), span)) => Err(self.refuse("a number", Some(span))),
            None => Err(self.refuse("one more number", None)),
        }
    }

    fn numbers(&mut self) -> Refused<Vec<u32>> {
        let mut numbers = Vec::new();
        while self.rest.len() > 0 {
            numbers.push(self.number()?);
        }
        Ok(numbers)
    }

    fn end(&mut self) -> Refused<()> {
        match self.rest.next() {
            Some((_, span)) => Err(self.refuse("fewer arguments", Some(span))),
            None => Ok(()),
        }
    }

    fn check(&self, result: Result<Layout, LayoutError>, operands: &[&Layout]) -> Refused<Value> {
        result.map(Value::Layout).map_err(|error| {
            let d = Diagnostic::error(Code::LayoutInvalid, error.to_string()).at(self.at, "refused");
            // With two operands, the reader sees both forms as the algebra sees them.
            let d = operands.iter().fold(d, |d, layout| {
                d.note(format!(
                    "{layout}: shape {:?}, {} lanes x {} slots",
                    layout.shape(),
                    layout.spatial_size(),
                    layout.local_size()
                ))
            });
            Box::new(d)
        })
    }
}

fn apply(name: &str, at: Span, arguments: Vec<Placed>) -> Refused<Value> {
    let known = FACTORS
        .iter()
        .copied()
        .chain(OPERATIONS.iter().map(|(name, _)| *name))
        .find(|known| *known == name)
        .ok_or_else(|| unknown(name, at))?;
    let mut a = Arguments { name: known, at, rest: arguments.into_iter() };
    let dims = |numbers: Vec<u32>| numbers.into_iter().map(|n| n as usize).collect::<Vec<_>>();
    match known {
        "compose" | "divide" | "left_divide" | "concat" => {
            let ((x, _), (y, _)) = (a.layout()?, a.layout()?);
            a.end()?;
            let result = match known {
                "compose" => x.compose(&y),
                "divide" => x.divide(&y),
                "left_divide" => x.left_divide(&y),
                _ => x.concat(&y),
            };
            a.check(result, &[&x, &y])
        }
        "reduce" | "reduce_keep" => {
            let (x, _) = a.layout()?;
            let axes = dims(a.numbers()?);
            let result = if known == "reduce" { x.reduce(&axes) } else { x.reduce_keep(&axes) };
            a.check(result, &[&x])
        }
        "squeeze" | "unsqueeze" => {
            let (x, _) = a.layout()?;
            let axis = a.number()? as usize;
            a.end()?;
            let result = if known == "squeeze" { x.squeeze(axis) } else { x.unsqueeze(axis) };
            a.check(result, &[&x])
        }
        "flatten" => {
            let (x, _) = a.layout()?;
            let (first, last) = (a.number()? as usize, a.number()? as usize);
            a.end()?;
            a.check(x.flatten(first, last), &[&x])
        }
        "auto" => {
            let lanes = a.number()?;
            let shape = a.numbers()?;
            a.check(Layout::auto_local_spatial(lanes, &shape), &[])
        }
        "cover" | "equal" => {
            let ((x, _), (y, _)) = (a.layout()?, a.layout()?);
            a.end()?;
            Ok(if known == "cover" { cover(&x, &y) } else { equal(&x, &y) })
        }
        _ => {
            // A factor: on what is to its left, or on nothing.
            let mut a = a;
            let base = match a.rest.as_slice() {
                [(Value::Layout(_), _), ..] => a.layout()?.0,
                [] | [(Value::Number(_) | Value::Answer(..), _), ..] => {
                    Layout::local(&[]).map_err(|e| a.refuse(&e.to_string(), None))?
                }
            };
            let numbers = a.numbers()?;
            let shown: &[&Layout] = if base.rank() == 0 { &[] } else { &[&base] };
            a.check(base.then(known, &numbers), shown)
        }
    }
}

fn cover(owned: &Layout, needed: &Layout) -> Value {
    if owned.shape() != needed.shape() || owned.spatial_size() != needed.spatial_size() {
        return Value::Answer(false, Some("the shapes or the numbers of lanes differ".to_owned()));
    }
    let lacking = owned.holders().first_lacking(&needed.holders());
    Value::Answer(
        lacking.is_none(),
        lacking.map(|(index, lane)| format!("lane {lane} needs element {index:?} and does not hold it")),
    )
}

fn equal(a: &Layout, b: &Layout) -> Value {
    let why = match a.first_difference(b) {
        Some((lane, slot)) => format!(
            "lane {lane}, slot {slot} is element {:?} in the first, {:?} in the second",
            a.element(lane, slot),
            b.element(lane, slot)
        ),
        None => "shapes, lanes or slots differ".to_owned(),
    };
    Value::Answer(a == b, (a != b).then_some(why))
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

    #[test]
    fn refusals_name_their_place() {
        for (text, place) in [
            ("spatial(2, 2) / column_spatial(2, 2)", "/"),
            ("lokal(4)", "lokal"),
            ("local(4) + local(2)", "+"),
            ("local(4", ""),
            ("local(4, spatial(2))", "spatial(2)"),
            ("local(4).reshape(3)", "reshape(3)"),
            ("reduce(spatial(3), 7)", "reduce(spatial(3), 7)"),
            ("flatten(local(2, 2), 0)", "flatten(local(2, 2), 0)"),
            ("4", "4"),
            ("", ""),
            ("local(99999999999)", "99999999999"),
        ] {
            let refused = evaluate(text, SourceId(0)).expect_err(text);
            let span = refused.primary_span().expect("a place");
            assert_eq!(&text[span.range()], place, "{text}: {}", refused.message);
        }
        assert!(evaluate(&"(".repeat(100_000), SourceId(0)).is_err());
        assert!(evaluate("é", SourceId(0)).is_err());
    }
}
