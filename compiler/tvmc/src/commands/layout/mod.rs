//! `tvmc layout`: layouts as tables, pictures and JSON.
//!
//! The argument is an expression of the algebra (`expression`, `operations`), which is shown (`table`), and drawn on request (`svg`), or a .tile file, of
//! whose kernel every tile is listed (`listing`). Of a shared layout the `banks` are shown too.
//!
//! ```text
//! $ tvmc layout "spatial(2, 2).local(1, 2)"
//! spatial(2, 2).local(1, 2)
//! tile [2, 4], 4 lanes x 2 slots; modes 2, 2, 2; lane digits: modes 0, 1; slot digits: modes 2
//! lane:slot of each element
//! 0:0 0:1 1:0 1:1
//! 2:0 2:1 3:0 3:1
//! ```

mod banks;
mod expression;
pub mod listing;
mod operations;
mod svg;
mod table;

use super::{Failure, USER_ERROR, emit_json, kernels, save, say};
use crate::cli::LayoutOptions;
use crate::engine::Forms;
use crate::output;
use expression::Value;
use std::path::Path;
use tvmc_lang::source::SourceMap;
use tvmc_types::dtype::DType;

/// `tvmc layout`.
pub fn layout(options: &LayoutOptions) -> Result<(), Failure> {
    if kernels::holds_kernels(Path::new(&options.what))? {
        if options.svg.is_some() && options.tile.is_none() {
            return Err(Failure::usage(
                "--svg draws one layout: name a tile with --tile, or give an expression",
            ));
        }
        if options.dtype.is_some() {
            return Err(Failure::usage(
                "--dtype is about the banks of a shared layout: give it as an expression",
            ));
        }
        let instance = kernels::instance(Path::new(&options.what), options.kernel.as_ref(), &options.set)?;
        let mut forms = Forms::new(&instance, &options.machine);
        let machine = (forms.lanes(), forms.scratch());
        // An instance that this target cannot have is listed by the default rule.
        let history = forms.history().ok();
        return match &options.tile {
            Some(tile) => show(listing::tile(&instance, history, machine, tile)?, options),
            None => listing::list(&instance, history, machine, options.json),
        };
    }
    if options.kernel.is_some() || options.tile.is_some() || !options.set.is_empty() {
        return Err(Failure::usage(format!(
            "--kernel, --tile and --set belong to a .tile file or a module, not to `{}`",
            options.what
        )));
    }
    evaluate(options)
}

/// Shows what an expression stands for.
fn evaluate(options: &LayoutOptions) -> Result<(), Failure> {
    let expression = &options.what;
    let mut sources = SourceMap::new();
    let source =
        sources.add_bytes("expression", expression.as_bytes()).map_err(|d| refused(&d, &SourceMap::new()))?;
    let value = expression::evaluate(expression, source).map_err(|d| refused(&d, &sources))?;
    if options.dtype.is_some() && !matches!(value, Value::Shared(_) | Value::Read(..)) {
        return Err(Failure::usage("--dtype is about the banks of a shared layout"));
    }
    show(value, options)
}

/// Shows a value as the options ask.
fn show(value: Value, options: &LayoutOptions) -> Result<(), Failure> {
    let (svg, json) = (options.svg.as_deref(), options.json);
    let dtype = options.dtype.unwrap_or(DType::F32);
    match value {
        Value::Layout(layout) => {
            if let Some(path) = svg {
                save_picture(svg::registers(&layout), layout.elements(), path)?;
            }
            if json { emit_json(&table::registers_json(&layout)?) } else { say(&table::registers(&layout)) }
        }
        Value::Shared(layout) => {
            if let Some(path) = svg {
                save_picture(svg::shared(&layout, dtype), layout.elements(), path)?;
            }
            if json {
                emit_json(&table::shared_json(&layout, dtype)?)
            } else {
                say(&table::shared(&layout, dtype))
            }
        }
        Value::Read(_, _) | Value::Answer(..) | Value::Number(_) if svg.is_some() => {
            Err(Failure::usage("--svg draws a layout; this expression is a question"))
        }
        Value::Read(memory, held) => {
            if json {
                emit_json(&table::read_json(&memory, &held, dtype))
            } else {
                say(&table::read(&memory, &held, dtype))
            }
        }
        Value::Answer(answer, why) => match json {
            true => emit_json(&serde_json::json!({ "answer": answer, "why": why })),
            false => say(&match why {
                Some(why) => format!("{answer}: {why}\n"),
                None => format!("{answer}\n"),
            }),
        },
        Value::Number(number) => say(&format!("{number}\n")),
    }
}

fn refused(diagnostic: &tvmc_lang::diag::Diagnostic, sources: &SourceMap) -> Failure {
    output::diagnostics(std::slice::from_ref(diagnostic), sources);
    Failure::silent(USER_ERROR)
}

fn save_picture(picture: Option<String>, elements: u32, path: &Path) -> Result<(), Failure> {
    let Some(text) = picture else {
        return Err(Failure::user(format!(
            "a picture has at most {} cells, this tile has {elements} elements",
            svg::MAX_CELLS
        ))
        .help("draw a factor of it: the pattern repeats"));
    };
    save(path, text.as_bytes())
}
