//! Layout inference: from the layouts that the source writes to those of the tiles in between, so that `view` knows what a lane holds.
//!
//! **What it maps.** A kernel in which some values are pinned becomes one in which every value that a pin reaches is. A pin is an anchor: from
//! it the rules of [`rules`](self::rules) lead over one operation after the other, from operands to results and back. Nothing else is an anchor: no
//! target, no size of a register file. So what `view` reads follows from the source alone, and is the same everywhere.
//!
//! ```text
//! v1: i6[16, 8] = load ..          pinned  L
//! v2: i32[16, 8] = cast v1         as v1   L              by `elementwise`
//! v3: i32[8, 16] = permute v2      as v2   L.permute(1, 0)     by `permute`
//! v4: u6[8, 16] = cast v3          as v3   L.permute(1, 0)     by `elementwise`
//! v5: u8[96] = view v4             pinned  local(3).spatial(32)
//! ```
//!
//! **First forth, then back.** A tile's layout follows from what it is made of; only where nothing there says, from what is made of it. So what is done
//! with a tile later never changes how it lies.
//!
//! **The worklist** holds values with a layout that just became known. A value takes at most [`CANDIDATES`] different layouts, each tells its
//! neighbours once each way, so the work is bounded by that number times the operands of the kernel. A pinned value has its own layout and lets no
//! other pass.
//!
//! **Where two meet.** If two different layouts reach the operand of a `view` in the same way, its bits would depend on which one wins:
//! [`Refusal::TwoLayouts`] names both. If none does: [`Refusal::NoLayout`]. Everywhere else the nearer anchor wins, of equally near ones the earlier, and
//! [`relayouts`](self::relayouts) puts in a `relayout` wherever an operation's lanes lack what they need. Nobody can observe which: only `view` reads
//! layouts.
//!
//! **Afterwards** every `view` has two layouts, and all layouts agree by rule 23 of the verifier, which is judged by [`super::agreement`] and shares
//! no code with the rules here. A kernel without pins is left as it is.

mod relayouts;
mod rules;

pub use relayouts::Inserted;

use super::kernel::{Inst, Kernel, Pin, Region, Stmt, Value};
use super::op::Op;
use super::pins::{LayoutRule, Origin};
use std::collections::{BTreeMap, VecDeque};
use tvmc_types::layout::Layout;

/// Different layouts that a value keeps in mind: enough to see that there are two.
const CANDIDATES: usize = 2;

/// A layout that reaches a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The layout.
    pub layout: Layout,
    /// The pinned value that it comes from in the end.
    pub anchor: Value,
    /// The neighbour and the rule that led here; nothing for the anchor itself.
    pub from: Option<(Value, LayoutRule)>,
}

/// Why a kernel has no layouts for its views.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No layout reaches the operand of a `view`.
    NoLayout {
        /// The `view`.
        view: Value,
        /// Its operand.
        operand: Value,
    },
    /// Two different layouts reach the operand of a `view`.
    TwoLayouts {
        /// The `view`.
        view: Value,
        /// Its operand.
        operand: Value,
        /// They.
        candidates: Box<[Candidate; 2]>,
    },
}

/// Writes the layouts that follow from the pinned ones; gives the relayouts that this took. A refused kernel is left as it was.
///
/// The kernel keeps the verifier's rules, but for the layouts of its views.
pub fn infer(kernel: &mut Kernel) -> Result<Vec<Inserted>, Vec<Refusal>> {
    if kernel.pins.is_empty() {
        return Ok(Vec::new());
    }
    let candidates = Search::run(kernel);
    let refusals = refusals(kernel, &candidates);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    for (number, candidates) in candidates.into_iter().enumerate() {
        let value = Value(number as u32);
        let Some(Candidate { layout, from: Some((from, rule)), .. }) = candidates.into_iter().next() else {
            continue;
        };
        let origin = Origin::Inferred { from, rule };
        kernel.pins.insert(value, Pin { layout, origin, location: String::new() });
    }
    Ok(relayouts::insert(kernel))
}

/// The layouts that follow from those of some values, and from pinned ones, by the same rules; nothing is demanded and nothing changed. For people who ask
/// where tiles lie of which the source says nothing: the anchors are then what a lowering chose.
pub fn follow(kernel: &Kernel, anchors: &BTreeMap<Value, Layout>) -> Vec<Option<Candidate>> {
    let mut anchored = kernel.clone();
    for (value, layout) in anchors {
        let pin = Pin { layout: layout.clone(), origin: Origin::Written, location: String::new() };
        anchored.pins.entry(*value).or_insert(pin);
    }
    Search::run(&anchored).into_iter().map(|candidates| candidates.into_iter().next()).collect()
}

fn refusals(kernel: &Kernel, candidates: &[Vec<Candidate>]) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    kernel.body.visit(&mut |inst| {
        let (Op::View, &[operand], Some(view)) = (&inst.op, inst.args.as_slice(), inst.result) else {
            return;
        };
        match candidates.get(operand.index()).map(Vec::as_slice) {
            Some([_]) => {}
            Some([first, second, ..]) => {
                let candidates = Box::new([first.clone(), second.clone()]);
                refusals.push(Refusal::TwoLayouts { view, operand, candidates });
            }
            Some([]) | None => refusals.push(Refusal::NoLayout { view, operand }),
        }
    });
    refusals
}

/// What ties layouts together.
#[derive(Copy, Clone)]
enum Tie<'k> {
    Inst(&'k Inst),
    /// A variable of a loop or an `if`, by number.
    Variable(usize),
}

/// A variable of a loop or an `if`.
struct Variable {
    /// What becomes it: its first value and the yields.
    from: Vec<Value>,
    /// The loop's parameter, or the `if`'s result.
    itself: Value,
    /// A loop's result.
    after: Option<Value>,
}

/// Which way layouts go.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Way {
    /// From what a value is made of to the value.
    Forth,
    /// Both, to values that the way forth does not reach.
    Both,
}

struct Search<'k> {
    kernel: &'k Kernel,
    /// By value: where it occurs.
    ties: Vec<Vec<Tie<'k>>>,
    variables: Vec<Variable>,
    candidates: Vec<Vec<Candidate>>,
    way: Way,
    /// Values that the way forth reached.
    settled: Vec<bool>,
    queue: VecDeque<(Value, Candidate)>,
}

impl<'k> Search<'k> {
    fn run(kernel: &'k Kernel) -> Vec<Vec<Candidate>> {
        let count = kernel.values.len();
        let mut search = Search {
            kernel,
            ties: vec![Vec::new(); count],
            variables: Vec::new(),
            candidates: vec![Vec::new(); count],
            way: Way::Forth,
            settled: vec![false; count],
            queue: VecDeque::new(),
        };
        search.region(&kernel.body);
        for (&anchor, pin) in &kernel.pins {
            search.reach(anchor, Candidate { layout: pin.layout.clone(), anchor, from: None });
        }
        search.work();
        search.way = Way::Both;
        for number in 0..count {
            let found = search.candidates[number].clone();
            search.settled[number] = !found.is_empty();
            search.queue.extend(found.into_iter().map(|candidate| (Value(number as u32), candidate)));
        }
        search.work();
        search.candidates
    }

    fn work(&mut self) {
        while let Some((value, candidate)) = self.queue.pop_front() {
            for tie in self.ties[value.index()].clone() {
                self.spread(tie, value, &candidate);
            }
        }
    }

    fn region(&mut self, region: &'k Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    for value in inst.args.iter().chain(&inst.result) {
                        self.tie(*value, Tie::Inst(inst));
                    }
                }
                Stmt::For { carried, body, yields, results, .. }
                | Stmt::Loop { carried, body, yields, results, .. } => {
                    for ((carried, last), result) in carried.iter().zip(yields).zip(results) {
                        let from = vec![carried.initial, *last];
                        self.variable(Variable { from, itself: carried.param, after: Some(*result) });
                    }
                    self.region(body);
                }
                Stmt::If { then, then_yields, otherwise, otherwise_yields, results, .. } => {
                    for ((then, otherwise), result) in then_yields.iter().zip(otherwise_yields).zip(results) {
                        let from = vec![*then, *otherwise];
                        self.variable(Variable { from, itself: *result, after: None });
                    }
                    self.region(then);
                    self.region(otherwise);
                }
            }
        }
    }

    fn variable(&mut self, variable: Variable) {
        for value in variable.from.iter().chain([&variable.itself]).chain(&variable.after) {
            self.tie(*value, Tie::Variable(self.variables.len()));
        }
        self.variables.push(variable);
    }

    fn tie(&mut self, value: Value, tie: Tie<'k>) {
        if let Some(ties) = self.ties.get_mut(value.index()) {
            ties.push(tie);
        }
    }

    fn spread(&mut self, tie: Tie<'k>, value: Value, known: &Candidate) {
        let forth = |other: &Value| match tie {
            Tie::Inst(inst) => inst.result == Some(*other),
            Tie::Variable(number) => {
                let variable = &self.variables[number];
                if value == variable.itself {
                    variable.after == Some(*other)
                } else {
                    variable.itself == *other
                }
            }
        };
        let mut proposals = match tie {
            Tie::Inst(inst) => rules::propose(self.kernel, inst, value, &known.layout),
            Tie::Variable(number) => {
                // Values of a variable are tied to it, not to each other: it is to it that they move.
                let variable = &self.variables[number];
                let others: Vec<Value> = if value == variable.itself {
                    variable.from.iter().chain(&variable.after).copied().collect()
                } else {
                    vec![variable.itself]
                };
                let alike = |other| (other, known.layout.clone(), LayoutRule::Variable);
                others.into_iter().map(alike).collect()
            }
        };
        match self.way {
            Way::Forth => proposals.retain(|(other, ..)| forth(other)),
            Way::Both => proposals.retain(|(other, ..)| !self.settled[other.index()]),
        }
        for (other, layout, rule) in proposals {
            if other != value && !self.kernel.pins.contains_key(&other) {
                self.reach(other, Candidate { layout, anchor: known.anchor, from: Some((value, rule)) });
            }
        }
    }

    fn reach(&mut self, value: Value, candidate: Candidate) {
        let Some(found) = self.candidates.get_mut(value.index()) else { return };
        // What every lane knows of scalars needs no saying, unless the source says it of one.
        let enters = match candidate.from {
            None | Some((_, LayoutRule::Elementwise | LayoutRule::Variable)) => true,
            Some(_) => !self.kernel.ty(value).is_scalar(),
        };
        if enters && found.len() < CANDIDATES && found.iter().all(|c| c.layout != candidate.layout) {
            found.push(candidate.clone());
            self.queue.push_back((value, candidate));
        }
    }
}
