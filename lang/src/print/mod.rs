//! Tree to canonical text: the base of `tvmc fmt`.
//!
//! Post-conditions, for a tree without errors and the text it was parsed from:
//! * parsing the result gives the same tree, spans aside;
//! * every comment is kept: above or behind the line it was at; one in the middle of a line moves below it;
//! * numbers and strings keep their spelling, single empty lines are kept;
//! * printing the result again changes nothing.
//!
//! Style: two spaces a level, a kernel's heads on lines of their own, parentheses where precedence needs
//! them or the author put them around an operand. Lines
//! are not wrapped, except parameter lists and tables past [`WIDTH`] columns.
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
mod stmt;

use crate::ast::*;
use crate::span::Span;

/// Columns past which parameter lists and tables are broken into lines.
pub const WIDTH: usize = 140;

/// Prints a file. `text` is the source the tree was parsed from.
pub fn print(file: &File, text: &str) -> String {
    let mut printer =
        Printer { file, text, out: String::new(), indent: 0, comment: 0, last_end: 0, fresh: true };
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

struct Printer<'a> {
    file: &'a File,
    text: &'a str,
    out: String,
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

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// Prints a list with a separator.
    fn list<T>(&mut self, items: &[T], separator: &str, mut each: impl FnMut(&mut Self, &T)) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(separator);
            }
            each(self, item);
        }
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

    // ---- items ----

    fn item(&mut self, item: &Item) {
        match &item.kind {
            ItemKind::Use(path) => {
                self.push("use ");
                match path {
                    UsePath::Library(name) => self.push(&name.name),
                    UsePath::File(path) => self.push(self.slice(path.span)),
                }
                self.push(";");
            }
            ItemKind::Const(c) => {
                self.constant(c);
                self.push(";");
            }
            ItemKind::Table(table) => self.table(table),
            ItemKind::Function(function) => {
                self.push("fn ");
                self.push(&function.name.name);
                self.params(&function.params);
                self.push(" -> ");
                self.ty(&function.result);
                self.push(" ");
                self.pure_body(&function.body);
            }
            ItemKind::Kernel(kernel) => self.kernel(kernel),
            ItemKind::Format(format) => {
                self.push("format ");
                self.push(&format.name.name);
                self.push(" ");
                self.braces(item.span, format.members.is_empty(), |p| p.members(&format.members));
            }
            ItemKind::Program(program) => {
                self.push("program ");
                self.push(&program.name.name);
                self.generics(&program.generics);
                self.push(" ");
                self.block(&program.body);
            }
        }
    }

    fn constant(&mut self, c: &Const) {
        self.push("const ");
        self.push(&c.name.name);
        self.push(" = ");
        self.expr(c.value);
    }

    fn table(&mut self, table: &Table) {
        self.push("table ");
        self.push(&table.name.name);
        self.push(": ");
        self.ty(&table.ty);
        self.push(" = ");
        self.table_values(table.values);
        self.push(";");
    }

    fn generics(&mut self, generics: &[Generic]) {
        if generics.is_empty() {
            return;
        }
        self.push("<");
        self.list(generics, ", ", |p, g| {
            p.push(&g.name.name);
            p.push(": ");
            p.push(g.kind.symbol());
        });
        self.push(">");
    }

    fn kernel(&mut self, kernel: &Kernel) {
        self.push("kernel ");
        self.push(&kernel.name.name);
        self.generics(&kernel.generics);
        self.params(&kernel.params);
        if kernel.headers.is_empty() {
            self.push(" ");
        } else {
            let last = kernel.params.last().map_or(kernel.name.span, |p| p.span);
            self.end_line(last.end);
            self.indent += 1;
            for header in &kernel.headers {
                self.fresh = true;
                self.lead(header.span.start, false);
                self.header(&header.kind);
                self.end_line(header.span.end);
            }
            self.indent -= 1;
            self.fresh = true;
            self.lead(kernel.body.span.start, false);
        }
        self.block(&kernel.body);
    }

    fn header(&mut self, header: &HeaderKind) {
        match header {
            HeaderKind::Tune(tunes) => {
                self.push("tune ");
                self.list(tunes, ", ", |p, tune| {
                    p.push(&tune.name.name);
                    p.push(" in {");
                    p.list(&tune.values, ", ", |p, &e| p.expr(e));
                    p.push("}");
                    if let Some(fit) = tune.fit {
                        p.push(" fit ");
                        p.expr(fit);
                    }
                });
            }
            HeaderKind::Const(c) => self.constant(c),
            HeaderKind::Grid(axes) => {
                self.push("grid ");
                self.list(axes, ", ", |p, &e| p.expr(e));
            }
            HeaderKind::Lanes(count) => {
                self.push("lanes ");
                self.expr(*count);
            }
            HeaderKind::Assume(condition) => {
                self.push("assume(");
                self.expr(*condition);
                self.push(")");
            }
        }
    }

    fn params(&mut self, params: &[Param]) {
        let before = self.out.len();
        let column = before - self.out.rfind('\n').map_or(0, |at| at + 1);
        self.push("(");
        self.list(params, ", ", |p, param| p.param(param));
        self.push(")");
        if column + self.out.len() - before > WIDTH && params.len() > 1 {
            self.out.truncate(before);
            self.push("(\n");
            self.indent += 1;
            for param in params {
                self.start_line();
                self.param(param);
                self.push(",\n");
            }
            self.indent -= 1;
            self.start_line();
            self.push(")");
        }
    }

    fn param(&mut self, param: &Param) {
        self.push(&param.name.name);
        self.push(": ");
        self.push(match param.mode {
            Mode::In => "",
            Mode::Out => "out ",
            Mode::InOut => "inout ",
        });
        self.ty(&param.ty);
    }

    // ---- formats ----

    fn members(&mut self, members: &[FormatMember]) {
        for member in members {
            let span = match member {
                FormatMember::Scope { span, .. }
                | FormatMember::Value { span, .. }
                | FormatMember::Encode { span, .. }
                | FormatMember::Error(span) => *span,
                FormatMember::Table(table) => table.span,
            };
            self.lead(span.start, false);
            match member {
                FormatMember::Scope { kind, fields, .. } => {
                    match kind {
                        ScopeKind::Tensor => self.push("per tensor"),
                        ScopeKind::Row => self.push("per row"),
                        ScopeKind::Group(size) => {
                            self.push("group ");
                            self.expr(*size);
                        }
                    }
                    self.push(" ");
                    self.braces(span, fields.is_empty(), |p| p.fields(fields));
                }
                FormatMember::Table(table) => self.table(table),
                FormatMember::Value { index, body, .. } => {
                    self.push("value[");
                    self.push(&index.name);
                    self.push("] ");
                    if body.span == span {
                        self.push("= ");
                        self.expr(body.result);
                        self.push(";");
                    } else {
                        self.pure_body(body);
                    }
                }
                FormatMember::Encode { body, .. } => {
                    self.push("encode ");
                    self.block(body);
                }
                FormatMember::Error(_) => self.push(self.slice(span)),
            }
            self.end_line(span.end);
        }
    }

    fn fields(&mut self, fields: &[FormatField]) {
        for field in fields {
            self.lead(field.span.start, false);
            self.push(&field.name.name);
            self.push(": ");
            self.ty(&field.ty);
            self.push(";");
            self.end_line(field.span.end);
        }
    }

    fn pure_body(&mut self, body: &PureBody) {
        self.braces(body.span, false, |p| {
            for binding in &body.lets {
                p.lead(binding.span.start, false);
                p.binding("let", binding);
                p.end_line(binding.span.end);
            }
            let span = p.file[body.result].span;
            p.lead(span.start, false);
            p.push("return ");
            p.expr(body.result);
            p.push(";");
            p.end_line(span.end);
        });
    }
}
