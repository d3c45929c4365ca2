//! The report binding of kernels with `assert` or `print`: three counters and a log of words.
//!
//! ```text
//! word 0   status: 0, or 1 + the message number of the first failed assert
//! word 1   cursor: words of the log handed out so far (may pass the end)
//! word 2   dropped: records that did not fit
//! word 3.. log: records [length, site, block, word...], length counting the whole record
//! ```
//!
//! A site is the number of a print operation in [`crate::Shader::prints`], which knows the message and the operand types.
//! The host zeroes it all before a launch. An operand of a print takes one word, a varying one a word per lane and
//! an `i64` two (low, high); a bool is 0 or 1. Records of one block stand in program order, records of different
//! blocks in any order; [`decode`] sorts them by block.
//!
//! # Example
//!
//! ```
//! use tvmc_backend_wgsl::report::{Record, decode};
//! let report = decode(&[3, 4, 0, /* log */ 4, 7, 1, 42, 0, 0]);
//! assert_eq!(report.failed, Some(2));
//! assert_eq!(report.records, [Record { site: 7, block: 1, words: vec![42] }]);
//! ```

/// Words before the log.
pub const HEADER_WORDS: usize = 3;

/// One executed print.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which print operation.
    pub site: u32,
    /// The block's linear number: x + grid.x * (y + grid.y * z).
    pub block: u32,
    /// The operands, one after the other.
    pub words: Vec<u32>,
}

/// What a launch had to say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The message number of the first failed assert.
    pub failed: Option<u32>,
    /// The prints, by block.
    pub records: Vec<Record>,
    /// Prints that did not fit in the log.
    pub dropped: u32,
}

/// Reads the words of a report binding. Total: a log that makes no sense ends early.
pub fn decode(words: &[u32]) -> Report {
    let header = |at: usize| words.get(at).copied().unwrap_or(0);
    let mut log = words.get(HEADER_WORDS..).unwrap_or(&[]);
    log = &log[..log.len().min(header(1) as usize)];
    let mut records = Vec::new();
    while let [length, site, block, ..] = *log {
        let length = length as usize;
        if length < 3 || length > log.len() {
            break;
        }
        records.push(Record { site, block, words: log[3..length].to_vec() });
        log = &log[length..];
    }
    records.sort_by_key(|r| r.block);
    Report { failed: header(0).checked_sub(1), records, dropped: header(2) }
}
