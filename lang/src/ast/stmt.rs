//! Statements of kernels, fns and programs.
//!
//! One statement type serves all three; which statement may stand where is checked by the parser, so a tree without
//! errors has `return` only in fns and formats, declarations only directly in a program.

use super::{Arg, Const, ExprId, Ident, IndexItem, Str, Type};
use crate::span::Span;

/// Statements between braces.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// In source order.
    pub stmts: Vec<Stmt>,
    /// Braces included.
    pub span: Span,
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where it is written, the semicolon included.
    pub span: Span,
}

/// `name: ty = value` of a `let` or `var`.
#[derive(Clone, PartialEq, Debug)]
pub struct Binding {
    /// The name.
    pub name: Ident,
    /// The type, if written.
    pub ty: Option<Type>,
    /// The value.
    pub value: ExprId,
    /// The statement.
    pub span: Span,
}

/// What a statement does.
#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// `let x = e;`
    Let(Binding),
    /// `var x = e;`
    Var(Binding),
    /// `x = e;  t[i +: S] += e;`
    Assign {
        /// Where to.
        target: Target,
        /// How.
        op: AssignOp,
        /// What.
        value: ExprId,
    },
    /// `linear(x, w, y) with BM = 1;`: launches a kernel, or a built-in action such as `sync();`.
    Call {
        /// What is called.
        callee: Ident,
        /// Its arguments.
        args: Vec<Arg>,
        /// The tune names it sets.
        with: Vec<NamedValue>,
    },
    /// `for k in a..b by s pipeline(n) { .. }`
    For(For),
    /// `while c { .. }`
    While {
        /// Uniform condition.
        condition: ExprId,
        /// The body.
        body: Block,
    },
    /// `break;`
    Break,
    /// `if a { .. } else if b { .. } else { .. }`
    If {
        /// At least one, at most [`crate::limits::MAX_ARMS`].
        arms: Vec<IfArm>,
        /// The last `else`.
        otherwise: Option<Block>,
    },
    /// `assert(c, "text");`
    Assert {
        /// What must hold.
        condition: ExprId,
        /// What to say if it does not.
        message: Option<Str>,
    },
    /// `static_assert(c, "text");`
    StaticAssert {
        /// What must hold when compiled.
        condition: ExprId,
        /// What to say if it does not.
        message: Option<Str>,
    },
    /// `assume(c);`
    Assume(ExprId),
    /// `print("x = {}", x);`
    Print(Print),
    /// `return e;`
    Return(ExprId),
    /// A declaration of a program.
    Declare(Declaration),
    /// Stands where something was not understood; reported already.
    Error,
}

/// Where an assignment puts its value.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// A variable as a whole.
    Variable(Ident),
    /// A store: `t[i, j +: S]`, `w.q[..]`.
    Store {
        /// What is indexed: a name, or a field of one.
        base: ExprId,
        /// At least one index.
        indices: Vec<IndexItem>,
        /// Base and indices.
        span: Span,
    },
}

impl Target {
    /// Where it is written.
    pub fn span(&self) -> Span {
        match self {
            Target::Variable(ident) => ident.span,
            Target::Store { span, .. } => *span,
        }
    }
}

/// How an assignment combines the old value with the new.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AssignOp {
    /// `=`
    Set,
    /// `+=`
    Add,
    /// `-=`
    Sub,
    /// `*=`
    Mul,
    /// `/=`
    Div,
}

impl AssignOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            AssignOp::Set => "=",
            AssignOp::Add => "+=",
            AssignOp::Sub => "-=",
            AssignOp::Mul => "*=",
            AssignOp::Div => "/=",
        }
    }
}

/// `BM = 1` after `with`.
#[derive(Clone, PartialEq, Debug)]
pub struct NamedValue {
    /// The name.
    pub name: Ident,
    /// Its value.
    pub value: ExprId,
}

/// A counted loop.
#[derive(Clone, PartialEq, Debug)]
pub struct For {
    /// The counter.
    pub var: Ident,
    /// First value.
    pub start: ExprId,
    /// End, not reached.
    pub end: ExprId,
    /// The step; 1 if not written.
    pub step: Option<ExprId>,
    /// The depth in `pipeline(n)`.
    pub pipeline: Option<ExprId>,
    /// The body.
    pub body: Block,
}

/// One condition of an `if` chain with its block.
#[derive(Clone, PartialEq, Debug)]
pub struct IfArm {
    /// Uniform condition.
    pub condition: ExprId,
    /// What is done if it is the first that holds.
    pub body: Block,
}

/// `grows C to start + S`: the state has at most C entries along this dimension, of which a call needs the first `start + S`.
#[derive(Clone, PartialEq, Debug)]
pub struct Growth {
    /// The dimension along which memory is added.
    pub dimension: Ident,
    /// How many entries a call needs.
    pub to: ExprId,
}

/// What a program declares.
#[derive(Clone, PartialEq, Debug)]
pub enum Declaration {
    /// `hyper L: i32 = "llama.block_count" else 1;`
    Hyper {
        /// The name.
        name: Ident,
        /// Its scalar type.
        ty: Type,
        /// The key in the model file.
        key: Str,
        /// The value if the file has no such key.
        default: Option<ExprId>,
    },
    /// `const E = D / H;`
    Const(Const),
    /// `weight wq[L]: any[H * E, D] = "blk.{}.attn_q.weight" else wk;`
    Weight {
        /// The name.
        name: Ident,
        /// How many there are: one per layer.
        count: Option<ExprId>,
        /// Format and shape of each.
        ty: Type,
        /// The name in the model file, `{}` for the layer.
        pattern: Str,
        /// What is used if the file has no such tensor: usually the name of another weight.
        fallback: Option<ExprId>,
    },
    /// `state keys: f16[L, G, E, C] grows C to start + S;`
    State {
        /// The name.
        name: Ident,
        /// Element type and shape.
        ty: Type,
        /// How memory is added as it fills.
        grows: Option<Growth>,
    },
    /// `input tokens: i32[S];`
    Input {
        /// The name.
        name: Ident,
        /// Its type.
        ty: Type,
    },
    /// `output logits: f32[R, V];`
    Output {
        /// The name.
        name: Ident,
        /// Its type.
        ty: Type,
    },
}

/// The text and the arguments of a `print`.
#[derive(Clone, PartialEq, Debug)]
pub struct Print {
    /// The text, with `{}` where a value goes.
    pub text: Str,
    /// The values.
    pub args: Vec<ExprId>,
}
