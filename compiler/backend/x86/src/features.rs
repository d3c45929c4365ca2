//! What the processor can do. A [`Level`] fixes the vector width; the flags beside it only choose
//! between instruction sequences of equal meaning, so code for fewer flags runs everywhere the level does.
//!
//! | level | vector | masks | needs |
//! |---|---|---|---|
//! | `V3` | 8 lanes, ymm | vectors of all-ones | AVX2, FMA, F16C, BMI1, BMI2, LZCNT, POPCNT |
//! | `V4` | 16 lanes, zmm | k registers | the above and AVX-512 F, BW, DQ, VL, CD |

use std::fmt;

/// The vector width and the base instruction set.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// AVX2, 256-bit vectors.
    V3,
    /// AVX-512, 512-bit vectors.
    V4,
}

/// The instruction sets that code may use.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Features {
    /// The base.
    pub level: Level,
    /// `vpdpbusd` at the level's width.
    pub vnni: bool,
    /// `vpermb`, `vpmultishiftqb` (V4 only).
    pub vbmi: bool,
    /// `vpshrdd` (V4 only).
    pub vbmi2: bool,
    /// `vpopcntd` (V4 only).
    pub popcnt_vector: bool,
    /// `vgf2p8affineqb` at the level's width.
    pub gfni: bool,
    /// `vdpbf16ps` (V4 only). No lane operation needs it yet; it is part of the target's name in caches.
    pub bf16: bool,
}

impl Features {
    /// The least that a level promises.
    pub const fn baseline(level: Level) -> Self {
        Self { level, vnni: false, vbmi: false, vbmi2: false, popcnt_vector: false, gfni: false, bf16: false }
    }

    /// The host's features, or `None` where this backend has nothing to offer.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Option<Self> {
        use std::arch::is_x86_feature_detected as has;
        let v3 = has!("avx2")
            && has!("fma")
            && has!("f16c")
            && has!("bmi1")
            && has!("bmi2")
            && has!("lzcnt")
            && has!("popcnt");
        if !v3 {
            return None;
        }
        let v4 =
            has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("avx512cd");
        if !v4 {
            let baseline = Self::baseline(Level::V3);
            return Some(Self { vnni: has!("avxvnni"), gfni: has!("gfni"), ..baseline });
        }
        Some(Self {
            level: Level::V4,
            vnni: has!("avx512vnni"),
            vbmi: has!("avx512vbmi"),
            vbmi2: has!("avx512vbmi2"),
            popcnt_vector: has!("avx512vpopcntdq"),
            gfni: has!("gfni"),
            bf16: has!("avx512bf16"),
        })
    }

    /// The host's features: none, this is another architecture.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Option<Self> {
        None
    }

    /// The same host restricted to 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    pub fn narrowed(self) -> Self {
        use std::arch::is_x86_feature_detected as has;
        let baseline = Self::baseline(Level::V3);
        Self { vnni: self.vnni && has!("avxvnni"), gfni: self.gfni, ..baseline }
    }

    /// The same host restricted to 256-bit vectors.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn narrowed(self) -> Self {
        Self::baseline(Level::V3)
    }

    /// Elements of a vector register: the `P` that virtual lanes are cut into.
    pub const fn width(&self) -> u32 {
        match self.level {
            Level::V3 => 8,
            Level::V4 => 16,
        }
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::V3 => "x86-v3",
            Level::V4 => "x86-v4",
        })?;
        let flags = [
            (self.vnni, "vnni"),
            (self.vbmi, "vbmi"),
            (self.vbmi2, "vbmi2"),
            (self.popcnt_vector, "vpopcnt"),
            (self.gfni, "gfni"),
            (self.bf16, "bf16"),
        ];
        for (_, name) in flags.into_iter().filter(|(on, _)| *on) {
            write!(f, "+{name}")?;
        }
        Ok(())
    }
}
