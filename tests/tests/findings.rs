//! Kernels that fuzzers found, made small: each test is named after what was wrong. `docs/trust.md` lists them.

use tvmc_ir::lane;
use tvmc_ir::tile::{self, Element};
use tvmc_passes::target::{CRANELIFT, TARGETS, Target};
use tvmc_passes::{Options, lower};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::{Machines, on_row};
use tvmc_types::dtype::DType;

fn kernel(text: &str) -> tile::Kernel {
    tile::verify(tile::parse(text).expect("it parses")).expect("it verifies").into_inner()
}

fn floats(shape: &[u64], written: bool) -> Argument {
    let count: u64 = shape.iter().product();
    let bytes = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
    Argument::Tensor(Data {
        shape: shape.to_vec(),
        element: Element::DType(DType::F32),
        bytes,
        written,
        packed: false,
    })
}

/// Lanes lie along the last axis: the second store's lane 0 writes what lane 1 of the first wrote.
#[test]
fn a_barrier_parts_two_stores_to_shared_memory() {
    let kernel = kernel(
        r#"kernel @k {
  tensor p0 "x": f32[40] read
  tensor p1 "y": f32[40] write
  shared s0 "s": f32[40]
  grid 1
  v0: i32 = const 0
  v1: i32 = const 1
  v2: f32[40] = load p0[v0 +: 40]
  v3: f32[39] = load p0[v0 +: 39]
  store s0[v0 +: 40], v2
  store s0[v1 +: 39], v3
  v4: f32[40] = load s0[v0 +: 40]
  store p1[v0 +: 40], v4
}"#,
    );
    let case = Case { kernel, arguments: vec![floats(&[40], false), floats(&[40], true)], portable: true };
    Machines::open().check(&case, true).unwrap_or_else(|error| panic!("{error}"));
}

/// Such a tensor cannot be bound, but the kernel can be compiled: the place of an element overflowed.
#[test]
fn extents_beyond_all_memory_are_lowered() {
    let kernel = kernel(
        r#"kernel @k {
  dim M
  tensor p0 "x": f32[M, 9000000000000000000] read
  tensor p1 "y": f32[M, 4] write
  grid 1
  v0: i32 = const 4
  v1: i32 = const 0
  v2: f32 = load p0[v0, v1]
  store p1[v1, v1], v2
}"#,
    );
    for target in TARGETS {
        let lowered = lower(&kernel, &target, &Options::default()).expect("it lowers");
        lane::verify(lowered.function).expect("it verifies");
    }
}

/// The distance between neighbours is 0 in a tensor without elements, so all lanes had one offset, which a gather does not take.
#[test]
fn tensors_without_elements_are_gathered_from() {
    for (dtype, stored, convert) in [
        ("f32", "f32", ""),
        ("tf32", "f32", "v1: f32[40] = cast.exact v2"),
        ("f16", "f16", ""),
        ("u8", "u8", ""),
        ("i32", "i32", ""),
    ] {
        let loaded = if convert.is_empty() { "v1" } else { "v2" };
        let kernel = kernel(&format!(
            r#"kernel @k {{
  tensor p0 "x": {dtype}[5, 40, 0] read
  tensor p1 "y": {stored}[40, 0] write
  grid 1
  v0: i32 = const 0
  {loaded}: {dtype}[40] = load p0[v0, v0 +: 40, v0]
  {convert}
  store p1[v0 +: 40, v0], v1
}}"#
        ));
        let empty = |dtype: &str, shape: &[u64], written| {
            let element = Element::DType(dtype.parse::<DType>().expect("a dtype"));
            Argument::Tensor(Data {
                shape: shape.to_vec(),
                element,
                bytes: Vec::new(),
                written,
                packed: false,
            })
        };
        let arguments = vec![empty(dtype, &[5, 40, 0], false), empty(stored, &[40, 0], true)];
        let case = Case { kernel, arguments, portable: true };
        Machines::open().check(&case, false).unwrap_or_else(|error| panic!("{dtype}: {error}"));
    }
}

/// Eight codes behind sixteen that are not there: where a lane is an element, its place is a constant behind one below zero, which was divided as if it were large.
#[test]
fn codes_behind_a_place_below_zero_are_read() {
    let kernel = kernel(
        r#"kernel @k {
  tensor p0 "x": e5m2[8] read
  scalar p1 "n": i32
  tensor p2 "y": f32[32] write
  grid 1
  v0: i32 = const 0
  v1: i32 = scalar p1
  v2: e5m2[32] = load p0[v1 +: 32]
  v3: f32[32] = cast.exact v2
  store p2[v0 +: 32], v3
}"#,
    );
    let codes = Data {
        shape: vec![8],
        element: Element::DType(DType::E5M2),
        bytes: (1..9u32).map(|n| DType::E5M2.encode_f64(f64::from(n)) as u8).collect(),
        written: false,
        packed: false,
    };
    let arguments = vec![
        Argument::Tensor(codes),
        Argument::Scalar(DType::I32, (-16i32).cast_unsigned()),
        floats(&[32], true),
    ];
    let case = Case { kernel, arguments, portable: true };
    for lanes in [1, 2, 16] {
        on_row(&case, &Target { lanes, ..CRANELIFT })
            .unwrap_or_else(|error| panic!("{lanes} lanes: {error}"));
    }
}

/// Turns of a loop without statements were free, and so were the elements that each carries: 700 million of them took minutes under any limit.
#[test]
fn loops_that_hold_nothing_cost_work() {
    let kernel = kernel(
        r#"kernel @k {
  tensor p0 "y": f32[8] write
  grid 1
  v0: i32 = const 0
  v1: i32 = const 2147483647
  v2: f32 = const 1
  v3: f32[8] = broadcast v2
  (v6: f32[8]) = for v4 in v0..v1 by 3 carry (v5: f32[8] = v3) {
    yield v3
  }
  store p0[v0 +: 8], v6
}"#,
    );
    let case = Case { kernel, arguments: vec![floats(&[8], true)], portable: true };
    assert!(matches!(case.interpret(1 << 18), Ok(Err(tvmc_interp::tile::Trap::Fuel))));
}
