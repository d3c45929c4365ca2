//! Loops, branches, carried values, scalar arguments, asserts and prints.

use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Message, Op, Place, Pure, Scalar};

use crate::gpu;
use crate::harness::{Case, both, bytes_of, same, verified};

fn message(text: &str) -> Message {
    Message { text: text.to_owned(), location: "test.tile:1:1".to_owned() }
}

/// Fibonacci numbers by a loop that swaps its carried values, with a bound from memory (0 and negative included).
#[test]
fn carried_values_swap() {
    let device = gpu!();
    let mut b = Builder::new("fibonacci", 3);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let block = b.block_index(0);
    let base = b.pure(Pure::I32ToI64, &[block]);
    let bound = b.load(MemoryOp::LoadUniform, Mem::I32, input, base, None, None);
    let (zero, one) = (b.i32(0), b.i32(1));
    let (_, params) = b.begin_for(zero, bound, 2, &[zero, one]);
    let sum = b.pure(Pure::IAdd, &[params[0], params[1]]);
    let results = b.end_for(&[params[1], sum]);
    b.store(MemoryOp::StoreUniform, Mem::I32, out, base, None, results[0], None);
    let bounds = [0u32, 1, 2, 3, 20, -5i32 as u32, 41];
    let case = Case { grid: [7, 1, 1], buffers: vec![bytes_of(&bounds), vec![0; 28]], scalars: &[] };
    same(device, b.finish(), &case);
}

/// Collatz steps by a do-while loop whose condition is carried, nested in a counted loop, with an `if` inside.
#[test]
fn nested_loops_and_branches() {
    let device = gpu!();
    let mut b = Builder::new("collatz", 8);
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let n = b.scalar("n", Scalar::I32);
    let factor = b.scalar("factor", Scalar::F32);
    let flag = b.scalar("flag", Scalar::Bool);
    let far = b.scalar("far", Scalar::I64);
    let lane = b.lane_index();
    let (zero, one, three) = (b.i32(0), b.i32(1), b.i32(3));
    let start = b.pure(Pure::I32ToF32, &[lane]);
    let (counter, outer) = b.begin_for(one, n, 1, &[zero, start]);
    let more = b.bool(true);
    let inner = b.begin_loop(&[counter, zero, more]);
    let bit = b.pure(Pure::IAnd, &[inner[0], one]);
    let odd = b.pure(Pure::IEq, &[bit, one]);
    b.begin_if(odd);
    let tripled = b.pure(Pure::IMul, &[inner[0], three]);
    let up = b.pure(Pure::IAdd, &[tripled, one]);
    b.begin_else(&[up, flag]);
    let down = b.pure(Pure::ShrU, &[inner[0], one]);
    let next = b.end_if(&[down, odd]);
    let steps = b.pure(Pure::IAdd, &[inner[1], one]);
    let going = b.pure(Pure::INe, &[next[0], one]);
    let ended = b.end_loop(going, &[next[0], steps, going]);
    let total = b.pure(Pure::IAdd, &[outer[0], ended[1]]);
    let steps_f = b.pure(Pure::I32ToF32, &[ended[1]]);
    let scaled = b.pure(Pure::FMul, &[steps_f, factor]);
    let scaled = b.splat(scaled);
    let sum = b.pure(Pure::FAdd, &[outer[1], scaled]);
    let results = b.end_for(&[total, sum]);
    // far = 2^33 + 5: only its low word is an index here
    let thirty_three = b.i64(1 << 33);
    let index = b.pure(Pure::LSub, &[far, thirty_three]);
    b.store(MemoryOp::StoreUniform, Mem::I32, out, index, None, results[0], None);
    let index = b.i64(8);
    b.store(MemoryOp::StoreContig, Mem::F32, out, index, None, results[1], None);
    let function = b.finish();
    for flag in [0, 1] {
        let scalars = [28, u64::from(0.5f32.to_bits()), flag, (1 << 33) + 5];
        let case = Case { grid: [1, 1, 1], buffers: vec![vec![0; 64]], scalars: &scalars };
        same(device, function.clone(), &case);
    }
}

/// The carried `again` is the yielded parameter itself, and a result of one loop is carried by the next.
#[test]
fn again_is_a_parameter() {
    let device = gpu!();
    let mut b = Builder::new("again", 4);
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let yes = b.bool(true);
    let no = b.bool(false);
    let (zero, one) = (b.i32(0), b.i32(1));
    let params = b.begin_loop(&[yes, zero]);
    let counted = b.pure(Pure::IAdd, &[params[1], one]);
    let first = b.end_loop(params[0], &[no, counted]);
    let five = b.i32(5);
    let (_, params) = b.begin_for(zero, five, 1, &[first[1], zero]);
    let sum = b.pure(Pure::IAdd, &[params[0], params[1]]);
    let second = b.end_for(&[sum, params[0]]);
    for (at, value) in [first[1], second[0], second[1]].into_iter().enumerate() {
        let index = b.i64(at as i64);
        b.store(MemoryOp::StoreUniform, Mem::I32, out, index, None, value, None);
    }
    same(device, b.finish(), &Case { grid: [1, 1, 1], buffers: vec![vec![0; 12]], scalars: &[] });
}

/// Prints from several blocks, in loops, of all kinds; the log arrives by block and in program order.
#[test]
fn prints() {
    let device = gpu!();
    let mut b = Builder::new("prints", 5);
    let head = b.message(message("block {} {} of {}"));
    let body = b.message(message("lanes {} {} half {}"));
    let (x, y) = (b.block_index(0), b.block_index(1));
    let width = b.inst(Op::BlockCount(0), &[]).unwrap();
    b.inst(Op::Print(head), &[x, y, width]);
    let (zero, two) = (b.i32(0), b.i32(2));
    let (counter, _) = b.begin_for(zero, two, 1, &[]);
    let lane = b.lane_index();
    let counter = b.splat(counter);
    let above = b.pure(Pure::ILtS, &[counter, lane]);
    let float = b.pure(Pure::I32ToF32, &[lane]);
    let half = b.f32(0.5);
    let half = b.splat(half);
    let halved = b.pure(Pure::FMul, &[float, half]);
    b.inst(Op::Print(body), &[lane, above, halved]);
    b.end_for(&[]);
    let function = verified(b.finish());
    let result = both(device, &function, &Case { grid: [3, 2, 1], buffers: vec![], scalars: &[] });
    assert_eq!(result.gpu_log.len(), 18);
    assert_eq!(result.gpu_log, result.interp_log);
    assert_eq!(
        result.gpu_log[17].text,
        "test.tile:1:1: lanes [0, 1, 2, 3, 4] [false, false, true, true, true] half [0.0, 0.5, 1.0, 1.5, 2.0]"
    );
}

/// A log that is too small drops records and says how many.
#[test]
fn full_log() {
    let device = gpu!();
    let mut b = Builder::new("full", 4);
    let text = b.message(message("{}"));
    let lane = b.lane_index();
    b.inst(Op::Print(text), &[lane]);
    let kernel = device.compile(&verified(b.finish())).unwrap();
    let mut commands = device.commands();
    commands.log_bytes(100);
    commands.dispatch(&kernel, [1000, 1, 1], &[], &[]).unwrap();
    let launches = commands.submit().unwrap().wait().unwrap();
    // 112 bytes of region (100 rounded up with the header) hold 3 records of 28 bytes
    assert_eq!(launches[0].log.len(), 3);
    assert_eq!(launches[0].dropped, 997);
    assert!(launches[0].log.iter().all(|e| e.text == "test.tile:1:1: [0, 1, 2, 3]"));
}

/// Asserts: none fails, one fails in one block, two fail in one block (the first is told).
#[test]
fn asserts() {
    let device = gpu!();
    let mut b = Builder::new("asserts", 4);
    let first = b.message(message("first"));
    let second = b.message(message("second"));
    let limit = b.scalar("limit", Scalar::I32);
    let block = b.block_index(0);
    let below = b.pure(Pure::ILtS, &[block, limit]);
    b.inst(Op::Assert(second), &[below]);
    b.inst(Op::Assert(first), &[below]);
    let function = verified(b.finish());
    for (limit, expected) in [(5u64, None), (4, Some(second)), (0, Some(second))] {
        let result = both(device, &function, &Case { grid: [5, 1, 1], buffers: vec![], scalars: &[limit] });
        assert_eq!(result.interp_failure, expected);
        assert_eq!(result.gpu_failure.is_some(), expected.is_some());
        assert!(result.gpu_failure.is_none_or(|m| m == first || m == second));
    }
    let result = both(device, &function, &Case { grid: [1, 1, 1], buffers: vec![], scalars: &[0] });
    assert_eq!(result.gpu_failure, Some(second));
}

/// Grids that do not fit on one axis of the device.
#[test]
fn large_grids() {
    let device = gpu!();
    let mut b = Builder::new("grid", 1);
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let (x, y, z) = (b.block_index(0), b.block_index(1), b.block_index(2));
    let counts = [0, 1, 2].map(|axis| b.inst(Op::BlockCount(axis), &[]).unwrap());
    let plane = b.pure(Pure::IMul, &[z, counts[1]]);
    let row = b.pure(Pure::IAdd, &[plane, y]);
    let row = b.pure(Pure::IMul, &[row, counts[0]]);
    let linear = b.pure(Pure::IAdd, &[row, x]);
    let base = b.pure(Pure::I32ToI64, &[linear]);
    let packed = b.pure(Pure::IMul, &[z, counts[2]]);
    let value = b.pure(Pure::IAdd, &[linear, packed]);
    b.store(MemoryOp::StoreUniform, Mem::I32, out, base, None, value, None);
    let function = b.finish();
    for grid in [[70_001, 1, 1], [3, 70_000, 1], [1, 2, 40_000], [0, 7, 7]] {
        let blocks: u32 = grid.iter().product();
        let case = Case { grid, buffers: vec![vec![0; blocks as usize * 4]], scalars: &[] };
        same(device, function.clone(), &case);
    }
}
