//! The GGUF reader: a cursor that cannot pass the end, and the checks in the order of the file.

use std::collections::HashSet;

use super::error::{GgufError, GgufErrorKind};
use super::limits::*;
use super::type_ids;
use super::value::{Array, Metadata, StringArray, Value};
use crate::sizes::{align_up, tensor_bytes};
use crate::view::TensorInfo;

/// Everything before the tensor data.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// File format version, 2 or 3.
    pub version: u32,
    /// Alignment of the data area and of each tensor in it.
    pub alignment: u64,
    /// Keys and values, in file order.
    pub metadata: Metadata,
    /// Tensors, in file order; offsets are absolute.
    pub tensors: Vec<TensorInfo>,
}

/// Fewest bytes of a metadata entry: key length, one letter, value type, a one-byte value.
const MIN_METADATA_BYTES: u64 = 8 + 1 + 4 + 1;
/// Fewest bytes of a tensor record: name length, one letter, rank, one dimension, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// Fewest bytes of a string: its length.
const MIN_STRING_BYTES: u64 = 8;
/// Fewest bytes of an array: element type and count.
const MIN_ARRAY_BYTES: u64 = 4 + 8;

/// Reads and checks all of a file but its tensor data. `file` is the whole file.
pub fn parse(file: &[u8]) -> Result<Header, GgufError> {
    let mut cursor = Cursor { file, position: 0, inner_arrays: 0 };
    let version = read_version(&mut cursor)?;
    let tensor_count = cursor.count(&"tensor count", MIN_TENSOR_BYTES, MAX_TENSORS)?;
    let entry_count = cursor.count(&"metadata count", MIN_METADATA_BYTES, MAX_METADATA_ENTRIES)?;

    let mut metadata = Metadata::default();
    for index in 0..entry_count {
        read_entry(&mut cursor, index, &mut metadata)?;
    }
    let alignment = read_alignment(&cursor, &metadata)?;

    let mut records = Vec::with_capacity(tensor_count);
    let mut names = HashSet::with_capacity(tensor_count);
    for index in 0..tensor_count {
        let record = read_tensor_record(&mut cursor, index)?;
        if !names.insert(record.info.name.clone()) {
            return Err(cursor.refuse(record.start, &record.field(), GgufErrorKind::Duplicate));
        }
        records.push(record);
    }
    let tensors = place_tensors(&cursor, records, alignment)?;
    Ok(Header { version, alignment, metadata, tensors })
}

fn read_version(cursor: &mut Cursor) -> Result<u32, GgufError> {
    let magic = &cursor.file[..cursor.file.len().min(4)];
    if magic != b"GGUF" {
        return Err(cursor.refuse(0, &"magic", GgufErrorKind::NotGguf(magic.to_vec())));
    }
    cursor.take(&"magic", 4)?;
    let version = cursor.u32(&"version")?;
    match version {
        2 | 3 => Ok(version),
        swapped if (1..=0xff).contains(&swapped.swap_bytes()) => {
            Err(cursor.refuse(4, &"version", GgufErrorKind::BigEndian))
        }
        other => Err(cursor.refuse(4, &"version", GgufErrorKind::UnsupportedVersion(other))),
    }
}

fn read_entry(cursor: &mut Cursor, index: usize, metadata: &mut Metadata) -> Result<(), GgufError> {
    let start = cursor.position;
    let key = cursor.string(&Numbered("metadata", index, "key"), MAX_KEY_BYTES)?;
    if key.is_empty() {
        return Err(cursor.refuse(start, &Numbered("metadata", index, "key"), GgufErrorKind::EmptyName));
    }
    let key = key.to_owned();
    let field = Quoted("metadata", &key);
    let type_start = cursor.position;
    let type_id = cursor.u32(&field)?;
    let value = read_value(cursor, &field, type_start, type_id)?;
    metadata
        .insert(key, value)
        .map_err(|(key, _)| cursor.refuse(start, &Quoted("metadata", &key), GgufErrorKind::Duplicate))
}

fn read_value(
    cursor: &mut Cursor,
    field: &dyn Field,
    type_start: u64,
    type_id: u32,
) -> Result<Value, GgufError> {
    Ok(match type_id {
        0 => Value::U8(u8::from_le_bytes(cursor.bytes(field)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.bytes(field)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.bytes(field)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.bytes(field)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.bytes(field)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.bytes(field)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.bytes(field)?)),
        7 => Value::Bool(cursor.bool(field)?),
        8 => Value::String(cursor.string(field, MAX_STRING_BYTES)?.to_owned()),
        9 => Value::Array(read_array(cursor, field, 1)?),
        10 => Value::U64(u64::from_le_bytes(cursor.bytes(field)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.bytes(field)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.bytes(field)?)),
        other => return Err(cursor.refuse(type_start, field, GgufErrorKind::UnknownValueType(other))),
    })
}

/// The elements of a fixed-width array: the count is compared with the file before the one allocation.
macro_rules! numbers {
    ($cursor:expr, $field:expr, $type:ty) => {{
        const WIDTH: usize = size_of::<$type>();
        let count = $cursor.count($field, WIDTH as u64, MAX_HEADER_BYTES)?;
        let bytes = $cursor.take($field, (count * WIDTH) as u64)?;
        bytes.as_chunks::<WIDTH>().0.iter().map(|chunk| <$type>::from_le_bytes(*chunk)).collect()
    }};
}

fn read_array(cursor: &mut Cursor, field: &dyn Field, depth: u32) -> Result<Array, GgufError> {
    let type_start = cursor.position;
    let element_type = cursor.u32(field)?;
    if depth > MAX_ARRAY_DEPTH {
        return Err(cursor.refuse(type_start, field, GgufErrorKind::ArrayTooDeep(MAX_ARRAY_DEPTH)));
    }
    Ok(match element_type {
        0 => Array::U8(numbers!(cursor, field, u8)),
        1 => Array::I8(numbers!(cursor, field, i8)),
        2 => Array::U16(numbers!(cursor, field, u16)),
        3 => Array::I16(numbers!(cursor, field, i16)),
        4 => Array::U32(numbers!(cursor, field, u32)),
        5 => Array::I32(numbers!(cursor, field, i32)),
        6 => Array::F32(numbers!(cursor, field, f32)),
        7 => {
            let count = cursor.count(field, 1, MAX_HEADER_BYTES)?;
            let mut truths = Vec::with_capacity(count);
            for _ in 0..count {
                truths.push(cursor.bool(field)?);
            }
            Array::Bool(truths)
        }
        8 => {
            let count = cursor.count(field, MIN_STRING_BYTES, MAX_HEADER_BYTES)?;
            let mut strings = StringArray::with_capacity(count);
            for _ in 0..count {
                strings.push(cursor.string(field, MAX_STRING_BYTES)?);
            }
            Array::String(strings)
        }
        9 => {
            let start = cursor.position;
            let count = cursor.count(field, MIN_ARRAY_BYTES, MAX_INNER_ARRAYS)?;
            cursor.inner_arrays += count as u64;
            if cursor.inner_arrays > MAX_INNER_ARRAYS {
                let kind = GgufErrorKind::OverLimit { count: cursor.inner_arrays, limit: MAX_INNER_ARRAYS };
                return Err(cursor.refuse(start, field, kind));
            }
            let mut arrays = Vec::with_capacity(count);
            for _ in 0..count {
                arrays.push(read_array(cursor, field, depth + 1)?);
            }
            Array::Array(arrays)
        }
        10 => Array::U64(numbers!(cursor, field, u64)),
        11 => Array::I64(numbers!(cursor, field, i64)),
        12 => Array::F64(numbers!(cursor, field, f64)),
        other => return Err(cursor.refuse(type_start, field, GgufErrorKind::UnknownValueType(other))),
    })
}

fn read_alignment(cursor: &Cursor, metadata: &Metadata) -> Result<u64, GgufError> {
    let field = Quoted("metadata", "general.alignment");
    // The entry's own offset is gone by now; the end of the metadata is the nearest place that can be named.
    let place = cursor.position;
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) => {
            let alignment = u64::from(alignment);
            if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
                Ok(alignment)
            } else {
                Err(cursor.refuse(place, &field, GgufErrorKind::BadAlignment(alignment)))
            }
        }
        Some(other) => Err(cursor.refuse(place, &field, GgufErrorKind::AlignmentType(other.type_name()))),
    }
}

/// A tensor record whose `info.offset` is still relative to the data area.
struct TensorRecord {
    info: TensorInfo,
    start: u64,
    offset_start: u64,
}

impl TensorRecord {
    fn field(&self) -> Quoted<'_> {
        Quoted("tensor", &self.info.name)
    }
}

fn read_tensor_record(cursor: &mut Cursor, index: usize) -> Result<TensorRecord, GgufError> {
    let start = cursor.position;
    let name = cursor.string(&Numbered("tensor", index, "name"), MAX_TENSOR_NAME_BYTES)?;
    if name.is_empty() {
        return Err(cursor.refuse(start, &Numbered("tensor", index, "name"), GgufErrorKind::EmptyName));
    }
    let name = name.to_owned();
    let field = Quoted("tensor", &name);

    let rank_start = cursor.position;
    let rank = cursor.u32(&field)?;
    if !(1..=MAX_DIMENSIONS).contains(&rank) {
        return Err(cursor.refuse(rank_start, &field, GgufErrorKind::BadRank(rank)));
    }
    let mut shape = Vec::with_capacity(rank as usize);
    for _ in 0..rank {
        shape.push(u64::from_le_bytes(cursor.bytes(&field)?));
    }
    shape.reverse();

    let type_start = cursor.position;
    let type_id = cursor.u32(&field)?;
    let Some(tensor_type) = type_ids::by_id(type_id) else {
        let kind = if type_ids::RETIRED_IDS.contains(&type_id) {
            GgufErrorKind::RetiredTensorType(type_id)
        } else {
            GgufErrorKind::UnknownTensorType(type_id)
        };
        return Err(cursor.refuse(type_start, &field, kind));
    };
    let bytes = tensor_bytes(&shape, tensor_type.block)
        .map_err(|error| cursor.refuse(rank_start, &field, GgufErrorKind::Size(error)))?;

    let offset_start = cursor.position;
    let offset = u64::from_le_bytes(cursor.bytes(&field)?);
    let info = TensorInfo { name, shape, format: tensor_type.name.into(), offset, bytes };
    Ok(TensorRecord { info, start, offset_start })
}

/// Checks that the tensors tile the data area in order and makes their offsets absolute.
fn place_tensors(
    cursor: &Cursor,
    records: Vec<TensorRecord>,
    alignment: u64,
) -> Result<Vec<TensorInfo>, GgufError> {
    let length = cursor.file.len() as u64;
    let overflow = |record: &TensorRecord| {
        let kind = GgufErrorKind::Size(crate::sizes::SizeError::Overflow);
        cursor.refuse(record.offset_start, &record.field(), kind)
    };
    // A file whose header ends at its last byte has no padding; without tensors that is a sound file.
    let data_start = cursor.position.next_multiple_of(alignment);
    let mut expected = 0;
    let mut end = data_start.min(length);
    let mut tensors = Vec::with_capacity(records.len());
    for mut record in records {
        let offset = record.info.offset;
        let kind = if offset % alignment != 0 {
            Some(GgufErrorKind::Misaligned { offset, alignment })
        } else if offset < expected {
            Some(GgufErrorKind::Overlap { offset, expected })
        } else if offset > expected {
            Some(GgufErrorKind::Gap { offset, expected })
        } else {
            None
        };
        if let Some(kind) = kind {
            return Err(cursor.refuse(record.offset_start, &record.field(), kind));
        }
        let start = data_start.checked_add(offset).ok_or_else(|| overflow(&record))?;
        end = start.checked_add(record.info.bytes).ok_or_else(|| overflow(&record))?;
        if end > length {
            let kind =
                GgufErrorKind::Truncated { needed: record.info.bytes, left: length.saturating_sub(start) };
            return Err(cursor.refuse(start, &Quoted("data of tensor", &record.info.name), kind));
        }
        expected = offset
            .checked_add(record.info.bytes)
            .and_then(|unpadded| align_up(unpadded, alignment))
            .ok_or_else(|| overflow(&record))?;
        record.info.offset = start;
        tensors.push(record.info);
    }
    // The last tensor may be padded or not; more than padding is data that no record owns.
    let trailing = length - end;
    if trailing >= alignment && trailing > 0 {
        return Err(cursor.refuse(end, &"end of file", GgufErrorKind::TrailingBytes(trailing)));
    }
    Ok(tensors)
}

/// What an error says about the place; rendered only when there is an error.
trait Field {
    fn words(&self) -> String;
}

impl Field for &str {
    fn words(&self) -> String {
        (*self).to_owned()
    }
}

/// `metadata 3 key`.
struct Numbered(&'static str, usize, &'static str);

impl Field for Numbered {
    fn words(&self) -> String {
        format!("{} {} {}", self.0, self.1, self.2)
    }
}

/// `tensor "blk.0.attn_q.weight"`, with the name escaped and cut to a readable length.
struct Quoted<'a>(&'static str, &'a str);

impl Field for Quoted<'_> {
    fn words(&self) -> String {
        const SHOWN: usize = 80;
        match self.1.char_indices().nth(SHOWN) {
            Some((cut, _)) => format!("{} {:?}...", self.0, &self.1[..cut]),
            None => format!("{} {:?}", self.0, self.1),
        }
    }
}

/// A position in the file that never passes its end nor the header cap.
struct Cursor<'a> {
    file: &'a [u8],
    position: u64,
    inner_arrays: u64,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> u64 {
        self.file.len() as u64 - self.position
    }

    fn refuse(&self, offset: u64, field: &dyn Field, kind: GgufErrorKind) -> GgufError {
        GgufError { offset, field: field.words(), kind }
    }

    fn take(&mut self, field: &dyn Field, needed: u64) -> Result<&'a [u8], GgufError> {
        let left = self.left();
        if needed > left {
            return Err(self.refuse(self.position, field, GgufErrorKind::Truncated { needed, left }));
        }
        // Both are at most the file's length, so neither the sum nor the casts can overflow.
        let end = self.position + needed;
        if end > MAX_HEADER_BYTES {
            return Err(self.refuse(self.position, field, GgufErrorKind::HeaderTooLarge(MAX_HEADER_BYTES)));
        }
        let taken = &self.file[self.position as usize..end as usize];
        self.position = end;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self, field: &dyn Field) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(field, N as u64)?);
        Ok(bytes)
    }

    fn u32(&mut self, field: &dyn Field) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(field)?))
    }

    fn bool(&mut self, field: &dyn Field) -> Result<bool, GgufError> {
        match self.bytes(field)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.refuse(self.position - 1, field, GgufErrorKind::BadBool(other))),
        }
    }

    /// A count of items of at least `item_bytes` each: within `limit`, and possible in what is left of the file.
    fn count(&mut self, field: &dyn Field, item_bytes: u64, limit: u64) -> Result<usize, GgufError> {
        let start = self.position;
        let count = u64::from_le_bytes(self.bytes(field)?);
        let left = self.left();
        if count > left / item_bytes {
            return Err(self.refuse(
                start,
                field,
                GgufErrorKind::CountBeyondFile { count, item_bytes, left },
            ));
        }
        if count > limit {
            return Err(self.refuse(start, field, GgufErrorKind::OverLimit { count, limit }));
        }
        // A count of items that fit the file fits the address space the file is in.
        Ok(count as usize)
    }

    fn string(&mut self, field: &dyn Field, limit: u64) -> Result<&'a str, GgufError> {
        let start = self.position;
        let length = u64::from_le_bytes(self.bytes(field)?);
        if length > limit {
            let left = self.left();
            let kind = if length > left {
                GgufErrorKind::Truncated { needed: length, left }
            } else {
                GgufErrorKind::OverLimit { count: length, limit }
            };
            return Err(self.refuse(start, field, kind));
        }
        let bytes = self.take(field, length)?;
        std::str::from_utf8(bytes).map_err(|_| self.refuse(start, field, GgufErrorKind::NotUtf8))
    }
}
