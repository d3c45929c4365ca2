//! What the executor needs of a machine: memory, and kernels by name. The engine in the command's crate implements it over
//! the CPU, the GPU and the interpreter; the executor knows none of them.

use tvmc_ir::host::Number;

/// Memory of a device.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemoryId(pub usize);

/// A launch that a device has ready.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct LaunchId(pub usize);

/// A part of a device's memory, in bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Which memory.
    pub memory: MemoryId,
    /// First byte.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
}

/// How the matrices of a tensor lie in memory.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Arrangement {
    /// Row after row.
    Declared,
    /// In the order the device's kernels read best, in as many bytes as declared.
    Packed,
    /// In that order, with room for more rows than there are, so that no place depends on their number: states, which grow.
    Filled,
}

/// What memory that may be packed is for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// Written once, when the program is loaded.
    Weight,
    /// Written by kernels, from call to call.
    State,
}

/// An argument of a launch.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// Memory, seen as a tensor.
    Tensor {
        /// Where.
        slice: Slice,
        /// Extents; an extent that is the same in every call is marked, so that kernels are specialised to it.
        shape: Vec<Extent>,
        /// The name of its format or dtype.
        element: String,
        /// Its order.
        arrangement: Arrangement,
    },
    /// A number.
    Scalar(Number),
}

/// The length of an axis.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// Elements.
    pub size: u64,
    /// Whether it is the same in every call.
    pub fixed: bool,
}

/// What went wrong on a device, in words for the user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(pub String);

/// See the module head.
pub trait Device {
    /// New zeroed memory, under an id that no memory had before; `what` names it in errors.
    fn allocate(&mut self, bytes: u64, what: &str) -> Result<MemoryId, DeviceError>;

    /// Gives memory back, after everything launched before. The id means nothing from then on.
    fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError>;

    /// Copies bytes in.
    fn write(&mut self, memory: MemoryId, offset: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies bytes out.
    fn read(&mut self, memory: MemoryId, offset: u64, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Sets memory to zero.
    fn clear(&mut self, memory: MemoryId) -> Result<(), DeviceError>;

    /// New memory that holds a weight in the given arrangement. `rows` rows of `bytes.len() / rows` bytes.
    fn weight(
        &mut self,
        bytes: &[u8],
        rows: u64,
        element: &str,
        arrangement: Arrangement,
        what: &str,
    ) -> Result<Slice, DeviceError>;

    /// Bytes of a tensor of this element type and shape that is arranged as [`Arrangement::Filled`], of two axes at least: its last two are those
    /// of the matrices that are packed, one after another.
    fn filled_bytes(&self, element: &str, shape: &[u64]) -> Result<u64, DeviceError>;

    /// Whether a kernel reads this parameter faster when it is packed. `shapes` has for each argument what is known of its extents (nothing
    /// for a scalar).
    fn prefers_packed(
        &mut self,
        kernel: &str,
        parameter: usize,
        purpose: Purpose,
        shapes: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError>;

    /// Whether a kernel stores to this parameter, with such elements, in a way that only the declared order admits: to computed places, or to elements that share a
    /// byte with others.
    fn stores_in_parts(
        &mut self,
        kernel: &str,
        parameter: usize,
        element: &str,
        shapes: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError>;

    /// Bytes of a tensor of this element type and shape.
    fn tensor_bytes(&self, element: &str, shape: &[u64]) -> Result<u64, DeviceError>;

    /// Bytes of a tensor, however it lies.
    fn arranged_bytes(
        &self,
        element: &str,
        shape: &[u64],
        arrangement: Arrangement,
    ) -> Result<u64, DeviceError> {
        match arrangement {
            Arrangement::Packed if shape.len() < 2 => {
                Err(DeviceError(format!("a tensor of shape {shape:?} has no rows to pack")))
            }
            Arrangement::Declared | Arrangement::Packed => self.tensor_bytes(element, shape),
            Arrangement::Filled => self.filled_bytes(element, shape),
        }
    }

    /// Runs a kernel over its whole grid, after everything launched before it. `with` sets `tune` names; `site` numbers the launch in the
    /// program, so that the device may remember what it prepared for it.
    fn launch(
        &mut self,
        site: usize,
        kernel: &str,
        arguments: &[Argument],
        with: &[(String, i64)],
    ) -> Result<(), DeviceError>;

    /// Makes a launch ready to be started again and again, by [`Self::again`], without starting it. It holds on to its memory.
    fn prepare(
        &mut self,
        site: usize,
        kernel: &str,
        arguments: &[Argument],
        with: &[(String, i64)],
    ) -> Result<LaunchId, DeviceError>;

    /// Starts a launch that is ready, after everything launched before. The numbers take the place of these arguments, by their places, from now on.
    fn again(&mut self, launch: LaunchId, numbers: &[(usize, Number)]) -> Result<(), DeviceError>;

    /// Lets go of a launch. Its id means nothing from then on.
    fn forget(&mut self, launch: LaunchId);
}
