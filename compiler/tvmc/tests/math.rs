//! The elementary functions of the standard library against f64: each keeps the error that its comment states, and the comment states no
//! more than a few times what is observed.

mod common;

use common::{npy_f32, read_f32, stdout, tvmc};

/// Applies an expression in `t` to values on a target.
fn apply(expression: &str, target: &str, xs: &[f32]) -> Vec<f32> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let source = format!(
        "/// One function.\nkernel k(x: f32[N], y: out f32[N])\n  grid ceil(N, 64)\n{{\n  let n = block[0] * 64;\n  let t = x[n +: 64];\n  y[n +: 64] = {expression};\n}}\n"
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

/// The largest error in a unit that may depend on the point and the exact value; at most `bound`, and not below a fourth of it.
fn measured(
    expression: &str,
    xs: &[f32],
    exact: impl Fn(f64) -> f64,
    unit: impl Fn(f64, f64) -> f64,
    bound: f64,
) {
    for target in ["cpu", "cranelift"] {
        let worst = apply(expression, target, xs)
            .iter()
            .zip(xs)
            .map(|(y, x)| {
                let want = exact(f64::from(*x));
                ((f64::from(*y) - want).abs() / unit(f64::from(*x), want), *x)
            })
            .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
        assert!(worst.0 <= bound, "{expression} on {target}: {} at {}, stated {bound}", worst.0, worst.1);
        assert!(worst.0 * 4.0 >= bound, "{expression}: {} observed, {bound} stated: say what it is", worst.0);
    }
}

/// The largest error in ulp.
fn within(function: &str, xs: &[f32], exact: impl Fn(f64) -> f64, bound: f64) {
    measured(&format!("{function}(t)"), xs, exact, |_, want| ulp(want), bound);
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

/// Functions whose stated error is absolute, or grows with the exponent.
#[test]
fn stated_errors_in_other_units_hold() {
    let xs = [range(-8.0, 8.0, 40_000), range(-0.6, 0.6, 20_000)].concat();
    measured("erf(t)", &xs, libm::erf, |_, _| 1e-7, 5.0);
    let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    measured("gelu(t)", &xs, gelu, |x, _| 1e-7 * x.abs().max(1.0), 4.0);
    let tanh_form = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        0.5 * x * (1.0 + inner.tanh())
    };
    measured("gelu_tanh(t)", &xs, tanh_form, |x, _| 1e-7 * x.abs().max(1.0), 2.0);
    measured("silu(t)", &xs, |x| x / (1.0 + (-x).exp()), |_, want| ulp(want), 4.0);
    for y in [-3.5, -1.0, 0.25, 2.0, 11.0] {
        let bases = [range(0.01, 4.0, 20_000), range(4.0, 1000.0, 5_000)].concat();
        let unit = |x: f64, want: f64| (2.0 + 2.0 * (y * x.ln()).abs()) * ulp(want);
        measured(&format!("pow(t, {y:?})"), &bases, |x| x.powf(y), unit, 1.0);
    }
}

#[test]
fn ends_are_as_stated() {
    let inf = f32::INFINITY;
    assert_eq!(apply("exp(t)", "cpu", &[-inf, inf, -200.0, 200.0, 0.0]), [0.0, inf, 0.0, inf, 1.0]);
    let logs = apply("log(t)", "cpu", &[0.0, inf, 1.0, -1.0]);
    assert_eq!(&logs[..3], [-inf, inf, 0.0]);
    assert!(logs[3].is_nan());
    assert_eq!(apply("tanh(t)", "cpu", &[-inf, inf, 0.0]), [-1.0, 1.0, 0.0]);
}
