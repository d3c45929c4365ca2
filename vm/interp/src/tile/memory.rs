//! Tensors as bytes: exact bounds, decoding of formats element by element, and who wrote what.

use super::element::{decode, encode};
use super::{Tile, Trap};
use std::collections::HashMap;
use tvmc_ir::tile::{Decode, Element, Field, Format, Index, Inst, Op, Scope, TileType, Value};
use tvmc_types::dtype::DType;
use tvmc_types::packing::{get_bits, set_bits};

/// A tensor argument.
pub struct Tensor<'a> {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes.
    pub bytes: &'a mut [u8],
    /// Its extents.
    pub shape: Vec<u64>,
    /// What its elements are.
    pub element: Element,
    /// Block that last wrote each element, for tensors the kernel writes.
    pub writers: HashMap<u64, u64>,
}

impl Tensor<'_> {
    /// The flat index of an element, or none outside.
    fn flat(&self, index: &[i64]) -> Option<u64> {
        let mut flat = 0u64;
        for (&i, &extent) in index.iter().zip(&self.shape) {
            let i = u64::try_from(i).ok().filter(|i| *i < extent)?;
            flat = flat.checked_mul(extent)?.checked_add(i)?;
        }
        Some(flat)
    }

    /// A block reads what was written under a key: by nobody, or by itself.
    fn read_by(&self, block: u64, key: u64, element: u64) -> Result<(), Trap> {
        match self.writers.get(&key) {
            Some(writer) if *writer != block => Err(self.conflict(element, [*writer, block])),
            Some(_) | None => Ok(()),
        }
    }

    /// A block writes under a key, which no other block has written.
    fn written_by(&mut self, block: u64, key: u64, element: u64) -> Result<(), Trap> {
        match self.writers.insert(key, block) {
            Some(writer) if writer != block => Err(self.conflict(element, [writer, block])),
            Some(_) | None => Ok(()),
        }
    }

    fn conflict(&self, element: u64, blocks: [u64; 2]) -> Trap {
        Trap::Conflict { tensor: self.name.clone(), element, blocks }
    }

    /// The value of an element, or none outside the tensor.
    pub fn load(&self, index: &[i64], formats: &[Format], block: u64) -> Result<Option<u32>, Trap> {
        let Some(flat) = self.flat(index) else { return Ok(None) };
        // A group of a format is written as a whole: its first element stands for it.
        let written = match self.element {
            Element::DType(_) => flat,
            Element::Format(id) => {
                let columns = self.shape.last().copied().unwrap_or(1);
                flat - flat % columns % u64::from(formats[id.index()].group)
            }
        };
        self.read_by(block, written, flat)?;
        match self.element {
            Element::DType(dtype) => {
                let end = (flat + 1) * u64::from(dtype.bits());
                if end.div_ceil(8) > self.bytes.len() as u64 {
                    return Err(Trap::Outside { tensor: self.name.clone(), element: flat });
                }
                Ok(Some(decode(dtype, get_bits(self.bytes, flat as usize, dtype.bits()))?))
            }
            Element::Format(id) => {
                let format = &formats[id.index()];
                let outside = || Trap::Outside { tensor: self.name.clone(), element: flat };
                let part = |scope| {
                    let start = self.start(format, scope, flat)?;
                    self.bytes.get(start..start.checked_add(format.scope_bytes(scope) as usize)?)
                };
                let parts = Parts {
                    tensor: part(Scope::Tensor).ok_or_else(outside)?,
                    row: part(Scope::Row).ok_or_else(outside)?,
                    group: part(Scope::Group).ok_or_else(outside)?,
                };
                let columns = self.shape.last().copied().unwrap_or(1);
                let index = flat % columns % u64::from(format.group);
                Ok(Some(decode_element(format, parts, index as u32)?))
            }
        }
    }

    /// Where the bytes of a scope lie that an element belongs to.
    fn start(&self, format: &Format, scope: Scope, flat: u64) -> Option<usize> {
        let columns = self.shape.last().copied().unwrap_or(1);
        let rows = self.shape.iter().rev().nth(1).copied().unwrap_or(1);
        let (row, column) = (flat / columns, flat % columns);
        let mut at = (row / rows).checked_mul(format.matrix_bytes(rows, columns)?)?;
        if scope != Scope::Tensor {
            let within = (row % rows).checked_mul(format.row_bytes(columns)?)?;
            at = at.checked_add(u64::from(format.tensor_head))?.checked_add(within)?;
        }
        if scope == Scope::Group {
            let groups = (column / u64::from(format.group)).checked_mul(u64::from(format.bytes))?;
            at = at.checked_add(u64::from(format.row_head))?.checked_add(groups)?;
        }
        usize::try_from(at).ok()
    }

    /// An entry of a field, counted as [`Op::LoadField`] does; none outside.
    pub fn load_field(
        &self,
        index: &[i64],
        field: usize,
        formats: &[Format],
        block: u64,
    ) -> Result<Option<u32>, Trap> {
        let Element::Format(id) = self.element else {
            return Err(Trap::Unsupported("a field of a tensor of a dtype".into()));
        };
        let format = &formats[id.index()];
        let declared = &format.fields[field];
        let count = i64::from(declared.count);
        let mut at = index.to_vec();
        let Some(entry) = at.pop() else { return Ok(None) };
        let columns = self.shape.last().copied().unwrap_or(1);
        let groups = columns.div_ceil(u64::from(format.group)) as i64;
        let (column, entries) = match declared.scope {
            Scope::Group => (entry.div_euclid(count) * i64::from(format.group), groups * count),
            Scope::Row | Scope::Tensor => (0, count),
        };
        if declared.scope == Scope::Tensor && self.shape.len() > 1 {
            at.push(0);
        }
        at.push(column);
        if !(0..entries).contains(&entry) {
            return Ok(None);
        }
        let Some(flat) = self.flat(&at) else { return Ok(None) };
        let written = match declared.scope {
            Scope::Tensor => self.head_writer(flat),
            Scope::Row | Scope::Group => flat,
        };
        self.read_by(block, written, flat)?;
        let size = format.scope_bytes(declared.scope) as usize;
        let bytes =
            self.start(format, declared.scope, flat).and_then(|s| self.bytes.get(s..s.checked_add(size)?));
        let Some(bytes) = bytes else {
            return Err(Trap::Outside { tensor: self.name.clone(), element: flat });
        };
        let bits = declared.dtype.bits();
        let first = declared.bit_offset + declared.slot((entry % count) as u32) * bits;
        Ok(Some(decode(declared.dtype, bits_at(bytes, first, bits))?))
    }

    /// What stands for the head of an element's matrix among the writers: no element has this number.
    fn head_writer(&self, flat: u64) -> u64 {
        let matrix: u64 = self.shape.iter().rev().take(2).product();
        u64::MAX - flat / matrix.max(1)
    }

    /// Stores the fields that a matrix holds once; nothing outside the stack.
    pub fn store_head(
        &mut self,
        stack: &[i64],
        entries: &[Tile],
        formats: &[Format],
        block: u64,
    ) -> Result<(), Trap> {
        let Element::Format(id) = self.element else {
            return Err(Trap::Unsupported("storing fields of a tensor of a dtype".into()));
        };
        let format = &formats[id.index()];
        let mut at = stack.to_vec();
        at.resize(self.shape.len(), 0);
        let Some(flat) = self.flat(&at) else { return Ok(()) };
        let key = self.head_writer(flat);
        self.written_by(block, key, flat)?;
        let size = format.tensor_head as usize;
        let start = self.start(format, Scope::Tensor, flat);
        let Some(head) = start.and_then(|s| self.bytes.get_mut(s..s.checked_add(size)?)) else {
            return Err(Trap::Outside { tensor: self.name.clone(), element: flat });
        };
        head.fill(0);
        for (field, tile) in format.fields.iter().filter(|f| f.scope == Scope::Tensor).zip(entries) {
            for (entry, value) in (0..field.count).zip(&tile.bits) {
                put_bits(head, field, entry, *value);
            }
        }
        Ok(())
    }

    /// Stores a value of the element's dtype; outside elements are skipped.
    pub fn store(&mut self, index: &[i64], value: u32, block: u64) -> Result<(), Trap> {
        let Some(flat) = self.flat(index) else { return Ok(()) };
        let Element::DType(dtype) = self.element else {
            return Err(Trap::Unsupported("storing to a tensor of a format".into()));
        };
        self.written_by(block, flat, flat)?;
        let end = (flat + 1) * u64::from(dtype.bits());
        if end.div_ceil(8) > self.bytes.len() as u64 {
            return Err(Trap::Outside { tensor: self.name.clone(), element: flat });
        }
        set_bits(self.bytes, flat as usize, dtype.bits(), encode(dtype, value));
        Ok(())
    }

    /// Replaces an element by what `update` makes of it, and gives the old one; 0 outside.
    pub fn update(
        &mut self,
        index: &[i64],
        update: impl FnOnce(u32) -> Result<u32, Trap>,
    ) -> Result<u32, Trap> {
        let Some(flat) = self.flat(index) else { return Ok(0) };
        let Element::DType(dtype) = self.element else {
            return Err(Trap::Unsupported("updating a tensor of a format".into()));
        };
        let end = (flat + 1) * u64::from(dtype.bits());
        if end.div_ceil(8) > self.bytes.len() as u64 {
            return Err(Trap::Outside { tensor: self.name.clone(), element: flat });
        }
        let old = decode(dtype, get_bits(self.bytes, flat as usize, dtype.bits()))?;
        set_bits(self.bytes, flat as usize, dtype.bits(), encode(dtype, update(old)?));
        Ok(old)
    }

    /// Stores an entry of a field of a group or of a row. The last index counts entries from `first`, the offset of the slice in elements; a
    /// row's fields are stored with the whole row.
    pub fn store_field(
        &mut self,
        index: &[i64],
        first: i64,
        field: usize,
        value: u32,
        formats: &[Format],
        block: u64,
    ) -> Result<(), Trap> {
        let Element::Format(id) = self.element else {
            return Err(Trap::Unsupported("storing a field of a tensor of a dtype".into()));
        };
        let format = &formats[id.index()];
        let declared = &format.fields[field];
        let (group, count) = (i64::from(format.group), i64::from(declared.count));
        if first.rem_euclid(group) != 0 {
            return Err(Trap::Unsupported(format!(
                "storing from element {first} of a row to `{}`: it is not the first of a group of {group}",
                self.name
            )));
        }
        if declared.scope != Scope::Group && first != 0 {
            return Err(Trap::Unsupported(format!(
                "storing from element {first} of a row to `{}`, which has fields of the whole row",
                self.name
            )));
        }
        let mut at = index.to_vec();
        let Some(last) = at.last_mut() else { return Ok(()) };
        let entry = *last - first;
        *last = first + entry / count * group;
        let Some(flat) = self.flat(&at) else { return Ok(()) };
        self.written_by(block, flat, flat)?;
        let bytes = format.scope_bytes(declared.scope) as usize;
        let start = self.start(format, declared.scope, flat);
        let Some(stored) = start.and_then(|start| self.bytes.get_mut(start..start.checked_add(bytes)?))
        else {
            return Err(Trap::Outside { tensor: self.name.clone(), element: flat });
        };
        if entry % count == 0 && format.fields.iter().position(|f| f.scope == declared.scope) == Some(field) {
            stored.fill(0);
        }
        put_bits(stored, declared, (entry % count) as u32, value);
        Ok(())
    }
}

/// Puts the code of an entry into the bytes of its scope.
fn put_bits(bytes: &mut [u8], field: &Field, entry: u32, value: u32) {
    let width = field.dtype.bits();
    let bit = field.bit_offset + field.slot(entry) * width;
    let code = encode(field.dtype, value);
    for i in 0..width {
        let (byte, shift) = (((bit + i) / 8) as usize, (bit + i) % 8);
        bytes[byte] = bytes[byte] & !(1 << shift) | (((code >> i) & 1) as u8) << shift;
    }
}

/// What is stored for an element, by scope.
#[derive(Copy, Clone, Debug)]
pub struct Parts<'a> {
    /// Fields of its tensor.
    pub tensor: &'a [u8],
    /// Fields of its row.
    pub row: &'a [u8],
    /// Its group.
    pub group: &'a [u8],
}

impl<'a> Parts<'a> {
    /// A group of a format that stores nothing once for a row or a tensor.
    pub fn group(group: &'a [u8]) -> Self {
        Self { tensor: &[], row: &[], group }
    }

    fn of(self, scope: Scope) -> &'a [u8] {
        match scope {
            Scope::Tensor => self.tensor,
            Scope::Row => self.row,
            Scope::Group => self.group,
        }
    }
}

/// Element `index` of one group.
pub fn decode_element(format: &Format, parts: Parts<'_>, index: u32) -> Result<u32, Trap> {
    let body: &Decode = &format.decode;
    let mut values: Vec<u32> = vec![0; body.values.len()];
    for Inst { op, args, result, .. } in &body.insts {
        let Some(result) = result else {
            return Err(Trap::Unsupported("an effect in a format's value".into()));
        };
        let arg = |at: usize| values[args[at].index()];
        let dtype = |v: &Value| body.values[v.index()].dtype;
        values[result.index()] = match op {
            Op::GroupIndex => index,
            Op::Field(at) => {
                let field = &format.fields[*at as usize];
                let entry = arg(0);
                if entry >= field.count {
                    return Err(Trap::Field {
                        format: format.name.clone(),
                        field: field.name.clone(),
                        entry,
                    });
                }
                let bits = field.dtype.bits();
                let first = field.bit_offset + field.slot(entry) * bits;
                decode(field.dtype, bits_at(parts.of(field.scope), first, bits))?
            }
            Op::Table(at) => {
                let (_, entries) = &format.tables[*at as usize];
                // Taken modulo the next power of two; entries past the end are zero.
                let at = arg(0) as usize % entries.len().next_power_of_two();
                entries.get(at).copied().unwrap_or(0)
            }
            other => {
                let operands: Vec<(DType, u32)> =
                    args.iter().map(|a| (dtype(a), values[a.index()])).collect();
                super::scalar_op(other, dtype(result), &operands)?
            }
        };
    }
    Ok(values[body.result.index()])
}

/// `bits` bits from bit `first`, least significant first.
fn bits_at(bytes: &[u8], first: u32, bits: u32) -> u64 {
    (0..bits).fold(0, |code, i| {
        let at = first + i;
        let bit = bytes[(at / 8) as usize] >> (at % 8) & 1;
        code | u64::from(bit) << i
    })
}

/// What to do with an element: its place in the tile and its index in the tensor.
type Visit<'v> = &'v mut dyn FnMut(usize, &[i64]) -> Result<(), Trap>;

/// Visits every element of an access: its place in the tile and its index in the tensor.
pub fn for_each_index(
    ty: &TileType,
    offsets: &[i32],
    indices: &[Index],
    visit: Visit<'_>,
) -> Result<(), Trap> {
    let mut index = vec![0i64; indices.len()];
    for place in 0..ty.elements() as usize {
        let mut rest = place;
        let mut coordinates = vec![0usize; ty.shape.len()];
        for (coordinate, extent) in coordinates.iter_mut().zip(&ty.shape).rev() {
            *coordinate = rest % *extent as usize;
            rest /= *extent as usize;
        }
        let mut at = coordinates.iter();
        for ((i, offset), kind) in index.iter_mut().zip(offsets).zip(indices) {
            let inner = match kind {
                Index::Point => 0,
                Index::Slice(_) => at.next().copied().unwrap_or(0) as i64,
            };
            *i = i64::from(*offset) + inner;
        }
        visit(place, &index)?;
    }
    Ok(())
}

/// A block-shared tensor: every element is undefined until it is written.
pub struct SharedTensor {
    /// Its name, for messages.
    pub name: String,
    /// Extents.
    pub shape: Vec<u32>,
    /// Values.
    pub values: Vec<Option<u32>>,
    /// By element: what a copy brings that is under way, and its group.
    pub under_way: HashMap<usize, (u32, u64)>,
}

impl SharedTensor {
    fn flat(&self, index: &[i64]) -> Option<usize> {
        let mut flat = 0usize;
        for (&i, &extent) in index.iter().zip(&self.shape) {
            let i = u32::try_from(i).ok().filter(|i| *i < extent)?;
            flat = flat * extent as usize + i as usize;
        }
        Some(flat)
    }

    /// The value of an element, or none outside.
    pub fn load(&self, index: &[i64]) -> Result<Option<u32>, Trap> {
        let Some(flat) = self.flat(index) else { return Ok(None) };
        self.settled(flat)?;
        match self.values[flat] {
            Some(value) => Ok(Some(value)),
            None => Err(Trap::Undefined { tensor: self.name.clone(), element: flat as u64 }),
        }
    }

    /// Stores a value; outside elements are skipped.
    pub fn store(&mut self, index: &[i64], value: u32) -> Result<(), Trap> {
        if let Some(flat) = self.flat(index) {
            self.settled(flat)?;
            self.values[flat] = Some(value);
        }
        Ok(())
    }

    /// Lets a value be under way, as part of a group.
    pub fn send(&mut self, index: &[i64], value: u32, group: u64) -> Result<(), Trap> {
        if let Some(flat) = self.flat(index) {
            self.settled(flat)?;
            self.under_way.insert(flat, (value, group));
        }
        Ok(())
    }

    /// The groups before this one have arrived.
    pub fn arrive(&mut self, before: u64) {
        let Self { values, under_way, .. } = self;
        under_way.retain(|flat, (value, group)| {
            let stays = *group >= before;
            if !stays {
                values[*flat] = Some(*value);
            }
            stays
        });
    }

    fn settled(&self, flat: usize) -> Result<(), Trap> {
        match self.under_way.contains_key(&flat) {
            true => Err(Trap::UnderWay { tensor: self.name.clone(), element: flat as u64 }),
            false => Ok(()),
        }
    }
}

/// A tile of one repeated value.
pub fn filled(ty: &TileType, value: u32) -> Tile {
    Tile { bits: vec![value; ty.elements() as usize] }
}
