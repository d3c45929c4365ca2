//! How a lowering went, for people: where each tile ended up, and what was taken away at the end.
//!
//! ```text
//! v13: f32[64, 32] = load p1[v2 +: 64, v10 +: 32]       ; where it is asked for
//! v15: f32[32, 64] = dot v12, v14, v11                  ; scratch a0, rows of 64
//! ```
//!
//! It costs time that a compilation has no use for, so only those who ask for it pay.

use crate::cleanup::renumber;
use crate::instance::{Emitted, Swept, swept};
use crate::lower::{LowerError, Lowered, Options, Repr};
use crate::target::Target;
use std::collections::HashMap;
use std::fmt;
use tvmc_ir::lane::Arena;
use tvmc_ir::tile::{Kernel, Value};

/// How a lowering went, for people.
pub struct History {
    /// The instance as it was lowered: with what loops load ahead.
    pub kernel: Kernel,
    /// What became of loops that are to load ahead, with places in the source.
    pub notes: Vec<String>,
    /// How the products were made.
    pub products: HashMap<Value, Product>,
    /// Where each tile value ended up; none of those that the emitted code never asked for by themselves.
    pub placements: Vec<Option<Placement>>,
    /// The code as it was emitted.
    pub emitted: String,
    /// The same without what `cleanup` takes away, arenas merged, values still numbered as emitted.
    pub swept: String,
}

/// Lowers as [`lower`](crate::lower) does, and tells how.
pub fn lower_with_history(
    kernel: &Kernel,
    target: &Target,
    options: &Options,
) -> Result<(Lowered, History), LowerError> {
    let Swept { emitted, before, arenas } = swept(kernel, target, options)?;
    let Emitted { mut lowered, kernel, mut placements, products, notes, marks, .. } = emitted;
    for placement in placements.iter_mut().flatten() {
        if let Placement::Scratch { arena, .. } = placement {
            *arena = arenas[arena.index()];
        }
    }
    let swept = lowered.function.to_string();
    renumber(&mut lowered.function);
    lowered.check_bounds(options.bounds, &marks);
    Ok((lowered, History { kernel, notes, products, placements, emitted: before.to_string(), swept }))
}

/// How a matrix product was made.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Product {
    /// Row by row and chunk by chunk, all sums in registers.
    Rows,
    /// By micro-tiles of sums.
    MicroTiles {
        /// Rows of one.
        rows: u32,
        /// Chunks of lanes of one.
        chunks: u32,
    },
    /// One column: lanes along K.
    Column,
    /// All sums in registers, lanes that share K.
    Parts {
        /// Lanes of one sum.
        parts: u32,
    },
    /// In bytes of integers, rows that share unpacked codes together.
    Integers,
    /// The loop around it, by matrices that lanes multiply together.
    Fragments {
        /// Extent of the sums along M.
        m: u32,
        /// And along N.
        n: u32,
        /// Elements of K of a turn.
        turn: u32,
        /// Those that lie in scratch of both factors at once: where that is less, no loads are under way while fragments are multiplied.
        part: u32,
    },
    /// In f32, numbers put together from tables of bytes, rows that share them together.
    Numbers,
    /// The loop around it, its turns shared out.
    Spread {
        /// Lanes of one sum.
        lanes: u32,
    },
}

impl Product {
    /// Whether each step multiplies two numbers as loads give them, so that it is no matter where they are decoded.
    pub(crate) fn is_element_by_element(self) -> bool {
        match self {
            Product::Rows | Product::MicroTiles { .. } | Product::Column => true,
            // What lanes share, and so in what order they add, follows from where factors lie.
            Product::Parts { .. }
            | Product::Integers
            | Product::Fragments { .. }
            | Product::Numbers
            | Product::Spread { .. } => false,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Product::Rows => write!(f, "a product, row by row"),
            Product::MicroTiles { rows, chunks } => {
                write!(f, "a product in micro-tiles of {rows} rows by {chunks} chunks of lanes")
            }
            Product::Parts { parts } => write!(f, "a product whose sums have {parts} lanes each"),
            Product::Column => write!(f, "a product of one column, lanes along K"),
            Product::Integers => write!(f, "a product of bytes (dot4)"),
            Product::Fragments { m, n, turn, .. } => {
                write!(f, "{m} x {n} sums in fragments, {turn} of K at once")
            }
            Product::Numbers => write!(f, "a product with numbers from tables of bytes"),
            Product::Spread { lanes } => write!(f, "a product whose sums have {lanes} lanes each"),
        }
    }
}

/// Where the elements of a tile value are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// One value for the block.
    Uniform,
    /// Nowhere: computed where they are asked for.
    Lazy,
    /// In lane registers, this many.
    Registers(usize),
    /// In block scratch, rows this many elements apart.
    Scratch {
        /// Which.
        arena: Arena,
        /// Elements from one row to the next.
        row: u32,
    },
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::Uniform => write!(f, "one value"),
            Placement::Lazy => write!(f, "where it is asked for"),
            Placement::Registers(1) => write!(f, "1 lane register"),
            Placement::Registers(count) => write!(f, "{count} lane registers"),
            Placement::Scratch { arena, row } => write!(f, "scratch {arena}, rows of {row}"),
        }
    }
}

impl Placement {
    /// Of what the lowering knows.
    pub(crate) fn of(repr: &Repr) -> Self {
        match repr {
            Repr::Uniform(_) => Placement::Uniform,
            Repr::Lazy => Placement::Lazy,
            Repr::Registers(list) => Placement::Registers(list.len()),
            Repr::Arena(tile) => Placement::Scratch { arena: tile.arena, row: tile.row },
        }
    }
}
