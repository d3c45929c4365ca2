//! How fast this machine's memory can be read: what figures of speed are compared with.
//!
//! A pass reads a buffer larger than the caches once, split between threads, each adding 64-bit words up. The threads are made before
//! anything pins itself to a processor, and wait between passes, so a pass can be timed in the middle of a measurement. The figure is an
//! upper bound in practice, not in theory: a kernel that reads through more or wider loads at once may come out a little above it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Instant;
use tvmc_cpu::AlignedBuffer;

/// The least that is read in a pass.
const LEAST: u64 = 256 << 20;

struct Shared {
    buffer: AlignedBuffer,
    /// Passed by everyone when a pass begins and again when it ends.
    gate: Barrier,
    stop: AtomicBool,
    /// What was read goes here, so that reading cannot be left out.
    sum: AtomicU64,
}

/// See the module head.
pub struct ReadProbe {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl ReadProbe {
    /// A probe with this many threads over a buffer of at least twice the largest cache; `None` where there is no memory for it.
    pub fn new(threads: usize) -> Option<Self> {
        let wanted = LEAST.max(2 * crate::host::largest_cache());
        let free = crate::host::memory().map_or(wanted * 4, |memory| memory.available);
        let bytes = usize::try_from(wanted).ok().filter(|_| free / 2 >= wanted)?;
        Self::over(bytes, threads)
    }

    fn over(bytes: usize, threads: usize) -> Option<Self> {
        let threads = threads.clamp(1, 1024);
        let mut buffer = AlignedBuffer::zeroed(bytes).ok()?;
        // Pages that were never written to are all the same one.
        buffer.as_mut_slice().fill(1);
        let gate = Barrier::new(threads + 1);
        let shared = Arc::new(Shared { buffer, gate, stop: AtomicBool::new(false), sum: AtomicU64::new(0) });
        let part = bytes.div_ceil(threads).next_multiple_of(256);
        let mut workers = Vec::with_capacity(threads);
        for at in 0..threads {
            let range = (at * part).min(bytes)..((at + 1) * part).min(bytes);
            let known = Arc::clone(&shared);
            let worker = std::thread::Builder::new().name(format!("read-{at}")).spawn(move || {
                loop {
                    known.gate.wait();
                    if known.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let sum = add_up(&known.buffer.as_slice()[range.clone()]);
                    known.sum.fetch_add(sum, Ordering::Relaxed);
                    known.gate.wait();
                }
            });
            workers.push(worker.ok()?);
        }
        Some(Self { shared, workers })
    }

    /// Bytes of a pass.
    pub fn bytes(&self) -> u64 {
        self.shared.buffer.len() as u64
    }

    /// One pass; gives bytes per second.
    pub fn pass(&self) -> f64 {
        let start = Instant::now();
        self.shared.gate.wait();
        self.shared.gate.wait();
        self.bytes() as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }
}

impl Drop for ReadProbe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.gate.wait();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// The sum of all whole 64-bit words, in several sums side by side so that loads need not wait for additions.
fn add_up(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 32];
    for block in bytes.as_chunks::<256>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read_once() {
        for threads in [1, 3] {
            let probe = ReadProbe::over(3 << 20, threads).expect("memory");
            assert!(probe.pass() > 0.0);
            // Whole blocks of each part: three parts of this size are all made of whole blocks.
            let words = (3u64 << 20) / 8;
            let expected = words.wrapping_mul(0x0101_0101_0101_0101);
            assert_eq!(probe.shared.sum.load(Ordering::Relaxed), expected, "{threads} threads");
        }
    }
}
