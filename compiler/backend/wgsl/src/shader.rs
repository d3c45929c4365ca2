//! The result: source text and everything a host needs to bind and launch it.
//!
//! All bindings are in group 0: binding 0 is the uniform parameter block, then the constant tables (if any), the
//! report (if the kernel asserts or prints), then the buffers in the order of the function.

use tvmc_ir::lane::{Function, Type};

/// What stands behind a binding.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum BindingKind {
    /// The uniform buffer that [`Params::encode`] fills.
    Params,
    /// The words of [`Shader::constants`], read-only storage.
    Constants,
    /// The report of [`crate::report`], read-write storage.
    Report,
    /// A buffer argument, by number.
    Buffer(u32),
}

/// One binding of group 0.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    /// The number in `@binding`.
    pub index: u32,
    /// What it is.
    pub kind: BindingKind,
    /// Whether a storage binding is read-write.
    pub writable: bool,
}

/// Where things are in the parameter block, in 32-bit words:
///
/// ```text
/// 0      number of blocks                 4 .. 4 + buffers   byte offset of each view in its binding
/// 1..4   grid size on axes x, y, z        then, from an even word: 2 words per scalar (low, high)
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Params {
    buffers: u32,
    scalars: u32,
}

impl Params {
    /// The block of a function.
    pub(crate) fn of(function: &Function) -> Self {
        Self { buffers: function.buffers.len() as u32, scalars: function.scalars.len() as u32 }
    }

    /// Word of a buffer's view offset.
    pub(crate) fn offset_word(self, buffer: usize) -> usize {
        4 + buffer
    }

    /// Low word of a scalar.
    pub(crate) fn scalar_word(self, scalar: usize) -> usize {
        (4 + self.buffers as usize).next_multiple_of(2) + 2 * scalar
    }

    /// Size in 16-byte rows, as the shader declares it.
    pub fn rows(self) -> u64 {
        (self.scalar_word(self.scalars as usize) as u64).div_ceil(4)
    }

    /// Size in bytes.
    pub fn bytes(self) -> u64 {
        self.rows() * 16
    }

    /// Fills the block. `offsets` are the byte offsets of the views in their bindings, one per buffer; a scalar is
    /// given as 8 bytes (f32 bits and i32 in the low half, bool as 0 or 1). `None` if a count is wrong or the grid
    /// has 2^32 blocks or more.
    pub fn encode(self, grid: [u32; 3], offsets: &[u32], scalars: &[u64]) -> Option<Vec<u32>> {
        if offsets.len() != self.buffers as usize || scalars.len() != self.scalars as usize {
            return None;
        }
        let blocks = grid[0].checked_mul(grid[1])?.checked_mul(grid[2])?;
        let mut words = vec![blocks, grid[0], grid[1], grid[2]];
        words.extend_from_slice(offsets);
        words.resize(self.scalar_word(0), 0);
        words.extend(scalars.iter().flat_map(|&s| [s as u32, (s >> 32) as u32]));
        words.resize(words.len().next_multiple_of(4), 0);
        Some(words)
    }
}

/// A compiled kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shader {
    /// WGSL text, valid by naga.
    pub source: String,
    /// Name of the entry point.
    pub entry: &'static str,
    /// Invocations on the x axis; the other two axes are 1.
    pub workgroup_size: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u64,
    /// Every binding, by number.
    pub bindings: Vec<Binding>,
    /// The parameter block.
    pub params: Params,
    /// All constant tables, each padded with zeros to a power of two.
    pub constants: Vec<u32>,
    /// The alignment in bytes that each buffer's view must have: its widest element.
    pub alignments: Vec<u32>,
    /// Bytes of the widest vector that each buffer is loaded in, at least 4. A view that does not begin at a multiple of it takes the shader of
    /// `BufferMode::AllWritable`, which has no vectors; one that does is bound in whole vectors.
    pub vectors: Vec<u32>,
    /// The print operations; records in the report name them by position.
    pub prints: Vec<PrintSite>,
}

/// A print operation: what a reader of its records must know.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PrintSite {
    /// Number of the message in the function.
    pub message: u32,
    /// Types of the operands.
    pub types: Vec<Type>,
}

impl Shader {
    /// Number of storage bindings.
    pub fn storage_bindings(&self) -> u32 {
        self.bindings.iter().filter(|b| b.kind != BindingKind::Params).count() as u32
    }

    /// The binding of this kind.
    pub fn binding(&self, kind: BindingKind) -> Option<&Binding> {
        self.bindings.iter().find(|b| b.kind == kind)
    }
}
