//! The container of tile IR: a kernel instance, its tensors, dimensions and code.

use super::format::{Field, Format, Scope};
use super::op::Op;
use super::pins::Origin;
use super::types::TileType;
use crate::entity;
use crate::host::{Binary, Expr};
use std::collections::BTreeMap;
use tvmc_types::dtype::DType;
use tvmc_types::layout::{Layout, SharedLayout};

entity!(
    /// A single-assignment tile or scalar.
    #[derive(Default)]
    Value, "v");
entity!(
    /// A runtime dimension.
    Dim, "d");
entity!(
    /// An argument, tensor or scalar, by its place in the parameter list.
    Param, "p");
entity!(
    /// A block-shared tensor.
    Shared, "s");
entity!(
    /// A format used by this kernel.
    FormatId, "f");

pub use crate::lane::{Access, Message};

/// What a tensor's elements are.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Element {
    /// Plain values, bit-compact.
    DType(DType),
    /// Groups of a format along the last axis; each row starts a new group.
    Format(FormatId),
}

/// A runtime dimension: an i32 bound by the tensor arguments' shapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DimDecl {
    /// Its name in the source.
    pub name: String,
}

/// An argument.
#[derive(Clone, PartialEq, Debug)]
pub enum TensorDecl {
    /// Memory. Row-major; extents are constants, [`Expr::Name`]s of dimensions, or expressions checked at launch.
    Tensor {
        /// The argument's name.
        name: String,
        /// Element type.
        element: Element,
        /// Extents.
        shape: Vec<Expr>,
        /// What the kernel may do with it.
        access: Access,
    },
    /// A number: f32, i32, u32 or bool.
    Scalar {
        /// The argument's name.
        name: String,
        /// Its type.
        dtype: DType,
    },
}

impl TensorDecl {
    /// The argument's name.
    pub fn name(&self) -> &str {
        match self {
            TensorDecl::Tensor { name, .. } | TensorDecl::Scalar { name, .. } => name,
        }
    }
}

/// A block-shared tensor: undefined at first, private to the block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedDecl {
    /// Its name in the source.
    pub name: String,
    /// Element type and shape.
    pub ty: TileType,
    /// At which offset each element lies where scratch has banks, if the source writes it. No value depends on it.
    pub order: Option<SharedLayout>,
}

/// What a load or store addresses.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Memory {
    /// A tensor argument.
    Param(Param),
    /// A block-shared tensor.
    Shared(Shared),
}

/// How one axis of a tensor is indexed; its offset is an i32 scalar operand of the operation.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Index {
    /// One element; the axis disappears.
    Point,
    /// This many elements from the offset.
    Slice(u32),
}

/// One operation.
#[derive(Clone, PartialEq, Debug)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// Operands.
    pub args: Vec<Value>,
    /// The value it defines, if any.
    pub result: Option<Value>,
    /// Where it comes from: an index into [`Kernel::locations`], or none.
    pub location: Option<u32>,
}

/// A loop-carried value.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// As the body sees it.
    pub param: Value,
    /// In the first iteration.
    pub initial: Value,
}

/// Statements in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Region {
    /// The statements.
    pub stmts: Vec<Stmt>,
}

impl Region {
    /// Calls `each` for every operation, those of inner regions included, in order.
    pub fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a Inst)) {
        for stmt in &self.stmts {
            match stmt {
                Stmt::Inst(inst) => each(inst),
                Stmt::For { body, .. } | Stmt::Loop { body, .. } => body.visit(each),
                Stmt::If { then, otherwise, .. } => {
                    then.visit(each);
                    otherwise.visit(each);
                }
            }
        }
    }
}

/// The layout of a value. Only [`Op::View`] gives it a meaning; no other operation depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Of the value's shape.
    pub layout: Layout,
    /// Who says so.
    pub origin: Origin,
    /// Where it is written (`file:line:column`), or empty.
    pub location: String,
}

/// Most turns of a loop whose loads may be under way at once.
pub const MAX_PIPELINE: u32 = 16;

/// A statement; control flow is structured, conditions are scalars, as in lane IR.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// One operation.
    Inst(Inst),
    /// `for counter in from..to by step`.
    For {
        /// i32 scalar, defined in the body.
        counter: Value,
        /// i32 scalar.
        from: Value,
        /// i32 scalar.
        to: Value,
        /// At least 1.
        step: u32,
        /// Turns whose loads may be under way at once, this one included: 1 to [`MAX_PIPELINE`]. It changes no value.
        pipeline: u32,
        /// Variables the body changes.
        carried: Vec<Carried>,
        /// The body.
        body: Region,
        /// Their last values.
        yields: Vec<Value>,
        /// Their values after the loop.
        results: Vec<Value>,
    },
    /// `do body while again`.
    Loop {
        /// Variables the body changes.
        carried: Vec<Carried>,
        /// The body.
        body: Region,
        /// bool scalar of the body: go on?
        again: Value,
        /// Their last values.
        yields: Vec<Value>,
        /// Their values after the loop.
        results: Vec<Value>,
    },
    /// `if condition`.
    If {
        /// bool scalar.
        condition: Value,
        /// Taken when true.
        then: Region,
        /// Its values.
        then_yields: Vec<Value>,
        /// Taken when false.
        otherwise: Region,
        /// Its values.
        otherwise_yields: Vec<Value>,
        /// Values after the statement.
        results: Vec<Value>,
    },
}

/// One kernel instance.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Arguments in the source's order.
    pub params: Vec<TensorDecl>,
    /// Runtime dimensions.
    pub dims: Vec<DimDecl>,
    /// Formats in use.
    pub formats: Vec<Format>,
    /// Constant tables that the body reads: dtype f32 or i32 and the entries' bit patterns.
    pub tables: Vec<(DType, Vec<u32>)>,
    /// Block-shared tensors.
    pub shared: Vec<SharedDecl>,
    /// One to three grid axes, over dimensions and integer scalar arguments by name.
    pub grid: Vec<Expr>,
    /// Conditions on dimensions and scalars, checked at launch, with their text.
    pub assumptions: Vec<(Expr, String)>,
    /// A pinned number of lanes.
    pub lanes: Option<u32>,
    /// Texts of asserts and prints.
    pub messages: Vec<Message>,
    /// Source places (`file:line:column`) of operations.
    pub locations: Vec<String>,
    /// The type of each value.
    pub values: Vec<TileType>,
    /// Pinned layouts.
    pub pins: BTreeMap<Value, Pin>,
    /// The code.
    pub body: Region,
}

impl Kernel {
    /// The format of a tensor argument and its extents.
    pub fn format_of(&self, tensor: Param) -> Option<(&Format, &[Expr])> {
        match self.params.get(tensor.index())? {
            TensorDecl::Tensor { element: Element::Format(id), shape, .. } => {
                Some((self.formats.get(id.index())?, shape))
            }
            TensorDecl::Tensor { element: Element::DType(_), .. } | TensorDecl::Scalar { .. } => None,
        }
    }

    /// Whether an access takes rows as long as they are, which is known.
    pub fn takes_rows(&self, memory: Memory, indices: &[Index]) -> bool {
        let Memory::Param(param) = memory else { return false };
        let Some(TensorDecl::Tensor { shape, .. }) = self.params.get(param.index()) else { return false };
        match (indices.last(), shape.last().and_then(Expr::as_int)) {
            (Some(Index::Slice(size)), Some(columns)) => i64::from(*size) >= columns,
            (Some(Index::Slice(_) | Index::Point) | None, _) => false,
        }
    }

    /// A field of a tensor argument of a format, and its extents as [`super::Op::LoadField`] counts them.
    pub fn field_of(&self, tensor: Param, field: u32) -> Option<(&Field, Vec<Expr>)> {
        let (format, shape) = self.format_of(tensor)?;
        let field = format.fields.get(field as usize)?;
        let (columns, outer) = shape.split_last()?;
        let count = Expr::int(i64::from(field.count));
        let (outer, last) = match field.scope {
            Scope::Tensor => (&outer[..outer.len().saturating_sub(1)], count),
            Scope::Row => (outer, count),
            Scope::Group => {
                let group = i64::from(format.group);
                let groups = match columns.as_int() {
                    Some(columns) => Expr::int(columns.saturating_add(group - 1) / group.max(1)),
                    None => Expr::binary(Binary::CeilDiv, columns.clone(), Expr::int(group)),
                };
                let entries = match groups.as_int() {
                    Some(groups) => Expr::int(groups.saturating_mul(i64::from(field.count))),
                    None => Expr::binary(Binary::Mul, groups, count),
                };
                (outer, entries)
            }
        };
        Some((field, outer.iter().cloned().chain([last]).collect()))
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TileType {
        &self.values[value.index()]
    }

    /// The layout that the source pins a value to.
    pub fn layout(&self, value: Value) -> Option<&Layout> {
        self.pins.get(&value).map(|pin| &pin.layout)
    }

    /// The tensor argument or block-shared tensor: element type and rank.
    pub fn element(&self, memory: Memory) -> Option<(Element, usize)> {
        match memory {
            Memory::Param(param) => match self.params.get(param.index())? {
                TensorDecl::Tensor { element, shape, .. } => Some((*element, shape.len())),
                TensorDecl::Scalar { .. } => None,
            },
            Memory::Shared(shared) => {
                let ty = &self.shared.get(shared.index())?.ty;
                Some((Element::DType(ty.dtype), ty.shape.len()))
            }
        }
    }
}
