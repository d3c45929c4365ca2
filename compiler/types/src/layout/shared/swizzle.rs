//! Swizzles: exclusive-or of some bits of an offset with higher ones.
//!
//! ```text
//! offset  b5 b4 b3 b2 b1 b0          base 0, bits 2, shift 3: b4 and b3 are xored into b1 and b0
//! becomes b5 b4 b3 b2 b1^b4 b0^b3
//! ```
//!
//! Since the partner bits do not change (`shift >= bits`), a swizzle is its own inverse.

use crate::layout::LayoutError;

/// `x ^ ((x & mask) >> shift)`, where `mask` is `bits` ones from bit `base + shift`: an involution on offsets.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Swizzle {
    /// Lowest bit that changes.
    pub base: u32,
    /// Number of bits that change.
    pub bits: u32,
    /// How far above the changed bits their partners are; at least `bits`.
    pub shift: u32,
}

impl Swizzle {
    /// The swizzled offset. Post-condition: applying it twice gives `offset` again.
    pub fn apply(self, offset: u32) -> u32 {
        let mask = ((1u64 << self.bits) - 1) << (self.base + self.shift);
        offset ^ ((u64::from(offset) & mask) >> self.shift) as u32
    }

    /// The number of offsets after which the pattern repeats.
    pub fn period(self) -> u64 {
        1 << (self.base + self.shift + self.bits)
    }

    /// Refuses what is no involution on 32-bit offsets.
    pub(super) fn check(self) -> Result<Self, LayoutError> {
        let top = [self.base, self.shift, self.bits].into_iter().try_fold(0u32, u32::checked_add);
        if self.shift < self.bits || top.is_none_or(|top| top > 32) {
            return Err(LayoutError::BadSwizzle { needs: "shift >= bits and base + shift + bits <= 32" });
        }
        Ok(self)
    }

    /// The same swizzle of offsets of which only the bits from `low` to below `high` are ever set: without the partners that never are.
    pub(super) fn trimmed(self, low: u32, high: u32) -> Option<Self> {
        let partners = (self.base + self.shift).max(low)..(self.base + self.shift + self.bits).min(high);
        (!partners.is_empty()).then(|| Swizzle {
            base: partners.start - self.shift,
            bits: partners.end - partners.start,
            shift: self.shift,
        })
    }

    /// The swizzle of `offset << places`, or, for negative `places`, of `offset >> -places` where the lowest bits don't matter; `None` where there is none.
    pub(super) fn shifted(self, places: i64) -> Option<Self> {
        let base = u32::try_from(i64::from(self.base) + places).ok()?;
        Swizzle { base, ..self }.check().ok()
    }
}
