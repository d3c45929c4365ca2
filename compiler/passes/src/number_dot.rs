//! Products with stored weights whose codes are numbers (`affine`): small floats of a wide range or with a NaN, run by run in f32.
//!
//! Over a run, with `w = s c + o`,
//!
//! ```text
//! sum of x w  =  s * (sum of x c)  +  o * (sum of x)
//! ```
//!
//! Every number is a bf16, the upper half of an f32. So two tables of bytes give the halves of four numbers at once, and two steps for each number put
//! them where they belong, without a conversion and without a gather:
//!
//! ```text
//! codes       c3 c2 c1 c0          the bytes of a lane
//! low, high   l3 l2 l1 l0          table.bytes
//! even        h2 l2 h0 l0          numbers 0 and 2:  even << 16  and  even & 0xffff0000
//! odd         h3 l3 h1 l1          numbers 1 and 3
//! ```
//!
//! What is multiplied with them is decoded to f32 once, in scratch.
//!
//! The sums are those of `float_dot`.
//!
//! **Order.** Each run's sum ascends from its first product; runs ascend, one multiply-add with the scale each and, for formats with an offset, one with that. Nothing
//! depends on M, N, tiles or lanes. **Taken** where `integer_dot` would be but for the codes of w, on targets that keep an element in its lane. Everything else
//! goes the general way (`dot`): floats of 32 bits on the left keep to one chain over all of K, as the interpreter does.

use crate::affine::{Node, Run, Term};
use crate::codes::{MAX_DEPTH, Reading};
use crate::eval::Coord;
use crate::integer_dot::is_activation;
use crate::lower::{LowerError, Lowering};
use std::rc::Rc;
use tvmc_ir::lane::{self, Op as LaneOp, Pure, Scalar};
use tvmc_ir::tile::Value;

/// Most numbers of one product that are written out.
const MAX_NUMBERS: u32 = 2048;
/// The bytes of even numbers.
const EVEN: u32 = 0x00ff_00ff;

impl<'k> Lowering<'k> {
    /// Lowers a product with numbers, if it is one that this file describes.
    pub(crate) fn number_dot(
        &mut self,
        (a, b, c): (Value, Value, Value),
        result: Value,
        (m, k, n): (u32, u32, u32),
    ) -> Result<bool, LowerError> {
        if self.target.spread > 1 || self.scalar(result)? != Scalar::F32 || n == 1 {
            return Ok(false);
        }
        if self.side(a, k)?.filter(is_activation).is_none() {
            return Ok(false);
        }
        let Some(w) = self.weights(b, k)?.filter(|w| w.affine.has_numbers()) else { return Ok(false) };
        let chunks = n.div_ceil(self.target.lanes);
        if k * chunks > MAX_NUMBERS || self.needs_constants(a) {
            return Ok(false);
        }
        if !self.is_plain(a, false) {
            self.move_to_arena(a)?;
        }
        let rows = self.target.integer_rows;
        self.by_runs((c, result), (m, k, chunks), rows, &mut |this, (rows, columns), sums| {
            let mut x = |this: &mut Self, row: usize, element| this.eval(a, &[rows[row], Coord::at(element)]);
            this.float_runs(&mut x, &w, (rows.len(), columns), (Coord::zero(), k), sums)
        })?;
        Ok(true)
    }

    /// Numbers `at` to `at + 3` of a run, f32.
    pub(crate) fn four_numbers(
        &mut self,
        from: Reading<'_, 'k>,
        run: &Run,
        at: u32,
    ) -> Result<[lane::Value; 4], LowerError> {
        let nodes: [Node; 4] = [0, 1, 2, 3].map(|i| run.codes[(at + i) as usize]);
        let mut places = nodes;
        let mut table: Option<Rc<[u32]>> = None;
        for place in &mut places {
            if let Term::Numbers(bits, index) = &from.side.affine.term(*place).0
                && table.as_ref().is_none_or(|table| table == bits)
            {
                table = Some(bits.clone());
                *place = *index;
            }
        }
        let shared = (0..4).all(|i| places[i] != nodes[i]);
        if let (Some(table), true) = (table, shared)
            && let Some(codes) = self.bytes(from, places, 0, MAX_DEPTH)
        {
            return Ok(self.put_together(&table, codes));
        }
        let mut numbers = [None; 4];
        for (number, node) in numbers.iter_mut().zip(nodes) {
            *number = Some(self.evaluate(from, node)?);
        }
        let zero = self.emit.f32(0.0);
        Ok(numbers.map(|number| number.unwrap_or(zero)))
    }

    fn put_together(&mut self, table: &[u32], codes: lane::Value) -> [lane::Value; 4] {
        let [low, high] = [16, 24].map(|shift| {
            let entries = table.iter().map(|bits| bits >> shift & 0xff).collect();
            let table = self.emit.table(Scalar::I32, entries);
            self.emit.lane_op(LaneOp::TableBytes(table), &[codes])
        });
        let eight = self.emit.i32(8);
        let raised = self.emit.pure(Pure::Shl, &[high, eight]);
        let lowered = self.emit.pure(Pure::ShrU, &[low, eight]);
        let [first, third] = self.two_numbers(low, raised);
        let [second, fourth] = self.two_numbers(lowered, high);
        [first, second, third, fourth]
    }

    /// The numbers of bytes 0 and 2 of `low`, with bytes 1 and 3 of `high` above them.
    fn two_numbers(&mut self, low: lane::Value, high: lane::Value) -> [lane::Value; 2] {
        let even = self.emit.i32(EVEN as i32);
        let low = self.emit.pure(Pure::IAnd, &[low, even]);
        let odd = self.emit.i32(!EVEN as i32);
        let high = self.emit.pure(Pure::IAnd, &[high, odd]);
        let both = self.emit.pure(Pure::IOr, &[low, high]);
        let sixteen = self.emit.i32(16);
        let first = self.emit.pure(Pure::Shl, &[both, sixteen]);
        let upper = self.emit.i32(0xffff_0000_u32 as i32);
        let second = self.emit.pure(Pure::IAnd, &[both, upper]);
        [first, second].map(|bits| self.emit.pure(Pure::F32FromBits, &[bits]))
    }
}
