//! Machines: memory, compiled kernels, launches. One implementation each for the CPU, the GPU and the interpreter, behind one enum; nothing
//! above knows which it is.

use super::cpu::CpuMachine;
use super::gpu::GpuMachine;
use super::interp::InterpMachine;
use crate::internal::{self, Stage};
use tvmc_cpu::CompileError;
use tvmc_ir::lane;
use tvmc_ir::tile::launch::Binding;
use tvmc_ir::tile::{Kernel, TensorDecl};
use tvmc_model::executor::{DeviceError, MemoryId, Purpose, Slice};
use tvmc_passes::packing::Packing;
use tvmc_passes::{Bounds, Lowered, Options, ScalarBinding, lower};

/// An argument, ready for a machine.
#[derive(Clone, PartialEq, Debug)]
pub enum MachineArgument {
    /// Memory with its extents.
    Tensor(Slice, Vec<u64>),
    /// The bits of an f32, i32 or u32, or 0 and 1.
    Scalar(u32),
}

/// A kernel as a machine runs it.
pub enum Code {
    /// Native code.
    Cpu(super::cpu::CpuCode),
    /// A pipeline.
    Gpu(super::gpu::GpuCode),
    /// Nothing: the interpreter reads the kernel itself.
    Interp,
}

/// What a machine keeps of a launch that may be made again with other numbers: the memory it works on, bound.
pub enum Bound {
    /// A GPU's bind group.
    Gpu(tvmc_gpu::GpuLaunch),
    /// Nothing: memory is looked up by each launch.
    Nothing,
}

/// See the module head.
pub enum Machine {
    /// Threads and native code.
    Cpu(CpuMachine),
    /// A device through wgpu.
    Gpu(Box<GpuMachine>),
    /// The tile interpreter.
    Interp(InterpMachine),
}

/// What a launch printed.
pub type Printed = Vec<String>;

/// A failure in words.
pub fn failure(error: impl std::fmt::Display) -> DeviceError {
    DeviceError(error.to_string())
}

impl Machine {
    /// New zeroed memory.
    pub fn allocate(&mut self, bytes: u64) -> Result<MemoryId, DeviceError> {
        match self {
            Machine::Cpu(m) => m.allocate(bytes),
            Machine::Gpu(m) => m.allocate(bytes),
            Machine::Interp(m) => m.allocate(bytes),
        }
    }

    /// Zeroed memory for a weight, perhaps beside others; it stays as long as the machine.
    pub fn allocate_weight(&mut self, bytes: u64) -> Result<Slice, DeviceError> {
        let memory = match self {
            Machine::Cpu(m) => return m.allocate_weight(bytes),
            Machine::Gpu(m) => m.allocate(bytes)?,
            Machine::Interp(m) => m.allocate(bytes)?,
        };
        Ok(Slice { memory, offset: 0, bytes })
    }

    /// Gives memory back.
    pub fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        match self {
            Machine::Cpu(m) => m.release(memory),
            Machine::Gpu(m) => m.release(memory),
            Machine::Interp(m) => m.release(memory),
        }
    }

    /// Copies bytes in.
    pub fn write(&mut self, memory: MemoryId, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        match self {
            Machine::Cpu(m) => m.write(memory, offset, bytes),
            Machine::Gpu(m) => m.write(memory, offset, bytes),
            Machine::Interp(m) => m.write(memory, offset, bytes),
        }
    }

    /// Copies bytes out.
    pub fn read(&mut self, memory: MemoryId, offset: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        match self {
            Machine::Cpu(m) => m.read(memory, offset, bytes),
            Machine::Gpu(m) => m.read(memory, offset, bytes),
            Machine::Interp(m) => m.read(memory, offset, bytes),
        }
    }

    /// Sets memory to zero.
    pub fn clear(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        match self {
            Machine::Cpu(m) => m.clear(memory),
            Machine::Gpu(m) => m.clear(memory),
            Machine::Interp(m) => m.clear(memory),
        }
    }

    /// Memory of its own with the same bytes.
    pub fn duplicate(&mut self, slice: Slice) -> Result<Slice, DeviceError> {
        let copy = self.allocate_weight(slice.bytes)?;
        match self {
            Machine::Gpu(m) => m.copy(slice, copy)?,
            Machine::Cpu(_) | Machine::Interp(_) => {
                let mut bytes = vec![0; usize::try_from(slice.bytes).map_err(failure)?];
                self.read(slice.memory, slice.offset, &mut bytes)?;
                self.write(copy.memory, copy.offset, &bytes)?;
            }
        }
        Ok(copy)
    }

    /// Launches that a machine may run at once where none needs what another writes; none where each is done before the next.
    pub fn batch(&self) -> Option<usize> {
        match self {
            Machine::Gpu(_) => Some(super::gpu::BATCH),
            Machine::Cpu(_) | Machine::Interp(_) => None,
        }
    }

    /// What a tuned choice holds for, in words: the same words on the same machine. None for the interpreter, which nobody tunes.
    pub fn description(&self) -> Option<String> {
        match self {
            Machine::Cpu(m) => Some(m.description()),
            Machine::Gpu(m) => Some(m.description()),
            Machine::Interp(_) => None,
        }
    }

    /// Waits until everything launched is done, so that a clock may be read.
    pub fn settle(&mut self) -> Result<(), DeviceError> {
        match self {
            Machine::Gpu(m) => m.settle(),
            Machine::Cpu(_) | Machine::Interp(_) => Ok(()),
        }
    }

    /// Makes a kernel instance runnable.
    pub fn compile(&mut self, kernel: &Kernel, packing: Vec<Packing>) -> Result<Code, DeviceError> {
        match self {
            Machine::Cpu(m) => m.compile(kernel, packing).map(Code::Cpu),
            Machine::Gpu(m) => m.compile(kernel, packing).map(Code::Gpu),
            Machine::Interp(_) => Ok(Code::Interp),
        }
    }

    /// Binds memory to a kernel.
    pub fn prepare(
        &mut self,
        kernel: &Kernel,
        code: &Code,
        arguments: &[MachineArgument],
    ) -> Result<Bound, DeviceError> {
        match (self, code) {
            (Machine::Gpu(m), Code::Gpu(code)) => m.prepare(kernel, code, arguments).map(Bound::Gpu),
            (Machine::Cpu(_) | Machine::Gpu(_) | Machine::Interp(_), _) => Ok(Bound::Nothing),
        }
    }

    /// Runs a kernel over its grid, on the memory that was bound; gives what it printed.
    pub fn launch(
        &mut self,
        kernel: &Kernel,
        (code, bound): (&mut Code, &Bound),
        binding: &Binding,
        arguments: &[MachineArgument],
    ) -> Result<Printed, DeviceError> {
        match (self, code, bound) {
            (Machine::Cpu(m), Code::Cpu(code), Bound::Nothing) => m.launch(kernel, code, binding, arguments),
            (Machine::Gpu(m), Code::Gpu(code), Bound::Gpu(bound)) => {
                m.launch(kernel, (code, bound), binding, arguments)
            }
            (Machine::Interp(m), Code::Interp, Bound::Nothing) => m.launch(kernel, binding, arguments),
            (Machine::Cpu(_) | Machine::Gpu(_) | Machine::Interp(_), _, _) => {
                Err(failure("a kernel was launched on a machine that it was not compiled for"))
            }
        }
    }

    /// How matrices lie that a kernel reads along their rows. On a GPU lanes read whole vectors of a weight.
    pub fn packing(&self, purpose: Purpose) -> Packing {
        match (self, purpose) {
            (Machine::Cpu(_), Purpose::Weight) => Packing::Words,
            (Machine::Gpu(_), Purpose::Weight) => Packing::Planar,
            (Machine::Cpu(_) | Machine::Gpu(_), Purpose::State) => Packing::Filled,
            (Machine::Interp(_), _) => Packing::AsDeclared,
        }
    }
}

/// Lowers and verifies for a target row.
pub fn lowered(
    kernel: &Kernel,
    target: &tvmc_passes::target::Target,
    packing: Vec<Packing>,
    bounds: Bounds,
) -> Result<(lane::Verified, Vec<ScalarBinding>), DeviceError> {
    let input = || format!("; for {}, packing {packing:?}, bounds {bounds:?}\n{kernel}", target.name);
    internal::within(Stage::Lower, &kernel.name, &input, || {
        let options = Options { packing: packing.clone(), bounds };
        let Lowered { function, scalars, .. } = lower(kernel, target, &options).map_err(failure)?;
        let verified = lane::verify(function).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            let what = format!("the result is not well-formed: {first}");
            DeviceError(internal::broken(Stage::Lower, &kernel.name, &what, &input))
        })?;
        Ok((verified, scalars))
    })
}

/// Makes code of a function for a processor; a backend that is itself at fault is a bug of ours.
pub fn code_for_cpu<T>(
    function: &lane::Verified,
    compile: impl FnOnce() -> Result<T, CompileError>,
) -> Result<T, CompileError> {
    let input = || function.to_string();
    let result = internal::within(Stage::Cpu, &function.name, &input, compile);
    if let Err(
        error @ (CompileError::X86(tvmc_backend_x86::Error::Internal(_))
        | CompileError::Cranelift(tvmc_backend_cranelift::Error::Panicked(_))),
    ) = &result
    {
        internal::broken(Stage::Cpu, &function.name, error, &input);
    }
    result
}

/// Makes code of a function for a GPU. `reason` finds the backend's error in that of the device.
pub fn code_for_gpu<T, E>(
    function: &lane::Verified,
    compile: impl FnOnce() -> Result<T, E>,
    reason: impl FnOnce(&E) -> Option<&tvmc_backend_wgsl::Error>,
) -> Result<T, E> {
    let input = || function.to_string();
    let result = internal::within(Stage::Gpu, &function.name, &input, compile);
    if let Err(error) = &result
        && let Some(error @ tvmc_backend_wgsl::Error::Invalid(_)) = reason(error)
    {
        internal::broken(Stage::Gpu, &function.name, error, &input);
    }
    result
}

/// Scalar arguments of the lane function, in its order.
pub fn scalar_values(
    kernel: &Kernel,
    scalars: &[ScalarBinding],
    binding: &Binding,
    arguments: &[MachineArgument],
) -> Vec<u64> {
    debug_assert_eq!(kernel.params.len(), arguments.len());
    scalars
        .iter()
        .map(|s| match s {
            ScalarBinding::Dim(dim) => binding.dims[dim.index()],
            ScalarBinding::Param(param) => match &arguments[param.index()] {
                MachineArgument::Scalar(bits) => u64::from(*bits),
                MachineArgument::Tensor(..) => 0,
            },
            // Memory is handed out in words: what a slice of bytes lacks to the last is there, and nobody else's.
            ScalarBinding::Elements { param, size } => match &arguments[param.index()] {
                MachineArgument::Tensor(slice, _) => slice.bytes.next_multiple_of(4) / u64::from(*size),
                MachineArgument::Scalar(_) => 0,
            },
        })
        .collect()
}

/// The tensor arguments with whether the kernel may write them.
pub fn tensors<'a>(
    kernel: &'a Kernel,
    arguments: &'a [MachineArgument],
) -> impl Iterator<Item = (Slice, lane::Access)> + 'a {
    kernel.params.iter().zip(arguments).filter_map(|(param, argument)| match (param, argument) {
        (TensorDecl::Tensor { access, .. }, MachineArgument::Tensor(slice, _)) => Some((*slice, *access)),
        (TensorDecl::Tensor { .. } | TensorDecl::Scalar { .. }, _) => None,
    })
}
