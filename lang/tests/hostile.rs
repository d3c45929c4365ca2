//! Whatever the text: a tree, diagnostics that render, no panic, no overflow of the stack, and an end in good time.

use proptest::prelude::*;
use std::time::{Duration, Instant};
use tvmc_lang::ast::{File, ItemKind, StmtKind};
use tvmc_lang::diag::{Code, render};
use tvmc_lang::limits::{MAX_DIAGNOSTICS, MAX_NESTING, MAX_SOURCE_BYTES};
use tvmc_lang::source::SourceMap;
use tvmc_lang::{Parsed, parse};

/// Parses, and checks what holds for any text.
fn check(text: &str) -> Parsed {
    let mut sources = SourceMap::new();
    let id = sources.add("any.tile", text).unwrap();
    let parsed = parse(id, text);
    assert!(parsed.diagnostics.len() <= MAX_DIAGNOSTICS + 1);
    for d in &parsed.diagnostics {
        let span = d.primary_span().expect("every diagnostic has a place");
        assert!(text.get(span.range()).is_some(), "{d:?} is inside the text, on characters");
    }
    for d in parsed.diagnostics.iter().take(3) {
        assert!(render(d, &sources, false).starts_with("error[E"));
        render(d, &sources, true);
    }
    if parsed.is_ok() {
        let printed = tvmc_lang::print::print(&parsed.file, text);
        let again = parse(id, &printed);
        assert!(again.is_ok(), "{text}\n----\n{printed}\n{:?}", again.diagnostics);
        assert_eq!(tvmc_lang::print::print(&again.file, &printed), printed, "from {text}");
    }
    parsed
}

/// Longest path of expressions from any root.
fn depth(file: &File) -> usize {
    let mut depths: Vec<usize> = Vec::new();
    // Children come before their users, so one pass is enough.
    for (_, expr) in file.exprs.iter() {
        let mut deepest = 0;
        expr.kind.for_each_child(&mut |child| deepest = deepest.max(depths[child.index()]));
        depths.push(deepest + 1);
    }
    depths.into_iter().max().unwrap_or(0)
}

fn codes(parsed: &Parsed) -> Vec<Code> {
    parsed.diagnostics.iter().map(|d| d.code).collect()
}

/// On a stack much smaller than the usual one.
fn on_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

fn function(expr: &str) -> String {
    format!("fn f(x: f32) -> f32 {{ return {expr}; }}")
}

#[test]
fn deep_expressions_are_refused_clearly() {
    on_small_stack(|| {
        let n = 10_000;
        for text in [
            function(&format!("{}x{}", "(".repeat(n), ")".repeat(n))),
            function(&format!("{}x", "(".repeat(n))),
            function(&format!("{}x{}", "f(".repeat(n), ")".repeat(n))),
            function(&format!("{}x", "-".repeat(n))),
            function(&format!("x{}", " as f32".repeat(n))),
            function(&format!("x{}", "[0]".repeat(n))),
            function(&format!("x{}", ".T".repeat(n))),
            function(&format!("x{}", " + x".repeat(100_000))),
            function(&format!("x{}", " && x".repeat(100_000))),
            function(&format!("zeros f32[{}x{}]", "zeros f32[".repeat(n), "]".repeat(n))),
            format!("table t: i8[1] = {}1{};", "[".repeat(n), "]".repeat(n)),
            format!("kernel k() grid 1 {{ {} {} }}", "if x {".repeat(n), "}".repeat(n)),
            format!("kernel k() grid 1 {{ {}", "while x {".repeat(n)),
        ] {
            let parsed = check(&text);
            assert!(codes(&parsed).contains(&Code::NestingTooDeep), "{}: {:?}", &text[..60], codes(&parsed));
            assert!(depth(&parsed.file) <= MAX_NESTING);
            drop(parsed);
        }
    });
}

#[test]
fn depth_up_to_the_limit_is_accepted() {
    let brackets = MAX_NESTING - 1;
    for text in [
        function(&format!("{}x{}", "(".repeat(brackets), ")".repeat(brackets))),
        function(&format!("x{}", " + x".repeat(MAX_NESTING - 1))),
        function(&format!("{}x", "-".repeat(MAX_NESTING - 1))),
    ] {
        let parsed = check(&text);
        assert!(parsed.is_ok(), "{:?}", codes(&parsed));
    }
}

#[test]
fn long_chains_of_arms_are_refused_clearly() {
    on_small_stack(|| {
        let chain = format!("kernel k() grid 1 {{ if a {{}} {} }}", "else if a {} ".repeat(50_000));
        let parsed = check(&chain);
        assert_eq!(codes(&parsed), [Code::TooManyArms]);
    });
}

#[test]
fn hostile_sizes_end_in_good_time() {
    let start = Instant::now();
    for text in [
        "x ".repeat(500_000),
        "a b; ".repeat(250_000),
        format!("kernel k() grid 1 {{ {} }}", "a b; ".repeat(200_000)),
        format!("kernel k() grid 1 {{ {} }}", "a b\n".repeat(200_000)),
        format!("kernel k() grid 1 {{ {} }}", "a ".repeat(500_000)),
        format!("kernel k() grid 1 {{ {} {} }}", "if x {".repeat(250), "a ".repeat(400_000)),
        format!("kernel k() grid 1 {{ x = {} {} }}", "-".repeat(250), "= ".repeat(400_000)),
        format!("kernel k() grid 1 {{ x = {} {} }}", "-".repeat(400_000), "= ".repeat(400_000)),
        format!("kernel k() grid 1 {{ x = {} {}; }}", "---(".repeat(60), "= ".repeat(400_000)),
        "}".repeat(500_000),
        "(".repeat(500_000),
        "kernel ".repeat(400_000),
        "fn f".repeat(400_000),
        "// c\n".repeat(500_000),
        "/// c\n".repeat(500_000) + "const A = 1;",
        "\u{1F600}".repeat(500_000),
        "\"".repeat(500_000),
        "/*".repeat(500_000),
        "const A = 1;\n".repeat(160_000),
        format!("table t: i8[1] = [{}];", "1, ".repeat(400_000)),
    ] {
        check(&text);
    }
    assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
}

#[test]
fn sources_beyond_the_limits() {
    let long = " ".repeat(MAX_SOURCE_BYTES) + "x";
    let mut sources = SourceMap::new();
    let error = sources.add("long.tile", long.as_str()).unwrap_err();
    assert_eq!(error.code, Code::SourceTooLong);
    assert!(render(&error, &sources, false).contains("long.tile"));
    assert_eq!(parse(Default::default(), &long).diagnostics[0].code, Code::SourceTooLong);
    assert_eq!(sources.add_bytes("long.tile", long.as_bytes()).unwrap_err().code, Code::SourceTooLong);

    let error = sources.add_bytes("bad.tile", b"const A = 1;\nconst \xFF = 2;").unwrap_err();
    assert_eq!(error.code, Code::InvalidUtf8);
    let span = error.primary_span().unwrap();
    assert_eq!(sources.source(span.source).text(), "const A = 1;\nconst ", "the good beginning is kept");
    assert!(render(&error, &sources, false).contains("bad.tile:2:7"));
}

#[test]
fn a_broken_statement_leaves_its_neighbours_alone() {
    let text = "kernel k() grid 1 { let a = 1; let b = = 2; let c = 3; } fn ok(x: f32) -> f32 { return x; }";
    let parsed = check(text);
    assert_eq!(parsed.diagnostics.len(), 1);
    let ItemKind::Kernel(kernel) = &parsed.file.items[0].kind else { panic!() };
    let kinds: Vec<bool> = kernel.body.stmts.iter().map(|s| matches!(s.kind, StmtKind::Error)).collect();
    assert_eq!(kinds, [false, true, false]);
    assert_eq!(parsed.file.items.len(), 2);
}

const WORDS: &[&str] = &[
    "kernel",
    "fn",
    "format",
    "program",
    "const",
    "use",
    "let",
    "var",
    "for",
    "while",
    "if",
    "else",
    "break",
    "return",
    "in",
    "out",
    "inout",
    "as",
    "zeros",
    "shared",
    "buffer",
    "true",
    "inf",
    "assert",
    "static_assert",
    "assume",
    "print",
    "tune",
    "fit",
    "grid",
    "lanes",
    "by",
    "pipeline",
    "group",
    "per",
    "table",
    "value",
    "encode",
    "hyper",
    "weight",
    "state",
    "input",
    "output",
    "grows",
    "to",
    "with",
    "wrap",
    "saturate",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "{",
    "}",
    ",",
    ";",
    ";",
    ";",
    ":",
    ".",
    "..",
    "@",
    "->",
    "+:",
    "=",
    "=",
    "+=",
    "||",
    "&",
    "==",
    "<",
    "<<",
    "+",
    "-",
    "*",
    "!",
    "x",
    "y",
    "M",
    "x",
    "y",
    "f32",
    "u4",
    "1",
    "2.5",
    "\"text\"",
    "\n",
    "\n",
    "// c\n",
    "/// d\n",
    "\"open",
    "?",
];

/// Text that is nearly right: the file of every construct with a few words changed.
fn nearly_right() -> impl Strategy<Value = String> {
    let text = include_str!("every_construct.tile");
    let edit = (0..text.len(), 0usize..12, prop::sample::select(WORDS));
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut out = text.to_owned();
        for (at, removed, word) in edits {
            let at = at.min(out.len());
            let end = (at + removed).min(out.len());
            out.replace_range(at..end, word);
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut sources = SourceMap::new();
        let id = match sources.add_bytes("any.tile", &bytes) {
            Ok(id) => id,
            Err(d) => { render(&d, &sources, false); d.primary_span().unwrap().source }
        };
        let text = sources.source(id).text().to_owned();
        check(&text);
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        check(&text);
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..120)) {
        check(&words.join(" "));
        check(&format!("kernel k() grid 1 {{ {} }}", words.join(" ")));
    }

    #[test]
    fn nearly_right_files(text in nearly_right()) {
        check(&text);
    }
}

/// Expressions as text with all parentheses written.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        &["x", "y", "1", "2.5", "true", "inf", "x[0]", "f(x, axis = 1)", "zeros f32[2]"][..],
    )
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let symbols: Vec<&'static str> = tvmc_lang::ast::BinaryOp::ALL.iter().map(|op| op.symbol()).collect();
        prop_oneof![
            (inner.clone(), prop::sample::select(symbols), inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (prop::sample::select(&["-", "!", "~"][..]), inner.clone())
                .prop_map(|(op, a)| format!("{op}({a})")),
            inner.clone().prop_map(|a| format!("({a}) as f16")),
            inner.clone().prop_map(|a| format!("({a}).T")),
            inner.clone().prop_map(|a| format!("({a}).reshape(1, 2)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b} +: 4, ..]")),
            inner.clone().prop_map(|a| format!("g({a}, i32)")),
        ]
    })
}

/// The shape of an expression, with every node in brackets.
fn shape(file: &File, text: &str, id: tvmc_lang::ast::ExprId) -> String {
    let kind = &file[id].kind;
    let mut children = Vec::new();
    kind.for_each_child(&mut |child| children.push(shape(file, text, child)));
    let own = match kind {
        tvmc_lang::ast::ExprKind::Binary { op, .. } => op.symbol().to_owned(),
        tvmc_lang::ast::ExprKind::Unary { op, .. } => op.symbol().to_owned(),
        _ if children.is_empty() => text[file[id].span.range()].to_owned(),
        other => format!("{:?}", std::mem::discriminant(other)),
    };
    format!("[{own} {}]", children.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// The printer puts parentheses exactly where precedence needs them.
    #[test]
    fn printing_keeps_the_shape_of_expressions(expr in expression()) {
        let text = function(&expr);
        let mut parsed = parse(Default::default(), &text);
        prop_assert!(parsed.is_ok(), "{text}: {:?}", parsed.diagnostics);
        parsed.file.exprs.forget_parentheses();
        let printed = tvmc_lang::print::print(&parsed.file, &text);
        let again = parse(Default::default(), &printed);
        prop_assert!(again.is_ok(), "{printed}: {:?}", again.diagnostics);
        let root = |file: &File| match &file.items[0].kind {
            ItemKind::Function(f) => f.body.result,
            _ => panic!("a fn"),
        };
        prop_assert_eq!(
            shape(&parsed.file, &text, root(&parsed.file)),
            shape(&again.file, &printed, root(&again.file))
        );
    }
}
