//! The verifier: [`Verified`] programs are what the executor may rely on. It judges untrusted input: no program makes it panic or recurse
//! deeper than its limits.
//!
//! Numbers become known in three phases. *Header*: hyper-parameters, and constants over these alone. *Load*: dimensions of weights as well,
//! which tensors of the model file bind in order of declaration. *Call*: dimensions of inputs and outputs and scalar inputs as well; in a loop,
//! its counter.
//!
//! # The rules
//!
//!  1. **Limits.** At most [`MAX_DECLARATIONS`] declarations, [`MAX_STATEMENTS`] statements nested at most [`MAX_DEPTH`] deep, [`MAX_ARGUMENTS`] arguments and
//!     tune names of a launch, [`MAX_VIEWS`] steps of an argument, [`MAX_EXPRESSION`] operations and operands of an expression, which nest at most 256
//!     deep.
//!  2. **Names.** No name is empty. Hyper-parameters, constants, scalar inputs and memory have different names; a counter differs from every
//!     number around it and from every dimension.
//!  3. **Scope.** A name of an expression is known: declared before its use (constants and defaults use what stands above them), a dimension, or a
//!     counter of a loop around it.
//!  4. **Phase.** Defaults use hyper-parameters; lengths of weight lists use Header numbers; an extent of a weight those and dimensions bound by
//!     an earlier extent or weight, unless it is itself such a dimension; states use Load numbers; everything else may use Call numbers.
//!  5. **Kinds.** Operands are of kinds that their operation takes; extents, lengths, indices and loop bounds are integers, conditions truth
//!     values, a default is of its hyper-parameter's dtype.
//!  6. **Numbers.** Hyper-parameters and scalar inputs are i32 or f32; only a state or a buffer is of a format.
//!  7. **Rank.** Memory has at most [`MAX_RANK`] axes; a state, and a weight of any format, at least one.
//!  8. **Pattern.** The name of a list's tensors has one place `{}` for the number; of a single weight, none.
//!  9. **Fallback.** It is a weight declared before, and a list if and only if its user is: so there are no circles.
//! 10. **Grows.** It is one extent of the state, which stands alone; how far is an integer of the call; only states grow, of a format not along the last axis. Memory that
//!     grows gets no new shape: its elements are not where those of its full shape are.
//! 11. **Declaration.** Memory that an argument names is declared.
//! 12. **List.** A list of weights is indexed once, before every other step; a single weight is not.
//! 13. **View.** Elements and rows are taken of memory that has an axis; from a weight of any format, no single element of its last axis; a new shape
//!     has 1 to [`MAX_RANK`] axes.
//! 14. **Launch.** A kernel's name is not empty, nor is a part of `module::kernel`; tune names are set once.
//!
//! [`verify_launches`](super::verify_launches) goes on with launches against interfaces of kernels:
//!
//! 15. **Kernel.** There is one of this name.
//! 16. **Count** of arguments is that of the kernel's parameters.
//! 17. **Argument.** Memory for a tensor, a number of the parameter's kind for a number.
//! 18. **Element.** The memory's dtype is the parameter's; a weight of any format goes only where a format is generic, and stands for that one parameter;
//!     a generic parameter of floats or integers gets those, and one dtype.
//! 19. **Axes.** The argument has as many as the parameter.
//! 20. **Access.** A kernel writes buffers, states and outputs only.
//! 21. **Tune.** Names set by hand exist, with a value that the kernel offers.
//!
//! Errors come in program order, at most [`MAX_ERRORS`] of them. Each names its rule and its place:
//!
//! ```
//! use tvmc_ir::program::{Rule, parse, verify};
//! let text = "program @p { hyper L: i32 = \"l\" buffer b0 \"x\": f32[M] for l in 0..L { launch f(b0[l][l]) } }";
//! let errors = verify(parse(text).unwrap()).unwrap_err();
//! assert_eq!((errors[0].rule, errors[0].at.as_str()), (Rule::Scope, "buffer b0"));
//! assert_eq!((errors[1].rule, errors[1].at.as_str()), (Rule::View, "body[0].body[0]"));
//! ```

use super::kinds::{Kind, kind, measured};
use super::{
    Argument, Base, Growth, MemoryDecl, MemoryElement, Program, Stmt, View, Weight, WeightDecl, WeightElement,
};
use crate::host::Expr;
use crate::rules;
use crate::text::MAX_EXPR_DEPTH;
use crate::tile::MAX_RANK;
use std::collections::{HashMap, HashSet};
use std::fmt;
use tvmc_types::dtype::DType;

pub use crate::lane::{MAX_DEPTH, MAX_ERRORS};

/// Most declarations.
pub const MAX_DECLARATIONS: usize = 1 << 18;
/// Most statements, those in loops and branches included.
pub const MAX_STATEMENTS: usize = 1 << 18;
/// Most arguments of a launch.
pub const MAX_ARGUMENTS: usize = 256;
/// Most steps from memory to the part that a launch gets.
pub const MAX_VIEWS: usize = 256;
/// Most operations and operands of an expression.
pub const MAX_EXPRESSION: usize = 1 << 12;

/// A program that passed the verifier.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified(Program);

impl Verified {
    /// The program, to be changed and verified again.
    pub fn into_inner(self) -> Program {
        self.0
    }
}

impl std::ops::Deref for Verified {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

rules! {
    /// The rules of the head comment, in its order.
    Rule {
        /// Sizes are within their limits.
        Limits,
        /// Names are not empty and not taken.
        Names,
        /// Names of expressions are known.
        Scope,
        /// Names of expressions are known early enough.
        Phase,
        /// Kinds of numbers.
        Kinds,
        /// Dtypes of hyper-parameters and scalar inputs; memory of a format.
        Numbers,
        /// Number of axes of declared memory.
        Rank,
        /// Names of tensors in the file.
        Pattern,
        /// What stands for a missing weight.
        Fallback,
        /// Growing dimensions.
        Grows,
        /// Memory exists.
        Declaration,
        /// Lists of weights.
        List,
        /// Steps from memory to a part.
        View,
        /// Kernel and tune names.
        Launch,
        /// The kernel exists.
        Kernel,
        /// Number of arguments.
        Count,
        /// Memory or a number.
        Argument,
        /// Element types of arguments.
        Element,
        /// Axes of arguments.
        Axes,
        /// What is written may be.
        Access,
        /// Tune names and values.
        Tune,
    }
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// The rule that was broken.
    pub rule: Rule,
    /// The statement as a path, `body[3].then[0]`, or a declaration, `weight w0`, `hyper L`.
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

/// Checks rules 1 to 14; gives all violations up to [`MAX_ERRORS`].
pub fn verify(program: Program) -> Result<Verified, Vec<VerifyError>> {
    let mut verifier = Verifier {
        program: &program,
        numbers: HashMap::new(),
        taken: HashSet::new(),
        place: Place::default(),
        statements: 0,
        errors: Errors::default(),
    };
    verifier.program();
    let errors = verifier.errors.0;
    if errors.is_empty() { Ok(Verified(program)) } else { Err(errors) }
}

/// Violations, up to [`MAX_ERRORS`].
#[derive(Default)]
pub(super) struct Errors(pub(super) Vec<VerifyError>);

impl Errors {
    pub(super) fn push(&mut self, rule: Rule, at: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(VerifyError { rule, at: at.into(), message: message.into() });
        }
    }
}

/// The path of a statement.
#[derive(Default)]
pub(super) struct Place(Vec<(&'static str, usize)>);

impl Place {
    /// Enters the statements `name` of the current statement.
    pub(super) fn open(&mut self, name: &'static str) {
        self.0.push((name, 0));
    }

    /// Goes to a statement of these.
    pub(super) fn at(&mut self, number: usize) {
        if let Some(last) = self.0.last_mut() {
            last.1 = number;
        }
    }

    pub(super) fn close(&mut self) {
        self.0.pop();
    }

    fn depth(&self) -> usize {
        self.0.len()
    }
}

impl From<&Place> for String {
    fn from(place: &Place) -> String {
        let steps: Vec<String> = place.0.iter().map(|(name, number)| format!("{name}[{number}]")).collect();
        steps.join(".")
    }
}

/// When a number is known.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Header,
    Load,
    Call,
}

impl Phase {
    const fn words(self) -> &'static str {
        match self {
            Phase::Header => "before the weights are loaded",
            Phase::Load => "before a call",
            Phase::Call => "in a call",
        }
    }
}

struct Verifier<'a> {
    program: &'a Program,
    /// Numbers that may be used here. A kind of `None` was reported.
    numbers: HashMap<&'a str, (Option<Kind>, Phase)>,
    /// Names of all declarations.
    taken: HashSet<&'a str>,
    place: Place,
    statements: usize,
    errors: Errors,
}

impl<'a> Verifier<'a> {
    fn error(&mut self, rule: Rule, message: impl Into<String>) {
        let at = String::from(&self.place);
        self.errors.push(rule, at, message);
    }

    fn program(&mut self) {
        let program = self.program;
        let memory =
            program.states.len() + program.buffers.len() + program.inputs.len() + program.outputs.len();
        let numbers = program.hypers.len() + program.consts.len() + program.scalars.len();
        let declarations = memory + numbers + program.weights.len();
        if declarations > MAX_DECLARATIONS {
            let message = format!("{declarations} declarations, may be {MAX_DECLARATIONS}");
            return self.errors.push(Rule::Limits, "program", message);
        }
        if program.name.is_empty() {
            self.errors.push(Rule::Names, "program", "has no name");
        }
        self.hypers();
        for scalar in &program.scalars {
            let at = format!("scalar {}", scalar.name);
            self.numeric(&at, scalar.dtype);
            self.declare(&at, &scalar.name);
            self.numbers.insert(&scalar.name, (Some(Kind::of(scalar.dtype)), Phase::Call));
        }
        let dims = self.dims();
        for name in dims.keys() {
            self.numbers.insert(name, (Some(Kind::Int), dims[name]));
        }
        self.consts();
        self.weights(&dims);
        self.memory("state s", &program.states, Phase::Load);
        self.memory("buffer b", &program.buffers, Phase::Call);
        self.memory("input i", &program.inputs, Phase::Call);
        self.memory("output o", &program.outputs, Phase::Call);
        self.stmts("body", &program.body);
    }

    // Declarations

    /// Rule 2 for a declaration.
    fn declare(&mut self, at: &str, name: &'a str) {
        if name.is_empty() {
            self.errors.push(Rule::Names, at, "has no name");
        } else if !self.taken.insert(name) {
            self.errors.push(Rule::Names, at, format!("`{name}` is declared twice"));
        }
    }

    /// Rule 6.
    fn numeric(&mut self, at: &str, dtype: DType) {
        if !matches!(dtype, DType::I32 | DType::F32) {
            self.errors.push(Rule::Numbers, at, format!("is {dtype}, must be i32 or f32"));
        }
    }

    fn hypers(&mut self) {
        for hyper in &self.program.hypers {
            let at = format!("hyper {}", hyper.name);
            self.numeric(&at, hyper.dtype);
            if let Some(default) = &hyper.default {
                self.expr(&at, default, Phase::Header, Some(Kind::of(hyper.dtype)));
            }
            self.declare(&at, &hyper.name);
            self.numbers.insert(&hyper.name, (Some(Kind::of(hyper.dtype)), Phase::Header));
        }
    }

    /// Dimensions, with the phase that binds them.
    fn dims(&self) -> HashMap<&'a str, Phase> {
        let program = self.program;
        let consts: HashSet<&str> = program.consts.iter().map(|(name, _)| name.as_str()).collect();
        let mut dims = HashMap::new();
        let calls = program.inputs.iter().chain(&program.outputs).map(|m| (&m.shape, Phase::Call));
        // Those of weights come last: what a file binds is known before the call.
        for (shape, phase) in calls.chain(program.weights.iter().map(|w| (&w.shape, Phase::Load))) {
            for extent in shape {
                let Expr::Name(name) = extent else { continue };
                if !self.numbers.contains_key(name.as_str()) && !consts.contains(name.as_str()) {
                    dims.insert(name.as_str(), phase);
                }
            }
        }
        dims
    }

    fn consts(&mut self) {
        for (name, value) in &self.program.consts {
            let at = format!("const {name}");
            let kind = self.expr(&at, value, Phase::Call, None);
            let mut phase = Phase::Header;
            if measured(value) {
                value.names(&mut |n| phase = phase.max(self.numbers.get(n).map_or(phase, |(_, p)| *p)));
            }
            self.declare(&at, name);
            self.numbers.insert(name, (kind, phase));
        }
    }

    fn weights(&mut self, dims: &HashMap<&'a str, Phase>) {
        let mut bound: HashSet<&str> = HashSet::new();
        for (number, weight) in self.program.weights.iter().enumerate() {
            let at = format!("weight w{number}");
            self.declare(&at, &weight.name);
            if let Some(count) = &weight.count {
                self.expr(&at, count, Phase::Header, Some(Kind::Int));
            }
            self.rank(&at, weight.shape.len(), usize::from(weight.element == WeightElement::Any));
            for extent in &weight.shape {
                if let Expr::Name(name) = extent
                    && dims.contains_key(name.as_str())
                {
                    bound.insert(name);
                    continue;
                }
                self.expr(&at, extent, Phase::Load, Some(Kind::Int));
                self.early(&at, extent, &bound);
            }
            self.origin(&at, Weight(number as u32), weight);
        }
    }

    /// Rule 4 for an extent of a weight: it is checked while dimensions are being bound.
    fn early(&mut self, at: &str, extent: &Expr, bound: &HashSet<&str>) {
        if !measured(extent) {
            return;
        }
        let mut late: Option<String> = None;
        extent.names(&mut |name| {
            if let Some((_, Phase::Load)) = self.numbers.get(name)
                && !bound.contains(name)
            {
                late = Some(name.to_owned());
            }
        });
        if let Some(name) = late {
            let message = format!("`{name}` is not bound by an extent before `{extent}`");
            self.errors.push(Rule::Phase, at, message);
        }
    }

    /// Rules 8 and 9.
    fn origin(&mut self, at: &str, weight: Weight, decl: &WeightDecl) {
        let places = decl.pattern.matches("{}").count();
        if places != usize::from(decl.count.is_some()) {
            let what = if decl.count.is_some() { "a list" } else { "a single weight" };
            let message = format!("{:?} has {places} places `{{}}` for {what}", decl.pattern);
            self.errors.push(Rule::Pattern, at, message);
        }
        let Some(fallback) = decl.fallback else { return };
        let other = self.program.weights.get(fallback.index()).filter(|_| fallback < weight);
        match other {
            None => self.errors.push(Rule::Fallback, at, format!("{fallback} is not declared before")),
            Some(other) if other.count.is_some() != decl.count.is_some() => {
                let message = format!("of {weight} and its fallback {fallback}, one is a list");
                self.errors.push(Rule::Fallback, at, message);
            }
            Some(_) => {}
        }
    }

    fn memory(&mut self, what: &str, decls: &'a [MemoryDecl], phase: Phase) {
        for (number, decl) in decls.iter().enumerate() {
            let at = format!("{what}{number}");
            self.declare(&at, &decl.name);
            self.rank(&at, decl.shape.len(), usize::from(phase == Phase::Load));
            let format = matches!(decl.element, MemoryElement::Format(_));
            if format && !matches!(what, "state s" | "buffer b") {
                self.errors.push(Rule::Numbers, at.clone(), "only a state or a buffer is of a format");
            }
            for extent in &decl.shape {
                self.expr(&at, extent, phase, Some(Kind::Int));
            }
            let Some(Growth { extent, to }) = &decl.grows else { continue };
            self.expr(&at, to, Phase::Call, Some(Kind::Int));
            let axes = decl.shape.iter().filter(|e| matches!(e, Expr::Name(name) if name == extent)).count();
            if phase != Phase::Load {
                self.errors.push(Rule::Grows, at, "only a state grows");
            } else if axes != 1 {
                self.errors.push(
                    Rule::Grows,
                    at,
                    format!("`{extent}` is {axes} of its extents, must be one"),
                );
            } else if format && matches!(decl.shape.last(), Some(Expr::Name(name)) if name == extent) {
                self.errors.push(Rule::Grows, at, "a state of a format grows along its groups");
            }
        }
    }

    /// Rule 7.
    fn rank(&mut self, at: &str, axes: usize, least: usize) {
        if !(least..=MAX_RANK).contains(&axes) {
            let message = format!("has {axes} axes, must have {least} to {MAX_RANK}");
            self.errors.push(Rule::Rank, at, message);
        }
    }

    // Expressions

    /// Rules 1, 3, 4 and 5 for an expression that must be known in a phase. Gives its kind, if that is sound.
    fn expr(&mut self, at: &str, expr: &Expr, phase: Phase, want: Option<Kind>) -> Option<Kind> {
        if !measured(expr) {
            let message = format!(
                "an expression of more than {MAX_EXPRESSION} operations, or nested deeper than {MAX_EXPR_DEPTH}"
            );
            self.errors.push(Rule::Limits, at, message);
            return None;
        }
        let mut wrong: Vec<(Rule, String)> = Vec::new();
        expr.names(&mut |name| {
            let message = match self.numbers.get(name) {
                None => (Rule::Scope, format!("`{name}` is not known")),
                Some((_, known)) if *known > phase => {
                    (Rule::Phase, format!("`{name}` is not known {}", phase.words()))
                }
                Some(_) => return,
            };
            if !wrong.contains(&message) && wrong.len() < MAX_ERRORS {
                wrong.push(message);
            }
        });
        for (rule, message) in wrong {
            self.errors.push(rule, at, message);
        }
        let found = kind(expr, &|name| self.numbers.get(name).and_then(|(kind, _)| *kind));
        match (found, want) {
            (Err(message), _) => {
                self.errors.push(Rule::Kinds, at, message);
                None
            }
            (Ok(Some(found)), Some(want)) if found != want => {
                let message = format!("`{expr}` is {}, must be {}", found.word(), want.word());
                self.errors.push(Rule::Kinds, at, message);
                None
            }
            (Ok(found), _) => found,
        }
    }

    // Statements

    fn stmts(&mut self, name: &'static str, stmts: &'a [Stmt]) {
        if self.place.depth() > MAX_DEPTH {
            return self.error(Rule::Limits, format!("statements nest deeper than {MAX_DEPTH}"));
        }
        self.place.open(name);
        for (number, stmt) in stmts.iter().enumerate() {
            self.place.at(number);
            self.statements += 1;
            if self.statements > MAX_STATEMENTS {
                self.error(Rule::Limits, format!("more than {MAX_STATEMENTS} statements"));
                break;
            }
            self.stmt(stmt);
        }
        self.place.close();
    }

    fn here(&mut self, expr: &Expr, want: Option<Kind>) {
        let at = String::from(&self.place);
        self.expr(&at, expr, Phase::Call, want);
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Launch { kernel, args, with, .. } => self.launch(kernel, args, with),
            Stmt::For { counter, from, to, body } => {
                self.here(from, Some(Kind::Int));
                self.here(to, Some(Kind::Int));
                if counter.is_empty() {
                    self.error(Rule::Names, "the counter has no name");
                }
                if self.numbers.contains_key(counter.as_str()) {
                    self.error(Rule::Names, format!("the counter's name `{counter}` is taken"));
                    return self.stmts("body", body);
                }
                self.numbers.insert(counter, (Some(Kind::Int), Phase::Call));
                self.stmts("body", body);
                self.numbers.remove(counter.as_str());
            }
            Stmt::If { condition, then, otherwise } => {
                self.here(condition, Some(Kind::Bool));
                self.stmts("then", then);
                self.stmts("else", otherwise);
            }
        }
    }

    fn launch(&mut self, kernel: &str, args: &[Argument], with: &[(String, i64)]) {
        if kernel.split("::").any(str::is_empty) {
            self.error(Rule::Launch, format!("{kernel:?} is no name of a kernel"));
        }
        if args.len().max(with.len()) > MAX_ARGUMENTS {
            let message =
                format!("{} arguments and {} tune names, may be {MAX_ARGUMENTS}", args.len(), with.len());
            return self.error(Rule::Limits, message);
        }
        for (at, (name, _)) in with.iter().enumerate() {
            if name.is_empty() || with[..at].iter().any(|(other, _)| other == name) {
                self.error(Rule::Launch, format!("tune name {name:?} is empty or set twice"));
            }
        }
        for argument in args {
            match argument {
                Argument::Scalar(expr) => self.here(expr, None),
                Argument::Memory { base, views } => self.part(base, views),
            }
        }
    }

    /// Rules 11 to 13 and the numbers of an argument.
    fn part(&mut self, base: &Base, views: &[View]) {
        if views.len() > MAX_VIEWS {
            let message = format!("{base} goes through {} steps, may be {MAX_VIEWS}", views.len());
            return self.error(Rule::Limits, message);
        }
        let program = self.program;
        if let Base::Weight(weight, index) = base {
            if let Some(index) = index {
                self.here(index, Some(Kind::Int));
            }
            match (program.weights.get(weight.index()).map(|w| w.count.is_some()), index) {
                (Some(true), None) => self.error(Rule::List, format!("{weight} is a list and not indexed")),
                (Some(false), Some(_)) => self.error(Rule::List, format!("{weight} is no list")),
                (Some(true), Some(_)) | (Some(false), None) | (None, _) => {}
            }
        }
        let Some((element, shape)) = program.declared(base) else {
            return self.error(Rule::Declaration, format!("{base} is not declared"));
        };
        let mut axes = shape.len();
        let any = element == WeightElement::Any;
        for view in views {
            match view {
                View::At(index) => {
                    self.here(index, Some(Kind::Int));
                    if axes == 0 {
                        return self
                            .error(Rule::View, format!("an element of {base}, which has no axis left"));
                    }
                    if axes == 1 && any {
                        let message = format!("a single element of {base}, whose format the file decides");
                        return self.error(Rule::View, message);
                    }
                    axes -= 1;
                }
                View::Rows { from, length } => {
                    self.here(from, Some(Kind::Int));
                    self.here(length, Some(Kind::Int));
                    if axes == 0 {
                        return self.error(Rule::View, format!("rows of {base}, which has no axis left"));
                    }
                }
                View::Shape(shape) => {
                    for extent in shape {
                        self.here(extent, Some(Kind::Int));
                    }
                    if !(1..=MAX_RANK).contains(&shape.len()) {
                        let message = format!("{base} as {} axes, must be 1 to {MAX_RANK}", shape.len());
                        return self.error(Rule::View, message);
                    }
                    if let Base::State(state) = base
                        && program.states.get(state.index()).is_some_and(|s| s.grows.is_some())
                    {
                        return self.error(Rule::Grows, format!("another shape of {base}, which grows"));
                    }
                    axes = shape.len();
                }
            }
        }
    }
}
