//! Atomic updates and stores of bits: a loop over the lanes, each an atomic instruction of the machine, sequentially consistent.
//!
//! ```text
//! atomic.iadd b0[v1 + v2], v3 mask v4  ->  for each lane: if its mask, old = atomic_rmw add (b0 + 4 (v1 + v2)), v3
//! ```
//!
//! Bits of a byte are replaced by an exclusive-or that changes those alone, `(old ^ value) & bits`: nobody else writes them, so it does not matter which old byte
//! was read. Machines have none of floats: that is a loop around `atomic_cas`, which tries again until nobody came between. Lanes go in ascending order;
//! blocks on other threads come in between as they do.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{AtomicRmwOp, BlockArg, InstBuilder, Value, types};
use tvmc_ir::lane::{self, Buffer, Place, Scalar, Update};

use crate::translate::{Held, Translator};
use crate::words::{F32X4, I32X4, Scratch, plain};

impl Translator<'_> {
    /// An atomic update of each active lane's element; gives what was there before.
    pub fn atomic(&mut self, update: Update, buffer: Buffer, args: &[lane::Value]) -> Held {
        let base = self.uniform(args[0]);
        let start = self.address(Place::Buffer(buffer), base, 4);
        let ty = if update.scalar() == Scalar::F32 { F32X4 } else { I32X4 };
        let spilled = |this: &mut Self, purpose, value| {
            let chunks = this.varying(value);
            this.spill(purpose, &chunks)
        };
        let offsets = spilled(self, Scratch::Operand(0), args[1]);
        let first = spilled(self, Scratch::Operand(1), args[2]);
        let second = match update.operands() {
            2 => spilled(self, Scratch::Operand(2), args[3]),
            _ => first,
        };
        let masks = spilled(self, Scratch::Mask, args[2 + update.operands()]);
        let zero = self.words([0; 4], ty);
        let zeros = vec![zero; self.chunks()];
        let output = self.spill(Scratch::Result, &zeros);
        self.lane_loop(|this, at| {
            let active = this.word_at(masks, at);
            this.when(active, |this| {
                let offset = this.word_at(offsets, at);
                let offset = this.b.ins().sextend(types::I64, offset);
                let distance = this.shl(offset, 2);
                let address = this.b.ins().iadd(start, distance);
                let (a, b) = (this.word_at(first, at), this.word_at(second, at));
                let old = this.update(update, address, a, b);
                let slot = this.b.ins().iadd(output, at);
                this.b.ins().store(plain(), old, slot, 0);
            });
        });
        Held::Varying(self.reload(Scratch::Result, ty).into())
    }

    /// Replaces bits of each active lane's byte.
    pub fn store_bits(&mut self, buffer: Buffer, args: &[lane::Value]) {
        let base = self.uniform(args[0]);
        let start = self.address(Place::Buffer(buffer), base, 1);
        let spilled = |this: &mut Self, purpose, value| {
            let chunks = this.varying(value);
            this.spill(purpose, &chunks)
        };
        let offsets = spilled(self, Scratch::Operand(0), args[1]);
        let values = spilled(self, Scratch::Operand(1), args[2]);
        let bits = spilled(self, Scratch::Operand(2), args[3]);
        let masks = spilled(self, Scratch::Mask, args[4]);
        self.lane_loop(|this, at| {
            let active = this.word_at(masks, at);
            this.when(active, |this| {
                let offset = this.word_at(offsets, at);
                let offset = this.b.ins().sextend(types::I64, offset);
                let address = this.b.ins().iadd(start, offset);
                let [value, bits] = [values, bits].map(|words| {
                    let word = this.word_at(words, at);
                    this.b.ins().ireduce(types::I8, word)
                });
                let old = this.b.ins().atomic_load(types::I8, plain(), address);
                let change = this.b.ins().bxor(old, value);
                let change = this.b.ins().band(change, bits);
                this.b.ins().atomic_rmw(types::I8, plain(), AtomicRmwOp::Xor, address, change);
            });
        });
    }

    /// One update of the word at an address; operands and result are bits.
    fn update(&mut self, update: Update, address: Value, a: Value, b: Value) -> Value {
        let op = match update {
            Update::IAdd => AtomicRmwOp::Add,
            Update::IMinS => AtomicRmwOp::Smin,
            Update::IMaxS => AtomicRmwOp::Smax,
            Update::IMinU => AtomicRmwOp::Umin,
            Update::IMaxU => AtomicRmwOp::Umax,
            Update::IAnd => AtomicRmwOp::And,
            Update::IOr => AtomicRmwOp::Or,
            Update::IXor => AtomicRmwOp::Xor,
            Update::Exchange => AtomicRmwOp::Xchg,
            Update::CompareExchange => return self.b.ins().atomic_cas(plain(), address, a, b),
            Update::FAdd | Update::FMin | Update::FMax => return self.update_float(update, address, a),
        };
        self.b.ins().atomic_rmw(types::I32, plain(), op, address, a)
    }

    fn update_float(&mut self, update: Update, address: Value, a: Value) -> Value {
        let a = self.cast(types::F32, a);
        let (again, done) = (self.b.create_block(), self.b.create_block());
        let expected = self.b.append_block_param(again, types::I32);
        let old = self.b.append_block_param(done, types::I32);
        let first = self.b.ins().atomic_load(types::I32, plain(), address);
        self.b.ins().jump(again, &[BlockArg::Value(first)]);
        self.b.switch_to_block(again);
        let float = self.cast(types::F32, expected);
        let holds = match update {
            Update::FMin => Some(FloatCC::LessThan),
            Update::FMax => Some(FloatCC::GreaterThan),
            _ => None,
        };
        let new = match holds {
            None => self.b.ins().fadd(float, a),
            Some(holds) => {
                let holds = self.b.ins().fcmp(holds, float, a);
                self.b.ins().select(holds, float, a)
            }
        };
        let new = self.cast(types::I32, new);
        let found = self.b.ins().atomic_cas(plain(), address, expected, new);
        let mine = self.b.ins().icmp(IntCC::Equal, found, expected);
        self.b.ins().brif(mine, done, &[BlockArg::Value(found)], again, &[BlockArg::Value(found)]);
        self.b.switch_to_block(done);
        old
    }
}
