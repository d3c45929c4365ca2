//! A model, token by token: `cargo run --release --example generate -- smollm2 "The capital of France is"`.
#![forbid(unsafe_code)]

use std::io::Write;
use tvmc::api::{Error, Generate, Model, ModelSettings};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "smollm2".to_owned());
    let prompt = arguments.next().unwrap_or_else(|| "The capital of France is".to_owned());
    let mut model = Model::load(&name, &ModelSettings::default())?;

    let mut likeliest: Vec<(usize, f32)> = model.logits(&prompt)?.into_iter().enumerate().collect();
    likeliest.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (id, logit) in likeliest.iter().take(3) {
        println!("{logit:8.4}  {:?}", model.text(&[*id as u32])?);
    }

    print!("{prompt}");
    for token in model.generate(&prompt, &Generate { tokens: 8, ..Generate::default() })? {
        print!("{}", token?.text);
        // A reader that went away ends the answer.
        if std::io::stdout().flush().is_err() {
            break;
        }
    }
    println!();
    Ok(())
}
