//! Expressions outside kernel bodies: constants, tune lists, grids, shapes, launch conditions, and all arithmetic of programs.
//!
//! The value is a [`Constant`] where everything is known, else a [`host::Expr`] of dtype i32, f32 or bool that is computed at launch:
//!
//! ```text
//! ceil(N, 64)          N = 576:  9                  N unknown:  ceil_div(N, 64)
//! 1.0 / sqrt(E as f32)                              div(1.0, sqrt(to_float(E)))
//! ```
//!
//! [`Cx`] is what every stage shares: the library, the diagnostics, and the values of `const` items, each computed once. Refused here: bit operations
//! and shifts of values that are not constants (no host operation exists for them), recursion of `const`s.

use crate::constant::{self, Constant, FoldError};
use crate::diags::{Diags, counted};
use crate::library::{ItemId, Library};
use crate::limits::MAX_DEPTH;
use std::collections::HashMap;
use tvmc_ir::host::{self, Expr, Number};
use tvmc_ir::program::MAX_EXPRESSION;
use tvmc_lang::ast::{self, ArgValue, BinaryOp, ExprId, ExprKind, ItemKind, UnaryOp};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// Whether an expression keeps the limits of the IRs, with room for what is put around it. A name for an expression leaves no trace, so that
/// without a limit a chain of names could double it at each step.
pub(crate) fn is_small(expr: &Expr) -> bool {
    expr.is_within(MAX_EXPRESSION - 1, 200)
}

/// What every stage shares.
pub(crate) struct Cx<'l> {
    pub lib: &'l Library,
    pub diags: Diags,
    pub depth: u32,
    consts: HashMap<ItemId, Option<Constant>>,
    /// Elements in a group of each format asked for so far.
    pub groups: HashMap<ItemId, Option<u32>>,
    /// Items whose value is being computed.
    pub evaluating: Vec<ItemId>,
}

/// A value of the host.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Host {
    Constant(Constant),
    /// An expression of dtype i32, f32 or bool.
    Expr(Expr, DType),
}

impl Host {
    pub fn expr(&self) -> Expr {
        match self {
            Host::Constant(c) => Expr::Const(c.number),
            Host::Expr(expr, _) => expr.clone(),
        }
    }

    /// As an expression of this dtype; an integer constant without a type may become a float.
    pub fn expr_as(&self, dtype: DType) -> Option<Expr> {
        match self {
            Host::Expr(expr, d) => (*d == dtype).then(|| expr.clone()),
            Host::Constant(c) => match (c.number, dtype) {
                (Number::Int(_), DType::I32)
                | (Number::Float(_), DType::F32)
                | (Number::Bool(_), DType::BOOL) => Some(Expr::Const(c.number)),
                (Number::Int(v), DType::U32) => (v >= 0).then_some(Expr::Const(c.number)),
                (Number::Int(v), DType::F32) if c.dtype.is_none() => {
                    Some(Expr::Const(Number::Float(v as f64)))
                }
                (Number::Int(_) | Number::Float(_) | Number::Bool(_), _) => None,
            },
        }
    }

    pub fn constant(&self) -> Option<Constant> {
        match self {
            Host::Constant(c) => Some(*c),
            Host::Expr(..) => None,
        }
    }

    pub fn dtype(&self) -> DType {
        match self {
            Host::Expr(_, dtype) => *dtype,
            Host::Constant(c) => match c.number {
                Number::Int(_) => DType::I32,
                Number::Float(_) => DType::F32,
                Number::Bool(_) => DType::BOOL,
            },
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Host::Constant(c) => c.describe(),
            Host::Expr(_, dtype) => dtype.to_string(),
        }
    }
}

/// What a name means in an environment.
pub(crate) enum Named {
    Value(Host),
    /// Something that is no number: what it is.
    Other(&'static str),
    /// Defined, but wrong; reported already.
    Poison,
    Unknown,
}

/// The names around an expression.
pub(crate) trait Env {
    /// What a name means; `const` items of the library are looked up afterwards.
    fn name(&self, name: &str) -> Named;
    /// Elements in a group of the format that this name stands for.
    fn group(&self, name: &str) -> Option<Constant>;
    /// All names, for suggestions.
    fn names(&self) -> Vec<String>;
}

/// No names but those of the library.
pub(crate) struct NoNames;

impl Env for NoNames {
    fn name(&self, _: &str) -> Named {
        Named::Unknown
    }
    fn group(&self, _: &str) -> Option<Constant> {
        None
    }
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<'l> Cx<'l> {
    pub fn new(lib: &'l Library) -> Self {
        Cx {
            lib,
            diags: Diags::default(),
            depth: 0,
            consts: HashMap::new(),
            groups: HashMap::new(),
            evaluating: Vec::new(),
        }
    }

    /// The value of a `const` item.
    pub fn const_item(&mut self, id: ItemId, from: Span) -> Option<Constant> {
        if let Some(known) = self.consts.get(&id) {
            return *known;
        }
        let ItemKind::Const(item) = &self.lib.item(id).kind else { return None };
        if self.evaluating.contains(&id) {
            let message = format!("`{}` leads back to itself", item.name.name);
            self.diags.push(
                Diagnostic::error(Code::Recursion, message)
                    .at(item.name.span, "needs its own value")
                    .also(from, "used here"),
            );
            return None;
        }
        self.evaluating.push(id);
        let value = self.host(id.module, item.value, &NoNames);
        self.evaluating.pop();
        let value =
            value.and_then(|v| self.need_constant(v, self.lib.module(id.module).file[item.value].span));
        self.consts.insert(id, value);
        value
    }

    /// The constant a value is, or an error.
    pub fn need_constant(&mut self, value: Host, span: Span) -> Option<Constant> {
        let constant = value.constant();
        if constant.is_none() {
            self.diags.push(
                Diagnostic::error(Code::NotConstant, "this value is not known when the source is compiled")
                    .at(span, "not a constant")
                    .help("use literals, `const` and `tune` names, dimensions, `W.group`, and arithmetic on them"),
            );
        }
        constant
    }

    /// A constant integer.
    pub fn need_int(&mut self, module: usize, id: ExprId, env: &dyn Env) -> Option<Constant> {
        let value = self.host(module, id, env)?;
        let span = self.lib.module(module).file[id].span;
        let constant = self.need_constant(value, span)?;
        if constant.as_int().is_none() {
            let what = constant.describe();
            self.diags.error(Code::WrongType, span, format!("an integer is needed here, not {what}"), what);
            return None;
        }
        Some(constant)
    }

    /// Goes one level down; an error beyond the limit.
    pub fn enter(&mut self, span: Span) -> Option<()> {
        if self.depth >= MAX_DEPTH {
            self.diags.push(
                Diagnostic::error(
                    Code::NestingTooDeep,
                    "nested too deeply with its fns and constants expanded",
                )
                .at(span, "too deep")
                .help("give parts a name with `let`"),
            );
            return None;
        }
        self.depth += 1;
        Some(())
    }

    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The value of an expression.
    pub fn host(&mut self, module: usize, id: ExprId, env: &dyn Env) -> Option<Host> {
        let span = self.lib.module(module).file[id].span;
        self.enter(span)?;
        let value = self.host_inner(module, id, span, env);
        self.leave();
        value
    }

    fn host_inner(&mut self, module: usize, id: ExprId, span: Span, env: &dyn Env) -> Option<Host> {
        let lib = self.lib;
        let file = &lib.module(module).file;
        match &file[id].kind {
            ExprKind::Int(value) => match i64::try_from(*value) {
                Ok(value) => Some(Host::Constant(Constant::int(value))),
                Err(_) => {
                    self.diags.error(
                        Code::LiteralOutOfRange,
                        span,
                        "the integer exceeds 63 bits",
                        "too large",
                    );
                    None
                }
            },
            ExprKind::Float { value, single } => {
                Some(Host::Constant(Constant { single: Some(*single), ..Constant::float(*value) }))
            }
            ExprKind::Bool(value) => Some(Host::Constant(Constant::bool(*value))),
            ExprKind::Name(name) => self.host_name(module, name, env),
            ExprKind::Unary { op, operand } => {
                let a = self.host(module, *operand, env)?;
                self.host_unary(*op, a, span)
            }
            ExprKind::Binary { op, lhs, rhs } => {
                let a = self.host(module, *lhs, env);
                let b = self.host(module, *rhs, env);
                self.host_binary(*op, a?, b?, span)
            }
            ExprKind::Cast { operand, to, narrowing } => {
                let a = self.host(module, *operand, env)?;
                self.host_cast(a, to, *narrowing, span)
            }
            ExprKind::Call { callee, args } => {
                let mut values = Vec::new();
                let mut good = true;
                for arg in args {
                    match &arg.value {
                        ArgValue::Expr(expr) if arg.name.is_none() => match self.host(module, *expr, env) {
                            Some(value) => values.push(value),
                            None => good = false,
                        },
                        ArgValue::Expr(_) | ArgValue::Type(_) => {
                            self.diags.error(
                                Code::HostExpression,
                                arg.span,
                                "only numbers are passed here",
                                "not a number",
                            );
                            good = false;
                        }
                    }
                }
                if good { self.host_call(&callee.name, &values, span) } else { None }
            }
            ExprKind::Field { base, name } if name.name == "group" => {
                let format = file.exprs.name(*base)?;
                if let Some(group) = env.group(&format.name) {
                    return Some(Host::Constant(group));
                }
                if DType::from_name(&format.name).is_some() {
                    return Some(Host::Constant(Constant::int(1)));
                }
                self.group_of(module, format).map(Host::Constant)
            }
            ExprKind::Method { .. }
            | ExprKind::Field { .. }
            | ExprKind::Index { .. }
            | ExprKind::Zeros(_)
            | ExprKind::Shared(_)
            | ExprKind::Buffer(_)
            | ExprKind::List(_) => {
                self.diags.push(
                    Diagnostic::error(
                        Code::HostExpression,
                        "this cannot be computed outside a kernel's body",
                    )
                    .at(span, "not a number of the host")
                    .help("use literals, constants, dimensions and arithmetic on them"),
                );
                None
            }
            ExprKind::Error => None,
        }
    }

    /// Elements in a group of a format item.
    pub fn group_of(&mut self, module: usize, name: &ast::Ident) -> Option<Constant> {
        match self.lib.lookup(module, &name.name) {
            Some(id) if matches!(self.lib.item(id).kind, ItemKind::Format(_)) => {
                crate::format::group_size(self, id).map(|g| Constant::int(i64::from(g)))
            }
            Some(_) | None => {
                let message = format!("`{}` is no format", name.name);
                self.diags.error(Code::UnknownType, name.span, message, "`.group` belongs to a format");
                None
            }
        }
    }

    fn host_name(&mut self, module: usize, name: &ast::Ident, env: &dyn Env) -> Option<Host> {
        let wrong = |what: &str| {
            Diagnostic::error(Code::HostExpression, format!("`{}` is {what}, not a number", name.name))
                .at(name.span, "a number is needed here")
        };
        match env.name(&name.name) {
            Named::Value(Host::Expr(expr, _)) if !is_small(&expr) => {
                self.diags.push(
                    Diagnostic::error(Code::NestingTooDeep, "an expression too large")
                        .at(name.span, "with what this name stands for put in its place")
                        .help("compute it in fewer operations"),
                );
                return None;
            }
            Named::Value(value) => return Some(value),
            Named::Poison => return None,
            Named::Other(what) => {
                self.diags.push(wrong(what));
                return None;
            }
            Named::Unknown => {}
        }
        match self.lib.lookup(module, &name.name) {
            Some(id) => match &self.lib.item(id).kind {
                ItemKind::Const(_) => self.const_item(id, name.span).map(Host::Constant),
                other => {
                    let what = format!("a {}", item_word(other));
                    self.diags.push(wrong(&what));
                    None
                }
            },
            None => {
                let own = env.names();
                let d = Diagnostic::error(Code::UnknownName, format!("there is no `{}` here", name.name))
                    .at(name.span, "not defined");
                let candidates = own.iter().map(String::as_str).chain(self.lib.visible(module));
                self.diags.push(match closest(&name.name, candidates) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help(
                        "a dimension is bound by the shape of a parameter, of a program by that of a weight, input or output; items of other files need `use`",
                    ),
                });
                None
            }
        }
    }

    pub fn fold_error(&mut self, error: FoldError, operands: &str, span: Span) {
        let no_number = |why: &str| {
            Diagnostic::error(Code::ConstantOverflow, format!("constant expression: {why}")).at(span, why)
        };
        let d = match error {
            FoldError::Kinds => {
                Diagnostic::error(Code::WrongType, format!("this operation does not exist for {operands}"))
                    .at(span, "kinds that do not go together")
                    .help("convert one side with `as`")
            }
            FoldError::Overflow => no_number("the result is out of range"),
            FoldError::DivisionByZero => no_number("division by zero"),
        };
        self.diags.push(d);
    }

    pub fn host_unary(&mut self, op: UnaryOp, a: Host, span: Span) -> Option<Host> {
        match a {
            Host::Constant(c) => match constant::unary(op, c) {
                Ok(value) => Some(Host::Constant(value)),
                Err(error) => {
                    self.fold_error(error, &c.describe(), span);
                    None
                }
            },
            Host::Expr(expr, dtype) => {
                let op = match (op, dtype) {
                    (UnaryOp::Neg, DType::I32 | DType::F32) => host::Unary::Neg,
                    (UnaryOp::Not, DType::BOOL) => host::Unary::Not,
                    (UnaryOp::Neg | UnaryOp::Not | UnaryOp::BitNot, _) => {
                        self.not_on_host(&format!("`{}` of {dtype}", op.symbol()), span);
                        return None;
                    }
                };
                Some(Host::Expr(Expr::Unary(op, Box::new(expr)), dtype))
            }
        }
    }

    fn not_on_host(&mut self, what: &str, span: Span) {
        self.diags.push(
            Diagnostic::error(Code::HostExpression, format!("{what} cannot be computed on the host"))
                .at(span, "not possible here")
                .help("compute it in a kernel, or from constants only"),
        );
    }

    /// Both operands as expressions of one dtype.
    fn pair(&mut self, a: &Host, b: &Host, span: Span) -> Option<(Expr, Expr, DType)> {
        let dtype = match (a, b) {
            (Host::Expr(_, x), _) => *x,
            (_, Host::Expr(_, y)) => *y,
            (Host::Constant(_), Host::Constant(_)) => a.dtype(),
        };
        match (a.expr_as(dtype), b.expr_as(dtype)) {
            (Some(x), Some(y)) => Some((x, y, dtype)),
            (_, _) => {
                let operands = format!("{} and {}", a.describe(), b.describe());
                self.fold_error(FoldError::Kinds, &operands, span);
                None
            }
        }
    }

    pub fn host_binary(&mut self, op: BinaryOp, a: Host, b: Host, span: Span) -> Option<Host> {
        if let (Host::Constant(x), Host::Constant(y)) = (&a, &b) {
            return match constant::binary(op, *x, *y) {
                Ok(value) => Some(Host::Constant(value)),
                Err(error) => {
                    self.fold_error(error, &format!("{} and {}", x.describe(), y.describe()), span);
                    None
                }
            };
        }
        let (x, y, dtype) = self.pair(&a, &b, span)?;
        let make = |op: host::Binary, x: Expr, y: Expr, dtype: DType| {
            Some(Host::Expr(Expr::binary(op, x, y), dtype))
        };
        let number = matches!(dtype, DType::I32 | DType::F32);
        match op {
            BinaryOp::Add if number => make(host::Binary::Add, x, y, dtype),
            BinaryOp::Sub if number => make(host::Binary::Sub, x, y, dtype),
            BinaryOp::Mul if number => make(host::Binary::Mul, x, y, dtype),
            BinaryOp::Div if number => make(host::Binary::Div, x, y, dtype),
            BinaryOp::Rem if dtype == DType::I32 => make(host::Binary::Rem, x, y, dtype),
            BinaryOp::Eq => make(host::Binary::Eq, x, y, DType::BOOL),
            BinaryOp::Ne => make(host::Binary::Ne, x, y, DType::BOOL),
            BinaryOp::Lt if number => make(host::Binary::Lt, x, y, DType::BOOL),
            BinaryOp::Le if number => make(host::Binary::Le, x, y, DType::BOOL),
            BinaryOp::Gt if number => make(host::Binary::Lt, y, x, DType::BOOL),
            BinaryOp::Ge if number => make(host::Binary::Le, y, x, DType::BOOL),
            BinaryOp::And | BinaryOp::BitAnd if dtype == DType::BOOL => make(host::Binary::And, x, y, dtype),
            BinaryOp::Or | BinaryOp::BitOr if dtype == DType::BOOL => make(host::Binary::Or, x, y, dtype),
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::BitAnd
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::Shl
            | BinaryOp::Shr => {
                self.not_on_host(&format!("`{}` of {dtype}", op.symbol()), span);
                None
            }
        }
    }

    fn host_cast(
        &mut self,
        a: Host,
        to: &ast::TypeName,
        narrowing: Option<ast::Narrowing>,
        span: Span,
    ) -> Option<Host> {
        let Some(dtype) = DType::from_name(&to.ident().name) else {
            let message = format!("`{}` is no dtype", to.ident().name);
            self.diags.error(Code::UnknownType, to.ident().span, message, "not a dtype");
            return None;
        };
        match a {
            Host::Constant(c) => {
                let value = c.cast(dtype, narrowing.map(crate::elab::narrowing));
                if value.is_none() {
                    self.narrowing_missing(format!("{} is no number of {dtype}", c.number), dtype, span);
                }
                value.map(Host::Constant)
            }
            Host::Expr(expr, from) => match (from, dtype) {
                (DType::I32 | DType::F32, DType::F32) => {
                    Some(Host::Expr(Expr::Unary(host::Unary::ToFloat, Box::new(expr)), DType::F32))
                }
                (DType::F32, DType::I32) => {
                    Some(Host::Expr(Expr::Unary(host::Unary::ToInt, Box::new(expr)), DType::I32))
                }
                (DType::I32, DType::I32) => Some(Host::Expr(expr, DType::I32)),
                _ => {
                    self.not_on_host(&format!("the conversion of {from} to {dtype}"), span);
                    None
                }
            },
        }
    }

    /// Refuses a conversion that does not say what becomes of a value that does not fit; the message says which.
    pub fn narrowing_missing(&mut self, message: String, to: DType, span: Span) {
        self.diags.push(
            Diagnostic::error(Code::NarrowingPolicy, message)
                .at(span, "what happens to a value that does not fit?")
                .help(format!(
                    "keep the low bits with `as {to} wrap`, or take the nearest value with `as {to} saturate`"
                )),
        );
    }

    fn host_call(&mut self, name: &str, args: &[Host], span: Span) -> Option<Host> {
        let constants: Option<Vec<Constant>> = args.iter().map(Host::constant).collect();
        if let Some(constants) = constants {
            return match constant::call(name, &constants) {
                Some(Ok(value)) => Some(Host::Constant(value)),
                Some(Err(error)) => {
                    let kinds: Vec<String> = constants.iter().map(Constant::describe).collect();
                    self.fold_error(error, &kinds.join(" and "), span);
                    None
                }
                None => {
                    self.unknown_host_function(name, args.len(), span);
                    None
                }
            };
        }
        match (name, args) {
            ("min" | "max" | "ceil", [a, b]) => {
                let (x, y, dtype) = self.pair(a, b, span)?;
                let op = match name {
                    "min" => host::Binary::Min,
                    "max" => host::Binary::Max,
                    _ => host::Binary::CeilDiv,
                };
                if dtype == DType::BOOL || op == host::Binary::CeilDiv && dtype != DType::I32 {
                    self.not_on_host(&format!("`{name}` of {dtype}"), span);
                    return None;
                }
                Some(Host::Expr(Expr::binary(op, x, y), dtype))
            }
            ("sqrt", [Host::Expr(expr, DType::F32)]) => {
                Some(Host::Expr(Expr::Unary(host::Unary::Sqrt, Box::new(expr.clone())), DType::F32))
            }
            ("sqrt", [other]) => {
                self.not_on_host(&format!("`sqrt` of {}", other.describe()), span);
                None
            }
            _ => {
                self.unknown_host_function(name, args.len(), span);
                None
            }
        }
    }

    fn unknown_host_function(&mut self, name: &str, args: usize, span: Span) {
        self.diags.push(
            Diagnostic::error(
                Code::HostExpression,
                format!(
                    "`{name}` with {} cannot be computed outside a kernel's body",
                    counted(args, "argument")
                ),
            )
            .at(span, "not possible here")
            .help("the functions of the host are `ceil(a, b)`, `min`, `max` and `sqrt`; of constants also `abs`, `floor`, `ceil`, `trunc`, `round` and `where`"),
        );
    }
}

/// The word for a kind of item.
pub(crate) fn item_word(kind: &ItemKind) -> &'static str {
    match kind {
        ItemKind::Use(_) => "use",
        ItemKind::Const(_) => "const",
        ItemKind::Table(_) => "table",
        ItemKind::Function(_) => "fn",
        ItemKind::Kernel(_) => "kernel",
        ItemKind::Format(_) => "format",
        ItemKind::Program(_) => "program",
    }
}
