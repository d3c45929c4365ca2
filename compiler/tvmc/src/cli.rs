//! The command line: names, arguments and help, nothing else. `docs/cli.md` is the contract.

// These comments are help texts, where brackets are brackets.
#![allow(rustdoc::broken_intra_doc_links)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tvmc_passes::Bounds;

/// What is printed above the global options in every help.
const GLOBAL: &str = "Messages";

/// A tensor-program compiler and runtime: low-precision kernels and language models on ordinary machines.
#[derive(Parser, Debug)]
#[command(name = "tvmc", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Colour of messages; auto is off where NO_COLOR is set.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, help_heading = GLOBAL)]
    pub color: ColorChoice,
    /// Form of what goes to stderr: for people, or one JSON object a line.
    #[arg(long, global = true, value_enum, default_value_t = ErrorFormat::Human, help_heading = GLOBAL)]
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

/// Who answers for it that compiled code touches nothing outside its arguments.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum BoundsPolicy {
    /// The compiler: accesses are masked, or proved to lie inside.
    Proved,
    /// The code: each access is checked as it is made, and one outside fails the launch. Slow.
    Checked,
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
    /// Worker threads; the number of cores if not given. `bench` takes several, as in 1,2,4.
    #[arg(long, short = 't', value_delimiter = ',')]
    pub threads: Vec<usize>,
    /// Values of tune names as `tvmc tune` has stored them for this machine, or by the kernels' own rules alone.
    #[arg(long, value_enum, default_value_t = TunedChoices::On)]
    pub tuned: TunedChoices,
    /// Who answers for it that compiled code touches nothing outside its arguments: the compiler, which masks accesses or proves them, or the code itself,
    /// which then checks each and names kernel, argument and line of one outside. The interpreter always checks.
    #[arg(long, value_enum, default_value_t = BoundsPolicy::Proved)]
    pub bounds: BoundsPolicy,
}

impl MachineOptions {
    /// The policy as the compiler's passes know it.
    pub fn bounds(&self) -> Bounds {
        match self.bounds {
            BoundsPolicy::Proved => Bounds::Proved,
            BoundsPolicy::Checked => Bounds::Checked,
        }
    }
}

/// Whether stored choices are used.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum TunedChoices {
    /// Where there are some.
    On,
    /// Not at all.
    Off,
}

/// Options of every command that runs a model.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// A fetched model's name, or the path of a GGUF file or of a folder with config.json and safetensors.
    pub model: String,
    /// A .tile file whose program runs the model, instead of the one for its architecture.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Length of the context in tokens; the model's own, up to 8192, if not given.
    #[arg(long)]
    pub ctx: Option<u32>,
    /// How activations enter products: quantised to 8 bits in groups of 32, which is faster and costs under half a percent of perplexity, or as f32 or f16.
    #[arg(long, value_enum, default_value_t = Activations::Q8)]
    pub act: Activations,
    /// What the key/value cache holds: f16, f32, bf16, q8_0 or any other format that says how it is encoded; the program's own choice
    /// (f16 for the shipped ones) if not given.
    #[arg(long)]
    pub kv: Option<String>,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// Activation precision.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum Activations {
    /// 32-bit floats.
    F32,
    /// 16-bit floats: what a GPU with cooperative matrices multiplies fastest in prompts.
    F16,
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

/// A value as the command line spells it.
pub fn spelled(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

impl SamplingOptions {
    /// As they would be written on the command line, defaults included.
    pub fn flags(&self) -> String {
        let mut text = format!(
            "--temp {} --top-k {} --top-p {} --min-p {} --repeat-penalty {} --seed {}",
            self.temp, self.top_k, self.top_p, self.min_p, self.repeat_penalty, self.seed
        );
        for stop in &self.stop {
            text += &format!(" --stop {stop:?}");
        }
        text
    }
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
    /// Put .tile files into canonical form.
    ///
    /// Comments stay at their places and the meaning stays the same; lines are at most 100 columns. A file with syntax errors is
    /// reported and left alone, and a file is replaced as a whole or not at all.
    #[command(
        after_help = "Examples:\n  tvmc fmt my.tile\n  tvmc fmt --check stdlib/*.tile\n  tvmc fmt - < my.tile"
    )]
    Fmt {
        /// Files; - reads stdin and writes stdout.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Write nothing; name the files that would change, and end with 1 if there are any.
        #[arg(long)]
        check: bool,
    },
    /// Show a layout: which lane holds which element of a tile, in which slot, or where elements lie in shared memory.
    ///
    /// An expression is made of the factors of the language (local, spatial, column_local, column_spatial, replicated, reshape, permute) or those
    /// of shared layouts (shared, column_shared, strides, swizzle, stages, reshape, permute), of A * B (compose), A / B (divide), A \ H (divide from
    /// the left), and of compose, divide, left_divide, concat, reduce, reduce_keep, reduce_to, squeeze, unsqueeze, flatten, keep, swizzled, reads, auto,
    /// cover and equal, each as f(A, ..) or A.f(..).
    #[command(
        after_help = "Examples:\n  tvmc layout \"local(2, 1).spatial(8, 4).local(1, 2)\" --svg c.svg\n  tvmc layout \"reduce(spatial(3, 4), 0)\"\n  tvmc layout \"cover(replicated(4).spatial(2), spatial(4, 2).reduce(0))\"\n  tvmc layout \"shared(8, 64).swizzle(3, 3, 3)\" --dtype f16 --svg s.svg\n  tvmc layout my.tile --kernel matmul"
    )]
    Layout(LayoutOptions),
    /// Explain a diagnostic code.
    #[command(after_help = "Example: tvmc explain E0201")]
    Explain {
        /// A code such as E0201.
        code: String,
    },
    /// Run a kernel or a program of a file on .npy arrays.
    #[command(
        after_help = "Examples:\n  tvmc run my.tile --kernel matmul --arg a=a.npy --arg b=b.npy --out 'c=f32[64,32]:c.npy' --verify\n  tvmc run my.tile --kernel scale --arg x=x.npy --out y=f32[4]:y.npy --target interp --trace\n  tvmc run net.tile --program net --set layers=2 --arg x=x.npy --arg 'w[0]=w0.npy' --arg 'w[1]=w1.npy' --out y=y.npy\n  tvmc run stdlib/models/llama.tile --program llama --model smollm2 --arg tokens=ids.npy --arg start=0 --set R=1 --out logits=l.npy"
    )]
    Run(RunOptions),
    /// Build a module (.tvm), or show an intermediate form of a kernel.
    #[command(
        after_help = "Examples:\n  tvmc build my.tile -o my.tvm\n  tvmc build stdlib/models/llama.tile --model smollm2 -o s.tvm\n  tvmc build my.tile --kernel matmul --emit lane --set M=64 --set N=64 --set K=64\n  tvmc build my.tile --kernel matmul --dump-passes passes -v"
    )]
    Build(BuildOptions),
    /// Download a model into the user's cache.
    #[command(after_help = "Example: tvmc fetch smollm2")]
    Fetch {
        /// The model's name.
        name: String,
    },
    /// Show what a .gguf or .safetensors file or a module (.tvm) holds.
    #[command(after_help = "Example: tvmc inspect smollm2 --json")]
    Inspect {
        /// A path, or a fetched model's name.
        file: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Store a model's weights in other types.
    #[command(
        after_help = "Examples:\n  tvmc quantize smollm2 half.gguf --type f16\n  tvmc quantize model.gguf out.gguf --type bf16 --rule 'token_embd=f16' --rule 'blk.*.ffn_down=f32'\nThe types of GGUF files, as `tvmc inspect` shows them, are written in the same way."
    )]
    Quantize(QuantizeOptions),
    /// Show the tokens of a text.
    #[command(after_help = "Example: tvmc tokenize smollm2 -p 'Hello, world' --json")]
    Tokenize {
        /// A fetched model's name, or the path of a GGUF file or of a folder with config.json and safetensors.
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
    ///
    /// In a conversation: /system TEXT, /reset, /save FILE, /help, /quit; a line that ends in \ goes on, as do lines between """; Ctrl-C
    /// ends an answer, Ctrl-D the conversation.
    #[command(
        after_help = "Examples:\n  tvmc chat smollm2\n  tvmc chat smollm2 --temp 0 -p 'Name the capital of France.'"
    )]
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
    /// Time a model, or a kernel of a .tile file.
    ///
    /// A model: tokens per second of prefill and of decoding. A kernel: time of a launch, and bytes of its arguments per second beside
    /// what the same number of threads can read from memory, measured in the same run.
    #[command(
        after_help = "Examples:\n  tvmc bench smollm2 -p 512 -n 128 -t 1,2 -r 5\n  tvmc bench my.tile --kernel matmul --arg 'a=f32[64,64]' --arg 'b=f32[64,64]' --arg 'c=f32[64,64]' -o json"
    )]
    Bench(BenchOptions),
    /// Find the fastest values of kernels' tune names on this machine, and store them.
    ///
    /// Of a model: every kernel that calls of these lengths launch, timed within such calls, candidates in turn. Of a .tile file: one kernel, with arguments as
    /// `bench` takes them. Commands that run kernels use what is stored; on a CPU that changes no result.
    #[command(
        after_help = "Examples:\n  tvmc tune smollm2 --act q8\n  tvmc tune my.tile --kernel matmul --arg 'a=f32[64,64]' --arg 'b=f32[64,64]' --arg 'c=f32[64,64]'\n  tvmc tune smollm2 --forget"
    )]
    Tune(TuneOptions),
    /// Show what this machine offers, what the targets use of it, and what is missing.
    #[command(after_help = "Example: tvmc doctor --json")]
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Options of `layout`.
#[derive(Args, Clone, Debug)]
pub struct LayoutOptions {
    /// An expression, or a .tile file, whose tiles are listed with their layouts.
    pub what: String,
    /// The kernel of the file; needed where it has several.
    #[arg(long)]
    pub kernel: Option<String>,
    /// A constant of the kernel: a generic (W=q4_1), a dimension (K=64) or a tune name (BM=8).
    #[arg(long = "set", value_name = "K=V")]
    pub set: Vec<String>,
    /// Show the layout of this tile of the kernel alone, by its name in the list (v3), or the order of a `shared` tensor.
    #[arg(long, value_name = "NAME")]
    pub tile: Option<String>,
    /// Machine, for the lanes of tiles that are not pinned.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// Type of the elements of a shared layout, which says in which bank each lies; f32 if not given.
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<tvmc_types::dtype::DType>,
    /// Draw the layout to a file: lanes as colours and slots as numbers, or banks and offsets.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// A kernel whose launches are timed, and on what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kernel")]
pub struct TimedKernel {
    /// The kernel to time, where a .tile file is given.
    #[arg(long)]
    pub kernel: Option<String>,
    /// A constant: a generic (W=q4_1), a dimension (K=64) or a tune name (BM=8), whose value is then this one.
    #[arg(long = "set", value_name = "K=V", requires = "kernel")]
    pub set: Vec<String>,
    /// An argument: a tensor of random numbers (x=f32[64,32]), one from a file (x=x.npy) or a number (n=128).
    #[arg(long = "arg", value_name = "NAME=VALUE", requires = "kernel")]
    pub arg: Vec<String>,
    /// The arguments are stored this often, and launches take the copies in turn: with more than fit a cache, each launch reads from memory.
    #[arg(long, default_value = "1")]
    pub copies: std::num::NonZeroU32,
}

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchOptions {
    /// Model, or a .tile file in its place.
    #[command(flatten)]
    pub model: ModelOptions,
    /// The kernel, where a .tile file is given.
    #[command(flatten)]
    pub timed: TimedKernel,
    /// Tokens of the prompt.
    #[arg(short, default_value_t = 512)]
    pub prompt_tokens: usize,
    /// Tokens to decode.
    #[arg(short, default_value_t = 128)]
    pub n: usize,
    /// Tokens that are in the context before decoding is timed.
    #[arg(short, default_value_t = 1)]
    pub depth: usize,
    /// Repetitions; the median is reported.
    #[arg(short, default_value_t = 5)]
    pub repeat: usize,
    /// Whether a launch on a GPU waits for the one before.
    #[arg(long, value_enum, default_value_t = LaunchOrder::Dependent, help_heading = "Kernel")]
    pub order: LaunchOrder,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value_t = TableFormat::Md)]
    pub output: TableFormat,
    /// The same as -o json.
    #[arg(long)]
    pub json: bool,
}

/// Options of `tune`.
#[derive(Args, Clone, Debug)]
pub struct TuneOptions {
    /// Model, or a .tile file in its place.
    #[command(flatten)]
    pub model: ModelOptions,
    /// The kernel, where a .tile file is given.
    #[command(flatten)]
    pub timed: TimedKernel,
    /// Lengths of a model's calls, in tokens: 1 is decoding, others are prefill. A choice holds for lengths up to the next power of two.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64, 512])]
    pub tokens: Vec<usize>,
    /// Samples of each candidate; the median counts.
    #[arg(short, default_value_t = 5)]
    pub repeat: usize,
    /// Begin no sample after this many seconds; candidates without one are not chosen.
    #[arg(long, default_value_t = 300)]
    pub seconds: u64,
    /// Store nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Forget everything that is stored for the machine, and measure nothing.
    #[arg(long, conflicts_with_all = ["dry_run", "kernel"])]
    pub forget: bool,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value_t = TableFormat::Md)]
    pub output: TableFormat,
    /// The same as -o json.
    #[arg(long)]
    pub json: bool,
}

/// How launches of a kernel that is timed on a GPU follow each other.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum LaunchOrder {
    /// All write the same memory, so each waits for the one before, as in a model.
    Dependent,
    /// Neighbouring ones write different memory, so the device may run them at once.
    Overlapped,
}

/// The form of a table of results.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum TableFormat {
    /// A Markdown table.
    Md,
    /// One JSON value.
    Json,
    /// Comma-separated values with a head line.
    Csv,
}

/// Options of `quantize`.
#[derive(Args, Clone, Debug)]
pub struct QuantizeOptions {
    /// A fetched model's name, or the path of a GGUF file or of a folder with config.json and safetensors.
    pub input: String,
    /// The GGUF file to write.
    pub output: PathBuf,
    /// The type of weights that no rule is for; vectors stay as they are. Any type of GGUF that says how it is encoded, or a format of --format.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: String,
    /// A file that declares formats of your own for --type and --rule; the declarations travel in the metadata of the output.
    #[arg(long, value_name = "FILE")]
    pub format: Option<PathBuf>,
    /// A type for the tensors whose names fit a pattern (`*` stands for any text), instead of --type; the first that fits counts.
    #[arg(long, value_name = "PATTERN=TYPE")]
    pub rule: Vec<String>,
    /// The report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The source file, or a module.
    pub file: PathBuf,
    /// The kernel to run.
    #[arg(long, conflicts_with = "program")]
    pub kernel: Option<String>,
    /// The program to run, once, with all that it keeps from call to call at zero.
    #[arg(long)]
    pub program: Option<String>,
    /// Where a program's weights and hyper-parameters come from: a fetched model's name, or the path of a weight file.
    #[arg(long)]
    pub model: Option<String>,
    /// How a program's activations enter products, as for the commands that run models; its own choice if not given.
    #[arg(long, value_enum)]
    pub act: Option<Activations>,
    /// What a program's key/value cache holds, as for the commands that run models.
    #[arg(long)]
    pub kv: Option<String>,
    /// Length of a program's context in tokens; the model's own if not given.
    #[arg(long)]
    pub ctx: Option<u32>,
    /// A constant: a generic (W=q4_1), a dimension (K=64), a tune name (BM=8) or a hyper-parameter of a program.
    #[arg(long = "set", value_name = "K=V")]
    pub set: Vec<String>,
    /// An argument: a tensor from an .npy file (x=x.npy) or a number (n=128). Programs take weights so as well, before those of --model: w=w.npy, wq[0]=w.npy, w=q4_0[64,32]:bytes.npy.
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub arg: Vec<String>,
    /// An output: y=f32[128,64]:y.npy, or y=y.npy for an `inout` argument.
    #[arg(long = "out", value_name = "NAME=TYPE:PATH")]
    pub out: Vec<String>,
    /// Also run the interpreter and report the first difference.
    #[arg(long)]
    pub verify: bool,
    /// Also run the interpreter and print on stdout what every instruction computes.
    #[arg(long)]
    pub trace: bool,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// The forms `build` can show.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum Emit {
    /// The words of the source with their places.
    Tokens,
    /// The syntax tree, printed as source.
    Ast,
    /// Program IR.
    Program,
    /// Tile IR.
    Tile,
    /// Tile IR with a note beside each value: where the lowering for the target has put it.
    Laid,
    /// Lane IR.
    Lane,
    /// Cranelift IR.
    Clif,
    /// x86 assembly.
    Asm,
    /// WGSL.
    Wgsl,
    /// A module file: everything that is needed to run the file's kernels and programs.
    Tvm,
    /// An object file with the kernel's code, to be linked with what the header defines.
    Obj,
    /// A shared library, linked by the system's C compiler.
    Lib,
    /// The C header of an object or library: one function that checks its arguments.
    Header,
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
    /// What to show; lane if neither this nor --dump-passes is given.
    #[arg(long, value_enum)]
    pub emit: Option<Emit>,
    /// Write to this file instead of stdout; without --emit, a module.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Specialise a module to a model: its numbers, and the kernels that it needs. A fetched name, or a path.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Write every form of the kernel, from the words of the source to the target's text, to numbered files in this folder, and what
    /// changed between two forms of one language as a diff.
    #[arg(long, value_name = "DIR")]
    pub dump_passes: Option<PathBuf>,
    /// Say what was chosen for the instance, and how long each step took.
    #[arg(short, long)]
    pub verbose: bool,
    /// A constant: a generic (W=q4_1), a dimension (K=64) or a tune name (BM=8).
    #[arg(long = "set", value_name = "K=V")]
    pub set: Vec<String>,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineOptions,
}
