//! Must-fail tests: each rule of the tile verifier, with the place it names.

use tvmc_ir::tile::*;

/// Declarations that the cases share: values v0 to v7.
const HEAD: &str = r#"kernel @k {
  dim N
  format f0 "half" group 2 bytes 2 {
    field "q": u8[2] at 0 modes (2:1)
    table f32 [0x0, 0x1]
    v0: i32 = group_index
    v1: u8 = field 0 v0
    v2: f32 = cast.exact v1
    value v2
  }
  tensor p0 "r": f32[N, 64] read
  tensor p1 "w": f16[64] write
  tensor p2 "q": format f0[N, 64] read
  scalar p3 "n": i32
  scalar p4 "s": f32
  shared s0 "t": i32[4, 4]
  message 0 "none"
  message 1 "one {}"
  grid N, 2
  v0: i32 = const 1
  v1: f32 = const 1.0
  v2: bool = const true
  v3: f32[4, 8] = load p0[v0 +: 4, v0 +: 8]
  v4: i32[8] = iota
  v5: f16[8] = load p1[v0 +: 8]
  v6: u32 = const 7
  v7: bool[4, 8] = lt v3, v3
"#;

fn errors_of(text: &str) -> Vec<VerifyError> {
    let kernel = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    verify(kernel).err().unwrap_or_default()
}

/// The errors of a body after the shared head, whose last statement is `body[7]`.
fn errors(body: &str) -> Vec<VerifyError> {
    errors_of(&format!("{HEAD}{body}\n}}"))
}

#[test]
fn the_shared_head_is_valid() {
    assert_eq!(errors(""), []);
}

#[test]
fn sound_statements_pass() {
    for body in [
        "v8: f32[64] = load p2[v0, v0 +: 64] else v1",
        "v8: f32[8, 4] = permute (1, 0) v3 v9: f32[4, 4] = load p0[v0 +: 4, v0 +: 4] v10: f32[4, 4] = dot v3, v8, v9",
        "v8: f32[2, 16] = reshape v3 v9: f32[2, 2, 16] = broadcast v8 v10: f32[2, 16] = reduce.max 0 v9",
        "v8: i32[1, 1] = broadcast v0 v9: i32 = reshape v8 store s0[v0, v0], v9",
        "v8: f32[8] = cast.exact v5 v9: f16[8] = cast.round v8 store p1[v0 +: 8], v9",
        "(v8: i32, v9: f32) = for v10 in v0..v0 by 2 carry (v11: i32 = v0, v12: f32 = v1) { yield v10, v12 }",
        "(v8: i32) = loop carry (v9: i32 = v0) { v10: bool = lt v9, v0 again v10 yield v0 }",
        "(v8: f32) = if v2 { yield v1 } else { v9: f32 = neg v1 yield v9 }",
        "v8: bool = reduce.any 0 v9 v9: bool[4] = reduce.all 1 v7",
    ] {
        let found = errors(body);
        let expected = usize::from(body.contains("reduce.any 0 v9"));
        assert_eq!(found.len(), expected, "{body}: {found:?}");
    }
}

#[test]
fn each_rule_of_statements_is_checked() {
    use Rule::*;
    let cases: &[(&str, Rule, &str)] = &[
        // Types
        ("v8: f32[4, 0] = broadcast v1", Types, "v8"),
        ("v8: f32[2000, 2000] = broadcast v1", Types, "v8"),
        ("v8: f32[1, 1, 1, 1, 1, 1, 1, 1, 1] = broadcast v1", Types, "v8"),
        ("v8: i32[4294967295, 4294967295, 4294967295] = broadcast v0", Types, "v8"),
        // Single definition
        ("v8: i32 = const 1 v8: i32 = const 1", SingleDefinition, "body[9]"),
        ("for v0 in v0..v0 by 1 { }", SingleDefinition, "body[8]"),
        ("(v8: f32) = if v2 { yield v1 } else { v8: f32 = const 1.0 yield v8 }", SingleDefinition, "body[8]"),
        // Scope
        ("v8: i32 = add v8, v0", Scope, "body[8]"),
        ("v8: i32 = add v9, v0 v9: i32 = const 1", Scope, "body[8]"),
        ("if v2 { v8: i32 = const 1 } v9: i32 = add v8, v0", Scope, "body[9]"),
        ("if v2 { v8: i32 = const 1 } else { v9: i32 = add v8, v0 }", Scope, "body[8].else[0]"),
        ("for v8 in v0..v0 by 1 { } v9: i32 = add v8, v0", Scope, "body[9]"),
        ("for v8 in v0..v8 by 1 { }", Scope, "body[8]"),
        ("(v8: f32) = for v9 in v0..v0 by 1 carry (v10: f32 = v8) { yield v10 }", Scope, "body[8]"),
        ("loop { if v2 { v8: bool = const true } again v8 }", Scope, "body[8]"),
        ("v8: i32 = add v0, v99", Scope, "body[8]"),
        // Operand count
        ("v8: i32 = add v0", OperandCount, "body[8]"),
        ("v8: f32 = fma v1, v1", OperandCount, "body[8]"),
        ("v8: f32[8] = reduce.sum 0 v3, v3", OperandCount, "body[8]"),
        ("assert 0", OperandCount, "body[8]"),
        // DType
        ("v8: i32 = add v0, v6", DType, "body[8]"),
        ("v8: f16[8] = add v5, v5", DType, "body[8]"),
        ("v8: f32 = rem v1, v1", DType, "body[8]"),
        ("v8: i32 = sqrt v0", DType, "body[8]"),
        ("v8: bool = lt v2, v2", DType, "body[8]"),
        ("v8: bool = neg v2", DType, "body[8]"),
        ("v8: i32 = fma v0, v0, v0", DType, "body[8]"),
        ("v8: f32 = select v0, v1, v1", DType, "body[8]"),
        ("v8: f16[8] = const bits 0x0", Shape, "body[8]"),
        ("v8: f16 = const 1.0", DType, "body[8]"),
        ("v8: bool = const bits 0x2", DType, "body[8]"),
        ("v8: f16 = reduce.sum 0 v5", DType, "body[8]"),
        ("v8: bool[8] = reduce.max 0 v7", DType, "body[8]"),
        ("v8: i32 = reduce.any 0 v4", DType, "body[8]"),
        ("v8: bool = bitcast v0", DType, "body[8]"),
        ("v8: u8[8] = bitcast v5", DType, "body[8]"),
        ("v8: u8[8] = bitcast v5 v9: e4m3[8] = bitcast v8 v10: u8[8] = bitcast v9", DType, "body[8]"),
        ("assert 0 v0", DType, "body[8]"),
        ("v8: bool[8, 4] = permute (1, 0) v7 v9: f32[4, 4] = dot v3, v8, v3", DType, "body[9]"),
        // Shape
        ("v8: f32[4, 8] = add v3, v1", Shape, "body[8]"),
        ("v8: f32[4, 8] = select v2, v3, v3", Shape, "body[8]"),
        ("v8: i32[4, 4] = iota", Shape, "body[8]"),
        ("v8: i32 = iota", Shape, "body[8]"),
        ("v8: f32[4] = broadcast v3", Shape, "body[8]"),
        ("v8: i32[8, 4] = broadcast v4", Shape, "body[8]"),
        ("v8: f32[31] = reshape v3", Shape, "body[8]"),
        ("v8: f32[4, 8] = dot v3, v3, v3", Shape, "body[8]"),
        ("v8: i32 = dot v4, v4, v0", Shape, "body[8]"),
        ("v8: f32[8, 4] = permute (1, 0) v3 v9: f32[4, 8] = dot v3, v8, v3", Shape, "body[9]"),
        // Axis
        ("v8: f32[4] = reduce.sum 2 v3", Axis, "body[8]"),
        ("v8: f32 = reduce.sum 0 v1", Axis, "body[8]"),
        ("v8: f32[4, 4] = permute (0, 0) v3", Axis, "body[8]"),
        ("v8: f32[4, 8] = permute (0) v3", Axis, "body[8]"),
        ("v8: i32 = block_index 3", Axis, "body[8]"),
        // Cast
        ("v8: f32 = cast.exact v0", Cast, "body[8]"),
        ("v8: f16 = cast.exact v1", Cast, "body[8]"),
        ("v8: i32 = cast.round v1", Cast, "body[8]"),
        ("v8: f32 = cast.saturate v0", Cast, "body[8]"),
        ("v8: bool = cast.wrap v0", Cast, "body[8]"),
        // Result
        ("add v0, v0", Result, "body[8]"),
        ("v8: f32 = add v0, v0", Result, "body[8]"),
        ("v8: f32[4] = neg v3", Result, "body[8]"),
        ("v8: i32[8] = lt v4, v4", Result, "body[8]"),
        ("v8: f32[8] = reduce.sum 1 v3", Result, "body[8]"),
        ("v8: f32[4, 8] = permute (1, 0) v3", Result, "body[8]"),
        ("v8: u32 = block_index 0", Result, "body[8]"),
        ("v8: i32[4, 8] = broadcast v1", Result, "body[8]"),
        ("v8: f32[8] = load p1[v0 +: 8]", Result, "body[8]"),
        ("v8: f32[7] = load p2[v0, v0 +: 8]", Result, "body[8]"),
        ("v8: i32 = store s0[v0, v0], v0", Result, "body[8]"),
        // Declaration
        ("v8: i32 = dim d1", Declaration, "body[8]"),
        ("v8: i32 = scalar p9", Declaration, "body[8]"),
        ("v8: f32 = scalar p0", Declaration, "body[8]"),
        ("v8: f32 = load p3[]", Declaration, "body[8]"),
        ("v8: f32 = load s1[v0]", Declaration, "body[8]"),
        // Memory
        ("v8: f32[8] = load p0[v0 +: 8]", Memory, "body[8]"),
        ("v8: f32 = load p0[v0, v6]", Memory, "body[8]"),
        ("v8: i32[8] = load s0[v0, v4 +: 8]", Memory, "body[8]"),
        ("v8: f32 = load p0[v0, v0] else v0", Memory, "body[8]"),
        ("v8: f32[8] = load p0[v0, v0 +: 8] else v3", Memory, "body[8]"),
        ("v8: f32[8] = cast.exact v5 store p1[v0 +: 8], v8", Memory, "body[9]"),
        ("store p1[v0 +: 4], v5", Memory, "body[8]"),
        ("store p1[v0], v5", Memory, "body[8]"),
        ("store p2[v0, v0], v1", Memory, "body[8]"),
        // Access
        ("store p0[v0, v0], v1", Access, "body[8]"),
        // Decode only
        ("v8: i32 = group_index", DecodeOnly, "body[8]"),
        ("v8: u8 = field 0 v0", DecodeOnly, "body[8]"),
        ("v8: f32 = table 0 v0", Declaration, "body[8]"),
        // For
        ("for v8 in v0..v0 by 0 { }", For, "body[8]"),
        ("for v8 in v0..v0 by 2147483648 { }", For, "body[8]"),
        ("for v8 in v0..v0 by 1 pipeline 0 { }", For, "body[8]"),
        ("for v8 in v0..v0 by 1 pipeline 17 { }", For, "body[8]"),
        ("for v8 in v6..v0 by 1 { }", For, "body[8]"),
        ("for v8 in v0..v4 by 1 { }", For, "body[8]"),
        // Carried
        ("for v8 in v0..v0 by 1 carry (v9: f32 = v1) { yield v9 }", Carried, "body[8]"),
        ("(v8: f32) = for v9 in v0..v0 by 1 carry (v10: f32 = v1) { }", Carried, "body[8]"),
        ("(v8: f32) = for v9 in v0..v0 by 1 carry (v10: f32 = v1) { yield v0 }", Carried, "body[8]"),
        ("(v8: f32) = for v9 in v0..v0 by 1 carry (v10: f32 = v0) { yield v10 }", Carried, "body[8]"),
        ("(v8: i32) = for v9 in v0..v0 by 1 carry (v10: f32 = v1) { yield v10 }", Carried, "body[8]"),
        ("(v8: f32) = loop carry (v9: f32 = v1) { again v2 yield v3 }", Carried, "body[8]"),
        ("(v8: f32) = if v2 { yield v1 } else { }", Carried, "body[8]"),
        ("(v8: f32) = if v2 { yield v1 } else { yield v0 }", Carried, "body[8]"),
        // Condition
        ("if v0 { } else { }", Condition, "body[8]"),
        ("if v7 { } else { }", Condition, "body[8]"),
        ("loop { again v1 }", Condition, "body[8]"),
        // Message
        ("assert 7 v2", Message, "body[8]"),
        ("print 7", Message, "body[8]"),
        ("print 0 v0", Message, "body[8]"),
        ("print 1", Message, "body[8]"),
    ];
    for (body, rule, at) in cases {
        let found = errors(body);
        let hit = found.iter().any(|e| e.rule == *rule && e.at == *at);
        assert!(hit, "{body}: {rule:?} at {at} is not among {found:?}");
    }
}

#[test]
fn each_rule_of_declarations_is_checked() {
    use Rule::*;
    let field = |line: &str| {
        format!("grid 1 format f0 \"f\" group 8 bytes 4 {{ {line} v0: f32 = const 1.0 value v0 }}")
    };
    let decode = |code: &str| {
        format!(
            "grid 1 format f0 \"f\" group 8 bytes 4 {{ field \"q\": u4[8] at 0 modes (2:4, 4:1) table i32 [0x7] {code} }}"
        )
    };
    let cases: Vec<(String, Rule, &str)> = vec![
        (String::new(), Header, "grid"),
        ("grid 1, 1, 1, 1".into(), Header, "grid"),
        ("grid M".into(), Header, "grid"),
        ("grid x scalar p0 \"x\": f32".into(), Header, "grid"),
        ("grid 1 tensor p0 \"t\": f32[M] read".into(), Header, "tensor p0"),
        ("grid 1 assume lt(M, 3) \"\"".into(), Header, "assume"),
        ("grid 1 dim N dim N".into(), Header, "dim N"),
        ("grid 1 dim N scalar p0 \"N\": i32".into(), Header, "scalar p0"),
        ("grid 1 scalar p0 \"N\": f16".into(), Header, "scalar p0"),
        ("grid 1 shared s0 \"t\": f32[0]".into(), Types, "shared s0"),
        ("grid 1 tensor p0 \"t\": f32[1, 1, 1, 1, 1, 1, 1, 1, 1] read".into(), Types, "tensor p0"),
        ("grid 1 tensor p0 \"t\": format f0[4] read".into(), Declaration, "tensor p0"),
        (field("").replace("grid 1", "grid 1 tensor p0 \"t\": format f0[] read"), Memory, "tensor p0"),
        (field("").replace("group 8", "group 0"), Format, "format f0"),
        (field("").replace("bytes 4", "bytes 0"), Format, "format f0"),
        (field("field \"q\": u4[9] at 0 modes (9:1)"), Format, "format f0"),
        (field("field \"q\": u4[8] at 1 modes (8:1)"), Format, "format f0"),
        (field("field \"q\": u4[0] at 0 modes (0:1)"), Format, "format f0"),
        (field("field \"q\": u4[8] at 0 modes (2:1, 2:2)"), Format, "format f0"),
        (field("field \"q\": u4[8] at 0 modes (2:1, 4:1)"), Format, "format f0"),
        (field("field \"q\": u4[8] at 0 modes (2:1, 4:4)"), Format, "format f0"),
        (field("field \"q\": u4[8] at 0 modes ()"), Format, "format f0"),
        (field("table u32 [0x1]"), Format, "format f0"),
        (field("table i32 []"), Format, "format f0"),
        (decode("v0: i32 = const 1 value v0"), Decode, "format f0"),
        (decode("v0: f32 = const 1.0 value v1"), Decode, "format f0"),
        (
            decode("v0: i32 = group_index v0: i32 = group_index v1: f32 = const 1.0 value v1"),
            Decode,
            "format f0[1]",
        ),
        (
            decode("v0: i32 = add v1, v1 v1: i32 = const 1 v2: f32 = const 1.0 value v2"),
            Decode,
            "format f0[0]",
        ),
        (decode("v0: f32 = const 1.0 v1: f32[2] = broadcast v0 value v0"), Decode, "format f0[1]"),
        (decode("v0: i32 = block_index 0 v1: f32 = const 1.0 value v1"), Decode, "format f0[0]"),
        (decode("v0: f32 = const 1.0 v1: u4 = field 0 v0 value v0"), Decode, "format f0[1]"),
        (
            decode("v0: i32 = const 1 v1: u4 = field 1 v0 v2: f32 = const 1.0 value v2"),
            Declaration,
            "format f0[1]",
        ),
        (
            decode("v0: i32 = const 1 v1: u8 = field 0 v0 v2: f32 = const 1.0 value v2"),
            Result,
            "format f0[1]",
        ),
        (decode("v0: i32 = const 1 v1: f32 = table 0 v0 value v1"), Result, "format f0[1]"),
        (decode("v0: i32 = const 1 v1: f32 = cast.exact v0 value v1"), Cast, "format f0[1]"),
        (decode("v0: f32 = const 1.0 assert 0 v0 value v0"), Decode, "format f0[1]"),
    ];
    for (declarations, rule, at) in cases {
        let found = errors_of(&format!("kernel @k {{ {declarations} }}"));
        let hit = found.iter().any(|e| e.rule == rule && e.at == at);
        assert!(hit, "{declarations}: {rule:?} at {at} is not among {found:?}");
    }
    for lanes in [0, 2000] {
        let found = errors_of(&format!("kernel @k lanes {lanes} {{ grid 1 }}"));
        assert_eq!(found[0].rule, Limits);
    }
}

#[test]
fn what_no_text_can_say_is_checked_too() {
    let sound = || parse(&format!("{HEAD}}}")).expect("it parses");
    let mut hole = sound();
    hole.values.push(TileType::scalar("f32".parse().expect("a dtype")));
    assert_eq!(verify(hole).expect_err("a hole")[0].rule, Rule::SingleDefinition);
    let mut nowhere = sound();
    if let Some(Stmt::Inst(inst)) = nowhere.body.stmts.first_mut() {
        inst.location = Some(3);
    }
    assert_eq!(verify(nowhere).expect_err("no such place")[0].rule, Rule::Location);
    let mut untyped = sound();
    untyped.body.stmts.push(Stmt::Inst(Inst {
        op: Op::Iota,
        args: vec![],
        result: Some(Value(1 << 30)),
        location: None,
    }));
    assert!(verify(untyped).expect_err("no type").iter().any(|e| e.rule == Rule::SingleDefinition));
    let mut counter = sound();
    counter.body.stmts.push(Stmt::For {
        counter: Value(8),
        from: Value(0),
        to: Value(0),
        step: 1,
        pipeline: 1,
        carried: vec![],
        body: Region::default(),
        yields: vec![],
        results: vec![],
    });
    counter.values.push(TileType::scalar("u32".parse().expect("a dtype")));
    assert_eq!(verify(counter).expect_err("a counter of u32")[0].rule, Rule::For);
}

#[test]
fn depth_and_errors_are_limited() {
    let mut deep = parse(&format!("{HEAD}}}")).expect("it parses");
    let mut inner = Region::default();
    for _ in 0..1000 {
        inner = Region {
            stmts: vec![Stmt::If {
                condition: Value(2),
                then: inner,
                then_yields: vec![],
                otherwise: Region::default(),
                otherwise_yields: vec![],
                results: vec![],
            }],
        };
    }
    deep.body.stmts.extend(inner.stmts);
    let _ = deep.to_string();
    assert!(verify(deep).expect_err("too deep").iter().any(|e| e.rule == Rule::Limits));
    let many = format!("{HEAD}{}}}", "add v0, v0 ".repeat(1000));
    assert_eq!(errors_of(&many).len(), MAX_ERRORS);
}

/// Rule 23, case by case: declarations before the body, statements after the shared head.
#[test]
fn layouts() {
    let check = |pins: &str, body: &str| -> Vec<(Rule, String)> {
        let text = format!("{}{body}\n}}", HEAD.replace("  grid N, 2\n", &format!("{pins}\n  grid N, 2\n")));
        errors_of(&text).into_iter().map(|e| (e.rule, e.at)).collect()
    };
    let view = "v8: u8[8] = cast.wrap v4 v9: u16[4] = view v8";
    let good = "layout v8 \"spatial(4).local(2)\" layout v9 \"spatial(4)\" at \"a:1:2\"";
    assert_eq!(check(good, view), []);
    let at = |rule: Rule, place: &str| vec![(rule, place.to_owned())];
    for (pins, body, place) in [
        // Not of the value's shape; of other lanes than the other, or than can be; of no value.
        ("layout v4 \"local(4)\"", "", "v4"),
        ("layout v4 \"spatial(8)\" layout v5 \"local(8)\"", "", "v5"),
        ("layout v4 \"replicated(2048).local(8)\"", "", "v4"),
        ("layout v77 \"local(8)\"", "", "v77"),
        // Operand or result not pinned; other bits; copies that are none.
        ("layout v8 \"spatial(4).local(2)\"", view, "body[9]"),
        ("layout v9 \"spatial(4)\"", view, "body[9]"),
        ("layout v8 \"spatial(2).local(4)\" layout v9 \"replicated(2).local(4)\"", view, "body[9]"),
        ("layout v8 \"spatial(8)\" layout v9 \"replicated(2).spatial(4)\"", view, "body[9]"),
        ("", "v8: i32[8] = relayout v4", "body[8]"),
        // A layout that follows from nothing; a lane without the element that it negates.
        ("layout v4 \"local(8)\" from v1 by reshape", "", "v4"),
        ("layout v4 \"spatial(8)\" layout v8 \"replicated(8).local(8)\"", "v8: i32[8] = neg v4", "body[8]"),
        // A variable that changes its layout.
        (
            "layout v8 \"local(8)\" layout v10 \"local(2, 4).reshape(8).reshape(8)\" layout v4 \"column_local(2, 4).reshape(8)\"",
            "(v10: i32[8]) = for v9 in v0..v0 by 1 carry (v8: i32[8] = v4) { yield v8 }",
            "body[8]",
        ),
    ] {
        assert_eq!(check(pins, body), at(Rule::Layout, place), "{pins}: {body}");
    }
    assert_eq!(check(good, "v8: u8[8] = cast.wrap v4 v9: f16[4] = view v8"), at(Rule::DType, "body[9]"));
    assert_eq!(check(good, "v8: u8[8] = cast.wrap v4 v9: u16[4] = view v8, v8")[0].0, Rule::OperandCount);
    for (pins, words) in [
        ("layout v4 \"lokal(8)\"", "no layout"),
        ("layout v4 \"local(8)\" layout v4 \"local(8)\"", "pinned twice"),
        ("layout v4 \"local(8)\" from v1 by magic", "no rule of layouts"),
    ] {
        let error = parse(&format!("kernel @k {{ {pins} grid 1 }}")).expect_err(pins);
        assert!(error.message.contains(words), "{error}");
    }
}
