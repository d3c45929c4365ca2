//! What the lane interpreter refuses to give a result for, and what it names when it does.

use tvmc_interp::lane::*;
use tvmc_ir::lane::{Place, Value, Verified, parse, verify};

fn kernel(text: &str) -> Verified {
    let function = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    verify(function).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

/// Runs a body of 8 lanes over `b0`, 64 writable bytes, with an arena of 64 bytes and index constants v0 = 0 to v3 = 3.
fn outcome(grid: [u32; 3], body: &str, order: LaneOrder) -> Result<(Outcome, Vec<u8>), Box<Trap>> {
    let kernel = kernel(&format!(
        r#"kernel @k lanes 8 {{
          buffer b0 "x" readwrite
          arena a0 64
          message 0 "m {{}}"
          message 1 "failed"
          v0: u.i64 = const.i64 0
          v1: u.i64 = const.i64 1
          v2: u.i64 = const.i64 2
          v3: u.i64 = const.i64 3
          v4: v.i32 = lane_index
          v5: u.i32 = const.i32 7
          v6: v.i32 = splat v5
          v7: u.i64 = const.i64 7 v8: u.i64 = const.i64 8 v9: u.i64 = const.i64 9
          {body}
        }}"#
    ));
    let mut bytes: Vec<u8> = (0..64).collect();
    let mut launch = Launch::new(grid, vec![Argument::Write(&mut bytes)], &[]);
    launch.order = order;
    launch.fuel = 100_000;
    run(&kernel, launch).map(|outcome| (outcome, bytes))
}

fn trap(body: &str) -> Trap {
    *outcome([1, 1, 1], body, LaneOrder::Ascending).expect_err(body)
}

fn fine(body: &str) {
    for order in [LaneOrder::Ascending, LaneOrder::Descending, LaneOrder::Permuted(5)] {
        outcome([1, 1, 1], body, order).unwrap_or_else(|trap| panic!("{body}: {trap}"));
    }
}

/// The arena, written in order by all lanes.
const FILL: &str = "store.contig.i32 a0[v0], v4 ";
/// Each lane's neighbour from the other side: 7 - lane.
const MIRROR: &str = "v10: v.i32 = isub v6, v4 ";

#[test]
fn a_missing_barrier_between_write_and_read() {
    let text = format!("{FILL} {MIRROR} v11: v.i32 = gather.i32 a0[v0 + v10]");
    let trap = trap(&text);
    assert_eq!(trap.kind, TrapKind::Race { hazard: Hazard::ReadAfterWrite, other_lane: Some(7) });
    assert_eq!((trap.value, trap.lane, trap.index), (Some(Value(11)), Some(0), Some(7)));
    assert!(matches!(trap.place, Some(Place::Arena(_))));
    assert_eq!(
        trap.to_string(),
        "block [0, 0, 0]: `gather.i32 a0[v0 + v10]` (v11), lane 0: element 7 of a0 is read after it was \
         written by lane 7, without a barrier between"
    );
    // In another order another lane is the first to notice.
    let descending = outcome([1, 1, 1], &text, LaneOrder::Descending).unwrap_err();
    assert_eq!(descending.lane, Some(7));
    fine(&format!("{FILL} {MIRROR} barrier v11: v.i32 = gather.i32 a0[v0 + v10]"));
    // A lane may read what it wrote itself.
    fine(&format!("{FILL} v10: v.i32 = load.contig.i32 a0[v0]"));
}

#[test]
fn a_missing_barrier_between_read_and_write() {
    let read = format!("{FILL} {MIRROR} barrier v11: v.i32 = gather.i32 a0[v0 + v10]");
    let found = trap(&format!("{read} {FILL}"));
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::WriteAfterRead, other_lane: Some(7) });
    fine(&format!("{read} barrier {FILL}"));
    // Several readers: even a lane that is one of them may not write.
    let shared = format!("{FILL} barrier v10: u.i32 = load.uniform.i32 a0[v0]");
    let found = trap(&format!("{shared} {FILL}"));
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::WriteAfterRead, other_lane: None });
}

#[test]
fn a_missing_barrier_between_writes() {
    let found = trap(&format!("{FILL} {MIRROR} scatter.i32 a0[v0 + v10], v4"));
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::WriteAfterWrite, other_lane: Some(7) });
    fine(&format!("{FILL} {MIRROR} barrier scatter.i32 a0[v0 + v10], v4"));
    fine(&format!("{FILL} {FILL}"));
}

#[test]
fn lane_zero_makes_uniform_stores_and_every_lane_uniform_loads() {
    let found = trap("store.uniform.i32 a0[v0], v5 v10: u.i32 = load.uniform.i32 a0[v0]");
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::ReadAfterWrite, other_lane: Some(0) });
    assert_eq!(found.lane, None);
    fine("store.uniform.i32 a0[v0], v5 barrier v10: u.i32 = load.uniform.i32 a0[v0]");
    // With one lane there is nobody else.
    let one = kernel(
        "kernel @k lanes 1 { arena a0 4 v0: u.i64 = const.i64 0 v1: u.i32 = const.i32 1 \
         store.uniform.i32 a0[v0], v1 v2: u.i32 = load.uniform.i32 a0[v0] }",
    );
    run(&one, Launch::new([1, 1, 1], vec![], &[])).unwrap();
}

#[test]
fn scratch_is_undefined_at_entry_of_every_block() {
    let found = trap("v10: v.i32 = load.contig.i32 a0[v0]");
    assert_eq!((found.kind, found.lane, found.index), (TrapKind::Uninitialised, Some(0), Some(0)));
    // A narrow store does not define a wider element.
    let found = trap("store.contig.u8 a0[v0], v4 barrier v10: u.i32 = load.uniform.i32 a0[v2]");
    assert_eq!(found.kind, TrapKind::Uninitialised);
    fine("store.contig.u8 a0[v0], v4 barrier v10: u.i32 = load.uniform.i32 a0[v1]");
    // The first block fills it, the second one may not rely on that.
    let second = "v10: u.i32 = block_index.x v11: u.i32 = const.i32 0 v12: u.bool = ieq v10, v11 \
                  if v12 { store.contig.i32 a0[v0], v4 } barrier v13: v.i32 = load.contig.i32 a0[v0]";
    let found = outcome([2, 1, 1], second, LaneOrder::Ascending).unwrap_err();
    assert_eq!((found.kind, found.block), (TrapKind::Uninitialised, [1, 0, 0]));
    // Code streams read bytes, lane by lane.
    let found = trap("store.contig.u8 a0[v0], v4 v10: v.i32 = load.unpack.u8 a0[v0]");
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::ReadAfterWrite, other_lane: Some(1) });
}

#[test]
fn buffers_are_never_ordered() {
    let found =
        trap(&format!("store.contig.i32 b0[v0], v4 {MIRROR} barrier v11: v.i32 = gather.i32 b0[v0 + v10]"));
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::ReadAfterWrite, other_lane: Some(7) });
    fine("v10: v.i32 = load.contig.i32 b0[v0] v11: v.i32 = iadd v10, v4 store.contig.i32 b0[v0], v11");
    // Two blocks on one element.
    let both = outcome([2, 1, 1], "store.contig.i32 b0[v0], v4", LaneOrder::Ascending).unwrap_err();
    assert_eq!(both.kind, TrapKind::Race { hazard: Hazard::WriteAfterWrite, other_lane: None });
    assert_eq!(
        both.to_string(),
        "block [1, 0, 0]: `store.contig.i32 b0[v0], v4`, lane 0: element 0 of b0 is written after it was \
         written by other lanes or blocks, and nothing orders the two"
    );
    outcome([2, 1, 1], "v10: v.i32 = load.contig.i32 b0[v0]", LaneOrder::Ascending).unwrap();
    let last_writes = "v10: v.i32 = load.contig.i32 b0[v0] v11: u.i32 = block_index.x v12: u.i32 = const.i32 2 \
                       v13: u.bool = ieq v11, v12 if v13 { store.contig.i32 b0[v0], v4 }";
    outcome([2, 1, 1], last_writes, LaneOrder::Ascending).unwrap();
    let found = outcome([3, 1, 1], last_writes, LaneOrder::Ascending).unwrap_err();
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::WriteAfterRead, other_lane: None });
}

#[test]
fn scatter_conflicts() {
    let found = trap("scatter.i32 b0[v0 + v6], v4");
    assert_eq!(found.kind, TrapKind::ScatterConflict { other_lane: 0 });
    assert_eq!((found.lane, found.index), (Some(1), Some(7)));
    // Lanes that are masked off do not count.
    fine("v10: v.bool = ieq v4, v6 scatter.i32 b0[v0 + v6], v4 mask v10");
}

#[test]
fn accesses_out_of_bounds() {
    let nine = "v10: u.i64 = const.i64 9 ";
    let found = trap(&format!("{nine} v11: v.i32 = load.contig.i32 b0[v10]"));
    assert_eq!(found.kind, TrapKind::OutOfBounds { elements: 16 });
    assert_eq!((found.lane, found.index, found.value), (Some(7), Some(16), Some(Value(11))));
    for body in [
        "v10: u.i64 = const.i64 -1 v11: u.i32 = load.uniform.i32 b0[v10]",
        "v10: u.i64 = const.i64 16 store.uniform.i32 b0[v10], v5",
        "v10: u.i64 = const.i64 57 store.contig.u8 b0[v10], v4",
        "v10: u.i64 = const.i64 9223372036854775807 v11: v.i32 = gather.i32 b0[v10 + v4]",
        "v10: v.i32 = isub v4, v6 v11: v.i32 = gather.i32 b0[v0 + v10]",
        "v10: v.i32 = iadd v4, v6 v11: v.i32 = iadd v10, v6 scatter.i32 b0[v0 + v11], v4",
        "v10: u.i64 = const.i64 53 v11: v.i32 = load.unpack.u3 b0[v10]",
        "v10: u.i64 = const.i64 -1 v11: v.i32 = load.unpack.u3 b0[v10]",
    ] {
        assert!(matches!(trap(body).kind, TrapKind::OutOfBounds { .. }), "{body}");
    }
    fine("v10: u.i64 = const.i64 52 v11: v.i32 = load.unpack.u3 b0[v10]");
    // Masked-off lanes touch nothing.
    fine(&format!("{nine} v11: v.bool = ilt_s v4, v6 v12: v.i32 = load.contig.i32 b0[v10] mask v11"));
    fine(
        "v10: u.bool = const.bool false v11: u.i64 = const.i64 -1 v12: u.i32 = load.uniform.i32 b0[v11] mask v10 store.uniform.i32 b0[v11], v5 mask v10",
    );
}

#[test]
fn masked_loads_give_zero() {
    let body = "v10: u.i32 = const.i32 2 v11: v.i32 = splat v10 v12: v.bool = ilt_s v4, v11 \
                v13: v.i32 = load.contig.u8 b0[v3] mask v12 print 0 v13 \
                v14: u.bool = const.bool false v15: u.i32 = load.uniform.i32 b0[v0] mask v14 print 0 v15";
    let (outcome, _) = outcome([1, 1, 1], body, LaneOrder::Permuted(1)).unwrap();
    assert_eq!(outcome.log[0].text, "m [3, 4, 0, 0, 0, 0, 0, 0]");
    assert_eq!(outcome.log[1].text, "m 0");
}

#[test]
fn narrow_elements() {
    let body = "v10: u.i32 = const.i32 0x0001ff85 store.uniform.u8 b0[v0], v10 v11: u.i32 = const.i32 0x18001 store.uniform.i16 b0[v1], v11 \
                v12: u.f32 = const.f32 1e9 store.uniform.f16 b0[v2], v12 store.uniform.bf16 b0[v3], v12";
    let (_, bytes) = outcome([1, 1, 1], body, LaneOrder::Ascending).unwrap();
    assert_eq!(bytes[..8], [0x85, 1, 0x01, 0x80, 0x00, 0x7c, 0x6e, 0x4e]);
    let kernel = kernel(
        "kernel @k lanes 1 { buffer b0 \"x\" read message 0 \"{} {} {} {} {} {}\" v0: u.i64 = const.i64 0 v1: u.i64 = const.i64 1 \
         v2: u.i64 = const.i64 2 v3: u.i64 = const.i64 3 v4: u.i32 = load.uniform.u8 b0[v0] v5: u.i32 = load.uniform.i8 b0[v0] \
         v6: u.i32 = load.uniform.u16 b0[v1] v7: u.i32 = load.uniform.i16 b0[v1] v8: u.f32 = load.uniform.f16 b0[v2] \
         v9: u.f32 = load.uniform.bf16 b0[v3] print 0 v4, v5, v6, v7, v8, v9 }",
    );
    let outcome = run(&kernel, Launch::new([1; 3], vec![Argument::Read(&bytes)], &[])).unwrap();
    assert_eq!(outcome.log[0].text, "133 -123 32769 -32767 inf 998244350.0");
}

#[test]
fn prints_and_asserts_are_recorded() {
    let body = "v10: u.i32 = block_index.y print 0 v10 v11: u.bool = const.bool false assert 1 v11 assert 0 v11 \
                v12: v.f32 = i32_to_f32 v4 print 0 v12 print 0 v3 print 0 v11";
    let (outcome, _) = outcome([1, 2, 1], body, LaneOrder::Ascending).unwrap();
    assert_eq!(outcome.failure, Some(Failure { block: [0, 0, 0], message: 1 }));
    let texts: Vec<&str> = outcome.log.iter().map(|entry| entry.text.as_str()).collect();
    let floats = "m [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]";
    assert_eq!(texts, ["m 0", floats, "m 3", "m false", "m 1", floats, "m 3", "m false"]);
    assert_eq!(outcome.log[4].block, [0, 1, 0]);
    assert!(outcome.fuel_used > 0);
}

#[test]
fn fuel_bounds_everything() {
    for body in [
        "v10: u.bool = const.bool true loop { again v10 }",
        "v10: u.i32 = const.i32 0 v11: u.i32 = const.i32 2147483647 for v12: u.i32 in v10..v11 step 1 { }",
        "v10: u.i32 = const.i32 0 v11: u.i32 = const.i32 2147483647 for v12: u.i32 in v10..v11 step 1 { print 0 v4 }",
    ] {
        assert_eq!(trap(body).kind, TrapKind::OutOfFuel, "{body}");
    }
    for grid in [[u32::MAX >> 1; 3], [0, u32::MAX >> 1, u32::MAX >> 1]] {
        let found = outcome(grid, "", LaneOrder::Ascending).unwrap_err();
        assert_eq!(found.kind, TrapKind::OutOfFuel);
    }
}

#[test]
fn launches_are_checked() {
    let kernel = kernel("kernel @k lanes 4 { buffer b0 \"x\" write scalar v0: u.i32 \"n\" }");
    let message = |launch: Launch<'_>| match run(&kernel, launch).unwrap_err().kind {
        TrapKind::BadLaunch(message) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message(Launch::new([1; 3], vec![], &[0])), "0 buffer arguments for 1");
    assert_eq!(
        message(Launch::new([1; 3], vec![Argument::Read(&[])], &[0])),
        "buffer \"x\" is written, but given as read-only"
    );
    assert_eq!(message(Launch::new([1; 3], vec![Argument::Write(&mut [])], &[])), "0 scalar arguments for 1");
    let grid = [u32::MAX, 1, 1];
    assert!(message(Launch::new(grid, vec![Argument::Write(&mut [])], &[0])).contains("axis above"));
    let outside = Launch {
        blocks: Blocks::One([1, 0, 0]),
        ..Launch::new([1; 3], vec![Argument::Write(&mut [])], &[0])
    };
    assert_eq!(message(outside), "block [1, 0, 0] is outside the grid [1, 1, 1]");
}

#[test]
fn control_flow() {
    // Fibonacci by a swap of carried values, a do-while, an if with results, negative bounds.
    let body = "v10: u.i32 = const.i32 -3 v11: u.i32 = const.i32 7 v12: u.i32 = const.i32 0 v13: u.i32 = const.i32 1 \
        (v14: u.i32, v15: u.i32) = for v16: u.i32 in v10..v11 step 2 carry (v17: u.i32 = v12, v18: u.i32 = v13) { \
          v19: u.i32 = iadd v17, v18 yield v18, v19 } \
        print 0 v14 print 0 v15 \
        (v20: u.i32, v21: u.i64) = loop carry (v22: u.i32 = v12, v23: u.i64 = v1) { \
          v24: u.i32 = iadd v22, v13 v25: u.bool = ilt_s v24, v11 v26: u.i64 = ladd v23, v23 again v25 yield v24, v26 } \
        print 0 v20 print 0 v21 \
        (v27: u.i32, v28: u.i32) = for v29: u.i32 in v11..v10 step 1 carry (v30: u.i32 = v12, v31: u.i32 = v13) { yield v31, v30 } \
        print 0 v28 \
        v32: u.bool = ilt_s v27, v28 (v33: v.i32) = if v32 { v34: v.i32 = iadd v4, v4 yield v34 } else { yield v6 } print 0 v33 \
        v35: u.i32 = const.i32 2147483640 v36: u.i32 = const.i32 2147483647 \
        (v37: u.i32) = for v38: u.i32 in v35..v36 step 4 carry (v39: u.i32 = v12) { v40: u.i32 = iadd v39, v13 yield v40 } print 0 v37";
    let (outcome, _) = outcome([1, 1, 1], body, LaneOrder::Ascending).unwrap();
    let texts: Vec<&str> = outcome.log.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["m 5", "m 8", "m 7", "m 128", "m 1", "m [0, 2, 4, 6, 8, 10, 12, 14]", "m 2"]);
}

/// Lanes may share a byte, but no bit of it; who reads the byte takes no notice of bits beside its own.
#[test]
fn bits_have_one_writer() {
    let bits = "v10: v.i32 = isub v4, v4 v11: u.i32 = const.i32 1 v12: v.i32 = splat v11 v13: v.i32 = shl v12, v4 v14: v.bool = ieq v4, v4 ";
    fine(&format!(
        "{bits} store.bits b0[v0 + v10], v6 bits v13 mask v14 v15: v.i32 = gather.u8 b0[v0 + v10]"
    ));
    let found = trap(&format!("{bits} store.bits b0[v0 + v10], v6 bits v12 mask v14"));
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::WriteAfterWrite, other_lane: Some(0) });
    let found =
        trap(&format!("{bits} store.contig.u8 b0[v0], v4 store.bits b0[v0 + v10], v6 bits v13 mask v14"));
    assert_eq!(found.kind, TrapKind::Race { hazard: Hazard::WriteAfterWrite, other_lane: Some(0) });
    let far =
        trap(&format!("{bits} v15: u.i64 = const.i64 64 store.bits b0[v15 + v10], v6 bits v13 mask v14"));
    assert_eq!(far.kind, TrapKind::OutOfBounds { elements: 64 });
}
