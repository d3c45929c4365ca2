//! Cross-crate tests: backend differences, repository rules, and the generators they share.
//!
//! | module | what it does |
//! |---|---|
//! | `clif` | reads CLIF back |
//! | `filetests` | reads and runs the files of `tests/filetests` |
//! | `generate` | random tile kernels with arguments |
//! | `machine_ir` | judges the x86 backend's machine IR |
//! | `machines` | runs a kernel on every machine and compares |
//! | `random` | numbers that are the same in every run |
//! | `source_programs` | random kernels as source text |

pub mod clif;
pub mod filetests;
pub mod generate;
pub mod machine_ir;
pub mod machines;
pub mod random;
pub mod source_programs;
pub mod sources;
