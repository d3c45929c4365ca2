//! The fuzzer: mutated files and random programs, for a given time, by one command.
//!
//! ```text
//! cargo run --release -p tvmc-fuzz -- --minutes 60                    every target, all processors
//! cargo run --release -p tvmc-fuzz -- --minutes 5 --target gguf       one of them
//! tvmc-fuzz --minutes 60 --jobs 16 --target kernels --target programs  a copied program, eight seeds of each
//! cargo run --release -p tvmc-fuzz -- --target gguf --input FILE      one input again
//! ```
//!
//! **The law.** An input is a function of target, seed and number ([`Fuzzed::make`]), so a run needs to remember nothing, and an input that
//! ends the process can be made again afterwards. Judging an input ([`trial::judge`]) must not panic, must not take more than
//! [`trial::MEMORY_CAP`] over the input's size nor [`trial::TIME_CAP`], and must keep the target's own laws (what prints reads back, what verifies
//! compiles, machines agree). Anything else is a failure: it is shrunk, saved, and shown with the command that runs it again.
//!
//! | module | what it does |
//! |---|---|
//! | `targets` | what is made for each target, and its laws |
//! | `corpus` | sound inputs, from which others are made by mutation |
//! | `mutate` | mutations of bytes and of words |
//! | `trial` | judges one input; shrinks one that fails |
//! | `worker` | judges many, in a process of its own |
//! | `supervise` | starts workers, sees them hang or die, adds up |
//! | `report` | counts, and coverage of operations, types and machines |
//! | `memory` | the allocator that counts |

pub mod corpus;
pub mod memory;
pub mod mutate;
pub mod report;
pub mod supervise;
pub mod targets;
pub mod trial;
pub mod worker;

pub use targets::{Fuzzed, Target};
