//! Digits: the form in which the operations work.
//!
//! A layout is two lists of digits, one making up the lane number, one the slot number, most significant first. A digit of
//! extent `n` at place `(dim, stride)` adds `digit * stride` to the index along `dim`; a digit without a place adds nothing,
//! which makes copies. An operation maps digits to digits; [`Layout::from_digits`] turns the result into canonical form, or
//! refuses lists that are no layout.

use super::{Layout, LayoutError, MAX_PLACES, MAX_RANK, SpatialMode};

/// Where a digit counts: it is the factor of `stride` in the index along `dim`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct Place {
    /// The dimension.
    pub dim: usize,
    /// What a step of the digit adds to the index along it.
    pub stride: u32,
}

/// A digit of a lane or slot number.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct Digit {
    /// The digit counts from 0 to below this.
    pub extent: u32,
    /// What it counts, `None` for copies.
    pub place: Option<Place>,
}

impl Digit {
    /// A digit that counts along a dimension.
    pub(super) fn at(extent: u32, dim: usize, stride: u32) -> Self {
        Digit { extent, place: Some(Place { dim, stride }) }
    }

    /// The value of the digit for an element; 0 for copies.
    pub(super) fn of(&self, index: &[u32]) -> u32 {
        self.place.map_or(0, |place| index[place.dim] / place.stride % self.extent)
    }

    /// Cuts the digit into the part that counts whole `inner`s and the part below; `None` if `inner` does not divide it.
    fn cut(self, inner: u32) -> Option<(Digit, Digit)> {
        if inner == 0 || !self.extent.is_multiple_of(inner) {
            return None;
        }
        let outer = self.place.map(|place| Place { dim: place.dim, stride: place.stride * inner });
        Some((
            Digit { extent: self.extent / inner, place: outer },
            Digit { extent: inner, place: self.place },
        ))
    }
}

/// The weight of each digit in the number they make: the product of the extents after it.
pub(super) fn place_values(digits: &[Digit]) -> Vec<u32> {
    let mut values = vec![1; digits.len()];
    for i in (1..digits.len()).rev() {
        values[i - 1] = values[i] * digits[i].extent;
    }
    values
}

/// Row-major position of an index.
pub(super) fn ravel(index: &[u32], shape: &[u32]) -> u32 {
    index.iter().zip(shape).fold(0, |position, (i, extent)| position * extent + i)
}

/// Row-major strides of a shape.
pub(super) fn row_major_strides(shape: &[u32]) -> Vec<u32> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// A product of extents in 32 bits.
pub(super) fn product(
    extents: impl IntoIterator<Item = u32>,
    what: &'static str,
) -> Result<u32, LayoutError> {
    extents
        .into_iter()
        .try_fold(1u32, |product, extent| product.checked_mul(extent))
        .ok_or(LayoutError::TooLarge { what })
}

/// Refuses shapes that no layout has; gives the number of elements.
pub(super) fn check_shape(shape: &[u32]) -> Result<u32, LayoutError> {
    if shape.len() > MAX_RANK {
        return Err(LayoutError::RankTooLarge { rank: shape.len() });
    }
    if shape.contains(&0) {
        return Err(LayoutError::ZeroExtent);
    }
    product(shape.iter().copied(), "elements")
}

/// Drops digits of extent 1 and merges neighbours that count on from each other.
pub(super) fn merge(digits: impl IntoIterator<Item = Digit>) -> Vec<Digit> {
    let mut merged: Vec<Digit> = Vec::new();
    for digit in digits {
        if digit.extent == 1 {
            continue;
        }
        match merged.last_mut() {
            Some(outer) if continues(outer, &digit) => {
                *outer = Digit { extent: outer.extent * digit.extent, place: digit.place };
            }
            _ => merged.push(digit),
        }
    }
    merged
}

/// Whether `outer` counts what a carry out of `inner` would count.
fn continues(outer: &Digit, inner: &Digit) -> bool {
    match (outer.place, inner.place) {
        (None, None) => true,
        (Some(o), Some(i)) => {
            o.dim == i.dim && u64::from(o.stride) == u64::from(i.stride) * u64::from(inner.extent)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Cuts the digits that straddle a multiple of `boundary` along `dim`, so that each counts either below it or whole multiples.
pub(super) fn split_at_stride(
    digits: &[Digit],
    dim: usize,
    boundary: u32,
) -> Result<Vec<Digit>, LayoutError> {
    let mut result = Vec::with_capacity(digits.len() + 1);
    for &digit in digits {
        match digit.place {
            Some(Place { dim: d, stride })
                if d == dim
                    && stride < boundary
                    && u64::from(boundary) < u64::from(stride) * u64::from(digit.extent) =>
            {
                let inner = if boundary.is_multiple_of(stride) { boundary / stride } else { 0 };
                let refusal = LayoutError::CannotSplit { extent: digit.extent, stride, at: boundary };
                let (outer, inner) = digit.cut(inner).ok_or(refusal)?;
                result.extend([outer, inner]);
            }
            _ => result.push(digit),
        }
    }
    Ok(result)
}

/// Cuts a list of digits in two, the second making up the numbers below `size`.
pub(super) fn split_at_size(digits: &[Digit], size: u32) -> Result<(Vec<Digit>, Vec<Digit>), LayoutError> {
    let (mut outer, mut inner) = (digits.to_vec(), Vec::new());
    let mut wanted = size;
    while wanted > 1 {
        let digit = outer.pop().ok_or(LayoutError::NotAFactor)?;
        if wanted.is_multiple_of(digit.extent) {
            wanted /= digit.extent;
            inner.push(digit);
        } else {
            let refusal = LayoutError::CannotSplit { extent: digit.extent, stride: size / wanted, at: size };
            let (high, low) = digit.cut(wanted).ok_or(refusal)?;
            wanted = 1;
            outer.push(high);
            inner.push(low);
        }
    }
    inner.reverse();
    Ok((outer, inner))
}

impl Layout {
    /// The digits of the lane number, most significant first.
    pub fn spatial_digits(&self) -> Vec<Digit> {
        let places = self.mode_places();
        let digit = |&mode: &SpatialMode| match mode {
            SpatialMode::Mode(mode) => places[mode as usize],
            SpatialMode::Replicate(copies) => Digit { extent: copies, place: None },
        };
        self.spatial_modes.iter().map(digit).collect()
    }

    /// The digits of the slot number, most significant first; none is a copy.
    pub fn local_digits(&self) -> Vec<Digit> {
        let places = self.mode_places();
        self.local_modes.iter().map(|&mode| places[mode as usize]).collect()
    }

    /// Each mode as a digit.
    pub(super) fn mode_places(&self) -> Vec<Digit> {
        let mut places = Vec::with_capacity(self.mode_shape.len());
        let mut modes = self.mode_shape.iter();
        for (dim, &extent) in self.shape.iter().enumerate() {
            let mut stride = extent;
            while stride > 1 {
                // The modes of a dimension multiply up to its extent; `from_digits` saw to that.
                let Some(&mode) = modes.next() else { break };
                stride /= mode;
                places.push(Digit::at(mode, dim, stride));
            }
        }
        places
    }

    /// The layout with these digits, in canonical form.
    ///
    /// Post-condition: `element(lane, slot)` is the sum over all digits of both numbers of their value times their place.
    /// Refused if the digits along some dimension, sorted by stride, do not make up its extent exactly.
    pub fn from_digits(shape: &[u32], lanes: &[Digit], slots: &[Digit]) -> Result<Self, LayoutError> {
        check_shape(shape)?;
        if lanes.iter().chain(slots).any(|digit| digit.extent == 0) {
            return Err(LayoutError::ZeroExtent);
        }
        // Also keeps the products in `merge` within range.
        let lane_count = product(lanes.iter().map(|digit| digit.extent), "lanes")?;
        let slot_count = product(slots.iter().map(|digit| digit.extent), "slots")?;
        let places = u64::from(lane_count) * u64::from(slot_count);
        if places > MAX_PLACES {
            return Err(LayoutError::TooManyPlaces { places });
        }
        let lanes = merge(lanes.iter().copied());
        let slots = merge(slots.iter().copied());

        let mut modes: Vec<(usize, u32, u32)> = Vec::new();
        for digit in lanes.iter().chain(&slots) {
            if let Some(Place { dim, stride }) = digit.place {
                if dim >= shape.len() {
                    return Err(LayoutError::BadDimension { dim, rank: shape.len() });
                }
                modes.push((dim, stride, digit.extent));
            }
        }
        modes.sort_by_key(|&(dim, stride, _)| (dim, std::cmp::Reverse(stride)));
        for (dim, &extent) in shape.iter().enumerate() {
            let mut above = extent;
            for &(_, stride, digit) in modes.iter().filter(|mode| mode.0 == dim) {
                if u64::from(stride) * u64::from(digit) != u64::from(above) {
                    return Err(LayoutError::NotADecomposition { dim });
                }
                above = stride;
            }
            if above != 1 {
                return Err(LayoutError::NotADecomposition { dim });
            }
        }
        if slots.iter().any(|digit| digit.place.is_none()) {
            return Err(LayoutError::CopyInSlots);
        }
        // Distinct digits have distinct strides along a dimension by the chain above, so the search finds exactly its mode.
        let mode_of = |place: Place| {
            modes.iter().position(|&(dim, stride, _)| (dim, stride) == (place.dim, place.stride)).unwrap_or(0)
                as u32
        };
        Ok(Layout {
            shape: shape.to_vec(),
            mode_shape: modes.iter().map(|mode| mode.2).collect(),
            spatial_modes: lanes
                .iter()
                .map(|digit| match digit.place {
                    Some(place) => SpatialMode::Mode(mode_of(place)),
                    None => SpatialMode::Replicate(digit.extent),
                })
                .collect(),
            local_modes: slots.iter().filter_map(|digit| digit.place).map(mode_of).collect(),
        })
    }

    /// The layout with these four lists, canonical or not: `mode_shape` factors the dimensions in order.
    ///
    /// Post-condition: `element(lane, slot)` takes the lane apart by `spatial_modes` and the slot by `local_modes`, and puts
    /// each dimension together from its modes, all row-major. Every mode must be used exactly once.
    pub fn from_modes(
        shape: &[u32],
        mode_shape: &[u32],
        spatial_modes: &[SpatialMode],
        local_modes: &[u32],
    ) -> Result<Self, LayoutError> {
        check_shape(shape)?;
        if mode_shape.contains(&0) {
            return Err(LayoutError::ZeroExtent);
        }
        let mut places = Vec::with_capacity(mode_shape.len());
        let mut dim = 0;
        let mut stride = shape.first().copied().unwrap_or(1);
        for &mode in mode_shape {
            // Modes of extent 1 may stand anywhere, so a dimension is left only for a mode that needs room.
            while mode > 1 && stride == 1 && dim + 1 < shape.len() {
                dim += 1;
                stride = shape[dim];
            }
            if !stride.is_multiple_of(mode) {
                return Err(LayoutError::NotADecomposition { dim });
            }
            stride /= mode;
            places.push(Digit { extent: mode, place: (mode > 1).then_some(Place { dim, stride }) });
        }
        let digit = |mode: u32| {
            places
                .get(mode as usize)
                .copied()
                .ok_or(LayoutError::BadDimension { dim: mode as usize, rank: places.len() })
        };
        let lanes: Vec<Digit> = spatial_modes
            .iter()
            .map(|&mode| match mode {
                SpatialMode::Mode(mode) => digit(mode),
                SpatialMode::Replicate(copies) => Ok(Digit { extent: copies, place: None }),
            })
            .collect::<Result<_, _>>()?;
        let slots: Vec<Digit> = local_modes.iter().map(|&mode| digit(mode)).collect::<Result<_, _>>()?;
        Layout::from_digits(shape, &lanes, &slots)
    }
}
