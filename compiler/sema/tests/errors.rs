//! Each rule has a source that breaks it, and the diagnostic says so at the right place.

mod support;

use support::{load, load_with, shown};
use tvmc_lang::diag::Code;
use tvmc_sema::check;

/// All codes of a source, with the text under each primary label.
fn found(text: &str) -> Vec<(Code, String)> {
    let loaded = load(text);
    let mut all = loaded.diagnostics;
    all.extend(check(&loaded.library));
    all.iter()
        .map(|d| {
            assert!(!d.labels.is_empty(), "{}: a place", d.message);
            assert!(!d.message.ends_with('.'), "{}", d.message);
            let text = d.primary_span().map(|s| loaded.library.sources().text(s).to_owned());
            (d.code, text.unwrap_or_default())
        })
        .collect()
}

/// The source has exactly this error, at this text.
#[track_caller]
fn refused(text: &str, code: Code, at: &str) {
    let got = found(text);
    if got != [(code, at.to_owned())] {
        let loaded = load(text);
        let mut all = loaded.diagnostics;
        all.extend(check(&loaded.library));
        panic!("wanted {code} at `{at}`, got {got:?}\n{}", shown(&loaded.library, &all));
    }
}

/// A kernel with this body over `x: f32[M, N]`, `n: i32[N]`, `y: out f32[M, N]`, scalars `s: f32` and `i: i32`.
fn kernel(body: &str) -> String {
    format!(
        "kernel k(x: f32[M, N], n: i32[N], y: out f32[M, N], z: inout f32[M, N], s: f32, i: i32)
           tune B in {{16}}
           grid M, ceil(N, B)
         {{ {body} }}"
    )
}

#[track_caller]
fn body(text: &str, code: Code, at: &str) {
    refused(&kernel(text), code, at);
}

#[track_caller]
fn accepted(text: &str) {
    let loaded = load(text);
    let mut all = loaded.diagnostics;
    all.extend(check(&loaded.library));
    assert!(all.is_empty(), "{}", shown(&loaded.library, &all));
}

#[test]
fn names() {
    body("let a = bb + 1;", Code::UnknownName, "bb");
    body("let a = fxp(s);", Code::UnknownFunction, "fxp");
    body("let a = 1; let a = 2;", Code::DuplicateName, "a");
    body("let x = 1;", Code::DuplicateName, "x");
    body("let a = zeros f33[4];", Code::UnknownType, "f33");
    body("let t = zeros f32[4]; let a = t.foo;", Code::UnknownMember, "foo");
    body("let t = zeros f32[4]; let a = t.unsqeeze(0);", Code::UnknownMember, "unsqeeze");
    body("let a = k(s);", Code::NotCallable, "k");
    body("let t = zeros f32[4]; let a = sum(t, axs = 0);", Code::UnknownArgument, "axs = 0");
    body("let a = 1; a = 2;", Code::NotAssignable, "a");
    body("i = 2;", Code::NotAssignable, "i");
    body("for c in 0..4 { c = 1; }", Code::NotAssignable, "c");
    accepted(&kernel("let a = 1; if s > 0.0 { let a = 2.0; print(\"{}\", a); }"));
    refused("const A = B; const B = A;", Code::Recursion, "A");
    refused("fn f(x: f32) -> f32 { return f(x); }", Code::Recursion, "f(x)");
    let circle = found("fn f(x: f32) -> f32 { return g(x); } fn g(x: f32) -> f32 { return f(x); }");
    assert!(!circle.is_empty() && circle.iter().all(|(c, _)| *c == Code::Recursion));
    refused("const A = 1; const A = 2;", Code::DuplicateName, "A");
    refused("fn max(x: f32) -> f32 { return x; }", Code::DuplicateName, "max");
    refused("use nothing;", Code::UnknownItem, "use nothing;");
    refused("kernel k(x: f32[A * B], y: f32[A]) grid 1 { }", Code::UnknownName, "B");
}

#[test]
fn a_suggestion_is_given() {
    let loaded = load(&kernel("let acumulator = 1; let b = accumulator;"));
    let all = check(&loaded.library);
    assert_eq!(all[0].helps, ["did you mean `acumulator`?"]);
}

#[test]
fn files_that_use_each_other() {
    let loaded =
        load_with("use \"a.tile\";", &[("a.tile", "use \"b.tile\";"), ("b.tile", "use \"a.tile\";")]);
    assert!(loaded.diagnostics.iter().any(|d| d.code == Code::UseCycle));
    let two = [("a.tile", "const A = 1;"), ("b.tile", "const A = 2;")];
    let loaded = load_with("use \"a.tile\"; use \"b.tile\";", &two);
    assert!(loaded.diagnostics.iter().any(|d| d.code == Code::DuplicateName));
    let loaded = load_with("use \"a.tile\"; const B = A;", &two);
    assert!(loaded.diagnostics.is_empty() && check(&loaded.library).is_empty());
}

#[test]
fn dtypes() {
    body("let a = i + s;", Code::LossyConversion, "i + s");
    body("let a = i + 1.5;", Code::LossyConversion, "i + 1.5");
    body("let c = s > 0.0; let a = c + 1;", Code::WrongType, "c + 1");
    body("let a = s % 2.0;", Code::WrongType, "s % 2.0");
    body("let a = s && s;", Code::WrongType, "s && s");
    body("let a = !i;", Code::WrongType, "!i");
    body("let a = s as i8;", Code::NarrowingPolicy, "s as i8");
    body("let a = i as u8;", Code::NarrowingPolicy, "i as u8");
    body("let a = i as f16 wrap;", Code::NarrowingPolicy, "i as f16 wrap");
    body("let a = i as i64;", Code::UnsupportedWidth, "i as i64");
    body("let a = 3000000000 + i;", Code::LiteralOutOfRange, "3000000000");
    body("let a = s * 1e300;", Code::LiteralOutOfRange, "1e300");
    body("let a = s * 16777217;", Code::LiteralOutOfRange, "16777217");
    body("let a = bitcast(s, u16);", Code::WidthMismatch, "bitcast(s, u16)");
    body("let t = zeros f32[4]; let a = any(t);", Code::WrongType, "any(t)");
    body("let a = sqrt(i);", Code::WrongType, "sqrt(i)");
    body("let a = exp(i);", Code::LossyConversion, "i");
    body("var a = 1; a = 2.5;", Code::WrongType, "2.5");
    body("var a = s; a = i;", Code::LossyConversion, "i");
    body("let a: f16 = s;", Code::LossyConversion, "s");
    accepted(&kernel(
        "let a = (s as i8 wrap) * s; let b = (i as u8 saturate) + i; let c = bitcast(s, i32) >> 3;",
    ));
}

#[test]
fn shapes() {
    body("let a = zeros f32[4] + zeros f32[5];", Code::ShapeMismatch, "zeros f32[4] + zeros f32[5]");
    body("let a = zeros f32[i];", Code::ExtentNotConstant, "i");
    body("let a = zeros f32[0];", Code::ConstantOverflow, "0");
    body("let a = zeros f32[1024, 2048];", Code::TileTooLarge, "f32[1024, 2048]");
    body(
        "let a = zeros f32[1, 1, 1, 1, 1, 1, 1, 1, 1];",
        Code::RankTooHigh,
        "f32[1, 1, 1, 1, 1, 1, 1, 1, 1]",
    );
    body("let a = x[0];", Code::RankMismatch, "x[0]");
    body("let a = sum(zeros f32[4], axis = 1);", Code::AxisOutOfRange, "1");
    body("let a = iota(4).unsqueeze(2);", Code::AxisOutOfRange, "iota(4).unsqueeze(2)");
    body("let a = iota(4).squeeze(0);", Code::ShapeMismatch, "iota(4).squeeze(0)");
    body("let a = iota(4).reshape(5);", Code::ShapeMismatch, "iota(4).reshape(5)");
    body("let a = iota(4).T;", Code::ShapeMismatch, "iota(4).T");
    body("let t = zeros f32[4, 4]; let a = t.permute(0, 0);", Code::AxisOutOfRange, "t.permute(0, 0)");
    body(
        "let a = dot(zeros f32[4, 8], zeros f32[4, 8]);",
        Code::ShapeMismatch,
        "dot(zeros f32[4, 8], zeros f32[4, 8])",
    );
    body("let a = x + 1.0;", Code::NotATile, "x");
    body("let t = zeros f32[4]; let a = t[0];", Code::NotATensor, "t");
    body("let t = iota(4); let a = x[t, 0];", Code::NotAScalar, "t");
    body("let a = exp(s, s);", Code::WrongArgumentCount, "exp(s, s)");
    body("let a = fma(s, s);", Code::WrongArgumentCount, "fma(s, s)");
    body("var a = zeros f32[4]; a = zeros f32[8];", Code::VariableTypeChange, "zeros f32[8]");
    body("y[0, 0 +: 8] = zeros f32[4];", Code::ShapeMismatch, "zeros f32[4]");
    body("let a = full(f32[4], zeros f32[4]);", Code::NotAScalar, "zeros f32[4]");
}

#[test]
fn constants_and_control_flow() {
    body("let a = 1 / 0;", Code::ConstantOverflow, "1 / 0");
    body("let a = 9223372036854775807 + 1;", Code::ConstantOverflow, "9223372036854775807 + 1");
    body("for c in 0..4 by 0 { }", Code::StepInvalid, "0");
    body("for c in 0..4 by i { }", Code::StepInvalid, "i");
    body("break;", Code::BreakOutsideLoop, "break;");
    body("static_assert(B == 17);", Code::StaticAssertFailed, "B == 17");
    body("if x[0, 0 +: 4] > 0.0 { }", Code::NotUniform, "x[0, 0 +: 4] > 0.0");
    body("if i { }", Code::WrongType, "i");
    body("let a = block[2];", Code::GridInvalid, "2");
    body("print(\"{} {}\", i);", Code::WrongArgumentCount, "\"{} {}\"");
    refused("kernel k(x: f32[N]) { }", Code::GridMissing, "k");
    refused("kernel k(x: f32[N]) grid 1, 1, 1, 1 { }", Code::GridInvalid, "grid 1, 1, 1, 1");
    refused("kernel k(x: f32[N]) tune B in {} grid 1 { }", Code::TuneEmpty, "B in {}");
    refused("kernel k(x: f32[N]) tune B in {0} grid 1 { }", Code::TuneEmpty, "0");
    refused("kernel k(x: f32[N]) tune B in {N} grid 1 { }", Code::TuneEmpty, "N");
    refused("kernel k(x: f32[N]) lanes 3 grid 1 { }", Code::LanesInvalid, "lanes 3");
    refused("kernel k(x: f32[N]) grid 1 assume(N) { }", Code::AssumeInvalid, "N");
    refused("const A = exp(1.0);", Code::HostExpression, "exp(1.0)");
    refused("kernel k(x: out f16) grid 1 { }", Code::WrongType, "f16");
}

#[test]
fn layouts() {
    body("let a = zeros f32[8] @ lokal(8);", Code::UnknownLayout, "lokal");
    body("let a = zeros f32[8] @ local(4);", Code::LayoutShape, "local(4)");
    body("let a = zeros f32[8] @ local(8).reshape(3);", Code::LayoutInvalid, "reshape(3)");
    body(
        "let a = zeros f32[8] @ spatial(8); let b = zeros f32[4] @ spatial(4);",
        Code::LayoutLanes,
        "spatial(4)",
    );
    body("let a = relayout(zeros f32[8], 3);", Code::WrongArgument, "3");
    accepted(&kernel(
        "let a: f32[8] @ spatial(4).local(2) = zeros f32[8]; let b = relayout(a, local(2).spatial(4));",
    ));
    let pinned = |rest: &str| format!("let a: f32[8] @ spatial(4).local(2) = zeros f32[8]; {rest}");
    body(&pinned("let b: f32[8] @ local(2).spatial(4) = a;"), Code::LayoutConflict, "local(2).spatial(4)");
    body(
        &pinned("var v = a; v = relayout(a, local(2).spatial(4));"),
        Code::LayoutConflict,
        "relayout(a, local(2).spatial(4))",
    );
    accepted(&kernel(&pinned("var v = a; v = a + 1.0; let b = view(v, u8 @ spatial(4).local(8));")));
}

#[test]
fn views() {
    let pinned = |rest: &str| format!("let a: f32[8] @ spatial(4).local(2) = zeros f32[8]; {rest}");
    body("let a = view(zeros f32[8], u8);", Code::LayoutNotWritten, "u8");
    body("let a = view(zeros f32[8], u8 @ local(32));", Code::LayoutNotWritten, "zeros f32[8]");
    body("let a = view(zeros f32[8]);", Code::WrongArgumentCount, "view(zeros f32[8])");
    body(&pinned("let b = view(a, u8 @ spatial(4).local(4));"), Code::LayoutConflict, "spatial(4).local(4)");
    body(&pinned("let b = view(a, u8 @ spatial(8).local(4));"), Code::LayoutLanes, "spatial(8).local(4)");
    body(
        &pinned("let b = view(a, u8 @ replicated(4).local(8));"),
        Code::LayoutConflict,
        "replicated(4).local(8)",
    );
    body(&pinned("let b = view(a, u8[4] @ spatial(4).local(8));"), Code::LayoutShape, "spatial(4).local(8)");
    body(&pinned("let b = view(a, bool @ spatial(4).local(64));"), Code::Unsupported, "spatial(4).local(64)");
    accepted(&kernel(&pinned("let b = view(a, u3 @ spatial(4).local(8)) as i32; ").replace("u3", "u8")));
}

/// What a conflict shows: both layouts drawn, both places, an element on which they differ, and a way out.
#[test]
fn conflicts_draw_both_layouts() {
    let text = kernel(
        "let a: f32[8] @ spatial(4).local(2) = zeros f32[8];\nlet b: f32[8] @ local(2).spatial(4) = a;",
    );
    let loaded = load(&text);
    let all = check(&loaded.library);
    let shown = shown(&loaded.library, &all);
    for part in [
        "0:0 0:1 1:0 1:1 2:0 2:1 3:0 3:1",
        "0:0 1:0 2:0 3:0 0:1 1:1 2:1 3:1",
        "spatial(4).local(2) here",
        "local(2).spatial(4) here",
        "lane 0 holds in slot 1 element [1] of the first, element [4] of the second",
        "`relayout(t, local(2).spatial(4))`",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    println!("{shown}");
}

#[test]
fn memory() {
    body("x[0, 0] = 1.0;", Code::StoreToReadOnly, "x[0, 0]");
    body("let a = y[0, 0];", Code::ReadOfOut, "y[0, 0]");
    body("y[0, 0] += 1.0;", Code::ReadOfOut, "y[0, 0]");
    body("let a = x[0, -1];", Code::StaticOutOfBounds, "-1");
    body("let h = shared f32[8]; let a = h[8 +: 4];", Code::StaticOutOfBounds, "8 +: 4");
    body("let a = shared f32[4] + 1.0;", Code::WrongArgument, "shared f32[4]");
    body("let a = buffer f32[4];", Code::NotInProgram, "buffer f32[4]");
    refused("kernel k(w: out q4_0[N, K]) grid 1 { w[0, 0] = 1.0; }", Code::EncodeMissing, "w[0, 0]");
    refused("kernel k(w: q4_0[N, K], y: out f32[N]) grid 1 { y[0] = w.z[0, 0]; }", Code::UnknownField, "z");
    accepted("kernel k(w: q4_0[N, K], y: out f32[N]) grid 1 { y[0] = w.d[0, 0]; }");
    accepted("kernel k(w: q4_0[N, K], y: out f32[N]) grid 1 { y[0] = w.value[0, w.group - 1]; }");
    accepted(&kernel("z[0, 0] += 1.0; z[0, 0 +: 4] *= 2.0;"));
    refused("kernel k(h: inout f16[N]) grid N { h[block[0]] += 1.0; }", Code::LossyConversion, "1.0");
}

#[test]
fn padding() {
    let at = Code::ReductionOverPadding;
    body("let a = max(x[0, 0 +: 16], axis = 0);", at, "max(x[0, 0 +: 16], axis = 0)");
    body("let a = min(x[0, 0 +: 16]);", at, "min(x[0, 0 +: 16])");
    body("let a = sum(x[0, 0 +: 16] + 1.0);", at, "sum(x[0, 0 +: 16] + 1.0)");
    body("let a = sum(exp(x[0, 0 +: 16]));", at, "sum(exp(x[0, 0 +: 16]))");
    body("let a = all(x[0, 0 +: 16] > 0.0);", at, "all(x[0, 0 +: 16] > 0.0)");
    body("let a = sum(x[0, 0 +: 16 else s]);", at, "sum(x[0, 0 +: 16 else s])");
    body(
        "let a = dot(x[0, 0 +: 16] + 1.0, x[1, 0 +: 16] + 1.0);",
        at,
        "dot(x[0, 0 +: 16] + 1.0, x[1, 0 +: 16] + 1.0)",
    );
    body(
        "var t = full(f32[16], -inf); for c in 0..N by 16 { t = max(t, x[0, c +: 16]); } let a = max(t);",
        at,
        "max(t)",
    );
    for good in [
        "let a = max(x[0, 0 +: 16 else -inf]);",
        "let a = sum(x[0, 0 +: 16]);",
        "let a = any(x[0, 0 +: 16] > 0.0);",
        "let a = sum(x[0, 0 +: 16] * s);",
        "let a = max(where(iota(16) < N, x[0, 0 +: 16], -inf));",
        "let a = sum(where(iota(16) < N, exp(x[0, 0 +: 16]), 0.0));",
        "let a = dot(x[0, 0 +: 16] + 1.0, x[1, 0 +: 16]);",
        "var t = zeros f32[16]; for c in 0..N by 16 { let v = x[0, c +: 16]; t = fma(v, v, t); } let a = sum(t);",
        "var t = full(f32[16], -inf); for c in 0..N by 16 { t = max(t, x[0, c +: 16 else -inf]); } let a = max(t);",
        "let h = shared f32[16]; h[0 +: 16] = zeros f32[16]; let a = max(h[..]);",
        "let a = max(iota(16));",
    ] {
        accepted(&kernel(good));
    }
}

#[test]
fn padding_is_absent_where_sizes_divide() {
    let source = |assume: &str| {
        format!(
            "kernel k(x: f32[M, N], y: out f32[M]) grid M {assume} {{
               var t = full(f32[16], -inf);
               for c in 0..N by 16 {{ t = max(t, x[block[0], c +: 16]); }}
               y[block[0]] = max(t);
             }}"
        )
    };
    refused(&source(""), Code::ReductionOverPadding, "max(t)");
    accepted(&source("assume(N % 16 == 0)"));
    accepted(&source("assume(N % 32 == 0)"));
    refused(&source("assume(N % 8 == 0)"), Code::ReductionOverPadding, "max(t)");
    let library = load(&source("")).library;
    for (n, good) in [(64, true), (65, false), (16, true), (8, false)] {
        let made = tvmc_sema::instantiate(&library, "k", &support::instance(&[], &[("N", n)], &[]));
        assert_eq!(made.is_ok(), good, "N = {n}");
    }
}

#[test]
fn formats() {
    let format = |fields: &str, value: &str| format!("format f {{ group 8 {{ {fields} }} {value} }}");
    refused(&format("q: u3[3];", "value[i] = q[0];"), Code::GroupNotBytes, "");
    refused(&format("q: u4[8] @ local(4);", "value[i] = q[i];"), Code::FieldLayoutSize, "local(4)");
    refused(&format("q: u4[8] @ spatial(8);", "value[i] = q[i];"), Code::LayoutInvalid, "spatial(8)");
    refused(&format("q: u8[8];", ""), Code::ValueMissing, "f");
    refused("format f { value[i] = 1.0; }", Code::GroupMissing, "f");
    refused(&format("q: u8[7];", "value[i] = q[i];"), Code::FieldIndexOutOfRange, "q[i]");
    refused(&format("q: u8[8]; c: u8;", "value[i] = q[c];"), Code::FieldIndexOutOfRange, "q[c]");
    refused(
        &format("q: u8[8];", "value[i] = where(i < 4, q[i], q[i + 4]);"),
        Code::FieldIndexOutOfRange,
        "q[i + 4]",
    );
    refused(&format("q: u8[8];", "value[i] = q[i] + p;"), Code::UnknownName, "p");
    refused(&format("q: u8[8];", "value[i] = sum(q[i]);"), Code::FormatExpression, "sum(q[i])");
    refused(&format("q: u8[8];", "value[i] = concat(q[i], i);"), Code::FormatExpression, "i");
    refused(&format("q: u32[8];", "value[i] = q[i];"), Code::LossyConversion, "q[i]");
    refused(&format("q: u8[8]; q: u8;", "value[i] = q[i];"), Code::DuplicateName, "q");
    refused(&format("q: u8[8];", "table t: u8[3] = [1, 2]; value[i] = q[i];"), Code::TableSize, "t");
    refused(
        &format("q: u8[8];", "table t: u4[2] = [1, 16]; value[i] = q[i];"),
        Code::LiteralOutOfRange,
        "16",
    );
    refused(&format("q: f64[8];", "value[i] = q[i];"), Code::UnsupportedWidth, "f64");
    refused(
        "format a { group b.group { q: u8; } value[i] = q; } format b { group a.group { q: u8; } value[i] = q; }",
        Code::Recursion,
        "a",
    );
    accepted(&format("q: u8[8]; c: u8;", "value[i] = q[c & 7];"));
    accepted(&format("q: u8[4];", "value[i] = where(i < 4, q[i % 4], q[(i + 4) % 4]);"));
}

#[test]
fn programs() {
    let program = |body: &str| {
        format!(
            "use linear; use nn;
             program p {{
               hyper L: i32 = \"layers\";
               hyper eps: f32 = \"eps\";
               weight w[L]: any[D, D] = \"w.{{}}\";
               weight g: f32[D] = \"g\";
               input x: f32[S, D];
               output y: f32[S, D];
               let b = buffer f32[S, D];
               {body}
             }}"
        )
    };
    let refused = |body: &str, code: Code, at: &str| refused(&program(body), code, at);
    refused("linaer(x, w[0], y);", Code::UnknownFunction, "linaer");
    refused("silu(x);", Code::NotCallable, "silu");
    refused("linear(x, w[0]);", Code::LaunchMismatch, "linear(x, w[0]);");
    refused("linear(x, w, y);", Code::LaunchMismatch, "w");
    refused("linear(x, w[0], x);", Code::LaunchMismatch, "x");
    refused("linear(x[0], w[0], y);", Code::LaunchMismatch, "x[0]");
    refused("linear(x, 1, y);", Code::LaunchMismatch, "1");
    refused("rms_norm(x, w[0].view(D * D), y, eps);", Code::LaunchMismatch, "w[0].view(D * D)");
    refused("rms_norm(x, g, y, L);", Code::LaunchMismatch, "L");
    refused("linear(b, w[0], b);", Code::ArgumentOverlap, "b");
    refused("linear(x, w[0], y) with BM = 7;", Code::UnknownTune, "7");
    refused("linear(x, w[0], y) with BQ = 8;", Code::UnknownTune, "BQ");
    refused("weight v: f32[D] = \"v.{}\";", Code::PatternInvalid, "\"v.{}\"");
    refused("weight v: f32[D] = \"v\" else u;", Code::UnknownWeight, "u");
    refused("state s: f16[D, D] grows Q to 1;", Code::StateInvalid, "Q");
    refused("state s: f16[D, D] grows D to 1;", Code::StateInvalid, "D");
    refused("state s: f16[D, L] grows L to 1; let t = s.view(L, D);", Code::StateInvalid, "s.view(L, D)");
    refused("state s: f16[D, L] grows L to eps;", Code::WrongType, "eps");
    refused("hyper q: bool = \"q\";", Code::HyperType, "bool");
    refused("let a = b.view(3, 4).view(5);", Code::ViewSize, "b.view(3, 4).view(5)");
    refused("let a = b[0, 1];", Code::RankMismatch, "b[0, 1]");
    refused("let a = eps << 2;", Code::HostExpression, "eps << 2");
    refused("var a = 1;", Code::NotInKernel, "var a = 1;");
    refused(
        "linear(x, w[0], y.view(2, 3));\nlinear(x.view(4, 3), w[0], y.view(2, 3));",
        Code::LaunchShape,
        "y.view(2, 3)",
    );
    refused("let a = buffer f32[Q, D];", Code::UnknownName, "Q");
    refused("if L { linear(x, w[0], y); }", Code::WrongType, "L");
    accepted(&program(
        "for l in 0..L { linear(x, w[l], b); if S == 1 { linear(b, w[l], y) with BM = 1, BN = 64; } else { linear(b[0 +: S], w[l], y); } }
         let half = b[S - 1 +: 1]; rms_norm(half, g, y[0 +: 1], sqrt(eps) * 2);",
    ));
}

#[test]
fn one_mistake_gives_one_message_and_several_give_several() {
    let got =
        found(&kernel("let a = bb + 1; let c = a * 2; let d = sum(c); y[0, 0] = d + s; let e = i + s;"));
    let codes: Vec<Code> = got.into_iter().map(|(c, _)| c).collect();
    assert_eq!(codes, [Code::UnknownName, Code::LossyConversion]);
}

#[test]
fn instances_must_fit_the_kernel() {
    let library = load("kernel k<W: float>(x: W[N, D], y: out f32[D]) tune B in {8, 4} grid 1 { y[..] = sum(x[0 +: B, ..], axis = 0); }").library;
    let code =
        |formats: &[(&str, &str)], dims: &[(&str, u64)], tunes: &[(&str, i64)]| match tvmc_sema::instantiate(
            &library,
            "k",
            &support::instance(formats, dims, tunes),
        ) {
            Ok(_) => None,
            Err(found) => Some(found[0].code),
        };
    assert_eq!(code(&[("W", "f32")], &[("D", 8)], &[]), None);
    assert_eq!(code(&[("W", "f16")], &[("D", 8)], &[("B", 4)]), None);
    assert_eq!(code(&[("W", "f32")], &[], &[]), Some(Code::ExtentNotConstant));
    assert_eq!(code(&[("W", "f32")], &[("D", 8)], &[("B", 5)]), Some(Code::UnknownTune));
    assert_eq!(code(&[("W", "f32")], &[("D", 8), ("E", 8)], &[]), Some(Code::UnknownName));
    assert_eq!(code(&[("W", "i8")], &[("D", 8)], &[]), Some(Code::WrongArgument));
    assert_eq!(code(&[("W", "q9")], &[("D", 8)], &[]), Some(Code::UnknownName));
    assert_eq!(code(&[], &[("D", 8)], &[]), Some(Code::WrongArgument));
    assert!(tvmc_sema::instantiate(&library, "kk", &support::instance(&[], &[], &[])).is_err());
    assert!(tvmc_sema::interface(&library, "kk").is_err() && tvmc_sema::program(&library, "p").is_err());
    assert!(tvmc_sema::format(&library, "q4_9").is_err() && tvmc_sema::format(&library, "q4_0").is_ok());
}
