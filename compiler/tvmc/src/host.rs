//! What this machine is: processor, caches, memory, huge pages. Read from the system's own files (Linux); elsewhere a fact is `None`.
//!
//! Nothing here fails, and nothing here touches a GPU.

use std::path::Path;

/// The processor's name.
pub fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// An instruction set, and whether the processor has it.
pub type CpuFeature = (&'static str, bool);

/// The instruction sets that the compiler knows of.
#[cfg(target_arch = "x86_64")]
pub fn cpu_features() -> Vec<CpuFeature> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        ("AVX2", has!("avx2")),
        ("FMA", has!("fma")),
        ("F16C", has!("f16c")),
        ("AVX-VNNI", has!("avxvnni")),
        ("AVX-512 F", has!("avx512f")),
        ("AVX-512 BW", has!("avx512bw")),
        ("AVX-512 DQ", has!("avx512dq")),
        ("AVX-512 VL", has!("avx512vl")),
        ("AVX-512 VBMI", has!("avx512vbmi")),
        ("AVX-512 VNNI", has!("avx512vnni")),
        ("AVX-512 BF16", has!("avx512bf16")),
    ]
}

/// The instruction sets that the compiler knows of: none on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub fn cpu_features() -> Vec<CpuFeature> {
    Vec::new()
}

/// A cache of the first processor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// 1 is nearest to the processor.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Its size.
    pub bytes: u64,
}

/// The caches of the first processor, nearest first.
pub fn caches() -> Vec<Cache> {
    let mut caches = Vec::new();
    for index in 0..8 {
        let folder = Path::new("/sys/devices/system/cpu/cpu0/cache").join(format!("index{index}"));
        let read = |name: &str| Some(std::fs::read_to_string(folder.join(name)).ok()?.trim().to_owned());
        let found = (|| {
            let bytes = size(&read("size")?)?;
            Some(Cache { level: read("level")?.parse().ok()?, kind: read("type")?, bytes })
        })();
        caches.extend(found);
    }
    caches
}

/// `48K` or `4M` in bytes.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// The largest cache in bytes; 0 where that is not known.
pub fn largest_cache() -> u64 {
    caches().iter().map(|cache| cache.bytes).max().unwrap_or(0)
}

/// Memory in bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What programs can still have.
    pub available: u64,
    /// Size of a huge page.
    pub huge_page: Option<u64>,
    /// Huge pages set aside.
    pub huge_pages_reserved: u64,
}

/// The machine's memory.
pub fn memory() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut words = line.split(':').nth(1)?.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        Some(if words.next() == Some("kB") { number << 10 } else { number })
    };
    Some(Memory {
        total: field("MemTotal")?,
        available: field("MemAvailable")?,
        huge_page: field("Hugepagesize"),
        huge_pages_reserved: field("HugePages_Total").unwrap_or(0),
    })
}

/// How the system hands out huge pages without being asked for each: `always`, `madvise` or `never`.
pub fn transparent_huge_pages() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let chosen = text.split('[').nth(1)?.split(']').next()?;
    Some(chosen.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("48K"), Some(48 << 10));
        assert_eq!(size("2M"), Some(2 << 20));
        assert_eq!(size("7"), Some(7));
        assert_eq!(size("x"), None);
        assert_eq!(size("1T"), None);
    }
}
