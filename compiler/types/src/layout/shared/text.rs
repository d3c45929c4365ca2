//! The text form of shared-memory layouts.
//!
//! ```text
//! layout := factor ("." factor)*
//! factor := ("shared" | "column_shared" | "strides" | "swizzle" | "stages" | "reshape" | "permute") "(" [ int ("," int)* ] ")"
//! ```
//!
//! As for register layouts, an expression is read from the left, beginning with `shared()`, one element of rank 0 at offset 0: the first two compose on the
//! right, the others act on everything to their left. `strides(s, ..)` gives each dimension a stride of its own. Written is the shortest of: row-major,
//! column-major, a stride for each dimension, a stride for each mode and a `reshape`; then the swizzle.

use std::fmt;
use std::str::FromStr;

use super::{SharedLayout, Swizzle};
use crate::layout::LayoutError;
use crate::layout::text::{list, read};

/// Names of the factors of an expression of a shared layout.
pub const SHARED_FACTORS: [&str; 7] =
    ["shared", "column_shared", "strides", "swizzle", "stages", "reshape", "permute"];

impl SharedLayout {
    /// One step of an expression: `self.name(arguments)`. Begin with `SharedLayout::row_major(&[])`.
    ///
    /// Post-condition: folding this over the factors of an expression gives what parsing its text gives.
    pub fn then(&self, name: &str, arguments: &[u32]) -> Result<Self, LayoutError> {
        let mismatch = |expected| LayoutError::NumberCount { expected, found: arguments.len() };
        match name {
            "shared" => self.compose(&SharedLayout::row_major(arguments)?),
            "column_shared" => self.compose(&SharedLayout::column_major(arguments)?),
            "strides" => match self.swizzle {
                Some(_) => Err(LayoutError::Swizzled { operation: "other strides" }),
                None => SharedLayout::strided(&self.shape, arguments),
            },
            "swizzle" => match *arguments {
                [base, bits, shift] => self.swizzled(Swizzle { base, bits, shift }),
                _ => Err(mismatch(3)),
            },
            "stages" => match *arguments {
                [count] => self.stages(count),
                _ => Err(mismatch(1)),
            },
            "reshape" => self.reshape(arguments),
            "permute" => self.permute(&arguments.iter().map(|&dim| dim as usize).collect::<Vec<_>>()),
            _ => Err(LayoutError::UnknownFactor { name: name.to_owned(), known: &SHARED_FACTORS }),
        }
    }
}

impl FromStr for SharedLayout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        read(text, SharedLayout::row_major(&[])?, SharedLayout::then)
    }
}

impl fmt::Display for SharedLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = SharedLayout { swizzle: None, ..self.clone() };
        let is = |layout: Result<SharedLayout, LayoutError>| layout.is_ok_and(|layout| layout == plain);
        let modes = plain.modes();
        let text = if is(SharedLayout::row_major(&self.shape)) {
            format!("shared({})", list(&self.shape))
        } else if is(SharedLayout::column_major(&self.shape)) {
            format!("column_shared({})", list(&self.shape))
        } else if modes.iter().all(|own| own.len() < 2) {
            // An extent of 1 has no stride.
            let strides: Vec<u32> = modes.iter().map(|own| own.first().map_or(0, |mode| mode.1)).collect();
            format!("shared({}).strides({})", list(&self.shape), list(&strides))
        } else {
            let (extents, strides) = (list(&self.mode_shape), list(&self.mode_strides));
            format!("shared({extents}).strides({strides}).reshape({})", list(&self.shape))
        };
        let swizzle = self.swizzle.map_or(String::new(), |Swizzle { base, bits, shift }| {
            format!(".swizzle({base}, {bits}, {shift})")
        });
        f.pad(&(text + &swizzle))
    }
}

impl fmt::Debug for SharedLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
