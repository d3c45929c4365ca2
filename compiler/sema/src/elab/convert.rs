//! Dtypes: what becomes of operands of different types, what a literal adopts, what `as` does, how shapes broadcast.
//!
//! ```text
//! f16 * u4           f32 * f32         a narrow integer meets a float: both exact
//! u4 - 8             i32 - i32         the literal adopts
//! i32 + 1.5          error             i32 and a float do not meet silently
//! ```
//!
//! In a format an i32 meets a float where its range shows that f32 holds it exactly.

use super::{Elab, Mode, Operand, shape_text};
use crate::constant::{Constant, computing};
use tvmc_ir::host::Number;
use tvmc_ir::tile::{CastRule, Op, TileType, Value};
use tvmc_lang::ast::{Narrowing, TypeName};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// Whether every number of `from` is a number of `to`.
pub(crate) fn is_exact(from: DType, to: DType) -> bool {
    if from == to {
        return true;
    }
    match (from.int_range(), to.int_range()) {
        (Some((lo, hi)), Some((to_lo, to_hi))) => to.kind() != Kind::Bool && to_lo <= lo && hi <= to_hi,
        (None, Some(_)) => false,
        // The magnitude fits the mantissa with its hidden bit, and the largest is below the type's largest.
        (Some((lo, hi)), None) => {
            let magnitude = from.bits() - u32::from(from.is_signed());
            (lo == 0 || to.is_signed())
                && magnitude <= to.row().mantissa + 1
                && hi.max(-lo) as f64 <= to.max()
        }
        (None, None) if to == DType::F32 || to == DType::F64 => from != DType::F64,
        (None, None) if from.bits() > 16 => false,
        (None, None) => (0..1u64 << from.bits()).all(|code| {
            let value = from.decode(code);
            let back = to.round(value);
            if value.is_nan() { back.is_nan() } else { back == value }
        }),
    }
}

impl Elab<'_, '_> {
    /// How an operand is called in messages.
    pub fn describe(&self, operand: Operand) -> String {
        match operand {
            Operand::Constant(c) => c.describe(),
            Operand::Value(v) => self.b.ty(v).to_string(),
            Operand::Memory(_) => "a tensor".into(),
            Operand::Field(_) => "a field".into(),
            Operand::Table(_) => "a table".into(),
            Operand::Block => "`block`".into(),
        }
    }

    /// The dtype before promotion; `None` for a constant that adopts one.
    fn dtype_of(&self, operand: Operand) -> Option<DType> {
        match operand {
            Operand::Constant(c) => match c.number {
                Number::Bool(_) => Some(DType::BOOL),
                Number::Int(_) | Number::Float(_) => c.dtype,
            },
            Operand::Value(v) => Some(self.b.ty(v).dtype),
            Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => None,
        }
    }

    /// Refuses what is neither a number nor a tile.
    pub fn numeric(&mut self, operand: Operand, span: Span) -> Option<Operand> {
        let (code, what, help) = match operand {
            Operand::Constant(_) | Operand::Value(_) => return Some(operand),
            // A field or table of one value may stand without an index.
            Operand::Field(at) if self.format.fields[at as usize].2 == 1 => {
                let zero = self.i32(0, span)?;
                return self.field_entry(at, zero, span).map(Operand::Value);
            }
            Operand::Memory(_) => {
                (Code::NotATile, "a tensor", "load from it with an index list: `x[i +: 16]` or `x[..]`")
            }
            Operand::Field(_) => (Code::NotATile, "a field of several values", "choose one: `q[i]`"),
            Operand::Table(_) => (Code::NotATile, "a table", "choose one entry: `t[i]`"),
            Operand::Block => (Code::NotATile, "the block's index", "choose an axis: `block[0]`"),
        };
        self.report(
            Diagnostic::error(code, format!("this is {what}, not a number or tile"))
                .at(span, what)
                .help(help),
        );
        None
    }

    fn width_error(&mut self, dtype: DType, span: Span) {
        self.report(
            Diagnostic::error(Code::UnsupportedWidth, format!("{dtype} has no arithmetic in kernels"))
                .at(span, "64 bits wide")
                .help("use f32, i32 or u32"),
        );
    }

    /// The value of an operand in its own type: constants without one become i32, f32 or bool.
    pub fn value(&mut self, operand: Operand, span: Span) -> Option<Value> {
        match self.numeric(operand, span)? {
            Operand::Value(v) => Some(v),
            Operand::Constant(c) => {
                let dtype = c.dtype.unwrap_or(match c.number {
                    Number::Int(_) => DType::I32,
                    Number::Float(_) => DType::F32,
                    Number::Bool(_) => DType::BOOL,
                });
                self.adopt(c, dtype, span)
            }
            Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => None,
        }
    }

    /// The value of an operand in its computing type.
    pub fn computed(&mut self, operand: Operand, span: Span) -> Option<Value> {
        let value = self.value(operand, span)?;
        self.promote(value, span)
    }

    /// A value in its computing type.
    pub fn promote(&mut self, value: Value, span: Span) -> Option<Value> {
        let ty = self.ty(value);
        match computing(ty.dtype) {
            Some(to) => self.cast_value(value, to, CastRule::Exact, span),
            None => {
                self.width_error(ty.dtype, span);
                None
            }
        }
    }

    pub fn cast_value(&mut self, value: Value, to: DType, rule: CastRule, span: Span) -> Option<Value> {
        let ty = self.ty(value);
        if ty.dtype == to {
            return Some(value);
        }
        self.define(Op::Cast(rule), &[value], ty.with_dtype(to), span)
    }

    /// A constant as a scalar of a dtype, storage types included.
    pub fn adopt(&mut self, c: Constant, dtype: DType, span: Span) -> Option<Value> {
        let Some(wide) = computing(dtype) else {
            self.width_error(dtype, span);
            return None;
        };
        let fits = match (c.number, dtype.int_range()) {
            (Number::Int(v), Some((lo, hi))) => dtype != DType::BOOL && (lo..=hi).contains(&i128::from(v)),
            (Number::Int(v), None) => dtype == DType::F32 || dtype.round(v as f64) == v as f64,
            (Number::Float(v), None) if v.is_nan() => dtype.has_nan(),
            (Number::Float(v), None) if v.is_infinite() => dtype.round(v) == v,
            (Number::Float(v), None) => {
                dtype.round(v).is_finite() && (dtype.has_infinity() || dtype.min() <= v && v <= dtype.max())
            }
            (Number::Float(_), Some(_)) => false,
            (Number::Bool(_), _) => dtype == DType::BOOL,
        };
        let near = match c.number {
            Number::Float(v) if dtype != DType::F32 => Constant::float(dtype.round(v)),
            Number::Float(_) | Number::Int(_) | Number::Bool(_) => c,
        };
        match near.bits(wide).filter(|_| fits) {
            Some(bits) => {
                let value = self.constant(bits, wide, span)?;
                let rule = if dtype.is_float() { CastRule::Round } else { CastRule::Saturate };
                self.cast_value(value, dtype, rule, span)
            }
            None => {
                let text = c.number.to_string();
                let kinds = match (c.number, dtype.kind()) {
                    (Number::Float(_), Kind::Signed | Kind::Unsigned) => {
                        Some("convert with `as`, or write an integer")
                    }
                    (Number::Bool(_), _) => Some("convert it with `as`"),
                    (_, Kind::Bool) => Some("compare: `x != 0`"),
                    _ => None,
                };
                let d = match kinds {
                    Some(help) => Diagnostic::error(
                        Code::WrongType,
                        format!("{} cannot be used as {dtype}", c.describe()),
                    )
                    .at(span, format!("{dtype} is needed here"))
                    .help(help),
                    None => {
                        Diagnostic::error(Code::LiteralOutOfRange, format!("{text} is no number of {dtype}"))
                            .at(span, "does not fit")
                            .help(format!(
                                "the numbers of {dtype} run from {} to {}",
                                dtype.min(),
                                dtype.max()
                            ))
                    }
                };
                self.report(d);
                None
            }
        }
    }

    /// Whether an integer operand becomes f32 without loss.
    fn meets_float(&self, operand: Operand) -> bool {
        match operand {
            Operand::Constant(c) => c.dtype.is_none_or(|d| d.is_integer() && d.bits() <= 16),
            Operand::Value(v) => {
                let dtype = self.b.ty(v).dtype;
                let facts = self.facts(v);
                let exact = 1 << 24;
                dtype.is_integer() && dtype.bits() <= 16
                    || matches!(self.mode, Mode::Format(_))
                        && dtype == DType::I32
                        && facts.lo >= -exact
                        && facts.hi <= exact
            }
            Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => false,
        }
    }

    /// The computing type in which two operands meet.
    pub fn meeting(&mut self, a: Operand, b: Operand, span: Span) -> Option<DType> {
        let float = |e: &Self, o: Operand| match o {
            Operand::Constant(c) => matches!(c.number, Number::Float(_)),
            _ => e.dtype_of(o).is_some_and(DType::is_float),
        };
        let (da, db) = (self.dtype_of(a), self.dtype_of(b));
        for dtype in [da, db].into_iter().flatten() {
            if computing(dtype).is_none() {
                self.width_error(dtype, span);
                return None;
            }
        }
        let (ca, cb) = (da.and_then(computing), db.and_then(computing));
        let bools = [ca, cb].iter().filter(|c| **c == Some(DType::BOOL)).count();
        if bools == 2 {
            return Some(DType::BOOL);
        }
        let names = (self.describe(a), self.describe(b));
        if bools == 1 {
            self.report(
                Diagnostic::error(Code::WrongType, format!("{} and {} do not go together", names.0, names.1))
                    .at(span, "bool meets a number")
                    .help("convert the bool (`c as i32`), or compare the number (`x != 0`)"),
            );
            return None;
        }
        match (float(self, a), float(self, b)) {
            (true, true) => Some(DType::F32),
            (false, false) => match (ca, cb) {
                (Some(x), Some(y)) if x != y => {
                    self.report(
                        Diagnostic::error(
                            Code::LossyConversion,
                            format!("{} and {} do not go together", names.0, names.1),
                        )
                        .at(span, "signed meets unsigned")
                        .help("keep the bits with `bitcast(x, u32)`, or convert with `as u32 wrap` or `as u32 saturate`"),
                    );
                    None
                }
                (Some(x), _) | (None, Some(x)) => Some(x),
                (None, None) => Some(DType::I32),
            },
            (a_float, _) => {
                let integer = if a_float { b } else { a };
                if self.meets_float(integer) {
                    return Some(DType::F32);
                }
                self.report(
                    Diagnostic::error(
                        Code::LossyConversion,
                        format!("{} and {} do not go together: f32 cannot hold every i32", names.0, names.1),
                    )
                    .at(span, "a 32-bit integer meets a float")
                    .help("convert the integer: `x as f32`"),
                );
                None
            }
        }
    }

    /// An operand in a computing type that [`Elab::meeting`] allowed.
    pub fn coerce(&mut self, operand: Operand, to: DType, span: Span) -> Option<Value> {
        match self.numeric(operand, span)? {
            Operand::Constant(c) => match c.dtype {
                Some(dtype) if computing(dtype) != Some(to) => {
                    let value = self.adopt(c, dtype, span)?;
                    self.cast_value(value, to, CastRule::Exact, span)
                }
                Some(_) | None => self.adopt(c, to, span),
            },
            Operand::Value(v) => {
                let from = self.b.ty(v).dtype;
                let rule =
                    if from == DType::I32 && to == DType::F32 { CastRule::Round } else { CastRule::Exact };
                self.cast_value(v, to, rule, span)
            }
            Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => None,
        }
    }

    /// Two operands in the type in which they meet, not yet broadcast.
    pub fn pair(
        &mut self,
        a: (Operand, Span),
        b: (Operand, Span),
        span: Span,
    ) -> Option<(Value, Value, DType)> {
        let x = self.numeric(a.0, a.1);
        let y = self.numeric(b.0, b.1);
        let (x, y) = (x?, y?);
        let dtype = self.meeting(x, y, span)?;
        let x = self.coerce(x, dtype, a.1);
        let y = self.coerce(y, dtype, b.1);
        Some((x?, y?, dtype))
    }

    /// An operand where a value of exactly this dtype is stored or passed: only what loses nothing happens silently.
    pub fn assign_to(&mut self, operand: Operand, to: DType, span: Span) -> Option<Value> {
        match self.numeric(operand, span)? {
            Operand::Constant(c) => match c.dtype {
                Some(dtype) if !is_exact(dtype, to) => {
                    self.lossy(&c.describe(), to, span);
                    None
                }
                Some(_) | None => self.adopt(c, to, span),
            },
            Operand::Value(v) => {
                let from = self.b.ty(v).dtype;
                let counted = to == DType::F32 && self.meets_float(operand);
                if from == to {
                    Some(v)
                } else if from.kind() == Kind::Bool || to.kind() == Kind::Bool {
                    let help =
                        if to.kind() == Kind::Bool { "compare: `x != 0`" } else { "convert it with `as`" };
                    self.report(
                        Diagnostic::error(Code::WrongType, format!("{from} cannot be used as {to}"))
                            .at(span, format!("{to} is needed here"))
                            .help(help),
                    );
                    None
                } else if is_exact(from, to) || counted {
                    let rule = if from == DType::I32 && to == DType::F32 {
                        CastRule::Round
                    } else {
                        CastRule::Exact
                    };
                    self.cast_value(v, to, rule, span)
                } else {
                    self.lossy(&from.to_string(), to, span);
                    None
                }
            }
            Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => None,
        }
    }

    fn lossy(&mut self, from: &str, to: DType, span: Span) {
        let how =
            if to.is_integer() && to.bits() < 32 { format!("as {to} saturate") } else { format!("as {to}") };
        self.report(
            Diagnostic::error(Code::LossyConversion, format!("{from} becomes {to} only where you say so"))
                .at(span, format!("{to} is needed here"))
                .help(format!("write `{how}`")),
        );
    }

    /// The dtype that a type's name stands for.
    pub fn dtype_named(&mut self, name: &TypeName) -> Option<DType> {
        let ident = name.ident();
        let generics = if self.header_visible { self.header.generics.clone() } else { Default::default() };
        match crate::signature::element(self.cx, self.module, name, &generics)? {
            crate::signature::Choice::DType(dtype) => Some(dtype),
            crate::signature::Choice::Format(_) => {
                self.report(
                    Diagnostic::error(Code::WrongType, format!("`{}` is a format, not a dtype", ident.name))
                        .at(ident.span, "a dtype is needed here")
                        .help("tiles have dtypes; a load from a tensor of a format gives f32"),
                );
                None
            }
        }
    }

    /// `x as T`.
    pub fn cast(
        &mut self,
        operand: Operand,
        to: DType,
        narrowing: Option<Narrowing>,
        span: Span,
    ) -> Option<Operand> {
        if to.bits() > 32 {
            self.width_error(to, span);
            return None;
        }
        if narrowing.is_some() && !to.is_integer() {
            self.report(
                Diagnostic::error(
                    Code::NarrowingPolicy,
                    format!("`wrap` and `saturate` have no meaning for {to}"),
                )
                .at(span, "not an integer type")
                .help("leave the word out"),
            );
            return None;
        }
        let rule = narrowing.map(super::narrowing);
        match self.numeric(operand, span)? {
            Operand::Constant(c) => match c.cast(to, rule) {
                Some(c) => Some(Operand::Constant(c)),
                None => {
                    self.cx.narrowing_missing(format!("{} is no number of {to}", c.number), to, span);
                    None
                }
            },
            Operand::Value(v) => {
                let from = self.b.ty(v).dtype;
                if from.bits() > 32 {
                    self.width_error(from, span);
                    return None;
                }
                let rule = match (from.kind(), to.kind(), narrowing) {
                    _ if is_exact(from, to) => CastRule::Exact,
                    (Kind::Bool, ..) => CastRule::Exact,
                    (_, Kind::Float, _) => CastRule::Round,
                    (_, Kind::Bool, _) => CastRule::Saturate,
                    (_, _, Some(Narrowing::Wrap)) => CastRule::Wrap,
                    (_, _, Some(Narrowing::Saturate)) => CastRule::Saturate,
                    (Kind::Float, _, None) if to.bits() == 32 => CastRule::Saturate,
                    (Kind::Float | Kind::Signed | Kind::Unsigned, _, None) => {
                        self.cx.narrowing_missing(format!("not every {from} fits {to}"), to, span);
                        return None;
                    }
                };
                self.cast_value(v, to, rule, span).map(Operand::Value)
            }
            Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => None,
        }
    }

    // ---- shapes ----

    /// The shape to which all values broadcast.
    pub fn common_shape(&mut self, values: &[Value], span: Span) -> Option<Vec<u32>> {
        let mut shape: Vec<u32> = Vec::new();
        for value in values {
            let other = self.ty(*value).shape;
            let rank = shape.len().max(other.len());
            let at = |s: &[u32], axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
            let mut joined = Vec::with_capacity(rank);
            for axis in 0..rank {
                match (at(&shape, axis), at(&other, axis)) {
                    (a, b) if a == b || b == 1 => joined.push(a),
                    (1, b) => joined.push(b),
                    (a, b) => {
                        let (left, right) = (shape_text(&shape), shape_text(&other));
                        let d = Diagnostic::error(
                            Code::ShapeMismatch,
                            format!("shapes {left} and {right} do not fit"),
                        )
                        .at(span, format!("{a} against {b} on axis {axis}"));
                        let (small, large) =
                            if shape.len() < other.len() { (&shape, &other) } else { (&other, &shape) };
                        let axis = large.iter().position(|e| small.first() == Some(e));
                        self.report(match axis {
                            Some(0) if small.len() == 1 && large.len() == 2 => d.help(
                                "shapes are aligned at the last axis; to repeat along it, insert one of extent 1: `x.unsqueeze(1)`",
                            ),
                            _ => d.help("two extents fit if they are equal or one of them is 1"),
                        });
                        return None;
                    }
                }
            }
            shape = joined;
        }
        self.check_shape(&shape, span)?;
        Some(shape)
    }

    /// A value repeated to a shape that [`Elab::common_shape`] allows.
    pub fn broadcast(&mut self, value: Value, shape: &[u32], span: Span) -> Option<Value> {
        let ty = self.ty(value);
        if ty.shape == shape {
            return Some(value);
        }
        self.define(Op::Broadcast, &[value], TileType::new(ty.dtype, shape), span)
    }

    /// A value where exactly this shape is needed; it may be repeated, but nothing dropped.
    pub fn fit_shape(&mut self, value: Value, shape: &[u32], span: Span) -> Option<Value> {
        let ty = self.ty(value);
        let fits = ty.shape.len() <= shape.len()
            && ty.shape.iter().rev().zip(shape.iter().rev()).all(|(a, b)| a == b || *a == 1);
        if !fits {
            let (got, want) = (shape_text(&ty.shape), shape_text(shape));
            self.report(
                Diagnostic::error(Code::ShapeMismatch, format!("a tile {got} does not fit {want}"))
                    .at(span, format!("{got}; {want} is needed here"))
                    .help("drop dimensions of extent 1 with `squeeze(k)`, insert them with `unsqueeze(k)`"),
            );
            return None;
        }
        self.broadcast(value, shape, span)
    }

    /// A scalar i32: an offset, a bound, an index.
    pub fn scalar_i32(&mut self, operand: Operand, span: Span) -> Option<Value> {
        let value = self.computed(operand, span)?;
        let ty = self.ty(value);
        if !ty.is_scalar() {
            self.report(
                Diagnostic::error(Code::NotAScalar, format!("one number is needed here, not a tile {ty}"))
                    .at(span, ty.to_string())
                    .help("a slice takes several elements from one offset: `x[i +: 16]`"),
            );
            return None;
        }
        if ty.dtype != DType::I32 {
            self.report(
                Diagnostic::error(Code::WrongType, format!("an integer is needed here, not {ty}"))
                    .at(span, ty.to_string())
                    .help("convert with `as i32`"),
            );
            return None;
        }
        Some(value)
    }
}
