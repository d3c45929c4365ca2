//! A kernel on slices: `cargo run --release --example vector_add`.
#![forbid(unsafe_code)]

use tvmc::api::{Argument, Error, Kernel, Machine};

const SOURCE: &str = "
kernel add(x: f32[N], y: f32[N], z: out f32[N])
  grid ceil(N, 64)
{
  let n = block[0] * 64;
  z[n +: 64] = x[n +: 64] + y[n +: 64];
}";

fn main() -> Result<(), Error> {
    let n = 1000;
    let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let y = vec![0.5f32; n];
    let mut z = vec![0f32; n];
    let mut add = Kernel::compile(SOURCE, "add", &Machine::default())?;
    add.launch(&mut [
        Argument::read("x", &x, &[n as u64]),
        Argument::read("y", &y, &[n as u64]),
        Argument::write("z", &mut z, &[n as u64]),
    ])?;
    println!("{} {} .. {}", z[0], z[1], z[n - 1]);
    Ok(())
}
