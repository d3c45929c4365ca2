//! What code needs of an x86-64 processor, by `cpuid`, so that a program that links an object can ask before it calls.
//!
//! Positions are those of Intel's Software Developer's Manual, volume 2A, `CPUID`; the parts of `XCR0` that the system must save, volume 1,
//! chapter 13.

use tvmc_backend_x86::{Features, Level};

/// An instruction set and the bit that says that a processor has it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct InstructionSet {
    /// As compilers and Linux spell it.
    pub name: &'static str,
    /// Of `cpuid`, in eax.
    pub leaf: u32,
    /// Of the leaf, in ecx.
    pub part: u32,
    /// Which register of the answer: eax, ebx, ecx, edx.
    pub register: u8,
    /// Which bit of it.
    pub bit: u8,
    /// Parts of the state that the system must save: bits of `XCR0`.
    pub state: u32,
}

/// xmm and the upper halves of ymm.
const YMM: u32 = 0b110;
/// Those, the masks, and zmm.
const ZMM: u32 = 0b1110_0110;

const fn set(name: &'static str, leaf: u32, part: u32, register: u8, bit: u8, state: u32) -> InstructionSet {
    InstructionSet { name, leaf, part, register, bit, state }
}

/// What the portable backend may use, by its own names. 128-bit vectors in VEX form.
pub const PORTABLE: [(&str, InstructionSet); 11] = [
    ("has_sse3", set("sse3", 1, 0, 2, 0, 0)),
    ("has_ssse3", set("ssse3", 1, 0, 2, 9, 0)),
    ("has_sse41", set("sse4.1", 1, 0, 2, 19, 0)),
    ("has_sse42", set("sse4.2", 1, 0, 2, 20, 0)),
    ("has_popcnt", set("popcnt", 1, 0, 2, 23, 0)),
    ("has_avx", set("avx", 1, 0, 2, 28, YMM)),
    ("has_avx2", set("avx2", 7, 0, 1, 5, YMM)),
    ("has_fma", set("fma", 1, 0, 2, 12, YMM)),
    ("has_bmi1", set("bmi1", 7, 0, 1, 3, 0)),
    ("has_bmi2", set("bmi2", 7, 0, 1, 8, 0)),
    ("has_lzcnt", set("lzcnt", 0x8000_0001, 0, 2, 5, 0)),
];

/// What [`Features`] stand for, whole levels included.
pub fn of(features: Features) -> Vec<InstructionSet> {
    let mut needs: Vec<InstructionSet> = PORTABLE.iter().map(|(_, set)| *set).collect();
    needs.push(set("f16c", 1, 0, 2, 29, YMM));
    let wide = features.level == Level::V4;
    if wide {
        needs.extend([
            set("avx512f", 7, 0, 1, 16, ZMM),
            set("avx512dq", 7, 0, 1, 17, ZMM),
            set("avx512cd", 7, 0, 1, 28, ZMM),
            set("avx512bw", 7, 0, 1, 30, ZMM),
            set("avx512vl", 7, 0, 1, 31, ZMM),
        ]);
    }
    let optional = [
        (features.vnni && wide, set("avx512_vnni", 7, 0, 2, 11, ZMM)),
        (features.vnni && !wide, set("avx_vnni", 7, 1, 0, 4, YMM)),
        (features.vbmi, set("avx512_vbmi", 7, 0, 2, 1, ZMM)),
        (features.vbmi2, set("avx512_vbmi2", 7, 0, 2, 6, ZMM)),
        (features.popcnt_vector, set("avx512_vpopcntdq", 7, 0, 2, 14, ZMM)),
        (features.gfni, set("gfni", 7, 0, 2, 8, 0)),
        (features.bf16, set("avx512_bf16", 7, 1, 0, 5, ZMM)),
    ];
    needs.extend(optional.into_iter().filter(|(has, _)| *has).map(|(_, set)| set));
    needs
}
