//! Row-interleaved packing: the order in which a matrix of a format lies in memory so that lanes, one row each, read
//! neighbouring words, and a block of a matrix-vector product reads one stream from its first byte to its last.
//!
//! A row is a string of *units* (the largest power of two of bytes, at most 4, that divides a group's size). Rows go in
//! blocks of [`ROWS`]; within a block, unit `t` of all 64 rows lies together:
//!
//! ```text
//! unit t of row r   at   ((r / 64) * units_per_row + t) * 64 + r % 64
//!
//! rows      a0 a1 a2 ..      ->   a0 b0 c0 ..   a1 b1 c1 ..   ..
//!           b0 b1 b2 ..           (64 units)    (64 units)
//! ```
//!
//! 64 rows are what a block of `linear` makes at a time; a machine with fewer lanes takes them in chunks that lie side by side.
//! It is a bijection on the bytes of whole blocks; the last block is filled up with zero rows, so the packed size is
//! at most 63 rows more. `pack` and `unpack` are inverse to each other.

/// Rows in a block.
pub const ROWS: usize = 64;

/// How a tensor argument lies in memory.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Packing {
    /// Row after row, as declared.
    #[default]
    AsDeclared,
    /// Row-interleaved.
    Interleaved,
}

/// Bytes of a unit for groups of this many bytes.
pub fn unit_bytes(group_bytes: usize) -> usize {
    match group_bytes {
        b if b % 4 == 0 => 4,
        b if b % 2 == 0 => 2,
        _ => 1,
    }
}

/// Bytes of the packed form, or `None` on overflow.
pub fn packed_bytes(rows: usize, row_bytes: usize) -> Option<usize> {
    rows.div_ceil(ROWS).checked_mul(ROWS)?.checked_mul(row_bytes)
}

/// Packs `rows` rows of `row_bytes` bytes. `output` is [`packed_bytes`] long.
///
/// # Panics
/// If a length is not what the arguments say.
pub fn pack(input: &[u8], rows: usize, row_bytes: usize, unit: usize, output: &mut [u8]) {
    assert_eq!(input.len(), rows * row_bytes);
    assert_eq!(Some(output.len()), packed_bytes(rows, row_bytes));
    for (block, out) in output.chunks_exact_mut((ROWS * row_bytes).max(1)).enumerate() {
        let first = block * ROWS;
        for lane in 0..ROWS {
            let row = first + lane;
            let source = (row < rows).then(|| &input[row * row_bytes..(row + 1) * row_bytes]);
            for t in 0..row_bytes / unit {
                let at = (t * ROWS + lane) * unit;
                match source {
                    Some(bytes) => out[at..at + unit].copy_from_slice(&bytes[t * unit..(t + 1) * unit]),
                    None => out[at..at + unit].fill(0),
                }
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
            let at = ((row / ROWS * (row_bytes / unit) + t) * ROWS + row % ROWS) * unit;
            let to = row * row_bytes + t * unit;
            output[to..to + unit].copy_from_slice(&input[at..at + unit]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_inverts_pack() {
        for unit in [1, 2, 4] {
            for rows in [0, 1, 63, 64, 65, 160] {
                for units in [0, 1, 5, 9] {
                    let row_bytes = unit * units;
                    let input: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 7 + 3) as u8).collect();
                    let mut packed = vec![0xff; packed_bytes(rows, row_bytes).unwrap()];
                    pack(&input, rows, row_bytes, unit, &mut packed);
                    let mut back = vec![0; input.len()];
                    unpack(&packed, rows, row_bytes, unit, &mut back);
                    assert_eq!(input, back, "unit {unit}, {rows} rows of {units} units");
                }
            }
        }
    }
}
