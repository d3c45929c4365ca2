//! What the lowering knows of a target: one row each. A kernel's source never mentions a target; these numbers are
//! where targets differ.
//!
//! Register budgets count *lane registers* (one value for all lanes). On a CPU a lane register is `lanes / P` vector
//! registers of `P` elements, so the budget is what the machine has, less a few for operands, divided by that.

/// How a step of a `dot` is computed. The reference allows either; the bound is the same.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum DotStep {
    /// One rounding. Where the machine has it.
    Fused,
    /// A product, then a sum: where a fused operation would have to be imitated.
    Separate,
}

/// Which loads are worth a ring.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Loads {
    /// Those of a product's factors, of which each element serves many lanes or many sums. Where lanes only load what they themselves compute with, enough loads are
    /// under way already, and the way through scratch costs.
    Factors,
    /// All.
    All,
}

/// Who loads the tiles of a loop's next turns ahead of time, where the source asks for it (`pipeline`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// The processor, which sees a stream of loads and fetches what comes next. A copy in scratch would only be read once more.
    Processor,
    /// The kernel, into rings in block scratch.
    Scratch {
        /// Most bytes of scratch that a kernel with rings may take altogether.
        bytes: u32,
        /// What is loaded ahead.
        loads: Loads,
    },
}

/// What the memory is in which a block keeps its scratch.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Scratch {
    /// A cache of the processor that runs the block: neighbours are best kept together, so tiles lie row by row whatever order the source writes.
    Cached,
    /// Memory of banks, each of which gives one word at a time to all lanes: the orders that the source writes are kept.
    Banked,
}

/// Matrices that the lanes of a group multiply together (`lane::fragment`), where a device offers that for halves and sums in f32.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Fragments {
    /// Lanes of a group.
    pub group: u32,
    /// Groups of a block at most, in kernels that do not pin their lanes.
    pub groups: u32,
    /// Sums that a group keeps in registers.
    pub sums: u32,
    /// Bytes of scratch that a block may take.
    pub scratch: u32,
    /// Blocks that keep such a device busy: with fewer, some of it is idle.
    pub blocks: u64,
}

impl Fragments {
    /// Those of a device by the size of its subgroups and the scratch of a block.
    pub const fn of(group: u32, scratch: u32) -> Self {
        Self { group, groups: 8, sums: 16, scratch, blocks: 128 }
    }
}

/// How integer products of many rows are made (`integer_block`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Blocking {
    /// Rows from which on codes are decoded for all of them at once.
    pub least: u32,
    /// Rows whose sums are in registers at once.
    pub rows: u32,
    /// Chunks of columns beside each other, where a span of K is one run.
    pub chunks: u32,
}

/// A machine as the lowering sees it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its name in messages.
    pub name: &'static str,
    /// Virtual lanes of a kernel that does not pin them.
    pub lanes: u32,
    /// Lane registers for the accumulators of a `dot`.
    pub accumulators: u32,
    /// A tile of up to this many lane registers stays in registers; a larger one lives in the arena.
    pub tile_registers: u32,
    /// Statically unrolled steps before a generated loop is used.
    pub unroll: u32,
    /// Steps of a tile's chunks in one turn of such a loop: neighbours share what stands in one word.
    pub turn: u32,
    /// Multiply-adds in one turn of a product's loop, so that enough loads are under way at once.
    pub k_unroll: u32,
    /// Elements of K in a turn of a product of floats whose sums are not in registers: neighbouring turns become one of up to so many (`turns`). 0 leaves turns as the source has them.
    pub turn_depth: u32,
    /// Independent accumulator chains wanted along N, to hide the latency of `fma`.
    pub chains: u32,
    /// How a step of a `dot` is computed.
    pub dot_step: DotStep,
    /// Whether products of stored operands go through `dot4`.
    pub integer_dot: bool,
    /// Rows that share one chunk of unpacked codes in such a product.
    pub integer_rows: u32,
    /// How such products of many rows are made: where scratch is as near as the first cache.
    pub blocking: Option<Blocking>,
    /// Lanes that share one element of a product, each with a part of K (`spread`): where lanes are many and slow. 1 keeps
    /// an element in its lane, and its order of additions.
    pub spread: u32,
    /// Lanes of a kernel that does not pin them, where all its products are spread and a weight lies in planes: as many as keep loads under way.
    pub spread_lanes: u32,
    /// Lanes of a kernel that does not pin them, where it multiplies few rows by at least as many columns: each lane then has one.
    pub wide_lanes: u32,
    /// Bytes of block scratch up to which arenas are not merged: where a barrier costs more than the room.
    pub spare_scratch: u32,
    /// Entries of the largest table of 16-bit numbers that is looked up two at a time (`table.halves`): where that is quicker than a gather. 0 for none.
    pub halves: u32,
    /// What scratch is.
    pub scratch: Scratch,
    /// Who loads ahead in loops that ask for it.
    pub ahead: Ahead,
    /// Whether whole matrices are multiplied. It depends on the device, so no row has it; who knows a device that does puts it in.
    pub fragments: Option<Fragments>,
    /// Blocks that keep a machine of this kind busy: with fewer, finer tiles are chosen where a kernel offers them.
    pub blocks: u64,
}

impl Target {
    /// The row for a software device, whose driver takes time and memory quadratic in a shader's branches: the same choices with little written out.
    pub const fn lean(self) -> Self {
        Self { k_unroll: 8, unroll: 4, ..self }
    }
}

/// AVX-512: 32 registers of 16 elements.
pub const X86_V4: Target = Target {
    name: "x86-64-v4",
    lanes: 16,
    accumulators: 24,
    tile_registers: 8,
    unroll: 64,
    turn: 16,
    k_unroll: 1,
    turn_depth: 128,
    chains: 4,
    dot_step: DotStep::Fused,
    integer_dot: true,
    integer_rows: 8,
    blocking: Some(Blocking { least: 16, rows: 8, chunks: 2 }),
    spread: 1,
    spread_lanes: 16,
    wide_lanes: 16,
    spare_scratch: 0,
    halves: 512,
    scratch: Scratch::Cached,
    ahead: Ahead::Processor,
    fragments: None,
    blocks: 1,
};

/// AVX2: 16 registers of 8 elements, two to a lane register.
pub const X86_V3: Target = Target {
    name: "x86-64-v3",
    lanes: 16,
    accumulators: 6,
    tile_registers: 4,
    unroll: 64,
    turn: 16,
    k_unroll: 1,
    turn_depth: 128,
    chains: 4,
    dot_step: DotStep::Fused,
    integer_dot: true,
    integer_rows: 4,
    blocking: Some(Blocking { least: 16, rows: 4, chunks: 1 }),
    spread: 1,
    spread_lanes: 16,
    wide_lanes: 16,
    spare_scratch: 0,
    halves: 0,
    scratch: Scratch::Cached,
    ahead: Ahead::Processor,
    fragments: None,
    blocks: 1,
};

/// Cranelift: 128-bit vectors, four to a lane register; more than 8 or 9 live accumulators spill on x86.
pub const CRANELIFT: Target = Target {
    name: "cranelift",
    lanes: 16,
    accumulators: 2,
    tile_registers: 4,
    unroll: 32,
    turn: 1,
    k_unroll: 1,
    turn_depth: 128,
    chains: 2,
    dot_step: DotStep::Fused,
    integer_dot: true,
    integer_rows: 1,
    blocking: Some(Blocking { least: 16, rows: 2, chunks: 1 }),
    spread: 1,
    spread_lanes: 16,
    wide_lanes: 16,
    spare_scratch: 0,
    halves: 0,
    scratch: Scratch::Cached,
    ahead: Ahead::Processor,
    fragments: None,
    blocks: 1,
};

/// WGSL: a lane is an invocation with its own registers.
pub const WGSL: Target = Target {
    name: "wgsl",
    lanes: 64,
    accumulators: 32,
    tile_registers: 32,
    unroll: 32,
    turn: 1,
    k_unroll: 512,
    turn_depth: 0,
    chains: 4,
    dot_step: DotStep::Separate,
    integer_dot: true,
    integer_rows: 1,
    blocking: None,
    spread: 32,
    spread_lanes: 128,
    wide_lanes: 256,
    spare_scratch: 16 << 10,
    halves: 0,
    scratch: Scratch::Banked,
    ahead: Ahead::Scratch { bytes: 16 << 10, loads: Loads::Factors },
    fragments: None,
    blocks: 512,
};

/// Every row.
pub const TARGETS: [Target; 4] = [X86_V4, X86_V3, CRANELIFT, WGSL];
