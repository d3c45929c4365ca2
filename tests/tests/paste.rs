//! What a fuzzer prints of a failure is a filetest: written to a file as it is, it runs, and expects what the tile interpreter gives.

use tvmc_tests::filetests::{FileTest, Stage, paste};
use tvmc_tests::generate::{Case, Floats, generate};
use tvmc_tests::random::Random;

fn case(number: u64) -> Case {
    let mut noise = Random::new(number);
    let tape: Vec<u32> = (0..noise.below(40)).map(|_| noise.below(2520) as u32).collect();
    generate(&tape, if number.is_multiple_of(2) { Floats::Exact } else { Floats::Wild })
}

#[test]
fn a_pasted_case_is_a_filetest_that_holds() {
    let folder = std::env::temp_dir().join(format!("tvmc-paste-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("found.tir");
    for number in [1, 2, 5] {
        let case = case(number);
        let text = paste(&case);
        std::fs::write(&path, &text).expect("writable");
        let test = FileTest::read(&path, Stage::Run).expect("it reads");
        if let Err(error) = test.run(false) {
            // A device that has too little says so, with the line that states it.
            assert!(error.contains("too-large"), "{number}: {error}\n{text}");
        }
    }
    // Another expectation is a failure: the file judges.
    let text = paste(&case(1));
    std::fs::write(&path, format!("{}9\n", text.trim_end())).expect("writable");
    let changed = FileTest::read(&path, Stage::Run).expect("it reads");
    assert!(changed.run(false).is_err(), "a changed expectation holds\n{text}");
    std::fs::remove_dir_all(&folder).expect("ours");
}
