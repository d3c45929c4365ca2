//! Code that checks each of its accesses itself.
//!
//! What [`lower`](crate::lower) makes is trusted: an access is masked at the edge of its tensor, or *proved* to lie inside. Under [`Bounds::Checked`] nothing is
//! believed: [`check`] rewrites the finished function, after every other pass, so that each access compares what it touches with how much there is, does
//! not touch what lies outside (it loads zero, and stores nothing), and fails the launch. The rewriting reads lane IR alone, so it also judges code that
//! nobody lowered.
//!
//! ```text
//! v9 = load.contig.f32 b0[v7]         v20 = (0 <= v7 + lane < elements of b0), lane by lane
//!                                     assert "out of bounds: `x` is read outside its elements"  (all lanes of v20)
//!                                     v9 = load.contig.f32 b0[v7] mask v20
//! ```
//!
//! **Lengths.** A buffer's elements of each size are a scalar argument, appended behind the others ([`Length`] says which); those of an arena are a constant.
//! Indices are compared exactly: no sum of base and offset is made that could wrap.
//!
//! **Marks.** An assert whose condition is the constant true and whose message is one of `marks` says from where in the source the accesses after it come, up to the next
//! mark in its region. Only a lowering under this policy writes them; they are taken out here.

use std::collections::HashMap;
use tvmc_ir::lane::fragment::{ALIGNMENT, EDGE};
use tvmc_ir::lane::{
    Arena, Buffer, FragmentOp, Function, Inst, MemoryOp, Message, Op, Place, Pure, Reduce, Region, Scalar,
    ScalarDecl, Stmt, Touch, Type, Value,
};

/// Who answers for it that generated code touches nothing outside its arguments.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Bounds {
    /// The lowering: each access is masked, or proved to lie inside. The default, and the only policy for code that is exported.
    #[default]
    Proved,
    /// The code itself: each access is checked when it is made, and one outside fails the launch with kernel, argument and source line. For finding mistakes of ours; it
    /// costs several times the time.
    Checked,
}

/// A scalar argument that [`check`] appends: how many whole elements of `size` bytes a buffer has.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Length {
    /// The buffer.
    pub buffer: Buffer,
    /// Bytes of an element.
    pub size: u32,
}

/// Makes a function check its accesses; gives the scalar arguments it takes from now on, behind those it took.
pub fn check(function: &mut Function, marks: &[u32]) -> Vec<Length> {
    let mut checker = Checker {
        values: std::mem::take(&mut function.values),
        messages: std::mem::take(&mut function.messages),
        marks,
        prelude: Vec::new(),
        constants: HashMap::new(),
        lengths: Vec::new(),
        length_values: HashMap::new(),
        texts: HashMap::new(),
        here: String::new(),
        function: Function { body: Region::default(), ..function.clone() },
    };
    let body = checker.region(std::mem::take(&mut function.body));
    let Checker { values, messages, mut prelude, lengths, length_values, .. } = checker;
    for length in &lengths {
        let name =
            format!("elements of {} bytes of {}", length.size, function.buffers[length.buffer.index()].name);
        function.scalars.push(ScalarDecl { name, value: length_values[length], scalar: Scalar::I64 });
    }
    prelude.extend(body.stmts);
    function.body = Region { stmts: prelude };
    function.values = values;
    function.messages = messages;
    lengths
}

/// How an access is spoken of.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
enum Verb {
    Read,
    Written,
    Updated,
}

struct Checker<'m> {
    values: Vec<Type>,
    messages: Vec<Message>,
    marks: &'m [u32],
    /// Constants, and the lanes' numbers: before everything else.
    prelude: Vec<Stmt>,
    constants: HashMap<Op, Value>,
    lengths: Vec<Length>,
    length_values: HashMap<Length, Value>,
    /// Messages made so far.
    texts: HashMap<(String, Place, Verb), u32>,
    /// The place in the source, empty where none is known.
    here: String,
    /// Declarations.
    function: Function,
}

impl Checker<'_> {
    fn region(&mut self, region: Region) -> Region {
        let outside = self.here.clone();
        let mut out = Vec::with_capacity(region.stmts.len());
        for stmt in region.stmts {
            match stmt {
                Stmt::Inst(inst) => self.inst(inst, &mut out),
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    let body = self.region(body);
                    out.push(Stmt::For { counter, from, to, step, carried, body, yields, results });
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    let body = self.region(body);
                    out.push(Stmt::Loop { carried, body, again, yields, results });
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    let (then, otherwise) = (self.region(then), self.region(otherwise));
                    out.push(Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results });
                }
            }
        }
        self.here = outside;
        Region { stmts: out }
    }

    fn inst(&mut self, inst: Inst, out: &mut Vec<Stmt>) {
        match inst.op {
            Op::Assert(number) if self.marks.contains(&number) => {
                self.here.clone_from(&self.messages[number as usize].location);
            }
            Op::Memory { form, mem, place, masked } => {
                let verb = if form.is_store() { Verb::Written } else { Verb::Read };
                let count = self.count(place, mem.bytes());
                let mask = masked.then(|| inst.args[inst.args.len() - 1]);
                let inside = match form {
                    MemoryOp::LoadUniform | MemoryOp::StoreUniform => self.uniform(inst.args[0], count, out),
                    MemoryOp::LoadContig | MemoryOp::StoreContig => {
                        let lanes = self.constant(Op::LaneIndex);
                        self.varying(inst.args[0], lanes, count, out)
                    }
                    MemoryOp::Gather | MemoryOp::Scatter => {
                        self.varying(inst.args[0], inst.args[1], count, out)
                    }
                };
                let mask = self.judge(place, verb, inside, mask, out);
                let mut args = inst.args;
                if masked {
                    args.pop();
                }
                args.push(mask);
                let op = Op::Memory { form, mem, place, masked: true };
                out.push(Stmt::Inst(Inst { op, args, result: inst.result }));
            }
            Op::Atomic { buffer, .. } | Op::StoreBits(buffer) => {
                let place = Place::Buffer(buffer);
                let bits = matches!(inst.op, Op::StoreBits(_));
                let (size, verb) = if bits { (1, Verb::Written) } else { (4, Verb::Updated) };
                let count = self.count(place, size);
                let inside = self.varying(inst.args[0], inst.args[1], count, out);
                let mut args = inst.args;
                let mask = args.pop();
                args.push(self.judge(place, verb, inside, mask, out));
                out.push(Stmt::Inst(Inst { args, ..inst }));
            }
            Op::Fragment(op) => self.fragment(inst, op, out),
            Op::LoadUnpack { place, bits, .. } => self.load_unpack(inst, place, bits, out),
            Op::Pure(_)
            | Op::ConstF32(_)
            | Op::ConstI32(_)
            | Op::ConstI64(_)
            | Op::ConstBool(_)
            | Op::LaneIndex
            | Op::BlockIndex(_)
            | Op::BlockCount(_)
            | Op::Splat
            | Op::Reduce(_)
            | Op::Extract
            | Op::Shuffle
            | Op::Unpack { .. }
            | Op::TableLookup(_)
            | Op::TableBytes(_)
            | Op::TableHalves(_)
            | Op::Barrier
            | Op::BufferBarrier
            | Op::Assert(_)
            | Op::Print(_) => out.push(Stmt::Inst(inst)),
        }
    }

    /// A stream of bytes has no mask: it is read in an `if`.
    fn load_unpack(&mut self, inst: Inst, place: Place, bits: u8, out: &mut Vec<Stmt>) {
        let bytes = (u64::from(self.function.lanes) * 4 * u64::from(bits)).div_ceil(8);
        let count = self.count(place, 1);
        // The last byte from which the whole stream lies inside, and one more.
        let less = self.constant(Op::ConstI64(bytes as i64 - 1));
        let count = self.pure(Pure::LSub, &[count, less], out);
        let inside = self.uniform(inst.args[0], count, out);
        let condition = self.judge(place, Verb::Read, inside, None, out);
        let zero = self.constant(Op::ConstI32(0));
        let (mut then, mut otherwise) = (Region::default(), Region::default());
        let loaded = self.value(Type::varying(Scalar::I32));
        then.stmts.push(Stmt::Inst(Inst { op: inst.op, args: inst.args, result: Some(loaded) }));
        let nothing = self.splat(zero, &mut otherwise.stmts);
        out.push(Stmt::If {
            condition,
            then,
            then_yields: vec![loaded],
            otherwise,
            otherwise_yields: vec![nothing],
            results: inst.result.into_iter().collect(),
        });
    }

    /// Eight halves have a mask; a whole fragment is loaded or stored in an `if`, where all of it lies inside.
    fn fragment(&mut self, inst: Inst, op: FragmentOp, out: &mut Vec<Stmt>) {
        let Some(Touch { place, bytes, .. }) = op.accesses() else {
            return out.push(Stmt::Inst(inst));
        };
        let verb = if op.is_store() { Verb::Written } else { Verb::Read };
        let count = self.count(place, bytes);
        let checked = match op {
            FragmentOp::Stage { arena, masked } => Some((masked, FragmentOp::Stage { arena, masked: true })),
            FragmentOp::StageCodes { arena, bits, bias, masked } => {
                Some((masked, FragmentOp::StageCodes { arena, bits, bias, masked: true }))
            }
            FragmentOp::Zero(_)
            | FragmentOp::Load { .. }
            | FragmentOp::MultiplyAdd { .. }
            | FragmentOp::Store { .. } => None,
        };
        if let Some((masked, checked)) = checked {
            let less = self.constant(Op::ConstI64(i64::from(ALIGNMENT) - 1));
            let count = self.pure(Pure::LSub, &[count, less], out);
            let inside = self.varying(inst.args[0], inst.args[1], count, out);
            let mut args = inst.args;
            let mask = if masked { args.pop() } else { None };
            args.push(self.judge(place, verb, inside, mask, out));
            return out.push(Stmt::Inst(Inst { op: Op::Fragment(checked), args, result: None }));
        }
        // From the first element to the last are 15 rows and 15 elements; a negative distance is outside whatever the place.
        let stride = self.pure(Pure::I32ToI64, &[inst.args[2]], out);
        let edge = self.constant(Op::ConstI64(i64::from(EDGE) - 1));
        let more = self.pure(Pure::LMul, &[stride, edge], out);
        let more = self.pure(Pure::LAdd, &[more, edge], out);
        let count = self.pure(Pure::LSub, &[count, more], out);
        let zero = self.constant(Op::ConstI64(0));
        let backwards = self.pure(Pure::LLtS, &[stride, zero], out);
        let count = self.pure(Pure::Select, &[backwards, zero, count], out);
        let inside = self.varying(inst.args[0], inst.args[1], count, out);
        let mask = self.judge(place, verb, inside, None, out);
        let condition = self.value(Type::uniform(Scalar::Bool));
        let all = Op::Reduce(Reduce::All);
        out.push(Stmt::Inst(Inst { op: all, args: vec![mask], result: Some(condition) }));
        out.push(Stmt::If {
            condition,
            then: Region { stmts: vec![Stmt::Inst(inst)] },
            then_yields: Vec::new(),
            otherwise: Region::default(),
            otherwise_yields: Vec::new(),
            results: Vec::new(),
        });
    }

    /// Whether an index lies inside: `0 <= base < count`.
    fn uniform(&mut self, base: Value, count: Value, out: &mut Vec<Stmt>) -> Value {
        let zero = self.constant(Op::ConstI64(0));
        let before = self.pure(Pure::LLtS, &[base, zero], out);
        let from = self.pure(Pure::BNot, &[before], out);
        let to = self.pure(Pure::LLtS, &[base, count], out);
        self.pure(Pure::BAnd, &[from, to], out)
    }

    /// Which lanes' indices lie inside: `-base <= offset <= count - 1 - base`, both ends clamped to what an offset can be.
    fn varying(&mut self, base: Value, offset: Value, count: Value, out: &mut Vec<Stmt>) -> Value {
        let [zero, one] = [0, 1].map(|n| self.constant(Op::ConstI64(n)));
        let [least, most] = [i32::MIN, i32::MAX].map(|n| self.constant(Op::ConstI64(i64::from(n))));
        let first = self.pure(Pure::LSub, &[zero, base], out);
        let last = self.pure(Pure::LSub, &[count, one], out);
        let last = self.pure(Pure::LSub, &[last, base], out);
        // A base so far out that one of these wraps has a last offset below all: no length comes near 2^63.
        let beyond = self.pure(Pure::LLtS, &[most, first], out);
        let before = self.pure(Pure::LLtS, &[last, least], out);
        let none = self.pure(Pure::BOr, &[beyond, before], out);
        let some = self.pure(Pure::BNot, &[none], out);
        let below = self.pure(Pure::LLtS, &[first, least], out);
        let first = self.pure(Pure::Select, &[below, least, first], out);
        let above = self.pure(Pure::LLtS, &[most, last], out);
        let last = self.pure(Pure::Select, &[above, most, last], out);
        let [first, last] = [first, last].map(|end| {
            let end = self.pure(Pure::I64ToI32, &[end], out);
            self.splat(end, out)
        });
        let from = self.pure(Pure::ILeS, &[first, offset], out);
        let to = self.pure(Pure::ILeS, &[offset, last], out);
        let between = self.pure(Pure::BAnd, &[from, to], out);
        let some = self.splat(some, out);
        self.pure(Pure::BAnd, &[some, between], out)
    }

    /// Fails the launch where an access that is made lies outside; gives the mask of those that may be made.
    fn judge(
        &mut self,
        place: Place,
        verb: Verb,
        inside: Value,
        mask: Option<Value>,
        out: &mut Vec<Stmt>,
    ) -> Value {
        let (sound, mask) = match mask {
            None => (inside, inside),
            Some(mask) => {
                let idle = self.pure(Pure::BNot, &[mask], out);
                let sound = self.pure(Pure::BOr, &[inside, idle], out);
                (sound, self.pure(Pure::BAnd, &[inside, mask], out))
            }
        };
        let sound = if self.values[sound.index()].is_varying() {
            let all = self.value(Type::uniform(Scalar::Bool));
            let op = Op::Reduce(Reduce::All);
            out.push(Stmt::Inst(Inst { op, args: vec![sound], result: Some(all) }));
            all
        } else {
            sound
        };
        let message = self.message(place, verb);
        out.push(Stmt::Inst(Inst { op: Op::Assert(message), args: vec![sound], result: None }));
        mask
    }

    fn message(&mut self, place: Place, verb: Verb) -> u32 {
        let key = (self.here.clone(), place, verb);
        if let Some(number) = self.texts.get(&key) {
            return *number;
        }
        let what = match place {
            Place::Buffer(buffer) => format!("`{}`", self.function.buffers[buffer.index()].name),
            Place::Arena(arena) => format!("scratch {arena}"),
        };
        let done = match verb {
            Verb::Read => "read",
            Verb::Written => "written",
            Verb::Updated => "updated",
        };
        let text = format!("out of bounds: {what} is {done} outside its elements");
        self.messages.push(Message { text, location: self.here.clone() });
        let number = self.messages.len() as u32 - 1;
        self.texts.insert(key, number);
        number
    }

    /// How many elements of a size there are.
    fn count(&mut self, place: Place, size: u32) -> Value {
        match place {
            Place::Buffer(buffer) => {
                let length = Length { buffer, size };
                if let Some(value) = self.length_values.get(&length) {
                    return *value;
                }
                let value = self.value(Type::uniform(Scalar::I64));
                self.lengths.push(length);
                self.length_values.insert(length, value);
                value
            }
            Place::Arena(arena) => self.constant(Op::ConstI64(i64::from(self.arena_bytes(arena) / size))),
        }
    }

    fn arena_bytes(&self, arena: Arena) -> u32 {
        self.function.arenas[arena.index()].bytes
    }

    fn value(&mut self, ty: Type) -> Value {
        self.values.push(ty);
        Value(self.values.len() as u32 - 1)
    }

    /// A constant, or the lanes' numbers, made once for the whole function.
    fn constant(&mut self, op: Op) -> Value {
        if let Some(value) = self.constants.get(&op) {
            return *value;
        }
        let ty = match op {
            Op::ConstI64(_) => Type::uniform(Scalar::I64),
            Op::LaneIndex => Type::varying(Scalar::I32),
            _ => Type::uniform(Scalar::I32),
        };
        let value = self.value(ty);
        self.prelude.push(Stmt::Inst(Inst { op, args: Vec::new(), result: Some(value) }));
        self.constants.insert(op, value);
        value
    }

    fn splat(&mut self, value: Value, out: &mut Vec<Stmt>) -> Value {
        let ty = Type::varying(self.values[value.index()].scalar);
        let result = self.value(ty);
        out.push(Stmt::Inst(Inst { op: Op::Splat, args: vec![value], result: Some(result) }));
        result
    }

    fn pure(&mut self, pure: Pure, args: &[Value], out: &mut Vec<Stmt>) -> Value {
        let like = self.values[args[args.len() - 1].index()];
        let scalar = match pure {
            Pure::LLtS | Pure::ILeS | Pure::BAnd | Pure::BOr | Pure::BNot => Scalar::Bool,
            Pure::I64ToI32 => Scalar::I32,
            _ => like.scalar,
        };
        let result = self.value(Type { scalar, ..like });
        let inst = Inst { op: Op::Pure(pure), args: args.to_vec(), result: Some(result) };
        out.push(Stmt::Inst(inst));
        result
    }
}
