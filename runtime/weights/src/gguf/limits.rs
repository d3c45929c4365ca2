//! The caps of the GGUF reader, each with its reason. All are tested at the limit and one beyond.

/// The longest string value. Chat templates are the longest known, at some tens of KiB.
pub const MAX_STRING_BYTES: u64 = 1 << 20;
/// The longest metadata key: the file format's own limit.
pub const MAX_KEY_BYTES: u64 = 65_535;
/// The longest tensor name. The format's tools stop at 64.
pub const MAX_TENSOR_NAME_BYTES: u64 = 256;
/// The most metadata entries. Real files have fewer than a hundred.
pub const MAX_METADATA_ENTRIES: u64 = 65_536;
/// The most tensors.
pub const MAX_TENSORS: u64 = 1_000_000;
/// The most dimensions of a tensor: the file format's own limit.
pub const MAX_DIMENSIONS: u32 = 4;
/// How deep arrays of arrays may nest; a plain array has depth 1.
pub const MAX_ARRAY_DEPTH: u32 = 4;
/// The most arrays inside arrays in the whole file: each costs a small allocation.
pub const MAX_INNER_ARRAYS: u64 = 65_536;
/// The largest `general.alignment`.
pub const MAX_ALIGNMENT: u64 = 1 << 20;
/// Metadata and tensor records together: bounds what a sparse file of any length can make us allocate.
pub const MAX_HEADER_BYTES: u64 = 256 << 20;
/// The alignment when `general.alignment` is absent.
pub const DEFAULT_ALIGNMENT: u64 = 32;
