//! What can go wrong on a device, and what to do about it.

use thiserror::Error;

/// Why a GPU call failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GpuError {
    /// wgpu found no adapter at all.
    #[error(
        "no GPU was found through Vulkan. Install the driver of the GPU, or Mesa's software device \
         (on Debian and Ubuntu: apt install mesa-vulkan-drivers)"
    )]
    NoAdapter,
    /// No adapter has a name that contains the one asked for.
    #[error("no GPU is called `{name}`; there are: {}", available.join(", "))]
    NoSuchDevice {
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// The adapter cannot run compute shaders, or refused to open.
    #[error("the GPU `{name}` cannot be used: {reason}")]
    Unusable {
        /// The adapter.
        name: String,
        /// What it said.
        reason: String,
    },
    /// The device was lost: reset, unplugged, or it ran too long. Everything on it is gone.
    #[error("the GPU was lost: {0}")]
    Lost(String),
    /// The kernel does not compile for this device.
    #[error("kernel `{kernel}`: {error}")]
    Compile {
        /// The kernel.
        kernel: String,
        /// Why not.
        error: tvmc_backend_wgsl::Error,
    },
    /// The device has no room for a buffer.
    #[error("the GPU has no memory for a buffer of {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A buffer above the device's limit.
    #[error("a buffer of {bytes} bytes exceeds the GPU's limit of {limit}")]
    BufferTooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// An argument above the device's limit for one binding.
    #[error(
        "kernel `{kernel}`, argument `{argument}`: {bytes} bytes exceed the GPU's binding limit of {limit}"
    )]
    BindingTooLarge {
        /// The kernel.
        kernel: String,
        /// The argument.
        argument: String,
        /// Bytes of the view.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A view that starts between two elements.
    #[error(
        "kernel `{kernel}`, argument `{argument}`: byte offset {offset} is no multiple of the element size {alignment}"
    )]
    Misaligned {
        /// The kernel.
        kernel: String,
        /// The argument.
        argument: String,
        /// The view's start.
        offset: u64,
        /// What it must be a multiple of.
        alignment: u32,
    },
    /// Two arguments share memory and the kernel writes one of them.
    #[error("kernel `{kernel}`: arguments `{first}` and `{second}` overlap, and one of them is written")]
    Overlap {
        /// The kernel.
        kernel: String,
        /// One argument.
        first: String,
        /// The other.
        second: String,
    },
    /// The wrong number of arguments.
    #[error("kernel `{kernel}` takes {expected} {what}, {found} were given")]
    Arguments {
        /// The kernel.
        kernel: String,
        /// Buffers or scalars.
        what: &'static str,
        /// How many it takes.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// A range outside of its buffer.
    #[error("the range of {bytes} bytes from offset {offset} is outside of a buffer of {size} bytes")]
    OutOfRange {
        /// First byte.
        offset: u64,
        /// Length.
        bytes: u64,
        /// The buffer's size.
        size: u64,
    },
    /// A device-side copy or fill that is not in whole words.
    #[error("a copy or fill on the GPU works in whole 4-byte words; got {bytes} bytes at offset {offset}")]
    Unaligned {
        /// First byte.
        offset: u64,
        /// Length.
        bytes: u64,
    },
    /// Too many blocks.
    #[error("a grid of {0} x {1} x {2} blocks exceeds what the GPU can launch")]
    Grid(u32, u32, u32),
    /// A buffer or kernel of another device.
    #[error("a buffer or kernel belongs to another GPU")]
    WrongDevice,
    /// wgpu refused a call that was checked here: a bug of this crate or of a driver.
    #[error("internal GPU error: {0}")]
    Internal(String),
}
