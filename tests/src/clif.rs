//! CLIF is read back by the reader that Cranelift's own tests use: a function's text is the same after a reading.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::Configurable;
use tvmc_ir::lane::Verified;

/// What CLIF of tests is made for: the host plays no part.
const X86_FEATURES: &[&str] =
    &["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_avx", "has_avx2", "has_fma"];

/// What CLIF is made for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Isa {
    /// x86-64 with AVX2.
    X86,
    /// aarch64.
    Arm,
}

impl Isa {
    fn open(self) -> Result<OwnedTargetIsa, String> {
        let (triple, features) = match self {
            Isa::X86 => ("x86_64-unknown-linux-gnu", X86_FEATURES),
            Isa::Arm => ("aarch64-unknown-linux-gnu", &[][..]),
        };
        let mut builder = cranelift_codegen::isa::lookup_by_name(triple).map_err(|e| e.to_string())?;
        for feature in features {
            builder.enable(feature).map_err(|e| e.to_string())?;
        }
        let flags = tvmc_backend_cranelift::flags(true).map_err(|e| e.to_string())?;
        builder.finish(flags).map_err(|e| e.to_string())
    }
}

/// A kernel's CLIF, which reads back.
pub fn text(function: &Verified, isa: Isa) -> Result<String, String> {
    let text = tvmc_backend_cranelift::clif_text(function, &*isa.open()?).map_err(|e| e.to_string())?;
    reads_back(&text)?;
    Ok(text)
}

/// Fails unless a text is read and printed alike.
pub fn reads_back(text: &str) -> Result<(), String> {
    let functions = cranelift_reader::parse_functions(text).map_err(|e| format!("CLIF is not read: {e}"))?;
    let again: String = functions.iter().map(|function| function.display().to_string()).collect();
    let mut lines = text.lines().zip(again.lines()).enumerate();
    match lines.find(|(_, (line, read))| line != read) {
        Some((at, (line, read))) => Err(format!("line {} of CLIF, `{line}`, reads back as `{read}`", at + 1)),
        None if text.lines().count() == again.lines().count() => Ok(()),
        None => Err("CLIF reads back with another number of lines".to_owned()),
    }
}
