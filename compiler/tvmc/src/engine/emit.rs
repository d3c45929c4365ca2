//! Intermediate forms of a kernel instance as text, for `build --emit` and `--dump-passes`.
//!
//! The lane function is that of the chosen target: `--emit asm` of a machine with AVX-512 shows the lowering for 16 lanes, `--target gpu`
//! that for a workgroup. It is lowered once for each target row and kept.

use super::machine::{code_for_cpu, code_for_gpu, lowered};
use super::{Export, Features, Kernel, Level};
use crate::cli::{CpuLevel, Emit, MachineOptions, TargetName};
use crate::commands::Failure;
use tvmc_cpu::CompileError;
use tvmc_ir::lane::Verified;
use tvmc_ir::tile::Value;
use tvmc_passes::target::{self, Scratch, Target};
use tvmc_passes::{Bounds, History, Options, lower_with_history};

/// A kernel instance, shown in one form after another.
pub struct Forms<'a> {
    kernel: &'a Kernel,
    target: TargetName,
    /// Of the host; `None` where the x86 backend has nothing to offer.
    features: Option<Features>,
    /// Whether x86 code is for 256-bit vectors.
    v3: bool,
    cpu: CpuLevel,
    bounds: Bounds,
    lowered: Option<(Target, Verified)>,
    /// Made where someone asks how the lowering went.
    history: Option<History>,
}

/// Blocks that keep a target busy.
pub fn blocks(target: TargetName) -> u64 {
    match target {
        TargetName::Gpu | TargetName::Wgsl => target::WGSL.blocks,
        TargetName::Cranelift | TargetName::Cpu | TargetName::X86 | TargetName::Interp => 1,
    }
}

impl<'a> Forms<'a> {
    /// The forms of an instance for a target.
    pub fn new(kernel: &'a Kernel, options: &MachineOptions) -> Self {
        let features = Features::detect();
        let narrow = features.is_some_and(|f| f.level == Level::V3) && options.cpu == CpuLevel::Native;
        let v3 = options.cpu == CpuLevel::V3 || narrow;
        let (target, cpu, bounds) = (options.target, options.cpu, options.bounds());
        Self { kernel, target, features, v3, cpu, bounds, lowered: None, history: None }
    }

    /// The last form before machine code: what the target's backend is shown as.
    pub fn native(&self) -> Emit {
        match self.target {
            TargetName::Gpu | TargetName::Wgsl => Emit::Wgsl,
            TargetName::Cranelift => Emit::Clif,
            TargetName::Cpu if self.features.is_none() => Emit::Clif,
            TargetName::Cpu | TargetName::X86 | TargetName::Interp => Emit::Asm,
        }
    }

    /// The row of the target table that a form is lowered for.
    fn row(&self, form: Emit) -> Target {
        let form = if form == Emit::Lane { self.native() } else { form };
        match form {
            Emit::Wgsl => target::WGSL,
            Emit::Clif => target::CRANELIFT,
            _ if self.v3 => target::X86_V3,
            _ => target::X86_V4,
        }
    }

    /// Lanes of the lowering for the target.
    pub fn lanes(&self) -> u32 {
        self.row(Emit::Lane).lanes
    }

    /// What its scratch is.
    pub fn scratch(&self) -> Scratch {
        self.row(Emit::Lane).scratch
    }

    fn lane(&mut self, form: Emit) -> Result<&Verified, Failure> {
        let row = self.row(form);
        if self.lowered.as_ref().is_none_or(|(known, _)| *known != row) {
            self.lowered = None;
        }
        match &mut self.lowered {
            Some((_, function)) => Ok(function),
            empty @ None => {
                let (function, _) =
                    lowered(self.kernel, &row, Vec::new(), self.bounds).map_err(Failure::from_error)?;
                Ok(&empty.insert((row, function)).1)
            }
        }
    }

    /// How the lowering for the target went.
    pub fn history(&mut self) -> Result<&History, Failure> {
        let row = self.row(Emit::Lane);
        match &mut self.history {
            Some(history) => Ok(history),
            empty @ None => {
                let options = Options { bounds: self.bounds, ..Options::default() };
                let (_, history) =
                    lower_with_history(self.kernel, &row, &options).map_err(Failure::from_error)?;
                Ok(empty.insert(history))
            }
        }
    }

    /// What the last pass over the lane function took away, as a unified diff.
    pub fn cleanup(&mut self) -> Result<String, Failure> {
        let history = self.history()?;
        let diff = similar::TextDiff::from_lines(&history.emitted, &history.swept);
        Ok(diff.unified_diff().context_radius(2).header("emitted", "cleaned up").to_string())
    }

    /// What became of loops that are to load ahead (`pipeline`).
    pub fn ahead(&mut self) -> Result<&[String], Failure> {
        Ok(&self.history()?.notes)
    }

    /// The instance for C. Its function is named as the kernel is.
    pub fn export(&self) -> Result<Export, Failure> {
        if self.bounds == Bounds::Checked {
            return Err(Failure::usage(
                "code for C has its bounds proved, and its header checks lengths: leave --bounds checked out, or try the kernel with `tvmc run --bounds checked`",
            ));
        }
        let target = match (self.target, self.features) {
            // For a level by name the object runs on every processor of the level; without one, on this host's like.
            (TargetName::Cpu | TargetName::X86, Some(features)) => tvmc_cpu::Target::X86(match self.cpu {
                CpuLevel::Native => features,
                CpuLevel::V3 => Features::baseline(Level::V3),
                CpuLevel::V4 => Features::baseline(Level::V4),
            }),
            (TargetName::Cpu | TargetName::Cranelift, _) => tvmc_cpu::Target::Cranelift,
            (TargetName::X86, None) => {
                return Err(Failure::user("this processor lacks AVX2 and FMA: use --target cranelift"));
            }
            (TargetName::Gpu | TargetName::Wgsl | TargetName::Interp, _) => {
                return Err(Failure::usage("objects and libraries are for the CPU: leave --target out"));
            }
        };
        Export::of(self.kernel, target)
    }

    /// The text of one form of the instance; of the forms before an instance, the instance itself.
    pub fn text(&mut self, form: Emit) -> Result<String, Failure> {
        match form {
            Emit::Tokens | Emit::Ast | Emit::Program | Emit::Tile | Emit::Tvm => Ok(self.kernel.to_string()),
            Emit::Header | Emit::Obj | Emit::Lib => Ok(self.export()?.header),
            Emit::Laid => {
                let History { kernel, placements, .. } = self.history()?;
                let note = |value: Value| {
                    let placement = placements.get(value.index())?;
                    Some(placement.as_ref().map_or("only inside its user".to_owned(), ToString::to_string))
                };
                Ok(kernel.annotated(&note).to_string())
            }
            Emit::Lane => Ok(self.lane(form)?.to_string()),
            Emit::Clif => {
                let function = self.lane(form)?;
                code_for_cpu(function, || tvmc_cpu::clif_text(function)).map_err(Failure::from_error)
            }
            Emit::Wgsl => {
                let function = self.lane(form)?;
                let limits = tvmc_backend_wgsl::Limits::default();
                code_for_gpu(function, || tvmc_backend_wgsl::compile(function, &limits), |error| Some(error))
                    .map(|shader| shader.source)
                    .map_err(Failure::from_error)
            }
            Emit::Asm => {
                let level = if self.v3 { Level::V3 } else { Level::V4 };
                let features = match self.features {
                    Some(features) if self.v3 => features.narrowed(),
                    Some(features) if features.level == level => features,
                    Some(_) | None => Features::baseline(level),
                };
                let function = self.lane(form)?;
                let compile = || tvmc_backend_x86::compile(function, &features).map_err(CompileError::X86);
                let code = code_for_cpu(function, compile).map_err(Failure::from_error)?;
                Ok(tvmc_backend_x86::disassemble(&code))
            }
        }
    }
}
