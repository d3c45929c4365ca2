//! Tiles for a device that multiplies whole matrices: which of the values that a kernel's `tune` names offer suit it best.
//!
//! Each block brings `m + n` elements to scratch for each element of K (`tvmc_passes::staged_by_fragments`), and a device is busy with some number of blocks
//! (`Fragments::blocks`), so the tiling is taken for which
//!
//! ```text
//! (m + n) * max(blocks, enough)        is least; of equal ones that which stands first
//! ```
//!
//! Products of 16 rows get narrow tiles so, large ones square tiles as large as are offered. Asked only of kernels that read halves, where a size that tiles are to `fit`
//! is at least [`LEAST`]; where no tiling is made by fragments the choice stays as it was. What is known of instances is remembered here, also whether they fit a device.
//!
//! **Without matrices** a device's lanes share the products of small tiles along K (`tvmc_passes`, `spread`) and give each element of a larger one a lane by itself, which waits for each of its loads. So where weights
//! lie in planes and at most [`FEW`] rows are multiplied, the smallest tile of several rows is taken, other names at the last of the descending values that they begin with.
//!
//! ```text
//! u4, 32 x 8192, BM in {32, 8, 1, 128} fit M, BN in {64, 8, 128}      8 x 8
//! ```
//!
//! **On a CPU** a product of activations in groups decodes each weight once for a block and brings each row to scratch once (`tvmc_passes`, `integer_block`), so larger blocks do that less often.
//! Decoding a block's weights takes as long as multiplying them by [`DECODING`] rows, so where the first value of a size to fit was chosen, that of at least as much is taken for which
//!
//! ```text
//! ceil(M, rows) * (rows + DECODING)        is least; of equal ones the largest
//! ```
//!
//! and, if that is another one, twice the first value of other names where blocks stay full.
//!
//! ```text
//! 512 x 4096, BM in {32, 8, 1, 128, 64} fit M, BN in {64, 8, 128}     128 x 128
//! 100 x 4096                                                          64 x 128
//! 512 x 576                                                           128 x 64: four and a half columns of 128 would be five
//! ```

//! A product of plain floats costs `m n + 6 (m + n)` for each element of K in a block of m x n (`tvmc_passes::cost_of_products`), and the blocks come in as many rounds as the threads need for them:
//! of the values that are offered and fit, those are taken for which cost times rounds is least.
//!
//! ```text
//! 1024 x 1024, 2 threads    32 x 64   2,624 x 256 = 671,744      128 x 128   17,920 x 32 = 573,440
//! ```

use super::InstanceKey;
use super::interface::{Interface, InterfaceElement, InterfaceParam, blocks_of, set_tune};
use super::library::Library;
use std::cell::RefCell;
use std::collections::HashMap;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::module::Key;
use tvmc_model::executor::DeviceError;
use tvmc_passes::packing::Packing;
use tvmc_passes::target::Target;
use tvmc_passes::{cost_of_products, is_spread, staged_by_fragments};
use tvmc_sema::TuneDecl;
use tvmc_types::dtype::{DType, Kind};

/// Rows from which on a fragment is full enough.
const LEAST: i64 = 8;
/// Rows whose multiplication takes as long as decoding the weights does: 3 for codes of 4 bits to 22 for the grids and 6 bits (`docs/lab-notes.md`).
const DECODING: i64 = 16;
/// Rows up to which shared tiles are known to be faster.
const FEW: i64 = 64;
/// Blocks that are left at least where tiles are made larger on a CPU.
const ENOUGH: u64 = 16;
/// Most tilings that are tried.
const MOST: usize = 64;

/// What is known of a tiling: the grid, and what a block stages; none where it is not made by fragments.
type Known = Option<(Vec<Expr>, u64)>;

/// What was found of tilings and of their instances so far.
#[derive(Default)]
pub struct Tilings {
    known: RefCell<HashMap<Key, Known>>,
    fitting: RefCell<HashMap<InstanceKey, bool>>,
    grids: RefCell<HashMap<Key, Vec<Expr>>>,
    spread: RefCell<HashMap<InstanceKey, bool>>,
}

/// Whether some argument of a kernel is stored as f16.
fn reads_halves(interface: &Interface, key: &Key) -> bool {
    interface.params.iter().any(|param| match param {
        InterfaceParam::Tensor { element: InterfaceElement::Named(name), .. } => *name == DType::F16.name(),
        InterfaceParam::Tensor { element: InterfaceElement::Generic(generic), .. } => {
            key.elements.iter().any(|(name, element)| name == generic && *element == DType::F16.name())
        }
        InterfaceParam::Scalar { .. } => false,
    })
}

/// Whether all tensors of a kernel hold floats of 16 or 32 bits, which no tile has to decode.
fn has_plain_floats(interface: &Interface, key: &Key) -> bool {
    let plain = |name: &str| {
        DType::from_name(name).is_some_and(|dtype| dtype.kind() == Kind::Float && dtype.bits() >= 16)
    };
    interface.params.iter().all(|param| match param {
        InterfaceParam::Tensor { element: InterfaceElement::Named(name), .. } => plain(name),
        InterfaceParam::Tensor { element: InterfaceElement::Generic(generic), .. } => {
            key.elements.iter().any(|(name, element)| name == generic && plain(element))
        }
        InterfaceParam::Scalar { .. } => true,
    })
}

impl Tilings {
    /// Whether an instance fits the device, asked once.
    pub fn fits(
        &self,
        key: &Key,
        packing: &[Packing],
        ask: impl FnOnce(&Key) -> Result<bool, DeviceError>,
    ) -> Result<bool, DeviceError> {
        let case = InstanceKey { choices: key.clone(), packing: packing.to_vec() };
        if let Some(fits) = self.fitting.borrow().get(&case) {
            return Ok(*fits);
        }
        let fits = ask(key)?;
        self.fitting.borrow_mut().insert(case, fits);
        Ok(fits)
    }

    /// Changes a key's tune values to those that suit `target` best; those in `with` stay.
    pub fn choose(
        &self,
        library: &Library,
        key: &mut Key,
        sizes: &dyn Fn(&str) -> Option<Number>,
        with: &[(String, i64)],
        target: &Target,
    ) -> Result<(), DeviceError> {
        let Some(fragments) = target.fragments else { return Ok(()) };
        let interface = library.interface_for(key)?;
        let tunes = &interface.declared.tunes;
        let mut fits = tunes.iter().filter_map(|tune| tune.fit.as_ref()).peekable();
        let few =
            fits.peek().is_some() && fits.all(|size| size.eval_int(sizes).is_ok_and(|size| size < LEAST));
        if few || !reads_halves(&interface, key) {
            return Ok(());
        }
        let mut tilings = vec![Vec::new()];
        for tune in tunes {
            let fixed = with.iter().find(|(name, _)| *name == tune.name).map(|(_, value)| vec![*value]);
            let values = fixed.unwrap_or_else(|| tune.values.clone());
            tilings = tilings
                .iter()
                .flat_map(|chosen: &Vec<(String, i64)>| {
                    values.iter().map(|value| {
                        let mut chosen = chosen.clone();
                        chosen.push((tune.name.clone(), *value));
                        chosen
                    })
                })
                .take(MOST)
                .collect();
        }
        let mut best: Option<(u64, Vec<(String, i64)>)> = None;
        for tunes in tilings {
            let mut tiling = key.clone();
            tiling.tunes.clone_from(&tunes);
            let Some((grid, staged)) = self.known(library, &tiling, target) else { continue };
            let Some(blocks) = blocks_of(&grid, sizes) else { continue };
            let cost = staged.saturating_mul(blocks.max(fragments.blocks));
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, tunes));
            }
        }
        if let Some((_, tunes)) = best {
            key.tunes = tunes;
        }
        Ok(())
    }

    /// Changes a key's tune values to smaller ones with which lanes share the products; those in `with` stay.
    pub fn share(
        &self,
        library: &Library,
        key: &mut Key,
        sizes: &dyn Fn(&str) -> Option<Number>,
        with: &[(String, i64)],
        (packing, target): (&[Packing], &Target),
    ) -> Result<(), DeviceError> {
        if !packing.contains(&Packing::Planar) {
            return Ok(());
        }
        let interface = library.interface_for(key)?;
        let tunes = &interface.declared.tunes;
        let by_fragments = reads_halves(&interface, key) && self.known(library, key, target).is_some();
        let [rows] = tunes.iter().filter(|tune| tune.fit.is_some()).collect::<Vec<_>>()[..] else {
            return Ok(());
        };
        let free = |tune: &TuneDecl| with.iter().all(|(name, _)| *name != tune.name);
        let few =
            rows.fit.as_ref().and_then(|size| size.eval_int(sizes).ok()).is_some_and(|size| size <= FEW);
        if by_fragments || !few || !free(rows) {
            return Ok(());
        }
        let chosen = key.tunes.iter().find(|(name, _)| *name == rows.name).map_or(0, |(_, value)| *value);
        let several = rows.values.iter().copied().filter(|value| (2..=chosen).contains(value));
        let Some(least) = several.min() else { return Ok(()) };
        let mut smaller = key.clone();
        set_tune(&mut smaller, &rows.name, least);
        for tune in tunes.iter().filter(|tune| tune.fit.is_none() && free(tune)) {
            let last = tune.values.windows(2).take_while(|pair| pair[1] < pair[0]).count();
            if let Some(value) = tune.values.get(last) {
                set_tune(&mut smaller, &tune.name, *value);
            }
        }
        if self.is_spread(library, &smaller, packing, target)? {
            *key = smaller;
        }
        Ok(())
    }

    /// Whether lanes share all products of an instance, asked once.
    fn is_spread(
        &self,
        library: &Library,
        key: &Key,
        packing: &[Packing],
        target: &Target,
    ) -> Result<bool, DeviceError> {
        let case = InstanceKey { choices: key.clone(), packing: packing.to_vec() };
        if let Some(spread) = self.spread.borrow().get(&case) {
            return Ok(*spread);
        }
        let spread = is_spread(&library.instantiate(key)?, target, packing.to_vec());
        self.spread.borrow_mut().insert(case, spread);
        Ok(spread)
    }

    /// Changes a key's tune values to larger ones for products of many rows of activations in groups; those in `with` stay.
    pub fn widen(
        &self,
        library: &Library,
        key: &mut Key,
        sizes: &dyn Fn(&str) -> Option<Number>,
        with: &[(String, i64)],
    ) -> Result<(), DeviceError> {
        let interface = library.interface_for(key)?;
        let tunes = &interface.declared.tunes;
        let [rows] = tunes.iter().filter(|tune| tune.fit.is_some()).collect::<Vec<_>>()[..] else {
            return Ok(());
        };
        let free = |tune: &TuneDecl| with.iter().all(|(name, _)| *name != tune.name);
        let first = |tune: &TuneDecl, key: &Key| {
            let chosen = key.tunes.iter().find(|(name, _)| *name == tune.name).map(|(_, value)| *value);
            tune.values.first().copied().filter(|first| free(tune) && chosen == Some(*first) && *first > 0)
        };
        let twice = |tune: &TuneDecl, key: &Key| {
            first(tune, key)?.checked_mul(2).filter(|wide| tune.values.contains(wide))
        };
        let grouped = interface.params.iter().any(|param| match param {
            InterfaceParam::Tensor { element: InterfaceElement::Generic(generic), shape, .. } => {
                let format = |(name, element): &(String, String)| {
                    name == generic && DType::from_name(element).is_none()
                };
                shape.first() == rows.fit.as_ref() && key.elements.iter().any(format)
            }
            InterfaceParam::Tensor { .. } | InterfaceParam::Scalar { .. } => false,
        });
        let size = rows.fit.as_ref().and_then(|size| size.eval_int(sizes).ok()).unwrap_or(0);
        let Some(first) = first(rows, key).filter(|_| grouped) else { return Ok(()) };
        let offered = rows.values.iter().copied().filter(|value| (first..=size).contains(value));
        let cost = |value: i64| {
            (size.saturating_add(value - 1) / value).saturating_mul(value.saturating_add(DECODING))
        };
        let Some(wide) = offered.min_by_key(|value| (cost(*value), std::cmp::Reverse(*value))) else {
            return Ok(());
        };
        if wide == first {
            return Ok(());
        }
        set_tune(key, &rows.name, wide);
        for tune in tunes.iter().filter(|tune| tune.fit.is_none()) {
            let Some(wide) = twice(tune, key) else { continue };
            let mut larger = key.clone();
            set_tune(&mut larger, &tune.name, wide);
            let [before, after] = [self.blocks(library, key, sizes)?, self.blocks(library, &larger, sizes)?];
            if after.is_some_and(|after| after >= ENOUGH && Some(after * 2) == before) {
                *key = larger;
            }
        }
        Ok(())
    }

    /// Changes a key's tune values to those that make a product of many rows of plain floats cheapest; those in `with` stay.
    pub fn cheapest(
        &self,
        library: &Library,
        key: &mut Key,
        sizes: &dyn Fn(&str) -> Option<Number>,
        with: &[(String, i64)],
        threads: u64,
    ) -> Result<(), DeviceError> {
        let interface = library.interface_for(key)?;
        let tunes = &interface.declared.tunes;
        let [rows] = tunes.iter().filter(|tune| tune.fit.is_some()).collect::<Vec<_>>()[..] else {
            return Ok(());
        };
        let size = rows.fit.as_ref().and_then(|size| size.eval_int(sizes).ok()).unwrap_or(0);
        let chosen = key.tunes.iter().find(|(name, _)| *name == rows.name).map(|(_, value)| *value);
        // Fewer rows than that have the tile that fits them.
        if chosen != rows.values.first().copied() || !has_plain_floats(&interface, key) {
            return Ok(());
        }
        let mut tilings = vec![key.clone()];
        for tune in tunes.iter().filter(|tune| with.iter().all(|(name, _)| *name != tune.name)) {
            let Some(first) = tune.values.first() else { continue };
            let most = if tune.fit.is_some() { size } else { i64::MAX };
            let larger = |value: &&i64| (*first..=most.max(*first)).contains(*value);
            tilings = tilings
                .iter()
                .flat_map(|tiling| {
                    tune.values.iter().filter(larger).map(|value| {
                        let mut tiling = tiling.clone();
                        set_tune(&mut tiling, &tune.name, *value);
                        tiling
                    })
                })
                .take(MOST)
                .collect();
        }
        let mut best: Option<(u64, Key)> = None;
        for tiling in tilings {
            let (Some(blocks), Some(cost)) =
                (self.blocks(library, &tiling, sizes)?, cost_of_products(&library.instantiate(&tiling)?))
            else {
                return Ok(());
            };
            let cost = cost.saturating_mul(blocks.div_ceil(threads.max(1)));
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, tiling));
            }
        }
        if let Some((_, tiling)) = best {
            *key = tiling;
        }
        Ok(())
    }

    /// How many blocks an instance has, where sizes say it.
    fn blocks(
        &self,
        library: &Library,
        key: &Key,
        sizes: &dyn Fn(&str) -> Option<Number>,
    ) -> Result<Option<u64>, DeviceError> {
        if !self.grids.borrow().contains_key(key) {
            let grid = library.instantiate(key)?.grid.to_vec();
            self.grids.borrow_mut().insert(key.clone(), grid);
        }
        let grids = self.grids.borrow();
        Ok(grids.get(key).and_then(|grid| blocks_of(grid, sizes)))
    }

    /// A tiling that no instance can be made of is as one that is not made by fragments.
    fn known(&self, library: &Library, tiling: &Key, target: &Target) -> Known {
        if let Some(known) = self.known.borrow().get(tiling) {
            return known.clone();
        }
        let kernel = library.instantiate(tiling).ok();
        let found =
            kernel.and_then(|kernel| Some((kernel.grid.to_vec(), staged_by_fragments(&kernel, target)?)));
        self.known.borrow_mut().insert(tiling.clone(), found.clone());
        found
    }
}
