//! Runs lane IR on CPU threads.
//!
//! ```text
//! Verified --compile--> CompiledKernel            machine code in its own pages, freed with the last clone
//! Pool --launch(kernel, grid, buffers, scalars)--> blocks of the grid, spread over pinned threads
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `kernel` | chooses the backend, owns the code |
//! | `pool` | worker threads, hand-over of a launch, who runs which block |
//! | `launch` | arguments of a launch, their checks, what it reports |
//! | `buffer` | 64-byte-aligned memory, in huge pages where large |
//! | `abi` | the `repr(C)` struct that compiled code reads |
//! | `affinity` | which processors there are, and pinning to them |
//!
//! A block runs on one thread from start to end, so barriers cost nothing, and blocks do not depend on one
//! another: memory, the report and errors have the same bits for any number of threads. Scratch memory is
//! one aligned arena per thread that grows to the largest kernel's need.
//!
//! # Safety
//!
//! Machine code does what lane IR says, and lane IR may say to access any index. The verifier does not know
//! lengths; whoever launches does, and vouches for them: that is why [`Pool::launch`] is `unsafe`.
//! Everything else about a launch (number, access and alignment of arguments, size of the grid) is checked.

mod abi;
mod affinity;
mod buffer;
mod kernel;
mod launch;
mod needs;
mod object;
mod pool;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

pub use affinity::processors;
pub use buffer::{AlignedBuffer, OutOfMemory};
pub use kernel::{Backend, CompileError, CompiledKernel, Target, clif_text};
pub use launch::{BufferArg, LaunchError, LaunchReport, Prepared, Printed, RawBuffer};
pub use needs::InstructionSet;
pub use object::{Object, object};
pub use pool::Pool;
