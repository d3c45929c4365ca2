//! Every memory form times every element type, masked and not, on buffers and arenas; bit streams; tables; views.

use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Op, Place, Pure, Scalar, Sign, Value};

use crate::gpu;
use crate::harness::{Case, Numbers, both, bytes_of, same, verified};

/// Bytes whose 16-bit and 32-bit pieces are no NaN as floats of any type.
fn input(bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers(3);
    (0..bytes).map(|at| if at % 2 == 1 { numbers.below(0x7b) as u8 } else { numbers.word() as u8 }).collect()
}

/// Stores a register as a word.
fn store_word(b: &mut Builder, out: Place, base: Value, value: Value) {
    let mem = if b.ty(value).scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 };
    let form = if b.ty(value).is_varying() { MemoryOp::StoreContig } else { MemoryOp::StoreUniform };
    b.store(form, mem, out, base, None, value, None);
}

/// `block * scale + first` as an index.
fn index(b: &mut Builder, block: Value, scale: i32, first: i32) -> Value {
    let scale = b.i32(scale);
    let first = b.i32(first);
    let scaled = b.pure(Pure::IMul, &[block, scale]);
    let sum = b.pure(Pure::IAdd, &[scaled, first]);
    b.pure(Pure::I32ToI64, &[sum])
}

/// Loads of every kind from odd places.
#[test]
fn loads() {
    let device = gpu!();
    for lanes in [1u32, 3, 8, 16, 32] {
        let mut b = Builder::new("loads", lanes);
        let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
        let out = Place::Buffer(b.buffer("out", Access::Write));
        let block = b.block_index(0);
        let lane = b.lane_index();
        let one = b.i32(1);
        let odd = b.pure(Pure::IAnd, &[block, one]);
        let uniform_mask = b.pure(Pure::IEq, &[odd, one]);
        let ones = b.splat(one);
        let lane_odd = b.pure(Pure::IAnd, &[lane, ones]);
        let mask = b.pure(Pure::IEq, &[lane_odd, ones]);
        // a negative stride: 3 * (lanes - 1 - lane) - 5
        let last = b.i32(lanes as i32 - 1);
        let last = b.splat(last);
        let three = b.i32(3);
        let three = b.splat(three);
        let five = b.i32(5);
        let five = b.splat(five);
        let reversed = b.pure(Pure::ISub, &[last, lane]);
        let tripled = b.pure(Pure::IMul, &[reversed, three]);
        let offset = b.pure(Pure::ISub, &[tripled, five]);
        let mut slot = 0;
        for mem in Mem::ALL {
            for form in [MemoryOp::LoadUniform, MemoryOp::LoadContig, MemoryOp::Gather] {
                for masked in [false, true] {
                    let base = index(&mut b, block, 7, 5);
                    let (mask, offset) = match form {
                        MemoryOp::LoadUniform => (uniform_mask, None),
                        MemoryOp::Gather => (mask, Some(offset)),
                        _ => (mask, None),
                    };
                    let value = b.load(form, mem, input_buffer, base, offset, masked.then_some(mask));
                    let target = index(&mut b, block, lanes as i32, slot * 4 * lanes as i32);
                    let varying = b.splat(value);
                    store_word(&mut b, out, target, varying);
                    slot += 1;
                }
            }
        }
        let case = Case {
            grid: [4, 1, 1],
            buffers: vec![input(4 * 256), vec![0; slot as usize * 16 * lanes as usize]],
            scalars: &[],
        };
        same(device, b.finish(), &case);
    }
}

/// Stores of every kind; neighbouring blocks share words.
#[test]
fn stores() {
    let device = gpu!();
    for lanes in [1u32, 3, 8, 16, 32] {
        for mem in Mem::ALL {
            let mut b = Builder::new("stores", lanes);
            let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
            let out = Place::Buffer(b.buffer("out", Access::ReadWrite));
            let block = b.block_index(0);
            let lane = b.lane_index();
            let one = b.i32(1);
            let odd = b.pure(Pure::IAnd, &[block, one]);
            let uniform_mask = b.pure(Pure::IEq, &[odd, one]);
            let ones = b.splat(one);
            let lane_odd = b.pure(Pure::IAnd, &[lane, ones]);
            let mask = b.pure(Pure::IEq, &[lane_odd, ones]);
            let three = b.i32(3);
            let three = b.splat(three);
            let offset = b.pure(Pure::IMul, &[lane, three]);
            let word = if mem.loaded() == Scalar::F32 { Mem::F32 } else { Mem::I32 };
            let n = lanes as i32;
            let zero = b.i64(0);
            let value = b.load(MemoryOp::LoadContig, word, input_buffer, zero, None, None);
            let single = b.load(MemoryOp::LoadUniform, word, input_buffer, zero, None, None);
            let mut region = 1;
            for masked in [false, true] {
                let masks = (masked.then_some(uniform_mask), masked.then_some(mask));
                let base = index(&mut b, block, 1, region);
                b.store(MemoryOp::StoreUniform, mem, out, base, None, single, masks.0);
                region += 5;
                let base = index(&mut b, block, n, region);
                b.store(MemoryOp::StoreContig, mem, out, base, None, value, masks.1);
                region += 5 * n;
                let base = index(&mut b, block, 3 * n, region);
                b.store(MemoryOp::Scatter, mem, out, base, Some(offset), value, masks.1);
                region += 15 * n;
            }
            let mut numbers = Numbers(9);
            let words: Vec<u32> = (0..lanes)
                .map(|_| if mem.loaded() == Scalar::F32 { numbers.float().to_bits() } else { numbers.word() })
                .collect();
            let size = (region as u32 * mem.bytes()) as usize;
            let case = Case {
                grid: [4, 1, 1],
                buffers: vec![bytes_of(&words), input(size.next_multiple_of(4))],
                scalars: &[],
            };
            same(device, b.finish(), &case);
        }
    }
}

/// Rounding of float stores: halves and bf16 from every interesting float.
#[test]
fn narrowing() {
    let device = gpu!();
    let mut words: Vec<u32> = Vec::new();
    for exponent in 0..256u32 {
        for mantissa in [
            0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0x18000, 0x7f_e000,
            0x7f_efff, 0x7f_f000, 0x7f_ffff,
        ] {
            if exponent < 255 || mantissa == 0 {
                words.extend([exponent << 23 | mantissa, 1 << 31 | exponent << 23 | mantissa]);
            }
        }
    }
    words.truncate(words.len() / 16 * 16);
    let mut b = Builder::new("narrow", 16);
    let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
    let half = Place::Buffer(b.buffer("half", Access::Write));
    let brain = Place::Buffer(b.buffer("brain", Access::Write));
    let block = b.block_index(0);
    let base = index(&mut b, block, 16, 0);
    let x = b.load(MemoryOp::LoadContig, Mem::F32, input_buffer, base, None, None);
    b.store(MemoryOp::StoreContig, Mem::F16, half, base, None, x, None);
    b.store(MemoryOp::StoreContig, Mem::Bf16, brain, base, None, x, None);
    let bytes = words.len() * 2;
    let case = Case {
        grid: [words.len() as u32 / 16, 1, 1],
        buffers: vec![bytes_of(&words), vec![0; bytes], vec![0; bytes]],
        scalars: &[],
    };
    same(device, b.finish(), &case);
}

/// Bit streams of every width from every byte offset, and each lane's own 64-bit string.
#[test]
fn unpacking() {
    let device = gpu!();
    for lanes in [1u32, 3, 8, 16, 32] {
        let mut b = Builder::new("unpack", lanes);
        let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
        let out = Place::Buffer(b.buffer("out", Access::Write));
        let block = b.block_index(0);
        let low_base = b.i64(0);
        let high_base = b.i64(i64::from(lanes));
        let low = b.load(MemoryOp::LoadContig, Mem::I32, input_buffer, low_base, None, None);
        let high = b.load(MemoryOp::LoadContig, Mem::I32, input_buffer, high_base, None, None);
        let mut slot = 0;
        for bits in 1..=8u8 {
            for sign in [Sign::Unsigned, Sign::Signed] {
                let base = index(&mut b, block, 1, 3);
                let op = Op::LoadUnpack { place: input_buffer, bits, sign };
                let mut values = vec![b.inst(op, &[base]).unwrap()];
                for offset in [0, 1, 5, 32 - 2 * bits, 31, 32, 64 - 4 * bits] {
                    if offset + 4 * bits <= 64 {
                        values.push(b.inst(Op::Unpack { bits, offset, sign }, &[low, high]).unwrap());
                    }
                }
                for value in values {
                    let target = index(&mut b, block, lanes as i32, slot * 5 * lanes as i32);
                    store_word(&mut b, out, target, value);
                    slot += 1;
                }
            }
        }
        // exactly as long as the widest stream from the last offset, so that a read past it would be noticed
        let size = (4 + 3 + 4 * lanes as usize).max(8 * lanes as usize);
        let mut numbers = Numbers(11);
        let data: Vec<u8> = (0..size).map(|_| numbers.word() as u8).collect();
        let case = Case {
            grid: [5, 1, 1],
            buffers: vec![data, vec![0; slot as usize * 20 * lanes as usize]],
            scalars: &[],
        };
        same(device, b.finish(), &case);
    }
}

/// Tables of odd lengths, uniform and varying indices, in range and past it.
#[test]
fn tables() {
    let device = gpu!();
    let mut b = Builder::new("tables", 16);
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let block = b.block_index(0);
    let lane = b.lane_index();
    let mut slot = 0;
    for (length, scalar) in
        [(1, Scalar::I32), (3, Scalar::F32), (16, Scalar::I32), (17, Scalar::F32), (256, Scalar::I32)]
    {
        let mut numbers = Numbers(length);
        let entries = (0..length).map(|_| numbers.float().to_bits()).collect();
        let table = b.table(scalar, entries);
        let octets = (0..length.min(256)).map(|at| (at as u32 * 77 + 5) & 0xff).collect();
        let bytes = b.table(Scalar::I32, octets);
        let sixteen = b.i32(16);
        let first = b.pure(Pure::IMul, &[block, sixteen]);
        let spread = b.splat(first);
        let varying = b.pure(Pure::IAdd, &[spread, lane]);
        let minus = b.i32(-1);
        let negative = b.pure(Pure::IMul, &[first, minus]);
        for index_value in [varying, negative] {
            for op in [Op::TableLookup(table), Op::TableBytes(bytes), Op::TableHalves(bytes)] {
                let value = b.inst(op, &[index_value]).unwrap();
                let value = b.splat(value);
                let target = index(&mut b, block, 16, slot * 20 * 16);
                store_word(&mut b, out, target, value);
                slot += 1;
            }
        }
    }
    let case = Case { grid: [20, 1, 1], buffers: vec![vec![0; slot as usize * 20 * 64]], scalars: &[] };
    same(device, b.finish(), &case);
}

/// Arenas with elements of every size, written by one lane and read by another behind a barrier; uniform stores too.
#[test]
fn arenas() {
    let device = gpu!();
    for lanes in [1u32, 3, 8, 16, 32, 100] {
        let mut b = Builder::new("arenas", lanes);
        let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
        let out = Place::Buffer(b.buffer("out", Access::Write));
        let lane = b.lane_index();
        let last = b.i32(lanes as i32 - 1);
        let last_lane = b.splat(last);
        let reversed = b.pure(Pure::ISub, &[last_lane, lane]);
        let zero = b.i64(0);
        let one = b.i64(1);
        for (at, mem) in Mem::ALL.into_iter().enumerate() {
            let arena = Place::Arena(b.arena(lanes * mem.bytes() + 16));
            let value = b.load(MemoryOp::LoadContig, mem, input_buffer, zero, None, None);
            b.store(MemoryOp::StoreContig, mem, arena, one, None, value, None);
            let first = b.load(MemoryOp::LoadUniform, mem, input_buffer, zero, None, None);
            b.store(MemoryOp::StoreUniform, mem, arena, zero, None, first, None);
            b.barrier();
            let mirrored = b.load(MemoryOp::Gather, mem, arena, one, Some(reversed), None);
            let target = b.i64(at as i64 * 2 * i64::from(lanes));
            store_word(&mut b, out, target, mirrored);
            let uniform = b.load(MemoryOp::LoadUniform, mem, arena, zero, None, None);
            let uniform = b.splat(uniform);
            let target = b.i64((at as i64 * 2 + 1) * i64::from(lanes));
            store_word(&mut b, out, target, uniform);
            b.barrier();
        }
        let case = Case {
            grid: [1, 1, 1],
            buffers: vec![input(4 * lanes as usize), vec![0; 64 * lanes as usize]],
            scalars: &[],
        };
        same(device, b.finish(), &case);
    }
}

/// Loads of neighbouring elements are one vector; a view that does not begin at a whole one has none. Both give the interpreter's bits, and so do the last
/// elements of a buffer that ends within a vector.
#[test]
fn vectors() {
    let device = gpu!();
    for masked in [false, true] {
        let mut b = Builder::new("vectors", 8);
        let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
        let out = Place::Buffer(b.buffer("out", Access::Write));
        let lane = b.lane_index();
        let two = b.i32(2);
        let twos = b.splat(two);
        let mask = b.pure(Pure::ILtU, &[twos, lane]);
        let mut slot = 0;
        for mem in Mem::ALL {
            // Each lane has 16 bytes, and reads some of them.
            let each = b.i32(16 / mem.bytes() as i32);
            let each = b.splat(each);
            let offset = b.pure(Pure::IMul, &[lane, each]);
            for element in [0, 1, 2, 16 / mem.bytes() as i64 - 1] {
                let base = b.i64(element);
                let value = if masked {
                    b.load(MemoryOp::Gather, mem, input_buffer, base, Some(offset), Some(mask))
                } else {
                    b.load(MemoryOp::Gather, mem, input_buffer, base, Some(offset), None)
                };
                let place = b.i64(slot * 8);
                store_word(&mut b, out, place, value);
                slot += 1;
            }
        }
        let function = verified(b.finish());
        let source = device.compile(&function).unwrap().source().to_owned();
        assert!(source.contains("array<vec4<u32>>"), "{source}");
        let contents = input(128 + 16);
        let output = vec![0u8; slot as usize * 32];
        for shift in [0usize, 4, 16] {
            let buffers = vec![contents[shift..shift + 128].to_vec(), output.clone()];
            let expected = both(device, &function, &Case { grid: [1; 3], buffers, scalars: &[] }).interp;
            let kernel = device.compile(&function).unwrap();
            let from = device.buffer_with(&contents).unwrap();
            let to = device.buffer_with(&output).unwrap();
            let views = [from.view(shift as u64..shift as u64 + 128).unwrap(), to.all()];
            let mut commands = device.commands();
            commands.dispatch(&kernel, [1; 3], &views, &[]).unwrap();
            commands.submit().unwrap().wait().unwrap();
            let mut got = output.clone();
            device.download(&to, 0, &mut got).unwrap();
            assert!(got == expected[1], "from byte {shift}");
        }
    }
}

/// Buffers that end within a vector.
#[test]
fn vectors_at_the_end() {
    let device = gpu!();
    let mut b = Builder::new("last", 2);
    let input_buffer = Place::Buffer(b.buffer("in", Access::Read));
    let out = Place::Buffer(b.buffer("out", Access::Write));
    let lane = b.lane_index();
    let four = b.i32(4);
    let fours = b.splat(four);
    let offset = b.pure(Pure::IMul, &[lane, fours]);
    for element in 0..2 {
        let base = b.i64(element);
        let value = b.load(MemoryOp::Gather, Mem::I32, input_buffer, base, Some(offset), None);
        let place = b.i64(element * 2);
        store_word(&mut b, out, place, value);
    }
    // Six words: the second lane's vector is half outside.
    same(device, b.finish(), &Case { grid: [1; 3], buffers: vec![input(24), vec![0; 16]], scalars: &[] });
}
