//! Outputs: where a block stores, so that no other block touches it.
//!
//! An output belongs to a tile type: each grid axis is either cut along an axis of the tile whose extent is the axis' slice, or is an
//! axis of its own, indexed by a point. So blocks write disjoint parts, ragged at the end where the slice does not divide.
//!
//! Groups of a format, and half of the time elements narrower than a byte, are stored in *grains* that fill bytes: there the last axis is a slice of whole grains, from a whole grain
//! on, of a tensor whose rows are whole grains. Else blocks store parts of bytes.

use super::data;
use super::kernel::Maker;
use super::memory::{Order, computing};
use tvmc_ir::host::Expr;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, CastRule, Element, FormatId, Index, Memory, Op, Param, Scope, TensorDecl, TileType, Unary, Value,
};
use tvmc_types::dtype::{DType, Kind};

/// Where a block stores tiles of a type.
#[derive(Clone, Debug)]
pub(super) struct Output {
    param: Param,
    element: Element,
    /// Of what is stored, in elements.
    shape: Vec<u32>,
    places: Vec<Place>,
}

/// One axis of an output.
#[derive(Copy, Clone, Debug)]
enum Place {
    /// The point of a grid axis.
    Block(usize),
    /// A slice that starts at the grid axis' block times this size.
    Blocks(usize, u32),
    /// A slice of this size from a constant.
    Slice(i32, u32),
}

/// Elements that together fill bytes.
fn grain(bits: u32) -> u32 {
    8 / (1u32 << bits.trailing_zeros()).min(8)
}

impl Maker<'_> {
    /// Stores a value in scope to an output.
    pub fn store_something(&mut self) {
        let value = if self.pool.is_empty() {
            let shape = self.shape(3);
            self.want(DType::F32, &shape)
        } else {
            self.recent()
        };
        let ty = self.b.ty(value).clone();
        let narrow = self.tape.one_in(4);
        let dtype = match ty.dtype {
            DType::BOOL => DType::I8,
            DType::F32 if narrow => self.tape.pick(&data::rounded()),
            DType::F32 => self.tape.pick(&[DType::F32, DType::F32, DType::F16, DType::BF16]),
            _ if narrow => self.tape.pick(&data::narrow_integers()),
            own => self.tape.pick(&[own, DType::I8, DType::U8, DType::I16, DType::U16]),
        };
        let value = if dtype == ty.dtype {
            value
        } else {
            let rule = match (ty.dtype, dtype.kind()) {
                (DType::BOOL, _) => CastRule::Exact,
                (_, Kind::Float) => CastRule::Round,
                _ => self.tape.pick(&[CastRule::Saturate, CastRule::Wrap]),
            };
            self.b.define(Op::Cast(rule), &[value], ty.with_dtype(dtype))
        };
        let output = self.output(Element::DType(dtype), &ty.shape, Access::Write);
        let (indices, mut args) = self.place_of(&output);
        args.push(value);
        self.b.effect(Op::Store { memory: Memory::Param(output.param), indices }, &args);
    }

    /// Loads a tile of an in-out argument, combines it with something, and stores it to the same place.
    pub fn update(&mut self) {
        let dtype = if self.tape.one_in(3) {
            self.tape.pick(&data::held())
        } else {
            self.tape.pick(&[DType::F32, DType::I32, DType::U32])
        };
        let shape = self.shape(3);
        let ty = TileType::new(dtype, &shape);
        let output = self.output(Element::DType(dtype), &shape, Access::ReadWrite);
        let (indices, mut args) = self.place_of(&output);
        let memory = Memory::Param(output.param);
        let load = Op::Load { memory, indices: indices.clone(), padded: false };
        let old = self.b.define(load, &args, ty.clone());
        let wide = computing(dtype);
        let old = self.widen(old, wide);
        let other = self.want(wide, &shape);
        let op = if wide == DType::BOOL { Binary::Xor } else { Binary::Add };
        let new = self.b.define(Op::Binary(op), &[old, other], ty.with_dtype(wide));
        let new = self.exact(new);
        let stored = self.narrowed(new, dtype);
        args.push(stored);
        self.b.effect(Op::Store { memory, indices }, &args);
        self.pool.push(new);
    }

    /// Groups of a format: every field gets what is in scope. Products of few elements, since each is written by itself.
    pub fn store_groups(&mut self) {
        let id = self.format();
        let format = self.b.kernel.formats[id.index()].clone();
        if format.fields.iter().any(|field| field.scope != Scope::Group) {
            return self.store_matrix();
        }
        let mut shape = self.shape(2);
        let rows: u32 = shape.iter().rev().skip(1).product();
        let most = (256 / format.group / rows).max(1);
        let groups = 1 + self.tape.below(most.min(4) as usize) as u32;
        let Some(last) = shape.last_mut() else { return };
        *last = groups * format.group;
        if rows * groups * format.group > 1024 {
            return;
        }
        let output = self.output(Element::Format(id), &shape, Access::Write);
        let (indices, mut args) = self.place_of(&output);
        for field in &format.fields {
            let mut shape = shape.clone();
            if let Some(last) = shape.last_mut() {
                *last = groups * field.count;
            }
            let value = self.stored_bits(field.dtype, &shape);
            args.push(value);
        }
        self.b.effect(Op::StoreGroups { memory: Memory::Param(output.param), indices }, &args);
    }

    /// A tile of a storage dtype whose bits are looked at: no NaN, whose bits are nobody's promise, and in exact mode no -0, whose sign WGSL may ignore.
    pub fn stored_bits(&mut self, dtype: DType, shape: &[u32]) -> Value {
        if !dtype.is_float() {
            return self.stored(dtype, shape);
        }
        let wide = self.want(DType::F32, shape);
        let ty = TileType::new(DType::F32, shape);
        let value = match self.floats {
            super::Floats::Exact => self.b.define(Op::Unary(Unary::Abs), &[wide], ty),
            super::Floats::Wild => {
                let bools = ty.with_dtype(DType::BOOL);
                let number = self.b.define(Op::Binary(Binary::Eq), &[wide, wide], bools);
                let zero = self.b.f32(0.0);
                let zero = self.spread(zero, shape);
                self.b.define(Op::Select, &[number, wide, zero], ty)
            }
        };
        if dtype == DType::F32 {
            return value;
        }
        self.b.define(Op::Cast(CastRule::Round), &[value], TileType::new(dtype, shape))
    }

    /// A scatter to an output: only the points of grid axes are fixed, so an axis must be one where blocks are several.
    pub fn scatter_out(&mut self) {
        let narrow = self.tape.one_in(3);
        let dtype = if narrow {
            self.tape.pick(&data::narrow_integers())
        } else {
            self.tape.pick(&[DType::F32, DType::I32, DType::U32])
        };
        let shape = self.shape(2);
        let mut extents = Vec::new();
        let mut args = Vec::new();
        for number in 0..self.grid.len() {
            let count = self.grid[number].count;
            extents.push((count, Expr::int(i64::from(count))));
            let block = self.b.define(Op::BlockIndex(number as u8), &[], TileType::scalar(DType::I32));
            args.push(self.spread(block, &shape));
        }
        for _ in 0..=self.tape.below(2) {
            let size = self.tape.pick(&super::kernel::SIZES);
            extents.push(self.extent(Some(size)));
            args.push(self.indices(size, &shape));
        }
        let tensor = self.places_of(dtype, &extents, Access::Write);
        let value = if narrow { self.stored_bits(dtype, &shape) } else { self.want(dtype, &shape) };
        args.push(value);
        self.b.effect(Op::Scatter { memory: Memory::Param(tensor) }, &args);
    }

    /// A known format, or a new one.
    pub fn format(&mut self) -> FormatId {
        let known = self.b.kernel.formats.len();
        let at = self.tape.below(known + 1);
        if at == known {
            let format = data::format(&mut self.tape, known);
            self.b.kernel.formats.push(format);
        }
        FormatId(at as u32)
    }

    fn output(&mut self, element: Element, shape: &[u32], access: Access) -> Output {
        let known: Vec<usize> = (0..self.outputs.len())
            .filter(|at| {
                let output = &self.outputs[*at];
                let TensorDecl::Tensor { access: has, .. } = &self.b.kernel.params[output.param.index()]
                else {
                    return false;
                };
                output.element == element && output.shape == shape && *has == access
            })
            .collect();
        if !known.is_empty() && self.tape.one_in(2) {
            let at = self.tape.pick(&known);
            return self.outputs[at].clone();
        }
        // Whole grains are not cut, and are stored in rows.
        let (grain, rows) = match element {
            Element::DType(dtype) => {
                let grain = grain(dtype.bits());
                let whole = shape.last().is_some_and(|last| last.is_multiple_of(grain));
                if grain > 1 && whole && self.tape.one_in(2) {
                    (grain, true)
                } else {
                    (1, dtype.bits() == 8 && !shape.is_empty() && !super::memory::is_plain(dtype))
                }
            }
            Element::Format(id) => (self.b.kernel.formats[id.index()].group, true),
        };
        let mut places: Vec<Option<Place>> = vec![None; shape.len()];
        let mut points = Vec::new();
        let free_axes = if rows { shape.len().saturating_sub(1) } else { shape.len() };
        for (number, axis) in self.grid.clone().iter().enumerate() {
            let cut = axis.blocks_of.as_ref().and_then(|(_, _, slice)| {
                let free = |at: &usize| places[*at].is_none() && shape[*at] == *slice;
                (0..free_axes).find(free).map(|at| (at, *slice))
            });
            match cut {
                Some((at, slice)) if !self.tape.one_in(4) => places[at] = Some(Place::Blocks(number, slice)),
                Some(_) | None => points.push(number),
            }
        }
        let last = shape.len().saturating_sub(1);
        let mut places: Vec<Place> = places
            .into_iter()
            .zip(shape)
            .enumerate()
            .map(|(at, (place, size))| match place {
                Some(place) => place,
                None => {
                    let step = if at == last { grain as i32 } else { 1 };
                    Place::Slice(step * self.tape.pick(&[0, 0, 0, 1, -1]), *size)
                }
            })
            .collect();
        for number in points {
            let room = if rows { places.len() } else { places.len() + 1 };
            let at = self.tape.below(room);
            places.insert(at, Place::Block(number));
        }
        let mut extents = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let step = if at + 1 == places.len() { i64::from(grain) } else { 1 };
            extents.push(match place {
                Place::Block(number) => {
                    let count = self.grid[*number].count;
                    (count, Expr::int(i64::from(count)))
                }
                Place::Blocks(number, _) => match &self.grid[*number].blocks_of {
                    Some((extent, expr, _)) => (*extent, expr.clone()),
                    None => (1, Expr::int(1)),
                },
                Place::Slice(_, size) => {
                    let ragged = step * self.tape.pick(&[0i64, 0, -1, 3]);
                    let size = (i64::from(*size) + ragged).max(step);
                    (size as u32, Expr::int(size))
                }
            });
        }
        // Packed rows are stored to in slices.
        let order = match places.last() {
            Some(Place::Block(_)) | None => Order::Declared,
            Some(Place::Blocks(..) | Place::Slice(..)) => Order::Drawn,
        };
        let param = self.argument(element, &extents, access, order);
        let output = Output { param, element, shape: shape.to_vec(), places };
        self.outputs.push(output.clone());
        output
    }

    fn place_of(&mut self, output: &Output) -> (Vec<Index>, Vec<Value>) {
        let i32s = || TileType::scalar(DType::I32);
        let mut indices = Vec::new();
        let mut args = Vec::new();
        for place in &output.places {
            match *place {
                Place::Block(number) => {
                    indices.push(Index::Point);
                    args.push(self.b.define(Op::BlockIndex(number as u8), &[], i32s()));
                }
                Place::Blocks(number, slice) => {
                    indices.push(Index::Slice(slice));
                    let block = self.b.define(Op::BlockIndex(number as u8), &[], i32s());
                    let by = self.b.i32(slice as i32);
                    args.push(self.b.define(Op::Binary(Binary::Mul), &[block, by], i32s()));
                }
                Place::Slice(offset, size) => {
                    indices.push(Index::Slice(size));
                    args.push(self.b.i32(offset));
                }
            }
        }
        (indices, args)
    }
}
