//! One sample for each row of the op table: the operation on every combination of edge values.
//!
//! Operand `i` of element `e` is word `e` of buffer `i`; results go to the last buffer; bools are nonzero
//! words coming in and 0 or 1 going out. Blocks have 19 lanes, which no machine has, and take 19 elements each,
//! or, in the uniform form, one element. Operations on `i64` exist in the uniform form only, with operands
//! sign-extended from 32 bits; of an `i64` result the low 32 bits plus 1 if it is negative are stored, so that
//! the upper half shows.

use tvmc_ir::lane::{Access, Builder, Mem, MemoryOp, Place, Pure, Scalar, Slot, Uniformity, Value};

use super::{Expected, Random, Sample};

const LANES: u32 = 19;

/// Which operands the cases use.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Inputs {
    /// Everything: NaN, infinities, both zeros, subnormals, overflowing results.
    Full,
    /// Only what has one result also on machines that assume no NaN or infinity and flush subnormals: operands and
    /// results are normal numbers.
    Tame,
}

/// A sample for every operation of the table that exists in this form; expected results are the interpreter's.
pub fn op_cases(inputs: Inputs, form: Uniformity) -> Result<Vec<Sample>, String> {
    let mut out = Vec::new();
    for &op in Pure::ALL {
        let info = op.info();
        let wide = info.args.iter().chain([&info.result]).any(|slot| *slot == Slot::Is(Scalar::I64));
        if wide && form == Uniformity::Varying {
            continue;
        }
        out.push(case(op, inputs, form)?);
    }
    Ok(out)
}

/// The operand words of one operation, for each operand.
fn operands(op: Pure, inputs: Inputs) -> Vec<Vec<u32>> {
    let count = op.info().args.len();
    let mut random = Random::new(op as u64 + 100);
    let choices: Vec<Vec<u32>> = (0..count).map(|at| words(op, at, inputs)).collect();
    // All pairs of the first two operands' edges; a third operand takes its edges in turn.
    let pairs = choices[0].len() * choices.get(1).map_or(1, Vec::len);
    (0..count)
        .map(|at| {
            let edges = &choices[at];
            (0..pairs)
                .map(|number| match at {
                    0 => edges[number % edges.len()],
                    1 => edges[number / choices[0].len()],
                    _ => edges[random.below(edges.len() as u64) as usize],
                })
                .collect()
        })
        .collect()
}

/// Words that operand `at` of an operation takes.
fn words(op: Pure, at: usize, inputs: Inputs) -> Vec<u32> {
    let floats = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let tame = [1.0, -1.0, 1.5, -2.5, 0.5, 3.0, -0.3, 1e-3, 127.5, -128.0, 1000.125, 4097.0, -60000.0];
    let wild = [
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x807f_ffff),
        16_777_217.0,
        8_388_608.5,
        -0.5,
        2.5,
        2_147_483_648.0,
        -2_147_483_648.0,
        4_294_967_040.0,
        65504.0,
        65519.9,
        65520.0,
        6e-8,
        1.000_976_6,
    ];
    let integers = [
        0,
        1,
        2,
        3,
        7,
        31,
        32,
        33,
        127,
        128,
        255,
        0x0102_7f80,
        0x7fff_ffff,
        0x8000_0000,
        0x8080_8080,
        0xff7f_8001,
        0xffff_fff9,
        0xffff_ffff,
        0x1234_5678,
        0x8000_ffff,
    ];
    let scalar = match op.info().args[at] {
        Slot::Is(scalar) => scalar,
        Slot::Same => Scalar::F32,
    };
    match (scalar, inputs) {
        (Scalar::F32, Inputs::Full) => floats(&[tame.as_slice(), wild.as_slice()].concat()),
        // The one operation whose tame operands must have a sign.
        (Scalar::F32, Inputs::Tame) if op == Pure::FSqrt => floats(&tame.map(f32::abs)),
        (Scalar::F32, Inputs::Tame) => floats(&tame),
        (Scalar::I32, Inputs::Full) if op == Pure::F16ToF32 => (0..=0xffff).step_by(7).collect(),
        (Scalar::I32, Inputs::Tame) if op == Pure::F16ToF32 => (0x0400..0x7c00).step_by(7).collect(),
        (Scalar::I32, Inputs::Tame) if op == Pure::F32FromBits => floats(&tame),
        (Scalar::I32 | Scalar::I64, Inputs::Full | Inputs::Tame) => integers.to_vec(),
        (Scalar::Bool, Inputs::Full | Inputs::Tame) => vec![0, 1],
    }
}

fn case(op: Pure, inputs: Inputs, form: Uniformity) -> Result<Sample, String> {
    let info = op.info();
    let mut words = operands(op, inputs);
    let step = match form {
        Uniformity::Uniform => 1,
        Uniformity::Varying => LANES,
    };
    let blocks = words[0].len().div_ceil(step as usize);
    let elements = blocks * step as usize;
    for operand in &mut words {
        // What is too little for the last block repeats the last element.
        let last = operand.last().copied().unwrap_or(0);
        operand.resize(elements, last);
    }

    let mut builder = Builder::new(info.name, LANES);
    let sources: Vec<_> =
        (0..words.len()).map(|at| builder.buffer(&format!("x{at}"), Access::Read)).collect();
    let target = builder.buffer("y", Access::Write);
    let block = builder.block_index(0);
    let step = builder.i32(step.cast_signed());
    let first = builder.pure(Pure::IMul, &[block, step]);
    let base = builder.pure(Pure::I32ToI64, &[first]);
    let mut args = Vec::new();
    for (source, slot) in sources.iter().zip(info.args) {
        args.push(operand(&mut builder, form, Place::Buffer(*source), base, *slot));
    }
    let result = builder.pure(op, &args);
    let (value, scalar) = outgoing(&mut builder, result);
    let store = match form {
        Uniformity::Uniform => MemoryOp::StoreUniform,
        Uniformity::Varying => MemoryOp::StoreContig,
    };
    let mem = if scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 };
    builder.store(store, mem, Place::Buffer(target), base, None, value, None);

    let mut buffers: Vec<Vec<u8>> =
        words.iter().map(|operand| operand.iter().flat_map(|word| word.to_le_bytes()).collect()).collect();
    let output = buffers.len();
    buffers.push(vec![0xff; 4 * elements]);
    let mut sample = Sample {
        name: format!("{} {form:?} {inputs:?}", info.name),
        text: builder.finish().to_string(),
        grid: [blocks as u32, 1, 1],
        scalars: Vec::new(),
        buffers,
        output,
        expected: Expected::Exact { scalar, words: Vec::new() },
    };
    let (_, after) = sample.interpret()?;
    let words = after[output].chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
    sample.expected = Expected::Exact { scalar, words };
    Ok(sample)
}

/// Loads an operand and turns it into the kind its slot wants.
fn operand(builder: &mut Builder, form: Uniformity, place: Place, base: Value, slot: Slot) -> Value {
    let scalar = match slot {
        Slot::Is(scalar) => scalar,
        Slot::Same => Scalar::F32,
    };
    let mem = if scalar == Scalar::F32 { Mem::F32 } else { Mem::I32 };
    let load = match form {
        Uniformity::Uniform => MemoryOp::LoadUniform,
        Uniformity::Varying => MemoryOp::LoadContig,
    };
    let loaded = builder.load(load, mem, place, base, None, None);
    match scalar {
        Scalar::F32 | Scalar::I32 => loaded,
        Scalar::I64 => builder.pure(Pure::I32ToI64, &[loaded]),
        Scalar::Bool => {
            let zero = builder.i32(0);
            let zero = if form == Uniformity::Varying { builder.splat(zero) } else { zero };
            builder.pure(Pure::INe, &[loaded, zero])
        }
    }
}

/// Turns a result into a kind that can be stored.
fn outgoing(builder: &mut Builder, result: Value) -> (Value, Scalar) {
    match builder.ty(result).scalar {
        Scalar::F32 => (result, Scalar::F32),
        Scalar::I32 => (result, Scalar::I32),
        Scalar::Bool => (builder.pure(Pure::BoolToI32, &[result]), Scalar::I32),
        Scalar::I64 => {
            let low = builder.pure(Pure::I64ToI32, &[result]);
            let zero = builder.i64(0);
            let negative = builder.pure(Pure::LLtS, &[result, zero]);
            let negative = builder.pure(Pure::BoolToI32, &[negative]);
            (builder.pure(Pure::IAdd, &[low, negative]), Scalar::I32)
        }
    }
}
