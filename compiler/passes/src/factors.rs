//! What surrounds a product that fragments may make (`fragments`): of what its factors are, and what becomes of it.

use crate::lower::Lowering;
use crate::memory::mem_of;
use crate::packing::Packing;
use tvmc_ir::tile::{Element, Index, Inst, Kernel, Memory, Op, Param, Region, Stmt, TensorDecl, Value};
use tvmc_types::dtype::{DType, Kind};

impl Lowering<'_> {
    /// Whether each use of a product is, through element-wise operations, the value of a store to a plain tensor of this shape; if so, the loads of places that such a
    /// store then writes, and that nothing else uses: each lane may read its element where it writes it.
    pub(crate) fn finished_by_stores(&self, result: Value) -> Option<Vec<Value>> {
        let mut loads = Vec::new();
        let mut open = vec![result];
        let mut stores = 0;
        while let Some(value) = open.pop() {
            for user in users(self.kernel, value)? {
                match (&user.op, user.result) {
                    (Op::Store { memory: Memory::Param(param), indices }, _) => {
                        let (last, offsets) = user.args.split_last()?;
                        if *last != value || offsets.contains(&value) || !self.is_plain_target(*param) {
                            return None;
                        }
                        let slices = indices.iter().filter(|i| matches!(i, Index::Slice(_)));
                        if slices.count() != 2
                            || !indices.iter().rev().take(2).all(|i| matches!(i, Index::Slice(_)))
                        {
                            return None;
                        }
                        stores += 1;
                        self.loads_of(*last, user, &mut loads)?;
                    }
                    (
                        Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast,
                        Some(made),
                    ) => {
                        if self.plan.keep[made.index()]
                            || self.kernel.ty(made).shape != self.kernel.ty(value).shape
                        {
                            return None;
                        }
                        open.push(made);
                    }
                    _ => return None,
                }
            }
        }
        (stores == 1).then_some(loads)
    }

    fn is_plain_target(&self, param: Param) -> bool {
        let as_declared = matches!(self.buffers[param.index()], Some((_, Packing::AsDeclared)));
        match &self.kernel.params[param.index()] {
            TensorDecl::Tensor { element: Element::DType(dtype), .. } => {
                as_declared && mem_of(*dtype).is_some()
            }
            TensorDecl::Tensor { .. } | TensorDecl::Scalar { .. } => false,
        }
    }

    /// Loads, in what is stored, of the very place that the store writes. `None` where such a load has other readers, or another place is read of memory
    /// that may change.
    fn loads_of(&self, stored: Value, store: &Inst, loads: &mut Vec<Value>) -> Option<()> {
        let mut open = vec![stored];
        while let Some(value) = open.pop() {
            let Some(inst) = find(&self.kernel.body, value) else { continue };
            match &inst.op {
                Op::Unary(_)
                | Op::Binary(_)
                | Op::Fma
                | Op::Select
                | Op::Cast(_)
                | Op::Bitcast
                | Op::Broadcast => open.extend(&inst.args),
                Op::Load { memory, indices, padded: false } if self.plan.keep[value.index()] => {
                    let Op::Store { memory: to, indices: places } = &store.op else { return None };
                    let same = memory == to
                        && indices == places
                        && store.args[..store.args.len() - 1] == inst.args[..];
                    let alone = users(self.kernel, value)?.len() == 1;
                    if !(same && alone) {
                        return None;
                    }
                    loads.push(value);
                }
                // What is read or made before the store, wherever it is then kept.
                Op::Const(_)
                | Op::Dim(_)
                | Op::Scalar(_)
                | Op::BlockIndex(_)
                | Op::Iota
                | Op::View
                | Op::Relayout
                | Op::Reshape
                | Op::Permute(_)
                | Op::Reduce(..)
                | Op::Scan(..)
                | Op::Gather(_)
                | Op::Concat(_)
                | Op::Dot
                | Op::Load { .. }
                | Op::LoadField { .. }
                | Op::Atomic { .. }
                | Op::Field(_)
                | Op::Table(_)
                | Op::GroupIndex => {}
                Op::Store { .. }
                | Op::StoreGroups { .. }
                | Op::StoreHead { .. }
                | Op::Scatter { .. }
                | Op::CopyAsync { .. }
                | Op::Commit
                | Op::Wait(_)
                | Op::Assert(_)
                | Op::Print(_) => return None,
            }
        }
        Some(())
    }

    /// What a factor is made of, if its elements may be halves.
    pub(crate) fn half_factor(&self, factor: Value) -> Option<Factor> {
        let mut value = factor;
        let mut inst = find(&self.kernel.body, value)?;
        // Permutations on the way, the outermost first.
        let mut turned = Vec::new();
        while let Op::Permute(_) | Op::Relayout | Op::Cast(_) = &inst.op {
            if let Op::Permute(axes) = &inst.op {
                turned.push(axes);
            }
            value = inst.args[0];
            inst = find(&self.kernel.body, value)?;
        }
        let Op::Load { memory: memory @ Memory::Param(_), indices, padded: false } = &inst.op else {
            return None;
        };
        if !matches!(indices.last(), Some(Index::Slice(_))) {
            return None;
        }
        let (element, _) = self.kernel.element(*memory)?;
        let stored_as_half = element == Element::DType(DType::F16);
        match element {
            Element::Format(_) => {}
            Element::DType(dtype) if stored_as_half || is_half(dtype) => {}
            Element::DType(_) => return None,
        }
        let last = self.kernel.ty(value).shape.len() - 1;
        let inner = turned
            .iter()
            .rev()
            .try_fold(last, |inner, axes| axes.iter().position(|axis| *axis as usize == inner))?;
        Some(Factor {
            inner,
            granule: self.group_of(inst),
            interleaved: self.packing_of(inst) != Packing::AsDeclared,
            stored_as_half,
        })
    }
}

/// An operand of a product.
#[derive(Copy, Clone)]
pub(crate) struct Factor {
    /// The axis of the tile along which elements are neighbours in memory.
    pub inner: usize,
    /// Elements that are decoded together.
    pub granule: u32,
    /// Whether neighbouring rows are neighbours in memory.
    pub interleaved: bool,
    /// Whether memory holds halves.
    pub stored_as_half: bool,
}

/// Whether every number of a type is a half.
fn is_half(dtype: DType) -> bool {
    let exact = |code: u64| {
        let value = dtype.decode(code);
        !value.is_finite() || (value.abs() <= 65504.0 && (value * f64::from(1 << 24)).fract() == 0.0)
    };
    match dtype.kind() {
        Kind::Unsigned | Kind::Signed => dtype.bits() <= 8,
        Kind::Float => dtype.bits() <= 8 && (0..1 << dtype.bits()).all(exact),
        Kind::Bool => false,
    }
}

/// The operations that use a value, or `None` where a statement does.
fn users(kernel: &Kernel, value: Value) -> Option<Vec<&Inst>> {
    fn walk<'k>(region: &'k Region, value: Value, found: &mut Vec<&'k Inst>) -> Option<()> {
        for stmt in &region.stmts {
            let (regions, uses): (Vec<&Region>, Vec<Value>) = match stmt {
                Stmt::Inst(inst) => {
                    if inst.args.contains(&value) {
                        found.push(inst);
                    }
                    continue;
                }
                Stmt::For { from, to, carried, body, yields, .. } => {
                    let initials = carried.iter().map(|c| c.initial);
                    (vec![body], initials.chain([*from, *to]).chain(yields.iter().copied()).collect())
                }
                Stmt::Loop { carried, body, again, yields, .. } => {
                    let initials = carried.iter().map(|c| c.initial);
                    (vec![body], initials.chain([*again]).chain(yields.iter().copied()).collect())
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, .. } => {
                    let yields = then_yields.iter().chain(otherwise_yields).copied();
                    (vec![then, otherwise], yields.chain([*condition]).collect())
                }
            };
            if uses.contains(&value) {
                return None;
            }
            regions.into_iter().try_for_each(|region| walk(region, value, found))?;
        }
        Some(())
    }
    let mut found = Vec::new();
    walk(&kernel.body, value, &mut found)?;
    Some(found)
}

/// The operation that defines a value.
fn find(region: &Region, value: Value) -> Option<&Inst> {
    region.stmts.iter().find_map(|stmt| match stmt {
        Stmt::Inst(inst) => (inst.result == Some(value)).then_some(inst),
        Stmt::For { body, .. } | Stmt::Loop { body, .. } => find(body, value),
        Stmt::If { then, otherwise, .. } => find(then, value).or_else(|| find(otherwise, value)),
    })
}
