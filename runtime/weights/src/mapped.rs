//! A file's bytes, mapped or read: the only module with `unsafe`.
//!
//! **Maps** a path to `&[u8]` of the length the file had when it was opened. [`Access::Map`] shares the page cache and
//! costs nothing until a byte is touched; [`Access::Read`] copies the file into memory of its own.
//!
//! **Invariants.** Either way the bytes are immutable through this type and start on a page boundary, so a tensor is
//! as aligned in memory as it is in the file. A mapped file is *trusted to stay as it is*: if another process
//! shortens it meanwhile, touching the lost pages kills this process (SIGBUS), and if another process rewrites it the
//! bytes change. Both concern the user's own files; whoever cannot rely on that uses `Access::Read` (`--no-mmap`).
//!
//! **Refuses** directories, pipes, devices, and empty files.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::{Mmap, MmapMut};

/// How a file's bytes are brought into the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Map the file: instant, shared with the page cache, relies on nobody changing the file meanwhile.
    Map,
    /// Copy the file into private memory: slower, relies on nothing.
    Read,
}

/// The bytes of one file, immutable, page-aligned.
#[derive(Debug)]
pub struct FileBytes {
    bytes: Mmap,
    access: Access,
}

impl FileBytes {
    /// Opens a regular, non-empty file.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if metadata.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
        }
        let length = usize::try_from(metadata.len())
            .map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "the file exceeds the address space"))?;
        match access {
            Access::Map => Ok(FileBytes { bytes: map_file(&file)?, access }),
            Access::Read => {
                let mut memory = MmapMut::map_anon(length)?;
                (&file).read_exact(&mut memory)?;
                Ok(FileBytes { bytes: memory.make_read_only()?, access })
            }
        }
    }

    /// Says that these bytes will not be read soon. Of a mapped file this process's share of memory shrinks by the whole pages among them, and reading
    /// them again costs a page fault; the system still keeps what it likes in its own cache. Otherwise nothing happens.
    pub fn release(&self, range: Range<usize>) {
        const PAGE: usize = 4096;
        let range = range.start.next_multiple_of(PAGE)..range.end.min(self.len()) / PAGE * PAGE;
        match self.access {
            Access::Map if !range.is_empty() => release_pages(&self.bytes, range),
            Access::Map | Access::Read => {}
        }
    }

    /// Bytes made in memory, as [`FileBytes::open`] would give them for a file that holds them.
    pub fn from_slice(bytes: &[u8]) -> io::Result<Self> {
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
        }
        let mut memory = MmapMut::map_anon(bytes.len())?;
        memory.copy_from_slice(bytes);
        Ok(FileBytes { bytes: memory.make_read_only()?, access: Access::Read })
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The one audited mapping: read-only, of a regular file that is open for reading.
#[allow(unsafe_code)]
fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: `Mmap::map` asks that the file is not changed while it is mapped. No code of this workspace opens a
    // weight file for writing: `fetch` writes under a temporary name and renames, which leaves an existing mapping on
    // the old inode. Other processes of the user could still break the promise; that is the documented price of
    // `Access::Map`, and every reader in this crate takes the file's length from this slice and checks before each
    // access, so a change of *content* cannot turn into an access outside the mapping.
    unsafe { Mmap::map(file) }
}

/// Takes pages of a mapped file out of this process. Advice: what goes wrong costs memory, not content.
#[allow(unsafe_code)]
#[cfg_attr(not(unix), allow(unused_variables))]
fn release_pages(map: &Mmap, range: Range<usize>) {
    // SAFETY: the mapping is of a file and was never writable, so a page that is dropped comes back from the file with the bytes it had (whose constancy
    // `map_file` already relies on). Memory of the process's own would come back as zeros: `FileBytes::release` does not ask for it.
    #[cfg(unix)]
    let _ =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn temporary(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn both_ways_give_the_same_page_aligned_bytes() {
        let content: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let file = temporary(&content);
        for access in [Access::Map, Access::Read] {
            let bytes = FileBytes::open(file.path(), access).unwrap();
            assert_eq!(&bytes[..], &content[..]);
            assert_eq!(bytes.as_ptr() as usize % 4096, 0);
        }
        assert_eq!(&FileBytes::from_slice(&content).unwrap()[..], &content[..]);
    }

    #[test]
    fn released_bytes_read_as_before() {
        let content: Vec<u8> = (0..30_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let file = temporary(&content);
        for access in [Access::Map, Access::Read] {
            let bytes = FileBytes::open(file.path(), access).unwrap();
            for range in [0..30_000, 5..9_000, 4_096..8_192, 100..200, 29_000..90_000, 7..7] {
                bytes.release(range);
                assert_eq!(&bytes[..], &content[..]);
            }
        }
    }

    #[test]
    fn refuses_what_is_not_a_file_with_content() {
        let empty = temporary(b"");
        let folder = tempfile::tempdir().unwrap();
        for access in [Access::Map, Access::Read] {
            assert!(FileBytes::open(empty.path(), access).is_err());
            assert!(FileBytes::open(folder.path(), access).is_err());
            assert!(FileBytes::open(&folder.path().join("missing"), access).is_err());
        }
    }
}
