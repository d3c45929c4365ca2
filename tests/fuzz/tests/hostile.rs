//! Hostile files: what broke other readers, by its record, and every truncation of small sound files. Each is judged as the fuzzer judges: no panic, bounded memory
//! and time, and here it must be refused.

#[path = "../../../runtime/weights/tests/support/raw.rs"]
mod raw;

use raw::Raw;
use tvmc_fuzz::corpus;
use tvmc_fuzz::report::Coverage;
use tvmc_fuzz::targets::{Depth, Outcome, Target};
use tvmc_fuzz::trial::judge;

impl Raw {
    /// An array's element type and count.
    fn array(self, element: u32, count: u64) -> Self {
        self.u32(9).u32(element).u64(count)
    }
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend((0..data).map(|i| i as u8));
    file
}

fn npy(header: &str, data: usize) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.resize(file.len() + data, 0);
    file
}

/// (where others broke, what is wrong, target, file)
fn record() -> Vec<(&'static str, &'static str, Target, Vec<u8>)> {
    let one = |shape: &[u64], id, offset, data| Raw::start(3, 1, 0).tensor("w", shape, id, offset).data(data);
    let entry = |key: &str| Raw::start(3, 0, 1).string(key);
    use Target::{Gguf, Npy, SafeTensors};
    vec![
        (
            "CVE-2024-23496, TALOS-2024-1913",
            "a count of metadata for which there is no room",
            Gguf,
            Raw::start(3, 0, 1 << 61).data(64),
        ),
        (
            "CVE-2024-21802",
            "a count of tensors for which there is no room",
            Gguf,
            Raw::start(3, 1 << 61, 0).data(64),
        ),
        (
            "CVE-2025-49847",
            "a token longer than the file",
            Gguf,
            entry("tokenizer.ggml.tokens").array(8, 1).u64(1 << 31).data(64),
        ),
        (
            "CVE-2025-53630",
            "sizes of tensors that wrap when they are added up",
            Gguf,
            Raw::start(3, 2, 0)
                .tensor("a", &[1 << 62], 24, 0)
                .tensor("b", &[1 << 62, 3], 24, 1 << 62)
                .data(64),
        ),
        (
            "CVE-2026-27940",
            "the same, past a check of each alone",
            Gguf,
            Raw::start(3, 2, 0)
                .tensor("a", &[u64::MAX - 63], 24, 0)
                .tensor("b", &[128], 24, u64::MAX - 63)
                .data(64),
        ),
        (
            "CVE-2026-33298",
            "a product of extents that wraps to a small one",
            Gguf,
            one(&[1 << 32, 1 << 32, 4], 0, 0, 64),
        ),
        ("llama.cpp P25969", "a size that wraps as it is padded", Gguf, one(&[u64::MAX - 7], 24, 0, 64)),
        (
            "llama.cpp P25821",
            "an alignment above all reason",
            Gguf,
            entry("general.alignment").u32(4).u32(1 << 31).data(64),
        ),
        (
            "llama.cpp P24997",
            "an alignment of another type",
            Gguf,
            entry("general.alignment").u32(8).string("32").data(64),
        ),
        ("candle P3713", "an alignment of zero", Gguf, entry("general.alignment").u32(4).u32(0).data(64)),
        ("CVE-2024-39720", "a file of four bytes", Gguf, b"GGUF".to_vec()),
        ("CVE-2024-12055", "an offset beyond the file", Gguf, one(&[8], 0, 1 << 40, 64)),
        ("CVE-2025-66960", "a string as long as memory", Gguf, entry("k").u32(8).u64(u64::MAX).data(64)),
        ("Ollama I16189", "an array as long as memory", Gguf, entry("k").array(0, u64::MAX / 2).data(64)),
        (
            "Ollama I17032",
            "arrays of arrays without end",
            Gguf,
            (0..1000).fold(entry("k").u32(9), |raw, _| raw.u32(9).u64(1)).data(64),
        ),
        (
            "CVE-2026-7482",
            "a tensor larger than the file, whose rest is other people's memory",
            Gguf,
            one(&[1 << 20], 0, 0, 64),
        ),
        (
            "candle I3533",
            "a count of strings that is allocated before it is read",
            Gguf,
            entry("k").array(8, 1 << 40).data(64),
        ),
        ("turboquant P6", "a type id that nobody has defined", Gguf, one(&[32], 1000, 0, 64)),
        ("llama.cpp P26690", "a truth value of 2", Gguf, entry("k").u32(7).bytes(&[2]).data(64)),
        (
            "imp I1603",
            "tensors that overlap",
            Gguf,
            Raw::start(3, 2, 0).tensor("a", &[8], 0, 0).tensor("b", &[8], 0, 0).data(64),
        ),
        (
            "mlx P3364",
            "offsets that do not fit the shape",
            SafeTensors,
            safetensors(r#"{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}"#, 4),
        ),
        (
            "stable-diffusion.cpp P1754",
            "an unknown dtype, with which others skip the checks",
            SafeTensors,
            safetensors(r#"{"a":{"dtype":"X","shape":[9],"data_offsets":[0,1000000]}}"#, 4),
        ),
        (
            "lattice I752",
            "two names for the same bytes",
            SafeTensors,
            safetensors(
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        (
            "safetensors' own attacks",
            "a header as long as memory",
            SafeTensors,
            [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        ),
        (
            "safetensors' own attacks",
            "a shape whose size wraps",
            SafeTensors,
            safetensors(r#"{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
        ),
        (
            "safetensors' own attacks",
            "brackets without end",
            SafeTensors,
            safetensors(&format!("{{\"a\":{}", "[".repeat(50_000)), 0),
        ),
        (
            "candle P3876",
            "an array whose size wraps",
            Npy,
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }\n", 16),
        ),
        (
            "NumPy's pickles",
            "an array of objects, which would run a program",
            Npy,
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", 8),
        ),
        (
            "numbers in JSON",
            "an extent below zero",
            Npy,
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n", 16),
        ),
    ]
}

fn outcome(target: Target, file: &[u8]) -> Outcome {
    judge(target.open().as_mut(), file, Depth::Full, &mut Coverage::default())
        .unwrap_or_else(|failure| panic!("{}: {}", target.name(), failure.what))
}

#[test]
fn files_that_broke_other_readers_are_refused() {
    for (id, what, target, file) in record() {
        assert_eq!(outcome(target, &file), Outcome::Refused, "{id}: {what}");
    }
}

/// No byte of a file but padding can be missing.
#[test]
fn every_truncation_is_refused() {
    let files = [
        (Target::Gguf, corpus::ggufs()),
        (Target::SafeTensors, corpus::safetensors()),
        (Target::Module, corpus::modules()),
        (Target::Npy, corpus::arrays()),
    ];
    for (target, files) in files {
        let mut fuzzed = target.open();
        let mut judged = |file: &[u8], depth| {
            judge(fuzzed.as_mut(), file, depth, &mut Coverage::default())
                .unwrap_or_else(|failure| panic!("{}: {}", target.name(), failure.what))
        };
        for file in files {
            assert_eq!(judged(&file, Depth::Full), Outcome::Accepted, "{}", target.name());
            let padding = file.len().saturating_sub(32);
            for cut in 0..file.len() {
                if judged(&file[..cut], Depth::Quick) == Outcome::Accepted {
                    let missing = &file[cut..];
                    let harmless =
                        target == Target::Gguf && cut > padding && missing.iter().all(|byte| *byte == 0);
                    assert!(
                        harmless,
                        "{}: {cut} of {} bytes are taken for the whole",
                        target.name(),
                        file.len()
                    );
                }
            }
        }
    }
}

/// Vocabularies of a file are used only after all of their tables have been compared with each other.
#[test]
fn vocabularies_that_broke_other_readers_are_refused() {
    use tvmc_model::tokenizer::Tokenizer;
    use tvmc_weights::gguf::{Array, Metadata, Value};
    let strings = |list: &[&str]| Value::Array(Array::String(list.iter().collect()));
    let cases = [
        ("llama.cpp P25969: a byte token below zero", "tokenizer.ggml.tokens", strings(&["<0x-1>"])),
        (
            "llama.cpp P26690: tokens that are numbers",
            "tokenizer.ggml.tokens",
            Value::Array(Array::U64(vec![1 << 60])),
        ),
        (
            "llama.cpp P26318: kinds of fewer tokens",
            "tokenizer.ggml.token_type",
            Value::Array(Array::I32(vec![1])),
        ),
        ("CVE-2026-21869: an id below zero", "tokenizer.ggml.bos_token_id", Value::I32(-1)),
        ("an id outside", "tokenizer.ggml.eos_token_id", Value::U32(u32::MAX)),
        (
            "scores that are no numbers",
            "tokenizer.ggml.scores",
            Value::Array(Array::F32(vec![f32::NAN; 270])),
        ),
    ];
    for (what, changed, value) in cases {
        let mut metadata = Metadata::default();
        for (key, old) in corpus::vocabulary_metadata("llama").iter() {
            let new = if key == changed { value.clone() } else { old.clone() };
            metadata.insert(key.to_owned(), new).expect("no key twice");
        }
        assert!(Tokenizer::from_gguf(&metadata).is_err(), "{what}");
    }
}
