//! Declarations of a program: hyper-parameters, constants, weights, states, inputs, outputs, buffers.

use super::{Compiler, Meaning, Memory};
use crate::diags::counted;
use crate::host::Host;
use tvmc_ir::host::Expr;
use tvmc_ir::program::{
    Base, Buffer, Growth, Hyper, Input, MemoryDecl, MemoryElement, Output, ScalarInput, State, Weight,
    WeightDecl, WeightElement,
};
use tvmc_lang::ast::{self, Declaration, ExprId, Ident, ItemKind};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

impl Compiler<'_, '_> {
    pub(super) fn declare(&mut self, declaration: &Declaration, span: Span) {
        match declaration {
            Declaration::Hyper { name, ty, key, default } => {
                let meaning = self.hyper(name, ty, &key.value, *default);
                self.define(name, meaning.unwrap_or(Meaning::Poison));
            }
            Declaration::Const(c) => {
                let meaning = match self.number(c.value) {
                    Some(Host::Expr(expr, dtype)) => {
                        self.phases.constant(&c.name.name, &expr);
                        self.program.consts.push((c.name.name.clone(), expr));
                        Meaning::Number(Host::Expr(Expr::Name(c.name.name.clone()), dtype))
                    }
                    Some(constant @ Host::Constant(_)) => {
                        self.program.consts.push((c.name.name.clone(), constant.expr()));
                        Meaning::Number(constant)
                    }
                    None => Meaning::Poison,
                };
                self.define(&c.name, meaning);
            }
            Declaration::Weight { name, count, ty, pattern, fallback } => {
                let meaning = self.weight(name, *count, ty, pattern, *fallback);
                self.define(name, meaning.unwrap_or(Meaning::Poison));
            }
            Declaration::State { name, ty, grows } => {
                let meaning = self.state(name, ty, grows.as_ref());
                self.define(name, meaning.unwrap_or(Meaning::Poison));
            }
            Declaration::Input { name, ty } => {
                let meaning = self.input(name, ty);
                self.define(name, meaning.unwrap_or(Meaning::Poison));
            }
            Declaration::Output { name, ty } => {
                let meaning = self.output(name, ty, span);
                self.define(name, meaning.unwrap_or(Meaning::Poison));
            }
        }
    }

    fn hyper(&mut self, name: &Ident, ty: &ast::Type, key: &str, default: Option<ExprId>) -> Option<Meaning> {
        let dtype = self.dtype(&ty.elem)?;
        if !matches!(dtype, DType::I32 | DType::F32) || ty.shape.is_some() {
            self.cx.diags.push(
                Diagnostic::error(Code::HyperType, "a hyper-parameter is one i32 or f32")
                    .at(ty.span, "another type")
                    .help("write `: i32` or `: f32`"),
            );
            return None;
        }
        let default = match default {
            None => None,
            Some(id) => {
                let value = self.number(id)?;
                let Some(expr) = value.expr_as(dtype) else {
                    let kind = value.describe();
                    self.error(
                        Code::WrongType,
                        self.file[id].span,
                        format!("the default is {kind}, not {dtype}"),
                        kind,
                    );
                    return None;
                };
                Some(self.over_hypers(expr, self.file[id].span)?)
            }
        };
        self.phases.hyper(&name.name);
        self.program.hypers.push(Hyper { name: name.name.clone(), dtype, key: key.to_owned(), default });
        Some(Meaning::Number(Host::Expr(Expr::Name(name.name.clone()), dtype)))
    }

    fn weight(
        &mut self,
        name: &Ident,
        count: Option<ExprId>,
        ty: &ast::Type,
        pattern: &ast::Str,
        fallback: Option<ExprId>,
    ) -> Option<Meaning> {
        let count = match count {
            None => None,
            Some(id) => {
                let expr = self.integer(id, "the number of layers")?.expr();
                Some(self.over_hypers(expr, self.file[id].span)?)
            }
        };
        let element = if ty.elem.ident().name == "any" {
            Some(WeightElement::Any)
        } else {
            let ident = ty.elem.ident();
            let format = self.cx.lib.lookup(self.module, &ident.name);
            if format.is_some_and(|id| matches!(self.cx.lib.item(id).kind, ItemKind::Format(_))) {
                self.cx.diags.push(
                    Diagnostic::error(Code::Unsupported, "a weight cannot be pinned to one format yet")
                        .at(ident.span, "a format")
                        .help("write `any`: the file decides, and the kernels follow"),
                );
                None
            } else {
                self.dtype(&ty.elem).map(WeightElement::DType)
            }
        };
        let shape = self.shape(ty);
        if ty.shape.is_none() {
            self.error(Code::RankMismatch, ty.span, "a weight has a shape", "no extents");
            return None;
        }
        let places = pattern.value.matches("{}").count();
        if places != usize::from(count.is_some()) {
            let (message, help) = if count.is_some() {
                (
                    "one weight a layer needs one `{}` in its pattern",
                    "`{}` stands for the number of the layer",
                )
            } else {
                ("a single weight has no `{}` in its pattern", "give the number of layers: `weight w[L]: ..`")
            };
            self.cx.diags.push(
                Diagnostic::error(Code::PatternInvalid, message)
                    .at(pattern.span, counted(places, "place"))
                    .help(help),
            );
        }
        let fallback = match fallback {
            None => None,
            Some(id) => Some(self.fallback(id, count.is_some())?),
        };
        let (element, shape) = (element?, shape?);
        let exprs: Vec<Expr> = shape.iter().map(Host::expr).collect();
        self.file_extents(&exprs, ty.span)?;
        let list = count.is_some();
        self.program.weights.push(WeightDecl {
            name: name.name.clone(),
            count,
            element,
            shape: exprs,
            pattern: pattern.value.clone(),
            fallback,
        });
        let at = Weight(self.program.weights.len() as u32 - 1);
        let base = Base::Weight(at, None);
        Some(Meaning::Memory(Memory { base, element, shape, views: Vec::new(), list, writable: false }))
    }

    fn fallback(&mut self, id: ExprId, list: bool) -> Option<Weight> {
        let span = self.file[id].span;
        let name = self.file.exprs.name(id);
        if let Some(name) = name {
            match self.scope.find(&name.name) {
                Some(Meaning::Memory(Memory { base: Base::Weight(weight, None), list: other, .. })) => {
                    if *other == list {
                        return Some(*weight);
                    }
                    self.error(
                        Code::UnknownWeight,
                        span,
                        "a list of weights cannot stand for a single one",
                        "another kind",
                    );
                    return None;
                }
                Some(Meaning::Poison) => return None,
                Some(Meaning::Memory(_) | Meaning::Number(_)) | None => {}
            }
        }
        let d = Diagnostic::error(
            Code::UnknownWeight,
            "what stands for a missing weight is a weight declared above",
        )
        .at(span, "not a weight");
        let names: Vec<&str> = self.program.weights.iter().map(|w| w.name.as_str()).collect();
        let near = name.and_then(|n| closest(&n.name, names));
        self.cx.diags.push(match near {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help("`else` names another weight of this program"),
        });
        None
    }

    fn state(&mut self, name: &Ident, ty: &ast::Type, grows: Option<&ast::Growth>) -> Option<Meaning> {
        let element = self.memory_element(&ty.elem);
        let shape = self.shape(ty);
        let (element, shape) = (element?, shape?);
        let grows = match grows {
            Some(growth) => Some(self.growth(name, &element, &shape, growth)?),
            None => None,
        };
        if shape.is_empty() {
            self.cx.diags.push(
                Diagnostic::error(Code::StateInvalid, "a state has a shape")
                    .at(ty.span, "no extents")
                    .help("such as `f16[L, C]`"),
            );
            return None;
        }
        let exprs: Vec<Expr> = shape.iter().map(Host::expr).collect();
        self.before_calls(&exprs, ty.span)?;
        self.program.states.push(MemoryDecl {
            name: name.name.clone(),
            element: element.clone(),
            shape: exprs,
            grows,
        });
        let base = Base::State(State(self.program.states.len() as u32 - 1));
        Some(Self::memory_of(base, &element, shape, true))
    }

    fn growth(
        &mut self,
        state: &Ident,
        element: &MemoryElement,
        shape: &[Host],
        growth: &ast::Growth,
    ) -> Option<Growth> {
        let dimension = &growth.dimension;
        let is_it = |h: &&Host| matches!(h, Host::Expr(Expr::Name(n), _) if *n == dimension.name);
        let times = shape.iter().filter(is_it).count();
        if times != 1 {
            let label = if times == 0 { "not one of its extents" } else { "more than one of its extents" };
            self.cx.diags.push(
                Diagnostic::error(
                    Code::StateInvalid,
                    format!("`{}` is {} of `{}`", dimension.name, counted(times, "dimension"), state.name),
                )
                .at(dimension.span, label)
                .help("name the extent along which the state fills"),
            );
            return None;
        }
        if matches!(element, MemoryElement::Format(_)) && shape.last().is_some_and(|last| is_it(&last)) {
            self.cx.diags.push(
                Diagnostic::error(
                    Code::StateInvalid,
                    format!("`{}` is stored in groups along `{}`", state.name, dimension.name),
                )
                .at(dimension.span, "a group is stored whole, not entry by entry")
                .help("put the extent along which it grows before the last"),
            );
            return None;
        }
        let to = self.integer(growth.to, "how far a state grows")?;
        Some(Growth { extent: dimension.name.clone(), to: to.expr() })
    }

    fn memory_of(base: Base, element: &MemoryElement, shape: Vec<Host>, writable: bool) -> Meaning {
        let element = element.promised();
        Meaning::Memory(Memory { base, element, shape, views: Vec::new(), list: false, writable })
    }

    fn input(&mut self, name: &Ident, ty: &ast::Type) -> Option<Meaning> {
        let dtype = self.dtype(&ty.elem);
        let shape = self.shape(ty);
        let (dtype, shape) = (dtype?, shape?);
        if ty.shape.is_none() {
            if !matches!(dtype, DType::I32 | DType::F32) {
                self.error(
                    Code::WrongType,
                    ty.span,
                    format!("a number given by a call is i32 or f32, not {dtype}"),
                    "another type",
                );
                return None;
            }
            self.program.scalars.push(ScalarInput { name: name.name.clone(), dtype });
            return Some(Meaning::Number(Host::Expr(Expr::Name(name.name.clone()), dtype)));
        }
        self.program.inputs.push(MemoryDecl {
            name: name.name.clone(),
            element: MemoryElement::DType(dtype),
            shape: shape.iter().map(Host::expr).collect(),
            grows: None,
        });
        let base = Base::Input(Input(self.program.inputs.len() as u32 - 1));
        Some(Self::memory_of(base, &MemoryElement::DType(dtype), shape, false))
    }

    fn output(&mut self, name: &Ident, ty: &ast::Type, span: Span) -> Option<Meaning> {
        let dtype = self.dtype(&ty.elem);
        let shape = self.shape(ty);
        let (dtype, shape) = (dtype?, shape?);
        if ty.shape.is_none() {
            self.error(Code::RankMismatch, span, "an output has a shape", "no extents");
            return None;
        }
        self.program.outputs.push(MemoryDecl {
            name: name.name.clone(),
            element: MemoryElement::DType(dtype),
            shape: shape.iter().map(Host::expr).collect(),
            grows: None,
        });
        let base = Base::Output(Output(self.program.outputs.len() as u32 - 1));
        Some(Self::memory_of(base, &MemoryElement::DType(dtype), shape, true))
    }

    pub(super) fn buffer(&mut self, name: &Ident, ty: &ast::Type) -> Option<Meaning> {
        let element = self.memory_element(&ty.elem);
        let span = ty.span;
        if self.scope.names.len() > 1 {
            self.cx.diags.push(
                Diagnostic::error(Code::Unsupported, "a buffer is declared directly in the program")
                    .at(span, "inside a loop or `if`")
                    .help("move it out; its memory is reused between iterations anyway"),
            );
        }
        let shape = self.shape(ty);
        let (element, shape) = (element?, shape?);
        self.program.buffers.push(MemoryDecl {
            name: name.name.clone(),
            element: element.clone(),
            shape: shape.iter().map(Host::expr).collect(),
            grows: None,
        });
        let base = Base::Buffer(Buffer(self.program.buffers.len() as u32 - 1));
        Some(Self::memory_of(base, &element, shape, true))
    }

    /// A dtype, a format, or what was chosen for a generic parameter of the program.
    fn memory_element(&mut self, name: &ast::TypeName) -> Option<MemoryElement> {
        let ident = name.ident();
        if let Some(element) = self.elements.get(&ident.name) {
            return Some(element.clone());
        }
        let format = self.cx.lib.lookup(self.module, &ident.name);
        match format.filter(|id| matches!(self.cx.lib.item(*id).kind, ItemKind::Format(_))) {
            Some(_) => Some(MemoryElement::Format(ident.name.clone())),
            None => self.dtype(name).map(MemoryElement::DType),
        }
    }
}
