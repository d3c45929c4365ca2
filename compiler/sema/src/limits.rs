//! How much a source may ask for beyond its own length: fns, loops and formats unfold. Each limit is checked where it could first be passed, and passing one is a
//! diagnostic. The lengths themselves have theirs in `tvmc_lang::limits`, what makes up tile IR in `tvmc_ir`.

/// Files of one program, its own and those of the standard library.
pub const MAX_MODULES: usize = 1024;

/// Depth of expressions, blocks and expanded fns together.
pub const MAX_DEPTH: u32 = 600;

/// Fns that stand in each other's bodies, all expanded where the first is called.
pub const MAX_CALLS: usize = 64;

/// Values of one instance of a kernel.
pub const MAX_VALUES: usize = 1 << 16;

/// Elements of a format's group.
pub const MAX_GROUP: i64 = 1 << 16;

/// Bits of a group, or of the fields of a row or of a tensor.
pub const MAX_SCOPE_BITS: u64 = 1 << 27;

/// Elements of a field, and entries of a table (more than a source has room to list).
pub const MAX_TABLE: u64 = 1 << 20;
