//! Runs compiled kernels on CPU threads.
