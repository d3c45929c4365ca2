//! Planes: the order in which a matrix of a format lies in memory so that every load of codes is a whole vector of up to 16 bytes on a GPU, a whole word
//! on a CPU, and lanes that read neighbouring rows read neighbouring vectors or words.
//!
//! A group's bytes are cut into *planes*, each a whole number of *units* (16 bytes if it can be, or 4, else the next power of two below). Rows go in blocks
//! of [`ROWS`]; in a block plane stands after plane, and within one, unit `t` of all rows lies together:
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
//! On a GPU it is a bijection on the bytes of whole blocks, the last one filled up with zero rows so that every plane begins at a whole vector. On a CPU
//! the last block is as short as it is, and the words come first in a block, so that they are aligned in any:
//!
//! ```text
//! q4_0 in words                  q00 q10 ..  (word 0 of group 0)  q01 q11 ..  (word 1)  ..  then d00 d10 ..
//! ```
//!
//! `pack` and `unpack` are inverse to each other.

use crate::packing::ROWS;
use tvmc_ir::tile::Format;

/// Bytes of the widest unit on a GPU, and on a CPU.
const VECTOR: u32 = 16;
const WORD: u32 = 4;
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
    /// Bytes of a group that stand before it in a block.
    pub before: u32,
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
    /// How the last block of rows ends.
    pub last: LastBlock,
}

/// What becomes of a last block that has fewer rows than others.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LastBlock {
    /// It is filled up with rows that nobody reads.
    Filled,
    /// It is as short as it is.
    Short,
}

impl Planes {
    /// Planes of vectors for groups of `bytes` bytes whose fields begin at the bytes `starts`.
    pub fn of(bytes: u32, starts: &[u32]) -> Planes {
        Planes::cut(bytes, starts, VECTOR, LastBlock::Filled)
    }

    /// What is left of the widest units goes first, narrow units before wide ones, or last, wide before narrow, whichever cuts fewer fields.
    fn cut(bytes: u32, starts: &[u32], widest: u32, last: LastBlock) -> Planes {
        let whole = bytes / widest * widest;
        let narrower = [8, 4, 2, 1].into_iter().filter(|unit| *unit < widest);
        let rest: Vec<u32> = narrower.filter(|unit| bytes & unit != 0).collect();
        let lengths = |first: bool| -> Vec<(u32, u32)> {
            let narrow = rest.iter().map(|unit| (*unit, *unit));
            let wide = (whole > 0).then_some((whole, widest));
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
        let mut planes = Planes { list: [Plane::default(); MAX_PLANES], count: 0, bytes, last };
        let mut start = 0;
        for (length, unit) in lengths(cuts(true) <= cuts(false)) {
            planes.list[planes.count] = Plane { start, unit, units: length / unit, before: start };
            planes.count += 1;
            start += length;
        }
        if last == LastBlock::Short {
            let known = planes.list;
            for plane in &mut planes.list[..planes.count] {
                let wider = known.iter().filter(|other| other.unit > plane.unit);
                plane.before = wider.map(|other| other.unit * other.units).sum();
            }
        }
        planes
    }

    /// The planes of a format's groups.
    pub fn of_format(format: &Format) -> Planes {
        Planes::of(format.bytes, &starts_of(format))
    }

    /// The planes of a format's groups in words and what is left of those, short blocks last; `None` where interleaving by one unit is as good, or something
    /// stands once for a row or a matrix.
    pub fn words_of_format(format: &Format) -> Option<Planes> {
        let plain = format.row_head == 0 && format.tensor_head == 0;
        let uneven = !format.bytes.is_multiple_of(WORD) && format.bytes > WORD;
        (plain && uneven).then(|| Planes::cut(format.bytes, &starts_of(format), WORD, LastBlock::Short))
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

/// The bytes at which fields begin.
fn starts_of(format: &Format) -> Vec<u32> {
    let whole = format.fields.iter().filter(|field| field.bit_offset.is_multiple_of(8));
    whole.map(|field| field.bit_offset / 8).collect()
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
pub fn packed_bytes(rows: usize, row_bytes: usize, planes: &Planes) -> Option<usize> {
    match planes.last {
        LastBlock::Filled => rows.div_ceil(ROWS).checked_mul(ROWS)?.checked_mul(row_bytes),
        LastBlock::Short => rows.checked_mul(row_bytes),
    }
}

/// A stretch of a block: one unit of the same number of all its rows.
struct Stretch {
    /// Of the block's first row, as declared: its byte in the matrix.
    from: usize,
    /// Its byte in the packed form.
    to: usize,
    rows: usize,
    unit: usize,
}

/// Calls `visit` with each stretch, in the order of the packed form.
fn stretches(rows: usize, row_bytes: usize, planes: &Planes, mut visit: impl FnMut(Stretch)) {
    let groups = row_bytes / (planes.bytes as usize).max(1);
    let mut order = planes.list().to_vec();
    order.sort_by_key(|plane| plane.before);
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let room = match planes.last {
            LastBlock::Filled => ROWS,
            LastBlock::Short => count,
        };
        for plane in &order {
            let (start, unit, units) = (plane.start as usize, plane.unit as usize, plane.units as usize);
            let base = first * row_bytes + plane.before as usize * groups * room;
            for group in 0..groups {
                for number in 0..units {
                    let from = first * row_bytes + group * planes.bytes as usize + start + number * unit;
                    let to = base + (group * units + number) * room * unit;
                    visit(Stretch { from, to, rows: count, unit });
                }
            }
        }
    }
}

/// Copies units of `U` bytes, so many bytes apart.
fn copy<const U: usize>(count: usize, (from, from_step): (&[u8], usize), (to, to_step): (&mut [u8], usize)) {
    for at in 0..count {
        to[at * to_step..][..U].copy_from_slice(&from[at * from_step..][..U]);
    }
}

fn copy_units(unit: usize, count: usize, from: (&[u8], usize), to: (&mut [u8], usize)) {
    match unit {
        16 => copy::<16>(count, from, to),
        8 => copy::<8>(count, from, to),
        4 => copy::<4>(count, from, to),
        2 => copy::<2>(count, from, to),
        _ => copy::<1>(count, from, to),
    }
}

/// Packs `rows` rows of `row_bytes` bytes, a whole number of groups. `output` is [`packed_bytes`] long.
///
/// # Panics
/// If a length is not what the arguments say.
pub fn pack(input: &[u8], rows: usize, row_bytes: usize, planes: &Planes, output: &mut [u8]) {
    assert_eq!(input.len(), rows * row_bytes);
    assert_eq!(Some(output.len()), packed_bytes(rows, row_bytes, planes));
    if planes.last == LastBlock::Filled {
        output.fill(0);
    }
    stretches(rows, row_bytes, planes, |Stretch { from, to, rows, unit }| {
        copy_units(unit, rows, (&input[from..], row_bytes), (&mut output[to..], unit));
    });
}

/// The inverse of [`pack`].
///
/// # Panics
/// If a length is not what the arguments say.
pub fn unpack(input: &[u8], rows: usize, row_bytes: usize, planes: &Planes, output: &mut [u8]) {
    assert_eq!(output.len(), rows * row_bytes);
    assert_eq!(Some(input.len()), packed_bytes(rows, row_bytes, planes));
    stretches(rows, row_bytes, planes, |Stretch { from, to, rows, unit }| {
        copy_units(unit, rows, (&input[to..], unit), (&mut output[from..], row_bytes));
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

    /// Words are aligned and the bytes are those declared, whatever the last block has.
    #[test]
    fn words_come_first_in_a_block() {
        let planes = Planes::cut(18, &[0, 2], WORD, LastBlock::Short);
        let list: Vec<_> = planes.list().iter().map(|p| (p.start, p.unit, p.units, p.before)).collect();
        assert_eq!(list, [(0, 2, 1, 16), (2, 4, 4, 0)]);
        let input: Vec<u8> = (0..3 * 18).collect();
        let mut packed = vec![0; 3 * 18];
        pack(&input, 3, 18, &planes, &mut packed);
        assert_eq!(packed[..8], [2, 3, 4, 5, 20, 21, 22, 23]);
        assert_eq!(packed[48..], [0, 1, 18, 19, 36, 37]);
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
            for planes in [Planes::of(bytes, &[0]), Planes::cut(bytes, &[0], WORD, LastBlock::Short)] {
                for rows in [0, 1, 63, 64, 65, 130] {
                    for groups in [0, 1, 3] {
                        let row_bytes = bytes as usize * groups;
                        let input: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 7 + i / 251) as u8).collect();
                        let mut packed = vec![0xff; packed_bytes(rows, row_bytes, &planes).unwrap()];
                        pack(&input, rows, row_bytes, &planes, &mut packed);
                        let mut back = vec![0; input.len()];
                        unpack(&packed, rows, row_bytes, &planes, &mut back);
                        assert_eq!(input, back, "{rows} rows of {groups} groups of {bytes} bytes");
                    }
                }
            }
        }
    }
}
