//! A GPU as a machine. Launches are recorded and handed over together, after [`BATCH`] of them or at the next read; only reads and writes wait,
//! so the device works on one batch while the next is recorded.

use super::machine::{MachineArgument, Printed, code_for_gpu, failure, lowered, scalar_values, tensors};
use std::cell::RefCell;
use tvmc_gpu::{Commands, GpuBuffer, GpuDevice, GpuError, GpuKernel, GpuKind, GpuLaunch, Submission};
use tvmc_ir::lane;
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::Binding;
use tvmc_model::executor::{DeviceError, MemoryId, Slice};
use tvmc_passes::packing::Packing;
use tvmc_passes::target::{Fragments, Target, WGSL};
use tvmc_passes::{Bounds, ScalarBinding};

/// Launches in one submission.
pub(super) const BATCH: usize = 64;

/// Bytes of a workgroup's memory that kernels with fragments leave to values that cross lanes.
const SPARE_SCRATCH: u32 = 2 << 10;

/// A compiled kernel.
pub struct GpuCode {
    kernel: GpuKernel,
    scalars: Vec<ScalarBinding>,
    /// Whether it prints: then its lines are fetched at once, so that they come in order.
    prints: bool,
}

/// An instance that was lowered to see whether it fits, kept for the compilation that follows.
struct Tried {
    kernel: Kernel,
    packing: Vec<Packing>,
    lowered: (lane::Verified, Vec<ScalarBinding>),
}

/// A device, its memory, and the launches not yet handed over.
pub struct GpuMachine {
    device: GpuDevice,
    bounds: Bounds,
    memory: Vec<GpuBuffer>,
    commands: Option<Commands>,
    /// Handed over, not waited for, in order.
    pending: Vec<Submission>,
    /// What was lowered last and not compiled.
    tried: RefCell<Option<Tried>>,
}

impl GpuMachine {
    /// Opens a device by (part of) its name, or the best one.
    pub fn open(name: Option<&str>, bounds: Bounds) -> Result<Self, DeviceError> {
        let device = GpuDevice::open(name).map_err(failure)?;
        Ok(Self {
            device,
            bounds,
            memory: Vec::new(),
            commands: None,
            pending: Vec::new(),
            tried: RefCell::default(),
        })
    }

    /// The device's name.
    pub fn name(&self) -> String {
        self.device.info().name.clone()
    }

    /// The device and its driver.
    pub(super) fn description(&self) -> String {
        let info = self.device.info();
        format!("gpu, {}, {}", info.name, info.driver)
    }

    pub(super) fn allocate(&mut self, bytes: u64) -> Result<MemoryId, DeviceError> {
        self.memory.push(self.device.buffer(bytes.max(1).next_multiple_of(4)).map_err(failure)?);
        Ok(MemoryId(self.memory.len() - 1))
    }

    /// The device keeps the buffer itself until recorded launches are done with it.
    pub(super) fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        let nothing = self.device.buffer(4).map_err(failure)?;
        *self.memory.get_mut(memory.0).ok_or_else(|| failure("unknown memory"))? = nothing;
        Ok(())
    }

    fn buffer(&self, memory: MemoryId) -> Result<&GpuBuffer, DeviceError> {
        self.memory.get(memory.0).ok_or_else(|| failure("unknown memory"))
    }

    pub(super) fn write(&mut self, memory: MemoryId, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.flush()?;
        self.device.upload(self.buffer(memory)?, offset, bytes).map_err(failure)
    }

    pub(super) fn read(
        &mut self,
        memory: MemoryId,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), DeviceError> {
        self.flush()?;
        self.device.download(self.buffer(memory)?, offset, bytes).map_err(failure)
    }

    /// Copies whole words, of which memory is made.
    pub(super) fn copy(&mut self, from: Slice, to: Slice) -> Result<(), DeviceError> {
        let view = |slice: Slice| {
            let end = slice.offset + slice.bytes.next_multiple_of(4);
            self.buffer(slice.memory)?.view(slice.offset..end).map_err(failure)
        };
        let (from, to) = (view(from)?, view(to)?);
        let device = &self.device;
        self.commands.get_or_insert_with(|| device.commands()).copy(&from, &to).map_err(failure)
    }

    pub(super) fn clear(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        let view = self.buffer(memory)?.all();
        let device = &self.device;
        self.commands.get_or_insert_with(|| device.commands()).zero(&view).map_err(failure)
    }

    /// Hands recorded launches to the device.
    fn submit(&mut self) -> Result<(), DeviceError> {
        if let Some(commands) = self.commands.take() {
            self.pending.push(commands.submit().map_err(failure)?);
        }
        Ok(())
    }

    /// Waits for all launches; what they print is dropped.
    pub(super) fn settle(&mut self) -> Result<(), DeviceError> {
        self.flush().map(|_| ())
    }

    /// Waits for all launches, so that a failed assert is an error here.
    fn flush(&mut self) -> Result<Printed, DeviceError> {
        self.submit()?;
        let mut launches = Vec::new();
        for submission in std::mem::take(&mut self.pending) {
            launches.extend(submission.wait().map_err(failure)?);
        }
        let mut printed = Vec::new();
        for launch in launches {
            if let Some(message) = launch.failure {
                let function = launch.kernel.function();
                let message = function.messages.get(message as usize).cloned().unwrap_or_default();
                return Err(DeviceError(format!("{} (kernel @{})", message.failed(), function.name)));
            }
            printed.extend(launch.log.into_iter().map(|entry| entry.text));
        }
        Ok(printed)
    }

    /// The row of the target table, with what the device has beyond it.
    pub(super) fn row(&self) -> Target {
        let limits = self.device.limits();
        let fragments = limits.subgroup.filter(|_| limits.cooperative_matrix);
        // Some words are for values that cross lanes.
        let scratch = limits.workgroup_bytes.saturating_sub(SPARE_SCRATCH);
        let row = Target { fragments: fragments.map(|group| Fragments::of(group, scratch)), ..WGSL };
        if self.device.info().kind == GpuKind::Software { row.lean() } else { row }
    }

    pub(super) fn compile(&mut self, tile: &Kernel, packing: Vec<Packing>) -> Result<GpuCode, DeviceError> {
        let tried = self.tried.take().filter(|tried| tried.packing == packing && tried.kernel == *tile);
        let (function, scalars) = match tried {
            Some(tried) => tried.lowered,
            None => lowered(tile, &self.row(), packing, self.bounds)?,
        };
        fn reason(error: &GpuError) -> Option<&tvmc_backend_wgsl::Error> {
            match error {
                GpuError::Compile { error, .. } => Some(error),
                _ => None,
            }
        }
        // SAFETY: the lowering masks each access or proves that it lies inside its tensor, as far as launches give what the kernel declares, which `bind` checks; under
        // `Bounds::Checked` the code compares each with the length of its memory. Loops are counted, or end by the program's own condition, as on every machine.
        let compile = || unsafe { self.device.compile_proved(&function) };
        let kernel = code_for_gpu(&function, compile, reason).map_err(failure)?;
        Ok(GpuCode { kernel, scalars, prints: has_print(tile) })
    }

    /// Whether a kernel's scratch fits this device, with a word of each lane for what lanes exchange.
    pub(super) fn has_room(&self, tile: &Kernel, packing: Vec<Packing>) -> Result<bool, DeviceError> {
        let lowered = lowered(tile, &self.row(), packing.clone(), self.bounds)?;
        let (function, _) = &lowered;
        let bytes = function.arena_bytes() + 4 * u64::from(function.lanes);
        self.tried.replace(Some(Tried { kernel: tile.clone(), packing, lowered }));
        Ok(bytes <= u64::from(self.device.limits().workgroup_bytes))
    }

    /// Binds memory to a kernel.
    pub(super) fn prepare(
        &mut self,
        kernel: &Kernel,
        code: &GpuCode,
        arguments: &[MachineArgument],
    ) -> Result<GpuLaunch, DeviceError> {
        let mut views = Vec::with_capacity(arguments.len());
        for (slice, _) in tensors(kernel, arguments) {
            let buffer = self.buffer(slice.memory)?;
            views.push(buffer.view(slice.offset..slice.offset + slice.bytes).map_err(failure)?);
        }
        self.device.launch(&code.kernel, &views).map_err(failure)
    }

    pub(super) fn launch(
        &mut self,
        kernel: &Kernel,
        (code, launch): (&GpuCode, &GpuLaunch),
        binding: &Binding,
        arguments: &[MachineArgument],
    ) -> Result<Printed, DeviceError> {
        let scalars = scalar_values(kernel, &code.scalars, binding, arguments);
        let device = &self.device;
        let commands = self.commands.get_or_insert_with(|| device.commands());
        commands.record(launch, binding.grid, &scalars).map_err(failure)?;
        if code.prints {
            return self.flush();
        }
        if commands.len() >= BATCH {
            self.submit()?;
        }
        Ok(Vec::new())
    }
}

fn has_print(kernel: &Kernel) -> bool {
    fn any(region: &tvmc_ir::tile::Region) -> bool {
        region.stmts.iter().any(|stmt| match stmt {
            tvmc_ir::tile::Stmt::Inst(inst) => matches!(inst.op, tvmc_ir::tile::Op::Print(_)),
            tvmc_ir::tile::Stmt::For { body, .. } | tvmc_ir::tile::Stmt::Loop { body, .. } => any(body),
            tvmc_ir::tile::Stmt::If { then, otherwise, .. } => any(then) || any(otherwise),
        })
    }
    any(&kernel.body)
}
