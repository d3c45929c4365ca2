//! The text form of register layouts: the expressions of the language.
//!
//! ```text
//! layout := factor ("." factor)*
//! factor := ("local" | "spatial" | "column_local" | "column_spatial" | "replicated" | "reshape" | "permute") "(" [ int ("," int)* ] ")"
//! ```
//!
//! An expression is read from the left, beginning with `local()`, one lane with one element of rank 0: the first four and
//! `replicated` compose on the right, `reshape` and `permute` act on everything to their left. Writing finds the factors
//! again: digits are taken in an order that suits both digit lists and every dimension, and neighbours that go through the
//! dimensions upwards or downwards become one factor. Where there is no such order, as in `column_local(2, 16).reshape(32)`, the
//! modes are written as dimensions of their own, which always works, followed by a `reshape`.

use std::fmt;
use std::str::FromStr;

use super::digit::Digit;
use super::{Layout, LayoutError};

/// Names of the factors of a layout expression.
pub const FACTORS: [&str; 7] =
    ["local", "spatial", "column_local", "column_spatial", "replicated", "reshape", "permute"];

impl Layout {
    /// One step of a layout expression: `self.name(arguments)`. Begin with `Layout::local(&[])`.
    ///
    /// Post-condition: folding this over the factors of an expression gives what parsing its text gives.
    pub fn then(&self, name: &str, arguments: &[u32]) -> Result<Self, LayoutError> {
        match name {
            "local" => self.then_local(arguments),
            "spatial" => self.then_spatial(arguments),
            "column_local" => self.then_column_local(arguments),
            "column_spatial" => self.then_column_spatial(arguments),
            "replicated" => match *arguments {
                [lanes] => self.then_replicated(lanes),
                _ => Err(LayoutError::NumberCount { expected: 1, found: arguments.len() }),
            },
            "reshape" => self.reshape(arguments),
            "permute" => self.permute(&arguments.iter().map(|&dim| dim as usize).collect::<Vec<_>>()),
            _ => Err(LayoutError::UnknownFactor { name: name.to_owned(), known: &FACTORS }),
        }
    }
}

/// What is left of the text, and where that begins.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn refuse(&self, expected: &'static str) -> LayoutError {
        LayoutError::Syntax { at: self.at, expected }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The longest run of such characters after white space.
    fn run(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !accepts(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len_utf8() } else { 0 };
        found
    }

    fn arguments(&mut self) -> Result<Vec<u32>, LayoutError> {
        if !self.take('(') {
            return Err(self.refuse("`(`"));
        }
        let mut arguments = vec![];
        while !self.take(')') {
            if !arguments.is_empty() && !self.take(',') {
                return Err(self.refuse("`,` or `)`"));
            }
            self.skip_space();
            let start = self.at;
            let number = self.run(|c| c.is_ascii_digit());
            let number =
                number.parse().map_err(|_| LayoutError::Syntax { at: start, expected: "a 32-bit number" })?;
            arguments.push(number);
        }
        Ok(arguments)
    }
}

/// Reads a chain of factors, each a step from the layout to its left; `layout` is what the chain begins with.
pub(super) fn read<L>(
    text: &str,
    mut layout: L,
    then: impl Fn(&L, &str, &[u32]) -> Result<L, LayoutError>,
) -> Result<L, LayoutError> {
    let mut reader = Reader { text, at: 0 };
    loop {
        let name = reader.run(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            return Err(reader.refuse("a layout factor"));
        }
        let arguments = reader.arguments()?;
        layout = then(&layout, name, &arguments)?;
        if !reader.take('.') {
            break;
        }
    }
    reader.skip_space();
    if reader.at < text.len() { Err(reader.refuse("`.` or the end")) } else { Ok(layout) }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        read(text, Layout::local(&[])?, Layout::then)
    }
}

/// A factor in the making: some digits of one list.
struct Factor {
    spatial: bool,
    extents: Vec<u32>,
    /// The dimensions taken so far, all upwards or all downwards.
    dims: Vec<usize>,
}

impl Factor {
    fn accepts(&self, spatial: bool, dim: usize) -> bool {
        let upwards = match self.dims[..] {
            [first, second, ..] => Some(first < second),
            _ => None,
        };
        let Some(&last) = self.dims.last() else { return false };
        self.spatial == spatial && dim != last && upwards.is_none_or(|upwards| upwards == (last < dim))
    }

    fn text(&self) -> String {
        let downwards = self.dims.first() > self.dims.last();
        let name = match (self.spatial, downwards) {
            (true, false) => "spatial",
            (true, true) => "column_spatial",
            (false, false) => "local",
            (false, true) => "column_local",
        };
        format!("{name}({})", list(&self.extents))
    }
}

/// Numbers between commas.
pub(super) fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// The factors of a layout without reshape, if it can be written so.
fn chain(layout: &Layout) -> Option<Vec<String>> {
    let lists = [layout.local_digits(), layout.spatial_digits()];
    let mut next = [0, 0];
    // The part of each dimension that is not yet written.
    let mut left = layout.shape().to_vec();
    let mut factors: Vec<String> = vec![];
    let mut current: Option<Factor> = None;
    let mut shaped = false;
    loop {
        let candidate = |list: usize| -> Option<Digit> { lists[list].get(next[list]).copied() };
        let ready = |list: usize| {
            candidate(list).filter(|digit| {
                digit.place.is_none_or(|place| {
                    u64::from(place.stride) * u64::from(digit.extent) == left[place.dim].into()
                })
            })
        };
        let extends = |list: usize| {
            let place = ready(list)?.place?;
            current.as_ref()?.accepts(list == 1, place.dim).then_some(list)
        };
        let chosen = extends(0).or_else(|| extends(1)).or_else(|| (0..2).find(|&list| ready(list).is_some()));
        let Some(list) = chosen else { break };
        let extending = extends(list).is_some();
        let digit = ready(list)?;
        if !extending {
            factors.extend(current.take().map(|factor| factor.text()));
        }
        next[list] += 1;
        match digit.place {
            Some(place) => {
                shaped = true;
                left[place.dim] = place.stride;
                let factor = current.get_or_insert_with(|| Factor {
                    spatial: list == 1,
                    extents: vec![1; layout.rank()],
                    dims: vec![],
                });
                factor.extents[place.dim] = digit.extent;
                factor.dims.push(place.dim);
            }
            None => factors.push(format!("replicated({})", digit.extent)),
        }
    }
    if (0..2).any(|list| next[list] < lists[list].len()) {
        return None;
    }
    factors.extend(current.map(|factor| factor.text()));
    // Something has to tell the rank.
    if !shaped && (factors.is_empty() || layout.rank() > 0) {
        factors.push(format!("local({})", list(layout.shape())));
    }
    Some(factors)
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factors = chain(self).or_else(|| {
            let mut factors = chain(&self.reshape(self.mode_shape()).ok()?)?;
            factors.push(format!("reshape({})", list(self.shape())));
            Some(factors)
        });
        // With each mode a dimension of its own, the order of modes within a dimension forbids nothing.
        f.pad(&factors.ok_or(fmt::Error)?.join("."))
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
