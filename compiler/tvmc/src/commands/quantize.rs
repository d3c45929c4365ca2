//! `tvmc quantize`: a GGUF file with its weights stored in other types.
//!
//! ```text
//! IN --map--> rows of a tensor --kernel `quantize`--> rows in the new type --> OUT, tensor after tensor
//!                                kernel `quantization_error`: what they lost
//! ```
//!
//! Both kernels are the library's (`stdlib/quantize.tile`); how numbers become codes is said by the formats' own `encode` blocks. At most
//! [`CHUNK`] elements of a tensor are in memory at a time.
//!
//! **What a tensor becomes**, first match: the first `--rule` whose pattern fits its name; itself, if it is a vector or holds no fractions; the
//! `--type`. Where rows are no whole groups of that type, the most precise type below 16 bits whose groups they are takes its place, else f16, and the
//! report says so.
//!
//! OUT is whole or not there. Metadata is copied; the file's own word for its type (`general.file_type`) is left out where it would not be
//! true any more.
//!
//! Refused: files without metadata, types that do not say how they are encoded, a rule that fits no tensor, IN as OUT.

use super::progress::Bar;
use super::{Failure, emit_json, say, weights};
use crate::api::{self, Argument};
use crate::cli::QuantizeOptions;
use crate::engine::Library;
use crate::{files, output};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tvmc_types::dtype::DType;
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
    to: &'static str,
    /// The type that was asked for, where rows do not fit it.
    instead_of: Option<&'static str>,
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
    if file.kind() != FileKind::Gguf {
        return Err(Failure::user(format!("{} is no GGUF file", file.path().display()))
            .help("other weight files carry neither settings nor a tokenizer: convert it to GGUF first"));
    }
    if same_file(file.path(), &options.output) {
        return Err(Failure::usage("the output would replace the input: give it another name"));
    }
    let library = Library::standard("quantize")?;
    let known = Types::of(&library);
    let mut steps = plan(options, &file, &known)?;
    let mut plan = GgufPlan::new();
    metadata(&file, &steps, &mut plan)?;
    for step in &mut steps {
        step.bytes = plan.tensor(&step.info.name, &step.info.shape, step.to).map_err(Failure::from_error)?;
    }
    let kernel = |library: Library, name: &str| {
        api::Kernel::on(library, name, &options.machine).map_err(Failure::from_error)
    };
    let mut work = Work {
        file: &file,
        encode: kernel(library, "quantize")?,
        compare: kernel(Library::standard("quantize")?, "quantization_error")?,
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

/// The types that a tensor can be given.
struct Types {
    /// All that GGUF files have and a kernel can store to.
    stored: Vec<&'static str>,
}

impl Types {
    fn of(library: &Library) -> Self {
        let formats = library.stored_formats();
        let float = |name: &str| DType::from_name(name).is_some_and(|d| d.is_float() && d.bits() <= 32);
        let stored = |name: &&str| float(name) || formats.contains(name);
        Self { stored: TENSOR_TYPES.iter().map(|row| row.name).filter(stored).collect() }
    }

    /// The most precise type below 16 bits that rows of this length are whole groups of, else f16.
    fn for_rows_of(&self, columns: u64) -> &'static str {
        let bits = |block: Block| f64::from(block.bytes) * 8.0 / f64::from(block.elements);
        let fits = |block: Block| columns.is_multiple_of(u64::from(block.elements)) && bits(block) < 16.0;
        let rows = TENSOR_TYPES.iter().filter(|row| self.stored.contains(&row.name) && fits(row.block));
        rows.max_by(|a, b| bits(a.block).total_cmp(&bits(b.block))).map_or(DType::F16.name(), |row| row.name)
    }

    fn find(&self, name: &str) -> Result<&'static str, Failure> {
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
        Err(failure.did_you_mean(&lower, self.stored.iter().copied()))
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
        let fractions = known.stored.contains(&info.format)
            || DType::from_name(info.format).is_none()
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
            None if info.shape.len() < 2 || !fractions => info.format,
            None => wanted,
        };
        let columns = info.shape.last().copied().unwrap_or(1);
        let (to, instead_of) = if columns.is_multiple_of(group(asked)) {
            (asked, None)
        } else {
            (known.for_rows_of(columns), Some(asked))
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
fn metadata(file: &Weights, steps: &[Step<'_>], plan: &mut GgufPlan) -> Result<(), Failure> {
    let changed = steps.iter().any(|step| step.to != step.info.format);
    for (key, value) in file.metadata().into_iter().flat_map(|metadata| metadata.iter()) {
        if changed && (key == "general.file_type" || key == "general.quantization_version") {
            continue;
        }
        plan.metadata(key, value.clone()).map_err(Failure::from_error)?;
    }
    if changed {
        // The version of the block layouts that `TENSOR_TYPES` describes.
        plan.metadata("general.quantization_version", Value::U32(2)).map_err(Failure::from_error)?;
    }
    Ok(())
}

struct Work<'a> {
    file: &'a Weights,
    encode: api::Kernel,
    compare: api::Kernel,
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

    fn tensor(&mut self, step: &mut Step<'_>, body: &mut GgufBody<'_>) -> Result<(), Failure> {
        let bytes = self.file.tensor_bytes(step.at);
        if step.to == step.info.format {
            return body.write(bytes).map_err(Failure::from_error);
        }
        let failed = |error: api::Error| {
            Failure::user(format!("`{}` cannot become {}: {error}", step.info.name, step.to))
        };
        let columns = step.info.shape.last().copied().unwrap_or(1);
        let rows = step.info.elements() / columns.max(1);
        let row = |bytes: u64| bytes as usize / (rows as usize).max(1);
        let (from_row, to_row) = (row(step.info.bytes), row(step.bytes));
        let most = (CHUNK / columns.max(1)).clamp(1, rows.max(1));
        let (mut encoded, mut lost) = (Vec::new(), Vec::new());
        for first in (0..rows).step_by(most as usize) {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Failure::user("interrupted: nothing is written"));
            }
            let count = most.min(rows - first);
            let input = &bytes[first as usize * from_row..(first + count) as usize * from_row];
            let shape = [count, columns];
            encoded.clear();
            encoded.resize(count as usize * to_row, 0);
            self.encode
                .launch(&mut [
                    Argument::stored("x", step.info.format, input, &shape),
                    Argument::stored_write("y", step.to, &mut encoded, &shape),
                ])
                .map_err(failed)?;
            lost.clear();
            lost.resize(count as usize * 4, 0f32);
            self.compare
                .launch(&mut [
                    Argument::stored("x", step.info.format, input, &shape),
                    Argument::stored("y", step.to, &encoded, &shape),
                    Argument::write("loss", &mut lost, &[count, 4]),
                ])
                .map_err(failed)?;
            for row in lost.chunks_exact(4) {
                step.loss.squares += f64::from(row[0]);
                step.loss.energy += f64::from(row[1]);
                step.loss.worst = step.loss.worst.max(f64::from(row[2]));
                step.loss.most = step.loss.most.max(f64::from(row[3]));
            }
            body.write(&encoded).map_err(Failure::from_error)?;
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
        let to = match step.instead_of {
            Some(asked) => format!("{} (rows are no groups of {asked})", step.to),
            None => step.to.to_owned(),
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
