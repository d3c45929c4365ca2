//! Statements and control flow: walks the tile kernel in order and drives the other parts.
//!
//! Every tile value gets a [`Repr`]: where its elements are. Scalars and one-element tiles are uniform lane values; lazy tiles
//! are nothing but their defining operation; kept tiles are lane registers (lanes along the last axis, rows in order, then chunks of
//! `lanes` columns) or an arena with its rows padded to whole chunks.
//!
//! Loop variables keep the representation of their kind: uniform and register tiles are carried as lane values, arena tiles stay in
//! one arena that the body updates. **Barriers**: a read of an arena that may have been written since the last barrier is preceded by
//! one, and so is a write after reads, and a store to a block-shared tensor after another; loop bodies start with one. On a CPU they cost nothing.

use crate::affine::Affine;
use crate::bounds::{self, Bounds, Length};
use crate::codes::Tables;
use crate::emitter::Emitter;
use crate::eval::{Coord, Position};
use crate::fragments::Sums;
use crate::history::{Placement, Product};
use crate::instance::Emitted;
use crate::packing::Packing;
use crate::plan::Plan;
use crate::target::Target;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use tvmc_ir::host;
use tvmc_ir::lane::{self, Arena, Buffer, Message, Pure, Scalar};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Dim, FormatId, Inst, Kernel, Memory, Op, Param, Region, Stmt, TensorDecl, Value};
use tvmc_types::dtype::{DType, Kind};

/// Choices of a lowering beyond the target.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How each parameter's memory lies; missing entries are [`Packing::AsDeclared`].
    pub packing: Vec<Packing>,
    /// Who answers for accesses.
    pub bounds: Bounds,
}

/// Where a scalar argument of the lane function comes from, in order.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ScalarBinding {
    /// The value of a runtime dimension.
    Dim(Dim),
    /// A scalar parameter.
    Param(Param),
    /// How many whole elements of `size` bytes the memory of a tensor parameter has ([`Bounds::Checked`]).
    Elements {
        /// The tensor.
        param: Param,
        /// Bytes of an element.
        size: u32,
    },
}

/// A lowered kernel: the code, and how its arguments map to the source's.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The code, not yet verified.
    pub function: lane::Function,
    /// The tensor parameter of each buffer argument.
    pub buffers: Vec<Param>,
    /// The source of each scalar argument.
    pub scalars: Vec<ScalarBinding>,
}

/// Why a kernel cannot be lowered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LowerError {
    /// Something the lowering has no rule for.
    Unsupported {
        /// What.
        what: String,
        /// `file:line:column`, or empty.
        location: String,
    },
    /// Something grew past a limit.
    TooLarge {
        /// What, and the limit.
        what: String,
    },
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LowerError::Unsupported { what, location } if location.is_empty() => write!(f, "{what}"),
            LowerError::Unsupported { what, location } => write!(f, "{location}: {what}"),
            LowerError::TooLarge { what } => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for LowerError {}

/// Most bytes of block scratch a kernel may need.
const MAX_ARENA_BYTES: u64 = 16 << 20;
/// Most elements that one `print` may have.
const MAX_PRINTED: u64 = 1024;
/// Most values a lowered function may have.
const MAX_VALUES: usize = 400_000;

/// A tile in block scratch: row-major, rows padded to whole chunks of lanes, 4 bytes an element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ArenaTile {
    pub arena: Arena,
    /// Extents.
    pub shape: Vec<u32>,
    /// Elements from one row to the next.
    pub row: u32,
    /// Register kind of an element; booleans are stored as 0 and 1.
    pub scalar: Scalar,
    /// What lies between a row's last element and its end.
    pub tail: Tail,
}

/// What lies between a row's last element and its end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// Something: rows were written in whole chunks.
    Written,
    /// Nothing: elements were written one by one, so reads of a chunk mask what is beyond them.
    Unwritten,
}

/// Where a tile's elements are.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Repr {
    /// A scalar or one-element tile. In a loop that is spread over the lanes, what depends on its counter varies.
    Uniform(lane::Value),
    /// Nowhere: evaluated on demand from the defining operation.
    Lazy,
    /// Lane registers: for each row in order, its chunks.
    Registers(Vec<lane::Value>),
    /// Block scratch.
    Arena(ArenaTile),
}

/// Accesses to an arena since the last barrier.
#[derive(Copy, Clone, Default)]
struct Traffic {
    written: bool,
    read: bool,
}

/// The state of one lowering.
pub(crate) struct Lowering<'k> {
    pub kernel: &'k Kernel,
    pub target: Target,
    pub emit: Emitter,
    pub plan: Plan,
    pub repr: Vec<Option<Repr>>,
    pub defs: Vec<Option<&'k Inst>>,
    pub facts: Vec<Facts>,
    pub buffers: Vec<Option<(Buffer, Packing)>>,
    pub shared: Vec<ArenaTile>,
    /// What is known of each format that a product asked about.
    pub affine: HashMap<FormatId, Option<Rc<Affine>>>,
    pub byte_tables: Tables,
    scalars: HashMap<ScalarBindingKey, lane::Value>,
    traffic: Vec<Traffic>,
    /// Values that moved since the regions around began, with where they were: code after a region cannot rely on what only the region
    /// did.
    moved: Vec<(Value, Option<Repr>)>,
    /// Generated loops around.
    generated: u32,
    arena_bytes: u64,
    values: usize,
    /// Products that lie in fragments until they are stored.
    pub sums: HashMap<Value, Sums>,
    /// How products were made, for people.
    pub products: HashMap<Value, Product>,
}

#[derive(Copy, Clone, PartialEq, Eq, Hash)]
enum ScalarBindingKey {
    Dim(Dim),
    Param(Param),
}

/// The register kind of a dtype's values, or an error for 64-bit types.
pub(crate) fn scalar_of(dtype: DType) -> Result<Scalar, LowerError> {
    match dtype.kind() {
        Kind::Bool => Ok(Scalar::Bool),
        Kind::Unsigned | Kind::Signed if dtype.bits() <= 32 => Ok(Scalar::I32),
        Kind::Float if dtype.bits() <= 32 => Ok(Scalar::F32),
        Kind::Unsigned | Kind::Signed | Kind::Float => Err(LowerError::Unsupported {
            what: format!("{dtype} is a storage type of 64 bits: kernels compute with at most 32"),
            location: String::new(),
        }),
    }
}

impl Lowered {
    /// The last step: code that is to check its accesses learns to.
    pub(crate) fn check_bounds(&mut self, bounds: Bounds, marks: &[u32]) {
        match bounds {
            Bounds::Proved => {}
            Bounds::Checked => {
                let lengths = bounds::check(&mut self.function, marks);
                let buffers = &self.buffers;
                self.scalars.extend(lengths.into_iter().map(|Length { buffer, size }| {
                    ScalarBinding::Elements { param: buffers[buffer.index()], size }
                }));
            }
        }
    }
}

impl<'k> Lowering<'k> {
    pub(crate) fn new(kernel: &'k Kernel, target: &Target, plan: Plan, bounds: Bounds) -> Self {
        let lanes = kernel.lanes.unwrap_or(target.lanes);
        Lowering {
            kernel,
            target: Target { lanes, ..*target },
            emit: Emitter::new(&kernel.name, lanes, bounds),
            plan,
            repr: vec![None; kernel.values.len()],
            defs: vec![None; kernel.values.len()],
            facts: vec![Facts::ANY; kernel.values.len()],
            buffers: Vec::new(),
            shared: Vec::new(),
            affine: HashMap::new(),
            byte_tables: Tables::new(),
            scalars: HashMap::new(),
            traffic: Vec::new(),
            moved: Vec::new(),
            generated: 0,
            arena_bytes: 0,
            values: 0,
            sums: HashMap::new(),
            products: HashMap::new(),
        }
    }

    /// The code; the instance itself is not repeated.
    pub(crate) fn run(mut self, options: &Options) -> Result<Emitted, LowerError> {
        let (buffers, scalars) = self.declare(options);
        for decl in &self.kernel.shared {
            let tile = self.room_for(decl)?;
            self.shared.push(tile);
        }
        for message in &self.kernel.messages {
            self.emit.message(message.clone());
        }
        self.region(&self.kernel.body)?;
        let placements = self.repr.iter().map(|repr| repr.as_ref().map(Placement::of)).collect();
        let shared = self.shared.iter().map(|tile| tile.arena).collect();
        let (function, marks) = self.emit.finish();
        Ok(Emitted {
            lowered: Lowered { function, buffers, scalars },
            marks,
            kernel: Kernel::default(),
            placements,
            products: self.products,
            shared,
            depth: 1,
            notes: Vec::new(),
        })
    }

    fn declare(&mut self, options: &Options) -> (Vec<Param>, Vec<ScalarBinding>) {
        let (mut buffers, mut scalars) = (Vec::new(), Vec::new());
        for (at, param) in self.kernel.params.iter().enumerate() {
            let id = Param(at as u32);
            match param {
                TensorDecl::Tensor { name, access, .. } => {
                    let buffer = self.emit.buffer(name, *access);
                    let packing = options.packing.get(at).copied().unwrap_or_default();
                    self.buffers.push(Some((buffer, packing)));
                    buffers.push(id);
                }
                TensorDecl::Scalar { name, dtype } => {
                    self.buffers.push(None);
                    let scalar = match dtype.kind() {
                        Kind::Bool => Scalar::Bool,
                        Kind::Float => Scalar::F32,
                        Kind::Unsigned | Kind::Signed => Scalar::I32,
                    };
                    let value = self.emit.scalar(name, scalar);
                    self.scalars.insert(ScalarBindingKey::Param(id), value);
                    scalars.push(ScalarBinding::Param(id));
                }
            }
        }
        for (at, dim) in self.kernel.dims.iter().enumerate() {
            let value = self.emit.scalar(&dim.name, Scalar::I32);
            self.scalars.insert(ScalarBindingKey::Dim(Dim(at as u32)), value);
            scalars.push(ScalarBinding::Dim(Dim(at as u32)));
        }
        (buffers, scalars)
    }

    /// The lane value of a runtime dimension.
    pub fn dim(&self, dim: Dim) -> lane::Value {
        self.scalars[&ScalarBindingKey::Dim(dim)]
    }

    /// The lane value of a scalar parameter.
    pub fn scalar_param(&self, param: Param) -> lane::Value {
        self.scalars[&ScalarBindingKey::Param(param)]
    }

    /// The runtime dimension with this name.
    pub fn dim_named(&self, name: &str) -> Option<Dim> {
        self.kernel.dims.iter().position(|d| d.name == name).map(|at| Dim(at as u32))
    }

    /// An error at an instruction.
    pub fn unsupported<T>(&self, what: impl Into<String>, inst: Option<&Inst>) -> Result<T, LowerError> {
        let location = inst
            .and_then(|i| i.location)
            .and_then(|at| self.kernel.locations.get(at as usize))
            .cloned()
            .unwrap_or_default();
        Err(LowerError::Unsupported { what: what.into(), location })
    }

    /// What is emitted from now on comes from here in the source; gives where what came before did.
    pub fn locate(&mut self, place: Option<u32>) -> Option<u32> {
        let kernel = self.kernel;
        self.emit.locate(place, &|at| kernel.locations.get(at as usize).cloned().unwrap_or_default())
    }

    /// New block scratch for a tile.
    pub fn arena_tile(&mut self, shape: &[u32], scalar: Scalar) -> Result<ArenaTile, LowerError> {
        let lanes = self.target.lanes;
        let last = shape.last().copied().unwrap_or(1);
        self.arena_of_rows(shape, last.div_ceil(lanes) * lanes, scalar)
    }

    /// New block scratch for a tile whose rows are so far apart.
    pub(crate) fn arena_of_rows(
        &mut self,
        shape: &[u32],
        row: u32,
        scalar: Scalar,
    ) -> Result<ArenaTile, LowerError> {
        let rows: u64 = shape.iter().rev().skip(1).map(|d| u64::from(*d)).product();
        let arena = self.scratch_of(rows * u64::from(row) * 4)?;
        Ok(ArenaTile { arena, shape: shape.to_vec(), row, scalar, tail: Tail::Written })
    }

    /// New block scratch, whose user puts the barriers.
    pub(crate) fn scratch(&mut self, bytes: u32) -> Result<Arena, LowerError> {
        self.scratch_of(u64::from(bytes))
    }

    pub(crate) fn scratch_of(&mut self, bytes: u64) -> Result<Arena, LowerError> {
        self.arena_bytes += bytes;
        if self.arena_bytes > MAX_ARENA_BYTES {
            return Err(LowerError::TooLarge {
                what: format!(
                    "kernel `{}` needs more than {MAX_ARENA_BYTES} bytes of block scratch: use smaller tiles",
                    self.kernel.name
                ),
            });
        }
        let arena = self.emit.arena(bytes as u32);
        self.traffic.push(Traffic::default());
        Ok(arena)
    }

    /// To be called before reading an arena.
    pub fn before_read(&mut self, arena: Arena) {
        if self.traffic[arena.index()].written {
            self.barrier();
        }
        self.traffic[arena.index()].read = true;
    }

    /// To be called before writing an arena.
    pub fn before_write(&mut self, arena: Arena) {
        if self.traffic[arena.index()].read {
            self.barrier();
        }
        self.traffic[arena.index()].written = true;
    }

    /// To be called before a store to a block-shared tensor: where it lies in the tensor is free, so a lane may write what another lane's store
    /// before it has written. Arenas of tiles have no such stores: an element always is the same lane's.
    pub fn before_store(&mut self, arena: Arena) {
        if self.traffic[arena.index()].written {
            self.barrier();
        }
    }

    /// Emits a barrier.
    pub fn barrier(&mut self) {
        self.emit.barrier();
        self.traffic.fill(Traffic::default());
    }

    /// Opens a generated counted loop over `0..count` by `step`; gives the counter's position and the carried values.
    ///
    /// `writes` says whether the body writes an arena; then the body starts with a barrier.
    pub fn open_loop(
        &mut self,
        count: u32,
        step: u32,
        writes: bool,
        initials: &[lane::Value],
    ) -> (Position, Vec<lane::Value>) {
        if self.traffic.iter().any(|t| t.written) {
            self.barrier();
        }
        let (from, to) = (self.emit.i32(0), self.emit.i32(count as i32));
        let (counter, params) = self.emit.begin_for(from, to, step, initials);
        self.generated += 1;
        if writes {
            self.barrier();
        }
        let facts = Facts::counter(Facts::constant(0), Facts::constant(i64::from(count)), step);
        (Position { value: Some(counter), offset: 0, facts }, params)
    }

    /// Closes a loop that [`Self::open_loop`] opened.
    pub fn close_loop(&mut self, yields: &[lane::Value]) -> Vec<lane::Value> {
        self.generated -= 1;
        self.emit.end_for(yields)
    }

    /// A value is somewhere else from here to the end of the region.
    pub fn relocate(&mut self, value: Value, repr: Repr) {
        let old = self.repr[value.index()].replace(repr);
        self.moved.push((value, old));
    }

    /// Whether code is being emitted into a generated loop.
    pub fn in_generated_loop(&self) -> bool {
        self.generated > 0
    }

    /// How many values have moved.
    pub fn moves(&self) -> usize {
        self.moved.len()
    }

    /// Forgets what moved since there were this many moves.
    pub fn restore(&mut self, mark: usize) {
        for (value, old) in self.moved.drain(mark..).rev() {
            self.repr[value.index()] = old;
        }
    }

    fn region(&mut self, region: &'k Region) -> Result<(), LowerError> {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => self.inst(inst)?,
                Stmt::For { counter, from, to, step, carried, body, yields, results, .. } => {
                    if self.fragment_loop(stmt)? || self.spread_loop(stmt)? {
                        continue;
                    }
                    let (first, end) = (self.uniform(*from)?, self.uniform(*to)?);
                    self.facts[counter.index()] =
                        Facts::counter(self.facts[from.index()], self.facts[to.index()], *step);
                    let (kinds, initials) = self.open_carried(carried)?;
                    self.settle();
                    let (value, params) = self.emit.begin_for(first, end, *step, &initials);
                    self.repr[counter.index()] = Some(Repr::Uniform(value));
                    self.bind_carried(carried.iter().map(|c| c.param), &kinds, &params);
                    self.barrier();
                    let mark = self.moved.len();
                    self.region(body)?;
                    let values = self.yield_carried(carried, yields, &kinds)?;
                    let values = self.emit.end_for(&values);
                    self.restore(mark);
                    self.settle();
                    self.bind_carried(results.iter().copied(), &kinds, &values);
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    let (kinds, initials) = self.open_carried(carried)?;
                    self.settle();
                    let params = self.emit.begin_loop(&initials);
                    self.bind_carried(carried.iter().map(|c| c.param), &kinds, &params);
                    self.barrier();
                    let mark = self.moved.len();
                    self.region(body)?;
                    let again = self.uniform(*again)?;
                    let values = self.yield_carried(carried, yields, &kinds)?;
                    let values = self.emit.end_loop(again, &values);
                    self.restore(mark);
                    self.settle();
                    self.bind_carried(results.iter().copied(), &kinds, &values);
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    let condition = self.uniform(*condition)?;
                    let mut kinds = Vec::new();
                    for result in results {
                        kinds.push(self.kind_of(*result)?);
                    }
                    self.settle();
                    self.emit.begin_if(condition);
                    let mark = self.moved.len();
                    self.region(then)?;
                    let values = self.branch_yields(then_yields, &kinds)?;
                    self.settle();
                    self.restore(mark);
                    self.emit.begin_else(&values);
                    self.region(otherwise)?;
                    let values = self.branch_yields(otherwise_yields, &kinds)?;
                    self.settle();
                    self.restore(mark);
                    let values = self.emit.end_if(&values);
                    self.bind_carried(results.iter().copied(), &kinds, &values);
                }
            }
        }
        Ok(())
    }

    /// Leaves no arena traffic behind, so that the state is the same on every path into what follows.
    pub fn settle(&mut self) {
        if self.traffic.iter().any(|t| t.written || t.read) {
            self.barrier();
        }
    }

    /// The representation a variable of this value's type has.
    pub(crate) fn kind_of(&mut self, value: Value) -> Result<Repr, LowerError> {
        let ty = self.kernel.ty(value).clone();
        if ty.elements() == 1 {
            return Ok(Repr::Uniform(lane::Value(0)));
        }
        let registers = self.lane_registers(&ty.shape);
        if registers <= u64::from(self.target.tile_registers) {
            return Ok(Repr::Registers(vec![lane::Value(0); registers as usize]));
        }
        Ok(Repr::Arena(self.arena_tile(&ty.shape, scalar_of(ty.dtype)?)?))
    }

    /// Lane registers that a tile of this shape takes.
    pub fn lane_registers(&self, shape: &[u32]) -> u64 {
        let last = shape.last().copied().unwrap_or(1);
        let rows: u64 = shape.iter().rev().skip(1).map(|d| u64::from(*d)).product();
        rows * u64::from(last.div_ceil(self.target.lanes))
    }

    pub fn inst(&mut self, inst: &'k Inst) -> Result<(), LowerError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(LowerError::TooLarge {
                what: format!("kernel `{}` has more than {MAX_VALUES} operations", self.kernel.name),
            });
        }
        if let Some(result) = inst.result {
            self.defs[result.index()] = Some(inst);
            self.facts[result.index()] = self.facts_of(inst, result);
        }
        self.locate(inst.location);
        match (&inst.op, inst.result) {
            (Op::Store { memory, indices }, _) => {
                match inst.args.last().and_then(|value| self.sums_of(*value)) {
                    Some(sums) => self.store_sums(inst, *memory, sums),
                    None => self.store(inst, *memory, indices),
                }
            }
            (Op::StoreHead { tensor, indices }, _) => self.store_head(inst, *tensor, indices),
            (Op::StoreGroups { memory, indices }, _) => self.store_groups(inst, *memory, indices),
            // The copy is there at once, for whoever passes the barrier that comes before its first reader.
            (Op::CopyAsync { shared, indices }, _) => self.store(inst, Memory::Shared(*shared), indices),
            (Op::Commit | Op::Wait(_), _) => Ok(()),
            (Op::Scatter { memory }, _) => self.scatter(inst, *memory),
            (Op::Atomic { update, memory: Memory::Param(tensor) }, Some(result)) => {
                self.atomic(inst, *update, *tensor, result)
            }
            (Op::Atomic { update, memory: memory @ Memory::Shared(_) }, Some(result)) => {
                self.atomic_shared(inst, *update, *memory, result)
            }
            (Op::Assert(message), _) => {
                let condition = self.uniform(inst.args[0])?;
                self.emit.effect(lane::Op::Assert(*message), &[condition]);
                Ok(())
            }
            (Op::Print(message), _) => self.print(inst, *message),
            (Op::Reduce(reduce, axis), Some(result)) => self.reduce(inst, *reduce, *axis as usize, result),
            (Op::Scan(reduce, axis), Some(result)) => self.scan(inst, *reduce, *axis as usize, result),
            (Op::Concat(axis), Some(result)) => self.concat(inst, *axis as usize, result),
            (Op::Dot, Some(result)) => self.dot(inst, result),
            (op, Some(result)) => {
                // Whoever asks for an element may stand in a loop that reads it many times.
                let regroups = *op == Op::Reshape && self.regroups(inst.args[0], result);
                if regroups || matches!(op, Op::View | Op::Gather(_)) {
                    self.move_to_arena(inst.args[0])?;
                }
                self.repr[result.index()] = Some(Repr::Lazy);
                if self.kernel.ty(result).is_scalar() {
                    let value = self.eval(result, &[])?;
                    self.repr[result.index()] = Some(Repr::Uniform(value));
                } else if self.plan.keep[result.index()] {
                    self.keep(result)?;
                }
                Ok(())
            }
            (_, None) => self.unsupported("an operation without a result", Some(inst)),
        }
    }

    /// A printed tile is its elements, one by one: what lanes there are is nobody's business.
    fn print(&mut self, inst: &Inst, message: u32) -> Result<(), LowerError> {
        let shapes: Vec<Vec<u32>> = inst.args.iter().map(|arg| self.kernel.ty(*arg).shape.clone()).collect();
        let elements: u64 = inst.args.iter().map(|arg| self.kernel.ty(*arg).elements()).sum();
        if elements > MAX_PRINTED {
            return Err(LowerError::TooLarge {
                what: format!(
                    "kernel `{}` prints {elements} elements at once, at most {MAX_PRINTED} are possible: print a slice",
                    self.kernel.name
                ),
            });
        }
        let mut values = Vec::new();
        for (arg, shape) in inst.args.iter().zip(&shapes) {
            // Lane IR has no unsigned 32-bit numbers: what prints as one is an i64.
            let unsigned = self.kernel.ty(*arg).dtype == DType::U32;
            if self.kernel.ty(*arg).elements() == 1 {
                let value = self.uniform(*arg)?;
                values.push(if unsigned { self.emit.pure(Pure::U32ToI64, &[value]) } else { value });
                continue;
            }
            let lanes = self.target.lanes;
            let last = shape.last().copied().unwrap_or(1);
            let chunks = last.div_ceil(lanes);
            for (register, chunk) in self.registers(*arg)?.into_iter().zip((0..chunks).cycle()) {
                for lane in 0..lanes.min(last - chunk * lanes) {
                    let lane = self.emit.i32(lane as i32);
                    let value = self.emit.extract(register, lane);
                    values.push(if unsigned { self.emit.pure(Pure::U32ToI64, &[value]) } else { value });
                }
            }
        }
        let written = &self.kernel.messages[message as usize];
        let text = lane::spell_out(&written.text, &shapes);
        let message = if text == written.text {
            message
        } else {
            self.emit.message(Message { text, ..written.clone() })
        };
        self.emit.effect(lane::Op::Print(message), &values);
        Ok(())
    }

    /// The single element of a scalar or one-element tile.
    pub fn uniform(&mut self, value: Value) -> Result<lane::Value, LowerError> {
        if let Some(Repr::Uniform(v)) = self.repr[value.index()] {
            return Ok(v);
        }
        let rank = self.kernel.ty(value).shape.len();
        self.eval(value, &vec![Coord::zero(); rank])
    }

    /// A host expression over dimensions and scalar parameters as an i32 lane value.
    pub fn host_expr(&mut self, expr: &host::Expr) -> Result<lane::Value, LowerError> {
        match expr {
            host::Expr::Const(_) => match expr.as_int().and_then(|v| i32::try_from(v).ok()) {
                Some(v) => Ok(self.emit.i32(v)),
                None => self.unsupported("an extent that is no 32-bit integer", None),
            },
            host::Expr::Name(name) => match self.dim_named(name) {
                Some(dim) => Ok(self.dim(dim)),
                None => self.unsupported(format!("`{name}` is no dimension of this kernel"), None),
            },
            host::Expr::Binary(op, a, b) => {
                let (a, b) = (self.host_expr(a)?, self.host_expr(b)?);
                let one = self.emit.i32(1);
                let pure = match op {
                    host::Binary::Add => Pure::IAdd,
                    host::Binary::Sub => Pure::ISub,
                    host::Binary::Mul => Pure::IMul,
                    host::Binary::Div => Pure::IDivS,
                    host::Binary::Rem => Pure::IRemS,
                    host::Binary::Min => Pure::IMinS,
                    host::Binary::Max => Pure::IMaxS,
                    host::Binary::CeilDiv => {
                        let last = self.emit.pure(Pure::ISub, &[b, one]);
                        let sum = self.emit.pure(Pure::IAdd, &[a, last]);
                        return Ok(self.emit.pure(Pure::IDivS, &[sum, b]));
                    }
                    host::Binary::Eq
                    | host::Binary::Ne
                    | host::Binary::Lt
                    | host::Binary::Le
                    | host::Binary::And
                    | host::Binary::Or => return self.unsupported("a comparison as an extent", None),
                };
                Ok(self.emit.pure(pure, &[a, b]))
            }
            host::Expr::Unary(..) => self.unsupported("this expression as an extent", None),
        }
    }

    /// The arena of a block-shared tensor.
    pub fn shared_tile(&self, memory: Memory) -> Option<ArenaTile> {
        match memory {
            Memory::Shared(shared) => self.shared.get(shared.index()).cloned(),
            Memory::Param(_) => None,
        }
    }
}
