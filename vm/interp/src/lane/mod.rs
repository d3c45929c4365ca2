//! Executes verified lane IR, lane by lane, and notices what hardware would leave undefined.
//!
//! Lane IR is lockstep by definition: an instruction is executed for all lanes before the next one. Within an
//! instruction lanes go in a chosen [`LaneOrder`]. What a machine without lockstep could do differently
//! (a missing barrier, two lanes on one element, undefined scratch) is a [`Trap`] and never a result;
//! `memory` states the exact rule. So an outcome holds for every backend and every schedule.
//!
//! Shares no code with any lowering: `pure` says what each operation is, in Rust's own arithmetic.
//! Fuel bounds the work: an instruction costs 1, or the number of lanes where values vary.
//!
//! # Example
//!
//! ```
//! use tvmc_interp::lane::{Argument, Launch, run};
//! use tvmc_ir::lane::{parse, verify};
//!
//! let text = r#"kernel @double lanes 4 {
//!   buffer b0 "x" readwrite
//!   v0: u.i64 = const.i64 0
//!   v1: v.i32 = load.contig.i32 b0[v0]
//!   v2: v.i32 = iadd v1, v1
//!   store.contig.i32 b0[v0], v2
//! }"#;
//! let kernel = verify(parse(text).unwrap()).unwrap();
//! let mut x: Vec<u8> = [1i32, 2, 3, 4].iter().flat_map(|x| x.to_le_bytes()).collect();
//! run(&kernel, Launch::new([1, 1, 1], vec![Argument::Write(&mut x)], &[])).unwrap();
//! assert_eq!(x[4..8], 4i32.to_le_bytes());
//!
//! let mut short = [0; 12];
//! let trap = run(&kernel, Launch::new([1, 1, 1], vec![Argument::Write(&mut short)], &[])).unwrap_err();
//! assert_eq!(trap.to_string(), "block [0, 0, 0]: `load.contig.i32 b0[v0]` (v1), lane 3: \
//!                               element 3 of b0 is outside its 3 elements");
//! ```

mod access;
mod fragments;
mod machine;
mod memory;
mod pure;

use std::fmt;

use tvmc_ir::lane::{Fragment, Place, Value, Verified};

/// A buffer argument.
pub enum Argument<'a> {
    /// For a buffer that is declared `read`.
    Read(&'a [u8]),
    /// For any buffer.
    Write(&'a mut [u8]),
}

/// In which order the lanes of one instruction touch memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LaneOrder {
    /// 0, 1, 2, ...
    Ascending,
    /// ..., 2, 1, 0
    Descending,
    /// A permutation drawn from this seed.
    Permuted(u64),
}

/// Which blocks of the grid run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Blocks {
    /// All, axis 0 fastest.
    All,
    /// Only this one; the grid's size stays what `block_count` gives.
    One([u32; 3]),
}

/// Everything that a run needs beside the kernel.
pub struct Launch<'a> {
    /// Blocks on each axis, each at most `i32::MAX`.
    pub grid: [u32; 3],
    /// Which of them run.
    pub blocks: Blocks,
    /// The buffer arguments in order.
    pub buffers: Vec<Argument<'a>>,
    /// The scalar arguments in order, in 8 bytes each: f32 and i32 in the low half, bool as 0 or 1.
    pub scalars: &'a [u64],
    /// How much work may be done.
    pub fuel: u64,
    /// Order of lanes.
    pub order: LaneOrder,
}

impl<'a> Launch<'a> {
    /// All blocks, lanes ascending, 2^40 units of fuel.
    pub fn new(grid: [u32; 3], buffers: Vec<Argument<'a>>, scalars: &'a [u64]) -> Self {
        Self { grid, blocks: Blocks::All, buffers, scalars, fuel: 1 << 40, order: LaneOrder::Ascending }
    }
}

/// One executed `print`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// The block that printed.
    pub block: [u32; 3],
    /// Number of the message.
    pub message: u32,
    /// Its text with the operands put in.
    pub text: String,
}

/// The first failed `assert`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The block that asserted.
    pub block: [u32; 3],
    /// Number of the message.
    pub message: u32,
}

/// What a run that did not trap gives, besides the buffers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// What was printed, in order.
    pub log: Vec<LogEntry>,
    /// The first assert that failed; execution went on after it.
    pub failure: Option<Failure>,
    /// How much fuel was used.
    pub fuel_used: u64,
}

/// Two accesses that nothing orders.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Hazard {
    /// Reads what another lane wrote.
    ReadAfterWrite,
    /// Overwrites what another lane read.
    WriteAfterRead,
    /// Overwrites what another lane wrote.
    WriteAfterWrite,
}

/// Why a run stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrapKind {
    /// The launch does not fit the kernel; nothing was executed.
    BadLaunch(String),
    /// The fuel is used up.
    OutOfFuel,
    /// An access outside a buffer or arena, which has this many elements of the accessed size.
    OutOfBounds {
        /// Elements of the accessed size.
        elements: u64,
    },
    /// Another active lane of the same `scatter` names the same element.
    ScatterConflict {
        /// That lane.
        other_lane: u32,
    },
    /// An arena element is read that this block never wrote.
    Uninitialised,
    /// A fragment is read before this block put anything there.
    UnsetFragment(Fragment),
    /// Lanes of this group disagree on where a fragment lies.
    TornFragment {
        /// The group.
        group: u32,
    },
    /// Halves lie at an element, or rows of them so far apart, that is no multiple of 8.
    MisalignedFragment {
        /// The element or distance.
        place: i128,
    },
    /// A barrier is missing between this access and an earlier one, or (buffers) two invocations of the launch touch one
    /// element and at least one of them writes.
    Race {
        /// The order in which it happened here.
        hazard: Hazard,
        /// The other lane, where it is one lane of the same block.
        other_lane: Option<u32>,
    },
}

/// A run that stopped: why and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trap {
    /// Why.
    pub kind: TrapKind,
    /// The block.
    pub block: [u32; 3],
    /// The instruction's text, empty where none was reached.
    pub instruction: String,
    /// The value that the instruction defines.
    pub value: Option<Value>,
    /// The lane; `None` where the instruction acts for all lanes.
    pub lane: Option<u32>,
    /// The memory it touched.
    pub place: Option<Place>,
    /// The element it touched.
    pub index: Option<i128>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let TrapKind::BadLaunch(message) = &self.kind {
            return f.write_str(message);
        }
        write!(f, "block {:?}", self.block)?;
        if !self.instruction.is_empty() {
            write!(f, ": `{}`", self.instruction)?;
        }
        if let Some(value) = self.value {
            write!(f, " ({value})")?;
        }
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        f.write_str(": ")?;
        if let (Some(place), Some(index)) = (self.place, self.index) {
            write!(f, "element {index} of {place} ")?;
        }
        match &self.kind {
            TrapKind::BadLaunch(_) => Ok(()),
            TrapKind::OutOfFuel => f.write_str("the fuel is used up"),
            TrapKind::OutOfBounds { elements } => write!(f, "is outside its {elements} elements"),
            TrapKind::ScatterConflict { other_lane } => write!(f, "is named by lane {other_lane} as well"),
            TrapKind::Uninitialised => f.write_str("is read before it is written"),
            TrapKind::UnsetFragment(fragment) => write!(f, "{fragment} is read before it is set"),
            TrapKind::TornFragment { group } => {
                write!(f, "lanes of group {group} disagree on where the fragment lies")
            }
            TrapKind::MisalignedFragment { place } => {
                write!(f, "halves lie at or apart by {place} elements, no multiple of 8")
            }
            TrapKind::Race { hazard, other_lane } => {
                let (now, before) = match hazard {
                    Hazard::ReadAfterWrite => ("read", "written"),
                    Hazard::WriteAfterRead => ("written", "read"),
                    Hazard::WriteAfterWrite => ("written", "written"),
                };
                write!(f, "is {now} after it was {before} by ")?;
                match (other_lane, self.place) {
                    (Some(lane), _) => write!(f, "lane {lane}")?,
                    (None, Some(Place::Buffer(_))) => f.write_str("other lanes or blocks")?,
                    (None, Some(Place::Arena(_)) | None) => f.write_str("other lanes")?,
                }
                match self.place {
                    Some(Place::Arena(_)) => f.write_str(", without a barrier between"),
                    Some(Place::Buffer(_)) | None => f.write_str(", and nothing orders the two"),
                }
            }
        }
    }
}

impl std::error::Error for Trap {}

/// Most bytes of registers that a run may take.
pub const MAX_REGISTER_BYTES: u64 = 1 << 30;

/// Executes a kernel. Writable buffers hold what was stored, also after a trap.
pub fn run(function: &Verified, launch: Launch<'_>) -> Result<Outcome, Box<Trap>> {
    machine::run(function, launch)
}
