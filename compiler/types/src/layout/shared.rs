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
//!          0   1   2   3
//! row 0    0   1   2   3
//! row 1    5   4   7   6        column 0 lies at 0, 5, 10, 15: four different banks of four
//! row 2   10  11   8   9
//! row 3   15  14  13  12
//! ```
//!
//! Canonical: modes of extent 1 are dropped, modes of a dimension whose strides nest are merged, and a swizzle that changes no
//! offset is dropped. Without a swizzle, layouts of one shape are equal exactly if their functions are. Offsets fit 32 bits.

use super::LayoutError;
use super::construct::gcd;
use super::digit::{check_shape, row_major_strides};
use super::shape::{check_distinct, check_permutation};

/// `x ^ ((x & mask) >> shift)`, where `mask` is `bits` ones from bit `base + shift`: an involution on offsets.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Swizzle {
    /// Lowest bit that changes.
    pub base: u32,
    /// Number of bits that change.
    pub bits: u32,
    /// How far above the changed bits their partners are; at least `bits`.
    pub shift: u32,
}

impl Swizzle {
    /// The swizzled offset. Post-condition: applying it twice gives `offset` again.
    pub fn apply(self, offset: u32) -> u32 {
        let mask = ((1u64 << self.bits) - 1) << (self.base + self.shift);
        offset ^ ((u64::from(offset) & mask) >> self.shift) as u32
    }

    /// The number of offsets after which the pattern repeats.
    pub fn period(self) -> u64 {
        1 << (self.base + self.shift + self.bits)
    }

    /// Refuses what is no involution on 32-bit offsets.
    fn check(self) -> Result<Self, LayoutError> {
        let top = [self.base, self.shift, self.bits].into_iter().try_fold(0u32, u32::checked_add);
        if self.shift < self.bits || top.is_none_or(|top| top > 32) {
            return Err(LayoutError::BadSwizzle { needs: "shift >= bits and base + shift + bits <= 32" });
        }
        Ok(self)
    }
}

/// One mode: so many steps of such a stride.
type Mode = (u32, u32);

/// A map from tile index to offset in elements: the sum over all modes of digit times stride, then swizzled.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
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
        check_shape(shape)?;
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
        let footprint = layout.footprint64()?;
        // Below the partner bits nothing changes.
        layout.swizzle = swizzle.filter(|s| s.bits > 0 && footprint > 1 << (s.base + s.shift));
        layout.size64()?;
        Ok(layout)
    }

    /// Each dimension of one mode. Refused if an offset exceeds 32 bits.
    pub fn strided(shape: &[u32], strides: &[u32]) -> Result<Self, LayoutError> {
        if strides.len() != shape.len() {
            return Err(LayoutError::RankMismatch { expected: shape.len(), found: strides.len() });
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

    /// The modes of all dimensions in order.
    pub fn mode_shape(&self) -> &[u32] {
        &self.mode_shape
    }

    /// The stride of each mode, in elements.
    pub fn mode_strides(&self) -> &[u32] {
        &self.mode_strides
    }

    /// The swizzle, if it changes any offset.
    pub fn swizzle(&self) -> Option<Swizzle> {
        self.swizzle
    }

    /// The modes of each dimension.
    fn modes(&self) -> Vec<Vec<Mode>> {
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

    /// Every element of `self` becomes a tile laid out by `inner`.
    ///
    /// Post-condition: `h.shape = f.shape * g.shape` and `h.offset(x) = f.offset(x / g.shape) * g.size() + g.offset(x % g.shape)`.
    /// Refused if `f` is swizzled, or `g` is and its size is no multiple of the period.
    pub fn compose(&self, inner: &SharedLayout) -> Result<Self, LayoutError> {
        if self.shape.len() != inner.shape.len() {
            return Err(LayoutError::RankMismatch { expected: self.shape.len(), found: inner.shape.len() });
        }
        if self.swizzle.is_some() {
            return Err(LayoutError::Swizzled { operation: "composition" });
        }
        let size = inner.size();
        if inner.swizzle.is_some_and(|swizzle| !u64::from(size).is_multiple_of(swizzle.period())) {
            return Err(LayoutError::BadSwizzle {
                needs: "a tile that is a multiple of its period to be repeated",
            });
        }
        let too_large = |what| LayoutError::TooLarge { what };
        let mut shape = vec![];
        for (&a, &b) in self.shape.iter().zip(&inner.shape) {
            shape.push(a.checked_mul(b).ok_or(too_large("elements"))?);
        }
        let mut modes = self.modes();
        for (modes, inner) in modes.iter_mut().zip(inner.modes()) {
            for mode in modes.iter_mut() {
                mode.1 = mode.1.checked_mul(size).ok_or(too_large("offsets"))?;
            }
            modes.extend(inner);
        }
        SharedLayout::from_modes(&shape, &modes, inner.swizzle)
    }

    /// Reorders dimensions. Post-condition: `h.offset(x)` is `f.offset(y)` with `y[dims[k]] = x[k]`.
    pub fn permute(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        check_permutation(dims, self.shape.len())?;
        self.keep(dims)
    }

    /// The part of the tile at index 0 of every dimension not in `dims`.
    ///
    /// Post-condition: `h.offset(x)` is `f.offset(y)` with `y[dims[k]] = x[k]` and 0 elsewhere.
    pub fn keep(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        check_distinct(dims, self.shape.len())?;
        let modes = self.modes();
        let shape: Vec<u32> = dims.iter().map(|&dim| self.shape[dim]).collect();
        let modes: Vec<Vec<Mode>> = dims.iter().map(|&dim| modes[dim].clone()).collect();
        SharedLayout::from_modes(&shape, &modes, self.swizzle)
    }

    /// Another shape for the same elements in row-major order. Post-condition: elements at equal row-major positions have equal
    /// offsets. Refused if the counts differ or a mode cannot be cut at the end of a new dimension.
    pub fn reshape(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        let found = check_shape(shape)?;
        let expected: u32 = self.shape.iter().product();
        if found != expected {
            return Err(LayoutError::ElementCount { expected: expected.into(), found: found.into() });
        }
        let mut flat = merge(self.modes().into_iter().flatten());
        let mut modes = vec![vec![]; shape.len()];
        for (own, &extent) in modes.iter_mut().zip(shape).rev() {
            let mut left = extent;
            while left > 1 {
                // The counts agree, so modes last as long as extents do.
                let Some((count, stride)) = flat.pop() else { break };
                if left.is_multiple_of(count) {
                    left /= count;
                    own.insert(0, (count, stride));
                } else if count.is_multiple_of(left) {
                    flat.push((count / left, stride * left));
                    own.insert(0, (left, stride));
                    left = 1;
                } else {
                    return Err(LayoutError::CannotSplit { extent: count, stride, at: left });
                }
            }
        }
        SharedLayout::from_modes(shape, &modes, self.swizzle)
    }

    /// Inserts a dimension of extent 1 so that it becomes dimension `dim`, which is at most the rank.
    pub fn unsqueeze(&self, dim: usize) -> Result<Self, LayoutError> {
        let rank = self.shape.len();
        if dim > rank {
            return Err(LayoutError::BadDimension { dim, rank });
        }
        let mut layout = self.clone();
        layout.shape.insert(dim, 1);
        check_shape(&layout.shape)?;
        Ok(layout)
    }

    /// `count` copies of the tile, one after another, as a new first dimension: the stages of a pipeline.
    ///
    /// Post-condition: `h.offset([s, ..x]) = s * f.size() + f.offset(x)`. Refused if the size is no multiple of the swizzle's
    /// period.
    pub fn stages(&self, count: u32) -> Result<Self, LayoutError> {
        let mut outer = vec![1; self.shape.len() + 1];
        outer[0] = count;
        SharedLayout::row_major(&outer)?.compose(&self.unsqueeze(0)?)
    }
}
