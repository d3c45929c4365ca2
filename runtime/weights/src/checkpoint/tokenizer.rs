//! `tokenizer.json` and what stands beside it: the vocabulary under GGUF's keys.
//!
//! | in the folder | becomes |
//! |---|---|
//! | byte-pair model whose last step of splitting is by bytes | `tokenizer.ggml.model = "gpt2"`, with the listed merges |
//! | byte-pair model with a token for each byte and U+2581 for spaces | `"llama"`: merges are implied by scores, which are the ids in descending order |
//! | how text is split first ([`PATTERNS`], digits apart, GPT-2's) | `tokenizer.ggml.pre` |
//! | `added_tokens` | control tokens if special, else user-defined |
//! | `bos_token`, `eos_token`, `add_bos_token`, the template around a text | `bos_token_id`, `eos_token_id`, `add_bos_token` |
//! | `chat_template`, `chat_template.jinja` | `tokenizer.chat_template` |
//!
//! Ids without a token, up to the rows of the embedding, are place holders `[PAD7]`.
//!
//! **Refuses** other models and ways of splitting: a wrong one gives text that looks right and a model that is subtly worse. A folder without
//! `tokenizer.json` has no vocabulary: it can be looked at and quantised, and models cannot be prompted.

use super::{CheckpointError, Entry, Json, contents};
use crate::gguf::{Array, StringArray, Value};
use serde_json::Value as JsonValue;
use std::collections::HashMap;
use std::path::Path;

/// The pattern by which Llama 3 splits text.
pub const LLAMA3_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The pattern by which Qwen 2 splits text.
pub const QWEN2_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Patterns, their names in GGUF, whether a text is composed first (NFC), and whether a word that is a token is taken whole.
const PATTERNS: [(&str, &str, bool, bool); 2] =
    [(LLAMA3_PATTERN, "llama-bpe", false, true), (QWEN2_PATTERN, "qwen2", true, false)];

/// The most tokens.
pub const MAX_TOKENS: u64 = 1 << 20;

/// Reads the vocabulary of a folder whose embedding has so many rows.
pub(crate) fn read(folder: &Path, config: &Json, rows: u64) -> Result<Vec<Entry>, CheckpointError> {
    let Some(file) = Json::open(folder.join("tokenizer.json"))? else { return Ok(Vec::new()) };
    let settings = Json::open(folder.join("tokenizer_config.json"))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut add = |key: &str, value: Value| entries.push((format!("tokenizer.{key}"), value));
    let model = file.get("model");
    // Older files leave the kind out.
    if !matches!(model.get("type").map(JsonValue::as_str), None | Some(Some("BPE"))) {
        return Err(
            file.wrong("model.type", format!("is {}, byte-pair models (\"BPE\") are read", model["type"]))
        );
    }
    let tokens = Tokens::read(&file, rows)?;
    let merges = merges(&file)?;
    let splitting = splitting(&file)?;
    match splitting {
        Splitting::Bytes(name) => {
            add("ggml.model", Value::String("gpt2".into()));
            add("ggml.pre", Value::String(name.into()));
            let listed: StringArray = merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
            add("ggml.merges", Value::Array(Array::String(listed)));
        }
        Splitting::Pieces { space_before } => {
            tokens.in_order_of(&merges, &file)?;
            add("ggml.model", Value::String("llama".into()));
            add("ggml.add_space_prefix", Value::Bool(space_before));
            let scores = (0..tokens.texts.len()).map(|id| -(id as f32)).collect();
            add("ggml.scores", Value::Array(Array::F32(scores)));
        }
    }
    let id_of = |text: &str| tokens.ids.get(text).copied();
    let named = |field: &str| {
        let token = settings.as_ref()?.get(field);
        id_of(token.as_str().or_else(|| token.get("content")?.as_str())?)
    };
    // The settings of the tokenizer know what ends a turn; those of the model may list more.
    let numbers = |field: &str| -> Vec<u32> {
        let value = config.get(field);
        let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        list.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
    };
    let bos = named("bos_token").or_else(|| numbers("bos_token_id").first().copied());
    let ends: Vec<u32> = named("eos_token").into_iter().chain(numbers("eos_token_id")).collect();
    let eos = ends.first().copied();
    let another = ends.iter().copied().find(|id| Some(*id) != eos);
    let unknown = named("unk_token").or_else(|| id_of(model.get("unk_token")?.as_str()?));
    for (key, id) in [("bos", bos), ("eos", eos), ("eot", another), ("unknown", unknown)] {
        if let Some(id) = id {
            add(&format!("ggml.{key}_token_id"), Value::U32(id));
        }
    }
    let told = settings.as_ref().and_then(|settings| settings.get("add_bos_token").as_bool());
    let before = begins_with(file.get("post_processor")).and_then(id_of);
    add("ggml.add_bos_token", Value::Bool(told.unwrap_or(bos.is_some() && before == bos)));
    if let Some(template) = template(folder, settings.as_ref())? {
        add("chat_template", Value::String(template));
    }
    add("ggml.token_type", Value::Array(Array::I32(tokens.kinds(unknown, splitting))));
    add("ggml.tokens", Value::Array(Array::String(tokens.texts)));
    Ok(entries)
}

/// The tokens of a vocabulary by their ids.
struct Tokens {
    texts: StringArray,
    ids: HashMap<String, u32>,
    /// Added tokens, and whether each is special.
    added: HashMap<u32, bool>,
    /// Place holders.
    unused: Vec<u32>,
}

impl Tokens {
    fn read(file: &Json, rows: u64) -> Result<Tokens, CheckpointError> {
        let Some(listed) = file.get("model").get("vocab").and_then(JsonValue::as_object) else {
            return Err(file.wrong("model.vocab", "must give each token's id"));
        };
        let none = Vec::new();
        let extra = file.get("added_tokens").as_array().unwrap_or(&none);
        let mut by_id: HashMap<u32, &str> = HashMap::new();
        let mut added = HashMap::new();
        let mut size = rows;
        let pairs =
            listed.iter().map(|(text, id)| (text.as_str(), id, None)).chain(extra.iter().map(|token| {
                let special = token.get("special").and_then(JsonValue::as_bool).unwrap_or(false);
                (token["content"].as_str().unwrap_or_default(), &token["id"], Some(special))
            }));
        for (text, id, special) in pairs {
            let number = id.as_u64().filter(|id| *id < MAX_TOKENS);
            let Some(id) = number.and_then(|id| u32::try_from(id).ok()) else {
                return Err(file.wrong("model.vocab", format!("{text:?} has the id {id}")));
            };
            if let Some(other) = by_id.insert(id, text)
                && other != text
            {
                return Err(
                    file.wrong("model.vocab", format!("{other:?} and {text:?} both have the id {id}"))
                );
            }
            size = size.max(u64::from(id) + 1);
            added.extend(special.map(|special| (id, special)));
        }
        if size > MAX_TOKENS {
            return Err(file.wrong("model.vocab", format!("{size} tokens, may be {MAX_TOKENS}")));
        }
        let mut texts = StringArray::with_capacity(size as usize);
        let (mut ids, mut unused) = (HashMap::with_capacity(by_id.len()), Vec::new());
        for id in 0..size as u32 {
            match by_id.get(&id) {
                Some(text) => {
                    texts.push(text);
                    if let Some(other) = ids.insert((*text).to_owned(), id) {
                        return Err(
                            file.wrong("model.vocab", format!("{text:?} has the ids {other} and {id}"))
                        );
                    }
                }
                None => {
                    texts.push(&format!("[PAD{id}]"));
                    unused.push(id);
                }
            }
        }
        Ok(Tokens { texts, ids, added, unused })
    }

    /// GGUF's numbers of the tokens' kinds.
    fn kinds(&self, unknown: Option<u32>, splitting: Splitting) -> Vec<i32> {
        let pieces = matches!(splitting, Splitting::Pieces { .. });
        let kind = |(id, text): (usize, &str)| match self.added.get(&(id as u32)) {
            _ if pieces && Some(id as u32) == unknown => 2,
            Some(true) => 3,
            Some(false) => 4,
            None if pieces && is_byte(text) => 6,
            None => 1,
        };
        let mut kinds: Vec<i32> = self.texts.iter().enumerate().map(kind).collect();
        self.unused.iter().for_each(|id| kinds[*id as usize] = 5);
        kinds
    }

    /// Whether merges come in the order of what they make: so scores by id say the same.
    fn in_order_of(&self, merges: &[(&str, &str)], file: &Json) -> Result<(), CheckpointError> {
        let mut last = 0;
        for (left, right) in merges {
            let whole = format!("{left}{right}");
            match self.ids.get(&whole) {
                Some(id) if *id >= last => last = *id,
                Some(_) => {
                    return Err(
                        file.wrong("model.merges", format!("{whole:?} is made after tokens of higher ids"))
                    );
                }
                None => return Err(file.wrong("model.merges", format!("{whole:?} is no token"))),
            }
        }
        Ok(())
    }
}

/// `<0x00>` to `<0xFF>`.
fn is_byte(text: &str) -> bool {
    text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).is_some_and(|hex| hex.len() == 2)
}

/// Pairs that merge, as `"a b"` or `["a", "b"]`.
fn merges(file: &Json) -> Result<Vec<(&str, &str)>, CheckpointError> {
    let Some(listed) = file.get("model").get("merges").and_then(JsonValue::as_array) else {
        return Err(file.wrong("model.merges", "must list the pairs of tokens that merge"));
    };
    let mut pairs = Vec::with_capacity(listed.len());
    for (at, merge) in listed.iter().enumerate() {
        let found = match merge {
            JsonValue::String(text) => text.split_once(' '),
            JsonValue::Array(parts) => match &parts[..] {
                [JsonValue::String(left), JsonValue::String(right)] => Some((left.as_str(), right.as_str())),
                _ => None,
            },
            _ => None,
        };
        match found {
            Some(pair) => pairs.push(pair),
            None => {
                let field = format!("model.merges[{at}]");
                return Err(file.wrong(&field, format!("{merge} is no pair of tokens")));
            }
        }
    }
    Ok(pairs)
}

/// How a text becomes what merges begin with.
#[derive(Copy, Clone)]
enum Splitting {
    /// Bytes in letters, after a splitting of this name.
    Bytes(&'static str),
    /// Characters, spaces as U+2581.
    Pieces { space_before: bool },
}

fn splitting(file: &Json) -> Result<Splitting, CheckpointError> {
    let (before, normal) =
        (steps(file.get("pre_tokenizer"), "pretokenizers"), steps(file.get("normalizer"), "normalizers"));
    let kind = |step: &JsonValue| step["type"].as_str().unwrap_or_default().to_owned();
    let unknown =
        |field: &str| file.wrong(field, format!("{} is a way that GGUF has no name for", file.get(field)));
    let whole_words = file.get("model").get("ignore_merges").and_then(JsonValue::as_bool).unwrap_or(false);
    if let Some((last, first)) = before.split_last()
        && kind(last) == "ByteLevel"
    {
        let by_pattern = last.get("use_regex").and_then(JsonValue::as_bool).unwrap_or(true);
        let composed = match &normal[..] {
            [] => false,
            [nfc] if kind(nfc) == "NFC" => true,
            _ => return Err(unknown("normalizer")),
        };
        let plain = !last.get("add_prefix_space").and_then(JsonValue::as_bool).unwrap_or(true);
        let (name, wants) = match first {
            _ if !plain => return Err(unknown("pre_tokenizer")),
            [] if by_pattern => ("gpt-2", (false, false)),
            [digits] if by_pattern && kind(digits) == "Digits" && digits["individual_digits"] == true => {
                ("smollm", (false, false))
            }
            [split]
                if !by_pattern
                    && kind(split) == "Split"
                    && split["behavior"] == "Isolated"
                    && split["invert"] != true =>
            {
                let pattern = split["pattern"]["Regex"].as_str();
                let known = PATTERNS.iter().find(|row| Some(row.0) == pattern);
                known.map(|row| (row.1, (row.2, row.3))).ok_or_else(|| unknown("pre_tokenizer"))?
            }
            _ => return Err(unknown("pre_tokenizer")),
        };
        if wants.0 != composed {
            return Err(unknown("normalizer"));
        }
        if wants.1 != whole_words {
            return Err(file.wrong(
                "model.ignore_merges",
                format!("is {whole_words}, which is not so for texts split as `{name}`"),
            ));
        }
        return Ok(Splitting::Bytes(name));
    }
    let fallback = file.get("model").get("byte_fallback").and_then(JsonValue::as_bool).unwrap_or(false);
    let kinds = |list: &[&JsonValue]| -> Vec<String> { list.iter().map(|step| kind(step)).collect() };
    match (fallback, kinds(&normal).as_slice(), &before[..]) {
        (true, [first, second], []) if first == "Prepend" && second == "Replace" => {
            Ok(Splitting::Pieces { space_before: true })
        }
        (true, [only], []) if only == "Replace" => Ok(Splitting::Pieces { space_before: false }),
        (true, [], [space]) if kind(space) == "Metaspace" => {
            Ok(Splitting::Pieces { space_before: space["prepend_scheme"] != "never" })
        }
        (true, ..) => Err(unknown("normalizer")),
        (false, ..) => Err(unknown("pre_tokenizer")),
    }
}

/// The steps of a sequence, of a single step, or none.
fn steps<'j>(value: &'j JsonValue, list: &str) -> Vec<&'j JsonValue> {
    match value.get(list).and_then(JsonValue::as_array) {
        Some(steps) => steps.iter().collect(),
        None if value.is_null() => Vec::new(),
        None => vec![value],
    }
}

/// The special token that is put before every text.
fn begins_with(processor: &JsonValue) -> Option<&str> {
    let all = steps(processor, "processors");
    let template = all.into_iter().find(|step| step["type"] == "TemplateProcessing")?;
    template["single"].as_array()?.first()?["SpecialToken"]["id"].as_str()
}

/// The template of conversations.
fn template(folder: &Path, settings: Option<&Json>) -> Result<Option<String>, CheckpointError> {
    let path = folder.join("chat_template.jinja");
    if let Some(bytes) = contents(&path)? {
        return match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(CheckpointError::Field { path, field: "text".into(), why: "is no UTF-8".into() }),
        };
    }
    let Some(settings) = settings else { return Ok(None) };
    let text = match settings.get("chat_template") {
        JsonValue::Array(list) => {
            list.iter().find(|one| one["name"] == "default").map(|one| &one["template"])
        }
        other => Some(other),
    };
    Ok(text.and_then(JsonValue::as_str).map(str::to_owned))
}
