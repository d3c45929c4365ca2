//! The command line: names, arguments and help, nothing else. `docs/cli.md` is the contract.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A tensor-program compiler and runtime: low-precision kernels and language models on ordinary machines.
#[derive(Parser, Debug)]
#[command(name = "tvmc", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Colour of messages.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Form of error messages.
    #[arg(long, global = true, value_enum, default_value_t = ErrorFormat::Human)]
    pub error_format: ErrorFormat,
}

/// When messages are coloured.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of diagnostics.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum ErrorFormat {
    /// Source lines with carets.
    Human,
    /// One JSON object a line.
    Json,
}

/// Where kernels run.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum TargetName {
    /// The best code for this CPU.
    Cpu,
    /// The portable CPU code generator, 128-bit vectors.
    Cranelift,
    /// The AVX-512 / AVX2 code generator.
    X86,
    /// A GPU, or a software device, through wgpu.
    Gpu,
    /// The same as gpu.
    Wgsl,
    /// The reference interpreter.
    Interp,
}

/// Which instruction set x86 code uses.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum CpuLevel {
    /// Whatever this machine has.
    #[value(name = "native")]
    Native,
    /// AVX2 and FMA.
    #[value(name = "x86-64-v3")]
    V3,
    /// AVX-512.
    #[value(name = "x86-64-v4")]
    V4,
}

/// Options of every command that runs kernels.
#[derive(Args, Clone, Debug)]
pub struct MachineOptions {
    /// Where kernels run.
    #[arg(long, value_enum, default_value_t = TargetName::Cpu)]
    pub target: TargetName,
    /// Instruction set of x86 code.
    #[arg(long, value_enum, default_value_t = CpuLevel::Native)]
    pub cpu: CpuLevel,
    /// Name (or part of it) of the GPU to use.
    #[arg(long)]
    pub device: Option<String>,
    /// Worker threads; the number of cores if not given.
    #[arg(long, short = 't')]
    pub threads: Option<usize>,
}

/// Options of every command that runs a model.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// A fetched model's name, or the path of a GGUF file.
    pub model: String,
    /// A .tile file whose program runs the model, instead of the one for its architecture.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Length of the context in tokens; the model's own, up to 8192, if not given.
    #[arg(long)]
    pub ctx: Option<u32>,
    /// How activations enter products: f32, or quantised to 8 bits.
    #[arg(long, value_enum, default_value_t = Activations::F32)]
    pub act: Activations,
    /// How the key/value cache is stored; f16 is what the shipped programs declare.
    #[arg(long, default_value = "f16")]
    pub kv: String,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// Activation precision.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum Activations {
    /// 32-bit floats.
    F32,
    /// 8-bit integers with scales.
    Q8,
}

/// How the next token is chosen.
#[derive(Args, Clone, Debug)]
pub struct SamplingOptions {
    /// 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.8)]
    pub temp: f32,
    /// Keep only this many of the likeliest tokens; 0 keeps all.
    #[arg(long, default_value_t = 40)]
    pub top_k: usize,
    /// Keep the likeliest tokens up to this probability.
    #[arg(long, default_value_t = 0.95)]
    pub top_p: f32,
    /// Keep tokens at least this likely, relative to the likeliest.
    #[arg(long, default_value_t = 0.05)]
    pub min_p: f32,
    /// Divide the logits of recent tokens by this.
    #[arg(long, default_value_t = 1.0)]
    pub repeat_penalty: f32,
    /// Start of the random numbers; the same seed gives the same text.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// End when this text appears; may be given several times.
    #[arg(long)]
    pub stop: Vec<String>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check .tile files: all errors, no output if there are none.
    #[command(after_help = "Example: tvmc check my.tile")]
    Check {
        /// Files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Explain a diagnostic code.
    #[command(after_help = "Example: tvmc explain E0201")]
    Explain {
        /// A code such as E0201.
        code: String,
    },
    /// Run a kernel of a file on .npy arrays.
    #[command(
        after_help = "Example: tvmc run my.tile --kernel matmul --arg a=a.npy --arg b=b.npy --out 'c=f32[64,32]:c.npy'"
    )]
    Run(RunOptions),
    /// Show an intermediate form of a kernel.
    #[command(
        after_help = "Example: tvmc build my.tile --kernel matmul --emit lane --set M=64 --set N=64 --set K=64"
    )]
    Build(BuildOptions),
    /// Download a model into the user's cache.
    #[command(after_help = "Example: tvmc fetch smollm2")]
    Fetch {
        /// The model's name.
        name: String,
    },
    /// Show what a .gguf, .safetensors or .npy file holds.
    #[command(after_help = "Example: tvmc inspect smollm2 --json")]
    Inspect {
        /// A path, or a fetched model's name.
        file: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the tokens of a text.
    #[command(after_help = "Example: tvmc tokenize smollm2 -p 'Hello, world' --json")]
    Tokenize {
        /// A fetched model's name, or the path of a GGUF file.
        model: String,
        /// The text.
        #[arg(short, long)]
        prompt: String,
        /// As JSON: {"ids":[..],"pieces":[..]}.
        #[arg(long)]
        json: bool,
    },
    /// Show the most likely next tokens of a prompt.
    #[command(after_help = "Example: tvmc logits smollm2 -p 'Once upon a time' --top 5 --json")]
    Logits {
        /// Model.
        #[command(flatten)]
        model: ModelOptions,
        /// The text.
        #[arg(short, long)]
        prompt: String,
        /// How many.
        #[arg(long, default_value_t = 5)]
        top: usize,
        /// As JSON: {"ids":[..],"top":[[id,logit]..],"mean":..,"std":..}.
        #[arg(long)]
        json: bool,
    },
    /// Continue a text.
    #[command(after_help = "Example: tvmc generate smollm2 -p 'Once upon a time' -n 64 --temp 0")]
    Generate {
        /// Model.
        #[command(flatten)]
        model: ModelOptions,
        /// The text.
        #[arg(short, long)]
        prompt: String,
        /// Most tokens to generate.
        #[arg(short, default_value_t = 64)]
        n: usize,
        /// Sampling.
        #[command(flatten)]
        sampling: SamplingOptions,
        /// As JSON: {"ids":[..],"text":"..","prompt_tokens":..,"tokens_per_second":..}.
        #[arg(long)]
        json: bool,
    },
    /// Chat: one answer with -p, else a conversation in the terminal.
    #[command(after_help = "Example: tvmc chat smollm2 --temp 0 -p 'What is the capital of France?'")]
    Chat {
        /// Model.
        #[command(flatten)]
        model: ModelOptions,
        /// One message; the answer is printed and the command ends.
        #[arg(short, long)]
        prompt: Option<String>,
        /// The system message; the model's own default if not given.
        #[arg(long)]
        system: Option<String>,
        /// Most tokens of an answer.
        #[arg(short, default_value_t = 512)]
        n: usize,
        /// Sampling.
        #[command(flatten)]
        sampling: SamplingOptions,
    },
    /// Measure how well a model predicts a text.
    #[command(
        after_help = "Example: tvmc perplexity smollm2 --text test.txt --window 512 --windows 8 --json"
    )]
    Perplexity {
        /// Model.
        #[command(flatten)]
        model: ModelOptions,
        /// The text file.
        #[arg(long)]
        text: PathBuf,
        /// Tokens in a window.
        #[arg(long, default_value_t = 512)]
        window: usize,
        /// How many windows.
        #[arg(long, default_value_t = 8)]
        windows: usize,
        /// As JSON: {"perplexity":..,"tokens":..}.
        #[arg(long)]
        json: bool,
    },
    /// Time a model: prefill and decode.
    #[command(after_help = "Example: tvmc bench smollm2 -p 512 -n 128 -r 5")]
    Bench {
        /// Model.
        #[command(flatten)]
        model: ModelOptions,
        /// Tokens of the prompt.
        #[arg(short, default_value_t = 512)]
        prompt_tokens: usize,
        /// Tokens to decode.
        #[arg(short, default_value_t = 128)]
        n: usize,
        /// Repetitions; the median is reported.
        #[arg(short, default_value_t = 5)]
        repeat: usize,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The source file.
    pub file: PathBuf,
    /// The kernel to run.
    #[arg(long)]
    pub kernel: String,
    /// A constant: a generic (W=q4_1), a dimension (K=64) or a tune name (BM=8).
    #[arg(long = "set", value_name = "K=V")]
    pub set: Vec<String>,
    /// An argument: a tensor from an .npy file (x=x.npy) or a number (n=128).
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub arg: Vec<String>,
    /// An output: y=f32[128,64]:y.npy, or y=y.npy for an `inout` argument.
    #[arg(long = "out", value_name = "NAME=TYPE:PATH")]
    pub out: Vec<String>,
    /// Also run the interpreter and report the first difference.
    #[arg(long)]
    pub verify: bool,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// The forms `build` can show.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum Emit {
    /// The syntax tree, printed as source.
    Ast,
    /// Program IR.
    Program,
    /// Tile IR.
    Tile,
    /// Lane IR.
    Lane,
    /// Cranelift IR.
    Clif,
    /// x86 assembly.
    Asm,
    /// WGSL.
    Wgsl,
}

/// Options of `build`.
#[derive(Args, Clone, Debug)]
pub struct BuildOptions {
    /// The source file.
    pub file: PathBuf,
    /// The kernel to show; needed where the file has several.
    #[arg(long)]
    pub kernel: Option<String>,
    /// The program to show with `--emit program`; needed where the file has several.
    #[arg(long)]
    pub program: Option<String>,
    /// What to show.
    #[arg(long, value_enum, default_value_t = Emit::Lane)]
    pub emit: Emit,
    /// A constant: a generic (W=q4_1), a dimension (K=64) or a tune name (BM=8).
    #[arg(long = "set", value_name = "K=V")]
    pub set: Vec<String>,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}
