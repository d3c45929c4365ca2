//! Random kernels agree on every machine: tile interpreter = lane interpreter (lanes permuted) = Cranelift = x86 at both levels = WGSL.
//!
//! `TVMC_PROGRAMS=1000` runs more. A failure prints the seed, the target and the source; the seed alone reproduces it.

use tvmc_cpu::{AlignedBuffer, BufferArg, CompiledKernel, Pool, Target};
use tvmc_interp::{lane as lane_interp, tile as tile_interp};
use tvmc_ir::lane::{Verified, verify};
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::{ArgumentShape, Binding, bind};
use tvmc_passes::target::{CRANELIFT, TARGETS, WGSL, X86_V3, X86_V4};
use tvmc_passes::{Options, ScalarBinding, lower};
use tvmc_sema::{Instance, Library, Source, Use};
use tvmc_tests::source_programs::{Case, Tensor, case};

fn count() -> u64 {
    std::env::var("TVMC_PROGRAMS").ok().and_then(|v| v.parse().ok()).unwrap_or(60)
}

fn compile(case: &Case) -> Kernel {
    let mut load = |wanted: Use<'_>| match wanted {
        Use::Library(name) => {
            tvmc_stdlib::module(name).map(|text| Source { name: name.to_owned(), text: text.to_owned() })
        }
        Use::File { .. } => None,
    };
    let root = Source { name: "random.tile".into(), text: case.source.clone() };
    let loaded = Library::load(root, tvmc_stdlib::PRELUDE, &mut load);
    let show = |list: &[tvmc_lang::diag::Diagnostic]| -> String {
        list.iter().map(|d| tvmc_lang::diag::render(d, loaded.library.sources(), false)).collect()
    };
    assert!(loaded.diagnostics.is_empty(), "{}", show(&loaded.diagnostics));
    let instance = Instance { dims: case.constants.iter().cloned().collect(), ..Instance::default() };
    match tvmc_sema::instantiate(&loaded.library, "random", &instance) {
        Ok(kernel) => match tvmc_ir::tile::verify(kernel) {
            Ok(verified) => verified.into_inner(),
            Err(errors) => panic!("{errors:?}\n{}", case.source),
        },
        Err(list) => panic!("{}\n{}", show(&list), case.source),
    }
}

fn reference(kernel: &Kernel, binding: &Binding, tensors: &[Tensor]) -> Vec<u8> {
    let mut copies: Vec<Tensor> = tensors.to_vec();
    let arguments =
        copies.iter_mut().map(|t| tile_interp::Argument::Tensor(&mut t.bytes, t.shape.clone())).collect();
    tile_interp::run(kernel, binding, arguments, 1 << 36).expect("the interpreter runs it");
    copies.pop().expect("an output").bytes
}

fn lowered(kernel: &Kernel, target: &tvmc_passes::target::Target, binding: &Binding) -> (Verified, Vec<u64>) {
    let lowered = lower(kernel, target, &Options::default()).expect("it lowers");
    let scalars = lowered
        .scalars
        .iter()
        .map(|s| match s {
            ScalarBinding::Dim(dim) => binding.dims[dim.index()],
            ScalarBinding::Param(_) => 0,
        })
        .collect();
    (verify(lowered.function).expect("it verifies"), scalars)
}

fn on_lanes(function: &Verified, scalars: &[u64], binding: &Binding, tensors: &[Tensor]) -> Vec<u8> {
    let mut copies: Vec<Tensor> = tensors.to_vec();
    let buffers = copies
        .iter_mut()
        .map(|t| {
            if t.written {
                lane_interp::Argument::Write(&mut t.bytes)
            } else {
                lane_interp::Argument::Read(&t.bytes)
            }
        })
        .collect();
    let mut launch = lane_interp::Launch::new(binding.grid, buffers, scalars);
    launch.order = lane_interp::LaneOrder::Permuted(11);
    if let Err(trap) = lane_interp::run(function, launch) {
        panic!("{trap}\n{}", **function);
    }
    copies.pop().expect("an output").bytes
}

fn on_cpu(
    pool: &Pool,
    function: &Verified,
    target: Target,
    (scalars, binding): (&[u64], &Binding),
    tensors: &[Tensor],
) -> Vec<u8> {
    let kernel = CompiledKernel::compile(function, target).expect("it compiles");
    let mut buffers: Vec<AlignedBuffer> =
        tensors.iter().map(|t| AlignedBuffer::from_bytes(&t.bytes).expect("memory")).collect();
    let mut arguments: Vec<BufferArg<'_>> =
        buffers.iter_mut().map(|b| BufferArg::Write(b.as_mut_slice())).collect();
    // SAFETY: shapes are bound, buffers are as long as their shapes, and the lane interpreter has just run the same code without a trap.
    let report = unsafe { pool.launch(&kernel, binding.grid, &mut arguments, scalars) };
    report.expect("it runs");
    drop(arguments);
    buffers.pop().expect("an output").as_slice().to_vec()
}

fn on_gpu(
    device: &tvmc_gpu::GpuDevice,
    function: &Verified,
    scalars: &[u64],
    binding: &Binding,
    tensors: &[Tensor],
) -> Vec<u8> {
    let kernel = device.compile(function).expect("it compiles");
    let buffers: Vec<_> = tensors.iter().map(|t| device.buffer_with(&t.bytes).expect("memory")).collect();
    let views: Vec<_> = buffers.iter().map(|b| b.all()).collect();
    let mut commands = device.commands();
    commands.dispatch(&kernel, binding.grid, &views, scalars).expect("it is recorded");
    commands.submit().and_then(|s| s.wait()).expect("it runs");
    let last = tensors.last().expect("an output");
    let mut bytes = vec![0; last.bytes.len()];
    device.download(&buffers[buffers.len() - 1], 0, &mut bytes).expect("it comes back");
    bytes
}

#[test]
fn random_kernels_agree_on_every_machine() {
    let pool = Pool::new(2);
    let device = match tvmc_gpu::GpuDevice::open(None) {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped wgsl: {error}");
            None
        }
    };
    for seed in 0..count() {
        let case = case(seed);
        let kernel = compile(&case);
        let shapes: Vec<ArgumentShape> =
            case.tensors.iter().map(|t| ArgumentShape::Tensor(t.shape.clone())).collect();
        let binding = bind(&kernel, &shapes).expect("it binds");
        let want = reference(&kernel, &binding, &case.tensors);
        let judge = |name: &str, got: Vec<u8>| {
            // -0 and 0 are the same number; `min` and `max` may give either.
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            for (at, (g, w)) in got.chunks_exact(4).zip(want.chunks_exact(4)).enumerate() {
                let (g, w) = (number(g), number(w));
                assert!(g == w, "seed {seed}, {name}, element {at}: {g} instead of {w}\n{}", case.source);
            }
        };
        for target in TARGETS {
            let (function, scalars) = lowered(&kernel, &target, &binding);
            judge(
                &format!("lane interpreter for {}", target.name),
                on_lanes(&function, &scalars, &binding, &case.tensors),
            );
            let run = |target| on_cpu(&pool, &function, target, (&scalars, &binding), &case.tensors);
            if target == CRANELIFT {
                judge("cranelift", run(Target::Cranelift));
            }
            if let Target::X86(features) = Target::native() {
                if target == X86_V4 && features.level == tvmc_backend_x86::Level::V4 {
                    judge("x86-64-v4", run(Target::X86(features)));
                }
                if target == X86_V3 {
                    judge("x86-64-v3", run(Target::X86(features.narrowed())));
                }
            }
            if let (true, Some(device)) = (target == WGSL && seed % 4 == 0, &device) {
                judge("wgsl", on_gpu(device, &function, &scalars, &binding, &case.tensors));
            }
        }
    }
}
