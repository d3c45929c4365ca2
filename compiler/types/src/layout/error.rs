//! Why a layout operation was refused: one variant for each rule.

use std::fmt;

/// A refusal, naming the rule that was broken and what broke it.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum LayoutError {
    /// Every extent and every number of copies is at least 1.
    ZeroExtent,
    /// A layout has at most [`MAX_RANK`](super::MAX_RANK) dimensions.
    RankTooLarge {
        /// The rank that was asked for.
        rank: usize,
    },
    /// Elements, lanes, slots and offsets are counted in 32 bits.
    TooLarge {
        /// What there are too many of.
        what: &'static str,
    },
    /// A layout has at most [`MAX_PLACES`](super::MAX_PLACES) places: lanes times slots, or elements in memory.
    TooManyPlaces {
        /// The number that was asked for.
        places: u64,
    },
    /// The digits along a dimension must multiply up to its extent, each mode being used exactly once.
    NotADecomposition {
        /// The dimension.
        dim: usize,
    },
    /// The operation takes another number of numbers.
    NumberCount {
        /// How many it takes.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// The operation needs another rank.
    RankMismatch {
        /// The rank that is needed.
        expected: usize,
        /// The rank that was given.
        found: usize,
    },
    /// A dimension that does not exist, or is named twice.
    BadDimension {
        /// The dimension.
        dim: usize,
        /// The rank of the layout.
        rank: usize,
    },
    /// Only a dimension of extent 1 can be dropped.
    NotUnit {
        /// The dimension.
        dim: usize,
        /// Its extent.
        extent: u32,
    },
    /// A reshape keeps the number of elements.
    ElementCount {
        /// Elements of the layout.
        expected: u64,
        /// Elements of the new shape.
        found: u64,
    },
    /// Every slot of a lane holds another element: copies exist among lanes only.
    CopyInSlots,
    /// A digit can be cut at a boundary only if the sizes divide: `stride | at | stride * extent`.
    CannotSplit {
        /// Extent of the digit.
        extent: u32,
        /// Elements, lanes or slots that one step of the digit counts.
        stride: u32,
        /// The boundary, in the same unit.
        at: u32,
    },
    /// A division needs the number of lanes, slots, and each extent of the divisor to divide that of the dividend.
    SizesDoNotDivide {
        /// What does not divide.
        what: &'static str,
        /// Size in the dividend.
        dividend: u32,
        /// Size in the divisor.
        divisor: u32,
    },
    /// The innermost (or, for a left division, outermost) part of the dividend is another layout than the divisor.
    NotAFactor,
    /// Reduction to a shape keeps or collapses each dimension, and may drop leading ones.
    NotAReduction {
        /// The shape of the layout.
        from: Vec<u32>,
        /// The shape that was asked for.
        to: Vec<u32>,
    },
    /// Lanes can be spread evenly over a tile only if one of the two numbers divides the other.
    LanesDoNotDivide {
        /// Number of lanes.
        lanes: u32,
        /// Number of elements.
        elements: u32,
    },
    /// One swizzle cannot say what the operation would give.
    Swizzled {
        /// The operation.
        operation: &'static str,
    },
    /// A swizzle that cannot be applied.
    BadSwizzle {
        /// What it would need.
        needs: &'static str,
    },
    /// There is no layout factor of this name.
    UnknownFactor {
        /// The name.
        name: String,
        /// The factors there are.
        known: &'static [&'static str],
    },
    /// The text is no layout expression.
    Syntax {
        /// Byte offset of the offending character.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::ZeroExtent => write!(f, "an extent or a number of copies is at least 1, not 0"),
            LayoutError::RankTooLarge { rank } => {
                write!(f, "a layout has at most {} dimensions, not {rank}", super::MAX_RANK)
            }
            LayoutError::TooLarge { what } => write!(f, "the number of {what} does not fit 32 bits"),
            LayoutError::TooManyPlaces { places } => {
                write!(f, "a layout has at most {} places, not {places}", super::MAX_PLACES)
            }
            LayoutError::NotADecomposition { dim } => {
                write!(f, "the modes of dimension {dim} do not multiply up to its extent, each used once")
            }
            LayoutError::NumberCount { expected, found } => {
                let s = if *expected == 1 { "" } else { "s" };
                write!(f, "{expected} number{s} needed, not {found}")
            }
            LayoutError::RankMismatch { expected, found } => {
                write!(f, "a layout of rank {expected} is needed, not of rank {found}")
            }
            LayoutError::BadDimension { dim, rank } => {
                write!(f, "dimension {dim} does not exist or is named twice; the rank is {rank}")
            }
            LayoutError::NotUnit { dim, extent } => {
                write!(f, "dimension {dim} has extent {extent}; only an extent of 1 can be dropped")
            }
            LayoutError::ElementCount { expected, found } => {
                write!(f, "the new shape has {found} elements, the layout {expected}")
            }
            LayoutError::CopyInSlots => write!(f, "copies exist among lanes, not among slots"),
            LayoutError::CannotSplit { extent, stride, at } => {
                write!(f, "the digit of extent {extent} and stride {stride} cannot be cut evenly at {at}")
            }
            LayoutError::SizesDoNotDivide { what, dividend, divisor } => {
                write!(
                    f,
                    "the {what} of the divisor must divide those of the dividend: {divisor} does not divide {dividend}"
                )
            }
            LayoutError::NotAFactor => write!(f, "the divisor is not a factor of the layout"),
            LayoutError::NotAReduction { from, to } => write!(f, "{from:?} cannot be reduced to {to:?}"),
            LayoutError::LanesDoNotDivide { lanes, elements } => {
                write!(f, "{elements} elements cannot be spread evenly over {lanes} lanes")
            }
            LayoutError::Swizzled { operation } => {
                write!(f, "a swizzled layout does not admit {operation}")
            }
            LayoutError::BadSwizzle { needs } => write!(f, "a swizzle needs {needs}"),
            LayoutError::UnknownFactor { name, known } => {
                write!(f, "`{name}` is no layout factor; there are {}", known.join(", "))
            }
            LayoutError::Syntax { at, expected } => write!(f, "expected {expected} at byte {at}"),
        }
    }
}

impl std::error::Error for LayoutError {}
