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
    assert!(list.contains("local(2, 1).column_spatial(4, 8).local(2, 1)  pinned at"), "{list}");
    assert!(list.contains("p.tile:2:22") && list.contains("default: lanes along the last axis"), "{list}");
    assert!(list.contains("of [8, 128]"), "{list}");
    let list = json(&tvmc(&["layout", path, "--set", "N=100", "--json"]));
    assert_eq!(list["lanes"], 32);
}
