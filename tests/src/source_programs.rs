//! Random kernels as source text, with arguments: the whole way from language to machine is exercised.
//!
//! A kernel loads ragged tiles, computes a random element-wise tree over floats and integers, and then stores it, reduces it along an
//! axis, or multiplies it. Values are small multiples of 1/4 and every node is clamped, so that each float operation, sum and
//! product is exact: all targets must then agree bit for bit, in whatever order they add. No value is -0, so that minima and maxima do not
//! depend on the order either.

use crate::generate::{Argument, Case, Data};
use crate::random::Random;
use crate::sources::{self, shown};
use tvmc_ir::tile::{Element, Kernel};
use tvmc_sema::{Instance, Loaded};
use tvmc_types::dtype::DType;

/// A kernel named `random` and its arguments.
#[derive(Clone, Debug)]
pub struct SourceCase {
    /// The source.
    pub source: String,
    /// Tensor arguments in order.
    pub tensors: Vec<Data>,
    /// Dimensions that must be constants.
    pub constants: Vec<(String, u64)>,
}

impl SourceCase {
    /// The kernel compiled to tile IR, with its arguments. An error if the front end refuses it, which it must not.
    pub fn compile(&self) -> Result<Case, String> {
        let kernel = self.kernel()?;
        let arguments = self.tensors.iter().cloned().map(Argument::Tensor).collect();
        Ok(Case { kernel, arguments, portable: true })
    }

    fn kernel(&self) -> Result<Kernel, String> {
        let Loaded { library, diagnostics } = sources::load("random.tile", &self.source);
        if !diagnostics.is_empty() {
            return Err(shown(&library, &diagnostics));
        }
        let instance = Instance { dims: self.constants.iter().cloned().collect(), ..Instance::default() };
        let kernel =
            tvmc_sema::instantiate(&library, "random", &instance).map_err(|l| shown(&library, &l))?;
        let verified = tvmc_ir::tile::verify(kernel).map_err(|errors| format!("{errors:?}"))?;
        Ok(verified.into_inner())
    }
}

const SIZES: [usize; 8] = [1, 2, 3, 8, 16, 17, 24, 33];

/// A random float expression over `x` (the tile), `r` (a row) and `s` (a scalar), of this depth.
fn float(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return (*random.pick(&["x", "x", "r", "s", "0.5", "-1.25", "3.0"])).to_owned();
    }
    let a = float(random, depth - 1);
    let b = float(random, depth - 1);
    let expr = match random.below(12) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("({a} * {b})"),
        3 => format!("min({a}, {b})"),
        4 => format!("max({a}, {b})"),
        5 => format!("abs({a})"),
        6 => format!("floor({a})"),
        7 => format!("round({a})"),
        8 => format!("where({a} < {b}, {a}, {b})"),
        9 => format!("-({a})"),
        10 => format!("(({}) as f32)", integer(random, depth - 1)),
        _ => format!("trunc({a})"),
    };
    // Multiples of 1/4 up to 16: exact under every operation above. The zero added makes 0 of -0.
    format!("(floor(min(max({expr}, -16.0), 16.0) * 4.0) * 0.25 + 0.0)")
}

/// A random i32 expression over `i` (a tile) and constants.
fn integer(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return (*random.pick(&["i", "i", "((i & 0) + 7)", "((i & 0) - 3)", "(i & 1)"])).to_owned();
    }
    let a = integer(random, depth - 1);
    let b = integer(random, depth - 1);
    let expr = match random.below(12) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("({a} * {b})"),
        3 => format!("({a} / {b})"),
        4 => format!("({a} % {b})"),
        5 => format!("({a} & {b})"),
        6 => format!("({a} | {b})"),
        7 => format!("({a} ^ {b})"),
        8 => format!("({a} << ({b} & 31))"),
        9 => format!("({a} >> ({b} & 31))"),
        10 => format!("min({a}, {b})"),
        _ => format!("where({a} == {b}, {a}, ~({b}))"),
    };
    // Leaves are never constants alone: those are computed exactly while compiling, and may overflow there.
    format!("({expr} ^ (i & 1))")
}

fn tensor(shape: &[u64], dtype: DType, bytes: Vec<u8>, written: bool) -> Data {
    Data { shape: shape.to_vec(), element: Element::DType(dtype), bytes, written, packed: false }
}

fn floats(random: &mut Random, shape: &[u64]) -> Data {
    let count: u64 = shape.iter().product();
    let bytes = (0..count).flat_map(|_| ((random.below(65) as f32 - 32.0) / 4.0).to_le_bytes()).collect();
    tensor(shape, DType::F32, bytes, false)
}

fn integers(random: &mut Random, shape: &[u64]) -> Data {
    let count: u64 = shape.iter().product();
    let bytes = (0..count)
        .flat_map(|_| match random.below(8) {
            0 => i32::MIN.to_le_bytes(),
            1 => i32::MAX.to_le_bytes(),
            2 => 0i32.to_le_bytes(),
            _ => (random.below(41) as i32 - 20).to_le_bytes(),
        })
        .collect();
    tensor(shape, DType::I32, bytes, false)
}

fn output(shape: &[u64]) -> Data {
    let count: u64 = shape.iter().product();
    tensor(shape, DType::F32, vec![0; count as usize * 4], true)
}

/// The kernel of a seed.
pub fn case(seed: u64) -> SourceCase {
    let random = &mut Random::new(seed);
    let (bm, bk, bn) = (*random.pick(&SIZES), *random.pick(&SIZES), *random.pick(&SIZES));
    let size = |random: &mut Random| 1 + random.below(40) as u64;
    let (m, k, n) = (size(random), size(random), size(random));
    let depth = 1 + random.below(2);
    let map = float(random, depth);
    let head = "/// Made by a generator.\nkernel random(a: f32[M, K], row: f32[K], c: i32[M, K], b: f32[K, N], o: out f32[M, KIND]";
    let load = format!(
        "let x = a[m +: {bm}, k +: {bk}];\n    let r = row[k +: {bk}];\n    let i = c[m +: {bm}, k +: {bk}];\n    let s = row[0];"
    );
    let (kind, grid, body) = match random.below(3) {
        0 => (
            "K",
            format!("grid ceil(M, {bm}), ceil(K, {bk})"),
            format!(
                "let m = block[0] * {bm};\n    let k = block[1] * {bk};\n    {load}\n    o[m +: {bm}, k +: {bk}] = {map};"
            ),
        ),
        1 => (
            "1",
            format!("grid ceil(M, {bm})"),
            format!(
                "let m = block[0] * {bm};\n    var total = zeros f32[{bm}];\n    var top = full(f32[{bm}], -100.0);\n    for k in 0..K by {bk} {{\n    {load}\n    let inside = (k + iota({bk}) < K).unsqueeze(0);\n    let v = where(inside, {map}, 0.0);\n    total += sum(v, axis = 1);\n    top = max(top, max(where(inside, {map}, -100.0), axis = 1));\n    }}\n    o[m +: {bm}, 0] = total + top;"
            ),
        ),
        _ => (
            "N",
            format!("grid ceil(M, {bm}), ceil(N, {bn})"),
            format!(
                "let m = block[0] * {bm};\n    let n = block[1] * {bn};\n    var acc = zeros f32[{bm}, {bn}];\n    for k in 0..K by {bk} {{\n    {load}\n    let inside = (k + iota({bk}) < K).unsqueeze(0);\n    acc += dot(where(inside, {map}, 0.0), b[k +: {bk}, n +: {bn}]);\n    }}\n    o[m +: {bm}, n +: {bn}] = min(acc, 1000.0);"
            ),
        ),
    };
    let source = format!("{}) \n  {grid}\n{{\n    {body}\n}}\n", head.replace("KIND", kind));
    let last = match kind {
        "K" => k,
        "1" => 1,
        _ => n,
    };
    let tensors = vec![
        floats(random, &[m, k]),
        floats(random, &[k]),
        integers(random, &[m, k]),
        floats(random, &[k, n]),
        output(&[m, last]),
    ];
    // Half of the time every dimension is a constant, so that masks are proved away.
    let constants = if random.below(2) == 0 {
        vec![("M".to_owned(), m), ("K".to_owned(), k), ("N".to_owned(), n)]
    } else {
        Vec::new()
    };
    SourceCase { source, tensors, constants }
}
