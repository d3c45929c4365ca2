//! Programs become verified program IR: its text form, the phases in which numbers are known, limits.

mod support;

use std::collections::HashMap;
use support::{clean, load, shown};
use tvmc_ir::module::{self, FormatSize, Import, Key, Module, Wanted};
use tvmc_ir::program::{Interface, Verified, parse, verify, verify_launches};
use tvmc_sema::{ElementChoice, Instance, Library, Source, Use, choose_tunes};

/// A kernel and declarations that the cases share.
const KERNEL: &str = "kernel copy(x: f32[N], y: out f32[N], s: f32) grid ceil(N, 16) { let i = block[0] * 16; y[i +: 16] = x[i +: 16] * s; }\n";

fn compile(body: &str) -> Result<Verified, String> {
    let text = format!("{KERNEL}program p {{\n{body}\n}}\n");
    let loaded = load(&text);
    if !loaded.diagnostics.is_empty() {
        return Err(shown(&loaded.library, &loaded.diagnostics));
    }
    tvmc_sema::program(&loaded.library, "p").map_err(|d| shown(&loaded.library, &d))
}

fn refused(body: &str, with: &str) {
    let message = compile(body).err().unwrap_or_else(|| panic!("accepted: {body}"));
    assert!(message.contains(with) && !message.contains("internal error"), "{body}:\n{message}");
}

fn interfaces(library: &Library) -> Vec<Interface> {
    let of =
        |name: &str| tvmc_sema::interface(library, name).unwrap_or_else(|d| panic!("{}", shown(library, &d)));
    library.kernels().into_iter().map(|name| of(name).to_ir()).collect()
}

#[test]
fn llama_round_trips_through_its_text() {
    let library = clean(tvmc_stdlib::module("models/llama").expect("a module"));
    let program = tvmc_sema::program(&library, "llama").unwrap_or_else(|d| panic!("{}", shown(&library, &d)));
    let text = program.to_string();
    let back = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(back, *program);
    let back = verify(back).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    for line in [
        "  hyper G: i32 = \"llama.attention.head_count_kv\" else H\n",
        "  weight w1 \"head\": any[V, D] = \"output.weight\" else w0\n",
        "  weight w3 \"attention_gain\"[L]: f32[D] = \"blk.{}.attn_norm.weight\"\n",
        "  state s0 \"keys\": f16[L, G, C, E] grows C to add(start, S)\n",
        "  for l in 0..L {\n    launch rms_norm(b0, w3[l], b1, scalar eps) @ \"",
        "o0) @ \"",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let interfaces = interfaces(&library);
    for interface in &interfaces {
        assert_eq!(interface.check(), Ok(()), "{interface}");
        assert_eq!(Interface::parse(&interface.to_string()).as_ref(), Ok(interface));
    }
    let lookup = |name: &str| interfaces.iter().find(|i| i.name == name);
    assert_eq!(verify_launches(&back, &lookup), Ok(()));
}

#[test]
fn numbers_known_in_time_pass() {
    for body in [
        "hyper A: i32 = \"a\"; const B = A * 2; hyper C: i32 = \"c\" else B + 1; weight w[B]: f32[C] = \"w{}\";",
        "weight a: any[V, D] = \"a\"; weight b: f32[V / 2, Q, Q * 2] = \"b\"; const T = V * 2; state s: f16[T];",
        "input x: f32[V]; weight a: f32[V] = \"a\"; state s: f16[V];",
        "hyper e: f32 = \"e\"; input x: f32[S]; input n: i32; output y: f32[S]; let k = e * 2.0 + (n as f32); copy(x, y, k); for i in 0..n { copy(x[0 +: i], y[n - i +: i], 1.0 / sqrt(i as f32)); } for i in 0..2 { if n == i && e < 1.0 { copy(x, y, 0); } else if n > 3 { copy(x, y, e); } }",
        "const E = 4; const F = E * 2; input x: f32[F]; state s: f32[E];",
        "let n = 4; input x: f32[4]; output y: f32[4]; for n in 0..2 { copy(x, y, n as f32); } let m = n;",
    ] {
        let program = compile(body).unwrap_or_else(|message| panic!("{body}:\n{message}"));
        assert_eq!(parse(&program.to_string()).as_ref(), Ok(&*program), "{program:?}");
    }
}

#[test]
fn constants_of_defaults_and_lengths_become_their_values() {
    let program =
        compile("hyper A: i32 = \"a\"; const B = A * 2; const C = B + A; hyper D: i32 = \"d\" else C; weight w[C]: f32[C] = \"w{}\";")
            .unwrap();
    assert_eq!(program.hypers[1].default.as_ref().unwrap().to_string(), "add(mul(A, 2), A)");
    assert_eq!(program.weights[0].count.as_ref().unwrap().to_string(), "add(mul(A, 2), A)");
    assert_eq!(program.weights[0].shape[0].to_string(), "C");
}

#[test]
fn numbers_known_too_late_are_refused() {
    for (body, with) in [
        ("input x: f32[S]; state s: f16[S];", "`S` is not known yet"),
        ("input n: i32; state s: f16[n];", "`n` is not known yet"),
        ("input n: i32; hyper A: i32 = \"a\" else n;", "`n` is not known yet"),
        ("weight a: any[V] = \"a\"; hyper A: i32 = \"a\" else V;", "`V` is not known yet"),
        ("weight a: any[V] = \"a\"; weight b[V]: f32[V] = \"b{}\";", "`V` is not known yet"),
        ("weight b: f32[V / 2] = \"b\"; weight a: any[V] = \"a\";", "`V` is not known yet"),
        ("weight a: any[V] = \"a\"; const T = V / 2; weight b: f32[T] = \"b\";", "`T` is not known yet"),
        ("input x: f32[S]; const T = S / 2; state s: f16[T];", "`T` is not known yet"),
    ] {
        refused(body, with);
    }
}

#[test]
fn counters_and_constants_keep_apart() {
    let memory = "hyper A: i32 = \"a\"; input x: f32[4]; output y: f32[4];";
    for (body, with) in [
        ("const K = 4; for K in 0..2 { copy(x, y, 1.0); }", "`K` is defined outside already"),
        ("const K = A * 4; for K in 0..2 { copy(x, y, 1.0); }", "`K` is defined outside already"),
        ("for k in 0..2 { copy(x, y, 1.0); } const k = 3;", "`k` counts a loop above"),
        ("for k in 0..2 { copy(x, y, 1.0); } input k: i32;", "`k` counts a loop above"),
        ("for k in 0..2 { const j = k; copy(x, y, 1.0); }", "const"),
    ] {
        refused(&format!("{memory}{body}"), with);
    }
}

#[test]
fn what_grows_without_end_is_refused() {
    let doubling: String = (0..60).map(|n| format!("let a{} = a{n} + a{n};\n", n + 1)).collect();
    refused(&format!("hyper a0: i32 = \"a\";{doubling}"), "too large");
    let chain: String = (0..3000).map(|n| format!("let a{} = a{n} + 1;\n", n + 1)).collect();
    refused(&format!("hyper a0: i32 = \"a\";{chain}"), "too large");
    let consts: String = (0..60).map(|n| format!("const a{} = a{n} + a{n};\n", n + 1)).collect();
    assert!(compile(&format!("hyper a0: i32 = \"a\";{consts}")).is_ok(), "constants keep their names");
    refused(&format!("hyper a0: i32 = \"a\";{consts} hyper Z: i32 = \"z\" else a60;"), "too large");
    let views: String = (0..300).map(|n| format!("let x{} = x{n}.view(4);\n", n + 1)).collect();
    refused(&format!("input x0: f32[4];{views}"), "more than 256");
    let arms = "if a0 == 1 { copy(x, y, 1.0); } else if a0 == 2 { copy(x, y, 2.0); }".to_owned();
    let deep = (0..200).fold(arms, |inner, _| {
        format!("if a0 == 3 {{ copy(x, y, 3.0); }} else if a0 == 4 {{ copy(x, y, 4.0); }} else {{ {inner} }}")
    });
    refused(&format!("hyper a0: i32 = \"a\"; input x: f32[4]; output y: f32[4]; {deep}"), "nest");
}

#[test]
fn a_chain_of_constants_in_a_kernel_is_refused() {
    let chain: String = (1..60).map(|n| format!("  const A{} = min(A{n}, A{n})\n", n + 1)).collect();
    let text = format!(
        "kernel k(x: out f32[N])\n  const A1 = N + N\n{chain}  grid A60\n{{ let i = block[0]; x[i] = 1.0; }}"
    );
    let library = clean(&text);
    let shown = shown(&library, &tvmc_sema::check(&library));
    assert!(shown.contains("too large"), "{shown}");
}

/// The sources of a standard library module and what its `use`s lead to.
fn packed(root: &str) -> (Module, Library) {
    let mut module = Module { build: "test".into(), ..Module::default() };
    let text = |name: &str| tvmc_stdlib::module(name).map(str::to_owned);
    let add = |module: &mut Module, name: &str, text: String| {
        let name = format!("std/{name}");
        if !module.sources.iter().any(|s| s.name == name) {
            module.sources.push(module::Source { name, text });
        }
    };
    add(&mut module, root, text(root).unwrap());
    let root = Source { name: format!("std/{root}"), text: text(root).unwrap() };
    let mut names = Vec::new();
    let loaded = tvmc_sema::Library::load(root, tvmc_stdlib::PRELUDE, &mut |wanted| match wanted {
        Use::Library(name) => {
            names.push(name.to_owned());
            text(name).map(|text| Source { name: format!("std/{name}"), text })
        }
        Use::File { .. } => None,
    });
    assert!(loaded.diagnostics.is_empty());
    for name in names {
        add(&mut module, &name, text(&name).unwrap());
        let source = module.sources.iter().position(|s| s.name == format!("std/{name}")).unwrap() as u32;
        let import = Import { wanted: Wanted::Library(name), source };
        if !module.imports.contains(&import) {
            module.imports.push(import);
        }
    }
    (module, loaded.library)
}

#[test]
fn llama_is_packed_into_a_module_that_compiles_again() {
    let (mut packed, library) = packed("models/llama");
    packed.programs.push(tvmc_sema::program(&library, "llama").unwrap());
    packed.interfaces = interfaces(&library);
    for (kernel, format) in [
        ("linear", "q8_0"),
        ("linear", "q4_0"),
        ("linear_add", "f16"),
        ("embed", "q4_1"),
        ("rms_norm", "f32"),
        ("swiglu", "f32"),
    ] {
        let interface = tvmc_sema::interface(&library, kernel).unwrap();
        let mut elements: Vec<(String, String)> =
            interface.generics.iter().map(|g| (g.name.clone(), format.to_owned())).collect();
        elements.sort();
        let mut dims: Vec<(String, u64)> =
            interface.dims.iter().filter(|d| d.specialised).map(|d| (d.name.clone(), 512)).collect();
        dims.sort();
        let mut tunes = choose_tunes(&interface, &|_| Some(512));
        tunes.sort();
        let choice = |name: &str| match tvmc_types::dtype::DType::from_name(name) {
            Some(dtype) => ElementChoice::DType(dtype),
            None => ElementChoice::Format(name.to_owned()),
        };
        let instance = Instance {
            formats: elements.iter().map(|(n, e)| (n.clone(), choice(e))).collect::<HashMap<_, _>>(),
            dims: dims.iter().cloned().collect(),
            tunes: tunes.iter().cloned().collect(),
        };
        let code = tvmc_sema::instantiate(&library, kernel, &instance)
            .unwrap_or_else(|d| panic!("{kernel} {format}: {}", shown(&library, &d)));
        for format in &code.formats {
            let size = FormatSize::from(format);
            if !packed.formats.contains(&size) {
                packed.formats.push(size);
            }
        }
        let kernel = tvmc_ir::tile::verify(code).unwrap();
        let key = Key { kernel: kernel.name.clone(), elements, dims, tunes };
        packed.instances.push(module::Instance { key, kernel });
    }
    packed.settings.push(("L".into(), tvmc_ir::host::Number::Int(30)));
    packed.sort();
    assert_eq!(packed.check(), Ok(()));
    let bytes = module::write(&packed);
    let back = module::read(&bytes).unwrap();
    assert_eq!(back, packed);

    // From the module alone: the same program and the same instance.
    let root = &back.sources[0];
    let root = Source { name: root.name.clone(), text: root.text.clone() };
    let loaded = Library::load(root, tvmc_stdlib::PRELUDE, &mut |wanted| {
        let source = match wanted {
            Use::Library(name) => back.library(name),
            Use::File { from, path } => back.file(from, path),
        };
        source.map(|s| Source { name: s.name.clone(), text: s.text.clone() })
    });
    assert!(loaded.diagnostics.is_empty(), "{}", shown(&loaded.library, &loaded.diagnostics));
    assert_eq!(tvmc_sema::program(&loaded.library, "llama").as_ref(), Ok(back.program("llama").unwrap()));
}
