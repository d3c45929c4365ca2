//! The CPU as a machine: aligned buffers, native code, a pool of threads.
//!
//! This is the one place of the command that vouches for memory. The argument, in three steps: `bind` has checked every extent of every
//! argument; the engine has checked that every slice is as long as its shape says; the lowering masks, or proves inside, every access to a
//! tensor of those extents. So generated code stays inside the slices it is given. Where `--bounds checked` is asked for, the third step is not believed: the code compares
//! each access with the length of its slice.

use super::Level;
use super::machine::{MachineArgument, Printed, code_for_cpu, failure, lowered, scalar_values, tensors};
use tvmc_cpu::{AlignedBuffer, CompiledKernel, Pool, Prepared, RawBuffer, Target};
use tvmc_ir::lane::Access;
use tvmc_ir::lane::abi::ALIGNMENT;
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::Binding;
use tvmc_model::executor::{DeviceError, MemoryId, Slice};
use tvmc_passes::packing::Packing;
use tvmc_passes::{Bounds, ScalarBinding, target};

/// A compiled kernel and its reusable launch record.
pub struct CpuCode {
    prepared: Prepared,
    scalars: Vec<ScalarBinding>,
}

/// Bytes of a memory that weights share: several huge pages. A weight of this size or more has a memory of its own.
const SHARED: u64 = 32 << 20;

/// Threads, memory, and the target that kernels are compiled for.
pub struct CpuMachine {
    pool: Pool,
    target: Target,
    bounds: Bounds,
    memory: Vec<AlignedBuffer>,
    /// The memory that weights share at present, and how much of it they have.
    shared: Option<(MemoryId, u64)>,
}

/// The row of the lowering's table for a target.
pub(super) fn row(target: Target) -> tvmc_passes::target::Target {
    match target {
        Target::Cranelift => target::CRANELIFT,
        Target::X86(features) => match features.level {
            Level::V3 => target::X86_V3,
            Level::V4 => target::X86_V4,
        },
    }
}

impl CpuMachine {
    /// A machine with this many threads.
    pub fn new(threads: usize, target: Target, bounds: Bounds) -> Self {
        let pool = Pool::new(threads);
        pool.pin_launcher();
        Self { pool, target, bounds, memory: Vec::new(), shared: None }
    }

    /// The processor, the code for it, and the threads.
    pub(super) fn description(&self) -> String {
        let code = match self.target {
            Target::Cranelift => "cranelift".to_owned(),
            Target::X86(features) => features.to_string(),
        };
        let processor = crate::host::cpu_model().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        format!("cpu, {processor}, {code}, {} threads", self.threads())
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    pub(super) fn allocate(&mut self, bytes: u64) -> Result<MemoryId, DeviceError> {
        let bytes = usize::try_from(bytes).map_err(failure)?;
        self.memory.push(AlignedBuffer::zeroed(bytes).map_err(failure)?);
        Ok(MemoryId(self.memory.len() - 1))
    }

    /// Zeroed memory for a weight. Small weights lie together, in huge pages: read from pages of their own, each costs translations
    /// and stops the prefetcher at every 4 KiB.
    pub(super) fn allocate_weight(&mut self, bytes: u64) -> Result<Slice, DeviceError> {
        if bytes >= SHARED {
            return Ok(Slice { memory: self.allocate(bytes)?, offset: 0, bytes });
        }
        let padded = bytes.next_multiple_of(ALIGNMENT as u64);
        let (memory, offset) = match self.shared {
            Some((memory, used)) if SHARED - used >= padded => (memory, used),
            Some(_) | None => (self.allocate(SHARED)?, 0),
        };
        self.shared = Some((memory, offset + padded));
        Ok(Slice { memory, offset, bytes })
    }

    pub(super) fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        let buffer = self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))?;
        *buffer = AlignedBuffer::zeroed(0).map_err(failure)?;
        Ok(())
    }

    fn range(&mut self, memory: MemoryId, offset: u64, bytes: usize) -> Result<&mut [u8], DeviceError> {
        let buffer = self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))?;
        let start = usize::try_from(offset).map_err(failure)?;
        let end = start.checked_add(bytes).ok_or_else(|| failure("a range past the end of memory"))?;
        buffer.as_mut_slice().get_mut(start..end).ok_or_else(|| failure("a range past the end of memory"))
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
        let buffer = self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))?;
        buffer.as_mut_slice().fill(0);
        Ok(())
    }

    /// The bytes of a slice, for filling it in place.
    pub(super) fn bytes(&mut self, slice: Slice) -> Result<&mut [u8], DeviceError> {
        self.range(slice.memory, slice.offset, usize::try_from(slice.bytes).map_err(failure)?)
    }

    pub(super) fn compile(&mut self, kernel: &Kernel, packing: Vec<Packing>) -> Result<CpuCode, DeviceError> {
        let (function, scalars) = lowered(kernel, &row(self.target), packing, self.bounds)?;
        let compiled =
            code_for_cpu(&function, || CompiledKernel::compile(&function, self.target)).map_err(failure)?;
        Ok(CpuCode { prepared: Prepared::new(&compiled), scalars })
    }

    pub(super) fn launch(
        &mut self,
        kernel: &Kernel,
        code: &mut CpuCode,
        binding: &Binding,
        arguments: &[MachineArgument],
    ) -> Result<Printed, DeviceError> {
        // Slices that don't start at an aligned address go through a copy of their own.
        let mut bounced: Vec<(usize, AlignedBuffer, Access)> = Vec::new();
        for (at, (slice, access)) in tensors(kernel, arguments).enumerate() {
            let part = self.bytes(slice)?;
            let mut start = part.as_mut_ptr();
            if !start.addr().is_multiple_of(ALIGNMENT) {
                let copy = AlignedBuffer::from_bytes(part).map_err(failure)?;
                start = copy.as_ptr();
                bounced.push((at, copy, access));
            }
            code.prepared.set_buffer(at, RawBuffer { start }).map_err(failure)?;
        }
        for (at, bits) in scalar_values(kernel, &code.scalars, binding, arguments).into_iter().enumerate() {
            code.prepared.set_scalar(at, bits).map_err(failure)?;
        }
        code.prepared.set_grid(binding.grid);
        // SAFETY: see the module head: shapes are bound, slices are as long as their shapes, accesses are masked or proved. Memory lives in
        // `self.memory`, which is not touched during the call; the engine refuses arguments that overlap where one is written.
        let report = unsafe { self.pool.launch_prepared(&code.prepared) }.map_err(failure)?;
        let slices: Vec<_> = tensors(kernel, arguments).map(|(slice, _)| slice).collect();
        for (at, copy, access) in bounced {
            if access != Access::Read {
                self.range(slices[at].memory, slices[at].offset, copy.len())?
                    .copy_from_slice(copy.as_slice());
            }
        }
        Ok(report.printed.into_iter().map(|p| p.text).collect())
    }
}
