//! The printer on long lines and on comments in every place: same tree, same comments, idempotent, within the width.

mod common;

use common::{folder, formatted};
use proptest::prelude::*;
use tvmc_lang::lexer::lex;
use tvmc_lang::print::WIDTH;

#[test]
fn long_lines_are_cut_at_the_loosest_place() {
    let text = "\
kernel long_one<W: format>(first_input: f32[M, K], second_input: W[N, K], the_output: out f32[M, N], n: i32) {
  let short = a + b;
  let sum = first_operand_of_the_sum * second_operand + third_operand_of_the_sum * fourth_operand - fifth;
  let call = where(column.unsqueeze(0) <= row.unsqueeze(1), dot(query, keys[g, .., c +: BC]), -infinity);
  let nested = exp(where(column.unsqueeze(0) <= row.unsqueeze(1), dot(query, keys[g, .., c +: BC]), -infinity));
  let many = function(argument_number_one, argument_number_two, argument_number_three, argument_number_four, five);
  the_output[block[0] * BLOCK_M +: BLOCK_M, block[1] * BLOCK_N +: BLOCK_N] = accumulator_of_the_block as f32;
  if first_condition_holds(x) && second_condition_holds(x) || third_condition_holds(x) && the_last_one(x) {
    sync();
  }
  print(\"a text that is long: {} {} {}\", the_first_value_to_print, the_second_value_to_print, third);
}
";
    let expected = "\
kernel long_one<W: format>(
  first_input: f32[M, K],
  second_input: W[N, K],
  the_output: out f32[M, N],
  n: i32,
) {
  let short = a + b;
  let sum =
    first_operand_of_the_sum * second_operand + third_operand_of_the_sum * fourth_operand - fifth;
  let call = where(
    column.unsqueeze(0) <= row.unsqueeze(1), dot(query, keys[g, .., c +: BC]), -infinity
  );
  let nested = exp(where(
    column.unsqueeze(0) <= row.unsqueeze(1), dot(query, keys[g, .., c +: BC]), -infinity
  ));
  let many = function(
    argument_number_one, argument_number_two, argument_number_three, argument_number_four, five
  );
  the_output[block[0] * BLOCK_M +: BLOCK_M, block[1] * BLOCK_N +: BLOCK_N] =
    accumulator_of_the_block as f32;
  if first_condition_holds(x) && second_condition_holds(x)
    || third_condition_holds(x) && the_last_one(x) {
    sync();
  }
  print(
    \"a text that is long: {} {} {}\",
    the_first_value_to_print,
    the_second_value_to_print,
    third
  );
}
";
    similar(&formatted("long.tile", text), expected);
}

#[test]
fn comments_stay_where_they_are() {
    let text = "\
/// Docs.
kernel k( // the arguments
  x: f32[M], // in

  // about y
  y: out f32[M], // out
  // nothing more
)
  tune A in {1}, // the first
    B in {2}
  grid 1 // one block
{
  let a = b // the base
    + c // the change
    // and a correction
    - d;
  f(
    // first
    a,
    b, // second
  );
  let e = // far away
    1;
  // end
}

table t: i8[3] = [
  1, // one
  2, 3,
  // no four
];
";
    let expected = "\
/// Docs.
kernel k( // the arguments
  x: f32[M], // in
  // about y
  y: out f32[M], // out
  // nothing more
)
  tune A in {1}, // the first
    B in {2}
  grid 1 // one block
{
  let a =
    b // the base
    + c // the change
    // and a correction
    - d;
  f(
    // first
    a,
    b, // second
  );
  let e = // far away
    1;
  // end
}

table t: i8[3] = [
  1, // one
  2, 3,
  // no four
];
";
    similar(&formatted("comments.tile", text), expected);
}

/// Equal, or both texts as text.
fn similar(got: &str, expected: &str) {
    assert!(got == expected, "got\n{got}\nexpected\n{expected}");
}

/// A file of the repository with comments put behind some of its tokens, and with other white space.
fn commented() -> impl Strategy<Value = String> {
    let mut files = folder("stdlib");
    files.extend(folder("examples"));
    files.push(("every construct".into(), include_str!("every_construct.tile").into()));
    let count = files.len();
    (0..count, prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 1..12)).prop_map(
        move |(file, edits)| {
            let text = &files[file].1;
            let tokens = lex(Default::default(), text).tokens;
            let mut at: Vec<(usize, &str)> = edits
                .iter()
                .map(|(index, kind)| {
                    let end = tokens[index.index(tokens.len())].span.end as usize;
                    (end, [" // behind\n", "\n// alone\n", "\n\n\n// apart\n\n", "\n"][usize::from(*kind)])
                })
                .collect();
            at.sort_by_key(|(end, _)| std::cmp::Reverse(*end));
            let mut out = text.clone();
            for (end, comment) in at {
                out.insert_str(end, comment);
            }
            out
        },
    )
}

/// Names, calls, chains and indices of any length and depth.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        &["x", "argument", "a_rather_long_name_of_a_variable", "12345", "1.5e-3", "-inf", "zeros f32[M, N]"]
            [..],
    )
    .prop_map(str::to_owned);
    leaf.prop_recursive(7, 120, 6, |inner| {
        let operators = prop::sample::select(&["+", "-", "*", "/", "<<", "&", "|"][..]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..6).prop_map(|args| format!("call({})", args.join(", "))),
            prop::collection::vec((operators, inner.clone()), 1..6).prop_map(|parts| {
                let rest: Vec<String> = parts.iter().map(|(op, e)| format!(" {op} ({e})")).collect();
                format!("(x{})", rest.concat())
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("t[{a} +: 4, .., {b} else {a}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}).method({b}).T")),
            inner.clone().prop_map(|a| format!("-({a}) as f32")),
            inner.clone().prop_map(|a| format!("({a} // why\n)")),
        ]
    })
}

/// An expression's span ends before the brackets around it; what follows was taken for an empty line behind the statement.
#[test]
fn a_comment_behind_a_bracketed_result_keeps_its_place() {
    let text = "fn f(x: f32, y: f32) -> f32 {\n  return x / (x // behind\n / y);\n  // at the end\n}\n";
    let printed = formatted("bracketed.tile", text);
    assert!(printed.contains(");\n  // at the end\n}"), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comments_in_any_place_are_kept(text in commented()) {
        formatted("commented.tile", &text);
    }

    #[test]
    fn lines_are_within_the_width(a in expression(), b in expression()) {
        let text = format!(
            "kernel k(x: f32[M]) grid {a} {{ let y: f32[M] = {b}; if {a} {{ f({a}, {b}) with A = {a}; }} assert({b}, \"t\"); }}"
        );
        let printed = formatted("expression.tile", &text);
        for line in printed.lines() {
            // Deep nesting may leave less room than the longest unbroken run of words takes.
            let indent = line.len() - line.trim_start().len();
            let code = line.split("//").next().unwrap_or_default().trim_end();
            prop_assert!(
                code.chars().count() <= WIDTH || indent > WIDTH / 3 || !line.trim().contains(' ') || unbreakable(code.trim()),
                "{line}\n{printed}"
            );
        }
    }
}

/// Whether a line holds no list and no chain that could be cut: heads such as `t[..] = -(` and short tails only.
fn unbreakable(line: &str) -> bool {
    !line.contains(", ")
        && ![" + ", " - ", " * ", " / ", " << ", " & ", " | "].iter().any(|op| line.contains(op))
}
