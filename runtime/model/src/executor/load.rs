//! Loading: numbers, weights, memory.

use super::ExecutorError;
use super::device::{Arrangement, Device, MemoryId, Purpose, Slice};
use super::plan::Plans;
use super::source::WeightSource;
use super::state::growing_axis;
use std::collections::HashMap;
use std::sync::Arc;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::program::{Argument, Base, MemoryDecl, Program, Stmt, Verified, View, Weight, WeightElement};
use tvmc_types::dtype::DType;

/// Most entries of a weight list (layers).
const MAX_LIST: i64 = 4096;

/// Choices at load time.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Hyper-parameters set by hand; they override the file.
    pub set: Vec<(String, Number)>,
}

/// A weight on the device.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LoadedWeight {
    pub slice: Slice,
    pub shape: Vec<u64>,
    pub element: String,
    pub arrangement: Arrangement,
}

/// Memory of the program.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Allocation {
    pub memory: Option<MemoryId>,
    pub capacity: u64,
    pub arrangement: Arrangement,
    /// Extents in the current call.
    pub shape: Vec<u64>,
}

impl Allocation {
    /// New zeroed memory of this size and shape in place of what there is, which is given back.
    pub(crate) fn renew<D: Device>(
        &mut self,
        device: &mut D,
        bytes: u64,
        shape: Vec<u64>,
        what: &str,
    ) -> Result<(), ExecutorError> {
        let memory = device.allocate(bytes, what)?;
        if let Some(old) = self.memory {
            device.release(old)?;
        }
        *self = Allocation { memory: Some(memory), capacity: bytes, shape, ..*self };
        Ok(())
    }
}

/// A program with its weights and state on a device.
pub struct Session<D: Device> {
    pub(crate) device: D,
    pub(crate) program: Arc<Verified>,
    /// Numbers known since load: hyper-parameters, constants, dimensions of weights.
    pub(crate) fixed: HashMap<String, Number>,
    pub(crate) weights: Vec<Vec<LoadedWeight>>,
    pub(crate) states: Vec<Allocation>,
    pub(crate) buffers: Vec<Allocation>,
    pub(crate) inputs: Vec<Allocation>,
    pub(crate) outputs: Vec<Allocation>,
    pub(crate) plans: Plans,
}

impl<D: Device> Session<D> {
    /// Loads a program's weights.
    pub fn load(
        program: Verified,
        weights: &dyn WeightSource,
        mut device: D,
        options: &LoadOptions,
    ) -> Result<Self, ExecutorError> {
        let mut fixed = hypers(&program, weights, options)?;
        constants(&program, &mut fixed);
        bind_weights(&program, weights, &mut fixed)?;
        constants(&program, &mut fixed);
        let Packed { weights: packed, states: packed_states } = arrangements(&program, &fixed, &mut device)?;
        let mut loaded: Vec<Vec<LoadedWeight>> = Vec::new();
        let mut resident: HashMap<(usize, bool), LoadedWeight> = HashMap::new();
        for (at, decl) in program.weights.iter().enumerate() {
            let arrangement = if packed[at] { Arrangement::Packed } else { Arrangement::Declared };
            let mut list = Vec::new();
            for tensor in tensors_of(&program, weights, Weight(at as u32), &fixed)? {
                let info = weights.tensor(tensor);
                let arrangement = if info.shape.len() == 2 { arrangement } else { Arrangement::Declared };
                let key = (tensor, arrangement == Arrangement::Packed);
                if let Some(weight) = resident.get(&key) {
                    list.push(weight.clone());
                    continue;
                }
                if let WeightElement::DType(dtype) = decl.element
                    && dtype.name() != info.format
                {
                    return Err(ExecutorError::BadWeight {
                        tensor: info.name.to_owned(),
                        found: info.format.to_owned(),
                        expected: dtype.name().to_owned(),
                    });
                }
                let rows = info.shape.iter().rev().skip(1).product::<u64>();
                let slice = device.weight(info.bytes, rows, info.format, arrangement, info.name)?;
                // The device has it now: a model takes its size once, not twice.
                weights.release(tensor);
                let weight = LoadedWeight {
                    slice,
                    shape: info.shape.to_vec(),
                    element: info.format.to_owned(),
                    arrangement,
                };
                resident.insert(key, weight.clone());
                list.push(weight);
            }
            loaded.push(list);
        }
        let empty = |list: &[MemoryDecl]| {
            let arrangement = Arrangement::Declared;
            vec![Allocation { memory: None, capacity: 0, arrangement, shape: Vec::new() }; list.len()]
        };
        let mut session = Session {
            plans: Plans::of(&program, &fixed),
            fixed,
            weights: loaded,
            states: empty(&program.states),
            buffers: empty(&program.buffers),
            inputs: empty(&program.inputs),
            outputs: empty(&program.outputs),
            device,
            program: Arc::new(program),
        };
        for (state, packed) in session.states.iter_mut().zip(packed_states) {
            state.arrangement = if packed { Arrangement::Filled } else { Arrangement::Declared };
        }
        session.allocate_states()?;
        Ok(session)
    }

    /// A number known since load, by its name in the program.
    pub fn number(&self, name: &str) -> Option<Number> {
        self.fixed.get(name).copied()
    }

    /// Bytes of weights on the device (each tensor once) and of state.
    pub fn resident_bytes(&self) -> (u64, u64) {
        let mut seen = HashMap::new();
        for weight in self.weights.iter().flatten() {
            seen.insert((weight.slice.memory, weight.slice.offset), weight.slice.bytes);
        }
        (seen.values().sum(), self.states.iter().map(|s| s.capacity).sum())
    }

    /// The program.
    pub fn program(&self) -> &Verified {
        &self.program
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, to set how it works. Its memory is the session's.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }
}

/// A list of extents as sizes.
pub(crate) fn extents(
    shape: &[Expr],
    what: &str,
    numbers: &HashMap<String, Number>,
) -> Result<Vec<u64>, ExecutorError> {
    let names = |name: &str| numbers.get(name).copied();
    shape
        .iter()
        .map(|expr| {
            let size = expr.eval_int(&names).map_err(|error| ExecutorError::Expression {
                what: format!("the shape of `{what}`"),
                error,
            })?;
            u64::try_from(size)
                .map_err(|_| ExecutorError::Call(format!("the shape of `{what}` has an extent of {size}")))
        })
        .collect()
}

fn hypers(
    program: &Program,
    weights: &dyn WeightSource,
    options: &LoadOptions,
) -> Result<HashMap<String, Number>, ExecutorError> {
    let mut numbers: HashMap<String, Number> = HashMap::new();
    for (name, _) in &options.set {
        if !program.hypers.iter().any(|h| h.name == *name) {
            return Err(ExecutorError::Call(format!(
                "program `{}` has no hyper-parameter `{name}` to set",
                program.name
            )));
        }
    }
    for hyper in &program.hypers {
        if let Some((_, number)) = options.set.iter().find(|(name, _)| *name == hyper.name) {
            numbers.insert(hyper.name.clone(), *number);
            continue;
        }
        let value = weights.metadata().and_then(|m| m.get(&hyper.key));
        let number = match (value, &hyper.default) {
            (Some(value), _) => {
                let bad = |expected| ExecutorError::BadHyper {
                    key: hyper.key.clone(),
                    found: value.type_name().to_owned(),
                    expected,
                };
                if hyper.dtype == DType::F32 {
                    Number::Float(value.as_f64().ok_or_else(|| bad("a number"))?)
                } else {
                    let integer = value.as_u64().filter(|v| *v <= i32::MAX as u64);
                    Number::Int(integer.ok_or_else(|| bad("a non-negative 32-bit integer"))? as i64)
                }
            }
            (None, Some(default)) => default.eval(&|name| numbers.get(name).copied()).map_err(|error| {
                ExecutorError::Expression { what: format!("the default of `{}`", hyper.name), error }
            })?,
            (None, None) => {
                return Err(ExecutorError::MissingHyper {
                    program: program.name.clone(),
                    name: hyper.name.clone(),
                    key: hyper.key.clone(),
                });
            }
        };
        numbers.insert(hyper.name.clone(), number);
    }
    Ok(numbers)
}

/// Constants whose operands are known; the others wait for the dimensions of weights or of a call.
fn constants(program: &Program, fixed: &mut HashMap<String, Number>) {
    for (name, expr) in &program.consts {
        if let Ok(number) = expr.eval(&|n| fixed.get(n).copied()) {
            fixed.insert(name.clone(), number);
        }
    }
}

/// The tensors of a weight or weight list, following fallbacks.
fn tensors_of(
    program: &Program,
    weights: &dyn WeightSource,
    weight: Weight,
    fixed: &HashMap<String, Number>,
) -> Result<Vec<usize>, ExecutorError> {
    let decl = &program.weights[weight.index()];
    let find = |name: &str| weights.find(name);
    let Some(count) = &decl.count else {
        return match (find(&decl.pattern), decl.fallback) {
            (Some(at), _) => Ok(vec![at]),
            // A fallback stands before its user, so this ends.
            (None, Some(other)) if other.index() < weight.index() => {
                tensors_of(program, weights, other, fixed)
            }
            (None, _) => Err(ExecutorError::MissingWeight(decl.pattern.clone())),
        };
    };
    let count = count.eval_int(&|n| fixed.get(n).copied()).map_err(|error| ExecutorError::Expression {
        what: format!("the length of `{}`", decl.name),
        error,
    })?;
    if !(0..=MAX_LIST).contains(&count) {
        return Err(ExecutorError::Call(format!("`{}` has {count} entries; at most {MAX_LIST}", decl.name)));
    }
    (0..count)
        .map(|i| {
            let name = decl.pattern.replace("{}", &i.to_string());
            find(&name).ok_or(ExecutorError::MissingWeight(name))
        })
        .collect()
}

/// Checks every weight's shape; plain names without a value are bound by it.
fn bind_weights(
    program: &Program,
    weights: &dyn WeightSource,
    fixed: &mut HashMap<String, Number>,
) -> Result<(), ExecutorError> {
    for (at, decl) in program.weights.iter().enumerate() {
        for tensor in tensors_of(program, weights, Weight(at as u32), fixed)? {
            let info = weights.tensor(tensor);
            let bad = |expected: String| ExecutorError::BadWeight {
                tensor: info.name.to_owned(),
                found: format!("of shape {:?}", info.shape),
                expected,
            };
            if info.shape.len() != decl.shape.len() {
                return Err(bad(format!("{} dimensions", decl.shape.len())));
            }
            for (expr, &size) in decl.shape.iter().zip(info.shape) {
                if let Expr::Name(name) = expr
                    && !fixed.contains_key(name)
                {
                    let size = i64::try_from(size).map_err(|_| bad("a smaller tensor".to_owned()))?;
                    fixed.insert(name.clone(), Number::Int(size));
                    continue;
                }
                let want = expr.eval_int(&|n| fixed.get(n).copied()).map_err(|error| {
                    ExecutorError::Expression { what: format!("the shape of weight `{}`", decl.name), error }
                })?;
                if i128::from(want) != i128::from(size) {
                    return Err(bad(format!("{want} where it has {size} (`{expr}`)")));
                }
            }
        }
    }
    Ok(())
}

/// What is packed.
#[derive(Clone)]
struct Packed {
    weights: Vec<bool>,
    states: Vec<bool>,
}

/// What is packed: weights and states that some launch prefers so. Only whole matrices can be packed: a weight that the program takes rows of
/// or reshapes stays as declared, and so does a state that is not given whole or by its leading axes, or that a launch stores to in parts.
fn arrangements<D: Device>(
    program: &Program,
    fixed: &HashMap<String, Number>,
    device: &mut D,
) -> Result<Packed, ExecutorError> {
    let mut wanted =
        Packed { weights: vec![false; program.weights.len()], states: vec![false; program.states.len()] };
    let mut barred = wanted.clone();
    for (at, state) in program.states.iter().enumerate() {
        let axes = state.shape.len();
        // A packed row is stored whole.
        barred.states[at] = axes < 2 || growing_axis(state) == Some(axes - 1);
    }
    fn walk<D: Device>(
        (program, fixed, device): (&Program, &HashMap<String, Number>, &mut D),
        stmts: &[Stmt],
        wanted: &mut Packed,
        barred: &mut Packed,
    ) -> Result<(), ExecutorError> {
        for stmt in stmts {
            match stmt {
                Stmt::Launch { kernel, args, .. } => {
                    let shapes: Vec<_> = args.iter().map(|arg| known_extents(program, arg, fixed)).collect();
                    for (at, arg) in args.iter().enumerate() {
                        if let Argument::Memory { base: Base::State(state), .. } = arg {
                            let element = program.states[state.index()].element.name();
                            barred.states[state.index()] |=
                                device.stores_in_parts(kernel, at, element, &shapes)?;
                        }
                        let Argument::Memory { base, views } = arg else { continue };
                        let (purpose, whole, wanted, barred) = match base {
                            Base::Weight(weight, _) => {
                                let at = weight.index();
                                (
                                    Purpose::Weight,
                                    views.is_empty(),
                                    &mut wanted.weights[at],
                                    &mut barred.weights[at],
                                )
                            }
                            Base::State(state) => {
                                let at = state.index();
                                let whole = views.iter().all(|view| matches!(view, View::At(_)))
                                    && views.len() + 2 <= program.states[at].shape.len();
                                (Purpose::State, whole, &mut wanted.states[at], &mut barred.states[at])
                            }
                            Base::Buffer(_) | Base::Input(_) | Base::Output(_) => continue,
                        };
                        *barred |= !whole;
                        *wanted |= whole && device.prefers_packed(kernel, at, purpose, &shapes)?;
                    }
                }
                Stmt::For { body, .. } => walk((program, fixed, device), body, wanted, barred)?,
                Stmt::If { then, otherwise, .. } => {
                    walk((program, fixed, device), then, wanted, barred)?;
                    walk((program, fixed, device), otherwise, wanted, barred)?;
                }
            }
        }
        Ok(())
    }
    walk((program, fixed, device), &program.body, &mut wanted, &mut barred)?;
    // A fallback shares its tensor, so it shares the arrangement.
    for at in 0..program.weights.len() {
        if let Some(other) = program.weights[at].fallback {
            let both = wanted.weights[at] || wanted.weights[other.index()];
            (wanted.weights[at], wanted.weights[other.index()]) = (both, both);
        }
    }
    let allowed = |wanted: &[bool], barred: &[bool]| {
        wanted.iter().zip(barred).map(|(want, bar)| *want && !bar).collect()
    };
    Ok(Packed {
        weights: allowed(&wanted.weights, &barred.weights),
        states: allowed(&wanted.states, &barred.states),
    })
}

/// What is known of an argument's extents before any call; nothing for a scalar.
fn known_extents(
    program: &Program,
    argument: &Argument,
    fixed: &HashMap<String, Number>,
) -> Vec<Option<u64>> {
    let Argument::Memory { base, views } = argument else { return Vec::new() };
    let known = |expr: &Expr| u64::try_from(expr.eval_int(&|n| fixed.get(n).copied()).ok()?).ok();
    let part = program.part(base, views);
    part.map_or_else(Vec::new, |(_, extents)| extents.into_iter().map(known).collect())
}
