//! The type of a tile value.

use std::fmt;
use tvmc_types::dtype::DType;

/// Most dimensions a tile or tensor may have.
pub const MAX_RANK: usize = 8;
/// Most elements a tile may have.
pub const MAX_ELEMENTS: u64 = 1 << 20;

/// A dtype and a static shape; an empty shape is a scalar. Printed `f32[4, 16]`, `i32`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TileType {
    /// Element type.
    pub dtype: DType,
    /// Extents, each at least 1.
    pub shape: Vec<u32>,
}

impl TileType {
    /// A scalar type.
    pub fn scalar(dtype: DType) -> Self {
        Self { dtype, shape: Vec::new() }
    }

    /// A tile type.
    pub fn new(dtype: DType, shape: &[u32]) -> Self {
        Self { dtype, shape: shape.to_vec() }
    }

    /// The same shape with another dtype.
    pub fn with_dtype(&self, dtype: DType) -> Self {
        Self { dtype, shape: self.shape.clone() }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&d| u64::from(d)).product()
    }

    /// Whether this is a scalar.
    pub fn is_scalar(&self) -> bool {
        self.shape.is_empty()
    }
}

impl fmt::Display for TileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype)?;
        if !self.shape.is_empty() {
            let extents: Vec<String> = self.shape.iter().map(u32::to_string).collect();
            write!(f, "[{}]", extents.join(", "))?;
        }
        Ok(())
    }
}
