//! Lane IR to Cranelift IR with 128-bit vectors.
