//! Places in source text.
//!
//! A [`Span`] is a half-open range of *bytes* in one source file. Bytes, not characters, because every
//! stage slices the text with them; lines and columns are computed only when a person looks
//! ([`crate::source::Source::position`]).
//!
//! Invariant: `start <= end`. Both are offsets below 4 MiB ([`crate::limits::MAX_SOURCE_BYTES`]), so `u32` holds them.
//!
//! ```
//! use tvmc_lang::span::{SourceId, Span};
//! let file = SourceId(0);
//! let (a, b) = (Span::new(file, 2, 5), Span::new(file, 9, 12));
//! assert_eq!(a.to(b), Span::new(file, 2, 12));
//! assert_eq!(a.end_point(), Span::new(file, 5, 5));
//! ```

use std::ops::Range;

/// Which file of a [`crate::source::SourceMap`] a span lies in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SourceId(pub u32);

/// A half-open byte range in one source file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span {
    /// The file.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end` of `source`; swapped ends are put in order.
    pub fn new(source: SourceId, start: u32, end: u32) -> Self {
        Span { source, start: start.min(end), end: start.max(end) }
    }

    /// The smallest span that covers both. Spans of different files do not join: the first is kept.
    pub fn to(self, other: Span) -> Self {
        if self.source != other.source {
            return self;
        }
        Span { source: self.source, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The empty span just before the first byte.
    pub fn start_point(self) -> Self {
        Span { end: self.start, ..self }
    }

    /// The empty span just after the last byte.
    pub fn end_point(self) -> Self {
        Span { start: self.end, ..self }
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers no byte.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `other` lies inside.
    pub fn contains(self, other: Span) -> bool {
        self.source == other.source && self.start <= other.start && other.end <= self.end
    }

    /// As a range for slicing text.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}
