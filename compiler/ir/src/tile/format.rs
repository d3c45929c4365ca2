//! How stored numbers decode: a format is the layout of a group, of what stands once for a row and once for a matrix, plus a straight-line decode body.
//!
//! ```text
//! matrix of N rows of K elements      tensor_head bytes, then N rows
//! row                                 row_head bytes, then ceil(K / group) groups
//! group                               `bytes` bytes
//! ```
//!
//! A tensor of more than two axes is a stack of matrices, one after another; one of a single axis is a matrix of one row. Heads hold the fields of their
//! [`Scope`], filled up with zero to whole *units* (the largest of 1, 2, 4 bytes that divides a group), so groups stay where units begin.
//!
//! Field `f` is `count` values of its dtype, bit-compact from `bit_offset` of its scope, least significant bit first. Which storage slot holds entry `i` is a
//! mixed-radix map:
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

/// How often a field is stored.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Scope {
    /// Once for a matrix.
    Tensor,
    /// Once for a row.
    Row,
    /// Once for a group of elements.
    #[default]
    Group,
}

/// A run of equal-typed values of a scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name in the source.
    pub name: String,
    /// Storage type.
    pub dtype: DType,
    /// Number of values.
    pub count: u32,
    /// How often it is stored.
    pub scope: Scope,
    /// First bit within its scope.
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
    /// Bytes before the groups of a row, a whole number of units.
    pub row_head: u32,
    /// Bytes before the rows of a matrix, a whole number of units.
    pub tensor_head: u32,
    /// As declared; of a scope in storage order.
    pub fields: Vec<Field>,
    /// Constant tables: dtype f32 or i32 and the entries' bit patterns.
    pub tables: Vec<(DType, Vec<u32>)>,
    /// How element `i` of a group is computed.
    pub decode: Decode,
}

impl Format {
    /// Bytes of a unit: the largest of 1, 2 and 4 that divides a group.
    pub fn unit(&self) -> u32 {
        unit_bytes(self.bytes)
    }

    /// The numbers of the fields that a store of groups writes: all but those of the tensor.
    pub fn stored_fields(&self) -> Vec<usize> {
        (0..self.fields.len()).filter(|at| self.fields[*at].scope != Scope::Tensor).collect()
    }

    /// Whether a store must be of whole rows.
    pub fn has_row_fields(&self) -> bool {
        self.fields.iter().any(|field| field.scope == Scope::Row)
    }

    /// Bytes of what a field's scope stores at a time.
    pub fn scope_bytes(&self, scope: Scope) -> u32 {
        match scope {
            Scope::Tensor => self.tensor_head,
            Scope::Row => self.row_head,
            Scope::Group => self.bytes,
        }
    }

    /// Bytes of a row of `elements` elements, or `None` on overflow.
    pub fn row_bytes(&self, elements: u64) -> Option<u64> {
        let groups = elements.div_ceil(u64::from(self.group)).checked_mul(u64::from(self.bytes))?;
        groups.checked_add(u64::from(self.row_head))
    }

    /// Bytes of a matrix, or `None` on overflow.
    pub fn matrix_bytes(&self, rows: u64, elements: u64) -> Option<u64> {
        self.row_bytes(elements)?.checked_mul(rows)?.checked_add(u64::from(self.tensor_head))
    }

    /// Bytes of a tensor of these extents, or `None` on overflow and for a tensor without axes.
    pub fn tensor_bytes(&self, shape: &[u64]) -> Option<u64> {
        let (elements, outer) = shape.split_last()?;
        let (rows, stack) = outer.split_last().unwrap_or((&1, &[]));
        let matrix = self.matrix_bytes(*rows, *elements)?;
        stack.iter().try_fold(matrix, |bytes, count| bytes.checked_mul(*count))
    }
}

/// Bytes of a unit of groups of so many bytes.
pub fn unit_bytes(group_bytes: u32) -> u32 {
    match group_bytes {
        b if b % 4 == 0 => 4,
        b if b % 2 == 0 => 2,
        _ => 1,
    }
}

/// Rule 21 for a field of a scope of so many bytes.
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
