//! A lowered kernel with its arguments, on one machine.

use super::compare::{compare, packed_as_declared, packed_layout, packing_of};
use super::{Disagreement, FUEL, Left, Skipped, same_lines, tensors, wrong};
use crate::generate::{Argument, Case, Data};
use tvmc_backend_cranelift::Error as CraneliftError;
use tvmc_backend_wgsl::Error as WgslError;
use tvmc_cpu::{
    CompileError, CompiledKernel, LaunchError, LaunchReport, Pool, Prepared, RawBuffer, Target as CpuTarget,
};
use tvmc_gpu::{GpuDevice, GpuError};
use tvmc_guarded::{Guarded, Placement};
use tvmc_interp::lane as lane_interp;
use tvmc_ir::lane::{self, Verified};
use tvmc_ir::tile::Element;
use tvmc_ir::tile::launch::bind;
use tvmc_passes::packing::Packing;
use tvmc_passes::target::Target;
use tvmc_passes::{Bounds, Lowered, Options, ScalarBinding, lower};
use tvmc_types::dtype::DType;

/// A lowered kernel with its scalars and the memory it expects.
pub(super) struct Program {
    pub function: Verified,
    pub scalars: Vec<u64>,
    pub memory: Vec<Vec<u8>>,
    /// Which of these the kernel may write.
    pub written: Vec<bool>,
    pub grid: [u32; 3],
    /// Scalars that are lengths, by number: of which tensor, in elements of how many bytes.
    pub lengths: Vec<(usize, (usize, u32))>,
}

impl Program {
    /// How a case's arguments lie.
    pub fn options(case: &Case, target: &Target, bounds: Bounds) -> Options {
        let packing = case
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Tensor(data) => packing_of(case, data, target),
                Argument::Scalar(..) => Packing::AsDeclared,
            })
            .collect();
        Options { packing, bounds }
    }

    /// Lowered for a target.
    pub fn new(case: &Case, target: &Target, bounds: Bounds) -> Result<Self, Disagreement> {
        let machine = format!("lowering for {}", target.name);
        match lower(&case.kernel, target, &Self::options(case, target, bounds)) {
            Ok(lowered) => Self::of(case, target, lowered, &machine),
            Err(error) => wrong(&machine, error),
        }
    }

    /// From code that `machine` made.
    pub fn of(case: &Case, target: &Target, lowered: Lowered, machine: &str) -> Result<Self, Disagreement> {
        let Lowered { function, scalars, .. } = lowered;
        let binding = match bind(&case.kernel, &case.shapes()) {
            Ok(binding) => binding,
            Err(error) => return wrong("binding", error),
        };
        let text = function.to_string();
        let function = match lane::verify(function) {
            Ok(function) => function,
            Err(errors) => return wrong(machine, format!("{}\n{text}", errors[0])),
        };
        match lane::parse(&text) {
            Ok(again) if again == *function => {}
            Ok(again) => return wrong("text form of lane IR", format!("{text}\nreads back as\n{again}")),
            Err(error) => return wrong("text form of lane IR", format!("{error}\n{text}")),
        }
        let memory: Vec<Vec<u8>> = tensors(&case.arguments)
            .map(|data| packed_layout(case, data, packing_of(case, data, target)))
            .collect();
        let tensor = |param: tvmc_ir::tile::Param| {
            let before = case.arguments[..param.index()].iter();
            before.filter(|a| matches!(a, Argument::Tensor(_))).count()
        };
        let lengths = scalars.iter().enumerate().filter_map(|(at, scalar)| match scalar {
            ScalarBinding::Elements { param, size } => Some((at, (tensor(*param), *size))),
            ScalarBinding::Dim(_) | ScalarBinding::Param(_) => None,
        });
        let lengths = lengths.collect();
        let scalars = scalars
            .iter()
            .map(|scalar| match scalar {
                ScalarBinding::Dim(dim) => binding.dims[dim.index()],
                ScalarBinding::Param(param) => match &case.arguments[param.index()] {
                    Argument::Scalar(_, bits) => u64::from(*bits),
                    Argument::Tensor(_) => 0,
                },
                ScalarBinding::Elements { param, size } => {
                    memory[tensor(*param)].len() as u64 / u64::from(*size)
                }
            })
            .collect();
        let written = tensors(&case.arguments).map(|data| data.written).collect();
        Ok(Self { function, scalars, memory, written, grid: binding.grid, lengths })
    }

    /// The same with memory of a tensor cut off, and the lengths that the code is told.
    pub fn shortened(mut self, tensor: usize, bytes: usize) -> Self {
        let before = self.memory[tensor].len();
        self.memory[tensor].truncate(bytes);
        for (at, scalar) in self.lengths.iter() {
            if scalar.0 == tensor {
                self.scalars[*at] = bytes as u64 / u64::from(scalar.1);
            }
        }
        debug_assert!(bytes < before, "shorter than {before}");
        self
    }

    pub fn on_lanes(&self, order: lane_interp::LaneOrder, name: &str) -> Result<Left, Disagreement> {
        let mut memory = self.memory.clone();
        match self.run_in(&mut memory, order, FUEL) {
            Ok(lane_interp::Outcome { failure: Some(failure), .. }) => {
                let message = &self.function.messages[failure.message as usize];
                wrong(name, format!("block {:?} fails `{}`\n{}", failure.block, message.text, *self.function))
            }
            Ok(outcome) => {
                Ok(Left { memory, log: Some(outcome.log.into_iter().map(|entry| entry.text).collect()) })
            }
            Err(trap) => wrong(name, format!("{trap}\n{}", *self.function)),
        }
    }

    /// In the lane interpreter, memory aside.
    pub fn run_on_lanes(
        &self,
        order: lane_interp::LaneOrder,
        fuel: u64,
    ) -> Result<lane_interp::Outcome, Box<lane_interp::Trap>> {
        self.run_in(&mut self.memory.clone(), order, fuel)
    }

    /// What the lane interpreter leaves; of a failed assert nothing is said.
    pub fn left(&self, order: lane_interp::LaneOrder, fuel: u64) -> Result<Left, Box<lane_interp::Trap>> {
        let mut memory = self.memory.clone();
        let outcome = self.run_in(&mut memory, order, fuel)?;
        Ok(Left { memory, log: Some(outcome.log.into_iter().map(|entry| entry.text).collect()) })
    }

    fn run_in(
        &self,
        memory: &mut [Vec<u8>],
        order: lane_interp::LaneOrder,
        fuel: u64,
    ) -> Result<lane_interp::Outcome, Box<lane_interp::Trap>> {
        let buffers = memory
            .iter_mut()
            .zip(&self.written)
            .map(|(bytes, written)| {
                if *written {
                    lane_interp::Argument::Write(bytes)
                } else {
                    lane_interp::Argument::Read(bytes)
                }
            })
            .collect();
        let mut launch = lane_interp::Launch::new(self.grid, buffers, &self.scalars);
        launch.order = order;
        launch.fuel = fuel;
        lane_interp::run(&self.function, launch)
    }

    /// The arguments after a run at either guard page.
    /// None where the code is too large for the backend, or multiplies matrices that lanes hold together.
    pub fn on_cpu(
        &self,
        pool: &Pool,
        target: CpuTarget,
        name: &str,
    ) -> Result<Option<[Left; 2]>, Disagreement> {
        let kernel = match CompiledKernel::compile(&self.function, target) {
            Ok(kernel) => kernel,
            Err(CompileError::Cranelift(CraneliftError::TooLarge(_) | CraneliftError::Fragments)) => {
                return Ok(None);
            }
            Err(error) => return wrong(name, error),
        };
        let [start, end] = Placement::ALL.map(|placement| {
            let (buffers, report) = self.guarded(pool, &kernel, placement, name)?;
            let report = match report {
                Ok(report) => report,
                Err(error) => return wrong(name, error),
            };
            let log = report.printed.into_iter().map(|printed| printed.text).collect();
            let memory = buffers.iter().map(|buffer| buffer.content().to_vec()).collect();
            Ok(Left { memory, log: (report.prints_lost == 0).then_some(log) })
        });
        Ok(Some([start?, end?]))
    }

    /// Compiles for a CPU and launches at one kind of guard page; gives what the launch said.
    pub fn launched(
        &self,
        pool: &Pool,
        target: CpuTarget,
        placement: Placement,
        name: &str,
    ) -> Result<Result<LaunchReport, LaunchError>, Disagreement> {
        match CompiledKernel::compile(&self.function, target) {
            Ok(kernel) => self.guarded(pool, &kernel, placement, name).map(|(_, report)| report),
            Err(error) => wrong(name, error),
        }
    }

    /// The arguments after a launch, and what it said.
    pub fn guarded(
        &self,
        pool: &Pool,
        kernel: &CompiledKernel,
        placement: Placement,
        name: &str,
    ) -> Result<(Vec<Guarded>, Result<LaunchReport, LaunchError>), Disagreement> {
        let buffers: Vec<Guarded> = self
            .memory
            .iter()
            .zip(&self.written)
            .map(|(bytes, written)| {
                let memory = Guarded::with(bytes, placement);
                if *written { memory } else { memory.read_only() }
            })
            .collect();
        let mut launch = Prepared::new(kernel);
        launch.set_grid(self.grid);
        let buffers_set = buffers
            .iter()
            .enumerate()
            .try_for_each(|(at, buffer)| launch.set_buffer(at, RawBuffer { start: buffer.start() }));
        let scalars_set =
            self.scalars.iter().enumerate().try_for_each(|(at, bits)| launch.set_scalar(at, *bits));
        // SAFETY: either the lane interpreter has just run the same code on the same arguments without a trap, so it stays inside them, or the code checks its accesses itself;
        // should neither hold, a guard page ends the process.
        let report = buffers_set.and(scalars_set).and_then(|()| unsafe { pool.launch_prepared(&launch) });
        if let Some(at) = buffers.iter().position(|buffer| !buffer.filling_is_untouched()) {
            return wrong(name, format!("writes behind the end of b{at}\n{}", *self.function));
        }
        Ok((buffers, report))
    }

    /// What the device leaves, or what it has too little of.
    pub fn on_gpu(&self, device: &GpuDevice) -> Result<Result<Left, Skipped>, Disagreement> {
        let run = || -> Result<Left, GpuError> {
            let kernel = device.compile(&self.function)?;
            let buffers =
                self.memory.iter().map(|bytes| device.buffer_with(bytes)).collect::<Result<Vec<_>, _>>()?;
            let views: Vec<_> = buffers.iter().map(|b| b.all()).collect();
            let mut commands = device.commands();
            commands.dispatch(&kernel, self.grid, &views, &self.scalars)?;
            let mut log = Some(Vec::new());
            for launch in commands.submit()?.wait()? {
                if let Some(message) = launch.failure {
                    let message = self.function.messages.get(message as usize).cloned().unwrap_or_default();
                    log = Some(vec![format!("{}: fails `{}`", message.location, message.text)]);
                    break;
                }
                let lines = launch.log.into_iter().map(|entry| entry.text);
                log = if launch.dropped == 0 {
                    log.map(|log| log.into_iter().chain(lines).collect())
                } else {
                    None
                };
            }
            let mut memory = self.memory.clone();
            for ((bytes, buffer), written) in memory.iter_mut().zip(&buffers).zip(&self.written) {
                if *written {
                    device.download(buffer, 0, bytes)?;
                }
            }
            Ok(Left { memory, log })
        };
        match run() {
            Ok(left) => Ok(Ok(left)),
            Err(GpuError::Compile { error, .. }) if limit(&error).is_some() => Ok(Err(Skipped {
                machine: "wgsl",
                limit: limit(&error).unwrap_or_default(),
                why: error.to_string(),
            })),
            Err(error) => wrong("wgsl", error),
        }
    }

    /// Compares what a machine left in memory.
    pub fn judge(&self, case: &Case, machine: &str, expected: &Left, got: &Left) -> Result<(), Disagreement> {
        same_lines(machine, expected, got)?;
        for ((data, want), got) in tensors(&case.arguments).zip(&expected.memory).zip(&got.memory) {
            if !data.written {
                continue;
            }
            let place = format!("{} (shape {:?})", tensor_name(case, data), data.shape);
            let declared;
            let got = if data.packed {
                declared = packed_as_declared(case, data, got);
                &declared
            } else {
                got
            };
            let (dtype, count) = match data.element {
                Element::DType(dtype) => (dtype, data.shape.iter().product()),
                // Groups: byte for byte.
                Element::Format(_) => (DType::U8, data.bytes.len() as u64),
            };
            if let Err(error) = compare(machine, &place, dtype, count as usize, want, got, 0) {
                return wrong(machine, format!("{}\n{}", error.what, *self.function));
            }
        }
        Ok(())
    }
}

/// Of what a device has too little; nothing where the error is a mistake of ours.
fn limit(error: &WgslError) -> Option<&'static str> {
    match error {
        WgslError::Lanes { .. } => Some("lanes"),
        WgslError::WorkgroupMemory { .. } => Some("workgroup memory"),
        WgslError::Bindings { .. } => Some("bindings"),
        WgslError::Tables { .. } => Some("tables"),
        WgslError::Arguments { .. } => Some("arguments"),
        WgslError::Nesting => Some("nesting"),
        WgslError::Fragments { .. } => Some("cooperative matrices"),
        WgslError::Invalid(_) => None,
    }
}

fn tensor_name(case: &Case, data: &Data) -> String {
    let at = case.arguments.iter().position(|a| matches!(a, Argument::Tensor(d) if std::ptr::eq(d, data)));
    at.map_or_else(String::new, |at| format!("p{at}"))
}
