//! Random tile kernels with arguments, for property tests and fuzzers.
//!
//! A kernel is made from a *tape* of numbers, each a decision; an exhausted tape answers 0, which always is the simplest choice. So a
//! shorter tape, or smaller numbers, give a smaller kernel, and proptest shrinks kernels by shrinking tapes. Every tape gives a kernel
//! that `tile::verify` accepts and that the tile interpreter runs without a trap.
//!
//! | file | what it does |
//! |---|---|
//! | `tape` | decisions |
//! | `kernel` | the grid, statements and control flow |
//! | `ops` | operations on the values in scope |
//! | `memory` | loads, block-shared memory, arguments |
//! | `copies` | copies that are waited for |
//! | `fields` | loads of fields, stores of matrices of formats |
//! | `outputs` | where blocks store |
//! | `places` | scatters and atomic updates |
//! | `coverage` | which operations a kernel has, with which types, and which there are |
//! | `data` | formats, and bytes that hold wanted numbers |
//!
//! **[`Floats::Exact`]**: every float in scope is a multiple of 1/4 of at most 16, and never -0. Results that could leave this set are
//! brought back to it (`floor(clamp(x) * 4) / 4 + 0`), and sums of them are exact in any order, so all machines must agree bit for bit.
//! **[`Floats::Wild`]**: NaN, infinities, subnormals and any bit pattern, but of reductions and products of floats none whose order is free.

mod copies;
mod coverage;
mod data;
mod fields;
mod kernel;
mod memory;
mod ops;
mod outputs;
mod places;
mod tape;

pub use coverage::{Pair, operations, pairs, taken};
pub use kernel::generate;
pub use tape::Tape;

use tvmc_interp::tile as interp;
use tvmc_ir::tile::launch::{ArgumentShape, bind};
use tvmc_ir::tile::{Element, Kernel};
use tvmc_types::dtype::DType;

/// Which floats occur.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Floats {
    /// Small multiples of 1/4.
    Exact,
    /// Anything.
    Wild,
}

/// A tensor argument.
#[derive(Clone, PartialEq, Debug)]
pub struct Data {
    /// Extents.
    pub shape: Vec<u64>,
    /// What the bytes hold.
    pub element: Element,
    /// As they are before the launch.
    pub bytes: Vec<u8>,
    /// Whether the kernel writes it.
    pub written: bool,
    /// Whether compiled code gets it row-interleaved.
    pub packed: bool,
}

/// An argument.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// Memory.
    Tensor(Data),
    /// A number: its bits, 0 or 1 for bool.
    Scalar(DType, u32),
}

/// A kernel and its arguments.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// Accepted by `tile::verify`.
    pub kernel: Kernel,
    /// One per parameter.
    pub arguments: Vec<Argument>,
    /// Whether it keeps to operations that WGSL rounds correctly (no division, no square root, no NaN).
    pub portable: bool,
}

impl Case {
    /// The arguments' shapes, for binding.
    pub fn shapes(&self) -> Vec<ArgumentShape> {
        self.arguments
            .iter()
            .map(|argument| match argument {
                Argument::Tensor(data) => ArgumentShape::Tensor(data.shape.clone()),
                Argument::Scalar(dtype, bits) => ArgumentShape::Scalar(data::number(*dtype, *bits)),
            })
            .collect()
    }

    /// The case after a run of the tile interpreter, or its trap; an error if the arguments don't fit the kernel.
    pub fn interpret(&self, fuel: u64) -> Result<Result<Interpreted, interp::Trap>, String> {
        let binding = bind(&self.kernel, &self.shapes()).map_err(|e| e.to_string())?;
        let mut arguments = self.arguments.clone();
        let given = arguments
            .iter_mut()
            .map(|argument| match argument {
                Argument::Tensor(data) => interp::Argument::Tensor(&mut data.bytes, data.shape.clone()),
                Argument::Scalar(_, bits) => interp::Argument::Scalar(*bits),
            })
            .collect();
        let outcome = interp::run(&self.kernel, &binding, given, fuel);
        Ok(outcome.map(|outcome| Interpreted { arguments, log: outcome.log }))
    }

    /// The bytes that the tile interpreter leaves in a tensor argument. Panics if it does not get so far.
    pub fn interpreted(&self, argument: usize) -> Vec<u8> {
        let outcome = self.interpret(1 << 36).expect("it binds").expect("it runs");
        match &outcome.arguments[argument] {
            Argument::Tensor(data) => data.bytes.clone(),
            Argument::Scalar(..) => panic!("a tensor"),
        }
    }
}

/// What the tile interpreter leaves.
#[derive(Clone, PartialEq, Debug)]
pub struct Interpreted {
    /// The arguments afterwards.
    pub arguments: Vec<Argument>,
    /// What was printed.
    pub log: Vec<String>,
}
