//! `linear` of the standard library over weights of every narrow type and every group size, for few activation rows and many.
//!
//! | axis | values |
//! |---|---|
//! | codes | every integer of 1 to 8 bits and every float of 3 to 8 bits that the table of types has |
//! | groups | 16, 32, 64, 128 and the whole row; rows of 200 end inside a group of all but the last |
//! | M | 1, 2, 7, 16, 65, as `fit` picks the tile; N is 67, no multiple of any tile |
//!
//! The format of a case is source text made from a row of the table: `value[i] = d * q[i]`, or `d * q[i] + m` where codes have no sign. So for `u3` and 16:
//! `format w { group 16 { d: f16; m: f16; q: u3[16]; } .. }`, ten bytes a group.
//!
//! **Laws.** (1) On CPU targets row i of a product has the bits that the tile interpreter gives it, whatever M, the target and the number of
//! threads are. (2) Everywhere a result is within 2 (K + 8) ε Σ|x| (|d q| + |m|) of the sum in f64. (3) That bound is generous: the worst error is also
//! within [`OBSERVED`] by less than [`LOOSER`], which is far below a hundredfold loss.
//!
//! `TVMC_MATRIX=full` runs every type with every group size, which takes many minutes; else each type has one size, in turn. `TVMC_MATRIX=3/16` runs the third of 16
//! parts of that, for a machine of many cores: the binary needs no sources.
//! The interpreter computes the first rows of each format's product (it is slow), and WGSL runs few types with one group size.
//!
//! **WGSL on a software device.** Its driver makes a coroutine of every shader, whose frame takes time and memory quadratic in the shader's branches, and every access by lanes is
//! some of them: a product that is written out for a fast GPU (512 multiply-adds in a turn) compiles for many minutes there. So [`LEAN`] is WGSL's row with little written out: the same
//! code generator and the same tree, in a loop.
//! Codes beyond 2^±20 are left out: scaled sums of wider ones leave f32, which is the format's doing and not the kernel's.

use tvmc_cpu::{AlignedBuffer, BufferArg, CompiledKernel, Pool, Target as CpuTarget};
use tvmc_gpu::GpuDevice;
use tvmc_ir::lane::{Verified, verify};
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::{ArgumentShape, Binding, bind};
use tvmc_passes::packing::{Packing, pack, packed_bytes, unit_bytes};
use tvmc_passes::planes::{self, Planes};
use tvmc_passes::target::{CRANELIFT, Target, WGSL, X86_V3, X86_V4};
use tvmc_passes::{Options, ScalarBinding, lower};
use tvmc_sema::{ElementChoice, Instance, Loaded, choose_tunes, interface};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::sources::{load, shown};
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::packing::set_bits;

const N: u64 = 67;
const K: u64 = 200;
const GROUPS: [u64; 5] = [16, 32, 64, 128, K];
/// Activation rows of the products; all share their first rows.
const ROWS: [u64; 5] = [1, 2, 7, 16, 65];
const MOST: u64 = 65;
/// Rows that the interpreter computes.
const INTERPRETED: u64 = 2;
/// The worst error in units of ε Σ|x| (|d q| + |m|), as measured on CPU targets: every size for floats of 3 to 6 bits, one size a type for the others.
const OBSERVED: f64 = 4.691;
/// How much worse than that a change may make it.
const LOOSER: f64 = 4.0;

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// A format and a matrix stored in it.
struct Weights {
    name: String,
    library: tvmc_sema::Library,
    bytes: Vec<u8>,
    /// What the bytes mean, and the sum of the magnitudes of its two terms.
    values: Vec<(f64, f64)>,
    group_bytes: usize,
}

fn weights(codes: DType, group: u64) -> Weights {
    let minimum = codes.kind() == Kind::Unsigned;
    let (field, term) = if minimum { ("m: f16;", " + m") } else { ("", "") };
    let name = codes.name();
    let text = format!(
        "use linear;\nformat w {{ group {group} {{ d: f16; {field} q: {name}[{group}]; }} value[i] = d * q[i]{term}; }}"
    );
    let Loaded { library, diagnostics } = load("w.tile", &text);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    let usable: Vec<u64> = (0..1u64 << codes.bits())
        .filter(|code| {
            let size = codes.decode(*code).abs();
            size == 0.0 || (2f64.powi(-20)..=2f64.powi(20)).contains(&size)
        })
        .collect();
    let mut numbers = Numbers(u64::from(codes.bits()) * 1000 + group);
    let scalars = if minimum { 2 } else { 1 };
    let group_bytes = 2 * scalars + (group * u64::from(codes.bits()) / 8) as usize;
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..N {
        for first in (0..K).step_by(group as usize) {
            let start = bytes.len();
            bytes.resize(start + group_bytes, 0);
            let stored = &mut bytes[start..];
            // Scales from 1/16 to 1/4 of either sign.
            let mut scalar = |at: usize| {
                let code = 0x2c00 + numbers.next() % 0x800 + (numbers.next() & 1) * 0x8000;
                stored[2 * at..2 * at + 2].copy_from_slice(&(code as u16).to_le_bytes());
                DType::F16.decode(code)
            };
            let d = scalar(0);
            let m = if minimum { scalar(1) } else { 0.0 };
            for i in 0..group {
                let code = usable[numbers.next() as usize % usable.len()];
                set_bits(&mut stored[2 * scalars..], i as usize, codes.bits(), code);
                if first + i < K {
                    let part = d * codes.decode(code);
                    values.push((part + m, part.abs() + m.abs()));
                }
            }
        }
    }
    Weights { name: format!("{name} in groups of {group}"), library, bytes, values, group_bytes }
}

fn activations() -> Vec<f32> {
    let mut numbers = Numbers(11);
    (0..MOST * K).map(|_| numbers.next() as f32 / (1u64 << 30) as f32 - 1.0).collect()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The products in f64, each with the unit in which its error is measured.
fn exact(x: &[f32], w: &Weights) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for row in x.chunks_exact(K as usize) {
        for column in w.values.chunks_exact(K as usize) {
            let pairs = || row.iter().zip(column).map(|(x, w)| (f64::from(*x), w));
            let sum: f64 = pairs().map(|(x, w)| x * w.0).sum();
            let size: f64 = pairs().map(|(x, w)| x.abs() * w.1).sum();
            out.push((sum, size * f64::from(f32::EPSILON)));
        }
    }
    out
}

/// The worst error in its unit; a result that is no number, or beyond the bound, ends the test.
fn worst(got: &[f32], want: &[(f64, f64)], what: &str) -> f64 {
    let mut worst = 0f64;
    for (at, (got, (sum, unit))) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - sum).abs() / unit;
        assert!(error <= 2.0 * (K as f64 + 8.0), "{what}, element {at}: {got} for {sum}, {error} units off");
        worst = worst.max(error);
    }
    worst
}

/// `linear` with the tile that fits this many rows, and other choices than the first where they are given.
fn kernel(w: &Weights, m: u64, chosen: &[(&str, i64)]) -> (Vec<(String, i64)>, Kernel) {
    let list = interface(&w.library, "linear").unwrap_or_else(|list| panic!("{}", shown(&w.library, &list)));
    let sizes = |name: &str| [("M", m), ("N", N), ("K", K)].iter().find(|d| d.0 == name).map(|d| d.1 as i64);
    let mut tunes = choose_tunes(&list, &sizes);
    for (name, value) in chosen {
        tunes.retain(|(known, _)| known != name);
        tunes.push(((*name).to_owned(), *value));
    }
    let mut instance = Instance::default();
    instance.formats.insert("X".into(), ElementChoice::DType(DType::F32));
    instance.formats.insert("W".into(), ElementChoice::Format("w".into()));
    instance.dims.insert("N".into(), N);
    instance.dims.insert("K".into(), K);
    instance.tunes.extend(tunes.iter().cloned());
    match tvmc_sema::instantiate(&w.library, "linear", &instance) {
        Ok(kernel) => (tunes, kernel),
        Err(list) => panic!("{}: {}", w.name, shown(&w.library, &list)),
    }
}

fn binding(kernel: &Kernel, m: u64) -> Binding {
    let shapes = [[m, K], [N, K], [m, N]].map(|s| ArgumentShape::Tensor(s.to_vec()));
    bind(kernel, &shapes).expect("it binds")
}

fn interpreted(kernel: &Kernel, x: &[f32], w: &Weights, m: u64) -> Vec<f32> {
    let element = |at: usize| match &kernel.params[at] {
        tvmc_ir::tile::TensorDecl::Tensor { element, .. } => *element,
        tvmc_ir::tile::TensorDecl::Scalar { .. } => panic!("a tensor"),
    };
    let tensor = |at: usize, shape: [u64; 2], bytes: Vec<u8>, written: bool| {
        Argument::Tensor(Data { shape: shape.to_vec(), element: element(at), bytes, written, packed: false })
    };
    let arguments = vec![
        tensor(0, [m, K], bytes_of(&x[..(m * K) as usize]), false),
        tensor(1, [N, K], w.bytes.clone(), false),
        tensor(2, [m, N], vec![0; (m * N * 4) as usize], true),
    ];
    floats(&Case { kernel: kernel.clone(), arguments, portable: false }.interpreted(2))
}

/// The words in which a CPU keeps the weights, if their groups are no whole number of them.
fn words_of(kernel: &Kernel) -> Option<Planes> {
    Planes::words_of_format(kernel.formats.last().expect("a format"))
}

struct Lowered {
    function: Verified,
    scalars: Vec<ScalarBinding>,
}

impl Lowered {
    fn new(kernel: &Kernel, target: &Target) -> Self {
        let weights = match words_of(kernel) {
            _ if target.name == WGSL.name => Packing::Planar,
            Some(_) => Packing::Words,
            None => Packing::Interleaved,
        };
        let options = Options {
            packing: vec![Packing::AsDeclared, weights, Packing::AsDeclared],
            ..Options::default()
        };
        let lowered = lower(kernel, target, &options).expect("it lowers");
        Self { function: verify(lowered.function).expect("it verifies"), scalars: lowered.scalars }
    }

    fn scalars(&self, binding: &Binding) -> Vec<u64> {
        let value = |scalar: &ScalarBinding| match scalar {
            ScalarBinding::Dim(dim) => binding.dims[dim.index()],
            ScalarBinding::Param(_) | ScalarBinding::Elements { .. } => panic!("linear takes no scalars"),
        };
        self.scalars.iter().map(value).collect()
    }
}

/// As a CPU takes them.
fn packed(kernel: &Kernel, w: &Weights) -> Vec<u8> {
    let row_bytes = w.bytes.len() / N as usize;
    let mut out = vec![0; packed_bytes(N as usize, row_bytes).expect("it fits")];
    match words_of(kernel) {
        Some(words) => planes::pack(&w.bytes, N as usize, row_bytes, &words, &mut out),
        None => pack(&w.bytes, N as usize, row_bytes, unit_bytes(w.group_bytes), &mut out),
    }
    out
}

/// As a GPU takes them.
fn in_planes(kernel: &Kernel, w: &Weights) -> Vec<u8> {
    let row_bytes = w.bytes.len() / N as usize;
    let format = kernel.formats.last().expect("a format");
    let planes = Planes::of_format(format);
    let mut out = vec![0; planes::packed_bytes(N as usize, row_bytes, &planes).expect("it fits")];
    planes::pack(&w.bytes, N as usize, row_bytes, &planes, &mut out);
    out
}

fn launch(
    pool: &Pool,
    kernel: &CompiledKernel,
    binding: &Binding,
    scalars: &[u64],
    x: &[f32],
    w: &[u8],
) -> Vec<f32> {
    let m = x.len() / K as usize;
    let x = AlignedBuffer::from_bytes(&bytes_of(x)).expect("memory");
    let w = AlignedBuffer::from_bytes(w).expect("memory");
    let mut y = AlignedBuffer::from_bytes(&vec![0; m * N as usize * 4]).expect("memory");
    let mut arguments =
        [BufferArg::Read(x.as_slice()), BufferArg::Read(w.as_slice()), BufferArg::Write(y.as_mut_slice())];
    // SAFETY: `bind` took the shapes, and each buffer is as long as its shape in the order that the kernel was lowered for.
    let report = unsafe { pool.launch(kernel, binding.grid, &mut arguments, scalars) };
    report.expect("it runs");
    floats(y.as_slice())
}

fn cpus() -> Vec<(Target, CpuTarget)> {
    let mut list = vec![(CRANELIFT, CpuTarget::Cranelift)];
    if let CpuTarget::X86(features) = CpuTarget::native() {
        if features.level == tvmc_backend_x86::Level::V4 {
            list.push((X86_V4, CpuTarget::X86(features)));
        }
        list.push((X86_V3, CpuTarget::X86(features.narrowed())));
    }
    list
}

/// The types of codes, in the order of the table.
fn codes() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|d| match d.kind() {
        Kind::Unsigned | Kind::Signed => d.bits() <= 8,
        Kind::Float => (3..=8).contains(&d.bits()),
        Kind::Bool => false,
    })
}

/// Which part of every type with every group size is asked for: its number from 0, and of how many. `None`: each type with one size.
fn part() -> Option<(usize, usize)> {
    let value = std::env::var("TVMC_MATRIX").ok()?;
    if value == "full" {
        return Some((0, 1));
    }
    let (part, of) = value.split_once('/').expect("`full`, or a part such as 3/16");
    let (part, of): (usize, usize) = (part.parse().expect("a number"), of.parse().expect("a number"));
    assert!((1..=of).contains(&part), "part {part} of {of}");
    Some((part - 1, of))
}

/// The group sizes that a type meets in this run.
fn sizes(turn: usize) -> Vec<u64> {
    let each = GROUPS.into_iter().enumerate();
    match part() {
        Some((part, of)) => each.filter(|(at, _)| (turn * 5 + at) % of == part).map(|(_, g)| g).collect(),
        None => vec![GROUPS[turn % 5]],
    }
}

/// Some types on every CPU target.
fn on_cpus(chosen: impl Fn(DType) -> bool) {
    let (pools, cpus, x) = ([Pool::new(1), Pool::new(3)], cpus(), activations());
    let mut most = 0f64;
    for (turn, codes) in codes().enumerate().filter(|(_, d)| chosen(*d)) {
        for group in sizes(turn) {
            let w = weights(codes, group);
            let want = exact(&x, &w);
            let mut kernels: Vec<(Vec<(String, i64)>, Kernel)> = Vec::new();
            let at = ROWS.map(|m| {
                let made = kernel(&w, m, &[]);
                kernels.iter().position(|k| k.0 == made.0).unwrap_or_else(|| {
                    kernels.push(made);
                    kernels.len() - 1
                })
            });
            let stored = packed(&kernels[0].1, &w);
            let first = interpreted(&kernels[at[0]].1, &x, &w, INTERPRETED);
            let mut all: Option<Vec<u32>> = None;
            for (target, cpu) in &cpus {
                let code: Vec<(Lowered, CompiledKernel)> = kernels
                    .iter()
                    .map(|(_, kernel)| {
                        let lowered = Lowered::new(kernel, target);
                        let code = CompiledKernel::compile(&lowered.function, *cpu).expect("it compiles");
                        (lowered, code)
                    })
                    .collect();
                // Most rows first: the others are its beginning.
                for (m, at) in ROWS.into_iter().zip(at).rev() {
                    let (lowered, code) = &code[at];
                    let binding = binding(&kernels[at].1, m);
                    let scalars = lowered.scalars(&binding);
                    for pool in &pools {
                        let what =
                            format!("{}, {m} rows, {}, {} threads", w.name, target.name, pool.threads());
                        let got = launch(pool, code, &binding, &scalars, &x[..(m * K) as usize], &stored);
                        most = most.max(worst(&got, &want, &what));
                        let got = bits(&got);
                        let all = all.get_or_insert_with(|| got.clone());
                        assert!(got[..] == all[..got.len()], "{what}: other bits than among {MOST} rows");
                        let seen = got.len().min(first.len());
                        assert!(
                            got[..seen] == bits(&first)[..seen],
                            "{what}: other bits than the interpreter"
                        );
                    }
                }
            }
        }
    }
    println!("the worst error is {most:.3} units");
    // A small part may have no type of this test.
    assert!(most > 0.0 || part().is_some(), "sums of random numbers round");
    assert!(most <= OBSERVED * LOOSER, "{most} units off where {OBSERVED} was measured");
}

#[test]
fn unsigned_codes() {
    on_cpus(|d| d.kind() == Kind::Unsigned);
}

#[test]
fn signed_codes() {
    on_cpus(|d| d.kind() == Kind::Signed);
}

#[test]
fn floats_of_3_to_6_bits() {
    on_cpus(|d| d.is_float() && d.bits() <= 6);
}

#[test]
fn floats_of_7_and_8_bits() {
    on_cpus(|d| d.is_float() && d.bits() > 6);
}

/// A table that lost a row would shrink the matrix unseen.
#[test]
fn the_matrix_has_every_type() {
    let count = |kind: Kind| codes().filter(|d| d.kind() == kind).count();
    assert_eq!((count(Kind::Unsigned), count(Kind::Signed)), (8, 8));
    // A float of n bits with a sign has n - 2 splits (all but no exponent); then e8m0 and ue4m3.
    assert_eq!(count(Kind::Float), (3..=8).map(|n| n - 1).sum::<usize>() + 2);
}

/// Rows for which a tile has one: each of more makes the shader longer.
const FEW: [u64; 3] = [1, 2, 7];

/// WGSL with short loops.
const LEAN: Target = WGSL.lean();

/// One type in eight, with group sizes and numbers of rows in turn. A tree adds there, so bits may differ from the CPU's.
#[test]
fn types_on_wgsl() {
    let device = match GpuDevice::open(None) {
        Ok(device) => device,
        Err(error) if std::env::var_os("CI").is_some() => panic!("{error}"),
        Err(error) => return eprintln!("skipped wgsl: {error}"),
    };
    let x = activations();
    let mut most = 0f64;
    for (turn, codes) in
        codes().enumerate().filter(|(turn, _)| part().map_or(turn % 8 == 0, |(part, of)| turn % of == part))
    {
        let (group, m) = (GROUPS[turn % 5], FEW[turn % 3]);
        let w = weights(codes, group);
        // As a session chooses for a grid of so few blocks.
        let (_, kernel) = kernel(&w, m, &[("BN", 8)]);
        let (lowered, binding) = (Lowered::new(&kernel, &LEAN), binding(&kernel, m));
        let rows = &x[..(m * K) as usize];
        let mut y = vec![0; (m * N * 4) as usize];
        let mut stored = in_planes(&kernel, &w);
        stored.resize(stored.len().next_multiple_of(4), 0);
        let code = device.compile(&lowered.function).unwrap_or_else(|e| panic!("{}: {e}", w.name));
        let buffers = [&bytes_of(rows), &stored, &y].map(|b| device.buffer_with(b).expect("memory"));
        let views: Vec<_> = buffers.iter().map(|b| b.all()).collect();
        let mut commands = device.commands();
        commands.dispatch(&code, binding.grid, &views, &lowered.scalars(&binding)).expect("it is launched");
        commands.submit().and_then(|done| done.wait()).expect("it runs");
        device.download(&buffers[2], 0, &mut y).expect("it is read");
        most = most.max(worst(&floats(&y), &exact(rows, &w), &format!("{}, {m} rows, wgsl", w.name)));
    }
    println!("the worst error on wgsl is {most:.3} units");
    assert!(most > 0.0 || part().is_some(), "sums of random numbers round");
    assert!(most <= OBSERVED * LOOSER, "{most} units off where {OBSERVED} was measured");
}
