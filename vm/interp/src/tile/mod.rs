//! The tile interpreter: the meaning of a kernel. It executes tile IR directly, on whole tiles, before any layout exists.
//!
//! Every element is computed in the plainest way (`element`), memory is checked exactly (`memory`), sums and products add their terms in
//! ascending order, `dot` with one rounding a step. What compiled code may do differently is only what the reference states: the order of a sum,
//! and whether a `dot` step is fused.
//!
//! Beyond values it finds what compiled code would hide: an element written by two blocks, or read by one block after another wrote it
//! ([`Trap::Conflict`]); a read of a block-shared element that nobody wrote ([`Trap::Undefined`]); a program that does not end ([`Trap::Fuel`]).
//!
//! ```text
//! run(kernel, binding, args, fuel)      blocks in order x fastest; each block: statements in order, one value table
//! traced(.., listener)                  the same, and says what every statement computed (`trace`)
//! ```

mod element;
mod memory;
mod scatter;
mod trace;
mod trap;
mod view;

pub use memory::{Parts, Tensor, decode_element};
pub use trace::Listener;
pub use trap::Trap;

use memory::{SharedTensor, filled, for_each_index};
use std::collections::HashMap;
use trace::Trace;
use tvmc_ir::lane::spell_out;
use tvmc_ir::tile::launch::Binding;
use tvmc_ir::tile::{
    Element, Inst, Kernel, Memory, Op, Param, Reduce, Region, Stmt, TensorDecl, TileType, Value,
};
use tvmc_types::dtype::{DType, Kind};

/// A tile: for each element in row-major order its 32-bit form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tile {
    /// See the module head of `element`.
    pub bits: Vec<u32>,
}

/// An argument.
pub enum Argument<'a> {
    /// Memory with its extents.
    Tensor(&'a mut [u8], Vec<u64>),
    /// A number: the bits of an f32, i32 or u32, or 0 and 1.
    Scalar(u32),
}

/// What a run gives besides memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Printed lines, blocks in order.
    pub log: Vec<String>,
    /// Elements computed.
    pub work: u64,
}

/// Runs every block of a launch, in order. `fuel` bounds the number of computed elements.
pub fn run(
    kernel: &Kernel,
    binding: &Binding,
    arguments: Vec<Argument<'_>>,
    fuel: u64,
) -> Result<Outcome, Trap> {
    execute(kernel, binding, arguments, fuel, None)
}

/// As [`run`], and tells the listener what every statement computed.
pub fn traced(
    kernel: &Kernel,
    binding: &Binding,
    arguments: Vec<Argument<'_>>,
    fuel: u64,
    listener: Listener<'_>,
) -> Result<Outcome, Trap> {
    execute(kernel, binding, arguments, fuel, Some(Trace::new(listener)))
}

fn execute(
    kernel: &Kernel,
    binding: &Binding,
    arguments: Vec<Argument<'_>>,
    fuel: u64,
    trace: Option<Trace<'_>>,
) -> Result<Outcome, Trap> {
    let mut machine = Machine {
        trace,
        kernel,
        binding,
        tensors: Vec::new(),
        scalars: Vec::new(),
        shared: Vec::new(),
        groups: 0,
        values: vec![Tile { bits: Vec::new() }; kernel.values.len()],
        block: [0; 3],
        linear: 0,
        fuel,
        outcome: Outcome::default(),
    };
    for (argument, decl) in arguments.into_iter().zip(&kernel.params) {
        match (argument, decl) {
            (Argument::Tensor(bytes, shape), TensorDecl::Tensor { name, element, .. }) => {
                let writers = Default::default();
                let tensor = Tensor { name: name.clone(), bytes, shape, element: *element, writers };
                machine.tensors.push(Some(tensor));
                machine.scalars.push(0);
            }
            (Argument::Scalar(bits), _) => {
                machine.tensors.push(None);
                machine.scalars.push(bits);
            }
            (Argument::Tensor(..), TensorDecl::Scalar { name, .. }) => {
                return Err(Trap::Unsupported(format!("a tensor for the number `{name}`")));
            }
        }
    }
    let [x, y, z] = binding.grid;
    machine.say(|| format!("{} grid ({x}, {y}, {z})", kernel.name))?;
    for bz in 0..z {
        for by in 0..y {
            for bx in 0..x {
                machine.block = [bx, by, bz];
                machine.start_block();
                machine.say(|| format!("block ({bx}, {by}, {bz})"))?;
                machine.region(&kernel.body)?;
                machine.linear += 1;
            }
        }
    }
    Ok(machine.outcome)
}

struct Machine<'k, 'a, 't> {
    trace: Option<Trace<'t>>,
    kernel: &'k Kernel,
    binding: &'k Binding,
    tensors: Vec<Option<Tensor<'a>>>,
    scalars: Vec<u32>,
    shared: Vec<SharedTensor>,
    /// Groups of copies that the block has closed.
    groups: u64,
    values: Vec<Tile>,
    block: [u32; 3],
    linear: u64,
    fuel: u64,
    outcome: Outcome,
}

impl<'k> Machine<'k, '_, '_> {
    fn start_block(&mut self) {
        self.groups = 0;
        self.shared = self
            .kernel
            .shared
            .iter()
            .map(|s| SharedTensor {
                name: s.name.clone(),
                shape: s.ty.shape.clone(),
                values: vec![None; s.ty.elements() as usize],
                under_way: HashMap::new(),
            })
            .collect();
    }

    fn spend(&mut self, work: u64) -> Result<(), Trap> {
        self.outcome.work += work;
        self.fuel = self.fuel.checked_sub(work).ok_or(Trap::Fuel)?;
        Ok(())
    }

    fn scalar(&self, value: Value) -> u32 {
        self.values[value.index()].bits[0]
    }

    /// Several at once: a variable's next value may be another's old one. What is copied costs fuel: a loop may do nothing else.
    fn copy_all(&mut self, pairs: Vec<(Value, Value)>) -> Result<(), Trap> {
        let elements = pairs.iter().map(|(_, from)| self.values[from.index()].bits.len() as u64);
        self.spend(elements.sum())?;
        let tiles: Vec<Tile> = pairs.iter().map(|(_, from)| self.values[from.index()].clone()).collect();
        for ((to, _), tile) in pairs.into_iter().zip(tiles) {
            self.values[to.index()] = tile;
        }
        Ok(())
    }

    /// A line of the trace, if there is one.
    fn say(&mut self, line: impl FnOnce() -> String) -> Result<(), Trap> {
        self.trace.as_mut().map_or(Ok(()), |trace| trace.say(&line()))
    }

    /// What an instruction met in memory, with its place in the source where that is known.
    fn placed(&self, inst: &Inst, trap: Trap) -> Trap {
        let location = inst.location.and_then(|at| self.kernel.locations.get(at as usize));
        match (trap, location) {
            (
                trap @ (Trap::Outside { .. }
                | Trap::Conflict { .. }
                | Trap::Undefined { .. }
                | Trap::UnderWay { .. }
                | Trap::Field { .. }),
                Some(location),
            ) => Trap::At { location: location.clone(), trap: Box::new(trap) },
            (trap, _) => trap,
        }
    }

    /// Costs fuel itself, for it may hold nothing and be run again.
    fn region(&mut self, region: &'k Region) -> Result<(), Trap> {
        self.spend(1)?;
        if let Some(trace) = &mut self.trace {
            trace.enter();
        }
        self.statements(region)?;
        if let Some(trace) = &mut self.trace {
            trace.leave();
        }
        Ok(())
    }

    fn statements(&mut self, region: &'k Region) -> Result<(), Trap> {
        for stmt in &region.stmts {
            self.spend(1)?;
            match stmt {
                Stmt::Inst(inst) => {
                    self.inst(inst).map_err(|trap| self.placed(inst, trap))?;
                    if let Some(trace) = &mut self.trace {
                        let value = inst.result.map(|result| &self.values[result.index()]);
                        trace.operation(self.kernel, inst, value)?;
                    }
                }
                Stmt::For { counter, from, to, step, pipeline: _, carried, body, yields, results } => {
                    self.copy_all(carried.iter().map(|c| (c.param, c.initial)).collect())?;
                    let end = i64::from(self.scalar(*to) as i32);
                    let mut i = i64::from(self.scalar(*from) as i32);
                    while i < end {
                        self.values[counter.index()] = Tile { bits: vec![i as i32 as u32] };
                        self.say(|| format!("for {counter} = {i}"))?;
                        self.region(body)?;
                        self.copy_all(carried.iter().zip(yields).map(|(c, y)| (c.param, *y)).collect())?;
                        i += i64::from(*step);
                    }
                    self.copy_all(results.iter().zip(carried).map(|(r, c)| (*r, c.param)).collect())?;
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.copy_all(carried.iter().map(|c| (c.param, c.initial)).collect())?;
                    for turn in 0u64.. {
                        self.say(|| format!("loop, turn {turn}"))?;
                        self.region(body)?;
                        let more = self.scalar(*again) != 0;
                        self.copy_all(carried.iter().zip(yields).map(|(c, y)| (c.param, *y)).collect())?;
                        if !more {
                            break;
                        }
                    }
                    self.copy_all(results.iter().zip(carried).map(|(r, c)| (*r, c.param)).collect())?;
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    let holds = self.scalar(*condition) != 0;
                    let (body, yields) =
                        if holds { (then, then_yields) } else { (otherwise, otherwise_yields) };
                    self.say(|| format!("if {condition}, which is {holds}"))?;
                    self.region(body)?;
                    self.copy_all(results.iter().zip(yields).map(|(r, y)| (*r, *y)).collect())?;
                }
            }
        }
        Ok(())
    }

    fn inst(&mut self, inst: &'k Inst) -> Result<(), Trap> {
        match (&inst.op, inst.result) {
            (Op::Store { memory, indices }, _) => {
                let Some((value, offsets)) = inst.args.split_last() else {
                    return Err(Trap::Unsupported("a store without a value".into()));
                };
                let ty = self.kernel.ty(*value);
                self.spend(ty.elements())?;
                let offsets: Vec<i32> = offsets.iter().map(|o| self.scalar(*o) as i32).collect();
                let tile = self.values[value.index()].clone();
                let block = self.linear;
                match memory {
                    Memory::Param(param) => {
                        let tensor = tensor_of(&mut self.tensors, *param)?;
                        for_each_index(ty, &offsets, indices, &mut |place, index| {
                            tensor.store(index, tile.bits[place], block)
                        })
                    }
                    Memory::Shared(shared) => {
                        let tensor = &mut self.shared[shared.index()];
                        for_each_index(ty, &offsets, indices, &mut |place, index| {
                            tensor.store(index, tile.bits[place])
                        })
                    }
                }
            }
            (Op::CopyAsync { shared, indices }, _) => {
                let Some((value, offsets)) = inst.args.split_last() else {
                    return Err(Trap::Unsupported("a copy without a value".into()));
                };
                let ty = self.kernel.ty(*value);
                self.spend(ty.elements())?;
                let offsets: Vec<i32> = offsets.iter().map(|o| self.scalar(*o) as i32).collect();
                let tile = &self.values[value.index()];
                let (tensor, group) = (&mut self.shared[shared.index()], self.groups);
                for_each_index(ty, &offsets, indices, &mut |place, index| {
                    tensor.send(index, tile.bits[place], group)
                })
            }
            (Op::Commit, _) => {
                self.groups += 1;
                Ok(())
            }
            (Op::Wait(latest), _) => {
                let arrived = self.groups.saturating_sub(u64::from(*latest));
                self.shared.iter_mut().for_each(|tensor| tensor.arrive(arrived));
                Ok(())
            }
            (Op::StoreHead { tensor, indices }, _) => {
                let (offsets, values) = inst.args.split_at(indices.len());
                let stack: Vec<i64> = offsets.iter().map(|o| i64::from(self.scalar(*o) as i32)).collect();
                let entries: Vec<Tile> = values.iter().map(|v| self.values[v.index()].clone()).collect();
                let (block, formats) = (self.linear, &self.kernel.formats);
                tensor_of(&mut self.tensors, *tensor)?.store_head(&stack, &entries, formats, block)
            }
            (Op::StoreGroups { memory, indices }, _) => {
                let Memory::Param(param) = memory else {
                    return Err(Trap::Unsupported("a store of groups to no tensor".into()));
                };
                let (offsets, values) = inst.args.split_at(indices.len());
                let offsets: Vec<i32> = offsets.iter().map(|o| self.scalar(*o) as i32).collect();
                let first = i64::from(offsets.last().copied().unwrap_or(0));
                let formats = &self.kernel.formats;
                let stored = match self.kernel.element(*memory) {
                    Some((Element::Format(id), _)) => formats[id.index()].stored_fields(),
                    Some((Element::DType(_), _)) | None => Vec::new(),
                };
                for (field, value) in stored.into_iter().zip(values) {
                    let ty = self.kernel.ty(*value);
                    self.spend(ty.elements())?;
                    let tile = self.values[value.index()].clone();
                    let block = self.linear;
                    let tensor = tensor_of(&mut self.tensors, *param)?;
                    for_each_index(ty, &offsets, indices, &mut |place, index| {
                        tensor.store_field(index, first, field, tile.bits[place], formats, block)
                    })?;
                }
                Ok(())
            }
            (Op::Scatter { memory }, _) => self.scatter(inst, *memory),
            (Op::Assert(message), _) => {
                if self.scalar(inst.args[0]) != 0 {
                    return Ok(());
                }
                Err(Trap::Assert(self.kernel.messages[*message as usize].clone()))
            }
            (Op::Print(message), _) => {
                let line = self.format(*message, &inst.args);
                self.outcome.log.push(line);
                Ok(())
            }
            (_, Some(result)) => {
                let tile = self.value(inst, result)?;
                self.values[result.index()] = tile;
                Ok(())
            }
            (_, None) => Err(Trap::Unsupported("an operation without a result".into())),
        }
    }

    fn value(&mut self, inst: &'k Inst, result: Value) -> Result<Tile, Trap> {
        let kernel = self.kernel;
        let ty = kernel.ty(result);
        self.spend(ty.elements())?;
        let arg = |at: usize| inst.args[at];
        match &inst.op {
            Op::Const(bits) => Ok(filled(ty, *bits)),
            Op::Dim(dim) => Ok(filled(ty, self.binding.dims[dim.index()] as u32)),
            Op::Scalar(param) => Ok(filled(ty, self.scalars[param.index()])),
            Op::BlockIndex(axis) => Ok(filled(ty, self.block[*axis as usize])),
            Op::Iota => Ok(Tile { bits: (0..ty.elements() as u32).collect() }),
            Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast => {
                let mut bits = Vec::with_capacity(ty.elements() as usize);
                let mut operands = Vec::with_capacity(3);
                for place in 0..ty.elements() as usize {
                    operands.clear();
                    operands.extend(
                        inst.args.iter().map(|a| (kernel.ty(*a).dtype, self.values[a.index()].bits[place])),
                    );
                    bits.push(scalar_op(&inst.op, ty.dtype, &operands)?);
                }
                Ok(Tile { bits })
            }
            Op::Broadcast => {
                let from = &kernel.ty(arg(0)).shape;
                let skip = ty.shape.len() - from.len();
                Ok(self.gather(ty, arg(0), |at| {
                    at[skip..].iter().zip(from).map(|(i, extent)| if *extent == 1 { 0 } else { *i }).collect()
                }))
            }
            Op::View => self.view(inst, result),
            Op::Relayout => Ok(self.values[arg(0).index()].clone()),
            Op::Reshape => Ok(self.values[arg(0).index()].clone()),
            Op::Permute(permutation) => Ok(self.gather(ty, arg(0), |at| {
                let mut from = vec![0; at.len()];
                for (axis, i) in at.iter().enumerate() {
                    from[permutation[axis] as usize] = *i;
                }
                from
            })),
            Op::Reduce(reduce, axis) => self.along(*reduce, arg(0), usize::from(*axis), false),
            Op::Scan(reduce, axis) => self.along(*reduce, arg(0), usize::from(*axis), true),
            Op::Gather(axis) => self.choose(ty, arg(0), arg(1), usize::from(*axis)),
            Op::Concat(axis) => Ok(self.join(ty, &inst.args, usize::from(*axis))),
            Op::Dot => self.dot(ty, arg(0), arg(1), arg(2)),
            Op::LoadField { tensor, field, indices } => {
                let offsets: Vec<i32> = inst.args.iter().map(|o| self.scalar(*o) as i32).collect();
                let mut tile = filled(ty, 0);
                let block = self.linear;
                let tensor = tensor_of(&mut self.tensors, *tensor)?;
                for_each_index(ty, &offsets, indices, &mut |place, index| {
                    if let Some(value) = tensor.load_field(index, *field as usize, &kernel.formats, block)? {
                        tile.bits[place] = value;
                    }
                    Ok(())
                })?;
                Ok(tile)
            }
            Op::Load { memory, indices, padded } => {
                let count = indices.len();
                let offsets: Vec<i32> = inst.args[..count].iter().map(|o| self.scalar(*o) as i32).collect();
                let pad = if *padded { self.scalar(inst.args[count]) } else { 0 };
                let mut tile = filled(ty, pad);
                let block = self.linear;
                match memory {
                    Memory::Param(param) => {
                        let tensor = tensor_of(&mut self.tensors, *param)?;
                        for_each_index(ty, &offsets, indices, &mut |place, index| {
                            if let Some(value) = tensor.load(index, &kernel.formats, block)? {
                                tile.bits[place] = value;
                            }
                            Ok(())
                        })?;
                    }
                    Memory::Shared(shared) => {
                        let tensor = &self.shared[shared.index()];
                        for_each_index(ty, &offsets, indices, &mut |place, index| {
                            if let Some(value) = tensor.load(index)? {
                                tile.bits[place] = value;
                            }
                            Ok(())
                        })?;
                    }
                }
                Ok(tile)
            }
            Op::Table(at) => {
                let (_, entries) = &kernel.tables[*at as usize];
                let entry = |index: &u32| entries.get(*index as usize).copied().unwrap_or(0);
                Ok(Tile { bits: self.values[arg(0).index()].bits.iter().map(entry).collect() })
            }
            Op::Field(_) | Op::GroupIndex => {
                Err(Trap::Unsupported("a format's operation outside a format".into()))
            }
            Op::Atomic { update, memory } => self.atomic(inst, *update, *memory),
            Op::Store { .. }
            | Op::StoreGroups { .. }
            | Op::StoreHead { .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Scatter { .. }
            | Op::Assert(_)
            | Op::Print(_) => Err(Trap::Unsupported("the value of an effect".into())),
        }
    }

    /// A tile whose element at `at` is the operand's element at `from(at)`.
    fn gather(&self, ty: &TileType, operand: Value, from: impl Fn(&[usize]) -> Vec<usize>) -> Tile {
        let shape = &self.kernel.ty(operand).shape;
        let source = &self.values[operand.index()].bits;
        let bits = (0..ty.elements() as usize)
            .map(|place| {
                let mut rest = place;
                let mut at = vec![0usize; ty.shape.len()];
                for (i, extent) in at.iter_mut().zip(&ty.shape).rev() {
                    *i = rest % *extent as usize;
                    rest /= *extent as usize;
                }
                let flat =
                    from(&at).iter().zip(shape).fold(0, |flat, (i, extent)| flat * *extent as usize + i);
                source[flat]
            })
            .collect();
        Tile { bits }
    }

    /// Reductions along an axis: the last of the running results, or (in a scan) all of them where they stand.
    fn along(&mut self, reduce: Reduce, operand: Value, axis: usize, scan: bool) -> Result<Tile, Trap> {
        let from = self.kernel.ty(operand).clone();
        self.spend(from.elements())?;
        let extent = from.shape[axis] as usize;
        let inner: usize = from.shape[axis + 1..].iter().map(|e| *e as usize).product();
        let source = &self.values[operand.index()].bits;
        let mut running = source.clone();
        let mut last = Vec::with_capacity(source.len() / extent);
        for place in 0..source.len() / extent {
            let start = place / inner * inner * extent + place % inner;
            let mut total = element::identity(reduce, from.dtype);
            for at in (0..extent).map(|step| start + step * inner) {
                total = element::reduce_step(reduce, from.dtype, total, source[at])?;
                running[at] = total;
            }
            last.push(total);
        }
        Ok(Tile { bits: if scan { running } else { last } })
    }

    /// Elements of a tile by a tile of indices; zero where an index points outside.
    fn choose(&mut self, ty: &TileType, operand: Value, index: Value, axis: usize) -> Result<Tile, Trap> {
        let extent = self.kernel.ty(operand).shape[axis] as usize;
        let along = ty.shape[axis] as usize;
        let inner: usize = ty.shape[axis + 1..].iter().map(|e| *e as usize).product();
        let source = &self.values[operand.index()].bits;
        let bits = self.values[index.index()].bits.iter().enumerate().map(|(place, index)| {
            let (outer, within) = (place / (along * inner), place % inner);
            match usize::try_from(*index as i32) {
                Ok(index) if index < extent => source[(outer * extent + index) * inner + within],
                Ok(_) | Err(_) => 0,
            }
        });
        Ok(Tile { bits: bits.collect() })
    }

    /// Tiles one after the other along an axis: of each in turn all that lies below one outer index.
    fn join(&self, ty: &TileType, parts: &[Value], axis: usize) -> Tile {
        let outer: usize = ty.shape[..axis].iter().map(|e| *e as usize).product();
        let mut bits = Vec::with_capacity(ty.elements() as usize);
        for row in 0..outer {
            for part in parts {
                let source = &self.values[part.index()].bits;
                let length = source.len() / outer;
                bits.extend(&source[row * length..(row + 1) * length]);
            }
        }
        Tile { bits }
    }

    fn dot(&mut self, ty: &TileType, a: Value, b: Value, c: Value) -> Result<Tile, Trap> {
        let (m, n) = (ty.shape[0] as usize, ty.shape[1] as usize);
        let k = self.kernel.ty(a).shape[1] as usize;
        self.spend((m * n) as u64 * k as u64)?;
        let (x, y) = (&self.values[a.index()].bits, &self.values[b.index()].bits);
        let mut bits = self.values[c.index()].bits.clone();
        let float = ty.dtype.kind() == Kind::Float;
        for row in 0..m {
            for step in 0..k {
                let left = x[row * k + step];
                for column in 0..n {
                    let sum = &mut bits[row * n + column];
                    let right = y[step * n + column];
                    *sum = if float {
                        f32::from_bits(left).mul_add(f32::from_bits(right), f32::from_bits(*sum)).to_bits()
                    } else {
                        sum.wrapping_add(left.wrapping_mul(right))
                    };
                }
            }
        }
        Ok(Tile { bits })
    }

    fn format(&self, message: u32, args: &[Value]) -> String {
        let shapes: Vec<Vec<u32>> = args.iter().map(|arg| self.kernel.ty(*arg).shape.clone()).collect();
        let message = &self.kernel.messages[message as usize];
        let text = spell_out(&message.text, &shapes);
        let mut elements = args.iter().flat_map(|arg| {
            let dtype = self.kernel.ty(*arg).dtype;
            self.values[arg.index()].bits.iter().map(move |bits| show(dtype, *bits))
        });
        let mut parts = text.split("{}");
        let mut line = message.placed(parts.next().unwrap_or(""));
        for part in parts {
            line += &elements.next().unwrap_or_else(|| "?".to_owned());
            line += part;
        }
        line
    }
}

fn tensor_of<'t, 'a>(
    tensors: &'t mut [Option<Tensor<'a>>],
    param: Param,
) -> Result<&'t mut Tensor<'a>, Trap> {
    match tensors.get_mut(param.index()) {
        Some(Some(tensor)) => Ok(tensor),
        Some(None) | None => Err(Trap::Unsupported(format!("{param} as a tensor"))),
    }
}

fn show(dtype: DType, bits: u32) -> String {
    match dtype.kind() {
        Kind::Float => format!("{:?}", f32::from_bits(bits)),
        Kind::Signed => (bits as i32).to_string(),
        Kind::Unsigned => bits.to_string(),
        Kind::Bool => (bits != 0).to_string(),
    }
}

/// An element-wise operation on one element; operands with their dtypes.
fn scalar_op(op: &Op, to: DType, operands: &[(DType, u32)]) -> Result<u32, Trap> {
    match (op, operands) {
        (Op::Const(bits), _) => Ok(*bits),
        (Op::Unary(op), [(dtype, a)]) => element::unary(*op, *dtype, *a),
        (Op::Binary(op), [(dtype, a), (_, b)]) => element::binary(*op, *dtype, *a, *b),
        (Op::Fma, [(_, a), (_, b), (_, c)]) => {
            Ok(f32::from_bits(*a).mul_add(f32::from_bits(*b), f32::from_bits(*c)).to_bits())
        }
        (Op::Select, [(_, condition), (_, a), (_, b)]) => Ok(if *condition != 0 { *a } else { *b }),
        (Op::Cast(rule), [(from, a)]) => element::cast(*rule, *from, to, *a),
        (Op::Bitcast, [(from, a)]) => element::decode(to, element::encode(*from, *a)),
        (op, _) => Err(Trap::Unsupported(format!("{op:?} on one element"))),
    }
}
