//! Every GGUF type that the standard library declares decodes to what an independent decoder gives (`formats/make_goldens.py`), bit for bit, on every
//! machine, as stored and row-interleaved. Infinite and NaN results are left out on WGSL, which may assume that there are none.
//!
//! `TVMC_GOLDENS=folder` reads the files of a longer run of the script.

use std::path::PathBuf;
use tvmc_ir::tile::launch::{ArgumentShape, bind};
use tvmc_sema::{ElementChoice, Instance, Library, Source, Use};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;

const SOURCE: &str = "
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
    assert!(files.len() >= 16, "{} golden files in {}", files.len(), folder.display());
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

fn case(golden: &Golden, blocks: &[u8], portable: bool, packed: bool) -> Case {
    let mut load = |wanted: Use<'_>| match wanted {
        Use::Library(name) => {
            tvmc_stdlib::module(name).map(|text| Source { name: name.to_owned(), text: text.to_owned() })
        }
        Use::File { .. } => None,
    };
    let root = Source { name: "decode.tile".into(), text: SOURCE.to_owned() };
    let loaded = Library::load(root, tvmc_stdlib::PRELUDE, &mut load);
    assert!(loaded.diagnostics.is_empty());
    let (rows, columns) = ((blocks.len() / golden.size) as u64, golden.elements);
    let mut instance = Instance::default();
    instance.dims.insert("K".into(), columns);
    instance.formats.insert("W".into(), ElementChoice::Format(golden.name.clone()));
    let kernel = match tvmc_sema::instantiate(&loaded.library, "decode", &instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{}: {}", golden.name, list[0].message),
    };
    let format = &kernel.formats[0];
    let declared = (u64::from(format.group), format.bytes as usize);
    assert_eq!(declared, (golden.elements, golden.size), "{}: elements and bytes of a group", golden.name);
    let element = |at: usize| match &kernel.params[at] {
        tvmc_ir::tile::TensorDecl::Tensor { element, .. } => *element,
        tvmc_ir::tile::TensorDecl::Scalar { .. } => panic!("a tensor"),
    };
    let shape = vec![rows, columns];
    let arguments = vec![
        Argument::Tensor(Data {
            shape: shape.clone(),
            element: element(0),
            bytes: blocks.to_vec(),
            written: false,
            packed,
        }),
        Argument::Tensor(Data {
            shape,
            element: element(1),
            bytes: vec![0; (rows * columns * 4) as usize],
            written: true,
            packed: false,
        }),
    ];
    Case { kernel, arguments, portable }
}

/// What the tile interpreter makes of the blocks.
fn decoded(case: &Case) -> Vec<u32> {
    let shapes: Vec<ArgumentShape> = case.shapes();
    let binding = bind(&case.kernel, &shapes).expect("it binds");
    let mut copies: Vec<(Vec<u8>, Vec<u64>)> = case
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Tensor(data) => (data.bytes.clone(), data.shape.clone()),
            Argument::Scalar(..) => panic!("a tensor"),
        })
        .collect();
    let arguments = copies
        .iter_mut()
        .map(|(bytes, shape)| tvmc_interp::tile::Argument::Tensor(bytes, shape.clone()))
        .collect();
    tvmc_interp::tile::run(&case.kernel, &binding, arguments, 1 << 34).expect("it runs");
    copies[1].0.chunks_exact(4).map(|b| word(b, 0)).collect()
}

#[test]
fn every_declared_type_decodes_as_the_reference_does() {
    let machines = Machines::open();
    for golden in goldens() {
        let split = golden.random * golden.size;
        for (blocks, first, portable) in
            [(&golden.blocks[..split], 0, true), (&golden.blocks[split..], golden.random, false)]
        {
            for packed in [false, true] {
                let case = case(&golden, blocks, portable, packed);
                let got = decoded(&case);
                let from = first * golden.elements as usize;
                for (at, (got, want)) in got.iter().zip(&golden.values[from..]).enumerate() {
                    let (g, w) = (f32::from_bits(*got), f32::from_bits(*want));
                    let (block, element) = (at / golden.elements as usize, at % golden.elements as usize);
                    assert!(
                        got == want || g == w || g.is_nan() && w.is_nan(),
                        "{}: element {element} of block {}: {g} for {w}",
                        golden.name,
                        first + block
                    );
                }
                if let Err(error) = machines.check(&case, portable) {
                    panic!("{}, packed {packed}: {error}", golden.name);
                }
            }
        }
    }
}
