//! What must be known when the kernel is compiled: extents, steps, axes, numbers of layouts.
//!
//! A constant that was computed from a dimension notes that the dimension must be specialised; a value that depends on a runtime dimension is an
//! error that names it.

use super::{Elab, Operand, shape_text};
use crate::constant::Constant;
use crate::host::{Env, Host, Named};
use tvmc_ir::tile::{MAX_ELEMENTS, Value};
use tvmc_lang::ast::{self, ExprId, ExprKind};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::layout::{Layout, SharedLayout};

impl Elab<'_, '_> {
    /// The constant that an expression is; otherwise an error that says what would have to be known.
    pub fn known(&mut self, id: ExprId, code: Code, what: &str) -> Option<Constant> {
        let span = self.span(id);
        match self.expr(id)? {
            Operand::Constant(c) => {
                self.require(&c);
                Some(c)
            }
            Operand::Value(_)
            | Operand::Memory(_)
            | Operand::Field(_)
            | Operand::Table(_)
            | Operand::Block => {
                let mut dims = self.runtime_dims_in(id);
                dims.dedup();
                let d = Diagnostic::error(code, format!("{what} must be known when the kernel is compiled"))
                    .at(span, "not a constant");
                let d = match dims.as_slice() {
                    [] => {
                        d.help("use literals, `const` and `tune` names, dimensions, and arithmetic on them")
                    }
                    dims => {
                        let names: Vec<String> = dims.iter().map(|d| format!("`{d}`")).collect();
                        d.help(format!("give the instance a value for dimension {}", names.join(" and ")))
                    }
                };
                self.report(d);
                None
            }
        }
    }

    fn runtime_dims_in(&self, id: ExprId) -> Vec<String> {
        let file = self.file();
        let mut stack = vec![id];
        let mut dims = Vec::new();
        while let Some(id) = stack.pop() {
            if let ExprKind::Name(name) = &file[id].kind {
                let mut add = |name: &str| {
                    if self.b.kernel.dims.iter().any(|d| d.name == name) {
                        dims.push(name.to_owned());
                    }
                };
                match self.header.name(&name.name) {
                    Named::Value(Host::Expr(expr, _)) => expr.names(&mut add),
                    Named::Value(Host::Constant(_)) | Named::Other(_) | Named::Poison | Named::Unknown => {}
                }
            }
            file[id].kind.for_each_child(&mut |child| stack.push(child));
        }
        dims.sort();
        dims
    }

    /// A constant integer in a range.
    pub fn known_int(&mut self, id: ExprId, code: Code, what: &str, lo: i64, hi: i64) -> Option<i64> {
        let constant = self.known(id, code, what)?;
        let span = self.span(id);
        match constant.as_int() {
            Some(v) if (lo..=hi).contains(&v) => Some(v),
            Some(v) => {
                let code = if code == Code::StepInvalid { code } else { Code::ConstantOverflow };
                let code = if code == Code::ConstantOverflow && what == "an axis" {
                    Code::AxisOutOfRange
                } else {
                    code
                };
                self.report(
                    Diagnostic::error(code, format!("{what} cannot be {v}"))
                        .at(span, format!("from {lo} to {hi}"))
                        .help(if what == "an axis" { "axes count from 0" } else { "choose another value" }),
                );
                None
            }
            None => {
                let kind = constant.describe();
                self.error(Code::WrongType, span, format!("{what} is an integer, not {kind}"), kind);
                None
            }
        }
    }

    /// The extent of a tile.
    pub fn extent(&mut self, id: ExprId) -> Option<u32> {
        let v = self.known_int(id, Code::ExtentNotConstant, "the extent of a tile", 1, 1 << 20)?;
        u32::try_from(v).ok()
    }

    /// The shape in a type; `None` brackets are a scalar.
    pub fn shape(&mut self, ty: &ast::Type) -> Option<Vec<u32>> {
        let extents: Vec<Option<u32>> = ty.shape.iter().flatten().map(|e| self.extent(*e)).collect();
        let shape: Vec<u32> = extents.into_iter().collect::<Option<_>>()?;
        self.check_shape(&shape, ty.span)?;
        Some(shape)
    }

    /// A written layout of a tile of this shape, checked against the lanes of the kernel.
    pub fn layout_of(&mut self, layout: &ast::Layout, shape: &[u32]) -> Option<Layout> {
        let built = self.layout(layout)?;
        if built.shape() != shape {
            self.shape_differs("a layout", built.shape(), ("a tile", shape), layout.span);
            return None;
        }
        Some(built)
    }

    /// The factors of a written layout, their numbers known.
    fn factors_of(&mut self, layout: &ast::Layout) -> Option<Vec<(ast::Ident, Vec<u32>, Span)>> {
        let mut factors = Vec::new();
        for factor in &layout.factors {
            let numbers: Vec<Option<i64>> = factor
                .args
                .iter()
                .map(|a| self.known_int(*a, Code::NotConstant, "a number of a layout", 0, 1 << 24))
                .collect();
            let numbers: Vec<u32> =
                numbers.into_iter().map(|n| n.and_then(|n| u32::try_from(n).ok())).collect::<Option<_>>()?;
            factors.push((factor.name.clone(), numbers, factor.span));
        }
        Some(factors)
    }

    /// The written order of a block-shared tensor of this shape.
    pub fn order_of(&mut self, layout: &ast::Layout, shape: &[u32]) -> Option<SharedLayout> {
        let factors = self.factors_of(layout)?;
        let order = crate::layout::build_shared(self.cx, &factors)?;
        if order.shape() != shape {
            self.shape_differs("an order", order.shape(), ("a tensor", shape), layout.span);
            return None;
        }
        if u64::from(order.size()) > MAX_ELEMENTS {
            let message = format!("this order takes {} places of memory", order.size());
            self.report(
                Diagnostic::error(Code::TileTooLarge, message)
                    .at(layout.span, format!("at most {MAX_ELEMENTS}"))
                    .help("smaller strides leave less room between elements"),
            );
            return None;
        }
        if let Some((a, b)) = order.first_collision() {
            let element = |at| shape_text(&index_of(at, shape));
            let offset = order.offset(&index_of(a, shape));
            let message = format!("elements {} and {} have one place in memory", element(a), element(b));
            self.report(
                Diagnostic::error(Code::LayoutInvalid, message)
                    .at(layout.span, format!("both lie at {offset}"))
                    .help("each element needs an offset of its own: a stride reaches past what smaller strides cover"),
            );
            return None;
        }
        Some(order)
    }

    fn shape_differs(&mut self, what: &str, has: &[u32], (whose, shape): (&str, &[u32]), span: Span) {
        let message = format!("{what} of shape {} for {whose} {}", shape_text(has), shape_text(shape));
        self.report(
            Diagnostic::error(Code::LayoutShape, message)
                .at(span, shape_text(has))
                .help("the factors' extents multiply up, dimension by dimension, to the shape"),
        );
    }

    /// A written layout, checked against the lanes of the kernel.
    pub fn layout(&mut self, layout: &ast::Layout) -> Option<Layout> {
        let factors = self.factors_of(layout)?;
        let built = crate::layout::build(self.cx, &factors)?;
        let lanes = built.spatial_size();
        match self.lanes {
            Some((pinned, first)) if pinned != lanes => {
                self.lanes_differ(&built, layout.span, pinned, first);
                return None;
            }
            Some(_) => {}
            None if lanes.is_power_of_two() && lanes <= 1024 => {
                self.lanes = Some((lanes, layout.span));
            }
            None => {
                self.report(
                    Diagnostic::error(Code::LanesInvalid, format!("this layout uses {lanes} lanes"))
                        .at(layout.span, "not a power of two up to 1024")
                        .help("choose spatial factors that multiply to a power of two"),
                );
                return None;
            }
        }
        self.first_layout.get_or_insert_with(|| built.clone());
        Some(built)
    }

    /// Pins a value whose type was written, if with a layout.
    pub fn pinned(&mut self, value: Value, ty: &ast::Type) -> Option<Value> {
        let Some(written) = &ty.layout else { return Some(value) };
        let shape = self.ty(value).shape;
        let layout = self.layout_of(written, &shape)?;
        self.pin(value, layout, written.span)
    }
}

/// The index of the element at a row-major position.
fn index_of(position: u32, shape: &[u32]) -> Vec<u32> {
    let mut rest = position;
    let mut index: Vec<u32> = shape
        .iter()
        .rev()
        .map(|extent| {
            let digit = rest % extent;
            rest /= extent;
            digit
        })
        .collect();
    index.reverse();
    index
}
