//! Folders as Hugging Face publishes models: the same logits as a GGUF file of the same numbers, and words for what is missing.
#![forbid(unsafe_code)]

mod common;

use common::{json, stderr, stdout, tvmc, values};
use serde_json::{Value as Json, json};
use std::path::Path;
use tvmc_model::tokenizer::byte_alphabet::letter;
use tvmc_weights::gguf::{Array, GgufWriter, Value};
use tvmc_weights::{Access, Weights};

/// Sizes: layers, width, feed-forward, heads, key heads, context, tokens with those that only the embedding has.
const L: usize = 2;
const D: usize = 128;
const F: usize = 192;
const H: usize = 4;
const G: usize = 2;
const E: usize = D / H;
const V: usize = 300;

/// What a layer's tensors are called in GGUF and in a folder, and their shapes.
const LAYER: [(&str, &str, &[usize]); 9] = [
    ("attn_norm", "input_layernorm", &[D]),
    ("attn_q", "self_attn.q_proj", &[H * E, D]),
    ("attn_k", "self_attn.k_proj", &[G * E, D]),
    ("attn_v", "self_attn.v_proj", &[G * E, D]),
    ("attn_output", "self_attn.o_proj", &[D, H * E]),
    ("ffn_norm", "post_attention_layernorm", &[D]),
    ("ffn_gate", "mlp.gate_proj", &[F, D]),
    ("ffn_up", "mlp.up_proj", &[F, D]),
    ("ffn_down", "mlp.down_proj", &[D, F]),
];

/// A tensor: its name in a folder and in GGUF, its shape, and its codes of 16 bits.
struct Tensor {
    folder: String,
    gguf: String,
    shape: Vec<usize>,
    codes: Vec<u16>,
}

/// A model's tensors in bf16, or in f16.
fn model(bf16: bool) -> Vec<Tensor> {
    let mut list = Vec::new();
    let mut add = |folder: String, gguf: String, shape: &[usize]| {
        let seed = list.len() as u64 + 1;
        let numbers = values(shape.iter().product(), seed);
        // Gains about 1, so that something is left after two layers.
        let numbers = numbers.into_iter().map(|v| if shape.len() == 1 { 1.0 + v / 4.0 } else { v });
        let codes = numbers
            .map(|v| if bf16 { half::bf16::from_f32(v).to_bits() } else { half::f16::from_f32(v).to_bits() });
        list.push(Tensor { folder, gguf, shape: shape.to_vec(), codes: codes.collect() });
    };
    add("model.embed_tokens.weight".into(), "token_embd.weight".into(), &[V, D]);
    add("model.norm.weight".into(), "output_norm.weight".into(), &[D]);
    add("lm_head.weight".into(), "output.weight".into(), &[V, D]);
    for layer in 0..L {
        for (gguf, folder, shape) in LAYER {
            add(format!("model.layers.{layer}.{folder}.weight"), format!("blk.{layer}.{gguf}.weight"), shape);
        }
    }
    list
}

/// Rows in GGUF's order: pairs of a head's halves.
fn interleaved(tensor: &Tensor) -> Vec<u16> {
    let heads = if tensor.gguf.contains("attn_q") {
        H
    } else if tensor.gguf.contains("attn_k") {
        G
    } else {
        return tensor.codes.clone();
    };
    let row = |head: usize, at: usize| &tensor.codes[(head * E + at) * D..][..D];
    let pairs = (0..heads).flat_map(|head| (0..E / 2).flat_map(move |j| [(head, j), (head, j + E / 2)]));
    pairs.flat_map(|(head, at)| row(head, at).to_vec()).collect()
}

fn le(codes: &[u16]) -> Vec<u8> {
    codes.iter().flat_map(|code| code.to_le_bytes()).collect()
}

fn widened(codes: &[u16], bf16: bool) -> Vec<u8> {
    let number = |code: &u16| {
        if bf16 { half::bf16::from_bits(*code).to_f32() } else { half::f16::from_bits(*code).to_f32() }
    };
    codes.iter().flat_map(|code| number(code).to_le_bytes()).collect()
}

/// Single bytes, some pairs of them, and marks.
fn vocabulary() -> (Vec<String>, Vec<(String, String)>) {
    let mut tokens: Vec<String> = (0..=255u8).map(|byte| letter(byte).to_string()).collect();
    let merges: Vec<(String, String)> = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w")]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
    tokens.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
    tokens.extend(["<|begin|>".into(), "<|im_end|>".into()]);
    (tokens, merges)
}

fn write_gguf(path: &Path, tensors: &[Tensor], bf16: bool) {
    let mut writer = GgufWriter::new();
    let mut put = |key: &str, value: Value| {
        writer.metadata(key, value).unwrap();
    };
    put("general.architecture", Value::String("llama".into()));
    for (key, number) in [
        ("block_count", L),
        ("context_length", 128),
        ("embedding_length", D),
        ("feed_forward_length", F),
        ("attention.head_count", H),
        ("attention.head_count_kv", G),
    ] {
        put(&format!("llama.{key}"), Value::U32(number as u32));
    }
    put("llama.rope.freq_base", Value::F32(50_000.0));
    put("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let (mut tokens, merges) = vocabulary();
    let marks = tokens.len() - 2;
    let kinds = (0..V)
        .map(|id| {
            if id >= tokens.len() {
                5
            } else if id >= marks {
                3
            } else {
                1
            }
        })
        .collect();
    tokens.extend((tokens.len()..V).map(|id| format!("[PAD{id}]")));
    put("tokenizer.ggml.model", Value::String("gpt2".into()));
    put("tokenizer.ggml.pre", Value::String("smollm".into()));
    put("tokenizer.ggml.tokens", Value::Array(Array::String(tokens.iter().collect())));
    put("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    let merges = merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
    put("tokenizer.ggml.merges", Value::Array(Array::String(merges)));
    put("tokenizer.ggml.eos_token_id", Value::U32(marks as u32 + 1));
    for tensor in tensors {
        let shape: Vec<u64> = tensor.shape.iter().map(|extent| *extent as u64).collect();
        let codes = interleaved(tensor);
        let (format, bytes) = match shape.len() {
            1 => ("f32", widened(&codes, bf16)),
            _ => (if bf16 { "bf16" } else { "f16" }, le(&codes)),
        };
        writer.tensor(&tensor.gguf, &shape, format, bytes).unwrap();
    }
    std::fs::write(path, writer.to_bytes().unwrap()).unwrap();
}

fn write_safetensors<'t>(path: &Path, tensors: impl Iterator<Item = &'t Tensor>, bf16: bool) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for tensor in tensors {
        let start = data.len();
        data.extend(le(&tensor.codes));
        let dtype = if bf16 { "BF16" } else { "F16" };
        let record = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(tensor.folder.clone(), record);
    }
    let mut text = serde_json::to_vec(&header).unwrap();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

fn write_json(path: &Path, value: &Json) {
    std::fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
}

fn config() -> Json {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": L, "hidden_size": D, "intermediate_size": F,
        "num_attention_heads": H, "num_key_value_heads": G, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 50000.0,
        "rope_scaling": null, "hidden_act": "silu", "attention_bias": false, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "eos_token_id": 262,
    })
}

fn tokenizer() -> Json {
    let (tokens, merges) = vocabulary();
    let marks = tokens.len() - 2;
    let vocab: serde_json::Map<String, Json> =
        tokens[..marks].iter().enumerate().map(|(id, text)| (text.clone(), id.into())).collect();
    let added: Vec<Json> =
        (marks..tokens.len()).map(|id| json!({"id": id, "content": tokens[id], "special": true})).collect();
    let merges: Vec<String> = merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
    json!({
        "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": false, "ignore_merges": false},
    })
}

/// A folder, its weights in one file or in two.
fn write_folder(folder: &Path, tensors: &[Tensor], bf16: bool, shards: bool) {
    std::fs::create_dir_all(folder).unwrap();
    write_json(&folder.join("config.json"), &config());
    write_json(&folder.join("tokenizer.json"), &tokenizer());
    let settings = json!({"eos_token": {"content": "<|im_end|>"}, "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"});
    write_json(&folder.join("tokenizer_config.json"), &settings);
    if !shards {
        return write_safetensors(&folder.join("model.safetensors"), tensors.iter(), bf16);
    }
    let file = |at: usize| format!("model-0000{}-of-00002.safetensors", at % 2 + 1);
    let map: serde_json::Map<String, Json> =
        tensors.iter().enumerate().map(|(at, tensor)| (tensor.folder.clone(), file(at).into())).collect();
    write_json(&folder.join("model.safetensors.index.json"), &json!({"metadata": {}, "weight_map": map}));
    for part in 0..2 {
        let chosen = tensors.iter().enumerate().filter(|(at, _)| at % 2 == part).map(|(_, tensor)| tensor);
        write_safetensors(&folder.join(file(part)), chosen, bf16);
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_folder_gives_the_logits_of_a_gguf_file_of_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    for (bf16, shards) in [(true, false), (false, true)] {
        let tensors = model(bf16);
        let (file, folder) = (dir.path().join("m.gguf"), dir.path().join(format!("folder-{bf16}")));
        write_gguf(&file, &tensors, bf16);
        write_folder(&folder, &tensors, bf16, shards);
        let both = |args: &[&str]| {
            let run = |model: &Path| stdout(&tvmc(&[&[args[0], &name(model)], &args[1..]].concat()));
            (run(&file), run(&folder))
        };
        let (wants, got) = both(&["tokenize", "-p", "hello world 42<|im_end|>", "--json"]);
        assert_eq!(wants, got);
        assert!(wants.contains("262"), "{wants}");
        for act in ["f32", "q8"] {
            let (wants, got) =
                both(&["logits", "-p", "hello world 42", "--top", "9", "--json", "--act", act]);
            assert_eq!(wants, got, "{act}");
        }
        let answer = |text: &str| serde_json::from_str::<Json>(text).unwrap()["ids"].clone();
        let (wants, got) = both(&["generate", "-p", "hello", "-n", "12", "--temp", "0", "--json"]);
        assert_eq!(answer(&wants), answer(&got));
        stdout(&tvmc(&["chat", &name(&folder), "-p", "hello", "-n", "3", "--temp", "0"]));
        stdout(&tvmc(&["bench", &name(&folder), "-p", "4", "-n", "2", "-r", "1"]));

        // The folder as GGUF, once as it is stored and once in another type.
        for kind in [if bf16 { "bf16" } else { "f16" }, "q8_0"] {
            let (of_file, of_folder) = (dir.path().join("a.gguf"), dir.path().join("b.gguf"));
            stdout(&tvmc(&["quantize", &name(&file), &name(&of_file), "--type", kind]));
            stdout(&tvmc(&["quantize", &name(&folder), &name(&of_folder), "--type", kind]));
            let open = |path: &Path| Weights::open(path, Access::Map).unwrap();
            let (wants, got) = (open(&of_file), open(&of_folder));
            assert_eq!(wants.tensors().len(), got.tensors().len());
            for tensor in wants.tensors() {
                let same = got.find(&tensor.name).expect("a tensor");
                assert_eq!((&tensor.shape, &tensor.format), (&same.shape, &same.format));
                assert_eq!(wants.bytes_of(tensor), got.bytes_of(same), "{}", tensor.name);
            }
            let logits = |path: &Path| stdout(&tvmc(&["logits", &name(path), "-p", "hello", "--json"]));
            assert_eq!(logits(&of_file), logits(&of_folder));
        }
        let report = json(&tvmc(&["inspect", &name(&folder), "--json"]));
        assert_eq!(
            (&report["kind"], &report["metadata"]["llama.block_count"]),
            (&json!("checkpoint"), &json!(L))
        );
    }
}

/// A head that is the embedding, numbers of a newer `config.json`, and a Mistral.
#[test]
fn settings_are_read_as_their_libraries_mean_them() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = model(true);
    write_folder(dir.path(), &tensors, true, false);
    let with = |change: &dyn Fn(&mut Json)| {
        let mut value = config();
        change(&mut value);
        write_json(&dir.path().join("config.json"), &value);
        json(&tvmc(&["inspect", &name(dir.path()), "--json"]))
    };
    let names = |report: &Json| -> Vec<String> {
        report["tensors"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&with(&|_| {})).contains(&"output.weight".to_owned()));
    assert!(!names(&with(&|c| c["tie_word_embeddings"] = true.into())).contains(&"output.weight".to_owned()));
    let newer = with(&|c| {
        c["rope_theta"] = Json::Null;
        c["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1234.0});
    });
    assert_eq!(newer["metadata"]["llama.rope.freq_base"], json!(1234.0));
    let mistral = with(&|c| c["model_type"] = "mistral".into());
    assert_eq!(mistral["metadata"]["general.architecture"], "llama");
    let other = with(&|c| c["model_type"] = "bert".into());
    assert_eq!(other["metadata"]["general.architecture"], "bert");
    assert!(names(&other).contains(&"model.norm.weight".to_owned()));
}

#[test]
fn what_is_missing_or_unknown_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = model(true);
    let refused = |words: &str, change: &dyn Fn(&Path)| {
        let folder = dir.path().join("model");
        let _ = std::fs::remove_dir_all(&folder);
        write_folder(&folder, &tensors, true, true);
        change(&folder);
        let err = stderr(&tvmc(&["logits", &name(&folder), "-p", "hello"]), 1);
        assert!(err.contains(words), "{words}: {err}");
    };
    let without = |file: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(file)).unwrap();
    let configured = |field: &'static str, value: Json| {
        move |folder: &Path| {
            let mut all = config();
            all[field] = value.clone();
            write_json(&folder.join("config.json"), &all);
        }
    };
    refused("has no config.json", &without("config.json"));
    refused("has no tokenizer.json", &without("tokenizer.json"));
    refused(
        "has no model-00002-of-00002.safetensors, where model.safetensors.index.json has",
        &without("model-00002-of-00002.safetensors"),
    );
    refused(
        "has no model.safetensors and no model.safetensors.index.json",
        &without("model.safetensors.index.json"),
    );
    refused("pytorch_model.bin are a program", &|folder| {
        std::fs::remove_file(folder.join("model.safetensors.index.json")).unwrap();
        std::fs::write(folder.join("pytorch_model.bin"), "x").unwrap();
    });
    refused("config.json: expected value at line 1", &|folder| {
        std::fs::write(folder.join("config.json"), "x").unwrap()
    });
    refused("is no name of a file of the folder", &|folder| {
        write_json(
            &folder.join("model.safetensors.index.json"),
            &json!({"weight_map": {"a": "../a.safetensors"}}),
        );
    });
    refused(
        "rope_scaling: scaled rotary positions",
        &configured("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0})),
    );
    refused("attention_bias: biases", &configured("attention_bias", true.into()));
    refused("hidden_act: \"gelu\"", &configured("hidden_act", "gelu".into()));
    refused("num_attention_heads: 5 heads", &configured("num_attention_heads", 5.into()));
    refused("rms_norm_eps: is null", &configured("rms_norm_eps", Json::Null));
    refused(
        "quantization_config: the weights are stored",
        &configured("quantization_config", json!({"bits": 4})),
    );
    refused("bert", &configured("model_type", "bert".into()));
    refused("the Llama program has no place for it", &|folder| {
        let odd = Tensor {
            folder: "model.layers.0.self_attn.q_proj.bias".into(),
            gguf: String::new(),
            shape: vec![4],
            codes: vec![0; 4],
        };
        write_safetensors(&folder.join("model-00001-of-00002.safetensors"), [odd].iter(), true);
    });
    refused("pre_tokenizer: ", &|folder| {
        let mut all = tokenizer();
        all["pre_tokenizer"] = json!({"type": "Whitespace"});
        write_json(&folder.join("tokenizer.json"), &all);
    });
    refused("model.type: is \"WordPiece\"", &|folder| {
        let mut all = tokenizer();
        all["model"]["type"] = "WordPiece".into();
        write_json(&folder.join("tokenizer.json"), &all);
    });
    let lone = dir.path().join("model/model-00001-of-00002.safetensors");
    let err = stderr(&tvmc(&["tokenize", &name(&lone), "-p", "x"]), 1);
    assert!(err.contains("give the folder"), "{err}");
}
