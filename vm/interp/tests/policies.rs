//! The documented numeric policies, by hand-computed values.

use proptest::prelude::*;
use tvmc_interp::lane::*;
use tvmc_ir::lane::{parse, verify};

/// What a body of declarations and statements prints first.
fn eval(lanes: u32, setup: &str) -> String {
    let text = format!("kernel @k lanes {lanes} {{ message 0 \"{{}}\" {setup} }}");
    let kernel =
        verify(parse(&text).unwrap_or_else(|e| panic!("{e}: {text}"))).unwrap_or_else(|e| panic!("{e:#?}"));
    run(&kernel, Launch::new([1, 1, 1], vec![], &[])).unwrap().log[0].text.clone()
}

/// A uniform operation on constants.
fn op(name: &str, kind: &str, args: &[&str], result: &str) -> String {
    let consts: String =
        args.iter().enumerate().map(|(at, arg)| format!("v{at}: u.{kind} = const.{kind} {arg} ")).collect();
    let names: Vec<String> = (0..args.len()).map(|at| format!("v{at}")).collect();
    let n = args.len();
    eval(2, &format!("{consts} v{n}: u.{result} = {name} {} print 0 v{n}", names.join(", ")))
}

#[test]
fn integers_are_total() {
    let i = |name, args: &[&str]| op(name, "i32", args, "i32");
    assert_eq!(i("iadd", &["2147483647", "1"]), "-2147483648");
    assert_eq!(i("imul", &["65537", "65537"]), "131073");
    assert_eq!(i("idiv_s", &["7", "0"]), "0");
    assert_eq!(i("idiv_s", &["-7", "2"]), "-3");
    assert_eq!(i("idiv_s", &["-2147483648", "-1"]), "-2147483648");
    assert_eq!(i("idiv_u", &["-1", "2"]), "2147483647");
    assert_eq!(i("idiv_u", &["5", "0"]), "0");
    assert_eq!(i("irem_s", &["-7", "2"]), "-1");
    assert_eq!(i("irem_s", &["-7", "0"]), "-7");
    assert_eq!(i("irem_s", &["-2147483648", "-1"]), "0");
    assert_eq!(i("irem_u", &["-1", "10"]), "5");
    assert_eq!(i("irem_u", &["9", "0"]), "9");
    assert_eq!(i("shl", &["1", "33"]), "2");
    assert_eq!(i("shr_s", &["-8", "-31"]), "-4");
    assert_eq!(i("shr_u", &["-8", "28"]), "15");
    assert_eq!(i("popcount", &["-1"]), "32");
    assert_eq!(op("ilt_u", "i32", &["1", "-1"], "bool"), "true");
    assert_eq!(op("ilt_s", "i32", &["1", "-1"], "bool"), "false");
    assert_eq!(i("dot4.ss", &["0x80ff0102", "0x80ff7f03", "5"]), (128 * 128 + 1 + 127 + 6 + 5).to_string());
    assert_eq!(
        i("dot4.us", &["0x80ff0102", "0x80ff7f03", "5"]),
        (-128 * 128 - 255 + 127 + 6 + 5).to_string()
    );
    assert_eq!(
        i("dot4.uu", &["0x80ff0102", "0x80ff7f03", "5"]),
        (128 * 128 + 255 * 255 + 127 + 6 + 5).to_string()
    );
    assert_eq!(i("dot4.uu", &["1", "1", "2147483647"]), "-2147483648");
}

#[test]
fn wide_integers() {
    let l = |name, args: &[&str]| op(name, "i64", args, "i64");
    assert_eq!(l("ladd", &["9223372036854775807", "1"]), "-9223372036854775808");
    assert_eq!(l("lmul", &["4294967297", "4294967297"]), "8589934593");
    assert_eq!(l("lsub", &["0", "5"]), "-5");
    assert_eq!(op("llt_s", "i64", &["-5", "4"], "bool"), "true");
    assert_eq!(op("i32_to_i64", "i32", &["-1"], "i64"), "-1");
    assert_eq!(op("u32_to_i64", "i32", &["-1"], "i64"), "4294967295");
    assert_eq!(op("i64_to_i32", "i64", &["4294967298"], "i32"), "2");
}

#[test]
fn floats_follow_their_rules() {
    let f = |name, args: &[&str]| op(name, "f32", args, "f32");
    // The second operand where the comparison is false.
    assert_eq!(f("fmin", &["nan", "1.0"]), "1.0");
    assert_eq!(f("fmin", &["1.0", "nan"]), "NaN");
    assert_eq!(f("fmax", &["0.0", "-0.0"]), "-0.0");
    assert_eq!(f("fmax", &["-0.0", "0.0"]), "0.0");
    assert_eq!(f("nearest", &["2.5"]), "2.0");
    assert_eq!(f("nearest", &["-0.5"]), "-0.0");
    assert_eq!(f("trunc", &["-2.5"]), "-2.0");
    assert_eq!(f("fsqrt", &["-1.0"]), "NaN");
    assert_eq!(f("fneg", &["0.0"]), "-0.0");
    assert_eq!(f("fmul", &["1e-30", "1e-10"]), "1e-40");
    // (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 only if rounded once.
    assert_eq!(f("fma", &["1.0002441", "1.0002441", "-1.0004883"]), "5.9604645e-8");
    assert_eq!(op("fne", "f32", &["nan", "nan"], "bool"), "true");
    assert_eq!(op("fle", "f32", &["nan", "nan"], "bool"), "false");
    let to_int = |name, x| op(name, "f32", &[x], "i32");
    assert_eq!(to_int("f32_to_i32", "-1.9"), "-1");
    assert_eq!(to_int("f32_to_i32", "3e9"), "2147483647");
    assert_eq!(to_int("f32_to_i32", "-inf"), "-2147483648");
    assert_eq!(to_int("f32_to_i32", "nan"), "0");
    assert_eq!(to_int("f32_to_u32", "-1.0"), "0");
    assert_eq!(to_int("f32_to_u32", "3e9"), "-1294967296");
    assert_eq!(op("u32_to_f32", "i32", &["-1"], "f32"), "4294967300.0");
    assert_eq!(op("i32_to_f32", "i32", &["16777217"], "f32"), "16777216.0");
    assert_eq!(to_int("f32_to_f16", "65520.0"), 0x7c00.to_string());
    assert_eq!(to_int("f32_to_f16", "65519.0"), 0x7bff.to_string());
    assert_eq!(to_int("f32_to_f16", "6e-8"), "1");
    assert_eq!(to_int("f32_to_bf16", "1.00390625"), 0x3f80.to_string());
    assert_eq!(to_int("f32_to_bf16", "1.01171875"), 0x3f82.to_string());
    assert_eq!(op("f16_to_f32", "i32", &["0xabcd0001"], "f32"), "5.9604645e-8");
}

#[test]
fn cross_lane_operations() {
    assert_eq!(
        eval(3, "v0: v.i32 = lane_index v1: u.i32 = const.i32 -1 v2: u.i32 = extract v0, v1 print 0 v2"),
        "0"
    );
    let shuffle = "v0: v.i32 = lane_index v1: u.i32 = const.i32 2 v2: v.i32 = splat v1 v3: v.i32 = iadd v0, v2 v4: v.i32 = shuffle v0, v3 print 0 v4";
    assert_eq!(eval(3, shuffle), "[2, 0, 1]");
    let table = "table t0 i32 [10, 11, 12] v0: v.i32 = lane_index v1: v.i32 = table t0 v0 print 0 v1";
    assert_eq!(eval(6, table), "[10, 11, 12, 0, 10, 11]");
    let unpack = "v0: u.i32 = const.i32 0x76543210 v1: u.i32 = const.i32 0xfedcba98 ";
    assert_eq!(
        eval(1, &format!("{unpack} v2: u.i32 = unpack.u4 v0, v1 at 24 print 0 v2")),
        0x0908_0706.to_string()
    );
    assert_eq!(
        eval(1, &format!("{unpack} v2: u.i32 = unpack.s4 v0, v1 at 48 print 0 v2")),
        0xfffe_fdfcu32.cast_signed().to_string()
    );
}

#[test]
fn the_tree_of_a_reduction_is_the_documented_one() {
    // Lanes 1, 2^24, 1: (1 + 1) + (2^24 + 0) keeps both ones, a sum from left to right loses them.
    let text = "table t0 f32 [1.0, 16777216.0, 1.0] v0: v.i32 = lane_index v1: v.f32 = table t0 v0 v2: u.f32 = reduce.fadd v1 print 0 v2";
    assert_eq!(eval(3, text), "16777218.0");
    for (name, expected) in [
        ("iadd", "-2147483645"),
        ("imin_s", "-2147483648"),
        ("imax_s", "2"),
        ("imin_u", "1"),
        ("imax_u", "-2147483648"),
        ("iand", "0"),
        ("ior", "-2147483645"),
        ("ixor", "-2147483645"),
    ] {
        let text = format!(
            "table t0 i32 [1, 2, 0x80000000] v0: v.i32 = lane_index v1: v.i32 = table t0 v0 v2: u.i32 = reduce.{name} v1 print 0 v2"
        );
        assert_eq!(eval(3, &text), expected, "{name}");
    }
    // One NaN: `a < b ? a : b` takes the second operand, here the identity that pads lane 2 to 3.
    let text = "table t0 f32 [5.0, 4.0, nan] v0: v.i32 = lane_index v1: v.f32 = table t0 v0 v2: u.f32 = reduce.fmin v1 print 0 v2";
    assert_eq!(eval(3, text), "4.0");
}

proptest! {
    #[test]
    fn code_streams_are_least_significant_bit_first(
        bytes in prop::collection::vec(any::<u8>(), 40),
        bits in 1u32..=8,
        base in 0usize..4,
        lanes in 1u32..=9,
    ) {
        let text = format!(
            "kernel @k lanes {lanes} {{ buffer b0 \"x\" read message 0 \"{{}}\" v0: u.i64 = const.i64 {base} \
             v1: v.i32 = load.unpack.u{bits} b0[v0] print 0 v1 v2: v.i32 = load.unpack.s{bits} b0[v0] print 0 v2 }}"
        );
        let kernel = verify(parse(&text).unwrap()).unwrap();
        let outcome = run(&kernel, Launch::new([1; 3], vec![Argument::Read(&bytes)], &[])).unwrap();
        let bit = |at: usize| i32::from(bytes[base + at / 8] >> (at % 8) & 1);
        let code = |number: usize, signed: bool| {
            let first = number * bits as usize;
            let code: i32 = (0..bits as usize).map(|at| bit(first + at) << at).sum();
            if signed && bit(first + bits as usize - 1) == 1 { code - (1 << bits) } else { code }
        };
        for (signed, entry) in [false, true].into_iter().zip(&outcome.log) {
            let words: Vec<i32> = (0..lanes as usize)
                .map(|lane| i32::from_le_bytes([0, 1, 2, 3].map(|j| code(4 * lane + j, signed) as u8)))
                .collect();
            prop_assert_eq!(&entry.text, &format!("{words:?}"));
        }
    }
}
