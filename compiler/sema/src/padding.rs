//! Which tile dimensions may hold padding, and what stands there. The law: a reduction over a dimension that may hold padding other than
//! its identity is an error.
//!
//! A load pads a dimension unless its slice provably lies inside ([`Facts`]). For each dimension that may be padded the value at its padded places is
//! known or not; element-wise operations on known values give known values:
//!
//! ```text
//! t = x[m, d +: 64]              padded along 0 with 0           (D is no multiple of 64)
//! squares = fma(t, t, squares)   0 again: fma(0, 0, 0)
//! sum(squares)                   fine: 0 is the identity
//! max(t)                         error: 0 is not -inf
//! ```
//!
//! The analysis is a fixed point over loops: a variable that begins as one constant everywhere takes part with that constant. Zero times anything
//! counts as zero (an infinity there would be seen in the real elements as well). A `where` whose condition depends on `iota` along a dimension takes the
//! responsibility over: its result counts as free of padding there. Points drop their dimension, so they pad nothing.

mod places;

use crate::facts::Facts;
use crate::fold;
use std::collections::HashMap;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::tile::{
    Binary, Carried, Index, Inst, Kernel, Memory, Op, Reduce, Region, Stmt, TensorDecl, TileType, Value,
};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// What stands at the padded places of a dimension.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Pad {
    /// There are none.
    No,
    Known(u32),
    Unknown,
}

#[derive(Clone, PartialEq, Debug)]
struct Dimension {
    pad: Pad,
    /// Whether elements along it depend on `iota`.
    iota: bool,
    /// Whether a `where` with such a condition has chosen them.
    masked: bool,
    /// The load that brought the padding in.
    origin: Option<Value>,
}

#[derive(Clone, PartialEq, Debug)]
struct State {
    /// The one value that all elements have, if that is known.
    splat: Option<u32>,
    dims: Vec<Dimension>,
}

impl Dimension {
    const CLEAN: Dimension = Dimension { pad: Pad::No, iota: false, masked: false, origin: None };
}

impl State {
    fn clean(rank: usize) -> State {
        State { splat: None, dims: vec![Dimension::CLEAN; rank] }
    }
}

/// What a reduction stands for where the source writes a function that is made of several operations.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The function of this name, with the padding rule of the reduction.
    Named(&'static str),
    /// The function of this name, which puts elements in order: no padding may take part, whatever it is.
    Orders(&'static str),
    /// A part of a function, about which another part was judged.
    Part,
}

struct Analysis<'k> {
    kernel: &'k Kernel,
    roles: &'k HashMap<Value, Role>,
    facts: &'k [Facts],
    states: Vec<Option<State>>,
    changed: bool,
    /// Sweeps done; late ones give up on known values so that an end is certain.
    sweeps: u32,
}

/// The errors of a kernel; `spans` gives each value's place.
pub(crate) fn check(
    kernel: &Kernel,
    facts: &[Facts],
    spans: &[Span],
    roles: &HashMap<Value, Role>,
) -> Vec<Diagnostic> {
    let states = vec![None; kernel.values.len()];
    let mut analysis = Analysis { kernel, roles, facts, states, changed: true, sweeps: 0 };
    // Each dimension moves at most twice (no padding, known, unknown), so this ends; the bound is a backstop.
    while analysis.changed && analysis.sweeps < 64 {
        analysis.changed = false;
        analysis.region(&kernel.body);
        analysis.sweeps += 1;
    }
    let mut diagnostics = Vec::new();
    analysis.judge(&kernel.body, spans, &mut diagnostics);
    diagnostics
}

fn join_pad(a: Pad, b: Pad) -> Pad {
    match (a, b) {
        (Pad::No, other) | (other, Pad::No) => other,
        (Pad::Known(x), Pad::Known(y)) if x == y => Pad::Known(x),
        (Pad::Known(_) | Pad::Unknown, _) => Pad::Unknown,
    }
}

impl Analysis<'_> {
    fn state(&self, value: Value) -> Option<&State> {
        self.states[value.index()].as_ref()
    }

    fn set(&mut self, value: Value, state: State) {
        let slot = &mut self.states[value.index()];
        if slot.as_ref() != Some(&state) {
            *slot = Some(state);
            self.changed = true;
        }
    }

    /// A variable that comes from several places.
    fn join(&mut self, to: Value, from: &[Value]) {
        let known: Vec<State> = from.iter().filter_map(|v| self.state(*v).cloned()).collect();
        let Some((first, rest)) = known.split_first() else { return };
        let mut joined = first.clone();
        for other in rest {
            let splat = if joined.splat == other.splat { joined.splat } else { None };
            for (at, dim) in joined.dims.iter_mut().enumerate() {
                let theirs = &other.dims[at];
                // One constant everywhere is also what stands at the other's padded places.
                let seen = |own: Pad, whole: Option<u32>, across: Pad| match (own, whole) {
                    (Pad::No, Some(v)) if across != Pad::No => Pad::Known(v),
                    (pad, _) => pad,
                };
                let a = seen(dim.pad, first.splat, theirs.pad);
                let b = seen(theirs.pad, other.splat, dim.pad);
                dim.pad = join_pad(a, b);
                dim.iota |= theirs.iota;
                dim.origin = dim.origin.or(theirs.origin);
            }
            joined.splat = splat;
        }
        if self.sweeps > 16 && self.states[to.index()].as_ref().is_some_and(|old| *old != joined) {
            for dim in &mut joined.dims {
                if dim.pad != Pad::No {
                    dim.pad = Pad::Unknown;
                }
            }
            joined.splat = None;
        }
        self.set(to, joined);
    }

    fn carried(&mut self, carried: &[Carried], yields: &[Value]) {
        for (c, y) in carried.iter().zip(yields) {
            self.join(c.param, &[c.initial, *y]);
        }
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    if let Some(result) = inst.result
                        && let Some(state) = self.transfer(inst, result)
                    {
                        self.set(result, state);
                    }
                }
                Stmt::For { counter, carried, body, yields, results, .. } => {
                    self.set(*counter, State::clean(0));
                    self.carried(carried, yields);
                    self.region(body);
                    self.carried(carried, yields);
                    for ((result, c), y) in results.iter().zip(carried).zip(yields) {
                        self.join(*result, &[c.initial, *y]);
                    }
                }
                Stmt::Loop { carried, body, yields, results, .. } => {
                    self.carried(carried, yields);
                    self.region(body);
                    self.carried(carried, yields);
                    for (result, y) in results.iter().zip(yields) {
                        self.join(*result, &[*y]);
                    }
                }
                Stmt::If { then, then_yields, otherwise, otherwise_yields, results, .. } => {
                    self.region(then);
                    self.region(otherwise);
                    for ((result, a), b) in results.iter().zip(then_yields).zip(otherwise_yields) {
                        self.join(*result, &[*a, *b]);
                    }
                }
            }
        }
    }

    /// The state of a result, once those of its operands are known.
    fn transfer(&self, inst: &Inst, result: Value) -> Option<State> {
        let ty = self.kernel.ty(result);
        let rank = ty.shape.len();
        let states: Vec<&State> = inst.args.iter().map(|a| self.state(*a)).collect::<Option<_>>()?;
        Some(match &inst.op {
            Op::Const(bits) => State { splat: Some(*bits), ..State::clean(0) },
            Op::Iota => State { splat: None, dims: vec![Dimension { iota: true, ..Dimension::CLEAN }] },
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::Table(_) => self.elementwise(inst, ty, &states),
            Op::Broadcast => {
                let from = states[0];
                let skip = rank - from.dims.len();
                let operand = &self.kernel.ty(inst.args[0]).shape;
                let dims = (0..rank).map(|axis| match axis.checked_sub(skip) {
                    None => Dimension::CLEAN,
                    Some(at) => {
                        let mut dim = from.dims[at].clone();
                        dim.iota &= operand[at] == ty.shape[axis];
                        dim
                    }
                });
                State { splat: from.splat, dims: dims.collect() }
            }
            Op::Relayout => states[0].clone(),
            Op::View => view(rank, states[0]),
            Op::Reshape => {
                let from = &self.kernel.ty(inst.args[0]).shape;
                State { splat: states[0].splat, dims: reshape(from, &ty.shape, &states[0].dims) }
            }
            Op::Permute(axes) => State {
                splat: states[0].splat,
                dims: axes.iter().map(|a| states[0].dims[*a as usize].clone()).collect(),
            },
            Op::Reduce(op, axis) => self.reduce(*op, *axis, ty.dtype, states[0]),
            Op::Scan(op, axis) => self.scan(*op, usize::from(*axis), ty.dtype, states[0]),
            Op::Gather(axis) => gather(usize::from(*axis), states[0], states[1]),
            Op::Concat(_) => concat(rank, &states),
            Op::Dot => dot(states[0], states[1], states[2]),
            Op::Load { memory, indices, padded } => self.load(inst, result, *memory, indices, *padded),
            Op::LoadField { tensor, field, indices } => {
                let shape = self.kernel.field_of(*tensor, *field).map(|(_, shape)| shape);
                self.loaded(inst, result, &shape.unwrap_or_default(), indices, Pad::Known(0))
            }
            Op::Atomic { update, .. } => State { splat: None, dims: self.updated(*update, inst, &states) },
            Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Field(_)
            | Op::GroupIndex
            | Op::Store { .. }
            | Op::StoreGroups { .. }
            | Op::StoreHead { .. }
            | Op::Scatter { .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Assert(_)
            | Op::Print(_) => State::clean(rank),
        })
    }

    /// The value of an element-wise operation where some operands are known.
    fn eval(&self, inst: &Inst, to: DType, args: &[Option<u32>]) -> Option<u32> {
        let dtype = |at: usize| self.kernel.ty(inst.args[at]).dtype;
        let is_zero = |at: usize| {
            args[at].is_some_and(|v| match dtype(at).kind() {
                Kind::Float => f32::from_bits(v) == 0.0,
                Kind::Signed | Kind::Unsigned | Kind::Bool => v == 0,
            })
        };
        match (&inst.op, args) {
            (Op::Binary(Binary::Mul), _) if is_zero(0) || is_zero(1) => Some(0),
            (Op::Binary(Binary::And), _) if is_zero(0) || is_zero(1) => Some(0),
            (Op::Binary(Binary::Or), [a, b]) if to == DType::BOOL && (*a == Some(1) || *b == Some(1)) => {
                Some(1)
            }
            (Op::Fma, [_, _, c]) if is_zero(0) || is_zero(1) => *c,
            (Op::Fma, [Some(a), Some(b), Some(c)]) => {
                Some(f32::from_bits(*a).mul_add(f32::from_bits(*b), f32::from_bits(*c)).to_bits())
            }
            (Op::Select, [Some(c), a, b]) => {
                if *c != 0 {
                    *a
                } else {
                    *b
                }
            }
            (Op::Select, [None, a, b]) if a == b => *a,
            (Op::Unary(op), [Some(a)]) => fold::unary(*op, dtype(0), *a),
            (Op::Binary(op), [Some(a), Some(b)]) => fold::binary(*op, dtype(0), *a, *b),
            (Op::Cast(rule), [Some(a)]) => fold::cast(*rule, dtype(0), to, *a),
            (Op::Bitcast, [a]) => *a,
            (Op::Table(at), [Some(index)]) => {
                let (_, entries) = self.kernel.tables.get(*at as usize)?;
                Some(entries.get(*index as usize).copied().unwrap_or(0))
            }
            _ => None,
        }
    }

    fn elementwise(&self, inst: &Inst, ty: &TileType, states: &[&State]) -> State {
        let splats: Vec<Option<u32>> = states.iter().map(|s| s.splat).collect();
        let splat =
            if splats.iter().all(Option::is_some) { self.eval(inst, ty.dtype, &splats) } else { None };
        let dims = (0..ty.shape.len()).map(|axis| {
            let iota = states.iter().any(|s| s.dims[axis].iota);
            let chosen = matches!(inst.op, Op::Select) && states[0].dims[axis].iota;
            let masked = chosen || states.iter().any(|s| s.dims[axis].masked);
            if chosen || states.iter().all(|s| s.dims[axis].pad == Pad::No) {
                return Dimension { iota, masked, ..Dimension::CLEAN };
            }
            let args: Vec<Option<u32>> = states
                .iter()
                .map(|s| match s.dims[axis].pad {
                    Pad::Known(v) => Some(v),
                    Pad::No | Pad::Unknown => s.splat,
                })
                .collect();
            let pad = self.eval(inst, ty.dtype, &args).map_or(Pad::Unknown, Pad::Known);
            let origin = states.iter().find_map(|s| s.dims[axis].origin);
            Dimension { pad, iota, masked, origin }
        });
        State { splat, dims: dims.collect() }
    }

    fn reduce(&self, op: Reduce, axis: u8, dtype: DType, from: &State) -> State {
        let mut state = self.scan(op, usize::from(axis), dtype, from);
        state.dims.remove(usize::from(axis));
        state
    }

    /// Running results: behind the padding of the axis stands what came before it.
    fn scan(&self, op: Reduce, axis: usize, dtype: DType, from: &State) -> State {
        let keeps = |v: u32| match op {
            Reduce::Sum => v == 0 || dtype.is_float() && f32::from_bits(v) == 0.0,
            Reduce::Prod => v == identity(op, dtype) || v == 0,
            Reduce::Min | Reduce::Max | Reduce::Any | Reduce::All => true,
        };
        let mut dims = from.dims.clone();
        for (at, dim) in dims.iter_mut().enumerate() {
            match dim.pad {
                Pad::Known(v) if at != axis && keeps(v) => {}
                Pad::Known(_) | Pad::Unknown => dim.pad = Pad::Unknown,
                Pad::No => {}
            }
        }
        State { splat: from.splat.filter(|v| keeps(*v)), dims }
    }

    fn load(&self, inst: &Inst, result: Value, memory: Memory, indices: &[Index], padded: bool) -> State {
        let fill = if padded {
            let state = inst.args.last().and_then(|v| self.state(*v));
            state.and_then(|s| s.splat).map_or(Pad::Unknown, Pad::Known)
        } else {
            Pad::Known(0)
        };
        let shape: Vec<Expr> = match memory {
            Memory::Param(param) => match self.kernel.params.get(param.index()) {
                Some(TensorDecl::Tensor { shape, .. }) => shape.clone(),
                Some(TensorDecl::Scalar { .. }) | None => Vec::new(),
            },
            Memory::Shared(at) => {
                self.kernel.shared[at.index()].ty.shape.iter().map(|e| Expr::int(i64::from(*e))).collect()
            }
        };
        self.loaded(inst, result, &shape, indices, fill)
    }

    /// A tile of memory of these extents, with this value outside.
    fn loaded(&self, inst: &Inst, result: Value, shape: &[Expr], indices: &[Index], fill: Pad) -> State {
        let mut dims = Vec::new();
        for ((index, offset), extent) in indices.iter().zip(&inst.args).zip(shape) {
            let Index::Slice(size) = index else { continue };
            let inside = self.inside(extent, self.facts[offset.index()], i64::from(*size));
            dims.push(if inside {
                Dimension::CLEAN
            } else {
                Dimension { pad: fill, origin: Some(result), ..Dimension::CLEAN }
            });
        }
        State { splat: None, dims }
    }

    /// Whether `size` elements from an offset of these facts lie inside an axis.
    fn inside(&self, extent: &Expr, facts: Facts, size: i64) -> bool {
        if facts.lo < 0 {
            return false;
        }
        match extent {
            Expr::Const(Number::Int(extent)) => facts.hi + size <= *extent,
            Expr::Name(name) => facts.below.is_some_and(|(dim, slack)| {
                self.kernel.dims.get(dim.index()).is_some_and(|d| d.name == *name) && slack >= size
            }),
            Expr::Const(_) | Expr::Unary(..) | Expr::Binary(..) => false,
        }
    }

    // ---- judging ----

    fn judge(&self, region: &Region, spans: &[Span], out: &mut Vec<Diagnostic>) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    self.judge_places(inst, spans, out);
                    self.judge_inst(inst, spans, out);
                }
                Stmt::For { body, .. } | Stmt::Loop { body, .. } => self.judge(body, spans, out),
                Stmt::If { then, otherwise, .. } => {
                    self.judge(then, spans, out);
                    self.judge(otherwise, spans, out);
                }
            }
        }
    }

    fn judge_inst(&self, inst: &Inst, spans: &[Span], out: &mut Vec<Diagnostic>) {
        let Some(span) = inst.result.and_then(|r| spans.get(r.index())).copied() else { return };
        let place = |origin: Option<Value>, d: Diagnostic| match origin.and_then(|o| spans.get(o.index())) {
            Some(load) => d.also(*load, "this load may reach past the end of the tensor"),
            None => d,
        };
        match &inst.op {
            Op::Reduce(op, axis) | Op::Scan(op, axis) => {
                let Some(state) = self.state(inst.args[0]) else { return };
                let dtype = self.kernel.ty(inst.args[0]).dtype;
                let dim = &state.dims[usize::from(*axis)];
                let identity = identity(*op, dtype);
                let name = match inst.result.and_then(|result| self.roles.get(&result)) {
                    None => op.name(),
                    Some(Role::Named(name)) => name,
                    Some(Role::Part) => return,
                    Some(Role::Orders(_)) if dim.pad == Pad::No => return,
                    Some(Role::Orders(name)) => {
                        let message = format!("`{name}` runs over an axis that may hold padding");
                        let d = Diagnostic::error(Code::ReductionOverPadding, message)
                            .at(span, "padding would take part");
                        out.push(place(dim.origin, d).help(
                            "put a number behind the end that sorts where you want it: `where(iota(8) < n, x, inf)`",
                        ));
                        return;
                    }
                };
                let value = match dim.pad {
                    Pad::No => return,
                    Pad::Known(v) if v == identity => return,
                    Pad::Known(v) if identity == 0 && dtype.is_float() && f32::from_bits(v) == 0.0 => return,
                    Pad::Known(v) => text(dtype, v),
                    Pad::Unknown => "a value that is not known".to_owned(),
                };
                let wanted = text(dtype, identity);
                let size = self.kernel.ty(inst.args[0]).shape[usize::from(*axis)];
                let d = Diagnostic::error(
                    Code::ReductionOverPadding,
                    format!(
                        "`{}` runs over axis {axis}, which may hold padding: {value}, not {wanted}",
                        name
                    ),
                )
                .at(span, "padding would take part");
                out.push(
                    place(dim.origin, d)
                        .help(format!("load with `else {wanted}`, or mask: `where(iota({size}) < n, x, {wanted})`"))
                        .help("a size that the slice divides leaves no padding: specialise the dimension, or `assume` it"),
                );
            }
            Op::Dot => {
                let (Some(a), Some(b)) = (self.state(inst.args[0]), self.state(inst.args[1])) else { return };
                let (left, right) = (&a.dims[1], &b.dims[0]);
                let dtype = self.kernel.ty(inst.args[0]).dtype;
                let zero = |p: Pad| match p {
                    Pad::Known(v) => v == 0 || dtype.is_float() && f32::from_bits(v) == 0.0,
                    Pad::No | Pad::Unknown => false,
                };
                if left.pad == Pad::No && right.pad == Pad::No || zero(left.pad) || zero(right.pad) {
                    return;
                }
                let d = Diagnostic::error(
                    Code::ReductionOverPadding,
                    "`dot` sums over a dimension that may hold padding, and on neither side it is 0",
                )
                .at(span, "padding would take part");
                out.push(
                    place(left.origin.or(right.origin), d)
                        .help("keep the padding of one side 0, or mask it with `where` and `iota`"),
                );
            }
            Op::Const(_)
            | Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::View
            | Op::Relayout
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Gather(_)
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
            | Op::Table(_)
            | Op::GroupIndex
            | Op::Assert(_)
            | Op::Print(_) => {}
        }
    }
}

/// Bits of any operand element may come to lie in any element of the result: padding of zeros stays zeros along every axis only if all of it
/// is padding, so nothing is known beyond that it may be there.
fn view(rank: usize, from: &State) -> State {
    let origin = from.dims.iter().filter(|dim| dim.pad != Pad::No).find_map(|dim| dim.origin);
    let padded = from.dims.iter().any(|dim| dim.pad != Pad::No);
    let pad = if padded { Pad::Unknown } else { Pad::No };
    State { splat: None, dims: vec![Dimension { pad, iota: false, masked: false, origin }; rank] }
}

/// Along the axis any element may come from padding if there is any. Elsewhere zeros stay zeros, which is what an index outside gives too.
fn gather(axis: usize, from: &State, index: &State) -> State {
    let dims = from.dims.iter().zip(&index.dims).enumerate().map(|(at, (own, chosen))| {
        let pad = match (own.pad, chosen.pad) {
            (Pad::No, Pad::No) => Pad::No,
            (Pad::Known(0), Pad::No) if at != axis => Pad::Known(0),
            (Pad::No | Pad::Known(_) | Pad::Unknown, _) => Pad::Unknown,
        };
        Dimension { pad, iota: false, masked: false, origin: own.origin.or(chosen.origin) }
    });
    State { splat: None, dims: dims.collect() }
}

/// What may be padding in one part may be it in the whole.
fn concat(rank: usize, parts: &[&State]) -> State {
    let dims = (0..rank).map(|axis| {
        let dims = || parts.iter().map(|part| &part.dims[axis]);
        let pad = dims().fold(Pad::No, |pad, dim| join_pad(pad, dim.pad));
        Dimension { pad, iota: false, masked: false, origin: dims().find_map(|dim| dim.origin) }
    });
    State { splat: None, dims: dims.collect() }
}

/// c + a b: rows are padded as in `a`, columns as in `b`; where that is with 0, the sum is what `c` holds there.
fn dot(a: &State, b: &State, c: &State) -> State {
    let side = |operand: &Dimension, axis: usize| {
        let own = &c.dims[axis];
        if operand.pad == Pad::No && own.pad == Pad::No {
            return Dimension { iota: operand.iota || own.iota, ..Dimension::CLEAN };
        }
        let zero = operand.pad == Pad::Known(0) || operand.pad == Pad::Known(0x8000_0000);
        let begin = match own.pad {
            Pad::Known(v) => Some(v),
            Pad::No | Pad::Unknown => c.splat,
        };
        let pad = match begin {
            Some(v) if zero => Pad::Known(v),
            Some(_) | None => Pad::Unknown,
        };
        Dimension {
            pad,
            iota: operand.iota || own.iota,
            masked: false,
            origin: operand.origin.or(own.origin),
        }
    };
    State { splat: None, dims: vec![side(&a.dims[0], 0), side(&b.dims[1], 1)] }
}

/// Dimensions after a reshape: those that stay are matched from the left, groups that merge or split share what is known. Dimensions of
/// extent 1 come and go freely: dropping one is like a point index.
fn reshape(from: &[u32], to: &[u32], dims: &[Dimension]) -> Vec<Dimension> {
    let mut out = vec![Dimension::CLEAN; to.len()];
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        // Extents of 1 first, pairwise where both sides have one.
        match (from.get(i), to.get(j)) {
            (Some(1), Some(1)) => {
                out[j] = dims[i].clone();
                (i, j) = (i + 1, j + 1);
                continue;
            }
            (Some(1), _) => {
                i += 1;
                continue;
            }
            (_, Some(1)) => {
                j += 1;
                continue;
            }
            (Some(_), Some(_)) => {}
            (None, _) | (_, None) => break,
        }
        let (first_i, first_j) = (i, j);
        let (mut p, mut q) = (u64::from(from[i]), u64::from(to[j]));
        (i, j) = (i + 1, j + 1);
        while p != q {
            if p < q {
                let Some(e) = from.get(i) else { break };
                p *= u64::from(*e);
                i += 1;
            } else {
                let Some(e) = to.get(j) else { break };
                q *= u64::from(*e);
                j += 1;
            }
        }
        let group = &dims[first_i..i];
        let merged = Dimension {
            pad: group.iter().fold(Pad::No, |pad, d| join_pad(pad, d.pad)),
            iota: group.iter().any(|d| d.iota),
            masked: group.iter().any(|d| d.masked),
            origin: group.iter().find_map(|d| d.origin),
        };
        for (at, slot) in out[first_j..j].iter_mut().enumerate() {
            if to[first_j + at] > 1 {
                *slot = merged.clone();
            }
        }
        // The innermost index comes from the innermost operand axis alone where its extent divides that one's.
        let inner = &dims[i - 1];
        if inner.pad == Pad::No && from[i - 1].is_multiple_of(to[j - 1]) {
            out[j - 1] = Dimension { pad: Pad::No, ..merged };
        }
    }
    out
}

fn identity(op: Reduce, dtype: DType) -> u32 {
    match (op, dtype.kind()) {
        (Reduce::Sum | Reduce::Any, _) => 0,
        (Reduce::All, _) => 1,
        (Reduce::Prod, Kind::Float) => 1f32.to_bits(),
        (Reduce::Prod, Kind::Signed | Kind::Unsigned | Kind::Bool) => 1,
        (Reduce::Min, Kind::Float) => f32::INFINITY.to_bits(),
        (Reduce::Max, Kind::Float) => f32::NEG_INFINITY.to_bits(),
        (Reduce::Min, Kind::Signed) => i32::MAX as u32,
        (Reduce::Max, Kind::Signed) => i32::MIN as u32,
        (Reduce::Min, Kind::Unsigned | Kind::Bool) => u32::MAX,
        (Reduce::Max, Kind::Unsigned | Kind::Bool) => 0,
    }
}

/// A value as the language writes it.
fn text(dtype: DType, bits: u32) -> String {
    match dtype.kind() {
        Kind::Float => {
            let value = f32::from_bits(bits);
            if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
        }
        Kind::Signed => (bits as i32).to_string(),
        Kind::Unsigned => bits.to_string(),
        Kind::Bool => (bits != 0).to_string(),
    }
}
