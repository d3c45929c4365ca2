//! The three intermediate representations, each plain data with a printer, a parser and a verifier.
//!
//! | IR | level | made by | read by |
//! |---|---|---|---|
//! | [`tile`] | one thread block over tiles | sema | tile interpreter, passes |
//! | [`lane`] | one virtual lane machine, 32-bit registers | passes | lane interpreter, all backends |
//! | [`program`] | the host's view: buffers, views, launches, loops | sema | the program executor |
//!
//! [`module`] is the file that holds them: what `tvmc build` writes.
//!
//! Reading order: [`entity`] (typed indices), then `lane::types`, `lane::op`, `lane::function`.
#![forbid(unsafe_code)]

pub mod entity;
pub mod host;
pub mod lane;
pub mod module;
pub mod program;
mod rules;
pub mod text;
pub mod tile;

pub use text::ParseError;
