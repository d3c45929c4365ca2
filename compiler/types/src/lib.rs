//! The mathematics under the compiler: what numbers mean as bits, and where elements live.
//!
//! | module | what it maps |
//! |---|---|
//! | [`dtype`] | code (bits) to number and back, for every element type, from one table |
//! | [`packing`] | element index to a run of bits in a byte string |
//! | [`layout`] | (lane, slot) to tile element, and the algebra of such maps; tile element to shared-memory offset |
//!
//! Nothing here knows of source text, IR or machines. Every function is pure; sizes are checked.
#![forbid(unsafe_code)]

pub mod dtype;
pub mod layout;
pub mod packing;
