//! Where kernels run.

use crate::cli::{BoundsPolicy, CpuLevel, MachineOptions, TargetName, TunedChoices};

/// A kind of machine.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// The best native code for this processor.
    #[default]
    Cpu,
    /// Native code by Cranelift, 128-bit vectors, on any processor it knows.
    Cranelift,
    /// A GPU through wgpu.
    Gpu,
    /// The tile interpreter: the definition, slow.
    Interpreter,
}

/// A machine to ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// Its kind.
    pub target: Target,
    /// Worker threads of a CPU; all cores if none is given.
    pub threads: Option<usize>,
    /// Part of the name of the GPU to use.
    pub device: Option<String>,
}

impl Machine {
    pub(super) fn options(&self) -> MachineOptions {
        MachineOptions {
            target: match self.target {
                Target::Cpu => TargetName::Cpu,
                Target::Cranelift => TargetName::Cranelift,
                Target::Gpu => TargetName::Gpu,
                Target::Interpreter => TargetName::Interp,
            },
            cpu: CpuLevel::Native,
            device: self.device.clone(),
            threads: self.threads.into_iter().collect(),
            tuned: TunedChoices::On,
            bounds: BoundsPolicy::Proved,
        }
    }
}
