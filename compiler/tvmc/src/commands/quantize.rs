//! `tvmc quantize`: a GGUF file, of another or of a checkpoint's folder, with its weights stored in other types.
//!
//! ```text
//! IN --map--> rows of a tensor --kernel `quantize`--> rows in the new type --> OUT, tensor after tensor
//!                                kernel `quantization_error`: what they lost
//! ```
//!
//! A type may be a format that a file of the user's declares (`--format`): its tensors are rows of bytes for other readers, and the metadata has the
//! declarations and what each tensor is (`gguf::declared`).
//!
//! The kernels are the library's (`stdlib/quantize.tile`); how numbers become codes is said by the formats' own `encode` blocks. At most
//! [`CHUNK`] elements of a tensor are in memory at a time.
//!
//! **What a tensor becomes**, first match: the first `--rule` whose pattern fits its name; itself, if it is a vector or holds no fractions; the
//! `--type`. Where rows are no whole groups of that type, the most precise type below 16 bits whose groups they are takes its place, else f16, and the
//! report says so.
//!
//! OUT is whole or not there. Metadata is copied; the file's own word for its type (`general.file_type`) is left out where it would not be
//! true any more.
//!
//! Refused: safetensors alone, which have no metadata, types that do not say how they are encoded, a rule that fits no tensor, IN as OUT.

use super::progress::Bar;
use super::{Failure, emit_json, say, weights};
use crate::api::{self, Argument};
use crate::cli::QuantizeOptions;
use crate::engine::{Declarations, Library};
use crate::{files, output};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tvmc_types::dtype::DType;
use tvmc_weights::gguf::declared;
use tvmc_weights::gguf::limits::MAX_STRING_BYTES;
use tvmc_weights::gguf::type_ids::{self, TENSOR_TYPES};
use tvmc_weights::gguf::{GgufBody, GgufPlan, Value};
use tvmc_weights::sizes::Block;
use tvmc_weights::{FileKind, TensorInfo, Weights};

/// Elements that are decoded and encoded at a time.
const CHUNK: u64 = 1 << 22;

/// What becomes of a tensor.
struct Step<'a> {
    info: &'a TensorInfo,
    at: usize,
    to: String,
    /// The type that was asked for, where rows do not fit it.
    instead_of: Option<String>,
    /// Bytes of what it becomes.
    bytes: u64,
    loss: Loss,
}

/// What a tensor lost.
#[derive(Copy, Clone, Default)]
struct Loss {
    /// Sum of squared differences.
    squares: f64,
    /// Sum of squares of what was there.
    energy: f64,
    /// The largest difference.
    worst: f64,
    /// The largest magnitude of what was there.
    most: f64,
}

impl Loss {
    /// Root mean square of the differences as a share of that of the numbers.
    fn relative(&self) -> f64 {
        if self.energy > 0.0 { (self.squares / self.energy).sqrt() } else { self.squares.sqrt() }
    }
}

/// `tvmc quantize`.
pub fn quantize(options: &QuantizeOptions, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    let start = Instant::now();
    let file = weights::open(&options.input, interrupted)?;
    if file.kind() == FileKind::SafeTensors {
        return Err(Failure::user(format!("{} has no settings and no tokenizer", file.path().display()))
            .help("give the folder that holds it, with config.json and tokenizer.json"));
    }
    if same_file(file.path(), &options.output) {
        return Err(Failure::usage("the output would replace the input: give it another name"));
    }
    let declared = joined(weights::declarations(&file), declarations(options)?)?;
    let library = || Library::standard_with("quantize", declared.as_ref());
    let standard = Library::standard("quantize")?;
    let sizes = library()?;
    weights::verify_declared(&file, &sizes)?;
    let known = Types::of(&standard, &sizes)?;
    let mut steps = plan(options, &file, &known)?;
    let mut plan = GgufPlan::new();
    metadata(&file, &steps, &known, declared.as_ref(), &mut plan)?;
    for step in &mut steps {
        let (name, shape) = (&step.info.name, &step.info.shape);
        let added = if known.is_own(&step.to) {
            let bytes = sizes.tensor_bytes(&step.to, shape).map_err(Failure::from_error)?;
            plan.tensor(name, &[bytes], declared::STORED_AS)
        } else {
            plan.tensor(name, shape, &step.to)
        };
        step.bytes = added.map_err(Failure::from_error)?;
    }
    let kernel = |name: &str| -> Result<api::Kernel, Failure> {
        api::Kernel::on(library()?, name, &options.machine).map_err(Failure::from_error)
    };
    let mut work = Work {
        file: &file,
        encode: kernel("quantize")?,
        encode_rows: kernel("quantize_rows")?,
        encode_tensor: kernel("quantize_tensor")?,
        largest: kernel("largest")?,
        compare: kernel("quantization_error")?,
        sizes: &sizes,
        interrupted,
        failure: None,
    };
    let written = files::write_whole_with(&options.output, &mut |out| {
        work.all(&plan, &mut steps, out).map_err(|failure| {
            let words = failure.message.clone();
            work.failure = Some(failure);
            std::io::Error::other(words)
        })
    });
    if let Some(failure) = work.failure {
        return Err(failure);
    }
    written.map_err(|e| Failure::user(format!("cannot write {}: {e}", options.output.display())))?;
    report(options, &steps, start)
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// The declarations that the user gives: one file that uses no other but the library's.
fn declarations(options: &QuantizeOptions) -> Result<Option<Declarations>, Failure> {
    let Some(path) = &options.format else { return Ok(None) };
    let library = Library::open(path)?;
    library.check()?;
    let closure = library.closure();
    let own: Vec<_> = closure.sources.iter().filter(|source| !source.name.starts_with("stdlib/")).collect();
    match own.as_slice() {
        [source] if source.text.len() as u64 <= MAX_STRING_BYTES => {
            let (name, text) = (source.name.clone(), source.text.clone());
            Ok(Some(Declarations { name, text }))
        }
        [source] => Err(Failure::user(format!(
            "{} has {} bytes; what travels in a model file has at most {MAX_STRING_BYTES}",
            path.display(),
            source.text.len()
        ))),
        _ => Err(Failure::user(format!("{} uses other files", path.display()))
            .help("its text travels in the model file: put all declarations into one file")),
    }
}

/// What a file declares already, and what the user adds to it.
fn joined(has: Option<Declarations>, given: Option<Declarations>) -> Result<Option<Declarations>, Failure> {
    let (has, given) = match (has, given) {
        (Some(has), Some(given)) => (has, given),
        (has, given) => return Ok(given.or(has)),
    };
    if has.text.contains(&given.text) {
        return Ok(Some(has));
    }
    let text = format!("{}\n{}", has.text.trim_end(), given.text);
    if text.len() as u64 > MAX_STRING_BYTES {
        return Err(Failure::user(format!(
            "{} and {} together have {} bytes; what travels in a model file has at most {MAX_STRING_BYTES}",
            has.name,
            given.name,
            text.len()
        )));
    }
    Ok(Some(Declarations { name: format!("{} with {}", has.name, given.name), text }))
}

/// The types that a tensor can be given.
struct Types {
    /// All that GGUF files have and a kernel can store to.
    stored: Vec<&'static str>,
    /// The formats that are declared beside them, and whether a kernel can store to them.
    own: Vec<(String, bool)>,
}

impl Types {
    fn of(standard: &Library, library: &Library) -> Result<Self, Failure> {
        let formats = standard.stored_formats();
        let float = |name: &str| DType::from_name(name).is_some_and(|d| d.is_float() && d.bits() <= 32);
        let stored = |name: &&str| float(name) || formats.contains(name);
        let (before, stores) = (standard.formats(), library.stored_formats());
        let own = library.formats().into_iter().filter(|name| !before.contains(name));
        let own = own.map(|name| (name.to_owned(), stores.contains(&name))).collect();
        Ok(Self { stored: TENSOR_TYPES.iter().map(|row| row.name).filter(stored).collect(), own })
    }

    fn is_own(&self, name: &str) -> bool {
        self.own.iter().any(|(own, _)| own == name)
    }

    /// The most precise type below 16 bits that rows of this length are whole groups of, else f16.
    fn for_rows_of(&self, columns: u64) -> &'static str {
        let bits = |block: Block| f64::from(block.bytes) * 8.0 / f64::from(block.elements);
        let fits = |block: Block| columns.is_multiple_of(u64::from(block.elements)) && bits(block) < 16.0;
        let rows = TENSOR_TYPES.iter().filter(|row| self.stored.contains(&row.name) && fits(row.block));
        rows.max_by(|a, b| bits(a.block).total_cmp(&bits(b.block))).map_or(DType::F16.name(), |row| row.name)
    }

    fn find(&self, name: &str) -> Result<&str, Failure> {
        match self.own.iter().find(|(own, _)| own == name) {
            Some((own, true)) => return Ok(own),
            Some((_, false)) => {
                return Err(Failure::user(format!(
                    "`{name}` is decoded only: how numbers become its codes does not follow from its `value`"
                ))
                .help("give it an `encode { .. }`: see `Formats` in the reference"));
            }
            None => {}
        }
        let lower = name.to_ascii_lowercase();
        if let Some(found) = self.stored.iter().find(|known| **known == lower) {
            return Ok(found);
        }
        if type_ids::by_name(&lower).is_some() {
            return Err(Failure::user(format!(
                "`{lower}` can be read, but not written: it does not say how numbers become its codes"
            ))
            .help(format!("these do: {}", self.stored.join(", "))));
        }
        let failure = Failure::usage(format!("there is no type `{name}`"));
        let own = self.own.iter().map(|(own, _)| own.as_str());
        Err(failure.did_you_mean(&lower, self.stored.iter().copied().chain(own)))
    }
}

/// Elements of a group of a type.
fn group(name: &str) -> u64 {
    type_ids::by_name(name).map_or(1, |row| u64::from(row.block.elements))
}

/// What becomes of each tensor.
fn plan<'a>(options: &QuantizeOptions, file: &'a Weights, known: &Types) -> Result<Vec<Step<'a>>, Failure> {
    let wanted = known.find(&options.kind)?;
    let mut rules = Vec::new();
    for rule in &options.rule {
        let Some((pattern, kind)) = rule.split_once('=') else {
            return Err(Failure::usage(format!(
                "`{rule}` is no rule: write PATTERN=TYPE, as 'blk.*.ffn_down=bf16'"
            )));
        };
        rules.push((pattern, known.find(kind)?, false));
    }
    let mut steps = Vec::new();
    for (at, info) in file.tensors().iter().enumerate() {
        let ruled = rules.iter_mut().find(|(pattern, ..)| named(pattern, &info.name));
        let fractions = known.stored.contains(&&*info.format)
            || DType::from_name(&info.format).is_none()
            || info.format == "f64";
        let asked = match ruled {
            Some((pattern, kind, used)) => {
                *used = true;
                if !fractions {
                    return Err(Failure::user(format!(
                        "the rule for `{pattern}` fits `{}`, which holds {}, no fractions",
                        info.name, info.format
                    )));
                }
                *kind
            }
            None if info.shape.len() < 2 || !fractions => &info.format,
            None => wanted,
        };
        let columns = info.shape.last().copied().unwrap_or(1);
        // A declared format says itself how a row's last group is filled up.
        let (to, instead_of) = if known.is_own(asked) || columns.is_multiple_of(group(asked)) {
            (asked.to_owned(), None)
        } else {
            (known.for_rows_of(columns).to_owned(), Some(asked.to_owned()))
        };
        steps.push(Step { info, at, to, instead_of, bytes: 0, loss: Loss::default() });
    }
    if let Some((pattern, ..)) = rules.iter().find(|(_, _, used)| !used) {
        return Err(Failure::user(format!("the rule for `{pattern}` decides about no tensor"))
            .help("`tvmc inspect` lists the names; the first rule that fits a tensor counts; `*` stands for any text"));
    }
    Ok(steps)
}

/// Whether a pattern fits a tensor's name, with or without what it is of a layer (`.weight`). `*` stands for any text.
fn named(pattern: &str, name: &str) -> bool {
    let short = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
    fits(pattern, name) || fits(pattern, short)
}

fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    // The leftmost place of each part leaves the most for those after it.
    for part in parts {
        match left.find(part) {
            Some(place) => left = &left[place + part.len()..],
            None => return false,
        }
    }
    left.len() >= last.len() && left.ends_with(last)
}

/// The metadata of the new file.
fn metadata(
    file: &Weights,
    steps: &[Step<'_>],
    known: &Types,
    declared: Option<&Declarations>,
    plan: &mut GgufPlan,
) -> Result<(), Failure> {
    let changed = steps.iter().any(|step| step.to != step.info.format);
    for (key, value) in file.metadata().into_iter().flat_map(|metadata| metadata.iter()) {
        if changed && (key == "general.file_type" || key == "general.quantization_version") {
            continue;
        }
        // Written anew, for what is still stored so.
        if key == declared::DECLARATIONS || key.starts_with(declared::TENSOR) {
            continue;
        }
        plan.metadata(key, value.clone()).map_err(Failure::from_error)?;
    }
    if changed {
        // The version of the block layouts that `TENSOR_TYPES` describes.
        plan.metadata("general.quantization_version", Value::U32(2)).map_err(Failure::from_error)?;
    }
    let mut own = steps.iter().filter(|step| known.is_own(&step.to)).peekable();
    if let (Some(_), Some(declared)) = (own.peek(), declared) {
        let text = Value::String(declared.text.clone());
        plan.metadata(declared::DECLARATIONS, text).map_err(Failure::from_error)?;
        for step in own {
            let entry = declared::entry(&step.info.name, &step.to, &step.info.shape);
            let Some((key, value)) = entry else {
                return Err(Failure::user(format!("the name of `{}` is too long", step.info.name)));
            };
            plan.metadata(&key, value).map_err(Failure::from_error)?;
        }
    }
    Ok(())
}

struct Work<'a> {
    file: &'a Weights,
    encode: api::Kernel,
    encode_rows: api::Kernel,
    encode_tensor: api::Kernel,
    largest: api::Kernel,
    compare: api::Kernel,
    sizes: &'a Library,
    interrupted: &'a Arc<AtomicBool>,
    failure: Option<Failure>,
}

impl Work<'_> {
    fn all(
        &mut self,
        plan: &GgufPlan,
        steps: &mut [Step<'_>],
        out: &mut dyn std::io::Write,
    ) -> Result<(), Failure> {
        let total = steps.iter().map(|step| step.info.bytes).sum();
        let (bar, mut done) = (Bar::new(total), 0);
        let mut body = plan.begin(out).map_err(Failure::from_error)?;
        for step in steps {
            bar.show(&step.info.name, done, total);
            self.tensor(step, &mut body)?;
            done += step.info.bytes;
        }
        body.finish().map_err(Failure::from_error)
    }

    /// A matrix of a tensor: the bytes before its rows, then rows, some at a time. A format with a head finds it before each lot.
    fn matrix(
        &mut self,
        step: &mut Step<'_>,
        (bytes, rows, columns): (&[u8], u64, u64),
        (from_head, to_head): (usize, usize),
        becomes: usize,
        body: &mut GgufBody<'_>,
    ) -> Result<(), Failure> {
        let (from, to) = (step.info.format.to_string(), step.to.clone());
        let failed =
            |error: api::Error| Failure::user(format!("`{}` cannot become {to}: {error}", step.info.name));
        let row = |bytes: usize| bytes / (rows as usize).max(1);
        let (from_row, to_row) = (row(bytes.len() - from_head), row(becomes - to_head));
        let most = (CHUNK / columns.max(1)).clamp(1, rows.max(1));
        let by_rows = to_head > 0 || self.sizes.has_row_fields(&to).map_err(Failure::from_error)?;
        let lots = || (0..rows).step_by(most as usize).map(|first| (first, most.min(rows - first)));
        let input_of = |first: u64, count: u64| {
            let at = from_head + first as usize * from_row;
            let mut input = bytes[..from_head].to_vec();
            input.extend_from_slice(&bytes[at..at + count as usize * from_row]);
            input
        };
        let mut head = vec![0; to_head];
        if to_head > 0 {
            let mut largest = 0f32;
            for (first, count) in lots() {
                let input = input_of(first, count);
                let mut found = vec![0f32; count as usize];
                self.largest
                    .launch(&mut [
                        Argument::stored("x", &from, &input, &[count, columns]),
                        Argument::write("most", &mut found, &[count]),
                    ])
                    .map_err(failed)?;
                largest = found.into_iter().fold(largest, f32::max);
            }
            let mut one = vec![0; to_head + to_row];
            self.encode_tensor
                .launch(&mut [
                    Argument::read("most", &[largest], &[1]),
                    Argument::stored_write("y", &to, &mut one, &[1, columns]),
                ])
                .map_err(failed)?;
            head.copy_from_slice(&one[..to_head]);
            body.write(&head).map_err(Failure::from_error)?;
        }
        let (mut encoded, mut lost) = (Vec::new(), Vec::new());
        for (first, count) in lots() {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Failure::user("interrupted: nothing is written"));
            }
            let (input, shape) = (input_of(first, count), [count, columns]);
            encoded.clear();
            encoded.extend_from_slice(&head);
            encoded.resize(to_head + count as usize * to_row, 0);
            let kernel = if by_rows { &mut self.encode_rows } else { &mut self.encode };
            kernel
                .launch(&mut [
                    Argument::stored("x", &from, &input, &shape),
                    Argument::stored_write("y", &to, &mut encoded, &shape),
                ])
                .map_err(failed)?;
            lost.clear();
            lost.resize(count as usize * 4, 0f32);
            self.compare
                .launch(&mut [
                    Argument::stored("x", &from, &input, &shape),
                    Argument::stored("y", &to, &encoded, &shape),
                    Argument::write("loss", &mut lost, &[count, 4]),
                ])
                .map_err(failed)?;
            for row in lost.chunks_exact(4) {
                step.loss.squares += f64::from(row[0]);
                step.loss.energy += f64::from(row[1]);
                step.loss.worst = step.loss.worst.max(f64::from(row[2]));
                step.loss.most = step.loss.most.max(f64::from(row[3]));
            }
            body.write(&encoded[to_head..]).map_err(Failure::from_error)?;
        }
        Ok(())
    }

    fn tensor(&mut self, step: &mut Step<'_>, body: &mut GgufBody<'_>) -> Result<(), Failure> {
        let bytes = self.file.tensor_bytes(step.at);
        if step.to == step.info.format {
            return body.write(bytes).map_err(Failure::from_error);
        }
        let [stack @ .., columns] = step.info.shape.as_slice() else {
            return body.write(bytes).map_err(Failure::from_error);
        };
        let head = |format: &str| self.sizes.tensor_head(format).map_err(Failure::from_error);
        let (from_head, to_head) = (head(&step.info.format)?, head(&step.to)?);
        // What stands once for a matrix is for its rows; without it, all rows are one matrix.
        let (matrices, rows) = match stack.split_last() {
            Some((rows, stack)) if from_head > 0 || to_head > 0 => (stack.iter().product(), *rows),
            Some(_) | None => (1, stack.iter().product()),
        };
        let whole = |bytes: u64| bytes as usize / (matrices as usize).max(1);
        for matrix in bytes.chunks_exact(whole(step.info.bytes)) {
            self.matrix(step, (matrix, rows, *columns), (from_head, to_head), whole(step.bytes), body)?;
        }
        if !step.loss.squares.is_finite() || !step.loss.energy.is_finite() {
            output::note(&format!(
                "warning: `{}` holds numbers that are not finite, or becomes such as {}",
                step.info.name, step.to
            ));
        }
        Ok(())
    }
}

fn report(options: &QuantizeOptions, steps: &[Step<'_>], start: Instant) -> Result<(), Failure> {
    let (old, new): (u64, u64) =
        (steps.iter().map(|step| step.info.bytes).sum(), steps.iter().map(|step| step.bytes).sum());
    if options.json {
        let tensors: Vec<serde_json::Value> = steps
            .iter()
            .map(|step| {
                serde_json::json!({
                    "name": step.info.name, "shape": step.info.shape, "from": step.info.format, "to": step.to,
                    "instead_of": step.instead_of, "bytes": step.bytes, "error": step.loss.relative(),
                    "worst": step.loss.worst, "largest": step.loss.most,
                })
            })
            .collect();
        return emit_json(&serde_json::json!({
            "output": options.output.display().to_string(), "type": options.kind, "bytes_before": old,
            "bytes_after": new, "tensors": tensors,
        }));
    }
    let mut text = String::from(
        "| tensor | shape | from | to | bytes | error | largest error of |\n|---|---|---|---|---|---|---|\n",
    );
    for step in steps {
        let shape: Vec<String> = step.info.shape.iter().map(ToString::to_string).collect();
        let to = match &step.instead_of {
            Some(asked) => format!("{} (rows are no groups of {asked})", step.to),
            None => step.to.clone(),
        };
        let (error, worst) = if step.to == step.info.format {
            ("-".to_owned(), "-".to_owned())
        } else {
            (
                format!("{:.3} %", 100.0 * step.loss.relative()),
                format!("{:.2e} of {:.2e}", step.loss.worst, step.loss.most),
            )
        };
        text += &format!(
            "| {} | {} | {} | {to} | {} | {error} | {worst} |\n",
            step.info.name,
            shape.join(" x "),
            step.info.format,
            step.bytes
        );
    }
    output::note(&format!(
        "{}: {:.1} MB of weights instead of {:.1} MB, in {:.1} s",
        options.output.display(),
        new as f64 / 1e6,
        old as f64 / 1e6,
        start.elapsed().as_secs_f64()
    ));
    say(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_with_and_without_their_last_part() {
        for (pattern, name, expected) in [
            ("blk.*.ffn_down", "blk.12.ffn_down.weight", true),
            ("blk.*.ffn_down", "blk.12.ffn_up.weight", false),
            ("blk.*.ffn_down.weight", "blk.0.ffn_down.weight", true),
            ("*", "anything", true),
            ("token_embd", "token_embd.weight", true),
            ("token_embd", "token_embd_norm.weight", false),
            ("*attn_*", "blk.3.attn_q.weight", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "a.c.b", false),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(named(pattern, name), expected, "{pattern} {name}");
        }
    }
}
