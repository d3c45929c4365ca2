//! WGSL functions that a shader includes on demand: operations whose meaning in lane IR is not what one WGSL
//! built-in promises. Each is total and uses integer arithmetic wherever a float rule of WGSL is loose (NaN may be
//! assumed absent, conversions may round either way).

/// A function of the prelude.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Helper {
    /// Signed division, 0 for a zero divisor.
    DivS,
    /// Unsigned division, 0 for a zero divisor.
    DivU,
    /// Signed remainder, the dividend for a zero divisor.
    RemS,
    /// Unsigned remainder, the dividend for a zero divisor.
    RemU,
    /// Saturating conversion, 0 for NaN.
    F32ToI32,
    /// Saturating conversion, 0 for NaN.
    F32ToU32,
    /// The f16 in the low half, for devices without `unpack2x16float`.
    F16ToF32,
    /// Round to nearest even, in the low half.
    F32ToF16,
    /// Round to nearest even, in the low half.
    F32ToBf16,
    /// Bytes of the first operand unsigned, of the second signed.
    Dot4US,
    /// 64-bit sum.
    LAdd,
    /// 64-bit difference.
    LSub,
    /// Low 64 bits of the product.
    LMul,
    /// Signed 64-bit comparison.
    LLtS,
    /// Records a failed assert.
    Fail,
}

impl Helper {
    /// The function's definition.
    pub fn text(self) -> &'static str {
        match self {
            Helper::DivS => {
                "\
fn div_s(a: u32, b: u32) -> u32 {
  // WGSL defines MIN / -1 as MIN
  return select(u32(i32(a) / i32(select(b, 1u, b == 0u))), 0u, b == 0u);
}
"
            }
            Helper::DivU => {
                "\
fn div_u(a: u32, b: u32) -> u32 {
  return select(a / select(b, 1u, b == 0u), 0u, b == 0u);
}
"
            }
            Helper::RemS => {
                "\
fn rem_s(a: u32, b: u32) -> u32 {
  // WGSL defines MIN % -1 as 0
  return select(u32(i32(a) % i32(select(b, 1u, b == 0u))), a, b == 0u);
}
"
            }
            Helper::RemU => {
                "\
fn rem_u(a: u32, b: u32) -> u32 {
  return select(a % select(b, 1u, b == 0u), a, b == 0u);
}
"
            }
            Helper::F32ToI32 => {
                "\
fn f32_to_i32(x: f32) -> u32 {
  let magnitude = bitcast<u32>(x) & 0x7fffffffu;
  let negative = bitcast<u32>(x) != magnitude;
  // from 2^31 on: the end of the range; above infinity: NaN
  let end = select(0x7fffffffu, 0x80000000u, negative);
  let finite = select(u32(i32(x)), end, magnitude >= 0x4f000000u);
  return select(finite, 0u, magnitude > 0x7f800000u);
}
"
            }
            Helper::F32ToU32 => {
                "\
fn f32_to_u32(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  // as integers, non-negative floats are ordered; a set sign or NaN compares above infinity
  let large = select(u32(x), 0xffffffffu, bits >= 0x4f800000u);
  return select(large, 0u, bits > 0x7f800000u);
}
"
            }
            Helper::F16ToF32 => {
                "\
fn f16_to_f32(half: u32) -> f32 {
  let magnitude = half & 0x7fffu;
  let normal = (magnitude << 13u) + 0x38000000u;
  // subnormals count units of 2^-24: an exact product of two normal numbers
  let subnormal = bitcast<u32>(f32(magnitude) * 5.9604645e-8f);
  let special = (magnitude << 13u) | 0x7f800000u;
  let finite = select(normal, subnormal, magnitude < 0x400u);
  return bitcast<f32>(((half & 0x8000u) << 16u) | select(finite, special, magnitude >= 0x7c00u));
}
"
            }
            Helper::F32ToF16 => {
                "\
fn f32_to_f16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  // normal: rebias the exponent and round the low 13 bits to even; carries run into the exponent
  let normal = (magnitude - 0x37fff001u + ((magnitude >> 13u) & 1u)) >> 13u;
  // subnormal: shift the significand to units of 2^-24 and round to even
  let significand = (magnitude & 0x7fffffu) | 0x800000u;
  let shift = clamp(126u - min(magnitude >> 23u, 126u), 1u, 25u);
  let half_unit = (1u << (shift - 1u)) - 1u + ((significand >> shift) & 1u);
  let subnormal = (significand + half_unit) >> shift;
  let finite = select(normal, subnormal, magnitude < 0x38800000u);
  let bounded = select(finite, 0x7c00u, magnitude >= 0x47800000u);
  let quiet = select(bounded, 0x7e00u, magnitude > 0x7f800000u);
  return ((bits >> 16u) & 0x8000u) | quiet;
}
"
            }
            Helper::F32ToBf16 => {
                "\
fn f32_to_bf16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let rounded = (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
  return select(rounded, (bits >> 16u) | 0x40u, (bits & 0x7fffffffu) > 0x7f800000u);
}
"
            }
            Helper::Dot4US => {
                "\
fn dot4_us(a: u32, b: u32) -> u32 {
  // a = (a - 128) + 128 byte by byte, and a - 128 is a with its top bit flipped, read as signed
  return u32(dot4I8Packed(a ^ 0x80808080u, b)) + (u32(dot4I8Packed(b, 0x01010101u)) << 7u);
}
"
            }
            Helper::LAdd => {
                "\
fn l_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
"
            }
            Helper::LSub => {
                "\
fn l_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
"
            }
            Helper::LMul => {
                "\
fn l_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  // the high word of the product of the low words, from 16-bit halves
  let a0 = a.x & 0xffffu;
  let a1 = a.x >> 16u;
  let b0 = b.x & 0xffffu;
  let b1 = b.x >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let carry = a0 * b1 + (middle & 0xffffu);
  let high = a1 * b1 + (middle >> 16u) + (carry >> 16u);
  return vec2<u32>(a.x * b.x, high + a.x * b.y + a.y * b.x);
}
"
            }
            Helper::LLtS => {
                "\
fn l_lt_s(a: vec2<u32>, b: vec2<u32>) -> bool {
  return i32(a.y) < i32(b.y) || (a.y == b.y && a.x < b.x);
}
"
            }
            Helper::Fail => {
                "\
fn fail(status: u32) {
  loop {
    // the weak exchange may fail for no reason; the first recorded failure stays
    let attempt = atomicCompareExchangeWeak(&report.status, 0u, status);
    if (attempt.exchanged || attempt.old_value != 0u) { break; }
  }
}
"
            }
        }
    }
}
