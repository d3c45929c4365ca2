//! Speed, measured by hand: `cargo test --release -p tvmc-backend-x86 --test performance -- --ignored --nocapture`.
//! Ratios to a peak measured in the same run count, not absolute numbers.
#![cfg(target_arch = "x86_64")]

mod support;

use std::time::Instant;

use support::{Executable, Guarded, Placement, Prepared, execute, feature_sets};
use tvmc_backend_x86::{Features, compile, disassemble};
use tvmc_interp::samples::{GemmTile, Sample, gemm, linear_u3_q8, softmax_masked};
use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Place, Pure, Verified, verify};

/// Seconds of the fastest of several runs.
fn fastest(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..40 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// A loop of independent fused multiply-adds: 12 chains of one register.
fn peak_kernel(features: &Features) -> Verified {
    let lanes = features.width();
    let mut b = Builder::new("peak", lanes);
    let y = b.buffer("y", Access::Write);
    let (zero, one) = (b.i32(0), b.f32(1.0));
    let x = b.lane_index();
    let x = b.pure(Pure::I32ToF32, &[x]);
    let one = b.splat(one);
    let start: Vec<_> = (0..12).map(|_| x).collect();
    let to = b.i32(100_000);
    let (_, accumulators) = b.begin_for(zero, to, 1, &start);
    let next: Vec<_> = accumulators.iter().map(|&acc| b.pure(Pure::Fma, &[x, x, acc])).collect();
    let results = b.end_for(&next);
    let mut sum = one;
    for result in results {
        sum = b.pure(Pure::FAdd, &[sum, result]);
    }
    let base = b.i64(0);
    b.store(MemoryOp::StoreContig, Mem::F32, Place::Buffer(y), base, None, sum, None);
    verify(b.finish()).unwrap()
}

fn peak(features: &Features) -> f64 {
    let function = peak_kernel(features);
    let code = compile(&function, features).unwrap();
    let executable = Executable::new(&code);
    let buffers = [Guarded::new(256, Placement::Start)];
    let seconds = fastest(|| {
        execute(executable.entry(), &function, [1, 1, 1], &buffers, &[]);
    });
    f64::from(features.width()) * 12.0 * 2.0 * 100_000.0 / seconds / 1e9
}

fn time(sample: &Sample, features: &Features, repeat: u32) -> (f64, String) {
    let function = sample.function().unwrap();
    let code = compile(&function, features).unwrap();
    let executable = Executable::new(&code);
    let buffers: Vec<Guarded> = sample.buffers.iter().map(|b| Guarded::with(b, Placement::Start)).collect();
    let prepared = Prepared::new(&function, sample.grid, &buffers, &sample.scalars);
    let seconds = fastest(|| {
        for _ in 0..repeat {
            prepared.run(executable.entry());
        }
    });
    (seconds / f64::from(repeat), format!("{:?}", code.stats))
}

#[test]
#[ignore = "a measurement"]
fn gemm_reaches_the_peak() {
    for features in feature_sets() {
        let peak = peak(&features);
        println!("{features}: peak {peak:.1} GFLOP/s");
        for (tile, m, n) in [(GemmTile::T14x32, 14.0, 32.0), (GemmTile::T6x16, 6.0, 16.0)] {
            let k = 512;
            let sample = gemm(tile, 1, 1, k, 1);
            let (seconds, stats) = time(&sample, &features, 100);
            let speed = 2.0 * m * n * f64::from(k) / seconds / 1e9;
            println!("  {m} x {n}: {speed:.1} GFLOP/s, {:.3} of peak; {stats}", speed / peak);
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn linear_u3_speed() {
    for features in feature_sets() {
        let (n, groups) = (64, 128);
        let sample = linear_u3_q8(n, groups, 1);
        let (seconds, stats) = time(&sample, &features, 20);
        let weights = f64::from(n) * f64::from(groups) * 32.0;
        println!("{features}: {:.1} weights/ns; {stats}", weights / seconds / 1e9);
    }
}

#[test]
#[ignore = "a listing"]
fn listings() {
    for features in feature_sets() {
        for sample in
            [gemm(GemmTile::T6x16, 1, 1, 8, 1), linear_u3_q8(64, 4, 1), softmax_masked(&[40], 48, 1)]
        {
            let code = compile(&sample.function().unwrap(), &features).unwrap();
            println!("{} on {features}: {:?}\n{}", sample.name, code.stats, disassemble(&code));
        }
    }
}
