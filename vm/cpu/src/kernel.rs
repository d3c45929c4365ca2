//! Compiled kernels: which backend makes the code, where it lies, how long it lives.
//!
//! Each kernel has a JIT module of its own: code pages that are written once and then made executable.
//! Bytes of the wide x86 backend go into the same kind of module as what Cranelift compiles. The module is
//! shared by all clones of a [`CompiledKernel`] and freed with the last one.
//!
//! A wide target falls back to the portable backend for what the wide one leaves to it (`print`, functions
//! beyond its limits); [`CompiledKernel::backend`] says what was used.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use tvmc_backend_cranelift::Allocation;
use tvmc_backend_x86::{CODE_ALIGNMENT, Code, Features};
use tvmc_ir::lane::{BufferDecl, Message, Op, Region, ScalarDecl, Stmt, Type, Verified, verify};

use crate::abi::Entry;

/// What to compile for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The portable backend: 128-bit vectors, for this host's processor.
    Cranelift,
    /// The wide x86-64 backend, for a processor with these features.
    X86(Features),
}

impl Target {
    /// The best that this host runs.
    pub fn native() -> Self {
        Features::detect().map_or(Target::Cranelift, Target::X86)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Cranelift => f.write_str("portable"),
            Target::X86(features) => features.fmt(f),
        }
    }
}

/// Which backend made a kernel's code.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Backend {
    /// The portable one.
    Cranelift,
    /// The wide one.
    X86,
}

/// Why a kernel was not compiled.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompileError {
    /// This host runs no code for the target.
    #[error("this processor cannot run code for {0}")]
    Host(String),
    /// The portable backend's reason.
    #[error(transparent)]
    Cranelift(#[from] tvmc_backend_cranelift::Error),
    /// The wide backend's reason.
    #[error(transparent)]
    X86(#[from] tvmc_backend_x86::Error),
    /// A kernel that prints, for a place without a log.
    #[error("`{0}` prints, which only kernels that tvmc runs can: take the `print` out to link it")]
    Print(String),
    /// No memory for the code, or a symbol that does not resolve.
    #[error("placing the code in memory failed: {0}")]
    Place(String),
}

/// Machine code of one kernel. Clones share it.
#[derive(Clone)]
pub struct CompiledKernel {
    inner: Arc<Inner>,
}

struct Inner {
    entry: Entry,
    facts: Facts,
    backend: Backend,
    compile_time: Duration,
    /// Owns the pages that `entry` points into; taken when dropped. The lock only makes it shareable.
    module: Mutex<Option<JITModule>>,
}

/// What launches need to know of the function.
struct Facts {
    name: String,
    lanes: u32,
    arena_bytes: usize,
    buffers: Vec<BufferDecl>,
    scalars: Vec<ScalarDecl>,
    messages: Vec<Message>,
    /// For each message, the operand types of the `print` that uses it.
    printed: Vec<Vec<Type>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let module = match self.module.get_mut() {
            Ok(module) => module.take(),
            Err(poisoned) => poisoned.into_inner().take(),
        };
        if let Some(module) = module {
            // SAFETY: this was the last owner of the kernel; launches borrow it, so no thread is in the code.
            unsafe { module.free_memory() };
        }
    }
}

/// Lane values above which code is large for the portable backend; 15,000 take its search nine seconds.
const LARGE: usize = 8_000;

impl CompiledKernel {
    /// Compiles for a target that this host can run.
    pub fn compile(function: &Verified, target: Target) -> Result<Self, CompileError> {
        match target {
            Target::Cranelift => Self::portable(function),
            Target::X86(features) => Self::wide(function, features),
        }
    }

    fn wide(function: &Verified, features: Features) -> Result<Self, CompileError> {
        if !runs(features) {
            return Err(CompileError::Host(features.to_string()));
        }
        let start = Instant::now();
        let Some(code) = wide_code(function, features)? else {
            return Self::portable(function);
        };
        let facts = Facts::of(function);
        let (entry, module) = place(host_isa()?, |module| define_wide(module, &code, &function.name))?;
        Ok(Self::new(entry, module, facts, Backend::X86, start.elapsed()))
    }

    /// Compiles with the portable backend. Code of more than [`LARGE`] lane values gets its registers in one pass: a search takes seconds and a gigabyte for it. What has no room on the
    /// stack then is searched after all.
    fn portable(function: &Verified) -> Result<Self, CompileError> {
        if function.values.len() > LARGE {
            match Self::with_isa(function, host_isa_for_large()?) {
                Err(CompileError::Cranelift(tvmc_backend_cranelift::Error::TooLarge(_))) => {}
                done => return done,
            }
        }
        Self::with_isa(function, host_isa()?)
    }

    /// Compiles with the portable backend for an instruction set that this host has.
    pub(crate) fn with_isa(function: &Verified, isa: OwnedTargetIsa) -> Result<Self, CompileError> {
        let start = Instant::now();
        let renumbered = number_prints(function);
        let function = renumbered.as_ref().unwrap_or(function);
        let (entry, module) =
            place(isa, |module| Ok(tvmc_backend_cranelift::define(module, function, &function.name)?))?;
        Ok(Self::new(entry, module, Facts::of(function), Backend::Cranelift, start.elapsed()))
    }

    fn new(entry: Entry, module: JITModule, facts: Facts, backend: Backend, compile_time: Duration) -> Self {
        let module = Mutex::new(Some(module));
        Self { inner: Arc::new(Inner { entry, facts, backend, compile_time, module }) }
    }

    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.inner.facts.name
    }

    /// Number of virtual lanes.
    pub fn lanes(&self) -> u32 {
        self.inner.facts.lanes
    }

    /// Declared buffer arguments, in order.
    pub fn buffers(&self) -> &[BufferDecl] {
        &self.inner.facts.buffers
    }

    /// Declared scalar arguments, in order.
    pub fn scalars(&self) -> &[ScalarDecl] {
        &self.inner.facts.scalars
    }

    /// Scratch memory that a thread needs.
    pub fn arena_bytes(&self) -> usize {
        self.inner.facts.arena_bytes
    }

    /// Which backend made the code.
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// How long compiling took, placement included.
    pub fn compile_time(&self) -> Duration {
        self.inner.compile_time
    }

    /// The entry point, valid while `self` or a clone lives.
    pub(crate) fn entry(&self) -> Entry {
        self.inner.entry
    }

    /// What a failed assertion says, with its place.
    pub(crate) fn failed(&self, number: u32) -> String {
        let message = self.inner.facts.messages.get(number as usize);
        message.map_or_else(|| format!("assertion {number} failed"), Message::failed)
    }

    /// The line that a print writes: its place, and its text with the operands.
    pub(crate) fn line(&self, number: u32, words: &[u32]) -> String {
        let facts = &self.inner.facts;
        match (facts.messages.get(number as usize), facts.printed.get(number as usize)) {
            (Some(message), Some(types)) => message.format(types, facts.lanes, words),
            _ => format!("message {number}"),
        }
    }
}

impl fmt::Debug for CompiledKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompiledKernel(@{}, {:?})", self.name(), self.backend())
    }
}

impl Facts {
    fn of(function: &Verified) -> Self {
        let mut printed = vec![Vec::new(); function.messages.len()];
        for_each_print(&function.body, &mut |number, args| {
            if let Some(types) = printed.get_mut(number as usize) {
                *types = args.iter().map(|arg| function.ty(*arg)).collect();
            }
        });
        Self {
            name: function.name.clone(),
            lanes: function.lanes,
            // The verifier's limit on arenas is far below any address space.
            arena_bytes: function.arena_bytes() as usize,
            buffers: function.buffers.clone(),
            scalars: function.scalars.clone(),
            messages: function.messages.clone(),
            printed,
        }
    }
}

/// Visits every `print`. Depth is bounded by the verifier.
pub(crate) fn for_each_print(region: &Region, visit: &mut impl FnMut(u32, &[tvmc_ir::lane::Value])) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Inst(inst) => {
                if let Op::Print(number) = inst.op {
                    visit(number, &inst.args);
                }
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => for_each_print(body, visit),
            Stmt::If { then, otherwise, .. } => {
                for_each_print(then, visit);
                for_each_print(otherwise, visit);
            }
        }
    }
}

/// The function with a message of its own for each `print` whose operand types differ from those of an earlier
/// one with the same message: a logged message's number must tell how to read its words. `None` if all is well.
fn number_prints(function: &Verified) -> Option<Verified> {
    let mut types: Vec<Option<Vec<Type>>> = vec![None; function.messages.len()];
    let mut conflict = false;
    for_each_print(&function.body, &mut |number, args| {
        let now: Vec<Type> = args.iter().map(|arg| function.ty(*arg)).collect();
        match &mut types[number as usize] {
            Some(first) => conflict |= *first != now,
            slot @ None => *slot = Some(now),
        }
    });
    if !conflict {
        return None;
    }
    let mut changed = function.clone().into_inner();
    let mut body = std::mem::take(&mut changed.body);
    renumber(&mut body, &mut changed.messages);
    changed.body = body;
    // Only message numbers changed, to messages that exist: it verifies as before.
    verify(changed).ok()
}

fn renumber(region: &mut Region, messages: &mut Vec<Message>) {
    for stmt in &mut region.stmts {
        match stmt {
            Stmt::Inst(inst) => {
                if let Op::Print(number) = &mut inst.op {
                    messages.push(messages[*number as usize].clone());
                    *number = messages.len() as u32 - 1;
                }
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => renumber(body, messages),
            Stmt::If { then, otherwise, .. } => {
                renumber(then, messages);
                renumber(otherwise, messages);
            }
        }
    }
}

/// Cranelift's view of this host; asked once.
/// The Cranelift IR of a function for this host, as text.
pub fn clif_text(function: &Verified) -> Result<String, CompileError> {
    Ok(tvmc_backend_cranelift::clif_text(function, &*host_isa()?)?)
}

fn host_isa() -> Result<OwnedTargetIsa, CompileError> {
    static ISA: OnceLock<Result<OwnedTargetIsa, CompileError>> = OnceLock::new();
    ISA.get_or_init(|| isa(false)).clone()
}

fn host_isa_for_large() -> Result<OwnedTargetIsa, CompileError> {
    static ISA: OnceLock<Result<OwnedTargetIsa, CompileError>> = OnceLock::new();
    ISA.get_or_init(|| isa_with(false, Allocation::SinglePass)).clone()
}

/// What the wide backend makes of a function; none for what it leaves to the portable one.
pub(crate) fn wide_code(function: &Verified, features: Features) -> Result<Option<Code>, CompileError> {
    match tvmc_backend_x86::compile(function, &features) {
        Ok(code) => Ok(Some(code)),
        Err(
            tvmc_backend_x86::Error::Unsupported { .. }
            | tvmc_backend_x86::Error::TooDeep
            | tvmc_backend_x86::Error::TooLarge(_),
        ) => Ok(None),
        Err(error @ tvmc_backend_x86::Error::Internal(_)) => Err(error.into()),
    }
}

/// Puts code of the wide backend into a module, under an exported symbol.
pub(crate) fn define_wide(
    module: &mut dyn Module,
    code: &Code,
    symbol: &str,
) -> Result<FuncId, CompileError> {
    let signature = tvmc_backend_cranelift::kernel_signature(module.isa())?;
    let refused = |error: cranelift_module::ModuleError| CompileError::Place(error.to_string());
    let id = module.declare_function(symbol, Linkage::Export, &signature).map_err(refused)?;
    module.define_function_bytes(id, CODE_ALIGNMENT as u64, &code.bytes, &[]).map_err(refused)?;
    Ok(id)
}

/// This host's instruction set, for code in pages of its own or for objects.
pub(crate) fn isa(pic: bool) -> Result<OwnedTargetIsa, CompileError> {
    isa_with(pic, Allocation::Backtracking)
}

fn isa_with(pic: bool, allocation: Allocation) -> Result<OwnedTargetIsa, CompileError> {
    let builder = cranelift_native::builder().map_err(|name| CompileError::Host(name.to_owned()))?;
    let flags = tvmc_backend_cranelift::flags_with(pic, allocation)?;
    builder.finish(flags).map_err(|error| CompileError::Host(error.to_string()))
}

/// Whether this host has the features.
fn runs(wanted: Features) -> bool {
    let Some(host) = Features::detect() else { return false };
    if wanted.level > host.level {
        return false;
    }
    let host = if wanted.level < host.level { host.narrowed() } else { host };
    let flags = |f: Features| [f.vnni, f.vbmi, f.vbmi2, f.popcnt_vector, f.gfni, f.bf16];
    flags(wanted).into_iter().zip(flags(host)).all(|(wanted, has)| has || !wanted)
}

/// A new module with one function in it, executable. On failure its memory is freed.
fn place(
    isa: OwnedTargetIsa,
    define: impl FnOnce(&mut JITModule) -> Result<FuncId, CompileError>,
) -> Result<(Entry, JITModule), CompileError> {
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    // Resolving symbols panics where it fails; the module is thrown away then.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let id = define(&mut module)?;
        module.finalize_definitions().map_err(|error| CompileError::Place(error.to_string()))?;
        Ok(module.get_finalized_function(id))
    }));
    let outcome = outcome.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        Err(CompileError::Place(text.unwrap_or_else(|| "a panic".to_owned())))
    });
    match outcome {
        Ok(address) => {
            // SAFETY: the address is that of a function with the kernel signature, which is `Entry`; it
            // stays valid as long as the module, which is returned beside it.
            let entry = unsafe { std::mem::transmute::<*const u8, Entry>(address) };
            Ok((entry, module))
        }
        Err(error) => {
            // SAFETY: nothing of this module has been given out.
            unsafe { module.free_memory() };
            Err(error)
        }
    }
}
