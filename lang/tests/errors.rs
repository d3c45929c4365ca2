//! Errors as people see them: message, place, help. A change of wording shows up here, to be judged.

use tvmc_lang::diag::render;
use tvmc_lang::source::SourceMap;

/// All errors of a source, rendered.
fn errors(text: &str) -> String {
    let mut sources = SourceMap::new();
    let id = sources.add("a.tile", text).unwrap();
    let parsed = tvmc_lang::parse(id, text);
    assert!(!parsed.is_ok());
    let shown: Vec<String> = parsed.diagnostics.iter().map(|d| render(d, &sources, false)).collect();
    shown.join("\n\n")
}

/// An index list holds points, slices and `..`; a range is what people bring from Python and Rust.
#[test]
fn a_slice_is_not_a_range() {
    let text = r#"kernel f(x: f32[M]) grid 1 {
  let a = x[0..4];
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0101]: expected `+:`, `,`, `else` or `]`, found `..`
     --> a.tile:2:14
      |
    2 |   let a = x[0..4];
      |            - ^^ expected `+:`, `,`, `else` or `]`
      |            |
      |            inside this `[`
      |
      = help: a slice is written `start +: size`, a whole dimension `..`
    "#);
}

/// The statement after it is still read: its own error is reported.
#[test]
fn a_missing_semicolon_is_put_in() {
    let text = r#"kernel f(x: f32[M], y: out f32[M]) grid 1 {
  let a = x[0]
  y[0] = a a;
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0102]: expected `;` at the end of this statement
     --> a.tile:2:15
      |
    2 |   let a = x[0]
      |               ^ put a `;` here

    error[E0101]: expected `;`, found `a`
     --> a.tile:3:12
      |
    3 |   y[0] = a a;
      |            ^ expected `;`
    "#);
}

#[test]
fn misspelt_and_foreign_words() {
    let text = r#"kernel f(y: out f32[M]) grid 1 {
  lett a = 3;
  let mut b = 4;
  y[0] = f32(b);
  let out = 3;
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0101]: expected `=` or `;`, found `a`
     --> a.tile:2:8
      |
    2 |   lett a = 3;
      |        ^ expected `=` or `;`
      |
      = help: did you mean `let`?

    error[E0101]: expected `:` or `=`, found `b`
     --> a.tile:3:11
      |
    3 |   let mut b = 4;
      |           ^ expected `:` or `=`
      |
      = help: a variable that changes is made with `var`

    error[E0101]: expected an expression, found the type `f32`
     --> a.tile:4:10
      |
    4 |   y[0] = f32(b);
      |          ^^^ expected an expression
      |
      = help: a conversion is written `x as f32`

    error[E0101]: expected a name, found the keyword `out`
     --> a.tile:5:7
      |
    5 |   let out = 3;
      |       ^^^ expected a name
      |
      = help: `out` is a keyword, so nothing else can have this name
    "#);
}

#[test]
fn conditions_and_assignments() {
    let text = r#"kernel f(y: out f32[M]) grid 1 {
  if a = b {
    y[0] = ;
  } else {
    y[0] = 1.0
  }
  a + b;
  x + 1 = 3;
  y[0 else 3] = 1;
  let z = a < b < c;
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0101]: expected `{`, found `=`
     --> a.tile:2:8
      |
    2 |   if a = b {
      |        ^ expected `{`

    error[E0101]: expected an expression, found `;`
     --> a.tile:3:12
      |
    3 |     y[0] = ;
      |            ^ expected an expression

    error[E0102]: expected `;` at the end of this statement
     --> a.tile:5:15
      |
    5 |     y[0] = 1.0
      |               ^ put a `;` here

    error[E0111]: this statement has no effect
     --> a.tile:7:3
      |
    7 |   a + b;
      |   ^^^^^ the value is not used
      |
      = help: bind it with `let`, assign it, or remove it

    error[E0112]: this cannot be assigned to
     --> a.tile:8:3
      |
    8 |   x + 1 = 3;
      |   ^^^^^ expected a variable, or a tensor with an index list
      |
      = help: to compare, write `==`

    error[E0112]: a store has no `else` value
     --> a.tile:9:12
      |
    9 |   y[0 else 3] = 1;
      |            ^ this is never stored
      |
      = help: remove it: outside the tensor a store does nothing

    error[E0109]: comparisons do not chain
      --> a.tile:10:17
       |
    10 |   let z = a < b < c;
       |                 ^ second comparison
       |
       = help: write `a < b && b < c`, or put parentheses around one of them
    "#);
}

#[test]
fn brackets_are_closed_where_they_must_be() {
    let text = r#"kernel f(x: f32[M) grid M {
  f(a, b;
  let x = (a + b;
  y[0] = 1);
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0103]: this `[` is never closed
     --> a.tile:1:16
      |
    1 | kernel f(x: f32[M) grid M {
      |                ^ - should be closed before this `)`
      |                |
      |                opened here

    error[E0103]: this `(` is never closed
     --> a.tile:2:4
      |
    2 |   f(a, b;
      |    ^    - should be closed before this `;`
      |    |
      |    opened here

    error[E0103]: this `(` is never closed
     --> a.tile:3:11
      |
    3 |   let x = (a + b;
      |           ^     - should be closed before this `;`
      |           |
      |           opened here

    error[E0104]: this `)` closes nothing
     --> a.tile:4:11
      |
    1 | kernel f(x: f32[M) grid M {
      |                           - only this `{` is open
    ...
    4 |   y[0] = 1);
      |           ^ no partner
      |
      = help: remove it, or add the opening one
    "#);
}

/// And the next item is not harmed.
#[test]
fn a_missing_brace_is_found_by_indentation() {
    let text = r#"kernel f(x: f32[M])
  grid M
{
  for k in 0..3 {
    a(k);
}

kernel g(x: f32[M]) grid 1 { x = ; }
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0103]: this `{` is never closed
     --> a.tile:3:1
      |
    3 | {
      | ^ opened here
    4 |   for k in 0..3 {
      |                 - perhaps this one lacks its partner
    5 |     a(k);
    6 | }
      | - since this closes it, yet is indented differently
    7 |
    8 | kernel g(x: f32[M]) grid 1 { x = ; }
      | ------ before this item begins

    error[E0101]: expected an expression, found `;`
     --> a.tile:8:34
      |
    8 | kernel g(x: f32[M]) grid 1 { x = ; }
      |                                  ^ expected an expression
    "#);
}

#[test]
fn every_item_reports_its_own() {
    let text = r#"kernal f() {}
let x = 3;
fn h(x f32) -> f32 { return 1.0 +; }
const A = 1
use nn
kernel k<W: fmt>() grid 1 { kernel inner() {} }
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0107]: `kernal` begins no item
     --> a.tile:1:1
      |
    1 | kernal f() {}
      | ^^^^^^ expected `kernel`, `fn`, `format`, `program`, `const`, `table` or `use`
      |
      = help: did you mean `kernel`?

    error[E0107]: `let` begins no item
     --> a.tile:2:1
      |
    2 | let x = 3;
      | ^^^ expected `kernel`, `fn`, `format`, `program`, `const`, `table` or `use`
      |
      = help: statements stand inside a kernel or program

    error[E0101]: expected `:`, found the type `f32`
     --> a.tile:3:8
      |
    3 | fn h(x f32) -> f32 { return 1.0 +; }
      |        ^^^ expected `:`

    error[E0101]: expected an expression, found `;`
     --> a.tile:3:34
      |
    3 | fn h(x f32) -> f32 { return 1.0 +; }
      |                                  ^ expected an expression

    error[E0102]: expected `;` at the end of this statement
     --> a.tile:4:12
      |
    4 | const A = 1
      |            ^ put a `;` here

    error[E0102]: expected `;` at the end of this statement
     --> a.tile:5:7
      |
    5 | use nn
      |       ^ put a `;` here

    error[E0101]: `fmt` is no kind of generic parameter
     --> a.tile:6:13
      |
    6 | kernel k<W: fmt>() grid 1 { kernel inner() {} }
      |             ^^^ expected `format`, `float`, `int` or `dtype`

    error[E0108]: a `kernel` cannot stand inside a block
     --> a.tile:6:29
      |
    6 | kernel k<W: fmt>() grid 1 { kernel inner() {} }
      |                           - ^^^^^^ move it to the top of the file
      |                           |
      |                           inside this; or is its closing bracket missing?
    "#);
}

#[test]
fn formats() {
    let text = r#"format q {
  per column {
    s: f32;
  }
  group 32 {
    d: f16
    q u4[32];
  }
  value[i] = d * ;
  d: f16;
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0101]: there are no fields per `column`
     --> a.tile:2:7
      |
    2 |   per column {
      |       ^^^^^^ expected `row` or `tensor`
      |
      = help: fields of a number of elements stand in `group 32 { .. }`

    error[E0102]: expected `;` at the end of this statement
     --> a.tile:6:11
      |
    6 |     d: f16
      |           ^ put a `;` here

    error[E0101]: expected `:`, found the type `u4`
     --> a.tile:7:7
      |
    7 |     q u4[32];
      |       ^^ expected `:`

    error[E0101]: expected an expression, found `;`
     --> a.tile:9:18
      |
    9 |   value[i] = d * ;
      |                  ^ expected an expression

    error[E0101]: expected `encode`, `group`, `per`, `table`, `value` or `}`, found `d`
      --> a.tile:10:3
       |
     1 | format q {
       |          - inside this `{`
    ...
    10 |   d: f16;
       |   ^ expected `encode`, `group`, `per`, `table`, `value` or `}`
    "#);
}

#[test]
fn fn_bodies() {
    let text = r#"fn f(x: f32) -> f32 { let a = +x; return a; let b = 3; }
fn g() { return 1; }
fn h() -> f32 { }
fn k(y: out f32) -> f32 { y = 1.0; return y; }
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0101]: expected an expression, found `+`
     --> a.tile:1:31
      |
    1 | fn f(x: f32) -> f32 { let a = +x; return a; let b = 3; }
      |                               ^ expected an expression
      |
      = help: there is no sign `+`

    error[E0113]: nothing may follow `return`
     --> a.tile:1:45
      |
    1 | fn f(x: f32) -> f32 { let a = +x; return a; let b = 3; }
      |                                             ^^^^^^^^^^ never reached

    error[E0101]: expected `->`, found `{`
     --> a.tile:2:8
      |
    2 | fn g() { return 1; }
      |        ^ expected `->`

    error[E0113]: this body has no `return`
     --> a.tile:3:17
      |
    3 | fn h() -> f32 { }
      |                 ^ expected `return ..;` before this

    error[E0110]: a fn only reads its arguments
     --> a.tile:4:6
      |
    4 | fn k(y: out f32) -> f32 { y = 1.0; return y; }
      |      ^^^^^^^^^^ no `out` or `inout` here
      |
      = help: return the value, or write a kernel

    error[E0110]: only `let` and a final `return` may stand here
     --> a.tile:4:27
      |
    4 | fn k(y: out f32) -> f32 { y = 1.0; return y; }
      |                           ^^^^^^^^ not a `let`
      |
      = help: fns and formats are element-wise: for a choice use `where(condition, a, b)`
    "#);
}

#[test]
fn places_of_statements() {
    let text = r#"kernel f(y: out f32[M]) grid 1 {
  const A = 3;
  return y;
}
program p {
  hyper L: i32;
  for l in 0..L {
    weight w: f32[1] = "x";
  }
  state s: f32[C] grow C;
}
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0110]: `const` stands only directly in a program
     --> a.tile:2:3
      |
    2 |   const A = 3;
      |   ^^^^^^^ not allowed here
      |
      = help: use `let`, or move it in front of the body of the kernel

    error[E0110]: `return` stands only at the end of a fn
     --> a.tile:3:3
      |
    3 |   return y;
      |   ^^^^^^^^ not in a fn
      |
      = help: a kernel gives its results by storing to `out` arguments

    error[E0101]: expected `=`, found `;`
     --> a.tile:6:15
      |
    6 |   hyper L: i32;
      |               ^ expected `=`

    error[E0110]: `weight` stands only directly in a program
     --> a.tile:8:5
      |
    8 |     weight w: f32[1] = "x";
      |     ^^^^^^^^ not allowed here
      |
      = help: move it out of the block

    error[E0101]: expected `grows` or `;`, found `grow`
      --> a.tile:10:19
       |
    10 |   state s: f32[C] grow C;
       |                   ^^^^ expected `grows` or `;`
       |
       = help: did you mean `grows`?
    "#);
}

#[test]
fn characters_and_literals() {
    let text = r#"const A = “text”;
const B = 12ab + 0x1.8 + 99999999999999999999;
use "a\qb;
/* a block
   comment */
"#;
    insta::assert_snapshot!(errors(text), @r#"
    error[E0001]: `“` has no meaning here
     --> a.tile:1:11
      |
    1 | const A = “text”;
      |           ^
      |
      = help: a string stands between straight double quotes: "text"

    error[E0001]: `”` has no meaning here
     --> a.tile:1:16
      |
    1 | const A = “text”;
      |                ^
      |
      = help: a string stands between straight double quotes: "text"

    error[E0004]: `12ab` is not a number
     --> a.tile:2:11
      |
    2 | const B = 12ab + 0x1.8 + 99999999999999999999;
      |           ^^^^ no letter may follow a number

    error[E0004]: `0x1.8` is not a number
     --> a.tile:2:18
      |
    2 | const B = 12ab + 0x1.8 + 99999999999999999999;
      |                  ^^^^^ a hexadecimal float is written like `0x1.8p3`

    error[E0005]: this integer does not fit 64 bits
     --> a.tile:2:26
      |
    2 | const B = 12ab + 0x1.8 + 99999999999999999999;
      |                          ^^^^^^^^^^^^^^^^^^^^
      |
      = help: the largest is 18446744073709551615

    error[E0002]: this string has no closing `"`
     --> a.tile:3:5
      |
    3 | use "a\qb;
      |     ^^^^^^ ends with the line
      |
      = help: close it on the same line; a line break inside is written `\n`

    error[E0003]: unknown escape in a string
     --> a.tile:3:7
      |
    3 | use "a\qb;
      |       ^^ the escapes are \n \t \\ \" and \u{..}

    error[E0102]: expected `;` at the end of this statement
     --> a.tile:3:11
      |
    3 | use "a\qb;
      |           ^ put a `;` here

    error[E0010]: block comments do not exist
     --> a.tile:4:1
      |
    4 | /* a block
      | ^^ begins here
      |
      = help: begin each line of the comment with `//`
    "#);
}
