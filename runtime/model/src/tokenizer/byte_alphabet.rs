//! The printable alphabet of byte-level vocabularies: one letter for each byte.
//!
//! **Maps** a byte to a letter and back. Bytes that are visible Latin-1 characters stand for themselves; the other 68
//! are numbered in order from U+0100: the space 0x20 is `Ġ` (U+0120), the newline 0x0A is `Ċ`.
//!
//! **Invariant.** It is a bijection between the 256 bytes and 256 letters, so a token's text tells its bytes.

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The letter of a byte.
pub fn letter(byte: u8) -> char {
    if stands_for_itself(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !stands_for_itself(other)).count();
    // At most 67 come before, so the sum is a letter of Latin Extended-A.
    char::from_u32(0x100 + before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Both directions of the alphabet, made once.
#[derive(Clone, Debug)]
pub struct Alphabet {
    /// The byte of each letter below U+0144.
    bytes: [Option<u8>; 0x144],
}

impl Default for Alphabet {
    fn default() -> Self {
        let mut bytes = [None; 0x144];
        for byte in 0..=u8::MAX {
            bytes[letter(byte) as usize] = Some(byte);
        }
        Alphabet { bytes }
    }
}

impl Alphabet {
    /// Appends the bytes of a token's text; `false`, with nothing appended, if some letter is not of the alphabet.
    pub fn append_bytes(&self, text: &str, output: &mut Vec<u8>) -> bool {
        let start = output.len();
        for letter in text.chars() {
            match self.bytes.get(letter as usize).copied().flatten() {
                Some(byte) => output.push(byte),
                None => {
                    output.truncate(start);
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_bijection() {
        let alphabet = Alphabet::default();
        assert_eq!(alphabet.bytes.iter().flatten().count(), 256);
        for byte in 0..=u8::MAX {
            let mut bytes = Vec::new();
            assert!(alphabet.append_bytes(&letter(byte).to_string(), &mut bytes));
            assert_eq!(bytes, [byte]);
        }
        assert_eq!(
            (letter(b' '), letter(b'\n'), letter(0), letter(0xad), letter(b'A')),
            ('Ġ', 'Ċ', 'Ā', 'Ń', 'A')
        );
        let mut bytes = vec![1];
        assert!(!alphabet.append_bytes("Ġa b", &mut bytes), "a space is no letter");
        assert!(!alphabet.append_bytes("日", &mut bytes));
        assert_eq!(bytes, [1]);
    }
}
