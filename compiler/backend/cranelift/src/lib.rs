//! Lane IR to Cranelift IR (CLIF) with 128-bit vectors: the portable CPU backend, for x86-64 and aarch64.
//!
//! | module | what it maps |
//! |---|---|
//! | `translate` | the frame of a function: arguments, regions, loops, branches; which CLIF values hold a lane value |
//! | `words` | the vocabulary: constants, selection, bit casts, lanes of a vector, loops over lanes |
//! | `pure` | the op table |
//! | `halves` | f16, bf16 and unfused `fma` by exact integer and f64 sequences |
//! | `packed` | `dot4`, `unpack`, `load.unpack` |
//! | `memory` | loads and stores, masked or not |
//! | `collective` | splat, reduce, extract, shuffle, table look-up |
//! | `effects` | assert and print |
//!
//! A uniform value is one CLIF value: `f32`, `i32`, `i64`, or `i8` for a bool (0 or 1). A varying value is
//! `ceil(lanes / 4)` values of `f32x4` or `i32x4`; a varying bool is an `i32x4` of all-ones and all-zeros
//! lanes. What the lanes past the last hold is undefined; reductions and memory operations leave them out,
//! so no byte is touched that lane IR does not name.
//!
//! ```text
//! v3: v.f32 = fadd v1, v2      lanes 6:   v7 = fadd.f32x4 v3, v5
//!                                         v8 = fadd.f32x4 v4, v6    lanes 4, 5, and two that mean nothing
//! ```
//!
//! Code is emitted in final order and meant for `opt_level=none`: Cranelift's own scheduling undoes an
//! order that was chosen for few live registers. [`flags`] gives the settings.
//!
//! Refused with a typed error: targets other than x86-64 with SSE4.1 and 64-bit little-endian aarch64;
//! functions above [`MAX_INSTRUCTIONS`] CLIF instructions or [`MAX_FRAME_BYTES`] bytes of stack.
#![forbid(unsafe_code)]

mod atomic;
mod collective;
mod effects;
mod halves;
mod memory;
mod packed;
mod pure;
mod target;
mod translate;
mod words;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cranelift_codegen::Context;
use cranelift_codegen::ir::{self, UserExternalName, UserFuncName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::{DataDescription, FuncId, Linkage, Module};
use tvmc_ir::lane::{TableDecl, Verified};

use target::Target;
use translate::Translator;

/// Most CLIF instructions of one function: beyond, the register allocator's limits are near.
pub const MAX_INSTRUCTIONS: usize = 1 << 20;

/// Most bytes of stack that a kernel may use: it runs on whatever thread launches it.
pub const MAX_FRAME_BYTES: u32 = 1 << 20;

/// Why a function was not compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The module's target cannot run what this backend emits.
    Target(String),
    /// The function is beyond a limit.
    TooLarge(String),
    /// The function multiplies matrices that lanes hold together (fragments): no lowering makes such for a CPU.
    Fragments,
    /// Cranelift or the module refused.
    Refused(String),
    /// Cranelift panicked. The module it worked on is not to be used again.
    Panicked(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Target(what) => write!(f, "the portable backend has no code for this target: {what}"),
            Error::TooLarge(what) => write!(f, "the kernel is too large for the portable backend: {what}"),
            Error::Fragments => write!(f, "the portable backend does not compile `fragment`"),
            Error::Refused(what) => write!(f, "the portable backend failed: {what}"),
            Error::Panicked(what) => write!(f, "internal error of the portable backend: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// How registers are found for values.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Allocation {
    /// By a search that goes back on its choices: the best code. Its time grows faster than the code.
    Backtracking,
    /// In one pass, with most values in memory between two uses: in time with the length of the code, which is two to four times as long.
    SinglePass,
}

/// The settings that kernels are compiled with. `pic` is for object files.
pub fn flags(pic: bool) -> Result<settings::Flags, Error> {
    flags_with(pic, Allocation::Backtracking)
}

/// The same with another way to find registers.
pub fn flags_with(pic: bool, allocation: Allocation) -> Result<settings::Flags, Error> {
    let mut builder = settings::builder();
    let allocation = match allocation {
        Allocation::Backtracking => "backtracking",
        Allocation::SinglePass => "single_pass",
    };
    let choices = [
        ("regalloc_algorithm", allocation),
        ("opt_level", "none"),
        ("is_pic", if pic { "true" } else { "false" }),
        ("use_colocated_libcalls", "false"),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("unwind_info", "false"),
        ("enable_verifier", "true"),
    ];
    for (name, value) in choices {
        builder.set(name, value).map_err(|error| Error::Refused(format!("setting {name}: {error}")))?;
    }
    Ok(settings::Flags::new(builder))
}

/// Compiles a kernel into a module under an exported symbol, with its tables as read-only data. Its calling
/// convention is that of `tvmc_ir::lane::abi`; on x86-64 it is System V on every system.
pub fn define(module: &mut dyn Module, function: &Verified, symbol: &str) -> Result<FuncId, Error> {
    guarded(|| {
        let target = Target::of(module.isa())?;
        let mut tables = Vec::with_capacity(function.tables.len());
        for table in &function.tables {
            let id = module.declare_anonymous_data(false, false).map_err(|e| refused(&e))?;
            let mut data = DataDescription::new();
            data.define(table_bytes(table).into_boxed_slice());
            data.set_align(64);
            module.define_data(id, &data).map_err(|e| refused(&e))?;
            tables.push(id);
        }
        let mut context = module.make_context();
        context.func.signature = target.kernel_signature();
        let id = module
            .declare_function(symbol, Linkage::Export, &context.func.signature)
            .map_err(|e| refused(&e))?;
        context.func.name = UserFuncName::user(0, id.as_u32());
        let tables =
            tables.into_iter().map(|id| module.declare_data_in_func(id, &mut context.func)).collect();
        translate(function, target, &mut context, tables, module.isa())?;
        module.define_function(id, &mut context).map_err(|e| refused(&e))?;
        let layout = context.compiled_code().and_then(|code| code.buffer.frame_layout());
        let frame = layout.map_or(0, |layout| layout.frame_to_fp_offset);
        if frame > MAX_FRAME_BYTES {
            let message = format!("{frame} bytes of stack, may be {MAX_FRAME_BYTES}");
            return Err(Error::TooLarge(message));
        }
        Ok(id)
    })
}

/// The signature of every kernel: what [`define`] declares, for modules that take foreign bytes.
pub fn kernel_signature(isa: &dyn TargetIsa) -> Result<ir::Signature, Error> {
    Ok(Target::of(isa)?.kernel_signature())
}

/// The CLIF of a kernel for a target, before Cranelift works on it.
pub fn clif_text(function: &Verified, isa: &dyn TargetIsa) -> Result<String, Error> {
    guarded(|| {
        let target = Target::of(isa)?;
        let mut context = Context::new();
        context.func.signature = target.kernel_signature();
        let tables = (0..function.tables.len() as u32)
            .map(|index| {
                let name =
                    context.func.declare_imported_user_function(UserExternalName { namespace: 1, index });
                context.func.create_global_value(ir::GlobalValueData::Symbol {
                    name: ir::ExternalName::user(name),
                    offset: ir::immediates::Imm64::new(0),
                    colocated: false,
                    tls: false,
                })
            })
            .collect();
        translate(function, target, &mut context, tables, isa)?;
        context.verify(isa).map_err(|e| Error::Refused(e.to_string()))?;
        Ok(context.func.display().to_string())
    })
}

/// Fills the context's function.
fn translate(
    function: &Verified,
    target: Target,
    context: &mut Context,
    tables: Vec<ir::GlobalValue>,
    isa: &dyn TargetIsa,
) -> Result<(), Error> {
    if !function.fragments.is_empty() {
        return Err(Error::Fragments);
    }
    for &table in &tables {
        // Data may lie further from the code than 32-bit displacements reach.
        if let ir::GlobalValueData::Symbol { colocated, .. } = &mut context.func.global_values[table] {
            *colocated = false;
        }
    }
    let mut scratch = FunctionBuilderContext::new();
    Translator::new(function, target, &mut context.func, &mut scratch, tables).run(isa.frontend_config())
}

/// The entries, padded with zeros to a power of two, which is what makes the index's modulo a mask.
fn table_bytes(table: &TableDecl) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * table.entries.len().next_power_of_two());
    for entry in &table.entries {
        bytes.extend_from_slice(&entry.to_le_bytes());
    }
    bytes.resize(4 * table.entries.len().next_power_of_two(), 0);
    bytes
}

fn refused(error: &cranelift_module::ModuleError) -> Error {
    match error {
        cranelift_module::ModuleError::Compilation(inner) => Error::Refused(format!("{inner:?}")),
        other => Error::Refused(other.to_string()),
    }
}

/// Turns a panic of Cranelift into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        Err(Error::Panicked(text))
    })
}

#[cfg(test)]
mod tests;
