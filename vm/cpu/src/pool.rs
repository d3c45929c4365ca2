//! Worker threads and who runs which block.
//!
//! The launching thread works too, as thread 0; the others wait for it: first spinning, as launches follow
//! one another within microseconds, then asleep. A launch of `n` blocks is cut into one contiguous range per
//! thread, the same each time, so that a thread meets the weights it has in its cache. A thread takes
//! chunks from the front of its own range; when that is empty, from the others'.
//!
//! ```text
//! launcher: set ranges -> post job to each mailbox -> run own blocks -> take back unread posts -> wait
//! worker:             read mailbox -> run blocks -> report prints and failures -> count down
//! ```
//!
//! A post that nobody has read when the launcher runs out of blocks is taken back: a launch never waits for a
//! sleeping thread to wake up. The job lives on the launcher's stack; it outlives every reader because the
//! launcher leaves only when each post was taken back or counted down.
//!
//! Launches from several threads run one after the other.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::abi::{Entry, KernelArgs};
use crate::affinity;
use crate::buffer::AlignedBuffer;
use crate::kernel::CompiledKernel;
use crate::launch::{Arguments, LaunchError, LaunchReport, Printed};

/// How long an idle worker spins before it sleeps.
const WORKER_SPIN: Duration = Duration::from_micros(50);
/// How long the launcher spins for the last worker before it sleeps.
const LAUNCHER_SPIN: Duration = Duration::from_micros(200);
/// Most 32-bit words that one thread logs in a launch.
const LOG_WORDS: usize = 1 << 22;
/// Most threads of a pool.
const MAX_THREADS: usize = 1024;
/// Stack of a worker: compiled code spills there.
const STACK_BYTES: usize = 8 << 20;

/// On cache lines of its own, adjacent-line prefetch included.
#[repr(align(128))]
struct Apart<T>(T);

/// Where a worker gets its jobs.
struct Mailbox {
    /// The posted job, or null.
    job: AtomicPtr<Job>,
    asleep: AtomicBool,
}

/// What is left of a thread's blocks.
struct Range {
    next: AtomicU64,
    end: AtomicU64,
}

/// What launcher and workers share.
struct Shared {
    mailboxes: Vec<Apart<Mailbox>>,
    ranges: Vec<Apart<Range>>,
    /// Posts that were neither taken back nor counted down.
    pending: Apart<AtomicUsize>,
    stop: AtomicBool,
    /// Whether the launcher sleeps on `done`.
    waiting: AtomicBool,
    lock: Mutex<()>,
    done: Condvar,
    spin: bool,
}

/// One launch, on the launcher's stack.
struct Job {
    entry: Entry,
    buffers: *const *mut u8,
    scalars: *const u64,
    grid: [u32; 3],
    arena_bytes: usize,
    /// How many ranges there are.
    threads: usize,
    /// How many blocks are taken at once.
    chunk: u64,
    outcome: Mutex<Outcome>,
}

/// What threads have to say after a launch.
#[derive(Default)]
struct Outcome {
    /// Block and message of the first failed assertion.
    failure: Option<(u64, u32)>,
    log: Vec<Entry32>,
    lost: u64,
    out_of_memory: bool,
}

/// A logged print.
struct Entry32 {
    block: u64,
    message: u32,
    words: Vec<u32>,
}

/// Where a thread's prints go.
struct Log {
    block: u64,
    entries: Vec<Entry32>,
    words: usize,
    lost: u64,
}

/// Threads that run kernels.
///
/// ```
/// let pool = tvmc_cpu::Pool::new(2);
/// assert_eq!(pool.threads(), 2);
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Thread 0's scratch; whoever holds it launches.
    launcher: Mutex<AlignedBuffer>,
    /// Thread 0's processor, if threads are pinned.
    first: Option<usize>,
}

/// The lock's content, also after a panic: no invariant spans a panic here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool of this many threads (1 to 1024), the launching one included. If there are as many processors, each
    /// worker is pinned to one; if not, nothing is pinned and nobody spins. Where the system gives fewer
    /// threads, the pool has fewer.
    pub fn new(threads: usize) -> Self {
        let threads = threads.clamp(1, MAX_THREADS);
        let allowed = affinity::allowed();
        let enough = threads <= affinity::processors();
        let pinned = enough && threads <= allowed.len();
        let mailbox =
            || Apart(Mailbox { job: AtomicPtr::new(ptr::null_mut()), asleep: AtomicBool::new(false) });
        let range = || Apart(Range { next: AtomicU64::new(0), end: AtomicU64::new(0) });
        let shared = Arc::new(Shared {
            mailboxes: (1..threads).map(|_| mailbox()).collect(),
            ranges: (0..threads).map(|_| range()).collect(),
            pending: Apart(AtomicUsize::new(0)),
            stop: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            lock: Mutex::new(()),
            done: Condvar::new(),
            spin: enough,
        });
        let mut workers = Vec::with_capacity(threads - 1);
        for number in 1..threads {
            let shared = Arc::clone(&shared);
            let cpu = if pinned { allowed.get(number).copied() } else { None };
            let builder = thread::Builder::new().name(format!("tvmc-{number}")).stack_size(STACK_BYTES);
            let spawned = builder.spawn(move || {
                if let Some(cpu) = cpu {
                    affinity::pin(cpu);
                }
                shared.work(number);
            });
            match spawned {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        let first = if pinned { allowed.first().copied() } else { None };
        Self { shared, workers, launcher: Mutex::new(AlignedBuffer::empty()), first }
    }

    /// A pool of one thread per processor.
    pub fn host() -> Self {
        Self::new(affinity::processors())
    }

    /// Number of threads, the launching one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Pins the calling thread to the processor that the workers leave free; does nothing if they are not
    /// pinned. For a thread that will launch for the rest of its life; threads that it starts inherit the pin.
    pub fn pin_launcher(&self) {
        if let Some(cpu) = self.first {
            affinity::pin(cpu);
        }
    }

    /// Runs all blocks.
    ///
    /// # Safety
    ///
    /// Buffers and scalars are as many as the kernel declares, buffers are aligned to 64 bytes, and every
    /// access of every block is valid and free of conflicts with other blocks.
    pub(crate) unsafe fn run(
        &self,
        kernel: &CompiledKernel,
        grid: [u32; 3],
        arguments: &Arguments<'_>,
    ) -> Result<LaunchReport, LaunchError> {
        let blocks = grid.iter().map(|&n| u128::from(n)).product::<u128>();
        if blocks == 0 {
            return Ok(LaunchReport::default());
        }
        if grid.iter().any(|&n| n > i32::MAX.cast_unsigned()) || blocks > 1 << 62 {
            return Err(LaunchError::GridTooLarge(grid));
        }
        let blocks = blocks as u64;
        let mut arena = lock(&self.launcher);
        let threads = (self.threads() as u64).min(blocks) as usize;
        let per_thread = blocks / threads as u64;
        let mut job = Job {
            entry: kernel.entry(),
            buffers: arguments.buffers.as_ptr(),
            scalars: arguments.scalars.as_ptr(),
            grid,
            arena_bytes: kernel.arena_bytes(),
            threads,
            chunk: (per_thread / 16).max(1),
            outcome: Mutex::new(Outcome::default()),
        };
        let extra = blocks % threads as u64;
        let mut start = 0;
        for (number, range) in (0u64..).zip(&self.shared.ranges[..threads]) {
            let end = start + per_thread + u64::from(number < extra);
            range.0.next.store(start, Ordering::Relaxed);
            range.0.end.store(end, Ordering::Relaxed);
            start = end;
        }
        let posts = threads - 1;
        self.shared.pending.0.store(posts, Ordering::Relaxed);
        let post = &raw mut job;
        for (mailbox, worker) in self.shared.mailboxes.iter().zip(&self.workers).take(posts) {
            // With the worker's check between setting `asleep` and parking, one of the two sees the other's write.
            mailbox.0.job.store(post, Ordering::SeqCst);
            if mailbox.0.asleep.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        // SAFETY: the job is alive, and its promises are this function's.
        unsafe { self.shared.run_blocks(post, 0, &mut arena) };
        for mailbox in &self.shared.mailboxes[..posts] {
            if !mailbox.0.job.swap(ptr::null_mut(), Ordering::AcqRel).is_null() {
                self.shared.pending.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.shared.wait();
        let outcome = job.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        report(kernel, grid, blocks, outcome)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker does not panic; if it did, there is nothing to tell here.
            let _ = worker.join();
        }
    }
}

/// Spins until a condition holds or the time is over; gives whether it holds.
fn spin_until(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if condition() {
                return true;
            }
            std::hint::spin_loop();
        }
        let now = Instant::now();
        if now.duration_since(*start.get_or_insert(now)) > limit {
            return false;
        }
    }
}

impl Shared {
    /// A worker's life.
    fn work(&self, number: usize) {
        let mailbox = &self.mailboxes[number - 1].0;
        let called = || !mailbox.job.load(Ordering::Relaxed).is_null() || self.stop.load(Ordering::Relaxed);
        let mut arena = AlignedBuffer::empty();
        loop {
            if !(self.spin && spin_until(WORKER_SPIN, called)) {
                mailbox.asleep.store(true, Ordering::SeqCst);
                while mailbox.job.load(Ordering::SeqCst).is_null() && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                mailbox.asleep.store(false, Ordering::Relaxed);
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let job = mailbox.job.swap(ptr::null_mut(), Ordering::AcqRel);
            if job.is_null() {
                // Taken back in the meantime.
                continue;
            }
            // SAFETY: taking the post out of the mailbox made this thread one that the launcher waits for, so
            // the job is alive until `pending` is counted down.
            unsafe { self.run_blocks(job, number, &mut arena) };
            if self.pending.0.fetch_sub(1, Ordering::SeqCst) == 1 && self.waiting.load(Ordering::SeqCst) {
                let _guard = lock(&self.lock);
                self.done.notify_one();
            }
        }
    }

    /// Waits until no worker reads the job any more.
    fn wait(&self) {
        let finished = || self.pending.0.load(Ordering::Acquire) == 0;
        let limit = if self.spin { LAUNCHER_SPIN } else { Duration::ZERO };
        if finished() || spin_until(limit, finished) {
            return;
        }
        // Either this thread sees zero, or the last worker sees `waiting` and then needs the lock to notify.
        self.waiting.store(true, Ordering::SeqCst);
        let mut guard = lock(&self.lock);
        while self.pending.0.load(Ordering::SeqCst) != 0 {
            guard = self.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.waiting.store(false, Ordering::SeqCst);
    }

    /// Runs blocks until none is left, as thread `number`.
    ///
    /// # Safety
    ///
    /// The job is alive during the call, and running its blocks is sound.
    unsafe fn run_blocks(&self, job: *const Job, number: usize, arena: &mut AlignedBuffer) {
        // SAFETY: alive, and only shared references to it exist.
        let job = unsafe { &*job };
        if arena.len() < job.arena_bytes {
            match AlignedBuffer::zeroed(job.arena_bytes) {
                Ok(larger) => *arena = larger,
                Err(_) => {
                    lock(&job.outcome).out_of_memory = true;
                    return;
                }
            }
        }
        let mut status = 0u32;
        let mut log = Log { block: 0, entries: Vec::new(), words: 0, lost: 0 };
        let status_pointer = &raw mut status;
        let log_pointer = &raw mut log;
        let [nx, ny, nz] = job.grid;
        let args = KernelArgs {
            buffers: job.buffers,
            scalars: job.scalars,
            arena: arena.as_ptr(),
            status: status_pointer,
            grid: [nx as i32, ny as i32, nz as i32, 0],
            print,
            log: log_pointer.cast(),
        };
        let mut failure: Option<(u64, u32)> = None;
        for turn in 0..job.threads {
            let range = &self.ranges[(number + turn) % job.threads].0;
            let end = range.end.load(Ordering::Relaxed);
            loop {
                // Looked at first, so that the counter grows by at most a chunk per thread past its end.
                if range.next.load(Ordering::Relaxed) >= end {
                    break;
                }
                let first = range.next.fetch_add(job.chunk, Ordering::Relaxed);
                let last = end.min(first + job.chunk);
                let mut block = first;
                while block < last {
                    let [x, y, z] = coordinates(block, job.grid);
                    // SAFETY: `log` is this frame's; the code below writes to it only through this pointer.
                    unsafe { (*log_pointer).block = block };
                    // SAFETY: the caller promises that the block is sound with these arguments; args, arena,
                    // status and log are this thread's and outlive the call.
                    unsafe { (job.entry)(&raw const args, x as i32, y as i32, z as i32) };
                    // SAFETY: this frame's variable.
                    let failed = unsafe { status_pointer.read() };
                    if failed != 0 {
                        // SAFETY: this frame's variable.
                        unsafe { status_pointer.write(0) };
                        let here = (block, failed - 1);
                        failure =
                            Some(failure.map_or(here, |first| if first.0 < block { first } else { here }));
                    }
                    block += 1;
                }
            }
        }
        if failure.is_some() || !log.entries.is_empty() || log.lost > 0 {
            let mut outcome = lock(&job.outcome);
            outcome.failure = match (outcome.failure, failure) {
                (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
                (a, b) => a.or(b),
            };
            outcome.log.append(&mut log.entries);
            outcome.lost += log.lost;
        }
    }
}

/// A block's place in the grid, axis 0 fastest.
fn coordinates(block: u64, [nx, ny, _]: [u32; 3]) -> [u32; 3] {
    let (nx, ny) = (u64::from(nx), u64::from(ny));
    [(block % nx) as u32, (block / nx % ny) as u32, (block / nx / ny) as u32]
}

macro_rules! print_function {
    ($abi:literal) => {
        /// What compiled code calls for a `print`.
        ///
        /// # Safety
        ///
        /// `log` points to the calling thread's [`Log`], `words` to `count` words.
        unsafe extern $abi fn print(log: *mut c_void, message: u32, words: *const u32, count: u32) {
            // SAFETY: by contract.
            let log = unsafe { &mut *log.cast::<Log>() };
            // An entry takes memory beside its words.
            let size = count as usize + 16;
            if log.words + size > LOG_WORDS {
                log.lost += 1;
                return;
            }
            log.words += size;
            // SAFETY: by contract.
            let words = unsafe { std::slice::from_raw_parts(words, count as usize) }.to_vec();
            log.entries.push(Entry32 { block: log.block, message, words });
        }
    };
}

#[cfg(target_arch = "x86_64")]
print_function!("sysv64");
#[cfg(not(target_arch = "x86_64"))]
print_function!("C");

/// Puts what the threads said in an order that does not depend on them.
fn report(
    kernel: &CompiledKernel,
    grid: [u32; 3],
    blocks: u64,
    mut outcome: Outcome,
) -> Result<LaunchReport, LaunchError> {
    if outcome.out_of_memory {
        return Err(LaunchError::OutOfMemory(kernel.arena_bytes()));
    }
    // Stable: a block's prints stay in order.
    outcome.log.sort_by_key(|entry| entry.block);
    let printed = |entry: Entry32| {
        let text = kernel.line(entry.message, &entry.words);
        Printed { block: coordinates(entry.block, grid), message: entry.message, text }
    };
    let printed: Vec<Printed> = outcome.log.into_iter().map(printed).collect();
    match outcome.failure {
        None => Ok(LaunchReport { blocks, printed, prints_lost: outcome.lost }),
        Some((block, message)) => {
            let said = kernel.failed(message);
            let block = coordinates(block, grid);
            let kernel = kernel.name().to_owned();
            Err(LaunchError::Assertion { kernel, block, message, said, printed })
        }
    }
}
