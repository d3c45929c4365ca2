//! Elementary layouts, and the chains they begin.

use super::digit::{Digit, check_shape};
use super::{Layout, LayoutError};

/// A digit for each dimension, first dimension first.
fn dimensions(shape: &[u32]) -> Result<Vec<Digit>, LayoutError> {
    check_shape(shape)?;
    Ok(shape.iter().enumerate().map(|(dim, &extent)| Digit::at(extent, dim, 1)).collect())
}

/// Greatest common divisor; `gcd(a, 0) = a`.
pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Layout {
    /// One lane holds everything. Post-condition: `element(0, slot)` is the row-major index of `slot`.
    pub fn local(shape: &[u32]) -> Result<Self, LayoutError> {
        Layout::from_digits(shape, &[], &dimensions(shape)?)
    }

    /// Each lane holds one element. Post-condition: `element(lane, 0)` is the row-major index of `lane`.
    pub fn spatial(shape: &[u32]) -> Result<Self, LayoutError> {
        Layout::from_digits(shape, &dimensions(shape)?, &[])
    }

    /// As [`Layout::local`] in column-major order: the first dimension runs fastest.
    pub fn column_local(shape: &[u32]) -> Result<Self, LayoutError> {
        let mut digits = dimensions(shape)?;
        digits.reverse();
        Layout::from_digits(shape, &[], &digits)
    }

    /// As [`Layout::spatial`] in column-major order: the first dimension runs fastest.
    pub fn column_spatial(shape: &[u32]) -> Result<Self, LayoutError> {
        let mut digits = dimensions(shape)?;
        digits.reverse();
        Layout::from_digits(shape, &digits, &[])
    }

    /// `lanes` lanes hold the same single element of a tile of rank 0: `replicated(4).local(2, 2)` gives each of four lanes
    /// the whole of a 2 x 2 tile. Post-condition: `element(lane, 0)` is the empty index.
    pub fn replicated(lanes: u32) -> Result<Self, LayoutError> {
        Layout::from_digits(&[], &[Digit { extent: lanes, place: None }], &[])
    }

    /// Spreads a tile over exactly `lanes` lanes, the last dimension first, so that neighbouring lanes hold neighbouring
    /// elements.
    ///
    /// Post-condition: `spatial_size() == lanes`, and `replication()` is 1 if there are enough elements, else
    /// `lanes / elements`, the copies being the most significant part of the lane number. Refused unless one of `lanes` and
    /// the number of elements divides the other.
    pub fn auto_local_spatial(lanes: u32, shape: &[u32]) -> Result<Self, LayoutError> {
        let elements = check_shape(shape)?;
        if lanes == 0 {
            return Err(LayoutError::ZeroExtent);
        }
        if !elements.is_multiple_of(lanes) && !lanes.is_multiple_of(elements) {
            return Err(LayoutError::LanesDoNotDivide { lanes, elements });
        }
        let mut spread = vec![1; shape.len()];
        let mut left = lanes;
        for (spread, &extent) in spread.iter_mut().zip(shape).rev() {
            *spread = gcd(left, extent);
            left /= *spread;
        }
        let kept: Vec<u32> = shape.iter().zip(&spread).map(|(extent, spread)| extent / spread).collect();
        Layout::replicated(left)?.then_local(&kept)?.then_spatial(&spread)
    }

    /// `self.compose(local(shape))`.
    pub fn then_local(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        self.compose(&Layout::local(shape)?)
    }

    /// `self.compose(spatial(shape))`.
    pub fn then_spatial(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        self.compose(&Layout::spatial(shape)?)
    }

    /// `self.compose(column_local(shape))`.
    pub fn then_column_local(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        self.compose(&Layout::column_local(shape)?)
    }

    /// `self.compose(column_spatial(shape))`.
    pub fn then_column_spatial(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        self.compose(&Layout::column_spatial(shape)?)
    }

    /// `self.compose(replicated(lanes))`.
    pub fn then_replicated(&self, lanes: u32) -> Result<Self, LayoutError> {
        self.compose(&Layout::replicated(lanes)?)
    }

    /// The layout of a one-lane tile whose slots run through `order`: `order[0]` is the dimension that runs slowest.
    ///
    /// Post-condition: `local_size()` is the number of elements, and slot numbers are row-major in the shape permuted by
    /// `order`. Refused unless `order` names every dimension once.
    pub fn local_in_order(shape: &[u32], order: &[usize]) -> Result<Self, LayoutError> {
        let digits = dimensions(shape)?;
        super::shape::check_permutation(order, shape.len())?;
        let digits: Vec<Digit> = order.iter().map(|&dim| digits[dim]).collect();
        Layout::from_digits(shape, &[], &digits)
    }

    /// As [`Layout::local_in_order`] for lanes.
    pub fn spatial_in_order(shape: &[u32], order: &[usize]) -> Result<Self, LayoutError> {
        Ok(Layout::local_in_order(shape, order)?.slots_to_lanes())
    }

    /// The same digits, all of them in the lane number, slots below lanes.
    fn slots_to_lanes(mut self) -> Self {
        self.spatial_modes.extend(self.local_modes.drain(..).map(super::SpatialMode::Mode));
        self
    }

    /// The row-major position of each element in the order of slots of a one-lane layout: the storage order of a `format`
    /// field. `None` if there are several lanes.
    pub fn storage_order(&self) -> Option<Vec<u32>> {
        if self.spatial_size() != 1 {
            return None;
        }
        Some(self.linear_elements())
    }
}
