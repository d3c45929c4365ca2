//! What is known of an integer before the kernel runs: an interval, a divisor, and how far it stays below a runtime dimension.
//! Facts prove that a slice lies inside its tensor, so that it holds no padding, and that a format's index lies inside its field.
//!
//! ```text
//! block[0] of grid ceil(N, 64)       below ceil(N, 64)
//! times 64                           at most N - 1, a multiple of 64
//! k in 0..K by 32, K = 576           [0, 544], a multiple of 32
//! x[k +: 32]                         544 + 32 <= 576: inside
//! ```
//!
//! Every rule is conservative: a result that might wrap is everything. For tiles the facts hold for each element.

use tvmc_ir::tile::{Binary, Dim, Unary};
use tvmc_types::dtype::DType;

/// Facts about an i32 or narrower integer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub lo: i64,
    pub hi: i64,
    /// The value is a multiple of this; 0 for the constant 0.
    pub multiple: i64,
    /// value <= dimension - slack.
    pub below: Option<(Dim, i64)>,
    /// value < ceil(dimension / divisor).
    pub block_of: Option<(Dim, i64)>,
}

/// Largest size of a dimension: checked at launch.
const LARGEST: i64 = tvmc_ir::tile::launch::MAX_EXTENT as i64;
const MIN: i64 = i32::MIN as i64;
const MAX: i64 = i32::MAX as i64;

pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

impl Facts {
    /// Nothing is known.
    pub const ANY: Facts = Facts { lo: MIN, hi: MAX, multiple: 1, below: None, block_of: None };

    pub fn constant(value: i64) -> Facts {
        Facts { lo: value, hi: value, multiple: value.abs(), below: None, block_of: None }
    }

    pub fn range(lo: i64, hi: i64, multiple: i64) -> Facts {
        if lo < MIN || hi > MAX || lo > hi {
            return Facts::ANY;
        }
        Facts { lo, hi, multiple, below: None, block_of: None }
    }

    /// A runtime dimension that is a multiple of this.
    pub fn dimension(dim: Dim, multiple: i64) -> Facts {
        Facts { lo: 0, hi: LARGEST, multiple, below: Some((dim, 0)), block_of: None }
    }

    /// A block index on an axis of ceil(dimension / divisor) blocks.
    pub fn block(dim: Dim, divisor: i64) -> Facts {
        let below = (divisor == 1).then_some((dim, 1));
        Facts { lo: 0, hi: LARGEST, multiple: 1, below, block_of: Some((dim, divisor)) }
    }

    /// All values of an integer type, as its 32-bit form.
    pub fn of(dtype: DType) -> Facts {
        match dtype.int_range() {
            Some((lo, hi)) if lo >= i128::from(MIN) && hi <= i128::from(MAX) => {
                Facts::range(lo as i64, hi as i64, 1)
            }
            Some(_) | None => Facts::ANY,
        }
    }

    pub fn as_constant(self) -> Option<i64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// Either of two.
    pub fn union(self, other: Facts) -> Facts {
        Facts {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            multiple: gcd(self.multiple, other.multiple),
            below: if self.below == other.below { self.below } else { None },
            block_of: if self.block_of == other.block_of { self.block_of } else { None },
        }
    }

    fn shift_below(self, by: i64) -> Option<(Dim, i64)> {
        let (dim, slack) = self.below?;
        Some((dim, slack.checked_sub(by)?))
    }

    pub fn add(self, other: Facts) -> Facts {
        let mut sum =
            Facts::range(self.lo + other.lo, self.hi + other.hi, gcd(self.multiple, other.multiple));
        if sum != Facts::ANY {
            sum.below = match (other.as_constant(), self.as_constant()) {
                (Some(c), _) => self.shift_below(c),
                (_, Some(c)) => other.shift_below(c),
                (None, None) => None,
            };
        }
        sum
    }

    pub fn sub(self, other: Facts) -> Facts {
        let mut difference =
            Facts::range(self.lo - other.hi, self.hi - other.lo, gcd(self.multiple, other.multiple));
        if difference != Facts::ANY
            && let Some(c) = other.as_constant()
        {
            difference.below = self.shift_below(-c);
        }
        difference
    }

    pub fn mul(self, other: Facts) -> Facts {
        let corners = [self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi];
        let (lo, hi) = corners.iter().fold((i64::MAX, i64::MIN), |(lo, hi), c| (lo.min(*c), hi.max(*c)));
        let multiple = self.multiple.checked_mul(other.multiple).filter(|m| *m <= MAX).unwrap_or(1);
        let below = |block: Facts, factor: Facts| match (block.block_of, factor.as_constant()) {
            (Some((dim, divisor)), Some(f)) if f == divisor => Some((dim, 1)),
            _ if factor.as_constant() == Some(1) => block.below,
            _ => None,
        };
        let below = below(self, other).or_else(|| below(other, self));
        // Sizes and grids are checked at launch to stay in 32 bits, so a block's offset below a dimension does not wrap.
        if lo < MIN || hi > MAX {
            return match below {
                Some(_) if lo >= 0 => Facts { lo: 0, hi: LARGEST, multiple, below, block_of: None },
                Some(_) | None => Facts::ANY,
            };
        }
        Facts { lo, hi, multiple, below, block_of: None }
    }

    pub fn unary(op: Unary, a: Facts) -> Facts {
        match op {
            Unary::Neg => Facts::range(-a.hi, -a.lo, a.multiple),
            Unary::Abs if a.lo >= 0 => a,
            Unary::Abs => Facts::range(0, a.hi.max(-a.lo), a.multiple),
            Unary::PopCount => Facts::range(0, 32, 1),
            Unary::Not => Facts::range(-1 - a.hi, -1 - a.lo, 1),
            Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => Facts::ANY,
        }
    }

    pub fn binary(op: Binary, a: Facts, b: Facts) -> Facts {
        match op {
            Binary::Add => a.add(b),
            Binary::Sub => a.sub(b),
            Binary::Mul => a.mul(b),
            Binary::Div => match b.as_constant() {
                Some(d) if d > 0 => Facts::range(a.lo / d, a.hi / d, 1),
                Some(_) | None => Facts::ANY,
            },
            Binary::Rem => match b.as_constant() {
                Some(d) if d > 0 && a.lo >= 0 && a.hi < d => a,
                Some(d) if d > 0 && a.lo >= 0 => Facts::range(0, (d - 1).min(a.hi), 1),
                Some(d) if d > 0 => Facts::range((1 - d).max(a.lo), (d - 1).min(a.hi).max(0), 1),
                Some(_) | None => Facts::ANY,
            },
            Binary::Min => Facts {
                lo: a.lo.min(b.lo),
                hi: a.hi.min(b.hi),
                multiple: gcd(a.multiple, b.multiple),
                below: a.below.or(b.below),
                block_of: a.block_of.or(b.block_of),
            },
            Binary::Max => Facts::range(a.lo.max(b.lo), a.hi.max(b.hi), gcd(a.multiple, b.multiple)),
            Binary::And => match (a.lo >= 0, b.lo >= 0) {
                (true, true) => Facts::range(0, a.hi.min(b.hi), 1),
                (true, false) => Facts::range(0, a.hi, 1),
                (false, true) => Facts::range(0, b.hi, 1),
                (false, false) => Facts::ANY,
            },
            Binary::Or | Binary::Xor if a.lo >= 0 && b.lo >= 0 => {
                let top = a.hi.max(b.hi) as u64;
                let ones = if top == 0 { 0 } else { u64::MAX >> top.leading_zeros() };
                Facts::range(0, ones as i64, 1)
            }
            Binary::Shl => match b.as_constant() {
                Some(n) if (0..31).contains(&n) => a.mul(Facts::constant(1 << n)),
                Some(_) | None => Facts::ANY,
            },
            Binary::Shr => match b.as_constant() {
                Some(n) if (0..32).contains(&n) => Facts::range(a.lo >> n, a.hi >> n, 1),
                Some(_) | None if a.lo >= 0 => Facts::range(0, a.hi, 1),
                Some(_) | None => Facts::ANY,
            },
            Binary::Or | Binary::Xor | Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => Facts::ANY,
        }
    }

    /// The truth of a comparison, if the intervals decide it.
    pub fn compare(op: Binary, a: Facts, b: Facts) -> Option<bool> {
        match op {
            Binary::Lt if a.hi < b.lo => Some(true),
            Binary::Lt if a.lo >= b.hi => Some(false),
            Binary::Le if a.hi <= b.lo => Some(true),
            Binary::Le if a.lo > b.hi => Some(false),
            Binary::Eq if a.hi < b.lo || b.hi < a.lo => Some(false),
            Binary::Ne if a.hi < b.lo || b.hi < a.lo => Some(true),
            Binary::Eq | Binary::Ne => {
                let equal = a.as_constant()? == b.as_constant()?;
                Some(equal == (op == Binary::Eq))
            }
            Binary::Lt
            | Binary::Le
            | Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Rem
            | Binary::Min
            | Binary::Max
            | Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::Shl
            | Binary::Shr => None,
        }
    }

    /// A loop counter from `from` while below `to`, by `step`.
    pub fn counter(from: Facts, to: Facts, step: u32) -> Facts {
        let step = i64::from(step);
        let multiple = gcd(from.multiple, step);
        let mut hi = (to.hi - 1).max(from.lo);
        if let (Some(first), Some(end)) = (from.as_constant(), to.as_constant())
            && end > first
        {
            hi = first + (end - 1 - first) / step * step;
        }
        if multiple > 0 {
            hi = (hi.div_euclid(multiple) * multiple).max(from.lo);
        }
        // value < dimension - slack, and both are multiples of q: so value <= dimension - slack - q, where slack is one too.
        let below = to.below.and_then(|(dim, slack)| {
            let q = gcd(multiple, to.multiple);
            let room = if q > 1 && slack % q == 0 { q } else { 1 };
            Some((dim, slack.checked_add(room)?))
        });
        Facts { lo: from.lo, hi: hi.min(MAX), multiple, below, block_of: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first value of a loop need not be known for its last one to be a multiple of the step: `for d in first..min(576, first + 64) by 32`
    /// never reaches past 544.
    #[test]
    fn a_counter_from_an_unknown_start_stays_on_its_multiples() {
        let counter = Facts::counter(Facts::range(0, 512, 64), Facts::range(0, 576, 1), 32);
        assert_eq!((counter.lo, counter.hi, counter.multiple), (0, 544, 32));
        let odd = Facts::counter(Facts::range(0, 7, 1), Facts::constant(100), 32);
        assert_eq!((odd.hi, odd.multiple), (99, 1));
    }

    #[test]
    fn rules_hold_for_all_small_values() {
        let ops = [
            Binary::Add,
            Binary::Sub,
            Binary::Mul,
            Binary::Div,
            Binary::Rem,
            Binary::Min,
            Binary::Max,
            Binary::And,
            Binary::Or,
            Binary::Xor,
            Binary::Shl,
            Binary::Shr,
        ];
        let ranges = [(0, 7), (-4, 5), (0, 0), (-3, -1), (3, 3), (2, 2), (1, 12)];
        for op in ops {
            for (alo, ahi) in ranges {
                for (blo, bhi) in ranges {
                    let f = Facts::binary(op, Facts::range(alo, ahi, 1), Facts::range(blo, bhi, 1));
                    for x in alo..=ahi {
                        for y in blo..=bhi {
                            let v = match op {
                                Binary::Add => x + y,
                                Binary::Sub => x - y,
                                Binary::Mul => x * y,
                                Binary::Div => {
                                    if y == 0 {
                                        0
                                    } else {
                                        x / y
                                    }
                                }
                                Binary::Rem => {
                                    if y == 0 {
                                        x
                                    } else {
                                        x % y
                                    }
                                }
                                Binary::Min => x.min(y),
                                Binary::Max => x.max(y),
                                Binary::And => x & y,
                                Binary::Or => x | y,
                                Binary::Xor => x ^ y,
                                Binary::Shl => i64::from((x as i32).wrapping_shl(y as u32)),
                                _ => i64::from((x as i32).wrapping_shr(y as u32)),
                            };
                            assert!(f.lo <= v && v <= f.hi, "{op:?} {x} {y}: {v} not in {f:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_and_counters_stay_below_their_dimension() {
        let dim = Dim(0);
        let block = Facts { block_of: Some((dim, 64)), ..Facts::range(0, MAX, 1) };
        assert_eq!(block.mul(Facts::constant(64)).below, Some((dim, 1)));
        assert_eq!(block.mul(Facts::constant(32)), Facts::ANY, "another factor proves nothing");
        let end = Facts { below: Some((dim, 0)), multiple: 64, ..Facts::range(0, MAX, 1) };
        let k = Facts::counter(Facts::constant(0), end, 64);
        assert_eq!(k.below, Some((dim, 64)), "both are multiples of 64");
        let k = Facts::counter(Facts::constant(0), Facts { multiple: 1, ..end }, 64);
        assert_eq!(k.below, Some((dim, 1)));
    }
}
