"""Golden blocks of GGUF's types: raw bytes and what the `gguf` package's `dequantize` makes of them.

    python3 -m venv env && env/bin/pip install gguf numpy
    env/bin/python tests/formats/make_goldens.py tests/formats          # 24 random and 6 extreme blocks a type
    BLOCKS=10000 env/bin/python tests/formats/make_goldens.py /tmp/goldens

A file `NAME.bin` holds, little-endian: u32 elements a block, u32 bytes a block, u32 random blocks, u32 extreme blocks, the blocks' bytes, then
every element as f32. Random blocks have random codes and finite scales; extreme ones zero, subnormal, largest, infinite and NaN scales.
"""

import os
import struct
import sys

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where the f16 scales lie in a block; types without one have random bytes in all places.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64],
    "MXFP4": [], "NVFP4": [],
}
EXTREME = [0x0000, 0x0001, 0x83FF, 0x7BFF, 0xFC00, 0x7E00]


def main(folder: str) -> None:
    count = int(os.environ.get("BLOCKS", "24"))
    generator = np.random.default_rng(20261123)
    for name, places in SCALES.items():
        kind = T[name]
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = generator.integers(0, 256, (count + len(EXTREME), size), dtype=np.uint8)
        for row in range(count):
            for place in places:
                scale = np.float16(generator.uniform(-2, 2))
                blocks[row, place : place + 2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
        for row, bits in enumerate(EXTREME):
            for place in places:
                blocks[count + row, place : place + 2] = np.frombuffer(struct.pack("<H", bits), dtype=np.uint8)
        if name == "MXFP4":
            # 255 is NaN in the specification, a number in the package.
            blocks[:, 0] %= 255
            blocks[:count, 0] = 100 + blocks[:count, 0] % 50
        if name == "NVFP4":
            # The scales are unsigned: the top bit is not used; 0x7f is NaN.
            blocks[:, :4] &= 0x7F
            blocks[:, :4] %= 0x7F
        with np.errstate(all="ignore"):
            values = dequantize(blocks, kind).astype("<f4")
        assert values.size == elements * len(blocks), name
        with open(os.path.join(folder, name.lower() + ".bin"), "wb") as out:
            out.write(struct.pack("<4I", elements, size, count, len(EXTREME)))
            out.write(blocks.tobytes())
            out.write(values.tobytes())


main(sys.argv[1])
