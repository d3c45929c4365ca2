//! Runs a generated kernel on every machine and compares memory with what the tile interpreter leaves there.
//!
//! | machine | what it judges |
//! |---|---|
//! | lane interpreter, for every target row, lanes in order and permuted | the passes; missing barriers |
//! | Cranelift, x86 at each level of this host | the backends |
//! | WGSL, if there is an adapter | the backend; only kernels that keep to exactly rounded operations |
//!
//! Every byte of every argument must agree, except that in a tensor of floats any NaN equals any other (and on WGSL, -0 equals 0). The lane interpreter runs first:
//! code that it ran without a trap touches no memory outside its arguments.

use crate::generate::{Argument, Case, Data};
use std::fmt;
use tvmc_backend_wgsl::Error as WgslError;
use tvmc_cpu::{AlignedBuffer, BufferArg, CompiledKernel, Pool, Target as CpuTarget};
use tvmc_gpu::{GpuDevice, GpuError};
use tvmc_interp::{lane as lane_interp, tile as tile_interp};
use tvmc_ir::lane::{self, Verified};
use tvmc_ir::tile::launch::{Binding, bind};
use tvmc_ir::tile::{Element, parse, verify};
use tvmc_passes::packing::{Packing, pack, packed_bytes, unit_bytes};
use tvmc_passes::target::{CRANELIFT, TARGETS, Target, WGSL, X86_V3, X86_V4};
use tvmc_passes::{Lowered, Options, ScalarBinding, lower};
use tvmc_types::dtype::DType;
use tvmc_types::packing::get_bits;

/// Work that a generated kernel may need in an interpreter.
const FUEL: u64 = 1 << 32;

/// A machine that did not do what the tile interpreter does, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disagreement {
    /// The machine.
    pub machine: String,
    /// What it did.
    pub what: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.machine, self.what)
    }
}

fn wrong<T>(machine: &str, what: impl fmt::Display) -> Result<T, Disagreement> {
    Err(Disagreement { machine: machine.to_owned(), what: what.to_string() })
}

/// The machines of this host.
pub struct Machines {
    pool: Pool,
    cpu: Vec<(Target, &'static str, CpuTarget)>,
    gpu: Option<GpuDevice>,
}

impl Machines {
    /// All there are. A missing GPU is a named skip, but a panic where the variable `CI` is set.
    pub fn open() -> Self {
        let mut cpu = vec![(CRANELIFT, "cranelift", CpuTarget::Cranelift)];
        if let CpuTarget::X86(features) = CpuTarget::native() {
            if features.level == tvmc_backend_x86::Level::V4 {
                cpu.push((X86_V4, "x86-64-v4", CpuTarget::X86(features)));
            }
            cpu.push((X86_V3, "x86-64-v3", CpuTarget::X86(features.narrowed())));
        }
        let gpu = match GpuDevice::open(None) {
            Ok(device) => Some(device),
            Err(error) if std::env::var_os("CI").is_some() => panic!("{error}"),
            Err(error) => {
                eprintln!("skipped wgsl: {error}");
                None
            }
        };
        Self { pool: Pool::new(2), cpu, gpu }
    }

    /// Runs a kernel everywhere; `gpu` says whether the GPU takes part.
    pub fn check(&self, case: &Case, gpu: bool) -> Result<(), Disagreement> {
        if let Err(errors) = verify(case.kernel.clone()) {
            let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return wrong("verifier", list.join("\n"));
        }
        match parse(&case.kernel.to_string()) {
            Ok(again) if again == case.kernel => {}
            Ok(again) => return wrong("text form", format!("reads back as\n{again}")),
            Err(error) => return wrong("text form", error),
        }
        let binding = match bind(&case.kernel, &case.shapes()) {
            Ok(binding) => binding,
            Err(error) => return wrong("binding", error),
        };
        let expected = reference(case, &binding)?;
        for target in TARGETS {
            let program = Program::new(case, &binding, &target)?;
            for order in [lane_interp::LaneOrder::Ascending, lane_interp::LaneOrder::Permuted(11)] {
                let name = format!("lane interpreter for {}, {order:?}", target.name);
                let got = program.on_lanes(case, &binding, order, &name)?;
                program.judge(case, &name, &expected, &got)?;
            }
            for (row, name, cpu) in &self.cpu {
                if *row == target {
                    let got = program.on_cpu(&self.pool, *cpu, case, &binding, name)?;
                    program.judge(case, name, &expected, &got)?;
                }
            }
            if let (true, true, Some(device)) = (gpu && case.portable, target == WGSL, &self.gpu) {
                // What is too large for this device runs elsewhere.
                if let Some(got) = program.on_gpu(device, case, &binding)? {
                    program.judge(case, "wgsl", &expected, &got)?;
                }
            }
        }
        Ok(())
    }
}

/// The tensor arguments after a run of the tile interpreter.
fn reference(case: &Case, binding: &Binding) -> Result<Vec<Vec<u8>>, Disagreement> {
    let mut copies: Vec<Argument> = case.arguments.clone();
    let arguments = copies
        .iter_mut()
        .map(|argument| match argument {
            Argument::Tensor(data) => tile_interp::Argument::Tensor(&mut data.bytes, data.shape.clone()),
            Argument::Scalar(_, bits) => tile_interp::Argument::Scalar(*bits),
        })
        .collect();
    if let Err(trap) = tile_interp::run(&case.kernel, binding, arguments, FUEL) {
        return wrong("tile interpreter", trap);
    }
    Ok(tensors(&copies).map(|data| data.bytes.clone()).collect())
}

fn tensors(arguments: &[Argument]) -> impl Iterator<Item = &Data> {
    arguments.iter().filter_map(|argument| match argument {
        Argument::Tensor(data) => Some(data),
        Argument::Scalar(..) => None,
    })
}

/// A lowered kernel with its scalars and the memory it expects.
struct Program {
    function: Verified,
    scalars: Vec<u64>,
    memory: Vec<Vec<u8>>,
}

impl Program {
    fn new(case: &Case, binding: &Binding, target: &Target) -> Result<Self, Disagreement> {
        let machine = format!("lowering for {}", target.name);
        let packing = case
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Tensor(Data { packed: true, .. }) => Packing::Interleaved,
                Argument::Tensor(_) | Argument::Scalar(..) => Packing::AsDeclared,
            })
            .collect();
        let Lowered { function, scalars, .. } = match lower(&case.kernel, target, &Options { packing }) {
            Ok(lowered) => lowered,
            Err(error) => return wrong(&machine, error),
        };
        let text = function.to_string();
        let function = match lane::verify(function) {
            Ok(function) => function,
            Err(errors) => return wrong(&machine, format!("{}\n{text}", errors[0])),
        };
        let scalars = scalars
            .iter()
            .map(|scalar| match scalar {
                ScalarBinding::Dim(dim) => binding.dims[dim.index()],
                ScalarBinding::Param(param) => match &case.arguments[param.index()] {
                    Argument::Scalar(_, bits) => u64::from(*bits),
                    Argument::Tensor(_) => 0,
                },
            })
            .collect();
        let memory = tensors(&case.arguments).map(|data| layout(case, data)).collect();
        Ok(Self { function, scalars, memory })
    }

    fn on_lanes(
        &self,
        case: &Case,
        binding: &Binding,
        order: lane_interp::LaneOrder,
        name: &str,
    ) -> Result<Vec<Vec<u8>>, Disagreement> {
        let mut memory = self.memory.clone();
        let buffers = memory
            .iter_mut()
            .zip(tensors(&case.arguments))
            .map(|(bytes, data)| {
                if data.written {
                    lane_interp::Argument::Write(bytes)
                } else {
                    lane_interp::Argument::Read(bytes)
                }
            })
            .collect();
        let mut launch = lane_interp::Launch::new(binding.grid, buffers, &self.scalars);
        launch.order = order;
        launch.fuel = FUEL;
        match lane_interp::run(&self.function, launch) {
            Ok(_) => Ok(memory),
            Err(trap) => wrong(name, format!("{trap}\n{}", *self.function)),
        }
    }

    fn on_cpu(
        &self,
        pool: &Pool,
        target: CpuTarget,
        case: &Case,
        binding: &Binding,
        name: &str,
    ) -> Result<Vec<Vec<u8>>, Disagreement> {
        let kernel = match CompiledKernel::compile(&self.function, target) {
            Ok(kernel) => kernel,
            Err(error) => return wrong(name, error),
        };
        let mut buffers = Vec::new();
        for bytes in &self.memory {
            match AlignedBuffer::from_bytes(bytes) {
                Ok(buffer) => buffers.push(buffer),
                Err(error) => return wrong(name, error),
            }
        }
        let mut arguments: Vec<BufferArg<'_>> = buffers
            .iter_mut()
            .zip(tensors(&case.arguments))
            .map(|(buffer, data)| {
                if data.written {
                    BufferArg::Write(buffer.as_mut_slice())
                } else {
                    BufferArg::Read(buffer.as_slice())
                }
            })
            .collect();
        // SAFETY: the lane interpreter has just run the same code on the same arguments without a trap, so it stays inside them.
        let report = unsafe { pool.launch(&kernel, binding.grid, &mut arguments, &self.scalars) };
        drop(arguments);
        match report {
            Ok(_) => Ok(buffers.iter().map(|b| b.as_slice().to_vec()).collect()),
            Err(error) => wrong(name, error),
        }
    }

    fn on_gpu(
        &self,
        device: &GpuDevice,
        case: &Case,
        binding: &Binding,
    ) -> Result<Option<Vec<Vec<u8>>>, Disagreement> {
        let run = || -> Result<Vec<Vec<u8>>, GpuError> {
            let kernel = device.compile(&self.function)?;
            let buffers =
                self.memory.iter().map(|bytes| device.buffer_with(bytes)).collect::<Result<Vec<_>, _>>()?;
            let views: Vec<_> = buffers.iter().map(|b| b.all()).collect();
            let mut commands = device.commands();
            commands.dispatch(&kernel, binding.grid, &views, &self.scalars)?;
            commands.submit()?.wait()?;
            let mut memory = self.memory.clone();
            for ((bytes, buffer), data) in memory.iter_mut().zip(&buffers).zip(tensors(&case.arguments)) {
                if data.written {
                    device.download(buffer, 0, bytes)?;
                }
            }
            Ok(memory)
        };
        match run() {
            Ok(memory) => Ok(Some(memory)),
            Err(GpuError::Compile { error, .. }) if !matches!(error, WgslError::Invalid(_)) => Ok(None),
            Err(error) => wrong("wgsl", error),
        }
    }

    /// Compares what a machine left in memory.
    fn judge(
        &self,
        case: &Case,
        machine: &str,
        expected: &[Vec<u8>],
        got: &[Vec<u8>],
    ) -> Result<(), Disagreement> {
        for ((data, want), got) in tensors(&case.arguments).zip(expected).zip(got) {
            let Element::DType(dtype) = data.element else { continue };
            if !data.written {
                continue;
            }
            let count: u64 = data.shape.iter().product();
            for at in 0..count as usize {
                let (w, g) = (get_bits(want, at, dtype.bits()), get_bits(got, at, dtype.bits()));
                let nan = |code| dtype.is_float() && dtype.decode(code).is_nan();
                // WGSL may ignore the sign of zero.
                let zeros = machine == "wgsl" && dtype.is_float() && dtype.decode(w) == dtype.decode(g);
                if w != g && !(nan(w) && nan(g)) && !zeros {
                    let place = tensor_name(case, data);
                    let what = format!(
                        "element {at} of {place} (shape {:?}) is {}, must be {}",
                        data.shape,
                        dtype.format(g),
                        dtype.format(w)
                    );
                    return wrong(machine, format!("{what}\n{}", *self.function));
                }
            }
        }
        Ok(())
    }
}

fn tensor_name(case: &Case, data: &Data) -> String {
    let at = case.arguments.iter().position(|a| matches!(a, Argument::Tensor(d) if std::ptr::eq(d, data)));
    at.map_or_else(String::new, |at| format!("p{at}"))
}

/// The bytes as compiled code expects them: packed, and filled up to a multiple of 4.
fn layout(case: &Case, data: &Data) -> Vec<u8> {
    let mut bytes = if data.packed {
        let group = match data.element {
            Element::DType(dtype) => (dtype.bits() / 8) as usize,
            Element::Format(id) => case.kernel.formats[id.index()].bytes as usize,
        };
        let rows = data.shape[0] as usize;
        let row_bytes = data.bytes.len() / rows;
        let mut packed = vec![0; packed_bytes(rows, row_bytes).unwrap_or(0)];
        pack(&data.bytes, rows, row_bytes, unit_bytes(group), &mut packed);
        packed
    } else {
        data.bytes.clone()
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An f32 of bytes, for tests that look at single elements.
pub fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(get_bits(bytes, at, DType::F32.bits()) as u32)
}
