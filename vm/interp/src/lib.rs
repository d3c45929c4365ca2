//! The oracle: interpreters for tile IR and lane IR.
