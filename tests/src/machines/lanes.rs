//! Lane functions that nobody lowered, such as mutated ones: run where they have a meaning, everywhere, on memory that is made up.
//!
//! The lane interpreter decides what becomes of a function:
//!
//! | it | what every CPU backend, and WGSL where it is exact, must do |
//! |---|---|
//! | ends | leave the same in memory and print the same lines, with lanes permuted too |
//! | ends with a failed assert | say that an assert failed, and leave the same |
//! | leaves a buffer or an arena | CPU: with checked bounds, report it and touch nothing outside (guard pages) |
//! | traps otherwise, or has no one meaning | nothing: the function is counted as skipped, with the reason |
//!
//! A function has no one meaning where the order of lanes or blocks shows (atomic updates), or the bits of a NaN.

use super::program::Program;
use super::{Disagreement, Left, Machines, Ran, Skipped, compare, same_lines, wrong};
use crate::random::Random;
use tvmc_cpu::{CompileError, CompiledKernel, LaunchError};
use tvmc_guarded::Placement;
use tvmc_interp::lane::{LaneOrder, Outcome, Trap, TrapKind};
use tvmc_ir::lane::{
    self, Access, Function, Inst, Mem, Op, Place, Pure, Region, Scalar, Stmt, Update, Verified,
};
use tvmc_passes::check_bounds;
use tvmc_types::dtype::DType;

/// Work that the interpreter may need.
const FUEL: u64 = 1 << 18;
/// Bytes that a buffer may have.
const BYTES: [usize; 5] = [4, 64, 256, 2048, 16384];

/// What became of a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It ran, and all agree.
    Agreed(Ran),
    /// It left its arguments, and every machine reported that.
    Reported(Ran),
    /// It has no meaning that machines could share: why.
    Skipped(&'static str),
}

/// What is found in a function before it runs.
struct Traits {
    /// The type of each buffer's elements; bytes where there are several.
    elements: Vec<DType>,
    /// Whether bits of floats are read as something else.
    float_bits: bool,
    /// Whether any value is a float.
    floats: bool,
    atomic: bool,
    fragments: bool,
}

impl Machines {
    /// Runs a verified function, whose buffers get lengths and contents that follow from `seed`.
    pub fn check_any_lanes(&self, function: &Verified, seed: u64) -> Result<Fate, Disagreement> {
        let traits = Traits::of(function);
        if traits.float_bits {
            return Ok(Fate::Skipped("bits of floats are looked at, which a NaN does not have"));
        }
        if traits.fragments {
            return Ok(Fate::Skipped("CPUs have no fragments"));
        }
        let mut program = made_up(function, &traits, seed);
        let mut outcome = program.run_on_lanes(LaneOrder::Ascending, FUEL);
        // Most functions that ask for no block's number write the same in each, and race where there are several.
        if matches!(&outcome, Err(trap) if matches!(trap.kind, TrapKind::Race { .. } | TrapKind::OutOfBounds { .. }))
        {
            let blocks = std::mem::replace(&mut program.grid, [1; 3]);
            let alone = program.run_on_lanes(LaneOrder::Ascending, FUEL);
            let outside = |o: &Result<Outcome, Box<Trap>>| matches!(o, Err(trap) if matches!(trap.kind, TrapKind::OutOfBounds { .. }));
            if outside(&outcome) && !outside(&alone) {
                program.grid = blocks;
            } else {
                outcome = alone;
            }
        }
        match outcome {
            Ok(outcome) => self.agreed(&program, &traits, &outcome),
            Err(trap) => match trap.kind {
                TrapKind::OutOfBounds { .. } => self.reported(program),
                _ => Ok(Fate::Skipped(reason(&trap))),
            },
        }
    }

    /// Of a function that ends.
    fn agreed(&self, program: &Program, traits: &Traits, outcome: &Outcome) -> Result<Fate, Disagreement> {
        let expected = program.left(LaneOrder::Ascending, FUEL);
        let permuted = program.left(LaneOrder::Permuted(11), FUEL);
        let (Ok(expected), Ok(permuted)) = (expected, permuted) else {
            return Ok(Fate::Skipped("it races in another order of lanes"));
        };
        let judge = |machine: &str, got: &Left| -> Result<(), Disagreement> {
            for (at, dtype) in traits.elements.iter().enumerate() {
                let (want, got) = (&expected.memory[at], &got.memory[at]);
                let count = want.len() * 8 / dtype.bits() as usize;
                let place = format!("b{at}");
                if let Err(error) = compare::compare(machine, &place, *dtype, count, want, got, 0) {
                    return wrong(machine, format!("{}\n{}", error.what, *program.function));
                }
            }
            same_lines(machine, &expected, got)
        };
        if let Err(error) = judge("lane interpreter, lanes permuted", &permuted) {
            return if traits.atomic {
                Ok(Fate::Skipped("the order of atomic updates shows"))
            } else {
                Err(error)
            };
        }
        let mut ran = Ran { machines: vec!["lane interpreter"], skipped: Vec::new() };
        for (_, name, cpu) in &self.cpu {
            let Some(kernel) = compiled(program, *cpu, name, &mut ran)? else { continue };
            for placement in Placement::ALL {
                let (buffers, report) = program.guarded(&self.pool, &kernel, placement, name)?;
                let memory = buffers.iter().map(|buffer| buffer.content().to_vec()).collect();
                match (report, &outcome.failure) {
                    (Ok(report), None) => {
                        let log = report.printed.into_iter().map(|printed| printed.text).collect();
                        judge(name, &Left { memory, log: (report.prints_lost == 0).then_some(log) })?;
                    }
                    // A block goes on behind its failed assert.
                    (Err(LaunchError::Assertion { .. }), Some(_)) => {
                        judge(name, &Left { memory, log: None })?
                    }
                    (report, failure) => {
                        let said = report.map(|_| ());
                        return wrong(
                            name,
                            format!("it says {said:?}, the interpreter {failure:?}\n{}", *program.function),
                        );
                    }
                }
            }
            ran.machines.push(name);
        }
        if let (Some(device), false, false, None) =
            (&self.gpu, traits.floats, traits.atomic, &outcome.failure)
        {
            match program.on_gpu(device)? {
                Ok(got) => {
                    judge("wgsl", &got)?;
                    ran.machines.push("wgsl");
                }
                Err(skipped) => ran.skipped.push(skipped),
            }
        }
        Ok(Fate::Agreed(ran))
    }

    /// Of a function that leaves its memory: it gets checks of its own.
    fn reported(&self, mut program: Program) -> Result<Fate, Disagreement> {
        let mut function = program.function.clone().into_inner();
        for length in check_bounds(&mut function, &[]) {
            let bytes = program.memory[length.buffer.index()].len() as u64;
            program.scalars.push(bytes / u64::from(length.size));
        }
        let text = function.to_string();
        program.function = match lane::verify(function) {
            Ok(function) => function,
            Err(errors) => return wrong("checked bounds", format!("{}\n{text}", errors[0])),
        };
        match program.run_on_lanes(LaneOrder::Ascending, FUEL) {
            Ok(outcome) if outcome.failure.is_some() => {}
            Ok(_) => return wrong("checked bounds", format!("nothing is reported\n{text}")),
            Err(trap) if matches!(trap.kind, TrapKind::OutOfBounds { .. }) => {
                return wrong("checked bounds", format!("the checks let through: {trap}\n{text}"));
            }
            Err(trap) => return Ok(Fate::Skipped(reason(&trap))),
        }
        let mut ran = Ran { machines: vec!["lane interpreter"], skipped: Vec::new() };
        for (_, name, cpu) in &self.cpu {
            let Some(kernel) = compiled(&program, *cpu, name, &mut ran)? else { continue };
            for placement in Placement::ALL {
                match program.guarded(&self.pool, &kernel, placement, name)?.1 {
                    Err(LaunchError::Assertion { .. }) => {}
                    other => {
                        let other = other.map(|_| ());
                        return wrong(
                            name,
                            format!("it leaves its memory, but the launch says {other:?}\n{text}"),
                        );
                    }
                }
            }
            ran.machines.push(name);
        }
        Ok(Fate::Reported(ran))
    }
}

/// The code of a CPU; none where the backend refuses it in words.
fn compiled(
    program: &Program,
    cpu: tvmc_cpu::Target,
    name: &'static str,
    ran: &mut Ran,
) -> Result<Option<CompiledKernel>, Disagreement> {
    use tvmc_backend_cranelift::Error as Cranelift;
    match CompiledKernel::compile(&program.function, cpu) {
        Ok(kernel) => Ok(Some(kernel)),
        Err(error @ CompileError::Cranelift(Cranelift::TooLarge(_) | Cranelift::Fragments)) => {
            let (limit, why) = ("instructions of the portable backend", error.to_string());
            ran.skipped.push(Skipped { machine: name, limit, why });
            Ok(None)
        }
        Err(error) => wrong(name, format!("{error}\n{}", *program.function)),
    }
}

/// Why a function that traps has no meaning, in words that can be counted.
fn reason(trap: &Trap) -> &'static str {
    match &trap.kind {
        TrapKind::BadLaunch(_) => "it does not fit a launch",
        TrapKind::OutOfFuel => "it takes long",
        TrapKind::OutOfBounds { .. } => "it leaves its memory",
        TrapKind::ScatterConflict { .. } => "two lanes scatter to one element",
        TrapKind::Uninitialised | TrapKind::UnsetFragment(_) => "it reads what nobody wrote",
        TrapKind::TornFragment { .. } | TrapKind::MisalignedFragment { .. } => "its fragments have no place",
        TrapKind::Race { .. } => "it races",
    }
}

/// A launch of a function.
fn made_up(function: &Verified, traits: &Traits, seed: u64) -> Program {
    let mut random = Random::new(seed);
    let memory = traits.elements.iter().map(|dtype| contents(*dtype, &mut random)).collect();
    let scalars = function
        .scalars
        .iter()
        .map(|decl| match decl.scalar {
            Scalar::F32 => u64::from((random.below(64) as f32 / 4.0 - 4.0).to_bits()),
            Scalar::I32 => u64::from((random.below(48) as i32 - 4) as u32),
            Scalar::I64 => random.below(48) as u64,
            Scalar::Bool => random.below(2) as u64,
        })
        .collect();
    // With atomic updates the order of blocks could show.
    let most = if traits.atomic { 1 } else { 3 };
    Program {
        function: function.clone(),
        scalars,
        memory,
        written: function.buffers.iter().map(|buffer| buffer.access != Access::Read).collect(),
        grid: [0; 3].map(|_| 1 + random.below(most) as u32),
        lengths: Vec::new(),
    }
}

/// Any bits for integers, small numbers for floats.
fn contents(dtype: DType, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; *random.pick(&BYTES)];
    let bits = dtype.bits();
    for at in 0..bytes.len() * 8 / bits as usize {
        let code = if dtype.is_float() {
            dtype.encode_f64(random.below(33) as f64 / 4.0 - 4.0)
        } else if random.below(4) == 0 {
            random.bits() & ((1 << bits) - 1)
        } else {
            random.below(16) as u64
        };
        tvmc_types::packing::set_bits(&mut bytes, at, bits, code);
    }
    bytes
}

impl Traits {
    fn of(function: &Function) -> Self {
        let mut traits = Self {
            elements: Vec::new(),
            float_bits: false,
            floats: function.values.iter().any(|ty| ty.scalar == Scalar::F32),
            atomic: false,
            fragments: false,
        };
        let mut buffers: Vec<Vec<DType>> = vec![Vec::new(); function.buffers.len()];
        let mut arenas: Vec<Vec<DType>> = vec![Vec::new(); function.arenas.len()];
        let mut note = |place: Place, dtype: DType| {
            let seen = match place {
                Place::Buffer(buffer) => &mut buffers[buffer.index()],
                Place::Arena(arena) => &mut arenas[arena.index()],
            };
            if !seen.contains(&dtype) {
                seen.push(dtype);
            }
        };
        visit(&function.body, &mut |inst| match &inst.op {
            Op::Memory { mem, place, .. } => note(*place, dtype(*mem)),
            Op::LoadUnpack { place, .. } => note(*place, DType::U8),
            Op::StoreBits(buffer) => note(Place::Buffer(*buffer), DType::U8),
            Op::Atomic { update, buffer } => {
                traits.atomic = true;
                let float = matches!(update, Update::FAdd | Update::FMin | Update::FMax);
                note(Place::Buffer(*buffer), if float { DType::F32 } else { DType::U32 });
            }
            Op::Fragment(_) => traits.fragments = true,
            Op::Pure(pure) => {
                traits.float_bits |= matches!(pure, Pure::F32Bits | Pure::F32ToF16 | Pure::F32ToBf16);
            }
            Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => {}
        });
        let mixed = |seen: &Vec<DType>| seen.len() > 1 && seen.iter().any(|dtype| dtype.is_float());
        traits.float_bits |= buffers.iter().chain(&arenas).any(mixed);
        traits.elements = buffers
            .iter()
            .map(|seen| match seen.as_slice() {
                [only] => *only,
                _ => DType::U8,
            })
            .collect();
        traits
    }
}

fn dtype(mem: Mem) -> DType {
    match mem {
        Mem::U8 => DType::U8,
        Mem::I8 => DType::I8,
        Mem::U16 => DType::U16,
        Mem::I16 => DType::I16,
        Mem::I32 => DType::I32,
        Mem::F16 => DType::F16,
        Mem::Bf16 => DType::BF16,
        Mem::F32 => DType::F32,
    }
}

fn visit<'a>(region: &'a Region, each: &mut dyn FnMut(&'a Inst)) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Inst(inst) => each(inst),
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => visit(body, each),
            Stmt::If { then, otherwise, .. } => {
                visit(then, each);
                visit(otherwise, each);
            }
        }
    }
}
