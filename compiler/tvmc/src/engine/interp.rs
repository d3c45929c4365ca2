//! The interpreter as a machine: plain bytes, and kernels as they are.

use super::machine::{MachineArgument, Printed, failure};
use std::ops::ControlFlow;
use tvmc_interp::tile::{Argument, run, traced};
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::Binding;
use tvmc_model::executor::{DeviceError, MemoryId};

/// Most elements one launch may compute.
const FUEL: u64 = 1 << 42;

/// Takes the lines of a trace; breaks when it wants no more.
pub type Listener = Box<dyn FnMut(&str) -> ControlFlow<()>>;

/// Memory as vectors of bytes.
#[derive(Default)]
pub struct InterpMachine {
    memory: Vec<Vec<u8>>,
    /// Who is told what every statement of a launch computes.
    pub(super) listener: Option<Listener>,
}

impl InterpMachine {
    pub(super) fn allocate(&mut self, bytes: u64) -> Result<MemoryId, DeviceError> {
        let bytes = usize::try_from(bytes).map_err(failure)?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes).map_err(failure)?;
        memory.resize(bytes, 0);
        self.memory.push(memory);
        Ok(MemoryId(self.memory.len() - 1))
    }

    pub(super) fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        *self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))? = Vec::new();
        Ok(())
    }

    fn range(&mut self, memory: MemoryId, offset: u64, bytes: usize) -> Result<&mut [u8], DeviceError> {
        let buffer = self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))?;
        let start = usize::try_from(offset).map_err(failure)?;
        let end = start.checked_add(bytes).ok_or_else(|| failure("a range past the end of memory"))?;
        buffer.get_mut(start..end).ok_or_else(|| failure("a range past the end of memory"))
    }

    pub(super) fn write(&mut self, memory: MemoryId, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.range(memory, offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        memory: MemoryId,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), DeviceError> {
        bytes.copy_from_slice(self.range(memory, offset, bytes.len())?);
        Ok(())
    }

    pub(super) fn clear(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))?.fill(0);
        Ok(())
    }

    pub(super) fn launch(
        &mut self,
        kernel: &Kernel,
        binding: &Binding,
        arguments: &[MachineArgument],
    ) -> Result<Printed, DeviceError> {
        // Arguments may be parts of one memory, so each gets a copy; what the kernel may write goes back.
        let mut copies: Vec<Vec<u8>> = Vec::new();
        for argument in arguments {
            copies.push(match argument {
                MachineArgument::Tensor(slice, _) => {
                    self.range(slice.memory, slice.offset, slice.bytes as usize)?.to_vec()
                }
                MachineArgument::Scalar(_) => Vec::new(),
            });
        }
        let given = arguments
            .iter()
            .zip(&mut copies)
            .map(|(argument, bytes)| match argument {
                MachineArgument::Tensor(_, shape) => Argument::Tensor(bytes, shape.clone()),
                MachineArgument::Scalar(bits) => Argument::Scalar(*bits),
            })
            .collect();
        let outcome = match &mut self.listener {
            None => run(kernel, binding, given, FUEL),
            Some(listener) => traced(kernel, binding, given, FUEL, listener),
        }
        .map_err(failure)?;
        for ((argument, bytes), param) in arguments.iter().zip(&copies).zip(&kernel.params) {
            let written = matches!(param, tvmc_ir::tile::TensorDecl::Tensor { access, .. }
                if *access != tvmc_ir::lane::Access::Read);
            if let (MachineArgument::Tensor(slice, _), true) = (argument, written) {
                self.range(slice.memory, slice.offset, bytes.len())?.copy_from_slice(bytes);
            }
        }
        Ok(outcome.log)
    }
}
