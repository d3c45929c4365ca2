//! A lane IR builder that keeps the code small while it is made.
//!
//! * **Value numbering.** A pure operation, or a load from memory that the kernel only reads, is emitted once per
//!   scope; asking for it again gives the same value. Scopes are the open regions, inner ones see outer ones.
//! * **Hoisting.** A uniform pure operation goes to the outermost region in which its operands exist, so
//!   address arithmetic and edge conditions leave the loops by themselves. Varying ones stay where they are asked for:
//!   moving them out would only lengthen their lives in registers.
//! * **Folding** of integer and boolean constants and of the identities `x + 0`, `x * 1`, `x * 0`, by the policies in
//!   `lane::op`. Floats are never folded: that is the interpreter's and the machine's business.
//!
//! ```text
//! add(mul(i, 4), 0)  asked for twice inside two loops over k   ->  one `imul` before both loops
//! ```

use crate::bounds::Bounds;
use std::collections::HashMap;
use tvmc_ir::lane::{
    Access, Arena, Buffer, Builder, Fragment, Function, Mem, MemoryOp, Message, Op, Place, Pure, Reduce,
    Role, Scalar, Table, Type, Update, Value,
};

/// A folded constant.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Known {
    /// i32 or the bits of an i32.
    I32(i32),
    /// i64.
    I64(i64),
    /// bool.
    Bool(bool),
}

/// See the module head.
pub struct Emitter {
    builder: Builder,
    /// One table per open region, the function's body first.
    scopes: Vec<HashMap<(Op, Vec<Value>), Value>>,
    /// Region depth of each value.
    depth: Vec<usize>,
    known: HashMap<Value, Known>,
    /// A divisor of an i32 value, where one above 1 is known.
    multiples: HashMap<Value, i64>,
    /// What `value & mask` was made of.
    masks: HashMap<Value, (Value, i32)>,
    /// The bits of floats that were made of bits.
    bits: HashMap<Value, Value>,
    access: Vec<Access>,
    marks: Marks,
}

/// Marks of places in the source, for code that checks its accesses (`bounds`).
#[derive(Default)]
struct Marks {
    /// Whether they are written at all.
    wanted: bool,
    /// The place of what is emitted now, and its message once there is one.
    here: Option<u32>,
    text: String,
    /// The message of each place.
    messages: HashMap<Option<u32>, u32>,
    /// The last mark of each open region, if it is known.
    last: Vec<Option<Option<u32>>>,
}

impl Emitter {
    /// An empty function.
    pub fn new(name: &str, lanes: u32, bounds: Bounds) -> Self {
        let wanted = bounds == Bounds::Checked;
        Self {
            marks: Marks { wanted, last: vec![None], ..Marks::default() },
            builder: Builder::new(name, lanes),
            scopes: vec![HashMap::new()],
            depth: Vec::new(),
            known: HashMap::new(),
            multiples: HashMap::new(),
            masks: HashMap::new(),
            bits: HashMap::new(),
            access: Vec::new(),
        }
    }

    /// Declares a buffer argument.
    pub fn buffer(&mut self, name: &str, access: Access) -> Buffer {
        self.access.push(access);
        self.builder.buffer(name, access)
    }

    /// Declares a scalar argument.
    pub fn scalar(&mut self, name: &str, scalar: Scalar) -> Value {
        let value = self.builder.scalar(name, scalar);
        self.record(value, 0);
        value
    }

    /// Declares scratch memory.
    pub fn arena(&mut self, bytes: u32) -> Arena {
        self.builder.arena(bytes)
    }

    /// Declares a fragment of groups of so many lanes.
    pub fn fragment(&mut self, role: Role, group: u32) -> Fragment {
        self.builder.fragment(role, group)
    }

    /// Declares a constant table.
    pub fn table(&mut self, scalar: Scalar, entries: Vec<u32>) -> Table {
        self.builder.table(scalar, entries)
    }

    /// Declares a message.
    pub fn message(&mut self, message: Message) -> u32 {
        self.builder.message(message)
    }

    /// What is emitted from now on comes from this place, whose words `text` knows; gives the place before.
    pub fn locate(&mut self, place: Option<u32>, text: &dyn Fn(u32) -> String) -> Option<u32> {
        let before = std::mem::replace(&mut self.marks.here, place);
        if self.marks.wanted && before != place {
            self.marks.text = place.map(text).unwrap_or_default();
        }
        before
    }

    /// Marks the place of the access that follows, where it is not that of the one before.
    fn mark(&mut self) {
        if !self.marks.wanted || self.marks.last.last() == Some(&Some(self.marks.here)) {
            return;
        }
        let here = self.marks.here;
        let message = match self.marks.messages.get(&here) {
            Some(message) => *message,
            None => {
                let location = self.marks.text.clone();
                let message = self.builder.message(Message { text: String::new(), location });
                self.marks.messages.insert(here, message);
                message
            }
        };
        let holds = self.bool(true);
        self.builder.inst(Op::Assert(message), &[holds]);
        if let Some(last) = self.marks.last.last_mut() {
            *last = Some(here);
        }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.builder.ty(value)
    }

    /// Whether every lane has its own value.
    pub fn is_varying(&self, value: Value) -> bool {
        self.ty(value).is_varying()
    }

    /// The constant a value is known to be.
    pub fn known(&self, value: Value) -> Option<Known> {
        self.known.get(&value).copied()
    }

    /// The i32 constant a value is known to be.
    pub fn known_i32(&self, value: Value) -> Option<i32> {
        match self.known(value) {
            Some(Known::I32(x)) => Some(x),
            Some(Known::I64(_) | Known::Bool(_)) | None => None,
        }
    }

    fn record(&mut self, value: Value, depth: usize) {
        if self.depth.len() <= value.index() {
            self.depth.resize(value.index() + 1, 0);
        }
        self.depth[value.index()] = depth;
    }

    fn here(&self) -> usize {
        self.builder.depth()
    }

    /// Emits a pure operation through value numbering and hoisting.
    fn numbered(&mut self, op: Op, args: &[Value]) -> Value {
        let key = (op, args.to_vec());
        if let Some(value) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return *value;
        }
        let varying = self.builder.result_type(op, args).is_some_and(Type::is_varying);
        let home = if varying && op != Op::LaneIndex {
            self.here()
        } else {
            args.iter().map(|a| self.depth[a.index()]).max().unwrap_or(0)
        };
        self.emit_at(home, op, args, key)
    }

    fn emit_at(&mut self, home: usize, op: Op, args: &[Value], key: (Op, Vec<Value>)) -> Value {
        let Some(value) = self.builder.inst_at(home, op, args) else {
            unreachable!("only operations with a result are numbered")
        };
        self.record(value, home);
        self.scopes[home].insert(key, value);
        value
    }

    /// An i32 constant.
    pub fn i32(&mut self, value: i32) -> Value {
        let v = self.numbered(Op::ConstI32(value), &[]);
        self.known.insert(v, Known::I32(value));
        v
    }

    /// An i64 constant.
    pub fn i64(&mut self, value: i64) -> Value {
        let v = self.numbered(Op::ConstI64(value), &[]);
        self.known.insert(v, Known::I64(value));
        v
    }

    /// A bool constant.
    pub fn bool(&mut self, value: bool) -> Value {
        let v = self.numbered(Op::ConstBool(value), &[]);
        self.known.insert(v, Known::Bool(value));
        v
    }

    /// An f32 constant by its bits.
    pub fn f32_bits(&mut self, bits: u32) -> Value {
        self.numbered(Op::ConstF32(bits), &[])
    }

    /// An f32 constant.
    pub fn f32(&mut self, value: f32) -> Value {
        self.f32_bits(value.to_bits())
    }

    /// A number that divides an i32 value (for a wrapping product: a power of two that does, or a divisor of a factor
    /// that cannot wrap because row lengths are below 2^28 bytes). 1 where nothing is known; 0 for the constant 0.
    pub fn multiple_of(&self, value: Value) -> i64 {
        match self.known_i32(value) {
            Some(constant) => i64::from(constant).abs(),
            None => self.multiples.get(&value).copied().unwrap_or(1),
        }
    }

    /// Each lane's number.
    pub fn lane_index(&mut self) -> Value {
        self.numbered(Op::LaneIndex, &[])
    }

    /// The block's index on an axis.
    pub fn block_index(&mut self, axis: u8) -> Value {
        self.numbered(Op::BlockIndex(axis), &[])
    }

    /// Uniform to varying; a varying value is returned as it is.
    pub fn splat(&mut self, value: Value) -> Value {
        if self.is_varying(value) { value } else { self.numbered(Op::Splat, &[value]) }
    }

    /// A pure operation. Where some operands vary and others don't, the others are splat.
    pub fn pure(&mut self, op: Pure, args: &[Value]) -> Value {
        if let Some(value) = self.fold(op, args) {
            return value;
        }
        let multiple = match op {
            Pure::IMul => self.multiple_of(args[0]).saturating_mul(self.multiple_of(args[1])),
            Pure::IAdd => gcd(self.multiple_of(args[0]), self.multiple_of(args[1])),
            _ => 1,
        };
        let mask = self.known_i32(*args.last().unwrap_or(&args[0])).filter(|_| op == Pure::IAnd);
        let whole = args[0];
        let value = if args.iter().any(|a| self.is_varying(*a)) {
            let args: Vec<Value> = args.iter().map(|a| self.splat(*a)).collect();
            self.numbered(Op::Pure(op), &args)
        } else {
            self.numbered(Op::Pure(op), args)
        };
        if multiple > 1 {
            self.multiples.insert(value, multiple);
        }
        if let Some(mask) = mask {
            self.masks.insert(value, (whole, mask));
        }
        if op == Pure::F32FromBits {
            self.bits.insert(value, whole);
        }
        value
    }

    /// `unpack`, `table`: per-lane operations with immediates, like `pure`.
    pub fn lane_op(&mut self, op: Op, args: &[Value]) -> Value {
        if let (Op::TableBytes(table), [index]) = (op, args)
            && let Some((whole, mask)) = self.masks.get(index).copied()
        {
            // Bits that the look-up ignores need not be cleared.
            let looked_at = (self.builder.table_size(table).next_power_of_two() as u32 - 1) * 0x0101_0101;
            if mask as u32 & looked_at == looked_at {
                return self.lane_op(op, &[whole]);
            }
        }
        if args.iter().any(|a| self.is_varying(*a)) {
            let args: Vec<Value> = args.iter().map(|a| self.splat(*a)).collect();
            return self.numbered(op, &args);
        }
        self.numbered(op, args)
    }

    fn fold(&mut self, op: Pure, args: &[Value]) -> Option<Value> {
        let known: Vec<Option<Known>> = args.iter().map(|a| self.known(*a)).collect();
        let i = |at: usize| match known[at] {
            Some(Known::I32(x)) => Some(x),
            Some(Known::I64(_) | Known::Bool(_)) | None => None,
        };
        let l = |at: usize| match known[at] {
            Some(Known::I64(x)) => Some(x),
            Some(Known::I32(_) | Known::Bool(_)) | None => None,
        };
        let b = |at: usize| match known[at] {
            Some(Known::Bool(x)) => Some(x),
            Some(Known::I32(_) | Known::I64(_)) | None => None,
        };
        // Identities first: they also hold for varying operands.
        match op {
            Pure::IAdd | Pure::IOr | Pure::IXor if i(1) == Some(0) => return Some(args[0]),
            Pure::IAdd | Pure::IOr | Pure::IXor if i(0) == Some(0) => return Some(args[1]),
            Pure::ISub | Pure::Shl | Pure::ShrS | Pure::ShrU if i(1) == Some(0) => return Some(args[0]),
            Pure::IAnd if i(1) == Some(-1) => return Some(args[0]),
            Pure::F32Bits if self.bits.contains_key(&args[0]) => return self.bits.get(&args[0]).copied(),
            Pure::IMul if i(1) == Some(1) => return Some(args[0]),
            Pure::IMul if i(0) == Some(1) => return Some(args[1]),
            Pure::IMul if i(0) == Some(0) || i(1) == Some(0) => return Some(self.i32(0)),
            Pure::IDivS | Pure::IDivU if i(1) == Some(1) => return Some(args[0]),
            Pure::IRemS | Pure::IRemU if i(1) == Some(1) => return Some(self.i32(0)),
            Pure::LAdd if l(1) == Some(0) => return Some(args[0]),
            Pure::LAdd if l(0) == Some(0) => return Some(args[1]),
            Pure::LMul if l(1) == Some(1) => return Some(args[0]),
            Pure::LMul if l(0) == Some(1) => return Some(args[1]),
            Pure::LMul if l(0) == Some(0) || l(1) == Some(0) => return Some(self.i64(0)),
            Pure::BAnd if b(1) == Some(true) => return Some(args[0]),
            Pure::BAnd if b(0) == Some(true) => return Some(args[1]),
            Pure::BOr if b(1) == Some(false) => return Some(args[0]),
            Pure::BOr if b(0) == Some(false) => return Some(args[1]),
            Pure::Select if b(0) == Some(true) => return Some(args[1]),
            Pure::Select if b(0) == Some(false) => return Some(args[2]),
            Pure::Select if args[1] == args[2] => return Some(args[1]),
            _ => {}
        }
        if let (Some(x), Some(y)) = (known.first().and(i_at(&known, 0)), i_at(&known, 1)) {
            return self.fold_i32(op, x, y);
        }
        match (op, i_at(&known, 0), known.first().copied().flatten(), known.get(1).copied().flatten()) {
            (Pure::I32ToI64, Some(x), _, _) => Some(self.i64(i64::from(x))),
            (Pure::U32ToI64, Some(x), _, _) => Some(self.i64(i64::from(x as u32))),
            (Pure::PopCount, Some(x), _, _) => Some(self.i32(x.count_ones() as i32)),
            (Pure::I64ToI32, _, Some(Known::I64(x)), _) => Some(self.i32(x as i32)),
            (Pure::LAdd, _, Some(Known::I64(x)), Some(Known::I64(y))) => Some(self.i64(x.wrapping_add(y))),
            (Pure::LSub, _, Some(Known::I64(x)), Some(Known::I64(y))) => Some(self.i64(x.wrapping_sub(y))),
            (Pure::LMul, _, Some(Known::I64(x)), Some(Known::I64(y))) => Some(self.i64(x.wrapping_mul(y))),
            (Pure::BAnd, _, Some(Known::Bool(x)), Some(Known::Bool(y))) => Some(self.bool(x && y)),
            (Pure::BOr, _, Some(Known::Bool(x)), Some(Known::Bool(y))) => Some(self.bool(x || y)),
            (Pure::BXor, _, Some(Known::Bool(x)), Some(Known::Bool(y))) => Some(self.bool(x != y)),
            (Pure::BNot, _, Some(Known::Bool(x)), _) => Some(self.bool(!x)),
            _ => None,
        }
    }

    fn fold_i32(&mut self, op: Pure, x: i32, y: i32) -> Option<Value> {
        let (ux, uy) = (x as u32, y as u32);
        let count = uy & 31;
        let value = match op {
            Pure::IAdd => x.wrapping_add(y),
            Pure::ISub => x.wrapping_sub(y),
            Pure::IMul => x.wrapping_mul(y),
            Pure::IDivS => {
                if y == 0 {
                    0
                } else {
                    x.wrapping_div(y)
                }
            }
            Pure::IDivU => {
                if y == 0 {
                    0
                } else {
                    (ux / uy) as i32
                }
            }
            Pure::IRemS => {
                if y == 0 {
                    x
                } else {
                    x.wrapping_rem(y)
                }
            }
            Pure::IRemU => {
                if y == 0 {
                    x
                } else {
                    (ux % uy) as i32
                }
            }
            Pure::IMinS => x.min(y),
            Pure::IMaxS => x.max(y),
            Pure::IMinU => ux.min(uy) as i32,
            Pure::IMaxU => ux.max(uy) as i32,
            Pure::IAnd => x & y,
            Pure::IOr => x | y,
            Pure::IXor => x ^ y,
            Pure::Shl => (ux << count) as i32,
            Pure::ShrS => x >> count,
            Pure::ShrU => (ux >> count) as i32,
            Pure::IEq => return Some(self.bool(x == y)),
            Pure::INe => return Some(self.bool(x != y)),
            Pure::ILtS => return Some(self.bool(x < y)),
            Pure::ILeS => return Some(self.bool(x <= y)),
            Pure::ILtU => return Some(self.bool(ux < uy)),
            Pure::ILeU => return Some(self.bool(ux <= uy)),
            // Every other row has no two i32 operands (or three, which are never folded).
            _ => return None,
        };
        Some(self.i32(value))
    }

    /// `a + b` of i64.
    pub fn ladd(&mut self, a: Value, b: Value) -> Value {
        self.pure(Pure::LAdd, &[a, b])
    }

    /// `a * b` of i64.
    pub fn lmul(&mut self, a: Value, b: Value) -> Value {
        self.pure(Pure::LMul, &[a, b])
    }

    /// Both masks, either of which may be absent.
    pub fn both(&mut self, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.pure(Pure::BAnd, &[a, b])),
            (Some(mask), None) | (None, Some(mask)) => Some(mask),
            (None, None) => None,
        }
    }

    fn read_only(&self, place: Place) -> bool {
        match place {
            Place::Buffer(buffer) => self.access[buffer.index()] == Access::Read,
            Place::Arena(_) => false,
        }
    }

    /// A load; mask and offset are made varying where the form needs it. (An offset is known to be the same for all lanes where its stride is 0: in a
    /// tensor without elements.)
    pub fn load(
        &mut self,
        form: MemoryOp,
        mem: Mem,
        place: Place,
        base: Value,
        offset: Option<Value>,
        mask: Option<Value>,
    ) -> Value {
        let mask = mask.filter(|m| self.known(*m) != Some(Known::Bool(true)));
        let mask = mask.map(|m| if form == MemoryOp::LoadUniform { m } else { self.splat(m) });
        let offset = offset.map(|o| self.splat(o));
        let args: Vec<Value> = [Some(base), offset, mask].into_iter().flatten().collect();
        let op = Op::Memory { form, mem, place, masked: mask.is_some() };
        if self.read_only(place) {
            let key = (op, args.clone());
            if let Some(value) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
                return *value;
            }
            self.mark();
            return self.emit_at(self.here(), op, &args, key);
        }
        self.mark();
        let value = self.builder.load(form, mem, place, base, offset, mask);
        self.record(value, self.here());
        value
    }

    /// A store; value, mask and offset are made varying where the form needs it.
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
        let mask = mask.filter(|m| self.known(*m) != Some(Known::Bool(true)));
        let uniform = form == MemoryOp::StoreUniform;
        let value = if uniform { value } else { self.splat(value) };
        let mask = mask.map(|m| if uniform { m } else { self.splat(m) });
        let offset = offset.map(|o| self.splat(o));
        self.mark();
        self.builder.store(form, mem, place, base, offset, value, mask);
    }

    /// A store of bits of bytes; everything but the base is made varying, an absent mask is true in all lanes.
    pub fn store_bits(
        &mut self,
        buffer: Buffer,
        (base, offset): (Value, Value),
        (value, bits): (Value, Value),
        mask: Option<Value>,
    ) {
        let mask = mask.unwrap_or_else(|| self.bool(true));
        let [offset, value, bits, mask] = [offset, value, bits, mask].map(|operand| self.splat(operand));
        self.mark();
        self.builder.inst(Op::StoreBits(buffer), &[base, offset, value, bits, mask]);
    }

    /// An atomic update; everything but the base is made varying, an absent mask is true in all lanes.
    pub fn atomic(
        &mut self,
        update: Update,
        buffer: Buffer,
        base: Value,
        offset: Option<Value>,
        operands: &[Value],
        mask: Option<Value>,
    ) -> Value {
        let offset = offset.unwrap_or_else(|| self.i32(0));
        let mask = mask.unwrap_or_else(|| self.bool(true));
        let mut args = vec![base, self.splat(offset)];
        args.extend(operands.iter().map(|operand| self.splat(*operand)));
        args.push(self.splat(mask));
        self.mark();
        let value = self.builder.atomic(update, buffer, &args);
        self.record(value, self.here());
        value
    }

    /// A reduction across lanes.
    pub fn reduce(&mut self, reduce: Reduce, value: Value) -> Value {
        let op = Op::Reduce(reduce);
        let key = (op, vec![value]);
        if let Some(found) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return *found;
        }
        self.emit_at(self.here(), op, &[value], key)
    }

    /// One lane's value.
    pub fn extract(&mut self, value: Value, lane: Value) -> Value {
        if !self.is_varying(value) {
            return value;
        }
        let op = Op::Extract;
        let key = (op, vec![value, lane]);
        if let Some(found) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return *found;
        }
        self.emit_at(self.here(), op, &[value, lane], key)
    }

    /// Orders arena accesses.
    pub fn barrier(&mut self) {
        self.builder.barrier();
    }

    /// An operation without a result.
    pub fn effect(&mut self, op: Op, args: &[Value]) {
        if op.accesses().is_some() {
            self.mark();
        }
        self.builder.inst(op, args);
    }

    fn enter(&mut self, params: &[Value]) {
        self.scopes.push(HashMap::new());
        self.marks.last.push(None);
        let depth = self.here();
        for param in params {
            self.record(*param, depth);
        }
    }

    fn leave(&mut self, results: &[Value]) {
        self.scopes.pop();
        self.marks.last.pop();
        let depth = self.here();
        for result in results {
            self.record(*result, depth);
        }
    }

    /// Opens a counted loop.
    pub fn begin_for(
        &mut self,
        from: Value,
        to: Value,
        step: u32,
        initials: &[Value],
    ) -> (Value, Vec<Value>) {
        let (counter, params) = self.builder.begin_for(from, to, step, initials);
        self.enter(&params);
        let depth = self.here();
        self.record(counter, depth);
        (counter, params)
    }

    /// Closes a counted loop.
    pub fn end_for(&mut self, yields: &[Value]) -> Vec<Value> {
        let results = self.builder.end_for(yields);
        self.leave(&results);
        results
    }

    /// Opens a do-while loop.
    pub fn begin_loop(&mut self, initials: &[Value]) -> Vec<Value> {
        let params = self.builder.begin_loop(initials);
        self.enter(&params);
        params
    }

    /// Closes a do-while loop.
    pub fn end_loop(&mut self, again: Value, yields: &[Value]) -> Vec<Value> {
        let results = self.builder.end_loop(again, yields);
        self.leave(&results);
        results
    }

    /// Opens the true branch.
    pub fn begin_if(&mut self, condition: Value) {
        self.builder.begin_if(condition);
        self.enter(&[]);
    }

    /// Opens the false branch.
    pub fn begin_else(&mut self, yields: &[Value]) {
        self.builder.begin_else(yields);
        self.scopes.pop();
        self.marks.last.pop();
        self.enter(&[]);
    }

    /// Closes the statement.
    pub fn end_if(&mut self, yields: &[Value]) -> Vec<Value> {
        let results = self.builder.end_if(yields);
        self.leave(&results);
        results
    }

    /// Orders buffer accesses of the block, too.
    pub fn buffer_barrier(&mut self) {
        self.builder.inst(Op::BufferBarrier, &[]);
    }

    /// The finished function, and the messages that mark places.
    pub fn finish(self) -> (Function, Vec<u32>) {
        let mut marks: Vec<u32> = self.marks.messages.into_values().collect();
        marks.sort_unstable();
        (self.builder.finish(), marks)
    }
}

/// The greatest common divisor of numbers that are not negative.
pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn i_at(known: &[Option<Known>], at: usize) -> Option<i32> {
    match known.get(at).copied().flatten() {
        Some(Known::I32(x)) => Some(x),
        Some(Known::I64(_) | Known::Bool(_)) | None => None,
    }
}
