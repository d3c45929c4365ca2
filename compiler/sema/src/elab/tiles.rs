//! Functions of whole tiles: `zeros`, `full`, `iota`, reductions, `bitcast`.
//!
//! A reduction over all axes takes them from the last to the first.

use super::{Elab, Operand};
use crate::constant;
use tvmc_ir::tile::{Op, Reduce, TileType, bitcast_leads};
use tvmc_lang::ast::{self, Arg, ArgValue, ExprKind, IndexKind, TypeName};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

impl Elab<'_, '_> {
    pub fn zeros(&mut self, ty: &ast::Type, span: Span) -> Option<Operand> {
        if !self.in_kernel("zeros", span) {
            return None;
        }
        let dtype = self.dtype_named(&ty.elem);
        let shape = self.shape(ty);
        let (dtype, shape) = (dtype?, shape?);
        let zero = match dtype.kind() {
            Kind::Float => constant::Constant::float(0.0),
            Kind::Signed | Kind::Unsigned => constant::Constant::int(0),
            Kind::Bool => constant::Constant::bool(false),
        };
        let value = self.adopt(zero, dtype, span)?;
        let value = self.broadcast(value, &shape, span)?;
        self.pinned(value, ty).map(Operand::Value)
    }

    /// The type that an argument is: written as one, or `T[M, N]` for a generic T, which reads as an index list.
    fn type_argument(&mut self, arg: &Arg) -> Option<(DType, Vec<u32>)> {
        match &arg.value {
            ArgValue::Type(ty) => {
                let dtype = self.dtype_named(&ty.elem);
                let shape = self.shape(ty);
                Some((dtype?, shape?))
            }
            ArgValue::Expr(expr) => {
                let file = self.file();
                let (name, indices): (&ast::Ident, &[ast::IndexItem]) = match &file[*expr].kind {
                    ExprKind::Name(name) => (name, &[]),
                    ExprKind::Index { base, indices, fill: None } => match file.exprs.name(*base) {
                        Some(name) => (name, indices),
                        None => return self.not_a_type(arg),
                    },
                    _ => return self.not_a_type(arg),
                };
                let dtype = self.dtype_named(&TypeName::Named(name.clone()))?;
                let mut shape = Vec::new();
                for index in indices {
                    match index.kind {
                        IndexKind::Point(extent) => shape.push(self.extent(extent)?),
                        IndexKind::Slice { .. } | IndexKind::Whole => return self.not_a_type(arg),
                    }
                }
                self.check_shape(&shape, arg.span)?;
                Some((dtype, shape))
            }
        }
    }

    fn not_a_type<T>(&mut self, arg: &Arg) -> Option<T> {
        self.report(
            Diagnostic::error(Code::WrongArgument, "a type is needed here")
                .at(arg.span, "not a type")
                .help("such as `f32[16, 16]` or `i32`"),
        );
        None
    }

    pub(super) fn full_tile(&mut self, args: &[&Arg], span: Span) -> Option<Operand> {
        if !self.in_kernel("full", span) {
            return None;
        }
        let [ty, value] = args else {
            self.count_error("full", "a type and a value: `full(f32[16], 1.0)`", span);
            return None;
        };
        let written = ty;
        let ty = self.type_argument(ty);
        let value = self.values(&[value]);
        let ((dtype, shape), value) = (ty?, value?[0]);
        let scalar = self.assign_to(value.0, dtype, value.1)?;
        if !self.b.ty(scalar).is_scalar() {
            self.error(Code::NotAScalar, value.1, "a tile is filled with one number", "not a scalar");
            return None;
        }
        let tile = self.broadcast(scalar, &shape, span)?;
        match &written.value {
            ArgValue::Type(ty) => self.pinned(tile, ty).map(Operand::Value),
            ArgValue::Expr(_) => Some(Operand::Value(tile)),
        }
    }

    pub(super) fn iota(&mut self, args: &[&Arg], span: Span) -> Option<Operand> {
        if !self.in_kernel("iota", span) {
            return None;
        }
        let [Arg { value: ArgValue::Expr(extent), .. }] = args else {
            self.count_error("iota", "one extent", span);
            return None;
        };
        let extent = self.extent(*extent)?;
        self.define(Op::Iota, &[], TileType::new(DType::I32, &[extent]), span).map(Operand::Value)
    }

    pub(super) fn reduce(
        &mut self,
        name: &str,
        args: &[&Arg],
        axis: Option<&Arg>,
        span: Span,
    ) -> Option<Operand> {
        if !self.in_kernel(name, span) {
            return None;
        }
        if args.len() != 1 {
            self.count_error(name, "one tile and perhaps an axis: `sum(x, axis = 1)`", span);
            return None;
        }
        let values = self.values(args);
        let (operand, at) = values?[0];
        let mut value = self.computed(operand, at)?;
        let ty = self.ty(value);
        let (op, good) = match name {
            "sum" => (Reduce::Sum, ty.dtype != DType::BOOL),
            "prod" => (Reduce::Prod, ty.dtype != DType::BOOL),
            "min" => (Reduce::Min, ty.dtype != DType::BOOL),
            "max" => (Reduce::Max, ty.dtype != DType::BOOL),
            "any" => (Reduce::Any, ty.dtype == DType::BOOL),
            _ => (Reduce::All, ty.dtype == DType::BOOL),
        };
        if !good {
            let help = if ty.dtype == DType::BOOL {
                "of bools there are `any` and `all`; convert with `as i32` to count"
            } else {
                "compare first: `any(x > 0.0)`"
            };
            self.wrong_type(name, ty.dtype, help, span);
            return None;
        }
        let axes: Vec<usize> = match axis {
            None => (0..ty.shape.len()).rev().collect(),
            Some(axis) => {
                let Some(expr) = axis.expr() else {
                    self.error(Code::WrongArgument, axis.span, "an axis is a constant integer", "a type");
                    return None;
                };
                let last = ty.shape.len() as i64 - 1;
                if last < 0 {
                    self.error(Code::AxisOutOfRange, axis.span, "a scalar has no axes", "no such axis");
                    return None;
                }
                vec![self.known_int(expr, Code::NotConstant, "an axis", 0, last)? as usize]
            }
        };
        for axis in axes {
            let mut ty = self.ty(value);
            ty.shape.remove(axis);
            value = self.define(Op::Reduce(op, axis as u8), &[value], ty, span)?;
        }
        Some(Operand::Value(value))
    }

    pub(super) fn bitcast(&mut self, args: &[&Arg], span: Span) -> Option<Operand> {
        let [value, to] = args else {
            self.count_error("bitcast", "a value and a type: `bitcast(x, i32)`", span);
            return None;
        };
        let value = self.values(&[value]);
        let to_span = to.span;
        let to = self.type_argument(to);
        let ((operand, at), (to, shape)) = (value?[0], to?);
        let value = self.value(operand, at)?;
        let ty = self.ty(value);
        if !shape.is_empty() && shape != ty.shape {
            self.error(Code::ShapeMismatch, to_span, "`bitcast` keeps the shape", "leave the shape out");
            return None;
        }
        if ty.dtype.bits() != to.bits() {
            self.report(
                Diagnostic::error(
                    Code::WidthMismatch,
                    format!("{} has {} bits, {to} has {}", ty.dtype, ty.dtype.bits(), to.bits()),
                )
                .at(span, "another number of bits")
                .help("convert with `as` first"),
            );
            return None;
        }
        if ty.dtype == to {
            return Some(Operand::Value(value));
        }
        if !bitcast_leads(ty.dtype, to) {
            self.report(
                Diagnostic::error(
                    Code::Unsupported,
                    format!("there is no `bitcast` of {} to {to}", ty.dtype),
                )
                .at(span, "these bits cannot be kept")
                .help("it leads from an integer, f16, bf16 or f32 to a number of equal width; load other types as integers"),
            );
            return None;
        }
        self.define(Op::Bitcast, &[value], ty.with_dtype(to), span).map(Operand::Value)
    }
}
