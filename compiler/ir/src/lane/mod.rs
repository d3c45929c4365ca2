//! Lane IR: one machine under every backend.
//!
//! A block is executed by `lanes` virtual lanes that run in lockstep. A **varying** value holds one
//! 32-bit register per lane; a **uniform** value is the same in all lanes and is held once. On a CPU a
//! varying value is `ceil(lanes / P)` vector registers of `P` elements; on a GPU a lane is an invocation.
//!
//! Control flow is structured and always uniform: [`Stmt::For`], [`Stmt::Loop`], [`Stmt::If`], with
//! loop-carried values and results instead of phis. Memory is reached only through explicit operations
//! on buffers (arguments), arenas (block-shared scratch) and constant tables.
//!
//! Reading order: `types` (what a value is), `op` (the op table), `fragment` (matrices that lanes hold together), `function` (the container),
//! `builder`, `print`, `parse`, `verify` (the rules), `stats`.
//!
//! # Example: y[i] += a * x[i], 16 lanes, ragged n
//!
//! ```text
//! kernel @axpy lanes 16 {
//!   buffer b0 "x" read
//!   buffer b1 "y" readwrite
//!   scalar v0: u.i32 "n"
//!   scalar v1: u.f32 "a"
//!   v2: u.i32 = block_index.x
//!   v3: u.i32 = const.i32 16
//!   v4: u.i32 = imul v2, v3
//!   v5: v.i32 = lane_index
//!   v6: v.i32 = splat v4
//!   v7: v.i32 = iadd v5, v6
//!   v8: v.i32 = splat v0
//!   v9: v.bool = ilt_s v7, v8
//!   v10: u.i64 = i32_to_i64 v4
//!   v11: v.f32 = load.contig.f32 b0[v10] mask v9
//!   v12: v.f32 = load.contig.f32 b1[v10] mask v9
//!   v13: v.f32 = splat v1
//!   v14: v.f32 = fma v13, v11, v12
//!   store.contig.f32 b1[v10], v14 mask v9
//! }
//! ```

mod builder;
pub mod fragment;
mod function;
mod message;
mod op;
mod parse;
mod print;
mod signature;
mod stats;
mod types;
mod verify;

pub mod abi;

pub use crate::text::ParseError;
pub use builder::Builder;
pub use fragment::{FragmentDecl, FragmentOp, Order, Role};
pub use function::{
    Access, Arena, ArenaDecl, Buffer, BufferDecl, Carried, Fragment, Function, Inst, Message, Region,
    ScalarDecl, Stmt, Table, TableDecl, Value,
};
pub use message::spell_out;
pub use op::{Form, MemoryOp, Op, Place, Pure, PureInfo, Reduce, Sign, Slot, Touch, Update};
pub use parse::parse;
pub use stats::{Stats, stats};
pub use types::{Mem, Scalar, Type, Uniformity};
pub use verify::{
    MAX_ARENA_BYTES, MAX_DEPTH, MAX_ERRORS, MAX_LANES, MAX_TABLE_ENTRIES, MAX_VALUES, Rule, Verified,
    VerifyError, verify,
};
