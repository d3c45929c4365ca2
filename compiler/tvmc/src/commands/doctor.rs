//! `tvmc doctor`: what this machine offers, what the targets use of it, what falls back and why, and what to install.
//!
//! A [`Report`] is gathered first, then shown: as text, or as one JSON value (`docs/cli.md` lists its members). Of all commands that are
//! not told to run on a GPU this is the only one that looks for one.

use super::{Failure, emit_json, say};
use crate::engine::default_threads;
use crate::host;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tvmc_backend_x86::{Features, Level};
use tvmc_gpu::{Adapter, GpuKind, adapters};
use tvmc_weights::fetch::{self, Fetcher};

/// What a target does on this machine.
struct Target {
    name: &'static str,
    /// What it runs with; `None` where it cannot run.
    uses: Option<String>,
    /// What is missing, and what is done instead.
    falls_back: Option<String>,
}

/// A model in the cache.
struct CachedModel {
    name: String,
    path: PathBuf,
    bytes: u64,
}

/// See the module head.
struct Report {
    features: Option<Features>,
    targets: Vec<Target>,
    gpus: Vec<Adapter>,
    cache: Result<PathBuf, String>,
    models: Vec<CachedModel>,
    cache_bytes: u64,
    python: Option<String>,
    pip: Option<String>,
    install: Vec<String>,
}

/// `tvmc doctor`.
pub fn doctor(as_json: bool) -> Result<(), Failure> {
    let report = Report::gather();
    if as_json { emit_json(&report.json()) } else { say(&report.text()) }
}

impl Report {
    fn gather() -> Self {
        let features = Features::detect();
        let gpus = adapters();
        let cache = fetch::cache_directory().map_err(|e| e.to_string());
        let fetcher = cache.clone().ok().map(Fetcher::new);
        let known = fetch::models().unwrap_or_default();
        let cached = known.iter().filter_map(|model| {
            let path = fetcher.as_ref()?.cached(model)?;
            Some(CachedModel { name: model.name.clone(), path, bytes: model.inner_bytes })
        });
        let (python, pip) = python();
        let mut report = Self {
            features,
            targets: targets(features, &gpus),
            gpus,
            models: cached.collect(),
            cache_bytes: cache.as_deref().map_or(0, folder_bytes),
            cache,
            python,
            pip,
            install: Vec::new(),
        };
        report.install = report.missing();
        report
    }

    /// What to install or set, most useful first.
    fn missing(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.python.is_none() {
            list.push("Python 3 with pip, which `tvmc fetch` downloads models with (Debian: apt-get install python3-pip)".to_owned());
        } else if self.pip.is_none() {
            list.push("pip, which `tvmc fetch` downloads models with (Debian: apt-get install python3-pip; else: python3 -m ensurepip)".to_owned());
        }
        if self.gpus.is_empty() {
            list.push("for --target gpu, a Vulkan driver: that of the GPU, or a software device (Debian: apt-get install mesa-vulkan-drivers)".to_owned());
        }
        if host::transparent_huge_pages().as_deref() == Some("never") {
            list.push("huge pages, for faster reading of weights: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled".to_owned());
        }
        if self.cache.is_err() {
            list.push("a cache folder: set TVMC_CACHE".to_owned());
        }
        list
    }

    fn json(&self) -> Value {
        let caches: Vec<Value> = host::caches()
            .iter()
            .map(|c| json!({ "level": c.level, "kind": c.kind.to_lowercase(), "bytes": c.bytes }))
            .collect();
        let features: serde_json::Map<String, Value> =
            host::cpu_features().into_iter().map(|(name, has)| (name.to_owned(), has.into())).collect();
        let memory = host::memory().map(|m| {
            json!({
                "total": m.total, "available": m.available, "huge_page": m.huge_page,
                "huge_pages_reserved": m.huge_pages_reserved,
                "transparent_huge_pages": host::transparent_huge_pages(),
            })
        });
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|t| json!({ "name": t.name, "uses": t.uses, "falls_back": t.falls_back }))
            .collect();
        let models: Vec<Value> = self
            .models
            .iter()
            .map(|m| json!({ "name": m.name, "path": m.path.display().to_string(), "bytes": m.bytes }))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "cpu": {
                "model": host::cpu_model(), "features": features, "caches": caches,
                "code": self.features.map(|f| f.to_string()),
            },
            "threads": default_threads(),
            "memory": memory,
            "targets": targets,
            "gpus": self.gpus.iter().map(adapter_json).collect::<Vec<_>>(),
            "cache": {
                "folder": self.cache.as_ref().ok().map(|p| p.display().to_string()),
                "bytes": self.cache_bytes, "models": models,
            },
            "python": self.python,
            "pip": self.pip,
            "install": self.install,
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "tvmc {} on {} {}\n\nProcessor\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH
        );
        let mut row = |name: &str, value: &str| text += &format!("  {name:<16} {value}\n");
        row("model", host::cpu_model().as_deref().unwrap_or("unknown"));
        let (has, lacks): (Vec<_>, Vec<_>) = host::cpu_features().into_iter().partition(|(_, has)| *has);
        let names = |list: &[host::CpuFeature]| list.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
        row("has", &names(&has));
        if !lacks.is_empty() {
            row("lacks", &names(&lacks));
        }
        row("threads", &default_threads().to_string());
        let caches: Vec<String> = host::caches()
            .iter()
            .filter(|c| c.kind != "Instruction")
            .map(|c| format!("L{} {}", c.level, bytes(c.bytes)))
            .collect();
        row("caches", &caches.join(", "));
        if let Some(memory) = host::memory() {
            row("memory", &format!("{}, {} free", bytes(memory.total), bytes(memory.available)));
            let on_request = match host::transparent_huge_pages().as_deref() {
                Some("always") => "given to all",
                Some("madvise") => "given on request, which tvmc makes",
                Some("never") => "not given",
                Some(_) | None => "unknown",
            };
            let size = memory.huge_page.map_or("unknown size".to_owned(), bytes);
            row("huge pages", &format!("{size}, {on_request}; {} reserved", memory.huge_pages_reserved));
        }
        text += "\nTargets\n";
        for target in &self.targets {
            let uses = target.uses.as_deref().unwrap_or("cannot run");
            text += &format!("  {:<16} {uses}\n", target.name);
            if let Some(why) = &target.falls_back {
                text += &format!("  {:<16} falls back: {why}\n", "");
            }
        }
        text += "\nGPUs\n";
        if self.gpus.is_empty() {
            text += "  none\n";
        }
        for gpu in &self.gpus {
            text += &adapter_text(gpu);
        }
        text += "\nModels\n";
        match &self.cache {
            Ok(folder) => {
                text += &format!("  {:<16} {}, {}\n", "cache", folder.display(), bytes(self.cache_bytes));
            }
            Err(why) => text += &format!("  {:<16} {why}\n", "cache"),
        }
        for model in &self.models {
            text += &format!("  {:<16} {}, {}\n", model.name, bytes(model.bytes), model.path.display());
        }
        text += &format!("  {:<16} {}\n", "python", self.python.as_deref().unwrap_or("not found"));
        text += &format!("  {:<16} {}\n", "pip", self.pip.as_deref().unwrap_or("not found"));
        text += "\nTo install\n";
        if self.install.is_empty() {
            text += "  nothing\n";
        }
        for line in &self.install {
            text += &format!("  - {line}\n");
        }
        text
    }
}

fn targets(features: Option<Features>, gpus: &[Adapter]) -> Vec<Target> {
    let x86 = features.map(|features| {
        let vectors = match features.level {
            Level::V4 => "AVX-512, 512-bit vectors",
            Level::V3 => "AVX2 and FMA, 256-bit vectors",
        };
        format!("{vectors} ({features})")
    });
    let why = match features {
        None if cfg!(target_arch = "x86_64") => {
            Some("this processor lacks AVX2, FMA, F16C or BMI".to_owned())
        }
        None => Some(format!("there is no code generator of its own for {}", std::env::consts::ARCH)),
        Some(features) => x86_fallback(features),
    };
    let portable = "the portable code generator, 128-bit vectors".to_owned();
    let cpu = match (&x86, &why) {
        (Some(uses), _) => {
            Target { name: "cpu", uses: Some(format!("x86: {uses}")), falls_back: why.clone() }
        }
        (None, why) => {
            let why = why.clone().unwrap_or_default();
            Target {
                name: "cpu",
                uses: Some(format!("cranelift: {portable}")),
                falls_back: Some(format!("to cranelift, {why}")),
            }
        }
    };
    let best = gpus.iter().find(|gpu| gpu.problem.is_none());
    let gpu_fallback = best.and_then(gpu_fallback).or_else(|| {
        let reason = gpus.iter().find_map(|gpu| Some(format!("{}: {}", gpu.name, gpu.problem.as_ref()?)));
        best.is_none().then(|| reason.unwrap_or_else(|| "no adapter was found".to_owned()))
    });
    vec![
        cpu,
        Target { name: "x86", uses: x86, falls_back: why },
        Target { name: "cranelift", uses: Some(portable), falls_back: None },
        Target {
            name: "gpu",
            uses: best.map(|gpu| format!("{} ({}, {})", gpu.name, gpu.kind, gpu.interface)),
            falls_back: gpu_fallback,
        },
        Target {
            name: "interp",
            uses: Some("the reference interpreter, one thread, slow".to_owned()),
            falls_back: None,
        },
    ]
}

/// Which instruction sequences are longer for want of an instruction set.
fn x86_fallback(features: Features) -> Option<String> {
    let mut list = Vec::new();
    if features.level == Level::V3 {
        list.push("no AVX-512: 8 lanes a vector instead of 16");
    }
    if !features.vnni {
        list.push("no VNNI: products of bytes take several instructions");
    }
    if features.level == Level::V4 && !features.vbmi {
        list.push("no VBMI: tables of bytes are looked up in several steps");
    }
    (!list.is_empty()).then(|| list.join("; "))
}

/// What kernels do without on a GPU.
fn gpu_fallback(gpu: &Adapter) -> Option<String> {
    let mut list = Vec::new();
    let opened = gpu.opened?;
    if opened.subgroup.is_none() {
        list.push("reductions go through workgroup memory (no fixed subgroup size)");
    }
    if !opened.fused_fma {
        list.push("fma is computed with integers (the device rounds twice)");
    }
    if opened.keeps_subnormals == Some(false) {
        list.push("subnormal numbers become zero");
    }
    if gpu.kind == GpuKind::Software {
        list.push("a software device: right, but slower than --target cpu");
    }
    (!list.is_empty()).then(|| list.join("; "))
}

fn adapter_json(gpu: &Adapter) -> Value {
    json!({
        "name": gpu.name, "kind": gpu.kind.to_string(), "driver": gpu.driver, "interface": gpu.interface,
        "subgroup_min": gpu.subgroup.0, "subgroup_max": gpu.subgroup.1,
        "subgroup_operations": gpu.subgroup_operations,
        "f16": gpu.f16, "cooperative_matrix": gpu.cooperative_matrix,
        "max_buffer": gpu.buffer, "max_binding": gpu.binding, "max_storage_buffers": gpu.storage_buffers,
        "workgroup_memory": gpu.workgroup_memory, "workgroup_invocations": gpu.invocations,
        "subgroup_used": gpu.opened.and_then(|o| o.subgroup),
        "fused_fma": gpu.opened.map(|o| o.fused_fma),
        "keeps_subnormals": gpu.opened.and_then(|o| o.keeps_subnormals),
        "problem": gpu.problem,
    })
}

fn adapter_text(gpu: &Adapter) -> String {
    let yes = |flag: bool| if flag { "yes" } else { "no" };
    let (low, high) = gpu.subgroup;
    let subgroup = if low == high { low.to_string() } else { format!("{low} to {high}") };
    let operations = if gpu.subgroup_operations { "" } else { ", no operations" };
    let mut text = format!("  {} ({}, {}, {})\n", gpu.name, gpu.kind, gpu.interface, gpu.driver);
    let mut row = |name: &str, value: String| text += &format!("    {name:<18} {value}\n");
    row("subgroup", format!("{subgroup}{operations}"));
    row("f16 arithmetic", format!("{} (kernels do not use it)", yes(gpu.f16)));
    row("cooperative matrix", format!("{} (kernels do not use it)", yes(gpu.cooperative_matrix)));
    row("largest buffer", format!("{}, {} bound at once", bytes(gpu.buffer), bytes(gpu.binding)));
    row("buffers a kernel", gpu.storage_buffers.to_string());
    row("workgroup", format!("{} invocations, {}", gpu.invocations, bytes(gpu.workgroup_memory.into())));
    if let Some(problem) = &gpu.problem {
        row("cannot be used", problem.clone());
    }
    text
}

/// The versions of Python and of its pip, where they are found.
fn python() -> (Option<String>, Option<String>) {
    for name in ["python3", "python"] {
        let ask = |arguments: &[&str]| {
            let output = Command::new(name).args(arguments).stdin(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            (output.status.success() && !text.is_empty()).then_some(text)
        };
        if let Some(version) = ask(&["--version"]) {
            // `pip 24.0 from /somewhere (python 3.12)`: the place is of no interest.
            let pip = ask(&["-m", "pip", "--version"])
                .map(|text| text.split(" from ").next().unwrap_or(&text).to_owned());
            return (Some(version), pip);
        }
    }
    (None, None)
}

/// Bytes of all files below a folder; links are not followed.
fn folder_bytes(folder: &Path) -> u64 {
    let mut open = vec![folder.to_owned()];
    let mut sum = 0u64;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                sum = sum.saturating_add(entry.metadata().map_or(0, |m| m.len()));
            }
        }
    }
    sum
}

/// A size as people say it.
fn bytes(count: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0 && value.fract() > 0.0);
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(48 << 10), "48 KiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(u64::MAX), "16 EiB");
    }

    /// Every processor gets a target that runs; a fallback always says why.
    #[test]
    fn each_level_is_explained() {
        for features in [None, Some(Features::baseline(Level::V3)), Some(Features::baseline(Level::V4))] {
            let list = targets(features, &[]);
            assert!(list[0].uses.is_some() && list[0].falls_back.is_some());
            assert_eq!(list[1].uses.is_some(), features.is_some());
            let gpu = list.iter().find(|t| t.name == "gpu").expect("a row");
            assert!(gpu.uses.is_none() && gpu.falls_back.is_some());
        }
    }
}
