//! Decides, before any code is emitted, which tiles are kept and which stay lazy.
//!
//! A tile is **kept** when evaluating it again would cost something and could happen: it is used more than once, or in a
//! deeper loop than the one that defines it, or broadcast along a new axis; or when its value could change: it is a load from
//! memory that the kernel also writes. Loads from read-only memory, constants, `iota`, broadcasts and changes of shape cost nothing.
//! A chain of lazy tiles has at most [`MAX_CHAIN`] links, then one is kept: whoever follows operands as far as they are lazy, as evaluation
//! does, needs a stack of that depth, whatever a kernel's author wrote.
//!
//! It also finds accumulators: a `dot` whose result is the next value of a loop variable, and whose `c` operand is the only
//! reader of that variable, may work in place.

use std::collections::{HashMap, HashSet};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{Element, Inst, Kernel, Memory, Op, Region, Stmt, TensorDecl, Value};

/// The most operations on the way from a lazy tile to what it is made of.
pub const MAX_CHAIN: u32 = 256;

/// The decisions.
pub struct Plan {
    /// By value: must it be kept?
    pub keep: Vec<bool>,
    /// Cost of one evaluation of a lazy value, in arithmetic operations.
    pub cost: Vec<u32>,
    /// Length of the longest chain of lazy values that ends in a value, itself included; 0 for one that is kept.
    chain: Vec<u32>,
    /// `dot` result to the loop variable it accumulates into (the carried parameter).
    pub in_place: HashMap<Value, Value>,
    /// Loads of block-shared tensors that nothing writes while they are used: read where they lie.
    pub current: HashSet<Value>,
}

/// A use of a value: how deep, and whether it is element-wise with unchanged coordinates.
#[derive(Clone, Default)]
struct Uses {
    count: u32,
    deepest: u32,
    /// The users' results, for following chains.
    users: Vec<Value>,
    /// Used by a statement or an operation without a result.
    escapes: bool,
}

struct Analysis<'k> {
    kernel: &'k Kernel,
    uses: Vec<Uses>,
    depth: Vec<u32>,
    defs: Vec<Option<&'k Inst>>,
    order: Vec<Value>,
}

/// Plans a kernel.
pub fn plan(kernel: &Kernel) -> Plan {
    let n = kernel.values.len();
    let mut analysis = Analysis {
        kernel,
        uses: vec![Uses::default(); n],
        depth: vec![0; n],
        defs: vec![None; n],
        order: Vec::new(),
    };
    analysis.region(&kernel.body, 0);
    let mut plan = Plan {
        keep: vec![false; n],
        cost: vec![0; n],
        chain: vec![0; n],
        in_place: HashMap::new(),
        current: HashSet::new(),
    };
    for value in analysis.order.clone() {
        analysis.decide(value, &mut plan);
    }
    analysis.accumulators(&kernel.body, &mut plan);
    plan
}

impl<'k> Analysis<'k> {
    fn region(&mut self, region: &'k Region, depth: u32) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    for arg in &inst.args {
                        self.used(*arg, depth, inst.result);
                    }
                    if let Some(result) = inst.result {
                        self.depth[result.index()] = depth;
                        self.defs[result.index()] = Some(inst);
                        self.order.push(result);
                    }
                }
                Stmt::For { from, to, carried, body, yields, .. } => {
                    self.used(*from, depth, None);
                    self.used(*to, depth, None);
                    self.carried(carried, depth);
                    self.region(body, depth + 1);
                    yields.iter().for_each(|y| self.used(*y, depth + 1, None));
                }
                Stmt::Loop { carried, body, again, yields, .. } => {
                    self.carried(carried, depth);
                    self.region(body, depth + 1);
                    self.used(*again, depth + 1, None);
                    yields.iter().for_each(|y| self.used(*y, depth + 1, None));
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, .. } => {
                    self.used(*condition, depth, None);
                    self.region(then, depth);
                    self.region(otherwise, depth);
                    then_yields.iter().chain(otherwise_yields).for_each(|y| self.used(*y, depth, None));
                }
            }
        }
    }

    fn carried(&mut self, carried: &[tvmc_ir::tile::Carried], depth: u32) {
        for c in carried {
            self.used(c.initial, depth, None);
            self.depth[c.param.index()] = depth + 1;
        }
    }

    fn used(&mut self, value: Value, depth: u32, by: Option<Value>) {
        let uses = &mut self.uses[value.index()];
        uses.count += 1;
        uses.deepest = uses.deepest.max(depth);
        match by {
            Some(user) => uses.users.push(user),
            None => uses.escapes = true,
        }
    }

    /// Operands come before their users in `order`, so costs are known bottom-up.
    fn decide(&self, value: Value, plan: &mut Plan) {
        let Some(inst) = self.defs[value.index()] else { return };
        let at = value.index();
        if self.kernel.ty(value).is_scalar() {
            return;
        }
        let operands: u32 = inst
            .args
            .iter()
            .filter(|a| !plan.keep[a.index()])
            .fold(0, |sum, a| sum.saturating_add(plan.cost[a.index()]));
        let cost = match &inst.op {
            Op::Const(_) | Op::Iota | Op::Permute(_) | Op::Reshape | Op::Relayout => operands,
            // Its operand comes from scratch; each element takes several loads and shifts.
            Op::View => 8,
            Op::Broadcast => {
                // Each element of an expensive operand would be computed once per element it is spread to.
                let spread = self.kernel.ty(value).elements() > self.kernel.ty(inst.args[0]).elements();
                let operand = inst.args[0];
                if spread && plan.cost[operand.index()] > 2 && !self.kernel.ty(operand).is_scalar() {
                    plan.keep[operand.index()] = true;
                    plan.cost[operand.index()] = 0;
                    0
                } else {
                    operands
                }
            }
            Op::Cast(_) | Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Bitcast => operands + 1,
            // A load, and a choice for indices outside.
            Op::Table(_) => operands.saturating_add(3),
            Op::Load { memory, .. } => {
                if self.written(*memory) {
                    plan.keep[at] = true;
                    0
                } else {
                    self.decode_cost(*memory)
                }
            }
            Op::LoadField { tensor, .. } => {
                if self.written(Memory::Param(*tensor)) {
                    plan.keep[at] = true;
                    0
                } else {
                    self.decode_cost(Memory::Param(*tensor))
                }
            }
            // Its operand comes from scratch.
            Op::Gather(_) => operands.saturating_add(4),
            Op::Reduce(..) | Op::Scan(..) | Op::Concat(_) | Op::Dot => 0,
            Op::Dim(_) | Op::Scalar(_) | Op::BlockIndex(_) | Op::Field(_) | Op::GroupIndex => 0,
            Op::Store { .. } | Op::StoreGroups { .. } | Op::Assert(_) | Op::Print(_) => 0,
            Op::StoreHead { .. } | Op::Scatter { .. } | Op::CopyAsync { .. } | Op::Commit | Op::Wait(_) => 0,
            Op::Atomic { .. } => {
                plan.keep[at] = self.uses[at].count > 0;
                0
            }
        };
        let uses = &self.uses[at];
        if cost > 0 && (uses.count > 1 || uses.deepest > self.depth[at]) {
            plan.keep[at] = true;
        }
        // An operand may have become a kept one after its own turn.
        let links = |a: &Value| if plan.keep[a.index()] { 0 } else { plan.chain[a.index()] };
        let chain = 1 + inst.args.iter().map(links).max().unwrap_or(0);
        plan.keep[at] |= chain >= MAX_CHAIN;
        plan.cost[at] = if plan.keep[at] { 0 } else { cost };
        plan.chain[at] = if plan.keep[at] { 0 } else { chain };
    }

    /// Whether the kernel may write this memory.
    fn written(&self, memory: Memory) -> bool {
        match memory {
            Memory::Shared(_) => true,
            Memory::Param(param) => match &self.kernel.params[param.index()] {
                TensorDecl::Tensor { access, .. } => *access != Access::Read,
                TensorDecl::Scalar { .. } => false,
            },
        }
    }

    fn decode_cost(&self, memory: Memory) -> u32 {
        match self.kernel.element(memory) {
            Some((Element::Format(_), _)) => 3,
            Some((Element::DType(dtype), _)) if dtype.bits() < 16 => 2,
            Some((Element::DType(_), _)) | None => 0,
        }
    }

    fn accumulators(&self, region: &'k Region, plan: &mut Plan) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(_) => {}
                Stmt::For { carried, body, yields, .. } | Stmt::Loop { carried, body, yields, .. } => {
                    for (c, y) in carried.iter().zip(yields) {
                        let direct = body.stmts.iter().any(
                            |s| matches!(s, Stmt::Inst(Inst { op: Op::Dot, result: Some(r), .. }) if r == y),
                        );
                        if direct && self.flows_only_into(c.param, *y, plan) {
                            plan.in_place.insert(*y, c.param);
                        }
                    }
                    self.accumulators(body, plan);
                }
                Stmt::If { then, otherwise, .. } => {
                    self.accumulators(then, plan);
                    self.accumulators(otherwise, plan);
                }
            }
        }
    }

    /// Whether every use of `value` ends, through element-wise operations of the same shape, in the `c` operand of `dot`.
    fn flows_only_into(&self, value: Value, dot: Value, plan: &Plan) -> bool {
        let mut at = value;
        loop {
            let uses = &self.uses[at.index()];
            let [user] = uses.users.as_slice() else { return false };
            if uses.escapes {
                return false;
            }
            let Some(inst) = self.defs[user.index()] else { return false };
            if *user == dot {
                return inst.args[2] == at && inst.args[0] != at && inst.args[1] != at;
            }
            let elementwise = match inst.op {
                Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select => true,
                Op::Cast(_) | Op::Bitcast => true,
                Op::Const(_)
                | Op::Dim(_)
                | Op::Scalar(_)
                | Op::BlockIndex(_)
                | Op::Iota
                | Op::View
                | Op::Relayout
                | Op::Broadcast
                | Op::Reshape
                | Op::Permute(_)
                | Op::Reduce(..)
                | Op::Scan(..)
                | Op::Gather(_)
                | Op::Concat(_)
                | Op::Dot
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
                | Op::Print(_) => false,
            };
            if !elementwise || plan.keep[user.index()] || self.depth[user.index()] != self.depth[dot.index()]
            {
                return false;
            }
            at = *user;
        }
    }
}
