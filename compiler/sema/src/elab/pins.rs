//! Pinned layouts: `let t: T[..] @ L = ..`, `relayout(t, L)`, `view(t, T @ L)`.
//!
//! A layout belongs to a value, so two names of one value have one layout, and a variable keeps the layout that it has as it keeps its
//! type. Where the source demands two of one value, that is an error which draws both; `relayout` makes a second value. `view` works on
//! integers: floats enter and leave it by `bitcast`. What it views need not be pinned itself: `inferred` finds its layout when the kernel is whole.
//!
//! ```text
//! let b: i6[16, 8] @ L = w[..];       v9 = load ..                  layout v9 "L"
//! view(b, u8 @ local(3).spatial(32))  v10: u8[96] = view v9         layout v10 "local(3).spatial(32)"
//! ```

use super::inferred::OpenView;
use super::{Elab, Operand, shape_text};
use tvmc_ir::tile::{Op, TileType, Value, ViewError, bitcast_leads, check_view};
use tvmc_lang::ast::{self, Arg, ArgValue};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::layout::Layout;

/// Most rows and columns of a layout in a message.
const DRAWN: (u32, u32) = (8, 8);

/// A layout as the note of a message shows it.
pub(super) fn drawn(what: &str, layout: &Layout) -> String {
    format!("{what} {layout}, as lane:slot:\n{}", layout.draw(DRAWN.0, DRAWN.1).trim_end())
}

impl Elab<'_, '_> {
    /// Writes the layout of a value, unless the source has given it another one.
    pub fn pin(&mut self, value: Value, layout: Layout, span: Span) -> Option<Value> {
        let Some(pinned) = self.b.kernel.layout(value).cloned() else {
            let location = self.cx.lib.location(span);
            self.b.pin(value, layout, &location);
            self.pinned_at.insert(value, span);
            return Some(value);
        };
        if pinned == layout {
            return Some(value);
        }
        let message = "two layouts are demanded of one tile".to_owned();
        let mut d = Diagnostic::error(Code::LayoutConflict, message).at(span, format!("{layout} here"));
        if let Some(first) = self.pinned_at.get(&value) {
            d = d.also(*first, format!("{pinned} here"));
        }
        if let Some((lane, slot)) = pinned.first_difference(&layout) {
            d = d.note(format!(
                "lane {lane} holds in slot {slot} element {} of the first, element {} of the second",
                shape_text(&pinned.element(lane, slot)),
                shape_text(&layout.element(lane, slot))
            ));
        }
        let d = d.note(drawn("the first:", &pinned)).note(drawn("the second:", &layout));
        self.report(d.help(format!("`relayout(t, {layout})` gives the tile in the second layout")));
        None
    }

    /// Gives a value of a variable the layout that the variable has.
    pub fn keep_layout(&mut self, old: Value, new: Value, span: Span) -> Option<Value> {
        match self.b.kernel.pins.get(&old) {
            Some(pin) => {
                let layout = pin.layout.clone();
                self.pin(new, layout, span)
            }
            None => Some(new),
        }
    }

    /// A layout that disagrees with the kernel's number of lanes.
    pub fn lanes_differ(&mut self, layout: &Layout, span: Span, pinned: u32, first: Span) {
        let lanes = layout.spatial_size();
        let message = format!("this layout uses {lanes} lanes, but the kernel has {pinned}");
        let d = Diagnostic::error(Code::LayoutLanes, message)
            .at(span, format!("{lanes} lanes"))
            .also(first, format!("{pinned} lanes"));
        let d = match &self.first_layout {
            Some(other) => d.note(drawn("the first:", other)),
            None => d,
        };
        self.report(d.note(drawn("this one:", layout)).help(
            "make the spatial factors multiply to the same number; `replicated(n)` repeats a tile over lanes",
        ));
    }

    pub(super) fn relayout(&mut self, args: &[&Arg], span: Span) -> Option<Operand> {
        if !self.in_kernel("relayout", span) {
            return None;
        }
        let [value, layout] = args else {
            self.count_error("relayout", "a tile and a layout: `relayout(t, local(2).spatial(8))`", span);
            return None;
        };
        let value = self.values(&[value]);
        let (operand, at) = value?[0];
        let value = self.value(operand, at)?;
        let Some(written) = layout.expr().and_then(|e| self.file().exprs.layout(e)) else {
            self.error(Code::WrongArgument, layout.span, "a layout is needed here", "not a layout");
            return None;
        };
        let ty = self.ty(value);
        let to = self.layout_of(&written, &ty.shape)?;
        let result = self.define(Op::Relayout, &[value], ty, span)?;
        self.pin(result, to, layout.span).map(Operand::Value)
    }

    pub(super) fn view(&mut self, args: &[&Arg], span: Span) -> Option<Operand> {
        if !self.in_kernel("view", span) {
            return None;
        }
        let [value, ty] = args else {
            self.count_error(
                "view",
                "a tile and a type with its layout: `view(t, u8 @ local(3).spatial(32))`",
                span,
            );
            return None;
        };
        let values = self.values(&[value]);
        let ArgValue::Type(ast::Type { elem, layout: Some(written), shape, .. }) = &ty.value else {
            self.report(
                Diagnostic::error(Code::LayoutNotWritten, "`view` needs the layout of its result")
                    .at(ty.span, "no layout")
                    .help("write the type with it: `view(t, u8 @ local(3).spatial(32))`"),
            );
            return None;
        };
        let dtype = self.dtype_named(elem);
        let to = self.layout(written);
        let (operand, at) = values?[0];
        let (dtype, to) = (dtype?, to?);
        if let Some(extents) = shape {
            let extents: Option<Vec<u32>> = extents.iter().map(|e| self.extent(*e)).collect();
            if extents? != to.shape() {
                let message = format!("the layout has the shape {}", shape_text(to.shape()));
                self.error(Code::LayoutShape, written.span, message, "not that of the type");
                return None;
            }
        }
        self.check_shape(to.shape(), written.span)?;
        let value = self.value(operand, at)?;
        let ty = self.ty(value);
        let from = self.b.kernel.layout(value).cloned();
        if let Some(from) = &from
            && let Err(error) = check_view((ty.dtype, from), (dtype, &to))
        {
            self.refuse_view(&error, (&ty, from), (dtype, &to), (at, written.span));
            return None;
        }
        let bits = self.as_bits(value, at)?;
        let number = if dtype.kind() == Kind::Float { self.bits_type(dtype, written.span)? } else { dtype };
        if !tvmc_ir::tile::views(number) {
            self.no_view(dtype, written.span);
            return None;
        }
        let result = self.define(Op::View, &[bits], TileType::new(number, to.shape()), span)?;
        let result = self.pin(result, to.clone(), written.span)?;
        if from.is_none() {
            self.open_views.push(OpenView { ty, bits, result, dtype, at, written: written.span });
        }
        if number == dtype {
            return Some(Operand::Value(result));
        }
        let result = self.define(Op::Bitcast, &[result], TileType::new(dtype, to.shape()), span)?;
        self.pin(result, to, written.span).map(Operand::Value)
    }

    /// The codes of a tile's elements, in its layout.
    fn as_bits(&mut self, value: Value, span: Span) -> Option<Value> {
        let ty = self.ty(value);
        if tvmc_ir::tile::views(ty.dtype) {
            return Some(value);
        }
        let number = self.bits_type(ty.dtype, span)?;
        if !bitcast_leads(ty.dtype, number) {
            self.no_view(ty.dtype, span);
            return None;
        }
        let bits = self.define(Op::Bitcast, &[value], ty.with_dtype(number), span)?;
        self.keep_layout(value, bits, span)
    }

    /// The unsigned integer of a type's width.
    fn bits_type(&mut self, dtype: DType, span: Span) -> Option<DType> {
        let found = DType::from_name(&format!("u{}", dtype.bits())).filter(|_| dtype.kind() != Kind::Bool);
        if found.is_none() {
            self.no_view(dtype, span);
        }
        found
    }

    fn no_view(&mut self, dtype: DType, span: Span) {
        self.report(
            Diagnostic::error(Code::Unsupported, format!("there is no `view` of {dtype}"))
                .at(span, "these bits cannot be read")
                .help("it leads from integers, f16, bf16 and f32 to numbers of up to 32 bits; load other types as integers"),
        );
    }

    pub(super) fn refuse_view(
        &mut self,
        error: &ViewError,
        (from_ty, from): (&TileType, &Layout),
        (to_dtype, to): (DType, &Layout),
        (at, written): (Span, Span),
    ) {
        let of = |dtype: DType, layout: &Layout| {
            format!("{} lanes, each {} x {dtype}", layout.spatial_size(), layout.local_size())
        };
        let help = match error {
            ViewError::Lanes { .. } => unreachable!("every layout of a kernel has the kernel's lanes"),
            ViewError::Bits { from: bits, .. } if bits.is_multiple_of(to_dtype.bits().into()) => {
                format!("the result needs {} slots in a lane", bits / u64::from(to_dtype.bits()))
            }
            ViewError::Bits { from: bits, .. } => {
                format!("{bits} bits are no whole number of elements of {} bits", to_dtype.bits())
            }
            ViewError::Copies { .. } => {
                "copies of the result must come from copies: repeat the operand over the same lanes"
                    .to_owned()
            }
        };
        self.report(
            Diagnostic::error(Code::LayoutConflict, format!("no `view`: {error}"))
                .at(written, of(to_dtype, to))
                .also(at, of(from_ty.dtype, from))
                .note(drawn("the operand:", from))
                .note(drawn("the result:", to))
                .help(help),
        );
    }
}
