"""Golden blocks of GGUF's types: raw bytes and what the `gguf` package's `dequantize` makes of them.

    python3 -m venv env && env/bin/pip install gguf numpy               # made with gguf 0.19.0
    env/bin/python tests/formats/make_goldens.py tests/formats          # 24 random and 8 extreme blocks a type
    BLOCKS=10000 env/bin/python tests/formats/make_goldens.py /tmp/goldens

A file `NAME.bin` holds, little-endian: u32 elements a block, u32 bytes a block, u32 random blocks, u32 extreme blocks, the blocks' bytes, then
every element as f32. Random blocks have random codes and finite scales. Extreme ones have zero, subnormal, largest, infinite and NaN scales,
then codes that are all zero bits and all one bits, with ordinary scales.

Two of the package's choices are not ours, so these scales do not occur: 255 as e8m0 and 0x7f as ue4m3 are NaN by their definitions, numbers there.
"""

import os
import struct
import sys

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where the f16 scales lie in a block; types without one have scales of their own.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64],
    "MXFP4": [], "NVFP4": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
    "IQ1_S": [0], "IQ1_M": [], "Q1_0": [0], "Q2_0": [0],
}
# Zero, the smallest subnormal, the largest negative subnormal, the largest number, -infinity, NaN.
EXTREME = [0x0000, 0x0001, 0x83FF, 0x7BFF, 0xFC00, 0x7E00]
# The same for the scales of 8 bits, which have neither sign nor infinity.
EXTREME_E8M0 = [0, 1, 2, 127, 253, 254]
EXTREME_UE4M3 = [0x00, 0x01, 0x07, 0x08, 0x7E, 0xFE]


def bits_of(blocks: np.ndarray, width: int) -> np.ndarray:
    """The bytes after the first two as unsigned codes of some bits, lowest first: one scale and a string of codes."""
    bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little")
    digits = bits.reshape(len(blocks), -1, width).astype(np.float32)
    return digits @ np.float32(2) ** np.arange(width, dtype=np.float32)


def decoded(blocks: np.ndarray, name: str) -> np.ndarray:
    """What a block means. The package knows the sizes of Q1_0 at best, so it and Q2_0 are decoded here, as ggml's header lays them out."""
    if name not in ("Q1_0", "Q2_0"):
        return dequantize(blocks, T[name])
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if name == "Q1_0":
        return scale * (2 * bits_of(blocks, 1) - 1)
    return scale * (bits_of(blocks, 2) - 1)


def put_scale(block: np.ndarray, name: str, bits: int) -> None:
    """Writes an f16 to all the places of a block's scales."""
    for place in SCALES[name]:
        block[place : place + 2] = np.frombuffer(struct.pack("<H", bits), dtype=np.uint8)
    if name == "IQ1_M":
        # A quarter in the top nibble of each of the last four words, the lowest first.
        for quarter in range(4):
            place = 48 + 2 * quarter + 1
            block[place] = block[place] & 0x0F | (bits >> 4 * quarter & 15) << 4


def main(folder: str) -> None:
    count = int(os.environ.get("BLOCKS", "24"))
    generator = np.random.default_rng(20261123)
    for name in SCALES:
        # 42 is newer than the package.
        elements, size = (64, 18) if name == "Q2_0" else GGML_QUANT_SIZES[T[name]]
        extremes = len(EXTREME) + 2
        blocks = generator.integers(0, 256, (count + extremes, size), dtype=np.uint8)
        blocks[-2:] = np.array([[0], [255]], dtype=np.uint8)
        if name == "MXFP4":
            blocks[:, 0] = 100 + blocks[:, 0] % 50
            blocks[count:-2, 0] = EXTREME_E8M0
        elif name == "NVFP4":
            # The top bit of a scale has no meaning.
            blocks[:, :4] = np.where(blocks[:, :4] & 0x7F == 0x7F, 0x55, blocks[:, :4])
            blocks[count:-2, :4] = np.array(EXTREME_UE4M3, dtype=np.uint8)[:, None]
        else:
            for block in [*blocks[:count], *blocks[-2:]]:
                put_scale(block, name, int(np.float16(generator.uniform(-2, 2)).view(np.uint16)))
            for block, bits in zip(blocks[count:], EXTREME):
                put_scale(block, name, bits)
        with np.errstate(all="ignore"):
            values = decoded(blocks, name).astype("<f4")
        assert values.size == elements * len(blocks), name
        with open(os.path.join(folder, name.lower() + ".bin"), "wb") as out:
            out.write(struct.pack("<4I", elements, size, count, extremes))
            out.write(blocks.tobytes())
            out.write(values.tobytes())


main(sys.argv[1])
