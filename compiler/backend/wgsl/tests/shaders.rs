//! What needs no device: the text, its validity for every operation, the limits, the report and the parameter block.
//! That the shaders compute the right values is tested in `vm/gpu`.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use tvmc_backend_wgsl::report::decode;
use tvmc_backend_wgsl::{BindingKind, BufferMode, Error, Limits, Shader, compile, compile_with};
use tvmc_ir::lane::{
    Access, Builder, Function, Mem, MemoryOp, Op, Place, Pure, Reduce, Scalar, Sign, Slot, Verified, parse,
    verify,
};

const AXPY: &str = r#"
kernel @axpy lanes 16 {
  buffer b0 "x" read
  buffer b1 "y" readwrite
  scalar v0: u.i32 "n"
  scalar v1: u.f32 "a"
  v2: u.i32 = block_index.x
  v3: u.i32 = const.i32 16
  v4: u.i32 = imul v2, v3
  v5: v.i32 = lane_index
  v6: v.i32 = splat v4
  v7: v.i32 = iadd v5, v6
  v8: v.i32 = splat v0
  v9: v.bool = ilt_s v7, v8
  v10: u.i64 = i32_to_i64 v4
  v11: v.f32 = load.contig.f32 b0[v10] mask v9
  v12: v.f32 = load.contig.f32 b1[v10] mask v9
  v13: v.f32 = splat v1
  v14: v.f32 = fma v13, v11, v12
  store.contig.f32 b1[v10], v14 mask v9
}
"#;

const AXPY_MAIN: &str = "  let v2 = block_x;
  let v3 = 16u;
  let v4 = v2 * v3;
  let v5 = lane;
  let v7 = v5 + v4;
  let v9 = i32(v7) < i32(v0);
  let v10 = vec2<u32>(v4, u32(i32(v4) >> 31u));
  var v11: f32;
  if (v9) {
    v11 = bitcast<f32>(b0[v10.x + lane + b0_words]);
  }
  var v12: f32;
  if (v9) {
    v12 = bitcast<f32>(b1[v10.x + lane + b1_words]);
  }
  let v14 = fma(v1, v11, v12);
  if (v9) {
    b1[v10.x + lane + b1_words] = bitcast<u32>(v14);
  }
}
";

/// A device like a desktop GPU.
fn desktop() -> Limits {
    Limits {
        invocations: 1024,
        workgroup_bytes: 48 << 10,
        storage_bindings: 32,
        binding_bytes: 1 << 31,
        fused_fma: true,
        ..Limits::default()
    }
}

fn verified(function: Function) -> Verified {
    verify(function).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn shader(function: Function) -> Shader {
    compile(&verified(function), &desktop()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn text_reads_like_lane_code() {
    let function = verified(parse(AXPY).unwrap());
    let shader = compile(&function, &desktop()).unwrap();
    assert!(shader.source.ends_with(AXPY_MAIN), "{}", shader.source);
    assert!(shader.source.contains("@binding(1) var<storage, read> b0: array<u32>;"));
    assert!(shader.source.contains("@binding(2) var<storage, read_write> b1: array<u32>;"));
    assert_eq!((shader.workgroup_size, shader.workgroup_bytes), (16, 0));
    assert_eq!(shader.alignments, [4, 4]);
    assert_eq!(shader.binding(BindingKind::Buffer(1)).map(|b| (b.index, b.writable)), Some((2, true)));

    let writable = compile_with(&function, &desktop(), BufferMode::AllWritable).unwrap();
    assert!(writable.source.contains("@binding(1) var<storage, read_write> b0: array<u32>;"));
    // a device that rounds twice gets the integer form
    let exact = compile(&function, &Limits::default()).unwrap();
    assert!(exact.source.contains("let v14 = fma_exact(v1, v11, v12);"));
}

/// Every operation in one function: each row, memory form, width, reduction.
fn everything(lanes: u32) -> Function {
    let mut b = Builder::new("everything \n } @compute", lanes);
    let buffers: Vec<Place> =
        (0..3).map(|at| Place::Buffer(b.buffer(&format!("b{at}"), Access::ReadWrite))).collect();
    let message =
        b.message(tvmc_ir::lane::Message { text: "{} {} {} {}".to_owned(), location: String::new() });
    let block = b.block_index(2);
    let wide = b.pure(Pure::U32ToI64, &[block]);
    let lane = b.lane_index();
    let float = b.pure(Pure::F32FromBits, &[block]);
    let truth = b.pure(Pure::IEq, &[block, block]);
    let varying_truth = b.pure(Pure::IEq, &[lane, lane]);
    let varying_float = b.splat(float);
    for bits in [
        0,
        1,
        0x8000_0000,
        0x3f80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0x0000_0001,
        0x7f7f_ffff,
        0x0080_0000,
    ] {
        b.inst(Op::ConstF32(bits), &[]);
    }
    for value in [0, -1, i64::MIN, i64::MAX] {
        b.i64(value);
        b.i32(value as i32);
    }
    for &op in Pure::ALL {
        for same in [Scalar::F32, Scalar::I32, Scalar::I64, Scalar::Bool] {
            for varying in [false, true] {
                let kinds: Vec<Scalar> = op
                    .info()
                    .args
                    .iter()
                    .map(|slot| match slot {
                        Slot::Is(scalar) => *scalar,
                        Slot::Same => same,
                    })
                    .collect();
                let wide_somewhere =
                    kinds.contains(&Scalar::I64) || op.info().result == Slot::Is(Scalar::I64);
                if varying && wide_somewhere {
                    continue;
                }
                let args: Vec<_> = kinds
                    .iter()
                    .map(|kind| match (kind, varying) {
                        (Scalar::F32, false) => float,
                        (Scalar::F32, true) => varying_float,
                        (Scalar::I32, false) => block,
                        (Scalar::I32, true) => lane,
                        (Scalar::I64, _) => wide,
                        (Scalar::Bool, false) => truth,
                        (Scalar::Bool, true) => varying_truth,
                    })
                    .collect();
                b.pure(op, &args);
            }
        }
    }
    for arena_bytes in [0, 2, 64] {
        b.arena(arena_bytes);
    }
    let places = [buffers[0], buffers[1], Place::Arena(tvmc_ir::lane::Arena(2))];
    for mem in Mem::ALL {
        for form in MemoryOp::ALL {
            for masked in [false, true] {
                for place in places {
                    // the second buffer is only ever accessed in words
                    if place == buffers[1] && mem.bytes() != 4 {
                        continue;
                    }
                    let uniform = matches!(form, MemoryOp::LoadUniform | MemoryOp::StoreUniform);
                    let mask = masked.then_some(if uniform { truth } else { varying_truth });
                    let offset = matches!(form, MemoryOp::Gather | MemoryOp::Scatter).then_some(lane);
                    if form.is_store() {
                        let value = match (mem.loaded(), uniform) {
                            (Scalar::F32, true) => float,
                            (Scalar::F32, false) => varying_float,
                            (_, true) => block,
                            (_, false) => lane,
                        };
                        b.store(form, mem, place, wide, offset, value, mask);
                    } else {
                        b.load(form, mem, place, wide, offset, mask);
                    }
                }
            }
        }
    }
    for bits in 1..=8 {
        for sign in [Sign::Unsigned, Sign::Signed] {
            for place in places {
                b.inst(Op::LoadUnpack { place, bits, sign }, &[wide]);
            }
            for offset in 0..=64 - 4 * bits {
                b.inst(Op::Unpack { bits, offset, sign }, &[lane, lane]);
                b.inst(Op::Unpack { bits, offset, sign }, &[block, block]);
            }
        }
    }
    for reduce in Reduce::ALL {
        let value = match reduce.scalar() {
            Scalar::F32 => varying_float,
            Scalar::Bool => varying_truth,
            Scalar::I32 | Scalar::I64 => lane,
        };
        b.reduce(reduce, value);
    }
    for value in [lane, varying_float, varying_truth] {
        b.inst(Op::Shuffle, &[value, lane]);
        b.inst(Op::Extract, &[value, block]);
    }
    for length in [1u32, 3, 16] {
        let table = b.table(Scalar::F32, (0..length).collect());
        b.inst(Op::TableLookup(table), &[lane]);
        b.inst(Op::TableLookup(table), &[block]);
        let bytes = b.table(Scalar::I32, (0..length).collect());
        b.inst(Op::TableBytes(bytes), &[lane]);
        b.inst(Op::TableBytes(bytes), &[block]);
        b.inst(Op::TableHalves(bytes), &[lane]);
        b.inst(Op::TableHalves(bytes), &[block]);
    }
    b.barrier();
    b.inst(Op::Assert(message), &[truth]);
    b.inst(Op::Print(message), &[wide, lane, varying_truth, float]);
    b.finish()
}

#[test]
fn every_operation_is_valid() {
    for lanes in [1, 33, 1024] {
        let function = verified(everything(lanes));
        let poor = Limits { fused_fma: false, f16_in_f32: false, ..desktop() };
        for limits in [desktop(), poor, Limits { subgroup: Some(32), ..desktop() }] {
            for mode in [BufferMode::Exact, BufferMode::AllWritable] {
                let shader = compile_with(&function, &limits, mode).unwrap_or_else(|e| panic!("{e}"));
                // Tables of floats, and the same of bytes.
                assert_eq!(shader.constants.len(), 2 * (1 + 4 + 16));
                // three arenas, and scratch: of one word for prints where subgroups do the rest
                let scratch = if limits.subgroup.is_some() && lanes <= 32 { 1 } else { u64::from(lanes) };
                assert_eq!(shader.workgroup_bytes, 4 * (1 + 1 + 16 + scratch));
                assert_eq!(shader.storage_bindings(), 2 + 3);
                // the name cannot leave its comment
                assert!(shader.source.starts_with("// kernel everything______compute,"));
            }
        }
    }
}

#[test]
fn limits_are_checked() {
    let limits = Limits::default();
    let error = |function: Function| compile(&verified(function), &limits).unwrap_err();
    assert_eq!(error(Builder::new("k", 257).finish()), Error::Lanes { lanes: 257, limit: 256 });

    let mut b = Builder::new("k", 8);
    b.arena(16 << 10);
    let fits = compile(&verified(b.finish()), &limits).unwrap();
    assert_eq!(fits.workgroup_bytes, 16 << 10);
    let mut b = Builder::new("k", 8);
    b.arena(16 << 10);
    let lane = b.lane_index();
    b.reduce(Reduce::IAdd, lane);
    assert_eq!(error(b.finish()), Error::WorkgroupMemory { bytes: (16 << 10) + 32, limit: 16 << 10 });

    let mut b = Builder::new("k", 8);
    for _ in 0..9 {
        b.buffer("x", Access::Read);
    }
    assert_eq!(error(b.finish()), Error::Bindings { bindings: 9, limit: 8 });

    let mut b = Builder::new("k", 8);
    for _ in 0..8191 {
        b.scalar("x", Scalar::I64);
    }
    assert_eq!(error(b.finish()), Error::Arguments { bytes: 8191 * 8 + 16 + 8, limit: 65536 });

    let mut b = Builder::new("k", 8);
    b.table(Scalar::I32, vec![1; 1 << 16]);
    let small = Limits { binding_bytes: 1 << 17, ..limits };
    let found = compile(&verified(b.finish()), &small).unwrap_err();
    assert_eq!(found, Error::Tables { bytes: 1 << 18, limit: 1 << 17 });

    let mut b = Builder::new("k", 8);
    let yes = b.bool(true);
    (0..41).for_each(|_| b.begin_if(yes));
    for _ in 0..41 {
        b.begin_else(&[]);
        b.end_if(&[]);
    }
    assert_eq!(error(b.finish()), Error::Nesting);
}

/// A uniform store is one event for the block where somebody may load it, and costs no barrier elsewhere.
#[test]
fn uniform_stores_are_ordered_with_loads() {
    let kernel = |loads: bool, lanes| {
        let mut b = Builder::new("k", lanes);
        let place = Place::Buffer(b.buffer("x", Access::ReadWrite));
        let (base, one) = (b.i64(0), b.i32(1));
        b.store(MemoryOp::StoreUniform, Mem::I32, place, base, None, one, None);
        if loads {
            b.load(MemoryOp::LoadUniform, Mem::I32, place, base, None, None);
        }
        shader(b.finish()).source.matches("storageBarrier();").count()
    };
    assert_eq!([kernel(true, 8), kernel(false, 8), kernel(true, 1)], [2, 0, 0]);
}

#[test]
fn parameter_block() {
    let mut b = Builder::new("k", 8);
    b.buffer("x", Access::Read);
    b.scalar("n", Scalar::I64);
    b.scalar("a", Scalar::F32);
    let shader = shader(b.finish());
    let words = shader.params.encode([2, 3, 5], &[12], &[u64::MAX - 1, 7]).unwrap();
    assert_eq!(words, [30, 2, 3, 5, 12, 0, u32::MAX - 1, u32::MAX, 7, 0, 0, 0]);
    assert_eq!(words.len() as u64 * 4, shader.params.bytes());
    assert!(shader.source.contains("let v0 = vec2<u32>(params[1].z, params[1].w);"));
    assert!(shader.source.contains("let v1 = bitcast<f32>(params[2].x);"));
    assert_eq!(shader.params.encode([1, 1, 1], &[], &[1, 2]), None);
    assert_eq!(shader.params.encode([1, 1, 1], &[0], &[1]), None);
    assert_eq!(shader.params.encode([1 << 16, 1 << 16, 1], &[0], &[1, 2]), None);
}

proptest! {
    /// A report is decoded whatever it holds, and never gives more words than came in.
    #[test]
    fn reports_are_total(words in prop::collection::vec(prop_oneof![0u32..8, any::<u32>()], 0..60)) {
        let report = decode(&words);
        let taken: usize = report.records.iter().map(|r| r.words.len() + 3).sum();
        prop_assert!(taken <= words.len());
        prop_assert_eq!(report.failed, words.first().and_then(|w| w.checked_sub(1)));
    }
}

#[test]
fn neighbours_are_one_vector() {
    let text = r#"
kernel @four lanes 4 {
  buffer b0 "x" read
  buffer b1 "y" write
  v0: v.i32 = lane_index
  v1: u.i32 = const.i32 4
  v2: v.i32 = splat v1
  v3: v.i32 = imul v0, v2
  v4: u.i64 = const.i64 0
  v5: u.i64 = const.i64 3
  v6: v.i32 = gather.i32 b0[v4 + v3]
  v7: v.i32 = gather.i32 b0[v5 + v3]
  v8: v.i32 = iadd v6, v7
  store.contig.i32 b1[v4], v8
}
"#;
    let function = verified(parse(text).unwrap());
    let exact = compile(&function, &desktop()).unwrap();
    assert!(exact.source.contains("var<storage, read> b0: array<vec4<u32>>;"), "{}", exact.source);
    assert!(exact.source.contains("let v6 = q2.x;\n  let v7 = q2.w;"), "{}", exact.source);
    assert_eq!((exact.vectors, exact.alignments), (vec![16, 4], vec![4, 4]));
    let plain = compile_with(&function, &desktop(), BufferMode::AllWritable).unwrap();
    assert!(!plain.source.contains("vec4<u32>>"), "{}", plain.source);
    assert_eq!(plain.vectors, [4, 4]);
}

#[test]
fn short_bytes_need_no_correction() {
    let product = |mask: i32| {
        let mut b = Builder::new("dot", 4);
        let x = Place::Buffer(b.buffer("x", Access::Read));
        let y = Place::Buffer(b.buffer("y", Access::Write));
        let base = b.i64(0);
        let word = b.load(MemoryOp::LoadContig, Mem::I32, x, base, None, None);
        let mask = b.i32(mask);
        let mask = b.splat(mask);
        let codes = b.pure(Pure::IAnd, &[word, mask]);
        let sum = b.pure(Pure::Dot4US, &[codes, word, word]);
        b.store(MemoryOp::StoreContig, Mem::I32, y, base, None, sum, None);
        shader(b.finish()).source
    };
    assert!(!product(0x0f0f_0f0f).contains("dot4_us"));
    assert!(product(-1).contains("dot4_us"));
}
