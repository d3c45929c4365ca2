//! Weights quantised by one kernel of the standard library and multiplied by another:
//! `cargo run --release --example low_bit_linear`.
#![forbid(unsafe_code)]

use tvmc::api::{Argument, Error, Kernel, Machine};

const SOURCE: &str = "
use linear;
use quantize;

/// Three bits and a scale for 32 weights: a format that no file has.
format q3 {
  group 32 {
    d: f16;
    q: u3[32];
  }
  value[i] = d * (q[i] - 4);
  encode {
    d = (max(abs(value), axis = 1) / 3.0) as f16;
    q = (round(value / (d as f32).unsqueeze(1)) + 4.0) as u3 saturate;
  }
}
";

fn main() -> Result<(), Error> {
    let (n, k) = (48usize, 256usize);
    let wave = |i: usize, step: f32| (i as f32 * step).sin();
    let weights: Vec<f32> = (0..n * k).map(|i| wave(i, 0.37)).collect();
    let x: Vec<f32> = (0..k).map(|i| wave(i, 0.37)).collect();

    let mut packed = vec![0u8; n * k / 32 * 14];
    let mut quantize = Kernel::compile(SOURCE, "quantize", &Machine::default())?;
    quantize.launch(&mut [
        Argument::read("x", &weights, &[n as u64, k as u64]),
        Argument::stored_write("y", "q3", &mut packed, &[n as u64, k as u64]),
    ])?;

    let mut y = vec![0f32; n];
    let mut linear = Kernel::compile(SOURCE, "linear", &Machine::default())?;
    linear.launch(&mut [
        Argument::read("x", &x, &[1, k as u64]),
        Argument::stored("w", "q3", &packed, &[n as u64, k as u64]),
        Argument::write("y", &mut y, &[1, n as u64]),
    ])?;

    let exact = |row: usize| (0..k).map(|i| weights[row * k + i] * x[i]).sum::<f32>();
    let squares = |f: &dyn Fn(usize) -> f32| (0..n).map(|row| f(row) * f(row)).sum::<f32>();
    let error = squares(&|row| y[row] - exact(row)) / squares(&exact);
    println!("{} bytes for {} weights, relative error {:.3}", packed.len(), n * k, error.sqrt());
    Ok(())
}
