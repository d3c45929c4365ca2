//! The file of choices: JSON, one for each machine, in the folder `tuned` of the cache.
//!
//! ```text
//! {"version":1,"machine":"cpu, AMD EPYC .., avx512, 2 threads",
//!  "choices":{"linear<..>[..]":{"digest":"..","tunes":{"BM":1,"BN":64},"microseconds":10.5,"rule_microseconds":12.1}}}
//! ```
//!
//! A file that cannot be read is passed over with a note, and replaced whole by the next tuning.

use super::{Case, Tunes, digest};
use crate::engine::{Interface, Library};
use crate::files;
use crate::output;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tvmc_model::executor::DeviceError;
use tvmc_weights::fetch::cache_directory;

/// The file's version; others are passed over.
const VERSION: u32 = 1;
/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// A choice.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// Of the sources it was measured with.
    pub digest: String,
    /// Values of tune names.
    pub tunes: BTreeMap<String, i64>,
    /// Time of a launch.
    pub microseconds: f64,
    /// Time of a launch with the values of the kernel's own rule.
    pub rule_microseconds: f64,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    machine: String,
    choices: BTreeMap<String, Stored>,
}

/// The choices for one machine.
#[derive(Debug, Default)]
pub struct Choices {
    machine: String,
    choices: BTreeMap<String, Stored>,
}

impl Choices {
    /// Those of a machine, by its description; none where nothing was tuned.
    pub fn of(machine: &str) -> Self {
        let empty = Self { machine: machine.to_owned(), choices: BTreeMap::new() };
        let Some(path) = path(machine) else { return empty };
        let unusable = |why: &str| {
            output::note(&format!("{} is not used: {why}; `tvmc tune` replaces it", path.display()));
            Self { machine: machine.to_owned(), choices: BTreeMap::new() }
        };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_BYTES => return unusable("it is too long"),
            Ok(_) => {}
            Err(_) => return empty,
        }
        let document = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Document>(&bytes),
            Err(error) => return unusable(&error.to_string()),
        };
        match document {
            Ok(document) if document.version != VERSION => unusable("it is of another version"),
            // Another machine with the same digest, or a copied file.
            Ok(document) if document.machine != machine => unusable("it is of another machine"),
            Ok(document) => Self { choices: document.choices, ..empty },
            Err(error) => unusable(&error.to_string()),
        }
    }

    /// Whether anything was ever stored, for any machine: else nobody need find out what this one is.
    pub fn exist() -> bool {
        folder().is_some_and(|folder| folder.is_dir())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// The values for a case, if they are of these sources and still offered.
    pub fn get(
        &self,
        case: &Case,
        interface: &Interface,
        library: &Library,
    ) -> Result<Option<Tunes>, DeviceError> {
        let Some(stored) = self.choices.get(&case.to_string()) else { return Ok(None) };
        let offered = |(name, value): (&String, &i64)| interface.offered(name).contains(value);
        if stored.tunes.len() != interface.tunes.len()
            || !stored.tunes.iter().all(offered)
            || stored.digest != case.digest(library)?
        {
            return Ok(None);
        }
        Ok(Some(stored.tunes.iter().map(|(name, value)| (name.clone(), *value)).collect()))
    }

    /// Takes choices in and writes the file; gives its path.
    pub fn add(&mut self, found: impl IntoIterator<Item = (Case, Stored)>) -> Result<PathBuf, String> {
        self.choices.extend(found.into_iter().map(|(case, stored)| (case.to_string(), stored)));
        self.write()
    }

    /// Forgets all; gives the file's path, if there was one.
    pub fn forget(&mut self) -> Result<Option<PathBuf>, String> {
        self.choices.clear();
        let Some(path) = path(&self.machine).filter(|path| path.exists()) else { return Ok(None) };
        std::fs::remove_file(&path).map_err(|e| format!("cannot remove {}: {e}", path.display()))?;
        Ok(Some(path))
    }

    fn write(&self) -> Result<PathBuf, String> {
        let path = path(&self.machine).ok_or("there is no cache folder: set TVMC_CACHE")?;
        let document =
            Document { version: VERSION, machine: self.machine.clone(), choices: self.choices.clone() };
        let text = serde_json::to_string_pretty(&document).map_err(|e| e.to_string())? + "\n";
        let failed = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        files::write_whole(&path, text.as_bytes()).map_err(failed)?;
        Ok(path)
    }
}

/// Where the choices for a machine lie.
fn path(machine: &str) -> Option<PathBuf> {
    Some(folder()?.join(format!("{}.json", digest(machine))))
}

fn folder() -> Option<PathBuf> {
    Some(cache_directory().ok()?.join("tuned"))
}
