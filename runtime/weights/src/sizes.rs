//! The size of a tensor: the one place where untrusted dimensions are multiplied.
//!
//! **Maps** a shape (slowest dimension first) and a storage block to a number of bytes. A block is the unit a format
//! stores along the fastest dimension: `(1, 4)` for f32, `(32, 20)` for a 32-element block of 20 bytes.
//!
//! **Invariant.** `bytes == product(shape) / block.elements * block.bytes`, exactly, or an error: nothing wraps and
//! nothing rounds. All readers and writers of the crate come here, so a fix is a fix everywhere.
//!
//! ```
//! use tvmc_weights::sizes::{Block, tensor_bytes};
//! let four_bit = Block { elements: 32, bytes: 20 };
//! assert_eq!(tensor_bytes(&[576, 1536], four_bit), Ok(576 * 48 * 20));
//! assert!(tensor_bytes(&[2, 33], four_bit).is_err());
//! ```
//!
//! **Refuses** zero dimensions, rows that are not whole blocks, products beyond 64 bits.

/// The unit of storage along the fastest dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Elements in one block, at least 1.
    pub elements: u32,
    /// Bytes of one block, at least 1.
    pub bytes: u32,
}

/// Why a shape has no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A dimension is zero.
    #[error("dimension {axis} (slowest first) is zero")]
    ZeroDimension {
        /// Index of the dimension, slowest first.
        axis: usize,
    },
    /// The fastest dimension is not a multiple of the block.
    #[error("a row of {row} elements is not a whole number of blocks of {block}")]
    PartialBlock {
        /// Elements of a row.
        row: u64,
        /// Elements of a block.
        block: u32,
    },
    /// The product does not fit 64 bits.
    #[error("the size exceeds 64 bits")]
    Overflow,
}

/// Bytes of a tensor of `shape` (slowest first; an empty shape is one element) stored in `block`s.
pub fn tensor_bytes(shape: &[u64], block: Block) -> Result<u64, SizeError> {
    if let Some(axis) = shape.iter().position(|&dimension| dimension == 0) {
        return Err(SizeError::ZeroDimension { axis });
    }
    let row = shape.last().copied().unwrap_or(1);
    let block_elements = u64::from(block.elements.max(1));
    if row % block_elements != 0 {
        return Err(SizeError::PartialBlock { row, block: block.elements });
    }
    // Multiply blocks, not elements: the quotient is exact, and no intermediate exceeds the result.
    let blocks_in_row = row / block_elements;
    let outer = shape.split_last().map_or(&[][..], |(_, outer)| outer);
    outer
        .iter()
        .try_fold(blocks_in_row, |product, &dimension| product.checked_mul(dimension))
        .and_then(|blocks| blocks.checked_mul(u64::from(block.bytes)))
        .ok_or(SizeError::Overflow)
}

/// `offset` rounded up to a multiple of `alignment` (a power of two), or `None` beyond 64 bits.
pub fn align_up(offset: u64, alignment: u64) -> Option<u64> {
    debug_assert!(alignment.is_power_of_two());
    Some(offset.checked_add(alignment - 1)? & !(alignment - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTE: Block = Block { elements: 1, bytes: 1 };

    #[test]
    fn refusals() {
        assert_eq!(tensor_bytes(&[3, 0, 2], BYTE), Err(SizeError::ZeroDimension { axis: 1 }));
        assert_eq!(
            tensor_bytes(&[8, 48], Block { elements: 32, bytes: 18 }),
            Err(SizeError::PartialBlock { row: 48, block: 32 })
        );
        assert_eq!(tensor_bytes(&[1 << 32, 1 << 32], BYTE), Err(SizeError::Overflow));
        assert_eq!(tensor_bytes(&[1 << 62], Block { elements: 1, bytes: 4 }), Err(SizeError::Overflow));
        assert_eq!(tensor_bytes(&[], Block { elements: 1, bytes: 4 }), Ok(4));
        assert_eq!(align_up(u64::MAX - 3, 32), None);
        assert_eq!(align_up(33, 32), Some(64));
    }

    proptest! {
        #[test]
        fn equals_the_exact_product(
            shape in proptest::collection::vec(1u64..=1 << 40, 0..5), elements in 1u32..=256, bytes in 1u32..=512,
        ) {
            let block = Block { elements, bytes };
            let product: Option<u128> = shape.iter().try_fold(1u128, |p, &d| p.checked_mul(u128::from(d)));
            let row = shape.last().copied().unwrap_or(1);
            let expected = product
                .filter(|_| row % u64::from(elements) == 0)
                .and_then(|p| (p / u128::from(elements)).checked_mul(u128::from(bytes)))
                .and_then(|p| u64::try_from(p).ok());
            prop_assert_eq!(tensor_bytes(&shape, block).ok(), expected);
        }
    }
}
