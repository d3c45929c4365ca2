//! Reads the text form back: the inverse of [`super::print`], and a little more lenient (comments, any line breaks, declarations in any
//! order before the first statement).
//!
//! The parser builds what the text says and judges only what a [`Program`] cannot hold: syntax, and declarations of memory in numbered
//! order. Everything else (what names mean, ranks, kinds of numbers) is left to the verifier, so that must-fail tests can be written as
//! text.
//!
//! Refused: texts longer than [`MAX_TEXT`] bytes, statements nested deeper than [`MAX_DEPTH`], more than [`MAX_STATEMENTS`] statements or
//! [`MAX_DECLARATIONS`] declarations.
//!
//! ```
//! let text = "program @p {\n  input i0 \"x\": f32[N]\n  output o0 \"y\": f32[N]\n  launch double(i0, o0, scalar 2.0)\n}\n";
//! let program = tvmc_ir::program::parse(text).unwrap();
//! assert_eq!(program.to_string(), text);
//! let error = tvmc_ir::program::parse("program @p {\n  input i0 \"x\": f33[N]\n}").unwrap_err();
//! assert_eq!((error.line, error.column), (2, 17));
//! ```

use super::verify::{MAX_DECLARATIONS, MAX_DEPTH, MAX_STATEMENTS};
use super::{
    Argument, Base, Buffer, Growth, Hyper, Input, MemoryDecl, MemoryElement, Output, Program, ScalarInput,
    State, Stmt, View, Weight, WeightDecl, WeightElement,
};
use crate::host::Expr;
use crate::text::{Cursor, ParseError, Parsed, Token, expr, i64_value};
use tvmc_types::dtype::DType;

/// Longest text, in bytes.
const MAX_TEXT: usize = 64 << 20;

/// Reads one program; nothing but comments may follow it.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    if text.len() > MAX_TEXT {
        let message = format!("the text has more than {MAX_TEXT} bytes");
        return Err(ParseError { line: 1, column: 1, message });
    }
    let mut parser =
        Parser { at: Cursor::new(text)?, program: Program::default(), statements: 0, declarations: 0 };
    parser.program()?;
    parser.at.end()?;
    Ok(parser.program)
}

/// Reads a dtype.
pub(super) fn dtype(at: &mut Cursor<'_>) -> Parsed<DType> {
    let known = match at.token {
        Token::Word(word) => DType::from_name(word),
        Token::Number(_) | Token::Text(_) | Token::Punct(_) | Token::DotDot | Token::End => None,
    };
    let dtype = known.ok_or_else(|| at.expected("a dtype such as `f32`"))?;
    at.advance()?;
    Ok(dtype)
}

/// Reads `[a, b]`.
pub(super) fn extents(at: &mut Cursor<'_>) -> Parsed<Vec<Expr>> {
    at.punct('[')?;
    let mut shape = Vec::new();
    while !at.is_punct(']') {
        shape.push(expr(at)?);
        if !at.eat(',')? {
            break;
        }
    }
    at.punct(']')?;
    Ok(shape)
}

struct Parser<'a> {
    at: Cursor<'a>,
    program: Program,
    statements: usize,
    declarations: usize,
}

impl Parser<'_> {
    fn program(&mut self) -> Parsed<()> {
        self.at.keyword("program")?;
        self.at.punct('@')?;
        self.program.name = self.at.name("the program's name")?;
        self.at.punct('{')?;
        while self.declaration()? {}
        self.program.body = self.stmts(0)?;
        self.at.punct('}')
    }

    // Declarations

    /// Reads a declaration, if one comes next.
    fn declaration(&mut self) -> Parsed<bool> {
        let start = self.at.start;
        if self.at.eat_word("hyper")? {
            let name = self.at.name("the hyper-parameter's name")?;
            self.at.punct(':')?;
            let dtype = dtype(&mut self.at)?;
            self.at.punct('=')?;
            let key = self.at.text("the metadata key in quotes")?;
            let default = if self.at.eat_word("else")? { Some(expr(&mut self.at)?) } else { None };
            self.program.hypers.push(Hyper { name, dtype, key, default });
        } else if self.at.eat_word("const")? {
            let name = self.at.name("the constant's name")?;
            self.at.punct('=')?;
            let value = expr(&mut self.at)?;
            self.program.consts.push((name, value));
        } else if self.at.eat_word("weight")? {
            self.at.numbered('w', self.program.weights.len())?;
            let weight = self.weight()?;
            self.program.weights.push(weight);
        } else if self.at.eat_word("state")? {
            self.at.numbered('s', self.program.states.len())?;
            let state = self.memory()?;
            self.program.states.push(state);
        } else if self.at.eat_word("buffer")? {
            self.at.numbered('b', self.program.buffers.len())?;
            let buffer = self.memory()?;
            self.program.buffers.push(buffer);
        } else if self.at.eat_word("input")? {
            self.at.numbered('i', self.program.inputs.len())?;
            let input = self.memory()?;
            self.program.inputs.push(input);
        } else if self.at.eat_word("scalar")? {
            let name = self.at.name("the number's name")?;
            self.at.punct(':')?;
            let dtype = dtype(&mut self.at)?;
            self.program.scalars.push(ScalarInput { name, dtype });
        } else if self.at.eat_word("output")? {
            self.at.numbered('o', self.program.outputs.len())?;
            let output = self.memory()?;
            self.program.outputs.push(output);
        } else {
            return Ok(false);
        }
        self.declarations += 1;
        if self.declarations > MAX_DECLARATIONS {
            return Err(self.at.error_at(start, format!("more than {MAX_DECLARATIONS} declarations")));
        }
        Ok(true)
    }

    fn weight(&mut self) -> Parsed<WeightDecl> {
        let name = self.at.text("the weight's name in quotes")?;
        let count = if self.at.eat('[')? {
            let count = expr(&mut self.at)?;
            self.at.punct(']')?;
            Some(count)
        } else {
            None
        };
        self.at.punct(':')?;
        let element = if self.at.eat_word("any")? {
            WeightElement::Any
        } else {
            WeightElement::DType(dtype(&mut self.at)?)
        };
        let shape = extents(&mut self.at)?;
        self.at.punct('=')?;
        let pattern = self.at.text("the tensor's name in quotes")?;
        let fallback = if self.at.eat_word("else")? {
            Some(Weight(self.at.entity('w', "a weight such as `w0`")?))
        } else {
            None
        };
        Ok(WeightDecl { name, count, element, shape, pattern, fallback })
    }

    fn memory(&mut self) -> Parsed<MemoryDecl> {
        let name = self.at.text("the memory's name in quotes")?;
        self.at.punct(':')?;
        let element = if self.at.eat_word("format")? {
            MemoryElement::Format(self.at.text("the format's name in quotes")?)
        } else {
            MemoryElement::DType(dtype(&mut self.at)?)
        };
        let shape = extents(&mut self.at)?;
        let grows = if self.at.eat_word("grows")? {
            let extent = self.at.name("an extent's name")?;
            self.at.keyword("to")?;
            Some(Growth { extent, to: expr(&mut self.at)? })
        } else {
            None
        };
        Ok(MemoryDecl { name, element, shape, grows })
    }

    // Statements

    /// Statements up to `}`; `depth` statements are around them.
    fn stmts(&mut self, depth: usize) -> Parsed<Vec<Stmt>> {
        if depth > MAX_DEPTH {
            return Err(self.at.error(format!("statements nest deeper than {MAX_DEPTH}")));
        }
        let mut stmts = Vec::new();
        while !self.at.is_punct('}') {
            self.statements += 1;
            if self.statements > MAX_STATEMENTS {
                return Err(self.at.error(format!("more than {MAX_STATEMENTS} statements")));
            }
            stmts.push(self.stmt(depth)?);
        }
        Ok(stmts)
    }

    fn block(&mut self, depth: usize) -> Parsed<Vec<Stmt>> {
        self.at.punct('{')?;
        let body = self.stmts(depth)?;
        self.at.punct('}')?;
        Ok(body)
    }

    fn stmt(&mut self, depth: usize) -> Parsed<Stmt> {
        if self.at.eat_word("launch")? {
            self.launch()
        } else if self.at.eat_word("for")? {
            let counter = self.at.name("the counter's name")?;
            self.at.keyword("in")?;
            let from = expr(&mut self.at)?;
            if self.at.token != Token::DotDot {
                return Err(self.at.expected("`..`"));
            }
            self.at.advance()?;
            let to = expr(&mut self.at)?;
            let body = self.block(depth + 1)?;
            Ok(Stmt::For { counter, from, to, body })
        } else if self.at.eat_word("if")? {
            let condition = expr(&mut self.at)?;
            let then = self.block(depth + 1)?;
            let otherwise = if self.at.eat_word("else")? { self.block(depth + 1)? } else { Vec::new() };
            Ok(Stmt::If { condition, then, otherwise })
        } else {
            Err(self.at.expected("a statement (`launch`, `for`, `if`) or `}`"))
        }
    }

    fn launch(&mut self) -> Parsed<Stmt> {
        let kernel = self.at.name("the kernel's name")?;
        self.at.punct('(')?;
        let mut args = Vec::new();
        while !self.at.is_punct(')') {
            args.push(self.argument()?);
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(')')?;
        let mut with = Vec::new();
        if self.at.eat_word("with")? {
            loop {
                let name = self.at.name("a tune name")?;
                self.at.punct('=')?;
                with.push((name, self.at.number("an integer", i64_value)?));
                if !self.at.eat(',')? {
                    break;
                }
            }
        }
        let location =
            if self.at.eat('@')? { self.at.text("`file:line:column` in quotes")? } else { String::new() };
        Ok(Stmt::Launch { kernel, args, with, location })
    }

    fn argument(&mut self) -> Parsed<Argument> {
        if self.at.eat_word("scalar")? {
            return Ok(Argument::Scalar(expr(&mut self.at)?));
        }
        let mut base = self.base()?;
        let mut views = Vec::new();
        let list = match &base {
            Base::Weight(weight, _) => {
                self.program.weights.get(weight.index()).is_some_and(|w| w.count.is_some())
            }
            Base::State(_) | Base::Buffer(_) | Base::Input(_) | Base::Output(_) => false,
        };
        loop {
            if self.at.eat('[')? {
                let from = expr(&mut self.at)?;
                if self.at.eat('+')? {
                    self.at.punct(':')?;
                    let length = expr(&mut self.at)?;
                    views.push(View::Rows { from, length });
                } else {
                    match &mut base {
                        Base::Weight(_, index @ None) if list && views.is_empty() => *index = Some(from),
                        Base::Weight(..)
                        | Base::State(_)
                        | Base::Buffer(_)
                        | Base::Input(_)
                        | Base::Output(_) => views.push(View::At(from)),
                    }
                }
                self.at.punct(']')?;
            } else if self.at.eat_word("as")? {
                views.push(View::Shape(extents(&mut self.at)?));
            } else {
                return Ok(Argument::Memory { base, views });
            }
        }
    }

    fn base(&mut self) -> Parsed<Base> {
        let found = [
            self.at.entity_number('w').map(|n| Base::Weight(Weight(n), None)),
            self.at.entity_number('s').map(|n| Base::State(State(n))),
            self.at.entity_number('b').map(|n| Base::Buffer(Buffer(n))),
            self.at.entity_number('i').map(|n| Base::Input(Input(n))),
            self.at.entity_number('o').map(|n| Base::Output(Output(n))),
        ];
        let Some(base) = found.into_iter().flatten().next() else {
            return Err(self.at.expected("memory such as `b0`, or `scalar` and a number"));
        };
        self.at.advance()?;
        Ok(base)
    }
}
