//! Decoding of stored numbers: formats, and dtypes that memory operations don't know (sub-byte integers, small floats).
//!
//! A row is a string of *units* of 1, 2 or 4 bytes (`packing`). An element's codes are found in three steps:
//!
//! 1. **group and index**: `g = k / group`, `i = k % group`. Where the slice starts at a multiple of the group, `i` is a constant and
//!    everything below folds to shifts and masks by constants; else both are computed, per lane if need be.
//! 2. **field**: entry `index` of a field lies in slot `modes(index)`, at bit `bit_offset + slot * bits` of its scope: the group, the head of the row, or
//!    the head of the matrix (`ir::tile::Format`), whose address is the same for all its rows.
//! 3. **unit**: the code is cut out of one unit, or out of two if it straddles.
//!
//! Value numbering makes neighbours share unit loads and scales: 32 codes of four bits cost four loads, not 32.
//!
//! ```text
//! q4_1, element 17 of a group:  slot of 17 is 3, bit 32 + 3 * 4 = 44  ->  unit 1 (4 bytes), shift 12, mask 15
//! ```

use crate::eval::{Coord, Position};
use crate::lower::{LowerError, Lowering, scalar_of};
use crate::memory::{Axis, Extent, Tensor};
use crate::packing::{Packing, Rows};
use crate::planes::{Planes, dtype_group};
use crate::rows::{Distance, MatrixHead, Row};
use std::collections::HashMap;
use tvmc_ir::lane::{self, Mem, MemoryOp, Op as LaneOp, Place, Pure, Scalar};
use tvmc_ir::tile::{CastRule, Decode, Element, Field, FieldMode, Format, Inst, Op, Scope, Value};
use tvmc_types::dtype::{DType, Kind};

/// A number of bits within a row: a constant plus an i32 that may vary.
#[derive(Copy, Clone)]
pub(crate) struct Bits {
    pub constant: i64,
    pub value: Option<lane::Value>,
    /// How `value` is divided exactly: signed where it may lie below zero and only the constant brings it back.
    pub divide: Pure,
    /// The computed part again, as whole groups and what lies beyond them.
    pub group: Option<lane::Value>,
    pub within: Option<lane::Value>,
    /// Units of planes beyond all that, where lanes share a group (`staging`).
    pub ahead: Option<lane::Value>,
}

impl Bits {
    /// So many bits further.
    pub fn plus(self, bits: i64) -> Self {
        Self { constant: self.constant + bits, ..self }
    }
}

/// What rows are made of, for finding an element's group.
#[derive(Copy, Clone)]
pub(crate) struct Groups {
    /// Elements of a group, or entries of a field in one.
    pub elements: u32,
    /// Its bytes.
    pub bytes: u32,
    /// Bytes before the first.
    pub head: u32,
}

impl Groups {
    /// Those of a format.
    pub fn of(format: &Format) -> Self {
        Self { elements: format.group, bytes: format.bytes, head: format.row_head }
    }
}

/// Facts that a decode body needs.
pub(crate) struct Group {
    /// Bits of the group's start within its row.
    pub start: Bits,
    /// The element's index in its group.
    pub index: lane::Value,
    /// That of lane 0, where lane `l` has the `l`th after it.
    pub first: Option<u32>,
}

impl<'k> Lowering<'k> {
    /// An element of a tensor of a format, of a small dtype, or of a packed dtype.
    pub(crate) fn load_stored(
        &mut self,
        inst: &Inst,
        tensor: &Tensor,
        axes: &[Axis],
        mask: Option<lane::Value>,
    ) -> Result<lane::Value, LowerError> {
        let kernel = self.kernel;
        if let Some(dtype) = self.single_bits(tensor)
            && self.rows_share_bytes(tensor, dtype)
        {
            return self.load_single_bits(inst, (tensor, dtype), axes, mask);
        }
        let owned;
        let format = match tensor.element {
            Element::Format(id) => &kernel.formats[id.index()],
            Element::DType(dtype) => {
                owned = self.dtype_format(dtype, tensor, inst)?;
                &owned
            }
        };
        let Some((column, outer)) = axes.split_last() else {
            return self.unsupported("a tensor of a format without axes", Some(inst));
        };
        let Some(Extent::Constant(columns)) = tensor.extents.last().copied() else {
            return self.unsupported(
                "the last dimension of a tensor of a format must be known when the kernel is compiled",
                Some(inst),
            );
        };
        let outer_extents = &tensor.extents[..tensor.extents.len() - 1];
        let row = self.row_of(tensor, (outer, outer_extents), (format, columns), mask)?;
        let group = self.group(Groups::of(format), column);
        let value = self.decode(&row, &group, &format.decode, format)?;
        // What a load leaves out is zero bits, which of a plain number (but a power of two) mean zero.
        match tensor.element {
            Element::DType(dtype) if dtype.decode(0) == 0.0 => Ok(value),
            Element::DType(_) | Element::Format(_) => Ok(self.zero_outside(value, mask)),
        }
    }

    /// What is read outside of a tensor is zero after decoding, whatever zero codes mean.
    pub(crate) fn zero_outside(&mut self, value: lane::Value, mask: Option<lane::Value>) -> lane::Value {
        let Some(mask) = mask else { return value };
        let scalar = self.emit.ty(value).scalar;
        let zero = self.zero(scalar);
        self.emit.pure(Pure::Select, &[mask, value, zero])
    }

    /// A dtype as a format: groups of one element, or of as many as fill whole bytes.
    fn dtype_format(&self, dtype: DType, tensor: &Tensor, inst: &Inst) -> Result<Format, LowerError> {
        let bits = dtype.bits();
        let columns = match tensor.extents.last() {
            Some(Extent::Constant(c)) => *c,
            Some(Extent::Runtime(..)) | None => 1,
        };
        let least = (1..=8).find(|n| (n * bits).is_multiple_of(8)).unwrap_or(8);
        let group = match tensor.packing {
            Packing::AsDeclared | Packing::Interleaved | Packing::Filled | Packing::Words => least,
            Packing::Planar => dtype_group(bits, columns.max(0) as u64).unwrap_or(least),
        };
        if group > 1 && (columns % i64::from(group) != 0) {
            return self.unsupported(
                format!("rows of {columns} elements of {dtype} are no whole number of bytes"),
                Some(inst),
            );
        }
        let field = Field {
            name: String::new(),
            dtype,
            count: group,
            scope: Scope::Group,
            bit_offset: 0,
            modes: vec![FieldMode { size: group, stride: 1 }],
        };
        let scalar = |d| tvmc_ir::tile::TileType::scalar(d);
        let index =
            Inst { op: Op::GroupIndex, args: vec![], result: Some(Value(0)), location: inst.location };
        let code =
            Inst { op: Op::Field(0), args: vec![Value(0)], result: Some(Value(1)), location: inst.location };
        Ok(Format {
            name: dtype.to_string(),
            group,
            bytes: group * bits / 8,
            row_head: 0,
            tensor_head: 0,
            fields: vec![field],
            tables: Vec::new(),
            decode: Decode {
                values: vec![scalar(DType::I32), scalar(dtype)],
                insts: vec![index, code],
                result: Value(1),
            },
        })
    }

    /// A dtype as a format whose values are floats.
    pub(crate) fn number_format(
        &self,
        dtype: DType,
        tensor: &Tensor,
        inst: &Inst,
    ) -> Result<Format, LowerError> {
        let mut format = self.dtype_format(dtype, tensor, inst)?;
        let code = format.decode.result;
        let value = Value(format.decode.values.len() as u32);
        format.decode.values.push(tvmc_ir::tile::TileType::scalar(DType::F32));
        let op = Op::Cast(CastRule::Exact);
        let cast = Inst { op, args: vec![code], result: Some(value), location: inst.location };
        format.decode.insts.push(cast);
        format.decode.result = value;
        Ok(format)
    }

    /// A row of a tensor whose elements are stored in a format, of so many columns.
    pub(crate) fn row_of(
        &mut self,
        tensor: &Tensor,
        (outer, extents): (&[Axis], &[Extent]),
        (format, columns): (&Format, i64),
        mask: Option<lane::Value>,
    ) -> Result<Row, LowerError> {
        let groups = (columns.max(0) as u64).div_ceil(u64::from(format.group));
        let planes = match tensor.packing {
            Packing::Planar => Some(Planes::of_format(format)),
            Packing::Words => Planes::words_of_format(format),
            Packing::AsDeclared | Packing::Interleaved | Packing::Filled => None,
        };
        if let Some(planes) = planes {
            let place = Place::Buffer(tensor.buffer);
            let planar = self.planar_row((outer, extents), planes, groups as i64)?;
            let base = self.emit.i64(0);
            let planar = Some(planar);
            let apart = Distance::Constant(1);
            return Ok(Row {
                place,
                unit: 1,
                base,
                offset: None,
                apart,
                contiguous: false,
                mask,
                matrix: None,
                planar,
            });
        }
        self.row(tensor, outer, extents, Rows::of(format, columns), mask)
    }

    /// Splits the column into group and index.
    pub(crate) fn group(&mut self, groups: Groups, column: &Axis) -> Group {
        let total = self.total(column);
        let group = i64::from(groups.elements);
        let group_bits = i64::from(groups.bytes) * 8;
        let head = i64::from(groups.head) * 8;
        let lanes = i64::from(self.target.lanes);
        let multiple = total.value.is_none() || total.facts.multiple % group == 0;
        let first = total.offset.rem_euclid(group);
        let one_group = !column.coord.has_lanes() || (group % lanes == 0 && first + lanes <= group);
        if multiple && one_group && total.offset >= 0 {
            let start = self.group_bits(total, group, group_bits).plus(head);
            let constant = self.emit.i32(first as i32);
            let (index, first) = match column.coord {
                Coord::At(_) => (constant, None),
                Coord::Lanes(_) => {
                    let lane = self.emit.lane_index();
                    (self.emit.pure(Pure::IAdd, &[lane, constant]), Some(first as u32))
                }
            };
            return Group { start, index, first };
        }
        let k = match column.coord {
            Coord::At(_) => self.position_value(total),
            Coord::Lanes(_) => self.coord_value(Coord::Lanes(total)),
        };
        let size = self.emit.i32(groups.elements as i32);
        let number = self.emit.pure(Pure::IDivU, &[k, size]);
        let index = self.emit.pure(Pure::IRemU, &[k, size]);
        let bits = self.emit.i32(group_bits as i32);
        let start = self.emit.pure(Pure::IMul, &[number, bits]);
        let start = Bits {
            constant: head,
            value: Some(start),
            divide: Pure::IDivU,
            group: Some(number),
            within: None,
            ahead: None,
        };
        Group { start, index, first: None }
    }

    fn group_bits(&mut self, total: Position, group: i64, group_bits: i64) -> Bits {
        let constant = total.offset / group * group_bits;
        let divide = if total.facts.lo >= 0 { Pure::IDivU } else { Pure::IDivS };
        let number = total.value.map(|value| {
            let size = self.emit.i32(group as i32);
            self.emit.pure(divide, &[value, size])
        });
        let value = number.map(|number| {
            let bits = self.emit.i32(group_bits as i32);
            self.emit.pure(Pure::IMul, &[number, bits])
        });
        Bits { constant, value, divide, group: number, within: None, ahead: None }
    }

    /// Runs a decode body.
    fn decode(
        &mut self,
        row: &Row,
        group: &Group,
        decode: &Decode,
        format: &Format,
    ) -> Result<lane::Value, LowerError> {
        let mut values: HashMap<Value, lane::Value> = HashMap::new();
        for inst in &decode.insts {
            let Some(result) = inst.result else {
                return self.unsupported("an effect in a format's value", Some(inst));
            };
            let arg = |at: usize| values[&inst.args[at]];
            let dtype = decode.values[result.index()].dtype;
            let from = |at: usize| decode.values[inst.args[at].index()].dtype;
            let value = match &inst.op {
                Op::GroupIndex => group.index,
                Op::Field(field) => {
                    let index = arg(0);
                    self.field(row, group, &format.fields[*field as usize], index)?
                }
                op => {
                    let args: Vec<(lane::Value, DType)> =
                        (0..inst.args.len()).map(|at| (arg(at), from(at))).collect();
                    self.decode_op(op, &args, dtype, format, inst)?
                }
            };
            values.insert(result, value);
        }
        match values.get(&decode.result) {
            Some(value) => Ok(*value),
            None => self.unsupported("a format without a value", None),
        }
    }

    /// An operation of a decode body that reads no field.
    pub(crate) fn decode_op(
        &mut self,
        op: &Op,
        args: &[(lane::Value, DType)],
        dtype: DType,
        format: &Format,
        inst: &Inst,
    ) -> Result<lane::Value, LowerError> {
        match (op, args) {
            (Op::Const(bits), []) => self.constant(dtype, *bits),
            (Op::Table(table), [(index, _)]) => {
                let (dtype, entries) = &format.tables[*table as usize];
                self.proved_entry(*dtype, entries, *index)
            }
            (Op::Unary(op), [(a, _)]) => self.unary(*op, dtype, *a),
            (Op::Binary(op), [(a, from), (b, _)]) => self.binary(*op, *from, *a, *b),
            (Op::Fma, [(a, _), (b, _), (c, _)]) => Ok(self.emit.pure(Pure::Fma, &[*a, *b, *c])),
            (Op::Select, [(condition, _), (a, _), (b, _)]) => {
                Ok(self.emit.pure(Pure::Select, &[*condition, *a, *b]))
            }
            (Op::Cast(rule), [(a, from)]) => self.cast(*a, *from, dtype, *rule, inst),
            (Op::Bitcast, [(a, from)]) => self.bitcast(*a, *from, dtype, inst),
            _ => self.unsupported("this operation in a format's value", Some(inst)),
        }
    }

    /// Entry `index` of a constant table, inside which it is known to be.
    fn proved_entry(
        &mut self,
        dtype: DType,
        entries: &[u32],
        index: lane::Value,
    ) -> Result<lane::Value, LowerError> {
        let table = self.emit.table(scalar_of(dtype)?, entries.to_vec());
        Ok(self.emit.lane_op(LaneOp::TableLookup(table), &[index]))
    }

    /// Entry `index` of a constant table, 0 outside.
    pub(crate) fn entry(
        &mut self,
        dtype: DType,
        entries: &[u32],
        index: lane::Value,
    ) -> Result<lane::Value, LowerError> {
        let entry = self.proved_entry(dtype, entries, index)?;
        let count = self.emit.i32(entries.len() as i32);
        let inside = self.emit.pure(Pure::ILtU, &[index, count]);
        let outside = self.constant(dtype, 0)?;
        Ok(self.emit.pure(Pure::Select, &[inside, entry, outside]))
    }

    /// Entry `index` of a field, in register form.
    pub(crate) fn field(
        &mut self,
        row: &Row,
        group: &Group,
        field: &Field,
        index: lane::Value,
    ) -> Result<lane::Value, LowerError> {
        let width = field.dtype.bits();
        let (row, start) = self.scope(row, group.start, field.scope)?;
        let start = start.plus(i64::from(field.bit_offset));
        if let Some(first) = group.first.filter(|_| index == group.index && field.scope == Scope::Group)
            && let Some(codes) = self.stream(&row, start, field, first)
        {
            return Ok(codes);
        }
        let bits = match self.emit.known_i32(index) {
            Some(index) => start.plus(i64::from(field.slot(index as u32)) * i64::from(width)),
            None => {
                let slot = self.slot(field, index);
                let width = self.emit.i32(width as i32);
                let bits = self.emit.pure(Pure::IMul, &[slot, width]);
                let value = match start.value {
                    Some(start) => self.emit.pure(Pure::IAdd, &[start, bits]),
                    None => bits,
                };
                Bits { value: Some(value), within: Some(bits), ..start }
            }
        };
        self.code(&row, bits, field.dtype)
    }

    /// The units in which fields of a scope lie, and the bit where it begins in them: `group` is that of the group.
    pub(crate) fn scope(&mut self, row: &Row, group: Bits, scope: Scope) -> Result<(Row, Bits), LowerError> {
        let start =
            Bits { constant: 0, value: None, divide: Pure::IDivU, group: None, within: None, ahead: None };
        match (scope, row.matrix) {
            (Scope::Group, _) => Ok((*row, group)),
            (Scope::Row, _) => Ok((*row, start)),
            (Scope::Tensor, Some(MatrixHead { base, offset, mask })) => Ok((
                Row {
                    base,
                    offset,
                    apart: Distance::Constant(1),
                    contiguous: false,
                    mask,
                    matrix: None,
                    ..*row
                },
                start,
            )),
            (Scope::Tensor, None) => self.unsupported("a field of a tensor that stores none", None),
        }
    }

    /// The storage slot of a computed index: its digits times their strides.
    fn slot(&mut self, field: &Field, index: lane::Value) -> lane::Value {
        let mut rest = index;
        let mut slot = self.emit.i32(0);
        for (at, mode) in field.modes.iter().enumerate().rev() {
            let digit = if at == 0 {
                rest
            } else {
                let size = self.emit.i32(mode.size as i32);
                let digit = self.emit.pure(Pure::IRemU, &[rest, size]);
                rest = self.emit.pure(Pure::IDivU, &[rest, size]);
                digit
            };
            let stride = self.emit.i32(mode.stride as i32);
            let term = self.emit.pure(Pure::IMul, &[digit, stride]);
            slot = self.emit.pure(Pure::IAdd, &[slot, term]);
        }
        slot
    }

    /// The value whose code starts at this bit of the row.
    pub(crate) fn code(&mut self, row: &Row, bits: Bits, dtype: DType) -> Result<lane::Value, LowerError> {
        let width = dtype.bits();
        if width > 32 {
            return self.unsupported(format!("a field of {dtype}: fields have at most 32 bits"), None);
        }
        if let Some(planar) = &row.planar {
            return self.planar_code(row, planar, bits, dtype);
        }
        // Groups are whole units, so a computed part that is a multiple of the group leaves the remainder constant.
        let unit_bits = i64::from(row.unit) * 8;
        let raw = match bits.value {
            Some(value) if !self.is_unit_multiple(value, unit_bits) => {
                self.computed_code(row, bits.constant, value, width)
            }
            Some(_) | None => {
                let (first, shift) = (bits.constant / unit_bits, bits.constant % unit_bits);
                let step = bits.value.map(|v| {
                    let size = self.emit.i32(unit_bits as i32);
                    self.emit.pure(bits.divide, &[v, size])
                });
                let whole = i64::from(width) == unit_bits && shift == 0;
                // What memory operations convert, or need not where lanes read side by side.
                if whole
                    && let Some(mem @ (Mem::F16 | Mem::Bf16 | Mem::F32)) = crate::memory::mem_of(dtype)
                    && (mem != Mem::F32 || row.contiguous)
                {
                    return Ok(self.unit(row, mem, first, step));
                }
                self.constant_code(row, first, step, shift as u32, width)
            }
        };
        self.widen_code(raw, dtype)
    }

    /// Whether a computed number of bits is a multiple of a unit: products with a constant multiple are.
    fn is_unit_multiple(&self, value: lane::Value, unit_bits: i64) -> bool {
        self.emit.multiple_of(value) % unit_bits == 0
    }

    pub(crate) fn constant_code(
        &mut self,
        row: &Row,
        first: i64,
        step: Option<lane::Value>,
        shift: u32,
        width: u32,
    ) -> lane::Value {
        let unit_bits = row.unit * 8;
        let mem = unit_mem(row.unit);
        let mut have = unit_bits - shift;
        let low = self.unit(row, mem, first, step);
        let by = self.emit.i32(shift as i32);
        let mut raw = self.emit.pure(Pure::ShrU, &[low, by]);
        let mut next = first + 1;
        while have < width {
            let high = self.unit(row, mem, next, step);
            let by = self.emit.i32(have as i32);
            let high = self.emit.pure(Pure::Shl, &[high, by]);
            raw = self.emit.pure(Pure::IOr, &[raw, high]);
            have += unit_bits;
            next += 1;
        }
        // Nothing stands above the code if it ends with its unit.
        if have == width { raw } else { self.extend_bits(raw, width, false) }
    }

    /// A code at a computed bit: byte by byte would touch too much, so two units are read, the second only where it is needed.
    fn computed_code(&mut self, row: &Row, constant: i64, value: lane::Value, width: u32) -> lane::Value {
        let unit_bits = row.unit * 8;
        let mem = unit_mem(row.unit);
        let constant = self.emit.i32(constant as i32);
        let at = self.emit.pure(Pure::IAdd, &[value, constant]);
        let size = self.emit.i32(unit_bits as i32);
        let index = self.emit.pure(Pure::IDivU, &[at, size]);
        let shift = self.emit.pure(Pure::IRemU, &[at, size]);
        let low = self.unit(row, mem, 0, Some(index));
        let mut raw = self.emit.pure(Pure::ShrU, &[low, shift]);
        let width_value = self.emit.i32(width as i32);
        let end = self.emit.pure(Pure::IAdd, &[shift, width_value]);
        let mut covered = unit_bits;
        let mut next = 1;
        while covered < unit_bits - 1 + width {
            let limit = self.emit.i32(covered as i32);
            let needed = self.emit.pure(Pure::ILtU, &[limit, end]);
            let mask = self.emit.both(row.mask, Some(needed));
            let masked = Row { mask, offset: row.offset, ..*row };
            let high = self.unit(&masked, mem, next, Some(index));
            let by = self.emit.pure(Pure::ISub, &[limit, shift]);
            let high = self.emit.pure(Pure::Shl, &[high, by]);
            // A shift by 32 would wrap to 0; the unit is not needed then.
            let zero = self.emit.i32(0);
            let high = self.emit.pure(Pure::Select, &[needed, high, zero]);
            raw = self.emit.pure(Pure::IOr, &[raw, high]);
            covered += unit_bits;
            next += 1;
        }
        self.extend_bits(raw, width, false)
    }

    /// Where unit `constant + step` of the row is: a uniform i64, and what differs by lane.
    fn unit_place(
        &mut self,
        row: &Row,
        constant: i64,
        step: Option<lane::Value>,
    ) -> (lane::Value, Option<lane::Value>) {
        let (mut base, mut offset) = (row.base, row.offset);
        let far = match (row.apart, step) {
            (Distance::Constant(apart), step) => {
                let fixed = self.emit.i64(constant * i64::from(apart));
                base = self.emit.ladd(base, fixed);
                let apart = self.emit.i32(apart);
                step.map(|step| self.emit.pure(Pure::IMul, &[step, apart]))
            }
            (Distance::Value(_), None) if constant == 0 => None,
            (Distance::Value(apart), step) => {
                let constant = self.emit.i32(constant as i32);
                let step = match step {
                    Some(step) => self.emit.pure(Pure::IAdd, &[step, constant]),
                    None => constant,
                };
                Some(self.emit.pure(Pure::IMul, &[step, apart]))
            }
        };
        match far {
            Some(far) if self.emit.is_varying(far) => offset = Some(self.sum(offset, far)),
            Some(far) => {
                let wide = self.emit.pure(Pure::I32ToI64, &[far]);
                base = self.emit.ladd(base, wide);
            }
            None => {}
        }
        (base, offset)
    }

    /// Unit `constant + step` of the row.
    pub(crate) fn unit(
        &mut self,
        row: &Row,
        mem: Mem,
        constant: i64,
        step: Option<lane::Value>,
    ) -> lane::Value {
        let (base, offset) = self.unit_place(row, constant, step);
        if row.contiguous {
            let Some(offset) = offset else {
                return self.emit.load(MemoryOp::LoadContig, mem, row.place, base, None, row.mask);
            };
            let lane = self.emit.lane_index();
            let offset = self.emit.pure(Pure::IAdd, &[offset, lane]);
            return self.emit.load(MemoryOp::Gather, mem, row.place, base, Some(offset), row.mask);
        }
        let varying_mask = row.mask.is_some_and(|m| self.emit.is_varying(m));
        match offset {
            Some(offset) => self.emit.load(MemoryOp::Gather, mem, row.place, base, Some(offset), row.mask),
            None if varying_mask => {
                let zero = self.emit.i32(0);
                let offset = self.emit.splat(zero);
                self.emit.load(MemoryOp::Gather, mem, row.place, base, Some(offset), row.mask)
            }
            None => self.emit.load(MemoryOp::LoadUniform, mem, row.place, base, None, row.mask),
        }
    }

    /// A zero-extended code in register form.
    pub(crate) fn widen_code(&mut self, raw: lane::Value, dtype: DType) -> Result<lane::Value, LowerError> {
        match dtype.kind() {
            Kind::Bool => {
                let zero = self.emit.i32(0);
                Ok(self.emit.pure(Pure::INe, &[raw, zero]))
            }
            Kind::Unsigned => Ok(raw),
            Kind::Signed => Ok(self.extend_bits(raw, dtype.bits(), true)),
            Kind::Float if dtype == DType::F16 => Ok(self.emit.pure(Pure::F16ToF32, &[raw])),
            Kind::Float if dtype == DType::BF16 => {
                let sixteen = self.emit.i32(16);
                let bits = self.emit.pure(Pure::Shl, &[raw, sixteen]);
                Ok(self.emit.pure(Pure::F32FromBits, &[bits]))
            }
            Kind::Float if dtype.bits() == 32 => {
                // The bits below a short mantissa carry nothing.
                let unused = DType::F32.row().mantissa - dtype.row().mantissa;
                let mask = self.emit.i32(-1 << unused);
                let bits = self.emit.pure(Pure::IAnd, &[raw, mask]);
                Ok(self.emit.pure(Pure::F32FromBits, &[bits]))
            }
            Kind::Float => {
                // At most 8 bits: every code's value, by the codec that the table of dtypes gives.
                let entries =
                    (0..1u64 << dtype.bits()).map(|code| (dtype.decode(code) as f32).to_bits()).collect();
                let table = self.emit.table(Scalar::F32, entries);
                Ok(self.emit.lane_op(LaneOp::TableLookup(table), &[raw]))
            }
        }
    }
}

pub(crate) fn unit_mem(unit: u32) -> Mem {
    match unit {
        1 => Mem::U8,
        2 => Mem::U16,
        _ => Mem::I32,
    }
}
