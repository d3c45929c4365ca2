//! The layout algebra against enumeration: layouts of mixed ranks with more copies, and random ones; `layout_exhaustive.rs` has all of rank 3.
//!
//! The oracle is a [`Table`]: for each lane and slot the row-major position of the element, filled from the definition with
//! nested counting and nothing else. Each operation has a counterpart on tables, written from its post-condition; layouts are
//! compared by their tables. The universe of small layouts is enumerated in full, so refusals are checked too: an operation may
//! refuse only where no layout of the universe is the wanted table.

use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::LazyLock;
use tvmc_types::layout::{Layout, LayoutError, SpatialMode};

/// A layout by enumeration.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Table {
    shape: Vec<u32>,
    lanes: u32,
    slots: u32,
    /// Row-major positions, lane by lane.
    elements: Vec<u32>,
}

fn unravel(mut position: u32, shape: &[u32]) -> Vec<u32> {
    let mut index = vec![0; shape.len()];
    for dim in (0..shape.len()).rev() {
        index[dim] = position % shape[dim];
        position /= shape[dim];
    }
    index
}

fn ravel(index: &[u32], shape: &[u32]) -> u32 {
    let mut position = 0;
    for (i, extent) in index.iter().zip(shape) {
        position = position * extent + i;
    }
    position
}

impl Table {
    fn new(shape: &[u32], lanes: u32, slots: u32, element: impl Fn(u32, u32) -> Vec<u32>) -> Table {
        let mut elements = Vec::new();
        for lane in 0..lanes {
            for slot in 0..slots {
                elements.push(ravel(&element(lane, slot), shape));
            }
        }
        Table { shape: shape.to_vec(), lanes, slots, elements }
    }

    /// By the definition of the stored form; `modes` lists those of each dimension.
    fn of_modes(modes: &[Vec<u32>], spatial: &[SpatialMode], local: &[u32]) -> Table {
        let flat: Vec<u32> = modes.concat();
        let shape: Vec<u32> = modes.iter().map(|modes| modes.iter().product()).collect();
        let spatial_shape: Vec<u32> = spatial
            .iter()
            .map(|mode| match *mode {
                SpatialMode::Mode(mode) => flat[mode as usize],
                SpatialMode::Replicate(copies) => copies,
            })
            .collect();
        let local_shape: Vec<u32> = local.iter().map(|&mode| flat[mode as usize]).collect();
        Table::new(&shape, spatial_shape.iter().product(), local_shape.iter().product(), |lane, slot| {
            let mut digits = vec![0; flat.len()];
            for (mode, digit) in spatial.iter().zip(unravel(lane, &spatial_shape)) {
                if let SpatialMode::Mode(mode) = *mode {
                    digits[mode as usize] = digit;
                }
            }
            for (&mode, digit) in local.iter().zip(unravel(slot, &local_shape)) {
                digits[mode as usize] = digit;
            }
            let mut digits = digits.as_slice();
            let mut index = vec![];
            for modes in modes {
                let (own, rest) = digits.split_at(modes.len());
                index.push(ravel(own, modes));
                digits = rest;
            }
            index
        })
    }

    fn of(layout: &Layout) -> Table {
        Table::new(layout.shape(), layout.spatial_size(), layout.local_size(), |lane, slot| {
            layout.element(lane, slot)
        })
    }

    fn element(&self, lane: u32, slot: u32) -> Vec<u32> {
        unravel(self.elements[(lane * self.slots + slot) as usize], &self.shape)
    }

    fn map(&self, shape: &[u32], change: impl Fn(Vec<u32>) -> Vec<u32>) -> Table {
        Table::new(shape, self.lanes, self.slots, |lane, slot| change(self.element(lane, slot)))
    }

    fn compose(&self, inner: &Table) -> Table {
        let rank = self.shape.len().max(inner.shape.len());
        let pad = |index: &[u32], with: u32| [vec![with; rank - index.len()], index.to_vec()].concat();
        let (outer_shape, inner_shape) = (pad(&self.shape, 1), pad(&inner.shape, 1));
        let shape: Vec<u32> = outer_shape.iter().zip(&inner_shape).map(|(a, b)| a * b).collect();
        Table::new(&shape, self.lanes * inner.lanes, self.slots * inner.slots, |t, i| {
            let outer = pad(&self.element(t / inner.lanes, i / inner.slots), 0);
            let inner = pad(&inner.element(t % inner.lanes, i % inner.slots), 0);
            (0..rank).map(|dim| outer[dim] * inner_shape[dim] + inner[dim]).collect()
        })
    }

    fn concat(&self, other: &Table) -> Table {
        let shape = [self.shape.clone(), other.shape.clone()].concat();
        Table::new(&shape, self.lanes * other.lanes, self.slots * other.slots, |t, i| {
            [self.element(t / other.lanes, i / other.slots), other.element(t % other.lanes, i % other.slots)]
                .concat()
        })
    }

    /// Lane by lane, the kept parts of its elements, each at its first appearance.
    fn reduce(&self, dims: &[usize]) -> (Vec<u32>, Vec<Vec<Vec<u32>>>) {
        let keep = |index: &[u32]| -> Vec<u32> {
            (0..index.len()).filter(|dim| !dims.contains(dim)).map(|dim| index[dim]).collect()
        };
        let mut lanes = vec![];
        for lane in 0..self.lanes {
            let mut results = vec![];
            for slot in 0..self.slots {
                let result = keep(&self.element(lane, slot));
                if !results.contains(&result) {
                    results.push(result);
                }
            }
            lanes.push(results);
        }
        (keep(&self.shape), lanes)
    }

    fn holds(&self, lane: u32, position: u32) -> bool {
        (0..self.slots).any(|slot| self.elements[(lane * self.slots + slot) as usize] == position)
    }
}

/// Ways to write `extent` as an ordered product of factors above 1.
fn factorisations(extent: u32) -> Vec<Vec<u32>> {
    if extent == 1 {
        return vec![vec![]];
    }
    let first = (2..=extent).filter(|factor| extent.is_multiple_of(*factor));
    first
        .flat_map(|factor| {
            factorisations(extent / factor).into_iter().map(move |rest| [vec![factor], rest].concat())
        })
        .collect()
}

fn permutations(items: &[u32]) -> Vec<Vec<u32>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    (0..items.len())
        .flat_map(|i| {
            let mut rest = items.to_vec();
            let first = rest.remove(i);
            permutations(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
        })
        .collect()
}

fn shapes(rank: usize, elements: std::ops::RangeInclusive<u32>) -> Vec<Vec<u32>> {
    let mut shapes = vec![vec![]];
    for _ in 0..rank {
        shapes = shapes
            .iter()
            .flat_map(|shape: &Vec<u32>| {
                let room = elements.end() / shape.iter().product::<u32>();
                (1..=room).map(|extent| [shape.clone(), vec![extent]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    shapes.retain(|shape| elements.contains(&shape.iter().product()));
    shapes
}

/// Visits every stored form of a shape, canonical or not: factorisations, digit orders, and each of the given lists of copies
/// put into the lane number in every way.
fn visit_forms(shape: &[u32], copies: &[&[u32]], mut visit: impl FnMut(&[Vec<u32>], &[SpatialMode], &[u32])) {
    let mut modes: Vec<Vec<Vec<u32>>> = vec![vec![]];
    for &extent in shape {
        modes = modes
            .iter()
            .flat_map(|done| {
                factorisations(extent).into_iter().map(move |own| [done.clone(), vec![own]].concat())
            })
            .collect();
    }
    for modes in modes {
        let count = modes.iter().map(Vec::len).sum::<usize>() as u32;
        for order in permutations(&(0..count).collect::<Vec<_>>()) {
            for cut in 0..=order.len() {
                let (spatial, local) = order.split_at(cut);
                let spatial: Vec<SpatialMode> = spatial.iter().map(|&mode| SpatialMode::Mode(mode)).collect();
                for &copies in copies {
                    let mut forms = vec![spatial.clone()];
                    for &copies in copies {
                        forms = forms.iter().flat_map(|form| insertions(form, copies)).collect();
                    }
                    forms.iter().for_each(|form| visit(&modes, form, local));
                }
            }
        }
    }
}

/// A digit of copies put into every position.
fn insertions(form: &[SpatialMode], copies: u32) -> Vec<Vec<SpatialMode>> {
    let insert = |at: usize| [&form[..at], &[SpatialMode::Replicate(copies)], &form[at..]].concat();
    (0..=form.len()).map(insert).collect()
}

/// All layouts up to a number of elements and rank, by table; checks on the way that stored forms mean what they say and that
/// forms of one function become one layout.
fn universe(elements: u32, rank: usize, copies: &[&[u32]]) -> HashMap<Table, Layout> {
    let mut all: HashMap<Table, Layout> = HashMap::new();
    for shape in (0..=rank).flat_map(|rank| shapes(rank, 1..=elements)) {
        visit_forms(&shape, copies, |modes, spatial, local| {
            let table = Table::of_modes(modes, spatial, local);
            let layout = Layout::from_modes(&shape, &modes.concat(), spatial, local).expect("a stored form");
            assert_eq!(Table::of(&layout), table, "{layout}");
            assert_eq!(layout.linear_elements(), table.elements, "{layout}");
            let first = all.entry(table).or_insert_with(|| layout.clone());
            assert_eq!(*first, layout, "one function, one canonical form");
        });
    }
    all
}

/// Up to 16 elements and rank 2, copied once or twice.
static UNIVERSE: LazyLock<HashMap<Table, Layout>> = LazyLock::new(|| universe(16, 2, &[&[], &[2]]));
/// Fewer elements with more copies, of which neighbours merge.
static COPIES: LazyLock<HashMap<Table, Layout>> =
    LazyLock::new(|| universe(8, 2, &[&[], &[2], &[3], &[4], &[6], &[2, 2], &[2, 3], &[2, 2, 2]]));

#[test]
fn equality_is_equality_of_functions() {
    // That equal functions are equal layouts was asserted while building; here, that different functions are different.
    for all in [&UNIVERSE, &COPIES] {
        let distinct: std::collections::HashSet<&Layout> = all.values().collect();
        assert_eq!(distinct.len(), all.len());
    }
}

#[test]
fn places_invert_the_function() {
    for (table, layout) in UNIVERSE.iter() {
        let elements = layout.elements();
        assert_eq!(layout.spatial_size() * layout.local_size(), elements * layout.replication());
        let holders = layout.holders();
        for position in 0..elements {
            let index = unravel(position, layout.shape());
            let (lanes, slot) = layout.places(&index);
            let mut expected = vec![];
            for lane in 0..table.lanes {
                assert_eq!(holders.holds(lane, &index), table.holds(lane, position), "{layout}");
                for other in 0..table.slots {
                    if table.element(lane, other) == index {
                        expected.push((lane, other));
                    }
                }
            }
            assert_eq!(
                lanes.iter().map(|&lane| (lane, slot)).collect::<Vec<_>>(),
                expected,
                "{layout} {index:?}"
            );
            assert_eq!(lanes.len() as u32, layout.replication());
        }
    }
}

#[test]
fn text_round_trips() {
    for layout in UNIVERSE.values().chain(COPIES.values()) {
        let text = layout.to_string();
        assert_eq!(text.parse().as_ref(), Ok(layout), "{text}");
        assert_eq!(text.parse::<Layout>().unwrap().to_string(), text);
    }
}

#[test]
fn composition_and_both_divisions() {
    let small: Vec<(&Table, &Layout)> =
        UNIVERSE.iter().filter(|(table, _)| table.elements.len() <= 8).collect();
    for (outer_table, outer) in &small {
        for (inner_table, inner) in &small {
            if outer_table.elements.len() * inner_table.elements.len() > 16 {
                continue;
            }
            let table = outer_table.compose(inner_table);
            let layout = outer.compose(inner).expect("small");
            assert_eq!(Table::of(&layout), table, "{outer} . {inner}");
            let rank = layout.rank();
            let lift = |factor: &Layout| {
                (factor.rank()..rank).fold(factor.clone(), |factor, _| factor.unsqueeze(0).expect("small"))
            };
            assert_eq!(layout.divide(inner), Ok(lift(outer)));
            assert_eq!(layout.left_divide(outer), Ok(lift(inner)));
        }
    }
}

#[test]
fn divisions_refuse_exactly_where_there_is_no_quotient() {
    // A quotient has no more places than the dividend, so all that can be one are among these.
    let small: Vec<(&Table, &Layout)> =
        UNIVERSE.iter().filter(|(table, layout)| table.elements.len() <= 16 && layout.rank() == 2).collect();
    let by_table: HashMap<&Table, &Layout> = small.iter().copied().collect();
    let mut right: HashMap<(&Layout, &Layout), &Layout> = HashMap::new();
    let mut left: HashMap<(&Layout, &Layout), &Layout> = HashMap::new();
    for (outer_table, outer) in &small {
        for (inner_table, inner) in &small {
            if outer_table.elements.len() * inner_table.elements.len() > 16 {
                continue;
            }
            if let Some(whole) = by_table.get(&outer_table.compose(inner_table)) {
                assert_eq!(right.insert((whole, inner), outer), None, "the quotient is unique");
                assert_eq!(left.insert((whole, outer), inner), None, "the quotient is unique");
            }
        }
    }
    for (_, whole) in &small {
        for (_, factor) in &small {
            let quotients = (whole.divide(factor), whole.left_divide(factor));
            assert_eq!(
                quotients.0.as_ref().ok(),
                right.get(&(*whole, *factor)).copied(),
                "{whole} / {factor}"
            );
            assert_eq!(
                quotients.1.as_ref().ok(),
                left.get(&(*whole, *factor)).copied(),
                "{whole} \\ {factor}"
            );
        }
    }
}

#[test]
fn reshape_refuses_exactly_where_there_is_no_layout() {
    for (table, layout) in UNIVERSE.iter() {
        for shape in (0..=2).flat_map(|rank| shapes(rank, layout.elements()..=layout.elements())) {
            let wanted = Table { shape: shape.clone(), ..table.clone() };
            match (layout.reshape(&shape), UNIVERSE.get(&wanted)) {
                (Ok(found), Some(expected)) => assert_eq!(found, *expected, "{layout} {shape:?}"),
                (Err(LayoutError::CannotSplit { .. }), None) => {}
                (found, expected) => panic!("{layout} to {shape:?}: {found:?}, expected {expected:?}"),
            }
        }
        for first in 0..layout.rank() {
            for last in first..layout.rank() {
                let mut shape = layout.shape().to_vec();
                shape.splice(first..=last, [shape[first..=last].iter().product()]);
                let wanted = Table { shape, ..table.clone() };
                assert_eq!(Table::of(&layout.flatten(first, last).expect("a range of dimensions")), wanted);
            }
        }
    }
}

#[test]
fn dimensions_move_appear_and_disappear() {
    for (table, layout) in UNIVERSE.iter() {
        let rank = layout.rank();
        let dims: Vec<u32> = (0..rank as u32).collect();
        for order in permutations(&dims) {
            let order: Vec<usize> = order.iter().map(|&dim| dim as usize).collect();
            let pick = |index: &[u32]| -> Vec<u32> { order.iter().map(|&dim| index[dim]).collect() };
            let expected = table.map(&pick(&table.shape), |index| pick(&index));
            assert_eq!(Table::of(&layout.permute(&order).expect("a permutation")), expected);
        }
        for dim in 0..=rank {
            let mut shape = table.shape.clone();
            shape.insert(dim, 1);
            let wider = layout.unsqueeze(dim).expect("small");
            let expected = table.map(&shape, |mut index| {
                index.insert(dim, 0);
                index
            });
            assert_eq!(Table::of(&wider), expected);
            assert_eq!(wider.squeeze(dim).as_ref(), Ok(layout));
        }
        for dim in 0..rank {
            let extent = table.shape[dim];
            assert_eq!(
                layout.squeeze(dim).err(),
                (extent != 1).then_some(LayoutError::NotUnit { dim, extent })
            );
        }
    }
}

#[test]
fn reductions_leave_results_with_the_lanes_that_took_part() {
    for (table, layout) in UNIVERSE.iter() {
        let rank = layout.rank();
        for set in 0..1usize << rank {
            let dims: Vec<usize> = (0..rank).filter(|dim| set >> dim & 1 == 1).collect();
            let (shape, lanes) = table.reduce(&dims);
            let reduced = layout.reduce(&dims).expect("dimensions that exist");
            assert_eq!((reduced.shape(), reduced.spatial_size()), (&shape[..], table.lanes));
            for (lane, results) in lanes.iter().enumerate() {
                let found: Vec<Vec<u32>> =
                    (0..reduced.local_size()).map(|slot| reduced.element(lane as u32, slot)).collect();
                assert_eq!(found, *results, "{layout} over {dims:?}, lane {lane}");
            }
            let kept = layout.reduce_keep(&dims).expect("dimensions that exist");
            let collapsed: Vec<u32> =
                (0..rank).map(|dim| if dims.contains(&dim) { 1 } else { table.shape[dim] }).collect();
            assert_eq!(kept.shape(), collapsed);
            assert_eq!(kept.reshape(&shape), Ok(reduced.clone()));
            assert_eq!(layout.reduce_to(&collapsed), Ok(kept));
            if dims.iter().enumerate().all(|(i, &dim)| i == dim) {
                assert_eq!(layout.reduce_to(&shape), Ok(reduced));
            }
            // An operand laid out so is where its broadcast is needed.
            let operand = layout.reduce_to(&collapsed).expect("collapsed dimensions");
            let broadcast = operand.holders().broadcast_to(&table.shape).expect("broadcasts");
            assert!(broadcast.covers(&layout.holders()));
        }
    }
}

#[test]
fn concatenation_is_independent() {
    let small: Vec<(&Table, &Layout)> =
        UNIVERSE.iter().filter(|(table, _)| table.elements.len() <= 6).collect();
    for (a, first) in &small {
        for (b, second) in &small {
            assert_eq!(Table::of(&first.concat(second).expect("small")), a.concat(b));
        }
    }
}

#[test]
fn covering_is_inclusion_of_lane_sets() {
    type Group<'a> = Vec<(&'a Table, &'a Layout)>;
    let mut groups: HashMap<(&[u32], u32), Group> = HashMap::new();
    for entry in UNIVERSE.iter().chain(COPIES.iter()) {
        groups.entry((&entry.0.shape, entry.0.lanes)).or_default().push(entry);
    }
    // As sets of positions, one bit each, lane by lane.
    let sets = |table: &Table| -> Vec<u32> {
        table
            .elements
            .chunks(table.slots as usize)
            .map(|own| own.iter().fold(0, |set, &e| set | 1 << e))
            .collect()
    };
    let mut covering = 0;
    for group in groups.values() {
        let sets: Vec<Vec<u32>> = group.iter().map(|entry| sets(entry.0)).collect();
        for (i, (_, owned)) in group.iter().enumerate() {
            for (j, (_, needed)) in group.iter().enumerate() {
                let expected = sets[i].iter().zip(&sets[j]).all(|(own, need)| need & !own == 0);
                assert_eq!(owned.covers(needed), expected, "{owned} covers {needed}");
                let lacking = owned.holders().first_lacking(&needed.holders());
                assert_eq!(lacking.is_none(), expected);
                if let Some((index, lane)) = lacking {
                    let bit = 1 << ravel(&index, owned.shape());
                    assert!(sets[j][lane as usize] & bit != 0 && sets[i][lane as usize] & bit == 0);
                }
                covering += u32::from(expected && i != j);
            }
        }
    }
    assert!(covering > 1000);
    let f = "replicated(4).spatial(2)".parse::<Layout>().unwrap();
    let g = "spatial(4, 1).spatial(1, 2)".parse::<Layout>().unwrap().reduce(&[0]).unwrap();
    assert!(
        f.covers(&g)
            && !"spatial(8)".parse::<Layout>().unwrap().covers(&"replicated(8).local(8)".parse().unwrap())
    );
}

#[test]
fn splitting_copies_is_found() {
    let mut groups: HashMap<u32, Vec<(&Table, &Layout)>> = HashMap::new();
    for entry in UNIVERSE.iter().chain(COPIES.iter()).filter(|entry| entry.0.elements.len() <= 8) {
        groups.entry(entry.0.lanes).or_default().push(entry);
    }
    let (mut split, mut kept) = (0, 0);
    let own = |table: &Table, lane: u32| {
        table.elements[(lane * table.slots) as usize..((lane + 1) * table.slots) as usize].to_vec()
    };
    for group in groups.values() {
        for (a, first) in group {
            for (b, second) in group {
                let expected =
                    (0..a.lanes).any(|y| (0..y).any(|x| own(a, x) == own(a, y) && own(b, x) != own(b, y)));
                let found = first.first_split(second);
                assert_eq!(found.is_some(), expected, "{first} against {second}");
                if let Some((x, y)) = found {
                    assert!(x < y && own(a, x) == own(a, y) && own(b, x) != own(b, y));
                }
                split += u32::from(expected);
                kept += u32::from(!expected);
            }
        }
    }
    assert!(split > 100 && kept > 100);
}

#[test]
fn spreading_uses_every_lane() {
    for shape in (0..=3).flat_map(|rank| shapes(rank, 1..=24)) {
        let elements: u32 = shape.iter().product();
        for lanes in 1..=48 {
            let layout = Layout::auto_local_spatial(lanes, &shape);
            if !elements.is_multiple_of(lanes) && !lanes.is_multiple_of(elements) {
                assert_eq!(layout, Err(LayoutError::LanesDoNotDivide { lanes, elements }));
                continue;
            }
            let layout = layout.expect("divides");
            assert_eq!((layout.shape(), layout.spatial_size()), (&shape[..], lanes));
            assert_eq!(layout.replication(), if lanes > elements { lanes / elements } else { 1 });
            // Copies are the most significant part.
            if lanes > elements {
                assert!(
                    (elements..lanes)
                        .all(|lane| layout.element(lane, 0) == layout.element(lane - elements, 0))
                );
            }
        }
    }
}

/// A random layout by composing random small factors.
fn any_layout() -> impl Strategy<Value = Layout> {
    let factor = (0usize..5, prop::collection::vec(1u32..5, 0..4)).prop_map(|(kind, extents)| match kind {
        0 => Layout::local(&extents),
        1 => Layout::spatial(&extents),
        2 => Layout::column_local(&extents),
        3 => Layout::column_spatial(&extents),
        _ => Layout::replicated(extents.first().copied().unwrap_or(2)),
    });
    prop::collection::vec(factor, 0..4).prop_filter_map("at most 2000 entries", |factors| {
        let layout = factors
            .into_iter()
            .try_fold(Layout::local(&[]).ok()?, |whole, factor| whole.compose(&factor.ok()?).ok())?;
        (layout.spatial_size() * layout.local_size() <= 2000).then_some(layout)
    })
}

proptest! {
    #[test]
    fn beyond_the_universe(f in any_layout(), g in any_layout(), seed: u64) {
        let (ft, gt) = (Table::of(&f), Table::of(&g));
        if ft.elements.len() * gt.elements.len() <= 20_000 {
            let h = f.compose(&g).unwrap();
            prop_assert_eq!(Table::of(&h), ft.compose(&gt));
            prop_assert_eq!(h.divide(&g).unwrap().compose(&g).unwrap(), h.clone());
            prop_assert_eq!(h.left_divide(&f).unwrap(), {
                (g.rank()..h.rank()).fold(g.clone(), |g, _| g.unsqueeze(0).unwrap())
            });
            prop_assert_eq!(Table::of(&f.concat(&g).unwrap()), ft.concat(&gt));
        }
        let text = f.to_string();
        prop_assert_eq!(text.parse::<Layout>(), Ok(f.clone()), "{}", text);

        let mut order: Vec<usize> = (0..f.rank()).collect();
        if !order.is_empty() {
            order.rotate_left(seed as usize % f.rank());
        }
        let pick = |index: &[u32]| -> Vec<u32> { order.iter().map(|&dim| index[dim]).collect() };
        prop_assert_eq!(Table::of(&f.permute(&order).unwrap()), ft.map(&pick(f.shape()), |index| pick(&index)));

        let flat = f.reshape(&[f.elements()]).unwrap();
        prop_assert_eq!(Table::of(&flat), Table { shape: vec![f.elements()], ..ft.clone() });
        prop_assert_eq!(flat.reshape(f.shape()).unwrap(), f.clone());

        let dims: Vec<usize> = (0..f.rank()).filter(|dim| seed >> dim & 1 == 1).collect();
        let (shape, lanes) = ft.reduce(&dims);
        let reduced = f.reduce(&dims).unwrap();
        prop_assert_eq!(reduced.shape(), &shape[..]);
        for (lane, results) in lanes.iter().enumerate() {
            for (slot, result) in results.iter().enumerate() {
                prop_assert_eq!(&reduced.element(lane as u32, slot as u32), result);
            }
            prop_assert_eq!(results.len() as u32, reduced.local_size());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z_]{0,8}[(][0-9, ]{0,6}[)][.a-z()0-9é]{0,6}") {
        // No panic; and what is read can be written.
        if let Ok(layout) = text.parse::<Layout>() {
            prop_assert_eq!(layout.to_string().parse(), Ok(layout));
        }
    }
}
