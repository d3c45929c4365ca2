//! `run --program`: one call of a program on arrays.
//!
//! Where a program's names get their values from:
//!
//! ```text
//! input, number of a call   --arg x=x.npy, --arg start=0
//! weight                    --arg w=w.npy, --arg 'wq[0]=w.npy', --arg 'w=q4_0[64,32]:bytes.npy'; else the file of --model
//! hyper-parameter           --set L=2; else the metadata of --model, the module, the default
//! parameter (A: format)     --set A=bf16, --act, --kv; else its default
//! dimension                 the shapes of what is given, of --out 'y=f32[1,64]:y.npy', or --set R=1
//! ```
//!
//! States begin at zero. Outputs that `--out` does not name are computed and dropped. Names that the program does not have are refused,
//! with the nearest that it has; so are arrays whose type or shape is not what it declares.

use super::arguments::{TensorFile, check_bytes, check_elements, compare, number, pair, read_array};
use super::models::fixed_by_module;
use super::run::{on_targets, save_array};
use super::{Failure, weights};
use crate::cli::{Activations, MachineOptions, RunOptions};
use crate::engine::{Engine, Library, ProgramChoices, Storage, element};
use crate::output;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::program::{Program, WeightElement};
use tvmc_model::executor::{Call, ExecutorError, LoadOptions, Session, SourceTensor, WeightSource};
use tvmc_types::dtype::DType;
use tvmc_weights::Weights;
use tvmc_weights::gguf::Metadata;

/// Numbers by name.
type Numbers = Vec<(String, Number)>;

/// A tensor that the command line gives, or that came out.
struct Array {
    /// Of an input or output, its name; of a weight, that in files.
    name: String,
    element: String,
    shape: Vec<u64>,
    data: Vec<u8>,
}

/// Arrays in front of a file.
struct Source {
    arrays: Vec<Array>,
    file: Option<Weights>,
}

impl Source {
    /// The file, and the place in it, of a tensor that is no array.
    fn in_file(&self, at: usize) -> Option<(&Weights, usize)> {
        Some((self.file.as_ref()?, at.checked_sub(self.arrays.len())?))
    }
}

impl WeightSource for Source {
    fn metadata(&self) -> Option<&Metadata> {
        self.file.as_ref()?.metadata()
    }

    fn find(&self, name: &str) -> Option<usize> {
        let own = self.arrays.iter().position(|array| array.name == name);
        own.or_else(|| Some(self.arrays.len() + self.file.as_ref()?.index(name)?))
    }

    fn tensor(&self, at: usize) -> SourceTensor<'_> {
        if let Some((file, place)) = self.in_file(at) {
            return file.tensor(place);
        }
        let Array { name, element, shape, data } = &self.arrays[at];
        SourceTensor { name, shape, format: element, bytes: data }
    }

    fn release(&self, at: usize) {
        if let Some((file, place)) = self.in_file(at) {
            file.release(place);
        }
    }
}

/// All that a call is given.
struct Given {
    source: Source,
    inputs: Vec<Array>,
    /// Numbers of the call and dimensions.
    numbers: Numbers,
    /// Hyper-parameters.
    load: LoadOptions,
    outputs: Vec<(String, TensorFile)>,
}

/// Runs a program once.
pub(super) fn run(options: &RunOptions, library: Library, name: &str) -> Result<(), Failure> {
    let known = library.program_names();
    if !known.iter().any(|program| program == name) {
        return Err(Failure::user(format!("there is no program `{name}`"))
            .did_you_mean(name, known.iter().map(String::as_str)));
    }
    let (choices, numbers) = settings(options, &library)?;
    let program = library.program(name, &choices)?;
    let given = given(options, &library, &program, numbers)?;
    let (results, expected) =
        on_targets(options, library, &mut |library, machine: &MachineOptions, trace| {
            let mut engine = Engine::new(library, machine)?;
            if let Some(trace) = trace {
                engine.trace(trace.listener())?;
            }
            call(
                Session::load(program.clone(), &given.source, engine, &given.load).map_err(explained)?,
                &given,
            )
        })?;
    if let Some(expected) = &expected {
        for (got, expected) in results.iter().zip(expected) {
            compare(&got.name, &got.element, &got.shape, [&got.data, &expected.data])?;
        }
        output::note("verified: equal to the interpreter");
    }
    for result in results {
        if let Some((_, output)) = given.outputs.iter().find(|(name, _)| *name == result.name) {
            save_array(&output.path, &result.element, &result.shape, result.data)?;
        }
    }
    Ok(())
}

/// What `--set` says: elements for parameters of the program, and numbers.
fn settings(options: &RunOptions, library: &Library) -> Result<(ProgramChoices, Numbers), Failure> {
    let storage = Storage::of(options.act.unwrap_or(Activations::F32), options.kv.as_deref());
    let mut choices = storage.choices(library)?;
    let mut numbers = Vec::new();
    match options.ctx {
        Some(0) => return Err(Failure::usage("--ctx must be at least 1")),
        Some(context) => numbers.push(("C".to_owned(), Number::Int(i64::from(context)))),
        None => {}
    }
    for text in &options.set {
        let (name, value) = pair(text, "--set")?;
        match number(value) {
            Some(value) => numbers.push((name.to_owned(), value)),
            None => {
                choices.insert(name.to_owned(), element(library, "--set", name, value)?);
            }
        }
    }
    Ok((choices, numbers))
}

/// Sorts what the command line gives by what the program declares.
fn given(
    options: &RunOptions,
    library: &Library,
    program: &Program,
    numbers: Numbers,
) -> Result<Given, Failure> {
    let file = match &options.model {
        Some(model) => Some(weights::open(model, &Arc::new(AtomicBool::new(false)))?),
        None => None,
    };
    let mut given = Given {
        source: Source { arrays: Vec::new(), file },
        inputs: Vec::new(),
        numbers: Vec::new(),
        load: LoadOptions::default(),
        outputs: Vec::new(),
    };
    let dimensions = dimensions(program);
    for (name, value) in numbers {
        if let Some(hyper) = program.hypers.iter().find(|hyper| hyper.name == name) {
            let value = of_type("number", &name, hyper.dtype, value)?;
            given.load.set.push((name, value));
        } else if dimensions.contains(&name) {
            given.numbers.push((name, value));
        } else {
            let known = program.hypers.iter().map(|h| &h.name).chain(&dimensions).map(String::as_str);
            return Err(
                Failure::user(format!("there is nothing named `{name}` to set")).did_you_mean(&name, known)
            );
        }
    }
    fixed_by_module(library, program, given.source.file.as_ref(), &mut given.load)?;
    for text in &options.arg {
        let (name, value) = pair(text, "--arg")?;
        argument(program, &mut given, (name, value), library)?;
    }
    for text in &options.out {
        let (name, value) = pair(text, "--out")?;
        let Some(decl) = program.outputs.iter().find(|output| output.name == name) else {
            return Err(Failure::user(format!("program `{}` has no output `{name}`", program.name))
                .did_you_mean(name, program.outputs.iter().map(|output| output.name.as_str())));
        };
        let output = TensorFile::read(value, "--out")?;
        if let Some((element, _)) = &output.ty
            && element != decl.element.name()
        {
            return Err(Failure::user(format!(
                "output `{name}` is declared as {element}, the program writes {}",
                decl.element.name()
            )));
        }
        given.outputs.push((name.to_owned(), output));
    }
    Ok(given)
}

/// A number as the type that the program declares for it.
fn of_type(what: &str, name: &str, dtype: DType, value: Number) -> Result<Number, Failure> {
    match value {
        Number::Int(value) if dtype.is_float() => Ok(Number::Float(value as f64)),
        Number::Float(_) if dtype.is_float() => Ok(value),
        Number::Int(value) if i32::try_from(value).is_ok() => Ok(Number::Int(value)),
        Number::Int(_) | Number::Float(_) | Number::Bool(_) => {
            Err(Failure::user(format!("{what} `{name}` is declared as {dtype}, which {value} is not")))
        }
    }
}

/// Names that stand alone as an extent: dimensions, or numbers that are known otherwise.
fn dimensions(program: &Program) -> Vec<String> {
    let lists = program.inputs.iter().chain(&program.outputs).map(|memory| &memory.shape);
    let mut names: Vec<String> = Vec::new();
    for expr in lists.chain(program.weights.iter().map(|weight| &weight.shape)).flatten() {
        if let Expr::Name(name) = expr
            && !names.contains(name)
            && !program.consts.iter().any(|(known, _)| known == name)
        {
            names.push(name.clone());
        }
    }
    names
}

/// One `--arg`: an input, a number of the call, or a weight.
fn argument(
    program: &Program,
    given: &mut Given,
    (name, value): (&str, &str),
    library: &Library,
) -> Result<(), Failure> {
    if let Some(scalar) = program.scalars.iter().find(|scalar| scalar.name == name) {
        let value = number(value).ok_or_else(|| {
            Failure::user(format!("argument `{name}` is a {}, `{value}` is no number", scalar.dtype))
        })?;
        let value = of_type("argument", name, scalar.dtype, value)?;
        given.numbers.push((name.to_owned(), value));
        return Ok(());
    }
    if let Some(input) = program.inputs.iter().find(|input| input.name == name) {
        let array = array((name, value), Some(input.element.name()), library)?;
        given.inputs.push(Array { name: name.to_owned(), ..array });
        return Ok(());
    }
    let (list, index) = match name.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((list, index)) => (list, Some(index)),
        None => (name, None),
    };
    let Some(weight) = program.weights.iter().find(|weight| weight.name == list) else {
        let inputs = program.inputs.iter().map(|input| &input.name);
        let scalars = program.scalars.iter().map(|scalar| &scalar.name);
        let weights = program.weights.iter().map(|weight| &weight.name);
        let known = inputs.chain(scalars).chain(weights).map(String::as_str);
        return Err(Failure::user(format!("program `{}` has no input or weight `{list}`", program.name))
            .did_you_mean(list, known));
    };
    let file_name = match (index, &weight.count) {
        (None, None) => weight.pattern.clone(),
        (Some(index), Some(_)) => {
            let index: u32 = index.trim().parse().map_err(|_| {
                Failure::user(format!("`{name}`: the place in a list is a number from 0, not `{index}`"))
            })?;
            weight.pattern.replace("{}", &index.to_string())
        }
        (None, Some(_)) => {
            let example = format!("--arg '{list}[0]={value}'");
            return Err(
                Failure::user(format!("`{list}` is a list of weights")).help(format!("say which: {example}"))
            );
        }
        (Some(_), None) => return Err(Failure::user(format!("`{list}` is one weight, not a list"))),
    };
    let declared = match weight.element {
        WeightElement::Any => None,
        WeightElement::DType(dtype) => Some(dtype.name()),
    };
    let array = array((name, value), declared, library)?;
    given.source.arrays.push(Array { name: file_name, ..array });
    Ok(())
}

/// Reads an array; of which elements it is, is said by the text, by the declaration or by the file, in this order.
fn array((name, text): (&str, &str), declared: Option<&str>, library: &Library) -> Result<Array, Failure> {
    let TensorFile { ty, path } = TensorFile::read(text, "--arg")?;
    let file = read_array(name, &path)?;
    let (element, shape) = match ty {
        Some((element, shape)) => {
            check_bytes(library, name, &file, (&element, &shape))?;
            (element, shape)
        }
        None => {
            let element = declared.unwrap_or(file.dtype.name()).to_owned();
            let plain = DType::from_name(&element).is_some_and(|dtype| dtype.bits() >= 8);
            if !plain {
                let help =
                    format!("say the shape: --arg '{name}={element}[ROWS,COLUMNS]:{}'", path.display());
                let message =
                    format!("argument `{name}` is of the packed type `{element}`: its bytes carry no shape");
                return Err(Failure::user(message).help(help));
            }
            check_elements(name, &file, ("program", &element))?;
            (element, file.shape.clone())
        }
    };
    if let Some(declared) = declared.filter(|declared| *declared != element) {
        return Err(Failure::user(format!(
            "argument `{name}` is given as {element}, the program expects {declared}"
        )));
    }
    Ok(Array { name: String::new(), element, shape, data: file.data })
}

/// Calls a loaded program; gives all its outputs.
fn call(mut session: Session<Engine>, given: &Given) -> Result<Vec<Array>, Failure> {
    let shaped = given.outputs.iter().filter_map(|(name, output)| {
        let (_, shape) = output.ty.as_ref()?;
        Some((name.as_str(), shape.as_slice()))
    });
    let inputs = || given.inputs.iter();
    let call = Call {
        numbers: given.numbers.iter().map(|(name, number)| (name.as_str(), *number)).collect(),
        tensors: inputs().map(|input| (input.name.as_str(), input.data.as_slice())).collect(),
        shapes: inputs().map(|input| (input.name.as_str(), input.shape.as_slice())).chain(shaped).collect(),
    };
    session.call(&call).map_err(explained)?;
    let declared: Vec<(String, String)> = session
        .program()
        .outputs
        .iter()
        .map(|output| (output.name.clone(), output.element.name().to_owned()))
        .collect();
    let mut results = Vec::new();
    for (name, element) in declared {
        let mut data = Vec::new();
        let shape = session.output(&name, &mut data).map_err(explained)?;
        results.push(Array { name, element, shape, data });
    }
    Ok(results)
}

/// An error of the executor, with what the command line can do about it.
fn explained(error: ExecutorError) -> Failure {
    let help = match &error {
        ExecutorError::MissingWeight(_) => {
            Some("give --model FILE, or the weight itself with --arg NAME=FILE.npy")
        }
        ExecutorError::MissingHyper { .. } => {
            Some("give --model FILE, or the number itself with --set NAME=VALUE")
        }
        ExecutorError::Expression { .. } => Some(
            "a dimension that no array binds is given with --set NAME=VALUE, or --out 'y=f32[SIZES]:y.npy'",
        ),
        ExecutorError::BadHyper { .. }
        | ExecutorError::BadWeight { .. }
        | ExecutorError::Call(_)
        | ExecutorError::Device(_) => None,
    };
    let failure = Failure::from_error(error);
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}
