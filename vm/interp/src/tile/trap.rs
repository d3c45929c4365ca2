//! Why the tile interpreter stops: what it finds that compiled code would hide, and the bounds of its own work. One that concerns memory says where in the
//! source it happened ([`Trap::At`]), where the kernel has places.

use std::fmt;
use tvmc_ir::lane::Message;

/// Why a run stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trap {
    /// An element beyond its argument's bytes: the argument is too short for its shape.
    Outside {
        /// The argument.
        tensor: String,
        /// Flat index.
        element: u64,
    },
    /// Two blocks touch one element and at least one writes it.
    Conflict {
        /// The argument.
        tensor: String,
        /// Flat index.
        element: u64,
        /// The blocks, in linear order.
        blocks: [u64; 2],
    },
    /// A block-shared element is read before it is written.
    Undefined {
        /// The tensor.
        tensor: String,
        /// Flat index.
        element: u64,
    },
    /// An element of a block-shared tensor is used while a copy to it is under way.
    UnderWay {
        /// The tensor.
        tensor: String,
        /// Flat index.
        element: u64,
    },
    /// A format reads past a field.
    Field {
        /// The format.
        format: String,
        /// The field.
        field: String,
        /// The entry.
        entry: u32,
    },
    /// An `assert` failed.
    Assert(Message),
    /// One of those above that an instruction met, with its place in the source.
    At {
        /// `file:line:column`.
        location: String,
        /// What it met.
        trap: Box<Trap>,
    },
    /// The work limit was reached.
    Fuel,
    /// The listener to the trace wants no more.
    Unheard,
    /// Something without a meaning here.
    Unsupported(String),
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trap::Outside { tensor, element } => {
                write!(f, "element {element} of `{tensor}` lies beyond its memory")
            }
            Trap::Conflict { tensor, element, blocks: [a, b] } => {
                write!(f, "blocks {a} and {b} both touch element {element} of `{tensor}`, and one writes it")
            }
            Trap::Undefined { tensor, element } => {
                write!(f, "element {element} of block-shared `{tensor}` is read before it is written")
            }
            Trap::UnderWay { tensor, element } => {
                write!(
                    f,
                    "element {element} of block-shared `{tensor}` is used before its copy was waited for"
                )
            }
            Trap::Field { format, field, entry } => {
                write!(f, "format `{format}` reads entry {entry} past the end of field `{field}`")
            }
            Trap::Assert(message) => f.write_str(&message.failed()),
            Trap::At { location, trap } => write!(f, "{location}: {trap}"),
            Trap::Fuel => write!(f, "the interpreter's work limit was reached"),
            Trap::Unheard => write!(f, "nobody listens to the trace any more"),
            Trap::Unsupported(what) => write!(f, "the interpreter has no meaning for {what}"),
        }
    }
}

impl std::error::Error for Trap {}
