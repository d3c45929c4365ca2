//! Runs compiled kernels on a GPU through wgpu.
