//! Layouts as text and as JSON.

use super::Failure;
use super::banks::{BANKS, slot_turns, turns};
use serde_json::{Value, json};
use tvmc_types::dtype::DType;
use tvmc_types::layout::{Layout, SharedLayout, SpatialMode, Swizzle};

/// Most rows and columns of a table.
const TABLE: (u32, u32) = (256, 64);
/// Most places that JSON lists.
const MAX_JSON: u64 = 1 << 20;

/// Digits of the lane number as text.
fn lane_digits(layout: &Layout) -> Vec<String> {
    let digit = |mode: &SpatialMode| match mode {
        SpatialMode::Mode(mode) => mode.to_string(),
        SpatialMode::Replicate(copies) => format!("{copies} copies"),
    };
    layout.spatial_modes().iter().map(digit).collect()
}

fn joined(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

/// A register layout: its form, then `lane:slot` of each element.
pub fn registers(layout: &Layout) -> String {
    let copies = match layout.replication() {
        1 => String::new(),
        n => format!(", each element in {n} lanes"),
    };
    format!(
        "{layout}\ntile [{}], {} lanes x {} slots{copies}; modes {}; lane digits: {}; slot digits: {}\nlane:slot of each element\n{}",
        joined(layout.shape()),
        layout.spatial_size(),
        layout.local_size(),
        or_none(joined(layout.mode_shape())),
        or_none(lane_digits(layout).join(", ")),
        or_none(joined(layout.local_modes())),
        layout.draw(TABLE.0, TABLE.1)
    )
}

/// What a swizzle does, in words.
fn swizzle(swizzle: Option<Swizzle>) -> String {
    match swizzle {
        None => "none".to_owned(),
        Some(Swizzle { base, bits, shift }) => {
            let range = |low: u32| match bits {
                1 => format!("bit {low}"),
                n => format!("bits {low} to {}", low + n - 1),
            };
            format!("{} xor {}", range(base), range(base + shift))
        }
    }
}

/// How many turns reads along each dimension take, in words; empty where there is no dimension.
pub fn reads(layout: &SharedLayout, dtype: DType) -> String {
    let along = |(dim, turns): (usize, usize)| {
        let count = layout.shape()[dim].min(BANKS);
        format!("{count} elements along dimension {dim} in {turns} turn{}", if turns == 1 { "" } else { "s" })
    };
    turns(layout, dtype).into_iter().enumerate().map(along).collect::<Vec<_>>().join(", ")
}

/// A shared layout: its form, what reading it costs, then the offset of each element.
pub fn shared(layout: &SharedLayout, dtype: DType) -> String {
    let reads = match reads(layout, dtype) {
        reads if reads.is_empty() => String::new(),
        reads => format!("{dtype} in {BANKS} banks of 4 bytes are read: {reads}\n"),
    };
    format!(
        "{layout}\ntile [{}], {} elements of memory; modes {}; strides {}; swizzle: {}\n{reads}offset of each element\n{}",
        joined(layout.shape()),
        layout.size(),
        or_none(joined(layout.mode_shape())),
        or_none(joined(layout.mode_strides())),
        swizzle(layout.swizzle()),
        layout.draw(TABLE.0, TABLE.1)
    )
}

/// Most slots whose turns are listed.
const SLOTS: usize = 64;

/// In how many turns lanes read their elements, slot by slot.
pub fn read(memory: &SharedLayout, held: &Layout, dtype: DType) -> String {
    let turns = slot_turns(memory, held, dtype);
    let mut listed: Vec<String> = turns.iter().take(SLOTS).map(usize::to_string).collect();
    if turns.len() > SLOTS {
        listed.push("..".to_owned());
    }
    format!(
        "{} lanes read {} slots of {dtype} from {BANKS} banks of 4 bytes in {} turns; at best {}\nof each slot: {}\n",
        held.spatial_size(),
        held.local_size(),
        turns.iter().sum::<usize>(),
        held.spatial_size().div_ceil(BANKS) as usize * turns.len(),
        listed.join(" ")
    )
}

/// The same with every slot.
pub fn read_json(memory: &SharedLayout, held: &Layout, dtype: DType) -> Value {
    json!({
        "shared": memory.to_string(), "layout": held.to_string(), "dtype": dtype.to_string(),
        "turns": slot_turns(memory, held, dtype),
    })
}

fn listable(places: u64) -> Result<(), Failure> {
    match places {
        places if places > MAX_JSON => {
            Err(Failure::user(format!("{places} places are too many to list; the most is {MAX_JSON}")))
        }
        _ => Ok(()),
    }
}

/// A register layout with the elements of each lane.
pub fn registers_json(layout: &Layout) -> Result<Value, Failure> {
    listable(u64::from(layout.spatial_size()) * u64::from(layout.local_size()))?;
    let spatial: Vec<Value> = layout
        .spatial_modes()
        .iter()
        .map(|mode| match mode {
            SpatialMode::Mode(mode) => json!({ "mode": mode }),
            SpatialMode::Replicate(copies) => json!({ "copies": copies }),
        })
        .collect();
    // lane by lane, slot by slot: the row-major position of the element.
    let slots = layout.local_size().max(1) as usize;
    let all = layout.linear_elements();
    let elements: Vec<&[u32]> = all.chunks(slots).collect();
    Ok(json!({
        "layout": layout.to_string(), "shape": layout.shape(), "mode_shape": layout.mode_shape(),
        "spatial_modes": spatial, "local_modes": layout.local_modes(),
        "lanes": layout.spatial_size(), "slots": layout.local_size(), "replication": layout.replication(),
        "elements": elements,
    }))
}

/// A shared layout with the offset of each element in row-major order.
pub fn shared_json(layout: &SharedLayout, dtype: DType) -> Result<Value, Failure> {
    listable(layout.elements().into())?;
    let swizzle = layout.swizzle().map(|s| json!({ "base": s.base, "bits": s.bits, "shift": s.shift }));
    Ok(json!({
        "layout": layout.to_string(), "shape": layout.shape(), "mode_shape": layout.mode_shape(),
        "mode_strides": layout.mode_strides(), "swizzle": swizzle, "size": layout.size(),
        "dtype": dtype.to_string(), "turns": turns(layout, dtype), "offsets": layout.offsets(),
    }))
}
