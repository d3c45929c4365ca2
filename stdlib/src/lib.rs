//! Kernels, formats and transformer programs in the language itself, embedded as text.
