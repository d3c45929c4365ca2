//! Kernels as relocatable objects, for other programs to link.
//!
//! The object has one symbol: code for one block, called as `tvmc_ir::lane::abi` says. Whoever calls it checks arguments, gives scratch
//! memory and walks the grid.
//!
//! Refused: `print`, for a linked program has no log to print to.

use cranelift_module::default_libcall_names;
use cranelift_object::{ObjectBuilder, ObjectModule};
use tvmc_ir::lane::Verified;

use crate::kernel::{CompileError, Target, define_wide, for_each_print, isa, wide_code};

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
        Target::X86(features) => wide_code(function, features)?,
    };
    match code {
        Some(code) => define_wide(&mut module, &code, symbol)?,
        None => tvmc_backend_cranelift::define(&mut module, function, symbol)?,
    };
    module.finish().emit().map_err(|error| place(&error))
}
