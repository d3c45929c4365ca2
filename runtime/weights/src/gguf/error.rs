//! What can be wrong with a GGUF file: always an offset, a field, and one of these kinds.

use crate::sizes::SizeError;

/// A refusal: where, in which field, and why.
///
/// ```text
/// byte 24, metadata 0 key: 4294967295 bytes announced, 12 left in the file
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}, {field}: {kind}")]
pub struct GgufError {
    /// Offset of the field in the file.
    pub offset: u64,
    /// The field, in words; names taken from the file are escaped.
    pub field: String,
    /// The reason.
    pub kind: GgufErrorKind,
}

/// Why a GGUF file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufErrorKind {
    /// The first four bytes are not `GGUF`.
    #[error("this is not a GGUF file (it starts with {0:02x?})")]
    NotGguf(Vec<u8>),
    /// The version reads as a byte-swapped small number.
    #[error("this is a big-endian GGUF file; only little-endian files are read")]
    BigEndian,
    /// Version 1, or one from the future.
    #[error("GGUF version {0}; versions 2 and 3 are read")]
    UnsupportedVersion(u32),
    /// Fewer bytes than the field needs.
    #[error("{needed} bytes announced, {left} left in the file")]
    Truncated {
        /// Bytes the field needs.
        needed: u64,
        /// Bytes that remain.
        left: u64,
    },
    /// A count for which the rest of the file has no room.
    #[error("{count} items of at least {item_bytes} bytes announced, {left} bytes left in the file")]
    CountBeyondFile {
        /// The count in the file.
        count: u64,
        /// The fewest bytes one item can take.
        item_bytes: u64,
        /// Bytes that remain.
        left: u64,
    },
    /// A count or length above a cap of this reader.
    #[error("{count} exceeds the limit of {limit}")]
    OverLimit {
        /// The count or length in the file.
        count: u64,
        /// The cap.
        limit: u64,
    },
    /// Metadata and tensor records are larger than the reader accepts.
    #[error("metadata and tensor records exceed {0} bytes")]
    HeaderTooLarge(u64),
    /// A string that is not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// An empty key or tensor name.
    #[error("empty name")]
    EmptyName,
    /// A value type that does not exist.
    #[error("unknown value type {0}")]
    UnknownValueType(u32),
    /// A truth value other than 0 and 1.
    #[error("a truth value of {0}; only 0 and 1 exist")]
    BadBool(u8),
    /// Arrays nested too deeply.
    #[error("arrays nested deeper than {0}")]
    ArrayTooDeep(u32),
    /// The same key or tensor name twice.
    #[error("this name occurs twice")]
    Duplicate,
    /// What the file says of a tensor in a format of its own does not fit.
    #[error("{0}")]
    Declared(String),
    /// `general.alignment` is not of type u32.
    #[error("the alignment must be a u32, it is {0}")]
    AlignmentType(&'static str),
    /// `general.alignment` is no power of two from 1 to the cap.
    #[error("an alignment of {0}; it must be a power of two from 1 to {max}", max = super::limits::MAX_ALIGNMENT)]
    BadAlignment(u64),
    /// A tensor of no dimensions or too many.
    #[error("{0} dimensions; a tensor has 1 to {max}", max = super::limits::MAX_DIMENSIONS)]
    BadRank(u32),
    /// A type id that never existed.
    #[error("unknown tensor type {0}")]
    UnknownTensorType(u32),
    /// A type id that was withdrawn from the file format.
    #[error("tensor type {0} was withdrawn from the file format; convert the model again")]
    RetiredTensorType(u32),
    /// The shape has no size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A tensor's offset is not aligned.
    #[error("offset {offset} is not a multiple of the alignment {alignment}")]
    Misaligned {
        /// Offset within the data area.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor begins before the one listed before it ends.
    #[error(
        "offset {offset} lies before {expected}, the end of the tensor listed before: overlap, or not in order"
    )]
    Overlap {
        /// Offset within the data area.
        offset: u64,
        /// The offset at which it must begin.
        expected: u64,
    },
    /// Unaccounted bytes between two tensors.
    #[error("offset {offset} leaves a gap after {expected}, the end of the tensor listed before")]
    Gap {
        /// Offset within the data area.
        offset: u64,
        /// The offset at which it must begin.
        expected: u64,
    },
    /// Data that belongs to no tensor.
    #[error("{0} bytes after the last tensor belong to nothing")]
    TrailingBytes(u64),
}
