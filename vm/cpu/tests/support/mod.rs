//! Runs kernels on every target and thread count of this host, in guarded memory, and compares them with the
//! interpreter.
//!
//! A buffer lies between guard pages (`tvmc_guarded`), once at either of them.
#![allow(dead_code)]

use std::sync::OnceLock;

use tvmc_backend_x86::Features;
pub use tvmc_guarded::{Guarded, Placement};

use tvmc_cpu::{CompiledKernel, LaunchError, LaunchReport, Pool, Prepared, RawBuffer, Target};
use tvmc_interp::lane::{Argument, Launch, run};
use tvmc_ir::lane::{Access, Function, Verified, verify};

/// A reproducible source of inputs (the splitmix64 sequence).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Floats at the edges of every rule.
pub const FLOATS: [f32; 28] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    0.1,
    -3.75,
    127.5,
    -60000.0,
    65504.0,
    65519.98,
    65520.0,
    6.0e-8,
    3.1e-5,
    1.0009766,
    f32::MAX,
    f32::MIN_POSITIVE,
    1e-45,
    -1.17e-38,
    2_147_483_648.0,
    -2_147_483_648.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Integers at the edges of every rule.
pub const INTEGERS: [u32; 18] = [
    0,
    1,
    2,
    7,
    31,
    32,
    33,
    127,
    128,
    255,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0x8080_8080,
    0xff7f_8001,
    0xffff_fff9,
    0xffff_ffff,
    0x1234_5678,
];

/// Bytes of words.
pub fn bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// What this host can run.
pub fn targets() -> Vec<Target> {
    let mut targets = vec![Target::Cranelift];
    if let Some(features) = Features::detect() {
        targets.push(Target::X86(features));
        if features.narrowed() != features {
            targets.push(Target::X86(features.narrowed()));
        }
    }
    targets
}

/// Pools of one, two and three threads.
pub fn pools() -> &'static [Pool; 3] {
    static POOLS: OnceLock<[Pool; 3]> = OnceLock::new();
    POOLS.get_or_init(|| [Pool::new(1), Pool::new(2), Pool::new(3)])
}

/// A launch of a kernel.
pub struct Case {
    pub function: Function,
    pub grid: [u32; 3],
    pub buffers: Vec<Vec<u8>>,
    pub scalars: Vec<u64>,
    /// Buffers of f32 words, where any NaN equals any other.
    pub floats: Vec<usize>,
}

/// What the interpreter makes of a case.
pub struct Wanted {
    pub buffers: Vec<Vec<u8>>,
    pub failure: Option<([u32; 3], u32)>,
    pub texts: Vec<([u32; 3], String)>,
}

impl Case {
    pub fn verified(&self) -> Verified {
        verify(self.function.clone()).unwrap_or_else(|errors| panic!("{errors:?}\n{}", self.function))
    }

    pub fn interpret(&self, function: &Verified) -> Wanted {
        let mut buffers = self.buffers.clone();
        let arguments = buffers
            .iter_mut()
            .zip(&function.buffers)
            .map(|(bytes, decl)| match decl.access {
                Access::Read => Argument::Read(bytes),
                Access::Write | Access::ReadWrite => Argument::Write(bytes),
            })
            .collect();
        let outcome = run(function, Launch::new(self.grid, arguments, &self.scalars))
            .unwrap_or_else(|trap| panic!("{trap}\n{}", **function));
        Wanted {
            buffers,
            failure: outcome.failure.map(|failure| (failure.block, failure.message)),
            texts: outcome.log.into_iter().map(|entry| (entry.block, entry.text)).collect(),
        }
    }

    /// Launches it in guarded memory; gives the buffers after it.
    pub fn launch(
        &self,
        pool: &Pool,
        kernel: &CompiledKernel,
        placement: Placement,
    ) -> (Result<LaunchReport, LaunchError>, Vec<Guarded>) {
        let buffers: Vec<Guarded> = self.buffers.iter().map(|b| Guarded::with(b, placement)).collect();
        let mut prepared = Prepared::new(kernel);
        prepared.set_grid(self.grid);
        for (at, buffer) in buffers.iter().enumerate() {
            prepared.set_buffer(at, RawBuffer { start: buffer.start() }).unwrap();
        }
        for (at, &scalar) in self.scalars.iter().enumerate() {
            prepared.set_scalar(at, scalar).unwrap();
        }
        // SAFETY: the interpreter has run the same launch, so its accesses are within bounds.
        let report = unsafe { pool.launch_prepared(&prepared) };
        (report, buffers)
    }

    /// Compares all targets and thread counts with the interpreter.
    pub fn check(&self) {
        self.check_on(&targets());
    }

    /// Compares some targets, on all thread counts, with the interpreter.
    pub fn check_on(&self, targets: &[Target]) {
        let function = self.verified();
        let wanted = self.interpret(&function);
        for &target in targets {
            let kernel = CompiledKernel::compile(&function, target)
                .unwrap_or_else(|error| panic!("{target}: {error}\n{}", *function));
            let blocks: u32 = self.grid.iter().product();
            for (threads, pool) in pools().iter().enumerate() {
                if threads > 0 && blocks == 1 {
                    break;
                }
                for placement in Placement::ALL {
                    let (report, buffers) = self.launch(pool, &kernel, placement);
                    let at = || format!("{target}, {} threads, {placement:?}\n{}", threads + 1, *function);
                    for (number, (found, wanted)) in buffers.iter().zip(&wanted.buffers).enumerate() {
                        self.compare(number, found.content(), wanted, &at);
                    }
                    let (failure, printed) = match report {
                        Ok(report) => (None, report.printed),
                        Err(LaunchError::Assertion { block, message, printed, .. }) => {
                            (Some((block, message)), printed)
                        }
                        Err(other) => panic!("{other} on {}", at()),
                    };
                    assert_eq!(failure, wanted.failure, "{}", at());
                    let texts: Vec<_> = printed.into_iter().map(|p| (p.block, p.text)).collect();
                    assert_eq!(texts, wanted.texts, "{}", at());
                }
            }
        }
    }

    fn compare(&self, number: usize, found: &[u8], wanted: &[u8], at: &dyn Fn() -> String) {
        if found == wanted {
            return;
        }
        let float = self.floats.contains(&number);
        let word = |c: &[u8]| {
            let mut word = [0; 4];
            word[..c.len()].copy_from_slice(c);
            u32::from_le_bytes(word)
        };
        for (element, (found, wanted)) in
            found.chunks(4).map(word).zip(wanted.chunks(4).map(word)).enumerate()
        {
            let both_nan = float && f32::from_bits(found).is_nan() && f32::from_bits(wanted).is_nan();
            assert!(
                found == wanted || both_nan,
                "buffer {number}, word {element} is {found:#010x} ({:?}), wanted {wanted:#010x} ({:?}) on {}",
                f32::from_bits(found),
                f32::from_bits(wanted),
                at()
            );
        }
    }
}
