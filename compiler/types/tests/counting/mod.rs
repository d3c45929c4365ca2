//! The universe of small layouts by counting: forms of layouts, their tables, and nothing of the implementation but its way in
//! (`Layout::from_modes`), so that each function comes with the layout that was made of it.
//!
//! A *form* is one way to write a layout down: factors for each dimension, and an order of these digits and of digits of copies in the lane
//! and slot numbers. Its function is a [`Known`] table, filled by counting the digits up like an odometer.
//!
//! ```text
//! form     shape [4] cut into 2, 2; the lane number is digit 1, the slot number digit 0
//! table    lane 0: 0 2   lane 1: 1 3         row-major positions, slot by slot
//! ```

#![allow(dead_code)] // each test file uses its part

use tvmc_types::layout::{Layout, SpatialMode};

/// Most places (lanes times slots) of a layout.
pub const PLACES: u32 = 64;
pub const RANK: usize = 3;

/// A function by its table, and the layout that was made of its forms.
pub struct Known {
    pub shape: Vec<u32>,
    pub lanes: u32,
    pub slots: u32,
    /// Row-major positions, lane by lane.
    pub table: Vec<u8>,
    pub layout: Layout,
}

impl Known {
    pub fn at(&self, lane: u32, slot: u32) -> u32 {
        self.table[(lane * self.slots + slot) as usize].into()
    }

    pub fn index(&self, lane: u32, slot: u32) -> [u32; RANK] {
        unravel(self.at(lane, slot), &self.shape)
    }

    pub fn elements(&self) -> u32 {
        self.shape.iter().product()
    }
}

/// The index at a row-major position, in the first components.
pub fn unravel(mut position: u32, shape: &[u32]) -> [u32; RANK] {
    let mut index = [0; RANK];
    for dim in (0..shape.len()).rev() {
        index[dim] = position % shape[dim];
        position /= shape[dim];
    }
    index
}

pub fn ravel(index: &[u32], shape: &[u32]) -> u32 {
    index.iter().zip(shape).fold(0, |position, (i, extent)| position * extent + i)
}

/// The shape of some dimensions of another, and for each row-major position there the position of its components here.
pub fn renumbered(shape: &[u32], kept: &[usize]) -> (Vec<u32>, Vec<u8>) {
    let own: Vec<u32> = kept.iter().map(|&dim| shape[dim]).collect();
    let position = |position| {
        let index = unravel(position, shape);
        kept.iter().fold(0, |at, &dim| at * shape[dim] + index[dim]) as u8
    };
    (own, (0..shape.iter().product()).map(position).collect())
}

pub fn divisors(n: u32) -> impl Iterator<Item = u32> + Clone {
    (1..=n).filter(move |d| n.is_multiple_of(*d))
}

/// Ways to write a number as an ordered product of factors above 1.
pub fn factorisations(n: u32) -> Vec<Vec<u32>> {
    if n == 1 {
        return vec![vec![]];
    }
    let with =
        |first: u32| factorisations(n / first).into_iter().map(move |rest| [vec![first], rest].concat());
    divisors(n).skip(1).flat_map(with).collect()
}

fn shapes_of(rank: usize, elements: u32) -> Vec<Vec<u32>> {
    if rank == 0 {
        return if elements == 1 { vec![vec![]] } else { vec![] };
    }
    let with = |first: u32| {
        shapes_of(rank - 1, elements / first).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    divisors(elements).flat_map(with).collect()
}

/// Shapes of up to three dimensions with so many elements.
pub fn shapes(elements: u32) -> Vec<Vec<u32>> {
    (0..=RANK).flat_map(|rank| shapes_of(rank, elements)).collect()
}

/// A digit: how far it counts, and what a step adds to the row-major position.
type Counted = (u32, u32);

/// The table of two lists of digits, most significant first: an odometer that shows the position.
fn count_up(digits: &[Counted]) -> Vec<u8> {
    let mut shown = vec![0; digits.len()];
    let mut table = vec![];
    loop {
        let position: u32 = digits.iter().zip(&shown).map(|((_, step), value)| step * value).sum();
        table.push(position as u8);
        let Some(turned) = (0..digits.len()).rev().find(|&i| shown[i] + 1 < digits[i].0) else {
            return table;
        };
        shown[turned] += 1;
        shown[turned + 1..].fill(0);
    }
}

/// Which forms to visit.
#[derive(Copy, Clone, PartialEq)]
pub enum Forms {
    All,
    /// Those in which no digit goes on counting from the one before it: a form of each function is among them, since two such digits are one.
    Merged,
}

/// A form in the making.
pub struct Form<'a> {
    pub forms: Forms,
    pub dims: &'a [usize],
    pub modes: &'a [u32],
    pub steps: &'a [u32],
    pub used: Vec<bool>,
    pub spatial: Vec<SpatialMode>,
    pub local: Vec<u32>,
    pub digits: Vec<Counted>,
}

impl Form<'_> {
    /// Whether the digit before in the list is the next higher one of the same dimension, so that the two count as one.
    fn goes_on(&self, mode: usize, in_lanes: bool) -> bool {
        let Some(before) = mode.checked_sub(1).filter(|&before| self.dims[before] == self.dims[mode]) else {
            return false;
        };
        match in_lanes {
            true => self.spatial.last() == Some(&SpatialMode::Mode(before as u32)),
            false => self.local.last() == Some(&(before as u32)),
        }
    }

    /// Visits every way to go on. `copies` are still to be put among the lanes.
    fn extend(&mut self, in_lanes: bool, copies: u32, visit: &mut dyn FnMut(&Form)) {
        let complete = self.used.iter().all(|used| *used);
        if complete && copies == 1 {
            visit(self);
            return;
        }
        for mode in 0..self.modes.len() {
            if self.used[mode] || (self.forms == Forms::Merged && self.goes_on(mode, in_lanes)) {
                continue;
            }
            self.used[mode] = true;
            self.digits.push((self.modes[mode], self.steps[mode]));
            if in_lanes {
                self.spatial.push(SpatialMode::Mode(mode as u32));
                self.extend(true, copies, visit);
                self.spatial.pop();
            } else {
                self.local.push(mode as u32);
                self.extend(false, copies, visit);
                self.local.pop();
            }
            self.digits.pop();
            self.used[mode] = false;
        }
        if in_lanes {
            let after_copies = matches!(self.spatial.last(), Some(SpatialMode::Replicate(_)));
            let merged = self.forms == Forms::Merged && after_copies;
            for own in divisors(if merged { 1 } else { copies }).skip(1) {
                self.digits.push((own, 0));
                self.spatial.push(SpatialMode::Replicate(own));
                self.extend(true, copies / own, visit);
                self.spatial.pop();
                self.digits.pop();
            }
            if copies == 1 {
                self.extend(false, 1, visit);
            }
        }
    }
}

/// Visits the forms of a shape with so many copies.
pub fn visit_forms(forms: Forms, shape: &[u32], copies: u32, visit: &mut dyn FnMut(&Form)) {
    let mut factors: Vec<Vec<Counted>> = vec![vec![]];
    for (dim, &extent) in shape.iter().enumerate() {
        let own = factorisations(extent);
        let with = |own: &Vec<u32>| own.iter().map(|&mode| (mode, dim as u32)).collect::<Vec<_>>();
        factors = factors
            .iter()
            .flat_map(|done| own.iter().map(move |own| [done.clone(), with(own)].concat()))
            .collect();
    }
    for factors in factors {
        let modes: Vec<u32> = factors.iter().map(|mode| mode.0).collect();
        let dims: Vec<usize> = factors.iter().map(|mode| mode.1 as usize).collect();
        // Dimension after dimension, each from its most significant mode: so every mode steps over all that are behind it.
        let steps: Vec<u32> = (0..modes.len()).map(|i| modes[i + 1..].iter().product()).collect();
        let (used, spatial, local, digits) = (vec![false; modes.len()], vec![], vec![], vec![]);
        let mut form =
            Form { forms, dims: &dims, modes: &modes, steps: &steps, used, spatial, local, digits };
        form.extend(true, copies, visit);
    }
}

/// The function and the layout of a form. Checks that it is accepted.
pub fn known(shape: &[u32], form: &Form) -> Known {
    let table = count_up(&form.digits);
    let slots: u32 = form.local.iter().map(|&mode| form.modes[mode as usize]).product();
    let layout = Layout::from_modes(shape, form.modes, &form.spatial, &form.local)
        .unwrap_or_else(|e| panic!("a form of {shape:?}: {e}"));
    Known { shape: shape.to_vec(), lanes: table.len() as u32 / slots, slots, table, layout }
}

/// Every shape with so many elements and every number of copies for which there is room.
pub fn families(elements: u32) -> impl Iterator<Item = (Vec<u32>, u32)> {
    let all = move |shape: Vec<u32>| (1..=PLACES / elements).map(move |copies| (shape.clone(), copies));
    shapes(elements).into_iter().flat_map(all)
}

/// All functions with so many elements.
pub fn universe_of(elements: u32) -> Vec<Known> {
    let mut all = vec![];
    for (shape, copies) in families(elements) {
        visit_forms(Forms::Merged, &shape, copies, &mut |form| all.push(known(&shape, form)));
    }
    all
}

/// Whether a layout is this function.
pub fn is(layout: &Layout, shape: &[u32], lanes: u32, slots: u32, table: &[u8]) -> bool {
    layout.shape() == shape
        && (layout.spatial_size(), layout.local_size()) == (lanes, slots)
        && layout.linear_elements().iter().zip(table).all(|(found, expected)| *found == u32::from(*expected))
}
