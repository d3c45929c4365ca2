//! `run`: a kernel or a program on `.npy` arrays.
//!
//! [`run`] runs a kernel; [`super::programs`] reads the same options for a program. Both run on the chosen target and, where `--verify` or
//! `--trace` asks for it, on the interpreter with the same arguments ([`on_targets`]); [`save_array`] writes what comes out.

use super::arguments::{Job, given, outputs, settings, shapes};
use super::{Failure, say};
use crate::cli::{LaunchOrder, MachineOptions, RunOptions, TargetName};
use crate::engine::{Library, Listener};
use crate::files::write_whole_with;
use crate::output;
use std::cell::Cell;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use tvmc_weights::npy::{NpyArray, NpyDtype};

/// `tvmc run`.
pub fn run(options: &RunOptions) -> Result<(), Failure> {
    let library = Library::open(&options.file)?;
    library.check()?;
    match (&options.kernel, &options.program) {
        (Some(kernel), _) => run_kernel(options, library, kernel),
        (None, Some(program)) => super::programs::run(options, library, program),
        (None, None) => Err(Failure::usage("what is to be run? give --kernel NAME or --program NAME")),
    }
}

fn run_kernel(options: &RunOptions, library: Library, kernel: &str) -> Result<(), Failure> {
    let of_programs = [
        ("--model", options.model.is_some()),
        ("--act", options.act.is_some()),
        ("--kv", options.kv.is_some()),
        ("--ctx", options.ctx.is_some()),
    ];
    if let Some((option, _)) = of_programs.iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("{option} is for programs: with --kernel, leave it out")));
    }
    let interface = library.required_interface(kernel)?;
    let settings = settings(&options.set, &interface)?;
    let given = given(&interface.params, &options.arg, false)?;
    let outputs = outputs(&options.out, &interface)?;
    let shapes = shapes(&library, &interface.params, &given, &outputs, &settings)?;
    let job = Job { kernel: kernel.to_owned(), params: interface.params, shapes, given, settings };
    let (mut results, expected) = on_targets(options, library, &mut |library, machine, trace| {
        let mut bound = job.prepare(library, machine, (NonZeroU32::MIN, LaunchOrder::Dependent))?;
        if let Some(trace) = trace {
            bound.engine.trace(trace.listener())?;
        }
        for line in bound.launch()? {
            output::note(&line);
        }
        bound.results()
    })?;
    if let Some(expected) = &expected {
        job.compare(&results, expected)?;
        output::note("verified: equal to the interpreter");
    }
    for (at, param) in job.params.iter().enumerate() {
        let Some(output) = outputs.get(param.name()) else { continue };
        let Some((element, shape)) = &job.shapes[at] else { continue };
        save_array(&output.path, element, shape, std::mem::take(&mut results[at]))?;
    }
    Ok(())
}

/// Writes a tensor. What numpy has no type for is given as it is taken: rows of bytes.
pub(super) fn save_array(path: &Path, element: &str, shape: &[u64], data: Vec<u8>) -> Result<(), Failure> {
    let (dtype, shape) = match NpyDtype::from_name(element) {
        Some(dtype) => (dtype, shape.to_vec()),
        None => {
            let rows: u64 = shape.iter().rev().skip(1).product();
            let bytes = data.len() as u64;
            // What stands once for a tensor makes no whole rows.
            let even = bytes.is_multiple_of(rows.max(1));
            (NpyDtype::U8, if even { vec![rows, bytes / rows.max(1)] } else { vec![bytes] })
        }
    };
    let array = NpyArray::new(dtype, shape, data).map_err(Failure::from_error)?;
    write_whole_with(path, &mut |file| array.write_to(file).map_err(std::io::Error::other))
        .map_err(|e| Failure::user(format!("cannot write {}: {e}", path.display())))
}

/// Runs on one machine, with a trace where one is wanted.
type Execute<'e, T> = &'e mut dyn FnMut(Library, &MachineOptions, Option<&Trace>) -> Result<T, Failure>;

/// Runs on the chosen target, and on the interpreter too where `--verify` or `--trace` asks for it. Gives the results of the target, and those
/// of the interpreter where they are to be compared.
pub(super) fn on_targets<T>(
    options: &RunOptions,
    library: Library,
    execute: Execute<'_, T>,
) -> Result<(T, Option<T>), Failure> {
    let trace = Trace::default();
    let mut run = |library, target, wanted: bool| {
        let machine = MachineOptions { target, ..options.machine.clone() };
        let result = execute(library, &machine, wanted.then_some(&trace));
        // A reader who has seen enough is no error of the launch.
        trace.failure.take().map_or(result, Err)
    };
    let interp = options.machine.target == TargetName::Interp;
    let results = run(library, options.machine.target, options.trace && interp)?;
    if interp || !(options.verify || options.trace) {
        return Ok((results, None));
    }
    let expected = run(Library::open(&options.file)?, TargetName::Interp, options.trace)?;
    Ok((results, options.verify.then_some(expected)))
}

/// A trace on stdout.
#[derive(Default)]
pub(super) struct Trace {
    /// Why it could not be written there.
    failure: Rc<Cell<Option<Failure>>>,
}

impl Trace {
    /// What gets its lines.
    pub(super) fn listener(&self) -> Listener {
        let failure = Rc::clone(&self.failure);
        Box::new(move |line| match say(&format!("{line}\n")) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                failure.set(Some(why));
                ControlFlow::Break(())
            }
        })
    }
}
