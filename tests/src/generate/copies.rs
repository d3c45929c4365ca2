//! Copies to block-shared tensors that are waited for later.
//!
//! Between a copy and its `wait` the tensor is *busy*: nothing else is drawn that reads or writes it. Tensors come to rest group by group, in the order of their groups:
//!
//! ```text
//! copy_async s0, ..  commit  copy_async s1, ..  commit     both busy
//! (statements)  wait 1                                     s0 may be used
//! (statements)  wait 0                                     and s1
//! ```
//!
//! Statements between may hold copies of their own: their groups are younger, so a `wait` for all but n of the latest waits for no fewer of the older ones.

use super::kernel::Maker;
use tvmc_ir::tile::{Op, Shared};

/// Most copies under way at a time.
const MAX_COPIES: usize = 3;

impl Maker<'_> {
    /// Copies to block-shared tensors, other statements, and waits.
    pub fn copies(&mut self) {
        if self.at_rest().is_empty() {
            return self.new_shared();
        }
        let mut groups: Vec<Vec<Shared>> = vec![Vec::new()];
        for _ in 0..1 + self.tape.below(MAX_COPIES) {
            let known = self.at_rest();
            if known.is_empty() {
                break;
            }
            let shared = self.tape.pick(&known);
            let ty = self.b.kernel.shared[shared.index()].ty.clone();
            let (indices, shape) = self.part_of(&ty);
            let args = self.put(&indices, ty.dtype, &shape);
            self.b.effect(Op::CopyAsync { shared, indices }, &args);
            self.busy.push(shared);
            if let Some(group) = groups.last_mut() {
                group.push(shared);
            }
            if self.tape.one_in(2) {
                self.b.effect(Op::Commit, &[]);
                groups.push(Vec::new());
            }
        }
        self.b.effect(Op::Commit, &[]);
        for (at, group) in groups.iter().enumerate() {
            let budget = self.tape.below(3);
            self.statements(budget);
            let latest = groups.len() - 1 - at;
            if latest > 0 && self.tape.one_in(4) {
                // Waited for with the next group.
                continue;
            }
            self.b.effect(Op::Wait(latest as u32), &[]);
            let arrived: Vec<Shared> = groups[..=at].concat();
            debug_assert!(group.iter().all(|shared| arrived.contains(shared)));
            self.busy.retain(|shared| !arrived.contains(shared));
        }
    }
}
