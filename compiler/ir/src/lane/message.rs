//! How a message becomes text: its place in the source, `file:line:column: `, then its words, each `{}` replaced by its operand. One place,
//! so that the interpreters and every host print the same. What has no place (IR written by hand) begins with its words.
//!
//! Operands arrive as 32-bit words in order: a uniform value is one word, an `i64` two (the low half first),
//! a varying value one word per lane. Floats print as the shortest decimal that reads back (`1.0`, `1e-10`,
//! `NaN`), integers signed, a varying value as `[1, 2, 3]`. Words that are missing print as `?`.

use std::fmt::Write as _;

use super::function::Message;
use super::types::{Scalar, Type};

impl Message {
    /// A printed line: its place, and the text with its operands, of these types, put in.
    ///
    /// ```
    /// use tvmc_ir::lane::{Message, Scalar, Type};
    /// let message = Message { text: "x = {}, n = {}".to_owned(), location: "k.tile:3:5".to_owned() };
    /// let types = [Type::varying(Scalar::F32), Type::uniform(Scalar::I32)];
    /// let words = [1.5f32.to_bits(), 2f32.to_bits(), 7];
    /// assert_eq!(message.format(&types, 2, &words), "k.tile:3:5: x = [1.5, 2.0], n = 7");
    /// ```
    pub fn format(&self, types: &[Type], lanes: u32, words: &[u32]) -> String {
        let mut out = self.placed("");
        let mut words = words.iter().copied();
        let mut types = types.iter();
        for (at, piece) in self.text.split("{}").enumerate() {
            if at > 0 {
                match types.next() {
                    Some(ty) if ty.is_varying() => {
                        out.push('[');
                        for lane in 0..lanes {
                            out.push_str(if lane == 0 { "" } else { ", " });
                            scalar(&mut out, ty.scalar, &mut words);
                        }
                        out.push(']');
                    }
                    Some(ty) => scalar(&mut out, ty.scalar, &mut words),
                    None => out.push('?'),
                }
            }
            out.push_str(piece);
        }
        out
    }

    /// What an assertion says that does not hold. Braces in its text are the source's own.
    ///
    /// ```
    /// let message = tvmc_ir::lane::Message { text: "n > 0".to_owned(), location: "k.tile:3:5".to_owned() };
    /// assert_eq!(message.failed(), "k.tile:3:5: assertion failed: n > 0");
    /// ```
    pub fn failed(&self) -> String {
        self.placed(&format!("assertion failed: {}", self.text))
    }

    /// Words behind the message's place.
    pub fn placed(&self, words: &str) -> String {
        if self.location.is_empty() { words.to_owned() } else { format!("{}: {words}", self.location) }
    }
}

/// The text with the placeholder of each operand, of these shapes, replaced by one for each element: row-major, a pair of brackets for
/// each axis. So a printed tile is printed alike by every machine, whatever its lanes.
///
/// ```
/// assert_eq!(tvmc_ir::lane::spell_out("a {} b {}", &[vec![], vec![2, 3]]), "a {} b [[{}, {}, {}], [{}, {}, {}]]");
/// ```
pub fn spell_out(text: &str, shapes: &[Vec<u32>]) -> String {
    let mut shapes = shapes.iter();
    let mut out = String::new();
    for (at, piece) in text.split("{}").enumerate() {
        if at > 0 {
            let shape = shapes.next().map_or(&[][..], Vec::as_slice);
            let element = "{}".to_owned();
            out += &shape
                .iter()
                .rev()
                .fold(element, |inner, extent| format!("[{}]", vec![inner; *extent as usize].join(", ")));
        }
        out += piece;
    }
    out
}

/// Appends one value, taking its words.
fn scalar(out: &mut String, scalar: Scalar, words: &mut impl Iterator<Item = u32>) {
    let written = match (scalar, words.next()) {
        (_, None) => write!(out, "?"),
        (Scalar::F32, Some(word)) => write!(out, "{:?}", f32::from_bits(word)),
        (Scalar::I32, Some(word)) => write!(out, "{}", word.cast_signed()),
        (Scalar::Bool, Some(word)) => write!(out, "{}", word != 0),
        (Scalar::I64, Some(low)) => match words.next() {
            Some(high) => write!(out, "{}", (u64::from(high) << 32 | u64::from(low)).cast_signed()),
            None => write!(out, "?"),
        },
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}
