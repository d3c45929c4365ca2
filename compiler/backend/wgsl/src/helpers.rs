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
    /// Quotient for divisors of any magnitude.
    Div,
    /// `a * b + c` rounded once, for devices whose `fma` rounds twice.
    Fma,
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
            Helper::Div => {
                "\
fn f_div(a: f32, b: f32) -> f32 {
  // WGSL promises 2.5 ulp for divisors up to 2^126 only; beyond, some devices flush the reciprocal to zero
  let scale = select(1.0f, 0.25f, abs(b) > 8.5070592e37f);
  return (a * scale) / (b * scale);
}
"
            }
            Helper::Fma => FMA,
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

/// Fused multiply-add in integers: both terms as 64-bit significands at one scale, bits that fall off the end kept
/// as one sticky bit. Cancellation that could bring that bit up to the rounding position needs close exponents, and
/// then nothing falls off.
const FMA: &str = "\
fn fma_normalise(bits: u32) -> vec2<i32> {
  // significand with bit 23 set, and exponent e of value = significand * 2^(e - 150)
  let fraction = bits & 0x7fffffu;
  let exponent = i32((bits >> 23u) & 0xffu);
  let shift = countLeadingZeros(fraction) - 8u;
  let subnormal = vec2<i32>(i32(fraction << (shift & 31u)), 1 - i32(shift));
  return select(vec2<i32>(i32(fraction | 0x800000u), exponent), subnormal, exponent == 0);
}

fn fma_shift_right(x: vec2<u32>, count: u32) -> vec2<u32> {
  // words are (low, high); lost bits are joined into bit 0
  if (count == 0u) { return x; }
  if (count >= 64u) { return vec2<u32>(select(0u, 1u, (x.x | x.y) != 0u), 0u); }
  if (count >= 32u) {
    let lost = x.x | ((x.y << 1u) << (63u - count));
    return vec2<u32>((x.y >> (count - 32u)) | select(0u, 1u, lost != 0u), 0u);
  }
  let lost = x.x << (32u - count);
  return vec2<u32>((x.x >> count) | (x.y << (32u - count)) | select(0u, 1u, lost != 0u), x.y >> count);
}

fn fma_exact(a: f32, b: f32, c: f32) -> f32 {
  let ab = bitcast<u32>(a);
  let bb = bitcast<u32>(b);
  let cb = bitcast<u32>(c);
  let special = (ab & 0x7f800000u) == 0x7f800000u || (bb & 0x7f800000u) == 0x7f800000u;
  // nothing is rounded in the product here
  if (special || (ab << 1u) == 0u || (bb << 1u) == 0u) { return a * b + c; }
  if ((cb & 0x7f800000u) == 0x7f800000u) { return c; }
  let na = fma_normalise(ab);
  let nb = fma_normalise(bb);
  let nc = fma_normalise(cb);
  // the product of 48 bits, shifted left by 15: its top bit is 61 or 62
  let a0 = u32(na.x) & 0xfffu;
  let a1 = u32(na.x) >> 12u;
  let low = a0 * u32(nb.x & 0xfff);
  let cross = a0 * (u32(nb.x) >> 12u) + a1 * u32(nb.x & 0xfff);
  let high = a1 * (u32(nb.x) >> 12u);
  let low48 = low + (cross << 12u);
  let high48 = (cross >> 20u) + (high >> 8u) + select(0u, 1u, low48 < low);
  let sum48 = low48 + (high << 24u);
  let top48 = high48 + select(0u, 1u, sum48 < low48);
  var product = vec2<u32>(sum48 << 15u, (top48 << 15u) | (sum48 >> 17u));
  var exponent = na.y + nb.y - 315;
  // the addend, shifted left by 39: its top bit is 62
  var addend = vec2<u32>(0u, 0u);
  if ((cb << 1u) != 0u) {
    addend.y = u32(nc.x) << 7u;
    let distance = exponent - (nc.y - 189);
    if (distance >= 0) {
      addend = fma_shift_right(addend, u32(distance));
    } else {
      product = fma_shift_right(product, u32(-distance));
      exponent = nc.y - 189;
    }
  }
  var sign = (ab ^ bb) & 0x80000000u;
  var sum = vec2<u32>(0u, 0u);
  if (sign == (cb & 0x80000000u)) {
    sum.x = product.x + addend.x;
    sum.y = product.y + addend.y + select(0u, 1u, sum.x < product.x);
  } else {
    if (product.y < addend.y || (product.y == addend.y && product.x < addend.x)) {
      let larger = addend;
      addend = product;
      product = larger;
      sign = cb & 0x80000000u;
    }
    sum.x = product.x - addend.x;
    sum.y = product.y - addend.y - select(0u, 1u, product.x < addend.x);
    if ((sum.x | sum.y) == 0u) { return 0.0f; }
  }
  // the top bit to bit 63
  if (sum.y == 0u) {
    sum = vec2<u32>(0u, sum.x);
    exponent -= 32;
  }
  let zeros = countLeadingZeros(sum.y);
  sum.y = (sum.y << zeros) | ((sum.x >> 1u) >> (31u - zeros));
  sum.x = sum.x << zeros;
  let biased = exponent - i32(zeros) + 190;
  if (biased >= 255) { return bitcast<f32>(sign | 0x7f800000u); }
  if (biased <= 0) { sum = fma_shift_right(sum, u32(1 - biased)); }
  let mantissa = sum.y >> 8u;
  let rest = (sum.y & 0x7fu) | sum.x;
  let up = select(0u, 1u, (sum.y & 0x80u) != 0u && (rest != 0u || (mantissa & 1u) != 0u));
  // the hidden bit adds one to the exponent field of a normal result
  return bitcast<f32>(sign | ((u32(max(biased - 1, 0)) << 23u) + mantissa + up));
}
";
