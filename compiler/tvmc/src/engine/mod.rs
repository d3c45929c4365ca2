//! The engine: sources in, kernels on a machine out. It implements the executor's `Device` over the compiler and the virtual machines.
//!
//! ```text
//! launch(kernel, arguments) -> which instance?  formats of the arguments, fixed extents, tune choices
//!                           -> compiled before? the instance cache, by exactly that key
//!                           -> bind, check overlaps and lengths, run
//! ```
//!
//! An instance is specialised to every extent that is the same in all calls, and to those that are tile extents in the source.

mod arrangement;
mod cpu;
mod emit;
mod export;
mod gpu;
mod interface;
mod interp;
mod launches;
mod library;
mod machine;
mod module;
mod pack;
mod storage;
mod tiles;
mod tuning;

pub use emit::{Forms, blocks};
pub use export::Export;
pub use interface::{Interface, InterfaceElement, InterfaceParam};
pub use interp::Listener;
pub use library::{Declarations, Library, source};
pub use machine::{Code, Machine, MachineArgument};
pub use module::{Specialisation, build_name, of_library, read as read_module};
pub use storage::{ProgramChoices, Storage, element};
pub use tuning::{Choices, Measured, Measurements, Tuning};

use crate::cli::{CpuLevel, MachineOptions, TargetName, TunedChoices, spelled};
use crate::commands::Failure;
use crate::internal::{self, Stage};
use interface::set_tune;
use pack::Pack;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tiles::Tilings;
use tuning::Case;
use tvmc_backend_x86::{Features, Level};
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::module::Key;
use tvmc_ir::program::Verified;
use tvmc_ir::tile::launch::{ArgumentShape, Binding, bind};
use tvmc_ir::tile::{Kernel, TensorDecl};
use tvmc_model::executor::{Argument, Arrangement, Device, DeviceError, LaunchId, MemoryId, Purpose, Slice};
use tvmc_passes::packing::{self, Packing};
use tvmc_passes::planes::LastBlock;
use tvmc_types::dtype::DType;

/// What an instance is made for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct InstanceKey {
    /// The kernel and its constants; lists are sorted.
    pub choices: Key,
    /// How each parameter's memory lies.
    pub packing: Vec<Packing>,
}

/// A compiled instance.
pub struct Instance {
    /// The kernel.
    pub kernel: Kernel,
    code: std::cell::RefCell<Code>,
    /// Whether the grid or a condition depends on scalar arguments, so that every launch binds anew.
    scalar_grid: bool,
}

/// Figures of an engine's life.
#[derive(Copy, Clone, Debug, Default)]
pub struct Statistics {
    /// Instances compiled.
    pub compiled: usize,
    /// Time that took.
    pub compile_time: Duration,
    /// Launches.
    pub launches: u64,
}

/// See the module head.
pub struct Engine {
    library: Library,
    machine: Machine,
    /// What is known of tiles for a device that multiplies whole matrices.
    tilings: Tilings,
    target: TargetName,
    threads: usize,
    instances: HashMap<InstanceKey, Rc<Instance>>,
    sites: Vec<Vec<launches::Site>>,
    ready: launches::Launches,
    prefers: HashMap<(String, usize), bool>,
    tuning: Tuning,
    statistics: Statistics,
}

impl Engine {
    /// An engine over loaded sources.
    pub fn new(library: Library, options: &MachineOptions) -> Result<Self, Failure> {
        let threads = match options.threads.as_slice() {
            [] => default_threads(),
            [threads] => *threads,
            _ => return Err(Failure::usage("only `bench` takes several numbers of --threads")),
        };
        if threads == 0 || threads > 1024 {
            return Err(Failure::usage("--threads must be between 1 and 1024"));
        }
        let machine = machine(options, threads)?;
        let threads = if matches!(machine, Machine::Cpu(_)) { threads } else { 1 };
        let used = options.tuned == TunedChoices::On && Choices::exist();
        let tuning = match used.then(|| machine.description()).flatten() {
            Some(machine) => Tuning::Stored(Choices::of(&machine)),
            None => Tuning::Rules,
        };
        Ok(Self {
            library,
            machine,
            tilings: Tilings::default(),
            target: options.target,
            threads,
            instances: HashMap::new(),
            sites: Vec::new(),
            ready: launches::Launches::default(),
            prefers: HashMap::new(),
            tuning,
            statistics: Statistics::default(),
        })
    }

    /// The engine and program for a model of this architecture. Activations are stored in a format, or as f32.
    pub fn for_architecture(
        architecture: &str,
        storage: &Storage<'_>,
        declared: Option<&Declarations>,
        options: &MachineOptions,
    ) -> Result<(Self, Verified), Failure> {
        let Some((module, program)) = tvmc_stdlib::program_for(architecture) else {
            let known: Vec<&str> = tvmc_stdlib::architectures().collect();
            return Err(Failure::user(format!(
                "there is no program for architecture `{architecture}` (there is one for: {}); give one with --program",
                known.join(", ")
            )));
        };
        let library = Library::standard_with(module, declared)?;
        let program = library.program(program, &storage.choices(&library)?)?;
        Ok((Self::new(library, options)?, program))
    }

    /// The engine and the only program of a file.
    pub fn for_program_file(
        path: &Path,
        storage: &Storage<'_>,
        declared: Option<&Declarations>,
        options: &MachineOptions,
    ) -> Result<(Self, Verified), Failure> {
        let library = Library::open_with(path, declared)?;
        let names = library.program_names();
        let [name] = names.as_slice() else {
            return Err(Failure::user(format!(
                "{} has {} programs, one is needed",
                path.display(),
                names.len()
            )));
        };
        let program = library.program(name, &storage.choices(&library)?)?;
        Ok((Self::new(library, options)?, program))
    }

    /// The name of the target, as the command line spells it.
    pub fn target_name(&self) -> String {
        spelled(&self.target)
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Tells the listener from now on what every statement of a launch computes. Only the interpreter can.
    pub fn trace(&mut self, listener: Listener) -> Result<(), Failure> {
        match &mut self.machine {
            Machine::Interp(machine) => {
                machine.listener = Some(listener);
                Ok(())
            }
            Machine::Cpu(_) | Machine::Gpu(_) => {
                Err(Failure::usage("only the interpreter shows its steps: give --target interp"))
            }
        }
    }

    /// Figures so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// What the instances made so far were made for.
    pub fn instance_keys(&self) -> Vec<Key> {
        self.instances.keys().map(|key| key.choices.clone()).collect()
    }

    /// The sources.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The instance for a key, compiled if need be.
    pub fn instance(&mut self, key: &InstanceKey) -> Result<Rc<Instance>, DeviceError> {
        if let Some(instance) = self.instances.get(key) {
            return Ok(instance.clone());
        }
        let start = Instant::now();
        let kernel = tvmc_ir::tile::verify(self.library.instantiate(&key.choices)?).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            let what = format!("the instance is not well-formed: {first}");
            DeviceError(internal::broken(Stage::Instantiate, &key.choices.kernel, &what, &|| {
                self.library.input(&key.choices)
            }))
        })?;
        let kernel = kernel.into_inner();
        let code = self.machine.compile(&kernel, key.packing.clone())?;
        let scalar = |expr: &Expr| {
            let mut found = false;
            expr.names(&mut |name| found |= kernel.params.iter().any(|p| p.name() == name));
            found
        };
        let scalar_grid = kernel.grid.iter().any(scalar) || kernel.assumptions.iter().any(|(e, _)| scalar(e));
        let instance = Rc::new(Instance { kernel, code: code.into(), scalar_grid });
        self.instances.insert(key.clone(), instance.clone());
        self.statistics.compiled += 1;
        self.statistics.compile_time += start.elapsed();
        Ok(instance)
    }

    /// The key of the instance that these arguments ask for.
    pub fn key(
        &self,
        kernel: &str,
        arguments: &[Argument],
        with: &[(String, i64)],
        set: &[(String, u64)],
    ) -> Result<InstanceKey, DeviceError> {
        let interface = self.library.interface(kernel)?;
        if interface.params.len() != arguments.len() {
            return Err(DeviceError(format!(
                "`{kernel}` takes {} arguments, {} were given",
                interface.params.len(),
                arguments.len()
            )));
        }
        let mut packing = Vec::with_capacity(arguments.len());
        let mut key = Key { kernel: kernel.to_owned(), ..Key::default() };
        let mut dims: HashMap<&str, (u64, bool)> = HashMap::new();
        // Rows of groups (and of types below a byte) are addressed by their length, so it must be known.
        let grouped = |element: &str| DType::from_name(element).is_none_or(|d| d.bits() < 8);
        let mut row_lengths: Vec<&str> = Vec::new();
        for (param, argument) in interface.params.iter().zip(arguments) {
            let Argument::Tensor { shape, element, arrangement, .. } = argument else {
                packing.push(Packing::AsDeclared);
                continue;
            };
            packing.push(match arrangement {
                Arrangement::Declared => Packing::AsDeclared,
                Arrangement::Packed => self.weight_packing(element)?,
                Arrangement::Filled => Packing::Filled,
            });
            let InterfaceParam::Tensor { name, element: expected, shape: declared } = param else {
                return Err(DeviceError(format!("argument `{}` must be a number", param.name())));
            };
            match expected {
                InterfaceElement::Generic(generic) => match key.elements.iter().find(|(g, _)| g == generic) {
                    Some((_, bound)) if bound != element => {
                        return Err(DeviceError(format!(
                            "generic `{generic}` would be both `{bound}` and `{element}`"
                        )));
                    }
                    Some(_) => {}
                    None => key.elements.push((generic.clone(), element.clone())),
                },
                InterfaceElement::Named(expected) if expected != element => {
                    return Err(DeviceError(format!(
                        "argument `{name}` has elements of `{element}`, the kernel expects `{expected}`"
                    )));
                }
                InterfaceElement::Named(_) => {}
            }
            if shape.len() != declared.len() {
                return Err(DeviceError(format!(
                    "argument `{name}` has {} dimensions, the kernel expects {}",
                    shape.len(),
                    declared.len()
                )));
            }
            if let (true, Some(Expr::Name(last))) = (grouped(element), declared.last()) {
                row_lengths.push(last);
            }
            for (expr, extent) in declared.iter().zip(shape) {
                if let Expr::Name(dim) = expr {
                    let known = dims.entry(dim.as_str()).or_insert((extent.size, extent.fixed));
                    if known.0 != extent.size {
                        return Err(DeviceError(format!(
                            "dimension `{dim}` is {}, but argument `{name}` has {} there: give arguments of matching shapes",
                            known.0, extent.size
                        )));
                    }
                    known.1 |= extent.fixed;
                }
            }
        }
        for (name, value) in set {
            if let Some(known) = dims.get(name.as_str())
                && known.0 != *value
            {
                return Err(DeviceError(format!(
                    "`{name}` is set to {value}, but the arguments say {}",
                    known.0
                )));
            }
        }
        let set_dims: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
        key.dims = dims
            .iter()
            .filter(|(name, (_, fixed))| {
                *fixed
                    || interface.required.iter().any(|r| r == *name)
                    || set_dims.contains(name)
                    || row_lengths.contains(name)
            })
            .map(|(name, (size, _))| ((*name).to_owned(), *size))
            .collect();
        let sizes = |name: &str| dims.get(name).map(|(size, _)| Number::Int(*size as i64));
        let interface = self.library.interface_for(&key)?;
        key.tunes = interface.choose(&sizes, with)?;
        self.library.busy(&mut key, &sizes, with, blocks(self.target))?;
        if let Machine::Gpu(gpu) = &self.machine {
            self.tilings.choose(&self.library, &mut key, &sizes, with, &gpu.row())?;
            self.tilings.share(&self.library, &mut key, &sizes, with, (&packing, &gpu.row()))?;
            let fits = |key: &Key| gpu.has_room(&self.library.instantiate(key)?, packing.clone());
            while !self.tilings.fits(&key, &packing, fits)? && self.library.smaller(&mut key, with)? {}
        } else {
            self.tilings.widen(&self.library, &mut key, &sizes, with)?;
            let threads = self.threads() as u64;
            self.tilings.cheapest(&self.library, &mut key, &sizes, with, threads)?;
        }
        let mut key = InstanceKey { choices: key.sorted(), packing };
        if let Tuning::Stored(choices) = &self.tuning
            && !choices.is_empty()
            && let Some(tunes) =
                choices.get(&Case::of(&interface, &key, arguments), &interface, &self.library)?
        {
            let free = |name: &str| with.iter().all(|(fixed, _)| fixed != name);
            for (name, value) in tunes.into_iter().filter(|(name, _)| free(name)) {
                set_tune(&mut key.choices, &name, value);
            }
        }
        Ok(key)
    }

    /// Runs an instance on arguments.
    pub fn run(
        &mut self,
        instance: &Rc<Instance>,
        binding: &Binding,
        arguments: &[Argument],
    ) -> Result<Vec<String>, DeviceError> {
        let launch = self.ready(instance.clone(), binding.clone(), arguments)?;
        self.start(&launch)
    }

    /// How a weight lies: fields that stand once for a row or a matrix have no place in planes.
    fn weight_packing(&self, element: &str) -> Result<Packing, DeviceError> {
        let packing = self.machine.packing(Purpose::Weight);
        match packing {
            Packing::Planar if self.library.has_heads(element)? => Ok(Packing::Interleaved),
            Packing::Words if self.library.words(element)?.is_none() => Ok(Packing::Interleaved),
            Packing::AsDeclared
            | Packing::Interleaved
            | Packing::Filled
            | Packing::Planar
            | Packing::Words => Ok(packing),
        }
    }

    /// Keeps a launch ready, to be made again.
    pub fn keep(
        &mut self,
        instance: &Rc<Instance>,
        binding: &Binding,
        arguments: &[Argument],
    ) -> Result<LaunchId, DeviceError> {
        let launch = self.ready(instance.clone(), binding.clone(), arguments)?;
        Ok(self.ready.add(launch))
    }

    /// Makes a launch ready: arguments as the machine takes them, memory bound.
    fn ready(
        &mut self,
        instance: Rc<Instance>,
        binding: Binding,
        arguments: &[Argument],
    ) -> Result<launches::Ready, DeviceError> {
        let kernel = &instance.kernel;
        let mut ready = Vec::with_capacity(arguments.len());
        for (param, argument) in kernel.params.iter().zip(arguments) {
            ready.push(match (argument, param) {
                (Argument::Tensor { slice, shape, .. }, _) => {
                    MachineArgument::Tensor(*slice, shape.iter().map(|e| e.size).collect())
                }
                (Argument::Scalar(number), TensorDecl::Scalar { name, dtype }) => {
                    MachineArgument::Scalar(launches::scalar_bits(name, *dtype, *number)?)
                }
                (Argument::Scalar(_), TensorDecl::Tensor { name, .. }) => {
                    return Err(DeviceError(format!("argument `{name}` must be a tensor")));
                }
            });
        }
        launches::overlaps(kernel, &ready)?;
        let bound = self.machine.prepare(kernel, &instance.code.borrow(), &ready)?;
        let shapes = if instance.scalar_grid { shapes(arguments) } else { Vec::new() };
        Ok(launches::Ready { instance, binding, arguments: ready, bound, shapes })
    }

    fn start(&mut self, launch: &launches::Ready) -> Result<Vec<String>, DeviceError> {
        self.statistics.launches += 1;
        let mut code = launch.instance.code.borrow_mut();
        let code = (&mut *code, &launch.bound);
        self.machine.launch(&launch.instance.kernel, code, &launch.binding, &launch.arguments)
    }

    /// Binds arguments to an instance and checks that every slice is as long as its shape says.
    pub fn bind(&self, instance: &Instance, arguments: &[Argument]) -> Result<Binding, DeviceError> {
        let binding = bind(&instance.kernel, &shapes(arguments)).map_err(machine::failure)?;
        for (argument, param) in arguments.iter().zip(&instance.kernel.params) {
            if let Argument::Tensor { slice, shape, element, arrangement } = argument {
                let sizes: Vec<u64> = shape.iter().map(|e| e.size).collect();
                let wanted = self.arranged_bytes(element, &sizes, *arrangement)?;
                if slice.bytes < wanted {
                    return Err(DeviceError(format!(
                        "argument `{}` has {} bytes, its shape {sizes:?} of `{element}` takes {wanted}",
                        param.name(),
                        slice.bytes
                    )));
                }
            }
        }
        Ok(binding)
    }

    fn weight_memory(&mut self, bytes: u64, what: &str) -> Result<Slice, DeviceError> {
        self.machine.allocate_weight(bytes).map_err(|e| refused(bytes, what, &e))
    }

    /// An argument with memory of its own, which holds the same.
    pub fn duplicate(&mut self, argument: &Argument) -> Result<Argument, DeviceError> {
        let mut copy = argument.clone();
        if let Argument::Tensor { slice, .. } = &mut copy {
            *slice = self.machine.duplicate(*slice)?;
        }
        Ok(copy)
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }
}

/// The shapes of arguments, for binding.
fn shapes(arguments: &[Argument]) -> Vec<ArgumentShape> {
    let shape = |argument: &Argument| match argument {
        Argument::Tensor { shape, .. } => ArgumentShape::Tensor(shape.iter().map(|e| e.size).collect()),
        Argument::Scalar(number) => ArgumentShape::Scalar(*number),
    };
    arguments.iter().map(shape).collect()
}

/// There is no memory for something.
fn refused(bytes: u64, what: &str, why: &DeviceError) -> DeviceError {
    DeviceError(format!("memory for `{what}` ({bytes} bytes): {why}"))
}

/// Worker threads where none are asked for.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn machine(options: &MachineOptions, threads: usize) -> Result<Machine, Failure> {
    let native = |target| Ok(Machine::Cpu(cpu::CpuMachine::new(threads, target, options.bounds())));
    let portable = || native(tvmc_cpu::Target::Cranelift);
    let wide = |features: Features| native(tvmc_cpu::Target::X86(features));
    let features = |level: CpuLevel| -> Option<Features> {
        let found = Features::detect()?;
        match (level, found.level) {
            (CpuLevel::Native, _) | (CpuLevel::V4, Level::V4) => Some(found),
            (CpuLevel::V3, _) => Some(found.narrowed()),
            (CpuLevel::V4, Level::V3) => None,
        }
    };
    match options.target {
        TargetName::Interp => Ok(Machine::Interp(interp::InterpMachine::default())),
        TargetName::Gpu | TargetName::Wgsl => {
            let machine = gpu::GpuMachine::open(options.device.as_deref(), options.bounds())
                .map_err(Failure::from_error)?;
            crate::output::note(&format!("device: {}", machine.name()));
            Ok(Machine::Gpu(Box::new(machine)))
        }
        TargetName::Cranelift => portable(),
        TargetName::Cpu => match features(options.cpu) {
            Some(features) => wide(features),
            None if options.cpu == CpuLevel::Native => portable(),
            None => Err(Failure::user("this processor lacks the instruction set that --cpu asks for")),
        },
        TargetName::X86 => match features(options.cpu) {
            Some(features) => wide(features),
            None => Err(Failure::user(
                "this processor lacks AVX2 and FMA (or what --cpu asks for): use --target cranelift",
            )),
        },
    }
}

impl Device for Engine {
    fn allocate(&mut self, bytes: u64, what: &str) -> Result<MemoryId, DeviceError> {
        self.machine.allocate(bytes).map_err(|e| refused(bytes, what, &e))
    }

    fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        self.machine.release(memory)
    }

    fn write(&mut self, memory: MemoryId, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.machine.write(memory, offset, bytes)
    }

    fn read(&mut self, memory: MemoryId, offset: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.machine.read(memory, offset, bytes)
    }

    fn clear(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        self.machine.clear(memory)
    }

    fn weight(
        &mut self,
        bytes: &[u8],
        rows: u64,
        element: &str,
        arrangement: Arrangement,
        what: &str,
    ) -> Result<Slice, DeviceError> {
        let rows = usize::try_from(rows).map_err(machine::failure)?;
        if arrangement == Arrangement::Declared || rows == 0 {
            let slice = self.weight_memory(bytes.len() as u64, what)?;
            self.write(slice.memory, slice.offset, bytes)?;
            return Ok(slice);
        }
        let head = self.library.tensor_head(element)?.min(bytes.len());
        let row = (bytes.len() - head) / rows;
        let pack = match self.weight_packing(element)? {
            Packing::AsDeclared | Packing::Interleaved | Packing::Filled => {
                Pack::Units(packing::unit_bytes(self.library.group_bytes(element)?))
            }
            Packing::Planar => Pack::Planes(self.library.planes(element, row)?),
            Packing::Words => Pack::Planes(
                self.library.words(element)?.ok_or_else(|| machine::failure("a format without words"))?,
            ),
        };
        let size = pack
            .bytes(head, rows, row)
            .ok_or_else(|| DeviceError(format!("`{what}` is too large to pack")))?;
        // Planes of vectors are filled up to whole blocks of rows; everything else takes what is declared.
        let filled = matches!(&pack, Pack::Planes(planes) if planes.last == LastBlock::Filled);
        assert!(
            filled || size as u64 * 100 <= bytes.len() as u64 * 103,
            "`{what}` takes {size} bytes packed"
        );
        let slice = self.weight_memory(size as u64, what)?;
        let bytes = &bytes[..head + rows * row];
        match &mut self.machine {
            Machine::Cpu(machine) => {
                let threads = machine.threads();
                pack.run(bytes, head, rows, row, machine.bytes(slice)?, threads);
            }
            Machine::Gpu(_) | Machine::Interp(_) => {
                let mut output = vec![0; size];
                pack.run(bytes, head, rows, row, &mut output, default_threads());
                self.write(slice.memory, slice.offset, &output)?;
            }
        }
        Ok(slice)
    }

    fn filled_bytes(&self, element: &str, shape: &[u64]) -> Result<u64, DeviceError> {
        let [matrices @ .., rows, columns] = shape else {
            return Err(DeviceError(format!("a tensor of shape {shape:?} has no rows to pack")));
        };
        let large = || DeviceError(format!("a tensor of shape {shape:?} is too large"));
        let rows = rows.checked_next_multiple_of(packing::ROWS as u64).ok_or_else(large)?;
        // So many rows fill whole bytes, whatever an element has.
        let matrix = self.library.tensor_bytes(element, &[rows, *columns])?;
        matrices.iter().try_fold(matrix, |bytes, count| bytes.checked_mul(*count)).ok_or_else(large)
    }

    fn stores_in_parts(
        &mut self,
        kernel: &str,
        parameter: usize,
        element: &str,
        shapes: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError> {
        self.library.stores_in_parts(kernel, parameter, element, shapes)
    }

    fn prefers_packed(
        &mut self,
        kernel: &str,
        parameter: usize,
        purpose: Purpose,
        shapes: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError> {
        if self.machine.packing(purpose) == Packing::AsDeclared {
            return Ok(false);
        }
        if let Some(known) = self.prefers.get(&(kernel.to_owned(), parameter)) {
            return Ok(*known);
        }
        let answer = self.library.multiplies(kernel, parameter, shapes)?;
        self.prefers.insert((kernel.to_owned(), parameter), answer);
        Ok(answer)
    }

    fn tensor_bytes(&self, element: &str, shape: &[u64]) -> Result<u64, DeviceError> {
        self.library.tensor_bytes(element, shape)
    }

    fn launch(
        &mut self,
        site: usize,
        kernel: &str,
        arguments: &[Argument],
        with: &[(String, i64)],
    ) -> Result<(), DeviceError> {
        if matches!(self.tuning, Tuning::Measuring(_)) {
            return self.sample(kernel, &[arguments.to_vec()], (&with.to_vec(), &[]), 1);
        }
        let (instance, binding) = self.at_site(site, kernel, arguments, with)?;
        self.run(&instance, &binding, arguments).map(said)
    }

    fn prepare(
        &mut self,
        site: usize,
        kernel: &str,
        arguments: &[Argument],
        with: &[(String, i64)],
    ) -> Result<LaunchId, DeviceError> {
        let (instance, binding) = self.at_site(site, kernel, arguments, with)?;
        let launch = self.ready(instance, binding, arguments)?;
        Ok(self.ready.add(launch))
    }

    fn again(&mut self, launch: LaunchId, numbers: &[(usize, Number)]) -> Result<(), DeviceError> {
        let mut ready = self.ready.take(launch)?;
        let done = ready.with(numbers).and_then(|()| self.start(&ready));
        self.ready.put_back(launch, ready);
        done.map(said)
    }

    fn forget(&mut self, launch: LaunchId) {
        self.ready.forget(launch);
    }
}

/// Lines that a kernel printed.
fn said(lines: Vec<String>) {
    for line in lines {
        crate::output::note(&line);
    }
}
