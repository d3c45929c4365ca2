//! Products of floats with a stored operand, run by run: `r = r + sum of x w` where the rows of `w` lie in memory in an affine format.
//!
//! `affine` cuts a row into runs of elements with one scale. Over a run, with `w = s c + o`,
//!
//! ```text
//! sum of x w  =  s * (sum of x c)  +  o * (sum of x)
//! ```
//!
//! so that an element costs one multiply-add besides what makes its code a float. That takes no conversion: a code of up to 8 bits that stands at bit `p` of
//! a word becomes the mantissa of a float around 2^23,
//!
//! ```text
//! (word & mask << p) ^ bits of 2^23          is  2^23 + c 2^p                 (c with its top bit flipped where it has a sign)
//! that times 2^-p, less 2^(23-p) - bias      is  c + bias, exactly: both steps are
//! ```
//!
//! without a shift for `p` below 16, with one by 16 for a word's upper half. Codes that are put together from several fields are made four at a time
//! (`integer_dot`).
//!
//! **Order.** Each run's sum ascends from its first product; runs ascend. **Taken** by `spread`, and by `number_dot`: else, on CPU targets, an element is one chain over all of K.

use crate::affine::{Node, QUAD, Run, Term};
use crate::codes::{MAX_DEPTH, Reading};
use crate::eval::Coord;
use crate::integer_dot::{Side, run_at, shifted, slot_of};
use crate::lower::{LowerError, Lowering};
use crate::stored::Bits;
use tvmc_ir::lane::{self, Op as LaneOp, Pure, Scalar};
use tvmc_types::dtype::Kind;

/// The bits of 2^23.
const MAGIC: u32 = 0x4b00_0000;
/// Its exponent.
const MAGIC_BITS: u32 = 23;

/// Gives element `k` of row `row` of the left operand.
pub(crate) type Element<'a, 'k> =
    &'a mut dyn FnMut(&mut Lowering<'k>, usize, u32) -> Result<lane::Value, LowerError>;

impl<'k> Lowering<'k> {
    /// Adds to `sums` (`rows` rows, then columns) the products with the `k` elements of K from `from`: whole groups.
    pub(crate) fn float_runs(
        &mut self,
        x: Element<'_, 'k>,
        w: &Side<'k>,
        (rows, columns): (usize, &[Coord]),
        (from, k): (Coord, u32),
        mut sums: Vec<lane::Value>,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let mut opened = Vec::new();
        for column in columns {
            opened.push(self.open(w, *column, from)?);
        }
        let length = w.affine.length;
        // Numbers come four at a time (`number_dot`).
        let numbers = w.affine.has_numbers();
        let together = if numbers { QUAD as usize } else { 1 };
        for first in (0..k).step_by(length as usize) {
            let (run, _, group) = run_at(w, first);
            let readings: Vec<Reading<'_, 'k>> = opened
                .iter()
                .map(|opened| Reading { side: w, opened, start: shifted(opened.start, w, group) })
                .collect();
            let mut parts: Vec<Option<lane::Value>> = vec![None; rows * columns.len()];
            let mut totals: Vec<Option<lane::Value>> = vec![None; rows];
            for index in (0..length).step_by(together) {
                let mut codes = Vec::new();
                for from in &readings {
                    codes.push(if numbers {
                        self.four_numbers(*from, run, index)?.to_vec()
                    } else {
                        vec![self.float_code(*from, run, index)?]
                    });
                }
                for (row, total) in totals.iter_mut().enumerate() {
                    for code in 0..together {
                        let x = x(self, row, first + index + code as u32)?;
                        if run.offset.is_some() {
                            *total = Some(match *total {
                                Some(total) => self.emit.pure(Pure::FAdd, &[total, x]),
                                None => x,
                            });
                        }
                        for (codes, part) in codes.iter().zip(&mut parts[row * columns.len()..]) {
                            *part = Some(match *part {
                                Some(sum) => self.step(Scalar::F32, x, codes[code], sum),
                                None => self.emit.pure(Pure::FMul, &[x, codes[code]]),
                            });
                        }
                    }
                }
            }
            for (column, from) in readings.iter().enumerate() {
                let scale = run.scale.map(|node| self.evaluate(*from, node)).transpose()?;
                let offset = run.offset.map(|node| self.evaluate(*from, node)).transpose()?;
                for (row, total) in totals.iter().enumerate() {
                    let at = row * columns.len() + column;
                    let Some(part) = parts[at] else { continue };
                    sums[at] = match scale {
                        Some(scale) => self.step(Scalar::F32, part, scale, sums[at]),
                        None => self.emit.pure(Pure::FAdd, &[sums[at], part]),
                    };
                    if let (Some(offset), Some(total)) = (offset, total) {
                        sums[at] = self.step(Scalar::F32, *total, offset, sums[at]);
                    }
                }
            }
        }
        Ok(sums)
    }

    /// Code `index` of a run with its bias, an f32.
    pub(crate) fn float_code(
        &mut self,
        from: Reading<'_, 'k>,
        run: &Run,
        index: u32,
    ) -> Result<lane::Value, LowerError> {
        let side = from.side;
        let node = run.codes[index as usize];
        if let Some((field, slot)) = slot_of(&side.affine, node) {
            let declared = &side.format.fields[field as usize];
            let width = declared.dtype.bits();
            let half = match declared.dtype.kind() {
                Kind::Unsigned => Some(0),
                Kind::Signed => Some(1 << (width - 1)),
                Kind::Bool | Kind::Float => None,
            };
            if let Some(half) = half.filter(|half| width <= 8 && run.lift == *half as i32) {
                let bit = i64::from(declared.bit_offset) + i64::from(slot * width);
                let (word, at) = self.code_word(from, bit, width);
                return Ok(self.mantissa(word, at, width, half, run.bias));
            }
        }
        if let Term::Levels(levels, index) = &side.affine.term(node).0 {
            let index = self.evaluate(from, *index)?;
            let added = run.lift + run.bias;
            let entries = levels.iter().map(|level| ((level + added) as f32).to_bits());
            let table = self.emit.table(Scalar::F32, entries.collect());
            return Ok(self.emit.lane_op(LaneOp::TableLookup(table), &[index]));
        }
        let first = (index / QUAD * QUAD) as usize;
        let nodes: [Node; 4] = [0, 1, 2, 3].map(|i| run.codes[first + i]);
        if run.planes == 1
            && let Some(bytes) = self.bytes(from, nodes, run.lift, MAX_DEPTH)
        {
            return Ok(self.mantissa(bytes, index % QUAD * 8, 8, 0, run.bias));
        }
        let code = self.evaluate(from, node)?;
        let bias = self.emit.i32(run.lift + run.bias);
        let code = self.emit.pure(Pure::IAdd, &[code, bias]);
        Ok(self.emit.pure(Pure::I32ToF32, &[code]))
    }

    /// A word that holds a code of the row, and the code's place in it.
    fn code_word(&mut self, from: Reading<'_, 'k>, bit: i64, width: u32) -> (lane::Value, u32) {
        let Reading { opened, start, .. } = from;
        if let Some(planar) = &opened.row.planar {
            let bits = Bits { constant: start.constant + bit, ..start };
            let (low, high, at) = self.planar_words(&opened.row, planar, bits, width);
            if low == high {
                return (low, u32::from(at));
            }
        }
        (self.window(opened, start, bit, width), 0)
    }

    /// The code of `width` bits at bit `at` of a word, its bits of `half` flipped, plus `bias`, as a float.
    fn mantissa(&mut self, word: lane::Value, at: u32, width: u32, half: u32, bias: i32) -> lane::Value {
        let (word, at) = if at >= 16 {
            let by = self.emit.i32(16);
            (self.emit.pure(Pure::ShrU, &[word, by]), at - 16)
        } else {
            (word, at)
        };
        let mask = self.emit.i32((((1u32 << width) - 1) << at) as i32);
        let magic = self.emit.i32((MAGIC | half << at) as i32);
        let code = self.emit.pure(Pure::IAnd, &[word, mask]);
        let code = self.emit.pure(Pure::IXor, &[code, magic]);
        let mut code = self.emit.pure(Pure::F32FromBits, &[code]);
        if at > 0 {
            let scale = self.emit.f32(1.0 / (1u32 << at) as f32);
            code = self.emit.pure(Pure::FMul, &[code, scale]);
        }
        let middle = self.emit.f32(((1i32 << (MAGIC_BITS - at)) - bias) as f32);
        self.emit.pure(Pure::FSub, &[code, middle])
    }
}
