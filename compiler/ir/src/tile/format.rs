//! How stored numbers decode: a format is a group layout plus a straight-line decode body.
//!
//! A row of K elements is `ceil(K / group)` groups of `bytes` bytes each. Field `f` of the group is `count` values of its dtype,
//! bit-compact from `bit_offset`, least significant bit first. Which storage slot holds element `i` is a mixed-radix map:
//!
//! ```text
//! q: u4[32] @ column_local(2, 16).reshape(32)      element i = 16 h + j  ->  slot 2 j + h
//! modes = [ (size 2, stride 1), (size 16, stride 2) ]        most significant digit of i first
//! ```

use super::kernel::Inst;
use super::kernel::Value;
use super::types::TileType;
use tvmc_types::dtype::DType;

/// One digit of an element index and what it adds to the slot number.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct FieldMode {
    /// Number of values of the digit.
    pub size: u32,
    /// What one step adds to the slot.
    pub stride: u32,
}

/// A run of equal-typed values in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name in the source.
    pub name: String,
    /// Storage type.
    pub dtype: DType,
    /// Number of values.
    pub count: u32,
    /// First bit within the group.
    pub bit_offset: u32,
    /// Digits of the index, most significant first; their sizes multiply to `count`.
    pub modes: Vec<FieldMode>,
}

impl Field {
    /// The storage slot of entry `index` (below `count`).
    pub fn slot(&self, index: u32) -> u32 {
        let mut rest = index;
        let mut slot = 0;
        for mode in self.modes.iter().rev() {
            slot += (rest % mode.size) * mode.stride;
            rest /= mode.size;
        }
        slot
    }
}

/// The decode body: scalar instructions over [`super::Op::GroupIndex`], [`super::Op::Field`] and [`super::Op::Table`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Decode {
    /// The type of each value (all scalars).
    pub values: Vec<TileType>,
    /// In order; no control flow, no memory.
    pub insts: Vec<Inst>,
    /// The decoded element, f32.
    pub result: Value,
}

/// A number format.
#[derive(Clone, PartialEq, Debug)]
pub struct Format {
    /// Its name in the source.
    pub name: String,
    /// Elements per group.
    pub group: u32,
    /// Bytes per group.
    pub bytes: u32,
    /// In storage order.
    pub fields: Vec<Field>,
    /// Constant tables: dtype f32 or i32 and the entries' bit patterns.
    pub tables: Vec<(DType, Vec<u32>)>,
    /// How element `i` of a group is computed.
    pub decode: Decode,
}

impl Format {
    /// Bytes of a row of `elements` elements, or `None` on overflow.
    pub fn row_bytes(&self, elements: u64) -> Option<u64> {
        elements.div_ceil(u64::from(self.group)).checked_mul(u64::from(self.bytes))
    }
}

/// Rule 21 for a field of a group of so many bytes.
pub(super) fn field_error(field: &Field, bytes: u32) -> Option<String> {
    if field.count == 0 {
        return Some("has no entries".to_owned());
    }
    let bits = u64::from(field.count) * u64::from(field.dtype.bits());
    if u64::from(field.bit_offset) + bits > u64::from(bytes) * 8 {
        return Some(format!(
            "ends at bit {} of {}",
            u64::from(field.bit_offset) + bits,
            u64::from(bytes) * 8
        ));
    }
    let sizes = field.modes.iter().try_fold(1u64, |n, mode| n.checked_mul(u64::from(mode.size)));
    if sizes != Some(u64::from(field.count)) {
        return Some(format!("has digits that do not multiply to {}", field.count));
    }
    // Strides that reach every slot once are, in ascending order, the products of the sizes before them.
    let mut digits: Vec<(u32, u32)> =
        field.modes.iter().filter(|mode| mode.size > 1).map(|mode| (mode.stride, mode.size)).collect();
    digits.sort_unstable();
    let mut expected = 1u64;
    for (stride, size) in digits {
        if u64::from(stride) != expected {
            return Some("has strides that miss a slot or reach one twice".to_owned());
        }
        expected *= u64::from(size);
    }
    None
}
