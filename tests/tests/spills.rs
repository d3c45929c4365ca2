//! How far innermost loops of the standard library's kernels keep their values in registers; and the register allocator's own checker agrees with each of its answers.
//!
//! | kernels | element types | rows |
//! |---|---|---|
//! | `linear` | all of GGUF's, f32, f16, bf16, groups of 32 of integers and floats; activations in 8 bits and f32 | 1 and 512 |
//! | `attention`, `rms_norm`, `swiglu` | caches of f16, q8_0 and q4_0 | 1 and 512 |
//!
//! Both levels of x86 are compiled, with `Options::check`. What is counted are stores to spill slots and loads from them within loops that have no loop inside, as a
//! share of those loops' instructions. With AVX-512 and one row it is nothing but for [`LEAKS`]. With many rows, what is the same for all chunks of columns (sums of a row's
//! bytes, scales) does not find room; nor does much with the 16 registers of AVX2: there the limits say only that it gets no worse.
//! `TVMC_LISTINGS=FOLDER` writes the code of each there.

use tvmc_backend_x86::{Features, Level, Options as Compile, compile_with};
use tvmc_ir::lane::verify;
use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_passes::packing::Packing;
use tvmc_passes::planes::Planes;
use tvmc_passes::target::{Target, X86_V3, X86_V4};
use tvmc_passes::{Options, lower};
use tvmc_sema::{ElementChoice, Instance, choose_tunes, interface};
use tvmc_tests::sources::{load, shown};
use tvmc_types::dtype::DType;

/// Kernels and types of which, with AVX-512 and one row, so many percent of the instructions of innermost loops are spills.
const LEAKS: [(&str, u32); 12] = [
    ("linear act8 q3_k", 5),
    ("linear act8 q4_k", 3),
    ("linear act8 q5_k", 3),
    ("linear act8 tq1_0", 2),
    ("linear act8 iq2_xxs", 1),
    ("linear act8 iq2_xs", 2),
    ("linear act8 iq2_s", 3),
    ("linear act8 iq3_s", 1),
    ("linear act8 iq1_m", 2),
    ("attention f16 act8", 6),
    ("attention q8_0 act8", 6),
    ("attention q4_0 act8", 7),
];

/// The most percent for a case.
fn limit(case: &Case, target: &Target) -> u32 {
    if target.name == X86_V3.name {
        return 45;
    }
    let written_out = |format: &tvmc_ir::tile::Format| format.group > 32 || format.name.contains("e3m2");
    match case.rows {
        1 => LEAKS.iter().find(|leak| case.name == leak.0).map_or(0, |leak| leak.1),
        _ if case.kernel.formats.iter().any(written_out) => 34,
        _ => 9,
    }
}

/// Types of codes in groups of 32.
const CODES: [&str; 14] =
    ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "i4", "i8", "e2m1", "e3m2", "e4m3", "e5m2"];

fn formats() -> String {
    let format = |code| {
        format!("format {code}_codes {{ group 32 {{ d: f16; q: {code}[32]; }} value[i] = d * q[i]; }}\n")
    };
    CODES.iter().map(format).collect()
}

struct Case {
    name: String,
    rows: u64,
    kernel: Kernel,
    packing: Vec<Packing>,
}

/// A kernel with element types and sizes; what it reads by rows is packed as a session packs it.
fn case(
    module: &str,
    kernel: &str,
    types: &[(&str, &str)],
    dims: &[(&str, u64)],
    packed: &[(usize, bool)],
) -> Case {
    let text = format!("use {module};\n{}", formats());
    let loaded = load("s.tile", &text);
    assert!(loaded.diagnostics.is_empty(), "{}", shown(&loaded.library, &loaded.diagnostics));
    let list =
        interface(&loaded.library, kernel).unwrap_or_else(|l| panic!("{}", shown(&loaded.library, &l)));
    let sizes = |name: &str| dims.iter().find(|d| d.0 == name).map(|d| d.1 as i64);
    let mut instance = Instance::default();
    instance.tunes.extend(choose_tunes(&list, &sizes));
    for (generic, name) in types {
        let choice = match DType::from_name(name) {
            Some(dtype) => ElementChoice::DType(dtype),
            None => ElementChoice::Format((*name).into()),
        };
        instance.formats.insert((*generic).into(), choice);
    }
    // The number of rows is a runtime value.
    for (name, size) in dims.iter().filter(|d| d.0 != "M") {
        instance.dims.insert((*name).into(), *size);
    }
    let made = tvmc_sema::instantiate(&loaded.library, kernel, &instance)
        .unwrap_or_else(|l| panic!("{}", shown(&loaded.library, &l)));
    let mut packing = vec![Packing::AsDeclared; made.params.len()];
    for (at, state) in packed {
        let words = match &made.params[*at] {
            TensorDecl::Tensor { element: Element::Format(id), .. } => {
                Planes::words_of_format(&made.formats[id.index()]).is_some()
            }
            TensorDecl::Tensor { .. } | TensorDecl::Scalar { .. } => false,
        };
        packing[*at] = match (*state, words) {
            (true, _) => Packing::Filled,
            (false, true) => Packing::Words,
            (false, false) => Packing::Interleaved,
        };
    }
    let rows = dims.iter().find(|d| d.0 == "M").map_or(1, |d| d.1);
    let types: Vec<&str> = types.iter().map(|t| t.1).collect();
    Case { name: format!("{kernel} {}", types.join(" ")), rows, kernel: made, packing }
}

fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    let module = |name: &str| tvmc_stdlib::module(name).expect("a module").lines();
    let gguf = module("formats/gguf").chain(module("formats/gguf_iq"));
    let name = |l: &str| Some(l.strip_prefix("format ")?.split(' ').next()?.to_owned());
    let stored = gguf.filter_map(name).chain(CODES.iter().map(|code| format!("{code}_codes")));
    for rows in [1, 512] {
        for weights in stored.clone() {
            let dims = [("M", rows), ("N", 512), ("K", 1024)];
            list.push(case("linear", "linear", &[("X", "act8"), ("W", &weights)], &dims, &[(1, false)]));
        }
        for weights in ["f32", "f16", "bf16", "q8_0", "q4_0"] {
            let dims = [("M", rows), ("N", 512), ("K", 1024)];
            list.push(case("linear", "linear", &[("X", "f32"), ("W", weights)], &dims, &[(1, false)]));
        }
        for cache in ["f16", "q8_0", "q4_0"] {
            let dims = [("M", rows), ("G", 2), ("R", 3), ("E", 64)];
            let types = [("KV", cache), ("Y", "act8")];
            list.push(case("nn", "attention", &types, &dims, &[(1, true)]));
        }
        list.push(case("nn", "rms_norm", &[("Y", "act8")], &[("M", rows), ("D", 512)], &[]));
        list.push(case("nn", "swiglu", &[("Y", "act8")], &[("M", rows), ("F", 512)], &[]));
    }
    list
}

/// Percent of the instructions in innermost loops that are spills.
fn spilled(case: &Case, target: &Target, features: &Features) -> u32 {
    let options = Options { packing: case.packing.clone(), ..Options::default() };
    let lowered = lower(&case.kernel, target, &options).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let function = verify(lowered.function).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
    let code = compile_with(&function, features, Compile { check: true });
    let code = code.unwrap_or_else(|e| panic!("{}: {e}", case.name));
    if let Ok(folder) = std::env::var("TVMC_LISTINGS") {
        let text = format!("{}\n{}", *function, tvmc_backend_x86::disassemble(&code));
        let file = format!("{folder}/{} {} {}", case.name, case.rows, target.name).replace(' ', "_");
        std::fs::write(file, text).expect("a folder");
    }
    let stats = code.stats;
    (100 * stats.loop_spills).div_ceil(stats.loop_instructions.max(1)) as u32
}

#[test]
fn hot_loops_keep_to_registers() {
    let Some(native) = Features::detect() else { return eprintln!("skipped: no AVX2 here") };
    let mut machines = vec![(X86_V3, native.narrowed())];
    if native.level == Level::V4 {
        machines.push((X86_V4, native));
    }
    let mut wrong = Vec::new();
    for case in cases() {
        for (target, features) in &machines {
            let found = spilled(&case, target, features);
            let limit = limit(&case, target);
            if found > limit {
                wrong.push(format!(
                    "{}, {} rows, on {}: {found} %, at most {limit}",
                    case.name, case.rows, target.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
