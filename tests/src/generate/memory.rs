//! Loads, block-shared memory and arguments.

use super::kernel::{Maker, SIZES};
use super::{Argument, Data, data};
use tvmc_ir::host::Expr;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, CastRule, Dim, Element, Index, Memory, Op, Param, Shared, SharedDecl, TensorDecl, TileType, Value,
};
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::layout::{SharedLayout, Swizzle};

/// How an argument lies in memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Row after row.
    Declared,
    /// That, or row-interleaved where such an argument can be.
    Drawn,
}

/// What stores can write.
const STORED: [DType; 8] =
    [DType::F32, DType::F16, DType::BF16, DType::I32, DType::I8, DType::U8, DType::I16, DType::U16];

/// Whether memory operations know the dtype; others are decoded and need a constant last extent.
pub(super) fn is_plain(dtype: DType) -> bool {
    STORED.contains(&dtype) || dtype == DType::U32
}

impl Maker<'_> {
    /// A parameter that is only read.
    pub fn input_of(&mut self, element: Element, extents: &[(u32, Expr)]) -> Param {
        self.argument(element, extents, Access::Read, Order::Drawn)
    }

    /// A parameter that elements at computed places are stored to: those of no packed one can be.
    pub fn places_of(&mut self, dtype: DType, extents: &[(u32, Expr)], access: Access) -> Param {
        self.argument(Element::DType(dtype), extents, access, Order::Declared)
    }

    /// A parameter of this element type and shape, filled with noise.
    pub fn argument(
        &mut self,
        element: Element,
        extents: &[(u32, Expr)],
        access: Access,
        order: Order,
    ) -> Param {
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
        let packable = order == Order::Drawn && shape.len() == 2 && constant_columns;
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
    pub fn offset(&mut self, slice: u32) -> Value {
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
                    return (Element::Format(self.format()), DType::F32);
                }
                if self.tape.one_in(2) {
                    self.tape.pick(&data::floats())
                } else {
                    self.tape.pick(&[DType::F32, DType::F16, DType::BF16])
                }
            }
            DType::I32 => {
                if self.tape.one_in(2) {
                    self.tape.pick(&data::narrow_integers())
                } else {
                    DType::I32
                }
            }
            DType::U32 => {
                if self.tape.one_in(2) {
                    self.tape.pick(&data::narrow_unsigned())
                } else {
                    DType::U32
                }
            }
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

    pub fn fresh_input(&mut self, element: Element, indices: &[Index]) -> Param {
        let mut extents = Vec::new();
        for (at, index) in indices.iter().enumerate() {
            let last = at + 1 == indices.len();
            let narrow = match element {
                Element::DType(dtype) => (!is_plain(dtype)).then_some(dtype.bits()),
                Element::Format(_) => Some(8),
            };
            let narrow = narrow.filter(|bits| *bits >= 8 || !last || self.tape.one_in(2));
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
        self.input_of(element, &extents)
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
    pub fn widen(&mut self, value: Value, dtype: DType) -> Value {
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
        let known = self.at_rest();
        if known.is_empty() || self.tape.one_in(4) {
            return self.new_shared();
        }
        let shared = self.tape.pick(&known);
        let ty = self.b.kernel.shared[shared.index()].ty.clone();
        let (indices, shape) = self.part_of(&ty);
        if self.tape.one_in(2) {
            let args = self.put(&indices, ty.dtype, &shape);
            self.b.effect(Op::Store { memory: Memory::Shared(shared), indices }, &args);
        } else {
            let value = self.load_from(Memory::Shared(shared), indices, ty.dtype, &shape);
            let dtype = computing(ty.dtype);
            let value = self.widen(value, dtype);
            self.pool.push(value);
        }
    }

    /// Block-shared tensors that no copy is under way to.
    pub fn at_rest(&self) -> Vec<Shared> {
        self.shared.iter().copied().filter(|shared| !self.busy.contains(shared)).collect()
    }

    /// A slice or point along each axis of a block-shared tensor, and the shape that makes.
    pub fn part_of(&mut self, ty: &TileType) -> (Vec<Index>, Vec<u32>) {
        let (mut indices, mut shape) = (Vec::new(), Vec::new());
        for extent in &ty.shape {
            let size = match self.tape.below(4) {
                0 => None,
                1 => Some(self.tape.pick(&SIZES).min(*extent)),
                _ => Some(*extent),
            };
            indices.push(size.map_or(Index::Point, Index::Slice));
            shape.extend(size);
        }
        (indices, shape)
    }

    /// Operands of a store: offsets, and a tile of this dtype and shape.
    pub fn put(&mut self, indices: &[Index], dtype: DType, shape: &[u32]) -> Vec<Value> {
        let mut args: Vec<Value> = Vec::new();
        for index in indices {
            args.push(self.offset(if let Index::Slice(size) = index { *size } else { 1 }));
        }
        let value = self.stored(dtype, shape);
        args.push(value);
        args
    }

    pub fn new_shared(&mut self) {
        let shape = self.shape(3);
        let dtype = if self.tape.one_in(3) {
            self.tape.pick(&data::held())
        } else {
            self.tape.pick(&[DType::F32, DType::I32, DType::F16, DType::U32, DType::BOOL])
        };
        let shared = Shared(self.b.kernel.shared.len() as u32);
        let ty = TileType::new(dtype, &shape);
        let swizzle = Swizzle { base: 0, bits: 2, shift: 2 };
        let order = match self.tape.below(6) {
            0 => SharedLayout::column_major(&shape).ok(),
            1 => SharedLayout::row_major(&shape).and_then(|rows| rows.swizzled(swizzle)).ok(),
            2 => SharedLayout::column_major(&shape).and_then(|columns| columns.swizzled(swizzle)).ok(),
            _ => None,
        };
        self.b.kernel.shared.push(SharedDecl { name: format!("s{}", shared.0), ty, order });
        let mut args: Vec<Value> = shape.iter().map(|_| self.b.i32(0)).collect();
        let value = self.stored(dtype, &shape);
        args.push(value);
        let indices = shape.iter().map(|size| Index::Slice(*size)).collect();
        self.b.effect(Op::Store { memory: Memory::Shared(shared), indices }, &args);
        self.shared.push(shared);
    }

    /// A tile of a storage dtype.
    pub fn stored(&mut self, dtype: DType, shape: &[u32]) -> Value {
        let value = self.want(computing(dtype), shape);
        self.narrowed(value, dtype)
    }

    /// A tile of a computing dtype, stored as another.
    pub fn narrowed(&mut self, value: Value, dtype: DType) -> Value {
        let ty = self.b.ty(value).with_dtype(dtype);
        if *self.b.ty(value) == ty {
            return value;
        }
        let rule = match dtype.kind() {
            Kind::Float => CastRule::Round,
            Kind::Bool | Kind::Signed | Kind::Unsigned => {
                self.tape.pick(&[CastRule::Saturate, CastRule::Wrap])
            }
        };
        self.b.define(Op::Cast(rule), &[value], ty)
    }
}

/// The dtype that a storage dtype computes in.
pub(super) fn computing(dtype: DType) -> DType {
    match dtype.kind() {
        Kind::Float => DType::F32,
        Kind::Bool => DType::BOOL,
        Kind::Unsigned if dtype == DType::U32 => DType::U32,
        Kind::Unsigned | Kind::Signed => DType::I32,
    }
}
