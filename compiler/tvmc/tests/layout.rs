//! `tvmc layout` as a user sees it: tables, pictures, JSON, answers, and errors with their place.

mod common;

use common::{json, stderr, stdout, tvmc};

#[test]
fn expressions_are_shown_drawn_and_answered() {
    let table = stdout(&tvmc(&["layout", "local(2, 1).spatial(2, 2).local(1, 2)"]));
    assert!(table.contains(" 4 lanes x 4 slots"), "{table}");
    assert!(
        table.ends_with("0:0 0:1 1:0 1:1\n2:0 2:1 3:0 3:1\n0:2 0:3 1:2 1:3\n2:2 2:3 3:2 3:3\n"),
        "{table}"
    );

    let quotient = json(&tvmc(&["layout", "local(2, 4) / local(1, 2)", "--json"]));
    assert_eq!(quotient["layout"], "local(2, 2)");
    let copies = json(&tvmc(&["layout", "reduce(spatial(3, 4), 0)", "--json"]));
    assert_eq!((&copies["replication"], &copies["lanes"]), (&3.into(), &12.into()));
    assert_eq!(copies["elements"][9], serde_json::json!([1]), "lane 9 holds element 1");
    let lacks = stdout(&tvmc(&["layout", "cover(spatial(4), replicated(4).local(4))"]));
    assert_eq!(lacks, "false: lane 1 needs element [0] and does not hold it\n");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.svg");
    let path = path.to_str().expect("a name");
    stdout(&tvmc(&["layout", "local(2, 1).spatial(8, 4).local(1, 2)", "--svg", path]));
    let svg = std::fs::read_to_string(path).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("lane 31"));
}

/// The stored form, as published: shape, modes, lane digits (negative: copies), slot digits, lanes and slots.
type Stored = (&'static [i64], &'static [i64], &'static [i64], &'static [i64], (i64, i64));

#[test]
fn worked_examples_from_their_text() {
    const C: &str = "local(2, 1).spatial(8, 4).local(1, 2)";
    const A: &str = "column_local(2, 2).spatial(8, 4).local(1, 2)";
    const B: &str = "local(2, 1).column_spatial(4, 8).local(2, 1)";
    let quotient = format!("{C} / spatial(8, 4).local(1, 2)");
    let remainder = format!(r"local(2, 1) \ {C}");
    // Four warps in a grid of 2 x 2, the second dimension of which is reduced away: copies.
    let block = format!("reduce(spatial(1, 2, 2).permute(1, 0, 2), 2).local(4, 2) * {A}");
    let block_a = "spatial(2, 1).replicated(2).local(4, 2) * column_local(2, 2).spatial(8, 4).local(1, 2)";
    let cases: [(&str, Stored); 16] = [
        ("local(3, 4).spatial(2, 3)", (&[6, 12], &[3, 2, 4, 3], &[1, 3], &[0, 2], (6, 12))),
        ("spatial(2, 3).local(3, 4)", (&[6, 12], &[2, 3, 3, 4], &[0, 2], &[1, 3], (6, 12))),
        ("local(2, 4) / local(1, 2)", (&[2, 2], &[2, 2], &[], &[0, 1], (1, 4))),
        ("reduce(spatial(3, 4), 0)", (&[4], &[4], &[-3, 0], &[], (12, 1))),
        ("auto(128, 64, 64)", (&[64, 64], &[32, 2, 64], &[1, 2], &[0], (128, 32))),
        ("auto(128, 16)", (&[16], &[16], &[-8, 0], &[], (128, 1))),
        (C, (&[16, 8], &[2, 8, 4, 2], &[1, 2], &[0, 3], (32, 4))),
        (A, (&[16, 16], &[2, 8, 2, 4, 2], &[1, 3], &[2, 0, 4], (32, 8))),
        (B, (&[16, 8], &[2, 4, 2, 8], &[3, 1], &[0, 2], (32, 4))),
        (&quotient, (&[2, 1], &[2], &[], &[0], (1, 2))),
        (&remainder, (&[8, 8], &[8, 4, 2], &[0, 1], &[2], (32, 2))),
        (&block, (&[128, 32], &[2, 4, 2, 8, 4, 4, 2], &[0, -2, 3, 5], &[1, 4, 2, 6], (128, 64))),
        (block_a, (&[128, 32], &[2, 4, 2, 8, 4, 4, 2], &[0, -2, 3, 5], &[1, 4, 2, 6], (128, 64))),
        (
            "reshape(spatial(2, 4).local(3, 2).spatial(6, 8), 2, 3, 6, 4, 2, 8)",
            (&[2, 3, 6, 4, 2, 8], &[2, 3, 6, 4, 2, 8], &[0, 3, 2, 5], &[1, 4], (384, 6)),
        ),
        // The bytes that 32 lanes view of 16 x 8 numbers of six bits.
        ("local(3).spatial(32)", (&[96], &[3, 32], &[1], &[0], (32, 3))),
        ("spatial(2, 3, 4).flatten(0, 1)", (&[6, 4], &[6, 4], &[0, 1], &[], (24, 1))),
    ];
    for (text, (shape, modes, lane_digits, slot_digits, sizes)) in cases {
        let found = json(&tvmc(&["layout", text, "--json"]));
        let digit = |n: &i64| {
            if *n < 0 { serde_json::json!({ "copies": -n }) } else { serde_json::json!({ "mode": n }) }
        };
        let digits: Vec<_> = lane_digits.iter().map(digit).collect();
        let expected = serde_json::json!([shape, modes, digits, slot_digits, sizes.0, sizes.1]);
        let keys = ["shape", "mode_shape", "spatial_modes", "local_modes", "lanes", "slots"];
        assert_eq!(serde_json::Value::from(keys.map(|key| found[key].clone()).to_vec()), expected, "{text}");
    }
    // What lane 5 holds, slot by slot.
    type Held<'a> = (&'a str, u64, &'a [(u64, u64)]);
    let held: [Held; 4] = [
        (C, 8, &[(1, 2), (1, 3), (9, 2), (9, 3)]),
        (A, 16, &[(1, 2), (1, 3), (9, 2), (9, 3), (1, 10), (1, 11), (9, 10), (9, 11)]),
        (B, 8, &[(2, 1), (3, 1), (10, 1), (11, 1)]),
        ("local(3).spatial(32)", 96, &[(0, 5), (0, 37), (0, 69)]),
    ];
    for (text, columns, elements) in held {
        let found = json(&tvmc(&["layout", text, "--json"]));
        let expected: Vec<u64> = elements.iter().map(|(row, column)| row * columns + column).collect();
        assert_eq!(found["elements"][5], serde_json::json!(expected), "{text}");
    }
    // Element j of a sum over three rows is in lanes j, j + 4 and j + 8.
    let found = json(&tvmc(&["layout", "reduce(spatial(3, 4), 0)", "--json"]));
    for lane in 0..12 {
        assert_eq!(found["elements"][lane], serde_json::json!([lane % 4]));
    }
}

#[test]
fn shared_layouts_are_shown_drawn_and_answered() {
    let table = stdout(&tvmc(&["layout", "shared(4, 4).swizzle(0, 2, 2)"]));
    assert!(table.ends_with("\n 0  1  2  3\n 5  4  7  6\n10 11  8  9\n15 14 13 12\n"), "{table}");
    assert!(table.contains("swizzle: bits 0 to 1 xor bits 2 to 3"), "{table}");
    let half = json(&tvmc(&["layout", "swizzled(16, 8, 64)", "--dtype", "f16", "--json"]));
    assert_eq!(half["swizzle"], serde_json::json!({ "base": 3, "bits": 3, "shift": 3 }));
    assert_eq!((&half["turns"], &half["size"]), (&serde_json::json!([1, 1]), &512.into()));
    // Group g of row r lies at g ^ r.
    for (row, group) in (0..8).flat_map(|row| (0..8).map(move |group| (row, group))) {
        assert_eq!(half["offsets"][row * 64 + group * 8], row * 64 + (group ^ row) * 8);
    }
    let plain = json(&tvmc(&["layout", "shared(8, 64)", "--dtype", "f16", "--json"]));
    assert_eq!(plain["turns"], serde_json::json!([8, 1]), "a column lies in one bank");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.svg");
    let path = path.to_str().expect("a name");
    stdout(&tvmc(&["layout", "shared(8, 64).swizzle(3, 3, 3)", "--dtype", "f16", "--svg", path]));
    let svg = std::fs::read_to_string(path).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.contains("bank 31") && svg.contains(">511<"));
    let answer = stdout(&tvmc(&["layout", "equal(shared(2, 2), column_shared(2, 2))"]));
    assert_eq!(answer, "false: element [0, 1] lies at 1 in the first, at 2 in the second\n");
    stderr(&tvmc(&["layout", "local(4)", "--dtype", "f16"]), 2);
    stderr(&tvmc(&["layout", "shared(4)", "--dtype", "f17"]), 2);
}

#[test]
fn mistakes_have_a_place() {
    let refused = stderr(&tvmc(&["layout", "spatial(2, 2) / column_spatial(2, 2)"]), 1);
    assert!(refused.contains("not a factor") && refused.contains("expression:1:15"), "{refused}");
    assert!(stderr(&tvmc(&["layout", "lokal(4)"]), 1).contains("`local`"));
    stderr(&tvmc(&["layout", "local(70000, 70000)"]), 1);
    stderr(&tvmc(&["layout", "local(2)", "--kernel", "k"]), 2);
    stderr(&tvmc(&["layout", "absent.tile"]), 1);
    stderr(&tvmc(&["layout", "cover(local(2), local(2))", "--svg", "x.svg"]), 2);
}

#[test]
fn tiles_of_a_kernel_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.tile");
    let text = "kernel pack(x: i6[16, 8], y: out u8[96], z: out f32[8, N]) grid 1 {
  let w: i6[16, 8] @ local(2, 1).column_spatial(4, 8).local(2, 1) = x[0 +: 16, 0 +: 8];
  y[0 +: 96] = view(w, u8 @ local(3).spatial(32));
  z[..] = zeros f32[8, N];
}
"
    .replace("z[..]", "z[0 +: 8, 0 +: N]");
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("a name");
    let list = stdout(&tvmc(&["layout", path, "--set", "N=100", "--target", "cranelift"]));
    assert!(list.contains("local(2, 1).column_spatial(4, 8).local(2, 1)  written at"), "{list}");
    assert!(list.contains("p.tile:2:22") && list.contains("chosen: stored to `z`"), "{list}");
    assert!(list.contains("of [8, 128]"), "{list}");
    let list = json(&tvmc(&["layout", path, "--set", "N=100", "--json"]));
    assert_eq!(list["lanes"], 32);
}

#[test]
fn orders_of_shared_tensors_are_listed_and_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.tile");
    let text = "kernel turn(x: f32[32, 32], y: out f32[32, 32]) grid 1 {
  let s = shared f32[32, 32] @ shared(32, 32).swizzle(0, 5, 5);
  let t = shared f32[32, 32];
  s[.., ..] = x[.., ..];
  t[.., ..] = s[.., ..].T;
  y[.., ..] = t[.., ..].T;
}
";
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("a name");
    let list = stdout(&tvmc(&["layout", path, "--target", "wgsl"]));
    let line = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("s f32[32, 32]").contains("shared(32, 32).swizzle(0, 5, 5)"), "{list}");
    assert!(line("s f32[32, 32]").ends_with("written; turns of a read along each axis: 1, 1"), "{list}");
    assert!(
        line("t f32[32, 32]").ends_with("default: row by row; turns of a read along each axis: 32, 1"),
        "{list}"
    );
    let list = json(&tvmc(&["layout", path, "--target", "wgsl", "--json"]));
    assert_eq!(list["shared"][0]["order"], "shared(32, 32).swizzle(0, 5, 5)");
    assert_eq!(list["shared"][0]["turns"], serde_json::json!([1, 1]));
    let one = json(&tvmc(&["layout", path, "--tile", "s", "--target", "wgsl", "--json"]));
    assert_eq!(one["swizzle"], serde_json::json!({ "base": 0, "bits": 5, "shift": 5 }));
    let cached = stdout(&tvmc(&["layout", path, "--target", "x86"]));
    assert!(cached.contains("cached scratch, where shared(32, 32).swizzle(0, 5, 5) is not kept"), "{cached}");
}

/// Instances of every kernel of the standard library: what must be said of each.
const LIBRARY: [(&str, &str, &[&str]); 11] = [
    ("linear", "linear", &["X=f32", "W=q4_0", "N=64", "K=64"]),
    ("linear", "linear_add", &["X=act8", "W=q8_0", "N=64", "K=64"]),
    ("linear", "linear3", &["X=f32", "W1=q4_0", "W2=q4_0", "W3=q4_0", "K=64", "N1=64", "N2=64", "N3=64"]),
    ("linear", "linear_swiglu", &["X=f32", "G=q4_0", "U=q4_0", "Y=f32", "K=64", "N=64"]),
    ("nn", "embed", &["W=q8_0", "D=64"]),
    ("nn", "rms_norm", &["Y=f32", "D=96"]),
    ("nn", "rope_append", &["KV=f16", "P=32", "H=4", "G=2"]),
    ("nn", "attention", &["KV=f16", "Y=f32", "E=64", "R=2"]),
    ("nn", "swiglu", &["Y=f32", "F=64"]),
    ("quantize", "quantize", &["X=f32", "Y=q4_0", "K=64"]),
    ("quantize", "quantization_error", &["X=f32", "Y=q4_0", "K=64"]),
];

#[test]
fn every_tile_of_the_library_says_where_its_layout_comes_from() {
    for (file, kernel, set) in LIBRARY {
        let path = format!("{}/../../stdlib/{file}.tile", env!("CARGO_MANIFEST_DIR"));
        for target in ["x86", "wgsl"] {
            let mut args = vec!["layout", &path, "--kernel", kernel, "--target", target, "--json"];
            set.iter().for_each(|value| args.extend(["--set", value]));
            let list = json(&tvmc(&args));
            let tiles = list["tiles"].as_array().expect("tiles");
            assert!(!tiles.is_empty(), "{kernel}");
            for tile in tiles {
                let known = match tile["origin"].as_str() {
                    Some("chosen") => tile["why"].is_string(),
                    Some("follows") => tile["from"].is_string() && tile["rule"].is_string(),
                    Some("default") => true,
                    other => panic!("{kernel}: nothing is pinned, but {other:?}"),
                };
                assert!(known, "{kernel}: {tile}");
            }
            let chosen = tiles.iter().filter(|tile| tile["origin"] == "chosen").count();
            assert!(chosen > 0, "{kernel} for {target}: the lowering chose nothing: {list}");
        }
    }
    let path = format!("{}/../../examples/matmul.tile", env!("CARGO_MANIFEST_DIR"));
    let list = stdout(&tvmc(&["layout", &path, "--target", "x86", "--cpu", "x86-64-v4"]));
    assert!(list.contains("a product in micro-tiles of"), "{list}");
    assert!(list.contains("rows, columns and sums of a product"), "{list}");
}
