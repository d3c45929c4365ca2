//! What is known of integers modulo 4: enough to tell which part of a 32-bit word an element of 8 or 16 bits is.
//!
//! ```text
//! v1 = imul row, 64      0 modulo 4                  (the factor says two bits)
//! v2 = ladd v1, 3        3 modulo 4
//! v3 = ladd v1, column   nothing, where nothing is known of `column`
//! ```
//!
//! Arithmetic wraps modulo powers of two, which changes nothing here. Loop-carried values and results of branches are not followed.

use tvmc_ir::lane::{Function, Inst, Op, Pure, Region, Stmt, Value};

/// The lowest `bits` (0, 1 or 2) of an integer are those of `value`.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Residue {
    bits: u32,
    value: u32,
}

/// Most bits that are followed.
const MOST: u32 = 2;

impl Residue {
    fn new(bits: u32, value: u32) -> Self {
        let bits = bits.min(MOST);
        Self { bits, value: value & ((1 << bits) - 1) }
    }

    fn constant(value: i64) -> Self {
        Self::new(MOST, value as u32)
    }

    /// Low bits known to be zero.
    fn zeros(self) -> u32 {
        if self.value == 0 { self.bits } else { self.value.trailing_zeros() }
    }

    fn plus(self, other: Self) -> Self {
        Self::new(self.bits.min(other.bits), self.value.wrapping_add(other.value))
    }

    fn minus(self, other: Self) -> Self {
        Self::new(self.bits.min(other.bits), self.value.wrapping_sub(other.value))
    }

    /// With `a = 2^z (..)`, an unknown bit of the other factor counts from the bit z on.
    fn times(self, other: Self) -> Self {
        let bits = (self.bits + other.zeros()).min(other.bits + self.zeros());
        Self::new(bits, self.value.wrapping_mul(other.value))
    }

    /// The integer modulo `2^log`.
    pub fn modulo(self, log: u32) -> Option<u32> {
        (log <= self.bits).then(|| self.value & ((1 << log) - 1))
    }
}

/// By value.
pub(super) struct Residues(Vec<Residue>);

impl Residues {
    /// Walks a function whose regions nest no deeper than `uses` accepts.
    pub fn of(function: &Function) -> Self {
        let mut residues = Self(vec![Residue::default(); function.values.len()]);
        residues.region(&function.body);
        residues
    }

    /// What is known of a value.
    pub fn get(&self, value: Value) -> Residue {
        self.0[value.index()]
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    if let Some(result) = inst.result {
                        self.0[result.index()] = self.result(inst);
                    }
                }
                Stmt::For { counter, from, step, body, .. } => {
                    let from = self.get(*from);
                    self.0[counter.index()] = Residue::new(from.bits.min(step.trailing_zeros()), from.value);
                    self.region(body);
                }
                Stmt::Loop { body, .. } => self.region(body),
                Stmt::If { then, otherwise, .. } => {
                    self.region(then);
                    self.region(otherwise);
                }
            }
        }
    }

    fn result(&self, inst: &Inst) -> Residue {
        let of = |at: usize| self.get(inst.args[at]);
        let is = |list: &[Pure]| matches!(inst.op, Op::Pure(pure) if list.contains(&pure));
        if let Op::ConstI32(constant) = inst.op {
            Residue::constant(i64::from(constant))
        } else if let Op::ConstI64(constant) = inst.op {
            Residue::constant(constant)
        } else if inst.op == Op::Splat || is(&[Pure::I32ToI64, Pure::U32ToI64, Pure::I64ToI32]) {
            of(0)
        } else if is(&[Pure::IAdd, Pure::LAdd]) {
            of(0).plus(of(1))
        } else if is(&[Pure::ISub, Pure::LSub]) {
            of(0).minus(of(1))
        } else if is(&[Pure::IMul, Pure::LMul]) {
            of(0).times(of(1))
        } else {
            Residue::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rule against all integers that have the residues.
    #[test]
    fn rules_hold_for_all_integers() {
        let known: Vec<Residue> =
            (0..=MOST).flat_map(|bits| (0..1 << bits).map(move |value| Residue::new(bits, value))).collect();
        let has = |residue: Residue, integer: u32| {
            residue.modulo(residue.bits) == Some(integer & ((1 << residue.bits) - 1))
        };
        for (a, b) in known.iter().flat_map(|a| known.iter().map(move |b| (*a, *b))) {
            for (x, y) in (0..16_u32).flat_map(|x| (0..16).map(move |y| (x, y))) {
                if has(a, x) && has(b, y) {
                    assert!(has(a.plus(b), x.wrapping_add(y)), "{a:?} + {b:?}");
                    assert!(has(a.minus(b), x.wrapping_sub(y)), "{a:?} - {b:?}");
                    assert!(has(a.times(b), x.wrapping_mul(y)), "{a:?} * {b:?}");
                }
            }
        }
    }
}
