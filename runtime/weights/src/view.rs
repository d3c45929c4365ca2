//! One view of a weight file, whatever its format.
//!
//! **Maps** a path to named tensors. The kind is told by the first bytes, not by the file's name; a folder is a checkpoint.
//!
//! **Invariant.** Every [`TensorInfo`] of a [`Weights`] lies inside its file, and names are unique.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::gguf::{Gguf, GgufError, Metadata};
use crate::mapped::{Access, FileBytes};
use crate::safetensors::{SafeTensorsFile, SafeTensorsProblem};

/// One tensor of a weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions, slowest first.
    pub shape: Vec<u64>,
    /// The name of its number format or dtype.
    pub format: Cow<'static, str>,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl TensorInfo {
    /// How many elements it has.
    pub fn elements(&self) -> u64 {
        // The readers checked that the product fits.
        self.shape.iter().product()
    }

    /// Where its bytes are in the file. Readers accept a tensor only after checking that offset + bytes <= file.len().
    pub(crate) fn range(&self) -> Range<usize> {
        self.offset as usize..(self.offset + self.bytes) as usize
    }

    pub(crate) fn slice<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        &file[self.range()]
    }
}

/// The format of a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// GGUF, with metadata.
    Gguf,
    /// safetensors.
    SafeTensors,
    /// A folder of safetensors with descriptions beside them.
    Checkpoint,
}

/// Why a weight file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is GGUF, but malformed.
    #[error("{path} is not a sound GGUF file: {source}", path = path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: GgufError,
    },
    /// The file is safetensors, but malformed.
    #[error("{path} is not a sound safetensors file: {source}", path = path.display())]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SafeTensorsProblem,
    },
    /// The folder is no sound checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The first bytes fit no known format.
    #[error("{path} is neither GGUF nor safetensors (it starts with {start:02x?})", path = path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        start: Vec<u8>,
    },
}

#[derive(Debug)]
enum Content {
    Gguf(Gguf),
    SafeTensors(SafeTensorsFile),
    Checkpoint(Checkpoint),
}

/// An open weight file, or a folder of them.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    content: Content,
    by_name: HashMap<String, usize>,
}

impl Weights {
    /// Opens a weight file or a checkpoint's folder and checks everything but the tensors' content.
    pub fn open(path: &Path, access: Access) -> Result<Self, WeightsError> {
        if path.is_dir() {
            return Ok(Self::with(path.to_owned(), Content::Checkpoint(Checkpoint::open(path, access)?)));
        }
        let bytes = FileBytes::open(path, access)
            .map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
        Self::from_bytes(path, bytes)
    }

    /// As [`Weights::open`], from bytes already there; `path` serves for messages.
    pub fn from_bytes(path: &Path, bytes: FileBytes) -> Result<Self, WeightsError> {
        let path = path.to_owned();
        let content = if bytes.starts_with(b"GGUF") {
            match Gguf::new(bytes) {
                Ok(gguf) => Content::Gguf(gguf),
                Err(source) => return Err(WeightsError::Gguf { path, source }),
            }
        } else if crate::safetensors::looks_like_safetensors(&bytes) {
            match SafeTensorsFile::new(bytes) {
                Ok(file) => Content::SafeTensors(file),
                Err(source) => return Err(WeightsError::SafeTensors { path, source }),
            }
        } else {
            let start = bytes[..bytes.len().min(8)].to_vec();
            return Err(WeightsError::UnknownKind { path, start });
        };
        Ok(Self::with(path, content))
    }

    fn with(path: PathBuf, content: Content) -> Self {
        let mut weights = Weights { path, content, by_name: HashMap::new() };
        weights.by_name =
            weights.tensors().iter().enumerate().map(|(index, info)| (info.name.clone(), index)).collect();
        weights
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format of the file.
    pub fn kind(&self) -> FileKind {
        match self.content {
            Content::Gguf(_) => FileKind::Gguf,
            Content::SafeTensors(_) => FileKind::SafeTensors,
            Content::Checkpoint(_) => FileKind::Checkpoint,
        }
    }

    /// The whole GGUF file, if it is one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.content {
            Content::Gguf(gguf) => Some(gguf),
            Content::SafeTensors(_) | Content::Checkpoint(_) => None,
        }
    }

    /// The GGUF metadata, or what a checkpoint's would be; safetensors files alone have none of use.
    pub fn metadata(&self) -> Option<&Metadata> {
        match &self.content {
            Content::Gguf(gguf) => Some(&gguf.metadata),
            Content::SafeTensors(_) => None,
            Content::Checkpoint(checkpoint) => Some(&checkpoint.metadata),
        }
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        match &self.content {
            Content::Gguf(gguf) => &gguf.tensors,
            Content::SafeTensors(file) => &file.tensors,
            Content::Checkpoint(checkpoint) => &checkpoint.tensors,
        }
    }

    /// The place of the tensor of a name among [`Self::tensors`].
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The tensor of a name.
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&index| &self.tensors()[index])
    }

    /// The stored bytes of tensor `index`. Panics if there is no such tensor.
    pub fn tensor_bytes(&self, index: usize) -> &[u8] {
        let tensor = &self.tensors()[index];
        match &self.content {
            Content::Gguf(gguf) => tensor.slice(gguf.file_bytes()),
            Content::SafeTensors(file) => tensor.slice(file.file_bytes()),
            Content::Checkpoint(checkpoint) => checkpoint.tensor_bytes(index),
        }
    }

    /// The stored bytes of a tensor of this file. Panics if it is of another.
    pub fn bytes_of(&self, tensor: &TensorInfo) -> &[u8] {
        self.tensor_bytes(self.by_name[&tensor.name])
    }

    /// Says that tensor `index` will not be read soon, see [`crate::FileBytes::release`]. Panics if there is no such tensor.
    pub fn release(&self, index: usize) {
        let tensor = &self.tensors()[index];
        match &self.content {
            Content::Gguf(gguf) => gguf.file_bytes().release(tensor.range()),
            Content::SafeTensors(file) => file.file_bytes().release(tensor.range()),
            Content::Checkpoint(checkpoint) => checkpoint.release(index),
        }
    }
}
