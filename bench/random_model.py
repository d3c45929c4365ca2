#!/usr/bin/env python3
"""Writes a GGUF file with the shape of a model and random weights: for speed, where the real file is not at hand.

    bench/random_model.py llama-1.1b q4_k_m /tmp/model.gguf

What a program runs at depends on shapes and types, not on what the weights say, as long as no number leaves the range of floats: codes are random, scales
are 1/64 or so. Blocks repeat after 4096 of them; memory does not.

Types: q4_0 (the embedding and the head too) and q4_k_m (llama.cpp's mixture: q6_k for the head, for half of the values' and half of the down projections).
"""

import argparse
import random
import struct
import sys

# Layers, width, inner width, query heads, key/value heads, tokens.
SHAPES = {"llama-1.1b": (22, 2048, 5632, 32, 4, 32000), "smollm2-135m": (30, 576, 1536, 9, 3, 49152)}

F32, Q4_0, Q4_K, Q6_K = 0, 2, 12, 14
# By type: elements and bytes of a block.
BLOCKS = {F32: (1, 4), Q4_0: (32, 18), Q4_K: (256, 144), Q6_K: (256, 210)}
SCALE = struct.pack("<e", 1 / 64)


def pool(kind, generator):
    """Bytes of 4096 blocks."""
    def block():
        if kind == F32:
            return struct.pack("<f", 1.0)
        if kind == Q4_0:
            return SCALE + generator.randbytes(16)
        if kind == Q4_K:
            return SCALE + SCALE + generator.randbytes(12 + 128)
        return generator.randbytes(128 + 64) + bytes(generator.randrange(1, 8) for _ in range(16)) + SCALE
    return b"".join(block() for _ in range(4096))


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(key, value):
    """One entry of the metadata: text, an unsigned number, a float, or a list of one of these."""
    def kind(value):
        return {str: 8, int: 4, float: 6}[type(value)]

    def plain(value):
        return text(value) if isinstance(value, str) else struct.pack("<f" if isinstance(value, float) else "<I", value)

    if isinstance(value, list):
        return text(key) + struct.pack("<IIQ", 9, kind(value[0]), len(value)) + b"".join(map(plain, value))
    return text(key) + struct.pack("<I", kind(value)) + plain(value)


def tensors(shape, mixture):
    """Name, extents (columns first) and type of every tensor."""
    layers, width, inner, heads, kv_heads, tokens = shape
    kv = width // heads * kv_heads
    usual, better = (Q4_K, Q6_K) if mixture == "q4_k_m" else (Q4_0, Q4_0)
    yield "token_embd.weight", (width, tokens), usual
    for layer in range(layers):
        # llama.cpp's rule: the first and the last eighth, and every third between.
        more = better if layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2 else usual
        name = f"blk.{layer}."
        yield name + "attn_norm.weight", (width,), F32
        yield name + "attn_q.weight", (width, width), usual
        yield name + "attn_k.weight", (width, kv), usual
        yield name + "attn_v.weight", (width, kv), more
        yield name + "attn_output.weight", (width, width), usual
        yield name + "ffn_norm.weight", (width,), F32
        yield name + "ffn_gate.weight", (width, inner), usual
        yield name + "ffn_up.weight", (width, inner), usual
        yield name + "ffn_down.weight", (inner, width), more
    yield "output_norm.weight", (width,), F32
    yield "output.weight", (width, tokens), better


def metadata(shape):
    layers, width, inner, heads, kv_heads, tokens = shape
    # Every token is a word of its own; the kinds are those of a SentencePiece vocabulary: unknown, two of control, 256 bytes, words.
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [f"w{n}" for n in range(tokens - 259)]
    return {
        "general.architecture": "llama", "general.name": "random weights", "general.alignment": 32,
        "llama.block_count": layers, "llama.context_length": 2048, "llama.embedding_length": width, "llama.feed_forward_length": inner,
        "llama.attention.head_count": heads, "llama.attention.head_count_kv": kv_heads, "llama.rope.dimension_count": width // heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0, "llama.vocab_size": tokens,
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": words, "tokenizer.ggml.scores": [float(-n) for n in range(tokens)],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (tokens - 259),
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0,
    }


def write(path, shape, mixture):
    generator = random.Random(1)
    pools = {kind: pool(kind, generator) for kind in BLOCKS}
    listed, offset = [], 0
    for name, extents, kind in tensors(shape, mixture):
        size = 1
        for extent in extents:
            size *= extent
        elements, block = BLOCKS[kind]
        size = size // elements * block
        listed.append((name, extents, kind, size, offset))
        offset += size + -size % 32
    fields = metadata(shape)
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(fields)))
        for key, value in fields.items():
            # The kinds of tokens are signed, which the bytes do not show.
            entry = field(key, value)
            if key == "tokenizer.ggml.token_type":
                entry = entry.replace(struct.pack("<II", 9, 4), struct.pack("<II", 9, 5), 1)
            file.write(entry)
        for name, extents, kind, _, at in listed:
            file.write(text(name) + struct.pack("<I", len(extents)) + b"".join(struct.pack("<Q", e) for e in extents))
            file.write(struct.pack("<IQ", kind, at))
        file.write(b"\0" * (-file.tell() % 32))
        for _, _, kind, size, _ in listed:
            whole, rest = divmod(size, len(pools[kind]))
            file.write(pools[kind] * whole + pools[kind][:rest] + b"\0" * (-size % 32))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("type", choices=["q4_0", "q4_k_m"])
    parser.add_argument("path")
    arguments = parser.parse_args()
    write(arguments.path, SHAPES[arguments.shape], arguments.type)
    return 0


if __name__ == "__main__":
    sys.exit(main())
