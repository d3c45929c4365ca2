//! What is known of scalar integers: ranges, multiples, and that a block's offset lies within its dimension. Masks that are always true follow from it.
//!
//! ```text
//! v0 = block_index 0       grid ceil_div(N, 16):  0 to 2^31 - 2
//! v1 = mul v0, 16          a multiple of 16, less than N
//! ```

use crate::lower::Lowering;
use tvmc_ir::host;
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Dim, Inst, Op, Value};
use tvmc_types::dtype::DType;

impl Lowering<'_> {
    /// What is known of the integer that an operation gives.
    pub fn facts_of(&self, inst: &Inst, result: Value) -> Facts {
        let ty = self.kernel.ty(result);
        if !ty.is_scalar() || ty.dtype != DType::I32 {
            return Facts::ANY;
        }
        let arg = |at: usize| self.facts[inst.args[at].index()];
        match &inst.op {
            Op::Const(bits) => Facts::constant(i64::from(*bits as i32)),
            Op::Dim(_) => Facts::range(0, i64::from(i32::MAX), 1),
            Op::BlockIndex(axis) => self.block_facts(*axis),
            Op::Binary(op) => {
                let mut facts = Facts::binary(*op, arg(0), arg(1));
                // Whole blocks of a dimension: block * c < D on a grid of ceil(D, c).
                if *op == tvmc_ir::tile::Binary::Mul {
                    facts.below = facts.below.or_else(|| self.scaled_block(inst));
                }
                facts
            }
            Op::Unary(_)
            | Op::Scalar(_)
            | Op::Iota
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
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
            | Op::Print(_) => Facts::ANY,
        }
    }

    fn block_facts(&self, axis: u8) -> Facts {
        let Some(extent) = self.kernel.grid.get(axis as usize) else { return Facts::constant(0) };
        match extent {
            host::Expr::Const(_) => {
                let hi = extent.as_int().unwrap_or(i64::from(i32::MAX)).clamp(1, i64::from(i32::MAX));
                Facts::range(0, hi - 1, 1)
            }
            host::Expr::Name(name) => {
                Facts { below: self.dim_named(name), ..Facts::range(0, i64::from(i32::MAX) - 1, 1) }
            }
            // At most the dimension itself.
            host::Expr::Binary(host::Binary::CeilDiv, name, by) if by.as_int().is_some_and(|by| by >= 1) => {
                let below = match &**name {
                    host::Expr::Name(name) => self.dim_named(name),
                    host::Expr::Const(_) | host::Expr::Unary(..) | host::Expr::Binary(..) => None,
                };
                Facts { below, ..Facts::range(0, i64::from(i32::MAX) - 1, 1) }
            }
            host::Expr::Unary(..) | host::Expr::Binary(..) => Facts::range(0, i64::from(i32::MAX) - 1, 1),
        }
    }

    /// The dimension D where this is `block_index a * c` and the grid's axis `a` is `ceil(D, c)`.
    fn scaled_block(&self, inst: &Inst) -> Option<Dim> {
        let block = self.defs[inst.args[0].index()]?;
        let Op::BlockIndex(axis) = block.op else { return None };
        let factor = self.facts[inst.args[1].index()].as_constant()?;
        match self.kernel.grid.get(axis as usize)? {
            host::Expr::Binary(host::Binary::CeilDiv, name, c) if c.as_int() == Some(factor) => match &**name
            {
                host::Expr::Name(name) => self.dim_named(name),
                host::Expr::Const(_) | host::Expr::Unary(..) | host::Expr::Binary(..) => None,
            },
            host::Expr::Const(_) | host::Expr::Name(_) | host::Expr::Unary(..) | host::Expr::Binary(..) => {
                None
            }
        }
    }
}
