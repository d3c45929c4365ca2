//! The `tvmc` command. Exit codes: 0 done, 1 a mistake in the input, 2 wrong usage, 101 a bug of ours.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tvmc::cli::{Cli, ColorChoice, Command, ErrorFormat};
use tvmc::commands::{
    Failure, bench, chat, doctor, fmt, kernels, layout, models, quantize, run, tune, weights,
};
use tvmc::output;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Both say how a mistake among the other options is shown, so they are looked up before those are understood.
    let color = early(&arguments, "--color").unwrap_or(ColorChoice::Auto);
    let format = early(&arguments, "--error-format").unwrap_or(ErrorFormat::Human);
    output::configure(color, format);
    let command = Cli::command().color(match color {
        ColorChoice::Always => clap::ColorChoice::Always,
        ColorChoice::Never => clap::ColorChoice::Never,
        ColorChoice::Auto => clap::ColorChoice::Auto,
    });
    let parsed = command.try_get_matches_from(arguments).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() && !output::for_people() {
                output::failure(&usage(&error));
            } else {
                // Help goes to stdout, mistakes to stderr; a closed pipe is not worth a word.
                let _ = error.print();
            }
            return ExitCode::from(if error.use_stderr() { tvmc::commands::USAGE } else { 0 });
        }
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    // The first Ctrl-C asks the work to end; the second ends the process.
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler {
        output::note(&format!("warning: Ctrl-C will end the program at once: {error}"));
    }
    tvmc::internal::install();
    match tvmc::internal::rim(|| run(&cli.command, &interrupted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// The value of an option, before the command line is understood as a whole.
fn early<T: ValueEnum>(arguments: &[OsString], name: &str) -> Option<T> {
    let mut values = arguments.iter().skip(1).map(|a| a.to_string_lossy()).take_while(|a| a != "--");
    while let Some(argument) = values.next() {
        let value = match argument.strip_prefix(name) {
            Some("") => values.next()?.into_owned(),
            Some(rest) => match rest.strip_prefix('=') {
                Some(value) => value.to_owned(),
                None => continue,
            },
            None => continue,
        };
        return T::from_str(&value, false).ok();
    }
    None
}

/// Wrong usage as a failure: the first line, and what may have been meant.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let message: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).collect();
    let message = message.join(" ");
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing: see --help",
        _ => message.strip_prefix("error: ").unwrap_or(&message),
    };
    let mut failure = Failure::usage(message);
    let suggestions = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
        ContextKind::SuggestedCommand,
    ];
    for kind in suggestions {
        match error.get(kind) {
            Some(ContextValue::String(near)) => failure = failure.help(format!("did you mean `{near}`?")),
            Some(ContextValue::Strings(list)) if !list.is_empty() => {
                failure = failure.help(format!("did you mean `{}`?", list.join("` or `")));
            }
            Some(_) | None => {}
        }
    }
    failure
}

fn run(command: &Command, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    match command {
        Command::Check { files } => kernels::check(files),
        Command::Fmt { files, check } => fmt::fmt(files, *check),
        Command::Layout(options) => layout::layout(options),
        Command::Explain { code } => kernels::explain(code),
        Command::Run(options) => run::run(options),
        Command::Build(options) => kernels::build(options, interrupted),
        Command::Quantize(options) => quantize::quantize(options, interrupted),
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
            chat::chat(model, prompt.as_deref(), system.as_deref(), *n, sampling, interrupted)
        }
        Command::Perplexity { model, text, window, windows, json } => {
            models::perplexity(model, text, (*window, *windows), *json, interrupted)
        }
        Command::Bench(options) => bench::bench(options, interrupted),
        Command::Tune(options) => tune::tune(options, interrupted),
        Command::Doctor { json } => doctor::doctor(*json),
    }
}
