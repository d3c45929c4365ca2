//! Memory for tensors: aligned to 64 bytes, zeroed, padded to a multiple of 64 bytes (code may read the
//! aligned word around an element). From [`HUGE`] bytes on it is mapped separately, aligned to 2 MiB, and
//! the system is asked for huge pages: streaming weights is measurably faster from them.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ptr::NonNull;

use tvmc_ir::lane::abi::ALIGNMENT;

/// From this size on, memory is mapped in huge pages.
const HUGE: usize = 4 << 20;
/// Alignment of such a mapping.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// The system gave no memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// How much was asked for.
    pub bytes: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for {} bytes", self.bytes)
    }
}

impl std::error::Error for OutOfMemory {}

/// Where the memory comes from, and so how it is given back.
#[derive(Copy, Clone)]
enum Source {
    /// Nothing was allocated.
    Empty,
    /// The global allocator.
    Heap(Layout),
    /// A mapping of its own: its start and length.
    #[cfg(target_os = "linux")]
    Mapping(*mut u8, usize),
}

/// Owned bytes whose address is a multiple of 64.
///
/// ```
/// let mut x = tvmc_cpu::AlignedBuffer::zeroed(100).unwrap();
/// x.as_mut_slice()[99] = 7;
/// assert_eq!((x.len(), x.as_slice()[99], x.as_ptr().addr() % 64), (100, 7, 0));
/// ```
pub struct AlignedBuffer {
    start: NonNull<u8>,
    len: usize,
    source: Source,
}

// SAFETY: it owns its bytes alone; access goes through `&self` and `&mut self`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: through `&self` bytes are only read (raw pointers it hands out are used under their user's contract).
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A buffer of no bytes.
    pub const fn empty() -> Self {
        // ALIGNMENT as an address is not null and aligned; it is never dereferenced.
        let start = NonNull::without_provenance(match std::num::NonZero::new(ALIGNMENT) {
            Some(address) => address,
            None => unreachable!(),
        });
        Self { start, len: 0, source: Source::Empty }
    }

    /// Zeros.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let failed = OutOfMemory { bytes: len };
        if len == 0 {
            return Ok(Self::empty());
        }
        let padded = len.checked_next_multiple_of(ALIGNMENT).ok_or(failed)?;
        #[cfg(target_os = "linux")]
        if padded >= HUGE {
            return Self::mapped(len, padded);
        }
        let layout = Layout::from_size_align(padded, ALIGNMENT).map_err(|_| failed)?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(failed)?;
        Ok(Self { start, len, source: Source::Heap(layout) })
    }

    /// A copy of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OutOfMemory> {
        let mut buffer = Self::zeroed(bytes.len())?;
        buffer.as_mut_slice().copy_from_slice(bytes);
        Ok(buffer)
    }

    #[cfg(target_os = "linux")]
    fn mapped(len: usize, padded: usize) -> Result<Self, OutOfMemory> {
        let failed = OutOfMemory { bytes: len };
        let size = padded.checked_next_multiple_of(HUGE_PAGE).ok_or(failed)?;
        let reserved =
            size.checked_add(HUGE_PAGE).filter(|size| isize::try_from(*size).is_ok()).ok_or(failed)?;
        // SAFETY: a new private anonymous mapping at an address of the system's choice touches nothing else.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                reserved,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(failed);
        }
        let mapping = mapping.cast::<u8>();
        let skip = mapping.align_offset(HUGE_PAGE);
        // SAFETY: skip is below HUGE_PAGE and the mapping is that much longer than `size`.
        let start = unsafe { mapping.add(skip) };
        // SAFETY: the range lies within the mapping. A refusal changes nothing but speed.
        unsafe { libc::madvise(start.cast(), size, libc::MADV_HUGEPAGE) };
        let start = NonNull::new(start).ok_or(failed)?;
        Ok(Self { start, len, source: Source::Mapping(mapping, reserved) })
    }

    /// Length in bytes, as asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes are owned from `start` on, and `&self` forbids writes through safe code.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes this the only access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The first byte's address. Writing through it is up to the writer's own contract.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        match self.source {
            Source::Empty => {}
            // SAFETY: allocated with this layout, once freed.
            Source::Heap(layout) => unsafe { dealloc(self.start.as_ptr(), layout) },
            #[cfg(target_os = "linux")]
            Source::Mapping(start, length) => {
                // SAFETY: exactly the mapping made by `mapped`, once unmapped.
                unsafe { libc::munmap(start.cast(), length) };
            }
        }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_zeroed_and_padded() {
        for len in [0, 1, 63, 64, 65, 4096, HUGE - 1, HUGE, HUGE + 12345] {
            let mut buffer = AlignedBuffer::zeroed(len).unwrap();
            assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0, "{len}");
            assert_eq!(buffer.len(), len);
            assert!(buffer.as_slice().iter().all(|byte| *byte == 0), "{len}");
            buffer.as_mut_slice().fill(0xa5);
            assert_eq!(buffer.as_slice().last().copied(), (len > 0).then_some(0xa5));
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert_eq!(AlignedBuffer::zeroed(usize::MAX).unwrap_err(), OutOfMemory { bytes: usize::MAX });
        assert!(AlignedBuffer::zeroed(isize::MAX as usize - 100).is_err());
    }

    #[test]
    fn copies() {
        let bytes: Vec<u8> = (0..200).collect();
        assert_eq!(AlignedBuffer::from_bytes(&bytes).unwrap().as_slice(), bytes);
    }
}
