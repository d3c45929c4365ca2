//! Lane IR to AVX-512 and AVX2 machine code.
//!
//! ```text
//! Verified --isel--> Mir --regalloc2--> Mir<PReg> --iced-x86--> Code { bytes }
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`Features`] | what the processor can do |
//! | [`mir`] | machine IR: x86 instructions over virtual registers, then over those of the machine; text and verifier |
//! | `isel` | lane operations to machine IR: folds loads, broadcasts, addresses and compares |
//! | `regalloc` | machine IR as the register allocator sees it, and what it becomes |
//! | `emit` | bytes, jumps, frame, constant pool |
//!
//! The code follows `tvmc_ir::lane::abi` with the System V calling convention on every system; the
//! caller declares it `extern "sysv64"`. A varying value is `ceil(lanes / P)` vector registers; what the
//! lanes past the end hold is undefined, and every memory access and every reduction masks them.
//!
//! The code never traps and never reads or writes a byte that lane IR does not name, with one exception:
//! a gather of 8- or 16-bit elements reads the aligned 32-bit word around each element. Buffers are
//! aligned to 64 bytes and their allocation must be padded to a multiple of 4.
//!
//! Refused with a typed error: `print` (a call into the host, which the portable backend has), regions
//! nested more than 256 deep, and functions beyond the register allocator's limits.
#![forbid(unsafe_code)]

mod emit;
mod features;
mod isel;
pub mod mir;
mod regalloc;

use std::fmt;

use mir::{MAX_FRAME, Mir, Register};
use regalloc2::PReg;
use tvmc_ir::lane::Verified;

pub use features::{Features, Level};

/// Machine code of one kernel: enter at offset 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code {
    /// Position-independent code, then constants. The start must be aligned to 64 bytes.
    pub bytes: Vec<u8>,
    /// What was counted while compiling.
    pub stats: Stats,
}

/// Alignment that [`Code::bytes`] needs where it is placed.
pub const CODE_ALIGNMENT: usize = 64;

/// Counts of one compilation.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Machine instructions, all below included.
    pub instructions: usize,
    /// Stores to spill slots.
    pub spills: usize,
    /// Loads from spill slots.
    pub reloads: usize,
    /// Instructions in innermost loops.
    pub loop_instructions: usize,
    /// Stores to spill slots and loads from them in innermost loops.
    pub loop_spills: usize,
    /// Register moves that the allocator added.
    pub moves: usize,
    /// 8-byte units of spill slots.
    pub spill_slots: usize,
    /// Bytes of code, without constants.
    pub code_bytes: usize,
    /// Microseconds from lane IR to bytes.
    pub micros: u64,
}

/// Why a function was not compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// It holds an operation that this backend leaves to another.
    Unsupported {
        /// The operation's name.
        op: &'static str,
    },
    /// Regions nest too deep.
    TooDeep,
    /// A limit of the register allocator or the frame was met.
    TooLarge(String),
    /// A bug of this backend: an instruction that cannot be encoded or a failed check.
    Internal(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unsupported { op } => write!(f, "the x86 backend does not compile `{op}`"),
            Error::TooDeep => f.write_str("regions are nested too deep for the x86 backend"),
            Error::TooLarge(what) => write!(f, "the kernel is too large for the x86 backend: {what}"),
            Error::Internal(what) => write!(f, "internal error of the x86 backend: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// Choices of a compilation that do not change what the code computes.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// Verify machine IR before and after register allocation, and check the allocation symbolically. Slow; for tests. The verifier also runs in debug builds.
    pub check: bool,
}

/// Compiles for a processor with these features.
pub fn compile(function: &Verified, features: &Features) -> Result<Code, Error> {
    compile_with(function, features, Options::default())
}

/// Compiles with options.
pub fn compile_with(function: &Verified, features: &Features, options: Options) -> Result<Code, Error> {
    let start = std::time::Instant::now();
    let selected = select(function, features, options)?;
    let (allocated, moves) = allocate(&selected, options)?;
    let mut code = encode(&allocated)?;
    code.stats.moves = moves;
    code.stats.micros = start.elapsed().as_micros() as u64;
    Ok(code)
}

/// Machine IR over virtual registers.
pub fn select(function: &Verified, features: &Features, options: Options) -> Result<Mir, Error> {
    let mir = isel::lower(function, features)?;
    if mir.vregs() > regalloc2::VReg::MAX {
        return Err(Error::TooLarge(format!("{} virtual registers", mir.vregs())));
    }
    sound(&mir, options)?;
    Ok(mir)
}

/// Machine IR over the machine's registers, and how many moves between registers the allocator added. `selected` has passed [`mir::verify`].
pub fn allocate(selected: &Mir, options: Options) -> Result<(Mir<PReg>, usize), Error> {
    let (allocated, moves) = regalloc::allocate(selected, options.check).map_err(Error::Internal)?;
    let frame = emit::frame(&allocated);
    if frame > MAX_FRAME {
        return Err(Error::TooLarge(format!("its frame would take {frame} bytes")));
    }
    sound(&allocated, options)?;
    Ok((allocated, moves))
}

/// Code of machine IR that has passed [`mir::verify`].
pub fn encode(allocated: &Mir<PReg>) -> Result<Code, Error> {
    let (bytes, stats) = emit::emit(allocated)?;
    Ok(Code { bytes, stats })
}

fn sound<R: Register>(mir: &Mir<R>, options: Options) -> Result<(), Error> {
    if !options.check && !cfg!(debug_assertions) {
        return Ok(());
    }
    match mir::verify(mir) {
        Ok(()) => Ok(()),
        Err(errors) => Err(Error::Internal(format!("{} in\n{mir}", errors[0]))),
    }
}

/// The code as Intel-syntax assembly, one instruction a line with its offset; constants are left out.
pub fn disassemble(code: &Code) -> String {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let end = code.stats.code_bytes.min(code.bytes.len());
    let mut decoder = Decoder::with_ip(64, &code.bytes[..end], 0, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_rip_relative_addresses(true);
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_branch_leading_zeros(false);
    let mut text = String::new();
    let mut line = String::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        line.clear();
        formatter.format(&instruction, &mut line);
        text.push_str(&format!("{:6x}  {line}\n", instruction.ip()));
    }
    text
}
