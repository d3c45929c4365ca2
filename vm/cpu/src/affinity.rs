//! Which processors this process may use, and pinning a thread to one of them. Linux only; elsewhere the
//! system schedules.

use std::sync::OnceLock;
use std::thread::available_parallelism;

/// What the first question found. Later ones could come from a pinned thread and be told of one processor.
struct Host {
    processors: usize,
    allowed: Vec<usize>,
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let quota = available_parallelism().map_or(1, |count| count.get());
        let allowed = affinity();
        let processors = if allowed.is_empty() { quota } else { quota.min(allowed.len()) };
        Host { processors, allowed }
    })
}

/// How many threads can run at once: processors that affinity and quota leave to this process. Asked of the
/// system once.
pub fn processors() -> usize {
    host().processors
}

/// Numbers of the processors that this process may use; empty where that cannot be known.
pub(crate) fn allowed() -> &'static [usize] {
    &host().allowed
}

/// Numbers of the processors that the calling thread may use; empty where that cannot be known.
#[cfg(target_os = "linux")]
fn affinity() -> Vec<usize> {
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

/// Numbers of the processors that the calling thread may use; empty where that cannot be known.
#[cfg(not(target_os = "linux"))]
fn affinity() -> Vec<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_still_knows_the_host() {
        let before = processors();
        assert!(before >= 1);
        std::thread::spawn(move || {
            if let Some(&cpu) = allowed().last() {
                pin(cpu);
                #[cfg(target_os = "linux")]
                assert_eq!(affinity(), [cpu]);
            }
            assert_eq!(processors(), before);
        })
        .join()
        .unwrap();
    }
}
