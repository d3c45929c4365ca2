//! Must-fail tests: each rule of the program verifier, with the place it names.

use tvmc_ir::host::{Binary, Expr};
use tvmc_ir::program::*;

/// Declarations that the cases share.
const HEAD: &str = r#"program @p {
  hyper L: i32 = "l"
  hyper H: i32 = "h" else L
  hyper eps: f32 = "eps" else 0.5
  const E = div(L, 2)
  const T = mul(V, 2)
  const U = add(S, T)
  weight w0 "embedding": any[V, L] = "e"
  weight w1 "gain"[L]: f32[mul(E, 2)] = "g.{}"
  weight w2 "head": any[V, L] = "h" else w0
  weight w3 "matrix"[L]: any[L, V] = "m.{}" else w1
  state s0 "keys": f16[L, E, V] grows V to add(start, S)
  buffer b0 "x": f32[S, U]
  input i0 "tokens": i32[S]
  scalar start: i32
  scalar heat: f32
  output o0 "logits": f32[R, V]
"#;

fn errors_of(text: &str) -> Vec<VerifyError> {
    let program = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    verify(program).err().unwrap_or_default()
}

/// The errors of what follows the shared head.
fn errors(rest: &str) -> Vec<VerifyError> {
    errors_of(&format!("{HEAD}{rest}\n}}"))
}

/// Rule and place of the only error.
fn only(errors: Vec<VerifyError>, text: &str) -> (Rule, String) {
    let [error] = errors.as_slice() else { panic!("{text}: {errors:?}") };
    assert!(error.to_string().contains(&format!("(rule {})", error.rule.number())), "{error}");
    (error.rule, error.at.clone())
}

#[test]
fn sound_programs_pass() {
    for rest in [
        "",
        "launch f()",
        "launch \"a.tile::f\"(w0, w1[0], w3[sub(L, 1)][0 +: 2], s0[0][1], b0 as [mul(S, U)], i0, o0[start]) with B = 4, C = -1",
        "launch f(scalar heat, scalar true, scalar lt(S, 4), scalar sqrt(to_float(U)))",
        "for l in 0..L { launch f(w1[l]) } for l in start..S { for m in l..R { launch f(scalar add(l, m)) } }",
        "if and(lt(S, 4), eq(heat, eps)) { launch f() } else { if true { } }",
        "weight w4 \"tail\": f32[add(V, L), Q, mul(Q, 2)] = \"t\"",
        "for x in 0..1 { }",
    ] {
        assert_eq!(errors(rest), [], "{rest}");
    }
}

#[test]
fn each_rule_refuses_declarations() {
    for (rest, rule, at) in [
        ("hyper L: i32 = \"k\"", Rule::Names, "hyper L"),
        ("const eps = 1", Rule::Names, "const eps"),
        ("const embedding = 1", Rule::Names, "weight w0"),
        ("scalar H: f32", Rule::Names, "scalar H"),
        ("buffer b1 \"keys\": f32[1]", Rule::Names, "buffer b1"),
        ("buffer b1 \"\": f32[1]", Rule::Names, "buffer b1"),
        ("const A = B const B = 1", Rule::Scope, "const A"),
        ("hyper A: i32 = \"a\" else E", Rule::Scope, "hyper A"),
        ("hyper A: i32 = \"a\" else A", Rule::Scope, "hyper A"),
        ("hyper A: i32 = \"a\" else S", Rule::Scope, "hyper A"),
        ("buffer b1 \"t\": f32[S, Z]", Rule::Scope, "buffer b1"),
        ("input i1 \"t\": f32[add(Z, 1)]", Rule::Scope, "input i1"),
        ("weight w4 \"t\"[V]: f32[L] = \"t{}\"", Rule::Phase, "weight w4"),
        ("weight w4 \"t\"[S]: f32[L] = \"t{}\"", Rule::Phase, "weight w4"),
        ("weight w4 \"t\": f32[T] = \"t\"", Rule::Phase, "weight w4"),
        ("weight w4 \"t\": f32[start] = \"t\"", Rule::Phase, "weight w4"),
        ("weight w4 \"t\": f32[mul(Q, 2), Q] = \"t\"", Rule::Phase, "weight w4"),
        ("state s1 \"t\": f32[S]", Rule::Phase, "state s1"),
        ("state s1 \"t\": f32[U]", Rule::Phase, "state s1"),
        ("const A = add(L, eps)", Rule::Kinds, "const A"),
        ("const A = not(L)", Rule::Kinds, "const A"),
        ("const A = rem(eps, eps)", Rule::Kinds, "const A"),
        ("hyper A: i32 = \"a\" else 1.0", Rule::Kinds, "hyper A"),
        ("hyper A: f32 = \"a\" else L", Rule::Kinds, "hyper A"),
        ("weight w4 \"t\"[eps]: f32[L] = \"t{}\"", Rule::Kinds, "weight w4"),
        ("weight w4 \"t\": f32[eps] = \"t\"", Rule::Kinds, "weight w4"),
        ("output o1 \"t\": f32[heat]", Rule::Kinds, "output o1"),
        ("hyper A: u32 = \"a\"", Rule::Numbers, "hyper A"),
        ("scalar A: f16", Rule::Numbers, "scalar A"),
        ("state s1 \"t\": format \"q\"[V] grows V to S", Rule::Grows, "state s1"),
        ("output o1 \"t\": format \"q\"[L]", Rule::Numbers, "output o1"),
        ("state s1 \"t\": f32[]", Rule::Rank, "state s1"),
        ("weight w4 \"t\": any[] = \"t\"", Rule::Rank, "weight w4"),
        ("buffer b1 \"t\": f32[1, 1, 1, 1, 1, 1, 1, 1, 1]", Rule::Rank, "buffer b1"),
        ("weight w4 \"t\": f32[L] = \"t{}\"", Rule::Pattern, "weight w4"),
        ("weight w4 \"t\"[L]: f32[L] = \"t\"", Rule::Pattern, "weight w4"),
        ("weight w4 \"t\"[L]: f32[L] = \"{}.{}\"", Rule::Pattern, "weight w4"),
        ("weight w4 \"t\": f32[L] = \"t\" else w4", Rule::Fallback, "weight w4"),
        ("weight w4 \"t\": f32[L] = \"t\" else w5", Rule::Fallback, "weight w4"),
        ("weight w4 \"t\": f32[L] = \"t\" else w1", Rule::Fallback, "weight w4"),
        ("weight w4 \"t\"[L]: any[L] = \"t{}\" else w0", Rule::Fallback, "weight w4"),
        ("state s1 \"t\": f32[mul(L, 2)] grows L to S", Rule::Grows, "state s1"),
        ("buffer b1 \"t\": f32[S] grows S to S", Rule::Grows, "buffer b1"),
        ("state s1 \"t\": f32[L, L] grows L to S", Rule::Grows, "state s1"),
        ("state s1 \"t\": f32[L] grows L to heat", Rule::Kinds, "state s1"),
        ("state s1 \"t\": f32[L] grows L to nowhere", Rule::Scope, "state s1"),
        ("launch f(s0 as [L])", Rule::Grows, "body[0]"),
    ] {
        assert_eq!(only(errors(rest), rest), (rule, at.to_owned()), "{rest}");
    }
}

#[test]
fn each_rule_refuses_statements() {
    for (rest, rule, at) in [
        ("for L in 0..1 { }", Rule::Names, "body[0]"),
        ("for S in 0..1 { }", Rule::Names, "body[0]"),
        ("for l in 0..1 { for l in 0..1 { } }", Rule::Names, "body[0].body[0]"),
        ("for \"\" in 0..1 { }", Rule::Names, "body[0]"),
        ("for l in 0..1 { } launch f(scalar l)", Rule::Scope, "body[1]"),
        ("for l in 0..l { }", Rule::Scope, "body[0]"),
        ("for l in 0..eps { }", Rule::Kinds, "body[0]"),
        ("if L { }", Rule::Kinds, "body[0]"),
        ("if true { } else { launch f(b0[heat]) }", Rule::Kinds, "body[0].else[0]"),
        ("launch f(scalar neg(true))", Rule::Kinds, "body[0]"),
        ("if true { launch f(b0 as [1.0]) }", Rule::Kinds, "body[0].then[0]"),
        ("launch f(b1)", Rule::Declaration, "body[0]"),
        ("launch f(w4294967295)", Rule::Declaration, "body[0]"),
        ("launch f(s1[0])", Rule::Declaration, "body[0]"),
        ("launch f(i1)", Rule::Declaration, "body[0]"),
        ("launch f(o1)", Rule::Declaration, "body[0]"),
        ("launch f(w1)", Rule::List, "body[0]"),
        ("launch f(w1[0 +: 1])", Rule::List, "body[0]"),
        ("launch f(i0[0][0])", Rule::View, "body[0]"),
        ("launch f(i0[0][0 +: 1])", Rule::View, "body[0]"),
        ("launch f(w0[0][0])", Rule::View, "body[0]"),
        ("launch f(w3[0] as [4][0])", Rule::View, "body[0]"),
        ("launch f(b0 as [])", Rule::View, "body[0]"),
        ("launch f(b0 as [1, 1, 1, 1, 1, 1, 1, 1, 1])", Rule::View, "body[0]"),
        ("launch \"\"()", Rule::Launch, "body[0]"),
        ("launch \"a::\"()", Rule::Launch, "body[0]"),
        ("launch f() with B = 1, B = 2", Rule::Launch, "body[0]"),
    ] {
        assert_eq!(only(errors(rest), rest), (rule, at.to_owned()), "{rest}");
    }
}

#[test]
fn a_single_weight_is_not_indexed_as_a_list() {
    let mut program = parse(&format!("{HEAD} launch f(w0) }}")).unwrap();
    program.body = vec![Stmt::Launch {
        kernel: "f".into(),
        args: vec![Argument::Memory { base: Base::Weight(Weight(0), Some(Expr::int(0))), views: Vec::new() }],
        with: Vec::new(),
        location: String::new(),
    }];
    assert_eq!(only(verify(program).unwrap_err(), "index"), (Rule::List, "body[0]".to_owned()));
}

#[test]
fn a_program_has_a_name() {
    assert_eq!(only(errors_of("program @\"\" { }"), "name"), (Rule::Names, "program".to_owned()));
}

#[test]
fn sizes_have_limits() {
    let broken = |program: Program| {
        let errors = verify(program).unwrap_err();
        assert_eq!(errors[0].rule, Rule::Limits, "{errors:?}");
        assert!(errors.len() <= MAX_ERRORS);
        errors[0].at.clone()
    };
    let launch = |args: Vec<Argument>| Stmt::Launch {
        kernel: "f".into(),
        args,
        with: Vec::new(),
        location: String::new(),
    };
    let named = |body: Vec<Stmt>| Program { name: "p".into(), body, ..Program::default() };

    let deep = (0..=MAX_DEPTH).fold(launch(Vec::new()), |inner, _| Stmt::If {
        condition: true_(),
        then: vec![inner],
        otherwise: Vec::new(),
    });
    assert!(broken(named(vec![deep])).starts_with("body[0].then[0].then[0]"));
    broken(named(vec![launch(Vec::new()); MAX_STATEMENTS + 1]));
    broken(named(vec![launch(vec![Argument::Scalar(Expr::int(1)); MAX_ARGUMENTS + 1])]));

    let steps = vec![View::Shape(vec![Expr::int(1)]); MAX_VIEWS + 1];
    let memory = Argument::Memory { base: Base::Buffer(Buffer(0)), views: steps };
    let mut program = parse("program @p { buffer b0 \"x\": f32[1] }").unwrap();
    program.body = vec![launch(vec![memory])];
    broken(program);

    let chain = |n: usize| (0..n).fold(Expr::int(1), |e, _| Expr::binary(Binary::Add, Expr::int(1), e));
    let wide = |n: u32| (0..n).fold(Expr::int(1), |e, _| Expr::binary(Binary::Add, e.clone(), e));
    assert!(verify(named(vec![launch(vec![Argument::Scalar(chain(256))])])).is_ok());
    broken(named(vec![launch(vec![Argument::Scalar(chain(257))])]));
    assert!(verify(named(vec![launch(vec![Argument::Scalar(wide(11))])])).is_ok());
    broken(named(vec![launch(vec![Argument::Scalar(wide(12))])]));

    let consts = (0..=MAX_DECLARATIONS).map(|n| (format!("c{n}"), Expr::int(1))).collect();
    broken(Program { name: "p".into(), consts, ..Program::default() });
}

fn true_() -> Expr {
    "true".parse().unwrap()
}

#[test]
fn errors_stop_at_their_limit() {
    let body = "launch f(b7)\n".repeat(3 * MAX_ERRORS);
    assert_eq!(errors(&body).len(), MAX_ERRORS);
}

const KERNEL: &str = r#"interface @k {
  generic W: format
  generic F: float
  generic I: int
  tensor "a": generic W[N, K] read
  tensor "b": generic F[K] read
  tensor "c": generic F[K] write
  tensor "d": generic I[N] read
  tensor "e": f32[N, K] readwrite
  scalar "s": f32
  scalar "n": u32
  dim N
  dim K specialised
  tune B = 4, 8
}"#;

fn launch_errors(rest: &str) -> Vec<VerifyError> {
    let interface = Interface::parse(KERNEL).unwrap();
    let text = format!("{HEAD}{rest}\n}}");
    let program = verify(parse(&text).unwrap()).unwrap_or_else(|errors| panic!("{rest}: {errors:?}"));
    verify_launches(&program, &|name| (name == "k").then_some(&interface)).err().unwrap_or_default()
}

#[test]
fn launches_that_fit_pass() {
    for rest in [
        "launch k(w0, b0[0], o0[0], i0, b0, scalar heat, scalar S) with B = 8",
        "launch k(b0, s0[0][0], s0[0][1], i0, b0, scalar sqrt(eps), scalar U)",
        "for l in 0..L { launch k(w3[l], w1[l], b0[l], i0 as [S], b0[0 +: 2], scalar 1.0, scalar l) }",
    ] {
        assert_eq!(launch_errors(rest), [], "{rest}");
    }
}

#[test]
fn each_rule_refuses_launches() {
    for (rest, rule, at) in [
        ("launch g()", Rule::Kernel, "body[0]"),
        ("if true { launch k(w0) }", Rule::Count, "body[0].then[0]"),
        ("launch k(scalar 1, b0[0], o0[0], i0, b0, scalar heat, scalar S)", Rule::Argument, "body[0]"),
        ("launch k(w0, b0[0], o0[0], i0, b0, b0, scalar S)", Rule::Argument, "body[0]"),
        ("launch k(w0, b0[0], o0[0], i0, b0, scalar 1, scalar S)", Rule::Argument, "body[0]"),
        ("launch k(w0, b0[0], o0[0], i0, b0, scalar heat, scalar heat)", Rule::Argument, "body[0]"),
        ("launch k(w0, b0[0], o0[0], i0, b0, scalar heat, scalar true)", Rule::Argument, "body[0]"),
        ("launch k(w0, b0[0], s0[0][0], i0, b0, scalar heat, scalar S)", Rule::Element, "body[0]"),
        ("launch k(w0, i0, i0, i0, b0, scalar heat, scalar S)", Rule::Element, "body[0]"),
        ("launch k(w0, b0[0], o0[0], w0[0], b0, scalar heat, scalar S)", Rule::Element, "body[0]"),
        ("launch k(w0, b0[0], o0[0], b0[0], b0, scalar heat, scalar S)", Rule::Element, "body[0]"),
        ("launch k(w0, b0[0], o0[0], i0, s0[0], scalar heat, scalar S)", Rule::Element, "body[0]"),
        ("launch k(w0, b0, o0[0], i0, b0, scalar heat, scalar S)", Rule::Axes, "body[0]"),
        ("launch k(w0[0], b0[0], o0[0], i0, b0, scalar heat, scalar S)", Rule::Axes, "body[0]"),
        (
            "for l in 0..1 { launch k(w0, b0[0], w1[l], i0, b0, scalar heat, scalar S) }",
            Rule::Access,
            "body[0].body[0]",
        ),
        ("launch k(w0, b0[0], o0[0], i0, b0, scalar heat, scalar S) with B = 5", Rule::Tune, "body[0]"),
        ("launch k(w0, b0[0], o0[0], i0, b0, scalar heat, scalar S) with C = 4", Rule::Tune, "body[0]"),
    ] {
        let errors = launch_errors(rest);
        assert_eq!((errors[0].rule, errors[0].at.as_str()), (rule, at), "{rest}: {errors:?}");
    }
}

#[test]
fn a_weight_of_any_format_stands_for_one_parameter() {
    let two = "interface @k { generic W: format tensor \"a\": generic W[N] read tensor \"b\": generic W[N] read dim N }";
    let two = Interface::parse(two).unwrap();
    let errors = |args: &str| {
        let program = verify(parse(&format!("{HEAD} launch k({args}) }}")).unwrap()).unwrap();
        verify_launches(&program, &|_| Some(&two)).err().unwrap_or_default()
    };
    assert_eq!(errors("b0[0], b0[1]"), []);
    for args in ["w0[0], w2[0]", "w0[0], b0[0]", "b0[0], w0[0]", "b0[0], i0"] {
        assert_eq!(only(errors(args), args), (Rule::Element, "body[0]".to_owned()), "{args}");
    }
}

#[test]
fn interfaces_are_checked() {
    for (text, why) in [
        ("interface @\"\" { }", "no name"),
        ("interface @k { dim N dim N }", "taken"),
        ("interface @k { tensor \"N\": f32[N] read dim N }", "taken"),
        ("interface @k { tensor \"a\": f32[N] read }", "unknown"),
        ("interface @k { tensor \"a\": generic W[1] read }", "unknown type"),
        ("interface @k { tensor \"a\": format \"\"[1] read }", "unknown type"),
        ("interface @k { tensor \"a\": f32[1, 1, 1, 1, 1, 1, 1, 1, 1] read }", "9 axes"),
        ("interface @k { scalar \"s\": f16 }", "f16"),
        ("interface @k { tensor \"a\": f32[s] read scalar \"s\": f32 }", "unknown"),
        ("interface @k { tune B = 1 fit N }", "unknown"),
    ] {
        let message = Interface::parse(text).unwrap().check().unwrap_err();
        assert!(message.contains(why), "{text}: {message}");
    }
    assert_eq!(Interface::parse(KERNEL).unwrap().check(), Ok(()));
}

#[test]
fn an_instance_has_an_interface() {
    let text = r#"kernel @k {
      dim N
      format f0 "half" group 2 bytes 2 { v0: f32 = const 1.0 value v0 }
      tensor p0 "x": format f0[N] read
      scalar p1 "n": i32
      tensor p2 "y": f32[n] write
      grid N
    }"#;
    let kernel = tvmc_ir::tile::verify(tvmc_ir::tile::parse(text).unwrap()).unwrap();
    let want = "interface @k { tensor \"x\": format \"half\"[N] read scalar \"n\": i32 tensor \"y\": f32[n] write dim N }";
    let interface = Interface::from(&*kernel);
    assert_eq!(interface, Interface::parse(want).unwrap());
    assert_eq!(interface.check(), Ok(()));
}
