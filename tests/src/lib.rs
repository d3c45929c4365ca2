//! Cross-crate tests: backend differences, repository rules, and the generators they share.
#![forbid(unsafe_code)]

pub mod source_programs;
