"""Golden encodings: numbers and the blocks that the `gguf` package's `quantize` makes of them.

    env/bin/python tests/formats/make_encoded.py tests/formats/encoded          # made with gguf 0.19.0

A file `NAME.bin` holds, little-endian: u32 elements a row, u32 bytes a row, u32 rows, the rows as f32, the rows' blocks. Rows are random
numbers of several sizes, then zeros, multiples of 1/8 (which tie), a constant, and numbers above zero.
"""

import os
import struct
import sys

import numpy as np
from gguf.constants import GGMLQuantizationType as T
from gguf.quants import quantize

COLUMNS = 256


def main(folder: str) -> None:
    generator = np.random.default_rng(20261123)
    x = generator.standard_normal((7, COLUMNS)).astype(np.float32)
    x[1] *= 1e-3
    x[2] *= 1e3
    x[3] = 0
    x[4] = np.round(8 * x[4]) / 8
    x[5] = -1
    x[6] = np.abs(x[6])
    for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]:
        blocks = quantize(x, T[name])
        with open(os.path.join(folder, name.lower() + ".bin"), "wb") as out:
            out.write(struct.pack("<3I", COLUMNS, blocks.shape[1], len(x)))
            out.write(x.astype("<f4").tobytes())
            out.write(blocks.tobytes())


main(sys.argv[1])
