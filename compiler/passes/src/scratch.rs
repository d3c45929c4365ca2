//! Block scratch used twice: arenas that are never needed at the same time become one.
//!
//! **What it maps.** A lowered function to one that computes the same with fewer and smaller arenas. Every statement has a number, in program order;
//! an arena is needed from its first access to its last. What a loop writes before it reads it needs within one turn only; otherwise, and always for
//! what is accessed outside of the loop too, it is needed throughout the loop. Block-shared tensors, which a program may fill in one turn and read in
//! the next, are needed throughout the outermost loop that accesses them.
//!
//! ```text
//!  1  store a0        a0 needed 1 to 3, a1 2 to 6, a2 5 to 6       a0 and a2 are one arena, of the larger size,
//!  2  store a1                                                      and a barrier comes before 5
//!  3  load a0
//!  5  store a2
//!  6  load a2, load a1
//! ```
//!
//! **Invariants.** Two arenas become one only if their times do not overlap. Before an arena that shares its bytes is first accessed in its time there
//! is a barrier that follows the last access of the one before it on every path, the way round a loop included: other lanes may still be reading.
//!
//! Arenas of halves (`fragment.stage`) share with such alone.
//!
//! Greedy, in the order of the first access: each takes, of the arenas that are free again, the smallest that is large enough, else the largest.

use std::collections::HashMap;
use tvmc_ir::lane::{Arena, ArenaDecl, FragmentOp, Function, Inst, Op, Place, Region, Stmt};

/// Numbers of statements, both included.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Time {
    first: u32,
    last: u32,
    /// Whether halves are accessed.
    halves: bool,
}

/// Merges arenas that take more than `spare` bytes together; gives the new arena of each old one. `held` are those of block-shared tensors.
pub fn share(function: &mut Function, held: &[Arena], spare: u32) -> Vec<Arena> {
    if function.arena_bytes() <= u64::from(spare) {
        return (0..function.arenas.len() as u32).map(Arena).collect();
    }
    let times = Walk::times(function, held);
    let (new, sizes) = assign(function, &times);
    if sizes.len() < function.arenas.len() {
        let mut rewrite =
            Rewrite { new: &new, after: must_follow(&times, &new), next: 0, barriers: Vec::new() };
        rewrite.region(&mut function.body);
        function.arenas = sizes.into_iter().map(|bytes| ArenaDecl { bytes }).collect();
    }
    new
}

fn arena_of(inst: &Inst) -> Option<Arena> {
    match inst.op.accesses()?.place {
        Place::Arena(arena) => Some(arena),
        Place::Buffer(_) => None,
    }
}

/// An access, and the loops around it, from the outside, as places in [`Walk::loops`].
struct Access {
    at: u32,
    loops: Vec<usize>,
    stores: bool,
    /// Whether it is of halves, whose arenas a backend declares as such.
    halves: bool,
}

impl Access {
    fn of(op: &Op, at: u32, loops: &[usize]) -> Self {
        let (stores, halves) = match op {
            Op::Fragment(op) => (op.is_store(), !matches!(op, FragmentOp::Store { .. })),
            op => (op.has_effect(), false),
        };
        Access { at, loops: loops.to_vec(), stores, halves }
    }
}

/// One walk over the code, which numbers its statements.
#[derive(Default)]
struct Walk {
    next: u32,
    loops: Vec<Time>,
    open: Vec<usize>,
    /// By arena.
    accesses: Vec<Vec<Access>>,
}

impl Walk {
    /// When each arena is needed; `None` for one that is never accessed.
    fn times(function: &Function, held: &[Arena]) -> Vec<Option<Time>> {
        let mut walk = Walk::default();
        walk.accesses.resize_with(function.arenas.len(), Vec::new);
        walk.region(&function.body);
        let time = |(number, accesses): (usize, &Vec<Access>)| {
            let first = accesses.first()?;
            // Loops around all accesses, of which each turn begins anew.
            let anew = if first.stores && !held.contains(&Arena(number as u32)) {
                let common =
                    |other: &Access| first.loops.iter().zip(&other.loops).take_while(|(a, b)| a == b).count();
                accesses.iter().map(common).min().unwrap_or(0)
            } else {
                0
            };
            let spans = accesses.iter().map(|access| match access.loops.get(anew) {
                Some(whole) => Time { halves: access.halves, ..walk.loops[*whole] },
                None => Time { first: access.at, last: access.at, halves: access.halves },
            });
            spans.reduce(|a, b| Time { first: a.first.min(b.first), last: a.last.max(b.last), ..a })
        };
        walk.accesses.iter().enumerate().map(time).collect()
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            let at = self.next;
            self.next += 1;
            match stmt {
                Stmt::Inst(inst) => {
                    if let Some(arena) = arena_of(inst) {
                        let access = Access::of(&inst.op, at, &self.open);
                        self.accesses[arena.index()].push(access);
                    }
                }
                Stmt::For { body, .. } | Stmt::Loop { body, .. } => {
                    self.open.push(self.loops.len());
                    self.loops.push(Time { first: at, last: at, halves: false });
                    self.region(body);
                    if let Some(number) = self.open.pop() {
                        self.loops[number].last = self.next - 1;
                    }
                }
                Stmt::If { then, otherwise, .. } => {
                    self.region(then);
                    self.region(otherwise);
                }
            }
        }
    }
}

/// The new arena of each old one, and the new ones' sizes.
fn assign(function: &Function, times: &[Option<Time>]) -> (Vec<Arena>, Vec<u32>) {
    // What nobody accesses takes no room, so its number does not matter.
    let mut new = vec![Arena(0); times.len()];
    let mut order: Vec<(Time, usize)> =
        times.iter().enumerate().filter_map(|(number, time)| time.map(|time| (time, number))).collect();
    order.sort_by_key(|(time, number)| (time.first, *number));
    // Size, the last statement that needs it, and whether it is of halves.
    let mut slots: Vec<(u32, u32, bool)> = Vec::new();
    for (time, number) in order {
        let bytes = function.arenas[number].bytes;
        let free = |slot: &&usize| slots[**slot].1 < time.first && slots[**slot].2 == time.halves;
        let fits = |slot: &usize| match slots[*slot].0 {
            size if size >= bytes => (0, size),
            size => (1, u32::MAX - size),
        };
        let all: Vec<usize> = (0..slots.len()).collect();
        let slot = all.iter().filter(free).min_by_key(|slot| fits(slot)).copied().unwrap_or_else(|| {
            slots.push((0, 0, time.halves));
            slots.len() - 1
        });
        slots[slot] = (slots[slot].0.max(bytes), time.last, time.halves);
        new[number] = Arena(slot as u32);
    }
    (new, slots.into_iter().map(|(size, ..)| size).collect())
}

/// For statements with which the time of a shared arena begins: the statement after which a barrier must come. For the first of those that share it
/// is none, which asks for a barrier on the way from the loop's beginning: the others are accessed in the turn before.
fn must_follow(times: &[Option<Time>], new: &[Arena]) -> HashMap<u32, Option<u32>> {
    let mut sharing: HashMap<Arena, Vec<Time>> = HashMap::new();
    for (time, arena) in times.iter().zip(new) {
        sharing.entry(*arena).or_default().extend(*time);
    }
    let mut after = HashMap::new();
    for mut times in sharing.into_values().filter(|times| times.len() > 1) {
        times.sort_by_key(|time| time.first);
        let before = std::iter::once(None).chain(times.iter().map(|time| Some(time.last)));
        for (time, before) in times.iter().zip(before) {
            // Several arenas may begin with one statement: the latest end counts, and any end counts as later than none.
            let entry = after.entry(time.first).or_insert(before);
            *entry = (*entry).max(before);
        }
    }
    after
}

/// Renames arenas and puts barriers in.
struct Rewrite<'n> {
    new: &'n [Arena],
    after: HashMap<u32, Option<u32>>,
    next: u32,
    /// By open region: the last barrier passed in it, and whether the region is a loop's.
    barriers: Vec<(Option<u32>, bool)>,
}

impl Rewrite<'_> {
    fn region(&mut self, region: &mut Region) {
        self.nested(region, false);
    }

    fn nested(&mut self, region: &mut Region, is_loop: bool) {
        self.barriers.push((None, is_loop));
        for mut stmt in std::mem::take(&mut region.stmts) {
            let at = self.next;
            self.next += 1;
            if let Some(before) = self.after.get(&at)
                && !self.passed(*before)
            {
                region.stmts.push(Stmt::Inst(Inst { op: Op::Barrier, args: Vec::new(), result: None }));
                self.pass(at);
            }
            match &mut stmt {
                Stmt::Inst(inst) => self.inst(inst, at),
                Stmt::For { body, .. } | Stmt::Loop { body, .. } => self.nested(body, true),
                Stmt::If { then, otherwise, .. } => {
                    self.nested(then, false);
                    self.nested(otherwise, false);
                }
            }
            region.stmts.push(stmt);
        }
        self.barriers.pop();
    }

    fn inst(&mut self, inst: &mut Inst, at: u32) {
        match &mut inst.op {
            Op::Memory { place: Place::Arena(arena), .. }
            | Op::LoadUnpack { place: Place::Arena(arena), .. } => {
                *arena = self.new[arena.index()];
            }
            Op::Fragment(
                FragmentOp::Stage { arena, .. }
                | FragmentOp::StageCodes { arena, .. }
                | FragmentOp::Load { arena, .. }
                | FragmentOp::Store { place: Place::Arena(arena), .. },
            ) => *arena = self.new[arena.index()],
            Op::Barrier => self.pass(at),
            Op::Memory { place: Place::Buffer(_), .. }
            | Op::LoadUnpack { place: Place::Buffer(_), .. }
            | Op::Atomic { .. }
            | Op::StoreBits(_)
            | Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_)
            | Op::Fragment(
                FragmentOp::Zero(_)
                | FragmentOp::MultiplyAdd { .. }
                | FragmentOp::Store { place: Place::Buffer(_), .. },
            )
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => {}
        }
    }

    fn pass(&mut self, at: u32) {
        if let Some((last, _)) = self.barriers.last_mut() {
            *last = Some(at);
        }
    }

    /// Whether every path has passed a barrier since this statement; without one, since the innermost loop's turn began.
    fn passed(&self, since: Option<u32>) -> bool {
        match since {
            Some(since) => self.barriers.iter().any(|(last, _)| last.is_some_and(|last| last > since)),
            None => {
                let turn = self.barriers.iter().rposition(|(_, is_loop)| *is_loop);
                turn.is_none_or(|turn| self.barriers[turn..].iter().any(|(last, _)| last.is_some()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tvmc_ir::lane::{parse, verify};

    /// The bytes of each arena, and the code, after merging; `body` of a function with arenas of 64, 32 and 128 bytes.
    fn merged(body: &str, held: &[Arena]) -> (Vec<u32>, Function) {
        let text = format!(
            "kernel @k lanes 4 {{
  buffer b0 \"x\" readwrite
  arena a0 64
  arena a1 32
  arena a2 128
  v0: u.i64 = const.i64 0
  v1: v.i32 = lane_index
{body}
}}"
        );
        let mut function = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        share(&mut function, held, 0);
        verify(function.clone()).unwrap_or_else(|errors| panic!("{function}: {errors:?}"));
        (function.arenas.iter().map(|arena| arena.bytes).collect(), function)
    }

    fn barriers(function: &Function) -> usize {
        function.to_string().matches("barrier").count()
    }

    const STORE: &str = "store.contig.i32";
    const LOAD: &str = "load.contig.i32";

    #[test]
    fn what_is_needed_later_takes_the_place_of_what_was_needed_before() {
        let body = format!(
            "{STORE} a0[v0], v1  {STORE} a1[v0], v1  v2: v.i32 = {LOAD} a0[v0]
             {STORE} a2[v0], v1  v3: v.i32 = {LOAD} a2[v0]  v4: v.i32 = {LOAD} a1[v0]"
        );
        let (bytes, function) = merged(&body, &[]);
        assert_eq!((bytes, barriers(&function)), (vec![128, 32], 1), "{function}");
        // A barrier that is there already is enough.
        let (bytes, function) =
            merged(&body.replacen(&format!("{STORE} a2"), &format!("barrier {STORE} a2"), 1), &[]);
        assert_eq!((bytes, barriers(&function)), (vec![128, 32], 1), "{function}");
        // All at once: nothing to share.
        let (bytes, function) = merged(&format!("{body} v5: v.i32 = {LOAD} a0[v0]"), &[]);
        assert_eq!((bytes, barriers(&function)), (vec![64, 32, 128], 0), "{function}");
    }

    #[test]
    fn a_loop_keeps_what_its_next_turn_reads() {
        let turn = format!(
            "v2: u.i32 = const.i32 0  v3: u.i32 = const.i32 9
             for v4: u.i32 in v2..v3 step 1 {{
               {STORE} a0[v0], v1  v5: v.i32 = {LOAD} a0[v0]
               {STORE} a1[v0], v1  v6: v.i32 = {LOAD} a1[v0]
             }}"
        );
        // Each turn needs one after the other: a barrier between them, and one before the first, which lanes write while others still read.
        let (bytes, function) = merged(&turn, &[]);
        assert_eq!((bytes, barriers(&function)), (vec![64], 2), "{function}");
        // A block-shared tensor keeps what a turn before wrote.
        let (bytes, function) = merged(&turn, &[Arena(0)]);
        assert_eq!((bytes, barriers(&function)), (vec![64, 32], 0), "{function}");
        // Read before it is written: the same.
        let kept = turn.replacen(
            &format!("{STORE} a0[v0], v1  v5: v.i32 = {LOAD} a0[v0]"),
            &format!("v5: v.i32 = {LOAD} a0[v0]  {STORE} a0[v0], v1"),
            1,
        );
        let (bytes, function) = merged(&format!("{STORE} a0[v0], v1 {kept}"), &[]);
        assert_eq!(bytes.len(), 2, "{function}");
        assert_eq!(barriers(&function), 0, "{function}");
    }
}
