//! The guards themselves: an access outside, or a write to what cannot be written, ends a process.

use std::process::Command;
use tvmc_guarded::{Guarded, Placement};

/// What a child of [`accesses_outside_end_the_process`] is told to do.
const TOLD: &str = "TVMC_GUARDED_CHILD";
/// Bytes that no multiple of 64 or of a page has.
const LENGTH: usize = 5000;

#[test]
fn content_lies_at_its_place_and_is_filled_up() {
    for placement in Placement::ALL {
        for length in [0, 1, 63, 64, 65, 4096, LENGTH] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let memory = Guarded::with(&bytes, placement);
            assert_eq!(memory.content(), bytes);
            assert_eq!(memory.start().addr() % 64, 0);
            assert!(memory.filling_is_untouched());
            if length % 64 != 0 {
                // SAFETY: the filling is writable.
                unsafe { memory.start().add(length).write(0) };
                assert!(!memory.filling_is_untouched(), "{length} bytes, {placement:?}");
            }
            assert_eq!(memory.read_only().content(), bytes);
        }
    }
}

#[test]
fn accesses_outside_end_the_process() {
    let ends = |what: &str| {
        let program = std::env::current_exe().expect("this test");
        let told = Command::new(program).args(["--exact", "child", "--nocapture"]).env(TOLD, what).output();
        !told.expect("it starts").status.success()
    };
    assert!(!ends("read within"), "else nothing is shown");
    assert!(!ends("write within"), "else nothing is shown");
    for what in ["read before", "read behind", "write an input"] {
        assert!(ends(what), "a process goes on that was told to {what}");
    }
}

/// Does as it is told, in a process of its own.
#[test]
fn child() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let bytes = [7; LENGTH];
    let (first, last) = (Guarded::with(&bytes, Placement::Start), Guarded::with(&bytes, Placement::End));
    // SAFETY: none: what lies outside is unmapped on purpose, and the process is to end.
    unsafe {
        match told.as_str() {
            "read within" => assert_eq!(last.start().add(LENGTH - 1).read_volatile(), 7),
            "write within" => first.start().write_volatile(1),
            "read before" => assert!(first.start().sub(1).read_volatile() < 8),
            "read behind" => {
                assert!(last.start().add(LENGTH.next_multiple_of(64)).read_volatile() < 8);
            }
            "write an input" => last.read_only().start().write_volatile(1),
            _ => panic!("{told}"),
        }
    }
}
