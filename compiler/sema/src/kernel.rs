//! One instance of a kernel: header, body, padding.
//!
//! Dimensions given are constants; the others become runtime dimensions of the instance, in the order of their first appearance.

use crate::elab::{Elab, Mode};
use crate::host::{Cx, Host};
use crate::library::{ItemId, Library};
use crate::signature::{
    Bindings, Choice, Header, ParameterKind, access, header, kernel_ast, sample_generics,
};
use std::collections::HashMap;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::tile::{self, DimDecl, Element, FormatId, TensorDecl};
use tvmc_lang::ast::ItemKind;
use tvmc_lang::diag::Diagnostic;
use tvmc_types::dtype::DType;

/// What a generic parameter stands for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ElementChoice {
    /// Plain values.
    DType(DType),
    /// A format, by its name.
    Format(String),
}

/// The bindings of one instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Instance {
    /// Each generic parameter's choice.
    pub formats: HashMap<String, ElementChoice>,
    /// Dimensions that are constants; the others are runtime values.
    pub dims: HashMap<String, u64>,
    /// Tune names that differ from their default.
    pub tunes: HashMap<String, i64>,
}

/// Specialises a kernel, by its name.
///
/// A dimension that must be known and is not given, a tune value that is not offered, and every error of the kernel are reported.
pub fn instantiate(
    library: &Library,
    kernel: &str,
    instance: &Instance,
) -> Result<tile::Kernel, Vec<Diagnostic>> {
    let Some(id) = library.find(kernel, |kind| matches!(kind, ItemKind::Kernel(_))) else {
        return Err(vec![library.no_such("kernel", kernel, library.kernels())]);
    };
    let generics = choices(library, &instance.formats)?;
    let mut cx = Cx::new(library);
    let bindings =
        Bindings { generics, dims: instance.dims.clone(), tunes: instance.tunes.clone(), sample: false };
    unknown_names(&mut cx, id, &bindings);
    let (kernel, _) = compile(&mut cx, id, &bindings);
    match kernel {
        Some(kernel) if cx.diags.errors() == 0 => Ok(kernel),
        Some(_) | None => Err(cx.diags.into_vec()),
    }
}

/// Element types by name as items of the library.
pub(crate) fn choices(
    library: &Library,
    elements: &HashMap<String, ElementChoice>,
) -> Result<HashMap<String, Choice>, Vec<Diagnostic>> {
    let choice = |choice: &ElementChoice| match choice {
        ElementChoice::DType(dtype) => Ok(Choice::DType(*dtype)),
        ElementChoice::Format(format) => {
            match library.find(format, |kind| matches!(kind, ItemKind::Format(_))) {
                Some(id) => Ok(Choice::Format(id)),
                None => match DType::from_name(format) {
                    Some(dtype) => Ok(Choice::DType(dtype)),
                    None => Err(vec![library.no_such("format", format, library.formats())]),
                },
            }
        }
    };
    elements.iter().map(|(name, element)| Ok((name.clone(), choice(element)?))).collect()
}

/// Refuses bindings of names that the kernel does not have.
fn unknown_names(cx: &mut Cx, id: ItemId, bindings: &Bindings) {
    use tvmc_lang::diag::{Code, closest};
    let Some(ast) = kernel_ast(cx.lib, id) else { return };
    let shape = crate::interface::shape_of(&mut Cx::new(cx.lib), id);
    let generics: Vec<&str> = shape.generics.iter().map(|g| g.name.as_str()).collect();
    let dims: Vec<&str> = shape.dims.iter().map(|d| d.name.as_str()).collect();
    let tunes: Vec<&str> = shape.tunes.iter().map(|t| t.name.as_str()).collect();
    let mut refuse = |code: Code, word: &str, name: &str, known: &[&str]| {
        if known.contains(&name) {
            return;
        }
        let d = Diagnostic::error(code, format!("kernel `{}` has no {word} `{name}`", ast.name.name))
            .at(ast.name.span, "this kernel");
        cx.diags.push(match closest(name, known.iter().copied()) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help(format!("it has: {}", known.join(", "))),
        });
    };
    let sorted = |names: Vec<&String>| {
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        names.sort();
        names
    };
    for name in sorted(bindings.generics.keys().collect()) {
        refuse(Code::UnknownName, "generic parameter", &name, &generics);
    }
    for name in sorted(bindings.dims.keys().collect()) {
        refuse(Code::UnknownName, "dimension", &name, &dims);
    }
    for name in sorted(bindings.tunes.keys().collect()) {
        refuse(Code::UnknownTune, "tune name", &name, &tunes);
    }
}

/// Compiles an instance. Also gives the names of the dimensions that had to be constants.
pub(crate) fn compile(cx: &mut Cx, id: ItemId, bindings: &Bindings) -> (Option<tile::Kernel>, Vec<String>) {
    let Some(ast) = kernel_ast(cx.lib, id) else { return (None, Vec::new()) };
    let errors = cx.diags.errors();
    let header = header(cx, id, bindings);
    let decls = declare(cx, &header);
    let mut elab = Elab::new(cx, id.module, Mode::Kernel, &ast.name.name);
    elab.sample = bindings.sample;
    elab.lanes = header.lanes;
    elab.b.kernel.dims = header.runtime_dims().map(|d| DimDecl { name: d.name.clone() }).collect();
    (elab.b.kernel.params, elab.b.kernel.formats) = decls;
    elab.b.kernel.grid = header.grid.iter().map(Host::expr).collect();
    // What is known already is judged now, or was a sample.
    elab.b.kernel.assumptions = header
        .assumptions
        .iter()
        .filter(|(condition, _)| !matches!(condition, Expr::Const(Number::Bool(true))))
        .cloned()
        .collect();
    let sources = header.params.iter().map(|p| p.name.span).next().unwrap_or(ast.name.span);
    if !bindings.sample
        && let Some((_, text)) =
            header.assumptions.iter().find(|(c, _)| matches!(c, Expr::Const(Number::Bool(false))))
    {
        elab.report(
            Diagnostic::error(
                tvmc_lang::diag::Code::StaticAssertFailed,
                format!("the kernel assumes `{text}`, which is false for this instance"),
            )
            .at(ast.name.span, "this kernel")
            .also(sources, "its arguments"),
        );
    }
    elab.header = header;
    elab.kernel_body(&ast.body);
    elab.b.kernel.lanes = elab.lanes.map(|(lanes, _)| lanes);
    let required = elab
        .header
        .dims
        .iter()
        .enumerate()
        .filter(|(at, _)| *at < 64 && elab.required >> at & 1 == 1)
        .map(|(_, d)| d.name.clone())
        .collect();
    if elab.cx.diags.errors() > errors {
        return (None, required);
    }
    let (facts, spans) = elab.all_facts();
    let roles = std::mem::take(&mut elab.roles);
    let tables = std::mem::take(&mut elab.format.tables);
    let mut kernel = std::mem::take(&mut elab.b).finish();
    kernel.tables = tables.into_iter().map(|(_, _, dtype, entries)| (dtype, entries)).collect();
    for diagnostic in crate::padding::check(&kernel, &facts, &spans, &roles) {
        elab.report(diagnostic);
    }
    elab.infer_layouts(&mut kernel, &spans);
    if cx.diags.errors() > errors {
        return (None, required);
    }
    (Some(kernel), required)
}

/// Parameters and formats of the instance.
fn declare(cx: &mut Cx, header: &Header) -> (Vec<TensorDecl>, Vec<tile::Format>) {
    let mut formats: Vec<(ItemId, tile::Format)> = Vec::new();
    let mut params = Vec::new();
    for param in &header.params {
        let name = param.name.name.clone();
        params.push(match &param.kind {
            ParameterKind::Scalar(dtype) => TensorDecl::Scalar { name, dtype: *dtype },
            ParameterKind::Poison => TensorDecl::Scalar { name, dtype: DType::I32 },
            ParameterKind::Tensor { element, shape } => {
                let element = match element {
                    Choice::DType(dtype) => Element::DType(*dtype),
                    Choice::Format(id) => {
                        let known = formats.iter().position(|(f, _)| f == id);
                        let at = known.or_else(|| {
                            let format = crate::format::compile(cx, *id)?;
                            formats.push((*id, format));
                            Some(formats.len() - 1)
                        });
                        // A format with errors was reported: the kernel is dropped anyway.
                        at.map_or(Element::DType(DType::F32), |at| Element::Format(FormatId(at as u32)))
                    }
                };
                let shape = shape.iter().map(Host::expr).collect();
                TensorDecl::Tensor { name, element, shape, access: access(param.mode) }
            }
        });
    }
    (params, formats.into_iter().map(|(_, f)| f).collect())
}

/// Values tried for dimensions that must be constants, where there is no model: the first that satisfies the kernel's assumptions.
const SAMPLES: [u64; 9] = [64, 128, 32, 16, 96, 48, 192, 256, 1];

/// Sample bindings in which the dimensions of these names (all, if `None`) are constants.
pub(crate) fn sample(
    lib: &Library,
    id: ItemId,
    generics: &HashMap<String, Choice>,
    only: Option<&[String]>,
) -> Bindings {
    let names: Vec<String> =
        crate::interface::shape_of(&mut Cx::new(lib), id).dims.into_iter().map(|d| d.name).collect();
    let bind = |size: u64| Bindings {
        generics: generics.clone(),
        dims: names
            .iter()
            .filter(|n| only.is_none_or(|only| only.contains(n)))
            .map(|n| (n.clone(), size))
            .collect(),
        tunes: HashMap::new(),
        sample: true,
    };
    let holds = |size: &u64| {
        let header = header(&mut Cx::new(lib), id, &bind(*size));
        header.assumptions.iter().all(|(c, _)| !matches!(c, Expr::Const(Number::Bool(false))))
    };
    bind(SAMPLES.into_iter().find(holds).unwrap_or(SAMPLES[0]))
}

/// The dimensions that must be constants: found by compiling once with a sample value for each.
pub(crate) fn required_dims(lib: &Library, id: ItemId) -> Vec<String> {
    let Some(ast) = kernel_ast(lib, id) else { return Vec::new() };
    let bindings = sample(lib, id, &sample_generics(ast), None);
    compile(&mut Cx::new(lib), id, &bindings).1
}
