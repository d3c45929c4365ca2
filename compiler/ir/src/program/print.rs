//! The text form of a [`Program`], by `Display`. Law: for every verified program without a NaN, `parse(&p.to_string()) == Ok(p)`, floats bit
//! for bit.
//!
//! ```text
//! program @name {
//!   hyper L: i32 = "metadata.key"
//!   hyper G: i32 = "other.key" else H                    ; the default
//!   const E = div(D, H)
//!   weight w0 "embedding": any[V, D] = "token_embd.weight"
//!   weight w1 "head": any[V, D] = "output.weight" else w0
//!   weight w2 "gain"[L]: f32[D] = "blk.{}.norm.weight"   ; a list
//!   state s0 "keys": f16[L, C, E] grows C
//!   buffer b0 "x": f32[S, D]
//!   input i0 "tokens": i32[S]
//!   scalar start: i32
//!   output o0 "logits": f32[R, V]
//!   launch "nn.tile::norm"(b0[sub(S, R) +: R] as [1, R, D], w2[l], scalar start) with BM = 4 @ "file:1:2"
//!   for l in 0..L {
//!     if lt(l, 4) { .. } else { .. }
//!   }
//! }
//! ```
//!
//! An argument that is a number says `scalar`, since a number may be called `b0`. The first index after a list of weights chooses the weight;
//! every other `[i]` is an element of the first axis, `[i +: n]` rows of it. Lists that are empty are left out, and so is an empty
//! `else`. Statements nested deeper than [`MAX_DEPTH`] print as `..`, which does not read back.

use super::verify::MAX_DEPTH;
use super::{Argument, Base, MemoryDecl, MemoryElement, Program, Stmt, View, WeightDecl, WeightElement};
use crate::host::Expr;
use crate::text::{Name, Quoted};
use std::fmt::{self, Display, Formatter};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "program @{} {{", Name(&self.name))?;
        for hyper in &self.hypers {
            write!(f, "  hyper {}: {} = {}", Name(&hyper.name), hyper.dtype, Quoted(&hyper.key))?;
            if let Some(default) = &hyper.default {
                write!(f, " else {default}")?;
            }
            writeln!(f)?;
        }
        for (name, value) in &self.consts {
            writeln!(f, "  const {} = {value}", Name(name))?;
        }
        for (at, decl) in self.weights.iter().enumerate() {
            weight(f, at, decl)?;
        }
        memories(f, "state", 's', &self.states)?;
        memories(f, "buffer", 'b', &self.buffers)?;
        memories(f, "input", 'i', &self.inputs)?;
        for scalar in &self.scalars {
            writeln!(f, "  scalar {}: {}", Name(&scalar.name), scalar.dtype)?;
        }
        memories(f, "output", 'o', &self.outputs)?;
        stmts(f, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

/// `[a, b]`.
fn extents(shape: &[Expr]) -> String {
    let extents: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", extents.join(", "))
}

fn weight(f: &mut Formatter<'_>, at: usize, decl: &WeightDecl) -> fmt::Result {
    write!(f, "  weight w{at} {}", Quoted(&decl.name))?;
    if let Some(count) = &decl.count {
        write!(f, "[{count}]")?;
    }
    let element = match decl.element {
        WeightElement::Any => "any".to_owned(),
        WeightElement::DType(dtype) => dtype.to_string(),
    };
    write!(f, ": {element}{} = {}", extents(&decl.shape), Quoted(&decl.pattern))?;
    if let Some(fallback) = decl.fallback {
        write!(f, " else {fallback}")?;
    }
    writeln!(f)
}

fn memories(f: &mut Formatter<'_>, word: &str, prefix: char, decls: &[MemoryDecl]) -> fmt::Result {
    for (at, decl) in decls.iter().enumerate() {
        let shape = extents(&decl.shape);
        write!(f, "  {word} {prefix}{at} {}: ", Quoted(&decl.name))?;
        match &decl.element {
            MemoryElement::DType(dtype) => write!(f, "{dtype}{shape}")?,
            MemoryElement::Format(format) => write!(f, "format {}{shape}", Quoted(format))?,
        }
        if let Some(grows) = &decl.grows {
            write!(f, " grows {} to {}", Name(&grows.extent), grows.to)?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn stmts(f: &mut Formatter<'_>, stmts_: &[Stmt], depth: usize) -> fmt::Result {
    let pad = "  ".repeat(depth);
    if depth > MAX_DEPTH + 1 {
        return writeln!(f, "{pad}..");
    }
    for stmt in stmts_ {
        write!(f, "{pad}")?;
        match stmt {
            Stmt::Launch { kernel, args, with, location } => {
                let args: Vec<String> = args.iter().map(ToString::to_string).collect();
                write!(f, "launch {}({})", Name(kernel), args.join(", "))?;
                for (at, (name, value)) in with.iter().enumerate() {
                    let before = if at == 0 { " with" } else { "," };
                    write!(f, "{before} {} = {value}", Name(name))?;
                }
                if !location.is_empty() {
                    write!(f, " @ {}", Quoted(location))?;
                }
                writeln!(f)?;
            }
            Stmt::For { counter, from, to, body } => {
                writeln!(f, "for {} in {from}..{to} {{", Name(counter))?;
                stmts(f, body, depth + 1)?;
                writeln!(f, "{pad}}}")?;
            }
            Stmt::If { condition, then, otherwise } => {
                writeln!(f, "if {condition} {{")?;
                stmts(f, then, depth + 1)?;
                if !otherwise.is_empty() {
                    writeln!(f, "{pad}}} else {{")?;
                    stmts(f, otherwise, depth + 1)?;
                }
                writeln!(f, "{pad}}}")?;
            }
        }
    }
    Ok(())
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Base::Weight(weight, None) => write!(f, "{weight}"),
            Base::Weight(weight, Some(index)) => write!(f, "{weight}[{index}]"),
            Base::State(state) => write!(f, "{state}"),
            Base::Buffer(buffer) => write!(f, "{buffer}"),
            Base::Input(input) => write!(f, "{input}"),
            Base::Output(output) => write!(f, "{output}"),
        }
    }
}

impl Display for Argument {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Scalar(expr) => write!(f, "scalar {expr}"),
            Argument::Memory { base, views } => {
                write!(f, "{base}")?;
                for view in views {
                    match view {
                        View::At(index) => write!(f, "[{index}]")?,
                        View::Rows { from, length } => write!(f, "[{from} +: {length}]")?,
                        View::Shape(shape) => write!(f, " as {}", extents(shape))?,
                    }
                }
                Ok(())
            }
        }
    }
}
