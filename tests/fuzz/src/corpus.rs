//! Sound inputs of every kind, small, from which others are made by mutation.
//!
//! Sources and IR texts come from the filetests, the standard library and the generators, so what is added there is fuzzed too. Files are written by the
//! product's own writers.

use tvmc_ir::host::Number;
use tvmc_ir::module::{FormatSize, Import, Instance, Key, Module, Source, Wanted, write};
use tvmc_ir::program::Interface;
use tvmc_ir::tile;
use tvmc_passes::target::TARGETS;
use tvmc_tests::filetests;
use tvmc_tests::generate::{Floats, generate};
use tvmc_tests::random::Random;
use tvmc_tests::source_programs;
use tvmc_weights::gguf::{Array, GgufWriter, Metadata, Value};
use tvmc_weights::npy::{NpyArray, NpyDtype};

/// No seed is longer: long ones make slow mutants and few changes.
const MAX_SEED: usize = 6000;

/// Signs and words of the language.
pub const SIGNS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    ",",
    ":",
    "->",
    "+:",
    "..",
    "@",
    "//",
    "///",
    "/*",
    "\"",
    "\\",
    "=",
    "==",
    "<",
    "<<",
    "&&",
    "!",
    "-",
    "*",
    "%",
    "0x",
    "1e9",
    "1.",
    "u3",
    "f8e4m3",
    "kernel ",
    "fn ",
    "format ",
    "table ",
    "program ",
    "const ",
    "use ",
    "for ",
    "while ",
    "if ",
    "else ",
    "break;",
    "return ",
    "\u{1f600}",
    "\r\n",
    "\t",
    "\0",
    "\u{feff}",
];
/// Words of IR texts.
pub const IR_WORDS: &[&str] =
    &["kernel @k", "program @p", "interface @i", "tensor", "v0", "p0", "f32", "i64", "u3", "\"", "@", "#"];
/// Words of GGUF files.
pub const GGUF_WORDS: &[&str] = &[
    "GGUF",
    "general.alignment",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.merges",
    "tokenizer.chat_template",
    "<0x-1>",
    "<0xFF>",
    "<0x1>",
    "llama",
    "gpt2",
    "\u{0}",
];
/// Words of safetensors headers.
pub const SAFETENSORS_WORDS: &[&str] = &[
    "\"dtype\":\"F32\"",
    "\"shape\":[",
    "\"data_offsets\":[0,0]",
    "__metadata__",
    "\"F8_E4M3\"",
    "\"BOOL\"",
    "{}",
    "[[[[",
    "null",
    "1e400",
    "-1",
    "\\u0000",
];
/// Words of array headers.
pub const NPY_WORDS: &[&str] = &[
    "'descr'",
    "'<f4'",
    "'>f4'",
    "'|b1'",
    "'<c8'",
    "True",
    "False",
    "'shape'",
    "(",
    ")",
    ",",
    "'fortran_order'",
    "[('a', '<f4')]",
    "L",
];
/// Templates in the manner of models.
pub const TEMPLATES: &[&str] = &[
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0].content | trim %}{% set loop_messages = messages[1:] %}{% else %}{% set system = '' %}{% set loop_messages = messages %}{% endif %}{% for m in loop_messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{{ '[INST] ' ~ m.content.strip() ~ ' [/INST]' }}{% endfor %}{{ eos_token }}",
    "{%- macro turn(role, text) -%}<{{ role|upper }}>{{ text.split(' ')|join('_') }}{%- endmacro -%}{%- for m in messages if m.role != 'system' -%}{{ turn(m.role, m.content.replace('a', 'b')) }}{{ '\\n' if not loop.last }}{%- endfor -%}",
    "{% set ns = namespace(n=0) %}{% for m in messages|reverse %}{% set ns.n = ns.n + m.content|length %}{% endfor %}{{ ns.n }}{{ messages|map(attribute='role')|list|tojson }}{{ range(3)|sum }}{{ {'a': [1, 2.5, none, true]}.items()|list }}",
    "{% filter upper %}{{ 'x' * 3 }}{% endfilter %}{{ 'abc'[::-1] }}{{ 7 // 2 }}{{ 2 ** 10 }}{{ 'a' in 'abc' and 1 is number or x is defined }}{# note #}{% raw %}{{ raw }}{% endraw %}{{ '%s' | format(1) if false else 'e' | default('d', true) }}",
];
/// Words of templates.
pub const TEMPLATE_WORDS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{%-",
    "-%}",
    "for",
    "endfor",
    "in",
    "if",
    "else",
    "elif",
    "endif",
    "set",
    "macro",
    "endmacro",
    "range(99999999)",
    "loop",
    "recursive",
    "* 99999999",
    "~",
    "|join",
    "|indent(99999)",
    "|batch(3)",
    "|slice(2)",
    "|tojson",
    "|center(9999999)",
    "** 64",
    "// 0",
    "% 0",
    "[::0]",
    "[-1]",
    "include",
    "import",
    "extends",
    "block",
    "call",
    "filter",
    "namespace()",
    "- - -",
    "not",
    "is",
    "none",
    "(",
    "((((((",
    "[[[[[[",
];
/// Prompts of every script and kind.
pub const PROMPTS: &[&str] = &[
    "Once upon a time, there was a little girl named",
    "it's 12:30 — don't we'll I'VE\r\n\r\n\t x",
    "日本語のテキスト。한국어 العربية हिन्दी e\u{301}\u{301} \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "<|im_start|>user\n<0x0A>▁▁ \u{0}\u{7f}\u{ad}\u{2028}\u{fffd}\u{10ffff}",
    "        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!!!!!!!!!!!!!!1234567890123456789",
];

/// The filetests, where the source tree is. A copied program has none, and begins with what is made here.
fn files() -> Vec<filetests::FileTest> {
    filetests::all().unwrap_or_default()
}

/// Sources.
pub fn sources() -> Vec<String> {
    let files =
        files().into_iter().filter(|t| t.path.extension().is_some_and(|e| e == "tile")).map(|t| t.source);
    let library = tvmc_stdlib::MODULES.iter().map(|module| module.source.to_owned());
    let drawn = (0..24).map(|seed| source_programs::case(seed).source);
    files.chain(library).chain(drawn).filter(|text| text.len() <= MAX_SEED).collect()
}

/// IR texts of every kind.
pub fn ir_texts() -> Vec<String> {
    let kinds = ["tir", "lir", "pir", "mir", "lane", "program"];
    let files = files();
    let machine = files.iter().filter(|t| t.stage == filetests::Stage::Machine);
    let machine: Vec<String> = machine.filter_map(|t| t.expected.clone()).collect();
    let files = files
        .into_iter()
        .filter(|t| t.path.extension().is_some_and(|e| kinds.iter().any(|kind| e == *kind)))
        .map(|t| t.source.lines().filter(|line| !line.starts_with(";;")).collect::<Vec<_>>().join("\n"));
    let drawn = kernels().map(|kernel| kernel.to_string());
    let (programs, interfaces) = llama();
    let llama = programs.iter().map(|p| p.to_string()).chain(interfaces.iter().map(ToString::to_string));
    let texts = files.chain(machine).chain(drawn).chain(lowered()).chain(llama);
    texts.filter(|text| !text.is_empty() && text.len() <= 2 * MAX_SEED).collect()
}

/// Lane IR of small drawn kernels, for each target in turn.
fn lowered() -> impl Iterator<Item = String> {
    kernels().zip(TARGETS.into_iter().cycle()).filter_map(|(kernel, target)| {
        let lowered = tvmc_passes::lower(&kernel, &target, &tvmc_passes::Options::default()).ok()?;
        Some(lowered.function.to_string())
    })
}

/// Small drawn kernels.
fn kernels() -> impl Iterator<Item = tile::Kernel> {
    let mut random = Random::new(99);
    (0..96).map(move |at| {
        let tape: Vec<u32> = (0..20 + at).map(|_| random.below(2520) as u32).collect();
        generate(&tape, if at % 2 == 0 { Floats::Exact } else { Floats::Wild }).kernel
    })
}

/// The program and the interfaces of the standard library's model.
fn llama() -> (Vec<tvmc_ir::program::Verified>, Vec<Interface>) {
    let (module, program) = tvmc_stdlib::program_for("llama").expect("there is one");
    let mut load = |wanted: tvmc_sema::Use<'_>| match wanted {
        tvmc_sema::Use::Library(name) => tvmc_stdlib::module(name)
            .map(|text| tvmc_sema::Source { name: name.to_owned(), text: text.to_owned() }),
        tvmc_sema::Use::File { .. } => None,
    };
    let text = tvmc_stdlib::module(module).expect("it is there").to_owned();
    let root = tvmc_sema::Source { name: module.into(), text };
    let library = tvmc_sema::Library::load(root, tvmc_stdlib::PRELUDE, &mut load).library;
    let programs = tvmc_sema::program(&library, program).into_iter().collect();
    let interfaces =
        library.kernels().into_iter().filter_map(|name| tvmc_sema::interface(&library, name).ok());
    let interfaces = interfaces.map(|interface| interface.to_ir()).collect();
    (programs, interfaces)
}

/// The words that occur in texts, each once.
pub fn vocabulary(seeds: &[Vec<String>]) -> Vec<String> {
    let words: std::collections::BTreeSet<&String> = seeds.iter().flatten().collect();
    words.into_iter().cloned().collect()
}

/// Module files: sources only; a program with interfaces; instances.
pub fn modules() -> Vec<Vec<u8>> {
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let sources = Module {
        build: "corpus".into(),
        sources: vec![
            source("main.tile", "use nn;\nuse \"a.tile\";\n"),
            source("nn", ""),
            source("a.tile", "// ü\n"),
        ],
        imports: vec![
            Import { wanted: Wanted::File { from: 0, path: "a.tile".into() }, source: 2 },
            Import { wanted: Wanted::Library("nn".into()), source: 1 },
        ],
        ..Module::default()
    };
    let (programs, interfaces) = llama();
    let model = Module { build: "corpus".into(), programs, interfaces, ..Module::default() };
    let mut settings = model.clone();
    let hypers = settings.programs.iter().flat_map(|program| program.hypers.clone());
    settings.settings = hypers
        .map(|hyper| (hyper.name, if hyper.dtype.is_float() { Number::Float(1e4) } else { Number::Int(64) }))
        .collect();
    let mut instances: Vec<Module> = kernels()
        .filter_map(|kernel| tile::verify(kernel).ok())
        .take(16)
        .map(|kernel| {
            let key = Key { kernel: kernel.name.clone(), ..Key::default() };
            let formats = kernel.formats.iter();
            let formats = formats.map(FormatSize::from).collect();
            let interfaces = vec![Interface::from(&*kernel)];
            Module { interfaces, formats, instances: vec![Instance { key, kernel }], ..Module::default() }
        })
        .collect();
    instances.extend([sources, model, settings]);
    instances.iter_mut().for_each(Module::sort);
    instances.iter().map(write).filter(|file| file.len() < 5 * MAX_SEED).collect()
}

/// Metadata with a small vocabulary of a kind (`gpt2` or `llama`), a chat template and a model's numbers.
pub fn vocabulary_metadata(model: &str) -> Metadata {
    let mut metadata = Metadata::default();
    let mut add = |key: &str, value: Value| {
        metadata.insert(key.to_owned(), value).expect("no key twice");
    };
    let strings = |list: &[String]| Value::Array(Array::String(list.iter().map(String::as_str).collect()));
    add("general.architecture", Value::String("llama".into()));
    add("general.alignment", Value::U32(32));
    add("tokenizer.ggml.model", Value::String(model.into()));
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    let mut kinds = vec![2, 3, 3];
    if model == "gpt2" {
        tokens.extend((0..=255).map(letter).map(String::from));
        tokens.extend(["he", "ll", "llo", "hello", "Ġw", "<|im_start|>"].map(str::to_owned));
        kinds.resize(tokens.len() - 1, 1);
        kinds.push(3);
        add("tokenizer.ggml.pre", Value::String("smollm".into()));
        add("tokenizer.ggml.merges", strings(&["h e", "l l", "ll o", "he llo", "Ġ w"].map(str::to_owned)));
    } else {
        tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
        kinds.resize(tokens.len(), 6);
        tokens
            .extend(["▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "é"].map(str::to_owned));
        kinds.resize(tokens.len(), 1);
        let scores = (0..tokens.len()).map(|at| -(at as f32)).collect();
        add("tokenizer.ggml.scores", Value::Array(Array::F32(scores)));
        add("tokenizer.ggml.unknown_token_id", Value::U32(0));
    }
    add("tokenizer.ggml.tokens", strings(&tokens));
    add("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    add("tokenizer.ggml.bos_token_id", Value::U32(1));
    add("tokenizer.ggml.eos_token_id", Value::U32(2));
    add("tokenizer.ggml.add_bos_token", Value::Bool(true));
    add("tokenizer.chat_template", Value::String(TEMPLATES[0].into()));
    add("llama.block_count", Value::U32(1));
    add("llama.rope.freq_base", Value::F32(1e4));
    metadata
}

/// The letter that byte-level vocabularies write for a byte: printable ones stand for themselves, the others follow from U+0100.
fn letter(byte: u8) -> char {
    let itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if itself(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !itself(*other)).count();
    char::from_u32(0x100 + before as u32).expect("a letter")
}

/// GGUF files: tensors of several formats; values of every type; both kinds of vocabulary.
pub fn ggufs() -> Vec<Vec<u8>> {
    let ramp = |bytes: usize| (0..bytes).map(|i| i as u8).collect::<Vec<u8>>();
    let mut tensors = GgufWriter::new();
    tensors.metadata("general.alignment", Value::U32(8)).expect("sound");
    tensors.tensor("odd", &[3], "f32", ramp(12)).expect("sound");
    tensors.tensor("blocks", &[2, 3, 64], "q4_1", ramp(240)).expect("sound");
    tensors.tensor("last", &[1, 1, 1, 5], "i8", ramp(5)).expect("sound");
    let mut values = GgufWriter::new();
    let nested = Array::Array(vec![
        Array::Array(vec![Array::U8(vec![1]), Array::String(["", "a"].iter().collect())]),
        Array::F32(vec![0.5, -1.0]),
    ]);
    let list = [
        Value::U8(200),
        Value::I16(-3),
        Value::F32(1.5),
        Value::Bool(true),
        Value::String("ünï".into()),
        Value::U64(u64::MAX),
        Value::F64(-0.1),
        Value::Array(nested),
        Value::Array(Array::Bool(vec![true, false])),
        Value::Array(Array::I64(vec![-1; 9])),
    ];
    for (at, value) in list.into_iter().enumerate() {
        values.metadata(&format!("key.{at}"), value).expect("sound");
    }
    let mut files = vec![tensors.to_bytes().expect("sound"), values.to_bytes().expect("sound")];
    for model in ["gpt2", "llama"] {
        let mut writer = GgufWriter::new();
        for (key, value) in vocabulary_metadata(model).iter() {
            writer.metadata(key, value.clone()).expect("sound");
        }
        writer.tensor("token_embd.weight", &[4, 32], "q8_0", ramp(4 * 34)).expect("sound");
        files.push(writer.to_bytes().expect("sound"));
    }
    files
}

/// safetensors files.
pub fn safetensors() -> Vec<Vec<u8>> {
    let file = |header: &str, data: usize| {
        let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
        let mut file = (padded.len() as u64).to_le_bytes().to_vec();
        file.extend(padded.bytes());
        file.extend((0..data).map(|i| i as u8));
        file
    };
    vec![
        file("{}", 0),
        file(
            r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I8","shape":[5],"data_offsets":[24,29]}}"#,
            29,
        ),
        file(
            r#"{"__metadata__":{"format":"pt","note":"\u00fc"},"model.layers.0.w":{"dtype":"BF16","shape":[4,1,2],"data_offsets":[0,16]},"s":{"dtype":"U8","shape":[],"data_offsets":[16,17]}}"#,
            17,
        ),
        file(
            r#"{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"y":{"dtype":"BOOL","shape":[3],"data_offsets":[8,11]},"z":{"dtype":"F16","shape":[2],"data_offsets":[11,15]}}"#,
            15,
        ),
    ]
}

/// Array files.
pub fn arrays() -> Vec<Vec<u8>> {
    let array = |dtype, shape: &[u64], data: Vec<u8>| {
        let mut out = Vec::new();
        NpyArray::new(dtype, shape.to_vec(), data).and_then(|array| array.write_to(&mut out)).expect("sound");
        out
    };
    vec![
        array(NpyDtype::F32, &[2, 3], (0..24).collect()),
        array(NpyDtype::Bool, &[5], vec![0, 1, 1, 0, 1]),
        array(NpyDtype::I64, &[], vec![7; 8]),
        array(NpyDtype::U16, &[1, 1, 2, 1, 1, 1, 3, 1], (0..12).collect()),
        array(NpyDtype::F16, &[0, 4], Vec::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tvmc_backend_x86::mir::Text;

    #[test]
    fn every_kind_has_sound_seeds() {
        assert!(sources().len() > 100 && ir_texts().len() > 50);
        for file in modules() {
            tvmc_ir::module::read(&file).expect("a sound module");
        }
        assert!(modules().len() >= 8, "{}", modules().len());
        for file in ggufs().iter().chain(&safetensors()) {
            let bytes = tvmc_weights::FileBytes::from_slice(file).expect("memory");
            tvmc_weights::Weights::from_bytes("seed".as_ref(), bytes).expect("a sound file");
        }
        for model in ["gpt2", "llama"] {
            let metadata = vocabulary_metadata(model);
            let tokenizer =
                tvmc_model::tokenizer::Tokenizer::from_gguf(&metadata).expect("a sound vocabulary");
            tvmc_model::chat_template::ChatTemplate::from_gguf(&metadata, &tokenizer)
                .expect("a sound template");
        }
        for file in arrays() {
            NpyArray::read(&file).expect("a sound array");
        }
        let messages = [tvmc_model::chat_template::Message::new("user", "Hi")];
        for text in TEMPLATES {
            let template =
                tvmc_model::chat_template::ChatTemplate::new(text, "<s>", "</s>").expect("it parses");
            template.render(&messages, true).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
        let text = ir_texts();
        let kinds = [
            text.iter().any(|t| tile::parse(t).is_ok_and(|kernel| tile::verify(kernel).is_ok())),
            text.iter().any(|t| tvmc_ir::lane::parse(t).is_ok_and(|f| tvmc_ir::lane::verify(f).is_ok())),
            text.iter()
                .any(|t| tvmc_ir::program::parse(t).is_ok_and(|p| tvmc_ir::program::verify(p).is_ok())),
            text.iter().any(|t| tvmc_ir::program::Interface::parse(t).is_ok()),
            text.iter().any(|t| match tvmc_backend_x86::mir::parse(t) {
                Ok(Text::Selected(function)) => tvmc_backend_x86::mir::verify(&function).is_ok(),
                Ok(Text::Allocated(_)) | Err(_) => false,
            }),
            text.iter().any(|t| match tvmc_backend_x86::mir::parse(t) {
                Ok(Text::Allocated(function)) => tvmc_backend_x86::mir::verify(&function).is_ok(),
                Ok(Text::Selected(_)) | Err(_) => false,
            }),
        ];
        assert_eq!(kinds, [true; 6]);
    }
}
