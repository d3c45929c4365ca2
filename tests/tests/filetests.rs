//! Every file of `tests/filetests` as a test of its own. `UPDATE=1` writes what comes out into the files.

use libtest_mimic::{Arguments, Failed, Trial};
use tvmc_tests::filetests;

fn main() {
    let arguments = Arguments::from_args();
    let update = std::env::var_os("UPDATE").is_some();
    let tests = filetests::all().unwrap_or_else(|error| panic!("{error}"));
    assert!(tests.len() >= 250, "only {} filetests were found", tests.len());
    let trials = tests
        .into_iter()
        .map(|test| {
            let name = format!("{}::{}", test.stage.name(), test.name());
            Trial::test(name, move || test.run(update).map_err(Failed::from))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
