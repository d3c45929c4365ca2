//! `view`: the bits that each lane holds, read again.
//!
//! For each lane its elements' codes are written one after another in the order of its slots, each least significant bit first, as a list
//! of single bits; the list is cut into the codes of the result's elements. Where several lanes hold an element, all must agree.
//!
//! ```text
//! operand i6, slots 1, -1 of a lane      100000 111111        result u4: 1000 0011 1111 = 1, 12, 15
//! ```

use super::{Machine, Tile, Trap, element};
use tvmc_ir::tile::{Inst, Value};

impl Machine<'_, '_, '_> {
    pub(super) fn view(&self, inst: &Inst, result: Value) -> Result<Tile, Trap> {
        let unpinned = || Trap::Unsupported("a view without layouts".into());
        let operand = *inst.args.first().ok_or_else(unpinned)?;
        let (from, to) = match (self.kernel.layout(operand), self.kernel.layout(result)) {
            (Some(from), Some(to)) => (from, to),
            (_, _) => return Err(unpinned()),
        };
        let (from_dtype, to_dtype) = (self.kernel.ty(operand).dtype, self.kernel.ty(result).dtype);
        let source = &self.values[operand.index()].bits;
        let mut codes: Vec<Option<u32>> = vec![None; to.elements() as usize];
        for lane in 0..from.spatial_size() {
            let mut bits: Vec<bool> = Vec::new();
            for slot in 0..from.local_size() {
                let code = element::encode(from_dtype, source[from.linear_element(lane, slot) as usize]);
                bits.extend((0..from_dtype.bits()).map(|bit| code >> bit & 1 == 1));
            }
            for (slot, own) in bits.chunks(to_dtype.bits() as usize).enumerate() {
                let code = own.iter().rev().fold(0u64, |code, bit| code << 1 | u64::from(*bit));
                let value = element::decode(to_dtype, code)?;
                let place = &mut codes[to.linear_element(lane, slot as u32) as usize];
                if place.is_some_and(|other| other != value) {
                    return Err(Trap::Unsupported(format!("a view whose lane {lane} differs from its copy")));
                }
                *place = Some(value);
            }
        }
        let bits = codes.into_iter().collect::<Option<Vec<u32>>>();
        Ok(Tile { bits: bits.ok_or_else(|| Trap::Unsupported("a view that leaves elements out".into()))? })
    }
}
