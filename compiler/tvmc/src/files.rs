//! Writing files that are whole or not there.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Puts `bytes` at a path. A file is written under another name beside it and renamed when all is on disk, so nobody ever reads half of it,
/// not even after the process was killed: what such a death leaves is a hidden scratch file that nobody reads and no later process
/// trips over, since names are drawn until one is free. A file that is there already is replaced and gives its permissions to the new one. A link is followed: the file that it names is
/// replaced. What is no file (a device, a pipe) is written to.
///
/// Refused: a file that may not be written, a folder.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole_with(path, &mut |file| file.write_all(bytes))
}

/// As [`write_whole`], with contents that `write` writes piece by piece.
pub fn write_whole_with(path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
    let existing = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return write(&mut OpenOptions::new().write(true).open(path)?);
    }
    let path = if existing.is_some() { path.canonicalize()? } else { path.to_owned() };
    let permissions = existing.map(|metadata| metadata.permissions());
    if permissions.as_ref().is_some_and(fs::Permissions::readonly) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    if path.file_name().is_none() {
        return Err(ErrorKind::InvalidFilename.into());
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let mut scratch = builder().tempfile_in(folder)?;
    write(&mut scratch)?;
    if let Some(permissions) = permissions {
        scratch.as_file().set_permissions(permissions)?;
    }
    scratch.as_file().sync_all()?;
    scratch.persist(&path)?;
    Ok(())
}

/// How scratch files are made: hidden, under a name that no other process has, with the permissions any new file gets.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tvmc-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system takes the user's mask off these.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        write_whole(&path, b"one").expect("made");
        write_whole(&path, b"two").expect("replaced");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no scratch file is left");
        assert!(write_whole(folder.path(), b"x").is_err(), "a folder is no file");
        assert!(write_whole(&folder.path().join("no/such/folder"), b"x").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_gets_the_permissions_that_the_mask_leaves() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_whole(&ours, b"x").expect("made");
        fs::write(&plain, b"x").expect("made");
        let mode = |path| fs::metadata(path).expect("there").permissions();
        assert_eq!(mode(&ours), mode(&plain));
    }

    /// A process that was killed left its scratch file; a later one with the same number could not write.
    #[test]
    fn scratch_files_of_a_killed_process_are_no_obstacle() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join(format!(".a.{}.tmp", std::process::id()));
        fs::write(&left, b"half").expect("made");
        write_whole(&folder.path().join("a"), b"whole").expect("made");
        assert_eq!(fs::read(folder.path().join("a")).expect("there"), b"whole");
    }

    #[cfg(unix)]
    #[test]
    fn links_permissions_and_devices_are_kept() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").expect("made");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
        symlink(&file, &link).expect("linked");
        write_whole(&link, b"new").expect("written through");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&file).expect("there"), b"new");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success());
        assert!(made, "mkfifo is there on every Unix");
        let reader = pipe.clone();
        let read = std::thread::spawn(move || fs::read(reader).expect("read"));
        write_whole(&pipe, b"through").expect("written to");
        assert_eq!(read.join().expect("ended"), b"through");
        assert!(fs::metadata(&pipe).expect("there").file_type().is_fifo(), "it is not replaced by a file");
    }
}
