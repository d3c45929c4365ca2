//! Tensors in formats that the file declares itself.
//!
//! GGUF has no type for them, so such a tensor is a row of bytes (type `i8`), and metadata says what the bytes are:
//!
//! ```text
//! tvmc.formats                       string: declarations in the language of tvmc, `format q5g24 { .. }`
//! tvmc.tensor.blk.0.ffn_up.weight    string: `q5g24[1536, 576]`, format and dimensions, slowest first
//! ```
//!
//! **Maps** these entries to the names and shapes of the tensors. The declarations are not read here; who reads them compares the bytes of a tensor with
//! what its format needs for its shape.
//!
//! **Refuses** entries for tensors that are not there or are no rows of bytes, shapes that the file format could not have (1 to 4 dimensions, none zero,
//! fewer than 2^63 elements), formats without declarations, names that no declaration can have.

use super::error::GgufErrorKind;
use super::limits::{MAX_DIMENSIONS, MAX_KEY_BYTES};
use super::value::{Metadata, Value};
use crate::view::TensorInfo;
use std::collections::HashMap;

/// The key of the declarations.
pub const DECLARATIONS: &str = "tvmc.formats";
/// What comes before a tensor's name in the key that says its format.
pub const TENSOR: &str = "tvmc.tensor.";
/// How such a tensor is stored.
pub const STORED_AS: &str = "i8";
/// The longest name of a format.
const MAX_NAME_BYTES: usize = 256;

/// The key and value that say what a tensor's bytes are; none if the key would be too long.
pub fn entry(tensor: &str, format: &str, shape: &[u64]) -> Option<(String, Value)> {
    let key = format!("{TENSOR}{tensor}");
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    (key.len() as u64 <= MAX_KEY_BYTES)
        .then(|| (key, Value::String(format!("{format}[{}]", shape.join(", ")))))
}

/// Gives tensors the formats that the metadata says they have.
pub(super) fn apply(metadata: &Metadata, tensors: &mut [TensorInfo]) -> Result<(), (String, GgufErrorKind)> {
    let declared = metadata.get(DECLARATIONS);
    if declared.is_some_and(|value| value.as_str().is_none()) {
        return Err((DECLARATIONS.to_owned(), GgufErrorKind::Declared("is no text".to_owned())));
    }
    let mut places: Option<HashMap<String, usize>> = None;
    for (key, value) in metadata.iter() {
        let Some(name) = key.strip_prefix(TENSOR) else { continue };
        let refuse = |why: String| Err((key.to_owned(), GgufErrorKind::Declared(why)));
        if declared.is_none() {
            return refuse(format!("there is no {DECLARATIONS:?} that declares its format"));
        }
        let places = places.get_or_insert_with(|| {
            tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect()
        });
        let Some(tensor) = places.get(name).and_then(|at| tensors.get_mut(*at)) else {
            return refuse("there is no tensor of this name".to_owned());
        };
        if tensor.format != STORED_AS || tensor.shape.len() != 1 {
            return refuse(format!(
                "the tensor is no row of bytes, but {} of {:?}",
                tensor.format, tensor.shape
            ));
        }
        let Some((format, shape)) = value.as_str().and_then(parsed) else {
            return refuse("expected a format and dimensions such as `q5g24[1536, 576]`".to_owned());
        };
        tensor.format = format.to_owned().into();
        tensor.shape = shape;
    }
    Ok(())
}

/// `q5g24[1536, 576]`
fn parsed(text: &str) -> Option<(&str, Vec<u64>)> {
    let (name, rest) = text.split_once('[')?;
    let list = rest.strip_suffix(']')?;
    let mut letters = name.bytes();
    let named = letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.len() <= MAX_NAME_BYTES;
    let number = |text: &str| {
        let text = text.trim();
        let digits = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n: &u64| digits && *n > 0)
    };
    let shape: Vec<u64> = list.splitn(MAX_DIMENSIONS as usize + 1, ',').map(number).collect::<Option<_>>()?;
    let elements = shape.iter().try_fold(1u64, |n, extent| n.checked_mul(*extent));
    let sound = named && shape.len() <= MAX_DIMENSIONS as usize && elements.is_some_and(|n| n < 1 << 63);
    sound.then_some((name, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Gguf, GgufWriter};
    use crate::mapped::FileBytes;

    fn read(entries: &[(&str, Value)]) -> Result<Gguf, String> {
        let mut writer = GgufWriter::new();
        for (key, value) in entries {
            writer.metadata(key, value.clone()).expect("new");
        }
        writer.tensor("w", &[34], STORED_AS, vec![7; 34]).expect("new");
        writer.tensor("v", &[2], "f32", vec![0; 8]).expect("new");
        let bytes = writer.to_bytes().expect("it fits");
        Gguf::new(FileBytes::from_slice(&bytes).expect("memory")).map_err(|e| e.to_string())
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn entries_give_format_and_shape() {
        let (key, value) = entry("w", "own", &[2, 17]).expect("short");
        let file = read(&[(DECLARATIONS, text("format own {}")), (&key, value)]).expect("sound");
        let w = &file.tensors[0];
        assert_eq!((&*w.format, &w.shape[..], w.bytes, w.elements()), ("own", &[2, 17][..], 34, 34));
        assert_eq!(file.tensor_bytes(0), &[7; 34][..]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let own = (DECLARATIONS, text("format own {}"));
        for (entries, why) in [
            (vec![("tvmc.tensor.w", text("own[2]"))], "there is no \"tvmc.formats\""),
            (vec![(DECLARATIONS, Value::U32(1))], "is no text"),
            (vec![own.clone(), ("tvmc.tensor.x", text("own[2]"))], "no tensor of this name"),
            (vec![own.clone(), ("tvmc.tensor.v", text("own[2]"))], "no row of bytes"),
            (vec![own.clone(), ("tvmc.tensor.w", Value::U32(3))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("own[0]"))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("own[]"))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("own[1, 2, 3, 4, 5]"))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("own[4294967296, 4294967296]"))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("o n[2]"))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("own[+2]"))], "expected a format"),
            (vec![own.clone(), ("tvmc.tensor.w", text("own[2] "))], "expected a format"),
        ] {
            let error = read(&entries).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
