//! Lane IR to WGSL, validated by naga.
