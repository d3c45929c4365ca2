//! Statements and expressions of a kernel's body to tile IR, in one walk that checks and emits at once.
//!
//! An expression gives an [`Operand`], or `None` after an error was reported: what depends on it stays silent, so one mistake gives one message.
//! When any error was reported, the kernel under construction is thrown away; until then it is kept consistent, so that the walk can go on.
//!
//! ```text
//! acc += dot(x[m +: 8, k +: 32], w)     v7 = load ..; v9 = dot v7, v8, v6      (v6 is what `acc` holds)
//! ```
//!
//! Variables are not memory: an `if` or a loop passes on those that its blocks assign (found by their names beforehand).
//!
//! | file | what it does |
//! |---|---|
//! | `convert` | dtypes: promotion, adoption by literals, `as`, broadcasting |
//! | `expr`, `names`, `index` | operators; what a name means; `.T`, index lists, methods |
//! | `known` | what must be known when the kernel is compiled |
//! | `call`, `tiles` | element-wise functions and fns; functions of whole tiles |
//! | `along` | functions along one axis: scans, `gather`, `sort` |
//! | `pins`, `inferred` | pinned layouts, `relayout`, `view`; layouts that follow |
//! | `product` | `dot` and what adds onto it |
//! | `memory`, `encode` | loads and stores; stores to formats |
//! | `stmt`, `flow` | statements; control flow with its variables |

mod along;
mod call;
mod convert;
mod copies;
mod derived;
mod encode;
mod expr;
mod fields;
mod flow;
mod index;
mod inferred;
mod known;
mod memory;
mod names;
mod pins;
mod product;
mod scatter;
mod stmt;
mod tiles;

use crate::constant::Constant;
use crate::facts::Facts;
use crate::host::Cx;
use crate::library::ItemId;
use crate::limits::MAX_VALUES;
use crate::signature::Header;
use std::collections::HashMap;
use tvmc_ir::host::Expr;
use tvmc_ir::tile::{Binary, Builder, CastRule, MAX_ELEMENTS, MAX_RANK, Memory, Op, Param, TileType, Value};
use tvmc_lang::ast;
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind, Narrowing};

/// What an expression gives.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Operand {
    /// A number known at compile time.
    Constant(Constant),
    /// A scalar or tile.
    Value(Value),
    /// A tensor argument or block-shared tensor.
    Memory(Memory),
    /// A field of the format whose `value` this is, by number.
    Field(u32),
    /// A table, by its number in the format or kernel.
    Table(u32),
    /// `block`.
    Block,
}

/// A name of the body.
pub(crate) struct Local {
    pub name: String,
    pub span: Span,
    /// `None`: wrong, reported.
    pub operand: Option<Operand>,
    pub mutable: bool,
}

/// Where a local is: scope and place in it.
pub(crate) type Slot = (usize, usize);

/// The name under which the flag of a loop with `break` is kept; a keyword, so no variable has it.
pub(crate) const BREAK: &str = "break";

/// The name of the flag of a kernel with `exit`; no name of the language has parentheses.
pub(crate) const EXIT: &str = "exit()";

/// What is being compiled.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Kernel,
    /// The `value` of a format, with the number of elements in its group.
    Format(u32),
    /// A fn on its own, to be checked.
    Function,
}

/// Fields of the format whose `value` is compiled, and the tables that it or a kernel reads.
#[derive(Default)]
pub(crate) struct FormatScope {
    /// Name, dtype and count of each field.
    pub fields: Vec<(String, DType, u32)>,
    /// Name, shape, dtype and entries of each table.
    pub tables: Vec<(String, Vec<u32>, DType, Vec<u32>)>,
    /// Which tables of the file are in `tables` already.
    pub items: HashMap<ItemId, u32>,
}

pub(crate) struct Elab<'c, 'l> {
    pub cx: &'c mut Cx<'l>,
    pub b: Builder,
    pub header: Header,
    pub mode: Mode,
    pub format: FormatScope,
    /// The file whose expressions are read.
    pub module: usize,
    pub scopes: Vec<Vec<Local>>,
    /// Whether the kernel's parameters and dimensions are visible: not inside a fn.
    pub header_visible: bool,
    /// Fns being expanded.
    pub calls: Vec<ItemId>,
    facts: Vec<Facts>,
    spans: Vec<Span>,
    /// Dimensions that had to be constants.
    pub required: u64,
    /// See [`crate::signature::Bindings::sample`].
    pub sample: bool,
    /// Lanes pinned by a header or a layout, and where.
    pub lanes: Option<(u32, Span)>,
    /// The first layout that was written.
    pub first_layout: Option<tvmc_types::layout::Layout>,
    /// Where layouts of values are written.
    pub pinned_at: HashMap<Value, Span>,
    /// Views of tiles whose layouts are not written.
    open_views: Vec<inferred::OpenView>,
    /// Operations that stand for something else in messages about padding.
    pub roles: HashMap<Value, crate::padding::Role>,
    /// Loops around the current statement, with a `break` flag if they have one.
    loops: Vec<Option<Slot>>,
    /// How each tensor argument is first accessed (whether atomically), and where.
    pub accesses: HashMap<Param, (bool, Span)>,
    /// Whether the condition of a `while` is compiled.
    repeated: bool,
    full: bool,
}

pub(crate) fn narrowing(n: ast::Narrowing) -> Narrowing {
    match n {
        ast::Narrowing::Wrap => Narrowing::Wrap,
        ast::Narrowing::Saturate => Narrowing::Saturate,
    }
}

/// A shape as text: `[8, 16]`.
pub(crate) fn shape_text(shape: &[u32]) -> String {
    let extents: Vec<String> = shape.iter().map(u32::to_string).collect();
    format!("[{}]", extents.join(", "))
}

impl<'c, 'l> Elab<'c, 'l> {
    pub fn new(cx: &'c mut Cx<'l>, module: usize, mode: Mode, name: &str) -> Self {
        Elab {
            cx,
            b: Builder::new(name),
            header: Header::default(),
            mode,
            format: FormatScope::default(),
            module,
            scopes: vec![Vec::new()],
            header_visible: true,
            calls: Vec::new(),
            facts: Vec::new(),
            spans: Vec::new(),
            required: 0,
            sample: false,
            lanes: None,
            first_layout: None,
            pinned_at: HashMap::new(),
            open_views: Vec::new(),
            roles: HashMap::new(),
            loops: Vec::new(),
            accesses: HashMap::new(),
            repeated: false,
            full: false,
        }
    }

    pub fn file(&self) -> &'l ast::File {
        &self.cx.lib.module(self.module).file
    }

    pub fn span(&self, id: ast::ExprId) -> Span {
        self.file()[id].span
    }

    pub fn ty(&self, value: Value) -> TileType {
        self.b.ty(value).clone()
    }

    #[track_caller]
    pub fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) {
        self.cx.diags.error(code, span, message, label);
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.cx.diags.push(diagnostic);
    }

    // ---- names ----

    pub fn bind(&mut self, name: &ast::Ident, operand: Option<Operand>, mutable: bool) {
        let taken = self
            .scopes
            .last()
            .and_then(|scope| scope.iter().find(|l| l.name == name.name).map(|l| Some(l.span)))
            .or_else(|| {
                let outermost = self.scopes.len() == 1 && self.header_visible;
                outermost.then(|| self.header_span(&name.name)).flatten()
            });
        if let Some(first) = taken {
            let d = Diagnostic::error(Code::DuplicateName, format!("`{}` is defined twice", name.name))
                .at(name.span, "defined again")
                .help("rename one of them; only an inner block may define the name anew");
            self.report(match first {
                Some(first) => d.also(first, "first definition"),
                None => d,
            });
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(Local { name: name.name.clone(), span: name.span, operand, mutable });
        }
    }

    /// Whether the kernel's header defines the name, and where if that is known.
    fn header_span(&self, name: &str) -> Option<Option<Span>> {
        use crate::host::{Env, Named};
        if let Some(param) = self.header.params.iter().find(|p| p.name.name == name) {
            return Some(Some(param.name.span));
        }
        match self.header.name(name) {
            Named::Unknown => None,
            Named::Value(_) | Named::Other(_) | Named::Poison => {
                Some(self.header.dims.iter().find(|d| d.name == name).map(|d| d.span))
            }
        }
    }

    pub fn find_local(&self, name: &str) -> Option<Slot> {
        self.scopes
            .iter()
            .enumerate()
            .rev()
            .find_map(|(depth, scope)| scope.iter().rposition(|l| l.name == name).map(|at| (depth, at)))
    }

    pub fn local(&self, (depth, at): Slot) -> &Local {
        &self.scopes[depth][at]
    }

    pub fn set_local(&mut self, (depth, at): Slot, operand: Operand) {
        self.scopes[depth][at].operand = Some(operand);
    }

    // ---- values ----

    pub fn facts(&self, value: Value) -> Facts {
        self.facts.get(value.index()).copied().unwrap_or_else(|| Facts::of(self.b.ty(value).dtype))
    }

    pub fn set_facts(&mut self, value: Value, facts: Facts) {
        for at in self.facts.len()..=value.index() {
            let known = Facts::of(self.b.kernel.values[at].dtype);
            self.facts.push(known);
        }
        self.facts[value.index()] = facts;
    }

    /// Facts and places of all values, for the padding analysis.
    pub fn all_facts(&mut self) -> (Vec<Facts>, Vec<Span>) {
        let count = self.b.kernel.values.len();
        for at in self.facts.len()..count {
            let known = Facts::of(self.b.kernel.values[at].dtype);
            self.facts.push(known);
        }
        self.spans.resize(count, Span::default());
        (self.facts.clone(), self.spans.clone())
    }

    /// Refuses what no block could hold.
    pub fn check_shape(&mut self, shape: &[u32], span: Span) -> Option<()> {
        if shape.len() > MAX_RANK {
            let message = format!("a tile has at most {MAX_RANK} dimensions, this one {}", shape.len());
            self.error(Code::RankTooHigh, span, message, "too many");
            return None;
        }
        let elements = shape.iter().try_fold(1u64, |n, e| n.checked_mul(u64::from(*e)));
        if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            let message = format!("a tile {} has more than {MAX_ELEMENTS} elements", shape_text(shape));
            self.report(
                Diagnostic::error(Code::TileTooLarge, message)
                    .at(span, "too large")
                    .help("work on smaller slices, in a loop or by a larger grid"),
            );
            return None;
        }
        Some(())
    }

    /// Appends an operation.
    pub fn define(&mut self, op: Op, args: &[Value], ty: TileType, span: Span) -> Option<Value> {
        if self.b.kernel.values.len() >= MAX_VALUES {
            if !self.full {
                self.full = true;
                self.report(
                    Diagnostic::error(
                        Code::Unsupported,
                        format!("with its fns expanded the body has more than {MAX_VALUES} operations"),
                    )
                    .at(span, "here the limit is passed")
                    .help("move work into loops or into a second kernel"),
                );
            }
            return None;
        }
        self.check_shape(&ty.shape, span)?;
        let facts = self.derive(&op, args, &ty);
        let location = self.cx.lib.location(span);
        self.b.at(&location);
        let value = self.b.define(op, args, ty);
        self.set_facts(value, facts);
        self.spans.resize(value.index() + 1, Span::default());
        self.spans[value.index()] = span;
        Some(value)
    }

    /// Appends an operation without a result.
    pub fn effect(&mut self, op: Op, args: &[Value], span: Span) {
        let location = self.cx.lib.location(span);
        self.b.at(&location);
        self.b.effect(op, args);
    }

    fn derive(&self, op: &Op, args: &[Value], ty: &TileType) -> Facts {
        let of = |at: usize| self.facts(args[at]);
        // An unsigned number beyond 2^31 is negative as an i32: nothing is claimed.
        if ty.dtype == DType::U32 || !matches!(ty.dtype.kind(), Kind::Signed | Kind::Unsigned) {
            return Facts::ANY;
        }
        match op {
            Op::Const(bits) => Facts::constant(i64::from(*bits as i32)),
            Op::Dim(dim) => Facts::dimension(*dim, self.dim_multiple(*dim)),
            Op::BlockIndex(axis) => self.block_facts(usize::from(*axis)),
            Op::GroupIndex => match self.mode {
                Mode::Format(group) => Facts::range(0, i64::from(group) - 1, 1),
                Mode::Kernel | Mode::Function => Facts::ANY,
            },
            Op::Iota => Facts::range(0, ty.elements() as i64 - 1, 1),
            Op::Unary(op) => Facts::unary(*op, of(0)),
            Op::Binary(op) => Facts::binary(*op, of(0), of(1)),
            Op::Select => of(1).union(of(2)),
            Op::Cast(CastRule::Exact)
                if matches!(self.b.ty(args[0]).dtype.kind(), Kind::Signed | Kind::Unsigned)
                    && self.b.ty(args[0]).dtype != DType::U32 =>
            {
                of(0)
            }
            Op::Broadcast | Op::Reshape | Op::Relayout | Op::Permute(_) => of(0),
            Op::Table(at) => {
                let Some((_, _, _, entries)) = self.format.tables.get(*at as usize) else {
                    return Facts::ANY;
                };
                let values = entries.iter().map(|e| i64::from(*e as i32));
                let all = Facts::range(values.clone().min().unwrap_or(0), values.max().unwrap_or(0), 1);
                // Outside a table there are zeros, and no format reads there.
                if matches!(self.mode, Mode::Format(_)) { all } else { all.union(Facts::constant(0)) }
            }
            Op::Scalar(_)
            | Op::Fma
            | Op::Cast(_)
            | Op::Bitcast
            | Op::View
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
            | Op::Assert(_)
            | Op::Print(_) => Facts::of(ty.dtype),
        }
    }

    fn dim_multiple(&self, dim: tvmc_ir::tile::Dim) -> i64 {
        let Some(decl) = self.b.kernel.dims.get(dim.index()) else { return 1 };
        let mut multiple = 1;
        for (condition, _) in &self.header.assumptions {
            use tvmc_ir::host::Binary::{Eq, Rem};
            if let Expr::Binary(Eq, left, right) = condition
                && right.as_int() == Some(0)
                && let Expr::Binary(Rem, name, divisor) = left.as_ref()
                && let (Expr::Name(name), Some(divisor)) = (name.as_ref(), divisor.as_int())
                && *name == decl.name
                && (1..=1 << 30).contains(&divisor)
            {
                multiple = divisor.max(multiple);
            }
        }
        multiple
    }

    fn block_facts(&self, axis: usize) -> Facts {
        let any = Facts::range(0, i64::from(i32::MAX), 1);
        let Some(size) = self.header.grid.get(axis) else { return any };
        let dim = |name: &str| {
            let at = self.b.kernel.dims.iter().position(|d| d.name == name)?;
            Some(tvmc_ir::tile::Dim(at as u32))
        };
        match size.expr() {
            Expr::Const(tvmc_ir::host::Number::Int(n)) if n > 0 => Facts::range(0, n - 1, 1),
            Expr::Name(name) => dim(&name).map_or(any, |d| Facts::block(d, 1)),
            Expr::Binary(tvmc_ir::host::Binary::CeilDiv, a, b) => match (a.as_ref(), b.as_int()) {
                (Expr::Name(name), Some(n)) if n > 0 => dim(name).map_or(any, |d| Facts::block(d, n)),
                _ => any,
            },
            Expr::Const(_) | Expr::Unary(..) | Expr::Binary(..) => any,
        }
    }

    /// A scalar constant of a computing type.
    pub fn constant(&mut self, bits: u32, dtype: DType, span: Span) -> Option<Value> {
        self.define(Op::Const(bits), &[], TileType::scalar(dtype), span)
    }

    pub fn i32(&mut self, value: i32, span: Span) -> Option<Value> {
        self.constant(value as u32, DType::I32, span)
    }

    /// A bool to go on with after an error.
    pub fn some_bool(&mut self) -> Value {
        self.b.define(Op::Const(0), &[], TileType::scalar(DType::BOOL))
    }

    /// An i32 to go on with after an error.
    pub fn some_i32(&mut self) -> Value {
        self.b.i32(0)
    }

    /// Two values element by element, of one dtype, after broadcasting.
    pub fn elementwise(&mut self, op: Binary, a: Value, b: Value, span: Span) -> Option<Value> {
        let shape = self.common_shape(&[a, b], span)?;
        let a = self.broadcast(a, &shape, span)?;
        let b = self.broadcast(b, &shape, span)?;
        let dtype = if op.is_comparison() { DType::BOOL } else { self.b.ty(a).dtype };
        self.define(Op::Binary(op), &[a, b], TileType { dtype, shape }, span)
    }

    /// What a constant needs its dimensions to be: known.
    pub fn require(&mut self, constant: &Constant) {
        self.required |= constant.dims;
    }
}
