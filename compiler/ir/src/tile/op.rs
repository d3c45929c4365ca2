//! The tile operations. An element-wise operation is one row of its table; its operands have equal shapes
//! (sema inserts `broadcast`), and its meaning per element is that of the lane operation of the same name
//! (`lane::op` states the numeric policies).

use std::borrow::Cow;

use super::kernel::{Dim, Index, Memory, Param, Shared};

/// A table as an enum: its rows with their words in the text form and their meanings.
macro_rules! rows {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal $row:literal;)* }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum $name { $(#[doc = $row] $variant,)* }

        impl $name {
            /// Every row, in table order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The mnemonic in the text form.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The meaning in one line.
            pub const fn doc(self) -> &'static str {
                match self { $($name::$variant => $row,)* }
            }
        }
    };
}

pub(super) use rows;

rows! {
    /// Element-wise, one operand. The result has the operand's type.
    Unary {
        Neg "neg" "f32, i32, u32: -a (integers wrap)";
        Not "not" "bool: not a; i32, u32: all bits flipped";
        Abs "abs" "f32, i32, u32: |a| (MIN stays MIN)";
        Sqrt "sqrt" "f32: square root, correctly rounded";
        Floor "floor" "f32: largest integer not above a";
        Ceil "ceil" "f32: smallest integer not below a";
        Trunc "trunc" "f32: towards zero";
        Round "round" "f32: nearest integer, halves to even";
        PopCount "popcount" "i32, u32: number of one bits";
    }
}

rows! {
    /// Element-wise, two operands of one type. Comparisons give bool, the others that type.
    Binary {
        Add "add" "f32, i32, u32: a + b";
        Sub "sub" "f32, i32, u32: a - b";
        Mul "mul" "f32, i32, u32: a * b";
        Div "div" "f32: a / b; i32, u32: truncated, x / 0 = 0";
        Rem "rem" "i32, u32: remainder with the sign of a, x % 0 = x";
        Min "min" "f32, i32, u32: a < b ? a : b";
        Max "max" "f32, i32, u32: a > b ? a : b";
        And "and" "bool, i32, u32: and";
        Or "or" "bool, i32, u32: or";
        Xor "xor" "bool, i32, u32: exclusive or";
        Shl "shl" "i32, u32: a << (b mod 32)";
        Shr "shr" "i32: copies of the sign come in; u32: zeros; count mod 32";
        Eq "eq" "any: a == b";
        Ne "ne" "any: not (a == b)";
        Lt "lt" "f32, i32, u32: a < b";
        Le "le" "f32, i32, u32: a <= b";
    }
}

rows! {
    /// Reduction along an axis, which disappears; in a scan the running results along it.
    ///
    /// The interpreter's order for f32 `sum` is ascending; compiled code may use any fixed order, within the stated bound. `prod` and every scan
    /// ascend everywhere, so their bits are the same on every target.
    Reduce {
        Sum "sum" "f32, i32, u32: identity 0";
        Prod "prod" "f32, i32, u32: identity 1";
        Min "min" "f32 (+inf), i32, u32 (MAX)";
        Max "max" "f32 (-inf), i32, u32 (MIN)";
        Any "any" "bool: identity false";
        All "all" "bool: identity true";
    }
}

rows! {
    /// What an atomic update makes of an element that was `old`, with one more operand `a` or, for `compare_exchange`, two.
    Update {
        Add "add" "i32, u32: old + a, wrapping; f32: old + a, rounded, in whatever order the additions come";
        Min "min" "f32, i32, u32: old < a ? old : a";
        Max "max" "f32, i32, u32: old > a ? old : a";
        And "and" "i32, u32: and";
        Or "or" "i32, u32: or";
        Xor "xor" "i32, u32: exclusive or";
        Exchange "exchange" "f32, i32, u32: a";
        CompareExchange "compare_exchange" "i32, u32: b if old == a, else old";
    }
}

rows! {
    /// An operation without its immediates: the variants of [`Op`], as a table.
    Form {
        Const "const" "a scalar constant";
        Dim "dim" "a runtime dimension";
        Scalar "scalar" "a scalar argument";
        BlockIndex "block_index" "the block's place in the grid";
        Iota "iota" "0, 1, 2, ..";
        Unary "unary" "element-wise, one operand";
        Binary "binary" "element-wise, two operands";
        Fma "fma" "a * b + c, rounded once";
        Select "select" "element-wise choice";
        Cast "cast" "another dtype";
        Bitcast "bitcast" "the same bits";
        View "view" "the bits of each lane, read again";
        Relayout "relayout" "another pinned layout";
        Broadcast "broadcast" "spreads extents";
        Reshape "reshape" "another shape";
        Permute "permute" "axes in another order";
        Reduce "reduce" "along an axis";
        Scan "scan" "running results along an axis";
        Gather "gather" "elements chosen along an axis";
        Concat "concat" "tiles one after the other";
        Dot "dot" "a matrix product";
        Load "load" "a tile of a tensor";
        LoadField "load.field" "a tile of a stored field of a tensor";
        Store "store" "a tile to a tensor";
        StoreGroups "store.groups" "whole groups of a format";
        CopyAsync "copy_async" "a tile to a block-shared tensor, there when it is waited for";
        Commit "commit" "closes a group of such copies";
        Wait "wait" "until groups of such copies have arrived";
        StoreHead "store.head" "the fields that a tensor stores once";
        Scatter "scatter" "elements to computed places of a tensor";
        Atomic "atomic" "updates elements that other blocks update too";
        Field "field" "a stored field of a group";
        Table "table" "an entry of a constant table";
        GroupIndex "group_index" "the element's index in its group";
        Assert "assert" "fails the launch";
        Print "print" "logs operands";
    }
}

impl Op {
    /// The operation without its immediates.
    pub const fn form(&self) -> Form {
        match self {
            Op::Const(_) => Form::Const,
            Op::Dim(_) => Form::Dim,
            Op::Scalar(_) => Form::Scalar,
            Op::BlockIndex(_) => Form::BlockIndex,
            Op::Iota => Form::Iota,
            Op::Unary(_) => Form::Unary,
            Op::Binary(_) => Form::Binary,
            Op::Fma => Form::Fma,
            Op::Select => Form::Select,
            Op::Cast(_) => Form::Cast,
            Op::Bitcast => Form::Bitcast,
            Op::View => Form::View,
            Op::Relayout => Form::Relayout,
            Op::Broadcast => Form::Broadcast,
            Op::Reshape => Form::Reshape,
            Op::Permute(_) => Form::Permute,
            Op::Reduce(..) => Form::Reduce,
            Op::Scan(..) => Form::Scan,
            Op::Gather(_) => Form::Gather,
            Op::Concat(_) => Form::Concat,
            Op::Dot => Form::Dot,
            Op::Load { .. } => Form::Load,
            Op::LoadField { .. } => Form::LoadField,
            Op::Store { .. } => Form::Store,
            Op::StoreGroups { .. } => Form::StoreGroups,
            Op::CopyAsync { .. } => Form::CopyAsync,
            Op::Commit => Form::Commit,
            Op::Wait(_) => Form::Wait,
            Op::StoreHead { .. } => Form::StoreHead,
            Op::Scatter { .. } => Form::Scatter,
            Op::Atomic { .. } => Form::Atomic,
            Op::Field(_) => Form::Field,
            Op::Table(_) => Form::Table,
            Op::GroupIndex => Form::GroupIndex,
            Op::Assert(_) => Form::Assert,
            Op::Print(_) => Form::Print,
        }
    }
}

impl Op {
    /// Its word in the text form: that of [`Form`], or what tells its kinds apart.
    pub fn mnemonic(&self) -> Cow<'static, str> {
        match self {
            Op::Unary(op) => op.name().into(),
            Op::Binary(op) => op.name().into(),
            Op::Cast(rule) => format!("cast.{}", rule.name()).into(),
            Op::Reduce(op, _) => format!("reduce.{}", op.name()).into(),
            Op::Scan(op, _) => format!("scan.{}", op.name()).into(),
            Op::Atomic { update, .. } => format!("atomic.{}", update.name()).into(),
            Op::Const(_)
            | Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Iota
            | Op::Fma
            | Op::Select
            | Op::Bitcast
            | Op::View
            | Op::Relayout
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Gather(_)
            | Op::Concat(_)
            | Op::Dot
            | Op::Load { .. }
            | Op::LoadField { .. }
            | Op::Store { .. }
            | Op::StoreGroups { .. }
            | Op::StoreHead { .. }
            | Op::Scatter { .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Field(_)
            | Op::Table(_)
            | Op::GroupIndex
            | Op::Assert(_)
            | Op::Print(_) => self.form().name().into(),
        }
    }
}

impl Op {
    /// The tensor argument that it loads, stores or updates, and whether atomically.
    pub const fn accesses(&self) -> Option<(Param, bool)> {
        match self {
            Op::Load { memory: Memory::Param(tensor), .. }
            | Op::Store { memory: Memory::Param(tensor), .. }
            | Op::StoreGroups { memory: Memory::Param(tensor), .. }
            | Op::LoadField { tensor, .. }
            | Op::StoreHead { tensor, .. }
            | Op::Scatter { memory: Memory::Param(tensor) } => Some((*tensor, false)),
            Op::Atomic { memory: Memory::Param(tensor), .. } => Some((*tensor, true)),
            Op::Load { memory: Memory::Shared(_), .. }
            | Op::Store { memory: Memory::Shared(_), .. }
            | Op::StoreGroups { memory: Memory::Shared(_), .. }
            | Op::Scatter { memory: Memory::Shared(_) }
            | Op::Atomic { memory: Memory::Shared(_), .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Const(_)
            | Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::View
            | Op::Relayout
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Reduce(..)
            | Op::Scan(..)
            | Op::Gather(_)
            | Op::Concat(_)
            | Op::Dot
            | Op::Field(_)
            | Op::Table(_)
            | Op::GroupIndex
            | Op::Assert(_)
            | Op::Print(_) => None,
        }
    }
}

impl Update {
    /// How many operands follow the indices.
    pub const fn operands(self) -> usize {
        match self {
            Update::CompareExchange => 2,
            Update::Add
            | Update::Min
            | Update::Max
            | Update::And
            | Update::Or
            | Update::Xor
            | Update::Exchange => 1,
        }
    }
}

impl Binary {
    /// Whether the result is bool.
    pub const fn is_comparison(self) -> bool {
        match self {
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => true,
            Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Rem
            | Binary::Min
            | Binary::Max
            | Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::Shl
            | Binary::Shr => false,
        }
    }
}

/// What a conversion does with values the target cannot hold.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum CastRule {
    /// Every source value is representable: nothing to decide (checked by the verifier).
    Exact,
    /// To a float: round to nearest even; overflow and NaN by the target's row of the dtype table.
    Round,
    /// To an integer: towards zero, then clamped to the target's range; NaN gives 0.
    Saturate,
    /// Integer to integer: the low bits. Float to integer: towards zero to 32 bits saturating, then the low bits.
    Wrap,
}

impl CastRule {
    /// Every rule.
    pub const ALL: [CastRule; 4] = [CastRule::Exact, CastRule::Round, CastRule::Saturate, CastRule::Wrap];

    /// The printed name.
    pub const fn name(self) -> &'static str {
        match self {
            CastRule::Exact => "exact",
            CastRule::Round => "round",
            CastRule::Saturate => "saturate",
            CastRule::Wrap => "wrap",
        }
    }
}

/// An operation. Operands are in [`super::Inst::args`], in the order given here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A scalar constant: its bit pattern in its dtype (f32, i32, u32, bool).
    Const(u32),
    /// A runtime dimension, i32.
    Dim(Dim),
    /// A scalar argument.
    Scalar(Param),
    /// The block's index on an axis, i32.
    BlockIndex(u8),
    /// 0, 1, 2, .. along one axis: i32 of rank 1.
    Iota,
    /// Element-wise.
    Unary(Unary),
    /// Element-wise.
    Binary(Binary),
    /// `a, b, c`: f32 a * b + c, rounded once.
    Fma,
    /// `condition: bool, a, b`: element-wise choice.
    Select,
    /// To the result's dtype.
    Cast(CastRule),
    /// The same bits as another dtype of that width, where [`super::bitcast_leads`].
    Bitcast,
    /// The bits that each lane holds, slot by slot, each least significant bit first, read again as the elements of the result: from
    /// integers of the operand's pinned layout to integers of the result's.
    View,
    /// The same tile, to be held in the result's pinned layout.
    Relayout,
    /// To the result's shape: the operand's extents, aligned at the last axis, are equal or 1 or missing.
    Broadcast,
    /// To the result's shape, row-major order kept.
    Reshape,
    /// Result axis `i` is operand axis `permutation[i]`.
    Permute(Vec<u8>),
    /// Along this axis, which disappears.
    Reduce(Reduce, u8),
    /// Along this axis, which stays: element i is the reduction of elements 0 to i, in ascending order from the identity on.
    Scan(Reduce, u8),
    /// `a, index: i32`: along this axis the element of `a` that `index` says, zero where there is none. Both have the same other extents, the
    /// result has the shape of `index`.
    Gather(u8),
    /// Two operands or more, one after the other along this axis; their other extents are equal.
    Concat(u8),
    /// `a: [M, K], b: [K, N], c: [M, N] -> [M, N]`: c + a b, terms in ascending k. f32 x f32 + f32 (each step fused or not)
    /// or i32 x i32 + i32.
    Dot,
    /// A tile of a tensor. Operands: the offset of each index, in order, then (if `padded`) the scalar that stands for elements
    /// outside; otherwise zero does. The result has the element's dtype (f32 for a format).
    Load {
        /// What is read.
        memory: Memory,
        /// One per tensor axis.
        indices: Vec<Index>,
        /// Whether the last operand is a padding value.
        padded: bool,
    },
    /// A tile of the entries of a field of a tensor of a format, as if they were a tensor of its dtype; entries outside are zero. Operands: the
    /// offset of each index. The axes are those of the tensor, but the last counts entries: along a row those of all its groups for a field of
    /// groups, `count` of them for one of rows. A field of the tensor has `count` entries for each matrix: the axis of rows is not there.
    LoadField {
        /// What is read.
        tensor: Param,
        /// The field's number in the format.
        field: u32,
        /// One per axis.
        indices: Vec<Index>,
    },
    /// A tile to a tensor. Operands: the offsets, then the value (of the element's dtype). Elements outside are skipped.
    Store {
        /// What is written.
        memory: Memory,
        /// One per tensor axis.
        indices: Vec<Index>,
    },
    /// Whole groups of a tensor of a format. Operands: the offsets, then one value for each field but those of the tensor: for the groups along
    /// the last axis in order, the field's entries in order of their index; for a field of rows its entries once, and the slice is whole rows.
    /// Every bit of a group is written; bits of no field become zero. The last offset is a multiple of the group; groups that begin outside
    /// are skipped.
    StoreGroups {
        /// What is written.
        memory: Memory,
        /// One per tensor axis; the last is a slice of whole groups.
        indices: Vec<Index>,
    },
    /// A tile to a block-shared tensor, as [`Op::Store`], but under way until [`Op::Wait`] says that it has arrived: until then its places are
    /// neither read nor written. Operands: the offsets, then the value, which is read now.
    CopyAsync {
        /// What is written.
        shared: Shared,
        /// One per tensor axis.
        indices: Vec<Index>,
    },
    /// The copies since the last `commit` are one group.
    Commit,
    /// Goes on when all groups but this many, the latest, have arrived.
    Wait(u32),
    /// The fields that a tensor of a format stores once. Operands: the place of the matrix in the stack (an offset for each axis before the
    /// last two), then one value for each of these fields: its entries. Every bit of the head is written.
    StoreHead {
        /// What is written.
        tensor: Param,
        /// Points, one per axis before the last two.
        indices: Vec<Index>,
    },
    /// `index: i32 per axis of the tensor, value`, all of one shape: in row-major order each element of the value becomes the element of the
    /// tensor that its indices name, so of several with the same indices the last stays. Elements outside are skipped.
    Scatter {
        /// What is written.
        memory: Memory,
    },
    /// `index: i32 per axis of the tensor, then the update's operands`, all of one shape: each element updates the element of the tensor that
    /// its indices name, in one step that no other block sees half done, and gives what was there before. Outside nothing happens, and 0 is
    /// given. In which order elements and blocks come is not defined; of a block-shared tensor, which no other block sees, elements come in row-major order.
    Atomic {
        /// What becomes of the element.
        update: Update,
        /// What is updated.
        memory: Memory,
    },
    /// A format's field of the element at offset `args[0]` (its slot in the group is the operand): only in decode bodies.
    Field(u32),
    /// Entry `args[0]` of a constant table: in a decode body of the format's, inside it by proof; in a kernel's body, element by element, of the kernel's, and 0 outside.
    Table(u32),
    /// The element's index in its group, i32: only in decode bodies.
    GroupIndex,
    /// `condition: bool scalar`; false fails the launch with this message.
    Assert(u32),
    /// Prints its operands (scalars or tiles) with this message.
    Print(u32),
}
