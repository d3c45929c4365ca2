//! Bytes of arguments, and random formats.
//!
//! In exact mode every float that a kernel can load is a multiple of 1/4 of at most 16: codes of float dtypes are chosen so, and a
//! format's value is `(q - middle) * scale` with codes of at most 5 bits and scales of at most 1.

use super::{Floats, Tape};
use crate::random::Random;
use tvmc_ir::host::Number;
use tvmc_ir::tile::{Binary, CastRule, Decode, Field, FieldMode, Format, Inst, Op, Scope, TileType, Value};
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::packing::{packed_len, set_bits};

/// Floats at the edges of every rule.
const EDGES: [u32; 20] = [
    0x0000_0000,
    0x8000_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x0000_0001,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0x4f80_0000,
    0x3f00_0000,
    0x4020_0000,
    0xc020_0000,
    0x477f_e000,
    0x477f_f000,
    0x3300_0000,
];

/// Integers at the edges of every rule.
const INTEGERS: [u32; 12] =
    [0, 1, 2, 7, 31, 32, 127, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 0xffff_ff80, 0x0100_0000];

fn of(wanted: impl Fn(DType) -> bool) -> Vec<DType> {
    DType::ALL.iter().copied().filter(|dtype| wanted(*dtype)).collect()
}

/// Every float that loads as f32.
pub(super) fn floats() -> Vec<DType> {
    of(|dtype| dtype.is_float() && dtype.bits() <= 32)
}

/// Every float that lanes round to, f32 aside.
pub(super) fn rounded() -> Vec<DType> {
    of(|dtype| dtype.is_float() && dtype.bits() <= 16)
}

/// Every integer that i32 holds, i32 aside.
pub(super) fn narrow_integers() -> Vec<DType> {
    of(|dtype| dtype.is_integer() && dtype.bits() < 32)
}

/// Every unsigned integer that u32 holds, u32 aside.
pub(super) fn narrow_unsigned() -> Vec<DType> {
    of(|dtype| dtype.kind() == Kind::Unsigned && dtype.bits() < 32)
}

/// Every dtype that tiles are held and stored in.
pub(super) fn held() -> Vec<DType> {
    let bits = |dtype: DType| dtype.bits() <= if dtype.is_float() { 16 } else { 32 };
    of(|dtype| dtype == DType::F32 || bits(dtype))
}

/// A scalar argument as a host number.
pub(super) fn number(dtype: DType, bits: u32) -> Number {
    match dtype.kind() {
        Kind::Bool => Number::Bool(bits != 0),
        Kind::Unsigned => Number::Int(i64::from(bits)),
        Kind::Signed => Number::Int(i64::from(bits as i32)),
        Kind::Float => Number::Float(f64::from(f32::from_bits(bits))),
    }
}

/// A value of a computing dtype, as bits.
pub(super) fn scalar(noise: &mut Random, dtype: DType, floats: Floats) -> u32 {
    let random = noise.bits();
    match dtype.kind() {
        Kind::Bool => (random % 2) as u32,
        Kind::Signed | Kind::Unsigned => match random % 4 {
            0 => INTEGERS[noise.below(INTEGERS.len())],
            1 => noise.bits() as u32,
            _ => (noise.below(41) as i32 - 20) as u32,
        },
        Kind::Float => match floats {
            // Adding 0 turns -0 into 0.
            Floats::Exact => ((noise.below(129) as f32 - 64.0) / 4.0 + 0.0).to_bits(),
            Floats::Wild => match random % 4 {
                0 => EDGES[noise.below(EDGES.len())],
                1 => noise.bits() as u32,
                _ => ((noise.below(2001) as f32 - 1000.0) / 7.0).to_bits(),
            },
        },
    }
}

/// Whether a stored float is one of exact mode.
fn is_exact(value: f64) -> bool {
    value.abs() <= 16.0 && (value * 4.0).fract() == 0.0 && (value != 0.0 || value.is_sign_positive())
}

/// A code of a dtype.
fn code(noise: &mut Random, dtype: DType, floats: Floats) -> u64 {
    if dtype.kind() != Kind::Float {
        return match dtype.bits() {
            32 => u64::from(scalar(noise, dtype, floats)),
            _ => noise.bits(),
        };
    }
    match (floats, dtype.bits()) {
        (Floats::Exact, bits) if bits <= 8 => {
            let codes: Vec<u64> = (0..1 << bits).filter(|c| is_exact(dtype.decode(*c))).collect();
            codes[noise.below(codes.len())]
        }
        (Floats::Exact, _) => dtype.encode_f64((noise.below(129) as f64 - 64.0) / 4.0 + 0.0),
        (Floats::Wild, 32) => u64::from(scalar(noise, DType::F32, floats)),
        (Floats::Wild, _) => noise.bits(),
    }
}

/// The bytes of a tensor of a plain dtype.
pub(super) fn plain(noise: &mut Random, dtype: DType, count: usize, floats: Floats) -> Vec<u8> {
    let mut bytes = vec![0; packed_len(count, dtype.bits()).unwrap_or(0)];
    for index in 0..count {
        set_bits(&mut bytes, index, dtype.bits(), code(noise, dtype, floats));
    }
    bytes
}

/// The bytes of a tensor of a format.
pub(super) fn stored(noise: &mut Random, format: &Format, shape: &[u64], floats: Floats) -> Vec<u8> {
    let size = format.tensor_bytes(shape).expect("a small tensor") as usize;
    let mut bytes: Vec<u8> = (0..size).map(|_| noise.bits() as u8).collect();
    let columns = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().rev().nth(1).copied().unwrap_or(1);
    let matrix = format.matrix_bytes(rows, columns).expect("it fits") as usize;
    let row = (format.row_bytes(columns).expect("it fits") as usize).max(1);
    for matrix in bytes.chunks_exact_mut(matrix.max(1)) {
        let (head, rows) = matrix.split_at_mut(format.tensor_head as usize);
        numbers(noise, format, Scope::Tensor, head, floats);
        for row in rows.chunks_exact_mut(row) {
            let (head, groups) = row.split_at_mut(format.row_head as usize);
            numbers(noise, format, Scope::Row, head, floats);
            for group in groups.chunks_exact_mut(format.bytes as usize) {
                numbers(noise, format, Scope::Group, group, floats);
            }
        }
    }
    bytes
}

/// Puts numbers into the float fields of a scope.
fn numbers(noise: &mut Random, format: &Format, scope: Scope, bytes: &mut [u8], floats: Floats) {
    let fields = format.fields.iter().filter(|f| f.scope == scope && f.dtype.kind() == Kind::Float);
    for field in fields {
        for slot in 0..field.count {
            let code = code(noise, field.dtype, floats);
            for bit in 0..field.dtype.bits() {
                let at = field.bit_offset + slot * field.dtype.bits() + bit;
                set_bits(bytes, at as usize, 1, code >> bit);
            }
        }
    }
}

/// Digits of an index below `count`, in a random order of strides.
fn modes(tape: &mut Tape<'_>, count: u32) -> Vec<FieldMode> {
    let mut sizes = Vec::new();
    let mut rest = count;
    for divisor in [2, 4, 3, 8] {
        if rest.is_multiple_of(divisor) && rest > divisor && tape.one_in(2) {
            sizes.push(divisor);
            rest /= divisor;
        }
    }
    sizes.push(rest);
    // Strides are handed out in a random order of the digits.
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, tape.below(at + 1));
    }
    let mut strides = vec![0; sizes.len()];
    let mut stride = 1;
    for at in order {
        strides[at] = stride;
        stride *= sizes[at];
    }
    sizes.into_iter().zip(strides).map(|(size, stride)| FieldMode { size, stride }).collect()
}

/// A decode body under construction.
#[derive(Default)]
struct Body {
    values: Vec<TileType>,
    insts: Vec<Inst>,
}

impl Body {
    fn push(&mut self, op: Op, args: &[Value], dtype: DType) -> Value {
        let result = Value(self.values.len() as u32);
        self.values.push(TileType::scalar(dtype));
        self.insts.push(Inst { op, args: args.to_vec(), result: Some(result), location: None });
        result
    }

    fn i32(&mut self, value: u32) -> Value {
        self.push(Op::Const(value), &[], DType::I32)
    }

    fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        let dtype = self.values[a.index()].dtype;
        self.push(Op::Binary(op), &[a, b], dtype)
    }

    fn exact(&mut self, value: Value, dtype: DType) -> Value {
        self.push(Op::Cast(CastRule::Exact), &[value], dtype)
    }
}

/// A random format: codes at a random bit, in a random order, perhaps split into two planes or looked up in a table, times a scale per
/// part of the group, which is a small code, a float, or absent.
pub(super) fn format(tape: &mut Tape<'_>, number: usize) -> Format {
    let group = tape.pick(&[8u32, 32, 16, 5, 24, 64, 1, 3]);
    let wide = tape.pick(&[DType::U4, DType::U1, DType::U2, DType::U3, DType::U5, DType::I4, DType::I3]);
    let mut fields = Vec::new();
    let mut bit = tape.pick(&[0, 3, 8, 16]);
    let (mut row_bits, mut tensor_bits) = (0u32, 0u32);
    let mut body = Body::default();
    let index = body.push(Op::GroupIndex, &[], DType::I32);
    // The scale's parts: one for all, or one for each half of the group.
    let parts = if group.is_multiple_of(2) { tape.pick(&[1u32, 2]) } else { 1 };
    let scale = match tape.below(6) {
        0 => None,
        1 => Some(DType::U2),
        2 => Some(DType::F16),
        3 => Some(DType::BF16),
        _ => Some(tape.pick(&rounded())),
    };
    let scale = scale.map(|dtype| {
        // Stored once for a group, a row or a matrix.
        let scope = tape.pick(&[Scope::Group, Scope::Group, Scope::Row, Scope::Tensor]);
        let first = if scope == Scope::Group { bit } else { tape.pick(&[0, 16, 5]) };
        let field = Field {
            name: "d".into(),
            dtype,
            count: parts,
            scope,
            bit_offset: first,
            modes: vec![FieldMode { size: parts, stride: 1 }],
        };
        match scope {
            Scope::Group => bit += parts * dtype.bits(),
            Scope::Row => row_bits = first + parts * dtype.bits(),
            Scope::Tensor => tensor_bits = first + parts * dtype.bits(),
        }
        fields.push(field);
        let size = body.i32(group / parts);
        let part = body.binary(Binary::Div, index, size);
        let code = body.push(Op::Field(0), &[part], dtype);
        (body.exact(code, DType::F32), dtype)
    });
    let field_of = |tape: &mut Tape<'_>, name: &str, dtype: DType, bit: &mut u32| {
        let field = Field {
            name: name.into(),
            dtype,
            count: group,
            scope: Scope::Group,
            bit_offset: *bit,
            modes: modes(tape, group),
        };
        *bit += group * dtype.bits();
        field
    };
    let low = fields.len() as u32;
    fields.push(field_of(tape, "q", wide, &mut bit));
    let code = body.push(Op::Field(low), &[index], wide);
    let mut code = body.exact(code, DType::I32);
    let mut bits = wide.bits();
    if tape.one_in(3) {
        // A second plane above the first.
        fields.push(field_of(tape, "h", DType::U1, &mut bit));
        let high = body.push(Op::Field(low + 1), &[index], DType::U1);
        let high = body.exact(high, DType::I32);
        let by = body.i32(bits);
        let high = body.binary(Binary::Shl, high, by);
        code = body.binary(Binary::Or, code, high);
        bits += 1;
    }
    let mut tables = Vec::new();
    // Multiples of 1/4 (or 1, with a float scale, so that the product is one too) below 16 once scaled.
    let value = if bits <= 4 && tape.one_in(3) {
        let entries = (0..1u32 << bits).map(|i| (((i * 7 % 9) as f32 - 4.0) / 4.0 + 0.0).to_bits()).collect();
        tables.push((DType::F32, entries));
        body.push(Op::Table(0), &[code], DType::F32)
    } else {
        let middle = body.i32(1 << (bits - 1));
        let signed = body.binary(Binary::Sub, code, middle);
        let value = body.push(Op::Cast(CastRule::Round), &[signed], DType::F32);
        let quarter = body.push(Op::Const(0.25f32.to_bits()), &[], DType::F32);
        body.binary(Binary::Mul, value, quarter)
    };
    let result = match scale {
        None => value,
        Some((scale, dtype)) => {
            let product = if dtype == DType::U2 {
                body.binary(Binary::Mul, value, scale)
            } else {
                body.binary(Binary::Add, value, scale)
            };
            // No -0.
            let zero = body.push(Op::Const(0), &[], DType::F32);
            body.binary(Binary::Add, product, zero)
        }
    };
    let bytes = bit.div_ceil(8) + tape.pick(&[0, 1, 3]);
    let head = |bits: u32| bits.div_ceil(8).next_multiple_of(tvmc_ir::tile::unit_bytes(bytes));
    Format {
        name: format!("format{number}"),
        group,
        bytes,
        row_head: head(row_bits),
        tensor_head: head(tensor_bits),
        fields,
        tables,
        decode: Decode { values: body.values, insts: body.insts, result },
    }
}
