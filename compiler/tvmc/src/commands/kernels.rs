//! `check`, `explain`, `run`, `build`: kernels without a model.

use super::{Failure, USER_ERROR, say};
use crate::cli::{BuildOptions, Emit, RunOptions, TargetName};
use crate::engine::{Engine, InstanceKey, InterfaceElement, InterfaceParam, Library};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tvmc_ir::host::{Expr, Number};
use tvmc_model::executor::{Argument, Arrangement, Device, Extent};
use tvmc_types::dtype::DType;
use tvmc_weights::npy::{NpyArray, NpyDtype};

/// `tvmc check`.
pub fn check(files: &[PathBuf]) -> Result<(), Failure> {
    let mut failed = false;
    for file in files {
        if let Err(failure) = Library::open(file).and_then(|library| library.check()) {
            if !failure.message.is_empty() {
                eprintln!("error: {}", failure.message);
            }
            failed = true;
        }
    }
    if failed { Err(Failure::silent(USER_ERROR)) } else { Ok(()) }
}

/// `tvmc explain`.
pub fn explain(code: &str) -> Result<(), Failure> {
    let Some(code) = tvmc_lang::diag::Code::from_text(code) else {
        return Err(Failure::user(format!("there is no diagnostic `{code}`; codes look like E0201")));
    };
    say(&format!("{code}: {}\n\n{}\n", code.title(), code.explanation()))
}

/// `name=value`, split.
fn pair<'a>(text: &'a str, option: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=').ok_or_else(|| Failure::usage(format!("{option} takes NAME=VALUE, got `{text}`")))
}

/// Where an output goes.
struct Output {
    /// Declared dtype and shape, if given.
    ty: Option<(String, Vec<u64>)>,
    path: PathBuf,
}

/// `f32[128,64]:y.npy`, or `y.npy`.
fn output(text: &str) -> Result<Output, Failure> {
    let bad = || Failure::usage(format!("--out takes NAME=TYPE[SIZES]:PATH or NAME=PATH, got `{text}`"));
    let Some((ty, path)) = text.split_once("]:") else {
        return Ok(Output { ty: None, path: text.into() });
    };
    let (dtype, shape) = ty.split_once('[').ok_or_else(bad)?;
    let shape: Result<Vec<u64>, _> =
        shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::parse).collect();
    Ok(Output { ty: Some((dtype.trim().to_owned(), shape.map_err(|_| bad())?)), path: path.into() })
}

fn number(text: &str) -> Option<Number> {
    match text {
        "true" => Some(Number::Bool(true)),
        "false" => Some(Number::Bool(false)),
        _ => text.parse().ok().map(Number::Int).or_else(|| text.parse().ok().map(Number::Float)),
    }
}

/// Integers and names of formats, by the names they are set for.
type Settings = (Vec<(String, i64)>, Vec<(String, String)>);

/// Constants from `--set`: integers, and names of formats.
fn settings(set: &[String]) -> Result<Settings, Failure> {
    let (mut numbers, mut names) = (Vec::new(), Vec::new());
    for text in set {
        let (name, value) = pair(text, "--set")?;
        match value.parse::<i64>() {
            Ok(value) => numbers.push((name.to_owned(), value)),
            Err(_) => names.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok((numbers, names))
}

/// What is known of an argument before its shape is.
enum Given {
    Array(NpyArray),
    Number(Number),
    Nothing,
}

/// `tvmc run`.
pub fn run(options: &RunOptions) -> Result<(), Failure> {
    let library = Library::open(&options.file)?;
    library.check()?;
    let (numbers, names) = settings(&options.set)?;
    let interface = library.interface(&options.kernel).map_err(Failure::from_error)?;
    let mut given = given(&interface.params, &options.arg)?;
    let mut outputs: HashMap<String, Output> = HashMap::new();
    for text in &options.out {
        let (name, rest) = pair(text, "--out")?;
        if !interface.params.iter().any(|p| p.name() == name) {
            return Err(Failure::user(format!("kernel `{}` has no argument `{name}`", options.kernel)));
        }
        outputs.insert(name.to_owned(), output(rest)?);
    }
    let shapes = shapes(&library, &interface.params, &given, &outputs, &numbers, &names)?;
    let arrays: Vec<Option<Vec<u8>>> = given
        .iter_mut()
        .map(|g| if let Given::Array(a) = g { Some(std::mem::take(&mut a.data)) } else { None })
        .collect();
    let scalars: Vec<Option<Number>> =
        given.iter().map(|g| if let Given::Number(n) = g { Some(*n) } else { None }).collect();
    let job = Job { interface: interface.params, shapes, arrays, scalars, numbers };
    let results = job.execute(library, options, options.machine.target)?;
    if options.verify && options.machine.target != TargetName::Interp {
        let library = Library::open(&options.file)?;
        let expected = job.execute(library, options, TargetName::Interp)?;
        job.compare(&results, &expected)?;
        eprintln!("verified: equal to the interpreter");
    }
    for (at, param) in job.interface.iter().enumerate() {
        let Some(output) = outputs.get(param.name()) else { continue };
        let Some((element, shape)) = &job.shapes[at] else { continue };
        let Some(dtype) = NpyDtype::from_name(element) else {
            return Err(Failure::user(format!(
                "`{}`: elements of `{element}` have no .npy form",
                param.name()
            )));
        };
        let array = NpyArray::new(dtype, shape.clone(), results[at].clone()).map_err(Failure::from_error)?;
        array
            .write_file(&output.path)
            .map_err(|e| Failure::user(format!("{}: {e}", output.path.display())))?;
    }
    Ok(())
}

fn given(params: &[InterfaceParam], args: &[String]) -> Result<Vec<Given>, Failure> {
    let mut given: Vec<Given> = params.iter().map(|_| Given::Nothing).collect();
    for text in args {
        let (name, value) = pair(text, "--arg")?;
        let Some(at) = params.iter().position(|p| p.name() == name) else {
            let known: Vec<&str> = params.iter().map(InterfaceParam::name).collect();
            return Err(Failure::user(format!(
                "there is no argument `{name}`; there are: {}",
                known.join(", ")
            )));
        };
        given[at] = match &params[at] {
            InterfaceParam::Tensor { .. } => {
                let array = NpyArray::read_file(Path::new(value))
                    .map_err(|e| Failure::user(format!("argument `{name}`: {value}: {e}")))?;
                Given::Array(array)
            }
            InterfaceParam::Scalar { dtype, .. } => Given::Number(number(value).ok_or_else(|| {
                Failure::user(format!("argument `{name}` is a {dtype}, `{value}` is no number"))
            })?),
        };
    }
    Ok(given)
}

/// Element name and shape of every tensor argument. Arrays of dense types carry theirs; the bytes of a format say nothing, so its
/// dimensions must be bound by another argument or by --set.
type Shapes = Vec<Option<(String, Vec<u64>)>>;

fn shapes(
    library: &Library,
    params: &[InterfaceParam],
    given: &[Given],
    outputs: &HashMap<String, Output>,
    numbers: &[(String, i64)],
    names: &[(String, String)],
) -> Result<Shapes, Failure> {
    let mut dims: HashMap<String, u64> = HashMap::new();
    for (name, value) in numbers {
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
                names.iter().find(|(n, _)| n == generic).map(|(_, value)| value.clone())
            }
        };
        let declared = outputs.get(name).and_then(|o| o.ty.clone());
        let found = match (&given[at], declared) {
            (Given::Array(array), _) => {
                let dense = chosen.as_deref().is_none_or(|c| DType::from_name(c).is_some());
                if dense {
                    let element = chosen.unwrap_or_else(|| array.dtype.name().to_owned());
                    if element != array.dtype.name() && !same_storage(&element, array.dtype) {
                        return Err(Failure::user(format!(
                            "argument `{name}` has elements of {}, the kernel expects {element}",
                            array.dtype.name()
                        )));
                    }
                    Some((element, array.shape.clone()))
                } else {
                    if array.dtype != NpyDtype::U8 {
                        return Err(Failure::user(format!(
                            "argument `{name}` is of a format: give its raw bytes as a u8 array, not {}",
                            array.dtype.name()
                        )));
                    }
                    open.push((at, chosen.unwrap_or_default()));
                    None
                }
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
        let wanted = library.tensor_bytes(&element, &sizes).map_err(Failure::from_error)?;
        if let Given::Array(array) = &given[at]
            && array.data.len() as u64 != wanted
        {
            return Err(Failure::user(format!(
                "argument `{name}` has {} bytes; {sizes:?} elements of `{element}` take {wanted}",
                array.data.len()
            )));
        }
        shapes[at] = Some((element, sizes));
    }
    Ok(shapes)
}

/// Whether an array's bytes are those of the element type under another name (bf16 and small floats travel as integers).
fn same_storage(element: &str, array: NpyDtype) -> bool {
    let unsigned = matches!(array, NpyDtype::U8 | NpyDtype::U16 | NpyDtype::U32);
    DType::from_name(element).is_some_and(|d| unsigned && d.bits() as usize == array.bytes() * 8)
}

/// Everything a run needs, so that it can be run twice.
struct Job {
    interface: Vec<InterfaceParam>,
    shapes: Shapes,
    arrays: Vec<Option<Vec<u8>>>,
    scalars: Vec<Option<Number>>,
    numbers: Vec<(String, i64)>,
}

impl Job {
    /// Runs the kernel; gives the bytes of every tensor argument afterwards.
    fn execute(
        &self,
        library: Library,
        options: &RunOptions,
        target: TargetName,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let mut machine = options.machine.clone();
        machine.target = target;
        let mut engine = Engine::new(library, &machine)?;
        let mut arguments = Vec::new();
        for (at, param) in self.interface.iter().enumerate() {
            let Some((element, sizes)) = &self.shapes[at] else {
                let Some(number) = self.scalars[at] else {
                    return Err(Failure::user(format!("argument `{}` is missing", param.name())));
                };
                arguments.push(Argument::Scalar(number));
                continue;
            };
            let bytes = engine.tensor_bytes(element, sizes).map_err(Failure::from_error)?;
            let memory = engine.allocate(bytes, param.name()).map_err(Failure::from_error)?;
            if let Some(data) = &self.arrays[at] {
                if data.len() as u64 != bytes {
                    return Err(Failure::user(format!(
                        "argument `{}` has {} bytes, its shape takes {bytes}",
                        param.name(),
                        data.len()
                    )));
                }
                engine.write(memory, 0, data).map_err(Failure::from_error)?;
            }
            arguments.push(Argument::Tensor {
                slice: tvmc_model::executor::Slice { memory, offset: 0, bytes },
                shape: sizes.iter().map(|&size| Extent { size, fixed: false }).collect(),
                element: element.clone(),
                arrangement: Arrangement::Declared,
            });
        }
        let interface = engine.library().interface(&options.kernel).map_err(Failure::from_error)?;
        let is_tune = |name: &str| interface.tunes.iter().any(|t| t == name);
        let with: Vec<(String, i64)> = self.numbers.iter().filter(|(n, _)| is_tune(n)).cloned().collect();
        let set: Vec<(String, u64)> = self
            .numbers
            .iter()
            .filter(|(n, _)| !is_tune(n))
            .filter_map(|(n, v)| u64::try_from(*v).ok().map(|v| (n.clone(), v)))
            .collect();
        let key = engine.key(&options.kernel, &arguments, &with, &set).map_err(Failure::from_error)?;
        let instance = engine.instance(&key).map_err(Failure::from_error)?;
        let binding = engine.bind(&instance, &arguments).map_err(Failure::from_error)?;
        for line in engine.run(&instance, &binding, &arguments).map_err(Failure::from_error)? {
            eprintln!("{line}");
        }
        let mut results = Vec::new();
        for argument in &arguments {
            let mut bytes = Vec::new();
            if let Argument::Tensor { slice, .. } = argument {
                bytes.resize(slice.bytes as usize, 0);
                engine.read(slice.memory, 0, &mut bytes).map_err(Failure::from_error)?;
            }
            results.push(bytes);
        }
        Ok(results)
    }

    /// Reports the first element in which two runs differ beyond what the order of sums explains.
    fn compare(&self, got: &[Vec<u8>], expected: &[Vec<u8>]) -> Result<(), Failure> {
        for (at, param) in self.interface.iter().enumerate() {
            let Some((element, sizes)) = &self.shapes[at] else { continue };
            let Some(dtype) = DType::from_name(element) else { continue };
            let value =
                |bytes: &[u8], i: usize| dtype.decode(tvmc_types::packing::get_bits(bytes, i, dtype.bits()));
            let count = sizes.iter().product::<u64>() as usize;
            for i in 0..count {
                let (a, b) = (value(&got[at], i), value(&expected[at], i));
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
                    return Err(Failure::user(format!(
                        "`{}`{index:?} is {a}, the interpreter says {b}",
                        param.name()
                    )));
                }
            }
        }
        Ok(())
    }
}

/// `tvmc build --emit`: an intermediate form on stdout.
pub fn build(options: &BuildOptions) -> Result<(), Failure> {
    let library = Library::open(&options.file)?;
    if options.emit == Emit::Ast {
        return say(&library.printed());
    }
    library.check()?;
    if options.emit == Emit::Program {
        let names = library.program_names();
        let name = match (&options.program, names.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.clone(),
            (None, []) => return Err(Failure::user(format!("{} has no program", options.file.display()))),
            (None, _) => {
                return Err(Failure::usage(format!(
                    "which program? --program takes one of: {}",
                    names.join(", ")
                )));
            }
        };
        return say(&library.program(&name, None)?.to_string());
    }
    let names = library.kernel_names();
    let kernel = match (&options.kernel, names.as_slice()) {
        (Some(kernel), _) => kernel.clone(),
        (None, [only]) => only.clone(),
        (None, _) => {
            return Err(Failure::usage(format!("which kernel? --kernel takes one of: {}", names.join(", "))));
        }
    };
    let interface = library.interface(&kernel).map_err(Failure::from_error)?;
    let (numbers, elements) = settings(&options.set)?;
    let mut key = InstanceKey { kernel: kernel.clone(), elements, ..InstanceKey::default() };
    let (tunes, dims): (Vec<_>, Vec<_>) =
        numbers.into_iter().partition(|(n, _)| interface.tunes.iter().any(|t| t == n));
    key.dims = dims.into_iter().filter_map(|(n, v)| u64::try_from(v).ok().map(|v| (n, v))).collect();
    let sizes = key.dims.clone();
    let known = |name: &str| sizes.iter().find(|(n, _)| n == name).map(|(_, v)| Number::Int(*v as i64));
    key.tunes = interface.choose(&known, &tunes).map_err(Failure::from_error)?;
    let instance = library.instantiate(&key).map_err(Failure::from_error)?;
    if options.emit == Emit::Tile {
        return say(&instance.to_string());
    }
    say(&crate::engine::emit(&instance, options.emit, &options.machine)?)
}
