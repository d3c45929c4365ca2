//! Every layout with up to 64 places (lanes times slots, so copies count) and rank 3, against counting.
//!
//! All *forms* of layouts are visited (`counting`), each with its function as a table. Forms in which no digit goes on counting from the one
//! before are one for each function, and every other form must become the same layout. So their tables are the universe of functions, and **an
//! operation may refuse only where the wanted table is not in it**. Nothing here asks the implementation what an operation should give.
//!
//! | operations | over |
//! |---|---|
//! | construction, text, `permute`, `squeeze`, `unsqueeze`, `flatten`, `reduce` | all |
//! | `element`, `places`, `reduce_keep`, `reduce_to` | all up to 40 (`element`, `places`: 48) places; beyond, one element and one set of dimensions of each layout in turn |
//! | `reshape` | all, each to every shape of up to three dimensions up to 40 places; beyond see [`reshapes`] |
//! | `compose`, `divide`, `left_divide` | all pairs of rank 3 whose product has up to 64 places; refusals of every dividend of rank 3 |
//! | `concat` | all pairs whose ranks add up to at most 3 and whose product has up to 64 places |
//! | `covers` | all pairs of equal shape and number of lanes |
//!
//! Layouts of lower rank are those of rank 3 with leading dimensions of extent 1; `layout.rs` checks that operations on mixed ranks say so.
//! The sizes of all these sets are asserted, so none shrinks unnoticed.

use std::collections::HashMap;
use tvmc_types::layout::{Layout, LayoutError, MultiFunction};

mod counting;

use counting::{
    Forms, Known, PLACES, RANK, divisors, families, is, known, ravel, renumbered, shapes, universe_of,
    unravel, visit_forms,
};

/// Prints how many there are of something, and asserts it: none of the sets shrinks unnoticed.
fn expect_count(what: &str, found: u64, expected: u64) {
    println!("{what}: {found}");
    assert_eq!(found, expected, "{what}");
}

#[test]
fn forms_mean_what_they_say_and_have_one_canonical_form() {
    let (mut count, mut forms) = (0, 0);
    for elements in 1..=PLACES {
        let all = universe_of(elements);
        count += all.len() as u64;
        let by_table: HashMap<(&[u32], u32, &[u8]), &Layout> = all
            .iter()
            .map(|known| ((known.shape.as_slice(), known.lanes, known.table.as_slice()), &known.layout))
            .collect();
        assert_eq!(by_table.len(), all.len(), "merged forms are different functions");
        for (shape, copies) in families(elements) {
            visit_forms(Forms::All, &shape, copies, &mut |form| {
                forms += 1;
                let known = known(&shape, form);
                let merged = by_table[&(shape.as_slice(), known.lanes, known.table.as_slice())];
                assert_eq!(*merged, known.layout, "one function, one canonical form");
            });
        }
        let mut distinct: Vec<&Layout> = all.iter().map(|known| &known.layout).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len(), "different functions are different layouts");
        for (turn, known) in all.iter().enumerate() {
            let layout = &known.layout;
            assert!(is(layout, &known.shape, known.lanes, known.slots, &known.table), "{layout}");
            assert_eq!(layout.elements(), elements);
            assert_eq!(layout.replication() * elements, known.lanes * known.slots);
            // The places of each element, from the table; of one in turn where there are many.
            let rank = known.shape.len();
            for position in 0..elements {
                if known.table.len() > 48 && position != turn as u32 % elements {
                    continue;
                }
                let (mut lanes, mut slot) = (vec![], 0);
                let index = unravel(position, &known.shape);
                for at in (0..known.table.len()).filter(|&at| u32::from(known.table[at]) == position) {
                    lanes.push(at as u32 / known.slots);
                    slot = at as u32 % known.slots;
                    assert_eq!(layout.element(at as u32 / known.slots, slot), index[..rank], "{layout}");
                }
                assert_eq!(layout.places(&index[..rank]), (lanes, slot), "{layout}");
            }
        }
    }
    expect_count("forms", forms, 927_460);
    expect_count("layouts", count, 571_020);
}

#[test]
fn texts_are_read_back() {
    for elements in 1..=PLACES {
        for known in universe_of(elements) {
            let text = known.layout.to_string();
            assert_eq!(text.parse(), Ok(known.layout), "{text}");
        }
    }
}

const ORDERS: [&[&[usize]]; 4] = [
    &[&[]],
    &[&[0]],
    &[&[0, 1], &[1, 0]],
    &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]],
];

#[test]
fn dimensions_move_appear_and_disappear() {
    for elements in 1..=PLACES {
        for known in universe_of(elements) {
            let (layout, rank) = (&known.layout, known.shape.len());
            for order in ORDERS[rank] {
                let (shape, moved) = renumbered(&known.shape, order);
                let table: Vec<u8> = known.table.iter().map(|at| moved[usize::from(*at)]).collect();
                let found = layout.permute(order).expect("a permutation");
                assert!(is(&found, &shape, known.lanes, known.slots, &table), "{layout} {order:?}");
            }
            for dim in 0..=rank {
                // A dimension of extent 1 changes no row-major position.
                let mut shape = known.shape.clone();
                shape.insert(dim, 1);
                let wider = layout.unsqueeze(dim).expect("small");
                assert!(is(&wider, &shape, known.lanes, known.slots, &known.table), "{layout} {dim}");
                assert_eq!(wider.squeeze(dim).as_ref(), Ok(layout));
            }
            for (dim, &extent) in known.shape.iter().enumerate() {
                let refusal = (extent != 1).then_some(LayoutError::NotUnit { dim, extent });
                assert_eq!(layout.squeeze(dim).err(), refusal);
            }
        }
    }
}

/// Every layout to every shape up to 40 places. Beyond, each to its line (its only shape of one dimension) and back, each line to every shape, each
/// layout to one shape in turn: its other shapes are those of its line.
#[test]
fn reshapes() {
    let (mut done, mut refused) = (0u64, 0u64);
    for elements in 1..=PLACES {
        let all = universe_of(elements);
        let shapes = shapes(elements);
        let number: HashMap<&[u32], usize> =
            shapes.iter().enumerate().map(|(number, shape)| (shape.as_slice(), number)).collect();
        // The layouts of each line, by shape.
        let mut lines: HashMap<(u32, &[u8]), Vec<Option<&Layout>>> = HashMap::new();
        for known in &all {
            let line = lines.entry((known.lanes, &known.table)).or_insert_with(|| vec![None; shapes.len()]);
            line[number[known.shape.as_slice()]] = Some(&known.layout);
        }
        for (turn, known) in all.iter().enumerate() {
            let layout = &known.layout;
            let family = &lines[&(known.lanes, known.table.as_slice())];
            let mut check = |shape: usize| match (layout.reshape(&shapes[shape]), family[shape]) {
                (Ok(found), Some(expected)) => {
                    assert_eq!(found, *expected, "{layout} to {:?}", shapes[shape]);
                    done += 1;
                }
                (Err(LayoutError::CannotSplit { .. }), None) => refused += 1,
                (found, expected) => {
                    panic!("{layout} to {:?}: {found:?}, expected {expected:?}", shapes[shape]);
                }
            };
            if known.table.len() <= 40 || known.shape.len() <= 1 {
                (0..shapes.len()).for_each(check);
            } else {
                let line = number[&[elements][..]];
                check(line);
                check(turn % shapes.len());
                let back = family[line].expect("a line").reshape(&known.shape);
                assert_eq!(back.as_ref(), Ok(layout));
            }
            for first in 0..known.shape.len() {
                for last in first..known.shape.len() {
                    let mut shape = known.shape.clone();
                    shape.splice(first..=last, [known.shape[first..=last].iter().product()]);
                    let expected =
                        family[number[shape.as_slice()]].expect("a range of dimensions becomes one");
                    assert_eq!(layout.flatten(first, last).as_ref(), Ok(expected), "{layout} {first} {last}");
                }
            }
        }
    }
    println!("reshapes done: {done}");
    expect_count("reshapes", done + refused, 4_248_880);
}

/// What is left of each lane's elements without some dimensions, each at its first appearance, lane by lane.
fn reduced(known: &Known, gone: &[usize]) -> (Vec<u32>, Vec<u8>) {
    let kept: Vec<usize> = (0..known.shape.len()).filter(|dim| !gone.contains(dim)).collect();
    let (shape, to) = renumbered(&known.shape, &kept);
    let mut table = vec![];
    for own in known.table.chunks(known.slots as usize) {
        let mut seen = 0u64;
        for at in own {
            let result = to[usize::from(*at)];
            if seen >> result & 1 == 0 {
                seen |= 1 << result;
                table.push(result);
            }
        }
    }
    (shape, table)
}

#[test]
fn reductions_leave_results_with_the_lanes_that_took_part() {
    for elements in 1..=PLACES {
        for (turn, known) in universe_of(elements).into_iter().enumerate() {
            let (layout, rank) = (&known.layout, known.shape.len());
            for set in 0..1usize << rank {
                let gone: Vec<usize> = (0..rank).filter(|dim| set >> dim & 1 == 1).collect();
                let (shape, table) = reduced(&known, &gone);
                let slots = table.len() as u32 / known.lanes;
                let found = layout.reduce(&gone).expect("dimensions that exist");
                assert!(is(&found, &shape, known.lanes, slots, &table), "{layout} over {gone:?}");
                // An extent of 1: another set says the same. Where there are many layouts, one set in turn.
                let in_turn = known.table.len() <= 40 || set == turn % (1 << rank);
                if gone.iter().any(|&dim| known.shape[dim] == 1) || !in_turn {
                    continue;
                }
                let kept = layout.reduce_keep(&gone).expect("dimensions that exist");
                let collapsed: Vec<u32> =
                    (0..rank).map(|dim| if gone.contains(&dim) { 1 } else { known.shape[dim] }).collect();
                assert!(is(&kept, &collapsed, known.lanes, slots, &table), "{layout} over {gone:?}");
                assert_eq!(layout.reduce_to(&collapsed), Ok(kept));
            }
        }
    }
}

/// Everything of rank 3 with up to half the places, which is all that can be a factor besides the whole and 1.
fn factors() -> Vec<Known> {
    (1..=PLACES / 2)
        .flat_map(universe_of)
        .filter(|known| known.shape.len() == RANK && known.table.len() as u32 <= PLACES / 2)
        .collect()
}

/// Lane by lane, slot by slot: each element of the one a tile of the other.
fn composed(outer: &Known, inner: &Known) -> (Vec<u32>, Vec<u8>) {
    let shape: Vec<u32> = outer.shape.iter().zip(&inner.shape).map(|(a, b)| a * b).collect();
    let mut table = vec![];
    for t in 0..outer.lanes * inner.lanes {
        for i in 0..outer.slots * inner.slots {
            let high = outer.index(t / inner.lanes, i / inner.slots);
            let low = inner.index(t % inner.lanes, i % inner.slots);
            let index = [0, 1, 2].map(|dim| high[dim] * inner.shape[dim] + low[dim]);
            table.push(ravel(&index, &shape) as u8);
        }
    }
    (shape, table)
}

/// The pairs whose product has up to so many places; a factor that is not in `factors` is the whole, and the other 1.
const PAIRS: u64 = 2_095_657;

#[test]
fn composition_makes_each_element_a_tile() {
    let mut by_places: Vec<Vec<Known>> = (0..=PLACES).map(|_| vec![]).collect();
    for elements in 1..=PLACES {
        for known in universe_of(elements).into_iter().filter(|known| known.shape.len() == RANK) {
            by_places[known.table.len()].push(known);
        }
    }
    let mut pairs = 0;
    for (a, b) in (1..=PLACES).flat_map(|a| (1..=PLACES / a).map(move |b| (a, b))) {
        for outer in &by_places[a as usize] {
            for inner in &by_places[b as usize] {
                let (shape, table) = composed(outer, inner);
                let whole = outer.layout.compose(&inner.layout).expect("small");
                let (lanes, slots) = (outer.lanes * inner.lanes, outer.slots * inner.slots);
                assert!(is(&whole, &shape, lanes, slots, &table), "{} * {}", outer.layout, inner.layout);
                pairs += 1;
            }
        }
    }
    expect_count("pairs", pairs, PAIRS);
}

/// Sizes decide a division: in `h = f * g` element 0 of `f` is 0, so `g` is the corner of `h` (its first lanes and slots), and `f` every `T`-th lane
/// and `L`-th slot of `h`. So for each dividend and each choice of sizes only one divisor and one quotient can be right. It is tried, as is another divisor of
/// these sizes (`layout.rs` tries all others up to 16 places). What is found must compose to the dividend, and the number that succeeds must be the number of
/// pairs there are: then nothing is refused wrongly.
#[test]
fn divisions_refuse_exactly_where_there_is_no_quotient() {
    let factors = factors();
    type Key<'a> = (&'a [u32], u32, &'a [u8]);
    let by_table: HashMap<Key, &Known> = factors
        .iter()
        .map(|known| ((known.shape.as_slice(), known.lanes, known.table.as_slice()), known))
        .collect();
    let mut by_sizes: HashMap<(&[u32], u32, u32), Vec<&Layout>> = HashMap::new();
    for known in &factors {
        by_sizes.entry((&known.shape, known.lanes, known.slots)).or_default().push(&known.layout);
    }
    let (mut right, mut left, mut tried, mut others) = (0u64, 0u64, 0u64, 0u64);
    for elements in 1..=PLACES {
        let dividends = universe_of(elements).into_iter().filter(|known| known.shape.len() == RANK);
        for (turn, whole) in dividends.enumerate() {
            let layout = &whole.layout;
            let indices: Vec<[u32; RANK]> =
                whole.table.iter().map(|at| unravel(u32::from(*at), &whole.shape)).collect();
            // The whole and 1, in both orders.
            let one = layout.divide(layout).expect("itself divides");
            assert!(is(&one, &[1; RANK], 1, 1, &[0]));
            assert_eq!(layout.left_divide(layout).as_ref(), Ok(&one));
            assert_eq!(
                (layout.divide(&one), layout.left_divide(&one)),
                (Ok(layout.clone()), Ok(layout.clone()))
            );
            (right, left) = (right + 2, left + 2);
            for (inner, lanes, slots) in sizes(&whole) {
                let outer = [0, 1, 2].map(|dim| whole.shape[dim] / inner[dim]);
                let (corner, grid) = parts(&whole, &indices, inner, lanes, slots);
                let known = |shape: [u32; RANK], lanes, table: Option<Vec<u8>>| {
                    by_table.get(&(&shape[..], lanes, &table?[..])).copied()
                };
                let corner = known(inner, lanes, corner);
                let grid = known(outer, whole.lanes / lanes, grid);
                let composes = || {
                    let (outer, inner) = (grid?, corner?);
                    let (_, table) = composed(outer, inner);
                    (table == whole.table).then_some((&outer.layout, &inner.layout))
                };
                let pair = composes();
                if let Some(divisor) = corner {
                    tried += 1;
                    let found = layout.divide(&divisor.layout).ok();
                    assert_eq!(found.as_ref(), pair.map(|pair| pair.0), "{layout} / {}", divisor.layout);
                    right += u64::from(found.is_some());
                }
                if let Some(divisor) = grid {
                    tried += 1;
                    let found = layout.left_divide(&divisor.layout).ok();
                    assert_eq!(found.as_ref(), pair.map(|pair| pair.1), "{} \\ {layout}", divisor.layout);
                    left += u64::from(found.is_some());
                }
                if pair.is_none() || whole.table.len() > 40 {
                    continue;
                }
                let of_sizes = |shape: [u32; RANK], lanes, slots, right: Option<&Known>| {
                    let all = by_sizes.get(&(&shape[..], lanes, slots))?;
                    let other = all[turn % all.len()];
                    (Some(other) != right.map(|known| &known.layout)).then_some(other)
                };
                if let Some(other) = of_sizes(inner, lanes, slots, corner) {
                    assert!(layout.divide(other).is_err(), "{layout} / {other}");
                    others += 1;
                }
                if let Some(other) = of_sizes(outer, whole.lanes / lanes, whole.slots / slots, grid) {
                    assert!(layout.left_divide(other).is_err(), "{other} \\ {layout}");
                    others += 1;
                }
            }
        }
    }
    println!("divisors tried: {tried} and {others} others");
    // The whole by 1 and the whole by itself are two pairs, but for the whole that is 1.
    expect_count("right quotients", right, PAIRS + 1);
    expect_count("left quotients", left, PAIRS + 1);
}

/// Every choice of sizes of an inner layout: its shape, lanes and slots, besides those of the whole and of 1. Both parts hold each of their elements equally often.
fn sizes(whole: &Known) -> Vec<([u32; RANK], u32, u32)> {
    let mut sizes = vec![];
    let extents = [0, 1, 2].map(|dim| divisors(whole.shape[dim]));
    let [first, second, third] = extents;
    for inner in first.flat_map(|a| {
        let third = third.clone();
        second.clone().flat_map(move |b| third.clone().map(move |c| [a, b, c]))
    }) {
        let count: u32 = inner.iter().product();
        for lanes in divisors(whole.lanes) {
            for slots in divisors(whole.slots) {
                let places = lanes * slots;
                let trivial = places == 1 || places as usize == whole.table.len();
                if places.is_multiple_of(count) && !trivial {
                    sizes.push((inner, lanes, slots));
                }
            }
        }
    }
    sizes
}

/// The corner of a layout whose places have these indices, and every `lanes`-th lane and `slots`-th slot in whole tiles; `None` where an element lies
/// outside.
fn parts(
    whole: &Known,
    indices: &[[u32; RANK]],
    inner: [u32; RANK],
    lanes: u32,
    slots: u32,
) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let outer = [0, 1, 2].map(|dim| whole.shape[dim] / inner[dim]);
    let corner = |(lane, slot): (u32, u32)| {
        let index = indices[(lane * whole.slots + slot) as usize];
        (0..RANK).all(|dim| index[dim] < inner[dim]).then(|| ravel(&index, &inner) as u8)
    };
    let grid = |(lane, slot): (u32, u32)| {
        let index = indices[(lane * lanes * whole.slots + slot * slots) as usize];
        let tile = [0, 1, 2].map(|dim| index[dim] / inner[dim]);
        (0..RANK).all(|dim| tile[dim] * inner[dim] == index[dim]).then(|| ravel(&tile, &outer) as u8)
    };
    let places = |lanes: u32, slots: u32| (0..lanes).flat_map(move |t| (0..slots).map(move |i| (t, i)));
    let (high_lanes, high_slots) = (whole.lanes / lanes, whole.slots / slots);
    // A layout holds each element equally often.
    let even = (high_lanes * high_slots).is_multiple_of(outer.iter().product());
    (
        places(lanes, slots).map(corner).collect(),
        even.then(|| places(high_lanes, high_slots).map(grid).collect()).flatten(),
    )
}

#[test]
fn concatenation_is_independent() {
    // By rank and places.
    let mut all: HashMap<(usize, usize), Vec<Known>> = HashMap::new();
    for known in (1..=PLACES).flat_map(universe_of) {
        all.entry((known.shape.len(), known.table.len())).or_default().push(known);
    }
    let fits = |a: &(usize, usize), b: &(usize, usize)| a.0 + b.0 <= RANK && a.1 * b.1 <= PLACES as usize;
    let fitting = all.keys().flat_map(|a| all.keys().filter(move |b| fits(a, b)).map(move |b| (a, b)));
    let mut pairs = 0u64;
    for (first, second) in fitting
        .flat_map(|(a, b)| all[a].iter().flat_map(|first| all[b].iter().map(move |second| (first, second))))
    {
        let shape = [first.shape.clone(), second.shape.clone()].concat();
        let mut table = vec![];
        for t in 0..first.lanes * second.lanes {
            for i in 0..first.slots * second.slots {
                let high = first.at(t / second.lanes, i / second.slots);
                let low = second.at(t % second.lanes, i % second.slots);
                table.push((high * second.elements() + low) as u8);
            }
        }
        let found = first.layout.concat(&second.layout).expect("small");
        let (lanes, slots) = (first.lanes * second.lanes, first.slots * second.slots);
        assert!(is(&found, &shape, lanes, slots, &table), "{} with {}", first.layout, second.layout);
        pairs += 1;
    }
    expect_count("concatenations", pairs, 1_904_993);
}

/// The elements of a lane, one bit each.
fn held(known: &Known) -> Vec<u64> {
    known.table.chunks(known.slots as usize).map(|own| own.iter().fold(0, |set, at| set | 1 << at)).collect()
}

/// `Layout::covers` is a question to the lane sets alone, and layouts of equal sets have equal [`MultiFunction`]s: asserted for all, so pairs of
/// the different ones are all pairs.
#[test]
fn covering_is_inclusion_of_lane_sets() {
    let (mut pairs, mut covering) = (0u64, 0u64);
    for elements in 1..=PLACES {
        let mut groups: HashMap<(Vec<u32>, u32), HashMap<Vec<u64>, MultiFunction>> = HashMap::new();
        for known in universe_of(elements) {
            let holders = known.layout.holders();
            assert_eq!((holders.domain(), holders.lanes()), (known.shape.as_slice(), known.lanes));
            let sets = held(&known);
            let group = groups.entry((known.shape, known.lanes)).or_default();
            assert_eq!(
                *group.entry(sets).or_insert_with(|| holders.clone()),
                holders,
                "equal sets, equal maps"
            );
        }
        for ((shape, _), group) in &groups {
            for (sets, own) in group {
                // What the map says itself, lane by lane.
                if elements <= 32 {
                    for (lane, set) in sets.iter().enumerate() {
                        for position in 0..elements {
                            let index = unravel(position, shape);
                            let holds = own.holds(lane as u32, &index[..shape.len()]);
                            assert_eq!(holds, set >> position & 1 == 1, "{own:?} lane {lane} {index:?}");
                        }
                    }
                }
                for (needed, other) in group {
                    let expected = sets.iter().zip(needed).all(|(own, need)| need & !own == 0);
                    assert_eq!(own.covers(other), expected, "{own:?} covers {other:?}");
                    pairs += 1;
                    covering += u64::from(expected);
                }
            }
        }
    }
    expect_count("pairs", pairs, 99_807_592);
    expect_count("covering", covering, 407_688);
}
