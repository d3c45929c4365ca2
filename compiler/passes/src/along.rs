//! Operations that move elements along one axis: `scan`, `gather`, `concat`. Each works through scratch.
//!
//! * A **scan** walks its axis one position at a time, in ascending order from the identity on, with lanes on the last axis. Along the last
//!   axis itself they lie on the one before it, and the results go to scratch by strides; a tile of one axis is walked by all lanes together.
//!   So the order of additions is the one that the interpreter has, on every target.
//! * A **gather** is lazy: an element is read from scratch at the position that the index tile gives; a mask keeps an index outside from
//!   touching memory, and what is masked off is zero.
//! * A **concat** writes each operand to its part of the result.
//!
//! ```text
//! concat 1 of f32[2, 20] and f32[2, 5] on 16 lanes:  chunks at columns 0 and 16 (4 lanes), 20 (5 lanes)
//! ```

use crate::eval::{Coord, Position};
use crate::lower::{ArenaTile, LowerError, Lowering, Repr, Tail};
use crate::materialise::ReduceKind;
use crate::memory::{Address, Stride};
use tvmc_ir::lane::{self, MemoryOp, Pure};
use tvmc_ir::tile::{Inst, Reduce, Value};

impl<'k> Lowering<'k> {
    /// Running results along an axis.
    pub(crate) fn scan(
        &mut self,
        inst: &Inst,
        reduce: Reduce,
        axis: usize,
        result: Value,
    ) -> Result<(), LowerError> {
        let operand = inst.args[0];
        let ty = self.kernel.ty(operand).clone();
        let kind = ReduceKind::of(reduce, ty.dtype);
        if ty.elements() == 1 {
            let (identity, value) = (kind.identity(self), self.uniform(operand)?);
            let value = self.emit.pure(kind.pure, &[identity, value]);
            self.repr[result.index()] = Some(Repr::Uniform(value));
            return Ok(());
        }
        let last = axis + 1 == ty.shape.len();
        if last {
            // Registers hold lanes of the last axis, which is walked position by position.
            self.move_to_arena(operand)?;
        }
        self.make_walkable(operand, axis)?;
        let mut tile = self.arena_tile(&ty.shape, self.scalar(result)?)?;
        if last {
            tile.tail = Tail::Unwritten;
        }
        let mut outer = ty.shape.clone();
        let extent = outer.remove(axis);
        let fixed = self.needs_constants(operand);
        self.walk(&outer, fixed, true, &mut Vec::new(), &mut |this, at| {
            let spot = |position| {
                let mut coords = at.to_vec();
                coords.insert(axis, Coord::At(position));
                coords
            };
            let identity = kind.identity(this);
            let varying = at.iter().any(|coord| coord.has_lanes());
            let mut total = if varying { this.emit.splat(identity) } else { identity };
            if fixed || extent <= this.target.unroll {
                for step in 0..extent {
                    let coords = spot(Position::constant(i64::from(step)));
                    let value = this.eval(operand, &coords)?;
                    total = this.emit.pure(kind.pure, &[total, value]);
                    this.put_across(&tile, &coords, total);
                }
                return Ok(());
            }
            let (position, carried) = this.open_loop(extent, 1, true, &[total]);
            let coords = spot(position);
            let value = this.eval(operand, &coords)?;
            let total = this.emit.pure(kind.pure, &[carried[0], value]);
            this.put_across(&tile, &coords, total);
            this.close_loop(&[total]);
            Ok(())
        })?;
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }

    /// Writes one element, or one for each lane that lies inside, whichever axis the lanes are on.
    fn put_across(&mut self, tile: &ArenaTile, at: &[Coord], value: lane::Value) {
        let across = at.iter().position(|coord| coord.has_lanes()).is_some_and(|axis| axis + 1 < at.len());
        if !across {
            return self.put(tile, at, value);
        }
        let mask = self.lanes_inside(tile, at);
        let Address { base, stride, .. } = self.arena_address(tile, at);
        let stride = self.stride_value(stride.unwrap_or(Stride::Constant(1)));
        let lane = self.emit.lane_index();
        let offset = self.emit.pure(Pure::IMul, &[lane, stride]);
        self.put_at(tile, MemoryOp::Scatter, base, Some(offset), value, mask);
    }

    /// One element, or a chunk of them, of a `gather`.
    pub(crate) fn eval_gather(
        &mut self,
        inst: &Inst,
        axis: usize,
        at: &[Coord],
    ) -> Result<lane::Value, LowerError> {
        let tile = self.move_to_arena(inst.args[0])?;
        let chosen = self.eval(inst.args[1], at)?;
        let extent = self.emit.i32(tile.shape[axis] as i32);
        let mut inside = self.emit.pure(Pure::ILtU, &[chosen, extent]);
        let mut index = self.emit.i32(0);
        for (place, coord) in at.iter().enumerate() {
            let length = if place + 1 == at.len() { tile.row } else { tile.shape[place] };
            let length = self.emit.i32(length as i32);
            let step = if place == axis { chosen } else { self.coord_value(*coord) };
            index = self.emit.pure(Pure::IMul, &[index, length]);
            index = self.emit.pure(Pure::IAdd, &[index, step]);
            // Along the axis itself an index beyond the last lane is as good as any: it was compared above.
            if place != axis && coord.has_lanes() {
                let lanes = self.lanes_inside(&tile, at);
                inside = self.emit.both(Some(inside), lanes).unwrap_or(inside);
            }
        }
        Ok(self.load_scratch(&tile, index, Some(inside)))
    }

    /// Tiles one after the other.
    pub(crate) fn concat(&mut self, inst: &Inst, axis: usize, result: Value) -> Result<(), LowerError> {
        let shape = self.kernel.ty(result).shape.clone();
        let last = axis + 1 == shape.len();
        let mut tile = self.arena_tile(&shape, self.scalar(result)?)?;
        if last {
            tile.tail = Tail::Unwritten;
        }
        let mut start = 0;
        for operand in &inst.args {
            let part = self.kernel.ty(*operand).shape.clone();
            let extent = part[axis];
            self.for_each_chunk(&part, *operand, true, &mut |this, at| {
                let value = this.eval(*operand, at)?;
                let mut to = at.to_vec();
                to[axis] = match at[axis] {
                    Coord::At(position) => Coord::At(position.plus(start)),
                    Coord::Lanes(position) => Coord::Lanes(position.plus(start)),
                };
                if !last {
                    this.put(&tile, &to, value);
                    return Ok(());
                }
                // A whole chunk would write over what comes behind it.
                let mask = (!extent.is_multiple_of(this.target.lanes)).then(|| {
                    let index = this.coord_value(at[axis]);
                    let limit = this.emit.i32(extent as i32);
                    this.emit.pure(Pure::ILtU, &[index, limit])
                });
                let base = this.arena_address(&tile, &to).base;
                this.put_at(&tile, MemoryOp::StoreContig, base, None, value, mask);
                Ok(())
            })?;
            start += i64::from(extent);
        }
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(())
    }
}
