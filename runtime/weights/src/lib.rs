//! Weight files: what a model is made of, read so that a hostile file can do no harm.
//!
//! **Maps** a file (GGUF, safetensors, `.npy`) or a folder that describes itself ([`checkpoint`]) to named tensors: `(name, shape, format, bytes)`. Nothing here decodes
//! a weight: bytes stay as stored, and what they mean is said by a `format` declaration in the language.
//!
//! **Invariants.** Every length is compared with the bytes that remain before anything is allocated; every size goes
//! through [`sizes::tensor_bytes`]; every cap is a named constant; an error names the byte offset and the field. So a
//! malformed file costs a bounded time and memory and ends in an `Err`, never in a panic.
//! All `unsafe` of the crate is the one call in [`mapped`].
//!
//! ```no_run
//! use tvmc_weights::{Access, Weights};
//! let weights = Weights::open("model.gguf".as_ref(), Access::Map)?;
//! let embedding = weights.find("token_embd.weight").expect("this model has an embedding");
//! println!("{:?} {}", embedding.shape, embedding.format);
//! let bytes: &[u8] = weights.bytes_of(embedding);
//! # Ok::<(), tvmc_weights::WeightsError>(())
//! ```
//!
//! **Refuses** unknown versions, element types and formats (never skipped), duplicate names, overlaps and gaps,
//! zero-sized tensors, rows that are not whole blocks, big-endian files.

#![deny(unsafe_code)]

pub mod checkpoint;
pub mod fetch;
pub mod gguf;
pub mod mapped;
pub mod npy;
mod quote;
pub mod safetensors;
pub mod sizes;
mod view;

pub use mapped::{Access, FileBytes};
pub use view::{FileKind, TensorInfo, Weights, WeightsError};
