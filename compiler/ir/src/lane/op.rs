//! The op table. A pure operation is **one row** of [`pure_ops!`]: name, text, operand kinds, result
//! kind, meaning. The row gives the enum variant, the printer, the parser and the verifier's signature;
//! the compiler's exhaustive matches then name the interpreter arm and the backend arms to fill.
//!
//! A pure operation works lane by lane: its operands are all uniform (then so is the result) or all
//! varying. `splat` is the only way from uniform to varying, `reduce` and `extract` the only ways back.
//!
//! # Numeric policies (one documented meaning, on every backend)
//!
//! * **Integers** wrap. Shift counts are taken modulo 32. `x / 0 = 0`, `x % 0 = x`, `MIN / -1 = MIN`,
//!   `MIN % -1 = 0`: total functions, so nothing traps.
//! * **Floats** are IEEE binary32, round to nearest even, subnormals kept. A NaN result has no defined
//!   payload. `fmin(a, b)` is `a < b ? a : b` and `fmax(a, b)` is `a > b ? a : b`: the second operand where
//!   the comparison is false, NaN and equal zeros included. WGSL may assume that no NaN occurs.
//! * **Comparisons** with NaN are false, but `fne` is true.
//! * **Float to integer** truncates towards zero, saturates at the ends, NaN gives 0.
//! * `fma` rounds once.

use super::fragment::FragmentOp;
use super::function::{Arena, Buffer, Table};
use super::types::{Mem, Scalar};

/// An operand or result kind in the op table.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Exactly this scalar kind.
    Is(Scalar),
    /// Any kind, but the same in every `Same` place of the row.
    Same,
}

/// A row of the op table.
#[derive(Copy, Clone, Debug)]
pub struct PureInfo {
    /// The mnemonic in the text form.
    pub name: &'static str,
    /// Operand kinds.
    pub args: &'static [Slot],
    /// Result kind.
    pub result: Slot,
    /// The meaning in one line.
    pub doc: &'static str,
}

macro_rules! slot {
    (F) => {
        Slot::Is(Scalar::F32)
    };
    (I) => {
        Slot::Is(Scalar::I32)
    };
    (L) => {
        Slot::Is(Scalar::I64)
    };
    (B) => {
        Slot::Is(Scalar::Bool)
    };
    (S) => {
        Slot::Same
    };
}

macro_rules! pure_ops {
    ($($variant:ident $name:literal ($($arg:ident)*) $result:ident $doc:literal;)*) => {
        /// A lane-by-lane operation without side effects. One variant per row of the table.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Pure { $(#[doc = $doc] $variant,)* }

        impl Pure {
            /// Every row, in table order.
            pub const ALL: &'static [Pure] = &[$(Pure::$variant,)*];

            /// The operation's row.
            pub fn info(self) -> &'static PureInfo {
                match self {
                    $(Pure::$variant => {
                        const INFO: PureInfo = PureInfo {
                            name: $name,
                            args: &[$(slot!($arg),)*],
                            result: slot!($result),
                            doc: $doc,
                        };
                        &INFO
                    })*
                }
            }
        }
    };
}

// Kinds: F = f32, I = i32, L = i64 (uniform only), B = bool, S = any, the same throughout the row.
pure_ops! {
    // f32 arithmetic
    FAdd "fadd" (F F) F "a + b";
    FSub "fsub" (F F) F "a - b";
    FMul "fmul" (F F) F "a * b";
    FDiv "fdiv" (F F) F "a / b";
    Fma "fma" (F F F) F "a * b + c, rounded once";
    FNeg "fneg" (F) F "flips the sign bit";
    FAbs "fabs" (F) F "clears the sign bit";
    FSqrt "fsqrt" (F) F "square root, correctly rounded; NaN for negative input";
    FMin "fmin" (F F) F "a < b ? a : b";
    FMax "fmax" (F F) F "a > b ? a : b";
    Floor "floor" (F) F "largest integer not above a";
    Ceil "ceil" (F) F "smallest integer not below a";
    Trunc "trunc" (F) F "rounds towards zero";
    Nearest "nearest" (F) F "rounds to the nearest integer, halves to even";
    // f32 comparison
    FEq "feq" (F F) B "a == b";
    FNe "fne" (F F) B "not (a == b)";
    FLt "flt" (F F) B "a < b";
    FLe "fle" (F F) B "a <= b";
    // i32 arithmetic
    IAdd "iadd" (I I) I "a + b, wrapping";
    ISub "isub" (I I) I "a - b, wrapping";
    IMul "imul" (I I) I "a * b, low 32 bits";
    IDivS "idiv_s" (I I) I "signed quotient towards zero; x / 0 = 0, MIN / -1 = MIN";
    IDivU "idiv_u" (I I) I "unsigned quotient; x / 0 = 0";
    IRemS "irem_s" (I I) I "signed remainder, sign of a; x % 0 = x, MIN % -1 = 0";
    IRemU "irem_u" (I I) I "unsigned remainder; x % 0 = x";
    IMinS "imin_s" (I I) I "signed minimum";
    IMaxS "imax_s" (I I) I "signed maximum";
    IMinU "imin_u" (I I) I "unsigned minimum";
    IMaxU "imax_u" (I I) I "unsigned maximum";
    // i32 bits
    IAnd "iand" (I I) I "bitwise and";
    IOr "ior" (I I) I "bitwise or";
    IXor "ixor" (I I) I "bitwise exclusive or";
    Shl "shl" (I I) I "a << (b mod 32)";
    ShrS "shr_s" (I I) I "a >> (b mod 32), copies of the sign come in";
    ShrU "shr_u" (I I) I "a >> (b mod 32), zeros come in";
    PopCount "popcount" (I) I "number of one bits";
    // i32 comparison
    IEq "ieq" (I I) B "a == b";
    INe "ine" (I I) B "a != b";
    ILtS "ilt_s" (I I) B "a < b, signed";
    ILeS "ile_s" (I I) B "a <= b, signed";
    ILtU "ilt_u" (I I) B "a < b, unsigned";
    ILeU "ile_u" (I I) B "a <= b, unsigned";
    // conversion
    I32ToF32 "i32_to_f32" (I) F "signed integer to float, nearest even";
    U32ToF32 "u32_to_f32" (I) F "unsigned integer to float, nearest even";
    F32ToI32 "f32_to_i32" (F) I "truncates, saturates to [-2^31, 2^31), NaN gives 0";
    F32ToU32 "f32_to_u32" (F) I "truncates, saturates to [0, 2^32), NaN gives 0";
    F32Bits "f32_bits" (F) I "the bit pattern of a float";
    F32FromBits "f32_from_bits" (I) F "the float of a bit pattern";
    F16ToF32 "f16_to_f32" (I) F "the f16 in the low 16 bits, exactly";
    F32ToF16 "f32_to_f16" (F) I "to f16 in the low 16 bits, nearest even, overflow to infinity";
    F32ToBf16 "f32_to_bf16" (F) I "to bf16 in the low 16 bits, nearest even, NaN stays NaN";
    BoolToI32 "bool_to_i32" (B) I "1 or 0";
    // packed bytes: byte j of a register is bits [8j, 8j + 8)
    Dot4SS "dot4.ss" (I I I) I "acc + sum of four products, bytes of a and b signed; wraps";
    Dot4US "dot4.us" (I I I) I "acc + sum of four products, bytes of a unsigned, of b signed; wraps";
    Dot4UU "dot4.uu" (I I I) I "acc + sum of four products, bytes of a and b unsigned; wraps";
    // booleans
    BAnd "band" (B B) B "a and b";
    BOr "bor" (B B) B "a or b";
    BXor "bxor" (B B) B "a exclusive-or b";
    BNot "bnot" (B) B "not a";
    Select "select" (B S S) S "c ? a : b";
    // i64, uniform only
    LAdd "ladd" (L L) L "a + b, wrapping";
    LSub "lsub" (L L) L "a - b, wrapping";
    LMul "lmul" (L L) L "a * b, low 64 bits";
    LEq "leq" (L L) B "a == b";
    LLtS "llt_s" (L L) B "a < b, signed";
    I32ToI64 "i32_to_i64" (I) L "sign-extends";
    U32ToI64 "u32_to_i64" (I) L "zero-extends";
    I64ToI32 "i64_to_i32" (L) I "the low 32 bits";
}

/// Whether codes extend with zeros or with their top bit.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Sign {
    /// Zero-extended.
    Unsigned,
    /// Sign-extended.
    Signed,
}

/// A reduction across lanes, from a varying value to a uniform one.
///
/// The order is fixed and the same on every backend: a binary tree over the lanes padded with the
/// identity to the next power of two `p`; for `s = p/2, p/4, .. 1`, lane `l < s` becomes `op(l, l + s)`.
/// Identities: add 0, min +inf / MAX, max -inf / MIN (unsigned: MAX, 0), and all ones, or/xor 0, all true, any false.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Reduce {
    /// f32 sum (identity +0).
    FAdd,
    /// f32 minimum by the `fmin` rule.
    FMin,
    /// f32 maximum by the `fmax` rule.
    FMax,
    /// i32 wrapping sum.
    IAdd,
    /// Signed minimum.
    IMinS,
    /// Signed maximum.
    IMaxS,
    /// Unsigned minimum.
    IMinU,
    /// Unsigned maximum.
    IMaxU,
    /// Bitwise and.
    IAnd,
    /// Bitwise or.
    IOr,
    /// Bitwise exclusive or.
    IXor,
    /// True in all lanes.
    All,
    /// True in any lane.
    Any,
}

impl Reduce {
    /// Every reduction.
    pub const ALL: [Reduce; 13] = [
        Reduce::FAdd,
        Reduce::FMin,
        Reduce::FMax,
        Reduce::IAdd,
        Reduce::IMinS,
        Reduce::IMaxS,
        Reduce::IMinU,
        Reduce::IMaxU,
        Reduce::IAnd,
        Reduce::IOr,
        Reduce::IXor,
        Reduce::All,
        Reduce::Any,
    ];

    /// The mnemonic after `reduce.`.
    pub const fn name(self) -> &'static str {
        match self {
            Reduce::FAdd => "fadd",
            Reduce::FMin => "fmin",
            Reduce::FMax => "fmax",
            Reduce::IAdd => "iadd",
            Reduce::IMinS => "imin_s",
            Reduce::IMaxS => "imax_s",
            Reduce::IMinU => "imin_u",
            Reduce::IMaxU => "imax_u",
            Reduce::IAnd => "iand",
            Reduce::IOr => "ior",
            Reduce::IXor => "ixor",
            Reduce::All => "all",
            Reduce::Any => "any",
        }
    }

    /// Operand (and result) kind.
    pub const fn scalar(self) -> Scalar {
        match self {
            Reduce::FAdd | Reduce::FMin | Reduce::FMax => Scalar::F32,
            Reduce::IAdd
            | Reduce::IMinS
            | Reduce::IMaxS
            | Reduce::IMinU
            | Reduce::IMaxU
            | Reduce::IAnd
            | Reduce::IOr
            | Reduce::IXor => Scalar::I32,
            Reduce::All | Reduce::Any => Scalar::Bool,
        }
    }
}

/// What an atomic update makes of an element that was `old`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Update {
    /// f32 old + a.
    FAdd,
    /// f32 old < a ? old : a.
    FMin,
    /// f32 old > a ? old : a.
    FMax,
    /// Wrapping old + a.
    IAdd,
    /// Signed minimum.
    IMinS,
    /// Signed maximum.
    IMaxS,
    /// Unsigned minimum.
    IMinU,
    /// Unsigned maximum.
    IMaxU,
    /// Bitwise and.
    IAnd,
    /// Bitwise or.
    IOr,
    /// Bitwise exclusive or.
    IXor,
    /// a.
    Exchange,
    /// b where old is a, else old.
    CompareExchange,
}

impl Update {
    /// Every update.
    pub const ALL: [Update; 13] = [
        Update::FAdd,
        Update::FMin,
        Update::FMax,
        Update::IAdd,
        Update::IMinS,
        Update::IMaxS,
        Update::IMinU,
        Update::IMaxU,
        Update::IAnd,
        Update::IOr,
        Update::IXor,
        Update::Exchange,
        Update::CompareExchange,
    ];

    /// The mnemonic after `atomic.`.
    pub const fn name(self) -> &'static str {
        match self {
            Update::FAdd => "fadd",
            Update::FMin => "fmin",
            Update::FMax => "fmax",
            Update::IAdd => "iadd",
            Update::IMinS => "imin_s",
            Update::IMaxS => "imax_s",
            Update::IMinU => "imin_u",
            Update::IMaxU => "imax_u",
            Update::IAnd => "iand",
            Update::IOr => "ior",
            Update::IXor => "ixor",
            Update::Exchange => "exchange",
            Update::CompareExchange => "compare_exchange",
        }
    }

    /// Kind of the element and of the operands.
    pub const fn scalar(self) -> Scalar {
        match self {
            Update::FAdd | Update::FMin | Update::FMax => Scalar::F32,
            Update::IAdd
            | Update::IMinS
            | Update::IMaxS
            | Update::IMinU
            | Update::IMaxU
            | Update::IAnd
            | Update::IOr
            | Update::IXor
            | Update::Exchange
            | Update::CompareExchange => Scalar::I32,
        }
    }

    /// How many operands it takes, besides base, offset and mask.
    pub const fn operands(self) -> usize {
        match self {
            Update::CompareExchange => 2,
            Update::FAdd
            | Update::FMin
            | Update::FMax
            | Update::IAdd
            | Update::IMinS
            | Update::IMaxS
            | Update::IMinU
            | Update::IMaxU
            | Update::IAnd
            | Update::IOr
            | Update::IXor
            | Update::Exchange => 1,
        }
    }
}

/// What a memory operation addresses.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Place {
    /// An argument.
    Buffer(Buffer),
    /// Block-shared scratch.
    Arena(Arena),
}

/// How the lanes of a memory operation find their elements. Every index counts elements of the
/// operation's [`Mem`] type; the base index is a uniform `i64`.
///
/// Where a mask is given, a masked-off lane never touches memory, and its loaded value is zero.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum MemoryOp {
    /// One element for all lanes: `base [mask: u.bool] -> uniform`.
    LoadUniform,
    /// Lane `l` gets element `base + l`: `base [mask: v.bool] -> varying`.
    LoadContig,
    /// Lane `l` gets element `base + offset[l]`: `base, offset: v.i32 (signed) [mask] -> varying`.
    Gather,
    /// `base, value: uniform [mask: u.bool]`.
    StoreUniform,
    /// `base, value: varying [mask: v.bool]`.
    StoreContig,
    /// `base, offset: v.i32, value: varying [mask]`. Two active lanes must not name one element.
    Scatter,
}

impl MemoryOp {
    /// Every memory form.
    pub const ALL: [MemoryOp; 6] = [
        MemoryOp::LoadUniform,
        MemoryOp::LoadContig,
        MemoryOp::Gather,
        MemoryOp::StoreUniform,
        MemoryOp::StoreContig,
        MemoryOp::Scatter,
    ];

    /// The mnemonic before the element type.
    pub const fn name(self) -> &'static str {
        match self {
            MemoryOp::LoadUniform => "load.uniform",
            MemoryOp::LoadContig => "load.contig",
            MemoryOp::Gather => "gather",
            MemoryOp::StoreUniform => "store.uniform",
            MemoryOp::StoreContig => "store.contig",
            MemoryOp::Scatter => "scatter",
        }
    }

    /// Whether it writes.
    pub const fn is_store(self) -> bool {
        match self {
            MemoryOp::LoadUniform | MemoryOp::LoadContig | MemoryOp::Gather => false,
            MemoryOp::StoreUniform | MemoryOp::StoreContig | MemoryOp::Scatter => true,
        }
    }
}

/// An operation with its immediates; operands are in [`super::Inst::args`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A row of the table.
    Pure(Pure),
    /// A uniform f32 given by its bits (so that NaN and -0 are exact).
    ConstF32(u32),
    /// A uniform i32.
    ConstI32(i32),
    /// A uniform i64.
    ConstI64(i64),
    /// A uniform bool.
    ConstBool(bool),
    /// The lane's own number, `v.i32`.
    LaneIndex,
    /// The block's index on axis 0, 1 or 2, `u.i32`.
    BlockIndex(u8),
    /// The grid's size on axis 0, 1 or 2, `u.i32`.
    BlockCount(u8),
    /// Uniform to varying, any kind but i64.
    Splat,
    /// Varying to uniform by a fixed tree.
    Reduce(Reduce),
    /// `value: varying, lane: u.i32 -> uniform`; the lane number is taken modulo `lanes`.
    Extract,
    /// `value: varying, source: v.i32 -> varying`; the source lane is taken modulo `lanes` (as unsigned).
    Shuffle,
    /// Four `bits`-wide codes of each lane's own 64-bit string `lo | hi << 32`, from bit `offset`,
    /// extended into the four bytes of the result: `lo: i32, hi: i32 -> i32`. `offset + 4 * bits <= 64`, `bits` in 1..=8.
    Unpack {
        /// Width of a code, 1 to 8.
        bits: u8,
        /// First bit.
        offset: u8,
        /// How a code becomes a byte.
        sign: Sign,
    },
    /// Four codes for each lane from one bit stream that is contiguous across the lanes: lane `l`, byte `j`
    /// is code `4 * l + j` counted from byte `base` of the place; `base: u.i64 (bytes) -> v.i32`.
    /// Reads exactly `ceil(lanes * 4 * bits / 8)` bytes.
    LoadUnpack {
        /// Where the stream lies.
        place: Place,
        /// Width of a code, 1 to 8.
        bits: u8,
        /// How a code becomes a byte.
        sign: Sign,
    },
    /// `index: i32 -> element` of a constant table; uniform or varying. The index is taken modulo the next
    /// power of two of the length; entries past the end read as zero.
    TableLookup(Table),
    /// `index: i32 -> i32`: each byte of the index selects an entry of an i32 table of up to 256 bytes (each 0 to 255), which is
    /// that byte of the result; uniform or varying. Modulus and padding as for `table`, byte by byte.
    TableBytes(Table),
    /// `index: i32 -> i32`: each half of the index selects an entry of an i32 table of numbers from 0 to 65535, which is that half of the result;
    /// uniform or varying. Modulus and padding as for `table`, half by half.
    TableHalves(Table),
    /// Loads and stores. Operands: base, then offset (gather, scatter), then value (stores), then mask.
    Memory {
        /// Addressing form and direction.
        form: MemoryOp,
        /// Element type in memory.
        mem: Mem,
        /// What is addressed.
        place: Place,
        /// Whether the last operand is a mask.
        masked: bool,
    },
    /// `base: u.i64, offset: v.i32 (signed), a [, b], mask: v.bool -> varying`: each active lane updates the 32-bit element `base + offset[l]` of
    /// the buffer in one step that no other lane or block sees half done, and gives what was there before; an inactive lane touches
    /// nothing and gives zero. Lanes and blocks come in any order. No other operation accesses a buffer that is updated so.
    Atomic {
        /// What becomes of the element.
        update: Update,
        /// What is updated.
        buffer: Buffer,
    },
    /// Matrices that groups of lanes hold together ([`super::fragment`]).
    Fragment(FragmentOp),
    /// `base: u.i64, offset: v.i32 (signed), value: v.i32, bits: v.i32, mask: v.bool`: of byte `base + offset[l]` of the buffer, each active lane
    /// replaces the bits that are set in `bits` (the low 8) by those of `value`, in one step, and leaves the others: they may be replaced by
    /// other lanes and blocks at the same time. No two write one bit.
    StoreBits(Buffer),
    /// Orders all lanes' arena accesses before it against those after it. Uniform control flow only, by construction.
    Barrier,
    /// A barrier that orders this block's buffer accesses, too.
    BufferBarrier,
    /// `condition: u.bool`. A false condition is recorded as the launch's failure (the first one wins) with
    /// the message's number; execution goes on.
    Assert(u32),
    /// Any number of operands; appends to the launch's log with the message's number.
    Print(u32),
}

/// What an operation touches in memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Touch {
    /// Where.
    pub place: Place,
    /// Bytes of an element.
    pub bytes: u32,
    /// Whether elements are updated atomically, not loaded or stored.
    pub atomic: bool,
}

impl Op {
    /// Whether it does something besides defining its result.
    pub const fn has_effect(&self) -> bool {
        match self {
            Op::Memory { form, .. } => form.is_store(),
            Op::Atomic { .. }
            | Op::Fragment(_)
            | Op::StoreBits(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => true,
            Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::LoadUnpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_) => false,
        }
    }

    /// What it loads, stores or updates.
    pub const fn accesses(&self) -> Option<Touch> {
        match self {
            Op::Memory { mem, place, .. } => Some(Touch { place: *place, bytes: mem.bytes(), atomic: false }),
            Op::LoadUnpack { place, .. } => Some(Touch { place: *place, bytes: 1, atomic: false }),
            Op::StoreBits(buffer) => Some(Touch { place: Place::Buffer(*buffer), bytes: 1, atomic: false }),
            Op::Atomic { buffer, .. } => {
                Some(Touch { place: Place::Buffer(*buffer), bytes: 4, atomic: true })
            }
            Op::Fragment(op) => op.accesses(),
            Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => None,
        }
    }
}

macro_rules! forms {
    ($($variant:ident $name:literal $pattern:pat,)*) => {
        /// An operation without its immediates: the variants of [`Op`], as a table.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Form { $(#[doc = $name] $variant,)* }

        impl Form {
            /// Every form, in table order.
            pub const ALL: &'static [Form] = &[$(Form::$variant,)*];

            /// The start of its mnemonic; for forms that are tables themselves, what they are.
            pub const fn name(self) -> &'static str {
                match self { $(Form::$variant => $name,)* }
            }
        }

        impl Op {
            /// The operation without its immediates.
            pub const fn form(&self) -> Form {
                match self { $($pattern => Form::$variant,)* }
            }
        }
    };
}

forms! {
    ConstF32 "const.f32" Op::ConstF32(_),
    ConstI32 "const.i32" Op::ConstI32(_),
    ConstI64 "const.i64" Op::ConstI64(_),
    ConstBool "const.bool" Op::ConstBool(_),
    Pure "pure" Op::Pure(_),
    LaneIndex "lane_index" Op::LaneIndex,
    BlockIndex "block_index" Op::BlockIndex(_),
    BlockCount "block_count" Op::BlockCount(_),
    Splat "splat" Op::Splat,
    Reduce "reduce" Op::Reduce(_),
    Extract "extract" Op::Extract,
    Shuffle "shuffle" Op::Shuffle,
    Unpack "unpack" Op::Unpack { .. },
    LoadUnpack "load.unpack" Op::LoadUnpack { .. },
    TableLookup "table" Op::TableLookup(_),
    TableBytes "table.bytes" Op::TableBytes(_),
    TableHalves "table.halves" Op::TableHalves(_),
    Memory "memory" Op::Memory { .. },
    Atomic "atomic" Op::Atomic { .. },
    Fragment "fragment" Op::Fragment(_),
    StoreBits "store.bits" Op::StoreBits(_),
    Barrier "barrier" Op::Barrier,
    BufferBarrier "barrier.buffers" Op::BufferBarrier,
    Assert "assert" Op::Assert(_),
    Print "print" Op::Print(_),
}
