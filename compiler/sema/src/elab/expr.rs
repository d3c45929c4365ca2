//! Names, operators, indexing and methods.

use super::{Elab, Mode, Operand, shape_text};
use crate::constant::{self, Constant, FoldError};
use crate::host::{Env, Host, Named, item_word};
use crate::library::BUILTINS;
use crate::signature::ParameterKind;
use tvmc_ir::host::{self, Expr, Number};
use tvmc_ir::tile::{Binary, Dim, MAX_RANK, Memory, Op, Param, TileType, Unary, Value};
use tvmc_lang::ast::{self, BinaryOp, ExprId, ExprKind, IndexItem, IndexKind, ItemKind, UnaryOp};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

impl Elab<'_, '_> {
    /// The value of an expression.
    pub fn expr(&mut self, id: ExprId) -> Option<Operand> {
        let span = self.span(id);
        self.cx.enter(span)?;
        let value = self.expr_inner(id, span);
        self.cx.leave();
        value
    }

    fn expr_inner(&mut self, id: ExprId, span: Span) -> Option<Operand> {
        let file = self.file();
        match &file[id].kind {
            ExprKind::Int(value) => match i64::try_from(*value) {
                Ok(value) => Some(Operand::Constant(Constant::int(value))),
                Err(_) => {
                    self.error(Code::LiteralOutOfRange, span, "the integer exceeds 63 bits", "too large");
                    None
                }
            },
            ExprKind::Float { value, single } => {
                Some(Operand::Constant(Constant { single: Some(*single), ..Constant::float(*value) }))
            }
            ExprKind::Bool(value) => Some(Operand::Constant(Constant::bool(*value))),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Unary { op, operand } => self.unary(*op, *operand, span),
            ExprKind::Binary { op: BinaryOp::Add, lhs, rhs } if self.is_dot(*rhs) => self.add_dot(*lhs, *rhs, span),
            ExprKind::Binary { op: BinaryOp::Add, lhs, rhs } if self.is_dot(*lhs) => self.add_dot(*rhs, *lhs, span),
            ExprKind::Binary { op, lhs, rhs } => {
                let a = self.expr(*lhs);
                let b = self.expr(*rhs);
                let (a, b) = (a?, b?);
                self.binary(*op, (a, self.span(*lhs)), (b, self.span(*rhs)), span)
            }
            ExprKind::Cast { operand, to, narrowing } => {
                let a = self.expr(*operand);
                let to = self.dtype_named(to);
                self.cast(a?, to?, *narrowing, span)
            }
            ExprKind::Call { callee, args } => self.call(callee, args, span),
            ExprKind::Method { base, name, args } => self.method(*base, name, args, span),
            ExprKind::Field { base, name } => self.field(*base, name, span),
            ExprKind::Index { base, indices, fill } => self.index(*base, indices, *fill, span),
            ExprKind::Zeros(ty) => self.zeros(ty, span),
            ExprKind::Shared(_) => {
                self.report(
                    Diagnostic::error(Code::WrongArgument, "a block-shared tensor needs a name")
                        .at(span, "has none")
                        .help("bind it: `let s = shared f32[16];`"),
                );
                None
            }
            ExprKind::Buffer(_) => {
                self.report(
                    Diagnostic::error(Code::NotInProgram, "a kernel allocates no buffers")
                        .at(span, "only in programs")
                        .help("`shared f32[..]` is memory of a block; larger memory is an argument"),
                );
                None
            }
            ExprKind::List(_) => {
                self.error(Code::WrongArgument, span, "a list stands only in a table", "not possible here");
                None
            }
            ExprKind::Error => None,
        }
    }

    // ---- names ----

    fn name(&mut self, name: &ast::Ident) -> Option<Operand> {
        if let Some(slot) = self.find_local(&name.name) {
            return self.local(slot).operand;
        }
        if self.header_visible && self.mode == Mode::Kernel {
            if let Some(at) = self.header.params.iter().position(|p| p.name.name == name.name) {
                let param = Param(at as u32);
                return match &self.header.params[at].kind {
                    ParameterKind::Tensor { .. } => Some(Operand::Memory(Memory::Param(param))),
                    ParameterKind::Scalar(dtype) => {
                        let ty = TileType::scalar(*dtype);
                        self.define(Op::Scalar(param), &[], ty, name.span).map(Operand::Value)
                    }
                    ParameterKind::Poison => None,
                };
            }
            match self.header.name(&name.name) {
                Named::Value(Host::Constant(c)) => return Some(Operand::Constant(c)),
                Named::Value(Host::Expr(expr, _)) => {
                    return self.host_value(&expr, name.span).map(Operand::Value);
                }
                Named::Poison => return None,
                Named::Other(what) => {
                    let message = format!("`{}` is {what}, not a value", name.name);
                    self.error(Code::WrongType, name.span, message, "a value is needed here");
                    return None;
                }
                Named::Unknown => {}
            }
            match (name.name.as_str(), self.lanes) {
                ("block", _) => return Some(Operand::Block),
                ("lanes", Some((lanes, _))) => {
                    return Some(Operand::Constant(Constant::int(i64::from(lanes))));
                }
                _ => {}
            }
        }
        if let Mode::Format(_) = self.mode
            && self.header_visible
        {
            if let Some(at) = self.format.fields.iter().position(|f| f.0 == name.name) {
                return Some(Operand::Field(at as u32));
            }
            if let Some(at) = self.format.tables.iter().position(|t| t.0 == name.name) {
                return Some(Operand::Table(at as u32));
            }
        }
        self.item(name)
    }

    fn item(&mut self, name: &ast::Ident) -> Option<Operand> {
        let Some(id) = self.cx.lib.lookup(self.module, &name.name) else {
            self.unknown(name);
            return None;
        };
        let lib = self.cx.lib;
        match &lib.item(id).kind {
            ItemKind::Const(_) => self.cx.const_item(id, name.span).map(Operand::Constant),
            ItemKind::Table(table) => {
                if !matches!(self.mode, Mode::Format(_)) {
                    self.report(
                        Diagnostic::error(Code::Unsupported, "tables are read in formats only")
                            .at(name.span, "a table")
                            .help("pass the values as a tensor argument"),
                    );
                    return None;
                }
                if let Some(at) = self.format.items.get(&id) {
                    return Some(Operand::Table(*at));
                }
                let (shape, dtype, entries) = crate::format::table(self.cx, id.module, table)?;
                let at = self.format.tables.len() as u32;
                // No name of the source contains a blank, so a local table of the same name stays distinct.
                self.format.tables.push((format!("{} ", name.name), shape, dtype, entries));
                self.format.items.insert(id, at);
                Some(Operand::Table(at))
            }
            other @ (ItemKind::Use(_)
            | ItemKind::Function(_)
            | ItemKind::Kernel(_)
            | ItemKind::Format(_)
            | ItemKind::Program(_)) => {
                let message = format!("`{}` is a {}, not a value", name.name, item_word(other));
                self.error(Code::WrongType, name.span, message, "a value is needed here");
                None
            }
        }
    }

    fn unknown(&mut self, name: &ast::Ident) {
        let mut names: Vec<String> = self.scopes.iter().flatten().map(|l| l.name.clone()).collect();
        if self.header_visible {
            names.extend(self.header.names());
            names.extend(self.format.fields.iter().map(|f| f.0.clone()));
        }
        let candidates = names.iter().map(String::as_str).chain(self.cx.lib.visible(self.module));
        let d = Diagnostic::error(Code::UnknownName, format!("there is no `{}` here", name.name))
            .at(name.span, "not defined");
        let d = match closest(&name.name, candidates) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None if BUILTINS.contains(&name.name.as_str()) => d.help(format!("call it: `{}(..)`", name.name)),
            None if !self.calls.is_empty() => d.help("a fn sees only its parameters, its `let`s and `const`s"),
            None => d.help("define it with `let`, or pass it as a parameter; items of other files need `use`"),
        };
        self.report(d);
    }

    /// A host expression over runtime dimensions and scalar arguments, computed in the kernel.
    pub fn host_value(&mut self, expr: &Expr, span: Span) -> Option<Value> {
        self.cx.enter(span)?;
        let value = self.host_value_inner(expr, span);
        self.cx.leave();
        value
    }

    fn host_value_inner(&mut self, expr: &Expr, span: Span) -> Option<Value> {
        match expr {
            Expr::Const(Number::Int(v)) => self.adopt(Constant::int(*v), DType::I32, span),
            Expr::Const(Number::Float(v)) => self.adopt(Constant::float(*v), DType::F32, span),
            Expr::Const(Number::Bool(v)) => self.adopt(Constant::bool(*v), DType::BOOL, span),
            Expr::Name(name) => {
                if let Some(at) = self.b.kernel.dims.iter().position(|d| d.name == *name) {
                    return self.define(Op::Dim(Dim(at as u32)), &[], TileType::scalar(DType::I32), span);
                }
                let at = self.header.params.iter().position(|p| p.name.name == *name)?;
                let ParameterKind::Scalar(dtype) = self.header.params[at].kind else { return None };
                self.define(Op::Scalar(Param(at as u32)), &[], TileType::scalar(dtype), span)
            }
            Expr::Unary(op, a) => {
                let a = self.host_value(a, span)?;
                let ty = self.ty(a);
                match op {
                    host::Unary::Neg => self.define(Op::Unary(Unary::Neg), &[a], ty, span),
                    host::Unary::Not => self.define(Op::Unary(Unary::Not), &[a], ty, span),
                    host::Unary::Sqrt => self.define(Op::Unary(Unary::Sqrt), &[a], ty, span),
                    host::Unary::ToFloat => self.cast_value(a, DType::F32, tvmc_ir::tile::CastRule::Round, span),
                    host::Unary::ToInt => self.cast_value(a, DType::I32, tvmc_ir::tile::CastRule::Saturate, span),
                }
            }
            Expr::Binary(op, a, b) => {
                let a = self.host_value(a, span)?;
                let b = self.host_value(b, span)?;
                let op = match op {
                    host::Binary::Add => Binary::Add,
                    host::Binary::Sub => Binary::Sub,
                    host::Binary::Mul => Binary::Mul,
                    host::Binary::Div => Binary::Div,
                    host::Binary::Rem => Binary::Rem,
                    host::Binary::Min => Binary::Min,
                    host::Binary::Max => Binary::Max,
                    host::Binary::Eq => Binary::Eq,
                    host::Binary::Ne => Binary::Ne,
                    host::Binary::Lt => Binary::Lt,
                    host::Binary::Le => Binary::Le,
                    host::Binary::And => Binary::And,
                    host::Binary::Or => Binary::Or,
                    host::Binary::CeilDiv => return self.ceil_div(a, b, span),
                };
                self.elementwise(op, a, b, span)
            }
        }
    }

    /// (a + b - 1) / b of i32.
    pub fn ceil_div(&mut self, a: Value, b: Value, span: Span) -> Option<Value> {
        let one = self.i32(1, span)?;
        let less = self.elementwise(Binary::Sub, b, one, span)?;
        let sum = self.elementwise(Binary::Add, a, less, span)?;
        self.elementwise(Binary::Div, sum, b, span)
    }

    // ---- operators ----

    fn unary(&mut self, op: UnaryOp, operand: ExprId, span: Span) -> Option<Operand> {
        let a = self.expr(operand)?;
        match self.numeric(a, span)? {
            Operand::Constant(c) => match constant::unary(op, c) {
                Ok(value) => return Some(Operand::Constant(value)),
                Err(FoldError::Overflow | FoldError::DivisionByZero) if c.dtype.is_some() => {}
                Err(error) => {
                    self.cx.fold_error(error, &c.describe(), span);
                    return None;
                }
            },
            Operand::Value(_) | Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => {}
        }
        let value = self.computed(a, span)?;
        let ty = self.ty(value);
        let op = match (op, ty.dtype.kind()) {
            (UnaryOp::Neg, Kind::Float | Kind::Signed) => Unary::Neg,
            (UnaryOp::Not, Kind::Bool) | (UnaryOp::BitNot, Kind::Signed | Kind::Unsigned) => Unary::Not,
            (UnaryOp::Neg | UnaryOp::Not | UnaryOp::BitNot, _) => {
                let d = Diagnostic::error(Code::WrongType, format!("`{}` does not exist for {ty}", op.symbol()))
                    .at(span, ty.to_string());
                self.report(match op {
                    UnaryOp::Not => d.help("`!` is for bool; the bits of an integer are flipped by `~`"),
                    UnaryOp::BitNot => d.help("`~` is for integers; a bool is negated by `!`"),
                    UnaryOp::Neg => d.help("convert with `as` to a signed type"),
                });
                return None;
            }
        };
        self.define(Op::Unary(op), &[value], ty, span).map(Operand::Value)
    }

    /// `a op b`.
    pub fn binary(
        &mut self,
        op: BinaryOp,
        a: (Operand, Span),
        b: (Operand, Span),
        span: Span,
    ) -> Option<Operand> {
        let x = self.numeric(a.0, a.1);
        let y = self.numeric(b.0, b.1);
        let (x, y) = (x?, y?);
        if let (Operand::Constant(p), Operand::Constant(q)) = (x, y) {
            match constant::binary(op, p, q) {
                Ok(value) => return Some(Operand::Constant(value)),
                // Of a definite type the result wraps, or is the one the reference gives for division by zero: at run time.
                Err(FoldError::Overflow | FoldError::DivisionByZero) if p.dtype.is_some() || q.dtype.is_some() => {}
                Err(error) => {
                    self.cx.fold_error(error, &format!("{} and {}", p.describe(), q.describe()), span);
                    return None;
                }
            }
        }
        let (left, right, dtype) = self.pair((x, a.1), (y, b.1), span)?;
        if let Some(same) = self.identity(op, (x, left), (y, right), dtype) {
            return Some(Operand::Value(same));
        }
        let (op, swap) = match (op, dtype.kind()) {
            (BinaryOp::Or | BinaryOp::BitOr, Kind::Bool) => (Binary::Or, false),
            (BinaryOp::And | BinaryOp::BitAnd, Kind::Bool) => (Binary::And, false),
            (BinaryOp::BitOr, Kind::Signed | Kind::Unsigned) => (Binary::Or, false),
            (BinaryOp::BitAnd, Kind::Signed | Kind::Unsigned) => (Binary::And, false),
            (BinaryOp::BitXor, Kind::Bool | Kind::Signed | Kind::Unsigned) => (Binary::Xor, false),
            (BinaryOp::Shl, Kind::Signed | Kind::Unsigned) => (Binary::Shl, false),
            (BinaryOp::Shr, Kind::Signed | Kind::Unsigned) => (Binary::Shr, false),
            (BinaryOp::Rem, Kind::Signed | Kind::Unsigned) => (Binary::Rem, false),
            (BinaryOp::Eq, _) => (Binary::Eq, false),
            (BinaryOp::Ne, _) => (Binary::Ne, false),
            (BinaryOp::Lt, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Lt, false),
            (BinaryOp::Le, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Le, false),
            (BinaryOp::Gt, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Lt, true),
            (BinaryOp::Ge, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Le, true),
            (BinaryOp::Add, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Add, false),
            (BinaryOp::Sub, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Sub, false),
            (BinaryOp::Mul, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Mul, false),
            (BinaryOp::Div, Kind::Float | Kind::Signed | Kind::Unsigned) => (Binary::Div, false),
            _ => {
                let d = Diagnostic::error(Code::WrongType, format!("`{}` does not exist for {dtype}", op.symbol()))
                    .at(span, dtype.to_string());
                self.report(match (op, dtype.kind()) {
                    (BinaryOp::Or | BinaryOp::And, _) => d.help("`&&` and `||` are for bool: compare first"),
                    (_, Kind::Bool) => d.help("convert with `as i32`, or choose with `where(c, a, b)`"),
                    (BinaryOp::Rem, _) => d.help("for floats write `x - trunc(x / y) * y`"),
                    _ => d.help("convert with `as i32`, or keep the bits with `bitcast(x, i32)`"),
                });
                return None;
            }
        };
        let (left, right) = if swap { (right, left) } else { (left, right) };
        self.elementwise(op, left, right, span).map(Operand::Value)
    }

    /// `x + 0`, `x - 0`, `x * 1`, `x / 1` of integers are x.
    fn identity(&self, op: BinaryOp, a: (Operand, Value), b: (Operand, Value), dtype: DType) -> Option<Value> {
        if !dtype.is_integer() {
            return None;
        }
        let is = |o: Operand, n: i64| matches!(o, Operand::Constant(c) if c.as_int() == Some(n));
        match op {
            BinaryOp::Add | BinaryOp::Sub if is(b.0, 0) => Some(a.1),
            BinaryOp::Add if is(a.0, 0) => Some(b.1),
            BinaryOp::Mul | BinaryOp::Div if is(b.0, 1) => Some(a.1),
            BinaryOp::Mul if is(a.0, 1) => Some(b.1),
            _ => None,
        }
    }

    // ---- constants where they are needed ----

    /// The constant that an expression is; otherwise an error that says what would have to be known.
    pub fn known(&mut self, id: ExprId, code: Code, what: &str) -> Option<Constant> {
        let span = self.span(id);
        match self.expr(id)? {
            Operand::Constant(c) => {
                self.require(&c);
                Some(c)
            }
            Operand::Value(_) | Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => {
                let mut dims = self.runtime_dims_in(id);
                dims.dedup();
                let d = Diagnostic::error(code, format!("{what} must be known when the kernel is compiled"))
                    .at(span, "not a constant");
                let d = match dims.as_slice() {
                    [] => d.help("use literals, `const` and `tune` names, dimensions, and arithmetic on them"),
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
                let code = if code == Code::ConstantOverflow && what == "an axis" { Code::AxisOutOfRange } else { code };
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
        if let Some(layout) = &ty.layout {
            self.pin(layout, &shape);
        }
        Some(shape)
    }

    /// Checks a pinned layout against the tile and the other pins of the kernel.
    pub fn pin(&mut self, layout: &ast::Layout, shape: &[u32]) -> Option<()> {
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
        let built = crate::layout::build(self.cx, &factors, layout.span)?;
        if built.shape() != shape {
            self.report(
                Diagnostic::error(
                    Code::LayoutShape,
                    format!("a layout of shape {} for a tile {}", shape_text(built.shape()), shape_text(shape)),
                )
                .at(layout.span, shape_text(built.shape()))
                .help("the factors' extents multiply up, dimension by dimension, to those of the tile"),
            );
            return None;
        }
        let lanes = built.spatial_size();
        match self.lanes {
            Some((pinned, first)) if pinned != lanes => {
                self.report(
                    Diagnostic::error(
                        Code::LayoutLanes,
                        format!("this layout uses {lanes} lanes, but the kernel has {pinned}"),
                    )
                    .at(layout.span, format!("{lanes} lanes"))
                    .also(first, format!("{pinned} lanes"))
                    .help("make the spatial factors multiply to the same number; `replicated(n)` repeats a tile over lanes"),
                );
                None
            }
            Some(_) => Some(()),
            None if lanes.is_power_of_two() && lanes <= 1024 => {
                self.lanes = Some((lanes, layout.span));
                Some(())
            }
            None => {
                self.report(
                    Diagnostic::error(Code::LanesInvalid, format!("this layout uses {lanes} lanes"))
                        .at(layout.span, "not a power of two up to 1024")
                        .help("choose spatial factors that multiply to a power of two"),
                );
                None
            }
        }
    }

    // ---- fields, indices, methods ----

    fn field(&mut self, base: ExprId, name: &ast::Ident, span: Span) -> Option<Operand> {
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
                Diagnostic::error(Code::ShapeMismatch, format!("`.T` needs two dimensions, {ty} has {}", ty.shape.len()))
                    .at(span, ty.to_string())
                    .help("use `permute(..)` for other ranks, `unsqueeze(0)` to make a row of a vector"),
            );
            return None;
        };
        self.define(Op::Permute(vec![1, 0]), &[value], TileType::new(ty.dtype, &[columns, rows]), span)
            .map(Operand::Value)
    }

    fn index(&mut self, base: ExprId, indices: &[IndexItem], fill: Option<ExprId>, span: Span) -> Option<Operand> {
        // `w.value[..]` is `w[..]`.
        let base = match &self.file()[base].kind {
            ExprKind::Field { base: tensor, name } if name.name == "value" => *tensor,
            _ => base,
        };
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
            self.error(Code::RankMismatch, span, "`block` takes one constant index", "block[0], block[1] or block[2]");
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
            let message = format!("{rank} indices are needed here, not {}", indices.len());
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
                    self.error(Code::FormatExpression, index.span, "only single values are read here", "not one value");
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

    fn table_entry(&mut self, table: u32, indices: &[IndexItem], span: Span) -> Option<Value> {
        let (_, shape, dtype, _) = &self.format.tables[table as usize];
        let (shape, dtype) = (shape.clone(), *dtype);
        let offsets = self.points(indices, shape.len(), span)?;
        let mut at: Option<Value> = None;
        for (offset, extent) in offsets.into_iter().zip(&shape) {
            at = Some(match at {
                None => offset,
                Some(rows) => {
                    let extent = self.i32(*extent as i32, span)?;
                    let start = self.elementwise(Binary::Mul, rows, extent, span)?;
                    self.elementwise(Binary::Add, start, offset, span)?
                }
            });
        }
        self.define(Op::Table(table), &[at?], TileType::scalar(dtype), span)
    }

    fn method(&mut self, base: ExprId, name: &ast::Ident, args: &[ast::Arg], span: Span) -> Option<Operand> {
        if !self.in_kernel(&name.name, span) {
            return None;
        }
        let known = ["unsqueeze", "squeeze", "reshape", "permute"];
        if !known.contains(&name.name.as_str()) {
            let d = Diagnostic::error(Code::UnknownMember, format!("there is no method `{}`", name.name))
                .at(name.span, "not known");
            self.report(match closest(&name.name, known) {
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
                self.error(Code::WrongArgument, arg.span, "a constant integer is needed here", "not a number");
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
                        Diagnostic::error(Code::ShapeMismatch, format!("axis {axis} of {ty} has extent {}", ty.shape[axis]))
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
                    let message = format!("{ty} has {} elements, {} has another number", ty.elements(), shape_text(&numbers));
                    self.report(
                        Diagnostic::error(Code::ShapeMismatch, message)
                            .at(span, "the number of elements changes")
                            .help("the extents multiply to the same number"),
                    );
                    return None;
                }
                self.define(Op::Reshape, &[value], TileType::new(ty.dtype, &numbers), span).map(Operand::Value)
            }
            _ => {
                let mut sorted = numbers.clone();
                sorted.sort_unstable();
                if sorted.iter().copied().ne(0..rank as u32) {
                    self.report(
                        Diagnostic::error(Code::AxisOutOfRange, format!("`permute` names each of the {rank} axes once"))
                            .at(span, "not a permutation")
                            .help("`t.permute(1, 0)` exchanges the axes of a matrix"),
                    );
                    return None;
                }
                let shape: Vec<u32> = numbers.iter().map(|a| ty.shape[*a as usize]).collect();
                let axes = numbers.iter().map(|a| *a as u8).collect();
                self.define(Op::Permute(axes), &[value], TileType::new(ty.dtype, &shape), span).map(Operand::Value)
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
