//! Layout expressions of the language to layouts of the algebra, with a place for every refusal.

use crate::host::Cx;
use tvmc_lang::ast::Ident;
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::layout::{FACTORS, Layout};

/// Folds the factors of `local(2, 1).spatial(8, 4)`: name, numbers and place of each.
pub(crate) fn build(cx: &mut Cx, factors: &[(Ident, Vec<u32>, Span)]) -> Option<Layout> {
    let mut layout = Layout::local(&[]).expect("a layout of one place");
    for (name, numbers, at) in factors {
        if !FACTORS.contains(&name.name.as_str()) {
            let d =
                Diagnostic::error(Code::UnknownLayout, format!("there is no layout factor `{}`", name.name))
                    .at(name.span, "not known");
            cx.diags.push(match closest(&name.name, FACTORS) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help(format!("the factors are: {}", FACTORS.join(", "))),
            });
            return None;
        }
        layout = match layout.then(&name.name, numbers) {
            Ok(layout) => layout,
            Err(error) => {
                cx.diags.push(
                    Diagnostic::error(
                        Code::LayoutInvalid,
                        format!("`{}` cannot be applied here: {error}", name.name),
                    )
                    .at(*at, "refused")
                    .note(format!("the layout so far is {layout}")),
                );
                return None;
            }
        };
    }
    Some(layout)
}
