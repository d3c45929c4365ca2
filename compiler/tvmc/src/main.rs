//! The `tvmc` command. Exit codes: 0 done, 1 a mistake in the input, 2 wrong usage, 101 a bug of ours.

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tvmc::cli::{Cli, Command};
use tvmc::commands::{Failure, kernels, models, weights};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { tvmc::commands::USAGE } else { 0 };
            // Help goes to stdout, mistakes to stderr; a closed pipe is not worth a word.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    tvmc::output::configure(cli.color, cli.error_format);
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    // The first Ctrl-C asks the work to end; the second ends the process.
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler {
        eprintln!("warning: Ctrl-C will end the program at once: {error}");
    }
    match run(&cli.command, &interrupted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                tvmc::output::error(&failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: &Command, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    match command {
        Command::Check { files } => kernels::check(files),
        Command::Explain { code } => kernels::explain(code),
        Command::Run(options) => kernels::run(options),
        Command::Build(options) => kernels::build(options),
        Command::Fetch { name } => weights::fetch(name, interrupted),
        Command::Inspect { file, json } => weights::inspect(file, *json, interrupted),
        Command::Tokenize { model, prompt, json } => weights::tokenize(model, prompt, *json, interrupted),
        Command::Logits { model, prompt, top, json } => {
            models::logits(model, prompt, *top, *json, interrupted)
        }
        Command::Generate { model, prompt, n, sampling, json } => {
            models::generate(model, prompt, *n, sampling, *json, interrupted)
        }
        Command::Chat { model, prompt, system, n, sampling } => {
            models::chat(model, prompt.as_deref(), system.as_deref(), *n, sampling, interrupted)
        }
        Command::Perplexity { model, text, window, windows, json } => {
            models::perplexity(model, text, (*window, *windows), *json, interrupted)
        }
        Command::Bench { model, prompt_tokens, n, repeat, json } => {
            models::bench(model, (*prompt_tokens, *n, *repeat), *json, interrupted)
        }
    }
}
