//! Every crate that the product is built from has a licence that `deny.toml` allows, and comes from the one registry. This is what `cargo deny check licenses sources` says; it needs
//! nothing but cargo, so that it is an ordinary test.
//!
//! A licence is an SPDX expression: `MIT OR Apache-2.0` (either will do), `(MIT OR Apache-2.0) AND Unicode-3.0` (both parts must be allowed), `Apache-2.0 WITH LLVM-exception` (one name). Old
//! manifests write `MIT/Apache-2.0` for `OR`. Crates for other systems than this are judged where the tests run on those. Advisories need a database, which is not at hand offline.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// An expression that is being read.
struct Reader<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn word(&self) -> Option<&str> {
        self.words.get(self.at).copied()
    }

    /// Parts joined by `OR`.
    fn either(&mut self) -> Option<bool> {
        let mut fits = self.both()?;
        while self.word() == Some("OR") {
            self.at += 1;
            fits |= self.both()?;
        }
        Some(fits)
    }

    /// Parts joined by `AND`, which binds tighter.
    fn both(&mut self) -> Option<bool> {
        let mut fits = self.one()?;
        while self.word() == Some("AND") {
            self.at += 1;
            fits &= self.one()?;
        }
        Some(fits)
    }

    fn one(&mut self) -> Option<bool> {
        let word = self.word()?.to_owned();
        self.at += 1;
        if word == "(" {
            let fits = self.either()?;
            let closed = self.word() == Some(")");
            self.at += 1;
            return closed.then_some(fits);
        }
        if self.word() == Some("WITH") {
            let name = format!("{word} WITH {}", self.words.get(self.at + 1)?);
            self.at += 2;
            return Some(self.allowed.contains(&name));
        }
        (word != ")").then(|| self.allowed.contains(&word))
    }
}

/// Whether an expression is allowed; nothing where it is none.
fn allows(allowed: &BTreeSet<String>, expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut reader = Reader { words: spaced.split_whitespace().collect(), at: 0, allowed };
    let fits = reader.either()?;
    (reader.at == reader.words.len()).then_some(fits)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// The list of `deny.toml`.
fn allowed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("allow = ["))
        .expect("`allow = [..]` on a line of its own");
    let names: BTreeSet<String> =
        line.split('"').skip(1).step_by(2).map(str::to_owned).filter(|name| !name.is_empty()).collect();
    assert!(names.contains("MIT"), "{names:?}");
    names
}

fn cargo(args: &[&str]) -> String {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(program).args(args).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_the_registry() {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let text =
        cargo(&["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host]);
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let allowed = allowed();
    let (mut wrong, mut sources, mut judged) = (Vec::new(), BTreeSet::new(), 0);
    for package in packages {
        let name = format!(
            "{} {}",
            package["name"].as_str().unwrap_or("?"),
            package["version"].as_str().unwrap_or("?")
        );
        match package["license"].as_str().map(|licence| (licence, allows(&allowed, licence))) {
            Some((_, Some(true))) => {}
            Some((licence, Some(false))) => wrong.push(format!("{name}: {licence} is not allowed")),
            Some((licence, None)) => wrong.push(format!("{name}: {licence} is no SPDX expression")),
            None => wrong.push(format!("{name} names no licence")),
        }
        if let Some(source) = package["source"].as_str() {
            judged += 1;
            sources.insert(source.to_owned());
        }
    }
    assert!(judged > 50, "only {judged} dependencies were found");
    assert!(wrong.is_empty(), "decide about these in deny.toml: {wrong:#?}");
    let registries =
        sources.iter().all(|source| source.starts_with("registry+") || source.starts_with("sparse+"));
    assert!(registries && sources.len() == 1, "dependencies come from {sources:?}");
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> =
        ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    let fits = |expression| allows(&allowed, expression);
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR MIT) AND Zlib",
        "Apache-2.0 WITH LLVM-exception",
        "GPL-3.0 AND GPL-2.0 OR MIT",
    ] {
        assert_eq!(fits(fine), Some(true), "{fine}");
    }
    for foul in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Zlib) AND GPL-3.0",
        "Apache-2.0",
        "MIT AND (GPL-3.0 OR BSL-1.0)",
    ] {
        assert_eq!(fits(foul), Some(false), "{foul}");
    }
    for none in ["", "MIT OR", "(MIT", "MIT Zlib", ")", "AND", "MIT WITH"] {
        assert_ne!(fits(none), Some(true), "{none}");
    }
}
