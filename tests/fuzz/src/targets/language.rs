//! Sources: bytes and words changed.

use super::{Depth, Fuzzed, Outcome};
use crate::corpus;
use crate::mutate;
use crate::report::Coverage;
use tvmc_ir::{lane, tile};
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_lang::source::SourceMap;
use tvmc_passes::target::TARGETS;
use tvmc_passes::{Options, lower};
use tvmc_sema::{Instance, Loaded};
use tvmc_tests::random::Random;
use tvmc_tests::sources::{load, shown};

/// See the head of [`super`].
pub struct Language {
    seeds: Vec<Vec<u8>>,
    words: Option<(Vec<Vec<String>>, Vec<String>)>,
    turn: usize,
}

impl Language {
    /// Changes bytes.
    pub fn of_bytes() -> Self {
        let seeds = corpus::sources().into_iter().map(String::into_bytes).collect();
        Self { seeds, words: None, turn: 0 }
    }

    /// Changes words.
    pub fn of_words() -> Self {
        let seeds: Vec<Vec<String>> = corpus::sources().iter().map(|text| mutate::cut(text)).collect();
        let vocabulary = corpus::vocabulary(&seeds);
        Self { seeds: Vec::new(), words: Some((seeds, vocabulary)), turn: 0 }
    }

    /// What comes after the parser.
    fn check(&mut self, text: &str) -> Result<Outcome, String> {
        let Loaded { library, diagnostics } = load("fuzz.tile", text);
        let show = |list: &[Diagnostic]| shown(&library, list);
        let mut errors = show(&diagnostics);
        errors += &show(&tvmc_sema::check(&library));
        for name in library.programs() {
            match tvmc_sema::program(&library, name) {
                Ok(program) => reads_back("program IR", &program.to_string(), &|text| {
                    tvmc_ir::program::parse(text).map(|p| p == *program).map_err(|e| e.to_string())
                })?,
                Err(list) => errors += &show(&list),
            }
        }
        if errors.contains("internal error") {
            return Err(format!("internal error: {errors}"));
        }
        let mut outcome = if errors.is_empty() { Outcome::Accepted } else { Outcome::Refused };
        for name in library.kernels() {
            match tvmc_sema::instantiate(&library, name, &Instance::default()) {
                Ok(kernel) => self.instance(kernel)?,
                Err(list) => {
                    show(&list);
                    outcome = Outcome::Refused;
                }
            }
        }
        Ok(outcome)
    }

    fn instance(&mut self, kernel: tile::Kernel) -> Result<(), String> {
        let text = kernel.to_string();
        let verified = match tile::verify(kernel) {
            Ok(verified) => verified,
            Err(errors) => return Err(format!("an instance does not verify: {}\n{text}", errors[0])),
        };
        self.turn += 1;
        let target = &TARGETS[self.turn % TARGETS.len()];
        match lower(&verified, target, &Options::default()) {
            Ok(lowered) => match lane::verify(lowered.function) {
                Ok(_) => Ok(()),
                Err(errors) => {
                    Err(format!("a lowering for {} does not verify: {}\n{text}", target.name, errors[0]))
                }
            },
            // A typed error is a fair answer: a kernel may need more than a target has.
            Err(_) => Ok(()),
        }
    }
}

/// Fails unless a printed text is read as what was printed.
pub(super) fn reads_back(
    what: &str,
    text: &str,
    same: &dyn Fn(&str) -> Result<bool, String>,
) -> Result<(), String> {
    match same(text) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{what} reads back as something else: {text}")),
        Err(error) => Err(format!("{what} does not read back: {error}\n{text}")),
    }
}

impl Fuzzed for Language {
    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        match &self.words {
            Some((seeds, vocabulary)) => mutate::words(random, seeds, vocabulary),
            None => mutate::bytes(random, &self.seeds, corpus::SIGNS),
        }
    }

    fn judge(&mut self, input: &[u8], depth: Depth, _: &mut Coverage) -> Result<Outcome, String> {
        let mut sources = SourceMap::new();
        let id = match sources.add_bytes("fuzz.tile", input) {
            Ok(id) => id,
            Err(error) => {
                render(&error, &sources, true);
                return Ok(Outcome::Refused);
            }
        };
        let text = sources.source(id).text().to_owned();
        let parsed = tvmc_lang::parse(id, &text);
        for diagnostic in &parsed.diagnostics {
            render(diagnostic, &sources, false);
        }
        if !parsed.is_ok() {
            return Ok(Outcome::Refused);
        }
        let printed = tvmc_lang::print::print(&parsed.file, &text);
        let again = tvmc_lang::parse(id, &printed);
        if !again.is_ok() || again.file.exprs.len() != parsed.file.exprs.len() {
            return Err(format!("a source prints with another meaning: {text}\n---\n{printed}"));
        }
        if again.file.comments.len() != parsed.file.comments.len() {
            return Err(format!("a source prints without some comments: {text}\n---\n{printed}"));
        }
        let twice = tvmc_lang::print::print(&again.file, &printed);
        if twice != printed {
            return Err(format!(
                "a source prints otherwise a second time: {text}\n---\n{printed}\n---\n{twice}"
            ));
        }
        match depth {
            Depth::Quick => Ok(Outcome::Accepted),
            Depth::Full => self.check(&text),
        }
    }
}
