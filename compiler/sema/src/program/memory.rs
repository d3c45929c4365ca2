//! Parts of memory: a name, perhaps indexed or in another shape, as an argument of a launch or the value of a `let`.
//!
//! ```text
//! w[l]                    of a list of weights: the one of layer l
//! x[i], x[i +: n]         one entry along the first dimension, which goes, or n of them
//! q.view(S, H, E / 2, 2)  the same elements in another shape
//! ```
//!
//! A part is its base and the steps that lead to it ([`View`]). What is known to lie outside, or has another number of elements, is refused; so are more than
//! [`MAX_VIEWS`] steps.

use super::{Compiler, Meaning, Memory};
use crate::host::Host;
use tvmc_ir::program::{Base, MAX_VIEWS, View, WeightElement};
use tvmc_ir::tile::MAX_RANK;
use tvmc_lang::ast::{self, Arg, ExprId, ExprKind, IndexKind};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;

impl Compiler<'_, '_> {
    /// Whether an expression speaks of memory: the name at its root does.
    pub(super) fn is_memory(&self, id: ExprId) -> bool {
        let mut at = id;
        loop {
            match &self.file[at].kind {
                ExprKind::Name(name) => {
                    return matches!(self.scope.find(&name.name), Some(Meaning::Memory(_)));
                }
                ExprKind::Index { base, .. }
                | ExprKind::Method { base, .. }
                | ExprKind::Field { base, .. } => at = *base,
                _ => return false,
            }
        }
    }

    pub(super) fn memory(&mut self, id: ExprId) -> Option<Memory> {
        let span = self.file[id].span;
        self.cx.enter(span)?;
        let memory = self.memory_inner(id, span);
        self.cx.leave();
        memory
    }

    fn memory_inner(&mut self, id: ExprId, span: Span) -> Option<Memory> {
        match &self.file[id].kind {
            ExprKind::Name(name) => match self.scope.find(&name.name) {
                Some(Meaning::Memory(memory)) => Some(memory.clone()),
                Some(Meaning::Number(_) | Meaning::Poison) | None => None,
            },
            ExprKind::Index { base, indices, fill } => {
                let memory = self.memory(*base)?;
                if let Some(fill) = fill {
                    self.error(
                        Code::NotInKernel,
                        self.file[*fill].span,
                        "a part of memory has no `else` value",
                        "only in kernels",
                    );
                }
                let [index] = &indices[..] else {
                    self.cx.diags.push(
                        Diagnostic::error(Code::RankMismatch, "in a program one index is taken at a time")
                            .at(span, format!("{} indices", indices.len()))
                            .help("write `t[l][i +: n]`"),
                    );
                    return None;
                };
                self.part(memory, index, span)
            }
            ExprKind::Method { base, name, args } if name.name == "view" => {
                let memory = self.memory(*base);
                let extents: Vec<Option<Host>> = args.iter().map(|a| self.view_extent(a)).collect();
                let extents: Option<Vec<Host>> = extents.into_iter().collect();
                self.view(memory?, extents?, span)
            }
            ExprKind::Method { name, .. } | ExprKind::Field { name, .. } => {
                self.cx.diags.push(
                    Diagnostic::error(Code::UnknownMember, format!("memory has no `{}`", name.name))
                        .at(name.span, "not known")
                        .help("memory has `t[i]`, `t[i +: n]` and `t.view(a, b)`"),
                );
                None
            }
            _ => None,
        }
    }

    fn view_extent(&mut self, arg: &Arg) -> Option<Host> {
        match arg.expr().filter(|_| arg.name.is_none()) {
            Some(expr) => self.integer(expr, "an extent"),
            None => {
                self.error(Code::WrongArgument, arg.span, "an extent is needed here", "not a number");
                None
            }
        }
    }

    fn part(&mut self, mut memory: Memory, index: &ast::IndexItem, span: Span) -> Option<Memory> {
        if memory.list {
            let IndexKind::Point(at) = index.kind else {
                self.error(
                    Code::RankMismatch,
                    index.span,
                    "a list of weights is indexed by the number of a layer",
                    "not a number",
                );
                return None;
            };
            let at = self.integer(at, "the number of a layer")?;
            if let Base::Weight(_, slot) = &mut memory.base {
                *slot = Some(at.expr());
            }
            memory.list = false;
            return Some(memory);
        }
        self.steps(&memory, span)?;
        if memory.shape.is_empty() {
            self.error(Code::RankMismatch, span, "no dimension is left to index", "one index too many");
            return None;
        }
        if memory.shape.len() == 1
            && matches!(index.kind, IndexKind::Point(_))
            && memory.element == WeightElement::Any
        {
            self.cx.diags.push(
                Diagnostic::error(Code::Unsupported, "a weight of any format has no single elements")
                    .at(span, "one element")
                    .help("take rows, `w[i +: n]`, and choose the element in a kernel"),
            );
            return None;
        }
        match index.kind {
            IndexKind::Point(at) => {
                let at = self.integer(at, "an index")?;
                self.bounded(&at, 1, &memory.shape[0], span)?;
                memory.shape.remove(0);
                memory.views.push(View::At(at.expr()));
            }
            IndexKind::Slice { start, extent } => {
                let from = self.integer(start, "an index");
                let length = self.integer(extent, "a number of rows");
                let (from, length) = (from?, length?);
                if let Some(n) = length.constant().and_then(|c| c.as_int()) {
                    self.bounded(&from, n, &memory.shape[0], span)?;
                }
                memory.shape[0] = length.clone();
                memory.views.push(View::Rows { from: from.expr(), length: length.expr() });
            }
            IndexKind::Whole => {
                self.error(
                    Code::RankMismatch,
                    index.span,
                    "the whole of memory needs no index",
                    "leave it out",
                );
                return None;
            }
        }
        Some(memory)
    }

    /// Refuses a part of a part of a part and so on.
    fn steps(&mut self, memory: &Memory, span: Span) -> Option<()> {
        if memory.views.len() < MAX_VIEWS {
            return Some(());
        }
        let message = format!("memory seen through more than {MAX_VIEWS} indices and views");
        self.error(Code::NestingTooDeep, span, message, "one too many");
        None
    }

    /// Refuses rows that are known to lie outside.
    fn bounded(&mut self, from: &Host, length: i64, extent: &Host, span: Span) -> Option<()> {
        let int = |h: &Host| h.constant().and_then(|c| c.as_int());
        let (Some(from), Some(extent)) = (int(from), int(extent)) else { return Some(()) };
        if from >= 0 && length >= 0 && from.checked_add(length).is_some_and(|end| end <= extent) {
            return Some(());
        }
        let rows = match length {
            1 => format!("row {from} lies"),
            _ => format!("rows {from} to {} lie", from.saturating_add(length - 1)),
        };
        self.error(
            Code::StaticOutOfBounds,
            span,
            format!("{rows} outside the {extent} there are"),
            "outside",
        );
        None
    }

    fn view(&mut self, mut memory: Memory, extents: Vec<Host>, span: Span) -> Option<Memory> {
        if memory.list {
            self.error(Code::RankMismatch, span, "choose a layer first: `w[l]`", "a list of weights");
            return None;
        }
        self.steps(&memory, span)?;
        if extents.is_empty() || extents.len() > MAX_RANK {
            self.error(
                Code::RankTooHigh,
                span,
                format!("a view has from 1 to {MAX_RANK} dimensions"),
                "another number",
            );
            return None;
        }
        let count = |shape: &[Host]| {
            shape.iter().try_fold(1i64, |n, h| n.checked_mul(h.constant().and_then(|c| c.as_int())?))
        };
        if let (Some(old), Some(new)) = (count(&memory.shape), count(&extents))
            && old != new
        {
            self.cx.diags.push(
                Diagnostic::error(
                    Code::ViewSize,
                    format!("a view of {new} elements of memory that has {old}"),
                )
                .at(span, "another number of elements")
                .help("the extents multiply to the same number"),
            );
            return None;
        }
        if let Base::State(state) = memory.base
            && self.program.states[state.index()].grows.is_some()
        {
            self.cx.diags.push(
                Diagnostic::error(Code::StateInvalid, "a state that grows has no other shape")
                    .at(span, "a view of it")
                    .help(
                        "its memory is only as long as it was filled: give the kernel the shape that it has",
                    ),
            );
            return None;
        }
        memory.views.push(View::Shape(extents.iter().map(Host::expr).collect()));
        memory.shape = extents;
        Some(memory)
    }
}
