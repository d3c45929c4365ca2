//! Whether the layouts of an operation's values agree: the second half of rule 23.
//!
//! Every lane computes the elements of the result that it holds. So of each operand it must hold what these need, in whatever slots:
//!
//! | operation | a lane that holds element `e` of the result holds |
//! |---|---|
//! | element-wise, `scan`, the index of `gather` | element `e` |
//! | `broadcast` | the element that is spread to `e` |
//! | `reshape` | the element at the same row-major position, where a layout of the operand's shape can say so |
//! | `permute` | element `e` with its axes in the operand's order |
//! | `reduce` | one of the elements that are reduced to `e`: lanes add up among each other |
//! | `dot` | row `e[0]` of the first, column `e[1]` of the second factor, element `e` of the addend |
//!
//! ```text
//! v1: f32[4] spatial(4)      v2: f32[4] replicated(4).local(4)      v3 = add v1, v2    spatial(4): agrees
//! v1: f32[4] spatial(4)      v3 = neg v1    replicated(4).local(4): lane 1 lacks element [0] of v1
//! ```
//!
//! A value without a layout agrees with all; so do loads, stores, `concat` and the table of a `gather`, which go through memory, and `view` and
//! `relayout`, whose own rules stand in [`super::pins`]. Judged by sets of lanes ([`MultiFunction`]), not by the rules that infer layouts.

use super::kernel::{Inst, Kernel, Value};
use super::op::Op;
use tvmc_types::layout::{Layout, LayoutError, MultiFunction};

/// An operand of which a lane lacks something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    /// Which operand.
    pub operand: usize,
}

/// The first operand whose layout does not agree with the result's.
pub fn first_lack(kernel: &Kernel, inst: &Inst) -> Option<Lack> {
    let result = kernel.layout(inst.result?)?;
    (0..inst.args.len()).find(|at| lacks(kernel, inst, *at, result)).map(|operand| Lack { operand })
}

fn lacks(kernel: &Kernel, inst: &Inst, at: usize, result: &Layout) -> bool {
    let operand = inst.args[at];
    let Some(layout) = kernel.layout(operand) else { return false };
    let held = layout.holders();
    match &inst.op {
        Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast => {
            !held.covers(&result.holders())
        }
        Op::Table(_) | Op::Scan(..) => !held.covers(&result.holders()),
        Op::Gather(_) => at == 1 && !held.covers(&result.holders()),
        Op::Broadcast => uncovered(held.broadcast_to(result.shape()), Ok(result.holders())),
        Op::Reshape => match result.reshape(layout.shape()) {
            Ok(needed) => !held.covers(&needed.holders()),
            Err(_) => false,
        },
        Op::Permute(permutation) => {
            let place = |dim: usize| permutation.iter().position(|d| usize::from(*d) == dim);
            let dims: Option<Vec<usize>> = (0..permutation.len()).map(place).collect();
            dims.is_some_and(|dims| uncovered(held.pull_back(result.shape(), &dims), Ok(result.holders())))
        }
        Op::Reduce(_, axis) => {
            uncovered(layout.reduce(&[usize::from(*axis)]).map(|left| left.holders()), Ok(result.holders()))
        }
        Op::Dot => factor(kernel, inst.args.first().copied(), at, &held, result),
        Op::Const(_)
        | Op::Dim(_)
        | Op::Scalar(_)
        | Op::BlockIndex(_)
        | Op::Iota
        | Op::View
        | Op::Relayout
        | Op::Concat(_)
        | Op::Load { .. }
        | Op::LoadField { .. }
        | Op::Store { .. }
        | Op::StoreGroups { .. }
        | Op::StoreHead { .. }
        | Op::Scatter { .. }
        | Op::CopyAsync { .. }
        | Op::Commit
        | Op::Wait(_)
        | Op::Atomic { .. }
        | Op::Field(_)
        | Op::GroupIndex
        | Op::Assert(_)
        | Op::Print(_) => false,
    }
}

/// Of [M, K], [K, N] and [M, N], over the space of M, N and K.
fn factor(kernel: &Kernel, a: Option<Value>, at: usize, held: &MultiFunction, result: &Layout) -> bool {
    let (&[m, n], Some(&[_, k])) = (result.shape(), a.map(|a| kernel.ty(a).shape.as_slice())) else {
        return false;
    };
    let (space, dims) = ([m, n, k], [[0, 2], [2, 1], [0, 1]]);
    let Some(dims) = dims.get(at) else { return false };
    uncovered(held.pull_back(&space, dims), result.holders().pull_back(&space, &[0, 1]))
}

/// Whether lanes lack something. A space beyond what layouts can have is no lane's fault.
fn uncovered(held: Result<MultiFunction, LayoutError>, needed: Result<MultiFunction, LayoutError>) -> bool {
    match (held, needed) {
        (Ok(held), Ok(needed)) => !held.covers(&needed),
        (_, _) => false,
    }
}
