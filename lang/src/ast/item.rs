//! Items: what stands at the top of a file.

use super::{Binding, Block, ExprId, Ident, Str, Type, TypeName};
use crate::span::Span;

/// An item.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// The lines of the doc comment directly above, without slashes and the space after them.
    pub docs: Vec<String>,
    /// What it is.
    pub kind: ItemKind,
    /// From its keyword to its end.
    pub span: Span,
}

/// What an item is.
#[derive(Clone, PartialEq, Debug)]
pub enum ItemKind {
    /// `use nn;`
    Use(UsePath),
    /// `const LN_2 = 0.69;`
    Const(Const),
    /// `table powers: u8[5] = [1, 3, 9, 27, 81];` shared by the formats of the file.
    Table(Table),
    /// `fn f(x: f32) -> f32 { .. }`
    Function(Function),
    /// `kernel k(..) .. { .. }`
    Kernel(Kernel),
    /// `format q4_0 { .. }`
    Format(Format),
    /// `program llama { .. }`
    Program(Program),
}

impl ItemKind {
    /// The name it defines; a `use` defines none.
    pub fn name(&self) -> Option<&Ident> {
        match self {
            ItemKind::Use(_) => None,
            ItemKind::Const(c) => Some(&c.name),
            ItemKind::Table(t) => Some(&t.name),
            ItemKind::Function(f) => Some(&f.name),
            ItemKind::Kernel(k) => Some(&k.name),
            ItemKind::Format(f) => Some(&f.name),
            ItemKind::Program(p) => Some(&p.name),
        }
    }
}

/// Where a `use` looks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum UsePath {
    /// A standard library file by its name.
    Library(Ident),
    /// A file beside this one.
    File(Str),
}

/// `NAME = value`.
#[derive(Clone, PartialEq, Debug)]
pub struct Const {
    /// The name.
    pub name: Ident,
    /// A constant expression.
    pub value: ExprId,
    /// From `const` to the value.
    pub span: Span,
}

/// A table of constants.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// The name.
    pub name: Ident,
    /// Element type and shape.
    pub ty: Type,
    /// An [`super::ExprKind::List`], nested as deep as the shape has dimensions, or flat.
    pub values: ExprId,
    /// From `table` to the end.
    pub span: Span,
}

/// A pure element-wise function.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// The name.
    pub name: Ident,
    /// The parameters; the mode of each is [`Mode::In`].
    pub params: Vec<Param>,
    /// The type of the result.
    pub result: Type,
    /// The `let`s and the returned value.
    pub body: PureBody,
}

/// `let`s and a final `return`: the body of a fn or of `value[i] { .. }`.
#[derive(Clone, PartialEq, Debug)]
pub struct PureBody {
    /// In source order.
    pub lets: Vec<Binding>,
    /// What is returned.
    pub result: ExprId,
    /// All of it.
    pub span: Span,
}

/// What one thread block does.
#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    /// The name.
    pub name: Ident,
    /// The parameters between angle brackets.
    pub generics: Vec<Generic>,
    /// The arguments of a launch.
    pub params: Vec<Param>,
    /// `tune`, `const`, `grid`, `lanes`, `assume`, in source order.
    pub headers: Vec<Header>,
    /// The statements.
    pub body: Block,
}

/// `W: format`, of a program also `W: format = f16`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Generic {
    /// The name.
    pub name: Ident,
    /// What it may stand for.
    pub kind: GenericKind,
    /// What it stands for where nobody chooses.
    pub default: Option<TypeName>,
    /// Where it is written.
    pub span: Span,
}

/// What a generic parameter may stand for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GenericKind {
    /// Any number format.
    Format,
    /// A floating-point dtype.
    Float,
    /// An integer dtype.
    Int,
    /// Any dtype.
    Dtype,
}

impl GenericKind {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            GenericKind::Format => "format",
            GenericKind::Float => "float",
            GenericKind::Int => "int",
            GenericKind::Dtype => "dtype",
        }
    }
}

/// `y: out f32[M, N]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Param {
    /// The name.
    pub name: Ident,
    /// What the kernel may do with it.
    pub mode: Mode,
    /// Its type.
    pub ty: Type,
    /// Where it is written.
    pub span: Span,
}

/// What a kernel may do with an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Read.
    In,
    /// Write.
    Out,
    /// Both.
    InOut,
}

/// A line between the parameters and the body of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Header {
    /// What it says.
    pub kind: HeaderKind,
    /// Where it is written.
    pub span: Span,
}

/// What a kernel header says.
#[derive(Clone, PartialEq, Debug)]
pub enum HeaderKind {
    /// `tune BM in {32, 8} fit M, BN in {64}`
    Tune(Vec<Tune>),
    /// `const BK = 64`
    Const(Const),
    /// `grid ceil(N, BN), M`
    Grid(Vec<ExprId>),
    /// `lanes 32`
    Lanes(ExprId),
    /// `assume(M % 8 == 0)`
    Assume(ExprId),
}

/// `BM in {32, 8, 1} fit M`.
#[derive(Clone, PartialEq, Debug)]
pub struct Tune {
    /// The name.
    pub name: Ident,
    /// The values to choose from; none is for the semantic analysis to refuse.
    pub values: Vec<ExprId>,
    /// The size to fit.
    pub fit: Option<ExprId>,
    /// Where it is written.
    pub span: Span,
}

/// How numbers are stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Format {
    /// The name.
    pub name: Ident,
    /// Its parts in source order.
    pub members: Vec<FormatMember>,
}

/// One part of a format.
#[derive(Clone, PartialEq, Debug)]
pub enum FormatMember {
    /// `group 32 { .. }`, `per row { .. }`, `per tensor { .. }`
    Scope {
        /// Which.
        kind: ScopeKind,
        /// In storage order.
        fields: Vec<FormatField>,
        /// All of it.
        span: Span,
    },
    /// A table of constants.
    Table(Table),
    /// `value[i] = d * q[i];`, which has no `let`s, or `value[i] { let j = i / 16; return ..; }`
    Value {
        /// The name of the element index.
        index: Ident,
        /// The value of the element.
        body: PureBody,
        /// All of it.
        span: Span,
    },
    /// `encode { .. }`: assigns every field from `value`; `encode per tensor { .. }`: those of the tensor from `largest`.
    Encode {
        /// Which fields.
        of: EncodeOf,
        /// The statements.
        body: Block,
        /// All of it.
        span: Span,
    },
    /// Stands where something was not understood; reported already.
    Error(Span),
}

/// Which fields an `encode` block assigns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EncodeOf {
    /// Those of groups and rows.
    Groups,
    /// Those that a tensor stores once.
    Tensor,
}

/// How often the fields of a scope are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScopeKind {
    /// Once a tensor.
    Tensor,
    /// Once a row.
    Row,
    /// Once for that many elements of a row.
    Group(ExprId),
}

/// `q: u4[32] @ column_local(2, 16).reshape(32);`
#[derive(Clone, PartialEq, Debug)]
pub struct FormatField {
    /// The name.
    pub name: Ident,
    /// Dtype, count and order.
    pub ty: Type,
    /// The whole line.
    pub span: Span,
}

/// What the host does.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    /// The name.
    pub name: Ident,
    /// Element types of buffers, chosen by whoever runs it.
    pub generics: Vec<Generic>,
    /// Declarations and statements in source order.
    pub body: Block,
}
