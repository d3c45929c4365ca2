//! The verifier: [`Verified`] kernels are what the tile interpreter and the passes may rely on. It judges untrusted input: no kernel
//! makes it panic or recurse deeper than [`MAX_DEPTH`].
//!
//! # The rules
//!
//!  1. **Limits.** At most [`MAX_VALUES`] values, [`MAX_DEPTH`] nested regions; a pinned number of lanes is 1 to [`MAX_LANES`].
//!  2. **Types.** Extents of values and block-shared tensors are at least 1, at most [`MAX_RANK`] of them, with at most
//!     [`MAX_ELEMENTS`] elements; tensor arguments have at most [`MAX_RANK`] axes.
//!  3. **Single definition.** Every value of the type table is defined exactly once: by an operation, a result, a loop counter or a
//!     carried parameter.
//!  4. **Scope.** A value is used after its definition, in the region that defines it or one nested in that. A region's yields, and a
//!     loop's `again`, are uses at the end of that region.
//!  5. **Operand count** is what the operation takes.
//!  6. **DType.** Element-wise operations, reductions and `dot` compute with f32, i32, u32 and bool, as the op table says; their
//!     operands agree; a constant of bool is 0 or 1; `bitcast` leads from an integer, f16, bf16
//!     or f32 to a number of equal width.
//!  7. **Shape.** Element-wise operands have equal shapes; constants are scalars; `iota` has one axis; `broadcast` spreads extents
//!     that are equal, 1 or missing, aligned at the last axis; `reshape` keeps the number of elements; `dot` takes [M, K], [K, N], [M, N].
//!  8. **Axis.** Of a reduction: one of the operand's; of `permute`: each once; of the grid: 0 to 2.
//!  9. **Cast.** `exact` only where every value is representable, `round` to a float, `saturate` to an integer or bool, `wrap` to an
//!     integer.
//! 10. **Result.** An operation that gives a value defines one, of the type that follows from the operands; an effect defines none.
//! 11. **Declaration.** Tensors, scalars, dimensions, formats and tables exist where they are named.
//! 12. **Memory.** One index per axis, i32 scalar offsets, a tile of the slices' extents and the element's dtype (f32 for a format), a
//!     padding value of that dtype; a tensor of a format is written field by field, whole groups at a time.
//! 13. **Access.** No store to a `read` tensor.
//! 14. **Decode only.** `field` and `group_index` occur in decode bodies only.
//! 15. **For.** Counter and bounds are i32 scalars; the step is 1 to `i32::MAX`, the pipeline 1 to [`MAX_PIPELINE`].
//! 16. **Carried values.** A loop has as many parameters, initials, yields and results, an `if` as many yields in each branch as
//!     results, and their types agree place by place.
//! 17. **Conditions** of `if` and `loop` are bool scalars.
//! 18. **Message.** The number exists; the text of a `print` has one `{}` for each operand.
//! 19. **Location.** The number exists.
//! 20. **Header.** One to three grid axes. Names in extents and grid are dimensions or integer scalars, in assumptions dimensions or
//!     scalars; dimensions and scalars have different names; a scalar argument is f32, i32, u32 or bool.
//! 21. **Format.** A group has at least one element and one byte; heads are whole units; fields lie within their scope; a field's digits multiply to its count and
//!     reach every slot once; tables, the kernel's too, are f32 or i32 with 1 to [`MAX_TABLE_ENTRIES`] entries.
//! 22. **Decode body.** Element-wise operations, `field`, `table` and `group_index` on scalars, each value defined once and before its
//!     use; its result is an f32.
//! 23. **Layout.** A layout has its value's shape; all of a kernel have its number of lanes. `view` takes and gives values with layouts of
//!     as many bits per lane, where lanes that are copies in the result are copies in the operand; `relayout` gives a value with a layout; the
//!     layouts of carried values are equal, those of an operation's values [agree](super::agreement); one that follows names a value. The order of a
//!     block-shared tensor has its shape, and gives each element a place of its own, of at most [`MAX_ELEMENTS`].
//! 24. **Atomic.** A tensor that is updated atomically is accessed in no other way.
//!
//! Errors come in program order, at most [`MAX_ERRORS`] of them. Each names its rule and its place:
//!
//! ```
//! use tvmc_ir::tile::{Rule, parse, verify};
//! let text = "kernel @k { grid 1 v0: i32 = const 1 if v0 { v1: i32 = add v0, v2 v2: i32 = const 1 } }";
//! let errors = verify(parse(text).unwrap()).unwrap_err();
//! assert_eq!((errors[0].rule, errors[0].at.as_str()), (Rule::Condition, "body[1]"));
//! assert_eq!((errors[1].rule, errors[1].at.as_str()), (Rule::Scope, "body[1].then[0]"));
//! ```

use super::dtypes;
use super::format::{Decode, Format, field_error};
use super::kernel::{Carried, Element, Inst, Kernel, MAX_PIPELINE, Param, Region, Stmt, TensorDecl, Value};
use super::pins;
use super::signature::{self, Broken, Gives};
use super::types::{MAX_ELEMENTS, MAX_RANK, TileType};
use crate::host::Expr;
use crate::rules;
use std::collections::{HashMap, HashSet};
use std::fmt;
use tvmc_types::dtype::DType;

pub use crate::lane::{MAX_DEPTH, MAX_ERRORS, MAX_LANES, MAX_TABLE_ENTRIES, MAX_VALUES};

/// A kernel that passed the verifier.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified(Kernel);

impl Verified {
    /// The kernel, to be changed and verified again.
    pub fn into_inner(self) -> Kernel {
        self.0
    }
}

impl std::ops::Deref for Verified {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.0
    }
}

rules! {
    /// The rules of the head comment, in its order.
    Rule {
        /// Sizes are within their limits.
        Limits,
        /// Extents, ranks and element counts.
        Types,
        /// Every value is defined exactly once.
        SingleDefinition,
        /// Uses come after definitions, in their scope.
        Scope,
        /// Operand count.
        OperandCount,
        /// Dtypes of operands.
        DType,
        /// Shapes of operands and results.
        Shape,
        /// Axes of reductions, permutations and the grid.
        Axis,
        /// The rule of a conversion fits its dtypes.
        Cast,
        /// Presence and type of the result.
        Result,
        /// What is named exists.
        Declaration,
        /// Loads and stores.
        Memory,
        /// Declared access.
        Access,
        /// Operations of decode bodies.
        DecodeOnly,
        /// Counter, bounds and step of `for`.
        For,
        /// Carried values, yields and results.
        Carried,
        /// Conditions are bool scalars.
        Condition,
        /// Messages.
        Message,
        /// Source places.
        Location,
        /// Grid, names, scalar arguments.
        Header,
        /// Groups, fields and tables.
        Format,
        /// Decode bodies.
        Decode,
        /// Pinned layouts.
        Layout,
        /// Tensors with atomic updates.
        Atomic,
    }
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// The rule that was broken.
    pub rule: Rule,
    /// The statement as a path, `body[3].then[0]`, or a declaration, `format f0`, or a value, `v7`.
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
pub fn verify(kernel: Kernel) -> Result<Verified, Vec<VerifyError>> {
    let mut verifier = Verifier {
        kernel: &kernel,
        path: Vec::new(),
        definitions: Vec::new(),
        visible: Vec::new(),
        scope: Vec::new(),
        accesses: HashMap::new(),
        errors: Vec::new(),
    };
    verifier.kernel();
    let errors = verifier.errors;
    if errors.is_empty() { Ok(Verified(kernel)) } else { Err(errors) }
}

/// A step of a statement's path.
enum Step {
    /// A region's name within its statement.
    Region(&'static str),
    /// A statement's number within its region.
    Stmt(usize),
}

/// An operation as a message shows it.
struct Shown<'a>(&'a Inst, &'a [TileType]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::print::instruction(f, self.0, self.1)
    }
}

struct Verifier<'a> {
    kernel: &'a Kernel,
    path: Vec<Step>,
    /// How often each value is defined, up to 2.
    definitions: Vec<u8>,
    /// Whether each value may be used here.
    visible: Vec<bool>,
    /// Values that stop being visible when a region ends, with region starts known to `nested`.
    scope: Vec<Value>,
    /// Whether the first access to a tensor is an atomic update.
    accesses: HashMap<Param, bool>,
    errors: Vec<VerifyError>,
}

impl<'a> Verifier<'a> {
    fn error_at(&mut self, rule: Rule, at: impl Into<String>, message: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(VerifyError { rule, at: at.into(), message: message.into() });
        }
    }

    fn error(&mut self, rule: Rule, message: impl Into<String>) {
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

    fn kernel(&mut self) {
        let kernel = self.kernel;
        if let Some(lanes) = kernel.lanes
            && !(1..=MAX_LANES).contains(&lanes)
        {
            self.error_at(Rule::Limits, "kernel", format!("{lanes} lanes, must be 1 to {MAX_LANES}"));
        }
        if kernel.values.len() > MAX_VALUES {
            let message = format!("{} values, may be {MAX_VALUES}", kernel.values.len());
            return self.error_at(Rule::Limits, "kernel", message);
        }
        for (number, ty) in kernel.values.iter().enumerate() {
            self.tile_type(ty, || Value(number as u32).to_string());
        }
        for (number, shared) in kernel.shared.iter().enumerate() {
            self.tile_type(&shared.ty, || format!("shared s{number}"));
            if let Some(wrong) = pins::order(shared) {
                self.error_at(Rule::Layout, format!("shared s{number}"), wrong);
            }
        }
        for (value, wrong) in pins::declarations(kernel) {
            self.error_at(Rule::Layout, value.to_string(), wrong);
        }
        self.header();
        self.tables("kernel", &kernel.tables);
        for (number, format) in kernel.formats.iter().enumerate() {
            self.format(&format!("format f{number}"), format);
        }
        self.definitions = vec![0; kernel.values.len()];
        self.visible = vec![false; kernel.values.len()];
        self.region(&kernel.body);
        for number in 0..kernel.values.len() {
            if self.definitions[number] == 0 {
                self.error_at(Rule::SingleDefinition, format!("v{number}"), "is never defined");
            }
        }
    }

    /// Rule 2.
    fn tile_type(&mut self, ty: &TileType, at: impl FnOnce() -> String) {
        let elements = ty.shape.iter().try_fold(1u64, |n, e| n.checked_mul(u64::from(*e)));
        let wrong = if ty.shape.len() > MAX_RANK {
            format!("{} axes, may be {MAX_RANK}", ty.shape.len())
        } else if ty.shape.contains(&0) {
            format!("{ty} has an extent of 0")
        } else if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            format!("{ty} has more than {MAX_ELEMENTS} elements")
        } else {
            return;
        };
        self.error_at(Rule::Types, at(), wrong);
    }

    // Header

    fn header(&mut self) {
        let kernel = self.kernel;
        if !(1..=3).contains(&kernel.grid.len()) {
            let message = format!("{} grid axes, must be 1 to 3", kernel.grid.len());
            self.error_at(Rule::Header, "grid", message);
        }
        let mut names: HashSet<&str> = HashSet::new();
        for dim in &kernel.dims {
            if !names.insert(&dim.name) {
                self.error_at(Rule::Header, format!("dim {}", dim.name), "is declared twice");
            }
        }
        let (mut integers, mut scalars) = (names.clone(), names.clone());
        for (number, param) in kernel.params.iter().enumerate() {
            if let TensorDecl::Scalar { name, dtype } = param {
                if !names.insert(name) {
                    self.error_at(Rule::Header, format!("scalar p{number}"), format!("`{name}` is taken"));
                }
                if !dtypes::computes(*dtype) {
                    let message = format!("is of {dtype}, must be f32, i32, u32 or bool");
                    self.error_at(Rule::Header, format!("scalar p{number}"), message);
                }
                scalars.insert(name);
                if dtype.is_integer() {
                    integers.insert(name);
                }
            }
        }
        for (number, param) in kernel.params.iter().enumerate() {
            let TensorDecl::Tensor { element, shape, .. } = param else { continue };
            let at = format!("tensor p{number}");
            if shape.len() > MAX_RANK {
                self.error_at(Rule::Types, at.clone(), format!("{} axes, may be {MAX_RANK}", shape.len()));
            }
            if let Element::Format(id) = element {
                if id.index() >= kernel.formats.len() {
                    self.error_at(Rule::Declaration, at.clone(), format!("{id} is not declared"));
                }
                if shape.is_empty() {
                    self.error_at(Rule::Memory, at.clone(), "a tensor of a format has an axis");
                }
            }
            for expr in shape {
                self.names(&at, expr, &integers);
            }
        }
        for expr in &kernel.grid {
            self.names("grid", expr, &integers);
        }
        for (condition, _) in &kernel.assumptions {
            self.names("assume", condition, &scalars);
        }
    }

    /// Rule 20 for an expression.
    fn names(&mut self, at: &str, expr: &Expr, known: &HashSet<&str>) {
        let mut unknown: Vec<String> = Vec::new();
        expr.names(&mut |name| {
            if !known.contains(name) && !unknown.iter().any(|u| u == name) {
                unknown.push(name.to_owned());
            }
        });
        for name in unknown {
            self.error_at(
                Rule::Header,
                at,
                format!("`{name}` is no dimension or number that may stand here"),
            );
        }
    }

    // Formats

    fn format(&mut self, at: &str, format: &Format) {
        if format.group == 0 || format.bytes == 0 {
            let message = format!("{} elements in {} bytes", format.group, format.bytes);
            self.error_at(Rule::Format, at, message);
        }
        for (what, head) in [("row", format.row_head), ("tensor", format.tensor_head)] {
            if format.bytes > 0 && head % format.unit() != 0 {
                let unit = format.unit();
                self.error_at(
                    Rule::Format,
                    at,
                    format!("{head} bytes before a {what} are no units of {unit}"),
                );
            }
        }
        for field in &format.fields {
            if let Some(wrong) = field_error(field, format.scope_bytes(field.scope)) {
                self.error_at(Rule::Format, at, format!("field {:?} {wrong}", field.name));
            }
        }
        self.tables(at, &format.tables);
        self.decode(at, format, &format.decode);
    }

    /// The tables of a format or of the kernel.
    fn tables(&mut self, at: &str, tables: &[(DType, Vec<u32>)]) {
        for (number, (dtype, entries)) in tables.iter().enumerate() {
            if !matches!(*dtype, DType::F32 | DType::I32) {
                self.error_at(Rule::Format, at, format!("table {number} is of {dtype}, must be f32 or i32"));
            }
            if !(1..=MAX_TABLE_ENTRIES).contains(&entries.len()) {
                let message = format!(
                    "table {number} has {} entries, must have 1 to {MAX_TABLE_ENTRIES}",
                    entries.len()
                );
                self.error_at(Rule::Format, at, message);
            }
        }
    }

    /// Rule 22.
    fn decode(&mut self, at: &str, format: &Format, decode: &Decode) {
        if decode.values.len() > MAX_VALUES {
            return self.error_at(
                Rule::Limits,
                at,
                format!("{} values, may be {MAX_VALUES}", decode.values.len()),
            );
        }
        let mut defined = vec![false; decode.values.len()];
        for (number, inst) in decode.insts.iter().enumerate() {
            let at = format!("{at}[{number}]");
            let known = |v: &Value| defined.get(v.index()).copied().unwrap_or(false);
            if let Some(unknown) = inst.args.iter().find(|v| !known(v)) {
                self.error_at(Rule::Decode, at.clone(), format!("{unknown} is not defined here"));
            }
            let args: Option<Vec<&TileType>> =
                inst.args.iter().map(|v| decode.values.get(v.index())).collect();
            let result = inst.result.and_then(|v| decode.values.get(v.index()));
            if let Some(args) = args {
                let checked = signature::decode_op(format, &inst.op, &args, result);
                if let Some((rule, message)) = against(checked, inst, result) {
                    let shown = Shown(inst, &decode.values);
                    self.error_at(rule, at.clone(), format!("`{shown}`: {message}"));
                }
            }
            if inst.location.is_some_and(|l| l as usize >= self.kernel.locations.len()) {
                self.error_at(Rule::Location, at.clone(), "names a source place that is not listed");
            }
            match inst.result.map(|v| (v, defined.get_mut(v.index()))) {
                Some((_, Some(known))) if !*known => *known = true,
                Some((v, Some(_))) => self.error_at(Rule::Decode, at, format!("{v} is defined twice")),
                Some((v, None)) => self.error_at(Rule::Decode, at, format!("{v} has no type")),
                None => self.error_at(Rule::Decode, at, "defines nothing"),
            }
        }
        if let Some(number) = defined.iter().position(|known| !known) {
            self.error_at(Rule::Decode, at, format!("v{number} is never defined"));
        }
        match decode.values.get(decode.result.index()) {
            Some(ty) if *ty == TileType::scalar(DType::F32) => {}
            Some(ty) => self.error_at(Rule::Decode, at, format!("its value is {ty}, must be f32")),
            None => self.error_at(Rule::Decode, at, format!("its value {} has no type", decode.result)),
        }
    }

    // Code

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
    fn using(&mut self, value: Value, what: &str) -> Option<&'a TileType> {
        if !self.visible.get(value.index()).copied().unwrap_or(false) {
            self.error(Rule::Scope, format!("{what} {value} is not defined here"));
        }
        self.kernel.values.get(value.index())
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
            && *ty != TileType::scalar(DType::BOOL)
        {
            self.error(Rule::Condition, format!("condition {value} is {ty}, must be a bool scalar"));
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Inst(inst) => self.inst(inst),
            Stmt::For { counter, from, to, step, pipeline, carried, body, yields, results } => {
                for (what, value) in [("first value", *from), ("bound", *to)] {
                    if let Some(ty) = self.using(value, what) {
                        self.index(what, value, ty);
                    }
                }
                if let Some(ty) = self.kernel.values.get(counter.index()) {
                    self.index("counter", *counter, ty);
                }
                if !(1..=i32::MAX.cast_unsigned()).contains(step) {
                    self.error(Rule::For, format!("step is {step}, must be 1 to {}", i32::MAX));
                }
                if !(1..=MAX_PIPELINE).contains(pipeline) {
                    self.error(Rule::For, format!("a pipeline of {pipeline}, must be 1 to {MAX_PIPELINE}"));
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
                    self.nested(name, region, |_| {}, |this| this.yielded(yields));
                    self.agree(&format!("yields of `{name}`"), yields, results);
                }
                results.iter().for_each(|value| self.define(*value));
            }
        }
    }

    fn yielded(&mut self, yields: &[Value]) {
        for &value in yields {
            self.using(value, "yielded");
        }
    }

    /// An i32 scalar of a `for`.
    fn index(&mut self, what: &str, value: Value, ty: &TileType) {
        if *ty != TileType::scalar(DType::I32) {
            self.error(Rule::For, format!("{what} {value} is {ty}, must be an i32 scalar"));
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
            |this| counter.into_iter().chain(params.iter().copied()).for_each(|value| this.define(value)),
            |this| {
                this.yielded(yields);
                if let Some(again) = again {
                    this.condition(again);
                }
            },
        );
        self.agree("initials", &initials, &params);
        self.agree("yields", yields, &params);
        self.agree("results", results, &params);
        results.iter().for_each(|value| self.define(*value));
    }

    /// Rule 16 for two lists.
    fn agree(&mut self, what: &str, found: &[Value], expected: &[Value]) {
        if found.len() != expected.len() {
            return self.error(
                Rule::Carried,
                format!("{} {what} for {} carried or resulting values", found.len(), expected.len()),
            );
        }
        let values = &self.kernel.values;
        for (a, b) in found.iter().zip(expected) {
            if let (Some(has), Some(wants)) = (values.get(a.index()), values.get(b.index()))
                && has != wants
            {
                self.error(Rule::Carried, format!("{what}: {a} is {has}, must be {wants} like {b}"));
            }
            if let (Some(has), Some(wants)) = (self.kernel.layout(*a), self.kernel.layout(*b))
                && has != wants
            {
                self.error(Rule::Layout, format!("{what}: {a} lies as {has}, must as {wants} like {b}"));
            }
        }
    }

    fn inst(&mut self, inst: &Inst) {
        let kernel = self.kernel;
        let args: Vec<Option<&TileType>> = inst.args.iter().map(|arg| self.using(*arg, "operand")).collect();
        if inst.location.is_some_and(|l| l as usize >= kernel.locations.len()) {
            self.error(Rule::Location, "names a source place that is not listed");
        }
        // Of an operand without a type nothing more can be said than that it is not defined.
        if let Some(args) = args.into_iter().collect::<Option<Vec<_>>>() {
            let result = inst.result.and_then(|v| kernel.values.get(v.index()));
            let checked = signature::check(kernel, &inst.op, &args, result);
            if let Some((rule, message)) = against(checked, inst, result) {
                self.error(rule, format!("`{}`: {message}", Shown(inst, &kernel.values)));
            } else if let Some(message) = pins::operation(kernel, inst) {
                self.error(Rule::Layout, format!("`{}`: {message}", Shown(inst, &kernel.values)));
            }
        }
        if let Some((tensor, atomic)) = inst.op.accesses()
            && *self.accesses.entry(tensor).or_insert(atomic) != atomic
        {
            self.error(Rule::Atomic, format!("{tensor} is updated atomically, and accessed in another way"));
        }
        if let Some(result) = inst.result {
            self.define(result);
        }
    }
}

/// Rule 10: what an operation gives against what it defines.
fn against(checked: Result<Gives, Broken>, inst: &Inst, result: Option<&TileType>) -> Option<Broken> {
    match (checked, result) {
        (Err(broken), _) => Some(broken),
        (Ok(Gives::Nothing), _) if inst.result.is_none() => None,
        (Ok(Gives::Nothing), _) => Some((Rule::Result, "gives nothing".to_owned())),
        (Ok(Gives::Type(gives)), Some(result)) if gives == *result => None,
        (Ok(Gives::Type(gives)), _) => Some((Rule::Result, format!("gives {gives}"))),
    }
}
