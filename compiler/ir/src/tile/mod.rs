//! Tile IR: what one thread block does, over whole tiles. It is the meaning of a kernel: the tile
//! interpreter executes it directly, before any layout exists, and every backend is judged by that.
//!
//! A kernel here is one *instance*: generic formats, `tune` names and all tile extents are constants;
//! dimensions that are no tile extent may still be runtime values.
//!
//! A value is a tile: a dtype and a static shape, rank 0 being a scalar. Storage dtypes (f16, u4, ..) occur as the
//! types of loaded values; arithmetic takes f32, i32, u32 and bool only, so sema inserts `cast`s.
//!
//! Reading order: `types`, `op` (the table), `kernel` (the container, tensors), `format` (how stored numbers decode), `builder`,
//! `print` and `parse` (the text form), `verify` (the rules) with `signature` (what each operation takes and gives), `pins` and `agreement` (layouts),
//! `inference` (layouts that follow from others).
//!
//! # Example: c = a + b over blocks of 16
//!
//! ```text
//! kernel @add {
//!   dim N
//!   tensor p0 "a": f32[N] read
//!   tensor p1 "b": f32[N] read
//!   tensor p2 "c": f32[N] write
//!   grid ceil_div(N, 16)
//!   v0: i32 = block_index 0
//!   v1: i32 = const 16
//!   v2: i32 = mul v0, v1
//!   v3: f32[16] = load p0[v2 +: 16]
//!   v4: f32[16] = load p1[v2 +: 16]
//!   v5: f32[16] = add v3, v4
//!   store p2[v2 +: 16], v5
//! }
//! ```

mod agreement;
mod builder;
mod dtypes;
pub mod facts;
mod format;
pub mod inference;
mod kernel;
pub mod launch;
mod op;
mod parse;
mod pins;
mod print;
mod signature;
mod types;
mod verify;

pub use crate::text::ParseError;
pub use builder::Builder;
pub use dtypes::bitcast_leads;
pub use format::{Decode, Field, FieldMode, Format, Scope, unit_bytes};
pub use kernel::{
    Access, Carried, Dim, DimDecl, Element, FormatId, Index, Inst, Kernel, MAX_PIPELINE, Memory, Message,
    Param, Pin, Region, Shared, SharedDecl, Stmt, TensorDecl, Value,
};
pub use op::{Binary, CastRule, Form, Op, Reduce, Unary, Update};
pub use parse::parse;
pub use pins::{LayoutRule, Origin, ViewError, check_view, views};
pub use types::{MAX_ELEMENTS, MAX_RANK, TileType};
pub use verify::{
    MAX_DEPTH, MAX_ERRORS, MAX_LANES, MAX_TABLE_ENTRIES, MAX_VALUES, Rule, Verified, VerifyError, verify,
};
