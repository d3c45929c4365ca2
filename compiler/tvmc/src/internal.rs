//! Internal errors: what a user sees when the mistake is ours.
//!
//! ```text
//! error: internal error while lowering `matmul`: index out of bounds: the len is 3 but the index is 7 (compiler/passes/src/lower.rs:41)
//! help: this is a mistake of tvmc, not of yours. Please report it with the file /tmp/tvmc-internal-error-4fK2.txt
//! help: the file holds the command line and the input of that stage: look through it before you give it away
//! ```
//!
//! **The law.** A stage of the compiler runs [`within`] its name and input. A panic there, or a result that the stage's own verifier refuses
//! ([`broken`]), is *noted* where it happens: stage, words, place in our source, and a file from which it can be seen again. What carries the news
//! from there to the rim, an unwinding stack or an error of any type, need not know. [`rim`] is the one place that turns a noted bug into a
//! [`Failure`] with exit code 101; a panic outside any stage is noted there, as one of the command.
//!
//! Places are relative to the sources: no path of the machine that built the program is shown. Where the file cannot be written, the message says so and stays
//! as useful as it can be.

use crate::commands::Failure;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::path::PathBuf;

/// Exit code of a bug of ours.
pub const BUG: u8 = 101;

/// What the compiler was doing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Lexing, parsing, resolving names.
    Read,
    /// Checking sources.
    Check,
    /// Printing a source in canonical form.
    Format,
    /// Compiling a program of launches.
    Program,
    /// Making a kernel instance.
    Instantiate,
    /// Lowering tile IR to lane IR.
    Lower,
    /// Making code for a processor.
    Cpu,
    /// Making code for a GPU.
    Gpu,
    /// Writing a module.
    Module,
    /// Anything else.
    Command,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Read => "reading",
            Stage::Check => "checking",
            Stage::Format => "formatting",
            Stage::Program => "compiling the program",
            Stage::Instantiate => "instantiating",
            Stage::Lower => "lowering",
            Stage::Cpu => "making machine code for",
            Stage::Gpu => "making a shader for",
            Stage::Module => "making a module of",
            Stage::Command => "running",
        })
    }
}

/// A noted bug.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bug {
    /// Stage and subject.
    during: String,
    /// What went wrong, and where in our sources if that is known.
    what: String,
    /// The reproduction file, or why there is none.
    file: Result<PathBuf, String>,
}

thread_local! {
    /// What was noted since the rim began.
    static NOTED: RefCell<Option<Bug>> = const { RefCell::new(None) };
    /// Words and place of the last panic.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread is inside the rim, which will tell of its panics.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A place in our sources, or in a library's, without the folders of the machine that built it.
fn place(file: &str, line: u32) -> String {
    let file = file.replace('\\', "/");
    let parts: Vec<&str> = file.split('/').filter(|part| !part.is_empty()).collect();
    // A library lies in `.../NAME-VERSION/src/...`, the standard library in `/rustc/HASH/library/...`.
    let from = match parts.iter().rposition(|part| *part == "src" || *part == "library") {
        Some(at) if file.starts_with('/') || file.contains(':') => at.saturating_sub(1),
        Some(_) | None => 0,
    };
    format!("{}:{line}", parts[from..].join("/"))
}

/// Keeps the words of panics inside the rim for it to tell; others are printed as before.
pub fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if !INSIDE.with(Cell::get) {
            return before(info);
        }
        let words = info.payload_as_str().unwrap_or("a panic without words");
        let place = info.location().map(|at| format!(" ({})", place(at.file(), at.line())));
        PANIC.set(Some(format!("{words}{}", place.unwrap_or_default())));
    }));
}

/// Runs a stage on `subject`. After a panic, `input` gives what the stage was given, as text.
pub fn within<T>(stage: Stage, subject: &str, input: &dyn Fn() -> String, work: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => {
            let words = PANIC.take().unwrap_or_else(|| words_of(panic.as_ref()));
            note(stage, subject, words, input);
            resume_unwind(panic)
        }
    }
}

/// Notes that a stage gave what must not be; gives the words for an error.
pub fn broken(stage: Stage, subject: &str, what: &dyn fmt::Display, input: &dyn Fn() -> String) -> String {
    note(stage, subject, what.to_string(), input);
    format!("internal error while {stage} `{subject}`: {what}")
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// Keeps the first bug: later ones follow from it.
fn note(stage: Stage, subject: &str, what: String, input: &dyn Fn() -> String) {
    if NOTED.with_borrow(Option::is_some) {
        return;
    }
    // Printing the input may run into the same bug.
    let input = catch_unwind(AssertUnwindSafe(input)).unwrap_or_else(|_| "it cannot be printed".to_owned());
    let during = format!("{stage} `{subject}`");
    let file = write(&during, &what, &input).map_err(|error| error.to_string());
    NOTED.set(Some(Bug { during, what, file }));
}

fn write(during: &str, what: &str, input: &str) -> std::io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("tvmc-internal-error-").suffix(".txt").tempfile()?;
    writeln!(
        file,
        "tvmc {} on {} {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )?;
    let words: Vec<String> = std::env::args_os().map(|word| format!("{word:?}")).collect();
    writeln!(file, "command: {}", words.join(" "))?;
    writeln!(file, "internal error while {during}: {what}")?;
    writeln!(file, "---- input\n{input}")?;
    file.flush()?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

impl Bug {
    fn failure(self) -> Failure {
        let failure = Failure {
            code: BUG,
            message: format!("internal error while {}: {}", self.during, self.what),
            help: Vec::new(),
        };
        let ours = "this is a mistake of tvmc, not of yours. Please report it with";
        match self.file {
            Ok(path) => failure.help(format!("{ours} the file {}", path.display())).help(
                "the file holds the command line and the input of that stage: look through it before you give it away",
            ),
            Err(why) => failure.help(format!("{ours} the command and its input (no file could be written: {why})")),
        }
    }
}

/// Runs a command. A panic, or a bug that was noted on the way to a failure, becomes a failure of exit code [`BUG`].
pub fn rim<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    NOTED.set(None);
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(|| within(Stage::Command, "tvmc", &String::new, work)));
    INSIDE.set(outer);
    match (result, NOTED.take()) {
        (Ok(Ok(value)), _) => Ok(value),
        (Ok(Err(_)) | Err(_), Some(bug)) => Err(bug.failure()),
        (Ok(Err(failure)), None) => Err(failure),
        (Err(panic), None) => Err(Failure { code: BUG, message: words_of(panic.as_ref()), help: Vec::new() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Once;

    fn fails(work: impl FnOnce() -> Result<(), Failure>) -> Failure {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        rim(work).expect_err("it fails")
    }

    /// The reproduction file of a failure, which is removed.
    fn file(failure: &Failure) -> String {
        let (_, path) = failure.help[0].split_once("the file ").expect("a file");
        let text = std::fs::read_to_string(path).expect("it is there");
        std::fs::remove_file(path).expect("ours");
        text
    }

    #[test]
    fn a_panic_in_a_stage_is_told_with_place_and_file() {
        let failure = fails(|| {
            within(Stage::Lower, "matmul", &|| "kernel @matmul {}".to_owned(), || {
                let list = std::hint::black_box(vec![1, 2, 3]);
                let at = std::hint::black_box(7);
                assert!(list[at] > 0);
            });
            Ok(())
        });
        assert_eq!(failure.code, 101);
        let begin =
            "internal error while lowering `matmul`: index out of bounds: the len is 3 but the index is 7";
        assert!(failure.message.starts_with(begin), "{}", failure.message);
        assert!(failure.message.contains("src/internal.rs:"), "{}", failure.message);
        let text = file(&failure);
        assert!(
            text.contains(begin) && text.contains("command: ") && text.ends_with("kernel @matmul {}\n"),
            "{text}"
        );
    }

    #[test]
    fn a_panic_outside_any_stage_is_one_of_the_command() {
        let failure = fails(|| panic!("no reason"));
        assert!(failure.message.starts_with("internal error while running `tvmc`: no reason"), "{failure:?}");
        assert_eq!(failure.code, 101);
        file(&failure);
    }

    #[test]
    fn a_bug_that_travels_as_an_error_is_still_one() {
        let failure = fails(|| {
            let words = broken(Stage::Cpu, "k", &"rule 3", &|| "input".to_owned());
            broken(Stage::Module, "later", &"rule 4", &String::new);
            Err(Failure::user(format!("launch 1: {words}")))
        });
        assert_eq!(
            (failure.code, &failure.message[..]),
            (101, "internal error while making machine code for `k`: rule 3")
        );
        assert!(file(&failure).contains("---- input\ninput"));
    }

    #[test]
    fn mistakes_of_users_and_success_stay_what_they_are() {
        let failure = fails(|| Err(Failure::user("a mistake").help("do better")));
        assert_eq!((failure.code, failure.help.len()), (1, 1));
        assert_eq!(rim(|| Ok(3)).expect("well"), 3);
    }

    #[test]
    fn no_path_of_the_builder_is_shown() {
        assert_eq!(place("compiler/passes/src/lower.rs", 4), "compiler/passes/src/lower.rs:4");
        assert_eq!(
            place("/home/me/.cargo/registry/src/index-1/half-2.7.1/src/lib.rs", 5),
            "half-2.7.1/src/lib.rs:5"
        );
        assert_eq!(place("/rustc/abc/library/core/src/option.rs", 6), "core/src/option.rs:6");
        assert_eq!(place(r"C:\Users\me\half-2.7.1\src\lib.rs", 7), "half-2.7.1/src/lib.rs:7");
    }
}
