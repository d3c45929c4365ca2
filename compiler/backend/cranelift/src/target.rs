//! What the translation must know of the target: pointer width, calling convention, and which of several
//! equal instruction sequences Cranelift's lowering turns into the best code.
//!
//! On x86-64 the 128-bit lowerings rest on SSSE3 and SSE4.1; without them Cranelift would call host
//! functions for rounding and byte shuffles, so such a target is refused.

use cranelift_codegen::ir::{self, AbiParam, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};

use crate::Error;

/// Facts of a target.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Target {
    /// Whether `fma` is an instruction and not a call.
    pub fused: bool,
    /// Whether the architecture is x86-64: its byte dot product wants its signed operand first.
    pub x86: bool,
    /// Of kernels, and of the host's print function.
    pub convention: CallConv,
}

impl Target {
    /// Asks Cranelift.
    pub fn of(isa: &dyn TargetIsa) -> Result<Target, Error> {
        let has = |name: &str| {
            isa.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool().unwrap_or(false))
        };
        match isa.name() {
            "x64" => {
                for needed in ["has_ssse3", "has_sse41"] {
                    if !has(needed) {
                        return Err(Error::Target(format!("x86-64 without `{needed}`")));
                    }
                }
                // Cranelift uses the VEX form of fma, which the operating system must allow.
                let fused = has("has_fma") && has("has_avx");
                Ok(Target { fused, x86: true, convention: CallConv::SystemV })
            }
            "aarch64" => Ok(Target { fused: true, x86: false, convention: isa.default_call_conv() }),
            other => Err(Error::Target(other.to_owned())),
        }
    }

    /// `fn(args, block_x, block_y, block_z)`.
    pub fn kernel_signature(&self) -> ir::Signature {
        let mut signature = ir::Signature::new(self.convention);
        signature.params.push(AbiParam::new(types::I64));
        for _ in 0..3 {
            signature.params.push(AbiParam::new(types::I32));
        }
        signature
    }

    /// `fn(log, message, words, count)`.
    pub fn print_signature(&self) -> ir::Signature {
        let mut signature = ir::Signature::new(self.convention);
        for ty in [types::I64, types::I32, types::I64, types::I32] {
            signature.params.push(AbiParam::new(ty));
        }
        signature
    }
}
