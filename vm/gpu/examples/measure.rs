use std::time::Instant;
use tvmc_gpu::GpuDevice;
use tvmc_ir::lane::*;
fn stream(lanes: u32, unroll: u32) -> Verified {
    let mut b = Builder::new("stream", lanes);
    let x = Place::Buffer(b.buffer("x", Access::Read));
    let y = Place::Buffer(b.buffer("y", Access::Write));
    let steps = b.scalar("steps", Scalar::I32);
    let block = b.block_index(0);
    let wide = b.pure(Pure::I32ToI64, &[block]);
    let s = b.pure(Pure::I32ToI64, &[steps]);
    let w = b.i64(i64::from(lanes * unroll));
    let base = b.pure(Pure::LMul, &[wide, s]);
    let base = b.pure(Pure::LMul, &[base, w]);
    let zero = b.i32(0);
    let zero_v = b.splat(zero);
    let (c, p) = b.begin_for(zero, steps, 1, &[zero_v]);
    let c = b.pure(Pure::I32ToI64, &[c]);
    let mut acc = p[0];
    for u in 0..unroll {
        let at = b.pure(Pure::LMul, &[c, w]);
        let at = b.pure(Pure::LAdd, &[at, base]);
        let o = b.i64(i64::from(u * lanes));
        let at = b.pure(Pure::LAdd, &[at, o]);
        let v = b.load(MemoryOp::LoadContig, Mem::I32, x, at, None, None);
        acc = b.pure(Pure::IXor, &[acc, v]);
    }
    let r = b.end_for(&[acc]);
    let total = b.reduce(Reduce::IXor, r[0]);
    b.store(MemoryOp::StoreUniform, Mem::I32, y, wide, None, total, None);
    verify(b.finish()).unwrap()
}
fn main() {
    let t = Instant::now();
    let d = GpuDevice::open(std::env::args().nth(1).as_deref()).unwrap();
    println!("open {:?} {:?} {:?}", t.elapsed(), d.info(), d.limits());
    let t = Instant::now();
    drop(GpuDevice::open(None).unwrap());
    println!("open again {:?}", t.elapsed());
    let soft = d.info().kind == tvmc_gpu::GpuKind::Software;
    let bytes: u64 = if soft { 32 << 20 } else { 1 << 30 };
    let x = d.buffer(bytes).unwrap();
    let y = d.buffer(16 << 20).unwrap();
    let t = Instant::now();
    let data = vec![1u8; bytes as usize];
    d.upload(&x, 0, &data).unwrap();
    d.wait().unwrap();
    println!("upload {:.2} GB/s", bytes as f64 / t.elapsed().as_secs_f64() / 1e9);
    let t = Instant::now();
    let mut back = vec![0; (bytes / 4) as usize];
    d.download(&x, 0, &mut back).unwrap();
    println!("download {:.2} GB/s", bytes as f64 / 4.0 / t.elapsed().as_secs_f64() / 1e9);
    for (lanes, unroll) in [(32, 1), (32, 8), (128, 4), (256, 4), (256, 8)] {
        let t = Instant::now();
        let k = d.compile(&stream(lanes, unroll)).unwrap();
        let compile = t.elapsed();
        let steps = 16;
        let blocks = (bytes / 4 / u64::from(lanes * unroll) / steps) as u32;
        let n = if soft { 3 } else { 20 };
        let mut best = f64::MAX;
        for _ in 0..5 {
            let t = Instant::now();
            let mut c = d.commands();
            for _ in 0..n {
                c.dispatch(&k, [blocks, 1, 1], &[x.all(), y.all()], &[steps]).unwrap();
            }
            c.submit().unwrap().wait().unwrap();
            best = best.min(t.elapsed().as_secs_f64() / n as f64);
        }
        println!(
            "stream lanes {lanes} unroll {unroll}: {:.0} GB/s, compile {compile:?}",
            bytes as f64 / best / 1e9
        );
    }
    let k = d.compile(&stream(32, 1)).unwrap();
    for n in [1, 100, 1000] {
        let mut best = (f64::MAX, f64::MAX);
        for _ in 0..10 {
            let t = Instant::now();
            let mut c = d.commands();
            for _ in 0..n {
                c.dispatch(&k, [1, 1, 1], &[x.all(), y.all()], &[1]).unwrap();
            }
            let s = c.submit().unwrap();
            let host = t.elapsed().as_secs_f64();
            s.wait().unwrap();
            best = (best.0.min(host), best.1.min(t.elapsed().as_secs_f64()));
        }
        println!(
            "{n} dependent dispatches: host {:.2} us each, total {:.2} us each",
            best.0 / n as f64 * 1e6,
            best.1 / n as f64 * 1e6
        );
    }
    for sample in tvmc_interp::samples::kernels() {
        let t = Instant::now();
        let k = d.compile(&sample.function().unwrap()).unwrap();
        println!("{}: compile {:?} wgsl {} bytes", sample.name, t.elapsed(), k.source().len());
    }
    let s = tvmc_interp::samples::linear_u3_q8(64, 4, 1);
    for lanes in [16, 32, 64, 128] {
        let mut f = s.function().unwrap().into_inner();
        f.lanes = lanes;
        let k = d.compile(&verify(f).unwrap()).unwrap();
        let (n, groups) = if soft { (1024, 16) } else { (1u32 << 17, 128u64) };
        let wbytes = u64::from(n) / 16 * groups * 224;
        let w = d.buffer(wbytes * 2).unwrap();
        let v = d.buffer(1 << 20).unwrap();
        let (v1, v2) = (d.buffer(1 << 20).unwrap(), d.buffer(1 << 20).unwrap());
        let reps = if soft { 3 } else { 20 };
        let mut best = f64::MAX;
        for _ in 0..5 {
            let t = Instant::now();
            let mut c = d.commands();
            for _ in 0..reps {
                c.dispatch(
                    &k,
                    [n / (4 * lanes), 1, 1],
                    &[w.all(), v.all(), v1.all(), v2.all(), y.all()],
                    &[groups, u64::from(n)],
                )
                .unwrap();
            }
            c.submit().unwrap().wait().unwrap();
            best = best.min(t.elapsed().as_secs_f64() / f64::from(reps));
        }
        let b = f64::from(n) * groups as f64 * 12.0;
        println!("u3 lanes {lanes}: {:.1} us, {:.0} GB/s of codes", best * 1e6, b / best / 1e9);
    }
}
