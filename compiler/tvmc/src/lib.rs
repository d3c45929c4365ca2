//! The command, the engine behind it, and the Rust API over both: the only crate that imports everything.
//!
//! Host programs use [`api`]: kernels on slices, models token by token. The rest serves the command:
//! `main` parses the command line (`cli`) and calls one function of `commands`; those use the `engine` (sources to kernels on a
//! machine) and the runtime.

pub mod api;
pub mod cli;
pub mod commands;
pub mod engine;
pub mod files;
pub mod host;
pub mod internal;
pub mod output;
pub mod probe;
