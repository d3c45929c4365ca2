//! The vocabulary of the translation: constants, selection and bit casts that read the same for one word
//! and for a vector of four, and the ways to treat the lanes of a varying value one by one.
//!
//! Where no vector instruction exists, [`Translator::map_lanes`] takes the lanes apart: in line while the
//! lanes are few, else as a loop over words in stack slots, so that code size stays bounded.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, ConstantData, Endianness, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind,
    Type, Value, types,
};

use crate::translate::Translator;

/// Four words.
pub(crate) const I32X4: Type = types::I32X4;
/// Four floats.
pub(crate) const F32X4: Type = types::F32X4;

/// Up to this many lanes are handled in line, more by a loop.
const INLINE_LANES: usize = 32;

/// One word or a vector of four: for code that is the same for both.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// A uniform value.
    Scalar,
    /// A quarter-vector register of a varying one.
    Vector,
}

impl Shape {
    /// Its integer type.
    pub fn int(self) -> Type {
        match self {
            Shape::Scalar => types::I32,
            Shape::Vector => I32X4,
        }
    }

    /// Its float type.
    pub fn float(self) -> Type {
        match self {
            Shape::Scalar => types::F32,
            Shape::Vector => F32X4,
        }
    }
}

/// What stack memory is used for; each purpose has one slot of a word per lane, shared by all operations.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scratch {
    /// Operand 0, 1 or 2.
    Operand(usize),
    /// The result.
    Result,
    /// The mask.
    Mask,
}

impl Scratch {
    /// Number of purposes.
    pub const COUNT: usize = 5;

    fn index(self) -> usize {
        match self {
            Scratch::Operand(at) => at,
            Scratch::Result => 3,
            Scratch::Mask => 4,
        }
    }
}

/// Flags of every access: it cannot trap, and a vector need not be aligned.
pub(crate) fn plain() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl Translator<'_> {
    /// The same integer in each lane.
    pub fn int(&mut self, shape: Shape, value: i32) -> Value {
        match shape {
            Shape::Scalar => self.b.ins().iconst(types::I32, i64::from(value.cast_unsigned())),
            Shape::Vector => self.words([value.cast_unsigned(); 4], I32X4),
        }
    }

    /// A 64-bit constant.
    pub fn long(&mut self, value: i64) -> Value {
        self.b.ins().iconst(types::I64, value)
    }

    /// A vector constant of this type.
    pub fn words(&mut self, words: [u32; 4], ty: Type) -> Value {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        self.b.ins().vconst(ty, constant)
    }

    /// The same bits as another type of the same width.
    pub fn cast(&mut self, ty: Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        let flags = if ty.is_vector() { flags } else { MemFlagsData::new() };
        self.b.ins().bitcast(ty, flags, value)
    }

    /// `condition ? a : b`, where a vector's condition is a mask.
    pub fn choose(&mut self, shape: Shape, condition: Value, a: Value, b: Value) -> Value {
        match shape {
            Shape::Scalar => self.b.ins().select(condition, a, b),
            Shape::Vector => {
                let ty = self.b.func.dfg.value_type(a);
                let mask = self.cast(ty, condition);
                self.b.ins().bitselect(mask, a, b)
            }
        }
    }

    /// `x << count` for a constant count.
    pub fn shl(&mut self, x: Value, count: u32) -> Value {
        if count == 0 {
            return x;
        }
        let count = self.b.ins().iconst(types::I32, i64::from(count));
        self.b.ins().ishl(x, count)
    }

    /// `x >> count` with zeros for a constant count.
    pub fn shr(&mut self, x: Value, count: u32) -> Value {
        if count == 0 {
            return x;
        }
        let count = self.b.ins().iconst(types::I32, i64::from(count));
        self.b.ins().ushr(x, count)
    }

    /// `x & mask` for a constant mask.
    pub fn mask(&mut self, shape: Shape, x: Value, mask: u32) -> Value {
        if mask == u32::MAX {
            return x;
        }
        let mask = self.int(shape, mask.cast_signed());
        self.b.ins().band(x, mask)
    }

    /// `pointer + bytes` for a constant distance.
    pub fn advance(&mut self, pointer: Value, bytes: i64) -> Value {
        if bytes == 0 {
            return pointer;
        }
        let bytes = self.long(bytes);
        self.b.ins().iadd(pointer, bytes)
    }

    /// A scalar in every lane of a vector; remembered, so that shifts by it need not take lanes apart.
    pub fn splat(&mut self, ty: Type, scalar: Value) -> Value {
        let constant = self.constant(scalar);
        let vector = match constant {
            Some(bits) => self.words([bits; 4], ty),
            None => self.b.ins().splat(ty, scalar),
        };
        self.splats.insert(vector, scalar);
        vector
    }

    /// The bits of a 32-bit scalar that is a constant.
    pub fn constant(&self, scalar: Value) -> Option<u32> {
        use cranelift_codegen::ir::{InstructionData, ValueDef};
        let dfg = &self.b.func.dfg;
        let ValueDef::Result(inst, 0) = dfg.value_def(scalar) else { return None };
        match dfg.insts[inst] {
            InstructionData::UnaryImm { imm, .. } if dfg.value_type(scalar) == types::I32 => {
                Some(imm.bits() as u32)
            }
            InstructionData::UnaryIeee32 { imm, .. } => Some(imm.bits()),
            _ => None,
        }
    }

    /// Number of vectors of a varying value.
    pub fn chunks(&self) -> usize {
        self.lanes().div_ceil(4)
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.function.lanes as usize
    }

    /// All ones in the lanes of a vector that exist, or `None` where all four do.
    pub fn tail_mask(&mut self, chunk: usize) -> Option<Value> {
        let count = self.lanes() - 4 * chunk;
        (count < 4).then(|| {
            let words = std::array::from_fn(|lane| if lane < count { u32::MAX } else { 0 });
            self.words(words, I32X4)
        })
    }

    /// The stack slot of a purpose.
    pub fn scratch(&mut self, purpose: Scratch) -> StackSlot {
        let size = 16 * self.chunks() as u32;
        let slot = &mut self.slots[purpose.index()];
        if slot.is_none() {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
            *slot = Some(self.b.create_sized_stack_slot(data));
        }
        match *slot {
            Some(slot) => slot,
            None => unreachable!("just made"),
        }
    }

    /// Address of a purpose's slot.
    pub fn scratch_address(&mut self, purpose: Scratch) -> Value {
        let slot = self.scratch(purpose);
        self.b.ins().stack_addr(types::I64, slot, 0)
    }

    /// Writes a varying value to its slot; gives the slot's address.
    pub fn spill(&mut self, purpose: Scratch, chunks: &[Value]) -> Value {
        let address = self.scratch_address(purpose);
        for (at, &chunk) in chunks.iter().enumerate() {
            self.b.ins().store(plain(), chunk, address, 16 * at as i32);
        }
        address
    }

    /// Reads a varying value of this vector type from its slot.
    pub fn reload(&mut self, purpose: Scratch, ty: Type) -> Vec<Value> {
        let address = self.scratch_address(purpose);
        (0..self.chunks()).map(|at| self.b.ins().load(ty, plain(), address, 16 * at as i32)).collect()
    }

    /// A loop over the lanes; the body is given four times the lane's number, as an `i64`.
    pub fn lane_loop(&mut self, body: impl FnOnce(&mut Self, Value)) {
        let (head, exit) = (self.b.create_block(), self.b.create_block());
        let at = self.b.append_block_param(head, types::I64);
        let zero = self.long(0);
        self.b.ins().jump(head, &[BlockArg::Value(zero)]);
        self.b.switch_to_block(head);
        body(self, at);
        let next = self.advance(at, 4);
        let end = self.long(4 * self.lanes() as i64);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, end);
        self.b.ins().brif(more, head, &[BlockArg::Value(next)], exit, &[]);
        self.b.switch_to_block(exit);
    }

    /// Runs code where a scalar condition (not zero) holds.
    pub fn when(&mut self, condition: Value, body: impl FnOnce(&mut Self)) {
        let (then, after) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, then, &[], after, &[]);
        self.b.switch_to_block(then);
        body(self);
        self.b.ins().jump(after, &[]);
        self.b.switch_to_block(after);
    }

    /// Applies a scalar function to each lane of varying operands (at most three); lanes past the last give zero.
    pub fn map_lanes(
        &mut self,
        operands: &[&[Value]],
        result: Type,
        mut function: impl FnMut(&mut Self, &[Value]) -> Value,
    ) -> Vec<Value> {
        if self.lanes() > INLINE_LANES {
            return self.map_lanes_by_loop(operands, result, function);
        }
        let mut out = Vec::with_capacity(self.chunks());
        for chunk in 0..self.chunks() {
            let mut vector = None;
            for lane in 0..4.min(self.lanes() - 4 * chunk) {
                let lane = lane as u8;
                let scalars: Vec<Value> = operands.iter().map(|o| self.lane_of(o[chunk], lane)).collect();
                let scalar = function(self, &scalars);
                vector = Some(match vector {
                    None => self.b.ins().scalar_to_vector(result, scalar),
                    Some(vector) => self.b.ins().insertlane(vector, scalar, lane),
                });
            }
            out.extend(vector);
        }
        out
    }

    /// One lane of a vector; of a splat, its scalar.
    pub fn lane_of(&mut self, vector: Value, lane: u8) -> Value {
        match self.splats.get(&vector) {
            Some(&scalar) => scalar,
            None => self.b.ins().extractlane(vector, lane),
        }
    }

    fn map_lanes_by_loop(
        &mut self,
        operands: &[&[Value]],
        result: Type,
        mut function: impl FnMut(&mut Self, &[Value]) -> Value,
    ) -> Vec<Value> {
        let mut inputs = Vec::with_capacity(operands.len());
        for (at, operand) in operands.iter().enumerate() {
            let element = self.b.func.dfg.value_type(operand[0]).lane_type();
            inputs.push((self.spill(Scratch::Operand(at), operand), element));
        }
        let zero = self.words([0; 4], result);
        let zeros = vec![zero; self.chunks()];
        let output = self.spill(Scratch::Result, &zeros);
        self.lane_loop(|this, at| {
            let mut scalars = Vec::with_capacity(inputs.len());
            for &(address, element) in &inputs {
                let address = this.b.ins().iadd(address, at);
                scalars.push(this.b.ins().load(element, plain(), address, 0));
            }
            let scalar = function(this, &scalars);
            let address = this.b.ins().iadd(output, at);
            this.b.ins().store(plain(), scalar, address, 0);
        });
        self.reload(Scratch::Result, result)
    }
}
