//! What a device can do, and the ways a kernel can ask for more.

use std::fmt;

use crate::shader::Shader;

/// Deepest nesting of loops and ifs; WGSL front ends stop a little above 100 blocks.
pub const MAX_NESTING: usize = 40;

/// Limits of a device that a shader depends on. [`Limits::default`] holds what every WebGPU device offers.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Invocations of one workgroup: lanes of a kernel.
    pub invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Storage buffers that one shader may bind.
    pub storage_bindings: u32,
    /// Bytes of one storage binding.
    pub binding_bytes: u64,
    /// Bytes of one uniform binding.
    pub uniform_bytes: u64,
    /// Whether `unpack2x16float` may be used (some drivers without f16 arithmetic lack it).
    pub f16_in_f32: bool,
    /// Whether `fma` rounds once. WGSL does not promise it; where it is false, integer code does.
    pub fused_fma: bool,
    /// `Some(n)`, a power of two: subgroup operations may be used, every subgroup has room for exactly `n` invocations,
    /// and invocation `i` of a workgroup is number `i % n` of subgroup `i / n`. No specification promises the latter;
    /// `None` is always right, reductions and shuffles then go through workgroup memory.
    pub subgroup: Option<u32>,
    /// Whether subgroups multiply matrices of 16 by 16 halves and add them to floats, and shaders compute in f16.
    pub cooperative_matrix: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            invocations: 256,
            workgroup_bytes: 16 << 10,
            storage_bindings: 8,
            binding_bytes: 128 << 20,
            uniform_bytes: 64 << 10,
            f16_in_f32: true,
            fused_fma: false,
            subgroup: None,
            cooperative_matrix: false,
        }
    }
}

impl Limits {
    /// Whether a block of this many lanes is one subgroup, so that values cross lanes without memory.
    pub(crate) fn one_subgroup(&self, lanes: u32) -> bool {
        self.subgroup.is_some_and(|size| lanes <= size)
    }

    /// Whether a shader keeps to these limits.
    pub(crate) fn check(&self, shader: &Shader) -> Result<(), Error> {
        let storage = shader.storage_bindings();
        let constants = shader.constants.len() as u64 * 4;
        let params = shader.params.bytes();
        if shader.workgroup_size > self.invocations {
            Err(Error::Lanes { lanes: shader.workgroup_size, limit: self.invocations })
        } else if shader.workgroup_bytes > u64::from(self.workgroup_bytes) {
            Err(Error::WorkgroupMemory { bytes: shader.workgroup_bytes, limit: self.workgroup_bytes })
        } else if storage > self.storage_bindings {
            Err(Error::Bindings { bindings: storage, limit: self.storage_bindings })
        } else if constants > self.binding_bytes {
            Err(Error::Tables { bytes: constants, limit: self.binding_bytes })
        } else if params > self.uniform_bytes {
            Err(Error::Arguments { bytes: params, limit: self.uniform_bytes })
        } else {
            Ok(())
        }
    }
}

/// Why a kernel has no shader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// More lanes than invocations in a workgroup.
    Lanes {
        /// Lanes of the kernel.
        lanes: u32,
        /// What the device offers.
        limit: u32,
    },
    /// Arenas and cross-lane scratch do not fit.
    WorkgroupMemory {
        /// Bytes the kernel needs.
        bytes: u64,
        /// What the device offers.
        limit: u32,
    },
    /// Too many buffer arguments.
    Bindings {
        /// Storage bindings the kernel needs.
        bindings: u32,
        /// What the device offers.
        limit: u32,
    },
    /// The constant tables are larger than a binding.
    Tables {
        /// Bytes of all tables.
        bytes: u64,
        /// What the device offers.
        limit: u64,
    },
    /// Fragments, and no cooperative matrices, or subgroups of another size than the kernel's groups.
    Fragments {
        /// Lanes of a group.
        group: u32,
        /// Lanes of a subgroup, where cooperative matrices are offered.
        subgroup: Option<u32>,
    },
    /// The scalar arguments are larger than a uniform binding.
    Arguments {
        /// Bytes of all scalar arguments.
        bytes: u64,
        /// What the device offers.
        limit: u64,
    },
    /// Control flow is nested deeper than [`MAX_NESTING`].
    Nesting,
    /// naga refused the text: a bug of this crate.
    Invalid(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Lanes { lanes, limit } => {
                write!(
                    f,
                    "the kernel has {lanes} lanes, the device runs at most {limit} invocations in a workgroup"
                )
            }
            Error::WorkgroupMemory { bytes, limit } => write!(
                f,
                "the kernel needs {bytes} bytes of workgroup memory (shared tiles and cross-lane scratch), the \
                 device has {limit}"
            ),
            Error::Bindings { bindings, limit } => {
                write!(f, "the kernel needs {bindings} storage bindings, the device offers {limit}")
            }
            Error::Tables { bytes, limit } => {
                write!(f, "the constant tables take {bytes} bytes, a binding holds at most {limit}")
            }
            Error::Arguments { bytes, limit } => {
                write!(f, "the scalar arguments take {bytes} bytes, a uniform binding holds at most {limit}")
            }
            Error::Fragments { group, subgroup: None } => write!(
                f,
                "the kernel multiplies matrices in groups of {group} lanes, the device offers no cooperative matrices"
            ),
            Error::Fragments { group, subgroup: Some(size) } => {
                write!(f, "the kernel has groups of {group} lanes, the device subgroups of {size}")
            }
            Error::Nesting => write!(f, "control flow is nested deeper than {MAX_NESTING} levels"),
            Error::Invalid(text) => write!(f, "internal error: the generated WGSL is invalid:\n{text}"),
        }
    }
}

impl std::error::Error for Error {}
