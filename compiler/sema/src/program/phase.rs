//! When the numbers of a program become known, and what must be known early.
//!
//! | number | known from |
//! |---|---|
//! | hyper-parameter, constant over these | the header of the model file |
//! | dimension of a weight | its tensor, in order of declaration |
//! | dimension of an input or output only, scalar input | each call |
//!
//! So defaults and lengths of weight lists use the first kind, extents of weights those and dimensions bound before, states both. A constant
//! in a default or length is replaced by its value: program IR has only hyper-parameters there.
//!
//! ```text
//! weight a: any[V, D]; weight b: f32[V / 2];      fine: `V` is bound by `a`
//! weight b: f32[V / 2]; weight a: any[V, D];      error: `V` is not known yet
//! state keys: f16[S, D];                          error: `S` is known in a call only
//! ```

use super::{Compiler, Meaning};
use crate::host::{Host, is_small};
use std::collections::{BTreeMap, BTreeSet};
use tvmc_ir::host::Expr;
use tvmc_ir::program::MAX_EXPRESSION;
use tvmc_lang::ast::{Block, Declaration, Ident, ItemKind, StmtKind};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// From when on a number is known.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Header,
    Load,
    Call,
}

/// When numbers become known; see the module head.
#[derive(Default)]
pub(super) struct Phases {
    /// Hyper-parameters and constants.
    declared: BTreeMap<String, Phase>,
    /// Dimensions, and whether the file binds them.
    dims: BTreeMap<String, bool>,
    /// Dimensions that a weight so far has bound.
    bound: BTreeSet<String>,
}

impl Phases {
    /// Notes a dimension of a weight (of the file) or of an input or output.
    pub(super) fn dimension(&mut self, name: &str, file: bool) {
        *self.dims.entry(name.to_owned()).or_default() |= file;
    }

    pub(super) fn is_dimension(&self, name: &str) -> bool {
        self.dims.contains_key(name)
    }

    pub(super) fn hyper(&mut self, name: &str) {
        self.declared.insert(name.to_owned(), Phase::Header);
    }

    pub(super) fn constant(&mut self, name: &str, value: &Expr) {
        let mut phase = Phase::Header;
        value.names(&mut |n| phase = phase.max(self.of(n)));
        self.declared.insert(name.to_owned(), phase);
    }

    fn of(&self, name: &str) -> Phase {
        match (self.declared.get(name), self.dims.get(name)) {
            (Some(phase), _) => *phase,
            (None, Some(true)) => Phase::Load,
            (None, Some(false) | None) => Phase::Call,
        }
    }

    /// The first name for which this holds.
    fn first(expr: &Expr, mut wrong: impl FnMut(&str) -> bool) -> Option<String> {
        let mut first = None;
        expr.names(&mut |name| {
            if first.is_none() && wrong(name) {
                first = Some(name.to_owned());
            }
        });
        first
    }
}

impl Compiler<'_, '_> {
    /// Whether a number declared so far is a name of the IR.
    pub(super) fn keeps_name(&self, name: &str) -> bool {
        let program = &self.program;
        program.hypers.iter().any(|h| h.name == name)
            || program.consts.iter().any(|(n, _)| n == name)
            || program.scalars.iter().any(|s| s.name == name)
    }

    /// Dimensions: capital names that stand alone as an extent of a weight, input or output, and that nothing else defines.
    pub(super) fn dims(&mut self, body: &Block) {
        let mut defined: Vec<&str> = Vec::new();
        let mut alone: Vec<(&Ident, bool)> = Vec::new();
        for stmt in &body.stmts {
            let StmtKind::Declare(declaration) = &stmt.kind else { continue };
            let ty = match declaration {
                Declaration::Hyper { name, .. } => {
                    defined.push(&name.name);
                    continue;
                }
                Declaration::Const(c) => {
                    defined.push(&c.name.name);
                    continue;
                }
                Declaration::State { .. } => continue,
                Declaration::Weight { ty, .. }
                | Declaration::Input { ty, .. }
                | Declaration::Output { ty, .. } => ty,
            };
            let file = matches!(declaration, Declaration::Weight { .. });
            let names = ty.shape.iter().flatten().filter_map(|e| self.file.exprs.name(*e));
            alone.extend(names.map(|name| (name, file)));
        }
        for (name, file) in alone {
            let capital = name.name.starts_with(|c: char| c.is_ascii_uppercase());
            if self.phases.is_dimension(&name.name) {
                self.phases.dimension(&name.name, file);
                continue;
            }
            let known = defined.contains(&name.name.as_str())
                || self.scope.find(&name.name).is_some()
                || self
                    .cx
                    .lib
                    .lookup(self.module, &name.name)
                    .is_some_and(|id| matches!(self.cx.lib.item(id).kind, ItemKind::Const(_)));
            if capital && !known {
                let value = Host::Expr(Expr::Name(name.name.clone()), DType::I32);
                self.scope.names[0].insert(name.name.clone(), (Meaning::Number(value), name.span));
                self.phases.dimension(&name.name, file);
            }
        }
    }

    /// Refuses what is not known from the header alone, and replaces constants by their values.
    pub(super) fn over_hypers(&mut self, expr: Expr, span: Span) -> Option<Expr> {
        if let Some(name) = Phases::first(&expr, |n| self.phases.of(n) > Phase::Header) {
            self.late(&name, "when the header of the model file is read", span);
            return None;
        }
        let mut expr = expr;
        // A constant uses those before it only, so that one pass from the last to the first replaces all.
        for (name, value) in self.program.consts.iter().rev() {
            let mut uses = 0;
            expr.names(&mut |n| uses += usize::from(n == name));
            if uses == 0 {
                continue;
            }
            // Judged before the copies are made; what is left is the depth.
            let fits = size(&expr).saturating_add(uses.saturating_mul(size(value))) < MAX_EXPRESSION;
            if fits {
                expr = replaced(&expr, name, value);
            }
            if !fits || !is_small(&expr) {
                self.error(
                    Code::NestingTooDeep,
                    span,
                    "an expression too large with its constants replaced",
                    "too large",
                );
                return None;
            }
        }
        Some(expr)
    }

    /// Binds and checks the extents of a weight.
    pub(super) fn file_extents(&mut self, shape: &[Expr], span: Span) -> Option<()> {
        for extent in shape {
            if let Expr::Name(name) = extent
                && self.phases.is_dimension(name)
            {
                self.phases.bound.insert(name.clone());
                continue;
            }
            let phases = &self.phases;
            let early = |n: &str| phases.of(n) == Phase::Header || phases.bound.contains(n);
            if let Some(name) = Phases::first(extent, |n| !early(n)) {
                self.late(&name, "when this weight is loaded", span);
                return None;
            }
        }
        Some(())
    }

    /// Checks the extents of a state.
    pub(super) fn before_calls(&mut self, shape: &[Expr], span: Span) -> Option<()> {
        let late = |extent| Phases::first(extent, |n| self.phases.of(n) == Phase::Call);
        let name = shape.iter().find_map(late);
        match name {
            Some(name) => {
                self.late(&name, "when a model is loaded", span);
                None
            }
            None => Some(()),
        }
    }

    fn late(&mut self, name: &str, when: &str, span: Span) {
        self.cx.diags.push(
            Diagnostic::error(Code::HostExpression, format!("`{name}` is not known yet {when}"))
                .at(span, "needed here")
                .help("use hyper-parameters, and dimensions that a weight above has as an extent of its own"),
        );
    }
}

/// Operations and operands.
fn size(expr: &Expr) -> usize {
    match expr {
        Expr::Const(_) | Expr::Name(_) => 1,
        Expr::Unary(_, a) => 1 + size(a),
        Expr::Binary(_, a, b) => 1 + size(a) + size(b),
    }
}

/// The expression with a name replaced.
fn replaced(expr: &Expr, name: &str, value: &Expr) -> Expr {
    match expr {
        Expr::Name(n) if n == name => value.clone(),
        Expr::Const(_) | Expr::Name(_) => expr.clone(),
        Expr::Unary(op, a) => Expr::Unary(*op, Box::new(replaced(a, name, value))),
        Expr::Binary(op, a, b) => Expr::binary(*op, replaced(a, name, value), replaced(b, name, value)),
    }
}
