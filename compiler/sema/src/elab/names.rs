//! What a name means in a body: a local, then the kernel's header, then a field or table of the format, then an item.
//!
//! A runtime dimension or a constant computed from one is a host expression; used in a body it becomes operations on i32 scalars.

use super::{Elab, Mode, Operand};
use crate::constant::Constant;
use crate::host::{Env, Host, Named, item_word};
use crate::library::BUILTINS;
use crate::signature::ParameterKind;
use tvmc_ir::host::{self, Expr, Number};
use tvmc_ir::tile::{Binary, CastRule, Dim, Memory, Op, Param, TileType, Unary, Value};
use tvmc_lang::ast::{self, ItemKind};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

impl Elab<'_, '_> {
    /// The value of a name.
    pub fn name(&mut self, name: &ast::Ident) -> Option<Operand> {
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
            None if !self.calls.is_empty() => {
                d.help("a fn sees only its parameters, its `let`s and `const`s")
            }
            None => {
                d.help("define it with `let`, or pass it as a parameter; items of other files need `use`")
            }
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
                    host::Unary::ToFloat => self.cast_value(a, DType::F32, CastRule::Round, span),
                    host::Unary::ToInt => self.cast_value(a, DType::I32, CastRule::Saturate, span),
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
}
