//! The frame of a function: arguments at entry, then regions in program order.
//!
//! Loops and branches become blocks whose parameters are the carried values and results, a varying one
//! as one parameter per vector. A `for` tests before the first iteration and at the end of each:
//!
//! ```text
//! for v4 in v1..v2 step 8 carry v5 = v3    ->        brif v1 < v2, body(v1, v3), exit(v3)
//!                                          body(v4, v5): ..
//!                                                    brif v2 - v4 >u 8, body(v4 + 8, yield), exit(yield)
//!                                          exit(result): ..
//! ```
//!
//! The closing test cannot overflow: the counter is below its bound, so their difference is a positive
//! number of 32 bits.

use std::collections::HashMap;
use std::rc::Rc;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Block, BlockArg, GlobalValue, InstBuilder, StackSlot, Type, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use tvmc_ir::lane::{Carried, Function, Inst, Op, Place, Region, Scalar, Stmt, Value, abi};

use crate::target::Target;
use crate::words::{F32X4, I32X4, Scratch, plain};
use crate::{Error, MAX_INSTRUCTIONS};

/// Where a lane value is.
#[derive(Clone)]
pub(crate) enum Held {
    /// Not defined yet.
    Nothing,
    /// One CLIF value.
    Uniform(ir::Value),
    /// One vector for each four lanes.
    Varying(Rc<[ir::Value]>),
}

/// One function's translation.
pub(crate) struct Translator<'a> {
    pub function: &'a Function,
    pub target: Target,
    pub b: FunctionBuilder<'a>,
    /// Vectors that hold one scalar in every lane.
    pub splats: HashMap<ir::Value, ir::Value>,
    pub slots: [Option<StackSlot>; Scratch::COUNT],
    /// Where the operands of a `print` are laid out.
    pub print_slot: Option<StackSlot>,
    /// Each constant table's address.
    pub tables: Vec<GlobalValue>,
    /// `*const KernelArgs`.
    pub args: ir::Value,
    held: Vec<Held>,
    blocks: [ir::Value; 3],
    buffers: Vec<Option<ir::Value>>,
    arenas: Option<ir::Value>,
    arena_offsets: Vec<u64>,
}

/// The CLIF type of each vector or scalar of a value.
fn clif_type(ty: tvmc_ir::lane::Type) -> Type {
    match (ty.scalar, ty.is_varying()) {
        (Scalar::F32, false) => types::F32,
        (Scalar::F32, true) => F32X4,
        (Scalar::I32, false) => types::I32,
        (Scalar::I64, _) => types::I64,
        (Scalar::Bool, false) => types::I8,
        (Scalar::I32 | Scalar::Bool, true) => I32X4,
    }
}

impl<'a> Translator<'a> {
    /// Starts the entry block.
    pub fn new(
        function: &'a Function,
        target: Target,
        clif: &'a mut ir::Function,
        scratch: &'a mut FunctionBuilderContext,
        tables: Vec<GlobalValue>,
    ) -> Self {
        let mut b = FunctionBuilder::new(clif, scratch);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let params = b.block_params(entry);
        let (args, blocks) = (params[0], [params[1], params[2], params[3]]);
        Self {
            function,
            target,
            b,
            splats: HashMap::new(),
            slots: [None; Scratch::COUNT],
            print_slot: None,
            tables,
            args,
            held: vec![Held::Nothing; function.values.len()],
            blocks,
            buffers: vec![None; function.buffers.len()],
            arenas: None,
            arena_offsets: function.arena_offsets(),
        }
    }

    /// Translates everything.
    pub fn run(mut self, config: TargetFrontendConfig) -> Result<(), Error> {
        self.entry();
        let function = self.function;
        self.region(&function.body)?;
        self.b.ins().return_(&[]);
        self.b.seal_all_blocks();
        self.b.finalize(config);
        Ok(())
    }

    /// Loads the pointers that are used and the scalar arguments.
    fn entry(&mut self) {
        let mut used = vec![false; self.function.buffers.len()];
        let mut arena = false;
        places(&self.function.body, &mut |place| match place {
            Place::Buffer(buffer) => used[buffer.index()] = true,
            Place::Arena(_) => arena = true,
        });
        if used.contains(&true) {
            let table = self.b.ins().load(types::I64, plain(), self.args, abi::BUFFERS);
            for at in used.iter().enumerate().filter(|(_, used)| **used).map(|(at, _)| at) {
                let pointer = self.b.ins().load(types::I64, plain(), table, 8 * at as i32);
                self.buffers[at] = Some(pointer);
            }
        }
        if arena {
            self.arenas = Some(self.b.ins().load(types::I64, plain(), self.args, abi::ARENA));
        }
        if !self.function.scalars.is_empty() {
            let table = self.b.ins().load(types::I64, plain(), self.args, abi::SCALARS);
            for (at, decl) in self.function.scalars.iter().enumerate() {
                let at = 8 * at as i32;
                let value = match decl.scalar {
                    Scalar::F32 => self.b.ins().load(types::F32, plain(), table, at),
                    Scalar::I32 => self.b.ins().load(types::I32, plain(), table, at),
                    Scalar::I64 => self.b.ins().load(types::I64, plain(), table, at),
                    Scalar::Bool => {
                        let word = self.b.ins().load(types::I64, plain(), table, at);
                        let zero = self.long(0);
                        self.b.ins().icmp(IntCC::NotEqual, word, zero)
                    }
                };
                self.held[decl.value.index()] = Held::Uniform(value);
            }
        }
    }

    /// Address of the start of a buffer or arena.
    pub fn pointer(&mut self, place: Place) -> ir::Value {
        match place {
            Place::Buffer(buffer) => match self.buffers[buffer.index()] {
                Some(pointer) => pointer,
                None => unreachable!("entry loads every buffer in use"),
            },
            Place::Arena(arena) => match self.arenas {
                Some(pointer) => self.advance(pointer, self.arena_offsets[arena.index()] as i64),
                None => unreachable!("entry loads the arena's address if one is in use"),
            },
        }
    }

    /// A uniform operand.
    pub fn uniform(&self, value: Value) -> ir::Value {
        match &self.held[value.index()] {
            Held::Uniform(value) => *value,
            Held::Varying(_) | Held::Nothing => unreachable!("the verifier saw a uniform value"),
        }
    }

    /// A varying operand.
    pub fn varying(&self, value: Value) -> Rc<[ir::Value]> {
        match &self.held[value.index()] {
            Held::Varying(chunks) => Rc::clone(chunks),
            Held::Uniform(_) | Held::Nothing => unreachable!("the verifier saw a varying value"),
        }
    }

    /// Whether a value varies.
    pub fn varies(&self, value: Value) -> bool {
        self.function.ty(value).is_varying()
    }

    fn region(&mut self, region: &Region) -> Result<(), Error> {
        for stmt in &region.stmts {
            if self.b.func.dfg.num_insts() > MAX_INSTRUCTIONS {
                return Err(Error::TooLarge(format!("above {MAX_INSTRUCTIONS} instructions")));
            }
            match stmt {
                Stmt::Inst(inst) => self.inst(inst),
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    self.for_loop((*counter, *from, *to, *step), carried, body, yields, results)?;
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.do_while(carried, body, *again, yields, results)?;
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    let condition = self.uniform(*condition);
                    let blocks = [self.b.create_block(), self.b.create_block()];
                    let after = self.b.create_block();
                    self.b.ins().brif(condition, blocks[0], &[], blocks[1], &[]);
                    let regions = [(then, then_yields), (otherwise, otherwise_yields)];
                    for (block, (region, yields)) in blocks.into_iter().zip(regions) {
                        self.b.switch_to_block(block);
                        self.region(region)?;
                        let arguments = self.arguments(yields.iter().copied());
                        self.b.ins().jump(after, &arguments);
                    }
                    self.parameters(after, results.iter().copied());
                    self.b.switch_to_block(after);
                }
            }
        }
        Ok(())
    }

    fn for_loop(
        &mut self,
        (counter, from, to, step): (Value, Value, Value, u32),
        carried: &[Carried],
        body: &Region,
        yields: &[Value],
        results: &[Value],
    ) -> Result<(), Error> {
        let (from, to) = (self.uniform(from), self.uniform(to));
        let (head, exit) = (self.b.create_block(), self.b.create_block());
        let initials = self.arguments(carried.iter().map(|c| c.initial));
        let entered = self.b.ins().icmp(IntCC::SignedLessThan, from, to);
        let first: Vec<BlockArg> = [BlockArg::Value(from)].into_iter().chain(initials.clone()).collect();
        self.b.ins().brif(entered, head, &first, exit, &initials);

        let at = self.b.append_block_param(head, types::I32);
        self.held[counter.index()] = Held::Uniform(at);
        self.parameters(head, carried.iter().map(|c| c.param));
        self.b.switch_to_block(head);
        self.region(body)?;
        let step = self.b.ins().iconst(types::I32, i64::from(step));
        let left = self.b.ins().isub(to, at);
        let more = self.b.ins().icmp(IntCC::UnsignedGreaterThan, left, step);
        let next = self.b.ins().iadd(at, step);
        let last = self.arguments(yields.iter().copied());
        let again: Vec<BlockArg> = [BlockArg::Value(next)].into_iter().chain(last.clone()).collect();
        self.b.ins().brif(more, head, &again, exit, &last);

        self.parameters(exit, results.iter().copied());
        self.b.switch_to_block(exit);
        Ok(())
    }

    fn do_while(
        &mut self,
        carried: &[Carried],
        body: &Region,
        again: Value,
        yields: &[Value],
        results: &[Value],
    ) -> Result<(), Error> {
        let (head, exit) = (self.b.create_block(), self.b.create_block());
        let initials = self.arguments(carried.iter().map(|c| c.initial));
        self.b.ins().jump(head, &initials);
        self.parameters(head, carried.iter().map(|c| c.param));
        self.b.switch_to_block(head);
        self.region(body)?;
        let again = self.uniform(again);
        let last = self.arguments(yields.iter().copied());
        self.b.ins().brif(again, head, &last, exit, &last);
        self.parameters(exit, results.iter().copied());
        self.b.switch_to_block(exit);
        Ok(())
    }

    /// Values as block arguments, a varying one as its vectors.
    fn arguments(&self, values: impl Iterator<Item = Value>) -> Vec<BlockArg> {
        let mut out = Vec::new();
        for value in values {
            match &self.held[value.index()] {
                Held::Uniform(value) => out.push(BlockArg::Value(*value)),
                Held::Varying(chunks) => out.extend(chunks.iter().map(|chunk| BlockArg::Value(*chunk))),
                Held::Nothing => unreachable!("the verifier saw a definition"),
            }
        }
        out
    }

    /// Defines values as parameters of a block.
    fn parameters(&mut self, block: Block, values: impl Iterator<Item = Value>) {
        for value in values {
            let ty = self.function.ty(value);
            let clif = clif_type(ty);
            self.held[value.index()] = if ty.is_varying() {
                Held::Varying((0..self.chunks()).map(|_| self.b.append_block_param(block, clif)).collect())
            } else {
                Held::Uniform(self.b.append_block_param(block, clif))
            };
        }
    }

    fn inst(&mut self, inst: &Inst) {
        let held = match inst.op {
            Op::Pure(op) => self.pure(op, inst),
            Op::ConstF32(bits) => {
                Held::Uniform(self.b.ins().f32const(ir::immediates::Ieee32::with_bits(bits)))
            }
            Op::ConstI32(value) => {
                Held::Uniform(self.b.ins().iconst(types::I32, i64::from(value.cast_unsigned())))
            }
            Op::ConstI64(value) => Held::Uniform(self.b.ins().iconst(types::I64, value)),
            Op::ConstBool(value) => Held::Uniform(self.b.ins().iconst(types::I8, i64::from(value))),
            Op::LaneIndex => {
                let chunks = 0..self.chunks() as u32;
                Held::Varying(
                    chunks.map(|c| self.words(std::array::from_fn(|l| 4 * c + l as u32), I32X4)).collect(),
                )
            }
            Op::BlockIndex(axis) => Held::Uniform(self.blocks[usize::from(axis)]),
            Op::BlockCount(axis) => {
                let at = abi::GRID + 4 * i32::from(axis);
                Held::Uniform(self.b.ins().load(types::I32, plain(), self.args, at))
            }
            Op::Splat => self.splat_op(inst.args[0]),
            Op::Reduce(reduce) => self.reduce(reduce, inst.args[0]),
            Op::Extract => self.extract(inst.args[0], inst.args[1]),
            Op::Shuffle => self.shuffle(inst.args[0], inst.args[1]),
            Op::Unpack { bits, offset, sign } => self.unpack(bits, offset, sign, inst),
            Op::LoadUnpack { place, bits, sign } => self.load_unpack(place, bits, sign, inst.args[0]),
            Op::TableLookup(table) => self.table_lookup(table, inst.args[0]),
            Op::TableBytes(table) => self.table_bytes(table, inst.args[0]),
            Op::TableHalves(table) => self.table_halves(table, inst.args[0]),
            Op::Memory { form, mem, place, masked } => {
                match self.memory(form, mem, place, masked, &inst.args) {
                    Some(held) => held,
                    None => return,
                }
            }
            Op::Atomic { update, buffer } => self.atomic(update, buffer, &inst.args),
            Op::StoreBits(buffer) => return self.store_bits(buffer, &inst.args),
            // One worker runs all lanes of a block in step: what came before has happened.
            Op::Barrier | Op::BufferBarrier => return,
            Op::Fragment(_) => unreachable!("refused before"),
            Op::Assert(message) => return self.assert(message, inst.args[0]),
            Op::Print(message) => return self.print(message, &inst.args),
        };
        if let Some(result) = inst.result {
            self.held[result.index()] = held;
        }
    }
}

/// Visits the place of every memory operation. Depth is bounded by the verifier.
fn places(region: &Region, visit: &mut impl FnMut(Place)) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Inst(inst) => {
                if let Some(touch) = inst.op.accesses() {
                    visit(touch.place);
                }
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => places(body, visit),
            Stmt::If { then, otherwise, .. } => {
                places(then, visit);
                places(otherwise, visit);
            }
        }
    }
}
