//! Matrix products: `r = c + a b` with a: [M, K], b: [K, N].
//!
//! Lanes lie along N, so an element of r is one chain of multiply-adds in ascending k, and no choice below changes a bit.
//!
//! * **Small** r (it fits in registers): chunk by chunk, k innermost, everything lazy. This is the shape of a matrix-vector product: weights
//!   are decoded where they are used.
//! * **Large** r: micro-tiles of `MR` rows by `NC` chunks of accumulators. b is read `M / MR` times and a `N / NC` times, so an operand
//!   that costs anything, or needs a mask, is first brought to scratch.
//! * **One column**: lanes lie along K and are reduced at the end.
//!
//! ```text
//! r: f32[32, 64] on 16 lanes, 24 accumulators       ->  4 x 4 micro-tiles: 8 groups of rows, 1 group of chunks
//! for each group of chunks, m in 0..32 by 4 { acc = c[m..m+4]; for k { b0..b3 = b[k, ..]; acc[i][j] = fma(a[m+i, k], b_j, acc[i][j]) } r[m..m+4] = acc }
//! ```

use crate::eval::{Coord, Position};
use crate::history::Product;
use crate::lower::{LowerError, Lowering, Repr, Tail};
use crate::packing::{self, Packing};
use crate::target::DotStep;
use tvmc_ir::lane::{self, Access, Pure, Reduce, Scalar};
use tvmc_ir::tile::facts::Facts;
use tvmc_ir::tile::{Element, Index, Inst, Memory, Op, TensorDecl, Value};

/// Steps of k of one chunk before the next chunk's, where all are written out.
const STEPS_IN_TURN: u32 = 8;
/// Steps of k in one turn of a generated loop.
const K_UNROLL: u32 = 4;
/// The same where there are few sums and many loads to wait for.
const MAX_K_UNROLL: u32 = 64;
/// Most multiply-add groups written out for one small product, so that code stays small.
const MAX_STEPS: u32 = 4096;

impl<'k> Lowering<'k> {
    /// Lowers a product.
    pub(crate) fn dot(&mut self, inst: &Inst, result: Value) -> Result<(), LowerError> {
        let (a, b, c) = (inst.args[0], inst.args[1], inst.args[2]);
        let (m, k) = (self.kernel.ty(a).shape[0], self.kernel.ty(a).shape[1]);
        let n = self.kernel.ty(b).shape[1];
        if self.integer_dot((a, b, c), result, (m, k, n))? {
            self.products.insert(result, Product::Integers);
            return Ok(());
        }
        if self.number_dot((a, b, c), result, (m, k, n))? {
            self.products.insert(result, Product::Numbers);
            return Ok(());
        }
        if n == 1 {
            self.products.insert(result, Product::Column);
            return self.dot_column(a, b, c, result, m, k);
        }
        if self.dot_parts((a, b, c), result, (m, k, n))? {
            return Ok(());
        }
        let chunks = n.div_ceil(self.target.lanes);
        if m * chunks <= self.target.tile_registers.min(self.target.accumulators) {
            self.products.insert(result, Product::Rows);
            return self.dot_small(a, b, c, result, m, k, chunks);
        }
        self.dot_large(a, b, c, result, (m, k, chunks))
    }

    /// Steps of k in one turn of a generated loop that keeps this many sums: 4, more where loads take long to come.
    pub(crate) fn k_unroll(&self, k: u32, sums: u32) -> u32 {
        let most = (self.target.k_unroll / sums.max(1)).clamp(K_UNROLL, MAX_K_UNROLL);
        let steps = (K_UNROLL.ilog2()..=most.ilog2()).rev().map(|log| 1 << log);
        steps.into_iter().find(|steps| k.is_multiple_of(*steps)).unwrap_or(1)
    }

    /// One step: r + a b.
    pub(crate) fn step(
        &mut self,
        scalar: Scalar,
        a: lane::Value,
        b: lane::Value,
        r: lane::Value,
    ) -> lane::Value {
        if scalar == Scalar::F32 {
            return match self.target.dot_step {
                DotStep::Fused => self.emit.pure(Pure::Fma, &[a, b, r]),
                DotStep::Separate => {
                    let product = self.emit.pure(Pure::FMul, &[a, b]);
                    self.emit.pure(Pure::FAdd, &[product, r])
                }
            };
        }
        let product = self.emit.pure(Pure::IMul, &[a, b]);
        self.emit.pure(Pure::IAdd, &[r, product])
    }

    fn dot_column(
        &mut self,
        a: Value,
        b: Value,
        c: Value,
        result: Value,
        m: u32,
        k: u32,
    ) -> Result<(), LowerError> {
        let scalar = self.scalar(result)?;
        let lanes = self.target.lanes;
        let mut sums = Vec::new();
        for row in 0..m {
            let zero = self.zero(scalar);
            let mut sum = self.emit.splat(zero);
            for chunk in 0..k.div_ceil(lanes) {
                let at = Coord::lanes(chunk * lanes);
                let x = self.eval(a, &[Coord::at(row), at])?;
                let y = self.eval(b, &[at, Coord::zero()])?;
                let next = self.step(scalar, x, y, sum);
                let next = self.emit.splat(next);
                sum = if (chunk + 1) * lanes > k {
                    let index = self.coord_value(at);
                    let limit = self.emit.i32(k as i32);
                    let inside = self.emit.pure(Pure::ILtU, &[index, limit]);
                    self.emit.pure(Pure::Select, &[inside, next, sum])
                } else {
                    next
                };
            }
            let reduce = if scalar == Scalar::F32 { Reduce::FAdd } else { Reduce::IAdd };
            let add = if scalar == Scalar::F32 { Pure::FAdd } else { Pure::IAdd };
            let total = self.emit.reduce(reduce, sum);
            let start = self.eval(c, &[Coord::at(row), Coord::zero()])?;
            sums.push(self.emit.pure(add, &[start, total]));
        }
        if let [only] = sums.as_slice() {
            self.repr[result.index()] = Some(Repr::Uniform(*only));
            return Ok(());
        }
        let mut tile = self.arena_tile(&[m, 1], scalar)?;
        tile.tail = Tail::Unwritten;
        for (row, sum) in sums.into_iter().enumerate() {
            self.put(&tile, &[Coord::at(row as u32), Coord::zero()], sum);
        }
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn dot_small(
        &mut self,
        a: Value,
        b: Value,
        c: Value,
        result: Value,
        m: u32,
        k: u32,
        chunks: u32,
    ) -> Result<(), LowerError> {
        let scalar = self.scalar(result)?;
        let lanes = self.target.lanes;
        // Broadcasting an element of a register takes a permutation; from scratch it is part of the multiply-add.
        let in_registers = matches!(self.repr[a.index()], Some(Repr::Registers(_)));
        let computed = matches!(self.repr[a.index()], Some(Repr::Lazy)) && self.plan.cost[a.index()] > 0;
        if k > 1 && (in_registers || computed) {
            self.move_to_arena(a)?;
        }
        let mut sums = Vec::new();
        for row in 0..m {
            for chunk in 0..chunks {
                let start = self.eval(c, &[Coord::at(row), Coord::lanes(chunk * lanes)])?;
                sums.push(self.emit.splat(start));
            }
        }
        let fixed = self.needs_constants(a) || self.needs_constants(b);
        let decoding = self.wants_constants(b).is_some() || self.plan.cost[b.index()] > 0;
        let write_out = fixed || k <= K_UNROLL || (decoding && k * m * chunks <= MAX_STEPS && k <= 256);
        if write_out {
            // Some steps of each chunk in turn: what neighbouring steps share is near, and one chunk's chain of sums does not wait alone.
            for first in (0..k).step_by(STEPS_IN_TURN as usize) {
                for chunk in 0..chunks {
                    for step in first..k.min(first + STEPS_IN_TURN) {
                        let at = Position::constant(i64::from(step));
                        self.small_step(a, b, scalar, at, chunk, m, chunks, &mut sums)?;
                    }
                }
            }
        } else {
            let unroll = self.k_unroll(k, m * chunks);
            let (position, carried) = self.open_loop(k, unroll, false, &sums);
            sums = carried;
            for step in 0..unroll {
                for chunk in 0..chunks {
                    let at = position.plus(i64::from(step));
                    self.small_step(a, b, scalar, at, chunk, m, chunks, &mut sums)?;
                }
            }
            sums = self.close_loop(&sums);
        }
        let one = self.kernel.ty(result).elements() == 1;
        self.repr[result.index()] = Some(if one { Repr::Uniform(sums[0]) } else { Repr::Registers(sums) });
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn small_step(
        &mut self,
        a: Value,
        b: Value,
        scalar: Scalar,
        k: Position,
        chunk: u32,
        m: u32,
        chunks: u32,
        sums: &mut [lane::Value],
    ) -> Result<(), LowerError> {
        let y = self.eval(b, &[Coord::At(k), Coord::lanes(chunk * self.target.lanes)])?;
        for row in 0..m {
            let x = self.eval(a, &[Coord::at(row), Coord::At(k)])?;
            let at = (row * chunks + chunk) as usize;
            sums[at] = self.step(scalar, x, y, sums[at]);
        }
        Ok(())
    }

    fn dot_large(
        &mut self,
        a: Value,
        b: Value,
        c: Value,
        result: Value,
        (m, k, chunks): (u32, u32, u32),
    ) -> Result<(), LowerError> {
        let scalar = self.scalar(result)?;
        let (rows, columns) = self.micro_tile(m, chunks);
        self.products.insert(result, Product::MicroTiles { rows, chunks: columns });
        if !self.is_plain(a, false) {
            self.move_to_arena(a)?;
        }
        if !self.is_plain(b, true) {
            self.move_to_arena(b)?;
        }
        let tile = self.sums_tile(result, scalar)?;
        let fixed = [a, b, c].into_iter().any(|v| self.needs_constants(v));
        let whole = m / rows * rows;
        let groups = whole / rows;
        // All rows of some chunks before the next ones: b's part of those stays in the first cache.
        for start in (0..chunks).step_by(columns as usize) {
            let span = (start, columns.min(chunks - start));
            if groups > 1 && !fixed {
                let (position, _) = self.open_loop(whole, rows, true, &[]);
                self.micro_tile_at((a, b, c), &tile, position, rows, span, k)?;
                self.close_loop(&[]);
            } else {
                for group in 0..groups {
                    let position = Position::constant(i64::from(group * rows));
                    self.micro_tile_at((a, b, c), &tile, position, rows, span, k)?;
                }
            }
            if whole < m {
                let position = Position::constant(i64::from(whole));
                self.micro_tile_at((a, b, c), &tile, position, m - whole, span, k)?;
            }
        }
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    /// Rows and chunks of a micro-tile: as many chunks as hide the latency, then as many rows as there are accumulators, by
    /// preference a divisor of M.
    fn micro_tile(&self, m: u32, chunks: u32) -> (u32, u32) {
        let budget = self.target.accumulators.max(1);
        let columns = chunks.min(self.target.chains).min(budget).max(1);
        let limit = (budget / columns).clamp(1, m);
        let divisor = (1..=limit).rev().find(|r| m.is_multiple_of(*r)).unwrap_or(1);
        (if divisor * 2 >= limit { divisor } else { limit }, columns)
    }

    /// `rows` rows from `first` of `span` chunks from `start`.
    fn micro_tile_at(
        &mut self,
        (a, b, c): (Value, Value, Value),
        tile: &crate::lower::ArenaTile,
        first: Position,
        rows: u32,
        (start, span): (u32, u32),
        k: u32,
    ) -> Result<(), LowerError> {
        let lanes = self.target.lanes;
        let spot = |row: u32, column: u32| {
            [Coord::At(first.plus(i64::from(row))), Coord::lanes((start + column) * lanes)]
        };
        let mut sums = Vec::new();
        for row in 0..rows {
            for column in 0..span {
                let value = self.eval(c, &spot(row, column))?;
                sums.push(self.emit.splat(value));
            }
        }
        let sums = self.micro_tile_sums((a, b), sums, first, (rows, start, span, k), tile.scalar)?;
        for row in 0..rows {
            for column in 0..span {
                self.put(tile, &spot(row, column), sums[(row * span + column) as usize]);
            }
        }
        Ok(())
    }

    fn micro_tile_sums(
        &mut self,
        (a, b): (Value, Value),
        mut sums: Vec<lane::Value>,
        first: Position,
        (rows, start, span, k): (u32, u32, u32, u32),
        scalar: Scalar,
    ) -> Result<Vec<lane::Value>, LowerError> {
        let lanes = self.target.lanes;
        let steps = |this: &mut Self, at: Position, sums: &mut [lane::Value]| {
            let mut ys = Vec::new();
            for column in 0..span {
                ys.push(this.eval(b, &[Coord::At(at), Coord::lanes((start + column) * lanes)])?);
            }
            for row in 0..rows {
                let x = this.eval(a, &[Coord::At(first.plus(i64::from(row))), Coord::At(at)])?;
                for (column, y) in ys.iter().enumerate() {
                    let spot = (row * span) as usize + column;
                    sums[spot] = this.step(scalar, x, *y, sums[spot]);
                }
            }
            Ok::<(), LowerError>(())
        };
        let fixed = self.needs_constants(a) || self.needs_constants(b);
        if fixed || k <= K_UNROLL {
            for step in 0..k {
                steps(self, Position::constant(i64::from(step)), &mut sums)?;
            }
            return Ok(sums);
        }
        let unroll = self.k_unroll(k, rows * span);
        let (position, mut carried) = self.open_loop(k, unroll, false, &sums);
        for step in 0..unroll {
            steps(self, position.plus(i64::from(step)), &mut carried)?;
        }
        Ok(self.close_loop(&carried))
    }

    /// Whether an operand can be read again and again as it is: scratch, or a load from read-only memory that needs no mask
    /// and no decoding (and whose lanes are neighbours, for b). Rows that are packed side by side are what a transposed b reads.
    pub(crate) fn is_plain(&mut self, value: Value, lanes_last: bool) -> bool {
        match &self.repr[value.index()] {
            Some(Repr::Arena(_) | Repr::Uniform(_)) => return true,
            Some(Repr::Registers(_)) | None => return false,
            Some(Repr::Lazy) => {}
        }
        let Some(mut inst) = self.defs[value.index()] else { return false };
        // A slot of a ring: whole rows of chunks.
        if self.plan.current.contains(&value) {
            return true;
        }
        // The load's tile, and which of its axes has the lanes.
        let (mut value, mut axis) = (value, self.kernel.ty(value).shape.len().saturating_sub(1));
        while let Op::Permute(permutation) = &inst.op {
            value = inst.args[0];
            axis = usize::from(permutation[axis]);
            match (&self.repr[value.index()], self.defs[value.index()]) {
                (Some(Repr::Lazy), Some(operand)) if lanes_last => inst = operand,
                (Some(Repr::Lazy | Repr::Arena(_) | Repr::Uniform(_) | Repr::Registers(_)) | None, _) => {
                    return false;
                }
            }
        }
        let Op::Load { memory: Memory::Param(param), indices, padded } = &inst.op else { return false };
        let TensorDecl::Tensor { element: Element::DType(dtype), access: Access::Read, .. } =
            &self.kernel.params[param.index()]
        else {
            return false;
        };
        let Some((_, packing)) = self.buffers[param.index()] else { return false };
        let side_by_side = match packing {
            Packing::AsDeclared => false,
            // A packed row is read with all lanes on its number.
            Packing::Interleaved if lanes_last && dtype.bits() == 32 => true,
            Packing::Interleaved | Packing::Filled | Packing::Planar | Packing::Words => return false,
        };
        if *padded || crate::memory::mem_of(*dtype).is_none() {
            return false;
        }
        let lanes = self.target.lanes;
        let shape = self.kernel.ty(value).shape.clone();
        if lanes_last {
            // The axis of memory that the lanes are to lie along: the last, or the one of rows.
            let wanted =
                if side_by_side { indices.len().checked_sub(2) } else { indices.len().checked_sub(1) };
            let slices = indices.iter().enumerate().filter(|(_, index)| matches!(index, Index::Slice(_)));
            let lies = slices.map(|(at, _)| at).nth(axis);
            if lies.is_none() || lies != wanted || !shape[axis].is_multiple_of(lanes) {
                return false;
            }
            let start = wanted.map_or(Facts::ANY, |at| self.facts[inst.args[at].index()]);
            // A chunk of lanes lies in one block of rows.
            let in_block =
                (packing::ROWS as u32).is_multiple_of(lanes) && start.multiple % i64::from(lanes) == 0;
            if side_by_side && !in_block {
                return false;
            }
        }
        // The far corner of the slice stands for all of it: facts of offsets cover both ends.
        let corner: Vec<Coord> = shape
            .iter()
            .map(|extent| {
                let facts = Facts::range(0, i64::from(*extent) - 1, 1);
                Coord::At(Position { value: None, offset: 0, facts })
            })
            .collect();
        let Ok(tensor) = self.tensor(*param) else { return false };
        let Ok(axes) = self.axes(&inst.args, indices, &corner) else { return false };
        axes.iter().zip(&tensor.extents).all(|(axis, extent)| match extent {
            crate::memory::Extent::Constant(extent) => {
                let total = self.total(axis);
                total.lo() >= 0 && total.hi() < *extent
            }
            crate::memory::Extent::Runtime(..) => false,
        })
    }
}
