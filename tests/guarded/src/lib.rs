//! Memory between two pages that may not be touched, for tests of generated code: an access outside an argument ends the process.
//!
//! ```text
//! guard page | content, filled up to 64 bytes | .. rest of its pages | guard page      Placement::Start
//! guard page | rest of its pages .. | content, filled up to 64 bytes | guard page      Placement::End
//! ```
//!
//! Generated code may read the aligned 64 bytes around an element (`tvmc_cpu::AlignedBuffer` promises as much), so content that ends before a guard page is
//! filled up to 64 bytes first. It may *write* nothing there: [`Guarded::filling_is_untouched`] says whether it did. A buffer that is an input
//! lies in pages that cannot be written at all ([`Guarded::read_only`]).
//!
//! ```
//! use tvmc_guarded::{Guarded, Placement};
//! let memory = Guarded::with(&[1, 2, 3], Placement::End);
//! assert_eq!((memory.content(), memory.start().addr() % 64), (&[1, 2, 3][..], 0));
//! ```

const PAGE: usize = 4096;
/// What generated code may read around an element.
const ALIGNMENT: usize = 64;
/// What stands behind the content, up to the next multiple of 64 bytes.
const FILLING: u8 = 0xa5;

/// Where a buffer lies in its pages.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// It begins right behind the lower guard page.
    Start,
    /// It ends, filled up to 64 bytes, right before the upper one.
    End,
}

impl Placement {
    /// Both.
    pub const ALL: [Placement; 2] = [Placement::Start, Placement::End];
}

/// Memory between two guard pages.
pub struct Guarded {
    map: *mut u8,
    size: usize,
    start: *mut u8,
    len: usize,
}

impl Guarded {
    /// A copy of these bytes. Panics if the system gives no memory: this is for tests.
    pub fn with(content: &[u8], placement: Placement) -> Self {
        let padded = content.len().next_multiple_of(ALIGNMENT);
        let inner = padded.next_multiple_of(PAGE).max(PAGE);
        let size = inner + 2 * PAGE;
        // SAFETY: an anonymous mapping at an address of the system's choice.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(map, libc::MAP_FAILED, "memory for {size} bytes");
        let map = map.cast::<u8>();
        // SAFETY: the inner pages of the mapping just made.
        let refused =
            unsafe { libc::mprotect(map.add(PAGE).cast(), inner, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(refused, 0, "pages can be made writable");
        let at = match placement {
            Placement::Start => PAGE,
            Placement::End => PAGE + inner - padded,
        };
        // SAFETY: within the mapping; the bytes behind it are writable for `padded` bytes.
        let start = unsafe {
            let start = map.add(at);
            std::ptr::copy_nonoverlapping(content.as_ptr(), start, content.len());
            start.add(content.len()).write_bytes(FILLING, padded - content.len());
            start
        };
        Self { map, size, start, len: content.len() }
    }

    /// The same memory, in which a write ends the process.
    pub fn read_only(self) -> Self {
        // SAFETY: the inner pages of our own mapping; nobody holds a reference to them.
        let refused =
            unsafe { libc::mprotect(self.map.add(PAGE).cast(), self.size - 2 * PAGE, libc::PROT_READ) };
        assert_eq!(refused, 0, "pages can be made unwritable");
        self
    }

    /// The address of the first byte.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// The bytes.
    pub fn content(&self) -> &[u8] {
        // SAFETY: `len` readable bytes.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// Whether nobody wrote behind the content.
    pub fn filling_is_untouched(&self) -> bool {
        let filling = self.len.next_multiple_of(ALIGNMENT) - self.len;
        // SAFETY: the content is filled up to a multiple of 64 readable bytes.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.add(self.len), filling) };
        bytes.iter().all(|&byte| byte == FILLING)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping that `with` made.
        unsafe { libc::munmap(self.map.cast(), self.size) };
    }
}
