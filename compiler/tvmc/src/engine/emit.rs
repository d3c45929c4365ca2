//! Intermediate forms of a kernel instance as text, for `build --emit`.

use super::machine::lowered;
use super::{Features, Kernel, Level};
use crate::cli::{CpuLevel, Emit, MachineOptions, TargetName};
use crate::commands::Failure;
use tvmc_passes::target;

/// The text of an instance in one of its forms.
pub fn emit(kernel: &Kernel, form: Emit, options: &MachineOptions) -> Result<String, Failure> {
    let features = Features::detect();
    let v3 = options.cpu == CpuLevel::V3 || features.is_some_and(|f| f.level == Level::V3);
    let row = match (form, options.target) {
        (Emit::Wgsl, _) | (_, TargetName::Gpu | TargetName::Wgsl) => target::WGSL,
        (Emit::Clif, _) | (_, TargetName::Cranelift) => target::CRANELIFT,
        (Emit::Asm, _) | (_, TargetName::X86 | TargetName::Cpu | TargetName::Interp) if v3 => target::X86_V3,
        (Emit::Asm, _) | (_, TargetName::X86 | TargetName::Cpu | TargetName::Interp) => target::X86_V4,
    };
    let (function, _) = lowered(kernel, &row, Vec::new()).map_err(Failure::from_error)?;
    match form {
        Emit::Ast | Emit::Program | Emit::Tile => Ok(kernel.to_string()),
        Emit::Lane => Ok(function.to_string()),
        Emit::Clif => tvmc_cpu::clif_text(&function).map_err(Failure::from_error),
        Emit::Wgsl => tvmc_backend_wgsl::compile(&function, &tvmc_backend_wgsl::Limits::default())
            .map(|shader| shader.source)
            .map_err(Failure::from_error),
        Emit::Asm => {
            let level = if v3 { Level::V3 } else { Level::V4 };
            let features = match features {
                Some(features) if v3 => features.narrowed(),
                Some(features) => features,
                None => Features::baseline(level),
            };
            let code = tvmc_backend_x86::compile(&function, &features).map_err(Failure::from_error)?;
            Ok(tvmc_backend_x86::disassemble(&code))
        }
    }
}
