//! What compiled bodies compute, judged by the tile interpreter; and that no source makes this crate panic.

mod support;

use proptest::prelude::*;
use support::{clean, compiled, instance, load, shown};
use tvmc_interp::tile::{Argument, Parts, decode_element, run};
use tvmc_ir::tile::launch::{ArgumentShape, bind};
use tvmc_sema::{ElementChoice, Instance, check, instantiate, interface};
use tvmc_types::dtype::DType;

/// Runs `body`, which stores into `y: out i32[16]`, over `x: i32[N]`.
fn ints(body: &str, x: &[i32]) -> Vec<i32> {
    let library = clean(&format!("kernel k(x: i32[N], y: inout i32[16]) grid 1 {{ {body} }}"));
    let found = check(&library);
    assert!(found.is_empty(), "{}", shown(&library, &found));
    let kernel = compiled(&library, "k", &instance(&[], &[], &[]));
    let n = x.len() as u64;
    let binding =
        bind(&kernel, &[ArgumentShape::Tensor(vec![n]), ArgumentShape::Tensor(vec![16])]).expect("it binds");
    let mut input: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut output = vec![0u8; 64];
    let arguments = vec![Argument::Tensor(&mut input, vec![n]), Argument::Tensor(&mut output, vec![16])];
    if let Err(trap) = run(&kernel, &binding, arguments, 1_000_000) {
        panic!("{trap}\n{kernel}");
    }
    output.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
}

#[test]
fn loops_and_branches_carry_their_variables() {
    let sum = "var s = 0; for i in 0..N { s += x[i]; } y[0] = s;";
    assert_eq!(ints(sum, &[1, 2, 3, 4])[0], 10);
    assert_eq!(ints(sum, &[])[0], 0);
    let even = "var e = 0; var o = 0;
        for i in 0..N { if x[i] % 2 == 0 { e += x[i]; } else if x[i] > 5 { o += 100; } else { o += x[i]; } }
        y[0] = e; y[1] = o;";
    assert_eq!(ints(even, &[1, 2, 3, 4, 7])[..2], [6, 104]);
    let nested = "var s = 0; for i in 0..3 { for j in 0..i + 1 by 2 { s += 10 * i + j; } } y[0] = s;";
    assert_eq!(ints(nested, &[])[0], 10 + 20 + 22);
    let swapped = "var a = 1; var b = 2; for i in 0..N { let t = a; a = b; b = t + b; } y[0] = a; y[1] = b;";
    assert_eq!(ints(swapped, &[0; 5])[..2], [13, 21]);
}

#[test]
fn while_and_break() {
    let collatz = "var v = x[0]; var n = 0; while v != 1 { if v % 2 == 0 { v = v / 2; } else { v = 3 * v + 1; } n += 1; } y[0] = n;";
    assert_eq!(ints(collatz, &[6])[0], 8);
    assert_eq!(ints(collatz, &[1])[0], 0);
    let first = "var at = -1; for i in 0..N { if x[i] > 3 { at = i; break; } y[1] += 1; } y[0] = at;";
    assert_eq!(ints(first, &[1, 2, 9, 8])[..2], [2, 2]);
    assert_eq!(ints(first, &[1, 2])[..2], [-1, 2]);
    assert_eq!(ints(first, &[])[..2], [-1, 0]);
    let both = "var s = 0; var i = 0;
        while i < N { i += 1; if x[i - 1] == 0 { break; } for j in 0..10 { if j == x[i - 1] { break; } s += 1; } s += 100; } y[0] = s; y[1] = i;";
    assert_eq!(ints(both, &[2, 3, 0, 5])[..2], [205, 3]);
    let early = "var s = 0; for i in 0..4 { s += 1; break; s += 10; } y[0] = s;";
    assert_eq!(ints(early, &[])[0], 1);
    let last = "var n = 0; for i in 2147483600..2147483647 by 40 { n += 1; if n > 100 { break; } } y[0] = n;";
    assert_eq!(ints(last, &[])[0], 2, "the counter wraps past the end");
}

#[test]
fn typed_constants_wrap_and_untyped_ones_do_not() {
    let wraps = "fn f(a: i32) -> i32 { return a * 65536 * 65536 + 7; }";
    let library = clean(&format!("{wraps} kernel k(y: out i32[1]) grid 1 {{ y[0] = f(3); }}"));
    assert!(check(&library).is_empty());
    assert_eq!(ints("y[0] = 7 / x[0]; y[1] = 7 % x[0]; y[2] = 1 << x[1];", &[0, 33])[..3], [0, 7, 2]);
    assert_eq!(
        ints("y[0] = (1 << 40) >> 38; y[1] = ceil(7, 2); y[2] = max(3, min(9, 4)); y[3] = -7 / 2;", &[])[..4],
        [4, 4, 4, -3]
    );
}

#[test]
fn tiles() {
    let sums = "let t = iota(4).unsqueeze(1) * 10 + iota(4); y[0 +: 4] = sum(t, axis = 0); y[4 +: 4] = sum(t, axis = 1); y[8] = max(t);";
    assert_eq!(ints(sums, &[])[..9], [60, 64, 68, 72, 6, 46, 86, 126, 33]);
    let shared =
        "let s = shared i32[4, 4]; s[.., ..] = iota(16).reshape(4, 4); y[..] = s[.., ..].T.reshape(16);";
    assert_eq!(ints(shared, &[])[..5], [0, 4, 8, 12, 1]);
    let dots = "let a = iota(4) + 1; let m = iota(8).reshape(4, 2); y[0] = dot(a, a); y[1 +: 2] = dot(a, m); y[3 +: 2] = dot(m.T, a); y[5] += dot(a, a); var acc = zeros i32[2]; acc += dot(a, m); acc = acc + dot(a, m); acc = dot(a, m) + acc; y[6 +: 2] = acc;";
    assert_eq!(ints(dots, &[])[..8], [30, 40, 50, 40, 50, 30, 120, 150]);
    let padded = "y[0 +: 4] = x[N - 2 +: 4]; y[4 +: 4] = x[N - 2 +: 4 else 9]; y[14 +: 4] = iota(4) + 5;";
    assert_eq!(ints(padded, &[1, 2, 3])[..], [2, 3, 0, 0, 2, 3, 9, 9, 0, 0, 0, 0, 0, 0, 5, 6]);
    let selected = "y[..] = where(iota(16) % 3 == 0, iota(16), -1);";
    assert_eq!(ints(selected, &[])[..4], [0, -1, -1, 3]);
}

#[test]
fn asserts_and_prints_carry_their_place() {
    let library = clean(
        "kernel k(x: i32[N]) grid 1 {\n  assert(N > 2, \"too short\");\n  assert(N < 9);\n  print(\"n = {}, t = {}\", N, iota(2));\n}",
    );
    let kernel = compiled(&library, "k", &instance(&[], &[], &[]));
    let places: Vec<(&str, &str)> =
        kernel.messages.iter().map(|m| (m.text.as_str(), m.location.as_str())).collect();
    assert_eq!(
        places,
        [("too short", "test.tile:2:3"), ("N < 9", "test.tile:3:3"), ("n = {}, t = {}", "test.tile:4:3")]
    );
}

#[test]
fn the_text_of_an_instance() {
    let library = clean(
        "kernel scale(x: f16[N], y: out f32[N], s: f32) grid ceil(N, 8) assume(N % 4 == 0) {
  let i = block[0] * 8;
  y[i +: 8] = x[i +: 8] * s + 1;
}",
    );
    let kernel = compiled(&library, "scale", &instance(&[], &[], &[]));
    insta::assert_snapshot!(kernel.to_string(), @r#"
    kernel @scale {
      dim N
      tensor p0 "x": f16[N] read
      tensor p1 "y": f32[N] write
      scalar p2 "s": f32
      assume eq(rem(N, 4), 0) "N % 4 == 0"
      grid ceil_div(N, 8)
      v0: i32 = block_index 0 @ "test.tile:2:11"
      v1: i32 = const 8 @ "test.tile:2:22"
      v2: i32 = mul v0, v1 @ "test.tile:2:11"
      v3: f16[8] = load p0[v2 +: 8] @ "test.tile:3:15"
      v4: f32 = scalar p2 @ "test.tile:3:27"
      v5: f32[8] = cast.exact v3 @ "test.tile:3:15"
      v6: f32[8] = broadcast v4 @ "test.tile:3:15"
      v7: f32[8] = mul v5, v6 @ "test.tile:3:15"
      v8: f32 = const 1.0 @ "test.tile:3:31"
      v9: f32[8] = broadcast v8 @ "test.tile:3:15"
      v10: f32[8] = add v7, v9 @ "test.tile:3:15"
      store p1[v2 +: 8], v10 @ "test.tile:3:3"
    }
    "#);
}

/// Decodes element `i` of one group.
fn decoded(library: &tvmc_sema::Library, name: &str, bytes: &[u8]) -> Vec<f32> {
    let format = tvmc_sema::format(library, name).unwrap_or_else(|d| panic!("{}", shown(library, &d)));
    assert_eq!(format.bytes as usize, bytes.len(), "{name}");
    (0..format.group)
        .map(|i| {
            f32::from_bits(decode_element(&format, Parts::group(bytes), i).unwrap_or_else(|t| panic!("{t}")))
        })
        .collect()
}

const HARD: &str = "
format q4_K {
  group 256 {
    d: f16;
    m: f16;
    s: u8[12];
    q: u4[256] @ local(4, 1, 1).local(1, 1, 32).local(1, 2, 1).reshape(256);
  }
  value[i] =
    d * where(i < 128, s[i / 32 % 4] & 63, concat(s[i / 32 % 4] >> 6, s[8 + i / 32 % 4] & 15, 4)) * q[i]
    - m * where(i < 128, s[4 + i / 32 % 4] & 63, concat(s[4 + i / 32 % 4] >> 6, s[8 + i / 32 % 4] >> 4, 4));
}
format tq1_0 {
  table power: i32[5] = [1, 3, 9, 27, 81];
  group 256 { q: u8[52]; d: f16; }
  value[i] = d * (((q[where(i < 160, i % 32, where(i < 240, 32 + i % 16, 48 + i % 4))]
      * power[where(i < 160, i / 32, where(i < 240, (i - 160) / 16, (i - 240) / 4))] & 255) * 3 >> 8) - 1);
}
table rows: u8[4, 8] = [[1, 3, 5, 7, 9, 11, 13, 15], [2, 2, 2, 2, 2, 2, 2, 2], [8, 25, 43, 8, 25, 43, 8, 25], [1, 1, 1, 1, 1, 1, 1, 1]];
format grid {
  group 32 { d: f16; q: u2[4]; signs: u7[4]; scale: u4; unused: u4[1]; more: u4; }
  value[i] {
    let k = signs[i / 8];
    let s = concat(popcount(k as u32 wrap) as i32 wrap & 1, k, 7);
    let v = rows[q[i / 8], i % 8];
    return where((s >> i % 8 & 1) == 0, 1.0, -1.0) * d * (0.5 + scale) * v;
  }
}
format nvfp4 {
  group 64 {
    d: ue4m3[4];
    q: e2m1[64] @ local(4, 1, 1).local(1, 1, 8).local(1, 2, 1).reshape(64);
  }
  value[i] = d[i / 16] * q[i];
}
";

#[test]
fn the_formats_on_paper() {
    let library = clean(HARD);
    let found = check(&library);
    assert!(found.is_empty(), "{}", shown(&library, &found));
    let half = |v: f32| (DType::F16.encode_f32(v) as u16).to_le_bytes();

    let mut bytes: Vec<u8> = [half(0.5), half(0.25)].concat();
    let scales: Vec<u8> = (0..12).map(|i| 37u8.wrapping_mul(i + 3)).collect();
    bytes.extend(&scales);
    let codes: Vec<u8> = (0..128u32).map(|i| (i * 73 + 11) as u8).collect();
    bytes.extend(&codes);
    let got = decoded(&library, "q4_K", &bytes);
    for (i, got) in got.iter().enumerate() {
        let (c, nibble, l) = (i / 64, i / 32 % 2, i % 32);
        let code = if nibble == 0 { codes[32 * c + l] & 15 } else { codes[32 * c + l] >> 4 };
        let b = i / 32;
        let (scale, minimum) = if b < 4 {
            (scales[b] & 63, scales[b + 4] & 63)
        } else {
            ((scales[b + 4] & 15) | (scales[b - 4] >> 6) << 4, (scales[b + 4] >> 4) | (scales[b] >> 6) << 4)
        };
        let want = 0.5 * f32::from(scale) * f32::from(code) - 0.25 * f32::from(minimum);
        assert_eq!(*got, want, "element {i}");
    }

    let mut bytes: Vec<u8> = (0..52u32).map(|i| (i * 41 + 5) as u8).collect();
    bytes.extend(half(2.0));
    let got = decoded(&library, "tq1_0", &bytes);
    for (i, got) in got.iter().enumerate() {
        let (byte, digit) = if i < 160 {
            (i % 32, i / 32)
        } else if i < 240 {
            (32 + i % 16, (i - 160) / 16)
        } else {
            (48 + i % 4, (i - 240) / 4)
        };
        let fraction = bytes[byte].wrapping_mul(3u8.pow(digit as u32));
        let want = 2.0 * (((i32::from(fraction) * 3) >> 8) - 1) as f32;
        assert_eq!(*got, want, "element {i}");
    }

    let mut bytes: Vec<u8> = vec![0x38, 0x40, 0x30, 0x48];
    bytes.extend((0..32u32).map(|i| (i * 29 + 3) as u8));
    let got = decoded(&library, "nvfp4", &bytes);
    for (i, got) in got.iter().enumerate() {
        let (c, high, l) = (i / 16, i / 8 % 2, i % 8);
        let byte = bytes[4 + 8 * c + l];
        let code = if high == 0 { byte & 15 } else { byte >> 4 };
        let want = DType::UE4M3.decode(u64::from(bytes[c])) * DType::E2M1.decode(u64::from(code));
        assert_eq!(*got, want as f32, "element {i}");
    }
}

#[test]
fn a_format_with_tables_and_locals() {
    let library = clean(HARD);
    let format = tvmc_sema::format(&library, "grid").unwrap_or_else(|d| panic!("{}", shown(&library, &d)));
    assert_eq!(format.bytes, 8);
    assert_eq!(format.tables.len(), 1);
    assert_eq!(format.tables[0].1.len(), 32);
}

#[test]
fn deep_and_wide_sources_end() {
    let deep =
        format!("kernel k(y: out f32[1]) grid 1 {{ y[0] = {}1.0{}; }}", "exp(".repeat(200), ")".repeat(200));
    check(&load(&deep).library);
    let mut doubling = String::from("fn f0(x: f32) -> f32 { return x + 1.0; }");
    for i in 1..40 {
        let j = i - 1;
        doubling += &format!("fn f{i}(x: f32) -> f32 {{ return f{j}(x) * f{j}(f{j}(x)); }}");
    }
    assert!(!check(&load(&doubling).library).is_empty(), "it is refused, not expanded");
    let mut chain = String::new();
    for i in 0..3000 {
        chain += &format!("const C{i} = C{} + C{};", i + 1, i + 1);
    }
    check(&load(&chain).library);
    let mut deep_fns = String::from("fn g0(x: f32) -> f32 { return x; }");
    for i in 1..12 {
        let (minus, j) = ("-".repeat(100), i - 1);
        deep_fns += &format!("fn g{i}(x: f32) -> f32 {{ return {minus}g{j}({minus}x); }}");
    }
    assert!(!check(&load(&deep_fns).library).is_empty(), "too deep when expanded");
    let breaks = format!(
        "kernel k(y: out f32[1]) grid 1 {{ for i in 0..9 {{ {} }} }}",
        "if i > 3 { break; }".repeat(1500)
    );
    check(&load(&breaks).library);
    let nested = format!(
        "kernel k(y: out f32[1]) grid 1 {{ {} {} }}",
        "for i in 0..2 { if true {".repeat(60),
        "} }".repeat(60)
    );
    check(&load(&nested).library);
}

/// Every way of asking this crate about a source.
fn exercise(text: &str) {
    let library = load(text).library;
    let _ = check(&library);
    for name in library.kernels() {
        let Ok(interface) = interface(&library, name) else { continue };
        let instance = Instance {
            formats: interface
                .generics
                .iter()
                .map(|g| (g.name.clone(), ElementChoice::DType(DType::F32)))
                .collect(),
            dims: interface.dims.iter().map(|d| (d.name.clone(), 24)).collect(),
            ..Instance::default()
        };
        if let Ok(kernel) = instantiate(&library, name, &instance) {
            support::well_formed(&kernel);
        }
    }
    for name in library.formats() {
        let _ = tvmc_sema::format(&library, name);
    }
    for name in library.programs() {
        let _ = tvmc_sema::program(&library, name);
    }
}

const WORDS: &[&str] = &[
    "x",
    "y",
    "n",
    "s",
    "M",
    "N",
    "B",
    "block[0]",
    "0",
    "1",
    "2",
    "-1",
    "16",
    "3.5",
    "inf",
    "nan",
    "true",
    "+",
    "-",
    "*",
    "/",
    "%",
    "<<",
    ">>",
    "&",
    "|",
    "^",
    "&&",
    "||",
    "==",
    "<",
    "<=",
    "!",
    "~",
    "as f16",
    "as i8 wrap",
    "as u32 saturate",
    "as f32",
    "[0 +: 16]",
    "[.., 0]",
    "[n]",
    "[0, 1]",
    ".T",
    ".reshape(4, 4)",
    ".unsqueeze(0)",
    ".squeeze(0)",
    "sum(",
    "max(",
    "dot(",
    "where(",
    "iota(16)",
    "zeros f32[4, 4]",
    "full(f16[2], 1)",
    "exp(",
    "fma(",
    "bitcast(",
    "ceil(",
    "concat(",
    "popcount(",
    "axis = 0",
    ",",
    ")",
    "(",
    "9223372036854775807",
    "18446744073709551615",
    "f32",
    "q[i]",
    "i",
    "d",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn words_in_any_order_never_panic(picked in proptest::collection::vec(proptest::sample::select(WORDS), 1..14), place in 0usize..6) {
        let soup = picked.join(" ");
        let text = match place {
            0 => format!("kernel k(x: f32[M, N], n: i32, s: f32, y: out f32[M, N]) tune B in {{4}} grid M {{ let v = {soup}; }}"),
            1 => format!("kernel k(x: u4[M, N], n: u32[N], s: bool, y: inout f16[M, N]) grid {soup} {{ var a = 1; while {soup} {{ a = {soup}; break; }} }}"),
            2 => format!("format q {{ group {soup} {{ d: f16; q: u4[8]; }} value[i] = {soup}; }}"),
            3 => format!("format q {{ group 8 {{ d: f16; q: u4[8]; }} value[i] = {soup}; }} const A = {soup};"),
            4 => format!("program p {{ weight x: any[M, N] = \"a\"; input n: i32; let y = buffer f32[M]; k({soup}); let s = {soup}; if {soup} {{ }} }} kernel k(x: f32[N]) grid 1 {{ }}"),
            _ => format!("fn f(x: f32, i: i32) -> f32 {{ let y = {soup}; return {soup}; }} kernel k<T: dtype>(x: T[{soup}], y: out T[N]) grid N {{ y[{soup}] = {soup}; y[0] += f({soup}); }}"),
        };
        exercise(&text);
    }

    #[test]
    fn damaged_library_files_never_panic(module in 0usize..5, from in 0usize..6000, length in 0usize..12, word in proptest::sample::select(WORDS)) {
        let source = tvmc_stdlib::MODULES[module % tvmc_stdlib::MODULES.len()].source;
        let mut at = from % source.len();
        while !source.is_char_boundary(at) { at -= 1; }
        let mut end = (at + length).min(source.len());
        while !source.is_char_boundary(end) { end += 1; }
        exercise(&format!("{}{word}{}", &source[..at], &source[end..]));
    }
}
