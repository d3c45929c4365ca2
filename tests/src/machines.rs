//! Runs a generated kernel on every machine and compares memory with what the tile interpreter leaves there.
//!
//! | machine | what it judges |
//! |---|---|
//! | lane interpreter, for every target row, lanes in order and permuted | the passes; missing barriers |
//! | Cranelift, x86 at each level of this host | the backends |
//! | WGSL, if there is an adapter | the backend; only kernels that keep to exactly rounded operations |
//!
//! Every byte of every argument must agree, except that in a tensor of floats any NaN equals any other (and on WGSL, -0 equals 0). The lane interpreter runs first:
//! code that it ran without a trap touches no memory outside its arguments. That compiled code does not either is judged by guard pages: each argument lies once right
//! behind one and once right before one, inputs cannot be written, and what fills an argument up to 64 bytes must be as it was.

use crate::generate::{Argument, Case, Data};
use std::fmt;
use tvmc_backend_wgsl::Error as WgslError;
use tvmc_cpu::{CompiledKernel, Pool, Prepared, RawBuffer, Target as CpuTarget};
use tvmc_gpu::{GpuDevice, GpuError};
use tvmc_guarded::{Guarded, Placement};
use tvmc_interp::lane as lane_interp;
use tvmc_ir::lane::{self, Verified};
use tvmc_ir::tile::launch::{Binding, bind};
use tvmc_ir::tile::{Element, parse, verify};
use tvmc_passes::packing::{Packing, ROWS, pack_matrix, packed_matrix_bytes, unit_bytes, unpack_matrix};
use tvmc_passes::planes::{self, Planes};
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

    /// Runs a kernel everywhere and gives the names of the machines that ran it, the tile interpreter first; `gpu` says whether the GPU takes part.
    pub fn check(&self, case: &Case, gpu: bool) -> Result<Vec<&'static str>, Disagreement> {
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
        let expected = reference(case)?;
        let mut ran = vec!["tile interpreter", "lane interpreter"];
        for target in TARGETS {
            let program = Program::new(case, &binding, &target)?;
            for order in [lane_interp::LaneOrder::Ascending, lane_interp::LaneOrder::Permuted(11)] {
                let name = format!("lane interpreter for {}, {order:?}", target.name);
                let got = program.on_lanes(order, &name)?;
                program.judge(case, &name, &expected, &got)?;
            }
            for (row, name, cpu) in &self.cpu {
                if *row == target {
                    for got in program.on_cpu(&self.pool, *cpu, name)? {
                        program.judge(case, name, &expected, &got)?;
                    }
                    ran.push(name);
                }
            }
            if let (true, true, Some(device)) = (gpu && case.portable, target == WGSL, &self.gpu) {
                // What is too large for this device runs elsewhere.
                if let Some(got) = program.on_gpu(device)? {
                    program.judge(case, "wgsl", &expected, &got)?;
                    ran.push("wgsl");
                }
            }
        }
        Ok(ran)
    }

    /// Runs a lane function everywhere and gives what the interpreter leaves in memory; `gpu` says whether the GPU takes part.
    pub fn check_lanes(
        &self,
        function: &Verified,
        grid: [u32; 3],
        scalars: &[u64],
        buffers: &[LaneBuffer],
        gpu: Option<u64>,
    ) -> Result<Vec<Vec<u8>>, Disagreement> {
        let program = Program {
            function: function.clone(),
            scalars: scalars.to_vec(),
            memory: buffers.iter().map(|buffer| buffer.bytes.clone()).collect(),
            written: buffers.iter().map(|buffer| buffer.written).collect(),
            grid,
        };
        let expected = program.on_lanes(lane_interp::LaneOrder::Ascending, "lane interpreter")?;
        let judge = |machine: &str, got: &[Vec<u8>], ulps: u64| -> Result<(), Disagreement> {
            for (at, buffer) in buffers.iter().enumerate() {
                let place = format!("b{at}");
                compare(machine, &place, buffer.dtype, buffer.count, &expected[at], &got[at], ulps)?;
            }
            Ok(())
        };
        let name = "lane interpreter, lanes permuted";
        judge(name, &program.on_lanes(lane_interp::LaneOrder::Permuted(11), name)?, 0)?;
        for (_, name, cpu) in &self.cpu {
            for got in program.on_cpu(&self.pool, *cpu, name)? {
                judge(name, &got, 0)?;
            }
        }
        if let (Some(ulps), Some(device)) = (gpu, &self.gpu)
            && let Some(got) = program.on_gpu(device)?
        {
            judge("wgsl", &got, ulps)?;
        }
        Ok(expected)
    }
}

/// Lowers a case for any row of a target table, also one that no machine has, and compares the lane interpreter with the tile interpreter. Gives what the
/// lanes leave in memory.
pub fn on_row(case: &Case, target: &Target) -> Result<Vec<Vec<u8>>, Disagreement> {
    let binding = match bind(&case.kernel, &case.shapes()) {
        Ok(binding) => binding,
        Err(error) => return wrong("binding", error),
    };
    let expected = reference(case)?;
    let program = Program::new(case, &binding, target)?;
    let mut left = Vec::new();
    for order in [lane_interp::LaneOrder::Ascending, lane_interp::LaneOrder::Permuted(11)] {
        let name = format!("lane interpreter for {}, {order:?}", target.name);
        left = program.on_lanes(order, &name)?;
        program.judge(case, &name, &expected, &left)?;
    }
    Ok(left)
}

/// A buffer of a lane function.
#[derive(Clone, PartialEq, Debug)]
pub struct LaneBuffer {
    /// What its elements are compared as.
    pub dtype: DType,
    /// How many there are.
    pub count: usize,
    /// Before the launch; a multiple of 4 bytes.
    pub bytes: Vec<u8>,
    /// Whether the kernel may write it.
    pub written: bool,
}

/// The tensor arguments after a run of the tile interpreter.
fn reference(case: &Case) -> Result<Vec<Vec<u8>>, Disagreement> {
    match case.interpret(FUEL) {
        Ok(Ok(outcome)) => Ok(tensors(&outcome.arguments).map(|data| data.bytes.clone()).collect()),
        Ok(Err(trap)) => wrong("tile interpreter", trap),
        Err(error) => wrong("binding", error),
    }
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
    /// Which of these the kernel may write.
    written: Vec<bool>,
    grid: [u32; 3],
}

impl Program {
    fn new(case: &Case, binding: &Binding, target: &Target) -> Result<Self, Disagreement> {
        let machine = format!("lowering for {}", target.name);
        let packing = case
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Tensor(data) => packing_of(case, data, target),
                Argument::Scalar(..) => Packing::AsDeclared,
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
        let memory =
            tensors(&case.arguments).map(|data| layout(case, data, packing_of(case, data, target))).collect();
        let written = tensors(&case.arguments).map(|data| data.written).collect();
        Ok(Self { function, scalars, memory, written, grid: binding.grid })
    }

    fn on_lanes(&self, order: lane_interp::LaneOrder, name: &str) -> Result<Vec<Vec<u8>>, Disagreement> {
        let mut memory = self.memory.clone();
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
        launch.fuel = FUEL;
        match lane_interp::run(&self.function, launch) {
            Ok(_) => Ok(memory),
            Err(trap) => wrong(name, format!("{trap}\n{}", *self.function)),
        }
    }

    /// The arguments after a run at either guard page.
    fn on_cpu(&self, pool: &Pool, target: CpuTarget, name: &str) -> Result<[Vec<Vec<u8>>; 2], Disagreement> {
        let kernel = match CompiledKernel::compile(&self.function, target) {
            Ok(kernel) => kernel,
            Err(error) => return wrong(name, error),
        };
        let [start, end] = Placement::ALL.map(|placement| self.guarded(pool, &kernel, placement, name));
        Ok([start?, end?])
    }

    fn guarded(
        &self,
        pool: &Pool,
        kernel: &CompiledKernel,
        placement: Placement,
        name: &str,
    ) -> Result<Vec<Vec<u8>>, Disagreement> {
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
        // SAFETY: the lane interpreter has just run the same code on the same arguments without a trap, so it stays inside them.
        let report = buffers_set.and(scalars_set).and_then(|()| unsafe { pool.launch_prepared(&launch) });
        if let Err(error) = report {
            return wrong(name, error);
        }
        if let Some(at) = buffers.iter().position(|buffer| !buffer.filling_is_untouched()) {
            return wrong(name, format!("writes behind the end of b{at}\n{}", *self.function));
        }
        Ok(buffers.iter().map(|buffer| buffer.content().to_vec()).collect())
    }

    fn on_gpu(&self, device: &GpuDevice) -> Result<Option<Vec<Vec<u8>>>, Disagreement> {
        let run = || -> Result<Vec<Vec<u8>>, GpuError> {
            let kernel = device.compile(&self.function)?;
            let buffers =
                self.memory.iter().map(|bytes| device.buffer_with(bytes)).collect::<Result<Vec<_>, _>>()?;
            let views: Vec<_> = buffers.iter().map(|b| b.all()).collect();
            let mut commands = device.commands();
            commands.dispatch(&kernel, self.grid, &views, &self.scalars)?;
            commands.submit()?.wait()?;
            let mut memory = self.memory.clone();
            for ((bytes, buffer), written) in memory.iter_mut().zip(&buffers).zip(&self.written) {
                if *written {
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
            if !data.written {
                continue;
            }
            let place = format!("{} (shape {:?})", tensor_name(case, data), data.shape);
            let declared;
            let got = if data.packed {
                declared = as_declared(case, data, got);
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

/// Compares elements; any NaN equals any other.
fn compare(
    machine: &str,
    place: &str,
    dtype: DType,
    count: usize,
    want: &[u8],
    got: &[u8],
    ulps: u64,
) -> Result<(), Disagreement> {
    for at in 0..count {
        let (w, g) = (get_bits(want, at, dtype.bits()), get_bits(got, at, dtype.bits()));
        let nan = |code| dtype.is_float() && dtype.decode(code).is_nan();
        // WGSL may ignore the sign of zero.
        let zeros = machine == "wgsl" && dtype.is_float() && dtype.decode(w) == dtype.decode(g);
        let nans = nan(w) && nan(g);
        let near =
            dtype.is_float() && !nan(w) && !nan(g) && ordered(dtype, w).abs_diff(ordered(dtype, g)) <= ulps;
        if w != g && !nans && !zeros && !near {
            let (found, must) = (dtype.format(g), dtype.format(w));
            return wrong(machine, format!("element {at} of {place} is {found}, must be {must}"));
        }
    }
    Ok(())
}

/// A float's place in the order of all floats of its type, zeros at 0: neighbours differ by 1.
fn ordered(dtype: DType, code: u64) -> i64 {
    let sign = 1u64 << (dtype.bits() - 1);
    if dtype.decode(code).is_sign_negative() { -((code & (sign - 1)) as i64) } else { code as i64 }
}

fn tensor_name(case: &Case, data: &Data) -> String {
    let at = case.arguments.iter().position(|a| matches!(a, Argument::Tensor(d) if std::ptr::eq(d, data)));
    at.map_or_else(String::new, |at| format!("p{at}"))
}

/// How a target takes a tensor: in planes what a GPU only reads; else with room for more rows, or not, by their number.
fn packing_of(case: &Case, data: &Data, target: &Target) -> Packing {
    if !data.packed {
        Packing::AsDeclared
    } else if target.name == WGSL.name && !data.written && planes_of(case, data).is_some() {
        Packing::Planar
    } else {
        unit_packing(data)
    }
}

fn planes_of(case: &Case, data: &Data) -> Option<Planes> {
    match data.element {
        Element::DType(dtype) => Planes::of_dtype(dtype.bits(), *data.shape.last()?),
        Element::Format(id) => {
            let format = &case.kernel.formats[id.index()];
            (format.row_head == 0 && format.tensor_head == 0).then(|| Planes::of_format(format))
        }
    }
}

/// How a packed tensor lies: in both ways, in turn.
fn unit_packing(data: &Data) -> Packing {
    let rows = data.shape.iter().rev().nth(1).copied().unwrap_or(1);
    if rows % 2 == 0 { Packing::Filled } else { Packing::Interleaved }
}

/// The matrices of a packed tensor: its last two axes.
struct Matrices {
    head: usize,
    rows: usize,
    /// Rows for which there is room.
    room: usize,
    row_bytes: usize,
    unit: usize,
}

fn matrices(case: &Case, data: &Data) -> Matrices {
    let (columns, outer) = data.shape.split_last().unwrap_or((&1, &[]));
    let all: u64 = outer.iter().product();
    let rows = outer.last().copied().unwrap_or(1) as usize;
    let room = match unit_packing(data) {
        Packing::Filled => rows.next_multiple_of(ROWS),
        Packing::Interleaved | Packing::Planar | Packing::AsDeclared => rows,
    };
    match data.element {
        Element::DType(dtype) => {
            let row_bytes = data.bytes.len() / all.max(1) as usize;
            Matrices { head: 0, rows, room, row_bytes, unit: unit_bytes((dtype.bits() / 8) as usize) }
        }
        Element::Format(id) => {
            let format = &case.kernel.formats[id.index()];
            let row_bytes = format.row_bytes(*columns).expect("a small row") as usize;
            Matrices {
                head: format.tensor_head as usize,
                rows,
                room,
                row_bytes,
                unit: format.unit() as usize,
            }
        }
    }
}

/// The bytes of a packed tensor as declared: the inverse of [`layout`].
fn as_declared(case: &Case, data: &Data, packed: &[u8]) -> Vec<u8> {
    let Matrices { head, rows, room, row_bytes, unit } = matrices(case, data);
    let mut bytes = data.bytes.clone();
    let size = packed_matrix_bytes(head, room, row_bytes).unwrap_or(0).max(1);
    let matrices = bytes.chunks_exact_mut((head + rows * row_bytes).max(1));
    for (matrix, packed) in matrices.zip(packed.chunks_exact(size)) {
        let mut whole = vec![0; head + room * row_bytes];
        unpack_matrix(packed, head, room, row_bytes, unit, &mut whole);
        matrix.copy_from_slice(&whole[..head + rows * row_bytes]);
    }
    bytes
}

/// The bytes as compiled code expects them: packed, and filled up to a multiple of 4.
fn layout(case: &Case, data: &Data, packing: Packing) -> Vec<u8> {
    let mut bytes = match (packing, planes_of(case, data)) {
        (Packing::AsDeclared, _) => data.bytes.clone(),
        (Packing::Planar, Some(planes)) => {
            let Matrices { rows, row_bytes, .. } = matrices(case, data);
            let mut packed = Vec::new();
            for matrix in data.bytes.chunks_exact((rows * row_bytes).max(1)) {
                let start = packed.len();
                packed.resize(start + planes::packed_bytes(rows, row_bytes).unwrap_or(0), 0);
                planes::pack(matrix, rows, row_bytes, &planes, &mut packed[start..]);
            }
            packed
        }
        (Packing::Planar | Packing::Interleaved | Packing::Filled, _) => {
            let Matrices { head, rows, room, row_bytes, unit } = matrices(case, data);
            let mut packed = Vec::new();
            for matrix in data.bytes.chunks_exact((head + rows * row_bytes).max(1)) {
                let start = packed.len();
                packed.resize(start + packed_matrix_bytes(head, room, row_bytes).unwrap_or(0), 0);
                let mut whole = matrix.to_vec();
                whole.resize(head + room * row_bytes, 0);
                pack_matrix(&whole, head, room, row_bytes, unit, &mut packed[start..]);
            }
            packed
        }
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An f32 of bytes, for tests that look at single elements.
pub fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(get_bits(bytes, at, DType::F32.bits()) as u32)
}
