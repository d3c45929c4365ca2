//! Memory banks: why shared layouts are swizzled.
//!
//! Shared memory has [`BANKS`] banks of 4 bytes; word w lies in bank `w % BANKS`. In one turn a bank gives one word, so lanes that read different words of one bank
//! take turns. An element lies in the bank of its first bit.
//!
//! ```text
//! 8 x 64 elements of f16, row by row: the 8 of a column begin 128 bytes apart, all in bank 0: 8 turns
//! with swizzle(3, 3, 3): their 16-byte groups differ: 1 turn
//! ```
//!
//! A tile that lanes hold by a register layout is read slot by slot: in each, up to [`BANKS`] neighbouring lanes at once.

use std::collections::BTreeSet;
use tvmc_types::dtype::DType;
use tvmc_types::layout::{Layout, SharedLayout};

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

/// The turns that one read of these words takes. A word that several elements share is read once.
fn turns_of(words: impl Iterator<Item = u64>) -> usize {
    let words: BTreeSet<u64> = words.collect();
    let mut of_bank = [0; BANKS as usize];
    for word in words {
        of_bank[(word % u64::from(BANKS)) as usize] += 1;
    }
    of_bank.into_iter().max().unwrap_or(0)
}

/// For each slot the turns in which the lanes of a register layout read their elements; the shapes must be equal.
pub fn slot_turns(memory: &SharedLayout, held: &Layout, dtype: DType) -> Vec<usize> {
    let (lanes, slots) = (held.spatial_size(), held.local_size());
    let (elements, offsets) = (held.linear_elements(), memory.offsets());
    let of_slot = |slot: u32| {
        let word = |lane: u32| word(offsets[elements[(lane * slots + slot) as usize] as usize], dtype);
        let together = |first: u32| turns_of((first..lanes.min(first + BANKS)).map(word));
        (0..lanes).step_by(BANKS as usize).map(together).sum()
    };
    (0..slots).map(of_slot).collect()
}

/// For each dimension the turns that a read of its first elements takes, up to one for each lane, at index 0 of the other dimensions.
pub fn turns(layout: &SharedLayout, dtype: DType) -> Vec<usize> {
    let along = |dim: usize| {
        let words = (0..layout.shape()[dim].min(BANKS)).map(|i| {
            let mut index = vec![0; layout.rank()];
            index[dim] = i;
            word(layout.offset(&index), dtype)
        });
        turns_of(words)
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

    #[test]
    fn lanes_read_slot_by_slot() {
        let turns = |memory: &str, held: &str| {
            let (memory, held) = (memory.parse().expect("a layout"), held.parse().expect("a layout"));
            slot_turns(&memory, &held, DType::F16)
        };
        // Eight rows of eight 16-byte groups: one group of each row, two elements of it a lane.
        let fragment = "spatial(8, 4).local(1, 2)";
        assert_eq!(turns("shared(8, 8)", fragment), [1, 1]);
        let wide = "local(1, 8).spatial(8, 4).local(1, 2)";
        assert_eq!(turns("shared(8, 64)", wide), [8; 16]);
        assert_eq!(turns("shared(8, 64).swizzle(3, 3, 3)", wide), [1; 16]);
        // 64 lanes are two reads; copies read the same word.
        assert_eq!(turns("shared(64, 64)", "local(1, 64).spatial(64, 1)"), [64; 64]);
        assert_eq!(turns("shared(2, 1)", "replicated(32).local(2, 1)"), [1, 1]);
    }
}
