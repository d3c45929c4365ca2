//! Layouts: which lane holds which element of a tile, in which slot.
//!
//! # What a layout maps
//! A tile of some shape is spread over `T` lanes, each with `L` slots. A register [`Layout`] is the total function
//!
//! ```text
//! element : [0, T) x [0, L) -> tile index             (lane, slot) holds that element
//! ```
//!
//! Every element is held somewhere, by exactly `R` lanes (the replication), each time in the same slot, so
//! `T * L = R * elements`. The function is stored as digits. Each dimension is cut, most significant first, into factors called
//! *modes*; the lane number is a mixed-radix number whose digits are some of the modes (or say which of `r` equal copies it
//! is), the slot number is another, of the remaining modes. All numberings are row-major: most significant first.
//!
//! # A worked table
//! `local(2, 1).spatial(2, 2).local(1, 2)` lays out 4 x 4 elements over 4 lanes with 4 slots; `lane:slot` of each element:
//!
//! ```text
//!          column 0    1     2     3
//! row 0         0:0   0:1   1:0   1:1       modes       2, 2 (rows)   2, 2 (columns)
//! row 1         2:0   2:1   3:0   3:1       lane digits   row mode 1, column mode 0
//! row 2         0:2   0:3   1:2   1:3       slot digits   row mode 0, column mode 1
//! row 3         2:2   2:3   3:2   3:3
//! ```
//!
//! # Examples, from easy to hard
//! | expression | meaning |
//! |---|---|
//! | `local(4)` | one lane holds four elements in order |
//! | `spatial(4)` | four lanes hold one element each |
//! | `local(2).spatial(4)` | lane `t` holds elements `t` and `t + 4` |
//! | `spatial(4).local(2)` | lane `t` holds elements `2t` and `2t + 1` |
//! | `column_spatial(4, 8)` | 32 lanes run down the columns |
//! | `replicated(2).spatial(4)` | lanes `t` and `t + 4` both hold element `t` |
//! | `spatial(4).replicated(2)` | lanes `2t` and `2t + 1` both hold element `t` |
//! | `column_local(2, 16).reshape(32)` | slot `2j` is element `j`, slot `2j + 1` element `j + 16`: the nibbles of a q4 block |
//! | `local(2, 1).spatial(8, 4).local(1, 2)` | the accumulator of a 16 x 8 matrix instruction |
//!
//! # Canonical form
//! Every constructor and operation returns the canonical form: modes of extent 1 are gone; modes that are neighbours both in
//! their dimension and in the same digit list are one mode; neighbouring copies are one copy; every mode is a digit exactly
//! once. It is unique: **two layouts of one shape are equal (`==`) exactly if their functions are equal.** For take the
//! function of the lane alone and count up from 0: the result runs `0, s, 2s, ..` for a stride `s` (none for copies) up to the
//! extent of the lowest digit, and no further, since the next digit would else have been merged. So the function tells the
//! lowest digit, and likewise each next one.
//!
//! # Operations
//! `f`, `g` and `h` are functions of lane and slot, `T` and `L` the lanes and slots of `g`; shapes and indices are multiplied, added and divided
//! dimension by dimension. Each operation gives the only layout that meets its post-condition and refuses where there is none; the tests check
//! both against enumeration, for every layout of up to 64 places and rank 3. The examples are expressions of `tvmc layout`.
//!
//! | operation | post-condition | example |
//! |---|---|---|
//! | [`local(e, ..)`](Layout::local) | `f(0, i)` is the row-major index of `i` | `local(2, 3)` = `local(2, 1).local(1, 3)` |
//! | [`spatial(e, ..)`](Layout::spatial) | `f(t, 0)` is the row-major index of `t` | `spatial(2, 3)` = `spatial(2, 1).spatial(1, 3)` |
//! | [`column_local`](Layout::column_local), [`column_spatial`](Layout::column_spatial) | the same, column-major | `column_local(2, 3)` = `local(1, 3).local(2, 1)` |
//! | [`replicated(n)`](Layout::replicated) | `f(t, 0)` is the index of rank 0, for n lanes | `replicated(2).replicated(3)` = `replicated(6)` |
//! | [`auto(lanes, e, ..)`](Layout::auto_local_spatial) | so many lanes, neighbours along the last dimension | `auto(8, 4, 4)` = `local(2, 1).spatial(2, 4)` |
//! | [`compose`](Layout::compose) `f * g` | `h(t, i) = f(t / T, i / L) * g.shape + g(t % T, i % L)` | `local(2) * spatial(4)` = `local(2).spatial(4)` |
//! | [`divide`](Layout::divide) `h / g` | the `f` with `f * g = h` | `local(2, 4) / local(1, 2)` = `local(2, 2)` |
//! | [`left_divide`](Layout::left_divide) `f \ h` | the `g` with `f * g = h` | `local(2) \ local(2).spatial(4)` = `spatial(4)` |
//! | [`permute(dims)`](Layout::permute) | `h(t, i)[k] = f(t, i)[dims[k]]` | `spatial(2, 3).permute(1, 0)` = `column_spatial(3, 2)` |
//! | [`reshape(e, ..)`](Layout::reshape) | equal row-major positions | `spatial(2, 3).reshape(6)` = `spatial(6)` |
//! | [`flatten(first, last)`](Layout::flatten) | the same, these dimensions as one | `spatial(2, 3, 4).flatten(0, 1)` = `spatial(6, 4)` |
//! | [`squeeze(d)`](Layout::squeeze) | `f(t, i)` without component d, whose extent is 1 | `local(1, 4).squeeze(0)` = `local(4)` |
//! | [`unsqueeze(d)`](Layout::unsqueeze) | `f(t, i)` with a 0 put in at d | `local(4).unsqueeze(1)` = `local(4, 1)` |
//! | [`concat(f, g)`](Layout::concat) | `h(t, i)` is `f(t / T, i / L)`, then `g(t % T, i % L)` | `concat(local(2), spatial(3))` = `local(2, 1).spatial(1, 3)` |
//! | [`reduce(dims)`](Layout::reduce) | each lane keeps what is left of its elements without `dims`, in order of first appearance | `spatial(3, 4).reduce(0)` = `replicated(3).spatial(4)` |
//! | [`reduce_keep`](Layout::reduce_keep) | the same, the dimensions staying with extent 1 | `local(2, 3).reduce_keep(1)` = `local(2, 1)` |
//! | [`reduce_to(e, ..)`](Layout::reduce_to) | where an operand of this shape is needed | `spatial(2, 3).reduce_to(3)` = `replicated(2).spatial(3)` |
//! | [`cover(f, g)`](Layout::covers) | whether each lane holds in f every element that it holds in g | `cover(replicated(4).local(4), spatial(4))` = `true` |
//!
//! [`MultiFunction`] is what `cover` looks at: the sets of lanes alone. [`SharedLayout`] maps elements to offsets in shared memory, with swizzles and with
//! the operations that make sense there.
//!
//! The text form is that of the language, read by [`str::parse`] and written by `Display`; writing and reading gives the same
//! layout.
//!
//! Refused, by a [`LayoutError`] that names the rule: an extent of zero, more than [`MAX_RANK`] dimensions, and more than
//! [`MAX_PLACES`] lanes times slots, so that a layout from anywhere can be enumerated.

mod compose;
mod construct;
mod cover;
mod digit;
mod draw;
mod error;
mod shape;
mod shared;
mod text;

pub use cover::MultiFunction;
pub use digit::{Digit, Place};
pub use error::LayoutError;
pub use shared::{SHARED_FACTORS, SharedLayout, Swizzle};
pub use text::FACTORS;

use digit::{place_values, ravel, row_major_strides};

/// Most dimensions of a layout.
pub const MAX_RANK: usize = 32;
/// Most lanes times slots of a layout.
pub const MAX_PLACES: u64 = 1 << 24;

/// A digit of the lane number, as stored.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub enum SpatialMode {
    /// The digit is this mode (an index into `mode_shape`).
    Mode(u32),
    /// The digit says which of so many lanes with equal contents it is.
    Replicate(u32),
}

/// A register layout in canonical form: see the [module](self) for the function it stands for.
#[derive(Clone, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct Layout {
    shape: Vec<u32>,
    mode_shape: Vec<u32>,
    spatial_modes: Vec<SpatialMode>,
    local_modes: Vec<u32>,
}

impl Layout {
    /// Extents of the tile.
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The modes of all dimensions in order, each dimension from its most significant mode; none has extent 1.
    pub fn mode_shape(&self) -> &[u32] {
        &self.mode_shape
    }

    /// Digits of the lane number, most significant first.
    pub fn spatial_modes(&self) -> &[SpatialMode] {
        &self.spatial_modes
    }

    /// Digits of the slot number, most significant first, as indices into [`Layout::mode_shape`].
    pub fn local_modes(&self) -> &[u32] {
        &self.local_modes
    }

    /// Number of lanes `T`, copies included.
    pub fn spatial_size(&self) -> u32 {
        self.spatial_modes.iter().map(|&mode| self.spatial_extent(mode)).product()
    }

    /// Number of slots `L` of a lane.
    pub fn local_size(&self) -> u32 {
        self.local_modes.iter().map(|&mode| self.mode_shape[mode as usize]).product()
    }

    /// Number of elements of the tile.
    pub fn elements(&self) -> u32 {
        self.shape.iter().product()
    }

    /// How many lanes hold each element.
    pub fn replication(&self) -> u32 {
        let copies = |mode: &SpatialMode| match *mode {
            SpatialMode::Mode(_) => 1,
            SpatialMode::Replicate(copies) => copies,
        };
        self.spatial_modes.iter().map(copies).product()
    }

    fn spatial_extent(&self, mode: SpatialMode) -> u32 {
        match mode {
            SpatialMode::Mode(mode) => self.mode_shape[mode as usize],
            SpatialMode::Replicate(copies) => copies,
        }
    }

    /// The index of the element that `lane` holds in `slot`.
    ///
    /// # Panics
    /// If `lane` is not below [`Layout::spatial_size`] or `slot` not below [`Layout::local_size`].
    pub fn element(&self, lane: u32, slot: u32) -> Vec<u32> {
        assert!(lane < self.spatial_size(), "lane {lane} of {}", self.spatial_size());
        assert!(slot < self.local_size(), "slot {slot} of {}", self.local_size());
        let mut index = vec![0; self.rank()];
        for (digits, number) in [(self.spatial_digits(), lane), (self.local_digits(), slot)] {
            for (digit, value) in digits.iter().zip(place_values(&digits)) {
                if let Some(place) = digit.place {
                    index[place.dim] += number / value % digit.extent * place.stride;
                }
            }
        }
        index
    }

    /// [`Layout::element`] as one number: the row-major position in the tile.
    ///
    /// # Panics
    /// As [`Layout::element`].
    pub fn linear_element(&self, lane: u32, slot: u32) -> u32 {
        ravel(&self.element(lane, slot), &self.shape)
    }

    /// [`Layout::linear_element`] of every lane and slot: entry `lane * local_size() + slot`.
    pub fn linear_elements(&self) -> Vec<u32> {
        let strides = row_major_strides(&self.shape);
        let mut positions = Vec::with_capacity((self.spatial_size() * self.local_size()) as usize);
        positions.push(0);
        // Digit by digit from the least significant: what is there is the part for 0, the other values follow.
        for digit in self.spatial_digits().iter().chain(&self.local_digits()).rev() {
            let step = digit.place.map_or(0, |place| place.stride * strides[place.dim]);
            let block = positions.len();
            for value in 1..digit.extent {
                for at in 0..block {
                    positions.push(positions[at] + value * step);
                }
            }
        }
        positions
    }

    /// Where an element is: the lanes that hold it, ascending, and its slot in each of them.
    ///
    /// Post-condition: `element(lane, slot) == index` for exactly these pairs.
    ///
    /// # Panics
    /// If `index` does not lie in the tile.
    pub fn places(&self, index: &[u32]) -> (Vec<u32>, u32) {
        assert_eq!(index.len(), self.rank(), "rank of the index");
        assert!(index.iter().zip(&self.shape).all(|(i, extent)| i < extent), "{index:?} in {:?}", self.shape);
        let slot_digits = self.local_digits();
        let mut slot = 0;
        for (digit, value) in slot_digits.iter().zip(place_values(&slot_digits)) {
            slot += digit.of(index) * value;
        }
        let lanes = self.holders().holders_of(index);
        (lanes, slot)
    }
}
