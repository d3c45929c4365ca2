//! The GGUF writer: version 3, the exact inverse of the reader.
//!
//! **Maps** metadata and tensors to a file that [`super::parse`] accepts and gives back equal. [`GgufPlan`] takes what stands before the tensors'
//! bytes, and [`GgufBody`] those as they come, so a model is written that is never in memory whole; [`GgufWriter`] is both for bytes that are.
//!
//! **Refuses** what the reader would refuse: duplicates, unknown formats, sizes that do not match, caps exceeded.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::io::{self, Write};

use super::limits::*;
use super::type_ids::{self, TensorType};
use super::value::{Array, Metadata, Value};
use crate::sizes::{SizeError, align_up, tensor_bytes};

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The key or tensor name exists already.
    #[error("{0:?} is there already")]
    Duplicate(String),
    /// Empty, or longer than readers accept.
    #[error("a name of {0} bytes is empty or too long")]
    NameLength(usize),
    /// A string, array or nesting beyond the reader's caps.
    #[error("the value of {0:?} exceeds a limit of the file format")]
    ValueTooLarge(String),
    /// The format has no GGUF type id.
    #[error("GGUF has no tensor type for the format {0:?}")]
    UnknownFormat(String),
    /// Not 1 to 4 dimensions.
    #[error("GGUF stores tensors of 1 to {MAX_DIMENSIONS} dimensions, this one has {0}")]
    Rank(usize),
    /// The shape has no size in this format.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The bytes given are not as many as shape and format say.
    #[error("{given} bytes given, shape and format need {needed}")]
    ByteCount {
        /// Bytes given.
        given: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// `general.alignment` is not a usable u32.
    #[error("general.alignment must be a u32, a power of two from 1 to {MAX_ALIGNMENT}")]
    Alignment,
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

struct Declared {
    name: String,
    shape: Vec<u64>,
    tensor_type: &'static TensorType,
    bytes: u64,
}

impl Declared {
    /// What the reader would accept.
    fn new(name: &str, shape: &[u64], format: &str) -> Result<Self, WriteError> {
        if name.is_empty() || name.len() as u64 > MAX_TENSOR_NAME_BYTES {
            return Err(WriteError::NameLength(name.len()));
        }
        let tensor_type =
            type_ids::by_name(format).ok_or_else(|| WriteError::UnknownFormat(format.to_owned()))?;
        if shape.is_empty() || shape.len() > MAX_DIMENSIONS as usize {
            return Err(WriteError::Rank(shape.len()));
        }
        let bytes = tensor_bytes(shape, tensor_type.block)?;
        Ok(Declared { name: name.to_owned(), shape: shape.to_vec(), tensor_type, bytes })
    }
}

/// What a file will hold: metadata, and the tensors without their bytes.
#[derive(Default)]
pub struct GgufPlan {
    metadata: Metadata,
    tensors: Vec<Declared>,
    names: HashSet<String>,
}

impl GgufPlan {
    /// A file with nothing in it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata entry.
    pub fn metadata(&mut self, key: &str, value: Value) -> Result<&mut Self, WriteError> {
        if key.is_empty() || key.len() as u64 > MAX_KEY_BYTES {
            return Err(WriteError::NameLength(key.len()));
        }
        if !within_limits(&value) {
            return Err(WriteError::ValueTooLarge(key.to_owned()));
        }
        if key == "general.alignment" {
            alignment_of(Some(&value))?;
        }
        self.metadata.insert(key.to_owned(), value).map_err(|(key, _)| WriteError::Duplicate(key))?;
        Ok(self)
    }

    /// Declares the next tensor: `shape` slowest first. Gives its bytes.
    pub fn tensor(&mut self, name: &str, shape: &[u64], format: &str) -> Result<u64, WriteError> {
        self.add(Declared::new(name, shape, format)?)
    }

    fn add(&mut self, tensor: Declared) -> Result<u64, WriteError> {
        if !self.names.insert(tensor.name.clone()) {
            return Err(WriteError::Duplicate(tensor.name));
        }
        let bytes = tensor.bytes;
        self.tensors.push(tensor);
        Ok(bytes)
    }

    /// Writes everything but the tensors' bytes, which are to follow in the order of their declaration.
    pub fn begin<'o>(&self, output: &'o mut dyn Write) -> Result<GgufBody<'o>, WriteError> {
        let alignment = alignment_of(self.metadata.get("general.alignment"))?;
        let mut header = Vec::new();
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3u32.to_le_bytes());
        header.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in self.metadata.iter() {
            put_string(&mut header, key);
            put_value(&mut header, value);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            put_string(&mut header, &tensor.name);
            header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            for dimension in tensor.shape.iter().rev() {
                header.extend_from_slice(&dimension.to_le_bytes());
            }
            header.extend_from_slice(&tensor.tensor_type.id.to_le_bytes());
            header.extend_from_slice(&offset.to_le_bytes());
            offset = offset
                .checked_add(tensor.bytes)
                .and_then(|unpadded| align_up(unpadded, alignment))
                .ok_or(SizeError::Overflow)?;
        }
        header.resize(header.len().next_multiple_of(alignment as usize), 0);
        output.write_all(&header)?;
        let left = self.tensors.iter().map(|tensor| tensor.bytes).collect();
        Ok(GgufBody { output, left, alignment: alignment as usize, written: 0 })
    }
}

/// The tensors' part of a file that is being written. Bytes come in pieces of any length, so no tensor need ever be in memory whole.
pub struct GgufBody<'o> {
    output: &'o mut dyn Write,
    /// Bytes of the tensors that are not complete, the current one's first.
    left: VecDeque<u64>,
    alignment: usize,
    /// Bytes of the current tensor that are written.
    written: u64,
}

impl GgufBody<'_> {
    /// The next bytes of the current tensor; with its last, the next becomes current. The data of each tensor is padded with zeros to the
    /// alignment.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let needed = self.left.front().copied().unwrap_or(0);
        let given = self.written + bytes.len() as u64;
        if given > needed {
            return Err(WriteError::ByteCount { given, needed });
        }
        self.output.write_all(bytes)?;
        self.written = given;
        self.pass()
    }

    /// Leaves tensors that are complete.
    fn pass(&mut self) -> Result<(), WriteError> {
        while self.left.front().is_some_and(|needed| *needed == self.written) {
            let ragged = (self.written % self.alignment as u64) as usize;
            if ragged != 0 {
                self.output.write_all(&vec![0; self.alignment - ragged])?;
            }
            self.left.pop_front();
            self.written = 0;
        }
        Ok(())
    }

    /// Ends the file. An error if bytes are missing.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.pass()?;
        if let Some(needed) = self.left.front() {
            return Err(WriteError::ByteCount { given: self.written, needed: *needed });
        }
        self.output.flush()?;
        Ok(())
    }
}

/// Collects metadata and tensors with their bytes, then writes them.
#[derive(Default)]
pub struct GgufWriter<'a> {
    plan: GgufPlan,
    contents: Vec<Cow<'a, [u8]>>,
}

impl<'a> GgufWriter<'a> {
    /// A file with nothing in it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata entry.
    pub fn metadata(&mut self, key: &str, value: Value) -> Result<&mut Self, WriteError> {
        self.plan.metadata(key, value)?;
        Ok(self)
    }

    /// Adds a tensor: `shape` slowest first, `bytes` as the format stores them.
    pub fn tensor(
        &mut self,
        name: &str,
        shape: &[u64],
        format: &str,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<&mut Self, WriteError> {
        let bytes = bytes.into();
        let tensor = Declared::new(name, shape, format)?;
        let (given, needed) = (bytes.len() as u64, tensor.bytes);
        if given != needed {
            return Err(WriteError::ByteCount { given, needed });
        }
        self.plan.add(tensor)?;
        self.contents.push(bytes);
        Ok(self)
    }

    /// Writes the file.
    pub fn write_to(&self, output: &mut dyn Write) -> Result<(), WriteError> {
        let mut body = self.plan.begin(output)?;
        for bytes in &self.contents {
            body.write(bytes)?;
        }
        body.finish()
    }

    /// The file as bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }
}

fn alignment_of(value: Option<&Value>) -> Result<u64, WriteError> {
    match value {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(a)) if a.is_power_of_two() && u64::from(a) <= MAX_ALIGNMENT => Ok(a.into()),
        Some(_) => Err(WriteError::Alignment),
    }
}

fn within_limits(value: &Value) -> bool {
    match value {
        Value::String(string) => string.len() as u64 <= MAX_STRING_BYTES,
        Value::Array(array) => array_within_limits(array, 1, &mut 0),
        _ => true,
    }
}

fn array_within_limits(array: &Array, depth: u32, inner_arrays: &mut u64) -> bool {
    match array {
        Array::String(strings) => strings.iter().all(|string| string.len() as u64 <= MAX_STRING_BYTES),
        Array::Array(arrays) => {
            *inner_arrays += arrays.len() as u64;
            depth < MAX_ARRAY_DEPTH
                && *inner_arrays <= MAX_INNER_ARRAYS
                && arrays.iter().all(|element| array_within_limits(element, depth + 1, inner_arrays))
        }
        _ => true,
    }
}

fn put_string(out: &mut Vec<u8>, string: &str) {
    out.extend_from_slice(&(string.len() as u64).to_le_bytes());
    out.extend_from_slice(string.as_bytes());
}

/// A type id and the little-endian bytes of a number.
macro_rules! put_number {
    ($out:expr, $id:expr, $number:expr) => {{
        $out.extend_from_slice(&u32::to_le_bytes($id));
        $out.extend_from_slice(&$number.to_le_bytes());
    }};
}

/// An element type id, a count, and the elements' little-endian bytes.
macro_rules! put_numbers {
    ($out:expr, $id:expr, $numbers:expr) => {{
        put_number!($out, $id, ($numbers.len() as u64));
        $numbers.iter().for_each(|number| $out.extend_from_slice(&number.to_le_bytes()));
    }};
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(number) => put_number!(out, 0, number),
        Value::I8(number) => put_number!(out, 1, number),
        Value::U16(number) => put_number!(out, 2, number),
        Value::I16(number) => put_number!(out, 3, number),
        Value::U32(number) => put_number!(out, 4, number),
        Value::I32(number) => put_number!(out, 5, number),
        Value::F32(number) => put_number!(out, 6, number),
        Value::Bool(truth) => put_number!(out, 7, u8::from(*truth)),
        Value::String(string) => {
            out.extend_from_slice(&8u32.to_le_bytes());
            put_string(out, string);
        }
        Value::Array(array) => {
            out.extend_from_slice(&9u32.to_le_bytes());
            put_array(out, array);
        }
        Value::U64(number) => put_number!(out, 10, number),
        Value::I64(number) => put_number!(out, 11, number),
        Value::F64(number) => put_number!(out, 12, number),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    match array {
        Array::U8(numbers) => put_numbers!(out, 0, numbers),
        Array::I8(numbers) => put_numbers!(out, 1, numbers),
        Array::U16(numbers) => put_numbers!(out, 2, numbers),
        Array::I16(numbers) => put_numbers!(out, 3, numbers),
        Array::U32(numbers) => put_numbers!(out, 4, numbers),
        Array::I32(numbers) => put_numbers!(out, 5, numbers),
        Array::F32(numbers) => put_numbers!(out, 6, numbers),
        Array::Bool(truths) => {
            put_number!(out, 7, (truths.len() as u64));
            out.extend(truths.iter().map(|truth| u8::from(*truth)));
        }
        Array::String(strings) => {
            put_number!(out, 8, (strings.len() as u64));
            strings.iter().for_each(|string| put_string(out, string));
        }
        Array::Array(arrays) => {
            put_number!(out, 9, (arrays.len() as u64));
            arrays.iter().for_each(|element| put_array(out, element));
        }
        Array::U64(numbers) => put_numbers!(out, 10, numbers),
        Array::I64(numbers) => put_numbers!(out, 11, numbers),
        Array::F64(numbers) => put_numbers!(out, 12, numbers),
    }
}
