//! Arguments of a kernel from the command line: names, numbers, arrays and their shapes, and a launch with them.
//!
//! `run` and `bench` share it. The steps: [`settings`] reads `--set`; [`given`] reads `--arg` (an array, a number, or with `bench` random
//! numbers of a shape); [`shapes`] finds every tensor's element type and extents; a [`Job`] makes the memory and binds the instance.
//! Names that the kernel does not have are refused, with the nearest that it has.

use super::{Failure, random};
use crate::cli::{LaunchOrder, MachineOptions};
use crate::engine::{Engine, Instance, Interface, InterfaceElement, InterfaceParam, Library};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::lane::Access;
use tvmc_ir::module::Key;
use tvmc_ir::tile::TensorDecl;
use tvmc_ir::tile::launch::Binding;
use tvmc_model::executor::{Argument, Arrangement, Device, Extent, LaunchId, Purpose, Slice};
use tvmc_types::dtype::DType;
use tvmc_weights::npy::{NpyArray, NpyDtype};

/// `name=value`, split.
pub fn pair<'a>(text: &'a str, option: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=').ok_or_else(|| Failure::usage(format!("{option} takes NAME=VALUE, got `{text}`")))
}

/// Element type and extents, as in `f32[128, 64]`.
pub type TensorType = (String, Vec<u64>);

/// Reads `f32[128,64]`; `None` if it is written otherwise.
fn tensor_type(text: &str) -> Option<TensorType> {
    let (element, shape) = text.strip_suffix(']')?.split_once('[')?;
    let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::parse);
    let sizes: Vec<u64> = sizes.collect::<Result<_, _>>().ok()?;
    let element = element.trim();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!element.is_empty() && element.chars().all(word)).then(|| (element.to_owned(), sizes))
}

/// A file for a tensor, and of what type the tensor is.
pub struct TensorFile {
    /// Element type and shape, if given.
    pub ty: Option<TensorType>,
    /// The file.
    pub path: PathBuf,
}

impl TensorFile {
    /// Reads `f32[128,64]:y.npy` or `y.npy`.
    pub fn read(text: &str, option: &str) -> Result<Self, Failure> {
        let bad =
            || Failure::usage(format!("{option} takes NAME=TYPE[SIZES]:PATH or NAME=PATH, got `{text}`"));
        Ok(match text.split_once("]:") {
            None => Self { ty: None, path: text.into() },
            Some((ty, path)) => {
                let ty = tensor_type(&format!("{ty}]")).ok_or_else(bad)?;
                Self { ty: Some(ty), path: path.into() }
            }
        })
    }
}

/// Outputs by the names of their arguments, each `NAME=f32[128,64]:y.npy` or `NAME=y.npy`.
pub fn outputs(out: &[String], interface: &Interface) -> Result<HashMap<String, TensorFile>, Failure> {
    let mut outputs = HashMap::new();
    for text in out {
        let (name, rest) = pair(text, "--out")?;
        known_argument(&interface.params, name)?;
        outputs.insert(name.to_owned(), TensorFile::read(rest, "--out")?);
    }
    Ok(outputs)
}

fn known_argument(params: &[InterfaceParam], name: &str) -> Result<usize, Failure> {
    params.iter().position(|p| p.name() == name).ok_or_else(|| {
        Failure::user(format!("there is no argument `{name}`"))
            .did_you_mean(name, params.iter().map(InterfaceParam::name))
    })
}

/// A number or truth value as the command line spells it.
pub fn number(text: &str) -> Option<Number> {
    match text {
        "true" => Some(Number::Bool(true)),
        "false" => Some(Number::Bool(false)),
        _ => text.parse().ok().map(Number::Int).or_else(|| text.parse().ok().map(Number::Float)),
    }
}

/// Choices of tune names, and sizes of dimensions.
type TunesAndDims = (Vec<(String, i64)>, Vec<(String, u64)>);

/// Constants from `--set`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Dimensions and tune names.
    pub numbers: Vec<(String, i64)>,
    /// Formats of generic parameters.
    pub formats: Vec<(String, String)>,
}

impl Settings {
    /// The numbers, as choices of tune names and sizes of dimensions.
    pub fn split(&self, interface: &Interface) -> TunesAndDims {
        let is_tune = |name: &str| interface.tunes.iter().any(|t| t == name);
        let (tunes, dims): (Vec<_>, Vec<_>) = self.numbers.iter().cloned().partition(|(n, _)| is_tune(n));
        (tunes, dims.into_iter().filter_map(|(n, v)| u64::try_from(v).ok().map(|v| (n, v))).collect())
    }

    /// The key of an instance that these settings alone describe, for `build`; with tiles as fine as `blocks` blocks ask for.
    pub fn key(
        &self,
        library: &Library,
        kernel: &str,
        interface: &Interface,
        blocks: u64,
    ) -> Result<Key, Failure> {
        let (with, dims) = self.split(interface);
        let known = |name: &str| dims.iter().find(|(n, _)| n == name).map(|(_, v)| Number::Int(*v as i64));
        let elements = self.formats.clone();
        let mut key = Key { kernel: kernel.to_owned(), elements, dims: dims.clone(), ..Key::default() };
        let offered = library.interface_for(&key).map_err(Failure::from_error)?;
        key.tunes = offered.choose(&known, &with).map_err(Failure::from_error)?;
        library.busy(&mut key, &known, &with, blocks).map_err(Failure::from_error)?;
        Ok(key)
    }
}

/// Reads `--set`: integers, and names of formats, for names that the kernel has.
pub fn settings(set: &[String], interface: &Interface) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    for text in set {
        let (name, value) = pair(text, "--set")?;
        let generic = interface.generics.iter().any(|g| g == name);
        let counted = interface.dims.iter().chain(&interface.tunes).any(|d| d == name);
        if !generic && !counted {
            let known = interface.generics.iter().chain(&interface.dims).chain(&interface.tunes);
            return Err(Failure::user(format!("there is nothing named `{name}` to set"))
                .did_you_mean(name, known.map(String::as_str)));
        }
        match value.parse::<i64>() {
            Ok(value) if counted => settings.numbers.push((name.to_owned(), value)),
            Err(_) if generic => settings.formats.push((name.to_owned(), value.to_owned())),
            Ok(_) => {
                return Err(Failure::user(format!("`{name}` stands for a format, `{value}` is a number")));
            }
            Err(_) => return Err(Failure::user(format!("`{name}` stands for a number, `{value}` is none"))),
        }
    }
    Ok(settings)
}

/// What is known of an argument before its shape is.
pub enum Given {
    /// From a file.
    Array(NpyArray),
    /// To be filled with random numbers.
    Random(String, Vec<u64>),
    /// A scalar.
    Number(Number),
    /// An output, or forgotten.
    Nothing,
}

/// Reads `--arg`. With `random`, `x=f32[64,32]` is a tensor of random numbers.
pub fn given(params: &[InterfaceParam], args: &[String], random: bool) -> Result<Vec<Given>, Failure> {
    let mut given: Vec<Given> = params.iter().map(|_| Given::Nothing).collect();
    for text in args {
        let (name, value) = pair(text, "--arg")?;
        let at = known_argument(params, name)?;
        given[at] = match &params[at] {
            InterfaceParam::Tensor { .. } => match tensor_type(value).filter(|_| random) {
                Some((element, shape)) => Given::Random(element, shape),
                None => Given::Array(read_array(name, Path::new(value))?),
            },
            InterfaceParam::Scalar { dtype, .. } => Given::Number(number(value).ok_or_else(|| {
                Failure::user(format!("argument `{name}` is a {dtype}, `{value}` is no number"))
            })?),
        };
    }
    Ok(given)
}

/// Element name and shape of every tensor argument. Arrays of dense types carry theirs; the bytes of a format say nothing, so its
/// dimensions must be bound by another argument or by --set.
pub type Shapes = Vec<Option<TensorType>>;

/// Element type and shape of every tensor argument.
pub fn shapes(
    library: &Library,
    params: &[InterfaceParam],
    given: &[Given],
    outputs: &HashMap<String, TensorFile>,
    settings: &Settings,
) -> Result<Shapes, Failure> {
    let mut dims: HashMap<String, u64> = HashMap::new();
    for (name, value) in &settings.numbers {
        if let Ok(value) = u64::try_from(*value) {
            dims.insert(name.clone(), value);
        }
    }
    let mut shapes: Shapes = vec![None; params.len()];
    let mut open = Vec::new();
    for (at, param) in params.iter().enumerate() {
        let InterfaceParam::Tensor { name, element, shape } = param else {
            if matches!(given[at], Given::Nothing) {
                return Err(Failure::user(format!(
                    "argument `{}` is missing: give --arg {}=VALUE",
                    param.name(),
                    param.name()
                )));
            }
            continue;
        };
        let chosen = match element {
            InterfaceElement::Named(named) => Some(named.clone()),
            InterfaceElement::Generic(generic) => {
                settings.formats.iter().find(|(n, _)| n == generic).map(|(_, value)| value.clone())
            }
        };
        let declared = outputs.get(name).and_then(|o| o.ty.clone());
        let found = match (&given[at], declared) {
            (Given::Array(array), _) => {
                // Types below a byte are packed, as formats are.
                let dense =
                    chosen.as_deref().is_none_or(|c| DType::from_name(c).is_some_and(|d| d.bits() >= 8));
                if dense {
                    let element = chosen.unwrap_or_else(|| array.dtype.name().to_owned());
                    check_elements(name, array, ("kernel", &element))?;
                    Some((element, array.shape.clone()))
                } else {
                    if array.dtype != NpyDtype::U8 {
                        return Err(Failure::user(format!(
                            "argument `{name}` is of a packed type: give its raw bytes as a u8 array, not {}",
                            array.dtype.name()
                        )));
                    }
                    open.push((at, chosen.unwrap_or_default()));
                    None
                }
            }
            (Given::Random(element, shape), _) => {
                if let Some(chosen) = chosen.filter(|c| c != element) {
                    return Err(Failure::user(format!(
                        "argument `{name}` is given as {element}, the kernel expects {chosen}"
                    )));
                }
                Some((element.clone(), shape.clone()))
            }
            (Given::Nothing, Some((dtype, shape))) => {
                if let Some(chosen) = chosen
                    && chosen != dtype
                {
                    return Err(Failure::user(format!(
                        "output `{name}` is declared as {dtype}, the kernel writes {chosen}"
                    )));
                }
                Some((dtype, shape))
            }
            (Given::Nothing | Given::Number(_), _) => {
                return Err(Failure::user(format!(
                    "argument `{name}` is missing: give --arg {name}=FILE.npy, or --out '{name}=TYPE[SIZES]:FILE.npy' for an output"
                )));
            }
        };
        if let Some((_, sizes)) = &found {
            for (expr, size) in shape.iter().zip(sizes) {
                if let Expr::Name(dim) = expr {
                    dims.entry(dim.clone()).or_insert(*size);
                }
            }
        }
        shapes[at] = found;
    }
    for (at, element) in open {
        let InterfaceParam::Tensor { name, shape, .. } = &params[at] else { continue };
        let sizes: Result<Vec<u64>, Failure> = shape
            .iter()
            .map(|expr| {
                let value = expr.eval_int(&|n| dims.get(n).map(|d| Number::Int(*d as i64))).map_err(|e| {
                    Failure::user(format!(
                        "the shape of `{name}` is not known: {e}; raw bytes carry no shape, so bind it with --set"
                    ))
                })?;
                u64::try_from(value).map_err(|_| Failure::user(format!("`{name}` would have an extent of {value}")))
            })
            .collect();
        let sizes = sizes?;
        if let Given::Array(array) = &given[at] {
            check_bytes(library, name, array, (&element, &sizes))?;
        }
        shapes[at] = Some((element, sizes));
    }
    Ok(shapes)
}

/// Reads the file of an argument.
pub fn read_array(name: &str, path: &Path) -> Result<NpyArray, Failure> {
    NpyArray::read_file(path)
        .map_err(|e| Failure::user(format!("argument `{name}`: {}: {e}", path.display())))
}

/// Refuses an array that is not as long as elements of this type and these extents are.
pub fn check_bytes(
    library: &Library,
    name: &str,
    array: &NpyArray,
    (element, sizes): (&str, &[u64]),
) -> Result<(), Failure> {
    let found = array.data.len() as u64;
    let wanted = library.tensor_bytes(element, sizes).map_err(Failure::from_error)?;
    if found == wanted {
        return Ok(());
    }
    Err(Failure::user(format!(
        "argument `{name}` has {found} bytes; {sizes:?} elements of `{element}` take {wanted}"
    )))
}

/// Refuses an array of other elements than a kernel or program expects. Types that numpy lacks (bf16 and small floats) travel as unsigned
/// integers of their width.
pub fn check_elements(name: &str, array: &NpyArray, (who, element): (&str, &str)) -> Result<(), Failure> {
    let unsigned = matches!(array.dtype, NpyDtype::U8 | NpyDtype::U16 | NpyDtype::U32);
    let same_width = |d: DType| d.bits() as usize == array.dtype.bytes() * 8;
    if element == array.dtype.name() || (unsigned && DType::from_name(element).is_some_and(same_width)) {
        return Ok(());
    }
    Err(Failure::user(format!(
        "argument `{name}` has elements of {}, the {who} expects {element}",
        array.dtype.name()
    )))
}

/// Everything a launch needs, so that it can be prepared on several machines.
pub struct Job {
    /// The kernel's name.
    pub kernel: String,
    /// Its parameters.
    pub params: Vec<InterfaceParam>,
    /// Element type and shape of each.
    pub shapes: Shapes,
    /// What is put into each.
    pub given: Vec<Given>,
    /// Constants set by hand.
    pub settings: Settings,
}

/// A job for timing: every argument is given, with `x=f32[64,32]` for random numbers.
pub fn random_job(path: &Path, kernel: &str, set: &[String], args: &[String]) -> Result<Job, Failure> {
    let library = Library::open(path)?;
    library.check()?;
    let interface = library.required_interface(kernel)?;
    let settings = settings(set, &interface)?;
    let given = given(&interface.params, args, true)?;
    for (param, given) in interface.params.iter().zip(&given) {
        if matches!(given, Given::Nothing) {
            let name = param.name();
            return Err(Failure::user(format!("argument `{name}` is missing")).help(format!(
                "give --arg '{name}=f32[64,64]' for random numbers of a shape, outputs too, or --arg {name}=FILE.npy, or --arg {name}=128 for a number"
            )));
        }
    }
    let shapes = shapes(&library, &interface.params, &given, &HashMap::new(), &settings)?;
    Ok(Job { kernel: kernel.to_owned(), params: interface.params, shapes, given, settings })
}

/// A kernel with its arguments in a machine's memory.
pub struct Bound {
    /// The engine.
    pub engine: Engine,
    /// What was compiled.
    pub instance: Rc<Instance>,
    /// What it was made for.
    pub choices: Key,
    binding: Binding,
    /// At least one list; launches take them in turn.
    copies: Vec<Vec<Argument>>,
    /// Their launches, once they were made.
    kept: Vec<Option<LaunchId>>,
    turn: usize,
}

impl Bound {
    /// Runs the kernel once, on the next copy of the arguments; gives what it printed, the first time.
    pub fn launch(&mut self) -> Result<Vec<String>, Failure> {
        let turn = self.turn;
        self.turn = (turn + 1) % self.copies.len();
        if let Some(launch) = self.kept[turn] {
            return self.engine.again(launch, &[]).map(|()| Vec::new()).map_err(Failure::from_error);
        }
        let arguments = &self.copies[turn];
        let lines = self.engine.run(&self.instance, &self.binding, arguments).map_err(Failure::from_error)?;
        let launch = self.engine.keep(&self.instance, &self.binding, arguments);
        self.kept[turn] = Some(launch.map_err(Failure::from_error)?);
        Ok(lines)
    }

    fn slices(&self) -> impl Iterator<Item = Option<Slice>> + '_ {
        self.copies[0].iter().map(|argument| match argument {
            Argument::Tensor { slice, .. } => Some(*slice),
            Argument::Scalar(_) => None,
        })
    }

    /// Bytes of all tensor arguments together.
    pub fn bytes(&self) -> u64 {
        self.slices().flatten().map(|slice| slice.bytes).sum()
    }

    /// Waits until all launches are done: reads a byte of the memory they used.
    pub fn wait(&mut self) -> Result<(), Failure> {
        let first = self.slices().flatten().find(|slice| slice.bytes > 0);
        let Some(slice) = first else { return Ok(()) };
        let mut word = vec![0; slice.bytes.min(4) as usize];
        self.engine.read(slice.memory, slice.offset, &mut word).map_err(Failure::from_error)
    }

    /// The bytes of every tensor argument; none for numbers.
    pub fn results(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        let slices: Vec<Option<Slice>> = self.slices().collect();
        let mut results = Vec::with_capacity(slices.len());
        for slice in slices {
            let mut bytes = Vec::new();
            if let Some(slice) = slice {
                bytes.resize(slice.bytes as usize, 0);
                self.engine.read(slice.memory, slice.offset, &mut bytes).map_err(Failure::from_error)?;
            }
            results.push(bytes);
        }
        Ok(results)
    }
}

impl Job {
    /// As [`Self::placed`], and compiles the instance that the arguments ask for. On a GPU `order` decides which launches write the same memory.
    pub fn prepare(
        &self,
        library: Library,
        machine: &MachineOptions,
        (copies, order): (NonZeroU32, LaunchOrder),
    ) -> Result<Bound, Failure> {
        let (mut engine, mut copies) = self.placed(library, machine, copies)?;
        let interface = engine.library().required_interface(&self.kernel)?;
        let (with, set) = self.settings.split(&interface);
        let key = engine.key(&self.kernel, &copies[0], &with, &set).map_err(Failure::from_error)?;
        let instance = engine.instance(&key).map_err(Failure::from_error)?;
        let binding = engine.bind(&instance, &copies[0]).map_err(Failure::from_error)?;
        if let Some(batch) = engine.machine().batch() {
            copies = ordered(&mut engine, &instance, copies, (order, batch))?;
        }
        let kept = vec![None; copies.len()];
        Ok(Bound { engine, instance, choices: key.choices, binding, copies, kept, turn: 0 })
    }

    /// Makes a machine and puts the arguments into its memory, each `copies` times in places of its own.
    pub fn placed(
        &self,
        library: Library,
        machine: &MachineOptions,
        copies: NonZeroU32,
    ) -> Result<(Engine, Vec<Vec<Argument>>), Failure> {
        let mut engine = Engine::new(library, machine)?;
        let first = self.place(&mut engine)?;
        let mut all = vec![first];
        for _ in 1..copies.get() {
            let copy = all[0].iter().map(|argument| engine.duplicate(argument)).collect::<Result<_, _>>();
            all.push(copy.map_err(Failure::from_error)?);
        }
        Ok((engine, all))
    }

    /// Puts the arguments into a machine's memory.
    fn place(&self, engine: &mut Engine) -> Result<Vec<Argument>, Failure> {
        let mut arguments = Vec::new();
        let extents = |(_, sizes): &(String, Vec<u64>)| sizes.iter().copied().map(Some).collect();
        let known: Vec<Vec<Option<u64>>> =
            self.shapes.iter().map(|shape| shape.as_ref().map_or_else(Vec::new, extents)).collect();
        for (at, param) in self.params.iter().enumerate() {
            let name = param.name();
            let Some((element, sizes)) = &self.shapes[at] else {
                let Given::Number(number) = self.given[at] else {
                    return Err(Failure::user(format!("argument `{name}` is missing")));
                };
                arguments.push(Argument::Scalar(number));
                continue;
            };
            let bytes = engine.tensor_bytes(element, sizes).map_err(Failure::from_error)?;
            let shape: Vec<Extent> = sizes.iter().map(|&size| Extent { size, fixed: false }).collect();
            // Random weights of a format lie as a session keeps them, so that what is timed is what a model runs.
            if matches!(self.given[at], Given::Random(..))
                && whole_rows(element, sizes)
                && sizes.len() == 2
                && engine
                    .prefers_packed(&self.kernel, at, Purpose::Weight, &known)
                    .map_err(Failure::from_error)?
            {
                let mut content = Vec::new();
                random::fill(element, bytes, at as u64, &mut |_, part| {
                    content.extend_from_slice(part);
                    Ok(())
                })?;
                let rows = sizes.first().copied().unwrap_or(1);
                let arrangement = if rows == 0 { Arrangement::Declared } else { Arrangement::Packed };
                let slice =
                    engine.weight(&content, rows, element, arrangement, name).map_err(Failure::from_error)?;
                // Extents of weights are known when a session compiles.
                let shape = shape.into_iter().map(|extent| Extent { fixed: true, ..extent }).collect();
                arguments.push(Argument::Tensor { slice, shape, element: element.clone(), arrangement });
                continue;
            }
            let memory = engine.allocate(bytes, name).map_err(Failure::from_error)?;
            match &self.given[at] {
                Given::Array(array) if array.data.len() as u64 != bytes => {
                    return Err(Failure::user(format!(
                        "argument `{name}` has {} bytes, its shape takes {bytes}",
                        array.data.len()
                    )));
                }
                Given::Array(array) => {
                    engine.write(memory, 0, &array.data).map_err(Failure::from_error)?;
                }
                Given::Random(..) => {
                    random::fill(element, bytes, at as u64, &mut |offset, part| {
                        engine.write(memory, offset, part).map_err(Failure::from_error)
                    })?;
                }
                Given::Number(_) | Given::Nothing => {}
            }
            arguments.push(Argument::Tensor {
                slice: Slice { memory, offset: 0, bytes },
                shape,
                element: element.clone(),
                arrangement: Arrangement::Declared,
            });
        }
        Ok(arguments)
    }

    /// Reports the first element in which two runs differ beyond what the order of sums explains.
    pub fn compare(&self, got: &[Vec<u8>], expected: &[Vec<u8>]) -> Result<(), Failure> {
        for (at, param) in self.params.iter().enumerate() {
            let Some((element, sizes)) = &self.shapes[at] else { continue };
            compare(param.name(), element, sizes, [&got[at], &expected[at]])?;
        }
        Ok(())
    }
}

/// Lists of arguments for launches on a device that runs neighbouring ones at once where it may: what a kernel writes is the same memory in all of
/// them, or in none of a batch.
fn ordered(
    engine: &mut Engine,
    instance: &Instance,
    copies: Vec<Vec<Argument>>,
    (order, batch): (LaunchOrder, usize),
) -> Result<Vec<Vec<Argument>>, Failure> {
    let written = |at: usize| matches!(&instance.kernel.params[at], TensorDecl::Tensor { access, .. } if *access != Access::Read);
    let lists = match order {
        LaunchOrder::Dependent => copies.len(),
        LaunchOrder::Overlapped => batch.next_multiple_of(copies.len()),
    };
    let mut all: Vec<Vec<Argument>> = Vec::with_capacity(lists);
    for number in 0..lists {
        let mut list = copies[number % copies.len()].clone();
        for (at, argument) in list.iter_mut().enumerate().filter(|(at, _)| written(*at)) {
            *argument = match order {
                LaunchOrder::Dependent => copies[0][at].clone(),
                LaunchOrder::Overlapped if number < copies.len() => continue,
                LaunchOrder::Overlapped => engine.duplicate(argument).map_err(Failure::from_error)?,
            };
        }
        all.push(list);
    }
    Ok(all)
}

/// Whether each row of a matrix is a whole number of bytes.
fn whole_rows(element: &str, sizes: &[u64]) -> bool {
    let columns = sizes.last().copied().unwrap_or(0);
    DType::from_name(element).is_none_or(|dtype| (columns * u64::from(dtype.bits())).is_multiple_of(8))
}

/// Reports the first element in which a tensor of a run differs from that of the interpreter beyond what the order of sums explains. Formats
/// are not compared: their bytes say nothing about how near values are.
pub fn compare(name: &str, element: &str, sizes: &[u64], tensors: [&[u8]; 2]) -> Result<(), Failure> {
    let Some(dtype) = DType::from_name(element) else { return Ok(()) };
    let value = |bytes: &[u8], i: usize| dtype.decode(tvmc_types::packing::get_bits(bytes, i, dtype.bits()));
    for i in 0..sizes.iter().product::<u64>() as usize {
        let [a, b] = tensors.map(|bytes| value(bytes, i));
        let close = a == b
            || (a.is_nan() && b.is_nan())
            || (dtype.is_float() && (a - b).abs() <= 1e-4 * b.abs().max(1.0));
        if !close {
            let mut rest = i as u64;
            let mut index = Vec::new();
            for size in sizes.iter().rev() {
                index.insert(0, rest % size);
                rest /= size;
            }
            return Err(Failure::user(format!("`{name}`{index:?} is {a}, the interpreter says {b}")));
        }
    }
    Ok(())
}
