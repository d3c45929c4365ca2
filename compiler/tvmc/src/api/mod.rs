//! The Rust API: kernels and models for host programs. Nothing is global, nothing is printed, errors are enums.
//!
//! A kernel from source, on slices:
//!
//! ```
//! use tvmc::api::{Argument, Kernel, Machine};
//!
//! let source = "
//! kernel add(x: f32[N], y: f32[N], z: out f32[N])
//!   grid ceil(N, 64)
//! {
//!   let n = block[0] * 64;
//!   z[n +: 64] = x[n +: 64] + y[n +: 64];
//! }";
//! let mut add = Kernel::compile(source, "add", &Machine::default())?;
//! let (x, y, mut z) = (vec![1.0f32; 100], vec![2.0f32; 100], vec![0.0f32; 100]);
//! add.launch(&mut [
//!     Argument::read("x", &x, &[100]),
//!     Argument::read("y", &y, &[100]),
//!     Argument::write("z", &mut z, &[100]),
//! ])?;
//! assert!(z.iter().all(|z| *z == 3.0));
//! # Ok::<(), tvmc::api::Error>(())
//! ```
//!
//! A model, token by token:
//!
//! ```no_run
//! use tvmc::api::{Generate, Model, ModelSettings};
//!
//! let mut model = Model::load("smollm2", &ModelSettings::default())?;
//! for token in model.generate("The capital of France is", &Generate { tokens: 8, ..Generate::default() })? {
//!     print!("{}", token?.text);
//! }
//! # Ok::<(), tvmc::api::Error>(())
//! ```
//!
//! The commands run the same engine; there is no second path. `kernel` and `model` are the two halves.

mod error;
mod kernel;
mod machine;
mod model;

pub use error::Error;
pub use kernel::{Argument, Element, Kernel};
pub use machine::{Machine, Target};
pub use model::{ActivationStorage, Answer, Generate, Message, Model, ModelSettings};
pub use tvmc_model::generation::Token;
pub use tvmc_model::language_model::Ending;
pub use tvmc_model::sampler::Settings as Sampling;
