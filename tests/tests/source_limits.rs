//! Limits of what a source unfolds to (SECURITY.md), each at its value and one past it; and chains of operations, which have none but that of a kernel's values: whatever
//! follows operands keeps within a small stack.

use tvmc_ir::tile::Kernel;
use tvmc_lang::diag::Code;
use tvmc_passes::MAX_CHAIN;
use tvmc_passes::target::{CRANELIFT, WGSL, X86_V3, X86_V4};
use tvmc_passes::{Options, lower};
use tvmc_sema::limits::{
    MAX_CALLS, MAX_DEPTH, MAX_GROUP, MAX_MODULES, MAX_SCOPE_BITS, MAX_TABLE, MAX_VALUES,
};
use tvmc_sema::{Instance, Library, Loaded, Source, Use};
use tvmc_tests::sources::load;

/// The kernel `k` of a text, or the codes and messages of what is wrong with it.
fn compiled(text: &str) -> Result<Kernel, Vec<(Code, String)>> {
    let Loaded { library, diagnostics } = load("t.tile", text);
    let said =
        |list: Vec<tvmc_lang::diag::Diagnostic>| list.into_iter().map(|d| (d.code, d.message)).collect();
    if diagnostics.iter().any(|d| d.is_error()) {
        return Err(said(diagnostics));
    }
    tvmc_sema::instantiate(&library, "k", &Instance::default()).map_err(said)
}

/// Codes of the errors of a text that has no kernel, or of one that loads and whose format `f` is wrong.
fn codes_of_format(text: &str) -> Vec<Code> {
    let Loaded { library, diagnostics } = load("t.tile", text);
    let mut list = diagnostics;
    list.extend(tvmc_sema::format(&library, "f").err().unwrap_or_default());
    list.into_iter().filter(|d| d.is_error()).map(|d| d.code).collect()
}

const HEAD: &str = "kernel k(y: inout f32[64])\n  grid 1\n{\n";

#[test]
fn files() {
    let errors = |files: usize| -> Vec<Code> {
        let text = |at: usize| if at < files { format!("use \"f{at}.tile\";\n") } else { String::new() };
        let mut next = 0;
        let mut load = |wanted: Use<'_>| match wanted {
            Use::Library(name) => {
                tvmc_stdlib::module(name).map(|text| Source { name: name.to_owned(), text: text.to_owned() })
            }
            Use::File { path, .. } => {
                next += 1;
                Some(Source { name: path.to_owned(), text: text(next + 1) })
            }
        };
        let root = Source { name: "f0.tile".into(), text: text(1) };
        let loaded = Library::load(root, &[], &mut load);
        loaded.diagnostics.iter().map(|d| d.code).collect()
    };
    assert_eq!(errors(MAX_MODULES), []);
    assert_eq!(errors(MAX_MODULES + 1), [Code::Unsupported]);
}

/// Fns that each call the one before.
fn calls(count: usize, body: impl Fn(String) -> String) -> String {
    let mut text = String::new();
    for at in 1..=count {
        let inner = if at == 1 { "x + 1.0".to_owned() } else { body(format!("g{}(x)", at - 1)) };
        text += &format!("fn g{at}(x: f32) -> f32 {{ return {inner}; }}\n");
    }
    text + HEAD + &format!("  y[0 +: 64] = g{count}(y[0 +: 64]);\n}}\n")
}

#[test]
fn fns_inside_fns() {
    assert!(compiled(&calls(MAX_CALLS, |call| call)).is_ok());
    let errors = compiled(&calls(MAX_CALLS + 1, |call| call)).expect_err("one too deep");
    assert_eq!(errors.len(), 1);
    // It used to say that the innermost fn leads back to itself.
    assert_eq!(errors[0], (Code::Recursion, format!("fns call each other more than {MAX_CALLS} deep")));
    // Together with what stands around the calls they are limited as well: one fn a level deeper, and it is too deep.
    let nested = |signs: usize| {
        let outermost = format!("y[0 +: 64] = {}g{MAX_CALLS}(", "-".repeat(signs));
        let around = "-".repeat(MAX_DEPTH as usize / MAX_CALLS - 4);
        let text = calls(MAX_CALLS, |call| around.clone() + &call);
        compiled(&text.replace(&format!("y[0 +: 64] = g{MAX_CALLS}("), &outermost))
    };
    let first = (0..250).find(|signs| nested(*signs).is_err()).expect("some are too many");
    assert!(first > 0);
    let errors = nested(first).expect_err("too deep together");
    assert!(errors.iter().all(|(code, _)| *code == Code::NestingTooDeep), "{errors:?}");
}

#[test]
fn values_of_an_instance() {
    // `d0` adds one value, each further fn does twice what the one before does.
    let mut fns = "fn d0(x: f32) -> f32 { return x + x; }\n".to_owned();
    for at in 1..16 {
        fns += &format!("fn d{at}(x: f32) -> f32 {{ return d{0}(d{0}(x)); }}\n", at - 1);
    }
    let kernel = |values: usize| {
        let mut call = "y[0 +: 64]".to_owned();
        for bit in (0..16).filter(|bit| values >> bit & 1 == 1) {
            call = format!("d{bit}({call})");
        }
        compiled(&format!("{fns}{HEAD}  y[0 +: 64] = {call};\n}}\n"))
    };
    let none = kernel(0).expect("it compiles").values.len();
    let most = kernel(MAX_VALUES - none).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(most.values.len(), MAX_VALUES);
    let errors = kernel(MAX_VALUES - none + 1).expect_err("one too many");
    assert!(errors.iter().all(|(code, _)| *code == Code::Unsupported), "{errors:?}");
}

#[test]
fn formats() {
    let group = |elements: i64| {
        codes_of_format(&format!("format f {{ group {elements} {{ q: u4[{elements}]; }} value[i] = q[i]; }}"))
    };
    assert_eq!(group(MAX_GROUP), []);
    assert!(!group(MAX_GROUP + 2).is_empty());
    let stored = |bits: u64| {
        codes_of_format(&format!(
            "format f {{ group 8 {{ q: u8[8]; p: u8[{}]; }} value[i] = q[i] * p[0]; }}",
            bits / 8 - 8
        ))
    };
    assert_eq!(stored(64 + 8 * MAX_TABLE), []);
    assert!(!stored(64 + 8 * (MAX_TABLE + 1)).is_empty());
    // So a group of the largest size has many fields.
    let fields = |bits: u64| {
        let bytes = bits / 8 - 8;
        let (whole, rest) = (bytes / MAX_TABLE, bytes % MAX_TABLE);
        let mut text = "format f { group 8 { q: u8[8]; ".to_owned();
        (0..whole).for_each(|at| text += &format!("p{at}: u8[{MAX_TABLE}]; "));
        if rest > 0 {
            text += &format!("r: u8[{rest}]; ");
        }
        codes_of_format(&(text + "} value[i] = q[i]; }"))
    };
    assert_eq!(fields(MAX_SCOPE_BITS), []);
    assert_eq!(fields(MAX_SCOPE_BITS + 8), [Code::GroupNotBytes]);
}

/// On a stack of half a mebibyte, where a step for each of thousands of links would not do.
fn lowered_on_a_small_stack(name: &'static str, text: String) {
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let done = thread.spawn(move || {
        let kernel = compiled(&text).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let kernel =
            tvmc_ir::tile::verify(kernel).unwrap_or_else(|errors| panic!("{name}: {errors:?}")).into_inner();
        for target in [&CRANELIFT, &X86_V3, &X86_V4, &WGSL] {
            lower(&kernel, target, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    });
    done.expect("a thread can be made").join().unwrap_or_else(|_| panic!("{name}"));
}

#[test]
fn chains_of_any_length_are_lowered() {
    let links = 8 * MAX_CHAIN as usize;
    let chain = |step: &str| {
        (0..links).fold(String::new(), |text, at| {
            text + &step.replace("$new", &format!("a{}", at + 1)).replace('$', &format!("a{at}")) + "\n"
        })
    };
    let square = "kernel k(x: f32[16, 16], z: f32[16, 16], y: out f32[16, 16])\n  grid 1\n{\n  let a0 = x[0 +: 16, 0 +: 16];\n";
    let plain =
        |step: &str| format!("{HEAD}  let a0 = y[0 +: 64];\n{}  y[0 +: 64] = a{links};\n}}\n", chain(step));
    lowered_on_a_small_stack("sums", plain("let $new = $ + 1.0;"));
    lowered_on_a_small_stack("casts", plain("let $new = ($ as i32) as f32;"));
    lowered_on_a_small_stack("choices", plain("let $new = where($ < 0.5, $, 1.0);"));
    lowered_on_a_small_stack("bits", plain("let $new = bitcast(bitcast($, i32) ^ 3, f32);"));
    let transposed = chain("let $new = $.T;");
    lowered_on_a_small_stack("axes", format!("{square}{transposed}  y[0 +: 16, 0 +: 16] = a{links};\n}}\n"));
    let factor = chain("let $new = $ + 1.0;");
    lowered_on_a_small_stack(
        "factors",
        format!("{square}{factor}  y[0 +: 16, 0 +: 16] = dot(a{links}, z[0 +: 16, 0 +: 16]);\n}}\n"),
    );
}
