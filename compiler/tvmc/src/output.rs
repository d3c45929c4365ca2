//! How messages look: colour and form, set once from the command line.

use crate::cli::{ColorChoice, ErrorFormat};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_lang::source::SourceMap;

static STYLE: OnceLock<(bool, ErrorFormat)> = OnceLock::new();

/// Sets the style; the first call counts.
pub fn configure(color: ColorChoice, format: ErrorFormat) {
    let colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    let _ = STYLE.set((colored, format));
}

fn style() -> (bool, ErrorFormat) {
    STYLE.get().copied().unwrap_or((false, ErrorFormat::Human))
}

/// Prints an error that has no place in a source.
pub fn error(message: &str) {
    let (colored, format) = style();
    match format {
        ErrorFormat::Json => eprintln!("{}", serde_json::json!({ "severity": "error", "message": message })),
        ErrorFormat::Human if colored => eprintln!("\x1b[1;31merror\x1b[0m: {message}"),
        ErrorFormat::Human => eprintln!("error: {message}"),
    }
}

/// Prints diagnostics.
pub fn diagnostics(list: &[Diagnostic], map: &SourceMap) {
    let (colored, format) = style();
    for diagnostic in list {
        match format {
            ErrorFormat::Human => eprintln!("{}", render(diagnostic, map, colored)),
            ErrorFormat::Json => eprintln!("{}", json(diagnostic, map)),
        }
    }
}

fn json(diagnostic: &Diagnostic, map: &SourceMap) -> serde_json::Value {
    let labels: Vec<serde_json::Value> = diagnostic
        .labels
        .iter()
        .filter_map(|label| {
            let source = map.get(label.span.source)?;
            let (start, end) = (source.position(label.span.start), source.position(label.span.end));
            Some(serde_json::json!({
                "file": source.name(), "text": label.text, "primary": label.primary,
                "start": { "line": start.line, "column": start.column },
                "end": { "line": end.line, "column": end.column },
            }))
        })
        .collect();
    serde_json::json!({
        "severity": format!("{:?}", diagnostic.severity).to_lowercase(),
        "code": diagnostic.code.to_string(),
        "message": diagnostic.message,
        "labels": labels,
        "helps": diagnostic.helps,
        "notes": diagnostic.notes,
    })
}
