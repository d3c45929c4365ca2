//! Arguments of a launch, and what it reports.
//!
//! Checked here, with an error that names the argument: how many there are, whether what is written may be
//! written, alignment, the grid. Not checked: lengths against what the kernel accesses.
//!
//! [`Prepared`] holds arguments between launches, for callers that launch many kernels: no allocation and no
//! repeated checks.

use std::marker::PhantomData;

use tvmc_ir::lane::Access;
use tvmc_ir::lane::abi::ALIGNMENT;

use crate::kernel::CompiledKernel;
use crate::pool::Pool;

/// A buffer argument as borrowed bytes, aligned to 64. The allocation behind it is padded to a multiple of 4
/// bytes (an [`AlignedBuffer`](crate::AlignedBuffer) is).
#[derive(Debug)]
pub enum BufferArg<'a> {
    /// For a buffer that is declared `read`.
    Read(&'a [u8]),
    /// For any buffer.
    Write(&'a mut [u8]),
}

/// A buffer argument as an address: for views of one allocation.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RawBuffer {
    /// The first byte, aligned to 64.
    pub start: *mut u8,
}

/// Why a launch did not succeed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LaunchError {
    /// Wrong number of buffers.
    #[error("kernel @{kernel} takes {wanted} buffers, got {found}")]
    BufferCount {
        /// The kernel.
        kernel: String,
        /// As declared.
        wanted: usize,
        /// As given.
        found: usize,
    },
    /// Wrong number of scalars.
    #[error("kernel @{kernel} takes {wanted} scalars, got {found}")]
    ScalarCount {
        /// The kernel.
        kernel: String,
        /// As declared.
        wanted: usize,
        /// As given.
        found: usize,
    },
    /// A buffer that the kernel writes was given as read-only.
    #[error("kernel @{kernel} writes buffer `{buffer}`, which was given as read-only")]
    ReadOnly {
        /// The kernel.
        kernel: String,
        /// The argument's name.
        buffer: String,
    },
    /// An address that is not a multiple of 64.
    #[error("kernel @{kernel}: buffer `{buffer}` is not aligned to 64 bytes")]
    Misaligned {
        /// The kernel.
        kernel: String,
        /// The argument's name.
        buffer: String,
    },
    /// An axis above 2^31 - 1, or more blocks than can be counted.
    #[error("the grid {0:?} is too large")]
    GridTooLarge([u32; 3]),
    /// No memory for a thread's scratch.
    #[error("no memory for {0} bytes of scratch")]
    OutOfMemory(usize),
    /// An `assert` of the kernel was false. All blocks ran to their end.
    #[error("{said} (kernel @{kernel}, block {block:?})")]
    Assertion {
        /// The kernel.
        kernel: String,
        /// The first block that failed, axis 0 fastest.
        block: [u32; 3],
        /// Number of the message.
        message: u32,
        /// `file:line:column: assertion failed: `, and its text.
        said: String,
        /// What the launch printed.
        printed: Vec<Printed>,
    },
}

/// One executed `print`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Printed {
    /// The block that printed.
    pub block: [u32; 3],
    /// Number of the message.
    pub message: u32,
    /// The line: its place in the source, `file:line:column: `, and the text with its operands.
    pub text: String,
}

/// What a launch gives besides memory. The same for any number of threads, unless prints were lost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LaunchReport {
    /// Blocks that ran.
    pub blocks: u64,
    /// What they printed, in block order, axis 0 fastest.
    pub printed: Vec<Printed>,
    /// Prints beyond the log's limit (16 MiB a thread), which are not in `printed`. Which ones depends on the threads.
    pub prints_lost: u64,
}

/// A kernel with its arguments, kept between launches.
pub struct Prepared {
    pub(crate) kernel: CompiledKernel,
    pub(crate) grid: [u32; 3],
    pub(crate) buffers: Vec<*mut u8>,
    pub(crate) scalars: Vec<u64>,
}

// SAFETY: the pointers are only carried; using them is the launch's contract.
unsafe impl Send for Prepared {}

impl Prepared {
    /// A launch on no blocks, with zero scalars and no memory behind its buffers.
    pub fn new(kernel: &CompiledKernel) -> Self {
        Self {
            kernel: kernel.clone(),
            grid: [0; 3],
            buffers: vec![std::ptr::without_provenance_mut(ALIGNMENT); kernel.buffers().len()],
            scalars: vec![0; kernel.scalars().len()],
        }
    }

    /// The kernel.
    pub fn kernel(&self) -> &CompiledKernel {
        &self.kernel
    }

    /// Sets the number of blocks on each axis.
    pub fn set_grid(&mut self, grid: [u32; 3]) {
        self.grid = grid;
    }

    /// Sets a buffer argument by its position.
    pub fn set_buffer(&mut self, at: usize, buffer: RawBuffer) -> Result<(), LaunchError> {
        let count = self.buffers.len();
        let kernel = || self.kernel.name().to_owned();
        let Some(slot) = self.buffers.get_mut(at) else {
            return Err(LaunchError::BufferCount { kernel: kernel(), wanted: count, found: at + 1 });
        };
        if !buffer.start.addr().is_multiple_of(ALIGNMENT) {
            let buffer = self.kernel.buffers()[at].name.clone();
            return Err(LaunchError::Misaligned { kernel: kernel(), buffer });
        }
        *slot = buffer.start;
        Ok(())
    }

    /// Sets a scalar argument by its position: f32 and i32 in the low half, bool as 0 or 1.
    pub fn set_scalar(&mut self, at: usize, bits: u64) -> Result<(), LaunchError> {
        let wanted = self.scalars.len();
        match self.scalars.get_mut(at) {
            Some(slot) => {
                *slot = bits;
                Ok(())
            }
            None => {
                let kernel = self.kernel.name().to_owned();
                Err(LaunchError::ScalarCount { kernel, wanted, found: at + 1 })
            }
        }
    }
}

impl Pool {
    /// Runs every block of a grid and waits for the last. A grid with an axis of zero blocks does nothing.
    ///
    /// # Safety
    ///
    /// With these scalars and this grid, every element that the kernel accesses, masked-off lanes excepted, lies
    /// within the given buffer, and no two blocks touch one element unless both only read it.
    pub unsafe fn launch(
        &self,
        kernel: &CompiledKernel,
        grid: [u32; 3],
        buffers: &mut [BufferArg<'_>],
        scalars: &[u64],
    ) -> Result<LaunchReport, LaunchError> {
        let name = || kernel.name().to_owned();
        if buffers.len() != kernel.buffers().len() {
            let (wanted, found) = (kernel.buffers().len(), buffers.len());
            return Err(LaunchError::BufferCount { kernel: name(), wanted, found });
        }
        let mut pointers = Vec::with_capacity(buffers.len());
        for (argument, decl) in buffers.iter_mut().zip(kernel.buffers()) {
            let (pointer, length) = match (argument, decl.access) {
                (BufferArg::Write(bytes), _) => (bytes.as_mut_ptr(), bytes.len()),
                (BufferArg::Read(bytes), Access::Read) => (bytes.as_ptr().cast_mut(), bytes.len()),
                (BufferArg::Read(_), Access::Write | Access::ReadWrite) => {
                    return Err(LaunchError::ReadOnly { kernel: name(), buffer: decl.name.clone() });
                }
            };
            if length > 0 && !pointer.addr().is_multiple_of(ALIGNMENT) {
                return Err(LaunchError::Misaligned { kernel: name(), buffer: decl.name.clone() });
            }
            pointers.push(pointer);
        }
        if scalars.len() != kernel.scalars().len() {
            let (wanted, found) = (kernel.scalars().len(), scalars.len());
            return Err(LaunchError::ScalarCount { kernel: name(), wanted, found });
        }
        let arguments = Arguments { buffers: &pointers, scalars, borrow: PhantomData };
        // SAFETY: the counts match the kernel's; the rest is the caller's promise.
        unsafe { self.run(kernel, grid, &arguments) }
    }

    /// Runs a prepared launch: as [`Pool::launch`], with nothing left to check but the grid.
    ///
    /// # Safety
    ///
    /// As for [`Pool::launch`], with buffers that extend from the given addresses: every accessed element lies in
    /// memory that is valid for that access, padded to a multiple of 4 bytes, and not touched by others during
    /// the call. Buffers may overlap where neither writes what the other accesses.
    pub unsafe fn launch_prepared(&self, launch: &Prepared) -> Result<LaunchReport, LaunchError> {
        let arguments = Arguments { buffers: &launch.buffers, scalars: &launch.scalars, borrow: PhantomData };
        // SAFETY: the vectors are as long as the kernel's declarations; the rest is the caller's promise.
        unsafe { self.run(&launch.kernel, launch.grid, &arguments) }
    }
}

/// Checked arguments, as compiled code takes them.
pub(crate) struct Arguments<'a> {
    pub buffers: &'a [*mut u8],
    pub scalars: &'a [u64],
    borrow: PhantomData<&'a mut [u8]>,
}
