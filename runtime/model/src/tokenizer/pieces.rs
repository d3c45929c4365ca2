//! SentencePiece vocabularies (`llama`): pieces with scores in place of a list of merges.
//!
//! **Maps** pieces and scores to the merges that the `tokenizers` library needs: every way to cut a piece into two
//! pieces is a merge, ranked by the score of the whole, ties by the ids of the whole and then of the parts. The space
//! is the letter U+2581.
//!
//! Each text, also between control tokens, is taken to begin with a space unless the file says no.
//!
//! **Invariant.** Only normal pieces are cut or result from a merge, so text cannot be merged to a control token.
//!
//! **Refuses** vocabularies whose pieces can be cut in more than [`MAX_MERGES`] ways, or whose cuts are more than [`MAX_MERGE_BYTES`] of text: 4,096 pieces `a`, `aa`, `aaa`, .. are a file of
//! 8 MB, and have eight million cuts of 23 GB.

use tokenizers::NormalizerWrapper;
use tokenizers::models::bpe::Merges;
use tokenizers::normalizers::Replace;

use super::vocabulary::{TokenKind, Vocabulary, VocabularyError};

/// The letter that stands for a space in pieces.
pub const SPACE: char = '\u{2581}';
/// The most merges: a vocabulary of 262,144 pieces has about two million.
pub const MAX_MERGES: usize = 1 << 22;
/// The most bytes of their parts together: two million of ordinary length take a fifth of it.
pub const MAX_MERGE_BYTES: usize = 80 << 20;

/// The merges of a vocabulary, best first.
pub(super) fn merges(vocabulary: &Vocabulary, scores: &[f32]) -> Result<Merges, VocabularyError> {
    let normal =
        |text: &str| vocabulary.id(text).filter(|&id| vocabulary.kind(id) == Some(TokenKind::Normal));
    let mut found: Vec<(u32, u32, u32)> = Vec::new();
    let mut bytes = 0;
    for (whole, text, kind) in vocabulary.iter() {
        if kind != TokenKind::Normal {
            continue;
        }
        for (cut, _) in text.char_indices().skip(1) {
            if let (Some(left), Some(right)) = (normal(&text[..cut]), normal(&text[cut..])) {
                if found.len() == MAX_MERGES {
                    return Err(VocabularyError::TooMany {
                        what: "merges",
                        count: MAX_MERGES + 1,
                        limit: MAX_MERGES,
                    });
                }
                bytes += text.len();
                if bytes > MAX_MERGE_BYTES {
                    let what = "bytes of merges";
                    return Err(VocabularyError::TooMany { what, count: bytes, limit: MAX_MERGE_BYTES });
                }
                found.push((whole, left, right));
            }
        }
    }
    // Scores are finite, which `Vocabulary::scores` has checked.
    found.sort_by(|a, b| scores[b.0 as usize].total_cmp(&scores[a.0 as usize]).then(a.cmp(b)));
    let text = |id: u32| vocabulary.text(id).unwrap_or_default().to_owned();
    Ok(found.into_iter().map(|(_, left, right)| (text(left), text(right))).collect())
}

/// Spaces to their letter.
pub(super) fn normalizer() -> tokenizers::Result<NormalizerWrapper> {
    Ok(Replace::new(" ", SPACE.to_string())?.into())
}
