//! Device memory, launch checks, aliasing, compile errors.

use tvmc_gpu::{GpuDevice, GpuError};
use tvmc_ir::lane::{Access, Builder, Function, Mem, MemoryOp, Op, Place, Pure, Scalar};

use crate::gpu;
use crate::harness::{Numbers, verified, words_of};

/// `out[i] = in[i] + 1`, elements of this type, 8 lanes.
fn increment(mem: Mem) -> Function {
    let mut b = Builder::new("increment", 8);
    let input = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let block = b.block_index(0);
    let eight = b.i32(8);
    let first = b.pure(Pure::IMul, &[block, eight]);
    let base = b.pure(Pure::I32ToI64, &[first]);
    let x = b.load(MemoryOp::LoadContig, mem, input, base, None, None);
    let one = b.i32(1);
    let one = b.splat(one);
    let y = b.pure(Pure::IAdd, &[x, one]);
    b.store(MemoryOp::StoreContig, mem, out, base, None, y, None);
    b.finish()
}

#[test]
fn transfers_of_any_offset_and_length() {
    let device = gpu!();
    let buffer = device.buffer(301).unwrap();
    let mut model = vec![0u8; 301];
    let mut numbers = Numbers(5);
    for _ in 0..60 {
        let offset = numbers.below(302);
        let length = numbers.below((302 - offset).min(40));
        let data: Vec<u8> = (0..length).map(|_| numbers.word() as u8).collect();
        device.upload(&buffer, u64::from(offset), &data).unwrap();
        model[offset as usize..(offset + length) as usize].copy_from_slice(&data);
        let offset = numbers.below(302);
        let mut out = vec![0; numbers.below(302 - offset) as usize];
        device.download(&buffer, u64::from(offset), &mut out).unwrap();
        assert_eq!(out, model[offset as usize..offset as usize + out.len()]);
    }
    let outside = device.upload(&buffer, 300, &[1, 2]);
    assert!(matches!(outside, Err(GpuError::OutOfRange { offset: 300, bytes: 2, size: 301 })));
    assert!(matches!(device.download(&buffer, u64::MAX, &mut [0]), Err(GpuError::OutOfRange { .. })));
}

#[test]
fn transfers_in_pieces() {
    let device = gpu!();
    let mut numbers = Numbers(6);
    let data: Vec<u8> = (0..(33 << 17)).flat_map(|_| numbers.next().to_le_bytes()).chain([1, 2, 3]).collect();
    let buffer = device.buffer_with(&data).unwrap();
    let mut back = vec![0; data.len()];
    device.download(&buffer, 0, &mut back).unwrap();
    assert!(data == back);
}

/// Views at offsets that the device cannot bind, several dispatches that depend on each other, copies and fills.
#[test]
fn views_and_dependent_commands() {
    let device = gpu!();
    let bytes = device.compile(&verified(increment(Mem::U8))).unwrap();
    let words = device.compile(&verified(increment(Mem::I32))).unwrap();
    let data: Vec<u8> = (0..=255).collect();
    let x = device.buffer_with(&data).unwrap();
    let y = device.buffer(1000).unwrap();
    let z = device.buffer(1000).unwrap();
    let mut commands = device.commands();
    commands.dispatch(&bytes, [4, 1, 1], &[x.view(3..35).unwrap(), y.view(517..549).unwrap()], &[]).unwrap();
    commands
        .dispatch(&bytes, [4, 1, 1], &[y.view(517..549).unwrap(), z.view(257..289).unwrap()], &[])
        .unwrap();
    commands.copy(&z.view(256..292).unwrap(), &y.view(0..36).unwrap()).unwrap();
    commands.dispatch(&words, [1, 1, 1], &[y.view(4..36).unwrap(), z.view(20..52).unwrap()], &[]).unwrap();
    commands.zero(&y.view(0..4).unwrap()).unwrap();
    assert_eq!(commands.len(), 5);
    assert!(commands.submit().unwrap().wait().unwrap().is_empty());
    let mut out = vec![0; 1000];
    device.download(&z, 0, &mut out).unwrap();
    let twice: Vec<u8> = (5..37).collect();
    assert_eq!(out[257..289], twice);
    assert!(out[52..257].iter().all(|b| *b == 0) && out[289..].iter().all(|b| *b == 0));
    let moved: Vec<u32> = words_of(&out[260..292]).iter().map(|w| w + 1).collect();
    assert_eq!(words_of(&out[20..52]), moved);
    device.download(&y, 0, &mut out).unwrap();
    assert_eq!(out[..8], [0, 0, 0, 0, 8, 9, 10, 11]);
}

/// One buffer read and written at different places needs the all-writable form; overlap is refused.
#[test]
fn one_buffer_both_ways() {
    let device = gpu!();
    let kernel = device.compile(&verified(increment(Mem::I32))).unwrap();
    let data: Vec<u8> = (0..32u32).flat_map(|w| w.to_le_bytes()).collect();
    let x = device.buffer_with(&data).unwrap();
    let mut commands = device.commands();
    let views = [x.view(0..32).unwrap(), x.view(32..64).unwrap()];
    commands.dispatch(&kernel, [1, 1, 1], &views, &[]).unwrap();
    commands.submit().unwrap().wait().unwrap();
    let mut out = vec![0; 128];
    device.download(&x, 0, &mut out).unwrap();
    assert_eq!(words_of(&out)[8..17], [1, 2, 3, 4, 5, 6, 7, 8, 16]);

    let mut commands = device.commands();
    let views = [x.view(0..36).unwrap(), x.view(32..64).unwrap()];
    let refused = commands.dispatch(&kernel, [1, 1, 1], &views, &[]).unwrap_err();
    let text = "kernel `increment`: arguments `in` and `out` overlap, and one of them is written";
    assert_eq!(refused.to_string(), text);
}

#[test]
fn refused_launches() {
    let device = gpu!();
    let kernel = device.compile(&verified(increment(Mem::I32))).unwrap();
    let x = device.buffer(1024).unwrap();
    let y = device.buffer(1024).unwrap();
    let mut commands = device.commands();
    let mut dispatch = |grid, views: &[_], scalars: &[u64]| commands.dispatch(&kernel, grid, views, scalars);
    let few = dispatch([1, 1, 1], &[x.all()], &[]);
    assert!(matches!(few, Err(GpuError::Arguments { what: "buffers", expected: 2, found: 1, .. })));
    let many = dispatch([1, 1, 1], &[x.all(), y.all()], &[1]);
    assert!(matches!(many, Err(GpuError::Arguments { what: "scalars", expected: 0, found: 1, .. })));
    let odd = dispatch([1, 1, 1], &[x.view(2..1024).unwrap(), y.all()], &[]);
    assert!(matches!(odd, Err(GpuError::Misaligned { offset: 2, alignment: 4, .. })));
    for grid in [[u32::MAX, 2, 1], [u32::MAX, 1, 1]] {
        assert!(matches!(dispatch(grid, &[x.all(), y.all()], &[]), Err(GpuError::Grid(..))));
    }
    assert!(x.view(1000..1025).is_err());
    assert!(matches!(device.buffer(u64::MAX), Err(GpuError::BufferTooLarge { .. })));
    let copied = device.commands().copy(&x.view(0..5).unwrap(), &y.view(0..5).unwrap());
    assert!(matches!(copied, Err(GpuError::Unaligned { .. })));
    // a view above the binding limit, on devices whose buffers may be larger than that
    let limit = device.limits().binding_bytes;
    if limit <= 256 << 20 {
        let large = device.buffer(limit + 16).unwrap();
        let refused = dispatch([1, 1, 1], &[large.all(), y.all()], &[]);
        assert!(matches!(refused, Err(GpuError::BindingTooLarge { .. })));
    }
    // another device
    let other = GpuDevice::open(Some(&device.info().name)).unwrap();
    let foreign = other.buffer(1024).unwrap();
    let refused = dispatch([1, 1, 1], &[foreign.all(), y.all()], &[]);
    assert!(matches!(refused, Err(GpuError::WrongDevice)));
}

#[test]
fn devices_by_name() {
    let device = gpu!();
    let missing = GpuDevice::open(Some("no such device")).unwrap_err();
    assert!(
        matches!(&missing, GpuError::NoSuchDevice { available, .. } if available.contains(&device.info().name))
    );
    assert!(GpuDevice::list().iter().any(|d| d.name == device.info().name));
}

#[test]
fn refused_kernels() {
    let device = gpu!();
    let refuse = |function: Function| device.compile(&verified(function)).unwrap_err();
    let lanes = device.limits().invocations + 1;
    if lanes <= 1024 {
        assert!(matches!(refuse(increment_lanes(lanes)), GpuError::Compile { .. }));
    }
    let mut b = Builder::new("arena", 8);
    b.arena(device.limits().workgroup_bytes + 4);
    let error = refuse(b.finish());
    assert!(error.to_string().contains("bytes of workgroup memory"), "{error}");
    let mut b = Builder::new("buffers", 8);
    for at in 0..=device.limits().storage_bindings.min(2000) {
        b.buffer(&format!("x{at}"), Access::Read);
    }
    if device.limits().storage_bindings < 2000 {
        let error = refuse(b.finish());
        assert!(error.to_string().contains("storage bindings"), "{error}");
    }
    let mut b = Builder::new("deep", 8);
    let yes = b.bool(true);
    for _ in 0..100 {
        b.begin_if(yes);
    }
    for _ in 0..100 {
        b.begin_else(&[]);
        b.end_if(&[]);
    }
    let error = refuse(b.finish());
    assert!(error.to_string().contains("nested"), "{error}");
}

fn increment_lanes(lanes: u32) -> Function {
    let mut function = increment(Mem::I32);
    function.lanes = lanes;
    function
}

/// The deepest nesting that is accepted does compile, and equal functions share a pipeline.
#[test]
fn deep_nesting_and_cache() {
    let device = gpu!();
    let mut b = Builder::new("deep", 8);
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let scalar = b.scalar("n", Scalar::I32);
    let one = b.i32(1);
    let zero = b.i32(0);
    let yes = b.pure(Pure::ILtS, &[zero, scalar]);
    let depth = 40;
    let mut value = scalar;
    for level in 0..depth {
        match level % 3 {
            0 => b.begin_if(yes),
            1 => value = b.begin_for(zero, one, 1, &[value]).1[0],
            _ => value = b.begin_loop(&[value])[0],
        }
        value = b.pure(Pure::IAdd, &[value, one]);
    }
    let no = b.bool(false);
    for level in (0..depth).rev() {
        value = match level % 3 {
            0 => {
                b.begin_else(&[value]);
                b.end_if(&[scalar])[0]
            }
            1 => b.end_for(&[value])[0],
            _ => {
                let never = b.inst(Op::ConstBool(false), &[]).unwrap_or(no);
                b.end_loop(never, &[value])[0]
            }
        };
    }
    let base = b.i64(0);
    b.store(MemoryOp::StoreUniform, Mem::I32, out, base, None, value, None);
    let function = verified(b.finish());
    let kernel = device.compile(&function).unwrap();
    assert_eq!(kernel.source(), device.compile(&function).unwrap().source());
    let buffer = device.buffer(4).unwrap();
    let mut commands = device.commands();
    commands.dispatch(&kernel, [1, 1, 1], &[buffer.all()], &[2]).unwrap();
    commands.submit().unwrap().wait().unwrap();
    let mut out = [0; 4];
    device.download(&buffer, 0, &mut out).unwrap();
    assert_eq!(u32::from_le_bytes(out), 2 + depth);
}
