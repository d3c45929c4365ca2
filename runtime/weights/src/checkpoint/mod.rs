//! A checkpoint: the folder in which a model is published with its description, as Hugging Face's libraries write it.
//!
//! **Maps** such a folder to what a GGUF file of the same model has: the same metadata keys, tensor names and numbers. So nothing above knows which of the two it was.
//!
//! | in the folder | becomes |
//! |---|---|
//! | `config.json` | `llama.*` and the like (`config`) |
//! | `model.safetensors`, or the shards that `model.safetensors.index.json` lists | tensors |
//! | `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`, `generation_config.json`, where there | `tokenizer.*` (`tokenizer`) |
//!
//! ```text
//! model.layers.3.mlp.down_proj.weight     bf16 [576, 1536]    blk.3.ffn_down.weight   the same bytes
//! model.layers.3.self_attn.q_proj.weight  bf16 [576, 576]     blk.3.attn_q.weight     rows of each head in another order
//! model.layers.3.input_layernorm.weight   bf16 [576]          blk.3.attn_norm.weight  as f32
//! ```
//!
//! **Order of rows.** Rotary positions turn pairs of elements. A folder pairs element j of a head with j + E / 2, GGUF 2 j with 2 j + 1: rows of queries and keys are copied into that order
//! when they are first read. Vectors become f32, which every f16 and bf16 is.
//!
//! **An architecture that is not known** (`config::NAMES`) keeps its tensors' own names: it can be looked at, and no program fits it.
//!
//! **Refuses** folders without `config.json` or weights, shards that are not as the index says, settings that would change what a model computes and that no
//! program here knows (biases, scaled rotary positions, quantised weights), tensors without a place in a known architecture, and files above the caps.

mod config;
pub mod tokenizer;

use crate::gguf::{Metadata, Value};
use crate::mapped::{Access, FileBytes};
use crate::quote;
use crate::safetensors::{SafeTensorsFile, SafeTensorsProblem};
use crate::view::TensorInfo;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The largest JSON file that is read. Vocabularies of 262,144 tokens have 34 MB.
pub const MAX_JSON_BYTES: u64 = 128 << 20;
/// The most shards.
pub const MAX_SHARDS: usize = 4096;

/// Why a folder is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file that must be there is not.
    #[error("{folder} has no {what}", folder = folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What is missing, and what to do.
        what: String,
    },
    /// A file is too long.
    #[error("{path} has more than {MAX_JSON_BYTES} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file is no JSON.
    #[error("{path}: {}", quote::clipped(source), path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A field says what cannot be.
    #[error("{path}, {field}: {why}", path = path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// A shard is malformed.
    #[error("{path} is not a sound safetensors file: {source}", path = path.display())]
    Shard {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SafeTensorsProblem,
    },
    /// A tensor that does not belong there.
    #[error("{path}, tensor {}: {why}", quote::name(name), path = path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// A JSON file of the folder, and how to complain about it.
pub(crate) struct Json {
    path: PathBuf,
    value: serde_json::Value,
}

impl Json {
    /// Reads a file; `None` where there is none.
    fn open(path: PathBuf) -> Result<Option<Json>, CheckpointError> {
        let Some(bytes) = contents(&path)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(Json { path, value })),
            Err(source) => Err(CheckpointError::Json { path, source }),
        }
    }

    fn get(&self, field: &str) -> &serde_json::Value {
        self.value.get(field).unwrap_or(&serde_json::Value::Null)
    }

    fn wrong(&self, field: &str, why: impl Into<String>) -> CheckpointError {
        let (path, field) = (self.path.clone(), quote::clipped(field));
        CheckpointError::Field { path, field, why: quote::clipped(why.into()) }
    }
}

/// A file's bytes, if it is there.
fn contents(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_JSON_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_JSON_BYTES {
        return Err(CheckpointError::TooLong { path: path.to_owned() });
    }
    Ok(Some(bytes))
}

/// What becomes of a tensor's bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing.
    AsStored,
    /// The rows of each of so many heads, halves interleaved.
    Interleaved {
        /// Heads.
        heads: u64,
    },
    /// f16 or bf16 as f32.
    Widened,
}

#[derive(Debug)]
struct Place {
    shard: usize,
    stored: TensorInfo,
    change: Change,
    changed: OnceLock<Vec<u8>>,
}

/// A folder that has been read and found sound.
#[derive(Debug)]
pub struct Checkpoint {
    /// Tensors, shard after shard, with offsets in their shards.
    pub tensors: Vec<TensorInfo>,
    /// What a GGUF file would say of the model.
    pub metadata: Metadata,
    shards: Vec<SafeTensorsFile>,
    places: Vec<Place>,
}

/// Whether a path is a folder that describes itself.
pub fn is_checkpoint(path: &Path) -> bool {
    path.join("config.json").is_file()
}

impl Checkpoint {
    /// Reads the descriptions and the headers of the weights; tensor data is not touched.
    pub fn open(folder: &Path, access: Access) -> Result<Self, CheckpointError> {
        let missing =
            |what: &str| CheckpointError::Missing { folder: folder.to_owned(), what: what.to_owned() };
        let config = Json::open(folder.join("config.json"))?.ok_or_else(|| {
            missing(
                "config.json, which says what the weights are: give the folder that a model was published as",
            )
        })?;
        let description = config::describe(&config)?;
        let (mut shards, mut places, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = HashSet::new();
        for path in shard_paths(folder)? {
            let bytes = FileBytes::open(&path, access)
                .map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
            let shard = SafeTensorsFile::new(bytes)
                .map_err(|source| CheckpointError::Shard { path: path.clone(), source })?;
            for stored in &shard.tensors {
                let wrong = |why: String| {
                    let (path, name) = (path.clone(), stored.name.clone());
                    CheckpointError::Tensor { path, name, why }
                };
                let Some((name, change)) = description.place(stored).map_err(wrong)? else { continue };
                if !names.insert(name.clone()) {
                    return Err(wrong(format!("there are two for `{name}`")));
                }
                let mut info = TensorInfo { name, ..stored.clone() };
                if change == Change::Widened {
                    (info.format, info.bytes) = ("f32".into(), stored.bytes * 2);
                }
                tensors.push(info);
                places.push(Place {
                    shard: shards.len(),
                    stored: stored.clone(),
                    change,
                    changed: OnceLock::new(),
                });
            }
            shards.push(shard);
        }
        let rows = tensors.iter().find(|tensor| tensor.name == "token_embd.weight").map(|t| t.shape[0]);
        let mut entries = description.metadata;
        entries.extend(tokenizer::read(folder, &config, rows.unwrap_or(0))?);
        let mut metadata = Metadata::default();
        for (key, value) in entries {
            // Each key is made once.
            let _ = metadata.insert(key, value);
        }
        Ok(Checkpoint { tensors, metadata, shards, places })
    }

    /// The bytes of a tensor, as GGUF has them. Panics if there is no such tensor.
    pub fn tensor_bytes(&self, index: usize) -> &[u8] {
        let place = &self.places[index];
        let stored = place.stored.slice(self.shards[place.shard].file_bytes());
        match place.change {
            Change::AsStored => stored,
            Change::Interleaved { heads } => {
                place.changed.get_or_init(|| interleaved(stored, place.stored.shape[0], heads))
            }
            Change::Widened => place.changed.get_or_init(|| widened(stored, &place.stored.format)),
        }
    }

    /// Says that a tensor will not be read soon. Panics if there is no such tensor.
    pub fn release(&self, index: usize) {
        let place = &self.places[index];
        self.shards[place.shard].file_bytes().release(place.stored.range());
    }
}

/// Rows in GGUF's order: of each head, row 2 j + s is row j of half s.
fn interleaved(bytes: &[u8], rows: u64, heads: u64) -> Vec<u8> {
    let (row, half) = (bytes.len() / rows as usize, (rows / heads / 2) as usize);
    let mut out = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(2 * half * row) {
        for j in 0..half {
            for s in 0..2 {
                let start = (s * half + j) * row;
                out.extend_from_slice(&head[start..start + row]);
            }
        }
    }
    out
}

/// Numbers of 16 bits as f32, exactly.
fn widened(bytes: &[u8], format: &str) -> Vec<u8> {
    let codes = bytes.as_chunks::<2>().0.iter().map(|code| u16::from_le_bytes(*code));
    codes
        .flat_map(|code| {
            if format == "bf16" { u32::from(code) << 16 } else { f16_as_f32(code) }.to_le_bytes()
        })
        .collect()
}

/// The bits of an f16 as an f32.
fn f16_as_f32(code: u16) -> u32 {
    let (sign, exponent, mantissa) =
        (u32::from(code >> 15) << 31, u32::from(code >> 10 & 31), u32::from(code & 0x3ff));
    match exponent {
        // Subnormal: a multiple of 2^-24, exact in f32.
        0 => sign | (mantissa as f32 * (1.0 / 16_777_216.0)).to_bits(),
        31 => sign | 0x7f80_0000 | mantissa << 13,
        _ => sign | (exponent + 112) << 23 | mantissa << 13,
    }
}

/// The files with weights, in order.
fn shard_paths(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let (single, index) = (folder.join("model.safetensors"), folder.join("model.safetensors.index.json"));
    let Some(index) = Json::open(index)? else {
        if single.is_file() {
            return Ok(vec![single]);
        }
        let pickled = folder.join("pytorch_model.bin").is_file()
            || folder.join("pytorch_model.bin.index.json").is_file();
        let what = if pickled {
            "model.safetensors; weights in pytorch_model.bin are a program to be run, which tvmc does not: save the model as safetensors"
        } else {
            "model.safetensors and no model.safetensors.index.json"
        };
        return Err(CheckpointError::Missing { folder: folder.to_owned(), what: what.to_owned() });
    };
    let serde_json::Value::Object(map) = index.get("weight_map") else {
        return Err(index.wrong("weight_map", "must say in which file each tensor is"));
    };
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, file) in map {
        let plain = file.as_str().filter(|name| {
            let mut parts = Path::new(name).components();
            matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
        });
        let Some(file) = plain else {
            return Err(index.wrong(
                &format!("weight_map.{tensor}"),
                format!("{file} is no name of a file of the folder"),
            ));
        };
        files.entry(file).or_default().insert(tensor);
    }
    if files.is_empty() || files.len() > MAX_SHARDS {
        return Err(index.wrong("weight_map", format!("{} files, must be 1 to {MAX_SHARDS}", files.len())));
    }
    let mut paths = Vec::new();
    for (file, tensors) in files {
        let path = folder.join(file);
        if !path.is_file() {
            let what = format!("{file}, where model.safetensors.index.json has {} tensors", tensors.len());
            return Err(CheckpointError::Missing { folder: folder.to_owned(), what });
        }
        paths.push(path);
    }
    Ok(paths)
}

/// A metadata entry.
type Entry = (String, Value);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_interleave_within_each_head() {
        // Two heads of four rows of one byte.
        assert_eq!(interleaved(&[0, 1, 2, 3, 10, 11, 12, 13], 8, 2), [0, 2, 1, 3, 10, 12, 11, 13]);
    }

    #[test]
    fn numbers_widen_exactly() {
        let bits = |code: u16, format| {
            let bytes = widened(&code.to_le_bytes(), format);
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        assert_eq!(bits(0x3f80, "bf16"), 1f32.to_bits());
        for (code, value) in [
            (0x3c00, 1.0f32),
            (0xc500, -5.0),
            (0x0001, 2f32.powi(-24)),
            (0x83ff, -1023.0 * 2f32.powi(-24)),
            (0x7bff, 65504.0),
            (0x8000, -0.0),
        ] {
            assert_eq!(bits(code, "f16"), value.to_bits(), "{code:#x}");
        }
        assert_eq!(bits(0x7c00, "f16"), f32::INFINITY.to_bits());
        assert!(f32::from_bits(bits(0x7e01, "f16")).is_nan());
    }
}
