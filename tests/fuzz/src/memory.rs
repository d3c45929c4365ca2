//! The allocator of the fuzzer: the system's, with a count of the bytes in use and their peak.
//!
//! It refuses what would take the whole machine along ([`REFUSED`]): the process then ends, and the supervisor counts a failure.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use that are never granted.
pub const REFUSED: usize = 4 << 30;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// Counts bytes that are about to be taken; false if they are too many.
fn take(bytes: usize) -> bool {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
    if live > REFUSED {
        LIVE.fetch_sub(bytes, Ordering::Relaxed);
        return false;
    }
    PEAK.fetch_max(live, Ordering::Relaxed);
    true
}

// SAFETY: every call is passed on to the system allocator unchanged, or refused with a null pointer; the counters are plain numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` are those the system allocator asks for.
        if take(layout.size()) { unsafe { System.alloc(layout) } } else { null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        if take(layout.size()) { unsafe { System.alloc_zeroed(layout) } } else { null_mut() }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        if !take(new) {
            return null_mut();
        }
        // SAFETY: `pointer` came from this allocator, so from the system's, with the same layout, by the caller's promise.
        let moved = unsafe { System.realloc(pointer, layout, new) };
        LIVE.fetch_sub(if moved.is_null() { new } else { layout.size() }, Ordering::Relaxed);
        moved
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What some work gives, and by how many bytes the process grew at its peak.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (result, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_seen_after_memory_is_given_back() {
        let (length, peak) = peak_of(|| std::hint::black_box(vec![1u8; 50 << 20]).len());
        assert!(length == 50 << 20 && peak >= length, "{peak}");
    }
}
