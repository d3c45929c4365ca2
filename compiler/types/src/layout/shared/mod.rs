//! Shared-memory layouts: at which offset an element lies.
//!
//! ```text
//! offset(index) = swizzle(sum over modes of digit * stride)        in elements
//! ```
//!
//! Each dimension is cut into modes as in a register layout, and each mode has a stride of its own. A [`Swizzle`] then permutes
//! offsets so that a column of a tile does not fall into one memory bank. 4 x 4 elements, row-major, with `Swizzle { base: 0,
//! bits: 2, shift: 2 }` (the low two bits are xored with the two above): offsets by element
//!
//! ```text
//!          0   1   2   3         shared(4, 4).swizzle(0, 2, 2)
//! row 0    0   1   2   3
//! row 1    5   4   7   6        column 0 lies at 0, 5, 10, 15: four different banks of four
//! row 2   10  11   8   9
//! row 3   15  14  13  12
//! ```
//!
//! # Operations
//! `f`, `g` and `h` are functions from index to offset; `/` and `%` of an index go dimension by dimension.
//!
//! | operation | post-condition | example |
//! |---|---|---|
//! | `shared(e, ..)` | offset is the row-major position | `shared(2, 3)` = `shared(2, 3).strides(3, 1)` |
//! | `column_shared(e, ..)` | offset is the column-major position | `column_shared(2, 3)` = `shared(2, 3).strides(1, 2)` |
//! | [`strides`](SharedLayout::strided) | offset is the sum of index times stride | `shared(2, 2).strides(1, 2)` = `column_shared(2, 2)` |
//! | [`swizzle`](SharedLayout::swizzled) | `h(x) = swizzle(f(x))` | `shared(4).strides(1).swizzle(0, 1, 2)` = `shared(4)` |
//! | [`compose`](SharedLayout::compose) `f * g` | `h(x) = f(x / g.shape) * g.size + g(x % g.shape)` | `shared(2) * column_shared(2, 2)` = `column_shared(2, 4)` |
//! | [`divide`](SharedLayout::divide) `h / g` | the `f` with `f * g = h` | `shared(4, 4) / shared(1, 4)` = `shared(4, 1)` |
//! | [`left_divide`](SharedLayout::left_divide) `f \ h` | the `g` with `f * g = h` | `shared(4, 1) \ shared(4, 4)` = `shared(1, 4)` |
//! | [`concat`](SharedLayout::concat) | `h([x, y]) = f(x) * g.size + g(y)` | `concat(shared(2), shared(3))` = `shared(2, 3)` |
//! | [`permute`](SharedLayout::permute) | `h(x) = f(y)` with `y[dims[k]] = x[k]` | `shared(2, 3).permute(1, 0)` = `column_shared(3, 2)` |
//! | [`keep`](SharedLayout::keep) | the same, 0 in dimensions that are not named | `keep(shared(4, 8), 0)` = `shared(4).strides(8)` |
//! | [`reshape`](SharedLayout::reshape), [`flatten`](SharedLayout::flatten) | equal row-major positions, equal offsets | `shared(2, 3).flatten(0, 1)` = `shared(6)` |
//! | [`squeeze`](SharedLayout::squeeze), [`unsqueeze`](SharedLayout::unsqueeze) | a dimension of extent 1 goes or comes | `shared(1, 6).squeeze(0)` = `shared(6)` |
//! | [`stages`](SharedLayout::stages) | `h([s, ..x]) = s * f.size + f(x)` | `shared(4).stages(2)` = `shared(2, 4)` |
//!
//! # Canonical form
//! Modes of extent 1 are dropped, modes of a dimension whose strides nest are merged, and of a swizzle the bits whose partners lie beyond the largest
//! offset or below the lowest bit of every stride. Without a swizzle, layouts of one shape are equal exactly if their functions are. Two forms with different
//! swizzles may still be one function (`shared(4).strides(4).swizzle(0, 2, 2)` is `shared(4).strides(5)`): [`SharedLayout::first_difference`] compares
//! functions.
//!
//! Refused besides what register layouts refuse: offsets beyond 32 bits, and more than [`MAX_PLACES`](super::MAX_PLACES) elements, so that a layout from
//! anywhere can be enumerated.

mod operations;
mod swizzle;
mod text;

pub use swizzle::Swizzle;
pub use text::SHARED_FACTORS;

use super::construct::gcd;
use super::digit::{check_shape, row_major_strides};
use super::{LayoutError, MAX_PLACES};

/// One mode: so many steps of such a stride.
type Mode = (u32, u32);

/// A map from tile index to offset in elements: the sum over all modes of digit times stride, then swizzled.
#[derive(Clone, Eq, PartialEq, Hash)]
pub struct SharedLayout {
    shape: Vec<u32>,
    mode_shape: Vec<u32>,
    mode_strides: Vec<u32>,
    swizzle: Option<Swizzle>,
}

/// Drops modes of extent 1 and merges those whose strides nest.
fn merge(modes: impl IntoIterator<Item = Mode>) -> Vec<Mode> {
    let mut merged: Vec<Mode> = Vec::new();
    for (extent, stride) in modes {
        match merged.last_mut() {
            _ if extent == 1 => {}
            Some(outer) if u64::from(outer.1) == u64::from(stride) * u64::from(extent) => {
                *outer = (outer.0 * extent, stride);
            }
            _ => merged.push((extent, stride)),
        }
    }
    merged
}

impl SharedLayout {
    /// The canonical layout in which dimension `d` has the modes `modes[d]`, most significant first, as (extent, stride).
    ///
    /// Post-condition: `offset` is the sum of the digits of the index times their strides, swizzled. Refused if modes do not multiply up to the shape, or an offset
    /// exceeds 32 bits.
    pub fn from_modes(
        shape: &[u32],
        modes: &[Vec<(u32, u32)>],
        swizzle: Option<Swizzle>,
    ) -> Result<Self, LayoutError> {
        let elements = check_shape(shape)?;
        if u64::from(elements) > MAX_PLACES {
            return Err(LayoutError::TooManyPlaces { places: elements.into() });
        }
        if modes.len() != shape.len() {
            return Err(LayoutError::RankMismatch { expected: shape.len(), found: modes.len() });
        }
        let mut layout =
            SharedLayout { shape: shape.to_vec(), mode_shape: vec![], mode_strides: vec![], swizzle: None };
        for (dim, (modes, &extent)) in modes.iter().zip(shape).enumerate() {
            let product = modes.iter().try_fold(1u32, |product, mode| product.checked_mul(mode.0));
            if product != Some(extent) {
                return Err(LayoutError::NotADecomposition { dim });
            }
            for (extent, stride) in merge(modes.iter().copied()) {
                layout.mode_shape.push(extent);
                layout.mode_strides.push(stride);
            }
        }
        let swizzle = swizzle.map(Swizzle::check).transpose()?;
        let last = layout.footprint64()? - 1;
        // Bits of offsets before swizzling: none at or above `high`, none below `low`.
        let high = u64::BITS - last.leading_zeros();
        let low = layout.mode_strides.iter().fold(0, |all, stride| all | stride).trailing_zeros();
        layout.swizzle = swizzle.and_then(|swizzle| swizzle.trimmed(low, high));
        layout.size64()?;
        Ok(layout)
    }

    /// Each dimension of one mode. Refused if an offset exceeds 32 bits.
    pub fn strided(shape: &[u32], strides: &[u32]) -> Result<Self, LayoutError> {
        if strides.len() != shape.len() {
            return Err(LayoutError::NumberCount { expected: shape.len(), found: strides.len() });
        }
        let modes: Vec<Vec<Mode>> =
            shape.iter().zip(strides).map(|(&extent, &stride)| vec![(extent, stride)]).collect();
        SharedLayout::from_modes(shape, &modes, None)
    }

    /// Post-condition: `offset` is the row-major position.
    pub fn row_major(shape: &[u32]) -> Result<Self, LayoutError> {
        check_shape(shape)?;
        SharedLayout::strided(shape, &row_major_strides(shape))
    }

    /// Post-condition: `offset` is the column-major position.
    pub fn column_major(shape: &[u32]) -> Result<Self, LayoutError> {
        check_shape(shape)?;
        let reversed: Vec<u32> = shape.iter().rev().copied().collect();
        let mut strides = row_major_strides(&reversed);
        strides.reverse();
        SharedLayout::strided(shape, &strides)
    }

    /// Rows cut into chunks of at most 128 bytes, whose 16-byte groups are swizzled over eight rows, for elements of `bits` bits.
    ///
    /// Post-condition: the same 16-byte group of eight consecutive rows of a chunk lies in eight different groups of 16 bytes
    /// modulo 128. Refused unless `bits` is a power of two up to 128, there are at least two dimensions, the rows are a
    /// multiple of 8, and a row is a multiple of 16 bytes.
    pub fn row_major_swizzled(shape: &[u32], bits: u32) -> Result<Self, LayoutError> {
        check_shape(shape)?;
        if !bits.is_power_of_two() || bits > 128 {
            return Err(LayoutError::BadSwizzle { needs: "elements of 1, 2, 4, .. or 128 bits" });
        }
        let [outer @ .., rows, columns] = shape else {
            return Err(LayoutError::RankMismatch { expected: 2, found: shape.len() });
        };
        let group = 128 / bits;
        if !rows.is_multiple_of(8) || !columns.is_multiple_of(group) {
            return Err(LayoutError::BadSwizzle { needs: "a multiple of 8 rows of a multiple of 16 bytes" });
        }
        let chunk = gcd(*columns, 8 * group);
        // Offsets below are at most the number of elements, which was found to fit.
        let mut modes: Vec<Vec<Mode>> = vec![];
        let strides = row_major_strides(shape);
        modes.extend(outer.iter().zip(&strides).map(|(&extent, &stride)| vec![(extent, stride)]));
        modes.push(vec![(*rows, chunk)]);
        modes.push(vec![(columns / chunk, rows * chunk), (chunk, 1)]);
        let swizzle = Swizzle { base: group.ilog2(), bits: (chunk / group).ilog2(), shift: 3 };
        SharedLayout::from_modes(shape, &modes, Some(swizzle))
    }

    /// Extents of the tile.
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements of the tile.
    pub fn elements(&self) -> u32 {
        self.shape.iter().product()
    }

    /// The modes of all dimensions in order.
    pub fn mode_shape(&self) -> &[u32] {
        &self.mode_shape
    }

    /// The stride of each mode, in elements.
    pub fn mode_strides(&self) -> &[u32] {
        &self.mode_strides
    }

    /// The swizzle, without what changes no offset.
    pub fn swizzle(&self) -> Option<Swizzle> {
        self.swizzle
    }

    /// The modes of each dimension, most significant first, as (extent, stride): what [`from_modes`](Self::from_modes) takes.
    pub fn modes(&self) -> Vec<Vec<Mode>> {
        let mut modes = self.mode_shape.iter().copied().zip(self.mode_strides.iter().copied());
        let of_dimension = |&extent: &u32| {
            let mut left = extent;
            let mut own = vec![];
            while left > 1 {
                let Some(mode) = modes.next() else { break };
                left /= mode.0;
                own.push(mode);
            }
            own
        };
        self.shape.iter().map(of_dimension).collect()
    }

    /// The offset of an element.
    ///
    /// # Panics
    /// If `index` does not lie in the tile.
    pub fn offset(&self, index: &[u32]) -> u32 {
        assert_eq!(index.len(), self.shape.len(), "rank of the index");
        assert!(index.iter().zip(&self.shape).all(|(i, extent)| i < extent), "{index:?} in {:?}", self.shape);
        let mut offset = 0;
        for (mut rest, modes) in index.iter().copied().zip(self.modes()) {
            for (extent, stride) in modes.into_iter().rev() {
                offset += rest % extent * stride;
                rest /= extent;
            }
        }
        self.swizzle.map_or(offset, |swizzle| swizzle.apply(offset))
    }

    /// [`SharedLayout::offset`] of every element in row-major order.
    pub fn offsets(&self) -> Vec<u32> {
        let mut offsets = Vec::with_capacity(self.elements() as usize);
        offsets.push(0);
        // Mode by mode from the least significant: what is there is the part for 0, the other steps follow.
        for (&extent, &stride) in self.mode_shape.iter().zip(&self.mode_strides).rev() {
            let block = offsets.len();
            for step in 1..extent {
                for at in 0..block {
                    offsets.push(offsets[at] + step * stride);
                }
            }
        }
        if let Some(swizzle) = self.swizzle {
            offsets.iter_mut().for_each(|offset| *offset = swizzle.apply(*offset));
        }
        offsets
    }

    /// The row-major position of the first element with another offset in a layout of equal shape; `None` if there is none, which is equality of
    /// functions, or the shapes differ.
    pub fn first_difference(&self, other: &SharedLayout) -> Option<u32> {
        if self == other || self.shape != other.shape {
            return None;
        }
        let different = |(own, others): (u32, u32)| own != others;
        self.offsets().into_iter().zip(other.offsets()).position(different).map(|at| at as u32)
    }

    /// The row-major positions of two elements with one offset; `None` if each has a place of its own, so that what is stored in one is not lost by storing in
    /// another.
    pub fn first_collision(&self) -> Option<(u32, u32)> {
        let mut at: Vec<(u32, u32)> = self.offsets().into_iter().zip(0..).collect();
        at.sort_unstable();
        at.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| (pair[0].1, pair[1].1))
    }

    /// One more than the largest offset before swizzling.
    fn footprint64(&self) -> Result<u64, LayoutError> {
        let spans = self.mode_shape.iter().zip(&self.mode_strides);
        let last: Option<u64> = spans
            .map(|(&extent, &stride)| u64::from(extent - 1) * u64::from(stride))
            .try_fold(0u64, |sum, span| sum.checked_add(span));
        last.filter(|&last| last < u64::from(u32::MAX))
            .map(|last| last + 1)
            .ok_or(LayoutError::TooLarge { what: "offsets" })
    }

    fn size64(&self) -> Result<u32, LayoutError> {
        let footprint = self.footprint64()?;
        // A swizzle moves offsets within blocks of 2^(base + bits).
        let block = self.swizzle.map_or(1, |swizzle| 1 << (swizzle.base + swizzle.bits));
        u32::try_from(footprint.next_multiple_of(block))
            .map_err(|_| LayoutError::TooLarge { what: "offsets" })
    }

    /// Elements of memory to set aside. Post-condition: every offset is below it.
    pub fn size(&self) -> u32 {
        // Found to fit when the layout was made.
        self.size64().unwrap_or(u32::MAX)
    }
}
