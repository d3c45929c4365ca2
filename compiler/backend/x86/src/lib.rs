//! Lane IR to AVX-512 and AVX2 machine code.
