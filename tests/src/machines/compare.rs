//! Elements that must be equal, and arguments as they lie in memory.

use super::{Disagreement, wrong};
use crate::generate::{Case, Data};
use tvmc_ir::tile::Element;
use tvmc_passes::packing::{Packing, ROWS, pack_matrix, packed_matrix_bytes, unit_bytes, unpack_matrix};
use tvmc_passes::planes::{self, Planes};
use tvmc_passes::target::{Target, WGSL};
use tvmc_types::dtype::DType;
use tvmc_types::packing::get_bits;

/// Compares elements; any NaN equals any other.
pub(super) fn compare(
    machine: &str,
    place: &str,
    dtype: DType,
    count: usize,
    want: &[u8],
    got: &[u8],
    ulps: u64,
) -> Result<(), Disagreement> {
    for at in 0..count {
        let (w, g) = (get_bits(want, at, dtype.bits()), get_bits(got, at, dtype.bits()));
        let nan = |code| dtype.is_float() && dtype.decode(code).is_nan();
        // WGSL may ignore the sign of zero.
        let zeros = machine == "wgsl" && dtype.is_float() && dtype.decode(w) == dtype.decode(g);
        let nans = nan(w) && nan(g);
        let near =
            dtype.is_float() && !nan(w) && !nan(g) && ordered(dtype, w).abs_diff(ordered(dtype, g)) <= ulps;
        if w != g && !nans && !zeros && !near {
            let (found, must) = (dtype.format(g), dtype.format(w));
            return wrong(machine, format!("element {at} of {place} is {found}, must be {must}"));
        }
    }
    Ok(())
}

/// A float's place in the order of all floats of its type, zeros at 0: neighbours differ by 1.
fn ordered(dtype: DType, code: u64) -> i64 {
    let sign = 1u64 << (dtype.bits() - 1);
    if dtype.decode(code).is_sign_negative() { -((code & (sign - 1)) as i64) } else { code as i64 }
}

/// How a target takes a tensor: in planes what a GPU only reads, in words what a CPU only reads; else with room for more rows, or not, by their number.
pub(super) fn packing_of(case: &Case, data: &Data, target: &Target) -> Packing {
    if !data.packed {
        Packing::AsDeclared
    } else if target.name == WGSL.name && !data.written && planes_of(case, data).is_some() {
        Packing::Planar
    } else if target.name != WGSL.name && !data.written && words_of(case, data).is_some() {
        Packing::Words
    } else {
        interleaving_of(data)
    }
}

/// The words of a matrix, where its groups are no whole number of them. In turn with the other orders, by the number of rows.
fn words_of(case: &Case, data: &Data) -> Option<Planes> {
    let ([rows, _], Element::Format(id)) = (data.shape.as_slice(), data.element) else { return None };
    Planes::words_of_format(&case.kernel.formats[id.index()]).filter(|_| rows % 4 != 0)
}

fn planes_of(case: &Case, data: &Data) -> Option<Planes> {
    match data.element {
        Element::DType(dtype) => Planes::of_dtype(dtype.bits(), *data.shape.last()?),
        Element::Format(id) => {
            let format = &case.kernel.formats[id.index()];
            (format.row_head == 0 && format.tensor_head == 0).then(|| Planes::of_format(format))
        }
    }
}

/// How interleaved rows lie: in both ways, in turn.
fn interleaving_of(data: &Data) -> Packing {
    let rows = data.shape.iter().rev().nth(1).copied().unwrap_or(1);
    if rows % 2 == 0 { Packing::Filled } else { Packing::Interleaved }
}

/// The matrices of a packed tensor: its last two axes.
struct Matrices {
    head: usize,
    rows: usize,
    /// Rows for which there is room.
    room: usize,
    row_bytes: usize,
    unit: usize,
}

fn matrices(case: &Case, data: &Data) -> Matrices {
    let (columns, outer) = data.shape.split_last().unwrap_or((&1, &[]));
    let all: u64 = outer.iter().product();
    let rows = outer.last().copied().unwrap_or(1) as usize;
    let room = match interleaving_of(data) {
        Packing::Filled => rows.next_multiple_of(ROWS),
        Packing::Interleaved | Packing::Planar | Packing::Words | Packing::AsDeclared => rows,
    };
    match data.element {
        Element::DType(dtype) => {
            let row_bytes = data.bytes.len() / all.max(1) as usize;
            Matrices { head: 0, rows, room, row_bytes, unit: unit_bytes((dtype.bits() / 8) as usize) }
        }
        Element::Format(id) => {
            let format = &case.kernel.formats[id.index()];
            let row_bytes = format.row_bytes(*columns).expect("a small row") as usize;
            Matrices {
                head: format.tensor_head as usize,
                rows,
                room,
                row_bytes,
                unit: format.unit() as usize,
            }
        }
    }
}

/// The bytes of a packed tensor as declared: the inverse of [`packed_layout`].
pub(super) fn packed_as_declared(case: &Case, data: &Data, packed: &[u8]) -> Vec<u8> {
    let Matrices { head, rows, room, row_bytes, unit } = matrices(case, data);
    let mut bytes = data.bytes.clone();
    let size = packed_matrix_bytes(head, room, row_bytes).unwrap_or(0).max(1);
    let matrices = bytes.chunks_exact_mut((head + rows * row_bytes).max(1));
    for (matrix, packed) in matrices.zip(packed.chunks_exact(size)) {
        let mut whole = vec![0; head + room * row_bytes];
        unpack_matrix(packed, head, room, row_bytes, unit, &mut whole);
        matrix.copy_from_slice(&whole[..head + rows * row_bytes]);
    }
    bytes
}

/// The bytes as compiled code expects them: packed, and filled up to a multiple of 4.
pub(super) fn packed_layout(case: &Case, data: &Data, packing: Packing) -> Vec<u8> {
    let mut bytes = match (packing, planes_of(case, data)) {
        (Packing::AsDeclared, _) => data.bytes.clone(),
        (Packing::Planar, Some(planes)) => {
            let Matrices { rows, row_bytes, .. } = matrices(case, data);
            let mut packed = Vec::new();
            for matrix in data.bytes.chunks_exact((rows * row_bytes).max(1)) {
                let start = packed.len();
                packed.resize(start + planes::packed_bytes(rows, row_bytes, &planes).unwrap_or(0), 0);
                planes::pack(matrix, rows, row_bytes, &planes, &mut packed[start..]);
            }
            packed
        }
        (Packing::Words, _) => {
            let Matrices { rows, row_bytes, .. } = matrices(case, data);
            let mut packed = data.bytes.clone();
            if let Some(words) = words_of(case, data) {
                planes::pack(&data.bytes, rows, row_bytes, &words, &mut packed);
            }
            packed
        }
        (Packing::Planar | Packing::Interleaved | Packing::Filled, _) => {
            let Matrices { head, rows, room, row_bytes, unit } = matrices(case, data);
            let mut packed = Vec::new();
            for matrix in data.bytes.chunks_exact((head + rows * row_bytes).max(1)) {
                let start = packed.len();
                packed.resize(start + packed_matrix_bytes(head, room, row_bytes).unwrap_or(0), 0);
                let mut whole = matrix.to_vec();
                whole.resize(head + room * row_bytes, 0);
                pack_matrix(&whole, head, room, row_bytes, unit, &mut packed[start..]);
            }
            packed
        }
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An f32 of bytes, for tests that look at single elements.
pub fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(get_bits(bytes, at, DType::F32.bits()) as u32)
}
