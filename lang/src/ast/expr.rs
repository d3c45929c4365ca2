//! Expressions, types and layouts.

use super::Ident;
use crate::span::Span;
use std::ops::Index;

/// An expression of a file, by its number in the file's arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExprId(pub(crate) u32);

impl ExprId {
    /// Its number: dense from 0, so a side table may be a vector.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The arena of a file's expressions.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Exprs {
    nodes: Vec<Expr>,
}

impl Exprs {
    /// Adds an expression.
    pub fn push(&mut self, expr: Expr) -> ExprId {
        let id = ExprId(self.nodes.len() as u32);
        self.nodes.push(expr);
        id
    }

    /// Number of expressions.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All expressions with their ids, children before their users.
    pub fn iter(&self) -> impl Iterator<Item = (ExprId, &Expr)> {
        self.nodes.iter().enumerate().map(|(i, expr)| (ExprId(i as u32), expr))
    }

    /// Notes that an expression stands in parentheses.
    pub(crate) fn parenthesise(&mut self, id: ExprId) {
        self.nodes[id.index()].parenthesised = true;
    }

    /// Forgets which expressions stood in parentheses: printed afterwards, the tree shows those that precedence needs.
    pub fn forget_parentheses(&mut self) {
        self.nodes.iter_mut().for_each(|expr| expr.parenthesised = false);
    }

    /// Forgets all but the first `length`: used when an item is parsed again after a repair.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.nodes.truncate(length);
    }
}

impl Index<ExprId> for Exprs {
    type Output = Expr;
    fn index(&self, id: ExprId) -> &Expr {
        &self.nodes[id.index()]
    }
}

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is written, enclosing parentheses left out.
    pub span: Span,
    /// Whether the author put it in parentheses. Means nothing: the shape of the tree says it all.
    pub parenthesised: bool,
}

/// What an expression is.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `42`. The sign is a [`UnaryOp::Neg`] around it.
    Int(u64),
    /// `1.5`, `inf`, `nan`: the value rounded once to each of the two widths.
    Float {
        /// Nearest f64.
        value: f64,
        /// Nearest f32, rounded from the text and not from `value`.
        single: f32,
    },
    /// `true`, `false`.
    Bool(bool),
    /// A name: variable, parameter, dimension, constant; `block`.
    Name(Ident),
    /// `-x`, `!x`, `~x`.
    Unary {
        /// Which.
        op: UnaryOp,
        /// On what.
        operand: ExprId,
    },
    /// `a + b` and so on.
    Binary {
        /// Which.
        op: BinaryOp,
        /// Left operand.
        lhs: ExprId,
        /// Right operand.
        rhs: ExprId,
    },
    /// `x as i8 saturate`.
    Cast {
        /// What is converted.
        operand: ExprId,
        /// To which element type.
        to: TypeName,
        /// What happens to integers out of range, if said.
        narrowing: Option<Narrowing>,
    },
    /// `f(x, axis = 1)`, `full(f32[M], v)`, `bitcast(x, i32)`.
    Call {
        /// The function.
        callee: Ident,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `t.unsqueeze(0)`.
    Method {
        /// What stands before the dot.
        base: ExprId,
        /// The method.
        name: Ident,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `t.T`, `W.group`, `w.d`.
    Field {
        /// What stands before the dot.
        base: ExprId,
        /// The field.
        name: Ident,
    },
    /// `x[m, k +: BK else v]`.
    Index {
        /// What is indexed.
        base: ExprId,
        /// At least one index.
        indices: Vec<IndexItem>,
        /// The value of the elements outside the tensor, for the whole load.
        fill: Option<ExprId>,
    },
    /// `zeros f32[M, N]`: a tile.
    Zeros(Type),
    /// `shared f16[M, N]`: a block-shared tensor.
    Shared(Type),
    /// `buffer f32[S, D]`: memory for one call of a program.
    Buffer(Type),
    /// `[1, 2, 3]`, only in the value of a table; may nest.
    List(Vec<ExprId>),
    /// Stands where something was not understood; reported already.
    Error,
}

/// Operators before their operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
    /// `~`
    BitNot,
}

impl UnaryOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "!",
            UnaryOp::BitNot => "~",
        }
    }
}

/// Operators between two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `&`
    BitAnd,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
}

impl BinaryOp {
    /// Every operator, from loosest to tightest.
    pub const ALL: [BinaryOp; 18] = [
        BinaryOp::Or,
        BinaryOp::And,
        BinaryOp::BitOr,
        BinaryOp::BitXor,
        BinaryOp::BitAnd,
        BinaryOp::Eq,
        BinaryOp::Ne,
        BinaryOp::Lt,
        BinaryOp::Le,
        BinaryOp::Gt,
        BinaryOp::Ge,
        BinaryOp::Shl,
        BinaryOp::Shr,
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Rem,
    ];

    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::And => "&&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::BitAnd => "&",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::Shl => "<<",
            BinaryOp::Shr => ">>",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
        }
    }

    /// How tightly it binds: 1 loosest, 10 tightest.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::BitOr => 3,
            BinaryOp::BitXor => 4,
            BinaryOp::BitAnd => 5,
            BinaryOp::Eq | BinaryOp::Ne => 6,
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 7,
            BinaryOp::Shl | BinaryOp::Shr => 8,
            BinaryOp::Add | BinaryOp::Sub => 9,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => 10,
        }
    }

    /// Whether it compares: such operators do not chain, `a < b < c` is an error.
    pub fn is_comparison(self) -> bool {
        matches!(self.precedence(), 6 | 7)
    }
}

/// What happens to an integer that does not fit the type it is converted to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Narrowing {
    /// The low bits are kept.
    Wrap,
    /// The nearest value that fits.
    Saturate,
}

/// One argument of a call.
#[derive(Clone, PartialEq, Debug)]
pub struct Arg {
    /// `axis` in `axis = 1`.
    pub name: Option<Ident>,
    /// What is passed.
    pub value: ArgValue,
    /// Name and value.
    pub span: Span,
}

impl Arg {
    /// The expression, if it is one.
    pub fn expr(&self) -> Option<ExprId> {
        match &self.value {
            ArgValue::Expr(expr) => Some(*expr),
            ArgValue::Type(_) => None,
        }
    }
}

/// What is passed to a call.
#[derive(Clone, PartialEq, Debug)]
pub enum ArgValue {
    /// An expression. A plain name may stand for a generic type parameter, and a chain such as
    /// `local(2).spatial(8)` for a layout ([`Exprs::layout`]).
    Expr(ExprId),
    /// A type that is written as one: `i32`, `f32[M]`, `u8 @ local(4)`.
    Type(Type),
}

/// One index of an index list.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexItem {
    /// What it selects.
    pub kind: IndexKind,
    /// Where it is written.
    pub span: Span,
}

/// What an index selects.
#[derive(Clone, PartialEq, Debug)]
pub enum IndexKind {
    /// `e`: one position; the dimension goes.
    Point(ExprId),
    /// `start +: extent`; the dimension stays.
    Slice {
        /// Runtime offset.
        start: ExprId,
        /// Constant size.
        extent: ExprId,
    },
    /// `..`: the whole dimension.
    Whole,
}

/// A type as written: `f32`, `u4[16, 8] @ local(2, 1).spatial(8, 4)`.
#[derive(Clone, PartialEq, Debug)]
pub struct Type {
    /// The element type, or a format or generic parameter.
    pub elem: TypeName,
    /// The extents; `None` without brackets.
    pub shape: Option<Vec<ExprId>>,
    /// The pinned layout.
    pub layout: Option<Layout>,
    /// All of it.
    pub span: Span,
}

/// The name in a type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TypeName {
    /// A reserved dtype name: `f32`, `u4`, `e4m3`, ... ([`crate::token::is_dtype`]).
    Dtype(Ident),
    /// Any other name: a format, a generic parameter, `any`.
    Named(Ident),
}

impl TypeName {
    /// The name, whichever it is.
    pub fn ident(&self) -> &Ident {
        match self {
            TypeName::Dtype(ident) | TypeName::Named(ident) => ident,
        }
    }
}

/// A layout: factors from the outermost to the innermost.
#[derive(Clone, PartialEq, Debug)]
pub struct Layout {
    /// At least one.
    pub factors: Vec<LayoutFactor>,
    /// All of it.
    pub span: Span,
}

/// One step of a layout: `spatial(8, 4)`. Which names exist is for the semantic analysis.
#[derive(Clone, PartialEq, Debug)]
pub struct LayoutFactor {
    /// The factor.
    pub name: Ident,
    /// Its numbers: constant expressions.
    pub args: Vec<ExprId>,
    /// Name and arguments.
    pub span: Span,
}

impl Exprs {
    /// Reads an expression as a layout, as in the second argument of `relayout(t, local(2).spatial(8))`; `None` if it is
    /// not a chain of calls with plain arguments.
    pub fn layout(&self, id: ExprId) -> Option<Layout> {
        let mut factors = Vec::new();
        let mut at = id;
        loop {
            let (name, args, base) = match &self[at].kind {
                ExprKind::Call { callee, args } => (callee, args, None),
                ExprKind::Method { base, name, args } => (name, args, Some(*base)),
                _ => return None,
            };
            let values: Option<Vec<ExprId>> =
                args.iter().map(|a| a.expr().filter(|_| a.name.is_none())).collect();
            let end = args.last().map_or(name.span, |a| a.span);
            let span = if base.is_none() { self[at].span } else { name.span.to(end) };
            factors.push(LayoutFactor { name: name.clone(), args: values?, span });
            match base {
                Some(base) => at = base,
                None => break,
            }
        }
        factors.reverse();
        Some(Layout { factors, span: self[id].span })
    }

    /// The name, if the expression is one.
    pub fn name(&self, id: ExprId) -> Option<&Ident> {
        match &self[id].kind {
            ExprKind::Name(ident) => Some(ident),
            _ => None,
        }
    }
}

impl ExprKind {
    /// Calls `visit` with every expression directly inside this one, those of types and layouts included, in source order.
    pub fn for_each_child(&self, visit: &mut dyn FnMut(ExprId)) {
        match self {
            ExprKind::Int(_)
            | ExprKind::Float { .. }
            | ExprKind::Bool(_)
            | ExprKind::Name(_)
            | ExprKind::Error => {}
            ExprKind::Unary { operand, .. } | ExprKind::Cast { operand, .. } => visit(*operand),
            ExprKind::Binary { lhs, rhs, .. } => {
                visit(*lhs);
                visit(*rhs);
            }
            ExprKind::Call { args, .. } => args.iter().for_each(|a| a.for_each_child(visit)),
            ExprKind::Method { base, args, .. } => {
                visit(*base);
                args.iter().for_each(|a| a.for_each_child(visit));
            }
            ExprKind::Field { base, .. } => visit(*base),
            ExprKind::Index { base, indices, fill } => {
                visit(*base);
                for index in indices {
                    match index.kind {
                        IndexKind::Point(at) => visit(at),
                        IndexKind::Slice { start, extent } => {
                            visit(start);
                            visit(extent);
                        }
                        IndexKind::Whole => {}
                    }
                }
                fill.iter().copied().for_each(visit);
            }
            ExprKind::Zeros(ty) | ExprKind::Shared(ty) | ExprKind::Buffer(ty) => ty.for_each_child(visit),
            ExprKind::List(items) => items.iter().copied().for_each(visit),
        }
    }
}

impl Arg {
    /// Calls `visit` with every expression directly inside.
    pub fn for_each_child(&self, visit: &mut dyn FnMut(ExprId)) {
        match &self.value {
            ArgValue::Expr(expr) => visit(*expr),
            ArgValue::Type(ty) => ty.for_each_child(visit),
        }
    }
}

impl Type {
    /// Calls `visit` with every extent and every number of the layout.
    pub fn for_each_child(&self, visit: &mut dyn FnMut(ExprId)) {
        self.shape.iter().flatten().copied().for_each(&mut *visit);
        let factors = self.layout.iter().flat_map(|l| &l.factors);
        factors.flat_map(|f| &f.args).copied().for_each(visit);
    }
}
