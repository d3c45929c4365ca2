//! The text form of tile IR. The parser reads it back: parse(print(k)) == k.

use super::format::Format;
use super::kernel::{Access, Carried, Element, Index, Inst, Kernel, Memory, Region, Stmt, TensorDecl, Value};
use super::op::Op;
use super::types::TileType;
use std::fmt::{self, Display, Formatter, Write};
use tvmc_types::dtype::{DType, Kind};

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "kernel @{}", self.name)?;
        if let Some(lanes) = self.lanes {
            write!(f, " lanes {lanes}")?;
        }
        writeln!(f, " {{")?;
        for dim in &self.dims {
            writeln!(f, "  dim {}", dim.name)?;
        }
        for (at, format) in self.formats.iter().enumerate() {
            self.format(f, at, format)?;
        }
        for (at, param) in self.params.iter().enumerate() {
            self.param(f, at, param)?;
        }
        for (at, shared) in self.shared.iter().enumerate() {
            writeln!(f, "  shared s{at} {:?}: {}", shared.name, shared.ty)?;
        }
        for (at, message) in self.messages.iter().enumerate() {
            writeln!(f, "  message {at} {:?} at {:?}", message.text, message.location)?;
        }
        for (condition, text) in &self.assumptions {
            writeln!(f, "  assume {condition} {text:?}")?;
        }
        if !self.grid.is_empty() {
            let axes: Vec<String> = self.grid.iter().map(ToString::to_string).collect();
            writeln!(f, "  grid {}", axes.join(", "))?;
        }
        self.region(f, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

/// A scalar constant by its dtype; bits where no decimal text is exact.
pub(super) fn constant(dtype: DType, bits: u32) -> String {
    match dtype.kind() {
        Kind::Float => {
            let value = f32::from_bits(bits);
            if value.is_finite() { format!("{value:?}") } else { format!("bits {bits:#010x}") }
        }
        Kind::Signed => (bits as i32).to_string(),
        Kind::Unsigned => bits.to_string(),
        Kind::Bool => if bits == 0 { "false" } else { "true" }.to_owned(),
    }
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::ReadWrite => "readwrite",
    }
}

fn list(values: &[Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Kernel {
    fn format(&self, f: &mut Formatter<'_>, at: usize, format: &Format) -> fmt::Result {
        writeln!(f, "  format f{at} {:?} group {} bytes {} {{", format.name, format.group, format.bytes)?;
        for field in &format.fields {
            let modes: Vec<String> = field.modes.iter().map(|m| format!("{}:{}", m.size, m.stride)).collect();
            writeln!(
                f,
                "    field {:?}: {}[{}] at {} modes ({})",
                field.name,
                field.dtype,
                field.count,
                field.bit_offset,
                modes.join(", ")
            )?;
        }
        for (dtype, entries) in &format.tables {
            let entries: Vec<String> = entries.iter().map(|e| format!("{e:#x}")).collect();
            writeln!(f, "    table {dtype} [{}]", entries.join(", "))?;
        }
        for inst in &format.decode.insts {
            write!(f, "    ")?;
            instruction(f, inst, &format.decode.values)?;
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
                    Element::Format(id) => id.to_string(),
                };
                writeln!(f, "  tensor p{at} {name:?}: {element}[{}] {}", shape.join(", "), access(*how))
            }
            TensorDecl::Scalar { name, dtype } => writeln!(f, "  scalar p{at} {name:?}: {dtype}"),
        }
    }

    fn region(&self, f: &mut Formatter<'_>, region: &Region, depth: usize) -> fmt::Result {
        let pad = "  ".repeat(depth);
        for stmt in &region.stmts {
            write!(f, "{pad}")?;
            match stmt {
                Stmt::Inst(inst) => {
                    instruction(f, inst, &self.values)?;
                    if let Some(at) = inst.location.and_then(|at| self.locations.get(at as usize)) {
                        write!(f, " @ {at:?}")?;
                    }
                    writeln!(f)?;
                }
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    self.results(f, results)?;
                    write!(f, "for {counter} in {from}..{to} by {step}")?;
                    self.carried(f, carried)?;
                    writeln!(f, " {{")?;
                    self.region(f, body, depth + 1)?;
                    self.yields(f, yields, depth + 1)?;
                    writeln!(f, "{pad}}}")?;
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.results(f, results)?;
                    write!(f, "loop")?;
                    self.carried(f, carried)?;
                    writeln!(f, " {{")?;
                    self.region(f, body, depth + 1)?;
                    let values = list(yields);
                    let space = if yields.is_empty() { "" } else { " " };
                    writeln!(f, "{pad}  again {again} yield{space}{values}")?;
                    writeln!(f, "{pad}}}")?;
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.results(f, results)?;
                    writeln!(f, "if {condition} {{")?;
                    self.region(f, then, depth + 1)?;
                    self.yields(f, then_yields, depth + 1)?;
                    writeln!(f, "{pad}}} else {{")?;
                    self.region(f, otherwise, depth + 1)?;
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
        let typed: Vec<String> = results.iter().map(|r| format!("{r}: {}", self.ty(*r))).collect();
        write!(f, "({}) = ", typed.join(", "))
    }

    fn carried(&self, f: &mut Formatter<'_>, carried: &[Carried]) -> fmt::Result {
        if carried.is_empty() {
            return Ok(());
        }
        let typed: Vec<String> =
            carried.iter().map(|c| format!("{}: {} = {}", c.param, self.ty(c.param), c.initial)).collect();
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
fn instruction(f: &mut Formatter<'_>, inst: &Inst, values: &[TileType]) -> fmt::Result {
    if let Some(result) = inst.result {
        write!(f, "{result}: {} = ", values[result.index()])?;
    }
    let operands = || {
        let values = list(&inst.args);
        if values.is_empty() { values } else { format!(" {values}") }
    };
    match &inst.op {
        Op::Const(bits) => {
            let dtype = inst.result.map_or(DType::I32, |r| values[r.index()].dtype);
            write!(f, "const {}", constant(dtype, *bits))
        }
        Op::Dim(dim) => write!(f, "dim {dim}"),
        Op::Scalar(param) => write!(f, "scalar {param}"),
        Op::BlockIndex(axis) => write!(f, "block_index {axis}"),
        Op::Iota => write!(f, "iota"),
        Op::Unary(op) => write!(f, "{}{}", op.name(), operands()),
        Op::Binary(op) => write!(f, "{}{}", op.name(), operands()),
        Op::Fma => write!(f, "fma{}", operands()),
        Op::Select => write!(f, "select{}", operands()),
        Op::Cast(rule) => write!(f, "cast.{}{}", rule.name(), operands()),
        Op::Bitcast => write!(f, "bitcast{}", operands()),
        Op::Broadcast => write!(f, "broadcast{}", operands()),
        Op::Reshape => write!(f, "reshape{}", operands()),
        Op::Permute(permutation) => {
            let axes: Vec<String> = permutation.iter().map(ToString::to_string).collect();
            write!(f, "permute ({}){}", axes.join(", "), operands())
        }
        Op::Reduce(reduce, axis) => write!(f, "reduce.{} {axis}{}", reduce.name(), operands()),
        Op::Dot => write!(f, "dot{}", operands()),
        Op::Load { memory, indices, padded } => {
            write!(f, "load {}", place(*memory, indices, &inst.args))?;
            match inst.args.get(indices.len()) {
                Some(pad) if *padded => write!(f, " else {pad}"),
                Some(_) | None => Ok(()),
            }
        }
        Op::Store { memory, indices } => {
            write!(f, "store {}", place(*memory, indices, &inst.args))?;
            inst.args.get(indices.len()).map_or(Ok(()), |value| write!(f, ", {value}"))
        }
        Op::Field(at) => write!(f, "field {at}{}", operands()),
        Op::Table(at) => write!(f, "table {at}{}", operands()),
        Op::GroupIndex => write!(f, "group_index"),
        Op::Assert(message) => write!(f, "assert {message}{}", operands()),
        Op::Print(message) => write!(f, "print {message}{}", operands()),
    }
}

fn place(memory: Memory, indices: &[Index], args: &[Value]) -> String {
    let mut text = match memory {
        Memory::Param(param) => param.to_string(),
        Memory::Shared(shared) => shared.to_string(),
    };
    text.push('[');
    for (at, (index, offset)) in indices.iter().zip(args).enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = match index {
            Index::Point => write!(text, "{offset}"),
            Index::Slice(size) => write!(text, "{offset} +: {size}"),
        };
    }
    text.push(']');
    text
}
