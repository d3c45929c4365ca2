//! Operations across lanes: splat, reduce, extract, shuffle, and look-ups in constant tables.
//!
//! `reduce` follows the documented tree bit for bit: lanes past the last count as the identity. A vector
//! that holds nothing but identities is not computed with, except where that changes the bits (adding +0
//! to -0, or a `fmin` that a NaN meets).

use std::rc::Rc;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use tvmc_ir::lane::{self, Pure, Reduce, Scalar, Table};

use crate::translate::{Held, Translator};
use crate::words::{F32X4, I32X4, Scratch, Shape, plain};

/// The bits of a reduction's identity.
fn identity(reduce: Reduce) -> u32 {
    match reduce {
        Reduce::FAdd | Reduce::IAdd | Reduce::IMaxU | Reduce::IOr | Reduce::IXor | Reduce::Any => 0,
        Reduce::FMin => f32::INFINITY.to_bits(),
        Reduce::FMax => f32::NEG_INFINITY.to_bits(),
        Reduce::IMinS => i32::MAX.cast_unsigned(),
        Reduce::IMaxS => i32::MIN.cast_unsigned(),
        Reduce::IMinU | Reduce::IAnd | Reduce::All => u32::MAX,
    }
}

/// The row that combines two lanes.
fn combiner(reduce: Reduce) -> Pure {
    match reduce {
        Reduce::FAdd => Pure::FAdd,
        Reduce::FMin => Pure::FMin,
        Reduce::FMax => Pure::FMax,
        Reduce::IAdd => Pure::IAdd,
        Reduce::IMinS => Pure::IMinS,
        Reduce::IMaxS => Pure::IMaxS,
        Reduce::IMinU => Pure::IMinU,
        Reduce::IMaxU => Pure::IMaxU,
        Reduce::IAnd => Pure::IAnd,
        Reduce::IOr => Pure::IOr,
        Reduce::IXor => Pure::IXor,
        Reduce::All => Pure::BAnd,
        Reduce::Any => Pure::BOr,
    }
}

impl Translator<'_> {
    /// Uniform to varying.
    pub fn splat_op(&mut self, value: lane::Value) -> Held {
        let scalar = self.uniform(value);
        let vector = match self.function.ty(value).scalar {
            Scalar::F32 => self.splat(F32X4, scalar),
            Scalar::I32 | Scalar::I64 => self.splat(I32X4, scalar),
            Scalar::Bool => {
                let word = self.b.ins().uextend(types::I32, scalar);
                let mask = self.b.ins().ineg(word);
                self.b.ins().splat(I32X4, mask)
            }
        };
        Held::Varying(vec![vector; self.chunks()].into())
    }

    /// The vectors of a mask and-ed into one; lanes past the last count as set.
    pub fn conjunction(&mut self, mask: &[Value]) -> Value {
        let mut all = None;
        for (at, &chunk) in mask.iter().enumerate() {
            let chunk = match self.tail_mask(at) {
                None => chunk,
                Some(tail) => {
                    let missing = self.b.ins().bnot(tail);
                    self.b.ins().bor(chunk, missing)
                }
            };
            all = Some(match all {
                None => chunk,
                Some(other) => self.b.ins().band(other, chunk),
            });
        }
        match all {
            Some(all) => all,
            None => unreachable!("a block has at least one lane"),
        }
    }

    /// Varying to uniform by the documented tree.
    pub fn reduce(&mut self, reduce: Reduce, value: lane::Value) -> Held {
        let mut chunks: Vec<Value> = self.varying(value).to_vec();
        let ty = self.b.func.dfg.value_type(chunks[0]);
        let unit = identity(reduce);
        let last = chunks.len() - 1;
        if let Some(tail) = self.tail_mask(last) {
            let unit = self.words([unit; 4], ty);
            chunks[last] = self.choose(Shape::Vector, tail, chunks[last], unit);
        }
        match reduce {
            Reduce::All => {
                let all = self.conjunction(&chunks);
                return Held::Uniform(self.b.ins().vall_true(all));
            }
            Reduce::Any => {
                let mut any = chunks[0];
                for &chunk in &chunks[1..] {
                    any = self.b.ins().bor(any, chunk);
                }
                return Held::Uniform(self.b.ins().vany_true(any));
            }
            Reduce::FAdd
            | Reduce::FMin
            | Reduce::FMax
            | Reduce::IAdd
            | Reduce::IMinS
            | Reduce::IMaxS
            | Reduce::IMinU
            | Reduce::IMaxU
            | Reduce::IAnd
            | Reduce::IOr
            | Reduce::IXor => {}
        }
        let op = combiner(reduce);
        let float = reduce.scalar() == Scalar::F32;
        let padded = self.lanes().next_power_of_two();
        let mut width = padded / 4;
        while width > 1 {
            width /= 2;
            for at in 0..width.min(chunks.len()) {
                let right = match chunks.get(at + width) {
                    Some(&right) => right,
                    // Only floats notice the identity.
                    None if float => self.words([unit; 4], ty),
                    None => continue,
                };
                chunks[at] = self.row(op, Shape::Vector, &[chunks[at], right]);
            }
            chunks.truncate(width);
        }
        let mut lanes: Vec<Value> =
            (0..padded.min(4)).map(|lane| self.b.ins().extractlane(chunks[0], lane as u8)).collect();
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            for at in 0..half {
                lanes[at] = self.row(op, Shape::Scalar, &[lanes[at], lanes[at + half]]);
            }
            lanes.truncate(half);
        }
        Held::Uniform(lanes[0])
    }

    /// A word as the uniform kind of a value.
    fn word_as(&mut self, scalar: Scalar, word: Value) -> Value {
        match scalar {
            Scalar::Bool => {
                let zero = self.int(Shape::Scalar, 0);
                self.b.ins().icmp(IntCC::NotEqual, word, zero)
            }
            Scalar::F32 | Scalar::I32 | Scalar::I64 => word,
        }
    }

    /// One lane's value.
    pub fn extract(&mut self, value: lane::Value, lane: lane::Value) -> Held {
        let scalar = self.function.ty(value).scalar;
        let chunks = self.varying(value);
        let lane = self.uniform(lane);
        let word = match self.constant(lane) {
            Some(lane) => {
                let lane = lane as usize % self.lanes();
                self.b.ins().extractlane(chunks[lane / 4], (lane % 4) as u8)
            }
            None => {
                let element = self.b.func.dfg.value_type(chunks[0]).lane_type();
                let lane = self.modulo_lanes(lane);
                let slot = self.spill(Scratch::Operand(0), &chunks);
                let address = self.indexed(slot, lane);
                self.b.ins().load(element, plain(), address, 0)
            }
        };
        Held::Uniform(self.word_as(scalar, word))
    }

    /// A lane number taken modulo the number of lanes.
    fn modulo_lanes(&mut self, lane: Value) -> Value {
        if self.lanes().is_power_of_two() {
            return self.mask(Shape::Scalar, lane, self.lanes() as u32 - 1);
        }
        let count = self.int(Shape::Scalar, self.lanes() as i32);
        self.b.ins().urem(lane, count)
    }

    /// Address of a word.
    fn indexed(&mut self, base: Value, index: Value) -> Value {
        let index = self.b.ins().uextend(types::I64, index);
        let distance = self.shl(index, 2);
        self.b.ins().iadd(base, distance)
    }

    /// Each lane takes another lane's value.
    pub fn shuffle(&mut self, value: lane::Value, source: lane::Value) -> Held {
        let (chunks, source) = (self.varying(value), self.varying(source));
        let ty = self.b.func.dfg.value_type(chunks[0]);
        // Slot 0 belongs to the operand of the loop over lanes.
        let slot = self.spill(Scratch::Operand(1), &chunks);
        let out = self.map_lanes(&[&source], ty, |this, lane| {
            let lane = this.modulo_lanes(lane[0]);
            let address = this.indexed(slot, lane);
            this.b.ins().load(ty.lane_type(), plain(), address, 0)
        });
        Held::Varying(out.into())
    }

    /// Entries of a constant table.
    pub fn table_lookup(&mut self, table: Table, index: lane::Value) -> Held {
        let decl = &self.function.tables[table.index()];
        let mask = decl.entries.len().next_power_of_two() as u32 - 1;
        let element = match decl.scalar {
            Scalar::F32 => types::F32,
            Scalar::I32 | Scalar::I64 | Scalar::Bool => types::I32,
        };
        let base = self.b.ins().symbol_value(types::I64, self.tables[table.index()]);
        let look_up = |this: &mut Self, index: Value| {
            let address = this.indexed(base, index);
            this.b.ins().load(element, plain(), address, 0)
        };
        if !self.varies(index) {
            let index = self.uniform(index);
            let index = self.mask(Shape::Scalar, index, mask);
            return Held::Uniform(look_up(self, index));
        }
        let index: Rc<[Value]> = self.varying(index);
        let index: Vec<Value> = index.iter().map(|&index| self.mask(Shape::Vector, index, mask)).collect();
        let ty = if element == types::F32 { F32X4 } else { I32X4 };
        let out = self.map_lanes(&[&index], ty, |this, lane| look_up(this, lane[0]));
        Held::Varying(out.into())
    }

    /// An entry of a table for each half of the index.
    pub fn table_halves(&mut self, table: Table, index: lane::Value) -> Held {
        let mask = self.function.tables[table.index()].entries.len().next_power_of_two() as u32 - 1;
        let base = self.b.ins().symbol_value(types::I64, self.tables[table.index()]);
        let look_up = |this: &mut Self, index: Value| {
            let halves = [(0, mask & 0xffff), (16, mask & 0xffff)].map(|(by, mask)| {
                let half = this.b.ins().ushr_imm_u(index, by);
                let half = this.mask(Shape::Scalar, half, mask);
                let address = this.indexed(base, half);
                this.b.ins().load(types::I32, plain(), address, 0)
            });
            let high = this.b.ins().ishl_imm_u(halves[1], 16);
            this.b.ins().bor(halves[0], high)
        };
        if !self.varies(index) {
            let index = self.uniform(index);
            return Held::Uniform(look_up(self, index));
        }
        let index: Rc<[Value]> = self.varying(index);
        let out = self.map_lanes(&[&index], I32X4, |this, lane| look_up(this, lane[0]));
        Held::Varying(out.into())
    }
}
