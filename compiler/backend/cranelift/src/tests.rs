//! Every operation compiles for every target this backend knows, and the fused forms come out. What the code
//! computes is tested where it can run, in the crate that launches kernels.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::{OwnedTargetIsa, lookup_by_name};
use cranelift_codegen::settings::Configurable;
use tvmc_ir::lane::{
    Access, Builder, Function, Mem, MemoryOp, Message, Op, Place, Pure, Reduce, Scalar, Sign, Slot, Type,
    Uniformity, Value, parse, verify,
};

use super::*;

fn isa(triple: &str, features: &[&str]) -> OwnedTargetIsa {
    let mut builder = lookup_by_name(triple).unwrap();
    for feature in features {
        builder.enable(feature).unwrap();
    }
    builder.finish(flags(true).unwrap()).unwrap()
}

const OLD_X86: &[&str] = &["has_sse3", "has_ssse3", "has_sse41"];
const NEW_X86: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_popcnt",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
    "has_avx512vl",
    "has_avx512f",
    "has_avx512dq",
    "has_avx512vnni",
];
const NEW_ARM: &[&str] = &["has_dotprod", "has_i8mm", "has_fp16", "has_lse"];

fn isas() -> Vec<OwnedTargetIsa> {
    vec![
        isa("aarch64-unknown-linux-gnu", &[]),
        isa("aarch64-unknown-linux-gnu", NEW_ARM),
        isa("aarch64-apple-darwin", NEW_ARM),
        isa("x86_64-unknown-linux-gnu", OLD_X86),
        isa("x86_64-unknown-linux-gnu", NEW_X86),
        isa("x86_64-pc-windows-msvc", NEW_X86),
    ]
}

/// Compiles; gives Cranelift's view of the machine code.
fn assembly(function: &Verified, isa: &dyn TargetIsa) -> String {
    assembly_as(function, isa, Target::of(isa).unwrap())
}

/// Compiles for a target that is believed to be another.
fn assembly_as(function: &Verified, isa: &dyn TargetIsa, target: Target) -> String {
    let mut context = Context::new();
    context.set_disasm(true);
    context.func.signature = target.kernel_signature();
    let tables = (0..function.tables.len() as u32)
        .map(|index| {
            let name = context.func.declare_imported_user_function(UserExternalName { namespace: 1, index });
            context.func.create_global_value(ir::GlobalValueData::Symbol {
                name: ir::ExternalName::user(name),
                offset: ir::immediates::Imm64::new(0),
                colocated: false,
                tls: false,
            })
        })
        .collect();
    translate(function, target, &mut context, tables, isa).unwrap();
    let compiled = context.compile(isa, &mut ControlPlane::default());
    match compiled {
        Ok(code) => code.vcode.clone().unwrap(),
        Err(error) => panic!("{}: {:?}\n{}", isa.triple(), error.inner, **function),
    }
}

/// A function that holds every operation once for these lanes, in both uniformities.
fn everything(lanes: u32) -> Function {
    let mut b = Builder::new("everything", lanes);
    let x = Place::Buffer(b.buffer("x", Access::Read));
    let y = Place::Buffer(b.buffer("y", Access::ReadWrite));
    let arena = Place::Arena(b.arena(4096));
    let scalars = [Scalar::F32, Scalar::I32, Scalar::I64, Scalar::Bool].map(|s| b.scalar(s.name(), s));
    let float = b.table(Scalar::F32, vec![0x3f80_0000; 5]);
    let int = b.table(Scalar::I32, vec![7; 16]);
    let base = b.i64(1);
    let varying = {
        let f = b.load(MemoryOp::LoadContig, Mem::F32, x, base, None, None);
        let i = b.load(MemoryOp::LoadContig, Mem::I32, x, base, None, None);
        let bool = b.pure(Pure::FLt, &[f, f]);
        [f, i, scalars[2], bool]
    };
    let operand = |scalar: Scalar, uniformity: Uniformity| -> Value {
        let all = if uniformity == Uniformity::Varying { &varying } else { &scalars };
        match scalar {
            Scalar::F32 => all[0],
            Scalar::I32 => all[1],
            Scalar::I64 => all[2],
            Scalar::Bool => all[3],
        }
    };
    let mut results = Vec::new();
    for &op in Pure::ALL {
        let info = op.info();
        let wide = info.args.iter().chain([&info.result]).any(|slot| *slot == Slot::Is(Scalar::I64));
        for uniformity in [Uniformity::Uniform, Uniformity::Varying] {
            if wide && uniformity == Uniformity::Varying {
                continue;
            }
            for same in [Scalar::F32, Scalar::I32, Scalar::Bool] {
                let args: Vec<Value> = info
                    .args
                    .iter()
                    .map(|slot| match slot {
                        Slot::Is(scalar) => operand(*scalar, uniformity),
                        Slot::Same => operand(same, uniformity),
                    })
                    .collect();
                results.push(b.pure(op, &args));
                if !info.args.contains(&Slot::Same) {
                    break;
                }
            }
        }
    }
    for reduce in Reduce::ALL {
        results.push(b.reduce(reduce, operand(reduce.scalar(), Uniformity::Varying)));
    }
    for value in [varying[0], varying[1], varying[3]] {
        results.extend(b.inst(Op::Extract, &[value, scalars[1]]));
        results.extend(b.inst(Op::Shuffle, &[value, varying[1]]));
    }
    for scalar in [scalars[0], scalars[1], scalars[3]] {
        results.push(b.splat(scalar));
    }
    for bits in 1..=8 {
        for sign in [Sign::Unsigned, Sign::Signed] {
            results.extend(b.inst(Op::Unpack { bits, offset: 3, sign }, &[varying[1], varying[1]]));
            results.extend(b.inst(Op::Unpack { bits, offset: 30, sign }, &[scalars[1], scalars[1]]));
            for place in [x, arena] {
                results.extend(b.inst(Op::LoadUnpack { place, bits, sign }, &[base]));
            }
        }
    }
    for table in [float, int] {
        for index in [scalars[1], varying[1]] {
            results.extend(b.inst(Op::TableLookup(table), &[index]));
        }
    }
    for index in [scalars[1], varying[1]] {
        results.extend(b.inst(Op::TableBytes(int), &[index]));
        results.extend(b.inst(Op::TableHalves(int), &[index]));
    }
    for mem in Mem::ALL {
        for masked in [false, true] {
            for place in [y, arena] {
                let (mask, uniform_mask) = (masked.then_some(varying[3]), masked.then_some(scalars[3]));
                let offset = Some(varying[1]);
                let (one, many) =
                    (operand(mem.loaded(), Uniformity::Uniform), operand(mem.loaded(), Uniformity::Varying));
                results.push(b.load(MemoryOp::LoadUniform, mem, place, base, None, uniform_mask));
                results.push(b.load(MemoryOp::LoadContig, mem, place, base, None, mask));
                results.push(b.load(MemoryOp::Gather, mem, place, base, offset, mask));
                b.store(MemoryOp::StoreUniform, mem, place, base, None, one, uniform_mask);
                b.store(MemoryOp::StoreContig, mem, place, base, None, many, mask);
                b.store(MemoryOp::Scatter, mem, place, base, offset, many, mask);
            }
        }
    }
    for axis in 0..3 {
        results.extend(b.inst(Op::BlockIndex(axis), &[]));
        results.extend(b.inst(Op::BlockCount(axis), &[]));
    }
    b.barrier();
    let text = "{} ".repeat(results.len());
    let message = b.message(Message { text, location: String::new() });
    b.inst(Op::Assert(message), &[scalars[3]]);
    b.inst(Op::Print(message), &results);
    b.finish()
}

#[test]
fn every_operation_compiles_for_every_target() {
    for isa in isas() {
        for lanes in [1, 3, 4, 16, 17, 40] {
            let function = verify(everything(lanes)).unwrap();
            assert!(!assembly(&function, &*isa).is_empty());
            assert!(clif_text(&function, &*isa).unwrap().contains("i32x4"));
        }
    }
}

#[test]
fn byte_dot_products_are_fused_where_the_target_can() {
    let one = |op: Pure| {
        let mut b = Builder::new("dot", 4);
        let y = Place::Buffer(b.buffer("y", Access::ReadWrite));
        let args = [0, 4, 8].map(|at| {
            let base = b.i64(at);
            b.load(MemoryOp::LoadContig, Mem::I32, y, base, None, None)
        });
        let dot = b.pure(op, &args);
        let base = b.i64(0);
        b.store(MemoryOp::StoreContig, Mem::I32, y, base, None, dot, None);
        verify(b.finish()).unwrap()
    };
    let arm = isa("aarch64-unknown-linux-gnu", NEW_ARM);
    let x86 = isa("x86_64-unknown-linux-gnu", NEW_X86);
    assert!(assembly(&one(Pure::Dot4SS), &*arm).contains("sdot"));
    assert!(assembly(&one(Pure::Dot4US), &*arm).contains("usdot"));
    assert!(assembly(&one(Pure::Dot4US), &*x86).contains("vpdpbusd"));
    assert!(assembly(&one(Pure::Dot4SS), &*x86).contains("pmaddwd"));
    assert!(assembly(&one(Pure::Dot4UU), &*x86).contains("pmaddwd"));
}

#[test]
fn minimum_and_maximum_are_one_instruction() {
    for (op, name) in [(Pure::FMin, "minps"), (Pure::FMax, "maxps")] {
        let mut b = Builder::new("extreme", 4);
        let y = Place::Buffer(b.buffer("y", Access::ReadWrite));
        let base = b.i64(0);
        let next = b.i64(4);
        let a = b.load(MemoryOp::LoadContig, Mem::F32, y, base, None, None);
        let c = b.load(MemoryOp::LoadContig, Mem::F32, y, next, None, None);
        let value = b.pure(op, &[a, c]);
        b.store(MemoryOp::StoreContig, Mem::F32, y, base, None, value, None);
        let text = assembly(&verify(b.finish()).unwrap(), &*isa("x86_64-unknown-linux-gnu", NEW_X86));
        assert!(text.contains(name) && !text.contains("cmpps"), "{text}");
    }
}

#[test]
fn no_target_needs_a_host_function() {
    // A call to a libcall would have to be resolved when the code is placed; only `print` calls, indirectly.
    let function = verify(everything(8)).unwrap();
    for isa in isas() {
        let text = assembly(&function, &*isa);
        for name in ["LibCall", "%Fma", "%Floor", "%Ceil", "%Trunc", "%Nearest", "%X86Pshufb", "%Probestack"]
        {
            assert!(!text.contains(name), "{name} on {}", isa.triple());
        }
    }
    // What a call would look like.
    let old = isa("x86_64-unknown-linux-gnu", OLD_X86);
    let believed = Target { fused: true, ..Target::of(&*old).unwrap() };
    let text = assembly_as(&function, &*old, believed);
    assert!(text.contains("%Fma"), "{text}");
}

#[test]
fn clif_is_what_the_head_comment_says() {
    let text = r#"kernel @add lanes 6 {
      buffer b0 "x" readwrite
      v0: u.i64 = const.i64 0
      v1: v.f32 = load.contig.f32 b0[v0]
      v2: v.f32 = fadd v1, v1
      store.contig.f32 b0[v0], v2
    }"#;
    let function = verify(parse(text).unwrap()).unwrap();
    let clif = clif_text(&function, &*isa("x86_64-unknown-linux-gnu", NEW_X86)).unwrap();
    assert!(clif.contains("(i64, i32, i32, i32) system_v"), "{clif}");
    assert_eq!(clif.matches("fadd").count(), 2, "{clif}");
    // Four elements in one access, the last two one by one.
    assert_eq!(clif.matches("load.f32x4").count(), 1, "{clif}");
    assert_eq!(clif.matches("load.f32 ").count(), 2, "{clif}");
}

#[test]
fn what_is_the_same_in_all_lanes_is_computed_once() {
    let text = r#"kernel @same lanes 64 {
      buffer b0 "x" write
      scalar v0: u.f32 "a"
      v1: v.f32 = splat v0
      v2: v.f32 = fmul v1, v1
      v3: u.i64 = const.i64 0
      store.contig.f32 b0[v3], v2
    }"#;
    let function = verify(parse(text).unwrap()).unwrap();
    let clif = clif_text(&function, &*isa("aarch64-unknown-linux-gnu", &[])).unwrap();
    assert_eq!((clif.matches("splat").count(), clif.matches("fmul").count()), (1, 1), "{clif}");
}

#[test]
fn limits_and_targets_are_typed_errors() {
    let nothing = verify(parse("kernel @nothing lanes 1 { }").unwrap()).unwrap();
    let old = isa("x86_64-unknown-linux-gnu", &[]);
    assert!(matches!(clif_text(&nothing, &*old), Err(Error::Target(_))));

    let mut b = Builder::new("large", 1024);
    let mut value = b.lane_index();
    for _ in 0..5000 {
        value = b.pure(Pure::IAdd, &[value, value]);
    }
    assert_eq!(b.ty(value), Type::varying(Scalar::I32));
    let large = verify(b.finish()).unwrap();
    let new = isa("x86_64-unknown-linux-gnu", NEW_X86);
    assert!(matches!(clif_text(&large, &*new), Err(Error::TooLarge(_))));
    assert!(matches!(guarded::<()>(|| panic!("inside")), Err(Error::Panicked(text)) if text == "inside"));
}
