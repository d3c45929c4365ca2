//! Limits of SECURITY.md, each at its value and one past it. Its table names the test of each; those that stand beside the code that enforces them are there, the rest is here.

use tvmc_ir::module::{self, Module, Source};
use tvmc_ir::tile::launch::{ArgumentShape, MAX_BLOCKS, MAX_EXTENT, bind};
use tvmc_ir::tile::{MAX_ELEMENTS, MAX_RANK};
use tvmc_ir::{lane, program, tile};
use tvmc_lang::diag::Code;
use tvmc_lang::limits::{
    MAX_ARMS, MAX_DEEP_TOKENS, MAX_DIAGNOSTICS, MAX_NESTING, MAX_SOURCE_BYTES, MAX_TOKENS,
};
use tvmc_lang::source::SourceMap;
use tvmc_types::layout::{self, Layout};
use tvmc_weights::npy::{self, NpyArray};
use tvmc_weights::{FileBytes, Weights, safetensors};

/// Codes of the errors of a source.
fn codes(text: &str) -> Vec<Code> {
    let mut sources = SourceMap::new();
    let id = match sources.add("t.tile", text) {
        Ok(id) => id,
        Err(error) => return vec![error.code],
    };
    let parsed = tvmc_lang::parse(id, text);
    parsed.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect()
}

#[test]
fn sources() {
    assert_eq!(codes(&" ".repeat(MAX_SOURCE_BYTES)), []);
    assert_eq!(codes(&" ".repeat(MAX_SOURCE_BYTES + 1)), [Code::SourceTooLong]);

    // `use a;` is three tokens, `use a` without the semicolon one fewer.
    let whole = MAX_TOKENS / 3 * 3;
    let rest = ["", "use", "use a"][MAX_TOKENS - whole];
    let tokens = |more: &str| "use a;".repeat(MAX_TOKENS / 3) + rest + more;
    assert!(!codes(&tokens("")).contains(&Code::TooManyTokens));
    assert!(codes(&tokens(";")).contains(&Code::TooManyTokens));

    let body = |expr: String| format!("fn f(x: f32) -> f32 {{ return {expr}; }}");
    let brackets = |n: usize| body("(".repeat(n) + "x" + &")".repeat(n));
    assert_eq!(codes(&brackets(MAX_NESTING - 1)), []);
    assert!(codes(&brackets(MAX_NESTING + 1)).contains(&Code::NestingTooDeep));

    let arms = |n: usize| {
        format!("kernel k(y: out f32[4]) grid 1 {{ if true {{}} {} }}", "else if true {} ".repeat(n - 1))
    };
    assert_eq!(codes(&arms(MAX_ARMS)), []);
    assert_eq!(codes(&arms(MAX_ARMS + 1)), [Code::TooManyArms]);
}

/// Brackets `k` deep around `n` words: each token counts as often as brackets stand around it, opening ones with themselves, so k (k + n) in all.
#[test]
fn deeply_nested_tokens() {
    let depth = 200;
    let codes_of = |words: usize| {
        codes(&format!("const A = {}{}{};", "(".repeat(depth), "x ".repeat(words), ")".repeat(depth)))
    };
    let most = MAX_DEEP_TOKENS / depth - depth;
    assert!(!codes_of(most).contains(&Code::NestingTooDeep));
    assert!(codes_of(most + 1).contains(&Code::NestingTooDeep));
}

#[test]
fn diagnostics() {
    let count = |errors: usize| codes(&"use ;\n".repeat(errors)).len();
    assert_eq!(count(MAX_DIAGNOSTICS), MAX_DIAGNOSTICS);
    // One more says that there are more.
    assert_eq!(count(MAX_DIAGNOSTICS + 1), MAX_DIAGNOSTICS + 1);
    assert_eq!(count(MAX_DIAGNOSTICS + 50), MAX_DIAGNOSTICS + 1);
}

#[test]
fn layouts() {
    let reads = |text: String| text.parse::<Layout>().is_ok();
    let ranked = |rank: usize| reads(format!("local({})", vec!["1"; rank].join(", ")));
    assert!(ranked(layout::MAX_RANK) && !ranked(layout::MAX_RANK + 1));
    let places = |places: u64| reads(format!("local({places})"));
    assert!(places(layout::MAX_PLACES) && !places(layout::MAX_PLACES + 1));
}

#[test]
fn expressions_of_programs() {
    use tvmc_ir::host::{Binary, Expr, Unary};
    // A complete tree has 2^12 - 1 operations and operands; one more is around it.
    let tree = |depth: u32| (0..depth).fold(Expr::int(1), |e, _| Expr::binary(Binary::Add, e.clone(), e));
    let around = |times: usize| (0..times).fold(tree(11), |e, _| Expr::Unary(Unary::Neg, Box::new(e)));
    let verifies = |scalar: Expr| {
        let launch = program::Stmt::Launch {
            kernel: "f".into(),
            args: vec![program::Argument::Scalar(scalar)],
            with: Vec::new(),
            location: String::new(),
        };
        program::verify(program::Program {
            name: "p".into(),
            body: vec![launch],
            ..program::Program::default()
        })
        .is_ok()
    };
    assert_eq!(program::MAX_EXPRESSION, 1 << 12);
    assert!(verifies(around(1)) && !verifies(around(2)));
}

/// Whether a tile kernel of these lines verifies.
fn sound(lines: &str) -> bool {
    let text = format!("kernel @k {lines}}}\n");
    tile::verify(tile::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).is_ok()
}

#[test]
fn tiles() {
    let tile = |shape: &str| {
        sound(&format!("{{\n  grid 1\n  v0: i32 = const 1\n  v1: i32[{shape}] = broadcast v0\n"))
    };
    let ranked = |rank: usize| tile(&vec!["1"; rank].join(", "));
    assert!(ranked(MAX_RANK) && !ranked(MAX_RANK + 1));
    assert!(tile(&MAX_ELEMENTS.to_string()) && !tile(&(MAX_ELEMENTS + 1).to_string()));
    let lanes = |lanes: u32| sound(&format!("lanes {lanes} {{\n  grid 1\n"));
    assert!(lanes(lane::MAX_LANES) && !lanes(lane::MAX_LANES + 1));
}

#[test]
fn lanes() {
    let sound = |text: &str| {
        lane::verify(lane::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))).is_ok()
    };
    let lanes = |n: u32| sound(&format!("kernel @k lanes {n} {{\n}}\n"));
    assert!(lanes(lane::MAX_LANES) && !lanes(lane::MAX_LANES + 1));
    let arena = |bytes: u64| sound(&format!("kernel @k lanes 1 {{\n  arena a0 {bytes}\n}}\n"));
    assert!(arena(lane::MAX_ARENA_BYTES) && !arena(lane::MAX_ARENA_BYTES + 1));
}

#[test]
fn launches() {
    let text = "kernel @k {\n  dim M\n  dim N\n  tensor p0 \"x\": f32[M, N] read\n  grid M, N\n}\n";
    let kernel = tile::verify(tile::parse(text).expect("it parses")).expect("it verifies").into_inner();
    let binds = |m: u64, n: u64| bind(&kernel, &[ArgumentShape::Tensor(vec![m, n])]).is_ok();
    assert!(binds(MAX_EXTENT, 1) && !binds(MAX_EXTENT + 1, 1));
    assert!(MAX_BLOCKS == 1 << 40 && binds(1 << 20, 1 << 20) && !binds(1 << 20, (1 << 20) + 1));
}

#[test]
fn modules_and_programs() {
    // A file of exactly the limit: a source fills it up.
    let module = |text: usize| {
        let source = Source { name: "a.tile".into(), text: " ".repeat(text) };
        module::write(&Module { sources: vec![source], ..Module::default() })
    };
    let fixed = module(0).len();
    let largest = module(module::MAX_BYTES - fixed);
    assert_eq!(largest.len(), module::MAX_BYTES);
    assert!(module::read(&largest).is_ok());
    assert!(matches!(
        module::read(&module(module::MAX_BYTES - fixed + 1)),
        Err(module::ModuleError::Length { .. })
    ));
    const MAX_TEXT: usize = 64 << 20;
    let text = "program @p {\n}\n";
    let padded = |bytes: usize| program::parse(&(text.to_owned() + &"\n".repeat(bytes - text.len())));
    assert!(padded(MAX_TEXT).is_ok() && padded(MAX_TEXT + 1).is_err());
}

fn safetensors(header: &str, data: usize) -> Result<Weights, tvmc_weights::WeightsError> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.resize(file.len() + data, 0);
    Weights::from_bytes("t".as_ref(), FileBytes::from_slice(&file).expect("memory"))
}

#[test]
fn safetensors_files() {
    let ranked = |rank: usize| {
        let shape = vec!["1"; rank].join(",");
        safetensors(&format!(r#"{{"a":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,1]}}}}"#), 1).is_ok()
    };
    assert!(ranked(safetensors::MAX_RANK) && !ranked(safetensors::MAX_RANK + 1));
    let many = |count: usize| {
        let one = |n: usize| format!(r#""{n}":{{"dtype":"U8","shape":[1],"data_offsets":[{n},{}]}}"#, n + 1);
        safetensors(&format!("{{{}}}", (0..count).map(one).collect::<Vec<_>>().join(",")), count).is_ok()
    };
    assert!(many(safetensors::MAX_TENSORS) && !many(safetensors::MAX_TENSORS + 1));
    let long = |bytes: u64| safetensors(&format!("{{}}{}", " ".repeat(bytes as usize - 2)), 0).is_ok();
    assert!(long(safetensors::MAX_HEADER_BYTES) && !long(safetensors::MAX_HEADER_BYTES + 1));
}

/// A header of one array that fills it, and one byte more.
#[test]
fn gguf_headers() {
    let reads = |bytes: u64| {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend([0u64.to_le_bytes(), 1u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
        file.push(b'k');
        // An array (9) of u8 (0).
        file.extend([9u32.to_le_bytes(), 0u32.to_le_bytes()].concat());
        file.extend((bytes - file.len() as u64 - 8).to_le_bytes());
        file.resize(bytes as usize, 0);
        Weights::from_bytes("t".as_ref(), FileBytes::from_slice(&file).expect("memory")).is_ok()
    };
    let most = tvmc_weights::gguf::limits::MAX_HEADER_BYTES;
    assert!(reads(most) && !reads(most + 1));
}

#[test]
fn arrays() {
    let file = |shape: &str, length: usize| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape},), }}");
        let header = header.clone() + &" ".repeat(length.saturating_sub(header.len()));
        let mut file = b"\x93NUMPY\x02\x00".to_vec();
        file.extend((header.len() as u32).to_le_bytes());
        file.extend(header.bytes());
        file.push(7);
        NpyArray::read(&file).is_ok()
    };
    let ranked = |rank: usize| file(&vec!["1"; rank].join(", "), 0);
    assert!(ranked(npy::MAX_RANK) && !ranked(npy::MAX_RANK + 1));
    assert!(file("1", npy::MAX_HEADER_BYTES) && !file("1", npy::MAX_HEADER_BYTES + 1));
}
