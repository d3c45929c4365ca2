//! How messages look: colour and form, set once from the command line.
//!
//! Everything said to the user that is not data goes to stderr through this module, so that with `--error-format json` stderr is JSON
//! objects, one a line, and nothing else. All have `severity` (`error`, `warning`, `note`), `code` (null where there is none), `message`,
//! `labels` and `help`:
//!
//! ```text
//! {"severity":"error","code":"E0201","message":"there is no `a` here","help":["did you mean `b`?"],"notes":[],
//!  "labels":[{"file":"x.tile","line":3,"column":9,"end_line":3,"end_column":10,"start":41,"end":42,"primary":true,"text":""}]}
//! ```
//!
//! Lines and columns count from 1, columns in characters; `start` and `end` are byte offsets. A stderr that nobody reads is no error.

use crate::cli::{ColorChoice, ErrorFormat};
use crate::commands::Failure;
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_lang::source::SourceMap;

static STYLE: OnceLock<(bool, ErrorFormat)> = OnceLock::new();

/// Whether messages are coloured.
pub fn colored(color: ColorChoice) -> bool {
    match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

/// Sets the style; the first call counts.
pub fn configure(color: ColorChoice, format: ErrorFormat) {
    let _ = STYLE.set((colored(color), format));
}

fn style() -> (bool, ErrorFormat) {
    STYLE.get().copied().unwrap_or((false, ErrorFormat::Human))
}

/// Whether messages go to people, not to a program: then progress may be shown on a terminal.
pub fn for_people() -> bool {
    style().1 == ErrorFormat::Human && CAPTURED.with(|said| said.borrow().is_none())
}

thread_local! {
    /// What this thread said since [`captured`] began; none while nobody listens.
    static CAPTURED: RefCell<Option<Said>> = const { RefCell::new(None) };
}

/// What was said instead of going to stderr.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// Every message, as it would have been printed.
    pub text: String,
    /// Whether a diagnostic among them is an error.
    pub errors: bool,
}

/// Runs something whose messages are not for stderr: gives them back instead. Captures may nest; the inner one hears what is said in it.
pub fn captured<T>(run: impl FnOnce() -> T) -> (T, Said) {
    let outer = CAPTURED.with(|said| said.replace(Some(Said::default())));
    let result = run();
    let said = CAPTURED.with(|said| said.replace(outer));
    (result, said.unwrap_or_default())
}

/// Tells a listener; gives whether there is one.
fn heard(hear: impl FnOnce(&mut Said)) -> bool {
    CAPTURED.with(|said| said.borrow_mut().as_mut().map(hear).is_some())
}

/// Writes to stderr; nobody is told if that fails, for there is nowhere to tell it.
pub fn tell(text: &str) {
    if heard(|said| said.text.push_str(text)) {
        return;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn plain(severity: &str, message: &str, help: &[String]) -> serde_json::Value {
    serde_json::json!({
        "severity": severity, "code": null, "message": message, "labels": [], "help": help, "notes": [],
    })
}

/// Prints why a command ends, if anything is left to be said.
pub fn failure(failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    let (colored, format) = style();
    let (red, cyan, plain_text) =
        if colored { ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m") } else { ("", "", "") };
    match format {
        ErrorFormat::Json => tell(&format!("{}\n", plain("error", &failure.message, &failure.help))),
        ErrorFormat::Human => {
            let mut text = format!("{red}error{plain_text}: {}\n", failure.message);
            for help in &failure.help {
                text += &format!("{cyan}help{plain_text}: {help}\n");
            }
            tell(&text);
        }
    }
}

/// Says something beside the data: what was loaded, how long it took.
pub fn note(message: &str) {
    match style().1 {
        ErrorFormat::Json => tell(&format!("{}\n", plain("note", message, &[]))),
        ErrorFormat::Human => tell(&format!("{message}\n")),
    }
}

/// Prints diagnostics.
pub fn diagnostics(list: &[Diagnostic], map: &SourceMap) {
    let (colored, format) = style();
    heard(|said| said.errors |= list.iter().any(Diagnostic::is_error));
    for diagnostic in list {
        match format {
            ErrorFormat::Human => tell(&format!("{}\n", render(diagnostic, map, colored))),
            ErrorFormat::Json => tell(&format!("{}\n", json(diagnostic, map))),
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
                "file": source.name(), "line": start.line, "column": start.column,
                "end_line": end.line, "end_column": end.column,
                "start": label.span.start, "end": label.span.end,
                "primary": label.primary, "text": label.text,
            }))
        })
        .collect();
    serde_json::json!({
        "severity": format!("{:?}", diagnostic.severity).to_lowercase(),
        "code": diagnostic.code.to_string(),
        "message": diagnostic.message,
        "labels": labels,
        "help": diagnostic.helps,
        "notes": diagnostic.notes,
    })
}
