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

use std::fmt;

use super::function::{
    Access, Arena, ArenaDecl, Buffer, BufferDecl, Carried, Function, Inst, Message, Region, ScalarDecl, Stmt,
    Table, TableDecl, Value,
};
use super::lexer::{Lexer, Token};
use super::op::{MemoryOp, Op, Place, Pure, Reduce, Sign};
use super::types::{Mem, Scalar, Type};
use super::verify::{MAX_DEPTH, MAX_VALUES};

/// Why a text is no function, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

type Parsed<T> = Result<T, ParseError>;

/// Reads one function; nothing but comments may follow it.
pub fn parse(text: &str) -> Result<Function, ParseError> {
    let mut lexer = Lexer::new(text);
    let (token, start) = lexer.next()?;
    let mut parser = Parser { lexer, token, start, types: Vec::new(), pure: Vec::new() };
    parser.pure = Pure::ALL.iter().map(|op| (op.info().name, *op)).collect();
    parser.pure.sort_unstable_by_key(|(name, _)| *name);
    let function = parser.function()?;
    match parser.token {
        Token::End => Ok(function),
        _ => Err(parser.expected("the end of the text")),
    }
}

struct Parser<'a> {
    /// Behind `token`.
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// Where `token` starts.
    start: usize,
    /// The type of each value defined so far.
    types: Vec<Option<Type>>,
    /// The op table's names, sorted.
    pure: Vec<(&'static str, Pure)>,
}

impl<'a> Parser<'a> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        self.lexer.error(self.start, message)
    }

    fn expected(&self, what: &str) -> ParseError {
        self.error(format!("expected {what}, found {}", self.token.describe()))
    }

    fn advance(&mut self) -> Parsed<Token<'a>> {
        let (token, start) = self.lexer.next()?;
        self.start = start;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn is_punct(&self, c: char) -> bool {
        self.token == Token::Punct(c)
    }

    fn eat(&mut self, c: char) -> Parsed<bool> {
        let found = self.is_punct(c);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn punct(&mut self, c: char) -> Parsed<()> {
        if self.eat(c)? { Ok(()) } else { Err(self.expected(&format!("`{c}`"))) }
    }

    fn is_word(&self, word: &str) -> bool {
        self.token == Token::Word(word)
    }

    fn eat_word(&mut self, word: &str) -> Parsed<bool> {
        let found = self.is_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn keyword(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word)? { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.expected(what));
        }
        match self.advance()? {
            Token::Text(text) => Ok(text),
            Token::Word(_) | Token::Number(_) | Token::Punct(_) | Token::DotDot | Token::End => {
                Err(self.expected(what))
            }
        }
    }

    // Numbers

    /// Reads a number token by `read`; `what` describes the numbers that it accepts.
    fn number<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        let written = match self.token {
            Token::Number(text) | Token::Word(text) => Some(text),
            Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        };
        let value = written.and_then(read).ok_or_else(|| self.expected(what))?;
        self.advance()?;
        Ok(value)
    }

    fn u32(&mut self, what: &str) -> Parsed<u32> {
        self.number(what, decimal)
    }

    // Entities

    /// The number of an entity such as `b12`.
    fn entity_number(&self, prefix: char) -> Option<u32> {
        match self.token {
            Token::Word(word) => word.strip_prefix(prefix).and_then(decimal),
            Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        }
    }

    fn entity(&mut self, prefix: char, what: &str) -> Parsed<u32> {
        let number = self.entity_number(prefix).ok_or_else(|| self.expected(what))?;
        self.advance()?;
        Ok(number)
    }

    /// The number of a declaration, which must be the next one of its kind.
    fn numbered(&mut self, prefix: char, next: usize) -> Parsed<()> {
        let what = format!("`{prefix}{next}`: declarations are numbered in order");
        if self.entity_number(prefix).is_none_or(|n| n as usize != next) {
            return Err(self.expected(&what));
        }
        self.advance().map(drop)
    }

    fn value(&mut self) -> Parsed<Value> {
        self.entity('v', "a value such as `v3`").map(Value)
    }

    fn values(&mut self) -> Parsed<Vec<Value>> {
        let mut values = vec![self.value()?];
        while self.eat(',')? {
            values.push(self.value()?);
        }
        Ok(values)
    }

    /// The values of a list that may be empty: a value that a `:` follows begins the next statement.
    fn operands(&mut self) -> Parsed<Vec<Value>> {
        if self.entity_number('v').is_none() {
            return Ok(Vec::new());
        }
        let mut ahead = self.lexer;
        if ahead.next()?.0 == Token::Punct(':') {
            return Ok(Vec::new());
        }
        self.values()
    }

    /// `v3: u.i32`, a definition.
    fn definition(&mut self) -> Parsed<Value> {
        let start = self.start;
        let value = self.value()?;
        self.punct(':')?;
        let ty = match self.token {
            Token::Word(word) => type_from_name(word),
            Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        };
        let ty = ty.ok_or_else(|| self.expected("a type such as `v.f32`"))?;
        self.advance()?;
        if value.index() >= MAX_VALUES {
            return Err(self.lexer.error(start, format!("value numbers end at {}", MAX_VALUES - 1)));
        }
        if self.types.len() <= value.index() {
            self.types.resize(value.index() + 1, None);
        }
        match self.types[value.index()].replace(ty) {
            Some(other) if other != ty => {
                Err(self.lexer.error(start, format!("{value} has two types, {other} and {ty}")))
            }
            Some(_) | None => Ok(value),
        }
    }

    fn place(&mut self) -> Parsed<Place> {
        if self.entity_number('b').is_some() {
            return Ok(Place::Buffer(Buffer(self.entity('b', "a buffer")?)));
        }
        Ok(Place::Arena(Arena(self.entity('a', "a buffer or arena such as `b0`")?)))
    }

    // Declarations

    fn function(&mut self) -> Parsed<Function> {
        self.keyword("kernel")?;
        self.punct('@')?;
        let name = match self.token {
            Token::Word(word) if !word.contains('.') => {
                self.advance()?;
                word.to_owned()
            }
            Token::Word(_)
            | Token::Number(_)
            | Token::Text(_)
            | Token::Punct(_)
            | Token::DotDot
            | Token::End => self.text("the kernel's name")?,
        };
        self.keyword("lanes")?;
        let lanes = self.u32("the number of lanes")?;
        self.punct('{')?;
        let mut function = Function { name, lanes, ..Function::default() };
        while self.declaration(&mut function)? {}
        function.body = self.region(0)?;
        let end = self.start;
        self.punct('}')?;
        function.values = Vec::with_capacity(self.types.len());
        for (number, ty) in self.types.iter().enumerate() {
            let Some(ty) = *ty else {
                return Err(self.lexer.error(end, format!("nothing defines v{number}")));
            };
            function.values.push(ty);
        }
        Ok(function)
    }

    /// Reads a declaration, if one comes next.
    fn declaration(&mut self, function: &mut Function) -> Parsed<bool> {
        if self.eat_word("buffer")? {
            self.numbered('b', function.buffers.len())?;
            let name = self.text("the argument's name in quotes")?;
            let access = match self.token {
                Token::Word("read") => Access::Read,
                Token::Word("write") => Access::Write,
                Token::Word("readwrite") => Access::ReadWrite,
                _ => return Err(self.expected("`read`, `write` or `readwrite`")),
            };
            self.advance()?;
            function.buffers.push(BufferDecl { name, access });
        } else if self.eat_word("scalar")? {
            let start = self.start;
            let value = self.definition()?;
            let scalar = match self.types[value.index()] {
                Some(ty) if !ty.is_varying() => ty.scalar,
                _ => return Err(self.lexer.error(start, "a scalar argument is uniform")),
            };
            let name = self.text("the argument's name in quotes")?;
            function.scalars.push(ScalarDecl { name, value, scalar });
        } else if self.eat_word("arena")? {
            self.numbered('a', function.arenas.len())?;
            function.arenas.push(ArenaDecl { bytes: self.u32("a size in bytes")? });
        } else if self.is_word("table") {
            self.advance()?;
            self.numbered('t', function.tables.len())?;
            let table = self.table()?;
            function.tables.push(table);
        } else if self.eat_word("message")? {
            let next = function.messages.len();
            self.number(&format!("{next}: messages are numbered in order"), |text| {
                decimal(text).filter(|n| *n as usize == next)
            })?;
            let text = self.text("the message's text in quotes")?;
            let location =
                if self.eat_word("at")? { self.text("`file:line:column` in quotes")? } else { String::new() };
            function.messages.push(Message { text, location });
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn table(&mut self) -> Parsed<TableDecl> {
        let scalar = match self.token {
            Token::Word("f32") => Scalar::F32,
            Token::Word("i32") => Scalar::I32,
            _ => return Err(self.expected("`f32` or `i32`")),
        };
        self.advance()?;
        self.punct('[')?;
        let mut entries = Vec::new();
        while !self.is_punct(']') {
            entries.push(match scalar {
                Scalar::F32 => self.number("a float or its bits in hexadecimal", f32_bits)?,
                Scalar::I32 | Scalar::I64 | Scalar::Bool => {
                    self.number("a 32-bit integer", i32_value)?.cast_unsigned()
                }
            });
            if !self.eat(',')? {
                break;
            }
        }
        self.punct(']')?;
        Ok(TableDecl { scalar, entries })
    }

    // Code

    /// Statements up to `}`, `yield` or `again`. `depth` regions are around it.
    fn region(&mut self, depth: usize) -> Parsed<Region> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("regions nest deeper than {MAX_DEPTH}")));
        }
        let mut stmts = Vec::new();
        while !(self.is_punct('}') || self.is_word("yield") || self.is_word("again")) {
            stmts.push(self.stmt(depth)?);
        }
        Ok(Region { stmts })
    }

    fn stmt(&mut self, depth: usize) -> Parsed<Stmt> {
        let mut results = Vec::new();
        let listed = self.eat('(')?;
        if listed {
            loop {
                results.push(self.definition()?);
                if !self.eat(',')? {
                    break;
                }
            }
            self.punct(')')?;
            self.punct('=')?;
        }
        if self.eat_word("for")? {
            return self.for_(results, depth);
        }
        if self.eat_word("loop")? {
            return self.loop_(results, depth);
        }
        if self.eat_word("if")? {
            return self.if_(results, depth);
        }
        if listed {
            return Err(self.expected("`for`, `loop` or `if`"));
        }
        let result = if self.entity_number('v').is_some() {
            let value = self.definition()?;
            self.punct('=')?;
            Some(value)
        } else {
            None
        };
        let (op, args) = self.operation()?;
        Ok(Stmt::Inst(Inst { op, args, result }))
    }

    fn carry(&mut self) -> Parsed<Vec<Carried>> {
        let mut carried = Vec::new();
        if self.eat_word("carry")? {
            self.punct('(')?;
            loop {
                let param = self.definition()?;
                self.punct('=')?;
                carried.push(Carried { param, initial: self.value()? });
                if !self.eat(',')? {
                    break;
                }
            }
            self.punct(')')?;
        }
        Ok(carried)
    }

    /// The optional `yield` at the end of a region.
    fn yields(&mut self) -> Parsed<Vec<Value>> {
        if self.eat_word("yield")? { self.values() } else { Ok(Vec::new()) }
    }

    fn for_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let counter = self.definition()?;
        self.keyword("in")?;
        let from = self.value()?;
        if self.token != Token::DotDot {
            return Err(self.expected("`..`"));
        }
        self.advance()?;
        let to = self.value()?;
        self.keyword("step")?;
        let step = self.u32("the step")?;
        let carried = self.carry()?;
        self.punct('{')?;
        let body = self.region(depth + 1)?;
        let yields = self.yields()?;
        self.punct('}')?;
        Ok(Stmt::For { counter, from, to, step, carried, body, yields, results })
    }

    fn loop_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let carried = self.carry()?;
        self.punct('{')?;
        let body = self.region(depth + 1)?;
        self.keyword("again")?;
        let again = self.value()?;
        let yields = self.yields()?;
        self.punct('}')?;
        Ok(Stmt::Loop { carried, body, again, yields, results })
    }

    fn if_(&mut self, results: Vec<Value>, depth: usize) -> Parsed<Stmt> {
        let condition = self.value()?;
        self.punct('{')?;
        let then = self.region(depth + 1)?;
        let then_yields = self.yields()?;
        self.punct('}')?;
        let (mut otherwise, mut otherwise_yields) = (Region::default(), Vec::new());
        if self.eat_word("else")? {
            self.punct('{')?;
            otherwise = self.region(depth + 1)?;
            otherwise_yields = self.yields()?;
            self.punct('}')?;
        }
        Ok(Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results })
    }

    fn operation(&mut self) -> Parsed<(Op, Vec<Value>)> {
        let unknown = self.expected("an operation");
        let Token::Word(word) = self.token else { return Err(unknown) };
        self.advance()?;
        if let Ok(at) = self.pure.binary_search_by_key(&word, |(name, _)| name) {
            let op = Op::Pure(self.pure[at].1);
            return Ok((op, self.operands()?));
        }
        Ok(match word {
            "const.f32" => {
                (Op::ConstF32(self.number("a float or its bits in hexadecimal", f32_bits)?), vec![])
            }
            "const.i32" => (Op::ConstI32(self.number("a 32-bit integer", i32_value)?), vec![]),
            "const.i64" => (Op::ConstI64(self.number("a 64-bit integer", i64_value)?), vec![]),
            "const.bool" => {
                let value = self.number("`true` or `false`", |text| text.parse().ok())?;
                (Op::ConstBool(value), vec![])
            }
            "lane_index" => (Op::LaneIndex, vec![]),
            "barrier" => (Op::Barrier, vec![]),
            "splat" => (Op::Splat, self.operands()?),
            "extract" => (Op::Extract, self.operands()?),
            "shuffle" => (Op::Shuffle, self.operands()?),
            "table" => {
                let table = Table(self.entity('t', "a table such as `t0`")?);
                (Op::TableLookup(table), self.operands()?)
            }
            "assert" => (Op::Assert(self.u32("a message number")?), self.operands()?),
            "print" => (Op::Print(self.u32("a message number")?), self.operands()?),
            _ => return self.dotted(word, unknown),
        })
    }

    /// Operations whose mnemonic ends with an immediate.
    fn dotted(&mut self, word: &str, unknown: ParseError) -> Parsed<(Op, Vec<Value>)> {
        let Some((head, tail)) = word.rsplit_once('.') else { return Err(unknown) };
        match head {
            "block_index" | "block_count" => {
                let axis = match tail {
                    "x" => 0,
                    "y" => 1,
                    "z" => 2,
                    number => number.parse().map_err(|_| unknown)?,
                };
                let op = if head == "block_index" { Op::BlockIndex(axis) } else { Op::BlockCount(axis) };
                return Ok((op, vec![]));
            }
            "reduce" => {
                let reduce = Reduce::ALL.into_iter().find(|r| r.name() == tail).ok_or(unknown)?;
                return Ok((Op::Reduce(reduce), self.operands()?));
            }
            "unpack" => {
                let (sign, bits) = code(tail).ok_or(unknown)?;
                let args = self.operands()?;
                self.keyword("at")?;
                let offset = self.number("a bit offset below 256", |text| text.parse().ok())?;
                return Ok((Op::Unpack { bits, offset, sign }, args));
            }
            "load.unpack" => {
                let (sign, bits) = code(tail).ok_or(unknown)?;
                let place = self.place()?;
                self.punct('[')?;
                let base = self.value()?;
                self.punct(']')?;
                return Ok((Op::LoadUnpack { place, bits, sign }, vec![base]));
            }
            _ => {}
        }
        let form = MemoryOp::ALL.into_iter().find(|form| form.name() == head);
        let (Some(form), Some(mem)) = (form, Mem::from_name(tail)) else { return Err(unknown) };
        let place = self.place()?;
        self.punct('[')?;
        let mut args = vec![self.value()?];
        match form {
            MemoryOp::Gather | MemoryOp::Scatter => {
                self.punct('+')?;
                args.push(self.value()?);
            }
            MemoryOp::LoadUniform | MemoryOp::LoadContig | MemoryOp::StoreUniform | MemoryOp::StoreContig => {
            }
        }
        self.punct(']')?;
        if form.is_store() {
            self.punct(',')?;
            args.push(self.value()?);
        }
        let masked = self.eat_word("mask")?;
        if masked {
            args.push(self.value()?);
        }
        Ok((Op::Memory { form, mem, place, masked }, args))
    }
}

/// Digits only: `str::parse` would also take a plus sign.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
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

/// A 32-bit integer: decimal with a sign, or a bit pattern in hexadecimal.
fn i32_value(text: &str) -> Option<i32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok().map(u32::cast_signed),
        None => text.parse().ok(),
    }
}

/// A 64-bit integer: decimal with a sign, or a bit pattern in hexadecimal.
fn i64_value(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
        None => text.parse().ok(),
    }
}

/// The bits of a float: a decimal number in range, `inf`, `-inf`, `nan` (the quiet one), or hexadecimal.
fn f32_bits(text: &str) -> Option<u32> {
    match text {
        "inf" => return Some(f32::INFINITY.to_bits()),
        "-inf" => return Some(f32::NEG_INFINITY.to_bits()),
        "nan" => return Some(0x7fc0_0000),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).ok();
    }
    let starts_as_number = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    let value: f32 = text.parse().ok()?;
    (starts_as_number && value.is_finite()).then_some(value.to_bits())
}
