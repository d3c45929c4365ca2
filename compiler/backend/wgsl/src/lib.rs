//! Lane IR to WGSL text. One virtual lane is one invocation, one block is one workgroup.
//!
//! | lane IR | WGSL |
//! |---|---|
//! | `f32`, `i32`, `bool` | `f32`, `u32` (a register has no sign; operations do), `bool` |
//! | `i64` (uniform) | `vec2<u32>`: low word, high word; exact 64-bit arithmetic |
//! | uniform value | the same value, computed by every invocation |
//! | buffer | `array<u32>` storage binding, or `array<vec4<u32>>` where `vectors` finds whole vectors; 8 and 16-bit elements are cut out of words |
//! | arena | `var<workgroup>` array of words; of halves or floats where fragments have it |
//! | fragment | cooperative matrix ([`fragments`]) |
//! | constant table | a slice of one read-only storage binding, padded to a power of two |
//! | scalar arguments, grid, view offsets | one small uniform buffer ([`Params`]) |
//! | reduce, shuffle, extract | subgroup shuffles or workgroup memory, in the tree order of the IR |
//! | assert, print | one storage binding ([`report`]) |
//!
//! # Example
//!
//! `v14: v.f32 = fma v13, v11, v12` becomes `let v14 = fma(v13, v11, v12);`, and a masked `store.contig.f32`
//!
//! ```text
//! if (v9) { b1[v10.x + lane + b1_words] = bitcast<u32>(v14); }
//! ```
//!
//! # Invariants
//!
//! * Every shader is parsed and validated by naga before it is returned; a refusal there is a bug of
//!   this crate and is reported as [`Error::Invalid`]. What naga does not check (invocations, workgroup memory,
//!   number of bindings, nesting) is checked against [`Limits`] here.
//! * A masked-off lane never touches memory, and no invocation writes bits of a word that its lane does not own.
//! * Barriers stand only in uniform control flow, because lane IR has no other.
//! * No subgroup size is assumed: [`Limits::subgroup`] says what is known of the device. No arithmetic is reordered; whether the driver contracts `a * b + c` is its
//!   choice, except for `fma`, which is always fused: in software where the device's own rounds twice.
//! * An index into a buffer is used modulo 2^32 bytes. Bindings are smaller than that on every device, so each
//!   in-range access is exact; an out-of-range one is caught by the robustness checks of the WGSL implementation.
//!
//! # Floats: what a device may do
//!
//! Integers, comparisons, conversions and memory are exact. For f32, where WGSL is looser than lane IR:
//!
//! | | lane IR | here |
//! |---|---|---|
//! | `+ - *`, `fma`, rounding to integers | correctly rounded | correctly rounded, one operation at a time |
//! | `/`, `sqrt` | correctly rounded | WGSL's 2.5 ulp (measured: exact on Mesa's software device, 2 and 1 ulp on an H100) |
//! | chains of `+ - *` | in the order written | a driver may contract or reassociate them |
//! | subnormals | kept | a device may flush operands and results to zero (NVIDIA's driver does) |
//! | NaN | comparisons false, `fne` true | a driver may assume that none occurs; conversions and `fne` test bits or are safe |
//!
//! Refused: fragments where a device has no cooperative matrices, or subgroups of another size than its groups, more lanes than the device runs in one workgroup, more workgroup memory or bindings than it has,
//! control flow nested deeper than [`MAX_NESTING`].
#![forbid(unsafe_code)]

mod atomic;
mod collective;
mod emit;
mod fragments;
mod helpers;
mod limits;
mod memory;
mod pure;
pub mod report;
mod shader;
mod usage;
mod vectors;

pub use limits::{Error, Limits, MAX_NESTING};
pub use shader::{Binding, BindingKind, Params, PrintSite, Shader};

use tvmc_ir::lane::Verified;

/// How to bind the buffers.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum BufferMode {
    /// A buffer that the kernel does not store to is bound read-only: drivers cache it better, and two
    /// dispatches that read it need no barrier between them.
    #[default]
    Exact,
    /// Every buffer is bound read-write. Needed where one device buffer is bound twice, once for reading
    /// and once for writing (at ranges that do not overlap), or where a view does not begin at a whole vector: buffers are
    /// arrays of words then.
    AllWritable,
}

/// Compiles a verified function for a device with these limits.
pub fn compile(function: &Verified, limits: &Limits) -> Result<Shader, Error> {
    compile_with(function, limits, BufferMode::Exact)
}

/// As [`compile`], with a choice of how buffers are bound.
pub fn compile_with(function: &Verified, limits: &Limits, mode: BufferMode) -> Result<Shader, Error> {
    let usage = usage::Usage::of(function, limits)?;
    let shader = emit::emit(function, &usage, mode, limits)?;
    limits.check(&shader)?;
    validate(&shader.source, limits)?;
    Ok(shader)
}

/// Parses and validates with naga.
fn validate(source: &str, limits: &Limits) -> Result<(), Error> {
    let module =
        naga::front::wgsl::parse_str(source).map_err(|e| Error::Invalid(e.emit_to_string(source)))?;
    let mut capabilities = naga::valid::Capabilities::empty();
    capabilities.set(naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32, limits.f16_in_f32);
    capabilities.set(naga::valid::Capabilities::SUBGROUP, limits.subgroup.is_some());
    let fragments = naga::valid::Capabilities::COOPERATIVE_MATRIX | naga::valid::Capabilities::SHADER_FLOAT16;
    capabilities.set(fragments, limits.cooperative_matrix);
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| Error::Invalid(e.emit_to_string(source)))?;
    Ok(())
}
