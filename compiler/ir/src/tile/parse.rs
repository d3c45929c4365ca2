//! Reads the text form back: the inverse of [`super::print`], and a little more lenient (comments, any line breaks, declarations in
//! any order, an absent `else`).
//!
//! The parser builds what the text says and judges only what a [`Kernel`] cannot hold: syntax, one type per value, declarations in
//! numbered order. Everything else (scopes, operand types, ranges) is left to the verifier, so that must-fail tests can be written as
//! text.
//!
//! Refused: nesting deeper than [`MAX_DEPTH`], value numbers of [`MAX_VALUES`] and up, value numbers that nothing defines (the table
//! of types would have a hole).
//!
//! ```
//! let text = "kernel @k {\n  dim N\n  tensor p0 \"x\": f32[N] write\n  grid N\n  v0: i32 = block_index 0\n  v1: f32 = const 1.5\n  store p0[v0], v1\n}\n";
//! let kernel = tvmc_ir::tile::parse(text).unwrap();
//! assert_eq!(kernel.to_string(), text);
//! let error = tvmc_ir::tile::parse("kernel @k {\n  v0: f33 = const 1.0\n}").unwrap_err();
//! assert_eq!((error.line, error.column), (2, 7));
//! ```

mod formats;

use super::kernel::{
    Access, Carried, Dim, DimDecl, Element, FormatId, Index, Inst, Kernel, Memory, Message, Param, Pin,
    Region, Shared, SharedDecl, Stmt, TensorDecl, Value,
};
use super::op::{Binary, CastRule, Op, Reduce, Unary, Update};
use super::pins::{LayoutRule, Origin};
use super::types::{MAX_RANK, TileType};
use super::verify::{MAX_DEPTH, MAX_VALUES};
use crate::text::{Cursor, ParseError, Parsed, Token, decimal, expr, f32_bits, i32_value};
use std::collections::HashMap;
use std::str::FromStr;
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::layout::LayoutError;

/// Reads one kernel; nothing but comments may follow it.
pub fn parse(text: &str) -> Result<Kernel, ParseError> {
    let mut parser = Parser {
        at: Cursor::new(text)?,
        types: Vec::new(),
        kernel: Kernel::default(),
        places: HashMap::new(),
    };
    parser.kernel()?;
    parser.at.end()?;
    Ok(parser.kernel)
}

struct Parser<'a> {
    at: Cursor<'a>,
    /// The type of each value defined so far.
    types: Vec<Option<TileType>>,
    kernel: Kernel,
    /// The number of each source place.
    places: HashMap<String, u32>,
}

/// A number of at most 255.
fn small(text: &str) -> Option<u8> {
    decimal(text).and_then(|n| u8::try_from(n).ok())
}

fn hexadecimal(text: &str) -> Option<u32> {
    text.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok())
}

impl Parser<'_> {
    // Values and types

    fn value(&mut self) -> Parsed<Value> {
        self.at.entity('v', "a value such as `v3`").map(Value)
    }

    fn values(&mut self) -> Parsed<Vec<Value>> {
        let mut values = vec![self.value()?];
        while self.at.eat(',')? {
            values.push(self.value()?);
        }
        Ok(values)
    }

    /// The values of a list that may be empty: a value that a `:` follows begins the next statement.
    fn operands(&mut self) -> Parsed<Vec<Value>> {
        if self.at.entity_number('v').is_none() || self.at.next_is(':')? {
            return Ok(Vec::new());
        }
        self.values()
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let known = match self.at.token {
            Token::Word(word) => DType::from_name(word),
            Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        };
        let dtype = known.ok_or_else(|| self.at.expected("a dtype such as `f32`"))?;
        self.at.advance()?;
        Ok(dtype)
    }

    fn tile_type(&mut self) -> Parsed<TileType> {
        let dtype = self.dtype()?;
        let mut shape = Vec::new();
        if self.at.eat('[')? {
            loop {
                if shape.len() > MAX_RANK {
                    return Err(self.at.error(format!("a tile has at most {MAX_RANK} axes")));
                }
                shape.push(self.at.u32("an extent")?);
                if !self.at.eat(',')? {
                    break;
                }
            }
            self.at.punct(']')?;
        }
        Ok(TileType { dtype, shape })
    }

    /// Notes the definition of a value at byte `start`.
    fn define(&mut self, value: Value, ty: TileType, start: usize) -> Parsed<()> {
        if value.index() >= MAX_VALUES {
            return Err(self.at.error_at(start, format!("value numbers end at {}", MAX_VALUES - 1)));
        }
        if self.types.len() <= value.index() {
            self.types.resize(value.index() + 1, None);
        }
        let slot = &mut self.types[value.index()];
        if let Some(other) = slot
            && *other != ty
        {
            let message = format!("{value} has two types, {other} and {ty}");
            return Err(self.at.error_at(start, message));
        }
        *slot = Some(ty);
        Ok(())
    }

    /// `v3: f32[4]`, a definition.
    fn definition(&mut self) -> Parsed<Value> {
        let start = self.at.start;
        let value = self.value()?;
        self.at.punct(':')?;
        let ty = self.tile_type()?;
        self.define(value, ty, start)?;
        Ok(value)
    }

    /// The table of types, which must have no holes.
    fn take_types(&mut self) -> Parsed<Vec<TileType>> {
        let types = std::mem::take(&mut self.types);
        let hole = |number| self.at.error(format!("nothing defines v{number}"));
        types.into_iter().enumerate().map(|(number, ty)| ty.ok_or_else(|| hole(number))).collect()
    }

    // Declarations

    fn kernel(&mut self) -> Parsed<()> {
        self.at.keyword("kernel")?;
        self.at.punct('@')?;
        self.kernel.name = self.at.name("the kernel's name")?;
        if self.at.eat_word("lanes")? {
            self.kernel.lanes = Some(self.at.u32("the number of lanes")?);
        }
        self.at.punct('{')?;
        while self.declaration()? {}
        self.kernel.body = self.region(0)?;
        self.kernel.values = self.take_types()?;
        self.at.punct('}')
    }

    /// Reads a declaration, if one comes next.
    fn declaration(&mut self) -> Parsed<bool> {
        if self.at.eat_word("dim")? {
            let name = self.at.name("the dimension's name")?;
            self.kernel.dims.push(DimDecl { name });
        } else if self.at.eat_word("format")? {
            self.at.numbered('f', self.kernel.formats.len())?;
            let format = self.format()?;
            self.kernel.formats.push(format);
        } else if self.at.eat_word("table")? {
            let table = self.table()?;
            self.kernel.tables.push(table);
        } else if self.at.eat_word("tensor")? {
            self.at.numbered('p', self.kernel.params.len())?;
            let tensor = self.tensor()?;
            self.kernel.params.push(tensor);
        } else if self.at.eat_word("scalar")? {
            self.at.numbered('p', self.kernel.params.len())?;
            let name = self.at.text("the argument's name in quotes")?;
            self.at.punct(':')?;
            let dtype = self.dtype()?;
            self.kernel.params.push(TensorDecl::Scalar { name, dtype });
        } else if self.at.eat_word("shared")? {
            self.at.numbered('s', self.kernel.shared.len())?;
            let name = self.at.text("the tensor's name in quotes")?;
            self.at.punct(':')?;
            let ty = self.tile_type()?;
            let order = if self.at.eat_word("order")? { Some(self.layout()?) } else { None };
            self.kernel.shared.push(SharedDecl { name, ty, order });
        } else if self.at.eat_word("message")? {
            let next = self.kernel.messages.len();
            self.at.number(&format!("{next}: messages are numbered in order"), |text| {
                decimal(text).filter(|n| *n as usize == next)
            })?;
            let text = self.at.text("the message's text in quotes")?;
            let location = if self.at.eat_word("at")? {
                self.at.text("`file:line:column` in quotes")?
            } else {
                String::new()
            };
            self.kernel.messages.push(Message { text, location });
        } else if self.at.eat_word("layout")? {
            self.pin()?;
        } else if self.at.eat_word("assume")? {
            let condition = expr(&mut self.at)?;
            let text = self.at.text("the condition's text in quotes")?;
            self.kernel.assumptions.push((condition, text));
        } else if self.at.eat_word("grid")? {
            self.kernel.grid.push(expr(&mut self.at)?);
            while self.at.eat(',')? {
                self.kernel.grid.push(expr(&mut self.at)?);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `v3 "local(4)" at "file:1:2"`
    fn pin(&mut self) -> Parsed<()> {
        let start = self.at.start;
        let value = self.value()?;
        let layout = self.layout()?;
        let origin = self.origin()?;
        let location = if self.at.eat_word("at")? {
            self.at.text("`file:line:column` in quotes")?
        } else {
            String::new()
        };
        match self.kernel.pins.insert(value, Pin { layout, origin, location }) {
            None => Ok(()),
            Some(_) => Err(self.at.error_at(start, format!("{value} is pinned twice"))),
        }
    }

    /// A layout of either kind, in quotes.
    fn layout<L: FromStr<Err = LayoutError>>(&mut self) -> Parsed<L> {
        let written = self.at.start;
        let text = self.at.text("a layout in quotes")?;
        text.parse().map_err(|e| self.at.error_at(written, format!("no layout: {e}")))
    }

    /// `from v2 by reshape`, `inserted`, or nothing
    fn origin(&mut self) -> Parsed<Origin> {
        if self.at.eat_word("inserted")? {
            return Ok(Origin::Inserted);
        }
        if !self.at.eat_word("from")? {
            return Ok(Origin::Written);
        }
        let from = self.value()?;
        self.at.keyword("by")?;
        let start = self.at.start;
        let word = self.at.name("a rule of layouts")?;
        match LayoutRule::ALL.iter().find(|rule| rule.name() == word) {
            Some(rule) => Ok(Origin::Inferred { from, rule: *rule }),
            None => Err(self.at.error_at(start, format!("`{word}` is no rule of layouts"))),
        }
    }

    fn tensor(&mut self) -> Parsed<TensorDecl> {
        let name = self.at.text("the argument's name in quotes")?;
        self.at.punct(':')?;
        let element = if self.at.eat_word("format")? {
            Element::Format(FormatId(self.at.entity('f', "a format such as `f0`")?))
        } else {
            Element::DType(self.dtype()?)
        };
        self.at.punct('[')?;
        let mut shape = Vec::new();
        while !self.at.is_punct(']') {
            shape.push(expr(&mut self.at)?);
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(']')?;
        let access = match self.at.token {
            Token::Word("read") => Access::Read,
            Token::Word("write") => Access::Write,
            Token::Word("readwrite") => Access::ReadWrite,
            _ => return Err(self.at.expected("`read`, `write` or `readwrite`")),
        };
        self.at.advance()?;
        Ok(TensorDecl::Tensor { name, element, shape, access })
    }

    /// Statements up to `}`, `yield` or `again`. `depth` regions are around it.
    fn region(&mut self, depth: usize) -> Parsed<Region> {
        if depth > MAX_DEPTH {
            return Err(self.at.error(format!("regions nest deeper than {MAX_DEPTH}")));
        }
        let mut stmts = Vec::new();
        while !(self.at.is_punct('}') || self.at.is_word("yield") || self.at.is_word("again")) {
            stmts.push(self.stmt(depth)?);
        }
        Ok(Region { stmts })
    }

    fn stmt(&mut self, depth: usize) -> Parsed<Stmt> {
        let mut results = Vec::new();
        let listed = self.at.eat('(')?;
        if listed {
            loop {
                results.push(self.definition()?);
                if !self.at.eat(',')? {
                    break;
                }
            }
            self.at.punct(')')?;
            self.at.punct('=')?;
        }
        if self.at.eat_word("for")? {
            return self.for_(results, depth);
        }
        if self.at.eat_word("loop")? {
            return self.loop_(results, depth);
        }
        if self.at.eat_word("if")? {
            return self.if_(results, depth);
        }
        if listed {
            return Err(self.at.expected("`for`, `loop` or `if`"));
        }
        self.inst().map(Stmt::Inst)
    }

    fn carry(&mut self) -> Parsed<Vec<Carried>> {
        let mut carried = Vec::new();
        if self.at.eat_word("carry")? {
            self.at.punct('(')?;
            loop {
                let param = self.definition()?;
                self.at.punct('=')?;
                carried.push(Carried { param, initial: self.value()? });
                if !self.at.eat(',')? {
                    break;
                }
            }
            self.at.punct(')')?;
        }
        Ok(carried)
    }

    /// The optional `yield` at the end of a region.
    fn yields(&mut self) -> Parsed<Vec<Value>> {
        if self.at.eat_word("yield")? { self.operands() } else { Ok(Vec::new()) }
    }

    fn for_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let start = self.at.start;
        let counter = self.value()?;
        self.define(counter, TileType::scalar(DType::I32), start)?;
        self.at.keyword("in")?;
        let from = self.value()?;
        if self.at.token != Token::DotDot {
            return Err(self.at.expected("`..`"));
        }
        self.at.advance()?;
        let to = self.value()?;
        self.at.keyword("by")?;
        let step = self.at.u32("the step")?;
        let pipeline =
            if self.at.eat_word("pipeline")? { self.at.u32("the depth of the pipeline")? } else { 1 };
        let carried = self.carry()?;
        self.at.punct('{')?;
        let body = self.region(depth + 1)?;
        let yields = self.yields()?;
        self.at.punct('}')?;
        Ok(Stmt::For { counter, from, to, step, pipeline, carried, body, yields, results })
    }

    fn loop_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let carried = self.carry()?;
        self.at.punct('{')?;
        let body = self.region(depth + 1)?;
        self.at.keyword("again")?;
        let again = self.value()?;
        let yields = self.yields()?;
        self.at.punct('}')?;
        Ok(Stmt::Loop { carried, body, again, yields, results })
    }

    fn if_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let condition = self.value()?;
        self.at.punct('{')?;
        let then = self.region(depth + 1)?;
        let then_yields = self.yields()?;
        self.at.punct('}')?;
        let (mut otherwise, mut otherwise_yields) = (Region::default(), Vec::new());
        if self.at.eat_word("else")? {
            self.at.punct('{')?;
            otherwise = self.region(depth + 1)?;
            otherwise_yields = self.yields()?;
            self.at.punct('}')?;
        }
        Ok(Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results })
    }

    fn inst(&mut self) -> Parsed<Inst> {
        let mut result = None;
        if self.at.entity_number('v').is_some() {
            result = Some(self.definition()?);
            self.at.punct('=')?;
        }
        let (op, args) = self.operation(result)?;
        let location = if self.at.eat('@')? {
            let place = self.at.text("`file:line:column` in quotes")?;
            let next = self.places.len() as u32;
            let number = *self.places.entry(place.clone()).or_insert(next);
            if number == next {
                self.kernel.locations.push(place);
            }
            Some(number)
        } else {
            None
        };
        Ok(Inst { op, args, result, location })
    }

    fn operation(&mut self, result: Option<Value>) -> Parsed<(Op, Vec<Value>)> {
        let Token::Word(word) = self.at.token else { return Err(self.at.expected("an operation")) };
        let here = (word, self.at.start);
        self.at.advance()?;
        let op = match word {
            "const" => return Ok((Op::Const(self.constant(result)?), Vec::new())),
            "dim" => Op::Dim(Dim(self.at.entity('d', "a dimension such as `d0`")?)),
            "scalar" => Op::Scalar(Param(self.at.entity('p', "an argument such as `p0`")?)),
            "block_index" => Op::BlockIndex(self.at.number("an axis", small)?),
            "iota" => Op::Iota,
            "fma" => Op::Fma,
            "select" => Op::Select,
            "bitcast" => Op::Bitcast,
            "view" => Op::View,
            "relayout" => Op::Relayout,
            "broadcast" => Op::Broadcast,
            "reshape" => Op::Reshape,
            "permute" => Op::Permute(self.permutation()?),
            "gather" => Op::Gather(self.at.number("an axis", small)?),
            "concat" => Op::Concat(self.at.number("an axis", small)?),
            "dot" => Op::Dot,
            "load" => return self.load(),
            "store" => return self.store(),
            "load.field" => {
                let field = self.at.u32("a field's number")?;
                let (tensor, indices, args) = self.argument_place()?;
                return Ok((Op::LoadField { tensor, field, indices }, args));
            }
            "store.groups" => return self.store_groups(),
            "store.head" => {
                let (tensor, indices, mut args) = self.argument_place()?;
                while self.at.eat(',')? {
                    args.push(self.value()?);
                }
                return Ok((Op::StoreHead { tensor, indices }, args));
            }
            "scatter" => {
                let (memory, args) = self.indexed(1)?;
                return Ok((Op::Scatter { memory }, args));
            }
            "copy_async" => {
                let start = self.at.start;
                let (op, args) = self.store()?;
                let Op::Store { memory: Memory::Shared(shared), indices } = op else {
                    return Err(self.at.error_at(start, "expected a block-shared tensor such as `s0`"));
                };
                return Ok((Op::CopyAsync { shared, indices }, args));
            }
            "commit" => Op::Commit,
            "wait" => Op::Wait(self.at.u32("a number of groups")?),
            "field" => Op::Field(self.at.u32("a field's number")?),
            "table" => Op::Table(self.at.u32("a table's number")?),
            "group_index" => Op::GroupIndex,
            "assert" => Op::Assert(self.at.u32("a message's number")?),
            "print" => Op::Print(self.at.u32("a message's number")?),
            word => match named(word).ok_or_else(|| self.at.expected_at(here, "an operation"))? {
                Op::Reduce(reduce, _) => Op::Reduce(reduce, self.at.number("an axis", small)?),
                Op::Scan(reduce, _) => Op::Scan(reduce, self.at.number("an axis", small)?),
                Op::Atomic { update, .. } => {
                    let (memory, args) = self.indexed(update.operands())?;
                    return Ok((Op::Atomic { update, memory }, args));
                }
                op => op,
            },
        };
        Ok((op, self.operands()?))
    }

    fn constant(&mut self, result: Option<Value>) -> Parsed<u32> {
        if self.at.eat_word("bits")? {
            return self.at.number("bits in hexadecimal", hexadecimal);
        }
        let ty = result.and_then(|v| self.types.get(v.index())?.as_ref());
        match ty.map_or(Kind::Signed, |ty| ty.dtype.kind()) {
            Kind::Float => self.at.number("a float", f32_bits),
            Kind::Signed => self.at.number("a 32-bit integer", i32_value).map(i32::cast_unsigned),
            Kind::Unsigned => self.at.number("a number of 32 bits", decimal),
            Kind::Bool => self.at.number("`true` or `false`", |text| match text {
                "true" => Some(1),
                "false" => Some(0),
                _ => None,
            }),
        }
    }

    fn permutation(&mut self) -> Parsed<Vec<u8>> {
        self.at.punct('(')?;
        let mut axes = Vec::new();
        while !self.at.is_punct(')') {
            axes.push(self.at.number("an axis", small)?);
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(')')?;
        Ok(axes)
    }

    /// `p0[v1 +: 16, v2]`
    fn place(&mut self) -> Parsed<(Memory, Vec<Index>, Vec<Value>)> {
        let memory = match self.at.entity_number('s') {
            Some(number) => {
                self.at.advance()?;
                Memory::Shared(Shared(number))
            }
            None => Memory::Param(Param(self.at.entity('p', "a tensor such as `p0` or `s0`")?)),
        };
        self.at.punct('[')?;
        let (mut indices, mut offsets) = (Vec::new(), Vec::new());
        while !self.at.is_punct(']') {
            offsets.push(self.value()?);
            if self.at.eat('+')? {
                self.at.punct(':')?;
                indices.push(Index::Slice(self.at.u32("the slice's size")?));
            } else {
                indices.push(Index::Point);
            }
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(']')?;
        Ok((memory, indices, offsets))
    }

    /// As [`Self::place`], of an argument.
    fn argument_place(&mut self) -> Parsed<(Param, Vec<Index>, Vec<Value>)> {
        let start = self.at.start;
        match self.place()? {
            (Memory::Param(tensor), indices, args) => Ok((tensor, indices, args)),
            (Memory::Shared(_), ..) => {
                Err(self.at.error_at(start, "expected a tensor argument such as `p0`"))
            }
        }
    }

    fn load(&mut self) -> Parsed<(Op, Vec<Value>)> {
        let (memory, indices, mut args) = self.place()?;
        let padded = self.at.eat_word("else")?;
        if padded {
            args.push(self.value()?);
        }
        Ok((Op::Load { memory, indices, padded }, args))
    }

    fn store(&mut self) -> Parsed<(Op, Vec<Value>)> {
        let (memory, indices, mut args) = self.place()?;
        self.at.punct(',')?;
        args.push(self.value()?);
        Ok((Op::Store { memory, indices }, args))
    }

    /// `p0[v1, v2], v3`, with this many operands after the indices.
    fn indexed(&mut self, operands: usize) -> Parsed<(Memory, Vec<Value>)> {
        let start = self.at.start;
        let (memory, indices, mut args) = self.place()?;
        if indices.iter().any(|index| *index != Index::Point) {
            return Err(self.at.error_at(start, "expected an index for each axis, no slices"));
        }
        for _ in 0..operands {
            self.at.punct(',')?;
            args.push(self.value()?);
        }
        Ok((memory, args))
    }

    fn store_groups(&mut self) -> Parsed<(Op, Vec<Value>)> {
        let (memory, indices, mut args) = self.place()?;
        while self.at.eat(',')? {
            args.push(self.value()?);
        }
        Ok((Op::StoreGroups { memory, indices }, args))
    }
}

/// The operations of a table: `add`, `cast.exact`, `reduce.sum` (the axis is read by the caller).
fn named(word: &str) -> Option<Op> {
    if let Some((head, tail)) = word.split_once('.') {
        return match head {
            "cast" => CastRule::ALL.into_iter().find(|rule| rule.name() == tail).map(Op::Cast),
            "reduce" => Reduce::ALL.iter().find(|r| r.name() == tail).map(|r| Op::Reduce(*r, 0)),
            "atomic" => {
                let update = Update::ALL.iter().find(|update| update.name() == tail);
                update.map(|update| Op::Atomic { update: *update, memory: Memory::Param(Param(0)) })
            }
            "scan" => Reduce::ALL.iter().find(|r| r.name() == tail).map(|r| Op::Scan(*r, 0)),
            _ => None,
        };
    }
    let unary = Unary::ALL.iter().find(|op| op.name() == word).map(|op| Op::Unary(*op));
    unary.or_else(|| Binary::ALL.iter().find(|op| op.name() == word).map(|op| Op::Binary(*op)))
}
