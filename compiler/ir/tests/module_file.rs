//! Module files: round trips, every rule of soundness, and hostile bytes.

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tvmc_ir::host::Number;
use tvmc_ir::module::*;
use tvmc_ir::program::{self, Interface};
use tvmc_ir::tile;

const PROGRAM: &str = "program @p {\n  hyper D: i32 = \"d\"\n  hyper e: f32 = \"e\"\n  weight w0 \"w\": any[V, D] = \"w\"\n  input i0 \"x\": f32[S, D]\n  output o0 \"y\": f32[S, V]\n  launch k(i0, w0, o0, scalar e)\n}\n";

const INTERFACE: &str = "interface @k {\n  generic W: format\n  tensor \"x\": f32[M, K] read\n  tensor \"w\": generic W[N, K] read\n  tensor \"y\": f32[M, N] write\n  scalar \"s\": f32\n  dim M\n  dim K specialised\n  dim N\n  tune B = 4, 8\n}\n";

const KERNEL: &str = "kernel @k {\n  dim M\n  dim N\n  format f0 \"half\" group 2 bytes 2 {\n    field \"q\": u8[2] at 0 modes (2:1)\n    v0: i32 = group_index\n    v1: u8 = field 0 v0\n    v2: f32 = cast.exact v1\n    value v2\n  }\n  tensor p0 \"x\": f32[M, 64] read\n  tensor p1 \"w\": format f0[N, 64] read\n  tensor p2 \"y\": f32[M, N] write\n  scalar p3 \"s\": f32\n  grid M\n  v0: i32 = block_index 0\n  v1: f32 = scalar p3\n  store p2[v0, v0], v1\n}\n";

fn kernel(text: &str) -> tile::Verified {
    tile::verify(tile::parse(text).unwrap()).unwrap()
}

fn named<T: Clone>(list: &[(&str, T)]) -> Vec<(String, T)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn key() -> Key {
    Key {
        kernel: "k".into(),
        elements: named(&[("W", "half".to_owned())]),
        dims: named(&[("K", 64)]),
        tunes: named(&[("B", 8)]),
    }
}

/// A module with all that there is.
fn full() -> Module {
    let mut module = Module {
        build: "tvmc 0.1.0 (test)".into(),
        sources: vec![
            Source { name: "main.tile".into(), text: "use nn;\nuse \"a.tile\";\n".into() },
            Source { name: "nn".into(), text: String::new() },
            Source { name: "a.tile".into(), text: "// ü\n".into() },
        ],
        imports: vec![
            Import { wanted: Wanted::File { from: 0, path: "a.tile".into() }, source: 2 },
            Import { wanted: Wanted::Library("nn".into()), source: 1 },
        ],
        interfaces: vec![
            Interface::parse(INTERFACE).unwrap(),
            Interface::parse("interface @\"a::k\" { }").unwrap(),
        ],
        programs: vec![program::verify(program::parse(PROGRAM).unwrap()).unwrap()],
        instances: vec![Instance { key: key(), kernel: kernel(KERNEL) }],
        formats: vec![FormatSize { name: "half".into(), group: 2, bytes: 2, row_head: 0, tensor_head: 0 }],
        settings: vec![("e".into(), Number::Float(-0.0)), ("D".into(), Number::Int(64))],
        tunings: vec![Tuning { machine: "a machine".into(), key: key() }],
    };
    module.sort();
    module
}

#[test]
fn a_full_module_round_trips() {
    let module = full();
    assert_eq!(module.check(), Ok(()));
    let bytes = write(&module);
    let back = read(&bytes).unwrap();
    assert_eq!(back, module);
    assert_eq!(write(&back), bytes);
    assert_eq!(read(&write(&Module::default())), Ok(Module::default()));
}

#[test]
fn parts_are_found() {
    let module = full();
    assert_eq!(module.library("nn").map(|s| s.name.as_str()), Some("nn"));
    assert_eq!(module.library("a.tile"), None);
    assert_eq!(module.file("main.tile", "a.tile").map(|s| s.text.as_str()), Some("// ü\n"));
    assert_eq!((module.file("nn", "a.tile"), module.file("none", "a.tile")), (None, None));
    assert!(module.interface("k").is_some() && module.interface("a::k").is_some());
    assert!(module.interface("j").is_none() && module.program("q").is_none());
    assert!(module.program("p").is_some() && module.instance(&key()).is_some());
    assert!(module.instance(&Key { dims: Vec::new(), ..key() }).is_none());
}

#[test]
fn each_rule_of_soundness_refuses() {
    type Change = fn(&mut Module);
    let cases: &[(Change, &str)] = &[
        (|m| m.imports.swap(0, 1), "sorted"),
        (|m| m.interfaces.swap(0, 1), "sorted"),
        (|m| m.settings.swap(0, 1), "sorted"),
        (|m| m.formats.push(m.formats[0].clone()), "sorted"),
        (|m| m.programs.push(m.programs[0].clone()), "sorted"),
        (|m| m.instances.push(m.instances[0].clone()), "sorted"),
        (|m| m.tunings.push(m.tunings[0].clone()), "sorted"),
        (|m| m.sources[1].name = "main.tile".into(), "taken"),
        (|m| m.sources[1].name.clear(), "empty"),
        (|m| m.imports[0].source = 3, "no source"),
        (
            |m| m.imports[1] = Import { wanted: Wanted::File { from: 3, path: "x".into() }, source: 0 },
            "no source",
        ),
        (|m| m.imports[0].wanted = Wanted::Library(String::new()), "no name"),
        (|m| m.interfaces[1].dims[0].name = "K".into(), "taken"),
        (|m| drop(m.interfaces.remove(1)), "no kernel `k`"),
        (|m| m.interfaces[1].generics[0].kind = program::GenericKind::Int, "needs a dtype"),
        (|m| m.formats.clear(), "not listed"),
        (|m| m.formats[0].group = 4, "other sizes"),
        (|m| m.formats[0].bytes = 0, "no bytes"),
        (
            |m| {
                m.formats.insert(
                    0,
                    FormatSize { name: "f32".into(), group: 1, bytes: 4, row_head: 0, tensor_head: 0 },
                )
            },
            "a dtype",
        ),
        (|m| m.settings[0].1 = Number::Float(64.0), "no program has"),
        (|m| m.settings[0].1 = Number::Int(1 << 31), "no i32"),
        (|m| m.settings[1].1 = Number::Bool(true), "no i32 or f32"),
        (|m| m.settings[1].1 = Number::Float(f64::NAN), "no i32 or f32"),
        (|m| m.settings[0].0 = "B".into(), "no program has"),
        (|m| m.tunings[0].machine.clear(), "no machine"),
        (|m| m.tunings[0].key.tunes[0].1 = 5, "not offered"),
        (
            |m| {
                m.tunings.push(m.tunings[0].clone());
                m.tunings[0].key.tunes[0].1 = 4;
            },
            "chosen twice",
        ),
        (|m| m.instances[0].key.kernel = "j".into(), "no interface"),
        (|m| m.instances[0].key.kernel = "a::k".into(), "generic parameters"),
        (|m| m.instances[0].key.elements.clear(), "generic parameters"),
        (|m| m.instances[0].key.elements[0].1 = "other".into(), "parameter `w`"),
        (|m| m.instances[0].key.tunes.clear(), "tune names"),
        (|m| m.instances[0].key.tunes[0].1 = 16, "not offered"),
        (|m| m.instances[0].key.dims.clear(), "does not give `K`"),
        (|m| m.instances[0].key.dims.push(("Z".into(), 1)), "no dimension"),
        (|m| m.instances[0].key.dims.insert(0, ("L".into(), 1)), "not in order"),
        (|m| m.instances[0].key.dims.push(("N".into(), 1)), "leaves open"),
        (|m| m.instances[0].kernel = kernel(&KERNEL.replace("@k", "@j")), "code is that of `j`"),
        (
            |m| {
                m.instances[0].kernel = kernel(
                    &KERNEL.replace("\"y\": f32", "\"y\": f16").replace("  store p2[v0, v0], v1\n", ""),
                )
            },
            "parameter `y`",
        ),
        (|m| m.instances[0].kernel = kernel(&KERNEL.replace("write", "readwrite")), "parameter `y`"),
        (
            |m| {
                m.instances[0].kernel =
                    kernel(&KERNEL.replace("  scalar p3 \"s\": f32\n", "").replace("scalar p3", "const 1.0"))
            },
            "3 parameters",
        ),
        (
            |m| m.instances[0].kernel = kernel(&KERNEL.replace("p3 \"s\": f32", "p3 \"t\": f32")),
            "parameter `t`",
        ),
    ];
    for (number, (change, why)) in cases.iter().enumerate() {
        let mut module = full();
        change(&mut module);
        let error = module.check().err().unwrap_or_else(|| panic!("case {number} ({why}) is accepted"));
        assert!(error.to_string().contains(why), "case {number}: {error}, not {why}");
        assert_eq!(read(&write(&module)), Err(error), "case {number}");
    }
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let bytes = write(&full());
    for at in 0..bytes.len() {
        for change in [1u8, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            assert!(read(&bytes).is_err(), "byte {at} changed by {change:#x}");
        }
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(read(&longer).is_err());
}

/// A file with a right length and checksum, whatever is in it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let length = (bytes.len() as u64).to_le_bytes();
    bytes[16..24].copy_from_slice(&length);
    let sum = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    bytes
}

/// Reads what a forger made: an error, or a module that has this file.
fn judge(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    if bytes.len() < 24 + 32 {
        return Ok(());
    }
    let bytes = sealed(bytes);
    if let Ok(module) = read(&bytes) {
        prop_assert_eq!(module.check(), Ok(()));
        prop_assert!(write(&module) == bytes, "two files for one module");
    }
    Ok(())
}

#[test]
fn errors_name_what_is_wrong() {
    let bytes = write(&full());
    assert_eq!(read(b"GGUF"), Err(ModuleError::Magic));
    assert_eq!(read(&bytes[..7]), Err(ModuleError::Magic));
    let mut newer = bytes.clone();
    newer[8] = VERSION as u8 + 1;
    assert_eq!(read(&newer), Err(ModuleError::Version(VERSION + 1)));
    let found = bytes.len() - 1;
    assert_eq!(read(&bytes[..found]), Err(ModuleError::Length { stated: bytes.len() as u64, found }));
    let mut damaged = bytes.clone();
    damaged[100] ^= 4;
    assert_eq!(read(&damaged), Err(ModuleError::Checksum));

    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        read(&sealed(bytes)).unwrap_err().to_string()
    };
    assert!(replaced("hyper D: i32", "hyper D: i64").contains("program 0 of the module: hyper D: is i64"));
    assert!(replaced("hyper D: i32", "hyper D: i3x").contains("program 0 of the module: 2:12"));
    assert!(replaced("hyper D: i32", "hyper  D:i32").contains("canonical"));
    assert!(replaced("scalar p3 \"s\"", "scalar p4 \"s\"").contains("instance 0"));
    assert!(replaced("v1: f32 = scalar p3", "v1: f32 = scalar p2").contains("p2 is a tensor"));
    assert!(replaced("interface @k", "interfice @k").contains("interface 1"));

    // Counts and lengths beyond the bytes that are left.
    let build = 24 + 8 + full().build.len();
    for (at, value) in
        [(24, u64::MAX), (build, 2), (build + 8, u64::MAX), (build + 16, 1 << 60), (build + 24, 1 << 40)]
    {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let error = read(&sealed(bytes)).unwrap_err();
        assert!(matches!(error, ModuleError::Encoding { .. }), "{at}: {error}");
    }
}

#[test]
fn forged_bytes_are_judged() {
    let bytes = write(&full());
    for at in 24..bytes.len() - 32 {
        for value in [0, 1, 8, b' ', b'"', 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            judge(bytes).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn forged_pieces_are_judged(cut in any::<prop::sample::Index>(), drop in 0..64usize, insert in prop::collection::vec(any::<u8>(), 0..24)) {
        let bytes = write(&full());
        let at = 8 + cut.index(bytes.len() - 8);
        let end = (at + drop).min(bytes.len());
        judge([&bytes[..at], &insert, &bytes[end..]].concat())?;
    }

    #[test]
    fn random_bytes_are_judged(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = write(&Module::default())[..24].to_vec();
        bytes.extend(body);
        bytes.extend([0; 32]);
        judge(bytes)?;
    }
}
