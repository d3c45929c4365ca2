//! Inference of layouts: every rule both ways, what it refuses, the relayouts that it puts in; and that layouts agree, judged by enumeration.

use std::collections::HashSet;
use tvmc_ir::tile::inference::{Inserted, Refusal, infer};
use tvmc_ir::tile::{Inst, Kernel, LayoutRule, Op, Origin, Rule, Value, parse, verify};
use tvmc_types::layout::Layout;

fn kernel(pins: &str, body: &str) -> Kernel {
    let text = format!(
        "kernel @k {{
  tensor p0 \"x\": i32[64, 64] read
  {pins}
  grid 1
  v0: i32 = const 0
  {body}
}}"
    );
    parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn inferred(pins: &str, body: &str) -> (Kernel, Vec<Inserted>) {
    let mut kernel = kernel(pins, body);
    let inserted = infer(&mut kernel).unwrap_or_else(|refusals| panic!("{body}: {refusals:?}"));
    let text = kernel.to_string();
    assert_eq!(parse(&text).as_ref(), Ok(&kernel), "{text}");
    if let Err(errors) = verify(kernel.clone()) {
        panic!("{text}: {errors:?}");
    }
    enumerated(&kernel);
    (kernel, inserted)
}

fn layout(text: &str) -> Layout {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What lanes hold of a value.
fn held(layout: &Layout, lane: u32) -> HashSet<Vec<u32>> {
    (0..layout.local_size()).map(|slot| layout.element(lane, slot)).collect()
}

/// For each operation whose values have layouts: lane by lane, element by element, whether what is needed is there.
fn enumerated(kernel: &Kernel) {
    kernel.body.visit(&mut |inst: &Inst| {
        let Some(to) = inst.result.and_then(|result| kernel.layout(result)) else { return };
        for (at, arg) in inst.args.iter().enumerate() {
            let Some(from) = kernel.layout(*arg) else { continue };
            let shape = from.shape().to_vec();
            for lane in 0..to.spatial_size() {
                let has = held(from, lane);
                for element in held(to, lane) {
                    // Any of these is enough, each a list of all that it takes.
                    let row_major = |index: &[u32], shape: &[u32]| {
                        index.iter().zip(shape).fold(0, |at, (i, extent)| at * extent + i)
                    };
                    let unravel = |mut at: u32, shape: &[u32]| {
                        let mut index = vec![0; shape.len()];
                        for (i, extent) in index.iter_mut().zip(shape).rev() {
                            (*i, at) = (at % extent, at / extent);
                        }
                        index
                    };
                    let ways: Vec<Vec<Vec<u32>>> = match &inst.op {
                        Op::Reshape => vec![vec![unravel(row_major(&element, to.shape()), &shape)]],
                        Op::Broadcast => {
                            let lead = element.len() - shape.len();
                            let spread = element[lead..].iter().zip(&shape);
                            vec![vec![spread.map(|(i, extent)| i % extent).collect()]]
                        }
                        Op::Permute(order) => {
                            let mut index = vec![0; order.len()];
                            for (i, axis) in element.iter().zip(order) {
                                index[usize::from(*axis)] = *i;
                            }
                            vec![vec![index]]
                        }
                        Op::Reduce(_, axis) => (0..shape[usize::from(*axis)])
                            .map(|i| {
                                let mut index = element.clone();
                                index.insert(usize::from(*axis), i);
                                vec![index]
                            })
                            .collect(),
                        Op::Dot if at == 0 => vec![(0..shape[1]).map(|k| vec![element[0], k]).collect()],
                        Op::Dot if at == 1 => vec![(0..shape[0]).map(|k| vec![k, element[1]]).collect()],
                        Op::View | Op::Relayout | Op::Concat(_) => continue,
                        Op::Gather(_) if at == 0 => continue,
                        _ => vec![vec![element.clone()]],
                    };
                    let enough = ways.iter().any(|way| way.iter().all(|index| has.contains(index)));
                    assert!(enough, "lane {lane} lacks what {element:?} of {} needs", kernel.operation(inst));
                }
            }
        }
    });
}

/// The rules forth (from v1 to v2) and back, each with what it finds.
#[test]
fn every_rule_finds_its_layout() {
    let mut seen = HashSet::new();
    for (rule, types, operation, pinned, wanted) in [
        (LayoutRule::Elementwise, "i32[4, 8]", "v2: i32[4, 8] = neg v1", "v1", "spatial(4, 8)"),
        (LayoutRule::Elementwise, "i32[4, 8]", "v2: f32[4, 8] = cast.round v1", "v2", "spatial(4, 8)"),
        (LayoutRule::Elementwise, "i32[4, 8]", "v2: i32[4, 8] = scan.sum 1 v1", "v1", "spatial(4, 8)"),
        (
            LayoutRule::Broadcast,
            "i32[4, 1]",
            "v2: i32[4, 8] = broadcast v1",
            "v2",
            "spatial(4, 1).replicated(8)",
        ),
        (LayoutRule::Broadcast, "i32[4, 8]", "v2: i32[1, 4, 8] = broadcast v1", "v1", "spatial(1, 4, 8)"),
        (LayoutRule::Reshape, "i32[4, 8]", "v2: i32[32] = reshape v1", "v1", "spatial(32)"),
        (LayoutRule::Reshape, "i32[4, 8]", "v2: i32[2, 16] = reshape v1", "v2", "spatial(4, 8)"),
        (LayoutRule::Permute, "i32[4, 8]", "v2: i32[8, 4] = permute (1, 0) v1", "v1", "column_spatial(8, 4)"),
        (LayoutRule::Permute, "i32[4, 8]", "v2: i32[8, 4] = permute (1, 0) v1", "v2", "column_spatial(4, 8)"),
        (LayoutRule::Reduce, "i32[4, 8]", "v2: i32[8] = reduce.sum 0 v1", "v1", "replicated(4).spatial(8)"),
        (
            LayoutRule::Concat,
            "i32[4, 8]",
            "v2: i32[8, 8] = concat 0 v1, v1",
            "v1",
            "local(2, 1).spatial(4, 8)",
        ),
    ] {
        let shape = |name: &str| {
            let text = if name == "v1" { types } else { operation };
            let start = text.find('[').expect("a shape");
            let end = text.find(']').expect("a shape");
            text[start + 1..end].to_owned()
        };
        let pin = format!("layout {pinned} \"spatial({})\"", shape(pinned));
        let other = Value(if pinned == "v1" { 2 } else { 1 });
        let extents: Vec<String> = shape("v1").split(", ").map(|extent| format!("v0 +: {extent}")).collect();
        let load = format!("v1: {types} = load p0[{}]", extents.join(", "));
        let (kernel, inserted) = inferred(&pin, &format!("{load} {operation}"));
        assert!(inserted.is_empty(), "{operation}: {inserted:?}");
        let found = kernel.pins.get(&other).unwrap_or_else(|| panic!("{operation}: nothing from {pinned}"));
        assert_eq!(found.layout, layout(wanted), "{operation}");
        let from = Value(3 - other.0);
        assert_eq!(found.origin, Origin::Inferred { from, rule }, "{operation}");
        seen.insert(rule);
    }
    let (kernel, _) = inferred(
        "layout v4 \"local(2, 1).spatial(4, 8)\"",
        "v1: i32[8, 3] = load p0[v0 +: 8, v0 +: 3] v2: i32[3, 8] = load p0[v0 +: 3, v0 +: 8]
         v3: i32[8, 8] = load p0[v0 +: 8, v0 +: 8] v4: i32[8, 8] = dot v1, v2, v3",
    );
    let found = |value: u32| kernel.layout(Value(value)).expect("a layout").to_string();
    assert_eq!(found(1), layout("local(2, 1).spatial(4, 1).replicated(8).local(1, 3)").to_string());
    assert_eq!(found(2), layout("replicated(4).spatial(1, 8).local(3, 1)").to_string());
    assert_eq!(found(3), layout("local(2, 1).spatial(4, 8)").to_string());
    seen.insert(LayoutRule::Dot);
    let (kernel, inserted) = inferred(
        "layout v1 \"local(8, 8)\"",
        "v1: i32[8, 8] = load p0[v0 +: 8, v0 +: 8]
         (v2: i32[8, 8]) = for v3 in v0..v0 by 1 carry (v4: i32[8, 8] = v1) { v5: i32[8, 8] = neg v4 yield v5 }
         v6: i32[8, 8] = neg v2",
    );
    assert!(inserted.is_empty() && [2, 4, 5, 6].map(Value).iter().all(|v| kernel.layout(*v).is_some()));
    seen.insert(LayoutRule::Variable);
    assert_eq!(seen.len(), LayoutRule::ALL.len(), "every rule has a case");
}

const VIEWED: &str = "v1: i32[8, 8] = load p0[v0 +: 8, v0 +: 8]
  v2: i32[8, 8] = load p0[v0 +: 8, v0 +: 8]
  v3: i32[8, 8] = add v1, v2
  v4: i32[64] = view v3";

#[test]
fn a_view_reads_one_layout_or_is_refused() {
    let result = "layout v4 \"spatial(64)\"";
    let (kernel, inserted) = inferred(&format!("layout v2 \"column_spatial(8, 8)\" {result}"), VIEWED);
    assert_eq!(kernel.layout(Value(3)), Some(&layout("column_spatial(8, 8)")));
    assert!(inserted.is_empty());
    // No layout reaches it.
    let mut none = self::kernel(result, VIEWED);
    let before = none.clone();
    assert_eq!(infer(&mut none), Err(vec![Refusal::NoLayout { view: Value(4), operand: Value(3) }]));
    assert_eq!(none, before, "a refused kernel is left alone");
    // Two do.
    let pins = format!("layout v1 \"spatial(8, 8)\" layout v2 \"column_spatial(8, 8)\" {result}");
    let refusals = infer(&mut self::kernel(&pins, VIEWED)).expect_err("two layouts");
    let [Refusal::TwoLayouts { view: Value(4), operand: Value(3), candidates }] = refusals.as_slice() else {
        panic!("{refusals:?}")
    };
    assert_eq!(candidates.each_ref().map(|c| c.anchor), [Value(1), Value(2)]);
    // Of an operand that is pinned only its own counts, and the others come to it.
    let (kernel, inserted) = inferred(&format!("{pins} layout v3 \"spatial(8, 8)\""), VIEWED);
    assert_eq!(inserted.iter().map(|i| i.from).collect::<Vec<_>>(), [Value(2)]);
    assert_eq!(kernel.layout(inserted[0].to), Some(&layout("spatial(8, 8)")));
    assert_eq!(kernel.pins[&inserted[0].to].origin, Origin::Inserted);
}

/// Three axes, whose permutation is not its own inverse.
#[test]
fn axes_move_where_they_belong() {
    let body = "v1: i32[4, 8] = load p0[v0 +: 4, v0 +: 8]
      v2: i32[2, 2, 8] = reshape v1
      v3: i32[2, 8, 2] = permute (1, 2, 0) v2";
    for (pins, from, wanted) in [
        ("layout v1 \"spatial(4, 8)\"", 3, "spatial(2, 2, 8).permute(1, 2, 0)"),
        ("layout v2 \"local(2, 1, 1).spatial(1, 2, 8)\"", 3, "local(1, 1, 2).spatial(2, 8, 1)"),
        ("layout v3 \"spatial(2, 8, 2)\"", 2, "spatial(2, 8, 2).permute(2, 0, 1)"),
    ] {
        let (kernel, inserted) = inferred(pins, body);
        assert!(inserted.is_empty(), "{pins}: {inserted:?}");
        let found = kernel.layout(Value(from)).expect("a layout");
        assert_eq!(*found, layout(wanted), "{pins}");
    }
    // Lanes that hold the wrong axis are seen.
    let wrong = "layout v2 \"spatial(2, 2, 8)\" layout v3 \"spatial(2, 8, 2)\"";
    assert!(verify(kernel(wrong, body)).is_err());
    let right = "layout v2 \"spatial(2, 2, 8)\" layout v3 \"spatial(2, 2, 8).permute(1, 2, 0)\"";
    assert!(verify(kernel(right, body)).is_ok());
}

/// A layout from behind counts only where none comes from before.
#[test]
fn later_uses_do_not_move_a_tile() {
    let body = "v1: i32[8, 8] = load p0[v0 +: 8, v0 +: 8]
      v2: i32[8, 8] = neg v1
      v3: i32[64] = view v2
      v4: i32[8, 8] = load p0[v0 +: 8, v0 +: 8]
      v5: i32[8, 8] = add v2, v4";
    let pins = "layout v3 \"spatial(64)\" layout v4 \"column_spatial(8, 8)\"";
    let (back, _) = inferred(pins, body);
    assert_eq!(back.layout(Value(1)), Some(&layout("column_spatial(8, 8)")));
    let (forth, inserted) = inferred(&format!("layout v1 \"spatial(8, 8)\" {pins}"), body);
    assert_eq!(forth.layout(Value(2)), Some(&layout("spatial(8, 8)")));
    assert_eq!(inserted.len(), 1, "the sum needs one of them moved: {inserted:?}");
}

#[test]
fn relayouts_come_where_layouts_meet() {
    let load = "v1: i32[8, 8] = load p0[v0 +: 8, v0 +: 8]";
    let pins = |a: &str, b: &str| format!("layout v1 \"{a}\" layout v2 \"{b}\"");
    for (pins, body, moves) in [
        // Once for both uses of one tile.
        (pins("spatial(8, 8)", "column_spatial(8, 8)"), "v2: i32[8, 8] = mul v1, v1", 1),
        // Copies are there already.
        (pins("replicated(64).local(8, 8)", "spatial(8, 8)"), "v2: i32[8, 8] = neg v1", 0),
        (pins("spatial(8, 8)", "replicated(64).local(8, 8)"), "v2: i32[8, 8] = neg v1", 1),
        // A reduction's result moves, for no rule leads back from it.
        (pins("spatial(8, 8)", "spatial(8).replicated(8)"), "v2: i32[8] = reduce.sum 0 v1", 1),
        (pins("spatial(8, 8)", "spatial(8).replicated(8)"), "v2: i32[8] = reduce.sum 1 v1", 0),
        // A variable has its parameter's layout: what enters, what is yielded, what leaves.
        (
            "layout v1 \"spatial(8, 8)\" layout v4 \"column_spatial(8, 8)\" layout v5 \"spatial(8, 8)\"
             layout v2 \"spatial(8, 8)\""
                .to_owned(),
            "(v2: i32[8, 8]) = for v3 in v0..v0 by 1 carry (v4: i32[8, 8] = v1) { v5: i32[8, 8] = load p0[v0 +: 8, v0 +: 8] yield v5 }",
            3,
        ),
        // The branches come to the result.
        (
            pins("spatial(8, 8)", "column_spatial(8, 8)"),
            "v3: bool = const true (v2: i32[8, 8]) = if v3 { yield v1 } else { v4: i32[8, 8] = load p0[v0 +: 8, v0 +: 8] yield v4 }",
            1,
        ),
    ] {
        let (kernel, inserted) = inferred(&pins, &format!("{load} {body}"));
        assert_eq!(inserted.len(), moves, "{kernel}");
        assert_eq!(infer(&mut kernel.clone()), Ok(Vec::new()), "nothing is left to do: {kernel}");
    }
}

/// Without a relayout the verifier refuses exactly what the enumeration refuses, for all pairs of these layouts.
#[test]
fn the_verifier_sees_what_lanes_lack() {
    let layouts = |shape: &str| -> Vec<String> {
        let column = format!("column_spatial({shape})");
        match shape {
            "4, 4" => [
                "spatial(4, 4)",
                &column,
                "replicated(16).local(4, 4)",
                "spatial(4, 1).replicated(4).local(1, 4)",
                "replicated(4).spatial(1, 4).local(4, 1)",
                "local(2, 2).spatial(2, 2).replicated(4)",
                "spatial(2, 2).local(2, 2).replicated(4)",
                "replicated(2).local(2, 1).spatial(2, 4)",
            ]
            .map(str::to_owned)
            .to_vec(),
            "16" => [
                "spatial(16)",
                "replicated(16).local(16)",
                "replicated(4).spatial(4).local(4)",
                "replicated(4).local(4).spatial(4)",
            ]
            .map(str::to_owned)
            .to_vec(),
            _ => ["replicated(4).spatial(4)", "spatial(4).replicated(4)", "replicated(16).local(4)"]
                .map(str::to_owned)
                .to_vec(),
        }
    };
    let mut judged = [0, 0];
    for (from, operation, to) in [
        ("4, 4", "v2: i32[4, 4] = neg v1", "4, 4"),
        ("4, 4", "v2: i32[4, 4] = permute (1, 0) v1", "4, 4"),
        ("4, 4", "v2: i32[16] = reshape v1", "16"),
        ("4, 4", "v2: i32[4] = reduce.max 0 v1", "4"),
        ("4, 4", "v2: i32[4] = reduce.max 1 v1", "4"),
        ("4, 4", "v3: i32[4, 4] = load p0[v0 +: 4, v0 +: 4] v2: i32[4, 4] = dot v1, v3, v3", "4, 4"),
        ("4, 4", "v3: i32[4, 4] = load p0[v0 +: 4, v0 +: 4] v2: i32[4, 4] = dot v3, v1, v3", "4, 4"),
    ] {
        for (a, b) in layouts(from).iter().flat_map(|a| layouts(to).into_iter().map(move |b| (a.clone(), b)))
        {
            let pins = format!("layout v1 \"{a}\" layout v2 \"{b}\"");
            let load = "v1: i32[4, 4] = load p0[v0 +: 4, v0 +: 4]";
            let kernel = kernel(&pins, &format!("{load} {operation}"));
            let refused = match verify(kernel.clone()) {
                Ok(_) => false,
                Err(errors) => {
                    assert!(errors.iter().all(|error| error.rule == Rule::Layout), "{errors:?}");
                    true
                }
            };
            let lacks = std::panic::catch_unwind(|| enumerated(&kernel)).is_err();
            assert_eq!(refused, lacks, "{pins}: {operation}");
            judged[usize::from(refused)] += 1;
        }
    }
    assert!(judged.iter().all(|count| *count > 20), "{judged:?}");
}
