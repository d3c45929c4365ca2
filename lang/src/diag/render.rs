//! Diagnostics as text for a terminal: source lines with carets, then notes and help.
//!
//! The one place that knows annotate-snippets. Labels that are not of the map (a stale id) are left out, and spans
//! are clamped to their text and to whole characters, so any diagnostic renders.

use super::{Diagnostic, Label, Severity};
use crate::source::{SourceMap, floor_char_boundary};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// Columns to which long source lines are cut.
const WIDTH: usize = 140;

/// Renders one diagnostic, without a final line break. With `color`, ANSI escapes are used.
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group =
        Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code.to_string()));
    let mut shown = Vec::new();
    for label in &diagnostic.labels {
        if shown.contains(&label.span.source) {
            continue;
        }
        shown.push(label.span.source);
        let Some(source) = sources.get(label.span.source) else { continue };
        let labels = diagnostic.labels.iter().filter(|l| l.span.source == label.span.source);
        let snippet = Snippet::source(source.text())
            .path(source.name())
            .annotations(labels.map(|l| annotation(l, source.text())));
        group = group.element(snippet);
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note));
    }
    for help in &diagnostic.helps {
        group = group.element(Level::HELP.message(help));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH).render(&[group])
}

fn annotation<'a>(label: &'a Label, text: &str) -> annotate_snippets::Annotation<'a> {
    let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let annotation = kind.span(clamp(label.span.range(), text));
    if label.text.is_empty() { annotation } else { annotation.label(&label.text) }
}

/// The range cut to the text and to whole characters.
fn clamp(range: Range<usize>, text: &str) -> Range<usize> {
    let start = floor_char_boundary(text, range.start);
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
