//! safetensors, behind the same view as GGUF.
//!
//! **Maps** the JSON header's entries to [`TensorInfo`] in the order of their data. The `safetensors` crate reads and
//! validates the header; a pass of our own comes first, because the crate keeps the last of two equal names and adds
//! untrusted offsets without a check.
//!
//! **Invariants after a successful read.** Names are unique; shapes have at most [`MAX_RANK`] dimensions, none zero;
//! the tensors fill the data area exactly, without overlap or gap; dtypes are ones the language has.
//!
//! **Refuses** dtypes without a counterpart in the language (complex, the `fnuz` floats, packed 4- and 6-bit floats,
//! whose bit order the file format leaves open).

use std::collections::HashSet;
use std::fmt;

use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;
use serde::de::{self, Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::mapped::FileBytes;
use crate::quote::{self, clipped};
use crate::sizes::{Block, SizeError, tensor_bytes};
use crate::view::TensorInfo;

/// The most dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// The most tensors.
pub const MAX_TENSORS: usize = 1_000_000;
/// The largest JSON header: the cap of the format's own reader.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes of the length that precedes the header.
const LENGTH_BYTES: usize = 8;

/// What is wrong with a safetensors file.
#[derive(Debug, thiserror::Error)]
pub enum SafeTensorsProblem {
    /// The header's length is above the cap or beyond the file.
    #[error(
        "byte 0, header length: {announced} bytes announced, {left} left in the file, {MAX_HEADER_BYTES} allowed"
    )]
    HeaderLength {
        /// The length in the file.
        announced: u64,
        /// Bytes after it.
        left: u64,
    },
    /// The header is no JSON object of tensor records.
    #[error("byte 8, header: {}", clipped(.0))]
    Header(#[from] serde_json::Error),
    /// The crate's own validation failed.
    #[error("byte 8, header: {}", clipped(.0))]
    Invalid(#[from] SafeTensorError),
    /// A tensor's data lie outside the file.
    #[error("tensor {}, data_offsets: {start}..{end} in a data area of {left} bytes", quote::name(name))]
    OutOfFile {
        /// The tensor.
        name: String,
        /// Begin in the data area.
        start: u64,
        /// End in the data area.
        end: u64,
        /// Bytes of the data area.
        left: u64,
    },
    /// Too many dimensions.
    #[error("tensor {}, shape: {rank} dimensions exceed the limit of {MAX_RANK}", quote::name(name))]
    Rank {
        /// The tensor.
        name: String,
        /// Its dimensions.
        rank: usize,
    },
    /// The shape has no size.
    #[error("tensor {}, shape: {source}", quote::name(name))]
    Size {
        /// The tensor.
        name: String,
        /// Why.
        source: SizeError,
    },
    /// A dtype the language does not have.
    #[error("tensor {}, dtype: {dtype} is not supported", quote::name(name))]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// The dtype in the file.
        dtype: String,
    },
    /// Shape and dtype do not give the number of bytes that the offsets span.
    #[error("tensor {}, data_offsets: {given} bytes, shape and dtype need {needed}", quote::name(name))]
    ByteCount {
        /// The tensor.
        name: String,
        /// Bytes between the offsets.
        given: u64,
        /// Bytes of the shape.
        needed: u64,
    },
}

/// A safetensors file that has been read and found sound.
#[derive(Debug)]
pub struct SafeTensorsFile {
    /// Tensors in the order of their data; offsets are absolute.
    pub tensors: Vec<TensorInfo>,
    bytes: FileBytes,
}

/// Whether the file begins like a safetensors file: a length, then a JSON object.
pub fn looks_like_safetensors(file: &[u8]) -> bool {
    file.get(LENGTH_BYTES) == Some(&b'{') && file[..LENGTH_BYTES].ends_with(&[0, 0])
}

impl SafeTensorsFile {
    /// Reads and checks the header of `bytes`; tensor data is not touched.
    pub fn new(bytes: FileBytes) -> Result<Self, SafeTensorsProblem> {
        let tensors = read_header(&bytes)?;
        Ok(SafeTensorsFile { tensors, bytes })
    }

    /// The whole file.
    pub fn file_bytes(&self) -> &FileBytes {
        &self.bytes
    }
}

fn read_header(file: &[u8]) -> Result<Vec<TensorInfo>, SafeTensorsProblem> {
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(SafeTensorsProblem::HeaderLength { announced: 0, left: 0 });
    };
    let (announced, left) = (u64::from_le_bytes(*length), rest.len() as u64);
    if announced > left || announced > MAX_HEADER_BYTES {
        return Err(SafeTensorsProblem::HeaderLength { announced, left });
    }
    let (header, data) = rest.split_at(announced as usize);
    let mut deserializer = serde_json::Deserializer::from_slice(header);
    let records = deserializer.deserialize_map(HeaderVisitor)?;
    deserializer.end()?;
    let left = data.len() as u64;
    for Record { name, entry } in &records {
        let [start, end] = entry.data_offsets;
        if start > end || end > left {
            return Err(SafeTensorsProblem::OutOfFile { name: name.clone(), start, end, left });
        }
    }

    let (_, metadata) = SafeTensors::read_metadata(file)?;
    let data_start = LENGTH_BYTES as u64 + announced;
    metadata
        .offset_keys()
        .into_iter()
        .filter_map(|name| metadata.info(&name).map(|info| (name, info)))
        .map(|(name, info)| {
            let shape: Vec<u64> = info.shape.iter().map(|&dimension| dimension as u64).collect();
            if shape.len() > MAX_RANK {
                return Err(SafeTensorsProblem::Rank { name, rank: shape.len() });
            }
            let Some((format, width)) = dtype_name(info.dtype) else {
                return Err(SafeTensorsProblem::UnsupportedDtype { name, dtype: info.dtype.to_string() });
            };
            let block = Block { elements: 1, bytes: width };
            let needed = match tensor_bytes(&shape, block) {
                Ok(needed) => needed,
                Err(source) => return Err(SafeTensorsProblem::Size { name, source }),
            };
            let given = (info.data_offsets.1 - info.data_offsets.0) as u64;
            if given != needed {
                return Err(SafeTensorsProblem::ByteCount { name, given, needed });
            }
            let offset = data_start + info.data_offsets.0 as u64;
            Ok(TensorInfo { name, shape, format: format.into(), offset, bytes: needed })
        })
        .collect()
}

/// The language's name of a dtype, and its bytes.
fn dtype_name(dtype: Dtype) -> Option<(&'static str, u32)> {
    Some(match dtype {
        Dtype::BOOL => ("bool", 1),
        Dtype::U8 => ("u8", 1),
        Dtype::I8 => ("i8", 1),
        Dtype::F8_E5M2 => ("e5m2", 1),
        Dtype::F8_E4M3 => ("e4m3", 1),
        Dtype::F8_E8M0 => ("e8m0", 1),
        Dtype::I16 => ("i16", 2),
        Dtype::U16 => ("u16", 2),
        Dtype::F16 => ("f16", 2),
        Dtype::BF16 => ("bf16", 2),
        Dtype::I32 => ("i32", 4),
        Dtype::U32 => ("u32", 4),
        Dtype::F32 => ("f32", 4),
        Dtype::F64 => ("f64", 8),
        Dtype::I64 => ("i64", 8),
        Dtype::U64 => ("u64", 8),
        // The crate's enum may grow, hence the wildcard: a dtype we cannot name is refused, never guessed.
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "dtype")]
    _dtype: IgnoredAny,
    #[serde(rename = "shape")]
    _shape: IgnoredAny,
    data_offsets: [u64; 2],
}

struct Record {
    name: String,
    entry: Entry,
}

/// Collects the header's entries and refuses a name that occurs twice.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Vec<Record>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of tensor records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Record>, A::Error> {
        let mut records = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("the name {name:?} occurs twice")));
            }
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if records.len() == MAX_TENSORS {
                return Err(de::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
            }
            let entry = map.next_value()?;
            records.push(Record { name, entry });
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend((0..data).map(|i| i as u8));
        bytes
    }

    fn read(header: &str, data: usize) -> Result<SafeTensorsFile, SafeTensorsProblem> {
        SafeTensorsFile::new(FileBytes::from_slice(&file(header, data)).unwrap())
    }

    #[test]
    fn reads_in_data_order() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},
            "a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
        let read = read(header, 28).unwrap();
        let names: Vec<_> =
            read.tensors.iter().map(|t| (t.name.as_str(), &*t.format, &t.shape[..])).collect();
        assert_eq!(names, [("a", "bf16", &[2][..]), ("b", "f32", &[2, 3][..])]);
        assert_eq!(read.tensors[1].slice(read.file_bytes())[0], 4);
        assert_eq!(read.tensors[1].elements(), 6);
    }

    #[test]
    fn refuses_each_kind_of_malformed_header() {
        let cases: &[(&str, &str, usize)] = &[
            (
                "overlap",
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
                6,
            ),
            (
                "alias",
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
                4,
            ),
            (
                "gap",
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}"#,
                10,
            ),
            ("beyond the file", r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 3),
            ("trailing data", r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 5),
            (
                "twice",
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
                4,
            ),
            ("unknown dtype", r#"{"a":{"dtype":"Q9","shape":[4],"data_offsets":[0,4]}}"#, 4),
            ("unsupported dtype", r#"{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#, 8),
            ("wrong size", r#"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,4]}}"#, 4),
            ("zero-sized", r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, 0),
            ("rank", r#"{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}"#, 1),
            ("overflow", r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
            ("negative", r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[-1,3]}}"#, 4),
            ("reversed", r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#, 4),
            (
                "offset sums that wrap",
                r#"{"a":{"dtype":"U8","shape":[2305843009213693951],"data_offsets":[0,2305843009213693951]},"b":{"dtype":"U8","shape":[2305843009213693951],"data_offsets":[2305843009213693951,18446744073709551615]}}"#,
                4,
            ),
            ("extra field", r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1}}"#, 4),
            ("text after", r#"{} {}"#, 0),
            ("not an object", r#"[1]"#, 0),
        ];
        for (what, header, data) in cases {
            assert!(read(header, *data).is_err(), "{what}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(read(&deep, 0).is_err());
        let good = file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4);
        assert!(read_header(&good).is_ok());
        for cut in 0..good.len() {
            assert!(read_header(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = good.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read_header(&huge).is_err());
    }
    /// Names of any length, and what the JSON library repeats of a file, were shown whole.
    #[test]
    fn messages_do_not_grow_with_the_file() {
        let long = "A\\u001b".repeat(20_000);
        for header in [
            format!(r#"{{"{long}":{{"dtype":"U8","shape":[4],"data_offsets":[0,9]}}}}"#),
            format!(r#"{{"{long}":{{"dtype":"U8","shape":[5],"data_offsets":[0,4]}}}}"#),
            format!(r#"{{"a":{{"dtype":"{long}","shape":[4],"data_offsets":[0,4]}}}}"#),
            format!(r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"{long}":1}}"#),
        ] {
            let message = read(&header, 4).expect_err("refused").to_string();
            assert!(message.len() < 2000 && !message.contains('\u{1b}'), "{message}");
        }
    }
}
