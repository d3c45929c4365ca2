//! Program IR: the host's view of a model. Memory is declared, not allocated; the executor decides where it lives.
//!
//! Names in expressions are hyper-parameters, constants, dimensions, integer or float inputs, and loop counters; all
//! are [`host::Expr`](crate::host::Expr) names. A dimension is not declared: it is a name that nothing declares and that stands alone as an
//! extent of a weight (bound by the model file), an input or an output (bound by each call).
//!
//! ```text
//! program @twice {
//!   hyper L: i32 = "net.layers"
//!   weight w0 "w"[L]: any[D, D] = "layer.{}.weight"
//!   buffer b0 "t": f32[S, D]
//!   input i0 "x": f32[S, D]
//!   output o0 "y": f32[S, D]
//!   for l in 0..L {
//!     launch linear(i0, w0[l], b0) @ "twice.tile:9:3"
//!     launch scale(b0, o0[sub(S, R) +: R] as [R, D], scalar 0.5)
//!   }
//! }
//! ```
//!
//! Reading order: this file (the data), `print` and `parse` (the text form), `verify` (the rules) with `kinds`, `interface` (what a launcher must know of
//! a kernel), `launches` (launches against interfaces).

mod interface;
mod kinds;
mod launches;
mod parse;
mod print;
mod verify;

pub use crate::text::ParseError;
pub use interface::{Dimension, Generic, GenericKind, Interface, Parameter, ParameterElement, Tune};
pub use launches::verify_launches;
pub use parse::parse;
pub use verify::{
    MAX_ARGUMENTS, MAX_DECLARATIONS, MAX_DEPTH, MAX_ERRORS, MAX_EXPRESSION, MAX_STATEMENTS, MAX_VIEWS, Rule,
    Verified, VerifyError, verify,
};

use crate::entity;
use crate::host::Expr;
use tvmc_types::dtype::DType;

entity!(
    /// A weight or list of weights.
    Weight, "w");
entity!(
    /// Memory kept between calls.
    State, "s");
entity!(
    /// Memory of one call.
    Buffer, "b");
entity!(
    /// A tensor given by the caller.
    Input, "i");
entity!(
    /// A tensor given to the caller.
    Output, "o");

/// A number of the model file.
#[derive(Clone, PartialEq, Debug)]
pub struct Hyper {
    /// Its name.
    pub name: String,
    /// i32 or f32.
    pub dtype: DType,
    /// Metadata key.
    pub key: String,
    /// Used where the file lacks the key.
    pub default: Option<Expr>,
}

/// What a weight's elements may be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum WeightElement {
    /// Whatever format the file has.
    Any,
    /// Exactly this dtype.
    DType(DType),
}

/// A weight, or one per layer.
#[derive(Clone, PartialEq, Debug)]
pub struct WeightDecl {
    /// Its name in the source.
    pub name: String,
    /// Length of the list, or a single weight.
    pub count: Option<Expr>,
    /// Element type.
    pub element: WeightElement,
    /// Shape; unbound capital names are bound by the file.
    pub shape: Vec<Expr>,
    /// Tensor name in the file; `{}` stands for the list index.
    pub pattern: String,
    /// Used where the file has no such tensor.
    pub fallback: Option<Weight>,
}

/// What declared memory holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemoryElement {
    /// Plain values.
    DType(DType),
    /// Groups of a format: only buffers, which nobody outside the program reads.
    Format(String),
}

impl MemoryElement {
    /// The name of the dtype or format.
    pub fn name(&self) -> &str {
        match self {
            MemoryElement::DType(dtype) => dtype.name(),
            MemoryElement::Format(name) => name,
        }
    }

    /// What launches may assume of it.
    pub fn promised(&self) -> WeightElement {
        match self {
            MemoryElement::DType(dtype) => WeightElement::DType(*dtype),
            MemoryElement::Format(_) => WeightElement::Any,
        }
    }
}

/// Declared memory: state, buffer, tensor input or output.
#[derive(Clone, PartialEq, Debug)]
pub struct MemoryDecl {
    /// Its name in the source.
    pub name: String,
    /// Element type.
    pub element: MemoryElement,
    /// Shape.
    pub shape: Vec<Expr>,
    /// For state: how it fills.
    pub grows: Option<Growth>,
}

/// How a state fills: it has memory for the entries that calls have needed so far, along one dimension, and gets more by need.
#[derive(Clone, PartialEq, Debug)]
pub struct Growth {
    /// The dimension: an extent of the state, at most which there will be.
    pub extent: String,
    /// Entries along it that a call needs.
    pub to: Expr,
}

/// A number given by each call.
#[derive(Clone, PartialEq, Debug)]
pub struct ScalarInput {
    /// Its name.
    pub name: String,
    /// i32 or f32.
    pub dtype: DType,
}

/// Where memory comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum Base {
    /// A weight; the index is given for lists.
    Weight(Weight, Option<Expr>),
    /// State.
    State(State),
    /// A buffer.
    Buffer(Buffer),
    /// An input.
    Input(Input),
    /// An output.
    Output(Output),
}

/// A step from memory to a part of it. All parts are contiguous.
#[derive(Clone, PartialEq, Debug)]
pub enum View {
    /// Element `i` of the first axis, which disappears.
    At(Expr),
    /// `length` elements of the first axis from `from`.
    Rows {
        /// First row.
        from: Expr,
        /// Number of rows.
        length: Expr,
    },
    /// The same elements with another shape.
    Shape(Vec<Expr>),
}

/// An argument of a launch.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// Memory.
    Memory {
        /// Where it comes from.
        base: Base,
        /// Which part, in which shape.
        views: Vec<View>,
    },
    /// A number.
    Scalar(Expr),
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// Runs a kernel over its whole grid.
    Launch {
        /// The kernel's name in the source.
        kernel: String,
        /// One per parameter.
        args: Vec<Argument>,
        /// Tune names set by hand.
        with: Vec<(String, i64)>,
        /// `file:line:column`.
        location: String,
    },
    /// A counted loop.
    For {
        /// The counter's name.
        counter: String,
        /// First value.
        from: Expr,
        /// Bound.
        to: Expr,
        /// The body.
        body: Vec<Stmt>,
    },
    /// A choice by numbers known at the call.
    If {
        /// The condition.
        condition: Expr,
        /// When true.
        then: Vec<Stmt>,
        /// When false.
        otherwise: Vec<Stmt>,
    },
}

/// A program.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Numbers of the model file.
    pub hypers: Vec<Hyper>,
    /// Named constants, in order; each may use what stands before it.
    pub consts: Vec<(String, Expr)>,
    /// Weights.
    pub weights: Vec<WeightDecl>,
    /// Memory kept between calls.
    pub states: Vec<MemoryDecl>,
    /// Memory of one call.
    pub buffers: Vec<MemoryDecl>,
    /// Tensors given by each call.
    pub inputs: Vec<MemoryDecl>,
    /// Numbers given by each call.
    pub scalars: Vec<ScalarInput>,
    /// Tensors given to the caller.
    pub outputs: Vec<MemoryDecl>,
    /// The code.
    pub body: Vec<Stmt>,
}

impl Program {
    /// Element type and extents of declared memory; none if it is not declared.
    pub fn declared(&self, base: &Base) -> Option<(WeightElement, &[Expr])> {
        fn of(decl: Option<&MemoryDecl>) -> Option<(WeightElement, &[Expr])> {
            decl.map(|d| (d.element.promised(), d.shape.as_slice()))
        }
        match base {
            Base::Weight(weight, _) => {
                self.weights.get(weight.index()).map(|w| (w.element, w.shape.as_slice()))
            }
            Base::State(state) => of(self.states.get(state.index())),
            Base::Buffer(buffer) => of(self.buffers.get(buffer.index())),
            Base::Input(input) => of(self.inputs.get(input.index())),
            Base::Output(output) => of(self.outputs.get(output.index())),
        }
    }

    /// Element type and extents of a part of memory; none if it is not declared, or has no axis left to index.
    pub fn part<'a>(&'a self, base: &Base, views: &'a [View]) -> Option<(WeightElement, Vec<&'a Expr>)> {
        let (element, declared) = self.declared(base)?;
        let mut extents: Vec<&Expr> = declared.iter().collect();
        for view in views {
            match view {
                View::At(_) if extents.is_empty() => return None,
                View::At(_) => {
                    extents.remove(0);
                }
                View::Rows { length, .. } => {
                    if let Some(first) = extents.first_mut() {
                        *first = length;
                    }
                }
                View::Shape(shape) => extents = shape.iter().collect(),
            }
        }
        Some((element, extents))
    }
}
