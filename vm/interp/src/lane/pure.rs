//! The meaning of every row of the op table: the one place where the interpreter says what `fadd` or
//! `dot4.us` is. A uniform operation is the varying one on slices of one word.
//!
//! Words: an f32 is its bits, an i32 its two's complement, a bool 0 or 1. `i64` values travel beside
//! them, because they exist only as uniform values.

use half::{bf16, f16};
use tvmc_ir::lane::{Pure, Reduce, Sign};

/// The operands of one operation; unused places are empty slices and zeros.
pub(super) struct Operands<'a> {
    pub(super) words: [&'a [u32]; 3],
    pub(super) wides: [i64; 3],
}

fn map1(out: &mut [u32], a: &[u32], f: impl Fn(u32) -> u32) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = f(a);
    }
}

fn map2(out: &mut [u32], a: &[u32], b: &[u32], f: impl Fn(u32, u32) -> u32) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
}

fn map3(out: &mut [u32], a: &[u32], b: &[u32], c: &[u32], f: impl Fn(u32, u32, u32) -> u32) {
    for (((out, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
        *out = f(a, b, c);
    }
}

fn float(word: u32) -> f32 {
    f32::from_bits(word)
}

fn signed(word: u32) -> i32 {
    word.cast_signed()
}

/// `a < b ? a : b`: the second operand where the comparison is false.
fn fmin(a: u32, b: u32) -> u32 {
    if float(a) < float(b) { a } else { b }
}

/// `a > b ? a : b`: the second operand where the comparison is false.
fn fmax(a: u32, b: u32) -> u32 {
    if float(a) > float(b) { a } else { b }
}

/// Quotient towards zero; `x / 0 = 0`, `MIN / -1 = MIN`.
fn idiv_s(a: u32, b: u32) -> u32 {
    if b == 0 { 0 } else { signed(a).wrapping_div(signed(b)).cast_unsigned() }
}

/// Remainder with the sign of `a`; `x % 0 = x`, `MIN % -1 = 0`.
fn irem_s(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { signed(a).wrapping_rem(signed(b)).cast_unsigned() }
}

/// `acc` plus four products of bytes, each extended by its operand's rule.
fn dot4(a: u32, b: u32, acc: u32, extend_a: fn(u8) -> i32, extend_b: fn(u8) -> i32) -> u32 {
    let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
    // Four products of bytes fit an i32 with room to spare; only the accumulation wraps.
    let sum: i32 = products.map(|(a, b)| extend_a(a) * extend_b(b)).sum();
    acc.wrapping_add(sum.cast_unsigned())
}

fn signed_byte(byte: u8) -> i32 {
    i32::from(byte.cast_signed())
}

fn unsigned_byte(byte: u8) -> i32 {
    i32::from(byte)
}

/// Executes a row of the op table. A word result is written to `out`, whose length is the number of
/// lanes or 1; an `i64` result is returned (and is meaningless where the result is no `i64`).
pub(super) fn evaluate(op: Pure, operands: &Operands<'_>, out: &mut [u32]) -> i64 {
    let [a, b, c] = operands.words;
    let [la, lb, lc] = operands.wides;
    let truth = u32::from;
    match op {
        Pure::FAdd => map2(out, a, b, |a, b| (float(a) + float(b)).to_bits()),
        Pure::FSub => map2(out, a, b, |a, b| (float(a) - float(b)).to_bits()),
        Pure::FMul => map2(out, a, b, |a, b| (float(a) * float(b)).to_bits()),
        Pure::FDiv => map2(out, a, b, |a, b| (float(a) / float(b)).to_bits()),
        Pure::Fma => map3(out, a, b, c, |a, b, c| float(a).mul_add(float(b), float(c)).to_bits()),
        Pure::FNeg => map1(out, a, |a| a ^ 0x8000_0000),
        Pure::FAbs => map1(out, a, |a| a & 0x7fff_ffff),
        Pure::FSqrt => map1(out, a, |a| float(a).sqrt().to_bits()),
        Pure::FMin => map2(out, a, b, fmin),
        Pure::FMax => map2(out, a, b, fmax),
        Pure::Floor => map1(out, a, |a| float(a).floor().to_bits()),
        Pure::Ceil => map1(out, a, |a| float(a).ceil().to_bits()),
        Pure::Trunc => map1(out, a, |a| float(a).trunc().to_bits()),
        Pure::Nearest => map1(out, a, |a| float(a).round_ties_even().to_bits()),
        Pure::FEq => map2(out, a, b, |a, b| truth(float(a) == float(b))),
        Pure::FNe => map2(out, a, b, |a, b| truth(float(a) != float(b))),
        Pure::FLt => map2(out, a, b, |a, b| truth(float(a) < float(b))),
        Pure::FLe => map2(out, a, b, |a, b| truth(float(a) <= float(b))),
        Pure::IAdd => map2(out, a, b, u32::wrapping_add),
        Pure::ISub => map2(out, a, b, u32::wrapping_sub),
        Pure::IMul => map2(out, a, b, u32::wrapping_mul),
        Pure::IDivS => map2(out, a, b, idiv_s),
        Pure::IDivU => map2(out, a, b, |a, b| a.checked_div(b).unwrap_or(0)),
        Pure::IRemS => map2(out, a, b, irem_s),
        Pure::IRemU => map2(out, a, b, |a, b| a.checked_rem(b).unwrap_or(a)),
        Pure::IMinS => map2(out, a, b, |a, b| signed(a).min(signed(b)).cast_unsigned()),
        Pure::IMaxS => map2(out, a, b, |a, b| signed(a).max(signed(b)).cast_unsigned()),
        Pure::IMinU => map2(out, a, b, u32::min),
        Pure::IMaxU => map2(out, a, b, u32::max),
        Pure::IAnd | Pure::BAnd => map2(out, a, b, |a, b| a & b),
        Pure::IOr | Pure::BOr => map2(out, a, b, |a, b| a | b),
        Pure::IXor | Pure::BXor => map2(out, a, b, |a, b| a ^ b),
        Pure::Shl => map2(out, a, b, u32::wrapping_shl),
        Pure::ShrS => map2(out, a, b, |a, b| signed(a).wrapping_shr(b).cast_unsigned()),
        Pure::ShrU => map2(out, a, b, u32::wrapping_shr),
        Pure::PopCount => map1(out, a, u32::count_ones),
        Pure::IEq => map2(out, a, b, |a, b| truth(a == b)),
        Pure::INe => map2(out, a, b, |a, b| truth(a != b)),
        Pure::ILtS => map2(out, a, b, |a, b| truth(signed(a) < signed(b))),
        Pure::ILeS => map2(out, a, b, |a, b| truth(signed(a) <= signed(b))),
        Pure::ILtU => map2(out, a, b, |a, b| truth(a < b)),
        Pure::ILeU => map2(out, a, b, |a, b| truth(a <= b)),
        Pure::I32ToF32 => map1(out, a, |a| (signed(a) as f32).to_bits()),
        Pure::U32ToF32 => map1(out, a, |a| (a as f32).to_bits()),
        // Rust's `as` truncates, saturates and takes NaN to 0: the policy itself.
        Pure::F32ToI32 => map1(out, a, |a| (float(a) as i32).cast_unsigned()),
        Pure::F32ToU32 => map1(out, a, |a| float(a) as u32),
        Pure::F32Bits | Pure::F32FromBits | Pure::BoolToI32 => map1(out, a, |a| a),
        Pure::F16ToF32 => map1(out, a, |a| f16::from_bits(a as u16).to_f32().to_bits()),
        Pure::F32ToF16 => map1(out, a, |a| u32::from(f16::from_f32(float(a)).to_bits())),
        Pure::F32ToBf16 => map1(out, a, |a| u32::from(bf16::from_f32(float(a)).to_bits())),
        Pure::Dot4SS => map3(out, a, b, c, |a, b, c| dot4(a, b, c, signed_byte, signed_byte)),
        Pure::Dot4US => map3(out, a, b, c, |a, b, c| dot4(a, b, c, unsigned_byte, signed_byte)),
        Pure::Dot4UU => map3(out, a, b, c, |a, b, c| dot4(a, b, c, unsigned_byte, unsigned_byte)),
        Pure::BNot => map1(out, a, |a| a ^ 1),
        Pure::Select => {
            map3(out, a, b, c, |a, b, c| if a != 0 { b } else { c });
            return if a.first() == Some(&1) { lb } else { lc };
        }
        Pure::LAdd => return la.wrapping_add(lb),
        Pure::LSub => return la.wrapping_sub(lb),
        Pure::LMul => return la.wrapping_mul(lb),
        Pure::LEq => out.fill(truth(la == lb)),
        Pure::LLtS => out.fill(truth(la < lb)),
        Pure::I32ToI64 => return a.first().map_or(0, |a| i64::from(signed(*a))),
        Pure::U32ToI64 => return a.first().map_or(0, |a| i64::from(*a)),
        Pure::I64ToI32 => out.fill(la as u32),
    }
    0
}

/// A reduction in its documented order: the lanes padded with the identity to a power of two `p`; for
/// `s = p/2, p/4, .. 1`, lane `l < s` becomes `op(l, l + s)`. `scratch` is overwritten.
pub(super) fn reduce(op: Reduce, lanes: &[u32], scratch: &mut Vec<u32>) -> u32 {
    let (identity, combine): (u32, fn(u32, u32) -> u32) = match op {
        Reduce::FAdd => (0, |a, b| (float(a) + float(b)).to_bits()),
        Reduce::FMin => (f32::INFINITY.to_bits(), fmin),
        Reduce::FMax => (f32::NEG_INFINITY.to_bits(), fmax),
        Reduce::IAdd => (0, u32::wrapping_add),
        Reduce::IMinS => (i32::MAX.cast_unsigned(), |a, b| signed(a).min(signed(b)).cast_unsigned()),
        Reduce::IMaxS => (i32::MIN.cast_unsigned(), |a, b| signed(a).max(signed(b)).cast_unsigned()),
        Reduce::IMinU => (u32::MAX, u32::min),
        Reduce::IMaxU => (0, u32::max),
        Reduce::IAnd => (u32::MAX, |a, b| a & b),
        Reduce::IOr | Reduce::Any => (0, |a, b| a | b),
        Reduce::IXor => (0, |a, b| a ^ b),
        Reduce::All => (1, |a, b| a & b),
    };
    scratch.clear();
    scratch.extend_from_slice(lanes);
    scratch.resize(lanes.len().next_power_of_two(), identity);
    let mut half = scratch.len() / 2;
    while half > 0 {
        let (low, high) = scratch.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high.iter()) {
            *low = combine(*low, *high);
        }
        half /= 2;
    }
    scratch[0]
}

/// Four codes of `bits` bits from bit `offset` of a 64-bit string, each extended into a byte.
pub(super) fn unpack(string: u64, bits: u8, offset: u32, sign: Sign) -> u32 {
    let mask = (1u64 << bits) - 1;
    let mut bytes = [0; 4];
    for (at, byte) in (0u32..).zip(&mut bytes) {
        let code = (string >> (offset + at * u32::from(bits)) & mask) as u8;
        *byte = match sign {
            Sign::Unsigned => code,
            Sign::Signed => {
                let unused = 8 - u32::from(bits);
                ((code << unused).cast_signed() >> unused).cast_unsigned()
            }
        };
    }
    u32::from_le_bytes(bytes)
}
