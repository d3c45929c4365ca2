//! Builds a [`Function`] in program order. The builder computes result types from the op table; it
//! trusts its caller otherwise, and the verifier judges the result.
//!
//! Regions nest on a stack: `begin_for` opens one, `end_for` closes it and gives the results.

use super::fragment::{FragmentDecl, Role};
use super::function::{
    Access, Arena, ArenaDecl, Buffer, BufferDecl, Carried, Fragment, Function, Inst, Message, Region,
    ScalarDecl, Stmt, Table, TableDecl, Value,
};
use super::op::{MemoryOp, Op, Place, Pure, Reduce, Slot, Update};
use super::types::{Mem, Scalar, Type, Uniformity};

/// An open region and what will become of it.
enum Open {
    For { counter: Value, from: Value, to: Value, step: u32, carried: Vec<Carried> },
    Loop { carried: Vec<Carried> },
    Then { condition: Value },
    Else { condition: Value, then: Region, then_yields: Vec<Value> },
}

/// Appends statements to a function under construction.
pub struct Builder {
    function: Function,
    region: Region,
    open: Vec<(Open, Region)>,
}

impl Builder {
    /// An empty function with this many lanes.
    pub fn new(name: &str, lanes: u32) -> Self {
        let function = Function { name: name.to_owned(), lanes, ..Function::default() };
        Self { function, region: Region::default(), open: Vec::new() }
    }

    /// Declares a buffer argument.
    pub fn buffer(&mut self, name: &str, access: Access) -> Buffer {
        self.function.buffers.push(BufferDecl { name: name.to_owned(), access });
        Buffer(self.function.buffers.len() as u32 - 1)
    }

    /// Declares a scalar argument.
    pub fn scalar(&mut self, name: &str, scalar: Scalar) -> Value {
        let value = self.value(Type::uniform(scalar));
        self.function.scalars.push(ScalarDecl { name: name.to_owned(), value, scalar });
        value
    }

    /// Declares scratch memory.
    pub fn arena(&mut self, bytes: u32) -> Arena {
        self.function.arenas.push(ArenaDecl { bytes });
        Arena(self.function.arenas.len() as u32 - 1)
    }

    /// Declares a fragment; groups have so many lanes.
    pub fn fragment(&mut self, role: Role, group: u32) -> Fragment {
        self.function.group = group;
        self.function.fragments.push(FragmentDecl { role });
        Fragment(self.function.fragments.len() as u32 - 1)
    }

    /// Entries of a table.
    pub fn table_size(&self, table: Table) -> usize {
        self.function.tables[table.index()].entries.len()
    }

    /// Declares a constant table; an equal one is shared.
    pub fn table(&mut self, scalar: Scalar, entries: Vec<u32>) -> Table {
        let table = TableDecl { scalar, entries };
        if let Some(at) = self.function.tables.iter().position(|t| *t == table) {
            return Table(at as u32);
        }
        self.function.tables.push(table);
        Table(self.function.tables.len() as u32 - 1)
    }

    /// Declares the text of an assert or print.
    pub fn message(&mut self, message: Message) -> u32 {
        self.function.messages.push(message);
        self.function.messages.len() as u32 - 1
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.function.ty(value)
    }

    /// Number of lanes.
    pub fn lanes(&self) -> u32 {
        self.function.lanes
    }

    /// How many regions are open (0 in the function's body).
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// A new value of this type, not yet defined.
    fn value(&mut self, ty: Type) -> Value {
        self.function.values.push(ty);
        Value(self.function.values.len() as u32 - 1)
    }

    /// Appends any operation; its result type is computed here.
    pub fn inst(&mut self, op: Op, args: &[Value]) -> Option<Value> {
        let result = self.result_type(op, args).map(|ty| self.value(ty));
        self.region.stmts.push(Stmt::Inst(Inst { op, args: args.to_vec(), result }));
        result
    }

    /// Appends an operation to the region that is `depth` levels open, before the region opened there: how
    /// loop-invariant code is hoisted. Every operand must be defined at that depth or outside it.
    pub fn inst_at(&mut self, depth: usize, op: Op, args: &[Value]) -> Option<Value> {
        let result = self.result_type(op, args).map(|ty| self.value(ty));
        let stmt = Stmt::Inst(Inst { op, args: args.to_vec(), result });
        match self.open.get_mut(depth) {
            Some((_, outer)) => outer.stmts.push(stmt),
            None => self.region.stmts.push(stmt),
        }
        result
    }

    /// The result type of an operation on these operands, or `None` for an effect.
    pub fn result_type(&self, op: Op, args: &[Value]) -> Option<Type> {
        let uniform = |scalar| Some(Type::uniform(scalar));
        let varying = |scalar| Some(Type::varying(scalar));
        let like = |scalar: Scalar| {
            let uniformity = args.first().map_or(Uniformity::Uniform, |a| self.ty(*a).uniformity);
            Some(Type { scalar, uniformity })
        };
        match op {
            Op::Pure(pure) => {
                let info = pure.info();
                match info.result {
                    Slot::Is(scalar) => like(scalar),
                    Slot::Same => {
                        let at = info.args.iter().position(|s| *s == Slot::Same).unwrap_or(0);
                        like(self.ty(args[at]).scalar)
                    }
                }
            }
            Op::ConstF32(_) => uniform(Scalar::F32),
            Op::ConstI32(_) | Op::BlockIndex(_) | Op::BlockCount(_) => uniform(Scalar::I32),
            Op::ConstI64(_) => uniform(Scalar::I64),
            Op::ConstBool(_) => uniform(Scalar::Bool),
            Op::LaneIndex | Op::LoadUnpack { .. } => varying(Scalar::I32),
            Op::Splat | Op::Shuffle => varying(self.ty(args[0]).scalar),
            Op::Reduce(reduce) => uniform(reduce.scalar()),
            Op::Extract => uniform(self.ty(args[0]).scalar),
            Op::Unpack { .. } | Op::TableBytes(_) | Op::TableHalves(_) => like(Scalar::I32),
            Op::TableLookup(table) => like(self.function.tables[table.index()].scalar),
            Op::Memory { form, mem, .. } => match form {
                MemoryOp::LoadUniform => uniform(mem.loaded()),
                MemoryOp::LoadContig | MemoryOp::Gather => varying(mem.loaded()),
                MemoryOp::StoreUniform | MemoryOp::StoreContig | MemoryOp::Scatter => None,
            },
            Op::Atomic { update, .. } => varying(update.scalar()),
            Op::Fragment(_)
            | Op::StoreBits(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => None,
        }
    }

    /// Appends an operation that has a result.
    fn define(&mut self, op: Op, args: &[Value]) -> Value {
        match self.inst(op, args) {
            Some(value) => value,
            None => unreachable!("{op:?} defines no value"),
        }
    }

    /// An atomic update of a buffer's elements; operands as [`Op::Atomic`] lists them.
    pub fn atomic(&mut self, update: Update, buffer: Buffer, args: &[Value]) -> Value {
        self.define(Op::Atomic { update, buffer }, args)
    }

    /// A row of the op table.
    pub fn pure(&mut self, op: Pure, args: &[Value]) -> Value {
        self.define(Op::Pure(op), args)
    }

    /// A uniform f32.
    pub fn f32(&mut self, value: f32) -> Value {
        self.define(Op::ConstF32(value.to_bits()), &[])
    }

    /// A uniform i32.
    pub fn i32(&mut self, value: i32) -> Value {
        self.define(Op::ConstI32(value), &[])
    }

    /// A uniform i64.
    pub fn i64(&mut self, value: i64) -> Value {
        self.define(Op::ConstI64(value), &[])
    }

    /// A uniform bool.
    pub fn bool(&mut self, value: bool) -> Value {
        self.define(Op::ConstBool(value), &[])
    }

    /// Each lane's number.
    pub fn lane_index(&mut self) -> Value {
        self.define(Op::LaneIndex, &[])
    }

    /// The block's index on an axis.
    pub fn block_index(&mut self, axis: u8) -> Value {
        self.define(Op::BlockIndex(axis), &[])
    }

    /// Uniform to varying; a varying value is returned as it is.
    pub fn splat(&mut self, value: Value) -> Value {
        if self.ty(value).is_varying() { value } else { self.define(Op::Splat, &[value]) }
    }

    /// Varying to uniform.
    pub fn reduce(&mut self, reduce: Reduce, value: Value) -> Value {
        self.define(Op::Reduce(reduce), &[value])
    }

    /// A load: `offset` only for gather.
    pub fn load(
        &mut self,
        form: MemoryOp,
        mem: Mem,
        place: Place,
        base: Value,
        offset: Option<Value>,
        mask: Option<Value>,
    ) -> Value {
        let args: Vec<Value> = [Some(base), offset, mask].into_iter().flatten().collect();
        self.define(Op::Memory { form, mem, place, masked: mask.is_some() }, &args)
    }

    /// A store: `offset` only for scatter.
    #[allow(clippy::too_many_arguments)]
    pub fn store(
        &mut self,
        form: MemoryOp,
        mem: Mem,
        place: Place,
        base: Value,
        offset: Option<Value>,
        value: Value,
        mask: Option<Value>,
    ) {
        let args: Vec<Value> = [Some(base), offset, Some(value), mask].into_iter().flatten().collect();
        self.inst(Op::Memory { form, mem, place, masked: mask.is_some() }, &args);
    }

    /// Orders arena accesses of all lanes.
    pub fn barrier(&mut self) {
        self.inst(Op::Barrier, &[]);
    }

    fn push(&mut self, open: Open) {
        let outer = std::mem::take(&mut self.region);
        self.open.push((open, outer));
    }

    fn pop(&mut self) -> (Open, Region) {
        match self.open.pop() {
            Some((open, outer)) => (open, std::mem::replace(&mut self.region, outer)),
            None => unreachable!("no region is open"),
        }
    }

    fn carry(&mut self, initials: &[Value]) -> (Vec<Carried>, Vec<Value>) {
        let carried: Vec<Carried> = initials
            .iter()
            .map(|&initial| Carried { param: self.value(self.ty(initial)), initial })
            .collect();
        let params = carried.iter().map(|c| c.param).collect();
        (carried, params)
    }

    fn results(&mut self, yields: &[Value]) -> Vec<Value> {
        yields.iter().map(|&y| self.value(self.ty(y))).collect()
    }

    /// Opens a counted loop; gives the counter and the carried values as the body sees them.
    pub fn begin_for(
        &mut self,
        from: Value,
        to: Value,
        step: u32,
        initials: &[Value],
    ) -> (Value, Vec<Value>) {
        let counter = self.value(Type::uniform(Scalar::I32));
        let (carried, params) = self.carry(initials);
        self.push(Open::For { counter, from, to, step, carried });
        (counter, params)
    }

    /// Closes a counted loop; gives the values after it.
    pub fn end_for(&mut self, yields: &[Value]) -> Vec<Value> {
        let (open, body) = self.pop();
        let Open::For { counter, from, to, step, carried } = open else {
            unreachable!("the open region is no `for`")
        };
        let results = self.results(yields);
        let yields = yields.to_vec();
        let stmt = Stmt::For { counter, from, to, step, carried, body, yields, results: results.clone() };
        self.region.stmts.push(stmt);
        results
    }

    /// Opens a do-while loop; gives the carried values as the body sees them.
    pub fn begin_loop(&mut self, initials: &[Value]) -> Vec<Value> {
        let (carried, params) = self.carry(initials);
        self.push(Open::Loop { carried });
        params
    }

    /// Closes a do-while loop; gives the values after it.
    pub fn end_loop(&mut self, again: Value, yields: &[Value]) -> Vec<Value> {
        let (open, body) = self.pop();
        let Open::Loop { carried } = open else { unreachable!("the open region is no `loop`") };
        let results = self.results(yields);
        let yields = yields.to_vec();
        self.region.stmts.push(Stmt::Loop { carried, body, again, yields, results: results.clone() });
        results
    }

    /// Opens the true branch of an `if`.
    pub fn begin_if(&mut self, condition: Value) {
        self.push(Open::Then { condition });
    }

    /// Closes the true branch and opens the false one.
    pub fn begin_else(&mut self, then_yields: &[Value]) {
        let (open, then) = self.pop();
        let Open::Then { condition } = open else { unreachable!("the open region is no `if`") };
        self.push(Open::Else { condition, then, then_yields: then_yields.to_vec() });
    }

    /// Closes the false branch; gives the values after the statement.
    pub fn end_if(&mut self, otherwise_yields: &[Value]) -> Vec<Value> {
        let (open, otherwise) = self.pop();
        let Open::Else { condition, then, then_yields } = open else {
            unreachable!("the open region is no `else`")
        };
        let results = self.results(otherwise_yields);
        let otherwise_yields = otherwise_yields.to_vec();
        let results_copy = results.clone();
        self.region.stmts.push(Stmt::If {
            condition,
            then,
            then_yields,
            otherwise,
            otherwise_yields,
            results,
        });
        results_copy
    }

    /// The finished function.
    pub fn finish(mut self) -> Function {
        debug_assert!(self.open.is_empty(), "a region is still open");
        self.function.body = self.region;
        self.function
    }
}
