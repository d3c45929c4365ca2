//! The text form of lane IR: printing then parsing gives the same function, and errors name their place.

use proptest::prelude::*;
use tvmc_ir::lane::*;

/// Decisions for a random function: a tape that proptest can shrink. An exhausted tape gives zeros.
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

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 9] = ["a", "_x9", "\"", "\\", "\n", "\u{7}", "ü→", " {} ", ";"];
        (0..self.below(4)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

/// Values in scope.
struct Scope(Vec<Value>);

/// Builds a function that obeys every rule of the verifier.
struct Maker<'a> {
    tape: Tape<'a>,
    b: Builder,
    scope: Scope,
    tables: Vec<Table>,
    messages: Vec<u32>,
    readable: Vec<Place>,
    writable: Vec<Place>,
}

impl Maker<'_> {
    /// A value of this type, made if there is none.
    fn pick(&mut self, ty: Type) -> Value {
        let fitting: Vec<Value> = self.scope.0.iter().copied().filter(|v| self.b.ty(*v) == ty).collect();
        if !fitting.is_empty() && self.tape.below(8) != 7 {
            return fitting[self.tape.below(fitting.len())];
        }
        let bits = self.tape.next();
        let op = match ty.scalar {
            Scalar::F32 => Op::ConstF32(bits),
            Scalar::I32 => Op::ConstI32(bits.cast_signed()),
            Scalar::I64 => Op::ConstI64(i64::from(bits) << (bits % 33)),
            Scalar::Bool => Op::ConstBool(bits % 2 == 1),
        };
        let value = self.b.inst(op, &[]).unwrap();
        if ty.is_varying() { self.b.splat(value) } else { value }
    }

    fn place(&mut self, store: bool) -> Place {
        let places = if store { &self.writable } else { &self.readable };
        places[self.tape.below(places.len())]
    }

    fn any_type(&mut self) -> Type {
        let scalar = [Scalar::F32, Scalar::I32, Scalar::Bool, Scalar::I64][self.tape.below(4)];
        if scalar == Scalar::I64 || self.tape.below(2) == 0 {
            Type::uniform(scalar)
        } else {
            Type::varying(scalar)
        }
    }

    fn inst(&mut self) {
        let (uf, ui, ul, ub) = (
            Type::uniform(Scalar::F32),
            Type::uniform(Scalar::I32),
            Type::uniform(Scalar::I64),
            Type::uniform(Scalar::Bool),
        );
        let vi = Type::varying(Scalar::I32);
        let sign = if self.tape.below(2) == 0 { Sign::Signed } else { Sign::Unsigned };
        let bits = 1 + self.tape.below(8) as u8;
        let (op, types): (Op, Vec<Type>) = match self.tape.below(16) {
            0..=4 => {
                let pure = Pure::ALL[self.tape.below(Pure::ALL.len())];
                let info = pure.info();
                let wide = info.args.iter().chain([&info.result]).any(|s| *s == Slot::Is(Scalar::I64));
                let varying = !wide && self.tape.below(2) == 0;
                let same = [Scalar::F32, Scalar::I32, Scalar::Bool][self.tape.below(3)];
                let ty = |slot: &Slot| {
                    let scalar = match slot {
                        Slot::Is(scalar) => *scalar,
                        Slot::Same => same,
                    };
                    if varying { Type::varying(scalar) } else { Type::uniform(scalar) }
                };
                (Op::Pure(pure), info.args.iter().map(ty).collect())
            }
            5 => (Op::LaneIndex, vec![]),
            6 => (Op::BlockIndex(self.tape.below(3) as u8), vec![]),
            7 => (Op::BlockCount(self.tape.below(3) as u8), vec![]),
            8 => {
                let reduce = Reduce::ALL[self.tape.below(Reduce::ALL.len())];
                (Op::Reduce(reduce), vec![Type::varying(reduce.scalar())])
            }
            9 => (Op::Extract, vec![Type::varying(Scalar::Bool), ui]),
            10 => (Op::Shuffle, vec![Type::varying(Scalar::F32), vi]),
            11 => {
                let offset = self.tape.below(65 - 4 * usize::from(bits)) as u8;
                let ty = if self.tape.below(2) == 0 { ui } else { vi };
                (Op::Unpack { bits, offset, sign }, vec![ty, ty])
            }
            12 => (Op::LoadUnpack { place: self.place(false), bits, sign }, vec![ul]),
            13 => {
                let table = self.tables[self.tape.below(self.tables.len())];
                let op = match self.tape.below(3) {
                    0 => Op::TableBytes(self.tables[2]),
                    1 => Op::TableHalves(self.tables[2]),
                    _ => Op::TableLookup(table),
                };
                (op, vec![if self.tape.below(2) == 0 { ui } else { vi }])
            }
            14 => {
                let form = MemoryOp::ALL[self.tape.below(6)];
                let mem = Mem::ALL[self.tape.below(8)];
                let masked = self.tape.below(2) == 0;
                let place = self.place(form.is_store());
                let uniform = matches!(form, MemoryOp::LoadUniform | MemoryOp::StoreUniform);
                let ty = |scalar| if uniform { Type::uniform(scalar) } else { Type::varying(scalar) };
                let mut types = vec![ul];
                if matches!(form, MemoryOp::Gather | MemoryOp::Scatter) {
                    types.push(vi);
                }
                if form.is_store() {
                    types.push(ty(mem.loaded()));
                }
                if masked {
                    types.push(ty(Scalar::Bool));
                }
                (Op::Memory { form, mem, place, masked }, types)
            }
            _ => match self.tape.below(4) {
                3 => (Op::BufferBarrier, vec![]),
                0 => (Op::Barrier, vec![]),
                1 => (Op::Assert(self.messages[self.tape.below(self.messages.len())]), vec![ub]),
                _ => (Op::Print(0), vec![uf, self.any_type()]),
            },
        };
        // A memory base that is a scalar argument is no constant, so arena ranges stay unknown.
        let args: Vec<Value> = types
            .iter()
            .enumerate()
            .map(|(at, ty)| {
                let is_base = at == 0 && matches!(op, Op::Memory { .. } | Op::LoadUnpack { .. });
                if is_base { self.scope.0[0] } else { self.pick(*ty) }
            })
            .collect();
        self.scope.0.extend(self.b.inst(op, &args));
    }

    fn region(&mut self, depth: usize) {
        while !self.tape.is_empty() {
            match self.tape.below(16) {
                0 if depth > 0 => return,
                1 | 2 => self.control(depth),
                _ => self.inst(),
            }
        }
    }

    fn control(&mut self, depth: usize) {
        let types: Vec<Type> = (0..self.tape.below(3)).map(|_| self.any_type()).collect();
        let initials: Vec<Value> = types.iter().map(|ty| self.pick(*ty)).collect();
        let outer = self.scope.0.len();
        let ui = Type::uniform(Scalar::I32);
        let results = match self.tape.below(3) {
            0 => {
                let (from, to) = (self.pick(ui), self.pick(ui));
                let step = 1 + self.tape.next() % 100;
                let (counter, params) = self.b.begin_for(from, to, step, &initials);
                self.scope.0.push(counter);
                self.scope.0.extend(params);
                self.region(depth + 1);
                let yields: Vec<Value> = types.iter().map(|ty| self.pick(*ty)).collect();
                self.b.end_for(&yields)
            }
            1 => {
                let params = self.b.begin_loop(&initials);
                self.scope.0.extend(params);
                self.region(depth + 1);
                let again = self.pick(Type::uniform(Scalar::Bool));
                let yields: Vec<Value> = types.iter().map(|ty| self.pick(*ty)).collect();
                self.b.end_loop(again, &yields)
            }
            _ => {
                let condition = self.pick(Type::uniform(Scalar::Bool));
                self.b.begin_if(condition);
                self.region(depth + 1);
                let yields: Vec<Value> = types.iter().map(|ty| self.pick(*ty)).collect();
                self.b.begin_else(&yields);
                self.scope.0.truncate(outer);
                self.region(depth + 1);
                let yields: Vec<Value> = types.iter().map(|ty| self.pick(*ty)).collect();
                self.b.end_if(&yields)
            }
        };
        self.scope.0.truncate(outer);
        self.scope.0.extend(results);
    }
}

fn random_function(decisions: &[u32]) -> Function {
    let mut tape = Tape(decisions);
    let name = tape.text();
    let lanes = 1 + tape.next() % 1024;
    let mut b = Builder::new(&name, lanes);
    let mut scope = Scope(vec![b.scalar(&tape.text(), Scalar::I64)]);
    let mut readable = Vec::new();
    let mut writable = Vec::new();
    for access in [Access::Read, Access::Write, Access::ReadWrite] {
        let place = Place::Buffer(b.buffer(&tape.text(), access));
        if access != Access::Write {
            readable.push(place);
        }
        if access != Access::Read {
            writable.push(place);
        }
    }
    for scalar in [Scalar::F32, Scalar::I32, Scalar::Bool] {
        if tape.below(2) == 0 {
            scope.0.push(b.scalar(&tape.text(), scalar));
        }
    }
    let arena = Place::Arena(b.arena(tape.next() % 65536));
    readable.push(arena);
    writable.push(arena);
    let entries = (0..1 + tape.below(5)).map(|_| tape.next()).collect();
    let tables = vec![
        b.table(Scalar::F32, entries),
        b.table(Scalar::I32, vec![tape.next()]),
        b.table(Scalar::I32, vec![tape.next() & 0xff, 255, 0]),
    ];
    let two = Message { text: format!("{{}}{{}}{}", tape.text().replace('{', "")), location: tape.text() };
    let other = Message { text: tape.text(), location: String::new() };
    let messages = vec![b.message(two), b.message(other)];
    let mut maker = Maker { tape, b, scope, tables, messages, readable, writable };
    maker.region(0);
    maker.b.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn printed_functions_read_back(decisions in prop::collection::vec(any::<u32>(), 0..500)) {
        let function = random_function(&decisions);
        let text = function.to_string();
        let again = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&again, &function, "\n{}", text);
        let verified = verify(function).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(VerifyError::to_string).collect();
            TestCaseError::fail(format!("{}\n{text}", lines.join("\n")))
        })?;
        let stats = stats(&verified);
        prop_assert!(stats.live_varying + stats.live_masks + stats.live_uniform <= verified.values.len());
    }

    #[test]
    fn damaged_text_never_panics(
        decisions in prop::collection::vec(any::<u32>(), 0..200),
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec!["", "(", "}", "v1", ":", "..", "\"", "-", "0x", "for", "yield", "ü", "4294967296"]),
        cut in 0usize..6,
    ) {
        let text = random_function(&decisions).to_string();
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let damaged: String =
            chars[..at].iter().copied().chain(with.chars()).chain(chars[(at + cut).min(chars.len())..].iter().copied()).collect();
        if let Ok(function) = parse(&damaged) {
            // Whatever is a function can be judged, and printed.
            let _ = function.to_string();
            if let Err(errors) = verify(function) {
                prop_assert!(!errors.is_empty() && errors.len() <= MAX_ERRORS);
            }
        }
    }

    #[test]
    fn every_float_constant_is_exact(bits in any::<u32>()) {
        let mut b = Builder::new("k", 1);
        b.inst(Op::ConstF32(bits), &[]);
        let function = b.finish();
        prop_assert_eq!(parse(&function.to_string()).unwrap(), function);
    }
}

#[test]
fn awkward_float_constants_are_exact() {
    for bits in [
        0,
        0x8000_0000,
        1,
        0x807f_ffff,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0x7f80_0001,
        0xffff_ffff,
        0x7f7f_ffff,
    ] {
        let mut b = Builder::new("k", 1);
        b.inst(Op::ConstF32(bits), &[]);
        let function = b.finish();
        assert_eq!(parse(&function.to_string()).unwrap(), function, "{bits:#x}");
    }
}

#[test]
fn lenient_forms_are_read() {
    let text = r#"; comment
        kernel @"a b" lanes 8 { table t0 f32 [1.5, 0x3f800000, -inf,] table t1 i32 [-1, 0xff]
        v0: u.i32 = const.i32 0xffffffff v1: u.f32 = const.f32 nan ; more
        v2: u.i64 = const.i64 -5 v3: u.bool = const.bool false
        v4: u.i32 = unpack.s3 v0, v0 at 6 v5: u.f32 = table t0 v4 print 0 v6: u.i32 = block_count.z
        if v3 { } } ; end"#;
    let function = parse(text).unwrap();
    assert_eq!(function.name, "a b");
    assert_eq!(function.tables[0].entries, [0x3fc0_0000, 0x3f80_0000, 0xff80_0000]);
    assert_eq!(function.tables[1].entries, [u32::MAX, 0xff]);
    let ops: Vec<Op> = function
        .body
        .stmts
        .iter()
        .filter_map(|stmt| match stmt {
            Stmt::Inst(inst) => Some(inst.op),
            Stmt::For { .. } | Stmt::Loop { .. } | Stmt::If { .. } => None,
        })
        .collect();
    // `print 0` has no operand: `v6:` begins the next statement.
    let expected = [
        Op::ConstI32(-1),
        Op::ConstF32(0x7fc0_0000),
        Op::ConstI64(-5),
        Op::ConstBool(false),
        Op::Unpack { bits: 3, offset: 6, sign: Sign::Signed },
        Op::TableLookup(Table(0)),
        Op::Print(0),
        Op::BlockCount(2),
    ];
    assert_eq!(ops, expected);
}

#[test]
fn errors_name_line_and_column() {
    let cases = [
        ("kernel k", 1, 8, "expected `@`, found `k`"),
        ("kernel @k lanes 8 {\n  v0: u.i32 = nothing 3\n}", 2, 15, "expected an operation, found `nothing`"),
        (
            "kernel @k lanes 8 {\n  v0: w.i32 = lane_index\n}",
            2,
            7,
            "expected a type such as `v.f32`, found `w.i32`",
        ),
        (
            "kernel @k lanes 8 {\n  buffer b1 \"x\" read\n}",
            2,
            10,
            "expected `b0`: declarations are numbered in order, found `b1`",
        ),
        (
            "kernel @k lanes 8 {\n  v0: u.f32 = const.f32 1e99\n}",
            2,
            25,
            "expected a float or its bits in hexadecimal, found `1e99`",
        ),
        (
            "kernel @k lanes 8 {\n  v0: u.i32 = const.i32 2147483648\n}",
            2,
            25,
            "expected a 32-bit integer, found `2147483648`",
        ),
        ("kernel @k lanes 8 {\n  v1: v.i32 = lane_index\n}", 3, 1, "nothing defines v0"),
        (
            "kernel @k lanes 8 {\n  v0: v.i32 = lane_index\n  v0: u.i32 = const.i32 1\n}",
            3,
            3,
            "v0 has two types, v.i32 and u.i32",
        ),
        ("kernel @k lanes 8 {\n  v1048576: v.i32 = lane_index\n}", 2, 3, "value numbers end at 1048575"),
        (
            "kernel @k lanes 8 {\n  message 0 \"x\\q\"\n}",
            2,
            15,
            "the escapes are \\\", \\\\, \\n and \\u{hex}",
        ),
        ("kernel @k lanes 8 {\n  message 0 \"x\n}", 2, 13, "the string has no end on its line"),
        ("kernel @k lanes 8 {\n  ü\n}", 2, 3, "`\\u{fc}` starts no token"),
        ("kernel @k lanes 8 {\n  loop { yield v0 }\n}", 2, 10, "expected `again`, found `yield`"),
        (
            "kernel @k lanes 8 {\n  v0: v.i32 = lane_index\n} }",
            3,
            3,
            "expected the end of the text, found `}`",
        ),
        ("kernel @k lanes -8 {\n}", 1, 17, "expected the number of lanes, found `-8`"),
        ("kernel @k lanes 8 {\n  scalar v0: v.i32 \"n\"\n}", 2, 10, "a scalar argument is uniform"),
    ];
    for (text, line, column, message) in cases {
        let error = parse(text).map(drop).unwrap_err();
        assert_eq!((error.message.as_str(), error.line, error.column), (message, line, column), "{text}");
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| {
        format!(
            "kernel @k lanes 8 {{ v0: u.bool = const.bool true {} {} }}",
            "if v0 {".repeat(depth),
            "}".repeat(depth)
        )
    };
    verify(parse(&nested(MAX_DEPTH)).unwrap()).unwrap();
    let error = parse(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert_eq!(error.message, "regions nest deeper than 256");
    assert!(parse(&nested(1_000_000)).is_err());
}

#[test]
fn malformed_functions_print() {
    let mut b = Builder::new("k", 1);
    let base = b.i64(0);
    let mut function = {
        b.pure(Pure::BNot, &[base]);
        b.finish()
    };
    let Stmt::Inst(inst) = &mut function.body.stmts[1] else { panic!() };
    inst.op =
        Op::Memory { form: MemoryOp::Scatter, mem: Mem::F32, place: Place::Arena(Arena(3)), masked: true };
    inst.result = Some(Value(9));
    assert!(function.to_string().contains("v9: ? = scatter.f32 a3[v0 + v?], v? mask v?\n"), "{function}");
    let Stmt::Inst(inst) = &mut function.body.stmts[1] else { panic!() };
    inst.op = Op::Barrier;
    assert!(function.to_string().contains("barrier surplus v0\n"), "{function}");
}

#[test]
fn register_estimate_of_a_loop() {
    // Three accumulators, and in the body one loaded value: 4 live, plus a splat before each product.
    let text = r#"kernel @k lanes 8 {
      buffer b0 "x" read
      buffer b1 "y" write
      scalar v0: u.i32 "n"
      v1: u.i32 = const.i32 0
      v2: u.f32 = const.f32 2.0
      v3: v.f32 = splat v2
      (v4: v.f32, v5: v.f32, v6: v.f32) =
        for v7: u.i32 in v1..v0 step 1 carry (v8: v.f32 = v3, v9: v.f32 = v3, v10: v.f32 = v3) {
          v11: u.i64 = i32_to_i64 v7
          v12: v.f32 = load.contig.f32 b0[v11]
          v13: v.f32 = fma v12, v12, v8
          v14: v.f32 = fma v12, v12, v9
          v15: v.f32 = fma v12, v12, v10
          yield v13, v14, v15
        }
      v16: v.f32 = fadd v4, v5
      v17: v.f32 = fadd v16, v6
      v18: u.i64 = i32_to_i64 v1
      store.contig.f32 b1[v18], v17
    }"#;
    let stats = stats(&verify(parse(text).unwrap()).unwrap());
    assert_eq!((stats.loops, stats.loop_depth, stats.instructions), (1, 1, 12));
    assert_eq!(stats.live_varying, 4);
    assert_eq!(stats.live_masks, 0);
}

/// Line and column were counted for each word that could have been an error: a text four times as long took sixteen times as long to read.
#[test]
fn long_texts_are_read_in_time_with_their_length() {
    let text = |count: usize| {
        let insts: String = (1..=count).map(|at| format!("  v{at}: v.i32 = iadd v0, v0\n")).collect();
        format!("kernel @k lanes 8 {{\n  v0: v.i32 = lane_index\n{insts}}}\n")
    };
    let (short, long) = (text(10_000), text(80_000));
    let time = |text: &str| {
        let timed = (0..3).map(|_| {
            let start = std::time::Instant::now();
            assert!(parse(text).is_ok());
            start.elapsed()
        });
        timed.min().unwrap_or_default()
    };
    let (once, eight) = (time(&short), time(&long));
    assert!(
        eight < once * 32,
        "8 times the text takes {:.0} times as long",
        eight.as_secs_f64() / once.as_secs_f64()
    );
}
