//! Reads the text of machine IR: the inverse of `print`, which describes it.
//!
//! It builds what the text says and judges only what a [`Mir`] cannot hold: syntax, opcodes and registers that do not exist, at most one address and one
//! constant an instruction, blocks that are not numbered from 0, once each. The rest is left to the verifier, so that must-fail tests can be written as text.
//!
//! Refused: more than [`MAX_REGISTERS`] registers.

use std::collections::HashMap;
use std::sync::OnceLock;

use iced_x86::{Code, ConditionCode};
use regalloc2::{PReg, RegClass, VReg};
use tvmc_ir::ParseError;
use tvmc_ir::text::{Cursor, Parsed, Token, decimal, i64_value};

use super::print::{GENERAL, letter, level, mnemonic};
use super::{Addr, Arg, Base, Block, BlockId, Implicit, Inst, Mir, PoolId, Register, Term};
use crate::features::Level;

/// Virtual registers that a text may have.
pub const MAX_REGISTERS: u32 = 1 << 22;

/// A function in one of the two forms.
#[derive(Clone, PartialEq, Debug)]
pub enum Text {
    /// Before register allocation.
    Selected(Mir),
    /// After it.
    Allocated(Mir<PReg>),
}

/// Reads one function; nothing but comments may follow it.
pub fn parse(text: &str) -> Result<Text, ParseError> {
    let mut at = Cursor::new(text)?;
    let function = if at.is_word(<PReg as Register>::FORM) {
        Text::Allocated(Parser::<PReg>::function(&mut at)?)
    } else {
        Text::Selected(Parser::<VReg>::function(&mut at)?)
    };
    at.end()?;
    Ok(function)
}

/// The opcode of a word.
fn opcode(word: &str) -> Option<Code> {
    static BY_NAME: OnceLock<HashMap<String, Code>> = OnceLock::new();
    BY_NAME.get_or_init(|| Code::values().map(|code| (mnemonic(code), code)).collect()).get(word).copied()
}

fn condition(word: &str) -> Option<ConditionCode> {
    ConditionCode::values().find(|condition| format!("{condition:?}") == word)
}

/// The bytes of a constant.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
        })
        .collect()
}

struct Parser<'c, 'a, R> {
    at: &'c mut Cursor<'a>,
    form: std::marker::PhantomData<R>,
}

impl<'a, R: Register> Parser<'_, 'a, R> {
    fn function(at: &mut Cursor<'a>) -> Parsed<Mir<R>> {
        let mut this = Parser::<R> { at, form: std::marker::PhantomData };
        this.at.keyword(R::FORM)?;
        this.at.punct('@')?;
        let name = this.at.name("the function's name")?;
        let found =
            this.word().and_then(|word| [Level::V3, Level::V4].into_iter().find(|l| level(*l) == word));
        let mut mir = Mir::new(&name, found.ok_or_else(|| this.at.expected("`v3` or `v4`"))?);
        this.at.advance()?;
        if R::ALLOCATED {
            mir.scratch = this.field("scratch")?;
            mir.slots = this.field("slots")?;
        } else {
            mir.vregs = this.field("registers")?;
            if mir.vregs > MAX_REGISTERS {
                return Err(this.at.error(format!("there are at most {MAX_REGISTERS} registers")));
            }
            mir.scratch = this.field("scratch")?;
        }
        this.at.punct('{')?;
        while this.at.eat_word("const")? {
            this.constant(&mut mir)?;
        }
        this.blocks(&mut mir)?;
        this.at.punct('}')?;
        Ok(mir)
    }

    fn word(&self) -> Option<&'a str> {
        match self.at.token {
            Token::Word(word) => Some(word),
            Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
        }
    }

    fn field(&mut self, word: &str) -> Parsed<u32> {
        self.at.keyword(word)?;
        self.at.u32("a number")
    }

    fn constant(&mut self, mir: &mut Mir<R>) -> Parsed<()> {
        self.at.numbered('c', mir.pool.entries.len())?;
        let align = self.field("align")?;
        let start = self.at.start;
        let text = self.at.text("the bytes of a constant, in quotes")?;
        let wrong = || self.at.error_at(start, "a constant is whole bytes in hexadecimal");
        mir.pool.entries.push((align, bytes(&text).ok_or_else(wrong)?));
        Ok(())
    }

    fn blocks(&mut self, mir: &mut Mir<R>) -> Parsed<()> {
        let mut found: Vec<(BlockId, usize, Block<R>)> = Vec::new();
        while !self.at.is_punct('}') {
            let start = self.at.start;
            let id = self.block_id()?;
            found.push((id, start, self.block()?));
        }
        let mut blocks: Vec<Option<Block<R>>> = found.iter().map(|_| None).collect();
        for (id, start, block) in found {
            mir.order.push(id);
            match blocks.get_mut(id.0 as usize) {
                Some(free @ None) => *free = Some(block),
                Some(Some(_)) => return Err(self.at.error_at(start, format!("{id} is there already"))),
                None => {
                    let message = format!("{id}: blocks are numbered from 0, without gaps");
                    return Err(self.at.error_at(start, message));
                }
            }
        }
        mir.blocks = blocks.into_iter().flatten().collect();
        Ok(())
    }

    fn block_id(&mut self) -> Parsed<BlockId> {
        self.at.entity('b', "a block such as `b3`").map(BlockId)
    }

    fn block(&mut self) -> Parsed<Block<R>> {
        let params = self.list()?;
        let hot = self.at.eat_word("hot")?;
        self.at.punct(':')?;
        let mut insts = Vec::new();
        let term = loop {
            if let Some(term) = self.term()? {
                break term;
            }
            insts.push(self.inst()?);
        };
        Ok(Block { params, insts, term, hot })
    }

    fn term(&mut self) -> Parsed<Option<Term<R>>> {
        if self.at.eat_word("return")? {
            return Ok(Some(Term::Return));
        }
        if self.at.eat_word("open")? {
            return Ok(Some(Term::Open));
        }
        if self.at.eat_word("jump")? {
            let to = self.block_id()?;
            return Ok(Some(Term::Jump(to, self.list()?)));
        }
        if !self.at.eat_word("branch")? {
            return Ok(None);
        }
        let condition =
            self.word().and_then(condition).ok_or_else(|| self.at.expected("a condition such as `ne`"))?;
        self.at.advance()?;
        let compare = if self.at.is_word("then") { None } else { Some(Box::new(self.inst()?)) };
        self.at.keyword("then")?;
        let then = self.block_id()?;
        self.at.keyword("else")?;
        let otherwise = self.block_id()?;
        Ok(Some(Term::Branch { compare, condition, then, otherwise }))
    }

    fn inst(&mut self) -> Parsed<Inst<R>> {
        let code = self.word().and_then(opcode).ok_or_else(|| self.at.expected("an opcode"))?;
        self.at.advance()?;
        let mut inst = Inst::empty(code);
        let mut more = self.starts_operand();
        while more {
            if usize::from(inst.count) == inst.args.len() {
                return Err(self
                    .at
                    .error(format!("an instruction has at most {} operands", inst.args.len())));
            }
            inst = self.operand(inst)?;
            more = self.at.eat(',')?;
        }
        inst.broadcast = self.at.eat_word("broadcast")?;
        if self.at.eat_word("under")? {
            inst.mask = self.register_operand()?;
        }
        inst.zeroing = self.at.eat_word("zeroing")?;
        inst.locked = self.at.eat_word("locked")?;
        let uses = if self.at.eat_word("reads")? { self.fixed()? } else { Vec::new() };
        let defs = if self.at.eat_word("writes")? { self.fixed()? } else { Vec::new() };
        if !uses.is_empty() || !defs.is_empty() {
            inst.implicit = Some(Box::new(Implicit { uses, defs }));
        }
        Ok(inst)
    }

    fn starts_operand(&self) -> bool {
        match &self.at.token {
            Token::Word(word) => *word == "same" || register::<R>(word).is_some(),
            Token::Number(_) | Token::Punct('=' | '[') => true,
            Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => false,
        }
    }

    fn operand(&mut self, mut inst: Inst<R>) -> Parsed<Inst<R>> {
        if self.at.is_punct('[') {
            if inst.memory().is_some() {
                return Err(self.at.error("an instruction has one address"));
            }
            inst.mem = self.address()?;
            return Ok(inst.push(Arg::Mem));
        }
        if matches!(self.at.token, Token::Number(_)) {
            if inst.args().iter().any(|arg| matches!(arg, Arg::Imm)) {
                return Err(self.at.error("an instruction has one constant"));
            }
            inst.imm = self.at.number("a number of 64 bits", i64_value)?;
            return Ok(inst.push(Arg::Imm));
        }
        if self.at.eat_word("same")? {
            return Ok(inst.push(Arg::Same));
        }
        let arg = self.register_operand()?;
        Ok(inst.push(arg))
    }

    fn register_operand(&mut self) -> Parsed<Arg<R>> {
        if self.at.eat('=')? {
            return Ok(Arg::Def(self.register()?));
        }
        let reg = self.register()?;
        Ok(if self.at.eat('=')? { Arg::Tied { def: reg, from: self.register()? } } else { Arg::Use(reg) })
    }

    fn register(&mut self) -> Parsed<R> {
        let found = self.word().and_then(register::<R>);
        let example =
            if R::ALLOCATED { "a register such as `rax`, `v3` or `k1`" } else { "a register such as `g3`" };
        let reg = found.ok_or_else(|| self.at.expected(example))?;
        self.at.advance()?;
        Ok(reg)
    }

    fn list(&mut self) -> Parsed<Vec<R>> {
        let mut all = Vec::new();
        if self.at.eat('(')? {
            all.push(self.register()?);
            while self.at.eat(',')? {
                all.push(self.register()?);
            }
            self.at.punct(')')?;
        }
        Ok(all)
    }

    fn fixed(&mut self) -> Parsed<Vec<(R, u8)>> {
        let mut all = Vec::new();
        self.at.punct('(')?;
        loop {
            let number = self.word().and_then(|word| GENERAL.iter().position(|name| *name == word));
            let number = number.ok_or_else(|| self.at.expected("a general register such as `rax`"))?;
            self.at.advance()?;
            self.at.punct('=')?;
            all.push((self.register()?, number as u8));
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(')')?;
        Ok(all)
    }

    fn address(&mut self) -> Parsed<Addr<R>> {
        self.at.punct('[')?;
        let base = if self.at.eat_word("frame")? {
            Base::Frame
        } else if let Some(number) = self.at.entity_number('c') {
            self.at.advance()?;
            Base::Pool(PoolId(number))
        } else if let Some(number) = self.at.entity_number('s') {
            self.at.advance()?;
            Base::Slot(number)
        } else {
            Base::Reg(self.register()?)
        };
        let mut address = Addr { base, index: None, scale: 1, disp: 0 };
        while self.at.eat('+')? {
            if matches!(self.at.token, Token::Number(_)) {
                address.disp = self.at.number("a number of 32 bits", |text| text.parse().ok())?;
                break;
            }
            if address.index.is_some() {
                return Err(self.at.error("an address has one index"));
            }
            address.index = Some(self.register()?);
            self.at.keyword("by")?;
            address.scale = self.at.number("1, 2, 4 or 8", |text| text.parse().ok())?;
        }
        self.at.punct(']')?;
        Ok(address)
    }
}

/// The register of a word.
fn register<R: Register>(word: &str) -> Option<R> {
    if R::ALLOCATED
        && let Some(number) = GENERAL.iter().position(|name| *name == word)
    {
        return Some(R::of(number, RegClass::Int));
    }
    let classes = [RegClass::Int, RegClass::Float, RegClass::Vector];
    let classes = if R::ALLOCATED { &classes[1..] } else { &classes[..] };
    let limit = if R::ALLOCATED { PReg::MAX as u32 } else { MAX_REGISTERS };
    classes.iter().find_map(|&class| {
        let number = word.strip_prefix(letter::<R>(class)).and_then(decimal)?;
        (number <= limit).then(|| R::of(number as usize, class))
    })
}
