//! Codes that lanes find side by side: where lanes lie along the elements of a group of a row as declared, and a field's entries of 1, 2 or 4 whole
//! bytes follow each other, all lanes read one stretch of memory. So activations in signed bytes decode without a gather.
//!
//! ```text
//! act8    q: i8[32], lanes 0 to 15 are elements 16 to 31      load.contig i8 at the byte of q[16]
//! ```
//!
//! `None` for everything else: codes of other widths, orders and packings, rows that differ by lane.

use crate::lower::Lowering;
use crate::rows::{Distance, Row};
use crate::stored::Bits;
use tvmc_ir::lane::{self, MemoryOp, Pure};
use tvmc_ir::tile::Field;

impl Lowering<'_> {
    /// Entries `first` + lane of a field that begins at bit `start` of the row, in register form.
    pub(crate) fn stream(
        &mut self,
        row: &Row,
        start: Bits,
        field: &Field,
        first: u32,
    ) -> Option<lane::Value> {
        let mem = crate::memory::mem_of(field.dtype)?;
        let bytes = i64::from(mem.bytes());
        let in_order = matches!(field.modes.as_slice(), [mode] if mode.stride == 1);
        let as_declared = matches!(row.apart, Distance::Constant(1)) && row.planar.is_none();
        let shared = row.offset.is_none() && !row.contiguous;
        let bit = start.constant + i64::from(first) * 8 * bytes;
        let whole = i64::from(field.dtype.bits()) == 8 * bytes
            && bit % (8 * bytes) == 0
            && i64::from(row.unit) % bytes == 0
            && start.value.is_none_or(|value| {
                !self.emit.is_varying(value) && self.emit.multiple_of(value) % (8 * bytes) == 0
            });
        if !in_order || !as_declared || !shared || !whole {
            return None;
        }
        let per_unit = self.emit.i64(i64::from(row.unit) / bytes);
        let mut base = self.emit.lmul(row.base, per_unit);
        if let Some(value) = start.value {
            let size = self.emit.i32(8 * bytes as i32);
            let step = self.emit.pure(start.divide, &[value, size]);
            let step = self.emit.pure(Pure::I32ToI64, &[step]);
            base = self.emit.ladd(base, step);
        }
        let constant = self.emit.i64(bit / (8 * bytes));
        let base = self.emit.ladd(base, constant);
        let mask = row.mask.map(|mask| self.emit.splat(mask));
        Some(self.emit.load(MemoryOp::LoadContig, mem, row.place, base, None, mask))
    }
}
