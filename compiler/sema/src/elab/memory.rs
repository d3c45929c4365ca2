//! Loads and stores.
//!
//! One index per dimension: a point drops it, a slice or `..` keeps it. What lies outside is zero or the `else` value on a load and skipped on a
//! store; an index that is known and always outside is an error.

use super::{Elab, Operand};
use crate::diags::counted;
use crate::host::Host;
use crate::signature::{ParameterKind, StoreRule};
use tvmc_ir::tile::{Binary, Element, Index, Memory, Op, TileType, Value};
use tvmc_lang::ast::{self, AssignOp, BinaryOp, ExprId, IndexItem, IndexKind, Mode, Target};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// A resolved index list.
pub(super) struct Access {
    pub indices: Vec<Index>,
    pub offsets: Vec<Value>,
    /// The shape of the tile.
    pub shape: Vec<u32>,
}

impl Elab<'_, '_> {
    pub(super) fn memory_name(&self, memory: Memory) -> String {
        match memory {
            Memory::Param(p) => self.header.params[p.index()].name.name.clone(),
            Memory::Shared(s) => self.b.kernel.shared[s.index()].name.clone(),
        }
    }

    /// The dtype that a load gives and a store takes; `None` in the second place for a plain dtype.
    pub(super) fn element_dtype(&self, memory: Memory) -> (DType, bool) {
        match self.b.kernel.element(memory) {
            Some((Element::DType(dtype), _)) => (dtype, false),
            Some((Element::Format(_), _)) | None => (DType::F32, true),
        }
    }

    pub(super) fn store_rule(&self, memory: Memory) -> StoreRule {
        match memory {
            Memory::Param(param) => self.header.params[param.index()].stores,
            Memory::Shared(_) => StoreRule::Exact,
        }
    }

    /// Whether the argument may be read or written so; an error if not.
    pub(super) fn allowed(&mut self, memory: Memory, write: bool, span: Span) -> bool {
        let Memory::Param(param) = memory else { return true };
        let param = &self.header.params[param.index()];
        let (name, at) = (param.name.name.clone(), param.name.span);
        match (param.mode, write) {
            (Mode::In, true) => {
                self.report(
                    Diagnostic::error(Code::StoreToReadOnly, format!("`{name}` is read-only"))
                        .at(span, "stored to here")
                        .also(at, "declared here")
                        .help(format!("declare it `{name}: out ..`, or `inout` if it is read too")),
                );
                false
            }
            (Mode::Out, false) => {
                self.report(
                    Diagnostic::error(
                        Code::ReadOfOut,
                        format!("`{name}` is `out`: it holds nothing to read"),
                    )
                    .at(span, "read here")
                    .also(at, "declared here")
                    .help(format!("declare it `{name}: inout ..`")),
                );
                false
            }
            (Mode::In, false) | (Mode::Out, true) | (Mode::InOut, _) => true,
        }
    }

    /// The extents of a tensor; an error unless it has as many as there are indices.
    pub(super) fn extents_of(&mut self, memory: Memory, indices: usize, span: Span) -> Option<Vec<Host>> {
        let extents: Vec<Host> = match memory {
            Memory::Param(p) => match &self.header.params[p.index()].kind {
                ParameterKind::Tensor { shape, .. } => shape.clone(),
                ParameterKind::Scalar(_) | ParameterKind::Poison => return None,
            },
            Memory::Shared(s) => self.b.kernel.shared[s.index()]
                .ty
                .shape
                .iter()
                .map(|e| Host::Constant(crate::constant::Constant::int(i64::from(*e))))
                .collect(),
        };
        if extents.len() != indices {
            let name = self.memory_name(memory);
            self.report(
                Diagnostic::error(
                    Code::RankMismatch,
                    format!(
                        "`{name}` has {}, but {indices} {} given",
                        counted(extents.len(), "dimension"),
                        if indices == 1 { "index is" } else { "indices are" }
                    ),
                )
                .at(span, "one index per dimension")
                .help("a point `i`, a slice `i +: S`, or `..` for the whole dimension"),
            );
            return None;
        }
        Some(extents)
    }

    pub(super) fn access(&mut self, memory: Memory, items: &[IndexItem], span: Span) -> Option<Access> {
        let extents = self.extents_of(memory, items.len(), span)?;
        let mut access = Access { indices: Vec::new(), offsets: Vec::new(), shape: Vec::new() };
        let mut good = true;
        for (item, extent) in items.iter().zip(&extents) {
            good &= self.one_index(item, extent, &mut access).is_some();
        }
        if !good {
            return None;
        }
        self.check_shape(&access.shape, span)?;
        Some(access)
    }

    pub(super) fn one_index(&mut self, item: &IndexItem, extent: &Host, access: &mut Access) -> Option<()> {
        match item.kind {
            IndexKind::Point(at) => {
                let operand = self.expr(at)?;
                let offset = self.scalar_i32(operand, item.span)?;
                self.in_bounds(offset, 1, extent, item.span)?;
                access.indices.push(Index::Point);
                access.offsets.push(offset);
            }
            IndexKind::Slice { start, extent: size } => {
                let operand = self.expr(start);
                let size = self.extent(size);
                let at = self.span(start);
                let offset = operand.and_then(|o| self.scalar_i32(o, at));
                let (offset, size) = (offset?, size?);
                self.in_bounds(offset, size, extent, item.span)?;
                access.indices.push(Index::Slice(size));
                access.offsets.push(offset);
                access.shape.push(size);
            }
            IndexKind::Whole => {
                let size = match extent {
                    Host::Constant(c) => {
                        self.require(c);
                        c.as_int().unwrap_or(0)
                    }
                    Host::Expr(expr, _) => {
                        let mut names = Vec::new();
                        expr.names(&mut |n| names.push(format!("`{n}`")));
                        self.report(
                            Diagnostic::error(
                                Code::ExtentNotConstant,
                                "`..` is a whole dimension, whose size must be known when the kernel is compiled",
                            )
                            .at(item.span, format!("of extent {expr}"))
                            .help(format!("give the instance a value for dimension {}", names.join(" and "))),
                        );
                        return None;
                    }
                };
                let Some(size) = u32::try_from(size).ok().filter(|size| (1..=1 << 20).contains(size)) else {
                    self.report(
                        Diagnostic::error(
                            Code::TileTooLarge,
                            format!("a dimension of {size} is no extent of a tile"),
                        )
                        .at(item.span, format!("from 1 to {} elements", 1 << 20))
                        .help("take a slice of it: `i +: 64`"),
                    );
                    return None;
                };
                let zero = self.i32(0, item.span)?;
                access.indices.push(Index::Slice(size));
                access.offsets.push(zero);
                access.shape.push(size);
            }
        }
        Some(())
    }

    /// Refuses an index that is known to lie outside.
    pub(super) fn in_bounds(&mut self, offset: Value, size: u32, extent: &Host, span: Span) -> Option<()> {
        let facts = self.facts(offset);
        if facts.hi + i64::from(size) <= 0 {
            let at = facts.as_constant().map_or_else(|| format!("at most {}", facts.hi), |v| v.to_string());
            self.report(
                Diagnostic::error(
                    Code::StaticOutOfBounds,
                    format!("index {at} lies before the first element"),
                )
                .at(span, "always outside")
                .help("indices count from 0"),
            );
            return None;
        }
        let Host::Constant(extent) = extent else { return Some(()) };
        let bound = extent.as_int()?;
        let outside = facts.lo >= bound;
        // A sample value of a dimension judges nothing; an empty dimension has nothing inside.
        if !outside || bound == 0 || self.sample && extent.dims != 0 {
            return Some(());
        }
        let at = facts.as_constant().map_or_else(|| format!("at least {}", facts.lo), |v| v.to_string());
        self.report(
            Diagnostic::error(
                Code::StaticOutOfBounds,
                format!("index {at} lies outside the dimension of {bound}"),
            )
            .at(span, "always outside")
            .help(format!("indices count from 0 to {}", bound - 1)),
        );
        None
    }

    /// A tile or scalar from memory.
    pub fn load(
        &mut self,
        memory: Memory,
        items: &[IndexItem],
        fill: Option<ExprId>,
        span: Span,
    ) -> Option<Value> {
        let allowed = self.allowed(memory, false, span);
        let access = self.access(memory, items, span);
        let (dtype, _) = self.element_dtype(memory);
        let fill = match fill {
            None => None,
            Some(id) => {
                let operand = self.expr(id)?;
                let at = self.span(id);
                let value = self.assign_to(operand, dtype, at)?;
                if !self.b.ty(value).is_scalar() {
                    self.error(
                        Code::NotAScalar,
                        at,
                        "what stands for elements outside is one number",
                        "a tile",
                    );
                    return None;
                }
                Some(value)
            }
        };
        if !allowed {
            return None;
        }
        self.accessed(memory, false, span)?;
        let Access { indices, mut offsets, shape } = access?;
        let padded = fill.is_some();
        offsets.extend(fill);
        self.define(Op::Load { memory, indices, padded }, &offsets, TileType { dtype, shape }, span)
    }

    /// `t[..] = e` and `t[..] += e`.
    pub fn store(&mut self, target: &Target, op: AssignOp, value: ExprId) -> Option<()> {
        let Target::Store { base, indices, span } = target else { return None };
        let span = *span;
        if self.refuse_field_store(*base, value) {
            return None;
        }
        let base_operand = self.expr(*base);
        let Some(Operand::Memory(memory)) = base_operand else {
            if let Some(other) = base_operand {
                let what = self.describe(other);
                self.report(
                    Diagnostic::error(Code::NotATensor, format!("{what} cannot be stored to"))
                        .at(span, "not a tensor")
                        .help("assign a `var` as a whole, or keep the tile in a `shared` tensor"),
                );
            }
            self.look(value);
            return None;
        };
        let (dtype, format) = self.element_dtype(memory);
        if format {
            return self.store_encoded(memory, indices, op, value, span);
        }
        let write = self.allowed(memory, true, span);
        let read = op == AssignOp::Set || self.allowed(memory, false, span);
        let access = self.access(memory, indices, span);
        let at = self.span(value);
        let Some(access) = access.filter(|_| write && read) else {
            self.look(value);
            return None;
        };
        let result = match op {
            AssignOp::Set => self.expr(value)?,
            AssignOp::Add if self.is_dot(value) => {
                let factors = self.dot_factors(value)?;
                let old = self.reload(memory, &access, dtype, span)?;
                Operand::Value(self.accumulate((Operand::Value(old), span), factors, span)?)
            }
            AssignOp::Add | AssignOp::Sub | AssignOp::Mul | AssignOp::Div => {
                let new = self.expr(value)?;
                let old = self.reload(memory, &access, dtype, span)?;
                self.binary(operator(op), (Operand::Value(old), span), (new, at), span)?
            }
        };
        let value = self.stored_value(memory, result, dtype, at)?;
        self.accessed(memory, false, span)?;
        let value = self.fit_shape(value, &access.shape, at)?;
        let mut args = access.offsets;
        args.push(value);
        self.effect(Op::Store { memory, indices: access.indices }, &args, span);
        Some(())
    }

    fn reload(&mut self, memory: Memory, access: &Access, dtype: DType, span: Span) -> Option<Value> {
        let ty = TileType { dtype, shape: access.shape.clone() };
        let op = Op::Load { memory, indices: access.indices.clone(), padded: false };
        self.define(op, &access.offsets, ty, span)
    }

    /// `shared f32[A, B]`, perhaps with an order, bound to a name.
    pub fn shared(&mut self, name: &str, ty: &ast::Type, span: Span) -> Option<Operand> {
        let dtype = self.dtype_named(&ty.elem);
        let extents: Vec<Option<u32>> = ty.shape.iter().flatten().map(|e| self.extent(*e)).collect();
        let shape: Vec<u32> = extents.into_iter().collect::<Option<_>>()?;
        let dtype = dtype?;
        self.check_shape(&shape, span)?;
        let order = match &ty.layout {
            Some(layout) => Some(self.order_of(layout, &shape)?),
            None => None,
        };
        if dtype.bits() > 32 {
            self.error(
                Code::UnsupportedWidth,
                span,
                format!("kernels cannot read or write {dtype}"),
                "64 bits wide",
            );
            return None;
        }
        let decl = tvmc_ir::tile::SharedDecl { name: name.to_owned(), ty: TileType { dtype, shape }, order };
        self.b.kernel.shared.push(decl);
        let at = self.b.kernel.shared.len() as u32 - 1;
        Some(Operand::Memory(Memory::Shared(tvmc_ir::tile::Shared(at))))
    }

    /// `a + b` of i32 scalars, and so on: for loop counters.
    pub fn i32_op(&mut self, op: Binary, a: Value, b: Value, span: Span) -> Option<Value> {
        self.elementwise(op, a, b, span)
    }
}

/// The operator in `+=`.
pub(crate) fn operator(op: AssignOp) -> BinaryOp {
    match op {
        AssignOp::Set | AssignOp::Add => BinaryOp::Add,
        AssignOp::Sub => BinaryOp::Sub,
        AssignOp::Mul => BinaryOp::Mul,
        AssignOp::Div => BinaryOp::Div,
    }
}
