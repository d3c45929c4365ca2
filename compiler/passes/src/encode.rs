//! Stores of fields: whole groups of a tensor of a format, one field at a time.
//!
//! The value's last axis counts entries: entry `e` of group `g` is element `g * count + e`. In memory it lies at
//!
//! ```text
//! row * row_bytes + (column / group + g) * group_bytes + field offset + e * size        (bytes)
//! ```
//!
//! Lanes that lie within one group store neighbours; any others scatter.
//!
//! Refused: fields narrower than a byte or not in storage order, fields that do not begin at a multiple of their size, slices not known to
//! begin with a group, rows whose length is a runtime value.

use crate::eval::{Coord, Position};
use crate::lower::{LowerError, Lowering};
use crate::memory::{Axis, Extent, Inside, mem_of};
use tvmc_ir::lane::{self, Mem, MemoryOp, Place, Pure};
use tvmc_ir::tile::{Element, Format, Index, Inst, Memory, Value};

/// Most lane registers of a stored tile: its chunks are written out.
const MAX_CHUNKS: u64 = 1024;

/// Where the field's entries are, in units of its size.
struct FieldPlace {
    mem: Mem,
    count: u32,
    /// From one group to the next.
    group_stride: i64,
    /// From one row to the next.
    row_stride: i64,
    /// From the start of a group.
    first: i64,
}

impl<'k> Lowering<'k> {
    /// Lowers a store of a field.
    pub(crate) fn store_field(
        &mut self,
        inst: &Inst,
        memory: Memory,
        indices: &[Index],
        field: u32,
    ) -> Result<(), LowerError> {
        let (Some((value, offsets)), Memory::Param(param)) = (inst.args.split_last(), memory) else {
            return self.unsupported("a store of a field to no tensor", Some(inst));
        };
        let (value, offsets) = (*value, offsets.to_vec());
        let tensor = self.tensor(param)?;
        let Element::Format(id) = tensor.element else {
            return self.unsupported("a store of a field of a dtype", Some(inst));
        };
        let format = &self.kernel.formats[id.index()];
        let Some(Extent::Constant(columns)) = tensor.extents.last().copied() else {
            return self.unsupported(
                "the last dimension of a tensor of a format must be known when the kernel is compiled",
                Some(inst),
            );
        };
        let place = self.field_place(format, field, columns, inst)?;
        let shape = self.kernel.ty(value).shape.clone();
        if self.lane_registers(&shape) > MAX_CHUNKS {
            return Err(LowerError::TooLarge {
                what: format!("a store of {shape:?} encoded elements: use smaller tiles"),
            });
        }
        let lanes = self.target.lanes;
        let extent = shape.last().copied().unwrap_or(1);
        let rows: u32 = shape.iter().rev().skip(1).product();
        for row in 0..rows {
            let mut outer = Vec::new();
            let mut rest = row;
            for extent in shape.iter().rev().skip(1) {
                outer.push(Coord::at(rest % extent));
                rest /= extent;
            }
            outer.reverse();
            for start in (0..extent).step_by(lanes as usize) {
                let last = if extent == 1 { Coord::zero() } else { Coord::lanes(start) };
                let at: Vec<Coord> = outer.iter().copied().chain([last]).collect();
                let target = (&tensor, format.group, columns);
                self.store_entries(inst, target, &place, (indices, &offsets), value, &at, extent)?;
            }
        }
        Ok(())
    }

    fn field_place(
        &mut self,
        format: &Format,
        field: u32,
        columns: i64,
        inst: &Inst,
    ) -> Result<FieldPlace, LowerError> {
        let declared = &format.fields[field as usize];
        let size = i64::from(declared.dtype.bits()) / 8;
        let in_order = (0..declared.count).all(|entry| declared.slot(entry) == entry);
        let (bytes, bit) = (i64::from(format.bytes), i64::from(declared.bit_offset));
        let Some(mem) = mem_of(declared.dtype).filter(|_| in_order) else {
            return self.unsupported(
                format!(
                    "storing the field `{}` of `{}` (fields in storage order of 8, 16 or 32 bits can be stored)",
                    declared.name, format.name
                ),
                Some(inst),
            );
        };
        if bytes % size != 0 || bit % (size * 8) != 0 {
            return self.unsupported(
                format!("storing the field `{}` of `{}`, which is not aligned", declared.name, format.name),
                Some(inst),
            );
        }
        let groups = (columns + i64::from(format.group) - 1) / i64::from(format.group);
        Ok(FieldPlace {
            mem,
            count: declared.count,
            group_stride: bytes / size,
            row_stride: groups * bytes / size,
            first: bit / 8 / size,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn store_entries(
        &mut self,
        inst: &Inst,
        (tensor, group, columns): (&crate::memory::Tensor, u32, i64),
        place: &FieldPlace,
        (indices, offsets): (&[Index], &[Value]),
        value: Value,
        at: &[Coord],
        extent: u32,
    ) -> Result<(), LowerError> {
        let lanes = self.target.lanes;
        let (last, outer_at) = match at.split_last() {
            Some(split) => split,
            None => return self.unsupported("a store of a field without an axis", Some(inst)),
        };
        let mut coords = outer_at.to_vec();
        coords.push(Coord::zero());
        let mut axes = self.axes(offsets, indices, &coords)?;
        let Some(column) = axes.pop() else {
            return self.unsupported("a store of a field without an axis", Some(inst));
        };
        let known = column.offset.offset % i64::from(group) == 0
            && (column.offset.value.is_none() || column.offset.facts.multiple % i64::from(group) == 0);
        if !known {
            return self.unsupported(
                format!(
                    "a store to a format from an element that may not be the first of a group of {group}"
                ),
                Some(inst),
            );
        }
        let element = self.eval(value, at)?;
        let extents = &tensor.extents[..tensor.extents.len() - 1];
        let mut mask = self.mask(&axes, extents);
        let (row, stride) = self.address(&axes, extents);
        debug_assert!(stride.is_none(), "lanes lie along the last axis");
        let row_stride = self.emit.i64(place.row_stride);
        let row = self.emit.lmul(row, row_stride);
        // The slice's first group.
        let start = self.position_value(column.offset);
        let size = self.emit.i32(group as i32);
        let groups = self.emit.pure(Pure::IDivU, &[start, size]);
        let wide = self.emit.pure(Pure::I32ToI64, &[groups]);
        let step = self.emit.i64(place.group_stride);
        let start = self.emit.lmul(wide, step);
        let base = self.emit.ladd(row, start);
        let buffer = Place::Buffer(tensor.buffer);
        let first = last.position().offset as u32;
        let same_group =
            !last.has_lanes() || (first % place.count) + lanes.min(extent - first) <= place.count;
        if last.has_lanes() && first + lanes > extent {
            let index = self.coord_value(*last);
            let limit = self.emit.i32(extent as i32);
            let tail = self.emit.pure(Pure::ILtU, &[index, limit]);
            mask = self.emit.both(mask, Some(tail));
        }
        if same_group {
            let number = first / place.count;
            let inside = self.group_inside(&column, i64::from(number * group), columns);
            mask = self.emit.both(mask, inside);
            let more = i64::from(number) * place.group_stride + place.first + i64::from(first % place.count);
            let more = self.emit.i64(more);
            let base = self.emit.ladd(base, more);
            let form = if last.has_lanes() { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
            self.emit.store(form, place.mem, buffer, base, None, element, mask);
            return Ok(());
        }
        let index = self.coord_value(*last);
        let count = self.emit.i32(place.count as i32);
        let number = self.emit.pure(Pure::IDivU, &[index, count]);
        let entry = self.emit.pure(Pure::IRemU, &[index, count]);
        let step = self.emit.i32(place.group_stride as i32);
        let offset = self.emit.pure(Pure::IMul, &[number, step]);
        let offset = self.emit.pure(Pure::IAdd, &[offset, entry]);
        let elements = self.emit.i32(group as i32);
        let elements = self.emit.pure(Pure::IMul, &[number, elements]);
        let from = self.position_value(column.offset);
        let from = self.emit.pure(Pure::IAdd, &[from, elements]);
        let limit = self.emit.i32(columns.min(i64::from(i32::MAX)) as i32);
        let inside = self.emit.pure(Pure::ILtU, &[from, limit]);
        mask = self.emit.both(mask, Some(inside));
        let more = self.emit.i64(place.first);
        let base = self.emit.ladd(base, more);
        self.emit.store(MemoryOp::Scatter, place.mem, buffer, base, Some(offset), element, mask);
        Ok(())
    }

    /// Whether the group that begins this far into the slice begins inside the row.
    fn group_inside(&mut self, column: &Axis, more: i64, columns: i64) -> Option<lane::Value> {
        let position = Position { offset: column.offset.offset + more, ..column.offset };
        let axis = Axis { offset: position, coord: Coord::zero(), slice: None };
        match self.inside(&axis, Extent::Constant(columns)) {
            Inside::Yes => None,
            Inside::If(condition) => Some(condition),
        }
    }
}
