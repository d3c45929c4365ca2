//! The text form of tile IR: printing then parsing gives the same kernel, and errors name their place.

use proptest::prelude::*;
use tvmc_ir::host::{self, Expr, Number};
use tvmc_ir::tile::*;
use tvmc_types::dtype::DType;

/// Decisions for a random kernel: a tape that proptest can shrink. An exhausted tape gives zeros.
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

    fn text(&mut self) -> String {
        const PIECES: [&str; 10] = ["a", "_x9", "\"", "\\", "\n", "\u{7}", "ü→", " {} ", ";", "true"];
        (0..self.below(4)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn expr(&mut self, depth: usize) -> Expr {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Expr::int(i64::from(self.next()) << (self.below(33)) as u32),
            1 => Expr::Name(["N", "true", "a b", "NaN", "add", "x.y", ""][self.below(7)].into()),
            2 => Expr::Const(Number::Float(match self.below(4) {
                0 => f64::INFINITY,
                1 => f64::NEG_INFINITY,
                2 => -1e-300,
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
}

/// Builds kernels in which the operands of an operation have the right number; types are arbitrary: the text form does not care.
struct Maker<'a> {
    tape: Tape<'a>,
    b: Builder,
    scope: Vec<Value>,
}

impl Maker<'_> {
    fn dtype(&mut self) -> DType {
        DType::ALL[self.tape.below(DType::ALL.len())]
    }

    fn ty(&mut self) -> TileType {
        let rank = self.tape.below(4);
        let shape = (0..rank).map(|_| 1 + self.tape.below(20) as u32).collect();
        TileType { dtype: self.dtype(), shape }
    }

    fn pick(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.scope[self.tape.below(self.scope.len())]).collect()
    }

    fn memory(&mut self) -> (Memory, Vec<Index>) {
        let number = self.tape.below(4) as u32;
        let memory = if self.tape.below(2) == 0 {
            Memory::Param(Param(number))
        } else {
            Memory::Shared(Shared(number))
        };
        let index = |tape: &mut Tape<'_>| match tape.below(2) {
            0 => Index::Point,
            _ => Index::Slice(tape.next()),
        };
        let indices = (0..self.tape.below(4)).map(|_| index(&mut self.tape)).collect();
        (memory, indices)
    }

    fn inst(&mut self) {
        if self.tape.below(2) == 0 {
            let place = self.tape.text();
            self.b.at(&place);
        }
        let mut ty = self.ty();
        let number = self.tape.next();
        let small = number as u8;
        let (op, count) = match self.tape.below(27) {
            0 => {
                let bits = if ty.dtype == DType::BOOL { number % 3 } else { number };
                (Op::Const(bits), 0)
            }
            1 => (Op::Dim(Dim(number)), 0),
            2 => (Op::Scalar(Param(number)), 0),
            3 => (Op::BlockIndex(small), 0),
            4 => (Op::Iota, 0),
            5 => (Op::Unary(Unary::ALL[self.tape.below(Unary::ALL.len())]), 1),
            6 => (Op::Binary(Binary::ALL[self.tape.below(Binary::ALL.len())]), 2),
            7 => (Op::Fma, 3),
            8 => (Op::Select, 3),
            9 => (Op::Cast(CastRule::ALL[self.tape.below(4)]), 1),
            10 => (Op::Bitcast, 1),
            11 => (Op::Broadcast, 1),
            12 => (Op::Reshape, 1),
            13 => (Op::Permute((0..self.tape.below(4)).map(|_| self.tape.next() as u8).collect()), 1),
            14 => (Op::Reduce(Reduce::ALL[self.tape.below(Reduce::ALL.len())], small), 1),
            15 => match self.tape.below(4) {
                0 => (Op::Scan(Reduce::ALL[self.tape.below(Reduce::ALL.len())], small), 1),
                1 => (Op::Gather(small), 2),
                2 => (Op::Concat(small), 2 + self.tape.below(3)),
                _ => (Op::Dot, 3),
            },
            16 => {
                let (memory, indices) = self.memory();
                let padded = self.tape.below(2) == 0;
                let count = indices.len() + usize::from(padded);
                (Op::Load { memory, indices, padded }, count)
            }
            17 => (Op::Field(number), 1),
            18 => (Op::Table(number), 1),
            19 => (Op::GroupIndex, 0),
            20 => {
                let (memory, indices) = self.memory();
                let args = self.pick(indices.len() + 1);
                return self.b.effect(Op::Store { memory, indices }, &args);
            }
            21 if self.tape.below(3) == 0 => {
                let (memory, indices) = self.memory();
                let Memory::Shared(shared) = memory else {
                    let op = if number.is_multiple_of(2) { Op::Commit } else { Op::Wait(number) };
                    return self.b.effect(op, &[]);
                };
                let args = self.pick(indices.len() + 1);
                return self.b.effect(Op::CopyAsync { shared, indices }, &args);
            }
            24 => {
                let tensor = Param(number % 4);
                let (_, indices) = self.memory();
                let count = indices.len();
                (Op::LoadField { tensor, field: number, indices }, count)
            }
            25 => {
                let (_, indices) = self.memory();
                let (tensor, more) = (Param(number % 4), self.tape.below(4));
                let args = self.pick(indices.len() + more);
                let op = match self.tape.below(2) {
                    0 => Op::StoreHead { tensor, indices },
                    _ => Op::StoreGroups { memory: Memory::Param(tensor), indices },
                };
                return self.b.effect(op, &args);
            }
            26 => {
                let (memory, indices) = self.memory();
                if self.tape.below(2) == 0 {
                    let args = self.pick(indices.len() + 1);
                    return self.b.effect(Op::Scatter { memory }, &args);
                }
                let update = Update::ALL[self.tape.below(Update::ALL.len())];
                let count = indices.len() + update.operands();
                (Op::Atomic { update, memory }, count)
            }
            21 => {
                let args = self.pick(1);
                return self.b.effect(Op::Assert(number), &args);
            }
            22 => {
                let count = self.tape.below(4);
                let args = self.pick(count);
                return self.b.effect(Op::Print(number), &args);
            }
            _ => {
                ty = TileType::scalar(DType::F32);
                (Op::Const(number), 0)
            }
        };
        let args = self.pick(count);
        let value = self.b.define(op, &args, ty);
        self.scope.push(value);
    }

    fn region(&mut self, depth: usize) {
        for _ in 0..self.tape.below(5) {
            let outer = self.scope.len();
            match self.tape.below(if depth == 0 { 1 } else { 6 }) {
                3 => {
                    let (ends, count) = (self.pick(2), self.tape.below(3));
                    let initials = self.pick(count);
                    let step = self.tape.next();
                    let (counter, params) = self.b.begin_for(ends[0], ends[1], step, &initials);
                    let stages = self.tape.next();
                    self.b.pipeline(stages);
                    self.scope.push(counter);
                    self.scope.extend(params);
                    self.region(depth - 1);
                    let yields = self.pick(initials.len());
                    self.scope.truncate(outer);
                    let results = self.b.end_for(&yields);
                    self.scope.extend(results);
                }
                4 => {
                    let count = self.tape.below(3);
                    let initials = self.pick(count);
                    let params = self.b.begin_loop(&initials);
                    self.scope.extend(params);
                    self.region(depth - 1);
                    let (again, yields) = (self.pick(1)[0], self.pick(initials.len()));
                    self.scope.truncate(outer);
                    let results = self.b.end_loop(again, &yields);
                    self.scope.extend(results);
                }
                5 => {
                    let (condition, count) = (self.pick(1)[0], self.tape.below(3));
                    self.b.begin_if(condition);
                    self.region(depth - 1);
                    let yields = self.pick(count);
                    self.scope.truncate(outer);
                    self.b.begin_else(&yields);
                    self.region(depth - 1);
                    let yields = self.pick(count);
                    self.scope.truncate(outer);
                    let results = self.b.end_if(&yields);
                    self.scope.extend(results);
                }
                _ => self.inst(),
            }
        }
    }

    fn format(&mut self) -> Format {
        let number = |tape: &mut Tape<'_>| tape.next();
        let mut maker = Maker { tape: Tape(self.tape.0), b: Builder::new(""), scope: vec![] };
        let first = maker.b.f32(0.5);
        maker.scope.push(first);
        for _ in 0..maker.tape.below(4) {
            maker.inst();
        }
        let result = maker.pick(1)[0];
        let kernel = maker.b.finish();
        let plain = |stmt: Stmt| match stmt {
            Stmt::Inst(inst) => Some(Inst { location: None, ..inst }),
            Stmt::For { .. } | Stmt::Loop { .. } | Stmt::If { .. } => None,
        };
        let insts = kernel.body.stmts.into_iter().filter_map(plain).collect();
        self.tape.0 = maker.tape.0;
        let tape = &mut self.tape;
        let fields = (0..tape.below(3))
            .map(|_| Field {
                name: tape.text(),
                dtype: DType::ALL[tape.below(DType::ALL.len())],
                count: tape.next(),
                scope: [Scope::Group, Scope::Row, Scope::Tensor][tape.below(3)],
                bit_offset: tape.next(),
                modes: (0..tape.below(3))
                    .map(|_| FieldMode { size: tape.next(), stride: tape.next() })
                    .collect(),
            })
            .collect();
        let tables = (0..tape.below(3))
            .map(|_| (DType::F32, (0..tape.below(4)).map(|_| tape.next()).collect()))
            .collect();
        Format {
            name: tape.text(),
            group: number(tape),
            bytes: number(tape),
            row_head: number(tape),
            tensor_head: number(tape),
            fields,
            tables,
            decode: Decode { values: kernel.values, insts, result },
        }
    }
}

fn kernel(decisions: &[u32]) -> Kernel {
    let mut maker = Maker { tape: Tape(decisions), b: Builder::new("k"), scope: vec![] };
    maker.b.kernel.name = maker.tape.text();
    maker.b.kernel.lanes = (maker.tape.below(2) == 0).then(|| maker.tape.next());
    for _ in 0..maker.tape.below(3) {
        let name = maker.tape.text();
        maker.b.kernel.dims.push(DimDecl { name });
    }
    for _ in 0..maker.tape.below(3) {
        let format = maker.format();
        maker.b.kernel.formats.push(format);
    }
    for _ in 0..maker.tape.below(4) {
        let (name, dtype) = (maker.tape.text(), maker.dtype());
        let param = if maker.tape.below(3) == 0 {
            TensorDecl::Scalar { name, dtype }
        } else {
            let shape = (0..maker.tape.below(3)).map(|_| maker.tape.expr(2)).collect();
            let element = match maker.tape.below(3) {
                0 => Element::Format(FormatId(maker.tape.below(40) as u32)),
                _ => Element::DType(dtype),
            };
            let access = [Access::Read, Access::Write, Access::ReadWrite][maker.tape.below(3)];
            TensorDecl::Tensor { name, element, shape, access }
        };
        maker.b.kernel.params.push(param);
    }
    for _ in 0..maker.tape.below(3) {
        let (name, ty) = (maker.tape.text(), maker.ty());
        let order = [None, "shared(4, 8).swizzle(0, 2, 3)".parse().ok()][maker.tape.below(2)].clone();
        maker.b.kernel.shared.push(SharedDecl { name, ty, order });
        let message = Message { text: maker.tape.text(), location: maker.tape.text() };
        maker.b.kernel.messages.push(message);
        let assumption = (maker.tape.expr(3), maker.tape.text());
        maker.b.kernel.assumptions.push(assumption);
        let axis = maker.tape.expr(3);
        maker.b.kernel.grid.push(axis);
    }
    let first = maker.b.i32(-3);
    maker.scope.push(first);
    maker.region(3);
    maker.b.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn parsing_inverts_printing(decisions in prop::collection::vec(any::<u32>(), 0..400)) {
        let kernel = kernel(&decisions);
        let text = kernel.to_string();
        match parse(&text) {
            Ok(again) => prop_assert_eq!(again, kernel, "{}", text),
            Err(error) => prop_assert!(false, "{}\n{}", error, text),
        }
    }

    /// Nothing that is no kernel makes the parser or the verifier panic.
    #[test]
    fn damaged_text_is_no_panic(
        decisions in prop::collection::vec(any::<u32>(), 0..200),
        at in any::<prop::sample::Index>(), length in 0usize..12, piece in "[ -~]{0,4}",
    ) {
        let mut text: Vec<char> = kernel(&decisions).to_string().chars().collect();
        let at = at.index(text.len());
        let end = (at + length).min(text.len());
        text.splice(at..end, piece.chars());
        if let Ok(kernel) = parse(&text.into_iter().collect::<String>()) {
            let _ = verify(kernel);
        }
    }

    #[test]
    fn any_kernel_is_judged_without_a_panic(decisions in prop::collection::vec(any::<u32>(), 0..400)) {
        let _ = verify(kernel(&decisions));
    }

    #[test]
    fn host_expressions_read_back(decisions in prop::collection::vec(any::<u32>(), 0..60)) {
        let expr = Tape(&decisions).expr(5);
        prop_assert_eq!(expr.to_string().parse::<Expr>(), Ok(expr));
    }
}

#[test]
fn errors_name_their_place() {
    for (text, line, column, words) in [
        ("", 1, 1, "`kernel`"),
        ("kernel @k {\n  v0: f32 = frob v1\n}", 2, 13, "an operation"),
        ("kernel @k {\n  v0: f32 = const true\n}", 2, 19, "a float"),
        ("kernel @k {\n  v0: f33[4] = iota\n}", 2, 7, "a dtype"),
        ("kernel @k {\n  v1: i32 = const 1\n}", 3, 1, "nothing defines v0"),
        ("kernel @k {\n  tensor p1 \"a\": f32[] read\n}", 2, 10, "`p0`"),
        ("kernel @k {\n  grid mod(N, 2)\n}", 2, 8, "`mod` is no operation"),
        ("kernel @k {\n  v0: i32 = const 1\n  v0: f32 = const 1.0\n}", 3, 3, "two types"),
        ("kernel @k {\n  v4294967295: i32 = const 1\n}", 2, 3, "value numbers end"),
        ("kernel @k {\n} }", 2, 3, "the end of the text"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.message.contains(words), "{text}: {error}");
    }
}

#[test]
fn nesting_is_limited() {
    let deep = format!("kernel @k {{ grid {}1{} }}", "neg(".repeat(5000), ")".repeat(5000));
    assert!(parse(&deep).expect_err("too deep").message.contains("deeper"));
    let deep = format!("kernel @k {{ v0: bool = const true {} }}", "if v0 { ".repeat(5000));
    assert!(parse(&deep).expect_err("too deep").message.contains("deeper"));
}
