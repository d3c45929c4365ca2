//! Operations on shared-memory layouts; the table in the [module](super) has them with an example each.
//!
//! A swizzle survives what only renames indices. In a product `f * g` the offsets of `f` count whole tiles of `g`, so a swizzle of `g` stays where a tile is
//! a multiple of its period, and a swizzle of `f` moves up where a tile is a power of two: by its logarithm. At most one of the two can have one.
//! A division cuts modes at the divisor's extents, and what it finds is composed again and compared: so it is right, and since modes in canonical form have the
//! fewest cuts, it finds what there is.

use super::{Mode, SharedLayout, Swizzle, merge};
use crate::layout::LayoutError;
use crate::layout::compose::divides;
use crate::layout::digit::check_shape;
use crate::layout::shape::{check_distinct, check_permutation, flattened, squeezed, unsqueezed};

/// The logarithm of a size that is a power of two.
fn exponent(size: u32) -> Option<i64> {
    size.is_power_of_two().then(|| size.ilog2().into())
}

/// Cuts the modes of a dimension in those that count whole stretches of `inner` and those below.
fn cut(modes: &[Mode], inner: u32) -> Result<(Vec<Mode>, Vec<Mode>), LayoutError> {
    let (mut outer, mut below) = (modes.to_vec(), vec![]);
    let mut left = inner;
    while left > 1 {
        let (extent, stride) = outer.pop().ok_or(LayoutError::NotAFactor)?;
        if left.is_multiple_of(extent) {
            left /= extent;
            below.insert(0, (extent, stride));
        } else if extent.is_multiple_of(left) {
            // At most the last step of this mode, which was found to fit.
            outer.push((extent / left, stride * left));
            below.insert(0, (left, stride));
            left = 1;
        } else {
            return Err(LayoutError::CannotSplit { extent, stride, at: inner });
        }
    }
    Ok((outer, below))
}

impl SharedLayout {
    /// Every element of `self` becomes a tile laid out by `inner`.
    ///
    /// Post-condition, with the shorter shape extended by leading 1s: `h.shape = f.shape * g.shape` and
    /// `h.offset(x) = f.offset(x / g.shape) * g.size() + g.offset(x % g.shape)`.
    /// Refused if both are swizzled, if `g` is and its size is no multiple of the period (unless all tiles lie at 0), and if `f` is and the size of `g` is no
    /// power of two.
    pub fn compose(&self, inner: &SharedLayout) -> Result<Self, LayoutError> {
        let rank = self.rank().max(inner.rank());
        let (outer, inner) = (self.with_rank(rank), inner.with_rank(rank));
        let size = inner.size();
        let apart = outer.footprint64()? > 1;
        let swizzle = match (outer.swizzle, inner.swizzle) {
            (Some(_), Some(_)) => {
                return Err(LayoutError::Swizzled { operation: "composition with another swizzle" });
            }
            (None, Some(swizzle)) if apart && !u64::from(size).is_multiple_of(swizzle.period()) => {
                return Err(LayoutError::BadSwizzle {
                    needs: "a tile that is a multiple of its period to be repeated",
                });
            }
            (None, own) => own,
            (Some(swizzle), None) => {
                let operation = "composition with a tile whose size is no power of two";
                let places = exponent(size).ok_or(LayoutError::Swizzled { operation })?;
                Some(swizzle.shifted(places).ok_or(LayoutError::TooLarge { what: "offsets" })?)
            }
        };
        let too_large = |what| LayoutError::TooLarge { what };
        let mut shape = vec![];
        for (&a, &b) in outer.shape.iter().zip(&inner.shape) {
            shape.push(a.checked_mul(b).ok_or(too_large("elements"))?);
        }
        let mut modes = outer.modes();
        for (modes, inner) in modes.iter_mut().zip(inner.modes()) {
            for mode in modes.iter_mut() {
                mode.1 = mode.1.checked_mul(size).ok_or(too_large("offsets"))?;
            }
            modes.extend(inner);
        }
        SharedLayout::from_modes(&shape, &modes, swizzle)
    }

    /// The quotient from the right: the outer layout that `inner` completes to `self`.
    ///
    /// Post-condition: `f = h.divide(g)` is the only layout of the rank of `h` with `f.compose(g) == h`; refused exactly if there is none.
    pub fn divide(&self, inner: &SharedLayout) -> Result<Self, LayoutError> {
        let inner = inner.extended_to(self.rank())?;
        let size = inner.size();
        let mut shape = vec![];
        let mut modes = vec![];
        for (dim, own) in self.modes().iter().enumerate() {
            divides("extents", self.shape[dim], inner.shape[dim])?;
            shape.push(self.shape[dim] / inner.shape[dim]);
            let (mut outer, _) = cut(own, inner.shape[dim])?;
            for mode in &mut outer {
                if !mode.1.is_multiple_of(size) {
                    return Err(LayoutError::NotAFactor);
                }
                mode.1 /= size;
            }
            modes.push(outer);
        }
        let swizzle = match (self.swizzle, inner.swizzle) {
            (Some(own), None) => {
                let moved = exponent(size).and_then(|places| own.shifted(-places));
                Some(moved.ok_or(LayoutError::NotAFactor)?)
            }
            // If these are not the same, the product will tell.
            (None | Some(_), Some(_)) | (None, None) => None,
        };
        let outer = SharedLayout::from_modes(&shape, &modes, swizzle)?;
        self.is_product(&outer, &inner).then_some(outer).ok_or(LayoutError::NotAFactor)
    }

    /// The quotient from the left: the inner layout that completes `outer` to `self`.
    ///
    /// Post-condition: `g = h.left_divide(f)` is the only layout of the rank of `h` with `f.compose(g) == h`; refused exactly if there is none.
    pub fn left_divide(&self, outer: &SharedLayout) -> Result<Self, LayoutError> {
        let outer = outer.extended_to(self.rank())?;
        let mut shape = vec![];
        let mut modes = vec![];
        for (dim, own) in self.modes().iter().enumerate() {
            divides("extents", self.shape[dim], outer.shape[dim])?;
            let extent = self.shape[dim] / outer.shape[dim];
            shape.push(extent);
            modes.push(cut(own, extent)?.1);
        }
        // If the outer layout has it, its partner bits lie above the inner one's, and it is dropped.
        let inner = SharedLayout::from_modes(&shape, &modes, self.swizzle)?;
        self.is_product(&outer, &inner).then_some(inner).ok_or(LayoutError::NotAFactor)
    }

    fn is_product(&self, outer: &SharedLayout, inner: &SharedLayout) -> bool {
        outer.compose(inner).is_ok_and(|product| product == *self)
    }

    /// Dimensions of two layouts side by side, each element of `self` a tile of `other`.
    ///
    /// Post-condition: `h.offset([..x, ..y]) = f.offset(x) * g.size() + g.offset(y)`. Refused as [`SharedLayout::compose`] refuses.
    pub fn concat(&self, other: &SharedLayout) -> Result<Self, LayoutError> {
        let mut outer = self.clone();
        outer.shape.extend(other.shape.iter().map(|_| 1));
        check_shape(&outer.shape)?;
        outer.compose(other)
    }

    /// Reorders dimensions. Post-condition: `h.offset(x)` is `f.offset(y)` with `y[dims[k]] = x[k]`.
    pub fn permute(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        check_permutation(dims, self.rank())?;
        self.keep(dims)
    }

    /// The part of the tile at index 0 of every dimension not in `dims`.
    ///
    /// Post-condition: `h.offset(x)` is `f.offset(y)` with `y[dims[k]] = x[k]` and 0 elsewhere.
    pub fn keep(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        check_distinct(dims, self.rank())?;
        let modes = self.modes();
        let shape: Vec<u32> = dims.iter().map(|&dim| self.shape[dim]).collect();
        let modes: Vec<Vec<Mode>> = dims.iter().map(|&dim| modes[dim].clone()).collect();
        SharedLayout::from_modes(&shape, &modes, self.swizzle)
    }

    /// Another shape for the same elements in row-major order. Post-condition: elements at equal row-major positions have equal
    /// offsets. Refused, besides for another number of elements, exactly if a mode cannot be cut at the end of a new dimension.
    pub fn reshape(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        let found = check_shape(shape)?;
        let expected = self.elements();
        if found != expected {
            return Err(LayoutError::ElementCount { expected: expected.into(), found: found.into() });
        }
        let mut left = merge(self.modes().into_iter().flatten());
        let mut modes = vec![];
        for &extent in shape.iter().rev() {
            let (outer, own) = cut(&left, extent)?;
            left = outer;
            modes.insert(0, own);
        }
        SharedLayout::from_modes(shape, &modes, self.swizzle)
    }

    /// Joins the dimensions `first` to `last`, both included, into one.
    ///
    /// Post-condition: as [`SharedLayout::reshape`] to the shape with these extents multiplied; never refused for a range of dimensions that exist.
    pub fn flatten(&self, first: usize, last: usize) -> Result<Self, LayoutError> {
        self.reshape(&flattened(&self.shape, first, last)?)
    }

    /// Drops a dimension of extent 1. Post-condition: `h.offset(x)` is `f.offset(y)`, where `y` is `x` with a 0 inserted at `dim`.
    pub fn squeeze(&self, dim: usize) -> Result<Self, LayoutError> {
        Ok(Self { shape: squeezed(&self.shape, dim)?, ..self.clone() })
    }

    /// Inserts a dimension of extent 1 so that it becomes dimension `dim`, which is at most the rank.
    ///
    /// Post-condition: `h.offset(x)` is `f.offset(y)`, where `y` is `x` without component `dim`.
    pub fn unsqueeze(&self, dim: usize) -> Result<Self, LayoutError> {
        Ok(Self { shape: unsqueezed(&self.shape, dim)?, ..self.clone() })
    }

    /// `count` copies of the tile, one after another, as a new first dimension: the stages of a pipeline.
    ///
    /// Post-condition: `h.offset([s, ..x]) = s * f.size() + f.offset(x)`. Refused if the size is no multiple of the swizzle's
    /// period.
    pub fn stages(&self, count: u32) -> Result<Self, LayoutError> {
        let mut outer = vec![1; self.rank() + 1];
        outer[0] = count;
        SharedLayout::row_major(&outer)?.compose(&self.unsqueeze(0)?)
    }

    /// The same strides, swizzled. Post-condition: `h.offset(x) = swizzle(f.offset(x))`. Refused if there is a swizzle already.
    pub fn swizzled(&self, swizzle: Swizzle) -> Result<Self, LayoutError> {
        if self.swizzle.is_some() {
            return Err(LayoutError::Swizzled { operation: "another swizzle" });
        }
        SharedLayout::from_modes(&self.shape, &self.modes(), Some(swizzle))
    }

    /// The same layout with leading dimensions of extent 1; `rank` is at least the rank there is.
    fn with_rank(&self, rank: usize) -> Self {
        let mut layout = self.clone();
        let missing = rank.saturating_sub(self.rank());
        layout.shape.splice(0..0, std::iter::repeat_n(1, missing));
        layout
    }

    /// As [`SharedLayout::with_rank`] for a divisor, which may not have more dimensions than the dividend.
    fn extended_to(&self, rank: usize) -> Result<Self, LayoutError> {
        if self.rank() > rank {
            return Err(LayoutError::RankMismatch { expected: rank, found: self.rank() });
        }
        Ok(self.with_rank(rank))
    }
}
