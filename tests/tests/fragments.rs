//! Products by fragments: matrices that the lanes of a group multiply together, for devices that have such. No device of CI has, so the lane interpreter executes the code, and naga
//! judges the shader.
//!
//! **Law.** With factors that are small integers times powers of two every sum is exact, in whatever order it is made: the lane interpreter leaves the bits that the tile
//! interpreter leaves, with lanes in order and permuted, for rows, columns and K that end inside tiles and groups, and stores nothing outside.

use tvmc_backend_wgsl::Limits;
use tvmc_ir::lane::{Function, verify};
use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_passes::packing::Packing;
use tvmc_passes::target::{Fragments, Target, WGSL};
use tvmc_passes::{Options, lower};
use tvmc_sema::{ElementChoice, Instance, Loaded};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::on_row;
use tvmc_tests::sources::{load, shown};
use tvmc_types::dtype::DType;

const SCRATCH: u32 = 48 << 10;

fn target(group: u32) -> Target {
    Target { fragments: Some(Fragments::of(group, SCRATCH)), ..WGSL }
}

/// A device with cooperative matrices.
fn limits(group: u32) -> Limits {
    Limits {
        workgroup_bytes: SCRATCH,
        subgroup: Some(group),
        cooperative_matrix: true,
        fused_fma: true,
        ..Limits::default()
    }
}

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Bytes that stand for small integers times powers of two.
fn small(kernel: &Kernel, element: Element, shape: &[u64], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let (count, columns) = (shape.iter().product::<u64>(), shape[shape.len() - 1]);
    match element {
        Element::DType(dtype) if dtype == DType::F32 => {
            (0..count).flat_map(|_| ((numbers.next() % 9) as f32 - 4.0).to_le_bytes()).collect()
        }
        Element::DType(dtype) if dtype == DType::F16 => {
            // -2 to 2 in quarters.
            let codes = [0u16, 0x3400, 0x3800, 0x3c00, 0x3e00, 0x4000, 0xb400, 0xbc00, 0xc000];
            (0..count).flat_map(|_| codes[numbers.next() as usize % codes.len()].to_le_bytes()).collect()
        }
        Element::DType(dtype) => {
            let bytes = count * u64::from(dtype.bits()) / 8;
            (0..bytes).map(|_| numbers.next() as u8 & if dtype.bits() == 8 { 0x87 } else { 0xff }).collect()
        }
        Element::Format(format) => {
            let format = &kernel.formats[format.index()];
            let groups = count / columns * columns.div_ceil(u64::from(format.group));
            let mut bytes = Vec::new();
            for _ in 0..groups {
                let scale = [0x3400u16, 0x3800, 0x3c00, 0xbc00][numbers.next() as usize % 4];
                bytes.extend(scale.to_le_bytes());
                bytes.extend((2..format.bytes).map(|_| numbers.next() as u8));
            }
            bytes
        }
    }
}

struct Product {
    text: &'static str,
    elements: &'static [(&'static str, &'static str)],
    tunes: &'static [(&'static str, i64)],
    dims: &'static [(&'static str, u64)],
    /// By argument.
    shapes: Vec<Vec<u64>>,
    /// Whether the second argument lies in planes.
    planes: bool,
}

fn instance(product: &Product) -> Kernel {
    let Loaded { library, diagnostics } = load("k.tile", product.text);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    let mut instance = Instance::default();
    for (name, element) in product.elements {
        let dtype = DType::ALL.iter().find(|d| d.name() == *element);
        let choice =
            dtype.map_or_else(|| ElementChoice::Format((*element).into()), |d| ElementChoice::DType(*d));
        instance.formats.insert((*name).into(), choice);
    }
    instance.dims.extend(product.dims.iter().map(|(name, size)| ((*name).into(), *size)));
    instance.tunes.extend(product.tunes.iter().map(|(name, value)| ((*name).into(), *value)));
    let name = if product.text.contains("kernel k") { "k" } else { "linear" };
    match tvmc_sema::instantiate(&library, name, &instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{}", shown(&library, &list)),
    }
}

/// The code for groups of so many lanes.
fn code(product: &Product, kernel: &Kernel, group: u32) -> Function {
    let mut packing = vec![Packing::AsDeclared; product.shapes.len()];
    if product.planes {
        packing[1] = Packing::Planar;
    }
    lower(kernel, &target(group), &Options { packing, ..Options::default() }).expect("it lowers").function
}

/// Runs a product with groups of 8 and of 32 lanes; gives the code for the latter.
fn check(product: &Product) -> Function {
    let kernel = instance(product);
    let arguments = product.shapes.iter().zip(&kernel.params).enumerate().map(|(at, (shape, param))| {
        let TensorDecl::Tensor { element, access, .. } = param else { panic!("a tensor") };
        let written = *access != tvmc_ir::lane::Access::Read;
        let bytes = small(&kernel, *element, shape, at as u64 + 7);
        let packed = at == 1 && product.planes;
        Argument::Tensor(Data { shape: shape.clone(), element: *element, bytes, written, packed })
    });
    let case = Case { kernel: kernel.clone(), arguments: arguments.collect(), portable: false };
    for group in [8, 32] {
        let function = code(product, &kernel, group);
        assert!(!function.fragments.is_empty(), "no fragments in\n{function}");
        on_row(&case, &target(group)).unwrap_or_else(|error| panic!("groups of {group}: {}", error.what));
        let verified = verify(function).expect("it verifies");
        let shader = tvmc_backend_wgsl::compile(&verified, &limits(group)).unwrap_or_else(|e| panic!("{e}"));
        to_spirv(&shader.source);
    }
    code(product, &kernel, 32)
}

/// A shader that naga accepts may still be one that its writer stumbles over, which no device of CI would show.
fn to_spirv(source: &str) {
    use naga::back::spv::{Options, write_vec};
    use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let module = naga::front::wgsl::parse_str(source).expect("it parses");
    let info =
        Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).expect("it is valid");
    for policy in [BoundsCheckPolicy::Unchecked, BoundsCheckPolicy::Restrict] {
        let bounds_check_policies =
            BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy };
        let options = Options {
            lang_version: (1, 5),
            fake_missing_bindings: true,
            bounds_check_policies,
            ..Options::default()
        };
        write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{policy:?}: {e}\n{source}"));
    }
}

const LINEAR: &str = "use linear;
format w { group 32 { d: f16; q: u4[32]; } value[i] = d * ((q[i] as f32) - 8); }
format g128 { group 128 { d: f16; q: u3[128]; } value[i] = d * q[i]; }
";

fn linear(w: &'static str, (m, n, k): (u64, u64, u64), tunes: &'static [(&'static str, i64)]) -> Product {
    Product {
        text: LINEAR,
        elements: match w {
            "w" => &[("X", "f16"), ("W", "w")],
            "g128" => &[("X", "f16"), ("W", "g128")],
            "f16" => &[("X", "f16"), ("W", "f16")],
            "u4" => &[("X", "f16"), ("W", "u4")],
            "i8" => &[("X", "f16"), ("W", "i8")],
            "e4m3" => &[("X", "f16"), ("W", "e4m3")],
            other => panic!("{other}"),
        },
        tunes,
        dims: match (n, k) {
            (64, 256) => &[("N", 64), ("K", 256)],
            (80, 96) => &[("N", 80), ("K", 96)],
            (67, 200) => &[("N", 67), ("K", 200)],
            other => panic!("{other:?}"),
        },
        shapes: vec![vec![m, k], vec![n, k], vec![m, n]],
        planes: true,
    }
}

#[test]
fn weights_of_a_format() {
    let tunes = &[("BM", 32), ("BN", 64)];
    check(&linear("w", (32, 64, 256), tunes));
    check(&linear("w", (33, 67, 200), tunes));
    check(&linear("g128", (16, 80, 96), tunes));
    check(&linear("g128", (16, 64, 256), tunes));
}

#[test]
fn weights_of_a_type() {
    let tunes = &[("BM", 32), ("BN", 64)];
    check(&linear("f16", (40, 80, 96), tunes));
    check(&linear("f16", (31, 67, 200), tunes));
    check(&linear("u4", (16, 64, 256), tunes));
    check(&linear("i8", (16, 67, 200), tunes));
    check(&linear("e4m3", (16, 64, 256), tunes));
}

/// What decodes a weight serves all rows of a block, and fragments take it from scratch.
#[test]
fn sums_are_stored_from_where_they_are() {
    let function = check(&linear("f16", (32, 64, 256), &[("BM", 32), ("BN", 64)]));
    let text = function.to_string();
    assert!(text.contains("fragment.store b2["), "whole fragments go to the tensor\n{text}");
}
