//! The oracle: interpreters for tile IR and lane IR. They define what a kernel means, and share no code
//! with the passes and backends that they judge.
//!
//! * [`lane`] executes lane IR lane by lane, and traps where machines could differ.
//! * [`tile`] executes tile IR on whole tiles.
//! * [`samples`] holds lane kernels with inputs and expected outputs, for every backend's tests.
#![forbid(unsafe_code)]

pub mod lane;
pub mod samples;
pub mod tile;
