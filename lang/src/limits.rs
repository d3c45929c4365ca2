//! How big a source may be. Every limit is checked where it could first be passed, and passing one is a
//! diagnostic: no input makes the front end overflow its stack or allocate without bound.

/// Bytes in one source file.
pub const MAX_SOURCE_BYTES: usize = 4 << 20;

/// Tokens in one source file.
pub const MAX_TOKENS: usize = 1_000_000;

/// Depth of brackets, and of expression nodes. Walks over the tree may recurse: no path from an item to a leaf has more
/// than `2 * MAX_NESTING` nodes that nest.
pub const MAX_NESTING: usize = 256;

/// Tokens of one file, each counted once for every bracket and prefix operator around it: ordinary source has a handful.
pub const MAX_DEEP_TOKENS: usize = 8 * MAX_TOKENS;

/// Arms of one `if .. else if ..` chain.
pub const MAX_ARMS: usize = 256;

/// Diagnostics reported for one file; what follows is most likely noise.
pub const MAX_DIAGNOSTICS: usize = 100;
