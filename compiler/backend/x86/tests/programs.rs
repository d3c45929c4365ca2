//! Whole programs: random ones with nested control flow and many live values, and chosen ones.
#![cfg(target_arch = "x86_64")]

mod support;

use support::{
    Case, Executable, FLOATS, Guarded, INTEGERS, Placement, Prepared, Random, check, compiled, feature_sets,
};
use tvmc_ir::lane::{
    Access, Builder, Mem, MemoryOp, Message, Op, Place, Pure, Reduce, Scalar, Sign, Slot, Table, Type, Value,
    verify,
};

/// Makes a random program that keeps to the rules: reads from one buffer, in bounds; stores each result once.
struct Generator {
    b: Builder,
    random: Random,
    /// Values in scope.
    scope: Vec<Value>,
    input: Place,
    table: Table,
    bytes: Table,
    budget: u32,
}

const INPUT: u32 = 256;

impl Generator {
    fn pick(&mut self, ty: Type) -> Value {
        let fitting: Vec<Value> = self.scope.iter().copied().filter(|&v| self.b.ty(v) == ty).collect();
        // Recent values more often, so that chains form; old ones too, so that many stay live.
        if !fitting.is_empty() && self.random.below(8) != 0 {
            let recent = fitting.len().min(if self.random.below(2) == 0 { 4 } else { usize::MAX });
            return fitting[fitting.len() - 1 - self.random.below(recent as u64) as usize];
        }
        let uniform = match ty.scalar {
            Scalar::F32 => {
                let bits = FLOATS[self.random.below(FLOATS.len() as u64) as usize];
                self.b.f32(f32::from_bits(bits))
            }
            Scalar::I32 => {
                let word = INTEGERS[self.random.below(INTEGERS.len() as u64) as usize];
                self.b.i32(word.cast_signed())
            }
            Scalar::I64 => {
                let word = self.random.next().cast_signed() >> self.random.below(60);
                self.b.i64(word)
            }
            Scalar::Bool => {
                let on = self.random.below(2) == 0;
                self.b.bool(on)
            }
        };
        let value = if ty.is_varying() { self.b.splat(uniform) } else { uniform };
        self.scope.push(value);
        value
    }

    fn scalar(&mut self) -> Scalar {
        [Scalar::F32, Scalar::F32, Scalar::I32, Scalar::I32, Scalar::Bool, Scalar::I64]
            [self.random.below(6) as usize]
    }

    fn any_type(&mut self) -> Type {
        let scalar = self.scalar();
        if scalar == Scalar::I64 || self.random.below(3) == 0 {
            Type::uniform(scalar)
        } else {
            Type::varying(scalar)
        }
    }

    fn pure(&mut self) -> Value {
        loop {
            let op = Pure::ALL[self.random.below(Pure::ALL.len() as u64) as usize];
            // What shows a NaN's bits has no one result.
            if matches!(op, Pure::F32Bits | Pure::F32ToF16 | Pure::F32ToBf16) {
                continue;
            }
            let info = op.info();
            let wide = info.args.iter().chain([&info.result]).any(|s| *s == Slot::Is(Scalar::I64));
            let varying = !wide && self.random.below(4) != 0;
            let mut same = self.scalar();
            if varying && same == Scalar::I64 {
                same = Scalar::F32;
            }
            let args: Vec<Value> = info
                .args
                .iter()
                .map(|slot| {
                    let scalar = match slot {
                        Slot::Is(scalar) => *scalar,
                        Slot::Same => same,
                    };
                    self.pick(if varying { Type::varying(scalar) } else { Type::uniform(scalar) })
                })
                .collect();
            return self.b.pure(op, &args);
        }
    }

    /// An index that leaves room for all lanes.
    fn index(&mut self) -> Value {
        let word = self.pick(Type::uniform(Scalar::I32));
        let mask = self.b.i32(63);
        let low = self.b.pure(Pure::IAnd, &[word, mask]);
        let mut wide = self.b.pure(Pure::I32ToI64, &[low]);
        if self.random.below(2) == 0 {
            let (two, seven) = (self.b.i64(2), self.b.i64(7));
            wide = self.b.pure(Pure::LMul, &[wide, two]);
            wide = self.b.pure(Pure::LAdd, &[seven, wide]);
        }
        wide
    }

    fn load(&mut self) -> Value {
        let index = self.index();
        let mem = Mem::ALL[self.random.below(8) as usize];
        let form =
            [MemoryOp::LoadUniform, MemoryOp::LoadContig, MemoryOp::Gather][self.random.below(3) as usize];
        let mask = (self.random.below(3) == 0).then(|| {
            self.pick(if form == MemoryOp::LoadUniform {
                Type::uniform(Scalar::Bool)
            } else {
                Type::varying(Scalar::Bool)
            })
        });
        let offset = (form == MemoryOp::Gather).then(|| {
            let word = self.pick(Type::varying(Scalar::I32));
            let mask = self.b.i32(31);
            let mask = self.b.splat(mask);
            self.b.pure(Pure::IAnd, &[word, mask])
        });
        self.b.load(form, mem, self.input, index, offset, mask)
    }

    fn cross_lane(&mut self) -> Value {
        match self.random.below(6) {
            0 => {
                let reduce = Reduce::ALL[self.random.below(13) as usize];
                let value = self.pick(Type::varying(reduce.scalar()));
                self.b.reduce(reduce, value)
            }
            1 | 2 => {
                let scalar = [Scalar::F32, Scalar::I32, Scalar::Bool][self.random.below(3) as usize];
                let value = self.pick(Type::varying(scalar));
                if self.random.below(2) == 0 {
                    let lane = self.pick(Type::uniform(Scalar::I32));
                    self.b.inst(Op::Extract, &[value, lane]).unwrap()
                } else {
                    let source = self.pick(Type::varying(Scalar::I32));
                    self.b.inst(Op::Shuffle, &[value, source]).unwrap()
                }
            }
            3 => {
                let ty = self.any_type();
                let index = self.pick(Type { scalar: Scalar::I32, ..ty });
                let index = if self.b.ty(index).scalar == Scalar::I32 { index } else { self.pick(ty) };
                let op = match self.random.below(3) {
                    0 => Op::TableBytes(self.bytes),
                    1 => Op::TableHalves(self.bytes),
                    _ => Op::TableLookup(self.table),
                };
                self.b.inst(op, &[index]).unwrap()
            }
            4 => {
                let bits = 1 + self.random.below(8) as u8;
                let offset = self.random.below(u64::from(65 - 4 * bits)) as u8;
                let sign = if self.random.below(2) == 0 { Sign::Signed } else { Sign::Unsigned };
                let ty = Type::varying(Scalar::I32);
                let (low, high) = (self.pick(ty), self.pick(ty));
                self.b.inst(Op::Unpack { bits, offset, sign }, &[low, high]).unwrap()
            }
            _ => {
                let scalar = [Scalar::F32, Scalar::I32, Scalar::Bool][self.random.below(3) as usize];
                let value = self.pick(Type::uniform(scalar));
                self.b.splat(value)
            }
        }
    }

    fn carried(&mut self) -> Vec<Type> {
        (0..self.random.below(5)).map(|_| self.any_type()).collect()
    }

    fn body(&mut self, depth: u32, size: u64, types: &[Type]) -> Vec<Value> {
        self.region(depth, size);
        types.iter().map(|&ty| self.pick(ty)).collect()
    }

    fn region(&mut self, depth: u32, size: u64) {
        for _ in 0..size {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            match self.random.below(20) {
                0..=10 => {
                    let value = self.pure();
                    self.scope.push(value);
                }
                11..=13 => {
                    let value = self.load();
                    self.scope.push(value);
                }
                14..=16 => {
                    let value = self.cross_lane();
                    self.scope.push(value);
                }
                kind if depth < 3 => self.control(kind, depth),
                _ => {}
            }
        }
    }

    fn control(&mut self, kind: u64, depth: u32) {
        let types = self.carried();
        let initials: Vec<Value> = types.iter().map(|&ty| self.pick(ty)).collect();
        let size = 2 + self.random.below(8);
        let results = match kind {
            17 => {
                let runtime = self.pick(Type::uniform(Scalar::I32));
                let (three, start) = (self.b.i32(3), self.b.i32(-1));
                let to = if self.random.below(2) == 0 {
                    three
                } else {
                    self.b.pure(Pure::IAnd, &[runtime, three])
                };
                let step = 1 + self.random.below(2) as u32;
                let (counter, params) = self.b.begin_for(start, to, step, &initials);
                let scope = self.scope.len();
                self.scope.push(counter);
                self.scope.extend(params);
                let yields = self.body(depth + 1, size, &types);
                self.scope.truncate(scope);
                self.b.end_for(&yields)
            }
            18 => {
                let zero = self.b.i32(0);
                let mut all = vec![zero];
                all.extend(initials);
                let params = self.b.begin_loop(&all);
                let scope = self.scope.len();
                self.scope.extend(&params);
                let mut yields = self.body(depth + 1, size, &types);
                let (one, bound) = (self.b.i32(1), self.b.i32(1 + self.random.below(3) as i32));
                let next = self.b.pure(Pure::IAdd, &[params[0], one]);
                let again = self.b.pure(Pure::ILtS, &[next, bound]);
                yields.insert(0, next);
                self.scope.truncate(scope);
                self.b.end_loop(again, &yields)
            }
            _ => {
                let condition = self.pick(Type::uniform(Scalar::Bool));
                self.b.begin_if(condition);
                let scope = self.scope.len();
                let yields = self.body(depth + 1, size, &types);
                self.scope.truncate(scope);
                self.b.begin_else(&yields);
                let yields = self.body(depth + 1, size, &types);
                self.scope.truncate(scope);
                self.b.end_if(&yields)
            }
        };
        self.scope.extend(results);
    }
}

fn random_program(seed: u64, lanes: u32, size: u32) {
    let mut random = Random(seed);
    let mut b = Builder::new(&format!("random{seed}"), lanes);
    let input = b.buffer("input", Access::Read);
    let mut bytes: Vec<u8> = (0..INPUT)
        .flat_map(|at| {
            if at % 3 == 0 { FLOATS[at as usize % 24] } else { random.next() as u32 >> (at % 32) }
                .to_le_bytes()
        })
        .collect();
    // Room for the widest access at the largest index.
    bytes.resize(4 * (INPUT + lanes) as usize, 0x3f);
    let table = b.table(Scalar::I32, (0..23).map(|at| at * at).collect());
    let length = [16, 23, 64, 100, 256][random.below(5) as usize];
    let octets = b.table(Scalar::I32, (0..length).map(|at| (at * 77) & 0xff).collect());
    let scalars = [Scalar::F32, Scalar::I32, Scalar::I64, Scalar::Bool].map(|s| b.scalar(s.name(), s));
    let mut generator = Generator {
        b,
        random,
        scope: scalars.to_vec(),
        input: Place::Buffer(input),
        table,
        bytes: octets,
        budget: size,
    };
    for axis in 0..3 {
        let index = generator.b.block_index(axis);
        let count = generator.b.inst(Op::BlockCount(axis), &[]).unwrap();
        generator.scope.extend([index, count]);
    }
    generator.region(0, u64::from(size));

    // Every value still in scope is stored, so many live long.
    let Generator { mut b, scope, .. } = generator;
    let mut case =
        Case { grid: [1, 1, 1], buffers: vec![bytes], scalars: vec![0x4049_0fdb, 0xffff_ff85, 1 << 35, 1] };
    let mut floats = Vec::new();
    let base = b.i64(0);
    for value in scope {
        let (value, mem) = match b.ty(value).scalar {
            Scalar::F32 => (value, Mem::F32),
            Scalar::I32 => (value, Mem::I32),
            Scalar::I64 => (b.pure(Pure::I64ToI32, &[value]), Mem::I32),
            Scalar::Bool => (b.pure(Pure::BoolToI32, &[value]), Mem::I32),
        };
        let number = case.buffers.len();
        let place = Place::Buffer(b.buffer(&format!("y{number}"), Access::Write));
        if mem == Mem::F32 {
            floats.push(number);
        }
        let varying = b.ty(value).is_varying();
        case.buffers.push(vec![0; 4 * if varying { lanes as usize } else { 1 }]);
        let form = if varying { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
        b.store(form, mem, place, base, None, value, None);
    }
    check(b.finish(), &case, &floats);
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    let from = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = match from {
        Some(seed) => seed..seed + 1,
        None => 0..std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(63_u64),
    };
    for seed in seeds {
        let lanes = [16, 8, 1, 17, 32, 48, 5][seed as usize % 7];
        random_program(seed, lanes, 30 + 40 * (seed as u32 % 7));
    }
}

#[test]
fn asserts_record_the_first_failure() {
    for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut b = Builder::new("asserts", 8);
        let y = b.buffer("y", Access::Write);
        let n = b.scalar("n", Scalar::I32);
        for (number, holds) in [first, second].into_iter().enumerate() {
            let message = b.message(Message { text: format!("assert {number}"), location: String::new() });
            let bound = b.i32(if holds { 100 } else { 3 });
            let condition = b.pure(Pure::ILtS, &[n, bound]);
            b.inst(Op::Assert(message), &[condition]);
        }
        let base = b.i64(0);
        b.store(MemoryOp::StoreUniform, Mem::I32, Place::Buffer(y), base, None, n, None);
        check(b.finish(), &Case { grid: [1, 1, 1], buffers: vec![vec![0; 4]], scalars: vec![50] }, &[]);
    }
}

#[test]
fn print_is_refused_by_name() {
    let mut b = Builder::new("prints", 8);
    let message = b.message(Message { text: "hello".to_owned(), location: String::new() });
    b.inst(Op::Print(message), &[]);
    let function = verify(b.finish()).unwrap();
    for features in feature_sets() {
        let error = tvmc_backend_x86::compile(&function, &features).unwrap_err();
        assert_eq!(error, tvmc_backend_x86::Error::Unsupported { op: "print" });
    }
}

#[test]
fn a_hundred_live_vectors_spill_and_come_back() {
    for lanes in [16, 40] {
        let mut b = Builder::new("pressure", lanes);
        let x = b.buffer("x", Access::Read);
        let y = b.buffer("y", Access::Write);
        let masks = b.buffer("masks", Access::Write);
        let n = b.scalar("n", Scalar::I32);
        let values: Vec<Value> = (0..100)
            .map(|at| {
                let base = b.i64(i64::from(at * lanes));
                b.load(MemoryOp::LoadContig, Mem::F32, Place::Buffer(x), base, None, None)
            })
            .collect();
        // More masks than mask registers, too.
        let on: Vec<Value> = (0..20).map(|at| b.pure(Pure::FLt, &[values[at], values[at + 1]])).collect();
        let zero = b.i32(0);
        let (_, carried) = b.begin_for(zero, n, 1, &values);
        let mut next: Vec<Value> = (0..100)
            .map(|at| b.pure(Pure::Fma, &[carried[at], values[(at + 7) % 100], carried[(at + 1) % 100]]))
            .collect();
        next.rotate_left(3);
        let results = b.end_for(&next);
        for (at, &value) in results.iter().enumerate() {
            let base = b.i64(i64::from(at as u32 * lanes));
            b.store(MemoryOp::StoreContig, Mem::F32, Place::Buffer(y), base, None, value, None);
        }
        for (at, &mask) in on.iter().enumerate() {
            let base = b.i64(i64::from(at as u32 * lanes));
            let word = b.pure(Pure::BoolToI32, &[mask]);
            b.store(MemoryOp::StoreContig, Mem::I32, Place::Buffer(masks), base, None, word, None);
        }
        let mut random = Random(3);
        let count = 100 * lanes as usize;
        let x = (0..count).flat_map(|_| (random.below(2000) as f32 / 1000.0 - 1.0).to_le_bytes()).collect();
        let buffers = vec![x, vec![0; 4 * count], vec![0; 80 * lanes as usize]];
        let function = b.finish();
        for n in [0, 1, 3] {
            let case = Case { grid: [1, 1, 1], buffers: buffers.clone(), scalars: vec![n] };
            check(function.clone(), &case, &[1]);
        }
    }
}

#[test]
fn callee_saved_registers_are_kept() {
    // Thirty live integers need every general register; what the caller keeps in them must survive.
    let mut b = Builder::new("integers", 4);
    let y = b.buffer("y", Access::Write);
    let n = b.scalar("n", Scalar::I32);
    let mut values = vec![n];
    for at in 1..30 {
        let constant = b.i32(at);
        values.push(b.pure(Pure::IXor, &[values[at as usize - 1], constant]));
    }
    let zero = b.i32(0);
    let (counter, carried) = b.begin_for(zero, n, 1, &values);
    let next: Vec<Value> = (0..30).map(|at| b.pure(Pure::IAdd, &[carried[(at + 1) % 30], counter])).collect();
    let results = b.end_for(&next);
    for (at, &value) in results.iter().enumerate() {
        let base = b.i64(at as i64);
        b.store(MemoryOp::StoreUniform, Mem::I32, Place::Buffer(y), base, None, value, None);
    }
    let function = verify(b.finish()).unwrap();
    for features in feature_sets() {
        let executable = Executable::new(&compiled(&function, &features));
        let buffers = [Guarded::new(120, Placement::End)];
        let prepared = Prepared::new(&function, [1, 1, 1], &buffers, &[9]);
        assert_eq!(prepared.run_watching_saved_registers(executable.entry()), 0, "{features}");
    }
    check(
        function.into_inner(),
        &Case { grid: [1, 1, 1], buffers: vec![vec![0; 120]], scalars: vec![9] },
        &[],
    );
}

#[test]
fn compilation_is_linear_in_size() {
    // Not a measurement of speed: a quadratic step would take minutes here.
    let mut b = Builder::new("long", 16);
    let x = b.buffer("x", Access::Read);
    let y = b.buffer("y", Access::Write);
    let mut sums: Vec<Value> = Vec::new();
    for at in 0..8_i64 {
        let base = b.i64(16 * at);
        sums.push(b.load(MemoryOp::LoadContig, Mem::F32, Place::Buffer(x), base, None, None));
    }
    for at in 0..20_000_i64 {
        let base = b.i64(at % 4096);
        let loaded = b.load(MemoryOp::LoadContig, Mem::F32, Place::Buffer(x), base, None, None);
        let lane = (at % 8) as usize;
        sums[lane] = b.pure(Pure::Fma, &[loaded, sums[(lane + 1) % 8], sums[lane]]);
    }
    for (at, &sum) in sums.iter().enumerate() {
        let base = b.i64(16 * at as i64);
        b.store(MemoryOp::StoreContig, Mem::F32, Place::Buffer(y), base, None, sum, None);
    }
    let function = verify(b.finish()).unwrap();
    for features in feature_sets() {
        let code = tvmc_backend_x86::compile(&function, &features).unwrap();
        assert!(code.stats.instructions >= 20_000);
        assert!(code.stats.micros < 5_000_000, "{:?}", code.stats);
        println!("{features}: {:?}", code.stats);
    }
}
