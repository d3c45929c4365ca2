//! Products of fewer columns than there are lanes, outside of loops that only add them up: lanes share K.
//!
//! `r = c + a b` with a: [M, K], b: [K, N] gives each element of r one lane in the general lowering (`dot`), so with N below the number of lanes some
//! are idle while the others walk all of K. Where lanes are many and slow (`Target::spread`) and N divides their number, an element has `parts = lanes / N` of them here:
//!
//! ```text
//! 256 lanes, r: f32[1, 64], K = 256     lane 64 q + n adds up elements q, q + 4, q + 8, .. of column n: 64 steps instead of 256
//!                                       sums to scratch; then every lane n adds c and the parts of column n, the first one first
//! ```
//!
//! The probabilities and values of attention are such a product: what follows from its sum in the same turn keeps it from `spread`.
//!
//! **Order.** A part ascends, then the parts do, after c. It depends on the shapes and the target alone.
//!
//! **Taken** for sums of f32 that fit into registers, if K is a multiple of the parts and both operands can be read at positions that differ by lane: what lies in registers goes
//! to scratch first, and an operand that is decoded group by group stays with `dot`.

use crate::eval::{Coord, Position};
use crate::history::Product;
use crate::lower::{LowerError, Lowering, Repr};
use tvmc_ir::lane::{self, MemoryOp, Pure, Scalar};
use tvmc_ir::tile::Value;
use tvmc_ir::tile::facts::Facts;

/// Steps of a lane that are worth an exchange at the end.
const MIN_STEPS: u32 = 8;

impl<'k> Lowering<'k> {
    /// Lowers a product, if it is one that this file describes.
    pub(crate) fn dot_parts(
        &mut self,
        (a, b, c): (Value, Value, Value),
        result: Value,
        (m, k, n): (u32, u32, u32),
    ) -> Result<bool, LowerError> {
        let lanes = self.target.lanes;
        if self.target.spread == 1
            || self.scalar(result)? != Scalar::F32
            || n == 1
            || n >= lanes
            || !lanes.is_multiple_of(n)
            || m > self.target.tile_registers.min(self.target.accumulators)
        {
            return Ok(false);
        }
        let parts = lanes / n;
        if !k.is_multiple_of(parts) || k / parts < MIN_STEPS || self.wants_constants(b).is_some() {
            return Ok(false);
        }
        let in_registers = matches!(self.repr[a.index()], Some(Repr::Registers(_)));
        let computed = matches!(self.repr[a.index()], Some(Repr::Lazy)) && self.plan.cost[a.index()] > 0;
        if !self.is_readable_by_lane(b) || !(in_registers || computed || self.is_readable_by_lane(a)) {
            return Ok(false);
        }
        if in_registers || computed {
            self.move_to_arena(a)?;
        }
        self.products.insert(result, Product::Parts { parts });
        let sums = self.sums_of_parts((a, b), (m, k, n), parts)?;
        let registers = self.add_parts(c, sums, (n, parts))?;
        let one = self.kernel.ty(result).elements() == 1;
        self.repr[result.index()] =
            Some(if one { Repr::Uniform(registers[0]) } else { Repr::Registers(registers) });
        Ok(true)
    }

    /// A lane's column and its part.
    fn part_place(&mut self, n: u32) -> (Position, lane::Value) {
        let lane = self.emit.lane_index();
        let columns = self.emit.i32(n as i32);
        let column = self.emit.pure(Pure::IRemU, &[lane, columns]);
        let part = self.emit.pure(Pure::IDivU, &[lane, columns]);
        let facts = Facts::range(0, i64::from(n) - 1, 1);
        (Position { value: Some(column), offset: 0, facts }, part)
    }

    /// Each lane's sums, one for each row.
    fn sums_of_parts(
        &mut self,
        (a, b): (Value, Value),
        (m, k, n): (u32, u32, u32),
        parts: u32,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let zero = self.emit.f32(0.0);
        let zero = self.emit.splat(zero);
        let mut sums = vec![zero; m as usize];
        let unroll = self.k_unroll(k / parts, m);
        let (start, carried) = self.open_loop(k, unroll * parts, false, &sums);
        sums = carried;
        let mark = self.moves();
        let (column, part) = self.part_place(n);
        let value = match start.value {
            Some(counter) => self.emit.pure(Pure::IAdd, &[counter, part]),
            None => part,
        };
        let first = Position { value: Some(value), offset: 0, facts: Facts::range(0, i64::from(k) - 1, 1) };
        for step in 0..unroll {
            // Whole steps: element `counter + part + step * parts` is below K.
            let most = i64::from(k - 1 - step * parts);
            let facts = Facts::range(0, most, 1);
            let at = Coord::At(Position { facts, ..first }.plus(i64::from(step * parts)));
            let y = self.eval(b, &[at, Coord::At(column)])?;
            for (row, sum) in (0..).zip(&mut sums) {
                let x = self.eval(a, &[Coord::at(row), at])?;
                let next = self.step(Scalar::F32, x, y, *sum);
                *sum = self.emit.splat(next);
            }
        }
        self.restore(mark);
        Ok(self.close_loop(&sums))
    }

    /// The parts of each column added to its first value: a register for each row.
    fn add_parts(
        &mut self,
        c: Value,
        sums: Vec<lane::Value>,
        (n, parts): (u32, u32),
    ) -> Result<Vec<lane::Value>, LowerError> {
        let lanes = self.target.lanes;
        let mut registers = Vec::new();
        let tile = self.arena_of_rows(&[sums.len() as u32, lanes], lanes, Scalar::F32)?;
        if self.in_generated_loop() {
            // The last turn's reads come before this one's writes.
            self.barrier();
        }
        for (row, sum) in (0..).zip(&sums) {
            let base = self.emit.i64(row * i64::from(lanes));
            self.put_at(&tile, MemoryOp::StoreContig, base, None, *sum, None);
        }
        let (column, _) = self.part_place(n);
        for row in 0..sums.len() as u32 {
            let start = self.eval(c, &[Coord::at(row), Coord::lanes(0)])?;
            let mut total = self.emit.splat(start);
            for part in 0..parts {
                let index = self.position_value(column.plus(i64::from(row * lanes + part * n)));
                let sum = self.load_scratch(&tile, index, None);
                total = self.emit.pure(Pure::FAdd, &[total, sum]);
            }
            registers.push(total);
        }
        Ok(registers)
    }
}
