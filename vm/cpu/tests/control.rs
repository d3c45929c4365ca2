//! Loops and branches: by hand at their edges, then in random programs.

mod support;

use support::{Case, FLOATS, INTEGERS, Random, bytes, targets};
use tvmc_cpu::Target;
use tvmc_ir::lane::{
    Access, Builder, Mem, MemoryOp, Op, Place, Pure, Reduce, Scalar, Sign, Table, Type, Uniformity, Value,
    parse,
};

#[test]
fn for_loops_at_the_edges_of_i32() {
    let (least, most) = (i32::MIN, i32::MAX);
    let all = targets();
    assert_eq!(all[0], Target::Cranelift);
    let ranges = [
        (0, 10, 1),
        (0, 10, 3),
        (5, 5, 1),
        (7, 3, 2),
        (-4, 3, 2),
        (most - 5, most, 2),
        (most - 5, most, most),
        (least, least + 7, 3),
        (least, most, most),
        (least, most, 1 << 30),
        (0, most, most),
        (most, most, 1),
    ];
    for (from, to, step) in ranges {
        let text = format!(
            "kernel @count lanes 6 {{
               buffer b0 \"y\" write
               scalar v0: u.i32 \"from\"
               scalar v1: u.i32 \"to\"
               v2: u.i32 = const.i32 0
               v3: v.i32 = lane_index
               v4: u.i32 = const.i32 1
               v9: u.i32 = const.i32 9
               (v10: u.i32, v11: v.i32, v12: v.i32) = for v5: u.i32 in v0..v1 step {step}
                   carry (v6: u.i32 = v2, v7: v.i32 = v3, v8: v.i32 = v3) {{
                 v13: u.i32 = iadd v6, v4
                 v14: v.i32 = splat v5
                 v15: v.i32 = iadd v7, v14
                 yield v13, v8, v15
               }}
               v16: u.i64 = const.i64 0
               v17: u.i64 = const.i64 1
               v18: u.i64 = const.i64 7
               store.uniform.i32 b0[v16], v10
               store.contig.i32 b0[v17], v11
               store.contig.i32 b0[v18], v12
             }}"
        );
        let case = Case {
            function: parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")),
            grid: [1, 1, 1],
            buffers: vec![vec![0; 52]],
            scalars: vec![u64::from(from as u32), u64::from(to as u32)],
            floats: Vec::new(),
        };
        // Lane IR wants `to + step` not to overflow; the portable backend does without that promise.
        let promised = to.checked_add(step).is_some();
        case.check_on(if promised { &all } else { &all[..1] });
    }
}

#[test]
fn do_while_and_if_give_values() {
    for n in [0u64, 1, 2, 9, 100] {
        let mut b = Builder::new("collatz", 5);
        let y = b.buffer("y", Access::Write);
        let n_value = b.scalar("n", Scalar::I32);
        let zero = b.i32(0);
        let one = b.i32(1);
        let lane = b.lane_index();
        let start = b.pure(Pure::IAdd, &[n_value, one]);
        let params = b.begin_loop(&[start, zero, lane]);
        let odd = b.pure(Pure::IAnd, &[params[0], one]);
        let odd = b.pure(Pure::IEq, &[odd, one]);
        b.begin_if(odd);
        let three = b.i32(3);
        let up = b.pure(Pure::IMul, &[params[0], three]);
        let up = b.pure(Pure::IAdd, &[up, one]);
        let spread = b.splat(up);
        let sum = b.pure(Pure::IAdd, &[params[2], spread]);
        b.begin_else(&[up, sum]);
        let down = b.pure(Pure::ShrU, &[params[0], one]);
        let both = b.end_if(&[down, params[2]]);
        let steps = b.pure(Pure::IAdd, &[params[1], one]);
        let again = b.pure(Pure::ILtS, &[one, both[0]]);
        let results = b.end_loop(again, &[both[0], steps, both[1]]);
        let at = [b.i64(0), b.i64(1), b.i64(2)];
        b.store(MemoryOp::StoreUniform, Mem::I32, Place::Buffer(y), at[0], None, results[0], None);
        b.store(MemoryOp::StoreUniform, Mem::I32, Place::Buffer(y), at[1], None, results[1], None);
        b.store(MemoryOp::StoreContig, Mem::I32, Place::Buffer(y), at[2], None, results[2], None);
        Case {
            function: b.finish(),
            grid: [1, 1, 1],
            buffers: vec![vec![0; 28]],
            scalars: vec![n],
            floats: Vec::new(),
        }
        .check();
    }
}

#[test]
fn deep_nesting_compiles() {
    let mut b = Builder::new("deep", 4);
    let y = b.buffer("y", Access::Write);
    let on = b.scalar("on", Scalar::Bool);
    let one = b.i32(1);
    let zero = b.i32(0);
    let mut value = zero;
    for _ in 0..200 {
        b.begin_if(on);
        value = b.pure(Pure::IAdd, &[value, one]);
    }
    for _ in 0..200 {
        b.begin_else(&[value]);
        value = b.end_if(&[zero])[0];
    }
    let base = b.i64(0);
    b.store(MemoryOp::StoreUniform, Mem::I32, Place::Buffer(y), base, None, value, None);
    let function = b.finish();
    for on in [0, 1] {
        Case {
            function: function.clone(),
            grid: [1, 1, 1],
            buffers: vec![vec![0; 4]],
            scalars: vec![on],
            floats: Vec::new(),
        }
        .check();
    }
}

/// Words that programs may load.
const INPUT: u32 = 256;

/// Grows a program from random numbers. Every value in `scope` may be used.
struct Grower {
    b: Builder,
    random: Random,
    scope: Vec<Value>,
    input: Place,
    table: Table,
    bytes: Table,
    budget: u32,
}

impl Grower {
    fn scalar(&mut self) -> Scalar {
        [Scalar::F32, Scalar::I32, Scalar::I32, Scalar::Bool][self.random.below(4) as usize]
    }

    fn ty(&mut self) -> Type {
        let scalar = self.scalar();
        if self.random.below(3) == 0 { Type::uniform(scalar) } else { Type::varying(scalar) }
    }

    /// A value of this type: one in scope, or a new constant.
    fn pick(&mut self, ty: Type) -> Value {
        let fitting: Vec<Value> = self.scope.iter().copied().filter(|&v| self.b.ty(v) == ty).collect();
        if !fitting.is_empty() && self.random.below(8) > 0 {
            // Recent values more often, so that chains grow.
            let count = fitting.len() as u64;
            let back = self.random.below(count).min(self.random.below(count));
            return fitting[(count - 1 - back) as usize];
        }
        let number = self.random.next();
        let uniform = match ty.scalar {
            Scalar::F32 => self.b.f32(FLOATS[number as usize % FLOATS.len()]),
            Scalar::I32 if ty.is_varying() && number.is_multiple_of(4) => return self.b.lane_index(),
            Scalar::I32 => self.b.i32(INTEGERS[number as usize % INTEGERS.len()].cast_signed()),
            Scalar::I64 => self.b.i64(number.cast_signed()),
            Scalar::Bool => self.b.bool(number.is_multiple_of(2)),
        };
        if ty.is_varying() { self.b.splat(uniform) } else { uniform }
    }

    /// An index that leaves room for 32 more elements and all lanes.
    fn index(&mut self) -> Value {
        let word = self.pick(Type::uniform(Scalar::I32));
        let mask = self.b.i32(127);
        let word = self.b.pure(Pure::IAnd, &[word, mask]);
        self.b.pure(Pure::U32ToI64, &[word])
    }

    fn row(&mut self) -> Value {
        let op = Pure::ALL[self.random.below(Pure::ALL.len() as u64) as usize];
        let info = op.info();
        let wide =
            info.args.iter().chain([&info.result]).any(|slot| *slot == tvmc_ir::lane::Slot::Is(Scalar::I64));
        let same = self.scalar();
        let varying = !wide && self.random.below(3) > 0;
        let uniformity = if varying { Uniformity::Varying } else { Uniformity::Uniform };
        let args: Vec<Value> = info
            .args
            .iter()
            .map(|slot| {
                let scalar = match slot {
                    tvmc_ir::lane::Slot::Is(scalar) => *scalar,
                    tvmc_ir::lane::Slot::Same => same,
                };
                self.pick(Type { scalar, uniformity })
            })
            .collect();
        let result = self.b.pure(op, &args);
        self.tame(op, result)
    }

    /// A NaN's bits are not defined: where a row lets them be seen, they are cut off.
    fn tame(&mut self, op: Pure, value: Value) -> Value {
        match op {
            Pure::F32Bits | Pure::F32ToF16 | Pure::F32ToBf16 => {
                let zero = self.b.i32(0);
                let zero = if self.b.ty(value).is_varying() { self.b.splat(zero) } else { zero };
                self.b.pure(Pure::IMul, &[value, zero])
            }
            _ => value,
        }
    }

    fn load(&mut self) -> Value {
        let index = self.index();
        let mem = Mem::ALL[self.random.below(8) as usize];
        let form = [MemoryOp::LoadUniform, MemoryOp::LoadContig, MemoryOp::Gather];
        let form = form[self.random.below(3) as usize];
        let uniform = form == MemoryOp::LoadUniform;
        let mask = (self.random.below(3) == 0).then(|| {
            self.pick(if uniform { Type::uniform(Scalar::Bool) } else { Type::varying(Scalar::Bool) })
        });
        let offset = (form == MemoryOp::Gather).then(|| {
            let word = self.pick(Type::varying(Scalar::I32));
            let mask = self.b.i32(31);
            let mask = self.b.splat(mask);
            self.b.pure(Pure::IAnd, &[word, mask])
        });
        self.b.load(form, mem, self.input, index, offset, mask)
    }

    fn across(&mut self) -> Value {
        let words = Type::varying(Scalar::I32);
        let scalar = self.scalar();
        let value = self.pick(Type::varying(scalar));
        match self.random.below(7) {
            0 => {
                let reduce = Reduce::ALL[self.random.below(13) as usize];
                let value = self.pick(Type::varying(reduce.scalar()));
                self.b.reduce(reduce, value)
            }
            1 => {
                let lane = self.pick(Type::uniform(Scalar::I32));
                self.b.inst(Op::Extract, &[value, lane]).unwrap()
            }
            2 => {
                let source = self.pick(words);
                self.b.inst(Op::Shuffle, &[value, source]).unwrap()
            }
            3 => {
                let index = self.pick(words);
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
                let args = [self.pick(words), self.pick(words)];
                self.b.inst(Op::Unpack { bits, offset, sign: Sign::Signed }, &args).unwrap()
            }
            5 => {
                let bits = 1 + self.random.below(8) as u8;
                let op = Op::LoadUnpack { place: self.input, bits, sign: Sign::Unsigned };
                let base = self.index();
                self.b.inst(op, &[base]).unwrap()
            }
            _ => {
                let uniform = self.pick(Type::uniform(scalar));
                self.b.splat(uniform)
            }
        }
    }

    /// A nested region, then values of these types from its end.
    fn body(&mut self, depth: u32, start: &[Value], types: &[Type]) -> Vec<Value> {
        let scope = self.scope.len();
        self.scope.extend(start);
        let size = 1 + self.random.below(9);
        self.region(depth + 1, size);
        let yields = types.iter().map(|&ty| self.pick(ty)).collect();
        self.scope.truncate(scope);
        yields
    }

    fn control(&mut self, depth: u32) {
        let types: Vec<Type> = (0..self.random.below(5)).map(|_| self.ty()).collect();
        let mut initials: Vec<Value> = types.iter().map(|&ty| self.pick(ty)).collect();
        let results = match self.random.below(3) {
            0 => {
                let from = self.b.i32(-2);
                let bound = self.pick(Type::uniform(Scalar::I32));
                let mask = self.b.i32(3);
                let to = self.b.pure(Pure::IAnd, &[bound, mask]);
                let step = 1 + self.random.below(3) as u32;
                let (counter, mut params) = self.b.begin_for(from, to, step, &initials);
                params.push(counter);
                let yields = self.body(depth, &params, &types);
                self.b.end_for(&yields)
            }
            1 => {
                initials.push(self.b.i32(0));
                let params = self.b.begin_loop(&initials);
                let mut yields = self.body(depth, &params, &types);
                let one = self.b.i32(1);
                let bound = self.b.i32(self.random.below(4) as i32);
                let next = self.b.pure(Pure::IAdd, &[params[types.len()], one]);
                let again = self.b.pure(Pure::ILtS, &[next, bound]);
                yields.push(next);
                self.b.end_loop(again, &yields)
            }
            _ => {
                let condition = self.pick(Type::uniform(Scalar::Bool));
                self.b.begin_if(condition);
                let yields = self.body(depth, &[], &types);
                self.b.begin_else(&yields);
                let yields = self.body(depth, &[], &types);
                self.b.end_if(&yields)
            }
        };
        self.scope.extend(results);
    }

    fn region(&mut self, depth: u32, size: u64) {
        for _ in 0..size {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            match self.random.below(16) {
                0..=8 => {
                    let value = self.row();
                    self.scope.push(value);
                }
                9..=10 => {
                    let value = self.load();
                    self.scope.push(value);
                }
                11..=13 => {
                    let value = self.across();
                    self.scope.push(value);
                }
                _ if depth < 3 => self.control(depth),
                _ => {}
            }
        }
    }
}

fn random_program(seed: u64, lanes: u32, size: u32) -> Case {
    let mut random = Random(seed);
    let mut b = Builder::new(&format!("random{seed}"), lanes);
    let input = b.buffer("input", Access::Read);
    // No NaN comes from memory, whose bits `f32_bits` and 8-bit loads could tell apart; made ones may.
    let content = (0..INPUT + lanes).map(|at| match at % 3 {
        0 => FLOATS[random.below(27) as usize].to_bits(),
        1 => random.next() as u32 & 0x3fff_ffff,
        _ => INTEGERS[random.below(18) as usize] & 0xbf3f_bf3f,
    });
    let content = bytes(content);
    let table = b.table(Scalar::I32, (0..23).map(|at| at * at * 77).collect());
    let length = [16, 23, 64, 100, 256][random.below(5) as usize];
    let octets = b.table(Scalar::I32, (0..length).map(|at| (at * 77) & 0xff).collect());
    let scalars = [Scalar::F32, Scalar::I32, Scalar::I64, Scalar::Bool].map(|s| b.scalar(s.name(), s));
    let mut grower = Grower {
        b,
        random,
        scope: scalars.to_vec(),
        input: Place::Buffer(input),
        table,
        bytes: octets,
        budget: size,
    };
    for axis in 0..3 {
        for op in [Op::BlockIndex(axis), Op::BlockCount(axis)] {
            let value = grower.b.inst(op, &[]).unwrap();
            grower.scope.push(value);
        }
    }
    grower.region(0, u64::from(size));

    // Every value still in scope is stored, block after block, so many live long.
    let Grower { mut b, scope, .. } = grower;
    let grid = [2, 1, 2];
    let mut buffers = vec![content];
    let mut floats = Vec::new();
    let x = b.block_index(0);
    let z = b.block_index(2);
    let two = b.i32(2);
    let block = b.pure(Pure::IMul, &[z, two]);
    let block = b.pure(Pure::IAdd, &[block, x]);
    let step = b.i32(lanes.cast_signed());
    let base = b.pure(Pure::IMul, &[block, step]);
    let base = b.pure(Pure::I32ToI64, &[base]);
    for value in scope {
        let (value, mem) = match b.ty(value).scalar {
            Scalar::F32 => (value, Mem::F32),
            Scalar::I32 => (value, Mem::I32),
            Scalar::I64 => (b.pure(Pure::I64ToI32, &[value]), Mem::I32),
            Scalar::Bool => (b.pure(Pure::BoolToI32, &[value]), Mem::I32),
        };
        if mem == Mem::F32 {
            floats.push(buffers.len());
        }
        let place = Place::Buffer(b.buffer(&format!("y{}", buffers.len()), Access::Write));
        buffers.push(vec![0; 4 * 4 * lanes as usize]);
        let form = if b.ty(value).is_varying() { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
        b.store(form, mem, place, base, None, value, None);
    }
    let scalars = vec![0x4049_0fdb, 0xffff_ff85, 1 << 35, 1];
    Case { function: b.finish(), grid, buffers, scalars, floats }
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match variable("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SEEDS").unwrap_or(120),
    };
    for seed in seeds {
        let lanes = [16, 8, 1, 17, 32, 48, 5][seed as usize % 7];
        random_program(seed, lanes, 20 + 30 * (seed as u32 % 8)).check();
    }
}
