//! Control flow: structured statements to blocks with parameters.
//!
//! ```text
//! for:     guard -> enter -> header(counter, carried) .. latch -> back -> header
//!            '-> skip -> exit(results) <- out <------------'
//! loop:    enter -> header(carried) .. latch -> back -> header
//!                                        '-> out (the code goes on here)
//! if:      -> then .. -> join(results)
//!          -> otherwise .. -> join
//! ```
//!
//! `enter`, `skip`, `back` and `out` split the edges out of branches, so that only jumps carry
//! parameters; empty ones vanish when bytes are emitted. A counter is kept sign-extended to 64 bits.

use iced_x86::{Code as C, ConditionCode};
use regalloc2::VReg;
use tvmc_ir::lane::{Carried, Inst as LaneInst, Op, Pure, Region, Scalar, Stmt, Value, abi};

use super::{Key, Lower, Val};
use crate::Error;
use crate::mir::{Addr, BlockId, GPR, Inst, Rm, Term, VEC};

/// More virtual registers than this and the function is refused before memory is.
const MAX_VREGS: usize = regalloc2::VReg::MAX;

impl<'f> Lower<'f> {
    pub(super) fn region(&mut self, region: &'f Region) -> Result<(), Error> {
        for stmt in &region.stmts {
            if self.mir.vregs() > MAX_VREGS {
                return Err(Error::TooLarge("it needs more than 2 million registers".to_owned()));
            }
            match stmt {
                Stmt::Inst(inst) => self.inst(inst)?,
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    let head = ForHead { counter: *counter, from: *from, to: *to, step: *step };
                    self.for_loop(head, carried, body, yields, results)?;
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.do_while(carried, body, *again, yields, results)?;
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    let branches = [(then, then_yields.as_slice()), (otherwise, otherwise_yields.as_slice())];
                    self.if_else(*condition, branches, results)?;
                }
            }
        }
        Ok(())
    }

    /// Registers of initial values. A zero is made afresh for each: a shared one would only be copied.
    fn initials(&mut self, carried: &[Carried]) -> Vec<VReg> {
        let mut registers = Vec::new();
        for one in carried {
            match self.val(one.initial) {
                Val::SplatImm(0) if self.class(one.initial) == VEC => {
                    registers.extend((0..self.parts).map(|_| self.fresh_zero()));
                }
                _ => registers.extend(self.registers(one.initial)),
            }
        }
        registers
    }

    /// New registers for values; gives them all in order.
    fn fresh(&mut self, values: impl Iterator<Item = Value>) -> Vec<VReg> {
        let mut all = Vec::new();
        for value in values {
            let (class, count) = (self.class(value), if self.is_varying(value) { self.parts } else { 1 });
            let registers: Vec<VReg> = (0..count).map(|_| self.vreg(class)).collect();
            self.set_registers(value, &registers);
            all.extend(registers);
        }
        all
    }

    fn all_registers(&mut self, values: &[Value]) -> Vec<VReg> {
        values.iter().flat_map(|&value| self.registers(value)).collect()
    }

    /// How many vector constants a loop may keep in registers: what its carried values leave, less some
    /// for the body's own work.
    fn budget(&self, carried: &[Carried]) -> i32 {
        let held: u32 = carried
            .iter()
            .filter(|c| self.class(c.param) == VEC)
            .map(|c| if self.is_varying(c.param) { self.parts } else { 1 })
            .sum();
        let (registers, work) = if self.v4 { (32, 10) } else { (16, 7) };
        (registers - work - held as i32).max(0)
    }

    fn is_innermost(body: &Region) -> bool {
        body.stmts.iter().all(|stmt| match stmt {
            Stmt::Inst(_) => true,
            Stmt::If { .. } | Stmt::For { .. } | Stmt::Loop { .. } => false,
        })
    }

    fn for_loop(
        &mut self,
        head: ForHead,
        carried: &'f [Carried],
        body: &'f Region,
        yields: &'f [Value],
        results: &'f [Value],
    ) -> Result<(), Error> {
        let known = match (self.constant(head.from), self.constant(head.to)) {
            (Some(from), Some(to)) => Some((from as i32) < (to as i32)),
            _ => None,
        };
        let initials = self.initials(carried);
        if known == Some(false) {
            let mut left = initials.as_slice();
            for &result in results {
                let count = if self.is_varying(result) { self.parts as usize } else { 1 };
                let (own, rest) = left.split_at(count);
                self.set_registers(result, own);
                left = rest;
            }
            return Ok(());
        }
        let [enter, header, back, out, exit] = std::array::from_fn(|_| self.mir.block());
        let skip = if known.is_none() {
            let skip = self.mir.block();
            let (compare, condition) =
                self.compare_ints(C::Cmp_r32_rm32, C::Cmp_rm32_imm32, head.from, head.to, LESS);
            self.finish(Term::Branch {
                compare: Some(Box::new(compare)),
                condition,
                then: enter,
                otherwise: skip,
            });
            Some(skip)
        } else {
            self.finish(Term::Jump(enter, Vec::new()));
            None
        };
        self.place(enter);
        let from = match self.constant(head.from) {
            Some(imm) => self.fresh_imm(i64::from(imm as i32)),
            None => {
                let from = self.uniform(head.from);
                self.gpr_from(C::Movsxd_r64_rm32, Rm::Reg(from))
            }
        };
        let mut first = vec![from];
        first.extend(&initials);
        self.finish(Term::Jump(header, first));

        let budget = self.budget(carried);
        self.open(Some(enter), budget);
        self.place(header);
        let counter = self.vreg(GPR);
        self.set_reg(head.counter, counter);
        let mut params = vec![counter];
        params.extend(self.fresh(carried.iter().map(|c| c.param)));
        self.mir.at(header).params = params;
        self.mir.at(header).hot = Self::is_innermost(body);
        self.cache.insert(Key::SignExtended(counter), (counter, self.rank));
        let rank = self.rank;
        self.scopes[(rank / 2) as usize].keys.push(Key::SignExtended(counter));
        self.region(body)?;
        let mut next = vec![];
        let yields = self.all_registers(yields);
        let code = if i8::try_from(head.step).is_ok() { C::Add_rm64_imm8 } else { C::Add_rm64_imm32 };
        let advanced = self.tied_imm(code, counter, i64::from(head.step));
        next.push(advanced);
        next.extend(&yields);
        let compare = match self.constant(head.to) {
            Some(to) => Inst::new(C::Cmp_rm32_imm32).reg(advanced).imm(i64::from(to as i32)),
            None => {
                let to = self.uniform(head.to);
                Inst::new(C::Cmp_r32_rm32).reg(advanced).reg(to)
            }
        };
        let compare = Some(Box::new(compare));
        self.finish(Term::Branch { compare, condition: ConditionCode::l, then: back, otherwise: out });
        self.place(back);
        self.finish(Term::Jump(header, next));
        self.close();
        self.place(out);
        self.finish(Term::Jump(exit, yields));
        if let Some(skip) = skip {
            self.place(skip);
            self.finish(Term::Jump(exit, initials));
        }
        self.place(exit);
        let params = self.fresh(results.iter().copied());
        self.mir.at(exit).params = params;
        Ok(())
    }

    fn do_while(
        &mut self,
        carried: &'f [Carried],
        body: &'f Region,
        again: Value,
        yields: &'f [Value],
        results: &'f [Value],
    ) -> Result<(), Error> {
        let initials = self.initials(carried);
        let [enter, header, back, out] = std::array::from_fn(|_| self.mir.block());
        self.finish(Term::Jump(enter, Vec::new()));
        self.place(enter);
        self.finish(Term::Jump(header, initials));
        let budget = self.budget(carried);
        self.open(Some(enter), budget);
        self.place(header);
        let params = self.fresh(carried.iter().map(|c| c.param));
        self.mir.at(header).params = params;
        self.mir.at(header).hot = Self::is_innermost(body);
        self.region(body)?;
        let next = self.all_registers(yields);
        self.branch(again, back, out);
        self.place(back);
        self.finish(Term::Jump(header, next.clone()));
        self.close();
        self.place(out);
        // The body ran, so its registers are available from here on.
        for &reg in &next {
            self.ranks[reg.vreg()] = self.ranks[reg.vreg()].min(self.rank);
        }
        let mut left = next.as_slice();
        for &result in results {
            let count = if self.is_varying(result) { self.parts as usize } else { 1 };
            let (own, rest) = left.split_at(count);
            self.set_registers(result, own);
            left = rest;
        }
        Ok(())
    }

    fn if_else(
        &mut self,
        condition: Value,
        branches: [(&'f Region, &'f [Value]); 2],
        results: &'f [Value],
    ) -> Result<(), Error> {
        let [then, otherwise, join] = std::array::from_fn(|_| self.mir.block());
        self.branch(condition, then, otherwise);
        for (block, (region, yields)) in [then, otherwise].into_iter().zip(branches) {
            self.open(None, 0);
            self.place(block);
            self.region(region)?;
            let yields = self.all_registers(yields);
            self.finish(Term::Jump(join, yields));
            self.close();
        }
        self.place(join);
        let params = self.fresh(results.iter().copied());
        self.mir.at(join).params = params;
        Ok(())
    }

    /// Ends the block with a branch on a uniform bool; a pending comparison sets the flags itself.
    pub(super) fn branch(&mut self, condition: Value, then: BlockId, otherwise: BlockId) {
        let fused = match self.val(condition) {
            Val::Pending(inst) => self.fused_compare(inst),
            _ => None,
        };
        let (compare, condition) = match fused {
            Some(fused) => fused,
            None => {
                let reg = self.uniform(condition);
                (Inst::new(C::Test_rm32_r32).reg(reg).reg(reg), ConditionCode::ne)
            }
        };
        self.finish(Term::Branch { compare: Some(Box::new(compare)), condition, then, otherwise });
    }

    /// Branches on a machine comparison.
    pub(super) fn branch_on(
        &mut self,
        compare: Inst,
        condition: ConditionCode,
        then: BlockId,
        otherwise: BlockId,
    ) {
        self.finish(Term::Branch { compare: Some(Box::new(compare)), condition, then, otherwise });
    }

    /// The flags of a pending comparison, where the flags can say it.
    pub(super) fn fused_compare(&mut self, inst: &'f LaneInst) -> Option<(Inst, ConditionCode)> {
        let Op::Pure(pure) = inst.op else { return None };
        let (a, b) = (inst.args[0], inst.args[1]);
        let row = FlagCompare::of(pure)?;
        Some(match row.kind {
            // `b > a` is "above", which is false for NaN; `a < b` would need the parity flag.
            Scalar::F32 => {
                let (a, b) = (self.uniform(a), self.uniform(b));
                (Inst::new(self.code(super::forms::UCOMI)).reg(b).reg(a), row.conditions.0)
            }
            Scalar::I64 => self.compare_ints(C::Cmp_r64_rm64, C::Cmp_rm64_imm32, a, b, row.conditions),
            Scalar::I32 | Scalar::Bool => {
                self.compare_ints(C::Cmp_r32_rm32, C::Cmp_rm32_imm32, a, b, row.conditions)
            }
        })
    }

    fn compare_ints(
        &mut self,
        registers: C,
        immediate: C,
        a: Value,
        b: Value,
        (condition, swapped): (ConditionCode, ConditionCode),
    ) -> (Inst, ConditionCode) {
        let fits = |constant: Option<i64>| constant.filter(|&c| i32::try_from(c).is_ok());
        if let Some(imm) = fits(self.constant(b)) {
            let a = self.uniform(a);
            return (Inst::new(immediate).reg(a).imm(imm), condition);
        }
        if let Some(imm) = fits(self.constant(a)) {
            let b = self.uniform(b);
            return (Inst::new(immediate).reg(b).imm(imm), swapped);
        }
        let (a, b) = (self.uniform(a), self.uniform(b));
        (Inst::new(registers).reg(a).reg(b), condition)
    }

    /// Records a false condition, unless a failure is already recorded.
    pub(super) fn assert(&mut self, condition: Value, message: u32) {
        let [fail, store, fine, recorded, done] = std::array::from_fn(|_| self.mir.block());
        let status = self.argument_field(abi::STATUS);
        self.branch(condition, fine, fail);
        self.place(fail);
        let compare = Inst::new(C::Cmp_rm32_imm8).mem(Addr::at(status, 0)).imm(0);
        self.branch_on(compare, ConditionCode::e, store, recorded);
        self.place(store);
        let number = i64::from(message) + 1;
        self.emit(Inst::new(C::Mov_rm32_imm32).mem(Addr::at(status, 0)).imm(number));
        self.finish(Term::Jump(done, Vec::new()));
        self.place(recorded);
        self.finish(Term::Jump(done, Vec::new()));
        self.place(fine);
        self.finish(Term::Jump(done, Vec::new()));
        self.place(done);
    }

    /// Runs code once for each set bit of a register, given the bit's number.
    pub(super) fn for_each_bit(&mut self, bits: VReg, body: impl FnOnce(&mut Self, VReg)) {
        let [enter, skip, exit] = std::array::from_fn(|_| self.mir.block());
        let nonzero = |reg| Inst::new(C::Test_rm32_r32).reg(reg).reg(reg);
        self.branch_on(nonzero(bits), ConditionCode::ne, enter, skip);
        self.repeat(enter, bits, |this, left| {
            let lane = this.gpr_from(C::Tzcnt_r32_rm32, Rm::Reg(left));
            body(this, lane);
            let next = this.gpr_from(C::VEX_Blsr_r32_rm32, Rm::Reg(left));
            (next, nonzero(next))
        });
        self.finish(Term::Jump(exit, Vec::new()));
        self.place(skip);
        self.finish(Term::Jump(exit, Vec::new()));
        self.place(exit);
    }

    /// Repeats code on what it gave the time before, `first` at first, until it gives what it was given.
    pub(super) fn until_same(&mut self, first: VReg, body: impl FnOnce(&mut Self, VReg) -> VReg) -> VReg {
        let enter = self.mir.block();
        self.finish(Term::Jump(enter, Vec::new()));
        self.repeat(enter, first, |this, given| {
            let found = body(this, given);
            (found, Inst::new(C::Cmp_r32_rm32).reg(found).reg(given))
        })
    }

    /// A loop that begins in `enter`: code on a register, `first` at first, which gives the register of the next turn and what compares unequal where there is one. Goes on behind the loop; gives
    /// the last register.
    fn repeat(
        &mut self,
        enter: BlockId,
        first: VReg,
        turn: impl FnOnce(&mut Self, VReg) -> (VReg, Inst),
    ) -> VReg {
        let [header, back, out] = std::array::from_fn(|_| self.mir.block());
        self.place(enter);
        self.finish(Term::Jump(header, vec![first]));
        self.open(Some(enter), 0);
        self.place(header);
        let given = self.vreg(GPR);
        self.mir.at(header).params = vec![given];
        let (next, unequal) = turn(self, given);
        self.branch_on(unequal, ConditionCode::ne, back, out);
        self.place(back);
        self.finish(Term::Jump(header, vec![next]));
        self.close();
        self.place(out);
        next
    }
}

/// The operands of a counted loop.
struct ForHead {
    counter: Value,
    from: Value,
    to: Value,
    step: u32,
}

/// A condition, and the same with the operands exchanged.
type Conditions = (ConditionCode, ConditionCode);
const LESS: Conditions = (ConditionCode::l, ConditionCode::g);

/// A comparison whose result one condition of the flags says.
pub(super) struct FlagCompare {
    pure: Pure,
    kind: Scalar,
    conditions: Conditions,
}

impl FlagCompare {
    const ALL: [FlagCompare; 10] = {
        use ConditionCode::{a, ae, b, be, e, g, ge, le, ne};
        const fn row(pure: Pure, kind: Scalar, conditions: Conditions) -> FlagCompare {
            FlagCompare { pure, kind, conditions }
        }
        [
            row(Pure::IEq, Scalar::I32, (e, e)),
            row(Pure::INe, Scalar::I32, (ne, ne)),
            row(Pure::ILtS, Scalar::I32, (ConditionCode::l, g)),
            row(Pure::ILeS, Scalar::I32, (le, ge)),
            row(Pure::ILtU, Scalar::I32, (b, a)),
            row(Pure::ILeU, Scalar::I32, (be, ae)),
            row(Pure::LEq, Scalar::I64, (e, e)),
            row(Pure::LLtS, Scalar::I64, (ConditionCode::l, g)),
            // Compared with exchanged operands.
            row(Pure::FLt, Scalar::F32, (a, b)),
            row(Pure::FLe, Scalar::F32, (ae, be)),
        ]
    };

    /// The row of an operation.
    pub fn of(pure: Pure) -> Option<&'static FlagCompare> {
        Self::ALL.iter().find(|row| row.pure == pure)
    }
}
