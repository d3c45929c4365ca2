//! Shared-memory layouts against counting.
//!
//! A layout's table lists the offset of each element in row-major order, filled from the definition: an odometer over the digits, each times its
//! stride, then the swizzle bit by bit. Whether a table is that of some layout is decided by trying every factorisation of every dimension
//! ([`modes_of`]). Both share nothing with the implementation.
//!
//! | universe | |
//! |---|---|
//! | dense | every order of every factorisation of every shape of up to 64 elements and rank 3: the offsets are 0 to n - 1 |
//! | strided | every shape of up to 8 elements and rank 3, every factorisation, every stride of each mode from 0 to 5 |
//! | random | products of larger factors, beyond all these |
//! | swizzled | each of these with each swizzle of up to 5 bits; dense ones of more than 12 elements with one in turn |

mod counting;

use counting::{Forms, RANK, divisors, factorisations, renumbered, shapes, unravel, visit_forms};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use tvmc_types::layout::{LayoutError, SharedLayout, Swizzle};

/// Modes of each dimension: extent and stride.
type Modes = Vec<Vec<(u32, u32)>>;

struct Known {
    shape: Vec<u32>,
    /// Offsets in row-major order.
    table: Vec<u32>,
    layout: SharedLayout,
}

/// Bit by bit: bit `base + i` is changed where bit `base + shift + i` is set.
fn swizzled(swizzle: Swizzle, offset: u32) -> u32 {
    let partner = |i: u32| offset >> (swizzle.base + swizzle.shift + i) & 1;
    (0..swizzle.bits).fold(offset, |changed, i| changed ^ partner(i) << (swizzle.base + i))
}

/// The table by the definition, with an odometer.
fn count_up(modes: &Modes, swizzle: Option<Swizzle>) -> Vec<u32> {
    let digits: Vec<(u32, u32)> = modes.concat();
    let mut shown = vec![0; digits.len()];
    let mut table = vec![];
    loop {
        let offset = digits.iter().zip(&shown).map(|((_, stride), value)| stride * value).sum();
        table.push(swizzle.map_or(offset, |swizzle| swizzled(swizzle, offset)));
        let Some(turned) = (0..digits.len()).rev().find(|&i| shown[i] + 1 < digits[i].0) else {
            return table;
        };
        shown[turned] += 1;
        shown[turned + 1..].fill(0);
    }
}

/// Modes whose table this is, if there are any: each dimension alone must be some factorisation, and the whole their sum.
fn modes_of(shape: &[u32], table: &[u32]) -> Option<Modes> {
    let mut modes: Modes = vec![];
    for (dim, &extent) in shape.iter().enumerate() {
        let step: usize = shape[dim + 1..].iter().product::<u32>() as usize;
        let along: Vec<u32> = (0..extent as usize).map(|i| table[i * step]).collect();
        let fits = |factors: &Vec<u32>| {
            let weight = |at: usize| factors[at + 1..].iter().product::<u32>() as usize;
            let own = vec![(0..factors.len()).map(|at| (factors[at], along[weight(at)])).collect::<Vec<_>>()];
            (count_up(&own, None) == along).then_some(own.concat())
        };
        modes.push(factorisations(extent).iter().find_map(fits)?);
    }
    (count_up(&modes, None) == table).then_some(modes)
}

fn known(shape: &[u32], modes: &Modes, swizzle: Option<Swizzle>) -> Known {
    let layout = SharedLayout::from_modes(shape, modes, swizzle).expect("a form");
    let table = count_up(modes, swizzle);
    Known { shape: shape.to_vec(), table, layout }
}

/// Every layout of so many elements whose offsets are all below that.
fn dense(elements: u32) -> Vec<Known> {
    let mut all = vec![];
    for shape in shapes(elements) {
        visit_forms(Forms::Merged, &shape, 1, &mut |form| {
            if !form.spatial.is_empty() {
                return;
            }
            // The order of the digits is that of their strides.
            let mut modes: Modes = vec![vec![]; shape.len()];
            for (mode, &extent) in form.modes.iter().enumerate() {
                let place = form.local.iter().position(|&local| local == mode as u32).expect("a digit");
                let stride =
                    form.local[place + 1..].iter().map(|&below| form.modes[below as usize]).product();
                modes[form.dims[mode]].push((extent, stride));
            }
            all.push(known(&shape, &modes, None));
        });
    }
    all
}

/// Every layout of so many elements with strides up to 5, once.
fn strided(elements: u32) -> Vec<Known> {
    let mut all = vec![];
    for shape in shapes(elements) {
        let mut forms: Vec<Modes> = vec![vec![]];
        for &extent in &shape {
            let mut own: Vec<Vec<(u32, u32)>> = vec![];
            for factors in factorisations(extent) {
                let mut done: Vec<Vec<(u32, u32)>> = vec![vec![]];
                for factor in factors {
                    let with = |own: &Vec<(u32, u32)>| {
                        let own = own.clone();
                        (0..=5).map(move |stride| [own.clone(), vec![(factor, stride)]].concat())
                    };
                    done = done.iter().flat_map(with).collect();
                }
                own.extend(done);
            }
            forms = forms
                .iter()
                .flat_map(|form| own.iter().map(|own| [form.clone(), vec![own.clone()]].concat()))
                .collect();
        }
        let mut seen: HashMap<Vec<u32>, SharedLayout> = HashMap::new();
        for modes in forms {
            let known = known(&shape, &modes, None);
            match seen.get(&known.table) {
                Some(first) => assert_eq!(*first, known.layout, "one function, one canonical form"),
                None => {
                    seen.insert(known.table.clone(), known.layout.clone());
                    all.push(known);
                }
            }
        }
        let distinct: HashSet<&SharedLayout> = seen.values().collect();
        assert_eq!(distinct.len(), seen.len(), "different functions are different layouts");
    }
    all
}

/// Every swizzle up to so many bits.
fn swizzles(top: u32) -> Vec<Swizzle> {
    let mut all = vec![];
    for bits in 1..=top / 2 {
        for shift in bits..=top - bits {
            all.extend((0..=top - bits - shift).map(|base| Swizzle { base, bits, shift }));
        }
    }
    all
}

/// Small layouts of both kinds, plain and swizzled.
fn mixed(elements: std::ops::RangeInclusive<u32>) -> Vec<Known> {
    let mut all = vec![];
    for count in elements {
        let plain: Vec<Known> = dense(count).into_iter().chain(strided(count)).collect();
        for (turn, own) in plain.iter().enumerate() {
            let swizzle = swizzles(5)[turn % swizzles(5).len()];
            let layout = own.layout.swizzled(swizzle).expect("no swizzle yet");
            let table = own.table.iter().map(|&offset| swizzled(swizzle, offset)).collect();
            all.push(Known { shape: own.shape.clone(), table, layout });
        }
        all.extend(plain);
    }
    all
}

fn is(layout: &SharedLayout, shape: &[u32], table: &[u32]) -> bool {
    layout.shape() == shape && layout.offsets() == table
}

/// Checks what is true of every layout, and all operations on one; of many elements, one new shape in turn.
fn check(known: &Known, turn: usize) -> (u32, u32) {
    let (layout, shape, rank) = (&known.layout, &known.shape, known.shape.len());
    let elements = known.table.len() as u32;
    assert!(is(layout, shape, &known.table), "{layout}: {:?}, expected {:?}", layout.offsets(), known.table);
    for (position, &offset) in known.table.iter().enumerate() {
        assert_eq!(layout.offset(&unravel(position as u32, shape)[..rank]), offset, "{layout}");
        assert!(offset < layout.size());
    }
    let places: HashSet<u32> = known.table.iter().copied().collect();
    match layout.first_collision() {
        None => assert_eq!(places.len(), known.table.len(), "{layout}"),
        Some((a, b)) => {
            assert!(a != b && known.table[a as usize] == known.table[b as usize], "{layout}: {a}, {b}");
        }
    }
    let text = layout.to_string();
    assert_eq!(text.parse().as_ref(), Ok(layout), "{text}");
    assert_eq!(text.parse::<SharedLayout>().expect("a layout").to_string(), text);

    // Every choice of dimensions in every order; those left out are at 0.
    let orders: [&[usize]; 16] = [
        &[],
        &[0],
        &[1],
        &[2],
        &[0, 1],
        &[1, 0],
        &[0, 2],
        &[2, 0],
        &[1, 2],
        &[2, 1],
        &[0, 1, 2],
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
    ];
    for dims in orders.into_iter().filter(|dims| dims.iter().all(|&dim| dim < rank)) {
        let (kept, to) = renumbered(shape, dims);
        let mut table = vec![0; kept.iter().product::<u32>() as usize];
        for (position, &offset) in known.table.iter().enumerate() {
            let index = unravel(position as u32, shape);
            if (0..rank).all(|dim| dims.contains(&dim) || index[dim] == 0) {
                table[usize::from(to[position])] = offset;
            }
        }
        assert!(is(&layout.keep(dims).expect("dimensions"), &kept, &table), "{layout} keeps {dims:?}");
        assert_eq!(layout.permute(dims).is_ok(), dims.len() == rank);
    }
    for dim in 0..=rank {
        let wider = layout.unsqueeze(dim).expect("small");
        let mut expected = shape.clone();
        expected.insert(dim, 1);
        assert!(is(&wider, &expected, &known.table));
        assert_eq!(wider.squeeze(dim).as_ref(), Ok(layout));
        if dim < rank && shape[dim] != 1 {
            assert_eq!(layout.squeeze(dim), Err(LayoutError::NotUnit { dim, extent: shape[dim] }));
        }
    }
    // To every shape that can be had with this swizzle, and no other.
    let plain: Vec<u32> = match layout.swizzle() {
        Some(swizzle) => known.table.iter().map(|&offset| swizzled(swizzle, offset)).collect(),
        None => known.table.clone(),
    };
    let (mut done, mut refused) = (0, 0);
    let all = shapes(elements);
    for (number, shape) in all.iter().enumerate() {
        if elements > 24 && number != turn % all.len() {
            continue;
        }
        match (layout.reshape(shape), modes_of(shape, &plain)) {
            (Ok(found), Some(_)) => {
                assert!(is(&found, shape, &known.table), "{layout} to {shape:?}");
                done += 1;
            }
            (Err(LayoutError::CannotSplit { .. }), None) => refused += 1,
            (found, expected) => panic!("{layout} to {shape:?}: {found:?}, expected {expected:?}"),
        }
    }
    for first in 0..rank {
        for last in first..rank {
            let mut joined = shape.clone();
            joined.splice(first..=last, [shape[first..=last].iter().product()]);
            assert!(is(&layout.flatten(first, last).expect("a range"), &joined, &known.table));
        }
    }
    for count in [1, 3] {
        let size = layout.size();
        match layout.stages(count) {
            Ok(staged) => {
                let table: Vec<u32> = (0..count)
                    .flat_map(|stage| known.table.iter().map(move |at| stage * size + at))
                    .collect();
                assert!(is(&staged, &[&[count], shape.as_slice()].concat(), &table), "{layout}");
            }
            Err(error) => {
                let swizzle = layout.swizzle().expect("a reason");
                assert!(matches!(error, LayoutError::BadSwizzle { .. }));
                assert!(count > 1 && !u64::from(size).is_multiple_of(swizzle.period()));
            }
        }
    }
    (done, refused)
}

#[test]
fn operations_on_one_layout_meet_their_post_conditions() {
    let (mut count, mut done, mut refused) = (0u64, 0u64, 0u64);
    let mut visit = |known: &Known| {
        let (own, others) = check(known, count as usize);
        (count, done, refused) = (count + 1, done + u64::from(own), refused + u64::from(others));
    };
    for elements in 1..=64 {
        let all = dense(elements);
        for (turn, known) in all.iter().enumerate() {
            visit(known);
            // Up to 24 elements with each swizzle, beyond with one in turn.
            for (number, swizzle) in swizzles(5).into_iter().enumerate() {
                if elements <= 12 || turn % 13 == number {
                    visit(&swizzled_form(known, swizzle));
                }
            }
        }
    }
    for known in (1..=8).flat_map(strided) {
        visit(&known);
        for swizzle in swizzles(5) {
            visit(&swizzled_form(&known, swizzle));
        }
    }
    println!("{count} layouts; reshapes: {done} done, {refused} refused");
    assert_eq!(count, 199_204);
}

fn swizzled_form(known: &Known, swizzle: Swizzle) -> Known {
    let layout = known.layout.swizzled(swizzle).expect("no swizzle yet");
    assert_eq!(
        layout.swizzled(swizzle).is_err(),
        layout.swizzle().is_some(),
        "a second swizzle is refused where there is a first"
    );
    // What the canonical form drops of a swizzle changes nothing.
    let table: Vec<u32> = known.table.iter().map(|&offset| swizzled(swizzle, offset)).collect();
    assert_eq!(layout.swizzle().is_none(), layout == known.layout);
    assert_eq!(
        known.layout.first_difference(&layout),
        (0..table.len()).find(|&at| table[at] != known.table[at]).map(|at| at as u32)
    );
    Known { shape: known.shape.clone(), table, layout }
}

fn product(outer: &Known, inner: &Known) -> (Vec<u32>, Vec<u32>) {
    let size = inner.layout.size();
    let pad = |shape: &[u32]| [vec![1; RANK - shape.len()], shape.to_vec()].concat();
    let (high, low) = (pad(&outer.shape), pad(&inner.shape));
    let shape: Vec<u32> = high.iter().zip(&low).map(|(a, b)| a * b).collect();
    let position = |index: [u32; RANK], shape: &[u32]| {
        index.iter().zip(shape).fold(0, |at, (i, extent)| at * extent + i) as usize
    };
    let table = (0..shape.iter().product())
        .map(|at| {
            let index = unravel(at, &shape);
            let (tile, within) =
                ([0, 1, 2].map(|dim| index[dim] / low[dim]), [0, 1, 2].map(|dim| index[dim] % low[dim]));
            outer.table[position(tile, &high)] * size + inner.table[position(within, &low)]
        })
        .collect();
    (shape, table)
}

#[test]
fn products_and_their_quotients() {
    let all = mixed(1..=6);
    let (mut composed, mut refused) = (0u64, 0u64);
    for (turn, outer) in all.iter().enumerate() {
        for (other, inner) in all.iter().enumerate() {
            // Of the pairs of ranks that are extended, and of the large products, a share.
            let small = outer.table.len() * inner.table.len() <= 8
                && outer.shape.len() == RANK
                && inner.shape.len() == RANK;
            if !small && (turn * 7 + other) % 5 != 0 {
                continue;
            }
            let (f, g) = (&outer.layout, &inner.layout);
            let whole = match f.compose(g) {
                Ok(whole) => whole,
                Err(error) => {
                    let size = u64::from(g.size());
                    let expected = match (f.swizzle(), g.swizzle()) {
                        (Some(_), Some(_)) => matches!(error, LayoutError::Swizzled { .. }),
                        (Some(_), None) => {
                            !size.is_power_of_two() && matches!(error, LayoutError::Swizzled { .. })
                        }
                        (None, Some(swizzle)) => {
                            !size.is_multiple_of(swizzle.period())
                                && matches!(error, LayoutError::BadSwizzle { .. })
                        }
                        (None, None) => false,
                    };
                    assert!(expected, "{f} * {g}: {error}");
                    refused += 1;
                    continue;
                }
            };
            composed += 1;
            let rank = f.rank().max(g.rank());
            let (shape, table) = product(outer, inner);
            assert!(is(&whole, &shape[RANK - rank..], &table), "{f} * {g}");
            let lift = |layout: &SharedLayout| {
                (layout.rank()..rank).fold(layout.clone(), |layout, _| layout.unsqueeze(0).expect("small"))
            };
            assert_eq!(whole.divide(g), Ok(lift(f)), "{whole} / {g}");
            assert_eq!(whole.left_divide(f), Ok(lift(g)), "{f} \\ {whole}");
            if f.rank() + g.rank() <= RANK {
                let size = g.size();
                let table: Vec<u32> =
                    outer.table.iter().flat_map(|a| inner.table.iter().map(move |b| a * size + b)).collect();
                let shape = [outer.shape.clone(), inner.shape.clone()].concat();
                assert!(is(&f.concat(g).expect("as the product"), &shape, &table), "{f} with {g}");
            }
        }
    }
    println!("{composed} products, {refused} refused");
    assert!(composed > 1_000_000 && refused > 100_000);
}

/// In `h = f * g` the inner layout is the corner of `h`, the outer one every `g.shape`-th element over the size of `g`. For plain layouts that decides each
/// division; for swizzled ones what is found must compose to the dividend.
#[test]
fn divisions_refuse_exactly_where_there_is_no_quotient() {
    let (mut found, mut refused) = (0u64, 0u64);
    for whole in
        (1..=16).flat_map(dense).chain((1..=8).flat_map(strided)).filter(|known| known.shape.len() == RANK)
    {
        for a in divisors(whole.shape[0]) {
            for b in divisors(whole.shape[1]) {
                for c in divisors(whole.shape[2]) {
                    let low = [a, b, c];
                    let high = [0, 1, 2].map(|dim| whole.shape[dim] / low[dim]);
                    let at = |index: [u32; RANK]| {
                        let position =
                            index.iter().zip(&whole.shape).fold(0, |at, (i, extent)| at * extent + i);
                        whole.table[position as usize]
                    };
                    let all =
                        |shape: [u32; RANK]| (0..shape.iter().product()).map(move |at| unravel(at, &shape));
                    let corner: Vec<u32> = all(low).map(at).collect();
                    let steps: Vec<u32> =
                        all(high).map(|index| at([0, 1, 2].map(|dim| index[dim] * low[dim]))).collect();
                    let size = corner.iter().max().map_or(1, |last| last + 1);
                    let layout = |shape: [u32; RANK], table: Vec<u32>| {
                        let modes = modes_of(&shape, &table)?;
                        Some(known(&shape, &modes, None))
                    };
                    let inner = layout(low, corner);
                    let divides = steps.iter().all(|step| step.is_multiple_of(size));
                    let outer = divides
                        .then(|| layout(high, steps.iter().map(|step| step / size).collect()))
                        .flatten();
                    let pair = inner.as_ref().zip(outer.as_ref());
                    let pair = pair.filter(|(inner, outer)| product(outer, inner).1 == whole.table);
                    if let Some(inner) = &inner {
                        let quotient = whole.layout.divide(&inner.layout).ok();
                        assert_eq!(
                            quotient.as_ref(),
                            pair.map(|pair| &pair.1.layout),
                            "{} / {}",
                            whole.layout,
                            inner.layout
                        );
                    }
                    if let Some(outer) = &outer {
                        let quotient = whole.layout.left_divide(&outer.layout).ok();
                        assert_eq!(
                            quotient.as_ref(),
                            pair.map(|pair| &pair.0.layout),
                            "{} \\ {}",
                            outer.layout,
                            whole.layout
                        );
                    }
                    match pair {
                        Some(_) => found += 1,
                        None => refused += 1,
                    }
                }
            }
        }
    }
    println!("{found} choices of sizes have a quotient, {refused} have none");
    assert_eq!((found, refused), (11_096, 9_693));
    // Any two, most of which have nothing to do with one another.
    let some: Vec<Known> = mixed(1..=8).into_iter().filter(|known| known.shape.len() == 2).collect();
    let mut quotients = 0u64;
    for (turn, whole) in some.iter().enumerate() {
        for other in some.iter().skip(turn % 7).step_by(7) {
            if let Ok(outer) = whole.layout.divide(&other.layout) {
                assert_eq!(outer.compose(&other.layout).as_ref(), Ok(&whole.layout));
                quotients += 1;
            }
            if let Ok(inner) = whole.layout.left_divide(&other.layout) {
                assert_eq!(other.layout.compose(&inner).as_ref(), Ok(&whole.layout));
                quotients += 1;
            }
        }
    }
    assert!(quotients > 1000, "{quotients}");
}

/// A random layout of rank 2: tiles of tiles, elements some way apart, and sometimes a swizzle.
fn any_layout() -> impl Strategy<Value = SharedLayout> {
    let factor = (any::<bool>(), 1u32..9, 1u32..9, 1u32..4);
    let swizzle = (0u32..4, 1u32..4, 0u32..4);
    let parts = (prop::collection::vec(factor, 1..4), prop::option::of(swizzle));
    parts.prop_filter_map("small", |(factors, swizzle)| {
        let mut layout = SharedLayout::row_major(&[1, 1]).ok()?;
        for (column, rows, columns, apart) in factors {
            let strides = if column { [apart, rows * apart] } else { [columns * apart, apart] };
            layout = layout.compose(&SharedLayout::strided(&[rows, columns], &strides).ok()?).ok()?;
        }
        if let Some((base, bits, more)) = swizzle {
            layout = layout.swizzled(Swizzle { base, bits, shift: bits + more }).ok()?;
        }
        (layout.elements() <= 20_000).then_some(layout)
    })
}

proptest! {
    #[test]
    fn beyond_the_universe(f in any_layout(), g in any_layout()) {
        let text = f.to_string();
        prop_assert_eq!(text.parse(), Ok(f.clone()), "{}", text);
        let [rows, columns] = *f.shape() else { panic!("two dimensions") };
        let all = f.offsets();
        let turned = f.permute(&[1, 0]).unwrap();
        let flat = f.flatten(0, 1).unwrap();
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let offset = f.offset(&[row, column]);
            prop_assert_eq!(all[(row * columns + column) as usize], offset);
            prop_assert_eq!(turned.offset(&[column, row]), offset);
            prop_assert_eq!(flat.offset(&[row * columns + column]), offset);
            prop_assert!(offset < f.size());
        }
        prop_assert_eq!(flat.reshape(f.shape()), Ok(f.clone()));
        prop_assert_eq!(flat.unsqueeze(1).unwrap().squeeze(1), Ok(flat));
        let Ok(h) = f.compose(&g) else { return Ok(()) };
        if h.elements() <= 200_000 {
            let [high, low] = *g.shape() else { panic!("two dimensions") };
            let all = h.offsets();
            for (at, offset) in all.iter().enumerate().step_by(1 + all.len() / 1000) {
                let (x, y) = (at as u32 / h.shape()[1], at as u32 % h.shape()[1]);
                prop_assert_eq!(*offset, f.offset(&[x / high, y / low]) * g.size() + g.offset(&[x % high, y % low]));
            }
        }
        prop_assert_eq!(h.divide(&g), Ok(f.clone()));
        prop_assert_eq!(h.left_divide(&f), Ok(g));
    }

    #[test]
    fn any_text_is_read_or_refused(
        factors in prop::collection::vec((0usize..7, prop::collection::vec(prop_oneof![0u32..40, any::<u32>()], 0..4)), 1..4)
    ) {
        // No panic; and what is read can be written.
        let names = tvmc_types::layout::SHARED_FACTORS;
        let factor = |(name, numbers): &(usize, Vec<u32>)| {
            format!("{}({})", names[*name], numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
        };
        let text = factors.iter().map(factor).collect::<Vec<_>>().join(".");
        if let Ok(layout) = text.parse::<SharedLayout>() {
            prop_assert_eq!(layout.to_string().parse(), Ok(layout));
        }
    }
}
