//! Matches brackets and cuts a file into items, before the grammar sees it.
//!
//! Post-condition: in the tokens of each item all brackets are matched, and nest at most [`MAX_NESTING`] deep together
//! with the prefix operators before them; the braces of `in { .. }` are told apart ([`Tok::SetOpen`]); nothing of another
//! item is among them. What was missing is put in as a token without width; what was too much is left out; both are
//! reported. So the grammar's stack stays small, and with it the cost of looking through it after an error.
//!
//! Why not leave it to the grammar: a missing `}` would make it take the next kernel for a statement, and every line after
//! it for an error. Here the mistake is found where people find it: by the word `kernel` at the start of a line.
//!
//! Example: `kernel f(x: i32 { a(1; }` becomes `kernel f ( x : i32 ) { a ( 1 ) ; }` with two reports.

use crate::diag::{Code, Diagnostic, closest};
use crate::limits::{MAX_DEEP_TOKENS, MAX_DIAGNOSTICS, MAX_NESTING};
use crate::span::Span;
use crate::token::{Tok, Token};

/// The items of a file.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// At least one token each.
    pub items: Vec<Vec<Token>>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Where one is at bracket depth 0.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Between items.
    Nothing,
    /// An item that ends with `;`.
    Short,
    /// An item that ends with the `}` of its body. A kernel may hold `const` before it.
    Braced { kernel: bool },
    /// Something that begins no item.
    Junk,
}

/// An opening bracket that waits for its partner.
#[derive(Clone, Copy)]
struct Open {
    tok: Tok,
    span: Span,
    /// Prefix operators right before it.
    prefixes: usize,
}

struct State<'t> {
    text: &'t str,
    out: Outline,
    item: Vec<Token>,
    within: Within,
    open: Vec<Open>,
    /// Prefix operators right before the brackets that are open.
    prefixes: usize,
    /// Prefix operators right before the next token.
    run: usize,
    /// Sum of the depths of all tokens so far.
    deep_tokens: usize,
    /// Whether the item holds brackets that nest too deeply; it is then left out.
    too_deep: bool,
    /// Closing braces to pass over, because they belong to blocks that were closed early.
    forgiven: usize,
    /// A matched pair of braces of this item whose lines are indented differently.
    crooked: Option<(Span, Span)>,
}

/// Cuts a file's tokens into items.
pub(crate) fn outline(tokens: &[Token], text: &str) -> Outline {
    let mut state = State {
        text,
        out: Outline::default(),
        item: Vec::new(),
        within: Within::Nothing,
        open: Vec::new(),
        prefixes: 0,
        run: 0,
        deep_tokens: 0,
        too_deep: false,
        forgiven: 0,
        crooked: None,
    };
    for (i, &token) in tokens.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| tokens[i].tok);
        let before2 = i.checked_sub(2).map(|i| tokens[i].tok);
        let named = tokens.get(i + 1).is_some_and(|t| t.tok.is_name());
        let starts = starts_item(token.tok, before, named);
        if !state.open.is_empty() && starts == Start::Certain {
            state.item_inside(token);
        }
        if state.open.is_empty() {
            state.top_level(token, starts);
        }
        state.bracket(token, before, before2);
    }
    let end = tokens.last().map_or(Span::default(), |t| t.span);
    state.unclosed_at(end.end_point(), "the file ends here");
    state.end_item();
    state.out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Begins an item wherever it stands.
    Certain,
    /// Begins an item unless a kernel's head or a block goes on.
    Possible,
    No,
}

fn starts_item(tok: Tok, before: Option<Tok>, named: bool) -> Start {
    match tok {
        Tok::Kernel | Tok::Fn | Tok::Program if named => Start::Certain,
        Tok::Format if named && before != Some(Tok::Colon) => Start::Certain,
        Tok::Kernel | Tok::Fn | Tok::Program | Tok::Use | Tok::Const => Start::Possible,
        Tok::Format if before != Some(Tok::Colon) => Start::Possible,
        Tok::Table if named => Start::Possible,
        _ => Start::No,
    }
}

impl State<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        if self.out.diagnostics.len() <= MAX_DIAGNOSTICS {
            self.out.diagnostics.push(diagnostic);
        }
    }

    /// A token outside all brackets: may begin an item.
    fn top_level(&mut self, token: Token, starts: Start) {
        let in_kernel_head =
            self.within == Within::Braced { kernel: true } && matches!(token.tok, Tok::Const | Tok::Table);
        // `kernel table(..)`: a soft keyword right after `kernel` is its name.
        let is_name = token.tok == Tok::Table && self.item.len() == 1;
        if starts != Start::No && !in_kernel_head && !is_name {
            self.end_item();
            self.within = match token.tok {
                Tok::Use | Tok::Const | Tok::Table => Within::Short,
                tok => Within::Braced { kernel: tok == Tok::Kernel },
            };
        } else if self.within == Within::Nothing && token.tok.closing().is_none() && is_closing(token.tok) {
            // Reported as unmatched.
        } else if self.within == Within::Nothing {
            self.within = Within::Junk;
            self.report(not_an_item(token, &self.text[token.span.range()]));
        }
    }

    /// Follows brackets, and adds the token to the item.
    fn bracket(&mut self, token: Token, before: Option<Tok>, before2: Option<Tok>) {
        match token.tok {
            Tok::BraceOpen => {
                let set = before == Some(Tok::In) || before2 == Some(Tok::Tune);
                self.close_inner(token, |_| false);
                self.open(Token { tok: if set { Tok::SetOpen } else { Tok::BraceOpen }, ..token });
            }
            Tok::ParenOpen | Tok::BracketOpen => self.open(token),
            Tok::Semicolon => {
                self.close_inner(token, |_| false);
                self.item.push(token);
                if self.open.is_empty() && matches!(self.within, Within::Short | Within::Junk) {
                    self.end_item();
                }
            }
            Tok::BraceClose => {
                self.close_inner(token, |_| false);
                self.close(token);
            }
            Tok::ParenClose | Tok::BracketClose => {
                self.close_inner(token, |open| open.tok.closing() == Some(token.tok));
                self.close(token);
            }
            _ => self.item.push(token),
        }
        self.run = if matches!(token.tok, Tok::Minus | Tok::Not | Tok::Tilde) { self.run + 1 } else { 0 };
        let depth = self.open.len() + self.prefixes + self.run;
        self.deep_tokens += depth;
        if depth > MAX_NESTING {
            self.too_deep(token, format!("brackets and operators are nested more than {MAX_NESTING} deep"));
        } else if self.deep_tokens > MAX_DEEP_TOKENS {
            self.too_deep(token, "too many tokens are nested too deeply in this file".to_owned());
        }
    }

    fn too_deep(&mut self, token: Token, message: String) {
        if !self.too_deep {
            self.too_deep = true;
            self.report(
                Diagnostic::error(Code::NestingTooDeep, message)
                    .at(token.span, "too deep here")
                    .help("give inner parts a name with `let`"),
            );
        }
    }

    fn pop(&mut self) -> Option<Open> {
        let open = self.open.pop()?;
        self.prefixes -= open.prefixes;
        Some(open)
    }

    fn open(&mut self, token: Token) {
        self.open.push(Open { tok: token.tok, span: token.span, prefixes: self.run });
        self.prefixes += self.run;
        self.item.push(token);
    }

    /// Closes the `(` and `[` that are open inside the innermost brace, down to the first for which `until` holds. If it
    /// holds for none of them although one is asked for by a closing bracket, that bracket is the stray one.
    fn close_inner(&mut self, token: Token, until: impl Fn(&Open) -> bool) {
        let inner =
            self.open.iter().rev().take_while(|o| matches!(o.tok, Tok::ParenOpen | Tok::BracketOpen)).count();
        let first = self.open.len() - inner;
        let partner = self.open[first..].iter().rposition(&until).map(|at| first + at);
        let keep = match (token.tok, partner) {
            (Tok::ParenClose | Tok::BracketClose, None) => return,
            (_, Some(at)) => at + 1,
            (_, None) => first,
        };
        if let Some(innermost) = self.open[keep..].last().copied() {
            self.report(
                Diagnostic::error(
                    Code::UnclosedDelimiter,
                    format!("this `{}` is never closed", self.word(innermost.span)),
                )
                .at(innermost.span, "opened here")
                .also(token.span, format!("should be closed before this `{}`", self.word(token.span))),
            );
        }
        let at = self.item.last().map_or(token.span, |t| t.span).end_point();
        while self.open.len() > keep {
            self.supply(at);
        }
    }

    /// Puts in the partner of the innermost open bracket.
    fn supply(&mut self, at: Span) {
        if let Some(tok) = self.pop().and_then(|open| open.tok.closing()) {
            self.item.push(Token { tok, span: at, first_on_line: false });
        }
    }

    /// A closing bracket.
    fn close(&mut self, token: Token) {
        let Some(open) = self.open.last().copied().filter(|open| partners(open.tok, token.tok)) else {
            if token.tok == Tok::BraceClose && self.forgiven > 0 {
                self.forgiven -= 1;
                return;
            }
            let mut d = Diagnostic::error(
                Code::UnmatchedClosing,
                format!("this `{}` closes nothing", self.word(token.span)),
            )
            .at(token.span, "no partner");
            if let Some(open) = self.open.last() {
                d = d.also(open.span, format!("only this `{}` is open", self.word(open.span)));
            }
            self.report(d.help("remove it, or add the opening one"));
            return;
        };
        self.pop();
        let tok = open.tok.closing().unwrap_or(token.tok);
        self.item.push(Token { tok, ..token });
        if tok == Tok::BraceClose {
            if token.first_on_line
                && self.crooked.is_none()
                && self.indent(open.span) != self.indent(token.span)
            {
                self.crooked = Some((open.span, token.span));
            }
            if self.open.is_empty() && matches!(self.within, Within::Braced { .. } | Within::Junk) {
                self.end_item();
            }
        }
    }

    /// The word that begins an item stands inside brackets.
    fn item_inside(&mut self, token: Token) {
        let keyword = self.word(token.span).to_owned();
        if token.first_on_line && self.indent(token.span) == 0 {
            self.unclosed_at(token.span, "before this item begins");
        } else {
            let open = self.open.last().map_or(token.span, |open| open.span);
            self.forgiven += self.open.iter().filter(|o| o.tok == Tok::BraceOpen).count();
            self.report(
                Diagnostic::error(Code::NestedItem, format!("a `{keyword}` cannot stand inside a block"))
                    .at(token.span, "move it to the top of the file")
                    .also(open, "inside this; or is its closing bracket missing?"),
            );
            let at = self.item.last().map_or(token.span, |t| t.span).end_point();
            while !self.open.is_empty() {
                self.supply(at);
            }
        }
        self.end_item();
    }

    /// Reports and closes whatever is still open.
    fn unclosed_at(&mut self, span: Span, why: &str) {
        let Some(innermost) = self.open.last().copied() else { return };
        let mut d = Diagnostic::error(
            Code::UnclosedDelimiter,
            format!("this `{}` is never closed", self.word(innermost.span)),
        )
        .at(innermost.span, "opened here")
        .also(span, why);
        if let Some((open, close)) = self.crooked {
            d = d
                .also(open, "perhaps this one lacks its partner")
                .also(close, "since this closes it, yet is indented differently");
        }
        self.report(d);
        let at = self.item.last().map_or(span, |t| t.span).end_point();
        while !self.open.is_empty() {
            self.supply(at);
        }
    }

    fn end_item(&mut self) {
        let tokens = std::mem::take(&mut self.item);
        let whole = matches!(self.within, Within::Short | Within::Braced { .. }) && !self.too_deep;
        if whole && !tokens.is_empty() {
            self.out.items.push(tokens);
        }
        self.within = Within::Nothing;
        self.too_deep = false;
        self.crooked = None;
    }

    fn word(&self, span: Span) -> &str {
        &self.text[span.range()]
    }

    /// White space before the first token of the line.
    fn indent(&self, span: Span) -> usize {
        let before = &self.text[..span.start as usize];
        let line = &self.text[before.rfind('\n').map_or(0, |at| at + 1)..];
        line.len() - line.trim_start_matches([' ', '\t']).len()
    }
}

fn is_closing(tok: Tok) -> bool {
    matches!(tok, Tok::ParenClose | Tok::BracketClose | Tok::BraceClose)
}

/// Whether the text of the closing bracket fits the opening one.
fn partners(open: Tok, close: Tok) -> bool {
    match open {
        Tok::SetOpen => close == Tok::BraceClose,
        open => open.closing() == Some(close),
    }
}

fn not_an_item(token: Token, text: &str) -> Diagnostic {
    let d = Diagnostic::error(Code::NotAnItem, format!("`{text}` begins no item"))
        .at(token.span, "expected `kernel`, `fn`, `format`, `program`, `const`, `table` or `use`");
    let alias = match text {
        "def" | "func" | "function" | "fun" => Some("fn"),
        "import" | "include" | "using" | "mod" => Some("use"),
        "struct" | "type" => Some("format"),
        "model" | "module" | "main" => Some("program"),
        _ => closest(text, ["kernel", "fn", "format", "program", "const", "table", "use"]),
    };
    match alias {
        Some(alias) if token.tok.is_name() => d.help(format!("did you mean `{alias}`?")),
        _ if token.tok == Tok::Semicolon => d.help("remove it: no `;` stands after a block"),
        _ if token.tok.starts_statement() => d.help("statements stand inside a kernel or program"),
        _ => d,
    }
}
