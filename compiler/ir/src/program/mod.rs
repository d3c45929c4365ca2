//! Program IR: the host's view of a model. Memory is declared, not allocated; the executor decides where it lives.
//!
//! Names in expressions are hyper-parameters, constants, dimensions, integer or float inputs, and loop counters; all
//! are [`host::Expr`](crate::host::Expr) names. Hyper-parameters and the dimensions of weights are known once a model file is
//! loaded; dimensions of inputs are bound by each call.
//!
//! ```text
//! program @twice {
//!   hyper L: i32 = "net.layers"
//!   weight w0 "w"[L]: any[D, D] = "layer.{}.weight"
//!   input i0 "x": f32[S, D]
//!   output o0 "y": f32[S, D]
//!   for l in 0..L {
//!     launch linear(i0, w0[l], o0)
//!   }
//! }
//! ```
//!
//! Well-formed (checked by `verify`): names are declared once and before use; a weight list is indexed exactly once before any
//! other view; views keep element counts; launches name a kernel and give one argument per parameter.

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

/// Declared memory: state, buffer, tensor input or output.
#[derive(Clone, PartialEq, Debug)]
pub struct MemoryDecl {
    /// Its name in the source.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<Expr>,
    /// For state: the dimension along which it fills.
    pub grows: Option<String>,
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
