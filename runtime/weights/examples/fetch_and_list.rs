//! Fetches a model by name, opens it and lists what is in it: `cargo run --example fetch_and_list -- smollm2`.

use std::error::Error;
use std::ops::ControlFlow;

use tvmc_weights::fetch::{self, Fetcher};
use tvmc_weights::{Access, Weights};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "smollm2".to_owned());
    let model = fetch::find(&name)?;
    let fetcher = Fetcher::from_environment()?;
    let path = fetcher.fetch(&model, &mut |progress| {
        eprint!("\r{progress:?}    ");
        ControlFlow::Continue(())
    })?;
    eprintln!();
    fetcher.verify(&model, &mut |_| ControlFlow::Continue(()))?;
    println!("{}", path.display());
    let start = std::time::Instant::now();
    let weights = Weights::open(&path, Access::Map)?;
    println!(
        "{} tensors, {} metadata entries, opened in {:?}",
        weights.tensors().len(),
        weights.metadata().map_or(0, |m| m.len()),
        start.elapsed()
    );
    for tensor in weights.tensors().iter().take(5) {
        println!("{:30} {:6} {:?} at {}", tensor.name, tensor.format, tensor.shape, tensor.offset);
    }
    Ok(())
}
