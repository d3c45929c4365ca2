//! Addresses of rows: a tensor in groups is a stack of matrices, a matrix what it stores once and then its rows (`ir::tile::Format`), as declared or packed
//! (`packing`). All counts are of units.
//!
//! ```text
//! as declared   row r of matrix m   at   m * (head + N * row) + head + r * row
//! packed                                 m * (N * row + head) + r / 64 * 64 * row + r % 64      unit t: t D further (`packing`)
//! the head of matrix m                   before its rows, where they are packed behind them
//! ```
//!
//! Uniform parts are counted in 64 bits; what differs by lane in 32.

use crate::eval::{Coord, Position};
use crate::lower::{LowerError, Lowering};
use crate::memory::{Address, Axis, Extent, Tensor};
use crate::packing::{Packing, ROWS, Rows};
use crate::planar::Planar;
use tvmc_ir::lane::{self, Place, Pure};

/// Where a row's units are: unit `t` of the row is element `base + offset[lane] + t * apart` of the buffer seen as units.
#[derive(Copy, Clone)]
pub(crate) struct Row {
    /// The buffer.
    pub place: Place,
    /// Bytes of a unit.
    pub unit: u32,
    /// u.i64.
    pub base: lane::Value,
    /// v.i32; absent where lanes share a row or read neighbours.
    pub offset: Option<lane::Value>,
    /// From one unit to the next.
    pub apart: Distance,
    /// Lane `l` reads `l` further: packed rows, one lane each.
    pub contiguous: bool,
    /// Present where the row may lie outside.
    pub mask: Option<lane::Value>,
    /// Where the fields of its matrix are, if there are any.
    pub matrix: Option<MatrixHead>,
    /// Instead of all but `place` and `mask`, where the row lies in planes.
    pub planar: Option<Planar>,
}

/// A number of units between neighbours of a row: 1, or the rows of its packed block.
#[derive(Copy, Clone)]
pub(crate) enum Distance {
    /// Known.
    Constant(i32),
    /// An i32, which differs by lane where lanes have rows of different blocks.
    Value(lane::Value),
}

/// Where what stands once for a matrix is: units from `base + offset[lane]`.
#[derive(Copy, Clone)]
pub(crate) struct MatrixHead {
    /// u.i64.
    pub base: lane::Value,
    /// v.i32, where lanes have matrices of their own.
    pub offset: Option<lane::Value>,
    /// Present where the matrix may lie outside.
    pub mask: Option<lane::Value>,
}

impl Lowering<'_> {
    /// The row's address. Outer axes are flattened row-major.
    pub(crate) fn row(
        &mut self,
        tensor: &Tensor,
        outer: &[Axis],
        extents: &[Extent],
        rows: Rows,
        mask: Option<lane::Value>,
    ) -> Result<Row, LowerError> {
        let row = self.row_of_all(tensor, outer, extents, rows, mask)?;
        if rows.head == 0 {
            return Ok(row);
        }
        // So far as if matrices had no heads: one for each before this one comes in between, and its own first or, where it is packed, last.
        let (matrix, extents, count) = match (outer.split_last(), extents.split_last()) {
            (Some((_, matrix)), Some((count, extents))) => (matrix, extents, *count),
            (None, _) | (_, None) => (outer, extents, Extent::Constant(1)),
        };
        let head_mask = if matrix.is_empty() { None } else { mask };
        let matrix = self.address(matrix, extents);
        let varying = self.by_lane(&matrix);
        let head = self.emit.i64(rows.head);
        let before = self.emit.lmul(matrix.base, head);
        let mut start = self.emit.ladd(row.base, before);
        let count = self.packed_rows(tensor.packing, count);
        let units = self.emit.i64(rows.units);
        let all_rows = self.emit.lmul(count, units);
        let units = self.emit.ladd(all_rows, head);
        let mut at = self.emit.lmul(matrix.base, units);
        match tensor.packing {
            Packing::AsDeclared => start = self.emit.ladd(start, head),
            Packing::Interleaved | Packing::Filled | Packing::Planar | Packing::Words => {
                at = self.emit.ladd(at, all_rows);
            }
        }
        let mut offset = row.offset;
        let mut apart = None;
        if let Some(varying) = varying {
            let head = self.emit.i32(rows.head as i32);
            let before = self.emit.pure(Pure::IMul, &[varying, head]);
            offset = Some(self.sum(offset, before));
            let units = self.emit.pure(Pure::I64ToI32, &[units]);
            apart = Some(self.emit.pure(Pure::IMul, &[varying, units]));
        }
        let matrix = Some(MatrixHead { base: at, offset: apart, mask: head_mask });
        Ok(Row { base: start, offset, matrix, ..row })
    }

    /// As [`Self::row`] where matrices have no heads.
    fn row_of_all(
        &mut self,
        tensor: &Tensor,
        outer: &[Axis],
        extents: &[Extent],
        Rows { unit, units: row_units, head: _ }: Rows,
        mask: Option<lane::Value>,
    ) -> Result<Row, LowerError> {
        let place = Place::Buffer(tensor.buffer);
        match tensor.packing {
            Packing::AsDeclared => {
                let Address { base: rows, stride, spread } = self.address(outer, extents);
                let units = self.emit.i64(row_units);
                let base = self.emit.lmul(rows, units);
                let per_row = self.emit.i32(row_units as i32);
                let mut offset = spread.map(|rows| self.emit.pure(Pure::IMul, &[rows, per_row]));
                if let Some(stride) = stride {
                    let stride = self.stride_value(stride);
                    let step = self.emit.pure(Pure::IMul, &[stride, per_row]);
                    let lane = self.emit.lane_index();
                    let lanes = self.emit.pure(Pure::IMul, &[lane, step]);
                    offset = Some(self.sum(offset, lanes));
                }
                Ok(Row {
                    place,
                    unit,
                    base,
                    offset,
                    apart: Distance::Constant(1),
                    contiguous: false,
                    mask,
                    matrix: None,
                    planar: None,
                })
            }
            Packing::Interleaved | Packing::Filled => {
                self.packed_row(tensor.packing, (outer, extents), row_units, unit, place, mask)
            }
            Packing::Planar | Packing::Words => {
                self.unsupported("a store to a tensor whose rows lie in planes", None)
            }
        }
    }

    /// `(m * rows + r / 64 * 64) * row_units + t * D + r % 64` for row r of matrix m, with D as `packing` says.
    fn packed_row(
        &mut self,
        packing: Packing,
        (outer, extents): (&[Axis], &[Extent]),
        row_units: i64,
        unit: u32,
        place: Place,
        mask: Option<lane::Value>,
    ) -> Result<Row, LowerError> {
        let (Some((axis, matrix)), Some((rows, extents))) = (outer.split_last(), extents.split_last()) else {
            return self.unsupported("a packed tensor without rows", None);
        };
        let size = ROWS as i32;
        let total = self.total(axis);
        let matrix = self.address(matrix, extents);
        let matrix_rows = self.packed_rows(packing, *rows);
        let lanes = i64::from(self.target.lanes);
        let one_row = !axis.coord.has_lanes();
        // Neighbouring rows of one block: lane l is row l of them.
        let neighbours =
            i64::from(size) % lanes == 0 && total.facts.multiple % lanes == 0 && total.offset % lanes == 0;
        let varies = total.value.is_some_and(|value| self.emit.is_varying(value));
        let uniform = matrix.stride.is_none() && matrix.spread.is_none() && !varies;
        if uniform && (one_row || neighbours) {
            let (block, within) = self.block_of_rows(total, size);
            let apart = self.block_rows(packing, *rows, block);
            let base = self.packed_start(matrix.base, matrix_rows, (block, within), row_units);
            return Ok(Row {
                place,
                unit,
                base,
                offset: None,
                apart,
                contiguous: !one_row,
                mask,
                matrix: None,
                planar: None,
            });
        }
        let index = match axis.coord {
            Coord::At(_) => self.position_value(total),
            Coord::Lanes(_) => self.coord_value(Coord::Lanes(total)),
        };
        let in_block = self.emit.i32(size);
        let block = self.emit.pure(Pure::IDivU, &[index, in_block]);
        let within = self.emit.pure(Pure::IRemU, &[index, in_block]);
        let apart = self.block_rows(packing, *rows, block);
        // What varies is counted in 32 bits from the first matrix that is the same for all lanes.
        let mut first = self.emit.pure(Pure::IMul, &[block, in_block]);
        if let Some(matrix) = self.by_lane(&matrix) {
            let rows = self.emit.pure(Pure::I64ToI32, &[matrix_rows]);
            let before = self.emit.pure(Pure::IMul, &[matrix, rows]);
            first = self.emit.pure(Pure::IAdd, &[first, before]);
        }
        let per_row = self.emit.i32(row_units as i32);
        let start = self.emit.pure(Pure::IMul, &[first, per_row]);
        let offset = self.emit.pure(Pure::IAdd, &[start, within]);
        let before = self.emit.lmul(matrix.base, matrix_rows);
        let units = self.emit.i64(row_units);
        let base = self.emit.lmul(before, units);
        let offset = Some(offset);
        Ok(Row { place, unit, base, offset, apart, contiguous: false, mask, matrix: None, planar: None })
    }

    /// The rows of a block.
    pub(crate) fn block_rows(&mut self, packing: Packing, rows: Extent, block: lane::Value) -> Distance {
        let size = ROWS as i64;
        match (packing, rows) {
            (Packing::Filled | Packing::Planar | Packing::AsDeclared, _) => Distance::Constant(size as i32),
            (Packing::Interleaved | Packing::Words, Extent::Constant(rows)) if rows % size == 0 => {
                Distance::Constant(size as i32)
            }
            (Packing::Interleaved | Packing::Words, Extent::Constant(rows)) if rows < size => {
                Distance::Constant(rows as i32)
            }
            (Packing::Interleaved | Packing::Words, Extent::Constant(rows)) => {
                let whole = rows / size;
                if let Some(block) = self.emit.known_i32(block) {
                    let rows = if i64::from(block) < whole { size } else { rows % size };
                    return Distance::Constant(rows as i32);
                }
                let (whole, size, rest) = (
                    self.emit.i32(whole as i32),
                    self.emit.i32(size as i32),
                    self.emit.i32((rows % size) as i32),
                );
                let is_whole = self.emit.pure(Pure::ILtU, &[block, whole]);
                Distance::Value(self.emit.pure(Pure::Select, &[is_whole, size, rest]))
            }
            (Packing::Interleaved | Packing::Words, Extent::Runtime(rows, _)) => {
                let size = self.emit.i32(size as i32);
                let before = self.emit.pure(Pure::IMul, &[block, size]);
                let rest = self.emit.pure(Pure::ISub, &[rows, before]);
                Distance::Value(self.emit.pure(Pure::IMinS, &[size, rest]))
            }
        }
    }

    /// The block of a row that is the same for all lanes, and its place in it, u.i32.
    pub(crate) fn block_of_rows(&mut self, row: Position, size: i32) -> (lane::Value, lane::Value) {
        let rows = self.emit.i32(size);
        match row.value {
            Some(value) if row.facts.multiple % i64::from(size) == 0 => {
                // Chunks of a block share its start: what is added to whole blocks says the place in one.
                let (whole, within) = self.constant_place(row.offset, size);
                let block = self.emit.pure(Pure::IDivU, &[value, rows]);
                (self.emit.pure(Pure::IAdd, &[block, whole]), within)
            }
            Some(_) => {
                let index = self.position_value(row);
                let block = self.emit.pure(Pure::IDivU, &[index, rows]);
                (block, self.emit.pure(Pure::IRemU, &[index, rows]))
            }
            None => self.constant_place(row.offset, size),
        }
    }

    fn constant_place(&mut self, row: i64, size: i32) -> (lane::Value, lane::Value) {
        let block = self.emit.i32(row.div_euclid(i64::from(size)) as i32);
        (block, self.emit.i32(row.rem_euclid(i64::from(size)) as i32))
    }

    /// The rows for which a packed matrix has room, u.i64.
    fn packed_rows(&mut self, packing: Packing, rows: Extent) -> lane::Value {
        let size = ROWS as i64;
        match (packing, rows) {
            (Packing::Interleaved | Packing::Words | Packing::AsDeclared, Extent::Constant(rows)) => {
                self.emit.i64(rows)
            }
            (Packing::Interleaved | Packing::Words | Packing::AsDeclared, Extent::Runtime(rows, _)) => {
                self.emit.pure(Pure::I32ToI64, &[rows])
            }
            (Packing::Filled | Packing::Planar, Extent::Constant(rows)) => {
                self.emit.i64((rows + size - 1) / size * size)
            }
            (Packing::Filled | Packing::Planar, Extent::Runtime(rows, _)) => {
                let more = self.emit.i32(size as i32 - 1);
                let rows = self.emit.pure(Pure::IAdd, &[rows, more]);
                let size = self.emit.i32(size as i32);
                let blocks = self.emit.pure(Pure::IDivU, &[rows, size]);
                let (blocks, size) = (self.emit.pure(Pure::I32ToI64, &[blocks]), self.emit.i64(ROWS as i64));
                self.emit.lmul(blocks, size)
            }
        }
    }

    /// The first unit of a row that is the same for all lanes, by its matrix, its block and its place in that.
    fn packed_start(
        &mut self,
        matrix: lane::Value,
        matrix_rows: lane::Value,
        (block, within): (lane::Value, lane::Value),
        row_units: i64,
    ) -> lane::Value {
        let before = self.emit.lmul(matrix, matrix_rows);
        let units = self.emit.i64(row_units);
        let before = self.emit.lmul(before, units);
        let block = self.emit.pure(Pure::I32ToI64, &[block]);
        let block_units = self.emit.i64(row_units * ROWS as i64);
        let start = self.emit.lmul(block, block_units);
        let start = self.emit.ladd(before, start);
        let within = self.emit.pure(Pure::I32ToI64, &[within]);
        self.emit.ladd(start, within)
    }
}
