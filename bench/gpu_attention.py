#!/usr/bin/env python3
"""Attention on a GPU: right beside numpy, then how fast a model decodes at the start of a context and far into it.

    bench/random_model.py smollm2-135m q4_0 FILE
    bench/gpu_attention.py --model FILE target/release/tvmc [other/tvmc ..]      # several builds in turn, in one run

Nothing is timed before all cases of `CASES` are within `BOUND` of a product in f64; what no query may see is filled with numbers that would show.
Each build decodes 32 tokens after `--depths` positions, median of three, in each of two rounds.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Queries, groups, heads of a group, elements, length of the cache, position of the first query.
CASES = [
    (1, 3, 3, 64, 1100, 1023),
    (1, 3, 3, 64, 1100, 1024),
    (1, 3, 3, 64, 40, 7),
    (1, 2, 4, 128, 700, 650),
    (1, 1, 1, 32, 300, 299),
    (3, 3, 3, 64, 600, 500),
    (16, 3, 3, 64, 600, 500),
    (1, 2, 1, 80, 400, 399),
]
BOUND = 1e-5


def reference(q, k, v, start, scale):
    import numpy as np

    out = np.zeros(q.shape)
    for m in range(q.shape[0]):
        seen = start + m + 1
        for g in range(q.shape[1]):
            score = q[m, g].astype(np.float64) * scale @ k[g, :seen].astype(np.float64).T
            p = np.exp(score - score.max(1, keepdims=True))
            out[m, g] = p / p.sum(1, keepdims=True) @ v[g, :seen].astype(np.float64)
    return out


def check(tvmc, target):
    import numpy as np

    rng = np.random.default_rng(5)
    good = True
    for case in CASES:
        m, g, r, e, c, start = case
        q = rng.standard_normal((m, g, r, e)).astype(np.float32) * 2
        k, v = (rng.standard_normal((g, c, e)).astype(np.float16) for _ in range(2))
        k[:, start + m :], v[:, start + m :] = 30, 1000
        with tempfile.TemporaryDirectory() as folder:
            command = [tvmc, "run", str(ROOT / "stdlib/nn.tile"), "--kernel", "attention", "--target", target]
            for name, array in (("q", q), ("keys", k), ("values", v)):
                np.save(f"{folder}/{name}.npy", array)
                command += ["--arg", f"{name}={folder}/{name}.npy"]
            command += ["--arg", f"start={start}", "--arg", f"scale={e**-0.5}", "--out", f"o=f32[{m},{g},{r},{e}]:{folder}/o.npy"]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            error = np.abs(np.load(f"{folder}/o.npy") - reference(q, k, v, start, e**-0.5)).max()
        print(f"{case}: {error:.1e} from numpy")
        good &= bool(error <= BOUND)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tvmc", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--target", default="gpu")
    parser.add_argument("--activations", default="f32")
    parser.add_argument("--depths", default="0,1024")
    arguments = parser.parse_args()
    if not all([check(tvmc, arguments.target) for tvmc in arguments.tvmc]):
        sys.exit("attention is wrong: nothing is timed")
    print("| build | depth | round | tokens/s | least | most |\n|---|---|---|---|---|---|")
    for turn in (1, 2):
        for depth in arguments.depths.split(","):
            for tvmc in arguments.tvmc:
                command = [tvmc, "bench", arguments.model, "--target", arguments.target, "--act", arguments.activations]
                command += ["-p", "16", "-n", "32", "-r", "3", "--json", *(["-d", depth] if int(depth) else [])]
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
                row = json.loads(done.stdout)["rows"][-1]
                speed = " | ".join(f"{row[key]:.0f}" for key in ("tokens_per_second", "least", "most"))
                print(f"| {tvmc} | {depth} | {turn} | {speed} |", flush=True)


if __name__ == "__main__":
    main()
