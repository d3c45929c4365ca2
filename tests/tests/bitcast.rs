//! `bitcast` between types of 16 and 8 bits: every code, on every machine. WGSL is left out where a code is NaN, infinite or subnormal: it may
//! assume that there are none.

use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_sema::{Instance, Library};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;
use tvmc_types::dtype::DType;

fn compiled(from: &str, to: &str) -> Kernel {
    let text = format!(
        "kernel k(x: {from}[N], y: out {to}[N]) grid ceil(N, 32) {{
           let i = block[0] * 32;
           y[i +: 32] = bitcast(x[i +: 32], {to});
         }}"
    );
    let root = tvmc_sema::Source { name: "k.tile".into(), text };
    let loaded = Library::load(root, &[], &mut |_| None);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics[0].message);
    match tvmc_sema::instantiate(&loaded.library, "k", &Instance::default()) {
        Ok(kernel) => kernel,
        Err(list) => panic!("{from} to {to}: {}", list[0].message),
    }
}

fn case(from: &str, to: &str, bits: u32) -> Case {
    let kernel = compiled(from, to);
    let codes = 1u64 << bits;
    let source: DType = from.parse().expect(from);
    // The bits of a NaN are nobody's promise: 0 stands in for them where they would be seen.
    let seen = |c: u64| if source.is_float() && source.decode(c).is_nan() { 0 } else { c };
    let bytes: Vec<u8> =
        (0..codes).flat_map(|c| seen(c).to_le_bytes()[..bits as usize / 8].to_vec()).collect();
    let element = |at: usize| match &kernel.params[at] {
        TensorDecl::Tensor { element, .. } => *element,
        TensorDecl::Scalar { .. } => Element::DType(DType::F32),
    };
    let data = |at: usize, bytes: Vec<u8>, written: bool| {
        Argument::Tensor(Data { shape: vec![codes], element: element(at), bytes, written, packed: false })
    };
    let arguments = vec![data(0, bytes.clone(), false), data(1, vec![0; bytes.len()], true)];
    Case { kernel, arguments, portable: !(from.contains('f') || to.contains('f')) }
}

#[test]
fn every_code_keeps_its_bits() {
    let machines = Machines::open();
    let pairs = [
        ("u16", "f16"),
        ("i16", "f16"),
        ("f16", "u16"),
        ("f16", "bf16"),
        ("bf16", "i16"),
        ("u16", "bf16"),
        ("i16", "u16"),
        ("u8", "i8"),
    ];
    for (from, to) in pairs {
        let (source, target) = (from.parse::<DType>().expect(from), to.parse::<DType>().expect(to));
        let case = case(from, to, source.bits());
        let Argument::Tensor(given) = &case.arguments[0] else { panic!("a tensor") };
        let stored = case.interpreted(1);
        let width = source.bits() as usize / 8;
        let code = |bytes: &[u8]| bytes.iter().rev().fold(0, |c, b| c << 8 | u64::from(*b));
        let pairs = given.bytes.chunks_exact(width).zip(stored.chunks_exact(width));
        for (before, after) in pairs {
            if target.is_float() && target.decode(code(before)).is_nan() {
                assert!(target.decode(code(after)).is_nan(), "{from} to {to}: {before:?}");
            } else {
                assert_eq!(before, after, "{from} to {to}");
            }
        }
        if let Err(error) = machines.check(&case, case.portable) {
            panic!("{from} to {to}: {error}");
        }
    }
}
