//! Runs compiled kernels in guarded memory and compares them with the interpreter.
//!
//! Every buffer lies between two pages that may not be touched: once its last word ends at the upper
//! one, once its first byte follows the lower one, so any access outside is a fault.
#![allow(dead_code)]

use std::ptr::NonNull;

use tvmc_backend_x86::{Code, Features, Level, Options, compile_with};
use tvmc_interp::lane::{Argument, Launch, run};
use tvmc_ir::lane::{Access, Function, Verified, verify};

const PAGE: usize = 4096;

/// Pages of memory between two guard pages.
pub struct Guarded {
    map: NonNull<u8>,
    pages: usize,
    start: usize,
    len: usize,
}

/// Where a buffer lies in its pages.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// At the first byte.
    Start,
    /// With its end, rounded up to 4 bytes, at the last byte.
    End,
}

impl Guarded {
    pub fn new(len: usize, placement: Placement) -> Self {
        let padded = len.next_multiple_of(4);
        let pages = padded.div_ceil(PAGE).max(1);
        let size = (pages + 2) * PAGE;
        // SAFETY: an anonymous mapping at an address of the system's choice.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(map, libc::MAP_FAILED);
        let map = NonNull::new(map.cast::<u8>()).unwrap();
        // SAFETY: the inner pages of the mapping just made.
        let result = unsafe {
            libc::mprotect(map.as_ptr().add(PAGE).cast(), pages * PAGE, libc::PROT_READ | libc::PROT_WRITE)
        };
        assert_eq!(result, 0);
        let start = match placement {
            Placement::Start => PAGE,
            Placement::End => PAGE + pages * PAGE - padded,
        };
        Self { map, pages, start, len }
    }

    pub fn with(bytes: &[u8], placement: Placement) -> Self {
        let mut this = Self::new(bytes.len(), placement);
        this.bytes_mut().copy_from_slice(bytes);
        this
    }

    pub fn pointer(&self) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe { self.map.as_ptr().add(self.start) }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` readable bytes.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `len` writable bytes, borrowed through `self`.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.map.as_ptr().cast(), (self.pages + 2) * PAGE) };
    }
}

#[repr(C)]
pub struct KernelArgs {
    buffers: *const *mut u8,
    scalars: *const u64,
    arena: *mut u8,
    status: *mut u32,
    grid: [i32; 4],
    print: *const u8,
    log: *const u8,
}

pub type Entry = unsafe extern "sysv64" fn(*const KernelArgs, i32, i32, i32);

/// Code in executable memory.
pub struct Executable {
    memory: Guarded,
}

impl Executable {
    pub fn new(code: &Code) -> Self {
        let memory = Guarded::with(&code.bytes, Placement::Start);
        // SAFETY: the inner pages of a mapping that `memory` owns.
        let result = unsafe {
            libc::mprotect(memory.pointer().cast(), memory.pages * PAGE, libc::PROT_READ | libc::PROT_EXEC)
        };
        assert_eq!(result, 0);
        Self { memory }
    }

    pub fn entry(&self) -> Entry {
        // SAFETY: the backend's code follows this signature and lives as long as `self`.
        unsafe { std::mem::transmute::<*mut u8, Entry>(self.memory.pointer()) }
    }
}

/// A launch that can be repeated.
pub struct Prepared {
    pointers: Vec<*mut u8>,
    scalars: Vec<u64>,
    arena: Guarded,
    grid: [u32; 3],
}

impl Prepared {
    pub fn new(function: &Function, grid: [u32; 3], buffers: &[Guarded], scalars: &[u64]) -> Self {
        // As if another kernel had used it: not zero.
        let arena = Guarded::with(&vec![0xa5; function.arena_bytes() as usize], Placement::Start);
        Self {
            pointers: buffers.iter().map(Guarded::pointer).collect(),
            scalars: scalars.to_vec(),
            arena,
            grid,
        }
    }

    fn args(&self, status: &mut u32) -> KernelArgs {
        KernelArgs {
            buffers: self.pointers.as_ptr(),
            scalars: self.scalars.as_ptr(),
            arena: self.arena.pointer(),
            status,
            grid: [self.grid[0] as i32, self.grid[1] as i32, self.grid[2] as i32, 0],
            print: std::ptr::null(),
            log: std::ptr::null(),
        }
    }

    /// Runs block 0 with known values in the registers that the callee must keep; gives the bits that
    /// came back changed.
    #[cfg(target_arch = "x86_64")]
    pub fn run_watching_saved_registers(&self, entry: Entry) -> u64 {
        let mut status = 0_u32;
        let args = self.args(&mut status);
        let changed: u64;
        // SAFETY: calls `entry` as `run` does; rbx and rbp are restored here, the rest is declared.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "push rbp",
                "mov rbx, 0x11",
                "mov rbp, 0x22",
                "mov r12, 0x33",
                "mov r13, 0x44",
                "mov r14, 0x55",
                "mov r15, 0x66",
                "call rax",
                "xor rbx, 0x11",
                "xor rbp, 0x22",
                "xor r12, 0x33",
                "xor r13, 0x44",
                "xor r14, 0x55",
                "xor r15, 0x66",
                "or rbx, rbp",
                "or rbx, r12",
                "or rbx, r13",
                "or rbx, r14",
                "or rbx, r15",
                "mov rax, rbx",
                "pop rbp",
                "pop rbx",
                inlateout("rax") entry => changed,
                in("rdi") &args,
                in("rsi") 0,
                in("rdx") 0,
                in("rcx") 0,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                clobber_abi("sysv64"),
            );
        }
        changed
    }

    /// Runs all blocks; gives the status word.
    pub fn run(&self, entry: Entry) -> u32 {
        let mut status = 0_u32;
        let grid = self.grid;
        let args = self.args(&mut status);
        for z in 0..grid[2] {
            for y in 0..grid[1] {
                for x in 0..grid[0] {
                    // SAFETY: the pointers are those of memory that the caller keeps alive; the interpreter
                    // has run the same launch, so its accesses are within bounds.
                    unsafe { entry(&args, x as i32, y as i32, z as i32) };
                }
            }
        }
        status
    }
}

/// Runs all blocks once; gives the status word.
pub fn execute(
    entry: Entry,
    function: &Function,
    grid: [u32; 3],
    buffers: &[Guarded],
    scalars: &[u64],
) -> u32 {
    Prepared::new(function, grid, buffers, scalars).run(entry)
}

/// The feature sets that this host can run.
pub fn feature_sets() -> Vec<Features> {
    let Some(host) = Features::detect() else { return Vec::new() };
    let mut sets = vec![Features::baseline(Level::V3), host.narrowed()];
    if host.level == Level::V4 {
        sets.extend([Features::baseline(Level::V4), Features { gfni: false, ..host }, host]);
    }
    sets.dedup();
    sets
}

/// Compiles with all checks.
pub fn compiled(function: &Verified, features: &Features) -> Code {
    compile_with(function, features, Options { check: true })
        .unwrap_or_else(|error| panic!("{} on {features}: {error}\n{}", function.name, &**function))
}

/// A launch: buffers and scalars.
pub struct Case {
    pub grid: [u32; 3],
    pub buffers: Vec<Vec<u8>>,
    pub scalars: Vec<u64>,
}

/// Runs on every feature set and compares all buffers with the interpreter's; `floats` names buffers
/// whose words are f32, where any NaN equals any other.
pub fn check(function: Function, case: &Case, floats: &[usize]) {
    let text = function.to_string();
    let function = verify(function).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let mut expected = case.buffers.clone();
    let arguments = expected
        .iter_mut()
        .zip(&function.buffers)
        .map(|(bytes, decl)| match decl.access {
            Access::Read => Argument::Read(bytes),
            Access::Write | Access::ReadWrite => Argument::Write(bytes),
        })
        .collect();
    let outcome = run(&function, Launch::new(case.grid, arguments, &case.scalars))
        .unwrap_or_else(|trap| panic!("{trap}\n{text}"));
    for features in feature_sets() {
        let code = compiled(&function, &features);
        let executable = Executable::new(&code);
        for placement in [Placement::Start, Placement::End] {
            let buffers: Vec<Guarded> =
                case.buffers.iter().map(|bytes| Guarded::with(bytes, placement)).collect();
            if std::env::var_os("TRACE").is_some() {
                eprintln!(
                    "{} {features} {placement:?}\n{text}\n{}",
                    function.name,
                    tvmc_backend_x86::disassemble(&code)
                );
            }
            let status = execute(executable.entry(), &function, case.grid, &buffers, &case.scalars);
            let failed = outcome.failure.map_or(0, |failure| failure.message + 1);
            assert_eq!(status, failed, "{} on {features}", function.name);
            for (number, (found, expected)) in buffers.iter().zip(&expected).enumerate() {
                compare(found.bytes(), expected, floats.contains(&number)).unwrap_or_else(|difference| {
                    panic!(
                        "{} on {features}, {placement:?}: buffer {number}, {difference}\n{text}\n{}",
                        function.name,
                        tvmc_backend_x86::disassemble(&code)
                    )
                });
            }
        }
    }
}

fn compare(found: &[u8], expected: &[u8], floats: bool) -> Result<(), String> {
    assert_eq!(found.len(), expected.len());
    if found == expected {
        return Ok(());
    }
    let word = |bytes: &[u8], at: usize| {
        let mut word = [0; 4];
        let end = bytes.len().min(at + 4);
        word[..end - at].copy_from_slice(&bytes[at..end]);
        u32::from_le_bytes(word)
    };
    for at in (0..found.len()).step_by(4) {
        let (a, b) = (word(found, at), word(expected, at));
        let nans = floats && f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan();
        if a != b && !nans {
            return Err(format!(
                "word {}: {a:#010x} ({:?}), expected {b:#010x} ({:?})",
                at / 4,
                f32::from_bits(a),
                f32::from_bits(b)
            ));
        }
    }
    Ok(())
}

/// A small random generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// Lane counts of the sweeps: below, at, between and above the vector widths.
pub const LANES: [u32; 7] = [1, 3, 8, 16, 17, 32, 48];

/// Float words at the edges.
pub const FLOATS: [u32; 24] = [
    0,
    0x8000_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0001,
    0xff80_0001,
    1,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0xbf00_0000,
    0x4020_0000,
    0xc060_0000,
    0x4b00_0001,
    0x4f00_0000,
    0xcf00_0000,
    0x4f7f_ffff,
    0x4f80_0000,
    0x477f_e000,
    0x477f_f000,
    0x3380_0001,
];

/// Integer words at the edges.
pub const INTEGERS: [u32; 20] = [
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    33,
    100,
    127,
    128,
    255,
    0x7fff_ffff,
    0x8000_0000,
    0x8080_8080,
    0x7f7f_7f7f,
    0xffff_fff9,
    0xffff_ffff,
    0x1234_5678,
    0xff80_017f,
];
