//! The container: a [`Function`] is one kernel's code for one block. Plain data; `verify` says what
//! well-formed means, `print` and `parse` give it a text form.

use super::fragment::FragmentDecl;
use super::op::Op;
use super::types::{Mem, Scalar, Type};
use crate::entity;

entity!(
    /// A single-assignment value.
    Value, "v");
entity!(
    /// An argument that is memory.
    Buffer, "b");
entity!(
    /// Block-shared scratch memory.
    Arena, "a");
entity!(
    /// A constant table.
    Table, "t");
entity!(
    /// A matrix that the lanes of a group hold together.
    Fragment, "g");

/// What a kernel may do with a buffer.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Only loads.
    Read,
    /// Only stores.
    Write,
    /// Loads and stores.
    ReadWrite,
}

/// A buffer argument. Its base is aligned to 64 bytes; its length in bytes is checked at launch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BufferDecl {
    /// The argument's name, for messages.
    pub name: String,
    /// Declared access.
    pub access: Access,
}

/// A scalar argument: defines a uniform value at entry. `i64` and `bool` are passed in 8 bytes as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScalarDecl {
    /// The argument's name, for messages.
    pub name: String,
    /// The uniform value it defines.
    pub value: Value,
    /// Its kind.
    pub scalar: Scalar,
}

/// Scratch memory of one block, aligned to 64 bytes; undefined at entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArenaDecl {
    /// Size.
    pub bytes: u32,
}

/// Constant data for `table` look-ups, one 32-bit pattern per entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableDecl {
    /// `F32` or `I32`.
    pub scalar: Scalar,
    /// Entries, at least one.
    pub entries: Vec<u32>,
}

/// What an `assert` or `print` says, with the place in the source it comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message {
    /// The text; `{}` marks a printed operand.
    pub text: String,
    /// `file:line:column`, or empty.
    pub location: String,
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
}

/// A loop-carried value: `param` inside the body, `initial` on entry.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// The value seen by the body.
    pub param: Value,
    /// Its value in the first iteration.
    pub initial: Value,
}

/// Straight-line statements.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Region {
    /// In order.
    pub stmts: Vec<Stmt>,
}

/// A statement. All control flow is uniform.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// One operation.
    Inst(Inst),
    /// `for counter in from..to step`: `counter` (`u.i32`) starts at `from` and grows by the constant `step`
    /// while it is below `to` (signed). Zero iterations give `results = initials`.
    For {
        /// The counter, defined in the body.
        counter: Value,
        /// First value, `u.i32`.
        from: Value,
        /// Bound, `u.i32`.
        to: Value,
        /// At least 1. `to + step` must not overflow (checked at launch by construction: dimensions are below 2^31 - 2^20).
        step: u32,
        /// Loop-carried values.
        carried: Vec<Carried>,
        /// The body.
        body: Region,
        /// The body's last values, one per carried value.
        yields: Vec<Value>,
        /// Values after the loop, one per carried value.
        results: Vec<Value>,
    },
    /// `do { body } while (again)`: runs at least once.
    Loop {
        /// Loop-carried values.
        carried: Vec<Carried>,
        /// The body.
        body: Region,
        /// `u.bool`, defined by the body: go on?
        again: Value,
        /// The body's last values: the next iteration's parameters, or the results.
        yields: Vec<Value>,
        /// Values after the loop.
        results: Vec<Value>,
    },
    /// `if condition`, with a value per branch for each result.
    If {
        /// `u.bool`.
        condition: Value,
        /// Taken when true.
        then: Region,
        /// Values of the true branch.
        then_yields: Vec<Value>,
        /// Taken when false.
        otherwise: Region,
        /// Values of the false branch.
        otherwise_yields: Vec<Value>,
        /// Values after the statement.
        results: Vec<Value>,
    },
}

/// One kernel as lane code.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Number of virtual lanes, 1 to 1024.
    pub lanes: u32,
    /// Lanes of a group, which hold fragments together; 0 in a function without any.
    pub group: u32,
    /// Buffer arguments.
    pub buffers: Vec<BufferDecl>,
    /// Scalar arguments.
    pub scalars: Vec<ScalarDecl>,
    /// Scratch memories.
    pub arenas: Vec<ArenaDecl>,
    /// Fragments of each group.
    pub fragments: Vec<FragmentDecl>,
    /// Constant tables.
    pub tables: Vec<TableDecl>,
    /// Texts of asserts and prints.
    pub messages: Vec<Message>,
    /// The type of each value.
    pub values: Vec<Type>,
    /// The code.
    pub body: Region,
}

impl Function {
    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.values[value.index()]
    }

    /// Bytes of all arenas, each rounded up to 64: what a worker must provide.
    pub fn arena_bytes(&self) -> u64 {
        self.arenas.iter().map(|a| (u64::from(a.bytes) + 63) & !63).sum()
    }

    /// Byte offset of each arena in a worker's scratch memory.
    pub fn arena_offsets(&self) -> Vec<u64> {
        let mut at = 0;
        self.arenas
            .iter()
            .map(|a| {
                let here = at;
                at += (u64::from(a.bytes) + 63) & !63;
                here
            })
            .collect()
    }
}

impl Mem {
    /// The memory element type with the given printed name.
    pub fn from_name(name: &str) -> Option<Mem> {
        Mem::ALL.into_iter().find(|m| m.name() == name)
    }
}
