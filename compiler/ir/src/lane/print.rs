//! The text form of a [`Function`], by `Display`. Law: for every function whose values are all defined
//! and whose operand lists fit their operations, `parse(&f.to_string()) == Ok(f)`, floats bit for bit.
//!
//! ```text
//! kernel @name lanes 16 {
//!   buffer b0 "x" read                         ; read | write | readwrite
//!   scalar v0: u.i32 "n"
//!   arena a0 1024                              ; bytes
//!   fragment g0 left                           ; left | right | sum, where the head has `group 32`
//!   table t0 f32 [0x3f800000, 0x40000000]      ; bit patterns
//!   message 0 "n is {}" at "file:1:2"          ; `at` is left out when there is no place
//!   (v9: v.f32) = for v7: u.i32 in v1..v2 step 4 carry (v8: v.f32 = v5) {
//!     yield v8
//!   }
//! }
//! ```
//!
//! A float constant prints as the shortest decimal that reads back as the same bits, a NaN as its bits
//! (`const.f32 0x7fc00000`). Result lists, `carry`, `yield` and `else` are left out when empty.
//!
//! A function that the verifier would reject prints as well, for the sake of messages: a missing operand
//! prints as `v?`, surplus ones after `surplus`, a value without a type as `?`, and regions nested
//! deeper than the limit as `...`. None of these reads back.

use std::fmt::{self, Write as _};

use super::fragment::{ALIGNMENT, FragmentOp};
use super::function::{Access, Carried, Function, Inst, Region, Stmt, Value};
use super::op::{MemoryOp, Op, Place, Sign};
use super::verify::MAX_DEPTH;
use crate::text::{Name, Quoted};

/// Items separated by `, `.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut item: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, each) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        item(f, each)?;
    }
    Ok(())
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "readwrite",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Buffer(buffer) => buffer.fmt(f),
            Place::Arena(arena) => arena.fmt(f),
        }
    }
}

/// `x`, `y`, `z`, or the number of an axis that does not exist.
fn axis(axis: u8) -> String {
    match axis {
        0 => "x".to_owned(),
        1 => "y".to_owned(),
        2 => "z".to_owned(),
        other => other.to_string(),
    }
}

/// `u3` or `s3`.
fn code(sign: Sign, bits: u8) -> String {
    match sign {
        Sign::Unsigned => format!("u{bits}"),
        Sign::Signed => format!("s{bits}"),
    }
}

impl fmt::Display for Op {
    /// The mnemonic with the immediates that belong to it: `fadd`, `load.contig.f32`, `unpack.u3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Op::Pure(pure) => f.write_str(pure.info().name),
            Op::ConstF32(_) => f.write_str("const.f32"),
            Op::ConstI32(_) => f.write_str("const.i32"),
            Op::ConstI64(_) => f.write_str("const.i64"),
            Op::ConstBool(_) => f.write_str("const.bool"),
            Op::LaneIndex => f.write_str("lane_index"),
            Op::BlockIndex(on) => write!(f, "block_index.{}", axis(on)),
            Op::BlockCount(on) => write!(f, "block_count.{}", axis(on)),
            Op::Splat => f.write_str("splat"),
            Op::Reduce(reduce) => write!(f, "reduce.{}", reduce.name()),
            Op::Extract => f.write_str("extract"),
            Op::Shuffle => f.write_str("shuffle"),
            Op::Unpack { bits, sign, .. } => write!(f, "unpack.{}", code(sign, bits)),
            Op::LoadUnpack { bits, sign, .. } => write!(f, "load.unpack.{}", code(sign, bits)),
            Op::TableLookup(_) => f.write_str("table"),
            Op::TableBytes(_) => f.write_str("table.bytes"),
            Op::TableHalves(_) => f.write_str("table.halves"),
            Op::Memory { form, mem, .. } => write!(f, "{}.{}", form.name(), mem.name()),
            Op::Atomic { update, .. } => write!(f, "atomic.{}", update.name()),
            Op::Fragment(op) => f.write_str(op.name()),
            Op::StoreBits(_) => f.write_str("store.bits"),
            Op::Barrier => f.write_str("barrier"),
            Op::BufferBarrier => f.write_str("barrier.buffers"),
            Op::Assert(_) => f.write_str("assert"),
            Op::Print(_) => f.write_str("print"),
        }
    }
}

/// Takes an instruction's operands one after the other; missing ones print as `v?`.
struct Operands<'a> {
    args: &'a [Value],
}

impl Operands<'_> {
    fn next(&mut self) -> String {
        match self.args.split_first() {
            Some((first, rest)) => {
                self.args = rest;
                first.to_string()
            }
            None => "v?".to_owned(),
        }
    }
}

impl fmt::Display for Inst {
    /// The operation and its operands, without the result.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        let mut args = Operands { args: &self.args };
        match self.op {
            Op::Pure(_) | Op::Splat | Op::Reduce(_) | Op::Extract | Op::Shuffle => {
                separate(f, " ", args.args)?;
                args.args = &[];
            }
            Op::ConstF32(bits) => {
                let value = f32::from_bits(bits);
                if value.is_nan() { write!(f, " 0x{bits:08x}")? } else { write!(f, " {value:?}")? }
            }
            Op::ConstI32(value) => write!(f, " {value}")?,
            Op::ConstI64(value) => write!(f, " {value}")?,
            Op::ConstBool(value) => write!(f, " {value}")?,
            Op::LaneIndex | Op::BlockIndex(_) | Op::BlockCount(_) | Op::Barrier | Op::BufferBarrier => {}
            Op::Unpack { offset, .. } => write!(f, " {}, {} at {offset}", args.next(), args.next())?,
            Op::LoadUnpack { place, .. } => write!(f, " {place}[{}]", args.next())?,
            Op::TableLookup(table) | Op::TableBytes(table) | Op::TableHalves(table) => {
                write!(f, " {table} {}", args.next())?;
            }
            Op::Memory { form, place, masked, .. } => {
                write!(f, " {place}[{}", args.next())?;
                match form {
                    MemoryOp::Gather | MemoryOp::Scatter => write!(f, " + {}", args.next())?,
                    MemoryOp::LoadUniform
                    | MemoryOp::LoadContig
                    | MemoryOp::StoreUniform
                    | MemoryOp::StoreContig => {}
                }
                f.write_char(']')?;
                if form.is_store() {
                    write!(f, ", {}", args.next())?;
                }
                if masked {
                    write!(f, " mask {}", args.next())?;
                }
            }
            Op::Atomic { update, buffer } => {
                write!(f, " {buffer}[{} + {}]", args.next(), args.next())?;
                for _ in 0..update.operands() {
                    write!(f, ", {}", args.next())?;
                }
                write!(f, " mask {}", args.next())?;
            }
            Op::Fragment(op) => fragment(f, op, &mut args)?,
            Op::StoreBits(buffer) => {
                write!(f, " {buffer}[{} + {}]", args.next(), args.next())?;
                write!(f, ", {} bits {} mask {}", args.next(), args.next(), args.next())?;
            }
            Op::Assert(message) => write!(f, " {message} {}", args.next())?,
            Op::Print(message) => {
                write!(f, " {message}")?;
                separate(f, " ", args.args)?;
                args.args = &[];
            }
        }
        if args.args.is_empty() { Ok(()) } else { separate(f, " surplus ", args.args) }
    }
}

/// The operands of a fragment operation.
fn fragment(f: &mut fmt::Formatter<'_>, op: FragmentOp, args: &mut Operands<'_>) -> fmt::Result {
    match op {
        FragmentOp::Stage { arena, masked } => {
            write!(f, " {arena}[{} + {}]", args.next(), args.next())?;
            for _ in 0..ALIGNMENT {
                write!(f, ", {}", args.next())?;
            }
            if masked { write!(f, " mask {}", args.next()) } else { Ok(()) }
        }
        FragmentOp::StageCodes { arena, bits, bias, masked } => {
            write!(f, " {arena}[{} + {}]", args.next(), args.next())?;
            write!(f, ", {}, {}, {} bits {bits} bias {bias}", args.next(), args.next(), args.next())?;
            if masked { write!(f, " mask {}", args.next()) } else { Ok(()) }
        }
        FragmentOp::Zero(fragment) => write!(f, " {fragment}"),
        FragmentOp::Load { fragment, arena, order: _ } => {
            write!(f, " {fragment}, {arena}[{} + {}] stride {}", args.next(), args.next(), args.next())
        }
        FragmentOp::MultiplyAdd { sum, left, right } => write!(f, " {sum}, {left}, {right}"),
        FragmentOp::Store { fragment, place } => {
            write!(f, " {place}[{} + {}] stride {}, {fragment}", args.next(), args.next(), args.next())
        }
    }
}

/// The values after `lead`, or nothing when there are none.
fn separate(f: &mut fmt::Formatter<'_>, lead: &str, values: &[Value]) -> fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    f.write_str(lead)?;
    list(f, values, |f, v| write!(f, "{v}"))
}

/// Writes one function; knows the types of its values.
struct Printer<'a, 'f, 'g> {
    function: &'a Function,
    f: &'f mut fmt::Formatter<'g>,
}

impl Printer<'_, '_, '_> {
    /// `v3: u.i32`.
    fn typed(function: &Function, f: &mut fmt::Formatter<'_>, value: Value) -> fmt::Result {
        match function.values.get(value.index()) {
            Some(ty) => write!(f, "{value}: {ty}"),
            None => write!(f, "{value}: ?"),
        }
    }

    fn indent(&mut self, depth: usize) -> fmt::Result {
        write!(self.f, "{:1$}", "", depth * 2)
    }

    fn results(&mut self, results: &[Value]) -> fmt::Result {
        if results.is_empty() {
            return Ok(());
        }
        let function = self.function;
        self.f.write_char('(')?;
        list(self.f, results, |f, v| Self::typed(function, f, *v))?;
        self.f.write_str(") = ")
    }

    fn carry(&mut self, carried: &[Carried]) -> fmt::Result {
        if carried.is_empty() {
            return Ok(());
        }
        let function = self.function;
        self.f.write_str(" carry (")?;
        list(self.f, carried, |f, c| {
            Self::typed(function, f, c.param)?;
            write!(f, " = {}", c.initial)
        })?;
        self.f.write_char(')')
    }

    /// The end of a region: an optional `again` and the yields, on one line.
    fn close(&mut self, again: Option<Value>, yields: &[Value], depth: usize) -> fmt::Result {
        if again.is_none() && yields.is_empty() {
            return Ok(());
        }
        self.indent(depth)?;
        if let Some(again) = again {
            write!(self.f, "again {again}")?;
            separate(self.f, " yield ", yields)?;
        } else {
            separate(self.f, "yield ", yields)?;
        }
        self.f.write_char('\n')
    }

    fn region(&mut self, region: &Region, depth: usize) -> fmt::Result {
        if depth > MAX_DEPTH + 1 {
            self.indent(depth)?;
            return self.f.write_str("...\n");
        }
        for stmt in &region.stmts {
            self.indent(depth)?;
            self.stmt(stmt, depth)?;
            self.f.write_char('\n')?;
        }
        Ok(())
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize) -> fmt::Result {
        match stmt {
            Stmt::Inst(inst) => {
                if let Some(result) = inst.result {
                    Self::typed(self.function, self.f, result)?;
                    self.f.write_str(" = ")?;
                }
                return write!(self.f, "{inst}");
            }
            Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                self.results(results)?;
                self.f.write_str("for ")?;
                Self::typed(self.function, self.f, *counter)?;
                write!(self.f, " in {from}..{to} step {step}")?;
                self.carry(carried)?;
                self.f.write_str(" {\n")?;
                self.region(body, depth + 1)?;
                self.close(None, yields, depth + 1)?;
            }
            Stmt::Loop { carried, body, again, yields, results } => {
                self.results(results)?;
                self.f.write_str("loop")?;
                self.carry(carried)?;
                self.f.write_str(" {\n")?;
                self.region(body, depth + 1)?;
                self.close(Some(*again), yields, depth + 1)?;
            }
            Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                self.results(results)?;
                writeln!(self.f, "if {condition} {{")?;
                self.region(then, depth + 1)?;
                self.close(None, then_yields, depth + 1)?;
                if !otherwise.stmts.is_empty() || !otherwise_yields.is_empty() {
                    self.indent(depth)?;
                    self.f.write_str("} else {\n")?;
                    self.region(otherwise, depth + 1)?;
                    self.close(None, otherwise_yields, depth + 1)?;
                }
            }
        }
        self.indent(depth)?;
        self.f.write_char('}')
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel @{} lanes {} ", Name(&self.name), self.lanes)?;
        if self.group > 0 {
            write!(f, "group {} ", self.group)?;
        }
        f.write_str("{\n")?;
        for (at, buffer) in self.buffers.iter().enumerate() {
            writeln!(f, "  buffer b{at} {} {}", Quoted(&buffer.name), buffer.access)?;
        }
        for scalar in &self.scalars {
            writeln!(f, "  scalar {}: u.{} {}", scalar.value, scalar.scalar.name(), Quoted(&scalar.name))?;
        }
        for (at, arena) in self.arenas.iter().enumerate() {
            writeln!(f, "  arena a{at} {}", arena.bytes)?;
        }
        for (at, fragment) in self.fragments.iter().enumerate() {
            writeln!(f, "  fragment g{at} {}", fragment.role.name())?;
        }
        for (at, table) in self.tables.iter().enumerate() {
            write!(f, "  table t{at} {} [", table.scalar.name())?;
            list(f, &table.entries, |f, entry| write!(f, "0x{entry:08x}"))?;
            f.write_str("]\n")?;
        }
        for (at, message) in self.messages.iter().enumerate() {
            write!(f, "  message {at} {}", Quoted(&message.text))?;
            if !message.location.is_empty() {
                write!(f, " at {}", Quoted(&message.location))?;
            }
            f.write_char('\n')?;
        }
        let mut printer = Printer { function: self, f };
        printer.region(&self.body, 1)?;
        f.write_str("}\n")
    }
}
