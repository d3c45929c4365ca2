//! Memory banks: why shared layouts are swizzled.
//!
//! Shared memory has [`BANKS`] banks of 4 bytes; word w lies in bank `w % BANKS`. In one turn a bank gives one word, so lanes that read different words of one bank
//! take turns. An element lies in the bank of its first bit.
//!
//! ```text
//! 8 x 64 elements of f16, row by row: the 8 of a column begin 128 bytes apart, all in bank 0: 8 turns
//! with swizzle(3, 3, 3): their 16-byte groups differ: 1 turn
//! ```

use std::collections::BTreeSet;
use tvmc_types::dtype::DType;
use tvmc_types::layout::SharedLayout;

/// Number of banks, and of lanes that read at once.
pub const BANKS: u32 = 32;

/// The word of an offset.
fn word(offset: u32, dtype: DType) -> u64 {
    u64::from(offset) * u64::from(dtype.bits()) / 32
}

/// The bank of an offset.
pub fn bank(offset: u32, dtype: DType) -> u32 {
    (word(offset, dtype) % u64::from(BANKS)) as u32
}

/// For each dimension the turns that a read of its first elements takes, up to one for each lane, at index 0 of the other dimensions.
pub fn turns(layout: &SharedLayout, dtype: DType) -> Vec<usize> {
    let along = |dim: usize| {
        let words = (0..layout.shape()[dim].min(BANKS)).map(|i| {
            let mut index = vec![0; layout.rank()];
            index[dim] = i;
            word(layout.offset(&index), dtype)
        });
        // A word that several elements share is read once.
        let words: BTreeSet<u64> = words.collect();
        let of_bank = |bank: u64| words.iter().filter(|word| *word % u64::from(BANKS) == bank).count();
        (0..u64::from(BANKS)).map(of_bank).max().unwrap_or(0)
    };
    (0..layout.rank()).map(along).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swizzle_spreads_a_column() {
        let turns = |text: &str| turns(&text.parse().expect("a layout"), DType::F16);
        assert_eq!(turns("shared(8, 64)"), [8, 1]);
        assert_eq!(turns("shared(8, 64).swizzle(3, 3, 3)"), [1, 1]);
        // 64 columns are read by 32 lanes; two f16 share a word.
        assert_eq!(turns("column_shared(64, 64)"), [1, 32]);
        assert_eq!(turns("shared(4).strides(0)"), [1]);
        assert!(turns("shared()").is_empty());
    }
}
