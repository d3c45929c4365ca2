//! Calling: dimensions, buffers, statements.

use super::ExecutorError;
use super::device::{Argument, Arrangement, Device, DeviceError, Extent, Slice};
use super::load::{Session, extents};
use super::plan::{Step, value};
use super::state::growing_axis;
use std::collections::HashMap;
use std::sync::Arc;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::program::{Argument as Declared, Base, MemoryDecl, Stmt, View};

/// What a caller gives.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    /// Dimensions and scalar inputs by name.
    pub numbers: Vec<(&'a str, Number)>,
    /// Tensor inputs by name: bytes in row-major order. Their shapes follow from the declarations.
    pub tensors: Vec<(&'a str, &'a [u8])>,
    /// Shapes that the caller knows of inputs and outputs: they bind the dimensions that `numbers` leaves open, and must be what follows from
    /// the declarations.
    pub shapes: Vec<(&'a str, &'a [u64])>,
}

impl Call<'_> {
    /// The error of a launch: of which kernel, and where in the program it stands.
    pub(super) fn failed((kernel, location): &(String, String), error: &DeviceError) -> ExecutorError {
        let place = if location.is_empty() { String::new() } else { format!("{location}: ") };
        ExecutorError::Call(format!("{place}launching `{kernel}`: {error}"))
    }
}

/// A walk over the statements.
struct Walk {
    numbers: HashMap<String, Number>,
    /// The number of the next launch statement.
    site: usize,
    /// The launches so far, if they are recorded.
    recorded: Option<Vec<Step>>,
}

/// A tensor argument while its views are applied.
struct Part {
    slice: Slice,
    shape: Vec<Extent>,
    element: String,
    arrangement: Arrangement,
}

impl<D: Device> Session<D> {
    /// Runs the program once.
    pub fn call(&mut self, call: &Call<'_>) -> Result<(), ExecutorError> {
        let mut numbers = self.fixed.clone();
        for (name, number) in &call.numbers {
            numbers.insert((*name).to_owned(), *number);
        }
        for (decl, shape) in self.known_shapes(call) {
            for (expr, size) in decl.shape.iter().zip(shape) {
                if let (Expr::Name(name), Ok(size)) = (expr, i64::try_from(*size)) {
                    numbers.entry(name.clone()).or_insert(Number::Int(size));
                }
            }
        }
        for scalar in &self.program.scalars {
            if !numbers.contains_key(&scalar.name) {
                return Err(ExecutorError::Call(format!("the call gives no value for `{}`", scalar.name)));
            }
        }
        for (name, expr) in &self.program.consts {
            let value = expr
                .eval(&|n| numbers.get(n).copied())
                .map_err(|error| ExecutorError::Expression { what: format!("constant `{name}`"), error })?;
            numbers.insert(name.clone(), value);
        }
        for (decl, given) in self.known_shapes(call) {
            let shape = extents(&decl.shape, &decl.name, &numbers)?;
            if shape != given {
                return Err(ExecutorError::Call(format!(
                    "`{}` is given as {given:?}, the program declares {shape:?}",
                    decl.name
                )));
            }
        }
        self.size_memory(&numbers)?;
        self.grow_states(&numbers)?;
        for (at, decl) in self.program.inputs.iter().enumerate() {
            let Some((_, bytes)) = call.tensors.iter().find(|(name, _)| *name == decl.name) else {
                return Err(ExecutorError::Call(format!("the call gives no tensor for `{}`", decl.name)));
            };
            let allocation = &self.inputs[at];
            let want = self.device.tensor_bytes(decl.element.name(), &allocation.shape)?;
            if want != bytes.len() as u64 {
                return Err(ExecutorError::Call(format!(
                    "input `{}` has {} bytes, its shape {:?} takes {want}",
                    decl.name,
                    bytes.len(),
                    allocation.shape
                )));
            }
            if let Some(memory) = allocation.memory {
                self.device.write(memory, 0, bytes)?;
            }
        }
        let frame = self.frame(&numbers);
        if self.replay(&frame, &numbers)? {
            return Ok(());
        }
        let program = Arc::clone(&self.program);
        let mut walk = Walk { numbers, site: 0, recorded: self.repeats(&frame).then(Vec::new) };
        let done = self.statements(&program.body, &mut walk);
        match walk.recorded {
            Some(steps) if done.is_ok() => self.keep(frame, steps),
            Some(steps) => self.release(steps),
            None => {}
        }
        done
    }

    /// Inputs and outputs of which the caller knows the shape.
    fn known_shapes<'c>(
        &'c self,
        call: &'c Call<'_>,
    ) -> impl Iterator<Item = (&'c MemoryDecl, &'c [u64])> + 'c {
        let declared = self.program.inputs.iter().chain(&self.program.outputs);
        declared.filter_map(|decl| {
            let (_, shape) = call.shapes.iter().find(|(name, _)| *name == decl.name)?;
            Some((decl, *shape))
        })
    }

    /// The bytes of an output of the last call.
    pub fn output(&mut self, name: &str, bytes: &mut Vec<u8>) -> Result<Vec<u64>, ExecutorError> {
        let Some(at) = self.program.outputs.iter().position(|o| o.name == name) else {
            return Err(ExecutorError::Call(format!("the program has no output `{name}`")));
        };
        let allocation = self.outputs[at].clone();
        let size = self.device.tensor_bytes(self.program.outputs[at].element.name(), &allocation.shape)?;
        bytes.resize(size as usize, 0);
        if let Some(memory) = allocation.memory {
            self.device.read(memory, 0, bytes)?;
        }
        Ok(allocation.shape)
    }

    /// Gives buffers, inputs and outputs the size that this call needs; memory only grows.
    fn size_memory(&mut self, numbers: &HashMap<String, Number>) -> Result<(), ExecutorError> {
        let lists = [
            (&self.program.buffers, &mut self.buffers),
            (&self.program.inputs, &mut self.inputs),
            (&self.program.outputs, &mut self.outputs),
        ];
        for (decls, allocations) in lists {
            for (decl, allocation) in decls.iter().zip(allocations.iter_mut()) {
                let shape = extents(&decl.shape, &decl.name, numbers)?;
                let bytes = self.device.tensor_bytes(decl.element.name(), &shape)?;
                if allocation.memory.is_none() || allocation.capacity < bytes {
                    allocation.renew(&mut self.device, bytes, shape, &decl.name)?;
                } else {
                    allocation.shape = shape;
                }
            }
        }
        Ok(())
    }

    fn statements(&mut self, stmts: &[Stmt], walk: &mut Walk) -> Result<(), ExecutorError> {
        for stmt in stmts {
            match stmt {
                Stmt::Launch { kernel, args, with, location } => {
                    let site = walk.site;
                    walk.site += 1;
                    let arguments = args
                        .iter()
                        .map(|arg| self.argument(arg, &walk.numbers))
                        .collect::<Result<Vec<Argument>, ExecutorError>>()?;
                    let what = (kernel.clone(), location.clone());
                    let launched = if let Some(steps) = &mut walk.recorded {
                        self.device.prepare(site, kernel, &arguments, with).and_then(|launch| {
                            let numbers = self.computed(args, &walk.numbers);
                            steps.push(Step { launch, numbers, what: what.clone() });
                            self.device.again(launch, &[])
                        })
                    } else {
                        self.device.launch(site, kernel, &arguments, with)
                    };
                    launched.map_err(|error| Call::failed(&what, &error))?;
                }
                Stmt::For { counter, from, to, body } => {
                    let (first, end) = (integer(from, &walk.numbers)?, integer(to, &walk.numbers)?);
                    let start = walk.site;
                    for i in first..end {
                        walk.site = start;
                        walk.numbers.insert(counter.clone(), Number::Int(i));
                        self.statements(body, walk)?;
                    }
                    walk.numbers.remove(counter);
                    walk.site = start + launches(body);
                }
                Stmt::If { condition, then, otherwise } => {
                    let chosen = condition.eval(&|n| walk.numbers.get(n).copied()).map_err(|error| {
                        ExecutorError::Expression { what: "a condition of the program".to_owned(), error }
                    })?;
                    let start = walk.site;
                    if chosen == Number::Bool(true) {
                        self.statements(then, walk)?;
                    } else {
                        walk.site = start + launches(then);
                        self.statements(otherwise, walk)?;
                    }
                    walk.site = start + launches(then) + launches(otherwise);
                }
            }
        }
        Ok(())
    }

    fn argument(
        &self,
        argument: &Declared,
        numbers: &HashMap<String, Number>,
    ) -> Result<Argument, ExecutorError> {
        match argument {
            Declared::Scalar(expr) => Ok(Argument::Scalar(value(expr, numbers)?)),
            Declared::Memory { base, views } => {
                let mut part = self.base(base, numbers)?;
                for view in views {
                    self.view(&mut part, view, numbers)?;
                }
                Ok(Argument::Tensor {
                    slice: part.slice,
                    shape: part.shape,
                    element: part.element,
                    arrangement: part.arrangement,
                })
            }
        }
    }

    fn base(&self, base: &Base, numbers: &HashMap<String, Number>) -> Result<Part, ExecutorError> {
        let (allocation, decl) = match base {
            Base::Weight(weight, index) => {
                let list = &self.weights[weight.index()];
                let at = match index {
                    Some(expr) => integer(expr, numbers)?,
                    None => 0,
                };
                let Some(loaded) = usize::try_from(at).ok().and_then(|at| list.get(at)) else {
                    let name = &self.program.weights[weight.index()].name;
                    return Err(ExecutorError::Call(format!(
                        "`{name}[{at}]`: the list has {} entries",
                        list.len()
                    )));
                };
                return Ok(Part {
                    slice: loaded.slice,
                    shape: loaded.shape.iter().map(|&size| Extent { size, fixed: true }).collect(),
                    element: loaded.element.clone(),
                    arrangement: loaded.arrangement,
                });
            }
            Base::State(at) => (&self.states[at.index()], &self.program.states[at.index()]),
            Base::Buffer(at) => (&self.buffers[at.index()], &self.program.buffers[at.index()]),
            Base::Input(at) => (&self.inputs[at.index()], &self.program.inputs[at.index()]),
            Base::Output(at) => (&self.outputs[at.index()], &self.program.outputs[at.index()]),
        };
        let Some(memory) = allocation.memory else {
            return Err(ExecutorError::Call(format!("`{}` has no memory yet", decl.name)));
        };
        let element = decl.element.name();
        let arrangement = allocation.arrangement;
        let bytes = self.device.arranged_bytes(element, &allocation.shape, arrangement)?;
        let growing = growing_axis(decl);
        let shape = allocation
            .shape
            .iter()
            .zip(&decl.shape)
            .enumerate()
            .map(|(axis, (&size, expr))| Extent { size, fixed: growing != Some(axis) && self.is_fixed(expr) })
            .collect();
        Ok(Part {
            slice: Slice { memory, offset: 0, bytes },
            shape,
            element: element.to_owned(),
            arrangement,
        })
    }

    /// Whether an expression uses only numbers known since load.
    fn is_fixed(&self, expr: &Expr) -> bool {
        let mut fixed = true;
        expr.names(&mut |name| fixed &= self.fixed.contains_key(name));
        fixed
    }

    fn view(
        &self,
        part: &mut Part,
        view: &View,
        numbers: &HashMap<String, Number>,
    ) -> Result<(), ExecutorError> {
        match view {
            View::At(index) => {
                let at = integer(index, numbers)?;
                self.rows(part, at, 1)?;
                part.shape.remove(0);
            }
            View::Rows { from, length } => {
                let (from_row, count) = (integer(from, numbers)?, integer(length, numbers)?);
                self.rows(part, from_row, count)?;
                part.shape[0].fixed = self.is_fixed(length);
            }
            View::Shape(shape) => {
                let names = |n: &str| numbers.get(n).copied();
                let mut extents = Vec::new();
                for expr in shape {
                    let size = expr
                        .eval_int(&names)
                        .ok()
                        .and_then(|v| u64::try_from(v).ok())
                        .ok_or_else(|| ExecutorError::Call(format!("`{expr}` is no extent of a view")))?;
                    extents.push(Extent { size, fixed: self.is_fixed(expr) });
                }
                let count = |s: &[Extent]| s.iter().map(|e| u128::from(e.size)).product::<u128>();
                if count(&part.shape) != count(&extents) {
                    return Err(ExecutorError::Call(format!(
                        "a view of {} elements as {}",
                        count(&part.shape),
                        count(&extents)
                    )));
                }
                let bytes = |s: &[Extent]| {
                    let sizes: Vec<u64> = s.iter().map(|e| e.size).collect();
                    self.device.arranged_bytes(&part.element, &sizes, part.arrangement)
                };
                // What stands once for a row or a matrix stands where the rows and matrices were.
                if bytes(&part.shape)? != bytes(&extents)? {
                    let message = format!(
                        "a view of memory of `{}` with other rows than it was stored with",
                        part.element
                    );
                    return Err(ExecutorError::Call(message));
                }
                part.shape = extents;
            }
        }
        Ok(())
    }

    /// Narrows to some elements of the first axis.
    fn rows(&self, part: &mut Part, from: i64, count: i64) -> Result<(), ExecutorError> {
        let Some(first) = part.shape.first().copied() else {
            return Err(ExecutorError::Call("indexing memory that has no dimensions".to_owned()));
        };
        let inside = from >= 0 && count >= 0 && (from as u64).saturating_add(count as u64) <= first.size;
        if !inside {
            return Err(ExecutorError::Call(format!(
                "rows {from} to {} of memory with {} rows",
                from.saturating_add(count),
                first.size
            )));
        }
        let sizes: Vec<u64> = part.shape[1..].iter().map(|e| e.size).collect();
        let row = self.device.arranged_bytes(&part.element, &sizes, part.arrangement)?;
        let whole: Vec<u64> = part.shape.iter().map(|e| e.size).collect();
        let apart = self.device.arranged_bytes(&part.element, &whole, part.arrangement)?;
        if row.checked_mul(first.size) != Some(apart) && (from, count) != (0, first.size as i64) {
            return Err(ExecutorError::Call(format!(
                "rows of memory of `{}`, which stores fields once for all of them: only the whole can be passed on",
                part.element
            )));
        }
        part.slice.offset += row * from as u64;
        part.slice.bytes = row * count as u64;
        part.shape[0].size = count as u64;
        Ok(())
    }
}

fn integer(expr: &Expr, numbers: &HashMap<String, Number>) -> Result<i64, ExecutorError> {
    expr.eval_int(&|n| numbers.get(n).copied())
        .map_err(|error| ExecutorError::Expression { what: format!("`{expr}`"), error })
}

/// Launch statements in a body, each counted once.
fn launches(stmts: &[Stmt]) -> usize {
    stmts
        .iter()
        .map(|stmt| match stmt {
            Stmt::Launch { .. } => 1,
            Stmt::For { body, .. } => launches(body),
            Stmt::If { then, otherwise, .. } => launches(then) + launches(otherwise),
        })
        .sum()
}
