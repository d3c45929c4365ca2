//! Layouts with known answers: published examples, refusals, and the text form.

use tvmc_types::layout::{Digit, FACTORS, Layout, LayoutError, SharedLayout, SpatialMode, Swizzle};

fn layout(text: &str) -> Layout {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Shape, modes, spatial list (negative: copies), local list.
type Stored = (Vec<u32>, Vec<u32>, Vec<i32>, Vec<u32>);

fn stored(layout: &Layout) -> Stored {
    let spatial = layout.spatial_modes().iter().map(|mode| match *mode {
        SpatialMode::Mode(mode) => mode as i32,
        SpatialMode::Replicate(copies) => -(copies as i32),
    });
    (layout.shape().to_vec(), layout.mode_shape().to_vec(), spatial.collect(), layout.local_modes().to_vec())
}

const C: &str = "local(2, 1).spatial(8, 4).local(1, 2)";
const A: &str = "column_local(2, 2).spatial(8, 4).local(1, 2)";
const B: &str = "local(2, 1).column_spatial(4, 8).local(2, 1)";

#[test]
fn stored_forms() {
    let auto = |lanes, shape: &[u32]| Layout::auto_local_spatial(lanes, shape).unwrap();
    let block_a = Layout::spatial_in_order(&[2, 1, 2], &[1, 0, 2]).unwrap().reduce(&[2]).unwrap();
    let block_a = block_a.then_local(&[4, 2]).unwrap().compose(&layout(A)).unwrap();
    let cases: [(Layout, Stored, (u32, u32)); 12] = [
        (
            layout("local(3, 4).spatial(2, 3)"),
            (vec![6, 12], vec![3, 2, 4, 3], vec![1, 3], vec![0, 2]),
            (6, 12),
        ),
        (
            layout("spatial(2, 3).local(3, 4)"),
            (vec![6, 12], vec![2, 3, 3, 4], vec![0, 2], vec![1, 3]),
            (6, 12),
        ),
        (
            layout("local(2, 4)").divide(&layout("local(1, 2)")).unwrap(),
            (vec![2, 2], vec![2, 2], vec![], vec![0, 1]),
            (1, 4),
        ),
        (layout("spatial(3, 4)").reduce(&[0]).unwrap(), (vec![4], vec![4], vec![-3, 0], vec![]), (12, 1)),
        (auto(128, &[64, 64]), (vec![64, 64], vec![32, 2, 64], vec![1, 2], vec![0]), (128, 32)),
        (auto(128, &[16]), (vec![16], vec![16], vec![-8, 0], vec![]), (128, 1)),
        (layout(C), (vec![16, 8], vec![2, 8, 4, 2], vec![1, 2], vec![0, 3]), (32, 4)),
        (layout(A), (vec![16, 16], vec![2, 8, 2, 4, 2], vec![1, 3], vec![2, 0, 4]), (32, 8)),
        (layout(B), (vec![16, 8], vec![2, 4, 2, 8], vec![3, 1], vec![0, 2]), (32, 4)),
        (
            layout(C).divide(&layout("spatial(8, 4).local(1, 2)")).unwrap(),
            (vec![2, 1], vec![2], vec![], vec![0]),
            (1, 2),
        ),
        (block_a, (vec![128, 32], vec![2, 4, 2, 8, 4, 4, 2], vec![0, -2, 3, 5], vec![1, 4, 2, 6]), (128, 64)),
        (
            layout("spatial(2, 4).local(3, 2).spatial(6, 8).reshape(2, 3, 6, 4, 2, 8)"),
            (vec![2, 3, 6, 4, 2, 8], vec![2, 3, 6, 4, 2, 8], vec![0, 3, 2, 5], vec![1, 4]),
            (384, 6),
        ),
    ];
    for (layout, expected, sizes) in cases {
        assert_eq!(stored(&layout), expected, "{layout}");
        assert_eq!((layout.spatial_size(), layout.local_size()), sizes, "{layout}");
    }
    assert_eq!(layout("spatial(3, 4)").reduce(&[0]).unwrap().places(&[1]), (vec![1, 5, 9], 0));
}

#[test]
fn fragments_of_lane_five() {
    let held = |text: &str| -> Vec<Vec<u32>> {
        let layout = layout(text);
        (0..layout.local_size()).map(|slot| layout.element(5, slot)).collect()
    };
    assert_eq!(held(C), [[1, 2], [1, 3], [9, 2], [9, 3]]);
    assert_eq!(held(A), [[1, 2], [1, 3], [9, 2], [9, 3], [1, 10], [1, 11], [9, 10], [9, 11]]);
    assert_eq!(held(B), [[2, 1], [3, 1], [10, 1], [11, 1]]);
    // The same lane's bytes, where six-bit codes of B are viewed as three bytes.
    assert_eq!(held("local(3).spatial(32)"), [[5], [37], [69]]);
}

#[test]
fn worked_table_of_the_module_head() {
    let layout = layout("local(2, 1).spatial(2, 2).local(1, 2)");
    let table = [
        ["0:0", "0:1", "1:0", "1:1"],
        ["2:0", "2:1", "3:0", "3:1"],
        ["0:2", "0:3", "1:2", "1:3"],
        ["2:2", "2:3", "3:2", "3:3"],
    ];
    for (row, columns) in table.iter().enumerate() {
        for (column, expected) in columns.iter().enumerate() {
            let (lanes, slot) = layout.places(&[row as u32, column as u32]);
            assert_eq!(format!("{}:{slot}", lanes[0]), *expected);
        }
    }
    assert_eq!(stored(&layout), (vec![4, 4], vec![2, 2, 2, 2], vec![1, 2], vec![0, 3]));
    let drawn = "\
0:0 0:1 1:0 1:1
2:0 2:1 3:0 3:1
0:2 0:3 1:2 1:3
2:2 2:3 3:2 3:3
";
    assert_eq!(layout.draw(16, 16), drawn);
    assert_eq!(layout.draw(2, 3), "0:0 0:1 1:0 ..\n2:0 2:1 3:0 ..\n..\n");
}

#[test]
fn drawings_of_other_ranks_and_of_copies() {
    assert_eq!(layout("replicated(2).spatial(2)").draw(9, 9), "0,2:0 1,3:0\n");
    assert_eq!(layout("replicated(64)").draw(9, 9), "0,1,2,..:0\n");
    let cube = layout("spatial(2, 1, 1).spatial(1, 2, 1).spatial(1, 1, 2)");
    assert_eq!(cube.draw(9, 9), "[0, .., ..]\n0:0 1:0\n2:0 3:0\n[1, .., ..]\n4:0 5:0\n6:0 7:0\n");
    let aligned = layout("spatial(2, 6)").draw(9, 9);
    assert_eq!(aligned, " 0:0  1:0  2:0  3:0  4:0  5:0\n 6:0  7:0  8:0  9:0 10:0 11:0\n");
}

#[test]
fn operands_of_a_product_cover_its_result() {
    // Over (m, k, n): a is indexed by (m, k), b by (k, n), the result by (m, n).
    let over = |text: &str, dims: &[usize]| layout(text).holders().pull_back(&[4, 2, 4], dims);
    let result = over("spatial(2, 2).local(2, 2)", &[0, 2]).unwrap();
    let a = over("spatial(2, 1).replicated(2).local(2, 2)", &[0, 1]).unwrap();
    let b = over("replicated(2).spatial(1, 2).local(2, 2)", &[1, 2]).unwrap();
    assert!(a.covers(&result) && b.covers(&result));
    let wrong = over("replicated(2).spatial(2, 1).local(2, 2)", &[0, 1]).unwrap();
    // Lane 1 has rows 0 and 1 of the result, but rows 2 and 3 of this operand.
    assert_eq!(wrong.first_lacking(&result), Some((vec![0, 0, 2], 1)));
    assert_eq!(over("local(4, 4)", &[0, 0]), Err(LayoutError::BadDimension { dim: 0, rank: 3 }));
    assert_eq!(over("local(4, 4)", &[0]), Err(LayoutError::RankMismatch { expected: 2, found: 1 }));
    assert!(matches!(over("local(4, 4)", &[0, 1]), Err(LayoutError::NotAReduction { .. })));
}

/// The first element that is lacking was looked for in all lanes, element by element, and copies of a lane were listed for each of them: both without end
/// for layouts of a million lanes.
#[test]
fn questions_to_a_million_lanes_are_answered() {
    let owned = layout("spatial(2, 2).spatial(1, 262144)");
    let needed = layout("column_spatial(2, 2).spatial(1, 262144)");
    assert_eq!(owned.holders().first_lacking(&needed.holders()), Some((vec![0, 1 << 18], 1 << 19)));
    let copies = layout("replicated(1048576)");
    assert_eq!(copies.first_split(&copies), None);
    assert_eq!(copies.first_split(&layout("spatial(1048576)")), Some((0, 1)));
}

#[test]
fn flatten_includes_both_ends() {
    assert_eq!(layout("spatial(2, 3, 4)").flatten(0, 2), Ok(layout("spatial(24)")));
    assert_eq!(layout("spatial(2, 3, 4)").flatten(0, 1), Ok(layout("spatial(6, 4)")));
    assert_eq!(layout("spatial(2, 3, 4)").flatten(1, 1), Ok(layout("spatial(2, 3, 4)")));
    assert_eq!(layout("spatial(2)").flatten(0, 1), Err(LayoutError::BadDimension { dim: 1, rank: 1 }));
}

#[test]
fn nibbles_of_a_block() {
    let order = layout("column_local(2, 16).reshape(32)").storage_order().unwrap();
    for j in 0..16 {
        assert_eq!((order[2 * j], order[2 * j + 1]), (j as u32, j as u32 + 16));
    }
    assert_eq!(layout("spatial(2)").storage_order(), None);
}

#[test]
fn texts_are_the_shortest_known() {
    for text in [
        C,
        A,
        B,
        "local()",
        "local(1, 1)",
        "replicated(4)",
        "replicated(4).local(1, 1)",
        "local(2).spatial(4)",
        "replicated(2).spatial(4)",
        "spatial(4).replicated(2)",
        "replicated(2).spatial(4).replicated(2)",
        "column_local(2, 16).reshape(32)",
        "column_spatial(4, 8)",
        "spatial(2, 4).local(3, 2).spatial(6, 8)",
    ] {
        assert_eq!(layout(text).to_string(), text);
    }
    assert_eq!(layout(" local ( 2,1 ) . spatial(8 ,4)"), layout("local(2, 1).spatial(8, 4)"));
    assert_eq!(layout("spatial(2, 3).permute(1, 0)"), layout("column_spatial(3, 2)"));
    assert_eq!(layout("replicated(2).replicated(3)"), layout("replicated(6)"));
    assert_eq!(layout("local(2).local(1, 4)"), layout("local(1, 8)"));
}

#[test]
fn refusals_name_the_rule() {
    use LayoutError as E;
    let syntax = |at, expected| E::Syntax { at, expected };
    for (text, error) in [
        ("", syntax(0, "a layout factor")),
        ("local", syntax(5, "`(`")),
        ("local(2", syntax(7, "`,` or `)`")),
        ("local(2,)", syntax(8, "a 32-bit number")),
        ("local(4294967296)", syntax(6, "a 32-bit number")),
        ("local(2) spatial(2)", syntax(9, "`.` or the end")),
        ("local(2).", syntax(9, "a layout factor")),
        ("vocal(2)", E::UnknownFactor { name: "vocal".into(), known: &FACTORS }),
        ("local(0)", E::ZeroExtent),
        ("replicated(0)", E::ZeroExtent),
        ("replicated(2, 2)", E::NumberCount { expected: 1, found: 2 }),
        ("local(65536, 65536)", E::TooLarge { what: "elements" }),
        ("spatial(65536).replicated(65536)", E::TooLarge { what: "lanes" }),
        ("local(4096, 4097)", E::TooManyPlaces { places: 4096 * 4097 }),
        ("local(4096).replicated(8192)", E::TooManyPlaces { places: 1 << 25 }),
        ("local(65536).local(65536)", E::TooLarge { what: "elements" }),
        ("local(6).reshape(4)", E::ElementCount { expected: 6, found: 4 }),
        ("local(2, 2).permute(0, 0)", E::BadDimension { dim: 0, rank: 2 }),
        ("local(2, 2).permute(0)", E::NumberCount { expected: 2, found: 1 }),
        ("column_local(2, 6).reshape(3, 4)", E::CannotSplit { extent: 6, stride: 1, at: 4 }),
    ] {
        assert_eq!(text.parse::<Layout>(), Err(error), "{text}");
    }
    let many = vec!["1"; 33].join(",");
    assert_eq!(format!("local({many})").parse::<Layout>(), Err(E::RankTooLarge { rank: 33 }));
    assert_eq!(layout("local(4)").divide(&layout("spatial(2)")).unwrap_err(), {
        E::SizesDoNotDivide { what: "lanes", dividend: 1, divisor: 2 }
    });
    assert_eq!(layout("spatial(2, 2)").divide(&layout("column_spatial(2, 2)")), Err(E::NotAFactor));
    // Unused, doubly used and misfitting modes.
    let modes = |shape: &[u32], modes: &[u32], local: &[u32]| Layout::from_modes(shape, modes, &[], local);
    assert_eq!(modes(&[4], &[2, 2], &[0]), Err(E::NotADecomposition { dim: 0 }));
    assert_eq!(modes(&[4], &[2, 2], &[0, 1, 1]), Err(E::NotADecomposition { dim: 0 }));
    assert_eq!(modes(&[4], &[2, 3], &[0, 1]), Err(E::NotADecomposition { dim: 0 }));
    assert_eq!(modes(&[4], &[4], &[1]), Err(E::BadDimension { dim: 1, rank: 1 }));
    assert_eq!(
        layout("spatial(4)").first_difference(&layout("column_spatial(2, 2).reshape(4)")),
        Some((1, 0))
    );
}

/// Each kind of refusal, caused and in its words. A new kind does not compile until it has a number, and fails until it has a line.
#[test]
fn every_refusal_has_its_words() {
    use LayoutError as E;
    let number = |error: &E| match error {
        E::ZeroExtent => 0,
        E::RankTooLarge { .. } => 1,
        E::TooLarge { .. } => 2,
        E::TooManyPlaces { .. } => 3,
        E::NotADecomposition { .. } => 4,
        E::NumberCount { .. } => 5,
        E::RankMismatch { .. } => 6,
        E::BadDimension { .. } => 7,
        E::NotUnit { .. } => 8,
        E::ElementCount { .. } => 9,
        E::CopyInSlots => 10,
        E::CannotSplit { .. } => 11,
        E::SizesDoNotDivide { .. } => 12,
        E::NotAFactor => 13,
        E::NotAReduction { .. } => 14,
        E::LanesDoNotDivide { .. } => 15,
        E::Swizzled { .. } => 16,
        E::BadSwizzle { .. } => 17,
        E::UnknownFactor { .. } => 18,
        E::Syntax { .. } => 19,
    };
    let mut seen = [false; 20];
    let mut says = |refused: Result<Layout, E>, words: &str| {
        let error = refused.expect_err(words);
        assert_eq!(error.to_string(), words);
        seen[number(&error)] = true;
    };
    let text = |text: &str| text.parse::<Layout>();
    let shared = |text: &str| text.parse::<SharedLayout>().map(|layout| panic!("{layout}"));
    let copies = Digit { extent: 2, place: None };
    says(text("local(0)"), "an extent or a number of copies is at least 1, not 0");
    says(text("replicated(0)"), "an extent or a number of copies is at least 1, not 0");
    says(Layout::local(&[1; 33]), "a layout has at most 32 dimensions, not 33");
    says(text("local(65536, 65536)"), "the number of elements does not fit 32 bits");
    says(shared("shared(3).strides(4294967295)"), "the number of offsets does not fit 32 bits");
    says(text("local(4096, 4097)"), "a layout has at most 16777216 places, not 16781312");
    says(shared("shared(4096, 4097)"), "a layout has at most 16777216 places, not 16781312");
    says(
        Layout::from_modes(&[4], &[2, 3], &[], &[0, 1]),
        "the modes of dimension 0 do not multiply up to its extent, each used once",
    );
    says(text("replicated(2, 2)"), "1 number needed, not 2");
    says(shared("shared(2).swizzle(1)"), "3 numbers needed, not 1");
    says(layout("local(2)").divide(&layout("local(2, 2)")), "a layout of rank 1 is needed, not of rank 2");
    says(text("local(2, 2).permute(0, 0)"), "dimension 0 does not exist or is named twice; the rank is 2");
    says(layout("local(2, 3)").squeeze(1), "dimension 1 has extent 3; only an extent of 1 can be dropped");
    says(text("local(6).reshape(4)"), "the new shape has 4 elements, the layout 6");
    says(Layout::from_digits(&[], &[], &[copies]), "copies exist among lanes, not among slots");
    says(
        text("column_local(2, 6).reshape(3, 4)"),
        "the digit of extent 6 and stride 1 cannot be cut evenly at 4",
    );
    says(
        layout("local(4)").divide(&layout("spatial(2)")),
        "the lanes of the divisor must divide those of the dividend: 2 does not divide 1",
    );
    says(
        layout("spatial(2, 2)").divide(&layout("column_spatial(2, 2)")),
        "the divisor is not a factor of the layout",
    );
    says(layout("local(4, 4)").reduce_to(&[3]), "[4, 4] cannot be reduced to [3]");
    says(Layout::auto_local_spatial(6, &[4]), "4 elements cannot be spread evenly over 6 lanes");
    says(
        shared("shared(4, 4).swizzle(0, 1, 2).swizzle(0, 1, 2)"),
        "a swizzled layout does not admit another swizzle",
    );
    says(
        shared("shared(4, 4).swizzle(0, 3, 2)"),
        "a swizzle needs shift >= bits and base + shift + bits <= 32",
    );
    says(
        text("vocal(2)"),
        "`vocal` is no layout factor; there are local, spatial, column_local, column_spatial, replicated, reshape, permute",
    );
    says(
        shared("local(2)"),
        "`local` is no layout factor; there are shared, column_shared, strides, swizzle, stages, reshape, permute",
    );
    says(text("local(2"), "expected `,` or `)` at byte 7");
    assert_eq!(seen, [true; 20]);
}

#[test]
fn shared_layouts_with_known_strides() {
    let sixteen = |shape: &[u32]| SharedLayout::row_major_swizzled(shape, 16).unwrap();
    let square = sixteen(&[64, 64]);
    assert_eq!((square.mode_shape(), square.mode_strides()), (&[64, 64][..], &[64, 1][..]));
    assert_eq!(square.swizzle(), Some(Swizzle { base: 3, bits: 3, shift: 3 }));
    let wide = sixteen(&[64, 128]);
    assert_eq!((wide.mode_shape(), wide.mode_strides()), (&[64, 2, 64][..], &[64, 4096, 1][..]));
    // Group g of row r lies at g ^ r.
    let small = sixteen(&[8, 64]);
    for (row, group) in (0..8).flat_map(|row| (0..8).map(move |group| (row, group))) {
        assert_eq!(small.offset(&[row, group * 8]), row * 64 + (group ^ row) * 8);
    }
    let worked = SharedLayout::from_modes(
        &[4, 4],
        &[vec![(4, 4)], vec![(4, 1)]],
        Some(Swizzle { base: 0, bits: 2, shift: 2 }),
    )
    .unwrap();
    let table = [[0, 1, 2, 3], [5, 4, 7, 6], [10, 11, 8, 9], [15, 14, 13, 12]];
    for (row, column) in (0..4).flat_map(|row| (0..4).map(move |column| (row, column))) {
        assert_eq!(worked.offset(&[row, column]), table[row as usize][column as usize]);
    }
}

/// Every index of a shape.
fn indices(shape: &[u32]) -> Vec<Vec<u32>> {
    shape.iter().fold(vec![vec![]], |indices: Vec<Vec<u32>>, &extent| {
        indices.iter().flat_map(|index| (0..extent).map(move |i| [index.clone(), vec![i]].concat())).collect()
    })
}

#[test]
fn shared_operations_meet_their_post_conditions() {
    let swizzle = Swizzle { base: 1, bits: 1, shift: 2 };
    let odd = Swizzle { base: 0, bits: 2, shift: 2 };
    let plain = [
        SharedLayout::row_major(&[4, 6]).unwrap(),
        SharedLayout::column_major(&[4, 6]).unwrap(),
        SharedLayout::strided(&[2, 3], &[5, 20]).unwrap(),
        SharedLayout::strided(&[2, 3], &[0, 1]).unwrap(),
        SharedLayout::from_modes(&[4, 4], &[vec![(2, 1), (2, 4)], vec![(2, 8), (2, 2)]], None).unwrap(),
        SharedLayout::from_modes(&[4, 4], &[vec![(4, 4)], vec![(4, 1)]], Some(swizzle)).unwrap(),
        SharedLayout::row_major_swizzled(&[8, 64], 8).unwrap(),
        // Offset 8 moves to 10, beyond the nine elements.
        SharedLayout::from_modes(&[3, 3], &[vec![(3, 3)], vec![(3, 1)]], Some(odd)).unwrap(),
    ];
    for f in &plain {
        assert!(indices(f.shape()).iter().all(|index| f.offset(index) < f.size()));
        let turned = f.permute(&[1, 0]).unwrap();
        let column = f.keep(&[0]).unwrap();
        let staged = f.stages(3);
        assert_eq!(staged.is_err(), f.swizzle() == Some(odd), "12 offsets are no multiple of the period 16");
        let flat = f.reshape(&[1, f.shape().iter().product(), 1]);
        for (position, index) in indices(f.shape()).iter().enumerate() {
            assert_eq!(turned.offset(&[index[1], index[0]]), f.offset(index));
            if index[1] == 0 {
                assert_eq!(column.offset(&index[..1]), f.offset(index));
            }
            for (stage, staged) in (0..3).zip(staged.iter().cycle()) {
                let staged_index = [vec![stage], index.clone()].concat();
                assert_eq!(staged.offset(&staged_index), stage * f.size() + f.offset(index));
            }
            // One dimension may have several modes, so this is never refused.
            assert_eq!(flat.as_ref().unwrap().offset(&[0, position as u32, 0]), f.offset(index));
        }
        assert_eq!(flat.unwrap().reshape(f.shape()).as_ref(), Ok(f));
        for g in &plain {
            let Ok(h) = f.compose(g) else {
                assert!(f.swizzle().is_some() || g.swizzle().is_some());
                continue;
            };
            for index in indices(h.shape()) {
                let split = |inner: bool| -> Vec<u32> {
                    index
                        .iter()
                        .zip(g.shape())
                        .map(|(i, extent)| if inner { i % extent } else { i / extent })
                        .collect()
                };
                assert_eq!(h.offset(&index), f.offset(&split(false)) * g.size() + g.offset(&split(true)));
            }
        }
    }
    // Two 128-byte lines of a group swizzled by 8 rows: all different banks.
    for (bits, columns) in [(1, 1024), (4, 256), (8, 128), (16, 64), (32, 64), (16, 32), (8, 32)] {
        let layout = SharedLayout::row_major_swizzled(&[16, columns], bits).unwrap();
        let group = 128 / bits;
        let mut seen: Vec<u32> = indices(layout.shape()).iter().map(|index| layout.offset(index)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..16 * columns).collect::<Vec<_>>(), "a permutation");
        let mut banks: Vec<u32> = (0..8).map(|row| layout.offset(&[row, 0]) / group % 8).collect();
        banks.sort_unstable();
        assert_eq!(banks, (0..8).collect::<Vec<_>>(), "{bits} bits, {columns} columns");
    }
}

#[test]
fn shared_refusals() {
    use LayoutError as E;
    assert_eq!(SharedLayout::row_major(&[65536, 65536]), Err(E::TooLarge { what: "elements" }));
    assert_eq!(SharedLayout::strided(&[3], &[u32::MAX]), Err(E::TooLarge { what: "offsets" }));
    assert!(matches!(SharedLayout::row_major_swizzled(&[7, 64], 16), Err(E::BadSwizzle { .. })));
    assert!(matches!(SharedLayout::row_major_swizzled(&[8, 64], 6), Err(E::BadSwizzle { .. })));
    let overlapping = Swizzle { base: 0, bits: 3, shift: 2 };
    assert!(matches!(
        SharedLayout::from_modes(&[64], &[vec![(64, 1)]], Some(overlapping)),
        Err(E::BadSwizzle { .. })
    ));
    let column = SharedLayout::column_major(&[2, 6]).unwrap();
    assert_eq!(column.reshape(&[3, 4]), Err(E::CannotSplit { extent: 6, stride: 2, at: 4 }));
}
