//! The GGUF tensor type ids: the one Rust file that knows a number format by name.
//!
//! **Maps** the 32-bit type id of a tensor record to the name of a `format` (or dtype) of the language and to its
//! storage block. What a block's bytes *mean* is not here: `stdlib/formats/` says it, in the language itself.
//!
//! **Invariant.** Ids are unique, names are unique, names are spelled as the format's declaration spells them
//! (in lower case), and blocks are those of the file format.
//! Example: id 3 is `q4_1`, 32 elements in 20 bytes.
//!
//! **Refuses** every id not in the table. Ids that older files used and that have been withdrawn are told apart from
//! ids never given, because the advice differs: convert the file again.

use crate::sizes::Block;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// The id in the file.
    pub id: u32,
    /// The name of the format or dtype.
    pub name: &'static str,
    /// Its storage block.
    pub block: Block,
}

const fn row(id: u32, name: &'static str, elements: u32, bytes: u32) -> TensorType {
    TensorType { id, name, block: Block { elements, bytes } }
}

/// Every tensor type that a GGUF file may hold, by id.
pub const TENSOR_TYPES: &[TensorType] = &[
    row(0, "f32", 1, 4),
    row(1, "f16", 1, 2),
    row(2, "q4_0", 32, 18),
    row(3, "q4_1", 32, 20),
    row(6, "q5_0", 32, 22),
    row(7, "q5_1", 32, 24),
    row(8, "q8_0", 32, 34),
    row(9, "q8_1", 32, 36),
    row(10, "q2_k", 256, 84),
    row(11, "q3_k", 256, 110),
    row(12, "q4_k", 256, 144),
    row(13, "q5_k", 256, 176),
    row(14, "q6_k", 256, 210),
    row(15, "q8_k", 256, 292),
    row(16, "iq2_xxs", 256, 66),
    row(17, "iq2_xs", 256, 74),
    row(18, "iq3_xxs", 256, 98),
    row(19, "iq1_s", 256, 50),
    row(20, "iq4_nl", 32, 18),
    row(21, "iq3_s", 256, 110),
    row(22, "iq2_s", 256, 82),
    row(23, "iq4_xs", 256, 136),
    row(24, "i8", 1, 1),
    row(25, "i16", 1, 2),
    row(26, "i32", 1, 4),
    row(27, "i64", 1, 8),
    row(28, "f64", 1, 8),
    row(29, "iq1_m", 256, 56),
    row(30, "bf16", 1, 2),
    row(34, "tq1_0", 256, 54),
    row(35, "tq2_0", 256, 66),
    row(39, "mxfp4", 32, 17),
    row(40, "nvfp4", 64, 36),
    row(41, "q1_0", 128, 18),
    row(42, "q2_0", 64, 18),
];

/// Ids that once meant a format and were withdrawn.
pub const RETIRED_IDS: &[u32] = &[4, 5, 31, 32, 33, 36, 37, 38];

/// The row of a type id.
pub fn by_id(id: u32) -> Option<&'static TensorType> {
    TENSOR_TYPES.iter().find(|row| row.id == id)
}

/// The row of a format name.
pub fn by_name(name: &str) -> Option<&'static TensorType> {
    TENSOR_TYPES.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_sorted() {
        for pair in TENSOR_TYPES.windows(2) {
            assert!(pair[0].id < pair[1].id);
        }
        for row in TENSOR_TYPES {
            assert_eq!(by_id(row.id), Some(row));
            assert_eq!(by_name(row.name), Some(row), "name {} is not unique", row.name);
            assert!(!RETIRED_IDS.contains(&row.id));
        }
    }

    /// The block sizes again, each from the fields its format stores: an independent count.
    #[test]
    fn blocks_are_the_sum_of_their_fields() {
        let (half, single, sub_scales) = (2, 4, 12);
        let expected: &[(&str, u32)] = &[
            ("q4_0", half + 16),
            ("q4_1", 2 * half + 16),
            ("q5_0", half + 4 + 16),
            ("q5_1", 2 * half + 4 + 16),
            ("q8_0", half + 32),
            ("q8_1", 2 * half + 32),
            ("q2_k", 2 * half + 16 + 64),
            ("q3_k", half + 32 + 64 + sub_scales),
            ("q4_k", 2 * half + sub_scales + 128),
            ("q5_k", 2 * half + sub_scales + 32 + 128),
            ("q6_k", half + 128 + 64 + 16),
            ("q8_k", single + 256 + 32),
            ("iq2_xxs", half + 64),
            ("iq2_xs", half + 64 + 8),
            ("iq2_s", half + 32 + 32 + 8 + 8),
            ("iq3_xxs", half + 64 + 32),
            ("iq3_s", half + 64 + 8 + 32 + 4),
            ("iq1_s", half + 32 + 16),
            ("iq1_m", 32 + 16 + 8),
            ("iq4_nl", half + 16),
            ("iq4_xs", half + 2 + 4 + 128),
            ("tq1_0", 48 + 4 + half),
            ("tq2_0", 64 + half),
            ("mxfp4", 1 + 16),
            ("nvfp4", 4 + 32),
            ("q1_0", half + 16),
            ("q2_0", half + 16),
        ];
        for (name, bytes) in expected {
            assert_eq!(by_name(name).unwrap().block.bytes, *bytes, "{name}");
        }
    }
}
