//! Random programs over integers: every operation whose result is exact, under loops and branches with carried values.

use tvmc_ir::lane::{Access, Builder, Function, Mem, MemoryOp, Place, Pure, Reduce, Scalar, Slot, Value};

use crate::gpu;
use crate::harness::{Case, Numbers, bytes_of, same};

struct Generator {
    b: Builder,
    numbers: Numbers,
    /// Values in scope: all integers, uniform and varying apart.
    uniform: Vec<Value>,
    varying: Vec<Value>,
}

impl Generator {
    fn pick(&mut self, varying: bool) -> Value {
        let pool = if varying { &self.varying } else { &self.uniform };
        // recent values more often, so that chains grow
        let last = pool.len() as u32 - 1;
        let back = self.numbers.below(8).min(last);
        let at = if self.numbers.below(3) == 0 { self.numbers.below(last + 1) } else { last - back };
        pool[at as usize]
    }

    fn push(&mut self, value: Value) {
        if self.b.ty(value).is_varying() { self.varying.push(value) } else { self.uniform.push(value) }
    }

    /// One operation on integers; bools exist only between two operations.
    fn operation(&mut self, depth: u32) {
        let varying = self.numbers.below(3) > 0;
        let rows: Vec<Pure> = Pure::ALL
            .iter()
            .copied()
            .filter(|op| {
                let info = op.info();
                let integer = |s: &Slot| *s == Slot::Is(Scalar::I32);
                info.args.iter().all(integer)
                    && (integer(&info.result) || info.result == Slot::Is(Scalar::Bool))
            })
            .collect();
        match self.numbers.below(if depth < 3 { 22 } else { 16 }) {
            0..=12 => {
                let op = rows[self.numbers.below(rows.len() as u32) as usize];
                let args: Vec<Value> = op.info().args.iter().map(|_| self.pick(varying)).collect();
                let result = self.b.pure(op, &args);
                if self.b.ty(result).scalar == Scalar::Bool {
                    let (x, y) = (self.pick(varying), self.pick(varying));
                    let chosen = self.b.pure(Pure::Select, &[result, x, y]);
                    self.push(chosen);
                } else {
                    self.push(result);
                }
            }
            13 => {
                let value = self.pick(true);
                let all = [Reduce::IAdd, Reduce::IMinS, Reduce::IMaxU, Reduce::IXor, Reduce::IAnd];
                let reduce = all[self.numbers.below(5) as usize];
                let result = self.b.reduce(reduce, value);
                self.push(result);
            }
            14 => {
                let (value, source) = (self.pick(true), self.pick(true));
                let result = self.b.inst(tvmc_ir::lane::Op::Shuffle, &[value, source]).unwrap();
                self.push(result);
            }
            15 => {
                let value = self.pick(false);
                let result = self.b.splat(value);
                self.push(result);
            }
            16..=17 => {
                let (x, y) = (self.pick(false), self.pick(false));
                let condition = self.b.pure(Pure::ILtU, &[x, y]);
                let scope = (self.uniform.len(), self.varying.len());
                self.b.begin_if(condition);
                let then = self.body(depth);
                self.restore(scope);
                self.b.begin_else(&then);
                let otherwise = self.body(depth);
                self.restore(scope);
                let results = self.b.end_if(&otherwise);
                results.into_iter().for_each(|r| self.push(r));
            }
            18..=19 => {
                let from = self.b.i32(0);
                let to = self.b.i32(self.numbers.below(5) as i32 - 1);
                let initials = [self.pick(false), self.pick(true)];
                let scope = (self.uniform.len(), self.varying.len());
                let step = 1 + self.numbers.below(2);
                let (counter, params) = self.b.begin_for(from, to, step, &initials);
                self.push(counter);
                params.into_iter().for_each(|p| self.push(p));
                let yields = self.body(depth);
                self.restore(scope);
                let results = self.b.end_for(&yields);
                results.into_iter().for_each(|r| self.push(r));
            }
            _ => {
                let limit = self.b.i32(1 + self.numbers.below(4) as i32);
                let zero = self.b.i32(0);
                let initials = [self.pick(false), self.pick(true), zero];
                let scope = (self.uniform.len(), self.varying.len());
                let params = self.b.begin_loop(&initials);
                params.iter().for_each(|p| self.push(*p));
                let mut yields = self.body(depth);
                let one = self.b.i32(1);
                let count = self.b.pure(Pure::IAdd, &[params[2], one]);
                let again = self.b.pure(Pure::ILtS, &[count, limit]);
                yields.push(count);
                self.restore(scope);
                let results = self.b.end_loop(again, &yields);
                results.into_iter().for_each(|r| self.push(r));
            }
        }
    }

    /// A few operations; gives one uniform and one varying value to yield.
    fn body(&mut self, depth: u32) -> Vec<Value> {
        for _ in 0..3 + self.numbers.below(5) {
            self.operation(depth + 1);
        }
        vec![self.pick(false), self.pick(true)]
    }

    fn restore(&mut self, (uniform, varying): (usize, usize)) {
        self.uniform.truncate(uniform);
        self.varying.truncate(varying);
    }
}

fn program(seed: u64, lanes: u32) -> Function {
    let mut b = Builder::new(&format!("random {seed}"), lanes);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let block = b.block_index(0);
    let width = b.i32(lanes as i32);
    let first = b.pure(Pure::IMul, &[block, width]);
    let base = b.pure(Pure::I32ToI64, &[first]);
    let x = b.load(MemoryOp::LoadContig, Mem::I32, input, base, None, None);
    let u = b.load(MemoryOp::LoadUniform, Mem::I32, input, base, None, None);
    let lane = b.lane_index();
    let mut generator =
        Generator { b, numbers: Numbers(seed), uniform: vec![block, u, width], varying: vec![x, lane] };
    for _ in 0..24 {
        generator.operation(0);
    }
    let Generator { mut b, uniform, varying, .. } = generator;
    // everything still in scope is observed through one hash per lane
    let mut hash = lane;
    let factor = b.i32(0x0100_0193);
    let factor = b.splat(factor);
    for value in uniform.into_iter().chain(varying) {
        let value = b.splat(value);
        let mixed = b.pure(Pure::IXor, &[hash, value]);
        hash = b.pure(Pure::IMul, &[mixed, factor]);
    }
    b.store(MemoryOp::StoreContig, Mem::I32, out, base, None, hash, None);
    b.finish()
}

#[test]
fn random_programs() {
    let device = gpu!();
    for seed in 0..40 {
        let lanes = [1, 3, 8, 16, 32][seed as usize % 5];
        let mut numbers = Numbers(seed + 1000);
        let words: Vec<u32> = (0..3 * lanes).map(|_| numbers.word() >> numbers.below(32)).collect();
        let case = Case {
            grid: [3, 1, 1],
            buffers: vec![bytes_of(&words), vec![0; 12 * lanes as usize]],
            scalars: &[],
        };
        same(device, program(seed, lanes), &case);
    }
}
