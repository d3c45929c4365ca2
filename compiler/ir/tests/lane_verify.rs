//! Must-fail tests: each rule of the verifier, with the place it names.

use tvmc_ir::lane::*;

/// Declarations that the cases share: values v0 to v9.
const HEAD: &str = r#"kernel @k lanes 8 {
  buffer b0 "r" read
  buffer b1 "w" write
  buffer b2 "rw" readwrite
  scalar v0: u.i32 "n"
  scalar v1: u.f32 "s"
  scalar v2: u.i64 "l"
  scalar v3: u.bool "c"
  arena a0 64
  table t0 f32 [1.0]
  message 0 "none"
  message 1 "one {}"
  v4: v.i32 = lane_index
  v5: v.f32 = splat v1
  v6: v.bool = splat v3
"#;

/// The errors of a body after the shared head, whose last statement is `body[2]`.
fn errors(body: &str) -> Vec<VerifyError> {
    let function = parse(&format!("{HEAD}{body}\n}}")).unwrap_or_else(|error| panic!("{body}: {error}"));
    verify(function).err().unwrap_or_default()
}

#[test]
fn the_shared_head_is_valid() {
    assert_eq!(errors(""), []);
}

#[test]
fn each_rule_is_checked() {
    use Rule::*;
    let cases: &[(&str, Rule, &str)] = &[
        // Single definition
        ("v7: v.i32 = lane_index v7: v.i32 = lane_index", SingleDefinition, "body[4]"),
        ("v4: v.i32 = lane_index", SingleDefinition, "body[3]"),
        ("for v0: u.i32 in v0..v0 step 1 { }", SingleDefinition, "body[3]"),
        // Scope
        ("v7: v.i32 = iadd v7, v4", Scope, "body[3]"),
        ("v7: v.i32 = iadd v8, v4 v8: v.i32 = lane_index", Scope, "body[3]"),
        ("if v3 { v7: v.i32 = lane_index } v8: v.i32 = iadd v7, v4", Scope, "body[4]"),
        ("if v3 { v7: v.i32 = lane_index } else { v8: v.i32 = iadd v7, v4 }", Scope, "body[3].else[0]"),
        ("for v7: u.i32 in v0..v0 step 1 { } v8: u.i32 = iadd v7, v0", Scope, "body[4]"),
        ("for v7: u.i32 in v0..v7 step 1 { }", Scope, "body[3]"),
        (
            "(v7: v.i32) = for v8: u.i32 in v0..v0 step 1 carry (v9: v.i32 = v7) { yield v9 }",
            Scope,
            "body[3]",
        ),
        ("(v7: v.i32) = if v3 { v8: v.i32 = lane_index yield v8 } else { yield v8 }", Scope, "body[3]"),
        ("loop { if v3 { v7: u.bool = const.bool true } again v7 }", Scope, "body[3]"),
        (
            "for v7: u.i32 in v0..v0 step 1 { if v3 { } else { v8: v.i32 = iadd v4, v99 } }",
            Scope,
            "body[3].body[0].else[0]",
        ),
        // i64 is uniform
        ("v7: v.i64 = splat v2", UniformI64, "v7"),
        // Operand count
        ("v7: v.f32 = fadd v5", OperandCount, "body[3]"),
        ("v7: v.f32 = fma v5, v5", OperandCount, "body[3]"),
        ("v7: v.i32 = splat", OperandCount, "body[3]"),
        ("v7: u.f32 = extract v5", OperandCount, "body[3]"),
        ("assert 0", OperandCount, "body[3]"),
        // Operand kind
        ("v7: v.f32 = fadd v5, v4", OperandKind, "body[3]"),
        ("v7: v.f32 = select v6, v5, v4", OperandKind, "body[3]"),
        ("v7: v.f32 = select v4, v5, v5", OperandKind, "body[3]"),
        ("v7: u.f32 = reduce.fadd v4", OperandKind, "body[3]"),
        ("v7: v.f32 = shuffle v5, v5", OperandKind, "body[3]"),
        ("v7: u.i32 = load.uniform.i32 b0[v0]", OperandKind, "body[3]"),
        ("store.contig.f32 b1[v2], v4", OperandKind, "body[3]"),
        ("v7: v.f32 = load.contig.f32 b0[v2] mask v4", OperandKind, "body[3]"),
        ("v7: v.i32 = load.unpack.u4 b0[v0]", OperandKind, "body[3]"),
        ("assert 0 v0", OperandKind, "body[3]"),
        // Uniformity
        ("v7: v.f32 = fadd v5, v1", Uniformity, "body[3]"),
        ("v7: v.f32 = select v3, v5, v5", Uniformity, "body[3]"),
        ("v7: v.i32 = splat v4", Uniformity, "body[3]"),
        ("v7: u.i32 = reduce.iadd v0", Uniformity, "body[3]"),
        ("v7: u.i32 = extract v0, v0", Uniformity, "body[3]"),
        ("v7: u.i32 = extract v4, v4", Uniformity, "body[3]"),
        ("v7: v.i32 = shuffle v4, v0", Uniformity, "body[3]"),
        ("v7: v.i32 = unpack.u4 v4, v0 at 0", Uniformity, "body[3]"),
        ("v7: u.i32 = load.uniform.i32 b0[v2] mask v6", Uniformity, "body[3]"),
        ("v7: v.i32 = load.contig.i32 b0[v2] mask v3", Uniformity, "body[3]"),
        ("v7: v.i32 = gather.i32 b0[v2 + v0]", Uniformity, "body[3]"),
        ("store.uniform.i32 b1[v2], v4", Uniformity, "body[3]"),
        ("store.contig.i32 b1[v2], v0", Uniformity, "body[3]"),
        ("scatter.i32 b1[v2 + v0], v4", Uniformity, "body[3]"),
        ("assert 0 v6", Uniformity, "body[3]"),
        // Result
        ("fadd v5, v5", Result, "body[3]"),
        ("v7: v.i32 = fadd v5, v5", Result, "body[3]"),
        ("v7: u.i32 = lane_index", Result, "body[3]"),
        ("v7: u.i32 = barrier", Result, "body[3]"),
        ("v7: v.i32 = flt v5, v5", Result, "body[3]"),
        ("v7: u.i32 = table t0 v0", Result, "body[3]"),
        ("v7: v.i32 = load.contig.f16 b0[v2]", Result, "body[3]"),
        ("v7: v.f32 = store.contig.f32 b1[v2], v5", Result, "body[3]"),
        // Axis
        ("v7: u.i32 = block_index.3", Axis, "body[3]"),
        ("v7: u.i32 = block_count.255", Axis, "body[3]"),
        // Place
        ("v7: v.i32 = load.contig.i32 b3[v2]", Place, "body[3]"),
        ("store.contig.i32 a1[v2], v4", Place, "body[3]"),
        ("v7: v.i32 = load.unpack.u4 a9[v2]", Place, "body[3]"),
        // Access
        ("v7: v.i32 = load.contig.i32 b1[v2]", Access, "body[3]"),
        ("v7: v.i32 = load.unpack.u4 b1[v2]", Access, "body[3]"),
        ("store.contig.i32 b0[v2], v4", Access, "body[3]"),
        ("scatter.i32 b0[v2 + v4], v4", Access, "body[3]"),
        // Arena range
        ("v7: u.i64 = const.i64 9 store.contig.i32 a0[v7], v4", ArenaRange, "body[4]"),
        ("v7: u.i64 = const.i64 -1 store.contig.i32 a0[v7], v4", ArenaRange, "body[4]"),
        (
            "v7: u.i32 = const.i32 16 v8: u.i64 = i32_to_i64 v7 v9: u.i32 = load.uniform.i32 a0[v8]",
            ArenaRange,
            "body[5]",
        ),
        ("v7: u.i64 = const.i64 57 v8: v.i32 = load.unpack.u2 a0[v7]", ArenaRange, "body[4]"),
        ("v7: u.i64 = const.i64 9223372036854775807 store.contig.i32 a0[v7], v4", ArenaRange, "body[4]"),
        // Table
        ("v7: v.f32 = table t1 v4", Table, "body[3]"),
        ("v7: v.i32 = table.bytes t1 v4", Table, "body[3]"),
        ("v7: v.i32 = table.bytes t0 v4", Table, "body[3]"),
        ("v7: v.i32 = table.halves t1 v4", Table, "body[3]"),
        ("v7: v.i32 = table.halves t0 v4", Table, "body[3]"),
        // Unpack
        ("v7: v.i32 = unpack.u0 v4, v4 at 0", Unpack, "body[3]"),
        ("v7: v.i32 = unpack.s9 v4, v4 at 0", Unpack, "body[3]"),
        ("v7: v.i32 = unpack.u8 v4, v4 at 33", Unpack, "body[3]"),
        ("v7: v.i32 = load.unpack.u9 b0[v2]", Unpack, "body[3]"),
        // For
        ("for v7: u.i32 in v0..v0 step 0 { }", For, "body[3]"),
        ("for v7: u.i32 in v0..v0 step 2147483648 { }", For, "body[3]"),
        ("for v7: u.i32 in v2..v0 step 1 { }", For, "body[3]"),
        ("for v7: u.i32 in v0..v4 step 1 { }", For, "body[3]"),
        ("for v7: v.i32 in v0..v0 step 1 { }", For, "body[3]"),
        // Carried
        ("(v7: v.i32) = for v8: u.i32 in v0..v0 step 1 carry (v9: v.i32 = v4) { }", Carried, "body[3]"),
        ("(v7: v.i32) = for v8: u.i32 in v0..v0 step 1 { yield v4 }", Carried, "body[3]"),
        ("for v8: u.i32 in v0..v0 step 1 carry (v7: v.i32 = v4) { yield v7 }", Carried, "body[3]"),
        (
            "(v7: v.i32) = for v8: u.i32 in v0..v0 step 1 carry (v9: v.i32 = v0) { yield v9 }",
            Carried,
            "body[3]",
        ),
        (
            "(v7: v.i32) = for v8: u.i32 in v0..v0 step 1 carry (v9: v.i32 = v4) { yield v5 }",
            Carried,
            "body[3]",
        ),
        ("(v7: v.f32) = loop carry (v8: v.i32 = v4) { again v3 yield v8 }", Carried, "body[3]"),
        ("(v7: v.i32) = if v3 { yield v4 }", Carried, "body[3]"),
        ("(v7: v.i32) = if v3 { yield v4 } else { yield v5 }", Carried, "body[3]"),
        ("if v3 { yield v4 }", Carried, "body[3]"),
        // Conditions
        ("if v0 { }", Condition, "body[3]"),
        ("if v6 { }", Condition, "body[3]"),
        ("loop { again v6 }", Condition, "body[3]"),
        // Messages
        ("assert 2 v3", Message, "body[3]"),
        ("print 9", Message, "body[3]"),
        ("print 0 v0", Message, "body[3]"),
        ("print 1", Message, "body[3]"),
    ];
    for (body, rule, at) in cases {
        let errors = errors(body);
        let found: Vec<(Rule, &str)> = errors.iter().map(|error| (error.rule, error.at.as_str())).collect();
        assert!(found.contains(&(*rule, at)), "{body}: expected {rule:?} at {at}, found {errors:#?}");
        assert!(errors.iter().all(|error| error.message.len() > 5));
    }
}

#[test]
fn what_is_right_passes() {
    let cases = [
        "v7: u.i64 = const.i64 8 store.contig.i32 a0[v7], v4",
        "v7: u.i64 = const.i64 100 store.contig.i32 a0[v7], v4 mask v6",
        "v7: u.i64 = const.i64 56 v8: v.i32 = load.unpack.u2 a0[v7]",
        "v7: v.i32 = unpack.s8 v4, v4 at 32",
        "v7: u.i64 = select v3, v2, v2",
        "v7: v.bool = select v6, v6, v6",
        "v7: u.f32 = table t0 v0 v8: v.f32 = table t0 v4",
        "v7: v.i32 = load.contig.i32 b2[v2] scatter.i32 b2[v2 + v7], v7 mask v6",
        "print 1 v2 print 1 v6 print 0 assert 1 v3",
        "(v7: u.bool, v8: u.i64) = loop carry (v9: u.bool = v3, v10: u.i64 = v2) { again v9 yield v3, v10 }",
        "(v7: v.i32) = for v8: u.i32 in v0..v0 step 1 carry (v9: v.i32 = v4) { yield v4 }",
    ];
    for body in cases {
        assert_eq!(errors(body), [], "{body}");
    }
}

/// Changes a valid function and gives the rules that it breaks then, with their places.
fn broken(change: impl FnOnce(&mut Function)) -> Vec<(Rule, String)> {
    let mut function = parse(&format!("{HEAD}}}")).unwrap();
    change(&mut function);
    let errors = verify(function).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.rule, error.at)).collect()
}

#[test]
fn limits_are_checked() {
    let kernel = |rule| (rule, "kernel".to_owned());
    assert_eq!(broken(|f| f.lanes = 0), [kernel(Rule::Limits)]);
    assert!(broken(|f| f.lanes = 1025).contains(&kernel(Rule::Limits)));
    assert_eq!(broken(|f| f.lanes = 1024), []);
    assert_eq!(broken(|f| f.arenas[0].bytes = u32::MAX), [kernel(Rule::Limits)]);
    assert_eq!(
        broken(|f| f.values = vec![Type::uniform(Scalar::I32); MAX_VALUES + 1]),
        [kernel(Rule::Limits)]
    );
    let table = || "table t0".to_owned();
    assert_eq!(broken(|f| f.tables[0].entries.clear()), [(Rule::Table, table())]);
    assert_eq!(broken(|f| f.tables[0].scalar = Scalar::Bool), [(Rule::Table, table())]);
    assert_eq!(broken(|f| f.tables[0].entries.resize(MAX_TABLE_ENTRIES + 1, 0)), [(Rule::Limits, table())]);
    // Deeper than the parser lets a text be.
    let deep = broken(|f| {
        for _ in 0..=MAX_DEPTH {
            let then = std::mem::take(&mut f.body);
            f.body.stmts.push(Stmt::If {
                condition: Value(3),
                then,
                then_yields: vec![],
                otherwise: Region::default(),
                otherwise_yields: vec![],
                results: vec![],
            });
        }
    });
    assert!(
        deep.iter().any(|(rule, at)| *rule == Rule::Limits && at.starts_with("body[0].then[0]")),
        "{deep:?}"
    );
}

#[test]
fn the_table_of_types_is_checked() {
    assert_eq!(
        broken(|f| f.values.push(Type::uniform(Scalar::I32))),
        [(Rule::SingleDefinition, "v7".to_owned())]
    );
    assert_eq!(
        broken(|f| f.scalars[0].scalar = Scalar::F32),
        [(Rule::ScalarArgument, "scalar v0".to_owned())]
    );
    assert_eq!(
        broken(|f| f.scalars[0].value = Value(99)),
        [(Rule::ScalarArgument, "scalar v99".to_owned()), (Rule::SingleDefinition, "v0".to_owned())]
    );
    assert!(
        broken(|f| f.values[2] = Type::varying(Scalar::I64)).contains(&(Rule::UniformI64, "v2".to_owned()))
    );
    // A result without a type.
    let found = broken(|f| {
        let Stmt::Inst(inst) = &mut f.body.stmts[0] else { panic!() };
        inst.result = Some(Value(1000));
    });
    assert!(found.contains(&(Rule::SingleDefinition, "body[0]".to_owned())), "{found:?}");
}

#[test]
fn errors_are_limited_and_readable() {
    let many = errors(&"v7: u.i32 = lane_index ".repeat(1000));
    assert_eq!(many.len(), MAX_ERRORS);
    let one = &errors("v7: v.f32 = fadd v5, v1")[0];
    assert_eq!(
        one.to_string(),
        "body[3]: `fadd v5, v1`: mixes uniform and varying operands; `splat` the uniform ones (rule 7)"
    );
}
