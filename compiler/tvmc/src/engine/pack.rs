//! How a weight comes to lie in a machine's memory: packed by the compiler's plan, by all threads.
//!
//! What each arrangement maps is said where it is made: [`tvmc_passes::packing`] and [`tvmc_passes::planes`].

use tvmc_passes::packing;
use tvmc_passes::planes::{self, Planes};

/// How a weight is packed.
pub(super) enum Pack {
    /// Rows interleaved by units of so many bytes.
    Units(usize),
    /// In planes.
    Planes(Planes),
}

impl Pack {
    /// Bytes of the packed form: those of the declared one, or in planes those of up to 63 rows more.
    pub(super) fn bytes(&self, head: usize, rows: usize, row: usize) -> Option<usize> {
        match self {
            Pack::Units(_) => packing::packed_matrix_bytes(head, rows, row),
            Pack::Planes(planes) => planes::packed_bytes(rows, row, planes),
        }
    }

    /// Packs a matrix. Whole blocks of rows are dealt out to `threads`: most of the time goes into memory that is touched for the first time.
    pub(super) fn run(
        &self,
        bytes: &[u8],
        head: usize,
        rows: usize,
        row: usize,
        output: &mut [u8],
        threads: usize,
    ) {
        let (bytes, output) = packing::pack_head(bytes, head, output);
        let part = |bytes: &[u8], output: &mut [u8]| match self {
            Pack::Units(unit) => packing::pack(bytes, bytes.len() / row, row, *unit, output),
            Pack::Planes(planes) => planes::pack(bytes, bytes.len() / row, row, planes, output),
        };
        let share = rows.div_ceil(packing::ROWS).div_ceil(threads.max(1)) * packing::ROWS * row;
        if bytes.len() < PACKED_ALONE || share == 0 {
            return if row > 0 {
                part(bytes, output)
            };
        }
        std::thread::scope(|scope| {
            for (bytes, output) in bytes.chunks(share).zip(output.chunks_mut(share)) {
                scope.spawn(move || part(bytes, output));
            }
        });
    }
}

/// Bytes below which a matrix is packed by one thread: starting another takes as long.
const PACKED_ALONE: usize = 256 << 10;
