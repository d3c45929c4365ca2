//! IR texts: words changed. What verifies prints, reads back and compiles; a tile kernel that runs in the interpreter runs alike everywhere.

use super::language::reads_back;
use super::{Depth, Fuzzed, Outcome};
use crate::corpus;
use crate::mutate;
use crate::report::Coverage;
use tvmc_backend_wgsl as wgsl;
use tvmc_backend_x86::mir::{self, Mir, Register, Text};
use tvmc_cpu::{CompileError, CompiledKernel, Target as CpuTarget};
use tvmc_ir::host::Number;
use tvmc_ir::program::{self, Interface};
use tvmc_ir::tile::{Element, Kernel, Op, Region, Stmt, TensorDecl};
use tvmc_ir::{lane, tile};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::{Fate, Machines};
use tvmc_tests::random::Random;
use tvmc_types::dtype::DType;
use tvmc_types::packing::packed_len;

/// Work that a changed kernel may need in the interpreter.
const FUEL: u64 = 1 << 18;
/// Elements of one argument.
const MAX_ELEMENTS: u64 = 1 << 14;

/// See the head of [`super`].
pub struct Ir {
    seeds: Vec<Vec<String>>,
    vocabulary: Vec<String>,
    machines: Machines,
}

impl Ir {
    /// Ready to run.
    pub fn open() -> Self {
        let seeds: Vec<Vec<String>> = corpus::ir_texts().iter().map(|text| mutate::cut(text)).collect();
        let vocabulary = corpus::vocabulary(&seeds);
        Self { seeds, vocabulary, machines: Machines::open() }
    }

    fn tile(&self, kernel: Kernel, depth: Depth, coverage: &mut Coverage) -> Result<Outcome, String> {
        let text = kernel.to_string();
        let Ok(verified) = tile::verify(kernel) else { return Ok(Outcome::Refused) };
        reads_back("tile IR", &text, &|text| {
            tile::parse(text).map(|again| again == *verified).map_err(|e| e.to_string())
        })?;
        if depth == Depth::Quick {
            return Ok(Outcome::Accepted);
        }
        let kernel = verified.into_inner();
        let Some(case) = arguments(kernel) else { return Ok(Outcome::Accepted) };
        // What traps has no meaning to compare; what needs long is of no use here.
        if !matches!(case.interpret(FUEL), Ok(Ok(_))) {
            return Ok(Outcome::Accepted);
        }
        match self.machines.check(&case, true) {
            Ok(machines) => {
                coverage.ran(&case.kernel, &machines);
                Ok(Outcome::Accepted)
            }
            // Not every kernel that has a meaning fits every target.
            Err(error) if error.machine.starts_with("lowering for") && !error.what.contains('\n') => {
                Ok(Outcome::Refused)
            }
            Err(error) => Err(format!("{}: {}\n{}", error.machine, error.what, case.kernel)),
        }
    }

    fn lane(
        &self,
        function: lane::Function,
        depth: Depth,
        coverage: &mut Coverage,
    ) -> Result<Outcome, String> {
        let text = function.to_string();
        let Ok(verified) = lane::verify(function) else { return Ok(Outcome::Refused) };
        reads_back("lane IR", &text, &|text| {
            lane::parse(text).map(|again| again == *verified).map_err(|e| e.to_string())
        })?;
        if depth == Depth::Quick {
            return Ok(Outcome::Accepted);
        }
        compiles(&verified)?;
        match self.machines.check_any_lanes(&verified, verified.values.len() as u64) {
            Ok(Fate::Agreed(ran)) => coverage.lanes("lane functions that ran", &ran),
            Ok(Fate::Reported(ran)) => coverage.lanes("lane functions whose bounds were reported", &ran),
            Ok(Fate::Skipped(why)) => coverage.became(&format!("lane functions not run: {why}")),
            Err(error) => return Err(format!("{}: {}", error.machine, error.what)),
        }
        Ok(Outcome::Accepted)
    }
}

/// Machine IR that verifies survives its text, gets registers that the allocator's checker agrees with, verifies again, and is encoded.
fn machine(text: Text) -> Result<Outcome, String> {
    fn judged<R: Register>(function: &Mir<R>, again: impl Fn(Text) -> bool) -> Result<bool, String> {
        if mir::verify(function).is_err() {
            return Ok(false);
        }
        reads_back("machine IR", &function.to_string(), &|text| {
            mir::parse(text).map(&again).map_err(|e| e.to_string())
        })?;
        Ok(true)
    }
    let fails = |error: tvmc_backend_x86::Error, text: String| match error {
        tvmc_backend_x86::Error::Internal(what) => Err(format!("x86 fails: {what}\n{text}")),
        _ => Ok(Outcome::Accepted),
    };
    let allocated = match text {
        Text::Selected(function) => {
            if !judged(&function, |text| text == Text::Selected(function.clone()))? {
                return Ok(Outcome::Refused);
            }
            match tvmc_backend_x86::allocate(&function, tvmc_backend_x86::Options { check: true }) {
                Ok((allocated, _)) => allocated,
                Err(error) => return fails(error, function.to_string()),
            }
        }
        Text::Allocated(function) => function,
    };
    if !judged(&allocated, |text| text == Text::Allocated(allocated.clone()))? {
        return Ok(Outcome::Refused);
    }
    match tvmc_backend_x86::encode(&allocated) {
        Ok(_) => Ok(Outcome::Accepted),
        Err(error) => fails(error, allocated.to_string()),
    }
}

/// Fails if a backend says that it is itself at fault.
fn compiles(function: &lane::Verified) -> Result<(), String> {
    let mut targets = vec![CpuTarget::Cranelift];
    if let CpuTarget::X86(features) = CpuTarget::native() {
        targets.extend([CpuTarget::X86(features), CpuTarget::X86(features.narrowed())]);
    }
    for target in targets {
        match CompiledKernel::compile(function, target) {
            Err(CompileError::X86(error @ tvmc_backend_x86::Error::Internal(_))) => {
                return Err(format!("x86 fails: {error}\n{}", **function));
            }
            Err(CompileError::Cranelift(error @ tvmc_backend_cranelift::Error::Panicked(_))) => {
                return Err(format!("cranelift fails: {error}\n{}", **function));
            }
            Ok(_) | Err(_) => {}
        }
    }
    match wgsl::compile(function, &wgsl::Limits::default()) {
        Err(error @ wgsl::Error::Invalid(_)) => Err(format!("wgsl is invalid: {error}\n{}", **function)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A case of a kernel, with dimensions and arguments made up; none if they are not easily found, or if its floats depend on an order. It goes to a device if it has no floats,
/// of which a device may round some otherwise.
fn arguments(kernel: Kernel) -> Option<Case> {
    if depends_on_order(&kernel) {
        return None;
    }
    let mut noise = Random::new(kernel.values.len() as u64);
    let dims: Vec<(String, i64)> =
        kernel.dims.iter().map(|dim| (dim.name.clone(), 1 + noise.below(20) as i64)).collect();
    let find = |name: &str| dims.iter().find(|(n, _)| n == name).map(|(_, value)| Number::Int(*value));
    let mut arguments = Vec::new();
    for param in &kernel.params {
        arguments.push(match param {
            TensorDecl::Tensor { element, shape, access, .. } => {
                let extents: Option<Vec<u64>> = shape
                    .iter()
                    .map(|extent| extent.eval_int(&find).ok().and_then(|e| u64::try_from(e).ok()))
                    .collect();
                let extents = extents?;
                let count = extents.iter().try_fold(1u64, |product, e| product.checked_mul(*e))?;
                if count > MAX_ELEMENTS {
                    return None;
                }
                let bytes = bytes(&kernel, *element, &extents, &mut noise)?;
                let written = *access != tile::Access::Read;
                Argument::Tensor(Data { shape: extents, element: *element, bytes, written, packed: false })
            }
            TensorDecl::Scalar { dtype, .. } => Argument::Scalar(
                *dtype,
                match *dtype {
                    DType::F32 => (noise.below(64) as f32 / 4.0).to_bits(),
                    _ => noise.below(2) as u32,
                },
            ),
        });
    }
    let portable = !kernel.values.iter().any(|ty| ty.dtype.is_float());
    Some(Case { kernel, arguments, portable })
}

/// Contents of a tensor: any bits for integers, small numbers for floats (a NaN's bits are undefined, and bits may be looked at).
fn bytes(kernel: &Kernel, element: Element, shape: &[u64], noise: &mut Random) -> Option<Vec<u8>> {
    let count: u64 = shape.iter().product();
    match element {
        Element::DType(dtype) if dtype.is_float() || dtype == DType::BOOL => {
            let mut bytes = vec![0; packed_len(count as usize, dtype.bits())?];
            for at in 0..count as usize {
                let code = if dtype == DType::BOOL {
                    noise.below(2) as u64
                } else {
                    dtype.encode_f64(noise.below(33) as f64 / 4.0 - 4.0)
                };
                tvmc_types::packing::set_bits(&mut bytes, at, dtype.bits(), code);
            }
            Some(bytes)
        }
        Element::DType(dtype) => {
            let mut bytes: Vec<u8> =
                (0..packed_len(count as usize, dtype.bits())?).map(|_| noise.bits() as u8).collect();
            // Bits behind the last element are zero in every tensor.
            let used = count as usize * dtype.bits() as usize;
            if let (Some(last), 1..) = (bytes.last_mut(), used % 8) {
                *last &= (1u8 << (used % 8)) - 1;
            }
            Some(bytes)
        }
        // A format may hold floats: zeros are numbers in each.
        Element::Format(id) => {
            let format = kernel.formats.get(id.index())?;
            Some(vec![0; usize::try_from(format.tensor_bytes(shape)?).ok()?])
        }
    }
}

/// Whether a float depends on the order of a sum, which is free; or bits of a float are read, which a NaN does not have.
fn depends_on_order(kernel: &Kernel) -> bool {
    fn within(kernel: &Kernel, region: &Region) -> bool {
        region.stmts.iter().any(|stmt| match stmt {
            Stmt::Inst(inst) => {
                let float = inst.args.iter().any(|value| kernel.ty(*value).dtype.is_float());
                float && matches!(inst.op, Op::Reduce(..) | Op::Dot | Op::Bitcast)
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => within(kernel, body),
            Stmt::If { then, otherwise, .. } => within(kernel, then) || within(kernel, otherwise),
        })
    }
    within(kernel, &kernel.body)
}

impl Fuzzed for Ir {
    fn time_cap(&self) -> std::time::Duration {
        super::machines::TIME_CAP
    }

    fn make(&mut self, random: &mut Random) -> Vec<u8> {
        mutate::words(random, &self.seeds, &self.vocabulary)
    }

    fn judge(&mut self, input: &[u8], depth: Depth, coverage: &mut Coverage) -> Result<Outcome, String> {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Outcome::Refused) };
        let mut outcome = Outcome::Refused;
        if let Ok(kernel) = tile::parse(text) {
            outcome = self.tile(kernel, depth, coverage)?;
        }
        if let Ok(function) = lane::parse(text) {
            outcome = self.lane(function, depth, coverage)?;
        }
        if let Ok(program) = program::parse(text) {
            let text = program.to_string();
            if let Ok(verified) = program::verify(program) {
                reads_back("program IR", &text, &|text| {
                    program::parse(text).map(|again| again == *verified).map_err(|e| e.to_string())
                })?;
                outcome = Outcome::Accepted;
            }
        }
        if let Ok(function) = mir::parse(text) {
            outcome = machine(function)?;
        }
        if let Ok(interface) = Interface::parse(text) {
            reads_back("an interface", &interface.to_string(), &|text| {
                Interface::parse(text).map(|again| again == interface).map_err(|e| e.to_string())
            })?;
            outcome = Outcome::Accepted;
        }
        Ok(outcome)
    }
}
