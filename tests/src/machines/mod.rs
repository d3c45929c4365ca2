//! Runs a generated kernel on every machine and compares memory with what the tile interpreter leaves there.
//!
//! | machine | what it judges |
//! |---|---|
//! | lane interpreter, for every target row, lanes in order and permuted | the passes; missing barriers |
//! | Cranelift, x86 at each level of this host | the backends |
//! | WGSL, if there is an adapter | the backend; only kernels that keep to exactly rounded operations |
//! | a target row that nobody has, drawn, and each step of the lowering ([`Machines::check_steps`]) | the passes one by one |
//! | code that checks its accesses ([`Machines::check_bounds`]) | `--bounds checked` |
//! | lane functions that nobody lowered ([`Machines::check_any_lanes`]) | the backends, beyond what lowering makes |
//!
//! Every byte of every argument must agree, except that in a tensor of floats any NaN equals any other (and on WGSL, -0 equals 0); so must what is printed, line by
//! line. A kernel that asks more of a device than it has does not run there: [`Ran`] names each such machine with the limit, so that nothing is left out in silence.
//! The text forms of tile, lane and machine IR are read back, and CLIF by its own reader; machine IR, of one function in four, must also verify, before and after register allocation. The lane interpreter runs first:
//! code that it ran without a trap touches no memory outside its arguments. That compiled code does not either is judged by guard pages: each argument lies once right
//! behind one and once right before one, inputs cannot be written, and what fills an argument up to 64 bytes must be as it was.

mod bounds;
mod compare;
mod lanes;
mod program;

pub use bounds::Caught;
pub use compare::f32_at;
pub use lanes::Fate;

use crate::clif::{self, Isa};
use crate::generate::{Argument, Case, Data};
use crate::machine_ir;
use crate::random::Random;
use compare::compare;
use program::Program;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use tvmc_cpu::{Pool, Target as CpuTarget};
use tvmc_gpu::GpuDevice;
use tvmc_interp::lane::LaneOrder;
use tvmc_ir::lane::Verified;
use tvmc_ir::tile::{parse, verify};
use tvmc_passes::target::{
    Ahead, Blocking, CRANELIFT, DotStep, Loads, Scratch, TARGETS, Target, WGSL, X86_V3, X86_V4,
};
use tvmc_passes::{Bounds, steps};
use tvmc_types::dtype::DType;

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

/// A machine that a kernel asks too much of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// The machine.
    pub machine: &'static str,
    /// Of what it has too little, in one word or two.
    pub limit: &'static str,
    /// In a sentence, with numbers.
    pub why: String,
}

/// Where a kernel ran, and where it could not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    /// The names of the machines, the tile interpreter first.
    pub machines: Vec<&'static str>,
    /// Those that have too little of something. What was not asked for, or is not there, is in neither list.
    pub skipped: Vec<Skipped>,
}

/// What a machine leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Left {
    /// Of each tensor argument.
    memory: Vec<Vec<u8>>,
    /// What was printed, blocks in order; none where the machine has no room for all of it.
    log: Option<Vec<String>>,
}

/// Lane values above which code is *large*: register allocation takes time with more than their number, and a kernel of 15,000 as long as five hundred small ones.
const LARGE: usize = 12_000;

/// Of so many functions, the machine IR of one is judged, which takes as long as compiling it twice.
const JUDGED: u64 = 4;

/// The machines of this host.
pub struct Machines {
    /// Of how many pieces of large code one goes to a code generator, and how many there were.
    large: (u64, AtomicU64),
    /// How often machine IR could have been judged.
    judged: AtomicU64,
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
        Self { large: (1, AtomicU64::new(0)), judged: AtomicU64::new(0), pool: Pool::new(2), cpu, gpu }
    }

    /// As [`Self::open`], but of large code only one piece in so many is compiled for a CPU; the others are named in [`Ran::skipped`]. For fuzzers, which find more in small kernels.
    pub fn sampling(one_in: u64) -> Self {
        Self { large: (one_in, AtomicU64::new(0)), ..Self::open() }
    }

    /// Whether a CPU's code generator gets this code.
    fn takes(&self, program: &Program) -> bool {
        let (one_in, count) = &self.large;
        program.function.values.len() <= LARGE
            || count.fetch_add(1, Ordering::Relaxed).is_multiple_of(*one_in)
    }

    /// Runs a kernel everywhere; `gpu` says whether the GPU takes part.
    pub fn check(&self, case: &Case, gpu: bool) -> Result<Ran, Disagreement> {
        if let Err(errors) = verify(case.kernel.clone()) {
            let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return wrong("verifier", list.join("\n"));
        }
        match parse(&case.kernel.to_string()) {
            Ok(again) if again == case.kernel => {}
            Ok(again) => return wrong("text form", format!("reads back as\n{again}")),
            Err(error) => return wrong("text form", error),
        }
        let expected = reference(case)?;
        let mut ran = Ran { machines: vec!["tile interpreter", "lane interpreter"], skipped: Vec::new() };
        for target in TARGETS {
            let program = Program::new(case, &target, Bounds::Proved)?;
            self.on_lanes(case, &program, &expected, target.name)?;
            for (row, name, cpu) in &self.cpu {
                if *row == target && !self.takes(&program) {
                    let count = program.function.values.len();
                    ran.skipped.push(Skipped {
                        machine: name,
                        limit: "a sample of large code",
                        why: format!("{count} lane values: one in {} is taken", self.large.0),
                    });
                } else if *row == target {
                    match program.on_cpu(&self.pool, *cpu, name)? {
                        Some(both) => {
                            if *cpu == CpuTarget::Cranelift
                                && let Err(what) = clif::text(&program.function, Isa::X86)
                            {
                                return wrong("CLIF", what);
                            }
                            if let CpuTarget::X86(features) = cpu
                                && self.judged.fetch_add(1, Ordering::Relaxed).is_multiple_of(JUDGED)
                                && let Err(what) = machine_ir::judge(&program.function, features)
                            {
                                return wrong("machine IR", what);
                            }
                            for got in both {
                                program.judge(case, name, &expected, &got)?;
                            }
                            ran.machines.push(name);
                        }
                        None => ran.skipped.push(Skipped {
                            machine: name,
                            limit: "instructions of the portable backend",
                            why: format!("{} lane values", program.function.values.len()),
                        }),
                    }
                }
            }
            if let (true, true, Some(device)) = (gpu && case.portable, target == WGSL, &self.gpu) {
                match program.on_gpu(device)? {
                    Ok(got) => {
                        program.judge(case, "wgsl", &expected, &got)?;
                        ran.machines.push("wgsl");
                    }
                    Err(skipped) => ran.skipped.push(skipped),
                }
            }
        }
        Ok(ran)
    }

    /// Runs a kernel on each of the CPU's targets, whose order of summation is that of the tile interpreter also where sums round.
    pub fn check_cpus(&self, case: &Case) -> Result<(), Disagreement> {
        let expected = reference(case)?;
        for (target, name, cpu) in &self.cpu {
            let program = Program::new(case, target, Bounds::Proved)?;
            self.on_lanes(case, &program, &expected, target.name)?;
            for got in program.on_cpu(&self.pool, *cpu, name)?.into_iter().flatten() {
                program.judge(case, name, &expected, &got)?;
            }
        }
        Ok(())
    }

    /// In both orders of lanes.
    fn on_lanes(
        &self,
        case: &Case,
        program: &Program,
        expected: &Left,
        target: &str,
    ) -> Result<(), Disagreement> {
        for order in [LaneOrder::Ascending, LaneOrder::Permuted(11)] {
            let name = format!("lane interpreter for {target}, {order:?}");
            let got = program.on_lanes(order, &name)?;
            program.judge(case, &name, expected, &got)?;
        }
        Ok(())
    }

    /// Lowers a kernel for a target row that is drawn, and judges the code after each step: what one step alone breaks is seen as its own. The code runs in
    /// the lane interpreter, what the last step leaves on Cranelift as well.
    pub fn check_steps(&self, case: &Case, seed: u64) -> Result<(), Disagreement> {
        let expected = reference(case)?;
        let target = drawn(&mut Random::new(seed));
        let what = format!("lowering for {target:?}");
        let all = match steps(&case.kernel, &target, &Program::options(case, &target, Bounds::Proved)) {
            Ok(all) => all,
            Err(error) => return wrong(&what, error),
        };
        let mut last = None;
        for (step, lowered) in all {
            let name = format!("{step}, {what}");
            let program = Program::of(case, &target, lowered, &name)?;
            let got = program.on_lanes(LaneOrder::Permuted(seed), &name)?;
            program.judge(case, &name, &expected, &got)?;
            last = Some((name, program));
        }
        let Some((name, program)) = last else { return wrong(&what, "no step") };
        if self.takes(&program) {
            for got in program.on_cpu(&self.pool, CpuTarget::Cranelift, &name)?.into_iter().flatten() {
                program.judge(case, &format!("cranelift after {name}"), &expected, &got)?;
            }
        }
        Ok(())
    }

    /// Runs a lane function everywhere and gives what the interpreter leaves in memory, and where it ran; `gpu` says by how many units in the last place the
    /// GPU may differ, or that it takes no part.
    pub fn check_lanes(
        &self,
        function: &Verified,
        grid: [u32; 3],
        scalars: &[u64],
        buffers: &[LaneBuffer],
        gpu: Option<u64>,
    ) -> Result<(Vec<Vec<u8>>, Ran), Disagreement> {
        let program = Program {
            function: function.clone(),
            scalars: scalars.to_vec(),
            memory: buffers.iter().map(|buffer| buffer.bytes.clone()).collect(),
            written: buffers.iter().map(|buffer| buffer.written).collect(),
            grid,
            lengths: Vec::new(),
        };
        let expected = program.on_lanes(LaneOrder::Ascending, "lane interpreter")?;
        let judge = |machine: &str, got: &Left, ulps: u64| -> Result<(), Disagreement> {
            for (at, buffer) in buffers.iter().enumerate() {
                let place = format!("b{at}");
                let (want, got) = (&expected.memory[at], &got.memory[at]);
                compare(machine, &place, buffer.dtype, buffer.count, want, got, ulps)?;
            }
            same_lines(machine, &expected, got)
        };
        let name = "lane interpreter, lanes permuted";
        judge(name, &program.on_lanes(LaneOrder::Permuted(11), name)?, 0)?;
        let mut ran = Ran { machines: vec!["lane interpreter"], skipped: Vec::new() };
        for (_, name, cpu) in &self.cpu {
            for got in program.on_cpu(&self.pool, *cpu, name)?.into_iter().flatten() {
                judge(name, &got, 0)?;
            }
            ran.machines.push(name);
        }
        if let (Some(ulps), Some(device)) = (gpu, &self.gpu) {
            match program.on_gpu(device)? {
                Ok(got) => {
                    judge("wgsl", &got, ulps)?;
                    ran.machines.push("wgsl");
                }
                Err(skipped) => ran.skipped.push(skipped),
            }
        }
        Ok((expected.memory, ran))
    }
}

/// Lowers a case for any row of a target table, also one that no machine has, and compares the lane interpreter with the tile interpreter. Gives what the
/// lanes leave in memory.
pub fn on_row(case: &Case, target: &Target) -> Result<Vec<Vec<u8>>, Disagreement> {
    let expected = reference(case)?;
    let program = Program::new(case, target, Bounds::Proved)?;
    let mut left = Vec::new();
    for order in [LaneOrder::Ascending, LaneOrder::Permuted(11)] {
        let name = format!("lane interpreter for {}, {order:?}", target.name);
        let got = program.on_lanes(order, &name)?;
        program.judge(case, &name, &expected, &got)?;
        left = got.memory;
    }
    Ok(left)
}

/// Fails unless the same lines were printed.
fn same_lines(machine: &str, expected: &Left, got: &Left) -> Result<(), Disagreement> {
    match (&expected.log, &got.log) {
        (Some(want), Some(found)) if want != found => {
            wrong(machine, format!("prints {found:#?}, must print {want:#?}"))
        }
        (Some(_) | None, _) => Ok(()),
    }
}

/// A row that no machine has: any of the choices that rows differ in.
fn drawn(random: &mut Random) -> Target {
    Target {
        name: "drawn",
        lanes: *random.pick(&[4, 8, 16, 32, 64, 2, 1]),
        accumulators: *random.pick(&[1, 2, 6, 24, 32]),
        tile_registers: *random.pick(&[1, 2, 4, 8, 32]),
        unroll: *random.pick(&[1, 2, 32, 64]),
        turn: *random.pick(&[1, 4, 16]),
        k_unroll: *random.pick(&[1, 4, 512]),
        turn_depth: *random.pick(&[0, 8, 128]),
        chains: *random.pick(&[1, 2, 4]),
        dot_step: *random.pick(&[DotStep::Fused, DotStep::Separate]),
        integer_dot: random.below(2) == 0,
        integer_rows: *random.pick(&[1, 4, 8]),
        blocking: *random.pick(&[
            None,
            Some(Blocking { least: 2, rows: 3, chunks: 2 }),
            Some(Blocking { least: 8, rows: 8, chunks: 1 }),
        ]),
        spread: *random.pick(&[1, 2, 32]),
        spread_lanes: *random.pick(&[16, 64, 128]),
        wide_lanes: *random.pick(&[1, 32, 64]),
        spare_scratch: *random.pick(&[0, 16 << 10, 1 << 24]),
        halves: *random.pick(&[0, 256, 1024]),
        ahead: *random.pick(&[
            Ahead::Processor,
            Ahead::Scratch { bytes: 16 << 10, loads: Loads::Factors },
            Ahead::Scratch { bytes: 16 << 10, loads: Loads::All },
        ]),
        scratch: *random.pick(&[Scratch::Cached, Scratch::Banked]),
        fragments: None,
        blocks: 1,
    }
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

/// What the tile interpreter leaves.
fn reference(case: &Case) -> Result<Left, Disagreement> {
    match case.interpret(FUEL) {
        Ok(Ok(outcome)) => {
            let memory = tensors(&outcome.arguments).map(|data| data.bytes.clone()).collect();
            Ok(Left { memory, log: Some(outcome.log) })
        }
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
