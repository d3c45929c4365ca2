//! Kernels as relocatable objects, for other programs to link.
//!
//! The object has one symbol: code for one block, called as `tvmc_ir::lane::abi` says. Whoever calls it checks arguments and the processor, gives
//! scratch memory and walks the grid.
//!
//! What an object needs of a processor is said beside it. Code of the wide backend needs its [`Features`](tvmc_backend_x86::Features); code
//! of the portable one, asked for or fallen back to, needs what this host has of [`PORTABLE`] on x86-64, and nothing beyond the base elsewhere.
//!
//! Refused: `print`, for a linked program has no log to print to.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::Configurable;
use cranelift_module::default_libcall_names;
use cranelift_object::{ObjectBuilder, ObjectModule};
use tvmc_ir::lane::Verified;

use crate::kernel::{CompileError, Target, define_wide, for_each_print, isa, wide_code};
use crate::needs::{self, InstructionSet, PORTABLE};

/// The code of one block.
pub struct Object {
    /// The object file.
    pub bytes: Vec<u8>,
    /// What a processor must have to run it; empty on other architectures than x86-64.
    pub needs: Vec<InstructionSet>,
}

/// The instruction set that the portable backend makes objects for, and what of it a processor may lack.
fn portable() -> Result<(OwnedTargetIsa, Vec<InstructionSet>), CompileError> {
    let host = isa(true)?;
    let has =
        |name: &str| host.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool() == Some(true));
    let mut builder =
        cranelift_native::builder_with_options(false).map_err(|name| CompileError::Host(name.to_owned()))?;
    let mut needs = Vec::new();
    if cfg!(target_arch = "x86_64") {
        for (flag, set) in PORTABLE.iter().filter(|(flag, _)| has(flag)) {
            builder.enable(flag).map_err(|error| CompileError::Host(error.to_string()))?;
            needs.push(*set);
        }
    }
    let isa = builder.finish(host.flags().clone()).map_err(|error| CompileError::Host(error.to_string()))?;
    Ok((isa, needs))
}

/// An object file with the code of one block under a symbol.
pub fn object(function: &Verified, target: Target, symbol: &str) -> Result<Object, CompileError> {
    let mut prints = false;
    for_each_print(&function.body, &mut |_, _| prints = true);
    if prints {
        return Err(CompileError::Print(function.name.clone()));
    }
    let place = |error: &dyn std::fmt::Display| CompileError::Place(error.to_string());
    let (isa, portable_needs) = portable()?;
    let builder = ObjectBuilder::new(isa, symbol, default_libcall_names()).map_err(|error| place(&error))?;
    let mut module = ObjectModule::new(builder);
    let wide = match target {
        Target::Cranelift => None,
        Target::X86(features) => wide_code(function, features)?.map(|code| (code, features)),
    };
    let needs = match wide {
        Some((code, features)) => {
            define_wide(&mut module, &code, symbol)?;
            needs::of(features)
        }
        None => {
            tvmc_backend_cranelift::define(&mut module, function, symbol)?;
            portable_needs
        }
    };
    Ok(Object { bytes: module.finish().emit().map_err(|error| place(&error))?, needs })
}
