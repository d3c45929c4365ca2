//! Runs compiled kernels on a GPU through wgpu. Nothing of the GPU is touched before [`GpuDevice::open`].
//!
//! ```text
//! GpuDevice::open(name)      choose an adapter, ask for all of its limits
//!   .compile(&verified)      lane IR -> WGSL -> pipeline; equal shaders are compiled once
//!   .buffer(bytes)           device memory; .upload and .download move bytes in pieces
//!   .commands()              records dispatches, copies and fills
//!      .dispatch(&kernel, grid, &views, &scalars)
//!      .submit()             one submission for all of them -> Submission
//!         .wait()            failed asserts and printed lines of each launch that has any
//! ```
//!
//! # Invariants
//!
//! * Each launch is checked before it is recorded: counts, ranges, alignment, the device's binding size, grid size,
//!   and that nothing a kernel writes overlaps another argument. A refusal is a typed [`GpuError`] that names the argument.
//! * Commands of one submission take effect in order, as do submissions; uploads and downloads happen when called, that is
//!   before recorded commands that are not yet submitted.
//! * A lost device or a validation error inside wgpu becomes an error of the call that notices it; nothing panics.
//! * Scalars are given in 8 bytes each: f32 bits and i32 in the low half, bool as 0 or 1, i64 whole.
//! * A grid of any shape with fewer than 2^32 blocks runs: it is folded onto the 65,535 workgroups that a device takes
//!   per axis.
//!
//! Not done here: splitting a buffer that exceeds the device's binding size ([`GpuError::BindingTooLarge`] says so), and
//! proving that a kernel's indices are in range (the WGSL implementation's own checks keep them inside the binding).
#![deny(unsafe_code)]

mod adapters;
mod buffer;
mod commands;
mod device;
mod error;
mod kernel;
mod launch;
mod probe;

pub use adapters::{Adapter, Opened, adapters};
pub use buffer::{GpuBuffer, GpuView};
pub use commands::{Commands, Launch, LogEntry, Submission};
pub use device::{GpuDevice, GpuInfo, GpuKind};
pub use error::GpuError;
pub use kernel::GpuKernel;
pub use launch::GpuLaunch;
