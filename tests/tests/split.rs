//! `linear_parts` and `sum_parts` of the standard library: products whose sum over K is split in parts.
//!
//! **Laws.** (1) Each part is one ascending chain, so all candidates of the tune names, all numbers of rows and all CPU targets give the bits that the tile interpreter
//! gives. (2) With one part the bits are those of `linear`. (3) The sum of the parts is within 2 (K + 8) ε Σ|x w| of the sum in f64, for a part
//! that ends inside a group, too. (4) Where no sum rounds, WGSL gives the same bits as well.

use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_sema::{ElementChoice, Instance, Loaded, instantiate};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;
use tvmc_tests::sources::{load, shown};
use tvmc_types::dtype::DType;

/// Five groups of 40 a row, the last of which is not full; columns fill no tile.
const K: u64 = 190;
const N: u64 = 11;
const GROUP: u64 = 40;
const PARTS: [u64; 4] = [1, 2, 3, 5];

/// 40 signed codes of 4 bits with an f16 scale: 22 bytes.
const TEXT: &str = "use linear;\nformat w { group 40 { d: f16; q: i4[40]; } value[i] = d * q[i]; }";
const GROUP_BYTES: usize = 22;

/// Weights with scales `scale(g)`, as bytes and as numbers.
fn weights(scale: impl Fn(u64) -> f32) -> (Vec<u8>, Vec<f64>) {
    let groups = K.div_ceil(GROUP);
    let mut bytes = vec![0; (N * groups) as usize * GROUP_BYTES];
    let mut values = Vec::new();
    for (at, group) in bytes.chunks_exact_mut(GROUP_BYTES).enumerate() {
        let code = DType::F16.encode_f64(f64::from(scale(at as u64)));
        let d = DType::F16.decode(code);
        group[..2].copy_from_slice(&(code as u16).to_le_bytes());
        let first = at as u64 % groups * GROUP;
        for i in 0..GROUP {
            let code = (at as u64 * 29 + i * i * 7 + i / 3) % 16;
            group[2 + (i / 2) as usize] |= (code as u8) << (i % 2 * 4);
            if first + i < K {
                let signed = if code < 8 { code as f64 } else { code as f64 - 16.0 };
                values.push(d * signed);
            }
        }
    }
    (bytes, values)
}

fn kernel(name: &str, elements: &[(&str, &str)], sizes: &[(&str, u64)], tunes: &[(&str, i64)]) -> Kernel {
    let Loaded { library, diagnostics } = load("w.tile", TEXT);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    let mut instance = Instance::default();
    for (generic, element) in elements {
        let choice = match *element {
            "f32" => ElementChoice::DType(DType::F32),
            format => ElementChoice::Format(format.to_owned()),
        };
        instance.formats.insert((*generic).to_owned(), choice);
    }
    instance.dims.extend(sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)));
    instance.tunes.extend(tunes.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    match instantiate(&library, name, &instance) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{}", shown(&library, &list)),
    }
}

fn case(kernel: Kernel, tensors: Vec<(Vec<u64>, Vec<u8>)>, portable: bool) -> Case {
    let last = tensors.len() - 1;
    let element = |at: usize| match &kernel.params[at] {
        TensorDecl::Tensor { element, .. } => *element,
        TensorDecl::Scalar { .. } => panic!("a tensor"),
    };
    let arguments = tensors.into_iter().enumerate().map(|(at, (shape, bytes))| {
        let packed = at < last && matches!(element(at), Element::Format(_));
        Argument::Tensor(Data { shape, element: element(at), bytes, written: at == last, packed })
    });
    let arguments = arguments.collect();
    Case { kernel, arguments, portable }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The parts and their sum for the first `m` rows of x, everywhere the same for all `candidates`.
fn split(
    machines: &Machines,
    (x, w, m): (&[f32], &[u8], u64),
    parts: u64,
    (candidates, exact): (&[[i64; 2]], bool),
) -> Vec<f32> {
    let mut first: Option<Vec<u8>> = None;
    for [bm, bn] in candidates {
        let elements = [("X", "f32"), ("W", "w")];
        let sizes = [("K", K), ("N", N), ("P", parts)];
        let kernel = kernel("linear_parts", &elements, &sizes, &[("BM", *bm), ("BN", *bn)]);
        let memory = vec![0xa5; (parts * m * N * 4) as usize];
        let tensors = vec![
            (vec![m, K], bytes_of(&x[..(m * K) as usize])),
            (vec![N, K], w.to_vec()),
            (vec![parts, m, N], memory),
        ];
        let case = case(kernel, tensors, exact);
        let judged = match exact {
            true => machines.check(&case, true).map(|_| ()),
            false => machines.check_cpus(&case),
        };
        if let Err(error) = judged {
            panic!("{parts} parts, {m} rows, BM = {bm}, BN = {bn}: {error}");
        }
        let got = case.interpreted(2);
        let first = first.get_or_insert_with(|| got.clone());
        assert!(got == *first, "{parts} parts, {m} rows: BM = {bm}, BN = {bn} gives other bits");
    }
    let parts_bytes = first.expect("a candidate");
    let tensors = vec![(vec![parts, m, N], parts_bytes), (vec![m, N], vec![0xa5; (m * N * 4) as usize])];
    let case = case(kernel("sum_parts", &[], &[], &[("BN", 64)]), tensors, true);
    if let Err(error) = machines.check(&case, true) {
        panic!("the sum of {parts} parts: {error}");
    }
    case.interpreted(1).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn a_split_product_has_one_order_of_summation() {
    let machines = Machines::open();
    let (bytes, values) = weights(|at| 0.013 + (at % 17) as f32 * 0.0171);
    let x: Vec<f32> = (0..9 * K).map(|i| ((i * i * 31 + i * 7) % 211) as f32 / 97.0 - 1.1).collect();
    let linear = {
        let kernel =
            kernel("linear", &[("X", "f32"), ("W", "w")], &[("K", K), ("N", N)], &[("BM", 8), ("BN", 8)]);
        let memory = vec![0; (9 * N * 4) as usize];
        case(
            kernel,
            vec![(vec![9, K], bytes_of(&x)), (vec![N, K], bytes.clone()), (vec![9, N], memory)],
            false,
        )
        .interpreted(2)
    };
    let mut outcomes = Vec::new();
    for parts in PARTS {
        let all = split(&machines, (&x, &bytes, 9), parts, (&[[8, 8], [1, 64]], false));
        let one = split(&machines, (&x, &bytes, 1), parts, (&[[1, 8]], false));
        assert_eq!(
            bytes_of(&one),
            bytes_of(&all[..N as usize]),
            "{parts} parts: one row alone, and among nine"
        );
        for (at, got) in all.iter().enumerate() {
            let (row, column) = (at as u64 / N * K, at as u64 % N * K);
            let terms = (0..K).map(|k| f64::from(x[(row + k) as usize]) * values[(column + k) as usize]);
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            let bound = 2.0 * (K as f64 + 8.0) * f64::from(f32::EPSILON) * size;
            assert!(
                (f64::from(*got) - sum).abs() <= bound / 20.0,
                "{parts} parts, element {at}: {got} for {sum}"
            );
        }
        outcomes.push(bytes_of(&all));
    }
    assert!(outcomes[0] == linear, "one part is the product that is not split");
    assert!(outcomes[1] != outcomes[2], "other parts are another order");
}

#[test]
fn a_split_product_that_rounds_nowhere_is_the_same_on_wgsl() {
    let machines = Machines::open();
    let (bytes, values) = weights(|at| [0.25, 0.5, 1.0][at as usize % 3]);
    let x: Vec<f32> = (0..2 * K).map(|i| (i * i % 15) as f32 - 7.0).collect();
    let got = split(&machines, (&x, &bytes, 2), 3, (&[[8, 8]], true));
    for (at, got) in got.iter().enumerate() {
        let (row, column) = (at as u64 / N * K, at as u64 % N * K);
        let sum: f64 = (0..K).map(|k| f64::from(x[(row + k) as usize]) * values[(column + k) as usize]).sum();
        assert!(f64::from(*got) == sum, "element {at}: {got} for {sum}");
    }
}
