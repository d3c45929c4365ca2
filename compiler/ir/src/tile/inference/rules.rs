//! The rules of inference: what the layout of one value of an operation says about the others.
//!
//! | rule | operands to result | result to operands |
//! |---|---|---|
//! | `elementwise` | the same layout, also of a scan, and of `gather` and atomics for their indices | the same |
//! | `broadcast` | reshaped, if it only adds axes of extent 1 | [`Layout::reduce_to`] the operand's shape |
//! | `reshape` | [`Layout::reshape`], where there is one | the same, back |
//! | `permute` | [`Layout::permute`] | by the inverse permutation |
//! | `reduce` | [`Layout::reduce`] along the axis | none: many layouts have this one as their reduction |
//! | `concat` | parts of one shape become slots of one lane: `local(.., n, ..) * L` | [`Layout::left_divide`] by that |
//! | `dot` | the addend's layout | the addend: the same. `a` and `b`: rows and columns of the result's lanes, all of K in a lane's slots |
//!
//! `view` and `relayout` are walls: both sides are written. Loads, stores, constants and the table of a `gather` ask for nothing.

use crate::tile::kernel::{Inst, Kernel, Value};
use crate::tile::op::Op;
use crate::tile::pins::LayoutRule;
use tvmc_types::layout::{Layout, LayoutError};

/// A layout for another value of the operation, and the rule that says so.
pub type Proposal = (Value, Layout, LayoutRule);

/// What follows for the other values of an operation from the layout of `known`, which is one of them.
pub fn propose(kernel: &Kernel, inst: &Inst, known: Value, layout: &Layout) -> Vec<Proposal> {
    let args = inst.args.as_slice();
    match &inst.op {
        Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast | Op::Scan(..) => {
            alike(kernel, args.iter().chain(&inst.result), known, layout)
        }
        Op::Table(_) | Op::Atomic { .. } => alike(kernel, args.iter().chain(&inst.result), known, layout),
        Op::Gather(_) => alike(kernel, args.get(1).into_iter().chain(&inst.result), known, layout),
        Op::Broadcast => {
            let (rule, fewer) =
                (LayoutRule::Broadcast, elements(kernel, args) < elements(kernel, inst.result));
            pair(kernel, inst, known, rule, |back, shape| match (back, fewer) {
                (true, _) => layout.reduce_to(shape).ok(),
                (false, false) => layout.reshape(shape).ok(),
                (false, true) => None,
            })
        }
        Op::Reshape => pair(kernel, inst, known, LayoutRule::Reshape, |_, shape| layout.reshape(shape).ok()),
        Op::Permute(permutation) => {
            let dims: Vec<usize> = permutation.iter().map(|dim| usize::from(*dim)).collect();
            let inverse: Vec<usize> =
                (0..dims.len()).filter_map(|dim| dims.iter().position(|d| *d == dim)).collect();
            pair(kernel, inst, known, LayoutRule::Permute, |back, _| {
                layout.permute(if back { &inverse } else { &dims }).ok()
            })
        }
        Op::Reduce(_, axis) => pair(kernel, inst, known, LayoutRule::Reduce, |back, _| {
            if back { None } else { layout.reduce(&[usize::from(*axis)]).ok() }
        }),
        Op::Concat(axis) => concat(kernel, inst, usize::from(*axis), known, layout).unwrap_or_default(),
        Op::Dot => dot(kernel, inst, known, layout),
        Op::Const(_)
        | Op::Dim(_)
        | Op::Scalar(_)
        | Op::BlockIndex(_)
        | Op::Iota
        | Op::View
        | Op::Relayout
        | Op::Load { .. }
        | Op::LoadField { .. }
        | Op::Store { .. }
        | Op::StoreGroups { .. }
        | Op::StoreHead { .. }
        | Op::Scatter { .. }
        | Op::CopyAsync { .. }
        | Op::Commit
        | Op::Wait(_)
        | Op::Field(_)
        | Op::GroupIndex
        | Op::Assert(_)
        | Op::Print(_) => Vec::new(),
    }
}

/// Values of one shape, of which `known` is one, have one layout.
fn alike<'v>(
    kernel: &Kernel,
    values: impl Iterator<Item = &'v Value> + Clone,
    known: Value,
    layout: &Layout,
) -> Vec<Proposal> {
    if !values.clone().any(|value| *value == known) {
        return Vec::new();
    }
    let same = values.filter(|value| kernel.ty(**value).shape == layout.shape());
    same.map(|value| (*value, layout.clone(), LayoutRule::Elementwise)).collect()
}

fn elements(kernel: &Kernel, values: impl IntoIterator<Item = impl std::borrow::Borrow<Value>>) -> u64 {
    values.into_iter().map(|value| kernel.ty(*value.borrow()).elements()).sum()
}

/// An operation of one operand: the layout of the other side, told whether that is the operand, and its shape.
fn pair(
    kernel: &Kernel,
    inst: &Inst,
    known: Value,
    rule: LayoutRule,
    layout: impl Fn(bool, &[u32]) -> Option<Layout>,
) -> Vec<Proposal> {
    let (&[operand], Some(result)) = (inst.args.as_slice(), inst.result) else { return Vec::new() };
    let back = known == result;
    let other = if back { operand } else { result };
    layout(back, &kernel.ty(other).shape).map(|layout| (other, layout, rule)).into_iter().collect()
}

/// Parts of one shape, one after the other in the slots.
fn concat(
    kernel: &Kernel,
    inst: &Inst,
    axis: usize,
    known: Value,
    layout: &Layout,
) -> Result<Vec<Proposal>, LayoutError> {
    let (Some(result), Some(first)) = (inst.result, inst.args.first()) else { return Ok(Vec::new()) };
    let shape = &kernel.ty(*first).shape;
    if inst.args.iter().any(|part| kernel.ty(*part).shape != *shape) {
        return Ok(Vec::new());
    }
    let mut parts = vec![1; shape.len()];
    if let Some(extent) = parts.get_mut(axis) {
        *extent = inst.args.len() as u32;
    }
    let parts = Layout::local(&parts)?;
    if known == result {
        let part = layout.left_divide(&parts)?;
        return Ok(inst.args.iter().map(|arg| (*arg, part.clone(), LayoutRule::Concat)).collect());
    }
    Ok(vec![(result, parts.compose(layout)?, LayoutRule::Concat)])
}

fn dot(kernel: &Kernel, inst: &Inst, known: Value, layout: &Layout) -> Vec<Proposal> {
    let (&[a, b, addend], Some(result)) = (inst.args.as_slice(), inst.result) else { return Vec::new() };
    if known == addend {
        return vec![(result, layout.clone(), LayoutRule::Dot)];
    }
    let (&[_, depth], true) = (kernel.ty(a).shape.as_slice(), known == result) else { return Vec::new() };
    let rows = layout.reduce_keep(&[1]).and_then(|rows| rows.then_local(&[1, depth]));
    let columns = layout.reduce_keep(&[0]).and_then(|columns| columns.then_local(&[depth, 1]));
    [(a, rows), (b, columns), (addend, Ok(layout.clone()))]
        .into_iter()
        .filter_map(|(value, layout)| layout.ok().map(|layout| (value, layout, LayoutRule::Dot)))
        .collect()
}
