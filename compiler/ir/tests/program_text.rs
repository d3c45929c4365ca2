//! The text form of program IR: printing then parsing gives the same program, and errors name their place.

use proptest::prelude::*;
use tvmc_ir::host::{self, Expr, Number};
use tvmc_ir::program::*;
use tvmc_types::dtype::DType;

/// Decisions for a random program: a tape that proptest can shrink. An exhausted tape gives zeros.
struct Tape<'a>(&'a [u32]);

impl Tape<'_> {
    fn next(&mut self) -> u32 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn list<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 13] =
            ["a", "_x9", "\"", "\\", "\n", "\u{7}", "ü→", " {} ", ";", "true", "b0", "else", "launch"];
        self.list(3, |t| PIECES[t.below(PIECES.len())]).concat()
    }

    fn dtype(&mut self) -> DType {
        DType::ALL[self.below(DType::ALL.len())]
    }

    fn expr(&mut self, depth: usize) -> Expr {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Expr::int(i64::from(self.next()) << (self.below(33)) as u32),
            1 => Expr::Name(self.text()),
            2 => Expr::Const(Number::Float(match self.below(5) {
                0 => f64::INFINITY,
                1 => f64::NEG_INFINITY,
                2 => -1e-300,
                3 => -0.0,
                _ => f64::from(f32::from_bits(self.next() & 0x7f7f_ffff)),
            })),
            3 => Expr::Const(Number::Bool(self.below(2) == 0)),
            4 => {
                let op = host::Unary::ALL[self.below(host::Unary::ALL.len())];
                Expr::Unary(op, Box::new(self.expr(depth - 1)))
            }
            _ => {
                let op = host::Binary::ALL[self.below(host::Binary::ALL.len())];
                Expr::binary(op, self.expr(depth - 1), self.expr(depth - 1))
            }
        }
    }

    fn shape(&mut self) -> Vec<Expr> {
        self.list(3, |t| t.expr(2))
    }

    fn memory(&mut self) -> MemoryDecl {
        let (name, dtype, shape) = (self.text(), self.dtype(), self.shape());
        let grows = (self.below(3) == 0).then(|| Growth { extent: self.text(), to: self.expr(2) });
        let element = match self.below(4) {
            0 => MemoryElement::Format(self.text()),
            _ => MemoryElement::DType(dtype),
        };
        MemoryDecl { name, element, shape, grows }
    }

    fn weight(&mut self) -> WeightDecl {
        WeightDecl {
            name: self.text(),
            count: (self.below(2) == 0).then(|| self.expr(1)),
            element: if self.below(2) == 0 { WeightElement::Any } else { WeightElement::DType(self.dtype()) },
            shape: self.shape(),
            pattern: self.text(),
            fallback: (self.below(2) == 0).then(|| Weight(self.next())),
        }
    }

    /// An argument; lists of weights are indexed, as in every verified program.
    fn argument(&mut self, weights: &[WeightDecl]) -> Argument {
        let base = match self.below(6) {
            0 => return Argument::Scalar(self.expr(3)),
            1 => {
                let weight = Weight(self.below(weights.len() + 1) as u32);
                let list = weights.get(weight.index()).is_some_and(|w| w.count.is_some());
                Base::Weight(weight, list.then(|| self.expr(1)))
            }
            2 => Base::State(State(self.next())),
            3 => Base::Buffer(Buffer(self.next())),
            4 => Base::Input(Input(self.next())),
            _ => Base::Output(Output(self.next())),
        };
        let views = self.list(3, |t| match t.below(3) {
            0 => View::At(t.expr(2)),
            1 => View::Rows { from: t.expr(2), length: t.expr(2) },
            _ => View::Shape(t.shape()),
        });
        Argument::Memory { base, views }
    }

    fn stmts(&mut self, weights: &[WeightDecl], depth: usize) -> Vec<Stmt> {
        self.list(3, |t| match t.below(if depth == 0 { 1 } else { 3 }) {
            0 => Stmt::Launch {
                kernel: t.text(),
                args: t.list(3, |t| t.argument(weights)),
                with: t.list(2, |t| (t.text(), i64::from(t.next()) - (1 << 31))),
                location: t.text(),
            },
            1 => Stmt::For {
                counter: t.text(),
                from: t.expr(2),
                to: t.expr(2),
                body: t.stmts(weights, depth - 1),
            },
            _ => Stmt::If {
                condition: t.expr(2),
                then: t.stmts(weights, depth - 1),
                otherwise: t.stmts(weights, depth - 1),
            },
        })
    }

    fn program(&mut self) -> Program {
        let mut program = Program {
            name: self.text(),
            hypers: self.list(2, |t| Hyper {
                name: t.text(),
                dtype: t.dtype(),
                key: t.text(),
                default: (t.below(2) == 0).then(|| t.expr(3)),
            }),
            consts: self.list(2, |t| (t.text(), t.expr(3))),
            weights: self.list(3, |t| t.weight()),
            states: self.list(2, |t| t.memory()),
            buffers: self.list(2, |t| t.memory()),
            inputs: self.list(2, |t| t.memory()),
            scalars: self.list(2, |t| ScalarInput { name: t.text(), dtype: t.dtype() }),
            outputs: self.list(2, |t| t.memory()),
            body: Vec::new(),
        };
        program.body = self.stmts(&program.weights, 3);
        program
    }
}

/// A program with all that the text form has, and that the verifier accepts.
const FULL: &str = r#"program @full {
  hyper L: i32 = "net.layers"
  hyper H: i32 = "net.heads" else L
  const E = div(L, 2)
  weight w0 "embedding": any[V, L] = "embedding"
  weight w1 "head": any[V, L] = "head" else w0
  weight w2 "gain"[L]: f32[E] = "layer.{}.gain"
  state s0 "keys": f16[L, E] grows E to add(S, 1)
  buffer b0 "x": f32[S, L]
  input i0 "tokens": i32[S]
  scalar start: i32
  scalar true: f32
  output o0 "logits": f32[R, V]
  launch embed(i0, w0, b0) @ "full.tile:1:2"
  for l in 0..L {
    launch "nn.tile::norm"(b0[sub(S, R) +: R] as [1, R, L], w2[l], s0[l][start], scalar "true") with B = 4, C = -1
    if lt(l, 4) {
      launch f(scalar l)
    } else {
      if eq(S, 1) {
      }
    }
  }
  launch product(b0, w1, o0)
}
"#;

#[test]
fn a_program_with_everything_prints_as_it_was_written() {
    let program = parse(FULL).unwrap();
    assert_eq!(program.to_string(), FULL);
    assert!(verify(program).is_ok(), "it is sound, too");
}

#[test]
fn the_parser_is_lenient_with_space_comments_and_order() {
    let loose =
        "program@p{output o0 \"y\":f32[N,]; a comment\nhyper H:i32=\"h\" launch f(o0,)for l in 0 .. H{}}";
    let strict = "program @p {\n  hyper H: i32 = \"h\"\n  output o0 \"y\": f32[N]\n  launch f(o0)\n  for l in 0..H {\n  }\n}\n";
    assert_eq!(parse(loose).unwrap().to_string(), strict);
}

#[test]
fn errors_name_their_place() {
    for (text, place, message) in [
        ("", (1, 1), "`program`"),
        ("program p", (1, 9), "`@`"),
        ("program @p {\n  hyper L: i33 = \"k\"\n}", (2, 12), "a dtype"),
        ("program @p {\n  hyper L: i32 = k\n}", (2, 18), "in quotes"),
        ("program @p {\n  weight w1 \"x\": any[] = \"x\"\n}", (2, 10), "numbered in order"),
        ("program @p {\n  launch f(x)\n}", (2, 12), "memory such as"),
        ("program @p {\n  launch f(b0[1 + 2])\n}", (2, 19), "`:`"),
        ("program @p {\n  for l in 0, 1 { }\n}", (2, 13), "`..`"),
        ("program @p {\n  jump\n}", (2, 3), "a statement"),
        ("program @p {\n  launch f()\n  const A = 1\n}", (3, 3), "a statement"),
        ("program @p { }\nprogram", (2, 1), "the end"),
        ("program @p {\n  launch f(scalar mod(1, 2))\n}", (2, 19), "no operation"),
        ("program @p {\n  launch f() with B = x\n}", (2, 23), "an integer"),
        ("program @p {", (1, 13), "a statement"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.line, error.column), place, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |n: usize| format!("program @p {{ {} {} }}", "if true { ".repeat(n), "} ".repeat(n));
    let program = parse(&nested(MAX_DEPTH)).unwrap();
    assert_eq!(parse(&program.to_string()).unwrap(), program);
    assert!(verify(program).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1)).unwrap_err().message.contains("nest deeper"));
    assert!(parse(&nested(200_000)).is_err());
    let expr = format!("program @p {{ const A = {}1", "neg(".repeat(300_000));
    assert!(parse(&expr).unwrap_err().message.contains("nest deeper"));
}

#[test]
fn every_damaged_text_gives_an_error_or_a_program() {
    for cut in (0..FULL.len()).filter(|at| FULL.is_char_boundary(*at)) {
        let _ = parse(&FULL[..cut]).map(verify);
        let _ = parse(&format!("{}{}", &FULL[..cut], FULL[cut..].chars().skip(1).collect::<String>()))
            .map(verify);
        for other in ["{", "}", "\"", "9", "-", "..", "[", "w9", " else ", "é"] {
            let _ = parse(&format!("{}{other}{}", &FULL[..cut], &FULL[cut..])).map(verify);
        }
    }
}

#[test]
fn interfaces_round_trip_and_name_their_errors() {
    let text = "interface @\"a::b\" {\n  generic W: format\n  generic F: float\n  generic I: int\n  generic D: dtype\n  tensor \"x\": f32[M, ceil_div(N, 2)] readwrite\n  scalar \"n\": i32\n  tensor \"w\": generic W[N] read\n  tensor \"q\": format \"q4_0\"[N] write\n  dim M\n  dim N specialised\n  tune A = 1\n  tune B = -4, 8 fit add(M, n)\n}\n";
    let interface = Interface::parse(text).unwrap();
    assert_eq!(interface.to_string(), text);
    assert_eq!(interface.check(), Ok(()));
    let error = Interface::parse("interface @a {\n  tensor \"x\": f32[M] reads\n}").unwrap_err();
    assert_eq!((error.line, error.column), (2, 22));
    for cut in 0..text.len() {
        let _ = Interface::parse(&text[..cut]).map(|i| i.check());
        let _ = Interface::parse(&format!("{}[{}", &text[..cut], &text[cut..])).map(|i| i.check());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_programs_round_trip(tape in prop::collection::vec(any::<u32>(), 0..400)) {
        let program = Tape(&tape).program();
        let text = program.to_string();
        let back = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&back, &program, "{}", text);
        let _ = verify(back);
    }

    #[test]
    fn damaged_texts_never_panic(tape in prop::collection::vec(any::<u32>(), 0..200), at in any::<prop::sample::Index>(), with in "[ -~]{0,3}", cut in 0..4usize) {
        let text: Vec<char> = Tape(&tape).program().to_string().chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        let damaged: String = text[..at].iter().copied().chain(with.chars()).chain(text[end..].iter().copied()).collect();
        if let Ok(program) = parse(&damaged) {
            let back = parse(&program.to_string());
            prop_assert_eq!(back.as_ref(), Ok(&program));
            let _ = verify(program);
        }
    }
}
