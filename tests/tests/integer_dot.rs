//! Products of two stored operands: whatever the format, the machine, the tile and the order in memory, `x w^T` is within the bound of the
//! reference, and one row alone has the bits that it has among others.
//!
//! `TVMC_SPEED=1 cargo test --release -p tvmc-tests --test integer_dot -- --ignored --nocapture` prints weights per nanosecond on one core; `TVMC_SPEED=x86-64-v4,q4_0,q6_k`
//! only those of the machines and formats that are named; `TVMC_LISTINGS=FOLDER` writes their code there.

use std::fmt::Write as _;
use tvmc_cpu::{AlignedBuffer, BufferArg, CompiledKernel, Pool, Target as CpuTarget};
use tvmc_interp::{lane as lane_interp, tile as tile_interp};
use tvmc_ir::lane::verify;
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::{ArgumentShape, Binding, bind};
use tvmc_passes::packing::{Packing, pack, packed_bytes, unit_bytes};
use tvmc_passes::planes::{self, Planes};
use tvmc_passes::target::{CRANELIFT, Target, X86_V3, X86_V4};
use tvmc_passes::{Options, ScalarBinding, lower};
use tvmc_sema::{ElementChoice, Instance, Loaded};
use tvmc_tests::sources::{load, shown};

/// Formats of every kind that `affine` takes, and some that it refuses.
const FORMATS: &str = "
format act { group 32 { d: f32; q: i8[32]; } value[i] = d * q[i]; }
format nibbles_offset { group 32 { d: f16; q: u4[32] @ column_local(2, 16).reshape(32); } value[i] = d * (q[i] - 8); }
format nibbles_minimum { group 32 { d: f16; m: f16; q: u4[32] @ column_local(2, 16).reshape(32); } value[i] = d * q[i] + m; }
format bytes { group 32 { d: f16; q: i8[32]; } value[i] = d * q[i]; }
format byte_words { group 32 { d: f16; m: f16; q: u8[32]; } value[i] = d * q[i] - m; }
format planes { group 32 { d: f16; e: f16; h: u1[32]; q: u4[32] @ column_local(2, 16).reshape(32); } value[i] = d * (concat(h[i], q[i]) - 16); }
format subscales { group 64 { d: f16; m: f16; s: u8[4]; q: u4[64]; } value[i] = d * (s[i / 16] & 15) * q[i] - m * (s[i / 16] >> 4); }
format pieces { group 32 { d: f16; e: f16; q: u8[8]; } value[i] = d * ((q[i % 8] >> 2 * (i / 8) & 3) - 1); }
format levels { table level: i32[16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]; group 32 { d: f16; e: f16; q: u4[32]; } value[i] = d * level[q[i]]; }
format floats { group 32 { d: f16; e: f16; q: e2m1[32]; } value[i] = d * q[i]; }
format finer_floats { group 32 { d: f16; q: e2m3[32]; } value[i] = d * q[i]; }
format wider_floats { group 32 { d: f16; q: e3m2[32]; } value[i] = d * q[i]; }
format byte_floats { group 32 { d: f16; e: f16; q: e4m3[32]; } value[i] = d * q[i]; }
format float_levels { table level: f32[4] = [-1.5, 0.25, 0.5, 1.0]; group 32 { d: f16; e: f16; q: u2[32]; } value[i] = d * level[q[i]]; }
format whole { group 16 { q: i8[16]; } value[i] = q[i] / 4.0; }
format zero_points { group 32 { d: f16; z: u8; spare: u8; q: u4[32]; } value[i] = d * (q[i] - z); }
format added_entries { group 32 { d: f16; z: i8[2]; q: u5[32]; } value[i] = d * (z[i / 16] + q[i]); }
format signs { group 32 { d: f16; e: f16; s: u1[32]; m: u3[32]; } value[i] = where(s[i] == 1, -d, d) * m[i]; }
format signs_first { group 32 { d: f16; e: f16; s: u1[32]; m: u4[32]; } value[i] = m[i] * where(s[i] == 1, d, -d); }
";

const LINEAR: &str = "
kernel linear<X: format, W: format>(x: X[M, K], w: W[N, K], y: out f32[M, N])
  const BM = 1
  const BN = 64
  const BK = max(max(32, W.group), X.group)
  grid ceil(N, BN), ceil(M, BM)
{
  let n = block[0] * BN;
  let m = block[1] * BM;
  var acc = zeros f32[BM, BN];
  for k in 0..K by BK { acc += dot(x[m +: BM, k +: BK], w[n +: BN, k +: BK].T); }
  y[m +: BM, n +: BN] = acc;
}
";

/// One more format for each integer width.
fn source() -> String {
    let mut text = FORMATS.to_owned();
    for bits in 1..=8 {
        for (sign, least) in [("u", 0), ("i", 1)] {
            if bits > least {
                let _ = writeln!(
                    text,
                    "format {sign}{bits}_codes {{ group 32 {{ d: f16; e: f16; q: {sign}{bits}[32]; }} value[i] = d * q[i]; }}"
                );
            }
        }
    }
    // The upper half of a byte: four of them are shifted at once, and must not keep bits of their neighbours.
    text += "format upper_halves { group 32 { d: f16; q: u8[32]; } value[i] = d * (q[i] >> 4); }\n";
    // Floats of a wide range, with and without infinities.
    for name in ["e3m4", "e5m1", "e4m2", "e7m0"] {
        let _ = writeln!(
            text,
            "format {name}_codes {{ group 32 {{ d: f16; e: f16; q: {name}[32]; }} value[i] = d * q[i] + e; }}"
        );
    }
    text + LINEAR
}

/// Those above and all of the standard library's.
fn formats() -> Vec<String> {
    let module = |name: &str| tvmc_stdlib::module(name).expect("a module").lines();
    let library = module("formats/gguf").chain(module("formats/gguf_iq"));
    let name = |l: &str| Some(l.strip_prefix("format ")?.split(' ').next()?.to_owned());
    source().lines().filter_map(name).chain(library.filter_map(name)).collect()
}

fn kernel(format: &str, bm: u32, n: u64, k: u64) -> Kernel {
    let mut text = source().replace("const BM = 1", &format!("const BM = {bm}"));
    if let (Ok(bn), true) = (std::env::var("TVMC_BN"), bm > 1) {
        text = text.replace("const BN = 64", &format!("const BN = {bn}"));
    }
    let Loaded { library, diagnostics } = load("t.tile", &text);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    let mut instance = Instance::default();
    instance.dims.insert("N".into(), n);
    instance.dims.insert("K".into(), k);
    for (name, value) in [("X", "act"), ("W", format)] {
        instance.formats.insert(name.into(), ElementChoice::Format(value.into()));
    }
    match tvmc_sema::instantiate(&library, "linear", &instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{}", shown(&library, &list)),
    }
}

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

/// Rows of a format: random bits, scales from the beginning of each group near 1. A scale that is no field of its own is small by luck.
fn stored(numbers: &mut Numbers, format: &tvmc_ir::tile::Format, rows: u64, k: u64) -> Vec<u8> {
    let groups = rows * k / u64::from(format.group);
    let scaled = format.fields.iter().any(|f| f.dtype.is_float());
    let small = |group: &[u8]| {
        let element = |i| {
            f32::from_bits(
                tile_interp::decode_element(format, tile_interp::Parts::group(group), i).expect("a weight"),
            )
        };
        (0..format.group).all(|i| element(i).abs() < 64.0)
    };
    let mut bytes = Vec::new();
    for _ in 0..groups {
        let start = bytes.len();
        bytes.extend((0..format.bytes).map(|_| numbers.next() as u8));
        while !scaled && !small(&bytes[start..]) {
            bytes[start..].fill_with(|| numbers.next() as u8);
        }
        for field in &format.fields {
            let at = start + field.bit_offset as usize / 8;
            if field.dtype == tvmc_types::dtype::DType::F16 {
                let scale = 0x2c00 + (numbers.next() % 0x800) as u16;
                bytes[at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
            if field.dtype.name() == "e8m0" {
                bytes[at] = 120 + (numbers.next() % 8) as u8;
            }
            if field.dtype.name() == "e4m3" {
                // Below NaN.
                bytes[at..at + field.count as usize].iter_mut().for_each(|b| *b &= 0xbf);
            }
            if field.dtype.name() == "ue4m3" {
                bytes[at..at + field.count as usize].iter_mut().for_each(|b| *b &= 0x3f);
            }
            if field.dtype == tvmc_types::dtype::DType::F32 {
                let scale = (numbers.next() % 1000) as f32 / 100.0;
                bytes[at..at + 4].copy_from_slice(&scale.to_le_bytes());
            }
        }
    }
    bytes
}

struct Ready {
    kernel: Kernel,
    binding: Binding,
    m: u64,
    n: u64,
    k: u64,
}

fn ready(format: &str, bm: u32, m: u64, n: u64, k: u64) -> Ready {
    let kernel = kernel(format, bm, n, k);
    let shapes = [[m, k], [n, k], [m, n]];
    let arguments: Vec<ArgumentShape> = shapes.iter().map(|s| ArgumentShape::Tensor(s.to_vec())).collect();
    let binding = bind(&kernel, &arguments).expect("it binds");
    Ready { kernel, binding, m, n, k }
}

fn reference(ready: &Ready, x: &[u8], w: &[u8]) -> Vec<f32> {
    let mut tensors = [x.to_vec(), w.to_vec(), vec![0; (ready.m * ready.n * 4) as usize]];
    let shapes = [[ready.m, ready.k], [ready.n, ready.k], [ready.m, ready.n]];
    let arguments = tensors
        .iter_mut()
        .zip(shapes)
        .map(|(bytes, shape)| tile_interp::Argument::Tensor(bytes, shape.to_vec()))
        .collect();
    tile_interp::run(&ready.kernel, &ready.binding, arguments, 1 << 36).expect("it runs");
    floats(&tensors[2])
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

struct Compiled {
    function: tvmc_ir::lane::Verified,
    scalars: Vec<u64>,
    packed: bool,
    words: Option<Planes>,
    unit: usize,
    row_bytes: usize,
}

fn compiled(ready: &Ready, target: &Target, packed: bool) -> Compiled {
    let words = Planes::words_of_format(ready.kernel.formats.last().expect("a format"));
    let order = match words {
        _ if !packed => Packing::AsDeclared,
        Some(_) => Packing::Words,
        None => Packing::Interleaved,
    };
    let options =
        Options { packing: vec![Packing::AsDeclared, order, Packing::AsDeclared], ..Options::default() };
    let lowered = lower(&ready.kernel, target, &options).expect("it lowers");
    let scalars = lowered
        .scalars
        .iter()
        .map(|s| match s {
            ScalarBinding::Dim(dim) => ready.binding.dims[dim.index()],
            ScalarBinding::Param(_) | ScalarBinding::Elements { .. } => 0,
        })
        .collect();
    let format = ready.kernel.formats.last().expect("a format");
    let unit = unit_bytes(format.bytes as usize);
    let row_bytes = (ready.k / u64::from(format.group)) as usize * format.bytes as usize;
    Compiled {
        function: verify(lowered.function).expect("it verifies"),
        scalars,
        packed,
        words,
        unit,
        row_bytes,
    }
}

impl Compiled {
    fn weights(&self, ready: &Ready, w: &[u8]) -> Vec<u8> {
        if !self.packed {
            return w.to_vec();
        }
        let rows = ready.n as usize;
        let mut out = vec![0; packed_bytes(rows, self.row_bytes).expect("it fits")];
        match &self.words {
            Some(words) => planes::pack(w, rows, self.row_bytes, words, &mut out),
            None => pack(w, rows, self.row_bytes, self.unit, &mut out),
        }
        out
    }

    fn on_lanes(&self, ready: &Ready, x: &[u8], w: &[u8]) -> Vec<f32> {
        let w = self.weights(ready, w);
        let mut y = vec![0; (ready.m * ready.n * 4) as usize];
        let buffers = vec![
            lane_interp::Argument::Read(x),
            lane_interp::Argument::Read(&w),
            lane_interp::Argument::Write(&mut y),
        ];
        let launch = lane_interp::Launch::new(ready.binding.grid, buffers, &self.scalars);
        lane_interp::run(&self.function, launch).unwrap_or_else(|trap| panic!("{trap}\n{}", *self.function));
        floats(&y)
    }

    fn on_cpu(&self, pool: &Pool, target: CpuTarget, ready: &Ready, x: &[u8], w: &[u8]) -> Vec<f32> {
        let kernel = CompiledKernel::compile(&self.function, target).expect("it compiles");
        let x = AlignedBuffer::from_bytes(x).expect("memory");
        let w = AlignedBuffer::from_bytes(&self.weights(ready, w)).expect("memory");
        let mut y = AlignedBuffer::from_bytes(&vec![0; (ready.m * ready.n * 4) as usize]).expect("memory");
        let mut arguments = [
            BufferArg::Read(x.as_slice()),
            BufferArg::Read(w.as_slice()),
            BufferArg::Write(y.as_mut_slice()),
        ];
        // SAFETY: shapes are bound, buffers are as long as their shapes, and the lane interpreter has just run the same code.
        let report = unsafe { pool.launch(&kernel, ready.binding.grid, &mut arguments, &self.scalars) };
        report.expect("it runs");
        floats(y.as_slice())
    }
}

fn machines() -> Vec<(Target, CpuTarget)> {
    let mut list = vec![(CRANELIFT, CpuTarget::Cranelift)];
    if let CpuTarget::X86(features) = CpuTarget::native() {
        if features.level == tvmc_backend_x86::Level::V4 {
            list.push((X86_V4, CpuTarget::X86(features)));
        }
        list.push((X86_V3, CpuTarget::X86(features.narrowed())));
    }
    list
}

fn operands(ready: &Ready, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut numbers = Numbers(seed);
    let x = stored(&mut numbers, &ready.kernel.formats[0], ready.m, ready.k);
    let w = stored(&mut numbers, ready.kernel.formats.last().expect("a format"), ready.n, ready.k);
    (x, w)
}

#[test]
fn every_format_within_the_bound_and_independent_of_the_batch() {
    within_the_bound_and_independent_of_the_batch(0);
}

#[test]
fn every_other_format_within_the_bound_and_independent_of_the_batch() {
    within_the_bound_and_independent_of_the_batch(1);
}

/// Every second format from the given one, so that two processors share the work.
fn within_the_bound_and_independent_of_the_batch(first: usize) {
    /// A block of rows and some more, of which the last are alone with rows that lie outside.
    const ROWS: u64 = 19;
    let pool = Pool::new(1);
    let machines = machines();
    for (at, format) in formats().iter().enumerate().skip(first).step_by(2) {
        // Long rows for what has long groups.
        let group = kernel(format, 1, 64, 512).formats.last().expect("a format").group;
        let (n, k) = (70, if group > 64 { 512 } else { 128 });
        {
            let many = ready(format, 16, ROWS, n, k);
            let (x, w) = operands(&many, at as u64 + n);
            let expected = reference(&many, &x, &w);
            let one = ready(format, 1, 1, n, k);
            let row = x.len() / ROWS as usize;
            let alone = &x[7 * row..8 * row];
            for (target, cpu) in &machines {
                for packed in [false, true] {
                    let name = format!("{format} on {}, n {n}, packed {packed}", target.name);
                    let all = compiled(&many, target, packed);
                    let lanes = all.on_lanes(&many, &x, &w);
                    let largest = expected.iter().fold(1f32, |l, v| l.max(v.abs()));
                    for (i, (a, e)) in lanes.iter().zip(&expected).enumerate() {
                        // Random signs: a sum of K terms of the largest size is far above any single result.
                        assert!((a - e).abs() <= 2e-6 * largest * 8.0, "{name}, element {i}: {a} for {e}");
                    }
                    let got = all.on_cpu(&pool, *cpu, &many, &x, &w);
                    assert_eq!(bits(&got), bits(&lanes), "{name}");
                    let single = compiled(&one, target, packed).on_cpu(&pool, *cpu, &one, alone, &w);
                    let n = n as usize;
                    assert_eq!(bits(&single), bits(&got[7 * n..8 * n]), "{name}: one row alone");
                }
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// In cache, one core: not a test, a figure.
#[test]
#[ignore = "prints figures"]
fn speed() {
    let pool = Pool::new(1);
    let wanted = std::env::var("TVMC_SPEED").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').collect();
    let all = |mut names: Vec<String>| {
        if names.iter().any(|name| wanted.contains(&name.as_str())) {
            names.retain(|name| wanted.contains(&name.as_str()));
        }
        names
    };
    let names = all(machines().iter().map(|(target, _)| target.name.to_owned()).collect());
    for (target, cpu) in machines().into_iter().filter(|(target, _)| names.contains(&target.name.to_owned()))
    {
        for format in all(formats()) {
            let rows = std::env::var("TVMC_BM").ok().and_then(|v| v.parse().ok()).unwrap_or(32);
            for (bm, m) in [(1, 1), (rows, 128)] {
                let (n, k) = (512u64, 2048u64);
                let ready = ready(&format, bm, m, n, k);
                let (x, w) = operands(&ready, 5);
                let code = compiled(&ready, &target, true);
                if let (Ok(folder), CpuTarget::X86(features)) = (std::env::var("TVMC_LISTINGS"), cpu) {
                    let machine = tvmc_backend_x86::compile(&code.function, &features).expect("it compiles");
                    let text = format!("{}\n{}", *code.function, tvmc_backend_x86::disassemble(&machine));
                    std::fs::write(format!("{folder}/{format}_{m}"), text).expect("a folder");
                }
                let kernel = CompiledKernel::compile(&code.function, cpu).expect("it compiles");
                let x = AlignedBuffer::from_bytes(&x).expect("memory");
                let w = AlignedBuffer::from_bytes(&code.weights(&ready, &w)).expect("memory");
                let mut y = AlignedBuffer::from_bytes(&vec![0; (m * n * 4) as usize]).expect("memory");
                let mut times = Vec::new();
                for _ in 0..if m == 1 { 200 } else { 12 } {
                    let mut arguments = [
                        BufferArg::Read(x.as_slice()),
                        BufferArg::Read(w.as_slice()),
                        BufferArg::Write(y.as_mut_slice()),
                    ];
                    let start = std::time::Instant::now();
                    // SAFETY: as in `on_cpu`.
                    let report =
                        unsafe { pool.launch(&kernel, ready.binding.grid, &mut arguments, &code.scalars) };
                    report.expect("it runs");
                    times.push(start.elapsed().as_secs_f64());
                }
                times.sort_by(f64::total_cmp);
                let time = times[times.len() / 2];
                println!(
                    "{:10} {format:16} m {m:3}: {:8.1} weights/ns",
                    target.name,
                    (m * n * k) as f64 / time / 1e9
                );
            }
        }
    }
}
