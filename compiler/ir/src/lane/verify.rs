//! The verifier: the only way to a [`Verified`] function, which is all that a backend or an interpreter
//! accepts. It judges untrusted input: no function makes it panic or recurse deeper than [`MAX_DEPTH`].
//!
//! # The rules
//!
//!  1. **Limits.** 1 to [`MAX_LANES`] lanes; at most [`MAX_VALUES`] values, [`MAX_DEPTH`] nested regions,
//!     [`MAX_ARENA_BYTES`] bytes of arenas and [`MAX_TABLE_ENTRIES`] entries a table.
//!  2. **Single definition.** Every value of the type table is defined exactly once: by a scalar argument,
//!     a result, a loop counter or a carried parameter.
//!  3. **Scope.** A value is used after its definition, in the region that defines it or one nested in that.
//!     A region's yields, and a loop's `again`, are uses at the end of that region.
//!  4. **`i64` is uniform.** No varying value has that kind.
//!  5. **Operand count** is what the operation takes.
//!  6. **Operand kinds** are what the operation takes.
//!  7. **Uniformity.** The operands of a lane-by-lane operation (the op table, `unpack`, `table`) are all
//!     uniform or all varying. `splat` takes a uniform value; `reduce`, `extract` and `shuffle` a varying
//!     one, `extract` a uniform lane number. In memory operations the base is uniform, an offset varying; a
//!     `uniform` form has a uniform value and mask, the others a varying value and mask. `assert` takes
//!     a uniform condition; `print` takes anything.
//!  8. **Result.** An operation that gives a value defines one, of the type that follows from the operands; an
//!     effect defines none.
//!  9. **Axis** is 0, 1 or 2.
//! 10. **Place.** The buffer or arena exists.
//! 11. **Access.** No load from a `write` buffer, no store to a `read` buffer.
//! 12. **Arena range.** An unmasked access at a constant index lies within its arena. (An index counts
//!     elements, so every access is aligned by construction.)
//! 13. **Table.** It exists, its kind is `f32` or `i32`, and it has an entry; one of `table.bytes` has up to 256 i32 entries from 0 to 255,
//!     one of `table.halves` i32 entries from 0 to 65535, of which a half selects.
//! 14. **Unpack.** 1 to 8 bits, and `offset + 4 * bits <= 64`.
//! 15. **`for`.** Counter and bounds are `u.i32`; the step is 1 to `i32::MAX`.
//! 16. **Carried values.** A loop has as many parameters, initials, yields and results, an `if` as many yields in
//!     each branch as results, and their types agree place by place.
//! 17. **Conditions** of `if` and `loop` are `u.bool`.
//! 18. **Messages.** The number exists; the text of a `print` has one `{}` for each operand.
//! 19. **Scalar arguments** are uniform, of the declared kind.
//! 20. **Atomic.** A buffer that is updated atomically is accessed in no other way.
//! 21. **Fragments.** A function with fragments has groups, of a power of two of lanes that divides the lanes; one without has none. A fragment exists and
//!     has the role that its operation takes. An arena of halves is accessed by `fragment.stage` and `fragment.load` alone; a place that sums are stored to,
//!     in elements of 32 bits and not atomically.
//!
//! Errors come in program order, at most [`MAX_ERRORS`] of them. Each names its rule and its place:
//!
//! ```
//! use tvmc_ir::lane::{Rule, parse, verify};
//! let text = "kernel @k lanes 8 { v0: u.i32 = const.i32 1 if v0 { v1: u.i32 = iadd v0, v2 v2: u.i32 = const.i32 1 } }";
//! let errors = verify(parse(text).unwrap()).unwrap_err();
//! assert_eq!((errors[0].rule, errors[0].at.as_str()), (Rule::Condition, "body[1]"));
//! assert_eq!((errors[1].rule, errors[1].at.as_str()), (Rule::Scope, "body[1].then[0]"));
//! ```

use std::collections::HashMap;
use std::fmt;

use super::fragment::{FragmentOp, MAX_FRAGMENTS};
use super::function::{Buffer, Carried, Function, Inst, Region, Stmt, Value};
use super::op::{Op, Place, Touch};
use super::signature;
use super::types::{Scalar, Type};
use crate::rules;

/// Most lanes of a block.
pub const MAX_LANES: u32 = 1024;
/// Most values of a function.
pub const MAX_VALUES: usize = 1 << 20;
/// Most regions around a statement, the function's body not counted.
pub const MAX_DEPTH: usize = 256;
/// Most bytes of all arenas together.
pub const MAX_ARENA_BYTES: u64 = 1 << 24;
/// Most entries of one table.
pub const MAX_TABLE_ENTRIES: usize = 1 << 16;
/// Most errors that [`verify`] gives.
pub const MAX_ERRORS: usize = 100;

/// A function that passed the verifier; the only thing a backend or interpreter accepts.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified(Function);

impl Verified {
    /// The function, to be changed and verified again.
    pub fn into_inner(self) -> Function {
        self.0
    }
}

impl std::ops::Deref for Verified {
    type Target = Function;

    fn deref(&self) -> &Function {
        &self.0
    }
}

rules! {
    /// The rules of the head comment, in its order.
    Rule {
        /// Sizes are within their limits.
        Limits,
        /// Every value is defined exactly once.
        SingleDefinition,
        /// Uses come after definitions, in their scope.
        Scope,
        /// `i64` is uniform.
        UniformI64,
        /// Operand count.
        OperandCount,
        /// Operand kinds.
        OperandKind,
        /// Operand uniformity.
        Uniformity,
        /// Presence and type of the result.
        Result,
        /// Axis 0 to 2.
        Axis,
        /// Buffer or arena exists.
        Place,
        /// Declared access.
        Access,
        /// Constant arena index.
        ArenaRange,
        /// Table exists and is well formed.
        Table,
        /// Width and offset of codes.
        Unpack,
        /// Counter, bounds and step of `for`.
        For,
        /// Carried values, yields and results.
        Carried,
        /// Conditions are `u.bool`.
        Condition,
        /// Messages.
        Message,
        /// Scalar arguments.
        ScalarArgument,
        /// Buffers with atomic updates.
        Atomic,
        /// Fragments, their groups and their memory.
        Fragment,
    }
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// The rule that was broken.
    pub rule: Rule,
    /// The statement as a path, `body[3].then[0]`, or a declaration, `table t0`, or a value, `v7`.
    pub at: String,
    /// What was expected and found, in words.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (rule {})", self.at, self.message, self.rule.number())
    }
}

impl std::error::Error for VerifyError {}

/// Checks every rule; gives all violations up to [`MAX_ERRORS`].
pub fn verify(function: Function) -> Result<Verified, Vec<VerifyError>> {
    let mut verifier = Verifier {
        function: &function,
        path: Vec::new(),
        definitions: Vec::new(),
        visible: Vec::new(),
        constants: Vec::new(),
        scope: Vec::new(),
        accesses: HashMap::new(),
        held: HashMap::new(),
        errors: Vec::new(),
    };
    verifier.function();
    let errors = verifier.errors;
    if errors.is_empty() { Ok(Verified(function)) } else { Err(errors) }
}

/// What the accesses to a place say of what it holds.
#[derive(Copy, Clone, Default)]
struct Held {
    /// Halves of fragments.
    halves: bool,
    /// Sums of fragments.
    sums: bool,
    /// Elements that lanes access: of any kind, and of less than 32 bits or atomic ones.
    elements: bool,
    narrow: bool,
}

/// A step of a statement's path.
enum Step {
    /// A region's name within its statement.
    Region(&'static str),
    /// A statement's number within its region.
    Stmt(usize),
}

struct Verifier<'a> {
    function: &'a Function,
    path: Vec<Step>,
    /// How often each value is defined, up to 2.
    definitions: Vec<u8>,
    /// Whether each value may be used here.
    visible: Vec<bool>,
    /// What is known of each value at compile time; for arena ranges.
    constants: Vec<Option<i64>>,
    /// Values that stop being visible when a region ends, with region starts known to `region`.
    scope: Vec<Value>,
    /// Whether the first access to a buffer is an atomic update.
    accesses: HashMap<Buffer, bool>,
    /// How a place is accessed.
    held: HashMap<Place, Held>,
    errors: Vec<VerifyError>,
}

impl Verifier<'_> {
    fn error_at(&mut self, rule: Rule, at: String, message: String) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(VerifyError { rule, at, message });
        }
    }

    fn error(&mut self, rule: Rule, message: String) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        let mut at = "body".to_owned();
        for step in &self.path {
            match step {
                Step::Region(name) => {
                    at.push('.');
                    at.push_str(name);
                }
                Step::Stmt(number) => at.push_str(&format!("[{number}]")),
            }
        }
        self.error_at(rule, at, message);
    }

    fn function(&mut self) {
        let function = self.function;
        if !(1..=MAX_LANES).contains(&function.lanes) {
            self.error_at(
                Rule::Limits,
                "kernel".to_owned(),
                format!("{} lanes, must be 1 to {MAX_LANES}", function.lanes),
            );
        }
        if function.values.len() > MAX_VALUES {
            let message = format!("{} values, may be {MAX_VALUES}", function.values.len());
            return self.error_at(Rule::Limits, "kernel".to_owned(), message);
        }
        let arena_bytes = function.arena_bytes();
        if arena_bytes > MAX_ARENA_BYTES {
            let message = format!("{arena_bytes} bytes of arenas, may be {MAX_ARENA_BYTES}");
            self.error_at(Rule::Limits, "kernel".to_owned(), message);
        }
        self.groups();
        for (number, table) in function.tables.iter().enumerate() {
            let at = format!("table t{number}");
            match table.scalar {
                Scalar::F32 | Scalar::I32 => {}
                Scalar::I64 | Scalar::Bool => {
                    let message = format!("is of {}, must be f32 or i32", table.scalar.name());
                    self.error_at(Rule::Table, at.clone(), message);
                }
            }
            if table.entries.is_empty() {
                self.error_at(Rule::Table, at, "has no entries".to_owned());
            } else if table.entries.len() > MAX_TABLE_ENTRIES {
                let message = format!("has {} entries, may have {MAX_TABLE_ENTRIES}", table.entries.len());
                self.error_at(Rule::Limits, at, message);
            }
        }
        for (number, ty) in function.values.iter().enumerate() {
            if ty.scalar == Scalar::I64 && ty.is_varying() {
                self.error_at(Rule::UniformI64, format!("v{number}"), "i64 is uniform only".to_owned());
            }
        }
        self.definitions = vec![0; function.values.len()];
        self.visible = vec![false; function.values.len()];
        self.constants = vec![None; function.values.len()];
        for scalar in &function.scalars {
            let at = format!("scalar {}", scalar.value);
            match function.values.get(scalar.value.index()) {
                Some(ty) if *ty == Type::uniform(scalar.scalar) => {}
                Some(ty) => {
                    let message = format!("is {ty}, must be {}", Type::uniform(scalar.scalar));
                    self.error_at(Rule::ScalarArgument, at, message);
                }
                None => {
                    self.error_at(Rule::ScalarArgument, at, "has no type".to_owned());
                    continue;
                }
            }
            self.define(scalar.value);
        }
        self.region(&function.body);
        for number in 0..function.values.len() {
            if self.definitions[number] == 0 {
                let message = "is never defined".to_owned();
                self.error_at(Rule::SingleDefinition, format!("v{number}"), message);
            }
        }
    }

    /// The first half of rule 21, and how many fragments there may be.
    fn groups(&mut self) {
        let Function { lanes, group, ref fragments, .. } = *self.function;
        let at = "kernel".to_owned();
        if fragments.len() > MAX_FRAGMENTS {
            let message = format!("{} fragments, may be {MAX_FRAGMENTS}", fragments.len());
            self.error_at(Rule::Limits, at, message);
        } else if fragments.is_empty() && group != 0 {
            self.error_at(Rule::Fragment, at, "has groups and no fragments".to_owned());
        } else if !(fragments.is_empty() || group.is_power_of_two() && lanes.is_multiple_of(group)) {
            let message = format!("groups of {group} lanes, must be a power of two that divides {lanes}");
            self.error_at(Rule::Fragment, at, message);
        }
    }

    /// Makes a value visible until its region ends.
    fn define(&mut self, value: Value) {
        let Some(count) = self.definitions.get_mut(value.index()) else {
            return self.error(Rule::SingleDefinition, format!("{value} is not in the table of types"));
        };
        *count += 1;
        if *count > 1 {
            *count = 1;
            self.error(Rule::SingleDefinition, format!("{value} is defined twice"));
        }
        self.visible[value.index()] = true;
        self.scope.push(value);
    }

    /// The type of a used value, after checking that it is in scope. `None` if it has no type at all.
    fn using(&mut self, value: Value, what: &str) -> Option<Type> {
        if !self.visible.get(value.index()).copied().unwrap_or(false) {
            self.error(Rule::Scope, format!("{what} {value} is not defined here"));
        }
        self.function.values.get(value.index()).copied()
    }

    /// Type of a value that has been reported or checked elsewhere.
    fn ty(&self, value: Value) -> Option<Type> {
        self.function.values.get(value.index()).copied()
    }

    fn region(&mut self, region: &Region) {
        for (number, stmt) in region.stmts.iter().enumerate() {
            self.path.push(Step::Stmt(number));
            self.stmt(stmt);
            self.path.pop();
            if self.errors.len() >= MAX_ERRORS {
                return;
            }
        }
    }

    /// A region within a statement: `enter` defines what it starts with, `leave` uses what it ends with.
    fn nested(
        &mut self,
        name: &'static str,
        region: &Region,
        enter: impl FnOnce(&mut Self),
        leave: impl FnOnce(&mut Self),
    ) {
        let depth = self.path.iter().filter(|step| matches!(step, Step::Region(_))).count();
        if depth >= MAX_DEPTH {
            return self.error(Rule::Limits, format!("regions nest deeper than {MAX_DEPTH}"));
        }
        let start = self.scope.len();
        enter(self);
        self.path.push(Step::Region(name));
        self.region(region);
        self.path.pop();
        leave(self);
        for value in self.scope.drain(start..) {
            self.visible[value.index()] = false;
        }
    }

    fn condition(&mut self, value: Value) {
        if let Some(ty) = self.using(value, "condition")
            && ty != Type::uniform(Scalar::Bool)
        {
            self.error(Rule::Condition, format!("condition {value} is {ty}, must be u.bool"));
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Inst(inst) => self.inst(inst),
            Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                for (what, value) in [("first value", *from), ("bound", *to)] {
                    if let Some(ty) = self.using(value, what) {
                        self.index(what, value, ty);
                    }
                }
                if let Some(ty) = self.ty(*counter) {
                    self.index("counter", *counter, ty);
                }
                if !(1..=i32::MAX.cast_unsigned()).contains(step) {
                    self.error(Rule::For, format!("step is {step}, must be 1 to {}", i32::MAX));
                }
                self.loop_body(Some(*counter), carried, body, None, yields, results);
            }
            Stmt::Loop { carried, body, again, yields, results } => {
                self.loop_body(None, carried, body, Some(*again), yields, results);
            }
            Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                self.condition(*condition);
                let branches = [("then", then, then_yields), ("else", otherwise, otherwise_yields)];
                for (name, region, yields) in branches {
                    self.nested(
                        name,
                        region,
                        |_| {},
                        |this| {
                            for &value in yields {
                                this.using(value, "yielded");
                            }
                        },
                    );
                    self.agree(&format!("yields of `{name}`"), yields, results);
                }
                for &value in results {
                    self.define(value);
                }
            }
        }
    }

    /// A `u.i32` of a `for`.
    fn index(&mut self, what: &str, value: Value, ty: Type) {
        if ty != Type::uniform(Scalar::I32) {
            self.error(Rule::For, format!("{what} {value} is {ty}, must be u.i32"));
        }
    }

    fn loop_body(
        &mut self,
        counter: Option<Value>,
        carried: &[Carried],
        body: &Region,
        again: Option<Value>,
        yields: &[Value],
        results: &[Value],
    ) {
        let params: Vec<Value> = carried.iter().map(|c| c.param).collect();
        let initials: Vec<Value> = carried.iter().map(|c| c.initial).collect();
        for &value in &initials {
            self.using(value, "initial");
        }
        self.nested(
            "body",
            body,
            |this| {
                for value in counter.into_iter().chain(params.iter().copied()) {
                    this.define(value);
                }
            },
            |this| {
                for &value in yields {
                    this.using(value, "yielded");
                }
                if let Some(again) = again {
                    this.condition(again);
                }
            },
        );
        self.agree("initials", &initials, &params);
        self.agree("yields", yields, &params);
        self.agree("results", results, &params);
        for &value in results {
            self.define(value);
        }
    }

    /// Rule 16 for two lists.
    fn agree(&mut self, what: &str, found: &[Value], expected: &[Value]) {
        if found.len() != expected.len() {
            return self.error(
                Rule::Carried,
                format!("{} {what} for {} carried or resulting values", found.len(), expected.len()),
            );
        }
        for (&a, &b) in found.iter().zip(expected) {
            if let (Some(has), Some(wants)) = (self.ty(a), self.ty(b))
                && has != wants
            {
                self.error(Rule::Carried, format!("{what}: {a} is {has}, must be {wants} like {b}"));
            }
        }
    }

    fn inst(&mut self, inst: &Inst) {
        let mut types = Vec::with_capacity(inst.args.len());
        for &arg in &inst.args {
            match self.using(arg, "operand") {
                Some(ty) => types.push(ty),
                None => {
                    // A value without a type: reported, and nothing more can be said of this statement.
                    if let Some(result) = inst.result {
                        self.define(result);
                    }
                    return;
                }
            }
        }
        match signature::check(self.function, inst.op, &types) {
            Ok(expected) => {
                let found = inst.result.and_then(|result| self.ty(result));
                let typed = |ty: Option<Type>| ty.map_or("nothing".to_owned(), |ty| ty.to_string());
                if found != expected {
                    self.error(
                        Rule::Result,
                        format!("`{inst}` gives {}, not {}", typed(expected), typed(found)),
                    );
                }
            }
            Err(broken) => {
                for (rule, message) in broken {
                    self.error(rule, format!("`{inst}`: {message}"));
                }
            }
        }
        self.arena_range(inst);
        if let Some(Touch { place: Place::Buffer(buffer), atomic, .. }) = inst.op.accesses()
            && *self.accesses.entry(buffer).or_insert(atomic) != atomic
        {
            let message = format!("{buffer} is updated atomically, and accessed in another way");
            self.error(Rule::Atomic, message);
        }
        self.held_by_fragments(inst.op);
        if let Some(result) = inst.result {
            self.define(result);
            let constant = self.constant(inst);
            if let Some(slot) = self.constants.get_mut(result.index()) {
                *slot = constant;
            }
        }
    }

    /// The second half of rule 21.
    fn held_by_fragments(&mut self, op: Op) {
        let Some(Touch { place, bytes, atomic }) = op.accesses() else { return };
        let held = self.held.entry(place).or_default();
        match op {
            Op::Fragment(FragmentOp::Store { .. }) => held.sums = true,
            Op::Fragment(_) => held.halves = true,
            _ => {
                held.elements = true;
                held.narrow |= bytes < 4 || atomic;
            }
        }
        let held = *held;
        if held.halves && (held.sums || held.elements) {
            let message = format!("{place} holds halves of fragments, and is accessed in another way");
            self.error(Rule::Fragment, message);
        } else if held.sums && held.narrow {
            let message =
                format!("{place} holds sums of fragments, and is accessed in other than whole words");
            self.error(Rule::Fragment, message);
        }
    }

    /// What an instruction gives, if it is a constant index.
    fn constant(&self, inst: &Inst) -> Option<i64> {
        signature::fold(inst.op, |at| {
            inst.args.get(at).and_then(|arg| self.constants.get(arg.index()).copied().flatten())
        })
    }

    /// Rule 12.
    fn arena_range(&mut self, inst: &Inst) {
        let base = inst.args.first().and_then(|arg| self.constants.get(arg.index()).copied().flatten());
        let (Some(base), Some((arena, bytes, length))) =
            (base, signature::arena_span(self.function, inst.op))
        else {
            return;
        };
        let first = i128::from(base) * i128::from(bytes);
        let last = first + i128::from(length);
        if let Some(decl) = self.function.arenas.get(arena.index())
            && (first < 0 || last > i128::from(decl.bytes))
        {
            self.error(
                Rule::ArenaRange,
                format!("`{inst}` reaches bytes {first} to {last} of {} in {arena}", decl.bytes),
            );
        }
    }
}
