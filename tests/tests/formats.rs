//! Every GGUF type that the standard library declares decodes to what an independent decoder gives (`formats/make_goldens.py`), bit for bit, on every
//! machine: as stored, row-interleaved, and where a row ends inside a group. Products with such weights are those of the interpreter.
//!
//! What is not compared bit for bit:
//!
//! | where | what | why |
//! |---|---|---|
//! | everywhere | the bits of a NaN | undefined |
//! | formats with e2m1 codes | the sign of a zero | the reference's table has no negative zero, e2m1 has one |
//! | WGSL | the sign of a zero | WGSL may ignore it |
//! | WGSL | the extreme blocks: NaN, infinite and subnormal f16 scales, 8-bit scales at both ends | WGSL may assume that floats are finite, and may flush subnormals |
//!
//! `TVMC_GOLDENS=folder` reads the files of a longer run of the script.

use std::path::PathBuf;
use tvmc_ir::tile::{Element, Format, TensorDecl};
use tvmc_sema::{ElementChoice, Instance, Library, choose_tunes, interface};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;
use tvmc_tests::sources::load;
use tvmc_types::dtype::DType;

const SOURCE: &str = "
use linear;

kernel decode<W: format>(w: W[N, K], y: out f32[N, K])
  const B = max(32, W.group)
  grid N, ceil(K, B)
{
  let n = block[0];
  let k = block[1] * B;
  y[n, k +: B] = w[n, k +: B];
}
";

struct Golden {
    name: String,
    elements: u64,
    size: usize,
    /// Blocks with finite scales; they stand first.
    random: usize,
    blocks: Vec<u8>,
    values: Vec<u32>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn goldens() -> Vec<Golden> {
    let folder = std::env::var_os("TVMC_GOLDENS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("formats"), PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "bin"))
        .collect();
    files.sort();
    assert!(files.len() == 25, "{} golden files in {}", files.len(), folder.display());
    files
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).expect("a golden file");
            let (elements, size) = (word(&bytes, 0) as usize, word(&bytes, 4) as usize);
            let (random, extreme) = (word(&bytes, 8) as usize, word(&bytes, 12) as usize);
            let end = 16 + (random + extreme) * size;
            assert_eq!(bytes.len(), end + (random + extreme) * elements * 4, "{}", path.display());
            Golden {
                name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
                elements: elements as u64,
                size,
                random,
                blocks: bytes[16..end].to_vec(),
                values: bytes[end..].chunks_exact(4).map(|b| word(b, 0)).collect(),
            }
        })
        .collect()
}

fn library() -> Library {
    let loaded = load("decode.tile", SOURCE);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics[0].message);
    loaded.library
}

fn kernel(library: &Library, name: &str, instance: &Instance) -> tvmc_ir::tile::Kernel {
    match tvmc_sema::instantiate(library, name, instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{name}: {}", list[0].message),
    }
}

fn element(kernel: &tvmc_ir::tile::Kernel, at: usize) -> Element {
    match &kernel.params[at] {
        TensorDecl::Tensor { element, .. } => *element,
        TensorDecl::Scalar { .. } => panic!("a tensor"),
    }
}

fn input(element: Element, shape: [u64; 2], bytes: &[u8], packed: bool) -> Argument {
    Argument::Tensor(Data { shape: shape.to_vec(), element, bytes: bytes.to_vec(), written: false, packed })
}

fn output(element: Element, shape: [u64; 2]) -> Argument {
    let bytes = vec![0; (shape[0] * shape[1] * 4) as usize];
    Argument::Tensor(Data { shape: shape.to_vec(), element, bytes, written: true, packed: false })
}

/// Decodes rows of these many elements.
fn decoding(library: &Library, golden: &Golden, blocks: &[u8], columns: u64) -> Case {
    let row_bytes = columns.div_ceil(golden.elements) as usize * golden.size;
    let shape = [(blocks.len() / row_bytes) as u64, columns];
    let mut instance = Instance::default();
    instance.dims.insert("K".into(), columns);
    instance.formats.insert("W".into(), ElementChoice::Format(golden.name.clone()));
    let kernel = kernel(library, "decode", &instance);
    let format = &kernel.formats[0];
    let declared = (u64::from(format.group), format.bytes as usize);
    assert_eq!(declared, (golden.elements, golden.size), "{}: elements and bytes of a group", golden.name);
    let arguments =
        vec![input(element(&kernel, 0), shape, blocks, false), output(element(&kernel, 1), shape)];
    Case { kernel, arguments, portable: true }
}

/// What the tile interpreter leaves in the last argument.
fn interpreted(case: &Case) -> Vec<u32> {
    case.interpreted(case.arguments.len() - 1).chunks_exact(4).map(|b| word(b, 0)).collect()
}

/// Compares the interpreter with the goldens, then every machine with the interpreter.
fn judge(machines: &Machines, golden: &Golden, case: &Case, want: &[u32], what: &str) {
    let unsigned_zeros = case.kernel.formats[0].fields.iter().any(|f| f.dtype == DType::E2M1);
    let got = interpreted(case);
    assert_eq!(got.len(), want.len());
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let (g, w) = (f32::from_bits(*got), f32::from_bits(*want));
        let zeros = unsigned_zeros && g == 0.0 && w == 0.0;
        assert!(
            got == want || g.is_nan() && w.is_nan() || zeros,
            "{}, {what}, element {at}: {g} for {w}",
            golden.name
        );
    }
    if let Err(error) = machines.check(case, case.portable) {
        panic!("{}, {what}: {error}", golden.name);
    }
}

fn packed(mut case: Case) -> Case {
    if let Some(Argument::Tensor(data)) = case.arguments.first_mut() {
        data.packed = true;
    }
    case
}

#[test]
fn every_type_decodes_as_the_reference_does() {
    let (machines, library) = (Machines::open(), library());
    for golden in goldens() {
        let (bytes, values) = (golden.random * golden.size, golden.random * golden.elements as usize);
        let random = decoding(&library, &golden, &golden.blocks[..bytes], golden.elements);
        judge(&machines, &golden, &random, &golden.values[..values], "random");
        let extreme = decoding(&library, &golden, &golden.blocks[bytes..], golden.elements);
        let extreme = Case { portable: false, ..extreme };
        judge(&machines, &golden, &extreme, &golden.values[values..], "extreme");
    }
}

/// Three groups a row in rows interleaved by the compiler's order.
#[test]
fn every_type_decodes_from_interleaved_rows() {
    let (machines, library) = (Machines::open(), library());
    for golden in goldens() {
        let (rows, columns) = (golden.random / 3, 3 * golden.elements);
        let blocks = &golden.blocks[..rows * 3 * golden.size];
        let case = packed(decoding(&library, &golden, blocks, columns));
        let values = rows * columns as usize;
        judge(&machines, &golden, &case, &golden.values[..values], "interleaved");
    }
}

/// The third group of each row ends after half its elements and three: what the file holds there is not read as weights.
#[test]
fn rows_may_end_inside_a_group() {
    let (machines, library) = (Machines::open(), library());
    for golden in goldens().into_iter().filter(|g| g.elements < 256 || g.size % 4 == 2) {
        let (rows, columns) = (golden.random / 3, 2 * golden.elements + golden.elements / 2 + 3);
        let stored = 3 * golden.elements as usize;
        let want: Vec<u32> = golden.values[..rows * stored]
            .chunks_exact(stored)
            .flat_map(|row| row[..columns as usize].to_vec())
            .collect();
        let blocks = &golden.blocks[..rows * 3 * golden.size];
        let case = decoding(&library, &golden, blocks, columns);
        judge(&machines, &golden, &case, &want, "ragged");
        judge(&machines, &golden, &packed(case), &want, "ragged and interleaved");
    }
}

/// Codes that the reference takes for numbers are NaN by the definitions of e8m0 and e4m3, and so are all weights scaled by them.
#[test]
fn scales_that_are_no_number_give_none() {
    let (machines, library) = (Machines::open(), library());
    let mut seen = 0;
    for golden in goldens() {
        let format = tvmc_sema::format(&library, &golden.name).expect("a format");
        let Some(scale) = format.fields.iter().find(|f| [DType::E8M0, DType::UE4M3].contains(&f.dtype))
        else {
            continue;
        };
        seen += 1;
        let mut blocks = golden.blocks[..golden.size].to_vec();
        let first = scale.bit_offset as usize / 8;
        blocks[first..first + scale.count as usize].fill(0xff);
        let case = decoding(&library, &golden, &blocks, golden.elements);
        let case = Case { portable: false, ..case };
        judge(&machines, &golden, &case, &vec![f32::NAN.to_bits(); golden.elements as usize], "NaN");
    }
    assert_eq!(seen, 2);
}

/// Writes 1 to the scales, so that weights are small integers or eighths.
fn set_scales_to_one(format: &Format, blocks: &mut [u8]) {
    for block in blocks.chunks_exact_mut(format.bytes as usize) {
        for field in &format.fields {
            let first = field.bit_offset as usize / 8;
            match field.dtype {
                DType::F16 => block[first..first + 2].copy_from_slice(&0x3c00u16.to_le_bytes()),
                DType::E8M0 => block[first] = 127,
                DType::UE4M3 => block[first..first + field.count as usize].fill(0x38),
                _ => {}
            }
        }
    }
}

/// `linear` over weights of each format. Activations are integers from -2 to 2 and scales are 1, so every sum is exact in f32, whatever its order
/// and whether products are fused: all machines must agree bit for bit. Large groups make long code: four of them stand for all, and a software GPU
/// is spared.
#[test]
fn products_with_each_type_are_exact() {
    let (machines, library) = (Machines::open(), library());
    let interface = interface(&library, "linear").unwrap_or_else(|list| panic!("{}", list[0].message));
    let large = ["q4_k", "q6_k", "iq2_xxs", "tq1_0"];
    let chosen = goldens().into_iter().filter(|g| g.elements < 256 || large.contains(&g.name.as_str()));
    for golden in chosen {
        let (rows, columns) = (19u64, 512u64);
        let mut instance = Instance::default();
        instance.formats.insert("X".into(), ElementChoice::DType(DType::F32));
        instance.formats.insert("W".into(), ElementChoice::Format(golden.name.clone()));
        for (name, size) in [("K", columns), ("N", rows)] {
            instance.dims.insert(name.into(), size);
        }
        let m = 1 + golden.elements / 32 % 3;
        let sizes = |name: &str| {
            [("M", m), ("N", rows), ("K", columns)].iter().find(|d| d.0 == name).map(|d| d.1 as i64)
        };
        instance.tunes.extend(choose_tunes(&interface, &sizes));
        let kernel = kernel(&library, "linear", &instance);
        let format = kernel.formats[0].clone();
        let wanted = rows as usize * (columns / golden.elements) as usize * golden.size;
        let mut blocks: Vec<u8> =
            golden.blocks[..golden.random * golden.size].iter().copied().cycle().take(wanted).collect();
        set_scales_to_one(&format, &mut blocks);
        let x: Vec<u8> = (0..m * columns).flat_map(|i| ((i * 7 % 5) as f32 - 2.0).to_le_bytes()).collect();
        let small = golden.elements < 256;
        for packed in [false, true] {
            if !small && packed != format.bytes.is_multiple_of(4) {
                continue;
            }
            let arguments = vec![
                input(element(&kernel, 0), [m, columns], &x, false),
                input(element(&kernel, 1), [rows, columns], &blocks, packed),
                output(element(&kernel, 2), [m, rows]),
            ];
            let case = Case { kernel: kernel.clone(), arguments, portable: small };
            assert!(interpreted(&case).iter().any(|bits| *bits != 0), "{}", golden.name);
            if let Err(error) = machines.check(&case, small) {
                panic!("{}, packed {packed}: {error}", golden.name);
            }
        }
    }
}

/// Every type id that a file of weights may hold leads to a declaration with its block, or to a dtype.
#[test]
fn every_type_id_has_a_declaration() {
    let library = library();
    let intermediate = ["q8_1", "q8_k"];
    for row in tvmc_weights::gguf::type_ids::TENSOR_TYPES {
        if DType::from_name(row.name).is_some() || intermediate.contains(&row.name) {
            continue;
        }
        let format =
            tvmc_sema::format(&library, row.name).unwrap_or_else(|list| panic!("{}", list[0].message));
        assert_eq!((format.group, format.bytes), (row.block.elements, row.block.bytes), "{}", row.name);
        assert!(goldens().iter().any(|g| g.name == row.name), "{} has no golden file", row.name);
    }
}
