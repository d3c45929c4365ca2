//! Fields of tensors of formats as tiles, and stores of what a tensor holds once.
//!
//! `w.q[n, k +: 64]` is a load from a tensor whose elements are the entries of `q` (`ir::tile::Op::LoadField`): a group of `count` entries lies where the
//! group of elements lies, so entry `e` along a row is entry `e % count` of group `e / count`, and is cut out of its units as a decode body does (`stored`).
//!
//! ```text
//! group 32 { d: f16; q: u4[32]; }       w.d[n, g]         bits 0 to 15 of group g of row n
//!                                       w.q[n, k +: 8]    from bit 16 + 4 (k % 32) of group k / 32
//! ```
//!
//! The head of a matrix is stored byte by byte, each composed of the entries whose bits lie in it.
//!
//! Refused: rows whose length is a runtime value, heads of more than [`MAX_HEAD`] bytes in stores.

use crate::eval::{Coord, Position};
use crate::lower::{LowerError, Lowering};
use crate::memory::{Axis, Extent};
use crate::packing::Rows;
use crate::stored::{Bits, Groups};
use std::collections::HashMap;
use tvmc_ir::lane::{self, Mem, MemoryOp, Place, Pure};
use tvmc_ir::tile::{Field, Index, Inst, Param, Scope};

/// Most bytes of a head that a kernel stores: each is a store of its own.
const MAX_HEAD: u32 = 256;

impl<'k> Lowering<'k> {
    /// An entry of a field of a tensor.
    pub(crate) fn eval_load_field(
        &mut self,
        inst: &Inst,
        param: Param,
        number: u32,
        indices: &[Index],
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let kernel = self.kernel;
        let (Some((format, _)), Some((field, _))) = (kernel.format_of(param), kernel.field_of(param, number))
        else {
            return self.unsupported("a field of no format", Some(inst));
        };
        let tensor = self.tensor(param)?;
        let axes = self.axes(&inst.args, indices, at)?;
        let Some((Extent::Constant(columns), outer)) = tensor.extents.split_last().map(|(l, o)| (*l, o))
        else {
            return self.unsupported(
                "the last dimension of a tensor of a format must be known when the kernel is compiled",
                Some(inst),
            );
        };
        let Some((column, before)) = axes.split_last() else {
            return self.unsupported("a field without axes", Some(inst));
        };
        let groups = match field.scope {
            Scope::Group => (columns.max(0) as u64).div_ceil(u64::from(format.group.max(1))) as i64,
            Scope::Row | Scope::Tensor => 1,
        };
        let mut extents = match field.scope {
            Scope::Group | Scope::Row => outer.to_vec(),
            Scope::Tensor => outer[..outer.len().saturating_sub(1)].to_vec(),
        };
        extents.push(Extent::Constant(groups * i64::from(field.count)));
        let mask = self.mask(&axes, &extents);
        let mut before = before.to_vec();
        if field.scope == Scope::Tensor && !outer.is_empty() {
            before.push(first_row());
        }
        // Wherever rows of elements lie, in planes too.
        let row = self.row_of(&tensor, (&before, outer), (format, columns), mask)?;
        let entries = Groups { elements: field.count, ..Groups::of(format) };
        let group = self.group(entries, column);
        let value = self.field(&row, &group, field, group.index)?;
        Ok(self.zero_outside(value, mask))
    }

    /// Lowers a store of what a tensor holds once.
    pub(crate) fn store_head(
        &mut self,
        inst: &Inst,
        param: Param,
        indices: &[Index],
    ) -> Result<(), LowerError> {
        let kernel = self.kernel;
        let Some((format, _)) = kernel.format_of(param) else {
            return self.unsupported("fields of no format", Some(inst));
        };
        if format.tensor_head > MAX_HEAD {
            let what =
                format!("storing {} bytes of a tensor's own fields: at most {MAX_HEAD}", format.tensor_head);
            return self.unsupported(what, Some(inst));
        }
        let tensor = self.tensor(param)?;
        let Some((Extent::Constant(columns), outer)) = tensor.extents.split_last().map(|(l, o)| (*l, o))
        else {
            return self.unsupported(
                "the last dimension of a tensor that is stored in groups must be known when the kernel is compiled",
                Some(inst),
            );
        };
        let (offsets, values) = inst.args.split_at(indices.len());
        let mut axes = self.axes(offsets, indices, &[])?;
        let mask = self.mask(&axes, &outer[..outer.len().saturating_sub(1)]);
        if !outer.is_empty() {
            axes.push(first_row());
        }
        let rows = Rows::of(format, columns);
        let row = self.row(&tensor, &axes, outer, rows, None)?;
        let (head, _) = self.scope(
            &row,
            Bits { constant: 0, value: None, divide: Pure::IDivU, group: None, within: None, ahead: None },
            Scope::Tensor,
        )?;
        let size = self.emit.i64(i64::from(rows.unit));
        let start = self.emit.lmul(head.base, size);
        let fields: Vec<&Field> = format.fields.iter().filter(|f| f.scope == Scope::Tensor).collect();
        let mut codes: HashMap<(usize, u32), lane::Value> = HashMap::new();
        for byte in 0..format.tensor_head {
            let mut stored = self.emit.i32(0);
            for (at, (field, value)) in fields.iter().zip(values).enumerate() {
                let width = field.dtype.bits();
                for entry in 0..field.count {
                    let first = field.bit_offset + field.slot(entry) * width;
                    if first >= byte * 8 + 8 || first + width <= byte * 8 {
                        continue;
                    }
                    let code = match codes.get(&(at, entry)) {
                        Some(code) => *code,
                        None => {
                            let element = self.eval(*value, &[Coord::at(entry)])?;
                            let code = self.code_of(element, field.dtype);
                            codes.insert((at, entry), code);
                            code
                        }
                    };
                    let right = self.emit.i32((byte * 8).saturating_sub(first) as i32);
                    let left = self.emit.i32(first.saturating_sub(byte * 8) as i32);
                    let code = self.emit.pure(Pure::ShrU, &[code, right]);
                    let code = self.emit.pure(Pure::Shl, &[code, left]);
                    stored = self.emit.pure(Pure::IOr, &[stored, code]);
                }
            }
            let low = self.emit.i32(255);
            let stored = self.emit.pure(Pure::IAnd, &[stored, low]);
            let more = self.emit.i64(i64::from(byte));
            let base = self.emit.ladd(start, more);
            let buffer = Place::Buffer(tensor.buffer);
            self.emit.store(MemoryOp::StoreUniform, Mem::U8, buffer, base, None, stored, mask);
        }
        // One lane stores; stores of groups that follow read it in every lane.
        self.emit.buffer_barrier();
        Ok(())
    }
}

/// The axis of rows at row 0.
fn first_row() -> Axis {
    Axis { offset: Position::constant(0), coord: Coord::zero(), slice: None }
}
