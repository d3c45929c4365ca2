//! Fragments: matrices of 16 by 16 that the lanes of a *group* hold together, for machines that multiply such matrices at once
//! (cooperative matrices).
//!
//! A function that uses them says how many lanes make a group (`group 32` in its head); lane `l` belongs to group `l / 32`. A fragment is no value but
//! a register of each group, declared like an arena, and has one [`Role`] for good: a left or right factor of halves (f16), or a sum in f32. Nothing looks at
//! its elements: they come from scratch and go to memory.
//!
//! ```text
//! kernel @k lanes 64 group 32 {
//!   arena a0 768                                                   ; 16 rows of 24 halves
//!   fragment g0 left
//!   fragment g1 right
//!   fragment g2 sum
//!   fragment.stage a0[v1 + v2], v3, v4, v5, v6, v7, v8, v9, v10 mask v11  ; each lane rounds eight floats and puts them side by side
//!   barrier
//!   fragment.zero g2
//!   fragment.load.rows g0, a0[v1 + v12] stride v13                 ; element (i, j) is a0[v1 + v12 + i v13 + j]
//!   fragment.load.columns g1, a0[v1 + v12] stride v13              ; element (i, j) is a0[v1 + v12 + i + j v13]
//!   fragment.multiply_add g2, g0, g1                               ; g2 += g0 g1
//!   fragment.store b0[v14 + v12] stride v15, g2                    ; by rows
//! }
//! ```
//!
//! # Policies
//!
//! * **Halves** are rounded to nearest even; what is too large becomes infinite.
//! * **Sums.** A product of halves is exact in f32. In which order the sixteen of an element are added to the sum, and how often that rounds, is the machine's choice:
//!   within 2 (16 + 8) eps of the sum of their magnitudes for each step. The interpreter adds one after the other, k ascending, each sum rounded.
//! * **Places.** All lanes of a group give one offset. Bases, offsets and strides of halves are multiples of [`ALIGNMENT`].
//! * **Scratch of halves** is accessed by `stage`, `stage.codes` and `load` alone, so that a backend may declare it as halves; scratch and buffers that sums are stored to, in whole words.
//!
//! CPU backends refuse functions with fragments: no lowering makes them there.

use super::function::{Arena, Fragment};
use super::op::{Place, Touch};

/// Rows and columns of a fragment.
pub const EDGE: u32 = 16;
/// Halves that `stage` puts side by side, and of which places of halves are a multiple: 16 bytes.
pub const ALIGNMENT: u32 = 8;
/// Most that `stage.codes` adds to a code, or takes away.
pub const MAX_BIAS: i16 = 512;
/// Most fragments of a function.
pub const MAX_FRAGMENTS: usize = 256;

/// What a fragment is for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Role {
    /// The left factor, of halves.
    Left,
    /// The right factor, of halves.
    Right,
    /// The sum of products, in f32.
    Sum,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Left, Role::Right, Role::Sum];

    /// Its name in a declaration.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Left => "left",
            Role::Right => "right",
            Role::Sum => "sum",
        }
    }
}

/// Which elements of a fragment are neighbours in memory.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Order {
    /// Those of a row: element (i, j) lies at `i * stride + j`.
    Rows,
    /// Those of a column: element (i, j) lies at `i + j * stride`.
    Columns,
}

impl Order {
    /// Every order.
    pub const ALL: [Order; 2] = [Order::Rows, Order::Columns];

    /// The end of the mnemonic.
    pub const fn name(self) -> &'static str {
        match self {
            Order::Rows => "rows",
            Order::Columns => "columns",
        }
    }
}

/// An operation of whole groups, or (`stage`) one that prepares their scratch.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum FragmentOp {
    /// `base: u.i64, offset: v.i32, eight f32: varying [, mask: v.bool]`: each active lane rounds its floats to halves, the elements `base + offset[l] ..
    /// + 8` of the arena. Two active lanes must not name one element.
    Stage {
        /// Where the halves go.
        arena: Arena,
        /// Whether the last operand is a mask.
        masked: bool,
    },
    /// `base: u.i64, offset: v.i32, low: v.i32, high: v.i32, scale: v.f32 [, mask: v.bool]`: as `stage`, of eight unsigned codes that stand side by side from bit 0 of
    /// `low | high << 32` on: each plus the bias, times the scale, which is rounded to a half first.
    StageCodes {
        /// Where the halves go.
        arena: Arena,
        /// Width of a code, 1 to 8.
        bits: u8,
        /// Added to each code, -512 to 512, so that every step is exact in halves but the last.
        bias: i16,
        /// Whether the last operand is a mask.
        masked: bool,
    },
    /// A sum becomes zero.
    Zero(Fragment),
    /// `base: u.i64, offset: v.i32, stride: u.i32`: a factor comes from an arena of halves.
    Load {
        /// What is loaded.
        fragment: Fragment,
        /// Where it lies.
        arena: Arena,
        /// How it lies there.
        order: Order,
    },
    /// `sum += left right`.
    MultiplyAdd {
        /// The sum.
        sum: Fragment,
        /// The left factor.
        left: Fragment,
        /// The right factor.
        right: Fragment,
    },
    /// `base: u.i64, offset: v.i32, stride: u.i32`: a sum goes to memory, by rows, as f32.
    Store {
        /// What is stored.
        fragment: Fragment,
        /// Where.
        place: Place,
    },
}

impl FragmentOp {
    /// What it loads or stores.
    pub const fn accesses(&self) -> Option<Touch> {
        match self {
            FragmentOp::Stage { arena, .. }
            | FragmentOp::StageCodes { arena, .. }
            | FragmentOp::Load { arena, .. } => {
                Some(Touch { place: Place::Arena(*arena), bytes: 2, atomic: false })
            }
            FragmentOp::Store { place, .. } => Some(Touch { place: *place, bytes: 4, atomic: false }),
            FragmentOp::Zero(_) | FragmentOp::MultiplyAdd { .. } => None,
        }
    }

    /// Whether it writes memory.
    pub const fn is_store(&self) -> bool {
        match self {
            FragmentOp::Stage { .. } | FragmentOp::StageCodes { .. } | FragmentOp::Store { .. } => true,
            FragmentOp::Zero(_) | FragmentOp::Load { .. } | FragmentOp::MultiplyAdd { .. } => false,
        }
    }

    /// The start of its mnemonic.
    pub const fn name(&self) -> &'static str {
        match self {
            FragmentOp::Stage { .. } => "fragment.stage",
            FragmentOp::StageCodes { .. } => "fragment.stage.codes",
            FragmentOp::Zero(_) => "fragment.zero",
            FragmentOp::Load { order: Order::Rows, .. } => "fragment.load.rows",
            FragmentOp::Load { order: Order::Columns, .. } => "fragment.load.columns",
            FragmentOp::MultiplyAdd { .. } => "fragment.multiply_add",
            FragmentOp::Store { .. } => "fragment.store",
        }
    }
}

/// A fragment of each group.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FragmentDecl {
    /// What it is for.
    pub role: Role,
}
