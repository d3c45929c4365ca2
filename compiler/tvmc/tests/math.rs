//! The elementary functions of the standard library against f64: each keeps the error that its comment states, and the comment states no
//! more than a few times what is observed.

mod common;

use common::{npy_f32, read_f32, stdout, tvmc};

/// Applies a function to values on a target.
fn apply(function: &str, target: &str, xs: &[f32]) -> Vec<f32> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let source = format!(
        "/// One function.\nkernel k(x: f32[N], y: out f32[N])\n  grid ceil(N, 64)\n{{\n  let n = block[0] * 64;\n  y[n +: 64] = {function}(x[n +: 64]);\n}}\n"
    );
    std::fs::write(path("k.tile"), source).expect("a writable folder");
    npy_f32(&path("x.npy"), &[xs.len()], xs);
    let (file, x) = (path("k.tile").display().to_string(), format!("x={}", path("x.npy").display()));
    let out = format!("y=f32[{}]:{}", xs.len(), path("y.npy").display());
    stdout(&tvmc(&["run", &file, "--kernel", "k", "--arg", &x, "--out", &out, "--target", target]));
    read_f32(&path("y.npy"))
}

/// Evenly spread values.
fn range(from: f64, to: f64, count: usize) -> Vec<f32> {
    (0..=count).map(|i| (from + (to - from) * i as f64 / count as f64) as f32).collect()
}

fn ulp(value: f64) -> f64 {
    let exponent = value.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (exponent - 23.0).exp2()
}

/// The largest error in ulp; at most `bound`, and not below a fourth of it.
fn within(function: &str, xs: &[f32], exact: impl Fn(f64) -> f64, bound: f64) {
    for target in ["cpu", "cranelift"] {
        let worst = apply(function, target, xs)
            .iter()
            .zip(xs)
            .map(|(y, x)| {
                let want = exact(f64::from(*x));
                ((f64::from(*y) - want).abs() / ulp(want), *x)
            })
            .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
        assert!(worst.0 <= bound, "{function} on {target}: {} ulp at {}, stated {bound}", worst.0, worst.1);
        assert!(
            worst.0 * 4.0 >= bound,
            "{function}: {} ulp observed, {bound} stated: say what it is",
            worst.0
        );
    }
}

#[test]
fn stated_errors_hold() {
    within("exp", &range(-87.0, 88.7, 40_000), f64::exp, 2.0);
    let logs: Vec<f32> = range(-87.0, 88.0, 20_000).iter().map(|v| v.exp()).collect();
    within("log", &[logs, range(0.5, 2.0, 20_000)].concat(), f64::ln, 2.0);
    let angles =
        [range(-50_000.0, 50_000.0, 40_001), range(-8.0, 8.0, 20_000), range(0.0, 8191.0, 8191)].concat();
    within("sin", &angles, f64::sin, 2.0);
    within("cos", &angles, f64::cos, 2.0);
    within("tanh", &[range(-10.0, 10.0, 20_000), range(-0.5, 0.5, 20_000)].concat(), f64::tanh, 4.0);
    within("sigmoid", &range(-80.0, 80.0, 20_000), |x| 1.0 / (1.0 + (-x).exp()), 4.0);
    within("rsqrt", &range(1e-3, 1e6, 20_000), |x| 1.0 / x.sqrt(), 1.5);
}

#[test]
fn ends_are_as_stated() {
    let inf = f32::INFINITY;
    assert_eq!(apply("exp", "cpu", &[-inf, inf, -200.0, 200.0, 0.0]), [0.0, inf, 0.0, inf, 1.0]);
    let logs = apply("log", "cpu", &[0.0, inf, 1.0, -1.0]);
    assert_eq!(&logs[..3], [-inf, inf, 0.0]);
    assert!(logs[3].is_nan());
    assert_eq!(apply("tanh", "cpu", &[-inf, inf, 0.0]), [-1.0, 1.0, 0.0]);
}
