//! Stores to computed places, and atomic updates: one element after the other, in row-major order, blocks in the order of the launch.
//!
//! ```text
//! scatter t[i, j], v     t[i[e], j[e]] = v[e]                  for each place e in order: the last one stays
//! atomic.add t[i], v     result[e] = t[i[e]]; t[i[e]] += v[e]
//! ```
//!
//! An element outside is skipped, and the result there is 0. Compiled code may take elements and blocks in any order in atomic updates, so
//! a kernel whose outcome depends on it has several right ones, of which this is one; the verifier allows no other access to such a tensor.
//! Two blocks that scatter to one element are a conflict, as with any store.

use super::{Machine, Tile, Trap, scalar_op, tensor_of};
use tvmc_ir::tile::{Binary, Inst, Memory, Op, Update};
use tvmc_types::dtype::DType;

impl Machine<'_, '_, '_> {
    /// The indices of a place, from a tile for each axis.
    fn index_at(&self, inst: &Inst, axes: usize, place: usize) -> Vec<i64> {
        let indices = &inst.args[..axes];
        indices.iter().map(|index| i64::from(self.values[index.index()].bits[place] as i32)).collect()
    }

    pub(super) fn scatter(&mut self, inst: &Inst, memory: Memory) -> Result<(), Trap> {
        let Some((value, indices)) = inst.args.split_last() else {
            return Err(Trap::Unsupported("a scatter without a value".into()));
        };
        let (value, axes, block) = (value.index(), indices.len(), self.linear);
        let elements = self.values[value].bits.len();
        self.spend(elements as u64)?;
        for place in 0..elements {
            let index = self.index_at(inst, axes, place);
            let bits = self.values[value].bits[place];
            match memory {
                Memory::Param(param) => tensor_of(&mut self.tensors, param)?.store(&index, bits, block)?,
                Memory::Shared(shared) => self.shared[shared.index()].store(&index, bits)?,
            }
        }
        Ok(())
    }

    pub(super) fn atomic(&mut self, inst: &Inst, update: Update, memory: Memory) -> Result<Tile, Trap> {
        let axes = inst.args.len() - update.operands();
        let (first, last) = (inst.args[axes], inst.args[inst.args.len() - 1]);
        let dtype = self.kernel.ty(first).dtype;
        let mut old = Vec::new();
        for place in 0..self.values[first.index()].bits.len() {
            let index = self.index_at(inst, axes, place);
            let (a, b) = (self.values[first.index()].bits[place], self.values[last.index()].bits[place]);
            let new = |old| updated(update, dtype, old, a, b);
            old.push(match memory {
                Memory::Param(param) => tensor_of(&mut self.tensors, param)?.update(&index, new)?,
                Memory::Shared(shared) => {
                    let tensor = &mut self.shared[shared.index()];
                    match tensor.load(&index)? {
                        Some(old) => {
                            tensor.store(&index, new(old)?)?;
                            old
                        }
                        None => 0,
                    }
                }
            });
        }
        Ok(Tile { bits: old })
    }
}

/// What becomes of an element.
fn updated(update: Update, dtype: DType, old: u32, a: u32, b: u32) -> Result<u32, Trap> {
    let with = |op| scalar_op(&Op::Binary(op), dtype, &[(dtype, old), (dtype, a)]);
    match update {
        Update::Add => with(Binary::Add),
        Update::Min => with(Binary::Min),
        Update::Max => with(Binary::Max),
        Update::And => with(Binary::And),
        Update::Or => with(Binary::Or),
        Update::Xor => with(Binary::Xor),
        Update::Exchange => Ok(a),
        Update::CompareExchange => Ok(if old == a { b } else { old }),
    }
}
