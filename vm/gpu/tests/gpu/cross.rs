//! Reductions, shuffles and extraction for widths below, at and above the subgroup size of any device; the samples.

use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Op, Place, Pure, Reduce, Scalar};

use crate::gpu;
use crate::harness::{Case, Numbers, both, bytes_of, same};

#[test]
fn reductions() {
    let device = gpu!();
    for lanes in [1u32, 2, 3, 5, 8, 16, 31, 32, 33, 64, 100, 128, 256] {
        let mut b = Builder::new("reduce", lanes);
        let input = Place::Buffer(b.buffer("in", Access::Read));
        let out = Place::Buffer(b.buffer("out", Access::Write));
        let zero = b.i64(0);
        let floats = b.i64(i64::from(lanes));
        let i = b.load(MemoryOp::LoadContig, Mem::I32, input, zero, None, None);
        let f = b.load(MemoryOp::LoadContig, Mem::F32, input, floats, None, None);
        let one = b.i32(1);
        let one = b.splat(one);
        let bit = b.pure(Pure::IAnd, &[i, one]);
        let t = b.pure(Pure::IEq, &[bit, one]);
        let mut at = 0;
        for reduce in Reduce::ALL {
            let value = match reduce.scalar() {
                Scalar::F32 => f,
                Scalar::Bool => t,
                Scalar::I32 | Scalar::I64 => i,
            };
            let value = b.reduce(reduce, value);
            let (value, mem) = match reduce.scalar() {
                Scalar::F32 => (value, Mem::F32),
                Scalar::Bool => (b.pure(Pure::BoolToI32, &[value]), Mem::I32),
                Scalar::I32 | Scalar::I64 => (value, Mem::I32),
            };
            let base = b.i64(at);
            b.store(MemoryOp::StoreUniform, mem, out, base, None, value, None);
            at += 1;
        }
        // a loop of reductions, to see that the scratch may be used again at once (in integers, since a driver may
        // reorder a chain of float operations)
        let (from, to) = (b.i32(0), b.i32(5));
        let (_, params) = b.begin_for(from, to, 1, &[from, i]);
        let sum = b.reduce(Reduce::IAdd, params[1]);
        let next = b.splat(sum);
        let mixed = b.pure(Pure::IXor, &[params[1], next]);
        let lane = b.lane_index();
        let turned = b.pure(Pure::IMul, &[mixed, lane]);
        let results = b.end_for(&[sum, turned]);
        let base = b.i64(at);
        b.store(MemoryOp::StoreUniform, Mem::I32, out, base, None, results[0], None);
        let function = b.finish();
        for seed in 0..3u64 {
            let mut numbers = Numbers(seed);
            let mut words: Vec<u32> = (0..lanes).map(|_| numbers.word()).collect();
            if seed == 1 {
                words.iter_mut().for_each(|w| *w |= 1);
            } else if seed == 2 {
                words.iter_mut().for_each(|w| *w &= !1);
            }
            words.extend((0..lanes).map(|_| numbers.float().to_bits()));
            let case = Case {
                grid: [1, 1, 1],
                buffers: vec![bytes_of(&words), vec![0; 4 * (at as usize + 1)]],
                scalars: &[],
            };
            same(device, function.clone(), &case);
        }
    }
}

#[test]
fn shuffles() {
    let device = gpu!();
    for lanes in [1u32, 3, 8, 16, 32, 33, 100] {
        let mut b = Builder::new("shuffle", lanes);
        let input = Place::Buffer(b.buffer("in", Access::Read));
        let out = Place::Buffer(b.buffer("out", Access::Write));
        let zero = b.i64(0);
        let floats = b.i64(i64::from(lanes));
        let i = b.load(MemoryOp::LoadContig, Mem::I32, input, zero, None, None);
        let f = b.load(MemoryOp::LoadContig, Mem::F32, input, floats, None, None);
        let lane = b.lane_index();
        let t = b.pure(Pure::ILtS, &[i, lane]);
        let one = b.i32(1);
        let ones = b.splat(one);
        let up = b.pure(Pure::ISub, &[lane, ones]);
        let wild = i;
        let mut at = 0;
        for source in [up, wild] {
            for value in [i, f, t] {
                let moved = b.inst(Op::Shuffle, &[value, source]).unwrap();
                let scalar = b.load(MemoryOp::LoadUniform, Mem::I32, input, zero, None, None);
                let picked = b.inst(Op::Extract, &[value, scalar]).unwrap();
                let picked = b.splat(picked);
                for value in [moved, picked] {
                    let (value, mem) = match b.ty(value).scalar {
                        Scalar::F32 => (value, Mem::F32),
                        Scalar::Bool => (b.pure(Pure::BoolToI32, &[value]), Mem::I32),
                        Scalar::I32 | Scalar::I64 => (value, Mem::I32),
                    };
                    let base = b.i64(at * i64::from(lanes));
                    b.store(MemoryOp::StoreContig, mem, out, base, None, value, None);
                    at += 1;
                }
            }
        }
        let mut numbers = Numbers(u64::from(lanes));
        let words: Vec<u32> = (0..2 * lanes).map(|_| numbers.float().to_bits()).collect();
        let case = Case {
            grid: [1, 1, 1],
            buffers: vec![bytes_of(&words), vec![0; 4 * at as usize * lanes as usize]],
            scalars: &[],
        };
        same(device, b.finish(), &case);
    }
}

/// The sample kernels (matrix products, 3-bit linear layer, softmax, transposition) against their own references.
#[test]
fn samples() {
    let device = gpu!();
    for sample in tvmc_interp::samples::kernels() {
        let function = sample.function().unwrap_or_else(|e| panic!("{e}"));
        let case = Case { grid: sample.grid, buffers: sample.buffers.clone(), scalars: &sample.scalars };
        let result = both(device, &function, &case);
        sample.check(&result.gpu).unwrap_or_else(|e| panic!("{e}"));
    }
}
