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
//! **Order.** Each run's sum ascends from its first product; runs ascend, one multiply-add with the scale each and, for formats with an offset, one with that. Nothing
//! depends on M, N, tiles or lanes. **Taken** where `integer_dot` would be but for the codes of w, on targets that keep an element in its lane. Everything else
//! goes the general way (`dot`): floats of 32 bits on the left keep to one chain over all of K, as the interpreter does.

use crate::affine::{Node, QUAD, Run, Term};
use crate::codes::{MAX_DEPTH, Reading};
use crate::eval::Coord;
use crate::integer_dot::{Side, is_activation, run_at, shifted};
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
        self.by_runs((c, result), (m, k, chunks), rows, &mut |this, tile, sums| {
            this.number_runs(a, &w, tile, k, sums)
        })?;
        Ok(true)
    }

    /// Adds to `sums` (rows, then columns) the products of `k` elements of K.
    fn number_runs(
        &mut self,
        a: Value,
        w: &Side<'k>,
        (rows, columns): (&[Coord], &[Coord]),
        k: u32,
        mut sums: Vec<lane::Value>,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let mut opened = Vec::new();
        for column in columns {
            opened.push(self.open(w, *column, Coord::zero())?);
        }
        let length = w.affine.length;
        for first in (0..k).step_by(length as usize) {
            let (run, _, group) = run_at(w, first);
            let readings: Vec<Reading<'_, 'k>> = opened
                .iter()
                .map(|opened| Reading { side: w, opened, start: shifted(opened.start, w, group) })
                .collect();
            let mut parts: Vec<Option<lane::Value>> = vec![None; rows.len() * columns.len()];
            let mut totals: Vec<Option<lane::Value>> = vec![None; rows.len()];
            for quad in (0..length).step_by(QUAD as usize) {
                let mut numbers = Vec::new();
                for from in &readings {
                    numbers.push(self.four_numbers(*from, run, quad)?);
                }
                for (row, at) in rows.iter().enumerate() {
                    for index in 0..QUAD {
                        let x = self.eval(a, &[*at, Coord::at(first + quad + index)])?;
                        if run.offset.is_some() {
                            totals[row] = Some(match totals[row] {
                                Some(total) => self.emit.pure(Pure::FAdd, &[total, x]),
                                None => x,
                            });
                        }
                        for (four, part) in numbers.iter().zip(&mut parts[row * columns.len()..]) {
                            let number = four[index as usize];
                            *part = Some(match *part {
                                Some(sum) => self.step(Scalar::F32, x, number, sum),
                                None => self.emit.pure(Pure::FMul, &[x, number]),
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

    /// Numbers `at` to `at + 3` of a run, f32.
    fn four_numbers(
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
