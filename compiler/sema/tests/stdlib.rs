//! The whole standard library compiles, in many instances, and means what it says: judged by the tile interpreter.

mod support;

use support::{clean, compiled, instance, shown};
use tvmc_interp::tile::{Argument, run};
use tvmc_ir::host::Number;
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::{ArgumentShape, bind};
use tvmc_sema::{check, choose_tunes, interface};
use tvmc_types::dtype::DType;

const ALL: &str = "use linear;\nuse nn;\n";

/// An argument of a test run.
enum Arg {
    F32(Vec<f32>, Vec<u64>),
    Bytes(Vec<u8>, Vec<u64>),
    Int(i32),
    Float(f32),
}

/// Runs a kernel; gives back the bytes of every tensor.
fn execute(kernel: &Kernel, args: Vec<Arg>) -> Vec<Vec<u8>> {
    let shapes: Vec<ArgumentShape> = args
        .iter()
        .map(|a| match a {
            Arg::F32(_, shape) | Arg::Bytes(_, shape) => ArgumentShape::Tensor(shape.clone()),
            Arg::Int(v) => ArgumentShape::Scalar(Number::Int(i64::from(*v))),
            Arg::Float(v) => ArgumentShape::Scalar(Number::Float(f64::from(*v))),
        })
        .collect();
    let binding = bind(kernel, &shapes).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let mut memory: Vec<Vec<u8>> = args
        .iter()
        .map(|a| match a {
            Arg::F32(values, _) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Arg::Bytes(bytes, _) => bytes.clone(),
            Arg::Int(_) | Arg::Float(_) => Vec::new(),
        })
        .collect();
    let arguments: Vec<Argument> = memory
        .iter_mut()
        .zip(&args)
        .map(|(bytes, a)| match a {
            Arg::F32(_, shape) | Arg::Bytes(_, shape) => {
                Argument::Tensor(bytes.as_mut_slice(), shape.clone())
            }
            Arg::Int(v) => Argument::Scalar(*v as u32),
            Arg::Float(v) => Argument::Scalar(v.to_bits()),
        })
        .collect();
    if let Err(trap) = run(kernel, &binding, arguments, 100_000_000) {
        panic!("{trap}\n{kernel}");
    }
    memory
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Numbers between -1 and 1 that look random and are the same in every run.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2654435761).wrapping_add(12345);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn close(got: &[f32], want: &[f32], bound: f32) {
    assert_eq!(got.len(), want.len());
    for (at, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= bound * (1.0 + w.abs()), "element {at}: {g}, not {w}");
    }
}

#[test]
fn every_module_checks() {
    for module in tvmc_stdlib::MODULES {
        let library = clean(module.source);
        let found = check(&library);
        assert!(found.is_empty(), "{}: {}", module.name, shown(&library, &found));
    }
}

#[test]
fn every_kernel_compiles_in_many_instances() {
    let library = clean(ALL);
    let formats = ["f32", "f16", "bf16", "e4m3", "i8", "q4_0", "q4_1", "q8_0"];
    for name in library.kernels() {
        let interface = interface(&library, name).unwrap_or_else(|d| panic!("{}", shown(&library, &d)));
        for size in [1u64, 33, 64, 576] {
            for format in formats {
                // Activations X are not integers; what is stored, as Y or KV, is rounded to a float; to a format it is encoded
                // (`kernels_store_encoded_activations`).
                let float = DType::from_name(format).is_some_and(|dtype| dtype.is_float());
                let stored = if float { format } else { "f32" };
                let choice = |name: &str| match name {
                    "X" => "f32",
                    "Y" | "KV" => stored,
                    _ => format,
                };
                let generics: Vec<(&str, &str)> =
                    interface.generics.iter().map(|g| (g.name.as_str(), choice(&g.name))).collect();
                for all in [false, true] {
                    let dims: Vec<(&str, u64)> = interface
                        .dims
                        .iter()
                        .filter(|d| all || d.specialised)
                        .map(|d| (d.name.as_str(), size))
                        .collect();
                    let sizes = |n: &str| dims.iter().find(|d| d.0 == n).map(|d| d.1 as i64);
                    let tunes = choose_tunes(&interface, &sizes);
                    let tunes: Vec<(&str, i64)> = tunes.iter().map(|(n, v)| (n.as_str(), *v)).collect();
                    let kernel = compiled(&library, name, &instance(&generics, &dims, &tunes));
                    assert_eq!(kernel.params.len(), interface.params.len(), "{name}");
                }
                if interface.generics.is_empty() {
                    break;
                }
            }
        }
    }
}

#[test]
fn kernels_store_encoded_activations() {
    let library = clean(ALL);
    for (name, dim) in [("rms_norm", "D"), ("swiglu", "F"), ("attention", "E")] {
        for size in [64u64, 576] {
            let generics = [("Y", "act8"), ("KV", "q8_0")];
            let generics = &generics[..if name == "attention" { 2 } else { 1 }];
            compiled(&library, name, &instance(generics, &[(dim, size)], &[]));
        }
    }
    for cache in ["f16", "f32", "q8_0", "q4_0", "mxfp4"] {
        compiled(&library, "rope_append", &instance(&[("KV", cache)], &[("P", 32)], &[]));
    }
    for weights in ["q4_0", "q4_1", "q8_0", "f16"] {
        let generics = [("X", "act8"), ("W", weights)];
        compiled(&library, "linear", &instance(&generics, &[("K", 576), ("N", 192)], &[]));
    }
}

#[test]
fn interfaces_say_what_a_launcher_needs() {
    let library = clean(ALL);
    let needed = |name: &str| -> Vec<String> {
        let interface = interface(&library, name).expect("an interface");
        interface.dims.into_iter().filter(|d| d.specialised).map(|d| d.name).collect()
    };
    assert_eq!(needed("linear"), [""; 0]);
    assert_eq!(needed("rope_append"), ["P"]);
    assert_eq!(needed("attention"), ["E"]);
    let linear = interface(&library, "linear").expect("an interface");
    let tunes = |m: i64| choose_tunes(&linear, &|n| (n == "M").then_some(m));
    assert_eq!(tunes(100), [("BM".to_owned(), 32), ("BN".to_owned(), 64)]);
    assert_eq!(tunes(9)[0].1, 8);
    assert_eq!(tunes(1)[0].1, 1);
    assert_eq!(choose_tunes(&linear, &|_| None)[0].1, 32);
}

#[test]
fn vector_add() {
    let library = clean(
        "kernel add(a: f32[N], b: f32[N], c: out f32[N])
           const B = 16
           grid ceil(N, B)
         {
           let i = block[0] * B;
           c[i +: B] = a[i +: B] + b[i +: B];
         }",
    );
    let kernel = compiled(&library, "add", &instance(&[], &[], &[]));
    let (a, b) = (noise(100, 1), noise(100, 2));
    let out = execute(
        &kernel,
        vec![
            Arg::F32(a.clone(), vec![100]),
            Arg::F32(b.clone(), vec![100]),
            Arg::F32(vec![0.0; 100], vec![100]),
        ],
    );
    let want: Vec<f32> = a.iter().zip(&b).map(|(x, y)| x + y).collect();
    assert_eq!(floats(&out[2]), want);
}

#[test]
fn a_generic_matrix_product() {
    let library = clean(
        "kernel matmul<T: float>(a: T[M, K], b: T[K, N], c: out f32[M, N])
           tune BM in {8, 4}, BN in {16}
           const BK = 8
           grid ceil(M, BM), ceil(N, BN)
         {
           let m = block[0] * BM;
           let n = block[1] * BN;
           var acc = zeros f32[BM, BN];
           for k in 0..K by BK {
             acc += dot(a[m +: BM, k +: BK], b[k +: BK, n +: BN]);
           }
           c[m +: BM, n +: BN] = acc;
         }",
    );
    let (m, k, n) = (11, 13, 19);
    let (a, b) = (noise(m * k, 3), noise(k * n, 4));
    let mut want = vec![0.0f32; m * n];
    for i in 0..m {
        for j in 0..n {
            want[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        }
    }
    for bm in [8, 4] {
        let kernel = compiled(&library, "matmul", &instance(&[("T", "f32")], &[], &[("BM", bm)]));
        let text = kernel.to_string();
        assert_eq!(text.matches(" dot ").count(), 1, "{text}");
        assert!(!text.contains("= add"), "the accumulator is the product's third operand:\n{text}");
        let shape = |r: usize, c: usize| vec![r as u64, c as u64];
        let out = execute(
            &kernel,
            vec![
                Arg::F32(a.clone(), shape(m, k)),
                Arg::F32(b.clone(), shape(k, n)),
                Arg::F32(vec![0.0; m * n], shape(m, n)),
            ],
        );
        close(&floats(&out[2]), &want, 1e-5);
    }
}

/// Rows of `format` with codes that look random, and what they decode to.
fn encoded(format: &str, rows: usize, columns: usize) -> (Vec<u8>, Vec<f32>) {
    let half = |v: f32| (DType::F16.encode_f32(v) as u16).to_le_bytes();
    let mut bytes = Vec::new();
    let mut values = Vec::new();
    let mut codes = (0u32..).map(|i| (i.wrapping_mul(2654435761) >> 11) as u8);
    for row in 0..rows {
        for group in 0..columns.div_ceil(32) {
            let d = 0.0625 + 0.03125 * ((row + group) % 5) as f32;
            let m = -0.25 * (group % 3) as f32;
            bytes.extend(half(d));
            if format == "q4_1" {
                bytes.extend(half(m));
            }
            let count = if format == "q8_0" { 32 } else { 16 };
            let q: Vec<u8> = codes.by_ref().take(count).collect();
            bytes.extend(&q);
            for i in 0..32.min(columns - 32 * group) {
                let nibble = f32::from(if i < 16 { q[i] & 15 } else { q[(i - 16).min(count - 1)] >> 4 });
                values.push(match format {
                    "q4_0" => d * (nibble - 8.0),
                    "q4_1" => d * nibble + m,
                    _ => d * f32::from(q[i] as i8),
                });
            }
        }
    }
    (bytes, values)
}

#[test]
fn products_with_stored_weights() {
    let library = clean(ALL);
    let (m, k, n) = (5, 70, 67);
    let x = noise(m * k, 7);
    for format in ["q4_0", "q4_1", "q8_0"] {
        let (bytes, w) = encoded(format, n, k);
        let mut want = vec![0.0f32; m * n];
        for i in 0..m {
            for j in 0..n {
                want[i * n + j] = (0..k).map(|l| x[i * k + l] * w[j * k + l]).sum();
            }
        }
        for dims in [&[][..], &[("K", k as u64), ("N", n as u64)][..]] {
            let kernel =
                compiled(&library, "linear", &instance(&[("X", "f32"), ("W", format)], dims, &[("BM", 8)]));
            let shape = |r: usize, c: usize| vec![r as u64, c as u64];
            let out = execute(
                &kernel,
                vec![
                    Arg::F32(x.clone(), shape(m, k)),
                    Arg::Bytes(bytes.clone(), shape(n, k)),
                    Arg::F32(vec![0.0; m * n], shape(m, n)),
                ],
            );
            close(&floats(&out[2]), &want, 1e-4);
        }
        let kernel = compiled(&library, "linear_add", &instance(&[("X", "f32"), ("W", format)], &[], &[]));
        let out = execute(
            &kernel,
            vec![
                Arg::F32(x.clone(), vec![m as u64, k as u64]),
                Arg::Bytes(bytes, vec![n as u64, k as u64]),
                Arg::F32(vec![1.0; m * n], vec![m as u64, n as u64]),
            ],
        );
        let want: Vec<f32> = want.iter().map(|v| v + 1.0).collect();
        close(&floats(&out[2]), &want, 1e-4);
    }
}

/// What one launch makes of several products is bit for bit what their own kernels make.
#[test]
fn launches_of_several_products() {
    let library = clean(ALL);
    let (m, k) = (9usize, 96usize);
    let x = noise(m * k, 11);
    let shape = |r: usize, c: usize| vec![r as u64, c as u64];
    let zeros = |n: usize| Arg::F32(vec![0.0; m * n], shape(m, n));
    let product = |format: &str, n: usize| {
        let kernel = compiled(&library, "linear", &instance(&[("X", "f32"), ("W", format)], &[], &[]));
        let weights = Arg::Bytes(encoded(format, n, k).0, shape(n, k));
        execute(&kernel, vec![Arg::F32(x.clone(), shape(m, k)), weights, zeros(n)]).remove(2)
    };

    let parts = [("q4_1", 130), ("q8_0", 64), ("q4_0", 37)];
    let generics = [("X", "f32"), ("W1", parts[0].0), ("W2", parts[1].0), ("W3", parts[2].0)];
    let kernel = compiled(&library, "linear3", &instance(&generics, &[], &[]));
    let weights = parts.map(|(format, n)| Arg::Bytes(encoded(format, n, k).0, shape(n, k)));
    let mut args = vec![Arg::F32(x.clone(), shape(m, k))];
    args.extend(weights);
    args.extend(parts.map(|(_, n)| zeros(n)));
    let out = execute(&kernel, args);
    for (at, (format, n)) in parts.into_iter().enumerate() {
        assert!(out[4 + at] == product(format, n), "{format}[{n}]");
    }

    let n = 70;
    let generics = [("X", "f32"), ("G", "q8_0"), ("U", "q4_1"), ("Y", "f32")];
    let kernel = compiled(&library, "linear_swiglu", &instance(&generics, &[], &[]));
    let weights = |format| Arg::Bytes(encoded(format, n, k).0, shape(n, k));
    let args = vec![Arg::F32(x.clone(), shape(m, k)), weights("q8_0"), weights("q4_1"), zeros(n)];
    let both = execute(&kernel, args).remove(3);
    let [gate, up] = ["q8_0", "q4_1"].map(|format| floats(&product(format, n)));
    let want: Vec<f32> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
    close(&floats(&both), &want, 1e-5);
}

/// Applies a fn of the library to numbers.
fn apply(function: &str, x: &[f32]) -> Vec<f32> {
    let library = clean(&format!(
        "kernel f(x: f32[N], y: out f32[N]) grid ceil(N, 16) {{
           let i = block[0] * 16;
           y[i +: 16] = {function};
         }}"
    ));
    let kernel = compiled(&library, "f", &instance(&[], &[], &[]));
    let n = x.len() as u64;
    let out = execute(&kernel, vec![Arg::F32(x.to_vec(), vec![n]), Arg::F32(vec![0.0; x.len()], vec![n])]);
    floats(&out[1])
}

#[test]
fn elementary_functions() {
    let x: Vec<f32> = (-160..160).map(|i| i as f32 * 0.11).collect();
    let check = |function: &str, exact: fn(f64) -> f64, bound: f32| {
        let got = apply(&format!("{function}(x[i +: 16])"), &x);
        let want: Vec<f32> = x.iter().map(|v| exact(f64::from(*v)) as f32).collect();
        close(&got, &want, bound);
    };
    check("exp", f64::exp, 4e-7);
    check("sin", f64::sin, 4e-7);
    check("cos", f64::cos, 4e-7);
    check("tanh", f64::tanh, 6e-7);
    check("sigmoid", |v| 1.0 / (1.0 + (-v).exp()), 6e-7);
    check("silu", |v| v / (1.0 + (-v).exp()), 6e-7);
    let positive: Vec<f32> = x.iter().map(|v| v.abs() + 0.01).collect();
    let got = apply("log(x[i +: 16])", &positive);
    let want: Vec<f32> = positive.iter().map(|v| f64::from(*v).ln() as f32).collect();
    close(&got, &want, 4e-7);
    assert_eq!(apply("log(x[i +: 16])", &[0.0, f32::INFINITY]), [f32::NEG_INFINITY, f32::INFINITY]);
    assert!(apply("log(x[i +: 16])", &[-1.0])[0].is_nan());
}

#[test]
fn root_mean_square_normalisation() {
    let library = clean(ALL);
    let (m, d) = (3, 70);
    let (x, gain) = (noise(m * d, 9), noise(d, 10));
    let mut want = Vec::new();
    for row in x.chunks(d) {
        let mean = row.iter().map(|v| v * v).sum::<f32>() / d as f32;
        want.extend(row.iter().zip(&gain).map(|(v, g)| v / (mean + 1e-5).sqrt() * g));
    }
    for dims in [&[][..], &[("D", 70)][..]] {
        let kernel = compiled(&library, "rms_norm", &instance(&[("Y", "f32")], dims, &[]));
        let shape = vec![m as u64, d as u64];
        let out = execute(
            &kernel,
            vec![
                Arg::F32(x.clone(), shape.clone()),
                Arg::F32(gain.clone(), vec![d as u64]),
                Arg::F32(vec![0.0; m * d], shape),
                Arg::Float(1e-5),
            ],
        );
        close(&floats(&out[2]), &want, 1e-5);
    }
}

#[test]
fn causal_attention() {
    let library = clean(ALL);
    let (m, h, g, e, c, start) = (3usize, 4usize, 2usize, 8usize, 70usize, 64usize);
    let half = |v: &[f32]| -> Vec<u8> {
        v.iter().flat_map(|v| (DType::F16.encode_f32(*v) as u16).to_le_bytes()).collect()
    };
    let rounded =
        |v: Vec<f32>| -> Vec<f32> { v.into_iter().map(|v| DType::F16.round(f64::from(v)) as f32).collect() };
    let q = noise(m * h * e, 11);
    let keys = rounded(noise(g * c * e, 12));
    let values = rounded(noise(g * c * e, 13));
    let mut want = vec![0.0f32; m * h * e];
    for i in 0..m {
        for j in 0..h {
            let head = j / (h / g);
            let seen = start + i + 1;
            let scores: Vec<f32> = (0..seen)
                .map(|p| (0..e).map(|l| q[(i * h + j) * e + l] * 0.5 * keys[(head * c + p) * e + l]).sum())
                .collect();
            let peak = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f32> = scores.iter().map(|s| (s - peak).exp()).collect();
            let total: f32 = weights.iter().sum();
            for l in 0..e {
                let sum: f32 = (0..seen).map(|p| weights[p] * values[(head * c + p) * e + l]).sum();
                want[(i * h + j) * e + l] = sum / total;
            }
        }
    }
    let kernel =
        compiled(&library, "attention", &instance(&[("KV", "f16"), ("Y", "f32")], &[("E", e as u64)], &[]));
    let shape = |s: &[usize]| s.iter().map(|v| *v as u64).collect::<Vec<u64>>();
    let out = execute(
        &kernel,
        vec![
            Arg::F32(q, shape(&[m, g, h / g, e])),
            Arg::Bytes(half(&keys), shape(&[g, c, e])),
            Arg::Bytes(half(&values), shape(&[g, c, e])),
            Arg::F32(vec![0.0; m * h * e], shape(&[m, g, h / g, e])),
            Arg::Int(start as i32),
            Arg::Float(0.5),
        ],
    );
    close(&floats(&out[3]), &want, 1e-4);
}

/// Positions 5 to 7: queries turn where they are, keys turn on their way to the cache, values go there.
#[test]
fn rotation_and_the_cache() {
    let (m, h, g, p, c, start, theta) = (3usize, 4usize, 2usize, 8usize, 16usize, 5usize, 10000.0f32);
    let (q, k, v) = (noise(m * h * 2 * p, 1), noise(m * g * 2 * p, 2), noise(m * g * 2 * p, 3));
    let kernel = compiled(&clean(ALL), "rope_append", &instance(&[("KV", "f32")], &[("P", p as u64)], &[]));
    let shape = |s: &[usize]| s.iter().map(|n| *n as u64).collect::<Vec<u64>>();
    let cache = || Arg::F32(vec![0.0; g * c * 2 * p], shape(&[g, c, 2 * p]));
    let out = execute(
        &kernel,
        vec![
            Arg::F32(q.clone(), shape(&[m, h, p, 2])),
            Arg::F32(k.clone(), shape(&[m, g, p, 2])),
            Arg::F32(v.clone(), shape(&[m, g, 2 * p])),
            cache(),
            cache(),
            Arg::Int(start as i32),
            Arg::Float(theta),
        ],
    );
    let turned = |row: &[f32], position: usize| -> Vec<f32> {
        let pair = |i: usize| {
            let angle = position as f64 * f64::from(theta).powf(-(i as f64) / p as f64);
            let (a, b) = (f64::from(row[2 * i]), f64::from(row[2 * i + 1]));
            [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
        };
        (0..p).flat_map(pair).map(|x| x as f32).collect()
    };
    let rows = q.chunks(2 * p).enumerate();
    let want: Vec<f32> = rows.flat_map(|(at, row)| turned(row, start + at / h)).collect();
    close(&floats(&out[0]), &want, 1e-5);
    let (mut keys, mut values) = (vec![0.0f32; g * c * 2 * p], vec![0.0f32; g * c * 2 * p]);
    for (at, (key, value)) in k.chunks(2 * p).zip(v.chunks(2 * p)).enumerate() {
        let position = start + at / g;
        let first = (at % g * c + position) * 2 * p;
        keys[first..first + 2 * p].copy_from_slice(&turned(key, position));
        values[first..first + 2 * p].copy_from_slice(value);
    }
    close(&floats(&out[3]), &keys, 1e-5);
    assert_eq!(floats(&out[4]), values);
}

#[test]
fn the_llama_program() {
    let library = clean(tvmc_stdlib::module("models/llama").expect("a module"));
    let program = tvmc_sema::program(&library, "llama").unwrap_or_else(|d| panic!("{}", shown(&library, &d)));
    assert_eq!(program.hypers.len(), 8);
    assert_eq!(program.weights.len(), 12);
    assert_eq!(program.states.len(), 2);
    assert_eq!(program.buffers.len(), 7);
    assert_eq!(program.weights[1].fallback, Some(tvmc_ir::program::Weight(0)));
    assert_eq!(program.states[0].grows.as_ref().map(|g| g.extent.as_str()), Some("C"));
    let text = format!("{:?}", program.body);
    for kernel in library.kernels() {
        // Parts of what the program has in one launch: for other programs.
        let part = ["linear", "linear_parts", "sum_parts", "swiglu"].contains(&kernel);
        assert!(part || text.contains(&format!("\"{kernel}\"")), "{kernel} is launched");
    }
}
