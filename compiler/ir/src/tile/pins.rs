//! The layouts of values, and the orders of block-shared tensors: rule 23 of the verifier, and what `view` asks of two layouts.
//!
//! A pin says which lane holds which element of a value, in which slot. The source writes it, or [inference](super::inference) finds it from those
//! that the source writes. `view` reads each lane's slots as one string of bits and cuts
//! it anew, so a pair of layouts is good for it exactly if
//!
//! * both have the same number of lanes;
//! * a lane holds as many bits in one as in the other: slots times the width of an element;
//! * lanes that hold equal elements in the result hold equal elements in the operand, so that a copy is a copy of something.
//!
//! ```text
//! i6[16, 8] @ local(2, 1).column_spatial(4, 8).local(2, 1)     32 lanes of 4 slots of 6 bits: 24
//! u8[96]    @ local(3).spatial(32)                             32 lanes of 3 slots of 8 bits: 24
//! ```

use super::agreement::{Lack, first_lack};
use super::kernel::{Inst, Kernel, SharedDecl, Value};
use super::op::{Op, rows};
use super::types::{MAX_ELEMENTS, TileType};
use super::verify::MAX_LANES;
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::layout::Layout;

rows! {
    /// The rule by which a layout leads from one value to another.
    LayoutRule {
        Elementwise "elementwise" "element by element";
        Broadcast "broadcast" "spread along axes";
        Reshape "reshape" "row-major order kept";
        Permute "permute" "axes in another order";
        Reduce "reduce" "an axis reduced away";
        Concat "concat" "parts in the slots of a lane";
        Dot "dot" "rows, columns and sums of a product";
        Variable "variable" "one variable of a loop or `if`";
    }
}

/// Where the layout of a value comes from.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// The source writes it.
    Written,
    /// It follows from that of another value.
    Inferred {
        /// The other value.
        from: Value,
        /// How.
        rule: LayoutRule,
    },
    /// Of a value that inference made: a `relayout`, or what one moves.
    Inserted,
}

/// Why two layouts are no pair for `view`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ViewError {
    /// The layouts have different numbers of lanes.
    Lanes {
        /// Of the operand.
        from: u32,
        /// Of the result.
        to: u32,
    },
    /// A lane holds different numbers of bits.
    Bits {
        /// Of the operand.
        from: u64,
        /// Of the result.
        to: u64,
    },
    /// Two lanes are copies in the result, but not in the operand.
    Copies {
        /// The lanes.
        lanes: (u32, u32),
    },
}

impl std::fmt::Display for ViewError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ViewError::Lanes { from, to } => {
                write!(f, "the operand is spread over {from} lanes, the result over {to}")
            }
            ViewError::Bits { from, to } => {
                write!(f, "a lane holds {from} bits of the operand, but {to} of the result")
            }
            ViewError::Copies { lanes: (a, b) } => {
                write!(f, "lanes {a} and {b} hold the same elements of the result, but not of the operand")
            }
        }
    }
}

impl std::error::Error for ViewError {}

/// Whether the bits that lanes hold of `from` can be read as `to`: the three conditions above.
pub fn check_view(from: (DType, &Layout), to: (DType, &Layout)) -> Result<(), ViewError> {
    let lanes = (from.1.spatial_size(), to.1.spatial_size());
    if lanes.0 != lanes.1 {
        return Err(ViewError::Lanes { from: lanes.0, to: lanes.1 });
    }
    let bits = |(dtype, layout): (DType, &Layout)| u64::from(dtype.bits()) * u64::from(layout.local_size());
    if bits(from) != bits(to) {
        return Err(ViewError::Bits { from: bits(from), to: bits(to) });
    }
    match to.1.first_split(from.1) {
        Some(lanes) => Err(ViewError::Copies { lanes }),
        None => Ok(()),
    }
}

/// Whether `view` reads and gives this type: an integer of at most 32 bits.
pub fn views(dtype: DType) -> bool {
    matches!(dtype.kind(), Kind::Signed | Kind::Unsigned) && dtype.bits() <= 32
}

/// Rule 23 for the table of pins: what is wrong, with the value.
pub(super) fn declarations(kernel: &Kernel) -> Vec<(Value, String)> {
    let mut wrong = Vec::new();
    let mut lanes = kernel.lanes;
    for (&value, pin) in &kernel.pins {
        let Some(ty) = kernel.values.get(value.index()) else {
            wrong.push((value, "is pinned, but has no type".to_owned()));
            continue;
        };
        if pin.layout.shape() != ty.shape {
            let shape = TileType::new(ty.dtype, pin.layout.shape());
            wrong.push((value, format!("is {ty}, its layout is one of {shape}")));
        }
        if let Origin::Inferred { from, .. } = pin.origin
            && !kernel.pins.contains_key(&from)
        {
            wrong.push((value, format!("its layout follows from {from}, which has none")));
        }
        let own = pin.layout.spatial_size();
        if own > MAX_LANES {
            wrong.push((value, format!("its layout has {own} lanes, may have {MAX_LANES}")));
        }
        match lanes {
            Some(lanes) if lanes != own => {
                wrong.push((value, format!("its layout has {own} lanes, the kernel {lanes}")));
            }
            Some(_) => {}
            None => lanes = Some(own),
        }
    }
    wrong
}

/// Rule 23 for the order of a block-shared tensor: what is wrong.
pub(super) fn order(shared: &SharedDecl) -> Option<String> {
    let order = shared.order.as_ref()?;
    if order.shape() != shared.ty.shape {
        let shape = TileType::new(shared.ty.dtype, order.shape());
        return Some(format!("is {}, its order is one of {shape}", shared.ty));
    }
    if u64::from(order.size()) > MAX_ELEMENTS {
        return Some(format!("its order takes {} places, may take {MAX_ELEMENTS}", order.size()));
    }
    let (a, b) = order.first_collision()?;
    Some(format!("its order puts elements {a} and {b}, counted row by row, in one place"))
}

/// Rule 23 for one operation: what is wrong.
pub(super) fn operation(kernel: &Kernel, inst: &Inst) -> Option<String> {
    let to = inst.result.map(|value| (value, kernel.layout(value)));
    match (&inst.op, inst.args.as_slice(), to) {
        (Op::Relayout, _, Some((value, None))) => Some(format!("the layout of {value} is not pinned")),
        (Op::View, &[operand], Some((value, to))) => {
            let (Some(from), Some(to)) = (kernel.layout(operand), to) else {
                let missing = if to.is_none() { value } else { operand };
                return Some(format!("the layout of {missing} is not pinned"));
            };
            let dtype = |value: Value| kernel.values.get(value.index()).map(|ty| ty.dtype);
            let (from_dtype, to_dtype) = (dtype(operand)?, dtype(value)?);
            check_view((from_dtype, from), (to_dtype, to)).err().map(|error| error.to_string())
        }
        _ => first_lack(kernel, inst).map(|Lack { operand }| {
            format!("the layout of {} does not give each lane what it needs of it", inst.args[operand])
        }),
    }
}
