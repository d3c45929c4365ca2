//! The tiles of a kernel with their layouts, and where each comes from: the source writes it, it follows from another tile's, it is one that a
//! `relayout` needs which inference put in, or nothing says and the lowering spreads the tile as it likes.
//!
//! **The default rule.** The lowering has T lanes, those that the kernel's layouts or header demand or else as many as suit the target, and lays them
//! along the last axis: element j of a row is in lane `j % T`, in the row's slot `j / T`; rows follow one another in the slots. Where T does not
//! divide the last extent, the last chunk of a row has idle lanes. Only `view` can tell: it reads the layouts that are written or follow.
//!
//! ```text
//! kernel pack: 32 lanes, pinned
//! tile           layout                                        from
//! v3 i6[16, 8]   local(2, 1).column_spatial(4, 8).local(2, 1)  written at pack.tile:2:22
//! v4 i32[16, 8]  local(2, 1).column_spatial(4, 8).local(2, 1)  v3, element by element
//! v5 f32[100]    local(4).spatial(32), of [128]                default: lanes along the last axis
//! ```

use crate::commands::{Failure, emit_json, say};
use tvmc_ir::tile::{Inst, Kernel, Op, Origin, Value};
use tvmc_types::layout::Layout;

/// One tile.
struct Row<'k> {
    value: Value,
    layout: Layout,
    /// Who says so, and where it is written; `None` for the default rule.
    origin: Option<(Origin, &'k str)>,
}

/// The `relayout`s that inference put in: what moves, to what, for the sake of which place in the source.
pub fn inserted(kernel: &Kernel) -> Vec<(Value, Value, &str)> {
    let is_inserted =
        |value: &Value| kernel.pins.get(value).is_some_and(|pin| pin.origin == Origin::Inserted);
    let mut found = Vec::new();
    kernel.body.visit(&mut |inst| {
        if let (Op::Relayout, &[from], Some(to)) = (&inst.op, inst.args.as_slice(), inst.result)
            && (is_inserted(&to) || is_inserted(&from))
        {
            found.push((from, to, place(kernel, inst)));
        }
    });
    found
}

fn place<'k>(kernel: &'k Kernel, inst: &Inst) -> &'k str {
    let at = inst.location.and_then(|at| kernel.locations.get(at as usize));
    at.map_or("the end of a block", String::as_str)
}

/// What a `relayout` that inference put in does, in a line.
pub fn relayout(kernel: &Kernel, (from, to, place): (Value, Value, &str)) -> String {
    let name = |value: Value| kernel.layout(value).map_or_else(|| "any layout".to_owned(), Layout::to_string);
    format!("relayout of {from} {}, put in for {place}: {} -> {}", kernel.ty(from), name(from), name(to))
}

/// Where the lowering for so many lanes has the elements of a tile, chunks filled up.
fn default_layout(shape: &[u32], lanes: u32) -> Option<Layout> {
    let (last, rows) = shape.split_last()?;
    let chunks = last.div_ceil(lanes);
    let slots: Vec<u32> = rows.iter().copied().chain([chunks]).collect();
    let along: Vec<u32> = rows.iter().map(|_| 1).chain([lanes]).collect();
    Layout::local(&slots).and_then(|layout| layout.then_spatial(&along)).ok()
}

/// The tiles that have a layout.
fn rows(kernel: &Kernel, lanes: u32) -> Vec<Row<'_>> {
    let row = |(number, ty): (usize, &tvmc_ir::tile::TileType)| {
        let value = Value(number as u32);
        Some(match kernel.pins.get(&value) {
            Some(pin) => Row { value, layout: pin.layout.clone(), origin: Some((pin.origin, &pin.location)) },
            None => Row { value, layout: default_layout(&ty.shape, lanes)?, origin: None },
        })
    };
    kernel.values.iter().enumerate().filter_map(row).collect()
}

/// The layout of one tile by its name in the listing, `v3`.
pub fn tile(kernel: &Kernel, target_lanes: u32, name: &str) -> Result<Layout, Failure> {
    let mut rows = rows(kernel, kernel.lanes.unwrap_or(target_lanes));
    match rows.iter().position(|row| row.value.to_string() == name) {
        Some(at) => Ok(rows.swap_remove(at).layout),
        None => Err(Failure::user(format!("kernel `{}` has no tile `{name}`", kernel.name))
            .help("without --tile its tiles are listed with their names")),
    }
}

/// Prints the tiles of a kernel, as a target that would have so many lanes has them.
pub fn list(kernel: &Kernel, target_lanes: u32, json: bool) -> Result<(), Failure> {
    let lanes = kernel.lanes.unwrap_or(target_lanes);
    let (rows, inserted) = (rows(kernel, lanes), inserted(kernel));
    if json {
        let tiles: Vec<serde_json::Value> = rows.iter().map(|row| described(kernel, row)).collect();
        let relayouts: Vec<serde_json::Value> = inserted
            .iter()
            .map(|(from, to, place)| {
                serde_json::json!({ "from": from.to_string(), "to": to.to_string(), "for": place })
            })
            .collect();
        return emit_json(&serde_json::json!({
            "kernel": kernel.name, "lanes": lanes, "lanes_pinned": kernel.lanes.is_some(), "tiles": tiles,
            "relayouts": relayouts,
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
            let from = match row.origin {
                Some((Origin::Written, "")) => "written".to_owned(),
                Some((Origin::Written, place)) => format!("written at {place}"),
                Some((Origin::Inferred { from, rule }, _)) => format!("{from}, {}", rule.doc()),
                Some((Origin::Inserted, _)) => "a relayout that was put in".to_owned(),
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
    for moved in inserted {
        text += &format!("{}\n", relayout(kernel, moved));
    }
    say(&text)
}

fn described(kernel: &Kernel, row: &Row) -> serde_json::Value {
    let ty = kernel.ty(row.value);
    let (origin, from, rule, written) = match row.origin {
        Some((Origin::Written, place)) => ("written", None, None, Some(place)),
        Some((Origin::Inferred { from, rule }, _)) => {
            ("inferred", Some(from.to_string()), Some(rule.name()), None)
        }
        Some((Origin::Inserted, _)) => ("inserted", None, None, None),
        None => ("default", None, None, None),
    };
    serde_json::json!({
        "value": row.value.to_string(), "dtype": ty.dtype.to_string(), "shape": ty.shape,
        "layout": row.layout.to_string(), "layout_shape": row.layout.shape(),
        "origin": origin, "from": from, "rule": rule, "written": written,
    })
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
