//! A launch against the interface of its kernel.

use super::{Compiler, Memory};
use crate::diags::counted;
use crate::host::{Host, item_word};
use crate::interface::{ElementType, KernelInterface, ParamKind, shape_of};
use std::collections::BTreeMap;
use tvmc_ir::host::Expr;
use tvmc_ir::lane::Access;
use tvmc_ir::program::{Argument, Base, Stmt, View, WeightElement};
use tvmc_lang::ast::{self, Arg, GenericKind, Ident, ItemKind};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

impl Compiler<'_, '_> {
    pub(super) fn launch(
        &mut self,
        callee: &Ident,
        args: &[Arg],
        with: &[ast::NamedValue],
        span: Span,
    ) -> Option<Stmt> {
        let lib = self.cx.lib;
        let id = match lib.lookup(self.module, &callee.name) {
            Some(id) if matches!(lib.item(id).kind, ItemKind::Kernel(_)) => id,
            Some(id) => {
                let word = item_word(&lib.item(id).kind);
                self.cx.diags.push(
                    Diagnostic::error(
                        Code::NotCallable,
                        format!("`{}` is a {word}, not a kernel", callee.name),
                    )
                    .at(callee.span, "cannot be launched")
                    .help("a program launches kernels; fns are called inside them"),
                );
                return None;
            }
            None => {
                let names = lib.visible(self.module);
                let d =
                    Diagnostic::error(Code::UnknownFunction, format!("there is no kernel `{}`", callee.name))
                        .at(callee.span, "not defined");
                self.cx.diags.push(match closest(&callee.name, names) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help("bring it in with `use`"),
                });
                return None;
            }
        };
        // Errors of the kernel's header are reported where the kernel is checked.
        let mut quiet = crate::host::Cx::new(lib);
        let interface = shape_of(&mut quiet, id);
        if quiet.diags.errors() > 0 {
            self.cx.diags.push(
                Diagnostic::error(Code::LaunchMismatch, format!("kernel `{}` has errors", callee.name))
                    .at(callee.span, "launched here")
                    .help("they are reported where the kernel is defined"),
            );
            return None;
        }
        let with = self.tunes(&interface, with);
        let values: Vec<Option<Value>> = args.iter().map(|a| self.argument(a)).collect();
        if args.len() != interface.params.len() {
            let names: Vec<&str> = interface.params.iter().map(|p| p.name.as_str()).collect();
            self.cx.diags.push(
                Diagnostic::error(
                    Code::LaunchMismatch,
                    format!(
                        "kernel `{}` takes {}, not {}",
                        callee.name,
                        counted(names.len(), "argument"),
                        args.len()
                    ),
                )
                .at(span, "another number of arguments")
                .help(format!("its parameters are: {}", names.join(", "))),
            );
            return None;
        }
        let mut binder = Binder { dims: BTreeMap::new(), generics: BTreeMap::new() };
        let mut out = Vec::new();
        let mut good = true;
        for ((value, param), arg) in values.iter().zip(&interface.params).zip(args) {
            let Some(value) = value else {
                good = false;
                continue;
            };
            match self.fit(&interface, param, value, arg.span, &mut binder) {
                Some(argument) => out.push(argument),
                None => good = false,
            }
        }
        if !good {
            return None;
        }
        self.overlaps(&interface, &out, args);
        let kernel = lib.name_of(id, |kind| matches!(kind, ItemKind::Kernel(_)));
        Some(Stmt::Launch { kernel, args: out, with: with?, location: lib.location(span) })
    }

    fn tunes(&mut self, interface: &KernelInterface, with: &[ast::NamedValue]) -> Option<Vec<(String, i64)>> {
        let mut out: Vec<(String, i64)> = Vec::new();
        let mut good = true;
        for named in with {
            let value = self.cx.need_int(self.module, named.value, &self.scope).and_then(|c| c.as_int());
            let tune = interface.tunes.iter().find(|t| t.name == named.name.name);
            let Some(tune) = tune else {
                good = false;
                let d = Diagnostic::error(
                    Code::UnknownTune,
                    format!("kernel `{}` has no tune name `{}`", interface.name, named.name.name),
                )
                .at(named.name.span, "not known");
                let names: Vec<&str> = interface.tunes.iter().map(|t| t.name.as_str()).collect();
                self.cx.diags.push(match closest(&named.name.name, names.iter().copied()) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None if names.is_empty() => d.help("it has none"),
                    None => d.help(format!("it has: {}", names.join(", "))),
                });
                continue;
            };
            let Some(value) = value else {
                good = false;
                continue;
            };
            if !tune.values.contains(&value) {
                good = false;
                let list: Vec<String> = tune.values.iter().map(ToString::to_string).collect();
                self.cx.diags.push(
                    Diagnostic::error(Code::UnknownTune, format!("`{}` cannot be {value}", tune.name))
                        .at(self.file[named.value].span, "not offered by the kernel")
                        .help(format!("choose one of {}", list.join(", "))),
                );
            } else if out.iter().any(|(n, _)| *n == tune.name) {
                good = false;
                self.error(
                    Code::DuplicateName,
                    named.name.span,
                    format!("`{}` is set twice", tune.name),
                    "set again",
                );
            } else {
                out.push((tune.name.clone(), value));
            }
        }
        good.then_some(out)
    }

    fn argument(&mut self, arg: &Arg) -> Option<Value> {
        let Some(expr) = arg.expr().filter(|_| arg.name.is_none()) else {
            self.error(
                Code::LaunchMismatch,
                arg.span,
                "arguments of a launch are memory and numbers, by place",
                "not possible",
            );
            return None;
        };
        if self.is_memory(expr) {
            let memory = self.memory(expr)?;
            if memory.list {
                self.cx.diags.push(
                    Diagnostic::error(Code::LaunchMismatch, "this is a list of weights, one a layer")
                        .at(arg.span, "choose one")
                        .help("index it: `w[l]`"),
                );
                return None;
            }
            return Some(Value::Memory(memory));
        }
        self.number(expr).map(Value::Number)
    }

    fn fit(
        &mut self,
        interface: &KernelInterface,
        param: &crate::interface::ParamDecl,
        value: &Value,
        span: Span,
        binder: &mut Binder,
    ) -> Option<Argument> {
        let name = &param.name;
        match (&param.kind, value) {
            (ParamKind::Scalar(dtype), Value::Number(host)) => {
                let wanted = if *dtype == DType::U32 { DType::I32 } else { *dtype };
                match host.expr_as(wanted) {
                    Some(expr) => Some(Argument::Scalar(expr)),
                    None => {
                        let kind = host.describe();
                        self.cx.diags.push(
                            Diagnostic::error(
                                Code::LaunchMismatch,
                                format!("parameter `{name}` is {dtype}, not {kind}"),
                            )
                            .at(span, kind)
                            .help(format!("convert it: `x as {wanted}`")),
                        );
                        None
                    }
                }
            }
            (ParamKind::Tensor { element, shape }, Value::Memory(memory)) => {
                let writes = param.access != Access::Read;
                let good = self.element_fits(interface, name, element, memory, span, binder)
                    & self.shape_fits(name, shape, memory, span, binder);
                if writes && !memory.writable {
                    self.cx.diags.push(
                        Diagnostic::error(
                            Code::LaunchMismatch,
                            format!("the kernel writes `{name}`, but this may only be read"),
                        )
                        .at(span, "a weight or an input")
                        .help("give a buffer, state or output"),
                    );
                    return None;
                }
                good.then(|| Argument::Memory { base: memory.base.clone(), views: memory.views.clone() })
            }
            (ParamKind::Scalar(dtype), Value::Memory(_)) => {
                self.error(
                    Code::LaunchMismatch,
                    span,
                    format!("parameter `{name}` is a number ({dtype}), not memory"),
                    "memory",
                );
                None
            }
            (ParamKind::Tensor { .. }, Value::Number(_)) => {
                self.error(
                    Code::LaunchMismatch,
                    span,
                    format!("parameter `{name}` is memory, not a number"),
                    "a number",
                );
                None
            }
        }
    }

    fn element_fits(
        &mut self,
        interface: &KernelInterface,
        name: &str,
        element: &ElementType,
        memory: &Memory,
        span: Span,
        binder: &mut Binder,
    ) -> bool {
        let message = match (element, memory.element) {
            (ElementType::DType(want), WeightElement::DType(got)) if *want == got => return true,
            (ElementType::DType(want), WeightElement::DType(got)) => {
                format!("parameter `{name}` is {want}, not {got}")
            }
            (ElementType::DType(want), WeightElement::Any) => {
                format!("parameter `{name}` is {want}, but the file decides what this weight is")
            }
            (ElementType::Format(want), _) => {
                format!("parameter `{name}` is of format `{want}`, which memory of a program cannot promise")
            }
            (ElementType::Generic(generic), got) => {
                let kind = interface.generics.iter().find(|g| g.name == *generic).map(|g| g.kind);
                let known = binder.generics.get(generic).copied();
                match (kind, got) {
                    (Some(GenericKind::Format), WeightElement::Any) if known.is_none() => return true,
                    (Some(GenericKind::Format), WeightElement::Any) => {
                        format!("`{generic}` would stand for two element types")
                    }
                    (_, WeightElement::Any) => {
                        format!("parameter `{name}` needs a dtype, but the file decides what this weight is")
                    }
                    (Some(GenericKind::Float), WeightElement::DType(d)) if !d.is_float() => {
                        format!("`{generic}` must be a float, not {d}")
                    }
                    (Some(GenericKind::Int), WeightElement::DType(d)) if !d.is_integer() => {
                        format!("`{generic}` must be an integer, not {d}")
                    }
                    (_, WeightElement::DType(d)) => match known {
                        Some(first) if first != d => format!("`{generic}` would be both {first} and {d}"),
                        Some(_) | None => {
                            binder.generics.insert(generic.clone(), d);
                            return true;
                        }
                    },
                }
            }
        };
        self.cx.diags.push(
            Diagnostic::error(Code::LaunchMismatch, message)
                .at(span, "another element type")
                .help("declare the memory with this dtype, or make the kernel generic: `<W: format>`"),
        );
        false
    }

    fn shape_fits(
        &mut self,
        name: &str,
        shape: &[Expr],
        memory: &Memory,
        span: Span,
        binder: &mut Binder,
    ) -> bool {
        if shape.len() != memory.shape.len() {
            self.cx.diags.push(
                Diagnostic::error(
                    Code::LaunchMismatch,
                    format!(
                        "parameter `{name}` has {}, this memory {}",
                        counted(shape.len(), "dimension"),
                        memory.shape.len()
                    ),
                )
                .at(span, counted(memory.shape.len(), "dimension"))
                .help("give it another shape with `t.view(a, b, ..)`, or drop a dimension with `t[i]`"),
            );
            return false;
        }
        let mut good = true;
        for (want, got) in shape.iter().zip(&memory.shape) {
            let Some(size) = got.constant().and_then(|c| c.as_int()) else { continue };
            let first = match want {
                Expr::Name(dim) => binder.dims.entry(dim.clone()).or_insert((size, span)),
                _ => match want.as_int() {
                    Some(fixed) => &mut (fixed, span),
                    None => continue,
                },
            };
            if first.0 != size {
                let (known, at) = *first;
                good = false;
                self.cx.diags.push(
                    Diagnostic::error(
                        Code::LaunchShape,
                        format!("`{want}` of parameter `{name}` is {size} here, but {known} elsewhere"),
                    )
                    .at(span, format!("{size}"))
                    .also(at, format!("{known}"))
                    .help("give arguments of matching shapes"),
                );
            }
        }
        good
    }

    /// Refuses written memory that is certainly part of another argument.
    fn overlaps(&mut self, interface: &KernelInterface, out: &[Argument], args: &[Arg]) {
        for (i, (written, param)) in out.iter().zip(&interface.params).enumerate() {
            if param.access == Access::Read {
                continue;
            }
            for (j, other) in out.iter().enumerate() {
                let both = interface.params[j].access != Access::Read;
                if i == j || both && j < i {
                    continue;
                }
                if same(written, other) {
                    self.cx.diags.push(
                        Diagnostic::error(
                            Code::ArgumentOverlap,
                            format!(
                                "the kernel writes `{}`, and the same memory is `{}`",
                                param.name, interface.params[j].name
                            ),
                        )
                        .at(args[i].span, "written")
                        .also(args[j].span, "the same memory")
                        .help("give another buffer, or use one `inout` parameter for both"),
                    );
                }
            }
        }
    }
}

/// Whether two arguments certainly share elements: the same base, and the same parts as far as both name any.
fn same(a: &Argument, b: &Argument) -> bool {
    let (Argument::Memory { base: x, views: p }, Argument::Memory { base: y, views: q }) = (a, b) else {
        return false;
    };
    let parts = |views: &[View]| -> Vec<View> {
        views.iter().filter(|v| !matches!(v, View::Shape(_))).cloned().collect()
    };
    let (p, q) = (parts(p), parts(q));
    let n = p.len().min(q.len());
    let equal = match (x, y) {
        (Base::Weight(a, i), Base::Weight(b, j)) => a == b && i == j,
        (Base::State(a), Base::State(b)) => a == b,
        (Base::Buffer(a), Base::Buffer(b)) => a == b,
        (Base::Input(a), Base::Input(b)) => a == b,
        (Base::Output(a), Base::Output(b)) => a == b,
        (Base::Weight(..) | Base::State(_) | Base::Buffer(_) | Base::Input(_) | Base::Output(_), _) => false,
    };
    equal && p[..n] == q[..n]
}

/// An argument before it is fitted.
pub(super) enum Value {
    Memory(Memory),
    Number(Host),
}

/// What the arguments so far have bound.
struct Binder {
    dims: BTreeMap<String, (i64, Span)>,
    generics: BTreeMap<String, DType>,
}
