//! `iand`, `ior` and `ixor` on vectors. AVX-512 computes any function of three operands' bits in one step (`vpternlogd`), so an operation of these
//! that only another one uses waits for it, and both become one instruction where they read no more than three different values:
//!
//! ```text
//! ior (iand a, m), b                                    a, m, b        1 instead of 2
//! ior (iand a, 0x00ff00ff), (iand b, 0xff00ff00)        a, b, m        1 instead of 3: the second constant is the first, flipped
//! ```
//!
//! The truth table comes of the operation itself, on the tables of the operands. What waits has no operand that waits, so nothing nests.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::{Inst as LaneInst, Op, Pure, Value};

use super::uses::User;
use super::{Lower, Src, Val, forms};
use crate::mir::{Inst, VEC};

/// Truth tables of the three operands: bit `4 a + 2 b + c` of each.
const TABLES: [u8; 3] = [0xf0, 0xcc, 0xaa];

/// What one instruction reads, and what it makes of it.
struct Function {
    leaves: Vec<Src>,
    table: u8,
}

/// The operations.
#[derive(Copy, Clone)]
pub(super) enum Bitwise {
    And,
    Or,
    Xor,
}

impl Bitwise {
    fn of(op: &Op) -> Option<Self> {
        match op {
            Op::Pure(Pure::IAnd) => Some(Bitwise::And),
            Op::Pure(Pure::IOr) => Some(Bitwise::Or),
            Op::Pure(Pure::IXor) => Some(Bitwise::Xor),
            _ => None,
        }
    }

    /// On truth tables.
    fn applied(self, a: u8, b: u8) -> u8 {
        match self {
            Bitwise::And => a & b,
            Bitwise::Or => a | b,
            Bitwise::Xor => a ^ b,
        }
    }
}

/// Whether an operation is one of these.
fn is_bitwise(op: &Op) -> bool {
    Bitwise::of(op).is_some()
}

impl<'f> Lower<'f> {
    /// Whether an operation waits for its only user, another of these.
    pub(super) fn waits_for_bitwise(&self, inst: &LaneInst, result: Value) -> bool {
        self.v4
            && is_bitwise(&inst.op)
            && self.is_varying(result)
            && inst.args.iter().all(|&arg| self.pending_bitwise(Src::Part(arg, 0)).is_none())
            && matches!(self.uses.only_user(result), Some(User::Inst(user)) if is_bitwise(&user.op))
    }

    fn pending_bitwise(&self, source: Src) -> Option<&'f LaneInst> {
        let Src::Part(value, _) = source else { return None };
        match self.values[value.index()] {
            Val::Pending(inst) if is_bitwise(&inst.op) => Some(inst),
            Val::Pending(_)
            | Val::Again(_)
            | Val::Undefined
            | Val::Reg(_)
            | Val::Parts(_)
            | Val::Imm(_)
            | Val::SplatImm(_)
            | Val::LaneIndex
            | Val::Linear(_) => None,
        }
    }

    /// One of these operations.
    pub(super) fn bitwise(&mut self, op: Bitwise, args: &[Src]) -> VReg {
        let waiting = args.iter().any(|arg| self.pending_bitwise(*arg).is_some());
        if waiting && let Some(function) = self.function_of(op, args) {
            return self.ternary(function);
        }
        let form = match op {
            Bitwise::And => forms::AND,
            Bitwise::Or => forms::OR,
            Bitwise::Xor => forms::XOR,
        };
        // What waits and was not taken in is emitted before the operand's place is chosen.
        let args: Vec<Src> = args
            .iter()
            .map(|arg| if self.pending_bitwise(*arg).is_some() { Src::Reg(self.source(*arg)) } else { *arg })
            .collect();
        self.binary(form, &args, true)
    }

    /// The operation as a function of three values at most: both operands taken in, or one.
    fn function_of(&self, op: Bitwise, args: &[Src]) -> Option<Function> {
        [[true, true], [true, false], [false, true]].into_iter().find_map(|taken| {
            let mut leaves = Vec::new();
            let mut tables = [0; 2];
            for ((table, arg), taken) in tables.iter_mut().zip(args).zip(taken) {
                *table = match self.pending_bitwise(*arg).filter(|_| taken) {
                    Some(inst) => {
                        let Src::Part(_, part) = *arg else { return None };
                        let inner = Bitwise::of(&inst.op)?;
                        let a = self.leaf(&mut leaves, Src::Part(inst.args[0], part))?;
                        let b = self.leaf(&mut leaves, Src::Part(inst.args[1], part))?;
                        inner.applied(a, b)
                    }
                    None => self.leaf(&mut leaves, *arg)?,
                };
            }
            Some(Function { leaves, table: op.applied(tables[0], tables[1]) })
        })
    }

    /// The truth table of an operand, a new one or one that is known.
    fn leaf(&self, leaves: &mut Vec<Src>, source: Src) -> Option<u8> {
        let constant = self.source_constant(source);
        for (known, table) in leaves.iter().zip(TABLES) {
            match (self.source_constant(*known), constant) {
                (Some(known), Some(bits)) if known == bits => return Some(table),
                (Some(known), Some(bits)) if known == !bits => return Some(!table),
                (Some(_), Some(_)) => {}
                _ if *known == source => return Some(table),
                _ => {}
            }
        }
        let table = *TABLES.get(leaves.len())?;
        leaves.push(source);
        Some(table)
    }

    fn ternary(&mut self, Function { leaves, table }: Function) -> VReg {
        // The first operand is overwritten, so best one that nothing else reads; the last may lie in memory.
        let mut order: Vec<usize> = (0..leaves.len()).collect();
        order.sort_by_key(|at| {
            let leaf = leaves[*at];
            (self.source_constant(leaf).is_some() || self.in_memory(leaf), !self.dies(leaf))
        });
        while order.len() < 3 {
            order.insert(1, order[0]);
        }
        let mut imm = 0;
        for index in 0..8u8 {
            // The places of the operands in the instruction say the bits of those in the table.
            let bit =
                |leaf: usize| order.iter().position(|at| *at == leaf).map_or(0, |at| index >> (2 - at) & 1);
            let mut row = 0;
            for leaf in 0..leaves.len() {
                row |= bit(leaf) << (2 - leaf);
            }
            imm |= (table >> row & 1) << index;
        }
        let a = self.source(leaves[order[0]]);
        let b = self.source(leaves[order[1]]);
        let c = self.source_rm(leaves[order[2]]);
        self.ternary_of(a, b, c, i64::from(imm))
    }

    /// `imm` is the truth table of a, b and c, bit `4 a + 2 b + c`.
    pub(super) fn ternary_of(&mut self, a: VReg, b: VReg, c: impl Into<crate::mir::Rm>, imm: i64) -> VReg {
        let def = self.vreg(VEC);
        let code = C::EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8;
        self.emit(Inst::new(code).tied(def, a).reg(b).rm(c.into()).imm(imm));
        def
    }
}
