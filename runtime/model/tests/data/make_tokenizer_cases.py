"""Makes the golden files beside this script from independent implementations.

    pip install tokenizers gguf sentencepiece numpy
    python make_tokenizer_cases.py MODEL.gguf

byte_level_cases.json: a `tokenizer.json` is put together from the file's vocabulary for each way of splitting and read
by the Python `tokenizers` library (built on another regular expression engine than the Rust one).
pieces.json: a small SentencePiece model is trained on this script's own text and run by the `sentencepiece` library.
"""

import io
import json
import pathlib
import random
import sys

import gguf
import sentencepiece
import tokenizers

HERE = pathlib.Path(__file__).parent
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}


def split(digits):
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


WAYS = {
    "smollm": ([DIGITS, GPT2], None, False),
    "gpt-2": ([GPT2], None, False),
    "llama-bpe": ([split(r"\p{N}{1,3}"), BYTES], None, True),
    "qwen2": ([split(r"\p{N}"), BYTES], {"type": "NFC"}, False),
}

TEXTS = [
    "",
    "Once upon a time, there was a little girl named",
    "In 2024, 3.14159 x 10^23 = 0x7fff; call +1-800-555-0199 now! \u0663\u0664 \u00bd \u2167 12345678",
    "Gr\u00fc\u00dfe aus K\u00f6ln \u2014 \u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8, \u0440\u0443\u0441\u0441\u043a\u0438\u0439, "
    "\u0639\u0631\u0628\u064a, \U0001f600\U0001f469\u200d\U0001f4bb e\u0301 \u00a0x",
    "fn main() {\n    let x: Vec<u8> = vec![0; 1_000];\n\tprintln!(\"{:?}\", x); // it's done\r\n}\n\n\n",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "a<|im_end|><|endoftext|> b <|im_start|>",
    "I'll we've they're DON'T it's 'tis I'M",
    "   leading and trailing   ",
    "\x00\x04\x06\x13a\x1d\x7f\x80",
]

POOLS = [
    "abcdefghij  \n\t'", "0123456789 .,", "ABC'sS'lL'dD're ", "\r\n \x0b\x0c\x1c\x1f\u2028",
    "\u00e9\u00df\u4e2d\u6587\U0001f600\u0301\u200d\u00a0\u2003\u3000\u0085\u200b\ufeff\u0660\u2160\u00b2",
]
WORDS = ["<|im_start|>", "<|endoftext|>", "the quick", " hello", "<|im_", "    "]


def random_text(rng):
    text = ""
    for _ in range(rng.randint(0, 24)):
        kind = rng.random()
        if kind < 0.85:
            text += rng.choice(rng.choice(POOLS))
        elif kind < 0.95:
            # Long-established characters only: the engines may know different versions of Unicode.
            text += chr(rng.choice([rng.randint(0, 0x24F), rng.randint(0, 0x52F), rng.randint(0x4E00, 0x9FA5)]))
        else:
            text += rng.choice(WORDS)
    return text


def byte_level(path):
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, kinds, merges = get("tokens"), get("token_type"), get("merges")
    added = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 3
    ]
    rng = random.Random(5)
    result = {}
    for name, (steps, normalizer, whole_words) in WAYS.items():
        model = {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": whole_words,
            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges,
        }
        description = json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "post_processor": None,
            "decoder": BYTES, "model": model,
        })
        parsing = tokenizers.Tokenizer.from_str(description)
        plain = tokenizers.Tokenizer.from_str(description)
        plain.encode_special_tokens = True
        cases = []
        for text in TEXTS + [random_text(rng) for _ in range(120)]:
            ids = parsing.encode(text, add_special_tokens=False).ids
            cases.append({
                "text": text, "parse": ids, "as_text": plain.encode(text, add_special_tokens=False).ids,
                "decoded": parsing.decode(ids, skip_special_tokens=True),
            })
        result[name] = cases
    (HERE / "byte_level_cases.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


def pieces():
    corpus = pathlib.Path(__file__).read_text() * 2 + "Gr\u00fc\u00dfe. The quick brown fox jumps over the lazy dog.\n" * 20
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus.splitlines()), model_writer=trained, vocab_size=500, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        user_defined_symbols=["<user>"], num_threads=1,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    count = model.get_piece_size()
    kind = lambda i: (2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i)
                      else 4 if model.id_to_piece(i) == "<user>" else 1)
    rng = random.Random(7)
    texts = ["The quick brown fox", "Gr\u00fc\u00dfe \U0001f600", "  two  spaces ", "a<user>b", "<s> is text", "x"]
    texts += [random_text(rng) for _ in range(150)]
    # SentencePiece itself treats NUL as the end of a text.
    texts = [text for text in texts if text and "\0" not in text]
    cases = [{"text": t, "ids": model.encode(t), "decoded": model.decode(model.encode(t))} for t in texts]
    result = {
        "tokens": [model.id_to_piece(i) for i in range(count)], "scores": [model.get_score(i) for i in range(count)],
        "kinds": [kind(i) for i in range(count)], "cases": cases,
    }
    (HERE / "pieces.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


byte_level(sys.argv[1])
pieces()
