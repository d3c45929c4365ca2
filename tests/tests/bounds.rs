//! `Bounds::Checked`: code that checks each of its accesses finds nothing where nothing is wrong, and where proofs are wrong on purpose it names kernel, argument and line, and touches
//! nothing outside.

use tvmc_ir::tile::{Element, TensorDecl};
use tvmc_sema::{Instance, Loaded};
use tvmc_tests::generate::{Argument, Case, Data, Floats, generate};
use tvmc_tests::machines::{Caught, Machines};
use tvmc_tests::random::Random;
use tvmc_tests::sources::{load, shown};

/// Reads and writes rows of 16, and adds to places that another argument names.
const SOURCE: &str = "kernel scale(x: f32[64], y: out f32[64], at: i32[64], bins: inout i32[64])
  grid 4
{
  let m = block[0] * 16;
  let t = x[m +: 16];
  y[m +: 16] = t * 2.0;
  atomic_add(bins[at[m +: 16]], 1);
}
";

fn case() -> Case {
    let Loaded { library, diagnostics } = load("t.tile", SOURCE);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    let kernel = tvmc_sema::instantiate(&library, "scale", &Instance::default())
        .unwrap_or_else(|list| panic!("{}", shown(&library, &list)));
    let arguments = kernel.params.iter().map(|param| {
        let TensorDecl::Tensor { element: element @ Element::DType(dtype), access, .. } = param else {
            panic!("tensors of dtypes")
        };
        // Numbers, and places up to the last element.
        let bytes =
            (0..64u32).flat_map(|i| if dtype.is_float() { (i as f32).to_bits() } else { i }.to_le_bytes());
        let written = *access != tvmc_ir::lane::Access::Read;
        Argument::Tensor(Data {
            shape: vec![64],
            element: *element,
            bytes: bytes.collect(),
            written,
            packed: false,
        })
    });
    Case { arguments: arguments.collect(), kernel, portable: true }
}

/// Kernels of the generator, by number.
fn random(number: u64) -> Case {
    let mut noise = Random::new(number);
    let tape: Vec<u32> = (0..noise.below(120)).map(|_| noise.below(2520) as u32).collect();
    generate(&tape, if number.is_multiple_of(2) { Floats::Exact } else { Floats::Wild })
}

#[test]
fn an_access_outside_is_reported_with_kernel_argument_and_line() {
    let (machines, case) = (Machines::open(), case());
    machines.check_bounds(&case).unwrap_or_else(|error| panic!("{error}"));
    machines.check_bounds_on_gpu(&case).unwrap_or_else(|error| panic!("{error}"));
    // Every proof rests on 64 elements. There are 40: the third row reaches behind the end.
    let wrong = [
        (0, "t.tile:5:", "`x` is read outside its elements"),
        (1, "t.tile:6:", "`y` is written outside its elements"),
        (2, "t.tile:7:", "`at` is read outside its elements"),
        (3, "t.tile:7:", "`bins` is updated outside its elements"),
    ];
    for (tensor, line, what) in wrong {
        let said = machines.report_short(&case, tensor, 160).unwrap_or_else(|error| panic!("{error}"));
        assert!(said.len() >= 2, "no machine ran");
        for words in said {
            assert!(words.starts_with(line) && words.contains(what), "{words}");
            assert!(
                words.contains("@scale, block [2, 0, 0]") || words.contains("fails `out of bounds"),
                "{words}"
            );
        }
    }
}

#[test]
fn sound_kernels_are_found_sound() {
    let machines = Machines::open();
    for number in 0..20 {
        let case = random(number);
        machines.check_bounds(&case).unwrap_or_else(|error| panic!("{number}: {error}"));
        if case.portable && number % 10 == 0 {
            machines.check_bounds_on_gpu(&case).unwrap_or_else(|error| panic!("{number}: {error}"));
        }
    }
}

/// Masks are proofs' other half: without them, rows reach over the ends of arguments.
#[test]
fn wrong_proofs_are_caught_before_they_touch_anything() {
    let machines = Machines::open();
    let mut reported = 0;
    for number in 0..30 {
        match machines.check_wrong_proofs(&random(number)) {
            Ok(Caught::Reported(_)) => reported += 1,
            Ok(Caught::Harmless) => {}
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert!(reported >= 5, "only {reported} of 30 kernels reach outside without their masks");
}
