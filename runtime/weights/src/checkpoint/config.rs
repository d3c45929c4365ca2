//! `config.json`: which architecture it is, and its numbers under GGUF's keys.
//!
//! ```text
//! "model_type": "llama"            general.architecture = "llama"
//! "num_hidden_layers": 30          llama.block_count = 30
//! model.layers.3.mlp.up_proj       blk.3.ffn_up
//! ```
//!
//! A Mistral model without a sliding window computes what a Llama does, and is one. Settings that change what a model computes are refused where they are not these.

use super::{Change, CheckpointError, Entry, Json};
use crate::gguf::Value;
use crate::view::TensorInfo;

/// Names of a layer's tensors in a folder and in GGUF.
pub const NAMES: [(&str, &str); 9] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// What a folder says of its model.
pub(crate) struct Description {
    pub metadata: Vec<Entry>,
    /// Heads of queries and of keys, and whether the embedding is the head too; `None` for an architecture that is not known.
    llama: Option<(u64, u64, bool)>,
}

pub(crate) fn describe(config: &Json) -> Result<Description, CheckpointError> {
    let Some(kind) = config.get("model_type").as_str() else {
        return Err(config.wrong("model_type", "must name the architecture, as \"llama\""));
    };
    let known = match kind {
        "llama" => true,
        "mistral" => {
            let window = config.get("sliding_window").as_u64();
            window.is_none() || window >= config.get("max_position_embeddings").as_u64()
        }
        _ => false,
    };
    let architecture = if known { "llama" } else { kind };
    let mut metadata = vec![("general.architecture".to_owned(), Value::String(architecture.to_owned()))];
    if !known {
        return Ok(Description { metadata, llama: None });
    }
    refuse_what_is_unknown(config)?;
    let (layers, width) = (count(config, "num_hidden_layers")?, count(config, "hidden_size")?);
    let heads = count(config, "num_attention_heads")?;
    let key_heads = match config.get("num_key_value_heads") {
        serde_json::Value::Null => heads,
        _ => count(config, "num_key_value_heads")?,
    };
    let own = config.get("head_dim");
    if width % heads != 0
        || width / heads % 2 != 0
        || (!own.is_null() && own.as_u64() != Some(u64::from(width / heads)))
    {
        let why = format!(
            "{heads} heads of {own} for a width of {width}: heads must share the width out, in pairs"
        );
        return Err(config.wrong("num_attention_heads", why));
    }
    let mut number = |key: &str, value: u32| metadata.push((format!("llama.{key}"), Value::U32(value)));
    number("block_count", layers);
    number("context_length", count(config, "max_position_embeddings")?);
    number("embedding_length", width);
    number("feed_forward_length", count(config, "intermediate_size")?);
    number("attention.head_count", heads);
    number("attention.head_count_kv", key_heads);
    number("rope.dimension_count", width / heads);
    let theta = match (config.get("rope_theta"), config.get("rope_parameters").get("rope_theta")) {
        (serde_json::Value::Null, None) => 10_000.0,
        (serde_json::Value::Null, Some(theta)) | (theta, _) => positive(config, "rope_theta", theta)?,
    };
    let epsilon = positive(config, "rms_norm_eps", config.get("rms_norm_eps"))?;
    metadata.push(("llama.rope.freq_base".to_owned(), Value::F32(theta)));
    metadata.push(("llama.attention.layer_norm_rms_epsilon".to_owned(), Value::F32(epsilon)));
    let tied = config.get("tie_word_embeddings").as_bool().unwrap_or(false);
    Ok(Description { metadata, llama: Some((heads.into(), key_heads.into(), tied)) })
}

/// Settings that the Llama program does not have.
fn refuse_what_is_unknown(config: &Json) -> Result<(), CheckpointError> {
    let scaled = ["rope_scaling", "rope_parameters"].into_iter().find(|field| {
        let kind = ["rope_type", "type"].into_iter().find_map(|name| config.get(field).get(name)?.as_str());
        config.get(field).is_object() && !matches!(kind, None | Some("default"))
    });
    if let Some(field) = scaled {
        return Err(config.wrong(field, "scaled rotary positions are not known to the Llama program"));
    }
    for field in ["attention_bias", "mlp_bias"] {
        if config.get(field).as_bool() == Some(true) {
            return Err(config.wrong(field, "biases are not known to the Llama program"));
        }
    }
    if !config.get("quantization_config").is_null() {
        return Err(config.wrong(
            "quantization_config",
            "the weights are stored in a scheme that tvmc does not read: take the original, and `tvmc quantize` it",
        ));
    }
    match config.get("hidden_act") {
        serde_json::Value::Null => Ok(()),
        act if matches!(act.as_str(), Some("silu" | "swish")) => Ok(()),
        act => Err(config
            .wrong("hidden_act", format!("{act} is not known to the Llama program, which has \"silu\""))),
    }
}

/// A number of things.
fn count(config: &Json, field: &str) -> Result<u32, CheckpointError> {
    let value = config.get(field);
    let found = value.as_u64().and_then(|count| u32::try_from(count).ok());
    found
        .filter(|count| (1..=i32::MAX as u32).contains(count))
        .ok_or_else(|| config.wrong(field, format!("is {value}, must be a whole number above 0")))
}

fn positive(config: &Json, field: &str, value: &serde_json::Value) -> Result<f32, CheckpointError> {
    let found = value.as_f64().map(|number| number as f32);
    found
        .filter(|number| *number > 0.0 && number.is_finite())
        .ok_or_else(|| config.wrong(field, format!("is {value}, must be a number above 0")))
}

impl Description {
    /// What a tensor is called in GGUF and what becomes of its bytes; `None`: it is left out. Fails with a reason.
    pub fn place(&self, stored: &TensorInfo) -> Result<Option<(String, Change)>, String> {
        let Some((heads, key_heads, tied)) = self.llama else {
            return Ok(Some((stored.name.clone(), Change::AsStored)));
        };
        let name = match stored.name.as_str() {
            "model.embed_tokens.weight" => "token_embd.weight".to_owned(),
            "model.norm.weight" => "output_norm.weight".to_owned(),
            // The embedding is the head, whether or not it is stored once more.
            "lm_head.weight" if tied => return Ok(None),
            "lm_head.weight" => "output.weight".to_owned(),
            // A table that follows from the settings.
            name if name.ends_with(".rotary_emb.inv_freq") => return Ok(None),
            name => layer_name(name).ok_or("the Llama program has no place for it")?,
        };
        if stored.shape.len() == 1 {
            return match &*stored.format {
                "f32" => Ok(Some((name, Change::AsStored))),
                "f16" | "bf16" => Ok(Some((name, Change::Widened))),
                other => Err(format!("a vector of {other}, must be f32, f16 or bf16")),
            };
        }
        let heads = if name.ends_with(".attn_q.weight") {
            heads
        } else if name.ends_with(".attn_k.weight") {
            key_heads
        } else {
            return Ok(Some((name, Change::AsStored)));
        };
        match stored.shape[..] {
            [rows, _] if rows % (2 * heads) == 0 => Ok(Some((name, Change::Interleaved { heads }))),
            _ => Err(format!("shape {:?} is no pairs of rows for {heads} heads", stored.shape)),
        }
    }
}

/// `blk.3.ffn_up.weight` for `model.layers.3.mlp.up_proj.weight`.
fn layer_name(name: &str) -> Option<String> {
    let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let part = part.strip_suffix(".weight")?;
    let plain = !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_digit());
    let (_, own) = NAMES.iter().find(|(theirs, _)| *theirs == part)?;
    plain.then(|| format!("blk.{layer}.{own}.weight"))
}
