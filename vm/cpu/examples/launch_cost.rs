//! What a launch costs: microseconds for launches that follow one another at once, on one to as many threads as
//! there are processors, for blocks that do next to nothing and for blocks that work for some microseconds.
//!
//! *Over* is what a launch takes beyond its share of the work, the median on one thread divided by the threads.

use std::time::Instant;

use tvmc_cpu::{AlignedBuffer, CompiledKernel, Pool, Prepared, RawBuffer, Target, processors};
use tvmc_ir::lane::{parse, verify};

const BLOCKS: usize = 64;

const KERNEL: &str = r#"kernel @fill lanes 16 {
  buffer b0 "y" write
  scalar v11: u.i32 "work"
  v0: u.i32 = block_index.x
  v1: u.i64 = i32_to_i64 v0
  v2: u.i64 = const.i64 16
  v3: u.i64 = lmul v1, v2
  v4: v.i32 = lane_index
  v5: u.i32 = const.i32 0
  (v6: v.i32) = for v7: u.i32 in v5..v11 step 1 carry (v8: v.i32 = v4) {
    v9: v.i32 = imul v8, v4
    v10: v.i32 = iadd v9, v8
    yield v10
  }
  store.contig.i32 b0[v3], v6
}"#;

fn main() -> Result<(), String> {
    let function = parse(KERNEL).map_err(|error| error.to_string())?;
    let function = verify(function).map_err(|errors| format!("{errors:?}"))?;
    let kernel = CompiledKernel::compile(&function, Target::native()).map_err(|error| error.to_string())?;
    println!("{} processors, compiled in {:?}", processors(), kernel.compile_time());
    let memory = AlignedBuffer::zeroed(64 * BLOCKS).map_err(|error| error.to_string())?;
    let mut launch = Prepared::new(&kernel);
    launch.set_grid([BLOCKS as u32, 1, 1]);
    launch.set_buffer(0, RawBuffer { start: memory.as_ptr() }).map_err(|error| error.to_string())?;
    for work in [1, 20, 100, 500] {
        launch.set_scalar(0, work).map_err(|error| error.to_string())?;
        let mut alone = 0.0;
        for threads in 1..=processors() {
            let pool = Pool::new(threads);
            pool.pin_launcher();
            let mut times = Vec::new();
            for _ in 0..5_000 {
                let start = Instant::now();
                // SAFETY: 16 words for each block.
                let report = unsafe { pool.launch_prepared(&launch) };
                times.push(start.elapsed().as_nanos());
                report.map_err(|error| error.to_string())?;
            }
            times.sort_unstable();
            let at = |percent: usize| times[times.len() * percent / 100] as f64 / 1000.0;
            if threads == 1 {
                alone = at(50);
            }
            let over = at(50) - alone / threads as f64;
            println!(
                "work {work:3}, {threads} threads: 10% {:6.2} us, median {:6.2}, 90% {:6.2}, over {over:5.2}",
                at(10),
                at(50),
                at(90)
            );
        }
    }
    Ok(())
}
