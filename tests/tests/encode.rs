//! Stores to formats: what the tile interpreter leaves in memory, every machine leaves there, bit for bit.

use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_sema::{ElementChoice, Instance, Loaded};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;
use tvmc_tests::sources::{load, shown};
use tvmc_types::dtype::DType;

const SOURCE: &str = "
format pair { group 8 { q: i16[8]; e: f16[2]; d: f32; }
  value[i] = d * q[i] * e[i / 4];
  encode {
    d = sum(value, axis = 1);
    q = value as i16 saturate;
  } }
format crossing { group 8 { a: u3[8]; b: i5[8] @ column_local(2, 4).reshape(8); c: u1[1]; e: e2m1[8]; f: u7[1]; z: u8; }
  value[i] = a[i] + b[i];
  encode {
    a = value as u3 saturate;
    b = value as i5 saturate;
    c = sum(value, axis = 1) as u1 saturate;
    e = (value / 256.0) as e2m1;
    f = sum(abs(value), axis = 1) as u7 wrap;
    z = 5;
  } }
kernel store<Y: format>(x: f32[M, K], y: out Y[M, K])
  grid M, ceil(K, 64)
{
  let m = block[0];
  let k = block[1] * 64;
  y[m, k +: 64] = x[m, k +: 64] * 2.0;
}
kernel store_rows<Y: format>(x: f32[M, K], y: out Y[M, K])
  grid ceil(M, 4), ceil(K, 64)
{
  let m = block[0] * 4;
  let k = block[1] * 64;
  y[m +: 4, k +: 64] = x[m +: 4, k +: 64] * 2.0;
}
";

fn case(name: &str, format: &str, m: u64, k: u64) -> Case {
    build(SOURCE, name, Some(format), m, k)
}

/// An instance of a kernel of a source.
fn instantiate(source: &str, name: &str, instance: &Instance) -> Kernel {
    let Loaded { library, diagnostics } = load("t.tile", source);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    match tvmc_sema::instantiate(&library, name, instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{}", shown(&library, &list)),
    }
}

/// What a tensor parameter holds.
fn element_of(kernel: &Kernel, at: usize) -> Element {
    match &kernel.params[at] {
        TensorDecl::Tensor { element, .. } => *element,
        TensorDecl::Scalar { .. } => panic!("a tensor"),
    }
}

/// Bytes of rows of whole groups.
fn bytes_of(kernel: &Kernel, element: Element, rows: u64, columns: u64) -> usize {
    let bytes = match element {
        Element::Format(id) => {
            let format = &kernel.formats[id.index()];
            format.tensor_bytes(&[rows, columns]).expect("it fits")
        }
        Element::DType(dtype) => rows * columns * u64::from(dtype.bits()) / 8,
    };
    bytes as usize
}

fn build(source: &str, name: &str, format: Option<&str>, m: u64, k: u64) -> Case {
    let mut instance = Instance::default();
    instance.dims.insert("K".into(), k);
    if source.contains("X: format") {
        instance.formats.insert("X".into(), ElementChoice::DType(DType::F32));
    }
    if let Some(format) = format {
        instance.formats.insert("Y".into(), ElementChoice::Format(format.into()));
    }
    let kernel = instantiate(source, name, &instance);
    let mut state = 7u32;
    let numbers: Vec<u8> = (0..m * k)
        .flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Multiples of a quarter: sums are exact in any order.
            (((state >> 20) as f32 - 2048.0) / 4.0).to_le_bytes()
        })
        .collect();
    let bytes = bytes_of(&kernel, element_of(&kernel, 1), m, k);
    let tensor = |at: usize, bytes: Vec<u8>, written: bool| {
        Argument::Tensor(Data {
            shape: vec![m, k],
            element: element_of(&kernel, at),
            bytes,
            written,
            packed: false,
        })
    };
    let arguments = vec![tensor(0, numbers, false), tensor(1, vec![0xa5; bytes], true)];
    Case { arguments, portable: true, kernel }
}

#[test]
fn every_machine_stores_the_same_bytes() {
    let machines = Machines::open();
    for kernel in ["store", "store_rows"] {
        for format in ["act8", "pair"] {
            for (m, k) in [(1, 64), (5, 128), (7, 192)] {
                if let Err(error) = machines.check(&case(kernel, format, m, k), true) {
                    panic!("{kernel} {format} {m} x {k}: {error}");
                }
            }
        }
    }
}

/// Fields of all widths, out of order, that begin and end within bytes.
#[test]
fn fields_that_share_bytes_are_composed() {
    let machines = Machines::open();
    for (kernel, m, k) in [("store", 2, 72)] {
        if let Err(error) = machines.check(&case(kernel, "crossing", m, k), true) {
            panic!("{kernel} {m} x {k}: {error}");
        }
    }
}

/// Tensors of types that fill no byte, or that no memory operation knows.
#[test]
fn tensors_of_narrow_types_are_stored() {
    let machines = Machines::open();
    let types = [
        ("u1", "saturate"),
        ("i3", "wrap"),
        ("u4", "saturate"),
        ("i6", "saturate"),
        ("e2m1", ""),
        ("e3m2", ""),
        ("e4m3", ""),
        ("e5m2", ""),
        ("e8m0", ""),
        ("ue4m3", ""),
    ];
    for (dtype, rule) in types {
        let source = format!(
            "kernel store(x: f32[M, K], y: out {dtype}[M, K])
               grid M, ceil(K, 32)
             {{
               let k = block[1] * 32;
               y[block[0], k +: 32] = (x[block[0], k +: 32] / 64.0) as {dtype} {rule};
             }}"
        );
        if let Err(error) = machines.check(&build(&source, "store", None, 3, 40), true) {
            panic!("{dtype}: {error}");
        }
    }
}

/// `formats/make_encoded.py` wrote the files: the same numbers give the same bytes as the `gguf` package, on every machine.
#[test]
fn gguf_types_encode_to_the_bytes_of_an_independent_encoder() {
    let machines = Machines::open();
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("formats/encoded");
    for name in ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "tq1_0", "tq2_0", "mxfp4"] {
        let file = std::fs::read(folder.join(format!("{name}.bin"))).expect("a golden file");
        let word = |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
        let (columns, rows) = (u64::from(word(0)), u64::from(word(8)));
        let end = 12 + (columns * rows * 4) as usize;
        let source = tvmc_stdlib::module("quantize").expect("a module");
        let mut case = build(source, "quantize", Some(name), rows, columns);
        case.arguments.truncate(2);
        if let Argument::Tensor(x) = &mut case.arguments[0] {
            x.bytes = file[12..end].to_vec();
        }
        let stored = case.interpreted(1);
        for (group, (got, want)) in stored
            .chunks_exact(stored.len() / rows as usize)
            .zip(file[end..].chunks_exact(word(4) as usize))
            .enumerate()
        {
            assert_eq!(got, want, "{name}, row {group}");
        }
        assert_eq!(stored.len(), file.len() - end, "{name}");
        if let Err(error) = machines.check(&case, true) {
            panic!("{name}: {error}");
        }
    }
}

/// Types whose encoders search for a scale: what one machine stores every machine stores, and numbers of a normal distribution lose what a scale per block of that many bits
/// must lose, within 5 % of what was measured (relative root mean square).
#[test]
fn types_with_a_search_lose_what_their_bits_must() {
    let machines = Machines::open();
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let normals: Vec<f32> = (0..4 * 512).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect();
    for (name, measured, rows, columns) in [
        ("q2_k", 0.3034, 4u64, 512u64),
        ("q3_k", 0.1443, 4, 512),
        ("q4_k", 0.0744, 4, 512),
        ("q5_k", 0.0383, 4, 512),
        ("q6_k", 0.0170, 4, 512),
        ("iq4_nl", 0.0767, 4, 512),
        ("iq4_xs", 0.0774, 4, 512),
        // Thousands of grid rows are much for the interpreters: few numbers, whose loss is that of these numbers.
        ("iq1_s", 0.4635, 1, 256),
        ("iq1_m", 0.4251, 1, 256),
        ("iq2_xxs", 0.3179, 2, 256),
        ("iq2_xs", 0.2877, 2, 256),
        ("iq2_s", 0.2334, 1, 256),
        ("iq3_xxs", 0.1747, 2, 256),
        ("iq3_s", 0.1236, 2, 256),
    ] {
        let normal = &normals[..(rows * columns) as usize];
        let module = tvmc_stdlib::module("quantize").expect("a module");
        let mut case = build(module, "quantize", Some(name), rows, columns);
        if let Argument::Tensor(x) = &mut case.arguments[0] {
            x.bytes = normal.iter().flat_map(|v| v.to_le_bytes()).collect();
        }
        let stored = case.interpreted(1);
        if let Err(error) = machines.check(&case, true) {
            panic!("{name}: {error}");
        }
        let mut back = Instance::default();
        back.dims.insert("K".into(), columns);
        back.formats.insert("X".into(), ElementChoice::Format(name.into()));
        back.formats.insert("Y".into(), ElementChoice::DType(DType::F32));
        let kernel = instantiate(module, "quantize", &back);
        let tensor = |element: Element, bytes: Vec<u8>, written: bool| {
            Argument::Tensor(Data { shape: vec![rows, columns], element, bytes, written, packed: false })
        };
        let arguments = vec![
            tensor(element_of(&kernel, 0), stored, false),
            tensor(Element::DType(DType::F32), vec![0; normal.len() * 4], true),
        ];
        let decoded = Case { arguments, portable: true, kernel }.interpreted(1);
        let pairs = || normal.iter().zip(decoded.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
        let squares: f64 = pairs().map(|(was, is)| f64::from(was - is).powi(2)).sum();
        let energy: f64 = normal.iter().map(|v| f64::from(*v).powi(2)).sum();
        let loss = (squares / energy).sqrt();
        assert!((loss / measured - 1.0).abs() < 0.05, "{name}: {loss:.4}, not {measured}");
    }
}

#[test]
fn a_stored_row_decodes_to_what_was_stored_within_half_a_step() {
    let case = case("store", "act8", 2, 64);
    let Argument::Tensor(x) = &case.arguments[0] else { panic!("a tensor") };
    let output = case.interpreted(1);
    for (group, stored) in output.chunks_exact(36).enumerate() {
        let d = f32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
        let values: Vec<f32> = x.bytes[group * 128..(group + 1) * 128]
            .chunks_exact(4)
            .map(|b| 2.0 * f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let largest = values.iter().fold(0f32, |l, v| l.max(v.abs()));
        assert_eq!(d, largest / 127.0);
        for (code, value) in stored[4..].iter().zip(values) {
            let got = d * f32::from(*code as i8);
            assert!((got - value).abs() <= d * 0.5001, "{got} for {value}");
        }
    }
}

/// A cache: rows that are stored one at a time into packed matrices, and read along them by a product.
const CACHE: &str = "
kernel put<Y: format>(x: f32[M, G, E], y: inout Y[G, C, E], start: i32)
  grid M, G
{
  let m = block[0];
  let g = block[1];
  y[g, start + m, ..] = x[m, g, ..];
}

kernel get<Y: format>(q: f32[M, G, E], y: Y[G, C, E], z: out f32[G, M, C])
  grid G, ceil(C, 32)
{
  let g = block[0];
  let c = block[1] * 32;
  z[g, 0 +: 4, c +: 32] = dot(q[0 +: 4, g, ..], y[g, c +: 32, ..].T);
}
";

#[test]
fn packed_matrices_hold_what_declared_ones_do() {
    let machines = Machines::open();
    let dtypes = [DType::F32, DType::F16, DType::BF16].map(ElementChoice::DType);
    let formats = ["act8", "q8_0", "q4_1", "nvfp4"];
    let formats = formats.map(|name| ElementChoice::Format(name.to_owned()));
    let floats = |shape: Vec<u64>, bytes: Vec<u8>, written: bool| {
        let element = Element::DType(DType::F32);
        Argument::Tensor(Data { shape, element, bytes, written, packed: false })
    };
    for choice in dtypes.iter().chain(&formats) {
        let mut instance = Instance::default();
        instance.formats.insert("Y".into(), choice.clone());
        for (m, g, c, e, start) in [(4u64, 2u64, 37u64, 128u64, 30u32), (1, 3, 5, 64, 0)] {
            let judge = |case: &Case, gpu: bool| {
                if let Err(error) = machines.check(case, gpu) {
                    panic!("{} of {choice:?}, {m} {g} {c} {e}: {error}", case.kernel.name);
                }
            };
            instance.dims.insert("E".into(), e);
            let kernel = instantiate(CACHE, "put", &instance);
            let element = element_of(&kernel, 1);
            let numbers: Vec<u8> = (0..m * g * e)
                .map(|at| (((at * 2_654_435_761) >> 7) % 1024) as f32 / 64.0 - 8.0)
                .flat_map(f32::to_le_bytes)
                .collect();
            // What is there already: zero bits are numbers in every format.
            let bytes = vec![0; bytes_of(&kernel, element, g * c, e)];
            let cache = Data { shape: vec![g, c, e], element, bytes, written: true, packed: true };
            let arguments = vec![
                floats(vec![m, g, e], numbers, false),
                Argument::Tensor(cache.clone()),
                Argument::Scalar(DType::I32, start),
            ];
            let put = Case { arguments, portable: true, kernel };
            judge(&put, true);
            // What was stored is read: the interpreter's bytes, packed for the others.
            let outcome = put.interpret(1 << 32).expect("it binds").expect("it runs");
            let Argument::Tensor(filled) = &outcome.arguments[1] else { panic!("a tensor") };
            assert!(filled.bytes.iter().any(|byte| *byte != 0), "something was stored");
            let kernel = instantiate(CACHE, "get", &instance);
            let filled =
                Data { element: element_of(&kernel, 1), written: false, packed: true, ..filled.clone() };
            let query: Vec<u8> =
                (0..4 * g * e).map(|at| (at % 5) as f32 - 2.0).flat_map(f32::to_le_bytes).collect();
            let arguments = vec![
                floats(vec![4, g, e], query, false),
                Argument::Tensor(filled),
                floats(vec![g, 4, c], vec![0; (g * 4 * c * 4) as usize], true),
            ];
            judge(&Case { arguments, portable: false, kernel }, false);
        }
    }
}
