//! Elements narrower than a byte, stored where they share bytes: slices that begin and end anywhere, rows that end within a byte, single elements, computed places.
//!
//! Every block of a launch writes parts of bytes that its neighbours write other parts of. The tile interpreter, which sets bits one by one, says what must be in memory; on
//! the others a bit that is lost or hit twice is an error.

use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_sema::{Instance, Library};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::packing::packed_len;

fn compiled(text: &str) -> Kernel {
    let root = tvmc_sema::Source { name: "k.tile".into(), text: text.into() };
    let loaded = Library::load(root, &[], &mut |_| None);
    assert!(loaded.diagnostics.is_empty(), "{text}: {}", loaded.diagnostics[0].message);
    let made = tvmc_sema::instantiate(&loaded.library, "k", &Instance::default());
    made.unwrap_or_else(|list| panic!("{text}: {}", list[0].message))
}

/// Runs a kernel on every machine; gives the bytes that the tile interpreter leaves in the last argument.
fn run(machines: &Machines, text: &str, shapes: &[&[u64]]) -> Vec<u8> {
    let kernel = compiled(text);
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let tensor = |(at, shape): (usize, &&[u64])| {
        let TensorDecl::Tensor { element, access, .. } = &kernel.params[at] else { panic!("a tensor") };
        let Element::DType(dtype) = *element else { panic!("a dtype") };
        let count = shape.iter().product::<u64>() as usize;
        let bytes = (0..packed_len(count, dtype.bits()).expect("it fits")).map(|_| random()).collect();
        let written = *access != tvmc_ir::lane::Access::Read;
        Argument::Tensor(Data { shape: shape.to_vec(), element: *element, bytes, written, packed: false })
    };
    let arguments = shapes.iter().enumerate().map(tensor).collect();
    let case = Case { kernel, arguments, portable: true };
    if let Err(error) = machines.check(&case, true) {
        panic!("{text}: {error}");
    }
    case.interpreted(shapes.len() - 1)
}

/// Every integer below a byte, `bool`, and of the floats one split of each width.
fn narrow() -> impl Iterator<Item = DType> {
    let mut widths = [false; 8];
    DType::ALL.iter().copied().filter(move |dtype| {
        dtype.bits() < 8
            && (!dtype.is_float() || !std::mem::replace(&mut widths[dtype.bits() as usize], true))
    })
}

#[test]
fn parts_of_rows_of_every_narrow_type() {
    let machines = Machines::open();
    for dtype in narrow() {
        let name = dtype.name();
        let text = format!(
            "kernel k(x: {name}[3, 7], y: inout {name}[M, 7]) grid M {{
               let b = block[0];
               y[b, 2 +: 3] = x[1, 1 +: 3];
               y[b, 0] = x[2, b % 7];
               scatter(y[b, 6 - iota(2)], x[b % 3, 4 +: 2]);
             }}"
        );
        run(&machines, &text, &[&[3, 7], &[5, 7]]);
        assert!(dtype.kind() != Kind::Bool || dtype.bits() == 1, "a bool is a bit");
    }
}

#[test]
fn rows_whose_length_is_known_at_launch() {
    let machines = Machines::open();
    for name in ["u3", "i5", "e2m1", "u1"] {
        let text = format!(
            "kernel k(x: {name}[M, K], y: inout {name}[M, K]) grid M, ceil(K, 4) {{
               y[block[0], block[1] * 4 +: 4] = x[M - 1 - block[0], block[1] * 4 +: 4];
             }}"
        );
        run(&machines, &text, &[&[3, 13], &[3, 13]]);
    }
}

/// What a statement stored is there for the next one, whichever lane reads it.
#[test]
fn elements_are_read_after_they_were_stored() {
    let machines = Machines::open();
    let text = "kernel k(y: inout u3[M, 20], z: out u3[M, 16]) grid M {
                  y[block[0], 1 +: 16] = (iota(16) * 3) as u3 wrap;
                  scatter(y[block[0], 15 - iota(5)], (iota(5) + block[0]) as u3 wrap);
                  z[block[0], ..] = y[block[0], 3 +: 16];
                }";
    run(&machines, text, &[&[3, 20], &[3, 16]]);
}

/// Eight blocks to a byte, on several threads.
#[test]
fn a_bit_for_each_block() {
    let machines = Machines::open();
    let text = "kernel k(y: inout u1[N]) grid N { y[block[0]] = (block[0] % 3 / 2) as u1 wrap; }";
    let bytes = run(&machines, text, &[&[3000]]);
    let bit = |n: usize| bytes[n / 8] >> (n % 8) & 1;
    assert!((0..3000).all(|n| bit(n) == (n % 3 / 2) as u8));
    let text = "kernel k(y: inout u5[N]) grid N { y[block[0]] = (block[0] * 7) as u5 wrap; }";
    run(&machines, text, &[&[3000]]);
}
