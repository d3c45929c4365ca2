//! Fragments: what each group of lanes holds, and their memory.
//!
//! A fragment's accesses count as those of its group's first lane: so what another lane wrote, of the same group too, needs a barrier first. A sum takes the products of an
//! element one after the other, k ascending, each addition rounded.

use half::f16;
use tvmc_ir::lane::fragment::{ALIGNMENT, EDGE};
use tvmc_ir::lane::{Arena, Fragment, FragmentOp, Function, Inst, Mem, Order, Place};

use super::TrapKind;
use super::machine::{Fault, Machine};

const SIZE: usize = (EDGE * EDGE) as usize;

/// The fragments of a block.
pub(super) struct Fragments {
    /// By fragment, then group: elements by rows, none before anything was put there in this block.
    held: Vec<Vec<Option<Box<[f32; SIZE]>>>>,
}

impl Fragments {
    /// Empty ones.
    pub(super) fn of(function: &Function) -> Self {
        let groups = function.lanes.checked_div(function.group).unwrap_or(0) as usize;
        Self { held: vec![vec![None; groups]; function.fragments.len()] }
    }

    /// What a block starts with.
    pub(super) fn clear(&mut self) {
        self.held.iter_mut().flatten().for_each(|held| *held = None);
    }

    fn get(&self, fragment: Fragment, group: usize) -> Result<[f32; SIZE], Fault> {
        match &self.held[fragment.index()][group] {
            Some(elements) => Ok(**elements),
            None => Err(Fault::plain(TrapKind::UnsetFragment(fragment))),
        }
    }
}

impl Machine<'_> {
    /// Executes one operation.
    pub(super) fn fragment(&mut self, inst: &Inst, op: FragmentOp) -> Result<(), Fault> {
        let groups = self.function.lanes.checked_div(self.function.group).unwrap_or(0);
        match op {
            FragmentOp::Stage { arena, masked } => {
                let value =
                    |this: &Self, lane: usize, number: usize| this.words[Self::arg(inst, 2 + number)][lane];
                return self.stage(inst, arena, masked, &value);
            }
            FragmentOp::StageCodes { arena, bits, bias, masked } => {
                let value = |this: &Self, lane: usize, number: usize| {
                    let [low, high, scale] = [2, 3, 4].map(|at| this.words[Self::arg(inst, at)][lane]);
                    let string = u64::from(high) << 32 | u64::from(low);
                    let code = string >> (number as u32 * u32::from(bits)) & ((1 << bits) - 1);
                    let scale = f16::from_f32(f32::from_bits(scale)).to_f32();
                    ((code as f32 + f32::from(bias)) * scale).to_bits()
                };
                return self.stage(inst, arena, masked, &value);
            }
            FragmentOp::Zero(fragment) => {
                self.fragments.held[fragment.index()].fill(Some(Box::new([0.0; SIZE])));
            }
            FragmentOp::Load { fragment, arena, order } => {
                let stride = self.stride(inst);
                for group in 0..groups {
                    let (first, lane) = self.corner(inst, group)?;
                    self.aligned([first, i128::from(stride)])?;
                    let mut elements = Box::new([0.0; SIZE]);
                    for (at, element) in elements.iter_mut().enumerate() {
                        let (i, j) = ((at / EDGE as usize) as i128, (at % EDGE as usize) as i128);
                        let index = match order {
                            Order::Rows => first + i * i128::from(stride) + j,
                            Order::Columns => first + i + j * i128::from(stride),
                        };
                        let word = self.load_element(Place::Arena(arena), Mem::F16, index, lane)?;
                        *element = f32::from_bits(word);
                    }
                    self.fragments.held[fragment.index()][group as usize] = Some(elements);
                }
            }
            FragmentOp::MultiplyAdd { sum, left, right } => {
                self.burn(u64::from(groups) * SIZE as u64 * u64::from(EDGE))?;
                for group in 0..groups as usize {
                    let [a, b] = [left, right].map(|factor| self.fragments.get(factor, group));
                    let (a, b, mut c) = (a?, b?, self.fragments.get(sum, group)?);
                    for (at, sum) in c.iter_mut().enumerate() {
                        let (i, j) = (at / EDGE as usize, at % EDGE as usize);
                        for k in 0..EDGE as usize {
                            *sum += a[i * EDGE as usize + k] * b[k * EDGE as usize + j];
                        }
                    }
                    self.fragments.held[sum.index()][group] = Some(Box::new(c));
                }
            }
            FragmentOp::Store { fragment, place } => {
                let stride = self.stride(inst);
                for group in 0..groups {
                    let (first, lane) = self.corner(inst, group)?;
                    let elements = self.fragments.get(fragment, group as usize)?;
                    for (at, element) in (0..).zip(elements) {
                        let (i, j) = (at / i128::from(EDGE), at % i128::from(EDGE));
                        let index = first + i * i128::from(stride) + j;
                        self.store_element(place, Mem::F32, index, lane, element.to_bits())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Each lane's eight halves, of which `value` gives the bits before they are rounded.
    fn stage(
        &mut self,
        inst: &Inst,
        arena: Arena,
        masked: bool,
        value: &dyn Fn(&Self, usize, usize) -> u32,
    ) -> Result<(), Fault> {
        let base = i128::from(self.wides[Self::arg(inst, 0)]);
        let offsets = Self::arg(inst, 1);
        let mask = masked.then(|| Self::arg(inst, inst.args.len() - 1));
        for at in 0..self.order.len() {
            let lane = self.order[at];
            if !self.active(mask, lane) {
                continue;
            }
            let first = base + i128::from(self.words[offsets][lane as usize].cast_signed());
            self.aligned([first, 0])?;
            for number in 0..ALIGNMENT {
                let word = value(self, lane as usize, number as usize);
                let index = first + i128::from(number);
                self.store_element(Place::Arena(arena), Mem::F16, index, lane, word)?;
            }
        }
        Ok(())
    }

    /// The element at a group's corner of a fragment, and the group's first lane.
    fn corner(&self, inst: &Inst, group: u32) -> Result<(i128, u32), Fault> {
        let base = i128::from(self.wides[Self::arg(inst, 0)]);
        let size = self.function.group;
        let lane = group * size;
        let offsets = &self.words[Self::arg(inst, 1)][lane as usize..(lane + size) as usize];
        if offsets.iter().any(|offset| *offset != offsets[0]) {
            return Err(Fault::plain(TrapKind::TornFragment { group }));
        }
        Ok((base + i128::from(offsets[0].cast_signed()), lane))
    }

    fn stride(&self, inst: &Inst) -> i32 {
        self.words[Self::arg(inst, 2)].first().copied().unwrap_or(0).cast_signed()
    }

    fn aligned(&self, places: [i128; 2]) -> Result<(), Fault> {
        match places.into_iter().find(|place| place % i128::from(ALIGNMENT) != 0) {
            Some(place) => Err(Fault::plain(TrapKind::MisalignedFragment { place })),
            None => Ok(()),
        }
    }
}
