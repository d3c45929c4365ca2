//! Items as lines: a kernel's heads and a format's members each on their own.

use super::lines::Piece;
use super::{Brackets, Printer, Style};
use crate::ast::*;

impl<'a> Printer<'a> {
    pub(super) fn item(&mut self, item: &'a Item) {
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
                self.params(&function.name, &function.params);
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

    pub(super) fn constant(&mut self, c: &'a Const) {
        self.push("const ");
        self.push(&c.name.name);
        self.push(" =");
        self.value(c.value);
    }

    fn table(&mut self, table: &'a Table) {
        self.push("table ");
        self.push(&table.name.name);
        self.push(": ");
        self.ty(&table.ty);
        self.push(" = ");
        self.expr(table.values);
        self.push(";");
    }

    fn generics(&mut self, generics: &'a [Generic]) {
        if generics.is_empty() {
            return;
        }
        self.push("<");
        self.list(generics, ", ", |p, g| {
            p.push(&g.name.name);
            p.push(": ");
            p.push(g.kind.symbol());
            if let Some(default) = &g.default {
                p.push(" = ");
                p.push(&default.ident().name);
            }
        });
        self.push(">");
    }

    fn kernel(&mut self, kernel: &'a Kernel) {
        self.push("kernel ");
        self.push(&kernel.name.name);
        self.generics(&kernel.generics);
        self.params(&kernel.name, &kernel.params);
        if kernel.headers.is_empty() {
            self.push(" ");
        } else {
            let last = self.closing(kernel.name.span.end);
            self.end_line(last + 1);
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

    fn header(&mut self, header: &'a HeaderKind) {
        match header {
            HeaderKind::Tune(tunes) => {
                self.push("tune ");
                let start = |_: &File, tune: &Tune| tune.span.start;
                self.open_list(tunes, start, |p, tune| p.tune(tune));
            }
            HeaderKind::Const(c) => self.constant(c),
            HeaderKind::Grid(axes) => {
                self.push("grid ");
                self.open_list(axes, |file, &e| file[e].span.start, |p, &e| p.expr(e));
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

    fn tune(&mut self, tune: &'a Tune) {
        self.push(&tune.name.name);
        self.push(" in ");
        let close = self.closing(tune.name.span.end);
        let start = |file: &File, &e: &ExprId| file[e].span.start;
        self.bracketed(
            Brackets { pair: ("{", "}"), close, style: Style::Compact, ending: None },
            &tune.values,
            start,
            |p, &e| p.expr(e),
        );
        if let Some(fit) = tune.fit {
            self.push(" fit ");
            self.expr(fit);
        }
    }

    fn params(&mut self, name: &Ident, params: &'a [Param]) {
        let close = self.closing(name.span.end);
        let start = |_: &File, param: &Param| param.span.start;
        self.bracketed(
            Brackets { pair: ("(", ")"), close, style: Style::Each, ending: None },
            params,
            start,
            |p, param| p.param(param),
        );
    }

    fn param(&mut self, param: &'a Param) {
        self.push(&param.name.name);
        self.push(": ");
        self.push(match param.mode {
            Mode::In => "",
            Mode::Out => "out ",
            Mode::InOut => "inout ",
        });
        self.ty(&param.ty);
    }

    fn members(&mut self, members: &'a [FormatMember]) {
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
                    self.push("]");
                    if body.span == span {
                        self.push(" =");
                        self.value(body.result);
                        self.push(";");
                    } else {
                        self.push(" ");
                        self.pure_body(body);
                    }
                }
                FormatMember::Encode { of, body, .. } => {
                    self.push(match of {
                        EncodeOf::Groups => "encode ",
                        EncodeOf::Tensor => "encode per tensor ",
                    });
                    self.block(body);
                }
                FormatMember::Error(_) => self.push(self.slice(span)),
            }
            self.end_line(span.end);
        }
    }

    fn fields(&mut self, fields: &'a [FormatField]) {
        for field in fields {
            self.lead(field.span.start, false);
            self.push(&field.name.name);
            self.push(": ");
            self.ty(&field.ty);
            self.push(";");
            self.end_line(field.span.end);
        }
    }

    fn pure_body(&mut self, body: &'a PureBody) {
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
            p.end_line(p.behind_brackets(span.end));
        });
    }

    /// Behind the brackets that close at a source offset: the span of an expression leaves out those around it.
    fn behind_brackets(&self, end: u32) -> u32 {
        let rest = self.text.get(end as usize..).unwrap_or_default();
        let closing = rest.find(|c: char| !c.is_whitespace() && c != ')').map_or(rest, |at| &rest[..at]);
        end + closing.rfind(')').map_or(0, |at| at as u32 + 1)
    }

    /// What stands behind a `=`. What ends in a list is cut there; anything else goes to the next line as a whole if it doesn't fit.
    pub(super) fn value(&mut self, id: ExprId) {
        let file = self.file;
        let start = file[id].span.start;
        let commented = file.comments.get(self.comment).is_some_and(|c| c.span.end <= start);
        let ends_in_a_list = match file[id].kind {
            ExprKind::Call { .. }
            | ExprKind::Method { .. }
            | ExprKind::Index { .. }
            | ExprKind::Zeros(_)
            | ExprKind::Shared(_)
            | ExprKind::Buffer(_)
            | ExprKind::List(_) => true,
            ExprKind::Int(_)
            | ExprKind::Float { .. }
            | ExprKind::Bool(_)
            | ExprKind::Name(_)
            | ExprKind::Unary { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Cast { .. }
            | ExprKind::Field { .. }
            | ExprKind::Error => false,
        };
        if ends_in_a_list && !commented {
            self.push(" ");
            self.expr(id);
            return;
        }
        self.group(|p| {
            p.comments_inside(start);
            p.line.push(Piece::Break(" "));
            p.chain_or_expr(id);
        });
    }
}
