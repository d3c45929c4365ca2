//! Which lanes hold an element: maps from elements to sets of lanes, and whether one set contains the other.
//!
//! An instruction that combines tiles lane by lane is possible if every lane that needs an element already holds a copy. Slots
//! don't matter for that, and neither do dimensions along which an operand is broadcast. What is left of a layout is a
//! [`MultiFunction`]: each digit of the lane number that is no copy ties the lane to the index, `lane / weight % extent ==
//! index[dim] / stride % extent`; a lane holds an element if all ties hold.
//!
//! **`f` covers `g`** if for every index the lanes of `g` are among those of `f`. For example `replicated(4).spatial(2)` covers
//! `spatial(4).spatial(2)` with the larger dimension reduced away, and the reverse; but `spatial(8)` does not cover
//! `replicated(8).local(8)`: lane 0 lacks elements 1 to 7.

use super::digit::{Digit, Place, check_shape, place_values};
use super::shape::check_distinct;
use super::{Layout, LayoutError};

/// A map from the indices of a domain to sets of lanes. Canonical like a [`Layout`]: equal maps on one domain are `==`.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub struct MultiFunction {
    domain: Vec<u32>,
    digits: Vec<Digit>,
}

impl MultiFunction {
    /// Extents of the domain.
    pub fn domain(&self) -> &[u32] {
        &self.domain
    }

    /// Number of lanes.
    pub fn lanes(&self) -> u32 {
        self.digits.iter().map(|digit| digit.extent).product()
    }

    /// Whether `lane` holds the element `index`.
    pub fn holds(&self, lane: u32, index: &[u32]) -> bool {
        weighted(&self.digits).all(|(weight, digit)| match digit.place {
            Some(_) => lane / weight % digit.extent == digit.of(index),
            None => true,
        })
    }

    /// The same sets over another domain, in which dimension `dims[d]` gives the index along the old dimension `d`.
    ///
    /// Post-condition: `h` holds `index` where `f` holds the index with components `index[dims[d]]`, or 0 where the old
    /// dimension has extent 1 (which broadcasts, so `dims[d]` may then have any extent). Refused unless the other extents agree
    /// and each dimension of the domain is used at most once.
    pub fn pull_back(&self, domain: &[u32], dims: &[usize]) -> Result<Self, LayoutError> {
        check_shape(domain)?;
        if dims.len() != self.domain.len() {
            return Err(LayoutError::RankMismatch { expected: self.domain.len(), found: dims.len() });
        }
        check_distinct(dims, domain.len())?;
        for (&dim, &extent) in dims.iter().zip(&self.domain) {
            if extent != 1 && domain[dim] != extent {
                return Err(LayoutError::NotAReduction { from: domain.to_vec(), to: self.domain.clone() });
            }
        }
        let rename = |digit: &Digit| Digit {
            extent: digit.extent,
            place: digit.place.map(|place| Place { dim: dims[place.dim], ..place }),
        };
        Ok(MultiFunction { domain: domain.to_vec(), digits: self.digits.iter().map(rename).collect() })
    }

    /// The same sets over a domain to which this one broadcasts: aligned at the right, extents equal or 1.
    pub fn broadcast_to(&self, domain: &[u32]) -> Result<Self, LayoutError> {
        let refusal = || LayoutError::NotAReduction { from: domain.to_vec(), to: self.domain.clone() };
        let lead = domain.len().checked_sub(self.domain.len()).ok_or_else(refusal)?;
        self.pull_back(domain, &(lead..domain.len()).collect::<Vec<_>>())
    }

    /// Whether every lane that `needed` assigns to an element holds it here.
    ///
    /// Post-condition: true exactly if the domains and numbers of lanes agree and, for all lanes and indices, `needed.holds`
    /// implies `self.holds`.
    pub fn covers(&self, needed: &MultiFunction) -> bool {
        if self.domain != needed.domain || self.lanes() != needed.lanes() {
            return false;
        }
        // A tie holds throughout `needed` only if it is part of one of its ties: a tie that spans two would have them count on
        // from each other, and then they would be one.
        let implied = |weight: u32, tie: &Digit, place: Place| {
            weighted(&needed.digits).any(|(other_weight, other)| {
                other.place.is_some_and(|other_place| {
                    let end = u64::from(weight) * u64::from(tie.extent);
                    let other_end = u64::from(other_weight) * u64::from(other.extent);
                    other_place.dim == place.dim
                        && weight.is_multiple_of(other_weight)
                        && u64::from(weight / other_weight) * u64::from(other_place.stride)
                            == u64::from(place.stride)
                        && other_end.is_multiple_of(end)
                })
            })
        };
        weighted(&self.digits).all(|(weight, tie)| tie.place.is_none_or(|place| implied(weight, tie, place)))
    }

    /// The lanes that hold an element, ascending.
    pub(super) fn holders_of(&self, index: &[u32]) -> Vec<u32> {
        let mut lanes = vec![0];
        for (weight, digit) in weighted(&self.digits).collect::<Vec<_>>().into_iter().rev() {
            match digit.place {
                Some(_) => lanes.iter_mut().for_each(|lane| *lane += digit.of(index) * weight),
                // From the most significant digit down, so the order stays ascending.
                None => {
                    let copies = |lane: &u32| {
                        let lane = *lane;
                        (0..digit.extent).map(move |copy| lane + copy * weight)
                    };
                    lanes = lanes.iter().flat_map(copies).collect();
                }
            }
        }
        lanes
    }

    /// The first index, in row-major order, that some lane of `needed` lacks here, and the lowest such lane: what an error
    /// message shows. `None` if this covers `needed`, or the domains or numbers of lanes differ.
    pub fn first_lacking(&self, needed: &MultiFunction) -> Option<(Vec<u32>, u32)> {
        if self.domain != needed.domain || self.lanes() != needed.lanes() || self.covers(needed) {
            return None;
        }
        let mut index = vec![0; self.domain.len()];
        loop {
            if let Some(lane) = needed.holders_of(&index).into_iter().find(|&lane| !self.holds(lane, &index))
            {
                return Some((index, lane));
            }
            // The next index in row-major order.
            let dim = (0..index.len()).rev().find(|&dim| index[dim] + 1 < self.domain[dim])?;
            index[dim] += 1;
            index[dim + 1..].fill(0);
        }
    }
}

/// Digits from the least significant, each with its weight in the number they make.
fn weighted(digits: &[Digit]) -> impl Iterator<Item = (u32, &Digit)> {
    digits.iter().rev().scan(1, |next, digit| {
        let weight = *next;
        *next *= digit.extent;
        Some((weight, digit))
    })
}

impl Layout {
    /// Which lanes hold each element. Post-condition: `holds(lane, index)` exactly if `places(index)` lists the lane.
    pub fn holders(&self) -> MultiFunction {
        MultiFunction { domain: self.shape().to_vec(), digits: self.spatial_digits() }
    }

    /// Whether each lane holds here every element that it holds in `needed`; see [`MultiFunction::covers`].
    pub fn covers(&self, needed: &Layout) -> bool {
        self.holders().covers(&needed.holders())
    }

    /// The first two lanes, the second lowest, that hold the same elements here but not in `other`. `None` if there are none, or the
    /// numbers of lanes differ: then what is a function of a lane's elements in `other` is one of its elements here.
    ///
    /// Post-condition: `Some((a, b))` has `a < b`, `element(a, i) == element(b, i)` for every slot, and another element of `other` in
    /// lane `a` than in lane `b` in some slot; `None` with equal numbers of lanes means that no such lanes exist.
    pub fn first_split(&self, other: &Layout) -> Option<(u32, u32)> {
        if self.spatial_size() != other.spatial_size() {
            return None;
        }
        // The element in slot 0 tells the lanes that hold it, in every slot; of those, the first has every digit of copies 0.
        let digits = self.spatial_digits();
        let weights = place_values(&digits);
        (0..self.spatial_size()).find_map(|lane| {
            let copy = |(digit, weight): (&Digit, &u32)| match digit.place {
                Some(_) => 0,
                None => lane / weight % digit.extent * weight,
            };
            let first = lane - digits.iter().zip(&weights).map(copy).sum::<u32>();
            (first < lane && other.element(first, 0) != other.element(lane, 0)).then_some((first, lane))
        })
    }

    /// The first lane and slot, in this order, for which two layouts of equal shape and sizes name different elements: what an
    /// error message shows. `None` if they are equal or shapes or sizes differ.
    pub fn first_difference(&self, other: &Layout) -> Option<(u32, u32)> {
        let sizes = |layout: &Layout| (layout.spatial_size(), layout.local_size());
        if self == other || self.shape() != other.shape() || sizes(self) != sizes(other) {
            return None;
        }
        let (lanes, slots) = sizes(self);
        (0..lanes)
            .flat_map(|lane| (0..slots).map(move |slot| (lane, slot)))
            .find(|&(lane, slot)| self.element(lane, slot) != other.element(lane, slot))
    }
}
