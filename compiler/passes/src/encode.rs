//! Stores of whole groups of formats, and of elements narrower than a byte.
//!
//! A field of 8, 16 or 32 bits an entry that lies in storage order at a multiple of its size is stored entry by entry:
//!
//! ```text
//! start of the row + row_head + (column / group + g) * group_bytes + field offset + e * size        (bytes)
//! ```
//!
//! Every other byte of a group is **composed**: one lane gathers the entries whose bits lie in it, shifts them to their place, and stores
//! the byte. So no byte is ever read back or written by two lanes, whatever the widths and the order of the fields:
//!
//! ```text
//! q: u4[32] @ column_local(2, 16).reshape(32)    byte j = code of entry j | code of entry j + 16 << 4
//! s: u6[4]                                       byte 1 = entry 1 >> 2 | entry 2 << 4
//! ```
//!
//! A tensor of a narrow dtype is stored as if its elements came in groups of the fewest that fill bytes: 8 of `u3`, 2 of `e2m1`.
//!
//! The fields of a row are stored likewise, as if its head were a group of their own; those of a tensor are not stored with groups.
//!
//! Where rows are packed (`packing`), an entry lies in its unit as it does in a declared row, and units lie apart: see `store_entries`.
//!
//! Refused: slices not known to begin with a group, rows whose length is a runtime value; of narrow dtypes that are packed, rows and slices that end within a byte
//! (as declared, those are stored element by element: `bits`).

use crate::bits::fewest;
use crate::eval::{Coord, Position};
use crate::lower::{ArenaTile, LowerError, Lowering};
use crate::memory::{Axis, Extent, Inside, Tensor, mem_of};
use crate::order::Stored;
use crate::packing::{Packing, Rows};
use crate::rows::Distance;
use tvmc_ir::lane::{self, Mem, MemoryOp, Op as LaneOp, Place, Pure, Scalar};
use tvmc_ir::tile::{Element, Field, FieldMode, Format, Index, Inst, Memory, Param, Scope, Value};
use tvmc_types::dtype::DType;

/// Most chunks of a stored row: they are written out.
const MAX_CHUNKS: u64 = 1024;
/// Chunks of a store up to which its rows are written out.
const WRITTEN_OUT: u64 = 128;

/// What is stored to: a tensor in groups.
struct Target<'f> {
    tensor: Tensor,
    rows: Rows,
    /// Bytes before the first group of a row.
    head: u32,
    /// Elements of a group. For the fields of a row, those of the slice: the row is one group, and its bytes those of its head.
    group: u32,
    /// Its bytes.
    bytes: u32,
    /// Elements of a row.
    columns: i64,
    fields: Vec<&'f Field>,
}

/// Which entries a store's lanes write.
#[derive(Copy, Clone)]
enum Spread {
    /// One, for all of them.
    None,
    /// Neighbours.
    Lanes,
    /// Each one so much further.
    By(lane::Value),
}

/// Where a directly stored field's entries are, in units of its size.
struct FieldPlace {
    mem: Mem,
    count: u32,
    /// From one group to the next.
    group_stride: i64,
    /// From the start of a group.
    first: i64,
}

/// One row of the stored slice.
struct StoredRow {
    /// Whether it is inside.
    mask: Option<lane::Value>,
    /// Its first unit, u.i64.
    start: lane::Value,
    /// Units from one of the row to the next.
    apart: Distance,
    /// The slice's first group in the row, u.i64.
    group: lane::Value,
    /// The slice along the row.
    column: Axis,
}

/// One term of a composed byte, for each of the composed bytes of a group: the entry's code is shifted right, then left.
struct Piece {
    /// The field's number.
    field: usize,
    /// None where no entry has bits.
    entry: Vec<Option<u32>>,
    right: Vec<u32>,
    left: Vec<u32>,
}

/// Gets the coordinates before the last axis, the first element of a chunk of it, and its extent.
type Visit<'a, 'k> = dyn FnMut(&mut Lowering<'k>, &[Coord], u32, u32) -> Result<(), LowerError> + 'a;

impl<'k> Lowering<'k> {
    /// Lowers a store of whole groups.
    pub(crate) fn store_groups(
        &mut self,
        inst: &Inst,
        memory: Memory,
        indices: &[Index],
    ) -> Result<(), LowerError> {
        let Memory::Param(param) = memory else {
            return self.unsupported("a store of groups to no tensor", Some(inst));
        };
        self.ordered(inst, (param, indices), Stored::Otherwise, |this| {
            this.store_all_groups(inst, param, indices)
        })
    }

    fn store_all_groups(&mut self, inst: &Inst, param: Param, indices: &[Index]) -> Result<(), LowerError> {
        let tensor = self.tensor(param)?;
        let Element::Format(id) = tensor.element else {
            return self.unsupported("a store of groups to a tensor of a dtype", Some(inst));
        };
        let format: &'k Format = &self.kernel.formats[id.index()];
        let columns = self.columns(&tensor, inst)?;
        let (offsets, values) = inst.args.split_at(indices.len());
        let stored: Vec<&Field> = format.stored_fields().into_iter().map(|at| &format.fields[at]).collect();
        let rows = Rows::of(format, columns);
        for scope in [Scope::Row, Scope::Group] {
            let of_scope = |field: &Field| field.scope == scope;
            let fields: Vec<&Field> = stored.iter().copied().filter(|field| of_scope(field)).collect();
            if fields.is_empty() {
                continue;
            }
            let (head, group) = match (scope, indices.last()) {
                (Scope::Row, Some(Index::Slice(whole))) => (0, *whole),
                (Scope::Row | Scope::Group | Scope::Tensor, _) => (format.row_head, format.group),
            };
            let values: Vec<Value> =
                stored.iter().zip(values).filter(|(field, _)| of_scope(field)).map(|(_, v)| *v).collect();
            let (tensor, bytes) = (tensor.clone(), format.scope_bytes(scope));
            let target = Target { tensor, rows, head, group, bytes, columns, fields };
            self.store_fields(inst, &target, (indices, offsets), &values)?;
        }
        Ok(())
    }

    /// Lowers a store to a tensor of a dtype that memory operations don't know.
    pub(crate) fn store_narrow(
        &mut self,
        inst: &Inst,
        tensor: Tensor,
        dtype: DType,
        indices: &[Index],
    ) -> Result<(), LowerError> {
        let (offsets, values) = inst.args.split_at(indices.len());
        let bits = dtype.bits();
        if bits > 8 && tensor.packing == Packing::AsDeclared {
            return self.unsupported(format!("storing to a tensor of {dtype}"), Some(inst));
        }
        let group = fewest(dtype);
        let columns = self.columns(&tensor, inst)?;
        let whole = match (indices.last(), values) {
            (Some(Index::Slice(size)), [_]) => size % group == 0 && columns % i64::from(group) == 0,
            (Some(Index::Slice(_) | Index::Point) | None, _) => group == 1,
        };
        let point = matches!(indices.last(), Some(Index::Point) | None);
        let scalar = values.first().is_some_and(|value| self.kernel.ty(*value).is_scalar());
        if !whole || (point && !(group == 1 && scalar)) {
            return self.unsupported(
                format!(
                    "a store of {dtype} elements that may share a byte with others (rows and slices along the last dimension must be multiples of {group} elements)"
                ),
                Some(inst),
            );
        }
        let field = Field {
            name: dtype.name().to_owned(),
            dtype,
            count: group,
            scope: Scope::Group,
            bit_offset: 0,
            modes: vec![FieldMode { size: group, stride: 1 }],
        };
        let bytes = group * bits / 8;
        let unit = tvmc_ir::tile::unit_bytes(bytes);
        let units = (columns + i64::from(group) - 1) / i64::from(group) * i64::from(bytes / unit);
        let rows = Rows { unit, units, head: 0 };
        let target = Target { tensor, rows, head: 0, group, bytes, columns, fields: vec![&field] };
        self.store_fields(inst, &target, (indices, offsets), values)
    }

    fn columns(&mut self, tensor: &Tensor, inst: &Inst) -> Result<i64, LowerError> {
        match tensor.extents.last().copied() {
            Some(Extent::Constant(columns)) => Ok(columns),
            Some(Extent::Runtime(..)) | None => self.unsupported(
                "the last dimension of a tensor that is stored in groups must be known when the kernel is compiled",
                Some(inst),
            ),
        }
    }

    fn store_fields(
        &mut self,
        inst: &Inst,
        target: &Target<'_>,
        access: (&[Index], &[Value]),
        values: &[Value],
    ) -> Result<(), LowerError> {
        let mut direct = vec![false; target.bytes as usize];
        let mut places = Vec::new();
        for field in &target.fields {
            let place = field_place(target, field);
            if place.is_some() {
                let first = field.bit_offset / 8;
                let bytes = field.count * field.dtype.bits() / 8;
                direct[first as usize..(first + bytes) as usize].fill(true);
            }
            places.push(place);
        }
        for (value, place) in values.iter().zip(&places) {
            if let Some(place) = place {
                self.store_direct(inst, target, place, access, *value)?;
            }
        }
        let composed: Vec<u32> = (0..target.bytes).filter(|b| !direct[*b as usize]).collect();
        if composed.is_empty() {
            return Ok(());
        }
        let mut tiles = Vec::new();
        for (value, place) in values.iter().zip(&places) {
            tiles.push(match place {
                Some(_) => None,
                None => Some(self.move_to_arena(*value)?),
            });
        }
        let pieces = pieces(&target.fields, &composed, &places);
        let Some(shape) = values.first().map(|v| self.kernel.ty(*v).shape.clone()) else { return Ok(()) };
        let groups = shape.last().copied().unwrap_or(1) / target.fields[0].count;
        let mut bytes = shape;
        if let Some(last) = bytes.last_mut() {
            *last = groups * composed.len() as u32;
        }
        self.for_each_row(&bytes, &mut |this, outer, start, extent| {
            let row = this.stored_row(inst, target, access, outer)?;
            this.store_composed(target, &row, &composed, (&pieces, &tiles), outer, start, extent)
        })
    }

    /// Visits chunks of lanes along the last axis: the coordinates before it, the first element of the chunk, the axis' extent. Many rows are loops.
    fn for_each_row(&mut self, shape: &[u32], visit: &mut Visit<'_, 'k>) -> Result<(), LowerError> {
        let extent = shape.last().copied().unwrap_or(1);
        if self.lane_registers(&[extent]) > MAX_CHUNKS {
            return Err(LowerError::TooLarge {
                what: format!("a store of {shape:?} encoded elements: use tiles with shorter rows"),
            });
        }
        let rows = &shape[..shape.len().saturating_sub(1)];
        if self.lane_registers(shape) <= WRITTEN_OUT {
            let count: u32 = rows.iter().product();
            for row in 0..count {
                let mut outer = Vec::new();
                let mut rest = row;
                for extent in rows.iter().rev() {
                    outer.push(Coord::at(rest % extent));
                    rest /= extent;
                }
                outer.reverse();
                self.visit_row(&outer, extent, visit)?;
            }
            return Ok(());
        }
        let mut outer = Vec::new();
        for extent in rows {
            outer.push(match extent {
                1 => Coord::zero(),
                _ => Coord::At(self.open_loop(*extent, 1, true, &[]).0),
            });
        }
        self.visit_row(&outer, extent, visit)?;
        for _ in rows.iter().filter(|extent| **extent != 1) {
            self.close_loop(&[]);
        }
        Ok(())
    }

    fn visit_row(
        &mut self,
        outer: &[Coord],
        extent: u32,
        visit: &mut Visit<'_, 'k>,
    ) -> Result<(), LowerError> {
        for start in (0..extent).step_by(self.target.lanes as usize) {
            visit(self, outer, start, extent)?;
        }
        Ok(())
    }

    fn stored_row(
        &mut self,
        inst: &Inst,
        target: &Target<'_>,
        (indices, offsets): (&[Index], &[Value]),
        outer: &[Coord],
    ) -> Result<StoredRow, LowerError> {
        let mut coords = outer.to_vec();
        coords.push(Coord::zero());
        let mut axes = self.axes(offsets, indices, &coords)?;
        let Some(column) = axes.pop() else {
            return self.unsupported("a store of groups without an axis", Some(inst));
        };
        let group = i64::from(target.group);
        let known = column.offset.offset % group == 0
            && (column.offset.value.is_none() || column.offset.facts.multiple % group == 0);
        if !known {
            return self.unsupported(
                format!("a store from an element that may not be the first of a group of {group}"),
                Some(inst),
            );
        }
        let extents = &target.tensor.extents[..target.tensor.extents.len() - 1];
        let mask = self.mask(&axes, extents);
        // Lanes lie along the last axis, so a row is the same for all of them.
        let placed = self.row(&target.tensor, &axes, extents, target.rows, None)?;
        let (start, apart) = (placed.base, placed.apart);
        let first = self.position_value(column.offset);
        let size = self.emit.i32(target.group as i32);
        // Exactly; a slice may begin before the first group.
        let divide =
            if column.offset.facts.lo >= 0 && column.offset.offset >= 0 { Pure::IDivU } else { Pure::IDivS };
        let groups = self.emit.pure(divide, &[first, size]);
        let group = self.emit.pure(Pure::I32ToI64, &[groups]);
        Ok(StoredRow { mask, start, apart, group, column })
    }

    /// Stores entries of a row: `first` of the slice, in units of the memory's elements from its first group, and where they vary, `more` by
    /// lane. Neighbours in a packed row are a block's rows apart.
    fn store_entries(
        &mut self,
        target: &Target<'_>,
        row: &StoredRow,
        mem: Mem,
        (first, more): (i64, Spread),
        element: lane::Value,
        mask: Option<lane::Value>,
    ) {
        let size = i64::from(mem.bytes());
        let buffer = Place::Buffer(target.tensor.buffer);
        let step = self.emit.i64(i64::from(target.bytes) / size);
        let group = self.emit.lmul(row.group, step);
        let first = self.emit.i64(first + i64::from(target.head) / size);
        let within = self.emit.ladd(group, first);
        let per_unit = i64::from(target.rows.unit) / size;
        let scale = self.emit.i64(per_unit);
        let start = self.emit.lmul(row.start, scale);
        if target.tensor.packing == Packing::AsDeclared {
            let base = self.emit.ladd(start, within);
            let (form, offset) = match more {
                Spread::None => (MemoryOp::StoreUniform, None),
                Spread::Lanes => (MemoryOp::StoreContig, None),
                Spread::By(offset) => (MemoryOp::Scatter, Some(offset)),
            };
            self.emit.store(form, mem, buffer, base, offset, element, mask);
            return;
        }
        // Entry e of the row is entry e % n of unit e / n.
        let mut entry = self.emit.pure(Pure::I64ToI32, &[within]);
        let (form, lanes) = match more {
            Spread::None => (MemoryOp::StoreUniform, None),
            Spread::Lanes => (MemoryOp::Scatter, Some(self.emit.lane_index())),
            Spread::By(offset) => (MemoryOp::Scatter, Some(offset)),
        };
        if let Some(lanes) = lanes {
            entry = self.emit.pure(Pure::IAdd, &[entry, lanes]);
        }
        let n = self.emit.i32(per_unit as i32);
        let unit = self.emit.pure(Pure::IDivU, &[entry, n]);
        let rest = self.emit.pure(Pure::IRemU, &[entry, n]);
        let apart = match row.apart {
            Distance::Constant(units) => self.emit.i32(per_unit as i32 * units),
            Distance::Value(units) => {
                let n = self.emit.i32(per_unit as i32);
                self.emit.pure(Pure::IMul, &[units, n])
            }
        };
        let unit = self.emit.pure(Pure::IMul, &[unit, apart]);
        let offset = self.emit.pure(Pure::IAdd, &[unit, rest]);
        if form == MemoryOp::StoreUniform {
            let offset = self.emit.pure(Pure::I32ToI64, &[offset]);
            let base = self.emit.ladd(start, offset);
            self.emit.store(form, mem, buffer, base, None, element, mask);
        } else {
            self.emit.store(form, mem, buffer, start, Some(offset), element, mask);
        }
    }

    fn store_direct(
        &mut self,
        inst: &Inst,
        target: &Target<'_>,
        place: &FieldPlace,
        access: (&[Index], &[Value]),
        value: Value,
    ) -> Result<(), LowerError> {
        let shape = self.kernel.ty(value).shape.clone();
        let lanes = self.target.lanes;
        self.for_each_row(&shape, &mut |this, outer, first, extent| {
            let row = this.stored_row(inst, target, access, outer)?;
            let last = if extent == 1 { Coord::zero() } else { Coord::lanes(first) };
            let mut at: Vec<Coord> = outer.iter().copied().chain([last]).collect();
            at.truncate(shape.len());
            let element = this.eval(value, &at)?;
            let mut mask = row.mask;
            if last.has_lanes() && first + lanes > extent {
                let index = this.coord_value(last);
                let limit = this.emit.i32(extent as i32);
                let tail = this.emit.pure(Pure::ILtU, &[index, limit]);
                mask = this.emit.both(mask, Some(tail));
            }
            let groups = place.group_stride;
            if !last.has_lanes() || (first % place.count) + lanes.min(extent - first) <= place.count {
                let number = first / place.count;
                let inside = this.group_inside(target, &row.column, number);
                mask = this.emit.both(mask, inside);
                let more = i64::from(number) * groups + place.first + i64::from(first % place.count);
                let spread = if last.has_lanes() { Spread::Lanes } else { Spread::None };
                this.store_entries(target, &row, place.mem, (more, spread), element, mask);
                return Ok(());
            }
            let index = this.coord_value(last);
            let count = this.emit.i32(place.count as i32);
            let number = this.emit.pure(Pure::IDivU, &[index, count]);
            let entry = this.emit.pure(Pure::IRemU, &[index, count]);
            let step = this.emit.i32(groups as i32);
            let offset = this.emit.pure(Pure::IMul, &[number, step]);
            let offset = this.emit.pure(Pure::IAdd, &[offset, entry]);
            let inside = this.groups_inside(target, &row.column, number);
            mask = this.emit.both(mask, Some(inside));
            this.store_entries(target, &row, place.mem, (place.first, Spread::By(offset)), element, mask);
            Ok(())
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn store_composed(
        &mut self,
        target: &Target<'_>,
        row: &StoredRow,
        composed: &[u32],
        (pieces, tiles): (&[Piece], &[Option<ArenaTile>]),
        outer: &[Coord],
        first: u32,
        extent: u32,
    ) -> Result<(), LowerError> {
        let lanes = self.target.lanes;
        let size = composed.len() as u32;
        let index = self.coord_value(Coord::lanes(first));
        let mut mask = row.mask;
        let mut tail = None;
        if first + lanes > extent {
            let limit = self.emit.i32(extent as i32);
            tail = Some(self.emit.pure(Pure::ILtU, &[index, limit]));
            mask = self.emit.both(mask, tail);
        }
        let (from, to) = (first % size, (first % size) + lanes.min(extent - first));
        let one_group = to <= size;
        let (number, at) = if one_group {
            let number = self.emit.i32((first / size) as i32);
            let skipped = self.emit.i32((first - from) as i32);
            (number, self.emit.pure(Pure::ISub, &[index, skipped]))
        } else {
            let size = self.emit.i32(size as i32);
            (self.emit.pure(Pure::IDivU, &[index, size]), self.emit.pure(Pure::IRemU, &[index, size]))
        };
        let mut byte: Option<lane::Value> = None;
        for piece in pieces {
            let Some(tile) = &tiles[piece.field] else { continue };
            let field = &target.fields[piece.field];
            let code = self.gather_code(field, tile, piece, outer, (number, at, tail))?;
            let code = self.shifted(Pure::ShrU, code, &piece.right, at);
            let code = self.shifted(Pure::Shl, code, &piece.left, at);
            byte = Some(match byte {
                Some(byte) => self.emit.pure(Pure::IOr, &[byte, code]),
                None => code,
            });
        }
        let byte = match byte {
            Some(byte) => {
                let low = self.emit.i32(255);
                self.emit.pure(Pure::IAnd, &[byte, low])
            }
            None => self.emit.i32(0),
        };
        let bytes = i64::from(target.bytes);
        let in_a_run = one_group && composed[from as usize..to as usize].windows(2).all(|w| w[1] == w[0] + 1);
        if in_a_run {
            let number = first / size;
            let inside = self.group_inside(target, &row.column, number);
            mask = self.emit.both(mask, inside);
            let more = i64::from(number) * bytes + i64::from(composed[from as usize]);
            self.store_entries(target, row, Mem::U8, (more, Spread::Lanes), byte, mask);
            return Ok(());
        }
        let inside = self.groups_inside(target, &row.column, number);
        mask = self.emit.both(mask, Some(inside));
        let step = self.emit.i32(target.bytes as i32);
        let offset = self.emit.pure(Pure::IMul, &[number, step]);
        let place = self.chosen(composed, at);
        let offset = self.emit.pure(Pure::IAdd, &[offset, place]);
        let offset = self.emit.splat(offset);
        self.store_entries(target, row, Mem::U8, (0, Spread::By(offset)), byte, mask);
        Ok(())
    }

    /// The codes of a piece's entries, zero where there is none.
    fn gather_code(
        &mut self,
        field: &Field,
        tile: &ArenaTile,
        piece: &Piece,
        outer: &[Coord],
        (number, at, tail): (lane::Value, lane::Value, Option<lane::Value>),
    ) -> Result<lane::Value, LowerError> {
        let count = self.emit.i32(field.count as i32);
        let start = self.emit.pure(Pure::IMul, &[number, count]);
        let mut mask = tail;
        if piece.entry.iter().any(Option::is_none) {
            let known: Vec<u32> = piece.entry.iter().map(|e| u32::from(e.is_some())).collect();
            let known = self.chosen(&known, at);
            let zero = self.emit.i32(0);
            let known = self.emit.pure(Pure::INe, &[known, zero]);
            mask = self.emit.both(mask, Some(known));
        }
        let entries: Vec<u32> = piece.entry.iter().map(|e| e.unwrap_or(0)).collect();
        let entry = self.chosen(&entries, at);
        let offset = self.emit.pure(Pure::IAdd, &[start, entry]);
        let offset = self.emit.splat(offset);
        let mut coords = outer.to_vec();
        coords.push(Coord::zero());
        let base = self.arena_address(tile, &coords).base;
        self.before_read(tile.arena);
        let mem = tile.mem();
        let place = Place::Arena(tile.arena);
        let value = self.emit.load(MemoryOp::Gather, mem, place, base, Some(offset), mask);
        let value = self.as_register(tile, value);
        Ok(self.code_of(value, field.dtype))
    }

    /// `list[at]` for a varying `at` inside the list: computed where the list ascends evenly, else looked up.
    fn chosen(&mut self, list: &[u32], at: lane::Value) -> lane::Value {
        let first = list.first().copied().unwrap_or(0);
        let step = list.get(1).map_or(0, |second| second.wrapping_sub(first));
        if list.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step) {
            let step = self.emit.i32(step as i32);
            let more = self.emit.pure(Pure::IMul, &[at, step]);
            let first = self.emit.i32(first as i32);
            return self.emit.pure(Pure::IAdd, &[more, first]);
        }
        let table = self.emit.table(Scalar::I32, list.to_vec());
        self.emit.lane_op(LaneOp::TableLookup(table), &[at])
    }

    fn shifted(&mut self, op: Pure, code: lane::Value, by: &[u32], at: lane::Value) -> lane::Value {
        if by.iter().all(|b| *b == 0) {
            return code;
        }
        let by = self.chosen(by, at);
        self.emit.pure(op, &[code, by])
    }

    /// Whether group `number` of the slice begins inside the row.
    fn group_inside(&mut self, target: &Target<'_>, column: &Axis, number: u32) -> Option<lane::Value> {
        let more = i64::from(number) * i64::from(target.group);
        let position = Position { offset: column.offset.offset + more, ..column.offset };
        let axis = Axis { offset: position, coord: Coord::zero(), slice: None };
        match self.inside(&axis, Extent::Constant(target.columns)) {
            Inside::Yes => None,
            Inside::If(condition) => Some(condition),
        }
    }

    /// As [`Self::group_inside`] for a number that is a lane value.
    fn groups_inside(&mut self, target: &Target<'_>, column: &Axis, number: lane::Value) -> lane::Value {
        let elements = self.emit.i32(target.group as i32);
        let elements = self.emit.pure(Pure::IMul, &[number, elements]);
        let from = self.position_value(column.offset);
        let from = self.emit.pure(Pure::IAdd, &[from, elements]);
        let limit = self.emit.i32(target.columns.min(i64::from(i32::MAX)) as i32);
        self.emit.pure(Pure::ILtU, &[from, limit])
    }
}

/// Where a field can be stored entry by entry.
fn field_place(target: &Target<'_>, field: &Field) -> Option<FieldPlace> {
    let mem = mem_of(field.dtype)?;
    let size = i64::from(mem.bytes());
    let in_order = (0..field.count).all(|entry| field.slot(entry) == entry);
    let (bytes, bit) = (i64::from(target.bytes), i64::from(field.bit_offset));
    let units = i64::from(target.rows.unit) % size == 0;
    if !in_order || !units || bytes % size != 0 || bit % (size * 8) != 0 {
        return None;
    }
    Some(FieldPlace { mem, count: field.count, group_stride: bytes / size, first: bit / 8 / size })
}

/// The terms of the composed bytes: the k-th entry, in storage order, of each field that is not stored directly.
fn pieces(fields: &[&Field], composed: &[u32], places: &[Option<FieldPlace>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (number, field) in fields.iter().enumerate().filter(|(number, _)| places[*number].is_none()) {
        let (width, from) = (field.dtype.bits(), field.bit_offset);
        let mut entry_of = vec![0; field.count as usize];
        for entry in 0..field.count {
            entry_of[field.slot(entry) as usize] = entry;
        }
        // A byte meets at most this many entries.
        for k in 0..=(6 + width) / width {
            let size = composed.len();
            let mut piece =
                Piece { field: number, entry: vec![None; size], right: vec![0; size], left: vec![0; size] };
            for (at, byte) in composed.iter().enumerate() {
                let slot = (byte * 8).saturating_sub(from) / width + k;
                let first = from + slot * width;
                if slot >= field.count || first >= byte * 8 + 8 || first + width <= byte * 8 {
                    continue;
                }
                piece.entry[at] = Some(entry_of[slot as usize]);
                piece.right[at] = (byte * 8).saturating_sub(first);
                piece.left[at] = first.saturating_sub(byte * 8);
            }
            if piece.entry.iter().any(Option::is_some) {
                pieces.push(piece);
            }
        }
    }
    pieces
}
