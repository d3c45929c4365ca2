//! Which processors this process may use, and pinning a thread to one of them. Linux only; elsewhere the
//! system schedules.

use std::thread::available_parallelism;

/// How many threads can run at once: processors that affinity and quota leave to this process.
pub fn processors() -> usize {
    let quota = available_parallelism().map_or(1, |count| count.get());
    match allowed().len() {
        0 => quota,
        count => count.min(quota),
    }
}

/// Numbers of the processors that this process may use; empty where that cannot be known.
#[cfg(target_os = "linux")]
pub(crate) fn allowed() -> Vec<usize> {
    // SAFETY: all zeros is a valid `cpu_set_t`, a plain bit set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is writable and its size is given; 0 means the calling thread.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if failed != 0 {
        return Vec::new();
    }
    let has = |cpu: &usize| {
        // SAFETY: the number is below the set's capacity.
        unsafe { libc::CPU_ISSET(*cpu, &set) }
    };
    (0..libc::CPU_SETSIZE as usize).filter(has).collect()
}

/// Numbers of the processors that this process may use; empty where that cannot be known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allowed() -> Vec<usize> {
    Vec::new()
}

/// Pins the calling thread. A refusal is ignored: pinning only makes timing steadier.
#[cfg(target_os = "linux")]
pub(crate) fn pin(cpu: usize) {
    if cpu >= libc::CPU_SETSIZE as usize {
        return;
    }
    // SAFETY: all zeros is a valid `cpu_set_t`, a plain bit set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below the set's capacity.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is readable and its size is given; 0 means the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

/// Pins the calling thread: not on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_cpu: usize) {}
