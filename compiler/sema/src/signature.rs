//! What stands before a kernel's body: generics, parameters, dimensions, `tune`, `const`, `grid`, `lanes`, `assume`.
//!
//! A dimension is a capital name in a parameter's shape that is no constant. It is bound by a parameter that has it as a whole extent:
//!
//! ```text
//! kernel rope(x: inout f32[M, H, P, 2], start: i32)      dimensions M, H, P, in this order
//! kernel f(x: f32[H * E], y: f32[H])                     error: no argument binds `E`
//! ```

use crate::constant::Constant;
use crate::host::{Cx, Env, Host, Named};
use crate::interface::TuneDecl;
use crate::library::{ItemId, Library};
use std::collections::{BTreeMap, HashMap};
use tvmc_ir::host::{self, Expr};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::MAX_RANK;
use tvmc_ir::tile::launch::MAX_EXTENT;
use tvmc_lang::ast::{self, ExprKind, GenericKind, HeaderKind, ItemKind, Mode, TypeName};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// What a generic parameter stands for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    DType(DType),
    Format(ItemId),
}

/// Bindings of an instance, resolved.
#[derive(Clone, Default, Debug)]
pub(crate) struct Bindings {
    pub generics: HashMap<String, Choice>,
    pub dims: HashMap<String, u64>,
    pub tunes: HashMap<String, i64>,
    /// Compiled only to find errors or needs: what depends on a sample value is not judged.
    pub sample: bool,
}

/// What becomes of a float that is stored to narrower elements.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum StoreRule {
    /// An error: the source says `as`.
    Exact,
    /// It is rounded as `as` rounds. The elements are of a generic `format`, where a store encodes, whatever that takes; of a dtype, this.
    Encoded,
}

/// A parameter of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub name: ast::Ident,
    pub mode: Mode,
    pub kind: ParameterKind,
    pub stores: StoreRule,
}

#[derive(Clone, Debug)]
pub(crate) enum ParameterKind {
    Tensor {
        element: Choice,
        shape: Vec<Host>,
    },
    Scalar(DType),
    /// Wrong; reported.
    Poison,
}

pub(crate) struct Dimension {
    pub name: String,
    pub span: Span,
    pub value: Option<u64>,
}

/// Everything before the body, evaluated for one instance.
#[derive(Default)]
pub(crate) struct Header {
    values: BTreeMap<String, Option<Host>>,
    pub generics: BTreeMap<String, Choice>,
    groups: BTreeMap<String, Constant>,
    pub params: Vec<Parameter>,
    pub dims: Vec<Dimension>,
    pub tunes: Vec<TuneDecl>,
    pub grid: Vec<Host>,
    pub assumptions: Vec<(Expr, String)>,
    pub lanes: Option<(u32, Span)>,
}

impl Env for Header {
    fn name(&self, name: &str) -> Named {
        match self.values.get(name) {
            Some(Some(value)) => Named::Value(value.clone()),
            Some(None) => Named::Poison,
            None if self.generics.contains_key(name) => Named::Other("a generic parameter"),
            None if self.params.iter().any(|p| p.name.name == name) => Named::Other("a tensor"),
            None => Named::Unknown,
        }
    }

    fn group(&self, name: &str) -> Option<Constant> {
        self.groups.get(name).copied()
    }

    fn names(&self) -> Vec<String> {
        let params = self.params.iter().map(|p| p.name.name.clone());
        self.values.keys().chain(self.generics.keys()).cloned().chain(params).collect()
    }
}

impl Header {
    /// The runtime dimensions: those without a value.
    pub fn runtime_dims(&self) -> impl Iterator<Item = &Dimension> {
        self.dims.iter().filter(|d| d.value.is_none())
    }
}

pub(crate) fn kernel_ast(lib: &Library, id: ItemId) -> Option<&ast::Kernel> {
    match &lib.item(id).kind {
        ItemKind::Kernel(kernel) => Some(kernel),
        ItemKind::Use(_)
        | ItemKind::Const(_)
        | ItemKind::Table(_)
        | ItemKind::Function(_)
        | ItemKind::Format(_)
        | ItemKind::Program(_) => None,
    }
}

/// A type's name as a dtype or a format of the library.
pub(crate) fn element(
    cx: &mut Cx,
    module: usize,
    name: &TypeName,
    generics: &BTreeMap<String, Choice>,
) -> Option<Choice> {
    let ident = name.ident();
    if let Some(choice) = generics.get(&ident.name) {
        return Some(*choice);
    }
    if let Some(dtype) = DType::from_name(&ident.name) {
        return Some(Choice::DType(dtype));
    }
    match cx.lib.lookup(module, &ident.name) {
        Some(id) if matches!(cx.lib.item(id).kind, ItemKind::Format(_)) => Some(Choice::Format(id)),
        Some(_) | None => {
            let d = Diagnostic::error(Code::UnknownType, format!("there is no type `{}` here", ident.name))
                .at(ident.span, "no dtype, no format and no generic parameter");
            let dtypes = DType::ALL.iter().map(|d| d.name());
            let names = generics.keys().map(String::as_str).chain(cx.lib.visible(module)).chain(dtypes);
            cx.diags.push(match closest(&ident.name, names) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None if ident.name == "any" => {
                    d.help("`any` stands in programs; a kernel takes a generic: `<W: format>`")
                }
                None => d.help("use a dtype such as f32, a declared format, or a generic parameter"),
            });
            None
        }
    }
}

/// Every name in an expression.
fn names_in(file: &ast::File, id: ast::ExprId, out: &mut Vec<ast::Ident>) {
    let mut stack = vec![id];
    while let Some(id) = stack.pop() {
        if let ExprKind::Name(name) = &file[id].kind {
            out.push(name.clone());
        }
        let at = stack.len();
        file[id].kind.for_each_child(&mut |child| stack.push(child));
        stack[at..].reverse();
    }
}

struct Reader<'c, 'l> {
    cx: &'c mut Cx<'l>,
    module: usize,
    file: &'l ast::File,
    header: Header,
}

/// Reads a kernel's header for these bindings. Errors are reported; the header is as complete as possible.
pub(crate) fn header(cx: &mut Cx, id: ItemId, bindings: &Bindings) -> Header {
    let lib = cx.lib;
    let Some(kernel) = kernel_ast(lib, id) else { return Header::default() };
    let file = &lib.module(id.module).file;
    let mut reader = Reader { cx, module: id.module, file, header: Header::default() };
    reader.generics(kernel, bindings);
    reader.dims(kernel, bindings);
    reader.params(kernel);
    reader.lines(kernel, bindings);
    let missing = kernel.headers.iter().all(|h| !matches!(h.kind, HeaderKind::Grid(_)));
    if missing {
        reader.cx.diags.push(
            Diagnostic::error(Code::GridMissing, format!("kernel `{}` has no grid", kernel.name.name))
                .at(kernel.name.span, "how many blocks?")
                .help("write `grid ceil(N, BN)` before the body; `grid 1` for a single block"),
        );
    }
    reader.header
}

impl Reader<'_, '_> {
    fn duplicate(&mut self, name: &ast::Ident) -> bool {
        let h = &self.header;
        let known = h.values.contains_key(&name.name)
            || h.generics.contains_key(&name.name)
            || h.params.iter().any(|p| p.name.name == name.name);
        if known {
            self.cx.diags.push(
                Diagnostic::error(
                    Code::DuplicateName,
                    format!("`{}` is defined twice in this kernel", name.name),
                )
                .at(name.span, "defined again")
                .help("rename one of them"),
            );
        }
        known
    }

    fn generics(&mut self, kernel: &ast::Kernel, bindings: &Bindings) {
        for generic in &kernel.generics {
            if self.duplicate(&generic.name) {
                continue;
            }
            if generic.default.is_some() {
                self.cx.diags.push(
                    Diagnostic::error(Code::WrongArgument, "only a program's parameters have defaults")
                        .at(generic.span, "of a kernel")
                        .help("leave it out: a kernel's parameter stands for what its argument holds"),
                );
            }
            let name = &generic.name.name;
            let choice = bindings.generics.get(name).copied();
            let good = match (generic.kind, choice) {
                (GenericKind::Format, Some(_)) => true,
                (GenericKind::Float, Some(Choice::DType(d))) => d.is_float(),
                (GenericKind::Int, Some(Choice::DType(d))) => d.is_integer(),
                (GenericKind::Dtype, Some(Choice::DType(_))) => true,
                (GenericKind::Float | GenericKind::Int | GenericKind::Dtype, Some(Choice::Format(_)))
                | (_, None) => false,
            };
            if !good {
                let message = match choice {
                    Some(_) => format!("`{name}` must be a {}", generic.kind.symbol()),
                    None => format!("`{name}` has no choice in this instance"),
                };
                self.cx.diags.push(
                    Diagnostic::error(Code::WrongArgument, message)
                        .at(generic.span, "generic parameter")
                        .help(format!("give the instance a {} for `{name}`", generic.kind.symbol())),
                );
            }
            let choice = choice.filter(|_| good).unwrap_or(Choice::DType(DType::F32));
            let group = match choice {
                Choice::DType(_) => Some(1),
                Choice::Format(id) => crate::format::group_size(self.cx, id),
            };
            self.header.groups.insert(name.clone(), Constant::int(i64::from(group.unwrap_or(1))));
            self.header.generics.insert(name.clone(), choice);
        }
    }

    /// Finds the dimensions: see the head of this file.
    fn dims(&mut self, kernel: &ast::Kernel, bindings: &Bindings) {
        let own: Vec<&str> = kernel
            .headers
            .iter()
            .flat_map(|h| match &h.kind {
                HeaderKind::Tune(tunes) => tunes.iter().map(|t| t.name.name.as_str()).collect(),
                HeaderKind::Const(c) => vec![c.name.name.as_str()],
                HeaderKind::Grid(_) | HeaderKind::Lanes(_) | HeaderKind::Assume(_) => Vec::new(),
            })
            .collect();
        let mut bound: Vec<String> = Vec::new();
        let mut names = Vec::new();
        for extent in kernel.params.iter().filter_map(|p| p.ty.shape.as_ref()).flatten() {
            if let Some(name) = self.file.exprs.name(*extent) {
                bound.push(name.name.clone());
            }
            names_in(self.file, *extent, &mut names);
        }
        for name in names {
            let capital = name.name.starts_with(|c: char| c.is_ascii_uppercase());
            let known = own.contains(&name.name.as_str())
                || self.header.generics.contains_key(&name.name)
                || self.header.values.contains_key(&name.name)
                || self
                    .cx
                    .lib
                    .lookup(self.module, &name.name)
                    .is_some_and(|id| matches!(self.cx.lib.item(id).kind, ItemKind::Const(_)));
            if !capital || known {
                continue;
            }
            if !bound.contains(&name.name) {
                self.cx.diags.push(
                    Diagnostic::error(
                        Code::UnknownName,
                        format!("no argument binds dimension `{}`", name.name),
                    )
                    .at(name.span, "only part of an extent")
                    .help(format!("a parameter must have `{}` alone as one of its extents", name.name)),
                );
                self.header.values.insert(name.name, None);
                continue;
            }
            let at = self.header.dims.len();
            if at == 64 {
                self.cx.diags.error(
                    Code::Unsupported,
                    name.span,
                    "a kernel has at most 64 dimensions",
                    "one too many",
                );
            }
            let value = bindings.dims.get(&name.name).copied();
            let host = match value {
                Some(v) => {
                    let v = i64::try_from(v.min(MAX_EXTENT + 1)).unwrap_or(i64::MAX);
                    Host::Constant(Constant::int(v).typed(DType::I32).with_dims(1 << at.min(63)))
                }
                None => Host::Expr(Expr::Name(name.name.clone()), DType::I32),
            };
            if value.is_some_and(|v| v > MAX_EXTENT) {
                let message = format!("dimension `{}` exceeds {MAX_EXTENT}", name.name);
                self.cx.diags.error(Code::ConstantOverflow, name.span, message, "too large");
            }
            self.header.values.insert(name.name.clone(), Some(host));
            self.header.dims.push(Dimension { name: name.name, span: name.span, value });
        }
    }

    fn params(&mut self, kernel: &ast::Kernel) {
        for param in &kernel.params {
            self.duplicate(&param.name);
            let kind = self.param(param).unwrap_or(ParameterKind::Poison);
            if let ParameterKind::Scalar(dtype) = kind {
                let host = if dtype == DType::U32 { DType::I32 } else { dtype };
                let value = Host::Expr(Expr::Name(param.name.name.clone()), host);
                self.header.values.entry(param.name.name.clone()).or_insert(Some(value));
            }
            let formats = kernel.generics.iter().filter(|g| g.kind == GenericKind::Format);
            let encoded = formats.map(|g| &g.name.name).any(|g| *g == param.ty.elem.ident().name);
            let stores = if encoded { StoreRule::Encoded } else { StoreRule::Exact };
            self.header.params.push(Parameter { name: param.name.clone(), mode: param.mode, kind, stores });
        }
    }

    fn param(&mut self, param: &ast::Param) -> Option<ParameterKind> {
        let element = element(self.cx, self.module, &param.ty.elem, &self.header.generics);
        if let Some(layout) = &param.ty.layout {
            self.cx.diags.push(
                Diagnostic::error(Code::Unsupported, "a tensor argument has no layout of its own")
                    .at(layout.span, "not possible here")
                    .help("memory is row-major; pin layouts of tiles: `let t: f32[8] @ local(8) = ..;`"),
            );
        }
        let Some(extents) = &param.ty.shape else {
            let Choice::DType(dtype) = element? else {
                self.cx.diags.push(
                    Diagnostic::error(Code::WrongArgument, "a format has no single numbers")
                        .at(param.ty.span, "give it a shape")
                        .help("write the extents: `w: W[N, K]`"),
                );
                return None;
            };
            if !matches!(dtype, DType::F32 | DType::I32 | DType::U32 | DType::BOOL) {
                self.cx.diags.push(
                    Diagnostic::error(Code::WrongType, format!("a number argument cannot be {dtype}"))
                        .at(param.ty.span, "f32, i32, u32 or bool")
                        .help("pass it as f32 or i32, and convert in the kernel"),
                );
                return None;
            }
            if param.mode != Mode::In {
                self.cx.diags.push(
                    Diagnostic::error(Code::WrongArgument, "a number cannot be written")
                        .at(param.span, "not memory")
                        .help("give a tensor of one element: `f32[1]`"),
                );
            }
            return Some(ParameterKind::Scalar(dtype));
        };
        if extents.len() > MAX_RANK {
            let message = format!("a tensor has at most {MAX_RANK} dimensions, this one {}", extents.len());
            self.cx.diags.error(Code::RankTooHigh, param.ty.span, message, "too many");
            return None;
        }
        let mut shape = Vec::new();
        let mut good = true;
        for extent in extents {
            let span = self.file[*extent].span;
            match self.cx.host(self.module, *extent, &self.header) {
                Some(value) if value.dtype() == DType::I32 => {
                    if let Some(v) = value.constant().and_then(|c| c.as_int())
                        && v < 0
                    {
                        self.cx.diags.error(
                            Code::ConstantOverflow,
                            span,
                            format!("an extent cannot be {v}"),
                            "negative",
                        );
                        good = false;
                    }
                    shape.push(value);
                }
                Some(value) => {
                    let what = value.describe();
                    self.cx.diags.error(
                        Code::WrongType,
                        span,
                        format!("an extent is an integer, not {what}"),
                        what,
                    );
                    good = false;
                }
                None => good = false,
            }
        }
        let element = element?;
        if let Choice::DType(dtype) = element
            && dtype.bits() > 32
        {
            self.cx.diags.push(
                Diagnostic::error(Code::UnsupportedWidth, format!("kernels cannot read or write {dtype}"))
                    .at(param.ty.span, "64 bits wide")
                    .help("use f32, i32 or u32"),
            );
            good = false;
        }
        good.then_some(ParameterKind::Tensor { element, shape })
    }

    fn lines(&mut self, kernel: &ast::Kernel, bindings: &Bindings) {
        // Names first, in order: a grid may stand before the constants it uses.
        for header in &kernel.headers {
            match &header.kind {
                HeaderKind::Tune(tunes) => tunes.iter().for_each(|t| self.tune(t, bindings)),
                HeaderKind::Const(c) => {
                    if !self.duplicate(&c.name) {
                        let value = self.cx.host(self.module, c.value, &self.header);
                        self.header.values.insert(c.name.name.clone(), value);
                    }
                }
                HeaderKind::Grid(_) | HeaderKind::Lanes(_) | HeaderKind::Assume(_) => {}
            }
        }
        let mut grids = 0;
        for header in &kernel.headers {
            match &header.kind {
                HeaderKind::Tune(_) | HeaderKind::Const(_) => {}
                HeaderKind::Grid(axes) => {
                    grids += 1;
                    if grids > 1 || axes.len() > 3 {
                        self.cx.diags.push(
                            Diagnostic::error(Code::GridInvalid, "a kernel has one grid of 1 to 3 axes")
                                .at(header.span, if grids > 1 { "given again" } else { "too many axes" })
                                .help("several sizes share an axis by multiplying them, and `/` and `%` of `block[k]`"),
                        );
                        continue;
                    }
                    for axis in axes {
                        let value = self.cx.host(self.module, *axis, &self.header);
                        match value {
                            Some(v) if v.dtype() == DType::I32 => self.header.grid.push(v),
                            Some(v) => {
                                let what = v.describe();
                                let span = self.file[*axis].span;
                                self.cx.diags.error(
                                    Code::WrongType,
                                    span,
                                    format!("a grid axis is an integer, not {what}"),
                                    what,
                                );
                                self.header.grid.push(Host::Constant(Constant::int(1)));
                            }
                            None => self.header.grid.push(Host::Constant(Constant::int(1))),
                        }
                    }
                }
                HeaderKind::Lanes(value) => self.lanes(*value, header.span),
                HeaderKind::Assume(condition) => {
                    let span = self.file[*condition].span;
                    match self.cx.host(self.module, *condition, &self.header) {
                        Some(v) if v.dtype() == DType::BOOL => {
                            // The span of an expression leaves enclosing parentheses out; the header's has them all.
                            let text = self.cx.lib.sources().text(header.span);
                            let text = text.split_once('(').map_or(text, |(_, rest)| rest);
                            let text = text.rsplit_once(')').map_or(text, |(inside, _)| inside);
                            self.header.assumptions.push((v.expr(), text.trim().to_owned()));
                        }
                        Some(v) => {
                            let what = v.describe();
                            self.cx.diags.push(
                                Diagnostic::error(Code::AssumeInvalid, "an assumption is a condition")
                                    .at(span, what)
                                    .help("compare dimensions or scalar arguments: `assume(K % 32 == 0)`"),
                            );
                        }
                        None => {}
                    }
                }
            }
        }
    }

    fn lanes(&mut self, value: ast::ExprId, span: Span) {
        let Some(constant) = self.cx.need_int(self.module, value, &self.header) else { return };
        let lanes = constant.as_int().and_then(|v| u32::try_from(v).ok());
        match lanes {
            Some(lanes) if lanes.is_power_of_two() && lanes <= 1024 && self.header.lanes.is_none() => {
                self.header.lanes = Some((lanes, span));
            }
            Some(_) | None => self.cx.diags.push(
                Diagnostic::error(
                    Code::LanesInvalid,
                    "`lanes` is one power of two from 1 to 1024, given once",
                )
                .at(span, "not valid")
                .help("leave it out: the compiler chooses"),
            ),
        }
    }

    fn tune(&mut self, tune: &ast::Tune, bindings: &Bindings) {
        if self.duplicate(&tune.name) {
            return;
        }
        let mut values = Vec::new();
        let mut good = true;
        for value in &tune.values {
            let span = self.file[*value].span;
            match self.cx.need_int(self.module, *value, &self.header) {
                Some(c) => match c.as_int() {
                    Some(v) if (1..=1 << 20).contains(&v) && c.dims == 0 => values.push(v),
                    Some(_) | None => {
                        good = false;
                        self.cx.diags.push(
                            Diagnostic::error(
                                Code::TuneEmpty,
                                "a tune value is a positive constant that no dimension decides",
                            )
                            .at(span, "not valid")
                            .help("list numbers, and fit them to a size: `tune BM in {32, 8, 1} fit M`"),
                        );
                    }
                },
                None => good = false,
            }
        }
        let fit = tune.fit.and_then(|fit| {
            let value = self.cx.host(self.module, fit, &self.header)?;
            if value.dtype() != DType::I32 {
                let what = value.describe();
                self.cx.diags.error(
                    Code::WrongType,
                    self.file[fit].span,
                    "a size to fit is an integer",
                    what,
                );
                return None;
            }
            Some(value.expr())
        });
        if tune.values.is_empty() {
            good = false;
            self.cx.diags.push(
                Diagnostic::error(Code::TuneEmpty, format!("`tune {}` lists no value", tune.name.name))
                    .at(tune.span, "nothing to choose from")
                    .help("list at least one value, the default first"),
            );
        }
        let mut chosen = match values.first() {
            Some(first) if good => {
                let sizes = |n: &str| {
                    bindings.dims.get(n).map(|v| host::Number::Int(i64::try_from(*v).unwrap_or(i64::MAX)))
                };
                Some(pick(&values, *first, fit.as_ref(), &sizes))
            }
            Some(_) | None => None,
        };
        if let Some(wanted) = bindings.tunes.get(&tune.name.name) {
            if good && !values.contains(wanted) {
                let list: Vec<String> = values.iter().map(ToString::to_string).collect();
                self.cx.diags.push(
                    Diagnostic::error(Code::UnknownTune, format!("`{}` cannot be {wanted}", tune.name.name))
                        .at(tune.span, "not one of these")
                        .help(format!("choose one of {}", list.join(", "))),
                );
            } else {
                chosen = Some(*wanted);
            }
        }
        let value = chosen.map(|v| Host::Constant(Constant::int(v)));
        self.header.values.insert(tune.name.name.clone(), value);
        self.header.tunes.push(TuneDecl { name: tune.name.name.clone(), values, fit });
    }
}

/// The first value not above the size, else the last; the first if there is no size.
pub(crate) fn pick(
    values: &[i64],
    first: i64,
    fit: Option<&Expr>,
    dims: &dyn Fn(&str) -> Option<host::Number>,
) -> i64 {
    match fit.and_then(|f| f.eval_int(dims).ok()) {
        Some(size) => values.iter().copied().find(|v| *v <= size).or(values.last().copied()).unwrap_or(first),
        None => first,
    }
}

pub(crate) fn access(mode: Mode) -> Access {
    match mode {
        Mode::In => Access::Read,
        Mode::Out => Access::Write,
        Mode::InOut => Access::ReadWrite,
    }
}

/// The first sample of every generic parameter.
pub(crate) fn sample_generics(kernel: &ast::Kernel) -> HashMap<String, Choice> {
    kernel
        .generics
        .iter()
        .map(|g| {
            let dtype = match g.kind {
                GenericKind::Format | GenericKind::Float | GenericKind::Dtype => DType::F32,
                GenericKind::Int => DType::I32,
            };
            (g.name.name.clone(), Choice::DType(dtype))
        })
        .collect()
}
