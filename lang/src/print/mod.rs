//! Tree to canonical text: the base of `tvmc fmt`.
//!
//! Post-conditions, for a tree without errors and the text it was parsed from:
//! * parsing the result gives the same tree, spans aside;
//! * every comment is kept at its place: above or behind the line, list item or operand it was at; one in the middle of anything
//!   else moves to the next such place;
//! * numbers and strings keep their spelling, single empty lines are kept;
//! * printing the result again changes nothing.
//!
//! Style: two spaces a level, a kernel's heads on lines of their own, parentheses where precedence needs them or the author put them
//! around an operand. A line is at most [`WIDTH`] columns unless one of its words is longer, or it is a comment. Long lines are cut at the
//! loosest place: lists one item a line (arguments and indices first try one line of their own, tables are filled), chains of an operator
//! before the operator.
//!
//! ```
//! let text = "fn f( x:f32 )->f32{ return ((x*2.0)+(1.0)) ; } // twice and one";
//! let parsed = tvmc_lang::parse(Default::default(), text);
//! assert_eq!(
//!     tvmc_lang::print::print(&parsed.file, text),
//!     "fn f(x: f32) -> f32 {\n  return (x * 2.0) + 1.0;\n} // twice and one\n",
//! );
//! ```

mod expr;
mod item;
mod lines;
mod stmt;

use crate::ast::*;
use crate::span::Span;
use crate::token::Tok;
use lines::{Group, Piece};

/// Columns of a line.
pub const WIDTH: usize = 100;

/// Prints a file. `text` is the source the tree was parsed from.
pub fn print(file: &File, text: &str) -> String {
    let mut printer = Printer {
        file,
        text,
        brackets: brackets(file, text),
        out: String::new(),
        line: Vec::new(),
        indent: 0,
        comment: 0,
        last_end: 0,
        fresh: true,
    };
    let mut previous: Option<&Item> = None;
    for item in &file.items {
        let apart = previous.is_some_and(|p| !same_run(&p.kind, &item.kind));
        printer.lead(item.span.start, apart);
        printer.item(item);
        printer.end_line(item.span.end);
        previous = Some(item);
    }
    printer.comments_before(text.len() as u32, false);
    printer.out
}

/// Whether two neighbours may stand without an empty line between.
fn same_run(a: &ItemKind, b: &ItemKind) -> bool {
    matches!(
        (a, b),
        (ItemKind::Use(_), ItemKind::Use(_))
            | (ItemKind::Const(_), ItemKind::Const(_))
            | (ItemKind::Table(_), ItemKind::Table(_))
    )
}

/// Where each opening bracket and its closing one are, by the opening one.
fn brackets(file: &File, text: &str) -> Vec<(u32, u32)> {
    let mut open: Vec<(usize, Tok)> = Vec::new();
    let mut pairs = Vec::new();
    for token in crate::lexer::lex(file.source, text).tokens {
        if let Some(closing) = token.tok.closing() {
            open.push((pairs.len(), closing));
            pairs.push((token.span.start, token.span.start));
        } else if let Some(&(at, closing)) = open.last()
            && closing == token.tok
        {
            open.pop();
            pairs[at].1 = token.span.start;
        }
    }
    pairs
}

/// How a list between brackets is broken into lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// All items on one line of their own if they fit there, else each on its own.
    Compact,
    /// Each item on its own line.
    Each,
    /// As many items a line as fit.
    Fill,
    /// Not broken itself: its only item is.
    Hug,
}

/// What stands around a list. `close` is the offset of the closing bracket, `ending` an `else` value before it.
struct Brackets {
    pair: (&'static str, &'static str),
    close: u32,
    style: Style,
    ending: Option<ExprId>,
}

struct Printer<'a> {
    file: &'a File,
    text: &'a str,
    /// Opening and closing offsets of all brackets, in order of the opening ones.
    brackets: Vec<(u32, u32)>,
    out: String,
    /// The logical line being made; its indentation is in `out`.
    line: Vec<Piece<'a>>,
    indent: usize,
    /// Index of the first comment not yet printed.
    comment: usize,
    /// Source offset up to which the printed lines go.
    last_end: u32,
    /// Whether nothing was printed yet at this level, so that no empty line is kept.
    fresh: bool,
}

impl<'a> Printer<'a> {
    // ---- lines ----

    /// Prints the comments that stand before a source offset, each on its own line.
    fn comments_before(&mut self, offset: u32, mut apart: bool) -> bool {
        while let Some(comment) = self.file.comments.get(self.comment).filter(|c| c.span.end <= offset) {
            self.gap(comment.span.start, std::mem::take(&mut apart));
            self.start_line();
            self.out.push_str(self.slice(comment.span).trim_end());
            self.out.push('\n');
            self.last_end = self.last_end.max(comment.span.end);
            self.comment += 1;
        }
        apart
    }

    /// Begins a line for what stands at a source offset: comments above it, an empty line if the source has one or if
    /// `apart` asks for it, the indentation.
    fn lead(&mut self, start: u32, apart: bool) {
        let apart = self.comments_before(start, apart);
        self.gap(start, apart);
        self.start_line();
    }

    fn gap(&mut self, start: u32, apart: bool) {
        let between = self.text.get(self.last_end as usize..start as usize).unwrap_or_default();
        if !self.fresh && (apart || between.matches('\n').count() > 1) {
            self.out.push('\n');
        }
        self.fresh = false;
    }

    fn start_line(&mut self) {
        self.out.extend(std::iter::repeat_n("  ", self.indent));
    }

    /// Ends the line of what ends at a source offset, with the comment that stands behind it.
    fn end_line(&mut self, end: u32) {
        let line = std::mem::take(&mut self.line);
        lines::layout(&line, self.indent, &mut self.out);
        self.last_end = self.last_end.max(end);
        if let Some(comment) = self.file.comments.get(self.comment) {
            let between = self.text.get(end as usize..comment.span.start as usize);
            // Of the code behind it only its `;`, `,` or closing brackets may come before the comment.
            if between.is_some_and(|b| b.chars().all(|c| matches!(c, ' ' | '\t' | ';' | ',' | ')'))) {
                self.out.push(' ');
                self.out.push_str(self.slice(comment.span).trim_end());
                self.last_end = self.last_end.max(comment.span.end);
                self.comment += 1;
            }
        }
        self.out.push('\n');
    }

    fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.range()).unwrap_or_default()
    }

    // ---- pieces of a line ----

    fn push(&mut self, text: &'a str) {
        self.line.push(Piece::Text(text));
    }

    /// A part of the line that is one level deeper where it is broken.
    fn group(&mut self, inside: impl FnOnce(&mut Self)) {
        self.line.extend([Piece::Open(Group::Whole), Piece::Indent]);
        inside(self);
        self.line.extend([Piece::Dedent, Piece::Close]);
    }

    /// A part between parentheses that goes to lines of its own if it does not fit.
    fn parenthesised_group(&mut self, inside: impl FnOnce(&mut Self)) {
        self.line.extend([Piece::Open(Group::Whole), Piece::Indent, Piece::Break("")]);
        inside(self);
        self.line.extend([Piece::Dedent, Piece::Break(""), Piece::Close]);
    }

    /// The comments before a source offset, inside the line: the caller goes on with a break.
    fn comments_inside(&mut self, offset: u32) {
        while let Some(comment) = self.file.comments.get(self.comment).filter(|c| c.span.end <= offset) {
            let before = self.text.get(..comment.span.start as usize).unwrap_or_default();
            let alone = before[before.rfind('\n').map_or(0, |at| at + 1)..].trim().is_empty();
            self.line.push(Piece::Comment { text: self.slice(comment.span).trim_end(), alone });
            self.last_end = self.last_end.max(comment.span.end);
            self.comment += 1;
        }
    }

    /// Where the first bracket that opens at or after a source offset closes.
    fn closing(&self, offset: u32) -> u32 {
        let at = self.brackets.partition_point(|&(open, _)| open < offset);
        self.brackets.get(at).map_or(offset, |&(_, close)| close)
    }

    /// Prints a list with a separator, never broken by itself.
    fn list<T>(&mut self, items: &'a [T], separator: &'static str, mut each: impl FnMut(&mut Self, &'a T)) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(separator);
            }
            each(self, item);
        }
    }

    /// Prints a list behind a keyword: broken after its commas.
    fn open_list<T>(
        &mut self,
        items: &'a [T],
        start: impl Fn(&File, &T) -> u32,
        mut each: impl FnMut(&mut Self, &'a T),
    ) {
        self.group(|p| {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    p.push(",");
                    p.comments_inside(start(p.file, item));
                    p.line.push(Piece::Break(" "));
                }
                each(p, item);
            }
        });
    }

    /// Prints a list between brackets.
    fn bracketed<T>(
        &mut self,
        Brackets { pair: brackets, close, style, ending }: Brackets,
        items: &'a [T],
        start: impl Fn(&File, &T) -> u32,
        mut each: impl FnMut(&mut Self, &'a T),
    ) {
        self.push(brackets.0);
        if items.is_empty() || style == Style::Hug {
            self.list(items, ", ", each);
            self.push(brackets.1);
            return;
        }
        self.line.extend([Piece::Open(Group::Whole), Piece::Indent]);
        self.comments_inside(start(self.file, &items[0]));
        self.line.push(Piece::Break(""));
        match style {
            Style::Compact => self.line.push(Piece::Open(Group::Whole)),
            Style::Fill => self.line.push(Piece::Open(Group::Fill)),
            Style::Each | Style::Hug => {}
        }
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(",");
                self.comments_inside(start(self.file, item));
                self.line.push(Piece::Break(" "));
            }
            each(self, item);
        }
        if let Some(ending) = ending {
            self.comments_inside(self.file[ending].span.start);
            self.line.push(Piece::Break(" "));
            self.push("else ");
            self.expr(ending);
            if style == Style::Fill {
                self.line.push(Piece::Close);
            }
        } else {
            // The comma of a filled list is the outer group's: it is there if that is broken.
            if style == Style::Fill {
                self.line.push(Piece::Close);
            }
            self.line.push(Piece::IfBroken(","));
        }
        self.comments_inside(close);
        if style == Style::Compact {
            self.line.push(Piece::Close);
        }
        self.line.extend([Piece::Dedent, Piece::Break(""), Piece::Close]);
        self.push(brackets.1);
    }

    /// `{`, the lines inside, `}`. `span` covers the braces, or ends with the closing one.
    fn braces(&mut self, span: Span, is_empty: bool, lines: impl FnOnce(&mut Self)) {
        let close = span.end.saturating_sub(1);
        let comment_inside = self.file.comments.get(self.comment).is_some_and(|c| c.span.end <= close);
        if is_empty && !comment_inside {
            self.push("{}");
            return;
        }
        self.push("{");
        let open = self
            .text
            .get(span.range())
            .and_then(|t| t.find('{'))
            .map_or(span.start, |at| span.start + at as u32);
        self.end_line(open + 1);
        self.indent += 1;
        self.fresh = true;
        lines(self);
        self.comments_before(close, false);
        self.indent -= 1;
        self.fresh = false;
        self.start_line();
        self.push("}");
        self.last_end = self.last_end.max(span.end);
    }
}
