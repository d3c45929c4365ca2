//! Launches against the interfaces of their kernels: rules 15 to 21 of [`super::verify`](super::verify()).
//!
//! ```
//! use tvmc_ir::program::{Interface, Rule, parse, verify, verify_launches};
//! let text = "program @p { input i0 \"x\": f16[N] output o0 \"y\": f32[N] launch f(i0, o0) }";
//! let program = verify(parse(text).unwrap()).unwrap();
//! let f = Interface::parse("interface @f { tensor \"a\": f32[N] read tensor \"b\": f32[N] write dim N }").unwrap();
//! let errors = verify_launches(&program, &|name| (name == "f").then_some(&f)).unwrap_err();
//! assert_eq!((errors.len(), errors[0].rule), (1, Rule::Element));
//! ```
//!
//! Sizes are not compared here: they are numbers of a call, and every launch binds them anew (`tile::launch::bind`).

use super::interface::{GenericKind, Interface, Parameter, ParameterElement};
use super::kinds::{Kind, kind, kinds};
use super::verify::{Errors, Place, Rule, Verified, VerifyError};
use super::{Argument, Base, Program, Stmt, WeightElement};
use crate::lane::Access;
use std::collections::HashMap;
use tvmc_types::dtype::DType;

/// Checks every launch against the interface that `lookup` gives for its kernel's name; gives all violations up to
/// [`MAX_ERRORS`](super::MAX_ERRORS). A kernel that `lookup` does not know is a violation.
pub fn verify_launches<'i>(
    program: &Verified,
    lookup: &dyn Fn(&str) -> Option<&'i Interface>,
) -> Result<(), Vec<VerifyError>> {
    let mut checker = Checker {
        program,
        kinds: kinds(program),
        lookup,
        place: Place::default(),
        errors: Errors::default(),
    };
    checker.stmts("body", &program.body);
    let errors = checker.errors.0;
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

struct Checker<'a, 'i> {
    program: &'a Program,
    kinds: HashMap<&'a str, Kind>,
    lookup: &'a dyn Fn(&str) -> Option<&'i Interface>,
    place: Place,
    errors: Errors,
}

/// What generic parameters stand for so far.
type Bound<'i> = HashMap<&'i str, WeightElement>;

impl Checker<'_, '_> {
    fn error(&mut self, rule: Rule, message: String) {
        let at = String::from(&self.place);
        self.errors.push(rule, at, message);
    }

    fn stmts(&mut self, name: &'static str, stmts: &[Stmt]) {
        self.place.open(name);
        for (number, stmt) in stmts.iter().enumerate() {
            self.place.at(number);
            match stmt {
                Stmt::Launch { kernel, args, with, .. } => self.launch(kernel, args, with),
                Stmt::For { body, .. } => self.stmts("body", body),
                Stmt::If { then, otherwise, .. } => {
                    self.stmts("then", then);
                    self.stmts("else", otherwise);
                }
            }
        }
        self.place.close();
    }

    fn launch(&mut self, name: &str, args: &[Argument], with: &[(String, i64)]) {
        let Some(interface) = (self.lookup)(name) else {
            return self.error(Rule::Kernel, format!("there is no kernel `{name}`"));
        };
        for (tune, value) in with {
            match interface.tunes.iter().find(|t| t.name == *tune) {
                None => self.error(Rule::Tune, format!("`{name}` has no tune name `{tune}`")),
                Some(known) if !known.values.contains(value) => {
                    self.error(Rule::Tune, format!("`{name}` does not offer {tune} = {value}"));
                }
                Some(_) => {}
            }
        }
        if args.len() != interface.params.len() {
            let message = format!("{} arguments, `{name}` takes {}", args.len(), interface.params.len());
            return self.error(Rule::Count, message);
        }
        let mut bound = Bound::new();
        for (argument, param) in args.iter().zip(&interface.params) {
            match (param, argument) {
                (Parameter::Tensor { name, element, shape, access }, Argument::Memory { base, views }) => {
                    let Some((given, extents)) = self.program.part(base, views) else { continue };
                    let axes = extents.len();
                    if let Some(message) = misfit(interface, element, given, &mut bound) {
                        self.error(Rule::Element, format!("{argument} for `{name}`: {message}"));
                    }
                    if axes != shape.len() {
                        let message = format!("{argument} has {axes} axes, `{name}` has {}", shape.len());
                        self.error(Rule::Axes, message);
                    }
                    let fixed = matches!(base, Base::Weight(..) | Base::Input(_));
                    if fixed && *access != Access::Read {
                        let message = format!("{argument} may only be read, `{name}` is written");
                        self.error(Rule::Access, message);
                    }
                }
                (Parameter::Scalar { name, dtype }, Argument::Scalar(expr)) => {
                    // What is no declared number is a dimension or a counter.
                    let of = |n: &str| Some(self.kinds.get(n).copied().unwrap_or(Kind::Int));
                    let (given, want) = (kind(expr, &of), Kind::of(*dtype));
                    if given != Ok(Some(want)) {
                        self.error(
                            Rule::Argument,
                            format!("`{expr}` for `{name}`, which is {}", want.word()),
                        );
                    }
                }
                (Parameter::Tensor { name, .. }, Argument::Scalar(expr)) => {
                    self.error(Rule::Argument, format!("the number `{expr}` for tensor `{name}`"));
                }
                (Parameter::Scalar { name, .. }, Argument::Memory { .. }) => {
                    self.error(Rule::Argument, format!("memory {argument} for number `{name}`"));
                }
            }
        }
    }
}

/// Why memory of this element type does not fit a parameter.
fn misfit<'i>(
    interface: &'i Interface,
    element: &'i ParameterElement,
    given: WeightElement,
    bound: &mut Bound<'i>,
) -> Option<String> {
    let generic = match (element, given) {
        (ParameterElement::DType(want), WeightElement::DType(given)) => {
            return (*want != given).then(|| format!("{given} where {want} is needed"));
        }
        (ParameterElement::DType(want), WeightElement::Any) => {
            return Some(format!("the file decides its format, {want} is needed"));
        }
        (ParameterElement::Format(want), _) => {
            return Some(format!("format `{want}` is needed, which memory of a program cannot promise"));
        }
        (ParameterElement::Generic(generic), _) => generic,
    };
    let declared = interface.generics.iter().find(|g| g.name == *generic).map(|g| g.kind);
    let fits = |dtype: DType| match declared {
        Some(GenericKind::Format | GenericKind::DType) => true,
        Some(GenericKind::Float) => dtype.is_float(),
        Some(GenericKind::Int) => dtype.is_integer(),
        None => false,
    };
    match (given, bound.insert(generic, given)) {
        // Each weight has its own format, so none stands for two.
        (_, Some(WeightElement::Any)) | (WeightElement::Any, Some(_)) => {
            Some(format!("`{generic}` would stand for two element types"))
        }
        (WeightElement::DType(dtype), Some(WeightElement::DType(first))) if dtype != first => {
            Some(format!("`{generic}` would be both {first} and {dtype}"))
        }
        (WeightElement::Any, None) => (declared != Some(GenericKind::Format))
            .then(|| format!("the file decides its format, `{generic}` needs a dtype")),
        (WeightElement::DType(dtype), _) => (!fits(dtype)).then(|| format!("`{generic}` cannot be {dtype}")),
    }
}
