//! What a launcher must know of a kernel to choose an instance: parameters, generic parameters, dimensions to specialise, tune names. Its
//! text form is `Display`; law: for every interface that [`Interface::check`] accepts, `Interface::parse(&i.to_string()) == Ok(i)`.
//!
//! ```
//! use tvmc_ir::program::Interface;
//! let text = r#"interface @linear {
//!   generic W: format
//!   tensor "x": f32[M, K] read
//!   tensor "w": generic W[N, K] read
//!   tensor "y": f32[M, N] write
//!   scalar "scale": f32
//!   dim M
//!   dim N
//!   dim K specialised
//!   tune BM = 4, 8 fit M
//! }
//! "#;
//! let interface = Interface::parse(text).unwrap();
//! assert_eq!(interface.to_string(), text);
//! assert!(interface.check().is_ok());
//! ```
//!
//! A plain element is a dtype, a format declared in source is `format "q4_0"`. Refused by `check`: names that are empty or taken, axes beyond
//! [`MAX_RANK`], generic elements that are not declared, extents over other names than dimensions and integer numbers, scalars of other
//! dtypes than f32, i32, u32 and bool, tune names without a value.

use super::parse::{dtype, extents};
use crate::host::Expr;
use crate::lane::Access;
use crate::text::{Cursor, Name, ParseError, Parsed, Quoted, Token, expr, i64_value};
use crate::tile::{self, MAX_RANK};
use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use tvmc_types::dtype::DType;

/// What a generic parameter may stand for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum GenericKind {
    /// A format, or any dtype.
    Format,
    /// A float.
    Float,
    /// An integer.
    Int,
    /// Any dtype.
    DType,
}

impl GenericKind {
    /// All of them.
    pub const ALL: [GenericKind; 4] =
        [GenericKind::Format, GenericKind::Float, GenericKind::Int, GenericKind::DType];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            GenericKind::Format => "format",
            GenericKind::Float => "float",
            GenericKind::Int => "int",
            GenericKind::DType => "dtype",
        }
    }
}

/// A generic parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generic {
    /// Its name.
    pub name: String,
    /// What it may stand for.
    pub kind: GenericKind,
}

/// What a parameter's elements are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParameterElement {
    /// Plain values.
    DType(DType),
    /// A format, by its name.
    Format(String),
    /// The generic parameter of this name decides.
    Generic(String),
}

/// A parameter.
#[derive(Clone, PartialEq, Debug)]
pub enum Parameter {
    /// Memory.
    Tensor {
        /// Its name.
        name: String,
        /// What its elements are.
        element: ParameterElement,
        /// Extents, over dimensions and integer numbers by name.
        shape: Vec<Expr>,
        /// What the kernel may do with it.
        access: Access,
    },
    /// A number: f32, i32, u32 or bool.
    Scalar {
        /// Its name.
        name: String,
        /// Its type.
        dtype: DType,
    },
}

impl Parameter {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Parameter::Tensor { name, .. } | Parameter::Scalar { name, .. } => name,
        }
    }
}

/// A dimension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dimension {
    /// Its name.
    pub name: String,
    /// Whether an instance must be given its value.
    pub specialised: bool,
}

/// A tune name.
#[derive(Clone, PartialEq, Debug)]
pub struct Tune {
    /// Its name.
    pub name: String,
    /// The values offered, the default first.
    pub values: Vec<i64>,
    /// The size to fit.
    pub fit: Option<Expr>,
}

/// See the module head.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// Generic parameters.
    pub generics: Vec<Generic>,
    /// Parameters in order.
    pub params: Vec<Parameter>,
    /// Dimensions in order of their first appearance.
    pub dims: Vec<Dimension>,
    /// Tune names in order.
    pub tunes: Vec<Tune>,
}

impl From<&tile::Kernel> for Interface {
    /// The interface of an instance: nothing generic, nothing to specialise, nothing to tune.
    fn from(kernel: &tile::Kernel) -> Self {
        let format = |id: tile::FormatId| kernel.formats.get(id.index()).map(|f| f.name.clone());
        let param = |param: &tile::TensorDecl| match param {
            tile::TensorDecl::Tensor { name, element, shape, access } => Parameter::Tensor {
                name: name.clone(),
                element: match element {
                    tile::Element::DType(dtype) => ParameterElement::DType(*dtype),
                    tile::Element::Format(id) => ParameterElement::Format(format(*id).unwrap_or_default()),
                },
                shape: shape.clone(),
                access: *access,
            },
            tile::TensorDecl::Scalar { name, dtype } => {
                Parameter::Scalar { name: name.clone(), dtype: *dtype }
            }
        };
        let dim = |dim: &tile::DimDecl| Dimension { name: dim.name.clone(), specialised: false };
        Interface {
            name: kernel.name.clone(),
            generics: Vec::new(),
            params: kernel.params.iter().map(param).collect(),
            dims: kernel.dims.iter().map(dim).collect(),
            tunes: Vec::new(),
        }
    }
}

impl Interface {
    /// Reads one interface; nothing but comments may follow it.
    pub fn parse(text: &str) -> Result<Interface, ParseError> {
        let mut at = Cursor::new(text)?;
        let interface = interface(&mut at)?;
        at.end()?;
        Ok(interface)
    }

    /// What is wrong, in words; see the module head.
    pub fn check(&self) -> Result<(), String> {
        let mut names: HashSet<&str> = HashSet::new();
        let all = std::iter::empty()
            .chain(self.generics.iter().map(|g| &g.name))
            .chain(self.dims.iter().map(|d| &d.name))
            .chain(self.tunes.iter().map(|t| &t.name));
        if self.name.is_empty() {
            return Err("the kernel has no name".to_owned());
        }
        for name in all.map(String::as_str).chain(self.params.iter().map(Parameter::name)) {
            if name.is_empty() || !names.insert(name) {
                return Err(format!("name {name:?} is empty or taken"));
            }
        }
        let mut numbers: HashSet<&str> = self.dims.iter().map(|d| d.name.as_str()).collect();
        for param in &self.params {
            let Parameter::Scalar { name, dtype } = param else { continue };
            if !matches!(*dtype, DType::F32 | DType::I32 | DType::U32 | DType::BOOL) {
                return Err(format!("`{name}` is of {dtype}, must be f32, i32, u32 or bool"));
            }
            if dtype.is_integer() {
                numbers.insert(name);
            }
        }
        let known = |expr: &Expr| {
            let mut known = true;
            expr.names(&mut |name| known &= numbers.contains(name));
            known
        };
        for param in &self.params {
            let Parameter::Tensor { name, element, shape, .. } = param else { continue };
            if shape.len() > MAX_RANK {
                return Err(format!("`{name}` has {} axes, may have {MAX_RANK}", shape.len()));
            }
            if let Some(extent) = shape.iter().find(|e| !known(e)) {
                return Err(format!("extent `{extent}` of `{name}` names something unknown"));
            }
            match element {
                ParameterElement::DType(_) => {}
                ParameterElement::Format(format) if !format.is_empty() => {}
                ParameterElement::Generic(generic) if self.generics.iter().any(|g| g.name == *generic) => {}
                ParameterElement::Format(_) | ParameterElement::Generic(_) => {
                    return Err(format!("`{name}` has elements of an unknown type"));
                }
            }
        }
        for tune in &self.tunes {
            if tune.values.is_empty() {
                return Err(format!("`{}` offers no value", tune.name));
            }
            if let Some(fit) = tune.fit.as_ref().filter(|fit| !known(fit)) {
                return Err(format!("`{}` fits `{fit}`, which names something unknown", tune.name));
            }
        }
        Ok(())
    }
}

impl Display for Interface {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "interface @{} {{", Name(&self.name))?;
        for generic in &self.generics {
            writeln!(f, "  generic {}: {}", Name(&generic.name), generic.kind.name())?;
        }
        for param in &self.params {
            match param {
                Parameter::Tensor { name, element, shape, access } => {
                    write!(f, "  tensor {}: ", Quoted(name))?;
                    match element {
                        ParameterElement::DType(dtype) => write!(f, "{dtype}")?,
                        ParameterElement::Format(format) => write!(f, "format {}", Quoted(format))?,
                        ParameterElement::Generic(generic) => write!(f, "generic {}", Name(generic))?,
                    }
                    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
                    writeln!(f, "[{}] {access}", shape.join(", "))?;
                }
                Parameter::Scalar { name, dtype } => writeln!(f, "  scalar {}: {dtype}", Quoted(name))?,
            }
        }
        for dim in &self.dims {
            let specialised = if dim.specialised { " specialised" } else { "" };
            writeln!(f, "  dim {}{specialised}", Name(&dim.name))?;
        }
        for tune in &self.tunes {
            let values: Vec<String> = tune.values.iter().map(ToString::to_string).collect();
            write!(f, "  tune {} = {}", Name(&tune.name), values.join(", "))?;
            if let Some(fit) = &tune.fit {
                write!(f, " fit {fit}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "}}")
    }
}

fn interface(at: &mut Cursor<'_>) -> Parsed<Interface> {
    at.keyword("interface")?;
    at.punct('@')?;
    let mut interface = Interface { name: at.name("the kernel's name")?, ..Interface::default() };
    at.punct('{')?;
    loop {
        if at.eat_word("generic")? {
            let name = at.name("the generic parameter's name")?;
            at.punct(':')?;
            let kind = GenericKind::ALL.into_iter().find(|kind| at.is_word(kind.name()));
            let kind = kind.ok_or_else(|| at.expected("`format`, `float`, `int` or `dtype`"))?;
            at.advance()?;
            interface.generics.push(Generic { name, kind });
        } else if at.eat_word("tensor")? {
            interface.params.push(tensor(at)?);
        } else if at.eat_word("scalar")? {
            let name = at.text("the parameter's name in quotes")?;
            at.punct(':')?;
            interface.params.push(Parameter::Scalar { name, dtype: dtype(at)? });
        } else if at.eat_word("dim")? {
            let name = at.name("the dimension's name")?;
            interface.dims.push(Dimension { name, specialised: at.eat_word("specialised")? });
        } else if at.eat_word("tune")? {
            let name = at.name("the tune name")?;
            at.punct('=')?;
            let mut values = vec![at.number("an integer", i64_value)?];
            while at.eat(',')? {
                values.push(at.number("an integer", i64_value)?);
            }
            let fit = if at.eat_word("fit")? { Some(expr(at)?) } else { None };
            interface.tunes.push(Tune { name, values, fit });
        } else {
            at.punct('}')?;
            return Ok(interface);
        }
    }
}

fn tensor(at: &mut Cursor<'_>) -> Parsed<Parameter> {
    let name = at.text("the parameter's name in quotes")?;
    at.punct(':')?;
    let element = if at.eat_word("format")? {
        ParameterElement::Format(at.text("the format's name in quotes")?)
    } else if at.eat_word("generic")? {
        ParameterElement::Generic(at.name("the generic parameter's name")?)
    } else {
        ParameterElement::DType(dtype(at)?)
    };
    let shape = extents(at)?;
    let access = match at.token {
        Token::Word("read") => Access::Read,
        Token::Word("write") => Access::Write,
        Token::Word("readwrite") => Access::ReadWrite,
        _ => return Err(at.expected("`read`, `write` or `readwrite`")),
    };
    at.advance()?;
    Ok(Parameter::Tensor { name, element, shape, access })
}
