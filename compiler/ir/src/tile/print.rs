//! The text form of a [`Kernel`], by `Display`. Law: for every verified kernel whose `locations` stand in the order of their first use,
//! each once (a [`super::Builder`] makes them so), `parse(&k.to_string()) == Ok(k)`, floats bit for bit.
//!
//! ```text
//! kernel @name lanes 32 {                               ; lanes only where they are pinned
//!   dim N
//!   format f0 "q" group 8 bytes 5 {
//!     field "d": u8[1] at 0 modes (1:1)                 ; digits of the index as size:stride, most significant first
//!     field "q": u4[8] at 8 modes (2:1, 4:2)
//!     table f32 [0x3f800000, 0x40000000]                ; bit patterns
//!     v0: i32 = group_index                             ; the decode body has values of its own
//!     ..
//!     value v7
//!   }
//!   tensor p0 "x": format f0[N, 64] read                       ; read | write | readwrite
//!   scalar p1 "n": i32
//!   shared s0 "t": f32[16, 16] order "shared(16, 16).swizzle(0, 4, 4)"
//!   message 0 "n is {}" at "file:1:2"
//!   layout v10 "spatial(4).local(1, 8)" at "file:3:4" ; a value's layout: written there,
//!   layout v11 "spatial(4).local(8)" from v10 by reshape ; following from another's,
//!   layout v12 "spatial(4)" inserted                  ; or of a `relayout` that inference put in
//!   assume lt(n, N) "n < N"
//!   grid ceil_div(N, 16), 4
//!   (v9: f32[4]) = for v7 in v1..v2 by 4 carry (v8: f32[4] = v5) {
//!     v10: f32[4, 8] = load p0[v7 +: 4, v1 +: 8] else v3 @ "file:3:4"
//!     yield v8
//!   }
//! }
//! ```
//!
//! A float constant prints as the shortest decimal that reads back as the same bits, others as `bits 0x7fc00000`. Result lists, `carry`
//! and `yield` are left out when empty; a loop counter is an i32.
//!
//! A kernel that the verifier would reject prints as well, for the sake of messages: a missing operand prints as `v?`, surplus ones
//! after `surplus`, a value without a type as `?`, regions nested too deep as `..`. None of these reads back.

use super::format::{Format, Scope};
use super::kernel::{Carried, Element, Index, Inst, Kernel, Memory, Region, Stmt, TensorDecl, Value};
use super::op::Op;
use super::pins::Origin;
use super::types::TileType;
use super::verify::MAX_DEPTH;
use crate::text::{Name, Quoted};
use std::fmt::{self, Display, Formatter};
use tvmc_types::dtype::{DType, Kind};

/// What is said beside the line that defines a value.
type Note<'n> = &'n dyn Fn(Value) -> Option<String>;

/// A kernel with notes as comments; it reads back as the kernel.
struct Annotated<'k> {
    kernel: &'k Kernel,
    note: Note<'k>,
}

impl Display for Annotated<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kernel.print(f, self.note)
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.print(f, &|_| None)
    }
}

/// One operation of a kernel.
struct Operation<'k> {
    kernel: &'k Kernel,
    inst: &'k Inst,
}

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        instruction(f, self.inst, &self.kernel.values)?;
        self.kernel.location(f, self.inst)
    }
}

impl Kernel {
    /// One operation as its line of the text form, with its place in the source.
    pub fn operation<'k>(&'k self, inst: &'k Inst) -> impl Display + 'k {
        Operation { kernel: self, inst }
    }

    /// The text form with a comment after each operation that `note` has something to say of.
    pub fn annotated<'k>(&'k self, note: Note<'k>) -> impl Display + 'k {
        Annotated { kernel: self, note }
    }

    fn print(&self, f: &mut Formatter<'_>, note: Note<'_>) -> fmt::Result {
        write!(f, "kernel @{}", Name(&self.name))?;
        if let Some(lanes) = self.lanes {
            write!(f, " lanes {lanes}")?;
        }
        writeln!(f, " {{")?;
        for dim in &self.dims {
            writeln!(f, "  dim {}", Name(&dim.name))?;
        }
        for (at, format) in self.formats.iter().enumerate() {
            self.format(f, at, format)?;
        }
        for (dtype, entries) in &self.tables {
            writeln!(f, "  {}", table(*dtype, entries))?;
        }
        for (at, param) in self.params.iter().enumerate() {
            self.param(f, at, param)?;
        }
        for (at, shared) in self.shared.iter().enumerate() {
            write!(f, "  shared s{at} {}: {}", Quoted(&shared.name), shared.ty)?;
            match &shared.order {
                Some(order) => writeln!(f, " order {}", Quoted(&order.to_string()))?,
                None => writeln!(f)?,
            }
        }
        for (at, message) in self.messages.iter().enumerate() {
            write!(f, "  message {at} {}", Quoted(&message.text))?;
            if !message.location.is_empty() {
                write!(f, " at {}", Quoted(&message.location))?;
            }
            writeln!(f)?;
        }
        for (value, pin) in &self.pins {
            write!(f, "  layout {value} {}", Quoted(&pin.layout.to_string()))?;
            match pin.origin {
                Origin::Written => {}
                Origin::Inferred { from, rule } => write!(f, " from {from} by {}", rule.name())?,
                Origin::Inserted => write!(f, " inserted")?,
            }
            if !pin.location.is_empty() {
                write!(f, " at {}", Quoted(&pin.location))?;
            }
            writeln!(f)?;
        }
        for (condition, text) in &self.assumptions {
            writeln!(f, "  assume {condition} {}", Quoted(text))?;
        }
        if !self.grid.is_empty() {
            let axes: Vec<String> = self.grid.iter().map(ToString::to_string).collect();
            writeln!(f, "  grid {}", axes.join(", "))?;
        }
        self.region(f, &self.body, 1, note)?;
        writeln!(f, "}}")
    }
}

/// A scalar constant by its dtype; bits where no decimal text is exact.
fn constant(dtype: DType, bits: u32) -> String {
    if !is_plain(dtype, bits) {
        return format!("bits {bits:#010x}");
    }
    match dtype.kind() {
        Kind::Float => format!("{:?}", f32::from_bits(bits)),
        Kind::Signed => (bits as i32).to_string(),
        Kind::Unsigned => bits.to_string(),
        Kind::Bool => (bits != 0).to_string(),
    }
}

/// Whether a constant prints as a plain number or truth value.
fn is_plain(dtype: DType, bits: u32) -> bool {
    match dtype.kind() {
        Kind::Float => f32::from_bits(bits).is_finite(),
        Kind::Signed | Kind::Unsigned => true,
        Kind::Bool => bits <= 1,
    }
}

/// A constant table of a format or a kernel.
fn table(dtype: DType, entries: &[u32]) -> String {
    let entries: Vec<String> = entries.iter().map(|e| format!("{e:#x}")).collect();
    format!("table {dtype} [{}]", entries.join(", "))
}

/// The type of a value, or `?`.
fn type_of(values: &[TileType], value: Value) -> String {
    values.get(value.index()).map_or("?".to_owned(), ToString::to_string)
}

fn list(values: &[Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Kernel {
    fn format(&self, f: &mut Formatter<'_>, at: usize, format: &Format) -> fmt::Result {
        write!(f, "  format f{at} {} group {} bytes {}", Quoted(&format.name), format.group, format.bytes)?;
        for (what, bytes) in [("row", format.row_head), ("tensor", format.tensor_head)] {
            if bytes > 0 {
                write!(f, " {what} {bytes}")?;
            }
        }
        writeln!(f, " {{")?;
        for field in &format.fields {
            let modes: Vec<String> = field.modes.iter().map(|m| format!("{}:{}", m.size, m.stride)).collect();
            writeln!(
                f,
                "    {}field {}: {}[{}] at {} modes ({})",
                match field.scope {
                    Scope::Tensor => "tensor ",
                    Scope::Row => "row ",
                    Scope::Group => "",
                },
                Quoted(&field.name),
                field.dtype,
                field.count,
                field.bit_offset,
                modes.join(", ")
            )?;
        }
        for (dtype, entries) in &format.tables {
            writeln!(f, "    {}", table(*dtype, entries))?;
        }
        for inst in &format.decode.insts {
            write!(f, "    ")?;
            instruction(f, inst, &format.decode.values)?;
            self.location(f, inst)?;
            writeln!(f)?;
        }
        writeln!(f, "    value {}", format.decode.result)?;
        writeln!(f, "  }}")
    }

    fn param(&self, f: &mut Formatter<'_>, at: usize, param: &TensorDecl) -> fmt::Result {
        match param {
            TensorDecl::Tensor { name, element, shape, access: how } => {
                let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
                let element = match element {
                    Element::DType(dtype) => dtype.to_string(),
                    Element::Format(id) => format!("format {id}"),
                };
                let name = Quoted(name);
                writeln!(f, "  tensor p{at} {name}: {element}[{}] {how}", shape.join(", "))
            }
            TensorDecl::Scalar { name, dtype } => writeln!(f, "  scalar p{at} {}: {dtype}", Quoted(name)),
        }
    }

    fn location(&self, f: &mut Formatter<'_>, inst: &Inst) -> fmt::Result {
        match inst.location.and_then(|at| self.locations.get(at as usize)) {
            Some(place) => write!(f, " @ {}", Quoted(place)),
            None => Ok(()),
        }
    }

    fn region(&self, f: &mut Formatter<'_>, region: &Region, depth: usize, note: Note<'_>) -> fmt::Result {
        let pad = "  ".repeat(depth);
        if depth > MAX_DEPTH + 1 {
            return writeln!(f, "{pad}..");
        }
        for stmt in &region.stmts {
            write!(f, "{pad}")?;
            match stmt {
                Stmt::Inst(inst) => {
                    instruction(f, inst, &self.values)?;
                    self.location(f, inst)?;
                    if let Some(text) = inst.result.and_then(note) {
                        write!(f, " ; {text}")?;
                    }
                    writeln!(f)?;
                }
                Stmt::For { counter, from, to, step, pipeline, carried, body, yields, results } => {
                    self.results(f, results)?;
                    write!(f, "for {counter} in {from}..{to} by {step}")?;
                    if *pipeline != 1 {
                        write!(f, " pipeline {pipeline}")?;
                    }
                    self.carried(f, carried)?;
                    writeln!(f, " {{")?;
                    self.region(f, body, depth + 1, note)?;
                    self.yields(f, yields, depth + 1)?;
                    writeln!(f, "{pad}}}")?;
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.results(f, results)?;
                    write!(f, "loop")?;
                    self.carried(f, carried)?;
                    writeln!(f, " {{")?;
                    self.region(f, body, depth + 1, note)?;
                    let values = list(yields);
                    let space = if yields.is_empty() { "" } else { " " };
                    writeln!(f, "{pad}  again {again} yield{space}{values}")?;
                    writeln!(f, "{pad}}}")?;
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.results(f, results)?;
                    writeln!(f, "if {condition} {{")?;
                    self.region(f, then, depth + 1, note)?;
                    self.yields(f, then_yields, depth + 1)?;
                    writeln!(f, "{pad}}} else {{")?;
                    self.region(f, otherwise, depth + 1, note)?;
                    self.yields(f, otherwise_yields, depth + 1)?;
                    writeln!(f, "{pad}}}")?;
                }
            }
        }
        Ok(())
    }

    fn results(&self, f: &mut Formatter<'_>, results: &[Value]) -> fmt::Result {
        if results.is_empty() {
            return Ok(());
        }
        let typed: Vec<String> =
            results.iter().map(|r| format!("{r}: {}", type_of(&self.values, *r))).collect();
        write!(f, "({}) = ", typed.join(", "))
    }

    fn carried(&self, f: &mut Formatter<'_>, carried: &[Carried]) -> fmt::Result {
        if carried.is_empty() {
            return Ok(());
        }
        let typed: Vec<String> = carried
            .iter()
            .map(|c| format!("{}: {} = {}", c.param, type_of(&self.values, c.param), c.initial))
            .collect();
        write!(f, " carry ({})", typed.join(", "))
    }

    fn yields(&self, f: &mut Formatter<'_>, yields: &[Value], depth: usize) -> fmt::Result {
        if yields.is_empty() {
            return Ok(());
        }
        writeln!(f, "{}yield {}", "  ".repeat(depth), list(yields))
    }
}

/// One operation without its line's end; `values` gives result types.
pub(super) fn instruction(f: &mut Formatter<'_>, inst: &Inst, values: &[TileType]) -> fmt::Result {
    if let Some(result) = inst.result {
        write!(f, "{result}: {} = ", type_of(values, result))?;
    }
    let operands = || {
        let values = list(&inst.args);
        if values.is_empty() { values } else { format!(" {values}") }
    };
    write!(f, "{}", inst.op.mnemonic())?;
    match &inst.op {
        Op::Const(bits) => {
            let dtype = inst.result.and_then(|r| values.get(r.index())).map_or(DType::I32, |ty| ty.dtype);
            write!(f, " {}", constant(dtype, *bits))
        }
        Op::Dim(dim) => write!(f, " {dim}"),
        Op::Scalar(param) => write!(f, " {param}"),
        Op::BlockIndex(axis) => write!(f, " {axis}"),
        Op::Iota | Op::GroupIndex => Ok(()),
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Fma
        | Op::Select
        | Op::Cast(_)
        | Op::Bitcast
        | Op::View
        | Op::Relayout
        | Op::Broadcast
        | Op::Reshape
        | Op::Commit
        | Op::Dot => write!(f, "{}", operands()),
        Op::Permute(permutation) => {
            let axes: Vec<String> = permutation.iter().map(ToString::to_string).collect();
            write!(f, " ({}){}", axes.join(", "), operands())
        }
        Op::Reduce(_, axis) | Op::Scan(_, axis) | Op::Gather(axis) | Op::Concat(axis) => {
            write!(f, " {axis}{}", operands())
        }
        Op::Load { memory, indices, padded } => {
            write!(f, " {}", place(*memory, indices, &inst.args))?;
            let rest = inst.args.get(indices.len()..).unwrap_or_default();
            match (rest, padded) {
                ([], false) => Ok(()),
                ([], true) => write!(f, " else v?"),
                ([pad], true) => write!(f, " else {pad}"),
                ([..], _) => write!(f, " surplus {}", list(rest)),
            }
        }
        Op::LoadField { tensor, field, indices } => {
            write!(f, " {field} {}", place(Memory::Param(*tensor), indices, &inst.args))?;
            match inst.args.get(indices.len()..).unwrap_or_default() {
                [] => Ok(()),
                rest => write!(f, " surplus {}", list(rest)),
            }
        }
        Op::Store { memory, indices } => stored(f, *memory, indices, &inst.args),
        Op::CopyAsync { shared, indices } => stored(f, Memory::Shared(*shared), indices, &inst.args),
        Op::StoreGroups { memory, indices } => fields(f, *memory, indices, &inst.args),
        Op::StoreHead { tensor, indices } => fields(f, Memory::Param(*tensor), indices, &inst.args),
        Op::Scatter { memory } => indexed(f, *memory, &inst.args, 1),
        Op::Atomic { update, memory } => indexed(f, *memory, &inst.args, update.operands()),
        Op::Field(at) | Op::Table(at) => write!(f, " {at}{}", operands()),
        Op::Wait(groups) => write!(f, " {groups}{}", operands()),
        Op::Assert(message) | Op::Print(message) => write!(f, " {message}{}", operands()),
    }
}

/// `p0[v1 +: 8], v3`: a place, then the value for it.
fn stored(f: &mut Formatter<'_>, memory: Memory, indices: &[Index], args: &[Value]) -> fmt::Result {
    write!(f, " {}", place(memory, indices, args))?;
    match args.get(indices.len()..).unwrap_or_default() {
        [] => write!(f, ", v?"),
        [value] => write!(f, ", {value}"),
        [value, rest @ ..] => write!(f, ", {value} surplus {}", list(rest)),
    }
}

/// `p0[v1, v2], v3`: indices, then this many operands.
fn indexed(f: &mut Formatter<'_>, memory: Memory, args: &[Value], operands: usize) -> fmt::Result {
    let (indices, rest) = args.split_at(args.len().saturating_sub(operands));
    write!(f, " {}", place(memory, &vec![Index::Point; indices.len()], indices))?;
    rest.iter().try_for_each(|value| write!(f, ", {value}"))
}

/// `p0[v1 +: 32], v2, v3`: any number of values.
fn fields(f: &mut Formatter<'_>, memory: Memory, indices: &[Index], args: &[Value]) -> fmt::Result {
    write!(f, " {}", place(memory, indices, args))?;
    args.get(indices.len()..).unwrap_or_default().iter().try_for_each(|value| write!(f, ", {value}"))
}

fn place(memory: Memory, indices: &[Index], args: &[Value]) -> String {
    let mut text = match memory {
        Memory::Param(param) => param.to_string(),
        Memory::Shared(shared) => shared.to_string(),
    };
    text.push('[');
    for (at, index) in indices.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        match args.get(at) {
            Some(offset) => text.push_str(&offset.to_string()),
            None => text.push_str("v?"),
        }
        if let Index::Slice(size) = index {
            text.push_str(" +: ");
            text.push_str(&size.to_string());
        }
    }
    text.push(']');
    text
}
