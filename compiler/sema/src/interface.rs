//! What a launcher must know to choose an instance of a kernel.
//!
//! Which dimensions must be constants is found by compiling the body once with sample values, noting which of them a tile extent, a step or another
//! constant was computed from.

use crate::host::{Cx, Host};
use crate::kernel::ElementChoice;
use crate::library::{ItemId, Library};
use crate::signature::{Bindings, Choice, ParameterKind, access, header, kernel_ast, pick, sample_generics};
use std::collections::HashMap;
use tvmc_ir::host::{self, Expr};
use tvmc_ir::lane::Access;
use tvmc_ir::program as ir;
use tvmc_lang::ast::{GenericKind, ItemKind};
use tvmc_lang::diag::Diagnostic;
use tvmc_types::dtype::DType;

/// What a launcher must know of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct KernelInterface {
    /// Its name.
    pub name: String,
    /// Its doc comment.
    pub docs: Vec<String>,
    /// Generic parameters.
    pub generics: Vec<GenericDecl>,
    /// Parameters in order.
    pub params: Vec<ParamDecl>,
    /// Dimensions in order of their first appearance.
    pub dims: Vec<DimDecl>,
    /// Tune names in order.
    pub tunes: Vec<TuneDecl>,
}

/// A generic parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenericDecl {
    /// Its name.
    pub name: String,
    /// What it may stand for.
    pub kind: GenericKind,
}

/// A parameter.
#[derive(Clone, PartialEq, Debug)]
pub struct ParamDecl {
    /// Its name.
    pub name: String,
    /// What the kernel may do with it.
    pub access: Access,
    /// Tensor or number.
    pub kind: ParamKind,
}

/// Tensor or number.
#[derive(Clone, PartialEq, Debug)]
pub enum ParamKind {
    /// Memory.
    Tensor {
        /// What its elements are.
        element: ElementType,
        /// Extents over the dimensions' names.
        shape: Vec<Expr>,
    },
    /// A number: f32, i32, u32 or bool.
    Scalar(DType),
}

/// What a parameter's elements are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElementType {
    /// Plain values.
    DType(DType),
    /// A format, by a name that `format` finds.
    Format(String),
    /// The generic parameter of this name decides.
    Generic(String),
}

/// A dimension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DimDecl {
    /// Its name.
    pub name: String,
    /// Whether an instance must be given its value.
    pub specialised: bool,
}

/// A tune name.
#[derive(Clone, PartialEq, Debug)]
pub struct TuneDecl {
    /// Its name.
    pub name: String,
    /// The values offered, the default first.
    pub values: Vec<i64>,
    /// The size to fit.
    pub fit: Option<Expr>,
}

impl KernelInterface {
    /// The same as data of the IR, which has no docs.
    pub fn to_ir(&self) -> ir::Interface {
        let generic = |g: &GenericDecl| ir::Generic {
            name: g.name.clone(),
            kind: match g.kind {
                GenericKind::Format => ir::GenericKind::Format,
                GenericKind::Float => ir::GenericKind::Float,
                GenericKind::Int => ir::GenericKind::Int,
                GenericKind::Dtype => ir::GenericKind::DType,
            },
        };
        let param = |p: &ParamDecl| match &p.kind {
            ParamKind::Tensor { element, shape } => ir::Parameter::Tensor {
                name: p.name.clone(),
                element: match element {
                    ElementType::DType(dtype) => ir::ParameterElement::DType(*dtype),
                    ElementType::Format(name) => ir::ParameterElement::Format(name.clone()),
                    ElementType::Generic(name) => ir::ParameterElement::Generic(name.clone()),
                },
                shape: shape.clone(),
                access: p.access,
            },
            ParamKind::Scalar(dtype) => ir::Parameter::Scalar { name: p.name.clone(), dtype: *dtype },
        };
        let dim = |d: &DimDecl| ir::Dimension { name: d.name.clone(), specialised: d.specialised };
        let tune =
            |t: &TuneDecl| ir::Tune { name: t.name.clone(), values: t.values.clone(), fit: t.fit.clone() };
        ir::Interface {
            name: self.name.clone(),
            generics: self.generics.iter().map(generic).collect(),
            params: self.params.iter().map(param).collect(),
            dims: self.dims.iter().map(dim).collect(),
            tunes: self.tunes.iter().map(tune).collect(),
        }
    }
}

/// The default choice of every tune name: the first value, or the first that is not above the size it is to fit.
///
/// `dims` gives the sizes of dimensions (and integer arguments) by name; a size that is not known counts as large.
pub fn choose_tunes(interface: &KernelInterface, dims: &dyn Fn(&str) -> Option<i64>) -> Vec<(String, i64)> {
    let numbers = |name: &str| dims(name).map(host::Number::Int);
    interface
        .tunes
        .iter()
        .filter_map(|t| {
            let first = *t.values.first()?;
            Some((t.name.clone(), pick(&t.values, first, t.fit.as_ref(), &numbers)))
        })
        .collect()
}

/// The interface of a kernel, by its name.
pub fn interface(library: &Library, kernel: &str) -> Result<KernelInterface, Vec<Diagnostic>> {
    let is_kernel = |kind: &ItemKind| matches!(kind, ItemKind::Kernel(_));
    let Some(id) = library.find(kernel, is_kernel) else {
        return Err(vec![library.no_such("kernel", kernel, library.kernels())]);
    };
    let mut cx = Cx::new(library);
    let interface = interface_of(&mut cx, id);
    if cx.diags.errors() > 0 {
        return Err(cx.diags.into_vec());
    }
    Ok(interface)
}

/// As [`interface`], with the tune values that a kernel offers for these element types: values may be computed from them, as `max(8, Y.group)` is.
/// Parameters that are not named count as f32, as they do there.
pub fn interface_with(
    library: &Library,
    kernel: &str,
    elements: &HashMap<String, ElementChoice>,
) -> Result<KernelInterface, Vec<Diagnostic>> {
    let mut interface = interface(library, kernel)?;
    let is_kernel = |kind: &ItemKind| matches!(kind, ItemKind::Kernel(_));
    let Some((id, ast)) = library.find(kernel, is_kernel).and_then(|id| Some((id, kernel_ast(library, id)?)))
    else {
        return Ok(interface);
    };
    let mut generics = sample_generics(ast);
    generics.extend(crate::kernel::choices(library, elements)?);
    let mut cx = Cx::new(library);
    interface.tunes = header(&mut cx, id, &Bindings { generics, ..Bindings::default() }).tunes;
    if cx.diags.errors() > 0 { Err(cx.diags.into_vec()) } else { Ok(interface) }
}

/// The interface of a kernel item; errors of its header are reported.
pub(crate) fn interface_of(cx: &mut Cx, id: ItemId) -> KernelInterface {
    let mut interface = shape_of(cx, id);
    for name in crate::kernel::required_dims(cx.lib, id) {
        for dim in interface.dims.iter_mut().filter(|d| d.name == name) {
            dim.specialised = true;
        }
    }
    interface
}

/// The interface without knowing which dimensions must be specialised.
pub(crate) fn shape_of(cx: &mut Cx, id: ItemId) -> KernelInterface {
    let lib = cx.lib;
    let Some(kernel) = kernel_ast(lib, id) else {
        return KernelInterface {
            name: String::new(),
            docs: Vec::new(),
            generics: Vec::new(),
            params: Vec::new(),
            dims: Vec::new(),
            tunes: Vec::new(),
        };
    };
    let bindings = Bindings { generics: sample_generics(kernel), ..Bindings::default() };
    let header = header(cx, id, &bindings);
    let params = kernel.params.iter().zip(&header.params).map(|(param, p)| {
        let kind = match &p.kind {
            ParameterKind::Scalar(dtype) => ParamKind::Scalar(*dtype),
            ParameterKind::Poison => ParamKind::Scalar(DType::I32),
            ParameterKind::Tensor { element, shape } => {
                let name = &param.ty.elem.ident().name;
                let generic = kernel.generics.iter().any(|g| g.name.name == *name);
                let element = match element {
                    _ if generic => ElementType::Generic(name.clone()),
                    Choice::DType(dtype) => ElementType::DType(*dtype),
                    Choice::Format(id) => {
                        let is_format = |kind: &ItemKind| matches!(kind, ItemKind::Format(_));
                        ElementType::Format(lib.name_of(*id, is_format))
                    }
                };
                ParamKind::Tensor { element, shape: shape.iter().map(Host::expr).collect() }
            }
        };
        ParamDecl { name: p.name.name.clone(), access: access(p.mode), kind }
    });
    KernelInterface {
        name: kernel.name.name.clone(),
        docs: lib.item(id).docs.clone(),
        generics: kernel
            .generics
            .iter()
            .map(|g| GenericDecl { name: g.name.name.clone(), kind: g.kind })
            .collect(),
        params: params.collect(),
        dims: header.dims.iter().map(|d| DimDecl { name: d.name.clone(), specialised: false }).collect(),
        tunes: header.tunes,
    }
}
