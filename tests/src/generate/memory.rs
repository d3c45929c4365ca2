//! Loads, stores and arguments.
//!
//! An output belongs to a tile type: each grid axis is either cut along an axis of the tile whose extent is the axis' slice, or is an
//! axis of its own, indexed by a point. So blocks write disjoint parts, ragged at the end where the slice does not divide.

use super::kernel::{Maker, SIZES};
use super::{Argument, Data, data};
use tvmc_ir::host::Expr;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, CastRule, Dim, Element, FormatId, Index, Memory, Op, Param, Shared, SharedDecl, TensorDecl,
    TileType, Value,
};
use tvmc_types::dtype::{DType, Kind};

/// Where a block stores tiles of a type.
#[derive(Clone, Debug)]
pub(super) struct Output {
    param: Param,
    /// As stored.
    ty: TileType,
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

/// What stores can write.
const STORED: [DType; 8] =
    [DType::F32, DType::F16, DType::BF16, DType::I32, DType::I8, DType::U8, DType::I16, DType::U16];

/// Whether memory operations know the dtype; others are decoded and need a constant last extent.
fn is_plain(dtype: DType) -> bool {
    STORED.contains(&dtype) || dtype == DType::U32
}

impl Maker<'_> {
    /// A parameter of this element type and shape, filled with noise.
    pub fn input_of(&mut self, element: Element, extents: &[(u32, Expr)], access: Access) -> Param {
        let param = Param(self.arguments.len() as u32);
        let shape: Vec<u64> = extents.iter().map(|(size, _)| u64::from(*size)).collect();
        let count: u64 = shape.iter().product();
        let bytes = match element {
            Element::DType(dtype) => data::plain(&mut self.noise, dtype, count as usize, self.floats),
            Element::Format(id) => {
                let format = &self.b.kernel.formats[id.index()];
                data::stored(&mut self.noise, format, &shape, self.floats)
            }
        };
        let constant_columns = extents.last().is_some_and(|(_, e)| e.as_int().is_some());
        let packable = access == Access::Read && shape.len() == 2 && constant_columns;
        let packable = packable
            && match element {
                Element::Format(_) => true,
                Element::DType(dtype) => dtype.bits() % 8 == 0,
            };
        let packed = packable && self.tape.one_in(3);
        let written = access != Access::Read;
        self.arguments.push(Argument::Tensor(Data { shape, element, bytes, written, packed }));
        self.b.kernel.params.push(TensorDecl::Tensor {
            name: format!("t{}", param.0),
            element,
            shape: extents.iter().map(|(_, expr)| expr.clone()).collect(),
            access,
        });
        param
    }

    /// A scalar argument, in scope at once.
    pub fn scalar_argument(&mut self, dtype: DType) {
        let param = Param(self.arguments.len() as u32);
        let bits = data::scalar(&mut self.noise, dtype, self.floats);
        self.arguments.push(Argument::Scalar(dtype, bits));
        self.b.kernel.params.push(TensorDecl::Scalar { name: format!("n{}", param.0), dtype });
        let value = self.b.define(Op::Scalar(param), &[], TileType::scalar(dtype));
        self.pool.push(value);
    }

    /// An i32 offset: constants around the tensor's start, blocks, counters, dimensions, or anything.
    fn offset(&mut self, slice: u32) -> Value {
        let i32s = TileType::scalar(DType::I32);
        match self.tape.below(8) {
            1 => {
                let at = self.tape.pick(&[1, -1, 2, 16, -17, 5, 40]);
                self.b.i32(at)
            }
            2 | 3 => {
                let axis = self.tape.below(self.grid.len()) as u8;
                let block = self.b.define(Op::BlockIndex(axis), &[], i32s.clone());
                let by = self.b.i32(slice as i32);
                self.b.define(Op::Binary(Binary::Mul), &[block, by], i32s)
            }
            4 | 5 => self.want(DType::I32, &[]),
            6 if !self.dims.is_empty() => {
                let dim = Dim(self.tape.below(self.dims.len()) as u32);
                let dim = self.b.define(Op::Dim(dim), &[], i32s.clone());
                let back = self.tape.pick(&[1, slice as i32, 0]);
                let back = self.b.i32(back);
                self.b.define(Op::Binary(Binary::Sub), &[dim, back], i32s)
            }
            _ => self.b.i32(0),
        }
    }

    /// An element type that loads as something that converts to a computing dtype without loss, and what it loads as.
    fn source(&mut self, dtype: DType) -> (Element, DType) {
        let stored = match dtype {
            DType::F32 => {
                if self.tape.one_in(4) {
                    let known = self.b.kernel.formats.len();
                    let at = self.tape.below(known + 1);
                    if at == known {
                        let format = data::format(&mut self.tape, known);
                        self.b.kernel.formats.push(format);
                    }
                    return (Element::Format(FormatId(at as u32)), DType::F32);
                }
                self.tape.pick(&[
                    DType::F32,
                    DType::F16,
                    DType::F32,
                    DType::BF16,
                    DType::E4M3,
                    DType::E2M1,
                    DType::E5M2,
                    DType::E3M2,
                    DType::E8M0,
                    DType::UE4M3,
                    DType::E2M0,
                    DType::E1M3,
                    DType::TF32,
                ])
            }
            DType::I32 => self.tape.pick(&[
                DType::I32,
                DType::I8,
                DType::I32,
                DType::U8,
                DType::I16,
                DType::U16,
                DType::I4,
                DType::U3,
                DType::I7,
                DType::I1,
                DType::U5,
            ]),
            DType::U32 => self.tape.pick(&[
                DType::U32,
                DType::U8,
                DType::U16,
                DType::U4,
                DType::U1,
                DType::U6,
                DType::U2,
                DType::U7,
            ]),
            _ => DType::BOOL,
        };
        (Element::DType(stored), stored)
    }

    /// A tile of this type from a new or known argument.
    pub fn load_of(&mut self, dtype: DType, shape: &[u32]) -> Value {
        let (element, stored) = self.source(dtype);
        let mut indices: Vec<Index> = shape.iter().map(|size| Index::Slice(*size)).collect();
        // A point somewhere, sometimes; a tensor has an axis at least.
        while indices.len() < 4 && (indices.is_empty() || self.tape.one_in(4)) {
            let at = self.tape.below(indices.len() + 1);
            indices.insert(at, Index::Point);
        }
        let rank = indices.len();
        let known: Vec<Param> = (0..self.arguments.len() as u32)
            .map(Param)
            .filter(|p| match &self.b.kernel.params[p.index()] {
                TensorDecl::Tensor { element: e, shape, access: Access::Read, .. } => {
                    *e == element && shape.len() == rank
                }
                TensorDecl::Tensor { .. } | TensorDecl::Scalar { .. } => false,
            })
            .collect();
        let param = if !known.is_empty() && self.tape.one_in(2) {
            self.tape.pick(&known)
        } else {
            self.fresh_input(element, &indices)
        };
        let value = self.load_from(Memory::Param(param), indices, stored, shape);
        let value = self.widen(value, dtype);
        // What formats and small floats give is nearly exact; narrow it half of the time only, so that products read them directly.
        let wide = matches!(element, Element::Format(_));
        if wide && self.tape.one_in(2) { self.exact(value) } else { value }
    }

    fn fresh_input(&mut self, element: Element, indices: &[Index]) -> Param {
        let mut extents = Vec::new();
        for (at, index) in indices.iter().enumerate() {
            let last = at + 1 == indices.len();
            let narrow = match element {
                Element::DType(dtype) => (!is_plain(dtype)).then_some(dtype.bits()),
                Element::Format(_) => Some(8),
            };
            extents.push(match narrow {
                Some(bits) if last => {
                    // Rows of whole bytes.
                    let group = (1..=8).find(|n| n * bits % 8 == 0).unwrap_or(8);
                    let size = self.tape.pick(&SIZES).div_ceil(group) * group;
                    (size, Expr::int(i64::from(size)))
                }
                Some(_) | None => {
                    let same = match index {
                        Index::Slice(size) if self.tape.one_in(2) => Some(*size),
                        Index::Slice(_) | Index::Point => None,
                    };
                    self.extent(same)
                }
            });
        }
        self.input_of(element, &extents, Access::Read)
    }

    fn load_from(&mut self, memory: Memory, indices: Vec<Index>, stored: DType, shape: &[u32]) -> Value {
        let mut args = Vec::new();
        for index in &indices {
            args.push(match index {
                Index::Slice(size) => self.offset(*size),
                Index::Point => self.offset(1),
            });
        }
        let padded = self.tape.one_in(4) && self.padding(stored).map(|pad| args.push(pad)).is_some();
        let op = Op::Load { memory, indices, padded };
        self.b.define(op, &args, TileType::new(stored, shape))
    }

    /// A scalar of a dtype, if there is a way to make one.
    fn padding(&mut self, dtype: DType) -> Option<Value> {
        let ty = TileType::scalar(dtype);
        match dtype {
            DType::F32 | DType::I32 | DType::U32 | DType::BOOL => Some(self.want(dtype, &[])),
            DType::F16 | DType::BF16 => {
                let value = self.want(DType::F32, &[]);
                Some(self.b.define(Op::Cast(CastRule::Round), &[value], ty))
            }
            _ if dtype.is_integer() => {
                let value = self.want(DType::I32, &[]);
                Some(self.b.define(Op::Cast(CastRule::Wrap), &[value], ty))
            }
            _ => None,
        }
    }

    /// A loaded value in its computing dtype; sometimes turned or spread before, while it is still narrow.
    fn widen(&mut self, value: Value, dtype: DType) -> Value {
        let ty = self.b.ty(value).clone();
        if ty.dtype == dtype {
            return value;
        }
        let turned = if ty.shape.len() == 2 && self.tape.one_in(6) {
            let shape: Vec<u32> = ty.shape.iter().rev().copied().collect();
            let there = self.b.define(Op::Permute(vec![1, 0]), &[value], TileType::new(ty.dtype, &shape));
            self.b.define(Op::Reshape, &[there], ty.clone())
        } else {
            value
        };
        self.b.define(Op::Cast(CastRule::Exact), &[turned], ty.with_dtype(dtype))
    }

    pub fn load(&mut self) {
        let (dtype, shape) = (self.dtype(), self.shape(3));
        let value = self.load_of(dtype, &shape);
        self.pool.push(value);
    }

    /// Block-shared tensors: a new one, written as a whole; or a store or load of a known one.
    pub fn shared(&mut self) {
        let known = self.shared.clone();
        if known.is_empty() || self.tape.one_in(4) {
            return self.new_shared();
        }
        let shared = self.tape.pick(&known);
        let ty = self.b.kernel.shared[shared.index()].ty.clone();
        let mut indices = Vec::new();
        for extent in &ty.shape {
            indices.push(match self.tape.below(4) {
                0 => Index::Point,
                1 => Index::Slice(self.tape.pick(&SIZES).min(*extent)),
                _ => Index::Slice(*extent),
            });
        }
        let shape: Vec<u32> = indices
            .iter()
            .filter_map(|i| match i {
                Index::Slice(size) => Some(*size),
                Index::Point => None,
            })
            .collect();
        if self.tape.one_in(2) {
            let mut args: Vec<Value> = Vec::new();
            for index in &indices {
                args.push(self.offset(if let Index::Slice(size) = index { *size } else { 1 }));
            }
            let value = self.stored(ty.dtype, &shape);
            args.push(value);
            self.b.effect(Op::Store { memory: Memory::Shared(shared), indices }, &args);
        } else {
            let value = self.load_from(Memory::Shared(shared), indices, ty.dtype, &shape);
            let dtype = computing(ty.dtype);
            let value = self.widen(value, dtype);
            self.pool.push(value);
        }
    }

    fn new_shared(&mut self) {
        let shape = self.shape(3);
        let dtype = self.tape.pick(&[DType::F32, DType::I32, DType::F16, DType::U32, DType::BOOL, DType::U8]);
        let shared = Shared(self.b.kernel.shared.len() as u32);
        let ty = TileType::new(dtype, &shape);
        self.b.kernel.shared.push(SharedDecl { name: format!("s{}", shared.0), ty });
        let mut args: Vec<Value> = shape.iter().map(|_| self.b.i32(0)).collect();
        let value = self.stored(dtype, &shape);
        args.push(value);
        let indices = shape.iter().map(|size| Index::Slice(*size)).collect();
        self.b.effect(Op::Store { memory: Memory::Shared(shared), indices }, &args);
        self.shared.push(shared);
    }

    /// A tile of a storage dtype.
    pub fn stored(&mut self, dtype: DType, shape: &[u32]) -> Value {
        let wide = computing(dtype);
        let value = self.want(wide, shape);
        if wide == dtype {
            return value;
        }
        let rule = match dtype.kind() {
            Kind::Float => CastRule::Round,
            Kind::Bool | Kind::Signed | Kind::Unsigned => {
                self.tape.pick(&[CastRule::Saturate, CastRule::Wrap])
            }
        };
        self.b.define(Op::Cast(rule), &[value], TileType::new(dtype, shape))
    }

    /// Stores a value in scope to an output.
    pub fn store_something(&mut self) {
        let value = if self.pool.is_empty() {
            let shape = self.shape(3);
            self.want(DType::F32, &shape)
        } else {
            self.recent()
        };
        let ty = self.b.ty(value).clone();
        let dtype = match ty.dtype {
            DType::F32 => self.tape.pick(&[DType::F32, DType::F32, DType::F16, DType::BF16]),
            DType::BOOL => DType::I8,
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
        let output = self.output(ty.with_dtype(dtype), Access::Write);
        let (indices, mut args) = self.place_of(&output);
        args.push(value);
        self.b.effect(Op::Store { memory: Memory::Param(output.param), indices }, &args);
    }

    /// Loads a tile of an in-out argument, combines it with something, and stores it to the same place.
    pub fn update(&mut self) {
        let (dtype, shape) = (self.tape.pick(&[DType::F32, DType::I32, DType::U32]), self.shape(3));
        let ty = TileType::new(dtype, &shape);
        let output = self.output(ty.clone(), Access::ReadWrite);
        let (indices, mut args) = self.place_of(&output);
        let memory = Memory::Param(output.param);
        let load = Op::Load { memory, indices: indices.clone(), padded: false };
        let old = self.b.define(load, &args, ty.clone());
        let other = self.want(dtype, &shape);
        let new = self.b.define(Op::Binary(Binary::Add), &[old, other], ty);
        let new = self.exact(new);
        args.push(new);
        self.b.effect(Op::Store { memory, indices }, &args);
        self.pool.push(new);
    }

    fn output(&mut self, ty: TileType, access: Access) -> Output {
        let known: Vec<usize> = (0..self.outputs.len())
            .filter(|at| {
                let output = &self.outputs[*at];
                let TensorDecl::Tensor { access: has, .. } = &self.b.kernel.params[output.param.index()]
                else {
                    return false;
                };
                output.ty == ty && *has == access
            })
            .collect();
        if !known.is_empty() && self.tape.one_in(2) {
            let at = self.tape.pick(&known);
            return self.outputs[at].clone();
        }
        let mut places: Vec<Option<Place>> = vec![None; ty.shape.len()];
        let mut points = Vec::new();
        for (number, axis) in self.grid.clone().iter().enumerate() {
            let cut = axis.blocks_of.as_ref().and_then(|(_, _, slice)| {
                let free = |at: &usize| places[*at].is_none() && ty.shape[*at] == *slice;
                (0..ty.shape.len()).find(free).map(|at| (at, *slice))
            });
            match cut {
                Some((at, slice)) if !self.tape.one_in(4) => places[at] = Some(Place::Blocks(number, slice)),
                Some(_) | None => points.push(number),
            }
        }
        let mut places: Vec<Place> = places
            .into_iter()
            .zip(&ty.shape)
            .map(|(place, size)| match place {
                Some(place) => place,
                None => Place::Slice(self.tape.pick(&[0, 0, 0, 1, -1]), *size),
            })
            .collect();
        for number in points {
            let at = self.tape.below(places.len() + 1);
            places.insert(at, Place::Block(number));
        }
        let mut extents = Vec::new();
        for place in &places {
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
                    let ragged = self.tape.pick(&[0i64, 0, -1, 3]);
                    let size = (i64::from(*size) + ragged).max(1);
                    (size as u32, Expr::int(size))
                }
            });
        }
        let param = self.input_of(Element::DType(ty.dtype), &extents, access);
        let output = Output { param, ty, places };
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

/// The dtype that a storage dtype computes in.
fn computing(dtype: DType) -> DType {
    match dtype.kind() {
        Kind::Float => DType::F32,
        Kind::Bool => DType::BOOL,
        Kind::Unsigned if dtype == DType::U32 => DType::U32,
        Kind::Unsigned | Kind::Signed => DType::I32,
    }
}
