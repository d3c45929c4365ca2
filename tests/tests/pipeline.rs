//! Loops marked `pipeline(n)` and copies that are under way.
//!
//! **Laws.** (1) For every n a kernel leaves the bits that it leaves without `pipeline`, on every target, and also for target rows that load ahead with the lanes and
//! registers of each other target. (2) The instance with rings passes the tile verifier and means the same to the tile interpreter. (3) Rings stay within the scratch that a row allows. (4) What
//! cannot be loaded ahead stays where it is, with a reason.

use tvmc_ir::tile::{Element, Kernel, TensorDecl, verify};
use tvmc_passes::target::{Ahead, CRANELIFT, Loads, Target, WGSL, X86_V4};
use tvmc_passes::{Options, lower_with_history};
use tvmc_sema::{Instance, Loaded};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::{Machines, on_row};
use tvmc_tests::sources::{load, shown};
use tvmc_types::dtype::DType;

fn compiled(text: &str, set: &[(&str, u64)]) -> Kernel {
    let Loaded { library, diagnostics } = load("k.tile", text);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    let dims = set.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    let instance = Instance { dims, ..Instance::default() };
    match tvmc_sema::instantiate(&library, "k", &instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{}", shown(&library, &list)),
    }
}

/// Small whole numbers, so that every order of a sum gives the same bits.
fn numbers(count: u64, dtype: DType) -> Vec<u8> {
    (0..count)
        .flat_map(|i| {
            let value = ((i * 7 + i / 5) % 11) as f64 - 5.0;
            let code = dtype.encode_f64(value);
            code.to_le_bytes()[..dtype.bits() as usize / 8].to_vec()
        })
        .collect()
}

/// Arguments of these shapes; the last is written.
fn case(kernel: Kernel, shapes: &[&[u64]]) -> Case {
    let tensors = kernel.params.iter().zip(shapes).enumerate().map(|(at, (param, shape))| {
        let TensorDecl::Tensor { element: Element::DType(dtype), .. } = param else {
            panic!("no tensor of numbers")
        };
        let (count, written) = (shape.iter().product(), at + 1 == shapes.len());
        let bytes = if written { vec![0; 4 * count as usize] } else { numbers(count, *dtype) };
        let element = Element::DType(*dtype);
        Argument::Tensor(Data { shape: shape.to_vec(), element, bytes, written, packed: false })
    });
    let arguments = tensors.collect();
    Case { kernel, arguments, portable: true }
}

/// Whether a case runs on a GPU as well.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Gpu {
    TakesPart,
    StaysOut,
}

/// Rows that load ahead: WGSL's, and those of two processors with room for rings.
fn rows() -> [Target; 3] {
    let room = Ahead::Scratch { bytes: 64 << 10, loads: Loads::All };
    [Target { ahead: room, ..X86_V4 }, Target { ahead: room, ..CRANELIFT }, WGSL]
}

/// The case on every row that loads ahead: its bits, and for how many of the rows something was loaded ahead.
fn ahead(case: &Case) -> (Vec<Vec<Vec<u8>>>, usize) {
    let written = case.arguments.len() - 1;
    let expected = case.interpreted(written);
    let mut moved = 0;
    let mut left = Vec::new();
    for row in rows() {
        let (lowered, history) =
            lower_with_history(&case.kernel, &row, &Options::default()).expect("it lowers");
        verify(history.kernel.clone()).unwrap_or_else(|errors| panic!("{}: {errors:?}", history.kernel));
        if history.kernel.shared.len() > case.kernel.shared.len() {
            moved += 1;
            let Ahead::Scratch { bytes, .. } = row.ahead else { panic!("rings without room") };
            let taken = lowered.function.arena_bytes();
            assert!(taken <= u64::from(bytes), "{taken} bytes: {:?}", history.notes);
            let staged = Case { kernel: history.kernel, ..case.clone() };
            assert_eq!(staged.interpreted(written), expected);
        }
        left.push(on_row(case, &row).unwrap_or_else(|error| panic!("{}: {error}", row.name)));
    }
    (left, moved)
}

/// The kernel with `pipeline(1)` replaced, which must change no bit and load something ahead in at least `at_least` of the rows.
/// `gpu` says whether a software device can compile it in reasonable time: not a product of many sums.
fn every_depth(text: &str, set: &[(&str, u64)], shapes: &[&[u64]], at_least: usize, gpu: Gpu) {
    let machines = Machines::open();
    let (plain, _) = ahead(&case(compiled(text, set), shapes));
    for depth in ["2", "4", "16"] {
        let text = text.replace("pipeline(1)", &format!("pipeline({depth})"));
        let case = case(compiled(&text, set), shapes);
        let (left, moved) = ahead(&case);
        assert_eq!(left, plain, "pipeline({depth}) of {text}");
        assert!(moved >= at_least, "{moved} rows load ahead: {text}");
        if depth == "4" {
            machines.check(&case, gpu == Gpu::TakesPart).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}

const PRODUCT: &str = "kernel k(a: f32[M, K], b: f16[K, N], c: out f32[M, N])
  const BM = 32
  const BN = 64
  const BK = 16
  grid ceil(M, BM), ceil(N, BN)
{
  let m = block[0] * BM;
  let n = block[1] * BN;
  var acc = zeros f32[BM, BN];
  for k in 0..K by BK pipeline(1) {
    acc += dot(a[m +: BM, k +: BK], b[k +: BK, n +: BN] as f32);
  }
  c[m +: BM, n +: BN] = acc;
}";

#[test]
fn products_of_any_depth_give_the_same_bits() {
    // Ragged, shorter than the ring, empty; with extents that are known and that are not.
    for (m, n, k) in [(33, 64, 70), (5, 64, 0)] {
        let shapes: [&[u64]; 3] = [&[m, k], &[k, n], &[m, n]];
        every_depth(PRODUCT, &[("M", m), ("N", n), ("K", k)], &shapes, usize::from(k > 0) * 3, Gpu::StaysOut);
    }
    every_depth(PRODUCT, &[], &[&[5, 17], &[17, 64], &[5, 64]], 3, Gpu::StaysOut);
}

#[test]
fn bounds_that_the_block_computes_and_steps_that_are_no_slices() {
    let text = "kernel k(x: i32[N], p: f32[N], y: out f32[4, 8])
  grid 4
{
  let first = block[0] * 13 - 7;
  var sum = zeros f32[8];
  var last = zeros i32[8];
  for i in first..first + block[0] * 9 by 3 pipeline(1) {
    let j = i * 2 + 1;
    let codes = x[j +: 8 else 3];
    sum += p[i +: 8] * (codes + last) as f32 wrap;
    last = codes;
  }
  y[block[0], ..] = sum + last as f32;
}";
    let text = &text.replace(" as f32 wrap", " as f32");
    every_depth(text, &[("N", 50)], &[&[50], &[50], &[4, 8]], 2, Gpu::TakesPart);
    every_depth(text, &[], &[&[50], &[50], &[4, 8]], 2, Gpu::TakesPart);
}

#[test]
fn loops_in_loops_and_under_conditions() {
    let text = "kernel k(a: f32[N], b: f32[N], y: out f32[16])
  grid 1
{
  var sum = zeros f32[16];
  for i in 0..6 pipeline(1) {
    let x = a[i * 4 +: 16];
    if i % 2 == 0 {
      for j in i..9 by 2 pipeline(1) {
        sum += x * b[j +: 16];
      }
    } else {
      sum = sum - x;
    }
  }
  y[..] = sum;
}";
    every_depth(text, &[("N", 30)], &[&[30], &[30], &[16]], 2, Gpu::TakesPart);
}

fn notes(text: &str, row: &Target) -> Vec<String> {
    let kernel = compiled(text, &[]);
    lower_with_history(&kernel, row, &Options::default()).expect("it lowers").1.notes
}

#[test]
fn what_stays_says_why() {
    let row = Target { ahead: Ahead::Scratch { bytes: 4096, loads: Loads::All }, spread: 1, ..X86_V4 };
    let text = |load: &str| {
        format!(
            "kernel k(x: f32[N], at: i32[N], w: q8_0[4, 64], z: inout f32[N], y: out f32[32])
  grid 1
{{
  var sum = zeros f32[32];
  var step = 1;
  for i in 0..64 by 8 pipeline(4) {{
    sum += {load};
    step = step * 2;
  }}
  y[..] = sum;
}}"
        )
    };
    let expected = [
        ("x[i +: 32]", "k.tile:7:12: pipeline: loaded 3 turns ahead"),
        (
            "x[at[i] +: 32]",
            "k.tile:7:12: pipeline: not loaded ahead, where it lies depends on what the loop loads or computes",
        ),
        (
            "x[step +: 32]",
            "k.tile:7:12: pipeline: not loaded ahead, where it lies depends on a variable of the loop",
        ),
        ("z[i +: 32]", "k.tile:7:12: pipeline: not loaded ahead, the kernel writes this tensor"),
        ("w[i / 16, 0 +: 32]", "k.tile:7:12: pipeline: loaded 3 turns ahead"),
        (
            "w.d[0, i / 32 *  0 +: 1] as f32",
            "k.tile:7:12: pipeline: not loaded ahead, it is a single number, or has too many axes",
        ),
        (
            "sum(x[i +: 640].reshape(20, 32), axis = 0)",
            "k.tile:7:16: pipeline: left as it is, two turns take 5120 bytes of scratch",
        ),
    ];
    for (load, note) in expected {
        assert!(notes(&text(load), &row).iter().any(|n| n == note), "{load}: {:?}", notes(&text(load), &row));
    }
    let note = "k.tile:7:12: pipeline: not loaded ahead, each element serves one lane, which loads it itself";
    assert_eq!(notes(&text("x[i +: 32]"), &WGSL), [note]);
    let note = "k.tile:7:12: pipeline: left as it is, x86-64-v4 loads ahead by itself";
    assert_eq!(notes(&text("x[i +: 32]"), &X86_V4), [note]);
}
