//! Reads the text form back: the inverse of [`super::print`], and a little more lenient (comments, any
//! line breaks, integers in hexadecimal, tables with decimal entries).
//!
//! The parser builds what the text says and judges only what a [`Function`] cannot hold: syntax, one type
//! per value, declarations in numbered order. Everything else (scopes, operand kinds, ranges) is left to
//! the verifier, so that must-fail tests can be written as text.
//!
//! Refused: nesting deeper than [`MAX_DEPTH`], value numbers of [`MAX_VALUES`] and up, and value
//! numbers that nothing defines (the table of types would have a hole).
//!
//! ```
//! let text = "kernel @k lanes 8 {\n  buffer b0 \"x\" write\n  v0: u.i64 = const.i64 0\n  v1: v.i32 = lane_index\n  store.contig.i32 b0[v0], v1\n}\n";
//! let function = tvmc_ir::lane::parse(text).unwrap();
//! assert_eq!(function.to_string(), text);
//! let error = tvmc_ir::lane::parse("kernel @k lanes 8 {\n  v0: u.f64 = barrier\n}").unwrap_err();
//! assert_eq!((error.line, error.column), (2, 7));
//! ```

use super::fragment::{ALIGNMENT, FragmentDecl, FragmentOp, Order, Role};
use super::function::{
    Access, Arena, ArenaDecl, Buffer, BufferDecl, Carried, Fragment, Function, Inst, Message, Region,
    ScalarDecl, Stmt, Table, TableDecl, Value,
};
use super::op::{MemoryOp, Op, Place, Pure, Reduce, Sign, Update};
use super::types::{Mem, Scalar, Type};
use super::verify::{MAX_DEPTH, MAX_VALUES};
use crate::text::{Cursor, ParseError, Parsed, Token, decimal, f32_bits, i32_value, i64_value};

/// Reads one function; nothing but comments may follow it.
pub fn parse(text: &str) -> Result<Function, ParseError> {
    let mut parser = Parser { at: Cursor::new(text)?, types: Vec::new(), pure: Vec::new() };
    parser.pure = Pure::ALL.iter().map(|op| (op.info().name, *op)).collect();
    parser.pure.sort_unstable_by_key(|(name, _)| *name);
    let function = parser.function()?;
    parser.at.end()?;
    Ok(function)
}

struct Parser<'a> {
    at: Cursor<'a>,
    /// The type of each value defined so far.
    types: Vec<Option<Type>>,
    /// The op table's names, sorted.
    pure: Vec<(&'static str, Pure)>,
}

impl<'a> Parser<'a> {
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
        if self.at.entity_number('v').is_none() {
            return Ok(Vec::new());
        }
        if self.at.next_is(':')? {
            return Ok(Vec::new());
        }
        self.values()
    }

    /// `v3: u.i32`, a definition.
    fn definition(&mut self) -> Parsed<Value> {
        let start = self.at.start;
        let value = self.value()?;
        self.at.punct(':')?;
        let ty = match self.at.token {
            Token::Word(word) => type_from_name(word),
            Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        };
        let ty = ty.ok_or_else(|| self.at.expected("a type such as `v.f32`"))?;
        self.at.advance()?;
        if value.index() >= MAX_VALUES {
            return Err(self.at.error_at(start, format!("value numbers end at {}", MAX_VALUES - 1)));
        }
        if self.types.len() <= value.index() {
            self.types.resize(value.index() + 1, None);
        }
        match self.types[value.index()].replace(ty) {
            Some(other) if other != ty => {
                Err(self.at.error_at(start, format!("{value} has two types, {other} and {ty}")))
            }
            Some(_) | None => Ok(value),
        }
    }

    fn place(&mut self) -> Parsed<Place> {
        if self.at.entity_number('b').is_some() {
            return Ok(Place::Buffer(Buffer(self.at.entity('b', "a buffer")?)));
        }
        Ok(Place::Arena(Arena(self.at.entity('a', "a buffer or arena such as `b0`")?)))
    }

    // Declarations

    fn function(&mut self) -> Parsed<Function> {
        self.at.keyword("kernel")?;
        self.at.punct('@')?;
        let name = self.at.name("the kernel's name")?;
        self.at.keyword("lanes")?;
        let lanes = self.at.u32("the number of lanes")?;
        let group =
            if self.at.eat_word("group")? { self.at.u32("the number of lanes of a group")? } else { 0 };
        self.at.punct('{')?;
        let mut function = Function { name, lanes, group, ..Function::default() };
        while self.declaration(&mut function)? {}
        function.body = self.region(0)?;
        let end = self.at.start;
        self.at.punct('}')?;
        function.values = Vec::with_capacity(self.types.len());
        for (number, ty) in self.types.iter().enumerate() {
            let Some(ty) = *ty else {
                return Err(self.at.error_at(end, format!("nothing defines v{number}")));
            };
            function.values.push(ty);
        }
        Ok(function)
    }

    /// Reads a declaration, if one comes next.
    fn declaration(&mut self, function: &mut Function) -> Parsed<bool> {
        if self.at.eat_word("buffer")? {
            self.at.numbered('b', function.buffers.len())?;
            let name = self.at.text("the argument's name in quotes")?;
            let access = match self.at.token {
                Token::Word("read") => Access::Read,
                Token::Word("write") => Access::Write,
                Token::Word("readwrite") => Access::ReadWrite,
                _ => return Err(self.at.expected("`read`, `write` or `readwrite`")),
            };
            self.at.advance()?;
            function.buffers.push(BufferDecl { name, access });
        } else if self.at.eat_word("scalar")? {
            let start = self.at.start;
            let value = self.definition()?;
            let scalar = match self.types[value.index()] {
                Some(ty) if !ty.is_varying() => ty.scalar,
                _ => return Err(self.at.error_at(start, "a scalar argument is uniform")),
            };
            let name = self.at.text("the argument's name in quotes")?;
            function.scalars.push(ScalarDecl { name, value, scalar });
        } else if self.at.eat_word("arena")? {
            self.at.numbered('a', function.arenas.len())?;
            function.arenas.push(ArenaDecl { bytes: self.at.u32("a size in bytes")? });
        } else if self.at.eat_word("fragment")? {
            self.at.numbered('g', function.fragments.len())?;
            let role = match self.at.token {
                Token::Word(word) => Role::ALL.into_iter().find(|role| role.name() == word),
                Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
            };
            let role = role.ok_or_else(|| self.at.expected("`left`, `right` or `sum`"))?;
            self.at.advance()?;
            function.fragments.push(FragmentDecl { role });
        } else if self.at.is_word("table") {
            self.at.advance()?;
            self.at.numbered('t', function.tables.len())?;
            let table = self.table()?;
            function.tables.push(table);
        } else if self.at.eat_word("message")? {
            let next = function.messages.len();
            self.at.number(&format!("{next}: messages are numbered in order"), |text| {
                decimal(text).filter(|n| *n as usize == next)
            })?;
            let text = self.at.text("the message's text in quotes")?;
            let location = if self.at.eat_word("at")? {
                self.at.text("`file:line:column` in quotes")?
            } else {
                String::new()
            };
            function.messages.push(Message { text, location });
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn table(&mut self) -> Parsed<TableDecl> {
        let scalar = match self.at.token {
            Token::Word("f32") => Scalar::F32,
            Token::Word("i32") => Scalar::I32,
            _ => return Err(self.at.expected("`f32` or `i32`")),
        };
        self.at.advance()?;
        self.at.punct('[')?;
        let mut entries = Vec::new();
        while !self.at.is_punct(']') {
            entries.push(match scalar {
                Scalar::F32 => self.at.number("a float or its bits in hexadecimal", f32_bits)?,
                Scalar::I32 | Scalar::I64 | Scalar::Bool => {
                    self.at.number("a 32-bit integer", i32_value)?.cast_unsigned()
                }
            });
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(']')?;
        Ok(TableDecl { scalar, entries })
    }

    // Code

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
        let result = if self.at.entity_number('v').is_some() {
            let value = self.definition()?;
            self.at.punct('=')?;
            Some(value)
        } else {
            None
        };
        let (op, args) = self.operation()?;
        Ok(Stmt::Inst(Inst { op, args, result }))
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
        if self.at.eat_word("yield")? { self.values() } else { Ok(Vec::new()) }
    }

    fn for_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let counter = self.definition()?;
        self.at.keyword("in")?;
        let from = self.value()?;
        if self.at.token != Token::DotDot {
            return Err(self.at.expected("`..`"));
        }
        self.at.advance()?;
        let to = self.value()?;
        self.at.keyword("step")?;
        let step = self.at.u32("the step")?;
        let carried = self.carry()?;
        self.at.punct('{')?;
        let body = self.region(depth + 1)?;
        let yields = self.yields()?;
        self.at.punct('}')?;
        Ok(Stmt::For { counter, from, to, step, carried, body, yields, results })
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

    fn unknown(&self, here: (&str, usize)) -> ParseError {
        self.at.expected_at(here, "an operation")
    }

    fn operation(&mut self) -> Parsed<(Op, Vec<Value>)> {
        let Token::Word(word) = self.at.token else { return Err(self.at.expected("an operation")) };
        let here = (word, self.at.start);
        self.at.advance()?;
        if let Ok(at) = self.pure.binary_search_by_key(&word, |(name, _)| name) {
            let op = Op::Pure(self.pure[at].1);
            return Ok((op, self.operands()?));
        }
        Ok(match word {
            "const.f32" => {
                (Op::ConstF32(self.at.number("a float or its bits in hexadecimal", f32_bits)?), vec![])
            }
            "const.i32" => (Op::ConstI32(self.at.number("a 32-bit integer", i32_value)?), vec![]),
            "const.i64" => (Op::ConstI64(self.at.number("a 64-bit integer", i64_value)?), vec![]),
            "const.bool" => {
                let value = self.at.number("`true` or `false`", |text| text.parse().ok())?;
                (Op::ConstBool(value), vec![])
            }
            "lane_index" => (Op::LaneIndex, vec![]),
            "store.bits" => return self.store_bits(),
            "barrier" => (Op::Barrier, vec![]),
            "barrier.buffers" => (Op::BufferBarrier, vec![]),
            "splat" => (Op::Splat, self.operands()?),
            "extract" => (Op::Extract, self.operands()?),
            "shuffle" => (Op::Shuffle, self.operands()?),
            "table" | "table.bytes" | "table.halves" => {
                let table = Table(self.at.entity('t', "a table such as `t0`")?);
                let op = match word {
                    "table" => Op::TableLookup(table),
                    "table.bytes" => Op::TableBytes(table),
                    _ => Op::TableHalves(table),
                };
                (op, self.operands()?)
            }
            "assert" => (Op::Assert(self.at.u32("a message number")?), self.operands()?),
            "print" => (Op::Print(self.at.u32("a message number")?), self.operands()?),
            _ => return self.dotted(here),
        })
    }

    /// Operations whose mnemonic ends with an immediate.
    fn dotted(&mut self, here: (&str, usize)) -> Parsed<(Op, Vec<Value>)> {
        let Some((head, tail)) = here.0.rsplit_once('.') else { return Err(self.unknown(here)) };
        match head {
            "block_index" | "block_count" => {
                let axis = match tail {
                    "x" => 0,
                    "y" => 1,
                    "z" => 2,
                    number => number.parse().map_err(|_| self.unknown(here))?,
                };
                let op = if head == "block_index" { Op::BlockIndex(axis) } else { Op::BlockCount(axis) };
                return Ok((op, vec![]));
            }
            "reduce" => {
                let reduce =
                    Reduce::ALL.into_iter().find(|r| r.name() == tail).ok_or_else(|| self.unknown(here))?;
                return Ok((Op::Reduce(reduce), self.operands()?));
            }
            "unpack" => {
                let (sign, bits) = code(tail).ok_or_else(|| self.unknown(here))?;
                let args = self.operands()?;
                self.at.keyword("at")?;
                let offset = self.at.number("a bit offset below 256", |text| text.parse().ok())?;
                return Ok((Op::Unpack { bits, offset, sign }, args));
            }
            "load.unpack" => {
                let (sign, bits) = code(tail).ok_or_else(|| self.unknown(here))?;
                let place = self.place()?;
                self.at.punct('[')?;
                let base = self.value()?;
                self.at.punct(']')?;
                return Ok((Op::LoadUnpack { place, bits, sign }, vec![base]));
            }
            "fragment" | "fragment.load" | "fragment.stage" => return self.fragment(here),
            "atomic" => {
                let update = Update::ALL
                    .into_iter()
                    .find(|update| update.name() == tail)
                    .ok_or_else(|| self.unknown(here))?;
                return self.atomic(update);
            }
            _ => {}
        }
        let form = MemoryOp::ALL.into_iter().find(|form| form.name() == head);
        let (Some(form), Some(mem)) = (form, Mem::from_name(tail)) else { return Err(self.unknown(here)) };
        let place = self.place()?;
        self.at.punct('[')?;
        let mut args = vec![self.value()?];
        match form {
            MemoryOp::Gather | MemoryOp::Scatter => {
                self.at.punct('+')?;
                args.push(self.value()?);
            }
            MemoryOp::LoadUniform | MemoryOp::LoadContig | MemoryOp::StoreUniform | MemoryOp::StoreContig => {
            }
        }
        self.at.punct(']')?;
        if form.is_store() {
            self.at.punct(',')?;
            args.push(self.value()?);
        }
        let masked = self.at.eat_word("mask")?;
        if masked {
            args.push(self.value()?);
        }
        Ok((Op::Memory { form, mem, place, masked }, args))
    }

    /// `g0`
    fn fragment_number(&mut self) -> Parsed<Fragment> {
        self.at.entity('g', "a fragment such as `g0`").map(Fragment)
    }

    /// `[v1 + v2]`
    fn address(&mut self) -> Parsed<Vec<Value>> {
        self.at.punct('[')?;
        let base = self.value()?;
        self.at.punct('+')?;
        let offset = self.value()?;
        self.at.punct(']')?;
        Ok(vec![base, offset])
    }

    /// Operations of `fragment`.
    fn fragment(&mut self, here: (&str, usize)) -> Parsed<(Op, Vec<Value>)> {
        let (op, args) = match here.0 {
            "fragment.stage" => {
                let arena = Arena(self.at.entity('a', "an arena such as `a0`")?);
                let mut args = self.address()?;
                for _ in 0..ALIGNMENT {
                    self.at.punct(',')?;
                    args.push(self.value()?);
                }
                let masked = self.at.eat_word("mask")?;
                if masked {
                    args.push(self.value()?);
                }
                (FragmentOp::Stage { arena, masked }, args)
            }
            "fragment.stage.codes" => {
                let arena = Arena(self.at.entity('a', "an arena such as `a0`")?);
                let mut args = self.address()?;
                for _ in 0..3 {
                    self.at.punct(',')?;
                    args.push(self.value()?);
                }
                self.at.keyword("bits")?;
                let bits = self.at.number("a width below 256", |text| text.parse().ok())?;
                self.at.keyword("bias")?;
                let bias = self.at.number("a 16-bit integer", |text| text.parse().ok())?;
                let masked = self.at.eat_word("mask")?;
                if masked {
                    args.push(self.value()?);
                }
                (FragmentOp::StageCodes { arena, bits, bias, masked }, args)
            }
            "fragment.zero" => (FragmentOp::Zero(self.fragment_number()?), vec![]),
            "fragment.load.rows" | "fragment.load.columns" => {
                let order = if here.0.ends_with("rows") { Order::Rows } else { Order::Columns };
                let fragment = self.fragment_number()?;
                self.at.punct(',')?;
                let arena = Arena(self.at.entity('a', "an arena such as `a0`")?);
                let mut args = self.address()?;
                self.at.keyword("stride")?;
                args.push(self.value()?);
                (FragmentOp::Load { fragment, arena, order }, args)
            }
            "fragment.multiply_add" => {
                let sum = self.fragment_number()?;
                self.at.punct(',')?;
                let left = self.fragment_number()?;
                self.at.punct(',')?;
                let right = self.fragment_number()?;
                (FragmentOp::MultiplyAdd { sum, left, right }, vec![])
            }
            "fragment.store" => {
                let place = self.place()?;
                let mut args = self.address()?;
                self.at.keyword("stride")?;
                args.push(self.value()?);
                self.at.punct(',')?;
                (FragmentOp::Store { fragment: self.fragment_number()?, place }, args)
            }
            _ => return Err(self.unknown(here)),
        };
        Ok((Op::Fragment(op), args))
    }

    /// `b0[v1 + v2], v3 bits v4 mask v5`
    fn store_bits(&mut self) -> Parsed<(Op, Vec<Value>)> {
        let (buffer, mut args) = self.addressed()?;
        self.at.punct(',')?;
        args.push(self.value()?);
        for word in ["bits", "mask"] {
            self.at.keyword(word)?;
            args.push(self.value()?);
        }
        Ok((Op::StoreBits(buffer), args))
    }

    /// `b0[v1 + v2]`
    fn addressed(&mut self) -> Parsed<(Buffer, Vec<Value>)> {
        let buffer = Buffer(self.at.entity('b', "a buffer such as `b0`")?);
        Ok((buffer, self.address()?))
    }

    /// `b0[v1 + v2], v3 mask v4`
    fn atomic(&mut self, update: Update) -> Parsed<(Op, Vec<Value>)> {
        let (buffer, mut args) = self.addressed()?;
        for _ in 0..update.operands() {
            self.at.punct(',')?;
            args.push(self.value()?);
        }
        self.at.keyword("mask")?;
        args.push(self.value()?);
        Ok((Op::Atomic { update, buffer }, args))
    }
}

fn type_from_name(name: &str) -> Option<Type> {
    let (uniformity, scalar) = name.split_once('.')?;
    let scalar =
        [Scalar::F32, Scalar::I32, Scalar::I64, Scalar::Bool].into_iter().find(|s| s.name() == scalar)?;
    match uniformity {
        "u" => Some(Type::uniform(scalar)),
        "v" => Some(Type::varying(scalar)),
        _ => None,
    }
}

/// `u3` or `s3`.
fn code(text: &str) -> Option<(Sign, u8)> {
    let sign = match text.get(..1)? {
        "u" => Sign::Unsigned,
        "s" => Sign::Signed,
        _ => return None,
    };
    Some((sign, u8::try_from(decimal(text.get(1..)?)?).ok()?))
}
