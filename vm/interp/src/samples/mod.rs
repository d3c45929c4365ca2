//! Lane kernels with arguments and expected results, so that every backend is tested on the same work.
//!
//! A [`Sample`] is one launch: run `function()` with copies of its buffers, then `check` what came out.
//! [`kernels`] makes samples from the kernels in `tests/filetests/lane`, judged by plain loops in f64 or integers;
//! [`op_cases`] makes one for each row of the op table, judged by the interpreter.
//!
//! ```
//! let sample = tvmc_interp::samples::transpose(2, 1, 7);
//! let (outcome, buffers) = sample.interpret().unwrap();
//! assert!(outcome.failure.is_none());
//! sample.check(&buffers).unwrap();
//! ```

mod kernels;
mod ops;

use tvmc_ir::lane::{Access, Scalar, Verified, parse, verify};

use crate::lane::{Argument, Launch, Outcome, Trap, run};

pub use kernels::{GEMM_6X16, GEMM_14X32, LINEAR_U3_Q8, SOFTMAX_MASKED, TRANSPOSE_SHARED};
pub use kernels::{GemmTile, gemm, kernels, linear_u3_q8, softmax_masked, transpose};
pub use ops::{Inputs, op_cases};

/// What a buffer holds after the launch, as 32-bit elements.
#[derive(Clone, Debug)]
pub enum Expected {
    /// These words, bit for bit; where `scalar` is f32, any NaN stands for any other.
    Exact {
        /// Kind of the elements.
        scalar: Scalar,
        /// Their bits.
        words: Vec<u32>,
    },
    /// f32 elements, each within its bound of its value.
    Near {
        /// Exact values.
        values: Vec<f64>,
        /// Largest absolute differences.
        bounds: Vec<f64>,
    },
}

/// One launch of one kernel.
#[derive(Clone, Debug)]
pub struct Sample {
    /// For messages.
    pub name: String,
    /// The kernel's text.
    pub text: String,
    /// Blocks on each axis.
    pub grid: [u32; 3],
    /// Scalar arguments in 8 bytes each.
    pub scalars: Vec<u64>,
    /// Buffer arguments before the launch.
    pub buffers: Vec<Vec<u8>>,
    /// Number of the buffer that is checked.
    pub output: usize,
    /// What it must hold.
    pub expected: Expected,
}

impl Sample {
    /// The kernel, verified.
    pub fn function(&self) -> Result<Verified, String> {
        let function = parse(&self.text).map_err(|error| format!("{}:{error}", self.name))?;
        verify(function).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("{}: {error}", self.name)).collect();
            lines.join("\n")
        })
    }

    /// Runs it in the interpreter; gives the outcome and all buffers.
    pub fn interpret(&self) -> Result<(Outcome, Vec<Vec<u8>>), String> {
        let function = self.function()?;
        let mut buffers = self.buffers.clone();
        let outcome =
            self.launch(&function, &mut buffers).map_err(|trap| format!("{}: {trap}", self.name))?;
        Ok((outcome, buffers))
    }

    /// Runs a kernel with this sample's arguments on these buffers.
    pub fn launch(&self, function: &Verified, buffers: &mut [Vec<u8>]) -> Result<Outcome, Box<Trap>> {
        let arguments = buffers
            .iter_mut()
            .zip(&function.buffers)
            .map(|(bytes, decl)| match decl.access {
                Access::Read => Argument::Read(bytes),
                Access::Write | Access::ReadWrite => Argument::Write(bytes),
            })
            .collect();
        run(function, Launch::new(self.grid, arguments, &self.scalars))
    }

    /// Compares the buffers after a launch with what is expected.
    pub fn check(&self, buffers: &[Vec<u8>]) -> Result<(), String> {
        let name = &self.name;
        let bytes = buffers.get(self.output).ok_or_else(|| format!("{name}: no buffer {}", self.output))?;
        let found: Vec<u32> =
            bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        let length = match &self.expected {
            Expected::Exact { words, .. } => words.len(),
            Expected::Near { values, .. } => values.len(),
        };
        if found.len() != length {
            return Err(format!("{name}: {} elements, expected {length}", found.len()));
        }
        for (at, &word) in found.iter().enumerate() {
            let float = f32::from_bits(word);
            match &self.expected {
                Expected::Exact { scalar, words } => {
                    let wanted = f32::from_bits(words[at]);
                    let both_nan = *scalar == Scalar::F32 && float.is_nan() && wanted.is_nan();
                    if word != words[at] && !both_nan {
                        return Err(format!(
                            "{name}: element {at} is {word:#010x} ({float:?}), expected {:#010x} ({wanted:?})",
                            words[at]
                        ));
                    }
                }
                Expected::Near { values, bounds } => {
                    let difference = (f64::from(float) - values[at]).abs();
                    if difference.is_nan() || difference > bounds[at] {
                        return Err(format!(
                            "{name}: element {at} is {float:?}, expected {} within {}",
                            values[at], bounds[at]
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A reproducible source of inputs (the splitmix64 sequence).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// At least -1, below 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// The bytes of these floats.
fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The bytes of these integers.
fn int_bytes(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
