//! Codecs against exact arithmetic that shares nothing with them.
//!
//! The oracle reads `X` and `Y` out of a type's name, writes down the value of each code as integer times power of two, and
//! finds the rounding of a number by looking between which two values it lies.

use half::{bf16, f16};
use proptest::prelude::*;
use tvmc_types::dtype::{DType, Kind, Narrowing};

/// `numerator * 2^exponent`, not negative.
#[derive(Clone, Copy, Debug)]
struct Exact {
    numerator: u64,
    exponent: i32,
}

impl Exact {
    fn to_f64(self) -> f64 {
        // In halves, so that no power leaves the range of f64.
        let half = self.exponent / 2;
        self.numerator as f64 * 2f64.powi(half) * 2f64.powi(self.exponent - half)
    }

    /// Halfway to a neighbour.
    fn middle(self, other: Exact) -> Exact {
        let exponent = self.exponent.min(other.exponent);
        let aligned = |x: Exact| x.numerator << (x.exponent - exponent);
        Exact { numerator: aligned(self) + aligned(other), exponent: exponent - 1 }
    }
}

/// What a code means by the definition of the type.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Finite(bool, Exact),
    Infinity(bool),
    Nan,
}

/// The definition of the small float types, from their names.
fn meaning(name: &str, code: u64) -> Meaning {
    if name == "e8m0" {
        return match code {
            255 => Meaning::Nan,
            _ => Meaning::Finite(false, Exact { numerator: 1, exponent: code as i32 - 127 }),
        };
    }
    let split = name.trim_start_matches("ue").trim_start_matches('e');
    let (x, y) = split.split_once('m').expect("a name like e4m3");
    let (x, y): (u32, u32) = (x.parse().unwrap(), y.parse().unwrap());
    let fraction = code % (1 << y);
    let field = code >> y & ((1 << x) - 1);
    let negative = !name.starts_with('u') && code >> (x + y) & 1 == 1;
    let top = field == (1 << x) - 1;
    match name {
        "e4m3" | "ue4m3" if top && fraction == 7 => Meaning::Nan,
        "e5m2" if top && fraction == 0 => Meaning::Infinity(negative),
        "e5m2" if top => Meaning::Nan,
        _ => {
            let bias = (1 << (x - 1)) - 1;
            let (numerator, exponent) =
                if field == 0 { (fraction, 1 - bias) } else { ((1 << y) + fraction, field as i32 - bias) };
            Meaning::Finite(negative, Exact { numerator, exponent: exponent - y as i32 })
        }
    }
}

fn small_floats() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|dtype| dtype.is_float() && dtype.bits() <= 8)
}

/// Codes of the non-negative finite numbers, ascending in value.
fn ascending(dtype: DType) -> Vec<(u64, Exact)> {
    let codes = if dtype == DType::UE4M3 { 0..128 } else { 0..1 << dtype.bits() };
    codes
        .filter_map(|code| match meaning(dtype.name(), code) {
            Meaning::Finite(false, value) => Some((code, value)),
            Meaning::Finite(true, _) | Meaning::Infinity(_) | Meaning::Nan => None,
        })
        .collect()
}

#[test]
fn every_code_of_a_small_float_decodes_exactly_and_encodes_back() {
    for dtype in small_floats() {
        for code in 0..1u64 << dtype.bits() {
            let value = dtype.decode(code);
            match meaning(dtype.name(), code) {
                Meaning::Nan => {
                    assert!(value.is_nan(), "{dtype} {code:#x}");
                    assert!(dtype.decode(dtype.encode_f64(value)).is_nan());
                }
                Meaning::Infinity(negative) => {
                    assert_eq!(value, if negative { f64::NEG_INFINITY } else { f64::INFINITY });
                    assert_eq!(dtype.encode_f64(value), code);
                }
                Meaning::Finite(negative, exact) => {
                    assert_eq!(value.abs(), exact.to_f64(), "{dtype} {code:#x}");
                    assert_eq!(value.is_sign_negative(), negative);
                    let ignored = if dtype == DType::UE4M3 { 0x80 } else { 0 };
                    assert_eq!(dtype.encode_f64(value), code & !ignored, "{dtype} {code:#x}");
                    assert_eq!(dtype.encode_f32(value as f32), code & !ignored, "{dtype} {code:#x}");
                }
            }
        }
    }
}

#[test]
fn numbers_round_to_the_nearest_code_and_ties_to_the_even_one() {
    for dtype in small_floats() {
        let values = ascending(dtype);
        for pair in values.windows(2) {
            let [(low, below), (high, above)] = pair else { unreachable!() };
            assert_eq!(high - low, 1, "codes ascend with values");
            let middle = below.middle(*above).to_f64();
            assert!(below.to_f64() < middle && middle < above.to_f64());
            let even = if low % 2 == 0 { *low } else { *high };
            let sign = if dtype.is_signed() { 1 << (dtype.bits() - 1) } else { 0 };
            for (value, code) in [
                (middle, even),
                (middle.next_up(), *high),
                (middle.next_down(), *low),
                (below.to_f64().next_up(), *low),
                (above.to_f64().next_down(), *high),
            ] {
                assert_eq!(dtype.encode_f64(value), code, "{dtype} {value:e}");
                if dtype.is_signed() {
                    assert_eq!(dtype.encode_f64(-value), code | sign, "{dtype} -{value:e}");
                } else {
                    assert_eq!(dtype.encode_f64(-value), 0, "{dtype} -{value:e}");
                }
            }
            let narrow = middle as f32;
            assert_eq!(f64::from(narrow), middle);
            for (value, code) in [(narrow, even), (narrow.next_up(), *high), (narrow.next_down(), *low)] {
                // Next to a subnormal f32 the step may be as wide as the gap between codes.
                if f64::from(value) > below.to_f64() && f64::from(value) < above.to_f64() {
                    assert_eq!(dtype.encode_f32(value), code, "{dtype} {value:e}");
                }
            }
        }
    }
}

#[test]
fn beyond_the_largest_number_the_rule_decides() {
    for dtype in small_floats() {
        let values = ascending(dtype);
        let (largest_code, largest) = *values.last().unwrap();
        assert_eq!(dtype.max(), largest.to_f64());
        assert_eq!(dtype.min(), if dtype.is_signed() { -largest.to_f64() } else { values[0].1.to_f64() });
        let positive = values.iter().map(|value| value.1.to_f64()).find(|&value| value > 0.0);
        assert_eq!(Some(dtype.min_positive()), positive);
        for value in [largest.to_f64() * 4.0, f64::MAX, f64::INFINITY] {
            let expected = if dtype == DType::E5M2 { f64::INFINITY } else { largest.to_f64() };
            assert_eq!(dtype.round(value), expected, "{dtype} {value:e}");
            let negative = if dtype.is_signed() { -expected } else { dtype.min() };
            assert_eq!(dtype.round(-value), negative, "{dtype} -{value:e}");
        }
        assert_eq!(dtype.encode_f64(largest.to_f64().next_up()), largest_code);
        match dtype.has_nan() {
            true => assert!(dtype.round(f64::NAN).is_nan() && dtype.round(-f64::NAN).is_nan()),
            false => assert_eq!(dtype.encode_f64(f64::NAN), 0),
        }
    }
    // IEEE overflow begins half a step above the largest number.
    assert_eq!(DType::E5M2.round(61440f64.next_down()), 57344.0);
    assert_eq!(DType::E5M2.round(61440.0), f64::INFINITY);
}

#[test]
fn published_limits() {
    let limits = [
        (DType::E4M3, 448.0, 2f64.powi(-9)),
        (DType::E5M2, 57344.0, 2f64.powi(-16)),
        (DType::E2M1, 6.0, 0.5),
        (DType::E3M2, 28.0, 0.0625),
        (DType::E2M3, 7.5, 0.125),
        (DType::E1M1, 3.0, 1.0),
        (DType::E4M2, 448.0, 2f64.powi(-8)),
        (DType::UE4M3, 448.0, 2f64.powi(-9)),
        (DType::F16, 65504.0, 2f64.powi(-24)),
        (DType::F32, f32::MAX.into(), 2f64.powi(-149)),
        (DType::F64, f64::MAX, f64::from_bits(1)),
        (DType::U4, 15.0, 1.0),
        (DType::I1, 0.0, 1.0),
    ];
    for (dtype, max, min_positive) in limits {
        assert_eq!((dtype.max(), dtype.min_positive()), (max, min_positive), "{dtype}");
    }
    assert_eq!(DType::I8.int_range(), Some((-128, 127)));
    assert_eq!(DType::U64.int_range(), Some((0, u64::MAX.into())));
    assert_eq!(DType::F16.int_range(), None);
}

/// All codes of a 16-bit float against the crate `half`, and all midpoints.
fn against_half(dtype: DType, to_f64: impl Fn(u16) -> f64) {
    for code in 0..=u16::MAX {
        let (ours, theirs) = (dtype.decode(code.into()), to_f64(code));
        assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{dtype} {code:#x}");
        if !theirs.is_nan() {
            assert_eq!(dtype.encode_f64(theirs), u64::from(code));
            assert_eq!(dtype.encode_f32(theirs as f32), u64::from(code));
        }
        let next = to_f64(code.wrapping_add(1));
        if code < 0x7fff && next.is_finite() {
            let middle = (theirs + next) / 2.0;
            let even = u64::from(code + code % 2);
            assert_eq!(dtype.encode_f64(middle), even, "{dtype} {middle:e}");
            assert_eq!(dtype.encode_f64(middle.next_up()), u64::from(code) + 1);
            assert_eq!(dtype.encode_f64(middle.next_down()), u64::from(code));
            assert_eq!(dtype.encode_f64(-middle), even | 0x8000);
        }
    }
}

#[test]
fn all_codes_of_f16_and_bf16_agree_with_half() {
    against_half(DType::F16, |code| f16::from_bits(code).to_f64());
    against_half(DType::BF16, |code| bf16::from_bits(code).to_f64());
}

#[test]
fn every_integer_code_goes_there_and_back() {
    for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_integer() && dtype.bits() <= 16) {
        let bits = dtype.bits();
        for code in 0..1i64 << bits {
            let value = if dtype.kind() == Kind::Signed && code >= 1 << (bits - 1) {
                code - (1 << bits)
            } else {
                code
            };
            assert_eq!(dtype.decode_int(code as u64), value);
            assert_eq!(dtype.decode(code as u64), value as f64);
            for narrowing in [Narrowing::Wrap, Narrowing::Saturate] {
                assert_eq!(dtype.encode_int(value, narrowing), code as u64);
            }
            assert_eq!(dtype.encode_f64(value as f64), code as u64);
        }
    }
}

#[test]
fn narrowing_says_what_it_does() {
    let code = |dtype: DType, value, narrowing| dtype.decode_int(dtype.encode_int(value, narrowing));
    assert_eq!(code(DType::I4, 9, Narrowing::Wrap), -7);
    assert_eq!(code(DType::I4, 9, Narrowing::Saturate), 7);
    assert_eq!(code(DType::U4, -1, Narrowing::Wrap), 15);
    assert_eq!(code(DType::U4, -1, Narrowing::Saturate), 0);
    assert_eq!(code(DType::BOOL, -4, Narrowing::Wrap), 1);
    assert_eq!(DType::U64.decode_int(u64::MAX), -1);
    assert_eq!(DType::U64.decode_i128(u64::MAX), u64::MAX.into());
}

#[test]
fn conversions_follow_the_policy() {
    let convert = |value: f64, to: DType, narrowing| {
        to.decode_int(DType::F32.convert(DType::F32.encode_f64(value), to, narrowing))
    };
    for (value, saturated, wrapped) in [
        (1.9, 1, 1),
        (-1.9, -1, -1),
        (300.0, 127, 44),
        (-1e20, -128, 0),
        (1e20, 127, -1),
        (f64::NAN, 0, 0),
        (f64::INFINITY, 127, -1),
    ] {
        assert_eq!(convert(value, DType::I8, Narrowing::Saturate), saturated, "{value}");
        assert_eq!(convert(value, DType::I8, Narrowing::Wrap), wrapped, "{value}");
    }
    assert_eq!(convert(-3.0, DType::U32, Narrowing::Wrap), 0);
    assert_eq!(convert(5e9, DType::U32, Narrowing::Wrap), u32::MAX.into());
    assert_eq!(convert(0.25, DType::BOOL, Narrowing::Wrap), 1);
    assert_eq!(DType::BOOL.convert(1, DType::F32, Narrowing::Wrap), 1f32.to_bits().into());
    assert_eq!(DType::I8.convert(0xff, DType::E4M3, Narrowing::Wrap), DType::E4M3.encode_f64(-1.0));
    assert_eq!(DType::I16.convert(0xff00, DType::U8, Narrowing::Wrap), 0);
    assert_eq!(DType::I16.convert(0xff00, DType::U8, Narrowing::Saturate), 0);
    // A tie, but for a bit far below the 64 that are looked at.
    let almost = (1i128 << 100) + (1 << 76);
    for value in [almost, almost + 1, almost - 1] {
        assert_eq!(
            DType::F32.encode_i128(value, Narrowing::Wrap),
            (value as f32).to_bits().into(),
            "{value}"
        );
    }
    // Once rounded: by way of f64 this would land on the tie and then on the even neighbour below.
    let value = (1i128 << 60) + (1 << 36) + 1;
    assert_eq!(DType::F32.encode_i128(value, Narrowing::Wrap), (value as f32).to_bits().into());
    assert_ne!((value as f32).to_bits(), (value as f64 as f32).to_bits());
}

#[test]
fn elements_print_as_people_would_write_them() {
    for (dtype, value, text) in [
        (DType::F16, 0.1, "0.1"),
        (DType::F16, 65504.0, "65504.0"),
        (DType::BF16, 1e30, "1e30"),
        (DType::F32, 0.1, "0.1"),
        (DType::F32, 1e20, "1e20"),
        (DType::F32, 16777216.0, "16777216.0"),
        (DType::F32, f64::NEG_INFINITY, "-inf"),
        (DType::F64, 0.1, "0.1"),
        (DType::E4M3, 448.0, "448.0"),
        (DType::E4M3, 0.001953125, "0.001953125"),
        (DType::E2M1, -0.0, "-0.0"),
        (DType::I8, -3.0, "-3"),
        (DType::BOOL, 1.0, "true"),
    ] {
        assert_eq!(dtype.format(dtype.encode_f64(value)), text, "{dtype}");
    }
    for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_float()) {
        for code in 0..1u64 << dtype.bits().min(12) {
            let code = code << (dtype.bits() - dtype.bits().min(12));
            let value = dtype.decode(code);
            if !value.is_nan() {
                let read: f64 = dtype.format(code).parse().unwrap();
                assert_eq!(
                    dtype.decode(dtype.encode_f64(read)).to_bits(),
                    value.to_bits(),
                    "{dtype} {code:#x}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn f32_and_f64_are_those_of_the_machine(bits: u64, narrow: u32) {
        let value = f64::from_bits(bits);
        let code = DType::F32.encode_f64(value);
        let machine = value as f32;
        prop_assert!(code == u64::from(machine.to_bits()) || machine.is_nan() && f32::from_bits(code as u32).is_nan());
        prop_assert!(DType::F64.encode_f64(value) == bits || value.is_nan());
        prop_assert!(DType::F64.decode(bits).to_bits() == bits || value.is_nan());
        let single = f32::from_bits(narrow);
        prop_assert!(DType::F32.decode(narrow.into()) == f64::from(single) || single.is_nan());
        prop_assert!(DType::F32.encode_f32(single) == u64::from(narrow) || single.is_nan());
    }

    #[test]
    fn f32_near_the_range_of_f32(exponent in -160i32..130, fraction in 1f64..2.0, negative: bool) {
        let value = if negative { -fraction } else { fraction } * 2f64.powi(exponent);
        prop_assert_eq!(DType::F32.encode_f64(value), u64::from((value as f32).to_bits()));
    }

    #[test]
    fn tf32_is_f32_with_thirteen_fewer_bits(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let code = DType::TF32.encode_f32(value) as u32;
        prop_assert_eq!(code & 0x1fff, 0);
        // Round to nearest even on the integer.
        let expected = (bits + 0xfff + (bits >> 13 & 1)) & !0x1fff;
        prop_assert_eq!(code, expected);
        prop_assert_eq!(DType::TF32.decode(bits.into()), DType::F32.decode((bits & !0x1fff).into()));
    }

    #[test]
    fn integers_become_the_nearest_float(value: i128, shift in 0u32..127) {
        let value = value >> shift;
        prop_assert_eq!(DType::F32.encode_i128(value, Narrowing::Wrap), u64::from((value as f32).to_bits()));
        prop_assert_eq!(DType::F64.encode_i128(value, Narrowing::Wrap), (value as f64).to_bits());
    }

    #[test]
    fn encoding_is_monotone(a: f32, b: f32) {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        for &dtype in DType::ALL.iter().filter(|dtype| dtype.kind() != Kind::Bool) {
            prop_assert!(dtype.round(low.into()) <= dtype.round(high.into()), "{} {:e} {:e}", dtype, low, high);
        }
    }

    #[test]
    fn saturation_and_wrapping(value: i64) {
        for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_integer()) {
            let (min, max) = dtype.int_range().unwrap();
            let saturated = dtype.decode_i128(dtype.encode_int(value, Narrowing::Saturate));
            prop_assert_eq!(saturated, i128::from(value).clamp(min, max));
            let wrapped = dtype.decode_i128(dtype.encode_int(value, Narrowing::Wrap));
            prop_assert!(min <= wrapped && wrapped <= max);
            prop_assert_eq!((wrapped - i128::from(value)).rem_euclid(1 << dtype.bits()), 0);
        }
    }
}
