//! GGUF, versions 2 and 3: reader and writer of our own.
//!
//! **Maps** a file to [`Gguf`]: metadata in file order, tensors in file order, and each tensor's bytes.
//!
//! ```text
//! "GGUF" | version u32 | tensor count u64 | metadata count u64
//! metadata: key string, value type u32, value          string: length u64, UTF-8
//! tensors:  name string, rank u32, dimensions u64[rank] fastest first, type u32, offset u64
//! padding to the alignment | tensor data, each tensor padded to the alignment
//! ```
//!
//! **Invariants after a successful read.** Keys and names are unique and not empty; strings are UTF-8; every tensor
//! has 1 to 4 dimensions, none zero, and a known type; its size is exact in whole blocks per row; the tensors follow
//! one another in file order with alignment padding only, and lie inside the file. Shapes are given slowest first,
//! the reverse of the file's order.
//!
//! **Refuses** everything else with a [`GgufError`] that says byte and field. The caps are in [`limits`].

pub mod declared;
mod error;
pub mod limits;
mod reader;
pub mod type_ids;
mod value;
mod writer;

pub use error::{GgufError, GgufErrorKind};
pub use reader::{Header, parse};
pub use value::{Array, Metadata, StringArray, Value};
pub use writer::{GgufBody, GgufPlan, GgufWriter, WriteError};

use crate::mapped::FileBytes;
use crate::view::TensorInfo;

/// A GGUF file that has been read and found sound.
#[derive(Debug)]
pub struct Gguf {
    /// File format version, 2 or 3.
    pub version: u32,
    /// Alignment of the data area and of each tensor in it.
    pub alignment: u64,
    /// Keys and values, in file order.
    pub metadata: Metadata,
    /// Tensors, in file order; offsets are absolute.
    pub tensors: Vec<TensorInfo>,
    bytes: FileBytes,
}

impl Gguf {
    /// Reads and checks the header of `bytes`; tensor data is not touched.
    pub fn new(bytes: FileBytes) -> Result<Self, GgufError> {
        let Header { version, alignment, metadata, mut tensors } = parse(&bytes)?;
        declared::apply(&metadata, &mut tensors).map_err(|(key, kind)| GgufError {
            offset: 0,
            field: format!("metadata {key:?}"),
            kind,
        })?;
        Ok(Gguf { version, alignment, metadata, tensors, bytes })
    }

    /// The declarations of the formats that tensors of this file have beside those of GGUF.
    pub fn declarations(&self) -> Option<&str> {
        self.metadata.get(declared::DECLARATIONS)?.as_str()
    }

    /// The stored bytes of tensor `index`. Panics if there is no such tensor.
    pub fn tensor_bytes(&self, index: usize) -> &[u8] {
        self.tensors[index].slice(&self.bytes)
    }

    /// The whole file.
    pub fn file_bytes(&self) -> &FileBytes {
        &self.bytes
    }
}
