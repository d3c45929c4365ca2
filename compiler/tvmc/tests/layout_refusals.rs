//! Every refusal of the layout algebra as a user sees it: `layout_refusals.txt` has an expression behind `$ `, then what `tvmc layout` says to it on
//! stderr. `UPDATE=1` writes what it says; read the difference before you commit it.

mod common;

use common::{stderr, tvmc};
use std::path::Path;
use tvmc_types::layout::{Layout, LayoutError, SharedLayout, Swizzle};

/// A number for each variant, without a gap, or `None` for those that no expression of the command can cause.
fn number(error: &LayoutError) -> Option<usize> {
    match error {
        LayoutError::ZeroExtent => Some(0),
        LayoutError::RankTooLarge { .. } => Some(1),
        LayoutError::TooLarge { .. } => Some(2),
        LayoutError::TooManyPlaces { .. } => Some(3),
        LayoutError::RankMismatch { .. } => Some(4),
        LayoutError::BadDimension { .. } => Some(5),
        LayoutError::NotUnit { .. } => Some(6),
        LayoutError::ElementCount { .. } => Some(7),
        LayoutError::CannotSplit { .. } => Some(8),
        LayoutError::SizesDoNotDivide { .. } => Some(9),
        LayoutError::NotAFactor => Some(10),
        LayoutError::NotAReduction { .. } => Some(11),
        LayoutError::LanesDoNotDivide { .. } => Some(12),
        LayoutError::Swizzled { .. } => Some(13),
        LayoutError::BadSwizzle { .. } => Some(14),
        LayoutError::NumberCount { .. } => Some(15),
        // Lists of digits or modes: `layout_golden` of `tvmc-types`.
        LayoutError::NotADecomposition { .. } | LayoutError::CopyInSlots => None,
        // The command has a reader of its own, with places; these are of the texts in tile IR: filetests `verify/23_layout_*.tir`.
        LayoutError::UnknownFactor { .. } | LayoutError::Syntax { .. } => None,
    }
}
const NUMBERED: usize = 16;

/// A refusal of each kind, from the algebra.
fn refusals() -> Vec<LayoutError> {
    let layout = |text: &str| text.parse::<Layout>();
    let shared = |text: &str| text.parse::<SharedLayout>().expect("a shared layout");
    let known = |text: &str| layout(text).expect("a layout");
    let swizzle = Swizzle { base: 0, bits: 2, shift: 2 };
    vec![
        layout("local(0)").unwrap_err(),
        Layout::local(&[1; 33]).unwrap_err(),
        layout("local(65536, 65536)").unwrap_err(),
        layout("local(4096).replicated(8192)").unwrap_err(),
        layout("replicated(2, 2)").unwrap_err(),
        known("local(2)").divide(&known("local(2, 2)")).unwrap_err(),
        known("spatial(3)").reduce(&[7]).unwrap_err(),
        known("local(2, 3)").squeeze(1).unwrap_err(),
        layout("local(6).reshape(4)").unwrap_err(),
        layout("column_local(2, 6).reshape(3, 4)").unwrap_err(),
        known("local(4)").divide(&known("spatial(2)")).unwrap_err(),
        known("spatial(2, 2)").divide(&known("column_spatial(2, 2)")).unwrap_err(),
        known("local(4, 4)").reduce_to(&[3]).unwrap_err(),
        Layout::auto_local_spatial(6, &[4]).unwrap_err(),
        shared("shared(4, 4)").swizzled(swizzle).and_then(|s| s.swizzled(swizzle)).unwrap_err(),
        SharedLayout::row_major_swizzled(&[8, 64], 6).unwrap_err(),
    ]
}

#[test]
fn every_refusal_is_pinned() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout_refusals.txt");
    let file = std::fs::read_to_string(&path).expect("a readable file");
    let mut said = String::new();
    for expression in file.lines().filter_map(|line| line.strip_prefix("$ ")) {
        said += &format!("$ {expression}\n{}", stderr(&tvmc(&["layout", expression]), 1));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &said).expect("a writable file");
    } else {
        assert!(file == said, "UPDATE=1 writes:\n{said}");
    }
    let mut seen = [false; NUMBERED];
    for refusal in refusals() {
        if let Some(number) = number(&refusal) {
            seen[number] |= said.contains(&format!("error[E0506]: {refusal}\n"));
        }
    }
    assert_eq!(seen, [true; NUMBERED], "kinds of refusals that the file shows");
}
