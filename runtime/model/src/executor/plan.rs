//! Plans: a call like the one before is not worked out again.
//!
//! **What it maps.** A call whose sizes, choices and memory are those of an earlier one makes the same launches on the same memory; only numbers that
//! kernels take as they are may differ. So the second such call records its launches, and later ones replay them.
//!
//! ```text
//! llama, S = 1   start = 41   walks the program          245 launches: expressions, views, arguments
//!                start = 42   walks it and records       245 launches made ready
//!                start = 43   replays                    60 of them get a new `start`
//! ```
//!
//! **What decides** is found beforehand in the program: the *structural* numbers, on which extents, views, places in weight lists, bounds of loops or conditions depend,
//! directly or through constants. A plan holds for calls that agree in these and in the memory of every state, buffer, input and output; when a state
//! has grown, memory is another, and plans over the old are forgotten.
//!
//! A number that is no structural one stays an expression of the call's numbers; loop counters are put in while recording.

use super::device::{Device, LaunchId, MemoryId};
use super::load::Session;
use super::{Call, ExecutorError};
use std::collections::{HashMap, HashSet};
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::program::{Argument, Base, Program, Stmt, View};

/// Plans that are kept.
const MAX_PLANS: usize = 4;

/// What calls of one plan have in common.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Frame {
    numbers: Vec<Option<Number>>,
    memory: Vec<Option<MemoryId>>,
}

/// A launch of a plan.
pub(super) struct Step {
    pub launch: LaunchId,
    /// Arguments that each call computes, by their places.
    pub numbers: Vec<(usize, Expr)>,
    /// For errors: the kernel and the place in the program.
    pub what: (String, String),
}

struct Plan {
    frame: Frame,
    steps: Vec<Step>,
}

/// How a session makes calls.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Planning {
    /// A call like the one before replays its launches.
    #[default]
    Replay,
    /// Every call is worked out, so that the device is asked about each launch.
    Walk,
}

/// The plans of a session.
#[derive(Default)]
pub(crate) struct Plans {
    planning: Planning,
    /// Names of structural numbers that calls may change.
    structural: Vec<String>,
    /// The last call's.
    last: Option<Frame>,
    /// The oldest first.
    known: Vec<Plan>,
    /// Room for a launch's numbers.
    scratch: Vec<(usize, Number)>,
}

impl Plans {
    pub fn of(program: &Program, fixed: &HashMap<String, Number>) -> Self {
        let mut names = Structural::default();
        let declared = [&program.buffers, &program.inputs, &program.outputs, &program.states];
        declared.into_iter().flatten().for_each(|decl| names.all(&decl.shape));
        names.stmts(&program.body);
        // Constants stand for what they are made of. They come after what they use, so one pass from the last is enough.
        for (name, expr) in program.consts.iter().rev() {
            if names.0.contains(name) {
                names.one(expr);
            }
        }
        let mut structural: Vec<String> = names.0.into_iter().filter(|n| !fixed.contains_key(n)).collect();
        structural.sort();
        Plans { structural, ..Plans::default() }
    }
}

/// Names in structural expressions.
#[derive(Default)]
struct Structural(HashSet<String>);

impl Structural {
    fn one(&mut self, expr: &Expr) {
        expr.names(&mut |name| {
            self.0.insert(name.to_owned());
        });
    }

    fn all(&mut self, exprs: &[Expr]) {
        exprs.iter().for_each(|expr| self.one(expr));
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Launch { args, .. } => args.iter().for_each(|arg| match arg {
                    Argument::Scalar(_) => {}
                    Argument::Memory { base, views } => self.memory(base, views),
                }),
                Stmt::For { from, to, body, .. } => {
                    self.one(from);
                    self.one(to);
                    self.stmts(body);
                }
                Stmt::If { condition, then, otherwise } => {
                    self.one(condition);
                    self.stmts(then);
                    self.stmts(otherwise);
                }
            }
        }
    }

    fn memory(&mut self, base: &Base, views: &[View]) {
        match base {
            Base::Weight(_, Some(index)) => self.one(index),
            Base::Weight(_, None) | Base::State(_) | Base::Buffer(_) | Base::Input(_) | Base::Output(_) => {}
        }
        for view in views {
            match view {
                View::At(index) => self.one(index),
                View::Rows { from, length } => {
                    self.one(from);
                    self.one(length);
                }
                View::Shape(shape) => self.all(shape),
            }
        }
    }
}

impl<D: Device> Session<D> {
    /// Sets how calls are made from now on.
    pub fn plan(&mut self, planning: Planning) {
        self.plans.planning = planning;
        std::mem::take(&mut self.plans.known).into_iter().for_each(|plan| self.release(plan.steps));
        self.plans.last = None;
    }

    /// What this call has in common with others; plans over memory that is no more are forgotten.
    pub(super) fn frame(&mut self, numbers: &HashMap<String, Number>) -> Frame {
        let lists = [&self.states, &self.buffers, &self.inputs, &self.outputs];
        let memory: Vec<Option<MemoryId>> = lists.into_iter().flatten().map(|a| a.memory).collect();
        let (kept, stale): (Vec<Plan>, Vec<Plan>) =
            std::mem::take(&mut self.plans.known).into_iter().partition(|plan| plan.frame.memory == memory);
        self.plans.known = kept;
        stale.into_iter().for_each(|plan| self.release(plan.steps));
        let numbers = self.plans.structural.iter().map(|name| numbers.get(name).copied()).collect();
        Frame { numbers, memory }
    }

    /// Replays the plan for such calls, if there is one.
    pub(super) fn replay(
        &mut self,
        frame: &Frame,
        numbers: &HashMap<String, Number>,
    ) -> Result<bool, ExecutorError> {
        let Some(plan) = self.plans.known.iter().find(|plan| plan.frame == *frame) else { return Ok(false) };
        for step in &plan.steps {
            self.plans.scratch.clear();
            for (at, expr) in &step.numbers {
                self.plans.scratch.push((*at, value(expr, numbers)?));
            }
            self.device.again(step.launch, &self.plans.scratch).map_err(|e| Call::failed(&step.what, &e))?;
        }
        Ok(true)
    }

    /// Whether the call before was such a one, so that this one is worth recording.
    pub(super) fn repeats(&mut self, frame: &Frame) -> bool {
        let repeats = self.plans.planning == Planning::Replay && self.plans.last.as_ref() == Some(frame);
        self.plans.last = Some(frame.clone());
        repeats
    }

    pub(super) fn keep(&mut self, frame: Frame, steps: Vec<Step>) {
        if self.plans.known.len() >= MAX_PLANS {
            let oldest = self.plans.known.remove(0);
            self.release(oldest.steps);
        }
        self.plans.known.push(Plan { frame, steps });
    }

    pub(super) fn release(&mut self, steps: Vec<Step>) {
        steps.into_iter().for_each(|step| self.device.forget(step.launch));
    }

    /// The scalar arguments of a launch that other calls of the plan compute anew.
    pub(super) fn computed(
        &self,
        args: &[Argument],
        numbers: &HashMap<String, Number>,
    ) -> Vec<(usize, Expr)> {
        let call: HashSet<&str> = self.program.scalars.iter().map(|scalar| scalar.name.as_str()).collect();
        let changes = |name: &str| {
            let from_call = call.contains(name) || self.program.consts.iter().any(|(c, _)| c == name);
            from_call && !self.fixed.contains_key(name) && !self.plans.structural.iter().any(|s| s == name)
        };
        let known = |name: &str| if changes(name) { None } else { numbers.get(name).copied() };
        let scalars = args.iter().enumerate().filter_map(|(at, arg)| match arg {
            Argument::Scalar(expr) => Some((at, expr.substitute(&known))),
            Argument::Memory { .. } => None,
        });
        scalars.filter(|(_, expr)| !matches!(expr, Expr::Const(_))).collect()
    }
}

/// The value of an argument.
pub(super) fn value(expr: &Expr, numbers: &HashMap<String, Number>) -> Result<Number, ExecutorError> {
    expr.eval(&|name| numbers.get(name).copied())
        .map_err(|error| ExecutorError::Expression { what: format!("argument `{expr}`"), error })
}
