//! What a kernel tells its host: failed assertions and printed values.
//!
//! An assertion writes 1 + its message's number to the status word if that is still zero; there is no branch.
//! A print lays its operands out as 32-bit words on the stack (an `i64` as two, low half first; a bool as
//! 0 or 1; a varying value as one word per lane) and calls the host. All prints share one slot, which is as large
//! as the largest needs.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, types};
use tvmc_ir::lane::{Scalar, Value, abi};

use crate::translate::Translator;
use crate::words::{Shape, plain};

impl Translator<'_> {
    /// Records a failure.
    pub fn assert(&mut self, message: u32, condition: Value) {
        let condition = self.uniform(condition);
        let status = self.b.ins().load(types::I64, plain(), self.args, abi::STATUS);
        let old = self.b.ins().load(types::I32, plain(), status, 0);
        let zero = self.int(Shape::Scalar, 0);
        let number = self.int(Shape::Scalar, message.wrapping_add(1).cast_signed());
        let failed = self.b.ins().select(condition, zero, number);
        let first = self.b.ins().icmp(IntCC::Equal, old, zero);
        let new = self.b.ins().select(first, failed, old);
        self.b.ins().store(plain(), new, status, 0);
    }

    /// Appends to the log.
    pub fn print(&mut self, message: u32, operands: &[Value]) {
        let mut layout = Vec::with_capacity(operands.len());
        let mut count = 0usize;
        for &operand in operands {
            let ty = self.function.ty(operand);
            layout.push((operand, ty, 4 * count));
            count += match (ty.is_varying(), ty.scalar) {
                (true, _) => self.lanes(),
                (false, Scalar::I64) => 2,
                (false, Scalar::F32 | Scalar::I32 | Scalar::Bool) => 1,
            };
        }
        // A varying operand is written in whole vectors: the next one overwrites what is past its lanes.
        let size = (4 * count + 16).next_multiple_of(16) as u32;
        let slot = match self.print_slot {
            Some(slot) => {
                let data = &mut self.b.func.sized_stack_slots[slot];
                data.size = data.size.max(size);
                slot
            }
            None => {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
                self.b.create_sized_stack_slot(data)
            }
        };
        self.print_slot = Some(slot);
        let words = self.b.ins().stack_addr(types::I64, slot, 0);
        for (operand, ty, at) in layout {
            let at = at as i32;
            if ty.is_varying() {
                for (chunk, &value) in self.varying(operand).iter().enumerate() {
                    let value = match ty.scalar {
                        Scalar::Bool => self.shr(value, 31),
                        Scalar::F32 | Scalar::I32 | Scalar::I64 => value,
                    };
                    self.b.ins().store(plain(), value, words, at + 16 * chunk as i32);
                }
            } else {
                let value = self.uniform(operand);
                let value = match ty.scalar {
                    Scalar::Bool => self.b.ins().uextend(types::I32, value),
                    Scalar::F32 | Scalar::I32 | Scalar::I64 => value,
                };
                self.b.ins().store(plain(), value, words, at);
            }
        }
        let signature = self.b.import_signature(self.target.print_signature());
        let callee = self.b.ins().load(types::I64, plain(), self.args, abi::PRINT);
        let log = self.b.ins().load(types::I64, plain(), self.args, abi::LOG);
        let number = self.int(Shape::Scalar, message.cast_signed());
        let count = self.int(Shape::Scalar, count as i32);
        self.b.ins().call_indirect(signature, callee, &[log, number, words, count]);
    }
}
