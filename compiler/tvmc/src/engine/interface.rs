//! What a launcher must know of a kernel: its parameters, what an instance must be given, and what may be chosen.

use tvmc_ir::host::{Expr, Number};
use tvmc_ir::module::Key;
use tvmc_model::executor::DeviceError;
use tvmc_sema::{ElementType, ParamKind};
use tvmc_types::dtype::DType;

/// What a tensor parameter's elements are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InterfaceElement {
    /// A generic parameter decides.
    Generic(String),
    /// A dtype or format.
    Named(String),
}

/// A parameter.
#[derive(Clone, PartialEq, Debug)]
pub enum InterfaceParam {
    /// Memory.
    Tensor {
        /// Its name.
        name: String,
        /// Element type.
        element: InterfaceElement,
        /// Extents.
        shape: Vec<Expr>,
    },
    /// A number.
    Scalar {
        /// Its name.
        name: String,
        /// Its type.
        dtype: DType,
    },
}

impl InterfaceParam {
    /// The parameter's name.
    pub fn name(&self) -> &str {
        match self {
            InterfaceParam::Tensor { name, .. } | InterfaceParam::Scalar { name, .. } => name,
        }
    }
}

/// What a launcher must know of a kernel.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Parameters in order.
    pub params: Vec<InterfaceParam>,
    /// Dimensions that an instance must be given.
    pub required: Vec<String>,
    /// Names of the tune constants.
    pub tunes: Vec<String>,
    /// Names of the generic parameters.
    pub generics: Vec<String>,
    /// Names of all dimensions.
    pub dims: Vec<String>,
    pub(super) declared: tvmc_sema::KernelInterface,
}

impl Interface {
    pub(super) fn of(declared: tvmc_sema::KernelInterface) -> Self {
        let params = declared
            .params
            .iter()
            .map(|param| match &param.kind {
                ParamKind::Tensor { element, shape } => InterfaceParam::Tensor {
                    name: param.name.clone(),
                    element: match element {
                        ElementType::DType(dtype) => InterfaceElement::Named(dtype.name().to_owned()),
                        ElementType::Format(name) => InterfaceElement::Named(name.clone()),
                        ElementType::Generic(name) => InterfaceElement::Generic(name.clone()),
                    },
                    shape: shape.clone(),
                },
                ParamKind::Scalar(dtype) => {
                    InterfaceParam::Scalar { name: param.name.clone(), dtype: *dtype }
                }
            })
            .collect();
        Self {
            params,
            required: declared.dims.iter().filter(|d| d.specialised).map(|d| d.name.clone()).collect(),
            tunes: declared.tunes.iter().map(|t| t.name.clone()).collect(),
            generics: declared.generics.iter().map(|g| g.name.clone()).collect(),
            dims: declared.dims.iter().map(|d| d.name.clone()).collect(),
            declared,
        }
    }

    /// The values that a tune name offers; none for a name that is unknown.
    pub fn offered(&self, tune: &str) -> &[i64] {
        self.declared.tunes.iter().find(|t| t.name == tune).map_or(&[], |t| &t.values)
    }

    /// The same as data of the IR.
    pub fn to_ir(&self) -> tvmc_ir::program::Interface {
        self.declared.to_ir()
    }

    /// The value of every tune name: set by hand, else by the default rule for these sizes.
    pub fn choose(
        &self,
        names: &dyn Fn(&str) -> Option<Number>,
        with: &[(String, i64)],
    ) -> Result<Vec<(String, i64)>, DeviceError> {
        let sizes = |name: &str| match names(name) {
            Some(Number::Int(size)) => Some(size),
            Some(Number::Float(_) | Number::Bool(_)) | None => None,
        };
        let mut chosen = tvmc_sema::choose_tunes(&self.declared, &sizes);
        for (name, value) in with {
            match chosen.iter_mut().find(|(n, _)| n == name) {
                Some((_, v)) => *v = *value,
                None => {
                    let near = tvmc_lang::diag::closest(name, self.tunes.iter().map(String::as_str));
                    let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                    let kernel = &self.declared.name;
                    return Err(DeviceError(format!("`{kernel}` has no tune name `{name}`{near}")));
                }
            }
        }
        Ok(chosen)
    }
}

/// Gives a tune name a value.
pub(super) fn set_tune(key: &mut Key, name: &str, value: i64) {
    key.tunes.iter_mut().filter(|(tune, _)| tune == name).for_each(|(_, chosen)| *chosen = value);
}

/// The blocks of a grid, where sizes say it.
pub(super) fn blocks_of(grid: &[Expr], sizes: &dyn Fn(&str) -> Option<Number>) -> Option<u64> {
    grid.iter().try_fold(1u64, |count, axis| {
        let axis = u64::try_from(axis.eval_int(sizes).ok()?).ok()?;
        count.checked_mul(axis)
    })
}
