//! Binding arguments to a kernel instance: which size each dimension has, whether all shapes agree, and how large the grid is.
//!
//! ```text
//! kernel add(a: f32[N], b: f32[N], c: out f32[N])   with a: [100], b: [100], c: [100]     N = 100
//!                                                   with a: [100], b: [99]                error: `N` is 100 and 99
//! ```
//!
//! Checked here, so that generated code need not: ranks, every extent, launch conditions, and that sizes stay in the range that
//! 32-bit index arithmetic covers.

use super::kernel::{Kernel, TensorDecl};
use crate::host::{EvalError, Number};
use std::fmt;

/// Largest extent of a tensor: leaves room for a slice past the end in 32 bits.
pub const MAX_EXTENT: u64 = (1 << 31) - (1 << 20) - 1;
/// Most blocks in a grid.
pub const MAX_BLOCKS: u64 = 1 << 40;

/// What a launch gives for a parameter.
#[derive(Clone, PartialEq, Debug)]
pub enum ArgumentShape {
    /// A tensor of this shape.
    Tensor(Vec<u64>),
    /// A number.
    Scalar(Number),
}

/// A kernel's dimensions and grid for one launch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The value of each runtime dimension, in the kernel's order.
    pub dims: Vec<u64>,
    /// Blocks on each axis.
    pub grid: [u32; 3],
}

/// Why arguments don't fit a kernel.
#[derive(Clone, PartialEq, Debug)]
pub enum BindError {
    /// Another number of arguments.
    Count {
        /// Parameters.
        expected: usize,
        /// Arguments.
        got: usize,
    },
    /// A tensor for a scalar or the reverse.
    Kind {
        /// The parameter.
        param: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Another rank.
    Rank {
        /// The parameter.
        param: String,
        /// Its rank.
        expected: usize,
        /// The argument's.
        got: usize,
    },
    /// One dimension bound to two sizes.
    Conflict {
        /// The dimension.
        dim: String,
        /// Its size so far.
        first: u64,
        /// The parameter that disagrees.
        param: String,
        /// With this size.
        second: u64,
    },
    /// An extent that is a constant or an expression, and differs.
    Extent {
        /// The parameter.
        param: String,
        /// The axis, from 0.
        axis: usize,
        /// What the kernel says.
        expected: u64,
        /// The argument's.
        got: u64,
    },
    /// A dimension that no argument binds.
    Unbound(String),
    /// An extent beyond [`MAX_EXTENT`].
    TooLarge {
        /// The parameter.
        param: String,
        /// The extent.
        extent: u64,
    },
    /// A launch condition does not hold.
    Assumption(String),
    /// A grid axis is negative, or the grid has too many blocks.
    Grid(String),
    /// An expression has no value.
    Expression {
        /// What was computed.
        what: String,
        /// Why it has none.
        error: EvalError,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Count { expected, got } => {
                write!(f, "the kernel takes {expected} arguments, {got} were given")
            }
            BindError::Kind { param, expected } => write!(f, "argument `{param}` must be a {expected}"),
            BindError::Rank { param, expected, got } => {
                write!(f, "argument `{param}` has {got} dimensions, the kernel expects {expected}")
            }
            BindError::Conflict { dim, first, param, second } => write!(
                f,
                "dimension `{dim}` is {first}, but argument `{param}` has {second} there: give arguments of matching shapes"
            ),
            BindError::Extent { param, axis, expected, got } => {
                write!(f, "axis {axis} of argument `{param}` is {got}, the kernel expects {expected}")
            }
            BindError::Unbound(dim) => write!(f, "no argument binds dimension `{dim}`"),
            BindError::TooLarge { param, extent } => {
                write!(f, "argument `{param}` has an extent of {extent}; at most {MAX_EXTENT} is possible")
            }
            BindError::Assumption(text) => write!(f, "the kernel's condition `{text}` does not hold"),
            BindError::Grid(why) => write!(f, "{why}"),
            BindError::Expression { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Binds arguments, one per parameter, in order.
pub fn bind(kernel: &Kernel, arguments: &[ArgumentShape]) -> Result<Binding, BindError> {
    if arguments.len() != kernel.params.len() {
        return Err(BindError::Count { expected: kernel.params.len(), got: arguments.len() });
    }
    let mut dims: Vec<Option<u64>> = vec![None; kernel.dims.len()];
    let find = |name: &str| kernel.dims.iter().position(|d| d.name == name);
    for (param, argument) in kernel.params.iter().zip(arguments) {
        let name = || param.name().to_owned();
        match (param, argument) {
            (TensorDecl::Tensor { shape, .. }, ArgumentShape::Tensor(given)) => {
                if shape.len() != given.len() {
                    return Err(BindError::Rank { param: name(), expected: shape.len(), got: given.len() });
                }
                for (expr, &extent) in shape.iter().zip(given) {
                    if extent > MAX_EXTENT {
                        return Err(BindError::TooLarge { param: name(), extent });
                    }
                    let crate::host::Expr::Name(dim) = expr else { continue };
                    let Some(at) = find(dim) else { return Err(BindError::Unbound(dim.clone())) };
                    match dims[at] {
                        Some(first) if first != extent => {
                            let dim = dim.clone();
                            return Err(BindError::Conflict { dim, first, param: name(), second: extent });
                        }
                        Some(_) | None => dims[at] = Some(extent),
                    }
                }
            }
            (TensorDecl::Scalar { .. }, ArgumentShape::Scalar(_)) => {}
            (TensorDecl::Tensor { .. }, ArgumentShape::Scalar(_)) => {
                return Err(BindError::Kind { param: name(), expected: "tensor" });
            }
            (TensorDecl::Scalar { .. }, ArgumentShape::Tensor(_)) => {
                return Err(BindError::Kind { param: name(), expected: "number" });
            }
        }
    }
    let names = |name: &str| {
        if let Some(at) = find(name) {
            return dims[at].map(|d| Number::Int(d as i64));
        }
        let at = kernel.params.iter().position(|p| p.name() == name)?;
        match &arguments[at] {
            ArgumentShape::Scalar(number) => Some(*number),
            ArgumentShape::Tensor(_) => None,
        }
    };
    for (param, argument) in kernel.params.iter().zip(arguments) {
        let (TensorDecl::Tensor { name, shape, .. }, ArgumentShape::Tensor(given)) = (param, argument) else {
            continue;
        };
        for (axis, (expr, &got)) in shape.iter().zip(given).enumerate() {
            let what = || format!("axis {axis} of argument `{name}`");
            let expected =
                expr.eval_int(&names).map_err(|error| BindError::Expression { what: what(), error })?;
            if i128::from(expected) != i128::from(got) {
                let expected = u64::try_from(expected).unwrap_or(0);
                return Err(BindError::Extent { param: name.clone(), axis, expected, got });
            }
        }
    }
    for (condition, text) in &kernel.assumptions {
        match condition.eval(&names) {
            Ok(Number::Bool(true)) => {}
            Ok(Number::Bool(false) | Number::Int(_) | Number::Float(_)) => {
                return Err(BindError::Assumption(text.clone()));
            }
            Err(error) => {
                return Err(BindError::Expression { what: format!("the condition `{text}`"), error });
            }
        }
    }
    let mut grid = [1u32; 3];
    let mut blocks = 1u64;
    for (axis, expr) in kernel.grid.iter().enumerate().take(3) {
        let what = format!("grid axis {axis}");
        let size = expr.eval_int(&names).map_err(|error| BindError::Expression { what, error })?;
        let size = u32::try_from(size)
            .ok()
            .filter(|s| *s <= i32::MAX as u32)
            .ok_or_else(|| BindError::Grid(format!("grid axis {axis} would be {size}")))?;
        grid[axis] = size;
        blocks = blocks.saturating_mul(u64::from(size));
    }
    if blocks > MAX_BLOCKS {
        return Err(BindError::Grid(format!("the grid {grid:?} has more than {MAX_BLOCKS} blocks")));
    }
    let dims = dims
        .into_iter()
        .enumerate()
        .map(|(at, d)| d.ok_or_else(|| BindError::Unbound(kernel.dims[at].name.clone())))
        .collect::<Result<Vec<u64>, BindError>>()?;
    Ok(Binding { dims, grid })
}
