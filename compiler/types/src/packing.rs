//! Bit-compact storage: the one rule by which elements of any width lie in bytes.
//!
//! **Law.** Element `k` of an `n`-bit type occupies bits `[k*n, (k+1)*n)` of the byte string. Bit `b` of the string is bit
//! `b % 8` of byte `b / 8`, so everything is least significant bit first, there are no gaps, and an element may straddle
//! bytes. The same rule holds in files, in memory and in the registers of a lane.
//!
//! Three 3-bit elements `5, 2, 7` (`101`, `010`, `111`) make nine bits:
//!
//! ```text
//! bit      8 | 7 6 5 4 3 2 1 0
//! element  2 | 2 2 1 1 1 0 0 0
//! value    1 | 1 1 0 1 0 1 0 1      bytes: 0xd5 0x01
//! ```
//!
//! Widths are 1 to 64 bits. An index outside the byte string panics, as slice indexing does; a length that does not fit
//! `usize` is refused by [`packed_len`] with `None`.

/// Bytes that `count` elements of `bits` bits occupy, the last byte padded with zero bits; `None` if that overflows.
pub fn packed_len(count: usize, bits: u32) -> Option<usize> {
    let bits = usize::try_from(bits).ok()?;
    // count * bits may overflow where the number of bytes does not, so whole bytes and the rest are counted apart.
    let whole = (count / 8).checked_mul(bits)?;
    let rest = (count % 8).checked_mul(bits)?.div_ceil(8);
    whole.checked_add(rest)
}

/// The lowest `bits` bits set; `bits` is at most 64.
pub const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The two's complement value of the lowest `bits` bits (1 to 64) of `code`.
pub const fn sign_extend(code: u64, bits: u32) -> i64 {
    let unused = 64 - bits;
    ((code << unused) as i64) >> unused
}

/// First byte, bit within it, and number of bytes touched by an element.
///
/// # Panics
/// If `bits` is not 1 to 64, or the element does not lie within `len` bytes.
fn locate(len: usize, index: usize, bits: u32) -> (usize, u32, usize) {
    assert!((1..=64).contains(&bits), "element width of {bits} bits");
    let start = index as u128 * u128::from(bits);
    let end = start + u128::from(bits);
    assert!(end <= len as u128 * 8, "element {index} of {bits} bits lies outside {len} bytes");
    let first = (start / 8) as usize;
    (first, (start % 8) as u32, end.div_ceil(8) as usize - first)
}

/// The code of element `index`.
///
/// # Panics
/// If `bits` is not 1 to 64, or the element lies outside `bytes`.
pub fn get_bits(bytes: &[u8], index: usize, bits: u32) -> u64 {
    let (first, shift, touched) = locate(bytes.len(), index, bits);
    // 64 bits at an odd bit offset touch nine bytes, hence the wide window.
    let mut window = [0; 16];
    window[..touched].copy_from_slice(&bytes[first..first + touched]);
    (u128::from_le_bytes(window) >> shift) as u64 & mask(bits)
}

/// Replaces the code of element `index`; bits of `code` above the width are ignored, neighbours keep their value.
///
/// # Panics
/// If `bits` is not 1 to 64, or the element lies outside `bytes`.
pub fn set_bits(bytes: &mut [u8], index: usize, bits: u32, code: u64) {
    let (first, shift, touched) = locate(bytes.len(), index, bits);
    let place = &mut bytes[first..first + touched];
    let mut window = [0; 16];
    window[..touched].copy_from_slice(place);
    let keep = !(u128::from(mask(bits)) << shift);
    let value = (u128::from_le_bytes(window) & keep) | (u128::from(code & mask(bits)) << shift);
    place.copy_from_slice(&value.to_le_bytes()[..touched]);
}

/// Packs codes one after another.
///
/// # Panics
/// If `bits` is not 1 to 64.
pub fn pack(codes: &[u64], bits: u32) -> Vec<u8> {
    assert!((1..=64).contains(&bits), "element width of {bits} bits");
    // Cannot overflow: the codes themselves take at least as many bytes.
    let mut bytes = vec![0; packed_len(codes.len(), bits).unwrap_or(usize::MAX)];
    for (index, &code) in codes.iter().enumerate() {
        set_bits(&mut bytes, index, bits, code);
    }
    bytes
}

/// Unpacks the first `count` codes; `None` if `bytes` holds fewer.
///
/// # Panics
/// If `bits` is not 1 to 64.
pub fn unpack(bytes: &[u8], count: usize, bits: u32) -> Option<Vec<u64>> {
    if packed_len(count, bits)? > bytes.len() {
        return None;
    }
    Some((0..count).map(|index| get_bits(bytes, index, bits)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_example() {
        assert_eq!(pack(&[5, 2, 7], 3), [0xd5, 0x01]);
        assert_eq!(unpack(&[0xd5, 0x01], 3, 3), Some(vec![5, 2, 7]));
        assert_eq!(unpack(&[0xd5, 0x01], 6, 3), None);
    }

    #[test]
    fn lengths() {
        assert_eq!(packed_len(0, 7), Some(0));
        assert_eq!(packed_len(3, 3), Some(2));
        assert_eq!(packed_len(usize::MAX, 1), Some(usize::MAX / 8 + 1));
        assert_eq!(packed_len(usize::MAX, 8), Some(usize::MAX));
        assert_eq!(packed_len(usize::MAX, 9), None);
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn an_index_outside_panics() {
        get_bits(&[0; 4], usize::MAX, 64);
    }

    #[test]
    fn sign_extension() {
        assert_eq!(sign_extend(1, 1), -1);
        assert_eq!(sign_extend(0x7f, 8), 127);
        assert_eq!(sign_extend(0x180, 8), -128);
        assert_eq!(sign_extend(u64::MAX, 64), -1);
    }

    /// The law read bit by bit.
    fn bit(bytes: &[u8], position: usize) -> u64 {
        u64::from(bytes[position / 8] >> (position % 8) & 1)
    }

    proptest! {
        #[test]
        fn element_k_is_bits_kn_to_k_plus_1_n(bytes in prop::collection::vec(any::<u8>(), 1..40), bits in 1u32..=64) {
            for index in 0..bytes.len() * 8 / bits as usize {
                let expected = (0..bits as usize).map(|b| bit(&bytes, index * bits as usize + b) << b).sum::<u64>();
                prop_assert_eq!(get_bits(&bytes, index, bits), expected);
            }
        }

        #[test]
        fn a_store_changes_its_element_only(
            bytes in prop::collection::vec(any::<u8>(), 9..40), bits in 1u32..=64, at in any::<prop::sample::Index>(), code: u64,
        ) {
            let count = bytes.len() * 8 / bits as usize;
            let index = at.index(count);
            let mut changed = bytes.clone();
            set_bits(&mut changed, index, bits, code);
            for position in 0..bytes.len() * 8 {
                let inside = position / bits as usize == index && position < count * bits as usize;
                let expected = if inside { code >> (position % bits as usize) & 1 } else { bit(&bytes, position) };
                prop_assert_eq!(bit(&changed, position), expected);
            }
        }
    }
}
