//! A kernel instance for C: a header with a checked function, an object with the code of one block, a shared library of both.
//!
//! ```text
//! kernel scale(x: inout f32[N], by: f32)  ->  tvmc_status scale(int64_t N, float *x, size_t x_bytes, float by);
//! ```
//!
//! Dimensions that the instance does not fix come first, then the arguments in order; a tensor is a pointer and its length in bytes. The function
//! is defined where `NAME_IMPLEMENTATION` is defined before the header is included (once in a program that links the object; inside the
//! library already). It checks, in order: the processor; dimensions (0 to the largest extent); the kernel's own conditions; each tensor's pointer,
//! alignment (64 bytes) and length; that nothing written overlaps another argument. Then it runs all blocks of the grid on the calling
//! thread. It calls `malloc` and `free` for scratch memory, nothing else.
//!
//! The status has a code, the argument at fault, and a text. Nothing is written unless all checks passed.
//!
//! Refused: kernels that print; sizes computed with floats; shapes over scalar arguments that are no integers.

mod names;
mod writer;

use super::cpu::row;
use super::machine::lowered;
use crate::commands::Failure;
use names::Names;
use std::path::Path;
use std::process::Command;
use tvmc_cpu::Target;
use tvmc_ir::tile::Kernel;
use tvmc_passes::Bounds;
use writer::Writer;

/// What an instance becomes for C.
pub struct Export {
    /// The header, definition included.
    pub header: String,
    /// The object file.
    pub object: Vec<u8>,
    /// The beginning of the header's macros.
    guard: String,
}

impl Export {
    /// Compiles an instance.
    pub fn of(kernel: &Kernel, target: Target) -> Result<Self, Failure> {
        let (function, scalars) =
            lowered(kernel, &row(target), Vec::new(), Bounds::Proved).map_err(Failure::from_error)?;
        let names = Names::of(kernel);
        let code = tvmc_cpu::object(&function, target, &format!("{}_block", names.symbol))
            .map_err(Failure::from_error)?;
        let (arena, made_for) = (function.arena_bytes(), target.to_string());
        let writer = Writer { kernel, names: &names, scalars: &scalars, arena, made_for, needs: &code.needs };
        Ok(Self { header: writer.header()?, object: code.bytes, guard: names.guard() })
    }

    /// Links a shared library with the system's C compiler (`CC`, else `cc`).
    pub fn library(&self, output: &Path) -> Result<(), Failure> {
        // A name that nobody can know beforehand: others may write where temporary files are kept.
        let folder = tempfile::Builder::new()
            .prefix("tvmc-")
            .tempdir()
            .map_err(|error| Failure::user(format!("cannot make a temporary folder: {error}")))?;
        self.link(folder.path(), output)
    }

    fn link(&self, folder: &Path, output: &Path) -> Result<(), Failure> {
        let (header, object) = (folder.join("kernel.h"), folder.join("kernel.o"));
        let (source, library) = (folder.join("kernel.c"), folder.join("kernel.so"));
        let text = format!("#define {}_IMPLEMENTATION\n#include \"kernel.h\"\n", self.guard);
        for (path, bytes) in
            [(&header, self.header.as_bytes()), (&object, &self.object), (&source, text.as_bytes())]
        {
            std::fs::write(path, bytes)
                .map_err(|e| Failure::user(format!("cannot write {}: {e}", path.display())))?;
        }
        let compiler = std::env::var_os("CC").filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".into());
        let run = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&library, &source, &object])
            .output()
            .map_err(|error| {
                Failure::user(format!("cannot run the C compiler `{}`: {error}", compiler.to_string_lossy()))
                    .help("install one, name it in CC, or use --emit obj and --emit header")
            })?;
        if !run.status.success() {
            let text = String::from_utf8_lossy(&run.stderr).into_owned();
            return Err(Failure::user(format!("the C compiler could not link the library:\n{text}")));
        }
        let bytes = std::fs::read(&library)
            .map_err(|e| Failure::user(format!("cannot read the linked library: {e}")))?;
        crate::commands::save(output, &bytes)
    }
}
