//! Runs one function on both machines.

use std::sync::OnceLock;

use tvmc_gpu::{GpuDevice, GpuError, LogEntry};
use tvmc_interp::lane::{Argument, LaneOrder, Launch, run};
use tvmc_ir::lane::{Access, Function, Verified, verify};

/// The device, or `None` with a note that names the test.
pub fn gpu(test: &str) -> Option<&'static GpuDevice> {
    static DEVICE: OnceLock<Option<GpuDevice>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let name = std::env::var("TVMC_GPU").ok();
        match GpuDevice::open(name.as_deref()) {
            Ok(device) => {
                eprintln!("device: {:?} {:?}", device.info(), device.limits());
                Some(device)
            }
            Err(GpuError::NoAdapter) => {
                let ci = std::env::var("CI").is_ok_and(|v| v == "true");
                assert!(!ci, "CI has no GPU adapter: {}", GpuError::NoAdapter);
                None
            }
            Err(error) => panic!("{error}"),
        }
    });
    if device.is_none() {
        eprintln!("SKIPPED {test}: {}", GpuError::NoAdapter);
    }
    device.as_ref()
}

/// Gives the device or ends the test.
#[macro_export]
macro_rules! gpu {
    () => {{
        let Some(device) = $crate::harness::gpu(&format!("{}:{}", module_path!(), line!())) else { return };
        device
    }};
}

/// A stream of numbers from a seed (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.word() % bound
    }

    /// A float with a moderate exponent.
    pub fn float(&mut self) -> f32 {
        let word = self.word();
        f32::from_bits((word & 0x807f_ffff) | (112 + word % 31) << 23)
    }
}

pub fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

pub fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect()
}

/// Distance in units in the last place; 0 for two NaNs and for zeros of either sign.
pub fn ulps(a: f32, b: f32) -> u32 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0 } else { u32::MAX };
    }
    let key = |x: f32| {
        let bits = x.to_bits();
        let magnitude = i64::from(bits & 0x7fff_ffff);
        if bits >> 31 == 1 { -magnitude } else { magnitude }
    };
    u32::try_from((key(a) - key(b)).abs()).unwrap_or(u32::MAX)
}

/// A launch, with the contents of its buffers before it.
pub struct Case<'a> {
    pub grid: [u32; 3],
    pub buffers: Vec<Vec<u8>>,
    pub scalars: &'a [u64],
}

/// What both machines left behind.
pub struct Both {
    pub gpu: Vec<Vec<u8>>,
    pub interp: Vec<Vec<u8>>,
    pub gpu_log: Vec<LogEntry>,
    pub interp_log: Vec<LogEntry>,
    pub gpu_failure: Option<u32>,
    pub interp_failure: Option<u32>,
}

pub fn verified(function: Function) -> Verified {
    verify(function).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Runs on both.
pub fn both(device: &GpuDevice, function: &Verified, case: &Case<'_>) -> Both {
    let mut interp = case.buffers.clone();
    let arguments = interp.iter_mut().zip(&function.buffers).map(|(bytes, decl)| match decl.access {
        Access::Read => Argument::Read(bytes),
        Access::Write | Access::ReadWrite => Argument::Write(bytes),
    });
    let mut launch = Launch::new(case.grid, arguments.collect(), case.scalars);
    launch.order = LaneOrder::Permuted(7);
    let outcome = run(function, launch).unwrap_or_else(|trap| panic!("{trap}"));

    let kernel = device.compile(function).unwrap_or_else(|e| panic!("{e}"));
    let buffers: Vec<_> = case.buffers.iter().map(|b| device.buffer_with(b).unwrap()).collect();
    let views: Vec<_> = buffers.iter().map(|b| b.all()).collect();
    let mut commands = device.commands();
    commands.log_bytes(1 << 20);
    commands.dispatch(&kernel, case.grid, &views, case.scalars).unwrap_or_else(|e| panic!("{e}"));
    let launches = commands.submit().unwrap().wait().unwrap_or_else(|e| panic!("{e}"));
    let mut gpu = case.buffers.clone();
    for (buffer, bytes) in buffers.iter().zip(&mut gpu) {
        device.download(buffer, 0, bytes).unwrap();
    }
    assert!(launches.len() <= 1 && launches.iter().all(|l| l.dropped == 0));
    let interp_log = outcome.log.into_iter();
    Both {
        gpu,
        interp,
        gpu_failure: launches.first().and_then(|l| l.failure),
        gpu_log: launches.into_iter().next().map_or_else(Vec::new, |l| l.log),
        interp_log: interp_log
            .map(|e| LogEntry { block: e.block, message: e.message, text: e.text })
            .collect(),
        interp_failure: outcome.failure.map(|f| f.message),
    }
}

/// Runs on both and demands equal bits everywhere.
pub fn same(device: &GpuDevice, function: Function, case: &Case<'_>) {
    let function = verified(function);
    let result = both(device, &function, case);
    for (at, (gpu, interp)) in result.gpu.iter().zip(&result.interp).enumerate() {
        if let Some(byte) = gpu.iter().zip(interp).position(|(a, b)| a != b) {
            let word = byte & !3;
            panic!(
                "kernel {} lanes {}: buffer {at} differs at byte {byte}: gpu {:02x?}, interpreter {:02x?}",
                function.name,
                function.lanes,
                &gpu[word..(word + 4).min(gpu.len())],
                &interp[word..(word + 4).min(interp.len())]
            );
        }
    }
    assert_eq!(result.gpu_log, result.interp_log, "kernel {}", function.name);
    assert_eq!(result.gpu_failure.is_some(), result.interp_failure.is_some(), "kernel {}", function.name);
}
