//! Element-wise functions, and fns, which are expanded where they are called.
//!
//! Constants stay constants through `min`, `max`, `ceil`, `where` and the rounding functions. A fn's argument takes the dtype of its parameter
//! and keeps its own shape: the fn is element-wise, so applied to tiles it works element by element.

use super::{Elab, Local, Operand};
use crate::constant;
use crate::diags::counted;
use crate::host::item_word;
use crate::library::{ALONG, BUILTINS, ItemId};
use crate::limits::MAX_CALLS;
use tvmc_ir::tile::{Binary, Op, TileType, Unary, Value};
use tvmc_lang::ast::{self, Arg, ArgValue, ExprId, ItemKind};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

type Spanned = (Operand, Span);

impl Elab<'_, '_> {
    pub fn call(&mut self, callee: &ast::Ident, args: &[Arg], span: Span) -> Option<Operand> {
        let name = callee.name.as_str();
        if !BUILTINS.contains(&name) {
            return self.call_item(callee, args, span);
        }
        if let Some(update) = super::scatter::update_named(name) {
            return self.atomic(name, update, args, span).map(Operand::Value);
        }
        if let "scatter" | "exit" | "encode_tensor" | "copy_async" | "commit" | "wait" | "sync" = name {
            self.report(
                Diagnostic::error(Code::WrongArgument, format!("`{name}` gives no value"))
                    .at(span, "used as a value")
                    .help(format!("write it as a statement: `{name}(..);`")),
            );
            return None;
        }
        if let Some(arg) = args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.name != "axis")) {
            self.report(
                Diagnostic::error(Code::UnknownArgument, format!("`{name}` has no argument of this name"))
                    .at(arg.span, "not known")
                    .help("the only named argument is `axis`, of functions along one"),
            );
            return None;
        }
        let axis = args.iter().find(|a| a.name.is_some());
        let plain: Vec<&Arg> = args.iter().filter(|a| a.name.is_none()).collect();
        let reduces = match name {
            "sum" | "prod" | "any" | "all" => true,
            "min" | "max" => plain.len() == 1,
            _ => false,
        };
        let along = ALONG.into_iter().find(|known| *known == name);
        if let Some(along) = along.or_else(|| (name == "concat" && axis.is_some()).then_some("concat")) {
            return self.along(along, &plain, axis, span);
        }
        if let Some(axis) = axis.filter(|_| !reduces) {
            let help = match name {
                "min" | "max" => {
                    format!("`{name}(x, axis = 1)` reduces one tile; `{name}(a, b)` compares two")
                }
                _ => "leave it out: only functions along an axis take one".to_owned(),
            };
            self.report(
                Diagnostic::error(Code::UnknownArgument, format!("`{name}` takes no `axis` here"))
                    .at(axis.span, "not known")
                    .help(help),
            );
            return None;
        }
        match name {
            "sum" | "prod" | "min" | "max" | "any" | "all" if reduces => {
                self.reduce(name, &plain, axis, span)
            }
            "iota" => self.iota(&plain, span),
            "full" => self.full_tile(&plain, span),
            "dot" => self.dot_call(args, span).map(Operand::Value),
            "bitcast" => self.bitcast(&plain, span),
            "relayout" => self.relayout(&plain, span),
            "view" => self.view(&plain, span),
            _ => {
                let values = self.values(&plain)?;
                self.elementwise_call(name, &values, span)
            }
        }
    }

    /// The arguments' operands; all are looked at before giving up.
    pub(super) fn values(&mut self, args: &[&Arg]) -> Option<Vec<Spanned>> {
        let mut values = Vec::new();
        let mut good = true;
        for arg in args {
            let value = match &arg.value {
                ArgValue::Expr(expr) => {
                    let value = self.expr(*expr);
                    value.and_then(|v| self.numeric(v, arg.span))
                }
                ArgValue::Type(_) => {
                    self.error(Code::WrongArgument, arg.span, "a value is needed here, not a type", "a type");
                    None
                }
            };
            match value {
                Some(value) => values.push((value, arg.span)),
                None => good = false,
            }
        }
        good.then_some(values)
    }

    pub(super) fn count_error(&mut self, name: &str, takes: &str, span: Span) {
        self.report(
            Diagnostic::error(Code::WrongArgumentCount, format!("`{name}` takes {takes}"))
                .at(span, "another number of arguments"),
        );
    }

    fn elementwise_call(&mut self, name: &str, args: &[Spanned], span: Span) -> Option<Operand> {
        let constants: Option<Vec<constant::Constant>> =
            args.iter().map(|(o, _)| if let Operand::Constant(c) = o { Some(*c) } else { None }).collect();
        if let Some(constants) = constants
            && let Some(Ok(value)) = constant::call(name, &constants)
        {
            return Some(Operand::Constant(value));
        }
        match (name, args) {
            ("min" | "max", [a, b]) => {
                let (x, y, dtype) = self.pair(*a, *b, span)?;
                if dtype == DType::BOOL {
                    self.wrong_type(name, dtype, "use `&&` and `||`", span);
                    return None;
                }
                let op = if name == "min" { Binary::Min } else { Binary::Max };
                self.elementwise(op, x, y, span).map(Operand::Value)
            }
            ("min" | "max", _) => {
                self.count_error(name, "two values to compare, or one tile to reduce", span);
                None
            }
            ("where", [c, a, b]) => self.select(*c, *a, *b, span),
            ("where", _) => {
                self.count_error(name, "a condition and two values", span);
                None
            }
            ("fma", [a, b, c]) => {
                let float = |e: &mut Self, x: Spanned| {
                    let ones = Operand::Constant(constant::Constant::float(0.0).typed(DType::F32));
                    let dtype = e.meeting(x.0, ones, x.1)?;
                    e.coerce(x.0, dtype, x.1)
                };
                let (x, y, z) = (float(self, *a), float(self, *b), float(self, *c));
                let values = [x?, y?, z?];
                let shape = self.common_shape(&values, span)?;
                let mut operands = Vec::new();
                for value in values {
                    operands.push(self.broadcast(value, &shape, span)?);
                }
                self.define(Op::Fma, &operands, TileType { dtype: DType::F32, shape }, span)
                    .map(Operand::Value)
            }
            ("fma", _) => {
                self.count_error(name, "three floats: a * b + c", span);
                None
            }
            ("ceil", [a, b]) => {
                let (x, y, dtype) = self.pair(*a, *b, span)?;
                if !dtype.is_integer() {
                    self.wrong_type(
                        name,
                        dtype,
                        "`ceil(a, b)` divides integers; of floats write `ceil(a / b)`",
                        span,
                    );
                    return None;
                }
                if dtype != DType::I32 {
                    self.wrong_type(name, dtype, "convert with `as i32`", span);
                    return None;
                }
                self.ceil_div(x, y, span).map(Operand::Value)
            }
            ("concat", _) => self.concat(args, span),
            ("abs" | "sqrt" | "floor" | "ceil" | "trunc" | "round" | "popcount", [a]) => {
                self.math(name, *a, span)
            }
            _ => {
                self.count_error(name, "one value", span);
                None
            }
        }
    }

    pub(super) fn wrong_type(&mut self, name: &str, dtype: DType, help: &str, span: Span) {
        self.report(
            Diagnostic::error(Code::WrongType, format!("`{name}` does not exist for {dtype}"))
                .at(span, dtype.to_string())
                .help(help),
        );
    }

    fn math(&mut self, name: &str, a: Spanned, span: Span) -> Option<Operand> {
        let op = match name {
            "abs" => Unary::Abs,
            "sqrt" => Unary::Sqrt,
            "floor" => Unary::Floor,
            "ceil" => Unary::Ceil,
            "trunc" => Unary::Trunc,
            "round" => Unary::Round,
            _ => Unary::PopCount,
        };
        let value = self.computed(a.0, a.1)?;
        let ty = self.ty(value);
        let good = match op {
            Unary::Abs => matches!(ty.dtype.kind(), Kind::Float | Kind::Signed),
            Unary::PopCount => ty.dtype.is_integer(),
            Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => ty.dtype == DType::F32,
            Unary::Neg | Unary::Not => false,
        };
        if !good {
            let help = if op == Unary::PopCount {
                "it counts the one bits of an integer"
            } else {
                "convert with `as f32`"
            };
            self.wrong_type(name, ty.dtype, help, span);
            return None;
        }
        self.define(Op::Unary(op), &[value], ty, span).map(Operand::Value)
    }

    fn select(&mut self, c: Spanned, a: Spanned, b: Spanned, span: Span) -> Option<Operand> {
        let condition = self.computed(c.0, c.1)?;
        if self.b.ty(condition).dtype != DType::BOOL {
            let ty = self.ty(condition);
            self.report(
                Diagnostic::error(Code::WrongType, format!("the condition of `where` is {ty}, not bool"))
                    .at(c.1, ty.to_string())
                    .help("compare: `x != 0`"),
            );
            return None;
        }
        let (x, y, _) = self.pair(a, b, span)?;
        let shape = self.common_shape(&[condition, x, y], span)?;
        // Both branches of a `where` that is decided are still computed; its value is the one chosen.
        let mut operands = Vec::new();
        for value in [condition, x, y] {
            operands.push(self.broadcast(value, &shape, span)?);
        }
        let dtype = self.b.ty(x).dtype;
        self.define(Op::Select, &operands, TileType { dtype, shape }, span).map(Operand::Value)
    }

    /// `concat(hi, .., lo)` of fields with known widths, or `concat(hi, lo, width)`.
    fn concat(&mut self, args: &[Spanned], span: Span) -> Option<Operand> {
        let mut parts: Vec<(Spanned, u32)> = Vec::new();
        if let [hi, lo, (Operand::Constant(width), width_span)] = args {
            let Some(width) = width.as_int().filter(|w| (1..32).contains(w)) else {
                self.error(
                    Code::FormatExpression,
                    *width_span,
                    "the low part of `concat` has from 1 to 31 bits",
                    "another width",
                );
                return None;
            };
            parts.extend([(*hi, 32), (*lo, width as u32)]);
        } else {
            for (at, arg) in args.iter().enumerate() {
                let width = match arg.0 {
                    Operand::Value(v) => self.b.ty(v).dtype.bits(),
                    Operand::Constant(c) => c.dtype.map_or(32, DType::bits),
                    Operand::Memory(_) | Operand::Field(_) | Operand::Table(_) | Operand::Block => 32,
                };
                if at > 0 && width >= 32 {
                    self.report(
                        Diagnostic::error(
                            Code::FormatExpression,
                            "how wide this part of `concat` is is not known",
                        )
                        .at(arg.1, "of 32-bit type")
                        .help("give the width of the low part: `concat(hi, lo, 4)`"),
                    );
                    return None;
                }
                parts.push((*arg, width));
            }
        }
        if parts.len() < 2 {
            self.count_error(
                "concat",
                "a high and a low part, and the width of the low one where its type does not say it",
                span,
            );
            return None;
        }
        let mut whole: Option<Value> = None;
        for ((operand, at), width) in parts {
            let mut value = self.computed(operand, at)?;
            let ty = self.ty(value);
            if ty.dtype != DType::I32 {
                self.wrong_type(
                    "concat",
                    ty.dtype,
                    "its parts are integers of up to 32 bits, signed: `as i32`",
                    at,
                );
                return None;
            }
            let facts = self.facts(value);
            if width < 32 && !(facts.lo >= 0 && facts.hi < 1 << width) {
                let mask = self.i32(((1u64 << width) - 1) as i32, at)?;
                value = self.elementwise(Binary::And, value, mask, at)?;
            }
            whole = Some(match whole {
                None => value,
                Some(high) => {
                    let count = self.i32(width as i32, span)?;
                    let high = self.elementwise(Binary::Shl, high, count, span)?;
                    self.elementwise(Binary::Or, high, value, span)?
                }
            });
        }
        whole.map(Operand::Value)
    }

    fn call_item(&mut self, callee: &ast::Ident, args: &[Arg], span: Span) -> Option<Operand> {
        let lib = self.cx.lib;
        let Some(id) = lib.lookup(self.module, &callee.name) else {
            let names = BUILTINS.iter().copied().chain(lib.visible(self.module));
            let d =
                Diagnostic::error(Code::UnknownFunction, format!("there is no function `{}`", callee.name))
                    .at(callee.span, "not defined");
            self.report(match closest(&callee.name, names) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help("define a `fn`, or bring one in with `use`"),
            });
            args.iter().filter_map(Arg::expr).for_each(|a| self.look(a));
            return None;
        };
        let ItemKind::Function(function) = &lib.item(id).kind else {
            let word = item_word(&lib.item(id).kind);
            let d = Diagnostic::error(
                Code::NotCallable,
                format!("`{}` is a {word}, not a function", callee.name),
            )
            .at(callee.span, "cannot be called here");
            self.report(match &lib.item(id).kind {
                ItemKind::Kernel(_) => d.help("kernels are launched as statements of a program"),
                _ => d.help("fns and built-in functions are called in expressions"),
            });
            return None;
        };
        if let Some(arg) = args.iter().find(|a| a.name.is_some()) {
            self.error(Code::UnknownArgument, arg.span, "fns take their arguments by place", "named");
            return None;
        }
        let plain: Vec<&Arg> = args.iter().collect();
        let values = self.values(&plain)?;
        if values.len() != function.params.len() {
            self.report(
                Diagnostic::error(
                    Code::WrongArgumentCount,
                    format!(
                        "`{}` takes {}, not {}",
                        callee.name,
                        counted(function.params.len(), "argument"),
                        values.len()
                    ),
                )
                .at(span, "another number of arguments")
                .also(function.name.span, "defined here"),
            );
            return None;
        }
        self.expand(id, function, &values, span).map(Operand::Value)
    }

    /// Expands a fn with these arguments.
    pub fn expand(
        &mut self,
        id: ItemId,
        function: &ast::Function,
        values: &[Spanned],
        span: Span,
    ) -> Option<Value> {
        if self.calls.len() >= MAX_CALLS && !self.calls.contains(&id) {
            let message = format!("fns call each other more than {MAX_CALLS} deep");
            self.report(
                Diagnostic::error(Code::Recursion, message)
                    .at(span, format!("`{}` is called one too deep", function.name.name))
                    .help("a fn is expanded where it is called: write the inner ones out, or use a loop in the kernel"),
            );
            return None;
        }
        if self.calls.contains(&id) {
            self.report(
                Diagnostic::error(Code::Recursion, format!("`{}` leads back to itself", function.name.name))
                    .at(span, "a fn is expanded where it is called, so it cannot call itself")
                    .help("use a loop in the kernel"),
            );
            return None;
        }
        self.cx.enter(span)?;
        let module = std::mem::replace(&mut self.module, id.module);
        let mut locals = Vec::new();
        for (param, (operand, at)) in function.params.iter().zip(values) {
            let dtype = self.fn_type(&param.ty);
            let operand = dtype.and_then(|d| self.assign_to(*operand, d, *at)).map(Operand::Value);
            let (name, span) = (param.name.name.clone(), param.name.span);
            locals.push(Local { name, span, operand, mutable: false });
        }
        let scopes = std::mem::replace(&mut self.scopes, vec![locals]);
        let visible = std::mem::replace(&mut self.header_visible, false);
        self.calls.push(id);
        let result = self.fn_type(&function.result);
        let value = self.pure_body(&function.body);
        let at = self.span(function.body.result);
        let value = match (value, result) {
            (Some(value), Some(dtype)) => self.assign_to(value, dtype, at),
            (_, _) => None,
        };
        self.calls.pop();
        self.scopes = scopes;
        self.header_visible = visible;
        self.module = module;
        self.cx.leave();
        value
    }

    fn fn_type(&mut self, ty: &ast::Type) -> Option<DType> {
        if ty.shape.is_some() || ty.layout.is_some() {
            self.report(
                Diagnostic::error(Code::WrongArgument, "fns are element-wise: their types have no shape")
                    .at(ty.span, "leave the shape out")
                    .help("applied to a tile, the fn works on each element"),
            );
            return None;
        }
        let dtype = self.dtype_named(&ty.elem)?;
        if dtype.bits() > 32 {
            self.error(
                Code::UnsupportedWidth,
                ty.span,
                format!("{dtype} has no arithmetic in kernels"),
                "64 bits wide",
            );
            return None;
        }
        Some(dtype)
    }

    /// `let`s and a result.
    pub fn pure_body(&mut self, body: &ast::PureBody) -> Option<Operand> {
        self.scopes.push(Vec::new());
        for binding in &body.lets {
            self.let_binding(binding, false);
        }
        let value = self.expr(body.result);
        self.scopes.pop();
        let span = self.span(body.result);
        value.and_then(|v| self.numeric(v, span))
    }

    /// Looks at an expression only for its errors.
    pub fn look(&mut self, id: ExprId) {
        let _ = self.expr(id);
    }
}
