//! Decoding as tokens come: text leaves only in whole characters.
//!
//! **Maps** a sequence of tokens to pieces of text. A token may end within a character (a byte-level vocabulary spells
//! an emoji with three or four tokens); its bytes wait until the character is complete or cannot be completed.
//!
//! **Invariant.** The pieces joined, with [`StreamDecoder::finish`]'s, equal `String::from_utf8_lossy` of all bytes.

use super::{TokenKind, Tokenizer, TokenizerError};
use std::ops::Deref;

/// The state between tokens: fewer than four bytes.
#[derive(Clone, Debug)]
pub struct StreamDecoder<T: Deref<Target = Tokenizer>> {
    tokenizer: T,
    waiting: Vec<u8>,
}

impl<T: Deref<Target = Tokenizer>> StreamDecoder<T> {
    /// A decoder over a tokenizer, borrowed or shared.
    pub fn new(tokenizer: T) -> Self {
        StreamDecoder { tokenizer, waiting: Vec::new() }
    }

    /// Takes a token and gives the text that is complete by it; control tokens give none.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        let size = self.tokenizer.vocabulary_size();
        let out_of_range = TokenizerError::IdOutOfRange { id, size };
        let (Some(kind), Some(bytes)) = (self.tokenizer.token_kind(id), self.tokenizer.token_bytes(id))
        else {
            return Err(out_of_range);
        };
        if kind == TokenKind::Control {
            return Ok(String::new());
        }
        self.waiting.extend_from_slice(bytes);
        Ok(take_complete(&mut self.waiting))
    }

    /// Ends the text: bytes that still wait for more become U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.waiting)).into_owned()
    }
}

/// Takes all but an unfinished last character out of `bytes`; what is no UTF-8 becomes U+FFFD.
fn take_complete(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = &bytes[..];
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                rest = &[];
                break;
            }
            Err(error) => {
                let (valid, invalid) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                let Some(length) = error.error_len() else {
                    rest = invalid;
                    break;
                };
                text.push(char::REPLACEMENT_CHARACTER);
                rest = &invalid[length..];
            }
        }
    }
    let unfinished = rest.len();
    bytes.drain(..bytes.len() - unfinished);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_for_the_rest_of_a_character() {
        let mut bytes = "a\u{1f600}".as_bytes()[..4].to_vec();
        assert_eq!(take_complete(&mut bytes), "a");
        assert_eq!(bytes.len(), 3);
        bytes.extend("\u{1f600}b".as_bytes()[3..].iter());
        assert_eq!(take_complete(&mut bytes), "\u{1f600}b");
        let mut broken = vec![0xf0, 0x9f, b'x', 0xff, 0xe2];
        assert_eq!(take_complete(&mut broken), "\u{fffd}x\u{fffd}");
        assert_eq!(broken, [0xe2]);
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_lossy_whole(
            whole in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "\\PC{0,20}".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(1usize..4, 40),
        ) {
            let (mut waiting, mut joined, mut rest) = (Vec::new(), String::new(), &whole[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                waiting.extend_from_slice(piece);
                joined.push_str(&take_complete(&mut waiting));
                prop_assert!(waiting.len() < 4);
                rest = after;
            }
            waiting.extend_from_slice(rest);
            joined.push_str(&take_complete(&mut waiting));
            joined.push_str(&String::from_utf8_lossy(&waiting));
            prop_assert_eq!(joined, String::from_utf8_lossy(&whole));
        }
    }
}
