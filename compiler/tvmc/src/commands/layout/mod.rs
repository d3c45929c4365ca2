//! `tvmc layout`: layouts as tables, pictures and JSON.
//!
//! The argument is an expression of the algebra (`expression`), which is shown, and drawn on request (`svg`), or a .tile file, of whose
//! kernel every tile is listed (`listing`).
//!
//! ```text
//! $ tvmc layout "spatial(2, 2).local(1, 2)"
//! spatial(2, 2).local(1, 2)
//! tile [2, 4], 4 lanes x 2 slots; modes 2, 2, 2; lane digits: modes 0, 1; slot digits: modes 2
//! lane:slot of each element
//! 0:0 0:1 1:0 1:1
//! 2:0 2:1 3:0 3:1
//! ```

mod expression;
mod listing;
mod svg;

use super::{Failure, USER_ERROR, emit_json, kernels, save, say};
use crate::cli::LayoutOptions;
use crate::engine::Forms;
use crate::output;
use expression::Value;
use std::path::Path;
use tvmc_lang::source::SourceMap;
use tvmc_types::layout::{Layout, SpatialMode};

/// Most rows and columns of a table.
const TABLE: (u32, u32) = (256, 64);
/// Most places that JSON lists.
const MAX_JSON: u64 = 1 << 20;

/// `tvmc layout`.
pub fn layout(options: &LayoutOptions) -> Result<(), Failure> {
    if kernels::holds_kernels(Path::new(&options.what))? {
        if options.svg.is_some() {
            return Err(Failure::usage("--svg draws one layout: give it as an expression"));
        }
        let instance = kernels::instance(Path::new(&options.what), options.kernel.as_ref(), &options.set)?;
        let lanes = Forms::new(&instance, &options.machine).lanes();
        return listing::list(&instance, lanes, options.json);
    }
    if options.kernel.is_some() || !options.set.is_empty() {
        return Err(Failure::usage(format!(
            "--kernel and --set belong to a .tile file or a module, not to `{}`",
            options.what
        )));
    }
    evaluate(&options.what, options.svg.as_deref(), options.json)
}

/// Shows what an expression stands for.
fn evaluate(expression: &str, svg: Option<&Path>, json: bool) -> Result<(), Failure> {
    let mut sources = SourceMap::new();
    let source =
        sources.add_bytes("expression", expression.as_bytes()).map_err(|d| refused(&d, &SourceMap::new()))?;
    let value = expression::evaluate(expression, source).map_err(|d| refused(&d, &sources))?;
    match value {
        Value::Layout(layout) => {
            if let Some(path) = svg {
                picture(&layout, path)?;
            }
            if json { emit_json(&as_json(&layout)?) } else { say(&table(&layout)) }
        }
        Value::Answer(answer, why) => {
            if svg.is_some() {
                return Err(Failure::usage("--svg draws a layout; this expression is a question"));
            }
            match json {
                true => emit_json(&serde_json::json!({ "answer": answer, "why": why })),
                false => say(&match why {
                    Some(why) => format!("{answer}: {why}\n"),
                    None => format!("{answer}\n"),
                }),
            }
        }
        Value::Number(number) => say(&format!("{number}\n")),
    }
}

fn refused(diagnostic: &tvmc_lang::diag::Diagnostic, sources: &SourceMap) -> Failure {
    output::diagnostics(std::slice::from_ref(diagnostic), sources);
    Failure::silent(USER_ERROR)
}

fn picture(layout: &Layout, path: &Path) -> Result<(), Failure> {
    let Some(text) = svg::draw(layout) else {
        return Err(Failure::user(format!(
            "a picture has at most {} cells, this tile has {} elements",
            svg::MAX_CELLS,
            layout.elements()
        ))
        .help("draw a factor of it: the pattern repeats"));
    };
    save(path, text.as_bytes())
}

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

fn table(layout: &Layout) -> String {
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

fn as_json(layout: &Layout) -> Result<serde_json::Value, Failure> {
    let places = u64::from(layout.spatial_size()) * u64::from(layout.local_size());
    if places > MAX_JSON {
        return Err(Failure::user(format!("{places} places are too many to list; the most is {MAX_JSON}")));
    }
    let spatial: Vec<serde_json::Value> = layout
        .spatial_modes()
        .iter()
        .map(|mode| match mode {
            SpatialMode::Mode(mode) => serde_json::json!({ "mode": mode }),
            SpatialMode::Replicate(copies) => serde_json::json!({ "copies": copies }),
        })
        .collect();
    // lane by lane, slot by slot: the row-major position of the element.
    let slots = layout.local_size().max(1) as usize;
    let all = layout.linear_elements();
    let elements: Vec<&[u32]> = all.chunks(slots).collect();
    Ok(serde_json::json!({
        "layout": layout.to_string(), "shape": layout.shape(), "mode_shape": layout.mode_shape(),
        "spatial_modes": spatial, "local_modes": layout.local_modes(),
        "lanes": layout.spatial_size(), "slots": layout.local_size(), "replication": layout.replication(),
        "elements": elements,
    }))
}
