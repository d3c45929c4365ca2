//! The tiles of a kernel with their layouts: which the source pins, and how the lowering spreads the others.
//!
//! **The default rule.** The lowering has T lanes, those that the kernel's layouts or header demand or else as many as suit the target, and lays them
//! along the last axis: element j of a row is in lane `j % T`, in the row's slot `j / T`; rows follow one another in the slots. Where T does not
//! divide the last extent, the last chunk of a row has idle lanes. A pinned layout is what `view` reads.
//!
//! ```text
//! kernel pack: 32 lanes, pinned
//! tile          layout                                        from
//! v3 i6[16, 8]  local(2, 1).column_spatial(4, 8).local(2, 1)  pinned at pack.tile:2:22
//! v4 u8[96]     local(3).spatial(32)                          pinned at pack.tile:3:40
//! v5 f32[100]   local(4).spatial(32), of [128]                default: lanes along the last axis
//! ```

use crate::commands::{Failure, emit_json, say};
use tvmc_ir::tile::{Kernel, Value};
use tvmc_types::layout::Layout;

/// One tile.
struct Row {
    value: Value,
    layout: Layout,
    /// Where the source pins it; `None` for the default rule.
    pinned: Option<String>,
}

/// Where the lowering for so many lanes has the elements of a tile, chunks filled up.
fn default_layout(shape: &[u32], lanes: u32) -> Option<Layout> {
    let (last, rows) = shape.split_last()?;
    let chunks = last.div_ceil(lanes);
    let slots: Vec<u32> = rows.iter().copied().chain([chunks]).collect();
    let along: Vec<u32> = rows.iter().map(|_| 1).chain([lanes]).collect();
    Layout::local(&slots).and_then(|layout| layout.then_spatial(&along)).ok()
}

/// Prints the tiles of a kernel, as a target that would have so many lanes has them.
pub fn list(kernel: &Kernel, target_lanes: u32, json: bool) -> Result<(), Failure> {
    let lanes = kernel.lanes.unwrap_or(target_lanes);
    let mut rows = Vec::new();
    for (number, ty) in kernel.values.iter().enumerate() {
        let value = Value(number as u32);
        match kernel.pins.get(&value) {
            Some(pin) => {
                rows.push(Row { value, layout: pin.layout.clone(), pinned: Some(pin.location.clone()) });
            }
            None => {
                if let Some(layout) = default_layout(&ty.shape, lanes) {
                    rows.push(Row { value, layout, pinned: None });
                }
            }
        }
    }
    if json {
        let tiles: Vec<serde_json::Value> = rows
            .iter()
            .map(|row| {
                let ty = kernel.ty(row.value);
                serde_json::json!({
                    "value": row.value.to_string(), "dtype": ty.dtype.to_string(), "shape": ty.shape,
                    "layout": row.layout.to_string(), "layout_shape": row.layout.shape(), "pinned": row.pinned,
                })
            })
            .collect();
        return emit_json(&serde_json::json!({
            "kernel": kernel.name, "lanes": lanes, "lanes_pinned": kernel.lanes.is_some(), "tiles": tiles,
        }));
    }
    let cells: Vec<[String; 3]> = rows
        .iter()
        .map(|row| {
            let ty = kernel.ty(row.value);
            let whole = if row.layout.shape() == ty.shape {
                String::new()
            } else {
                format!(", of {:?}", row.layout.shape())
            };
            let from = match &row.pinned {
                Some(place) if place.is_empty() => "pinned".to_owned(),
                Some(place) => format!("pinned at {place}"),
                None => "default: lanes along the last axis".to_owned(),
            };
            [format!("{} {ty}", row.value), format!("{}{whole}", row.layout), from]
        })
        .collect();
    let head = ["tile".to_owned(), "layout".to_owned(), "from".to_owned()];
    let width = |column: usize| {
        let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        longest.max(head[column].len())
    };
    let (first, second) = (width(0), width(1));
    let whose = if kernel.lanes.is_some() { "pinned" } else { "the target's" };
    let mut text = format!("kernel {}: {lanes} lanes, {whose}\n", kernel.name);
    for [tile, layout, from] in std::iter::once(&head).chain(&cells) {
        text += &format!("{tile:<first$}  {layout:<second$}  {from}\n");
    }
    say(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_lie_along_the_last_axis() {
        let layout = default_layout(&[3, 40], 16).expect("a tile");
        assert_eq!(layout.shape(), [3, 48]);
        for (row, column) in (0..3).flat_map(|row| (0..40).map(move |column| (row, column))) {
            assert_eq!(layout.places(&[row, column]), (vec![column % 16], row * 3 + column / 16));
        }
        assert_eq!(default_layout(&[], 16), None);
    }
}
