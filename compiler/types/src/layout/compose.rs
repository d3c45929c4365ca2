//! Composition (a Kronecker product of layouts) and its two divisions.
//!
//! In digits: the strides of the outer layout are multiplied by the extents of the inner one, and its digits go in front. A
//! division cuts the digits of the dividend at the sizes of the divisor and looks whether the pieces are the divisor. Since the
//! canonical form has the fewest cuts, any factorisation there is can be reached by cutting it further, so a refusal means that
//! there is none.

use super::digit::{Digit, Place, split_at_size, split_at_stride};
use super::{Layout, LayoutError};

impl Layout {
    /// Every element of `self` becomes a tile laid out by `inner`.
    ///
    /// Post-condition, for `h = f.compose(g)`, with `T` and `L` the lanes and slots of `g` and the shorter shape extended by
    /// leading 1s: `h.shape = f.shape * g.shape` and
    /// `h.element(t, i) = f.element(t / T, i / L) * g.shape + g.element(t % T, i % L)`, element by element.
    pub fn compose(&self, inner: &Layout) -> Result<Self, LayoutError> {
        let rank = self.rank().max(inner.rank());
        let (outer, inner) = (self.with_rank(rank), inner.with_rank(rank));
        let mut shape = Vec::with_capacity(rank);
        for (&a, &b) in outer.shape.iter().zip(&inner.shape) {
            shape.push(a.checked_mul(b).ok_or(LayoutError::TooLarge { what: "elements" })?);
        }
        let scale = |mut digit: Digit| {
            if let Some(place) = &mut digit.place {
                // At most the extent of the dimension, which was found to fit.
                place.stride *= inner.shape[place.dim];
            }
            digit
        };
        let lanes: Vec<Digit> =
            outer.spatial_digits().into_iter().map(scale).chain(inner.spatial_digits()).collect();
        let slots: Vec<Digit> =
            outer.local_digits().into_iter().map(scale).chain(inner.local_digits()).collect();
        Layout::from_digits(&shape, &lanes, &slots)
    }

    /// The quotient from the right: the outer layout that `inner` completes to `self`.
    ///
    /// Post-condition: `f = h.divide(g)` is the only layout of the rank of `h` with `f.compose(g) == h`; refused exactly if there
    /// is none.
    pub fn divide(&self, inner: &Layout) -> Result<Self, LayoutError> {
        let inner = inner.extended_to(self.rank())?;
        for dim in 0..self.rank() {
            divides("extents", self.shape[dim], inner.shape[dim])?;
        }
        let (outer, found) = self.factor(&inner.shape, inner.spatial_size(), inner.local_size())?;
        if found == inner { Ok(outer) } else { Err(LayoutError::NotAFactor) }
    }

    /// The quotient from the left: the inner layout that completes `outer` to `self`.
    ///
    /// Post-condition: `g = h.left_divide(f)` is the only layout of the rank of `h` with `f.compose(g) == h`; refused exactly if
    /// there is none.
    pub fn left_divide(&self, outer: &Layout) -> Result<Self, LayoutError> {
        let outer = outer.extended_to(self.rank())?;
        let mut shape = Vec::with_capacity(self.rank());
        for dim in 0..self.rank() {
            divides("extents", self.shape[dim], outer.shape[dim])?;
            shape.push(self.shape[dim] / outer.shape[dim]);
        }
        let (lanes, slots) = (self.spatial_size(), self.local_size());
        divides("lanes", lanes, outer.spatial_size())?;
        divides("slots", slots, outer.local_size())?;
        let (found, inner) = self.factor(&shape, lanes / outer.spatial_size(), slots / outer.local_size())?;
        if found == outer { Ok(inner) } else { Err(LayoutError::NotAFactor) }
    }

    /// The only way to write `self` as outer and inner layout, given the sizes of the inner one.
    fn factor(&self, inner_shape: &[u32], lanes: u32, slots: u32) -> Result<(Layout, Layout), LayoutError> {
        divides("lanes", self.spatial_size(), lanes)?;
        divides("slots", self.local_size(), slots)?;
        let cut = |digits: Vec<Digit>, size| {
            // Nothing straddles a boundary at 1.
            let digits = (0..self.rank())
                .filter(|&dim| inner_shape[dim] > 1)
                .try_fold(digits, |digits, dim| split_at_stride(&digits, dim, inner_shape[dim]))?;
            split_at_size(&digits, size)
        };
        let (outer_lanes, inner_lanes) = cut(self.spatial_digits(), lanes)?;
        let (outer_slots, inner_slots) = cut(self.local_digits(), slots)?;
        let shrink = |digit: &Digit| match digit.place {
            Some(Place { dim, stride }) if stride < inner_shape[dim] => Err(LayoutError::NotAFactor),
            Some(Place { dim, stride }) => Ok(Digit::at(digit.extent, dim, stride / inner_shape[dim])),
            None => Ok(*digit),
        };
        let outer_lanes: Vec<Digit> = outer_lanes.iter().map(shrink).collect::<Result<_, _>>()?;
        let outer_slots: Vec<Digit> = outer_slots.iter().map(shrink).collect::<Result<_, _>>()?;
        let outer_shape: Vec<u32> =
            self.shape.iter().zip(inner_shape).map(|(whole, inner)| whole / inner).collect();
        let outer = Layout::from_digits(&outer_shape, &outer_lanes, &outer_slots)
            .map_err(|_| LayoutError::NotAFactor)?;
        let inner = Layout::from_digits(inner_shape, &inner_lanes, &inner_slots)
            .map_err(|_| LayoutError::NotAFactor)?;
        Ok((outer, inner))
    }

    /// The same layout with leading dimensions of extent 1; `rank` is at least the rank there is.
    pub(super) fn with_rank(&self, rank: usize) -> Layout {
        let mut layout = self.clone();
        let missing = rank.saturating_sub(self.rank());
        layout.shape.splice(0..0, std::iter::repeat_n(1, missing));
        layout
    }

    /// As [`Layout::with_rank`] for a divisor, which may not have more dimensions than the dividend.
    fn extended_to(&self, rank: usize) -> Result<Layout, LayoutError> {
        if self.rank() > rank {
            return Err(LayoutError::RankMismatch { expected: rank, found: self.rank() });
        }
        Ok(self.with_rank(rank))
    }
}

/// Refuses a divisor that does not divide.
pub(super) fn divides(what: &'static str, dividend: u32, divisor: u32) -> Result<(), LayoutError> {
    if dividend.is_multiple_of(divisor) {
        Ok(())
    } else {
        Err(LayoutError::SizesDoNotDivide { what, dividend, divisor })
    }
}
