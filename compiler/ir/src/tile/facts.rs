//! What is known of an integer scalar before the kernel runs: an interval, a divisor, and whether it lies below a runtime
//! dimension. Facts prove that a slice stays inside its tensor, so that no mask is needed.
//!
//! ```text
//! block_index 0 of grid ceil(576, 64)      [0, 8]
//! times 64                                 [0, 512], a multiple of 64
//! x[n +: 64] in a dimension of 576         512 + 63 < 576: inside
//! ```
//!
//! Every rule is conservative: the interval of an operation that might wrap is everything.

use super::kernel::Dim;
use super::op::Binary;

/// Facts about one i32.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Smallest value.
    pub lo: i64,
    /// Largest value.
    pub hi: i64,
    /// The value is a multiple of this; 0 for the constant 0.
    pub multiple: i64,
    /// The value is below this runtime dimension.
    pub below: Option<Dim>,
}

const MIN: i64 = i32::MIN as i64;
const MAX: i64 = i32::MAX as i64;

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Facts {
    /// Nothing is known.
    pub const ANY: Facts = Facts { lo: MIN, hi: MAX, multiple: 1, below: None };

    /// A constant.
    pub fn constant(value: i64) -> Facts {
        Facts { lo: value, hi: value, multiple: value.abs(), below: None }
    }

    /// An interval.
    pub fn range(lo: i64, hi: i64, multiple: i64) -> Facts {
        Facts { lo, hi, multiple, below: None }
    }

    fn checked(lo: i64, hi: i64, multiple: i64) -> Facts {
        if lo < MIN || hi > MAX { Facts::ANY } else { Facts { lo, hi, multiple, below: None } }
    }

    /// The constant this is, if it is one.
    pub fn as_constant(self) -> Option<i64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// The sum.
    pub fn plus(self, other: Facts) -> Facts {
        let mut sum =
            Facts::checked(self.lo + other.lo, self.hi + other.hi, gcd(self.multiple, other.multiple));
        if other.as_constant() == Some(0) {
            sum.below = self.below;
        } else if self.as_constant() == Some(0) {
            sum.below = other.below;
        }
        sum
    }

    /// The difference.
    pub fn minus(self, other: Facts) -> Facts {
        Facts::checked(self.lo - other.hi, self.hi - other.lo, gcd(self.multiple, other.multiple))
    }

    /// The product.
    pub fn times(self, other: Facts) -> Facts {
        let corners = [self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi];
        let (lo, hi) = corners.iter().fold((i64::MAX, i64::MIN), |(lo, hi), c| (lo.min(*c), hi.max(*c)));
        let multiple = self.multiple.checked_mul(other.multiple).filter(|m| *m <= MAX).unwrap_or(1);
        let mut product = Facts::checked(lo, hi, multiple);
        if other.as_constant() == Some(1) {
            product.below = self.below;
        } else if self.as_constant() == Some(1) {
            product.below = other.below;
        }
        product
    }

    /// The result of a binary operation on signed integers.
    pub fn binary(op: Binary, a: Facts, b: Facts) -> Facts {
        match op {
            Binary::Add => a.plus(b),
            Binary::Sub => a.minus(b),
            Binary::Mul => a.times(b),
            Binary::Div => match b.as_constant() {
                Some(d) if d > 0 => Facts::range(a.lo / d, a.hi / d, 1),
                Some(_) | None => Facts::ANY,
            },
            Binary::Rem => match b.as_constant() {
                Some(d) if d > 0 && a.lo >= 0 => Facts::range(0, (d - 1).min(a.hi), 1),
                Some(_) | None => Facts::ANY,
            },
            Binary::Min => Facts {
                lo: a.lo.min(b.lo),
                hi: a.hi.min(b.hi),
                multiple: gcd(a.multiple, b.multiple),
                below: a.below.or(b.below),
            },
            Binary::Max => Facts::range(a.lo.max(b.lo), a.hi.max(b.hi), gcd(a.multiple, b.multiple)),
            Binary::And => match (a.as_constant(), b.as_constant()) {
                (_, Some(mask)) | (Some(mask), _) if mask >= 0 => Facts::range(0, mask, 1),
                _ => Facts::ANY,
            },
            Binary::Shr => match b.as_constant() {
                Some(n) if (0..32).contains(&n) => Facts::range(a.lo >> n, a.hi >> n, 1),
                Some(_) | None => Facts::ANY,
            },
            Binary::Or | Binary::Xor | Binary::Shl | Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => {
                Facts::ANY
            }
        }
    }

    /// A loop counter from `from` while below `to`, by `step`.
    pub fn counter(from: Facts, to: Facts, step: u32) -> Facts {
        let step = i64::from(step);
        let mut hi = (to.hi - 1).max(from.lo);
        if let (Some(first), Some(end)) = (from.as_constant(), to.as_constant())
            && end > first
        {
            hi = first + (end - 1 - first) / step * step;
        }
        let multiple = gcd(from.multiple, step);
        if multiple > 0 {
            hi = (hi.div_euclid(multiple) * multiple).max(from.lo);
        }
        Facts { lo: from.lo, hi: hi.min(MAX), multiple, below: None }
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
    fn a_block_of_a_dividing_grid_stays_inside() {
        let block = Facts::range(0, 8, 1);
        let offset = Facts::binary(Binary::Mul, block, Facts::constant(64));
        assert_eq!((offset.lo, offset.hi, offset.multiple), (0, 512, 64));
    }

    #[test]
    fn a_wrapping_product_is_unknown() {
        let big = Facts::range(0, 1 << 30, 1);
        assert_eq!(Facts::binary(Binary::Mul, big, big), Facts::ANY);
    }

    #[test]
    fn rules_hold_for_all_small_values() {
        let ops = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Rem, Binary::Min, Binary::Max];
        for op in ops {
            for (alo, ahi, blo, bhi) in [(0, 7, 3, 3), (-4, 5, 2, 2), (0, 6, 0, 4), (-3, -1, 1, 3)] {
                let (a, b) = (Facts::range(alo, ahi, 1), Facts::range(blo, bhi, 1));
                let f = Facts::binary(op, a, b);
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
                            _ => x.max(y),
                        };
                        assert!(f.lo <= v && v <= f.hi, "{op:?} {x} {y}");
                    }
                }
            }
        }
    }
}
