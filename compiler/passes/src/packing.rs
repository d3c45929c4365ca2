//! Row-interleaved packing: the order in which a matrix of a format lies in memory so that lanes, one row each, read
//! neighbouring words, and a block of a matrix-vector product reads one stream from its first byte to its last.
//!
//! A row is a string of *units* (the largest power of two of bytes, at most 4, that divides a group's size). Rows go in
//! blocks of [`ROWS`], the last block has the rows that are left; within a block of D rows, unit `t` of all of them lies together:
//!
//! ```text
//! unit t of row r   at   r / 64 * 64 * units_per_row + t * D + r % 64         D = min(64, rows - r / 64 * 64)
//!
//! rows      a0 a1 a2 ..      ->   a0 b0 c0 ..   a1 b1 c1 ..   ..
//!           b0 b1 b2 ..           (D units)     (D units)
//! ```
//!
//! 64 rows are what a block of `linear` makes at a time; a machine with fewer lanes takes them in chunks that lie side by side.
//! It is a bijection on the bytes of a matrix, so packed weights take what declared ones do. `pack` and `unpack` are inverse to each other.
//!
//! Where the number of rows is known when a kernel is compiled, D is a constant for a multiple of 64, and one choice a block else. The rows of a state
//! grow between calls, so for states ([`Packing::Filled`]) the last block is filled up: D is always 64, and no address depends on the number of rows.
//!
//! Fields that stand once for a row are its first units. Fields that stand once for a matrix come after its blocks, which begin with a cache line so.

use tvmc_ir::tile::Format;

/// Rows in a block.
pub const ROWS: usize = 64;

/// How a tensor argument lies in memory.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Packing {
    /// Row after row, as declared.
    #[default]
    AsDeclared,
    /// Row-interleaved, the last block as short as it is.
    Interleaved,
    /// Row-interleaved, the last block filled up with rows that nobody reads.
    Filled,
    /// Plane by plane in vectors (`planes`), the last block filled up.
    Planar,
    /// Plane by plane in words, the last block as short as it is. Only for formats that have such planes ([`crate::planes::Planes::words_of_format`]).
    Words,
}

/// Bytes of a unit for groups of this many bytes.
pub fn unit_bytes(group_bytes: usize) -> usize {
    // All that counts is in the last two bits.
    tvmc_ir::tile::unit_bytes((group_bytes % 4) as u32) as usize
}

/// How the rows of a matrix lie, in units.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rows {
    /// Bytes of a unit.
    pub unit: u32,
    /// Units of a row, with its head.
    pub units: i64,
    /// Units that stand once for a matrix.
    pub head: i64,
}

impl Rows {
    /// Rows of so many elements of a format.
    pub fn of(format: &Format, columns: i64) -> Self {
        let unit = format.unit();
        let groups = (columns.max(0) as u64).div_ceil(u64::from(format.group.max(1)));
        let bytes = groups.saturating_mul(u64::from(format.bytes)).saturating_add(u64::from(format.row_head));
        Self { unit, units: (bytes / u64::from(unit)) as i64, head: i64::from(format.tensor_head / unit) }
    }
}

/// Bytes of the packed form of a matrix with a head, or `None` on overflow.
pub fn packed_matrix_bytes(head: usize, rows: usize, row_bytes: usize) -> Option<usize> {
    packed_bytes(rows, row_bytes)?.checked_add(head)
}

/// Packs a matrix: `head` bytes, then `rows` rows. `output` is [`packed_matrix_bytes`] long.
///
/// # Panics
/// If a length is not what the arguments say.
pub fn pack_matrix(input: &[u8], head: usize, rows: usize, row_bytes: usize, unit: usize, output: &mut [u8]) {
    let (input, output) = pack_head(input, head, output);
    pack(input, rows, row_bytes, unit, output);
}

/// Puts a matrix's head where it belongs in the packed form; gives the rows, and where they go.
///
/// # Panics
/// If either is shorter than the head.
pub fn pack_head<'i, 'o>(input: &'i [u8], head: usize, output: &'o mut [u8]) -> (&'i [u8], &'o mut [u8]) {
    let (blocks, after) = output.split_at_mut(output.len() - head);
    after.copy_from_slice(&input[..head]);
    (&input[head..], blocks)
}

/// The inverse of [`pack_matrix`].
///
/// # Panics
/// If a length is not what the arguments say.
pub fn unpack_matrix(
    input: &[u8],
    head: usize,
    rows: usize,
    row_bytes: usize,
    unit: usize,
    output: &mut [u8],
) {
    let (blocks, after) = input.split_at(rows * row_bytes);
    output[..head].copy_from_slice(after);
    unpack(blocks, rows, row_bytes, unit, &mut output[head..]);
}

/// Bytes of the packed form, those of the declared one, or `None` on overflow.
pub fn packed_bytes(rows: usize, row_bytes: usize) -> Option<usize> {
    rows.checked_mul(row_bytes)
}

/// Where unit `t` of a row is, in units.
fn unit_at(row: usize, t: usize, rows: usize, row_units: usize) -> usize {
    let first = row / ROWS * ROWS;
    first * row_units + t * ROWS.min(rows - first) + (row - first)
}

/// Packs `rows` rows of `row_bytes` bytes. `output` is [`packed_bytes`] long.
///
/// # Panics
/// If a length is not what the arguments say.
pub fn pack(input: &[u8], rows: usize, row_bytes: usize, unit: usize, output: &mut [u8]) {
    assert_eq!(input.len(), rows * row_bytes);
    assert_eq!(Some(output.len()), packed_bytes(rows, row_bytes));
    match unit {
        4 => pack_units::<4>(input, row_bytes, output),
        2 => pack_units::<2>(input, row_bytes, output),
        1 => pack_units::<1>(input, row_bytes, output),
        _ => panic!("units have 1, 2 or 4 bytes, not {unit}"),
    }
}

/// [`pack`] for units of `UNIT` bytes. A constant, since a copy of so few bytes is an instruction then and a call otherwise.
fn pack_units<const UNIT: usize>(input: &[u8], row_bytes: usize, output: &mut [u8]) {
    let block = (ROWS * row_bytes).max(1);
    for (input, output) in input.chunks(block).zip(output.chunks_mut(block)) {
        let rows = input.len() / row_bytes;
        for (row, bytes) in input.chunks_exact(row_bytes).enumerate() {
            let places = output[row * UNIT..].chunks_mut(rows * UNIT);
            for (bytes, place) in bytes.chunks_exact(UNIT).zip(places) {
                place[..UNIT].copy_from_slice(bytes);
            }
        }
    }
}

/// The inverse of [`pack`].
///
/// # Panics
/// If a length is not what the arguments say.
pub fn unpack(input: &[u8], rows: usize, row_bytes: usize, unit: usize, output: &mut [u8]) {
    assert_eq!(output.len(), rows * row_bytes);
    assert_eq!(Some(input.len()), packed_bytes(rows, row_bytes));
    for row in 0..rows {
        for t in 0..row_bytes / unit {
            let at = unit_at(row, t, rows, row_bytes / unit) * unit;
            let to = row * row_bytes + t * unit;
            output[to..to + unit].copy_from_slice(&input[at..at + unit]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte goes to one place and comes back, for groups of every width from 1 to 8 bits, with and without scales before the codes, and every
    /// length of the last block.
    #[test]
    fn packing_is_a_bijection() {
        let lengths = [0, 1, 2, 3, 7, 16, 31, 63, 64, 65, 67, 127, 128, 129, 200];
        for (width, group, scales) in (1..=8).flat_map(|width| {
            [8, 16, 32, 64, 128, 200].into_iter().flat_map(move |group| [0, 2, 4].map(|s| (width, group, s)))
        }) {
            let bytes: usize = group * width / 8 + scales;
            let unit = unit_bytes(bytes);
            assert_eq!(bytes % unit, 0);
            for (rows, groups) in lengths.into_iter().flat_map(|rows| [0, 1, 3].map(|groups| (rows, groups)))
            {
                let row_bytes = bytes * groups;
                // Each number below 2^16 in two passes of bytes: no two units look alike in both.
                for pass in 0..2 {
                    let input: Vec<u8> =
                        (0..rows * row_bytes).map(|i| ((i / unit) >> (8 * pass)) as u8).collect();
                    let mut packed = vec![0xff; packed_bytes(rows, row_bytes).unwrap()];
                    pack(&input, rows, row_bytes, unit, &mut packed);
                    let mut back = vec![0; input.len()];
                    unpack(&packed, rows, row_bytes, unit, &mut back);
                    assert!(input == back, "u{width}[{group}], {scales} bytes of scales, {rows} rows");
                }
            }
        }
    }

    #[test]
    fn unpack_inverts_pack_with_a_head() {
        for (head, rows, row_bytes, unit) in [(0, 3, 8, 4), (4, 65, 12, 4), (6, 64, 10, 2), (130, 1, 7, 1)] {
            let input: Vec<u8> = (0..head + rows * row_bytes).map(|i| (i * 7 + 3) as u8).collect();
            let mut packed = vec![0xff; packed_matrix_bytes(head, rows, row_bytes).unwrap()];
            pack_matrix(&input, head, rows, row_bytes, unit, &mut packed);
            let mut back = vec![0; input.len()];
            unpack_matrix(&packed, head, rows, row_bytes, unit, &mut back);
            assert_eq!(input, back, "{head} bytes, {rows} rows of {row_bytes}");
        }
    }

    #[test]
    fn three_rows_after_a_block() {
        let input: Vec<u8> = (0..67 * 2).collect();
        let mut packed = vec![0; 67 * 2];
        pack(&input, 67, 2, 1, &mut packed);
        assert_eq!(packed[..4], [0, 2, 4, 6]);
        assert_eq!(packed[64..67], [1, 3, 5]);
        assert_eq!(packed[128..], [128, 130, 132, 129, 131, 133]);
    }
}
