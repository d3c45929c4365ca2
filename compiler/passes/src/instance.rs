//! A kernel instance from tile IR to a lane function: what `turns`, `pipeline` and `plan` decide, what `lower` emits, what `cleanup` and `scratch` take away.
//!
//! ```text
//! tile::Kernel --turns, pipeline, plan, lower--> Emitted --sweep, share--> Swept --renumber--> Lowered
//! ```
//!
//! How much scratch an instance needs is known only at the end: where rings of `pipeline` make it more than the target has, the instance is lowered again
//! with smaller ones.

use crate::cleanup::{renumber, sweep};
use crate::history::{Placement, Product};
use crate::lower::{LowerError, Lowered, Lowering, Options};
use crate::packing::Packing;
use crate::pipeline::{self, Knowledge, Pipelined, pipelined};
use crate::plan::plan;
use crate::scratch::share;
use crate::target::{Ahead, Fragments, Target};
use crate::turns::joined;
use std::cell::LazyCell;
use std::collections::HashMap;
use tvmc_ir::lane::{self, Arena};
use tvmc_ir::tile::{Kernel, MAX_PIPELINE, Op, Value};

/// Lowers a kernel instance for a target.
pub fn lower(kernel: &Kernel, target: &Target, options: &Options) -> Result<Lowered, LowerError> {
    let Emitted { mut lowered, marks, .. } = swept(kernel, target, options)?.emitted;
    renumber(&mut lowered.function);
    lowered.check_bounds(options.bounds, &marks);
    Ok(lowered)
}

/// The code after each step of [`lower`], for tests that judge the steps one by one. Bounds are proved.
pub fn steps(
    kernel: &Kernel,
    target: &Target,
    options: &Options,
) -> Result<Vec<(&'static str, Lowered)>, LowerError> {
    let Emitted { mut lowered, shared, .. } = emit(kernel, target, options, MAX_PIPELINE)?;
    let whole = |lowered: &Lowered| {
        let mut lowered = lowered.clone();
        renumber(&mut lowered.function);
        lowered
    };
    let mut all = vec![("emitted", whole(&lowered))];
    sweep(&mut lowered.function);
    all.push(("swept", whole(&lowered)));
    share(&mut lowered.function, &shared, target.spare_scratch);
    all.push(("arenas shared", whole(&lowered)));
    Ok(all)
}

/// The code of an instance without what `cleanup` takes away, arenas merged.
pub(crate) struct Swept {
    pub emitted: Emitted,
    /// The code as it was emitted.
    pub before: lane::Function,
    /// The new arena of each old one.
    pub arenas: Vec<Arena>,
}

/// Emits and cleans up, with more lanes where that helps (`Target::spread_lanes`, `Target::wide_lanes`).
pub(crate) fn swept(kernel: &Kernel, target: &Target, options: &Options) -> Result<Swept, LowerError> {
    if let Some(fragments) = target.fragments {
        if let Some(swept) = by_fragments(kernel, target, options, fragments) {
            return Ok(swept);
        }
        return swept(kernel, &Target { fragments: None, ..*target }, options);
    }
    if target.wide_lanes > target.lanes && is_wide(kernel, target.wide_lanes) {
        return swept_for(kernel, &Target { lanes: target.wide_lanes, ..*target }, options);
    }
    if target.spread_lanes > target.lanes && options.packing.contains(&Packing::Planar) {
        let wide = Target { lanes: target.spread_lanes, ..*target };
        let swept = swept_for(kernel, &wide, options)?;
        if swept.emitted.is_spread() {
            return Ok(swept);
        }
    }
    swept_for(kernel, target, options)
}

/// Rows of a wide product at most: more have work enough for each lane.
const WIDE_ROWS: u32 = 8;

/// Whether a kernel that does not pin its lanes multiplies few rows by at least so many columns.
fn is_wide(kernel: &Kernel, columns: u32) -> bool {
    let mut wide = false;
    kernel.body.visit(&mut |inst| {
        wide |= inst.op == Op::Dot
            && kernel.ty(inst.args[0]).shape[0] <= WIDE_ROWS
            && kernel.ty(inst.args[1]).shape[1] >= columns;
    });
    kernel.lanes.is_none() && wide
}

/// How much longer a block takes whose loads are not under way while it multiplies: measured, 2.1 times.
const WAITING: u64 = 3;

/// What a block of a kernel brings to scratch for each element of K, in elements of the factors of its products, where all of them are made by fragments: those for which it waits count [`WAITING`] times. Of two tilings of one
/// kernel that have blocks enough, the one that brings less in all is the better.
pub fn staged_by_fragments(kernel: &Kernel, target: &Target) -> Option<u64> {
    let swept = by_fragments(kernel, target, &Options::default(), target.fragments?)?;
    let staged = |product: &Product| match product {
        Product::Fragments { m, n, turn, part } if part < turn => WAITING * u64::from(m + n),
        Product::Fragments { m, n, .. } => u64::from(m + n),
        Product::Rows
        | Product::MicroTiles { .. }
        | Product::Column
        | Product::Parts { .. }
        | Product::Integers
        | Product::Numbers
        | Product::Spread { .. } => 0,
    };
    Some(swept.emitted.products.values().map(staged).sum())
}

/// What copying an element of a factor to scratch costs, in multiply-adds: a load and a store from the second cache for 16 elements, beside two times 16 multiply-adds a cycle.
const COPY: u64 = 6;

/// What a block's products of a kernel cost on a CPU for each element of K, in multiply-adds: those themselves, and bringing factors to where they are read again and again. `None` without products.
pub fn cost_of_products(kernel: &Kernel) -> Option<u64> {
    let mut cost = None;
    kernel.body.visit(&mut |inst| {
        if inst.op == Op::Dot {
            let extent = |factor: usize, axis: usize| u64::from(kernel.ty(inst.args[factor]).shape[axis]);
            let (m, n) = (extent(0, 0), extent(1, 1));
            *cost.get_or_insert(0) += m * n + COPY * (m + n);
        }
    });
    cost
}

/// Whether lanes share all products of a kernel (`spread`), each with a part of K.
pub fn is_spread(kernel: &Kernel, target: &Target, packing: Vec<Packing>) -> bool {
    let options = Options { packing, ..Options::default() };
    swept(kernel, target, &options).is_ok_and(|swept| swept.emitted.is_spread())
}

/// A kernel all of whose products are made by fragments, with as many groups as they have work for; none where they are not, or take too much scratch.
fn by_fragments(kernel: &Kernel, target: &Target, options: &Options, fragments: Fragments) -> Option<Swept> {
    let logs = 0..=fragments.groups.max(1).ilog2();
    logs.rev().map(|log| 1 << log).find_map(|groups: u32| {
        let lanes = groups * fragments.group;
        if kernel.lanes.is_some_and(|pinned| pinned != lanes) {
            return None;
        }
        let swept = swept_for(kernel, &Target { lanes, ..*target }, options).ok()?;
        let products = &swept.emitted.products;
        let all = products.values().all(|product| matches!(product, Product::Fragments { .. }));
        let fits = swept.emitted.lowered.function.arena_bytes() <= u64::from(fragments.scratch);
        (all && fits && !products.is_empty()).then_some(swept)
    })
}

/// How much scratch is needed is known only at the end: where rings of `pipeline` make it too much, they become smaller.
fn swept_for(kernel: &Kernel, target: &Target, options: &Options) -> Result<Swept, LowerError> {
    let mut most = MAX_PIPELINE;
    loop {
        let mut emitted = emit(kernel, target, options, most)?;
        let before = emitted.lowered.function.clone();
        let function = &mut emitted.lowered.function;
        sweep(function);
        let arenas = share(function, &emitted.shared, target.spare_scratch);
        let fits = match target.ahead {
            Ahead::Scratch { bytes, .. } => function.arena_bytes() <= u64::from(bytes),
            Ahead::Processor => true,
        };
        if fits || emitted.depth == 1 {
            return Ok(Swept { emitted, before, arenas });
        }
        most = emitted.depth - 1;
    }
}

/// The code of an instance, not yet cleaned up.
pub(crate) struct Emitted {
    pub lowered: Lowered,
    /// The instance as it was lowered.
    pub kernel: Kernel,
    /// Where tile values ended up.
    pub placements: Vec<Option<Placement>>,
    /// How products were made.
    pub products: HashMap<Value, Product>,
    /// The arenas of block-shared tensors.
    pub shared: Vec<Arena>,
    /// Messages that mark places in the source (`bounds`).
    pub marks: Vec<u32>,
    /// Turns for which there are tiles, of the loop that loads farthest ahead.
    pub depth: u32,
    /// What became of loops that are to load ahead.
    pub notes: Vec<String>,
}

impl Emitted {
    /// Whether there are products, and lanes share all of them.
    fn is_spread(&self) -> bool {
        let mut products = self.products.values();
        !self.products.is_empty() && products.all(|product| matches!(product, Product::Spread { .. }))
    }
}

/// Emits the code of an instance; rings of `pipeline` have at most this many slots.
fn emit(kernel: &Kernel, target: &Target, options: &Options, most: u32) -> Result<Emitted, LowerError> {
    let kernel = &*joined(kernel, target);
    if !pipeline::wanted(&kernel.body) {
        let emitted = Lowering::new(kernel, target, plan(kernel), options.bounds).run(options)?;
        return Ok(Emitted { kernel: kernel.clone(), ..emitted });
    }
    let analysis = Lowering::new(kernel, target, plan(kernel), options.bounds);
    let lowered = || Lowering::new(kernel, target, plan(kernel), options.bounds).run(options);
    let made = LazyCell::new(|| lowered().map(|emitted| emitted.products).unwrap_or_default());
    let knowledge = Knowledge {
        is_spread: &|stmt| analysis.would_spread(stmt),
        product: &|result| made.get(&result).copied(),
    };
    let Pipelined { kernel, current, ahead, depth, notes } = pipelined(kernel, target, most, &knowledge);
    let mut plan = plan(&kernel);
    ahead.iter().for_each(|tile| plan.keep[tile.index()] = true);
    current.iter().for_each(|tile| plan.keep[tile.index()] = false);
    plan.current = current.into_iter().collect();
    let emitted = Lowering::new(&kernel, target, plan, options.bounds).run(options)?;
    Ok(Emitted { kernel, depth, notes, ..emitted })
}
