//! Elements narrower than a byte one by one: those that share a byte with elements of another lane, block or row.
//!
//! Elements of a tensor of a dtype follow each other without gaps, rows included. Where slices and rows fill whole bytes a lane composes and stores a byte (`encode`),
//! and a row is decoded as one of a format is (`stored`). Everywhere else an element is found by its number in the tensor:
//!
//! ```text
//! u3, element 13        bits 39 to 41 of the tensor: bit 7 of byte 4, bits 0 and 1 of byte 5
//! byte = e / 8 * 3 + (e % 8 * 3) / 8 = 4, shift = (e % 8 * 3) % 8 = 7      nothing here exceeds 32 bits for 2^31 elements
//! load                  byte 4 >> 7 | byte 5 << 1, the second byte only where the element reaches it
//! store                 store.bits byte 4, bits 0x80; store.bits byte 5, bits 0x03
//! ```
//!
//! `store.bits` leaves the bits of others alone, whoever they are, so blocks may write neighbours. Refused: tensors of 2^31 elements or more, by an assertion where their size is not
//! known; elements that are packed.

use crate::lower::{LowerError, Lowering};
use crate::memory::{Axis, Extent, Tensor};
use crate::packing::Packing;
use tvmc_ir::lane::{self, Access, Mem, MemoryOp, Place, Pure};
use tvmc_ir::tile::{Element, Index, Inst, Value};
use tvmc_types::dtype::DType;

/// Where an element begins.
struct Spot {
    /// Its first byte, i32.
    byte: lane::Value,
    /// The bit of that, 0 to 7.
    shift: lane::Value,
}

impl Lowering<'_> {
    /// The dtype of a tensor whose elements can be found one by one, if they are narrower than a byte.
    pub(crate) fn single_bits(&self, tensor: &Tensor) -> Option<DType> {
        match tensor.element {
            Element::DType(dtype) if dtype.bits() < 8 && tensor.packing == Packing::AsDeclared => Some(dtype),
            Element::DType(_) | Element::Format(_) => None,
        }
    }

    /// Whether rows end within bytes, or may.
    pub(crate) fn rows_share_bytes(&self, tensor: &Tensor, dtype: DType) -> bool {
        match tensor.extents.last() {
            Some(Extent::Constant(columns)) => (columns * i64::from(dtype.bits())) % 8 != 0,
            Some(Extent::Runtime(..)) => true,
            None => true,
        }
    }

    /// Whether a store to a tensor of a narrow dtype, as declared, writes whole bytes: its slice and the rows are of so many elements, and it begins with a byte.
    pub(crate) fn fills_bytes(
        &self,
        tensor: &Tensor,
        dtype: DType,
        indices: &[Index],
        offset: Option<&Value>,
    ) -> bool {
        let group = i64::from(fewest(dtype));
        let columns = match tensor.extents.last() {
            Some(Extent::Constant(columns)) => *columns,
            Some(Extent::Runtime(..)) | None => return false,
        };
        let begins = offset.is_some_and(|offset| self.facts[offset.index()].multiple % group == 0);
        match indices.last() {
            Some(Index::Slice(size)) => begins && i64::from(*size) % group == 0 && columns % group == 0,
            Some(Index::Point) | None => false,
        }
    }

    /// Stores an element of each lane, or one for all; `mask` is that of the access.
    pub(crate) fn store_single_bits(
        &mut self,
        inst: &Inst,
        (tensor, dtype): (&Tensor, DType),
        axes: &[Axis],
        element: lane::Value,
        mask: Option<lane::Value>,
    ) -> Result<(), LowerError> {
        let code = self.code_of(element, dtype);
        let (spot, lanes, countable) = self.spot(inst, tensor, axes, dtype)?;
        let mut mask = self.emit.both(mask, countable);
        if !lanes {
            let (lane, one) = (self.emit.lane_index(), self.emit.i32(1));
            let first = self.emit.pure(Pure::ILtU, &[lane, one]);
            mask = self.emit.both(Some(first), mask);
        }
        let width = dtype.bits();
        let ones = self.emit.i32((1 << width) - 1);
        let code = self.emit.pure(Pure::Shl, &[code, spot.shift]);
        let bits = self.emit.pure(Pure::Shl, &[ones, spot.shift]);
        let base = self.emit.i64(0);
        self.emit.store_bits(tensor.buffer, (base, spot.byte), (code, bits), mask);
        if 8 % width != 0 {
            let (eight, one) = (self.emit.i32(8), self.emit.i32(1));
            let code = self.emit.pure(Pure::ShrU, &[code, eight]);
            let bits = self.emit.pure(Pure::ShrU, &[bits, eight]);
            let reaches = self.reaches(&spot, width);
            let next = self.emit.pure(Pure::IAdd, &[spot.byte, one]);
            let mask = self.emit.both(mask, Some(reaches));
            self.emit.store_bits(tensor.buffer, (base, next), (code, bits), mask);
        }
        Ok(())
    }

    /// Loads an element of each lane, or one for all; `mask` is that of the access.
    pub(crate) fn load_single_bits(
        &mut self,
        inst: &Inst,
        (tensor, dtype): (&Tensor, DType),
        axes: &[Axis],
        mask: Option<lane::Value>,
    ) -> Result<lane::Value, LowerError> {
        let (spot, lanes, countable) = self.spot(inst, tensor, axes, dtype)?;
        let mask = self.emit.both(mask, countable);
        // What the kernel stores as well is read by all lanes: the first one's store comes before a barrier.
        let varies = lanes || mask.is_some_and(|mask| self.emit.is_varying(mask));
        let width = dtype.bits();
        let low = self.byte_at(tensor, spot.byte, varies, mask);
        let mut raw = self.emit.pure(Pure::ShrU, &[low, spot.shift]);
        if 8 % width != 0 {
            let (eight, one) = (self.emit.i32(8), self.emit.i32(1));
            let reaches = self.reaches(&spot, width);
            let next = self.emit.pure(Pure::IAdd, &[spot.byte, one]);
            let mask = self.emit.both(mask, Some(reaches));
            let high = self.byte_at(tensor, next, varies, mask);
            let up = self.emit.pure(Pure::ISub, &[eight, spot.shift]);
            let high = self.emit.pure(Pure::Shl, &[high, up]);
            raw = self.emit.pure(Pure::IOr, &[raw, high]);
        }
        let code = self.extend_bits(raw, width, false);
        let value = self.widen_code(code, dtype)?;
        Ok(self.zero_outside(value, mask))
    }

    /// Whether an element reaches the byte after its first.
    fn reaches(&mut self, spot: &Spot, width: u32) -> lane::Value {
        let room = self.emit.i32(8 - width as i32);
        self.emit.pure(Pure::ILtU, &[room, spot.shift])
    }

    fn byte_at(
        &mut self,
        tensor: &Tensor,
        byte: lane::Value,
        varies: bool,
        mask: Option<lane::Value>,
    ) -> lane::Value {
        let place = Place::Buffer(tensor.buffer);
        if varies || tensor.access != Access::Read {
            let base = self.emit.i64(0);
            let value = self.emit.load(MemoryOp::Gather, Mem::U8, place, base, Some(byte), mask);
            if varies {
                return value;
            }
            let zero = self.emit.i32(0);
            return self.emit.extract(value, zero);
        }
        let base = self.emit.pure(Pure::I32ToI64, &[byte]);
        self.emit.load(MemoryOp::LoadUniform, Mem::U8, place, base, None, mask)
    }

    /// Where the elements of an access begin, whether that differs by lane, and under which condition 32 bits count them.
    fn spot(
        &mut self,
        inst: &Inst,
        tensor: &Tensor,
        axes: &[Axis],
        dtype: DType,
    ) -> Result<(Spot, bool, Option<lane::Value>), LowerError> {
        let countable = self.countable(inst, tensor)?;
        let address = self.address(axes, &tensor.extents);
        let mut number = self.emit.pure(Pure::I64ToI32, &[address.base]);
        let by_lane = self.by_lane(&address);
        if let Some(more) = by_lane {
            number = self.emit.pure(Pure::IAdd, &[number, more]);
        }
        let [three, seven, width] = [3, 7, dtype.bits() as i32].map(|n| self.emit.i32(n));
        let eights = self.emit.pure(Pure::ShrU, &[number, three]);
        let start = self.emit.pure(Pure::IMul, &[eights, width]);
        let rest = self.emit.pure(Pure::IAnd, &[number, seven]);
        let bit = self.emit.pure(Pure::IMul, &[rest, width]);
        let more = self.emit.pure(Pure::ShrU, &[bit, three]);
        let byte = self.emit.pure(Pure::IAdd, &[start, more]);
        let shift = self.emit.pure(Pure::IAnd, &[bit, seven]);
        Ok((Spot { byte, shift }, by_lane.is_some(), countable))
    }
}

/// The fewest elements of a dtype that fill bytes.
pub(crate) fn fewest(dtype: DType) -> u32 {
    8 / (1u32 << dtype.bits().trailing_zeros()).min(8)
}
