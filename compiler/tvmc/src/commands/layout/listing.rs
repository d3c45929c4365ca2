//! The tiles of a kernel with their layouts, and where each comes from: the source writes it, it follows from another tile's, it is one that a
//! `relayout` needs which inference put in, or the lowering for the target chose it.
//!
//! **What the lowering chooses.** It has T lanes, those that the kernel's layouts or header demand or else as many as suit the target, and lays them
//! along the last axis: element j of a row is in lane `j % T`, in the row's slot `j / T`; rows follow one another in the slots. Where T does not
//! divide the last extent, the last chunk of a row has idle lanes. So lie tiles that exist, in registers or in scratch, the sums of products and what is
//! stored: these are anchors. A tile that is nowhere is computed by the lanes that ask for it, so its layout follows from its users' by the rules of inference; where
//! none does, it is listed as it would lie by itself. Only `view` can tell: it reads the layouts that are written or follow from written ones.
//!
//! ```text
//! kernel pack: 32 lanes, pinned
//! tile           layout                                        from
//! v3 i6[16, 8]   local(2, 1).column_spatial(4, 8).local(2, 1)  written at pack.tile:2:22
//! v4 i32[16, 8]  local(2, 1).column_spatial(4, 8).local(2, 1)  v3, element by element
//! v5 f32[100]    local(4).spatial(32), of [128]                default: lanes along the last axis
//! ```
//!
//! **Block-shared tensors** follow, each with its order, which the source writes or is row by row, and the turns that a read along each axis takes where scratch has
//! [banks](super::banks). There an element takes a word; where scratch is cached ([`Scratch`]), every order is row by row.
//!
//! ```text
//! shared            order                              from
//! s f32[32, 32]     shared(32, 32).swizzle(0, 5, 5)    written; turns of a read along each axis: 1, 1
//! ```

use super::banks::turns;
use super::expression::Value as Shown;
use crate::commands::{Failure, emit_json, say};
use std::collections::BTreeMap;
use tvmc_ir::tile::inference::follow;
use tvmc_ir::tile::{Inst, Kernel, LayoutRule, Memory, Op, Origin, SharedDecl, Value};
use tvmc_passes::target::Scratch;
use tvmc_passes::{History, Placement};
use tvmc_types::dtype::DType;
use tvmc_types::layout::{Layout, SharedLayout};

/// Who says how a tile lies.
enum Said<'k> {
    /// The source, inference from it, or a `relayout` that it put in; the place where it is written.
    Pin(Origin, &'k str),
    /// The lowering, because of this.
    Chosen(String),
    /// Another tile, whose layout the lowering chose.
    Follows(Value, LayoutRule),
    /// The default rule.
    Default,
}

/// One tile.
struct Row<'k> {
    value: Value,
    layout: Layout,
    said: Said<'k>,
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

/// The tiles whose layouts the lowering chose, and why.
fn chosen(kernel: &Kernel, history: &History, lanes: u32) -> BTreeMap<Value, (Layout, String)> {
    let mut stored: BTreeMap<Value, String> = BTreeMap::new();
    kernel.body.visit(&mut |inst| {
        let memory = match &inst.op {
            Op::Store { memory, .. } | Op::StoreGroups { memory, .. } | Op::Scatter { memory } => *memory,
            Op::CopyAsync { shared, .. } => Memory::Shared(*shared),
            _ => return,
        };
        let name = match memory {
            Memory::Param(param) => kernel.params[param.index()].name(),
            Memory::Shared(shared) => kernel.shared[shared.index()].name.as_str(),
        };
        let indices = match &inst.op {
            Op::Store { indices, .. } | Op::StoreGroups { indices, .. } => indices.len(),
            Op::CopyAsync { indices, .. } => indices.len(),
            _ => inst.args.len().saturating_sub(1),
        };
        for value in inst.args.iter().skip(indices) {
            stored.entry(*value).or_insert_with(|| name.to_owned());
        }
    });
    let mut chosen = BTreeMap::new();
    for (number, ty) in kernel.values.iter().enumerate() {
        let value = Value(number as u32);
        if ty.is_scalar() {
            continue;
        }
        let along = || default_layout(&ty.shape, lanes);
        let product = history.products.get(&value).map(ToString::to_string);
        let (layout, why) = match (product, history.placements.get(number).and_then(Option::as_ref)) {
            (Some(product), _) => (along(), format!("chosen: {product}")),
            (None, Some(Placement::Uniform)) => {
                (every_lane(&ty.shape, lanes), "chosen: one value, which every lane knows".to_owned())
            }
            (None, Some(kept @ (Placement::Registers(_) | Placement::Scratch { .. }))) => {
                (along(), format!("chosen: kept in {kept}"))
            }
            (None, Some(Placement::Lazy) | None) => match stored.get(&value) {
                Some(name) => (along(), format!("chosen: stored to `{name}`")),
                None => continue,
            },
        };
        if let Some(layout) = layout {
            chosen.insert(value, (layout, why));
        }
    }
    chosen
}

/// One element in every lane.
fn every_lane(shape: &[u32], lanes: u32) -> Option<Layout> {
    Layout::replicated(lanes).and_then(|layout| layout.then_local(shape)).ok()
}

/// The tiles that have a layout.
fn rows<'k>(kernel: &'k Kernel, history: Option<&History>, lanes: u32) -> Vec<Row<'k>> {
    let chosen = history.map(|history| chosen(kernel, history, lanes)).unwrap_or_default();
    // What has idle lanes is no layout of its tile, and nothing follows from it.
    let whole: BTreeMap<Value, Layout> = chosen
        .iter()
        .filter(|(value, (layout, _))| layout.shape() == kernel.ty(**value).shape)
        .map(|(value, (layout, _))| (*value, layout.clone()))
        .collect();
    let follows = if history.is_some() { follow(kernel, &whole) } else { Vec::new() };
    let row = |(number, ty): (usize, &tvmc_ir::tile::TileType)| {
        let value = Value(number as u32);
        if let Some(pin) = kernel.pins.get(&value) {
            return Some(Row {
                value,
                layout: pin.layout.clone(),
                said: Said::Pin(pin.origin, &pin.location),
            });
        }
        if let Some((layout, why)) = chosen.get(&value) {
            return Some(Row { value, layout: layout.clone(), said: Said::Chosen(why.clone()) });
        }
        if ty.is_scalar() {
            return None;
        }
        if let Some(Some(candidate)) = follows.get(number)
            && let Some((from, rule)) = candidate.from
        {
            return Some(Row { value, layout: candidate.layout.clone(), said: Said::Follows(from, rule) });
        }
        Some(Row { value, layout: default_layout(&ty.shape, lanes)?, said: Said::Default })
    };
    kernel.values.iter().enumerate().filter_map(row).collect()
}

/// The order in which a block-shared tensor lies in such scratch; none where its shape is beyond layouts.
fn order_of(shared: &SharedDecl, scratch: Scratch) -> Option<SharedLayout> {
    match (scratch, &shared.order) {
        (Scratch::Banked, Some(order)) => Some(order.clone()),
        (Scratch::Banked, None) | (Scratch::Cached, _) => SharedLayout::row_major(&shared.ty.shape).ok(),
    }
}

/// The layout of one tile by its name in the listing, `v3`, or the order of a block-shared tensor by its name.
pub fn tile(
    kernel: &Kernel,
    history: Option<&History>,
    (target_lanes, scratch): (u32, Scratch),
    name: &str,
) -> Result<Shown, Failure> {
    let named = kernel.shared.iter().find(|shared| shared.name == name);
    if let Some(order) = named.and_then(|shared| order_of(shared, scratch)) {
        return Ok(Shown::Shared(order));
    }
    let mut rows = rows(kernel, history, kernel.lanes.unwrap_or(target_lanes));
    match rows.iter().position(|row| row.value.to_string() == name) {
        Some(at) => Ok(Shown::Layout(rows.swap_remove(at).layout)),
        None => Err(Failure::user(format!("kernel `{}` has no tile `{name}`", kernel.name))
            .help("without --tile its tiles are listed with their names")),
    }
}

/// Prints the tiles and block-shared tensors of a kernel, as a target that would have so many lanes and such scratch has them. `history` tells how the lowering went, if it did.
pub fn list(
    kernel: &Kernel,
    history: Option<&History>,
    (target_lanes, scratch): (u32, Scratch),
    json: bool,
) -> Result<(), Failure> {
    let lanes = kernel.lanes.unwrap_or(target_lanes);
    let (rows, inserted) = (rows(kernel, history, lanes), inserted(kernel));
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
            "relayouts": relayouts, "shared": kernel.shared.iter().map(|s| shared_json(s, scratch)).collect::<Vec<_>>(),
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
            let from = match &row.said {
                Said::Pin(Origin::Written, "") => "written".to_owned(),
                Said::Pin(Origin::Written, place) => format!("written at {place}"),
                Said::Pin(Origin::Inferred { from, rule }, _) | Said::Follows(from, rule) => {
                    format!("{from}, {}", rule.doc())
                }
                Said::Pin(Origin::Inserted, _) => "a relayout that was put in".to_owned(),
                Said::Chosen(why) => why.clone(),
                Said::Default => "default: lanes along the last axis".to_owned(),
            };
            [format!("{} {ty}", row.value), format!("{}{whole}", row.layout), from]
        })
        .collect();
    let whose = if kernel.lanes.is_some() { "pinned" } else { "the target's" };
    let mut text = format!("kernel {}: {lanes} lanes, {whose}\n", kernel.name);
    text += &table(["tile", "layout", "from"], &cells);
    for moved in inserted {
        text += &format!("{}\n", relayout(kernel, moved));
    }
    if !kernel.shared.is_empty() {
        let cells: Vec<[String; 3]> =
            kernel.shared.iter().map(|shared| shared_cells(shared, scratch)).collect();
        text += &table(["shared", "order", "from"], &cells);
    }
    say(&text)
}

/// Three columns under a head, each as wide as its longest cell.
fn table(head: [&str; 3], cells: &[[String; 3]]) -> String {
    let width = |column: usize| {
        let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        longest.max(head[column].len())
    };
    let (first, second) = (width(0), width(1));
    let line = |[a, b, c]: [&str; 3]| format!("{a:<first$}  {b:<second$}  {c}\n");
    let rows = cells.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect()
}

fn shared_cells(shared: &SharedDecl, scratch: Scratch) -> [String; 3] {
    let name = format!("{} {}", shared.name, shared.ty);
    let Some(order) = order_of(shared, scratch) else {
        return [name, "row by row".to_owned(), "default".to_owned()];
    };
    let from = match (scratch, &shared.order) {
        (Scratch::Banked, written) => {
            let turns: Vec<String> = turns(&order, DType::F32).iter().map(usize::to_string).collect();
            let who = if written.is_some() { "written" } else { "default: row by row" };
            format!("{who}; turns of a read along each axis: {}", turns.join(", "))
        }
        (Scratch::Cached, Some(written)) => format!("cached scratch, where {written} is not kept"),
        (Scratch::Cached, None) => "default: row by row".to_owned(),
    };
    [name, order.to_string(), from]
}

fn shared_json(shared: &SharedDecl, scratch: Scratch) -> serde_json::Value {
    let order = order_of(shared, scratch);
    let turns = order.as_ref().filter(|_| scratch == Scratch::Banked).map(|order| turns(order, DType::F32));
    serde_json::json!({
        "name": shared.name, "dtype": shared.ty.dtype.to_string(), "shape": shared.ty.shape,
        "order": order.map(|order| order.to_string()),
        "written": shared.order.as_ref().map(ToString::to_string), "turns": turns,
    })
}

fn described(kernel: &Kernel, row: &Row) -> serde_json::Value {
    let ty = kernel.ty(row.value);
    let (origin, from, rule, written) = match &row.said {
        Said::Pin(Origin::Written, place) => ("written", None, None, Some(*place)),
        Said::Pin(Origin::Inferred { from, rule }, _) => {
            ("inferred", Some(from.to_string()), Some(rule.name()), None)
        }
        Said::Pin(Origin::Inserted, _) => ("inserted", None, None, None),
        Said::Chosen(_) => ("chosen", None, None, None),
        Said::Follows(from, rule) => ("follows", Some(from.to_string()), Some(rule.name()), None),
        Said::Default => ("default", None, None, None),
    };
    let why = match &row.said {
        Said::Chosen(why) => Some(why.as_str()),
        Said::Pin(..) | Said::Follows(..) | Said::Default => None,
    };
    serde_json::json!({
        "value": row.value.to_string(), "dtype": ty.dtype.to_string(), "shape": ty.shape,
        "layout": row.layout.to_string(), "layout_shape": row.layout.shape(),
        "origin": origin, "from": from, "rule": rule, "written": written, "why": why,
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
