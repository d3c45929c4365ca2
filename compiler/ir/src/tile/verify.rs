//! The verifier of tile IR. A [`Verified`] kernel is well-formed:
//!
//! 1. **Types**: extents are at least 1, ranks and element counts within the limits.
//! 2. **Definition**: every value is defined once, before its uses, in a region that is open where it is used.
//! 3. **Operands**: each operation has the operands, dtypes and shapes that `op` states; arithmetic takes f32, i32, u32 and bool.
//! 4. **Memory**: loads and stores name a tensor, one i32 offset per axis, slices that make up the tile's shape, the element's dtype;
//!    a tensor declared `read` is not stored to.
//! 5. **Regions**: loop-carried values, yields and results agree in number and type; bounds are i32, conditions bool, steps at least 1.
//! 6. **Header**: one to three grid axes; names in grid, shapes and assumptions are dimensions or scalar parameters.
//! 7. **Messages**: asserts and prints name a message.

use super::kernel::{Access, Carried, Element, Index, Inst, Kernel, Memory, Region, Stmt, TensorDecl, Value};
use super::op::{Binary, CastRule, Op, Reduce, Unary};
use super::types::{MAX_ELEMENTS, MAX_RANK, TileType};
use crate::host::Expr;
use std::fmt;
use tvmc_types::dtype::{DType, Kind};

/// A kernel that passed the verifier.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified(Kernel);

impl std::ops::Deref for Verified {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.0
    }
}

impl Verified {
    /// The kernel, to be changed and verified again.
    pub fn into_inner(self) -> Kernel {
        self.0
    }
}

/// A rule of the module head.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// Rule 1.
    Types,
    /// Rule 2.
    Definition,
    /// Rule 3.
    Operands,
    /// Rule 4.
    Memory,
    /// Rule 5.
    Regions,
    /// Rule 6.
    Header,
    /// Rule 7.
    Messages,
}

/// A broken rule and its place: the value defined there, or the kind of statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// Which rule.
    pub rule: Rule,
    /// Where.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// Most nested regions.
const MAX_DEPTH: usize = 256;

/// Checks every rule; gives all violations.
pub fn verify(kernel: Kernel) -> Result<Verified, Vec<VerifyError>> {
    let mut checker = Checker {
        kernel: &kernel,
        defined: vec![false; kernel.values.len()],
        open: Vec::new(),
        errors: Vec::new(),
    };
    checker.header();
    checker.region(&kernel.body, 0);
    let errors = checker.errors;
    if errors.is_empty() { Ok(Verified(kernel)) } else { Err(errors) }
}

struct Checker<'k> {
    kernel: &'k Kernel,
    defined: Vec<bool>,
    /// Values in scope, innermost last.
    open: Vec<Value>,
    errors: Vec<VerifyError>,
}

impl<'k> Checker<'k> {
    fn fail(&mut self, rule: Rule, at: impl fmt::Display, message: impl Into<String>) {
        self.errors.push(VerifyError { rule, at: at.to_string(), message: message.into() });
    }

    fn ty(&self, value: Value) -> Option<&'k TileType> {
        self.kernel.values.get(value.index())
    }

    fn header(&mut self) {
        for (at, ty) in self.kernel.values.iter().enumerate() {
            let fits = ty.shape.len() <= MAX_RANK
                && ty.shape.iter().all(|e| *e >= 1)
                && ty
                    .shape
                    .iter()
                    .try_fold(1u64, |p, e| p.checked_mul(u64::from(*e)))
                    .is_some_and(|p| p <= MAX_ELEMENTS);
            if !fits {
                self.fail(Rule::Types, Value(at as u32), format!("type {ty} is out of the limits"));
            }
        }
        if !(1..=3).contains(&self.kernel.grid.len()) {
            self.fail(Rule::Header, "grid", "a kernel has one to three grid axes");
        }
        let kernel = self.kernel;
        let mut exprs: Vec<&Expr> =
            kernel.grid.iter().chain(kernel.assumptions.iter().map(|a| &a.0)).collect();
        for param in &kernel.params {
            if let TensorDecl::Tensor { shape, .. } = param {
                exprs.extend(shape);
            }
        }
        for expr in exprs {
            let mut unknown = Vec::new();
            expr.names(&mut |name| {
                let dim = kernel.dims.iter().any(|d| d.name == name);
                let scalar = kernel
                    .params
                    .iter()
                    .any(|p| matches!(p, TensorDecl::Scalar { name: n, .. } if n == name));
                if !dim && !scalar {
                    unknown.push(name.to_owned());
                }
            });
            for name in unknown {
                self.fail(Rule::Header, expr, format!("`{name}` is neither a dimension nor a number"));
            }
        }
    }

    fn define(&mut self, value: Value) {
        match self.defined.get_mut(value.index()) {
            Some(known) if !*known => {
                *known = true;
                self.open.push(value);
            }
            Some(_) => self.fail(Rule::Definition, value, "is defined twice"),
            None => self.fail(Rule::Definition, value, "has no type"),
        }
    }

    fn used(&mut self, value: Value, at: &str) {
        if !self.open.contains(&value) {
            self.fail(Rule::Definition, at, format!("{value} is not defined here"));
        }
    }

    fn scalar(&mut self, value: Value, dtype: DType, at: &str, what: &str) {
        self.used(value, at);
        if self.ty(value).is_some_and(|ty| *ty != TileType::scalar(dtype)) {
            self.fail(Rule::Regions, at, format!("{what} {value} must be a scalar {dtype}"));
        }
    }

    fn same(&mut self, a: &[Value], b: &[Value], at: &str, what: &str) {
        let types =
            |list: &[Value]| list.iter().map(|v| self.kernel.values.get(v.index())).collect::<Vec<_>>();
        if types(a) != types(b) {
            self.fail(Rule::Regions, at, format!("{what} differ in number or type"));
        }
    }

    fn scope(
        &mut self,
        params: &[Value],
        body: &Region,
        yields: &[Value],
        again: Option<Value>,
        depth: usize,
        at: &str,
    ) {
        let mark = self.open.len();
        params.iter().for_each(|p| self.define(*p));
        self.region(body, depth + 1);
        yields.iter().for_each(|y| self.used(*y, at));
        if let Some(again) = again {
            self.scalar(again, DType::BOOL, at, "the condition");
        }
        self.open.truncate(mark);
    }

    fn region(&mut self, region: &Region, depth: usize) {
        if depth > MAX_DEPTH {
            self.fail(Rule::Regions, "a region", format!("more than {MAX_DEPTH} regions are nested"));
            return;
        }
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => self.inst(inst),
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    self.scalar(*from, DType::I32, "for", "the first value");
                    self.scalar(*to, DType::I32, "for", "the bound");
                    if *step == 0 {
                        self.fail(Rule::Regions, "for", "the step is 0");
                    }
                    if self.ty(*counter).is_some_and(|ty| *ty != TileType::scalar(DType::I32)) {
                        self.fail(Rule::Regions, "for", "the counter must be a scalar i32");
                    }
                    let (params, initials) = self.carried(carried, "for");
                    self.same(&initials, yields, "for", "initial values and yields");
                    self.same(yields, results, "for", "yields and results");
                    let all: Vec<Value> = std::iter::once(*counter).chain(params).collect();
                    self.scope(&all, body, yields, None, depth, "for");
                    results.iter().for_each(|r| self.define(*r));
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    let (params, initials) = self.carried(carried, "loop");
                    self.same(&initials, yields, "loop", "initial values and yields");
                    self.same(yields, results, "loop", "yields and results");
                    self.scope(&params, body, yields, Some(*again), depth, "loop");
                    results.iter().for_each(|r| self.define(*r));
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.scalar(*condition, DType::BOOL, "if", "the condition");
                    self.same(then_yields, results, "if", "yields and results");
                    self.same(otherwise_yields, results, "if", "yields and results");
                    self.scope(&[], then, then_yields, None, depth, "if");
                    self.scope(&[], otherwise, otherwise_yields, None, depth, "else");
                    results.iter().for_each(|r| self.define(*r));
                }
            }
        }
    }

    fn carried(&mut self, carried: &[Carried], at: &str) -> (Vec<Value>, Vec<Value>) {
        let params: Vec<Value> = carried.iter().map(|c| c.param).collect();
        let initials: Vec<Value> = carried.iter().map(|c| c.initial).collect();
        initials.iter().for_each(|i| self.used(*i, at));
        self.same(&params, &initials, at, "carried values and initial values");
        (params, initials)
    }

    fn inst(&mut self, inst: &Inst) {
        let at = inst.result.map_or_else(|| "an effect".to_owned(), |r| r.to_string());
        inst.args.iter().for_each(|a| self.used(*a, &at));
        let args: Option<Vec<&TileType>> = inst.args.iter().map(|a| self.ty(*a)).collect();
        let result = inst.result.map(|r| self.ty(r));
        if let (Some(args), Some(Some(result))) = (&args, result) {
            self.value(inst, args, result, &at);
        } else if let (Some(args), None) = (&args, result) {
            self.effect(inst, args, &at);
        }
        if let Some(result) = inst.result {
            self.define(result);
        }
    }

    fn value(&mut self, inst: &Inst, args: &[&TileType], result: &TileType, at: &str) {
        let scalar = |dtype| *result == TileType::scalar(dtype);
        let shapes = args.iter().all(|a| a.shape == result.shape);
        let computing = |d: DType| [DType::F32, DType::I32, DType::U32, DType::BOOL].contains(&d);
        let ok = match (&inst.op, args) {
            (Op::Const(_), []) => result.is_scalar() && computing(result.dtype),
            (Op::Dim(dim), []) => scalar(DType::I32) && dim.index() < self.kernel.dims.len(),
            (Op::Scalar(param), []) => matches!(self.kernel.params.get(param.index()),
                Some(TensorDecl::Scalar { dtype, .. }) if scalar(*dtype)),
            (Op::BlockIndex(axis), []) => scalar(DType::I32) && *axis < 3,
            (Op::Iota, []) => result.dtype == DType::I32 && result.shape.len() == 1,
            (Op::Unary(op), [a]) => *a == result && unary_takes(*op, a.dtype),
            (Op::Binary(op), [a, b]) => {
                let dtype = if op.is_comparison() { DType::BOOL } else { a.dtype };
                a == b && shapes && result.dtype == dtype && binary_takes(*op, a.dtype)
            }
            (Op::Fma, [_, _, _]) => args.iter().all(|a| *a == result) && result.dtype == DType::F32,
            (Op::Select, [c, a, b]) => shapes && c.dtype == DType::BOOL && *a == result && *b == result,
            (Op::Cast(rule), [a]) => shapes && (*rule != CastRule::Exact || exact(a.dtype, result.dtype)),
            (Op::Bitcast, [a]) => shapes && a.dtype.bits() == 32 && result.dtype.bits() == 32,
            (Op::Broadcast, [a]) => a.dtype == result.dtype && spreads(&a.shape, &result.shape),
            (Op::Reshape, [a]) => a.dtype == result.dtype && a.elements() == result.elements(),
            (Op::Permute(order), [a]) => {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                let permutation = sorted.iter().enumerate().all(|(i, x)| i == *x as usize);
                permutation
                    && order.len() == a.shape.len()
                    && a.dtype == result.dtype
                    && order.iter().map(|x| a.shape[*x as usize]).eq(result.shape.iter().copied())
            }
            (Op::Reduce(reduce, axis), [a]) => {
                let mut shape = a.shape.clone();
                let inside = (*axis as usize) < shape.len();
                if inside {
                    shape.remove(*axis as usize);
                }
                inside && shape == result.shape && a.dtype == result.dtype && reduce_takes(*reduce, a.dtype)
            }
            (Op::Dot, [a, b, c]) => {
                let ([m, k], [l, n]) = (a.shape.as_slice(), b.shape.as_slice()) else {
                    return self.fail(Rule::Operands, at, "dot takes tiles of two dimensions");
                };
                let dtype = a.dtype == DType::F32 || a.dtype == DType::I32;
                k == l
                    && dtype
                    && a.dtype == b.dtype
                    && *c == result
                    && result.dtype == a.dtype
                    && result.shape == [*m, *n]
            }
            (Op::Load { memory, indices, padded }, _) => {
                let pad = usize::from(*padded);
                if *padded && args.last().is_none_or(|p| **p != TileType::scalar(result.dtype)) {
                    self.fail(Rule::Memory, at, "the padding value must be a scalar of the element's dtype");
                }
                let count = args.len().saturating_sub(pad);
                return self.access(*memory, indices, &args[..count], result, at);
            }
            (Op::Field(_) | Op::Table(_) | Op::GroupIndex, _) => false,
            (_, _) => false,
        };
        if !ok {
            self.fail(
                Rule::Operands,
                at,
                format!("{:?} does not take these operands or give {result}", inst.op),
            );
        }
    }

    fn effect(&mut self, inst: &Inst, args: &[&TileType], at: &str) {
        match (&inst.op, args) {
            (Op::Store { memory, indices }, [offsets @ .., value]) => {
                if let Memory::Param(param) = memory
                    && let Some(TensorDecl::Tensor { access: Access::Read, name, .. }) =
                        self.kernel.params.get(param.index())
                {
                    self.fail(Rule::Memory, at, format!("`{name}` is only read"));
                }
                self.access(*memory, indices, offsets, value, at);
            }
            (Op::Assert(message), [condition]) => {
                if **condition != TileType::scalar(DType::BOOL) {
                    self.fail(Rule::Operands, at, "assert takes a scalar bool");
                }
                self.message(*message, at);
            }
            (Op::Print(message), _) => self.message(*message, at),
            (op, _) => self.fail(Rule::Operands, at, format!("{op:?} is no effect with these operands")),
        }
    }

    fn message(&mut self, message: u32, at: &str) {
        if message as usize >= self.kernel.messages.len() {
            self.fail(Rule::Messages, at, format!("there is no message {message}"));
        }
    }

    fn access(
        &mut self,
        memory: Memory,
        indices: &[Index],
        offsets: &[&TileType],
        tile: &TileType,
        at: &str,
    ) {
        let Some((element, rank)) = self.kernel.element(memory) else {
            return self.fail(Rule::Memory, at, format!("{memory:?} is no tensor"));
        };
        if indices.len() != rank || offsets.len() != rank {
            return self.fail(Rule::Memory, at, format!("{} indices for {rank} dimensions", indices.len()));
        }
        if offsets.iter().any(|o| **o != TileType::scalar(DType::I32)) {
            self.fail(Rule::Memory, at, "offsets must be scalar i32");
        }
        let shape: Vec<u32> =
            indices.iter().filter_map(|i| if let Index::Slice(n) = i { Some(*n) } else { None }).collect();
        if shape != tile.shape {
            self.fail(Rule::Memory, at, format!("slices of {shape:?} for a tile of {:?}", tile.shape));
        }
        let dtype = match element {
            Element::DType(dtype) => Some(dtype),
            Element::Format(id) => self.kernel.formats.get(id.index()).map(|_| DType::F32),
        };
        if dtype != Some(tile.dtype) {
            self.fail(Rule::Memory, at, format!("a tile of {} for elements of another type", tile.dtype));
        }
    }
}

fn unary_takes(op: Unary, dtype: DType) -> bool {
    let kind = dtype.kind();
    match op {
        Unary::Neg | Unary::Abs => dtype == DType::F32 || dtype == DType::I32 || dtype == DType::U32,
        Unary::Not => kind == Kind::Bool || dtype == DType::I32 || dtype == DType::U32,
        Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => dtype == DType::F32,
        Unary::PopCount => dtype == DType::I32 || dtype == DType::U32,
    }
}

fn binary_takes(op: Binary, dtype: DType) -> bool {
    let integer = dtype == DType::I32 || dtype == DType::U32;
    let number = integer || dtype == DType::F32;
    match op {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Min | Binary::Max => number,
        Binary::Rem | Binary::Shl | Binary::Shr => integer,
        Binary::And | Binary::Or | Binary::Xor => integer || dtype == DType::BOOL,
        Binary::Eq | Binary::Ne => number || dtype == DType::BOOL,
        Binary::Lt | Binary::Le => number,
    }
}

fn reduce_takes(reduce: Reduce, dtype: DType) -> bool {
    match reduce {
        Reduce::Sum | Reduce::Min | Reduce::Max => [DType::F32, DType::I32, DType::U32].contains(&dtype),
        Reduce::Any | Reduce::All => dtype == DType::BOOL,
    }
}

/// Whether every value of one dtype is a value of another.
fn exact(from: DType, to: DType) -> bool {
    match (from.kind(), to.kind()) {
        (Kind::Bool, _) => true,
        (Kind::Float, Kind::Float) => to.bits() >= from.bits(),
        // An f32 holds the integers of 24 bits.
        (Kind::Signed | Kind::Unsigned, Kind::Float) => to == DType::F32 && from.bits() <= 24,
        (Kind::Unsigned, Kind::Signed) => from.bits() < to.bits(),
        (Kind::Unsigned, Kind::Unsigned) | (Kind::Signed, Kind::Signed) => from.bits() <= to.bits(),
        (Kind::Signed, Kind::Unsigned) | (Kind::Float, Kind::Signed | Kind::Unsigned | Kind::Bool) => false,
        (Kind::Signed | Kind::Unsigned, Kind::Bool) => false,
    }
}

fn spreads(from: &[u32], to: &[u32]) -> bool {
    to.len()
        .checked_sub(from.len())
        .is_some_and(|skip| from.iter().zip(&to[skip..]).all(|(a, b)| a == b || *a == 1))
}
