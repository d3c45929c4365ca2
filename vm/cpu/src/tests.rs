//! The portable backend on a lesser processor than this one: SSE4.1 without AVX and FMA, where other lowerings are
//! taken and `fma` goes through f64.

use cranelift_codegen::isa::{OwnedTargetIsa, lookup_by_name};
use cranelift_codegen::settings::Configurable;
use tvmc_interp::samples::{Inputs, Sample, kernels, op_cases};
use tvmc_ir::lane::{Access, Uniformity, parse, verify};

use crate::{AlignedBuffer, BufferArg, CompiledKernel, Pool};

fn isa(features: &[&str]) -> OwnedTargetIsa {
    let mut builder = lookup_by_name("x86_64-unknown-linux-gnu").unwrap();
    for feature in features {
        builder.enable(feature).unwrap();
    }
    builder.finish(tvmc_backend_cranelift::flags(false).unwrap()).unwrap()
}

fn old_processor() -> OwnedTargetIsa {
    isa(&["has_sse3", "has_ssse3", "has_sse41"])
}

fn judge(sample: &Sample, isa: OwnedTargetIsa) {
    let function = sample.function().unwrap();
    let kernel = CompiledKernel::with_isa(&function, isa).unwrap();
    let mut memory: Vec<AlignedBuffer> =
        sample.buffers.iter().map(|bytes| AlignedBuffer::from_bytes(bytes).unwrap()).collect();
    let mut arguments: Vec<BufferArg> = memory
        .iter_mut()
        .zip(&function.buffers)
        .map(|(bytes, decl)| match decl.access {
            Access::Read => BufferArg::Read(bytes.as_slice()),
            Access::Write | Access::ReadWrite => BufferArg::Write(bytes.as_mut_slice()),
        })
        .collect();
    // SAFETY: the sample's buffers are as long as its kernel wants; the interpreter's tests see to it.
    unsafe { Pool::new(1).launch(&kernel, sample.grid, &mut arguments, &sample.scalars) }.unwrap();
    let after: Vec<Vec<u8>> = memory.iter().map(|bytes| bytes.as_slice().to_vec()).collect();
    sample.check(&after).unwrap_or_else(|message| panic!("{message}"));
}

#[test]
fn samples_run_on_an_old_processor() {
    for sample in kernels() {
        judge(&sample, old_processor());
    }
    for form in [Uniformity::Uniform, Uniformity::Varying] {
        for sample in op_cases(Inputs::Full, form).unwrap() {
            // NaN payloads of f16 and bf16 are not defined, and these two compare them as integers.
            if !sample.name.starts_with("f32_to_f16") && !sample.name.starts_with("f32_to_bf16") {
                judge(&sample, old_processor());
            }
        }
    }
}

#[test]
fn fma_through_f64_rounds_once() {
    let text = r#"kernel @fma lanes 4 {
      buffer b0 "a" read
      buffer b1 "b" read
      buffer b2 "c" read
      buffer b3 "y" write
      v0: u.i32 = block_index.x
      v1: u.i64 = i32_to_i64 v0
      v2: u.i64 = const.i64 4
      v3: u.i64 = lmul v1, v2
      v4: v.f32 = load.contig.f32 b0[v3]
      v5: v.f32 = load.contig.f32 b1[v3]
      v6: v.f32 = load.contig.f32 b2[v3]
      v7: v.f32 = fma v4, v5, v6
      store.contig.f32 b3[v3], v7
    }"#;
    let function = verify(parse(text).unwrap()).unwrap();
    let kernel = CompiledKernel::with_isa(&function, old_processor()).unwrap();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    let count = 200_000;
    let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0f32; count]);
    for at in 0..count {
        a[at] = f32::from_bits(random());
        // Exponents that make the product meet the normal range, and sums that end halfway between two floats.
        let exponent = 254u32.saturating_sub(a[at].to_bits() >> 23 & 0xff) + random() % 40 % 25;
        b[at] = f32::from_bits(exponent.min(254) << 23 | random() & 0x807f_ffff);
        let product = f64::from(a[at]) * f64::from(b[at]);
        c[at] = match random() % 4 {
            0 => f32::from_bits(random()),
            1 => -(product as f32),
            2 => (product * 2f64.powi((random() % 60) as i32 - 30)) as f32,
            _ => f32::from_bits((product as f32).to_bits() & 0xff80_0000 | 1 << (random() % 23)),
        };
        if at % 5 == 0 {
            // Few bits: exact ties.
            a[at] = f32::from_bits(a[at].to_bits() & 0xfff0_0000 | 0x0000_0800);
            b[at] = f32::from_bits(b[at].to_bits() & 0xfff0_0000 | 0x0000_0800);
        }
        if at % 11 == 0 {
            // Subnormal results.
            a[at] *= 1e-20;
            b[at] = f32::from_bits(0x1e80_0000 | b[at].to_bits() & 0x80ff_ffff);
            c[at] = f32::from_bits(c[at].to_bits() & 0x80ff_ffff);
        }
    }
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let [x, y, z] = [&a, &b, &c].map(|values| AlignedBuffer::from_bytes(&bytes(values)).unwrap());
    let mut out = AlignedBuffer::zeroed(4 * count).unwrap();
    let mut arguments = [
        BufferArg::Read(x.as_slice()),
        BufferArg::Read(y.as_slice()),
        BufferArg::Read(z.as_slice()),
        BufferArg::Write(out.as_mut_slice()),
    ];
    // SAFETY: `count` elements in each, four a block.
    unsafe { Pool::new(1).launch(&kernel, [count as u32 / 4, 1, 1], &mut arguments, &[]) }.unwrap();
    let mut unlike_two_roundings = 0;
    for (at, word) in out.as_slice().chunks_exact(4).enumerate() {
        let found = f32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let wanted = a[at].mul_add(b[at], c[at]);
        assert!(
            found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan(),
            "fma({:?}, {:?}, {:?}) = {found:?}, wanted {wanted:?}",
            a[at],
            b[at],
            c[at]
        );
        let naive = (f64::from(a[at]) * f64::from(b[at]) + f64::from(c[at])) as f32;
        unlike_two_roundings += u32::from(!wanted.is_nan() && naive.to_bits() != wanted.to_bits());
    }
    assert!(unlike_two_roundings > 10, "the inputs tell nothing: {unlike_two_roundings}");
}

#[test]
fn too_old_a_processor_is_refused() {
    let function = verify(parse("kernel @nothing lanes 1 { }").unwrap()).unwrap();
    let error = CompiledKernel::with_isa(&function, isa(&["has_sse3"])).unwrap_err();
    assert!(error.to_string().contains("has_ssse3"), "{error}");
}

#[test]
fn a_kernel_that_would_use_much_stack_is_refused() {
    // 301 operands of 1024 words each.
    let words = "v0, ".repeat(300);
    let marks = "{}".repeat(301);
    let text = format!(
        "kernel @wide lanes 1024 {{ message 0 \"{marks}\" v0: v.i32 = lane_index print 0 {words}v0 }}"
    );
    let function = verify(parse(&text).unwrap()).unwrap();
    let error = CompiledKernel::with_isa(&function, old_processor()).unwrap_err();
    assert!(error.to_string().contains("bytes of stack"), "{error}");
}
