//! Layout expressions of the language to layouts of the algebra, with a place for every refusal.

use crate::host::Cx;
use std::fmt::Display;
use tvmc_lang::ast::Ident;
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::layout::{FACTORS, Layout, LayoutError, SHARED_FACTORS, SharedLayout};

/// The factors of an expression: name, numbers and place of each.
pub(crate) type Factors = [(Ident, Vec<u32>, Span)];

/// A layout of a tile over lanes and slots: `local(2, 1).spatial(8, 4)`.
pub(crate) fn build(cx: &mut Cx, factors: &Factors) -> Option<Layout> {
    let first = Layout::local(&[]).expect("a layout of one place");
    let other = (SHARED_FACTORS.as_slice(), "orders a `shared` tensor; a tile is spread over lanes");
    folded(cx, factors, first, (&FACTORS, other), Layout::then)
}

/// An order of a block-shared tensor: `shared(32, 32).swizzle(0, 5, 5)`.
pub(crate) fn build_shared(cx: &mut Cx, factors: &Factors) -> Option<SharedLayout> {
    let first = SharedLayout::row_major(&[]).expect("a layout of one place");
    let other = (FACTORS.as_slice(), "spreads a tile over lanes; a `shared` tensor has an order in memory");
    folded(cx, factors, first, (&SHARED_FACTORS, other), SharedLayout::then)
}

/// Applies factors one after the other. `known` are those there are; of the other kind of layout it is said what they are for.
fn folded<L: Display>(
    cx: &mut Cx,
    factors: &Factors,
    mut layout: L,
    (known, (others, purpose)): (&[&str], (&[&str], &str)),
    then: impl Fn(&L, &str, &[u32]) -> Result<L, LayoutError>,
) -> Option<L> {
    for (name, numbers, at) in factors {
        if !known.contains(&name.name.as_str()) {
            let d =
                Diagnostic::error(Code::UnknownLayout, format!("there is no layout factor `{}`", name.name))
                    .at(name.span, "not known");
            let d = if others.contains(&name.name.as_str()) {
                d.note(format!("`{}` {purpose}", name.name))
            } else {
                d
            };
            cx.diags.push(match closest(&name.name, known.iter().copied()) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help(format!("the factors are: {}", known.join(", "))),
            });
            return None;
        }
        layout = match then(&layout, &name.name, numbers) {
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
