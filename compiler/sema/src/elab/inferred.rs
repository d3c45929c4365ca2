//! Layouts that follow from the written ones: runs [inference](tvmc_ir::tile::inference) over a finished kernel and says in terms of the source why
//! a `view` has none.
//!
//! ```text
//! let a: i6[16, 8] @ L = x[..];
//! let b = (a + 1) as i6 wrap;           follows: L
//! let c = view(b, u8 @ M);              reads b as L
//! ```

use super::pins::drawn;
use super::{Elab, shape_text};
use tvmc_ir::tile::inference::{Candidate, Refusal, infer};
use tvmc_ir::tile::{Kernel, TileType, Value, check_view};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// A `view` of a tile whose layout is not written.
pub(crate) struct OpenView {
    /// The type of what is viewed, as the source has it.
    pub ty: TileType,
    /// The operation's operand: the same, or its bits.
    pub bits: Value,
    /// The operation's result.
    pub result: Value,
    /// What the result is read as.
    pub dtype: DType,
    /// Where the operand stands.
    pub at: Span,
    /// Where the result's layout is written.
    pub written: Span,
}

impl Elab<'_, '_> {
    /// Infers the layouts of a kernel; reports each `view` that has none, or two, or no fitting one.
    pub fn infer_layouts(&mut self, kernel: &mut Kernel, spans: &[Span]) {
        let views = std::mem::take(&mut self.open_views);
        if let Err(refusals) = infer(kernel) {
            for refusal in refusals {
                match refusal {
                    Refusal::NoLayout { view, .. } => {
                        if let Some(open) = views.iter().find(|open| open.result == view) {
                            self.no_layout(open);
                        }
                    }
                    Refusal::TwoLayouts { view, candidates, .. } => {
                        if let Some(open) = views.iter().find(|open| open.result == view) {
                            self.two_layouts(kernel, open, &candidates, spans);
                        }
                    }
                }
            }
            return;
        }
        for open in &views {
            let (Some(from), Some(to)) = (kernel.layout(open.bits), kernel.layout(open.result)) else {
                continue;
            };
            if let Err(error) = check_view((open.ty.dtype, from), (open.dtype, to)) {
                self.refuse_view(&error, (&open.ty, from), (open.dtype, to), (open.at, open.written));
            }
        }
    }

    fn no_layout(&mut self, open: &OpenView) {
        self.report(
            Diagnostic::error(Code::LayoutNotWritten, "`view` needs the layout of its operand")
                .at(open.at, format!("a {}, which no written layout reaches", open.ty))
                .help("pin it where the tile is made, `let t: T[..] @ L = ..;`, or write `view(relayout(t, L), ..)`"),
        );
    }

    fn two_layouts(&mut self, kernel: &Kernel, open: &OpenView, found: &[Candidate; 2], spans: &[Span]) {
        let [first, second] = found;
        let mut d = Diagnostic::error(Code::LayoutConflict, "two layouts reach the operand of this `view`")
            .at(open.at, format!("a {}, whose bits depend on which it is", open.ty));
        for candidate in found {
            let written = kernel.pins.get(&candidate.anchor);
            let at = self.pinned_at.get(&candidate.anchor).copied().or_else(|| {
                let place = &written?.location;
                self.pinned_at.values().find(|span| self.cx.lib.location(**span) == *place).copied()
            });
            let at = at.or_else(|| spans.get(candidate.anchor.index()).copied());
            if let (Some(at), Some(pin)) = (at, written) {
                d = d.also(at, format!("{} here", pin.layout));
            }
        }
        if let Some((lane, slot)) = first.layout.first_difference(&second.layout) {
            d = d.note(format!(
                "lane {lane} holds in slot {slot} element {} of the first, element {} of the second",
                shape_text(&first.layout.element(lane, slot)),
                shape_text(&second.layout.element(lane, slot))
            ));
        }
        let d =
            d.note(drawn("from the first:", &first.layout)).note(drawn("from the second:", &second.layout));
        self.report(d.help(format!("`view(relayout(t, {}), ..)` takes the first", first.layout)));
    }
}
