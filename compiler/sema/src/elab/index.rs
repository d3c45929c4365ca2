//! What follows a value: `.T`, `.group`, index lists, methods that change the shape.

use super::{Elab, Mode, Operand, shape_text};
use crate::constant::Constant;
use crate::host::Env;
use crate::library::METHODS;
use tvmc_ir::tile::{Binary, MAX_RANK, Op, TileType, Value};
use tvmc_lang::ast::{self, ExprId, ExprKind, IndexItem, IndexKind};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

impl Elab<'_, '_> {
    /// `base.name`.
    pub fn field(&mut self, base: ExprId, name: &ast::Ident, span: Span) -> Option<Operand> {
        if name.name == "group"
            && let Some(format) = self.file().exprs.name(base)
            && self.find_local(&format.name).is_none()
        {
            if let Some(group) = self.header.group(&format.name).filter(|_| self.header_visible) {
                return Some(Operand::Constant(group));
            }
            let is_param = self.header.params.iter().any(|p| p.name.name == format.name);
            if !is_param {
                if DType::from_name(&format.name).is_some() {
                    return Some(Operand::Constant(Constant::int(1)));
                }
                return self.cx.group_of(self.module, format).map(Operand::Constant);
            }
        }
        let value = self.expr(base)?;
        if let Operand::Memory(memory) = value {
            return self.tensor_field(memory, name);
        }
        if name.name != "T" {
            let what = self.describe(value);
            let d = Diagnostic::error(Code::UnknownMember, format!("{what} has no field `{}`", name.name))
                .at(name.span, "not known");
            self.report(d.help("a tile has `T`; methods are called: `t.reshape(..)`"));
            return None;
        }
        let value = self.value(value, span)?;
        let ty = self.ty(value);
        let [rows, columns] = ty.shape[..] else {
            self.report(
                Diagnostic::error(
                    Code::ShapeMismatch,
                    format!("`.T` needs two dimensions, {ty} has {}", ty.shape.len()),
                )
                .at(span, ty.to_string())
                .help("use `permute(..)` for other ranks, `unsqueeze(0)` to make a row of a vector"),
            );
            return None;
        };
        self.define(Op::Permute(vec![1, 0]), &[value], TileType::new(ty.dtype, &[columns, rows]), span)
            .map(Operand::Value)
    }

    /// `base[..]`.
    pub fn index(
        &mut self,
        base: ExprId,
        indices: &[IndexItem],
        fill: Option<ExprId>,
        span: Span,
    ) -> Option<Operand> {
        // `w.value[..]` is `w[..]`.
        let base = match &self.file()[base].kind {
            ExprKind::Field { base: tensor, name } if name.name == "value" => *tensor,
            _ => base,
        };
        if let ExprKind::Field { base: tensor, name } = &self.file()[base].kind
            && let Some(name_of) = self.file().exprs.name(*tensor)
            && let Some(memory) = self.tensor_named(name_of)
        {
            return self.load_field(memory, name, indices, (fill, span)).map(Operand::Value);
        }
        match self.expr(base)? {
            Operand::Memory(memory) => self.load(memory, indices, fill, span).map(Operand::Value),
            Operand::Block => self.block_index(indices, span).map(Operand::Value),
            Operand::Field(field) => {
                let offset = self.points(indices, 1, span)?;
                self.field_entry(field, offset[0], span).map(Operand::Value)
            }
            Operand::Table(table) => self.table_entry(table, indices, span).map(Operand::Value),
            other @ (Operand::Constant(_) | Operand::Value(_)) => {
                let what = self.describe(other);
                self.report(
                    Diagnostic::error(Code::NotATensor, format!("{what} cannot be indexed"))
                        .at(self.span(base), "not a tensor")
                        .help("index the tensor it was loaded from, or keep it in a `shared` tensor; `where` with `iota` selects within a tile"),
                );
                None
            }
        }
    }

    fn block_index(&mut self, indices: &[IndexItem], span: Span) -> Option<Value> {
        let [IndexItem { kind: IndexKind::Point(axis), .. }] = indices else {
            self.error(
                Code::RankMismatch,
                span,
                "`block` takes one constant index",
                "block[0], block[1] or block[2]",
            );
            return None;
        };
        let axes = self.header.grid.len().max(1) as i64;
        let axis_span = self.span(*axis);
        let constant = self.known(*axis, Code::NotConstant, "the axis of `block`")?;
        match constant.as_int() {
            Some(v) if (0..axes).contains(&v) => {
                self.define(Op::BlockIndex(v as u8), &[], TileType::scalar(DType::I32), span)
            }
            Some(_) | None => {
                self.report(
                    Diagnostic::error(Code::GridInvalid, format!("the grid has {axes} axes"))
                        .at(axis_span, "no such axis")
                        .help("axes count from 0; add one to `grid`"),
                );
                None
            }
        }
    }

    /// Scalar offsets of an index list that has only points.
    fn points(&mut self, indices: &[IndexItem], rank: usize, span: Span) -> Option<Vec<Value>> {
        if indices.len() != rank {
            let needed = if rank == 1 { "1 index is".to_owned() } else { format!("{rank} indices are") };
            let message = format!("{needed} needed here, not {}", indices.len());
            self.error(Code::RankMismatch, span, message, "one index per dimension");
            return None;
        }
        let mut offsets = Vec::new();
        for index in indices {
            match index.kind {
                IndexKind::Point(at) => {
                    let offset = self.expr(at)?;
                    offsets.push(self.scalar_i32(offset, index.span)?);
                }
                IndexKind::Slice { .. } | IndexKind::Whole => {
                    self.error(
                        Code::FormatExpression,
                        index.span,
                        "only single values are read here",
                        "not one value",
                    );
                    return None;
                }
            }
        }
        Some(offsets)
    }

    /// Entry of a field of the format being compiled.
    pub fn field_entry(&mut self, field: u32, at: Value, span: Span) -> Option<Value> {
        let dtype = self.format.fields[field as usize].1;
        self.define(Op::Field(field), &[at], TileType::scalar(dtype), span)
    }

    /// `table[i, ..]`: in a format's `value` for single indices, in a kernel element by element, 0 outside the table.
    fn table_entry(&mut self, table: u32, indices: &[IndexItem], span: Span) -> Option<Value> {
        let (_, shape, dtype, _) = &self.format.tables[table as usize];
        let (shape, dtype) = (shape.clone(), *dtype);
        if matches!(self.mode, Mode::Format(_)) {
            let offsets = self.points(indices, shape.len(), span)?;
            let at = self.row_major(&offsets, &shape, span)?;
            return self.define(Op::Table(table), &[at], TileType::scalar(dtype), span);
        }
        let offsets = self.table_places(indices, shape.len(), span)?;
        let mut at = self.row_major(&offsets, &shape, span)?;
        // An index beyond its row must not reach the next one.
        for (offset, extent) in offsets.iter().zip(&shape).skip(1) {
            let facts = self.facts(*offset);
            if facts.lo >= 0 && facts.hi < i64::from(*extent) {
                continue;
            }
            let (zero, outside) = (self.i32(0, span)?, self.i32(-1, span)?);
            let extent = self.i32(*extent as i32, span)?;
            let low = self.elementwise(Binary::Le, zero, *offset, span)?;
            let high = self.elementwise(Binary::Lt, *offset, extent, span)?;
            let inside = self.elementwise(Binary::And, low, high, span)?;
            let shape = self.ty(at).shape;
            let inside = self.broadcast(inside, &shape, span)?;
            let outside = self.broadcast(outside, &shape, span)?;
            let ty = TileType { dtype: DType::I32, shape };
            at = self.define(Op::Select, &[inside, at, outside], ty, span)?;
        }
        let ty = TileType { dtype, shape: self.ty(at).shape };
        self.define(Op::Table(table), &[at], ty, span)
    }

    /// The place in row-major order of an entry.
    fn row_major(&mut self, offsets: &[Value], shape: &[u32], span: Span) -> Option<Value> {
        let mut at: Option<Value> = None;
        for (offset, extent) in offsets.iter().zip(shape) {
            at = Some(match at {
                None => *offset,
                Some(rows) => {
                    let extent = self.i32(*extent as i32, span)?;
                    let start = self.elementwise(Binary::Mul, rows, extent, span)?;
                    self.elementwise(Binary::Add, start, *offset, span)?
                }
            });
        }
        at
    }

    /// Integers or tiles of them, one for each axis of a table.
    fn table_places(&mut self, indices: &[IndexItem], rank: usize, span: Span) -> Option<Vec<Value>> {
        if indices.len() != rank {
            let message = format!("{rank} indices are needed here, not {}", indices.len());
            self.error(Code::RankMismatch, span, message, "one index per dimension");
            return None;
        }
        let mut places = Vec::new();
        for index in indices {
            let IndexKind::Point(at) = index.kind else {
                self.report(
                    Diagnostic::error(Code::RankMismatch, "a table has no slices")
                        .at(index.span, "not an index")
                        .help("index it by a tile: `t[first + iota(16)]`"),
                );
                return None;
            };
            let operand = self.expr(at)?;
            let value = self.computed(operand, index.span)?;
            let ty = self.ty(value);
            if ty.dtype != DType::I32 {
                self.report(
                    Diagnostic::error(Code::WrongType, format!("integers are needed here, not {ty}"))
                        .at(index.span, ty.to_string())
                        .help("convert with `as i32`"),
                );
                return None;
            }
            places.push(value);
        }
        Some(places)
    }

    /// `base.name(..)`.
    pub fn method(
        &mut self,
        base: ExprId,
        name: &ast::Ident,
        args: &[ast::Arg],
        span: Span,
    ) -> Option<Operand> {
        if !self.in_kernel(&name.name, span) {
            return None;
        }
        if !METHODS.contains(&name.name.as_str()) {
            let d = Diagnostic::error(Code::UnknownMember, format!("there is no method `{}`", name.name))
                .at(name.span, "not known");
            self.report(match closest(&name.name, METHODS) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help("tiles have `unsqueeze`, `squeeze`, `reshape`, `permute` and `T`"),
            });
            return None;
        }
        let operand = self.expr(base)?;
        let value = self.value(operand, self.span(base))?;
        let mut numbers = Vec::new();
        for arg in args {
            let Some(expr) = arg.expr().filter(|_| arg.name.is_none()) else {
                self.error(
                    Code::WrongArgument,
                    arg.span,
                    "a constant integer is needed here",
                    "not a number",
                );
                return None;
            };
            let what = if name.name == "reshape" { "an extent" } else { "an axis" };
            let top = if name.name == "reshape" { 1 << 20 } else { MAX_RANK as i64 };
            numbers.push(self.known_int(expr, Code::ExtentNotConstant, what, 0, top)? as u32);
        }
        let ty = self.ty(value);
        let rank = ty.shape.len();
        let one = |e: &mut Self, limit: usize| match numbers[..] {
            [axis] if (axis as usize) < limit => Some(axis as usize),
            [axis] => {
                e.report(
                    Diagnostic::error(Code::AxisOutOfRange, format!("{ty} has no axis {axis} here"))
                        .at(span, format!("axes 0 to {}", limit.saturating_sub(1)))
                        .help("axes count from 0"),
                );
                None
            }
            _ => {
                let message = format!("`{}` takes one axis", name.name);
                e.error(Code::WrongArgumentCount, span, message, "one argument");
                None
            }
        };
        match name.name.as_str() {
            "unsqueeze" => {
                let axis = one(self, rank + 1)?;
                let mut shape = ty.shape.clone();
                shape.insert(axis, 1);
                self.define(Op::Reshape, &[value], TileType::new(ty.dtype, &shape), span).map(Operand::Value)
            }
            "squeeze" => {
                let axis = one(self, rank)?;
                if ty.shape[axis] != 1 {
                    self.report(
                        Diagnostic::error(
                            Code::ShapeMismatch,
                            format!("axis {axis} of {ty} has extent {}", ty.shape[axis]),
                        )
                        .at(span, "only an extent of 1 can be dropped")
                        .help("reduce over it, or use `reshape(..)`"),
                    );
                    return None;
                }
                let mut shape = ty.shape.clone();
                shape.remove(axis);
                self.define(Op::Reshape, &[value], TileType::new(ty.dtype, &shape), span).map(Operand::Value)
            }
            "reshape" => {
                let count = numbers.iter().try_fold(1u64, |n, e| n.checked_mul(u64::from(*e)));
                if count != Some(ty.elements()) {
                    if self.sample && self.required != 0 {
                        return None;
                    }
                    let message = format!(
                        "{ty} has {} elements, {} has another number",
                        ty.elements(),
                        shape_text(&numbers)
                    );
                    self.report(
                        Diagnostic::error(Code::ShapeMismatch, message)
                            .at(span, "the number of elements changes")
                            .help("the extents multiply to the same number"),
                    );
                    return None;
                }
                self.define(Op::Reshape, &[value], TileType::new(ty.dtype, &numbers), span)
                    .map(Operand::Value)
            }
            _ => {
                let mut sorted = numbers.clone();
                sorted.sort_unstable();
                if sorted.iter().copied().ne(0..rank as u32) {
                    self.report(
                        Diagnostic::error(
                            Code::AxisOutOfRange,
                            format!("`permute` names each of the {rank} axes once"),
                        )
                        .at(span, "not a permutation")
                        .help("`t.permute(1, 0)` exchanges the axes of a matrix"),
                    );
                    return None;
                }
                let shape: Vec<u32> = numbers.iter().map(|a| ty.shape[*a as usize]).collect();
                let axes = numbers.iter().map(|a| *a as u8).collect();
                self.define(Op::Permute(axes), &[value], TileType::new(ty.dtype, &shape), span)
                    .map(Operand::Value)
            }
        }
    }

    /// Refuses what is not element-wise inside a fn or format.
    pub fn in_kernel(&mut self, what: &str, span: Span) -> bool {
        let (place, code) = match self.mode {
            _ if !self.calls.is_empty() => ("a fn", Code::WrongArgument),
            Mode::Kernel => return true,
            Mode::Function => ("a fn", Code::WrongArgument),
            Mode::Format(_) => ("a format", Code::FormatExpression),
        };
        self.report(
            Diagnostic::error(code, format!("`{what}` has no place in {place}: it is not element-wise"))
                .at(span, "works on whole tiles")
                .help("do this in the kernel"),
        );
        false
    }
}
