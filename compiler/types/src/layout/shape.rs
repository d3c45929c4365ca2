//! Operations on the tile index. They leave every element with its lanes and slot, except that a reduction makes elements fall
//! together.

use super::digit::{Digit, Place, check_shape, merge, row_major_strides, split_at_stride};
use super::{Layout, LayoutError};

/// Refuses what does not name every dimension once.
pub(super) fn check_permutation(dims: &[usize], rank: usize) -> Result<(), LayoutError> {
    if dims.len() != rank {
        return Err(LayoutError::NumberCount { expected: rank, found: dims.len() });
    }
    check_distinct(dims, rank)
}

/// Refuses dimensions that do not exist or are named twice.
pub(super) fn check_distinct(dims: &[usize], rank: usize) -> Result<(), LayoutError> {
    for (i, &dim) in dims.iter().enumerate() {
        if dim >= rank || dims[..i].contains(&dim) {
            return Err(LayoutError::BadDimension { dim, rank });
        }
    }
    Ok(())
}

/// A shape with the dimensions `first` to `last` as one.
pub(super) fn flattened(shape: &[u32], first: usize, last: usize) -> Result<Vec<u32>, LayoutError> {
    if last >= shape.len() || first > last {
        return Err(LayoutError::BadDimension { dim: last, rank: shape.len() });
    }
    let mut joined = shape.to_vec();
    joined.splice(first..=last, [shape[first..=last].iter().product()]);
    Ok(joined)
}

/// A shape without a dimension of extent 1.
pub(super) fn squeezed(shape: &[u32], dim: usize) -> Result<Vec<u32>, LayoutError> {
    let extent = *shape.get(dim).ok_or(LayoutError::BadDimension { dim, rank: shape.len() })?;
    if extent != 1 {
        return Err(LayoutError::NotUnit { dim, extent });
    }
    let mut rest = shape.to_vec();
    rest.remove(dim);
    Ok(rest)
}

/// A shape with a new dimension of extent 1.
pub(super) fn unsqueezed(shape: &[u32], dim: usize) -> Result<Vec<u32>, LayoutError> {
    if dim > shape.len() {
        return Err(LayoutError::BadDimension { dim, rank: shape.len() });
    }
    let mut wider = shape.to_vec();
    wider.insert(dim, 1);
    check_shape(&wider)?;
    Ok(wider)
}

/// The digits with their dimension renamed; `None` from the map makes a digit one of copies.
fn rename(digits: &[Digit], to: impl Fn(usize) -> Option<usize>) -> Vec<Digit> {
    let rename = |digit: &Digit| Digit {
        extent: digit.extent,
        place: digit.place.and_then(|place| to(place.dim).map(|dim| Place { dim, ..place })),
    };
    digits.iter().map(rename).collect()
}

impl Layout {
    /// Reorders dimensions: dimension `k` of the result is dimension `dims[k]`.
    ///
    /// Post-condition: `h.element(t, i)[k] == f.element(t, i)[dims[k]]`.
    pub fn permute(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        check_permutation(dims, self.rank())?;
        let shape: Vec<u32> = dims.iter().map(|&dim| self.shape[dim]).collect();
        let to = |old: usize| dims.iter().position(|&dim| dim == old);
        Layout::from_digits(&shape, &rename(&self.spatial_digits(), to), &rename(&self.local_digits(), to))
    }

    /// Another shape for the same elements in row-major order.
    ///
    /// Post-condition: the row-major positions of `h.element(t, i)` and `f.element(t, i)` are equal. Refused, besides for another
    /// number of elements, exactly if no layout of that shape is this function: a digit counts across the end of a new
    /// dimension without dividing there.
    pub fn reshape(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        let found = check_shape(shape)?;
        if found != self.elements() {
            return Err(LayoutError::ElementCount { expected: self.elements().into(), found: found.into() });
        }
        // As one dimension, digits merge that the old dimensions kept apart; then only the new ones cut.
        let old = row_major_strides(&self.shape);
        let new = row_major_strides(shape);
        let convert = |digits: Vec<Digit>| -> Result<Vec<Digit>, LayoutError> {
            let flat = merge(digits.into_iter().map(|mut digit| {
                if let Some(place) = &mut digit.place {
                    *place = Place { dim: 0, stride: place.stride * old[place.dim] };
                }
                digit
            }));
            // Nothing straddles a boundary at 1.
            let mut boundaries = new.iter().filter(|&&boundary| boundary > 1);
            let flat = boundaries.try_fold(flat, |flat, &boundary| split_at_stride(&flat, 0, boundary))?;
            let unflatten = |digit: Digit| match digit.place {
                // Strides descend, so the first that fits is that of the dimension; dimensions of extent 1 share the stride of
                // their right neighbour and hold no digit.
                Some(Place { stride, .. }) => {
                    let dim = (0..new.len()).find(|&dim| new[dim] <= stride && shape[dim] > 1).unwrap_or(0);
                    Digit::at(digit.extent, dim, stride / new[dim])
                }
                None => digit,
            };
            Ok(flat.into_iter().map(unflatten).collect())
        };
        Layout::from_digits(shape, &convert(self.spatial_digits())?, &convert(self.local_digits())?)
    }

    /// Joins the dimensions `first` to `last`, both included, into one.
    ///
    /// Post-condition: as [`Layout::reshape`] to the shape with these extents multiplied; never refused for a range of dimensions
    /// that exist.
    pub fn flatten(&self, first: usize, last: usize) -> Result<Self, LayoutError> {
        self.reshape(&flattened(&self.shape, first, last)?)
    }

    /// Drops a dimension of extent 1.
    ///
    /// Post-condition: `h.element(t, i)` is `f.element(t, i)` without component `dim`.
    pub fn squeeze(&self, dim: usize) -> Result<Self, LayoutError> {
        // Modes are numbered without regard to dimensions that have none.
        Ok(Self { shape: squeezed(&self.shape, dim)?, ..self.clone() })
    }

    /// Inserts a dimension of extent 1 so that it becomes dimension `dim`, which is at most the rank.
    ///
    /// Post-condition: `h.element(t, i)` is `f.element(t, i)` with a 0 inserted at `dim`.
    pub fn unsqueeze(&self, dim: usize) -> Result<Self, LayoutError> {
        Ok(Self { shape: unsqueezed(&self.shape, dim)?, ..self.clone() })
    }

    /// Dimensions of two layouts side by side; those of `other` run faster in lanes and slots.
    ///
    /// Post-condition, with `T` and `L` the lanes and slots of `g`: `h.element(t, i)` is `f.element(t / T, i / L)` followed by
    /// `g.element(t % T, i % L)`.
    pub fn concat(&self, other: &Layout) -> Result<Self, LayoutError> {
        let shape = [self.shape(), other.shape()].concat();
        let shifted = |digits: Vec<Digit>| rename(&digits, |dim| Some(dim + self.rank()));
        let lanes = [self.spatial_digits(), shifted(other.spatial_digits())].concat();
        let slots = [self.local_digits(), shifted(other.local_digits())].concat();
        Layout::from_digits(&shape, &lanes, &slots)
    }

    /// Where the results are when some dimensions are reduced away, every lane that took part knowing the result.
    ///
    /// Post-condition: the shape loses `dims`, the number of lanes stays; a lane holds a result exactly if it held one of the
    /// elements that went into it, and results are in its slots in the order in which their first elements were.
    pub fn reduce(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        check_distinct(dims, self.rank())?;
        let kept: Vec<usize> = (0..self.rank()).filter(|dim| !dims.contains(dim)).collect();
        let shape: Vec<u32> = kept.iter().map(|&dim| self.shape[dim]).collect();
        let to = |old: usize| kept.iter().position(|&dim| dim == old);
        let slots: Vec<Digit> =
            rename(&self.local_digits(), to).into_iter().filter(|digit| digit.place.is_some()).collect();
        Layout::from_digits(&shape, &rename(&self.spatial_digits(), to), &slots)
    }

    /// As [`Layout::reduce`], but the dimensions stay, with extent 1.
    pub fn reduce_keep(&self, dims: &[usize]) -> Result<Self, LayoutError> {
        let mut layout = self.reduce(dims)?;
        for dim in (0..self.rank()).filter(|dim| dims.contains(dim)) {
            layout.shape.insert(dim, 1);
        }
        Ok(layout)
    }

    /// The inverse of broadcasting: the layout of an operand of `shape` in an operation whose result has this layout.
    ///
    /// Shapes are aligned at the right. Post-condition: leading dimensions that `shape` lacks are reduced away, and dimensions of
    /// extent 1 in `shape` are reduced to that; so each lane holds what its result elements need.
    pub fn reduce_to(&self, shape: &[u32]) -> Result<Self, LayoutError> {
        let refusal = || LayoutError::NotAReduction { from: self.shape.clone(), to: shape.to_vec() };
        let lead = self.rank().checked_sub(shape.len()).ok_or_else(refusal)?;
        let collapsed: Vec<usize> =
            (0..shape.len()).filter(|&dim| shape[dim] != self.shape[lead + dim]).collect();
        if collapsed.iter().any(|&dim| shape[dim] != 1) {
            return Err(refusal());
        }
        let layout = self.reduce(&(0..lead).collect::<Vec<_>>())?;
        layout.reduce_keep(&collapsed)
    }
}
