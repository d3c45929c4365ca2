//! What the grammar's actions call: makes nodes, decodes literals, guards depth, collects errors.
//!
//! The depth of every expression is known when it is made (one more than its deepest child). A node that would pass
//! [`MAX_NESTING`] becomes an [`ExprKind::Error`] and is reported once an item. So a chain of a hundred thousand `+` or
//! `-` gives a clear message, and no walk over a tree overflows the stack. The parser itself keeps its stack on the heap.

use crate::ast::*;
use crate::diag::{Code, Diagnostic};
use crate::limits::{MAX_ARMS, MAX_NESTING};
use crate::literal::{self, Number};
use crate::span::{SourceId, Span};
use crate::token::Tok;
use lalrpop_util::{ErrorRecovery, ParseError};
use std::cell::Cell;
use std::rc::Rc;

/// What the generated parser gives to an action after `!`.
pub(crate) type Recovery = ErrorRecovery<u32, Tok, TooManyErrors>;

/// Ends the parsing of an item that has more errors than will be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyErrors;

/// A place where the grammar could not go on.
#[derive(Clone, Debug)]
pub(crate) struct SyntaxError {
    /// The token that does not fit; `None` at the end of the item.
    pub found: Option<Found>,
    /// Byte offset.
    pub at: u32,
    /// The terminals that would have fitted, as the grammar names them, in quotes.
    pub expected: Vec<String>,
}

/// A token that does not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub tok: Tok,
    pub span: Span,
}

impl SyntaxError {
    /// Whether a terminal, given with its quotes, would have fitted.
    pub fn expects(&self, terminal: &str) -> bool {
        self.expected.iter().any(|e| e == terminal)
    }
}

/// Which expression makes memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allocation {
    Zeros,
    Shared,
    Buffer,
}

/// State of parsing one item.
pub(crate) struct Builder<'s> {
    source: SourceId,
    text: &'s str,
    exprs: Exprs,
    /// Expressions that were there before this item.
    kept: usize,
    /// Depth of each expression of this item.
    depths: Vec<u16>,
    too_deep: bool,
    errors: Vec<SyntaxError>,
    /// Number of errors, seen by the token stream too.
    error_count: Rc<Cell<usize>>,
    diagnostics: Vec<Diagnostic>,
}

impl<'s> Builder<'s> {
    pub fn new(source: SourceId, text: &'s str, exprs: Exprs) -> Self {
        let kept = exprs.len();
        Builder {
            source,
            text,
            exprs,
            kept,
            depths: Vec::new(),
            too_deep: false,
            errors: Vec::new(),
            error_count: Rc::default(),
            diagnostics: Vec::new(),
        }
    }

    /// Forgets this item, to parse it again.
    pub fn restart(&mut self) {
        self.exprs.truncate(self.kept);
        self.depths.clear();
        self.too_deep = false;
        self.errors.clear();
        self.error_count.set(0);
        self.diagnostics.clear();
    }

    /// A count of errors that goes along with the parsing.
    pub fn error_count(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.error_count)
    }

    /// The expressions and what was found wrong beyond the grammar.
    pub fn finish(self) -> (Exprs, Vec<Diagnostic>) {
        (self.exprs, self.diagnostics)
    }

    /// The grammar's errors in source order.
    pub fn take_errors(&mut self) -> Vec<SyntaxError> {
        self.errors.sort_by_key(|e| e.at);
        std::mem::take(&mut self.errors)
    }

    pub fn failed(&mut self, error: ParseError<u32, Tok, TooManyErrors>) {
        let (found, at, expected) = match error {
            ParseError::UnrecognizedToken { token: (l, tok, r), expected } => {
                (Some(Found { tok, span: self.span(l, r) }), l, expected)
            }
            ParseError::ExtraToken { token: (l, tok, r) } => {
                (Some(Found { tok, span: self.span(l, r) }), l, Vec::new())
            }
            ParseError::UnrecognizedEof { location, expected } => (None, location, expected),
            ParseError::InvalidToken { location } => (None, location, Vec::new()),
            ParseError::User { error: TooManyErrors } => return,
        };
        self.errors.push(SyntaxError { found, at, expected });
        self.error_count.set(self.errors.len());
    }

    pub fn recovered(&mut self, recovery: Recovery) {
        self.failed(recovery.error);
    }

    /// An item that is left out.
    pub fn skip(&mut self, recovery: Recovery) -> Option<ItemKind> {
        self.recovered(recovery);
        None
    }

    pub fn skip_span(&mut self, recovery: Recovery, l: u32, r: u32) -> Span {
        self.recovered(recovery);
        self.span(l, r)
    }

    pub fn span(&self, l: u32, r: u32) -> Span {
        Span::new(self.source, l, r)
    }

    fn slice(&self, l: u32, r: u32) -> &'s str {
        self.text.get(l as usize..r as usize).unwrap_or_default()
    }

    // ---- words ----

    pub fn ident(&mut self, l: u32, r: u32) -> Ident {
        Ident { name: self.slice(l, r).to_owned(), span: self.span(l, r) }
    }

    pub fn string(&mut self, l: u32, r: u32) -> Str {
        let text = self.slice(l, r);
        let inner = text.strip_prefix('"').unwrap_or(text);
        // An unterminated string has no closing quote, though it may end in an escaped one; it is reported already.
        let inner = inner.strip_suffix('"').unwrap_or(inner);
        Str { value: literal::unescape(inner).0, span: self.span(l, r) }
    }

    pub fn number(&mut self, l: u32, r: u32) -> ExprId {
        let kind = match literal::number(self.slice(l, r)) {
            Ok(Number::Int(value)) => ExprKind::Int(value),
            Ok(Number::Float { value, single }) => ExprKind::Float { value, single },
            Err(_) => ExprKind::Error,
        };
        self.expr(kind, l, r)
    }

    pub fn generic_kind(&mut self, name: Ident) -> GenericKind {
        match name.name.as_str() {
            "float" => GenericKind::Float,
            "int" => GenericKind::Int,
            "dtype" => GenericKind::Dtype,
            other => {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::UnexpectedToken,
                        format!("`{other}` is no kind of generic parameter"),
                    )
                    .at(name.span, "expected `format`, `float`, `int` or `dtype`"),
                );
                GenericKind::Dtype
            }
        }
    }

    pub fn scope_kind(&mut self, name: Ident) -> ScopeKind {
        match name.name.as_str() {
            "row" => ScopeKind::Row,
            "tensor" => ScopeKind::Tensor,
            other => {
                self.diagnostics.push(
                    Diagnostic::error(Code::UnexpectedToken, format!("there are no fields per `{other}`"))
                        .at(name.span, "expected `row` or `tensor`")
                        .help("fields of a number of elements stand in `group 32 { .. }`"),
                );
                ScopeKind::Tensor
            }
        }
    }

    pub fn encode_of(&mut self, name: Ident) -> EncodeOf {
        if name.name != "tensor" {
            let text = format!("there is no `encode per {}`", name.name);
            let error = Diagnostic::error(Code::UnexpectedToken, text).at(name.span, "expected `tensor`");
            self.diagnostics.push(error.help("fields of groups and rows are assigned by `encode { .. }`"));
        }
        EncodeOf::Tensor
    }

    // ---- expressions ----

    pub fn expr(&mut self, kind: ExprKind, l: u32, r: u32) -> ExprId {
        let span = self.span(l, r);
        let mut depth = 0;
        kind.for_each_child(&mut |child| {
            // Children are of this item: parsing starts afresh with each.
            depth = depth.max(child.index().checked_sub(self.kept).map_or(0, |i| self.depths[i]));
        });
        let mut kind = kind;
        if usize::from(depth) >= MAX_NESTING {
            if !self.too_deep {
                self.too_deep = true;
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::NestingTooDeep,
                        format!("this expression is nested more than {MAX_NESTING} deep"),
                    )
                    .at(span.end_point(), "too deep here")
                    .help("give parts of it a name with `let`"),
                );
            }
            kind = ExprKind::Error;
            depth = 0;
        }
        self.depths.push(depth + 1);
        self.exprs.push(Expr { kind, span, parenthesised: false })
    }

    pub fn parenthesised(&mut self, id: ExprId) -> ExprId {
        self.exprs.parenthesise(id);
        id
    }

    pub fn name_expr(&mut self, name: Ident) -> ExprId {
        let span = name.span;
        self.expr(ExprKind::Name(name), span.start, span.end)
    }

    pub fn binary(&mut self, op: BinaryOp, lhs: ExprId, rhs: ExprId) -> ExprId {
        let (l, r) = (self.exprs[lhs].span.start, self.exprs[rhs].span.end);
        self.expr(ExprKind::Binary { op, lhs, rhs }, l, r)
    }

    pub fn unary(&mut self, op: UnaryOp, operand: ExprId, l: u32) -> ExprId {
        let r = self.exprs[operand].span.end;
        self.expr(ExprKind::Unary { op, operand }, l, r)
    }

    pub fn cast(&mut self, operand: ExprId, to: TypeName, narrowing: Option<Narrowing>, r: u32) -> ExprId {
        self.postfix(ExprKind::Cast { operand, to, narrowing }, operand, r)
    }

    /// A node that begins where its base begins.
    pub fn postfix(&mut self, kind: ExprKind, base: ExprId, r: u32) -> ExprId {
        let l = self.exprs[base].span.start;
        self.expr(kind, l, r)
    }

    pub fn allocate(&mut self, make: Allocation, ty: Type, layout: Option<Layout>, l: u32, r: u32) -> ExprId {
        let end = layout.as_ref().map_or(ty.span, |layout| layout.span);
        let ty = Type { layout, span: ty.span.to(end), ..ty };
        let kind = match make {
            Allocation::Zeros => ExprKind::Zeros(ty),
            Allocation::Shared => ExprKind::Shared(ty),
            Allocation::Buffer => ExprKind::Buffer(ty),
        };
        self.expr(kind, l, r)
    }

    // ---- statements ----

    /// A statement; a `let` that is an error keeps its place.
    pub fn stmt(&mut self, kind: StmtKind, l: u32, r: u32) -> Stmt {
        Stmt { kind, span: self.span(l, r) }
    }

    pub fn end_block(&mut self, mut stmts: Vec<Stmt>, recovery: Recovery, l: u32, r: u32) -> Block {
        self.recovered(recovery);
        let span = self.span(l, r);
        stmts.push(Stmt { kind: StmtKind::Error, span: span.end_point() });
        Block { stmts, span }
    }

    pub fn end_members(&mut self, mut members: Vec<FormatMember>, recovery: Recovery) -> Vec<FormatMember> {
        self.recovered(recovery);
        let at = self.errors.last().map_or(0, |e| e.at);
        members.push(FormatMember::Error(self.span(at, at)));
        members
    }

    pub fn assign(&mut self, target: ExprId, op: AssignOp, value: ExprId) -> StmtKind {
        let Expr { kind, span, .. } = self.exprs[target].clone();
        match kind {
            ExprKind::Name(name) => StmtKind::Assign { target: Target::Variable(name), op, value },
            ExprKind::Index { base, indices, fill: None } if self.is_place(base) => {
                StmtKind::Assign { target: Target::Store { base, indices, span }, op, value }
            }
            ExprKind::Index { base, fill: Some(fill), .. } if self.is_place(base) => {
                self.diagnostics.push(
                    Diagnostic::error(Code::InvalidTarget, "a store has no `else` value")
                        .at(self.exprs[fill].span, "this is never stored")
                        .help("remove it: outside the tensor a store does nothing"),
                );
                StmtKind::Error
            }
            ExprKind::Error => StmtKind::Error,
            _ => {
                let mut d = Diagnostic::error(Code::InvalidTarget, "this cannot be assigned to")
                    .at(span, "expected a variable, or a tensor with an index list");
                if op == AssignOp::Set {
                    d = d.help("to compare, write `==`");
                }
                self.diagnostics.push(d);
                StmtKind::Error
            }
        }
    }

    /// Whether it is a name, or a field of one: what an index list of a store may stand after.
    fn is_place(&self, id: ExprId) -> bool {
        match &self.exprs[id].kind {
            ExprKind::Name(_) => true,
            ExprKind::Field { base, .. } => self.exprs.name(*base).is_some(),
            _ => false,
        }
    }

    pub fn expr_stmt(&mut self, id: ExprId) -> StmtKind {
        let Expr { kind, span, .. } = self.exprs[id].clone();
        match kind {
            ExprKind::Call { callee, args } => StmtKind::Call { callee, args, with: Vec::new() },
            ExprKind::Error => StmtKind::Error,
            kind => {
                let mut d = Diagnostic::error(Code::NoEffect, "this statement has no effect")
                    .at(span, "the value is not used");
                d = match kind {
                    ExprKind::Binary { op: BinaryOp::Eq, .. } => d.help("to assign, write `=`"),
                    _ => d.help("bind it with `let`, assign it, or remove it"),
                };
                self.diagnostics.push(d);
                StmtKind::Error
            }
        }
    }

    pub fn if_chain(&mut self, mut arms: Vec<IfArm>, otherwise: Option<Block>) -> StmtKind {
        if let Some(arm) = arms.get(MAX_ARMS) {
            self.diagnostics.push(
                Diagnostic::error(
                    Code::TooManyArms,
                    format!("this `if` chain has more than {MAX_ARMS} arms"),
                )
                .at(self.exprs[arm.condition].span, "one too many")
                .help("look the value up in a table"),
            );
            arms.truncate(MAX_ARMS);
        }
        StmtKind::If { arms, otherwise }
    }

    pub fn function(&mut self, name: Ident, params: Vec<Param>, result: Type, body: Block) -> Function {
        for param in params.iter().filter(|p| p.mode != Mode::In) {
            self.diagnostics.push(
                Diagnostic::error(Code::StatementNotAllowed, "a fn only reads its arguments")
                    .at(param.span, "no `out` or `inout` here")
                    .help("return the value, or write a kernel"),
            );
        }
        Function { name, params, result, body: self.pure_body(body) }
    }

    /// `let`s and a final `return`; anything else is reported, where it stands.
    pub fn pure_body(&mut self, block: Block) -> PureBody {
        let span = block.span;
        let mut lets = Vec::new();
        let mut result = None;
        let mut broken = false;
        for stmt in block.stmts {
            if result.is_some() {
                self.diagnostics.push(
                    Diagnostic::error(Code::InvalidBody, "nothing may follow `return`")
                        .at(stmt.span, "never reached"),
                );
                break;
            }
            match stmt.kind {
                StmtKind::Let(binding) => lets.push(binding),
                StmtKind::Return(value) => result = Some(value),
                StmtKind::Error => broken = true,
                _ => {
                    broken = true;
                    self.diagnostics.push(
                        Diagnostic::error(
                            Code::StatementNotAllowed,
                            "only `let` and a final `return` may stand here",
                        )
                        .at(stmt.span, "not a `let`")
                        .help("fns and formats are element-wise: for a choice use `where(condition, a, b)`"),
                    );
                }
            }
        }
        let result = result.unwrap_or_else(|| {
            if !broken {
                let close = Span { start: span.end.saturating_sub(1).max(span.start), ..span };
                self.diagnostics.push(
                    Diagnostic::error(Code::InvalidBody, "this body has no `return`")
                        .at(close, "expected `return ..;` before this"),
                );
            }
            self.expr(ExprKind::Error, span.end, span.end)
        });
        PureBody { lets, result, span }
    }
}
