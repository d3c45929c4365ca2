//! The sample kernels on every target of this host, one thread: compile time, and the best time of a launch.

use std::time::{Duration, Instant};

use tvmc_backend_x86::Features;
use tvmc_cpu::{AlignedBuffer, CompiledKernel, Pool, Prepared, RawBuffer, Target};
use tvmc_interp::samples::{GemmTile, Sample, gemm, linear_u3_q8, softmax_masked, transpose};

fn main() -> Result<(), String> {
    let mut targets = vec![Target::Cranelift];
    if let Some(features) = Features::detect() {
        targets.extend([Target::X86(features.narrowed()), Target::X86(features)]);
        targets.dedup();
    }
    // What to divide by the time, and its unit.
    let cases: [(Sample, f64, &str); 5] = [
        (gemm(GemmTile::T6x16, 8, 16, 512, 1), 2.0 * 6.0 * 16.0 * 128.0 * 512.0, "GFLOP/s"),
        (gemm(GemmTile::T14x32, 4, 8, 512, 2), 2.0 * 14.0 * 32.0 * 32.0 * 512.0, "GFLOP/s"),
        (linear_u3_q8(1024, 32, 3), 1024.0 * 1024.0, "G weights/s"),
        (softmax_masked(&[512; 64], 512, 4), 512.0 * 64.0, "G elements/s"),
        (transpose(16, 16, 5), 65536.0, "G elements/s"),
    ];
    let pool = Pool::new(1);
    for (sample, amount, unit) in &cases {
        let function = sample.function()?;
        for &target in &targets {
            let kernel = CompiledKernel::compile(&function, target).map_err(|error| error.to_string())?;
            let memory: Result<Vec<AlignedBuffer>, _> =
                sample.buffers.iter().map(|bytes| AlignedBuffer::from_bytes(bytes)).collect();
            let memory = memory.map_err(|error| error.to_string())?;
            let mut launch = Prepared::new(&kernel);
            launch.set_grid(sample.grid);
            for (at, buffer) in memory.iter().enumerate() {
                let raw = RawBuffer { start: buffer.as_ptr() };
                launch.set_buffer(at, raw).map_err(|error| error.to_string())?;
            }
            for (at, &bits) in sample.scalars.iter().enumerate() {
                launch.set_scalar(at, bits).map_err(|error| error.to_string())?;
            }
            let mut best = Duration::MAX;
            for _ in 0..200 {
                let start = Instant::now();
                // SAFETY: the sample's buffers are as long as its kernel wants.
                let report = unsafe { pool.launch_prepared(&launch) };
                best = best.min(start.elapsed());
                report.map_err(|error| error.to_string())?;
            }
            let rate = amount / best.as_nanos() as f64;
            println!(
                "{:24} {:44} compiled in {:6.2} ms, {:9.1} us, {rate:7.2} {unit}",
                kernel.name(),
                target.to_string(),
                kernel.compile_time().as_secs_f64() * 1e3,
                best.as_secs_f64() * 1e6
            );
        }
    }
    Ok(())
}
