//! Runs a program of program IR on a device.
//!
//! ```text
//! Program + Weights --load--> Session (weights resident, state zeroed) --call(inputs)--> outputs
//! ```
//!
//! * **load** reads hyper-parameters from the file's metadata, binds the dimensions of weights, checks every shape, and brings the weights to
//!   the device, packed where every kernel that reads them in bulk prefers it.
//! * **call** binds the call's dimensions, makes sure buffers are large enough, and walks the program's statements; a call like those before
//!   replays their launches instead (`plan`).
//!
//! Numbers known at load time are *fixed*: kernels are specialised to them. Those of a call are not. All arithmetic on tensors happens in
//! kernels; nothing here loops over elements.

pub mod device;
mod load;
mod plan;
mod run;
mod source;
mod state;

pub use device::{Argument, Arrangement, Device, DeviceError, Extent, LaunchId, MemoryId, Purpose, Slice};
pub use load::{LoadOptions, Session};
pub use plan::Planning;
pub use run::Call;
pub use source::{SourceTensor, WeightSource};
pub use state::{CHUNK, SavedState};

use tvmc_ir::host::EvalError;

/// Why a program cannot be loaded or called.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The model lacks a number that the program needs.
    #[error("program `{program}` needs the number `{key}` for `{name}`, which the model does not have")]
    MissingHyper {
        /// The program.
        program: String,
        /// Its name for it.
        name: String,
        /// The metadata key.
        key: String,
    },
    /// A number of the file has the wrong type or is out of range.
    #[error("`{key}` in the model file is {found}, the program expects {expected}")]
    BadHyper {
        /// The metadata key.
        key: String,
        /// What it is.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The model lacks a tensor.
    #[error("the program needs the tensor `{0}`, which the model does not have")]
    MissingWeight(String),
    /// A tensor has another shape or element type.
    #[error("tensor `{tensor}` is {found}, the program expects {expected}")]
    BadWeight {
        /// Its name in the file.
        tensor: String,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// An expression of the program has no value.
    #[error("{what}: {error}")]
    Expression {
        /// What was computed.
        what: String,
        /// Why it has none.
        error: EvalError,
    },
    /// A call does not fit the program's declarations.
    #[error("{0}")]
    Call(String),
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
