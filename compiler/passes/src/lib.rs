//! Tile IR to lane IR.
//!
//! ```text
//! tile::Kernel --pipeline--> tile::Kernel --plan--> what is kept, where --lower--> lane::Function
//! ```
//!
//! A tile is a function from coordinates to elements. [`lower`] never builds a tile that nobody needs: element-wise
//! chains, loads, broadcasts and transpositions stay *lazy*, and are evaluated at the coordinates that a consumer asks for (a
//! store, a reduction, a `dot`). What must exist (an accumulator, a value that is used twice and costs something) is kept in lane
//! registers if it is small and in the block's arena otherwise. Strip-mining is the consumer's loop over coordinates.
//!
//! | file | what it does |
//! |---|---|
//! | `target` | the numbers in which targets differ |
//! | `instance` | the passes in their order |
//! | `pipeline` | loops that load the tiles of their next turns |
//! | `turns` | products with a longer turn of K |
//! | `plan` | which values are kept |
//! | `emitter` | value numbering, hoisting, folding |
//! | `lower` | statements and control flow |
//! | `known` | what is known of integers |
//! | `carried` | what loops and branches hand on |
//! | `eval` | an element of a lazy tile at given coordinates |
//! | `elementwise` | one operation on lane values |
//! | `memory` | addresses and masks of plain tensors |
//! | `banks` | block-shared tensors in an order that the source writes |
//! | `stored` | decoding of formats and sub-byte types, packed or not |
//! | `stream` | codes that lanes find side by side |
//! | `rows` | where their rows and heads lie |
//! | `fields` | fields as tiles, and stores of what a tensor holds once |
//! | `planar` | the same where a group's bytes lie in planes (`planes`) |
//! | `encode` | stores of fields |
//! | `narrow` | the codes of values |
//! | `along` | running results, chosen elements, joined tiles |
//! | `materialise` | loops over coordinates: keeping, storing, reducing |
//! | `affine` | which formats are scales times small integers |
//! | `codes` | four codes at once as bytes |
//! | `integer_dot` | products of stored operands in integers |
//! | `integer_block` | the same for many rows, both factors brought to scratch |
//! | `number_dot` | products with stored operands whose codes are floats |
//! | `float_dot` | products of stored operands with floats, where lanes are many |
//! | `spread` | loops of a product whose turns are shared out among lanes |
//! | `fragments` | the same by matrices that lanes multiply together |
//! | `factors` | of what factors are made, and what becomes of products |
//! | `staging` | their factors brought to scratch |
//! | `dot` | micro-tiles of matrix products |
//! | `dot_parts` | those with fewer columns than lanes, where lanes are many |
//! | `cleanup` | barriers and values that nobody needs |
//! | `scratch` | arenas that are never needed at the same time |
//! | `history` | how it went, for people |
//! | `bounds` | code that checks its accesses itself |
//!
//! Lanes lie along the last axis of whatever is being made, so the order in which a `dot` adds its terms is ascending k for every
//! element, whatever the tile sizes: batch size, `tune` and thread count never change a bit.
#![forbid(unsafe_code)]

mod affine;
mod along;
mod banks;
mod bits;
mod bounds;
mod carried;
mod cleanup;
mod codes;
mod dot;
mod dot_parts;
mod elementwise;
mod emitter;
mod encode;
mod eval;
mod factors;
mod fields;
mod float_dot;
mod fragments;
mod history;
mod instance;
mod integer_block;
mod integer_dot;
mod known;
mod lower;
mod materialise;
mod memory;
mod narrow;
mod number_dot;
mod order;
pub mod packing;
mod pipeline;
mod plan;
mod planar;
pub mod planes;
mod rows;
mod scatter;
mod scratch;
mod shares;
mod spread;
mod staging;
mod stored;
mod stream;
pub mod target;
mod turns;
mod view;

pub use bounds::{Bounds, Length, check as check_bounds};
pub use history::{History, Placement, Product, lower_with_history};
pub use instance::{cost_of_products, is_spread, lower, staged_by_fragments, steps};
pub use lower::{LowerError, Lowered, Options, ScalarBinding};
pub use plan::MAX_CHAIN;
