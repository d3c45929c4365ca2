//! The command and the engine behind it: the only crate that imports everything.
//!
//! `main` parses the command line (`cli`) and calls one function of `commands`; those use the `engine` (sources to kernels on a
//! machine) and the runtime.

pub mod cli;
pub mod commands;
pub mod engine;
pub mod files;
pub mod host;
pub mod output;
pub mod probe;
