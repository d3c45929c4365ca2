//! The CPU as a machine: aligned buffers, native code, a pool of threads.
//!
//! This is the one place of the command that vouches for memory. The argument, in three steps: `bind` has checked every extent of every
//! argument; the engine has checked that every slice is as long as its shape says; the lowering masks, or proves inside, every access to a
//! tensor of those extents. So generated code stays inside the slices it is given.

use super::Level;
use super::machine::{MachineArgument, Printed, code_for_cpu, failure, lowered, scalar_values, tensors};
use tvmc_cpu::{AlignedBuffer, CompiledKernel, Pool, Prepared, RawBuffer, Target};
use tvmc_ir::lane::Access;
use tvmc_ir::lane::abi::ALIGNMENT;
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::Binding;
use tvmc_model::executor::{DeviceError, MemoryId};
use tvmc_passes::packing::Packing;
use tvmc_passes::{ScalarBinding, target};

/// A compiled kernel and its reusable launch record.
pub struct CpuCode {
    prepared: Prepared,
    scalars: Vec<ScalarBinding>,
}

/// Bytes of a buffer that weights share: several huge pages. One weight of this size or more has a buffer of its own.
const SHARED: usize = 32 << 20;

/// Threads, memory, and the target that kernels are compiled for.
pub struct CpuMachine {
    pool: Pool,
    target: Target,
    buffers: Vec<AlignedBuffer>,
    /// Where each memory lies.
    memory: Vec<Piece>,
    /// The buffer that weights share at present, and how much of it they have.
    shared: Option<(usize, usize)>,
}

/// Memory within a buffer.
#[derive(Copy, Clone)]
struct Piece {
    buffer: usize,
    offset: usize,
    bytes: usize,
    sharing: Sharing,
}

/// Whether a buffer is given back with its memory.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Sharing {
    /// It holds this memory only.
    Alone,
    /// It holds other weights, too, and stays as long as the machine.
    WithOthers,
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
    pub fn new(threads: usize, target: Target) -> Self {
        let pool = Pool::new(threads);
        pool.pin_launcher();
        Self { pool, target, buffers: Vec::new(), memory: Vec::new(), shared: None }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    pub(super) fn allocate(&mut self, bytes: u64) -> Result<MemoryId, DeviceError> {
        let bytes = usize::try_from(bytes).map_err(failure)?;
        self.buffers.push(AlignedBuffer::zeroed(bytes).map_err(failure)?);
        Ok(self.piece(Piece { buffer: self.buffers.len() - 1, offset: 0, bytes, sharing: Sharing::Alone }))
    }

    /// Memory that stays as long as the machine. Small weights lie together, in huge pages: read from pages of their own, each
    /// costs translations and stops the prefetcher at every 4 KiB.
    pub(super) fn allocate_weight(&mut self, bytes: u64) -> Result<MemoryId, DeviceError> {
        let size = usize::try_from(bytes).map_err(failure)?;
        if size >= SHARED {
            return self.allocate(bytes);
        }
        let padded = size.next_multiple_of(ALIGNMENT);
        let (buffer, offset) = match self.shared {
            Some((buffer, used)) if SHARED - used >= padded => (buffer, used),
            Some(_) | None => {
                self.buffers.push(AlignedBuffer::zeroed(SHARED).map_err(failure)?);
                (self.buffers.len() - 1, 0)
            }
        };
        self.shared = Some((buffer, offset + padded));
        Ok(self.piece(Piece { buffer, offset, bytes: size, sharing: Sharing::WithOthers }))
    }

    fn piece(&mut self, piece: Piece) -> MemoryId {
        self.memory.push(piece);
        MemoryId(self.memory.len() - 1)
    }

    pub(super) fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        let piece = self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))?;
        piece.bytes = 0;
        if piece.sharing == Sharing::Alone {
            self.buffers[piece.buffer] = AlignedBuffer::empty();
        }
        Ok(())
    }

    /// The bytes of memory, for filling it in place.
    pub(super) fn bytes(&mut self, memory: MemoryId) -> Option<&mut [u8]> {
        let piece = self.memory.get(memory.0)?;
        self.buffers.get_mut(piece.buffer)?.as_mut_slice().get_mut(piece.offset..piece.offset + piece.bytes)
    }

    fn range(&mut self, memory: MemoryId, offset: u64, bytes: usize) -> Result<&mut [u8], DeviceError> {
        let all = self.bytes(memory).ok_or_else(|| failure("unknown memory"))?;
        let start = usize::try_from(offset).map_err(failure)?;
        let end = start.checked_add(bytes).ok_or_else(|| failure("a range past the end of memory"))?;
        all.get_mut(start..end).ok_or_else(|| failure("a range past the end of memory"))
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
        self.bytes(memory).ok_or_else(|| failure("unknown memory"))?.fill(0);
        Ok(())
    }

    pub(super) fn compile(&mut self, kernel: &Kernel, packing: Vec<Packing>) -> Result<CpuCode, DeviceError> {
        let (function, scalars) = lowered(kernel, &row(self.target), packing)?;
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
            let bytes = usize::try_from(slice.bytes).map_err(failure)?;
            let part = self.range(slice.memory, slice.offset, bytes)?;
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
        // `self.buffers`, which is not touched during the call; the engine refuses arguments that overlap where one is written.
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
