//! Planes: the order in which a matrix of a format lies in a GPU's memory, so that every load of codes is one whole vector of up to
//! 16 bytes, and lanes that read neighbouring rows read neighbouring vectors.
//!
//! A group's bytes are cut into *planes*, each a whole number of *units* (16 bytes if it can be, else 8, 4, 2 or 1). Rows go in blocks of [`ROWS`]; in
//! a block plane stands after plane, and within one, unit `t` of all rows lies together:
//!
//! ```text
//! q4_0, 18 bytes: d 2, q 16      planes [0, 2) of one unit of 2 bytes, [2, 18) of one unit of 16
//!
//! a block of 64 rows             d00 d10 d20 ..  d01 d11 d21 ..  ..   (group 0 of 64 rows, group 1 of 64 rows, ..)
//!                                q00 q10 q20 ..  q01 q11 q21 ..  ..
//! ```
//!
//! What `packing` does with one unit for the whole group. 18 bytes have units of 2 there; here the scales are read apart and the codes come 16
//! bytes at a time. A dtype has no groups of its own: so many elements are taken for one that they fill vectors
//! ([`dtype_group`]).
//!
//! It is a bijection on the bytes of whole blocks, the last one filled up with zero rows so that every plane begins at a whole vector: `pack` and
//! `unpack` are inverse to each other.

use crate::packing::ROWS;
use tvmc_ir::tile::Format;

/// Bytes of the widest unit.
const VECTOR: u32 = 16;
/// Most planes of a group: one of vectors and one of each narrower unit.
pub const MAX_PLANES: usize = 5;

/// A stretch of every group's bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Plane {
    /// Its first byte in the group.
    pub start: u32,
    /// Bytes of a unit: a power of two, at most 16.
    pub unit: u32,
    /// Units of a group.
    pub units: u32,
}

impl Plane {
    /// The byte after its last in the group.
    pub fn end(self) -> u32 {
        self.start + self.unit * self.units
    }
}

/// The planes of a group, in order; they cover it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Planes {
    list: [Plane; MAX_PLANES],
    count: usize,
    /// Bytes of a group.
    pub bytes: u32,
}

impl Planes {
    /// Planes of groups of `bytes` bytes whose fields begin at the bytes `starts`. What is left of whole vectors goes first, narrow units before wide
    /// ones, or last, wide before narrow, whichever cuts fewer fields.
    pub fn of(bytes: u32, starts: &[u32]) -> Planes {
        let whole = bytes / VECTOR * VECTOR;
        let rest: Vec<u32> = [8, 4, 2, 1].into_iter().filter(|unit| bytes & unit != 0).collect();
        let lengths = |first: bool| -> Vec<(u32, u32)> {
            let narrow = rest.iter().map(|unit| (*unit, *unit));
            let wide = (whole > 0).then_some((whole, VECTOR));
            if first { narrow.rev().chain(wide).collect() } else { wide.into_iter().chain(narrow).collect() }
        };
        let cuts = |first: bool| {
            let mut at = 0;
            let mut inside = 0;
            for (length, _) in lengths(first) {
                inside += usize::from(!starts.contains(&at));
                at += length;
            }
            inside
        };
        let mut planes = Planes { list: [Plane::default(); MAX_PLANES], count: 0, bytes };
        let mut start = 0;
        for (length, unit) in lengths(cuts(true) <= cuts(false)) {
            planes.list[planes.count] = Plane { start, unit, units: length / unit };
            planes.count += 1;
            start += length;
        }
        planes
    }

    /// The planes of a format's groups.
    pub fn of_format(format: &Format) -> Planes {
        let starts: Vec<u32> = format
            .fields
            .iter()
            .filter(|field| field.bit_offset.is_multiple_of(8))
            .map(|field| field.bit_offset / 8)
            .collect();
        Planes::of(format.bytes, &starts)
    }

    /// The planes of rows of a dtype, or `None` where a row is no whole number of bytes.
    pub fn of_dtype(bits: u32, columns: u64) -> Option<Planes> {
        let group = dtype_group(bits, columns)?;
        Some(Planes::of(group * bits / 8, &[0]))
    }

    /// In order.
    pub fn list(&self) -> &[Plane] {
        &self.list[..self.count]
    }

    /// The plane that holds a byte of the group.
    pub fn of_byte(&self, byte: u32) -> Plane {
        let found = self.list().iter().find(|plane| byte < plane.end());
        found.copied().unwrap_or_default()
    }
}

/// Elements of a dtype that are taken for a group: as many as fill vectors, fewer where rows of `columns` elements are no multiple of that.
/// `None` where a row is no whole number of bytes.
pub fn dtype_group(bits: u32, columns: u64) -> Option<u32> {
    let least = 8 >> bits.trailing_zeros().min(3);
    let mut group = (VECTOR * 8) >> bits.trailing_zeros().min(7);
    while group > least && !columns.is_multiple_of(u64::from(group)) {
        group /= 2;
    }
    columns.is_multiple_of(u64::from(group)).then_some(group)
}

/// Bytes of the packed form, or `None` on overflow.
pub fn packed_bytes(rows: usize, row_bytes: usize) -> Option<usize> {
    rows.div_ceil(ROWS).checked_mul(ROWS)?.checked_mul(row_bytes)
}

/// Calls `visit` with the place of each unit: row by row, its byte in the row as declared, its byte in the packed form, its bytes.
fn units(rows: usize, row_bytes: usize, planes: &Planes, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let groups = row_bytes / (planes.bytes as usize).max(1);
    for row in 0..rows {
        let block = row / ROWS * ROWS * row_bytes;
        for plane in planes.list() {
            let (start, unit, count) = (plane.start as usize, plane.unit as usize, plane.units as usize);
            let base = block + start * groups * ROWS;
            for group in 0..groups {
                for number in 0..count {
                    let from = group * planes.bytes as usize + start + number * unit;
                    let to = base + ((group * count + number) * ROWS + row % ROWS) * unit;
                    visit(row, from, to, unit);
                }
            }
        }
    }
}

/// Packs `rows` rows of `row_bytes` bytes, a whole number of groups. `output` is [`packed_bytes`] long.
///
/// # Panics
/// If a length is not what the arguments say.
pub fn pack(input: &[u8], rows: usize, row_bytes: usize, planes: &Planes, output: &mut [u8]) {
    assert_eq!(input.len(), rows * row_bytes);
    assert_eq!(Some(output.len()), packed_bytes(rows, row_bytes));
    output.fill(0);
    units(rows, row_bytes, planes, |row, from, to, unit| {
        let from = row * row_bytes + from;
        output[to..to + unit].copy_from_slice(&input[from..from + unit]);
    });
}

/// The inverse of [`pack`].
///
/// # Panics
/// If a length is not what the arguments say.
pub fn unpack(input: &[u8], rows: usize, row_bytes: usize, planes: &Planes, output: &mut [u8]) {
    assert_eq!(output.len(), rows * row_bytes);
    assert_eq!(Some(input.len()), packed_bytes(rows, row_bytes));
    units(rows, row_bytes, planes, |row, from, to, unit| {
        let from = row * row_bytes + from;
        output[from..from + unit].copy_from_slice(&input[to..to + unit]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_cover_a_group() {
        for bytes in 1..300 {
            let planes = Planes::of(bytes, &[0, 2, 6]);
            let mut at = 0;
            for plane in planes.list() {
                assert_eq!(plane.start, at, "{bytes} bytes");
                at = plane.end();
                assert_eq!(planes.of_byte(plane.start), *plane);
                assert_eq!(planes.of_byte(at - 1), *plane);
            }
            assert_eq!(at, bytes);
        }
    }

    #[test]
    fn fields_stay_whole() {
        let list = |bytes, starts: &[u32]| -> Vec<(u32, u32, u32)> {
            Planes::of(bytes, starts).list().iter().map(|p| (p.start, p.unit, p.units)).collect()
        };
        assert_eq!(list(18, &[0, 2]), [(0, 2, 1), (2, 16, 1)], "q4_0");
        assert_eq!(list(22, &[0, 2, 6]), [(0, 2, 1), (2, 4, 1), (6, 16, 1)], "q5_0");
        assert_eq!(list(210, &[0, 128, 192, 208]), [(0, 16, 13), (208, 2, 1)], "q6_k");
        assert_eq!(list(144, &[0, 2, 4, 16]), [(0, 16, 9)], "q4_k");
    }

    #[test]
    fn groups_of_dtypes_fill_vectors() {
        let groups: Vec<Option<u32>> = (1..=8).map(|bits| dtype_group(bits, 4096)).collect();
        assert_eq!(groups, [128, 64, 128, 32, 128, 64, 128, 16].map(Some));
        assert_eq!(dtype_group(16, 4096), Some(8));
        assert_eq!(dtype_group(3, 200), Some(8));
        assert_eq!(dtype_group(3, 4), None);
        assert_eq!(dtype_group(4, 6), Some(2));
    }

    #[test]
    fn unpack_inverts_pack() {
        for bytes in [1, 2, 6, 16, 18, 22, 36, 110] {
            let planes = Planes::of(bytes, &[0]);
            for rows in [0, 1, 63, 64, 65, 130] {
                for groups in [0, 1, 3] {
                    let row_bytes = bytes as usize * groups;
                    let input: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 7 + i / 251) as u8).collect();
                    let mut packed = vec![0xff; packed_bytes(rows, row_bytes).unwrap()];
                    pack(&input, rows, row_bytes, &planes, &mut packed);
                    let mut back = vec![0; input.len()];
                    unpack(&packed, rows, row_bytes, &planes, &mut back);
                    assert_eq!(input, back, "{rows} rows of {groups} groups of {bytes} bytes");
                }
            }
        }
    }
}
