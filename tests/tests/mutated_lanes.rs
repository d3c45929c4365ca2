//! Lane functions that nobody lowered have one of three fates, and the fuzzer counts each: [`Machines::check_any_lanes`] tells them apart.

use tvmc_ir::lane::{parse, verify};
use tvmc_tests::machines::{Fate, Machines};

fn fate(body: &str) -> Fate {
    let text = format!(
        "kernel @k lanes 8 {{\n  buffer b0 \"x\" read\n  buffer b1 \"y\" write\n  arena a0 64\n  message 0 \"told\"\n{body}}}\n"
    );
    let function = parse(&text).map(verify).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let function = function.unwrap_or_else(|errors| panic!("{}\n{text}", errors[0]));
    // A seed whose buffers have 16 elements and more.
    Machines::open().check_any_lanes(&function, 9).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_has_a_meaning_runs_everywhere() {
    let Fate::Agreed(ran) = fate(
        "  v0: u.i64 = const.i64 0\n  v1: v.i32 = load.contig.i32 b0[v0]\n  v2: v.i32 = lane_index\n  v3: v.i32 = imul v1, v2\n  store.contig.i32 b1[v0], v3\n",
    ) else {
        panic!("it runs")
    };
    assert!(ran.machines.contains(&"cranelift"), "{ran:?}");
}

#[test]
fn an_assert_that_fails_is_told_everywhere() {
    let failing = "  v0: u.bool = const.bool false\n  assert 0 v0\n";
    assert!(matches!(fate(failing), Fate::Agreed(_)));
}

#[test]
fn what_leaves_its_arguments_is_reported_everywhere() {
    for place in ["b0", "a0"] {
        let body = format!(
            "  v0: u.i64 = const.i64 1000000\n  v1: v.i32 = lane_index\n  v4: u.i32 = block_index.x\n  v5: u.i64 = i32_to_i64 v4\n  v6: u.i64 = ladd v0, v5\n  v2: v.i32 = load.contig.i32 {place}[v6]\n  v3: u.i64 = const.i64 0\n  store.contig.i32 b1[v3], v2\n"
        );
        assert!(matches!(fate(&body), Fate::Reported(_)), "{place}");
    }
}

#[test]
fn what_has_no_one_meaning_is_counted_with_its_reason() {
    let races = "  v0: u.i64 = const.i64 0\n  v1: v.i32 = lane_index\n  store.contig.i32 a0[v0], v1\n  v2: u.i64 = const.i64 1\n  v3: v.i32 = load.contig.i32 a0[v2]\n";
    let undefined = "  v0: u.i64 = const.i64 0\n  v1: v.i32 = load.contig.i32 a0[v0]\n";
    let bits = "  v0: u.i64 = const.i64 0\n  v1: v.f32 = load.contig.f32 b0[v0]\n  v2: v.i32 = f32_bits v1\n";
    assert_eq!(fate(races), Fate::Skipped("it races"));
    assert_eq!(fate(undefined), Fate::Skipped("it reads what nobody wrote"));
    assert_eq!(fate(bits), Fate::Skipped("bits of floats are looked at, which a NaN does not have"));
}
