#!/usr/bin/env python3
"""Times products with stored weights on a GPU, beside a plain read of the same bytes, torch and Triton in the same run.

    bench/gpu.py --tvmc target/release/tvmc --out results       # results.json, results.md

Every figure is the time of one launch in a row of launches of which each waits for the one before (one stream, in a CUDA graph for the peers;
`tvmc bench` writes one output), the median of several repetitions after 200 ms of load. Launches take copies of the weights in turn, 256 MB together
at least, so that no cache holds them. `read` is a Triton kernel that adds up as many bytes as the weights have.

| peer | what |
|---|---|
| torch bf16 | `torch.nn.functional.linear` |
| torch int4 | `_weight_int4pack_mm`, groups of 128, where this torch has it |
| triton u4 | a kernel of this file, groups of 128 with f16 scales, the best of some shapes |

What fails is a row with its error.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHAPES = [(8192, 8192), (14336, 4096), (4096, 14336)]
# Bytes of all copies of a weight at least.
ENOUGH = 256 << 20
MOST_COPIES = 32


def narrow():
    """Element types without groups, least bits first."""
    for bits in range(1, 9):
        yield f"u{bits}"
        if bits in (4, 8):
            yield f"i{bits}"
    yield from ("e2m1", "e3m2", "e4m3", "e5m2", "f16")


def grouped():
    """Formats of groups of 128 with an f16 scale."""
    for bits in range(1, 9):
        yield f"u{bits}", f"u{bits}g128"
    yield "e2m1", "e2m1g128"
    yield "e3m2", "e3m2g128"


def source():
    lines = [f"format {name} {{ group 128 {{ d: f16; q: {e}[128]; }} value[i] = d * q[i]; }}" for e, name in grouped()]
    return "\n".join(lines) + "\n" + (ROOT / "stdlib/linear.tile").read_text()


GGUF = ["q4_0", "q8_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4"]


def row_bytes(name, k):
    """Bytes of a row, near enough to choose how many copies are needed."""
    bits = {"q8_0": 8.5, "q2_k": 2.6, "q3_k": 3.4, "q5_0": 5.5, "q5_1": 6, "q5_k": 5.5, "q6_k": 6.6, "tq1_0": 1.7, "tq2_0": 2.1, "f16": 16}
    if name in bits:
        return bits[name] * k / 8
    if found := re.match(r"e(\d)m(\d)", name):
        return (1 + int(found[1]) + int(found[2])) * k / 8
    found = re.match(r"[ui](\d)", name)
    return (int(found[1]) if found else 4.5) * k / 8


def tvmc(arguments, path, name, activations, shape, m, with_=()):
    n, k = shape
    copies = min(MOST_COPIES, max(2, int(ENOUGH / (row_bytes(name, k) * n)) + 1))
    command = [arguments.tvmc, "bench", str(path), "--kernel", "linear", "--json", "--target", "gpu"]
    command += ["-r", str(arguments.repetitions), "--copies", str(copies)]
    for value in (f"x={activations}[{m},{k}]", f"w={name}[{n},{k}]", f"y=f32[{m},{n}]"):
        command += ["--arg", value]
    for value in with_:
        command += ["--set", value]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        return {"error": "timeout"}
    if done.returncode != 0:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1][:160]}
    row = json.loads(done.stdout)["rows"][0]
    return {"us": float(row["microseconds"]), "bytes": int(row["bytes"])}


class Peers:
    """Everything that needs torch."""

    def __init__(self):
        import torch
        import triton
        import triton.language as tl

        self.torch, self.triton = torch, triton
        torch.manual_seed(1)

        @triton.jit
        def read(x, y, words, BLOCK: tl.constexpr, TURNS: tl.constexpr):
            first = tl.program_id(0) * BLOCK * TURNS
            at = tl.arange(0, BLOCK)
            total = tl.zeros([BLOCK], dtype=tl.int32)
            for turn in tl.static_range(TURNS):
                index = first + turn * BLOCK + at
                total += tl.load(x + index, mask=index < words, other=0)
            tl.store(y + tl.program_id(0), tl.sum(total, 0))

        # Word j of a block of 1024 elements holds elements i * 128 + j, i = 0..8, so that x is read in order; a group is one i.
        @triton.jit
        def linear_u4(x, w, s, y, n, k, BN: tl.constexpr):
            rows = tl.program_id(0) * BN + tl.arange(0, BN)
            at = tl.arange(0, 128)
            total = tl.zeros([BN, 128], dtype=tl.float32)
            for block in range(0, k // 1024):
                word = tl.load(w + rows[:, None] * (k // 8) + block * 128 + at[None, :])
                for i in tl.static_range(8):
                    scale = tl.load(s + rows * (k // 128) + block * 8 + i).to(tl.float32)
                    code = ((word >> (4 * i)) & 15).to(tl.float32)
                    part = tl.load(x + block * 1024 + i * 128 + at).to(tl.float32)
                    total += code * (part[None, :] * scale[:, None])
            tl.store(y + rows, tl.sum(total, 1))

        @triton.jit
        def linear_u4_16(x, w, s, y, n, k, BN: tl.constexpr, SPLIT: tl.constexpr):
            rows = tl.program_id(0) * BN + tl.arange(0, BN)
            at = tl.arange(0, 128)
            m = tl.arange(0, 16)
            total = tl.zeros([16, BN], dtype=tl.float32)
            for block in range(tl.program_id(1), k // 1024, SPLIT):
                word = tl.load(w + rows[None, :] * (k // 8) + block * 128 + at[:, None])
                for i in tl.static_range(8):
                    scale = tl.load(s + rows * (k // 128) + block * 8 + i)
                    code = ((word >> (4 * i)) & 15).to(tl.float16) * scale[None, :]
                    part = tl.load(x + m[:, None] * k + block * 1024 + i * 128 + at[None, :])
                    total = tl.dot(part, code, total)
            tl.atomic_add(y + m[:, None] * n + rows[None, :], total)

        self.read_kernel, self.u4_kernel, self.u4_16_kernel = read, linear_u4, linear_u4_16

    def time(self, launches):
        """Microseconds of a launch. `launches` are functions; they run in turn in one graph."""
        torch = self.torch
        for launch in launches:
            launch()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        rounds = max(1, 64 // len(launches))
        with torch.cuda.graph(graph):
            for _ in range(rounds):
                for launch in launches:
                    launch()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        times = []
        for turn in range(25):
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) * 1000 / (rounds * len(launches)))
        return statistics.median(times[10:])

    def read(self, size):
        torch = self.torch
        words = max(1, int(size) // 4)
        copies = min(MOST_COPIES, max(2, int(ENOUGH / (words * 4)) + 1))
        data = [torch.randint(0, 1000, (words,), dtype=torch.int32, device="cuda") for _ in range(copies)]
        best = None
        for block, turns in ((1024, 4), (2048, 4), (1024, 16), (4096, 4)):
            grid = (-(-words // (block * turns)),)
            y = torch.zeros(grid, dtype=torch.int32, device="cuda")
            list_ = [lambda x=x: self.read_kernel[grid](x, y, words, BLOCK=block, TURNS=turns, num_warps=8) for x in data]
            us = self.time(list_)
            best = us if best is None else min(best, us)
        return {"us": best, "bytes": words * 4}

    def bf16(self, shape, m):
        torch = self.torch
        n, k = shape
        copies = max(2, ENOUGH // (2 * n * k) + 1)
        ws = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16) for _ in range(copies)]
        x = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
        y = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
        return {"us": self.time([lambda w=w: torch.mm(x, w.t(), out=y) for w in ws]), "bytes": 2 * n * k}

    def int4(self, shape, m):
        torch = self.torch
        n, k = shape
        copies = max(2, ENOUGH // (n * k // 2) + 1)
        lists = []
        for _ in range(copies):
            codes = torch.randint(0, 256, (n, k // 2), dtype=torch.uint8, device="cuda")
            packed = torch.ops.aten._convert_weight_to_int4pack(codes, 8)
            scales = torch.rand(k // 128, n, 2, device="cuda", dtype=torch.bfloat16)
            lists.append((packed, scales))
        x = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
        us = self.time([lambda w=w: torch.ops.aten._weight_int4pack_mm(x, w[0], 128, w[1]) for w in lists])
        return {"us": us, "bytes": n * k // 2 + n * k // 64}

    def triton_u4(self, shape, m):
        torch = self.torch
        n, k = shape
        copies = max(2, ENOUGH // (n * k // 2) + 1)
        ws = [torch.randint(-(2**31), 2**31 - 1, (n, k // 8), dtype=torch.int32, device="cuda") for _ in range(copies)]
        s = torch.rand(n, k // 128, device="cuda", dtype=torch.float16)
        x = torch.randn(m, k, device="cuda", dtype=torch.float16)
        y = torch.zeros(m, n, device="cuda", dtype=torch.float32)
        best = None
        if m == 1:
            tries = [(bn, warps, 0) for bn in (2, 4, 8, 16) for warps in (2, 4, 8)]
        else:
            tries = [(bn, warps, split) for bn in (32, 64) for warps in (4, 8) for split in (2, 4, 8)]
        for bn, warps, split in tries:
            if m == 1:
                list_ = [lambda w=w: self.u4_kernel[(n // bn,)](x, w, s, y, n, k, BN=bn, num_warps=warps) for w in ws]
            else:
                list_ = [
                    lambda w=w: self.u4_16_kernel[(n // bn, split)](x, w, s, y, n, k, BN=bn, SPLIT=split, num_warps=warps)
                    for w in ws
                ]
            try:
                us = self.time(list_)
            except Exception:
                continue
            best = us if best is None else min(best, us)
        return {"us": best, "bytes": n * k // 2 + n * k // 64}

    def matmul(self, size):
        torch = self.torch
        a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
        c = torch.empty_like(a)
        us = self.time([lambda: torch.mm(a, b, out=c)])
        return {"us": us, "tflops": 2 * size**3 / us / 1e6}


def attempt(measure, *arguments):
    try:
        return measure(*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:160]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tvmc", default=str(ROOT / "target/release/tvmc"))
    parser.add_argument("--out", default="gpu")
    parser.add_argument("--types", help="only these, with commas between")
    parser.add_argument("--shapes", type=int, default=3, help="only the first so many shapes")
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--limit", type=int, default=60, help="seconds for one measurement")
    arguments = parser.parse_args()
    names = list(narrow()) + [name for _, name in grouped()] + GGUF
    if arguments.types:
        names = arguments.types.split(",")
    peers = attempt(Peers)
    if isinstance(peers, dict):
        print("no peers:", peers["error"])
        peers = None
    rows, reads = [], {}
    path = pathlib.Path(tempfile.mkdtemp()) / "gpu.tile"
    path.write_text(source())

    def add(what, shape, m, found, read=None):
        row = {"what": what, "shape": f"{shape[0]} x {shape[1]}", "batch": m, **found}
        if read is not None:
            row["read_us"] = read
        rows.append(row)
        print(json.dumps(row), flush=True)

    for shape in SHAPES[: arguments.shapes]:
        for m in [int(m) for m in arguments.batches.split(",")]:
            if peers:
                add("torch bf16", shape, m, attempt(peers.bf16, shape, m))
                add("torch int4", shape, m, attempt(peers.int4, shape, m))
                add("triton u4", shape, m, attempt(peers.triton_u4, shape, m))
            for name in names:
                for activations in ("f32", "f16", "act8"):
                    found = tvmc(arguments, path, name, activations, shape, m)
                    size = found.get("bytes")
                    if peers and size and size not in reads:
                        reads[size] = attempt(peers.read, size).get("us")
                    add(f"tvmc {name} x {activations}", shape, m, found, reads.get(size))
    if peers:
        add("torch f16 4096^3", (4096, 4096), 4096, attempt(peers.matmul, 4096))
    out = pathlib.Path(arguments.out)
    out.with_suffix(".json").write_text(json.dumps(rows, indent=1))
    lines = ["| what | N x K | batch | us | GB/s | plain read us | times the read |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if "us" not in row:
            lines.append(f"| {row['what']} | {row['shape']} | {row['batch']} | {row.get('error')} | | | |")
            continue
        rate = row["bytes"] / row["us"] / 1e3 if "bytes" in row else 0
        read = row.get("read_us")
        beside = f"{read:.1f} | {row['us'] / read:.2f}" if read else " | "
        lines.append(f"| {row['what']} | {row['shape']} | {row['batch']} | {row['us']:.1f} | {rate:.0f} | {beside} |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
