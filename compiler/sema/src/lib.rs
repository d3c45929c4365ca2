//! Syntax tree to tile IR and program IR: names, shapes, dtypes, constants.
//!
//! ```text
//! Library::load   sources -> modules with their scopes         `use` resolved, no input or output of its own
//! check           Library -> every diagnostic of every item    no model needed: generic kernels are tried with sample bindings
//! interface       a kernel -> what a launcher must know        parameters, dimensions to specialise, tune candidates
//! instantiate     a kernel + constants -> tile::Kernel         one specialised instance
//! format          a format -> tile::Format                     group layout and decode body
//! program         a program -> program::Program                the host's view
//! ```
//!
//! Law: no source makes it panic, loop without end or recurse without limit; each reports as many independent errors as it can, every one
//! with a stable code, a place and what to do; what is returned as `Ok` is well-formed IR.
//!
//! # Choices that the reference leaves open
//! * A constant expression is computed exactly: integers in 64 bits with overflow an error, floats in f64. It becomes an f32 by one rounding
//!   of that f64; a literal that stands alone is rounded from its text. A constant of a definite type (a dimension, `3 as u4`) keeps the arithmetic of
//!   that type, and what would wrap is left to run time.
//! * In a `format` an i32 meets a float without `as` where its range shows that f32 holds it exactly (`d * (q[i] - 8)`).
//! * `dot(a, b) + c` with equal shapes is one operation that adds onto `c`.
//! * `pipeline(n)` changes no value: tile IR carries it as an attribute of its loop, unless a `break` makes the loop another one.
//! * Sample bindings of [`check`]: dimensions used as tile extents are 64 (or the first of a short list that satisfies the kernel's
//!   `assume`s), formats are f32 and one of each declared group size, `float` is f32 and f16, `int` i32 and i8, `dtype` f32 and i32.
//!
//! Reading order: `library`, `constant`, `host`, `signature`, `interface`, `elab`, `padding`, `kernel`, `format`, `program`, `check`.
#![forbid(unsafe_code)]

mod check;
mod constant;
mod derive;
mod diags;
mod elab;
mod facts;
mod fold;
mod format;
mod host;
mod interface;
mod kernel;
mod layout;
mod library;
pub mod limits;
mod padding;
mod program;
mod signature;

pub use check::check;
pub use format::format;
pub use interface::{
    DimDecl, ElementType, GenericDecl, KernelInterface, ParamDecl, ParamKind, TuneDecl, choose_tunes,
    interface, interface_with,
};
pub use kernel::{ElementChoice, Instance, instantiate};
pub use library::{BUILTINS, Library, Loaded, METHODS, Source, Use};
pub use program::{program, program_with};
