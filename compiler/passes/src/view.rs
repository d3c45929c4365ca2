//! `view` in lane IR: a bit-exact permutation through scratch.
//!
//! The operand lies in an arena as 32-bit values, in the order of its tile. An element of the result is at bits `p = slot * b'` onward of
//! its lane's string, so it is put together from the operand's slots `p / b`, `p / b + 1`, .. of that lane:
//!
//! ```text
//! operand 6 bits   | slot 0 | slot 1 | slot 2 | slot 3 |        u8 slot 1 = bits 8 to 15
//! result  8 bits   |   slot 0  |  slot 1   |  slot 2   |                  = slot 1 >> 2  |  slot 2 << 4, of 8 bits
//! ```
//!
//! Lane, slot and the place of each piece follow from coordinates by the digits of the two layouts: quotients, remainders and sums of
//! constants, which fold away where coordinates are constant. A coordinate outside the tile (lanes past the last extent) wraps in its
//! digits, so no address leaves the arena; nobody uses what is read there.

use crate::emitter::gcd;
use crate::eval::Coord;
use crate::lower::{LowerError, Lowering};
use tvmc_ir::lane::{self, Mem, MemoryOp, Place, Pure};
use tvmc_ir::tile::{Inst, Value};
use tvmc_types::dtype::Kind;
use tvmc_types::layout::Digit;

impl<'k> Lowering<'k> {
    /// One element, or a chunk of them, of a `view`.
    pub(crate) fn eval_view(
        &mut self,
        inst: &Inst,
        result: Value,
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let operand = inst.args[0];
        let kernel: &'k tvmc_ir::tile::Kernel = self.kernel;
        let (Some(from), Some(to)) = (kernel.layout(operand), kernel.layout(result)) else {
            return self.unsupported("a view without pinned layouts", Some(inst));
        };
        let (from_dtype, to_dtype) = (kernel.ty(operand).dtype, kernel.ty(result).dtype);
        let (b, width) = (from_dtype.bits(), to_dtype.bits());
        let tile = self.move_to_arena(operand)?;
        self.before_read(tile.arena);

        let coords: Vec<lane::Value> = at.iter().map(|coord| self.coord_value(*coord)).collect();
        let lane = self.number_of(&to.spatial_digits(), &coords);
        let slot = self.number_of(&to.local_digits(), &coords);

        // Distances in the arena, whose rows may be longer than the tile's.
        let mut strides = vec![1u32; tile.shape.len()];
        for axis in (1..strides.len()).rev() {
            let row = if axis + 1 == strides.len() { tile.row } else { tile.shape[axis] };
            strides[axis - 1] = strides[axis] * row;
        }
        let lane_part = self.position_of(&from.spatial_digits(), lane, &strides);

        let bits = self.emit.i32(width as i32);
        let start = self.emit.pure(Pure::IMul, &[slot, bits]);
        let step = self.emit.i32(b as i32);
        let first = self.emit.pure(Pure::IDivU, &[start, step]);
        // Where the result's width is a multiple, every element begins with a slot.
        let shift = (!width.is_multiple_of(b)).then(|| self.emit.pure(Pure::IRemU, &[start, step]));
        // The furthest into a slot that an element begins is `b - gcd`.
        let pieces = (b - gcd(b.into(), width.into()) as u32 + width).div_ceil(b);
        let mut value = None;
        for piece in 0..pieces {
            let count = self.emit.i32(piece as i32);
            let source = self.emit.pure(Pure::IAdd, &[first, count]);
            let slot_part = self.position_of(&from.local_digits(), source, &strides);
            let index = self.emit.pure(Pure::IAdd, &[lane_part, slot_part]);
            let code = self.load_element(&tile, index);
            // An unsigned value is its code.
            let code = match from_dtype.kind() {
                Kind::Unsigned => code,
                Kind::Signed | Kind::Float | Kind::Bool => self.extend_bits(code, b, false),
            };
            let bits = self.place_piece(code, piece * b, shift);
            value = Some(match value {
                Some(value) => self.emit.pure(Pure::IOr, &[value, bits]),
                None => bits,
            });
        }
        let value = match value {
            Some(value) => value,
            None => self.emit.i32(0),
        };
        Ok(self.extend_bits(value, width, to_dtype.kind() == Kind::Signed))
    }

    /// The lane or slot number that the digits make of an index.
    fn number_of(&mut self, digits: &[Digit], index: &[lane::Value]) -> lane::Value {
        let mut number = self.emit.i32(0);
        let mut weight: u32 = digits.iter().map(|digit| digit.extent).product();
        for digit in digits {
            weight /= digit.extent;
            // Of copies, the first.
            let Some(place) = digit.place else { continue };
            let value = self.digit(index[place.dim], place.stride, digit.extent);
            let weight = self.emit.i32(weight as i32);
            let value = self.emit.pure(Pure::IMul, &[value, weight]);
            number = self.emit.pure(Pure::IAdd, &[number, value]);
        }
        number
    }

    /// Where in the arena the digits of a lane or slot number point.
    fn position_of(&mut self, digits: &[Digit], number: lane::Value, strides: &[u32]) -> lane::Value {
        let mut position = self.emit.i32(0);
        let mut weight: u32 = digits.iter().map(|digit| digit.extent).product();
        for digit in digits {
            weight /= digit.extent;
            let Some(place) = digit.place else { continue };
            let value = self.digit(number, weight, digit.extent);
            let distance = self.emit.i32((place.stride * strides[place.dim]) as i32);
            let value = self.emit.pure(Pure::IMul, &[value, distance]);
            position = self.emit.pure(Pure::IAdd, &[position, value]);
        }
        position
    }

    /// `number / stride % extent`
    fn digit(&mut self, number: lane::Value, stride: u32, extent: u32) -> lane::Value {
        let stride = self.emit.i32(stride as i32);
        let extent = self.emit.i32(extent as i32);
        let above = self.emit.pure(Pure::IDivU, &[number, stride]);
        self.emit.pure(Pure::IRemU, &[above, extent])
    }

    fn load_element(&mut self, tile: &crate::lower::ArenaTile, index: lane::Value) -> lane::Value {
        let place = Place::Arena(tile.arena);
        if self.emit.is_varying(index) {
            let base = self.emit.i64(0);
            self.emit.load(MemoryOp::Gather, Mem::I32, place, base, Some(index), None)
        } else {
            let base = self.emit.pure(Pure::I32ToI64, &[index]);
            self.emit.load(MemoryOp::LoadUniform, Mem::I32, place, base, None, None)
        }
    }

    /// The bits of a piece at `distance - shift` of the result; what lies outside its 32 bits is dropped.
    fn place_piece(&mut self, code: lane::Value, distance: u32, shift: Option<lane::Value>) -> lane::Value {
        match shift {
            None if distance == 0 => code,
            None => {
                let distance = self.emit.i32(distance as i32);
                self.emit.pure(Pure::Shl, &[code, distance])
            }
            Some(shift) if distance == 0 => self.emit.pure(Pure::ShrU, &[code, shift]),
            Some(shift) => {
                let furthest = self.emit.i32(distance as i32);
                let count = self.emit.pure(Pure::ISub, &[furthest, shift]);
                let moved = self.emit.pure(Pure::Shl, &[code, count]);
                // Counts are taken modulo 32: a piece beyond the end must not come in again.
                if distance < 32 {
                    return moved;
                }
                let limit = self.emit.i32(32);
                let inside = self.emit.pure(Pure::ILtU, &[count, limit]);
                let zero = self.emit.i32(0);
                self.emit.pure(Pure::Select, &[inside, moved, zero])
            }
        }
    }
}
