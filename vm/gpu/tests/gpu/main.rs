//! Every kernel here runs on the GPU and in the interpreter, and both results are compared: integers and memory bit by
//! bit, floats within the stated distance. On a machine without an adapter each test is skipped by name, except in CI
//! (`CI=true`), where that is a failure. `TVMC_GPU=name` chooses the device.
#![forbid(unsafe_code)]

mod control;
mod cross;
mod device;
mod harness;
mod memory;
mod pure;
mod random;
