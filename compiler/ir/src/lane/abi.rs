//! How compiled lane code is called on a CPU: the contract between `backend/x86`, `backend/cranelift`
//! and `vm/cpu`. One call runs one block:
//!
//! ```text
//! extern "C" fn(args: *const KernelArgs, block_x: i32, block_y: i32, block_z: i32)
//! ```
//!
//! `vm/cpu` declares the `repr(C)` struct; the backends read its fields at these byte offsets.
//! Pointers are 64 bits wide. Buffers and the arena are aligned to [`ALIGNMENT`] bytes.

/// `*const *mut u8`: base address of each buffer argument, in order.
pub const BUFFERS: i32 = 0;
/// `*const u64`: each scalar argument in 8 bytes (f32 and i32 in the low half, bool as 0 or 1).
pub const SCALARS: i32 = 8;
/// `*mut u8`: this worker's arena, [`super::Function::arena_bytes`] long.
pub const ARENA: i32 = 16;
/// `*mut u32`: zero, or 1 + the message number of the first failed assert (stored with plain writes; any failing one wins).
pub const STATUS: i32 = 24;
/// `[i32; 4]`: the grid's size on each axis, then padding.
pub const GRID: i32 = 32;
/// `extern "C" fn(log: *mut c_void, message: u32, words: *const u32, count: u32)`: called by `print` with its
/// operands as 32-bit words, a varying one as `lanes` words.
pub const PRINT: i32 = 48;
/// `*mut c_void`: first argument of [`PRINT`].
pub const LOG: i32 = 56;
/// Size of the struct.
pub const SIZE: usize = 64;
/// Alignment of buffers and arenas.
pub const ALIGNMENT: usize = 64;
