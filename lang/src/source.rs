//! Source files: their text, their names, and where a byte is in lines and columns.
//!
//! A [`SourceMap`] only grows, so a [`SourceId`] stays valid for the map's life. Text enters as bytes
//! ([`SourceMap::add_bytes`]) and is checked once: after that every stage may rely on it being UTF-8 and at most
//! [`MAX_SOURCE_BYTES`] long. A file that breaks either rule is still added, cut to its longest good
//! beginning, so that the diagnostic has something to point at.
//!
//! ```
//! use tvmc_lang::source::{Position, SourceMap};
//! let mut map = SourceMap::new();
//! let id = map.add("a.tile", "let x\n= 1;\n").unwrap();
//! assert_eq!(map.source(id).position(8), Position { line: 2, column: 3 });
//! ```

use crate::diag::{Code, Diagnostic};
use crate::limits::MAX_SOURCE_BYTES;
use crate::span::{SourceId, Span};

/// A place as people count: both from 1. Columns count Unicode scalar values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position {
    /// Line number.
    pub line: usize,
    /// Column number.
    pub column: usize,
}

/// One source file.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Byte offset at which each line begins; the first is 0.
    line_starts: Vec<u32>,
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let starts = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i as u32 + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        Source { name, text, line_starts }
    }

    /// The name it was added under, usually its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset; an offset past the end counts as the end, one inside a character as its start.
    pub fn position(&self, offset: u32) -> Position {
        let offset = floor_char_boundary(&self.text, offset as usize);
        let line = self.line_starts.partition_point(|&start| start as usize <= offset);
        let start = self.line_starts[line - 1] as usize;
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }

    /// The text of a line, counted from 1, without its line ending; `None` past the last line.
    pub fn line(&self, line: usize) -> Option<&str> {
        let start = *self.line_starts.get(line.checked_sub(1)?)? as usize;
        let end = self.line_starts.get(line).map_or(self.text.len(), |&next| next as usize);
        Some(self.text[start..end].trim_end_matches(['\n', '\r']))
    }
}

/// All source files of one compilation.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    sources: Vec<Source>,
}

impl SourceMap {
    /// An empty map.
    pub fn new() -> Self {
        SourceMap::default()
    }

    /// Adds a file. If the text is longer than [`MAX_SOURCE_BYTES`] the file is added cut short, and the
    /// diagnostic returned says so; its id is in the diagnostic's label.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Result<SourceId, Box<Diagnostic>> {
        let mut text = text.into();
        let full = text.len();
        let id = SourceId(self.sources.len() as u32);
        if full <= MAX_SOURCE_BYTES {
            self.sources.push(Source::new(name.into(), text));
            return Ok(id);
        }
        text.truncate(floor_char_boundary(&text, MAX_SOURCE_BYTES));
        self.sources.push(Source::new(name.into(), text));
        Err(Box::new(too_long(id, full)))
    }

    /// Adds a file from bytes, which must be UTF-8; otherwise the longest beginning that is UTF-8 is added and the
    /// diagnostic returned points just after it.
    pub fn add_bytes(&mut self, name: impl Into<String>, bytes: &[u8]) -> Result<SourceId, Box<Diagnostic>> {
        let head = &bytes[..bytes.len().min(MAX_SOURCE_BYTES)];
        let id = SourceId(self.sources.len() as u32);
        // A cut at the length limit may split a character; that is the limit's fault, not the encoding's.
        let (text, diagnostic) = match std::str::from_utf8(head) {
            Ok(text) if head.len() == bytes.len() => (text, None),
            Ok(text) => (text, Some(too_long(id, bytes.len()))),
            Err(error) => {
                let good = error.valid_up_to();
                let text = std::str::from_utf8(&head[..good]).unwrap_or_default();
                let diagnostic = if error.error_len().is_none() && head.len() < bytes.len() {
                    too_long(id, bytes.len())
                } else {
                    Diagnostic::error(
                        Code::InvalidUtf8,
                        format!("byte {:#04x} at offset {good} is not UTF-8", head[good]),
                    )
                    .at(Span::new(id, good as u32, good as u32), "the text is good up to here")
                    .help("save the file as UTF-8")
                };
                (text, Some(diagnostic))
            }
        };
        self.sources.push(Source::new(name.into(), text.to_owned()));
        diagnostic.map_or(Ok(id), |d| Err(Box::new(d)))
    }

    /// A file by its id.
    ///
    /// # Panics
    /// If the id is from another map.
    pub fn source(&self, id: SourceId) -> &Source {
        &self.sources[id.0 as usize]
    }

    /// A file by its id, if this map has it.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0 as usize)
    }

    /// The text a span covers; empty if the span is not of this map.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.source).and_then(|s| s.text.get(span.range())).unwrap_or_default()
    }

    /// All files with their ids, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.sources.iter().enumerate().map(|(i, s)| (SourceId(i as u32), s))
    }
}

pub(crate) fn too_long(id: SourceId, length: usize) -> Diagnostic {
    Diagnostic::error(
        Code::SourceTooLong,
        format!("this source is {length} bytes long; at most {MAX_SOURCE_BYTES} are read"),
    )
    .at(Span::new(id, 0, 0), "in this file")
    .help("move some items to another file and bring them in with `use \"other.tile\";`")
}

/// The largest character boundary not above `offset`.
pub(crate) fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
