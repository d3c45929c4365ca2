//! Words of strangers in messages.
//!
//! A name from a file may hold megabytes, or signs that a terminal obeys. In a message it is quoted ([`name`]), and a library's own message that
//! repeats what it found is cut in its middle ([`clipped`]), where the repetition is: what is expected, and where, stand at the ends.
//!
//! ```text
//! name("w\n")                     "w\n"           as a Rust literal
//! clipped(unknown variant ..)     unknown variant `AAAA[.. 9000 characters ..]AAAA`, expected .. at line 1 column 30
//! ```

use std::fmt::Display;

/// Characters of a message that are kept at its begin, and at its end.
const KEPT: usize = 160;

/// A name as a literal, cut to a readable length.
pub(crate) fn name(text: &str) -> String {
    clipped(format_args!("{text:?}"))
}

/// A message without control characters, cut to a readable length.
pub(crate) fn clipped(message: impl Display) -> String {
    let text: String = message
        .to_string()
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    let count = text.chars().count();
    let place = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(place, _)| place);
    if count <= 2 * KEPT {
        return text;
    }
    let (begin, end) = (&text[..place(KEPT)], &text[place(count - KEPT)..]);
    format!("{begin}[.. {} characters ..]{end}", count - 2 * KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_stay_and_long_ones_keep_their_ends() {
        assert_eq!(name("w\n"), r#""w\n""#);
        assert_eq!(clipped("a\u{1b}[31m"), "a\u{fffd}[31m");
        let long = clipped(format_args!("begin {} end", "ü".repeat(1 << 20)));
        assert!(long.starts_with("begin ü") && long.ends_with("ü end") && long.len() < 1000, "{long}");
        assert_eq!(clipped("x".repeat(2 * KEPT)), "x".repeat(2 * KEPT));
    }
}
