//! Kernels as relocatable objects, for other programs to link.
//!
//! The object has one symbol: code for one block, called as `tvmc_ir::lane::abi` says. Whoever calls it checks arguments, gives scratch
//! memory and walks the grid.
//!
//! Refused: `print`, for a linked program has no log to print to.

use cranelift_module::{Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use tvmc_backend_x86::CODE_ALIGNMENT;
use tvmc_ir::lane::Verified;

use crate::kernel::{CompileError, Target, for_each_print, isa};

/// An object file with the code of one block under a symbol.
pub fn object(function: &Verified, target: Target, symbol: &str) -> Result<Vec<u8>, CompileError> {
    let mut prints = false;
    for_each_print(&function.body, &mut |_, _| prints = true);
    if prints {
        return Err(CompileError::Print(function.name.clone()));
    }
    let place = |error: &dyn std::fmt::Display| CompileError::Place(error.to_string());
    let builder =
        ObjectBuilder::new(isa(true)?, symbol, default_libcall_names()).map_err(|error| place(&error))?;
    let mut module = ObjectModule::new(builder);
    let code = match target {
        Target::Cranelift => None,
        Target::X86(features) => match tvmc_backend_x86::compile(function, &features) {
            Ok(code) => Some(code),
            Err(
                tvmc_backend_x86::Error::Unsupported { .. }
                | tvmc_backend_x86::Error::TooDeep
                | tvmc_backend_x86::Error::TooLarge(_),
            ) => None,
            Err(error @ tvmc_backend_x86::Error::Internal(_)) => return Err(error.into()),
        },
    };
    match code {
        Some(code) => {
            let signature = tvmc_backend_cranelift::kernel_signature(module.isa())?;
            let id = module
                .declare_function(symbol, Linkage::Export, &signature)
                .map_err(|error| place(&error))?;
            module
                .define_function_bytes(id, CODE_ALIGNMENT as u64, &code.bytes, &[])
                .map_err(|error| place(&error))?;
        }
        None => {
            tvmc_backend_cranelift::define(&mut module, function, symbol)?;
        }
    }
    module.finish().emit().map_err(|error| place(&error))
}
